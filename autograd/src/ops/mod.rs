//! What tensors can do, by kind.
//!
//! | file | what lives there |
//! |---|---|
//! | `operators.rs` | `+ - * / % & \| ^ << >> ! -` and their assigning forms |
//! | `pointwise.rs` | element by element: functions, comparisons, conversions |
//! | `activation.rs`, `loss.rs`, `nn.rs` | what networks use, written with the others |
//! | `attention.rs` | attention, the causal one block by block |
//! | `reduce.rs`, `statistics.rs` | along axes: sums, extremes, truth; variance, norms |
//! | `lines.rs` | line by line along an axis: running totals, sort, softmax |
//! | `shape.rs`, `join.rs` | views; joining, splitting, repeating |
//! | `index.rs` | picking and placing elements |
//! | `indices.rs`, `indexing.rs` | `x.i(…)`: what an index is, and reading and assigning what it names |
//! | `linalg.rs`, `contract.rs` | matrix products; products over any axes |
//! | `conv.rs`, `pool.rs` | convolutions; pools, and windows |
//! | `create.rs`, `random.rs` | constructors, and where random numbers come from |
//! | `inplace.rs` | the methods with a trailing underscore |

mod activation;
mod attention;
mod contract;
mod conv;
mod create;
mod index;
mod indexing;
mod indices;
mod inplace;
mod join;
mod linalg;
mod lines;
mod loss;
mod nn;
mod operators;
mod pointwise;
mod pool;
mod random;
mod reduce;
mod shape;
mod statistics;

pub use conv::{ConvOptions, Padding, Sizes};
pub use indices::{Ellipsis, Index, Indices, NewAxis, Slice, StepBy};
pub use pointwise::Target;
pub use pool::PoolOptions;
pub use random::{Generator, manual_seed};

use crate::misuse::ok;
use crate::operand::Operand;
use crate::primitive::apply_binary;
use crate::tensor::Tensor;
use tensor_core::op::BinaryOp;
use tensor_core::{Backend, Error, Result};

/// A recorded operation of two operands, one of which must be a tensor.
pub(crate) fn try_binary<B: Backend>(op: BinaryOp, a: Operand<'_, B>, b: Operand<'_, B>) -> Result<Tensor<B>> {
    if a.tensor().is_none() && b.tensor().is_none() {
        return Err(Error::value(op.name(), "at least one tensor", "two scalars"));
    }
    apply_binary(op, &a, &b)
}

#[track_caller]
pub(crate) fn binary<B: Backend>(op: BinaryOp, a: Operand<'_, B>, b: Operand<'_, B>) -> Tensor<B> {
    ok(try_binary(op, a, b))
}

#[track_caller]
pub(crate) fn add_operands<B: Backend>(a: Operand<'_, B>, b: Operand<'_, B>) -> Tensor<B> {
    binary(BinaryOp::Add, a, b)
}

/// `a − b`, also of two scalars, for rules whose operands may both be scalars.
#[track_caller]
pub(crate) fn sub_operands<'a, B: Backend>(a: Operand<'a, B>, b: Operand<'a, B>) -> Operand<'a, B> {
    match (&a, &b) {
        (Operand::Scalar(a), Operand::Scalar(b)) => Operand::Scalar((a.as_f64() - b.as_f64()).into()),
        _ => Operand::Own(binary(BinaryOp::Sub, a, b)),
    }
}

#[track_caller]
pub(crate) fn pow_operands<B: Backend>(a: Operand<'_, B>, b: Operand<'_, B>) -> Tensor<B> {
    binary(BinaryOp::Pow, a, b)
}
