//! Where random numbers come from.

use crate::misuse::ok;
use crate::tensor::Tensor;
use std::sync::{Mutex, PoisonError};
use tensor_core::{Array, Backend, DType, Result, Shape};

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
///
// Doc tests share a process, and this one changes what the others draw.
/// ```standalone_crate
/// # use tensor_core::reference::Reference;
/// # type Tensor = autograd::Tensor<Reference>;
/// autograd::manual_seed(42);
/// let a = Tensor::rand([3]);
/// autograd::manual_seed(42);
/// assert_eq!(a.to_vec::<f32>(), Tensor::rand([3]).to_vec::<f32>());
/// ```
pub fn manual_seed(seed: u64) {
    *GLOBAL.lock().unwrap_or_else(PoisonError::into_inner) = Generator::new(seed);
}

impl Generator {
    /// A generator at the beginning of its numbers.
    pub const fn new(seed: u64) -> Self {
        Self { seed, stream: 0 }
    }

    /// The global generator where it stands, for one tensor; it moves on. So no lock is held while numbers are made.
    pub(crate) fn draw() -> Self {
        let mut global = GLOBAL.lock().unwrap_or_else(PoisonError::into_inner);
        let now = global.clone();
        global.stream += 1;
        now
    }

    fn next(&mut self) -> (u64, u64) {
        let stream = self.stream;
        self.stream += 1;
        (self.seed, stream)
    }

    pub(crate) fn rand_array<B: Backend>(&mut self, device: &B, shape: &Shape, dtype: DType) -> Result<Array<B>> {
        let (seed, stream) = self.next();
        Array::rand(device, seed, stream, shape, dtype)
    }

    pub(crate) fn randn_array<B: Backend>(&mut self, device: &B, shape: &Shape, dtype: DType) -> Result<Array<B>> {
        let (seed, stream) = self.next();
        Array::randn(device, seed, stream, shape, dtype)
    }

    /// Uniform random numbers from 0 (included) to 1 (excluded), `F32`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let mut generator = autograd::Generator::new(1);
    /// let (a, b): (Tensor, Tensor) = (generator.rand([4]), generator.rand([4]));
    /// assert_ne!(a.to_vec::<f32>(), b.to_vec::<f32>());
    /// ```
    ///
    /// # Panics
    /// If the shape is too large.
    #[track_caller]
    pub fn rand<B: Backend + Default>(&mut self, shape: impl AsRef<[usize]>) -> Tensor<B> {
        self.rand_on(&B::default(), shape, DType::DEFAULT_FLOAT)
    }

    /// [`rand`](Self::rand) on a device, of a float dtype.
    ///
    /// ```
    /// # use tensor_core::{DType, reference::Reference};
    /// let x = autograd::Generator::new(1).rand_on(&Reference, [4], DType::F64);
    /// assert_eq!(x.dtype(), DType::F64);
    /// ```
    ///
    /// # Panics
    /// If the shape is too large, or the dtype is no float.
    #[track_caller]
    pub fn rand_on<B: Backend>(&mut self, device: &B, shape: impl AsRef<[usize]>, dtype: DType) -> Tensor<B> {
        let shape = ok(Shape::new(shape).map_err(|error| error.named("rand")));
        Tensor::from_array(ok(self.rand_array(device, &shape, dtype)))
    }

    /// Normally distributed random numbers with mean 0 and deviation 1, `F32`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x: Tensor = autograd::Generator::new(1).randn([2, 3]);
    /// assert_eq!(x.shape(), [2, 3]);
    /// ```
    ///
    /// # Panics
    /// If the shape is too large.
    #[track_caller]
    pub fn randn<B: Backend + Default>(&mut self, shape: impl AsRef<[usize]>) -> Tensor<B> {
        self.randn_on(&B::default(), shape, DType::DEFAULT_FLOAT)
    }

    /// [`randn`](Self::randn) on a device, of a float dtype.
    ///
    /// ```
    /// # use tensor_core::{DType, reference::Reference};
    /// let x = autograd::Generator::new(1).randn_on(&Reference, [4], DType::F16);
    /// assert_eq!(x.dtype(), DType::F16);
    /// ```
    ///
    /// # Panics
    /// If the shape is too large, or the dtype is no float.
    #[track_caller]
    pub fn randn_on<B: Backend>(&mut self, device: &B, shape: impl AsRef<[usize]>, dtype: DType) -> Tensor<B> {
        let shape = ok(Shape::new(shape).map_err(|error| error.named("randn")));
        Tensor::from_array(ok(self.randn_array(device, &shape, dtype)))
    }

    /// Random integers from `low` (included) to `high` (excluded), `I64`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let coins: Tensor = autograd::Generator::new(1).randint(0, 2, [8]);
    /// assert!(coins.max().item() <= 1.0);
    /// ```
    ///
    /// # Panics
    /// If `high` is not above `low`, or the shape is too large.
    #[track_caller]
    pub fn randint<B: Backend + Default>(&mut self, low: i64, high: i64, shape: impl AsRef<[usize]>) -> Tensor<B> {
        self.randint_on(&B::default(), low, high, shape, DType::I64)
    }

    /// [`randint`](Self::randint) on a device, of a number dtype.
    ///
    /// ```
    /// # use tensor_core::{DType, reference::Reference};
    /// let x = autograd::Generator::new(1).randint_on(&Reference, 0, 256, [4], DType::U8);
    /// assert_eq!(x.dtype(), DType::U8);
    /// ```
    ///
    /// # Panics
    /// If `high` is not above `low`, the shape is too large, or the dtype is bool or too narrow for the numbers.
    #[track_caller]
    pub fn randint_on<B: Backend>(
        &mut self,
        device: &B,
        low: i64,
        high: i64,
        shape: impl AsRef<[usize]>,
        dtype: DType,
    ) -> Tensor<B> {
        let shape = ok(Shape::new(shape).map_err(|error| error.named("randint")));
        let (seed, stream) = self.next();
        Tensor::from_array(ok(Array::randint(device, seed, stream, low, high, &shape, dtype)))
    }

    /// The numbers from 0 to `n − 1` in random order, `I64`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let order: Tensor = autograd::Generator::new(1).randperm(4);
    /// assert_eq!(order.sum().item(), 6.0);
    /// ```
    ///
    /// # Panics
    /// If the device fails.
    #[track_caller]
    pub fn randperm<B: Backend + Default>(&mut self, n: usize) -> Tensor<B> {
        let (seed, stream) = self.next();
        Tensor::from_array(ok(Array::randperm(&B::default(), seed, stream, n)))
    }
}
