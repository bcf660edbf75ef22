//! What layers of networks are made of.

use crate::misuse::ok;
use crate::operand::Operand;
use crate::primitive::{Primitive, apply, apply1};
use crate::tensor::Tensor;
use tensor_core::{Backend, Error, Result, Shape};

impl<B: Backend> Tensor<B> {
    /// `x·weightᵀ + bias`: from shape `[…, in]` with a weight of shape `[out, in]` to `[…, out]`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let weight = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    /// let y = Tensor::from([1.0_f32, 1.0]).linear(&weight, Some(&Tensor::ones([3])));
    /// assert_eq!(y.to_vec::<f32>(), [4.0, 8.0, 12.0]);
    /// ```
    ///
    /// # Panics
    /// If sizes do not fit, or dtypes or devices differ.
    #[track_caller]
    #[must_use]
    pub fn linear(&self, weight: &Self, bias: Option<&Self>) -> Self {
        let (depth, sides) = (self.with_array(|x| x.dims().last().copied()), weight.checked_shape());
        if sides.rank() != 2 || depth != sides.dims().last().copied() {
            let expected = format!("a weight of shape [out, {}]", self.shape().last().map_or(0, |&size| size));
            ok::<()>(Err(Error::shape("linear", expected, format!("{:?}", weight.shape()))));
        }
        let run =
            |operands: &[Operand<'_, B>]| ok(apply(Primitive::Linear, operands).map_err(|error| error.named("linear")));
        let Some(bias) = bias else { return run(&[Operand::Ref(self), Operand::Ref(weight)]) };
        let (fits, dtype) = bias.with_array(|bias| (bias.dims() == &sides.dims()[..1], bias.dtype()));
        if !fits {
            let got = format!("{:?}", bias.shape());
            ok::<()>(Err(Error::shape("linear", format!("a bias of shape [{}]", weight.size(0)), got)));
        }
        if dtype != weight.dtype() {
            return run(&[Operand::Ref(self), Operand::Ref(weight)]) + bias;
        }
        run(&[Operand::Ref(self), Operand::Ref(weight), Operand::Ref(bias)])
    }

    /// The rows of a table at these places: from shape `[…]` of integers with a weight of shape `[count, size]` to
    /// `[…, size]`. Gradient: to the rows, each the sum over the places that name it.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let table = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// let rows = Tensor::from([1_i64, 1, 0]).embedding(&table);
    /// assert_eq!(rows.to_vec::<f32>(), [3.0, 4.0, 3.0, 4.0, 1.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// If the weight is no matrix, this dtype no integer, or there is no such row.
    #[track_caller]
    #[must_use]
    pub fn embedding(&self, weight: &Self) -> Self {
        if weight.rank() != 2 {
            ok::<()>(Err(Error::shape(
                "embedding",
                "a weight of shape [count, size]",
                format!("{:?}", weight.shape()),
            )));
        }
        let rows = weight.try_index_select(0, &self.flatten());
        let rows = ok(rows.map_err(|error| error.named("embedding")));
        let mut shape = self.shape();
        shape.push(weight.size(1));
        rows.reshape_to(&ok(Shape::new(&shape)))
    }

    /// The axes that a norm's shape names, which must be the last ones.
    fn trailing_axes(&self, shape: &[usize], op: &'static str) -> Result<Vec<isize>> {
        self.expect_float(op)?;
        let own = self.shape();
        if shape.is_empty() || !own.ends_with(shape) {
            return Err(Error::shape(op, format!("a tensor whose shape ends with {shape:?}"), format!("{own:?}"))
                .hint("the shape of a norm names the last axes, and at least one"));
        }
        Ok((1..=shape.len() as isize).map(|back| -back).collect())
    }

    fn try_normalize(&self, shape: &[usize], centred: bool, eps: f64, op: &'static str) -> Result<Self> {
        let axes = self.trailing_axes(shape, op)?;
        apply1(Primitive::Normalize(Box::new(self.reduction(&axes, true, op)?), centred, eps), self)
    }

    /// Scale and shift of a norm.
    #[track_caller]
    fn affine(self, shape: &[usize], weight: Option<&Self>, bias: Option<&Self>, op: &'static str) -> Self {
        for part in [weight, bias].into_iter().flatten() {
            if part.shape() != shape {
                let got = format!("{:?}", part.shape());
                ok::<()>(Err(Error::shape(op, format!("a weight and bias of shape {shape:?}"), got)));
            }
        }
        let scaled = weight.map_or_else(|| self.clone(), |weight| &self * weight);
        bias.map_or_else(|| scaled.clone(), |bias| &scaled + bias)
    }

    /// Mean 0 and variance 1 over the last axes, whose sizes are given: `(x − mean) / √(variance + eps)`, then scaled and
    /// shifted. f16 and bf16 are computed in f32.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let y = Tensor::from([[1.0_f32, 3.0]]).layer_norm(&[2], None, None, 0.0);
    /// assert_eq!(y.to_vec::<f32>(), [-1.0, 1.0]);
    /// ```
    ///
    /// # Panics
    /// If the tensor's shape does not end with `shape`, the weight or bias has another one, or the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn layer_norm(&self, shape: &[usize], weight: Option<&Self>, bias: Option<&Self>, eps: f64) -> Self {
        ok(self.try_normalize(shape, true, eps, "layer_norm")).affine(shape, weight, bias, "layer_norm")
    }

    /// `x / √(mean of x² + eps)` over the last axes, whose sizes are given, then scaled. f16 and bf16 are computed in f32.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let y = Tensor::from([[3.0_f32, 3.0]]).rms_norm(&[2], None, 0.0);
    /// assert_eq!(y.to_vec::<f32>(), [1.0, 1.0]);
    /// ```
    ///
    /// # Panics
    /// If the tensor's shape does not end with `shape`, the weight has another one, or the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn rms_norm(&self, shape: &[usize], weight: Option<&Self>, eps: f64) -> Self {
        ok(self.try_normalize(shape, false, eps, "rms_norm")).affine(shape, weight, None, "rms_norm")
    }

    /// Slices along an axis divided by their p-norm, or by `eps` where that is larger.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let y = Tensor::from([3.0_f32, 4.0]).normalize(2.0, 0, 1e-12);
    /// assert!((y.norm().item() - 1.0).abs() < 1e-6);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist, or the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn normalize(&self, p: f64, axis: isize, eps: f64) -> Self {
        ok(self.expect_float("normalize"));
        ok(self.checked_shape().axis(axis, "normalize"));
        self / self.norm_dims(p, &[axis], true).clamp_min(eps)
    }

    /// The cosine of the angle between slices along an axis; lengths count as at least `eps`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([1.0_f32, 0.0]);
    /// assert_eq!(x.cosine_similarity(&Tensor::from([0.0_f32, 2.0]), 0, 1e-8).item(), 0.0);
    /// ```
    ///
    /// # Panics
    /// If shapes do not broadcast, the axis does not exist, or the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn cosine_similarity(&self, other: &Self, axis: isize, eps: f64) -> Self {
        ok(self.expect_float("cosine_similarity"));
        let shape = ok(self.checked_shape().broadcast(&other.checked_shape(), "cosine_similarity"));
        ok(shape.axis(axis, "cosine_similarity"));
        let (a, b) = (self.expand_to(&shape), other.expand_to(&shape));
        let length = |x: &Self| x.norm_dims(2.0, &[axis], true).clamp_min(eps);
        ((&a / length(&a)) * (&b / length(&b))).sum_dims(&[axis], false)
    }
}
