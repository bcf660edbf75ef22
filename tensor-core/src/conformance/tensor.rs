//! Tensors in host memory, and the ways in which one can lie in a buffer.

use super::values::Rng;
use crate::reference::{HostView, HostViewMut};
use crate::shape::Dims;
use crate::{DType, Layout, Scalar, Shape};

/// A tensor in host memory.
#[derive(Clone, Debug)]
pub(super) struct HostTensor {
    pub(super) bytes: Vec<u8>,
    pub(super) layout: Layout,
    pub(super) dtype: DType,
}

impl HostTensor {
    /// A buffer of `len` elements filled by `value`, and a layout over it.
    pub(super) fn new(dtype: DType, (layout, len): (Layout, usize), mut value: impl FnMut() -> Scalar) -> Self {
        let mut bytes = vec![0; len * dtype.size()];
        for element in bytes.chunks_exact_mut(dtype.size()) {
            value().write(dtype, element);
        }
        Self { bytes, layout, dtype }
    }

    /// A dense tensor.
    pub(super) fn dense(dtype: DType, dims: &[usize], value: impl FnMut() -> Scalar) -> Self {
        Self::new(dtype, Arrangement::Contiguous.layout(dims), value)
    }

    /// A tensor to write into: every byte is one that a right result would not leave, and it tells what was written.
    pub(super) fn unwritten(dtype: DType, (layout, len): (Layout, usize)) -> Self {
        // Of a bool every value of the byte but 0 and 1 is wrong.
        Self { bytes: vec![0xA5; len * dtype.size()], layout, dtype }
    }

    pub(super) fn shape(&self) -> &Shape {
        self.layout.shape()
    }

    pub(super) fn view(&self) -> HostView<'_> {
        HostView { bytes: &self.bytes, layout: &self.layout, dtype: self.dtype }
    }

    pub(super) fn view_mut(&mut self) -> HostViewMut<'_> {
        HostViewMut { bytes: &mut self.bytes, layout: &self.layout, dtype: self.dtype }
    }

    /// The elements in row-major order.
    pub(super) fn values(&self) -> Vec<Scalar> {
        let size = self.dtype.size();
        self.layout.indices().map(|at| Scalar::read(self.dtype, &self.bytes[at * size..])).collect()
    }
}

/// Ways for a tensor of a given shape to lie in its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrangement {
    /// Dense, from the start of the buffer.
    Contiguous,
    /// A window in a larger tensor.
    Window,
    /// Axes in reverse order in memory.
    Transposed,
    /// The first axis last in memory.
    Rotated,
    /// Every second row.
    StepFirst,
    /// Every third element of the last axis.
    StepLast,
    /// All axes backwards.
    Flipped,
    /// The last axis backwards.
    FlippedLast,
    /// Transposed, every second along one axis, backwards along another, from an offset.
    Mixed,
    /// Only the last axis is there, the others repeat it.
    Row,
    /// Only the first axis is there, the others repeat it.
    Column,
    /// Every second axis is there.
    Alternating,
    /// One element for all positions.
    Single,
}

impl Arrangement {
    /// Every arrangement. Neighbours are unlike each other, so that operands that take them in turn differ.
    pub(super) const ALL: [Self; 13] = [
        Self::Contiguous,
        Self::Transposed,
        Self::Row,
        Self::StepLast,
        Self::Column,
        Self::Flipped,
        Self::Single,
        Self::StepFirst,
        Self::Window,
        Self::Alternating,
        Self::Rotated,
        Self::FlippedLast,
        Self::Mixed,
    ];

    /// Those that touch no element twice, as outputs must.
    pub(super) const OUTPUTS: [Self; 9] = [
        Self::Contiguous,
        Self::Transposed,
        Self::StepLast,
        Self::Flipped,
        Self::StepFirst,
        Self::Window,
        Self::Rotated,
        Self::FlippedLast,
        Self::Mixed,
    ];

    /// The layout for a shape, and how many elements its buffer has.
    ///
    /// # Panics
    /// If a size is 0.
    pub(super) fn layout(self, dims: &[usize]) -> (Layout, usize) {
        let rank = dims.len();
        if rank == 0 {
            let offset = if matches!(self, Self::Window | Self::Mixed) { 2 } else { 0 };
            return (Layout::from_parts(Shape::scalar(), Dims::new(), offset), offset + 1);
        }
        match self {
            Self::Contiguous => Frame::new(dims).finish(),
            Self::Window => {
                let mut frame = Frame::new(dims);
                for axis in 0..rank {
                    (frame.before[axis], frame.after[axis]) = (1 + axis % 2, 1);
                }
                frame.finish()
            }
            Self::Transposed => Frame { order: (0..rank).rev().collect(), ..Frame::new(dims) }.finish(),
            Self::Rotated => Frame { order: (1..rank).chain([0]).collect(), ..Frame::new(dims) }.finish(),
            Self::StepFirst => {
                let mut frame = Frame::new(dims);
                frame.steps[0] = 2;
                frame.finish()
            }
            Self::StepLast => {
                let mut frame = Frame::new(dims);
                (frame.steps[rank - 1], frame.before[rank - 1]) = (3, 1);
                frame.finish()
            }
            Self::Flipped => Frame { steps: vec![-1; rank], ..Frame::new(dims) }.finish(),
            Self::FlippedLast => {
                let mut frame = Frame::new(dims);
                frame.steps[rank - 1] = -1;
                frame.finish()
            }
            Self::Mixed => {
                let mut frame = Frame { order: (0..rank).rev().collect(), ..Frame::new(dims) };
                (frame.steps[0], frame.before[0]) = (2, 3);
                frame.steps[rank - 1] = if rank == 1 { -2 } else { -1 };
                frame.finish()
            }
            Self::Row => Frame::repeated(dims, |axis| axis + 1 == rank),
            Self::Column => Frame::repeated(dims, |axis| axis == 0),
            Self::Alternating => Frame::repeated(dims, |axis| axis % 2 == 1),
            Self::Single => Frame::repeated(dims, |_| false),
        }
    }
}

/// How a tensor is cut out of a larger dense one.
struct Frame<'a> {
    dims: &'a [usize],
    /// The axes from the slowest to the fastest in memory.
    order: Vec<usize>,
    /// The step along each axis, in elements of the larger tensor.
    steps: Vec<isize>,
    /// How many elements stand before and after the tensor's own along each axis.
    before: Vec<usize>,
    after: Vec<usize>,
}

impl<'a> Frame<'a> {
    fn new(dims: &'a [usize]) -> Self {
        let rank = dims.len();
        Self { dims, order: (0..rank).collect(), steps: vec![1; rank], before: vec![0; rank], after: vec![0; rank] }
    }

    fn finish(self) -> (Layout, usize) {
        let mut strides: Dims<isize> = Dims::from_elem(0, self.dims.len());
        let (mut dense, mut offset) = (1, 0);
        for &axis in self.order.iter().rev() {
            let (size, step) = (self.dims[axis], self.steps[axis]);
            let reach = size * step.unsigned_abs();
            strides[axis] = dense as isize * step;
            let first = self.before[axis] + if step < 0 { (size - 1) * step.unsigned_abs() } else { 0 };
            offset += first * dense;
            dense *= self.before[axis] + reach + self.after[axis];
        }
        let shape = Shape::new(self.dims).expect("shapes under test are small");
        (Layout::from_parts(shape, strides, offset), dense)
    }

    /// A dense tensor of the axes that are there, repeated along the others.
    fn repeated(dims: &[usize], there: impl Fn(usize) -> bool) -> (Layout, usize) {
        let small: Vec<usize> =
            dims.iter().enumerate().map(|(axis, &size)| if there(axis) { size } else { 1 }).collect();
        let (layout, len) = Frame::new(&small).finish();
        let shape = Shape::new(dims).expect("shapes under test are small");
        (layout.expand(&shape).expect("axes of size 1 repeat"), len)
    }
}

/// Shapes of many ranks, small enough for the reference interpreter.
pub(super) const SHAPES: [&[usize]; 9] = [
    &[9, 70],
    &[70, 9],
    &[3, 300],
    &[1, 33],
    &[33, 1],
    &[5, 3, 67],
    &[3, 17, 2, 5],
    &[2, 3, 1, 4, 3, 5],
    &[2, 1, 3, 2, 1, 2, 3, 5],
];

/// Lengths around the widths of vectors, the sizes of tiles and of work-groups.
pub(super) const LENGTHS: [usize; 24] =
    [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 255, 256, 257, 511, 513, 1023, 1025, 4097];

/// Indices below `bound` as an `I64` tensor.
pub(super) fn indices(arranged: (Layout, usize), bound: usize, rng: &mut Rng) -> HostTensor {
    HostTensor::new(DType::I64, arranged, || Scalar::from(rng.below(bound)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrangements_lie_within_their_buffers() {
        let shapes = SHAPES.into_iter().chain([&[][..], &[1], &[7], &[1, 1]]);
        for dims in shapes {
            for arrangement in Arrangement::ALL {
                let (layout, len) = arrangement.layout(dims);
                assert_eq!(layout.dims(), dims, "{arrangement:?}");
                let (_, last) = layout.bounds().unwrap();
                assert!(last < len, "{arrangement:?} of {dims:?}: {layout:?} in {len}");
                if Arrangement::OUTPUTS.contains(&arrangement) {
                    assert!(!layout.overlaps(), "{arrangement:?} of {dims:?}: {layout:?}");
                }
            }
        }
    }

    #[test]
    fn arrangements_are_what_they_are_called() {
        let strides = |arrangement: Arrangement| arrangement.layout(&[4, 5]).0.strides().to_vec();
        assert_eq!(strides(Arrangement::Transposed), [1, 4]);
        assert_eq!(strides(Arrangement::Flipped), [-5, -1]);
        assert_eq!(strides(Arrangement::StepFirst), [10, 1]);
        assert_eq!(strides(Arrangement::StepLast), [16, 3]);
        assert_eq!(strides(Arrangement::Row), [0, 1]);
        assert_eq!(strides(Arrangement::Single), [0, 0]);
        assert_eq!(Arrangement::Window.layout(&[4, 5]).0.offset(), 10);
    }
}
