//! Tests of gradients that any backend can run: every file here is generic over it, and `gradient_suite!(Backend)` turns
//! them into tests of one.
//!
//! Another crate's tests reach them with `#[path = "../../autograd/tests/common/mod.rs"] mod common;`.

#![allow(dead_code, unreachable_pub, reason = "tests of several crates include this, and none uses all of it")]

pub mod engine;
pub mod special;
pub mod table;
pub mod transforms;

use autograd::Tensor;
use tensor_core::{Backend, DType};

/// A backend whose default device the tests run on.
pub trait Device: Backend + Default {}
impl<B: Backend + Default> Device for B {}

/// Whether the device computes with f64; without, finite differences say little.
pub fn has_f64<B: Device>() -> bool {
    B::default().info().dtypes.contains(&DType::F64)
}

/// An f64 tensor that requires a gradient.
pub fn leaf<B: Device>(data: &[f64], shape: &[usize]) -> Tensor<B> {
    Tensor::from_slice(data, shape).requires_grad_()
}

/// An f64 tensor without a gradient.
pub fn plain<B: Device>(data: &[f64], shape: &[usize]) -> Tensor<B> {
    Tensor::from_slice(data, shape)
}

/// Indices.
pub fn index<B: Device>(data: &[i64], shape: &[usize]) -> Tensor<B> {
    Tensor::from_slice(data, shape)
}

/// Numbers between −2 and 2 that are neither close to each other nor to a multiple of ¼, different for each seed.
pub fn numbers(count: usize, seed: usize) -> Vec<f64> {
    let golden = 0.618_033_988_749_894_9;
    (0..count).map(|place| 4.0 * ((place + 1) as f64 * golden + seed as f64 * 0.377_197).fract() - 2.0).collect()
}

/// A leaf of [`numbers`].
pub fn spread<B: Device>(shape: &[usize], seed: usize) -> Tensor<B> {
    leaf(&numbers(shape.iter().product(), seed), shape)
}

/// A leaf of positive numbers from 0.5 to 2.5.
pub fn positive<B: Device>(shape: &[usize], seed: usize) -> Tensor<B> {
    let data: Vec<f64> = numbers(shape.iter().product(), seed).iter().map(|x| x / 2.0 + 1.5).collect();
    leaf(&data, shape)
}

/// The gradient that a backward pass leaves in a leaf.
#[track_caller]
pub fn gradient<B: Device>(leaf: &Tensor<B>) -> Vec<f64> {
    leaf.grad().expect("a gradient has arrived").to_dtype(DType::F64).to_vec::<f64>()
}

/// Bits equal, or both NaN.
pub fn same(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
}

/// Equal up to rounding, or both NaN, or the same infinity.
pub fn close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(a, b)| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * b.abs().max(1.0))
}

/// All tests that a backend must pass, as `#[test]` functions.
#[macro_export]
macro_rules! gradient_suite {
    ($backend:ty) => {
        $crate::gradient_suite! { @each $backend;
            table: unary_operations binary_operations ternary_operations casts reductions statistics products_with_zeros
                scans softmaxes matrix_products views picking placing joining choosing integers_carry_no_gradient;
            special: ties steps_and_kinks infinite_slopes powers extremes_and_nan norms zeros_in_products
                duplicate_indices untaken_branches remainders broadcasting;
            engine: leaves what_backward_refuses accumulation freed_graphs gradients_given_back higher_orders diamonds hooks
                retained_gradients modes detached updates_in_place custom_functions deep_chains deep_chains_of_matrices
                threads determinism drawings;
            transforms: gradients_of_functions vector_products forward_mode jacobians_agree hessians nesting captured_tensors
                custom_functions_in_forward_mode transforms_refuse_misuse checks_find_mistakes checks_refuse_misuse;
        }
    };
    (@each $backend:ty; $($module:ident: $($name:ident)*;)*) => {$(
        mod $module {
            $(
                #[test]
                fn $name() {
                    $crate::common::$module::$name::<$backend>();
                }
            )*
        }
    )*};
}
