//! The order in which elements are visited: axes collapsed, and each operand's way through memory.

use smallvec::SmallVec;
use tensor_core::shape::Dims;
use tensor_core::{Layout, Shape};

/// Rows shorter than this are not walked one by one.
const SHORT_ROW: usize = 64;

/// One tensor, or the elements' row-major numbers, as the walk sees them.
#[derive(Debug)]
pub(crate) struct Operand {
    /// The first element; null for the elements' numbers.
    pub(crate) base: *mut u8,
    /// Bytes of an element.
    pub(crate) size: usize,
    /// Bytes of the buffer that it lies in.
    pub(crate) memory: usize,
    /// Steps along the walk's axes, in elements.
    pub(crate) strides: Dims<isize>,
}

/// A tensor before axes are collapsed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tensor<'a> {
    /// The buffer's first byte.
    pub(crate) memory: *mut u8,
    /// The buffer's size.
    pub(crate) bytes: usize,
    /// Where the elements lie in it.
    pub(crate) layout: &'a Layout,
    /// Bytes of an element.
    pub(crate) size: usize,
}

/// All operands over common axes. There is at least one axis.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The sizes of the axes. Their order is row-major order of the shape unless `new` was allowed to change it.
    pub(crate) dims: Dims<usize>,
    /// The operands, in the order that `new` was given them; the elements' numbers last, if they were asked for.
    pub(crate) operands: SmallVec<[Operand; 4]>,
    /// The number of elements.
    pub(crate) len: usize,
    /// Whether tiles run over the ends of rows, because rows are short.
    pub(crate) linear: bool,
}

impl Walk {
    /// Collapses the axes of `shape`. The order is chosen for the first of `tensors`, unless `numbered` asks for the
    /// elements' row-major numbers as the last operand, which need row-major order.
    pub(crate) fn new(shape: &Shape, tensors: &[Tensor<'_>], numbered: bool) -> Self {
        let len = shape.numel();
        let simple = tensors.iter().all(|tensor| tensor.layout.is_contiguous() || is_uniform(tensor.layout));
        if simple {
            return Self::flat(len, tensors, numbered);
        }
        let dims = shape.dims();
        let mut axes: Dims<usize> = (0..dims.len()).filter(|&axis| dims[axis] != 1).collect();
        if !numbered && let Some(first) = tensors.first() {
            // The largest steps outside. The sort is stable, so that what decides nothing keeps its order.
            axes.sort_by_key(|&axis| std::cmp::Reverse(first.layout.strides()[axis].unsigned_abs()));
        }
        let numbers = shape.contiguous_strides();
        let stride = |operand: usize, axis: usize| match tensors.get(operand) {
            Some(tensor) => tensor.layout.strides()[axis],
            None => numbers[axis],
        };
        let count = tensors.len() + usize::from(numbered);
        let mut walk = Self { dims: Dims::new(), operands: SmallVec::new(), len, linear: false };
        for number in 0..count {
            let (base, size, memory) = match tensors.get(number) {
                Some(tensor) => (first_element(tensor), tensor.size, tensor.bytes),
                None => (std::ptr::null_mut(), 0, 0),
            };
            walk.operands.push(Operand { base, size, memory, strides: Dims::new() });
        }
        for &axis in &axes {
            let dense = !walk.dims.is_empty()
                && (0..count).all(|number| {
                    let outer = walk.operands[number].strides[walk.dims.len() - 1];
                    outer == stride(number, axis) * dims[axis] as isize
                });
            let at = if dense { walk.dims.len() - 1 } else { walk.dims.len() };
            if dense {
                walk.dims[at] *= dims[axis];
            } else {
                walk.dims.push(dims[axis]);
            }
            for (number, operand) in walk.operands.iter_mut().enumerate() {
                operand.strides.truncate(at);
                operand.strides.push(stride(number, axis));
            }
        }
        walk.linear = walk.dims.len() > 1 && walk.row() < SHORT_ROW;
        walk
    }

    /// One axis of all elements, for operands that are dense or the same everywhere.
    fn flat(len: usize, tensors: &[Tensor<'_>], numbered: bool) -> Self {
        let mut operands = SmallVec::new();
        for tensor in tensors {
            let step = isize::from(tensor.layout.is_contiguous());
            let strides = Dims::from_slice(&[step]);
            operands.push(Operand { base: first_element(tensor), size: tensor.size, memory: tensor.bytes, strides });
        }
        if numbered {
            operands.push(Operand { base: std::ptr::null_mut(), size: 0, memory: 0, strides: Dims::from_slice(&[1]) });
        }
        Self { dims: Dims::from_slice(&[len]), operands, len, linear: false }
    }

    /// The size of the innermost axis.
    pub(crate) fn row(&self) -> usize {
        self.dims[self.dims.len() - 1]
    }

    /// Exchanges an axis with the last but one, so that consecutive rows step along it.
    pub(crate) fn rows_along(&mut self, axis: usize) {
        let last = self.dims.len() - 2;
        self.dims.swap(axis, last);
        for operand in &mut self.operands {
            operand.strides.swap(axis, last);
        }
    }
}

impl Operand {
    /// Whether every element is the same one.
    pub(crate) fn is_uniform(&self, dims: &[usize]) -> bool {
        self.strides.iter().zip(dims).all(|(&stride, &size)| stride == 0 || size == 1)
    }

    /// Whether the elements lie densely in the walk's order.
    pub(crate) fn is_dense(&self, dims: &[usize]) -> bool {
        let mut step = 1;
        for (&size, &stride) in dims.iter().zip(&self.strides).rev() {
            if size != 1 && stride != step {
                return false;
            }
            step *= size as isize;
        }
        true
    }
}

/// Whether every element of a layout is the same one.
fn is_uniform(layout: &Layout) -> bool {
    layout.strides().iter().zip(layout.dims()).all(|(&stride, &size)| stride == 0 || size == 1)
}

fn first_element(tensor: &Tensor<'_>) -> *mut u8 {
    tensor.memory.wrapping_add(tensor.layout.offset() * tensor.size)
}

/// A position of the walk that steps through rows or elements without dividing.
#[derive(Clone, Debug)]
pub(crate) struct Odometer {
    position: Dims<usize>,
}

impl Odometer {
    /// The position of a number, counted in row-major order over `dims`.
    pub(crate) fn at(mut number: usize, dims: &[usize]) -> Self {
        let mut position = Dims::from_elem(0, dims.len());
        for (coordinate, &size) in position.iter_mut().zip(dims).rev() {
            *coordinate = number % size;
            number /= size;
        }
        Self { position }
    }

    /// The step from the first element to this position.
    #[inline]
    pub(crate) fn offset(&self, strides: &[isize]) -> isize {
        self.position.iter().zip(strides).map(|(&coordinate, &stride)| coordinate as isize * stride).sum()
    }

    /// The coordinate along an axis.
    pub(crate) fn coordinate(&self, axis: usize) -> usize {
        self.position[axis]
    }

    /// Goes `by` rows further, by no more than to the end of the last axis but one, and from there on to the next.
    #[inline]
    pub(crate) fn advance_rows(&mut self, by: usize, dims: &[usize]) {
        let mut carry = by;
        let outer = dims.len() - 1;
        for (coordinate, &size) in self.position[..outer].iter_mut().zip(dims).rev() {
            *coordinate += carry;
            if *coordinate < size {
                return;
            }
            *coordinate -= size;
            carry = 1;
        }
    }

    /// Goes `by` further along the last axis, by no more than to its end, and from there on to the next row.
    #[inline]
    pub(crate) fn advance(&mut self, by: usize, dims: &[usize]) {
        let mut carry = by;
        for (coordinate, &size) in self.position.iter_mut().zip(dims).rev() {
            *coordinate += carry;
            if *coordinate < size {
                return;
            }
            *coordinate -= size;
            carry = 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(layout: &Layout) -> Tensor<'_> {
        Tensor { memory: std::ptr::null_mut(), bytes: 0, layout, size: 4 }
    }

    fn layout(dims: &[usize]) -> Layout {
        Layout::contiguous(Shape::new(dims).unwrap())
    }

    #[test]
    fn dense_axes_become_one() {
        let a = layout(&[4, 5, 6]);
        let walk = Walk::new(a.shape(), &[tensor(&a), tensor(&a)], false);
        assert_eq!(&walk.dims[..], [120]);
        let b = layout(&[8, 5, 6]).slice(0, 0, 4, 2).unwrap();
        let walk = Walk::new(a.shape(), &[tensor(&a), tensor(&b)], false);
        assert_eq!(&walk.dims[..], [4, 30]);
        assert_eq!(&walk.operands[1].strides[..], [60, 1]);
        assert!(walk.linear);
        assert!(walk.operands[0].is_dense(&walk.dims) && !walk.operands[1].is_dense(&walk.dims));
    }

    #[test]
    fn the_first_tensor_decides_the_order() {
        let a = layout(&[100, 200]).transpose(0, 1).unwrap();
        let walk = Walk::new(a.shape(), &[tensor(&a), tensor(&a)], false);
        assert_eq!(&walk.dims[..], [20000]);
        let walk = Walk::new(a.shape(), &[tensor(&a), tensor(&a)], true);
        assert_eq!(&walk.dims[..], [200, 100]);
        assert_eq!(&walk.operands[2].strides[..], [100, 1]);
    }

    #[test]
    fn an_odometer_counts() {
        let dims = [3, 4, 5];
        let mut odometer = Odometer::at(0, &dims);
        for number in 0..60 {
            assert_eq!(odometer.offset(&[20, 5, 1]), number as isize);
            assert_eq!(odometer.position, Odometer::at(number, &dims).position);
            odometer.advance(1, &dims);
        }
        let mut odometer = Odometer::at(17, &dims);
        odometer.advance(3, &dims);
        assert_eq!(odometer.offset(&[20, 5, 1]), 20);
    }
}
