//! Reductions of whole lines of what a known formula computes: a tile of it is in the first-level cache when it is folded.

use super::fold::{Fold, merge_all};
use super::{WithFold, with_fold};
use crate::Cpu;
use crate::number::Number;
use crate::parallel::{GRAIN, for_each_range};
use crate::pointwise::formula::{Leaf, Prologue};
use crate::strided::Target;
use crate::vecmath::Level;
use smallvec::SmallVec;
use std::ops::Range;
use tensor_core::{Layout, ReduceSpec, Shape, View, ViewMut};

/// Lines from which on each is computed by one thread.
const MANY: usize = 64;
/// Elements of a tile.
const TILE: usize = 512;
/// Shorter lines are better computed in blocks, and folded side by side.
const SHORTEST: usize = 64;

/// Reduces if the program is a known formula, lines are dense, and so are the results; says whether it did.
pub(super) fn reduce(
    level: Level,
    spec: &ReduceSpec<'_>,
    inputs: &[View<'_, Cpu>],
    out: &mut ViewMut<'_, Cpu>,
) -> bool {
    let dims = spec.shape.dims();
    let kept = dims.len() - spec.axes.len();
    let is_last = (kept..dims.len()).all(|axis| spec.axes.contains(&axis));
    let (lines, length) = (dims[..kept].iter().product(), dims[kept..].iter().product::<usize>());
    if spec.op.gives_index() || !is_last || !out.layout.is_contiguous() || length < SHORTEST {
        return false;
    }
    let found = Prologue::of(spec.prologue).find_map(|(prologue, leaves)| {
        let operands = leaves.iter().enumerate().map(|(number, leaf)| match *leaf {
            Leaf::Scalar(value) if number >= prologue.varying => {
                let mut bytes = Bytes([0; 8]);
                value.write(spec.prologue.dtype(spec.prologue.outputs()[0]), &mut bytes.0);
                Some(Operand::Scalar(bytes))
            }
            Leaf::Scalar(_) => None,
            Leaf::Input(input) => {
                let View { buffer, layout, dtype } = inputs[input];
                let step = if number < prologue.varying {
                    layout.is_contiguous().then_some(length)
                } else {
                    step_of_lines(spec.shape, layout, kept)
                };
                let at = buffer.as_ptr().wrapping_add(layout.offset() * dtype.size());
                Some(Operand::Lines { at, step: step? * dtype.size() })
            }
        });
        Some((prologue, operands.collect::<Option<SmallVec<[Operand; 4]>>>()?))
    });
    let Some((prologue, operands)) = found else { return false };
    let dtype = spec.prologue.dtype(spec.prologue.outputs()[0]);
    let target = Target::<u8>::bytes(out);
    with_fold(spec.op, dtype, Lines { level, prologue, operands: &operands, lines, length, target });
    true
}

/// How far apart in elements the lines' values of an operand lie that has one for each: 0 if it is the same for all, `None`
/// if they do not lie evenly.
fn step_of_lines(shape: &Shape, layout: &Layout, kept: usize) -> Option<usize> {
    let (dims, strides) = (shape.dims(), layout.strides());
    let matters = |axis: &usize| dims[*axis] > 1;
    if (kept..dims.len()).filter(matters).any(|axis| strides[axis] != 0) {
        return None;
    }
    if (0..kept).filter(matters).all(|axis| strides[axis] == 0) {
        return Some(0);
    }
    let mut dense = 1;
    for axis in (0..kept).rev().filter(matters) {
        if strides[axis] != dense {
            return None;
        }
        dense *= dims[axis] as isize;
    }
    Some(1)
}

/// A scalar's bytes, aligned as any element.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct Bytes([u8; 8]);

/// An operand of the formula.
#[derive(Clone, Copy)]
enum Operand {
    /// The first line's elements, or its only one, and the bytes from there to the next line's.
    Lines {
        at: *const u8,
        step: usize,
    },
    Scalar(Bytes),
}

struct Lines<'a> {
    level: Level,
    prologue: &'static Prologue,
    operands: &'a [Operand],
    lines: usize,
    length: usize,
    target: Target<u8>,
}

// SAFETY: the operands' pointers are to buffers that outlive the reduction, and are only read.
unsafe impl Sync for Lines<'_> {}

impl WithFold for Lines<'_> {
    type Output = ();

    fn call<T: Number, F: Fold<Value = T::Wide>>(self) {
        let Self { lines, length, .. } = self;
        let target = Target::<T>::from_ptr(self.target.at(0).cast());
        let this = &self;
        let segments = if lines < MANY && !F::IN_ORDER { length.div_ceil(GRAIN) } else { 1 };
        if segments == 1 {
            for_each_range(lines, (GRAIN / 4 / length).max(1), |numbers| {
                let mut tile = [T::Wide::default(); TILE];
                for line in numbers {
                    let total = this.total::<F>(&mut tile, line, 0..length);
                    // SAFETY: one of the dense results, which only this task writes.
                    unsafe { target.at(line as isize).write(T::narrow(F::finish(total))) };
                }
            });
            return;
        }
        let mut totals = vec![F::EMPTY; lines * segments];
        let partial = Target::from_ptr(totals.as_mut_ptr());
        for_each_range(totals.len(), 1, |units| {
            let mut tile = [T::Wide::default(); TILE];
            for unit in units {
                let start = unit % segments * GRAIN;
                let total = this.total::<F>(&mut tile, unit / segments, start..length.min(start + GRAIN));
                // SAFETY: there is a place for each unit, which only it writes.
                unsafe { partial.at(unit as isize).write(total) };
            }
        });
        for (line, totals) in totals.chunks(segments).enumerate() {
            let total = totals.iter().copied().reduce(F::join).unwrap_or(F::EMPTY);
            // SAFETY: one of the dense results, and no other thread works any more.
            unsafe { target.at(line as isize).write(T::narrow(F::finish(total))) };
        }
    }
}

impl Lines<'_> {
    /// The total of a part of a line.
    fn total<F: Fold>(&self, tile: &mut [F::Value; TILE], line: usize, range: Range<usize>) -> F::Total {
        let size = size_of::<F::Value>();
        let mut total = F::EMPTY;
        for at in range.clone().step_by(TILE) {
            let tile = &mut tile[..TILE.min(range.end - at)];
            let mut from: SmallVec<[*const u8; 4]> = SmallVec::new();
            for (number, operand) in self.operands.iter().enumerate() {
                from.push(match operand {
                    Operand::Lines { at: first, step } => {
                        let within = if number < self.prologue.varying { at * size } else { 0 };
                        first.wrapping_add(line * step + within)
                    }
                    Operand::Scalar(bytes) => bytes.0.as_ptr(),
                });
            }
            // SAFETY: the line's elements from `at` on, as many as the tile has, of operands that differ along it, and one of
            // those that do not. They have the program's dtype, which is that of the fold's values.
            unsafe { (self.prologue.fill)(self.level, &from, tile.as_mut_ptr().cast(), tile.len()) };
            total = F::take(total, merge_all::<F>(self.level, tile));
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::super::program;
    use super::*;
    use tensor_core::op::{BinaryOp, UnaryOp};
    use tensor_core::{Backend, DType, Program, ReduceOp, Scalar};

    /// What the formulas give is what the program in blocks does, but for the order of a sum's terms.
    #[test]
    fn formulas_reduce_to_what_their_programs_do() {
        for &level in Level::available() {
            let cpu = Cpu::with_level(level);
            for dtype in [DType::F32, DType::F64] {
                for (lines, length) in [(3, 70_000), (100, 1000), (1000, 70), (1, 64)] {
                    let shape = Shape::new([lines, length]).unwrap();
                    let layout = Layout::contiguous(shape.clone());
                    let column = Layout::contiguous(Shape::new([lines, 1]).unwrap()).expand(&shape).unwrap();
                    let filled = |count: usize, seed: usize| {
                        let mut buffer = cpu.alloc(count * dtype.size()).unwrap();
                        for (number, element) in buffer.bytes_mut().chunks_exact_mut(dtype.size()).enumerate() {
                            let value = ((number * 7919 + seed * 104_729) % 1009) as f64 / 1009.0;
                            Scalar::Float(value).write(dtype, element);
                        }
                        buffer
                    };
                    let (x, c, y) = (filled(lines * length, 1), filled(lines, 2), filled(lines * length, 3));
                    let whole = |buffer| View { buffer, layout: &layout, dtype };
                    let same = View { buffer: &c, layout: &column, dtype };
                    let one = |first, then: fn(&mut Program, tensor_core::program::Reg) -> _| {
                        let mut p = Program::new();
                        let (a, b) = (p.input(dtype), p.input(dtype));
                        let value = p.binary(first, a, b);
                        let value = then(&mut p, value);
                        p.output(value);
                        p
                    };
                    let exp = one(BinaryOp::Sub, |p, value| p.unary(UnaryOp::Exp, value));
                    let square = one(BinaryOp::Sub, |p, value| p.unary(UnaryOp::Square, value));
                    let product = one(BinaryOp::Mul, |_, value| value);
                    let cases = [
                        (&exp, [whole(&x), same]),
                        (&square, [whole(&x), same]),
                        (&square, [whole(&x), whole(&y)]),
                        (&product, [whole(&x), whole(&y)]),
                    ];
                    for (prologue, inputs) in cases {
                        for (op, axes) in [(ReduceOp::Sum, &[1][..]), (ReduceOp::Sum, &[0, 1]), (ReduceOp::Max, &[1])] {
                            let spec = ReduceSpec { op, shape: &shape, axes, prologue };
                            let to = Layout::contiguous(spec.out_shape());
                            let results = [false, true].map(|by_formula| {
                                let mut buffer = cpu.alloc(to.numel() * dtype.size()).unwrap();
                                let mut out = ViewMut { buffer: &mut buffer, layout: &to, dtype };
                                if by_formula {
                                    let is_whole_and_column =
                                        lines > 1 && axes.len() == 2 && inputs[1].layout != &layout;
                                    assert_eq!(reduce(level, &spec, &inputs, &mut out), !is_whole_and_column);
                                    if is_whole_and_column {
                                        program::reduce(&cpu, &spec, &inputs, out).unwrap();
                                    }
                                } else {
                                    program::reduce(&cpu, &spec, &inputs, out).unwrap();
                                }
                                let elements = buffer.bytes().chunks_exact(dtype.size());
                                elements.map(|element| Scalar::read(dtype, element).as_f64()).collect::<Vec<_>>()
                            });
                            for (expected, got) in results[0].iter().zip(&results[1]) {
                                let off = (expected - got).abs() / expected.abs();
                                assert!(off <= 1.2e-7, "{prologue} {op:?} {axes:?} {dtype}: {got} for {expected}");
                            }
                        }
                    }
                }
            }
        }
    }
}
