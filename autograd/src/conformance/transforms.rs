//! Derivatives of closures, and the checks of gradients themselves.

use super::{Device, close, has_f64, index, leaf, plain};
use crate::{
    Context, Function, GradcheckError, GradcheckOptions, Tensor, apply_function, attempt, grad_of, gradcheck,
    gradgradcheck, hessian, hvp, is_grad_enabled, jacfwd, jacobian, jvp, linearize, no_grad, value_and_grad, vjp,
    with_gradient,
};

fn scalar<B: Device>(value: f64) -> Tensor<B> {
    Tensor::scalar(value)
}

fn list<B: Device>(tensor: &Tensor<B>) -> Vec<f64> {
    tensor.to_dtype(tensor_core::DType::F64).to_vec()
}

#[track_caller]
fn message<R>(f: impl FnOnce() -> R) -> String {
    match attempt(f) {
        Ok(_) => panic!("this must be refused"),
        Err(error) => error.to_string(),
    }
}

pub(super) fn gradients_of_functions<B: Device>() {
    let x = scalar::<B>(2.0);
    assert_eq!(grad_of(|x| x.powi(3), &x).item(), 12.0);
    let [dx, dy] = grad_of(|[x, y]| x * x * y, [&x, &scalar(5.0)]);
    assert_eq!((dx.item(), dy.item()), (20.0, 4.0));
    let all = [scalar::<B>(1.0), scalar(2.0), scalar(3.0)];
    let slopes = grad_of(|list| &list[0] * &list[1] * &list[2], &all[..]);
    assert_eq!(slopes.iter().map(Tensor::item).collect::<Vec<_>>(), [6.0, 3.0, 2.0]);
    // An input that is not used gets zeros of its own shape.
    let [_, unused] = grad_of(|[x, _]| x * 2, [&x, &Tensor::zeros([2, 3])]);
    assert_eq!((unused.shape(), list(&unused)), (vec![2, 3], vec![0.0; 6]));
    let (value, slope) = value_and_grad(|x| x.powi(2), &x);
    assert_eq!((value.item(), slope.item()), (4.0, 4.0));
    // Nothing stays attached, nothing reaches the inputs.
    assert!(!value.requires_grad() && !slope.requires_grad() && !x.requires_grad() && x.grad().is_none());
    // Recording outside has no say in what happens inside.
    assert_eq!(no_grad(|| grad_of(|x| x.powi(2), &x)).item(), 4.0);
    assert!(is_grad_enabled());
}

pub(super) fn vector_products<B: Device>() {
    let x = Tensor::<B>::from_slice(&[2.0_f32, 3.0], [2]);
    let ((square, sum), pullback) = vjp(|x| (x * x, x.sum()), &x);
    assert_eq!((list(&square), sum.item()), (vec![4.0, 9.0], 5.0));
    for _ in 0..2 {
        let slope = pullback.pull(&(Tensor::from_slice(&[1.0_f32, 0.0], [2]), scalar(10.0)));
        assert_eq!(list(&slope), [14.0, 10.0]);
    }
    // Results without a gradient may stand among the others.
    let (_, pullback) = vjp(|x| x.max_dim(0, false), &x);
    assert_eq!(list(&pullback.pull(&(scalar(3.0), index(&[0], &[]).squeeze()))), [0.0, 3.0]);
    // The input itself as the result.
    let (_, pullback) = vjp(Tensor::clone, &x);
    assert_eq!(list(&pullback.pull(&x)), [2.0, 3.0]);
    let error = message(|| pullback.pull(&scalar(1.0)));
    assert_eq!(error, "vjp: expected a gradient of shape [2] as number 0, got []");
}

pub(super) fn forward_mode<B: Device>() {
    let (x, v) = (Tensor::<B>::from_slice(&[2.0_f32, 3.0], [2]), Tensor::<B>::from_slice(&[1.0_f32, 10.0], [2]));
    let ((a, b), (da, db)) = jvp(|x| (x * x, (x * 2).sum()), &x, &v);
    assert_eq!((list(&a), b.item()), (vec![4.0, 9.0], 10.0));
    assert_eq!((list(&da), db.item()), (vec![4.0, 60.0], 22.0));
    let (y, pushforward) = linearize(|[x, y]| x.matmul(y), [&x, &v]);
    assert_eq!(y.item(), 32.0);
    assert_eq!(pushforward.push(&[v.clone(), x.zeros_like()]).item(), 101.0);
    assert_eq!(pushforward.push(&[x.zeros_like(), x.clone()]).item(), 13.0);
    // Operands without a tangent in operations that are linear in all of them together.
    let (_, moved) = jvp(|x| Tensor::cat(&[&Tensor::ones([3]), x, &x.sum().unsqueeze(0)], 0), &x, &v);
    assert_eq!(list(&moved), [0.0, 0.0, 0.0, 1.0, 10.0, 11.0]);
    let (_, moved) = jvp(|x| Tensor::ones([3]).scatter(0, &index(&[2], &[1]), &x.narrow(0, 1, 1)), &x, &v);
    assert_eq!(list(&moved), [0.0, 0.0, 10.0]);
    // A result that does not depend on the input.
    let (_, (moved, still)) = jvp(|x| (x * 1, Tensor::ones([1])), &x, &v);
    assert_eq!((list(&moved), list(&still)), (vec![1.0, 10.0], vec![0.0]));
    let error = message(|| jvp(|x| x * 2, &x, &scalar(1.0)));
    assert_eq!(error, "jvp: expected a tangent of shape [2] as number 0, got []");
}

pub(super) fn jacobians_agree<B: Device>() {
    let x = Tensor::<B>::from_slice(&[0.3_f32, -1.2, 0.8], [3]);
    let w = Tensor::<B>::from_slice(&[1.0_f32, 2.0, -0.5, 0.7, 0.1, -2.0], [2, 3]);
    let f = |[x, w]: &[Tensor<B>; 2]| w.matmul(x).tanh();
    let (reverse, forward) = (jacobian(f, [&x, &w]), jacfwd(f, [&x, &w]));
    assert_eq!((reverse[0].shape(), reverse[1].shape()), (vec![2, 3], vec![2, 2, 3]));
    for (reverse, forward) in reverse.iter().zip(&forward) {
        assert_eq!(reverse.shape(), forward.shape());
        let off = (reverse - forward).abs().max().item();
        assert!(off < 1e-6, "{off}");
    }
    assert_eq!(list(&jacobian(|x| x * x, &x.narrow(0, 0, 2))).len(), 4);
    assert_eq!(jacobian(|x| x * 2, &Tensor::<B>::zeros([0])).shape(), [0, 0]);
    assert_eq!(jacfwd(|x| x.sum(), &Tensor::<B>::zeros([0])).shape(), [0]);
}

pub(super) fn hessians<B: Device>() {
    let x = Tensor::<B>::from_slice(&[2.0_f32, 3.0], [2]);
    assert_eq!(list(&hessian(|x| x.powi(3).sum() + x.prod(), &x)), [12.0, 1.0, 1.0, 18.0]);
    let y = scalar::<B>(5.0);
    let [[xx, xy], [yx, yy]] = hessian(|[x, y]| (x * x * y).sum(), [&x, &y]);
    assert_eq!((list(&xx), list(&xy)), (vec![10.0, 0.0, 0.0, 10.0], vec![4.0, 6.0]));
    assert_eq!((list(&yx), yy.item()), (vec![4.0, 6.0], 0.0));
    // A linear function's second derivative is zero, not an error.
    assert_eq!(list(&hessian(|x| (x * 3).sum(), &x)), [0.0; 4]);
    let v = Tensor::<B>::from_slice(&[1.0_f32, 10.0], [2]);
    assert_eq!(list(&hvp(|x| x.powi(3).sum() + x.prod(), &x, &v)), [22.0, 181.0]);
    let [hx, hy] = hvp(|[x, y]| (x * x * y).sum(), [&x, &y], [&v, &scalar(1.0)]);
    assert_eq!((list(&hx), hy.item()), (vec![14.0, 106.0], 64.0));
    assert_eq!(list(&hvp(|x| (x * 3).sum(), &x, &v)), [0.0; 2]);
}

/// Every transform within every other.
pub(super) fn nesting<B: Device>() {
    let x = scalar::<B>(2.0);
    let one = scalar::<B>(1.0);
    let f = |x: &Tensor<B>| x.powi(5);
    let third = grad_of(|x| grad_of(|x| grad_of(f, x), x), &x);
    assert_eq!(third.item(), 240.0);
    // The fourth derivative as a Hessian of a Hessian.
    assert_eq!(hessian(|x| hessian(f, x), &x).item(), 240.0);
    // Forward over reverse, reverse over forward, forward over forward.
    assert_eq!(jvp(|x| grad_of(f, x), &x, &one).1.item(), 160.0);
    assert_eq!(grad_of(|x| jvp(f, x, &one).1, &x).item(), 160.0);
    assert_eq!(jvp(|x| jvp(f, x, &one).1, &x, &one).1.item(), 160.0);
    assert_eq!(jvp(|x| jvp(|x| jvp(f, x, &one).1, x, &one).1, &x, &one).1.item(), 240.0);
    assert_eq!(jacfwd(|x| jacobian(f, x), &x).item(), 160.0);
    // Forward over reverse where rules are pushed forward by transposing them.
    let v = Tensor::<B>::from_slice(&[0.5_f32, -0.3, 0.9], [3]);
    let t = Tensor::<B>::from_slice(&[1.0_f32, 2.0, -1.0], [3]);
    for f in [Tensor::prod as fn(&Tensor<B>) -> Tensor<B>, |x| x.cumprod(0).sum(), |x| x.log_softmax(0).square().sum()]
    {
        let reverse = hessian(f, &v).matmul(&t);
        for other in [hvp(f, &v, &t), jvp(|x| grad_of(f, x), &v, &t).1, grad_of(|x| jvp(f, x, &t).1, &v)] {
            assert!((&reverse - other).abs().max().item() < 1e-5);
        }
    }
    // The inner variable shadows the outer one: d/dx (x · d/dy (x + y)) = 1.
    let shadow = grad_of(|x| x * grad_of(|y| x + y, &one), &x);
    assert_eq!(shadow.item(), 1.0);
    let tangled = jvp(|x| x * jvp(|y| x + y, &one, &one).1, &x, &one).1;
    assert_eq!(tangled.item(), 1.0);
    // A constant gradient's gradient.
    assert_eq!(grad_of(|x| grad_of(|x| x * 3, x), &x).item(), 0.0);
}

/// What a function captures is a constant to the transform, and a variable to whatever is around it.
pub(super) fn captured_tensors<B: Device>() {
    let w = scalar::<B>(3.0).requires_grad_();
    let x = scalar::<B>(2.0);
    let slope = grad_of(|x| x.powi(2) * &w, &x);
    assert_eq!(slope.item(), 12.0);
    assert!(slope.requires_grad());
    slope.backward();
    assert_eq!(w.grad().unwrap().item(), 4.0);
    assert!(!no_grad(|| grad_of(|x| x.powi(2) * &w, &x)).requires_grad());
    // An input that requires a gradient keeps its place in the outer graph.
    let x = x.requires_grad_();
    let slope = grad_of(|x| x.powi(3), &x);
    slope.backward();
    assert_eq!(x.grad().unwrap().item(), 12.0);
    let (_, slope) = jvp(|x| x.powi(3), &x, &scalar(1.0));
    x.zero_grad();
    slope.backward();
    assert_eq!(x.grad().unwrap().item(), 12.0);
    // A product of a graph outside is not used up by what is differentiated inside.
    let outer = &x * &x;
    assert_eq!(grad_of(|y| y * &outer, &scalar(1.0)).item(), 4.0);
    outer.backward();
}

struct Cube;

impl<B: Device> Function<B> for Cube {
    fn name(&self) -> &str {
        "Cube"
    }
    fn forward(&self, context: &mut Context<B>, inputs: &[&Tensor<B>]) -> Vec<Tensor<B>> {
        context.save(&[inputs[0]]);
        vec![inputs[0].powi(3), inputs[0].sum()]
    }
    fn backward(&self, context: &Context<B>, gradients: &[Tensor<B>]) -> Vec<Option<Tensor<B>>> {
        Some(&gradients[0] * context.saved()[0].powi(2) * 3 + &gradients[1]).into_iter().map(Some).collect()
    }
}

pub(super) fn custom_functions_in_forward_mode<B: Device>() {
    let (x, v) = (Tensor::<B>::from_slice(&[1.0_f32, 2.0], [2]), Tensor::<B>::from_slice(&[10.0_f32, 1.0], [2]));
    let f = |x: &Tensor<B>| apply_function(Cube, &[x]);
    let (_, moved) = jvp(f, &x, &v);
    assert_eq!((list(&moved[0]), moved[1].item()), (vec![30.0, 12.0], 11.0));
    assert_eq!(list(&hessian(|x| f(x)[0].sum(), &x)), [6.0, 0.0, 0.0, 12.0]);
    assert_eq!(list(&hvp(|x| f(x)[0].sum(), &x, &v)), [60.0, 12.0]);
    if has_f64::<B>() {
        let x = leaf::<B>(&[0.5, -1.5], &[2]);
        gradcheck(f, &x, GradcheckOptions::default()).unwrap();
        gradgradcheck(f, &x, GradcheckOptions::default()).unwrap();
    }
}

pub(super) fn transforms_refuse_misuse<B: Device>() {
    let x = Tensor::<B>::from_slice(&[1.0_f32, 2.0], [2]);
    assert_eq!(
        message(|| grad_of(|x| x * 2, &x)),
        "grad_of: expected a function whose result has one element, got a result of shape [2]; \
         hint: use jacobian or vjp, or reduce the result, such as with sum()"
    );
    assert_eq!(
        message(|| grad_of(Tensor::sum, &index::<B>(&[1], &[1]))),
        "grad_of: expected inputs of a float dtype (f16, bf16, f32, f64), got i64 as input number 0; \
         hint: convert it with .to(DType::F32), or let the function capture it"
    );
    let hint = "hint: compute it from the tensors that the function is given, without no_grad, detach or integers";
    let independent =
        format!("expected a function whose result depends on its input, got a result that does not; {hint}");
    assert_eq!(message(|| grad_of(|x| x.detach().sum(), &x)), format!("grad_of: {independent}"));
    assert_eq!(message(|| jacobian(|x| no_grad(|| x * 2), &x)), format!("jacobian: {independent}"));
    assert_eq!(message(|| hessian(|x| x.detach().sum(), &x)), format!("hessian: {independent}"));
    assert_eq!(message(|| jvp(|x| x.gt(0), &x, &x)), format!("jvp: {independent}"));
    // A gradient taken without create_graph is a plain number: differentiating it is an error, never a wrong answer.
    let plain_gradient = |x: &Tensor<B>| {
        let y = x.powi(3).sum();
        crate::grad(&[&y], &[x], &[], crate::GradOptions::default()).remove(0).unwrap().sum()
    };
    assert_eq!(message(|| grad_of(plain_gradient, &x)), format!("grad_of: {independent}"));
    assert_eq!(
        message(|| grad_of(|_: &[Tensor<B>]| Tensor::ones([]), &[][..] as &[Tensor<B>])),
        "grad_of: expected at least one input, got none"
    );
}

pub(super) fn checks_find_mistakes<B: Device>() {
    if !has_f64::<B>() {
        return;
    }
    let x = leaf::<B>(&[0.5, 2.0], &[2]);
    let wrong = |x: &Tensor<B>| with_gradient(&[x], |x| x[0] * 3, |_, g| vec![Some(g * 2)]);
    let error = gradcheck(wrong, &x, GradcheckOptions::default()).unwrap_err();
    assert!(matches!(error, GradcheckError::Mismatch { mode: "reverse", output: 0, input: 0, .. }));
    let text = error.to_string();
    assert!(
        text.starts_with("Jacobian mismatch for output 0 with respect to input 0 in reverse mode,\nnumerical:tensor([[3.0000, 0.0000]"),
        "{text}"
    );
    assert!(text.contains("\nanalytical:tensor([[2., 0.],\n        [0., 2.]]"), "{text}");
    // A first derivative that is right and a second one that is not: the rule cuts the graph.
    let cut = |x: &Tensor<B>| with_gradient(&[x], |x| x[0] * x[0], |x, g| vec![Some(g * x[0].detach() * 2)]);
    gradcheck(cut, &x, GradcheckOptions::default()).unwrap();
    let error = gradgradcheck(cut, &x, GradcheckOptions::default()).unwrap_err().to_string();
    assert!(error.starts_with("Jacobian mismatch for output 0 with respect to input 0"), "{error}");
    // The second input of the second result.
    let y = leaf::<B>(&[1.0], &[1]);
    let second = move |[x, y]: &[Tensor<B>; 2]| (x * y, with_gradient(&[y], |y| y[0] * 2, |_, g| vec![Some(g * 5)]));
    let error = gradcheck(second, [&x, &y], GradcheckOptions::default()).unwrap_err();
    assert!(matches!(error, GradcheckError::Mismatch { output: 1, input: 1, .. }), "{error}");
}

pub(super) fn checks_refuse_misuse<B: Device>() {
    let x = Tensor::<B>::ones([2]);
    let options = GradcheckOptions::default();
    assert_eq!(
        gradcheck(|x| x * 2, &x, options).unwrap_err().to_string(),
        "gradcheck: expected at least one input that requires a gradient, got none that does; \
         hint: call requires_grad_() on the inputs to check"
    );
    let error = gradgradcheck(|x| x * 2, &x.requires_grad_(), options).unwrap_err().to_string();
    assert!(error.starts_with("gradgradcheck: expected inputs of dtype f64, got f32 as input number 0"), "{error}");
    if has_f64::<B>() {
        // What the function itself does wrong is reported, too.
        let x = leaf::<B>(&[1.0, 2.0], &[2]);
        let error = gradcheck(|x| x.reshape([3]), &x, options).unwrap_err().to_string();
        assert!(error.starts_with("reshape: expected"), "{error}");
        // Inputs without a gradient are constants, of any dtype.
        gradcheck(|[x, n]| x * n, [&x, &index(&[3, 4], &[2])], options).unwrap();
        gradcheck(|[x, c]| x.pow(c), [&x, &plain(&[2.0], &[1])], options).unwrap();
        assert!(close(&[1.0], &[1.0]));
    }
}
