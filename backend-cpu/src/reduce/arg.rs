//! Where the largest or smallest value stands.

use super::collect;
use super::fold::{Extremum, Fold, wins};
use crate::Cpu;
use crate::number::{Number, Wide};
use crate::parallel::{GRAIN, for_each_range};
use crate::strided::{Axes, Axis, Source, Target, Walk, axes_of, count, merge};
use crate::vecmath::{Isa, Level, Task};
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
        near != 0 && (along.steps[0] == 0 || near < along.steps[0].unsigned_abs() || along.size < 8 && across.size > 8)
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
    let work = Args::<T, MAX> { along, inner, outer, source, target, partial, segment, units: 0..0 };
    let cost = width * along.size.min(segment);
    for_each_range(units * segments, (GRAIN / cost).max(1), |units| {
        level.run(Args { units, ..work });
    });
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

/// Some units of work: unit `(place * blocks + block) * segments + segment`.
struct Args<'a, T: Number, const MAX: bool> {
    along: Axis<1>,
    inner: Axis<2>,
    outer: &'a [Axis<2>],
    source: Source<T>,
    target: Target<i64>,
    partial: Target<Best<T::Wide>>,
    /// The length of a segment.
    segment: usize,
    units: Range<usize>,
}

impl<T: Number, const MAX: bool> Task for Args<'_, T, MAX> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let segments = self.along.size.div_ceil(self.segment);
        let blocks = self.inner.size.div_ceil(WIDTH);
        let mut bests = [(T::Wide::default(), 0); WIDTH];
        for unit in self.units.clone() {
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
                    bests[0] = line::<T, MAX>(from, self.along.steps[0], range.len());
                } else {
                    many_lines::<T, MAX>(from, self.inner.steps[0], self.along.steps[0], range.len(), bests);
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
#[inline(always)]
unsafe fn line<T: Number, const MAX: bool>(from: Source<T>, step: isize, length: usize) -> Best<T::Wide> {
    if step == 1 {
        // SAFETY: the caller's promise; nobody writes the input meanwhile.
        let values = unsafe { std::slice::from_raw_parts(from.at(0), length) };
        return winner::<T, MAX>(length, &mut [], |_, begin, end| &values[begin..end]);
    }
    winner::<T, MAX>(length, &mut [T::default(); BLOCK], |tile, begin, end| {
        let tile = &mut tile[..end - begin];
        // SAFETY: the caller's promise.
        unsafe { collect(from.at(begin as isize * step), step, tile) };
        tile
    })
}

/// The winner of a line, whose blocks `block` gives by their beginnings and ends; it may put them into the tile.
#[inline(always)]
fn winner<'a, T: Number, const MAX: bool>(
    length: usize,
    tile: &'a mut [T],
    block: impl for<'b> Fn(&'b mut [T], usize, usize) -> &'b [T] + 'a,
) -> Best<T::Wide> {
    let end = |begin: usize| length.min(begin + BLOCK);
    let mut best = (extremum::<T, MAX>(block(tile, 0, end(0))), 0);
    for begin in (BLOCK..length).step_by(BLOCK) {
        if best.0.is_nan() {
            break;
        }
        let value = extremum::<T, MAX>(block(tile, begin, end(begin)));
        if wins::<T::Wide, MAX>(value, best.0) {
            best = (value, begin);
        }
    }
    let is_it = |value: T| if best.0.is_nan() { value.widen().is_nan() } else { value.widen() == best.0 };
    let begin = best.1;
    (best.0, begin + find(block(tile, begin, end(begin)), is_it))
}

/// The first place of a value, looked for in strides that vectors compare at once; 0 if it is nowhere.
#[inline(always)]
fn find<T: Copy>(values: &[T], is_it: impl Fn(T) -> bool) -> usize {
    const STRIDE: usize = 64;
    for (number, chunk) in values.chunks(STRIDE).enumerate() {
        if chunk.iter().fold(false, |any, &value| any | is_it(value)) {
            return number * STRIDE + chunk.iter().position(|&value| is_it(value)).unwrap_or(0);
        }
    }
    0
}

#[inline(always)]
fn extremum<T: Number, const MAX: bool>(values: &[T]) -> T::Wide {
    const LANES: usize = 64;
    type Of<T, const MAX: bool> = Extremum<T, MAX>;
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [Of::<T, MAX>::IDENTITY; LANES];
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = Of::<T, MAX>::merge(*lane, value.widen());
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane = Of::<T, MAX>::merge(*lane, value.widen());
    }
    let mut width = LANES / 2;
    while width > 0 {
        let (low, high) = lanes[..2 * width].split_at_mut(width);
        for (low, &high) in low.iter_mut().zip(&*high) {
            *low = Of::<T, MAX>::merge(*low, high);
        }
        width /= 2;
    }
    lanes[0]
}

/// The winners of `bests.len()` lines that begin `across` apart.
///
/// # Safety
/// All their elements may be read; there are at most [`WIDTH`] lines of at least one element.
#[inline(always)]
unsafe fn many_lines<T: Number, const MAX: bool>(
    from: Source<T>,
    across: isize,
    along: isize,
    length: usize,
    bests: &mut [Best<T::Wide>],
) {
    let width = bests.len();
    let mut tile = [T::default(); WIDTH];
    let mut values = [T::Wide::default(); WIDTH];
    // Narrow indices, so that as many fit into a vector as values do; they count from `base`.
    let mut places = [0u32; WIDTH];
    let (values, places) = (&mut values[..width], &mut places[..width]);
    for (column, best) in bests.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *best = (unsafe { from.at(column as isize * across).read() }.widen(), 0);
    }
    const STRETCH: usize = u32::MAX as usize;
    for base in (0..length).step_by(STRETCH) {
        for (value, best) in values.iter_mut().zip(&*bests) {
            *value = best.0;
        }
        places.fill(u32::MAX);
        for i in base..length.min(base + STRETCH) {
            let first = from.at(i as isize * along);
            let row = if across == 1 {
                // SAFETY: the caller's promise for `width` neighbours; nobody writes the input meanwhile.
                unsafe { std::slice::from_raw_parts(first, width) }
            } else {
                // SAFETY: the caller's promise.
                unsafe { collect(first, across, &mut tile[..width]) };
                &tile[..width]
            };
            step::<T, MAX>(values, places, row, (i - base) as u32);
        }
        for ((best, &value), &place) in bests.iter_mut().zip(&*values).zip(&*places) {
            if place != u32::MAX {
                *best = (value, base + place as usize);
            }
        }
    }
}

#[inline(always)]
fn step<T: Number, const MAX: bool>(values: &mut [T::Wide], places: &mut [u32], row: &[T], i: u32) {
    for ((held, place), &new) in values.iter_mut().zip(places).zip(row) {
        let new = new.widen();
        let better = wins::<T::Wide, MAX>(new, *held) & !held.is_nan();
        *held = if better { new } else { *held };
        *place = if better { i } else { *place };
    }
}
