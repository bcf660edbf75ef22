//! Reductions over any axes of any layout.
//!
//! Axes are sorted by their steps in memory, so that the innermost loop walks neighbours whatever the tensor's layout:
//! [`rows`] where these are combined with each other, [`columns`] where each belongs to another result. Large reductions are
//! cut into segments whose bounds depend on the shape alone; their totals are joined in order. Hence results are the same
//! from run to run, whatever the number of threads.
//!
//! Only loops over values are compiled for every instruction set and reduction ([`fold`]). What surrounds them knows
//! elements by functions that read and write them ([`Ends`]), so that there is one copy for all dtypes of one width.

mod arg;
mod columns;
pub(crate) mod fold;
pub(crate) mod lines;
mod program;
mod rows;

use crate::Cpu;
use crate::number::{Number, for_number};
use crate::strided::{Axes, Axis, Source, Target, axes_of, merge};
use crate::vecmath::Level;
use fold::{Extremum, Fold, Product, Sum};
use tensor_core::{DType, Layout, ReduceOp, ReduceSpec, Result, Shape, View, ViewMut};

/// See [`Backend::reduce`](tensor_core::Backend::reduce).
pub(crate) fn reduce(
    cpu: &Cpu,
    spec: &ReduceSpec<'_>,
    inputs: &[View<'_, Cpu>],
    mut out: ViewMut<'_, Cpu>,
) -> Result<()> {
    if out.layout.numel() == 0 {
        Ok(())
    } else if spec.prologue.is_copy() {
        run(cpu.level(), spec, &inputs[0], &mut out);
        Ok(())
    } else if lines::reduce(cpu.level(), spec, inputs, &mut out) {
        Ok(())
    } else {
        program::reduce(cpu, spec, inputs, out)
    }
}

/// Reduces the elements as they are.
fn run(level: Level, spec: &ReduceSpec<'_>, input: &View<'_, Cpu>, out: &mut ViewMut<'_, Cpu>) {
    if spec.op.gives_index() {
        for_number!(input.dtype, T => match spec.op {
            ReduceOp::ArgMax => arg::run::<T, true>(level, spec.axes[0], input, out),
            _ => arg::run::<T, false>(level, spec.axes[0], input, out),
        });
        return;
    }
    let layout = out.layout.clone();
    with_fold(spec.op, input.dtype, Simple { level, spec, input, out: &layout, target: Target::<u8>::bytes(out) });
}

/// Something to do with the fold of an operation and a dtype.
trait WithFold {
    type Output;
    fn call<T: Number, F: Fold<Value = T::Wide>>(self) -> Self::Output;
}

/// Calls `with` with the types of an operation, not an arg-reduction, and a dtype.
fn with_fold<W: WithFold>(op: ReduceOp, dtype: DType, with: W) -> W::Output {
    let op = match (op, dtype) {
        // The sum of truth values is "any", their product "all".
        (ReduceOp::Sum, DType::Bool) => ReduceOp::Max,
        (ReduceOp::Prod, DType::Bool) => ReduceOp::Min,
        (op, _) => op,
    };
    // Sums and products wrap to the same bits whatever the sign.
    let dtype = if dtype == DType::I8 && matches!(op, ReduceOp::Sum | ReduceOp::Prod) { DType::U8 } else { dtype };
    for_number!(dtype, T => match op {
        ReduceOp::Sum => with.call::<T, Sum<<T as Number>::Wide>>(),
        ReduceOp::Prod => with.call::<T, Product<<T as Number>::Wide>>(),
        ReduceOp::Max | ReduceOp::ArgMax => with.call::<T, Extremum<<T as Number>::Wide, true>>(),
        ReduceOp::Min | ReduceOp::ArgMin => with.call::<T, Extremum<<T as Number>::Wide, false>>(),
    })
}

/// A reduction of elements as they are, into elements.
struct Simple<'a> {
    level: Level,
    spec: &'a ReduceSpec<'a>,
    input: &'a View<'a, Cpu>,
    out: &'a Layout,
    target: Target<u8>,
}

impl WithFold for Simple<'_> {
    type Output = ();

    fn call<T: Number, F: Fold<Value = T::Wide>>(self) {
        let Self { level, spec, input, out, target } = self;
        let ends = Ends::<F>::new::<T>(level, Source::<u8>::bytes::<T>(input), target);
        fold::<F>(spec.shape, spec.axes, input.layout.strides(), out.strides(), ends);
    }
}

/// Where values come from and totals go.
struct Ends<F: Fold> {
    level: Level,
    /// The first element of the input, the size of an element, and how to read elements that lie some steps apart. Elements
    /// that are their own values are read in place.
    source: Source<u8>,
    size: usize,
    in_place: bool,
    read: unsafe fn(Level, *const u8, isize, &mut [F::Value]),
    /// The first place for a result, the size of one, and how to write it.
    target: Target<u8>,
    out_size: usize,
    write: unsafe fn(*mut u8, F::Total),
}

impl<F: Fold> Clone for Ends<F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Fold> Copy for Ends<F> {}

impl<F: Fold> Ends<F> {
    /// From elements to elements.
    fn new<T: Number<Wide = F::Value>>(level: Level, source: Source<u8>, target: Target<u8>) -> Self {
        /// # Safety
        /// See [`Number::widen_from`].
        unsafe fn read<T: Number>(level: Level, from: *const u8, step: isize, to: &mut [T::Wide]) {
            // SAFETY: the caller's promise.
            unsafe { T::widen_from(level, from.cast(), step, to) }
        }
        /// # Safety
        /// An element may be written.
        unsafe fn write<T: Number<Wide = F::Value>, F: Fold>(to: *mut u8, total: F::Total) {
            // SAFETY: the caller's promise.
            unsafe { to.cast::<T>().write(T::narrow(F::finish(total))) }
        }
        Self {
            level,
            source,
            size: size_of::<T>(),
            in_place: T::IS_WIDE,
            read: read::<T>,
            target,
            out_size: size_of::<T>(),
            write: write::<T, F>,
        }
    }

    /// The same values, but into totals.
    fn into_totals(self, target: Target<u8>) -> Self {
        /// # Safety
        /// A total may be written.
        unsafe fn write<F: Fold>(to: *mut u8, total: F::Total) {
            // SAFETY: the caller's promise.
            unsafe { to.cast::<F::Total>().write(total) }
        }
        Self { target, out_size: size_of::<F::Total>(), write: write::<F>, ..self }
    }

    /// The address of an element of the input.
    fn at(&self, offset: isize) -> *const u8 {
        self.source.at(offset * self.size as isize)
    }

    /// Writes a result.
    ///
    /// # Safety
    /// It is one of the output, and nobody else accesses it.
    unsafe fn put(&self, offset: isize, total: F::Total) {
        // SAFETY: the caller's promise.
        unsafe { (self.write)(self.target.at(offset * self.out_size as isize), total) }
    }
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
    #[inline(never)]
    fn new(dims: &[usize], gone: &[usize], steps: &[isize], out: &[isize], in_order: bool) -> (Self, [isize; 2]) {
        let mut reduced = axes_of(dims, [steps], |axis| gone.contains(&axis));
        let mut kept: Axes<2> = axes_of(dims, [steps], |axis| !gone.contains(&axis))
            .into_iter()
            .zip(out)
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
const SHORT: usize = 33;

/// Folds a tensor of this shape, whose elements lie these steps apart, along `axes` into results of those steps.
fn fold<F: Fold>(shape: &Shape, axes: &[usize], steps: &[isize], out_steps: &[isize], mut ends: Ends<F>) {
    let (plan, start) = Plan::new(shape.dims(), axes, steps, out_steps, F::IN_ORDER);
    ends.source = Source::from_ptr(ends.at(start[0]));
    ends.target = Target::from_ptr(ends.target.at(start[1] * ends.out_size as isize));
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
        columns::run::<F>(&plan, ends);
    } else {
        rows::run::<F>(&plan, ends);
    }
}
