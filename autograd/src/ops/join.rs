//! Joining, splitting, repeating.

use crate::misuse::ok;
use crate::operand::Operand;
use crate::primitive::{Primitive, apply};
use crate::tensor::Tensor;
use std::borrow::Borrow;
use tensor_core::{Backend, Error, Result, Scalar, Shape};

impl<B: Backend> Tensor<B> {
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
    pub fn cat(parts: &[impl Borrow<Self>], axis: isize) -> Self {
        let parts: Vec<&Self> = parts.iter().map(Borrow::borrow).collect();
        ok(Self::try_cat(&parts, axis))
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
    pub fn stack(parts: &[impl Borrow<Self>], axis: isize) -> Self {
        let parts: Vec<&Self> = parts.iter().map(Borrow::borrow).collect();
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
}
