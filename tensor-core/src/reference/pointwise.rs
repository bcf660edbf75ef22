//! Pointwise programs, one element at a time.

use super::{HostInput, HostViewMut, positions};
use crate::op::UnaryOp;
use crate::program::{Op, Program};
use crate::random::philox4x32;
use crate::{DType, Scalar, Shape};
use smallvec::SmallVec;

/// See [`Backend::pointwise`](crate::Backend::pointwise).
pub fn pointwise(program: &Program, shape: &Shape, inputs: &[HostInput<'_>], outputs: &mut [HostViewMut<'_>]) {
    for position in positions(shape.dims()) {
        let values = evaluate(program, shape, &position, |number| match &inputs[number] {
            HostInput::View(view) => view.get(&position),
            HostInput::Output(number) => outputs[*number].get(&position),
        });
        for (out, value) in outputs.iter_mut().zip(values) {
            out.set(&position, value);
        }
    }
}

/// The values of a program's outputs at one position.
pub fn evaluate(
    program: &Program,
    shape: &Shape,
    position: &[usize],
    input: impl Fn(usize) -> Scalar,
) -> SmallVec<[Scalar; 4]> {
    let mut registers: SmallVec<[Scalar; 16]> = SmallVec::new();
    for inst in program.insts() {
        let value = match inst.op {
            Op::Input(number) => input(number as usize),
            Op::Scalar(number) => program.scalars()[number as usize],
            Op::Iota(axis) => Scalar::from(position[axis as usize]),
            Op::Random { key, word } => {
                let element = position
                    .iter()
                    .zip(shape.dims())
                    .fold(0, |number, (&coordinate, &size)| number * size + coordinate);
                let key = key as usize;
                let (seed, stream) = (program.scalars()[key].as_i64(), program.scalars()[key + 1].as_i64());
                let words = philox4x32(element as u64, stream as u64, seed as u64);
                Scalar::Int(i64::from(words[word as usize]))
            }
            Op::Unary(op, a) => unary(op, registers[a.index()], program.dtype(a)),
            Op::Binary(op, a, b) => {
                let row = op.row();
                let width = 8 * inst.dtype.size() as u32;
                match (registers[a.index()], registers[b.index()]) {
                    (Scalar::Float(a), Scalar::Float(b)) => Scalar::Float((row.float)(a, b)),
                    (a, b) => int((row.int)(a.as_i64(), b.as_i64(), width), inst.dtype),
                }
            }
            Op::Compare(op, a, b) => {
                let order = match (registers[a.index()], registers[b.index()]) {
                    (Scalar::Float(a), Scalar::Float(b)) => a.partial_cmp(&b),
                    (a, b) => Some(a.as_i64().cmp(&b.as_i64())),
                };
                Scalar::Bool((op.row().holds)(order))
            }
            Op::Ternary(op, a, b, c) => {
                let row = op.row();
                match (registers[a.index()], registers[b.index()], registers[c.index()]) {
                    (a, Scalar::Float(b), Scalar::Float(c)) => Scalar::Float((row.float)(a.as_f64(), b, c)),
                    (a, b, c) => int((row.int)(a.as_i64(), b.as_i64(), c.as_i64()), inst.dtype),
                }
            }
            Op::Cast(a) => registers[a.index()].cast(inst.dtype),
        };
        // Storage types stay in the type they are computed in; a cast into one is the exception that rounds.
        let dtype = if matches!(inst.op, Op::Cast(_)) { inst.dtype } else { inst.dtype.compute() };
        registers.push(value.cast(dtype));
    }
    program.outputs().iter().map(|reg| registers[reg.index()]).collect()
}

fn unary(op: UnaryOp, a: Scalar, dtype: DType) -> Scalar {
    let row = op.row();
    match a {
        Scalar::Float(a) if row.gives_bool => Scalar::Bool((row.float)(a) != 0.0),
        Scalar::Float(a) => Scalar::Float((row.float)(a)),
        a if row.gives_bool => Scalar::Bool((row.int)(a.as_i64()) != 0),
        a => int((row.int)(a.as_i64()), dtype),
    }
}

/// An integer result; of a bool only the lowest bit counts.
fn int(value: i64, dtype: DType) -> Scalar {
    if dtype == DType::Bool { Scalar::Bool(value & 1 != 0) } else { Scalar::Int(value) }
}
