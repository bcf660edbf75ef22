//! Trigonometric functions and their inverses.
//!
//! The forward functions here are right for `|x| <= ` [`Real::TRIG_LIMIT`] (51,000 in f32, 1.6 million in f64). Beyond
//! it, reducing the argument takes hundreds of digits of pi; the kernels of [`UnaryFn`](super::UnaryFn) find such
//! elements and give them to the scalar functions of the libm crate, [`sin_huge`] and its siblings.

use super::real::{poly, quick_two_sum};
use super::{Isa, Real};

/// Whether `|x|` is beyond what `sin`, `cos` and `tan` reduce, but has a finite result.
#[inline(always)]
pub(super) fn needs_huge<T: Real>(x: T) -> bool {
    x.abs() > T::TRIG_LIMIT
}

/// `(sin(r + lo), cos(r + lo))` for `|r| <= pi / 4` and `|lo|` of an ULP of `r`.
#[inline(always)]
fn sin_cos_reduced<I: Isa, T: Real>(r: T, lo: T) -> (T, T) {
    let z = r * r;
    let s = r + (r * z).mul_add::<I>(poly::<I, T>(z, T::SIN), lo);
    // 1 - z/2 rounds; what it lost goes back in with the small terms.
    let half = T::lit(0.5) * z;
    let w = T::lit(1.0) - half;
    let rest = r.mul_add::<I>(-lo, (T::lit(1.0) - w) - half);
    let c = w + (z * z).mul_add::<I>(poly::<I, T>(z, T::COS), rest);
    (s, c)
}

/// Sine for `|x| <= ` [`Real::TRIG_LIMIT`]. Measured: f32 0.9 ULP, beside multiples
/// of pi above 1,000 up to 1.5; f64 0.7 ULP.
#[inline(always)]
pub fn sin<I: Isa, T: Real>(x: T) -> T {
    let (q, r, lo) = x.trig_reduce::<I>();
    let (s, c) = sin_cos_reduced::<I, T>(r, lo);
    let y = (if q & 1 == 0 { s } else { c }).flip_if_bit1(q);
    // Keeps the sign of -0, which r + (…) loses.
    if x.abs() < T::TINY { x } else { y }
}

/// Cosine for `|x| <= ` [`Real::TRIG_LIMIT`]. Measured: f32 0.9 ULP, beside odd
/// multiples of pi/2 above 1,000 up to 1.5; f64 0.7 ULP.
#[inline(always)]
pub fn cos<I: Isa, T: Real>(x: T) -> T {
    let (q, r, lo) = x.trig_reduce::<I>();
    let (s, c) = sin_cos_reduced::<I, T>(r, lo);
    (if q & 1 == 0 { c } else { s }).flip_if_bit1(q.wrapping_add(1))
}

/// Tangent for `|x| <= ` [`Real::TRIG_LIMIT`]. Measured: f32 2.4 ULP, f64 1.5 ULP.
#[inline(always)]
pub fn tan<I: Isa, T: Real>(x: T) -> T {
    let (q, r, lo) = x.trig_reduce::<I>();
    let (s, c) = sin_cos_reduced::<I, T>(r, lo);
    let odd = q & 1 != 0;
    let y = (if odd { -c } else { s }) / (if odd { s } else { c });
    if x.abs() < T::TINY { x } else { y }
}

/// `asin` of `s`, where `z = s^2 <= 1/4`.
#[inline(always)]
fn asin_reduced<I: Isa, T: Real>(s: T, z: T) -> T {
    (s * z).mul_add::<I>(poly::<I, T>(z, T::ASIN), s)
}

/// Inverse sine in `-pi/2..=pi/2`; NaN outside `-1..=1`. Measured: f32 2.3 ULP, f64 2.0 ULP.
#[inline(always)]
pub fn asin<I: Isa, T: Real>(x: T) -> T {
    let a = x.abs();
    let large = a > T::lit(0.5);
    // asin a = pi/2 - 2 asin sqrt((1 - a) / 2)
    let z = if large { (T::lit(1.0) - a) * T::lit(0.5) } else { a * a };
    let s = if large { z.sqrt() } else { a };
    let p = asin_reduced::<I, T>(s, z);
    (if large { T::PI_2.0 - ((p + p) - T::PI_2.1) } else { p }).copysign(x)
}

/// Inverse cosine in `0..=pi`; NaN outside `-1..=1`. Measured: f32 1.1 ULP, f64 1.0 ULP.
#[inline(always)]
pub fn acos<I: Isa, T: Real>(x: T) -> T {
    let a = x.abs();
    let large = a > T::lit(0.5);
    let z = if large { (T::lit(1.0) - a) * T::lit(0.5) } else { a * a };
    let s = if large { z.sqrt() } else { a };
    let p = asin_reduced::<I, T>(s, z);
    let two = T::lit(2.0);
    // acos a = 2 asin sqrt((1 - a) / 2) for large a, pi/2 - asin a for small; acos(-a) = pi - acos a.
    let middle = T::PI_2.0 - (p.flip_sign(x) - T::PI_2.1);
    let end = if x.sign_bit() { two * (T::PI_2.0 - (p - T::PI_2.1)) } else { two * p };
    if large { end } else { middle }
}

/// `atan(n / d)` for `0 <= n <= d`, `d > 0`, neither so large that `n + d` overflows.
#[inline(always)]
fn atan_ratio<I: Isa, T: Real>(n: T, d: T) -> T {
    // atan q = pi/4 + atan((q - 1) / (q + 1)) brings q in tan(pi/8)..=1 down to at most tan(pi/8) in size.
    let shift = n > d * T::TAN_PI_8;
    let q = (if shift { n - d } else { n }) / (if shift { n + d } else { d });
    let z = q * q;
    let tail = q * z * poly::<I, T>(z, T::ATAN);
    let low = if shift { T::PI_4.1 } else { T::lit(0.0) };
    let base = if shift { T::PI_4.0 } else { T::lit(0.0) };
    let (sum, lost) = quick_two_sum(base, q);
    sum + (lost + (tail + low))
}

/// Inverse tangent in `-pi/2..=pi/2`. Measured: f32 1.8 ULP, f64 1.7 ULP.
#[inline(always)]
pub fn atan<I: Isa, T: Real>(x: T) -> T {
    let a = x.abs();
    let inverse = a > T::lit(1.0);
    let one = T::lit(1.0);
    // For |x| above 2^60 the ratio is as good as 0, and |x| + 1 must not overflow.
    let limit = T::lit(1.152_921_504_606_847e18);
    let c = if a > limit { limit } else { a };
    let t = atan_ratio::<I, T>(if inverse { one } else { a }, if inverse { c } else { one });
    (if inverse { T::PI_2.0 - (t - T::PI_2.1) } else { t }).copysign(x)
}

/// The angle of the point (x, y), in `-pi..=pi`; signed zeros and infinities as in IEEE 754. Measured: f32 1.6 ULP,
/// f64 1.5 ULP.
#[inline(always)]
pub fn atan2<I: Isa, T: Real>(y: T, x: T) -> T {
    let (ay, ax) = (y.abs(), x.abs());
    let steep = ay > ax;
    let (n, d) = if steep { (ax, ay) } else { (ay, ax) };
    // Neither overflow in n + d nor denormal quotients of large parts: scale both down when d is near the top.
    let quarter = if d > T::lit(1e30) { T::lit(0.25) } else { T::lit(1.0) };
    let t = atan_ratio::<I, T>(n * quarter, d * quarter);
    let t = if d == T::lit(0.0) { T::lit(0.0) } else { t };
    let t = if n == T::INFINITY { T::PI_4.0 } else { t };
    // inf / inf is handled; finite / inf is 0 but (n - d) / (n + d) is not tried for it as n <= d tan(pi/8).
    let t = if steep { T::PI_2.0 - (t - T::PI_2.1) } else { t };
    let pi = (T::lit(2.0) * T::PI_2.0, T::lit(2.0) * T::PI_2.1);
    let t = if x.sign_bit() { pi.0 - (t - pi.1) } else { t };
    let t = t.copysign(y);
    if x.is_nan() | y.is_nan() { T::NAN } else { t }
}
