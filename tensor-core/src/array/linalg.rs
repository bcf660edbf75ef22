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
        let a = if self.rank() == 1 { self.unsqueeze(0)? } else { self.clone() };
        let b = if other.rank() == 1 { other.unsqueeze(1)? } else { other.clone() };
        let (m, k) = (a.dims()[a.rank() - 2], a.dims()[a.rank() - 1]);
        let (kb, n) = (b.dims()[b.rank() - 2], b.dims()[b.rank() - 1]);
        if k != kb {
            return Err(Error::shape(
                "matmul",
                "as many columns on the left as rows on the right",
                format!("{} and {} ({k} and {kb})", self.shape(), other.shape()),
            ));
        }
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
        let product = if full.numel() == 0 || k == 0 {
            Self::constant_of(self.backend.clone(), Scalar::Int(0).cast(self.dtype), full.clone(), self.dtype)
        } else {
            let (a, b) = (a.expand(&with(m, k)?)?.held()?, b.expand(&with(k, n)?)?.held()?);
            let layout = Layout::contiguous(full.clone());
            let mut buffer = self.backend.alloc(full.numel() * self.dtype.size())?;
            let out = ViewMut::<B> { buffer: &mut buffer, layout: &layout, dtype: self.dtype };
            self.backend.matmul(a.view(), b.view(), out)?;
            Self::from_buffer(self.backend.clone(), buffer, full.clone(), self.dtype)?
        };
        let mut dims = Dims::from_slice(full.dims());
        if self.rank() == 1 {
            dims.remove(dims.len() - 2);
        }
        if other.rank() == 1 {
            dims.pop();
        }
        product.reshape(&Shape::new(&dims)?)?.settled()
    }
}
