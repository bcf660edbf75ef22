//! Times pointwise programs: bandwidth of large ones, nanoseconds of tiny ones. `cargo bench -p gradix-backend-cpu
//! --bench pointwise [-- FILTER]`.

use backend_cpu::Cpu;
use std::hint::black_box;
use std::time::Instant;
use tensor_core::op::{BinaryOp, UnaryOp};
use tensor_core::{Backend, DType, Input, Layout, Program, Scalar, Shape, View, ViewMut};

/// The median and the shortest time of a call in nanoseconds, of as many calls as fit in about 0.3 s. On a machine that does
/// other things too, only the shortest says what the code can do.
fn time(mut call: impl FnMut()) -> (f64, f64) {
    call();
    let start = Instant::now();
    call();
    let once = start.elapsed().as_nanos().max(1) as usize;
    // Short calls are timed many at once: reading the clock takes some 20 ns itself.
    let batch = (20_000 / once).clamp(1, 1000);
    let rounds = (300_000_000 / (once * batch)).clamp(5, 2000);
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..batch {
                call();
            }
            start.elapsed().as_nanos() as f64 / batch as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[0])
}

struct Case<'a> {
    name: &'a str,
    program: Program,
    inputs: Vec<(Layout, usize)>,
    shape: Shape,
}

impl Case<'_> {
    fn run(&self, cpu: &Cpu) -> ((f64, f64), usize) {
        let mut bytes = 0;
        let buffers: Vec<_> = self
            .inputs
            .iter()
            .zip(self.program.inputs())
            .map(|((_, len), dtype)| {
                let mut buffer = cpu.alloc(len * dtype.size()).expect("memory");
                for (number, element) in buffer.bytes_mut().chunks_exact_mut(dtype.size()).enumerate() {
                    Scalar::Float((number % 97) as f64 / 12.0 - 4.0).write(*dtype, element);
                }
                bytes += len * dtype.size();
                buffer
            })
            .collect();
        let dtype = self.program.dtype(self.program.outputs()[0]);
        let layout = Layout::contiguous(self.shape.clone());
        let inputs: Vec<Input<'_, Cpu>> = buffers
            .iter()
            .zip(&self.inputs)
            .zip(self.program.inputs())
            .map(|((buffer, (layout, _)), &dtype)| Input::View(View { buffer, layout, dtype }))
            .collect();
        bytes += self.shape.numel() * dtype.size();
        let mut out = cpu.alloc(self.shape.numel() * dtype.size()).expect("memory");
        out.bytes_mut().fill(0);
        let time = time(|| {
            let out = ViewMut { buffer: &mut out, layout: &layout, dtype };
            cpu.pointwise(black_box(&self.program), &self.shape, &inputs, &mut [out]).expect("computes");
        });
        (time, bytes)
    }
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

fn main() {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with("--")).unwrap_or_default();
    let cpu = Cpu::open();
    println!("{}, {:?}, {} threads", cpu.info().name, cpu.level(), rayon::current_num_threads());
    let dense = |dims: &[usize]| {
        let layout = Layout::contiguous(Shape::new(dims).expect("a shape"));
        let len = layout.numel();
        (layout, len)
    };
    let run = |name: &str, program: Program, inputs: Vec<(Layout, usize)>, dims: &[usize]| {
        if !name.contains(&filter) {
            return;
        }
        let case = Case { name, program, inputs, shape: Shape::new(dims).expect("a shape") };
        let ((median, best), bytes) = case.run(&cpu);
        let elements = case.shape.numel();
        println!(
            "{:24} {elements:>9} median {median:>11.1} ns {:>7.1} GB/s, best {best:>11.1} ns {:>7.3} ns/element {:>7.1} GB/s",
            case.name,
            bytes as f64 / median,
            best / elements as f64,
            bytes as f64 / best
        );
    };
    for len in [1, 10, 100, 1000, 4000] {
        run("tiny add", binary(BinaryOp::Add, DType::F32), vec![dense(&[len]); 2], &[len]);
        run("tiny polynomial", polynomial(), vec![dense(&[len])], &[len]);
        run("tiny exp", unary(UnaryOp::Exp), vec![dense(&[len])], &[len]);
    }
    for len in [1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24] {
        run("add", binary(BinaryOp::Add, DType::F32), vec![dense(&[len]); 2], &[len]);
        run("polynomial", polynomial(), vec![dense(&[len])], &[len]);
        run("sqrt(xy+x)-y", hypotenuse(), vec![dense(&[len]); 2], &[len]);
        for (name, op) in [
            ("exp", UnaryOp::Exp),
            ("tanh", UnaryOp::Tanh),
            ("sigmoid", UnaryOp::Sigmoid),
            ("gelu", UnaryOp::Gelu),
            ("copy (neg)", UnaryOp::Neg),
        ] {
            run(name, unary(op), vec![dense(&[len])], &[len]);
        }
        run("add f16", binary(BinaryOp::Add, DType::F16), vec![dense(&[len]); 2], &[len]);
        run("add i64", binary(BinaryOp::Add, DType::I64), vec![dense(&[len]); 2], &[len]);
        run("uniform", uniform(), vec![], &[len]);
        let side = (len as f64).sqrt() as usize;
        let dims = [side, side];
        let shape = Shape::new(dims).expect("a shape");
        let row = (dense(&[side]).0.expand(&shape).expect("broadcasts"), side);
        let column = (dense(&[side, 1]).0.expand(&shape).expect("broadcasts"), side);
        let transposed = (dense(&dims).0.transpose(0, 1).expect("two axes"), len);
        let every_other = (dense(&[side, 2 * side]).0.slice(1, 0, side, 2).expect("fits"), 2 * len);
        run("add row", binary(BinaryOp::Add, DType::F32), vec![dense(&dims), row], &dims);
        run("add column", binary(BinaryOp::Add, DType::F32), vec![dense(&dims), column], &dims);
        run("transposed copy", Program::copy(DType::F32), vec![transposed.clone()], &dims);
        run("add transposed", binary(BinaryOp::Add, DType::F32), vec![dense(&dims), transposed], &dims);
        run("every other", Program::copy(DType::F32), vec![every_other], &dims);
        let few = [len / 8, 8];
        let bias = (dense(&[8]).0.expand(&Shape::new(few).expect("a shape")).expect("broadcasts"), 8);
        run("add short rows", binary(BinaryOp::Add, DType::F32), vec![dense(&few), bias], &few);
    }
}
