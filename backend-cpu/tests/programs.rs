//! Whole programs: several instructions and outputs, in place, with positions and random bits, on several threads.

mod common;

use common::{In, Kind, Rng, Tensor, assert_close, on_cpu, on_reference, processors, random};
use proptest::prelude::*;
use tensor_core::op::{BinaryOp, CompareOp, TernaryOp, UnaryOp};
use tensor_core::program::Reg;
use tensor_core::{DType, Layout, Program, Scalar, Shape};

/// Builds programs of operations whose results are exact, so that chains of any length must agree to the bit.
struct Builder {
    program: Program,
    registers: Vec<Reg>,
    rng: Rng,
}

impl Builder {
    fn pick(&mut self) -> Reg {
        self.registers[self.rng.below(self.registers.len())]
    }

    /// A register of a dtype: one that is there, or a cast of one.
    fn pick_of(&mut self, dtype: DType) -> Reg {
        let reg = self.pick();
        self.program.cast(reg, dtype)
    }

    fn instruction(&mut self) {
        use BinaryOp::*;
        const FLOAT: [BinaryOp; 6] = [Add, Sub, Mul, Div, Maximum, Minimum];
        const INT: [BinaryOp; 9] = [Add, Sub, Mul, Maximum, Minimum, FloorDiv, Remainder, BitXor, Shl];
        const BOOL: [BinaryOp; 3] = [BitAnd, BitOr, BitXor];
        let a = self.pick();
        let dtype = self.program.dtype(a);
        let made = match self.rng.below(8) {
            0 => {
                let to = DType::ALL[self.rng.below(DType::ALL.len())];
                self.program.cast(a, to)
            }
            1 => {
                let ops = [CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Le, CompareOp::Gt, CompareOp::Ge];
                let (op, b) = (ops[self.rng.below(6)], self.pick_of(dtype));
                self.program.compare(op, a, b)
            }
            2 => {
                let (condition, b) = (self.pick_of(DType::Bool), self.pick_of(dtype));
                self.program.ternary(TernaryOp::Where, condition, a, b)
            }
            3 if dtype != DType::Bool => {
                let ops = [UnaryOp::Neg, UnaryOp::Abs, UnaryOp::Relu, UnaryOp::Floor, UnaryOp::Square, UnaryOp::IsNan];
                self.program.unary(ops[self.rng.below(6)], a)
            }
            4 => {
                let value = random(dtype, (-10.0, 10.0), &mut self.rng);
                let b = self.program.scalar(value, dtype);
                let ops: &[BinaryOp] = if dtype == DType::Bool { &BOOL } else { &FLOAT[..3] };
                self.program.binary(ops[self.rng.below(3)], a, b)
            }
            _ => {
                let ops: &[BinaryOp] = match dtype {
                    DType::Bool => &BOOL,
                    dtype if dtype.is_float() => &FLOAT,
                    _ => &INT,
                };
                let (op, b) = (ops[self.rng.below(ops.len())], self.pick_of(dtype));
                self.program.binary(op, a, b)
            }
        };
        self.registers.push(made);
    }
}

/// A random program with random tensors for it.
fn random_case(seed: u64, rows: usize, columns: usize, length: usize) -> (Program, Shape, Vec<In>, Vec<Tensor>) {
    let mut rng = Rng(seed);
    let shape = Shape::new([rows, columns]).unwrap();
    let mut builder = Builder { program: Program::new(), registers: Vec::new(), rng: rng.clone() };
    let mut inputs = Vec::new();
    for _ in 0..1 + rng.below(4) {
        let dtype = DType::ALL[rng.below(DType::ALL.len())];
        let kind = Kind::ALL[rng.below(Kind::ALL.len())];
        let (layout, len) = kind.layout(rows, columns);
        builder.registers.push(builder.program.input(dtype));
        inputs.push(In::Tensor(Tensor::new(dtype, layout, len, |_| random(dtype, (-50.0, 50.0), &mut rng))));
    }
    if rng.below(3) == 0 {
        let axis = rng.below(2);
        builder.registers.push(builder.program.iota(axis));
    }
    if rng.below(3) == 0 {
        let key = builder.program.random_key(rng.bits(), rng.bits());
        for _ in 0..1 + rng.below(3) {
            let word = rng.below(4) as u8;
            builder.registers.push(builder.program.random(key, word));
        }
    }
    for _ in 0..length {
        builder.instruction();
    }
    let mut outputs = Vec::new();
    for _ in 0..1 + rng.below(4) {
        let reg = builder.pick();
        builder.program.output(reg);
        let dtype = builder.program.dtype(reg);
        let (layout, len) = Kind::OUTPUTS[rng.below(Kind::OUTPUTS.len())].layout(rows, columns);
        outputs.push(Tensor::new(dtype, layout, len, |_| random(dtype, (-50.0, 50.0), &mut rng)));
    }
    // An input of an output's dtype may be that output's old content.
    for (number, input) in inputs.iter_mut().enumerate() {
        let dtype = builder.program.inputs()[number];
        if rng.below(3) == 0
            && let Some(output) = outputs.iter().position(|output| output.dtype == dtype)
        {
            *input = In::Output(output);
        }
    }
    (builder.program, shape, inputs, outputs)
}

fn check(program: &Program, shape: &Shape, inputs: &[In], outputs: &[Tensor], ulp: u64) {
    let expected = on_reference(program, shape, inputs, outputs);
    for cpu in processors() {
        let got = on_cpu(&cpu, program, shape, inputs, outputs);
        for (number, output) in outputs.iter().enumerate() {
            assert_close(output.dtype, &got[number], &expected[number], ulp, &|element| {
                format!(
                    "output {number} at element {element}, {:?} of\n{program}\n{shape}, {:?}",
                    cpu.level(),
                    output.layout
                )
            });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_programs(seed: u64, rows in 1usize..40, columns in 1usize..90, length in 0usize..25) {
        let (program, shape, inputs, outputs) = random_case(seed, rows, columns, length);
        check(&program, &shape, &inputs, &outputs, 0);
    }
}

/// Trees of sums and products, most of whose values are used once, so that several are computed in one loop.
#[test]
fn sums_and_products() {
    let mut rng = Rng(3);
    for round in 0..200 {
        let dtype = [DType::F32, DType::F64, DType::F16][round % 3];
        let mut program = Program::new();
        let mut loose: Vec<Reg> = (0..4).map(|_| program.input(dtype)).collect();
        loose.push(program.scalar(Scalar::Float(1.5), dtype));
        for _ in 0..3 + rng.below(10) {
            let mut take = |rng: &mut Rng| {
                let at = rng.below(loose.len());
                // Mostly a value that nothing else uses, sometimes one that something will.
                if loose.len() > 2 && rng.below(4) > 0 { loose.swap_remove(at) } else { loose[at] }
            };
            let (a, b) = (take(&mut rng), take(&mut rng));
            let op = [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul][rng.below(3)];
            loose.push(program.binary(op, a, b));
        }
        program.output(loose[loose.len() - 1]);
        program.output(loose[0]);
        let inputs: Vec<In> = [Kind::Contiguous, Kind::Transposed, Kind::Row, Kind::Single]
            .map(|kind| {
                let (layout, len) = kind.layout(9, 70);
                In::Tensor(Tensor::new(dtype, layout, len, |_| random(dtype, (-3.0, 3.0), &mut rng)))
            })
            .into();
        let outputs = vec![dense(dtype, &[9, 70], |_| Scalar::Float(0.0)); 2];
        check(&program, outputs[0].layout.shape(), &inputs, &outputs, 0);
    }
}

fn dense(dtype: DType, dims: &[usize], mut value: impl FnMut(usize) -> Scalar) -> Tensor {
    let shape = Shape::new(dims).unwrap();
    let len = shape.numel();
    Tensor::new(dtype, Layout::contiguous(shape), len, &mut value)
}

/// Outputs that exchange their old contents, one of which is also read by the other's computation.
#[test]
fn outputs_may_swap() {
    let mut program = Program::new();
    let (a, b) = (program.input(DType::F32), program.input(DType::F32));
    let sum = program.binary(BinaryOp::Add, a, b);
    program.output(b);
    program.output(a);
    program.output(sum);
    let mut rng = Rng(1);
    let outputs: Vec<Tensor> =
        (0..3).map(|_| dense(DType::F32, &[3000], |_| random(DType::F32, (-1.0, 1.0), &mut rng))).collect();
    check(&program, outputs[0].layout.shape(), &[In::Output(0), In::Output(1)], &outputs, 0);
}

/// A program as long as programs may be, all of whose values are needed until the end.
#[test]
fn the_longest_program() {
    let mut program = Program::new();
    let x = program.input(DType::F64);
    let one = program.scalar(Scalar::Float(1.0), DType::F64);
    let mut values = vec![x];
    for _ in 0..30 {
        let last = values[values.len() - 1];
        values.push(program.binary(BinaryOp::Add, last, one));
    }
    let mut total = values[0];
    for &value in &values[1..] {
        total = program.binary(BinaryOp::Mul, total, value);
    }
    for &value in values[24..].iter().chain([&total]) {
        program.output(value);
    }
    assert!(program.insts().len() > 60);
    let x = dense(DType::F64, &[1000], |number| Scalar::Float(number as f64 / 1000.0));
    let outputs = vec![dense(DType::F64, &[1000], |_| Scalar::Float(0.0)); 8];
    check(&program, x.layout.shape(), &[In::Tensor(x.clone())], &outputs, 0);
}

/// A sum that one later sum and one run of other cheap instructions read: neither may compute it for itself alone.
#[test]
fn a_sum_that_a_run_reads_too() {
    for dtype in [DType::F32, DType::F64] {
        let mut program = Program::new();
        let (a, b) = (program.input(dtype), program.input(dtype));
        let sum = program.binary(BinaryOp::Add, a, b);
        // What is no cheap float instruction ends a run: the first holds the sum alone.
        let sine = program.unary(UnaryOp::Sin, a);
        let mut run = program.binary(BinaryOp::Maximum, sum, a);
        for _ in 0..4 {
            run = program.binary(BinaryOp::Maximum, run, b);
            run = program.unary(UnaryOp::Neg, run);
        }
        let cosine = program.unary(UnaryOp::Cos, sine);
        let last = program.binary(BinaryOp::Mul, sum, cosine);
        for value in [run, last] {
            program.output(value);
        }
        let mut rng = Rng(1);
        let inputs = [0, 1].map(|_| In::Tensor(dense(dtype, &[7000], |_| random(dtype, (-1.0, 1.0), &mut rng))));
        let outputs = vec![dense(dtype, &[7000], |_| Scalar::Float(0.0)); 2];
        check(&program, outputs[0].layout.shape(), &inputs, &outputs, 64);
    }
}

/// Programs without any tensor to read: fill, arange, the identity matrix, random numbers.
#[test]
fn programs_without_inputs() {
    for dtype in DType::ALL {
        let mut program = Program::new();
        let value = program.scalar(Scalar::Int(3), dtype);
        program.output(value);
        let (row, column) = (program.iota(0), program.iota(2));
        let diagonal = program.compare(CompareOp::Eq, row, column);
        let diagonal = program.cast(diagonal, dtype);
        program.output(diagonal);
        let key = program.random_key(42, 7);
        let (first, last) = (program.random(key, 0), program.random(key, 3));
        program.output(first);
        program.output(last);
        let middle = program.iota(1);
        program.output(middle);
        for dims in [[7, 3, 7], [1, 1, 1], [2, 50, 90], [90, 1, 2]] {
            let out = |dtype: DType| dense(dtype, &dims, |_| Scalar::Int(1).cast(dtype));
            let outputs = [dtype, dtype, DType::I64, DType::I64, DType::I64].map(out);
            check(&program, &Shape::new(dims).unwrap(), &[], &outputs, 0);
        }
    }
}

/// Enough elements for several threads: every element is computed once, by whichever thread, from the right operands.
#[test]
fn several_threads() {
    let (rows, columns) = (600, 700);
    let shape = Shape::new([rows, columns]).unwrap();
    let mut rng = Rng(9);
    for out in [Kind::Contiguous, Kind::Transposed, Kind::StepInner] {
        for (positions, kinds) in [(true, [Kind::Transposed, Kind::Row]), (false, [Kind::Flipped, Kind::Column])] {
            let mut program = Program::new();
            let (a, b) = (program.input(DType::F32), program.input(DType::F32));
            let mut value = program.binary(BinaryOp::Mul, a, b);
            if positions {
                let key = program.random_key(1, 2);
                let bits = program.random(key, 1);
                let iota = program.iota(1);
                let sum = program.binary(BinaryOp::Add, bits, iota);
                let sum = program.cast(sum, DType::F32);
                value = program.binary(BinaryOp::Sub, value, sum);
            }
            let root = program.unary(UnaryOp::Sqrt, value);
            program.output(root);
            program.output(value);
            let inputs = kinds.map(|kind| {
                let (layout, len) = kind.layout(rows, columns);
                In::Tensor(Tensor::new(DType::F32, layout, len, |_| random(DType::F32, (-9.0, 9.0), &mut rng)))
            });
            let (layout, len) = out.layout(rows, columns);
            let outputs =
                [out, Kind::Contiguous].map(|_| Tensor::new(DType::F32, layout.clone(), len, |_| Scalar::Float(0.0)));
            check(&program, &shape, &inputs, &outputs, 0);
        }
    }
}
