//! Cheap programs on f16 and bf16 as one line.
//!
//! Widening, rounding and storing are steps of their own elsewhere, each with a way to the first-level cache and back. Where
//! operands lie densely, functions of a [line](super::line) read and store 16 bits themselves.

use super::line::Straight;
use super::moves;
use super::registers::{At, Group};
use crate::Cpu;
use crate::parallel::for_each_range;
use crate::vecmath::Level;
use smallvec::SmallVec;
use tensor_core::program::MAX_INPUTS;
use tensor_core::{DType, Input, Program, View, ViewMut};

/// The fewest elements that are worth a line.
const FEWEST: usize = 1 << 12;

/// Elements that a thread takes at a time.
const GRAIN: usize = 1 << 15;

/// An input: where its elements lie, and the bytes of one; or the only one.
enum Operand {
    Moves(*const u8, usize),
    Same(Box<Group>),
}

// SAFETY: the pointers are to buffers that outlive the run, and are only read.
unsafe impl Sync for Operand {}

/// Where the results go.
struct Place(*mut u8);

// SAFETY: each thread writes the elements of its own ranges.
unsafe impl Sync for Place {}

/// Runs a program if it is cheap, something of it is stored in 16 bits, and everything lies densely; says whether it did.
pub(super) fn run(
    level: Level,
    program: &Program,
    len: usize,
    inputs: &[Input<'_, Cpu>],
    outputs: &mut [ViewMut<'_, Cpu>],
) -> bool {
    run_at(level, program, len, inputs, outputs, moves::STREAM_BYTES)
}

fn run_at(
    level: Level,
    program: &Program,
    len: usize,
    inputs: &[Input<'_, Cpu>],
    outputs: &mut [ViewMut<'_, Cpu>],
    stream_bytes: usize,
) -> bool {
    let [out] = outputs else { return false };
    let is_half = |dtype: DType| dtype.is_float() && dtype.size() == 2;
    let any_half = is_half(out.dtype) || program.inputs().iter().copied().any(is_half);
    if len < FEWEST || !any_half || !out.layout.is_contiguous() {
        return false;
    }
    let operands: Option<SmallVec<[Operand; MAX_INPUTS]>> = inputs.iter().map(operand).collect();
    let Some(operands) = operands else { return false };
    let size = out.dtype.size();
    let to = out.buffer.as_mut_ptr().wrapping_add(out.layout.offset() * size);
    let streamed = moves::STREAMS && len * size >= stream_bytes && to.addr().is_multiple_of(64);
    let moving = |number: usize| matches!(operands[number], Operand::Moves(..));
    let Some(line) = Straight::of(level, program, moving, streamed) else { return false };
    let to = &Place(to);
    for_each_range(len, GRAIN, |range| {
        let input = |number: usize| match &operands[number] {
            Operand::Moves(at, size) => At { at: at.wrapping_add(range.start * size).cast_mut(), moves: true },
            Operand::Same(group) => At { at: group.as_ptr().cast_mut(), moves: false },
        };
        // SAFETY: inputs and output are dense and hold the elements of the range, those of the output nobody else accesses;
        // the output is no input's memory. Each range but the first begins a multiple of `GRAIN` further on, so where the
        // first one is at a multiple of 64, all are.
        unsafe { line.fill(to.0.wrapping_add(range.start * size), range.len(), input) }
        if streamed {
            moves::end_streams();
        }
    });
    true
}

/// `None` if it does not lie densely, nor is the same everywhere, or it is the old content of an output.
fn operand(input: &Input<'_, Cpu>) -> Option<Operand> {
    let Input::View(View { buffer, layout, dtype }) = input else { return None };
    let at = buffer.as_ptr().wrapping_add(layout.offset() * dtype.size());
    if layout.is_contiguous() {
        return Some(Operand::Moves(at, dtype.size()));
    }
    let same = layout.dims().iter().zip(layout.strides()).all(|(&size, &stride)| stride == 0 || size == 1);
    (same && dtype.is_float()).then(|| {
        let mut group = Box::new(Group::EMPTY);
        // SAFETY: the layout's only element lies within the buffer.
        unsafe { group.repeat_stored(at, *dtype) };
        Operand::Same(group)
    })
}

#[cfg(test)]
mod tests {
    use super::super::registers::are_for;
    use super::super::run::planned;
    use super::*;
    use tensor_core::op::BinaryOp;
    use tensor_core::{Backend, Layout, Scalar, Shape};

    #[test]
    fn halves_in_one_line_are_what_they_are_step_by_step() {
        for &level in Level::available() {
            let cpu = Cpu::with_level(level);
            for (half, len) in [(DType::F16, 5000), (DType::BF16, 70_001), (DType::BF16, 1 << 15)] {
                let shape = Shape::new([len]).unwrap();
                let (dense, one) = (Layout::contiguous(shape.clone()), Layout::contiguous(Shape::new([1]).unwrap()));
                let one = one.expand(&shape).unwrap();
                let filled = |count: usize, seed: usize| {
                    let mut buffer = cpu.alloc(count * 2).unwrap();
                    for (number, element) in buffer.bytes_mut().chunks_exact_mut(2).enumerate() {
                        let value = ((number * 7919 + seed * 104_729) % 1009) as f64 / 1009.0 - 0.5;
                        Scalar::Float(value).write(half, element);
                    }
                    buffer
                };
                let (x, y, c) = (filled(len, 1), filled(len, 2), filled(1, 3));
                let mut program = Program::new();
                let [a, b, c_reg] = [(); 3].map(|()| program.input(half));
                let sum = program.binary(BinaryOp::Add, a, b);
                let product = program.binary(BinaryOp::Mul, sum, c_reg);
                let wide = program.cast(product, DType::F32);
                for result in [product, wide] {
                    let mut program = program.clone();
                    program.output(result);
                    let dtype = program.dtype(result);
                    let view = |buffer, layout| Input::View(View { buffer, layout, dtype: half });
                    let inputs = [view(&x, &dense), view(&y, &dense), view(&c, &one)];
                    let compute = |stream_bytes: Option<usize>| {
                        let mut buffer = cpu.alloc(len * dtype.size()).unwrap();
                        let mut outputs = [ViewMut { buffer: &mut buffer, layout: &dense, dtype }];
                        match stream_bytes {
                            Some(bytes) => {
                                assert_eq!(
                                    run_at(level, &program, len, &inputs, &mut outputs, bytes),
                                    are_for(level),
                                    "{level:?}"
                                );
                            }
                            None => planned(level, &program, &shape, &inputs, &mut outputs, usize::MAX).unwrap(),
                        }
                        buffer.bytes().to_vec()
                    };
                    let expected = compute(None);
                    for stream_bytes in [1, usize::MAX] {
                        let got = compute(Some(stream_bytes));
                        assert!(!are_for(level) || got == expected, "{half} to {dtype}, {len}, {level:?}");
                    }
                }
            }
        }
    }
}
