//! Pools: the largest or the mean of each window of an image. And windows as tensors of their own.

use super::conv::Sizes;
use crate::misuse::ok;
use crate::mode::no_grad;
use crate::operand::Operand;
use crate::primitive::{Primitive, Value, record};
use crate::tensor::Tensor;
use tensor_core::array::Windows;
use tensor_core::{Array, Backend, DType, Dims, Error, Result, Scalar, Shape};

/// How a pool walks over its input: windows side by side, no padding, dilation 1, unless said otherwise. A number or sizes
/// alone are windows of that size.
///
/// ```
/// use autograd::{PoolOptions, Sizes};
/// let options = PoolOptions::new(3).stride(2).padding(1);
/// assert_eq!((options.size, options.stride), (Sizes::from(3), Some(Sizes::from(2))));
/// assert_eq!(PoolOptions::from([2, 3]), PoolOptions::new([2, 3]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// The elements of a window.
    pub size: Sizes,
    /// From one window to the next; as long as a window if `None`.
    pub stride: Option<Sizes>,
    /// What is put around the input, at most half a window: nothing that could be the largest, or zeros for a mean.
    pub padding: Sizes,
    /// From one element of a window to the next; means have 1.
    pub dilation: Sizes,
    /// Whether a window that reaches beyond the end counts, if it begins within the input or the padding before it.
    pub ceil: bool,
    /// Whether zeros of the padding count as elements of a mean.
    pub count_padding: bool,
}

impl<T: Into<Sizes>> From<T> for PoolOptions {
    fn from(size: T) -> Self {
        Self::new(size)
    }
}

impl PoolOptions {
    /// Windows of a size, side by side.
    #[must_use]
    pub fn new(size: impl Into<Sizes>) -> Self {
        Self {
            size: size.into(),
            stride: None,
            padding: 0.into(),
            dilation: 1.into(),
            ceil: false,
            count_padding: true,
        }
    }

    /// With another stride.
    #[must_use]
    pub fn stride(self, stride: impl Into<Sizes>) -> Self {
        Self { stride: Some(stride.into()), ..self }
    }

    /// With padding around the input.
    #[must_use]
    pub fn padding(self, padding: impl Into<Sizes>) -> Self {
        Self { padding: padding.into(), ..self }
    }

    /// With another dilation.
    #[must_use]
    pub fn dilation(self, dilation: impl Into<Sizes>) -> Self {
        Self { dilation: dilation.into(), ..self }
    }

    /// With windows that reach beyond the end.
    #[must_use]
    pub fn ceil(self, ceil: bool) -> Self {
        Self { ceil, ..self }
    }

    /// With or without the padding's zeros among a mean's elements.
    #[must_use]
    pub fn count_padding(self, count_padding: bool) -> Self {
        Self { count_padding, ..self }
    }
}

/// The windows of a pool along the last axes of a tensor.
struct Pool {
    windows: Windows,
    lengths: Dims<usize>,
    padding: Dims<usize>,
    counts: Dims<usize>,
}

impl Pool {
    fn new<B: Backend>(tensor: &Tensor<B>, rank: usize, options: &PoolOptions, op: &'static str) -> Result<Self> {
        let shape = tensor.shape();
        if !(shape.len() == rank + 1 || shape.len() == rank + 2) {
            let expected =
                format!("{} or {} axes: channels and {rank} more, without or with a batch", rank + 1, rank + 2);
            return Err(Error::shape(op, expected, format!("shape {shape:?}")));
        }
        if tensor.dtype() == DType::Bool {
            return Err(Error::dtype(op, "a number dtype", DType::Bool.to_string()));
        }
        let size = options.size.of_rank(rank, "window size", op)?;
        let stride = match &options.stride {
            Some(stride) => stride.of_rank(rank, "stride", op)?,
            None => size.clone(),
        };
        let dilation = options.dilation.of_rank(rank, "dilation", op)?;
        let padding = options.padding.of_rank(rank, "padding", op)?;
        for (axis, (&size, &padding)) in size.iter().zip(&padding).enumerate() {
            if size == 0 || stride[axis] == 0 || dilation[axis] == 0 {
                let got = format!("sizes {size}, strides {stride:?}, dilations {dilation:?}");
                return Err(Error::value(op, "windows, strides and dilations of at least 1", got));
            }
            if padding > size / 2 {
                let got = format!("{padding} for a window of {size}");
                return Err(Error::value(op, "a padding of at most half a window", got));
            }
        }
        let windows = Windows { size, stride, dilation };
        let lengths: Dims<usize> = shape[shape.len() - rank..].into();
        let mut counts = Dims::new();
        for axis in 0..rank {
            let padded = lengths[axis].saturating_add(2 * padding[axis]);
            let (length, step) = (padded as i128, windows.stride[axis] as i128);
            let rest = length - windows.reach(axis) as i128 + if options.ceil { step - 1 } else { 0 };
            let mut count = if rest < 0 { 0 } else { rest / step + 1 };
            // The last window must begin within the input or the padding before it.
            if options.ceil && (count - 1) * step >= length - padding[axis] as i128 {
                count -= 1;
            }
            let count = usize::try_from(count).unwrap_or(0);
            if count == 0 {
                let expected = format!("at least {} elements along axis {axis} of the windows", windows.reach(axis));
                return Err(Error::shape(op, expected, format!("{padded} of shape {shape:?} with its padding")));
            }
            counts.push(count);
        }
        Ok(Self { windows, lengths, padding, counts })
    }

    fn rank(&self) -> usize {
        self.lengths.len()
    }

    /// The elements before and after an axis that its windows reach.
    fn border(&self, axis: usize) -> (usize, usize) {
        let reached = (self.counts[axis] - 1) * self.windows.stride[axis] + self.windows.reach(axis);
        (self.padding[axis], reached.saturating_sub(self.lengths[axis] + self.padding[axis]))
    }

    /// The padded tensor.
    fn padded<B: Backend>(&self, tensor: &Tensor<B>, value: Scalar) -> Tensor<B> {
        let border: Vec<(usize, usize)> = (0..self.rank()).map(|axis| self.border(axis)).collect();
        if border.iter().all(|&around| around == (0, 0)) { tensor.clone() } else { tensor.pad(&border, value) }
    }

    /// Which element of the input an element of a window is; `None` if it is one of the padding.
    fn coordinate(&self, axis: usize, window: usize, element: usize) -> Option<usize> {
        let at = window * self.windows.stride[axis] + element * self.windows.dilation[axis];
        at.checked_sub(self.padding[axis]).filter(|&at| at < self.lengths[axis])
    }

    /// Numbers of each window, from a function of the axis and the window's number along it.
    fn along<B: Backend>(&self, axis: usize, like: &Tensor<B>, value: impl Fn(usize) -> i64) -> Tensor<B> {
        let values: Vec<i64> = (0..self.counts[axis]).map(value).collect();
        let mut shape = vec![1; self.rank() - axis];
        shape[0] = values.len();
        like.host_places(&values, &shape).to_dtype(like.dtype())
    }

    /// Which elements are the largest, corrected where all have the lowest value: not one of the padding before the input,
    /// but the first of the input.
    fn within<B: Backend>(&self, which: &Tensor<B>) -> Tensor<B> {
        if self.padding.iter().all(|&padding| padding == 0) {
            return which.clone();
        }
        // A size of 256 is no u8.
        let mut rest = which.to_dtype(DType::I32);
        let mut result: Option<Tensor<B>> = None;
        for axis in (0..self.rank()).rev() {
            let size = self.windows.size[axis];
            let own = &rest % size as i64;
            rest = rest.floor_divide(size as i64);
            let first = self.along(axis, &rest, |window| {
                (0..size).find(|&at| self.coordinate(axis, window, at).is_some()).unwrap_or(0) as i64
            });
            let inner: usize = self.windows.size[axis + 1..].iter().product();
            let own = own.maximum(&first) * inner as i64;
            result = Some(result.map_or(own.clone(), |result| result + own));
        }
        result.map_or_else(|| which.clone(), |result| result.to_dtype(which.dtype()))
    }

    /// Where in the input the elements stand, counted in row-major order over the windows' axes.
    fn places<B: Backend>(&self, which: &Tensor<B>) -> Tensor<B> {
        let mut rest = which.to_dtype(DType::I64);
        let mut result: Option<Tensor<B>> = None;
        for axis in (0..self.rank()).rev() {
            let size = self.windows.size[axis];
            let own = (&rest % size as i64) * self.windows.dilation[axis] as i64;
            rest = rest.floor_divide(size as i64);
            let start = self
                .along(axis, &rest, |window| (window * self.windows.stride[axis]) as i64 - self.padding[axis] as i64);
            let inner: usize = self.lengths[axis + 1..].iter().product();
            let own = (own + start) * inner as i64;
            result = Some(result.map_or(own.clone(), |result| result + own));
        }
        result.unwrap_or_else(|| which.clone())
    }

    /// Along an axis, how many elements of each window count for a mean.
    fn elements(&self, axis: usize, count_padding: bool) -> Vec<f64> {
        let end = if count_padding { self.lengths[axis] + 2 * self.padding[axis] } else { usize::MAX };
        let counts = |window: usize| {
            (0..self.windows.size[axis])
                .filter(|&element| {
                    let at = window * self.windows.stride[axis] + element;
                    if count_padding { at < end } else { self.coordinate(axis, window, element).is_some() }
                })
                .count()
        };
        (0..self.counts[axis]).map(|window| counts(window) as f64).collect()
    }
}

/// The smallest value of a dtype: no element is below it.
fn lowest(dtype: DType) -> Scalar {
    match dtype {
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => Scalar::Float(f64::NEG_INFINITY),
        DType::I8 => Scalar::Int(i64::from(i8::MIN)),
        DType::I16 => Scalar::Int(i64::from(i16::MIN)),
        DType::I32 => Scalar::Int(i64::from(i32::MIN)),
        DType::I64 => Scalar::Int(i64::MIN),
        DType::U8 | DType::Bool => Scalar::Int(0),
    }
}

impl<B: Backend> Tensor<B> {
    /// The largest element of each window of signals `[batch, channels, length]`. See [`max_pool2d`](Self::max_pool2d).
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 3.0, 2.0, 4.0]]);
    /// assert_eq!(x.max_pool1d(2).to_vec::<f32>(), [3.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// If the shape or the options do not fit.
    #[track_caller]
    #[must_use]
    pub fn max_pool1d(&self, options: impl Into<PoolOptions>) -> Self {
        ok(self.try_max_pool(1, &options.into(), false, "max_pool1d")).0
    }

    /// The largest element of each window of images `[batch, channels, height, width]`, or of one without the batch's axis.
    /// NaN is larger than everything. Gradient: to the first of the largest elements.
    ///
    /// ```
    /// # use autograd::PoolOptions;
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let images = Tensor::ones([8, 16, 32, 32]);
    /// assert_eq!(images.max_pool2d(2).shape(), [8, 16, 16, 16]);
    /// assert_eq!(images.max_pool2d(PoolOptions::new(3).stride(2).padding(1)).shape(), [8, 16, 16, 16]);
    /// ```
    ///
    /// # Panics
    /// If the shape or the options do not fit.
    #[track_caller]
    #[must_use]
    pub fn max_pool2d(&self, options: impl Into<PoolOptions>) -> Self {
        ok(self.try_max_pool(2, &options.into(), false, "max_pool2d")).0
    }

    /// The largest element of each window of volumes `[batch, channels, depth, height, width]`. See
    /// [`max_pool2d`](Self::max_pool2d).
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::ones([1, 4, 4, 4]).max_pool3d(2).shape(), [1, 2, 2, 2]);
    /// ```
    ///
    /// # Panics
    /// If the shape or the options do not fit.
    #[track_caller]
    #[must_use]
    pub fn max_pool3d(&self, options: impl Into<PoolOptions>) -> Self {
        ok(self.try_max_pool(3, &options.into(), false, "max_pool3d")).0
    }

    /// The largest elements of windows over the last `rank` axes, as [`max_pool2d`](Self::max_pool2d), and where they stood:
    /// numbers in row-major order within those axes, `I64`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 3.0, 2.0, 4.0]]);
    /// let (largest, at) = x.max_pool_with_indices(1, 2);
    /// assert_eq!((largest.to_vec::<f32>(), at.to_vec::<i64>()), (vec![3.0, 4.0], vec![1, 3]));
    /// ```
    ///
    /// # Panics
    /// If the shape or the options do not fit.
    #[track_caller]
    #[must_use]
    pub fn max_pool_with_indices(&self, rank: usize, options: impl Into<PoolOptions>) -> (Self, Self) {
        let (values, indices) = ok(self.try_max_pool(rank, &options.into(), true, "max_pool_with_indices"));
        (values, indices.expect("they were asked for"))
    }

    /// The mean of each window of signals `[batch, channels, length]`. See [`avg_pool2d`](Self::avg_pool2d).
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[1.0_f32, 3.0, 2.0, 4.0]]);
    /// assert_eq!(x.avg_pool1d(2).to_vec::<f32>(), [2.0, 3.0]);
    /// ```
    ///
    /// # Panics
    /// If the shape, the options or the dtype do not fit.
    #[track_caller]
    #[must_use]
    pub fn avg_pool1d(&self, options: impl Into<PoolOptions>) -> Self {
        ok(self.try_avg_pool(1, &options.into(), "avg_pool1d"))
    }

    /// The mean of each window of images `[batch, channels, height, width]`, or of one without the batch's axis. Zeros of
    /// the padding count as elements unless the options say otherwise; what lies behind the padding never does.
    ///
    /// ```
    /// # use autograd::PoolOptions;
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::ones([1, 4, 4]);
    /// let corner = |options: PoolOptions| x.avg_pool2d(options.stride(1).padding(1)).to_vec::<f32>()[0];
    /// assert_eq!(corner(PoolOptions::new(2)), 0.25);
    /// assert_eq!(corner(PoolOptions::new(2).count_padding(false)), 1.0);
    /// ```
    ///
    /// # Panics
    /// If the shape, the options or the dtype do not fit.
    #[track_caller]
    #[must_use]
    pub fn avg_pool2d(&self, options: impl Into<PoolOptions>) -> Self {
        ok(self.try_avg_pool(2, &options.into(), "avg_pool2d"))
    }

    /// The mean of each window of volumes `[batch, channels, depth, height, width]`. See [`avg_pool2d`](Self::avg_pool2d).
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::ones([1, 4, 4, 4]).avg_pool3d(2).shape(), [1, 2, 2, 2]);
    /// ```
    ///
    /// # Panics
    /// If the shape, the options or the dtype do not fit.
    #[track_caller]
    #[must_use]
    pub fn avg_pool3d(&self, options: impl Into<PoolOptions>) -> Self {
        ok(self.try_avg_pool(3, &options.into(), "avg_pool3d"))
    }

    /// The means of windows over the last axes, whose number and size are such that the result has these sizes: window `i` of
    /// an axis goes from `⌊i·length/size⌋` to before `⌈(i + 1)·length/size⌉`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]]]);
    /// assert_eq!(x.adaptive_avg_pool(&[1, 1]).to_vec::<f32>(), [3.5]);
    /// assert_eq!(x.adaptive_avg_pool(&[2, 2]).to_vec::<f32>(), [1.5, 2.5, 4.5, 5.5]);
    /// ```
    ///
    /// # Panics
    /// If there are more sizes than axes, one is 0, an axis is empty, or the dtype is no float.
    #[track_caller]
    #[must_use]
    pub fn adaptive_avg_pool(&self, sizes: &[usize]) -> Self {
        ok(self.expect_float("adaptive_avg_pool"));
        let first = ok(self.adaptive(sizes, "adaptive_avg_pool"));
        let wide = self.to_dtype(self.dtype().compute());
        let pooled = sizes.iter().enumerate().fold(wide, |pooled, (number, &size)| {
            let axis = (first + number) as isize;
            let length = pooled.size(axis);
            if length == size {
                return pooled;
            }
            // One row a window, with as many equal weights as it has elements.
            let mut weights = vec![0.0; size * length];
            for (window, row) in weights.chunks_mut(length).enumerate() {
                let (start, end) = adaptive_window(window, size, length);
                row[start..end].fill(1.0 / (end - start) as f64);
            }
            let weights = pooled.host_constant(&weights, &[size, length]);
            pooled.movedim(axis, -1).matmul(&weights.t()).movedim(-1, axis)
        });
        pooled.to_dtype(self.dtype())
    }

    /// The largest elements of windows over the last axes, laid as those of [`adaptive_avg_pool`](Self::adaptive_avg_pool).
    /// Gradient: to the first of the largest elements.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]]]);
    /// assert_eq!(x.adaptive_max_pool(&[2, 2]).to_vec::<f32>(), [2.0, 3.0, 5.0, 6.0]);
    /// ```
    ///
    /// # Panics
    /// If there are more sizes than axes, one is 0, an axis is empty, or the dtype is bool.
    #[track_caller]
    #[must_use]
    pub fn adaptive_max_pool(&self, sizes: &[usize]) -> Self {
        let first = ok(self.adaptive(sizes, "adaptive_max_pool"));
        let shape = self.shape();
        if sizes.iter().zip(&shape[first..]).all(|(&size, &length)| length.is_multiple_of(size)) {
            // Windows of one size, side by side.
            let windows: Vec<usize> = shape[first..].iter().zip(sizes).map(|(length, size)| length / size).collect();
            let lead: usize = shape[..first].iter().product();
            let flat = [&[lead], &shape[first..]].concat();
            let flat = self.reshape_to(&ok(Shape::new(&flat)));
            let pooled =
                ok(flat.try_max_pool(sizes.len(), &PoolOptions::new(&windows[..]), false, "adaptive_max_pool")).0;
            return pooled.reshape_to(&ok(Shape::new([&shape[..first], sizes].concat())));
        }
        let tables: Vec<Vec<Vec<usize>>> = sizes
            .iter()
            .zip(&shape[first..])
            .map(|(&size, &length)| {
                let windows = (0..size).map(|window| adaptive_window(window, size, length));
                let longest = windows.clone().map(|(start, end)| end - start).max().unwrap_or(1);
                // Shorter windows name their last element again, which changes neither the largest nor which is first.
                windows.map(|(start, end)| (start..start + longest).map(|at| at.min(end - 1)).collect()).collect()
            })
            .collect();
        let indices = no_grad(|| {
            let mut stage = Stage { values: self.detach(), at: None };
            for number in (0..sizes.len()).rev() {
                let axis = (first + number) as isize;
                let table = &tables[number];
                let (count, size) = (table.len(), table[0].len());
                let flat: Vec<i64> = table.iter().flatten().map(|&at| at as i64).collect();
                let windows = stage.values.index_select(axis, &stage.values.host_places(&flat, &[count * size]));
                let windows = windows.unflatten(axis, [count as isize, size as isize]).movedim(axis + 1, -1);
                let starts: Vec<i64> = table.iter().map(|window| window[0] as i64).collect();
                let step = shape[first + number + 1..].iter().product();
                stage = stage.next(&windows, axis, step, &starts);
            }
            stage.at
        });
        indices.map_or_else(|| self.clone(), |indices| self.at_places(first, &indices))
    }

    /// The windows of the last axes as columns, as a convolution reads them: from `[batch, channels, lengths…]` to
    /// `[batch, channels·elements of a window, number of windows]`. Zeros are put around. Gradient: the sum of the windows'
    /// gradients where they came from. (PyTorch's `nn.functional.unfold`; [`unfold`](Self::unfold) is a tensor's own.)
    ///
    /// ```
    /// # use autograd::PoolOptions;
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let columns = Tensor::ones([2, 3, 5, 5]).im2col(PoolOptions::new(3).stride(1));
    /// assert_eq!(columns.shape(), [2, 27, 9]);
    /// ```
    ///
    /// # Panics
    /// If the tensor has no axes after batch and channels, or the options do not fit.
    #[track_caller]
    #[must_use]
    pub fn im2col(&self, options: impl Into<PoolOptions>) -> Self {
        let op = "im2col";
        let rank = self.rank().saturating_sub(2);
        if rank == 0 {
            let got = format!("shape {:?}", self.shape());
            ok::<()>(Err(Error::shape(op, "batch, channels, and at least one more axis", got)));
        }
        let pool = ok(Pool::new(self, rank, &options.into(), op));
        let windows = ok(pool.padded(self, Scalar::Int(0)).try_windowed(&pool.windows));
        // [batch, channels, counts…, sizes…] with the sizes first.
        let order: Vec<isize> =
            [0, 1].into_iter().chain(2 + rank..2 + 2 * rank).chain(2..2 + rank).map(|axis| axis as isize).collect();
        let (count, size): (usize, usize) = (pool.counts.iter().product(), pool.windows.size.iter().product());
        windows.permute(&order).reshape_to(&ok(Shape::new([self.size(0), self.size(1) * size, count])))
    }

    fn try_max_pool(
        &self,
        rank: usize,
        options: &PoolOptions,
        with_indices: bool,
        op: &'static str,
    ) -> Result<(Self, Option<Self>)> {
        let pool = Pool::new(self, rank, options, op)?;
        let padded = pool.padded(self, lowest(self.dtype()));
        let (largest, which) = padded.array().window_max(&pool.windows)?;
        let recorded = self.requires_grad() && crate::is_grad_enabled();
        if !with_indices && !recorded {
            return Ok((Self::from_array(largest), None));
        }
        let which = pool.within(&Self::from_array(which));
        let lengths = padded.shape();
        let call = (pool.windows.clone(), lengths[lengths.len() - rank..].into(), which.array());
        let operand = [Value::Array(padded.array())];
        let values = record(Primitive::WindowPick(Box::new(call)), &[Operand::Ref(&padded)], operand, largest);
        Ok((values, with_indices.then(|| pool.places(&which))))
    }

    /// The elements at these places of the axes from `first` on, counted in row-major order.
    #[track_caller]
    fn at_places(&self, first: usize, indices: &Self) -> Self {
        let picked = self.flatten_from(first).gather(-1, &indices.flatten_from(first));
        picked.reshape_to(&indices.checked_shape())
    }

    fn try_avg_pool(&self, rank: usize, options: &PoolOptions, op: &'static str) -> Result<Self> {
        self.expect_float(op)?;
        let pool = Pool::new(self, rank, options, op)?;
        if pool.windows.dilation.iter().any(|&dilation| dilation != 1) {
            return Err(Error::value(op, "a dilation of 1", format!("{:?}", pool.windows.dilation)));
        }
        let wide = self.to_dtype(self.dtype().compute());
        let windows = pool.padded(&wide, Scalar::Float(0.0)).try_windowed(&pool.windows)?;
        let axes: Vec<isize> = (1..=rank as isize).map(|back| -back).collect();
        let mut mean = windows.sum_dims(&axes, false);
        let counts: Vec<Vec<f64>> = (0..rank).map(|axis| pool.elements(axis, options.count_padding)).collect();
        if counts.iter().all(|counts| counts.iter().all(|count| *count == counts[0])) {
            mean *= counts.iter().map(|counts| counts[0]).product::<f64>().recip();
        } else {
            for (number, counts) in counts.iter().enumerate() {
                let mut shape = vec![1; rank - number];
                shape[0] = counts.len();
                let shares: Vec<f64> = counts.iter().map(|count| count.recip()).collect();
                mean = &mean * mean.host_constant(&shares, &shape);
            }
        }
        Ok(mean.to_dtype(self.dtype()))
    }

    /// Numbers of the host as a tensor of this one's dtype on its device.
    fn host_constant(&self, values: &[f64], shape: &[usize]) -> Self {
        let array = Array::from_slice(&self.device(), values, shape);
        Self::from_array(ok(array.and_then(|array| array.cast(self.dtype()))))
    }

    /// Indices of the host on this one's device.
    fn host_places(&self, values: &[i64], shape: &[usize]) -> Self {
        Self::from_array(ok(Array::from_slice(&self.device(), values, shape)))
    }

    /// The first of the axes that adaptive windows lie over.
    fn adaptive(&self, sizes: &[usize], op: &'static str) -> Result<usize> {
        let shape = self.shape();
        let first = shape.len().checked_sub(sizes.len()).filter(|_| !sizes.is_empty());
        let fits = first.is_some_and(|first| !shape[first..].contains(&0)) && !sizes.contains(&0);
        if self.dtype() == DType::Bool {
            return Err(Error::dtype(op, "a number dtype", DType::Bool.to_string()));
        }
        first.filter(|_| fits).ok_or_else(|| {
            let got = format!("sizes {sizes:?} for shape {shape:?}");
            Error::shape(op, "sizes of at least 1 for some of the last axes, which have elements", got)
        })
    }
}

/// From where to where a window of an adaptive pool goes.
fn adaptive_window(window: usize, size: usize, length: usize) -> (usize, usize) {
    (window * length / size, ((window + 1) * length).div_ceil(size))
}

/// The largest elements of windows, found axis by axis from the last one: values so far, and where each stood within the
/// axes that are done.
struct Stage<B: Backend> {
    values: Tensor<B>,
    at: Option<Tensor<B>>,
}

impl<B: Backend> Stage<B> {
    /// After one more axis: `windows` has its windows' elements last, and each begins at one of `starts` along the axis, one
    /// place of which is `step` places in all. Ties go to the first, and as outer axes come later, to the first in row-major
    /// order.
    fn next(&self, windows: &Tensor<B>, axis: isize, step: usize, starts: &[i64]) -> Self {
        let mut shape = vec![1; windows.rank() - 1];
        shape[axis as usize] = starts.len();
        let place = windows.argmax_dim(-1, false) + windows.host_places(starts, &shape);
        let at = match &self.at {
            None => place,
            Some(inner) => inner.gather(axis, &place) + place * step as i64,
        };
        Self { values: windows.amax(&[-1], false), at: Some(at) }
    }
}
