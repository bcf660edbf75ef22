//! Elements as kernels see them, and the types they are computed in.

use crate::vecmath::{Level, Real, convert};
use tensor_core::{bf16, f16};

/// A bool as it lies in memory: any byte but 0 is true. Kernels write 0 and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Truth(u8);

/// An element.
pub(crate) trait Number: Copy + Default + Send + Sync + 'static {
    /// What it is computed in: f32 for the two storage floats, u8 for bools, itself for all others.
    type Wide: Wide;
    /// The value to compute with; exact.
    fn widen(self) -> Self::Wide;
    /// The nearest element; exact for what [`widen`](Self::widen) gave.
    fn narrow(wide: Self::Wide) -> Self;
    /// Whether an element is what it is computed in.
    const IS_WIDE: bool = false;

    /// [`widen`](Self::widen) for as many elements as both slices have.
    #[inline]
    fn widen_all(_level: Level, from: &[Self], to: &mut [Self::Wide]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = from.widen();
        }
    }

    /// [`narrow`](Self::narrow) for as many values as both slices have.
    #[inline]
    fn narrow_all(_level: Level, from: &[Self::Wide], to: &mut [Self]) {
        for (to, &from) in to.iter_mut().zip(from) {
            *to = Self::narrow(from);
        }
    }

    /// Widens elements that lie `step` apart.
    ///
    /// # Safety
    /// All elements `from[i * step]` for `i < to.len()` may be read, and nobody writes them.
    #[inline]
    unsafe fn widen_from(level: Level, from: *const Self, step: isize, to: &mut [Self::Wide]) {
        if step == 1 {
            // SAFETY: the caller's promise for neighbours.
            Self::widen_all(level, unsafe { std::slice::from_raw_parts(from, to.len()) }, to);
            return;
        }
        for (i, to) in to.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *to = unsafe { from.offset(i as isize * step).read() }.widen();
        }
    }

    /// Narrows to places that lie `step` apart.
    ///
    /// # Safety
    /// All elements `to[i * step]` for `i < from.len()` may be written, and nobody else accesses them.
    #[inline]
    unsafe fn narrow_to(level: Level, from: &[Self::Wide], to: *mut Self, step: isize) {
        if step == 1 {
            // SAFETY: the caller's promise for neighbours.
            Self::narrow_all(level, from, unsafe { std::slice::from_raw_parts_mut(to, from.len()) });
            return;
        }
        for (i, &from) in from.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { to.offset(i as isize * step).write(Self::narrow(from)) };
        }
    }
}

/// What elements are computed in.
pub(crate) trait Wide: Number<Wide = Self> + PartialOrd {
    const IS_FLOAT: bool;
    /// At most everything, and at least everything. NaN aside.
    const LOWEST: Self;
    const HIGHEST: Self;
    /// What sums and products are accumulated in: f64 for floats, itself for integers.
    type Sum: Total;
    fn to_sum(self) -> Self::Sum;
    fn from_sum(sum: Self::Sum) -> Self;
    /// Whether the instruction sets beyond the baseline speed it up so much that kernels are compiled for them. (The
    /// baseline does well with what memory is the limit for.)
    const GAINS: bool;
    /// Whether it is NaN.
    fn is_nan(self) -> bool;
}

/// What sums and products are accumulated in. Integers wrap.
pub(crate) trait Total: Copy + Send + Sync + 'static {
    const ZERO: Self;
    const ONE: Self;
    /// A sum of floats.
    fn of(sum: f64) -> Self;
    fn plus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    /// `total + self` as the rounded sum, and what rounding took from it added to `lost` (Neumaier's method).
    fn plus_exactly(self, total: Self, lost: Self) -> (Self, Self);
    /// Whether it is neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// `self + lost`, unless the sum is infinite or NaN, when the second means nothing.
    fn restore(self, lost: Self) -> Self;
}

impl Number for Truth {
    type Wide = u8;
    #[inline(always)]
    fn widen(self) -> u8 {
        u8::from(self.0 != 0)
    }
    #[inline(always)]
    fn narrow(wide: u8) -> Self {
        Self(u8::from(wide != 0))
    }
}

macro_rules! int {
    ($($t:ty: $gains:literal),*) => {$(
        impl Number for $t {
            type Wide = Self;
            const IS_WIDE: bool = true;
            #[inline(always)]
            fn widen(self) -> Self {
                self
            }
            #[inline(always)]
            fn narrow(wide: Self) -> Self {
                wide
            }
        }
        impl Wide for $t {
            const IS_FLOAT: bool = false;
            const GAINS: bool = $gains;
            const LOWEST: Self = Self::MIN;
            const HIGHEST: Self = Self::MAX;
            type Sum = Self;
            #[inline(always)]
            fn to_sum(self) -> Self {
                self
            }
            #[inline(always)]
            fn from_sum(sum: Self) -> Self {
                sum
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                false
            }
        }
        impl Total for $t {
            const ZERO: Self = 0;
            const ONE: Self = 1;
            fn of(_sum: f64) -> Self {
                unreachable!("floats are not summed in integers")
            }
            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn times(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            #[inline(always)]
            fn plus_exactly(self, total: Self, lost: Self) -> (Self, Self) {
                (self.wrapping_add(total), lost)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                true
            }
            #[inline(always)]
            fn restore(self, _lost: Self) -> Self {
                self
            }
        }
    )*};
}
int!(u8: false, i8: false, i16: false, i32: true, i64: true);

macro_rules! float {
    ($($t:ident: $from_sum:expr),*) => {$(
        impl Number for $t {
            type Wide = Self;
            const IS_WIDE: bool = true;
            #[inline(always)]
            fn widen(self) -> Self {
                self
            }
            #[inline(always)]
            fn narrow(wide: Self) -> Self {
                wide
            }
        }
        impl Wide for $t {
            const IS_FLOAT: bool = true;
            const GAINS: bool = true;
            const LOWEST: Self = Self::NEG_INFINITY;
            const HIGHEST: Self = Self::INFINITY;
            type Sum = f64;
            #[inline(always)]
            fn to_sum(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn from_sum(sum: f64) -> Self {
                let from_sum: fn(f64) -> Self = $from_sum;
                from_sum(sum)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                self != self
            }
        }
    )*};
}
float!(f32: |sum| sum as Self, f64: |sum| sum);

impl Total for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    #[inline(always)]
    fn of(sum: f64) -> Self {
        sum
    }
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self + other
    }
    #[inline(always)]
    fn times(self, other: Self) -> Self {
        self * other
    }
    #[inline(always)]
    fn plus_exactly(self, total: Self, lost: Self) -> (Self, Self) {
        let sum = self + total;
        let larger = total.abs() >= self.abs();
        let (large, small) = if larger { (total, self) } else { (self, total) };
        (sum, lost + ((large - sum) + small))
    }
    #[inline(always)]
    fn is_finite(self) -> bool {
        self.is_finite()
    }
    #[inline(always)]
    fn restore(self, lost: Self) -> Self {
        if self.is_finite() { self + lost } else { self }
    }
}

impl Number for f16 {
    type Wide = f32;
    #[inline(always)]
    fn widen(self) -> f32 {
        // An f16 denormal is a multiple of 2⁻²⁴: as mantissa bits below 2⁻¹⁴ it is that number plus 2⁻¹⁴.
        const EXPONENT: u32 = 0x7c00 << 13;
        const OFFSET: f32 = f32::from_bits(113 << 23);
        let half = u32::from(self.to_bits());
        let shifted = (half & 0x7fff) << 13;
        let exponent = shifted & EXPONENT;
        let denormal = (f32::from_bits(shifted + (113 << 23)) - OFFSET).to_bits();
        let wide = shifted + if exponent == EXPONENT { 224 << 23 } else { 112 << 23 };
        let wide = if exponent == 0 { denormal } else { wide };
        f32::from_bits(wide | (half & 0x8000) << 16)
    }
    #[inline(always)]
    fn narrow(wide: f32) -> Self {
        // Adding this aligns an f16 denormal's last bit with the f32's, so that the addition rounds.
        const ALIGN: u32 = 126 << 23;
        let sign = wide.to_bits() & 0x8000_0000;
        let bits = wide.to_bits() ^ sign;
        let special = if bits > 0x7f80_0000 { 0x7e00 } else { 0x7c00 };
        let denormal = (f32::from_bits(bits) + f32::from_bits(ALIGN)).to_bits().wrapping_sub(ALIGN);
        let normal = bits.wrapping_sub(112 << 23).wrapping_add(0xfff + (bits >> 13 & 1)) >> 13;
        let half = if bits < 113 << 23 { denormal } else { normal };
        let half = if bits >= 143 << 23 { special } else { half };
        Self::from_bits((half | sign >> 16) as u16)
    }
    #[inline]
    fn widen_all(level: Level, from: &[Self], to: &mut [f32]) {
        convert::f16_to_f32(level, from, to);
    }
    #[inline]
    fn narrow_all(level: Level, from: &[f32], to: &mut [Self]) {
        convert::f32_to_f16(level, from, to);
    }
}

impl Number for bf16 {
    type Wide = f32;
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
    #[inline(always)]
    fn narrow(wide: f32) -> Self {
        let bits = wide.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        Self::from_bits((if wide.is_nan() { bits >> 16 | 0x40 } else { rounded }) as u16)
    }
    #[inline]
    fn widen_all(level: Level, from: &[Self], to: &mut [f32]) {
        convert::bf16_to_f32(level, from, to);
    }
    #[inline]
    fn narrow_all(level: Level, from: &[f32], to: &mut [Self]) {
        convert::f32_to_bf16(level, from, to);
    }
}

/// A float element, computed in f32 or f64.
pub(crate) trait Float: Number<Wide = Self::Real> {
    type Real: Wide<Sum = f64> + Real;
}
impl Float for f16 {
    type Real = f32;
}
impl Float for bf16 {
    type Real = f32;
}
impl Float for f32 {
    type Real = Self;
}
impl Float for f64 {
    type Real = Self;
}

/// Calls `$body` with `$T` bound to the [`Number`] of a dtype.
macro_rules! for_number {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            tensor_core::DType::Bool => {
                type $T = crate::number::Truth;
                $body
            }
            tensor_core::DType::U8 => {
                type $T = u8;
                $body
            }
            tensor_core::DType::I8 => {
                type $T = i8;
                $body
            }
            tensor_core::DType::I16 => {
                type $T = i16;
                $body
            }
            tensor_core::DType::I32 => {
                type $T = i32;
                $body
            }
            tensor_core::DType::I64 => {
                type $T = i64;
                $body
            }
            tensor_core::DType::F16 => {
                type $T = tensor_core::f16;
                $body
            }
            tensor_core::DType::BF16 => {
                type $T = tensor_core::bf16;
                $body
            }
            tensor_core::DType::F32 => {
                type $T = f32;
                $body
            }
            tensor_core::DType::F64 => {
                type $T = f64;
                $body
            }
        }
    };
}
pub(crate) use for_number;

/// Calls `$body` with `$T` bound to an integer as wide as the dtype's elements, for kernels that only move them.
macro_rules! for_size {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype.size() {
            1 => {
                type $T = u8;
                $body
            }
            2 => {
                type $T = u16;
                $body
            }
            4 => {
                type $T = u32;
                $body
            }
            _ => {
                type $T = u64;
                $body
            }
        }
    };
}
pub(crate) use for_size;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_widen_exactly_and_come_back() {
        for bits in 0..=u16::MAX {
            let (half, brain) = (f16::from_bits(bits), bf16::from_bits(bits));
            if half.is_nan() {
                assert!(half.widen().is_nan() && f16::narrow(half.widen()).is_nan(), "{bits:#x}");
            } else {
                assert_eq!(half.widen().to_bits(), half.to_f32().to_bits(), "{bits:#x}");
                assert_eq!(f16::narrow(half.widen()).to_bits(), bits);
            }
            if brain.is_nan() {
                assert!(brain.widen().is_nan() && bf16::narrow(brain.widen()).is_nan(), "{bits:#x}");
            } else {
                assert_eq!(brain.widen().to_bits(), brain.to_f32().to_bits(), "{bits:#x}");
                assert_eq!(bf16::narrow(brain.widen()).to_bits(), bits);
            }
        }
    }

    #[test]
    fn narrowing_rounds_as_ieee_does() {
        // A stride through all f32s that meets every exponent and many fractions.
        for bits in (0..=u32::MAX).step_by(977) {
            let x = f32::from_bits(bits);
            let (half, brain) = (f16::narrow(x), bf16::narrow(x));
            if x.is_nan() {
                assert!(half.is_nan() && brain.is_nan(), "{bits:#x}");
            } else {
                assert_eq!(half.to_bits(), f16::from_f32(x).to_bits(), "{x:e}");
                assert_eq!(brain.to_bits(), bf16::from_f32(x).to_bits(), "{x:e}");
            }
        }
    }
}
