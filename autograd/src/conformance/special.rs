//! Points where a derivative does not exist, is infinite or not a number. The expected values are PyTorch's, measured.

use super::{Device, close, gradient, has_f64, index, leaf, plain, same};
use crate::Tensor;

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

/// The gradient of the sum of `f` at `x`.
#[track_caller]
fn slope<B: Device>(x: &[f64], f: impl Fn(&Tensor<B>) -> Tensor<B>) -> Vec<f64> {
    let x = leaf::<B>(x, &[x.len()]);
    f(&x).sum().backward();
    gradient(&x)
}

/// The gradients of the sum of `f` at `a` and `b`.
#[track_caller]
fn slopes<B: Device>(a: &[f64], b: &[f64], f: impl Fn(&Tensor<B>, &Tensor<B>) -> Tensor<B>) -> [Vec<f64>; 2] {
    let (a, b) = (leaf::<B>(a, &[a.len()]), leaf::<B>(b, &[b.len()]));
    f(&a, &b).sum().backward();
    [gradient(&a), gradient(&b)]
}

#[track_caller]
fn expect(name: &str, got: &[f64], expected: &[f64]) {
    assert!(same(got, expected), "{name}: {got:?} instead of {expected:?}");
}

#[track_caller]
fn expect_close(name: &str, got: &[f64], expected: &[f64]) {
    assert!(close(got, expected), "{name}: {got:?} instead of {expected:?}");
}

#[track_caller]
fn expect_both(name: &str, got: [Vec<f64>; 2], a: &[f64], b: &[f64]) {
    expect(name, &got[0], a);
    expect(&format!("{name}, second operand"), &got[1], b);
}

/// Several elements that are largest: shared by whole reductions, the first one's along an axis.
pub(super) fn ties<B: Device>() {
    if !has_f64::<B>() {
        return;
    }
    expect("max()", &slope::<B>(&[1., 3., 3., 2.], |x| x.max()), &[0., 0.5, 0.5, 0.]);
    expect("amax", &slope::<B>(&[1., 3., 3., 2.], |x| x.amax(&[0], false)), &[0., 0.5, 0.5, 0.]);
    expect("min()", &slope::<B>(&[1., 1., 2.], |x| x.min()), &[0.5, 0.5, 0.]);
    expect("max(dim)", &slope::<B>(&[1., 3., 3., 2.], |x| x.max_dim(0, false).0), &[0., 1., 0., 0.]);
    expect("min(dim)", &slope::<B>(&[2., 1., 1.], |x| x.min_dim(0, true).0), &[0., 1., 0.]);
    expect_both("maximum", slopes::<B>(&[1.], &[1.], |a, b| a.maximum(b)), &[0.5], &[0.5]);
    expect_both("minimum", slopes::<B>(&[1.], &[1.], |a, b| a.minimum(b)), &[0.5], &[0.5]);
    // [1, 1, 2] ascending: the third place holds the third element.
    expect("sort", &slope::<B>(&[1., 1., 2.], |x| x.sort(0, false).0.select(0, 2)), &[0., 0., 1.]);
    expect("topk", &slope::<B>(&[3., 3., 1.], |x| x.topk(1, 0, true).0), &[1., 0., 0.]);
    // Second derivatives of a tie are 0, not NaN.
    let x = leaf::<B>(&[3., 3.], &[2]);
    let h = crate::hessian(|x| x.max().powi(2), &x.detach());
    expect("hessian of a tie", &h.to_vec::<f64>(), &[0.5, 0.5, 0.5, 0.5]);
}

pub(super) fn steps_and_kinks<B: Device>() {
    if !has_f64::<B>() {
        return;
    }
    expect("abs", &slope::<B>(&[-1., 0., -0., 1.], |x| x.abs()), &[-1., 0., 0., 1.]);
    expect("sign", &slope::<B>(&[-1., 0., 1.], |x| x.sign()), &[0.; 3]);
    for (name, f) in [
        ("floor", Tensor::floor as fn(&Tensor<B>) -> Tensor<B>),
        ("ceil", Tensor::ceil),
        ("round", Tensor::round),
        ("trunc", Tensor::trunc),
    ] {
        expect(name, &slope::<B>(&[1., 1.5, -2.], f), &[0.; 3]);
    }
    expect("frac", &slope::<B>(&[1., -1.5], |x| x.frac()), &[1., 1.]);
    expect("relu", &slope::<B>(&[-1., 0., -0., 2., NAN], |x| x.relu()), &[0., 0., 0., 1., 1.]);
    expect("clamp", &slope::<B>(&[-1., 0., 0.5, 1., 2., NAN], |x| x.clamp(0.0, 1.0)), &[0., 0., 1., 0., 0., 0.]);
    expect("clamp, min above max", &slope::<B>(&[0., 1.5, 3.], |x| x.clamp(2.0, 1.0)), &[0.; 3]);
    expect("clamp_min", &slope::<B>(&[-1., 0., 1., NAN], |x| x.clamp_min(0.0)), &[0., 0., 1., 0.]);
    expect("clamp_max", &slope::<B>(&[-1., 0., 1.], |x| x.clamp_max(0.0)), &[1., 0., 0.]);
    expect_both("div by floor", slopes::<B>(&[5.], &[2.], |a, b| a.floor_divide(b)), &[0.], &[0.]);
    expect_close(
        "softplus",
        &slope::<B>(&[20., 21., -50.], |x| x.softplus()),
        &[0.9999999979388464, 1., 1.9287498479639178e-22],
    );
    expect("gelu", &slope::<B>(&[0.], |x| x.gelu()), &[0.5]);
    let (x, low, high) =
        (leaf::<B>(&[0., 1., 0.5, 2., -1.], &[5]), leaf::<B>(&[0.; 5], &[5]), leaf::<B>(&[1.; 5], &[5]));
    x.clamp(&low, &high).sum().backward();
    expect("clamp between tensors", &gradient(&x), &[0.5, 0.5, 1., 0., 0.]);
    expect("clamp between tensors, low", &gradient(&low), &[0.5, 0., 0., 0., 1.]);
    expect("clamp between tensors, high", &gradient(&high), &[0., 0.5, 0., 1., 0.]);
}

pub(super) fn infinite_slopes<B: Device>() {
    if !has_f64::<B>() {
        return;
    }
    expect("sqrt", &slope::<B>(&[0., 4., -1.], |x| x.sqrt()), &[INF, 0.25, NAN]);
    expect("sqrt, zero gradient", &slope::<B>(&[0.], |x| x.sqrt() * 0.0), &[NAN]);
    expect("rsqrt", &slope::<B>(&[0.], |x| x.rsqrt()), &[-INF]);
    expect("log", &slope::<B>(&[0.], |x| x.log()), &[INF]);
    expect("asin", &slope::<B>(&[1.], |x| x.asin()), &[INF]);
    expect("acos", &slope::<B>(&[1.], |x| x.acos()), &[-INF]);
    expect_both("hypot", slopes::<B>(&[0.], &[0.], |a, b| a.hypot(b)), &[NAN], &[NAN]);
    expect_both("atan2", slopes::<B>(&[0.], &[0.], |a, b| a.atan2(b)), &[0.], &[0.]);
    expect_both("mul", slopes::<B>(&[0., 2.], &[INF, INF], |a, b| a * b), &[INF, INF], &[0., 2.]);
    expect_both("div", slopes::<B>(&[1., 0.], &[0., 0.], |a, b| a / b), &[INF, INF], &[-INF, NAN]);
}

pub(super) fn powers<B: Device>() {
    if !has_f64::<B>() {
        return;
    }
    for (power, at, expected) in
        [(2., 0., 0.), (0., 0., 0.), (0., NAN, 0.), (1., 0., 1.), (0.5, 0., INF), (-1., 0., -INF), (3., 0., 0.)]
    {
        expect(&format!("x ** {power}"), &slope::<B>(&[at], |x| x.pow(power)), &[expected]);
    }
    expect_both("0 ** b", slopes::<B>(&[0.; 3], &[0., 1., 2.], |a, b| a.pow(b)), &[0., 1., 0.], &[0.; 3]);
    expect_both("-2 ** b", slopes::<B>(&[-2.], &[3.], |a, b| a.pow(b)), &[12.], &[NAN]);
    expect_both("0 ** -1", slopes::<B>(&[0.], &[-1.], |a, b| a.pow(b)), &[-INF], &[-INF]);
    let base = |value: f64| move |x: &Tensor<B>| Tensor::<B>::from_slice(&[value], []).pow(x);
    expect("0 ** x", &slope::<B>(&[0., 1., -1.], base(0.)), &[0., 0., -INF]);
    expect_close("2 ** x", &slope::<B>(&[0., 1.], base(2.)), &[2f64.ln(), 2. * 2f64.ln()]);
}

pub(super) fn extremes_and_nan<B: Device>() {
    if !has_f64::<B>() {
        return;
    }
    expect("max() of NaNs", &slope::<B>(&[1., NAN, NAN], |x| x.max()), &[0., 0.5, 0.5]);
    expect_both("maximum of NaN", slopes::<B>(&[NAN, 1.], &[1., NAN], |a, b| a.maximum(b)), &[1., 1.], &[1., 1.]);
    expect("logsumexp of -inf", &slope::<B>(&[-INF, -INF], |x| x.logsumexp(&[0], false)), &[NAN, NAN]);
    expect("logsumexp of inf", &slope::<B>(&[INF, 1.], |x| x.logsumexp(&[0], false)), &[NAN, 0.]);
    expect("softmax of -inf", &slope::<B>(&[-INF, -INF], |x| x.softmax(0)), &[NAN, NAN]);
    expect("softmax with -inf", &slope::<B>(&[0., -INF], |x| x.softmax(0)), &[0., 0.]);
    expect("var of one element", &slope::<B>(&[1.], |x| x.var()), &[NAN]);
    expect("std of a constant", &slope::<B>(&[2., 2.], |x| x.std()), &[0., 0.]);
}

pub(super) fn norms<B: Device>() {
    if !has_f64::<B>() {
        return;
    }
    let norm = |p: f64| move |x: &Tensor<B>| x.norm_dims(p, &[], false);
    expect("norm at 0", &slope::<B>(&[0., 0.], |x| x.norm()), &[0., 0.]);
    expect("1-norm", &slope::<B>(&[0., 2.], norm(1.)), &[0., 1.]);
    expect("inf-norm, ties", &slope::<B>(&[-3., 3., 1.], norm(INF)), &[-0.5, 0.5, 0.]);
    expect("inf-norm at 0", &slope::<B>(&[0., 0.], norm(INF)), &[0., 0.]);
    expect("3-norm at 0", &slope::<B>(&[0., 0.], norm(3.)), &[0., 0.]);
    expect("½-norm", &slope::<B>(&[0., 2.], norm(0.5)), &[0., 1.]);
    assert!(!norm(0.)(&leaf(&[1., 0.], &[2])).requires_grad(), "the 0-norm counts");
}

pub(super) fn zeros_in_products<B: Device>() {
    if !has_f64::<B>() {
        return;
    }
    expect("prod, one zero", &slope::<B>(&[0., 2., 3.], |x| x.prod()), &[6., 0., 0.]);
    expect("prod, two zeros", &slope::<B>(&[0., 0., 3.], |x| x.prod()), &[0., 0., 0.]);
    expect("cumprod, a zero", &slope::<B>(&[0., 2., 3.], |x| x.cumprod(0)), &[9., 0., 0.]);
}

/// An element read twice gets both gradients; a source that was overwritten still gets the gradient of its place.
pub(super) fn duplicate_indices<B: Device>() {
    if !has_f64::<B>() {
        return;
    }
    expect("gather", &slope::<B>(&[1., 2.], |x| x.gather(0, &index(&[0, 0], &[2]))), &[2., 0.]);
    expect("index_select", &slope::<B>(&[1., 2.], |x| x.index_select(0, &index(&[1, 1, 1], &[3]))), &[0., 3.]);
    let zeros = || plain::<B>(&[0.; 3], &[3]);
    expect("scatter", &slope::<B>(&[1., 2.], |x| zeros().scatter(0, &index(&[0, 0], &[2]), x)), &[1., 1.]);
    expect("index_copy", &slope::<B>(&[1., 2.], |x| zeros().index_copy(0, &index(&[0, 0], &[2]), x)), &[1., 1.]);
    expect(
        "masked_fill",
        &slope::<B>(&[1., 2.], |x| x.masked_fill(&Tensor::from_slice(&[true, false], [2]), 9)),
        &[0., 1.],
    );
    expect("overlapping windows", &slope::<B>(&[1., 2., 3., 4.], |x| x.unfold(0, 2, 1)), &[1., 2., 2., 1.]);
    expect("expand", &slope::<B>(&[1., 2.], |x| x.expand([3, 2])), &[3., 3.]);
}

/// `where` blocks nothing that the untaken branch's own rule makes of a gradient of 0.
pub(super) fn untaken_branches<B: Device>() {
    if !has_f64::<B>() {
        return;
    }
    let guarded = |f: fn(&Tensor<B>) -> Tensor<B>| move |x: &Tensor<B>| x.gt(0.0).where_cond(f(x), 0.0);
    expect("log", &slope::<B>(&[0., -1., 1.], guarded(Tensor::log)), &[NAN, -0., 1.]);
    expect("sqrt", &slope::<B>(&[0., 1.], guarded(Tensor::sqrt)), &[NAN, 0.5]);
}

pub(super) fn remainders<B: Device>() {
    if !has_f64::<B>() {
        return;
    }
    let (a, b) = ([5.5, -5.5], [3.0, 3.0]);
    expect_both("remainder", slopes::<B>(&a, &b, |a, b| a.remainder(b)), &[1., 1.], &[-1., 2.]);
    expect_both("fmod", slopes::<B>(&a, &b, |a, b| a.fmod(b)), &[1., 1.], &[-1., 1.]);
    let [a, b] = slopes::<B>(&[1.], &[3.], |a, b| a.lerp(b, 0.5));
    expect("lerp", &[a, b].concat(), &[0.5, 0.5]);
}

/// Gradients are summed back to the operand's shape and converted to its dtype.
pub(super) fn broadcasting<B: Device>() {
    let (a, b) = (Tensor::<B>::zeros([3]).requires_grad_(), Tensor::<B>::zeros([2, 1]).requires_grad_());
    (&a + &b).sum().backward();
    assert_eq!(gradient(&a), [2., 2., 2.]);
    assert_eq!(gradient(&b), [3., 3.]);
    assert_eq!(b.grad().unwrap().shape(), [2, 1]);
    // Empty operands.
    let (a, b) = (Tensor::<B>::zeros([4, 0]).requires_grad_(), Tensor::<B>::zeros([4, 1]).requires_grad_());
    (&a + &b).sum().backward();
    assert_eq!(a.grad().unwrap().shape(), [4, 0]);
    assert_eq!((b.grad().unwrap().shape(), gradient(&b)), (vec![4, 1], vec![0.; 4]));
    if has_f64::<B>() {
        let (a, b) = (Tensor::<B>::ones([2]).requires_grad_(), plain::<B>(&[2., 3.], &[2]).requires_grad_());
        (&a * &b).sum().backward();
        assert_eq!((a.grad().unwrap().dtype(), b.grad().unwrap().dtype()), (a.dtype(), b.dtype()));
    }
    let (x, n) = (Tensor::<B>::ones([2]).requires_grad_(), index::<B>(&[2, 3], &[2]));
    (&x * &n).sum().backward();
    assert_eq!(gradient(&x), [2., 3.]);
}
