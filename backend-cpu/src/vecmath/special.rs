//! Scalar special functions: too branchy, and too rarely the bottleneck, for vector code.

use std::f64::consts::PI;

/// ln |gamma(x)|; +inf at 0 and the negative integers. As accurate as the libm crate's (about 1 ULP, but only
/// absolutely so near the negative zeros).
pub fn lgamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// The logarithmic derivative of gamma. -inf at +0, +inf at -0, NaN at the negative integers, as in PyTorch.
pub fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        return -f64::INFINITY.copysign(x);
    }
    if x < 0.0 {
        if x.fract() == 0.0 {
            return f64::NAN;
        }
        // psi(x) = psi(1 - x) - pi cot(pi x), and cot has period 1 in x.
        return positive_digamma(1.0 - x) - PI / (PI * x.fract()).tan();
    }
    positive_digamma(x)
}

/// [`digamma`] for `x > 0` (and NaN): recurrence up to 10, then the asymptotic series with Bernoulli numbers.
fn positive_digamma(mut x: f64) -> f64 {
    /// `B_2k / 2k` for k = 1, 2, …
    const C: [f64; 7] =
        [1.0 / 12.0, -1.0 / 120.0, 1.0 / 252.0, -1.0 / 240.0, 1.0 / 132.0, -691.0 / 32760.0, 1.0 / 12.0];
    let mut shift = 0.0;
    while x < 10.0 {
        shift += 1.0 / x;
        x += 1.0;
    }
    let z = 1.0 / (x * x);
    let series = C.iter().rev().fold(0.0, |sum, c| (sum + c) * z);
    (x.ln() - 0.5 / x - series) - shift
}

/// The inverse of erf; ±inf at ±1, NaN outside.
pub fn erfinv(x: f64) -> f64 {
    let a = x.abs();
    if a >= 1.0 || x == 0.0 || x.is_nan() {
        return if a == 1.0 {
            f64::INFINITY.copysign(x)
        } else if x == 0.0 {
            x
        } else {
            f64::NAN
        };
    }
    // Winitzki's closed form is within 0.3 %; each Halley step triples the digits.
    let l = ((1.0 - a) * (1.0 + a)).ln();
    let t = 2.0 / (PI * 0.147) + 0.5 * l;
    let mut w = (l / 0.147 / -(t + (t * t - l / 0.147).sqrt())).sqrt();
    for _ in 0..3 {
        // 1 - a is exact for a >= 1/2, where erf has run out of digits but erfc has not.
        let error = if a < 0.5 { libm::erf(w) - a } else { (1.0 - a) - libm::erfc(w) };
        let step = error / (std::f64::consts::FRAC_2_SQRT_PI * (-w * w).exp());
        w -= step / (1.0 + w * step);
    }
    w.copysign(x)
}
