//! Reductions, scans, sort and softmax.

use super::{Array, Storage, lazy, single};
use crate::backend::{ReduceOp, ReduceSpec, ScanOp, View, ViewMut};
use crate::op::Takes;
use crate::program::MAX_INPUTS;
use crate::shape::Dims;
use crate::{Backend, DType, Error, Layout, Result, Scalar, Shape};
use smallvec::SmallVec;
use std::borrow::Cow;

impl<B: Backend> Array<B> {
    /// Combines the elements along axes; an empty list means all. Sums and products of integers and bools are `I64`;
    /// the largest and smallest keep the dtype; arg-reductions give `I64` indices, along one axis or (no axes) of the array
    /// flattened.
    ///
    /// # Errors
    /// If an axis does not exist or is named twice, an arg-reduction has several axes, nothing is left to take the largest
    /// or smallest of, or the device fails.
    pub fn reduce(&self, op: ReduceOp, axes: &[isize], keepdim: bool) -> Result<Self> {
        if op.gives_index() && axes.is_empty() && self.rank() > 1 {
            let flat = self.reshape(&crate::Shape::new([self.numel()])?)?;
            let index = flat.reduce(op, &[0], false)?;
            return if keepdim { index.reshape(&crate::Shape::new(vec![1; self.rank()])?) } else { Ok(index) };
        }
        let list = match axes {
            [] => (0..self.rank()).collect(),
            axes => self.shape().axes(axes, op.name())?,
        };
        if op.gives_index() && list.len() > 1 {
            return Err(Error::index(op.name(), "one axis, or none for all elements", format!("{axes:?}")));
        }
        let source = match op {
            ReduceOp::Sum | ReduceOp::Prod if !self.dtype.is_float() => Cow::Owned(self.cast(DType::I64)?),
            _ => Cow::Borrowed(self),
        };
        let dtype = if op.gives_index() { DType::I64 } else { source.dtype };
        let out_shape = self.shape().reduce(&list, false);
        let kept = if keepdim { self.shape().reduce(&list, true) } else { out_shape.clone() };
        let count: usize = list.iter().map(|&axis| self.dims()[axis]).product();
        if out_shape.numel() == 0 {
            return Ok(Self::empty_of(self.backend.clone(), kept, dtype));
        }
        if count == 0 {
            let value = match op {
                ReduceOp::Sum => Scalar::Int(0),
                ReduceOp::Prod => Scalar::Int(1),
                ReduceOp::Max if dtype == DType::Bool => Scalar::Bool(false),
                ReduceOp::Min if dtype == DType::Bool => Scalar::Bool(true),
                _ => {
                    return Err(Error::shape(
                        op.name(),
                        "at least one element along the reduced axes",
                        format!("shape {}", self.shape()),
                    ));
                }
            };
            return Ok(Self::constant_of(self.backend.clone(), value.cast(dtype), kept, dtype));
        }
        if count == 1 {
            // Nothing meets anything: 0-d arrays and axes of size 1.
            return if op.gives_index() {
                Ok(Self::constant_of(self.backend.clone(), Scalar::Int(0), kept, dtype))
            } else {
                source.reshape(&kept)?.settled()
            };
        }
        let mut buffer = self.backend.alloc(out_shape.numel() * dtype.size())?;
        let layout = Layout::contiguous(out_shape);
        let out = ViewMut { buffer: &mut buffer, layout: &layout, dtype };
        let spec = |prologue| ReduceSpec { op, shape: self.shape(), axes: &list, prologue };
        if let Storage::Buffer(held) = &source.storage {
            let input = View { buffer: held, layout: &source.layout, dtype: source.dtype };
            self.backend.reduce(&spec(single::copy(source.dtype)), &[input], out)?;
        } else {
            let fused = lazy::prologue(&source)?;
            let inputs: SmallVec<[View<'_, B>; MAX_INPUTS]> =
                fused.inputs.iter().map(|(buffer, layout, dtype)| View { buffer, layout, dtype: *dtype }).collect();
            self.backend.reduce(&spec(&fused.program), &inputs, out)?;
        }
        let layout = if keepdim { Layout::contiguous(kept) } else { layout };
        Self::from_dense(self.backend.clone(), buffer, layout, dtype)
    }

    /// The sum along axes (all if none are named).
    ///
    /// # Errors
    /// As [`reduce`](Self::reduce).
    pub fn sum(&self, axes: &[isize], keepdim: bool) -> Result<Self> {
        self.reduce(ReduceOp::Sum, axes, keepdim)
    }

    /// Whether any element is not zero.
    ///
    /// # Errors
    /// If the device fails.
    pub fn any_element(&self) -> Result<bool> {
        Ok(self.cast(DType::Bool)?.reduce(ReduceOp::Max, &[], false)?.item()?.as_bool())
    }

    /// The smallest and largest element of an integer array that is not empty.
    pub(super) fn int_range(&self) -> Result<(i64, i64)> {
        if let Some(value) = self.constant() {
            return Ok((value.as_i64(), value.as_i64()));
        }
        let low = self.reduce(ReduceOp::Min, &[], false)?.item()?;
        let high = self.reduce(ReduceOp::Max, &[], false)?.item()?;
        Ok((low.as_i64(), high.as_i64()))
    }

    /// Running totals along an axis. Integers and bools become `I64`.
    ///
    /// # Errors
    /// If the axis does not exist, or the device fails.
    pub fn scan(&self, op: ScanOp, axis: isize) -> Result<Self> {
        let at = self.shape().axis(axis, op.name())?;
        let source = if self.dtype.is_float() { self.clone() } else { self.cast(DType::I64)? };
        if source.rank() == 0 || source.numel() == 0 {
            return Ok(source);
        }
        let held = source.held()?;
        self.produce(source.dtype, |out| self.backend.scan(op, at, held.view(), out))
    }

    /// `eˣ / Σ eˣ` along an axis, or its logarithm.
    ///
    /// # Errors
    /// If the axis does not exist, the dtype is no float, or the device fails.
    pub fn softmax(&self, axis: isize, log: bool) -> Result<Self> {
        let op = if log { "log_softmax" } else { "softmax" };
        let at = self.shape().axis(axis, op)?;
        if !self.dtype.is_float() {
            return Err(Error::dtype(op, Takes::Float.expected(), self.dtype.name()));
        }
        if self.rank() == 0 {
            return self.reshape(&crate::Shape::new([1])?)?.softmax(0, log)?.reshape(self.shape());
        }
        if self.numel() == 0 {
            return Ok(self.clone());
        }
        let held = self.held()?;
        self.produce(self.dtype, |out| self.backend.softmax(at, log, held.view(), out))
    }

    /// The elements sorted along an axis, stably, and where each came from (`I64`). NaN is larger than everything.
    ///
    /// # Errors
    /// If the axis does not exist, or the device fails.
    pub fn sort(&self, axis: isize, descending: bool) -> Result<(Self, Self)> {
        let at = self.shape().axis(axis, "sort")?;
        if self.rank() == 0 || self.numel() == 0 {
            return Ok((self.clone(), Self::full(&self.backend, 0, self.shape(), DType::I64)));
        }
        let held = self.held()?;
        let layout = Layout::contiguous(self.shape().clone());
        let mut values = self.backend.alloc(self.numel() * self.dtype.size())?;
        let mut indices = self.backend.alloc(self.numel() * DType::I64.size())?;
        self.backend.sort(
            at,
            descending,
            held.view(),
            ViewMut { buffer: &mut values, layout: &layout, dtype: self.dtype },
            ViewMut { buffer: &mut indices, layout: &layout, dtype: DType::I64 },
        )?;
        Ok((
            Self::from_buffer(self.backend.clone(), values, self.shape().clone(), self.dtype)?,
            Self::from_buffer(self.backend.clone(), indices, self.shape().clone(), DType::I64)?,
        ))
    }

    /// The `count` largest (or smallest) along an axis in order, of equal ones the first, and where each came from (`I64`). NaN is
    /// larger than everything. A 0-d array has one.
    ///
    /// # Errors
    /// If the axis does not exist or is shorter, or the device fails.
    pub fn topk(&self, count: usize, axis: isize, largest: bool) -> Result<(Self, Self)> {
        let at = self.shape().axis(axis, "topk")?;
        if self.rank() == 0 {
            if count > 1 {
                return Err(Error::index("topk", "k of at most 1 for a 0-d tensor", count.to_string()));
            }
            return Ok((self.clone(), Self::full(&self.backend, 0, self.shape(), DType::I64)));
        }
        let size = self.dims()[at];
        if count > size {
            return Err(Error::index("topk", format!("k of at most {size}"), count.to_string()));
        }
        let mut dims = Dims::from_slice(self.dims());
        dims[at] = count;
        let shape = Shape::new(&dims).map_err(|error| error.named("topk"))?;
        if shape.numel() == 0 {
            let empty = |dtype| Self::empty_of(self.backend.clone(), shape.clone(), dtype);
            return Ok((empty(self.dtype), empty(DType::I64)));
        }
        let held = self.held()?;
        let layout = Layout::contiguous(shape.clone());
        let mut values = self.backend.alloc(shape.numel() * self.dtype.size())?;
        let mut indices = self.backend.alloc(shape.numel() * DType::I64.size())?;
        self.backend.topk(
            at,
            largest,
            held.view(),
            ViewMut { buffer: &mut values, layout: &layout, dtype: self.dtype },
            ViewMut { buffer: &mut indices, layout: &layout, dtype: DType::I64 },
        )?;
        Ok((
            Self::from_buffer(self.backend.clone(), values, shape.clone(), self.dtype)?,
            Self::from_buffer(self.backend.clone(), indices, shape, DType::I64)?,
        ))
    }

    /// A new dense array of this shape that `f` fills.
    fn produce(&self, dtype: DType, f: impl FnOnce(ViewMut<'_, B>) -> Result<()>) -> Result<Self> {
        let layout = Layout::contiguous(self.shape().clone());
        let mut buffer = self.backend.alloc(self.numel() * dtype.size())?;
        f(ViewMut { buffer: &mut buffer, layout: &layout, dtype })?;
        Self::from_buffer(self.backend.clone(), buffer, self.shape().clone(), dtype)
    }
}
