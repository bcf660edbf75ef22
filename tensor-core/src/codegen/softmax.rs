//! Softmax, as two reductions and a pointwise program.

use super::pointwise::{Operand, run};
use super::reduce;
use super::{Plan, Slot, Target, Tensor};
use crate::backend::{ReduceOp, ReduceSpec};
use crate::op::{BinaryOp, UnaryOp};
use crate::program::Reg;
use crate::shape::Dims;
use crate::{DType, Layout, Program, Shape};

/// Plans [`Backend::softmax`](crate::Backend::softmax).
pub fn softmax(axis: usize, log: bool, input: Tensor<'_>, out: Tensor<'_>, target: &Target) -> Plan {
    let mut plan = Plan::default();
    let shape = input.layout.shape();
    let dtype = input.dtype;
    let lines = shape.reduce(&[axis], false);
    let dense = Layout::contiguous(lines.clone());
    let from = (Slot::Input(0), input);

    let largest = plan.temp(lines.numel() * dtype.size());
    let copy = Program::copy(dtype);
    let spec = ReduceSpec { op: ReduceOp::Max, shape, axes: &[axis], prologue: &copy };
    reduce::add(&mut plan, &spec, &[from], (largest, Tensor { layout: &dense, dtype }), target);

    // The same for every element of a line.
    let spread = along(&lines, shape, axis);
    let largest = (largest, Tensor { layout: &spread, dtype });
    let mut program = Program::new();
    let shifted = shifted(&mut program, dtype);
    let power = program.unary(UnaryOp::Exp, shifted);
    program.output(power);
    let wide = dtype.compute();
    let sum = plan.temp(lines.numel() * wide.size());
    let spec = ReduceSpec { op: ReduceOp::Sum, shape, axes: &[axis], prologue: &program };
    reduce::add(&mut plan, &spec, &[from, largest], (sum, Tensor { layout: &dense, dtype: wide }), target);

    let program = result(dtype, log);
    let operands = [from, largest, (sum, Tensor { layout: &spread, dtype: wide })];
    let operands = operands.iter().map(|&(slot, tensor)| Operand::new(slot, tensor)).collect();
    run(&mut plan, &program, shape, operands, (Slot::Output(0), out), target);
    plan
}

/// `x − m`, in the dtype that is computed in.
fn shifted(program: &mut Program, dtype: DType) -> Reg {
    let (x, largest) = (program.input(dtype), program.input(dtype));
    let (x, largest) = (program.cast(x, dtype.compute()), program.cast(largest, dtype.compute()));
    program.binary(BinaryOp::Sub, x, largest)
}

fn result(dtype: DType, log: bool) -> Program {
    let mut program = Program::new();
    let shifted = shifted(&mut program, dtype);
    let sum = program.input(dtype.compute());
    let value = if log {
        let log = program.unary(UnaryOp::Log, sum);
        program.binary(BinaryOp::Sub, shifted, log)
    } else {
        let power = program.unary(UnaryOp::Exp, shifted);
        program.binary(BinaryOp::Div, power, sum)
    };
    let value = program.cast(value, dtype);
    program.output(value);
    program
}

/// A dense tensor without an axis, seen as one that repeats along it.
fn along(lines: &Shape, shape: &Shape, axis: usize) -> Layout {
    let mut strides: Dims<isize> = lines.contiguous_strides();
    strides.insert(axis, 0);
    Layout::from_parts(shape.clone(), strides, 0)
}
