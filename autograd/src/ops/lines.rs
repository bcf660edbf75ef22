//! Line by line along an axis: running totals, sort, softmax.

use crate::misuse::ok;
use crate::operand::Operand;
use crate::primitive::{Primitive, Value, apply1, record};
use crate::tensor::Tensor;
use tensor_core::{Array, Backend, Result, ScanOp};

impl<B: Backend> Tensor<B> {
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
        if count == 0 || self.numel() == 0 {
            return self.exp().sum_dims(axes, keepdim).log();
        }
        ok(apply1(Primitive::LogSumExp(Box::new(ok(self.reduction(axes, keepdim, "logsumexp")))), self))
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
        self.picked(axis, self.array().sort(axis, descending)?)
    }

    /// Values that were picked along an axis, and their indices.
    fn picked(&self, axis: isize, (values, index): (Array<B>, Array<B>)) -> Result<(Self, Self)> {
        let array = self.array();
        let indices = Self::from_array(index.clone());
        if array.rank() == 0 {
            return Ok((self.clone(), indices));
        }
        // Sorting is picking by the indices, and its gradient is that of picking.
        let primitive = Primitive::Gather(axis, Box::new((index, array.shape().clone())));
        let values = record(primitive, &[Operand::Ref(self)], [Value::Array(array)], values);
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
        let picked = self.array().topk(k, axis, largest);
        ok(picked.and_then(|picked| self.picked(axis, picked)).map_err(|error| error.named("topk")))
    }
}
