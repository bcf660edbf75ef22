//! Placing elements by index.
//!
//! Sources that meet at one place are combined in row-major order, whatever the number of threads: tasks share no place.

use crate::Cpu;
use crate::gather::picks_slices;
use crate::number::{Number, Total, Wide, for_number, for_size};
use crate::parallel::{GRAIN, for_each_range};
use crate::reduce::fold::wins;
use crate::strided::{Axes, Axis, Source, Target, Walk, axes_of, count, merge};
use std::marker::PhantomData;
use std::ops::Range;
use tensor_core::{DType, ScatterOp, View, ViewMut};

/// See [`Backend::scatter`](tensor_core::Backend::scatter).
///
/// # Panics
/// If an index lies outside of the output's axis, which the core has checked.
pub(crate) fn scatter(
    op: ScatterOp,
    axis: usize,
    index: &View<'_, Cpu>,
    src: &View<'_, Cpu>,
    mut out: ViewMut<'_, Cpu>,
) {
    if src.layout.numel() == 0 {
        return;
    }
    let out = &mut out;
    match (op, src.dtype) {
        (ScatterOp::Set, dtype) => for_size!(dtype, T => run(axis, index, src, out, Set::<T>(PhantomData))),
        // Sums wrap to the same bits whatever the sign.
        (ScatterOp::Add, DType::I8) => run(axis, index, src, out, Add::<u8>(PhantomData)),
        (ScatterOp::Add, dtype) => for_number!(dtype, T => run(axis, index, src, out, Add::<T>(PhantomData))),
        (ScatterOp::Mul, dtype) => for_number!(dtype, T => run(axis, index, src, out, Other::<T>(product))),
        (ScatterOp::Max, dtype) => for_number!(dtype, T => run(axis, index, src, out, Other::<T>(extremum::<T, true>))),
        (ScatterOp::Min, dtype) => {
            for_number!(dtype, T => run(axis, index, src, out, Other::<T>(extremum::<T, false>)));
        }
    }
}

/// How a value meets the one that is there.
trait Meet: Copy + Send + Sync {
    type Elem: Copy + Send + Sync;
    fn meet(self, held: Self::Elem, new: Self::Elem) -> Self::Elem;
}

#[derive(Clone, Copy)]
struct Set<T>(PhantomData<T>);

#[derive(Clone, Copy)]
struct Add<T>(PhantomData<T>);

/// The operations that are rare: they share loops, and call a function for each element.
#[derive(Clone, Copy)]
struct Other<T>(fn(T, T) -> T);

impl<T: Copy + Send + Sync> Meet for Set<T> {
    type Elem = T;
    #[inline(always)]
    fn meet(self, _held: T, new: T) -> T {
        new
    }
}

impl<T: Number> Meet for Add<T> {
    type Elem = T;
    #[inline(always)]
    fn meet(self, held: T, new: T) -> T {
        // The sum of two floats, rounded from f64 to their type, is their rounded sum.
        T::narrow(T::Wide::from_sum(held.widen().to_sum().plus(new.widen().to_sum())))
    }
}

impl<T: Number> Meet for Other<T> {
    type Elem = T;
    #[inline(always)]
    fn meet(self, held: T, new: T) -> T {
        (self.0)(held, new)
    }
}

fn product<T: Number>(held: T, new: T) -> T {
    T::narrow(T::Wide::from_sum(held.widen().to_sum().times(new.widen().to_sum())))
}

fn extremum<T: Number, const MAX: bool>(held: T, new: T) -> T {
    if wins::<T::Wide, MAX>(new.widen(), held.widen()) & !held.widen().is_nan() { new } else { held }
}

/// The output's axis that indices point into.
#[derive(Clone, Copy)]
struct Place {
    size: usize,
    step: isize,
}

impl Place {
    #[inline(always)]
    fn check(self, index: i64) -> usize {
        // Also catches negative ones, which become huge.
        assert!((index as usize) < self.size, "index {index} lies within an axis of size {}", self.size);
        index as usize
    }

    /// Combines single elements with those that their indices point at, of which only some places count.
    ///
    /// # Safety
    /// Indices and sources of the axis may be read. Each of the places may be read and written, and nobody else accesses it.
    #[inline(always)]
    unsafe fn line<M: Meet>(
        self,
        meet: M,
        at: *const i64,
        from: *const M::Elem,
        to: *mut M::Elem,
        along: Axis<2>,
        places: &Range<usize>,
    ) {
        let combine = |[at_step, from_step]: [isize; 2], to_step: isize| {
            for i in 0..along.size as isize {
                // SAFETY: the caller's promise, for an index that is checked.
                unsafe {
                    let index = self.check(at.offset(i * at_step).read());
                    if places.contains(&index) {
                        let to = to.offset(index as isize * to_step);
                        to.write(meet.meet(to.read(), from.offset(i * from_step).read()));
                    }
                }
            }
        };
        // Known steps make loops that do nothing else.
        match (along.steps, self.step) {
            ([1, 1], 1) => combine([1, 1], 1),
            (steps, step) => combine(steps, step),
        }
    }
}

fn run<M: Meet>(axis: usize, index: &View<'_, Cpu>, src: &View<'_, Cpu>, out: &mut ViewMut<'_, Cpu>, meet: M) {
    let place = Place { size: out.layout.dims()[axis], step: out.layout.strides()[axis] };
    let dims = src.layout.dims();
    let along = Axis { size: dims[axis], steps: [index.layout.strides()[axis], src.layout.strides()[axis]] };
    let (at, from) = (Source::<i64>::new(index), Source::<M::Elem>::new(src));
    let steps = [index.layout.strides(), src.layout.strides(), out.layout.strides()];
    let mut lines: Axes<3> = axes_of(dims, steps, |number| number != axis);
    let to = Target::<M::Elem>::new(out);
    merge(&mut lines);
    let inner = match lines.last().copied() {
        Some(inner) if inner.steps[1].unsigned_abs() <= 1 || along.steps[1].unsigned_abs() != 1 => {
            lines.pop();
            inner
        }
        _ => Axis { size: 1, steps: [0; 3] },
    };
    let work = Scatter::<M> {
        meet,
        place,
        along,
        inner,
        lines: &lines,
        at,
        from,
        to,
        columns: 0..0,
        places: 0..place.size,
        units: 0..0,
    };
    let outer = count(&lines);
    let total = outer * inner.size * along.size;
    let threads = rayon::current_num_threads();
    if total < GRAIN || threads == 1 {
        Scatter { columns: 0..inner.size, units: 0..outer, ..work }.run();
    } else if outer >= threads {
        for_each_range(outer, (GRAIN / (inner.size * along.size)).max(1), |units| {
            Scatter { columns: 0..inner.size, units, ..work.clone() }.run();
        });
    } else if inner.size >= 64 * threads || !picks_slices(axis, index) && inner.size >= threads {
        // Each thread takes some columns of all sources; a whole cache line of them, so that no two write into one.
        let width = inner.size.div_ceil(threads).next_multiple_of(if inner.size >= 64 * threads { 64 } else { 1 });
        for_each_range(inner.size, width, |columns| {
            Scatter { columns, units: 0..outer, ..work.clone() }.run();
        });
    } else {
        // Each thread looks at all indices and takes those that point into its part of the output.
        for_each_range(place.size, place.size.div_ceil(threads), |places| {
            Scatter { columns: 0..inner.size, units: 0..outer, places, ..work.clone() }.run();
        });
    }
}

/// A share of the work: those elements that lie in some columns, at some positions of the outer axes, and whose indices lie
/// in some range.
#[derive(Clone)]
struct Scatter<'a, M: Meet> {
    meet: M,
    place: Place,
    /// The index's and the source's steps along the axis.
    along: Axis<2>,
    /// The innermost and the other axes, with the steps of index, source and output.
    inner: Axis<3>,
    lines: &'a [Axis<3>],
    at: Source<i64>,
    from: Source<M::Elem>,
    to: Target<M::Elem>,
    columns: Range<usize>,
    places: Range<usize>,
    units: Range<usize>,
}

impl<M: Meet> Scatter<'_, M> {
    fn run(self) {
        let Scatter { meet, place, along, inner, lines, at, from, to, columns, places, units } = self;
        let mut walk = Walk::from(lines, units.start);
        for _ in units {
            let starts = [0, 1, 2].map(|tensor| walk.offsets[tensor] + columns.start as isize * inner.steps[tensor]);
            if inner.size == 1 {
                // SAFETY: the source's and the index's elements along the axis, and a line of the output that has place for all
                // indices within it. Nobody else touches these places of it.
                unsafe {
                    let (at, from, to) = (at.at(starts[0]), from.at(starts[1]), to.at(starts[2]));
                    place.line(meet, at, from, to, along, &places);
                }
                walk.advance();
                continue;
            }
            for i in 0..along.size as isize {
                let index_at = starts[0] + i * along.steps[0];
                let from_at = starts[1] + i * along.steps[1];
                if inner.steps[0] == 0 {
                    // SAFETY: an element of the index.
                    let index = place.check(unsafe { at.at(index_at).read() });
                    if places.contains(&index) {
                        let to = to.at(starts[2] + index as isize * place.step);
                        // SAFETY: the columns of the source's line and of the output's, whose index was checked. Nobody
                        // else touches these columns of these places at these lines.
                        unsafe {
                            meet_line(meet, from.at(from_at), to, columns.len(), [inner.steps[1], inner.steps[2]]);
                        };
                    }
                    continue;
                }
                for column in 0..columns.len() as isize {
                    // SAFETY: an element of the index.
                    let index = place.check(unsafe { at.at(index_at + column * inner.steps[0]).read() });
                    if places.contains(&index) {
                        let to = to.at(starts[2] + column * inner.steps[2] + index as isize * place.step);
                        // SAFETY: as above.
                        unsafe { to.write(meet.meet(to.read(), from.at(from_at + column * inner.steps[1]).read())) };
                    }
                }
            }
            walk.advance();
        }
    }
}

/// Combines `count` elements with as many.
///
/// # Safety
/// The former may be read, the latter written; they are of different buffers and nobody else accesses the latter.
#[inline(always)]
unsafe fn meet_line<M: Meet>(meet: M, from: *const M::Elem, to: *mut M::Elem, count: usize, steps: [isize; 2]) {
    if steps == [1, 1] {
        // SAFETY: the caller's promise.
        let (from, to) =
            unsafe { (std::slice::from_raw_parts(from, count), std::slice::from_raw_parts_mut(to, count)) };
        meet_slices(meet, from, to);
        return;
    }
    for i in 0..count as isize {
        // SAFETY: the caller's promise.
        unsafe {
            let to = to.offset(i * steps[1]);
            to.write(meet.meet(to.read(), from.offset(i * steps[0]).read()));
        }
    }
}

#[inline(always)]
fn meet_slices<M: Meet>(meet: M, from: &[M::Elem], to: &mut [M::Elem]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = meet.meet(*to, from);
    }
}
