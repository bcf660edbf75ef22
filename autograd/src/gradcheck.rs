//! Checking gradients against finite differences.

use crate::func::{Inputs, Tensors, Trace, forward_jacobian, reverse_jacobian};
use crate::misuse::attempt;
use crate::mode::no_grad;
use crate::tensor::Tensor;
use std::fmt;
use tensor_core::{Array, Backend, DType, Error, Result, Shape};

/// How exactly gradients are checked. A derivative `a` passes beside a difference quotient `n` if
/// `|a − n| ≤ atol + rtol·|n|`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradcheckOptions {
    /// How far each input element is moved to either side.
    pub eps: f64,
    /// The absolute tolerance.
    pub atol: f64,
    /// The relative tolerance.
    pub rtol: f64,
    /// Whether forward mode is checked besides reverse mode.
    pub forward: bool,
}

impl Default for GradcheckOptions {
    /// PyTorch's values, and both modes.
    fn default() -> Self {
        Self { eps: 1e-6, atol: 1e-5, rtol: 1e-3, forward: true }
    }
}

/// Why a gradient check failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum GradcheckError {
    /// The check could not be made, or the function itself failed.
    Failed(Error),
    /// A derivative is wrong.
    Mismatch {
        /// `reverse` or `forward`.
        mode: &'static str,
        /// Which result of the function.
        output: usize,
        /// Which input.
        input: usize,
        /// The difference quotients: a row for each element of the input, a column for each of the result.
        numerical: String,
        /// The derivatives in the same form.
        analytical: String,
    },
    /// Two passes from the same gradients gave different ones.
    Nondeterministic {
        /// Which input's gradient.
        input: usize,
    },
}

impl fmt::Display for GradcheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::Mismatch { mode, output, input, numerical, analytical } => write!(
                f,
                "Jacobian mismatch for output {output} with respect to input {input} in {mode} mode,\n\
                 numerical:{numerical}\nanalytical:{analytical}"
            ),
            Self::Nondeterministic { input } => {
                write!(f, "gradcheck: two backward passes gave different gradients of input {input}")
            }
        }
    }
}

impl std::error::Error for GradcheckError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for GradcheckError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Compares a function's derivatives, in reverse and forward mode, with central finite differences. The inputs that require
/// gradients are checked, for every float result; they must be `F64`, because differences of shorter numbers say little.
///
/// ```
/// # use tensor_core::reference::Reference;
/// # type Tensor = autograd::Tensor<Reference>;
/// use autograd::{GradcheckOptions, gradcheck, with_gradient};
/// let x = Tensor::from([0.5_f64, 2.0]).requires_grad_();
/// gradcheck(|x| x.sin() * x, &x, GradcheckOptions::default()).unwrap();
///
/// let wrong = |x: &Tensor| with_gradient(&[x], |x| x[0] * 3, |_, g| vec![Some(g * 2)]);
/// let error = gradcheck(wrong, &x, GradcheckOptions::default()).unwrap_err().to_string();
/// assert!(error.starts_with("Jacobian mismatch for output 0 with respect to input 0"));
/// ```
///
/// # Errors
/// If a derivative is wrong, no input requires a gradient, one that does is not `F64`, or the function fails.
pub fn gradcheck<I, R, F>(f: F, inputs: I, options: GradcheckOptions) -> Result<(), GradcheckError>
where
    I: Inputs,
    R: Tensors<Backend = I::Backend>,
    F: Fn(&I::Given) -> R,
{
    check("gradcheck", &|list| f(I::given(list)).to_list(), &inputs.to_list(), &options)
}

/// [`gradcheck`] of a function's gradient, as a function of the inputs and of the gradients of the results: it says whether
/// second derivatives are right. The gradients of the results are random, the same every time.
///
/// ```
/// # use tensor_core::reference::Reference;
/// # type Tensor = autograd::Tensor<Reference>;
/// let x = Tensor::from([0.5_f64, 2.0]).requires_grad_();
/// autograd::gradgradcheck(|x| x.sin() * x, &x, Default::default()).unwrap();
/// ```
///
/// # Errors
/// As [`gradcheck`].
pub fn gradgradcheck<I, R, F>(f: F, inputs: I, options: GradcheckOptions) -> Result<(), GradcheckError>
where
    I: Inputs,
    R: Tensors<Backend = I::Backend>,
    F: Fn(&I::Given) -> R,
{
    let op = "gradgradcheck";
    let f = |list: &[Tensor<I::Backend>]| f(I::given(list)).to_list();
    let inputs = inputs.to_list();
    let checked = checked(op, &inputs)?;
    let results = attempt(|| no_grad(|| f(&inputs)))?;
    let differentiable: Vec<usize> = (0..results.len()).filter(|&place| results[place].dtype().is_float()).collect();
    let mut all = inputs.clone();
    for &place in &differentiable {
        all.push(random_like(&results[place], place as u64)?.requires_grad_());
    }
    let gradient = |list: &[Tensor<I::Backend>]| {
        let (given, gradients) = list.split_at(inputs.len());
        let varied: Vec<Tensor<I::Backend>> = checked.iter().map(|&place| given[place].clone()).collect();
        let pulled = Trace::run(op, |varied| f(&replaced(given, &checked, varied)), &varied).and_then(|trace| {
            let mut cotangents: Vec<Tensor<I::Backend>> = trace.outputs().iter().map(Tensor::zeros_like).collect();
            for (&place, gradient) in differentiable.iter().zip(gradients) {
                cotangents[place] = gradient.clone();
            }
            trace.pull(&cotangents, false)
        });
        crate::misuse::ok(pulled)
    };
    check(op, &gradient, &all, &options)
}

/// The places of the inputs to check.
fn checked<B: Backend>(op: &'static str, inputs: &[Tensor<B>]) -> Result<Vec<usize>> {
    let checked: Vec<usize> = (0..inputs.len()).filter(|&place| inputs[place].requires_grad()).collect();
    if checked.is_empty() {
        return Err(Error::gradient(op, "at least one input that requires a gradient", "none that does")
            .hint("call requires_grad_() on the inputs to check"));
    }
    if let Some(&place) = checked.iter().find(|&&place| inputs[place].dtype() != DType::F64) {
        return Err(Error::dtype(
            op,
            "inputs of dtype f64",
            format!("{} as input number {place}", inputs[place].dtype()),
        )
        .hint("differences of shorter floats are too rough: convert with .to(DType::F64) before requires_grad_()"));
    }
    Ok(checked)
}

/// The inputs with those at some places replaced.
fn replaced<B: Backend>(inputs: &[Tensor<B>], places: &[usize], by: &[Tensor<B>]) -> Vec<Tensor<B>> {
    let mut inputs = inputs.to_vec();
    for (&place, tensor) in places.iter().zip(by) {
        inputs[place] = tensor.clone();
    }
    inputs
}

/// Random numbers between −1 and 1 of a tensor's shape and dtype.
fn random_like<B: Backend>(like: &Tensor<B>, stream: u64) -> Result<Tensor<B>> {
    let uniform = Array::rand(&like.device(), 0, stream, &like.checked_shape(), like.dtype())?;
    Ok(Tensor::from_array(uniform.mul(2.0)?.sub(1.0)?))
}

type Function<'a, B> = &'a dyn Fn(&[Tensor<B>]) -> Vec<Tensor<B>>;

fn check<B: Backend>(
    op: &'static str,
    f: Function<'_, B>,
    inputs: &[Tensor<B>],
    options: &GradcheckOptions,
) -> Result<(), GradcheckError> {
    let places = checked(op, inputs)?;
    let inputs: Vec<Tensor<B>> = inputs.iter().map(Tensor::detach).collect();
    let varied: Vec<Tensor<B>> = places.iter().map(|&place| inputs[place].clone()).collect();
    let f = |varied: &[Tensor<B>]| f(&replaced(&inputs, &places, varied));
    let trace = attempt(|| Trace::run(op, f, &varied)).flatten()?;
    let outputs: Vec<usize> =
        (0..trace.outputs().len()).filter(|&place| trace.outputs()[place].dtype().is_float()).collect();

    let cotangents: Vec<Tensor<B>> =
        trace.outputs().iter().map(|output| random_of(output)).collect::<Result<Vec<_>>>()?;
    let (first, second) = (trace.pull(&cotangents, true)?, trace.pull(&cotangents, true)?);
    for (number, (a, b)) in first.iter().zip(&second).enumerate() {
        let bits = |tensor: &Tensor<B>| tensor.to_vec::<f64>().into_iter().map(f64::to_bits).collect::<Vec<_>>();
        if bits(a) != bits(b) {
            return Err(GradcheckError::Nondeterministic { input: places[number] });
        }
    }

    let mut reverse = Vec::new();
    for &output in &outputs {
        reverse.push(attempt(|| reverse_jacobian(&trace, output)).flatten()?);
    }
    for (number, &place) in places.iter().enumerate() {
        let numerical = attempt(|| differences(&f, &varied, number, &outputs, options.eps)).flatten()?;
        let forward = match options.forward {
            true => Some(attempt(|| forward_jacobian(&trace, number)).flatten()?),
            false => None,
        };
        for (slot, &output) in outputs.iter().enumerate() {
            let size = (varied[number].numel(), trace.outputs()[output].numel());
            let pair = Compared { output, input: place, size, numerical: &numerical[slot], options };
            pair.with("reverse", &reverse[slot][number])?;
            if let Some(forward) = &forward {
                pair.with("forward", &forward[output])?;
            }
        }
    }
    Ok(())
}

fn random_of<B: Backend>(output: &Tensor<B>) -> Result<Tensor<B>> {
    if output.dtype().is_float() { random_like(output, 1 << 32) } else { Ok(output.zeros_like()) }
}

/// The difference quotients of some results with respect to one input: for each result a row for each input element.
fn differences<B: Backend>(
    f: &impl Fn(&[Tensor<B>]) -> Vec<Tensor<B>>,
    inputs: &[Tensor<B>],
    number: usize,
    outputs: &[usize],
    eps: f64,
) -> Result<Vec<Vec<f64>>> {
    let input = &inputs[number];
    let (device, shape) = (input.device(), input.checked_shape());
    let mut values = input.to_vec::<f64>();
    let mut result: Vec<Vec<f64>> = vec![Vec::new(); outputs.len()];
    for element in 0..values.len() {
        let held = values[element];
        let mut at = |value: f64| -> Result<Vec<Vec<f64>>> {
            values[element] = value;
            let mut moved = inputs.to_vec();
            moved[number] = Tensor::from_array(Array::from_slice(&device, &values, &shape)?);
            let list = no_grad(|| f(&moved));
            Ok(outputs.iter().map(|&output| list[output].to_dtype(DType::F64).to_vec::<f64>()).collect())
        };
        let (above, below) = (at(held + eps)?, at(held - eps)?);
        values[element] = held;
        for (rows, (above, below)) in result.iter_mut().zip(above.iter().zip(&below)) {
            rows.extend(above.iter().zip(below).map(|(above, below)| (above - below) / (2.0 * eps)));
        }
    }
    Ok(result)
}

/// Difference quotients to compare derivatives with.
struct Compared<'a> {
    output: usize,
    input: usize,
    /// The numbers of elements of the input and of the result.
    size: (usize, usize),
    numerical: &'a [f64],
    options: &'a GradcheckOptions,
}

impl Compared<'_> {
    fn with<B: Backend>(&self, mode: &'static str, jacobian: &Tensor<B>) -> Result<(), GradcheckError> {
        let (rows, columns) = self.size;
        // The Jacobian has the result's axes first.
        let matrix = |array: Array<B>, shape: [usize; 2]| array.reshape(&Shape::new(shape)?);
        let analytical = matrix(jacobian.array().cast(DType::F64)?, [columns, rows])?.transpose(0, 1)?;
        let same = |(a, n): (&f64, &f64)| (a - n).abs() <= self.options.atol + self.options.rtol * n.abs();
        if analytical.to_vec::<f64>()?.iter().zip(self.numerical).all(same) {
            return Ok(());
        }
        let numerical = Array::from_slice(analytical.backend(), self.numerical, [rows, columns])?;
        let text = |array| Tensor::from_array(array).to_string();
        Err(GradcheckError::Mismatch {
            mode,
            output: self.output,
            input: self.input,
            numerical: text(numerical),
            analytical: text(analytical),
        })
    }
}
