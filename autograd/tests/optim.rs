//! Optimizers against PyTorch 2.15 in f64, over four steps with two parameters and one that never gets a gradient.

use autograd::optim::{Adam, AdamW, Optimizer, Sgd, clip_grad_norm};
use autograd::{attempt, no_grad};
use backend_cpu::Cpu;
use tensor_core::DType;

type Tensor = autograd::Tensor<Cpu>;

fn after_four_steps(make: impl FnOnce(&[&Tensor]) -> Box<dyn Optimizer<Cpu>>) -> Vec<f64> {
    let p = Tensor::from([0.5_f64, -1.25, 2.0]).requires_grad_();
    let q = Tensor::from([[0.1_f64, 0.2]]).requires_grad_();
    let unused = Tensor::from(1.0_f64).requires_grad_();
    let mut optimizer = make(&[&p, &q, &unused]);
    for step in 1..5 {
        optimizer.zero_grad();
        (p.powi(3).sum() * step + q.sin().sum() * p.i(0)).backward();
        optimizer.step();
    }
    [p.to_vec::<f64>(), q.to_vec(), unused.to_vec()].concat()
}

#[test]
#[rustfmt::skip]
fn steps_are_those_of_pytorch() {
    macro_rules! row {
        ($name:ident::new(params, $rate:literal) $(.$setting:ident($($value:expr),*))*, $expected:expr) => {{
            let got = after_four_steps(|params| Box::new($name::new(params.iter().copied(), $rate)$(.$setting($($value),*))*));
            for (got, expected) in got.iter().zip($expected) {
                assert!((got - expected).abs() <= 1e-14, "{}: {got} for {expected}", stringify!($name $(.$setting($($value),*))*));
            }
        }};
    }
    row!(Sgd::new(params, 0.01), [0.42245322350621456, -1.8707889136265576, 1.1764195749195732, 0.08097112331974893, 0.18124350155778127, 1.0]);
    row!(Sgd::new(params, 0.01).momentum(0.9), [0.35209459240748703, -2.409015832560387, 0.4634902770683782, 0.056766680444803354, 0.15738585053961146, 1.0]);
    row!(Sgd::new(params, 0.01).momentum(0.9).dampening(0.5).weight_decay(0.1), [0.4030271809849558, -1.8487440413885474, 0.9449161622065971, 0.06904643643640547, 0.1688643789035562, 1.0]);
    row!(Sgd::new(params, 0.01).momentum(0.8).nesterov(true).weight_decay(0.2), [0.3210255379111655, -3.0900318904867503, 0.4426816921930829, 0.04972107296767534, 0.14828128800478232, 1.0]);
    row!(Adam::new(params, 0.05), [0.2999735471851322, -1.4422313564395806, 1.8045912385188292, -0.09806813387827698, 0.0018190541820043635, 1.0]);
    row!(Adam::new(params, 0.05).betas(0.8, 0.95).eps(1e-3).weight_decay(0.3), [0.2991236841487519, -1.4452853946404223, 1.8013901317557346, -0.09587081344877013, 0.003675990675035025, 1.0]);
    row!(AdamW::new(params, 0.05), [0.29912071490313147, -1.4396121422268284, 1.8007175362202466, -0.09810448450958353, 0.0015824402415405697, 1.0]);
    row!(AdamW::new(params, 0.05).betas(0.7, 0.9).weight_decay(0.5), [0.25819694657137915, -1.3227981207831305, 1.6127303719440236, -0.0974099931958639, -0.007252092050621092, 1.0]);
}

/// A value taken before a step stays what it was, and every handle to the parameter sees the new one.
#[test]
fn views_and_handles() {
    let x = Tensor::ones([5000]).requires_grad_();
    let (same, before, pending) = (x.clone(), x.detach(), x.detach() + 1);
    x.sum().backward();
    Sgd::new([&x], 0.5).step();
    assert_eq!(same.to_vec::<f32>(), vec![0.5; 5000]);
    assert_eq!(before.to_vec::<f32>(), vec![1.0; 5000]);
    assert_eq!(pending.to_vec::<f32>(), vec![2.0; 5000]);
    assert!(x.is_leaf() && x.requires_grad());
}

/// A step that f16 cannot express one by one must add up in the state.
#[test]
fn halves_keep_their_state_in_f32() {
    let x = Tensor::ones([4]).to(DType::F16).requires_grad_();
    let mut adam = Adam::new([&x], 0.01);
    for _ in 0..10 {
        x.set_grad(Some(Tensor::full([4], 1e-4).to(DType::F16)));
        adam.step();
    }
    // The square of the gradient is below f16's smallest number: in f16 the step would be 0.01·1e-4/1e-8 = 100.
    let moved = 1.0 - x.i(0).item();
    assert!((moved - 0.1).abs() < 0.01, "{moved}");
    assert_eq!(x.dtype(), DType::F16);
}

#[test]
fn training_finds_the_minimum() {
    let x = Tensor::from([4.0_f32, -3.0, 0.25]).requires_grad_();
    let mut sgd = Sgd::new([&x], 0.1).momentum(0.5);
    for _ in 0..100 {
        sgd.zero_grad();
        (&x - 1).square().sum().backward();
        sgd.step();
    }
    assert!(x.to_vec::<f32>().iter().all(|x| (x - 1.0).abs() < 1e-5), "{x}");
    sgd.set_learning_rate(0.0);
    let there = x.to_vec::<f32>();
    sgd.step();
    assert_eq!(x.to_vec::<f32>(), there);
}

#[test]
fn clipping() {
    let (x, y) = (Tensor::from([3.0_f64, 0.0]).requires_grad_(), Tensor::from(4.0_f64).requires_grad_());
    (x.square().sum() * 0.5 + y.square() * 0.5).backward();
    assert_eq!(clip_grad_norm([&x, &y], 10.0), 5.0);
    assert_eq!(x.grad().unwrap().to_vec::<f64>(), [3.0, 0.0]);
    assert_eq!(clip_grad_norm([&x, &y], 1.0), 5.0);
    let (gx, gy) = (x.grad().unwrap().i(0).item(), y.grad().unwrap().item());
    assert!((gx - 0.6).abs() < 1e-6 && (gy - 0.8).abs() < 1e-6, "{gx} {gy}");
}

#[test]
fn misuse() {
    let (plain, leaf) = (Tensor::ones([2]), Tensor::ones([2]).requires_grad_());
    let made = &leaf * 2;
    let sentence = |f: &dyn Fn() -> Sgd<Cpu>| attempt(f).unwrap_err().to_string();
    assert_eq!(
        sentence(&|| Sgd::new([&leaf, &plain], 0.1)),
        "sgd: expected leaves that require a gradient, got one that does not as number 1; hint: call requires_grad_() on it"
    );
    assert_eq!(
        sentence(&|| Sgd::new([&made], 0.1)),
        "sgd: expected leaves that require a gradient, got the result of an operation as number 0; hint: call \
         requires_grad_() on it"
    );
    assert_eq!(
        sentence(&|| Sgd::new([&leaf, &leaf], 0.1)),
        "sgd: expected each parameter once, got number 1 a second time"
    );
    assert_eq!(sentence(&|| Sgd::new([&leaf], -0.1)), "sgd: expected a learning rate of at least 0, got -0.1");
    let error = attempt(|| Adam::new([&leaf], 0.1).betas(0.9, 1.0)).unwrap_err();
    assert_eq!(error.to_string(), "adam: expected a second beta from 0 to below 1, got 1");
    assert!(no_grad(|| leaf.grad().is_none()));
}
