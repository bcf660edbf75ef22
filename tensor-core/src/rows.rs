//! Computations over rows: reductions along some axes and what is computed of their results, by turns.
//!
//! Layer normalisation needs a row's mean, then its variance, then every element once more; the logarithm of a sum of
//! exponentials needs the largest element first. Done one after another over the whole tensor, each of these steps fetches it
//! from memory again. Told as one [`RowSpec`], a backend can take some rows, do all the steps while they are in its cache, and
//! go on to the next rows.

use crate::backend::{Input, ReduceOp, ReduceSpec, View, ViewMut};
use crate::program::MAX_INPUTS;
use crate::{Backend, DType, Layout, Program, Result, Shape};
use smallvec::SmallVec;
use std::sync::Arc;

/// A computation over rows, see [`Backend::rows`].
///
/// Here `x / Σ x` along the last axis:
///
/// ```
/// use tensor_core::op::BinaryOp;
/// use tensor_core::reference::Reference;
/// use tensor_core::rows::{RowKind, RowSpec, RowStep};
/// use tensor_core::{Backend, DType, Layout, Program, ReduceOp, Shape, View, ViewMut};
///
/// let mut share = Program::new();
/// let (x, sum) = (share.input(DType::F32), share.input(DType::F32));
/// let share_of_sum = share.binary(BinaryOp::Div, x, sum);
/// share.output(share_of_sum);
/// let steps = [
///     RowStep::new(RowKind::Reduce(ReduceOp::Sum), Program::copy(DType::F32), &[0]),
///     RowStep::new(RowKind::Elements, share, &[0, 1]),
/// ];
/// let layout = Layout::contiguous(Shape::new([2, 2])?);
/// let mut x = Reference.alloc(16)?;
/// Reference.write(&mut x, 0, bytemuck::bytes_of(&[1.0_f32, 3.0, 2.0, 2.0]))?;
/// let mut out = Reference.alloc(16)?;
/// Reference.rows(
///     &RowSpec { shape: layout.shape(), axes: &[1], steps: &steps },
///     &[View { buffer: &x, layout: &layout, dtype: DType::F32 }],
///     ViewMut { buffer: &mut out, layout: &layout, dtype: DType::F32 },
/// )?;
/// let mut shares = [0.0_f32; 4];
/// Reference.read(&out, 0, bytemuck::bytes_of_mut(&mut shares))?;
/// assert_eq!(shares, [0.25, 0.75, 0.5, 0.5]);
/// # Ok::<(), tensor_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RowSpec<'a> {
    /// The shape that is walked.
    pub shape: &'a Shape,
    /// The axes of a row, in ascending order. The others number the rows.
    pub axes: &'a [usize],
    /// What is done, in this order. The last step's values are the result.
    pub steps: &'a [RowStep],
}

/// A step of a computation over rows.
///
/// Values have numbers: first come the inputs in order, then the steps' own.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct RowStep {
    /// What the program runs for, and what becomes of its values.
    pub kind: RowKind,
    /// What is computed; has one output, and uses no positions. Shared, as the same steps are done for tensor after tensor.
    pub program: Arc<Program>,
    /// The number of the value that each of the program's inputs reads: an input, or an earlier step's.
    pub reads: SmallVec<[u8; MAX_INPUTS]>,
}

/// What a [`RowStep`] runs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowKind {
    /// For every element; the values are combined along each row. Not an arg-reduction.
    Reduce(ReduceOp),
    /// Once for each row; it reads values of earlier steps only.
    Rows,
    /// For every element. Only the last step is of this kind.
    Elements,
}

impl Clone for RowStep {
    #[inline]
    fn clone(&self) -> Self {
        // One copy of the list, where deriving it would push element by element.
        Self { kind: self.kind, program: Arc::clone(&self.program), reads: SmallVec::from_slice(&self.reads) }
    }
}

impl RowStep {
    /// A step.
    pub fn new(kind: RowKind, program: impl Into<Arc<Program>>, reads: &[u8]) -> Self {
        Self { kind, program: program.into(), reads: SmallVec::from_slice(reads) }
    }

    /// The dtype of its values.
    pub fn dtype(&self) -> DType {
        self.program.dtype(self.program.outputs()[0])
    }
}

impl RowSpec<'_> {
    /// The shape of the result: that of the rows' numbers unless the last step computes elements.
    pub fn out_shape(&self) -> Shape {
        match self.steps.last() {
            Some(RowStep { kind: RowKind::Elements, .. }) => self.shape.clone(),
            _ => self.shape.reduce(self.axes, false),
        }
    }
}

/// [`Backend::rows`] by [`Backend::reduce`] and [`Backend::pointwise`], one whole step after another.
///
/// # Errors
/// If the device fails.
pub fn by_steps<B: Backend>(
    backend: &B,
    spec: &RowSpec<'_>,
    inputs: &[View<'_, B>],
    out: ViewMut<'_, B>,
) -> Result<()> {
    let (last, steps) = spec.steps.split_last().expect("a computation has steps");
    let numbers = Layout::contiguous(spec.shape.reduce(spec.axes, false));
    // A row's number for each of its elements.
    let spread = Layout::contiguous(spec.shape.reduce(spec.axes, true)).expand(spec.shape)?;
    let mut held: SmallVec<[(B::Buffer, DType); 8]> = SmallVec::new();
    for step in steps {
        let mut buffer = backend.alloc(numbers.numel() * step.dtype().size())?;
        let to = ViewMut { buffer: &mut buffer, layout: &numbers, dtype: step.dtype() };
        run_step(backend, spec, step, inputs, &held, [&numbers, &spread], to)?;
        held.push((buffer, step.dtype()));
    }
    run_step(backend, spec, last, inputs, &held, [&numbers, &spread], out)
}

fn run_step<B: Backend>(
    backend: &B,
    spec: &RowSpec<'_>,
    step: &RowStep,
    inputs: &[View<'_, B>],
    held: &[(B::Buffer, DType)],
    [numbers, spread]: [&Layout; 2],
    to: ViewMut<'_, B>,
) -> Result<()> {
    let layout = if step.kind == RowKind::Rows { numbers } else { spread };
    let views = step.reads.iter().map(|&read| match inputs.get(usize::from(read)) {
        Some(input) => *input,
        None => {
            let (buffer, dtype) = &held[usize::from(read) - inputs.len()];
            View { buffer, layout, dtype: *dtype }
        }
    });
    match step.kind {
        RowKind::Reduce(op) => {
            let views: SmallVec<[View<'_, B>; MAX_INPUTS]> = views.collect();
            let spec = ReduceSpec { op, shape: spec.shape, axes: spec.axes, prologue: &step.program };
            backend.reduce(&spec, &views, to)
        }
        RowKind::Rows | RowKind::Elements => {
            let inputs: SmallVec<[Input<'_, B>; MAX_INPUTS]> = views.map(Input::View).collect();
            backend.pointwise(&step.program, layout.shape(), &inputs, &mut [to])
        }
    }
}
