//! What most programs need: `use gradix::prelude::*;`.

pub use crate::{DType, Device, Ellipsis, GradOptions, NewAxis, StepBy, Tensor, grad, manual_seed, no_grad, tensor};
#[cfg(feature = "plot")]
pub use crate::{TensorAxes, plot_func};
