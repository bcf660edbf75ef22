//! Constructors. Each makes a tensor of the default dtype on the backend's default device; its `_on` form takes the device
//! first and the dtype last. Random ones draw from the global [`Generator`](super::Generator).

use super::Generator;
use crate::misuse::ok;
use crate::tensor::Tensor;
use tensor_core::{About, Array, Backend, DType, Element, Error, ErrorKind, Result, Scalar, ScatterOp, Shape};

impl<B: Backend> Tensor<B> {
    pub(crate) fn zeros_of(device: &B, shape: &Shape, dtype: DType) -> Self {
        Self::from_array(Array::full(device, 0, shape, dtype))
    }

    #[track_caller]
    fn filled(device: &B, shape: impl AsRef<[usize]>, value: Scalar, dtype: DType, op: &'static str) -> Self {
        Self::from_array(Array::full(device, value, &ok(Shape::new(shape).map_err(|error| error.named(op))), dtype))
    }

    /// [`from_slice`](Self::from_slice) on a device. The dtype is that of the elements.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from_slice_on(&Reference, &[1_u8, 2, 3], [3]);
    /// assert_eq!(x.to_string(), "tensor([1, 2, 3], device='reference', dtype=u8)");
    /// ```
    ///
    /// # Panics
    /// If the number of elements does not match the shape, or the device has no memory left.
    #[track_caller]
    #[must_use]
    pub fn from_slice_on<T: Element>(device: &B, data: &[T], shape: impl AsRef<[usize]>) -> Self {
        Self::from_array(ok(Array::from_slice(device, data, shape)))
    }

    /// [`full`](Self::full) on a device, of a dtype. Takes no memory until it is written to.
    ///
    /// ```
    /// # use tensor_core::{DType, reference::Reference};
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::full_on(&Reference, [2], 7, DType::F64);
    /// assert_eq!(x.to_vec::<f64>(), [7.0, 7.0]);
    /// ```
    ///
    /// # Panics
    /// If the shape is too large.
    #[track_caller]
    #[must_use]
    pub fn full_on(device: &B, shape: impl AsRef<[usize]>, value: impl Into<Scalar>, dtype: DType) -> Self {
        Self::filled(device, shape, value.into(), dtype, "full")
    }

    /// [`zeros`](Self::zeros) on a device, of a dtype.
    ///
    /// ```
    /// # use tensor_core::{DType, reference::Reference};
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::zeros_on(&Reference, [2], DType::I32).to_vec::<i32>(), [0, 0]);
    /// ```
    ///
    /// # Panics
    /// If the shape is too large.
    #[track_caller]
    #[must_use]
    pub fn zeros_on(device: &B, shape: impl AsRef<[usize]>, dtype: DType) -> Self {
        Self::filled(device, shape, Scalar::Int(0), dtype, "zeros")
    }

    /// [`ones`](Self::ones) on a device, of a dtype.
    ///
    /// ```
    /// # use tensor_core::{DType, reference::Reference};
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::ones_on(&Reference, [2], DType::Bool).to_vec::<bool>(), [true, true]);
    /// ```
    ///
    /// # Panics
    /// If the shape is too large.
    #[track_caller]
    #[must_use]
    pub fn ones_on(device: &B, shape: impl AsRef<[usize]>, dtype: DType) -> Self {
        Self::filled(device, shape, Scalar::Int(1), dtype, "ones")
    }

    /// [`arange`](Self::arange) on a device, of a dtype.
    ///
    /// ```
    /// # use tensor_core::{DType, reference::Reference};
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::arange_on(&Reference, 0, 3, 1, DType::U8).to_vec::<u8>(), [0, 1, 2]);
    /// ```
    ///
    /// # Panics
    /// If `step` is 0 or leads away from `end`, or the dtype is bool.
    #[track_caller]
    #[must_use]
    pub fn arange_on(
        device: &B,
        start: impl Into<Scalar>,
        end: impl Into<Scalar>,
        step: impl Into<Scalar>,
        dtype: DType,
    ) -> Self {
        Self::from_array(ok(Array::arange(device, start, end, step, dtype)))
    }

    /// [`linspace`](Self::linspace) on a device, of a dtype.
    ///
    /// ```
    /// # use tensor_core::{DType, reference::Reference};
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::linspace_on(&Reference, 0.0, 5.0, 3, DType::I64).to_vec::<i64>(), [0, 2, 5]);
    /// ```
    ///
    /// # Panics
    /// If the dtype is bool.
    #[track_caller]
    #[must_use]
    pub fn linspace_on(device: &B, start: f64, end: f64, count: usize, dtype: DType) -> Self {
        Self::from_array(ok(Array::linspace(device, start, end, count, dtype)))
    }

    /// Ones on the main diagonal of a matrix of any shape, zeros elsewhere, on a device, of a dtype.
    ///
    /// ```
    /// # use tensor_core::{DType, reference::Reference};
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::eye_on(&Reference, 2, 3, DType::I64).to_vec::<i64>(), [1, 0, 0, 0, 1, 0]);
    /// ```
    ///
    /// # Panics
    /// If it is too large.
    #[track_caller]
    #[must_use]
    pub fn eye_on(device: &B, rows: usize, columns: usize, dtype: DType) -> Self {
        Self::from_array(ok(Array::eye(device, rows, columns, dtype)))
    }

    /// Zeros of this tensor's shape, dtype and device.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([1_i64, 2]).zeros_like().to_vec::<i64>(), [0, 0]);
    /// ```
    #[must_use]
    pub fn zeros_like(&self) -> Self {
        self.full_like(0)
    }

    /// Ones of this tensor's shape, dtype and device.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([3.0_f32, 4.0]).ones_like().to_vec::<f32>(), [1.0, 1.0]);
    /// ```
    #[must_use]
    pub fn ones_like(&self) -> Self {
        self.full_like(1)
    }

    /// `value` everywhere, of this tensor's shape, dtype and device.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::zeros([2]).full_like(5).to_vec::<f32>(), [5.0, 5.0]);
    /// ```
    #[must_use]
    pub fn full_like(&self, value: impl Into<Scalar>) -> Self {
        Self::from_array(self.with_array(|array| Array::full(array.backend(), value, array.shape(), array.dtype())))
    }

    /// Uniform random numbers from 0 (included) to 1 (excluded), of this tensor's shape, dtype and device.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::zeros([2, 3]).rand_like();
    /// assert_eq!(x.shape(), [2, 3]);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn rand_like(&self) -> Self {
        let (shape, dtype) = (self.checked_shape(), self.dtype());
        let noise = Generator::draw().rand_array(&self.device(), &shape, dtype);
        Self::from_array(ok(noise.map_err(|error| error.named("rand_like"))))
    }

    /// Normally distributed random numbers with mean 0 and deviation 1, of this tensor's shape, dtype and device.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let weights = Tensor::zeros([2, 3]);
    /// let noisy = &weights + weights.randn_like() * 0.01;
    /// assert!(noisy.abs().max().item() < 0.1);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn randn_like(&self) -> Self {
        let (shape, dtype) = (self.checked_shape(), self.dtype());
        let noise = Generator::draw().randn_array(&self.device(), &shape, dtype);
        Self::from_array(ok(noise.map_err(|error| error.named("randn_like"))))
    }

    /// Each element zeroed with probability `p`, the others scaled by `1 / (1 − p)`, so that the mean stays.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::ones([1000]).dropout(0.5);
    /// assert!(x.to_vec::<f32>().iter().all(|&kept| kept == 0.0 || kept == 2.0));
    /// ```
    ///
    /// # Panics
    /// If `p` is not between 0 and 1, or the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn dropout(&self, p: f64) -> Self {
        if !(0.0..=1.0).contains(&p) {
            ok::<()>(Err(Error::value("dropout", "a probability between 0 and 1", p.to_string())));
        }
        if p == 0.0 {
            return self.clone();
        }
        let (shape, dtype) = (self.checked_shape(), self.dtype());
        let noise = Generator::draw().rand_array(&self.device(), &shape, dtype);
        let keep = Self::from_array(ok(noise.map_err(|error| error.named("dropout")))).ge(p).to_dtype(dtype);
        if p == 1.0 { self * keep } else { self * (keep * (1.0 / (1.0 - p))) }
    }

    /// 1 with each element's probability, else 0. Not differentiable.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let p = Tensor::from([0.0_f32, 1.0]);
    /// assert_eq!(p.bernoulli().to_vec::<f32>(), [0.0, 1.0]);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn bernoulli(&self) -> Self {
        let (shape, dtype) = (self.checked_shape(), self.dtype());
        let noise = Generator::draw().rand_array(&self.device(), &shape, dtype);
        Self::from_array(ok(noise.map_err(|error| error.named("bernoulli")))).lt(self.detach()).to_dtype(dtype)
    }

    /// A vector for each integer: 1 at its place, 0 elsewhere, `I64`. From shape `[…]` to `[…, classes]`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([2_i64, 0]).one_hot(3);
    /// assert_eq!(x.to_vec::<i64>(), [0, 0, 1, 1, 0, 0]);
    /// assert_eq!(x.shape(), [2, 3]);
    /// ```
    ///
    /// # Panics
    /// If the dtype is no integer, or a number is below 0 or not below `classes`.
    #[track_caller]
    #[must_use]
    pub fn one_hot(&self, classes: usize) -> Self {
        ok(self.try_one_hot(classes))
    }

    fn try_one_hot(&self, classes: usize) -> Result<Self> {
        let (array, op) = (self.array(), "one_hot");
        if !array.dtype().is_int() {
            return Err(Error::dtype(op, "classes of an integer dtype", array.dtype().name()));
        }
        let mut shape = self.shape();
        shape.push(classes);
        let zeros = Array::full(&self.device(), 0, &Shape::new(&shape)?, DType::I64);
        if array.numel() == 0 {
            return Ok(Self::from_array(zeros));
        }
        let places = array.unsqueeze(-1)?;
        let ones = Array::full(&self.device(), 1, places.shape(), DType::I64);
        let result = zeros.scatter(ScatterOp::Set, -1, &places, &ones).map_err(|error| match error.kind() {
            ErrorKind::Misuse { about: About::Index, got, .. } => {
                Error::value(op, format!("classes from 0 to {}", classes as i64 - 1), got.clone())
            }
            _ => error,
        })?;
        Ok(Self::from_array(result))
    }

    /// The coordinates of a grid: for vectors of lengths `a, b, …` as many tensors of shape `[a, b, …]`, each varying along
    /// its own axis (what numpy and PyTorch call `indexing='ij'`). Views, without copies.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let (x, y) = (Tensor::arange(0, 2, 1), Tensor::arange(0, 3, 1));
    /// let grid = Tensor::meshgrid(&[&x, &y]);
    /// assert_eq!(grid[0].to_vec::<i64>(), [0, 0, 0, 1, 1, 1]);
    /// assert_eq!(grid[1].to_vec::<i64>(), [0, 1, 2, 0, 1, 2]);
    /// ```
    ///
    /// # Panics
    /// If a tensor has more than one axis.
    #[track_caller]
    #[must_use]
    pub fn meshgrid(axes: &[&Self]) -> Vec<Self> {
        if let Some(wrong) = axes.iter().find(|axis| axis.rank() > 1) {
            ok::<()>(Err(Error::shape("meshgrid", "vectors", format!("shape {:?}", wrong.shape()))));
        }
        let lengths: Vec<usize> = axes.iter().map(|axis| axis.numel()).collect();
        let shape = ok(Shape::new(&lengths).map_err(|error| error.named("meshgrid")));
        let mut grid = Vec::with_capacity(axes.len());
        for (place, axis) in axes.iter().enumerate() {
            let mut dims = vec![1; axes.len()];
            dims[place] = axis.numel();
            grid.push(axis.reshape_to(&ok(Shape::new(&dims))).expand_to(&shape));
        }
        grid
    }
}

impl<B: Backend + Default> Tensor<B> {
    /// A 0-d tensor of the default float dtype, `F32`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::scalar(3.0).item(), 3.0);
    /// ```
    #[must_use]
    pub fn scalar(value: f64) -> Self {
        Self::from_array(Array::full(&B::default(), value, &Shape::scalar(), DType::DEFAULT_FLOAT))
    }

    /// Elements in row-major order. The dtype is theirs.
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

    /// Zeros of the default float dtype, `F32`; `.to(dtype)` makes them others at no cost.
    ///
    /// ```
    /// # use tensor_core::{DType, reference::Reference};
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::zeros([2]).to_vec::<f32>(), [0.0, 0.0]);
    /// assert_eq!(Tensor::zeros([2]).to(DType::I64).to_vec::<i64>(), [0, 0]);
    /// ```
    ///
    /// # Panics
    /// If the shape is too large.
    #[track_caller]
    #[must_use]
    pub fn zeros(shape: impl AsRef<[usize]>) -> Self {
        Self::zeros_on(&B::default(), shape, DType::DEFAULT_FLOAT)
    }

    /// Ones of the default float dtype, `F32`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::ones([2, 3]).sum().item(), 6.0);
    /// ```
    ///
    /// # Panics
    /// If the shape is too large.
    #[track_caller]
    #[must_use]
    pub fn ones(shape: impl AsRef<[usize]>) -> Self {
        Self::ones_on(&B::default(), shape, DType::DEFAULT_FLOAT)
    }

    /// `value` everywhere: bools give bools, integers `I64`, floats `F32`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::full([2], 7).to_vec::<i64>(), [7, 7]);
    /// ```
    ///
    /// # Panics
    /// If the shape is too large.
    #[track_caller]
    #[must_use]
    pub fn full(shape: impl AsRef<[usize]>, value: impl Into<Scalar>) -> Self {
        let value = value.into();
        Self::full_on(&B::default(), shape, value, value.default_dtype())
    }

    /// `start, start + step, …` up to but without `end`: `I64` if all three are integers, else `F32`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::arange(0, 5, 2).to_vec::<i64>(), [0, 2, 4]);
    /// assert_eq!(Tensor::arange(1, 0, -0.5).to_vec::<f32>(), [1.0, 0.5]);
    /// ```
    ///
    /// # Panics
    /// If `step` is 0 or leads away from `end`.
    #[track_caller]
    #[must_use]
    pub fn arange(start: impl Into<Scalar>, end: impl Into<Scalar>, step: impl Into<Scalar>) -> Self {
        let (start, end, step) = (start.into(), end.into(), step.into());
        let dtype = [start, end, step].map(Scalar::default_dtype).into_iter().fold(DType::I64, DType::promote);
        Self::arange_on(&B::default(), start, end, step, dtype)
    }

    /// `count` evenly spaced numbers from `start` to `end`, both included, `F32`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::linspace(0.0, 1.0, 3).to_vec::<f32>(), [0.0, 0.5, 1.0]);
    /// ```
    ///
    /// # Panics
    /// If the device fails.
    #[track_caller]
    #[must_use]
    pub fn linspace(start: f64, end: f64, count: usize) -> Self {
        Self::linspace_on(&B::default(), start, end, count, DType::DEFAULT_FLOAT)
    }

    /// `count` numbers from 10^`start` to 10^`end`, evenly spaced on a logarithmic scale, `F32`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(format!("{:.1}", Tensor::logspace(0.0, 2.0, 3)), "tensor([  1.,  10., 100.], device='reference')");
    /// ```
    ///
    /// # Panics
    /// If the device fails.
    #[track_caller]
    #[must_use]
    pub fn logspace(start: f64, end: f64, count: usize) -> Self {
        let exponents = Self::linspace_on(&B::default(), start, end, count, DType::F64);
        Self::scalar(10.0).to_dtype(DType::F64).pow(&exponents).to_dtype(DType::DEFAULT_FLOAT)
    }

    /// The identity matrix of `n` rows, `F32`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::eye(2).to_vec::<f32>(), [1.0, 0.0, 0.0, 1.0]);
    /// ```
    ///
    /// # Panics
    /// If it is too large.
    #[track_caller]
    #[must_use]
    pub fn eye(n: usize) -> Self {
        Self::eye_on(&B::default(), n, n, DType::DEFAULT_FLOAT)
    }

    /// Uniform random numbers from 0 (included) to 1 (excluded), `F32`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::rand([100]);
    /// assert!(x.min().item() >= 0.0 && x.max().item() < 1.0);
    /// ```
    ///
    /// # Panics
    /// If the shape is too large.
    #[track_caller]
    #[must_use]
    pub fn rand(shape: impl AsRef<[usize]>) -> Self {
        Generator::draw().rand(shape)
    }

    /// Normally distributed random numbers with mean 0 and deviation 1, `F32`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::randn([1000]);
    /// assert!(x.mean().item().abs() < 0.2);
    /// ```
    ///
    /// # Panics
    /// If the shape is too large.
    #[track_caller]
    #[must_use]
    pub fn randn(shape: impl AsRef<[usize]>) -> Self {
        Generator::draw().randn(shape)
    }

    /// Random integers from `low` (included) to `high` (excluded), `I64`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let dice = Tensor::randint(1, 7, [10]);
    /// assert!(dice.min().item() >= 1.0 && dice.max().item() <= 6.0);
    /// ```
    ///
    /// # Panics
    /// If `high` is not above `low`, or the shape is too large.
    #[track_caller]
    #[must_use]
    pub fn randint(low: i64, high: i64, shape: impl AsRef<[usize]>) -> Self {
        Generator::draw().randint(low, high, shape)
    }

    /// The numbers from 0 to `n − 1` in random order, `I64`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let order = Tensor::randperm(5);
    /// assert_eq!(order.sort(0, false).0.to_vec::<i64>(), [0, 1, 2, 3, 4]);
    /// ```
    ///
    /// # Panics
    /// If the device fails.
    #[track_caller]
    #[must_use]
    pub fn randperm(n: usize) -> Self {
        Generator::draw().randperm(n)
    }

    /// The row and column numbers of the lower triangle of a matrix, row by row: shape `[2, count]`, `I64`. A positive
    /// offset adds diagonals above the main one.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let places = Tensor::tril_indices(2, 2, 0);
    /// assert_eq!(places.to_vec::<i64>(), [0, 1, 1, 0, 0, 1]);
    /// ```
    ///
    /// # Panics
    /// If the matrix is too large.
    #[track_caller]
    #[must_use]
    pub fn tril_indices(rows: usize, columns: usize, offset: i64) -> Self {
        Self::ones_on(&B::default(), [rows, columns], DType::Bool).tril(offset).nonzero().t()
    }

    /// The row and column numbers of the upper triangle of a matrix, row by row: shape `[2, count]`, `I64`. A positive
    /// offset leaves out diagonals.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let places = Tensor::triu_indices(2, 2, 0);
    /// assert_eq!(places.to_vec::<i64>(), [0, 0, 1, 0, 1, 1]);
    /// ```
    ///
    /// # Panics
    /// If the matrix is too large.
    #[track_caller]
    #[must_use]
    pub fn triu_indices(rows: usize, columns: usize, offset: i64) -> Self {
        Self::ones_on(&B::default(), [rows, columns], DType::Bool).triu(offset).nonzero().t()
    }
}
