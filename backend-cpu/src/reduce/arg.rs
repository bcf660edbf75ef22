//! Where the largest or smallest value stands.

use super::SHORT;
use super::fold::{Extremum, merge_all, wins};
use crate::Cpu;
use crate::number::{Number, Wide};
use crate::parallel::{GRAIN, for_each_range};
use crate::strided::{Axes, Axis, Source, Target, Walk, axes_of, count, merge};
use crate::vecmath::{Baseline, Isa, Level, Task};
use std::ops::Range;
use tensor_core::{View, ViewMut};

/// Values that are compared before one of them is looked for.
const BLOCK: usize = 1024;
/// Results that are computed side by side, at most.
const WIDTH: usize = 512;
/// Units of work from which on none is cut into segments.
const MANY: usize = 64;

/// The value that wins and its index.
type Best<W> = (W, usize);

/// See [`ReduceOp::ArgMax`](tensor_core::ReduceOp::ArgMax).
pub(super) fn run<T: Number, const MAX: bool>(
    level: Level,
    axis: usize,
    input: &View<'_, Cpu>,
    out: &mut ViewMut<'_, Cpu>,
) {
    let (dims, steps) = (input.layout.dims(), input.layout.strides());
    let along = Axis { size: dims[axis], steps: [steps[axis]] };
    let mut kept: Axes<2> = axes_of(dims, [steps], |number| number != axis)
        .into_iter()
        .zip(out.layout.strides())
        .map(|(Axis { size, steps: [step] }, &out)| Axis { size, steps: [step, out] })
        .collect();
    kept.sort_by_key(|axis| std::cmp::Reverse(axis.steps[0].unsigned_abs()));
    merge(&mut kept);
    let source = Source::<T>::new(input);
    let target = Target::<i64>::new(out);
    // The kept axis is the inner loop where it is the nearer one in memory, or the other is too short for one.
    let across = kept.last().copied().filter(|across| {
        let near = across.steps[0].unsigned_abs();
        near != 0
            && (along.steps[0] == 0
                || near < along.steps[0].unsigned_abs()
                || along.size < SHORT && across.size > along.size)
    });
    let (inner, outer) = match across {
        Some(inner) => (inner, &kept[..kept.len() - 1]),
        None => (Axis { size: 1, steps: [0, 0] }, &kept[..]),
    };
    let blocks = inner.size.div_ceil(WIDTH);
    let units = count(outer) * blocks;
    let width = inner.size.min(WIDTH);
    let segment = if units < MANY { (GRAIN / width).max(64) } else { along.size };
    let segments = along.size.div_ceil(segment);
    let mut bests =
        if segments > 1 { vec![(T::Wide::default(), 0); count(outer) * segments * inner.size] } else { Vec::new() };
    let partial = Target::from_ptr(bests.as_mut_ptr());
    let work = Args::<T, MAX> { level, along, inner, outer, source, target, partial, segment };
    let cost = width * along.size.min(segment);
    for_each_range(units * segments, (GRAIN / cost).max(1), |units| work.run(units));
    if segments > 1 {
        let mut walk = Walk::from(outer, 0);
        for bests in bests.chunks(segments * inner.size) {
            for column in 0..inner.size {
                let earlier_unless_better = |held: Best<T::Wide>, new: Best<T::Wide>| {
                    if !held.0.is_nan() && wins::<T::Wide, MAX>(new.0, held.0) { new } else { held }
                };
                let best = bests[column..].iter().step_by(inner.size).copied().reduce(earlier_unless_better);
                let at = walk.offsets[1] + column as isize * inner.steps[1];
                // SAFETY: this is one of the output's elements, and no other thread works any more.
                unsafe { target.at(at).write(best.map_or(0, |best| best.1 as i64)) };
            }
            walk.advance();
        }
    }
}

/// The work, in units `(place * blocks + block) * segments + segment`.
struct Args<'a, T: Number, const MAX: bool> {
    level: Level,
    along: Axis<1>,
    inner: Axis<2>,
    outer: &'a [Axis<2>],
    source: Source<T>,
    target: Target<i64>,
    partial: Target<Best<T::Wide>>,
    /// The length of a segment.
    segment: usize,
}

impl<T: Number, const MAX: bool> Args<'_, T, MAX> {
    fn run(&self, units: Range<usize>) {
        let segments = self.along.size.div_ceil(self.segment);
        let blocks = self.inner.size.div_ceil(WIDTH);
        let mut bests = [(T::Wide::default(), 0); WIDTH];
        for unit in units {
            let (unit, segment) = (unit / segments, unit % segments);
            let (place, block) = (unit / blocks, unit % blocks);
            let columns = block * WIDTH..((block + 1) * WIDTH).min(self.inner.size);
            let walk = Walk::from(self.outer, place);
            let range = segment * self.segment..((segment + 1) * self.segment).min(self.along.size);
            let first = walk.offsets[0]
                + columns.start as isize * self.inner.steps[0]
                + range.start as isize * self.along.steps[0];
            let from = Source::from_ptr(self.source.at(first));
            let bests = &mut bests[..columns.len()];
            // SAFETY: the columns lie within the inner axis and the range within the axis that is searched, so `from` plus
            // steps along both are elements of the input.
            unsafe {
                if self.inner.size == 1 {
                    bests[0] = line::<T, MAX>(self.level, from, self.along.steps[0], range.len());
                } else {
                    many_lines::<T, MAX>(
                        self.level,
                        from,
                        self.inner.steps[0],
                        self.along.steps[0],
                        range.len(),
                        bests,
                    );
                }
            }
            for (column, &(value, index)) in bests.iter().enumerate() {
                let (number, index) = (columns.start + column, range.start + index);
                if segments == 1 {
                    let at = walk.offsets[1] + number as isize * self.inner.steps[1];
                    // SAFETY: this is an element of the output that only this unit writes.
                    unsafe { self.target.at(at).write(index as i64) };
                } else {
                    let at = (place * segments + segment) * self.inner.size + number;
                    // SAFETY: there is a place for each result and segment, which only this unit writes.
                    unsafe { self.partial.at(at as isize).write((value, index)) };
                }
            }
        }
    }
}

/// The winner among `length` elements that lie `step` apart.
///
/// # Safety
/// They may be read; there is at least one.
unsafe fn line<T: Number, const MAX: bool>(level: Level, from: Source<T>, step: isize, length: usize) -> Best<T::Wide> {
    if step == 1 && T::IS_WIDE {
        // SAFETY: the caller's promise, for elements that are their own values; nobody writes the input meanwhile.
        let values = unsafe { std::slice::from_raw_parts(from.at(0).cast::<T::Wide>(), length) };
        return winner::<T::Wide, MAX>(level, length, &mut [], |_, begin, end| &values[begin..end]);
    }
    winner::<T::Wide, MAX>(level, length, &mut [T::Wide::default(); BLOCK], |tile, begin, end| {
        let tile = &mut tile[..end - begin];
        // SAFETY: the caller's promise.
        unsafe { T::widen_from(level, from.at(begin as isize * step), step, tile) };
        tile
    })
}

/// The winner of a line, whose blocks `block` gives by their beginnings and ends; it may put them into the tile.
fn winner<'a, W: Wide, const MAX: bool>(
    level: Level,
    length: usize,
    tile: &'a mut [W],
    block: impl for<'b> Fn(&'b mut [W], usize, usize) -> &'b [W] + 'a,
) -> Best<W> {
    let end = |begin: usize| length.min(begin + BLOCK);
    let mut best = (merge_all::<Extremum<W, MAX>>(level, block(tile, 0, end(0))), 0);
    for begin in (BLOCK..length).step_by(BLOCK) {
        if best.0.is_nan() {
            break;
        }
        let value = merge_all::<Extremum<W, MAX>>(level, block(tile, begin, end(begin)));
        if wins::<W, MAX>(value, best.0) {
            best = (value, begin);
        }
    }
    let begin = best.1;
    (best.0, begin + find(block(tile, begin, end(begin)), best.0))
}

/// The first place of a value, or of NaN, looked for in strides that vectors compare at once; 0 if it is nowhere.
fn find<W: Wide>(values: &[W], wanted: W) -> usize {
    const STRIDE: usize = 32;
    let is_it = |value: W| (value == wanted) | (value.is_nan() & wanted.is_nan());
    for (number, chunk) in values.chunks(STRIDE).enumerate() {
        if chunk.iter().fold(false, |any, &value| any | is_it(value)) {
            return number * STRIDE + chunk.iter().position(|&value| is_it(value)).unwrap_or(0);
        }
    }
    0
}

/// The winners of `bests.len()` lines that begin `across` apart.
///
/// # Safety
/// All their elements may be read; there are at most [`WIDTH`] lines of at least one element.
unsafe fn many_lines<T: Number, const MAX: bool>(
    level: Level,
    from: Source<T>,
    across: isize,
    along: isize,
    length: usize,
    bests: &mut [Best<T::Wide>],
) {
    // The longest stretch that narrow indices can number: as many of them fit into a vector as values do.
    const STRETCH: usize = u32::MAX as usize;
    let width = bests.len();
    let mut tile = [T::Wide::default(); WIDTH];
    let mut values = [T::Wide::default(); WIDTH];
    let mut places = [0u32; WIDTH];
    let (tile, values, places) = (&mut tile[..width], &mut values[..width], &mut places[..width]);
    // SAFETY: the caller's promise for the first element of each line.
    unsafe { T::widen_from(level, from.at(0), across, values) };
    bests.iter_mut().zip(&*values).for_each(|(best, &value)| *best = (value, 0));
    for base in (0..length).step_by(STRETCH) {
        places.fill(u32::MAX);
        for i in base..length.min(base + STRETCH) {
            let first = from.at(i as isize * along);
            let row = if across == 1 && T::IS_WIDE {
                // SAFETY: the caller's promise for neighbours that are their own values; nobody writes the input meanwhile.
                unsafe { std::slice::from_raw_parts(first.cast::<T::Wide>(), width) }
            } else {
                // SAFETY: the caller's promise.
                unsafe { T::widen_from(level, first, across, tile) };
                &*tile
            };
            let step = Step::<T::Wide, MAX> { values, places, row, place: (i - base) as u32 };
            if T::Wide::GAINS { level.run(step) } else { step.run::<Baseline>() }
        }
        for ((best, &value), &place) in bests.iter_mut().zip(&*values).zip(&*places) {
            if place != u32::MAX {
                *best = (value, base + place as usize);
            }
        }
    }
}

/// Lets a row's values compete with those that are ahead.
struct Step<'a, W, const MAX: bool> {
    values: &'a mut [W],
    places: &'a mut [u32],
    row: &'a [W],
    place: u32,
}

impl<W: Wide, const MAX: bool> Task for Step<'_, W, MAX> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for ((held, place), &new) in self.values.iter_mut().zip(self.places).zip(self.row) {
            let better = wins::<W, MAX>(new, *held) & !held.is_nan();
            *held = if better { new } else { *held };
            *place = if better { self.place } else { *place };
        }
    }
}
