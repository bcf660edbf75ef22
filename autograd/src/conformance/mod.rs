//! Whether gradients are right on a backend: the introduction, every row of the gradient table against finite differences,
//! special points, the engine, and derivatives of closures.
//!
//! It goes on where `tensor_core::conformance` ends, for whoever writes a backend. A test is one line in a file of its own,
//! `tests/gradients.rs`, here for the reference interpreter:
//!
//! ```no_run
//! use tensor_core::reference::Reference;
//! autograd::conformance::suite!(Reference);
//! ```
//!
//! and in `Cargo.toml`
//!
//! ```toml
//! [dev-dependencies]
//! gradix-autograd = { version = "0.1", features = ["conformance"] }
//!
//! [[test]]
//! name = "gradients"
//! harness = false
//! ```
//!
//! The backend's `Default` is the device that is tested. `suite!(if_present MyBackend, MyBackend::open(0))` is for devices that
//! not every machine has: with an error of the kind `NoDevice` the only test is ignored, and says why.
//!
//! Finite differences need f64. On a device without it the checks against them pass without being made; everything else runs.

mod engine;
mod introduction;
mod special;
mod table;
mod transforms;
mod windows;

pub use crate::gradient_suite as suite;

use crate::Tensor;
use libtest_mimic::{Arguments, Trial};
use std::process::ExitCode;
use tensor_core::conformance::{Part, not_opened};
use tensor_core::{Backend, DType, Result};

/// A backend whose default device the tests run on.
pub trait Device: Backend + Default {}
impl<B: Backend + Default> Device for B {}

/// Whether the device computes with f64; without, finite differences say little.
fn has_f64<B: Device>() -> bool {
    B::default().info().dtypes.contains(&DType::F64)
}

/// How long a chain must be to be deep: a million operations where each takes next to nothing, fewer where each is a kernel's
/// start.
fn deep<B: Device>() -> usize {
    if B::default().reads_are_free() { 1_000_000 } else { 20_000 }
}

/// An f64 tensor that requires a gradient.
fn leaf<B: Device>(data: &[f64], shape: &[usize]) -> Tensor<B> {
    Tensor::from_slice(data, shape).requires_grad_()
}

/// An f64 tensor without a gradient.
fn plain<B: Device>(data: &[f64], shape: &[usize]) -> Tensor<B> {
    Tensor::from_slice(data, shape)
}

/// Indices.
fn index<B: Device>(data: &[i64], shape: &[usize]) -> Tensor<B> {
    Tensor::from_slice(data, shape)
}

/// Numbers between −2 and 2 that are neither close to each other nor to a multiple of ¼, different for each seed.
fn numbers(count: usize, seed: usize) -> Vec<f64> {
    let golden = 0.618_033_988_749_894_9;
    (0..count).map(|place| 4.0 * ((place + 1) as f64 * golden + seed as f64 * 0.377_197).fract() - 2.0).collect()
}

/// A leaf of [`numbers`].
fn spread<B: Device>(shape: &[usize], seed: usize) -> Tensor<B> {
    leaf(&numbers(shape.iter().product(), seed), shape)
}

/// A leaf of positive numbers from 0.5 to 2.5.
fn positive<B: Device>(shape: &[usize], seed: usize) -> Tensor<B> {
    let data: Vec<f64> = numbers(shape.iter().product(), seed).iter().map(|x| x / 2.0 + 1.5).collect();
    leaf(&data, shape)
}

/// The gradient that a backward pass leaves in a leaf.
#[track_caller]
fn gradient<B: Device>(leaf: &Tensor<B>) -> Vec<f64> {
    leaf.grad().expect("a gradient has arrived").to_dtype(DType::F64).to_vec::<f64>()
}

/// Bits equal, or both NaN.
fn same(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
}

/// Equal up to rounding, or both NaN, or the same infinity.
fn close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * b.abs().max(1.0))
}

/// A check of gradients on the default device of a backend.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What it is called, such as `table/reductions`.
    pub name: &'static str,
    /// Panics if something is wrong.
    pub run: fn(),
}

/// Lists functions of modules by their names.
macro_rules! list {
    ($($module:ident: $($name:ident)*;)*) => {
        vec![$($(
            Case { name: concat!(stringify!($module), "/", stringify!($name)), run: $module::$name::<B> },
        )*)*]
    };
}

/// Every case, for a backend's default device.
pub fn cases<B: Device>() -> Vec<Case> {
    list! {
        introduction: slope pictures piled_up zeroed fifth_power;
        table: unary_operations binary_operations ternary_operations casts reductions statistics products_with_zeros
            scans softmaxes matrix_products views picking placing joining choosing integers_carry_no_gradient;
        windows: convolutions transposed_convolutions contractions pools
            pools_of_lowest_values windows_and_sums;
        special: ties steps_and_kinks infinite_slopes powers extremes_and_nan norms zeros_in_products
            duplicate_indices untaken_branches remainders broadcasting;
        engine: leaves what_backward_refuses accumulation freed_graphs gradients_given_back higher_orders diamonds hooks
            retained_gradients modes detached updates_in_place custom_functions deep_chains deep_chains_of_matrices
            threads determinism drawings;
        transforms: gradients_of_functions vector_products forward_mode jacobians_agree hessians nesting captured_tensors
            custom_functions_in_forward_mode transforms_refuse_misuse checks_find_mistakes checks_refuse_misuse;
    }
}

/// The `main` function of a test binary that checks gradients on a backend's default device: one line in a file of its own,
/// with `harness = false` in `Cargo.toml` (see [`conformance`](crate::conformance)).
///
/// ```no_run
/// use tensor_core::reference::Reference;
/// autograd::conformance::suite!(Reference);
/// ```
#[macro_export]
macro_rules! gradient_suite {
    (if_present $backend:ty, $open:expr) => {
        fn main() -> ::std::process::ExitCode {
            $crate::conformance::run_if_present::<$backend>($open)
        }
    };
    ($backend:ty) => {
        fn main() -> ::std::process::ExitCode {
            $crate::conformance::run::<$backend>()
        }
    };
}

/// Runs all cases with the arguments of the command line, which are those of every Rust test binary. The function behind
/// [`suite!`](suite).
pub fn run<B: Device>() -> ExitCode {
    run_if_present::<B>(Ok(B::default()))
}

/// [`run`] if the device could be opened; one that is not there is no failure, unless
/// [it must be](tensor_core::conformance::is_required).
pub fn run_if_present<B: Device>(opened: Result<B>) -> ExitCode {
    run_chosen(opened, |_| true)
}

/// [`run_if_present`] with some of the cases; and with the [`Part`] of them that the environment asks for.
pub fn run_chosen<B: Device>(opened: Result<B>, choose: impl Fn(&Case) -> bool) -> ExitCode {
    let trials = match opened {
        Ok(_) => {
            let (part, chosen) = (Part::of_environment(), cases::<B>().into_iter().filter(choose));
            chosen.enumerate().filter(|(number, _)| part.has(*number)).map(|(_, case)| trial(case)).collect()
        }
        Err(error) => vec![not_opened(&error, true)],
    };
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(case: Case) -> Trial {
    Trial::test(case.name, move || {
        (case.run)();
        Ok(())
    })
}
