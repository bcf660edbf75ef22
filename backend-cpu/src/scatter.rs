//! Placing elements by index.
//!
//! Sources that meet at one place are combined in row-major order, whatever the number of threads: tasks share no place.

use crate::Cpu;
use crate::gather::picks_slices;
use crate::number::{Number, Total, Wide, for_number};
use crate::parallel::{GRAIN, for_each_range};
use crate::strided::{Axes, Axis, Source, Target, Walk, axes_of, count, merge};
use std::ops::Range;
use tensor_core::{ScatterOp, View, ViewMut};

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
    for_number!(src.dtype, T => match op {
        ScatterOp::Set => run::<T, Set>(axis, index, src, &mut out),
        ScatterOp::Add => run::<T, Add>(axis, index, src, &mut out),
        ScatterOp::Mul => run::<T, Mul>(axis, index, src, &mut out),
        ScatterOp::Max => run::<T, Extremum<true>>(axis, index, src, &mut out),
        ScatterOp::Min => run::<T, Extremum<false>>(axis, index, src, &mut out),
    });
}

/// How a value meets the one that is there.
trait Meet: 'static {
    fn meet<T: Number>(held: T, new: T) -> T;
}

struct Set;
struct Add;
struct Mul;
struct Extremum<const MAX: bool>;

impl Meet for Set {
    #[inline(always)]
    fn meet<T: Number>(_held: T, new: T) -> T {
        new
    }
}

impl Meet for Add {
    #[inline(always)]
    fn meet<T: Number>(held: T, new: T) -> T {
        // The sum of two floats, rounded from f64 to their type, is their rounded sum.
        T::narrow(T::Wide::from_sum(held.widen().to_sum().plus(new.widen().to_sum())))
    }
}

impl Meet for Mul {
    #[inline(always)]
    fn meet<T: Number>(held: T, new: T) -> T {
        T::narrow(T::Wide::from_sum(held.widen().to_sum().times(new.widen().to_sum())))
    }
}

impl<const MAX: bool> Meet for Extremum<MAX> {
    #[inline(always)]
    fn meet<T: Number>(held: T, new: T) -> T {
        let (old, other) = (held.widen(), new.widen());
        let better = if MAX { other > old } else { other < old };
        if (better | other.is_nan()) & !old.is_nan() { new } else { held }
    }
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
}

fn run<T: Number, M: Meet>(axis: usize, index: &View<'_, Cpu>, src: &View<'_, Cpu>, out: &mut ViewMut<'_, Cpu>) {
    let place = Place { size: out.layout.dims()[axis], step: out.layout.strides()[axis] };
    let dims = src.layout.dims();
    let along = Axis { size: dims[axis], steps: [index.layout.strides()[axis], src.layout.strides()[axis]] };
    let (at, from) = (Source::<i64>::new(index), Source::<T>::new(src));
    let steps = [index.layout.strides(), src.layout.strides(), out.layout.strides()];
    let mut lines: Axes<3> = axes_of(dims, steps, |number| number != axis);
    let to = Target::<T>::new(out);
    merge(&mut lines);
    let inner = match lines.last().copied() {
        Some(inner) if inner.steps[1].unsigned_abs() <= 1 || along.steps[1].unsigned_abs() != 1 => {
            lines.pop();
            inner
        }
        _ => Axis { size: 1, steps: [0; 3] },
    };
    let work = Scatter::<T> {
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
        Scatter { columns: 0..inner.size, units: 0..outer, ..work }.run::<M>();
    } else if outer >= threads {
        for_each_range(outer, (GRAIN / (inner.size * along.size)).max(1), |units| {
            Scatter { columns: 0..inner.size, units, ..work.clone() }.run::<M>();
        });
    } else if inner.size >= 64 * threads || !picks_slices(axis, index) && inner.size >= threads {
        // Each thread takes some columns of all sources; a whole cache line of them, so that no two write into one.
        let width = inner.size.div_ceil(threads).next_multiple_of(if inner.size >= 64 * threads { 64 } else { 1 });
        for_each_range(inner.size, width, |columns| {
            Scatter { columns, units: 0..outer, ..work.clone() }.run::<M>();
        });
    } else {
        // Each thread looks at all indices and takes those that point into its part of the output.
        for_each_range(place.size, place.size.div_ceil(threads), |places| {
            Scatter { columns: 0..inner.size, units: 0..outer, places, ..work.clone() }.run::<M>();
        });
    }
}

/// A share of the work: those elements that lie in some columns, at some positions of the outer axes, and whose indices lie
/// in some range.
#[derive(Clone)]
struct Scatter<'a, T> {
    place: Place,
    /// The index's and the source's steps along the axis.
    along: Axis<2>,
    /// The innermost and the other axes, with the steps of index, source and output.
    inner: Axis<3>,
    lines: &'a [Axis<3>],
    at: Source<i64>,
    from: Source<T>,
    to: Target<T>,
    columns: Range<usize>,
    places: Range<usize>,
    units: Range<usize>,
}

impl<T: Number> Scatter<'_, T> {
    fn run<M: Meet>(self) {
        let Scatter { place, along, inner, lines, at, from, to, columns, places, units } = self;
        let mut walk = Walk::from(lines, units.start);
        for _ in units {
            let starts = [0, 1, 2].map(|tensor| walk.offsets[tensor] + columns.start as isize * inner.steps[tensor]);
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
                            meet_line::<T, M>(from.at(from_at), to, columns.len(), [inner.steps[1], inner.steps[2]]);
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
                        unsafe { to.write(M::meet(to.read(), from.at(from_at + column * inner.steps[1]).read())) };
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
unsafe fn meet_line<T: Number, M: Meet>(from: *const T, to: *mut T, count: usize, steps: [isize; 2]) {
    if steps == [1, 1] {
        // SAFETY: the caller's promise.
        let (from, to) =
            unsafe { (std::slice::from_raw_parts(from, count), std::slice::from_raw_parts_mut(to, count)) };
        meet_slices::<T, M>(from, to);
        return;
    }
    for i in 0..count as isize {
        // SAFETY: the caller's promise.
        unsafe {
            let to = to.offset(i * steps[1]);
            to.write(M::meet(to.read(), from.offset(i * steps[0]).read()));
        }
    }
}

#[inline(always)]
fn meet_slices<T: Number, M: Meet>(from: &[T], to: &mut [T]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = M::meet(*to, from);
    }
}
