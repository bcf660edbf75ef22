//! Views, joining and splitting. Nothing here moves elements but `contiguous`, `cat`, `stack`, `repeat`, and `reshape` where
//! the strides leave no other way.

use crate::misuse::ok;
use crate::operand::Operand;
use crate::primitive::{Primitive, ViewOp, apply, apply1};
use crate::tensor::Tensor;
use tensor_core::layout::infer_shape;
use tensor_core::{Backend, Dims, Error, Result, Scalar, Shape};

impl<B: Backend> Tensor<B> {
    pub(crate) fn try_viewed(&self, op: ViewOp) -> Result<Self> {
        let shape = self.checked_shape();
        apply1(Primitive::View(Box::new((op, shape))), self)
    }

    #[track_caller]
    pub(crate) fn viewed(&self, op: ViewOp) -> Self {
        ok(self.try_viewed(op))
    }

    pub(crate) fn try_reshape_to(&self, shape: &Shape) -> Result<Self> {
        if self.checked_shape() == *shape {
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
        if self.checked_shape() == *shape { self.clone() } else { self.viewed(ViewOp::Expand(shape.clone())) }
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

    /// [`repeat`](Self::repeat), but fewer counts than axes are those of the last axes.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::zeros([2, 3]).tile(&[2]).shape(), [2, 6]);
    /// ```
    ///
    /// # Panics
    /// If the result is too large.
    #[track_caller]
    #[must_use]
    pub fn tile(&self, counts: &[usize]) -> Self {
        let mut all = vec![1; self.rank().saturating_sub(counts.len())];
        all.extend(counts);
        self.repeat(&all)
    }

    /// Every place of an axis several times in a row.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([1_i64, 2]).repeat_interleave(2, 0).to_vec::<i64>(), [1, 1, 2, 2]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist, or the result is too large.
    #[track_caller]
    #[must_use]
    pub fn repeat_interleave(&self, count: usize, axis: isize) -> Self {
        let at = ok(self.checked_shape().axis(axis, "repeat_interleave"));
        let mut dims = self.shape();
        if dims.is_empty() {
            return self.broadcast_to([count]);
        }
        let mut wide = dims.clone();
        wide.insert(at + 1, count);
        let too_large = || Error::shape("repeat_interleave", "a shape that fits memory", format!("{count} repeats"));
        dims[at] = ok(dims[at].checked_mul(count).ok_or_else(too_large));
        self.unsqueeze(at as isize + 1).broadcast_to(wide).reshape_to(&ok(Shape::new(&dims)))
    }

    /// A constant border: `(before, after)` for each of the last axes, in the order of the axes.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([1_i64, 2]).pad(&[(1, 2)], 0).to_vec::<i64>(), [0, 1, 2, 0, 0]);
    /// ```
    ///
    /// # Panics
    /// If there are more pairs than axes, or the result is too large.
    #[track_caller]
    #[must_use]
    pub fn pad(&self, border: &[(usize, usize)], value: impl Into<Scalar>) -> Self {
        let shape = self.shape();
        let Some(first) = shape.len().checked_sub(border.len()) else {
            return ok(Err(Error::shape("pad", format!("at most {} pairs", shape.len()), border.len().to_string())));
        };
        let mut dims = shape.clone();
        let mut place = vec![crate::ops::Index::Slice((..).into()); first];
        for (axis, &(before, after)) in (first..).zip(border) {
            let size = before.checked_add(shape[axis]).and_then(|size| size.checked_add(after));
            dims[axis] = ok(size.ok_or_else(|| Error::shape("pad", "a shape that fits memory", format!("{border:?}"))));
            place.push(crate::ops::Index::Slice((before..before + shape[axis]).into()));
        }
        Self::full_on(&self.device(), &dims, value, self.dtype()).i_set(place, self)
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

    /// Elements shifted along an axis; what leaves at one end enters at the other.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::arange(0, 4, 1).roll(1, 0).to_vec::<i64>(), [3, 0, 1, 2]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist.
    #[track_caller]
    #[must_use]
    pub fn roll(&self, shift: isize, axis: isize) -> Self {
        let size = ok(self.size_of(axis, "roll"));
        if self.numel() == 0 || self.rank() == 0 {
            return self.clone();
        }
        let cut = (-shift).rem_euclid(size as isize) as usize;
        if cut == 0 {
            return self.clone();
        }
        Self::cat(&[&self.narrow(axis, cut, size - cut), &self.narrow(axis, 0, cut)], axis)
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
        crate::primitive::record(primitive, &[Operand::Ref(self)], &[Operand::Ref(self).value()], dense)
    }

    /// Tensors joined along an existing axis; dtypes promote.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(Tensor::cat(&[&x, &x], 1).shape(), [2, 4]);
    /// ```
    ///
    /// # Panics
    /// If there is none, or sizes differ along another axis.
    #[track_caller]
    #[must_use]
    pub fn cat(parts: &[&Self], axis: isize) -> Self {
        ok(Self::try_cat(parts, axis))
    }

    fn try_cat(parts: &[&Self], axis: isize) -> Result<Self> {
        // Vectors without elements are skipped by the operation; they must not count for the gradient either.
        let real: Vec<&Self> = parts.iter().copied().filter(|part| part.shape() != [0]).collect();
        let parts = if real.is_empty() { parts.to_vec() } else { real };
        let Some(first) = parts.first() else {
            return Err(Error::shape("cat", "at least one tensor", "an empty list"));
        };
        let shape = first.checked_shape();
        let at = shape.axis(axis, "cat")?;
        let sizes: Vec<usize> =
            parts.iter().map(|part| part.checked_shape().dims().get(at).copied().unwrap_or(0)).collect();
        let dtype = tensor_core::result_type(parts.iter().map(|part| (part.dtype(), part.rank())), []);
        let converted = parts.iter().map(|part| part.try_to_dtype(dtype)).collect::<Result<Vec<_>>>()?;
        let operands: Vec<Operand<'_, B>> = converted.iter().map(Operand::Ref).collect();
        let cut: Vec<_> = operands.iter().map(|operand| operand.by_ref()).collect();
        let result = apply(Primitive::Cat(at as isize, sizes), &cut)?;
        Ok(result)
    }

    /// Tensors of one shape joined along a new axis.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// assert_eq!(Tensor::stack(&[&x, &x, &x], 0).shape(), [3, 2, 2]);
    /// ```
    ///
    /// # Panics
    /// If there is none, or shapes differ.
    #[track_caller]
    #[must_use]
    pub fn stack(parts: &[&Self], axis: isize) -> Self {
        if let Some(first) = parts.first() {
            let shape = first.shape();
            if let Some(place) = parts.iter().position(|part| part.shape() != shape) {
                ok::<()>(Err(Error::shape(
                    "stack",
                    format!("tensors of one shape, {shape:?}"),
                    format!("{:?} as tensor number {place}", parts[place].shape()),
                )));
            }
        } else {
            ok::<()>(Err(Error::shape("stack", "at least one tensor", "an empty list")));
        }
        let mut wide = Vec::with_capacity(parts.len());
        for part in parts {
            wide.push(part.unsqueeze(axis));
        }
        let wide: Vec<&Self> = wide.iter().collect();
        ok(Self::try_cat(&wide, axis).map_err(|error| error.named("stack")))
    }

    /// Pieces of `size` elements along an axis; the last may be smaller.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let pieces = Tensor::arange(0, 5, 1).split(2, 0);
    /// assert_eq!(pieces[2].to_vec::<i64>(), [4]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist, or `size` is 0.
    #[track_caller]
    #[must_use]
    pub fn split(&self, size: usize, axis: isize) -> Vec<Self> {
        if size == 0 {
            ok::<()>(Err(Error::value("split", "pieces of at least 1 element", "0")));
        }
        let length = ok(self.size_of(axis, "split"));
        self.pieces((0..length.div_ceil(size).max(1)).map(|piece| size.min(length - piece * size)), axis)
    }

    /// Pieces of the given sizes along an axis.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let pieces = Tensor::arange(0, 5, 1).split_sizes(&[1, 4], 0);
    /// assert_eq!(pieces[1].to_vec::<i64>(), [1, 2, 3, 4]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist, or the sizes do not add up to its size.
    #[track_caller]
    #[must_use]
    pub fn split_sizes(&self, sizes: &[usize], axis: isize) -> Vec<Self> {
        let length = ok(self.size_of(axis, "split"));
        if sizes.iter().try_fold(0_usize, |sum, &size| sum.checked_add(size)) != Some(length) {
            ok::<()>(Err(Error::shape("split", format!("sizes that add up to {length}"), format!("{sizes:?}"))));
        }
        self.pieces(sizes.iter().copied(), axis)
    }

    /// Consecutive pieces along an axis, which fit.
    #[track_caller]
    fn pieces(&self, sizes: impl Iterator<Item = usize>, axis: isize) -> Vec<Self> {
        let mut pieces = Vec::with_capacity(sizes.size_hint().0);
        let mut start = 0;
        for len in sizes {
            pieces.push(self.narrow(axis, start, len));
            start += len;
        }
        pieces
    }

    /// The size of an axis, which must exist; 1 for a 0-d tensor, which takes the axes 0 and -1 for its own.
    fn size_of(&self, axis: isize, op: &'static str) -> Result<usize> {
        let shape = self.checked_shape();
        let at = shape.axis(axis, op)?;
        Ok(shape.dims().get(at).copied().unwrap_or(1))
    }

    /// At most `count` pieces along an axis, all but the last of one size.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let pieces = Tensor::arange(0, 5, 1).chunk(2, 0);
    /// assert_eq!(pieces[0].to_vec::<i64>(), [0, 1, 2]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist, or `count` is 0.
    #[track_caller]
    #[must_use]
    pub fn chunk(&self, count: usize, axis: isize) -> Vec<Self> {
        if count == 0 {
            ok::<()>(Err(Error::value("chunk", "at least 1 piece", "0")));
        }
        self.split(ok(self.size_of(axis, "chunk")).div_ceil(count).max(1), axis)
    }

    /// All slices along an axis, the axis removed.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 2.0], [3.0, 4.0]]);
    /// let rows = x.unbind(0);
    /// assert_eq!(rows[1].to_vec::<f32>(), [3.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// If the axis does not exist.
    #[track_caller]
    #[must_use]
    pub fn unbind(&self, axis: isize) -> Vec<Self> {
        let size = ok(self.size_of(axis, "unbind"));
        let mut slices = Vec::with_capacity(size);
        for index in 0..size {
            slices.push(self.select(axis, index as isize));
        }
        slices
    }

    /// Copies of the tensor along its axes; more counts than axes add axes in front.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([1_i64, 2]);
    /// assert_eq!(x.repeat(&[2, 2]).to_vec::<i64>(), [1, 2, 1, 2, 1, 2, 1, 2]);
    /// ```
    ///
    /// # Panics
    /// If there are fewer counts than axes.
    #[track_caller]
    #[must_use]
    pub fn repeat(&self, counts: &[usize]) -> Self {
        let rank = self.rank();
        if counts.len() < rank {
            ok::<()>(Err(Error::shape("repeat", format!("at least {rank} counts"), format!("{counts:?}"))));
        }
        let mut shape = vec![1; counts.len() - rank];
        shape.extend(self.shape());
        // Every axis gets a new one of size 1 in front, which is stretched.
        let (mut narrow, mut wide, mut merged) = (Vec::new(), Vec::new(), Vec::new());
        for (&size, &count) in shape.iter().zip(counts) {
            narrow.extend([1, size]);
            wide.extend([count, size]);
            merged.push(ok(count
                .checked_mul(size)
                .ok_or_else(|| Error::shape("repeat", "a shape that fits memory", format!("{counts:?}")))));
        }
        self.reshape_to(&ok(Shape::new(&narrow))).expand_to(&ok(Shape::new(&wide))).reshape_to(&ok(Shape::new(&merged)))
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
