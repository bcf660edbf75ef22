//! What is timed.

use crate::Bench;
use crate::machine::Work;
use backend_cpu::Cpu;
use tensor_core::array::Conv;
use tensor_core::op::{BinaryOp, UnaryOp};
use tensor_core::program::Reg;
use tensor_core::{Array, DType, Program, ReduceOp, Scalar, ScanOp, ScatterOp, Shape};

type Tensor = Array<Cpu>;

fn shape(dims: &[usize]) -> Shape {
    Shape::new(dims).expect("a small shape")
}

/// Floats without a pattern, from −2 to 2, or integers of all sizes.
fn random(dims: &[usize], dtype: DType) -> Tensor {
    let cpu = Cpu::open();
    let made = if dtype.is_float() {
        let wide = Tensor::rand(&cpu, 7, 0, &shape(dims), DType::F32).expect("memory");
        wide.mul(4.0).and_then(|wide| wide.sub(2.0)).and_then(|wide| wide.cast(dtype))
    } else {
        Tensor::randint(&cpu, 7, 0, -1_000_000, 1_000_000, &shape(dims), DType::I64).and_then(|wide| wide.cast(dtype))
    };
    let made = made.and_then(|made| made.contiguous()).expect("memory");
    made.force().expect("memory");
    made
}

fn f32s(dims: &[usize]) -> Tensor {
    random(dims, DType::F32)
}

fn indices(count: usize, bound: usize) -> Tensor {
    let numbers: Vec<i64> = (0..count).map(|i| ((i * 7919 + i / 3) % bound) as i64).collect();
    Tensor::from_slice(&Cpu::open(), &numbers, [count]).expect("memory")
}

fn bytes(tensor: &Tensor) -> usize {
    tensor.numel() * tensor.dtype().size()
}

fn traffic(read: usize, written: usize) -> Work {
    Work::Traffic { read, written }
}

const SQUARE: &[usize] = &[4096, 4096];

pub(crate) fn run(bench: &mut Bench) {
    pointwise(bench);
    optimizers(bench);
    moves(bench);
    reductions(bench);
    lines(bench);
    rows(bench);
    products(bench);
    convolutions(bench);
    indexing(bench);
}

impl Bench {
    /// Times what `make` computes.
    fn array(&mut self, name: &str, work: Work, make: impl Fn() -> tensor_core::Result<Tensor> + Send + Sync) {
        self.case(name, work, || make().and_then(|array| array.force()).expect("computes"));
    }
}

/// What is stored in 16 bits.
fn halves(bench: &mut Bench) {
    for dtype in [DType::F16, DType::BF16] {
        let [add, gelu, wider, narrower] =
            ["add 16M", "gelu 4M", "16M to f32 from", "16M from f32 to"].map(|name| format!("{name} {dtype}"));
        if bench.wants(&add) {
            let (a, b) = (random(&[1 << 24], dtype), random(&[1 << 24], dtype));
            bench.array(&add, traffic(2 * bytes(&a), bytes(&a)), || a.add(&b));
        }
        if bench.wants(&gelu) {
            let x = random(&[1 << 22], dtype);
            bench.array(&gelu, traffic(bytes(&x), bytes(&x)), || x.unary(UnaryOp::Gelu));
        }
        for (name, from, to) in [(&wider, dtype, DType::F32), (&narrower, DType::F32, dtype)] {
            if bench.wants(name) {
                let x = random(&[1 << 24], from);
                bench.array(name, traffic(bytes(&x), (1 << 24) * to.size()), || x.cast(to));
            }
        }
    }
}

fn pointwise(bench: &mut Bench) {
    for (name, count) in [("add 1k", 1 << 10), ("add 64k", 1 << 16), ("add 1M", 1 << 20), ("add 16M", 1 << 24)] {
        if bench.wants(name) {
            let (a, b) = (f32s(&[count]), f32s(&[count]));
            bench.array(name, traffic(8 * count, 4 * count), || a.add(&b));
        }
    }
    if bench.wants("f on 16M") {
        let x = f32s(&[1 << 24]);
        bench.array("f on 16M", traffic(bytes(&x), bytes(&x)), || {
            let square = x.mul(&x)?;
            square.mul(&x)?.add(&square.mul(3.0)?)?.sub(&x.mul(5.0)?)?.add(4.0)
        });
    }
    if bench.wants("sum of f 16M") {
        let x = f32s(&[1 << 24]);
        bench.array("sum of f 16M", traffic(bytes(&x), 0), || {
            let square = x.mul(&x)?;
            let f = square.mul(&x)?.add(&square.mul(3.0)?)?.sub(&x.mul(5.0)?)?.add(4.0)?;
            f.reduce(ReduceOp::Sum, &[], false)
        });
    }
    let ops = [
        ("gelu 4M", UnaryOp::Gelu),
        ("sigmoid 4M", UnaryOp::Sigmoid),
        ("exp 4M", UnaryOp::Exp),
        ("tanh 4M", UnaryOp::Tanh),
        ("log 4M", UnaryOp::Log),
        ("sin 4M", UnaryOp::Sin),
        ("relu 4M", UnaryOp::Relu),
    ];
    for (name, op) in ops {
        if bench.wants(name) {
            let x = f32s(&[1 << 22]);
            bench.array(name, traffic(bytes(&x), bytes(&x)), || x.unary(op));
        }
    }
    halves(bench);
    let x = f32s(SQUARE);
    for (name, other) in [("broadcast row 4096²", f32s(&[4096])), ("broadcast column 4096²", f32s(&[4096, 1]))] {
        if bench.wants(name) {
            bench.array(name, traffic(bytes(&x), bytes(&x)), || Tensor::binary(BinaryOp::Add, &x, &other));
        }
    }
}

/// A step of `AdamW`: `x, m, v, g ↦ x, m, v`.
fn adamw() -> Program {
    let mut p = Program::new();
    let scale = |p: &mut Program, a: Reg, by: f64| {
        let by = p.scalar(Scalar::Float(by), DType::F32);
        p.binary(BinaryOp::Mul, a, by)
    };
    let [x, m, v, g] = [(); 4].map(|()| p.input(DType::F32));
    let x = scale(&mut p, x, 0.99999);
    let (old, new) = (scale(&mut p, m, 0.9), scale(&mut p, g, 0.1));
    let m = p.binary(BinaryOp::Add, old, new);
    let square = p.binary(BinaryOp::Mul, g, g);
    let (old, new) = (scale(&mut p, v, 0.999), scale(&mut p, square, 0.001));
    let v = p.binary(BinaryOp::Add, old, new);
    let root = p.unary(UnaryOp::Sqrt, v);
    let root = scale(&mut p, root, 1.5);
    let eps = p.scalar(Scalar::Float(1e-8), DType::F32);
    let root = p.binary(BinaryOp::Add, root, eps);
    let step = scale(&mut p, m, 0.002);
    let step = p.binary(BinaryOp::Div, step, root);
    let x = p.binary(BinaryOp::Sub, x, step);
    [x, m, v].into_iter().for_each(|reg| p.output(reg));
    p
}

/// Steps of an optimizer, which write what they read.
fn optimizers(bench: &mut Bench) {
    for (name, count) in [("AdamW 1k", 1000), ("AdamW 10M", 10_000_000)] {
        if bench.wants(name) {
            let program = adamw();
            let mut state = [(); 3].map(|()| f32s(&[count]).mul(0.0).expect("memory"));
            let g = f32s(&[count]);
            bench.case(name, traffic(16 * count, 12 * count), || {
                Array::overwrite(&program, &mut state, &[&g]).expect("computes");
            });
        }
    }
}

fn moves(bench: &mut Bench) {
    for (name, dtype) in [("transpose copy 4096²", DType::F32), ("transpose copy 4096² bf16", DType::BF16)] {
        if bench.wants(name) {
            let x = random(SQUARE, dtype).transpose(0, 1).expect("two axes");
            bench.array(name, traffic(bytes(&x), bytes(&x)), || x.contiguous());
        }
    }
    for (name, axis) in [("cat 16×1024² rows", 0), ("cat 16×1024² columns", 1)] {
        if bench.wants(name) {
            let parts: Vec<Tensor> = (0..16).map(|_| f32s(&[1024, 1024])).collect();
            let parts: Vec<&Tensor> = parts.iter().collect();
            bench.array(name, traffic(16 << 22, 16 << 22), || Tensor::cat(&parts, axis));
        }
    }
}

fn reductions(bench: &mut Bench) {
    let cases: [(&str, ReduceOp, &[isize], &[usize], DType); 12] = [
        ("sum all 16M", ReduceOp::Sum, &[], SQUARE, DType::F32),
        ("sum rows 4096²", ReduceOp::Sum, &[1], SQUARE, DType::F32),
        ("sum columns 4096²", ReduceOp::Sum, &[0], SQUARE, DType::F32),
        ("sum all 16M bf16", ReduceOp::Sum, &[], SQUARE, DType::BF16),
        ("sum all 8M f64", ReduceOp::Sum, &[], &[1 << 23], DType::F64),
        ("sum 1M×10 columns", ReduceOp::Sum, &[0], &[1_000_000, 10], DType::F32),
        ("sum 1M×10 rows", ReduceOp::Sum, &[1], &[1_000_000, 10], DType::F32),
        ("max rows 4096²", ReduceOp::Max, &[1], SQUARE, DType::F32),
        ("max columns 4096²", ReduceOp::Max, &[0], SQUARE, DType::F32),
        ("argmax rows 4096²", ReduceOp::ArgMax, &[1], SQUARE, DType::F32),
        ("argmax columns 4096²", ReduceOp::ArgMax, &[0], SQUARE, DType::F32),
        ("sum all 10", ReduceOp::Sum, &[], &[10], DType::F32),
    ];
    for (name, op, axes, dims, dtype) in cases {
        if bench.wants(name) {
            let x = random(dims, dtype);
            bench.array(name, traffic(bytes(&x), 0), || x.reduce(op, axes, false));
        }
    }
}

fn lines(bench: &mut Bench) {
    let cases: [(&str, isize, bool, &[usize], DType); 9] = [
        ("softmax rows 4096²", 1, false, SQUARE, DType::F32),
        ("log_softmax rows 4096²", 1, true, SQUARE, DType::F32),
        ("softmax columns 4096²", 0, false, SQUARE, DType::F32),
        ("softmax rows 4096² f16", 1, false, SQUARE, DType::F16),
        ("softmax rows 4096² bf16", 1, false, SQUARE, DType::BF16),
        ("softmax rows 64k×16", 1, false, &[1 << 16, 16], DType::F32),
        ("softmax rows 64k×64", 1, false, &[1 << 16, 64], DType::F32),
        ("log_softmax channels 16×64×56²", 1, true, &[16, 64, 56 * 56], DType::F32),
        ("log_softmax 128×10", 1, true, &[128, 10], DType::F32),
    ];
    for (name, axis, log, dims, dtype) in cases {
        if bench.wants(name) {
            let x = random(dims, dtype);
            bench.array(name, traffic(bytes(&x), bytes(&x)), || x.softmax(axis, log));
        }
    }
    for (name, axis, dims) in
        [("cumsum 16M", 0, &[1 << 24][..]), ("cumsum rows 4096²", 1, SQUARE), ("cumsum columns 4096²", 0, SQUARE)]
    {
        if bench.wants(name) {
            let x = f32s(dims);
            bench.array(name, traffic(bytes(&x), bytes(&x)), || x.scan(ScanOp::Sum, axis));
        }
    }
}

/// What works on whole rows in several steps.
fn rows(bench: &mut Bench) {
    type Compute = fn(&Tensor, &Tensor) -> tensor_core::Result<Tensor>;
    let layer_norm: Compute = |x, _| x.normalize(&[1], true, 1e-5);
    let cases: [(&str, &[usize], usize, Compute); 10] = [
        ("layer norm 8192×1024", &[8192, 1024], 1, layer_norm),
        ("layer norm 64×256", &[64, 256], 1, layer_norm),
        ("rms norm 8192×1024", &[8192, 1024], 1, |x, _| x.normalize(&[1], false, 1e-5)),
        ("layer norm gradient 8192×1024", &[8192, 1024], 2, |x, g| x.normalize_grad(g, &[1], true, 1e-5)),
        ("logsumexp rows 4096²", SQUARE, 1, |x, _| x.logsumexp(&[1], false)),
        ("variance rows 4096²", SQUARE, 1, |x, _| x.variance(&[1], 1, false)),
        ("softmax gradient rows 4096²", SQUARE, 2, |y, g| y.softmax_grad(g, 1, false)),
        ("softmax gradient rows 64k×16", &[1 << 16, 16], 2, |y, g| y.softmax_grad(g, 1, false)),
        ("log_softmax gradient rows 4096²", SQUARE, 2, |y, g| y.softmax_grad(g, 1, true)),
        ("log_softmax gradient 128×10", &[128, 10], 2, |y, g| y.softmax_grad(g, 1, true)),
    ];
    for (name, dims, inputs, compute) in cases {
        if bench.wants(name) {
            let (x, g) = (f32s(dims), f32s(dims));
            let result = compute(&x, &g).expect("computes");
            bench.array(name, traffic(inputs * bytes(&x), bytes(&result)), || compute(&x, &g));
        }
    }
    for (name, dtype) in [("logsumexp rows 4096² f16", DType::F16), ("logsumexp rows 4096² bf16", DType::BF16)] {
        if bench.wants(name) {
            let x = random(SQUARE, dtype);
            bench.array(name, traffic(bytes(&x), 0), || x.logsumexp(&[1], false));
        }
    }
    for (name, dtype) in [
        ("layer norm 8192×1024 weight and bias", DType::F32),
        ("layer norm 8192×1024 f16", DType::F16),
        ("layer norm 8192×1024 bf16", DType::BF16),
    ] {
        if bench.wants(name) {
            let x = random(&[8192, 1024], dtype);
            let (weight, bias) = (random(&[1024], dtype), random(&[1024], dtype));
            bench
                .array(name, traffic(bytes(&x), bytes(&x)), || x.normalize(&[1], true, 1e-5)?.mul(&weight)?.add(&bias));
        }
    }
}

fn products(bench: &mut Bench) {
    let mut product = |name: &str, a: (&[usize], bool), b: (&[usize], bool), dtype: DType| {
        if !bench.wants(name) {
            return;
        }
        let operand = |(dims, transposed): (&[usize], bool)| {
            let made = random(dims, dtype);
            if transposed { made.transpose(-1, -2).expect("two axes") } else { made }
        };
        let (a, b) = (operand(a), operand(b));
        let (rank, k) = (a.rank(), a.dims()[a.rank() - 1]);
        let count = 2 * a.numel() * b.dims()[rank - 1];
        let work = match dtype {
            _ if a.dims()[rank - 2] == 1 || b.dims()[rank - 1] == 1 => traffic(bytes(&a) + bytes(&b), k),
            DType::F32 | DType::BF16 | DType::F16 => Work::Flops32(count),
            DType::F64 => Work::Flops64(count),
            _ => Work::Unknown,
        };
        bench.array(name, work, || a.matmul(&b));
    };
    for size in [8, 32, 64, 128, 256, 512, 1024, 2048] {
        let dims = [size, size];
        product(&format!("matmul f32 {size}"), (&dims, false), (&dims, false), DType::F32);
    }
    let large = &[1024, 1024][..];
    product("matmul f64 1024", (large, false), (large, false), DType::F64);
    product("matmul bf16 1024", (large, false), (large, false), DType::BF16);
    product("matmul f32 A·Bᵀ 1024", (large, false), (large, true), DType::F32);
    product("matmul f32 Aᵀ·B 1024", (large, true), (large, false), DType::F32);
    product("matmul f32 64×4096×4096", (&[64, 4096], false), (SQUARE, false), DType::F32);
    product("matmul f32 128×784×512 A·Bᵀ", (&[128, 784], false), (&[512, 784], true), DType::F32);
    product("matmul f32 784×128×512 Aᵀ·B", (&[128, 784], true), (&[128, 512], false), DType::F32);
    product("matmul f32 128×512×10", (&[128, 512], false), (&[512, 10], false), DType::F32);
    product("matmul f32 32×128²", (&[32, 128, 128], false), (&[32, 128, 128], false), DType::F32);
    product("matmul i64 256", (&[256, 256], false), (&[256, 256], false), DType::I64);
    product("matmul f32 4096²·x", (SQUARE, false), (&[4096, 1], false), DType::F32);
    product("matmul f32 x·4096²", (&[1, 4096], false), (SQUARE, false), DType::F32);
}

/// Convolutions with windows of odd size, whose padding keeps the image's size if nothing is left out, and both of their gradients.
fn convolutions(bench: &mut Bench) {
    // Images, channels, their sides; outputs, the window's sides; steps, and groups.
    let cases: [(&str, [usize; 3], [usize; 2], usize, usize); 13] = [
        ("conv 1→16 3×3, 32 of 28²", [32, 1, 28], [16, 3], 1, 1),
        ("conv 16→32 3×3, 32 of 14²", [32, 16, 14], [32, 3], 1, 1),
        ("conv 8→8 3×3, 32 of 14²", [32, 8, 14], [8, 3], 1, 1),
        ("conv 64→64 3×3, 4 of 56²", [4, 64, 56], [64, 3], 1, 1),
        ("conv 64→128 3×3 s2, 4 of 56²", [4, 64, 56], [128, 3], 2, 1),
        ("conv 256→256 3×3, 4 of 14²", [4, 256, 14], [256, 3], 1, 1),
        ("conv 512→512 3×3, 8 of 7²", [8, 512, 7], [512, 3], 1, 1),
        ("conv 3→64 7×7 s2, 2 of 224²", [2, 3, 224], [64, 7], 2, 1),
        ("conv 128→128 1×1, 8 of 28²", [8, 128, 28], [128, 1], 1, 1),
        ("conv depthwise 64 3×3, 8 of 28²", [8, 64, 28], [64, 3], 1, 64),
        ("conv depthwise 96 7×7, 4 of 56²", [4, 96, 56], [96, 7], 1, 96),
        ("conv depthwise 96 3×3 s2, 4 of 56²", [4, 96, 56], [96, 3], 2, 96),
        ("conv 32 groups of 4 3×3, 8 of 28²", [8, 128, 28], [128, 3], 1, 32),
    ];
    for (name, [images, channels, side], [outputs, size], step, groups) in cases {
        let names = ["", " d input", " d weight"].map(|what| format!("{name}{what}"));
        if !names.iter().any(|name| bench.wants(name)) {
            continue;
        }
        let conv = Conv {
            stride: [step; 2][..].into(),
            padding: [[size / 2; 2]; 2][..].into(),
            dilation: [1; 2][..].into(),
            groups,
        };
        let x = f32s(&[images, channels, side, side]);
        let weight = f32s(&[outputs, channels / groups, size, size]);
        let gradient = f32s(x.conv(&weight, &conv).expect("fits").dims());
        let work = Work::Flops32(2 * gradient.numel() * weight.numel() / outputs);
        let [forward, of_input, of_weight] = &names;
        if bench.wants(forward) {
            bench.array(forward, work, || x.conv(&weight, &conv));
        }
        if bench.wants(of_input) {
            bench.array(of_input, work, || gradient.conv_input(&weight, &[side, side], &conv));
        }
        if bench.wants(of_weight) {
            bench.array(of_weight, work, || gradient.conv_weight(&x, &[size, size], &conv));
        }
    }
}

fn indexing(bench: &mut Bench) {
    let index = indices(100_000, 100_000);
    if bench.wants("index_select 100k×64") {
        let table = f32s(&[100_000, 64]);
        bench.array("index_select 100k×64", traffic(bytes(&table), bytes(&table)), || table.index_select(0, &index));
    }
    if bench.wants("embedding backward") {
        let (index, g) = (indices(8192, 50_000), f32s(&[8192, 256]));
        let zero = Tensor::full(&Cpu::open(), 0, &shape(&[50_000, 256]), DType::F32);
        bench.array("embedding backward 8k of 50k×256", traffic(bytes(&g), 50_000 * 1024), || {
            zero.index_scatter(ScatterOp::Add, 0, &index, &g)
        });
    }
    if bench.wants("scatter_add 1M into 1000") {
        let (places, values) = (indices(1_000_000, 1000), f32s(&[1_000_000]));
        let bins = f32s(&[1000]);
        bench.array("scatter_add 1M into 1000", traffic(12_000_000, 0), || {
            bins.scatter(ScatterOp::Add, 0, &places, &values)
        });
    }
    let cases: [(&str, &[usize], DType); 4] = [
        ("sort 1M f32", &[1_000_000], DType::F32),
        ("sort 1M i64", &[1_000_000], DType::I64),
        ("sort 1000×1000 f32", &[1000, 1000], DType::F32),
        ("sort 100000×10 f32", &[100_000, 10], DType::F32),
    ];
    for (name, dims, dtype) in cases {
        if bench.wants(name) {
            let x = random(dims, dtype);
            bench.case(name, Work::Unknown, || {
                x.sort(-1, false).expect("sorts");
            });
        }
    }
}
