//! The element types as kernels see them: integers, bools, and conversions.

/// A bool as it lies in memory: 0 is false. Kernels write only 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub(crate) struct Truth(pub(crate) u8);

impl From<bool> for Truth {
    #[inline(always)]
    fn from(value: bool) -> Self {
        Self(u8::from(value))
    }
}

/// The five integer types.
pub(crate) trait Int: Copy + Ord + Send + Sync + 'static {
    const ZERO: Self;
    const ONE: Self;
    /// The type's width.
    const BITS: u32;
    fn wrapping_add(self, other: Self) -> Self;
    fn wrapping_sub(self, other: Self) -> Self;
    fn wrapping_mul(self, other: Self) -> Self;
    fn wrapping_neg(self) -> Self;
    fn wrapping_abs(self) -> Self;
    /// The quotient cut off towards zero, wrapping. `other` is not 0.
    fn quotient(self, other: Self) -> Self;
    fn not(self) -> Self;
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    /// Shifted by less than the width.
    fn shl(self, by: u32) -> Self;
    /// Shifted by less than the width, keeping the sign.
    fn shr(self, by: u32) -> Self;
    /// The value as a number of bits to shift by: anything outside of `0..BITS` becomes `BITS`.
    fn shift(self) -> u32;
    fn is_odd(self) -> bool;
}

macro_rules! int {
    ($t:ty, $negative:expr, $quotient:expr) => {
        impl Int for $t {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            const BITS: u32 = <$t>::BITS;
            #[inline(always)]
            fn wrapping_add(self, other: Self) -> Self {
                <$t>::wrapping_add(self, other)
            }
            #[inline(always)]
            fn wrapping_sub(self, other: Self) -> Self {
                <$t>::wrapping_sub(self, other)
            }
            #[inline(always)]
            fn wrapping_mul(self, other: Self) -> Self {
                <$t>::wrapping_mul(self, other)
            }
            #[inline(always)]
            fn wrapping_neg(self) -> Self {
                <$t>::wrapping_neg(self)
            }
            #[inline(always)]
            fn wrapping_abs(self) -> Self {
                let negative: fn($t) -> bool = $negative;
                if negative(self) { <$t>::wrapping_neg(self) } else { self }
            }
            #[inline(always)]
            fn quotient(self, other: Self) -> Self {
                let quotient: fn($t, $t) -> $t = $quotient;
                quotient(self, other)
            }
            #[inline(always)]
            fn not(self) -> Self {
                !self
            }
            #[inline(always)]
            fn and(self, other: Self) -> Self {
                self & other
            }
            #[inline(always)]
            fn or(self, other: Self) -> Self {
                self | other
            }
            #[inline(always)]
            fn xor(self, other: Self) -> Self {
                self ^ other
            }
            #[inline(always)]
            fn shl(self, by: u32) -> Self {
                self << by
            }
            #[inline(always)]
            fn shr(self, by: u32) -> Self {
                self >> by
            }
            #[inline(always)]
            fn shift(self) -> u32 {
                let within = (0..<$t>::BITS as $t).contains(&self);
                if within { self as u32 } else { <$t>::BITS }
            }
            #[inline(always)]
            fn is_odd(self) -> bool {
                self & 1 == 1
            }
        }
    };
}

// Processors divide integers one at a time, but floats in vectors. A float with enough bits finds the exact quotient: it
// lies at least 1/|a| (relatively) below the next integer, which is more than the rounding.
int!(u8, |_| false, |a, b| (f32::from(a) / f32::from(b)) as Self);
int!(i8, |a| a < 0, |a, b| (f32::from(a) / f32::from(b)) as i32 as Self);
int!(i16, |a| a < 0, |a, b| (f32::from(a) / f32::from(b)) as i32 as Self);
int!(i32, |a| a < 0, |a, b| if b == -1 { a.wrapping_neg() } else { (f64::from(a) / f64::from(b)) as Self });
int!(i64, |a| a < 0, |a, b| a.wrapping_div(b));

/// A value converted as [`Scalar::cast`](tensor_core::Scalar::cast) does.
pub(crate) trait Convert<To>: Copy {
    fn convert(self) -> To;
}

macro_rules! convert {
    ($from:ty => $($to:ty),*) => {
        $(impl Convert<$to> for $from {
            #[inline(always)]
            fn convert(self) -> $to {
                self as $to
            }
        })*
        impl Convert<$from> for $from {
            #[inline(always)]
            fn convert(self) -> $from {
                self
            }
        }
        impl Convert<Truth> for $from {
            #[inline(always)]
            fn convert(self) -> Truth {
                Truth::from(self != <$from>::default())
            }
        }
        impl Convert<$from> for Truth {
            #[inline(always)]
            #[allow(trivial_numeric_casts, reason = "one of the types is u8 itself")]
            fn convert(self) -> $from {
                self.0 as $from
            }
        }
    };
}
convert!(u8 => i8, i16, i32, i64, f32, f64);
convert!(i8 => u8, i16, i32, i64, f32, f64);
convert!(i16 => u8, i8, i32, i64, f32, f64);
convert!(i32 => u8, i8, i16, i64, f32, f64);
convert!(i64 => u8, i8, i16, i32, f32, f64);
convert!(f32 => u8, i8, i16, i32, i64, f64);
convert!(f64 => u8, i8, i16, i32, i64, f32);

/// An f64 as an f32 that rounds to the same f16 and bf16 as the f64 itself: a value between two f32s becomes the one with
/// the odd last bit, which is no half-way point of a narrower type.
#[inline(always)]
pub(crate) fn to_odd_f32(value: f64) -> f32 {
    let near = value as f32;
    let back = f64::from(near);
    let bits = near.to_bits();
    // Rounded away from zero: the neighbour nearer to zero is the value cut off. (The bits of 0 are never too large.)
    let cut = if back.abs() > value.abs() { bits.wrapping_sub(1) } else { bits };
    let odd = if back == value || value.is_nan() { bits } else { cut | 1 };
    f32::from_bits(odd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor_core::{bf16, f16};

    /// Between any two neighbours: just below, at, and just above the half-way point.
    #[test]
    fn halves_are_rounded_once() {
        let check = |low: f64, high: f64, even_low: bool, round: &dyn Fn(f64) -> f64| {
            let middle = f64::midpoint(low, high);
            assert_eq!(round(middle), if even_low { low } else { high }, "{low} and {high}");
            assert_eq!(round(middle.next_down()), low, "{low} and {high}");
            assert_eq!(round(middle.next_up()), high, "{low} and {high}");
        };
        for bits in 0..0x7bff_u16 {
            let (low, high) = (f16::from_bits(bits).to_f64(), f16::from_bits(bits + 1).to_f64());
            check(low, high, bits % 2 == 0, &|x| f16::from_f32(to_odd_f32(x)).to_f64());
            check(low, high, bits % 2 == 0, &|x| -f16::from_f32(to_odd_f32(-x)).to_f64());
        }
        for bits in 0..0x7f7f_u16 {
            let (low, high) = (bf16::from_bits(bits).to_f64(), bf16::from_bits(bits + 1).to_f64());
            check(low, high, bits % 2 == 0, &|x| bf16::from_f32(to_odd_f32(x)).to_f64());
        }
        assert_eq!(f16::from_f32(to_odd_f32(f64::MAX)), f16::INFINITY);
        assert_eq!(bf16::from_f32(to_odd_f32(f64::MAX)), bf16::INFINITY);
        assert_eq!(f16::from_f32(to_odd_f32(-f64::MIN_POSITIVE)).to_bits(), 0x8000);
    }
}
