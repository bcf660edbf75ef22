//! Exponentials, and the functions that are one exponential and little else.

use super::real::{poly, round_small, two_prod, two_sum};
use super::{Isa, Real};

/// `x` limited to `lo..=hi`; NaN stays NaN.
#[inline(always)]
pub(super) fn clamp<T: Real>(x: T, hi: T, lo: T) -> T {
    let x = if x > hi { hi } else { x };
    if x < lo { lo } else { x }
}

/// An exponential before its scale is applied: `(1 + m) * s1 * s2`, where only the product with `s2` may overflow or
/// underflow.
pub(super) struct Scaled<T> {
    m: T,
    s1: T,
    s2: T,
}

impl<T: Real> Scaled<T> {
    /// `c` times the exponential, for `|c|` far below the range of the scale: 1 + m is not rounded by itself, and
    /// denormal results are rounded once.
    #[inline(always)]
    pub(super) fn times<I: Isa>(&self, c: T) -> T {
        c.mul_add::<I>(self.m, c) * self.s1 * self.s2
    }

    /// The exponential itself.
    #[inline(always)]
    pub(super) fn value(&self) -> T {
        (T::lit(1.0) + self.m) * self.s1 * self.s2
    }
}

/// `(1 + m) * 2^n`: 2^n itself may lie outside the type's range, so the scale goes in two steps, the first exact.
#[inline(always)]
fn scaled<T: Real>(m: T, n: T) -> Scaled<T> {
    let (step, factor) = T::STEP;
    let up = n > T::lit(0.0);
    let n = n + if up { -step } else { step };
    let s2 = if up { factor } else { T::lit(1.0) / factor };
    Scaled { m, s1: T::pow2(n), s2 }
}

/// The same for `n` of at most [`Real::STEP`].0, as where the argument of exp is never positive.
#[inline(always)]
fn scaled_down<T: Real>(m: T, n: T) -> Scaled<T> {
    let (step, factor) = T::STEP;
    Scaled { m, s1: T::pow2(n + step), s2: T::lit(1.0) / factor }
}

/// `(n, r)` with `x = n ln 2 + r`, n an integer, `|r| <= ln 2 / 2` and a little.
#[inline(always)]
fn reduce<I: Isa, T: Real>(x: T) -> (T, T) {
    let (magic, r) = reduce_with_magic::<I, T>(x);
    (magic - T::MAGIC, r)
}

/// The same, with n as the low mantissa bits of [`Real::MAGIC`] + n.
#[inline(always)]
fn reduce_with_magic<I: Isa, T: Real>(x: T) -> (T, T) {
    let magic = x.mul_add::<I>(T::LOG2_E.0, T::MAGIC);
    let n = magic - T::MAGIC;
    let r = n.mul_add::<I>(-T::LN2.0, x);
    (magic, n.mul_add::<I>(-T::LN2.1, r))
}

/// exp(r) - 1 for a reduced argument.
#[inline(always)]
fn expm1_reduced<I: Isa, T: Real>(r: T) -> T {
    (r * r).mul_add::<I>(poly::<I, T>(r, T::EXP), r)
}

/// `exp(x)` for `x <= 0`, down to a little below [`Real::EXP_RANGE`].1.
#[inline(always)]
fn exp_scaled_down<I: Isa, T: Real>(x: T) -> Scaled<T> {
    let (n, r) = reduce::<I, T>(x);
    scaled_down(expm1_reduced::<I, T>(r), n)
}

/// `(n, m)` with `exp(x + lo) = 2^n (1 + m)`, for `|lo|` of a few ULP of `x`.
#[inline(always)]
fn exp_parts<I: Isa, T: Real>(x: T, lo: T) -> (T, T) {
    let n = round_small(x * T::LOG2_E.0);
    let r = n.mul_add::<I>(-T::LN2.0, x) + n.mul_add::<I>(-T::LN2.1, lo);
    (n, expm1_reduced::<I, T>(r))
}

/// `exp(x + lo)` for `x` as in [`exp_scaled_down`] and `|lo|` of a few ULP of `x`.
#[inline(always)]
pub(super) fn exp_scaled_down_sum<I: Isa, T: Real>(x: T, lo: T) -> Scaled<T> {
    let (n, m) = exp_parts::<I, T>(x, lo);
    scaled_down(m, n)
}

/// `exp(x)` where the result and its scale are normal numbers.
#[inline(always)]
pub(super) fn exp_moderate<I: Isa, T: Real>(x: T) -> T {
    let (n, r) = reduce::<I, T>(x);
    (expm1_reduced::<I, T>(r) + T::lit(1.0)) * T::pow2(n)
}

/// The same where [`is_moderate`], and anything elsewhere.
#[inline(always)]
pub(crate) fn exp_if_moderate<I: Isa, T: Real>(x: T) -> T {
    let (magic, r) = reduce_with_magic::<I, T>(x);
    (expm1_reduced::<I, T>(r) + T::lit(1.0)).times_pow2(magic)
}

/// Whether [`exp_if_moderate`] gives what [`exp`] does. NaN is not.
#[inline(always)]
pub(crate) fn is_moderate<T: Real>(x: T) -> bool {
    x.abs() <= T::EXP_MODERATE
}

/// Arguments that are looked at together: if all are moderate, none takes the steps that very large and small ones need.
pub(crate) const TOGETHER: usize = 256;

/// Whether exponentials take so long that memory should be asked for what is next meanwhile. With vectors of 32 bytes that was
/// seen to help; with wider ones it has not been measured.
pub(crate) const fn takes_longer_than_memory<I: Isa>() -> bool {
    I::VECTOR_BYTES <= 32
}

/// `to[i] = exp(from[i] − less)`, each as [`exp`] gives it.
#[inline(always)]
pub(crate) fn exp_of_differences<I: Isa, T: Real>(from: &[T], less: T, to: &mut [T]) {
    for (to, from) in to.chunks_mut(TOGETHER).zip(from.chunks(TOGETHER)) {
        if !all_moderate::<I, T>(from, less, to) {
            for (to, &x) in to.iter_mut().zip(from) {
                *to = exp::<I, T>(x - less);
            }
        }
    }
}

/// Says whether all arguments are moderate, so that the results are right.
#[inline(always)]
fn all_moderate<I: Isa, T: Real>(from: &[T], less: T, to: &mut [T]) -> bool {
    let mut moderate = true;
    for (to, &x) in to.iter_mut().zip(from) {
        let x = x - less;
        moderate &= is_moderate(x);
        *to = exp_if_moderate::<I, T>(x);
    }
    moderate
}

/// `exp(-|x|)`, underflowing through denormals to 0.
#[inline(always)]
fn exp_of_minus_abs<I: Isa, T: Real>(x: T) -> T {
    let limit = -T::EXP_RANGE.1;
    let a = x.abs();
    exp_scaled_down::<I, T>(-(if a > limit { limit } else { a })).value()
}

/// `exp(x + lo)` with overflow to infinity and underflow through denormals to 0.
#[inline(always)]
pub(super) fn exp_sum<I: Isa, T: Real>(x: T, lo: T) -> T {
    let (n, m) = exp_parts::<I, T>(clamp(x, T::EXP_RANGE.0, T::EXP_RANGE.1), lo);
    scaled(m, n).value()
}

/// e^x. Measured: f32 0.98 ULP, f64 0.94 ULP.
#[inline(always)]
pub fn exp<I: Isa, T: Real>(x: T) -> T {
    let (n, r) = reduce::<I, T>(clamp(x, T::EXP_RANGE.0, T::EXP_RANGE.1));
    scaled(expm1_reduced::<I, T>(r), n).value()
}

/// 2^x, exact for integers. Measured: f32 0.94 ULP, f64 0.86 ULP.
#[inline(always)]
pub fn exp2<I: Isa, T: Real>(x: T) -> T {
    let x = clamp(x, T::EXP2_RANGE.0, T::EXP2_RANGE.1);
    let n = round_small(x);
    let r = x - n;
    let q = poly::<I, T>(r, T::EXP2).mul_add::<I>(r, T::lit(std::f64::consts::LN_2));
    let Scaled { s1, s2, .. } = scaled(r, n);
    q.mul_add::<I>(r, T::lit(1.0)) * s1 * s2
}

/// e^x - 1 without cancellation near 0. Measured: f32 1.4 ULP, f64 1.8 ULP.
#[inline(always)]
pub fn expm1<I: Isa, T: Real>(x: T) -> T {
    let c = clamp(x, T::EXPM1_RANGE.0, T::EXPM1_RANGE.1);
    let (n, r) = reduce::<I, T>(c);
    let m = (r * r).mul_add::<I>(poly::<I, T>(r, T::EXPM1), r);
    // 2^n m + (2^n - 1), at half size because 2^n may be just above the largest number.
    let s = T::pow2(n - T::lit(1.0));
    let y = T::lit(2.0) * s.mul_add::<I>(m, s - T::lit(0.5));
    if x.abs() < T::TINY { x } else { y }
}

/// The logistic function 1 / (1 + e^-x), its lower tail down to the smallest denormal. Measured: f32 2.3 ULP,
/// f64 1.7 ULP.
#[inline(always)]
pub fn sigmoid<I: Isa, T: Real>(x: T) -> T {
    let e = exp_of_minus_abs::<I, T>(x);
    (if x < T::lit(0.0) { e } else { T::lit(1.0) }) / (T::lit(1.0) + e)
}

/// x * sigmoid(x), NaN at -inf as in PyTorch. Measured: f32 2.4 ULP, f64 1.9 ULP.
#[inline(always)]
pub fn silu<I: Isa, T: Real>(x: T) -> T {
    // Where e^x is 0 or denormal, x e^x need not be: the product comes before the scale.
    let bound = T::EXP_RANGE.1 - T::lit(8.0);
    let a = x.abs();
    let e = exp_scaled_down::<I, T>(if a > -bound { bound } else { -a });
    let negative = if x < bound { x * T::lit(0.0) } else { e.times::<I>(x) };
    (if x < T::lit(0.0) { negative } else { x }) / (T::lit(1.0) + e.value())
}

/// The tanh form of gelu: `x / 2 * (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, which is `x * sigmoid(2 …)`. NaN at
/// -inf as in PyTorch. Measured: f32 2.5 ULP, f64 1.9 ULP.
#[inline(always)]
pub fn gelu_tanh<I: Isa, T: Real>(x: T) -> T {
    // The exponent w can be large, and e^w turns its absolute error into a relative one: two parts of it are needed.
    let bound = T::EXP_RANGE.0;
    let a = x.abs();
    let a = if a > bound { bound } else { a };
    let (c1, c3) = T::GELU_TANH;
    let (h, l) = two_prod::<I, T>(a, a);
    let (p, pe) = two_prod::<I, T>(c3.0, h);
    let (s, se) = two_sum(c1.0, p);
    let se = se + (pe + (c3.0 * l + (c3.1 * h + c1.1)));
    let (w, we) = two_prod::<I, T>(a, s);
    let we = we + a * se;
    // The factor x can be hundreds: e^w must vanish beyond its range too.
    let limit = T::lit(8.0) - T::EXP_RANGE.1;
    let e = exp_scaled_down_sum::<I, T>(-(if w > limit { limit } else { w }), -we);
    let negative = if a < bound { e.times::<I>(x) } else { x * T::lit(0.0) };
    (if x < T::lit(0.0) { negative } else { x }) / (T::lit(1.0) + e.value())
}

/// ln(1 + e^x), and x itself above 20: PyTorch's softplus with beta 1 and threshold 20. Measured: f32 1.6 ULP,
/// f64 1.4 ULP.
#[inline(always)]
pub fn softplus<I: Isa, T: Real>(x: T) -> T {
    let e = exp_of_minus_abs::<I, T>(x);
    let l = super::log::log1p_finite::<I, T>(e);
    let y = if x > T::lit(0.0) { x + l } else { l };
    if x > T::lit(20.0) { x } else { y }
}

/// e^x / 2 for `x >= 0`: still finite a little beyond where e^x overflows.
#[inline(always)]
fn half_exp<I: Isa, T: Real>(x: T) -> T {
    let limit = T::EXP_RANGE.0 + T::lit(2.0);
    let (n, r) = reduce::<I, T>(if x > limit { limit } else { x });
    scaled(expm1_reduced::<I, T>(r), n).times::<I>(T::lit(0.5))
}

/// Hyperbolic sine. Measured: f32 1.6 ULP, f64 1.3 ULP.
#[inline(always)]
pub fn sinh<I: Isa, T: Real>(x: T) -> T {
    let a = x.abs();
    let z = a * a;
    let small = (a * z).mul_add::<I>(poly::<I, T>(z, T::SINH), a);
    let e = half_exp::<I, T>(a);
    let large = e - T::lit(0.25) / e;
    (if a < T::lit(1.0) { small } else { large }).copysign(x)
}

/// Hyperbolic cosine. Measured: f32 1.4 ULP, f64 1.2 ULP.
#[inline(always)]
pub fn cosh<I: Isa, T: Real>(x: T) -> T {
    let e = half_exp::<I, T>(x.abs());
    e + T::lit(0.25) / e
}

/// Hyperbolic tangent. Measured: f32 2.1 ULP, f64 1.1 ULP.
#[inline(always)]
pub fn tanh<I: Isa, T: Real>(x: T) -> T {
    let a = x.abs();
    // With e = exp(2a) - 1, which has no cancellation, e / (e + 2) has none either. The clamp keeps e finite.
    let c = if a > T::TANH_ONE { T::TANH_ONE } else { a };
    let (n, r) = reduce::<I, T>(c + c);
    let m = (r * r).mul_add::<I>(poly::<I, T>(r, T::EXPM1), r);
    let s = T::pow2(n);
    let e = s.mul_add::<I>(m, s - T::lit(1.0));
    (e / (e + T::lit(2.0))).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::super::{Level, Task};
    use super::*;

    struct Both<'a, T>(&'a [T], T, [&'a mut [T]; 2]);

    impl<T: Real> Task for Both<'_, T> {
        type Output = ();
        #[inline(always)]
        fn run<I: Isa>(self) {
            let Self(from, less, [together, alone]) = self;
            exp_of_differences::<I, T>(from, less, together);
            for (to, &x) in alone.iter_mut().zip(from) {
                *to = exp::<I, T>(x - less);
            }
        }
    }

    fn check<T: Real>(level: Level, from: &[T], less: T) {
        let (mut together, mut alone) = (from.to_vec(), from.to_vec());
        level.run(Both(from, less, [&mut together, &mut alone]));
        for ((&x, &got), &expected) in from.iter().zip(&together).zip(&alone) {
            let (got, expected, x) = (got.to_f64(), expected.to_f64(), x.to_f64());
            assert!(got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan(), "{level:?} {x}: {got}");
        }
    }

    /// What is computed together does not matter: moderate arguments, all others, and both by turns.
    #[test]
    fn exponentials_are_the_same_together() {
        for &level in Level::available() {
            for bound in [1.0, 86.0, 120.0, 800.0] {
                let mut x: Vec<f64> = (-1000..=1000).map(|number| f64::from(number) / 1000.0 * bound).collect();
                for _ in 0..2 {
                    let narrow: Vec<f32> = x.iter().map(|&x| x as f32).collect();
                    for less in [0.0, 0.3, f64::INFINITY, f64::NAN] {
                        check::<f64>(level, &x, less);
                        check::<f32>(level, &narrow, less as f32);
                    }
                    for (number, special) in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN].into_iter().enumerate() {
                        x[number * 700 + 5] = special;
                    }
                }
            }
        }
    }
}
