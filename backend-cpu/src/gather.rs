//! Picking elements by index.

use crate::Cpu;
use crate::number::for_size;
use crate::parallel::{GRAIN, for_each_range};
use crate::pointwise::moves::prefetch;
use crate::strided::{Axes, Axis, Source, Target, Walk, axes_of, count, merge};
use std::ops::Range;
use tensor_core::{View, ViewMut};

/// See [`Backend::gather`](tensor_core::Backend::gather).
///
/// # Panics
/// If an index lies outside of the input's axis, which the core has checked.
pub(crate) fn gather(axis: usize, input: &View<'_, Cpu>, index: &View<'_, Cpu>, mut out: ViewMut<'_, Cpu>) {
    if out.layout.numel() == 0 {
        return;
    }
    for_size!(input.dtype, T => run::<T>(axis, input, index, &mut out));
}

/// Whether an index picks whole slices: it is the same at all positions but along `axis`.
pub(crate) fn picks_slices(axis: usize, index: &View<'_, Cpu>) -> bool {
    let mut others = index.layout.dims().iter().zip(index.layout.strides()).enumerate().filter(|&(at, _)| at != axis);
    others.all(|(_, (&size, &step))| size == 1 || step == 0)
}

/// What is common to all elements of one gather: the input's axis, and the index along the output's.
#[derive(Clone, Copy)]
struct Picked {
    size: usize,
    step: isize,
}

impl Picked {
    /// The offset that an index stands for.
    #[inline(always)]
    fn offset(self, index: i64) -> isize {
        // Also catches negative ones, which become huge.
        assert!((index as usize) < self.size, "index {index} lies within an axis of size {}", self.size);
        index as isize * self.step
    }

    /// Picks `count` elements, by as many indices; the steps are those of input (along other axes), index and output.
    ///
    /// # Safety
    /// The indices may be read, the output's elements written, and nobody else accesses these. What an index within the axis
    /// stands for lies in the input.
    #[inline(always)]
    unsafe fn line<T: Copy>(self, from: *const T, at: *const i64, to: *mut T, count: usize, steps: [isize; 3]) {
        let pick = |[from_step, at_step, to_step]: [isize; 3]| {
            for i in 0..count as isize {
                // SAFETY: the caller's promise; `offset` checks the index.
                unsafe {
                    let picked = self.offset(at.offset(i * at_step).read());
                    to.offset(i * to_step).write(from.offset(i * from_step + picked).read());
                }
            }
        };
        // Known steps make loops that do nothing else.
        match steps {
            [0, 1, 1] => pick([0, 1, 1]),
            [1, 1, 1] => pick([1, 1, 1]),
            steps => pick(steps),
        }
    }
}

fn run<T: Copy + Send + Sync>(axis: usize, input: &View<'_, Cpu>, index: &View<'_, Cpu>, out: &mut ViewMut<'_, Cpu>) {
    let picked = Picked { size: input.layout.dims()[axis], step: input.layout.strides()[axis] };
    let dims = out.layout.dims();
    let (from, at, to) = (Source::<T>::new(input), Source::<i64>::new(index), Target::<T>::new(out));
    let along = Axis { size: dims[axis], steps: [index.layout.strides()[axis], out.layout.strides()[axis]] };
    if picks_slices(axis, index) {
        let steps = [input.layout.strides(), out.layout.strides()];
        let mut before: Axes<2> = axes_of(dims, steps, |number| number < axis);
        let mut slice: Axes<2> = axes_of(dims, steps, |number| number > axis);
        merge(&mut before);
        merge(&mut slice);
        let elements = count(&slice);
        let work = Slices { picked, along, before: &before, slice: &slice, from, at, to };
        // Elements of lines that the cache holds need not be asked for.
        let near = slice.is_empty() && picked.size * picked.step.unsigned_abs() * size_of::<T>() <= NEAR;
        for_each_range(count(&before) * along.size, (GRAIN / 4 / elements).max(1), |units| {
            if near { work.run_elements(units) } else { work.run(units) }
        });
        return;
    }
    // The axis itself is walked as any other, with no step in the input.
    let mut steps = tensor_core::Dims::from_slice(input.layout.strides());
    steps[axis] = 0;
    let mut axes: Axes<3> = axes_of(dims, [&steps[..], index.layout.strides(), out.layout.strides()], |_| true);
    merge(&mut axes);
    let inner = axes.pop().unwrap_or(Axis { size: 1, steps: [0; 3] });
    for_each_range(count(&axes), (GRAIN / 4 / inner.size).max(1), |units| {
        let mut walk = Walk::from(&axes, units.start);
        for _ in units {
            let [input, index, out] = walk.offsets;
            // SAFETY: the walk and the line lie within the output's shape, which is the index's and at most the input's along
            // all axes but the picked one. No other task writes there.
            unsafe { picked.line(from.at(input), at.at(index), to.at(out), inner.size, inner.steps) };
            walk.advance();
        }
    });
}

/// Whole slices: unit `place * along.size + i` copies the slice that index `i` picks at a place of the axes before.
struct Slices<'a, T> {
    picked: Picked,
    /// The index's and the output's steps along the axis.
    along: Axis<2>,
    /// The axes before and after it, with the input's and the output's steps.
    before: &'a [Axis<2>],
    slice: &'a [Axis<2>],
    from: Source<T>,
    at: Source<i64>,
    to: Target<T>,
}

/// How many slices ahead memory is asked for.
const AHEAD: usize = 8;

/// Bytes of an axis that stay in the second-level cache while elements are picked from it.
const NEAR: usize = 1 << 18;

impl<T: Copy + Send + Sync> Slices<'_, T> {
    /// Slices of one element.
    fn run_elements(&self, mut units: Range<usize>) {
        let mut walk = Walk::from(self.before, units.start / self.along.size);
        while !units.is_empty() {
            let i = units.start % self.along.size;
            let length = units.len().min(self.along.size - i);
            let ([input, out], [at_step, out_step]) = (walk.offsets, self.along.steps);
            let (at, to) = (self.at.at(i as isize * at_step), self.to.at(out + i as isize * out_step));
            // SAFETY: the rest of a line of the output, which is these units' alone, and its indices.
            unsafe { self.picked.line(self.from.at(input), at, to, length, [0, at_step, out_step]) };
            units.start += length;
            walk.advance();
        }
    }

    fn run(&self, units: Range<usize>) {
        let mut walk = Walk::from(self.before, units.start / self.along.size);
        let mut i = units.start % self.along.size;
        let elements = count(self.slice);
        // SAFETY: an element of the index.
        let index = |i: usize| unsafe { self.at.at(i as isize * self.along.steps[0]).read() };
        for _ in units {
            let [input, out] = walk.offsets;
            let input = input + self.picked.offset(index(i));
            let out = out + i as isize * self.along.steps[1];
            if i + AHEAD < self.along.size {
                let ahead = walk.offsets[0].wrapping_add((index(i + AHEAD) as isize).wrapping_mul(self.picked.step));
                prefetch(self.from.at(ahead), elements.min(512 / size_of::<T>()));
            }
            // SAFETY: both offsets plus those of a walk over the slice's axes are elements of input and output: the former
            // because `offset` checked the index. The output's elements are this unit's alone.
            unsafe { copy_slice(self.slice, self.from.at(input), self.to.at(out)) };
            i += 1;
            if i == self.along.size {
                i = 0;
                walk.advance();
            }
        }
    }
}

/// Copies what lies at some axes, the first step of each the source's, the second the target's.
///
/// # Safety
/// All positions may be read there and written here, and nobody else accesses the latter.
#[inline(always)]
unsafe fn copy_slice<T: Copy>(axes: &[Axis<2>], from: *const T, to: *mut T) {
    match axes {
        // SAFETY: the caller's promise, for one element.
        [] => unsafe { to.write(from.read()) },
        // SAFETY: the caller's promise, for neighbours; input and output are different buffers.
        &[Axis { size, steps: [1, 1] }] => unsafe { copy_run(from, to, size) },
        _ => {
            let (inner, outer) = axes.split_last().expect("the empty list is the first case");
            let mut walk = Walk::from(outer, 0);
            for _ in 0..count(outer) {
                let [input, out] = walk.offsets;
                for i in 0..inner.size as isize {
                    // SAFETY: the caller's promise for this position.
                    unsafe {
                        to.offset(out + i * inner.steps[1]).write(from.offset(input + i * inner.steps[0]).read());
                    };
                }
                walk.advance();
            }
        }
    }
}

/// Copies neighbours. Short runs are copied in whole vectors here: calling `memcpy` takes longer than they do.
///
/// # Safety
/// `count` elements may be read there and written here; they do not overlap.
#[inline(always)]
unsafe fn copy_run<T: Copy>(from: *const T, to: *mut T, count: usize) {
    type Block = [u64; 8];
    let bytes = count * size_of::<T>();
    if bytes <= 1024 && bytes.is_multiple_of(size_of::<Block>()) {
        for block in 0..bytes / size_of::<Block>() {
            // SAFETY: whole blocks within the runs.
            unsafe { to.cast::<Block>().add(block).write_unaligned(from.cast::<Block>().add(block).read_unaligned()) };
        }
    } else {
        // SAFETY: the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(from, to, count) };
    }
}
