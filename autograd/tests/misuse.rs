//! What a user gets who asks for the impossible: one sentence, at the user's own line.

use autograd::{ConvOptions, GradOptions, Padding, PoolOptions, attempt, grad};
use backend_cpu::Cpu;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use tensor_core::reference::{HostBuffer, Reference};
use tensor_core::{Backend, DType, DeviceInfo, Result};

type Tensor = autograd::Tensor<Cpu>;

/// What panics are made with.
struct Given {
    /// Floats of shape [2, 3].
    a: Tensor,
    /// Floats of shape [2, 4].
    b: Tensor,
    /// Floats of shape [3].
    v: Tensor,
    /// Integers of shape [3].
    ints: Tensor,
    /// Bools of shape [2].
    bools: Tensor,
    scalar: Tensor,
    /// A leaf of shape [2] that requires a gradient.
    leaf: Tensor,
    /// Another one, which nothing depends on.
    other: Tensor,
    /// The result of a graph that was used.
    spent: Tensor,
}

impl Given {
    fn new() -> Self {
        let leaf = Tensor::ones([2]).requires_grad_();
        let spent = leaf.square().sum();
        spent.backward();
        Self {
            a: Tensor::ones([2, 3]),
            b: Tensor::ones([2, 4]),
            v: Tensor::ones([3]),
            ints: Tensor::from([1_i64, 2, 3]),
            bools: Tensor::from([true, false]),
            scalar: Tensor::scalar(1.0),
            leaf,
            other: Tensor::ones([2]).requires_grad_(),
            spent,
        }
    }
}

thread_local! {
    static CAUGHT: RefCell<Option<(String, String, u32)>> = const { RefCell::new(None) };
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// The sentence, the file and the line of a panic.
fn caught(f: impl FnOnce()) -> (String, String, u32) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if let (Some(sentence), Some(place)) = (info.payload().downcast_ref::<String>(), info.location()) {
                CAUGHT.set(Some((sentence.clone(), place.file().to_owned(), place.line())));
            }
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    CAUGHT.take();
    QUIET.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(f));
    QUIET.set(false);
    assert!(outcome.is_err(), "misuse must not go through");
    CAUGHT.take().unwrap_or_default()
}

/// Uses a value of any type, `()` too.
fn ignore<T>(_: T) {}

/// Both ways out of misuse give the sentence: a panic at this very line, and `attempt`.
macro_rules! says {
    ($wrong:expr, $sentence:expr) => {{
        let error = attempt(|| ignore($wrong)).map_or_else(|error| error.to_string(), |_done| "nothing".to_owned());
        let panic = caught(|| ignore($wrong));
        assert_eq!(error, $sentence, "through attempt");
        assert_eq!(panic, (error.clone(), file!().to_owned(), line!()), "as a panic at the user's line");
    }};
}

#[test]
#[rustfmt::skip]
fn shapes() {
    let Given { a, b, v, ints, bools, scalar, leaf, other, spent } = &Given::new();
    let _all = (a, b, v, ints, bools, scalar, leaf, other, spent);
    says!(a + b, "add: expected shapes that broadcast, got [2, 3] and [2, 4], which differ at axis 1 (3 and 4); hint: aligned at the last axis, sizes must be equal or 1");
    says!(a.add(b), "add: expected shapes that broadcast, got [2, 3] and [2, 4], which differ at axis 1 (3 and 4); hint: aligned at the last axis, sizes must be equal or 1");
    says!(2 - (a * b), "mul: expected shapes that broadcast, got [2, 3] and [2, 4], which differ at axis 1 (3 and 4); hint: aligned at the last axis, sizes must be equal or 1");
    says!(a.maximum(b), "maximum: expected shapes that broadcast, got [2, 3] and [2, 4], which differ at axis 1 (3 and 4); hint: aligned at the last axis, sizes must be equal or 1");
    says!(a.lt(b), "lt: expected shapes that broadcast, got [2, 3] and [2, 4], which differ at axis 1 (3 and 4); hint: aligned at the last axis, sizes must be equal or 1");
    says!(a.gt(0).where_cond(b, a), "where: expected shapes that broadcast, got [2, 3] and [2, 4], which differ at axis 1 (3 and 4); hint: aligned at the last axis, sizes must be equal or 1");
    says!(a.matmul(a), "matmul: expected as many columns on the left as rows on the right, got [2, 3] and [2, 3] (3 and 2)");
    says!(a.matmul(scalar), "matmul: expected tensors with at least one axis, got shapes [2, 3] and []; hint: use * to multiply by a scalar");
    says!(a.matmul(ints), "matmul: expected two tensors of one number dtype, got f32 and i64; hint: convert one with .to(dtype)");
    says!(a.matmul(&Tensor::ones([4])), "matmul: expected as many columns on the left as rows on the right, got [2, 3] and [4] (3 and 4)");
    says!(v.dot(&Tensor::ones([4])), "dot: expected two vectors of one length, got shapes [3] and [4]");
    says!(a.outer(v), "outer: expected two vectors, got shapes [2, 3] and [3]");
    says!(a.reshape([4, 2]), "reshape: expected a shape of 6 elements, got [4, 2]");
    says!(a.reshape([4, -1]), "reshape: expected a shape of 6 elements, got [4, -1]");
    says!(a.reshape([-1, -1]), "reshape: expected at most one size of -1, got [-1, -1]");
    says!(Tensor::zeros([0, 3]).reshape([-1, 0]), "reshape: expected sizes that determine the -1, got [-1, 0] for 0 elements");
    says!(a.reshape_as(b), "reshape: expected a shape of 6 elements, got [2, 4] of 8");
    says!(Tensor::arange(0, 6, 1).reshape([2, 3]).t().view([6]), "view: expected a layout in which the new axes do not cross old ones, got shape [3, 2] with strides [1, 3] as [6]; hint: use reshape, which copies where it must");
    says!(a.expand([3, 3]), "expand: expected a shape that [2, 3] broadcasts to, got [3, 3]; hint: aligned at the last axis, only axes of size 1 can grow");
    says!(a.expand([-1, 2, 3]), "expand: expected sizes of at least 0, or -1 for an axis that exists, got [-1, 2, 3]");
    says!(Tensor::cat(&[a, b], 0), "cat: expected shapes equal to [2, 3] but along axis 0, got [2, 4] as tensor number 1");
    says!(Tensor::cat(&[scalar], 0), "cat: expected tensors with at least one axis, got shape []; hint: use stack for scalars");
    says!(Tensor::cat(&[] as &[Tensor], 0), "cat: expected at least one tensor, got an empty list");
    says!(Tensor::stack(&[a, b], 0), "stack: expected tensors of one shape, [2, 3], got [2, 4] as tensor number 1");
    says!(Tensor::stack(&[] as &[Tensor], 0), "stack: expected at least one tensor, got an empty list");
    says!(a.repeat(&[2]), "repeat: expected at least 2 counts, got [2]");
    says!(Tensor::from_slice(&[1.0_f32, 2.0], [3]), "from_slice: expected 3 elements for shape [3], got 2");
    says!(Tensor::from(vec![vec![1.0_f32], vec![]]), "tensor: expected rows of one length, 1 as the first, got one of length 0");
    says!(a.masked_select(&b.gt(0)), "masked_select: expected shapes that broadcast, got [2, 3] and [2, 4], which differ at axis 1 (3 and 4); hint: aligned at the last axis, sizes must be equal or 1");
    says!(a.masked_fill(&b.gt(0), 1), "masked_fill: expected shapes that broadcast, got [2, 4] and [2, 3], which differ at axis 1 (4 and 3); hint: aligned at the last axis, sizes must be equal or 1");
    says!(a.gather(0, &Tensor::from([0_i64])), "gather: expected an index with as many axes as the tensor of shape [2, 3], got [1]");
    says!(a.scatter(0, &Tensor::zeros([3, 3]).to(DType::I64), a), "scatter: expected an index of size 2 at most along axis 0, got [3, 3] for a tensor of shape [2, 3] and a source of shape [2, 3]");
    says!(a.index_select(0, &Tensor::zeros([1, 1]).to(DType::I64)), "index_select: expected a vector of indices, got shape [1, 1]");
    says!(a.index_add(0, &Tensor::from([0_i64]), v), "index_add: expected a source of shape [1, 3], got [3]");
    says!(a.split_sizes(&[1, 2], 0), "split: expected sizes that add up to 2, got [1, 2]");
    says!(a.unflatten(1, [2, -1]), "unflatten: expected a shape of 3 elements, got [2, -1]");
    says!(v.trace(), "trace: expected a matrix, got shape [3]");
    says!(b.t().reshape([2, 2, 2]).t(), "t: expected at most two axes, got 3; hint: use transpose(-2, -1)");
    says!(v.tril(0), "tril: expected a tensor with at least two axes, got shape [3]");
    says!(a.item(), "item: expected a tensor of one element, got shape [2, 3]; hint: reduce it first, or use to_vec");
    says!(Tensor::zeros([0]).item(), "item: expected a tensor of one element, got shape [0]; hint: reduce it first, or use to_vec");
    says!(Tensor::zeros([0]).max(), "max: expected at least one element along the reduced axes, got shape [0]");
    says!(Tensor::zeros([0, 3]).amax(&[0], false), "amax: expected at least one element along the reduced axes, got shape [0, 3]");
    says!(Tensor::zeros([0]).argmax(), "argmax: expected at least one element along the reduced axes, got shape [0]");
}

#[test]
#[rustfmt::skip]
fn axes_and_indices() {
    let Given { a, b, v, ints, bools, scalar, leaf, other, spent } = &Given::new();
    let _all = (a, b, v, ints, bools, scalar, leaf, other, spent);
    says!(a.sum_dims(&[2], false), "sum: expected an axis from -2 to 1, got 2");
    says!(a.mean_dims(&[-3], false), "mean: expected an axis from -2 to 1, got -3");
    says!(a.amax(&[0, 0], false), "amax: expected each axis once, got axis 0 twice in [0, 0]");
    says!(a.sum_dims(&[1, -1], true), "sum: expected each axis once, got axis 1 twice in [1, -1]");
    says!(a.var_dims(&[5], 1, false), "var: expected an axis from -2 to 1, got 5");
    says!(a.logsumexp(&[2], false), "logsumexp: expected an axis from -2 to 1, got 2");
    says!(a.softmax(2), "softmax: expected an axis from -2 to 1, got 2");
    says!(a.log_softmax(-3), "log_softmax: expected an axis from -2 to 1, got -3");
    says!(a.cumsum(2), "cumsum: expected an axis from -2 to 1, got 2");
    says!(a.argmax_dim(7, false), "argmax: expected an axis from -2 to 1, got 7");
    says!(a.max_dim(2, false), "max_dim: expected an axis from -2 to 1, got 2");
    says!(a.sort(2, false), "sort: expected an axis from -2 to 1, got 2");
    says!(a.topk(4, 1, true), "topk: expected k of at most 3, got 4");
    says!(a.size(2), "size: expected an axis from -2 to 1, got 2");
    says!(scalar.size(0), "size: expected a tensor with at least one axis, got a 0-d tensor");
    says!(a.transpose(0, 2), "transpose: expected an axis from -2 to 1, got 2");
    says!(a.permute(&[0]), "permute: expected an order of 2 axes, got [0] of length 1");
    says!(a.permute(&[0, 0]), "permute: expected each axis once, got axis 0 twice in [0, 0]");
    says!(a.movedim(0, 2), "movedim: expected an axis from -2 to 1, got 2");
    says!(a.unsqueeze(4), "unsqueeze: expected an axis from -3 to 2, got 4");
    says!(a.squeeze_dims(&[2]), "squeeze: expected an axis from -2 to 1, got 2");
    says!(a.flip(&[1, 1]), "flip: expected each axis once, got axis 1 twice in [1, 1]");
    says!(a.roll(1, 2), "roll: expected an axis from -2 to 1, got 2");
    says!(a.flatten_dims(1, 0), "flatten: expected a first axis before the last, got 1 and 0");
    says!(a.diagonal(0, 1, 1), "diagonal: expected two different axes, got 1 and 1 of shape [2, 3]");
    says!(a.unfold(1, 4, 1), "unfold: expected a window of at most 3 elements, got 4");
    says!(a.unfold(1, 2, 0), "unfold: expected a step of at least 1, got 0");
    says!(a.narrow(1, 2, 2), "narrow: expected a range within axis 1 of size 3, got start 2 and length 2");
    says!(a.slice(1, 0, 2, 0), "slice: expected a step other than 0, got 0");
    says!(a.select(1, 3), "select: expected an index within axis 1 of size 3, got 3");
    says!(a.select(2, 0), "select: expected an axis from -2 to 1, got 2");
    says!(a.split(0, 0), "split: expected pieces of at least 1 element, got 0");
    says!(a.split(1, 2), "split: expected an axis from -2 to 1, got 2");
    says!(a.chunk(0, 0), "chunk: expected at least 1 piece, got 0");
    says!(a.unbind(2), "unbind: expected an axis from -2 to 1, got 2");
    says!(a.gather(0, &Tensor::from([[-1_i64]])), "gather: expected indices within axis 0 of size 2, got -1");
    says!(a.gather(1, &Tensor::from([[3_i64]])), "gather: expected indices within axis 1 of size 3, got 3");
    says!(a.index_select(0, &Tensor::from([2_i64])), "index_select: expected indices from -2 to 1, got 2");
    says!(a.i((0, 0, 0)), "i: expected at most 2 indices for shape [2, 3], got 3");
    says!(a.i(2), "i: expected an index from -2 to 1 for axis 0 of size 2, got 2");
}

#[test]
#[rustfmt::skip]
fn dtypes() {
    let Given { a, b, v, ints, bools, scalar, leaf, other, spent } = &Given::new();
    let _all = (a, b, v, ints, bools, scalar, leaf, other, spent);
    says!(ints.mean(), "mean: expected a float dtype (f16, bf16, f32, f64), got i64; hint: convert it first: .to(DType::F32)");
    says!(ints.std(), "std: expected a float dtype (f16, bf16, f32, f64), got i64; hint: convert it first: .to(DType::F32)");
    says!(ints.norm(), "norm: expected a float dtype (f16, bf16, f32, f64), got i64; hint: convert it first: .to(DType::F32)");
    says!(ints.softmax(0), "softmax: expected a float dtype (f16, bf16, f32, f64), got i64");
    says!(ints.gelu(), "gelu: expected a float dtype (f16, bf16, f32, f64), got i64");
    says!(bools - bools, "sub: expected a number dtype (u8, i8, i16, i32, i64, f16, bf16, f32, f64), got bool; hint: use ^ or logical_xor for bools");
    says!(bools.sub(bools), "sub: expected a number dtype (u8, i8, i16, i32, i64, f16, bf16, f32, f64), got bool; hint: use ^ or logical_xor for bools");
    says!(-bools, "neg: expected a number dtype (u8, i8, i16, i32, i64, f16, bf16, f32, f64), got bool; hint: use ! or bitwise_not to invert a mask");
    says!(bools.abs(), "abs: expected a number dtype (u8, i8, i16, i32, i64, f16, bf16, f32, f64), got bool");
    says!(bools.floor_divide(bools), "floor_divide: expected a number dtype (u8, i8, i16, i32, i64, f16, bf16, f32, f64), got bool");
    says!(bools.pow(bools), "pow: expected a number dtype (u8, i8, i16, i32, i64, f16, bf16, f32, f64), got bool");
    says!(a & a, "bitwise_and: expected bool or an integer dtype (bool, u8, i8, i16, i32, i64), got f32");
    says!(!a, "bitwise_not: expected bool or an integer dtype (bool, u8, i8, i16, i32, i64), got f32");
    says!(a << 1, "bitwise_left_shift: expected an integer dtype (u8, i8, i16, i32, i64), got f32");
    says!(bools.matmul(bools), "matmul: expected two tensors of one number dtype, got bool and bool; hint: convert one with .to(dtype)");
    says!(a.gt(0).where_cond(a, a).where_cond(a, a), "where: expected a condition of dtype bool, got f32; hint: compare it with something, or convert it with .to(DType::Bool)");
    says!(a.masked_fill(ints, 0), "masked_fill: expected a condition of dtype bool, got i64; hint: compare it with something, or convert it with .to(DType::Bool)");
    says!(a.masked_select(ints), "masked_select: expected a mask of dtype bool, got i64");
    says!(a.gather(0, a), "gather: expected an index of an integer dtype (u8, i8, i16, i32, i64), got f32");
    says!(a.scatter(0, &ints.unsqueeze(0), &ints.unsqueeze(0)), "scatter: expected a source of the tensor's dtype f32, got i64; hint: convert it with .to(dtype)");
    says!(ints.dropout(0.5), "dropout: expected a float dtype (f16, bf16, f32, f64), got i64");
    says!(a.to_vec::<f64>(), "to_vec: expected elements of type f32, got f64; hint: convert the tensor first");
    says!(ints.floor_divide(0), "floor_divide: expected a divisor without zeros for integers, got a zero; hint: convert to a float dtype, where x / 0 is ±inf or NaN");
    says!(ints % 0, "remainder: expected a divisor without zeros for integers, got a zero; hint: convert to a float dtype, where x / 0 is ±inf or NaN");
    says!(ints.pow(-1), "pow: expected a power of at least 0 for an integer tensor, got -1; hint: convert the tensor to a float dtype first");
}

#[test]
#[rustfmt::skip]
fn windows_and_contractions() {
    let Given { a, v, ints, .. } = &Given::new();
    let (x, w) = (&Tensor::ones([2, 4, 6, 6]), &Tensor::ones([8, 2, 3, 3]));
    let plain = ConvOptions::new;
    says!(x.conv2d(w, None, plain()), "conv2d: expected in 1 groups, channels that fit and outputs that can be divided, got an input of [2, 4, 6, 6] and a weight of [8, 2, 3, 3]; hint: a weight has channels/groups as its second size");
    says!(x.conv2d(w, None, plain().groups(0)), "conv2d: expected at least one group, got 0");
    says!(x.conv2d(w, Some(v), plain().groups(2)), "conv2d: expected a bias of shape [8], got [3]");
    says!(x.conv1d(w, None, plain()), "conv1d: expected an input of 2 or 3 axes (without or with a batch) and a weight of 3, got [2, 4, 6, 6] and [8, 2, 3, 3]");
    says!(x.conv2d(w, None, plain().groups(2).stride(0)), "conv2d: expected a stride of at least 1 for each of the windows' axes, at most 2, got [0, 0]");
    says!(x.conv2d(w, None, plain().groups(2).stride([1, 1, 1])), "conv2d: expected one stride, or one for each of 2 axes, got [1, 1, 1]");
    says!(x.conv2d(w, None, plain().groups(2).dilation(3)), "conv2d: expected an input that with its padding has at least 7 elements, got 6 along axis 2 of an input of [2, 4, 6, 6] and a weight of [8, 2, 3, 3]");
    says!(x.conv2d(w, None, plain().stride(2).padding(Padding::Same)), "conv2d: expected a stride of 1 with the padding that keeps sizes, got [2, 2]");
    says!(x.conv2d(&w.to(DType::F64), None, plain().groups(2)), "conv2d: expected two tensors of one number dtype, got f32 and f64; hint: convert one with .to(dtype)");
    says!(x.conv_transpose2d(w, None, plain()), "conv_transpose2d: expected a weight of shape [4, outputs/groups, …] for 4 channels, got [8, 2, 3, 3]");
    says!(x.conv_transpose2d(&w.narrow(0, 0, 4), None, plain().padding(5)), "conv_transpose2d: expected a result with elements, got an input of [2, 4, 6, 6] with a weight of [4, 2, 3, 3] and padding [5, 5] along axis 2");
    says!(x.conv_transpose2d(&w.narrow(0, 0, 4), None, plain().output_padding(1)), "conv_transpose2d: expected an output padding smaller than the stride or the dilation, got 1");
    says!(a.max_pool2d(2), "max_pool2d: expected 3 or 4 axes: channels and 2 more, without or with a batch, got shape [2, 3]");
    says!(x.max_pool2d(7), "max_pool2d: expected at least 7 elements along axis 0 of the windows, got 6 of shape [2, 4, 6, 6] with its padding");
    says!(x.max_pool2d(PoolOptions::new(2).padding(2)), "max_pool2d: expected a padding of at most half a window, got 2 for a window of 2");
    says!(x.max_pool2d(PoolOptions::new(2).stride(0)), "max_pool2d: expected windows, strides and dilations of at least 1, got sizes 2, strides [0, 0], dilations [1, 1]");
    says!(x.avg_pool2d(PoolOptions::new(2).dilation(2)), "avg_pool2d: expected a dilation of 1, got [2, 2]");
    says!(ints.reshape([1, 3]).avg_pool1d(2), "avg_pool1d: expected a float dtype (f16, bf16, f32, f64), got i64; hint: convert it first: .to(DType::F32)");
    says!(a.adaptive_avg_pool(&[0]), "adaptive_avg_pool: expected sizes of at least 1 for some of the last axes, which have elements, got sizes [0] for shape [2, 3]");
    says!(a.im2col(2), "im2col: expected batch, channels, and at least one more axis, got shape [2, 3]");
    says!(a.tensordot(a, [&[0], &[1]]), "tensordot: expected sizes that are equal along the axes [0] and [1], got shapes [2, 3] and [2, 3]");
    says!(a.tensordot(a, [&[0], &[]]), "tensordot: expected as many axes of one as of the other, got [0] and []");
    says!(a.tensordot(a, [&[2], &[0]]), "tensordot: expected an axis from -2 to 1, got 2");
    says!(Tensor::scalar(1.0).tensordot(a, [&[0], &[0]]), "tensordot: expected a tensor with at least one axis, got a 0-d tensor");
    says!(Tensor::einsum("ij,jk->ik", &[a]), "einsum: expected as many terms as tensors, with commas between, got `ij,jk->ik` for 1 tensors");
    says!(Tensor::einsum("ijk->k", &[a]), "einsum: expected `ijk` for a tensor of at least 3 axes, got [2, 3]");
    says!(Tensor::einsum("i->i", &[a]), "einsum: expected letters for 2 axes, got `i`");
    says!(Tensor::einsum("i1->i", &[a]), "einsum: expected letters and at most one `...`, got `i1`");
    says!(Tensor::einsum("ij->ijk", &[a]), "einsum: expected a result that names axes of the tensors, each once, got `ij->ijk`");
    says!(Tensor::einsum("ij,ij->ij", &[a, &a.t()]), "einsum: expected one size for each letter of `ij,ij->ij`, got shapes [[2, 3], [3, 2]]");
    says!(Tensor::einsum("ii->i", &[a]), "einsum: expected one size for both axes of a letter that stands twice, got 2 and 3 in [2, 3]");
}

#[test]
#[rustfmt::skip]
fn values() {
    let Given { a, b, v, ints, bools, scalar, leaf, other, spent } = &Given::new();
    let _all = (a, b, v, ints, bools, scalar, leaf, other, spent);
    says!(a.dropout(1.5), "dropout: expected a probability between 0 and 1, got 1.5");
    says!(Tensor::arange(0, 5, 0), "arange: expected a step other than 0, got start 0, end 5, step 0");
    says!(Tensor::arange(0, 5, -1), "arange: expected a step that leads from start to end, got start 0, end 5, step -1");
    says!(Tensor::randint(3, 3, [2]), "randint: expected 1 to 2^53 numbers from low to high, got 3 and 3");
    says!(Tensor::zeros([usize::MAX, 2]), "zeros: expected at most 1152921504606846975 elements, got [18446744073709551615, 2], whose number of elements overflows");
    says!(Tensor::zeros([1 << 40, 1 << 40]), "zeros: expected at most 1152921504606846975 elements, got [1099511627776, 1099511627776], whose number of elements overflows");
    says!(Tensor::ones([1 << 31]).outer(&Tensor::ones([1 << 33])), "outer: expected at most 1152921504606846975 elements, got [2147483648, 8589934592], whose number of elements overflows");
    says!(Tensor::ones([1 << 31, 1]) + Tensor::ones([1 << 33]), "add: expected at most 1152921504606846975 elements, got [2147483648, 8589934592], whose number of elements overflows");
    says!(Tensor::ones([1 << 31]).repeat(&[1 << 33]), "repeat: expected a shape that fits memory, got [8589934592]");
}

#[test]
#[rustfmt::skip]
fn gradients() {
    let Given { a, b, v, ints, bools, scalar, leaf, other, spent } = &Given::new();
    let _all = (a, b, v, ints, bools, scalar, leaf, other, spent);
    says!(ints.requires_grad_(), "requires_grad: expected a float dtype (f16, bf16, f32, f64), got i64; hint: convert the tensor first: .to(DType::F32)");
    says!((leaf * 2).set_requires_grad(false), "requires_grad: expected a leaf, got the result of a recorded operation; hint: use detach() for a tensor outside the graph");
    says!((leaf * 2).backward(), "backward: expected a tensor of one element, got shape [2]; hint: reduce it first, such as with sum(), or use backward_with(&gradient)");
    says!(a.sum().backward(), "backward: expected a tensor that depends on one that requires a gradient, got one that does not; hint: call requires_grad_() on the leaf, before it is used and outside of no_grad");
    says!(spent.backward(), "backward: expected a graph that no backward pass has used, got one whose saved values were freed by a backward pass; hint: give the first pass retain_graph");
    says!(leaf.sum().backward_with(a), "backward: expected a gradient of shape [], got [2, 3]");
    says!(leaf.set_grad(Some(v.clone().reshape([1, 3]))), "set_grad: expected shape [2] and dtype f32 on cpu, got shape [1, 3] and dtype f32 on cpu");
    says!(leaf.set_grad(Some(leaf.clone())), "set_grad: expected another tensor, got the tensor itself");
    says!(a.retain_grad(), "retain_grad: expected a tensor that requires a gradient, got one that does not");
    says!(a.register_hook(|_| None), "register_hook: expected a tensor that requires a gradient, got one that does not");
    says!((leaf * 1).register_post_accumulate_hook(|_| ()), "register_post_accumulate_hook: expected a leaf that requires a gradient, got another tensor");
    says!(leaf.add_(1), "add_: expected a leaf outside of recording, got a leaf that requires a gradient; hint: wrap the update in no_grad(|| …)");
    says!((leaf * 1).zero_(), "zero_: expected a leaf, got the result of a recorded operation; hint: use the operation without the underscore");
    says!(leaf.fill_(1), "fill_: expected a leaf outside of recording, got a leaf that requires a gradient; hint: wrap the update in no_grad(|| …)");
    says!(a.clone().add_(leaf), "add_: expected values outside of the graph, got values that require a gradient; hint: use the operation without the underscore, or wrap the update in no_grad(|| …)");
    says!(a.copy_(leaf), "copy_: expected values outside of the graph, got values that require a gradient; hint: use the operation without the underscore, or wrap the update in no_grad(|| …)");
    says!(v.add_(a), "add_: expected a result of shape [3], got [2, 3]");
    says!(ints.add_(0.5), "add_: expected a result that fits dtype i64, got f32");
    says!(grad(&[&(leaf * 2)], &[leaf], &[], GradOptions::default()), "grad: expected a tensor of one element, got shape [2]; hint: reduce it first, such as with sum(), or use backward_with(&gradient)");
    says!(grad(&[&leaf.sum()], &[a], &[], GradOptions::default()), "grad: expected inputs that require a gradient, got input number 0, which does not; hint: call requires_grad_() on it before it is used");
    says!(grad(&[&leaf.sum()], &[other], &[], GradOptions::default()), "grad: expected inputs that the outputs depend on, got input number 0, which was not used; hint: allow_unused gives None instead");
}

/// The operators' assigning forms, and values that are given away.
#[test]
#[rustfmt::skip]
fn operators() {
    let Given { a, b, v, ints, .. } = &Given::new();
    let _all = (v, ints);
    const SHAPES: &str = "expected shapes that broadcast, got [2, 3] and [2, 4], which differ at axis 1 (3 and 4); hint: aligned at the last axis, sizes must be equal or 1";
    let owned = || (a.clone(), b.clone());
    says!({ let (mut a, b) = owned(); a += b }, format!("add: {SHAPES}"));
    says!({ let (mut a, b) = owned(); a -= &b }, format!("sub: {SHAPES}"));
    says!({ let (mut a, b) = owned(); a *= b }, format!("mul: {SHAPES}"));
    says!({ let (mut a, b) = owned(); a /= b }, format!("div: {SHAPES}"));
    says!({ let (mut a, b) = owned(); a %= b }, format!("remainder: {SHAPES}"));
    says!({ let (a, b) = owned(); a - b }, format!("sub: {SHAPES}"));
    says!({ let (a, b) = owned(); a / &b }, format!("div: {SHAPES}"));
    says!({ let (a, b) = owned(); &a % b }, format!("remainder: {SHAPES}"));
    says!(3 << a, "bitwise_left_shift: expected an integer dtype (u8, i8, i16, i32, i64), got f32");
}

/// A second device of the reference's kind.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Numbered(&'static str);

impl Backend for Numbered {
    type Buffer = HostBuffer;
    fn info(&self) -> DeviceInfo {
        Reference.info()
    }
    fn label(&self) -> Cow<'static, str> {
        self.0.into()
    }
    fn alloc(&self, bytes: usize) -> Result<HostBuffer> {
        Reference.alloc(bytes)
    }
    fn write(&self, buffer: &mut HostBuffer, offset: usize, bytes: &[u8]) -> Result<()> {
        Reference.write(buffer, offset, bytes)
    }
    fn read(&self, buffer: &HostBuffer, offset: usize, bytes: &mut [u8]) -> Result<()> {
        Reference.read(buffer, offset, bytes)
    }
    fn size(&self, buffer: &HostBuffer) -> usize {
        Reference.size(buffer)
    }
    fn is_unique(&self, buffer: &mut HostBuffer) -> bool {
        Reference.is_unique(buffer)
    }
    fn is_same(&self, a: &HostBuffer, b: &HostBuffer) -> bool {
        Reference.is_same(a, b)
    }
}

#[test]
#[rustfmt::skip]
fn devices() {
    let on = |label| autograd::Tensor::from_slice_on(&Numbered(label), &[1.0_f32, 2.0], [2]);
    let (a, b) = (&on("reference:0"), &on("reference:1"));
    let places = &b.to(DType::I64);
    let mask = &b.gt(0);
    says!(a + b, "add: expected tensors on one device, got reference:0 and reference:1; hint: move one of them with .to(&device)");
    says!(a.maximum(b), "maximum: expected tensors on one device, got reference:0 and reference:1; hint: move one of them with .to(&device)");
    says!(a.eq(b), "eq: expected tensors on one device, got reference:0 and reference:1; hint: move one of them with .to(&device)");
    says!(a.dot(b), "dot: expected tensors on one device, got reference:0 and reference:1; hint: move one of them with .to(&device)");
    says!(autograd::Tensor::cat(&[a, b], 0), "cat: expected tensors on one device, got reference:0 and reference:1; hint: move one of them with .to(&device)");
    says!(autograd::Tensor::stack(&[a, b], 0), "stack: expected tensors on one device, got reference:0 and reference:1; hint: move one of them with .to(&device)");
    says!(mask.where_cond(a, a), "where: expected tensors on one device, got reference:1 and reference:0; hint: move one of them with .to(&device)");
    says!(a.masked_select(mask), "masked_select: expected tensors on one device, got reference:0 and reference:1; hint: move one of them with .to(&device)");
    says!(a.gather(0, places), "gather: expected tensors on one device, got reference:0 and reference:1; hint: move one of them with .to(&device)");
    says!(a.scatter(0, &a.to(DType::I64), b), "scatter: expected tensors on one device, got reference:0 and reference:1; hint: move one of them with .to(&device)");
    says!(a.index_select(0, places), "index_select: expected tensors on one device, got reference:0 and reference:1; hint: move one of them with .to(&device)");
    says!(a.i_set(.., b), "i_set: expected tensors on one device, got reference:0 and reference:1; hint: move one of them with .to(&device)");
    says!(a.add_(b), "add_: expected tensors on one device, got reference:0 and reference:1; hint: move one of them with .to(&device)");
    // What has no axis and is known may meet any device, and what must be moved can be.
    assert_eq!((a * autograd::Tensor::full_on(&Numbered("reference:1"), [], 3, DType::F32)).to_vec::<f32>(), [3.0, 6.0]);
    assert_eq!((a + b.to(&Numbered("reference:0"))).to_vec::<f32>(), [2.0, 4.0]);
}
