//! What an operation takes on the host, without the driver's part: `cargo bench -p gradix-backend-cuda --bench launches`.
//!
//! ```text
//! cargo xtask fake-cuda
//! FAKE_CUDA_IDLE=1 LD_LIBRARY_PATH=$PWD/target/fake-cuda/lib cargo bench -p gradix-backend-cuda --bench launches [-- FILTER …]
//! ```
//!
//! There the driver is a stand-in whose launches return at once; with a real one its own time is in the numbers too, and the
//! queue of a device may fill. Printed are the shortest and the median time of many short rounds: the backend's part of each
//! launch, and an array's operation as a whole.

use backend_cuda::{Buffer, Cuda};
use std::hint::black_box;
use std::time::Instant;
use tensor_core::op::{BinaryOp, UnaryOp};
use tensor_core::program::Reg;
use tensor_core::rows::{RowKind, RowSpec, RowStep};
use tensor_core::{
    Array, Backend, DType, Input, Layout, MatmulSpec, Program, ReduceOp, ReduceSpec, Result, Scalar, Shape, View,
    ViewMut,
};

/// How long a case is timed, in seconds.
const SECONDS: f64 = 0.4;

struct Bench {
    filters: Vec<String>,
}

impl Bench {
    fn case(&self, name: &str, mut call: impl FnMut() -> Result<()>) {
        if !self.filters.is_empty() && !self.filters.iter().any(|filter| name.contains(filter.as_str())) {
            return;
        }
        let mut round = |count: u32| {
            let start = Instant::now();
            (0..count).for_each(|_| call().expect("the device works"));
            start.elapsed().as_secs_f64() / f64::from(count)
        };
        // Rounds of about a fifth of a millisecond: some of them run undisturbed.
        let count = (2e-4 / round(200)).clamp(1.0, 1e5) as u32;
        let (mut times, start) = (Vec::new(), Instant::now());
        while start.elapsed().as_secs_f64() < SECONDS {
            times.push(round(count));
        }
        times.sort_by(f64::total_cmp);
        println!("| {name} | {:.0} | {:.0} |", times[0] * 1e9, times[times.len() / 2] * 1e9);
    }
}

/// Memory, and how a tensor lies in it.
struct Held {
    buffer: Buffer,
    layout: Layout,
}

impl Held {
    fn new(gpu: Cuda, dims: &[usize]) -> Result<Self> {
        let layout = Layout::contiguous(Shape::new(dims)?);
        Ok(Self { buffer: gpu.alloc(layout.numel() * DType::F32.size())?, layout })
    }

    fn view(&self) -> View<'_, Cuda> {
        View { buffer: &self.buffer, layout: &self.layout, dtype: DType::F32 }
    }

    fn target(&mut self) -> ViewMut<'_, Cuda> {
        ViewMut { buffer: &mut self.buffer, layout: &self.layout, dtype: DType::F32 }
    }
}

fn main() -> Result<()> {
    let bench = Bench { filters: std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect() };
    let gpu = match Cuda::open(0) {
        Ok(gpu) => gpu,
        Err(why) => {
            println!("no CUDA device: {why}");
            return Ok(());
        }
    };
    println!("{}", gpu.description().name);
    println!("| ns | shortest | median |");
    println!("|-|-|-|");
    backend(&bench, gpu)?;
    arrays(&bench, gpu)
}

/// The backend's part, in memory that is there.
fn backend(bench: &Bench, gpu: Cuda) -> Result<()> {
    let mut program = Program::new();
    let inputs = [program.input(DType::F32), program.input(DType::F32)];
    let sum = program.binary(BinaryOp::Add, inputs[0], inputs[1]);
    program.output(sum);
    let bare = gpu.bare_launch()?;
    bench.case("the driver's call alone", bare);
    let (x, y, mut z) = (Held::new(gpu, &[256])?, Held::new(gpu, &[256])?, Held::new(gpu, &[256])?);
    bench.case("backend: x + y of 256", || {
        let inputs = [Input::View(x.view()), Input::View(y.view())];
        gpu.pointwise(black_box(&program), x.layout.shape(), &inputs, &mut [z.target()])
    });
    let (matrix, mut row) = (Held::new(gpu, &[64, 64])?, Held::new(gpu, &[64])?);
    let copy = Program::copy(DType::F32);
    bench.case("backend: sum of rows of 64×64", || {
        let spec = ReduceSpec { op: ReduceOp::Sum, shape: matrix.layout.shape(), axes: &[1], prologue: &copy };
        gpu.reduce(black_box(&spec), &[matrix.view()], row.target())
    });
    let mut result = Held::new(gpu, &[64, 64])?;
    bench.case("backend: softmax of rows of 64×64", || gpu.softmax(1, false, matrix.view(), result.target()));
    let steps = layer_norm(64);
    let one = Layout::from_parts(matrix.layout.shape().clone(), [0, 1].into_iter().collect(), 0);
    bench.case("backend: layer norm of rows of 64×64 with weight and bias", || {
        let spec = RowSpec { shape: matrix.layout.shape(), axes: &[1], steps: black_box(&steps) };
        let along = View { buffer: &x.buffer, layout: &one, dtype: DType::F32 };
        gpu.rows(&spec, &[matrix.view(), along, along], result.target())
    });
    if let Some(bare) = gpu.bare_product(64, DType::F32, false)? {
        bench.case("cuBLASLt's call alone, with the plan that is kept", bare);
    }
    let product = MatmulSpec::batched(2);
    bench.case("backend: product of 64×64", || {
        gpu.matmul(black_box(&product), matrix.view(), matrix.view(), &[], result.target())
    });
    let mut biased = Program::new();
    let (value, bias) = (biased.input(DType::F32), biased.input(DType::F32));
    let sum = biased.binary(BinaryOp::Add, value, bias);
    let positive = biased.unary(UnaryOp::Relu, sum);
    biased.output(positive);
    let layer = MatmulSpec { epilogue: Some(&biased), ..product };
    bench.case("backend: product of 64×64 with bias and ReLU", || {
        let along = View { buffer: &x.buffer, layout: &one, dtype: DType::F32 };
        gpu.matmul(black_box(&layer), matrix.view(), matrix.view(), &[along], result.target())
    });
    // A long program, as of several operations that were fused.
    let mut long = Program::new();
    let mut value = long.input(DType::F32);
    for number in 0..12 {
        let other = long.scalar(Scalar::Float(f64::from(number)), DType::F32);
        value = long.binary(BinaryOp::Mul, value, other);
        value = long.unary(UnaryOp::Sin, value);
    }
    long.output(value);
    bench.case("backend: 24 fused operations of 256", || {
        gpu.pointwise(black_box(&long), x.layout.shape(), &[Input::View(x.view())], &mut [z.target()])
    });
    Ok(())
}

/// Normalises rows of value 0, then multiplies by value 1 and adds value 2.
fn layer_norm(length: usize) -> [RowStep; 5] {
    let program = |inputs: usize, compute: &dyn Fn(&mut Program, &[Reg]) -> Reg| {
        let mut program = Program::new();
        let inputs: Vec<Reg> = (0..inputs).map(|_| program.input(DType::F32)).collect();
        let result = compute(&mut program, &inputs);
        program.output(result);
        program
    };
    let mean = |program: &mut Program, sum: Reg| {
        let length = program.scalar(Scalar::from(length), DType::F32);
        program.binary(BinaryOp::Div, sum, length)
    };
    let square = program(2, &|program, read| {
        let far = program.binary(BinaryOp::Sub, read[0], read[1]);
        program.unary(UnaryOp::Square, far)
    });
    let scale = program(1, &|program, read| {
        let (variance, eps) = (mean(program, read[0]), program.scalar(Scalar::Float(1e-5), DType::F32));
        let sum = program.binary(BinaryOp::Add, variance, eps);
        program.unary(UnaryOp::Rsqrt, sum)
    });
    let result = program(5, &|program, read| {
        let far = program.binary(BinaryOp::Sub, read[0], read[1]);
        let norm = program.binary(BinaryOp::Mul, far, read[2]);
        let scaled = program.binary(BinaryOp::Mul, norm, read[3]);
        program.binary(BinaryOp::Add, scaled, read[4])
    });
    [
        RowStep::new(RowKind::Reduce(ReduceOp::Sum), Program::copy(DType::F32), &[0]),
        RowStep::new(RowKind::Rows, program(1, &|program, read| mean(program, read[0])), &[3]),
        RowStep::new(RowKind::Reduce(ReduceOp::Sum), square, &[0, 4]),
        RowStep::new(RowKind::Rows, scale, &[5]),
        RowStep::new(RowKind::Elements, result, &[0, 4, 6, 1, 2]),
    ]
}

/// Operations of arrays: planning what is fused, memory for the result, and the launch.
fn arrays(bench: &Bench, gpu: Cuda) -> Result<()> {
    let array = |dims: [usize; 2]| Array::from_slice(&gpu, &vec![0.5_f32; dims[0] * dims[1]], dims);
    let (x, y, row) = (array([16, 16])?, array([16, 16])?, array([1, 16])?);
    bench.case("array: x + y of 256", || x.add(black_box(&y))?.force());
    bench.case("array: exp of 256", || black_box(&x).unary(UnaryOp::Exp)?.force());
    bench.case("array: x + row of 16×16", || x.add(black_box(&row))?.force());
    bench.case("array: x·y + x of 256, fused", || {
        let sum = x.mul(black_box(&y))?.add(&x)?;
        sum.force()
    });
    bench.case("array: sum of rows of 16×16", || black_box(&x).sum(&[1], false)?.force());
    bench.case("array: softmax of 16×16", || black_box(&x).softmax(1, false)?.force());
    bench.case("array: product of 16×16", || black_box(&x).matmul(&y)?.force());
    bench.case("array: product of 16×16 with bias and ReLU", || {
        let result = black_box(&x).matmul(&y)?.add(&row)?.unary(UnaryOp::Relu)?;
        result.force()
    });
    bench.case("array: layer norm of 16×16 with weight and bias", || {
        // The operands that are only on the way are dropped before it runs, so that it is one launch.
        let norm = black_box(&x).normalize(&[1], true, 1e-5)?.mul(&row)?.add(&row)?;
        norm.force()
    });
    Ok(())
}
