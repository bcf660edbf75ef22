//! What PyTorch's introduction to automatic gradients does: f(x) = x³ + 3x² − 5x + 4 and its slopes.

use super::{Device, gradient};
use crate::{GradOptions, Tensor, grad};

fn f<B: Device>(x: &Tensor<B>) -> Tensor<B> {
    x.powi(3) + 3 * x.powi(2) - 5 * x + 4
}

fn g<B: Device>(x: &Tensor<B>) -> Tensor<B> {
    x.powi(2)
}

fn at<B: Device>(x: f64) -> Tensor<B> {
    Tensor::scalar(x).requires_grad_()
}

/// f(−2) = 18 and f′(−2) = 3·4 − 12 − 5 = −5.
pub(super) fn slope<B: Device>() {
    let x = at::<B>(-2.0);
    let y = f(&x);
    assert_eq!(y.item(), 18.0);
    y.backward();
    assert_eq!(gradient(&x), [-5.0]);
}

/// The curve's slope everywhere, from one pass through the sum.
pub(super) fn pictures<B: Device>() {
    let points: Vec<f32> = (-16..=16).map(|step| step as f32 * 0.25).collect();
    let x = Tensor::<B>::from_slice(&points, [points.len()]).requires_grad_();
    let y = f(&x);
    y.sum().backward();
    let heights: Vec<f32> = points.iter().map(|x| x * x * x + 3.0 * x * x - 5.0 * x + 4.0).collect();
    let slopes: Vec<f64> = points.iter().map(|&x| f64::from(3.0 * x * x + 6.0 * x - 5.0)).collect();
    // Quarters and their small powers are exact in f32.
    assert_eq!(y.to_vec::<f32>(), heights);
    assert_eq!(gradient(&x), slopes);
}

/// A second pass adds its gradient to the first one's: −5 − 4 = −9.
pub(super) fn piled_up<B: Device>() {
    let x = at::<B>(-2.0);
    f(&x).backward();
    g(&x).backward();
    assert_eq!(gradient(&x), [-9.0]);
}

pub(super) fn zeroed<B: Device>() {
    let x = at::<B>(-2.0);
    f(&x).backward();
    x.grad().expect("a gradient has arrived").zero_();
    assert_eq!(gradient(&x), [0.0]);
    g(&x).backward();
    assert_eq!(gradient(&x), [-4.0]);
}

/// All derivatives of x⁵ at 2, from 5·2⁴ to 120 and 0.
pub(super) fn fifth_power<B: Device>() {
    let x = at::<B>(2.0);
    let mut y = x.powi(5);
    for expected in [80.0, 160.0, 240.0, 240.0, 120.0] {
        y = grad(&[&y], &[&x], &[], GradOptions::default().create_graph()).remove(0).expect("x was used");
        assert_eq!(y.item(), expected);
    }
}
