//! Convolutions: products with a tensor's [windows](super::windows), which are a view with more axes.
//!
//! The three operations of a convolution (forward, and the gradients of both operands) are each bilinear and each other's
//! gradients. [`Backend::matmul`] multiplies views, so nothing is copied but for a border of zeros.

use super::{Array, Windows};
use crate::shape::Dims;
use crate::{Backend, DType, Error, Layout, MatmulSpec, Result, Shape};
use smallvec::smallvec;

/// How a convolution lies over its input's last axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    /// From one window to the next, along each axis.
    pub stride: Dims<usize>,
    /// Zeros before and after the input, along each axis.
    pub padding: Dims<[usize; 2]>,
    /// From one element of a window to the next, along each axis.
    pub dilation: Dims<usize>,
    /// Into how many groups the channels of input and output are divided; each output channel sees one group.
    pub groups: usize,
}

impl Conv {
    fn windows(&self, size: &[usize]) -> Windows {
        Windows { size: size.into(), stride: self.stride.clone(), dilation: self.dilation.clone() }
    }
}

impl<B: Backend> Array<B> {
    /// The convolution (the cross-correlation, as networks call it) of this input `[batch, channels, lengths…]` with a weight
    /// `[outputs, channels/groups, sizes…]`: `[batch, outputs, counts…]`.
    ///
    /// ```
    /// use tensor_core::array::Conv;
    /// use tensor_core::{Array, reference::Reference};
    /// let x = Array::from_slice(&Reference, &[1.0_f32, 2.0, 4.0, 8.0], [1, 1, 4])?;
    /// let w = Array::from_slice(&Reference, &[1.0_f32, -1.0], [1, 1, 2])?;
    /// let plain = Conv { stride: [1][..].into(), padding: [[0, 0]][..].into(), dilation: [1][..].into(), groups: 1 };
    /// assert_eq!(x.conv(&w, &plain)?.to_vec::<f32>()?, [-1.0, -2.0, -4.0]);
    /// # Ok::<(), tensor_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If ranks, channels, parameters, dtypes or devices do not fit, no window fits, or the device fails.
    pub fn conv(&self, weight: &Self, conv: &Conv) -> Result<Self> {
        let counts = expect_conv(conv, self.dims(), weight.dims(), self.dtype, weight.dtype, "conv")?;
        self.same_device(weight, "conv")?;
        let (rank, groups) = (counts.len(), conv.groups);
        let windows = self.grouped_windows(&weight.dims()[2..], &counts, conv)?;
        let [batch, outputs] = [self.dims()[0], weight.dims()[0]];
        // [batch, groups, channels, counts…, sizes…] with the sizes before the counts.
        let mut order: Dims<isize> = smallvec![0, 1, 2];
        order.extend((3 + rank..3 + 2 * rank).chain(3..3 + rank).map(|axis| axis as isize));
        let product = weight.split_axis(0, groups)?.weigh(&windows.permute(&order)?, "conv")?;
        let mut shape: Dims<usize> = smallvec![batch, outputs];
        shape.extend_from_slice(&counts);
        product.reshape(&Shape::new(&shape)?)
    }

    /// The gradient of a convolution's weight of sizes `sizes`: this is the gradient of its result, `[batch, outputs,
    /// counts…]`, and `input` what it was applied to.
    ///
    /// # Errors
    /// As for [`conv`](Self::conv), of which this is no result's shape.
    pub fn conv_weight(&self, input: &Self, sizes: &[usize], conv: &Conv) -> Result<Self> {
        self.same_device(input, "conv_weight")?;
        let groups = conv.groups.max(1);
        let channels = input.dims().get(1).map_or(0, |channels| channels / groups);
        let mut weight: Dims<usize> = smallvec![self.dims().get(1).copied().unwrap_or(0), channels];
        weight.extend_from_slice(sizes);
        let counts = expect_conv(conv, input.dims(), &weight, input.dtype, self.dtype, "conv_weight")?;
        expect_result(self.dims(), input.dims()[0], &weight, &counts, "conv_weight")?;
        let rank = counts.len();
        let windows = input.grouped_windows(sizes, &counts, conv)?;
        // From [batch, groups, channels, counts…, sizes…].
        let mut order: Dims<isize> = smallvec![1, 0];
        order.extend((3..3 + rank).map(|axis| axis as isize));
        order.push(2);
        order.extend((3 + rank..3 + 2 * rank).map(|axis| axis as isize));
        let windows = windows.permute(&order)?;
        let mut order: Dims<isize> = smallvec![1, 2, 0];
        order.extend((3..3 + rank).map(|axis| axis as isize));
        let gradient = self.split_axis(1, groups)?.permute(&order)?;
        let spec = MatmulSpec { batch: 1, rows: 1, inner: 1 + rank, columns: 1 + rank, epilogue: None };
        let product = gradient.contract(&windows, &spec, &[]).map_err(|error| error.named("conv_weight"))?;
        product.reshape(&Shape::new(&weight)?)
    }

    /// The gradient of a convolution's input of lengths `lengths`: this is the gradient of its result, `[batch, outputs,
    /// counts…]`. As an operation of its own it is called a transposed convolution.
    ///
    /// # Errors
    /// As for [`conv`](Self::conv), of which this is no result's shape.
    pub fn conv_input(&self, weight: &Self, lengths: &[usize], conv: &Conv) -> Result<Self> {
        self.same_device(weight, "conv_input")?;
        let batch = self.dims().first().copied().unwrap_or(0);
        let channels = weight.dims().get(1).copied().unwrap_or(0).saturating_mul(conv.groups);
        let mut input: Dims<usize> = smallvec![batch, channels];
        input.extend_from_slice(lengths);
        let counts = expect_conv(conv, &input, weight.dims(), self.dtype, weight.dtype, "conv_input")?;
        expect_result(self.dims(), batch, weight.dims(), &counts, "conv_input")?;
        let rank = counts.len();
        let mut conv = conv.clone();
        for axis in 0..rank {
            // One window has no next one, and a window of one element none either.
            if counts[axis] == 1 {
                conv.stride[axis] = 1;
            }
            if weight.dims()[2 + axis] == 1 {
                conv.dilation[axis] = 1;
            }
        }
        let shape = Shape::new(&input).map_err(|error| error.named("conv_input"))?;
        if shape.numel() == 0 || self.numel() == 0 || weight.numel() == 0 {
            return Ok(Self::full(&self.backend, 0, &shape, self.dtype));
        }
        // Elements of the input that lie alike between two strides see every stride-th of the counts, through some elements
        // of the kernel: a convolution with stride 1 for each such phase.
        let phases: Vec<Vec<Phase>> = (0..rank)
            .map(|axis| {
                let size = weight.dims()[2 + axis];
                (0..conv.stride[axis]).filter_map(|start| Phase::new(&conv, axis, start, size, lengths[axis])).collect()
            })
            .collect();
        let counted: Dims<usize> = phases.iter().map(Vec::len).collect();
        let spans: Dims<[isize; 2]> = phases
            .iter()
            .map(|phases| {
                let low = phases.iter().map(|phase| phase.span[0]).min();
                let high = phases.iter().map(|phase| phase.span[1]).max();
                [low.unwrap_or(0), high.unwrap_or(1)]
            })
            .collect();
        let gradient = self.split_axis(1, conv.groups)?.covering(&spans)?;
        let kernel = weight.split_axis(0, conv.groups)?.transpose(1, 2)?;
        let covers_all = phases
            .iter()
            .zip(lengths)
            .all(|(phases, &length)| matches!(phases[..], [Phase { first: 0, step: 1, count, .. }] if count == length));
        let mut result = None;
        for choice in crate::reference::positions(&counted) {
            let chosen: Vec<&Phase> = phases.iter().zip(&choice).map(|(phases, &number)| &phases[number]).collect();
            let part = gradient.phase(&kernel, &chosen, &spans)?;
            if covers_all {
                return part.reshape(&shape);
            }
            let result = match &mut result {
                Some(result) => result,
                none => none.insert(Self::zeros_in_memory(&self.backend, shape.clone(), self.dtype)?),
            };
            let mut place = result.layout.clone();
            for (axis, phase) in chosen.iter().enumerate() {
                place = place.slice((2 + axis) as isize, phase.first, phase.count, phase.step as isize)?;
            }
            let part = part.reshape(place.shape())?;
            part.copy_into(result.buffer_mut(), &place)?;
        }
        Ok(result.unwrap_or_else(|| Self::full(&self.backend, 0, &shape, self.dtype)))
    }

    /// One phase of [`conv_input`](Self::conv_input): this is the gradient `[batch, groups, outputs, …]` over `spans`, the
    /// kernel is `[groups, channels, outputs, sizes…]`; gives `[batch, groups, channels, …]`.
    fn phase(&self, kernel: &Self, phases: &[&Phase], spans: &[[isize; 2]]) -> Result<Self> {
        let steps = self.layout.strides();
        let mut taken = kernel.clone();
        let (mut offset, mut dims, mut strides) =
            (self.layout.offset() as isize, Dims::from_slice(&self.dims()[..3]), Dims::from_slice(&steps[..3]));
        for (axis, phase) in phases.iter().enumerate() {
            taken = taken.slice((3 + axis) as isize, phase.tap, phase.taps, phase.tap_step as isize)?;
            offset += (phase.start - spans[axis][0]) * steps[3 + axis];
            dims.push(phase.taps);
            strides.push(-(phase.back as isize) * steps[3 + axis]);
        }
        for (axis, phase) in phases.iter().enumerate() {
            dims.push(phase.count);
            strides.push(steps[3 + axis]);
        }
        let windows = self.with_layout(Layout::from_parts(Shape::new(&dims)?, strides, offset as usize));
        taken.weigh(&windows, "conv_input")
    }

    /// What this kernel `[groups, rows, inner, sizes…]` makes of each of the windows `[batch, groups, inner, sizes…, counts…]`:
    /// `[batch, groups, rows, counts…]`.
    fn weigh(&self, windows: &Self, op: &'static str) -> Result<Self> {
        let rank = self.rank() - 3;
        let mut dims = Dims::from_slice(self.dims());
        dims.insert(0, windows.dims()[0]);
        let kernel = self.expand(&Shape::new(&dims)?)?;
        let spec = MatmulSpec { batch: 2, rows: 1, inner: 1 + rank, columns: rank, epilogue: None };
        kernel.contract(windows, &spec, &[]).map_err(|error| error.named(op))
    }

    /// The windows of a convolution's input: `[batch, groups, channels/groups, counts…, sizes…]`.
    fn grouped_windows(&self, sizes: &[usize], counts: &[usize], conv: &Conv) -> Result<Self> {
        let windows = conv.windows(sizes);
        let spans: Dims<[isize; 2]> = (0..counts.len())
            .map(|axis| {
                let start = -(conv.padding[axis][0] as isize);
                // What lies behind the last window is not read.
                [start, start + ((counts[axis] - 1) * conv.stride[axis] + windows.reach(axis)) as isize]
            })
            .collect();
        self.covering(&spans)?.split_axis(1, conv.groups)?.windows(&windows)
    }

    /// An axis divided into `outer` parts: a view.
    fn split_axis(&self, axis: usize, outer: usize) -> Result<Self> {
        let size = self.dims()[axis] / outer;
        let (mut dims, mut strides) = (Dims::from_slice(self.dims()), Dims::from_slice(self.layout.strides()));
        let step = strides[axis];
        dims[axis] = size;
        dims.insert(axis, outer);
        strides.insert(axis, step * size as isize);
        Ok(self.with_layout(Layout::from_parts(Shape::new(&dims)?, strides, self.layout.offset())))
    }
}

/// Elements `first`, `first + step`, … of a convolution's input along an axis, which its result reaches through the same
/// elements of the kernel.
///
/// Counted with the padding before, element `q` of the input is met by window `l` at its tap `k` if `q = l·stride + k·dilation`.
/// With `q = start + stride·j` that leaves the taps with `k·dilation ≡ start` modulo the stride, which are
/// `tap + tap_step·t`, and `l = base + j − back·t`.
#[derive(Debug)]
struct Phase {
    first: usize,
    step: usize,
    count: usize,
    tap: usize,
    taps: usize,
    tap_step: usize,
    back: usize,
    /// The window that the first element meets at the first tap.
    start: isize,
    /// The windows that are met: from one to before another.
    span: [isize; 2],
}

impl Phase {
    /// The phase that begins `start` after a multiple of the stride, unless it has no elements or no taps.
    fn new(conv: &Conv, axis: usize, start: usize, size: usize, length: usize) -> Option<Self> {
        let (stride, dilation, before) = (conv.stride[axis], conv.dilation[axis], conv.padding[axis][0]);
        let common = gcd(stride, dilation);
        let tap_step = stride / common;
        let back = dilation / common;
        let tap = (0..tap_step.min(size)).find(|tap| tap * dilation % stride == start)?;
        let taps = (size - tap).div_ceil(tap_step);
        // The first element at or behind the padding.
        let j = before.saturating_sub(start).div_ceil(stride);
        let first = (start + stride * j).checked_sub(before)?;
        let count = length.checked_sub(first).filter(|&rest| rest > 0)?.div_ceil(stride);
        let begin = (start as isize - (tap * dilation) as isize) / stride as isize + j as isize;
        let span = [begin - (back * (taps - 1)) as isize, begin + count as isize];
        Some(Self { first, step: stride, count, tap, taps, tap_step, back, start: begin, span })
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The counts of windows, if input, weight and parameters fit each other.
fn expect_conv(
    conv: &Conv,
    input: &[usize],
    weight: &[usize],
    of_input: DType,
    of_weight: DType,
    op: &'static str,
) -> Result<Dims<usize>> {
    if of_input != of_weight || of_input == DType::Bool {
        return Err(Error::dtype(op, "two tensors of one number dtype", format!("{of_input} and {of_weight}"))
            .hint("convert one with .to(dtype)"));
    }
    let rank = conv.stride.len();
    let got = || format!("an input of {input:?} and a weight of {weight:?}");
    if rank == 0 || input.len() != rank + 2 || weight.len() != rank + 2 {
        let expected =
            format!("an input [batch, channels, …] and a weight [outputs, channels, …] with {rank} more axes");
        return Err(Error::shape(op, expected, got()));
    }
    if conv.padding.len() != rank || conv.dilation.len() != rank || conv.groups == 0 {
        return Err(Error::value(op, format!("padding and dilation for {rank} axes, and groups"), format!("{conv:?}")));
    }
    if input[1] != weight[1].saturating_mul(conv.groups) || !weight[0].is_multiple_of(conv.groups) {
        let expected = format!("in {} groups, channels that fit and outputs that can be divided", conv.groups);
        return Err(Error::shape(op, expected, got()).hint("a weight has channels/groups as its second size"));
    }
    let windows = conv.windows(&weight[2..]);
    windows.check(rank, op)?;
    let mut counts = Dims::new();
    for axis in 0..rank {
        let [before, after] = conv.padding[axis];
        let length = input[2 + axis].saturating_add(before).saturating_add(after);
        let count = windows.count(axis, length);
        if count == 0 || length > isize::MAX as usize {
            let expected = format!("an input that with its padding has at least {} elements", windows.reach(axis));
            return Err(Error::shape(op, expected, format!("{length} along axis {} of {}", 2 + axis, got())));
        }
        counts.push(count);
    }
    Ok(counts)
}

/// Refuses what has not the shape of a convolution's result.
fn expect_result(dims: &[usize], batch: usize, weight: &[usize], counts: &[usize], op: &'static str) -> Result<()> {
    let mut wanted: Dims<usize> = smallvec![batch, weight[0]];
    wanted.extend_from_slice(counts);
    if dims == &wanted[..] {
        return Ok(());
    }
    Err(Error::shape(op, format!("a result of shape {wanted:?}"), format!("{dims:?}")))
}
