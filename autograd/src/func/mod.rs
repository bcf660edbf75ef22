//! Derivatives of functions: what `torch.func` and JAX offer, for Rust closures.
//!
//! | function | gives |
//! |---|---|
//! | [`grad_of`], [`value_and_grad`] | the gradient of a function with one number as its result |
//! | [`vjp`] | gradients of the inputs from gradients of the results (reverse mode) |
//! | [`jvp`], [`linearize`] | tangents of the results from tangents of the inputs (forward mode) |
//! | [`jacobian`], [`jacfwd`] | all partial derivatives: a reverse pass for each result element, or a forward pass for each input element |
//! | [`hessian`], [`hvp`] | all second derivatives, or their product with a vector |
//!
//! All nest: the gradient of a gradient is `grad_of(|x| grad_of(f, x), &x)`. Inputs need no `requires_grad_`, nothing
//! reaches any `.grad`, and [`no_grad`](crate::no_grad) around a transform does not switch it off. Inputs are `&x`,
//! `[&x, &y]` or a slice; the function is given a tensor, an array or a slice in the same way, and derivatives come back in
//! that form. Other tensors that the function captures are constants to it; if they require gradients, the derivatives
//! depend on them and can be differentiated with respect to them.
//!
//! An input that the result does not depend on gets zeros. A function whose result depends on none of its inputs at all is
//! refused: far more often than a constant it is a gradient taken without `create_graph`, or a stray `detach`.

mod structure;
mod trace;

pub use structure::{Inputs, Tensors};
pub(crate) use trace::Trace;

use crate::misuse::ok;
use crate::tensor::Tensor;
use std::fmt;
use std::marker::PhantomData;
use tensor_core::{Array, Backend, Error, Result, Shape};

/// The gradient of a function whose result is one number, with respect to its inputs.
///
/// ```
/// # use tensor_core::reference::Reference;
/// # type Tensor = autograd::Tensor<Reference>;
/// use autograd::grad_of;
/// let x = Tensor::scalar(2.0);
/// assert_eq!(grad_of(|x| x.powi(5), &x).item(), 80.0);
/// // Of any order:
/// assert_eq!(grad_of(|x| grad_of(|x| x.powi(5), x), &x).item(), 160.0);
/// // Of several inputs:
/// let [dx, dy] = grad_of(|[x, y]| x * x * y, [&x, &Tensor::scalar(3.0)]);
/// assert_eq!((dx.item(), dy.item()), (12.0, 4.0));
/// ```
///
/// # Panics
/// If an input is no float, or the result has more than one element, is no float, or depends on no input.
#[track_caller]
pub fn grad_of<I, F>(f: F, inputs: I) -> I::Owned
where
    I: Inputs,
    F: FnOnce(&I::Given) -> Tensor<I::Backend>,
{
    I::Owned::from_list(ok(gradients("grad_of", |list| f(I::given(list)), &inputs.to_list())).1)
}

/// The result of a function and its gradient: [`grad_of`] with the value that it computes anyway.
///
/// ```
/// # use tensor_core::reference::Reference;
/// # type Tensor = autograd::Tensor<Reference>;
/// let (y, slope) = autograd::value_and_grad(|x| x.powi(3), &Tensor::scalar(2.0));
/// assert_eq!((y.item(), slope.item()), (8.0, 12.0));
/// ```
///
/// # Panics
/// As [`grad_of`].
#[track_caller]
pub fn value_and_grad<I, F>(f: F, inputs: I) -> (Tensor<I::Backend>, I::Owned)
where
    I: Inputs,
    F: FnOnce(&I::Given) -> Tensor<I::Backend>,
{
    let (value, list) = ok(gradients("value_and_grad", |list| f(I::given(list)), &inputs.to_list()));
    (value, I::Owned::from_list(list))
}

fn gradients<B: Backend>(
    op: &'static str,
    f: impl FnOnce(&[Tensor<B>]) -> Tensor<B>,
    inputs: &[Tensor<B>],
) -> Result<(Tensor<B>, Vec<Tensor<B>>)> {
    let trace = Trace::new(op, |list| vec![f(list)], inputs)?;
    let output = &trace.outputs()[0];
    if output.numel() != 1 {
        return Err(Error::gradient(
            op,
            "a function whose result has one element",
            format!("a result of shape {:?}", output.shape()),
        )
        .hint("use jacobian or vjp, or reduce the result, such as with sum()"));
    }
    let list = trace.pull(&[output.ones_like()], false)?;
    Ok((trace.values().remove(0), list))
}

/// The results of a function, and what turns gradients of the results into gradients of the inputs: reverse mode.
///
/// ```
/// # use tensor_core::reference::Reference;
/// # type Tensor = autograd::Tensor<Reference>;
/// let x = Tensor::from([2.0_f32, 3.0]);
/// let (y, pullback) = autograd::vjp(|x| x * x, &x);
/// assert_eq!(y.to_vec::<f32>(), [4.0, 9.0]);
/// assert_eq!(pullback.pull(&Tensor::from([1.0_f32, 10.0])).to_vec::<f32>(), [4.0, 60.0]);
/// ```
///
/// # Panics
/// If an input is no float, or no result depends on an input.
#[track_caller]
pub fn vjp<I, R, F>(f: F, inputs: I) -> (R, Pullback<I::Owned, R>)
where
    I: Inputs,
    R: Tensors<Backend = I::Backend>,
    F: FnOnce(&I::Given) -> R,
{
    let trace = ok(Trace::new("vjp", |list| f(I::given(list)).to_list(), &inputs.to_list()));
    (R::from_list(trace.values()), Pullback { trace, form: PhantomData })
}

/// What [`vjp`] gives: the way from gradients of the results back to gradients of the inputs. It can be gone any number of
/// times.
pub struct Pullback<I: Tensors, R: Tensors<Backend = I::Backend>> {
    trace: Trace<I::Backend>,
    form: PhantomData<fn(R) -> I>,
}

impl<I: Tensors, R: Tensors<Backend = I::Backend>> Pullback<I, R> {
    /// The gradients of the inputs from those of the results. Gradients of results without one, such as indices, are
    /// ignored.
    ///
    /// # Panics
    /// If number, shapes or devices of the gradients are not those of the results.
    #[track_caller]
    pub fn pull(&self, gradients: &R) -> I {
        I::from_list(ok(self.trace.pull(&gradients.to_list(), true)))
    }
}

impl<I: Tensors, R: Tensors<Backend = I::Backend>> fmt::Debug for Pullback<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pullback").field("results", &self.trace.outputs()).finish_non_exhaustive()
    }
}

/// The results of a function, and their derivative in the direction of the tangents: forward mode, at about the price of
/// two evaluations, however many elements the results have.
///
/// ```
/// # use tensor_core::reference::Reference;
/// # type Tensor = autograd::Tensor<Reference>;
/// let (x, y) = (Tensor::scalar(2.0), Tensor::scalar(3.0));
/// let (one, ten) = (Tensor::scalar(1.0), Tensor::scalar(10.0));
/// let (value, slope) = autograd::jvp(|[x, y]| x * y, [&x, &y], [&one, &ten]);
/// assert_eq!((value.item(), slope.item()), (6.0, 23.0));
/// ```
///
/// # Panics
/// If an input is no float, no result depends on an input, or shapes or devices of the tangents are not those of the inputs.
#[track_caller]
pub fn jvp<I, R, F>(f: F, inputs: I, tangents: I) -> (R, R)
where
    I: Inputs,
    R: Tensors<Backend = I::Backend>,
    F: FnOnce(&I::Given) -> R,
{
    let trace = ok(Trace::new("jvp", |list| f(I::given(list)).to_list(), &inputs.to_list()));
    let moved = ok(trace.push(&tangents.to_list()));
    (R::from_list(trace.values()), R::from_list(moved))
}

/// The results of a function, and what turns tangents of the inputs into tangents of the results: [`jvp`] for many tangents
/// at one place, running the function once.
///
/// ```
/// # use tensor_core::reference::Reference;
/// # type Tensor = autograd::Tensor<Reference>;
/// let (y, pushforward) = autograd::linearize(|x| x.powi(3), &Tensor::scalar(2.0));
/// assert_eq!(y.item(), 8.0);
/// assert_eq!(pushforward.push(&Tensor::scalar(1.0)).item(), 12.0);
/// assert_eq!(pushforward.push(&Tensor::scalar(10.0)).item(), 120.0);
/// ```
///
/// # Panics
/// If an input is no float, or no result depends on an input.
#[track_caller]
pub fn linearize<I, R, F>(f: F, inputs: I) -> (R, Pushforward<I::Owned, R>)
where
    I: Inputs,
    R: Tensors<Backend = I::Backend>,
    F: FnOnce(&I::Given) -> R,
{
    let trace = ok(Trace::new("linearize", |list| f(I::given(list)).to_list(), &inputs.to_list()));
    (R::from_list(trace.values()), Pushforward { trace, form: PhantomData })
}

/// What [`linearize`] gives: the way from tangents of the inputs to tangents of the results. It can be gone any number of
/// times.
pub struct Pushforward<I: Tensors, R: Tensors<Backend = I::Backend>> {
    trace: Trace<I::Backend>,
    form: PhantomData<fn(I) -> R>,
}

impl<I: Tensors, R: Tensors<Backend = I::Backend>> Pushforward<I, R> {
    /// The tangents of the results from those of the inputs.
    ///
    /// # Panics
    /// If number, shapes or devices of the tangents are not those of the inputs.
    #[track_caller]
    pub fn push(&self, tangents: &I) -> R {
        R::from_list(ok(self.trace.push(&tangents.to_list())))
    }
}

impl<I: Tensors, R: Tensors<Backend = I::Backend>> fmt::Debug for Pushforward<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pushforward").field("results", &self.trace.outputs()).finish_non_exhaustive()
    }
}

/// All partial derivatives of a function by reverse mode, one pass for each element of the result: for each input a tensor
/// of the result's shape followed by the input's. The right choice where the result is smaller than the inputs.
///
/// ```
/// # use tensor_core::reference::Reference;
/// # type Tensor = autograd::Tensor<Reference>;
/// let x = Tensor::from([2.0_f32, 3.0]);
/// assert_eq!(autograd::jacobian(|x| x * x, &x).to_vec::<f32>(), [4.0, 0.0, 0.0, 6.0]);
/// ```
///
/// # Panics
/// If an input is no float, or the result does not depend on an input.
#[track_caller]
pub fn jacobian<I, F>(f: F, inputs: I) -> I::Owned
where
    I: Inputs,
    F: FnOnce(&I::Given) -> Tensor<I::Backend>,
{
    let trace = ok(Trace::new("jacobian", |list| vec![f(I::given(list))], &inputs.to_list()));
    I::Owned::from_list(ok(reverse_jacobian(&trace, 0)))
}

/// All partial derivatives of a function by forward mode, one pass for each element of the inputs. As [`jacobian`], and the
/// right choice where the inputs are smaller than the result.
///
/// # Panics
/// If an input is no float, or the result does not depend on an input.
#[track_caller]
pub fn jacfwd<I, F>(f: F, inputs: I) -> I::Owned
where
    I: Inputs,
    F: FnOnce(&I::Given) -> Tensor<I::Backend>,
{
    let trace = ok(Trace::new("jacfwd", |list| vec![f(I::given(list))], &inputs.to_list()));
    let columns = (0..trace.inputs().len()).map(|place| forward_jacobian(&trace, place).map(|mut list| list.remove(0)));
    I::Owned::from_list(ok(columns.collect()))
}

/// All second derivatives of a function whose result is one number: for each pair of inputs a tensor of the first one's
/// shape followed by the second one's.
///
/// ```
/// # use tensor_core::reference::Reference;
/// # type Tensor = autograd::Tensor<Reference>;
/// let x = Tensor::from([2.0_f32, 3.0]);
/// let h = autograd::hessian(|x| x.powi(3).sum() + x.prod(), &x);
/// assert_eq!(h.to_vec::<f32>(), [12.0, 1.0, 1.0, 18.0]);
/// ```
///
/// # Panics
/// As [`grad_of`].
#[track_caller]
pub fn hessian<I, F>(f: F, inputs: I) -> I::Blocks
where
    I: Inputs,
    F: FnOnce(&I::Given) -> Tensor<I::Backend>,
{
    let trace = ok(gradient_trace("hessian", |list| f(I::given(list)), &inputs.to_list()));
    let rows = (0..trace.outputs().len()).map(|place| reverse_jacobian(&trace, place));
    I::blocks(ok(rows.collect()))
}

/// The product of [`hessian`] and a vector, without computing the former: forward mode over reverse mode, at a few times the
/// price of the function.
///
/// ```
/// # use tensor_core::reference::Reference;
/// # type Tensor = autograd::Tensor<Reference>;
/// let x = Tensor::from([2.0_f32, 3.0]);
/// let v = Tensor::from([1.0_f32, 10.0]);
/// assert_eq!(autograd::hvp(|x| x.powi(3).sum(), &x, &v).to_vec::<f32>(), [12.0, 180.0]);
/// ```
///
/// # Panics
/// As [`grad_of`], and if shapes or devices of the vectors are not those of the inputs.
#[track_caller]
pub fn hvp<I, F>(f: F, inputs: I, vectors: I) -> I::Owned
where
    I: Inputs,
    F: FnOnce(&I::Given) -> Tensor<I::Backend>,
{
    let trace = ok(gradient_trace("hvp", |list| f(I::given(list)), &inputs.to_list()));
    I::Owned::from_list(ok(trace.push(&vectors.to_list())))
}

/// The run of a function's gradient.
fn gradient_trace<B: Backend>(
    op: &'static str,
    f: impl FnOnce(&[Tensor<B>]) -> Tensor<B>,
    inputs: &[Tensor<B>],
) -> Result<Trace<B>> {
    let mut failed = None;
    let trace = Trace::new(
        op,
        |list| match gradients(op, f, list) {
            Ok((_, gradients)) => gradients,
            Err(error) => {
                failed = Some(error);
                Vec::new()
            }
        },
        inputs,
    );
    match failed {
        Some(error) => Err(error),
        None => trace,
    }
}

/// The derivatives of one result with respect to every input.
pub(crate) fn reverse_jacobian<B: Backend>(trace: &Trace<B>, result: usize) -> Result<Vec<Tensor<B>>> {
    let mut gradients: Vec<Tensor<B>> = trace.outputs().iter().map(Tensor::zeros_like).collect();
    let mut rows: Vec<Vec<Tensor<B>>> = trace.inputs().iter().map(|_| Vec::new()).collect();
    for unit in units(&trace.outputs()[result])? {
        gradients[result] = unit;
        for (rows, row) in rows.iter_mut().zip(trace.pull(&gradients, true)?) {
            rows.push(row);
        }
    }
    let output = &trace.outputs()[result];
    rows.iter().zip(trace.inputs()).map(|(rows, input)| joined(rows, 0, output, input)).collect()
}

/// The derivatives of every result with respect to one input.
pub(crate) fn forward_jacobian<B: Backend>(trace: &Trace<B>, input: usize) -> Result<Vec<Tensor<B>>> {
    let mut tangents: Vec<Tensor<B>> = trace.inputs().iter().map(Tensor::zeros_like).collect();
    let mut columns: Vec<Vec<Tensor<B>>> = trace.outputs().iter().map(|_| Vec::new()).collect();
    for unit in units(&trace.inputs()[input])? {
        tangents[input] = unit;
        for (columns, column) in columns.iter_mut().zip(trace.push(&tangents)?) {
            columns.push(column);
        }
    }
    let input = &trace.inputs()[input];
    columns.iter().zip(trace.outputs()).map(|(columns, output)| joined(columns, -1, output, input)).collect()
}

/// For each element of a tensor one of its shape that is 1 there and 0 elsewhere.
fn units<B: Backend>(like: &Tensor<B>) -> Result<impl Iterator<Item = Tensor<B>>> {
    let (shape, count) = (like.checked_shape(), like.numel());
    let eye = Tensor::from_array(Array::eye(&like.device(), count, count, like.dtype())?);
    Ok((0..count).map(move |place| eye.select(0, place as isize).reshape_to(&shape)))
}

/// Slices of a Jacobian as one tensor of the output's shape followed by the input's.
fn joined<B: Backend>(slices: &[Tensor<B>], axis: isize, output: &Tensor<B>, input: &Tensor<B>) -> Result<Tensor<B>> {
    let dims: Vec<usize> = output.shape().into_iter().chain(input.shape()).collect();
    let shape = Shape::new(&dims)?;
    if slices.is_empty() {
        return Ok(Tensor::zeros_of(&input.device(), &shape, input.dtype()));
    }
    let slices: Vec<&Tensor<B>> = slices.iter().collect();
    Tensor::stack(&slices, axis).try_reshape_to(&shape)
}
