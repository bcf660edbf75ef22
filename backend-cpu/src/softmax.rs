//! Softmax and its logarithm.
//!
//! A line, or a block of lines side by side, is read from memory once, into a scratch area of the dtype it is computed in;
//! maximum, exponentials and scaling pass over that.

use crate::Cpu;
use crate::number::{Float, Wide};
use crate::parallel::{GRAIN, for_each_range};
use crate::reduce::fold::{Extremum, Fold, Sum, merge_all};
use crate::strided::{Axes, Axis, Source, Target, Walk, axes_of, count, merge};
use crate::vecmath::{Isa, Level, Real, Task, exp};
use std::ops::Range;
use tensor_core::{DType, View, ViewMut, bf16, f16};

/// Elements that pass through several loops before the next ones do.
const TILE: usize = 512;
/// About as many bytes of scratch as the second-level cache holds beside the rest.
const SCRATCH: usize = 1 << 18;
/// Elements of a cache line, at least: narrower blocks would read each line several times.
const NARROWEST: usize = 32;
/// Fewer long lines than this are cut into pieces for several threads.
const FEW: usize = 16;

/// See [`Backend::softmax`](tensor_core::Backend::softmax).
pub(crate) fn softmax(level: Level, axis: usize, log: bool, input: &View<'_, Cpu>, mut out: ViewMut<'_, Cpu>) {
    if out.layout.numel() == 0 {
        return;
    }
    let out = &mut out;
    match input.dtype {
        DType::F16 => run::<f16>(level, axis, log, input, out),
        DType::BF16 => run::<bf16>(level, axis, log, input, out),
        DType::F32 => run::<f32>(level, axis, log, input, out),
        DType::F64 => run::<f64>(level, axis, log, input, out),
        DType::Bool | DType::U8 | DType::I8 | DType::I16 | DType::I32 | DType::I64 => {
            unreachable!("the core passes float dtypes only")
        }
    }
}

fn run<T: Float>(level: Level, axis: usize, log: bool, input: &View<'_, Cpu>, out: &mut ViewMut<'_, Cpu>) {
    let (dims, steps) = (input.layout.dims(), [input.layout.strides(), out.layout.strides()]);
    let along = Axis { size: dims[axis], steps: steps.map(|steps| steps[axis]) };
    let mut lines: Axes<2> = axes_of(dims, steps, |number| number != axis);
    lines.sort_by_key(|axis| std::cmp::Reverse(axis.steps[1].unsigned_abs()));
    merge(&mut lines);
    let (source, target) = (Source::<T>::new(input), Target::<T>::new(out));
    let across = lines.last().copied().filter(|inner| inner.steps[1].unsigned_abs() < along.steps[1].unsigned_abs());
    if let Some(inner) = across {
        lines.pop();
        let width = (SCRATCH / size_of::<T::Real>() / along.size).clamp(NARROWEST, TILE).min(inner.size);
        let blocks = inner.size.div_ceil(width);
        let work = Blocks::<T> { level, log, along, inner, width, outer: &lines, source, target };
        for_each_range(count(&lines) * blocks, (GRAIN / 4 / (width * along.size)).max(1), |units| work.run(units));
    } else if count(&lines) < FEW && along.size >= GRAIN {
        let mut walk = Walk::from(&lines, 0);
        for _ in 0..count(&lines) {
            let (source, target) = (source.at(walk.offsets[0]), target.at(walk.offsets[1]));
            long_line::<T>(level, log, along, Source::from_ptr(source), Target::from_ptr(target));
            walk.advance();
        }
    } else {
        for_each_range(count(&lines), (GRAIN / 4 / along.size).max(1), |units| {
            self::lines::<T>(level, log, along, &lines, source, target, units);
        });
    }
}

/// What a value is computed in.
trait Computed: Wide<Sum = f64> + Real {}
impl<R: Wide<Sum = f64> + Real> Computed for R {}

fn largest<R: Computed>(level: Level, values: &[R]) -> R {
    merge_all::<Extremum<R, true>>(level, values)
}

/// Replaces values by what [`Finish`] needs, and gives the sum of their exponentials: values less the top for the logarithm,
/// else their exponentials.
fn exponentials<R: Computed>(level: Level, values: &mut [R], top: R, log: bool) -> f64 {
    let mut spare = [R::default(); TILE];
    let mut total = Sum::<R>::EMPTY;
    for tile in values.chunks_mut(TILE) {
        let spare = &mut spare[..tile.len()];
        level.run(Exponentials { tile, spare, top });
        total = Sum::<R>::take(total, merge_all::<Sum<R>>(level, spare));
        if !log {
            tile.copy_from_slice(spare);
        }
    }
    total.0
}

/// Takes the top off a tile, and puts the exponentials of what is left into another.
struct Exponentials<'a, R> {
    tile: &'a mut [R],
    spare: &'a mut [R],
    top: R,
}

impl<R: Computed> Task for Exponentials<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for (e, x) in self.spare.iter_mut().zip(self.tile) {
            *x = *x - self.top;
            *e = exp::<I, R>(*x);
        }
    }
}

/// The last step: values less the sum's logarithm, or exponentials times the sum's reciprocal. What comes last may be one
/// for all values, or one for each.
struct Finish<'a, R> {
    values: &'a mut [R],
    last: &'a [R],
    log: bool,
}

impl<R: Computed> Task for Finish<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        match (self.last, self.log) {
            (&[last], true) => self.values.iter_mut().for_each(|x| *x = *x - last),
            (&[last], false) => self.values.iter_mut().for_each(|x| *x = *x * last),
            (last, true) => self.values.iter_mut().zip(last).for_each(|(x, &last)| *x = *x - last),
            (last, false) => self.values.iter_mut().zip(last).for_each(|(x, &last)| *x = *x * last),
        }
    }
}

/// What [`Finish`] needs, from the sum of the exponentials.
fn last<R: Computed>(total: f64, log: bool) -> R {
    R::from_sum(if log { total.ln() } else { 1.0 / total })
}

/// Some lines, one after another.
fn lines<T: Float>(
    level: Level,
    log: bool,
    along: Axis<2>,
    lines: &[Axis<2>],
    from: Source<T>,
    to: Target<T>,
    units: Range<usize>,
) {
    let Axis { size, steps } = along;
    let mut scratch = vec![T::Real::default(); size];
    let mut walk = Walk::from(lines, units.start);
    for _ in units {
        // SAFETY: a line of the input.
        unsafe { T::widen_from(level, from.at(walk.offsets[0]), steps[0], &mut scratch) };
        let top = largest(level, &scratch);
        let last = last(exponentials(level, &mut scratch, top, log), log);
        level.run(Finish { values: &mut scratch, last: &[last], log });
        // SAFETY: a line of the output, which only this task accesses.
        unsafe { T::narrow_to(level, &scratch, to.at(walk.offsets[1]), steps[1]) };
        walk.advance();
    }
}

/// What a pass over a piece of a long line does.
#[derive(Clone, Copy)]
enum Pass<R> {
    /// Gives the largest element.
    Largest,
    /// Gives the sum of the exponentials.
    Sum { top: R },
    /// Writes the results; gives nothing of use.
    Finish { top: R, last: R },
}

/// One line on several threads, in three passes over memory. The pieces do not depend on the number of threads.
fn long_line<T: Float>(level: Level, log: bool, along: Axis<2>, source: Source<T>, target: Target<T>) {
    const PIECE: usize = GRAIN / 4;
    let mut results = vec![(T::Real::LOWEST, 0.0); along.size.div_ceil(PIECE)];
    let at = Target::from_ptr(results.as_mut_ptr());
    let run = |pass| {
        for_each_range(along.size, PIECE, |range| {
            let mut values = vec![T::Real::default(); range.len()];
            let [from, to] = along.steps.map(|step| range.start as isize * step);
            // SAFETY: elements of the line.
            unsafe { T::widen_from(level, source.at(from), along.steps[0], &mut values) };
            let result = match pass {
                Pass::Largest => (largest(level, &values), 0.0),
                Pass::Sum { top } => (top, exponentials(level, &mut values, top, log)),
                Pass::Finish { top, last } => {
                    exponentials(level, &mut values, top, log);
                    level.run(Finish { values: &mut values, last: &[last], log });
                    // SAFETY: elements of the output's line, which only this piece accesses.
                    unsafe { T::narrow_to(level, &values, target.at(to), along.steps[1]) };
                    (top, 0.0)
                }
            };
            // SAFETY: there is a place for each piece, which only its task writes; nobody reads before all are done.
            unsafe { at.at((range.start / PIECE) as isize).write(result) };
        });
    };
    run(Pass::Largest);
    let tops: Vec<T::Real> = results.iter().map(|result| result.0).collect();
    let top = largest(level, &tops);
    run(Pass::Sum { top });
    let total: f64 = results.iter().map(|result| result.1).sum();
    run(Pass::Finish { top, last: last(total, log) });
}

/// Lines side by side.
struct Blocks<'a, T> {
    level: Level,
    log: bool,
    along: Axis<2>,
    inner: Axis<2>,
    /// Lines in a block.
    width: usize,
    outer: &'a [Axis<2>],
    source: Source<T>,
    target: Target<T>,
}

impl<T: Float> Blocks<'_, T> {
    /// Some blocks: unit `place * blocks + block`.
    fn run(&self, units: Range<usize>) {
        let Self { level, log, .. } = *self;
        let blocks = self.inner.size.div_ceil(self.width);
        let mut scratch = vec![T::Real::default(); self.width * self.along.size];
        let (mut tops, mut totals) = ([T::Real::LOWEST; TILE], [0.0; TILE]);
        for unit in units {
            let (place, start) = (unit / blocks, unit % blocks * self.width);
            let width = self.width.min(self.inner.size - start);
            let walk = Walk::from(self.outer, place);
            let at = |tensor: usize, i: usize| {
                walk.offsets[tensor] + start as isize * self.inner.steps[tensor] + i as isize * self.along.steps[tensor]
            };
            let scratch = &mut scratch[..width * self.along.size];
            let (tops, totals) = (&mut tops[..width], &mut totals[..width]);
            tops.fill(T::Real::LOWEST);
            totals.fill(0.0);
            for (i, row) in scratch.chunks_mut(width).enumerate() {
                // SAFETY: elements of the input.
                unsafe { T::widen_from(level, self.source.at(at(0, i)), self.inner.steps[0], row) };
                level.run(Raise { tops, row });
            }
            for row in scratch.chunks_mut(width) {
                level.run(RowExponentials { row, tops, totals, log });
            }
            // The tops are not needed any more.
            for (top, &total) in tops.iter_mut().zip(&*totals) {
                *top = last(total, log);
            }
            for (i, row) in scratch.chunks_mut(width).enumerate() {
                level.run(Finish { values: row, last: tops, log });
                // SAFETY: elements of the output, which only this unit accesses.
                unsafe { T::narrow_to(level, row, self.target.at(at(1, i)), self.inner.steps[1]) };
            }
        }
    }
}

/// Lifts the tops of lines to a row's values.
struct Raise<'a, R> {
    tops: &'a mut [R],
    row: &'a [R],
}

impl<R: Computed> Task for Raise<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for (top, &x) in self.tops.iter_mut().zip(self.row) {
            *top = Extremum::<R, true>::merge(*top, x);
        }
    }
}

/// What [`Exponentials`] does, for a row whose values have tops and sums of their own.
struct RowExponentials<'a, R> {
    row: &'a mut [R],
    tops: &'a [R],
    totals: &'a mut [f64],
    log: bool,
}

impl<R: Computed> Task for RowExponentials<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for ((x, &top), total) in self.row.iter_mut().zip(self.tops).zip(self.totals) {
            let shifted = *x - top;
            let e = exp::<I, R>(shifted);
            *x = if self.log { shifted } else { e };
            *total += e.to_sum();
        }
    }
}
