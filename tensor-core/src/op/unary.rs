//! Operations of one operand.

use super::{Takes, math};

/// An operation of one operand; its row is [`UnaryOp::row`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant's documentation is its row's `doc`")]
pub enum UnaryOp {
    Neg,
    Abs,
    Sign,
    Ceil,
    Floor,
    Round,
    Trunc,
    Frac,
    Reciprocal,
    Sqrt,
    Rsqrt,
    Square,
    Exp,
    Exp2,
    Expm1,
    Log,
    Log2,
    Log10,
    Log1p,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    Erf,
    Erfc,
    Sigmoid,
    Relu,
    Gelu,
    GeluTanh,
    Silu,
    Softplus,
    BitNot,
    IsNan,
    IsInf,
    IsFinite,
}

/// What is known of a [`UnaryOp`].
#[derive(Debug)]
pub struct UnaryRow {
    /// The operation.
    pub op: UnaryOp,
    /// Its name, as the method is called.
    pub name: &'static str,
    /// What it computes, in one line.
    pub doc: &'static str,
    /// Which dtypes it takes.
    pub takes: Takes,
    /// Whether the result is bool instead of the operand's dtype.
    pub gives_bool: bool,
    /// The reference for floats; bool results are 0 or 1.
    pub float: fn(f64) -> f64,
    /// The reference for integers and bools (0 and 1), before wrapping to the dtype.
    pub int: fn(i64) -> i64,
    /// Where tests take samples from, besides the special values.
    pub domain: (f64, f64),
    /// How many units in the last place a backend's float result may differ from the exact one.
    pub ulp: u32,
}

impl UnaryOp {
    /// The table's row.
    #[inline]
    pub fn row(self) -> &'static UnaryRow {
        &UNARY[self as usize]
    }

    /// The name, as the method is called.
    pub fn name(self) -> &'static str {
        self.row().name
    }
}

const fn row(
    op: UnaryOp,
    name: &'static str,
    doc: &'static str,
    takes: Takes,
    float: fn(f64) -> f64,
    int: fn(i64) -> i64,
    domain: (f64, f64),
    ulp: u32,
) -> UnaryRow {
    UnaryRow { op, name, doc, takes, gives_bool: false, float, int, domain, ulp }
}

const fn float_row(
    op: UnaryOp,
    name: &'static str,
    doc: &'static str,
    takes: Takes,
    float: fn(f64) -> f64,
    domain: (f64, f64),
    ulp: u32,
) -> UnaryRow {
    // Never run on integers: they are refused or converted before.
    row(op, name, doc, takes, float, |a| a, domain, ulp)
}

const fn test_row(
    op: UnaryOp,
    name: &'static str,
    doc: &'static str,
    float: fn(f64) -> f64,
    int: fn(i64) -> i64,
) -> UnaryRow {
    UnaryRow { op, name, doc, takes: Takes::Any, gives_bool: true, float, int, domain: WIDE, ulp: 0 }
}

/// For operations that are defined and tame everywhere.
const WIDE: (f64, f64) = (-1e3, 1e3);
/// For exponentials, which leave a dtype's range soon.
const MODERATE: (f64, f64) = (-20.0, 20.0);

/// Every operation of one operand, in the order of [`UnaryOp`].
pub static UNARY: [UnaryRow; 43] = {
    use Takes::{Bits, Float, Number, ToFloat};
    use UnaryOp::*;
    [
        row(Neg, "neg", "−x; integers wrap", Number, |a| -a, i64::wrapping_neg, WIDE, 0),
        row(Abs, "abs", "|x|; the most negative integer stays", Number, f64::abs, i64::wrapping_abs, WIDE, 0),
        row(Sign, "sign", "−1, 0 or 1; 0 for NaN", Number, math::sign, i64::signum, WIDE, 0),
        row(Ceil, "ceil", "the next integer above", Number, f64::ceil, |a| a, WIDE, 0),
        row(Floor, "floor", "the next integer below", Number, f64::floor, |a| a, WIDE, 0),
        row(Round, "round", "the nearest integer, halves to even", Number, f64::round_ties_even, |a| a, WIDE, 0),
        row(Trunc, "trunc", "the fraction cut off", Number, f64::trunc, |a| a, WIDE, 0),
        row(Frac, "frac", "the fraction, with x's sign", Float, |a| a - a.trunc(), |a| a, WIDE, 0),
        float_row(Reciprocal, "reciprocal", "1 / x", ToFloat, |a| 1.0 / a, WIDE, 1),
        float_row(Sqrt, "sqrt", "√x; NaN below 0", ToFloat, f64::sqrt, (0.0, 1e6), 1),
        float_row(Rsqrt, "rsqrt", "1 / √x", ToFloat, |a| 1.0 / a.sqrt(), (1e-3, 1e6), 2),
        row(Square, "square", "x²", Number, |a| a * a, |a| a.wrapping_mul(a), WIDE, 1),
        float_row(Exp, "exp", "eˣ", ToFloat, f64::exp, MODERATE, 4),
        float_row(Exp2, "exp2", "2ˣ", ToFloat, f64::exp2, MODERATE, 4),
        float_row(Expm1, "expm1", "eˣ − 1, exact near 0", ToFloat, f64::exp_m1, MODERATE, 4),
        float_row(Log, "log", "the natural logarithm", ToFloat, f64::ln, (1e-6, 1e6), 4),
        float_row(Log2, "log2", "the logarithm to base 2", ToFloat, f64::log2, (1e-6, 1e6), 4),
        float_row(Log10, "log10", "the logarithm to base 10", ToFloat, f64::log10, (1e-6, 1e6), 4),
        float_row(Log1p, "log1p", "ln(1 + x), exact near 0", ToFloat, f64::ln_1p, (-0.999, 1e3), 4),
        float_row(Sin, "sin", "the sine, x in radians", ToFloat, f64::sin, (-100.0, 100.0), 4),
        float_row(Cos, "cos", "the cosine, x in radians", ToFloat, f64::cos, (-100.0, 100.0), 4),
        float_row(Tan, "tan", "the tangent, x in radians", ToFloat, f64::tan, (-100.0, 100.0), 5),
        float_row(Asin, "asin", "the inverse sine, in radians", ToFloat, f64::asin, (-1.0, 1.0), 4),
        float_row(Acos, "acos", "the inverse cosine, in radians", ToFloat, f64::acos, (-1.0, 1.0), 4),
        float_row(Atan, "atan", "the inverse tangent, in radians", ToFloat, f64::atan, (-100.0, 100.0), 5),
        float_row(Sinh, "sinh", "the hyperbolic sine", ToFloat, f64::sinh, MODERATE, 4),
        float_row(Cosh, "cosh", "the hyperbolic cosine", ToFloat, f64::cosh, MODERATE, 4),
        float_row(Tanh, "tanh", "the hyperbolic tangent", ToFloat, f64::tanh, MODERATE, 5),
        float_row(Asinh, "asinh", "the inverse hyperbolic sine", ToFloat, libm::asinh, WIDE, 4),
        float_row(Acosh, "acosh", "the inverse hyperbolic cosine", ToFloat, math::acosh, (1.0, 1e3), 4),
        float_row(Atanh, "atanh", "the inverse hyperbolic tangent", ToFloat, libm::atanh, (-0.999, 0.999), 5),
        float_row(Erf, "erf", "the error function", ToFloat, libm::erf, (-5.0, 5.0), 16),
        float_row(Erfc, "erfc", "1 − erf(x), exact in the tail", ToFloat, libm::erfc, (-5.0, 9.0), 16),
        float_row(Sigmoid, "sigmoid", "1 / (1 + e⁻ˣ)", ToFloat, math::sigmoid, MODERATE, 4),
        row(
            Relu,
            "relu",
            "x above 0, else 0; NaN stays",
            Number,
            |a| if a < 0.0 { 0.0 } else { a },
            |a| a.max(0),
            WIDE,
            0,
        ),
        float_row(Gelu, "gelu", "x·Φ(x), with the normal distribution's Φ", Float, math::gelu, (-12.0, 12.0), 16),
        float_row(GeluTanh, "gelu_tanh", "gelu's approximation by tanh", Float, math::gelu_tanh, (-8.0, 8.0), 16),
        float_row(Silu, "silu", "x·sigmoid(x)", Float, math::silu, MODERATE, 4),
        float_row(Softplus, "softplus", "ln(1 + eˣ); x above 20", Float, math::softplus, (-30.0, 30.0), 4),
        row(BitNot, "bitwise_not", "every bit flipped; `not` of a bool", Bits, |a| a, |a| !a, WIDE, 0),
        test_row(IsNan, "isnan", "whether x is NaN", |a| f64::from(a.is_nan()), |_| 0),
        test_row(IsInf, "isinf", "whether x is ±∞", |a| f64::from(a.is_infinite()), |_| 0),
        test_row(IsFinite, "isfinite", "whether x is neither NaN nor ±∞", |a| f64::from(a.is_finite()), |_| 1),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_their_operations_place() {
        for (place, row) in UNARY.iter().enumerate() {
            assert_eq!(row.op as usize, place, "{}", row.name);
            assert!(row.domain.0 < row.domain.1, "{}", row.name);
        }
    }
}
