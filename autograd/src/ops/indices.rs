//! What stands between the parentheses of [`Tensor::i`]: numbers, ranges, tensors, and tuples of them.

use crate::tensor::Tensor;
use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};
use tensor_core::Backend;

/// One entry of an index.
#[derive(Clone, Debug)]
pub enum Index<B: Backend> {
    /// One place of an axis, which goes; below 0 it counts from the back.
    At(isize),
    /// A range of an axis.
    Slice(Slice),
    /// As many whole axes as there are left.
    Ellipsis,
    /// A new axis of size 1.
    NewAxis,
    /// A tensor of integers: places along an axis, in any order and number. A tensor of bools: where to look, over as many
    /// axes as it has.
    Tensor(Tensor<B>),
    /// Places along an axis.
    List(Vec<isize>),
}

/// As many whole axes as an index leaves out: `x.i((Ellipsis, 0))` is the first place of the last axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ellipsis;

/// A new axis of size 1 in an index: `x.i((NewAxis, ..))` puts one in front.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewAxis;

/// A range with a step, as Python's `start:end:step`. Rust's ranges are slices with step 1; [`StepBy::step`] gives them
/// another.
///
/// A bound below 0 counts from the back, one beyond the axis is cut to it. With a negative step the slice starts at `start`
/// (or at the last place) and walks down to `end`, which is left out unless the range was an inclusive one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    start: Option<isize>,
    end: Option<isize>,
    inclusive: bool,
    step: isize,
}

impl Slice {
    /// `start:end:step`; what is left out is the whole way.
    pub const fn new(start: Option<isize>, end: Option<isize>, step: isize) -> Self {
        Self { start, end, inclusive: false, step }
    }

    /// The distance from one place to the next.
    pub const fn step_size(self) -> isize {
        self.step
    }

    /// The first place and the number of places on an axis of this size. The step must not be 0.
    pub(crate) fn on(self, size: usize) -> (usize, usize) {
        // Sizes are at most isize::MAX; bounds come from the user, so sums with them saturate.
        let size = size as isize;
        let (lowest, highest) = if self.step > 0 { (0, size) } else { (-1, size - 1) };
        let place = |bound: isize| if bound < 0 { bound.saturating_add(size) } else { bound };
        let start = self
            .start
            .map_or(if self.step > 0 { lowest } else { highest }, |start| place(start).clamp(lowest, highest));
        let end = self.end.map_or(if self.step > 0 { highest } else { lowest }, |end| {
            let included = if self.inclusive { self.step.signum() } else { 0 };
            place(end).saturating_add(included).clamp(lowest, highest)
        });
        let reach = if self.step > 0 { end - start } else { start - end };
        if reach <= 0 {
            return (0, 0);
        }
        (start as usize, (reach as usize).div_ceil(self.step.unsigned_abs()))
    }
}

/// Gives a range a step.
///
/// ```
/// # use tensor_core::reference::Reference;
/// # type Tensor = autograd::Tensor<Reference>;
/// use autograd::StepBy;
/// let x = Tensor::arange(0, 6, 1);
/// assert_eq!(x.i((0..6).step(2)).to_vec::<i64>(), [0, 2, 4]);
/// assert_eq!(x.i((..).step(-1)).to_vec::<i64>(), [5, 4, 3, 2, 1, 0]);
/// assert_eq!(x.i((4..1).step(-1)).to_vec::<i64>(), [4, 3, 2]);
/// ```
pub trait StepBy: Into<Slice> {
    /// The range with a step, which may be negative but not 0.
    fn step(self, step: isize) -> Slice {
        Slice { step, ..self.into() }
    }
}

/// Everything that [`Tensor::i`] takes: integers, ranges, [`Slice`]s, [`Ellipsis`], [`NewAxis`], tensors of integers or
/// bools, arrays and vectors of integers, [`Index`]es, and tuples of up to eight of them.
pub trait Indices<B: Backend> {
    /// Appends the entries.
    fn append(self, list: &mut Vec<Index<B>>);
}

macro_rules! entries {
    ($($(@[$($generics:tt)*])? $t:ty, $name:pat => $entry:expr;)*) => {$(
        impl<B: Backend $(, $($generics)*)?> Indices<B> for $t {
            fn append(self, list: &mut Vec<Index<B>>) {
                let $name = self;
                list.push($entry);
            }
        }
    )*};
}

entries! {
    Index<B>, index => index;
    Slice, slice => Index::Slice(slice);
    RangeFull, all => Index::Slice(all.into());
    Ellipsis, _ => Index::Ellipsis;
    NewAxis, _ => Index::NewAxis;
    Tensor<B>, tensor => Index::Tensor(tensor);
    &Tensor<B>, tensor => Index::Tensor(tensor.clone());
}

impl From<RangeFull> for Slice {
    fn from(_: RangeFull) -> Self {
        Self::new(None, None, 1)
    }
}

impl StepBy for RangeFull {}
impl StepBy for Slice {}

// A bound beyond isize names no place that could exist, so saturating changes nothing.
macro_rules! integers {
    ($($t:ty),*) => {$(
        entries! {
            $t, at => Index::At(saturated(at));
            Range<$t>, range => Index::Slice(range.into());
            RangeFrom<$t>, range => Index::Slice(range.into());
            RangeTo<$t>, range => Index::Slice(range.into());
            RangeInclusive<$t>, range => Index::Slice(range.into());
            RangeToInclusive<$t>, range => Index::Slice(range.into());
            @[const N: usize] [$t; N], places => Index::List(places.iter().map(|&at| saturated(at)).collect());
            &[$t], places => Index::List(places.iter().map(|&at| saturated(at)).collect());
            Vec<$t>, places => Index::List(places.iter().map(|&at| saturated(at)).collect());
        }

        impl From<Range<$t>> for Slice {
            fn from(range: Range<$t>) -> Self {
                Self::new(Some(saturated(range.start)), Some(saturated(range.end)), 1)
            }
        }
        impl From<RangeFrom<$t>> for Slice {
            fn from(range: RangeFrom<$t>) -> Self {
                Self::new(Some(saturated(range.start)), None, 1)
            }
        }
        impl From<RangeTo<$t>> for Slice {
            fn from(range: RangeTo<$t>) -> Self {
                Self::new(None, Some(saturated(range.end)), 1)
            }
        }
        impl From<RangeInclusive<$t>> for Slice {
            fn from(range: RangeInclusive<$t>) -> Self {
                let (start, end) = range.into_inner();
                Self { inclusive: true, ..Self::new(Some(saturated(start)), Some(saturated(end)), 1) }
            }
        }
        impl From<RangeToInclusive<$t>> for Slice {
            fn from(range: RangeToInclusive<$t>) -> Self {
                Self { inclusive: true, ..Self::new(None, Some(saturated(range.end)), 1) }
            }
        }
        impl StepBy for Range<$t> {}
        impl StepBy for RangeFrom<$t> {}
        impl StepBy for RangeTo<$t> {}
        impl StepBy for RangeInclusive<$t> {}
        impl StepBy for RangeToInclusive<$t> {}
    )*};
}
integers!(isize, usize, i32, i64);

/// The number, or the end of the range of `isize` that it lies beyond; only `usize` has such numbers.
fn saturated(number: impl TryInto<isize>) -> isize {
    number.try_into().unwrap_or(isize::MAX)
}

impl<B: Backend> Indices<B> for &[Index<B>] {
    fn append(self, list: &mut Vec<Index<B>>) {
        list.extend_from_slice(self);
    }
}

impl<B: Backend> Indices<B> for Vec<Index<B>> {
    fn append(mut self, list: &mut Self) {
        list.append(&mut self);
    }
}

impl<B: Backend> Indices<B> for () {
    fn append(self, _: &mut Vec<Index<B>>) {}
}

macro_rules! tuples {
    ($(($($entry:ident $number:tt),+);)*) => {$(
        impl<B: Backend, $($entry: Indices<B>),+> Indices<B> for ($($entry,)+) {
            fn append(self, list: &mut Vec<Index<B>>) {
                $(self.$number.append(list);)+
            }
        }
    )*};
}
tuples! {
    (I0 0);
    (I0 0, I1 1);
    (I0 0, I1 1, I2 2);
    (I0 0, I1 1, I2 2, I3 3);
    (I0 0, I1 1, I2 2, I3 3, I4 4);
    (I0 0, I1 1, I2 2, I3 3, I4 4, I5 5);
    (I0 0, I1 1, I2 2, I3 3, I4 4, I5 5, I6 6);
    (I0 0, I1 1, I2 2, I3 3, I4 4, I5 5, I6 6, I7 7);
}

#[cfg(test)]
#[allow(clippy::reversed_empty_ranges, reason = "ends below 0 count from the back")]
mod tests {
    use super::*;

    /// Every start, end and step on small axes, against Python's rule written as a walk.
    #[test]
    fn slices_walk_as_pythons_do() {
        let bounds: Vec<Option<isize>> = std::iter::once(None).chain((-7..=7).map(Some)).collect();
        for size in 0..5_usize {
            for &start in &bounds {
                for &end in &bounds {
                    for step in [-3, -2, -1, 1, 2, 3] {
                        let (first, len) = Slice::new(start, end, step).on(size);
                        let got: Vec<isize> = (0..len as isize).map(|n| first as isize + n * step).collect();
                        let place = |bound: isize| if bound < 0 { bound + size as isize } else { bound };
                        let mut at = start.map_or(if step > 0 { 0 } else { size as isize - 1 }, place);
                        let mut expected = Vec::new();
                        // Walk from far outside: what is not on the axis is skipped only before its near end.
                        at = if step > 0 { at.max(0) } else { at.min(size as isize - 1) };
                        let stop = end.map_or(if step > 0 { isize::MAX } else { isize::MIN }, place);
                        while (0..size as isize).contains(&at) && (if step > 0 { at < stop } else { at > stop }) {
                            expected.push(at);
                            at += step;
                        }
                        assert_eq!(got, expected, "{start:?}:{end:?}:{step} on {size}");
                    }
                }
            }
        }
    }

    #[test]
    fn inclusive_ends() {
        assert_eq!(Slice::from(1..=3).on(5), (1, 3));
        assert_eq!(Slice::from(..=-1).on(5), (0, 5));
        assert_eq!((4..=0).step(-1).on(5), (4, 5));
        assert_eq!((-1..=-5).step(-2).on(5), (4, 3));
        assert_eq!(Slice::from(0..=usize::MAX).on(5), (0, 5));
    }
}
