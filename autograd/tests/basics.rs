//! The introduction's gradients, on the CPU.

use autograd::{GradOptions, attempt, grad, no_grad};
use backend_cpu::Cpu;

type Tensor = autograd::Tensor<Cpu>;

fn f(x: &Tensor) -> Tensor {
    x.powi(3) + 3 * x.powi(2) - 5 * x + 4
}

fn g(x: &Tensor) -> Tensor {
    x.powi(2)
}

#[test]
fn the_introduction() {
    let x = Tensor::scalar(-2.0).requires_grad_();
    assert!(x.grad().is_none());
    f(&x).backward();
    assert_eq!(x.grad().unwrap().to_string(), "tensor(-5.)");
    g(&x).backward();
    assert_eq!(x.grad().unwrap().item(), -9.0);
    x.grad().unwrap().zero_();
    g(&x).backward();
    assert_eq!(x.grad().unwrap().item(), -4.0);
    x.zero_grad();
    assert!(x.grad().is_none());
}

#[test]
fn derivatives_of_any_order() {
    let x = Tensor::scalar(2.0).requires_grad_();
    let mut y = x.powi(5);
    for expected in [80.0, 160.0, 240.0, 240.0, 120.0] {
        y = grad(&[&y], &[&x], &[], GradOptions::default().create_graph()).remove(0).unwrap();
        assert_eq!(y.item(), expected);
    }
}

#[test]
fn a_gradient_made_without_a_graph_cannot_be_differentiated() {
    let x = Tensor::scalar(3.0).requires_grad_();
    let y = x.powi(3);
    let first = grad(&[&y], &[&x], &[], GradOptions::default()).remove(0).unwrap();
    let error = attempt(|| first.backward()).unwrap_err().to_string();
    assert!(error.starts_with("backward: expected a tensor that depends on one that requires a gradient"), "{error}");
}

#[test]
fn a_million_operations() {
    let x = Tensor::scalar(1.0).requires_grad_();
    let mut y = &x * 1.0;
    for _ in 0..1_000_000 {
        y += 1e-6;
    }
    y.backward();
    assert_eq!(x.grad().unwrap().item(), 1.0);
    let mut dropped = &x * 1.0;
    for _ in 0..1_000_000 {
        dropped *= 1.0;
    }
    drop(dropped);
}

#[test]
fn broadcast_gradients_are_summed_back() {
    let a = Tensor::from([[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]]).requires_grad_();
    let b = Tensor::from([10.0_f64]).requires_grad_();
    let y = (&a * &b).sum();
    y.backward();
    assert_eq!(b.grad().unwrap().to_vec::<f64>(), [21.0]);
    assert_eq!(a.grad().unwrap().to_vec::<f32>(), [10.0; 6]);
}

#[test]
fn descent_to_the_minimum() {
    let x = Tensor::scalar(-0.5).requires_grad_();
    for _ in 0..100 {
        f(&x).backward();
        no_grad(|| x.sub_(x.grad().unwrap() * 0.05));
        x.zero_grad();
    }
    assert!((x.item() - 0.632_993_2).abs() < 1e-4, "{}", x.item());
}

#[test]
fn literals() {
    assert_eq!(Tensor::literal([[1, 2], [3, 4]]).to_string(), "tensor([[1, 2],\n        [3, 4]])");
    assert_eq!(Tensor::literal(3.0).to_string(), "tensor(3.)");
    assert_eq!(Tensor::from(vec![vec![1u8], vec![2]]).shape(), [2, 1]);
    let error = attempt(|| Tensor::from(vec![vec![1u8], vec![2, 3]])).unwrap_err();
    assert_eq!(error.to_string(), "tensor: expected rows of one length, 1 as the first, got one of length 2");
}
