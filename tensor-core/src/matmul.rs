//! Matrix products over groups of axes.
//!
//! A matrix product has four indices: of the batch, of the rows, of the inner sum and of the columns. Here each of them may
//! stand for any number of axes, so one method of a backend serves matrix products, contractions of tensors over any axes
//! and, as windows of an image are only a view with more axes, convolutions.

use crate::backend::{Input, View, ViewMut};
use crate::shape::Dims;
use crate::{Backend, Layout, Program, Result, Shape};
use smallvec::SmallVec;

/// How many axes each index of a product has, and what is done with the result.
///
/// `a` has the axes batch, rows, inner; `b` has batch, inner, columns; the result has batch, rows, columns:
///
/// ```
/// use tensor_core::MatmulSpec;
/// let spec = MatmulSpec::batched(4);
/// assert_eq!((spec.batch, spec.rows, spec.inner, spec.columns), (2, 1, 1, 1));
/// assert_eq!(spec.epilogue, None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MatmulSpec<'a> {
    /// Axes that all three have; each of their positions is a product of its own.
    pub batch: usize,
    /// Axes of `a` and the result.
    pub rows: usize,
    /// Axes of `a` and `b`, which are summed over.
    pub inner: usize,
    /// Axes of `b` and the result.
    pub columns: usize,
    /// What becomes of each element of the result: input 0 is the product, rounded to the dtype (of f16 and bf16 it may also
    /// be what was added up in f32); the other inputs are the extras; the one output has the product's dtype. It uses no
    /// positions.
    pub epilogue: Option<&'a Program>,
}

/// What a device's kernel for attention computes, see [`Backend::attention`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionSpec {
    /// What scores are multiplied with; above 0.
    pub scale: f64,
    /// Whether place `i` sees the keys up to `i` only.
    pub causal: bool,
}

impl MatmulSpec<'_> {
    /// Matrices in the last two of `rank` axes.
    pub const fn batched(rank: usize) -> Self {
        Self { batch: rank - 2, rows: 1, inner: 1, columns: 1, epilogue: None }
    }

    /// The sizes of the rows, the inner sum and the columns, each all axes together.
    pub fn sizes(&self, a: &Layout, b: &Layout) -> [usize; 3] {
        let rows = self.batch + self.rows;
        [
            a.dims()[self.batch..rows].iter().product(),
            a.dims()[rows..].iter().product(),
            b.dims()[self.batch + self.inner..].iter().product(),
        ]
    }

    /// The two operands and the result with one axis for each of the rows, the inner sum and the columns; `None` for what
    /// does not lie so, which a copy would.
    ///
    /// # Errors
    /// None for layouts that fit each other.
    pub fn merged(&self, a: &Layout, b: &Layout, out: &Layout) -> Result<[(Shape, Option<Layout>); 3]> {
        let [rows, inner, columns] = self.sizes(a, b);
        let merge = |layout: &Layout, sizes: [usize; 2]| {
            let mut dims: SmallVec<[usize; 6]> = layout.dims()[..self.batch].into();
            dims.extend(sizes);
            let shape = Shape::new(&dims)?;
            let merged = layout.reshape(&shape)?;
            Ok((shape, merged))
        };
        Ok([merge(a, [rows, inner])?, merge(b, [inner, columns])?, merge(out, [rows, columns])?])
    }
}

/// Does a product by a plain one, for backends whose kernels know matrices only: operands that have no matrix's strides are
/// copied on the device first, and the epilogue runs over the result.
///
/// `plain` is called with three layouts of the same leading axes, as promised for [`MatmulSpec::batched`].
///
/// # Errors
/// If the device fails.
pub fn by_plain_product<B: Backend>(
    backend: &B,
    spec: &MatmulSpec<'_>,
    [a, b]: [View<'_, B>; 2],
    extras: &[View<'_, B>],
    out: ViewMut<'_, B>,
    plain: impl FnOnce(View<'_, B>, View<'_, B>, ViewMut<'_, B>) -> Result<()>,
) -> Result<()> {
    if [spec.rows, spec.inner, spec.columns] == [1; 3] {
        plain(a, b, ViewMut { buffer: &mut *out.buffer, ..out })?;
        return run_epilogue(backend, spec, extras, out);
    }
    let [of_a, of_b, of_out] = spec.merged(a.layout, b.layout, out.layout)?;
    let (a_buffer, a_layout) = matrices(backend, spec, &a, of_a)?;
    let (b_buffer, b_layout) = matrices(backend, spec, &b, of_b)?;
    // The result is contiguous, from wherever it begins.
    let (out_shape, merged) = of_out;
    let out_layout = merged.unwrap_or_else(|| Layout::contiguous(out_shape));
    plain(
        View { buffer: &a_buffer, layout: &a_layout, dtype: a.dtype },
        View { buffer: &b_buffer, layout: &b_layout, dtype: b.dtype },
        ViewMut { buffer: &mut *out.buffer, layout: &out_layout, dtype: out.dtype },
    )?;
    run_epilogue(backend, spec, extras, out)
}

/// An operand as matrices: where it lies, or else copied. What its leading axes only repeat is copied once.
fn matrices<B: Backend>(
    backend: &B,
    spec: &MatmulSpec<'_>,
    view: &View<'_, B>,
    (shape, merged): (Shape, Option<Layout>),
) -> Result<(B::Buffer, Layout)> {
    if let Some(layout) = merged {
        return Ok((view.buffer.clone(), layout));
    }
    let (mut once, mut to) = (Dims::from_slice(view.layout.dims()), Dims::from_slice(shape.dims()));
    for axis in 0..spec.batch {
        if view.layout.strides()[axis] == 0 {
            (once[axis], to[axis]) = (1, 1);
        }
    }
    let once = Shape::new(&once)?;
    let mut buffer = backend.alloc(once.numel() * view.dtype.size())?;
    let from = Layout::from_parts(once.clone(), view.layout.strides().into(), view.layout.offset());
    let layout = Layout::contiguous(once.clone());
    let input = Input::View(View { layout: &from, ..*view });
    let output = ViewMut { buffer: &mut buffer, layout: &layout, dtype: view.dtype };
    backend.pointwise(&Program::copy(view.dtype), &once, &[input], &mut [output])?;
    Ok((buffer, Layout::contiguous(Shape::new(&to)?).expand(&shape)?))
}

/// Runs the epilogue of a product, if it has one, over the finished product in place.
///
/// # Errors
/// If the device fails.
pub fn run_epilogue<B: Backend>(
    backend: &B,
    spec: &MatmulSpec<'_>,
    extras: &[View<'_, B>],
    out: ViewMut<'_, B>,
) -> Result<()> {
    let Some(program) = spec.epilogue else { return Ok(()) };
    let mut inputs: SmallVec<[Input<'_, B>; 4]> = SmallVec::new();
    inputs.push(Input::Output(0));
    inputs.extend(extras.iter().map(|&view| Input::View(view)));
    backend.pointwise(program, out.layout.shape(), &inputs, &mut [out])
}
