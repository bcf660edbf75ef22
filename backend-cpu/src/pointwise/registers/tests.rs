//! Lines against their instructions.

use super::super::line::Straight;
use super::super::run::planned;
use super::{At, Group, are_for};
use crate::vecmath::Level;
use crate::{Buffer, Cpu};
use tensor_core::op::{BinaryOp, TernaryOp, UnaryOp};
use tensor_core::program::{Op, Reg};
use tensor_core::{Backend, DType, Input, Layout, Program, Scalar, Shape, View, ViewMut};

/// Numbers that look random.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// A program of cheap instructions, with what makes lines end strewn in: functions, and what is the same everywhere.
fn program(draw: &mut Draw, dtype: DType, inputs: usize) -> Program {
    let mut program = Program::new();
    let mut values: Vec<Reg> = (0..inputs).map(|_| program.input(dtype)).collect();
    values.push(program.scalar(Scalar::Float(1.5), dtype));
    for _ in 0..draw.below(30) + 2 {
        let [a, b, c] = [(); 3].map(|()| values[draw.below(values.len())]);
        // Mostly what was just computed, as people write.
        let a = if draw.below(3) == 0 { a } else { values[values.len() - 1] };
        let value = match draw.below(20) {
            0..=3 => program.binary(BinaryOp::Add, a, b),
            4..=5 => program.binary(BinaryOp::Sub, b, a),
            6 => program.binary(BinaryOp::Sub, a, b),
            7..=9 => program.binary(BinaryOp::Mul, a, b),
            10 => program.binary(BinaryOp::Div, a, b),
            11 => program.binary(BinaryOp::Maximum, b, a),
            12 => program.binary(BinaryOp::Minimum, a, b),
            13 => program.ternary(TernaryOp::Clamp, a, b, c),
            number => {
                let ops = [UnaryOp::Neg, UnaryOp::Abs, UnaryOp::Square, UnaryOp::Relu, UnaryOp::Sqrt, UnaryOp::Floor];
                program.unary(ops[number - 14], a)
            }
        };
        values.push(value);
    }
    for _ in 0..draw.below(3) {
        program.output(values[inputs + draw.below(values.len() - inputs)]);
    }
    program.output(values[values.len() - 1]);
    program
}

/// What one instruction gives, or a leaf: on its own, so that no line is made of it.
fn alone(
    level: Level,
    program: &Program,
    number: usize,
    shape: &Shape,
    inputs: &[View<'_, Cpu>],
    known: &[Buffer],
) -> Buffer {
    let inst = program.insts()[number];
    let dense = Layout::contiguous(shape.clone());
    let mut one = Program::new();
    let mut from = Vec::new();
    let value = {
        let mut value = |reg: Reg| {
            from.push(Input::View(View { buffer: &known[reg.index()], layout: &dense, dtype: inst.dtype }));
            one.input(inst.dtype)
        };
        match inst.op {
            Op::Input(input) => {
                from.push(Input::View(inputs[input as usize]));
                one.input(inst.dtype)
            }
            Op::Scalar(scalar) => one.scalar(program.scalars()[scalar as usize], inst.dtype),
            Op::Unary(op, a) => {
                let a = value(a);
                one.unary(op, a)
            }
            Op::Binary(op, a, b) => {
                let (a, b) = (value(a), value(b));
                one.binary(op, a, b)
            }
            Op::Ternary(op, a, b, c) => {
                let (a, b, c) = (value(a), value(b), value(c));
                one.ternary(op, a, b, c)
            }
            _ => unreachable!("the programs have nothing else"),
        }
    };
    one.output(value);
    let mut buffer = Cpu::with_level(level).alloc(shape.numel() * inst.dtype.size()).unwrap();
    let output = ViewMut { buffer: &mut buffer, layout: &dense, dtype: inst.dtype };
    planned(level, &one, shape, &from, &mut [output], usize::MAX).unwrap();
    buffer
}

fn filled(dtype: DType, count: usize, draw: &mut Draw) -> Buffer {
    let mut buffer = Cpu::with_level(Level::BASELINE).alloc(count * dtype.size()).unwrap();
    for element in buffer.bytes_mut().chunks_exact_mut(dtype.size()) {
        let special = [f64::NAN, f64::INFINITY, -0.0, 0.0, -1.0];
        let value = special.get(draw.below(50)).copied().unwrap_or(draw.below(4001) as f64 / 1000.0 - 2.0);
        Scalar::Float(value).write(dtype, element);
    }
    buffer
}

/// The same bits, but for those of NaN, which tell nothing.
fn assert_same(dtype: DType, got: &Buffer, expected: &Buffer, what: &dyn std::fmt::Display) {
    let size = dtype.size();
    for (got, expected) in got.bytes().chunks_exact(size).zip(expected.bytes().chunks_exact(size)) {
        let are_nan = [got, expected].map(|element| Scalar::read(dtype, element).as_f64().is_nan());
        assert!(got == expected || are_nan == [true; 2], "{got:?} for {expected:?} in {what}");
    }
}

#[test]
fn lines_give_the_same_bits_as_their_instructions_alone() {
    let mut draw = Draw(1);
    for &level in Level::available() {
        for round in 0..120 {
            let dtype = [DType::F32, DType::F64, DType::F32][round % 3];
            let dims = [[1, 1], [1, 63], [1, 64], [2, 65], [3, 300], [40, 7], [1, 5000]][draw.below(7)];
            let shape = Shape::new(dims).unwrap();
            let dense = Layout::contiguous(shape.clone());
            let count = draw.below(4) + 1;
            let operands: Vec<(Buffer, Layout)> = (0..count)
                .map(|_| {
                    let part = [dims, dims, [dims[0], 1], [1, dims[1]], [1, 1]][draw.below(5)];
                    let layout = Layout::contiguous(Shape::new(part).unwrap());
                    (filled(dtype, part[0] * part[1], &mut draw), layout.expand(&shape).unwrap())
                })
                .collect();
            let program = program(&mut draw, dtype, count);
            let inputs: Vec<View<'_, Cpu>> =
                operands.iter().map(|(buffer, layout)| View { buffer, layout, dtype }).collect();
            let mut known = Vec::new();
            for number in 0..program.insts().len() {
                let value = alone(level, &program, number, &shape, &inputs, &known);
                known.push(value);
            }
            let fresh = || -> Vec<Buffer> {
                let outputs = program.outputs().iter();
                outputs.map(|_| filled(dtype, shape.numel(), &mut Draw(7))).collect()
            };
            let compare = |buffers: &[Buffer], how: &str| {
                for (got, reg) in buffers.iter().zip(program.outputs()) {
                    let what = format!("{reg:?} of {dims:?}, {how}, {level:?}, {dtype}\n{program}");
                    assert_same(dtype, got, &known[reg.index()], &what);
                }
            };
            for stream_bytes in [1, usize::MAX] {
                let mut buffers = fresh();
                let mut outputs: Vec<_> =
                    buffers.iter_mut().map(|buffer| ViewMut { buffer, layout: &dense, dtype }).collect();
                let from: Vec<_> = inputs.iter().map(|&view| Input::View(view)).collect();
                planned(level, &program, &shape, &from, &mut outputs, stream_bytes).unwrap();
                compare(&buffers, "fresh");
            }
            if operands[0].1 == dense {
                let mut buffers = fresh();
                buffers[0].bytes_mut().copy_from_slice(operands[0].0.bytes());
                let mut outputs: Vec<_> =
                    buffers.iter_mut().map(|buffer| ViewMut { buffer, layout: &dense, dtype }).collect();
                let mut from: Vec<_> = inputs.iter().map(|&view| Input::View(view)).collect();
                from[0] = Input::Output(0);
                planned(level, &program, &shape, &from, &mut outputs, usize::MAX).unwrap();
                compare(&buffers, "in place");
            }
        }
    }
}

/// A program on inputs of these dtypes that computes in f32, rounds now and then, and gives a result of `dtype`.
fn mixed(draw: &mut Draw, inputs: &[DType], dtype: DType) -> Program {
    let mut program = Program::new();
    let read: Vec<Reg> = inputs.iter().map(|&dtype| program.input(dtype)).collect();
    let mut values: Vec<Reg> = read.into_iter().map(|input| program.cast(input, DType::F32)).collect();
    values.push(program.scalar(Scalar::Float(1.5), DType::F32));
    for _ in 0..draw.below(16) + 1 {
        let (a, b) = (values[draw.below(values.len())], values[draw.below(values.len())]);
        let a = if draw.below(3) == 0 { a } else { values[values.len() - 1] };
        let value = match draw.below(10) {
            0..=2 => program.binary(BinaryOp::Add, a, b),
            3..=4 => program.binary(BinaryOp::Sub, b, a),
            5..=6 => program.binary(BinaryOp::Mul, a, b),
            7 => program.unary(UnaryOp::Relu, a),
            _ => {
                let half = program.cast(a, [DType::F16, DType::BF16][draw.below(2)]);
                program.cast(half, DType::F32)
            }
        };
        values.push(value);
    }
    let result = program.cast(values[values.len() - 1], dtype);
    program.output(result);
    program
}

/// Lines read and store 16 bits as kernels of their own do.
#[test]
fn straight_lines_of_halves_give_the_same_bits() {
    let (mut draw, mut ran) = (Draw(3), 0);
    let dtypes = [DType::F16, DType::BF16, DType::F32];
    for &level in Level::available().iter().filter(|&&level| are_for(level)) {
        for round in 0..200 {
            let length = [1, 31, 63, 64, 65, 300, 5000][draw.below(7)];
            let (shape, result) = (Shape::new([1, length]).unwrap(), dtypes[draw.below(3)]);
            let dense = Layout::contiguous(shape.clone());
            let inputs: Vec<DType> = (0..draw.below(4) + 1).map(|_| dtypes[draw.below(3)]).collect();
            let program = if round % 4 == 0 {
                let inputs = inputs.len();
                program_of_one(&mut draw, result, inputs)
            } else {
                mixed(&mut draw, &inputs, result)
            };
            let inputs = program.inputs();
            let moves: Vec<bool> = inputs.iter().map(|_| draw.below(4) > 0).collect();
            let operands: Vec<(Buffer, Layout)> = inputs
                .iter()
                .zip(&moves)
                .map(|(&dtype, &moves)| {
                    let layout = Layout::contiguous(Shape::new([1, if moves { length } else { 1 }]).unwrap());
                    (filled(dtype, layout.numel(), &mut draw), layout.expand(&shape).unwrap())
                })
                .collect();
            let mut expected = filled(result, length, &mut Draw(7));
            let output = ViewMut { buffer: &mut expected, layout: &dense, dtype: result };
            let from: Vec<_> = operands
                .iter()
                .zip(inputs)
                .map(|((buffer, layout), &dtype)| Input::View(View { buffer, layout, dtype }))
                .collect();
            planned(level, &program, &shape, &from, &mut [output], usize::MAX).unwrap();
            let groups: Vec<Group> = operands
                .iter()
                .zip(inputs)
                .map(|((buffer, _), &dtype)| {
                    let mut group = Group::EMPTY;
                    group.repeat_value(Scalar::read(dtype, &buffer.bytes()[..dtype.size()]), DType::F32);
                    group
                })
                .collect();
            for streamed in [false, true] {
                let Some(line) = Straight::of(level, &program, |number| moves[number], streamed) else { continue };
                ran += 1;
                let mut got = filled(result, length, &mut Draw(7));
                let input = |number: usize| match moves[number] {
                    true => At { at: operands[number].0.as_ptr().cast_mut(), moves: true },
                    false => At { at: groups[number].as_ptr().cast_mut(), moves: false },
                };
                // SAFETY: the buffers hold as many elements, at a multiple of 64, and the others are groups of f32.
                unsafe { line.fill(got.as_mut_ptr(), length, input) };
                assert_same(result, &got, &expected, &format!("{length}, {moves:?}, {level:?}\n{program}"));
            }
        }
    }
    assert!(ran > 100 || !Level::available().iter().any(|&level| are_for(level)), "{ran} lines");
}

/// As [`program`], but with one output.
fn program_of_one(draw: &mut Draw, dtype: DType, inputs: usize) -> Program {
    loop {
        let program = program(draw, dtype, inputs);
        if program.outputs().len() == 1 {
            return program;
        }
    }
}
