//! [`Real`]: what `f32` and `f64` have in common, and the constants in which they differ.
//!
//! Polynomial coefficients are minimax fits made with Sollya by the script `coefficients.sollya` beside this file;
//! its output says how large each polynomial's error is. Split constants (`…_HI` + `…_LO`) are the mathematical
//! constant rounded to the first part's width, and the rest rounded to the type.

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

use super::Isa;

/// `f32` or `f64`: everything that the branch-free functions need to know about the type.
///
/// The trait is for use as a bound; its methods are building blocks of the functions in [`vecmath`](super).
pub trait Real:
    Copy
    + Debug
    + PartialEq
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + Send
    + Sync
    + super::by_width::ByWidth
    + 'static
{
    /// Positive infinity.
    const INFINITY: Self;
    /// A quiet NaN.
    const NAN: Self;
    /// The smallest positive normal number.
    const MIN_POSITIVE: Self;
    /// Half an ULP of 1: below this size, `f(x) = x + O(x^2)` rounds to `x`.
    const TINY: Self;
    /// `1.5 * 2^(mantissa bits)`: adding it rounds to an integer that then stands in the low mantissa bits.
    const MAGIC: Self;
    /// `2^(mantissa bits)`: from here on all numbers are integers.
    const INTEGERS: Self;
    /// `2^k` and its inverse, where `k` lifts every denormal into the normal range, and `k` itself.
    const LIFT: (Self, Self);
    /// `2^(mantissa bits + 1) + 1`-like factor that splits a number in two halves (Dekker's product).
    const SPLITTER: Self;
    /// Scale steps that keep `2^n` a normal number for every `n` that `exp` meets, and their inverses.
    const STEP: (Self, Self);

    /// Above this `exp` overflows; below the second, it is 0 even as a denormal.
    const EXP_RANGE: (Self, Self);
    /// Up to this absolute value `exp` and the power of two in it are normal numbers.
    const EXP_MODERATE: Self;
    /// [`Real::EXP_RANGE`] for `exp2`.
    const EXP2_RANGE: (Self, Self);
    /// Above this `expm1` overflows; below the second, it is -1.
    const EXPM1_RANGE: (Self, Self);
    /// ln 2, the first part short enough that its product with any exponent is exact.
    const LN2: (Self, Self);
    /// log10 2, split like [`Real::LN2`].
    const LOG10_2: (Self, Self);
    /// 1 / ln 2.
    const LOG2_E: (Self, Self);
    /// 1 / ln 10.
    const LOG10_E: (Self, Self);
    /// pi / 2.
    const PI_2: (Self, Self);
    /// pi / 4.
    const PI_4: (Self, Self);
    /// 1 / sqrt 2.
    const SQRT_1_2: Self;
    /// tan(pi / 8).
    const TAN_PI_8: Self;
    /// sqrt(8 / pi) and 0.044715 times that: the two coefficients of the tanh form of gelu, doubled.
    const GELU_TANH: ((Self, Self), (Self, Self));

    /// `(exp(r) - 1 - r) / r^2` for `|r| <= ln 2 / 2`.
    const EXP: &'static [Self];
    /// The same, relative to `expm1`.
    const EXPM1: &'static [Self];
    /// `((2^r - 1) / r - ln 2) / r` for `|r| <= 1/2`.
    const EXP2: &'static [Self];
    /// `(sin(r) - r) / r^3` in `r^2` for `|r| <= pi / 4`.
    const SIN: &'static [Self];
    /// `(cos(r) - 1 + r^2 / 2) / r^4` in `r^2` for `|r| <= pi / 4`.
    const COS: &'static [Self];
    /// `(asin(r) - r) / r^3` in `r^2` for `|r| <= 1/2`.
    const ASIN: &'static [Self];
    /// `(atan(r) - r) / r^3` in `r^2` for `|r| <= tan(pi / 8)`.
    const ATAN: &'static [Self];
    /// `(sinh(r) - r) / r^3` in `r^2` for `|r| <= 1`.
    const SINH: &'static [Self];
    /// Above this `tanh` rounds to 1.
    const TANH_ONE: Self;
    /// `erf(r) / r - 1` in `r^2` for `|r| <= ` [`Real::ERF_SMALL`].
    const ERF: &'static [Self];
    /// Where `erf` goes over from the polynomial to its tail.
    const ERF_SMALL: Self;
    /// `erfcx(r) * (r + K)` in `(r - K) / (r + K)`, where `erfcx(r) = exp(r^2) erfc(r)`, `r >= 0`.
    const ERFCX: &'static [Self];
    /// The K of [`Real::ERFCX`].
    const ERFCX_K: Self;
    /// Above this `|x|`, `sin`, `cos` and `tan` need more digits of pi than [`Real::trig_reduce`] has.
    const TRIG_LIMIT: Self;

    /// A constant, rounded to the type.
    fn lit(x: f64) -> Self;
    /// The value in double precision.
    fn to_f64(self) -> f64;
    /// `self * a + b`: in one rounding if the instruction set can, in two if not.
    fn mul_add<I: Isa>(self, a: Self, b: Self) -> Self;
    /// `|self|`.
    fn abs(self) -> Self;
    /// `self` with the sign bit of `sign`.
    fn copysign(self, sign: Self) -> Self;
    /// `self`, its sign bit flipped if that of `sign` is set.
    fn flip_sign(self, sign: Self) -> Self;
    /// Whether this is NaN.
    fn is_nan(self) -> bool;
    /// Whether the sign bit is set (for NaN too).
    fn sign_bit(self) -> bool;
    /// Correctly rounded square root.
    fn sqrt(self) -> Self;
    /// Largest integer not above `self`.
    fn floor<I: Isa>(self) -> Self;
    /// Smallest integer not below `self`.
    fn ceil<I: Isa>(self) -> Self;
    /// Integer part.
    fn trunc<I: Isa>(self) -> Self;
    /// Nearest integer, ties to even.
    fn round_ties_even<I: Isa>(self) -> Self;
    /// `2^n` for an integer `n` whose result is a normal number.
    fn pow2(n: Self) -> Self;
    /// `self · 2^n` if both are normal numbers, where `magic` is [`Real::MAGIC`] + n.
    fn times_pow2(self, magic: Self) -> Self;
    /// For a positive normal number: `(e, m)` with `self = 2^e m` and `sqrt(1/2) <= m < sqrt(2)`.
    fn split_exponent(self) -> (Self, Self);
    /// Rounds the number to half its mantissa, so that products of such numbers are exact.
    fn upper_half(self) -> Self;
    /// `c` with `log(1 + f) = f + c`, for `sqrt(1/2) <= 1 + f < sqrt(2)`.
    fn log1p_tail<I: Isa>(f: Self) -> Self;
    /// For `|self| <= TRIG_LIMIT`: the multiple of pi/2 next to it, modulo 4 in the low bits, and the distance to it in
    /// two parts.
    fn trig_reduce<I: Isa>(self) -> (u32, Self, Self);
    /// `self`, its sign flipped if bit 1 of `quadrant` is set.
    fn flip_if_bit1(self, quadrant: u32) -> Self;
}

/// `c[0] + c[1] x + c[2] x^2 + …`
#[inline(always)]
pub(super) fn poly<I: Isa, T: Real>(x: T, c: &[T]) -> T {
    if c.len() < LONG {
        return horner::<I, T>(x, c, 0, 1);
    }
    // Long chains of dependent multiply-adds outrun what a core can overlap: two chains of half the length cost one
    // multiplication more and nearly half the time. The largest terms stay out of it, as even and odd terms of like
    // size but opposite sign would cancel.
    let z = x * x;
    let high = horner::<I, T>(z, c, 3, 2).mul_add::<I>(x, horner::<I, T>(z, c, 2, 2));
    high.mul_add::<I>(x, c[1]).mul_add::<I>(x, c[0])
}

/// The number of coefficients from which [`poly`] splits.
const LONG: usize = 8;

/// `c[first] + c[first + step] x + c[first + 2 step] x^2 + …`
#[inline(always)]
fn horner<I: Isa, T: Real>(x: T, c: &[T], first: usize, step: usize) -> T {
    let mut i = first + (c.len() - 1 - first) / step * step;
    let mut sum = c[i];
    while i > first {
        i -= step;
        sum = sum.mul_add::<I>(x, c[i]);
    }
    sum
}

/// Rounds `|x| < 2^(mantissa bits - 1)` to the nearest integer without a rounding instruction.
#[inline(always)]
pub(super) fn round_small<T: Real>(x: T) -> T {
    (x + T::MAGIC) - T::MAGIC
}

/// `a + b` as a rounded sum and its exact error, for any `a`, `b`.
#[inline(always)]
pub(super) fn two_sum<T: Real>(a: T, b: T) -> (T, T) {
    let s = a + b;
    let b1 = s - a;
    (s, (a - (s - b1)) + (b - b1))
}

/// The same for `|a| >= |b|` or `a = 0`.
#[inline(always)]
pub(super) fn quick_two_sum<T: Real>(a: T, b: T) -> (T, T) {
    let s = a + b;
    (s, b - (s - a))
}

/// `a * b` as a rounded product and its exact error (barring overflow and underflow).
#[inline(always)]
pub(super) fn two_prod<I: Isa, T: Real>(a: T, b: T) -> (T, T) {
    let p = a * b;
    if I::FMA {
        return (p, a.mul_add::<I>(b, -p));
    }
    let (ah, bh) = (a.upper_half(), b.upper_half());
    let (al, bl) = (a - ah, b - bh);
    (p, ((ah * bh - p) + ah * bl + al * bh) + al * bl)
}

/// Stamps the methods that are bit patterns or standard-library calls, in which only widths differ.
macro_rules! shared_methods {
    ($float:ident, $bits:ident, $mantissa:literal, $bias:literal, $bias_float:literal, $sqrt_half:literal) => {
        #[inline(always)]
        fn mul_add<I: Isa>(self, a: Self, b: Self) -> Self {
            if I::FMA { $float::mul_add(self, a, b) } else { self * a + b }
        }
        #[inline(always)]
        fn abs(self) -> Self {
            $float::abs(self)
        }
        #[inline(always)]
        fn copysign(self, sign: Self) -> Self {
            $float::copysign(self, sign)
        }
        #[inline(always)]
        fn flip_sign(self, sign: Self) -> Self {
            const SIGN: $bits = 1 << ($bits::BITS - 1);
            $float::from_bits(self.to_bits() ^ (sign.to_bits() & SIGN))
        }
        #[inline(always)]
        fn is_nan(self) -> bool {
            $float::is_nan(self)
        }
        #[inline(always)]
        fn sign_bit(self) -> bool {
            self.is_sign_negative()
        }
        #[inline(always)]
        fn sqrt(self) -> Self {
            $float::sqrt(self)
        }
        #[inline(always)]
        fn floor<I: Isa>(self) -> Self {
            if I::ROUND {
                return $float::floor(self);
            }
            let r = Real::round_ties_even::<I>(self);
            (if r > self { r - 1.0 } else { r }).copysign(self)
        }
        #[inline(always)]
        fn ceil<I: Isa>(self) -> Self {
            if I::ROUND {
                return $float::ceil(self);
            }
            let r = Real::round_ties_even::<I>(self);
            (if r < self { r + 1.0 } else { r }).copysign(self)
        }
        #[inline(always)]
        fn trunc<I: Isa>(self) -> Self {
            if I::ROUND {
                return $float::trunc(self);
            }
            let a = self.abs();
            let r = Real::round_ties_even::<I>(a);
            (if r > a { r - 1.0 } else { r }).copysign(self)
        }
        #[inline(always)]
        fn round_ties_even<I: Isa>(self) -> Self {
            if I::ROUND {
                return $float::round_ties_even(self);
            }
            // Adding 2^mantissa to |x| leaves no bits for a fraction, and rounds to even on the way.
            let a = Real::abs(self);
            let r = (a + Self::INTEGERS) - Self::INTEGERS;
            if a < Self::INTEGERS { r.copysign(self) } else { self }
        }
        #[inline(always)]
        fn pow2(n: Self) -> Self {
            // The sum's low mantissa bits are n + bias; the shift drops everything above them.
            $float::from_bits((n + (Self::MAGIC + $bias_float)).to_bits() << $mantissa)
        }
        #[inline(always)]
        fn times_pow2(self, magic: Self) -> Self {
            // n's low bits meet the exponent; the shift drops all above them.
            $float::from_bits(self.to_bits().wrapping_add(magic.to_bits() << $mantissa))
        }
        #[inline(always)]
        fn split_exponent(self) -> (Self, Self) {
            // Subtracting sqrt(1/2)'s bits lets the exponent field step at sqrt(1/2) instead of 1. The field goes to
            // a float through the mantissa of 2^mantissa: AVX2 cannot convert 64-bit integers.
            const ONE: $bits = $bias << $mantissa;
            let shifted = self.to_bits().wrapping_sub($sqrt_half).wrapping_add(ONE);
            let e = shifted >> $mantissa;
            let mantissa = self.to_bits().wrapping_sub(e << $mantissa).wrapping_add(ONE);
            let float = $float::from_bits(e | Self::INTEGERS.to_bits());
            (float - (Self::INTEGERS + $bias_float), $float::from_bits(mantissa))
        }
        #[inline(always)]
        fn upper_half(self) -> Self {
            let c = self * Self::SPLITTER;
            c - (c - self)
        }
        #[inline(always)]
        fn flip_if_bit1(self, quadrant: u32) -> Self {
            let sign = $bits::from(quadrant & 2) << ($bits::BITS - 2);
            $float::from_bits(self.to_bits() ^ sign)
        }
    };
}

impl Real for f32 {
    const INFINITY: Self = Self::INFINITY;
    const NAN: Self = Self::NAN;
    const MIN_POSITIVE: Self = Self::MIN_POSITIVE;
    const TINY: Self = Self::EPSILON / 2.0;
    const MAGIC: Self = 12_582_912.0;
    const INTEGERS: Self = 8_388_608.0;
    const LIFT: (Self, Self) = (33_554_432.0, 25.0);
    const SPLITTER: Self = 4097.0;
    const STEP: (Self, Self) = (64.0, 18_446_744_073_709_551_616.0);
    const EXP_RANGE: (Self, Self) = (89.0, -105.0);
    const EXP_MODERATE: Self = 86.0;
    const EXP2_RANGE: (Self, Self) = (129.0, -152.0);
    const EXPM1_RANGE: (Self, Self) = (89.0, -20.0);
    const LN2: (Self, Self) = (0.693_176_27, -2.908_897_1e-5);
    const LOG10_2: (Self, Self) = (0.301_025_4, 4.605_039e-6);
    const LOG2_E: (Self, Self) = (std::f32::consts::LOG2_E, 1.925_963e-8);
    const LOG10_E: (Self, Self) = (std::f32::consts::LOG10_E, -1.010_305e-8);
    const PI_2: (Self, Self) = (std::f32::consts::FRAC_PI_2, -4.371_139e-8);
    const PI_4: (Self, Self) = (std::f32::consts::FRAC_PI_4, -2.185_569_4e-8);
    const SQRT_1_2: Self = std::f32::consts::FRAC_1_SQRT_2;
    const TAN_PI_8: Self = 0.414_213_57;
    const GELU_TANH: ((Self, Self), (Self, Self)) = ((1.595_769_2, -4.534_068e-8), (0.071_354_814, 2.398_832_5e-9));
    const EXP: &'static [Self] = &[0.499_999_94, 0.166_665_2, 0.041_668_404, 0.008_368_899, 0.001_381_422_2];
    const EXPM1: &'static [Self] = &[0.5, 0.166_666_66, 0.041_666_29, 0.008_333_499, 0.001_394_494_2, 0.000_197_900_6];
    const EXP2: &'static [Self] = &[0.240_226_48, 0.055_503_324, 0.009_618_437, 0.001_339_887_4, 0.000_153_533_62];
    const SIN: &'static [Self] = &[-0.166_666_67, 0.008_333_329, -0.000_198_393_1, 2.718_102_2e-6];
    const COS: &'static [Self] = &[0.041_666_646, -0.001_388_731_4, 2.443_296_6e-5];
    const ASIN: &'static [Self] = &[0.166_667_52, 0.074_952_975, 0.045_470_376, 0.024_179_514, 0.042_166_308];
    const ATAN: &'static [Self] = &[-0.333_333_16, 0.199_984_7, -0.142_434_87, 0.105_934_52, -0.060_772_594];
    const SINH: &'static [Self] = &[0.166_666_67, 0.008_333_35, 0.000_198_361_6, 2.816_951e-6];
    const TANH_ONE: Self = 10.0;
    const ERF: &'static [Self] =
        &[0.128_379_17, -0.376_126_35, 0.112_836_93, -0.026_859_226, 0.005_200_604_4, -0.000_813_785_24, 8.349_603e-5];
    const ERF_SMALL: Self = 0.92;
    const ERFCX: &'static [Self] = &[
        1.021_582_7,
        -0.687_160_9,
        0.279_471_25,
        -0.036_436_092,
        -0.021_500_72,
        0.006_436_357_3,
        0.003_036_984_7,
        -0.000_730_035_8,
        -0.000_523_467_14,
        -4.250_711_6e-5,
    ];
    const ERFCX_K: Self = 2.0;
    // 2^15 quarter turns: n times the parts of pi/2 below stays exact enough (measured).
    const TRIG_LIMIT: Self = 51_000.0;

    shared_methods!(f32, u32, 23, 127, 127.0, 0x3f35_04f3);

    #[inline(always)]
    fn lit(x: f64) -> Self {
        x as Self
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn log1p_tail<I: Isa>(f: Self) -> Self {
        const C: [f32; 9] = [
            -0.499_999_88,
            0.333_333_25,
            -0.250_016_18,
            0.200_020_66,
            -0.166_082_49,
            0.141_793_65,
            -0.132_478_36,
            0.129_233_78,
            -0.076_333_54,
        ];
        f * f * poly::<I, Self>(f, &C)
    }

    #[inline(always)]
    fn trig_reduce<I: Isa>(self) -> (u32, Self, Self) {
        let magic = Real::mul_add::<I>(self, std::f32::consts::FRAC_2_PI, Self::MAGIC);
        let n = magic - Self::MAGIC;
        if I::FMA {
            let d = Real::mul_add::<I>(n, -std::f32::consts::FRAC_PI_2, self);
            let r = Real::mul_add::<I>(n, 4.371_139e-8, d);
            let lo = Real::mul_add::<I>(n, 4.371_139e-8, d - r);
            // Where most of d cancelled, d - r is not exact: its error would exceed the one that lo makes good.
            let lo = if Real::abs(r) < 0.5 * Real::abs(d) { 0.0 } else { lo };
            (magic.to_bits(), r, lo + n * 1.715_124_5e-15)
        } else {
            // Without a fused multiply-add the product with 24 bits of pi/2 would be rounded; in f64 it is exact.
            let n = f64::from(n);
            let d = (f64::from(self) - n * 1.570_796_326_734_125_6) - n * 6.077_100_506_303_966e-11;
            let r = d as Self;
            (magic.to_bits(), r, (d - f64::from(r)) as Self)
        }
    }
}

impl Real for f64 {
    const INFINITY: Self = Self::INFINITY;
    const NAN: Self = Self::NAN;
    const MIN_POSITIVE: Self = Self::MIN_POSITIVE;
    const TINY: Self = Self::EPSILON / 2.0;
    const MAGIC: Self = 6_755_399_441_055_744.0;
    const INTEGERS: Self = 4_503_599_627_370_496.0;
    const LIFT: (Self, Self) = (18_014_398_509_481_984.0, 54.0);
    const SPLITTER: Self = 134_217_729.0;
    const STEP: (Self, Self) = (256.0, 1.157_920_892_373_162e77);
    const EXP_RANGE: (Self, Self) = (710.0, -746.0);
    const EXP_MODERATE: Self = 707.0;
    const EXP2_RANGE: (Self, Self) = (1025.0, -1077.0);
    const EXPM1_RANGE: (Self, Self) = (710.0, -40.0);
    const LN2: (Self, Self) = (0.693_147_180_558_298_7, 1.646_594_958_289_708_2e-12);
    const LOG10_2: (Self, Self) = (0.301_029_995_664_066_5, -8.532_344_317_057_107e-14);
    const LOG2_E: (Self, Self) = (std::f64::consts::LOG2_E, 2.035_527_374_093_103_3e-17);
    const LOG10_E: (Self, Self) = (std::f64::consts::LOG10_E, 1.098_319_650_216_765e-17);
    const PI_2: (Self, Self) = (std::f64::consts::FRAC_PI_2, 6.123_233_995_736_766e-17);
    const PI_4: (Self, Self) = (std::f64::consts::FRAC_PI_4, 3.061_616_997_868_383e-17);
    const SQRT_1_2: Self = std::f64::consts::FRAC_1_SQRT_2;
    const TAN_PI_8: Self = 0.414_213_562_373_095_1;
    const GELU_TANH: ((Self, Self), (Self, Self)) =
        ((1.595_769_121_605_730_8, -9.969_308_809_110_92e-17), (0.071_354_816_272_600_25, -6.175_149_918_155_315e-19));
    const EXP: &'static [Self] = &[
        0.500_000_000_000_001_1,
        0.166_666_666_666_664_05,
        0.041_666_666_666_527_366,
        0.008_333_333_333_497_808,
        0.001_388_888_894_446_995_2,
        0.000_198_412_695_013_653_18,
        2.480_149_213_552_453_4e-5,
        2.755_758_915_620_675_3e-6,
        2.763_062_106_797_052e-7,
        2.499_978_392_155_954_4e-8,
    ];
    const EXPM1: &'static [Self] = Self::EXP;
    const EXP2: &'static [Self] = &[
        0.240_226_506_959_100_72,
        0.055_504_108_664_821_69,
        0.009_618_129_107_628_33,
        0.001_333_355_814_639_269,
        0.000_154_035_303_936_407_25,
        1.525_273_385_431_841_6e-5,
        1.321_548_659_490_779e-6,
        1.017_805_194_191_720_3e-7,
        7.054_974_479_777_767e-9,
        4.456_570_514_774_256e-10,
        2.562_541_890_849_575_4e-11,
    ];
    const SIN: &'static [Self] = &[
        -0.166_666_666_666_666_3,
        0.008_333_333_333_322_09,
        -0.000_198_412_698_295_654_32,
        2.755_731_361_272_368_4e-6,
        -2.505_074_636_249_536_2e-8,
        1.589_614_655_761_527_8e-10,
    ];
    const COS: &'static [Self] = &[
        0.041_666_666_666_666_595,
        -0.001_388_888_888_887_301_5,
        2.480_158_728_882_516_8e-5,
        -2.755_731_417_142_808e-7,
        2.087_569_974_591_994_5e-9,
        -1.135_847_845_036_378_4e-11,
    ];
    const ASIN: &'static [Self] = &[
        0.166_666_666_666_667_6,
        0.074_999_999_999_707_98,
        0.044_642_857_174_613_56,
        0.030_381_942_707_718_22,
        0.022_372_214_989_121_446,
        0.017_351_611_992_639_74,
        0.013_980_820_746_751_292,
        0.011_398_910_909_484_816,
        0.010_780_258_970_966_449,
        0.003_706_388_306_919_7,
        0.021_707_492_039_586_686,
        -0.020_999_121_427_597_727,
        0.032_628_658_488_662_615,
    ];
    const ATAN: &'static [Self] = &[
        -0.333_333_333_333_333_26,
        0.199_999_999_999_976_4,
        -0.142_857_142_853_847_5,
        0.111_111_110_879_938_77,
        -0.090_909_081_385_049_91,
        0.076_922_826_348_227_47,
        -0.066_662_250_922_783_08,
        0.058_770_069_348_789_485,
        -0.052_183_170_986_110_87,
        0.045_032_254_224_644_075,
        -0.033_467_569_739_903_84,
        0.015_188_767_698_580_81,
    ];
    const SINH: &'static [Self] = &[
        0.166_666_666_666_666_66,
        0.008_333_333_333_333_333,
        0.000_198_412_698_412_696,
        2.755_731_922_411_629e-6,
        2.505_210_834_650_873_8e-8,
        1.605_905_060_130_064e-10,
        7.646_482_892_912_131e-13,
        2.848_233_089_953_121_5e-15,
    ];
    const TANH_ONE: Self = 22.0;
    const ERF: &'static [Self] = &[
        0.128_379_167_095_512_6,
        -0.376_126_389_031_837_54,
        0.112_837_916_709_551_18,
        -0.026_866_170_645_128_75,
        0.005_223_977_625_402_888,
        -0.000_854_832_701_976_861_2,
        0.000_120_553_327_599_571_61,
        -1.492_564_138_605_809e-5,
        1.646_186_535_927_092e-6,
        -1.636_108_293_544_759e-7,
        1.474_533_459_653_677_5e-8,
        -1.176_580_424_956_139e-9,
        6.752_112_174_308_873e-11,
    ];
    const ERF_SMALL: Self = 0.85;
    const ERFCX: &'static [Self] = &[
        1.054031820305718,
        -0.8046518494391488,
        0.4539141166480802,
        -0.17125114524604626,
        0.028361550132841137,
        0.008393044302334842,
        -0.004818785541024382,
        -0.00043920826399790504,
        0.000702693917509075,
        5.8307768842945346e-05,
        -0.00011260607285373427,
        -1.9531957021611857e-05,
        1.824938708663709e-05,
        6.753289828721096e-06,
        -2.3455285912713863e-06,
        -1.9605285583238984e-06,
        1.7087554781209875e-08,
        4.4560015430966714e-07,
        1.1194892450853291e-07,
        -6.865291846501899e-08,
        -3.44670285594037e-08,
        4.8946685706902186e-09,
        3.949921809692323e-09,
    ];
    const ERFCX_K: Self = 2.5;
    // 2^20 quarter turns: n times a 33-bit part of pi/2 is exact.
    const TRIG_LIMIT: Self = 1_647_099.0;

    shared_methods!(f64, u64, 52, 1023, 1023.0, 0x3fe6_a09e_667f_3bcd);

    #[inline(always)]
    fn lit(x: f64) -> Self {
        x
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }

    #[inline(always)]
    fn log1p_tail<I: Isa>(f: Self) -> Self {
        // With s = f / (2 + f): log(1 + f) = log((1 + s) / (1 - s)) = 2s + s z L(z), z = s^2, and 2s = f - s f.
        // Written so that the large terms f and f^2 / 2 enter unrounded.
        const L: [f64; 7] = [
            0.666_666_666_666_673_5,
            0.399_999_999_994_093_5,
            0.285_714_287_436_864_1,
            0.222_221_984_289_628_75,
            0.181_835_723_566_212_1,
            0.153_138_321_025_788_23,
            0.147_982_595_747_011_48,
        ];
        let s = f / (2.0 + f);
        let z = s * s;
        let half_square = 0.5 * f * f;
        s * (half_square + z * poly::<I, Self>(z, &L)) - half_square
    }

    #[inline(always)]
    fn trig_reduce<I: Isa>(self) -> (u32, Self, Self) {
        let magic = Real::mul_add::<I>(self, std::f64::consts::FRAC_2_PI, Self::MAGIC);
        let n = magic - Self::MAGIC;
        let d = Real::mul_add::<I>(n, -1.570_796_326_734_125_6, self);
        let r = Real::mul_add::<I>(n, -6.077_100_506_303_966e-11, d);
        let lo = Real::mul_add::<I>(n, -6.077_100_506_303_966e-11, d - r);
        let lo = if Real::abs(r) < 0.5 * Real::abs(d) { 0.0 } else { lo };
        let (r, lo) = quick_two_sum(r, lo - n * 2.022_266_248_795_950_6e-21);
        (magic.to_bits() as u32, r, lo)
    }
}
