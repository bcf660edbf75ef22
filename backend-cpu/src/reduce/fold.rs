//! What reductions do to values: their lanes, totals and ends.

use crate::number::{Number, Total as _, Wide};
use std::marker::PhantomData;

/// A reduction. Values are merged in *lanes*, as many side by side as vectors hold; the lanes of a block then go into a
/// *total*, which may be more exact.
pub(super) trait Fold: 'static {
    type Elem: Number;
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
    fn lift(value: Self::Elem) -> Self::Lane;
    fn merge(a: Self::Lane, b: Self::Lane) -> Self::Lane;
    fn take(total: Self::Total, lane: Self::Lane) -> Self::Total;
    fn join(a: Self::Total, b: Self::Total) -> Self::Total;
    fn finish(total: Self::Total) -> Self::Elem;
}

type SumOf<T> = <<T as Number>::Wide as Wide>::Sum;

/// The sum. Floats add up in f64: exact enough for f32 and shorter ones whatever the order. For f64 lanes stay short and
/// totals keep what rounding takes, so the error is that of a few dozen additions however many there are.
pub(super) struct Sum<T>(PhantomData<T>);

impl<T: Number> Fold for Sum<T> {
    type Elem = T;
    type Lane = SumOf<T>;
    type Total = (SumOf<T>, SumOf<T>);
    const IDENTITY: Self::Lane = SumOf::<T>::ZERO;
    const EMPTY: Self::Total = (SumOf::<T>::ZERO, SumOf::<T>::ZERO);
    const DEPTH: usize = if size_of::<T>() == 8 { 16 } else { 256 };

    #[inline(always)]
    fn lift(value: T) -> Self::Lane {
        value.widen().to_sum()
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
    fn finish((total, lost): Self::Total) -> T {
        T::narrow(T::Wide::from_sum(total.restore(lost)))
    }
}

/// The product. Floats are multiplied in f64 and in order: in another one, an intermediate product could leave the range.
pub(super) struct Product<T>(PhantomData<T>);

impl<T: Number> Fold for Product<T> {
    type Elem = T;
    type Lane = SumOf<T>;
    type Total = SumOf<T>;
    const IDENTITY: Self::Lane = SumOf::<T>::ONE;
    const EMPTY: Self::Total = SumOf::<T>::ONE;
    const DEPTH: usize = usize::MAX;
    const IN_ORDER: bool = T::Wide::IS_FLOAT;

    #[inline(always)]
    fn lift(value: T) -> Self::Lane {
        value.widen().to_sum()
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
    fn finish(total: Self::Total) -> T {
        T::narrow(T::Wide::from_sum(total))
    }
}

/// The largest (`MAX`) or smallest value; NaN if there is one.
pub(super) struct Extremum<T, const MAX: bool>(PhantomData<T>);

/// Whether `new` replaces `held` in a search for the largest or smallest.
#[inline(always)]
pub(super) fn wins<W: Wide, const MAX: bool>(new: W, held: W) -> bool {
    (if MAX { new > held } else { new < held }) | new.is_nan()
}

impl<T: Number, const MAX: bool> Fold for Extremum<T, MAX> {
    type Elem = T;
    type Lane = T::Wide;
    type Total = T::Wide;
    const IDENTITY: Self::Lane = if MAX { T::Wide::LOWEST } else { T::Wide::HIGHEST };
    const EMPTY: Self::Total = Self::IDENTITY;
    const DEPTH: usize = usize::MAX;

    #[inline(always)]
    fn lift(value: T) -> Self::Lane {
        value.widen()
    }
    #[inline(always)]
    fn merge(a: Self::Lane, b: Self::Lane) -> Self::Lane {
        if wins::<T::Wide, MAX>(b, a) { b } else { a }
    }
    #[inline(always)]
    fn take(total: Self::Total, lane: Self::Lane) -> Self::Total {
        Self::merge(total, lane)
    }
    #[inline(always)]
    fn join(a: Self::Total, b: Self::Total) -> Self::Total {
        Self::merge(a, b)
    }
    #[inline(always)]
    fn finish(total: Self::Total) -> T {
        T::narrow(total)
    }
}
