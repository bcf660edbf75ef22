//! Reading and assigning what an index names, against PyTorch's results.
#![allow(clippy::reversed_empty_ranges, reason = "ends below 0 count from the back")]

use autograd::{Ellipsis, Index, NewAxis, Slice, StepBy, attempt, no_grad};
use backend_cpu::Cpu;
use tensor_core::DType;

type Tensor = autograd::Tensor<Cpu>;

/// A tensor of nested integers.
fn t<N: autograd::Nested<Element: autograd::Literal>>(nested: N) -> Tensor {
    Tensor::literal(nested)
}

fn x() -> Tensor {
    Tensor::arange(0, 60, 1).reshape([3, 4, 5])
}

/// Every position's number times the value there, so that a misplaced value shows.
fn checksum(x: &Tensor) -> i64 {
    let values = x.to_dtype(DType::I64).to_vec::<i64>();
    values.iter().zip(1..).map(|(value, position)| value * position).sum()
}

/// The shape and values of `x[index]`; the checksum of the gradient of `(x[index]·(1, 2, 3, …)).sum()`; the checksum of `x`
/// after `x[index] = (−1, −2, −3, …)`, unless the index names a place several times.
macro_rules! case {
    ($x:expr, $index:expr, $shape:expr, $values:expr, $gradient:expr, $assigned:expr) => {{
        let (x, name) = (&$x, stringify!($index));
        let picked = x.i($index);
        let (shape, values): (Vec<usize>, Vec<i64>) = (Vec::from($shape), Vec::from($values));
        assert_eq!(picked.shape(), shape, "{name}");
        assert_eq!(picked.to_vec::<i64>(), values, "{name}");

        let ramp = Tensor::arange(1, values.len() as i64 + 1, 1).reshape_as(&picked);
        let leaf = x.to_dtype(DType::F64).requires_grad_();
        (leaf.i($index) * &ramp).sum().backward();
        assert_eq!(checksum(&leaf.grad().unwrap()), $gradient, "gradient of {name}");
        let added = leaf.detach().zeros_like().i_add($index, &ramp);
        assert_eq!(checksum(&added), $gradient, "adding to {name}");

        let expected: Option<i64> = $assigned;
        if let Some(expected) = expected {
            assert_eq!(checksum(&x.i_set($index, &-&ramp)), expected, "assigning to {name}");
            let values = ramp.to_dtype(DType::F64).requires_grad_();
            let leaf = x.to_dtype(DType::F64).requires_grad_();
            (leaf.i_set($index, &values).i($index) * &ramp).sum().backward();
            assert_eq!(values.grad().unwrap().to_vec::<f64>(), ramp.to_dtype(DType::F64).to_vec::<f64>(), "{name}");
            assert_eq!(leaf.grad().unwrap().ne(0).any().item(), 0.0, "what {name} replaced gets no gradient");
        }
    }};
}

#[test]
#[rustfmt::skip]
fn as_pytorch_does() {
    let x = x();
    case!(x, (Ellipsis, -1), [3, 4], [4, 9, 14, 19, 24, 29, 34, 39, 44, 49, 54, 59], 3250, Some(52870));
    case!(x, ([2, 0], [3, -2]), [2, 5], [55, 56, 57, 58, 59, 10, 11, 12, 13, 14], 1410, Some(53240));
    case!(x, (NewAxis, Ellipsis, [1, 2], -2..3), [1, 3, 2, 0], [], 0, Some(71980));
    case!(x, (NewAxis, 0, ..-2, [1, -4]), [1, 2, 2], [1, 1, 6, 6], 55, None);
    case!(x, (NewAxis, .., (0..).step(3), -1), [1, 3, 2], [4, 19, 24, 39, 44, 59], 865, Some(63035));
    case!(x, ((-2..).step(3),), [1, 4, 5], [20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39], 7070, Some(46250));
    case!(x, (1..-1, (1..).step(3), 1), [1, 1], [26], 27, Some(71251));
    case!(x, (1..-1, (-2..).step(3), ..), [1, 1, 5], [30, 31, 32, 33, 34], 505, Some(66185));
    case!(x, ([-3, 0], -3.., &t([[4, 3], [1, 3], [-2, -5]])), [3, 2, 3], [9, 14, 19, 8, 13, 18, 6, 11, 16, 8, 13, 18, 8, 13, 18, 5, 10, 15], 2259, None);
    case!(x, ((1..).step(3), -5..3, -6..5), [1, 3, 5], [20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34], 3640, Some(56720));
    case!(x, (Ellipsis, -5), [3, 4], [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55], 2938, Some(56062));
    case!(x, (-2.., (..).step(3), NewAxis), [2, 2, 1, 5], [20, 21, 22, 23, 24, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 55, 56, 57, 58, 59], 9920, Some(26900));
    case!(x, ((..).step(3),), [1, 4, 5], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19], 2870, Some(66450));
    case!(x, (Ellipsis, NewAxis, 3, [-5, -1]), [3, 1, 2], [15, 19, 35, 39, 55, 59], 964, Some(60956));
    case!(x, (0, ..), [4, 5], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19], 2870, Some(66450));
    case!(x, (-3,), [4, 5], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19], 2870, Some(66450));
    case!(x, ([-3, -2], (-2..).step(2)), [2, 1, 5], [10, 11, 12, 13, 14, 30, 31, 32, 33, 34], 1535, Some(64365));
    case!(x, (&t([[2, -3], [2, 2], [1, 0]]), 1, (..).step(2)), [3, 2, 3], [45, 47, 49, 5, 7, 9, 45, 47, 49, 45, 47, 49, 25, 27, 29, 5, 7, 9], 4752, None);
    case!(x, (.., [1, 2], 1), [3, 2], [6, 11, 26, 31, 46, 51], 787, Some(64511));
    case!(x, (1..4, (0..).step(3), [-3, -3]), [2, 2, 2], [22, 22, 37, 37, 42, 42, 57, 57], 1678, None);
    case!(x, ((0..).step(3),), [1, 4, 5], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19], 2870, Some(66450));
    case!(x, ((0..).step(3), NewAxis), [1, 1, 4, 5], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19], 2870, Some(66450));
    case!(x, (-2..-1, 0, &t([[1, -2], [-3, 4], [0, -2]])), [1, 3, 2], [21, 23, 22, 24, 20, 23], 488, None);
    case!(x, ([2, 0], 1..3), [2, 2, 5], [45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], 4570, Some(41250));
    case!(x, (0, 3, -4..3), [2], [16, 17], 53, Some(71349));
    case!(x, (NewAxis, -1..-2, -2..-4, 2..4), [1, 0, 0, 2], [], 0, Some(71980));
    case!(x, (Ellipsis, 0, ..-2, NewAxis), [3, 3, 1], [0, 1, 2, 20, 21, 22, 40, 41, 42], 1356, Some(64060));
    case!(x, (-1, .., [1, 2]), [4, 2], [41, 42, 46, 47, 51, 52, 56, 57], 1902, Some(50226));
    case!(x, (Ellipsis, 1), [3, 4], [1, 6, 11, 16, 21, 26, 31, 36, 41, 46, 51, 56], 3016, Some(55300));
    case!(x, (&t([[-1, 2], [2, 2], [2, -1]]), 1, (-2..).step(2)), [3, 2, 1], [48, 48, 48, 48, 48, 48], 1029, None);
    case!(x, (Ellipsis, (-2..).step(3), 4), [3, 1], [14, 34, 54], 250, Some(67360));
    case!(x, (&t([[-3, 1], [-1, 2], [-2, -2]]), &t([[-3, -4], [-4, 1], [-1, -3]]), &t([[3, -5], [0, 0], [0, 0]])), [3, 2], [8, 20, 40, 45, 35, 25], 694, Some(65174));
    case!(x, (2, NewAxis, 1, -6..6), [1, 5], [45, 46, 47, 48, 49], 730, Some(59960));
    case!(x, (.., -4), [3, 5], [0, 1, 2, 3, 4, 20, 21, 22, 23, 24, 40, 41, 42, 43, 44], 3790, Some(56570));
    case!(x, ([-2, -3], -2..-1), [2, 1, 5], [30, 31, 32, 33, 34, 10, 11, 12, 13, 14], 1035, Some(64865));
    case!(x, (-2,), [4, 5], [20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39], 7070, Some(46250));
}

#[test]
#[rustfmt::skip]
fn negative_steps_as_numpy_does() {
    let x = x();
    case!(x, ((..).step(-1), 0, 0), [3], [40, 20, 0], 86, Some(69834));
    case!(x, (1, (2..).step(-1), (..).step(-2)), [3, 3], [34, 32, 30, 29, 27, 25, 24, 22, 20], 1158, Some(63844));
    case!(x, (.., (-1..1).step(-1), 3), [3, 2], [18, 13, 38, 33, 58, 53], 919, Some(61649));
    case!(x, (0, (9..-9).step(-3), (..1).step(-1)), [2, 3], [19, 18, 17, 4, 3, 2], 170, Some(70744));
    case!(x, (-1, (0..).step(-1), (3..).step(-2)), [1, 2], [43, 41], 128, Some(68238));
    case!(x, ((1..2).step(-1), 0), [0, 5], [], 0, Some(71980));
    case!(x, (0, [3, 1], (..).step(-3)), [2, 2], [19, 16, 9, 6], 112, Some(71084));
}

#[test]
fn masks() {
    let x = x();
    let odd = x.remainder(2).eq(1);
    assert_eq!(x.i(&odd).to_vec::<i64>(), (0..60).filter(|n| n % 2 == 1).collect::<Vec<_>>());
    let rows = t([[true, false, false, false], [false; 4], [false, true, false, true]]);
    assert_eq!(x.i((&rows, ..2)).to_vec::<i64>(), [0, 1, 45, 46, 55, 56]);
    assert_eq!(x.i((0, &t([false, true, false, true]), 0)).to_vec::<i64>(), [5, 15]);
    // A mask and a list pick in pairs.
    assert_eq!(x.i((&rows, [0, 1, 2])).to_vec::<i64>(), [0, 46, 57]);
    assert_eq!(x.i(t(true)).shape(), [1, 3, 4, 5]);
    assert_eq!(x.i(t(false)).shape(), [0, 3, 4, 5]);
    assert_eq!(x.i(odd.logical_and(&x.lt(0))).shape(), [0]);

    let y = x.i_set(&odd, 0);
    assert_eq!(y.to_vec::<i64>(), (0..60).map(|n| if n % 2 == 1 { 0 } else { n }).collect::<Vec<_>>());
    let z = x.i_set((&rows, 0), t([-1, -2, -3]));
    assert_eq!((z.i((0, 0, 0)).item(), z.i((2, 1, 0)).item(), z.i((2, 3, 0)).item()), (-1.0, -2.0, -3.0));
    assert_eq!(z.eq(&x).logical_not().sum().item(), 3.0);

    let leaf = x.to_dtype(DType::F32).requires_grad_();
    leaf.i(&odd).sum().backward();
    assert_eq!(leaf.grad().unwrap().to_vec::<f32>(), odd.to_dtype(DType::F32).to_vec::<f32>());
}

#[test]
fn every_kind_of_entry() {
    let x = Tensor::arange(0, 10, 1);
    let list = |picked: &Tensor| picked.to_vec::<i64>();
    assert_eq!(list(&x.i(3_usize)), [3]);
    assert_eq!(list(&x.i(-3_isize)), [7]);
    assert_eq!(list(&x.i(2_i64..=4)), [2, 3, 4]);
    assert_eq!(list(&x.i(..=-8)), [0, 1, 2]);
    assert_eq!(list(&x.i(8_usize..)), [8, 9]);
    assert_eq!(list(&x.i((5..=1).step(-2))), [5, 3, 1]);
    assert_eq!(list(&x.i(Slice::new(Some(-1), None, -4))), [9, 5, 1]);
    assert_eq!(list(&x.i(vec![4_i64, -1])), [4, 9]);
    assert_eq!(list(&x.i(&[4_usize, 1][..])), [4, 1]);
    assert_eq!(list(&x.i(t([1, 2]).to_dtype(DType::U8))), [1, 2]);
    assert_eq!(x.i(t(4)).shape(), [0_usize; 0]);
    assert_eq!(list(&x.i(vec![Index::Slice((7..).into()), Index::NewAxis])), [7, 8, 9]);
    assert_eq!(x.i(()).shape(), [10]);
    assert_eq!(x.i((NewAxis, Ellipsis, NewAxis)).shape(), [1, 10, 1]);
    let scalar = t(5);
    assert_eq!(scalar.i(()).item(), 5.0);
    assert_eq!(scalar.i((Ellipsis, NewAxis)).shape(), [1]);
    assert_eq!(scalar.i_set((), 7).item(), 7.0);
    assert_eq!(Tensor::zeros([0, 3]).i((.., 1)).shape(), [0]);
    assert_eq!(Tensor::zeros([2, 3]).i((Vec::<i64>::new(), 1)).shape(), [0]);
}

#[test]
fn numbers_at_the_ends_of_their_types() {
    let x = Tensor::arange(0, 4, 1);
    assert_eq!(x.i(isize::MIN..isize::MAX).to_vec::<i64>(), [0, 1, 2, 3]);
    assert_eq!(x.i((isize::MAX..=isize::MIN).step(-1)).to_vec::<i64>(), [3, 2, 1, 0]);
    assert_eq!(x.i((..).step(isize::MAX)).to_vec::<i64>(), [0]);
    assert_eq!(x.i((..).step(isize::MIN)).to_vec::<i64>(), [3]);
    assert_eq!(x.i(usize::MAX..).to_vec::<i64>(), [0_i64; 0]);
    let error = attempt(|| x.i(usize::MAX)).unwrap_err().to_string();
    assert!(error.starts_with("i: expected an index from -4 to 3 for axis 0 of size 4, got "), "{error}");
}

#[test]
fn values_are_converted_and_broadcast() {
    let x = Tensor::zeros([2, 3]).to_dtype(DType::I64);
    assert_eq!(x.i_set(0, 2.9).to_vec::<i64>(), [2, 2, 2, 0, 0, 0]);
    assert_eq!(x.i_set((.., [2, 0]), Tensor::from([[1.5_f64], [2.5]])).to_vec::<i64>(), [1, 0, 1, 2, 0, 2]);
    // Spare leading axes of size 1 go.
    assert_eq!(x.i_set((1, ..2), t([[[7, 8]]])).to_vec::<i64>(), [0, 0, 0, 7, 8, 0]);
    let narrow = Tensor::from([[1.0_f64, 2.0, 3.0]]).requires_grad_();
    let leaf = Tensor::zeros([2, 3]).requires_grad_();
    let y = leaf.i_set((.., ..), &narrow);
    assert_eq!(y.dtype(), DType::F32);
    y.sum().backward();
    assert_eq!(narrow.grad().unwrap().to_vec::<f64>(), [2.0, 2.0, 2.0]);
    assert_eq!(leaf.grad().unwrap().to_vec::<f32>(), [0.0; 6]);
}

#[test]
fn in_place() {
    let x = Tensor::zeros([3]);
    let (same, before) = (x.clone(), &x + 0);
    x.i_set_(1.., Tensor::from([1.0_f32, 2.0])).i_set_(-1, 9);
    assert_eq!(same.to_vec::<f32>(), [0.0, 1.0, 9.0]);
    assert_eq!(before.to_vec::<f32>(), [0.0; 3]);

    let leaf = Tensor::ones([3]).requires_grad_();
    let y = leaf.square().sum();
    let error = attempt(|| leaf.i_set_(0, 5).clone()).unwrap_err().to_string();
    assert_eq!(
        error,
        "i_set_: expected a leaf outside of recording, got a leaf that requires a gradient; hint: wrap the update in \
         no_grad(|| …)"
    );
    no_grad(|| drop(leaf.i_set_(0, 5).clone()));
    // The product rule needs the value that was squared, and still has it.
    y.backward();
    assert_eq!(leaf.grad().unwrap().to_vec::<f32>(), [2.0; 3]);
    assert_eq!(leaf.to_vec::<f32>(), [5.0, 1.0, 1.0]);

    let error = attempt(|| x.i_set_(0, leaf.i(0)).clone()).unwrap_err().to_string();
    assert_eq!(
        error,
        "i_set_: expected values outside of the graph, got values that require a gradient; hint: use the operation without \
         the underscore, or wrap the update in no_grad(|| …)"
    );
}

/// Slices add their gradients to one tensor, in place where nobody else sees it: what others were given stays as it is.
#[test]
fn slices_share_a_gradient() {
    use autograd::{GradOptions, grad};
    let (x, u) = (
        Tensor::arange(0, 24, 1).to_dtype(DType::F64).requires_grad_(),
        Tensor::zeros([4, 6]).to_dtype(DType::F64).requires_grad_(),
    );
    let w = Tensor::arange(1, 25, 1).to_dtype(DType::F64).reshape([4, 6]);
    let gradients = |options: GradOptions, later: bool| {
        let y = x.reshape([4, 6]) * 1;
        let slices = (y.i(1) * 3).sum() + (y.i((.., 2)) * 5).sum() + (y.i((1..3, 1..5)).i(0) * 7).sum();
        // Both operands of this sum get the same tensor, before or after the slices give theirs.
        let both = ((&y + &u) * &w).sum();
        let total = if later { slices * 1 * 1 * 1 * 1 * 1 + both } else { slices + both * 1 * 1 * 1 * 1 * 1 };
        grad(&[&total], &[&x, &u, &y], &[], options).into_iter().map(|g| g.unwrap().flatten()).collect::<Vec<_>>()
    };
    for later in [false, true] {
        let [a, b] =
            [GradOptions::default(), GradOptions::default().create_graph()].map(|options| gradients(options, later));
        for (a, b) in a.iter().zip(&b) {
            assert_eq!(a.to_vec::<f64>(), b.to_vec::<f64>());
        }
        assert_eq!(a[1].to_vec::<f64>(), w.flatten().to_vec::<f64>());
        assert_eq!(a[0].i(8).item(), 9.0 + 3.0 + 5.0 + 7.0);
    }
}

#[test]
fn second_derivatives() {
    use autograd::{GradOptions, grad};
    let x = Tensor::from([1.0_f64, 2.0, 3.0]).requires_grad_();
    // y = x₂² x₀ · 3 + x₁³ …: through a list with a repeated place, a mask and an assignment.
    let y =
        (x.i([2, 2, 0]).prod() * 3 + x.i(t([false, true, false])).powi(3).sum() + x.i_set(0, 0).powi(2).sum()).sum();
    let first = grad(&[&y], &[&x], &[], GradOptions::default().create_graph()).remove(0).unwrap();
    assert_eq!(first.to_vec::<f64>(), [27.0, 12.0 + 4.0, 18.0 + 6.0]);
    let second = grad(&[&first.i(2)], &[&x], &[], GradOptions::default()).remove(0).unwrap();
    assert_eq!(second.to_vec::<f64>(), [18.0, 0.0, 6.0 + 2.0]);
}

#[test]
fn misuse() {
    let x = Tensor::zeros([2, 3]);
    let sentence = |f: &dyn Fn() -> Tensor| attempt(f).unwrap_err().to_string();
    assert_eq!(sentence(&|| x.i((0, 0, 0))), "i: expected at most 2 indices for shape [2, 3], got 3");
    assert_eq!(sentence(&|| x.i((0, 5))), "i: expected an index from -3 to 2 for axis 1 of size 3, got 5");
    assert_eq!(sentence(&|| x.i((NewAxis, 0, -4))), "i: expected an index from -3 to 2 for axis 1 of size 3, got -4");
    assert_eq!(sentence(&|| x.i((.., [0, 3]))), "i: expected an index from -3 to 2 for axis 1 of size 3, got 3");
    assert_eq!(sentence(&|| Tensor::zeros([0]).i([0])), "i: expected no index for axis 0 of size 0, got 0");
    assert_eq!(sentence(&|| x.i((.., (..).step(0)))), "i: expected a step other than 0, got step 0 along axis 1");
    assert_eq!(sentence(&|| x.i((Ellipsis, Ellipsis))), "i: expected one Ellipsis at most, got several");
    assert_eq!(sentence(&|| x.i(t([true, false, true]))), "i: expected a mask of shape [2] for axis 0, got [3]");
    assert_eq!(
        sentence(&|| x.i(t([[true, false, true]]))),
        "i: expected a mask of shape [2, 3] for axes 0 to 1, got [1, 3]"
    );
    assert_eq!(
        sentence(&|| x.i(([0, 1], [0, 1, 2]))),
        "i: expected index tensors whose shapes broadcast, got [2] and [3]"
    );
    assert_eq!(
        sentence(&|| x.i(Tensor::zeros([1]))),
        "i: expected an index of an integer dtype (u8, i8, i16, i32, i64), got f32"
    );
    assert_eq!(
        sentence(&|| x.i_set((.., ..2), Tensor::zeros([3]))),
        "i_set: expected values that broadcast to shape [2, 2], got [3]"
    );
    assert_eq!(sentence(&|| x.i_add((0, 0, 0), 1)), "i_add: expected at most 2 indices for shape [2, 3], got 3");
}
