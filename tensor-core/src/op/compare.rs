//! Comparisons: two operands of one dtype, a bool as result. Every comparison with NaN is false but `ne`.

use std::cmp::Ordering;

/// A comparison; its row is [`CompareOp::row`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each variant's documentation is its row's `doc`")]
pub enum CompareOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// What is known of a [`CompareOp`]. Comparisons take every dtype and are exact.
#[derive(Debug)]
pub struct CompareRow {
    /// The operation.
    pub op: CompareOp,
    /// Its name, as the method is called.
    pub name: &'static str,
    /// What it computes, in one line.
    pub doc: &'static str,
    /// Whether it holds for an ordering; `None` is an unordered pair, one of which is NaN.
    pub holds: fn(Option<Ordering>) -> bool,
}

impl CompareOp {
    /// The table's row.
    #[inline]
    pub fn row(self) -> &'static CompareRow {
        &COMPARE[self as usize]
    }

    /// The name, as the method is called.
    pub fn name(self) -> &'static str {
        self.row().name
    }
}

/// Every comparison, in the order of [`CompareOp`].
pub static COMPARE: [CompareRow; 6] = [
    CompareRow { op: CompareOp::Eq, name: "eq", doc: "a = b", holds: |o| o == Some(Ordering::Equal) },
    CompareRow { op: CompareOp::Ne, name: "ne", doc: "a ≠ b", holds: |o| o != Some(Ordering::Equal) },
    CompareRow { op: CompareOp::Lt, name: "lt", doc: "a < b", holds: |o| o == Some(Ordering::Less) },
    CompareRow { op: CompareOp::Le, name: "le", doc: "a ≤ b", holds: |o| o.is_some_and(Ordering::is_le) },
    CompareRow { op: CompareOp::Gt, name: "gt", doc: "a > b", holds: |o| o == Some(Ordering::Greater) },
    CompareRow { op: CompareOp::Ge, name: "ge", doc: "a ≥ b", holds: |o| o.is_some_and(Ordering::is_ge) },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_their_operations_place() {
        for (place, row) in COMPARE.iter().enumerate() {
            assert_eq!(row.op as usize, place, "{}", row.name);
        }
    }
}
