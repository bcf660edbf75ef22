//! Reductions over any axes of any layout.
//!
//! Axes are sorted by their steps in memory, so that the innermost loop walks neighbours whatever the tensor's layout:
//! [`rows`] where these are combined with each other, [`columns`] where each belongs to another result. Large reductions are
//! cut into segments whose bounds depend on the shape alone; their totals are joined in order. Hence results are the same
//! from run to run, whatever the number of threads.

mod arg;
mod columns;
mod fold;
mod rows;
#[cfg(test)]
mod tests;

use crate::Cpu;
use crate::number::{Number, for_number};
use crate::strided::{Axes, Axis, Source, Target, axes_of, merge};
use crate::vecmath::Level;
use fold::{Extremum, Fold, Product, Sum};
use tensor_core::{Backend, Input, Layout, ReduceOp, ReduceSpec, Result, View, ViewMut};

/// See [`Backend::reduce`].
pub(crate) fn reduce(
    cpu: &Cpu,
    spec: &ReduceSpec<'_>,
    inputs: &[View<'_, Cpu>],
    mut out: ViewMut<'_, Cpu>,
) -> Result<()> {
    if out.layout.numel() == 0 {
        return Ok(());
    }
    if spec.prologue.is_copy() {
        run(cpu.level(), spec, &inputs[0], &mut out);
        return Ok(());
    }
    let dtype = spec.prologue.dtype(spec.prologue.outputs()[0]);
    let layout = Layout::contiguous(spec.shape.clone());
    let mut buffer = cpu.alloc(layout.numel() * dtype.size())?;
    let views: Vec<Input<'_, Cpu>> = inputs.iter().map(|&view| Input::View(view)).collect();
    let values = ViewMut { buffer: &mut buffer, layout: &layout, dtype };
    cpu.pointwise(spec.prologue, spec.shape, &views, &mut [values])?;
    run(cpu.level(), spec, &View { buffer: &buffer, layout: &layout, dtype }, &mut out);
    Ok(())
}

fn run(level: Level, spec: &ReduceSpec<'_>, input: &View<'_, Cpu>, out: &mut ViewMut<'_, Cpu>) {
    for_number!(input.dtype, T => match spec.op {
        ReduceOp::Sum => fold::<Sum<T>>(level, spec, input, out),
        ReduceOp::Prod => fold::<Product<T>>(level, spec, input, out),
        ReduceOp::Max => fold::<Extremum<T, true>>(level, spec, input, out),
        ReduceOp::Min => fold::<Extremum<T, false>>(level, spec, input, out),
        ReduceOp::ArgMax => arg::run::<T, true>(level, spec.axes[0], input, out),
        ReduceOp::ArgMin => arg::run::<T, false>(level, spec.axes[0], input, out),
    });
}

/// What is walked: the axes that stay, with their steps in input and output, and those that go, both sorted from the
/// largest step in the input to the smallest, no step of the input negative. (Those that go keep their order where that
/// counts.)
#[derive(Debug)]
struct Plan {
    kept: Axes<2>,
    reduced: Axes<1>,
}

impl Plan {
    /// The plan, and how far the input's and the output's first elements move because axes were turned round.
    fn new(spec: &ReduceSpec<'_>, input: &Layout, out: &Layout, in_order: bool) -> (Self, [isize; 2]) {
        let (dims, steps) = (spec.shape.dims(), input.strides());
        let mut reduced = axes_of(dims, [steps], |axis| spec.axes.contains(&axis));
        let mut kept: Axes<2> = axes_of(dims, [steps], |axis| !spec.axes.contains(&axis))
            .into_iter()
            .zip(out.strides())
            .map(|(Axis { size, steps: [step] }, &out)| Axis { size, steps: [step, out] })
            .collect();
        let mut start = [0; 2];
        for axis in &mut kept {
            turn(axis, &mut start);
        }
        kept.sort_by_key(|axis| std::cmp::Reverse(axis.steps[0]));
        if !in_order {
            for axis in &mut reduced {
                let mut moved = [0];
                turn(axis, &mut moved);
                start[0] += moved[0];
            }
            reduced.sort_by_key(|axis| std::cmp::Reverse(axis.steps[0]));
        }
        merge(&mut kept);
        merge(&mut reduced);
        (Self { kept, reduced }, start)
    }
}

/// Walks an axis from its other end if the first tensor walks it backwards.
fn turn<const N: usize>(axis: &mut Axis<N>, start: &mut [isize; N]) {
    if axis.size > 1 && axis.steps[0] < 0 {
        for (start, step) in start.iter_mut().zip(&mut axis.steps) {
            *start += *step * (axis.size as isize - 1);
            *step = -*step;
        }
    }
}

/// A reduced axis shorter than this is not worth a loop of its own if a kept axis can be the inner one.
const SHORT: usize = 16;

fn fold<F: Fold>(level: Level, spec: &ReduceSpec<'_>, input: &View<'_, Cpu>, out: &mut ViewMut<'_, Cpu>) {
    let (plan, start) = Plan::new(spec, input.layout, out.layout, F::IN_ORDER);
    let source = Source::<F::Elem>::from_ptr(Source::new(input).at(start[0]));
    let target = Target::<F::Elem>::from_ptr(Target::new(out).at(start[1]));
    // An axis that repeats one element is no neighbourhood in memory.
    let nearest = |step: isize| if step == 0 { isize::MAX } else { step.abs() };
    let along = plan.reduced.last().map(|axis| (nearest(axis.steps[0]), axis.size));
    let across = plan.kept.last().map(|axis| (nearest(axis.steps[0]), axis.size));
    let by_columns = match (along, across) {
        (Some((along, length)), Some((across, width))) => {
            across != isize::MAX && (across < along || length < SHORT && width > length)
        }
        _ => false,
    };
    if by_columns {
        columns::run::<F>(level, &plan, source, target);
    } else {
        rows::run::<F>(level, &plan, source, target);
    }
}

/// Copies elements that lie `step` apart to neighbouring places.
///
/// # Safety
/// All elements `from[i * step]` for `i < to.len()` may be read.
#[inline(always)]
unsafe fn collect<T: Number>(from: *const T, step: isize, to: &mut [T]) {
    for (i, to) in to.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *to = unsafe { from.offset(i as isize * step).read() };
    }
}
