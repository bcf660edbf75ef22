//! Softmax and its logarithm.
//!
//! A line, or a block of lines side by side, is read from memory once; maximum, exponentials and scaling pass over what is
//! in the cache then.

use crate::Cpu;
use crate::number::{Float, Wide};
use crate::parallel::{GRAIN, for_each_range};
use crate::pointwise::moves;
use crate::reduce::fold::{Extremum, Fold, ROWS, Sum, merge_all, merge_rows};
use crate::strided::{Axes, Axis, Source, Target, Walk, axes_of, count, merge};
use crate::vecmath::{Isa, Level, Real, Task, exp_of_differences, takes_longer_than_memory};
use smallvec::SmallVec;
use std::ops::Range;
use tensor_core::{DType, View, ViewMut, bf16, f16};

/// Elements that pass through several loops before the next ones do.
const TILE: usize = 512;
/// About as many bytes of scratch as the second-level cache holds beside the rest.
const SCRATCH: usize = 1 << 18;
/// Where [`SCRATCH`] has room for little more than [`NARROWEST`] lines, so many are taken instead, as far as they fit into so many
/// bytes: memory is slow in short pieces, and the third-level cache is not.
const WIDER: (usize, usize) = (128, 1 << 21);
/// Elements of a cache line, at least: narrower blocks would read each line several times.
const NARROWEST: usize = 32;
/// Lines up to this length are computed side by side: alone, each would take longer to begin than to compute.
const SHORT: usize = 64;
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
    let across = lines.last().copied().filter(|inner| {
        inner.steps[1].unsigned_abs() < along.steps[1].unsigned_abs() || along.size <= SHORT && inner.size >= SHORT / 4
    });
    if let Some(inner) = across {
        lines.pop();
        let fitting = |bytes: usize| bytes / size_of::<T::Real>() / along.size;
        let width = match fitting(SCRATCH) {
            few if few < 2 * NARROWEST => fitting(WIDER.1).min(WIDER.0),
            width => width,
        };
        let width = width.clamp(NARROWEST, TILE).min(inner.size);
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
        let bytes = count(&lines) * along.size * size_of::<T>();
        let streamed = moves::STREAMS && T::IS_WIDE && along.steps[1] == 1 && bytes >= moves::STREAM_BYTES;
        for_each_range(count(&lines), (GRAIN / 4 / along.size).max(1), |units| {
            self::lines::<T>(level, log, along, &lines, source, target, streamed, units);
        });
    }
}

/// What a value is computed in.
trait Computed: Wide<Sum = f64> + Real {}
impl<R: Wide<Sum = f64> + Real> Computed for R {}

fn largest<R: Computed>(level: Level, values: &[R]) -> R {
    merge_all::<Extremum<R, true>>(level, values)
}

/// The sum of the exponentials of values less the top, which are put into `kept` if that is not empty.
///
/// Meanwhile memory is asked for what lies `ahead` bytes behind them, unless that is 0.
fn exponentials<R: Computed>(level: Level, values: &[R], ahead: usize, top: R, kept: &mut [R]) -> f64 {
    let mut spare = [R::default(); TILE];
    let mut total = Sum::<R>::EMPTY;
    for (number, from) in values.chunks(TILE).enumerate() {
        let to = if kept.is_empty() { &mut spare[..] } else { &mut kept[number * TILE..] };
        let to = &mut to[..from.len()];
        level.run(Exponentials { from, ahead, to, top });
        total = Sum::<R>::take(total, merge_all::<Sum<R>>(level, to));
    }
    total.0
}

/// The exponentials of values less the top.
struct Exponentials<'a, R> {
    from: &'a [R],
    ahead: usize,
    to: &'a mut [R],
    top: R,
}

impl<R: Computed> Task for Exponentials<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { from, ahead, to, top } = self;
        if takes_longer_than_memory::<I>() && ahead > 0 {
            moves::prefetch(from.as_ptr().wrapping_byte_add(ahead), from.len());
        }
        exp_of_differences::<I, R>(from, top, to);
    }
}

/// The last step: values less the top less the sum's logarithm, or exponentials times the sum's reciprocal.
struct Finish<'a, R> {
    from: &'a [R],
    to: &'a mut [R],
    top: R,
    last: R,
    log: bool,
}

impl<R: Computed> Task for Finish<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { from, to, top, last, log } = self;
        if log {
            to.iter_mut().zip(from).for_each(|(y, &x)| *y = x - top - last);
        } else {
            to.iter_mut().zip(from).for_each(|(y, &x)| *y = x * last);
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
    streamed: bool,
    units: Range<usize>,
) {
    let Axis { size, steps } = along;
    let in_place = T::IS_WIDE && steps[0] == 1;
    let mut collected = vec![T::Real::default(); if in_place { 0 } else { size }];
    let mut kept = vec![T::Real::default(); if log { 0 } else { size }];
    let mut spare = [T::Real::default(); TILE];
    let mut walk = Walk::from(lines, units.start);
    for _ in units {
        let at = walk.offsets;
        walk.advance();
        let values = if in_place {
            // SAFETY: a line of the input, whose elements are their own values; nobody writes it meanwhile.
            unsafe { std::slice::from_raw_parts(from.at(at[0]).cast::<T::Real>(), size) }
        } else {
            // SAFETY: a line of the input.
            unsafe { T::widen_from(level, from.at(at[0]), steps[0], &mut collected) };
            &collected[..]
        };
        let top = largest(level, values);
        let last =
            last(exponentials(level, values, if in_place { size_of_val(values) } else { 0 }, top, &mut kept), log);
        let values = if log { values } else { &kept[..] };
        for (number, from) in values.chunks(TILE).enumerate() {
            let to = to.at(at[1] + (number * TILE) as isize * steps[1]);
            if T::IS_WIDE && steps[1] == 1 && !streamed {
                // SAFETY: a piece of the output's line, whose elements are their own values; only this task accesses it.
                let to = unsafe { std::slice::from_raw_parts_mut(to.cast::<T::Real>(), from.len()) };
                level.run(Finish { from, to, top, last, log });
                continue;
            }
            let spare = &mut spare[..from.len()];
            level.run(Finish { from, to: spare, top, last, log });
            // SAFETY: as above; `spare` has as many values.
            unsafe {
                if T::IS_WIDE && streamed {
                    moves::stream(level, to.cast(), spare.as_ptr().cast(), size_of_val(spare));
                } else {
                    T::narrow_to(level, spare, to, steps[1]);
                }
            }
        }
    }
    if streamed {
        moves::end_streams();
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
                Pass::Sum { top } => (top, exponentials(level, &values, 0, top, &mut [])),
                Pass::Finish { top, last } => {
                    let mut results = vec![T::Real::default(); values.len()];
                    if !log {
                        level.run(Exponentials { from: &values, ahead: 0, to: &mut results, top });
                        values.copy_from_slice(&results);
                    }
                    level.run(Finish { from: &values, to: &mut results, top, last, log });
                    // SAFETY: elements of the output's line, which only this piece accesses.
                    unsafe { T::narrow_to(level, &results, target.at(to), along.steps[1]) };
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
        let Self { level, log, along, inner, .. } = *self;
        let blocks = inner.size.div_ceil(self.width);
        let mut scratch = vec![T::Real::default(); self.width * along.size];
        let (mut tops, mut totals) = ([T::Real::LOWEST; TILE], [0.0; TILE]);
        for unit in units {
            let (place, start) = (unit / blocks, unit % blocks * self.width);
            let width = self.width.min(inner.size - start);
            let walk = Walk::from(self.outer, place);
            let first = [0, 1].map(|tensor| walk.offsets[tensor] + start as isize * inner.steps[tensor]);
            let scratch = &mut scratch[..width * along.size];
            // SAFETY: elements of the input.
            unsafe { self.read(first[0], width, scratch) };
            let tops = &mut tops[..width];
            tops.fill(T::Real::LOWEST);
            for rows in scratch.chunks(ROWS * width) {
                let rows: SmallVec<[&[T::Real]; ROWS]> = rows.chunks(width).collect();
                merge_rows::<Extremum<T::Real, true>>(level, tops, &rows);
            }
            level.run(Block { values: scratch, tops, totals: &mut totals[..width], log });
            // SAFETY: elements of the output, which only this unit accesses.
            unsafe { self.write(first[1], width, scratch) };
        }
    }

    /// Collects a block whose first element lies at `first`, the lines' elements at one position together.
    ///
    /// # Safety
    /// The elements of `width` lines from there on may be read, and nobody writes them.
    unsafe fn read(&self, first: isize, width: usize, to: &mut [T::Real]) {
        let (along, across) = (self.along.steps[0], self.inner.steps[0]);
        // SAFETY: the caller's promise; the values are `along.size` times `width`, and elements that are values have their
        // size.
        unsafe {
            if T::IS_WIDE && along == 1 {
                let (from, to) = (self.source.at(first).cast(), to.as_mut_ptr().cast());
                moves::gather_panel(self.level, size_of::<T>(), to, width, from, (1, across), (self.along.size, width));
                return;
            }
            for (i, row) in to.chunks_mut(width).enumerate() {
                T::widen_from(self.level, self.source.at(first + i as isize * along), across, row);
            }
        }
    }

    /// Puts a block where it belongs.
    ///
    /// # Safety
    /// The elements of `width` lines from `first` on may be written, and nobody else accesses them.
    unsafe fn write(&self, first: isize, width: usize, from: &[T::Real]) {
        let (along, across) = (self.along.steps[1], self.inner.steps[1]);
        // SAFETY: as for `read`.
        unsafe {
            if T::IS_WIDE && along == 1 && across > 0 {
                let (from, to) = (from.as_ptr().cast(), self.target.at(first).cast());
                let (pitch, steps) = (across as usize, (1, width as isize));
                moves::gather_panel(self.level, size_of::<T>(), to, pitch, from, steps, (width, self.along.size));
                return;
            }
            for (i, row) in from.chunks(width).enumerate() {
                T::narrow_to(self.level, row, self.target.at(first + i as isize * along), across);
            }
        }
    }
}

/// A block of lines side by side, from values to results.
struct Block<'a, R> {
    values: &'a mut [R],
    /// Each line's largest value.
    tops: &'a mut [R],
    /// Space for as many.
    totals: &'a mut [f64],
    log: bool,
}

impl<R: Computed> Task for Block<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { values, tops, totals, log } = self;
        let width = tops.len();
        totals.fill(0.0);
        // Each loop is wide by itself: together they would be as narrow as the totals' f64.
        let mut exponentials = [R::default(); TILE];
        let exponentials = &mut exponentials[..width];
        for row in values.chunks_mut(width) {
            row.iter_mut().zip(&*tops).for_each(|(x, &top)| *x = *x - top);
            exp_of_differences::<I, R>(row, R::lit(0.0), exponentials);
            totals.iter_mut().zip(&*exponentials).for_each(|(total, e)| *total += e.to_sum());
            if !log {
                row.copy_from_slice(exponentials);
            }
        }
        // The tops are not needed any more.
        for (top, &total) in tops.iter_mut().zip(&*totals) {
            *top = last(total, log);
        }
        for row in values.chunks_mut(width) {
            for (x, &last) in row.iter_mut().zip(&*tops) {
                *x = if log { *x - last } else { *x * last };
            }
        }
    }
}
