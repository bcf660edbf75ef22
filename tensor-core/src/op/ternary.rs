//! Operations of three operands.

use super::{Takes, math};

/// An operation of three operands; its row is [`TernaryOp::row`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant's documentation is its row's `doc`")]
pub enum TernaryOp {
    Where,
    Clamp,
    Lerp,
}

/// What is known of a [`TernaryOp`].
#[derive(Debug)]
pub struct TernaryRow {
    /// The operation.
    pub op: TernaryOp,
    /// Its name, as the method is called.
    pub name: &'static str,
    /// What it computes, in one line.
    pub doc: &'static str,
    /// Which dtypes it takes.
    pub takes: Takes,
    /// Whether the first operand is a bool instead of the common dtype.
    pub condition: bool,
    /// The reference for floats; a condition is 0 or 1.
    pub float: fn(f64, f64, f64) -> f64,
    /// The reference for integers and bools.
    pub int: fn(i64, i64, i64) -> i64,
    /// Where tests take samples from, besides the special values.
    pub domain: (f64, f64),
    /// How many units in the last place a backend's float result may differ from the exact one.
    pub ulp: u32,
}

impl TernaryOp {
    /// The table's row.
    #[inline]
    pub fn row(self) -> &'static TernaryRow {
        &TERNARY[self as usize]
    }

    /// The name, as the method is called.
    pub fn name(self) -> &'static str {
        self.row().name
    }
}

/// Every operation of three operands, in the order of [`TernaryOp`].
pub static TERNARY: [TernaryRow; 3] = [
    TernaryRow {
        op: TernaryOp::Where,
        name: "where",
        doc: "b where the condition a holds, else c",
        takes: Takes::Any,
        condition: true,
        float: |a, b, c| if a != 0.0 { b } else { c },
        int: |a, b, c| if a != 0 { b } else { c },
        domain: (-1e3, 1e3),
        ulp: 0,
    },
    TernaryRow {
        op: TernaryOp::Clamp,
        name: "clamp",
        doc: "a, but at least b and then at most c; NaN if any is",
        takes: Takes::Number,
        condition: false,
        float: |a, b, c| math::minimum(math::maximum(a, b), c),
        int: |a, b, c| a.max(b).min(c),
        domain: (-1e3, 1e3),
        ulp: 0,
    },
    TernaryRow {
        op: TernaryOp::Lerp,
        name: "lerp",
        doc: "a + c·(b − a)",
        takes: Takes::Float,
        condition: false,
        float: math::lerp,
        int: |a, _, _| a,
        domain: (-2.0, 2.0),
        ulp: 4,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_their_operations_place() {
        for (place, row) in TERNARY.iter().enumerate() {
            assert_eq!(row.op as usize, place, "{}", row.name);
        }
    }
}
