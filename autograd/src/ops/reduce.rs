//! Along axes: sums, extremes, statistics, scans, sort, softmax.
//!
//! Each reduction comes as `sum()` over all elements and `sum_dims(axes, keepdim)` over some; an axis below 0 counts from
//! the back, an empty list means all.

use crate::misuse::ok;
use crate::operand::Operand;
use crate::primitive::{Primitive, Reduction, Value, apply1, record};
use crate::tensor::Tensor;
use tensor_core::{Backend, DType, Dims, Error, ReduceOp, Result, ScanOp, Shape};

impl<B: Backend> Tensor<B> {
    /// Which axes are meant: all if none are named.
    fn reduction(&self, axes: &[isize], keepdim: bool, op: &'static str) -> Result<Reduction> {
        let shape = self.checked_shape();
        let axes: Dims<isize> = match axes {
            [] => (0..shape.rank() as isize).collect(),
            named => shape.axes(named, op)?.iter().map(|&axis| axis as isize).collect(),
        };
        Ok(Reduction { axes, keepdim, shape })
    }

    fn try_sum(&self, axes: &[isize], keepdim: bool) -> Result<Self> {
        apply1(Primitive::Sum(Box::new(self.reduction(axes, keepdim, "sum")?)), self)
    }

    /// The sum of all elements; integers and bools give `I64`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.sum().item(), 10.0);
    /// ```
    ///
    /// # Panics
    /// If the device fails or has no memory left.
    #[track_caller]
    #[must_use]
    pub fn sum(&self) -> Self {
        ok(self.try_sum(&[], false))
    }

    /// The sum along axes.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.sum_dims(&[0], false).to_vec::<f32>(), [4.0, 6.0]);
    /// assert_eq!(x.sum_dims(&[-1], true).shape(), [2, 1]);
    /// ```
    ///
    /// # Panics
    /// If an axis does not exist or is named twice.
    #[track_caller]
    #[must_use]
    pub fn sum_dims(&self, axes: &[isize], keepdim: bool) -> Self {
        ok(self.try_sum(axes, keepdim))
    }

    /// The mean of all elements.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.mean().item(), 2.5);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn mean(&self) -> Self {
        ok(self.try_mean(&[], false))
    }

    /// The mean along axes.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.mean_dims(&[1], false).to_vec::<f32>(), [1.5, 3.5]);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float, or an axis does not exist or is named twice.
    #[track_caller]
    #[must_use]
    pub fn mean_dims(&self, axes: &[isize], keepdim: bool) -> Self {
        ok(self.try_mean(axes, keepdim))
    }

    /// How many elements go into one result.
    fn reduced_count(&self, axes: &[isize], op: &'static str) -> Result<usize> {
        let to = self.reduction(axes, false, op)?;
        Ok(to.axes.iter().map(|&axis| to.shape.dims()[axis as usize]).product())
    }

    fn try_mean(&self, axes: &[isize], keepdim: bool) -> Result<Self> {
        self.expect_float("mean")?;
        let count = self.reduced_count(axes, "mean")?;
        let dtype = self.dtype();
        // f16 sums overflow long before their means do.
        let wide = self.try_to_dtype(dtype.compute())?;
        let total = wide.try_sum(axes, keepdim).map_err(|error| error.named("mean"))?;
        (total / count as f64).try_to_dtype(dtype)
    }

    /// The product of all elements; integers and bools give `I64`. The gradient is right where elements are 0 too.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.prod().item(), 24.0);
    /// ```
    ///
    /// # Panics
    /// If the device fails or has no memory left.
    #[track_caller]
    #[must_use]
    pub fn prod(&self) -> Self {
        self.prod_dims(&[], false)
    }

    /// The product along axes.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.prod_dims(&[0], false).to_vec::<f32>(), [3.0, 8.0]);
    /// ```
    ///
    /// # Panics
    /// If an axis does not exist or is named twice.
    #[track_caller]
    #[must_use]
    pub fn prod_dims(&self, axes: &[isize], keepdim: bool) -> Self {
        ok(self.reduction(axes, keepdim, "prod").and_then(|to| apply1(Primitive::Prod(Box::new(to)), self)))
    }

    /// The largest element; NaN if there is one. Gradient: shared evenly by all that are largest.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.max().item(), 4.0);
    /// ```
    ///
    /// # Panics
    /// If there are no elements.
    #[track_caller]
    #[must_use]
    pub fn max(&self) -> Self {
        ok(self.try_extreme(ReduceOp::Max, &[], false, "max"))
    }

    /// The smallest element; NaN if there is one. Gradient: shared evenly by all that are smallest.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.min().item(), 1.0);
    /// ```
    ///
    /// # Panics
    /// If there are no elements.
    #[track_caller]
    #[must_use]
    pub fn min(&self) -> Self {
        ok(self.try_extreme(ReduceOp::Min, &[], false, "min"))
    }

    /// The largest along axes. Gradient: shared evenly by all that are largest.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.amax(&[0], true).shape(), [1, 2]);
    /// assert_eq!(x.amax(&[0], false).to_vec::<f32>(), [3.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// If an axis does not exist or is named twice, or holds no elements.
    #[track_caller]
    #[must_use]
    pub fn amax(&self, axes: &[isize], keepdim: bool) -> Self {
        ok(self.try_extreme(ReduceOp::Max, axes, keepdim, "amax"))
    }

    /// The smallest along axes. Gradient: shared evenly by all that are smallest.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.amin(&[-1], false).to_vec::<f32>(), [1.0, 3.0]);
    /// ```
    ///
    /// # Panics
    /// If an axis does not exist or is named twice, or holds no elements.
    #[track_caller]
    #[must_use]
    pub fn amin(&self, axes: &[isize], keepdim: bool) -> Self {
        ok(self.try_extreme(ReduceOp::Min, axes, keepdim, "amin"))
    }

    /// The largest along an axis and its first index. Gradient: only to the element at the index.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 5.0], [7.0, 4.0]]);
    /// let (values, indices) = x.max_dim(1, false);
    /// assert_eq!(values.to_vec::<f32>(), [5.0, 7.0]);
    /// assert_eq!(indices.to_vec::<i64>(), [1, 0]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist or holds no elements.
    #[track_caller]
    #[must_use]
    pub fn max_dim(&self, axis: isize, keepdim: bool) -> (Self, Self) {
        ok(self.extreme_dim(ReduceOp::ArgMax, axis, keepdim).map_err(|error| error.named("max_dim")))
    }

    /// The smallest along an axis and its first index. Gradient: only to the element at the index.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 5.0], [7.0, 4.0]]);
    /// let (values, indices) = x.min_dim(1, false);
    /// assert_eq!(values.to_vec::<f32>(), [1.0, 4.0]);
    /// assert_eq!(indices.to_vec::<i64>(), [0, 1]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist or holds no elements.
    #[track_caller]
    #[must_use]
    pub fn min_dim(&self, axis: isize, keepdim: bool) -> (Self, Self) {
        ok(self.extreme_dim(ReduceOp::ArgMin, axis, keepdim).map_err(|error| error.named("min_dim")))
    }

    fn try_extreme(&self, op: ReduceOp, axes: &[isize], keepdim: bool, name: &'static str) -> Result<Self> {
        let to = self.reduction(axes, keepdim, name)?;
        apply1(Primitive::Extreme(op, Box::new(to)), self).map_err(|error| error.named(name))
    }

    fn extreme_dim(&self, op: ReduceOp, axis: isize, keepdim: bool) -> Result<(Self, Self)> {
        let array = self.array();
        if array.rank() == 0 {
            array.shape().axis(axis, op.name())?;
            return Ok((self.clone(), Self::from_array(array.reduce(op, &[], false)?)));
        }
        let index = array.reduce(op, &[axis], true)?;
        let values = self.try_gather(axis, &Self::from_array(index.clone()))?;
        let index = Self::from_array(index);
        Ok(if keepdim { (values, index) } else { (values.squeeze_dims(&[axis]), index.squeeze_dims(&[axis])) })
    }

    /// The first index of the largest element, counted row-major; of the first NaN if there is one.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([1.0_f32, 9.0, 3.0]).argmax().item(), 1.0);
    /// ```
    ///
    /// # Panics
    /// If there are no elements.
    #[track_caller]
    #[must_use]
    pub fn argmax(&self) -> Self {
        Self::from_array(ok(self.array().reduce(ReduceOp::ArgMax, &[], false)))
    }

    /// The first index of the smallest element, counted row-major; of the first NaN if there is one.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([1.0_f32, 9.0, -3.0]).argmin().item(), 2.0);
    /// ```
    ///
    /// # Panics
    /// If there are no elements.
    #[track_caller]
    #[must_use]
    pub fn argmin(&self) -> Self {
        Self::from_array(ok(self.array().reduce(ReduceOp::ArgMin, &[], false)))
    }

    /// The first index of the largest along an axis.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.argmax_dim(1, false).to_vec::<i64>(), [1, 1]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist or holds no elements.
    #[track_caller]
    #[must_use]
    pub fn argmax_dim(&self, axis: isize, keepdim: bool) -> Self {
        Self::from_array(ok(self.array().reduce(ReduceOp::ArgMax, &[axis], keepdim)))
    }

    /// The first index of the smallest along an axis.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.argmin_dim(1, false).to_vec::<i64>(), [0, 0]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist or holds no elements.
    #[track_caller]
    #[must_use]
    pub fn argmin_dim(&self, axis: isize, keepdim: bool) -> Self {
        Self::from_array(ok(self.array().reduce(ReduceOp::ArgMin, &[axis], keepdim)))
    }

    /// Whether all elements are true: anything but 0 is, NaN too. `true` for none.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([1_i64, 0]).all().to_vec::<bool>(), [false]);
    /// ```
    ///
    /// # Panics
    /// If the device fails or has no memory left.
    #[track_caller]
    #[must_use]
    pub fn all(&self) -> Self {
        self.all_dims(&[], false)
    }

    /// Whether all elements along axes are true.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.gt(1).all_dims(&[1], false).to_vec::<bool>(), [false, true]);
    /// ```
    ///
    /// # Panics
    /// If an axis does not exist or is named twice.
    #[track_caller]
    #[must_use]
    pub fn all_dims(&self, axes: &[isize], keepdim: bool) -> Self {
        ok(self.truth_reduce(ReduceOp::Min, axes, keepdim, "all"))
    }

    /// Whether any element is true: anything but 0 is, NaN too. `false` for none.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([1_i64, 0]).any().to_vec::<bool>(), [true]);
    /// ```
    ///
    /// # Panics
    /// If the device fails or has no memory left.
    #[track_caller]
    #[must_use]
    pub fn any(&self) -> Self {
        self.any_dims(&[], false)
    }

    /// Whether any element along axes is true.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.gt(2).any_dims(&[1], false).to_vec::<bool>(), [false, true]);
    /// ```
    ///
    /// # Panics
    /// If an axis does not exist or is named twice.
    #[track_caller]
    #[must_use]
    pub fn any_dims(&self, axes: &[isize], keepdim: bool) -> Self {
        ok(self.truth_reduce(ReduceOp::Max, axes, keepdim, "any"))
    }

    fn truth_reduce(&self, op: ReduceOp, axes: &[isize], keepdim: bool, name: &'static str) -> Result<Self> {
        let truth = self.array().cast(DType::Bool)?;
        Ok(Self::from_array(truth.reduce(op, axes, keepdim).map_err(|error| error.named(name))?))
    }

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
        let count = self.reduced_count(axes, op)?;
        let dtype = self.dtype();
        let wide = self.try_to_dtype(dtype.compute())?;
        // Twice through the data: the mean first, so that a large offset costs no digits.
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

    /// `ln Σ eˣ` along axes, without overflow.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([1000.0_f32, 1000.0]);
    /// assert!((x.logsumexp(&[0], false).item() - 1000.693).abs() < 1e-3);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float, or an axis does not exist or is named twice.
    #[track_caller]
    #[must_use]
    pub fn logsumexp(&self, axes: &[isize], keepdim: bool) -> Self {
        ok(self.expect_float("logsumexp"));
        let count = ok(self.reduced_count(axes, "logsumexp"));
        if count == 0 {
            return self.exp().sum_dims(axes, keepdim).log();
        }
        // The shift changes nothing mathematically, so it needs no gradient. An infinite maximum is not subtracted.
        let top = self.detach().amax(axes, true);
        let top = top.masked_fill(&top.isfinite().logical_not(), 0);
        let total = (self - &top).exp().sum_dims(axes, keepdim).log();
        if keepdim { total + top } else { &total + top.reshape_to(&total.checked_shape()) }
    }

    /// `eˣ / Σ eˣ` along an axis.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([3.0_f32, 3.0]).softmax(0).to_vec::<f32>(), [0.5, 0.5]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist, or the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn softmax(&self, axis: isize) -> Self {
        ok(apply1(Primitive::Softmax(axis, false), self))
    }

    /// The logarithm of [`softmax`](Self::softmax), exact where that is close to 0 or 1.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([3.0_f32, 3.0]).log_softmax(0);
    /// assert!((x.min().item() + 2_f64.ln()).abs() < 1e-6);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist, or the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn log_softmax(&self, axis: isize) -> Self {
        ok(apply1(Primitive::Softmax(axis, true), self))
    }

    /// Running sums along an axis; integers and bools give `I64`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([1_i64, 2, 3]).cumsum(0).to_vec::<i64>(), [1, 3, 6]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist.
    #[track_caller]
    #[must_use]
    pub fn cumsum(&self, axis: isize) -> Self {
        ok(apply1(Primitive::Scan(ScanOp::Sum, axis), self))
    }

    /// Running products along an axis; integers and bools give `I64`. The gradient is right where elements are 0 too.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([1_i64, 2, 3]).cumprod(0).to_vec::<i64>(), [1, 2, 6]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist.
    #[track_caller]
    #[must_use]
    pub fn cumprod(&self, axis: isize) -> Self {
        ok(apply1(Primitive::Scan(ScanOp::Prod, axis), self))
    }

    /// The elements sorted along an axis, stably, and where each came from. NaN is larger than everything.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let (values, indices) = Tensor::from([3_i64, 1, 2]).sort(0, false);
    /// assert_eq!(values.to_vec::<i64>(), [1, 2, 3]);
    /// assert_eq!(indices.to_vec::<i64>(), [1, 2, 0]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist.
    #[track_caller]
    #[must_use]
    pub fn sort(&self, axis: isize, descending: bool) -> (Self, Self) {
        ok(self.try_sort(axis, descending))
    }

    fn try_sort(&self, axis: isize, descending: bool) -> Result<(Self, Self)> {
        let array = self.array();
        let (values, index) = array.sort(axis, descending)?;
        let indices = Self::from_array(index.clone());
        if array.rank() == 0 {
            return Ok((self.clone(), indices));
        }
        // Sorting is picking by the indices, and its gradient is that of picking.
        let primitive = Primitive::Gather(axis, Box::new((index, array.shape().clone())));
        let values = record(primitive, &[Operand::Ref(self)], &[Value::Array(array)], values);
        Ok((values, indices))
    }

    /// The indices that would sort along an axis, stably.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([3_i64, 1, 2]).argsort(0, true).to_vec::<i64>(), [0, 2, 1]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist.
    #[track_caller]
    #[must_use]
    pub fn argsort(&self, axis: isize, descending: bool) -> Self {
        Self::from_array(ok(self.array().sort(axis, descending).map_err(|error| error.named("argsort"))).1)
    }

    /// The `k` largest (or smallest) along an axis in order, and their indices.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let (values, indices) = Tensor::from([3_i64, 1, 2]).topk(2, 0, true);
    /// assert_eq!(values.to_vec::<i64>(), [3, 2]);
    /// assert_eq!(indices.to_vec::<i64>(), [0, 2]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist or holds fewer than `k` elements.
    #[track_caller]
    #[must_use]
    pub fn topk(&self, k: usize, axis: isize, largest: bool) -> (Self, Self) {
        let (values, indices) = ok(self.try_sort(axis, largest).map_err(|error| error.named("topk")));
        if self.rank() == 0 {
            if k > 1 {
                ok::<()>(Err(Error::index("topk", "k of at most 1 for a 0-d tensor", k.to_string())));
            }
            return (values, indices);
        }
        let size = self.size(axis);
        if k > size {
            ok::<()>(Err(Error::index("topk", format!("k of at most {size}"), k.to_string())));
        }
        (values.narrow(axis, 0, k), indices.narrow(axis, 0, k))
    }

    /// The smallest and the largest element.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let (low, high) = Tensor::from([3.0_f32, 1.0, 2.0]).aminmax();
    /// assert_eq!((low.item(), high.item()), (1.0, 3.0));
    /// ```
    ///
    /// # Panics
    /// If there are no elements.
    #[track_caller]
    #[must_use]
    pub fn aminmax(&self) -> (Self, Self) {
        let named = |error: Error| error.named("aminmax");
        let low = ok(self.try_extreme(ReduceOp::Min, &[], false, "aminmax").map_err(named));
        (low, ok(self.try_extreme(ReduceOp::Max, &[], false, "aminmax").map_err(named)))
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

    /// Summed along the axes along which `shape` would have to broadcast to this tensor's shape.
    pub(crate) fn try_sum_to(&self, shape: &Shape) -> Result<Self> {
        let own = self.checked_shape();
        if own == *shape {
            return Ok(self.clone());
        }
        let lead = own.rank() - shape.rank();
        let axes: Vec<isize> = (0..own.rank())
            .filter(|&axis| axis < lead || (shape.dims()[axis - lead] == 1 && own.dims()[axis] != 1))
            .map(|axis| axis as isize)
            .collect();
        let summed = if axes.is_empty() { self.clone() } else { self.try_sum(&axes, true)? };
        summed.try_reshape_to(shape)
    }

    #[track_caller]
    pub(crate) fn sum_to(&self, shape: &Shape) -> Self {
        ok(self.try_sum_to(shape))
    }
}
