//! Constructors and random numbers. All but the `_on` forms make tensors on the backend's default device.

use crate::misuse::ok;
use crate::tensor::Tensor;
use std::sync::Mutex;
use std::sync::PoisonError;
use tensor_core::{Array, Backend, DType, Element, Result, Scalar, Shape};

impl<B: Backend> Tensor<B> {
    pub(crate) fn zeros_of(device: &B, shape: &Shape, dtype: DType) -> Self {
        Self::from_array(Array::full(device, 0, shape, dtype))
    }

    /// The row-major number of every element, as `I64`.
    #[track_caller]
    pub(crate) fn positions_of(device: &B, shape: &Shape) -> Self {
        let numbers = ok(Array::arange(device, 0, shape.numel(), 1, DType::I64));
        Self::from_array(ok(numbers.reshape(shape)))
    }

    /// Elements in row-major order on a device.
    ///
    /// # Panics
    /// If the number of elements does not match the shape, or the device has no memory left.
    #[track_caller]
    #[must_use]
    pub fn from_slice_on<T: Element>(device: &B, data: &[T], shape: impl AsRef<[usize]>) -> Self {
        Self::from_array(ok(Array::from_slice(device, data, shape)))
    }

    /// Every element is `value`, of the given dtype, on a device. Takes no memory until it is written to.
    ///
    /// # Panics
    /// If the shape is too large.
    #[track_caller]
    #[must_use]
    pub fn full_on(device: &B, shape: impl AsRef<[usize]>, value: impl Into<Scalar>, dtype: DType) -> Self {
        Self::from_array(Array::full(device, value, &ok(Shape::new(shape)), dtype))
    }

    /// Zeros of this tensor's shape, dtype and device.
    #[must_use]
    pub fn zeros_like(&self) -> Self {
        self.full_like(0)
    }

    /// Ones of this tensor's shape, dtype and device.
    #[must_use]
    pub fn ones_like(&self) -> Self {
        self.full_like(1)
    }

    /// `value` everywhere, of this tensor's shape, dtype and device.
    #[must_use]
    pub fn full_like(&self, value: impl Into<Scalar>) -> Self {
        Self::from_array(self.with_array(|array| Array::full(array.backend(), value, array.shape(), array.dtype())))
    }

    /// Each element zeroed with probability `p`, the others scaled by `1 / (1 − p)`, so that the mean stays.
    ///
    /// # Panics
    /// If `p` is not between 0 and 1, or the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn dropout(&self, p: f64) -> Self {
        let dtype = self.dtype();
        if !(0.0..=1.0).contains(&p) {
            ok(Err(tensor_core::Error::value("dropout", "a probability between 0 and 1", p.to_string())))
        }
        if p == 0.0 {
            return self.clone();
        }
        let shape = self.checked_shape();
        let noise = ok(Generator::global(|generator| {
            generator.rand_array(&self.device(), &shape, dtype).map_err(|error| error.named("dropout"))
        }));
        let keep = Self::from_array(noise).ge(p).to_dtype(dtype);
        if p == 1.0 { self * keep } else { self * (keep * (1.0 / (1.0 - p))) }
    }
}

impl<B: Backend + Default> Tensor<B> {
    /// A scalar of the default float dtype.
    #[must_use]
    pub fn scalar(value: f64) -> Self {
        Self::from_array(Array::full(&B::default(), value, &Shape::scalar(), DType::DEFAULT_FLOAT))
    }

    /// Elements in row-major order.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 4.0], [2, 2]);
    /// assert_eq!(x.shape(), [2, 2]);
    /// ```
    ///
    /// # Panics
    /// If the number of elements does not match the shape, or the device has no memory left.
    #[track_caller]
    #[must_use]
    pub fn from_slice<T: Element>(data: &[T], shape: impl AsRef<[usize]>) -> Self {
        Self::from_slice_on(&B::default(), data, shape)
    }

    /// Zeros of the default float dtype.
    ///
    /// # Panics
    /// If the shape is too large.
    #[track_caller]
    #[must_use]
    pub fn zeros(shape: impl AsRef<[usize]>) -> Self {
        Self::full_on(&B::default(), shape, 0, DType::DEFAULT_FLOAT)
    }

    /// Ones of the default float dtype.
    ///
    /// # Panics
    /// If the shape is too large.
    #[track_caller]
    #[must_use]
    pub fn ones(shape: impl AsRef<[usize]>) -> Self {
        Self::full_on(&B::default(), shape, 1, DType::DEFAULT_FLOAT)
    }

    /// `value` everywhere: bools give bools, integers `I64`, floats the default float dtype.
    ///
    /// # Panics
    /// If the shape is too large.
    #[track_caller]
    #[must_use]
    pub fn full(shape: impl AsRef<[usize]>, value: impl Into<Scalar>) -> Self {
        let value = value.into();
        Self::full_on(&B::default(), shape, value, value.default_dtype())
    }

    /// `start, start + step, …` up to but without `end`: integers if all three are, else the default float dtype.
    ///
    /// # Panics
    /// If `step` is 0 or leads away from `end`.
    #[track_caller]
    #[must_use]
    pub fn arange(start: impl Into<Scalar>, end: impl Into<Scalar>, step: impl Into<Scalar>) -> Self {
        let (start, end, step) = (start.into(), end.into(), step.into());
        let dtype = [start, end, step].map(Scalar::default_dtype).into_iter().fold(DType::I64, DType::promote);
        Self::from_array(ok(Array::arange(&B::default(), start, end, step, dtype)))
    }

    /// `count` evenly spaced numbers from `start` to `end`, both included.
    ///
    /// # Panics
    /// If the device fails.
    #[track_caller]
    #[must_use]
    pub fn linspace(start: f64, end: f64, count: usize) -> Self {
        Self::from_array(ok(Array::linspace(&B::default(), start, end, count, DType::DEFAULT_FLOAT)))
    }

    /// The identity matrix of `n` rows.
    ///
    /// # Panics
    /// If it is too large.
    #[track_caller]
    #[must_use]
    pub fn eye(n: usize) -> Self {
        Self::from_array(ok(Array::eye(&B::default(), n, n, DType::DEFAULT_FLOAT)))
    }

    /// Uniform random numbers from 0 (included) to 1 (excluded), from the global generator.
    ///
    /// # Panics
    /// If the shape is too large.
    #[track_caller]
    #[must_use]
    pub fn rand(shape: impl AsRef<[usize]>) -> Self {
        Generator::global(|generator| generator.rand(shape))
    }

    /// Normally distributed random numbers with mean 0 and deviation 1, from the global generator.
    ///
    /// # Panics
    /// If the shape is too large.
    #[track_caller]
    #[must_use]
    pub fn randn(shape: impl AsRef<[usize]>) -> Self {
        Generator::global(|generator| generator.randn(shape))
    }

    /// Random integers from `low` (included) to `high` (excluded), `I64`, from the global generator.
    ///
    /// # Panics
    /// If `high` is not above `low`, or the shape is too large.
    #[track_caller]
    #[must_use]
    pub fn randint(low: i64, high: i64, shape: impl AsRef<[usize]>) -> Self {
        Generator::global(|generator| generator.randint(low, high, shape))
    }

    /// The numbers from 0 to `n − 1` in random order, from the global generator.
    ///
    /// # Panics
    /// If the device fails.
    #[track_caller]
    #[must_use]
    pub fn randperm(n: usize) -> Self {
        Generator::global(|generator| generator.randperm(n))
    }

    /// 1 with each element's probability, else 0, from the global generator.
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn bernoulli(&self) -> Self {
        let shape = self.checked_shape();
        let noise = ok(Generator::global(|generator| {
            generator.rand_array(&self.device(), &shape, self.dtype()).map_err(|error| error.named("bernoulli"))
        }));
        Self::from_array(noise).lt(&self.detach()).to_dtype(self.dtype())
    }
}

/// A source of random numbers: a seed, and a count of the tensors drawn so far. Equal seeds give equal tensors, on every
/// device.
///
/// ```
/// # use tensor_core::reference::Reference;
/// # type Tensor = autograd::Tensor<Reference>;
/// use autograd::Generator;
/// let a: Tensor = Generator::new(7).randn([3]);
/// let b: Tensor = Generator::new(7).randn([3]);
/// assert_eq!(a.to_vec::<f32>(), b.to_vec::<f32>());
/// ```
#[derive(Clone, Debug)]
pub struct Generator {
    seed: u64,
    stream: u64,
}

static GLOBAL: Mutex<Generator> = Mutex::new(Generator::new(0));

/// Seeds the global generator, which `Tensor::rand` and the like draw from. A program that never does has seed 0.
pub fn manual_seed(seed: u64) {
    *GLOBAL.lock().unwrap_or_else(PoisonError::into_inner) = Generator::new(seed);
}

impl Generator {
    /// A generator at the beginning of its numbers.
    pub const fn new(seed: u64) -> Self {
        Self { seed, stream: 0 }
    }

    fn global<R>(f: impl FnOnce(&mut Self) -> R) -> R {
        f(&mut GLOBAL.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn next(&mut self) -> (u64, u64) {
        let stream = self.stream;
        self.stream += 1;
        (self.seed, stream)
    }

    fn rand_array<B: Backend>(&mut self, device: &B, shape: &Shape, dtype: DType) -> Result<Array<B>> {
        let (seed, stream) = self.next();
        Array::rand(device, seed, stream, shape, dtype)
    }

    /// Uniform random numbers from 0 (included) to 1 (excluded).
    ///
    /// # Panics
    /// If the shape is too large.
    #[track_caller]
    pub fn rand<B: Backend + Default>(&mut self, shape: impl AsRef<[usize]>) -> Tensor<B> {
        let shape = ok(Shape::new(shape));
        Tensor::from_array(ok(self.rand_array(&B::default(), &shape, DType::DEFAULT_FLOAT)))
    }

    /// Normally distributed random numbers with mean 0 and deviation 1.
    ///
    /// # Panics
    /// If the shape is too large.
    #[track_caller]
    pub fn randn<B: Backend + Default>(&mut self, shape: impl AsRef<[usize]>) -> Tensor<B> {
        let ((seed, stream), shape) = (self.next(), ok(Shape::new(shape)));
        Tensor::from_array(ok(Array::randn(&B::default(), seed, stream, &shape, DType::DEFAULT_FLOAT)))
    }

    /// Random integers from `low` (included) to `high` (excluded), `I64`.
    ///
    /// # Panics
    /// If `high` is not above `low`, or the shape is too large.
    #[track_caller]
    pub fn randint<B: Backend + Default>(&mut self, low: i64, high: i64, shape: impl AsRef<[usize]>) -> Tensor<B> {
        let ((seed, stream), shape) = (self.next(), ok(Shape::new(shape)));
        Tensor::from_array(ok(Array::randint(&B::default(), seed, stream, low, high, &shape, DType::I64)))
    }

    /// The numbers from 0 to `n − 1` in random order, `I64`.
    ///
    /// # Panics
    /// If the device fails.
    #[track_caller]
    pub fn randperm<B: Backend + Default>(&mut self, n: usize) -> Tensor<B> {
        let (seed, stream) = self.next();
        Tensor::from_array(ok(Array::randperm(&B::default(), seed, stream, n)))
    }
}
