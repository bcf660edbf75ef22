//! Activations written with other operations. At their kinks they have PyTorch's gradients, which the docs name.

use super::{binary, try_binary};
use crate::misuse::ok;
use crate::operand::Operand;
use crate::tensor::Tensor;
use tensor_core::op::BinaryOp;
use tensor_core::{Backend, Error, Result};

/// SELU's constants, from fixed points of the mean and variance under it: Klambauer et al., "Self-Normalizing Neural
/// Networks", 2017.
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

impl<B: Backend> Tensor<B> {
    /// An activation is a float's business; its name stands in the error.
    pub(crate) fn expect_float(&self, op: &'static str) -> Result<()> {
        if self.dtype().is_float() {
            return Ok(());
        }
        Err(Error::dtype(op, "a float dtype (f16, bf16, f32, f64)", self.dtype().name())
            .hint("convert it first: .to(DType::F32)"))
    }

    /// `x` up to 6 above 0, else 0. Gradient: 0 at 0 and 6.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([-1.0_f32, 3.0, 9.0]).relu6().to_vec::<f32>(), [0.0, 3.0, 6.0]);
    /// ```
    ///
    /// # Panics
    /// If the dtype is bool.
    #[track_caller]
    #[must_use]
    pub fn relu6(&self) -> Self {
        self.clamp(0, 6)
    }

    /// `x` cut to the range from `low` to `high`. Gradient: 0 at both.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([-3.0_f32, 0.5]).hardtanh(-1.0, 1.0).to_vec::<f32>(), [-1.0, 0.5]);
    /// ```
    ///
    /// # Panics
    /// If the dtype is bool.
    #[track_caller]
    #[must_use]
    pub fn hardtanh(&self, low: f64, high: f64) -> Self {
        self.clamp(low, high)
    }

    /// `x` above 0, else `slope·x`. Gradient: `slope` at 0.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([-2.0_f32, 3.0]).leaky_relu(0.5).to_vec::<f32>(), [-1.0, 3.0]);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn leaky_relu(&self, slope: f64) -> Self {
        ok(self.expect_float("leaky_relu"));
        self.gt(0).where_cond(self, self * slope)
    }

    /// `x` above 0, else `weight·x` with a learnt weight: one for all, or one for each place of axis 1. Gradient: `weight`
    /// at 0.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[-2.0_f32, -2.0]]);
    /// assert_eq!(x.prelu(&Tensor::from([0.5_f32, 0.25])).to_vec::<f32>(), [-1.0, -0.5]);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float, or the weight has neither one element nor one for each place of axis 1.
    #[track_caller]
    #[must_use]
    pub fn prelu(&self, weight: &Self) -> Self {
        ok(self.expect_float("prelu"));
        let channels = self.shape().get(1).copied().unwrap_or(1);
        if weight.numel() != 1 && (weight.rank() != 1 || weight.numel() != channels) {
            let expected = format!("a weight of 1 element or {channels}, the size of axis 1");
            ok::<()>(Err(Error::shape("prelu", expected, format!("shape {:?}", weight.shape()))));
        }
        let mut dims = vec![1; self.rank()];
        if let Some(size) = dims.get_mut(1) {
            *size = weight.numel() as isize;
        }
        self.gt(0).where_cond(self, self * weight.reshape(dims))
    }

    /// `x` where it is above 0, and 0 elsewhere without a gradient there: keeps `exp` of large numbers out of branches.
    #[track_caller]
    fn non_positive_part(&self) -> Self {
        self.masked_fill(&self.gt(0), 0)
    }

    /// `x` above 0, else `alpha·(eˣ − 1)`. Gradient: `alpha` at 0.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert!((Tensor::scalar(-1.0).elu(1.0).item() + 0.6321).abs() < 1e-4);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn elu(&self, alpha: f64) -> Self {
        ok(self.expect_float("elu"));
        self.gt(0).where_cond(self, self.non_positive_part().expm1() * alpha)
    }

    /// `x` above 0, else `alpha·(eˣᐟᵃˡᵖʰᵃ − 1)`. Gradient: 1 at 0.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert!((Tensor::scalar(-1.0).celu(2.0).item() + 0.7869).abs() < 1e-4);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn celu(&self, alpha: f64) -> Self {
        ok(self.expect_float("celu"));
        self.gt(0).where_cond(self, (self.non_positive_part() / alpha).expm1() * alpha)
    }

    /// [`elu`](Self::elu) with the constants that keep mean 0 and variance 1 from layer to layer.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert!((Tensor::scalar(1.0).selu().item() - 1.0507).abs() < 1e-4);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn selu(&self) -> Self {
        ok(self.expect_float("selu"));
        self.elu(SELU_ALPHA) * SELU_SCALE
    }

    /// `x·tanh(softplus(x))`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert!((Tensor::scalar(1.0).mish().item() - 0.8651).abs() < 1e-4);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn mish(&self) -> Self {
        ok(self.expect_float("mish"));
        self * self.softplus().tanh()
    }

    /// `x / (1 + |x|)`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::scalar(-1.0).softsign().item(), -0.5);
    /// ```
    ///
    /// # Panics
    /// If the dtype is bool.
    #[track_caller]
    #[must_use]
    pub fn softsign(&self) -> Self {
        self / (self.abs() + 1)
    }

    /// `x − tanh(x)`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert!((Tensor::scalar(1.0).tanhshrink().item() - 0.2384).abs() < 1e-4);
    /// ```
    ///
    /// # Panics
    /// If the dtype is bool.
    #[track_caller]
    #[must_use]
    pub fn tanhshrink(&self) -> Self {
        self - self.tanh()
    }

    /// `x` moved towards 0 by `lambda`, and 0 within it. Gradient: 0 at `±lambda`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([-2.0_f32, 0.25]).softshrink(0.5).to_vec::<f32>(), [-1.5, 0.0]);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float, or `lambda` is below 0.
    #[track_caller]
    #[must_use]
    pub fn softshrink(&self, lambda: f64) -> Self {
        ok(self.expect_float("softshrink"));
        if lambda.is_nan() || lambda < 0.0 {
            ok::<()>(Err(Error::value("softshrink", "lambda of at least 0", lambda.to_string())));
        }
        self.abs().le(lambda).where_cond(0.0, self - self.sign() * lambda)
    }

    /// `x`, but 0 from `−lambda` to `lambda`. Gradient: 0 at both.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([-2.0_f32, 0.25]).hardshrink(0.5).to_vec::<f32>(), [-2.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn hardshrink(&self, lambda: f64) -> Self {
        ok(self.expect_float("hardshrink"));
        self.abs().le(lambda).where_cond(0.0, self)
    }

    /// `x` above a threshold, else `value`. Gradient: 0 at the threshold.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([1.0_f32, 3.0]).threshold(2.0, -1.0).to_vec::<f32>(), [-1.0, 3.0]);
    /// ```
    ///
    /// # Panics
    /// If the dtype is bool.
    #[track_caller]
    #[must_use]
    pub fn threshold(&self, threshold: f64, value: f64) -> Self {
        self.masked_fill(&self.le(threshold), value)
    }

    /// 0 below −3, 1 above 3, the line between. Gradient: 0 at both ends.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([-4.0_f32, 0.0]).hardsigmoid().to_vec::<f32>(), [0.0, 0.5]);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn hardsigmoid(&self) -> Self {
        ok(self.expect_float("hardsigmoid"));
        (self + 3).clamp(0, 6) / 6
    }

    /// `x·hardsigmoid(x)`. Gradient: 0 at −3, 1 at 3.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([-4.0_f32, 3.0]).hardswish().to_vec::<f32>(), [0.0, 3.0]);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn hardswish(&self) -> Self {
        ok(self.expect_float("hardswish"));
        self * (self + 3).clamp(0, 6) / 6
    }

    /// `ln sigmoid(x)`, exact in both tails.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::scalar(-1000.0).logsigmoid().item(), -1000.0);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn logsigmoid(&self) -> Self {
        ok(self.expect_float("logsigmoid"));
        self.minimum(0) - (-self.abs()).exp().log1p()
    }

    /// The first half along an axis times the sigmoid of the second.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([4.0_f32, 0.0]).glu(0).to_vec::<f32>(), [2.0]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist or has an odd size, or the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn glu(&self, axis: isize) -> Self {
        ok(self.expect_float("glu"));
        let at = ok(self.checked_shape().axis(axis, "glu"));
        let size = self.shape().get(at).copied().unwrap_or(1);
        if size % 2 == 1 {
            ok::<()>(Err(Error::shape("glu", format!("an even size along axis {at}"), format!("{size}"))));
        }
        self.narrow(axis, 0, size / 2) * self.narrow(axis, size / 2, size / 2).sigmoid()
    }

    /// [`softmax`](Self::softmax) of `−x`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let y = Tensor::from([0.0_f32, 1.0]).softmin(0).to_vec::<f32>();
    /// assert!(y[0] > y[1]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist, or the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn softmin(&self, axis: isize) -> Self {
        ok(self.expect_float("softmin"));
        (-self).softmax(axis)
    }

    /// `ln(eˣ + eʸ)` without overflow.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::scalar(1000.0);
    /// assert!((x.logaddexp(&x).item() - 1000.6931).abs() < 1e-3);
    /// ```
    ///
    /// # Panics
    /// If shapes do not broadcast, a dtype is no float, or devices differ.
    #[track_caller]
    #[must_use]
    pub fn logaddexp(&self, other: &Self) -> Self {
        ok(self.expect_float("logaddexp"));
        let largest = try_binary(BinaryOp::Maximum, Operand::Ref(self), Operand::Ref(other));
        // The shift changes nothing mathematically, so it needs no gradient. An infinite one is not subtracted.
        let top = ok(largest.map_err(|error| error.named("logaddexp"))).detach();
        let top = top.masked_fill(&top.isfinite().logical_not(), 0);
        ((self - &top).exp() + (other - &top).exp()).log() + top
    }

    /// The larger of both; where one is NaN, the other. Gradient: half each where both are equal.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([1.0_f32, f32::NAN]);
    /// assert_eq!(x.fmax(&Tensor::from([2.0_f32, 3.0])).to_vec::<f32>(), [2.0, 3.0]);
    /// ```
    ///
    /// # Panics
    /// If shapes do not broadcast, or devices differ.
    #[track_caller]
    #[must_use]
    pub fn fmax(&self, other: &Self) -> Self {
        self.ignoring_nan(other, BinaryOp::Maximum, "fmax")
    }

    /// The smaller of both; where one is NaN, the other. Gradient: half each where both are equal.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([1.0_f32, f32::NAN]);
    /// assert_eq!(x.fmin(&Tensor::from([2.0_f32, 3.0])).to_vec::<f32>(), [1.0, 3.0]);
    /// ```
    ///
    /// # Panics
    /// If shapes do not broadcast, or devices differ.
    #[track_caller]
    #[must_use]
    pub fn fmin(&self, other: &Self) -> Self {
        self.ignoring_nan(other, BinaryOp::Minimum, "fmin")
    }

    #[track_caller]
    fn ignoring_nan(&self, other: &Self, op: BinaryOp, name: &'static str) -> Self {
        ok(self.checked_shape().broadcast(&other.checked_shape(), name));
        let left = self.isnan().where_cond(other, self);
        let right = other.isnan().where_cond(self, other);
        binary(op, Operand::Own(left), Operand::Own(right))
    }

    /// NaN, +∞ and −∞ replaced; `None` for an infinity means the largest or lowest number of the dtype. Gradient: 0 there.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([f32::NAN, f32::INFINITY, 2.0]);
    /// assert_eq!(x.nan_to_num(0.0, Some(9.0), None).to_vec::<f32>(), [0.0, 9.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// If the device fails.
    #[track_caller]
    #[must_use]
    pub fn nan_to_num(&self, nan: f64, posinf: Option<f64>, neginf: Option<f64>) -> Self {
        use tensor_core::{DType, bf16, f16};
        let largest = match self.dtype() {
            DType::F16 => f16::MAX.to_f64(),
            DType::BF16 => bf16::MAX.to_f64(),
            DType::F32 => f64::from(f32::MAX),
            DType::F64 => f64::MAX,
            DType::Bool | DType::U8 | DType::I8 | DType::I16 | DType::I32 | DType::I64 => return self.clone(),
        };
        self.masked_fill(&self.isnan(), nan)
            .masked_fill(&self.eq(f64::INFINITY), posinf.unwrap_or(largest))
            .masked_fill(&self.eq(f64::NEG_INFINITY), neginf.unwrap_or(-largest))
    }

    /// `sin(πx) / (πx)`, 1 at 0. Gradient: 0 at 0.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert!((Tensor::scalar(0.5).sinc().item() - 0.6366).abs() < 1e-4);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn sinc(&self) -> Self {
        ok(self.expect_float("sinc"));
        let zero = self.eq(0);
        let angle = self.masked_fill(&zero, 1) * std::f64::consts::PI;
        (angle.sin() / angle).masked_fill(&zero, 1)
    }

    /// `ln(x / (1 − x))`, the inverse of [`sigmoid`](Self::sigmoid).
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert!((Tensor::scalar(0.7311).logit().item() - 1.0).abs() < 1e-3);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn logit(&self) -> Self {
        ok(self.expect_float("logit"));
        (self / (1 - self)).log()
    }

    /// Degrees from radians.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert!((Tensor::scalar(std::f64::consts::PI).rad2deg().item() - 180.0).abs() < 1e-4);
    /// ```
    ///
    /// # Panics
    /// If the device fails.
    #[track_caller]
    #[must_use]
    pub fn rad2deg(&self) -> Self {
        self * (180.0 / std::f64::consts::PI)
    }

    /// Radians from degrees.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert!((Tensor::scalar(180.0).deg2rad().item() - std::f64::consts::PI).abs() < 1e-6);
    /// ```
    ///
    /// # Panics
    /// If the device fails.
    #[track_caller]
    #[must_use]
    pub fn deg2rad(&self) -> Self {
        self * (std::f64::consts::PI / 180.0)
    }
}
