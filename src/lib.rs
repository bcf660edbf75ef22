//! Tensors that run on CPU, CUDA and OpenCL and compute gradients by themselves.
//!
//! ```
//! use gradix::prelude::*;
//!
//! fn f(x: &Tensor) -> Tensor {
//!     x.powi(3) + 3 * x.powi(2) - 5 * x + 4
//! }
//!
//! let x = tensor!(-2.0).requires_grad_();
//! let y = f(&x);
//! y.backward();
//! assert_eq!(y.to_string(), "tensor(18., grad_fn=<AddBackward0>)");
//! assert_eq!(x.grad().unwrap().to_string(), "tensor(-5.)");
//! ```
//!
//! # Features
//! | feature | default | what it brings |
//! |---|---|---|
//! | `cpu` | yes | the CPU backend; without it tensors on the host run on the slow reference interpreter |
//! | `plot` | yes | figures as SVG and PNG: [`plot`], [`plot_func`] |
//! | `ndarray` | yes | conversions from and to `ndarray` arrays |
//! | `opencl` | no | OpenCL devices, loaded at run time |
//! | `cuda` | no | NVIDIA GPUs, loaded at run time |
//! | `conformance` | no | the kit that shows whether a backend does what it should, for `examples/conformance.rs` |
//!
//! # Derivatives of functions
//! Besides `backward` there are functions of functions: [`grad_of`], [`value_and_grad`], [`jacobian`], [`hessian`],
//! [`vjp`], [`jvp`] and more; [`gradcheck`] compares gradients with finite differences.
//!
//! ```
//! use gradix::prelude::*;
//! use gradix::{GradcheckOptions, gradcheck, hessian};
//!
//! let cubes = |x: &Tensor| x.powi(3).sum();
//! let x = tensor!([1.0, 2.0], DType::F64).requires_grad_();
//! assert_eq!(hessian(cubes, &x).to_vec::<f64>(), [6.0, 0.0, 0.0, 12.0]);
//! gradcheck(cubes, &x, GradcheckOptions::default()).unwrap();
//! ```
//!
//! # Misuse and failure
//! What a program does wrong (shapes that do not fit, a second `backward`) panics at its own line with one sentence; what
//! the world does (no such device, a bad file) is a `Result`. [`attempt`] turns either into a `Result`.

mod device;
#[cfg(feature = "plot")]
mod figures;
pub mod prelude;

pub use autograd::{
    Context, ConvOptions, Ellipsis, Function, Generator, GradOptions, GradcheckError, GradcheckOptions, HookHandle,
    Index, Indices, NewAxis, Operand, Padding, PoolOptions, Sizes, Slice, StepBy, apply_function, attempt, enable_grad,
    grad, grad_of, gradcheck, gradgradcheck, hessian, hvp, is_grad_enabled, jacfwd, jacobian, jvp, linearize,
    manual_seed, no_grad, optim, value_and_grad, vjp, with_grad, with_gradient,
};
/// The CPU backend: its instruction sets, and the memory that it keeps.
#[cfg(feature = "cpu")]
pub use backend_cpu as cpu;
/// The CUDA backend: which GPUs there are, and the memory that it keeps.
#[cfg(feature = "cuda")]
pub use backend_cuda as cuda;
/// The OpenCL backend: which devices there are.
#[cfg(feature = "opencl")]
pub use backend_opencl as opencl;
pub use device::{Device, DeviceBuffer};
#[cfg(feature = "plot")]
pub use figures::{TensorAxes, plot_func};
#[cfg(feature = "plot")]
pub use plot;
pub use tensor_core::print::PrintOptions;
pub use tensor_core::{
    Backend, DType, DeviceInfo, DeviceKind, Element, Error, ErrorKind, Result, Scalar, Shape, bf16, f16,
};

/// A tensor on any [`Device`], with automatic gradients.
pub type Tensor = autograd::Tensor<Device>;

/// Makes a tensor from a number, or from arrays and vectors of numbers nested to any depth.
///
/// Plain integers become `I64` and plain floats `F32`, as in PyTorch; a suffix or a second argument says otherwise.
///
/// ```
/// use gradix::prelude::*;
/// assert_eq!(tensor!(3.0).to_string(), "tensor(3.)");
/// assert_eq!(tensor!([[1, 2], [3, 4]]).dtype(), DType::I64);
/// assert_eq!(tensor!([1u8, 2]).dtype(), DType::U8);
/// assert_eq!(tensor!([0.1, 0.2], DType::F64).to_vec::<f64>(), [0.1, 0.2]);
/// assert_eq!(tensor!([]).shape(), [0]);
/// ```
///
/// # Panics
/// If nested vectors have rows of different lengths.
#[macro_export]
macro_rules! tensor {
    ([] $(,)?) => {
        $crate::Tensor::zeros([0])
    };
    ($value:expr $(,)?) => {
        $crate::Tensor::literal($value)
    };
    ($value:expr, $dtype:expr $(,)?) => {
        $crate::Tensor::literal_as($value, $dtype)
    };
}

/// The README's program, compiled and run with the documentation's examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
