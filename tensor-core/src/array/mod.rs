//! Arrays: tensors without gradients, on any backend.
//!
//! An array is an immutable value. It is a constant that the host knows (every element the same: scalars, zeros, ones), a
//! view of a buffer, or a pointwise expression that has not run yet. Every operation checks shapes, dtypes, bounds and
//! devices here, once for all backends, and returns a [`Result`].
//!
//! | file | what lives there |
//! |---|---|
//! | `mod.rs` | the type, data in and out |
//! | `lazy.rs` | pending expressions: how they are fused, when they run |
//! | `pointwise.rs` | the op tables as methods: promotion, broadcasting, special cases |
//! | `single.rs` | programs of one operation, made once |
//! | `create.rs` | constructors, random numbers among them |
//! | `view.rs` | what only changes the layout |
//! | `reduce.rs` | reductions, scans, sort, softmax |
//! | `rows.rs` | norms, variance and what else works on whole rows |
//! | `index.rs` | gather, scatter, cat, assignment, masks |
//! | `linalg.rs` | matrix products |
//! | `number.rs` | single numbers, for scalar code |
//! | `overwrite.rs` | new values in the memory of old ones |

mod attention;
mod conv;
mod create;
mod index;
mod lazy;
mod linalg;
mod number;
mod overwrite;
mod pointwise;
mod reduce;
mod rows;
mod single;
mod view;
mod windows;

pub use conv::Conv;
pub use lazy::fusion_enabled;
pub use number::Number;
pub use pointwise::Operand;
pub use windows::Windows;

use crate::backend::View;
use crate::{Backend, DType, Element, Error, ErrorKind, Layout, Program, Result, Scalar, Shape};
use lazy::Lazy;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// An immutable tensor without gradients. Clones are cheap and share memory.
///
/// ```
/// use tensor_core::{Array, reference::Reference};
/// let a = Array::from_slice(&Reference, &[1.0_f32, 2.0, 3.0], [3])?;
/// let b = a.add(&a)?.sum(&[], false)?;
/// assert_eq!(b.to_vec::<f32>()?, [12.0]);
/// # Ok::<(), tensor_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Array<B: Backend> {
    backend: B,
    dtype: DType,
    layout: Layout,
    storage: Storage<B>,
}

/// Where an array's elements are.
#[derive(Clone)]
enum Storage<B: Backend> {
    /// Every element has this value. Arrays without elements are constants too, so no kernel ever sees an empty shape.
    Const(Scalar),
    /// In memory, at the array's layout.
    Buffer(B::Buffer),
    /// In the result of an expression that may not have run; the layout is a view of its dense result.
    Lazy(Arc<Lazy<B>>),
}

/// An array whose elements are in memory: what a backend's method is given. What the array has itself is only borrowed.
struct Held<'a, B: Backend> {
    buffer: Cow<'a, B::Buffer>,
    layout: &'a Layout,
    dtype: DType,
}

impl<B: Backend> Held<'_, B> {
    fn view(&self) -> View<'_, B> {
        View { buffer: &self.buffer, layout: self.layout, dtype: self.dtype }
    }

    /// For what outlives the array.
    fn into_parts(self) -> (B::Buffer, Layout, DType) {
        (self.buffer.into_owned(), self.layout.clone(), self.dtype)
    }
}

impl<B: Backend> Array<B> {
    /// The device that holds it.
    #[inline]
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// The type of its elements.
    #[inline]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Its shape.
    #[inline]
    pub fn shape(&self) -> &Shape {
        self.layout.shape()
    }

    /// The sizes of its axes.
    #[inline]
    pub fn dims(&self) -> &[usize] {
        self.layout.dims()
    }

    /// The number of axes.
    #[inline]
    pub fn rank(&self) -> usize {
        self.layout.rank()
    }

    /// The number of elements.
    #[inline]
    pub fn numel(&self) -> usize {
        self.layout.numel()
    }

    /// Where its elements lie. Constants lie at one place.
    #[inline]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The value of all elements if the host knows that they are the same.
    #[inline]
    pub fn constant(&self) -> Option<Scalar> {
        match self.storage {
            Storage::Const(value) => Some(value),
            _ => None,
        }
    }

    /// Whether its values are still to be computed.
    pub fn is_pending(&self) -> bool {
        matches!(&self.storage, Storage::Lazy(lazy) if lazy.is_pending())
    }

    /// Every element is `value`, converted to `dtype`. Takes no memory.
    #[inline]
    pub fn full(backend: &B, value: impl Into<Scalar>, shape: &Shape, dtype: DType) -> Self {
        Self::constant_of(backend.clone(), value.into().cast(dtype), shape.clone(), dtype)
    }

    /// Every element is `value`, which `dtype` can hold.
    #[inline]
    fn constant_of(backend: B, value: Scalar, shape: Shape, dtype: DType) -> Self {
        Self { backend, dtype, layout: Layout::broadcast_scalar(shape), storage: Storage::Const(value) }
    }

    /// No elements.
    fn empty_of(backend: B, shape: Shape, dtype: DType) -> Self {
        debug_assert_eq!(shape.numel(), 0, "only for shapes without elements");
        Self::constant_of(backend, Scalar::Int(0).cast(dtype), shape, dtype)
    }

    /// The dense content of a buffer. A 0-d array on a backend where reads are free becomes a constant.
    fn from_buffer(backend: B, buffer: B::Buffer, shape: Shape, dtype: DType) -> Result<Self> {
        Self::from_dense(backend, buffer, Layout::contiguous(shape), dtype)
    }

    /// [`from_buffer`](Self::from_buffer) with the dense layout.
    fn from_dense(backend: B, buffer: B::Buffer, layout: Layout, dtype: DType) -> Result<Self> {
        if layout.rank() == 0 && backend.reads_are_free() {
            let mut bytes = [0; 8];
            backend.read(&buffer, 0, &mut bytes[..dtype.size()])?;
            return Ok(Self::constant_of(backend, Scalar::read(dtype, &bytes), Shape::scalar(), dtype));
        }
        Ok(Self { backend, dtype, layout, storage: Storage::Buffer(buffer) })
    }

    /// The array itself, but a 0-d one is read where that costs nothing: cheap devices keep scalars on the host.
    fn settled(self) -> Result<Self> {
        if self.rank() > 0 || self.constant().is_some() || !self.backend.reads_are_free() {
            return Ok(self);
        }
        let value = self.first()?;
        Ok(Self::constant_of(self.backend, value, Shape::scalar(), self.dtype))
    }

    /// Copies elements in row-major order to the device.
    ///
    /// # Errors
    /// If the number of elements does not match the shape, or the device has no memory left.
    pub fn from_slice<T: Element>(backend: &B, data: &[T], shape: impl AsRef<[usize]>) -> Result<Self> {
        Self::from_bytes(backend, T::DTYPE, bytemuck::cast_slice(data), &Shape::new(shape)?)
    }

    /// Copies the bytes of elements in row-major order and the machine's byte order to the device. Any byte but 0 is a
    /// `true`.
    ///
    /// # Errors
    /// If the number of bytes does not match, or the device has no memory left.
    pub fn from_bytes(backend: &B, dtype: DType, bytes: &[u8], shape: &Shape) -> Result<Self> {
        let expected = shape.numel() * dtype.size();
        if bytes.len() != expected {
            return Err(Error::shape(
                "from_slice",
                format!("{} elements for shape {shape}", shape.numel()),
                format!("{}", bytes.len() / dtype.size()),
            ));
        }
        if shape.rank() == 0 || bytes.is_empty() {
            let value = if bytes.is_empty() { Scalar::Int(0).cast(dtype) } else { Scalar::read(dtype, bytes) };
            return Ok(Self::constant_of(backend.clone(), value, shape.clone(), dtype));
        }
        let mut buffer = backend.alloc(bytes.len())?;
        if dtype == DType::Bool && bytes.iter().any(|&byte| byte > 1) {
            let clean: Vec<u8> = bytes.iter().map(|&byte| u8::from(byte != 0)).collect();
            backend.write(&mut buffer, 0, &clean)?;
        } else {
            backend.write(&mut buffer, 0, bytes)?;
        }
        Self::from_buffer(backend.clone(), buffer, shape.clone(), dtype)
    }

    /// The elements' bytes in row-major order and the machine's byte order.
    ///
    /// # Errors
    /// If the host has no memory left, or the device, or work submitted before, fails.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let size = self.dtype.size();
        let mut bytes = host_bytes(self.numel() * size)?;
        if let Storage::Const(value) = self.storage {
            if !bytes.is_empty() {
                value.write(self.dtype, &mut bytes);
                let (first, rest) = bytes.split_at_mut(size);
                rest.chunks_exact_mut(size).for_each(|element| element.copy_from_slice(first));
            }
            return Ok(bytes);
        }
        let dense = self.contiguous()?;
        let held = dense.held()?;
        self.backend.read(&held.buffer, held.layout.offset() * size, &mut bytes)?;
        Ok(bytes)
    }

    /// The elements in row-major order, of the array's own dtype.
    ///
    /// # Errors
    /// If `T` is another type than the array's, or the device fails.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        if T::DTYPE != self.dtype {
            return Err(Error::dtype("to_vec", format!("elements of type {}", self.dtype), T::DTYPE.name())
                .hint("convert the tensor first"));
        }
        let bytes = self.to_bytes()?;
        Ok(bytes.chunks_exact(size_of::<T>()).map(|element| bytemuck::checked::pod_read_unaligned(element)).collect())
    }

    /// The only element.
    ///
    /// # Errors
    /// If there is not exactly one element, or the device fails.
    pub fn item(&self) -> Result<Scalar> {
        if self.numel() != 1 {
            return Err(Error::shape("item", "a tensor of one element", format!("shape {}", self.shape()))
                .hint("reduce it first, or use to_vec"));
        }
        self.first()
    }

    /// The first element of an array that has one.
    fn first(&self) -> Result<Scalar> {
        if let Storage::Const(value) = self.storage {
            return Ok(value);
        }
        let held = self.held()?;
        let size = self.dtype.size();
        let mut bytes = [0; 8];
        self.backend.read(&held.buffer, held.layout.offset() * size, &mut bytes[..size])?;
        Ok(Scalar::read(self.dtype, &bytes))
    }

    /// The element at a position. For printing and tests; one transfer an element.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If the position lies outside the shape.
    pub fn get(&self, position: &[usize]) -> Result<Scalar> {
        assert_eq!(position.len(), self.rank(), "one coordinate for each axis");
        let mut view = self.clone();
        for &coordinate in position {
            view = view.select(0, coordinate as isize)?;
        }
        view.first()
    }

    /// The same values, dense in row-major order; the array itself if it is so already.
    ///
    /// # Errors
    /// If the device fails or has no memory left.
    pub fn contiguous(&self) -> Result<Self> {
        if self.constant().is_some() || self.layout.is_contiguous() {
            return Ok(self.clone());
        }
        lazy::run_now(&self.backend, &Program::copy(self.dtype), self.shape(), &[Cow::Borrowed(self)])
    }

    /// The same values on another device.
    ///
    /// # Errors
    /// If either device fails or the target has no memory left.
    pub fn to_backend(&self, target: &B) -> Result<Self> {
        if self.backend == *target {
            return Ok(self.clone());
        }
        let mut copy = self.clone();
        copy.backend = target.clone();
        if self.constant().is_none() {
            let dense = self.contiguous()?;
            let held = dense.held()?;
            let whole =
                held.layout.offset() == 0 && self.backend.size(&held.buffer) == self.numel() * self.dtype.size();
            if whole {
                copy.storage = Storage::Buffer(self.backend.copy_to(&held.buffer, target)?);
                copy.layout = Layout::contiguous(self.shape().clone());
            } else {
                return Self::from_bytes(target, self.dtype, &dense.to_bytes()?, self.shape());
            }
        }
        Ok(copy)
    }

    /// Computes what is pending, so that the array's values are in memory (or known). The values stay the same.
    ///
    /// # Errors
    /// If the device fails or has no memory left.
    pub fn force(&self) -> Result<()> {
        match &self.storage {
            Storage::Lazy(lazy) => lazy.force(&self.backend).map(drop),
            _ => Ok(()),
        }
    }

    /// The array in memory. A constant becomes one element with strides of 0.
    #[inline]
    fn held(&self) -> Result<Held<'_, B>> {
        let buffer = match &self.storage {
            Storage::Buffer(buffer) => Cow::Borrowed(buffer),
            Storage::Lazy(lazy) => Cow::Owned(lazy.force(&self.backend)?),
            Storage::Const(value) => {
                let size = self.dtype.size();
                let mut bytes = [0; 8];
                value.write(self.dtype, &mut bytes);
                let mut buffer = self.backend.alloc(size)?;
                self.backend.write(&mut buffer, 0, &bytes[..size])?;
                Cow::Owned(buffer)
            }
        };
        Ok(Held { buffer, layout: &self.layout, dtype: self.dtype })
    }

    /// The array with another layout over the same storage.
    fn with_layout(&self, layout: Layout) -> Self {
        let layout = match self.storage {
            Storage::Const(_) => Layout::broadcast_scalar(layout.shape().clone()),
            _ if layout.numel() == 0 => {
                return Self::empty_of(self.backend.clone(), layout.shape().clone(), self.dtype);
            }
            _ => layout,
        };
        Self { backend: self.backend.clone(), dtype: self.dtype, layout, storage: self.storage.clone() }
    }

    /// Whether it is a 0-d constant, which is at home on every device.
    fn is_free(&self) -> bool {
        self.rank() == 0 && self.constant().is_some()
    }

    /// Another operand of an operation that runs on this array's device. A 0-d constant is brought there.
    fn neighbor(&self, other: &Self, op: &'static str) -> Result<Self> {
        self.expect_neighbor(other, op)?;
        let mut other = other.clone();
        other.backend = self.backend.clone();
        Ok(other)
    }

    /// Refuses another operand that [`neighbor`](Self::neighbor) cannot bring here.
    fn expect_neighbor(&self, other: &Self, op: &'static str) -> Result<()> {
        if self.backend != other.backend && !other.is_free() {
            return Err(self.devices_differ(other, op));
        }
        Ok(())
    }

    /// Refuses operands of different devices. A 0-d constant may meet any device.
    fn same_device(&self, other: &Self, op: &'static str) -> Result<()> {
        if self.backend == other.backend || self.is_free() || other.is_free() {
            return Ok(());
        }
        Err(self.devices_differ(other, op))
    }

    fn devices_differ(&self, other: &Self, op: &'static str) -> Error {
        Error::misuse(
            crate::About::Device,
            op,
            "tensors on one device",
            format!("{} and {}", self.backend.label(), other.backend.label()),
        )
        .hint("move one of them with .to(&device)")
    }
}

/// Zeroed memory of the host. A constant of any shape takes no memory, so its elements may not fit.
fn host_bytes(count: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(count)
        .map_err(|_full| Error::new(ErrorKind::OutOfMemory { device: "the host".to_owned(), bytes: count }))?;
    bytes.resize(count, 0);
    Ok(bytes)
}

impl<B: Backend> fmt::Debug for Array<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array")
            .field("device", &self.backend.label())
            .field("dtype", &self.dtype)
            .field("shape", self.shape())
            .field("pending", &self.is_pending())
            .finish_non_exhaustive()
    }
}

/// A list of owned operands that usually fits the stack.
type Arrays<B> = SmallVec<[Array<B>; 3]>;

/// Operands of a program that may run at once: those that need no other layout are borrowed.
type Operands<'a, B> = SmallVec<[Cow<'a, Array<B>>; 3]>;
