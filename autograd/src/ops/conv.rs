//! Convolutions.

use crate::misuse::ok;
use crate::operand::Operand;
use crate::primitive::{ConvCall, ConvKind, Primitive, apply, apply1};
use crate::tensor::Tensor;
use tensor_core::array::{Conv, Windows};
use tensor_core::{Backend, Dims, Error, Result, Shape};

/// One number for each axis of an image, or one for all.
///
/// ```
/// use autograd::Sizes;
/// assert_eq!(Sizes::from(2), Sizes::All(2));
/// assert_eq!(Sizes::from([2, 3]), Sizes::Each([2, 3].as_slice().into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// The same for all axes.
    All(usize),
    /// One for each axis.
    Each(Dims<usize>),
}

impl From<usize> for Sizes {
    fn from(size: usize) -> Self {
        Self::All(size)
    }
}

impl<const N: usize> From<[usize; N]> for Sizes {
    fn from(sizes: [usize; N]) -> Self {
        Self::Each(sizes.as_slice().into())
    }
}

impl From<&[usize]> for Sizes {
    fn from(sizes: &[usize]) -> Self {
        Self::Each(sizes.into())
    }
}

impl Sizes {
    /// One for each of `rank` axes.
    pub(super) fn of_rank(&self, rank: usize, what: &str, op: &'static str) -> Result<Dims<usize>> {
        match self {
            Self::All(size) => Ok(Dims::from_elem(*size, rank)),
            Self::Each(sizes) if sizes.len() == rank => Ok(sizes.clone()),
            Self::Each(sizes) => {
                Err(Error::value(op, format!("one {what}, or one for each of {rank} axes"), format!("{sizes:?}")))
            }
        }
    }
}

/// How many zeros a convolution puts around its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Padding {
    /// So many before and after each axis.
    Zeros(Sizes),
    /// So many that with stride 1 the result is as large as the input. Of an odd number the larger part goes behind.
    Same,
}

impl<T: Into<Sizes>> From<T> for Padding {
    fn from(sizes: T) -> Self {
        Self::Zeros(sizes.into())
    }
}

/// How a convolution walks over its input: stride 1, no padding, dilation 1, one group, unless said otherwise.
///
/// ```
/// use autograd::{ConvOptions, Padding};
/// let options = ConvOptions::new().stride(2).padding([1, 0]);
/// assert_eq!(options.padding, Padding::from([1, 0]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvOptions {
    /// From one window to the next.
    pub stride: Sizes,
    /// Zeros around the input.
    pub padding: Padding,
    /// From one element of a window to the next.
    pub dilation: Sizes,
    /// Into how many groups channels are divided; each output channel sees one group of the input's.
    pub groups: usize,
    /// Of a transposed convolution: by how much its result is larger than the smallest input that the convolution would
    /// have made this one's input of.
    pub output_padding: Sizes,
}

impl Default for ConvOptions {
    fn default() -> Self {
        Self {
            stride: 1.into(),
            padding: Padding::Zeros(0.into()),
            dilation: 1.into(),
            groups: 1,
            output_padding: 0.into(),
        }
    }
}

impl ConvOptions {
    /// Stride 1, no padding, dilation 1, one group.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With another stride.
    #[must_use]
    pub fn stride(self, stride: impl Into<Sizes>) -> Self {
        Self { stride: stride.into(), ..self }
    }

    /// With zeros around the input: a number, one for each axis, or [`Padding::Same`].
    #[must_use]
    pub fn padding(self, padding: impl Into<Padding>) -> Self {
        Self { padding: padding.into(), ..self }
    }

    /// With another dilation.
    #[must_use]
    pub fn dilation(self, dilation: impl Into<Sizes>) -> Self {
        Self { dilation: dilation.into(), ..self }
    }

    /// With channels in groups.
    #[must_use]
    pub fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// With a larger result of a transposed convolution.
    #[must_use]
    pub fn output_padding(self, output_padding: impl Into<Sizes>) -> Self {
        Self { output_padding: output_padding.into(), ..self }
    }

    fn of_sizes(&self, sizes: &[usize], op: &'static str) -> Result<Conv> {
        let rank = sizes.len();
        if self.groups == 0 {
            return Err(Error::value(op, "at least one group", "0"));
        }
        let stride = self.stride.of_rank(rank, "stride", op)?;
        let dilation = self.dilation.of_rank(rank, "dilation", op)?;
        let padding = match &self.padding {
            Padding::Zeros(zeros) => zeros.of_rank(rank, "padding", op)?.iter().map(|&zeros| [zeros; 2]).collect(),
            Padding::Same if stride.iter().any(|&stride| stride != 1) => {
                return Err(Error::value(op, "a stride of 1 with the padding that keeps sizes", format!("{stride:?}")));
            }
            Padding::Same => {
                let around = sizes
                    .iter()
                    .zip(&dilation)
                    .map(|(size, dilation)| size.saturating_sub(1).saturating_mul(*dilation));
                around.map(|both| [both / 2, both - both / 2]).collect()
            }
        };
        Ok(Conv { stride, padding, dilation, groups: self.groups })
    }
}

impl<B: Backend> Tensor<B> {
    /// The convolution of signals `[batch, channels, length]`, or one without the batch's axis, with a weight `[outputs,
    /// channels/groups, size]`, and a bias `[outputs]`. See [`conv2d`](Self::conv2d).
    ///
    /// ```
    /// # use autograd::ConvOptions;
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[[1.0_f32, 2.0, 4.0, 8.0]]]);
    /// let difference = Tensor::from([[[-1.0_f32, 1.0]]]);
    /// assert_eq!(x.conv1d(&difference, None, ConvOptions::new()).to_vec::<f32>(), [1.0, 2.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// If shapes, options or dtypes do not fit, or no window fits.
    #[track_caller]
    #[must_use]
    pub fn conv1d(&self, weight: &Self, bias: Option<&Self>, options: ConvOptions) -> Self {
        ok(self.try_conv(1, weight, bias, &options, "conv1d"))
    }

    /// The convolution (the cross-correlation, as networks call it) of images `[batch, channels, height, width]`, or one
    /// without the batch's axis, with a weight `[outputs, channels/groups, rows, columns]`, and a bias `[outputs]`:
    /// `[batch, outputs, …]` with `(size + 2·padding − dilation·(rows − 1) − 1)/stride + 1` along each axis, rounded down.
    /// For every number dtype; f16 and bf16 are added up in f32.
    ///
    /// ```
    /// # use autograd::ConvOptions;
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let images = Tensor::ones([8, 3, 32, 32]);
    /// let weight = Tensor::ones([16, 3, 3, 3]);
    /// let y = images.conv2d(&weight, Some(&Tensor::zeros([16])), ConvOptions::new().stride(2).padding(1));
    /// assert_eq!(y.shape(), [8, 16, 16, 16]);
    /// ```
    ///
    /// # Panics
    /// If shapes, options or dtypes do not fit, or no window fits.
    #[track_caller]
    #[must_use]
    pub fn conv2d(&self, weight: &Self, bias: Option<&Self>, options: ConvOptions) -> Self {
        ok(self.try_conv(2, weight, bias, &options, "conv2d"))
    }

    /// The convolution of volumes `[batch, channels, depth, height, width]`, or one without the batch's axis. See
    /// [`conv2d`](Self::conv2d).
    ///
    /// ```
    /// # use autograd::ConvOptions;
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let y = Tensor::ones([1, 4, 4, 4]).conv3d(&Tensor::ones([2, 1, 2, 2, 2]), None, ConvOptions::new());
    /// assert_eq!(y.shape(), [2, 3, 3, 3]);
    /// ```
    ///
    /// # Panics
    /// If shapes, options or dtypes do not fit, or no window fits.
    #[track_caller]
    #[must_use]
    pub fn conv3d(&self, weight: &Self, bias: Option<&Self>, options: ConvOptions) -> Self {
        ok(self.try_conv(3, weight, bias, &options, "conv3d"))
    }

    /// The transposed convolution of signals. See [`conv_transpose2d`](Self::conv_transpose2d).
    ///
    /// ```
    /// # use autograd::ConvOptions;
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([[[1.0_f32, 10.0]]]);
    /// let y = x.conv_transpose1d(&Tensor::from([[[1.0_f32, 2.0]]]), None, ConvOptions::new().stride(2));
    /// assert_eq!(y.to_vec::<f32>(), [1.0, 2.0, 10.0, 20.0]);
    /// ```
    ///
    /// # Panics
    /// If shapes, options or dtypes do not fit.
    #[track_caller]
    #[must_use]
    pub fn conv_transpose1d(&self, weight: &Self, bias: Option<&Self>, options: ConvOptions) -> Self {
        ok(self.try_conv_transpose(1, weight, bias, &options, "conv_transpose1d"))
    }

    /// What a convolution's gradient does to its result's gradient: each element of the images `[batch, channels, height,
    /// width]`, or of one without the batch's axis, is spread by a weight `[channels, outputs/groups, rows, columns]`. Gives
    /// `[batch, outputs, …]` with `(size − 1)·stride − 2·padding + dilation·(rows − 1) + output_padding + 1` along each axis.
    ///
    /// ```
    /// # use autograd::ConvOptions;
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let small = Tensor::ones([1, 8, 7, 7]);
    /// let large = small.conv_transpose2d(&Tensor::ones([8, 4, 2, 2]), None, ConvOptions::new().stride(2));
    /// assert_eq!(large.shape(), [1, 4, 14, 14]);
    /// ```
    ///
    /// # Panics
    /// If shapes, options or dtypes do not fit.
    #[track_caller]
    #[must_use]
    pub fn conv_transpose2d(&self, weight: &Self, bias: Option<&Self>, options: ConvOptions) -> Self {
        ok(self.try_conv_transpose(2, weight, bias, &options, "conv_transpose2d"))
    }

    /// The transposed convolution of volumes. See [`conv_transpose2d`](Self::conv_transpose2d).
    ///
    /// ```
    /// # use autograd::ConvOptions;
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let y = Tensor::ones([1, 2, 2, 2]).conv_transpose3d(&Tensor::ones([1, 1, 2, 2, 2]), None, ConvOptions::new());
    /// assert_eq!(y.shape(), [1, 3, 3, 3]);
    /// ```
    ///
    /// # Panics
    /// If shapes, options or dtypes do not fit.
    #[track_caller]
    #[must_use]
    pub fn conv_transpose3d(&self, weight: &Self, bias: Option<&Self>, options: ConvOptions) -> Self {
        ok(self.try_conv_transpose(3, weight, bias, &options, "conv_transpose3d"))
    }

    fn try_conv(
        &self,
        rank: usize,
        weight: &Self,
        bias: Option<&Self>,
        options: &ConvOptions,
        op: &'static str,
    ) -> Result<Self> {
        let input = self.batched(rank, weight, op)?;
        let sizes: Dims<usize> = weight.shape()[2..].into();
        let conv = options.of_sizes(&sizes, op)?;
        let lengths: Dims<usize> = input.shape()[2..].into();
        let call = ConvCall { kind: ConvKind::Forward, conv, lengths, sizes };
        let result = input.try_convolved(weight, call).map_err(|error| error.named(op))?;
        result.biased(bias, weight.size(0), op)?.like_batch_of(self, rank)
    }

    fn try_conv_transpose(
        &self,
        rank: usize,
        weight: &Self,
        bias: Option<&Self>,
        options: &ConvOptions,
        op: &'static str,
    ) -> Result<Self> {
        let input = self.batched(rank, weight, op)?;
        let sizes: Dims<usize> = weight.shape()[2..].into();
        let mut conv = options.of_sizes(&sizes, op)?;
        let more = options.output_padding.of_rank(rank, "output padding", op)?;
        let channels = input.size(1);
        if weight.size(0) != channels {
            let expected = format!("a weight of shape [{channels}, outputs/groups, …] for {channels} channels");
            return Err(Error::shape(op, expected, format!("{:?}", weight.shape())));
        }
        let windows = Windows { size: sizes.clone(), stride: conv.stride.clone(), dilation: conv.dilation.clone() };
        let counts = input.shape();
        let mut lengths = Dims::new();
        let mut behind: Vec<(usize, usize)> = Vec::new();
        for axis in 0..rank {
            let [before, after] = conv.padding[axis];
            let count = counts[2 + axis];
            let full = count.checked_sub(1).and_then(|last| last.checked_mul(conv.stride[axis]));
            let full = full.and_then(|start| start.checked_add(windows.reach(axis))?.checked_add(more[axis]));
            let length =
                full.and_then(|full| full.checked_sub(before)?.checked_sub(after)).filter(|&length| length > 0);
            let length = length.ok_or_else(|| {
                let got = format!(
                    "an input of {counts:?} with a weight of {:?} and padding {:?} along axis {}",
                    weight.shape(),
                    conv.padding[axis],
                    2 + axis
                );
                Error::shape(op, "a result with elements", got)
            })?;
            if more[axis] >= conv.stride[axis].max(conv.dilation[axis]) {
                let expected = "an output padding smaller than the stride or the dilation";
                return Err(Error::value(op, expected, format!("{}", more[axis])));
            }
            // Of what lies behind the last window, as much as a stride holds belongs to the convolution whose gradient this is.
            // The rest is less padding behind, and zeros once there is none.
            let rest = more[axis].saturating_sub(conv.stride[axis] - 1);
            conv.padding[axis][1] = after.saturating_sub(rest);
            behind.push((0, rest.saturating_sub(after)));
            lengths.push(length - rest.saturating_sub(after));
        }
        let outputs = weight.size(1).saturating_mul(conv.groups);
        let call = ConvCall { kind: ConvKind::Input, conv, lengths, sizes };
        let mut result = input.try_convolved(weight, call).map_err(|error| error.named(op))?;
        if behind.iter().any(|&around| around != (0, 0)) {
            result = result.pad(&behind, 0);
        }
        result.biased(bias, outputs, op)?.like_batch_of(self, rank)
    }

    /// The input with a batch's axis in front.
    fn batched(&self, rank: usize, weight: &Self, op: &'static str) -> Result<Self> {
        let own = self.rank();
        if !(own == rank + 1 || own == rank + 2) || weight.rank() != rank + 2 {
            let expected = format!(
                "an input of {} or {} axes (without or with a batch) and a weight of {}",
                rank + 1,
                rank + 2,
                rank + 2
            );
            return Err(Error::shape(op, expected, format!("{:?} and {:?}", self.shape(), weight.shape())));
        }
        Ok(if own == rank + 1 { self.unsqueeze(0) } else { self.clone() })
    }

    /// The result without a batch's axis, if the input had none.
    fn like_batch_of(self, input: &Self, rank: usize) -> Result<Self> {
        Ok(if input.rank() == rank + 1 { self.squeeze_dims(&[0]) } else { self })
    }

    /// A number added to each channel.
    fn biased(self, bias: Option<&Self>, channels: usize, op: &'static str) -> Result<Self> {
        let Some(bias) = bias else { return Ok(self) };
        if bias.shape() != [channels] {
            return Err(Error::shape(op, format!("a bias of shape [{channels}]"), format!("{:?}", bias.shape())));
        }
        let mut shape = vec![1; self.rank() - 1];
        shape[0] = channels;
        let bias = bias.try_reshape_to(&Shape::new(&shape)?)?;
        super::try_binary(tensor_core::op::BinaryOp::Add, Operand::Own(self), Operand::Own(bias))
            .map_err(|error| error.named(op))
    }

    fn try_convolved(&self, other: &Self, call: ConvCall) -> Result<Self> {
        apply(Primitive::Conv(Box::new(call)), &[Operand::Ref(self), Operand::Ref(other)])
    }

    #[track_caller]
    pub(crate) fn convolved(&self, other: &Self, call: ConvCall) -> Self {
        ok(self.try_convolved(other, call))
    }

    /// An operation on windows, of which this is the only operand.
    #[track_caller]
    pub(crate) fn with_windows(&self, primitive: Primitive<B>) -> Self {
        ok(apply1(primitive, self))
    }

    pub(super) fn try_windowed(&self, windows: &Windows) -> Result<Self> {
        let lengths = self.shape();
        let lengths = lengths[lengths.len().saturating_sub(windows.rank())..].into();
        apply1(Primitive::Windows(Box::new((windows.clone(), lengths))), self)
    }

    #[track_caller]
    pub(crate) fn windowed(&self, windows: &Windows) -> Self {
        ok(self.try_windowed(windows))
    }

    #[track_caller]
    pub(crate) fn folded(&self, windows: &Windows, lengths: &[usize]) -> Self {
        self.with_windows(Primitive::Fold(Box::new((windows.clone(), lengths.into()))))
    }
}
