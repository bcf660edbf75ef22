//! Along axes: variance, norms, what leaves NaN out, differences.

use crate::misuse::ok;
use crate::primitive::{Primitive, apply1};
use crate::tensor::Tensor;
use tensor_core::{Backend, DType, Error, Result};

impl<B: Backend> Tensor<B> {
    /// The variance of all elements, divided by `n − 1`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([1.0_f32, 2.0, 3.0]).var().item(), 1.0);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn var(&self) -> Self {
        self.var_dims(&[], 1, false)
    }

    /// The variance along axes, divided by `n − correction`; ∞ or NaN where that is not above 0.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.var_dims(&[1], 0, false).to_vec::<f32>(), [0.25, 0.25]);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float, or an axis does not exist or is named twice.
    #[track_caller]
    #[must_use]
    pub fn var_dims(&self, axes: &[isize], correction: usize, keepdim: bool) -> Self {
        ok(self.try_var(axes, correction, keepdim, "var"))
    }

    fn try_var(&self, axes: &[isize], correction: usize, keepdim: bool, op: &'static str) -> Result<Self> {
        self.expect_float(op)?;
        let to = self.reduction(axes, keepdim, op)?;
        let count = to.count();
        if self.numel() > 0 {
            return apply1(Primitive::Variance(Box::new(to), correction), self);
        }
        let dtype = self.dtype();
        let wide = self.try_to_dtype(dtype.compute())?;
        let mean = wide.try_mean(axes, true)?;
        let squares = (wide - mean).square().try_sum(axes, keepdim)?;
        (squares / count.saturating_sub(correction) as f64).try_to_dtype(dtype)
    }

    /// The standard deviation of all elements, with `n − 1`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([1.0_f32, 2.0, 3.0]).std().item(), 1.0);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn std(&self) -> Self {
        self.std_dims(&[], 1, false)
    }

    /// The standard deviation along axes, with `n − correction`. Gradient: 0 where it is 0.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.std_dims(&[1], 0, false).to_vec::<f32>(), [0.5, 0.5]);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float, or an axis does not exist or is named twice.
    #[track_caller]
    #[must_use]
    pub fn std_dims(&self, axes: &[isize], correction: usize, keepdim: bool) -> Self {
        ok(self.try_var(axes, correction, keepdim, "std")).root()
    }

    /// The square root with gradient 0 at 0, for lengths and deviations.
    #[track_caller]
    fn root(&self) -> Self {
        let zero = self.eq(0);
        if !self.requires_grad() || !zero.any().item_scalar().as_bool() {
            return self.sqrt();
        }
        // The root of 1 instead of 0 there, and then the value 0 without a gradient.
        self.masked_fill(&zero, 1).sqrt().masked_fill(&zero, 0)
    }

    /// The Euclidean length of all elements. Gradient: 0 at 0.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([3.0_f32, 4.0]).norm().item(), 5.0);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn norm(&self) -> Self {
        self.norm_dims(2.0, &[], false)
    }

    /// The p-norm along axes: `(Σ|x|ᵖ)^(1/p)`; the largest or smallest |x| for p = ±∞, the number of elements that are not 0
    /// for p = 0. Gradient: 0 at 0.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[3.0_f32, -4.0]]);
    /// assert_eq!(x.norm_dims(1.0, &[1], false).to_vec::<f32>(), [7.0]);
    /// assert_eq!(x.norm_dims(f64::INFINITY, &[], false).item(), 4.0);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float, an axis does not exist or is named twice, or p is ±∞ and there are no elements.
    #[track_caller]
    #[must_use]
    pub fn norm_dims(&self, p: f64, axes: &[isize], keepdim: bool) -> Self {
        ok(self.expect_float("norm"));
        let dtype = self.dtype();
        let x = self.to_dtype(dtype.compute());
        let result = if p == 2.0 {
            x.square().sum_dims(axes, keepdim).root()
        } else if p == f64::INFINITY {
            x.abs().amax(axes, keepdim)
        } else if p == f64::NEG_INFINITY {
            x.abs().amin(axes, keepdim)
        } else if p == 0.0 {
            x.ne(0).to_dtype(x.dtype()).sum_dims(axes, keepdim)
        } else if p == 1.0 {
            x.abs().sum_dims(axes, keepdim)
        } else {
            // |0|ᵖ has no slope for p below 1, and the root none at 0: both count as 0.
            let zero = x.eq(0);
            let total = x.abs().masked_fill(&zero, 1).pow(p).masked_fill(&zero, 0).sum_dims(axes, keepdim);
            let flat = total.eq(0);
            total.masked_fill(&flat, 1).pow(1.0 / p).masked_fill(&flat, 0)
        };
        result.to_dtype(dtype)
    }

    /// The sum of the elements that are not NaN. Gradient: 0 where they are.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([1.0_f32, f32::NAN]).nansum().item(), 1.0);
    /// ```
    ///
    /// # Panics
    /// If the device fails.
    #[track_caller]
    #[must_use]
    pub fn nansum(&self) -> Self {
        self.masked_fill(&self.isnan(), 0).sum()
    }

    /// The mean of the elements that are not NaN. Gradient: 0 where they are.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([1.0_f32, f32::NAN, 2.0]).nanmean().item(), 1.5);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn nanmean(&self) -> Self {
        ok(self.expect_float("nanmean"));
        let (wide, missing) = (self.to_dtype(self.dtype().compute()), self.isnan());
        let count = missing.logical_not().sum();
        (wide.masked_fill(&missing, 0).sum() / count.to_dtype(wide.dtype())).to_dtype(self.dtype())
    }

    /// The differences of neighbours along an axis, which is one shorter then.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([1_i64, 4, 9]).diff(0).to_vec::<i64>(), [3, 5]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist.
    #[track_caller]
    #[must_use]
    pub fn diff(&self, axis: isize) -> Self {
        let shape = self.checked_shape();
        let at = ok(shape.axis(axis, "diff"));
        let Some(&size) = shape.dims().get(at) else {
            return ok(Err(Error::shape("diff", "a tensor with at least one axis", "a 0-d tensor")));
        };
        let pairs = size.saturating_sub(1);
        let (left, right) = (self.narrow(axis, 0, pairs), self.narrow(axis, size - pairs, pairs));
        // Bools differ where they are not equal.
        if self.dtype() == DType::Bool { right.bitwise_xor(&left) } else { right - left }
    }

    /// The number of elements that are not 0; NaN is not.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([3_i64, 0, 2]).count_nonzero().item(), 2.0);
    /// ```
    ///
    /// # Panics
    /// If the device fails or has no memory left.
    #[track_caller]
    #[must_use]
    pub fn count_nonzero(&self) -> Self {
        self.ne(0).sum()
    }
}
