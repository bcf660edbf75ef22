//! Reductions whose neighbours in memory are combined with each other.

use super::fold::Fold;
use super::{Plan, collect};
use crate::parallel::{GRAIN, for_each_range};
use crate::strided::{Axis, Source, Target, Walk, count};
use crate::vecmath::{Isa, Level, Task};
use std::ops::Range;

/// Results from which on each is computed by one thread.
const MANY: usize = 64;
/// Values that are merged side by side.
const LANES: usize = 64;
/// The same for what is too short for [`LANES`].
const FEW_LANES: usize = 8;
/// Elements that are collected at a time from places that lie apart.
const TILE: usize = 512;

/// Runs the plan, whose innermost reduced axis is the nearest in memory.
pub(super) fn run<F: Fold>(level: Level, plan: &Plan, source: Source<F::Elem>, target: Target<F::Elem>) {
    let (results, length) = (count(&plan.kept), count(&plan.reduced));
    let segments = if results < MANY && !F::IN_ORDER { length.div_ceil(GRAIN) } else { 1 };
    let mut totals = if segments > 1 { vec![F::EMPTY; results * segments] } else { Vec::new() };
    let partial = Target::from_ptr(totals.as_mut_ptr());
    let units_at_once = (GRAIN * segments / length).max(1);
    for_each_range(results * segments, units_at_once, |units| {
        level.run(Rows::<F> { plan, source, target, partial, segments, length, units });
    });
    if segments > 1 {
        let mut walk = Walk::from(&plan.kept, 0);
        for totals in totals.chunks(segments) {
            let total = totals.iter().copied().reduce(F::join).unwrap_or(F::EMPTY);
            // SAFETY: the walk is over the output's elements, and no other thread works any more.
            unsafe { target.at(walk.offsets[1]).write(F::finish(total)) };
            walk.advance();
        }
    }
}

/// Some units of work: unit `result * segments + segment`.
struct Rows<'a, F: Fold> {
    plan: &'a Plan,
    source: Source<F::Elem>,
    target: Target<F::Elem>,
    /// Where the totals of segments go, if there are several.
    partial: Target<F::Total>,
    segments: usize,
    /// The number of values of a result.
    length: usize,
    units: Range<usize>,
}

impl<F: Fold> Task for Rows<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let mut walk = Walk::from(&self.plan.kept, self.units.start / self.segments);
        for unit in self.units {
            let segment = unit % self.segments;
            let range =
                segment * GRAIN..if self.segments == 1 { self.length } else { self.length.min((segment + 1) * GRAIN) };
            let first = Source::from_ptr(self.source.at(walk.offsets[0]));
            // SAFETY: `first` plus any offset of the reduced axes is an element of the input.
            let total = unsafe { total::<F>(&self.plan.reduced, first, range) };
            if self.segments == 1 {
                // SAFETY: the walk is over the output's elements, which differ from unit to unit; nobody else accesses
                // them.
                unsafe { self.target.at(walk.offsets[1]).write(F::finish(total)) };
            } else {
                // SAFETY: there is a place for each unit, which only this one writes.
                unsafe { self.partial.at(unit as isize).write(total) };
            }
            if segment + 1 == self.segments {
                walk.advance();
            }
        }
    }
}

/// The total of the values from `range` of a walk over the axes.
///
/// # Safety
/// `first` plus any offset of the axes may be read.
#[inline(always)]
unsafe fn total<F: Fold>(axes: &[Axis<1>], first: Source<F::Elem>, range: Range<usize>) -> F::Total {
    let Some((inner, outer)) = axes.split_last() else {
        // SAFETY: no axes, one element.
        return F::take(F::EMPTY, F::lift(unsafe { first.at(0).read() }));
    };
    let mut walk = Walk::from(outer, range.start / inner.size);
    let mut total = F::EMPTY;
    let mut at = range.start;
    while at < range.end {
        let begin = at % inner.size;
        let run = (inner.size - begin).min(range.end - at);
        let step = inner.steps[0];
        let from = first.at(walk.offsets[0] + begin as isize * step);
        if step == 1 {
            // SAFETY: the caller's promise for `run` neighbours; nobody writes the input meanwhile.
            let values = unsafe { std::slice::from_raw_parts(from, run) };
            for block in values.chunks(F::DEPTH.saturating_mul(LANES)) {
                total = F::take(total, lanes::<F>(block));
            }
        } else {
            let mut tile = [F::Elem::default(); TILE];
            for begin in (0..run).step_by(TILE) {
                let tile = &mut tile[..TILE.min(run - begin)];
                // SAFETY: the caller's promise for the `run` elements from `from` on.
                unsafe { collect(from.offset(begin as isize * step), step, tile) };
                total = F::take(total, lanes::<F>(tile));
            }
        }
        at += run;
        walk.advance();
    }
    total
}

/// All values in one lane.
#[inline(always)]
fn lanes<F: Fold>(values: &[F::Elem]) -> F::Lane {
    if F::IN_ORDER {
        return values.iter().fold(F::IDENTITY, |lane, &value| F::merge(lane, F::lift(value)));
    }
    let (wide, rest) = values.as_chunks::<LANES>();
    let (few, rest) = rest.as_chunks::<FEW_LANES>();
    let mut short = [F::IDENTITY; FEW_LANES];
    if !wide.is_empty() {
        let mut lanes = [F::IDENTITY; LANES];
        for chunk in wide {
            for (lane, &value) in lanes.iter_mut().zip(chunk) {
                *lane = F::merge(*lane, F::lift(value));
            }
        }
        // Halves onto each other: pairwise, and wide as long as possible.
        let mut width = LANES / 2;
        while width >= FEW_LANES {
            let (low, high) = lanes[..2 * width].split_at_mut(width);
            for (low, &high) in low.iter_mut().zip(&*high) {
                *low = F::merge(*low, high);
            }
            width /= 2;
        }
        short.copy_from_slice(&lanes[..FEW_LANES]);
    }
    for chunk in few {
        for (lane, &value) in short.iter_mut().zip(chunk) {
            *lane = F::merge(*lane, F::lift(value));
        }
    }
    for (lane, &value) in short.iter_mut().zip(rest) {
        *lane = F::merge(*lane, F::lift(value));
    }
    let [a, b, c, d, e, f, g, h] = short;
    F::merge(F::merge(F::merge(a, e), F::merge(b, f)), F::merge(F::merge(c, g), F::merge(d, h)))
}
