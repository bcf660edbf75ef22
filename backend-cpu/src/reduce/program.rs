//! Reductions of what a program computes.
//!
//! The tensor is cut into blocks that stay in the cache: each is computed and folded before the next one is.

use super::fold::Fold;
use super::{Ends, WithFold, fold, run, with_fold};
use crate::number::Number;
use crate::parallel::for_each;
use crate::pointwise::pointwise;
use crate::strided::{Source, Target};
use crate::{Buffer, Cpu};
use smallvec::SmallVec;
use std::sync::{Mutex, PoisonError};
use tensor_core::{Backend, DType, Input, Layout, ReduceSpec, Result, Shape, View, ViewMut};

/// Elements of a block: enough to forget what starting a program costs, and few enough for the second-level cache.
const BLOCK: usize = 1 << 16;

/// See [`Backend::reduce`].
pub(super) fn reduce(
    cpu: &Cpu,
    spec: &ReduceSpec<'_>,
    inputs: &[View<'_, Cpu>],
    mut out: ViewMut<'_, Cpu>,
) -> Result<()> {
    let dtype = spec.prologue.dtype(spec.prologue.outputs()[0]);
    let cut = if spec.prologue.uses_position() { None } else { Cut::new(spec) };
    let Some(cut) = cut else {
        let layout = Layout::contiguous(spec.shape.clone());
        let values = compute(cpu, spec, spec.shape, inputs, dtype)?;
        run(cpu.level(), spec, &View { buffer: &values, layout: &layout, dtype }, &mut out);
        return Ok(());
    };
    let layout = out.layout.clone();
    let target = Target::<u8>::bytes(&mut out);
    with_fold(spec.op, dtype, Blocks { cpu, spec, inputs, dtype, cut, out: &layout, target })
}

/// The program's values, densely.
fn compute(cpu: &Cpu, spec: &ReduceSpec<'_>, shape: &Shape, inputs: &[View<'_, Cpu>], dtype: DType) -> Result<Buffer> {
    let layout = Layout::contiguous(shape.clone());
    let mut buffer = cpu.alloc(layout.numel() * dtype.size())?;
    let inputs: SmallVec<[Input<'_, Cpu>; 8]> = inputs.iter().map(|&view| Input::View(view)).collect();
    let values = ViewMut { buffer: &mut buffer, layout: &layout, dtype };
    pointwise(cpu.level(), spec.prologue, shape, &inputs, &mut [values])?;
    Ok(buffer)
}

/// The axis along which a tensor is cut into blocks, and the length of each piece of it.
#[derive(Clone, Copy)]
struct Cut {
    axis: usize,
    piece: usize,
}

impl Cut {
    /// `None` where one block is all there is, the result is an index, or pieces would be larger than the whole is worth.
    fn new(spec: &ReduceSpec<'_>) -> Option<Self> {
        let elements = spec.shape.numel();
        if elements <= 2 * BLOCK || spec.op.gives_index() {
            return None;
        }
        // The longest axis; of equal ones, the first, whose pieces lie together.
        let dims = spec.shape.dims();
        let axis = (0..dims.len()).rev().max_by_key(|&axis| dims[axis])?;
        let piece = (BLOCK / (elements / dims[axis])).max(1);
        // Totals of all pieces take memory, if the axis is one that goes.
        let results = elements / spec.axes.iter().map(|&axis| dims[axis]).product::<usize>();
        let totals = if spec.axes.contains(&axis) { results * dims[axis].div_ceil(piece) } else { 0 };
        (totals <= elements / 16).then_some(Self { axis, piece })
    }
}

struct Blocks<'a> {
    cpu: &'a Cpu,
    spec: &'a ReduceSpec<'a>,
    inputs: &'a [View<'a, Cpu>],
    dtype: DType,
    cut: Cut,
    out: &'a Layout,
    target: Target<u8>,
}

impl WithFold for Blocks<'_> {
    type Output = Result<()>;

    fn call<T: Number, F: Fold<Value = T::Wide>>(self) -> Result<()> {
        let Self { cpu, spec, cut, out, .. } = self;
        let length = spec.shape.dims()[cut.axis];
        let pieces = length.div_ceil(cut.piece);
        let goes = spec.axes.contains(&cut.axis);
        let results = out.numel();
        // A piece of an axis that stays gives results of its own. One of an axis that goes gives totals of all results.
        let mut totals = vec![F::EMPTY; if goes { pieces * results } else { 0 }];
        let partial = Target::from_ptr(totals.as_mut_ptr());
        let kept = spec.kept_axes();
        let failure = Mutex::new(None);
        for_each(pieces, |number| {
            let start = number * cut.piece;
            let piece = cut.piece.min(length - start);
            let done = self.piece(start, piece, &|shape, values| {
                let dense = shape.contiguous_strides();
                let source = Source::from_ptr(values.as_ptr());
                if goes {
                    let to = Target::from_ptr(partial.at((number * results) as isize).cast());
                    let ends = Ends::<F>::new::<T>(cpu.level(), source, self.target).into_totals(to);
                    fold::<F>(shape, spec.axes, &dense, &spec.out_shape().contiguous_strides(), ends);
                } else {
                    let axis = kept.iter().position(|&axis| axis == cut.axis).expect("an axis that stays");
                    let offset = start as isize * out.strides()[axis] * size_of::<T>() as isize;
                    let ends = Ends::<F>::new::<T>(cpu.level(), source, Target::from_ptr(self.target.at(offset)));
                    fold::<F>(shape, spec.axes, &dense, out.strides(), ends);
                }
            });
            if let Err(error) = done {
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        });
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        if goes {
            let ends = Ends::<F>::new::<T>(cpu.level(), Source::from_ptr(std::ptr::null()), self.target);
            for (number, offset) in
                Layout::from_parts(out.shape().clone(), out.strides().into(), 0).indices().enumerate()
            {
                let total = totals[number..].iter().step_by(results).copied().reduce(F::join).unwrap_or(F::EMPTY);
                // SAFETY: an element of the output, and no other thread works any more.
                unsafe { ends.put(offset as isize, total) };
            }
        }
        Ok(())
    }
}

impl Blocks<'_> {
    /// Computes a piece of the tensor and hands it on.
    fn piece(&self, start: usize, length: usize, then: &dyn Fn(&Shape, &Buffer)) -> Result<()> {
        let axis = self.cut.axis as isize;
        let layouts: SmallVec<[Layout; 8]> =
            self.inputs.iter().map(|view| view.layout.narrow(axis, start, length)).collect::<Result<_>>()?;
        let views: SmallVec<[View<'_, Cpu>; 8]> =
            self.inputs.iter().zip(&layouts).map(|(view, layout)| View { layout, ..*view }).collect();
        let mut dims = tensor_core::Dims::from_slice(self.spec.shape.dims());
        dims[self.cut.axis] = length;
        let shape = Shape::new(&dims)?;
        let values = compute(self.cpu, self.spec, &shape, &views, self.dtype)?;
        then(&shape, &values);
        Ok(())
    }
}
