//! The first few of a sorted axis, for backends that sort.

use crate::backend::{Input, View, ViewMut};
use crate::{Backend, DType, Layout, Program, Result};

/// [`Backend::topk`] by [`Backend::sort`]: sorts all of the axis and copies its front.
///
/// # Errors
/// If the device fails or has no memory left.
pub fn by_sort<B: Backend>(
    backend: &B,
    axis: usize,
    largest: bool,
    input: View<'_, B>,
    values: ViewMut<'_, B>,
    indices: ViewMut<'_, B>,
) -> Result<()> {
    let all = Layout::contiguous(input.layout.shape().clone());
    let numel = all.numel();
    let mut sorted = backend.alloc(numel * input.dtype.size())?;
    let mut order = backend.alloc(numel * DType::I64.size())?;
    backend.sort(
        axis,
        largest,
        input,
        ViewMut { buffer: &mut sorted, layout: &all, dtype: input.dtype },
        ViewMut { buffer: &mut order, layout: &all, dtype: DType::I64 },
    )?;
    for (buffer, out) in [(&sorted, values), (&order, indices)] {
        let front = all.narrow(axis as isize, 0, out.layout.dims()[axis])?;
        let (view, dtype) = (View { buffer, layout: &front, dtype: out.dtype }, out.dtype);
        backend.pointwise(&Program::copy(dtype), front.shape(), &[Input::View(view)], &mut [out])?;
    }
    Ok(())
}
