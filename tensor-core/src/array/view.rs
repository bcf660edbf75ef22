//! Views: what changes the layout and moves no element.

use super::Array;
use crate::layout::infer_shape;
use crate::{Backend, Error, Result, Shape};

impl<B: Backend> Array<B> {
    /// Axes in another order. See [`Layout::permute`](crate::Layout::permute).
    ///
    /// # Errors
    /// If `order` does not name every axis once.
    pub fn permute(&self, order: &[isize]) -> Result<Self> {
        Ok(self.with_layout(self.layout.permute(order)?))
    }

    /// Two axes exchanged.
    ///
    /// # Errors
    /// If an axis does not exist.
    pub fn transpose(&self, a: isize, b: isize) -> Result<Self> {
        Ok(self.with_layout(self.layout.transpose(a, b)?))
    }

    /// `len` elements along an axis from `start` on, `step` apart; a negative step walks backwards.
    ///
    /// # Errors
    /// If an element would lie outside.
    pub fn slice(&self, axis: isize, start: usize, len: usize, step: isize) -> Result<Self> {
        Ok(self.with_layout(self.layout.slice(axis, start, len, step)?))
    }

    /// `len` consecutive elements along an axis.
    ///
    /// # Errors
    /// If the range lies outside.
    pub fn narrow(&self, axis: isize, start: usize, len: usize) -> Result<Self> {
        Ok(self.with_layout(self.layout.narrow(axis, start, len)?))
    }

    /// One element of an axis, the axis removed.
    ///
    /// # Errors
    /// If the axis or the index does not exist.
    pub fn select(&self, axis: isize, index: isize) -> Result<Self> {
        Ok(self.with_layout(self.layout.select(axis, index)?))
    }

    /// Axes walked backwards.
    ///
    /// # Errors
    /// If an axis does not exist or is named twice.
    pub fn flip(&self, axes: &[isize]) -> Result<Self> {
        Ok(self.with_layout(self.layout.flip(axes)?))
    }

    /// Axes of size 1 removed: all if `axes` is `None`, else those named that have size 1.
    ///
    /// # Errors
    /// If an axis does not exist or is named twice.
    pub fn squeeze(&self, axes: Option<&[isize]>) -> Result<Self> {
        Ok(self.with_layout(self.layout.squeeze(axes)?))
    }

    /// A new axis of size 1.
    ///
    /// # Errors
    /// If the new array would have no such axis.
    pub fn unsqueeze(&self, axis: isize) -> Result<Self> {
        Ok(self.with_layout(self.layout.unsqueeze(axis)?))
    }

    /// The diagonal of two axes as a new last axis.
    ///
    /// # Errors
    /// If the axes do not exist or are the same.
    pub fn diagonal(&self, offset: isize, a: isize, b: isize) -> Result<Self> {
        Ok(self.with_layout(self.layout.diagonal(offset, a, b)?))
    }

    /// All windows of `size` elements along an axis, `step` apart, as a new last axis.
    ///
    /// # Errors
    /// If the window is larger than the axis or `step` is 0.
    pub fn unfold(&self, axis: isize, size: usize, step: usize) -> Result<Self> {
        Ok(self.with_layout(self.layout.unfold(axis, size, step)?))
    }

    /// The same elements in another shape: a view where the strides allow it, else a copy.
    ///
    /// # Errors
    /// If the numbers of elements differ.
    pub fn reshape(&self, shape: &Shape) -> Result<Self> {
        match self.layout.reshape(shape)? {
            Some(layout) => Ok(self.with_layout(layout)),
            None if self.constant().is_some() => {
                Ok(Self::constant_of(self.backend.clone(), self.first()?, shape.clone(), self.dtype))
            }
            None => self.contiguous()?.reshape(shape),
        }
    }

    /// The same elements in another shape in which one size may be −1, never copied.
    ///
    /// # Errors
    /// If the numbers of elements differ, or the strides do not allow a view.
    pub fn view(&self, sizes: &[isize]) -> Result<Self> {
        let shape = infer_shape(sizes, self.numel(), "view")?;
        if self.constant().is_some() {
            return self.reshape(&shape);
        }
        match self.layout.reshape(&shape)? {
            Some(layout) => Ok(self.with_layout(layout)),
            None => Err(Error::shape(
                "view",
                "a layout in which the new axes do not cross old ones",
                format!("shape {} with strides {:?} as {shape}", self.shape(), self.layout.strides()),
            )
            .hint("use reshape, which copies where it must")),
        }
    }
}
