//! What reductions do to values: their lanes, totals and ends.

use crate::number::{Total as _, Wide};
use crate::vecmath::{Baseline, Isa, Level, Task};
use std::marker::PhantomData;

/// A reduction. Values are merged in *lanes*, as many side by side as vectors hold; the lanes of a block then go into a
/// *total*, which may be more exact.
pub(crate) trait Fold: 'static {
    type Value: Wide;
    type Lane: Copy + Send + Sync;
    type Total: Copy + Send + Sync;
    /// The lane that changes nothing.
    const IDENTITY: Self::Lane;
    /// The total of nothing.
    const EMPTY: Self::Total;
    /// How many values may go through one lane before it goes into the total.
    const DEPTH: usize;
    /// Whether values must be merged one after another.
    const IN_ORDER: bool = false;
    /// Whether its loops are compiled for every instruction set.
    const GAINS: bool;
    /// Whether it adds up floats.
    const IS_SUM: bool = false;
    fn lift(value: Self::Value) -> Self::Lane;
    fn merge(a: Self::Lane, b: Self::Lane) -> Self::Lane;
    fn take(total: Self::Total, lane: Self::Lane) -> Self::Total;
    fn join(a: Self::Total, b: Self::Total) -> Self::Total;
    fn finish(total: Self::Total) -> Self::Value;
    /// The lane of floats whose sum this is.
    fn summed(_sum: f64) -> Self::Lane {
        unreachable!("only sums of floats are asked for it")
    }
}

/// The sum. Floats add up in f64: exact enough for f32 and shorter ones whatever the order. For f64 lanes stay short and
/// totals keep what rounding takes, so the error is that of a few dozen additions however many there are.
pub(crate) struct Sum<W>(PhantomData<W>);

impl<W: Wide> Fold for Sum<W> {
    type Value = W;
    type Lane = W::Sum;
    type Total = (W::Sum, W::Sum);
    const IDENTITY: Self::Lane = W::Sum::ZERO;
    const EMPTY: Self::Total = (W::Sum::ZERO, W::Sum::ZERO);
    const DEPTH: usize = if size_of::<W>() == 8 { 16 } else { 1024 };
    const GAINS: bool = W::IS_FLOAT;
    const IS_SUM: bool = W::IS_FLOAT;

    #[inline(always)]
    fn lift(value: W) -> Self::Lane {
        value.to_sum()
    }
    #[inline(always)]
    fn summed(sum: f64) -> Self::Lane {
        W::Sum::of(sum)
    }
    #[inline(always)]
    fn merge(a: Self::Lane, b: Self::Lane) -> Self::Lane {
        a.plus(b)
    }
    #[inline(always)]
    fn take((total, lost): Self::Total, lane: Self::Lane) -> Self::Total {
        lane.plus_exactly(total, lost)
    }
    #[inline(always)]
    fn join((total, lost): Self::Total, (other, also_lost): Self::Total) -> Self::Total {
        other.plus_exactly(total, lost.plus(also_lost))
    }
    #[inline(always)]
    fn finish((total, lost): Self::Total) -> W {
        W::from_sum(total.restore(lost))
    }
}

/// The product. Floats are multiplied in f64 and in order: in another one, an intermediate product could leave the range.
pub(crate) struct Product<W>(PhantomData<W>);

impl<W: Wide> Fold for Product<W> {
    type Value = W;
    type Lane = W::Sum;
    type Total = W::Sum;
    const IDENTITY: Self::Lane = W::Sum::ONE;
    const EMPTY: Self::Total = W::Sum::ONE;
    const DEPTH: usize = usize::MAX;
    const IN_ORDER: bool = W::IS_FLOAT;
    const GAINS: bool = false;

    #[inline(always)]
    fn lift(value: W) -> Self::Lane {
        value.to_sum()
    }
    #[inline(always)]
    fn merge(a: Self::Lane, b: Self::Lane) -> Self::Lane {
        a.times(b)
    }
    #[inline(always)]
    fn take(total: Self::Total, lane: Self::Lane) -> Self::Total {
        total.times(lane)
    }
    #[inline(always)]
    fn join(a: Self::Total, b: Self::Total) -> Self::Total {
        a.times(b)
    }
    #[inline(always)]
    fn finish(total: Self::Total) -> W {
        W::from_sum(total)
    }
}

/// The largest (`MAX`) or smallest value; NaN if there is one.
pub(crate) struct Extremum<W, const MAX: bool>(PhantomData<W>);

/// Whether `new` replaces `held` in a search for the largest or smallest.
#[inline(always)]
pub(crate) fn wins<W: Wide, const MAX: bool>(new: W, held: W) -> bool {
    (if MAX { new > held } else { new < held }) | new.is_nan()
}

impl<W: Wide, const MAX: bool> Fold for Extremum<W, MAX> {
    type Value = W;
    type Lane = W;
    type Total = W;
    const IDENTITY: W = if MAX { W::LOWEST } else { W::HIGHEST };
    const EMPTY: W = Self::IDENTITY;
    const DEPTH: usize = usize::MAX;
    const GAINS: bool = W::GAINS;

    #[inline(always)]
    fn lift(value: W) -> W {
        value
    }
    #[inline(always)]
    fn merge(a: W, b: W) -> W {
        if wins::<W, MAX>(b, a) { b } else { a }
    }
    #[inline(always)]
    fn take(total: W, lane: W) -> W {
        Self::merge(total, lane)
    }
    #[inline(always)]
    fn join(a: W, b: W) -> W {
        Self::merge(a, b)
    }
    #[inline(always)]
    fn finish(total: W) -> W {
        total
    }
}

/// Values that are merged side by side: as many f64 as half of the registers of AVX2 hold.
pub(super) const LANES: usize = 32;
/// The same for what is too short for [`LANES`].
const FEW_LANES: usize = 8;

/// All values in one lane.
#[inline]
pub(crate) fn merge_all<F: Fold>(level: Level, values: &[F::Value]) -> F::Lane {
    if F::IN_ORDER {
        values.iter().fold(F::IDENTITY, |lane, &value| F::merge(lane, F::lift(value)))
    } else if F::GAINS {
        level.run(MergeAll::<F>(values))
    } else {
        Task::run::<Baseline>(MergeAll::<F>(values))
    }
}

struct MergeAll<'a, F: Fold>(&'a [F::Value]);

impl<F: Fold> Task for MergeAll<'_, F> {
    type Output = F::Lane;

    #[inline(always)]
    fn run<I: Isa>(self) -> F::Lane {
        let mut short = [F::IDENTITY; FEW_LANES];
        let streams =
            if size_of_val(self.0) >= STREAMED_BYTES { self.0.len() / STREAMS / FEW_LANES * FEW_LANES } else { 0 };
        let (streamed, rest) = self.0.split_at(STREAMS * streams);
        if streams > 0 {
            short = merge_streams::<F>(streamed, streams);
        }
        let (wide, rest) = rest.as_chunks::<LANES>();
        let (few, rest) = rest.as_chunks::<FEW_LANES>();
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
            for (short, &lane) in short.iter_mut().zip(&lanes) {
                *short = F::merge(*short, lane);
            }
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
}

/// Places in memory that are read by turns: a core has more lines on their way then than it asks for at one place.
const STREAMS: usize = 4;
/// Fewer bytes are read one after another.
const STREAMED_BYTES: usize = 1 << 13;

/// Merges values of which each quarter, `length` long, is a stream.
#[inline(always)]
fn merge_streams<F: Fold>(values: &[F::Value], length: usize) -> [F::Lane; FEW_LANES] {
    let (left, right) = values.split_at(2 * length);
    let ((a, b), (c, d)) = (left.split_at(length), right.split_at(length));
    let [a, b, c, d] = [a, b, c, d].map(|stream| stream.as_chunks::<FEW_LANES>().0);
    let mut lanes = [[F::IDENTITY; FEW_LANES]; STREAMS];
    for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
        for (lanes, values) in lanes.iter_mut().zip([a, b, c, d]) {
            for (lane, &value) in lanes.iter_mut().zip(values) {
                *lane = F::merge(*lane, F::lift(value));
            }
        }
    }
    let [a, b, c, d] = lanes;
    std::array::from_fn(|lane| F::merge(F::merge(a[lane], b[lane]), F::merge(c[lane], d[lane])))
}

/// Rows that are merged before they meet the lanes, which saves loads and stores.
pub(crate) const ROWS: usize = 8;

/// Merges up to [`ROWS`] rows into as many lanes as each has values.
#[inline]
pub(crate) fn merge_rows<F: Fold>(level: Level, lanes: &mut [F::Lane], rows: &[&[F::Value]]) {
    if F::GAINS {
        level.run(MergeRows::<F> { lanes, rows });
    } else {
        Task::run::<Baseline>(MergeRows::<F> { lanes, rows });
    }
}

struct MergeRows<'a, F: Fold> {
    lanes: &'a mut [F::Lane],
    rows: &'a [&'a [F::Value]],
}

impl<F: Fold> Task for MergeRows<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let mut rows = self.rows;
        if let &[a, b, c, d, e, f, g, h] = rows
            && !F::IN_ORDER
        {
            let (left, right) = ([a, b, c, d], [e, f, g, h]);
            merge_eight::<F>(self.lanes, left, right);
            return;
        }
        while let &[a, b, c, d, ref rest @ ..] = rows {
            rows = rest;
            for ((((lane, &a), &b), &c), &d) in self.lanes.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                let (a, b, c, d) = (F::lift(a), F::lift(b), F::lift(c), F::lift(d));
                *lane = if F::IN_ORDER {
                    F::merge(F::merge(F::merge(F::merge(*lane, a), b), c), d)
                } else {
                    F::merge(*lane, F::merge(F::merge(a, b), F::merge(c, d)))
                };
            }
        }
        for row in rows {
            for (lane, &value) in self.lanes.iter_mut().zip(*row) {
                *lane = F::merge(*lane, F::lift(value));
            }
        }
    }
}

#[inline(always)]
fn merge_eight<F: Fold>(lanes: &mut [F::Lane], [a, b, c, d]: [&[F::Value]; 4], [e, f, g, h]: [&[F::Value]; 4]) {
    let four = |a, b, c, d| F::merge(F::merge(F::lift(a), F::lift(b)), F::merge(F::lift(c), F::lift(d)));
    let left = a.iter().zip(b).zip(c).zip(d);
    let right = e.iter().zip(f).zip(g).zip(h);
    for ((lane, (((&a, &b), &c), &d)), (((&e, &f), &g), &h)) in lanes.iter_mut().zip(left).zip(right) {
        *lane = F::merge(*lane, F::merge(four(a, b, c, d), four(e, f, g, h)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole numbers add up exactly in any order: every value counts once, whatever the length.
    #[test]
    fn every_value_is_merged_once() {
        for &level in Level::available() {
            for length in (0_usize..200).chain([2047, 2048, 2049, 4100, 8191, 8192, 30_011]) {
                let values: Vec<f32> = (0..length).map(|number| (number * 7919 % 1009) as f32).collect();
                let expected: f64 = values.iter().copied().map(f64::from).sum();
                assert_eq!(merge_all::<Sum<f32>>(level, &values), expected, "{length} {level:?}");
                let whole: Vec<i64> = values.iter().map(|&value| value as i64).collect();
                assert_eq!(merge_all::<Sum<i64>>(level, &whole), expected as i64, "{length} {level:?}");
                for place in [0, length / 3, length.saturating_sub(1)] {
                    let mut values = values.clone();
                    let Some(value) = values.get_mut(place) else { continue };
                    *value = 2000.0;
                    assert_eq!(merge_all::<Extremum<f32, true>>(level, &values), 2000.0, "{length} {level:?}");
                    values[place] = f32::NAN;
                    assert!(merge_all::<Extremum<f32, true>>(level, &values).is_nan(), "{length} {level:?}");
                }
            }
        }
    }
}
