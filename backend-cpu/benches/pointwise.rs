//! Pointwise programs on all threads, from one element to 16M: `cargo bench -p gradix-backend-cpu --bench pointwise [--
//! FILTER …]`.

use backend_cpu::Cpu;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use std::fmt;
use tensor_core::op::{BinaryOp, UnaryOp};
use tensor_core::{Backend, DType, Input, Layout, Program, Scalar, Shape, View, ViewMut};

fn main() {
    divan::main();
}

/// What is computed.
struct Work {
    program: Program,
    /// How each input lies in memory, and how many elements that has.
    inputs: Vec<(Layout, usize)>,
    shape: Shape,
}

impl Work {
    fn new(program: Program, inputs: impl IntoIterator<Item = (Layout, usize)>, dims: &[usize]) -> Self {
        let shape = Shape::new(dims).expect("a shape");
        Self { program, inputs: inputs.into_iter().collect(), shape }
    }

    /// A program of inputs that lie densely.
    fn dense(program: Program, len: usize) -> Self {
        let inputs = vec![dense(&[len]); program.inputs().len()];
        Self::new(program, inputs, &[len])
    }
}

fn dense(dims: &[usize]) -> (Layout, usize) {
    let layout = Layout::contiguous(Shape::new(dims).expect("a shape"));
    let len = layout.numel();
    (layout, len)
}

/// A kind of work on so many elements.
struct Case {
    name: &'static str,
    make: fn(usize) -> Work,
    len: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.len)
    }
}

fn cases(kinds: &[(&'static str, fn(usize) -> Work)], lengths: &[usize]) -> Vec<Case> {
    let of = |&(name, make)| lengths.iter().map(move |&len| Case { name, make, len });
    kinds.iter().flat_map(of).collect()
}

fn program(inputs: usize, dtype: DType, build: impl Fn(&mut Program)) -> Program {
    let mut program = Program::new();
    for _ in 0..inputs {
        program.input(dtype);
    }
    build(&mut program);
    program
}

fn unary(op: UnaryOp) -> Program {
    program(1, DType::F32, |p| {
        let y = p.unary(op, p.input_register(0));
        p.output(y);
    })
}

fn binary(op: BinaryOp, dtype: DType) -> Program {
    program(2, dtype, |p| {
        let y = p.binary(op, p.input_register(0), p.input_register(1));
        p.output(y);
    })
}

/// x³ + 3x² − 5x + 4
fn polynomial() -> Program {
    program(1, DType::F32, |p| {
        let x = p.input_register(0);
        let number = |p: &mut Program, value: f64| p.scalar(Scalar::Float(value), DType::F32);
        let square = p.binary(BinaryOp::Mul, x, x);
        let cube = p.binary(BinaryOp::Mul, square, x);
        let three = number(p, 3.0);
        let middle = p.binary(BinaryOp::Mul, square, three);
        let sum = p.binary(BinaryOp::Add, cube, middle);
        let five = number(p, 5.0);
        let linear = p.binary(BinaryOp::Mul, x, five);
        let sum = p.binary(BinaryOp::Sub, sum, linear);
        let four = number(p, 4.0);
        let sum = p.binary(BinaryOp::Add, sum, four);
        p.output(sum);
    })
}

/// √(x·y + x) − y
fn hypotenuse() -> Program {
    program(2, DType::F32, |p| {
        let (x, y) = (p.input_register(0), p.input_register(1));
        let product = p.binary(BinaryOp::Mul, x, y);
        let sum = p.binary(BinaryOp::Add, product, x);
        let root = p.unary(UnaryOp::Sqrt, sum);
        let out = p.binary(BinaryOp::Sub, root, y);
        p.output(out);
    })
}

fn uniform() -> Program {
    program(0, DType::F32, |p| {
        let key = p.random_key(1, 2);
        let bits = p.random(key, 0);
        let float = p.cast(bits, DType::F32);
        let scale = p.scalar(Scalar::Float(2f64.powi(-32)), DType::F32);
        let out = p.binary(BinaryOp::Mul, float, scale);
        p.output(out);
    })
}

/// A square matrix of about so many elements.
fn square(len: usize) -> ([usize; 2], Shape) {
    let side = (len as f64).sqrt() as usize;
    ([side, side], Shape::new([side, side]).expect("a shape"))
}

/// With a second operand that repeats.
fn add_spread(len: usize, of: fn(usize) -> (Layout, usize)) -> Work {
    let (dims, shape) = square(len);
    let (layout, held) = of(dims[0]);
    let spread = (layout.expand(&shape).expect("broadcasts"), held);
    Work::new(binary(BinaryOp::Add, DType::F32), [dense(&dims), spread], &dims)
}

fn transposed(len: usize) -> (Layout, usize) {
    let (layout, len) = dense(&square(len).0);
    (layout.transpose(0, 1).expect("two axes"), len)
}

const SMALL: [(&str, fn(usize) -> Work); 3] = [
    ("add", |len| Work::dense(binary(BinaryOp::Add, DType::F32), len)),
    ("polynomial", |len| Work::dense(polynomial(), len)),
    ("exp", |len| Work::dense(unary(UnaryOp::Exp), len)),
];

const LARGE: [(&str, fn(usize) -> Work); 17] = [
    ("add", |len| Work::dense(binary(BinaryOp::Add, DType::F32), len)),
    ("polynomial", |len| Work::dense(polynomial(), len)),
    ("sqrt(xy+x)-y", |len| Work::dense(hypotenuse(), len)),
    ("exp", |len| Work::dense(unary(UnaryOp::Exp), len)),
    ("tanh", |len| Work::dense(unary(UnaryOp::Tanh), len)),
    ("sigmoid", |len| Work::dense(unary(UnaryOp::Sigmoid), len)),
    ("gelu", |len| Work::dense(unary(UnaryOp::Gelu), len)),
    ("neg", |len| Work::dense(unary(UnaryOp::Neg), len)),
    ("add f16", |len| Work::dense(binary(BinaryOp::Add, DType::F16), len)),
    ("add i64", |len| Work::dense(binary(BinaryOp::Add, DType::I64), len)),
    ("uniform", |len| Work::dense(uniform(), len)),
    ("add row", |len| add_spread(len, |side| dense(&[side]))),
    ("add column", |len| add_spread(len, |side| dense(&[side, 1]))),
    ("transposed copy", |len| Work::new(Program::copy(DType::F32), [transposed(len)], &square(len).0)),
    ("add transposed", |len| {
        let dims = square(len).0;
        Work::new(binary(BinaryOp::Add, DType::F32), [dense(&dims), transposed(len)], &dims)
    }),
    ("every other", |len| {
        let dims = square(len).0;
        let (layout, held) = dense(&[dims[0], 2 * dims[1]]);
        Work::new(Program::copy(DType::F32), [(layout.slice(1, 0, dims[1], 2).expect("fits"), held)], &dims)
    }),
    ("add short rows", |len| {
        let dims = [len / 8, 8];
        let bias = dense(&[8]).0.expand(&Shape::new(dims).expect("a shape")).expect("broadcasts");
        Work::new(binary(BinaryOp::Add, DType::F32), [dense(&dims), (bias, 8)], &dims)
    }),
];

#[divan::bench(args = cases(&SMALL, &[1, 10, 100, 1000, 4000]), sample_size = 256)]
fn small(bencher: Bencher<'_, '_>, case: &Case) {
    run(bencher, &(case.make)(case.len));
}

#[divan::bench(args = cases(&LARGE, &[1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24]))]
fn large(bencher: Bencher<'_, '_>, case: &Case) {
    run(bencher, &(case.make)(case.len));
}

/// Times work on memory that is there.
fn run(bencher: Bencher<'_, '_>, work: &Work) {
    let cpu = Cpu::open();
    let dtype = work.program.dtype(work.program.outputs()[0]);
    let mut bytes = work.shape.numel() * dtype.size();
    let fill = |((_, len), dtype): (&(Layout, usize), &DType)| {
        let mut buffer = cpu.alloc(len * dtype.size()).expect("memory");
        for (number, element) in buffer.bytes_mut().chunks_exact_mut(dtype.size()).enumerate() {
            Scalar::Float((number % 97) as f64 / 12.0 - 4.0).write(*dtype, element);
        }
        bytes += len * dtype.size();
        buffer
    };
    let buffers: Vec<_> = work.inputs.iter().zip(work.program.inputs()).map(fill).collect();
    let views = buffers.iter().zip(&work.inputs).zip(work.program.inputs());
    let inputs: Vec<Input<'_, Cpu>> =
        views.map(|((buffer, (layout, _)), &dtype)| Input::View(View { buffer, layout, dtype })).collect();
    let layout = Layout::contiguous(work.shape.clone());
    let mut out = cpu.alloc(layout.numel() * dtype.size()).expect("memory");
    out.bytes_mut().fill(0);
    bencher.counter(ItemsCount::new(work.shape.numel())).counter(BytesCount::new(bytes)).bench_local(|| {
        let out = ViewMut { buffer: &mut out, layout: &layout, dtype };
        cpu.pointwise(black_box(&work.program), &work.shape, &inputs, &mut [out]).expect("computes");
    });
}
