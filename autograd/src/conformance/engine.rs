//! Recording and walking graphs: leaves, accumulation, freeing, hooks, modes, depth, threads.

use super::{Device, deep, gradient};
use crate::{
    Context, Function, GradOptions, Tensor, apply_function, attempt, enable_grad, grad, is_grad_enabled, no_grad,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use tensor_core::DType;

fn vector<B: Device>(data: &[f32]) -> Tensor<B> {
    Tensor::from_slice(data, [data.len()])
}

fn scalar<B: Device>(value: f64) -> Tensor<B> {
    Tensor::scalar(value)
}

#[track_caller]
fn refused<R>(f: impl FnOnce() -> R) -> String {
    match attempt(f) {
        Ok(_) => panic!("this must be refused"),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn refused_with<R>(start: &str, f: impl FnOnce() -> R) {
    let error = refused(f);
    assert!(error.starts_with(start), "{error:?} instead of {start:?}");
}

const USED: &str = "backward: expected a graph that no backward pass has used, got one whose saved values were freed by a \
                    backward pass; hint: give the first pass retain_graph";

/// Only floats may require gradients; computed tensors that do not require one are leaves, too.
pub(super) fn leaves<B: Device>() {
    for dtype in [DType::Bool, DType::U8, DType::I64] {
        let x = Tensor::<B>::ones([2]).to_dtype(dtype);
        refused_with("requires_grad: expected a float dtype (f16, bf16, f32, f64), got", || x.requires_grad_());
    }
    assert!(Tensor::<B>::ones([1]).to_dtype(DType::F16).requires_grad_().requires_grad());
    let (plain, leaf) = (Tensor::<B>::ones([2]), Tensor::<B>::ones([2]).requires_grad_());
    assert_eq!([&plain, &leaf, &(&leaf * 2), &(&plain * 2)].map(Tensor::is_leaf), [true, true, false, true]);
    assert_eq!([&plain, &leaf, &(&leaf * 2), &(&plain * 2)].map(Tensor::requires_grad), [false, true, true, false]);
    let computed = &leaf * 2;
    computed.set_requires_grad(true);
    refused_with("requires_grad: expected a leaf, got the result of a recorded operation", || {
        computed.set_requires_grad(false);
    });
    leaf.set_requires_grad(false);
    assert!(!(&leaf * 2).requires_grad());
}

pub(super) fn what_backward_refuses<B: Device>() {
    let x = vector::<B>(&[1.0, 2.0]).requires_grad_();
    assert_eq!(
        refused(|| (&x * 2).backward()),
        "backward: expected a tensor of one element, got shape [2]; \
         hint: reduce it first, such as with sum(), or use backward_with(&gradient)"
    );
    let independent = "backward: expected a tensor that depends on one that requires a gradient, got one that does not";
    refused_with(independent, || vector::<B>(&[1.0]).backward());
    refused_with(independent, || x.detach().sum().backward());
    assert_eq!(
        refused(|| (&x * 2).backward_with(&vector(&[1.0, 1.0, 1.0]))),
        "backward: expected a gradient of shape [2], got [3]"
    );
    assert!(x.grad().is_none(), "a refused pass leaves nothing behind");
    // One element of any rank will do, and so will a gradient of another float dtype.
    (x.narrow(0, 0, 1).reshape([1, 1, 1]) * 3).backward();
    (&x * 2).backward_with(&vector(&[1.0, 1.0]).to_dtype(DType::BF16));
    assert_eq!(gradient(&x), [5.0, 2.0]);
    assert_eq!(x.grad().unwrap().dtype(), DType::F32);
}

/// Gradients add up in the same tensor, until they are removed.
pub(super) fn accumulation<B: Device>() {
    let x = vector::<B>(&[1.0, 2.0]).requires_grad_();
    assert!(x.grad().is_none());
    (&x * &x).sum().backward();
    let held = x.grad().unwrap();
    (&x * &x).sum().backward();
    assert_eq!(held.to_vec::<f32>(), [4.0, 8.0]);
    assert!(!held.requires_grad());
    x.zero_grad();
    assert!(x.grad().is_none());
    assert_eq!(held.to_vec::<f32>(), [4.0, 8.0]);
    // With create_graph the gradient itself can be differentiated.
    let x = scalar::<B>(2.0).requires_grad_();
    x.powi(3).backward_opts(None, GradOptions::default().create_graph());
    let first = x.grad().unwrap();
    assert!(first.requires_grad());
    x.zero_grad();
    first.backward();
    assert_eq!(x.grad().unwrap().item(), 12.0);
    x.zero_grad();
    // The user's own.
    x.set_grad(Some(scalar(1.0)));
    (&x * 3).backward();
    assert_eq!(x.grad().unwrap().item(), 4.0);
    refused_with("set_grad: expected", || x.set_grad(Some(vector(&[1.0, 2.0]))));
    refused_with("set_grad: expected", || x.set_grad(Some(Tensor::scalar(1.0).to_dtype(DType::F16))));
    refused_with("set_grad: expected another tensor", || x.set_grad(Some(x.clone())));
}

/// A second pass needs what the first one freed, unless nothing was saved.
pub(super) fn freed_graphs<B: Device>() {
    let x = vector::<B>(&[1.0, 2.0]).requires_grad_();
    let nothing_saved = (&x + 1).sum();
    nothing_saved.backward();
    nothing_saved.backward();
    assert_eq!(gradient(&x), [2.0, 2.0]);
    for used in [(&x * 2).sum(), (&x * &x).sum(), x.exp().sum()] {
        used.backward();
        assert_eq!(refused(|| used.backward()), USED);
    }
    x.zero_grad();
    let kept = (&x * &x).sum();
    kept.backward_opts(None, GradOptions::default().retain_graph());
    kept.backward_opts(None, GradOptions::default().create_graph());
    kept.backward();
    assert_eq!(gradient(&x), [6.0, 12.0]);
    assert_eq!(refused(|| kept.backward()), USED);
    // A part of a graph that another pass has used.
    let shared = x.exp();
    shared.sum().backward();
    refused_with("backward: expected a graph that no backward pass has used", || (&shared * 2).sum().backward());
    // A gradient with a graph holds its leaf, which holds the gradient.
    x.zero_grad();
}

pub(super) fn gradients_given_back<B: Device>() {
    let (x, unused) = (vector::<B>(&[1.0, 2.0]).requires_grad_(), vector::<B>(&[1.0]).requires_grad_());
    let y = (&x * &x).sum();
    let keep = GradOptions::default().retain_graph();
    assert_eq!(
        refused(|| grad(&[&y], &[&x, &unused], &[], keep)),
        "grad: expected inputs that the outputs depend on, got input number 1, which was not used; \
         hint: allow_unused gives None instead"
    );
    let found = grad(&[&y], &[&x, &unused], &[], keep.allow_unused());
    assert_eq!(found[0].as_ref().unwrap().to_vec::<f32>(), [2.0, 4.0]);
    assert!(found[1].is_none());
    refused_with("grad: expected inputs that require a gradient, got input number 0", || {
        grad(&[&y], &[&vector(&[1.0])], &[], keep)
    });
    refused_with("grad: expected a gradient of shape [2], got [3]", || {
        grad(&[&(&x * 2)], &[&x], &[&vector(&[1.0; 3])], keep)
    });
    refused_with("grad: expected a tensor of one element", || grad(&[&(&x * 2)], &[&x], &[], keep));
    refused_with("grad: expected a gradient for each of 2 outputs, or none, got 1", || {
        grad(&[&y, &y], &[&x], &[&scalar(1.0)], keep)
    });
    assert!(x.grad().is_none(), "grad() leaves .grad alone");
    // Of intermediate tensors, of the output itself, and of several outputs at once.
    let square = &x * &x;
    let out = (&square * 3).sum();
    let one = |outputs: &[&Tensor<B>], input: &Tensor<B>| grad(outputs, &[input], &[], keep).remove(0).unwrap();
    assert_eq!(one(&[&out], &square).to_vec::<f32>(), [3.0, 3.0]);
    assert_eq!(one(&[&out], &out).item(), 1.0);
    let single = unused;
    assert_eq!(one(&[&single], &single).to_vec::<f32>(), [1.0]);
    assert_eq!(one(&[&out, &y], &x).to_vec::<f32>(), [8.0, 16.0]);
    assert_eq!(one(&[&y, &y, &y], &x).to_vec::<f32>(), [6.0, 12.0]);
    assert_eq!(grad(&[&out], &[&x, &x, &square], &[], keep).len(), 3);
    // Only what lies between inputs and outputs is walked: the rest keeps what it saved.
    let deep = x.exp();
    let shallow = (&deep * &deep).sum();
    assert!(grad(&[&shallow], &[&deep], &[], GradOptions::default())[0].is_some());
    deep.sum().backward();
}

/// Higher orders by repeated passes; what is constant cannot be differentiated again.
pub(super) fn higher_orders<B: Device>() {
    let x = scalar::<B>(2.0).requires_grad_();
    let mut y = x.powi(3);
    for expected in [12.0, 12.0, 6.0] {
        y = grad(&[&y], &[&x], &[], GradOptions::default().create_graph()).remove(0).unwrap();
        assert_eq!(y.item(), expected);
    }
    let y = grad(&[&(&x * 3)], &[&x], &[], GradOptions::default().create_graph()).remove(0).unwrap();
    refused_with("grad: expected a tensor that depends on one that requires a gradient", || {
        grad(&[&y], &[&x], &[], GradOptions::default())
    });
    // Third derivatives of x⁵ and of sin x·eˣ: 2eˣ(cos x − sin x).
    let third = |f: fn(&Tensor<B>) -> Tensor<B>| {
        let mut y = f(&x);
        for _ in 0..3 {
            y = grad(&[&y], &[&x], &[], GradOptions::default().create_graph()).remove(0).unwrap();
        }
        y.item()
    };
    assert_eq!(third(|x| x.powi(5)), 240.0);
    let expected = 2.0 * 2f64.exp() * (2f64.cos() - 2f64.sin());
    let got = third(|x| x.sin() * x.exp());
    assert!((got - expected).abs() < 1e-4, "{got} instead of {expected}");
}

/// Every path counts once.
pub(super) fn diamonds<B: Device>() {
    let x = scalar::<B>(3.0).requires_grad_();
    let mut y = x.clone();
    for _ in 0..20 {
        y = &y + &y;
    }
    y.backward();
    assert_eq!(x.grad().unwrap().item(), 1_048_576.0);
    x.zero_grad();
    let (a, b) = (&x * 2, x.powi(2));
    (&a * &b + &a - &b + &x).backward();
    // 2x³ + 2x − x² + x
    assert_eq!(x.grad().unwrap().item(), 6.0 * 9.0 + 3.0 - 6.0);
    // Many branches that wait at once, and many leaves.
    let leaves: Vec<Tensor<B>> = (0..50).map(|place| scalar(f64::from(place)).requires_grad_()).collect();
    let squares: Vec<Tensor<B>> = leaves.iter().map(|leaf| leaf * leaf).collect();
    let total = squares.iter().chain(&squares).fold(scalar(0.0), |sum, square| sum + square);
    total.backward();
    for (place, leaf) in leaves.iter().enumerate() {
        assert_eq!(leaf.grad().unwrap().item(), 4.0 * place as f64);
    }
}

pub(super) fn hooks<B: Device>() {
    let x = vector::<B>(&[1.0, 1.0]).requires_grad_();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = |name: &'static str, factor: Option<f64>| {
        let seen = seen.clone();
        move |g: &Tensor<B>| {
            seen.lock().unwrap().push((name, g.to_vec::<f32>()));
            factor.map(|factor| g * factor)
        }
    };
    let y = &x * 2;
    y.register_hook(note("y", None));
    x.register_hook(note("x", Some(10.0)));
    let after = seen.clone();
    x.register_post_accumulate_hook(move |leaf| {
        after.lock().unwrap().push(("after", leaf.grad().unwrap().to_vec::<f32>()));
    });
    y.sum().backward();
    assert_eq!(*seen.lock().unwrap(), [("y", vec![1.0, 1.0]), ("x", vec![2.0, 2.0]), ("after", vec![20.0, 20.0])]);
    // In the order of registration; removal; a leaf's hooks see the pass's gradient, not what has piled up.
    let x = vector::<B>(&[1.0]).requires_grad_();
    x.register_hook(|g| Some(g + 1));
    let removed = x.register_hook(|g| Some(g * 1000));
    x.register_hook(|g| Some(g * 2));
    removed.remove();
    for total in [8.0, 16.0] {
        (&x * 3).sum().backward();
        assert_eq!(gradient(&x), [total]);
    }
    // An intermediate tensor's hook acts on what flows on, also for grad().
    let x = vector::<B>(&[1.0]).requires_grad_();
    let y = &x * 2;
    y.register_hook(|g| Some(g * 7));
    y.retain_grad();
    let found = grad(&[&y.sum()], &[&x], &[], GradOptions::default().retain_graph()).remove(0).unwrap();
    assert_eq!(found.to_vec::<f32>(), [14.0]);
    y.zero_grad();
    y.sum().backward();
    assert_eq!((gradient(&y), gradient(&x)), (vec![7.0], vec![14.0]));
    refused_with("register_hook: expected a tensor that requires a gradient", || {
        vector::<B>(&[1.0]).register_hook(|_| None)
    });
    refused_with("register_post_accumulate_hook: expected a leaf", || (&x * 2).register_post_accumulate_hook(|_| ()));
    x.register_hook(|_| Some(vector(&[1.0, 2.0])));
    assert_eq!(refused(|| (&x * 2).sum().backward()), "hook: expected a gradient of shape [1], got [2]");
}

pub(super) fn retained_gradients<B: Device>() {
    let x = vector::<B>(&[1.0, 2.0]).requires_grad_();
    let y = &x * 2;
    y.sum().backward();
    assert!(y.grad().is_none(), "only leaves gather gradients");
    let y = &x * 3;
    y.retain_grad();
    y.retain_grad();
    (&y * &y).sum().backward();
    assert_eq!(gradient(&y), [6.0, 12.0]);
    x.retain_grad();
    refused_with("retain_grad: expected a tensor that requires a gradient", || vector::<B>(&[1.0]).retain_grad());
}

/// Modes nest, belong to a thread, and are restored after a panic.
pub(super) fn modes<B: Device>() {
    let x = vector::<B>(&[1.0]).requires_grad_();
    no_grad(|| {
        assert!(!(&x * 2).requires_grad() && (&x * 2).is_leaf());
        enable_grad(|| {
            assert!((&x * 2).requires_grad());
            no_grad(|| assert!(!is_grad_enabled()));
            assert!(is_grad_enabled());
        });
        assert!(!is_grad_enabled());
        assert!(vector::<B>(&[1.0]).requires_grad_().requires_grad());
        assert!(std::thread::spawn(is_grad_enabled).join().unwrap());
    });
    let caught = catch_unwind(AssertUnwindSafe(|| no_grad(|| std::panic::resume_unwind(Box::new(())))));
    assert!(caught.is_err() && is_grad_enabled());
    // A panic within a rule, too: the hook runs within the pass.
    let y = (&x * 2).sum();
    x.register_hook(|_| std::panic::resume_unwind(Box::new("stop")));
    assert!(catch_unwind(AssertUnwindSafe(|| y.backward())).is_err());
    assert!(is_grad_enabled() && (&x * 2).requires_grad());
}

pub(super) fn detached<B: Device>() {
    let x = vector::<B>(&[1.0, 2.0]).requires_grad_();
    let y = (&x * &x).detach();
    assert!(!y.requires_grad() && y.is_leaf());
    (&x * &y).sum().backward();
    assert_eq!(gradient(&x), [1.0, 4.0]);
}

/// What was computed before an update keeps its values: saved tensors cannot be spoiled.
pub(super) fn updates_in_place<B: Device>() {
    let x = vector::<B>(&[1.0, 2.0]).requires_grad_();
    refused_with("add_: expected a leaf outside of recording, got a leaf that requires a gradient", || {
        let _ = x.add_(1);
    });
    refused_with("mul_: expected a leaf, got the result of a recorded operation", || {
        let _ = (&x * 2).mul_(2);
    });
    let y = (&x * &x).sum();
    let view = x.narrow(0, 0, 1);
    no_grad(|| x.mul_(10).add_(1));
    assert_eq!(x.to_vec::<f32>(), [11.0, 21.0]);
    assert!(x.requires_grad() && x.is_leaf());
    y.backward();
    assert_eq!(gradient(&x), [2.0, 4.0], "the gradient where the function was computed");
    assert_eq!(view.to_vec::<f32>(), [1.0]);
    x.zero_grad();
    (&x * &x).sum().backward();
    assert_eq!(gradient(&x), [22.0, 42.0]);
    // The gradient is the leaf's own tensor: emptying it does not reach tensors of the graph.
    x.zero_grad();
    let seed = vector::<B>(&[1.0, 1.0]);
    x.backward_with(&seed);
    x.grad().unwrap().zero_();
    assert_eq!((gradient(&x), seed.to_vec::<f32>()), (vec![0.0, 0.0], vec![1.0, 1.0]));
    refused_with("add_: expected a result of shape [1]", || {
        let _ = vector::<B>(&[1.0]).add_(vector(&[1.0, 2.0, 3.0]));
    });
    refused_with("add_: expected a result that fits dtype i64", || {
        let _ = Tensor::<B>::arange(0, 3, 1).add_(0.5);
    });
}

/// A function of two inputs and three results, the last without a gradient. What it was given is noted.
struct Recorder {
    seen: Arc<Mutex<Vec<Vec<f32>>>>,
    answers: usize,
    wrong_shape: bool,
}

impl<B: Device> Function<B> for Recorder {
    fn name(&self) -> &str {
        "Recorder"
    }
    fn forward(&self, context: &mut Context<B>, inputs: &[&Tensor<B>]) -> Vec<Tensor<B>> {
        assert!(!is_grad_enabled());
        let product = inputs[0] * inputs[1];
        context.save(&[inputs[0], inputs[1], &product]);
        context.mark_non_differentiable(2);
        vec![product, inputs[0] * 3, inputs[0].floor()]
    }
    fn backward(&self, context: &Context<B>, gradients: &[Tensor<B>]) -> Vec<Option<Tensor<B>>> {
        *self.seen.lock().unwrap() = gradients.iter().map(|g| g.to_vec::<f32>()).collect();
        let [a, b, product] = context.saved() else { panic!("three tensors were saved") };
        assert_eq!(product.to_vec::<f32>(), (a * b).to_vec::<f32>());
        let first = &gradients[0] * b + &gradients[1] * 3;
        let first = if self.wrong_shape { Tensor::zeros([7]) } else { first };
        let second = context.needs_input_grad(1).then(|| &gradients[0] * a);
        [Some(first), second, None].into_iter().take(self.answers).collect()
    }
}

pub(super) fn custom_functions<B: Device>() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let recorder = |answers, wrong_shape| Recorder { seen: seen.clone(), answers, wrong_shape };
    let (a, b) = (vector::<B>(&[1.0, 2.0]).requires_grad_(), vector::<B>(&[5.0, 6.0]).requires_grad_());
    let outputs = apply_function(recorder(2, false), &[&a, &b]);
    assert_eq!(outputs.iter().map(Tensor::requires_grad).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(outputs[0].grad_fn().unwrap(), "RecorderBackward");
    // Results that nobody used come with zeros.
    outputs[0].sum().backward();
    assert_eq!(*seen.lock().unwrap(), [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]);
    assert_eq!((gradient(&a), gradient(&b)), (vec![5.0, 6.0], vec![1.0, 2.0]));
    refused_with("backward: expected a graph that no backward pass has used", || outputs[1].sum().backward());
    // Both results at once, and twice through the same one.
    a.zero_grad();
    let outputs = apply_function(recorder(2, false), &[&a, &b]);
    (&outputs[0] + &outputs[1] * 2 + &outputs[0]).sum().backward();
    assert_eq!(gradient(&a), [16.0, 18.0]);
    // An input without a gradient, and the same input twice.
    a.zero_grad();
    apply_function(recorder(2, false), &[&a, &b.detach()])[0].sum().backward();
    assert_eq!(gradient(&a), [5.0, 6.0]);
    a.zero_grad();
    apply_function(recorder(2, false), &[&a, &a])[0].sum().backward();
    assert_eq!(gradient(&a), [2.0, 4.0]);
    // Second derivatives flow through inputs and results that were saved.
    let out = apply_function(recorder(2, false), &[&a, &a]);
    let first = grad(&[&out[0].sum()], &[&a], &[], GradOptions::default().create_graph()).remove(0).unwrap();
    let second = grad(&[&first.sum()], &[&a], &[], GradOptions::default()).remove(0).unwrap();
    assert_eq!((first.to_vec::<f32>(), second.to_vec::<f32>()), (vec![2.0, 4.0], vec![2.0, 2.0]));
    // Wrong answers.
    for answers in [1, 3] {
        let out = apply_function(recorder(answers, false), &[&a, &b]).remove(0).sum();
        assert_eq!(
            refused(|| out.backward()),
            format!("Recorder: expected 2 gradients from backward, one for each input, got {answers}")
        );
    }
    let out = apply_function(recorder(2, true), &[&a, &b]).remove(0).sum();
    assert_eq!(refused(|| out.backward()), "Recorder: expected a gradient of shape [2] for input number 0, got [7]");
    // Nothing is recorded where nothing is wanted.
    assert!(!apply_function(recorder(2, false), &[&a.detach(), &b.detach()])[0].requires_grad());
    assert!(!no_grad(|| apply_function(recorder(2, false), &[&a, &b]))[0].requires_grad());
}

/// A deep graph forward, backward and dropped, with room for only a few calls on the stack.
pub(super) fn deep_chains<B: Device>() {
    let length = deep::<B>();
    let run = move || {
        let x = scalar::<B>(1.0).requires_grad_();
        let mut y = &x * 1.0;
        for _ in 1..length {
            y *= 1.0;
        }
        y.backward();
        assert_eq!(x.grad().unwrap().item(), 1.0);
        drop(y);
        // Dropped without a pass, and both operands from the chain.
        let mut y = &x + 0.0;
        for _ in 1..length / 2 {
            y = &y * 0.5 + &y * 0.5;
        }
        drop(y);
        // A pass that is recorded itself makes a second chain behind the first.
        let mut y = &x * 1.0;
        for _ in 1..length / 10 {
            y *= &x;
        }
        let first = grad(&[&y], &[&x], &[], GradOptions::default().create_graph()).remove(0).unwrap();
        assert_eq!(first.item(), (length / 10) as f64);
        drop((y, first));
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap();
    thread.join().unwrap();
}

/// A deep graph over tensors in memory, which its nodes share.
pub(super) fn deep_chains_of_matrices<B: Device>() {
    let run = || {
        let w = Tensor::<B>::eye(2).requires_grad_();
        let length = deep::<B>() / 200;
        let mut y = Tensor::<B>::ones([2, 2]);
        for _ in 0..length {
            y = y.matmul(&w) + &w * 0.0;
        }
        y.sum().backward();
        assert_eq!(gradient(&w), [2.0 * length as f64; 4]);
        let mut y = Tensor::<B>::ones([2, 2]);
        for _ in 0..length {
            y = y.matmul(&w);
        }
        drop(y);
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap();
    thread.join().unwrap();
}

/// Two threads build and walk graphs with common leaves; the gradient is the sum of both.
pub(super) fn threads<B: Device>() {
    fn sendable<T: Send + Sync>(_: &T) {}
    let (x, w) = (vector::<B>(&[1.0, 2.0]).requires_grad_(), vector::<B>(&[3.0, 4.0]).requires_grad_());
    sendable(&x);
    sendable(&(&x * 2));
    let rounds = 200;
    let shared = &x * &w;
    std::thread::scope(|scope| {
        for factor in [1, 10] {
            let (x, w, shared) = (&x, &w, &shared);
            scope.spawn(move || {
                for _ in 0..rounds {
                    (x * w * factor).sum().backward();
                    (shared * factor).sum().backward_opts(None, GradOptions::default().retain_graph());
                }
            });
        }
    });
    let times = f64::from(rounds) * 22.0;
    assert_eq!((gradient(&x), gradient(&w)), (vec![3.0 * times, 4.0 * times], vec![times, 2.0 * times]));
    // Whoever comes first frees the graph; the other one gets an error, never half a gradient.
    let x = vector::<B>(&[1.0, 2.0]).requires_grad_();
    let y = (&x * &x).sum();
    let passed: usize = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..2).map(|_| scope.spawn(|| usize::from(attempt(|| y.backward()).is_ok()))).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).sum()
    });
    assert_eq!((passed, gradient(&x)), (1, vec![2.0, 4.0]));
}

/// The same graph gives the same bits every time.
pub(super) fn determinism<B: Device>() {
    let run = || {
        let x = vector::<B>(&(0..40).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<_>>()).requires_grad_();
        let m = x.reshape([5, 8]);
        let mut total = scalar::<B>(0.0);
        for place in 0..12 {
            let part = m.matmul(&m.t()).softmax(place % 2).i(place % 5) * (0.1 + f64::from(place as i32));
            total = total + (part.exp() * part.sin()).sum() + x.gather(0, &Tensor::arange(0, 40, 1).remainder(7)).sum();
        }
        total.backward();
        x.grad().unwrap().to_vec::<f32>().into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let first = run();
    for _ in 0..5 {
        assert_eq!(run(), first);
    }
}

/// The graph is data.
pub(super) fn drawings<B: Device>() {
    let x = scalar::<B>(2.0).requires_grad_();
    let y = &x * &x + &x;
    assert_eq!(
        y.to_dot(),
        "digraph {\n  rankdir = BT;\n  n0 [shape = box, label = \"Add\"];\n  n1 [shape = box, label = \"Mul\"];\n  \
         n1 -> n0;\n  n2 [shape = ellipse, label = \"f32 []\"];\n  n2 -> n0;\n  n2 -> n1;\n  n2 -> n1;\n}\n"
    );
}
