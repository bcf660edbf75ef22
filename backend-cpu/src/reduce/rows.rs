//! Reductions whose neighbours in memory are combined with each other.

use super::fold::{Fold, LANES, merge_all};
use super::{Ends, Plan};
use crate::parallel::{GRAIN, for_each_range};
use crate::strided::{Axis, Target, Walk, count};
use std::ops::Range;

/// Results from which on each is computed by one thread.
const MANY: usize = 64;
/// Elements that are collected at a time from places that lie apart, or converted.
const TILE: usize = 512;

/// Runs the plan, whose innermost reduced axis is the nearest in memory.
pub(super) fn run<F: Fold>(plan: &Plan, ends: Ends<F>) {
    let (results, length) = (count(&plan.kept), count(&plan.reduced));
    let segments = if results < MANY && !F::IN_ORDER { length.div_ceil(GRAIN) } else { 1 };
    if segments == 1 {
        for_each_range(results, (GRAIN / length).max(1), |numbers| {
            let mut walk = Walk::from(&plan.kept, numbers.start);
            for _ in numbers {
                // SAFETY: the walk is over the input's kept axes and the output's elements, each of which one task writes.
                unsafe { ends.put(walk.offsets[1], total(plan, &ends, walk.offsets[0], 0..length)) };
                walk.advance();
            }
        });
        return;
    }
    let mut totals = vec![F::EMPTY; results * segments];
    let partial = Target::from_ptr(totals.as_mut_ptr());
    for_each_range(totals.len(), 1, |units| {
        for unit in units {
            let walk = Walk::from(&plan.kept, unit / segments);
            let start = unit % segments * GRAIN;
            // SAFETY: the walk is over the input's kept axes, and there is a place for each unit, which only it writes.
            unsafe {
                let total = total(plan, &ends, walk.offsets[0], start..length.min(start + GRAIN));
                partial.at(unit as isize).write(total);
            }
        }
    });
    let mut walk = Walk::from(&plan.kept, 0);
    for totals in totals.chunks(segments) {
        let total = totals.iter().copied().reduce(F::join).unwrap_or(F::EMPTY);
        // SAFETY: the walk is over the output's elements, and no other thread works any more.
        unsafe { ends.put(walk.offsets[1], total) };
        walk.advance();
    }
}

/// The total of the values from `range` of a walk over the reduced axes.
///
/// # Safety
/// The input's element at `first` plus any offset of these axes exists.
unsafe fn total<F: Fold>(plan: &Plan, ends: &Ends<F>, first: isize, range: Range<usize>) -> F::Total {
    let one = [Axis { size: 1, steps: [1] }];
    let axes = if plan.reduced.is_empty() { &one[..] } else { &plan.reduced[..] };
    let (inner, outer) = axes.split_last().expect("there is one axis at least");
    let step = inner.steps[0];
    let mut walk = Walk::from(outer, range.start / inner.size);
    let mut total = F::EMPTY;
    let mut at = range.start;
    while at < range.end {
        let begin = at % inner.size;
        let run = (inner.size - begin).min(range.end - at);
        let offset = first + walk.offsets[0] + begin as isize * step;
        if step == 1 && ends.in_place {
            // SAFETY: the caller's promise for `run` neighbours, which are their own values; nobody writes the input.
            let values = unsafe { std::slice::from_raw_parts(ends.at(offset).cast::<F::Value>(), run) };
            for block in values.chunks(F::DEPTH.saturating_mul(LANES)) {
                total = F::take(total, merge_all::<F>(ends.level, block));
            }
        } else {
            let mut tile = [F::Value::default(); TILE];
            for begin in (0..run).step_by(TILE) {
                let tile = &mut tile[..TILE.min(run - begin)];
                // SAFETY: the caller's promise for the `run` elements from `offset` on.
                unsafe { (ends.read)(ends.level, ends.at(offset + begin as isize * step), step, tile) };
                total = F::take(total, merge_all::<F>(ends.level, tile));
            }
        }
        at += run;
        walk.advance();
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_shallow_enough_for_any_fold() {
        const { assert!(TILE <= LANES * <super::super::Sum<f64> as Fold>::DEPTH) };
    }
}
