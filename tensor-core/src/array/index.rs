//! Picking and placing elements: gather, scatter, cat, assignment, masks.

use super::Array;
use crate::backend::{Input, ReduceOp, ScatterOp, ViewMut};
use crate::op::{BinaryOp, CompareOp, Takes, TernaryOp};
use crate::program::Program;
use crate::shape::Dims;
use crate::{Backend, DType, Error, Layout, Result, Scalar, Shape};

impl<B: Backend> Array<B> {
    /// `out[…, i, …] = self[…, index[…, i, …], …]`, the index standing at `axis`. The index is of an integer dtype and has as
    /// many axes as the array (0-d counts as one axis of size 1); along all other axes it may be smaller. The result has
    /// the index's shape.
    ///
    /// # Errors
    /// If ranks or sizes do not fit, an index is negative or too large, devices differ, or the device fails.
    pub fn gather(&self, axis: isize, index: &Self) -> Result<Self> {
        let (source, places) = (self.at_least_1d()?, self.neighbor(index, "gather")?.at_least_1d()?);
        let at = source.check_index("gather", axis, &places, None)?;
        source.check_range("gather", at, &places)?;
        source.pick(at, &places)?.reshape(index.shape())?.settled()
    }

    /// [`gather`](Self::gather) without the checks.
    fn pick(&self, at: usize, index: &Self) -> Result<Self> {
        let shape = index.shape().clone();
        if shape.numel() == 0 {
            return Ok(Self::empty_of(self.backend.clone(), shape, self.dtype));
        }
        if let Some(value) = self.constant() {
            return Ok(Self::constant_of(self.backend.clone(), value, shape, self.dtype));
        }
        let index = index.cast(DType::I64)?;
        let (input, index) = (self.held()?, index.held()?);
        let layout = Layout::contiguous(shape.clone());
        let mut buffer = self.backend.alloc(shape.numel() * self.dtype.size())?;
        let out = ViewMut { buffer: &mut buffer, layout: &layout, dtype: self.dtype };
        self.backend.gather(at, input.view(), index.view(), out)?;
        Self::from_buffer(self.backend.clone(), buffer, shape, self.dtype)
    }

    /// Whole slices along an axis in the order of a vector of indices; negative ones count from the back. A 0-d array
    /// takes one index and stays 0-d.
    ///
    /// # Errors
    /// If the index is no integer vector, an index is out of range, devices differ, or the device fails.
    pub fn index_select(&self, axis: isize, index: &Self) -> Result<Self> {
        let op = "index_select";
        let source = self.at_least_1d()?;
        let at = source.shape().axis(axis, op)?;
        let index = source.slice_numbers(op, at, index)?;
        if self.rank() == 0 && index.numel() != 1 {
            return Err(Error::shape(op, "one index for a 0-d tensor", format!("{}", index.numel())));
        }
        let mut dims = Dims::from_slice(source.dims());
        dims[at] = index.numel();
        let shape = Shape::new(&dims).map_err(|error| error.named(op))?;
        let out = source.pick(at, &index.along(at, &shape)?)?;
        if self.rank() == 0 { out.reshape(&Shape::scalar())?.settled() } else { Ok(out) }
    }

    /// This array with `src[…, i, …]` combined into position `index[…, i, …]` along `axis`. The source may be larger than
    /// the index; what lies beyond is not used.
    ///
    /// # Errors
    /// If ranks, sizes or dtypes do not fit, an index is negative or too large, devices differ, or the device fails.
    pub fn scatter(&self, op: ScatterOp, axis: isize, index: &Self, src: &Self) -> Result<Self> {
        let target = self.at_least_1d()?;
        let index = self.neighbor(index, op.name())?.at_least_1d()?;
        let src = self.neighbor(src, op.name())?.at_least_1d()?;
        let at = target.check_index(op.name(), axis, &index, Some(&src))?;
        self.check_source(op, &src)?;
        target.check_range(op.name(), at, &index)?;
        let mut part = src;
        for (axis, &size) in index.dims().iter().enumerate() {
            part = part.narrow(axis as isize, 0, size)?;
        }
        target.place(op, at, &index, &part)?.reshape(self.shape())?.settled()
    }

    /// [`scatter`](Self::scatter) without the checks, of a source of the index's shape.
    fn place(&self, op: ScatterOp, at: usize, index: &Self, src: &Self) -> Result<Self> {
        if index.numel() == 0 {
            return Ok(self.clone());
        }
        let index = index.cast(DType::I64)?;
        let (index, src) = (index.held()?, src.held()?);
        let (mut buffer, layout) = self.copied()?;
        let out = ViewMut { buffer: &mut buffer, layout: &layout, dtype: self.dtype };
        self.backend.scatter(op, at, index.view(), src.view(), out)?;
        Self::from_buffer(self.backend.clone(), buffer, self.shape().clone(), self.dtype)
    }

    /// This array with whole slices of `src` combined into the places of a vector of indices along `axis`; negative ones
    /// count from the back.
    ///
    /// # Errors
    /// If shapes or dtypes do not fit, an index is out of range, devices differ, or the device fails.
    pub fn index_scatter(&self, op: ScatterOp, axis: isize, index: &Self, src: &Self) -> Result<Self> {
        let at = self.shape().axis(axis, op.name())?;
        let (target, src) = (self.at_least_1d()?, self.neighbor(src, op.name())?.at_least_1d()?);
        let index = target.slice_numbers(op.name(), at, index)?;
        self.check_source(op, &src)?;
        let mut dims = Dims::from_slice(target.dims());
        dims[at] = index.numel();
        let shape = Shape::new(&dims).map_err(|error| error.named(op.name()))?;
        if *src.shape() != shape {
            return Err(Error::shape(op.name(), format!("a source of shape {shape}"), format!("{}", src.shape())));
        }
        target.place(op, at, &index.along(at, &shape)?, &src)?.reshape(self.shape())?.settled()
    }

    /// Arrays joined along an axis. Dtypes promote; empty vectors are skipped.
    ///
    /// # Errors
    /// If there is none, an axis is missing, sizes differ along another axis, devices differ, or the device fails.
    pub fn cat(parts: &[&Self], axis: isize) -> Result<Self> {
        let Some(&first) = parts.first() else {
            return Err(Error::shape("cat", "at least one tensor", "an empty list"));
        };
        if let Some(scalar) = parts.iter().find(|part| part.rank() == 0) {
            return Err(Error::shape("cat", "tensors with at least one axis", format!("shape {}", scalar.shape()))
                .hint("use stack for scalars"));
        }
        let dtype = crate::result_type(parts.iter().map(|part| (part.dtype, part.rank())), []);
        let real: Vec<&Self> = parts.iter().copied().filter(|part| *part.shape() != [0]).collect();
        let Some(&model) = real.first() else {
            first.shape().axis(axis, "cat")?;
            return first.cast(dtype);
        };
        let at = model.shape().axis(axis, "cat")?;
        let mut dims = Dims::from_slice(model.dims());
        dims[at] = 0;
        for (number, part) in real.iter().enumerate() {
            model.same_device(part, "cat")?;
            let fits = part.rank() == model.rank()
                && part.dims().iter().zip(model.dims()).enumerate().all(|(axis, (a, b))| axis == at || a == b);
            if !fits {
                return Err(Error::shape(
                    "cat",
                    format!("shapes equal to {} but along axis {at}", model.shape()),
                    format!("{} as tensor number {number}", part.shape()),
                ));
            }
            // Constants take no memory, so sizes may add up to more than a number holds; no shape is as large as that.
            dims[at] = dims[at].saturating_add(part.dims()[at]);
        }
        let shape = Shape::new(&dims).map_err(|error| error.named("cat"))?;
        if shape.numel() == 0 {
            return Ok(Self::empty_of(model.backend.clone(), shape, dtype));
        }
        let whole = Layout::contiguous(shape.clone());
        let mut buffer = model.backend.alloc(shape.numel() * dtype.size())?;
        let mut start = 0;
        for part in real {
            let size = part.dims()[at];
            if part.numel() > 0 {
                part.cast(dtype)?.copy_into(&mut buffer, &whole.narrow(at as isize, start, size)?)?;
            }
            start += size;
        }
        Self::from_buffer(model.backend.clone(), buffer, shape, dtype)
    }

    /// This array with the elements of a view of it replaced. `view` maps the array's layout to the view's, such as a slice
    /// or a diagonal; `values` broadcasts to the view's shape and is converted to the array's dtype.
    ///
    /// # Errors
    /// If the values do not fit the view, the view has an element twice or lies outside the array, devices differ, or the
    /// device fails.
    pub fn assign(&self, view: impl FnOnce(&Layout) -> Result<Layout>, values: &Self) -> Result<Self> {
        let whole = Layout::contiguous(self.shape().clone());
        let place = view(&whole)?;
        let values = self.neighbor(values, "assign")?.cast(self.dtype)?;
        let values = values.expand(place.shape()).map_err(|error| error.named("assign"))?;
        let Some((_, last)) = place.bounds() else {
            return Ok(self.clone());
        };
        if last >= self.numel() {
            return Err(Error::index(
                "assign",
                format!("a view within the {} elements of the tensor", self.numel()),
                format!("one that reaches element {last}"),
            ));
        }
        if place.overlaps() {
            return Err(Error::shape(
                "assign",
                "a view that has each element once",
                format!("shape {} with strides {:?}", place.shape(), place.strides()),
            )
            .hint("an expanded or unfolded view has one element at several places; assign before expanding"));
        }
        let (mut buffer, _) = self.copied()?;
        values.copy_into(&mut buffer, &place)?;
        Self::from_buffer(self.backend.clone(), buffer, self.shape().clone(), self.dtype)
    }

    /// This array with values added to the elements of a view of it: within its own memory if nobody else sees that. `view` maps the
    /// array's layout to the view's, which has the values' shape and no element twice.
    ///
    /// # Errors
    /// If shapes or dtypes do not fit, or the device fails.
    pub fn add_at(mut self, view: impl FnOnce(&Layout) -> Result<Layout>, values: &Self) -> Result<Self> {
        let place = view(&Layout::contiguous(self.shape().clone()))?;
        let inside = place.bounds().is_none_or(|(_, last)| last < self.numel());
        if place.shape() != values.shape() || self.dtype != values.dtype || !inside || place.overlaps() {
            let expected = format!("{} values for a view within {}, each once", place.shape(), self.shape());
            return Err(Error::shape("add_at", expected, format!("{} of {}", values.shape(), values.dtype)));
        }
        self.same_device(values, "add_at")?;
        if place.shape().numel() == 0 {
            return Ok(self);
        }
        self.force()?;
        let mut buffer = match self.take_buffer() {
            Some(buffer) => buffer,
            None => self.copied()?.0,
        };
        let mut program = Program::new();
        let (old, more) = (program.input(self.dtype), program.input(self.dtype));
        let sum = program.binary(BinaryOp::Add, old, more);
        program.output(sum);
        let held = values.held()?;
        let out = ViewMut { buffer: &mut buffer, layout: &place, dtype: self.dtype };
        let inputs = [Input::Output(0), Input::View(held.view())];
        self.backend.pointwise(&program, place.shape(), &inputs, &mut [out])?;
        Self::from_buffer(self.backend.clone(), buffer, self.shape().clone(), self.dtype)
    }

    /// The positions of all elements that are not zero, one a row, in row-major order: shape `[count, rank]`, `I64`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn nonzero(&self) -> Result<Self> {
        let flat = self.mask_indices()?;
        let count = flat.numel();
        let mut columns = Vec::with_capacity(self.rank());
        let mut left = flat;
        for (axis, &size) in self.dims().iter().enumerate().rev() {
            let mut column = left.clone();
            if axis > 0 {
                // A division takes longer than all the rest; so its remainder is not asked for by another one.
                let size = size.max(1) as i64;
                let above = Self::binary(BinaryOp::FloorDiv, &left, size)?;
                column = Self::binary(BinaryOp::Sub, &left, &Self::binary(BinaryOp::Mul, &above, size)?)?;
                left = above;
            }
            columns.push(column.unsqueeze(1)?);
        }
        if columns.is_empty() {
            return Ok(Self::empty_of(self.backend.clone(), Shape::new([count, 0])?, DType::I64));
        }
        columns.reverse();
        Self::cat(&columns.iter().collect::<Vec<_>>(), 1)
    }

    /// The elements at which a bool array of the same shape (after broadcasting) holds, as a vector.
    ///
    /// # Errors
    /// If the mask is no bool, shapes do not broadcast, or the device fails.
    pub fn masked_select(&self, mask: &Self) -> Result<Self> {
        if mask.dtype != DType::Bool {
            return Err(Error::dtype("masked_select", "a mask of dtype bool", mask.dtype.name())
                .hint("compare it with something, or convert it with .to(DType::Bool)"));
        }
        let mask = self.neighbor(mask, "masked_select")?;
        let shape = self.shape().broadcast(mask.shape(), "masked_select")?;
        let index = mask.expand(&shape)?.mask_indices()?;
        let flat = self.expand(&shape)?.reshape(&Shape::new([shape.numel()])?)?;
        flat.pick(0, &index)
    }

    /// The row-major numbers of all elements that are not zero, as a vector of `I64`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn mask_indices(&self) -> Result<Self> {
        let numel = self.numel();
        let flat = self.cast(DType::Bool)?.reshape(&Shape::new([numel])?)?;
        if numel == 0 {
            return Ok(Self::empty_of(self.backend.clone(), Shape::new([0])?, DType::I64));
        }
        flat.force()?;
        let count = flat.reduce(ReduceOp::Sum, &[], false)?.item()?.as_i64() as usize;
        let shape = Shape::new([count])?;
        if count == 0 {
            return Ok(Self::empty_of(self.backend.clone(), shape, DType::I64));
        }
        let held = flat.held()?;
        let mut buffer = self.backend.alloc(count * DType::I64.size())?;
        let layout = Layout::contiguous(shape.clone());
        let out = ViewMut { buffer: &mut buffer, layout: &layout, dtype: DType::I64 };
        self.backend.mask_indices(held.view(), out)?;
        Self::from_buffer(self.backend.clone(), buffer, shape, DType::I64)
    }

    /// A vector of indices along `axis` of `shape`, repeated without memory along all other axes.
    fn along(&self, axis: usize, shape: &Shape) -> Result<Self> {
        let mut dims: Dims<usize> = Dims::from_elem(1, shape.rank());
        dims[axis] = self.numel();
        self.reshape(&Shape::new(&dims)?)?.expand(shape)
    }

    /// Indices with the negative ones counted from the back of an axis of this size.
    ///
    /// # Errors
    /// If the array has no integer dtype, an index is out of range, or the device fails.
    pub fn non_negative(&self, size: usize, op: &'static str) -> Result<Self> {
        require_index(op, self)?;
        if self.numel() == 0 {
            return Ok(self.clone());
        }
        let (low, high) = self.int_range()?;
        let bound = size as i64;
        if low < -bound || high >= bound {
            let wrong = if low < -bound { low } else { high };
            let expected = if size == 0 {
                "no index for an axis of size 0".to_owned()
            } else {
                format!("indices from {} to {}", -bound, bound - 1)
            };
            return Err(Error::index(op, expected, wrong.to_string()));
        }
        if low >= 0 {
            return Ok(self.clone());
        }
        let wide = self.cast(DType::I64)?;
        let negative = Self::compare(CompareOp::Lt, &wide, 0)?;
        Self::ternary(TernaryOp::Where, &negative, &wide.add(size)?, &wide)
    }

    /// The vector of indices of whole slices along an axis of this array, on its device, checked and none negative.
    fn slice_numbers(&self, op: &'static str, at: usize, index: &Self) -> Result<Self> {
        if index.rank() > 1 {
            return Err(Error::shape(op, "a vector of indices", format!("shape {}", index.shape())));
        }
        self.neighbor(index, op)?.at_least_1d()?.non_negative(self.dims()[at], op)
    }

    fn at_least_1d(&self) -> Result<Self> {
        if self.rank() == 0 { self.unsqueeze(0) } else { Ok(self.clone()) }
    }

    /// What gather and scatter ask of an index's dtype and shape; gives the axis.
    fn check_index(&self, op: &'static str, axis: isize, index: &Self, src: Option<&Self>) -> Result<usize> {
        require_index(op, index)?;
        let at = self.shape().axis(axis, op)?;
        for (what, part) in [("an index", Some(index)), ("a source", src)] {
            if let Some(part) = part
                && part.rank() != self.rank()
            {
                return Err(Error::shape(
                    op,
                    format!("{what} with as many axes as the tensor of shape {}", self.shape()),
                    format!("{}", part.shape()),
                ));
            }
        }
        for (axis, &size) in index.dims().iter().enumerate() {
            let room = if axis == at { usize::MAX } else { self.dims()[axis] };
            let room = src.map_or(room, |src| room.min(src.dims()[axis]));
            if size > room {
                let source = src.map_or(String::new(), |src| format!(" and a source of shape {}", src.shape()));
                return Err(Error::shape(
                    op,
                    format!("an index of size {room} at most along axis {axis}"),
                    format!("{} for a tensor of shape {}{source}", index.shape(), self.shape()),
                ));
            }
        }
        Ok(at)
    }

    /// Refuses indices outside an axis.
    fn check_range(&self, op: &'static str, at: usize, index: &Self) -> Result<()> {
        if index.numel() == 0 {
            return Ok(());
        }
        let (low, high) = index.int_range()?;
        let size = self.dims()[at];
        if low >= 0 && high < size as i64 {
            return Ok(());
        }
        let wrong = if low < 0 { low } else { high };
        Err(Error::index(op, format!("indices within axis {at} of size {size}"), wrong.to_string()))
    }

    /// What scatters ask of the source's dtype.
    fn check_source(&self, op: ScatterOp, src: &Self) -> Result<()> {
        if self.dtype != src.dtype {
            return Err(Error::dtype(
                op.name(),
                format!("a source of the tensor's dtype {}", self.dtype),
                src.dtype.name(),
            )
            .hint("convert it with .to(dtype)"));
        }
        if self.dtype == DType::Bool && matches!(op, ScatterOp::Add | ScatterOp::Mul) {
            return Err(Error::dtype(op.name(), Takes::Number.expected(), "bool"));
        }
        Ok(())
    }

    /// A new buffer with this array's elements, which nobody else holds.
    fn copied(&self) -> Result<(B::Buffer, Layout)> {
        let layout = Layout::contiguous(self.shape().clone());
        let mut buffer = self.backend.alloc(self.numel() * self.dtype.size())?;
        self.copy_into(&mut buffer, &layout)?;
        Ok((buffer, layout))
    }

    /// Writes the elements to a place of the same shape in a buffer that nobody else holds.
    pub(super) fn copy_into(&self, buffer: &mut B::Buffer, place: &Layout) -> Result<()> {
        let mut program = Program::new();
        let out = ViewMut { buffer, layout: place, dtype: self.dtype };
        if let Some(value) = self.constant() {
            let value = program.scalar(value, self.dtype);
            program.output(value);
            return self.backend.pointwise(&program, place.shape(), &[], &mut [out]);
        }
        let held = self.held()?;
        self.backend.pointwise(&Program::copy(self.dtype), place.shape(), &[Input::View(held.view())], &mut [out])
    }

    /// This array with the elements where `mask` holds replaced by a value.
    ///
    /// # Errors
    /// If the mask is no bool, shapes do not broadcast, or the device fails.
    pub fn masked_fill(&self, mask: &Self, value: impl Into<Scalar>) -> Result<Self> {
        Self::ternary(TernaryOp::Where, mask, value.into().cast(self.dtype), self)
            .map_err(|error| error.named("masked_fill"))
    }
}

fn require_index<B: Backend>(op: &'static str, index: &Array<B>) -> Result<()> {
    if index.dtype().is_int() {
        return Ok(());
    }
    Err(Error::dtype(op, format!("an index of {}", Takes::Int.expected()), index.dtype().name()))
}
