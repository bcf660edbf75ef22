//! Reductions whose neighbours in memory belong to different results.

use super::fold::{Fold, ROWS, merge_rows};
use super::{Ends, Plan};
use crate::parallel::{GRAIN, for_each_range};
use crate::strided::{Axes, Axis, Target, Walk, count};
use std::ops::Range;

/// Results that are computed side by side, at most: wide enough to read memory in long pieces, while their lanes stay in the
/// cache.
const WIDTH: usize = 4096;
/// The fewest rows of a segment: beginning and ending one costs about as much as a few rows.
const FEWEST_ROWS: usize = 256;
/// Units of work from which on none is cut into segments.
const MANY: usize = 64;
/// A block narrower than this is widened, where memory allows, to about twice this width: several rows then count as one.
const NARROW: usize = 128;
/// At least so many of these wider rows there must be: joining their columns in the end costs as much as some do.
const WIDENED: usize = 16;

/// Runs the plan, whose innermost kept axis is the nearest in memory.
pub(super) fn run<F: Fold>(plan: &Plan, ends: Ends<F>) {
    let (&inner, outer) = plan.kept.split_last().expect("a kept axis is the innermost");
    let mut rows = plan.reduced.clone();
    let mut repeats = 1;
    let mut rest = Axes::new();
    if let Some(row) = rows.last_mut()
        && inner.size < NARROW
        && inner.steps[0] == 1
        && row.steps[0] == inner.size as isize
        && row.size * inner.size >= WIDENED * 2 * NARROW
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
    let width = if repeats == 1 { inner.size.min(WIDTH) } else { inner.size };
    let units = count(outer) * inner.size.div_ceil(width);
    let rows_at_once = (GRAIN / (width * repeats)).max(FEWEST_ROWS);
    let segments = if units < MANY && !F::IN_ORDER { length.div_ceil(rows_at_once).max(1) } else { 1 };
    let mut totals = if segments > 1 { vec![F::EMPTY; count(outer) * segments * inner.size] } else { Vec::new() };
    let work = Columns::<F> {
        ends,
        inner,
        outer,
        rest_offset: rows.last().map_or(0, |row| row.size as isize * row.steps[0]),
        rows: &rows,
        rest: &rest,
        repeats,
        partial: Target::from_ptr(totals.as_mut_ptr()),
        width,
        segments,
        rows_at_once: if segments == 1 { length } else { rows_at_once },
        length,
    };
    let cost = width * repeats * (length / segments).max(1);
    for_each_range(units * segments, (GRAIN / cost).max(1), |units| work.run(units));
    if segments > 1 {
        let mut walk = Walk::from(outer, 0);
        for totals in totals.chunks_mut(segments * inner.size) {
            // Segment after segment, as they lie in memory.
            let (sums, others) = totals.split_at_mut(inner.size);
            for segment in others.chunks(inner.size) {
                for (sum, &total) in sums.iter_mut().zip(segment) {
                    *sum = F::join(*sum, total);
                }
            }
            for (column, &total) in sums.iter().enumerate() {
                let at = walk.offsets[1] + column as isize * inner.steps[1];
                // SAFETY: this is one of the output's elements, and no other thread works any more.
                unsafe { ends.put(at, total) };
            }
            walk.advance();
        }
    }
}

/// The work, in units `(place * blocks + block) * segments + segment`, where a place is a position of the outer axes and a
/// block some neighbouring results.
struct Columns<'a, F: Fold> {
    ends: Ends<F>,
    inner: Axis<2>,
    outer: &'a [Axis<2>],
    rows: &'a [Axis<1>],
    /// The rows that are left where several count as one, and where the first of them lies.
    rest: &'a [Axis<1>],
    rest_offset: isize,
    /// How many rows count as one.
    repeats: usize,
    /// Where the totals of segments go, if there are several.
    partial: Target<F::Total>,
    /// Results in a block.
    width: usize,
    segments: usize,
    rows_at_once: usize,
    length: usize,
}

impl<F: Fold> Columns<'_, F> {
    fn run(&self, units: Range<usize>) {
        let blocks = self.inner.size.div_ceil(self.width);
        let widest = self.width * self.repeats;
        let mut lanes = vec![F::IDENTITY; widest];
        let mut totals = vec![F::EMPTY; widest];
        let mut tile = if self.ends.in_place && self.inner.steps[0] == 1 {
            Vec::new()
        } else {
            vec![F::Value::default(); ROWS * widest]
        };
        for unit in units {
            let (unit, segment) = (unit / self.segments, unit % self.segments);
            let (place, block) = (unit / blocks, unit % blocks);
            let columns = block * self.width..((block + 1) * self.width).min(self.inner.size);
            let walk = Walk::from(self.outer, place);
            let first = walk.offsets[0] + columns.start as isize * self.inner.steps[0];
            let range = segment * self.rows_at_once..((segment + 1) * self.rows_at_once).min(self.length);
            let count = columns.len();
            let totals = &mut totals[..count * self.repeats];
            totals.fill(F::EMPTY);
            // SAFETY: `first`, plus any offset of the rows' axes, plus up to `totals.len()` steps, is an element of the
            // input: the columns lie within the inner axis, or a row stands for `repeats` that follow each other.
            unsafe { self.fold(self.rows, first, range, &mut lanes, totals, &mut tile) };
            if !self.rest.is_empty() && segment + 1 == self.segments {
                let all = 0..crate::strided::count(self.rest);
                let totals = &mut totals[..count];
                // SAFETY: these are the rows after the last that counts as several, each of `count` columns.
                unsafe { self.fold(self.rest, first + self.rest_offset, all, &mut lanes, totals, &mut tile) };
            }
            for column in 0..count {
                let total = totals[column..].iter().step_by(count).copied().reduce(F::join).unwrap_or(F::EMPTY);
                let number = columns.start + column;
                // SAFETY: this is an element of the output that only this unit writes; or a place for its total.
                unsafe {
                    if self.segments == 1 {
                        self.ends.put(walk.offsets[1] + number as isize * self.inner.steps[1], total);
                    } else {
                        let at = (place * self.segments + segment) * self.inner.size + number;
                        self.partial.at(at as isize).write(total);
                    }
                }
            }
        }
    }

    /// Folds the rows from `range` of a walk over their axes into the totals of their columns.
    ///
    /// # Safety
    /// The input's element at `first`, plus any offset of the axes, plus up to `totals.len()` steps, exists.
    unsafe fn fold(
        &self,
        axes: &[Axis<1>],
        first: isize,
        range: Range<usize>,
        lanes: &mut [F::Lane],
        totals: &mut [F::Total],
        tile: &mut [F::Value],
    ) {
        let (width, step, level) = (totals.len(), self.inner.steps[0], self.ends.level);
        let lanes = &mut lanes[..width];
        let mut walk = Walk::from(axes, range.start);
        let mut left = range.len();
        while left > 0 {
            let depth = left.min(F::DEPTH);
            left -= depth;
            lanes.fill(F::IDENTITY);
            for start in (0..depth).step_by(ROWS) {
                let number = ROWS.min(depth - start);
                let mut rows: [&[F::Value]; ROWS] = [&[]; ROWS];
                if tile.is_empty() {
                    for row in &mut rows[..number] {
                        let from = self.ends.at(first + walk.offsets[0]).cast::<F::Value>();
                        // SAFETY: the caller's promise for `width` neighbours, which are their own values; nobody writes
                        // the input.
                        *row = unsafe { std::slice::from_raw_parts(from, width) };
                        walk.advance();
                    }
                } else {
                    for (row, tile) in rows[..number].iter_mut().zip(tile.chunks_mut(width)) {
                        let from = self.ends.at(first + walk.offsets[0]);
                        // SAFETY: the caller's promise.
                        unsafe { (self.ends.read)(level, from, step, tile) };
                        *row = tile;
                        walk.advance();
                    }
                }
                merge_rows::<F>(level, lanes, &rows[..number]);
            }
            for (total, &lane) in totals.iter_mut().zip(&*lanes) {
                *total = F::take(*total, lane);
            }
        }
    }
}
