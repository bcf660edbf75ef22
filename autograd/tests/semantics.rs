//! Dtypes, integers, bools, reductions and special values against PyTorch 2.15: each row was run there, and its printed
//! form recorded, with gradix's names for dtypes. `misuse!` marks what PyTorch refuses too.
//!
//! Where gradix differs on purpose there is a test of its own, at the end.

use autograd::{Nested, attempt};
use backend_cpu::Cpu;

use tensor_core::DType::{self, BF16, Bool, F16, F32, F64, I8, I16, I32, I64, U8};

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

type Tensor = autograd::Tensor<Cpu>;

/// Numbers as a tensor of a dtype.
fn a<N: Nested>(numbers: N, dtype: DType) -> Tensor {
    Tensor::from(numbers).to(dtype)
}

/// One tensor or several, as PyTorch prints them.
trait Printed {
    fn printed(&self) -> String;
}

impl Printed for Tensor {
    fn printed(&self) -> String {
        self.to_string()
    }
}

impl Printed for (Tensor, Tensor) {
    fn printed(&self) -> String {
        format!("{} | {}", self.0, self.1)
    }
}

impl Printed for (Tensor, Tensor, Tensor) {
    fn printed(&self) -> String {
        format!("{} | {} | {}", self.0, self.1, self.2)
    }
}

macro_rules! row {
    ($result:expr => $printed:expr) => {
        assert_eq!($result.printed(), $printed, "{}", stringify!($result));
    };
}

macro_rules! misuse {
    ($wrong:expr) => {
        assert!(attempt(|| $wrong).is_err(), "{} must be refused", stringify!($wrong));
    };
}

/// The dtype of `x + y` for tensors with axes, in PyTorch's table.
#[test]
#[rustfmt::skip]
fn promotion() {
    let table = [
        [Bool, U8, I8, I16, I32, I64, F16, BF16, F32, F64],
        [U8, U8, I16, I16, I32, I64, F16, BF16, F32, F64],
        [I8, I16, I8, I16, I32, I64, F16, BF16, F32, F64],
        [I16, I16, I16, I16, I32, I64, F16, BF16, F32, F64],
        [I32, I32, I32, I32, I32, I64, F16, BF16, F32, F64],
        [I64, I64, I64, I64, I64, I64, F16, BF16, F32, F64],
        [F16, F16, F16, F16, F16, F16, F16, F32, F32, F64],
        [BF16, BF16, BF16, BF16, BF16, BF16, F32, BF16, F32, F64],
        [F32, F32, F32, F32, F32, F32, F32, F32, F32, F64],
        [F64, F64, F64, F64, F64, F64, F64, F64, F64, F64],
    ];
    for (x, row) in DType::ALL.into_iter().zip(table) {
        for (y, expected) in DType::ALL.into_iter().zip(row) {
            let sum = a([1], x) + a([1], y);
            assert_eq!(sum.dtype(), expected, "{x} + {y}");
            assert_eq!(a([1], x).maximum(a([1], y)).dtype(), expected, "maximum of {x} and {y}");
            assert_eq!(Tensor::cat(&[&a([1], x), &a([1], y)], 0).dtype(), expected, "cat of {x} and {y}");
        }
    }
}

#[test]
#[rustfmt::skip]
fn promotion_by_kind() {
    row!(a([1], I32) + a(1.0, F64) => "tensor([2.], dtype=f64)");
    row!(a([1.0], F32) + a(1.0, F64) => "tensor([2.])");
    row!(a([1.0], F16) + a(1.0, F64) => "tensor([2.], dtype=f16)");
    row!(a(1.0, F32) + a(1.0, F64) => "tensor(2., dtype=f64)");
    row!(a([1], U8) + a(300, I64) => "tensor([45], dtype=u8)");
    row!(a([1], I32) + a(300, I64) => "tensor([301], dtype=i32)");
    row!(a([true], Bool) + a(3, I64) => "tensor([4])");
    row!(a([true], Bool) + a(3.0, F16) => "tensor([4.], dtype=f16)");
    row!(a([1], U8) + 1 => "tensor([2], dtype=u8)");
    row!(a([1], U8) + 300 => "tensor([45], dtype=u8)");
    row!(a([1], U8) + -1 => "tensor([0], dtype=u8)");
    row!(a([1], I32) + 1.5 => "tensor([2.5000])");
    row!(a([true], Bool) + 1 => "tensor([2])");
    row!(a([true], Bool)+true => "tensor([True])");
    row!(a([true], Bool) + 1.5 => "tensor([2.5000])");
    row!(a([1.0], F16) * 1e6 => "tensor([inf], dtype=f16)");
    row!(a([1.0], F16) * 2 => "tensor([2.], dtype=f16)");
    row!(a([1.0], F32) + a([1], I64) => "tensor([2.])");
    row!(a([1.0], F16) + a(1.0, F32) => "tensor([2.], dtype=f16)");
    row!(a([1.0], F16) + a([1], I64) => "tensor([2.], dtype=f16)");
    row!(a([1.0], F16) + a([1.0], BF16) => "tensor([2.])");
    row!(a(1, I64) + 1.5 => "tensor(2.5000)");
    row!(a(1.0, F64) + a([1.0], F32) => "tensor([2.])");
    row!(a([true], Bool).where_cond(a([1.0], F32), a(2.0, F64)) => "tensor([1.])");
    row!(a([true], Bool).where_cond(1.0, a([2], I64)) => "tensor([1.])");
    row!(Tensor::cat(&[&a([1.0], F32), &a([2], I64)], 0) => "tensor([1., 2.])");
    row!(Tensor::stack(&[&a([1], I32), &a([2.0], F64)], 0) => "tensor([[1.],\n        [2.]], dtype=f64)");
    row!(a([2], I32).maximum(a([1.0], F32)) => "tensor([2.])");
    row!(a([16777217], I64).eq(a([16777216.0], F32)) => "tensor([True])");
    row!(a([1], U8).lt(-1) => "tensor([True])");
    row!(a([0], U8).eq(256) => "tensor([True])");
    misuse!(a([[1.0]], F32).matmul(&a([[1.0]], F64)));
    row!(a([[1, 1], [1, 1]], I64).matmul(&a([[1, 1], [1, 1]], I64)) => "tensor([[2, 2],\n        [2, 2]])");
    row!(a([[200, 44]], U8).matmul(&a([[1], [2]], U8)) => "tensor([[32]], dtype=u8)");
    misuse!(a([[true]], Bool).matmul(&a([[true]], Bool)));
    row!(a([0, 1], I64).clamp_min(0.5) => "tensor([0.5000, 1.0000])");
    row!(a([2], I64).pow(2.0) => "tensor([4.])");
    row!(a([1], I64).addcmul(&a([2], I64), &a([3], I64), 1.0) => "tensor([7])");
}

#[test]
#[rustfmt::skip]
fn integers_and_bools() {
    row!(a([7], I64) / 2 => "tensor([3.5000])");
    row!(a([7], I32) / a([2], I32) => "tensor([3.5000])");
    row!(a([true], Bool) / a([true], Bool) => "tensor([1.])");
    row!(a([-7], I64).floor_divide(2) => "tensor([-4])");
    row!(a([7], I64).floor_divide(-2) => "tensor([-4])");
    row!(a([-7.0], F32).floor_divide(2) => "tensor([-4.])");
    row!(a([7.0, -7.0, 0.0], F32).floor_divide(0) => "tensor([inf, -inf, nan])");
    row!(a([INF, 2.0, -2.0], F32).floor_divide(a([2.0, INF, INF], F32)) => "tensor([nan,  0., -1.])");
    misuse!(a([7], I64).floor_divide(0));
    row!(a([-7], I64) % 3 => "tensor([2])");
    row!(a([7], I64) % -3 => "tensor([-2])");
    misuse!(a([7], I64) % 0);
    misuse!(a([7], I64).fmod(0));
    row!(a([-7.0], F32) % 3 => "tensor([2.])");
    row!(a([5.0], F32) % -3 => "tensor([-1.])");
    row!(a([5.0, -5.0, 5.0], F32) % a([INF, INF, -INF], F32) => "tensor([5., inf, -inf])");
    row!(a([5.0], F32) % 0 => "tensor([nan])");
    row!(a([-7], I64).fmod(3) => "tensor([-1])");
    row!(a([-7.0], F32).fmod(3) => "tensor([-1.])");
    row!(a([-7], I64).trunc_divide(2) => "tensor([-3])");
    row!(a([6.0], F64).floor_divide(0.1) => "tensor([59.], dtype=f64)");
    row!(a([6.0], F64) % 0.1 => "tensor([0.1000], dtype=f64)");
    row!(a([255], U8) + 1 => "tensor([0], dtype=u8)");
    row!(a([127], I8) + 1 => "tensor([-128], dtype=i8)");
    row!(a([i64::MAX], I64) + 1 => "tensor([-9223372036854775808])");
    row!(-a([-128], I8) => "tensor([-128], dtype=i8)");
    row!(a([-128], I8).abs() => "tensor([-128], dtype=i8)");
    row!(a([-i64::MAX], I64) - 1 => "tensor([-9223372036854775808])");
    row!(a([1], U8) - a([2], U8) => "tensor([255], dtype=u8)");
    row!(-a([1], U8) => "tensor([255], dtype=u8)");
    row!(a([2], I64).powi(63) => "tensor([-9223372036854775808])");
    misuse!(a([2], I64).powi(-1));
    row!(a([0, 1, -1, 2], I64).pow(a([-1, -1, -1, -1], I64)) => "tensor([ 0,  1, -1,  0])");
    row!(a([0], I64).powi(0) => "tensor([1])");
    misuse!(a([true], Bool) - a([true], Bool));
    misuse!(-a([true], Bool));
    row!(!a([true], Bool) => "tensor([False])");
    row!(a([true, false], Bool) + a([true, false], Bool) => "tensor([ True, False])");
    row!(a([true, false], Bool) * a([true, true], Bool) => "tensor([ True, False])");
    row!(a([true, true], Bool).sum() => "tensor(2)");
    misuse!(a([true, true], Bool).mean());
    row!(a([true, true], Bool).cumsum(0) => "tensor([1, 2])");
    row!(a([true, false], Bool).prod() => "tensor(0)");
    row!(a([true, false], Bool).max() => "tensor(True)");
    misuse!(a([true], Bool).abs());
    row!(a([true], Bool).sign() => "tensor([True])");
    row!(a([true], Bool).pow(2) => "tensor([1])");
    misuse!(a([true], Bool).floor_divide(a([true], Bool)));
    row!(a([false], Bool).lt(a([true], Bool)) => "tensor([True])");
    row!(a([true], Bool).exp() => "tensor([2.7183])");
    row!(a([1, 1, 1], I64)<<a([63, 64, -1], I64) => "tensor([-9223372036854775808,                    0,                    0])");
    row!(a([-8, 8, 8], I64)>>a([1, 64, -1], I64) => "tensor([-4,  0,  0])");
    row!(a([1], U8)<<8 => "tensor([0], dtype=u8)");
    row!(!a([5], I64) => "tensor([-6])");
    misuse!(a([1.0], F32)&a([1.0], F32));
    row!(a([1], I64).exp() => "tensor([2.7183])");
    row!(a([4], I64).sqrt() => "tensor([2.])");
    row!((a([4], I64).floor(), a([4], I64).ceil(), a([4], I64).round()) => "tensor([4]) | tensor([4]) | tensor([4])");
    row!(a([4], I64).reciprocal() => "tensor([0.2500])");
    row!(a([0], I64).sigmoid() => "tensor([0.5000])");
    row!(a([3], I64).square() => "tensor([9])");
    row!(a([-1], I64).relu() => "tensor([0])");
    misuse!(a([1], I64).softmax(0));
    row!(a([0.0, -0.0, NAN, 0.5], F32).to(Bool) => "tensor([False, False,  True,  True])");
    row!(a([100000.0], F64).to(F16) => "tensor([inf], dtype=f16)");
    row!(a([16777217], I64).to(F32) => "tensor([16777216.])");
    row!(a([300], I64).to(U8) => "tensor([44], dtype=u8)");
    row!(a([0.5, 1.5, 2.5, -0.5, -1.5], F32).round() => "tensor([ 0.,  2.,  2., -0., -2.])");
    row!(a([-0.5], F32).trunc() => "tensor([-0.])");
    row!(a([NAN, 0.0, 2.0], F32).sign() => "tensor([0., 0., 1.])");
}

#[test]
#[rustfmt::skip]
fn reductions() {
    row!(a([1], I32).sum() => "tensor(1)");
    row!(a([200, 200], U8).sum() => "tensor(400)");
    row!(a([3], I32).prod() => "tensor(3)");
    row!(a([3], I32).cumsum(0) => "tensor([3])");
    row!(Tensor::ones([70000]).to(F16).sum() => "tensor(inf, dtype=f16)");
    row!(Tensor::ones([2049]).to(F16).sum() => "tensor(2048., dtype=f16)");
    row!(Tensor::ones([1000]).to(BF16).sum() => "tensor(1000., dtype=bf16)");
    row!(Tensor::ones([3000]).to(F16).cumsum(0).i(-1) => "tensor(3000., dtype=f16)");
    row!(Tensor::full([70000], 2.0).to(F16).mean() => "tensor(2., dtype=f16)");
    row!(a([60000.0, 60000.0], F16).var() => "tensor(0., dtype=f16)");
    row!(a([100.0, 101.0, 102.0], BF16).var() => "tensor(1., dtype=bf16)");
    row!(a([300.0, 301.0], F16).softmax(0) => "tensor([0.2690, 0.7310], dtype=f16)");
    row!(a([60000.0, 60000.0], F16).norm() => "tensor(inf, dtype=f16)");
    row!(a([0.1, 0.2, 0.3], F16).sum() => "tensor(0.6001, dtype=f16)");
    row!(a([0.1, 0.2, 0.3], BF16).mean() => "tensor(0.2002, dtype=bf16)");
    row!(a([1.0, 2.0, 3.0], F16).std() => "tensor(1., dtype=f16)");
    row!(a([1.0, 2.0, 3.0], F16).logsumexp(&[0], false) => "tensor(3.4082, dtype=f16)");
    row!(a([1.001, 1.001, 1.001], F16).prod() => "tensor(1.0029, dtype=f16)");
    misuse!(a([1], I64).mean());
    misuse!(a([1], I64).var());
    row!(a([0.0, NAN], F32).all() => "tensor(False)");
    row!(Tensor::zeros([0]).sum() => "tensor(0.)");
    row!(Tensor::zeros([0]).prod() => "tensor(1.)");
    row!(Tensor::zeros([0]).mean() => "tensor(nan)");
    misuse!(Tensor::zeros([0]).max());
    misuse!(Tensor::zeros([0]).argmax());
    misuse!(Tensor::zeros([0, 3]).amax(&[0], false));
    row!(Tensor::zeros([0, 3]).amax(&[1], false) => "tensor([])");
    row!(Tensor::zeros([0, 3]).max_dim(1, false).0 => "tensor([])");
    row!(Tensor::zeros([0]).var() => "tensor(nan)");
    row!((Tensor::zeros([0]).all(), Tensor::zeros([0]).any()) => "tensor(True) | tensor(False)");
    row!(Tensor::zeros([0]).logsumexp(&[0], false) => "tensor(-inf)");
    row!(Tensor::zeros([0]).norm() => "tensor(0.)");
    misuse!(Tensor::zeros([0]).norm_dims(f64::INFINITY, &[], false));
    row!(Tensor::zeros([0]).softmax(0) => "tensor([])");
    row!(Tensor::zeros([0]).sort(0, false).0 => "tensor([])");
    row!(Tensor::zeros([0]).sort(0, false).1 => "tensor([], dtype=i64)");
    row!(Tensor::zeros([3, 0]).sum_dims(&[1], false) => "tensor([0., 0., 0.])");
    row!(Tensor::zeros([3, 0]).mean_dims(&[1], false) => "tensor([nan, nan, nan])");
    row!(Tensor::cat(&[&Tensor::zeros([0]), &Tensor::ones([2, 2])], 0) => "tensor([[1., 1.],\n        [1., 1.]])");
    row!(Tensor::zeros([2, 0]).matmul(&Tensor::zeros([0, 3])) => "tensor([[0., 0., 0.],\n        [0., 0., 0.]])");
    row!(Tensor::zeros([0]).topk(0, 0, true).1 => "tensor([], dtype=i64)");
    row!(a([1.0], F32).std() => "tensor(nan)");
    row!(a([1.0], F32).var_dims(&[], 0, false) => "tensor(0.)");
    row!(a([1.0, 2.0], F32).var_dims(&[], 2, false) => "tensor(inf)");
    row!(a([1.0, 2.0], F32).var_dims(&[], 5, false) => "tensor(inf)");
    row!(a(3.0, F32).sum_dims(&[0], false) => "tensor(3.)");
    row!(a(3.0, F32).max_dim(-1, false) => "tensor(3.) | tensor(0)");
    misuse!(a(3.0, F32).sum_dims(&[1], false));
    row!(a(3.0, F32).softmax(0) => "tensor(1.)");
    row!(a(3.0, F32).sort(0, false) => "tensor(3.) | tensor(0)");
    row!(a(3.0, F32).topk(1, 0, true) => "tensor(3.) | tensor(0)");
    row!(a([1.0, NAN, NAN], F32).max() => "tensor(nan)");
    row!(a([1.0, NAN, NAN], F32).argmax() => "tensor(1)");
    row!(a([1.0, NAN, NAN], F32).argmin() => "tensor(1)");
    row!(a([1.0, NAN, NAN], F32).max_dim(0, false) => "tensor(nan) | tensor(1)");
    row!(a([1.0, NAN], F32).maximum(a([NAN, 1.0], F32)) => "tensor([nan, nan])");
    row!(a([NAN], F32).clamp(0, 1) => "tensor([nan])");
    row!(a([0.5], F32).clamp(a(NAN, F32), a(1.0, F32)) => "tensor([nan])");
    row!(a([NAN, -0.0], F32).relu() => "tensor([nan, -0.])");
    row!(a([NAN, 1.0, -INF, INF, NAN], F32).sort(-1, false) => "tensor([-inf, 1., inf, nan, nan]) | tensor([2, 1, 3, 0, 4])");
    row!(a([NAN, 1.0, -INF, INF], F32).sort(-1, true) => "tensor([nan, inf, 1., -inf]) | tensor([0, 3, 1, 2])");
    row!(a([0.0, -0.0], F32).sort(-1, false) => "tensor([0., -0.]) | tensor([0, 1])");
    row!(a([2, 3, 1, 3], I64).argsort(-1, false) => "tensor([2, 0, 1, 3])");
    row!(a([1.0, NAN, 2.0], F32).topk(2, -1, true) => "tensor([nan, 2.]) | tensor([1, 2])");
    row!(a([1, 3, 3], I64).argmax() => "tensor(1)");
    row!(a([3, 1, 1], I64).argmin() => "tensor(1)");
    row!(a([-INF, -INF], F32).logsumexp(&[0], false) => "tensor(-inf)");
    row!(a([0.0, INF], F32).softmax(0) => "tensor([nan, nan])");
    row!(a([-INF, 0.0], F32).log_softmax(0) => "tensor([-inf, 0.])");
    row!(a([10000000.0, 10000016.0], F32).std() => "tensor(11.3137)");
    row!(a([NAN, 2.0], F32).prod() => "tensor(nan)");
    row!(a([NAN, 0.0], F32).count_nonzero() => "tensor(1)");
    row!(a([[1, 0], [0, 2]], I64).nonzero() => "tensor([[0, 0],\n        [1, 1]])");
    row!(a(3.0, F32).nonzero() => "tensor([], size=(1, 0), dtype=i64)");
    row!(Tensor::linspace(0.0, 1.0, 1) => "tensor([0.])");
    row!(Tensor::arange(0, 1, 0.3) => "tensor([0.0000, 0.3000, 0.6000, 0.9000])");
    row!(Tensor::arange(0, 3, 1) => "tensor([0, 1, 2])");
    misuse!(Tensor::arange(0, 3, -1));
    row!(Tensor::full([1], true) => "tensor([True])");
    row!(Tensor::full([1], 2) => "tensor([2])");
    row!(Tensor::full([1], 2.0) => "tensor([2.])");
    row!(a([1.0, 2.0], F32).all() => "tensor(True)");
    row!(a([[1.0, 2.0], [3.0, 4.0]], F32).sum_dims(&[], false) => "tensor(10.)");
    misuse!(a([[1.0, 2.0], [3.0, 4.0]], F32).sum_dims(&[0, 0], false));
    row!(a([3.0, 4.0], F32).norm() => "tensor(5.)");
    row!(a([3.0, -4.0], F32).norm_dims(1.0, &[], false) => "tensor(7.)");
    row!(a([3.0, 0.0], F32).norm_dims(0.0, &[], false) => "tensor(1.)");
    row!(a([3.0, -4.0], F32).norm_dims(3.0, &[], false) => "tensor(4.4979)");
    row!(a([3.0, -4.0], F32).norm_dims(f64::NEG_INFINITY, &[], false) => "tensor(3.)");
}

/// What PyTorch leaves to the processor is defined here: floats out of an integer's range become its nearest end, NaN
/// becomes 0.
#[test]
fn casts_saturate() {
    assert_eq!(a([1.9, -1.9, 3e9, NAN, INF, -INF], I32).to_vec::<i32>(), [1, -1, i32::MAX, 0, i32::MAX, i32::MIN]);
    assert_eq!(a([300.0, -1.0], U8).to_vec::<u8>(), [255, 0]);
    assert_eq!(a([1e30], I64).to_vec::<i64>(), [i64::MAX]);
}

/// `all` and `any` of `u8` are bools like those of every other dtype.
#[test]
fn truth_is_bool() {
    assert_eq!(a([1, 2], U8).all().to_string(), "tensor(True)");
    assert_eq!(a([0, 2], U8).any().to_string(), "tensor(True)");
}

/// Logarithms of softmax keep what bf16 can hold, where PyTorch on the CPU rounds on the way and gives 0.
#[test]
fn log_softmax_of_halves_is_rounded_once() {
    let last = a([0.0, 10.0], BF16).log_softmax(0).i(1);
    assert!((last.item() + 4.54e-5).abs() < 2e-7, "{last}");
}
