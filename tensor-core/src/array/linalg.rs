//! Matrix products.

use super::Array;
use crate::backend::ViewMut;
use crate::shape::Dims;
use crate::{Backend, DType, Error, Layout, Result, Scalar, Shape};

impl<B: Backend> Array<B> {
    /// The matrix product by PyTorch's rules: vectors are rows on the left and columns on the right, leading axes
    /// broadcast. Both operands have one number dtype; f16 and bf16 accumulate in f32; integers wrap.
    ///
    /// # Errors
    /// If an operand is 0-d, sizes do not match, dtypes differ or are bool, devices differ, or the device fails.
    pub fn matmul(&self, other: &Self) -> Result<Self> {
        self.same_device(other, "matmul")?;
        if self.dtype != other.dtype || self.dtype == DType::Bool {
            return Err(Error::dtype(
                "matmul",
                "two tensors of one number dtype",
                format!("{} and {}", self.dtype, other.dtype),
            )
            .hint("convert one with .to(dtype)"));
        }
        if self.rank() == 0 || other.rank() == 0 {
            return Err(Error::shape(
                "matmul",
                "tensors with at least one axis",
                format!("shapes {} and {}", self.shape(), other.shape()),
            )
            .hint("use * to multiply by a scalar"));
        }
        let (m, k) = match *self.dims() {
            [.., m, k] => (m, k),
            _ => (1, self.numel()),
        };
        let (kb, n) = match *other.dims() {
            [.., kb, n] => (kb, n),
            _ => (other.numel(), 1),
        };
        if k != kb {
            return Err(Error::shape(
                "matmul",
                "as many columns on the left as rows on the right",
                format!("{} and {} ({k} and {kb})", self.shape(), other.shape()),
            ));
        }
        if self.rank() == 2 && other.rank() == 2 {
            return self.product(other, Shape::new([m, n]).map_err(|error| error.named("matmul"))?);
        }
        let a = if self.rank() == 1 { self.unsqueeze(0)? } else { self.clone() };
        let b = if other.rank() == 1 { other.unsqueeze(1)? } else { other.clone() };
        let batch = |array: &Self| Shape::new(&array.dims()[..array.rank() - 2]);
        let (lead_a, lead_b) = (batch(&a)?, batch(&b)?);
        let mut pairs = lead_a.dims().iter().rev().zip(lead_b.dims().iter().rev());
        if pairs.any(|(&x, &y)| x != y && x != 1 && y != 1) {
            return Err(Error::shape(
                "matmul",
                "leading axes that broadcast",
                format!("{} and {}", self.shape(), other.shape()),
            )
            .hint("aligned before the matrices' two axes, sizes must be equal or 1"));
        }
        let lead = lead_a.broadcast(&lead_b, "matmul")?;
        let with = |rows: usize, columns: usize| {
            let mut dims = Dims::from_slice(lead.dims());
            dims.extend([rows, columns]);
            Shape::new(&dims).map_err(|error| error.named("matmul"))
        };
        let full = with(m, n)?;
        let product = a.expand(&with(m, k)?)?.product(&b.expand(&with(k, n)?)?, full.clone())?;
        let mut dims = Dims::from_slice(full.dims());
        if self.rank() == 1 {
            dims.remove(dims.len() - 2);
        }
        if other.rank() == 1 {
            dims.pop();
        }
        product.reshape(&Shape::new(&dims)?)?.settled()
    }

    /// The products of matrices of the same leading axes, of shape `shape`.
    fn product(&self, other: &Self, shape: Shape) -> Result<Self> {
        if shape.numel() == 0 || self.numel() == 0 {
            return Ok(Self::constant_of(self.backend.clone(), Scalar::Int(0).cast(self.dtype), shape, self.dtype));
        }
        let (a, b) = (self.held()?, other.held()?);
        let mut buffer = self.backend.alloc(shape.numel() * self.dtype.size())?;
        let layout = Layout::contiguous(shape);
        let out = ViewMut::<B> { buffer: &mut buffer, layout: &layout, dtype: self.dtype };
        self.backend.matmul(a.view(), b.view(), out)?;
        Self::from_dense(self.backend.clone(), buffer, layout, self.dtype)
    }
}
