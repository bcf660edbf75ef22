//! The introduction's gradients, on the CPU.

use autograd::optim::{Optimizer, Sgd};
use autograd::{GradOptions, attempt, grad, no_grad};
use backend_cpu::Cpu;
use tensor_core::DType;

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

/// Scalar code has a way of its own; it must give what the kernels give, in values, dtypes and gradients.
#[test]
fn numbers_compute_as_vectors_do() {
    type Op = fn(&Tensor, &Tensor) -> Tensor;
    type WithScalar = fn(&Tensor, f64) -> Tensor;
    let ops: [(&str, Op, WithScalar); 10] = [
        ("add", |a, b| a + b, |a, s| a + s),
        ("sub", |a, b| a - b, |a, s| s - a),
        ("mul", |a, b| a * b, |a, s| a * s),
        ("div", |a, b| a / b, |a, s| s / a),
        ("remainder", |a, b| a % b, |a, s| a % s),
        ("fmod", |a, b| a.fmod(b), |a, s| a.fmod(s)),
        ("pow", |a, b| a.pow(b), |a, s| a.pow(s)),
        ("atan2", |a, b| a.atan2(b), |a, s| a.atan2(s)),
        ("maximum", |a, b| a.maximum(b), |a, s| a.maximum(s)),
        ("floor_divide", |a, b| a.floor_divide(b), |a, s| a.floor_divide(s)),
    ];
    let values = [0.1, -2.5, 3.0, 0.0, 1e30, f64::INFINITY, f64::NAN];
    let same = |what: &str, number: &Tensor, vector: &Tensor| {
        assert_eq!(number.dtype(), vector.dtype(), "{what}");
        let (a, b) = (number.item(), vector.item());
        // Vector kernels may differ from the correctly rounded value by their error bound.
        let near = (a - b).abs() <= 4.0 * f64::from(f32::EPSILON) * a.abs();
        assert!(a == b || near || (a.is_nan() && b.is_nan()), "{what}: {a} as a number, {b} in a vector");
    };
    for (name, op, with_scalar) in ops {
        for dtype in [DType::F32, DType::F64] {
            for (x, y) in values.iter().flat_map(|&x| values.map(|y| (x, y))) {
                let leaf = |value: f64, shape: &[usize]| Tensor::full(shape, value).to(dtype).requires_grad_();
                let what = format!("{name} of {x} and {y} as {dtype}");
                let ([a, b], [va, vb]) = ([x, y].map(|v| leaf(v, &[])), [x, y].map(|v| leaf(v, &[1])));
                let (number, vector) = (op(&a, &b), op(&va, &vb));
                same(&what, &number, &vector);
                number.backward();
                vector.sum().backward();
                same(&format!("gradient of {what}"), &a.grad().unwrap(), &va.grad().unwrap());
                same(&format!("second gradient of {what}"), &b.grad().unwrap(), &vb.grad().unwrap());
                same(&format!("{what}, a scalar"), &with_scalar(&a, y), &with_scalar(&va, y));
            }
        }
    }
}

/// Numbers are read without a lock, beside the array that holds them: whatever writes the array has to write them too.
#[test]
fn numbers_follow_what_is_written_in_place() {
    for dtype in [DType::F32, DType::F64] {
        let x = Tensor::from(1.0).to(dtype).requires_grad_();
        let shown = |what: &str, expected: f64| {
            let (number, array) = ((&x * 2).item(), 2.0 * x.to(DType::F64).to_vec::<f64>()[0]);
            assert_eq!((number, array), (2.0 * expected, 2.0 * expected), "{what} as {dtype}");
        };
        shown("made", 1.0);
        no_grad(|| _ = x.fill_(3.0));
        shown("fill_", 3.0);
        no_grad(|| _ = x.add_(1));
        shown("add_", 4.0);
        no_grad(|| _ = x.copy_(&Tensor::from(6.0)));
        shown("copy_", 6.0);
        // By the program of an optimizer, with and without state, whose result is memory of the device.
        (&x * &x).backward();
        Sgd::new([&x], 0.25).step();
        shown("sgd", 3.0);
        x.zero_grad();
        (&x * &x).backward();
        Sgd::new([&x], 0.25).momentum(0.5).step();
        shown("sgd with momentum", 1.5);
        // Gradients that pile up are numbers, too.
        assert_eq!((x.grad().unwrap() + 1).item(), 7.0);
        x.zero_grad();
        (&x * 5).backward();
        (&x * 5).backward();
        assert_eq!((x.grad().unwrap() + 1).item(), 11.0);
        no_grad(|| _ = x.zero_());
        shown("zero_", 0.0);
    }
}

/// Small tensors have ways of their own for an operand that the host knows, or that is a row or a column.
#[test]
fn small_tensors_meet_constants_and_rows() {
    type Op = (&'static str, fn(&Tensor, &Tensor) -> Tensor, fn(f64, f64) -> f64);
    let ops: [Op; 5] = [
        ("add", |a, b| a + b, |a, b| a + b),
        ("sub", |a, b| a - b, |a, b| a - b),
        ("div", |a, b| a / b, |a, b| a / b),
        ("pow", |a, b| a.pow(b), f64::powf),
        ("maximum", |a, b| a.maximum(b), f64::max),
    ];
    let at = |number: usize| 0.5 + number as f64 * 0.25;
    let x = Tensor::from((0..12).map(at).collect::<Vec<f64>>()).reshape([3, 4]);
    let row = Tensor::from((20..24).map(at).collect::<Vec<f64>>());
    let column = Tensor::from((30..33).map(at).collect::<Vec<f64>>()).reshape([3, 1]);
    let others: [(Tensor, fn(usize) -> usize); 4] = [
        (Tensor::full([3, 4], at(10)).to(DType::F64), |_| 10),
        (Tensor::full([], at(10)).to(DType::F64), |_| 10),
        (row.clone(), |place| 20 + place % 4),
        (column.clone(), |place| 30 + place / 4),
    ];
    for (name, op, expected) in ops {
        for (other, number) in &others {
            let (forward, back) = (op(&x, other), op(other, &x));
            assert_eq!((forward.shape(), back.shape()), (vec![3, 4], vec![3, 4]));
            for place in 0..12 {
                let (a, b) = (at(place), at(number(place)));
                for (got, expected) in [(&forward, expected(a, b)), (&back, expected(b, a))] {
                    let got = got.to_vec::<f64>()[place];
                    assert!((got - expected).abs() <= 1e-14 * expected.abs(), "{name} of {a} and {b}: {got}");
                }
            }
        }
        // Both repeat along an axis of the other.
        let both = op(&row, &column);
        assert_eq!(both.shape(), [3, 4]);
        let (got, expected) = (both.to_vec::<f64>()[7], expected(at(23), at(31)));
        assert!((got - expected).abs() <= 1e-14 * expected.abs(), "{name}: {got} for {expected}");
    }
}

/// What nobody records runs as one program, what is recorded as one operation after the other.
#[test]
fn rules_in_one_pass_are_those_that_are_recorded() {
    type Op = (&'static str, fn(&Tensor) -> Tensor);
    let ops: [Op; 3] = [("tanh", |x| x.tanh()), ("sigmoid", |x| x.sigmoid()), ("relu", |x| x.relu())];
    for (name, op) in ops {
        for (dtype, count) in [(DType::F32, 7), (DType::F64, 7), (DType::F32, 9000), (DType::F16, 7)] {
            let mut values: Vec<f64> = (0..count).map(|number| (f64::from(number) * 0.7).sin() * 4.0).collect();
            values[..4].copy_from_slice(&[f64::NAN, 0.0, -0.0, f64::INFINITY]);
            let weight = Tensor::from(values.iter().map(|x| 1.0 / (x.abs() + 0.3)).collect::<Vec<f64>>()).to(dtype);
            let x = Tensor::from(values).to(dtype).requires_grad_();
            let slope = |options: GradOptions| {
                let gradient = grad(&[&op(&x)], &[&x], &[&weight], options).remove(0).unwrap();
                gradient.to(DType::F64).to_vec::<f64>()
            };
            let (one, many) = (slope(GradOptions::default()), slope(GradOptions::default().create_graph()));
            for (place, (a, b)) in one.into_iter().zip(many).enumerate() {
                // Large ones are fused in different ways, which round in different places: 1 − y loses digits near 0.
                let near = count > 4096 && (a - b).abs() <= 1e-6;
                let same = a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
                assert!(same || near, "{name} of {dtype} at {place}: {a} and {b}");
            }
        }
    }
}

/// A pass gives its gradients away where nobody else has them; here two leaves and a hook see the same one.
#[test]
fn gradients_of_leaves_are_their_own() {
    let (a, b) = (Tensor::ones([3]).requires_grad_(), Tensor::ones([3]).requires_grad_());
    let seen = std::sync::Arc::new(std::sync::Mutex::new(None));
    let kept = seen.clone();
    a.register_hook(move |gradient| {
        *kept.lock().unwrap() = Some(gradient.clone());
        None
    });
    let given = Tensor::from([1.0_f32, 2.0, 3.0]);
    (&a + &b).backward_with(&given);
    a.grad().unwrap().zero_();
    assert_eq!(b.grad().unwrap().to_vec::<f32>(), [1.0, 2.0, 3.0]);
    b.grad().unwrap().mul_(2);
    assert_eq!(given.to_vec::<f32>(), [1.0, 2.0, 3.0]);
    assert_eq!(seen.lock().unwrap().as_ref().unwrap().to_vec::<f32>(), [1.0, 2.0, 3.0]);
}
