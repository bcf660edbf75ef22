//! What works on whole rows: norms, variance, the logarithm of a sum of exponentials, gradients of softmax.
//!
//! Each is a [computation over rows](crate::rows), so that a row is read from memory once. A row is all elements along some
//! axes. f16 and bf16 are computed in f32.

use super::{Array, lazy};
use crate::backend::{ReduceOp, View, ViewMut};
use crate::op::{BinaryOp, Takes, TernaryOp, UnaryOp};
use crate::program::{MAX_INPUTS, Reg};
use crate::rows::{RowKind, RowSpec, RowStep};
use crate::{Backend, DType, Dims, Error, Layout, Program, Result, Scalar, Shape};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::sync::Arc;

/// Operands with more inputs or instructions pending are computed first: a row's steps would compute them again and again, and
/// two operands leave room for four numbers of rows in a program.
const FEW_INPUTS: usize = 2;
const FEW_INSTRUCTIONS: usize = 12;

impl<B: Backend> Array<B> {
    /// Rows with mean 0 and variance 1: `(x − mean) / √(variance + eps)`; if they are not centred, `x / √(mean of x² + eps)`.
    ///
    /// # Errors
    /// If an axis does not exist or is named twice, the dtype is no float, or the device fails.
    pub fn normalize(&self, axes: &[isize], centred: bool, eps: f64) -> Result<Self> {
        let op = if centred { "layer_norm" } else { "rms_norm" };
        let Some((mut rows, [x])) = Rows::new([self], axes, op)? else { return Ok(self.clone()) };
        rows.write(Recipe::Norm { centred, eps: eps.to_bits() }, |rows| {
            let norm = rows.norm(x, centred, eps);
            rows.elements(|step| norm.value(step));
        });
        rows.result(false)
    }

    /// The gradient of [`normalize`](Self::normalize) from that of its result: `r·(g − mean of g − y·mean of g·y)`, where `y` is
    /// the result and `r` what it was scaled with; without the mean of g if rows are not centred.
    ///
    /// # Errors
    /// As [`normalize`](Self::normalize), or if the gradient's shape is another one.
    pub fn normalize_grad(&self, gradient: &Self, axes: &[isize], centred: bool, eps: f64) -> Result<Self> {
        let op = if centred { "layer_norm" } else { "rms_norm" };
        let Some((mut rows, [x, g])) = Rows::new([self, gradient], axes, op)? else { return Ok(self.clone()) };
        rows.write(Recipe::NormGradient { centred, eps: eps.to_bits() }, |rows| {
            let norm = rows.norm(x, centred, eps);
            let mean = centred.then(|| rows.mean(|step| step.value(g)));
            let along = rows.mean(|step| {
                let (g, y) = (step.value(g), norm.value(step));
                step.binary(BinaryOp::Mul, g, y)
            });
            rows.elements(|step| {
                let (g, y, along) = (step.value(g), norm.value(step), step.value(along));
                let centred = match mean {
                    Some(mean) => {
                        let mean = step.value(mean);
                        step.binary(BinaryOp::Sub, g, mean)
                    }
                    None => g,
                };
                let share = step.binary(BinaryOp::Mul, y, along);
                let rest = step.binary(BinaryOp::Sub, centred, share);
                let scale = step.value(norm.scale);
                step.binary(BinaryOp::Mul, rest, scale)
            });
        });
        rows.result(false)
    }

    /// The variance of each row, its sum of squares divided by `n − correction`; ∞ or NaN where that is not above 0.
    ///
    /// # Errors
    /// As [`normalize`](Self::normalize).
    pub fn variance(&self, axes: &[isize], correction: usize, keepdim: bool) -> Result<Self> {
        let Some((mut rows, [x])) = Rows::new([self], axes, "var")? else {
            return Err(Error::shape("var", "elements", format!("shape {}", self.shape())));
        };
        rows.write(Recipe::Variance { correction }, |rows| {
            let mean = rows.mean(|step| step.value(x));
            let squares = rows.reduce(ReduceOp::Sum, |step| {
                let centred = step.difference(x, mean);
                step.unary(UnaryOp::Square, centred)
            });
            let count = rows.length().saturating_sub(correction) as f64;
            rows.numbers(|step| {
                let (squares, count) = (step.value(squares), step.scalar(count));
                let result = step.binary(BinaryOp::Div, squares, count);
                step.narrow(result)
            });
        });
        rows.result(keepdim)
    }

    /// The gradient of [`variance`](Self::variance) from that of its result, which is spread over this array's shape:
    /// `g·2·(x − mean)/(n − correction)`.
    ///
    /// # Errors
    /// As [`normalize_grad`](Self::normalize_grad).
    pub fn variance_grad(&self, gradient: &Self, axes: &[isize], correction: usize) -> Result<Self> {
        let Some((mut rows, [x, g])) = Rows::new([self, gradient], axes, "var")? else { return Ok(self.clone()) };
        rows.write(Recipe::VarianceGradient { correction }, |rows| {
            let mean = rows.mean(|step| step.value(x));
            let slope = 2.0 / rows.length().saturating_sub(correction) as f64;
            rows.elements(|step| {
                let (centred, g, slope) = (step.difference(x, mean), step.value(g), step.scalar(slope));
                let scaled = step.binary(BinaryOp::Mul, g, slope);
                step.binary(BinaryOp::Mul, centred, scaled)
            });
        });
        rows.result(false)
    }

    /// `ln Σ eˣ` of each row, without overflow.
    ///
    /// # Errors
    /// As [`normalize`](Self::normalize), or if rows have no elements.
    pub fn logsumexp(&self, axes: &[isize], keepdim: bool) -> Result<Self> {
        let Some((mut rows, [x])) = Rows::new([self], axes, "logsumexp")? else {
            return Err(Error::shape("logsumexp", "elements", format!("shape {}", self.shape())));
        };
        rows.write(Recipe::LogSumExp, |rows| {
            let largest = rows.reduce(ReduceOp::Max, |step| step.value(x));
            // An infinite largest is not subtracted: ∞ − ∞ is no number.
            let top = rows.numbers(|step| {
                let (largest, zero) = (step.value(largest), step.scalar(0.0));
                let finite = step.unary(UnaryOp::IsFinite, largest);
                step.program.ternary(TernaryOp::Where, finite, largest, zero)
            });
            let total = rows.reduce(ReduceOp::Sum, |step| {
                let shifted = step.difference(x, top);
                step.unary(UnaryOp::Exp, shifted)
            });
            rows.numbers(|step| {
                let (total, top) = (step.value(total), step.value(top));
                let log = step.unary(UnaryOp::Log, total);
                let result = step.binary(BinaryOp::Add, log, top);
                step.narrow(result)
            });
        });
        rows.result(keepdim)
    }

    /// The gradient of [`softmax`](Self::softmax) from its result, which this is, and that of its result: `y·(g − Σ g·y)`; with
    /// the logarithm `g − eʸ·Σ g`.
    ///
    /// # Errors
    /// As [`normalize_grad`](Self::normalize_grad).
    pub fn softmax_grad(&self, gradient: &Self, axis: isize, log: bool) -> Result<Self> {
        let op = if log { "log_softmax" } else { "softmax" };
        let Some((mut rows, [y, g])) = Rows::new([self, gradient], &[axis], op)? else { return Ok(self.clone()) };
        rows.write(Recipe::SoftmaxGradient { log }, |rows| {
            let total = rows.reduce(ReduceOp::Sum, |step| {
                let g = step.value(g);
                if log {
                    return g;
                }
                let y = step.value(y);
                step.binary(BinaryOp::Mul, g, y)
            });
            rows.elements(|step| {
                if log {
                    let (g, y, total) = (step.value(g), step.value(y), step.value(total));
                    let share = step.unary(UnaryOp::Exp, y);
                    let share = step.binary(BinaryOp::Mul, share, total);
                    return step.binary(BinaryOp::Sub, g, share);
                }
                let (rest, y) = (step.difference(g, total), step.value(y));
                step.binary(BinaryOp::Mul, y, rest)
            });
        });
        rows.result(false)
    }
}

/// What steps are written for, with all that they depend on beside operands, dtype and a row's length. Floats by their bits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Recipe {
    Norm { centred: bool, eps: u64 },
    NormGradient { centred: bool, eps: u64 },
    Variance { correction: usize },
    VarianceGradient { correction: usize },
    LogSumExp,
    SoftmaxGradient { log: bool },
}

type Steps = SmallVec<[RowStep; 8]>;

/// So many lists of steps a thread keeps: those of the layers of a model.
const KEPT: usize = 16;

thread_local! {
    /// Steps over operands in memory, the latest first. To write them takes longer than to launch what they say.
    static WRITTEN: RefCell<Vec<((Recipe, DType, usize), Steps)>> = const { RefCell::new(Vec::new()) };
}

/// A value that steps read: an operand, or an earlier step's.
#[derive(Clone, Copy)]
enum Value {
    Operand(usize),
    Step(usize),
}

/// What a row's elements are normalised with.
#[derive(Clone, Copy)]
struct Norm {
    x: Value,
    /// Without one, rows are not centred.
    mean: Option<Value>,
    scale: Value,
}

impl Norm {
    /// The normalised element.
    fn value<B: Backend>(&self, step: &mut Step<'_, B>) -> Reg {
        let centred = match self.mean {
            Some(mean) => step.difference(self.x, mean),
            None => step.value(self.x),
        };
        let scale = step.value(self.scale);
        step.binary(BinaryOp::Mul, centred, scale)
    }
}

/// A computation over rows that is being put together, or waits.
pub(super) struct Rows<B: Backend> {
    backend: B,
    shape: Shape,
    axes: Dims<usize>,
    /// The dtype of operands and result.
    dtype: DType,
    /// Whether the operands are single numbers, which count as rows of one element.
    is_scalar: bool,
    /// What is read from memory.
    inputs: SmallVec<[(B::Buffer, Layout, DType); 4]>,
    /// The operands: programs, and the number of the first input of each.
    operands: SmallVec<[(Arc<Program>, usize); 2]>,
    steps: Steps,
}

impl<B: Backend> Rows<B> {
    /// A computation on operands of the first one's shape and dtype. `None` if they have no elements.
    fn new<const N: usize>(
        operands: [&Array<B>; N],
        axes: &[isize],
        op: &'static str,
    ) -> Result<Option<(Box<Self>, [Value; N])>> {
        let first = operands[0];
        let axes: Dims<usize> = match axes {
            [] => (0..first.rank()).collect(),
            axes => first.shape().axes(axes, op)?,
        };
        if !first.dtype.is_float() {
            return Err(Error::dtype(op, Takes::Float.expected(), first.dtype.name()));
        }
        for other in &operands[1..] {
            first.same_device(other, op)?;
            if other.shape() != first.shape() || other.dtype != first.dtype {
                let expected = format!("operands of shape {} and dtype {}", first.shape(), first.dtype);
                return Err(Error::shape(op, expected, format!("{} and {}", other.shape(), other.dtype)));
            }
        }
        if first.numel() == 0 {
            return Ok(None);
        }
        let is_scalar = first.rank() == 0;
        let shape = if is_scalar { Shape::new([1])? } else { first.shape().clone() };
        // Constants that the host knows belong to no device.
        let backend = &operands.iter().find(|operand| !operand.is_free()).unwrap_or(&first).backend;
        // In a box, as it is large and goes from hand to hand.
        let mut rows = Box::new(Self {
            backend: backend.clone(),
            shape: shape.clone(),
            axes: if is_scalar { Dims::from_slice(&[0]) } else { axes },
            dtype: first.dtype,
            is_scalar,
            inputs: SmallVec::new(),
            operands: SmallVec::new(),
            steps: Steps::new(),
        });
        for operand in operands {
            let operand = match operand.constant() {
                Some(value) => Array::constant_of(backend.clone(), value, shape.clone(), operand.dtype),
                None if is_scalar => operand.reshape(&shape)?,
                None => operand.clone(),
            };
            let fused = lazy::prologue_of_few(&operand, FEW_INPUTS, FEW_INSTRUCTIONS)?;
            rows.operands.push((fused.program, rows.inputs.len()));
            rows.inputs.extend(fused.inputs);
        }
        Ok(Some((rows, std::array::from_fn(Value::Operand))))
    }

    /// The number of a row's elements.
    fn length(&self) -> usize {
        self.axes.iter().map(|&axis| self.shape.dims()[axis]).product()
    }

    /// Writes all steps, unless the same were written lately.
    fn write(&mut self, recipe: Recipe, write: impl FnOnce(&mut Self)) {
        if !self.operands.iter().all(|(program, _)| program.is_copy()) {
            return write(self);
        }
        let key = (recipe, self.dtype, self.length());
        WRITTEN.with_borrow_mut(|written| {
            match written.iter().position(|(held, _)| *held == key) {
                Some(0) => {}
                Some(place) => written[..=place].rotate_right(1),
                None => {
                    write(self);
                    written.truncate(KEPT - 1);
                    written.insert(0, (key, std::mem::take(&mut self.steps)));
                }
            }
            self.steps = written[0].1.clone();
        });
    }

    fn step(&mut self, kind: RowKind, compute: impl FnOnce(&mut Step<'_, B>) -> Reg) -> Value {
        let mut step = Step { rows: self, program: Program::new(), reads: SmallVec::new() };
        let result = compute(&mut step);
        step.program.output(result);
        let Step { program, reads, .. } = step;
        self.steps.push(RowStep { kind, program: Arc::new(program), reads });
        Value::Step(self.steps.len() - 1)
    }

    /// A number for each row, of all its elements.
    fn reduce(&mut self, op: ReduceOp, compute: impl FnOnce(&mut Step<'_, B>) -> Reg) -> Value {
        self.step(RowKind::Reduce(op), compute)
    }

    /// A number for each row, of numbers that it has.
    fn numbers(&mut self, compute: impl FnOnce(&mut Step<'_, B>) -> Reg) -> Value {
        self.step(RowKind::Rows, compute)
    }

    /// The results, for every element.
    fn elements(&mut self, compute: impl FnOnce(&mut Step<'_, B>) -> Reg) {
        self.step(RowKind::Elements, |step| {
            let result = compute(step);
            step.narrow(result)
        });
    }

    /// The mean of each row.
    fn mean(&mut self, compute: impl FnOnce(&mut Step<'_, B>) -> Reg) -> Value {
        let (total, length) = (self.reduce(ReduceOp::Sum, compute), self.length() as f64);
        self.numbers(|step| {
            let (total, length) = (step.value(total), step.scalar(length));
            step.binary(BinaryOp::Div, total, length)
        })
    }

    /// What normalises a row: the mean first, so that a large offset costs no digits.
    fn norm(&mut self, x: Value, centred: bool, eps: f64) -> Norm {
        let mean = centred.then(|| self.mean(|step| step.value(x)));
        let squares = self.mean(|step| {
            let value = match mean {
                Some(mean) => step.difference(x, mean),
                None => step.value(x),
            };
            step.unary(UnaryOp::Square, value)
        });
        let scale = self.numbers(|step| {
            let (squares, eps) = (step.value(squares), step.scalar(eps));
            let sum = step.binary(BinaryOp::Add, squares, eps);
            step.unary(UnaryOp::Rsqrt, sum)
        });
        Norm { x, mean, scale }
    }

    /// Runs it, or lets it wait for what is computed of its elements.
    fn result(self: Box<Self>, keepdim: bool) -> Result<Array<B>> {
        let spec = self.spec(&self.steps);
        let shape = spec.out_shape();
        if shape == self.shape && !self.is_scalar && lazy::may_wait(&self.backend, &shape) {
            return Ok(lazy::pend_rows(self));
        }
        let buffer = self.run(None, &[])?;
        let kept = match shape {
            _ if self.is_scalar => Shape::scalar(),
            _ if keepdim && shape != self.shape => self.shape.reduce(&self.axes, true),
            shape => shape,
        };
        Array::from_dense(self.backend, buffer, Layout::contiguous(kept), self.dtype)
    }

    fn spec<'a>(&'a self, steps: &'a [RowStep]) -> RowSpec<'a> {
        RowSpec { shape: &self.shape, axes: &self.axes, steps }
    }

    pub(super) fn backend(&self) -> &B {
        &self.backend
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(super) fn dtype(&self) -> DType {
        self.dtype
    }

    /// What the last step counts as, where it waits: instructions and inputs.
    pub(super) fn size(&self) -> (usize, usize) {
        self.steps.last().map_or((0, 0), |step| (step.program.insts().len(), step.reads.len()))
    }

    /// Runs it. The last step is followed by an epilogue, if there is one: a program of its result and the extras.
    pub(super) fn run(&self, epilogue: Option<&Program>, extras: &[View<'_, B>]) -> Result<B::Buffer> {
        let own: SmallVec<[View<'_, B>; MAX_INPUTS]> =
            self.inputs.iter().map(|(buffer, layout, dtype)| View { buffer, layout, dtype: *dtype }).collect();
        let Some(epilogue) = epilogue else { return self.launch(&self.steps, &own) };
        let (mut steps, mut inputs) = (self.steps.clone(), own);
        let mut reads: SmallVec<[usize; MAX_INPUTS]> = SmallVec::new();
        for extra in extras {
            // What a row reads anyway is read once.
            let same = |view: &View<'_, B>| {
                view.dtype == extra.dtype
                    && view.layout == extra.layout
                    && self.backend.is_same(view.buffer, extra.buffer)
            };
            reads.push(inputs.iter().position(same).unwrap_or_else(|| {
                inputs.push(*extra);
                inputs.len() - 1
            }));
        }
        // The steps' values come after the inputs, which are more now.
        let more = inputs.len() - self.inputs.len();
        for read in steps.iter_mut().flat_map(|step| &mut step.reads) {
            if usize::from(*read) >= self.inputs.len() {
                *read += more as u8;
            }
        }
        if let Some(last) = steps.last_mut() {
            *last = followed(last, epilogue, &reads, &inputs);
        }
        self.launch(&steps, &inputs)
    }

    fn launch(&self, steps: &[RowStep], inputs: &[View<'_, B>]) -> Result<B::Buffer> {
        let spec = self.spec(steps);
        let layout = Layout::contiguous(spec.out_shape());
        let mut buffer = self.backend.alloc(layout.numel() * self.dtype.size())?;
        self.backend.rows(&spec, inputs, ViewMut { buffer: &mut buffer, layout: &layout, dtype: self.dtype })?;
        Ok(buffer)
    }
}

/// A step followed by a program of its result and of inputs with these numbers.
fn followed<B: Backend>(step: &RowStep, epilogue: &Program, extras: &[usize], inputs: &[View<'_, B>]) -> RowStep {
    let (mut program, mut reads) = (Program::new(), step.reads.clone());
    let own: SmallVec<[Reg; MAX_INPUTS]> = step.program.inputs().iter().map(|&dtype| program.input(dtype)).collect();
    let result = program.append(&step.program, &own)[0];
    let mut operands: SmallVec<[Reg; MAX_INPUTS]> = SmallVec::new();
    operands.push(result);
    for &extra in extras {
        let at = reads.iter().position(|&read| usize::from(read) == extra);
        operands.push(match at {
            Some(at) => program.input_register(at),
            None => {
                reads.push(extra as u8);
                program.input(inputs[extra].dtype)
            }
        });
    }
    let result = program.append(epilogue, &operands)[0];
    program.output(result);
    RowStep { kind: step.kind, program: Arc::new(program), reads }
}

/// A step that is being written.
struct Step<'a, B: Backend> {
    rows: &'a Rows<B>,
    program: Program,
    reads: SmallVec<[u8; MAX_INPUTS]>,
}

impl<B: Backend> Step<'_, B> {
    /// A value, in the dtype that is computed in.
    fn value(&mut self, value: Value) -> Reg {
        let wide = self.rows.dtype.compute();
        match value {
            Value::Step(number) => self.read(self.rows.inputs.len() + number, self.rows.steps[number].dtype()),
            Value::Operand(number) => {
                let (program, first) = &self.rows.operands[number];
                let inputs: SmallVec<[Reg; MAX_INPUTS]> =
                    (0..).zip(program.inputs()).map(|(input, &dtype)| self.read(first + input, dtype)).collect();
                let result = self.program.append(program, &inputs)[0];
                self.program.cast(result, wide)
            }
        }
    }

    fn read(&mut self, number: usize, dtype: DType) -> Reg {
        if let Some(at) = self.reads.iter().position(|&read| usize::from(read) == number) {
            return self.program.input_register(at);
        }
        self.reads.push(number as u8);
        self.program.input(dtype)
    }

    fn scalar(&mut self, value: f64) -> Reg {
        self.program.scalar(Scalar::Float(value), self.rows.dtype.compute())
    }

    fn unary(&mut self, op: UnaryOp, a: Reg) -> Reg {
        self.program.unary(op, a)
    }

    fn binary(&mut self, op: BinaryOp, a: Reg, b: Reg) -> Reg {
        self.program.binary(op, a, b)
    }

    fn difference(&mut self, a: Value, b: Value) -> Reg {
        let (a, b) = (self.value(a), self.value(b));
        self.binary(BinaryOp::Sub, a, b)
    }

    /// The value as memory holds it.
    fn narrow(&mut self, value: Reg) -> Reg {
        self.program.cast(value, self.rows.dtype)
    }
}
