//! Automatic gradients over any backend.
//!
//! [`Tensor`] is an array of `tensor_core` plus its place in a graph of recorded operations. [`Tensor::backward`] walks that
//! graph and adds up gradients in the leaves; [`grad`] gives them back instead, and can be differentiated again.
//!
//! | module | what lives there |
//! |---|---|
//! | `tensor` | the type |
//! | `primitive` | the operations that have a gradient rule |
//! | `rules` | the gradient table |
//! | `graph`, `engine` | nodes, and walking them backwards |
//! | `func` | derivatives of closures: Jacobians, Hessians, forward mode |
//! | `gradcheck` | checking gradients against finite differences |
//! | `ops` | what tensors can do, written with primitives |
//! | `optim` | optimizers |
//! | `conformance` | whether gradients are right on a backend |
//! | `function` | functions with a rule of the user's own |

#[cfg(feature = "conformance")]
pub mod conformance;
mod convert;
mod dot;
mod engine;
mod files;
mod func;
mod function;
mod gradcheck;
mod graph;
mod misuse;
mod mode;
mod operand;
mod ops;
pub mod optim;
mod primitive;
mod print;
mod rules;
mod tensor;

pub use convert::{Literal, Nested};
pub use engine::{GradOptions, grad};
pub use func::{
    Inputs, Pullback, Pushforward, Tensors, grad_of, hessian, hvp, jacfwd, jacobian, jvp, linearize, value_and_grad,
    vjp,
};
pub use function::{Context, Function, apply_function, with_gradient};
pub use gradcheck::{GradcheckError, GradcheckOptions, gradcheck, gradgradcheck};
pub use misuse::attempt;
pub use mode::{enable_grad, is_grad_enabled, no_grad, with_grad};
pub use operand::Operand;
pub use ops::{
    ConvOptions, Ellipsis, Generator, Index, Indices, NewAxis, Padding, PoolOptions, Sizes, Slice, StepBy, Target,
    manual_seed,
};
pub use tensor::{HookHandle, Tensor};
