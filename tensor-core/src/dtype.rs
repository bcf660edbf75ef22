//! Element types: their names, sizes and promotion.

use crate::Scalar;
use crate::scalar::to_odd_f32;
use half::{bf16, f16};
use std::fmt;

/// The type of a tensor's elements.
///
/// ```
/// use tensor_core::DType;
/// assert_eq!(DType::I32.promote(DType::F16), DType::F16);
/// assert_eq!(DType::U8.promote(DType::I8), DType::I16);
/// assert_eq!(DType::F32.to_string(), "f32");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// `true` or `false`, one byte.
    Bool,
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 8-bit integer.
    I8,
    /// Signed 16-bit integer.
    I16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer; what integer literals become.
    I64,
    /// IEEE 754 binary16: 11 bits of precision, up to 65504. Computed in f32.
    F16,
    /// The upper half of an f32: 8 bits of precision, f32's range. Computed in f32.
    BF16,
    /// IEEE 754 binary32; what float literals become.
    F32,
    /// IEEE 754 binary64.
    F64,
}

/// What kind of number a dtype holds. Later kinds win in promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// Truth values.
    Bool,
    /// Integers.
    Int,
    /// Floating-point numbers.
    Float,
}

impl DType {
    /// Every dtype, in order of declaration.
    pub const ALL: [Self; 10] =
        [Self::Bool, Self::U8, Self::I8, Self::I16, Self::I32, Self::I64, Self::F16, Self::BF16, Self::F32, Self::F64];

    /// What a float scalar becomes where nothing else decides.
    pub const DEFAULT_FLOAT: Self = Self::F32;

    /// What an integer scalar becomes where nothing else decides.
    pub const DEFAULT_INT: Self = Self::I64;

    /// Size of one element in bytes.
    #[inline]
    pub const fn size(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 => 1,
            Self::I16 | Self::F16 | Self::BF16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }

    /// The name in Rust's spelling, such as `f32`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    /// Bool, integer or float.
    #[inline]
    pub const fn category(self) -> Category {
        match self {
            Self::Bool => Category::Bool,
            Self::U8 | Self::I8 | Self::I16 | Self::I32 | Self::I64 => Category::Int,
            Self::F16 | Self::BF16 | Self::F32 | Self::F64 => Category::Float,
        }
    }

    /// Whether it is one of the four float dtypes; only these can carry gradients.
    #[inline]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64)
    }

    /// Whether it is one of the five integer dtypes.
    #[inline]
    pub const fn is_int(self) -> bool {
        matches!(self, Self::U8 | Self::I8 | Self::I16 | Self::I32 | Self::I64)
    }

    /// The dtype in which the values are computed: f32 for f16 and bf16, itself for all others.
    #[inline]
    pub const fn compute(self) -> Self {
        match self {
            Self::F16 | Self::BF16 => Self::F32,
            other => other,
        }
    }

    /// This dtype if it is a float, else the default float: what division and `exp` of integers give.
    #[inline]
    pub const fn or_float(self) -> Self {
        if self.is_float() { self } else { Self::DEFAULT_FLOAT }
    }

    /// The smallest dtype that holds both, by `PyTorch`'s table: any float wins over integers (`I64` with `F16` gives `F16`),
    /// `U8` with `I8` gives `I16`, `F16` with `BF16` gives `F32`.
    pub const fn promote(self, other: Self) -> Self {
        use DType::*;
        if self as u8 == other as u8 {
            return self;
        }
        // The enum's order is promotion order but for these pairs, which have no order among themselves.
        match (self, other) {
            (F16, BF16) | (BF16, F16) => F32,
            (U8, I8) | (I8, U8) => I16,
            _ if (self as u8) > (other as u8) => self,
            _ => other,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The dtype of an operation's result over several operands, by `PyTorch`'s three priority classes: tensors with axes, then
/// 0-d tensors, then plain scalars. A lower class changes the dtype only where its [`Category`] is higher.
///
/// ```
/// use tensor_core::{DType, result_type, Scalar};
/// // an i32 vector and a 0-d f64: the category rises, so the 0-d tensor brings its own dtype
/// assert_eq!(result_type([(DType::I32, 1), (DType::F64, 0)], []), DType::F64);
/// // an f32 vector and a 0-d f64: same category, the vector wins
/// assert_eq!(result_type([(DType::F32, 1), (DType::F64, 0)], []), DType::F32);
/// assert_eq!(result_type([(DType::I32, 1)], [Scalar::Float(1.5)]), DType::F32);
/// ```
pub fn result_type(
    arrays: impl IntoIterator<Item = (DType, usize)>,
    scalars: impl IntoIterator<Item = Scalar>,
) -> DType {
    fn join(into: &mut Option<DType>, dtype: DType) {
        *into = Some(into.map_or(dtype, |held| held.promote(dtype)));
    }
    fn lower_class(high: Option<DType>, low: Option<DType>) -> Option<DType> {
        match (high, low) {
            (Some(high), Some(low)) if low.category() > high.category() => Some(low),
            (None, low) => low,
            (high, _) => high,
        }
    }
    let (mut dimensioned, mut zero_dim, mut plain) = (None, None, None);
    for (dtype, rank) in arrays {
        join(if rank == 0 { &mut zero_dim } else { &mut dimensioned }, dtype);
    }
    for scalar in scalars {
        join(&mut plain, scalar.default_dtype());
    }
    lower_class(lower_class(dimensioned, zero_dim), plain).unwrap_or(DType::DEFAULT_FLOAT)
}

mod sealed {
    #[expect(unnameable_types, reason = "sealing is what it is for")]
    pub trait Sealed {}
}

/// A Rust type that can be a tensor's element.
pub trait Element:
    sealed::Sealed + bytemuck::NoUninit + bytemuck::CheckedBitPattern + Default + PartialEq + fmt::Debug + Send + Sync
{
    /// The dtype of tensors with such elements.
    const DTYPE: DType;

    /// The value as a scalar. Exact.
    fn to_scalar(self) -> Scalar;

    /// Converts a scalar as [`Scalar::cast`] does.
    fn from_scalar(scalar: Scalar) -> Self;
}

impl sealed::Sealed for bool {}
impl Element for bool {
    const DTYPE: DType = DType::Bool;
    #[inline]
    fn to_scalar(self) -> Scalar {
        Scalar::Bool(self)
    }
    #[inline]
    fn from_scalar(scalar: Scalar) -> Self {
        scalar.as_bool()
    }
}

macro_rules! int_element {
    ($($t:ty => $dtype:ident, $wrap:expr);*) => {$(
        impl sealed::Sealed for $t {}
        impl Element for $t {
            const DTYPE: DType = DType::$dtype;
            #[inline]
            fn to_scalar(self) -> Scalar {
                Scalar::Int(i64::from(self))
            }
            #[inline]
            fn from_scalar(scalar: Scalar) -> Self {
                match scalar {
                    Scalar::Bool(value) => Self::from(value),
                    Scalar::Int(value) => $wrap(value),
                    Scalar::Float(value) => value as Self,
                }
            }
        }
    )*};
}
int_element!(
    u8 => U8, |v: i64| v as Self;
    i8 => I8, |v: i64| v as Self;
    i16 => I16, |v: i64| v as Self;
    i32 => I32, |v: i64| v as Self;
    i64 => I64, |v: i64| v
);

macro_rules! float_element {
    ($($t:ty => $dtype:ident, $from:expr);*) => {$(
        impl sealed::Sealed for $t {}
        impl Element for $t {
            const DTYPE: DType = DType::$dtype;
            #[inline]
            fn to_scalar(self) -> Scalar {
                Scalar::Float(f64::from(self))
            }
            #[inline]
            fn from_scalar(scalar: Scalar) -> Self {
                $from(scalar)
            }
        }
    )*};
}
float_element!(
    // The crate's own conversions from f64 round twice.
    f16 => F16, |s: Scalar| f16::from_f32(to_odd_f32(s.as_f64()));
    bf16 => BF16, |s: Scalar| bf16::from_f32(to_odd_f32(s.as_f64()));
    f32 => F32, |s: Scalar| match s { Scalar::Int(value) => value as Self, other => other.as_f64() as Self };
    f64 => F64, |s: Scalar| s.as_f64()
);

/// Calls `$body` with `$T` bound to the Rust type of a dtype.
///
/// ```
/// use tensor_core::{dispatch, DType};
/// let size = dispatch!(DType::I16, T => size_of::<T>());
/// assert_eq!(size, 2);
/// ```
#[macro_export]
macro_rules! dispatch {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::DType::Bool => {
                type $T = bool;
                $body
            }
            $crate::DType::U8 => {
                type $T = u8;
                $body
            }
            $crate::DType::I8 => {
                type $T = i8;
                $body
            }
            $crate::DType::I16 => {
                type $T = i16;
                $body
            }
            $crate::DType::I32 => {
                type $T = i32;
                $body
            }
            $crate::DType::I64 => {
                type $T = i64;
                $body
            }
            $crate::DType::F16 => {
                type $T = $crate::f16;
                $body
            }
            $crate::DType::BF16 => {
                type $T = $crate::bf16;
                $body
            }
            $crate::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::DType::F64 => {
                type $T = f64;
                $body
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PyTorch's promotion table, row by row; measured.
    #[test]
    fn promotion_is_pytorchs_table() {
        let table = "
            b   u8   i8  i16  i32  i64  f16 bf16  f32  f64
           u8   u8  i16  i16  i32  i64  f16 bf16  f32  f64
           i8  i16   i8  i16  i32  i64  f16 bf16  f32  f64
          i16  i16  i16  i16  i32  i64  f16 bf16  f32  f64
          i32  i32  i32  i32  i32  i64  f16 bf16  f32  f64
          i64  i64  i64  i64  i64  i64  f16 bf16  f32  f64
          f16  f16  f16  f16  f16  f16  f16  f32  f32  f64
         bf16 bf16 bf16 bf16 bf16 bf16  f32 bf16  f32  f64
          f32  f32  f32  f32  f32  f32  f32  f32  f32  f64
          f64  f64  f64  f64  f64  f64  f64  f64  f64  f64";
        let mut names = table.split_whitespace();
        for a in DType::ALL {
            for b in DType::ALL {
                let expected = names.next().unwrap().replace("bf16", "BF16");
                let got = match a.promote(b) {
                    DType::Bool => "b".to_owned(),
                    DType::BF16 => "BF16".to_owned(),
                    other => other.name().to_owned(),
                };
                assert_eq!(got, expected, "{a} with {b}");
            }
        }
    }

    #[test]
    fn result_type_classes() {
        use DType::*;
        let case = |arrays: &[(DType, usize)], scalars: &[Scalar]| {
            result_type(arrays.iter().copied(), scalars.iter().copied())
        };
        assert_eq!(case(&[(F16, 1), (F64, 0)], &[]), F16);
        assert_eq!(case(&[(F32, 0), (F64, 0)], &[]), F64);
        assert_eq!(case(&[(U8, 1), (I64, 0)], &[]), U8);
        assert_eq!(case(&[(Bool, 1), (I64, 0)], &[]), I64);
        assert_eq!(case(&[(Bool, 1)], &[Scalar::Int(1)]), I64);
        assert_eq!(case(&[(Bool, 1)], &[Scalar::Bool(true)]), Bool);
        assert_eq!(case(&[(I64, 0)], &[Scalar::Float(1.5)]), F32);
        assert_eq!(case(&[(F16, 1)], &[Scalar::Float(1e6)]), F16);
        assert_eq!(case(&[(F16, 1), (F32, 0)], &[]), F16);
    }
}
