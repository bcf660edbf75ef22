//! Softmax and its logarithm.
//!
//! A line, or a block of lines side by side, is read from memory once, into a scratch area of the dtype it is computed in;
//! maximum, exponentials and scaling pass over that.

use crate::Cpu;
use crate::number::{Float, Wide};
use crate::parallel::{GRAIN, for_each_range};
use crate::strided::{Axes, Axis, Source, Target, Walk, axes_of, count, merge};
use crate::vecmath::{Isa, Level, Real, Task, exp};
use std::ops::Range;
use tensor_core::{DType, View, ViewMut, bf16, f16};

/// Elements that pass through several loops before the next ones do.
const TILE: usize = 512;
/// Values that are summed side by side.
const LANES: usize = 32;
/// About as many bytes of scratch as the second-level cache holds beside the rest.
const SCRATCH: usize = 1 << 18;
/// Elements of a cache line, at least: narrower blocks would read each line several times.
const NARROWEST: usize = 32;

/// See [`Backend::softmax`](tensor_core::Backend::softmax).
pub(crate) fn softmax(level: Level, axis: usize, log: bool, input: &View<'_, Cpu>, mut out: ViewMut<'_, Cpu>) {
    if out.layout.numel() == 0 {
        return;
    }
    let out = &mut out;
    match (input.dtype, log) {
        (DType::F16, false) => run::<f16, false>(level, axis, input, out),
        (DType::F16, true) => run::<f16, true>(level, axis, input, out),
        (DType::BF16, false) => run::<bf16, false>(level, axis, input, out),
        (DType::BF16, true) => run::<bf16, true>(level, axis, input, out),
        (DType::F32, false) => run::<f32, false>(level, axis, input, out),
        (DType::F32, true) => run::<f32, true>(level, axis, input, out),
        (DType::F64, false) => run::<f64, false>(level, axis, input, out),
        (DType::F64, true) => run::<f64, true>(level, axis, input, out),
        (DType::Bool | DType::U8 | DType::I8 | DType::I16 | DType::I32 | DType::I64, _) => {
            unreachable!("the core passes float dtypes only")
        }
    }
}

fn run<T: Float, const LOG: bool>(level: Level, axis: usize, input: &View<'_, Cpu>, out: &mut ViewMut<'_, Cpu>) {
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
        let work = Blocks::<T, LOG> { along, inner, width, outer: &lines, source, target, units: 0..0 };
        for_each_range(count(&lines) * blocks, (GRAIN / 4 / (width * along.size)).max(1), |units| {
            level.run(Blocks { units, ..work });
        });
    } else if count(&lines) < rayon::current_num_threads() && along.size >= GRAIN {
        let mut walk = Walk::from(&lines, 0);
        for _ in 0..count(&lines) {
            let (source, target) = (source.at(walk.offsets[0]), target.at(walk.offsets[1]));
            long_line::<T, LOG>(level, along, Source::from_ptr(source), Target::from_ptr(target));
            walk.advance();
        }
    } else {
        let work = Lines::<T, LOG> { along, lines: &lines, source, target, units: 0..0 };
        for_each_range(count(&lines), (GRAIN / 4 / along.size).max(1), |units| {
            level.run(Lines { units, ..work });
        });
    }
}

/// Loads a line's elements from `range`.
///
/// # Safety
/// They may be read.
#[inline(always)]
unsafe fn load<T: Float>(from: *const T, step: isize, range: Range<usize>, to: &mut [T::Real]) {
    let first = from.wrapping_offset(range.start as isize * step);
    if step == 1 {
        // SAFETY: the caller's promise; nobody writes the input meanwhile.
        let values = unsafe { std::slice::from_raw_parts(first, range.len()) };
        for (to, &value) in to.iter_mut().zip(values) {
            *to = value.widen();
        }
    } else {
        for (i, to) in to.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *to = unsafe { first.offset(i as isize * step).read() }.widen();
        }
    }
}

/// Stores elements to a line's `range`.
///
/// # Safety
/// They may be written, and nobody else accesses them.
#[inline(always)]
unsafe fn store<T: Float>(to: *mut T, step: isize, range: Range<usize>, values: impl Iterator<Item = T::Real>) {
    let first = to.wrapping_offset(range.start as isize * step);
    if step == 1 {
        // SAFETY: the caller's promise.
        let to = unsafe { std::slice::from_raw_parts_mut(first, range.len()) };
        for (to, value) in to.iter_mut().zip(values) {
            *to = T::narrow(value);
        }
    } else {
        for (i, value) in values.enumerate() {
            // SAFETY: the caller's promise.
            unsafe { first.offset(i as isize * step).write(T::narrow(value)) };
        }
    }
}

/// The larger one; NaN if one is.
#[inline(always)]
fn larger<R: Wide>(a: R, b: R) -> R {
    if (b > a) | b.is_nan() { b } else { a }
}

#[inline(always)]
fn largest<R: Wide>(values: &[R]) -> R {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [R::LOWEST; LANES];
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane = larger(*lane, value);
    }
    lanes.into_iter().fold(R::LOWEST, larger)
}

#[inline(always)]
fn sum<R: Wide<Sum = f64>>(values: &[R]) -> f64 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += value.to_sum();
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane += value.to_sum();
    }
    lanes.into_iter().sum()
}

/// Replaces a tile by its exponentials, or only computes them for the sum; gives their sum.
#[inline(always)]
fn exponentials<I: Isa, R: Wide<Sum = f64> + Real, const LOG: bool>(tile: &mut [R], largest: R) -> f64 {
    if LOG {
        let mut spare = [R::default(); TILE];
        let spare = &mut spare[..tile.len()];
        for (e, x) in spare.iter_mut().zip(tile) {
            *x = *x - largest;
            *e = exp::<I, R>(*x);
        }
        sum(spare)
    } else {
        for x in &mut *tile {
            *x = exp::<I, R>(*x - largest);
        }
        sum(tile)
    }
}

/// The last step: a shifted value less the sum's logarithm, or an exponential times the sum's reciprocal.
#[inline(always)]
fn finish<R: Real, const LOG: bool>(x: R, last: R) -> R {
    if LOG { x - last } else { x * last }
}

/// What [`finish`] needs, from the sum of the exponentials.
#[inline(always)]
fn last<R: Wide<Sum = f64>, const LOG: bool>(total: f64) -> R {
    R::from_sum(if LOG { total.ln() } else { 1.0 / total })
}

/// Lines, one after another.
struct Lines<'a, T, const LOG: bool> {
    along: Axis<2>,
    lines: &'a [Axis<2>],
    source: Source<T>,
    target: Target<T>,
    units: Range<usize>,
}

impl<T: Float, const LOG: bool> Task for Lines<'_, T, LOG> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Axis { size, steps } = self.along;
        let mut scratch = vec![T::Real::default(); size];
        let mut walk = Walk::from(self.lines, self.units.start);
        for _ in self.units {
            let (from, to) = (self.source.at(walk.offsets[0]), self.target.at(walk.offsets[1]));
            // SAFETY: a line of the input.
            unsafe { load(from, steps[0], 0..size, &mut scratch) };
            let top = largest(&scratch);
            let total: f64 = scratch.chunks_mut(TILE).map(|tile| exponentials::<I, T::Real, LOG>(tile, top)).sum();
            let last = last::<T::Real, LOG>(total);
            // SAFETY: a line of the output, which only this unit accesses.
            unsafe { store(to, steps[1], 0..size, scratch.iter().map(|&x| finish::<T::Real, LOG>(x, last))) };
            walk.advance();
        }
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

/// A piece of a long line.
struct Piece<T: Float, const LOG: bool> {
    along: Axis<2>,
    source: Source<T>,
    target: Target<T>,
    range: Range<usize>,
    pass: Pass<T::Real>,
}

impl<T: Float, const LOG: bool> Task for Piece<T, LOG> {
    type Output = (T::Real, f64);

    #[inline(always)]
    fn run<I: Isa>(self) -> (T::Real, f64) {
        let Axis { steps, .. } = self.along;
        let mut tile = [T::Real::default(); TILE];
        let (mut top_here, mut total) = (T::Real::LOWEST, 0.0);
        for start in self.range.clone().step_by(TILE) {
            let range = start..self.range.end.min(start + TILE);
            let tile = &mut tile[..range.len()];
            // SAFETY: elements of the line.
            unsafe { load(self.source.at(0), steps[0], range.clone(), tile) };
            match self.pass {
                Pass::Largest => top_here = larger(top_here, largest(tile)),
                Pass::Sum { top } => total += exponentials::<I, T::Real, LOG>(tile, top),
                Pass::Finish { top, last } => {
                    for x in &mut *tile {
                        *x = if LOG { *x - top } else { exp::<I, T::Real>(*x - top) };
                    }
                    let results = tile.iter().map(|&x| finish::<T::Real, LOG>(x, last));
                    // SAFETY: elements of the output's line, which only this piece accesses.
                    unsafe { store(self.target.at(0), steps[1], range, results) };
                }
            }
        }
        (top_here, total)
    }
}

/// One line on several threads, in three passes over memory. The pieces do not depend on the number of threads.
fn long_line<T: Float, const LOG: bool>(level: Level, along: Axis<2>, source: Source<T>, target: Target<T>) {
    const PIECE: usize = GRAIN / 4;
    let mut results = vec![(T::Real::LOWEST, 0.0); along.size.div_ceil(PIECE)];
    let at = Target::from_ptr(results.as_mut_ptr());
    let run = |pass| {
        for_each_range(along.size, PIECE, |range| {
            let number = (range.start / PIECE) as isize;
            let result = level.run(Piece::<T, LOG> { along, source, target, range, pass });
            // SAFETY: there is a place for each piece, which only its task writes; nobody reads before all are done.
            unsafe { at.at(number).write(result) };
        });
    };
    run(Pass::Largest);
    let top = results.iter().fold(T::Real::LOWEST, |top, result| larger(top, result.0));
    run(Pass::Sum { top });
    let total: f64 = results.iter().map(|result| result.1).sum();
    run(Pass::Finish { top, last: last::<T::Real, LOG>(total) });
}

/// Lines side by side: unit `place * blocks + block`.
struct Blocks<'a, T, const LOG: bool> {
    along: Axis<2>,
    inner: Axis<2>,
    /// Lines in a block.
    width: usize,
    outer: &'a [Axis<2>],
    source: Source<T>,
    target: Target<T>,
    units: Range<usize>,
}

impl<T: Float, const LOG: bool> Task for Blocks<'_, T, LOG> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let blocks = self.inner.size.div_ceil(self.width);
        let mut scratch = vec![T::Real::default(); self.width * self.along.size];
        let (mut tops, mut totals) = ([T::Real::LOWEST; TILE], [0.0; TILE]);
        for unit in self.units {
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
                unsafe { load(self.source.at(at(0, i)), self.inner.steps[0], 0..width, row) };
                raise(tops, row);
            }
            for row in scratch.chunks_mut(width) {
                exponentials_of_row::<I, T::Real, LOG>(row, tops, totals);
            }
            // The tops are not needed any more.
            for (last_step, &total) in tops.iter_mut().zip(&*totals) {
                *last_step = last::<T::Real, LOG>(total);
            }
            for (i, row) in scratch.chunks(width).enumerate() {
                let results = row.iter().zip(&*tops).map(|(&x, &last)| finish::<T::Real, LOG>(x, last));
                // SAFETY: elements of the output, which only this unit accesses.
                unsafe { store(self.target.at(at(1, i)), self.inner.steps[1], 0..width, results) };
            }
        }
    }
}

#[inline(always)]
fn raise<R: Wide>(tops: &mut [R], row: &[R]) {
    for (top, &x) in tops.iter_mut().zip(row) {
        *top = larger(*top, x);
    }
}

#[inline(always)]
fn exponentials_of_row<I: Isa, R: Wide<Sum = f64> + Real, const LOG: bool>(
    row: &mut [R],
    tops: &[R],
    totals: &mut [f64],
) {
    for ((x, &top), total) in row.iter_mut().zip(tops).zip(totals) {
        let shifted = *x - top;
        let e = exp::<I, R>(shifted);
        *x = if LOG { shifted } else { e };
        *total += e.to_sum();
    }
}
