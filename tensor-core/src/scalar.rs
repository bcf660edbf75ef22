//! A single value whose type is decided where it is used.

use crate::{DType, Element};
use half::{bf16, f16};
use std::fmt;

/// One value: the right-hand side of `x * 2`, a fill value, the content of a 0-d tensor.
///
/// As an operand it is *weak*: it takes the dtype of the tensor it meets unless its category (bool, int, float) is higher.
///
/// ```
/// use tensor_core::{DType, Scalar};
/// assert_eq!(Scalar::from(2.9).cast(DType::I32), Scalar::Int(2));
/// assert_eq!(Scalar::from(300).cast(DType::U8), Scalar::Int(44));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// A truth value.
    Bool(bool),
    /// An integer of any width.
    Int(i64),
    /// A float of any width.
    Float(f64),
}

impl Scalar {
    /// The dtype it has where nothing else decides: bool, i64 or f32.
    #[inline]
    pub const fn default_dtype(self) -> DType {
        match self {
            Self::Bool(_) => DType::Bool,
            Self::Int(_) => DType::DEFAULT_INT,
            Self::Float(_) => DType::DEFAULT_FLOAT,
        }
    }

    /// The dtype of `tensor op self` for a tensor of the given dtype.
    #[inline]
    pub const fn weak_dtype(self, tensor: DType) -> DType {
        let own = self.default_dtype();
        if (own.category() as u8) > (tensor.category() as u8) { own } else { tensor }
    }

    /// The value converted to what `dtype` can hold. Floats become integers by cutting off the fraction; what is out of
    /// range becomes the nearest end of the range and NaN becomes 0. Integers wrap. Anything but zero is `true`. Floats are
    /// rounded once, to the nearest, halves to even.
    #[inline]
    pub fn cast(self, dtype: DType) -> Self {
        match dtype {
            DType::F32 => match self {
                Self::Float(value) => Self::Float(f64::from(value as f32)),
                Self::Int(value) => Self::Float(f64::from(value as f32)),
                Self::Bool(value) => Self::Float(f64::from(u8::from(value))),
            },
            DType::F64 => Self::Float(self.as_f64()),
            DType::F16 => Self::Float(f16::from_scalar(self).to_f64()),
            DType::BF16 => Self::Float(bf16::from_scalar(self).to_f64()),
            DType::Bool => Self::Bool(self.as_bool()),
            DType::U8 => u8::from_scalar(self).to_scalar(),
            DType::I8 => i8::from_scalar(self).to_scalar(),
            DType::I16 => i16::from_scalar(self).to_scalar(),
            DType::I32 => i32::from_scalar(self).to_scalar(),
            DType::I64 => i64::from_scalar(self).to_scalar(),
        }
    }

    /// As a float; integers beyond 2⁵³ are rounded.
    #[inline]
    pub const fn as_f64(self) -> f64 {
        match self {
            Self::Bool(value) => value as u8 as f64,
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// As an integer, cut off and saturated.
    #[inline]
    pub const fn as_i64(self) -> i64 {
        match self {
            Self::Bool(value) => value as i64,
            Self::Int(value) => value,
            Self::Float(value) => value as i64,
        }
    }

    /// Whether it is not zero; NaN is true.
    #[inline]
    pub const fn as_bool(self) -> bool {
        match self {
            Self::Bool(value) => value,
            Self::Int(value) => value != 0,
            Self::Float(value) => value != 0.0,
        }
    }

    /// Writes the value as one element of `dtype`, in the machine's byte order, to the front of `bytes`.
    ///
    /// # Panics
    /// If `bytes` is shorter than the element.
    pub fn write(self, dtype: DType, bytes: &mut [u8]) {
        crate::dispatch!(dtype, T => {
            let value = T::from_scalar(self);
            bytes[..size_of::<T>()].copy_from_slice(bytemuck::bytes_of(&value));
        });
    }

    /// Reads one element of `dtype` from the front of `bytes`. Any byte but 0 is `true`.
    ///
    /// # Panics
    /// If `bytes` is shorter than the element.
    pub fn read(dtype: DType, bytes: &[u8]) -> Self {
        if dtype == DType::Bool {
            return Self::Bool(bytes[0] != 0);
        }
        crate::dispatch!(dtype, T => {
            let bytes = &bytes[..size_of::<T>()];
            bytemuck::checked::pod_read_unaligned::<T>(bytes).to_scalar()
        })
    }
}

/// An f32 that rounds to the same f16 and bf16 as the f64 itself. Rounding to the nearest f32 first could land on a half-way
/// point of the narrower type and so round twice; a value between two f32s becomes the one with the odd last bit instead,
/// which is never such a point.
pub(crate) fn to_odd_f32(value: f64) -> f32 {
    let near = value as f32;
    let back = f64::from(near);
    if back == value || value.is_nan() {
        return near;
    }
    let towards_zero = if back.abs() > value.abs() { near.to_bits() - 1 } else { near.to_bits() };
    f32::from_bits(towards_zero | 1)
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
        }
    }
}

macro_rules! scalar_from {
    ($($t:ty),*) => {$(
        impl From<$t> for Scalar {
            #[inline]
            fn from(value: $t) -> Self {
                value.to_scalar()
            }
        }
    )*};
}
scalar_from!(bool, u8, i8, i16, i32, i64, f16, bf16, f32, f64);

impl From<usize> for Scalar {
    /// Values beyond `i64::MAX` wrap, as integers do everywhere in this library.
    #[inline]
    fn from(value: usize) -> Self {
        Self::Int(value as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_rounded_once() {
        let cast = |value: f64, dtype| match Scalar::Float(value).cast(dtype) {
            Scalar::Float(value) => value,
            other => panic!("{other} is no float"),
        };
        for dtype in [DType::F16, DType::BF16] {
            let step = if dtype == DType::F16 { (-10_f64).exp2() } else { (-7_f64).exp2() };
            let tie = 1.0 + step / 2.0;
            assert_eq!(cast(tie, dtype), 1.0, "{dtype}: a tie goes to the even neighbour");
            assert_eq!(cast(tie.next_up(), dtype), 1.0 + step, "{dtype}: the bit beyond f32 counts");
            assert_eq!(cast(1.0 + 1.5 * step, dtype), 1.0 + 2.0 * step, "{dtype}");
            assert_eq!(cast((1.0 + 1.5 * step).next_down(), dtype), 1.0 + step, "{dtype}");
            assert_eq!(cast(-tie.next_up(), dtype), -1.0 - step, "{dtype}");
            assert_eq!(cast(f64::MAX, dtype), f64::INFINITY, "{dtype}");
            assert_eq!(cast(f64::NEG_INFINITY, dtype), f64::NEG_INFINITY, "{dtype}");
            assert!(cast(f64::NAN, dtype).is_nan(), "{dtype}");
            assert_eq!(cast(-f64::MIN_POSITIVE, dtype).to_bits(), (-0.0_f64).to_bits(), "{dtype}");
        }
        assert_eq!(cast(65519.999, DType::F16), 65504.0);
        assert_eq!(cast(65520.0, DType::F16), f64::INFINITY);
        // Half of the smallest f16 is a tie with 0; a little more is not.
        let tiny = (-25_f64).exp2();
        assert_eq!((cast(tiny, DType::F16), cast(tiny.next_up(), DType::F16)), (0.0, 2.0 * tiny));
    }

    #[test]
    fn casts_of_extreme_values() {
        assert_eq!(Scalar::Float(f64::NAN).cast(DType::I64), Scalar::Int(0));
        assert_eq!(Scalar::Float(1e30).cast(DType::I32), Scalar::Int(i64::from(i32::MAX)));
        assert_eq!(Scalar::Float(-1e30).cast(DType::U8), Scalar::Int(0));
        assert_eq!(Scalar::Float(-1.9).cast(DType::I8), Scalar::Int(-1));
        assert_eq!(Scalar::Int(300).cast(DType::U8), Scalar::Int(44));
        assert_eq!(Scalar::Int(i64::MIN).cast(DType::I8), Scalar::Int(0));
        assert_eq!(Scalar::Int(i64::MIN).cast(DType::F32), Scalar::Float(-(63_f64).exp2()));
        assert_eq!(Scalar::Int(16_777_217).cast(DType::F32), Scalar::Float(16_777_216.0));
        assert_eq!(Scalar::Float(f64::NAN).cast(DType::Bool), Scalar::Bool(true));
        assert_eq!(Scalar::Float(-0.0).cast(DType::Bool), Scalar::Bool(false));
        assert_eq!(Scalar::Float(1e-300).cast(DType::Bool), Scalar::Bool(true), "not rounded to zero first");
    }
}
