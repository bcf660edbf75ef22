//! Picking and placing elements.

use crate::misuse::ok;
use crate::operand::Operand;
use crate::primitive::{Primitive, ViewOp, apply, apply1};
use crate::tensor::Tensor;
use tensor_core::{Backend, DType, Error, Result, Scalar, ScatterOp, Shape};

impl<B: Backend> Tensor<B> {
    pub(crate) fn try_gather(&self, axis: isize, index: &Self) -> Result<Self> {
        apply1(Primitive::Gather(axis, Box::new((index.array(), self.checked_shape()))), self)
    }

    /// `out[…, i, …] = self[…, index[…, i, …], …]`, the index standing at `axis`; it has as many axes as the tensor.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// let index = Tensor::from([[1_i64], [0]]);
    /// assert_eq!(x.gather(1, &index).to_vec::<f32>(), [2.0, 3.0]);
    /// ```
    ///
    /// # Panics
    /// If the index does not fit, is negative or too large, or has no integer dtype.
    #[track_caller]
    #[must_use]
    pub fn gather(&self, axis: isize, index: &Self) -> Self {
        ok(self.try_gather(axis, index))
    }

    /// [`gather`](Self::gather) whose index broadcasts against the tensor along the other axes.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// let largest = x.argmax_dim(1, true);
    /// assert_eq!(x.take_along(&largest, 1).to_vec::<f32>(), [2.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// As [`gather`](Self::gather), and if the ranks differ.
    #[track_caller]
    #[must_use]
    pub fn take_along(&self, index: &Self, axis: isize) -> Self {
        let (own, other) = (self.checked_shape(), index.checked_shape());
        let at = ok(own.axis(axis, "take_along"));
        if own.rank() != other.rank() {
            ok::<()>(Err(Error::shape("take_along", format!("an index with {} axes", own.rank()), other.to_string())));
        }
        if own.rank() == 0 {
            return self.gather(axis, index);
        }
        let with = |shape: &Shape, size: usize| {
            let mut dims = shape.dims().to_vec();
            dims[at] = size;
            Shape::new(&dims)
        };
        let common = ok(with(&own, 1).and_then(|own| own.broadcast(&with(&other, 1)?, "take_along")));
        let source = self.expand_to(&ok(with(&common, own.dims()[at])));
        let index = index.expand_to(&ok(with(&common, other.dims()[at])));
        source.gather(axis, &index)
    }

    /// This tensor with `src[…, i, …]` at position `index[…, i, …]` along `axis`. Where several meet, the last stays.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::zeros([3]).scatter(0, &Tensor::from([2_i64, 0]), &Tensor::from([5.0_f32, 6.0]));
    /// assert_eq!(x.to_vec::<f32>(), [6.0, 0.0, 5.0]);
    /// ```
    ///
    /// # Panics
    /// If shapes or dtypes do not fit, or an index is negative or too large.
    #[track_caller]
    #[must_use]
    pub fn scatter(&self, axis: isize, index: &Self, src: &Self) -> Self {
        ok(self.try_scatter(ScatterOp::Set, axis, index, src))
    }

    /// This tensor with `src[…, i, …]` added to position `index[…, i, …]` along `axis`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::ones([3]).scatter_add(0, &Tensor::from([2_i64, 2]), &Tensor::from([5.0_f32, 6.0]));
    /// assert_eq!(x.to_vec::<f32>(), [1.0, 1.0, 12.0]);
    /// ```
    ///
    /// # Panics
    /// If shapes or dtypes do not fit, or an index is negative or too large.
    #[track_caller]
    #[must_use]
    pub fn scatter_add(&self, axis: isize, index: &Self, src: &Self) -> Self {
        ok(self.try_scatter(ScatterOp::Add, axis, index, src))
    }

    fn try_scatter(&self, op: ScatterOp, axis: isize, index: &Self, src: &Self) -> Result<Self> {
        // Only the part of the source that the index covers takes part; what is left out must get no gradient.
        let mut part = src.clone();
        if src.rank() == index.rank() {
            for (axis, (&size, held)) in index.shape().iter().zip(src.shape()).enumerate() {
                if size < held {
                    part = part.narrow(axis as isize, 0, size);
                }
            }
        }
        apply(Primitive::Scatter(op, axis, Box::new(index.array())), &[Operand::Ref(self), Operand::Ref(&part)])
    }

    /// Whole slices along an axis in the order of a vector of indices; negative ones count from the back.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// let rows = x.index_select(0, &Tensor::from([1_i64, -1, 0]));
    /// assert_eq!(rows.to_vec::<f32>(), [3.0, 4.0, 3.0, 4.0, 1.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// If the index is no integer vector, or an index does not exist.
    #[track_caller]
    #[must_use]
    pub fn index_select(&self, axis: isize, index: &Self) -> Self {
        ok(self.try_index_select(axis, index))
    }

    pub(crate) fn try_index_select(&self, axis: isize, index: &Self) -> Result<Self> {
        apply1(Primitive::IndexSelect(axis, Box::new((index.array(), self.checked_shape()))), self)
    }

    /// Elements by their row-major numbers; negative ones count from the back. The result has the shape of the index.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.take(&Tensor::from([3_i64, 0])).to_vec::<f32>(), [4.0, 1.0]);
    /// ```
    ///
    /// # Panics
    /// If the index has no integer dtype, or a number does not exist.
    #[track_caller]
    #[must_use]
    pub fn take(&self, index: &Self) -> Self {
        let picked = ok(self.flatten().try_index_select(0, &index.flatten()).map_err(|error| error.named("take")));
        picked.reshape_to(&index.checked_shape())
    }

    /// This tensor with whole slices along an axis set to a value.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::ones([2, 2]).index_fill(1, &Tensor::from([0_i64]), 7);
    /// assert_eq!(x.to_vec::<f32>(), [7.0, 1.0, 7.0, 1.0]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist, the index is no integer vector, or an index does not exist.
    #[track_caller]
    #[must_use]
    pub fn index_fill(&self, axis: isize, index: &Self, value: impl Into<Scalar>) -> Self {
        let shape = self.checked_shape();
        let at = ok(shape.axis(axis, "index_fill"));
        let mut dims = shape.dims().to_vec();
        if let Some(size) = dims.get_mut(at) {
            *size = index.numel();
        }
        let slices = Self::full_on(&self.device(), &dims, value, self.dtype());
        ok(self.try_index_scatter(ScatterOp::Set, axis, index, &slices).map_err(|error| error.named("index_fill")))
    }

    /// How often each number from 0 on occurs in a vector of integers, `I64`; at least `length` counts.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([0_i64, 2, 2]).bincount(4).to_vec::<i64>(), [1, 0, 2, 0]);
    /// ```
    ///
    /// # Panics
    /// If the tensor is no vector, its dtype no integer, or a number is below 0.
    #[track_caller]
    #[must_use]
    pub fn bincount(&self, length: usize) -> Self {
        if self.rank() != 1 || !self.dtype().is_int() {
            let got = format!("shape {:?} and dtype {}", self.shape(), self.dtype());
            ok::<()>(Err(Error::shape("bincount", "a vector of integers", got)));
        }
        let mut bins = length;
        if self.numel() > 0 {
            let lowest = self.min().item_scalar().as_i64();
            if lowest < 0 {
                ok::<()>(Err(Error::value("bincount", "numbers of at least 0", lowest.to_string())));
            }
            bins = bins.max(self.max().item_scalar().as_i64() as usize + 1);
        }
        let ones = Self::ones_on(&self.device(), [self.numel()], DType::I64);
        Self::zeros_on(&self.device(), [bins], DType::I64).index_add(0, self, &ones)
    }

    /// This tensor with slices of `src` added at the places of a vector of indices.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// let y = x.index_add(0, &Tensor::from([1_i64]), &Tensor::from([[10.0_f32, 20.0]]));
    /// assert_eq!(y.to_vec::<f32>(), [1.0, 2.0, 13.0, 24.0]);
    /// ```
    ///
    /// # Panics
    /// If shapes or dtypes do not fit, or an index does not exist.
    #[track_caller]
    #[must_use]
    pub fn index_add(&self, axis: isize, index: &Self, src: &Self) -> Self {
        ok(self.try_index_scatter(ScatterOp::Add, axis, index, src).map_err(|error| error.named("index_add")))
    }

    /// This tensor with its slices at the places of a vector of indices replaced by those of `src`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// let y = x.index_copy(0, &Tensor::from([1_i64]), &Tensor::from([[10.0_f32, 20.0]]));
    /// assert_eq!(y.to_vec::<f32>(), [1.0, 2.0, 10.0, 20.0]);
    /// ```
    ///
    /// # Panics
    /// If shapes or dtypes do not fit, or an index does not exist.
    #[track_caller]
    #[must_use]
    pub fn index_copy(&self, axis: isize, index: &Self, src: &Self) -> Self {
        ok(self.try_index_scatter(ScatterOp::Set, axis, index, src).map_err(|error| error.named("index_copy")))
    }

    fn try_index_scatter(&self, op: ScatterOp, axis: isize, index: &Self, src: &Self) -> Result<Self> {
        apply(Primitive::IndexScatter(op, axis, Box::new(index.array())), &[Operand::Ref(self), Operand::Ref(src)])
    }

    /// The elements at which a mask of bools holds, as a vector.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.masked_select(&x.gt(2)).to_vec::<f32>(), [3.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// If the mask is no bool, or shapes do not broadcast.
    #[track_caller]
    #[must_use]
    pub fn masked_select(&self, mask: &Self) -> Self {
        if mask.dtype() != DType::Bool {
            ok::<()>(Err(Error::dtype("masked_select", "a mask of dtype bool", mask.dtype().name())));
        }
        let shape = ok(self.checked_shape().broadcast(&mask.checked_shape(), "masked_select"));
        let index = Self::from_array(ok(mask.expand_to(&shape).array().mask_indices()));
        ok(self.expand_to(&shape).flatten().try_gather(0, &index).map_err(|error| error.named("masked_select")))
    }

    /// The positions of all elements that are not 0, one a row: shape `[count, rank]`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[0_i64, 5], [6, 0]]);
    /// assert_eq!(x.nonzero().to_vec::<i64>(), [0, 1, 1, 0]);
    /// ```
    ///
    /// # Panics
    /// If the device fails or has no memory left.
    #[track_caller]
    #[must_use]
    pub fn nonzero(&self) -> Self {
        Self::from_array(ok(self.array().nonzero()))
    }

    /// This tensor with a view of it replaced by values, which broadcast.
    #[track_caller]
    pub(crate) fn assigned(&self, views: Vec<ViewOp>, values: &Self) -> Self {
        ok(apply(Primitive::Assign(views), &[Operand::Ref(self), Operand::Ref(values)]))
    }
}
