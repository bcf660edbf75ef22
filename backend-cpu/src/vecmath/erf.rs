//! The error function, its complement, and the gelu that is made of it.
//!
//! All tails come from one fit: `erfcx(y) = exp(y^2) erfc(y)` falls slowly and smoothly, so `erfcx(y) (y + K)` is a
//! polynomial in `(y - K) / (y + K)`, which maps `0..inf` to `-1..1`. The square in `exp(-y^2)` is taken in two parts:
//! rounding it would cost as many ULP as it is large.

use super::exp::{Scaled, exp_scaled_down_sum};
use super::real::{poly, two_prod};
use super::{Isa, Real};

/// `(e, q)` with `erfc(y) = e * q` for `y >= 0`, where `square` is `y^2` in two parts.
#[inline(always)]
fn erfc_parts<I: Isa, T: Real>(y: T, square: (T, T)) -> (Scaled<T>, T) {
    // erfcx changes two or three times as fast with u = 1 / (y + K) as u itself: u is needed in two parts.
    // K and y + K are multiples of the latter's ULP, so their difference is exact, and so is what the sum lost.
    let d = T::ERFCX_K + y;
    let dl = y - (d - T::ERFCX_K);
    let u = T::lit(1.0) / d;
    // 1 - u d, exactly.
    let e = if I::FMA {
        (-u).mul_add::<I>(d, T::lit(1.0))
    } else {
        let (p, pe) = two_prod::<I, T>(u, d);
        (T::lit(1.0) - p) - pe
    };
    let ul = u * (-u).mul_add::<I>(dl, e);
    let slope = T::lit(-2.0) * T::ERFCX_K;
    let t = slope.mul_add::<I>(ul, u.mul_add::<I>(slope, T::lit(1.0)));
    let f = poly::<I, T>(t, T::ERFCX);
    (exp_scaled_down_sum::<I, T>(-square.0, -square.1), f.mul_add::<I>(u, f * ul))
}

/// `erf(x)` for `|x| <= ` [`Real::ERF_SMALL`].
#[inline(always)]
pub(super) fn erf_small<I: Isa, T: Real>(x: T) -> T {
    x.mul_add::<I>(poly::<I, T>(x * x, T::ERF), x)
}

/// Error function. Measured: f32 1.1 ULP, f64 1.1 ULP.
#[inline(always)]
pub fn erf<I: Isa, T: Real>(x: T) -> T {
    let a = x.abs();
    (if a < T::ERF_SMALL { erf_small::<I, T>(a) } else { T::lit(1.0) - T::erfc_for_erf::<I>(a) }).copysign(x)
}

/// Complementary error function, its tail down to the smallest denormal. Measured: f32 2.8 ULP, f64 2.4 ULP.
#[inline(always)]
pub fn erfc<I: Isa, T: Real>(x: T) -> T {
    let a = x.abs();
    let tail = erfc_tail::<I, T>(a);
    let large = if x < T::lit(0.0) { T::lit(2.0) - tail } else { tail };
    if a < T::lit(0.5) { T::lit(1.0) - erf_small::<I, T>(x) } else { large }
}

/// `erfc(a)` for `a >= 0`.
#[inline(always)]
pub(super) fn erfc_tail<I: Isa, T: Real>(a: T) -> T {
    // erfc is 0 beyond the clamp, whose square exp can still take.
    let bound = T::ERFC_ZERO;
    let y = if a > bound { bound } else { a };
    let (e, q) = erfc_parts::<I, T>(y, two_prod::<I, T>(y, y));
    e.times::<I>(q)
}

/// [`gelu`](super::gelu) by what the complementary error function is made of.
#[inline(always)]
pub(super) fn gelu_by_erfc<I: Isa, T: Real>(x: T) -> T {
    let a = x.abs();
    let bound = T::ERFC_ZERO * T::lit(std::f64::consts::SQRT_2);
    let a = if a > bound { bound } else { a };
    // The exponent is -a^2 / 2, exactly: a / sqrt 2 rounds, but only where erfcx, which is flat, sees it.
    let half = T::lit(0.5) * a;
    let (e, q) = erfc_parts::<I, T>(a * T::SQRT_1_2, two_prod::<I, T>(half, a));
    // |x| times the tail that is missing from x for x > 0, and that is all there is for x < 0.
    let tail = e.times::<I>(half * q);
    (if x < T::lit(0.0) { T::lit(-0.0) } else { x }) - tail
}
