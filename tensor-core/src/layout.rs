//! Where the elements of a tensor lie in its buffer: shape, strides and offset, and every view that only changes these.

use crate::shape::{Dims, axis_in};
use crate::{Error, Result, Shape};
use smallvec::smallvec;
use std::fmt;
use std::sync::Arc;

/// Shape, strides and offset, all in elements.
///
/// Element `(i₀, i₁, …)` lies at `offset + i₀·stride₀ + i₁·stride₁ + …`. Strides may be 0 (broadcast) or negative (flipped).
/// Every index within the shape lies within the buffer: constructors start from a dense layout and views only narrow it.
///
/// ```
/// use tensor_core::{Layout, Shape};
/// let layout = Layout::contiguous(Shape::new([2, 3])?);
/// let column = layout.select(1, 2)?;
/// assert_eq!((column.shape().dims(), column.strides(), column.offset()), (&[2][..], &[3][..], 2));
/// # Ok::<(), tensor_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Layout(
    /// Shared, so that a layout is as long as a pointer and cheap to copy; `None` is a scalar at the start of its buffer,
    /// which scalar code must not pay an allocation for.
    Option<Arc<Parts>>,
);

/// What a layout says.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Parts {
    shape: Shape,
    strides: Dims<isize>,
    offset: usize,
    // What follows from these and every operation asks for, some of it several times.
    numel: usize,
    is_contiguous: bool,
    is_plain: bool,
}

static SCALAR: Parts = Parts {
    shape: Shape::SCALAR,
    strides: Dims::new_const(),
    offset: 0,
    numel: 1,
    is_contiguous: true,
    is_plain: true,
};

impl Parts {
    #[inline]
    fn new(shape: Shape, strides: Dims<isize>, offset: usize) -> Self {
        let (mut numel, mut step) = (1, 1);
        let (mut is_contiguous, mut is_plain) = (true, offset == 0);
        for (&size, &stride) in shape.dims().iter().zip(&strides).rev() {
            let fits = stride == step;
            is_plain &= fits;
            is_contiguous &= fits || size == 1;
            numel *= size;
            step *= size.max(1) as isize;
        }
        Self { shape, strides, offset, numel, is_contiguous: is_contiguous || numel == 0, is_plain }
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layout")
            .field("shape", self.shape())
            .field("strides", &self.strides())
            .field("offset", &self.offset())
            .finish()
    }
}

impl Layout {
    /// A dense row-major layout from the start of a buffer.
    #[inline]
    pub fn contiguous(shape: Shape) -> Self {
        if shape.rank() == 0 {
            return Self(None);
        }
        let strides = shape.contiguous_strides();
        Self::of(shape, strides, 0)
    }

    /// A single element at the start of the buffer.
    #[inline]
    pub(crate) const fn scalar() -> Self {
        Self(None)
    }

    /// Every element is the one at the start of the buffer.
    #[inline]
    pub fn broadcast_scalar(shape: Shape) -> Self {
        if shape.rank() == 0 {
            return Self(None);
        }
        let strides = smallvec![0; shape.rank()];
        Self::of(shape, strides, 0)
    }

    #[inline]
    fn of(shape: Shape, strides: Dims<isize>, offset: usize) -> Self {
        if shape.rank() == 0 && offset == 0 {
            return Self(None);
        }
        Self(Some(Arc::new(Parts::new(shape, strides, offset))))
    }

    #[inline]
    fn parts(&self) -> &Parts {
        self.0.as_deref().unwrap_or(&SCALAR)
    }

    /// A layout from its parts, for backends that collapse axes and for tests.
    ///
    /// # Panics
    /// If shape and strides differ in rank.
    pub fn from_parts(shape: Shape, strides: Dims<isize>, offset: usize) -> Self {
        assert_eq!(shape.rank(), strides.len(), "a stride for each axis");
        Self::of(shape, strides, offset)
    }

    /// The shape.
    #[inline]
    pub fn shape(&self) -> &Shape {
        &self.parts().shape
    }

    /// The sizes of the axes.
    #[inline]
    pub fn dims(&self) -> &[usize] {
        self.parts().shape.dims()
    }

    /// The step along each axis, in elements.
    #[inline]
    pub fn strides(&self) -> &[isize] {
        &self.parts().strides
    }

    /// Where the first element lies, in elements.
    #[inline]
    pub fn offset(&self) -> usize {
        self.parts().offset
    }

    /// The number of axes.
    #[inline]
    pub fn rank(&self) -> usize {
        self.parts().shape.rank()
    }

    /// The number of elements.
    #[inline]
    pub fn numel(&self) -> usize {
        self.parts().numel
    }

    /// Whether the elements lie densely in row-major order (from any offset). Empty layouts are.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        self.parts().is_contiguous
    }

    /// Whether it is what [`contiguous`](Self::contiguous) makes of its shape, so that it can be shared instead.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.parts().is_plain
    }

    /// The lowest and highest element index that the layout touches, or `None` if it is empty.
    pub fn bounds(&self) -> Option<(usize, usize)> {
        let (mut low, mut high) = (self.parts().offset as isize, self.parts().offset as isize);
        for (&size, &stride) in self.dims().iter().zip(&self.parts().strides) {
            if size == 0 {
                return None;
            }
            let reach = (size as isize - 1) * stride;
            if reach < 0 {
                low += reach;
            } else {
                high += reach;
            }
        }
        Some((low as usize, high as usize))
    }

    /// Whether two positions are the same element, as in an expanded view or one of overlapping windows.
    pub fn overlaps(&self) -> bool {
        if self.numel() == 0 {
            return false;
        }
        let mut axes: Dims<(usize, usize)> = Dims::new();
        for (&size, &stride) in self.dims().iter().zip(&self.parts().strides) {
            if size > 1 {
                axes.push((stride.unsigned_abs(), size));
            }
        }
        axes.sort_unstable();
        // If every axis steps over all that the ones with smaller strides reach, no two positions meet.
        let mut reach = 0;
        let apart = axes.iter().all(|&(stride, size)| {
            let clear = stride > reach;
            reach += stride * (size - 1);
            clear
        });
        if apart {
            return false;
        }
        // More positions than elements, or a stride of 0, must meet; what is left is rare and worth looking at each.
        if self.numel() > reach + 1 || axes[0].0 == 0 {
            return true;
        }
        let mut indices: Vec<usize> = self.indices().collect();
        indices.sort_unstable();
        indices.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// The element index of a position.
    ///
    /// # Panics
    /// In debug builds, if the position lies outside the shape.
    #[inline]
    pub fn index(&self, position: &[usize]) -> usize {
        debug_assert_eq!(position.len(), self.rank(), "one coordinate for each axis");
        let mut at = self.parts().offset as isize;
        for ((&i, &size), &stride) in position.iter().zip(self.dims()).zip(&self.parts().strides) {
            debug_assert!(i < size, "coordinate {i} is below the size {size}");
            at += i as isize * stride;
        }
        at as usize
    }

    /// The element indices of all positions, in row-major order.
    pub fn indices(&self) -> Indices<'_> {
        Indices {
            layout: self,
            position: smallvec![0; self.rank()],
            at: self.parts().offset as isize,
            left: self.numel(),
        }
    }

    /// Axes in another order.
    ///
    /// # Errors
    /// If `order` does not name every axis once.
    pub fn permute(&self, order: &[isize]) -> Result<Self> {
        if order.len() != self.rank() {
            return Err(Error::index(
                "permute",
                format!("an order of {} axes", self.rank()),
                format!("{order:?} of length {}", order.len()),
            ));
        }
        let mut seen: Dims<bool> = smallvec![false; self.rank()];
        let (mut dims, mut strides) = (Dims::new(), Dims::new());
        for &axis in order {
            let axis = self.parts().shape.axis(axis, "permute")?;
            if std::mem::replace(&mut seen[axis], true) {
                return Err(Error::index("permute", "each axis once", format!("axis {axis} twice in {order:?}")));
            }
            dims.push(self.dims()[axis]);
            strides.push(self.parts().strides[axis]);
        }
        Ok(Self::of(Shape::from_checked(dims), strides, self.parts().offset))
    }

    /// Two axes exchanged.
    ///
    /// # Errors
    /// If an axis does not exist.
    pub fn transpose(&self, a: isize, b: isize) -> Result<Self> {
        let (a, b) = (self.parts().shape.axis(a, "transpose")?, self.parts().shape.axis(b, "transpose")?);
        if self.rank() == 0 {
            return Ok(self.clone());
        }
        let (mut dims, mut strides) = (Dims::from_slice(self.dims()), Dims::from_slice(self.strides()));
        dims.swap(a, b);
        strides.swap(a, b);
        Ok(Self::of(Shape::from_checked(dims), strides, self.parts().offset))
    }

    /// `len` elements along an axis from `start` on, `step` apart; a negative step walks backwards.
    ///
    /// # Errors
    /// If the axis does not exist, `step` is 0, or an element would lie outside.
    pub fn slice(&self, axis: isize, start: usize, len: usize, step: isize) -> Result<Self> {
        let axis = self.axis_of_nonscalar(axis, "slice")?;
        let size = self.dims()[axis];
        if step == 0 {
            return Err(Error::index("slice", "a step other than 0", "0"));
        }
        if len > 0 {
            let reach = isize::try_from(len - 1).ok().and_then(|steps| steps.checked_mul(step));
            let last = reach.and_then(|reach| reach.checked_add(start as isize));
            if start >= size || !last.is_some_and(|last| (0..size as isize).contains(&last)) {
                return Err(Error::index(
                    "slice",
                    format!("elements within axis {axis} of size {size}"),
                    format!("{len} elements from {start} in steps of {step}"),
                ));
            }
        }
        let mut view = self.parts().clone();
        let mut dims = Dims::from_slice(self.dims());
        dims[axis] = len;
        view.shape = Shape::from_checked(dims);
        if len > 0 {
            view.offset = (self.parts().offset as isize + start as isize * self.parts().strides[axis]) as usize;
        }
        // The stride of a single element is never walked, and times a huge step it could overflow.
        if len > 1 {
            view.strides[axis] = self.parts().strides[axis] * step;
        }
        Ok(Self::of(view.shape, view.strides, view.offset))
    }

    /// `len` consecutive elements along an axis.
    ///
    /// # Errors
    /// If the axis does not exist or the range lies outside.
    pub fn narrow(&self, axis: isize, start: usize, len: usize) -> Result<Self> {
        let at = self.axis_of_nonscalar(axis, "narrow")?;
        let size = self.dims()[at];
        if start.checked_add(len).is_none_or(|end| end > size) {
            return Err(Error::index(
                "narrow",
                format!("a range within axis {at} of size {size}"),
                format!("start {start} and length {len}"),
            ));
        }
        self.slice(axis, start, len, 1)
    }

    /// One element of an axis, the axis removed. Negative indices count from the back.
    ///
    /// # Errors
    /// If the axis or the index does not exist.
    pub fn select(&self, axis: isize, index: isize) -> Result<Self> {
        let axis = self.axis_of_nonscalar(axis, "select")?;
        let size = self.dims()[axis] as isize;
        let at = if index < 0 { index + size } else { index };
        if !(0..size).contains(&at) {
            return Err(Error::index(
                "select",
                format!("an index within axis {axis} of size {size}"),
                format!("{index}"),
            ));
        }
        let (mut dims, mut strides) = (Dims::from_slice(self.dims()), Dims::from_slice(self.strides()));
        dims.remove(axis);
        let stride = strides.remove(axis);
        let offset = (self.parts().offset as isize + at * stride) as usize;
        Ok(Self::of(Shape::from_checked(dims), strides, offset))
    }

    /// Axes walked backwards.
    ///
    /// # Errors
    /// If an axis does not exist or is named twice.
    pub fn flip(&self, axes: &[isize]) -> Result<Self> {
        let mut view = self.clone();
        for &axis in &self.parts().shape.axes(axes, "flip")? {
            let size = self.dims()[axis];
            if size > 0 {
                view = view.slice(axis as isize, size - 1, size, -1)?;
            }
        }
        Ok(view)
    }

    /// Broadcasts to a shape: new axes appear in front, axes of size 1 repeat.
    ///
    /// # Errors
    /// If an axis of another size than 1 would have to change.
    pub fn expand(&self, shape: &Shape) -> Result<Self> {
        let refuse = || {
            Error::shape("expand", format!("a shape that {} broadcasts to", self.parts().shape), shape.to_string())
                .hint("aligned at the last axis, only axes of size 1 can grow")
        };
        let lead = shape.rank().checked_sub(self.rank()).ok_or_else(refuse)?;
        let mut strides: Dims<isize> = smallvec![0; shape.rank()];
        for (axis, (&size, &stride)) in self.dims().iter().zip(&self.parts().strides).enumerate() {
            let target = shape.dims()[lead + axis];
            if size == target {
                strides[lead + axis] = stride;
            } else if size != 1 {
                return Err(refuse());
            }
        }
        Ok(Self::of(shape.clone(), strides, self.parts().offset))
    }

    /// Axes of size 1 removed: all of them if `axes` is `None`, else those named that have size 1.
    ///
    /// # Errors
    /// If an axis does not exist or is named twice.
    pub fn squeeze(&self, axes: Option<&[isize]>) -> Result<Self> {
        let named = axes.map(|axes| self.parts().shape.axes(axes, "squeeze")).transpose()?;
        let (mut dims, mut strides) = (Dims::new(), Dims::new());
        for (axis, (&size, &stride)) in self.dims().iter().zip(&self.parts().strides).enumerate() {
            let goes = size == 1 && named.as_ref().is_none_or(|named| named.contains(&axis));
            if !goes {
                dims.push(size);
                strides.push(stride);
            }
        }
        Ok(Self::of(Shape::from_checked(dims), strides, self.parts().offset))
    }

    /// A new axis of size 1 before `axis`; −1 puts it last.
    ///
    /// # Errors
    /// If the new tensor would have no such axis.
    pub fn unsqueeze(&self, axis: isize) -> Result<Self> {
        let axis = axis_in(axis, self.rank() + 1, "unsqueeze")?;
        let (mut dims, mut strides) = (Dims::from_slice(self.dims()), Dims::from_slice(self.strides()));
        let step = if axis < self.rank() { self.parts().strides[axis] * self.dims()[axis].max(1) as isize } else { 1 };
        dims.insert(axis, 1);
        strides.insert(axis, step);
        Ok(Self::of(Shape::from_checked(dims), strides, self.parts().offset))
    }

    /// The same elements in another shape without moving them, or `None` where the strides do not allow it.
    ///
    /// # Errors
    /// If the numbers of elements differ.
    pub fn reshape(&self, shape: &Shape) -> Result<Option<Self>> {
        if shape.numel() != self.numel() {
            return Err(Error::shape(
                "reshape",
                format!("a shape of {} elements", self.numel()),
                format!("{shape} of {}", shape.numel()),
            ));
        }
        if self.is_contiguous() {
            let strides = shape.contiguous_strides();
            return Ok(Some(Self::of(shape.clone(), strides, self.parts().offset)));
        }
        // Merge neighbouring old axes that lie densely behind each other, then cut every merged run into new axes.
        let mut runs: Dims<(usize, isize)> = Dims::new();
        for (&size, &stride) in self.dims().iter().zip(&self.parts().strides) {
            if size == 1 {
                continue;
            }
            match runs.last_mut() {
                Some((run, step)) if *step == stride * size as isize => {
                    *run *= size;
                    *step = stride;
                }
                _ => runs.push((size, stride)),
            }
        }
        let mut strides: Dims<isize> = smallvec![0; shape.rank()];
        let mut axis = shape.rank();
        for &(run, step) in runs.iter().rev() {
            let (mut covered, mut step) = (1usize, step);
            while covered < run {
                let Some(next) = axis.checked_sub(1) else {
                    return Ok(None);
                };
                axis = next;
                let size = shape.dims()[axis];
                strides[axis] = step;
                covered *= size;
                step *= size as isize;
            }
            if covered != run {
                return Ok(None);
            }
        }
        // What is left are axes of size 1; their strides are never walked.
        Ok(Some(Self::of(shape.clone(), strides, self.parts().offset)))
    }

    /// The diagonal of two axes as a new last axis. A positive `offset` lies above the main diagonal, a negative one below.
    ///
    /// # Errors
    /// If the axes do not exist or are the same.
    pub fn diagonal(&self, offset: isize, a: isize, b: isize) -> Result<Self> {
        let (first, second) = (self.parts().shape.axis(a, "diagonal")?, self.parts().shape.axis(b, "diagonal")?);
        if self.rank() < 2 || first == second {
            return Err(Error::index(
                "diagonal",
                "two different axes",
                format!("{a} and {b} of shape {}", self.parts().shape),
            ));
        }
        let (rows, columns) = (self.dims()[first] as isize, self.dims()[second] as isize);
        let len = if offset >= 0 {
            rows.min(columns.saturating_sub(offset))
        } else {
            rows.saturating_add(offset).min(columns)
        }
        .max(0) as usize;
        let (mut dims, mut strides) = (Dims::new(), Dims::new());
        for axis in (0..self.rank()).filter(|&axis| axis != first && axis != second) {
            dims.push(self.dims()[axis]);
            strides.push(self.parts().strides[axis]);
        }
        dims.push(len);
        // The stride of a single element is never walked; adding again and again could overflow.
        strides.push(if len > 1 {
            self.parts().strides[first] + self.parts().strides[second]
        } else {
            self.parts().strides[first]
        });
        let mut at = self.parts().offset as isize;
        if len > 0 {
            at +=
                if offset >= 0 { offset * self.parts().strides[second] } else { -offset * self.parts().strides[first] };
        }
        Ok(Self::of(Shape::from_checked(dims), strides, at as usize))
    }

    /// All windows of `size` elements along an axis, `step` apart, as a new last axis.
    ///
    /// # Errors
    /// If the axis does not exist, the window is larger than it, or `step` is 0.
    pub fn unfold(&self, axis: isize, size: usize, step: usize) -> Result<Self> {
        let at = self.parts().shape.axis(axis, "unfold")?;
        let (held, stride) = if self.rank() == 0 { (1, 1) } else { (self.dims()[at], self.parts().strides[at]) };
        if size > held {
            return Err(Error::index("unfold", format!("a window of at most {held} elements"), format!("{size}")));
        }
        if step == 0 {
            return Err(Error::index("unfold", "a step of at least 1", "0"));
        }
        let (mut dims, mut strides) = (Dims::from_slice(self.dims()), Dims::from_slice(self.strides()));
        if self.rank() > 0 {
            dims[at] = (held - size) / step + 1;
            // With several windows the step is smaller than the axis; with one it is never walked and may be huge.
            strides[at] = if dims[at] > 1 { stride * step as isize } else { stride };
        }
        dims.push(size);
        strides.push(stride);
        // Windows overlap, so the view can have more elements than the buffer: check the count again.
        Ok(Self::of(Shape::new(&dims).map_err(|error| error.named("unfold"))?, strides, self.parts().offset))
    }

    fn axis_of_nonscalar(&self, axis: isize, op: &'static str) -> Result<usize> {
        if self.rank() == 0 {
            return Err(Error::index(op, "a tensor with at least one axis", "a 0-d tensor"));
        }
        self.parts().shape.axis(axis, op)
    }
}

/// Iterator over the element indices of a [`Layout`], made by [`Layout::indices`].
#[derive(Debug)]
pub struct Indices<'a> {
    layout: &'a Layout,
    position: Dims<usize>,
    at: isize,
    left: usize,
}

impl Iterator for Indices<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.left == 0 {
            return None;
        }
        let current = self.at as usize;
        self.left -= 1;
        for axis in (0..self.position.len()).rev() {
            let stride = self.layout.strides()[axis];
            self.position[axis] += 1;
            self.at += stride;
            if self.position[axis] < self.layout.dims()[axis] {
                break;
            }
            self.at -= stride * self.position[axis] as isize;
            self.position[axis] = 0;
        }
        Some(current)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Indices<'_> {}

/// Resolves a target shape in which one size may be −1 ("what is left").
///
/// # Errors
/// If more than one size is −1, a size is below −1, or the numbers of elements do not match.
pub fn infer_shape(sizes: &[isize], numel: usize, op: &'static str) -> Result<Shape> {
    let mut known = 1usize;
    let mut unknown = None;
    let mut dims: Dims<usize> = Dims::new();
    for (axis, &size) in sizes.iter().enumerate() {
        if size == -1 {
            if unknown.replace(axis).is_some() {
                return Err(Error::shape(op, "at most one size of -1", format!("{sizes:?}")));
            }
            dims.push(1);
        } else if size < 0 {
            return Err(Error::shape(op, "sizes of at least 0, or one -1", format!("{sizes:?}")));
        } else {
            known = known.saturating_mul(size as usize);
            dims.push(size as usize);
        }
    }
    if let Some(axis) = unknown {
        if known == 0 {
            return Err(Error::shape(op, "sizes that determine the -1", format!("{sizes:?} for {numel} elements")));
        }
        dims[axis] = numel / known;
    }
    let shape = Shape::new(&dims).map_err(|error| error.named(op))?;
    if shape.numel() != numel {
        return Err(Error::shape(op, format!("a shape of {numel} elements"), format!("{sizes:?}")));
    }
    Ok(shape)
}
