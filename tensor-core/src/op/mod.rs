//! The pointwise operations, each as one row of a table.
//!
//! A row says everything that is not a kernel: the name, what it computes, which dtypes it takes and gives, the reference
//! closures, where test samples come from, and how far a backend's result may be from the exact one. Tests, documentation
//! tables and generated kernels read the rows; nothing about an operation is written down twice.
//!
//! The tables are [`UNARY`], [`BINARY`], [`TERNARY`] and [`COMPARE`]. Operations outside these four shapes (casts, leaves)
//! are instructions of [`Program`](crate::Program) itself.

mod binary;
mod compare;
pub mod math;
mod ternary;
mod unary;

pub use binary::{BINARY, BinaryOp, BinaryRow};
pub use compare::{COMPARE, CompareOp, CompareRow};
pub use ternary::{TERNARY, TernaryOp, TernaryRow};
pub use unary::{UNARY, UnaryOp, UnaryRow};

use crate::{Category, DType, Error, Result};

/// Which dtypes an operation's operands may have, and what becomes of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Floats; integers and bools are refused.
    Float,
    /// Floats; integers and bools are converted to the default float first.
    ToFloat,
    /// Integers and floats; bools are refused.
    Number,
    /// Integers; bools and floats are refused.
    Int,
    /// Bools and integers; floats are refused.
    Bits,
    /// Every dtype.
    Any,
}

impl Takes {
    /// The dtype in which the operation runs for operands of `dtype`.
    ///
    /// # Errors
    /// If the operation refuses the dtype; the sentence names those it takes.
    pub fn operand(self, dtype: DType, op: &'static str) -> Result<DType> {
        match (self, dtype.category()) {
            (Self::Any, _)
            | (Self::Float | Self::ToFloat, Category::Float)
            | (Self::Number, Category::Int | Category::Float)
            | (Self::Int, Category::Int)
            | (Self::Bits, Category::Bool | Category::Int) => Ok(dtype),
            (Self::ToFloat, _) => Ok(DType::DEFAULT_FLOAT),
            (Self::Float | Self::Number | Self::Int | Self::Bits, _) => {
                Err(Error::dtype(op, self.expected(), dtype.name()))
            }
        }
    }

    /// The dtypes it takes, in words and by name, for error sentences.
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Float => "a float dtype (f16, bf16, f32, f64)",
            Self::Number => "a number dtype (u8, i8, i16, i32, i64, f16, bf16, f32, f64)",
            Self::Int => "an integer dtype (u8, i8, i16, i32, i64)",
            Self::Bits => "bool or an integer dtype (bool, u8, i8, i16, i32, i64)",
            Self::ToFloat | Self::Any => "any dtype",
        }
    }

    /// Whether a kernel for this operation must exist in `dtype`.
    pub fn runs_in(self, dtype: DType) -> bool {
        match self {
            Self::Any => true,
            Self::Float | Self::ToFloat => dtype.is_float(),
            Self::Number => dtype.category() != Category::Bool,
            Self::Int => dtype.is_int(),
            Self::Bits => !dtype.is_float(),
        }
    }
}
