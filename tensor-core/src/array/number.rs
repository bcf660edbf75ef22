//! Single numbers that the host knows: what scalar code computes with, at no more cost than a number should have.

use super::Array;
use super::pointwise::{pow_of_constants, rounded};
use crate::op::BinaryOp;
use crate::{Backend, DType, Layout, Scalar};

/// A 0-d array of dtype `F32` or `F64` whose value the host knows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number {
    /// The value, which `dtype` can hold.
    pub value: f64,
    /// `F32` or `F64`.
    pub dtype: DType,
}

impl Number {
    /// A scalar operand beside a number of this dtype, or `None` if a bool makes it another matter.
    #[inline]
    pub fn beside(scalar: Scalar, dtype: DType) -> Option<Self> {
        match (scalar.cast(dtype), scalar) {
            (_, Scalar::Bool(_)) => None,
            (Scalar::Float(value), _) => Some(Self { value, dtype }),
            _ => None,
        }
    }

    /// `a ∘ b`, rounded to their dtype; `None` if they differ in it or the operation is none of floats. `weak` says that `b`
    /// is a scalar rather than an array: powers of scalars have shorter ways.
    #[inline]
    pub fn binary(op: BinaryOp, a: Self, b: Self, weak: bool) -> Option<Self> {
        let dtype = a.dtype;
        let row = op.row();
        if dtype != b.dtype || !row.takes.runs_in(dtype) {
            return None;
        }
        let value = match op {
            BinaryOp::Pow if weak => pow_of_constants(a.value, b.value, dtype).as_f64(),
            BinaryOp::Add => rounded(a.value + b.value, dtype).as_f64(),
            BinaryOp::Sub => rounded(a.value - b.value, dtype).as_f64(),
            BinaryOp::Mul => rounded(a.value * b.value, dtype).as_f64(),
            _ => rounded((row.float)(a.value, b.value), dtype).as_f64(),
        };
        Some(Self { value, dtype })
    }
}

impl<B: Backend> Array<B> {
    /// The array as a number, if it is one.
    #[inline]
    pub fn number(&self) -> Option<Number> {
        match self.constant() {
            Some(Scalar::Float(value)) if self.rank() == 0 && matches!(self.dtype, DType::F32 | DType::F64) => {
                Some(Number { value, dtype: self.dtype })
            }
            _ => None,
        }
    }

    /// A number as an array.
    #[inline]
    pub fn from_number(backend: B, number: Number) -> Self {
        let storage = super::Storage::Const(Scalar::Float(number.value));
        Self { backend, dtype: number.dtype, layout: Layout::scalar(), storage }
    }
}
