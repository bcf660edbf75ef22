//! Windows over the last axes of an array: as a view, summed where they came from, and the largest element of each.

use super::{Array, Storage};
use crate::backend::{Input, View, ViewMut};
use crate::op::{BinaryOp, CompareOp, TernaryOp};
use crate::program::MAX_INPUTS;
use crate::shape::Dims;
use crate::{Backend, DType, Error, Layout, Program, Result, Scalar, Shape};
use smallvec::SmallVec;

/// Windows over an array's last axes: as many as there are sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// The elements of a window along each axis.
    pub size: Dims<usize>,
    /// From one window to the next.
    pub stride: Dims<usize>,
    /// From one element of a window to the next.
    pub dilation: Dims<usize>,
}

impl Windows {
    /// How many axes windows lie over.
    pub fn rank(&self) -> usize {
        self.size.len()
    }

    /// How far a window reaches along an axis.
    pub fn reach(&self, axis: usize) -> usize {
        (self.size[axis].saturating_sub(1)).saturating_mul(self.dilation[axis]).saturating_add(1)
    }

    /// How many windows there are along an axis of this length; 0 if none fits.
    pub fn count(&self, axis: usize, length: usize) -> usize {
        length.checked_sub(self.reach(axis)).map_or(0, |rest| rest / self.stride[axis] + 1)
    }

    /// Refuses parameters of other numbers of axes, and zeros.
    pub(super) fn check(&self, rank: usize, op: &'static str) -> Result<()> {
        let lists = [("size", &self.size), ("stride", &self.stride), ("dilation", &self.dilation)];
        for (name, list) in lists {
            if list.len() != self.rank() || list.contains(&0) || self.rank() > rank {
                let expected = format!("a {name} of at least 1 for each of the windows' axes, at most {rank}");
                return Err(Error::value(op, expected, format!("{list:?}")));
            }
        }
        Ok(())
    }
}

impl<B: Backend> Array<B> {
    /// A view of all windows that fit: shape `[…, counts…, sizes…]` from `[…, lengths…]`.
    ///
    /// ```
    /// use tensor_core::array::Windows;
    /// use tensor_core::{Array, reference::Reference};
    /// let x = Array::from_slice(&Reference, &[1_i32, 2, 3, 4, 5], [5])?;
    /// let pairs = Windows { size: [2][..].into(), stride: [1][..].into(), dilation: [2][..].into() };
    /// let pairs = x.windows(&pairs)?;
    /// assert_eq!(pairs.dims(), [3, 2]);
    /// assert_eq!(pairs.to_vec::<i32>()?, [1, 3, 2, 4, 3, 5]);
    /// # Ok::<(), tensor_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there are more sizes than axes, a parameter is 0, or not one window fits.
    pub fn windows(&self, windows: &Windows) -> Result<Self> {
        windows.check(self.rank(), "windows")?;
        let lead = self.rank() - windows.rank();
        let mut dims = Dims::from_slice(&self.dims()[..lead]);
        let mut strides = Dims::from_slice(&self.layout.strides()[..lead]);
        for axis in 0..windows.rank() {
            let count = windows.count(axis, self.dims()[lead + axis]);
            if count == 0 {
                return Err(Error::shape(
                    "windows",
                    format!("at least {} elements along axis {}", windows.reach(axis), lead + axis),
                    self.shape().to_string(),
                ));
            }
            dims.push(count);
            // Where there is one window only the stride is not walked, and may be any number.
            strides.push(self.layout.strides()[lead + axis].wrapping_mul(windows.stride[axis] as isize));
        }
        for axis in 0..windows.rank() {
            dims.push(windows.size[axis]);
            strides.push(self.layout.strides()[lead + axis].wrapping_mul(windows.dilation[axis] as isize));
        }
        let shape = Shape::new(&dims).map_err(|error| error.named("windows"))?;
        Ok(self.with_layout(Layout::from_parts(shape, strides, self.layout.offset())))
    }

    /// The sum of windows where they came from, the adjoint of [`windows`](Self::windows): from shape
    /// `[…, counts…, sizes…]` to `[…, lengths…]`.
    ///
    /// ```
    /// use tensor_core::array::Windows;
    /// use tensor_core::{Array, reference::Reference};
    /// let windows = Array::from_slice(&Reference, &[1_i32, 2, 10, 20], [2, 2])?;
    /// let next = Windows { size: [2][..].into(), stride: [1][..].into(), dilation: [1][..].into() };
    /// assert_eq!(windows.fold(&next, &[3])?.to_vec::<i32>()?, [1, 12, 20]);
    /// # Ok::<(), tensor_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the shape is not that of such windows, a parameter is 0, or the device fails.
    pub fn fold(&self, windows: &Windows, lengths: &[usize]) -> Result<Self> {
        let rank = windows.rank();
        windows.check(self.rank() / 2, "fold")?;
        let lead = self.rank() - 2 * rank;
        let fits = lengths.len() == rank
            && (0..rank).all(|axis| {
                self.dims()[lead + axis] == windows.count(axis, lengths[axis])
                    && self.dims()[lead + rank + axis] == windows.size[axis]
            });
        if !fits {
            return Err(Error::shape(
                "fold",
                format!("windows of {:?} over lengths {lengths:?} in the last {} axes", windows.size, 2 * rank),
                self.shape().to_string(),
            ));
        }
        let mut dims = Dims::from_slice(&self.dims()[..lead]);
        dims.extend_from_slice(lengths);
        let shape = Shape::new(&dims).map_err(|error| error.named("fold"))?;
        if shape.numel() == 0 || self.numel() == 0 {
            return Ok(Self::full(&self.backend, 0, &shape, self.dtype));
        }
        let mut sum = Self::zeros_in_memory(&self.backend, shape, self.dtype)?;
        let place = sum.windows(windows)?.layout;
        // Neighbours within a stride belong to one window only; so parts of windows that long do not meet.
        let step = |axis: usize| if windows.dilation[axis] == 1 { windows.stride[axis] } else { 1 };
        let parts: Dims<usize> = (0..rank).map(|axis| windows.size[axis].div_ceil(step(axis))).collect();
        let mut program = Program::new();
        let (held, more) = (program.input(self.dtype), program.input(self.dtype));
        let total = program.binary(BinaryOp::Add, held, more);
        program.output(total);
        for part in crate::reference::positions(&parts) {
            let (mut from, mut to) = (self.layout.clone(), place.clone());
            for (axis, &number) in part.iter().enumerate() {
                let start = number * step(axis);
                let length = step(axis).min(windows.size[axis] - start);
                let at = (lead + rank + axis) as isize;
                from = from.narrow(at, start, length)?;
                to = to.narrow(at, start, length)?;
            }
            let from = self.with_layout(from);
            let held = from.held()?;
            let buffer = sum.buffer_mut();
            let out = ViewMut { buffer, layout: &to, dtype: self.dtype };
            self.backend.pointwise(&program, to.shape(), &[Input::Output(0), Input::View(held.view())], &mut [out])?;
        }
        Ok(sum)
    }

    /// The memory of an array that was made here, of more than one axis.
    pub(super) fn buffer_mut(&mut self) -> &mut B::Buffer {
        match &mut self.storage {
            Storage::Buffer(buffer) => buffer,
            Storage::Lazy(_) | Storage::Const(_) => unreachable!("it was made of a buffer"),
        }
    }

    /// Zeros in memory that nobody else holds.
    pub(super) fn zeros_in_memory(backend: &B, shape: Shape, dtype: DType) -> Result<Self> {
        let mut buffer = backend.alloc(shape.numel() * dtype.size())?;
        let layout = Layout::contiguous(shape.clone());
        Self::full(backend, 0, &shape, dtype).copy_into(&mut buffer, &layout)?;
        Self::from_buffer(backend.clone(), buffer, shape, dtype)
    }

    /// The part of the last axes that `spans` name, from a coordinate to another, with zeros beyond the array's ends.
    pub(super) fn covering(&self, spans: &[[isize; 2]]) -> Result<Self> {
        let lead = self.rank() - spans.len();
        let mut dims = Dims::from_slice(&self.dims()[..lead]);
        let mut inner = self.clone();
        let mut starts: Dims<usize> = Dims::new();
        let mut whole = true;
        for (axis, &[start, end]) in spans.iter().enumerate() {
            let length = self.dims()[lead + axis] as isize;
            let (low, high) = (start.clamp(0, length), end.clamp(0, length));
            let size = (high - low).max(0);
            inner = inner.narrow((lead + axis) as isize, low as usize, size as usize)?;
            whole &= size == end - start;
            starts.push((low - start) as usize);
            dims.push((end - start) as usize);
        }
        if whole {
            return Ok(inner);
        }
        let shape = Shape::new(&dims)?;
        if inner.numel() == 0 {
            return Ok(Self::full(&self.backend, 0, &shape, self.dtype));
        }
        let mut result = Self::zeros_in_memory(&self.backend, shape, self.dtype)?;
        let mut place = result.layout.clone();
        for (axis, &start) in starts.iter().enumerate() {
            place = place.narrow((lead + axis) as isize, start, inner.dims()[lead + axis])?;
        }
        inner.copy_into(result.buffer_mut(), &place)?;
        Ok(result)
    }

    /// The largest element of each window, and which of the window's elements it is, counted in row-major order: `U8`, or
    /// `I32` where windows have more than 256. Of equal ones the first is taken; NaN is larger than everything.
    ///
    /// ```
    /// use tensor_core::array::Windows;
    /// use tensor_core::{Array, reference::Reference};
    /// let x = Array::from_slice(&Reference, &[1_i32, 3, 3, 2], [4])?;
    /// let pairs = Windows { size: [2][..].into(), stride: [1][..].into(), dilation: [1][..].into() };
    /// let (largest, which) = x.window_max(&pairs)?;
    /// assert_eq!(largest.to_vec::<i32>()?, [3, 3, 3]);
    /// assert_eq!(which.to_vec::<u8>()?, [1, 0, 0]);
    /// # Ok::<(), tensor_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`windows`](Self::windows).
    pub fn window_max(&self, windows: &Windows) -> Result<(Self, Self)> {
        let taps = self.taps(windows)?;
        let counter = if taps.len() <= 256 { DType::U8 } else { DType::I32 };
        let shape = taps[0].shape().clone();
        if shape.numel() == 0 {
            let empty = |dtype| Self::empty_of(self.backend.clone(), shape.clone(), dtype);
            return Ok((empty(self.dtype), empty(counter)));
        }
        let held = self.held()?;
        let layout = Layout::contiguous(shape.clone());
        let mut largest = self.backend.alloc(shape.numel() * self.dtype.size())?;
        let mut which = self.backend.alloc(shape.numel() * counter.size())?;
        let mut next = 0;
        while next < taps.len() {
            let mut program = Program::new();
            let mut inputs: SmallVec<[Input<'_, B>; MAX_INPUTS]> = SmallVec::new();
            let mut best = None;
            if next > 0 {
                best = Some((program.input(self.dtype), program.input(counter)));
                inputs.extend([Input::Output(0), Input::Output(1)]);
            }
            while next < taps.len() && inputs.len() < MAX_INPUTS {
                inputs.push(Input::View(View { layout: &taps[next], ..held.view() }));
                let tap = program.input(self.dtype);
                let number = program.scalar(Scalar::from(next).cast(counter), counter);
                best = Some(match best {
                    None => (tap, number),
                    Some((value, at)) => {
                        let mut stays = program.compare(CompareOp::Ge, value, tap);
                        if self.dtype.is_float() {
                            let is_nan = program.compare(CompareOp::Ne, value, value);
                            stays = program.binary(BinaryOp::BitOr, stays, is_nan);
                        }
                        let value = program.ternary(TernaryOp::Where, stays, value, tap);
                        (value, program.ternary(TernaryOp::Where, stays, at, number))
                    }
                });
                next += 1;
            }
            if let Some((value, at)) = best {
                program.output(value);
                program.output(at);
            }
            let mut outputs = [
                ViewMut { buffer: &mut largest, layout: &layout, dtype: self.dtype },
                ViewMut { buffer: &mut which, layout: &layout, dtype: counter },
            ];
            self.backend.pointwise(&program, &shape, &inputs, &mut outputs)?;
        }
        let largest = Self::from_dense(self.backend.clone(), largest, layout.clone(), self.dtype)?;
        Ok((largest, Self::from_dense(self.backend.clone(), which, layout, counter)?))
    }

    /// Of each window the element that `which` says, as [`window_max`](Self::window_max) does.
    ///
    /// # Errors
    /// As for [`windows`](Self::windows), and if `which` has not one number for each window. A number beyond the window's
    /// elements gives 0.
    pub fn window_pick(&self, windows: &Windows, which: &Self) -> Result<Self> {
        let taps = self.taps(windows)?;
        expect_which(which, taps[0].shape(), "window_pick")?;
        let mut picked = Self::full(&self.backend, 0, which.shape(), self.dtype);
        for (number, tap) in taps.into_iter().enumerate() {
            let here = Self::compare(CompareOp::Eq, which, Scalar::from(number))?;
            picked = Self::ternary(TernaryOp::Where, &here, &self.with_layout(tap), &picked)?;
        }
        Ok(picked)
    }

    /// One number of each window added to the element that `which` says: the adjoint of [`window_pick`](Self::window_pick).
    ///
    /// # Errors
    /// If the shape is not that of such windows, `which` has another one, or the device fails.
    pub fn window_place(&self, windows: &Windows, which: &Self, lengths: &[usize]) -> Result<Self> {
        let rank = windows.rank();
        windows.check(self.rank(), "window_place")?;
        expect_which(which, self.shape(), "window_place")?;
        let lead = self.rank() - rank;
        let fits = lengths.len() == rank
            && (0..rank).all(|axis| self.dims()[lead + axis] == windows.count(axis, lengths[axis]));
        if !fits {
            let expected = format!("as many as there are windows of {:?} over lengths {lengths:?}", windows.size);
            return Err(Error::shape("window_place", expected, self.shape().to_string()));
        }
        let mut dims = Dims::from_slice(&self.dims()[..lead]);
        dims.extend_from_slice(lengths);
        let shape = Shape::new(&dims).map_err(|error| error.named("window_place"))?;
        if self.numel() == 0 {
            return Ok(Self::full(&self.backend, 0, &shape, self.dtype));
        }
        let mut sum = Self::zeros_in_memory(&self.backend, shape, self.dtype)?;
        let places = sum.taps(windows)?;
        // Where windows do not meet, every element has one number at most.
        let apart = (0..rank).all(|axis| windows.dilation[axis] == 1 && windows.size[axis] <= windows.stride[axis]);
        let (numbers, which) = (self.held()?, which.held()?);
        for (number, place) in places.into_iter().enumerate() {
            let mut program = Program::new();
            let (given, at) = (program.input(self.dtype), program.input(which.dtype));
            let wanted = program.scalar(Scalar::from(number).cast(which.dtype), which.dtype);
            let here = program.compare(CompareOp::Eq, at, wanted);
            let zero = program.scalar(Scalar::Int(0).cast(self.dtype), self.dtype);
            let mut result = program.ternary(TernaryOp::Where, here, given, zero);
            let mut inputs: SmallVec<[Input<'_, B>; 3]> = SmallVec::new();
            inputs.extend([Input::View(numbers.view()), Input::View(which.view())]);
            if !apart {
                let held = program.input(self.dtype);
                result = program.binary(BinaryOp::Add, held, result);
                inputs.push(Input::Output(0));
            }
            program.output(result);
            let out = ViewMut { buffer: sum.buffer_mut(), layout: &place, dtype: self.dtype };
            self.backend.pointwise(&program, place.shape(), &inputs, &mut [out])?;
        }
        Ok(sum)
    }

    /// For each element of a window, in row-major order, where it lies in all windows.
    fn taps(&self, windows: &Windows) -> Result<Vec<Layout>> {
        let all = self.windows(windows)?.layout;
        let first = (all.rank() - windows.rank()) as isize;
        crate::reference::positions(&windows.size)
            .map(|tap| tap.iter().try_fold(all.clone(), |layout, &at| layout.select(first, at as isize)))
            .collect()
    }
}

/// Refuses what does not name an element for each window.
fn expect_which<B: Backend>(which: &Array<B>, shape: &Shape, op: &'static str) -> Result<()> {
    if which.dtype != DType::U8 && which.dtype != DType::I32 {
        return Err(Error::dtype(op, "the numbers of elements in u8 or i32", which.dtype.to_string()));
    }
    if which.shape() != shape {
        return Err(Error::shape(op, format!("a number for each window, of shape {shape}"), which.shape().to_string()));
    }
    Ok(())
}
