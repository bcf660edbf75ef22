//! Operations of two operands of one dtype.

use super::{Takes, math};

/// An operation of two operands; its row is [`BinaryOp::row`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant's documentation is its row's `doc`")]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    TruncDiv,
    Remainder,
    Fmod,
    Pow,
    Atan2,
    Hypot,
    Maximum,
    Minimum,
    BitAnd,
    BitOr,
    BitXor,
    Shl,
    Shr,
}

/// What is known of a [`BinaryOp`].
#[derive(Debug)]
pub struct BinaryRow {
    /// The operation.
    pub op: BinaryOp,
    /// Its name, as the method is called.
    pub name: &'static str,
    /// What it computes, in one line.
    pub doc: &'static str,
    /// Which dtypes it takes. (Arrays turn `add` and `mul`, `maximum` and `minimum` of bools into bit operations before.)
    pub takes: Takes,
    /// The reference for floats.
    pub float: fn(f64, f64) -> f64,
    /// The reference for integers and bools (0 and 1), before wrapping to the dtype; the third argument is the dtype's
    /// width in bits.
    pub int: fn(i64, i64, u32) -> i64,
    /// Where tests take samples of both operands from, besides the special values.
    pub domain: ((f64, f64), (f64, f64)),
    /// How many units in the last place a backend's float result may differ from the exact one.
    pub ulp: u32,
}

impl BinaryOp {
    /// The table's row.
    #[inline]
    pub fn row(self) -> &'static BinaryRow {
        &BINARY[self as usize]
    }

    /// The name, as the method is called.
    pub fn name(self) -> &'static str {
        self.row().name
    }
}

const fn row(
    op: BinaryOp,
    name: &'static str,
    doc: &'static str,
    takes: Takes,
    float: fn(f64, f64) -> f64,
    int: fn(i64, i64, u32) -> i64,
    domain: ((f64, f64), (f64, f64)),
    ulp: u32,
) -> BinaryRow {
    BinaryRow { op, name, doc, takes, float, int, domain, ulp }
}

const fn float_row(
    op: BinaryOp,
    name: &'static str,
    doc: &'static str,
    float: fn(f64, f64) -> f64,
    domain: ((f64, f64), (f64, f64)),
    ulp: u32,
) -> BinaryRow {
    // Never run on integers: they are converted before.
    row(op, name, doc, Takes::ToFloat, float, |a, _, _| a, domain, ulp)
}

const fn bit_row(op: BinaryOp, name: &'static str, doc: &'static str, int: fn(i64, i64, u32) -> i64) -> BinaryRow {
    // Never run on floats: they are refused before.
    row(op, name, doc, Takes::Bits, |a, _| a, int, WIDE, 0)
}

const WIDE: ((f64, f64), (f64, f64)) = ((-1e3, 1e3), (-1e3, 1e3));

/// Every operation of two operands, in the order of [`BinaryOp`].
pub static BINARY: [BinaryRow; 18] = {
    use BinaryOp::*;
    use Takes::{Int, Number};
    [
        row(Add, "add", "a + b; integers wrap", Number, |a, b| a + b, |a, b, _| a.wrapping_add(b), WIDE, 1),
        row(Sub, "sub", "a − b; integers wrap", Number, |a, b| a - b, |a, b, _| a.wrapping_sub(b), WIDE, 1),
        row(Mul, "mul", "a·b; integers wrap", Number, |a, b| a * b, |a, b, _| a.wrapping_mul(b), WIDE, 1),
        float_row(Div, "div", "a / b; integers are divided as floats", |a, b| a / b, WIDE, 1),
        row(
            FloorDiv,
            "floor_divide",
            "⌊a / b⌋",
            Number,
            math::floor_divide,
            |a, b, _| math::floor_divide_int(a, b),
            WIDE,
            0,
        ),
        row(
            TruncDiv,
            "trunc_divide",
            "a / b with the fraction cut off",
            Number,
            |a, b| (a / b).trunc(),
            |a, b, _| math::trunc_divide_int(a, b),
            WIDE,
            0,
        ),
        row(
            Remainder,
            "remainder",
            "what is left of a / b, with b's sign",
            Number,
            math::remainder,
            |a, b, _| math::remainder_int(a, b),
            WIDE,
            1,
        ),
        row(
            Fmod,
            "fmod",
            "what is left of a / b, with a's sign",
            Number,
            |a, b| a % b,
            |a, b, _| math::fmod_int(a, b),
            WIDE,
            0,
        ),
        row(
            Pow,
            "pow",
            "a to the power of b",
            Number,
            f64::powf,
            |a, b, _| math::pow_int(a, b),
            ((0.01, 20.0), (-5.0, 5.0)),
            16,
        ),
        float_row(Atan2, "atan2", "the angle of the point (b, a), in radians", f64::atan2, WIDE, 6),
        float_row(Hypot, "hypot", "√(a² + b²) without overflow", f64::hypot, WIDE, 4),
        row(Maximum, "maximum", "the larger; NaN if either is", Number, math::maximum, |a, b, _| a.max(b), WIDE, 0),
        row(Minimum, "minimum", "the smaller; NaN if either is", Number, math::minimum, |a, b, _| a.min(b), WIDE, 0),
        bit_row(BitAnd, "bitwise_and", "a AND b", |a, b, _| a & b),
        bit_row(BitOr, "bitwise_or", "a OR b", |a, b, _| a | b),
        bit_row(BitXor, "bitwise_xor", "a XOR b", |a, b, _| a ^ b),
        row(
            Shl,
            "bitwise_left_shift",
            "a·2ᵇ, wrapping; 0 for shifts below 0 or beyond the width",
            Int,
            |a, _| a,
            |a, b, width| {
                if (0..i64::from(width)).contains(&b) { a.wrapping_shl(b as u32) } else { 0 }
            },
            WIDE,
            0,
        ),
        row(
            Shr,
            "bitwise_right_shift",
            "⌊a / 2ᵇ⌋; shifts below 0 or beyond the width leave only the sign",
            Int,
            |a, _| a,
            |a, b, width| {
                if (0..i64::from(width)).contains(&b) { a >> b } else { a >> 63 }
            },
            WIDE,
            0,
        ),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_their_operations_place() {
        for (place, row) in BINARY.iter().enumerate() {
            assert_eq!(row.op as usize, place, "{}", row.name);
        }
    }

    #[test]
    fn references_agree_with_pytorch() {
        let float = |op: BinaryOp, a, b| (op.row().float)(a, b);
        let int = |op: BinaryOp, a, b| (op.row().int)(a, b, 64);
        assert_eq!(float(BinaryOp::FloorDiv, 6.0, 0.1), 59.0);
        assert_eq!(float(BinaryOp::FloorDiv, -2.0, f64::INFINITY), -1.0);
        assert!(float(BinaryOp::FloorDiv, f64::INFINITY, 2.0).is_nan());
        assert_eq!(float(BinaryOp::Remainder, -5.0, f64::INFINITY), f64::INFINITY);
        assert_eq!(float(BinaryOp::Remainder, 5.0, -3.0), -1.0);
        assert!(float(BinaryOp::Maximum, 1.0, f64::NAN).is_nan());
        assert_eq!(int(BinaryOp::FloorDiv, -7, 2), -4);
        assert_eq!(int(BinaryOp::Remainder, -7, 3), 2);
        assert_eq!(int(BinaryOp::Remainder, 7, -3), -2);
        assert_eq!(int(BinaryOp::Fmod, -7, 3), -1);
        assert_eq!([0, 1, -1, 2].map(|a| int(BinaryOp::Pow, a, -1)), [0, 1, -1, 0]);
        assert_eq!(int(BinaryOp::Shl, 1, 64), 0);
        assert_eq!(int(BinaryOp::Shr, -8, 64), -1);
        assert_eq!(int(BinaryOp::Shr, 8, -1), 0);
        assert_eq!(int(BinaryOp::FloorDiv, i64::MIN, -1), i64::MIN);
    }
}
