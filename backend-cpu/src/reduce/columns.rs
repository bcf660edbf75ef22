//! Reductions whose neighbours in memory belong to different results.

use super::Plan;
use super::fold::Fold;
use crate::parallel::{GRAIN, for_each_range};
use crate::strided::{Axes, Axis, Source, Target, Walk, count};
use crate::vecmath::{Isa, Level, Task};
use std::ops::Range;

/// Results that are computed side by side, at most: their lanes stay in the first-level cache.
const WIDTH: usize = 2048;
/// Units of work from which on none is cut into segments.
const MANY: usize = 64;
/// A block narrower than this is widened, where memory allows, to about this width: several rows then count as one.
const NARROW: usize = 128;
/// Rows that are merged before they meet the lanes, which saves loads and stores.
const ROWS: usize = 4;

/// Runs the plan, whose innermost kept axis is the nearest in memory.
pub(super) fn run<F: Fold>(level: Level, plan: &Plan, source: Source<F::Elem>, target: Target<F::Elem>) {
    let (&inner, outer) = plan.kept.split_last().expect("a kept axis is the innermost");
    let mut rows = plan.reduced.clone();
    let mut repeats = 1;
    let mut rest = Axes::new();
    if let Some(row) = rows.last_mut()
        && inner.size < NARROW
        && inner.steps[0] == 1
        && row.steps[0] == inner.size as isize
        && !F::IN_ORDER
    {
        repeats = (2 * NARROW / inner.size).min(row.size);
        let left = Axis { size: row.size % repeats, ..*row };
        *row = Axis { size: row.size / repeats, steps: [row.steps[0] * repeats as isize] };
        if left.size > 0 {
            rest = plan.reduced.clone();
            *rest.last_mut().expect("it has the row's axis") = left;
        }
    }
    let length = count(&rows);
    let width = (inner.size * repeats).min(WIDTH);
    let blocks = if repeats == 1 { inner.size.div_ceil(width) } else { 1 };
    let units = count(outer) * blocks;
    let rows_at_once = (GRAIN / width).max(64);
    let segments = if units < MANY && !F::IN_ORDER { length.div_ceil(rows_at_once).max(1) } else { 1 };
    let mut totals = if segments > 1 { vec![F::EMPTY; count(outer) * segments * inner.size] } else { Vec::new() };
    let work = Columns::<F> {
        inner,
        outer,
        rows: &rows,
        rest: &rest,
        repeats,
        rest_offset: rows.last().map_or(0, |row| row.size as isize * row.steps[0]),
        source,
        target,
        partial: Target::from_ptr(totals.as_mut_ptr()),
        width: if repeats == 1 { width } else { inner.size },
        segments,
        rows_at_once: if segments == 1 { length } else { rows_at_once },
        length,
        units: 0..0,
    };
    let cost = width * (length / segments).max(1);
    for_each_range(units * segments, (GRAIN / cost).max(1), |units| {
        level.run(Columns { units, ..work });
    });
    if segments > 1 {
        let mut walk = Walk::from(outer, 0);
        for totals in totals.chunks(segments * inner.size) {
            for column in 0..inner.size {
                let total = totals[column..].iter().step_by(inner.size).copied().reduce(F::join).unwrap_or(F::EMPTY);
                let at = walk.offsets[1] + column as isize * inner.steps[1];
                // SAFETY: this is one of the output's elements, and no other thread works any more.
                unsafe { target.at(at).write(F::finish(total)) };
            }
            walk.advance();
        }
    }
}

/// Some units of work: unit `(place * blocks + block) * segments + segment`, where a place is a position of the outer axes
/// and a block some neighbouring results.
struct Columns<'a, F: Fold> {
    inner: Axis<2>,
    outer: &'a [Axis<2>],
    rows: &'a [Axis<1>],
    /// The rows that are left where several count as one, and where the first of them lies.
    rest: &'a [Axis<1>],
    rest_offset: isize,
    /// How many rows count as one.
    repeats: usize,
    source: Source<F::Elem>,
    target: Target<F::Elem>,
    partial: Target<F::Total>,
    /// Results in a block.
    width: usize,
    segments: usize,
    rows_at_once: usize,
    length: usize,
    units: Range<usize>,
}

impl<F: Fold> Task for Columns<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let blocks = self.inner.size.div_ceil(self.width);
        let widest = self.width * self.repeats;
        let mut lanes = vec![F::IDENTITY; widest];
        let mut totals = vec![F::EMPTY; widest];
        for unit in self.units {
            let (unit, segment) = (unit / self.segments, unit % self.segments);
            let (place, block) = (unit / blocks, unit % blocks);
            let columns = block * self.width..((block + 1) * self.width).min(self.inner.size);
            let walk = Walk::from(self.outer, place);
            let first = walk.offsets[0] + columns.start as isize * self.inner.steps[0];
            let range = segment * self.rows_at_once..((segment + 1) * self.rows_at_once).min(self.length);
            let count = columns.len();
            let totals = &mut totals[..count * self.repeats];
            totals.fill(F::EMPTY);
            let from = Source::from_ptr(self.source.at(first));
            // SAFETY: `from`, plus any offset of the rows' axes, plus up to `totals.len()` steps, is an element of the
            // input: the columns lie within the inner axis, or a row stands for `repeats` that follow each other.
            unsafe { fold_rows::<F>(self.rows, from, self.inner.steps[0], range, &mut lanes, totals) };
            if !self.rest.is_empty() && segment + 1 == self.segments {
                let from = Source::from_ptr(self.source.at(first + self.rest_offset));
                let length = crate::strided::count(self.rest);
                // SAFETY: these are the rows after the last that counts as several, each of `count` columns.
                unsafe {
                    fold_rows::<F>(self.rest, from, self.inner.steps[0], 0..length, &mut lanes, &mut totals[..count]);
                }
            }
            for column in 0..count {
                let total = totals[column..].iter().step_by(count).copied().reduce(F::join).unwrap_or(F::EMPTY);
                let number = columns.start + column;
                if self.segments == 1 {
                    let at = walk.offsets[1] + number as isize * self.inner.steps[1];
                    // SAFETY: this is an element of the output that only this unit writes.
                    unsafe { self.target.at(at).write(F::finish(total)) };
                } else {
                    let at = (place * self.segments + segment) * self.inner.size + number;
                    // SAFETY: there is a place for each result and segment, which only this unit writes.
                    unsafe { self.partial.at(at as isize).write(total) };
                }
            }
        }
    }
}

/// Folds the rows from `range` of a walk over their axes into the totals of their columns.
///
/// # Safety
/// `first`, plus any offset of the axes, plus up to `totals.len()` steps, may be read.
#[inline(always)]
unsafe fn fold_rows<F: Fold>(
    axes: &[Axis<1>],
    first: Source<F::Elem>,
    step: isize,
    range: Range<usize>,
    lanes: &mut [F::Lane],
    totals: &mut [F::Total],
) {
    let width = totals.len();
    let lanes = &mut lanes[..width];
    let mut walk = Walk::from(axes, range.start);
    let mut left = range.len();
    while left > 0 {
        let depth = left.min(F::DEPTH);
        left -= depth;
        lanes.fill(F::IDENTITY);
        let mut row = || {
            let from = first.at(walk.offsets[0]);
            walk.advance();
            from
        };
        let mut rows_left = depth;
        if step == 1 {
            // SAFETY: the caller's promise for `width` neighbours; nobody writes the input meanwhile.
            let slice = |from| unsafe { std::slice::from_raw_parts(from, width) };
            while rows_left >= ROWS {
                let rows = [(); ROWS].map(|()| slice(row()));
                four::<F>(lanes, rows);
                rows_left -= ROWS;
            }
            for _ in 0..rows_left {
                one::<F>(lanes, slice(row()));
            }
        } else {
            for _ in 0..rows_left {
                let from = row();
                for (column, lane) in lanes.iter_mut().enumerate() {
                    // SAFETY: the caller's promise; `column < width`.
                    let value = unsafe { from.offset(column as isize * step).read() };
                    *lane = F::merge(*lane, F::lift(value));
                }
            }
        }
        for (total, &lane) in totals.iter_mut().zip(&*lanes) {
            *total = F::take(*total, lane);
        }
    }
}

#[inline(always)]
fn one<F: Fold>(lanes: &mut [F::Lane], row: &[F::Elem]) {
    for (lane, &value) in lanes.iter_mut().zip(row) {
        *lane = F::merge(*lane, F::lift(value));
    }
}

#[inline(always)]
fn four<F: Fold>(lanes: &mut [F::Lane], [a, b, c, d]: [&[F::Elem]; ROWS]) {
    for ((((lane, &a), &b), &c), &d) in lanes.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let (a, b, c, d) = (F::lift(a), F::lift(b), F::lift(c), F::lift(d));
        *lane = if F::IN_ORDER {
            F::merge(F::merge(F::merge(F::merge(*lane, a), b), c), d)
        } else {
            F::merge(*lane, F::merge(F::merge(a, b), F::merge(c, d)))
        };
    }
}
