//! Strided memory: pointers into buffers that were checked once, and walks over axes.

use crate::Cpu;
use smallvec::SmallVec;
use tensor_core::shape::INLINE_RANK;
use tensor_core::{Layout, View, ViewMut};

/// Where a tensor's first element lies, to read from several threads.
#[derive(Debug)]
pub(crate) struct Source<T>(*const T);

/// Where a tensor's first element lies, to write from several threads.
#[derive(Debug)]
pub(crate) struct Target<T>(*mut T);

impl<T> Clone for Source<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Source<T> {}

impl<T> Clone for Target<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Target<T> {}

// SAFETY: the pointer is only a number; every access through it is unsafe and proves itself that it does not race.
unsafe impl<T: Send> Send for Source<T> {}
// SAFETY: as for `Send`.
unsafe impl<T: Sync> Sync for Source<T> {}
// SAFETY: as for `Source`.
unsafe impl<T: Send> Send for Target<T> {}
// SAFETY: as for `Source`.
unsafe impl<T: Sync> Sync for Target<T> {}

impl<T> Source<T> {
    /// The first element of a view.
    ///
    /// # Panics
    /// If the view reaches beyond its buffer: kernels rely on it not to.
    pub(crate) fn new(view: &View<'_, Cpu>) -> Self {
        check::<T>(view.layout, view.buffer.size());
        Self(view.buffer.as_ptr().cast::<T>().wrapping_add(view.layout.offset()))
    }

    /// From a pointer.
    pub(crate) fn from_ptr(first: *const T) -> Self {
        Self(first)
    }

    /// The address of an element, to be read if it lies within the tensor.
    #[inline(always)]
    pub(crate) fn at(self, offset: isize) -> *const T {
        self.0.wrapping_offset(offset)
    }
}

impl Source<u8> {
    /// The first byte of a view's first element of type `T`.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub(crate) fn bytes<T>(view: &View<'_, Cpu>) -> Self {
        Self(Source::<T>::new(view).at(0).cast())
    }
}

impl Target<u8> {
    /// The first byte of a view's first element.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    #[expect(clippy::use_self, reason = "the other `Target` is of another element")]
    pub(crate) fn bytes(view: &mut ViewMut<'_, Cpu>) -> Self {
        crate::number::for_size!(view.dtype, T => Self(Target::<T>::new(view).at(0).cast()))
    }
}

impl<T> Target<T> {
    /// The first element of a view.
    ///
    /// # Panics
    /// If the view reaches beyond its buffer, or others hold the buffer.
    pub(crate) fn new(view: &mut ViewMut<'_, Cpu>) -> Self {
        check::<T>(view.layout, view.buffer.size());
        Self(view.buffer.as_mut_ptr().cast::<T>().wrapping_add(view.layout.offset()))
    }

    /// From a pointer.
    pub(crate) fn from_ptr(first: *mut T) -> Self {
        Self(first)
    }

    /// The address of an element, to be accessed if it lies within the tensor.
    #[inline(always)]
    pub(crate) fn at(self, offset: isize) -> *mut T {
        self.0.wrapping_offset(offset)
    }
}

fn check<T>(layout: &Layout, bytes: usize) {
    if let Some((_, last)) = layout.bounds() {
        assert!(last < bytes / size_of::<T>(), "a view lies within its buffer");
    }
}

/// One axis of `N` tensors that are walked together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Axis<const N: usize> {
    pub(crate) size: usize,
    /// The step of each tensor, in elements.
    pub(crate) steps: [isize; N],
}

/// Axes, the outermost first.
pub(crate) type Axes<const N: usize> = SmallVec<[Axis<N>; INLINE_RANK]>;

/// The number of positions.
pub(crate) fn count<const N: usize>(axes: &[Axis<N>]) -> usize {
    axes.iter().map(|axis| axis.size).product()
}

/// Drops axes of size 1 and merges neighbours that all tensors walk as one. The order of positions stays.
pub(crate) fn merge<const N: usize>(axes: &mut Axes<N>) {
    if axes.iter().any(|axis| axis.size == 0) {
        axes.clear();
        axes.push(Axis { size: 0, steps: [0; N] });
        return;
    }
    axes.retain(|axis| axis.size != 1);
    let mut merged = Axes::new();
    for axis in axes.drain(..) {
        match merged.last_mut() {
            Some(Axis { size, steps })
                if steps.iter().zip(axis.steps).all(|(&outer, inner)| outer == inner * axis.size as isize) =>
            {
                *size *= axis.size;
                *steps = axis.steps;
            }
            _ => merged.push(axis),
        }
    }
    *axes = merged;
}

/// The axes of some tensors in order, each given by its layouts' steps.
pub(crate) fn axes_of<const N: usize>(dims: &[usize], steps: [&[isize]; N], keep: impl Fn(usize) -> bool) -> Axes<N> {
    let axis = |number: usize| Axis { size: dims[number], steps: steps.map(|steps| steps[number]) };
    (0..dims.len()).filter(|&number| keep(number)).map(axis).collect()
}

/// The offsets of `N` tensors' elements, position by position in row-major order.
#[derive(Clone, Debug)]
pub(crate) struct Walk<'a, const N: usize> {
    axes: &'a [Axis<N>],
    position: SmallVec<[usize; INLINE_RANK]>,
    /// Where the walk stands.
    pub(crate) offsets: [isize; N],
}

impl<'a, const N: usize> Walk<'a, N> {
    /// A walk that stands at the position of this number, which exists (or at 0, if none does).
    pub(crate) fn from(axes: &'a [Axis<N>], mut number: usize) -> Self {
        let mut offsets = [0; N];
        let mut position: SmallVec<[usize; INLINE_RANK]> = SmallVec::from_elem(0, axes.len());
        for (coordinate, axis) in position.iter_mut().zip(axes).rev() {
            if number == 0 {
                break;
            }
            *coordinate = number % axis.size;
            number /= axis.size;
            for (offset, step) in offsets.iter_mut().zip(axis.steps) {
                *offset += *coordinate as isize * step;
            }
        }
        Self { axes, position, offsets }
    }

    /// To the next position; from the last one, back to the first.
    #[inline]
    pub(crate) fn advance(&mut self) {
        for (coordinate, axis) in self.position.iter_mut().zip(self.axes).rev() {
            *coordinate += 1;
            for (offset, step) in self.offsets.iter_mut().zip(axis.steps) {
                *offset += step;
            }
            if *coordinate < axis.size {
                return;
            }
            *coordinate = 0;
            for (offset, step) in self.offsets.iter_mut().zip(axis.steps) {
                *offset -= step * axis.size as isize;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_visit_positions_in_order() {
        let axes = [Axis { size: 2, steps: [100, 3] }, Axis { size: 3, steps: [-1, 1] }];
        let expected = [[0, 0], [-1, 1], [-2, 2], [100, 3], [99, 4], [98, 5]];
        let mut walk = Walk::from(&axes, 0);
        for (number, &offsets) in expected.iter().enumerate() {
            assert_eq!(walk.offsets, offsets);
            assert_eq!(Walk::from(&axes, number).offsets, offsets);
            walk.advance();
        }
        assert_eq!(walk.offsets, [0, 0], "it wraps around");
        let mut scalar = Walk::<1>::from(&[], 0);
        scalar.advance();
        assert_eq!(scalar.offsets, [0]);
    }

    #[test]
    fn neighbours_merge_only_where_all_agree() {
        let axis = |size, steps| Axis { size, steps };
        let mut axes: Axes<2> =
            [axis(2, [12, 12]), axis(1, [7, 7]), axis(3, [4, 4]), axis(4, [1, 0])].into_iter().collect();
        merge(&mut axes);
        assert_eq!(axes[..], [axis(6, [4, 4]), axis(4, [1, 0])]);
        let mut empty: Axes<2> = [axis(2, [0, 0]), axis(0, [1, 1])].into_iter().collect();
        merge(&mut empty);
        assert_eq!(count(&empty), 0);
    }
}
