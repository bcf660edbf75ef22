//! The ground floor of gradix: dtypes, shapes, layouts, pointwise programs, the [`Backend`] trait and arrays without
//! gradients.
//!
//! Everything here is independent of any device. A backend crate implements [`Backend`]; gradients live one floor above.

pub mod array;
pub mod backend;
pub mod codegen;
#[cfg(feature = "conformance")]
pub mod conformance;
mod dtype;
mod error;
pub mod fallback;
pub mod layout;
pub mod mask;
pub mod matmul;
pub mod npy;
pub mod npz;
pub mod op;
pub mod print;
pub mod program;
pub mod random;
pub mod reference;
pub mod rows;
mod scalar;
pub mod shape;
pub mod topk;

pub use array::{Array, Number, Operand, fusion_enabled};
pub use backend::{Backend, DeviceInfo, DeviceKind, Input, ReduceOp, ReduceSpec, ScanOp, ScatterOp, View, ViewMut};
pub use dtype::{Category, DType, Element, result_type};
pub use error::{About, Error, ErrorKind, Result};
pub use fallback::{fallback_counts, note_fallback};
pub use half::{bf16, f16};
pub use layout::Layout;
pub use matmul::{AttentionSpec, MatmulSpec};
pub use program::Program;
pub use scalar::Scalar;
pub use shape::{Dims, Shape};
