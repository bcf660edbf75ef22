//! What a figure takes as numbers.

use std::ops::{Range, RangeInclusive};

/// A number that can be drawn: every primitive integer and float, and references to them.
///
/// Implement it for a number type of your own to draw slices and iterators of it.
pub trait Number {
    /// The nearest `f64`.
    fn to_f64(&self) -> f64;
}

macro_rules! number {
    ($($ty:ty)*) => {$(
        impl Number for $ty {
            fn to_f64(&self) -> f64 {
                *self as f64
            }
        }
    )*};
}

number!(f32 u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);

impl Number for f64 {
    fn to_f64(&self) -> f64 {
        *self
    }
}

impl<T: Number + ?Sized> Number for &T {
    fn to_f64(&self) -> f64 {
        (**self).to_f64()
    }
}

/// The numbers of anything that can be iterated over.
pub(crate) fn collect(values: impl IntoIterator<Item: Number>) -> Vec<f64> {
    values.into_iter().map(|value| value.to_f64()).collect()
}

/// Two ends: of an axis, or of the part of a function to draw.
///
/// `-5..3`, `-5.0..=3.0`, `(-5.0, 3.0)` and `[-5.0, 3.0]` all mean the same; with a pair the first end may be the
/// greater one, which turns an axis around.
pub trait Interval {
    /// The first and the last number.
    fn ends(self) -> (f64, f64);
}

impl<T: Number> Interval for Range<T> {
    fn ends(self) -> (f64, f64) {
        (self.start.to_f64(), self.end.to_f64())
    }
}

impl<T: Number> Interval for RangeInclusive<T> {
    fn ends(self) -> (f64, f64) {
        (self.start().to_f64(), self.end().to_f64())
    }
}

impl<T: Number, U: Number> Interval for (T, U) {
    fn ends(self) -> (f64, f64) {
        (self.0.to_f64(), self.1.to_f64())
    }
}

impl<T: Number> Interval for [T; 2] {
    fn ends(self) -> (f64, f64) {
        (self[0].to_f64(), self[1].to_f64())
    }
}

/// The least and the greatest of the numbers drawn, leaving out what cannot be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Extent {
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// The least number above zero: where a logarithmic axis begins.
    pub(crate) min_positive: f64,
}

impl Extent {
    pub(crate) const EMPTY: Self = Self { min: f64::INFINITY, max: f64::NEG_INFINITY, min_positive: f64::INFINITY };

    /// Takes a number in. NaN and infinities leave the extent as it is.
    pub(crate) fn add(&mut self, value: f64) {
        if value.is_finite() {
            self.min = self.min.min(value);
            self.max = self.max.max(value);
            if value > 0.0 {
                self.min_positive = self.min_positive.min(value);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.min > self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_iterators_and_references_of_any_number() {
        assert_eq!(collect([1u8, 2]), [1.0, 2.0]);
        assert_eq!(collect([1.5f32, 2.5].iter()), [1.5, 2.5]);
        assert_eq!(collect(vec![&&1i64]), [1.0]);
        assert_eq!(collect((0..3).map(|i| f64::from(i) / 2.0)), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn intervals() {
        assert_eq!((-5..3).ends(), (-5.0, 3.0));
        assert_eq!((-5.0..=3.0).ends(), (-5.0, 3.0));
        assert_eq!((3, -5.5).ends(), (3.0, -5.5));
        assert_eq!([1u8, 2].ends(), (1.0, 2.0));
    }

    #[test]
    fn an_extent_skips_what_cannot_be_drawn() {
        let mut extent = Extent::EMPTY;
        assert!(extent.is_empty());
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 3.0, 2.0] {
            extent.add(value);
        }
        assert_eq!(extent, Extent { min: -1.0, max: 3.0, min_positive: 2.0 });
    }
}
