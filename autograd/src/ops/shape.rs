//! Views. Nothing here moves elements but `contiguous`, the triangles, and `reshape` where the strides leave no other way.

use crate::misuse::ok;
use crate::operand::Operand;
use crate::primitive::{Primitive, ViewOp, apply1};
use crate::tensor::Tensor;
use tensor_core::layout::infer_shape;
use tensor_core::{Backend, Dims, Error, Result, Scalar, Shape};

impl<B: Backend> Tensor<B> {
    pub(crate) fn try_viewed(&self, op: ViewOp) -> Result<Self> {
        if !self.is_recording() {
            return Ok(Self::from_array(self.with_array(|array| op.of_array(array))?));
        }
        let shape = self.checked_shape();
        apply1(Primitive::View(Box::new((op, shape))), self)
    }

    #[track_caller]
    pub(crate) fn viewed(&self, op: ViewOp) -> Self {
        ok(self.try_viewed(op))
    }

    pub(crate) fn try_reshape_to(&self, shape: &Shape) -> Result<Self> {
        if self.has_shape(shape) {
            return Ok(self.clone());
        }
        self.try_viewed(ViewOp::Reshape(shape.clone()))
    }

    #[track_caller]
    pub(crate) fn reshape_to(&self, shape: &Shape) -> Self {
        ok(self.try_reshape_to(shape))
    }

    #[track_caller]
    pub(crate) fn expand_to(&self, shape: &Shape) -> Self {
        if self.has_shape(shape) { self.clone() } else { self.viewed(ViewOp::Expand(shape.clone())) }
    }

    /// The same elements in another shape; one size may be −1 for "what is left". A view where the strides allow it.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([1_i64, 2, 3, 4, 5, 6]);
    /// assert_eq!(x.reshape([2, -1]).shape(), [2, 3]);
    /// ```
    ///
    /// # Panics
    /// If the numbers of elements differ, or more than one size is −1.
    #[track_caller]
    #[must_use]
    pub fn reshape(&self, sizes: impl AsRef<[isize]>) -> Self {
        let shape = ok(infer_shape(sizes.as_ref(), self.numel(), "reshape"));
        self.reshape_to(&shape)
    }

    /// The same elements in the shape of another tensor.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::arange(0, 6, 1);
    /// assert_eq!(x.reshape_as(&Tensor::zeros([2, 3])).shape(), [2, 3]);
    /// ```
    ///
    /// # Panics
    /// If the numbers of elements differ.
    #[track_caller]
    #[must_use]
    pub fn reshape_as(&self, other: &Self) -> Self {
        self.reshape_to(&other.checked_shape())
    }

    /// [`reshape`](Self::reshape) that never copies.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::arange(0, 6, 1).view([3, -1]).shape(), [3, 2]);
    /// ```
    ///
    /// # Panics
    /// As [`reshape`](Self::reshape), and if the strides do not allow a view.
    #[track_caller]
    #[must_use]
    pub fn view(&self, sizes: impl AsRef<[isize]>) -> Self {
        let shape = ok(self.array().view(sizes.as_ref())).shape().clone();
        self.reshape_to(&shape)
    }

    /// All elements as a vector.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.flatten().shape(), [4]);
    /// ```
    ///
    /// # Panics
    /// If the device fails or has no memory left.
    #[track_caller]
    #[must_use]
    pub fn flatten(&self) -> Self {
        self.flatten_from(0)
    }

    /// The axes from `first` on as one.
    #[track_caller]
    pub(crate) fn flatten_from(&self, first: usize) -> Self {
        let shape = self.shape();
        let mut dims = shape[..first].to_vec();
        dims.push(shape[first..].iter().product());
        self.reshape_to(&ok(Shape::new(&dims)))
    }

    /// The axes from `first` to `last`, both included, as one.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::zeros([2, 3, 4]).flatten_dims(0, 1).shape(), [6, 4]);
    /// ```
    ///
    /// # Panics
    /// If an axis does not exist, or `first` lies behind `last`.
    #[track_caller]
    #[must_use]
    pub fn flatten_dims(&self, first: isize, last: isize) -> Self {
        let shape = self.checked_shape();
        let (from, to) = (ok(shape.axis(first, "flatten")), ok(shape.axis(last, "flatten")));
        if from > to {
            ok::<()>(Err(Error::index("flatten", "a first axis before the last", format!("{first} and {last}"))));
        }
        if shape.rank() == 0 {
            return self.flatten();
        }
        let mut dims = shape.dims()[..from].to_vec();
        dims.push(shape.dims()[from..=to].iter().product());
        dims.extend(&shape.dims()[to + 1..]);
        self.reshape_to(&ok(Shape::new(&dims)))
    }

    /// One axis as several; one size may be −1.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::zeros([6, 4]).unflatten(0, [2, -1]).shape(), [2, 3, 4]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist, or the sizes do not multiply to its size.
    #[track_caller]
    #[must_use]
    pub fn unflatten(&self, axis: isize, sizes: impl AsRef<[isize]>) -> Self {
        let shape = self.checked_shape();
        let at = ok(shape.axis(axis, "unflatten"));
        let parts = ok(infer_shape(sizes.as_ref(), self.size(axis), "unflatten"));
        let mut dims = shape.dims()[..at].to_vec();
        dims.extend(parts.dims());
        dims.extend(&shape.dims()[at + 1..]);
        self.reshape_to(&ok(Shape::new(&dims)))
    }

    /// Axes in another order.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::zeros([2, 3, 4]).permute(&[2, 0, 1]).shape(), [4, 2, 3]);
    /// ```
    ///
    /// # Panics
    /// If `order` does not name every axis once.
    #[track_caller]
    #[must_use]
    pub fn permute(&self, order: &[isize]) -> Self {
        self.viewed(ViewOp::Permute(Dims::from_slice(order)))
    }

    /// Two axes exchanged.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::zeros([2, 3, 4]).transpose(-1, 0).shape(), [4, 3, 2]);
    /// ```
    ///
    /// # Panics
    /// If an axis does not exist.
    #[track_caller]
    #[must_use]
    pub fn transpose(&self, a: isize, b: isize) -> Self {
        let shape = self.checked_shape();
        let (a, b) = (ok(shape.axis(a, "transpose")), ok(shape.axis(b, "transpose")));
        if shape.rank() == 0 {
            return self.clone();
        }
        let mut order: Dims<isize> = (0..shape.rank() as isize).collect();
        order.swap(a, b);
        self.viewed(ViewOp::Permute(order))
    }

    /// A matrix transposed; vectors and scalars stay.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.t().to_vec::<f32>(), [1.0, 3.0, 2.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// If there are more than two axes.
    #[track_caller]
    #[must_use]
    pub fn t(&self) -> Self {
        match self.rank() {
            0 | 1 => self.clone(),
            2 => self.transpose(0, 1),
            rank => ok(Err(Error::shape("t", "at most two axes", format!("{rank}")).hint("use transpose(-2, -1)"))),
        }
    }

    /// A matrix, or a batch of them, transposed: the last two axes exchanged.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::zeros([5, 2, 3]).mt().shape(), [5, 3, 2]);
    /// ```
    ///
    /// # Panics
    /// If there are fewer than two axes.
    #[track_caller]
    #[must_use]
    pub fn mt(&self) -> Self {
        if self.rank() < 2 {
            ok::<()>(Err(Error::shape("mt", "a matrix or a batch of them", format!("shape {:?}", self.shape()))));
        }
        self.transpose(-2, -1)
    }

    /// Broadcast to a shape without copying.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([1_i64, 2]).broadcast_to([2, 2]).to_vec::<i64>(), [1, 2, 1, 2]);
    /// ```
    ///
    /// # Panics
    /// If an axis of another size than 1 would have to change.
    #[track_caller]
    #[must_use]
    pub fn broadcast_to(&self, shape: impl AsRef<[usize]>) -> Self {
        let shape = ok(Shape::new(shape).map_err(|error| error.named("broadcast_to")));
        ok(self.try_viewed(ViewOp::Expand(shape)).map_err(|error| error.named("broadcast_to")))
    }

    /// All tensors broadcast to their common shape, without copying.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let all = Tensor::broadcast_tensors(&[&Tensor::zeros([2, 1]), &Tensor::zeros([3])]);
    /// assert_eq!(all[0].shape(), all[1].shape());
    /// ```
    ///
    /// # Panics
    /// If shapes do not broadcast.
    #[track_caller]
    #[must_use]
    pub fn broadcast_tensors(tensors: &[&Self]) -> Vec<Self> {
        let mut common = Shape::scalar();
        for tensor in tensors {
            common = ok(common.broadcast(&tensor.checked_shape(), "broadcast_tensors"));
        }
        let mut wide = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            wide.push(tensor.expand_to(&common));
        }
        wide
    }

    /// An axis moved to another place.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::zeros([2, 3, 4]).movedim(0, -1).shape(), [3, 4, 2]);
    /// ```
    ///
    /// # Panics
    /// If an axis does not exist.
    #[track_caller]
    #[must_use]
    pub fn movedim(&self, from: isize, to: isize) -> Self {
        let shape = self.checked_shape();
        let (from, to) = (ok(shape.axis(from, "movedim")), ok(shape.axis(to, "movedim")));
        if shape.rank() == 0 {
            return self.clone();
        }
        let mut order: Vec<isize> = (0..shape.rank() as isize).collect();
        let axis = order.remove(from);
        order.insert(to, axis);
        self.permute(&order)
    }

    /// Broadcast to a shape without copying; −1 keeps an axis's size.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1_i64], [2]]);
    /// assert_eq!(x.expand([-1, 2]).to_vec::<i64>(), [1, 1, 2, 2]);
    /// ```
    ///
    /// # Panics
    /// If an axis of another size than 1 would have to change.
    #[track_caller]
    #[must_use]
    pub fn expand(&self, sizes: impl AsRef<[isize]>) -> Self {
        let (sizes, own) = (sizes.as_ref(), self.checked_shape());
        let mut dims: Dims<usize> = Dims::new();
        for (axis, &size) in sizes.iter().enumerate() {
            let held = (axis + own.rank()).checked_sub(sizes.len()).and_then(|axis| own.dims().get(axis));
            dims.push(match (size, held) {
                (-1, Some(&held)) => held,
                (size, _) if size >= 0 => size as usize,
                _ => ok(Err(Error::shape(
                    "expand",
                    "sizes of at least 0, or -1 for an axis that exists",
                    format!("{sizes:?}"),
                ))),
            });
        }
        self.expand_to(&ok(Shape::new(&dims)))
    }

    /// All axes of size 1 removed.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::zeros([1, 3, 1]).squeeze().shape(), [3]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn squeeze(&self) -> Self {
        let shape = ok(self.array().squeeze(None)).shape().clone();
        self.reshape_to(&shape)
    }

    /// The named axes removed where they have size 1.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::zeros([1, 3, 1]).squeeze_dims(&[-1]).shape(), [1, 3]);
    /// ```
    ///
    /// # Panics
    /// If an axis does not exist or is named twice.
    #[track_caller]
    #[must_use]
    pub fn squeeze_dims(&self, axes: &[isize]) -> Self {
        let shape = ok(self.array().squeeze(Some(axes))).shape().clone();
        self.reshape_to(&shape)
    }

    /// A new axis of size 1 before `axis`; −1 puts it last.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::zeros([2, 3]).unsqueeze(1).shape(), [2, 1, 3]);
    /// ```
    ///
    /// # Panics
    /// If the new tensor would have no such axis.
    #[track_caller]
    #[must_use]
    pub fn unsqueeze(&self, axis: isize) -> Self {
        let shape = ok(self.array().unsqueeze(axis)).shape().clone();
        self.reshape_to(&shape)
    }

    /// `len` consecutive elements along an axis.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::arange(0, 5, 1).narrow(0, 1, 3).to_vec::<i64>(), [1, 2, 3]);
    /// ```
    ///
    /// # Panics
    /// If the range lies outside.
    #[track_caller]
    #[must_use]
    pub fn narrow(&self, axis: isize, start: usize, len: usize) -> Self {
        ok(self.array().narrow(axis, start, len));
        self.viewed(ViewOp::Slice { axis, start, len, step: 1 })
    }

    /// `len` elements along an axis from `start` on, `step` apart; a negative step walks backwards.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::arange(0, 5, 1).slice(0, 4, 3, -2).to_vec::<i64>(), [4, 2, 0]);
    /// ```
    ///
    /// # Panics
    /// If an element would lie outside.
    #[track_caller]
    #[must_use]
    pub fn slice(&self, axis: isize, start: usize, len: usize, step: isize) -> Self {
        self.viewed(ViewOp::Slice { axis, start, len, step })
    }

    /// One element of an axis, the axis removed; a negative index counts from the back.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.select(0, -1).to_vec::<f32>(), [3.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// If the axis or the index does not exist.
    #[track_caller]
    #[must_use]
    pub fn select(&self, axis: isize, index: isize) -> Self {
        self.viewed(ViewOp::Select { axis, index })
    }

    /// Axes walked backwards.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::arange(0, 3, 1).flip(&[0]).to_vec::<i64>(), [2, 1, 0]);
    /// ```
    ///
    /// # Panics
    /// If an axis does not exist or is named twice.
    #[track_caller]
    #[must_use]
    pub fn flip(&self, axes: &[isize]) -> Self {
        self.viewed(ViewOp::Flip(Dims::from_slice(axes)))
    }

    /// The diagonal of two axes as a new last axis; a positive offset lies above the main diagonal.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.diagonal(0, 0, 1).to_vec::<f32>(), [1.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// If the axes do not exist or are the same.
    #[track_caller]
    #[must_use]
    pub fn diagonal(&self, offset: isize, first: isize, second: isize) -> Self {
        self.viewed(ViewOp::Diagonal { offset, first, second })
    }

    /// The sum of the main diagonal of a matrix.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.trace().item(), 5.0);
    /// ```
    ///
    /// # Panics
    /// If the tensor is no matrix.
    #[track_caller]
    #[must_use]
    pub fn trace(&self) -> Self {
        if self.rank() != 2 {
            ok::<()>(Err(Error::shape("trace", "a matrix", format!("shape {:?}", self.shape()))));
        }
        self.diagonal(0, 0, 1).sum()
    }

    /// All windows of `size` elements along an axis, `step` apart, as a new last axis.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::arange(0, 5, 1).unfold(0, 3, 2);
    /// assert_eq!(x.to_vec::<i64>(), [0, 1, 2, 2, 3, 4]);
    /// assert_eq!(x.shape(), [2, 3]);
    /// ```
    ///
    /// # Panics
    /// If the window is larger than the axis, or `step` is 0.
    #[track_caller]
    #[must_use]
    pub fn unfold(&self, axis: isize, size: usize, step: usize) -> Self {
        self.viewed(ViewOp::Unfold { axis, size, step })
    }

    /// The same values, dense in row-major order.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.t().contiguous().view([4]).to_vec::<f32>(), [1.0, 3.0, 2.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// If the device fails or has no memory left.
    #[track_caller]
    #[must_use]
    pub fn contiguous(&self) -> Self {
        if self.with_array(|array| array.layout().is_contiguous()) {
            return self.clone();
        }
        // The same shape: a view for the graph, a copy for the values.
        let dense = ok(self.array().contiguous());
        let primitive = Primitive::View(Box::new((ViewOp::Reshape(dense.shape().clone()), dense.shape().clone())));
        crate::primitive::record(primitive, &[Operand::Ref(self)], [Operand::Ref(self).value()], dense)
    }

    /// The elements on and below a diagonal of the last two axes; 0 elsewhere.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.tril(0).to_vec::<f32>(), [1.0, 0.0, 3.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// If there are fewer than two axes.
    #[track_caller]
    #[must_use]
    pub fn tril(&self, diagonal: i64) -> Self {
        self.triangle(diagonal, false)
    }

    /// The elements on and above a diagonal of the last two axes; 0 elsewhere.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.triu(1).to_vec::<f32>(), [0.0, 2.0, 0.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// If there are fewer than two axes.
    #[track_caller]
    #[must_use]
    pub fn triu(&self, diagonal: i64) -> Self {
        self.triangle(diagonal, true)
    }

    #[track_caller]
    fn triangle(&self, diagonal: i64, upper: bool) -> Self {
        if !self.requires_grad() {
            return Self::from_array(ok(self.array().triangle(diagonal, upper)));
        }
        let ones = tensor_core::Array::full(&self.device(), true, &self.checked_shape(), tensor_core::DType::Bool);
        let keep = Self::from_array(ok(ones.triangle(diagonal, upper)));
        keep.where_cond(self, Scalar::Int(0).cast(self.dtype()))
    }
}
