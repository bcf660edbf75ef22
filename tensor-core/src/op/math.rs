//! Reference formulas that the standard library does not have, in f64. They favour plainness over speed.

/// Numerically exact form of the logistic function for either sign.
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// The inverse hyperbolic cosine; NaN below 1, where `libm`'s own is not for numbers far below.
pub fn acosh(x: f64) -> f64 {
    if x < 1.0 { f64::NAN } else { libm::acosh(x) }
}

/// `x·Φ(x)` through erfc, so that the negative tail keeps its digits.
pub fn gelu(x: f64) -> f64 {
    if x == f64::NEG_INFINITY {
        return -0.0;
    }
    // In the tail a relative error of the argument is as much as z² times one of the result, so what rounding took from
    // the argument is made up for by the derivative.
    const SQRT_HALF_REST: f64 = -4.833_646_656_726_457e-17;
    let z = -x * std::f64::consts::FRAC_1_SQRT_2;
    let rest = (-x).mul_add(std::f64::consts::FRAC_1_SQRT_2, -z) - x * SQRT_HALF_REST;
    let slope = -std::f64::consts::FRAC_2_SQRT_PI * (-z * z).exp();
    0.5 * x * (libm::erfc(z) + slope * if rest.is_finite() { rest } else { 0.0 })
}

/// The tanh approximation of [`gelu`], in the form `x·σ(2u)` that keeps the negative tail's digits.
pub fn gelu_tanh(x: f64) -> f64 {
    if x == f64::NEG_INFINITY {
        return -0.0;
    }
    // w = √(8/π)·(x + 0.044715·x³) with what rounding took from it, for the same reason as above. Each constant has a rest.
    const LINEAR: (f64, f64) = (1.595_769_121_605_730_8, -9.969_308_809_110_92e-17);
    const CUBIC: (f64, f64) = (0.071_354_816_272_600_25, -6.175_149_918_155_315e-19);
    let square = x * x;
    let square_rest = x.mul_add(x, -square);
    let cubic = CUBIC.0 * square;
    let cubic_rest = CUBIC.0.mul_add(square, -cubic) + CUBIC.0 * square_rest + CUBIC.1 * square;
    let factor = LINEAR.0 + cubic;
    let kept = factor - LINEAR.0;
    let factor_rest = (LINEAR.0 - (factor - kept)) + (cubic - kept) + cubic_rest + LINEAR.1;
    let w = x * factor;
    let rest = x.mul_add(factor, -w) + x * factor_rest;
    let value = sigmoid(w);
    x * (value + value * (1.0 - value) * if rest.is_finite() { rest } else { 0.0 })
}

/// `x·σ(x)`. Where `eˣ` is denormal the product need not be, so the exponent is shifted by 40 for a while.
pub fn silu(x: f64) -> f64 {
    const EXP_MINUS_40: f64 = 4.248_354_255_291_589e-18;
    if x == f64::NEG_INFINITY {
        -0.0
    } else if x < -700.0 {
        x * (x + 40.0).exp() * EXP_MINUS_40
    } else {
        x * sigmoid(x)
    }
}

/// `ln(1 + eˣ)`, the identity above 20 as PyTorch has it.
pub fn softplus(x: f64) -> f64 {
    if x > 20.0 { x } else { x.exp().ln_1p() }
}

/// −1, 0 or 1; 0 for NaN and both zeros.
pub fn sign(x: f64) -> f64 {
    f64::from(i8::from(x > 0.0) - i8::from(x < 0.0))
}

/// The larger one; NaN if either is.
pub fn maximum(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// The smaller one; NaN if either is.
pub fn minimum(a: f64, b: f64) -> f64 {
    if a.is_nan() || a < b { a } else { b }
}

/// The rest of `a / b` with the sign of `b`.
pub fn remainder(a: f64, b: f64) -> f64 {
    let rest = a % b;
    if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }
}

/// `⌊a / b⌋`, from the exact remainder: `6.0 // 0.1` is 59, as in Python.
pub fn floor_divide(a: f64, b: f64) -> f64 {
    if b == 0.0 {
        return a / b;
    }
    let rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest != 0.0 && (b < 0.0) != (rest < 0.0) {
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return 0.0_f64.copysign(a / b);
    }
    let floor = quotient.floor();
    if quotient - floor > 0.5 { floor + 1.0 } else { floor }
}

/// `⌊a / b⌋` of integers; 0 for a zero divisor, which arrays refuse before.
pub fn floor_divide_int(a: i64, b: i64) -> i64 {
    if b == 0 {
        return 0;
    }
    let quotient = a.wrapping_div(b);
    if a.wrapping_rem(b) != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient }
}

/// `a / b` of integers cut off towards zero; 0 for a zero divisor, which arrays refuse before.
pub fn trunc_divide_int(a: i64, b: i64) -> i64 {
    if b == 0 { 0 } else { a.wrapping_div(b) }
}

/// The rest of an integer division with the sign of `b`; 0 for a zero divisor, which arrays refuse before.
pub fn remainder_int(a: i64, b: i64) -> i64 {
    if b == 0 {
        return 0;
    }
    let rest = a.wrapping_rem(b);
    if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }
}

/// The rest of an integer division with the sign of `a`; 0 for a zero divisor, which arrays refuse before.
pub fn fmod_int(a: i64, b: i64) -> i64 {
    if b == 0 { 0 } else { a.wrapping_rem(b) }
}

/// `a` to the power of `b`, wrapping. Negative powers: 1 stays 1, −1 gives ±1, everything else 0.
pub fn pow_int(a: i64, b: i64) -> i64 {
    if b < 0 {
        return match a {
            1 => 1,
            -1 if b % 2 == 0 => 1,
            -1 => -1,
            _ => 0,
        };
    }
    let (mut base, mut exponent, mut product) = (a, b as u64, 1i64);
    while exponent > 0 {
        if exponent & 1 == 1 {
            product = product.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent >>= 1;
    }
    product
}

/// `a + w·(b − a)`, from the nearer end so that `w = 1` gives `b` exactly.
pub fn lerp(a: f64, b: f64, w: f64) -> f64 {
    if w.abs() < 0.5 { a + w * (b - a) } else { b - (b - a) * (1.0 - w) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values computed with 40 digits.
    #[test]
    fn the_tail_of_gelu_keeps_its_digits() {
        for (x, expected) in
            [(-10.0, -7.619853024160526e-23), (-5.0, -1.4332578593959696e-6), (1.0, 0.8413447460685429)]
        {
            let error = (gelu(x) - expected).abs() / expected.abs();
            assert!(error < 4.0 * f64::EPSILON, "{x}: {} instead of {expected}", gelu(x));
        }
        for (x, expected) in [(-10.0, -1.204092348209806e-37), (-3.0, -0.003637392081773019), (2.0, 1.954597694087775)]
        {
            let error = (gelu_tanh(x) - expected).abs() / expected.abs();
            assert!(error < 4.0 * f64::EPSILON, "{x}: {} instead of {expected}", gelu_tanh(x));
        }
        assert_eq!((gelu(f64::INFINITY), gelu_tanh(f64::MAX)), (f64::INFINITY, f64::MAX));
        assert!(gelu(f64::NAN).is_nan() && acosh(-3.0).is_nan());
    }
}
