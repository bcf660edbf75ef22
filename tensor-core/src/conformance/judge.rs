//! How far a result may be from the reference interpreter's, and how far it is.

use super::values::FloatFormat;
use crate::{DType, Scalar, bf16, f16};

/// What is accepted besides the reference's own value. NaN is any NaN, and zeros are equal unless their signs count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bound {
    /// How many units away.
    pub(super) ulp: f64,
    /// The size of a unit. Where it is 0, a unit is the distance to the next value of the dtype (an ULP); else differences
    /// below `ulp · unit` are accepted too, which is for results that are small beside what they were computed from.
    pub(super) unit: f64,
    /// Another value that is as right.
    pub(super) also: Option<Scalar>,
    /// Whether −0 and 0 are different.
    pub(super) zero_signs: bool,
    /// Whether everything is accepted.
    pub(super) anything: bool,
}

impl Bound {
    /// The reference's value, however its zeros are signed.
    pub(super) const EXACT: Self = Self { ulp: 0.0, unit: 0.0, also: None, zero_signs: false, anything: false };

    /// The reference's value with the sign of its zeros: where nothing is computed, or only the sign.
    pub(super) const SAME: Self = Self { zero_signs: true, ..Self::EXACT };

    /// Everything: where the result depends on an intermediate value that overflows in one format and not in another.
    pub(super) const ANYTHING: Self = Self { anything: true, ..Self::EXACT };

    /// Within a number of ULP of the dtype that it was computed in. What is within any number in f32 is within one when
    /// rounded to a storage type.
    pub(super) fn ulp(ulp: u32, dtype: DType) -> Self {
        let ulp = if dtype.is_float() && dtype.compute() != dtype { ulp.min(1) } else { ulp };
        Self { ulp: ulp.into(), ..Self::EXACT }
    }

    /// As [`ulp`](Self::ulp), but with units of the size that they have at a magnitude, in the dtype that is computed in.
    pub(super) fn at_scale(ulp: f64, magnitude: f64, dtype: DType) -> Self {
        let unit = FloatFormat::of(dtype.compute()).spacing(magnitude);
        let mut bound = Self { ulp, unit, ..Self::EXACT };
        if dtype.compute() != dtype {
            // Rounding to the storage type comes on top: one of its units is many of those.
            bound.ulp = bound.ulp.max(1.0);
        }
        bound
    }
}

/// How far two values are apart in units in the last place of the dtype; 0 for equal ones, and for NaN beside NaN.
pub(super) fn distance(dtype: DType, a: f64, b: f64) -> f64 {
    if a == b || (a.is_nan() && b.is_nan()) {
        return 0.0;
    }
    if a.is_nan() || b.is_nan() {
        return f64::INFINITY;
    }
    // Bit patterns without their sign count up from zero.
    let place = |value: f64| -> i128 {
        let bits = match dtype {
            DType::F16 => u64::from(f16::from_f64(value.abs()).to_bits()),
            DType::BF16 => u64::from(bf16::from_f64(value.abs()).to_bits()),
            DType::F32 => u64::from((value.abs() as f32).to_bits()),
            _ => value.abs().to_bits(),
        };
        if value < 0.0 { -i128::from(bits) } else { i128::from(bits) }
    };
    (place(a) - place(b)).unsigned_abs() as f64
}

/// How far a result is from what was expected, in the bound's units; `Err` if that is too far.
pub(super) fn judge(dtype: DType, got: Scalar, expected: Scalar, bound: Bound) -> Result<f64, f64> {
    if bound.anything || bound.also == Some(got) {
        return Ok(0.0);
    }
    let (Scalar::Float(got), Scalar::Float(expected)) = (got, expected) else {
        return if got == expected { Ok(0.0) } else { Err(f64::INFINITY) };
    };
    if bound.zero_signs && got == 0.0 && expected == 0.0 && got.is_sign_negative() != expected.is_sign_negative() {
        return Err(0.0);
    }
    let apart = distance(dtype, got, expected);
    if bound.unit == 0.0 || !(got - expected).is_finite() {
        return if apart <= bound.ulp { Ok(apart) } else { Err(apart) };
    }
    // Half a unit of a storage type is rounding and no error of what was computed.
    let rounding = if dtype.compute() == dtype { 0.0 } else { FloatFormat::of(dtype).spacing(expected) };
    let units = ((got - expected).abs() - rounding).max(0.0) / bound.unit;
    let measured = units.min(apart);
    if measured <= bound.ulp { Ok(measured) } else { Err(measured) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_values_between() {
        assert_eq!(distance(DType::F32, 1.0, f64::from(1.0f32.next_up())), 1.0);
        assert_eq!(distance(DType::F32, f64::from(f32::from_bits(1)), -f64::from(f32::from_bits(1))), 2.0);
        assert_eq!(distance(DType::F16, 65504.0, f64::INFINITY), 1.0);
        assert_eq!(distance(DType::F64, f64::NAN, -f64::NAN), 0.0);
        assert_eq!(distance(DType::F64, f64::NAN, 1.0), f64::INFINITY);
    }

    #[test]
    fn zeros_count_only_where_asked() {
        let zero = |bound| judge(DType::F32, Scalar::Float(-0.0), Scalar::Float(0.0), bound);
        assert_eq!(zero(Bound::EXACT), Ok(0.0));
        assert_eq!(zero(Bound::SAME), Err(0.0));
    }

    #[test]
    fn small_differences_of_large_numbers_are_judged_at_the_large_ones() {
        let bound = Bound::at_scale(4.0, 1000.0, DType::F32);
        let unit = 2f64.powi(-14);
        assert_eq!(judge(DType::F32, Scalar::Float(2.0 * unit), Scalar::Float(0.0), bound), Ok(2.0));
        assert!(judge(DType::F32, Scalar::Float(5.0 * unit), Scalar::Float(0.0), bound).is_err());
        assert!(judge(DType::F32, Scalar::Float(f64::NAN), Scalar::Float(0.0), bound).is_err());
        assert!(judge(DType::F32, Scalar::Float(f64::INFINITY), Scalar::Float(0.0), bound).is_err());
    }

    #[test]
    fn storage_types_are_judged_at_their_own_precision() {
        assert_eq!(Bound::ulp(16, DType::BF16).ulp, 1.0);
        assert_eq!(Bound::ulp(0, DType::F16).ulp, 0.0);
        assert_eq!(Bound::ulp(16, DType::F32).ulp, 16.0);
    }
}
