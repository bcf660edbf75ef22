//! What a device has to be able to do.
//!
//! Design choices:
//! - **Few methods, operations as data.** A pointwise kernel is described by a [`Program`], so adding an operation adds no
//!   method. What remains are the access patterns that differ: reduce, scan, matmul, gather, scatter, sort, topk, softmax, rows.
//! - **The front checks, the back trusts.** [`Array`](crate::Array) validates shapes, dtypes, bounds and devices once, for
//!   everyone. A backend may rely on what each method's documentation promises and returns `Err` only for what nobody could
//!   foresee: no memory, a lost device, a kernel that does not compile.
//! - **Everything but memory is provided.** The provided methods download, run the [reference interpreter](crate::reference)
//!   and upload. A new backend works from its first few methods and replaces one after another; a method that serves some
//!   cases hands the others to the functions of [`fallback`]. A fallback is counted ([`fallback::fallback_counts`]) and
//!   `GRADIX_DENY_FALLBACK=1` makes it an error.
//! - **Buffers are untyped bytes, shared by reference count.** Layouts and dtypes travel beside them in [`View`]s. Whoever
//!   writes holds `&mut Buffer`, and the core passes only buffers that nobody else holds.

use crate::rows::{self, RowSpec};
use crate::shape::Dims;
use crate::{AttentionSpec, DType, Layout, MatmulSpec, Program, Result, Shape, fallback, mask, topk};
use std::borrow::Cow;
use std::fmt::Debug;

/// A cheap handle to one device.
///
/// Handles to the same device are equal. Work is ordered: what was submitted earlier is done before what was submitted
/// later can see it; [`read`](Self::read) waits for what it reads. A handle may be used by many threads at once.
pub trait Backend: Clone + PartialEq + Eq + Debug + Send + Sync + 'static {
    /// Memory on the device: untyped bytes, aligned for every dtype, shared by reference count. Dropping the last clone
    /// gives it back.
    type Buffer: Clone + Debug + Send + Sync + 'static;

    /// What the device is and can do.
    fn info(&self) -> DeviceInfo;

    /// The device's short name: `cpu`, `cuda:0`, `opencl:1`.
    fn label(&self) -> Cow<'static, str>;

    /// `bytes` bytes of memory with any content. Zero bytes are allowed.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory), after which the device stays usable.
    fn alloc(&self, bytes: usize) -> Result<Self::Buffer>;

    /// Copies `bytes` into the buffer from byte `offset` on. The range lies within the buffer.
    ///
    /// # Errors
    /// If the device fails.
    fn write(&self, buffer: &mut Self::Buffer, offset: usize, bytes: &[u8]) -> Result<()>;

    /// Copies from byte `offset` of the buffer on into `bytes`, after all work that writes the buffer is done. The range
    /// lies within the buffer.
    ///
    /// # Errors
    /// If the device, or work submitted before, fails.
    fn read(&self, buffer: &Self::Buffer, offset: usize, bytes: &mut [u8]) -> Result<()>;

    /// The size of the buffer in bytes, as it was asked for.
    fn size(&self, buffer: &Self::Buffer) -> usize;

    /// Whether this is the only clone of the buffer, so that it may be overwritten.
    fn is_unique(&self, buffer: &mut Self::Buffer) -> bool;

    /// Whether two handles are clones of one buffer. Saves reading an operand twice that occurs twice.
    fn is_same(&self, a: &Self::Buffer, b: &Self::Buffer) -> bool;

    /// Waits until all submitted work is done.
    ///
    /// # Errors
    /// If work submitted before failed.
    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    /// Copies a buffer to another device of this backend. (Copies between backends go through the host.)
    ///
    /// # Errors
    /// If either device fails or has no memory left.
    fn copy_to(&self, buffer: &Self::Buffer, target: &Self) -> Result<Self::Buffer> {
        let mut bytes = vec![0; self.size(buffer)];
        self.read(buffer, 0, &mut bytes)?;
        let mut copy = target.alloc(bytes.len())?;
        target.write(&mut copy, 0, &bytes)?;
        Ok(copy)
    }

    /// Up to how many elements a pointwise operation runs at once instead of waiting to be fused. Worth more than 0 where
    /// starting a kernel costs next to nothing.
    fn eager_below(&self) -> usize {
        0
    }

    /// Whether reading one element is as cheap as a memory access, so that 0-d results are kept on the host.
    fn reads_are_free(&self) -> bool {
        false
    }

    /// Runs `program` for every position of `shape`.
    ///
    /// Promised: `shape` has elements (this holds for every method: nothing empty ever reaches a backend);
    /// there are as many inputs and outputs as the program has, with its dtypes; every layout has shape `shape`;
    /// an output's layout touches no element twice; output buffers are shared with nobody and with no input view; an
    /// [`Input::Output`] names an output of the same dtype whose old content is the input, element by element.
    ///
    /// # Errors
    /// If the device fails.
    fn pointwise(
        &self,
        program: &Program,
        shape: &Shape,
        inputs: &[Input<'_, Self>],
        outputs: &mut [ViewMut<'_, Self>],
    ) -> Result<()> {
        fallback::pointwise(self, program, shape, inputs, outputs)
    }

    /// Runs `spec.prologue` for every position of `spec.shape` and combines its one output along `spec.axes`.
    ///
    /// Promised: the prologue reads `inputs` as in [`pointwise`](Self::pointwise) and has one output; at least one axis is
    /// reduced, and the reduced axes hold at least one element; `out` has the remaining axes in order, and the prologue's
    /// dtype (`I64` for arg-reductions). Sums and products of f16 and bf16 accumulate in f32, and float sums are pairwise or
    /// better. NaN is larger and smaller than everything: it wins. Arg-reductions have exactly one axis and give the first
    /// index of the winner.
    ///
    /// # Errors
    /// If the device fails.
    fn reduce(&self, spec: &ReduceSpec<'_>, inputs: &[View<'_, Self>], out: ViewMut<'_, Self>) -> Result<()> {
        fallback::reduce(self, spec, inputs, out)
    }

    /// Running totals along an axis: `out[i] = input[0] ∘ … ∘ input[i]`.
    ///
    /// Promised: both have one shape and dtype, a number. Floats accumulate in f64, or as exactly.
    ///
    /// # Errors
    /// If the device fails.
    fn scan(&self, op: ScanOp, axis: usize, input: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        fallback::scan(self, op, axis, input, out)
    }

    /// Matrix products: `out[batch…, rows…, columns…] = Σ a[batch…, rows…, inner…]·b[batch…, inner…, columns…]`, where `spec`
    /// says how many axes each index has. A matrix product has one axis for rows, inner sum and columns each; a contraction
    /// of tensors has more, and a convolution is one with a view of an image's windows.
    ///
    /// Promised: axes and sizes are as `spec` says, sizes at least 1; `a`, `b` and `out` have one number dtype; strides may be
    /// 0 or negative in `a` and `b`, and elements of these may stand in several places; `out` is contiguous. f16 and bf16
    /// accumulate in f32; integers wrap. With an epilogue there are as many `extras`, of `out`'s shape, as it has inputs
    /// after the first; without one there are none.
    ///
    /// A backend that knows matrices only uses [`by_plain_product`](crate::matmul::by_plain_product).
    ///
    /// # Errors
    /// If the device fails.
    fn matmul(
        &self,
        spec: &MatmulSpec<'_>,
        a: View<'_, Self>,
        b: View<'_, Self>,
        extras: &[View<'_, Self>],
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        fallback::matmul(self, spec, a, b, extras, out)
    }

    /// `out[…, i, …] = input[…, index[…, i, …], …]`, the index standing at `axis`.
    ///
    /// Promised: `index` is `I64` with `out`'s shape and values within `input`'s axis; `input` has the same rank, and is at
    /// least as large as `out` along all other axes. An index whose strides are 0 along all axes but `axis` picks whole
    /// slices, which a backend may copy as such.
    ///
    /// # Errors
    /// If the device fails.
    fn gather(&self, axis: usize, input: View<'_, Self>, index: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        fallback::gather(self, axis, input, index, out)
    }

    /// `out[…, index[…, i, …], …] ∘= src[…, i, …]`, the index standing at `axis`.
    ///
    /// Promised: `index` is `I64` with `src`'s shape and values within `out`'s axis; `src` has `out`'s dtype and rank and is
    /// at most as large along all other axes. `out` holds the tensor to scatter into. Where several sources meet, `Set`
    /// takes the last in row-major order; float sums are the same from run to run.
    ///
    /// # Errors
    /// If the device fails.
    fn scatter(
        &self,
        op: ScatterOp,
        axis: usize,
        index: View<'_, Self>,
        src: View<'_, Self>,
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        fallback::scatter(self, op, axis, index, src, out)
    }

    /// The numbers of a vector's true elements, in order.
    ///
    /// Promised: `mask` is a vector of `Bool`, with any stride; `out` is a contiguous vector of `I64` that has a place for each true
    /// element, of which there is one at least.
    ///
    /// What is provided is [`mask::by_scatter`]: four passes and a scatter. A backend gains by counting and writing.
    ///
    /// # Errors
    /// If the device fails.
    fn mask_indices(&self, mask: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        mask::by_scatter(self, mask, out)
    }

    /// Sorts along an axis, stably; `indices` says where each value came from.
    ///
    /// Promised: all three have one shape, `values` has `input`'s dtype, `indices` is `I64`, both are contiguous. NaN counts
    /// as larger than everything; −0 and 0 are equal.
    ///
    /// # Errors
    /// If the device fails.
    fn sort(
        &self,
        axis: usize,
        descending: bool,
        input: View<'_, Self>,
        values: ViewMut<'_, Self>,
        indices: ViewMut<'_, Self>,
    ) -> Result<()> {
        fallback::sort(self, axis, descending, input, values, indices)
    }

    /// The first ones of what [`sort`](Self::sort) gives along an axis, descending for the `largest`: in the same order, of equal
    /// ones the first.
    ///
    /// Promised: as for [`sort`](Self::sort), but `values` and `indices` are at least 1 and at most as long as `input` along the
    /// axis, and have as many elements as are wanted.
    ///
    /// What is provided is [`topk::by_sort`], which sorts everything. A backend gains by throwing most elements out unsorted.
    ///
    /// # Errors
    /// If the device fails.
    fn topk(
        &self,
        axis: usize,
        largest: bool,
        input: View<'_, Self>,
        values: ViewMut<'_, Self>,
        indices: ViewMut<'_, Self>,
    ) -> Result<()> {
        topk::by_sort(self, axis, largest, input, values, indices)
    }

    /// `out = eˣ⁻ᵐ / Σ eˣ⁻ᵐ` along an axis with `m` its maximum, or the logarithm of that.
    ///
    /// Promised: both have one shape and float dtype; `out` is contiguous.
    ///
    /// # Errors
    /// If the device fails.
    fn softmax(&self, axis: usize, log: bool, input: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        fallback::softmax(self, axis, log, input, out)
    }

    /// Reductions along rows and what is computed of their results, by turns, as [`RowSpec`] says: layer normalisation, the
    /// logarithm of a sum of exponentials, gradients of softmax.
    ///
    /// Promised: inputs have shape `spec.shape`, any strides, and the dtypes that the programs which read them name; `out` is
    /// contiguous and has [`RowSpec::out_shape`] and the last step's dtype; rows have elements; there are at most 64 values. The
    /// accuracy is that of [`reduce`](Self::reduce) and [`pointwise`](Self::pointwise).
    ///
    /// What is provided is [`rows::by_steps`], which does one step after another over the whole tensor. A backend gains by doing
    /// all of them for some rows at a time.
    ///
    /// # Errors
    /// If the device fails.
    fn rows(&self, spec: &RowSpec<'_>, inputs: &[View<'_, Self>], out: ViewMut<'_, Self>) -> Result<()> {
        rows::by_steps(self, spec, inputs, out)
    }

    /// Whether the device has kernels for [`attention`](Self::attention) and its gradients in a dtype. Without, `autograd` makes
    /// attention of products and a softmax, and does not call them.
    fn has_attention(&self, dtype: DType) -> bool {
        let _ = dtype;
        false
    }

    /// `softmax(q·kᵀ·scale)·v` of matrices in the last two axes: queries `[…, L, d]`, keys `[…, S, d]`, values `[…, S, e]`, the
    /// result `[…, L, e]`. The weights, L×S numbers for each head, are not to be held all at once: that is what a kernel is for.
    ///
    /// Promised: all have one float dtype; leading axes are the same; there are elements; `out` is contiguous.
    ///
    /// # Errors
    /// If the device fails.
    fn attention(&self, spec: &AttentionSpec, inputs: [View<'_, Self>; 3], out: ViewMut<'_, Self>) -> Result<()> {
        fallback::attention(self, spec, inputs, out)
    }

    /// The gradients of queries, keys and values, from these and the gradient of [`attention`](Self::attention)'s result. Keys that
    /// no place sees get zeros.
    ///
    /// Promised: as for [`attention`](Self::attention); the gradient may have any strides, `outs` are contiguous.
    ///
    /// # Errors
    /// If the device fails.
    fn attention_gradients(
        &self,
        spec: &AttentionSpec,
        inputs: [View<'_, Self>; 4],
        outs: [ViewMut<'_, Self>; 3],
    ) -> Result<()> {
        fallback::attention_gradients(self, spec, inputs, outs)
    }
}

/// A tensor to read: buffer, layout and dtype.
#[derive(Debug)]
pub struct View<'a, B: Backend> {
    /// The memory.
    pub buffer: &'a B::Buffer,
    /// Where the elements lie in it.
    pub layout: &'a Layout,
    /// What the elements are.
    pub dtype: DType,
}

impl<B: Backend> Clone for View<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for View<'_, B> {}

/// A tensor to write: a buffer that nobody else holds, layout and dtype.
#[derive(Debug)]
pub struct ViewMut<'a, B: Backend> {
    /// The memory.
    pub buffer: &'a mut B::Buffer,
    /// Where the elements lie in it.
    pub layout: &'a Layout,
    /// What the elements are.
    pub dtype: DType,
}

/// Where a pointwise program's input comes from.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a, B: Backend> {
    /// A tensor to read.
    View(View<'a, B>),
    /// The old content of the output of this number, which the program overwrites in place.
    Output(usize),
}

/// What to reduce, and how.
#[derive(Clone, Copy, Debug)]
pub struct ReduceSpec<'a> {
    /// How two values become one.
    pub op: ReduceOp,
    /// The shape that is walked.
    pub shape: &'a Shape,
    /// The axes that go, in ascending order.
    pub axes: &'a [usize],
    /// What is computed of the inputs before; has one output.
    pub prologue: &'a Program,
}

impl ReduceSpec<'_> {
    /// The shape that remains.
    pub fn out_shape(&self) -> Shape {
        self.shape.reduce(self.axes, false)
    }

    /// The axes that remain, in order.
    pub fn kept_axes(&self) -> Dims<usize> {
        (0..self.shape.rank()).filter(|axis| !self.axes.contains(axis)).collect()
    }
}

/// How a reduction combines two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    /// The sum; integers wrap.
    Sum,
    /// The product; integers wrap.
    Prod,
    /// The largest; NaN if there is one. `any` of bools.
    Max,
    /// The smallest; NaN if there is one. `all` of bools.
    Min,
    /// The first index of the largest.
    ArgMax,
    /// The first index of the smallest.
    ArgMin,
}

impl ReduceOp {
    /// Every reduction.
    pub const ALL: [Self; 6] = [Self::Sum, Self::Prod, Self::Max, Self::Min, Self::ArgMax, Self::ArgMin];

    /// The name, as the method is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Prod => "prod",
            Self::Max => "amax",
            Self::Min => "amin",
            Self::ArgMax => "argmax",
            Self::ArgMin => "argmin",
        }
    }

    /// Whether the result is an index.
    pub const fn gives_index(self) -> bool {
        matches!(self, Self::ArgMax | Self::ArgMin)
    }
}

/// How a scan combines two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScanOp {
    /// Running sum; integers wrap.
    Sum,
    /// Running product; integers wrap.
    Prod,
}

impl ScanOp {
    /// Every scan.
    pub const ALL: [Self; 2] = [Self::Sum, Self::Prod];

    /// The name, as the method is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sum => "cumsum",
            Self::Prod => "cumprod",
        }
    }
}

/// How a scattered value meets the one that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScatterOp {
    /// Replaces it.
    Set,
    /// Is added to it; integers wrap.
    Add,
    /// Is multiplied with it; integers wrap.
    Mul,
    /// The larger one stays; NaN wins.
    Max,
    /// The smaller one stays; NaN wins.
    Min,
}

impl ScatterOp {
    /// Every way to scatter.
    pub const ALL: [Self; 5] = [Self::Set, Self::Add, Self::Mul, Self::Max, Self::Min];

    /// The name, as the method is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Set => "scatter",
            Self::Add => "scatter_add",
            Self::Mul => "scatter_mul",
            Self::Max => "scatter_amax",
            Self::Min => "scatter_amin",
        }
    }
}

/// What a device is and can do.
#[derive(Clone, Debug)]
pub struct DeviceInfo {
    /// The device's own name, such as `AMD EPYC 9354`.
    pub name: String,
    /// What kind of device it is.
    pub kind: DeviceKind,
    /// Its memory in bytes, where that is known.
    pub memory: Option<u64>,
    /// The dtypes it can compute with.
    pub dtypes: Vec<DType>,
}

/// Kinds of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceKind {
    /// Runs on the processor.
    Cpu,
    /// Runs on a graphics processor.
    Gpu,
    /// Anything else.
    Accelerator,
}
