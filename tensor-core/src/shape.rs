//! Sizes of a tensor's axes.

use crate::{Error, Result};
use smallvec::SmallVec;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Up to this rank neither shapes nor strides need the heap.
pub const INLINE_RANK: usize = 6;

/// A short list of axes, sizes or indices that lives on the stack up to [`INLINE_RANK`] entries.
pub type Dims<T> = SmallVec<[T; INLINE_RANK]>;

/// The sizes of a tensor's axes; no axes at all is a scalar (0-d) tensor.
///
/// The number of elements times the largest element size always fits in `isize`: [`Shape::new`] refuses anything larger,
/// so that no later computation of a size can overflow.
///
/// ```
/// use tensor_core::Shape;
/// let shape = Shape::new([2, 3])?;
/// assert_eq!(shape.numel(), 6);
/// assert_eq!(shape.to_string(), "[2, 3]");
/// assert!(Shape::new([usize::MAX, 2]).is_err());
/// # Ok::<(), tensor_core::Error>(())
/// ```
#[derive(Eq, Default)]
pub struct Shape(Dims<usize>);

impl Clone for Shape {
    #[inline]
    fn clone(&self) -> Self {
        // One copy of what is there, where deriving it would push size by size.
        Self(Dims::from_slice(&self.0))
    }
}

impl PartialEq for Shape {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        // Comparing slices is a call into the C library, which takes longer than a few sizes do.
        self.rank() == other.rank() && self.0.iter().zip(&other.0).all(|(a, b)| a == b)
    }
}

impl Hash for Shape {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.dims().hash(state);
    }
}

/// The largest number of elements: the widest dtype has 8 bytes.
const MAX_ELEMENTS: usize = isize::MAX as usize / 8;

impl Shape {
    /// The shape of a scalar, for statics.
    pub(crate) const SCALAR: Self = Self(Dims::new_const());

    /// The shape of a scalar.
    #[inline]
    pub fn scalar() -> Self {
        Self::SCALAR
    }

    /// Checks and keeps the sizes.
    ///
    /// # Errors
    /// If the number of elements (axes of size 0 not counted, so that strides cannot overflow either) exceeds
    /// `isize::MAX / 8`.
    #[inline]
    pub fn new(dims: impl AsRef<[usize]>) -> Result<Self> {
        let dims = dims.as_ref();
        let mut product = 1usize;
        for &size in dims {
            product = match product.checked_mul(size.max(1)) {
                Some(product) if product <= MAX_ELEMENTS => product,
                _ => {
                    return Err(Error::shape(
                        "shape",
                        format!("at most {MAX_ELEMENTS} elements"),
                        format!("{dims:?}, whose number of elements overflows"),
                    ));
                }
            };
        }
        Ok(Self(Dims::from_slice(dims)))
    }

    /// A shape whose sizes come from a shape that was checked, in another order or fewer of them.
    #[inline]
    pub(crate) fn from_checked(dims: Dims<usize>) -> Self {
        Self(dims)
    }

    /// The sizes.
    #[inline]
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// The number of axes.
    #[inline]
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The number of elements; 1 for a scalar.
    #[inline]
    pub fn numel(&self) -> usize {
        self.0.iter().product()
    }

    /// The strides, in elements, of a dense row-major array of this shape.
    pub fn contiguous_strides(&self) -> Dims<isize> {
        let mut strides: Dims<isize> = SmallVec::from_elem(0, self.rank());
        let mut step = 1usize;
        for (stride, &size) in strides.iter_mut().zip(self.dims()).rev() {
            *stride = step as isize;
            step *= size.max(1);
        }
        strides
    }

    /// The shape that both broadcast to: aligned at the last axis, sizes must be equal or 1.
    ///
    /// # Errors
    /// If an axis has two different sizes, neither of them 1.
    pub fn broadcast(&self, other: &Self, op: &'static str) -> Result<Self> {
        if self == other {
            return Ok(self.clone());
        }
        let (long, short) = if self.rank() >= other.rank() { (self, other) } else { (other, self) };
        let lead = long.rank() - short.rank();
        let mut dims = Dims::from_slice(&long.0);
        for (axis, &size) in short.0.iter().enumerate() {
            let held = &mut dims[lead + axis];
            if *held == 1 {
                *held = size;
            } else if size != 1 && size != *held {
                let axis = lead + axis;
                let (left, right) = if self.rank() >= other.rank() { (*held, size) } else { (size, *held) };
                return Err(Error::shape(
                    op,
                    "shapes that broadcast",
                    format!("{self} and {other}, which differ at axis {axis} ({left} and {right})"),
                )
                .hint("aligned at the last axis, sizes must be equal or 1"));
            }
        }
        // Broadcasting can make a shape larger than both, so it is checked again.
        Self::new(&dims).map_err(|error| error.named(op))
    }

    /// Turns an axis that may count from the back into one that counts from the front. Scalars accept 0 and −1.
    ///
    /// # Errors
    /// If there is no such axis.
    #[inline]
    pub fn axis(&self, axis: isize, op: &'static str) -> Result<usize> {
        axis_in(axis, self.rank(), op)
    }

    /// Sorted axes that count from the front. An empty list stays empty.
    ///
    /// # Errors
    /// If an axis does not exist or is named twice.
    pub fn axes(&self, axes: &[isize], op: &'static str) -> Result<Dims<usize>> {
        let mut list: Dims<usize> = axes.iter().map(|&axis| self.axis(axis, op)).collect::<Result<_>>()?;
        list.sort_unstable();
        if let Some(pair) = list.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::index(op, "each axis once", format!("axis {} twice in {axes:?}", pair[0])));
        }
        if self.rank() == 0 {
            list.clear();
        }
        Ok(list)
    }

    /// This shape with the given (sorted, existing) axes removed, or kept with size 1.
    pub fn reduce(&self, axes: &[usize], keepdim: bool) -> Self {
        let mut dims = Dims::new();
        for (axis, &size) in self.0.iter().enumerate() {
            if !axes.contains(&axis) {
                dims.push(size);
            } else if keepdim {
                dims.push(1);
            }
        }
        Self(dims)
    }
}

/// Turns an axis that may count from the back into one below `rank`; a rank of 0 accepts 0 and −1 and gives 0.
///
/// # Errors
/// If there is no such axis.
#[inline]
pub fn axis_in(axis: isize, rank: usize, op: &'static str) -> Result<usize> {
    let bound = rank.max(1) as isize;
    let from_front = if axis < 0 { axis + bound } else { axis };
    if (0..bound).contains(&from_front) {
        Ok(from_front as usize)
    } else {
        Err(Error::index(op, format!("an axis from {} to {}", -bound, bound - 1), format!("{axis}")))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dims())
    }
}

impl AsRef<[usize]> for Shape {
    fn as_ref(&self) -> &[usize] {
        self.dims()
    }
}

impl PartialEq<[usize]> for Shape {
    fn eq(&self, other: &[usize]) -> bool {
        self.dims() == other
    }
}

impl<const N: usize> PartialEq<[usize; N]> for Shape {
    fn eq(&self, other: &[usize; N]) -> bool {
        self.dims() == other
    }
}
