//! Along axes: sums, products, extremes, truth.
//!
//! Each reduction comes as `sum()` over all elements and `sum_dims(axes, keepdim)` over some; an axis below 0 counts from
//! the back, an empty list means all.

use crate::misuse::ok;
use crate::primitive::{Primitive, Reduction, apply1};
use crate::tensor::Tensor;
use tensor_core::{Backend, DType, Dims, Error, ReduceOp, Result, Shape};

impl<B: Backend> Tensor<B> {
    /// Which axes are meant: all if none are named.
    pub(super) fn reduction(&self, axes: &[isize], keepdim: bool, op: &'static str) -> Result<Reduction> {
        let shape = self.checked_shape();
        let axes: Dims<isize> = match axes {
            [] => (0..shape.rank() as isize).collect(),
            named => shape.axes(named, op)?.iter().map(|&axis| axis as isize).collect(),
        };
        Ok(Reduction { axes, keepdim, shape })
    }

    pub(super) fn try_sum(&self, axes: &[isize], keepdim: bool) -> Result<Self> {
        if !self.is_recording() {
            return Ok(Self::from_array(self.with_array(|array| array.reduce(ReduceOp::Sum, axes, keepdim))?));
        }
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
    pub(super) fn reduced_count(&self, axes: &[isize], op: &'static str) -> Result<usize> {
        Ok(self.reduction(axes, false, op)?.count())
    }

    pub(super) fn try_mean(&self, axes: &[isize], keepdim: bool) -> Result<Self> {
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

    /// Summed along the axes along which `shape` would have to broadcast to this tensor's shape.
    pub(crate) fn try_sum_to(&self, shape: &Shape) -> Result<Self> {
        if self.has_shape(shape) {
            return Ok(self.clone());
        }
        let own = self.checked_shape();
        let lead = own.rank() - shape.rank();
        let axes: Dims<isize> = (0..own.rank())
            .filter(|&axis| axis < lead || (shape.dims()[axis - lead] == 1 && own.dims()[axis] != 1))
            .map(|axis| axis as isize)
            .collect();
        if axes.is_empty() {
            return self.try_reshape_to(shape);
        }
        // Where only leading axes go, what is left has the shape.
        self.try_sum(&axes, axes.len() > lead)?.try_reshape_to(shape)
    }

    #[track_caller]
    pub(crate) fn sum_to(&self, shape: &Shape) -> Self {
        ok(self.try_sum_to(shape))
    }
}
