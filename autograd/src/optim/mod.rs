//! Optimizers: what turns gradients into better parameters.
//!
//! ```
//! # use tensor_core::reference::Reference;
//! # type Tensor = autograd::Tensor<Reference>;
//! use autograd::optim::{Adam, Optimizer};
//! // The minimum of x³ + 3x² − 5x + 4 near 0.633.
//! let x = Tensor::scalar(-0.5).requires_grad_();
//! let mut optimizer = Adam::new([&x], 0.1);
//! for _ in 0..200 {
//!     optimizer.zero_grad();
//!     (x.powi(3) + 3 * x.powi(2) - 5 * &x + 4).backward();
//!     optimizer.step();
//! }
//! assert!((x.item() - 0.633).abs() < 1e-3);
//! ```
//!
//! A step reads and writes each parameter, its gradient and its state once, in one pass, and in place where nobody else sees
//! the memory. The state of f16 and bf16 parameters is kept in f32. Parameters without a gradient are left alone. Formulas
//! are those of PyTorch's optimizers of the same names, and so are the defaults.

mod adam;
mod sgd;

pub use adam::{Adam, AdamW};
pub use sgd::Sgd;

use crate::misuse::{attempt, ok};
use crate::mode::no_grad;
use crate::tensor::Tensor;
use tensor_core::op::BinaryOp;
use tensor_core::program::Reg;
use tensor_core::{Array, Backend, DType, Error, Program, Result, Scalar};

/// What all optimizers can do.
pub trait Optimizer<B: Backend> {
    /// The parameters, in the order they were given.
    fn params(&self) -> &[Tensor<B>];

    /// Changes every parameter that has a gradient.
    ///
    /// # Panics
    /// If the device fails.
    fn step(&mut self);

    /// How far a step goes.
    fn learning_rate(&self) -> f64;

    /// Changes how far steps go from now on, as a schedule does.
    fn set_learning_rate(&mut self, learning_rate: f64);

    /// Removes the gradients of all parameters.
    fn zero_grad(&self) {
        for param in self.params() {
            param.zero_grad();
        }
    }
}

/// Scales the gradients of `params` down so that their common 2-norm is at most `max_norm`; gives the norm they had.
///
/// ```
/// # use tensor_core::reference::Reference;
/// # type Tensor = autograd::Tensor<Reference>;
/// let x = Tensor::from([3.0_f32, 4.0]).requires_grad_();
/// (&x * &x.detach()).sum().backward();
/// assert_eq!(autograd::optim::clip_grad_norm([&x], 1.0), 5.0);
/// assert!((x.grad().unwrap().norm().item() - 1.0).abs() < 1e-5);
/// ```
///
/// # Panics
/// If the device fails.
#[track_caller]
pub fn clip_grad_norm<'a, B: Backend>(params: impl IntoIterator<Item = &'a Tensor<B>>, max_norm: f64) -> f64 {
    ok(attempt(|| {
        no_grad(|| {
            let grads: Vec<Tensor<B>> = params.into_iter().filter_map(Tensor::grad).collect();
            let squares: f64 = grads.iter().map(|grad| grad.norm().item().powi(2)).sum();
            let norm = squares.sqrt();
            // The summand keeps PyTorch's results, and a norm of 0 harmless.
            let scale = max_norm / (norm + 1e-6);
            if scale < 1.0 {
                for grad in &grads {
                    grad.mul_(scale);
                }
            }
            norm
        })
    }))
}

/// The parameters, after checks that would otherwise only show at the first step.
#[track_caller]
fn checked<'a, B: Backend>(op: &'static str, params: impl IntoIterator<Item = &'a Tensor<B>>) -> Vec<Tensor<B>> {
    let params: Vec<Tensor<B>> = params.into_iter().cloned().collect();
    for (number, param) in params.iter().enumerate() {
        if !param.requires_grad() || !param.is_leaf() {
            let kind = if param.is_leaf() { "one that does not" } else { "the result of an operation" };
            ok::<()>(Err(Error::gradient(op, "leaves that require a gradient", format!("{kind} as number {number}"))
                .hint("call requires_grad_() on it")));
        }
        if params[..number].iter().any(|other| other.key() == param.key()) {
            ok::<()>(Err(Error::gradient(op, "each parameter once", format!("number {number} a second time"))));
        }
    }
    params
}

/// A setting that must be finite and not negative.
#[track_caller]
fn at_least_zero(op: &'static str, name: &str, value: f64) -> f64 {
    if !(value >= 0.0 && value.is_finite()) {
        ok::<()>(Err(Error::value(op, format!("{name} of at least 0"), value.to_string())));
    }
    value
}

/// A setting from 0 up to, but not including, 1.
#[track_caller]
fn below_one(op: &'static str, name: &str, value: f64) -> f64 {
    if !(0.0..1.0).contains(&value) {
        ok::<()>(Err(Error::value(op, format!("{name} from 0 to below 1"), value.to_string())));
    }
    value
}

/// A program that computes in one float dtype, with numbers among its operands.
struct Formula {
    program: Program,
    dtype: DType,
}

impl Formula {
    /// In the dtype that values of `dtype` are computed in.
    fn new(dtype: DType) -> Self {
        Self { program: Program::new(), dtype: dtype.compute() }
    }

    fn input(&mut self, dtype: DType) -> Reg {
        let input = self.program.input(dtype);
        self.program.cast(input, self.dtype)
    }

    fn number(&mut self, value: f64) -> Reg {
        self.program.scalar(Scalar::Float(value), self.dtype)
    }

    fn add(&mut self, a: Reg, b: Reg) -> Reg {
        self.program.binary(BinaryOp::Add, a, b)
    }

    fn sub(&mut self, a: Reg, b: Reg) -> Reg {
        self.program.binary(BinaryOp::Sub, a, b)
    }

    fn mul(&mut self, a: Reg, b: Reg) -> Reg {
        self.program.binary(BinaryOp::Mul, a, b)
    }

    fn scale(&mut self, a: Reg, by: f64) -> Reg {
        let by = self.number(by);
        self.mul(a, by)
    }

    fn output(&mut self, reg: Reg, dtype: DType) {
        let reg = self.program.cast(reg, dtype);
        self.program.output(reg);
    }
}

/// Runs a formula of the parameter, its state, its gradient and what else there is, in this order; its results are the first
/// two's new values.
fn run<B: Backend>(program: &Program, param: &Tensor<B>, state: &mut [Array<B>], others: &[&Array<B>]) -> Result<()> {
    param.overwrite(program, state, others)
}

/// Zeros of a parameter's shape, in the dtype its state is kept in.
fn zeros<B: Backend>(param: &Tensor<B>) -> Array<B> {
    param.with_array(|array| Array::full(array.backend(), 0.0, array.shape(), array.dtype().compute()))
}
