//! The primitives: every operation that has a gradient rule of its own, and how it runs.
//!
//! Everything else that tensors can do is written with these, so its gradients come for free. A primitive knows its
//! parameters but not its operands; [`apply`] runs it on tensors and records it where a gradient may be wanted.

use crate::function::Custom;
use crate::graph::{Edge, Kept, KeptNumber, KeptOperand, Node, Saved, Target};
use crate::mode::is_grad_enabled;
use crate::operand::Operand;
use crate::rules::{self, Jvp, OUTPUT};
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::{Arc, Mutex, OnceLock};
use tensor_core::array::{Conv, Windows};
use tensor_core::op::{BinaryOp, TernaryOp, UnaryOp};
use tensor_core::{
    Array, Backend, DType, Dims, Error, Layout, MatmulSpec, Number, Program, ReduceOp, Result, Scalar, ScanOp,
    ScatterOp, Shape,
};

/// An operation with its parameters. Long ones are boxed: a node of scalar code must stay small.
#[derive(Clone)]
pub(crate) enum Primitive<B: Backend> {
    /// One operand, from the table.
    Unary(UnaryOp),
    /// Two operands, from the table; either may be a scalar.
    Binary(BinaryOp),
    /// `where` and `lerp` of three operands.
    Ternary(TernaryOp),
    /// Cut to a range of scalars; either end may be open.
    Clamp(Option<Scalar>, Option<Scalar>),
    /// Another dtype.
    Cast(DType),
    /// Another device.
    ToDevice { to: B, from: B },
    /// The same value as a tensor of its own.
    Alias,
    /// The sum along axes.
    Sum(Box<Reduction>),
    /// The product along axes.
    Prod(Box<Reduction>),
    /// The largest or smallest along axes.
    Extreme(ReduceOp, Box<Reduction>),
    /// Running sum or product along an axis.
    Scan(ScanOp, isize),
    /// Softmax, or its logarithm, along an axis.
    Softmax(isize, bool),
    /// Rows along axes divided by their root mean square, with a number added under the root; centred before, or not.
    Normalize(Box<Reduction>, bool, f64),
    /// The variance along axes, with a correction of the count.
    Variance(Box<Reduction>, usize),
    /// The mean of the squared differences of two operands of one shape and dtype.
    MseLoss,
    /// The logarithm of the sum of exponentials along axes.
    LogSumExp(Box<Reduction>),
    /// The product of two matrices or batches of them.
    Matmul,
    /// `x·wᵀ`, or `x·wᵀ + b` of three operands: a matrix or any number of rows, a matrix, a vector.
    Linear,
    /// The product over groups of axes: how many are of the batch, the rows, the inner sum and the columns.
    Contract(Box<[usize; 4]>),
    /// A convolution, or the gradient of one of its operands.
    Conv(Box<ConvCall>),
    /// All windows over the last axes of an operand, which has these lengths there.
    Windows(Box<(Windows, Dims<usize>)>),
    /// The sum of windows where they came from, to these lengths.
    Fold(Box<(Windows, Dims<usize>)>),
    /// Of each window over the last axes of an operand with these lengths there, the element that the array says.
    WindowPick(Box<(Windows, Dims<usize>, Array<B>)>),
    /// A number for each window, added to the element that the array says: the other way round.
    WindowPlace(Box<(Windows, Dims<usize>, Array<B>)>),
    /// A view of an operand of this shape.
    View(Box<(ViewOp, Shape)>),
    /// Elements picked along an axis from an operand of this shape.
    Gather(isize, Box<(Array<B>, Shape)>),
    /// The second operand's elements placed into the first along an axis: replacing or adding.
    Scatter(ScatterOp, isize, Box<Array<B>>),
    /// Slices picked along an axis from an operand of this shape.
    IndexSelect(isize, Box<(Array<B>, Shape)>),
    /// The second operand's slices placed into the first along an axis: replacing or adding.
    IndexScatter(ScatterOp, isize, Box<Array<B>>),
    /// Any number of operands joined along an axis; the numbers say how long each is.
    Cat(isize, Vec<usize>),
    /// The first operand with a view of it replaced by the second.
    Assign(Vec<ViewOp>),
    /// A user's own function.
    Custom(Arc<Custom<B>>),
}

/// The three operations of a convolution. Each takes two of input, weight and result and gives (a gradient of) the third, and
/// is linear in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConvKind {
    /// Of input and weight.
    Forward,
    /// Of the result's gradient and the weight: the input's gradient.
    Input,
    /// Of the result's gradient and the input: the weight's gradient.
    Weight,
}

/// What a convolution is given besides its operands.
#[derive(Clone, Debug)]
pub(crate) struct ConvCall {
    pub(crate) kind: ConvKind,
    pub(crate) conv: Conv,
    /// The input's sizes after batch and channels.
    pub(crate) lengths: Dims<usize>,
    /// The weight's sizes after its channels.
    pub(crate) sizes: Dims<usize>,
}

/// What a reduction along axes is given.
#[derive(Clone, Debug)]
pub(crate) struct Reduction {
    /// The axes that go, sorted.
    pub(crate) axes: Dims<isize>,
    /// Whether they stay with size 1.
    pub(crate) keepdim: bool,
    /// The operand's shape.
    pub(crate) shape: Shape,
}

impl Reduction {
    /// How many elements go into one result.
    pub(crate) fn count(&self) -> usize {
        self.axes.iter().map(|&axis| self.shape.dims()[axis as usize]).product()
    }

    /// The result's shape with the reduced axes kept.
    pub(crate) fn kept_shape(&self) -> Shape {
        let axes: Dims<usize> = self.axes.iter().map(|&axis| axis as usize).collect();
        self.shape.reduce(&axes, true)
    }
}

/// A change of layout.
#[derive(Clone, Debug)]
pub(crate) enum ViewOp {
    Reshape(Shape),
    Permute(Dims<isize>),
    Expand(Shape),
    Slice { axis: isize, start: usize, len: usize, step: isize },
    Select { axis: isize, index: isize },
    Flip(Dims<isize>),
    Diagonal { offset: isize, first: isize, second: isize },
    Unfold { axis: isize, size: usize, step: usize },
}

impl ViewOp {
    pub(crate) fn of_array<B: Backend>(&self, array: &Array<B>) -> Result<Array<B>> {
        match self {
            Self::Reshape(shape) => array.reshape(shape),
            Self::Permute(order) => array.permute(order),
            Self::Expand(shape) => array.expand(shape),
            Self::Slice { axis, start, len, step } => array.slice(*axis, *start, *len, *step),
            Self::Select { axis, index } => array.select(*axis, *index),
            Self::Flip(axes) => array.flip(axes),
            Self::Diagonal { offset, first, second } => array.diagonal(*offset, *first, *second),
            Self::Unfold { axis, size, step } => array.unfold(*axis, *size, *step),
        }
    }

    pub(crate) fn of_layout(&self, layout: &Layout) -> Result<Layout> {
        match self {
            Self::Reshape(shape) => layout
                .reshape(shape)?
                .ok_or_else(|| Error::shape("assign", "a shape that the strides allow", shape.to_string())),
            Self::Permute(order) => layout.permute(order),
            Self::Expand(shape) => layout.expand(shape),
            Self::Slice { axis, start, len, step } => layout.slice(*axis, *start, *len, *step),
            Self::Select { axis, index } => layout.select(*axis, *index),
            Self::Flip(axes) => layout.flip(axes),
            Self::Diagonal { offset, first, second } => layout.diagonal(*offset, *first, *second),
            Self::Unfold { axis, size, step } => layout.unfold(*axis, *size, *step),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Reshape(_) => "View",
            Self::Permute(_) => "Permute",
            Self::Expand(_) => "Expand",
            Self::Slice { .. } => "Slice",
            Self::Select { .. } => "Select",
            Self::Flip(_) => "Flip",
            Self::Diagonal { .. } => "Diagonal",
            Self::Unfold { .. } => "Unfold",
        }
    }
}

/// A value an operation is run on: a tensor's or a scalar.
#[derive(Clone)]
pub(crate) enum Value<B: Backend> {
    Array(Array<B>),
    Scalar(Scalar),
}

impl<B: Backend> Value<B> {
    #[inline]
    fn as_core(&self) -> tensor_core::Operand<'_, B> {
        match self {
            Self::Array(array) => tensor_core::Operand::Array(array),
            Self::Scalar(scalar) => tensor_core::Operand::Scalar(*scalar),
        }
    }

    fn array(&self) -> &Array<B> {
        match self {
            Self::Array(array) => array,
            Self::Scalar(_) => unreachable!("only pointwise primitives take scalars"),
        }
    }
}

impl<B: Backend> Primitive<B> {
    /// The name in `grad_fn` and in drawings of the graph, without its `Backward`.
    pub(crate) fn name(&self) -> Cow<'static, str> {
        let plain = match self {
            Self::Unary(op) => return camel(op.name()).into(),
            Self::Binary(op) => return camel(op.name()).into(),
            Self::Ternary(op) => return camel(op.name()).into(),
            Self::Extreme(op, _) => return camel(op.name()).into(),
            Self::Scan(op, _) => return camel(op.name()).into(),
            Self::Custom(custom) => return custom.name().into(),
            Self::View(view) => view.0.name(),
            Self::Clamp(..) => "Clamp",
            Self::Cast(_) => "ToCopy",
            Self::ToDevice { .. } => "ToDevice",
            Self::Alias => "Alias",
            Self::Sum(_) => "Sum",
            Self::Prod(_) => "Prod",
            Self::Softmax(_, false) => "Softmax",
            Self::Softmax(_, true) => "LogSoftmax",
            Self::Normalize(_, true, _) => "LayerNorm",
            Self::Normalize(_, false, _) => "RmsNorm",
            Self::Variance(..) => "Var",
            Self::MseLoss => "MseLoss",
            Self::LogSumExp(_) => "Logsumexp",
            Self::Matmul => "Matmul",
            Self::Linear => "Linear",
            Self::Contract(_) => "Contract",
            Self::Conv(call) => match call.kind {
                ConvKind::Forward => "Convolution",
                ConvKind::Input => "ConvolutionInput",
                ConvKind::Weight => "ConvolutionWeight",
            },
            Self::Windows(_) => "Windows",
            Self::Fold(_) => "Fold",
            Self::WindowPick(_) => "MaxPool",
            Self::WindowPlace(_) => "MaxPoolInput",
            Self::Gather(..) => "Gather",
            Self::Scatter(ScatterOp::Add, ..) => "ScatterAdd",
            Self::Scatter(..) => "Scatter",
            Self::IndexSelect(..) => "IndexSelect",
            Self::IndexScatter(ScatterOp::Add, ..) => "IndexAdd",
            Self::IndexScatter(..) => "IndexCopy",
            Self::Cat(..) => "Cat",
            Self::Assign(_) => "CopySlices",
        };
        plain.into()
    }

    /// Computes the result.
    pub(crate) fn forward(&self, operands: &[Value<B>]) -> Result<Array<B>> {
        let array = |number: usize| operands[number].array();
        match self {
            Self::Unary(op) => array(0).unary(*op),
            Self::Binary(op) => Array::binary(*op, operands[0].as_core(), operands[1].as_core()),
            Self::Ternary(op) => {
                Array::ternary(*op, operands[0].as_core(), operands[1].as_core(), operands[2].as_core())
            }
            Self::Clamp(low, high) => match (*low, *high) {
                (Some(low), Some(high)) => Array::ternary(TernaryOp::Clamp, array(0), low, high),
                (Some(low), None) => Array::binary(BinaryOp::Maximum, array(0), low),
                (None, Some(high)) => Array::binary(BinaryOp::Minimum, array(0), high),
                (None, None) => Ok(array(0).clone()),
            },
            Self::Cast(dtype) => array(0).cast(*dtype),
            Self::ToDevice { to, .. } => array(0).to_backend(to),
            Self::Alias => Ok(array(0).clone()),
            Self::Sum(to) => array(0).reduce(ReduceOp::Sum, &to.axes, to.keepdim),
            Self::Prod(to) => array(0).reduce(ReduceOp::Prod, &to.axes, to.keepdim),
            Self::Extreme(op, to) => array(0).reduce(*op, &to.axes, to.keepdim),
            Self::Scan(op, axis) => array(0).scan(*op, *axis),
            Self::Softmax(axis, log) => array(0).softmax(*axis, *log),
            Self::Normalize(to, centred, eps) => array(0).normalize(&to.axes, *centred, *eps),
            Self::Variance(to, correction) => array(0).variance(&to.axes, *correction, to.keepdim),
            Self::MseLoss => mean_squared_error(array(0), array(1)),
            Self::LogSumExp(to) => array(0).logsumexp(&to.axes, to.keepdim),
            Self::Matmul => array(0).matmul(array(1)),
            Self::Linear => {
                let spec = MatmulSpec { batch: 0, rows: array(0).rank() - 1, inner: 1, columns: 1, epilogue: None };
                let product = array(0).contract(&array(1).transpose(0, 1)?, &spec, &[])?;
                if operands.len() < 3 { Ok(product) } else { product.add(array(2)) }
            }
            Self::Contract(counts) => {
                let [batch, rows, inner, columns] = **counts;
                array(0).contract(array(1), &MatmulSpec { batch, rows, inner, columns, epilogue: None }, &[])
            }
            Self::Conv(call) => match call.kind {
                ConvKind::Forward => array(0).conv(array(1), &call.conv),
                ConvKind::Input => array(0).conv_input(array(1), &call.lengths, &call.conv),
                ConvKind::Weight => array(0).conv_weight(array(1), &call.sizes, &call.conv),
            },
            Self::Windows(windows) => array(0).windows(&windows.0),
            Self::Fold(windows) => array(0).fold(&windows.0, &windows.1),
            Self::WindowPick(call) => array(0).window_pick(&call.0, &call.2),
            Self::WindowPlace(call) => array(0).window_place(&call.0, &call.2, &call.1),
            Self::View(view) => view.0.of_array(array(0)),
            Self::Gather(axis, from) => array(0).gather(*axis, &from.0),
            Self::Scatter(op, axis, index) => array(0).scatter(*op, *axis, index, array(1)),
            Self::IndexSelect(axis, from) => array(0).index_select(*axis, &from.0),
            Self::IndexScatter(op, axis, index) => array(0).index_scatter(*op, *axis, index, array(1)),
            Self::Cat(axis, _) => {
                let parts: Vec<&Array<B>> = operands.iter().map(Value::array).collect();
                Array::cat(&parts, *axis)
            }
            Self::Assign(views) => array(0).assign(
                |layout| views.iter().try_fold(layout.clone(), |layout, view| view.of_layout(&layout)),
                array(1),
            ),
            Self::Custom(_) => unreachable!("custom functions are run by their own module"),
        }
    }
}

/// The mean of `(x − y)²` of arrays of one shape, in f32 or f64.
fn mean_squared_error<B: Backend>(x: &Array<B>, y: &Array<B>) -> Result<Array<B>> {
    static PROGRAMS: [OnceLock<Program>; 2] = [const { OnceLock::new() }; 2];
    let dtype = x.dtype();
    let square = PROGRAMS[usize::from(dtype == DType::F64)].get_or_init(|| {
        let mut program = Program::new();
        let (x, y) = (program.input(dtype), program.input(dtype));
        let distance = program.binary(BinaryOp::Sub, x, y);
        let square = program.unary(UnaryOp::Square, distance);
        program.output(square);
        program
    });
    let total = Array::map(square, &[x, y], "mse_loss")?.reduce(ReduceOp::Sum, &[], false)?;
    Array::binary(BinaryOp::Div, &total, x.numel() as f64)
}

/// `log_softmax` as `LogSoftmax`.
fn camel(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for part in name.split('_') {
        let mut letters = part.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}

/// Runs a primitive on operands and records it where one of them carries a gradient.
pub(crate) fn apply<B: Backend>(primitive: Primitive<B>, operands: &[Operand<'_, B>]) -> Result<Tensor<B>> {
    let values: SmallVec<[Value<B>; 3]> = operands.iter().map(Operand::value).collect();
    let result = primitive.forward(&values)?;
    Ok(record(primitive, operands, values, result))
}

/// [`apply`] to one tensor.
pub(crate) fn apply1<B: Backend>(primitive: Primitive<B>, a: &Tensor<B>) -> Result<Tensor<B>> {
    if let Primitive::Unary(op) = primitive
        && !a.is_recording()
    {
        return Ok(Tensor::from_array(a.with_array(|array| array.unary(op))?));
    }
    let value = [Value::Array(a.array())];
    let result = primitive.forward(&value)?;
    Ok(record(primitive, &[Operand::Ref(a)], value, result))
}

/// [`apply`] of a row of `BINARY`.
pub(crate) fn apply_binary<B: Backend>(op: BinaryOp, a: &Operand<'_, B>, b: &Operand<'_, B>) -> Result<Tensor<B>> {
    if let Some((result, numbers)) = of_numbers(op, a, b) {
        if !is_recorded(&result, a.requires_grad() || b.requires_grad()) {
            return Ok(Tensor::from_array(result));
        }
        return Ok(record_numbers(op, a, b, numbers, result));
    }
    let may_record = (a.requires_grad() || b.requires_grad()) && is_grad_enabled();
    if !may_record
        && let Some(result) = match (a.tensor(), b.tensor()) {
            (Some(x), Some(y)) => x.with_arrays(y, |x, y| Array::binary(op, x, y)),
            (Some(x), None) => b.scalar().map(|y| x.with_array(|x| Array::binary(op, x, y))),
            (None, Some(y)) => a.scalar().map(|x| y.with_array(|y| Array::binary(op, x, y))),
            (None, None) => None,
        }
    {
        return Ok(Tensor::from_array(result?));
    }
    let (x, y) = (a.value(), b.value());
    let result = Array::binary(op, x.as_core(), y.as_core())?;
    if !is_recorded(&result, may_record) {
        return Ok(Tensor::from_array(result));
    }
    Ok(record(Primitive::Binary(op), &[a.by_ref(), b.by_ref()], [x, y], result))
}

/// An operation of single numbers that the host knows: scalar code, where every nanosecond of overhead shows. Gives the
/// operands too, as they were when the result was computed.
#[inline]
fn of_numbers<B: Backend>(op: BinaryOp, a: &Operand<'_, B>, b: &Operand<'_, B>) -> Option<(Array<B>, [KeptNumber; 2])> {
    let (number, backend, operands) = match (a.tensor(), b.tensor()) {
        (Some(x), Some(y)) => {
            let ((x, backend), (y, other)) = (x.number()?, y.number()?);
            let number = (backend == other).then(|| Number::binary(op, x, y, false))??;
            (number, backend, [KeptNumber::Tensor(x), KeptNumber::Tensor(y)])
        }
        (Some(x), None) => {
            let ((x, backend), scalar) = (x.number()?, b.scalar()?);
            let number = Number::binary(op, x, Number::beside(scalar, x.dtype)?, true)?;
            (number, backend, [KeptNumber::Tensor(x), KeptNumber::Scalar(scalar)])
        }
        (None, Some(y)) => {
            let ((y, backend), scalar) = (y.number()?, a.scalar()?);
            let number = Number::binary(op, Number::beside(scalar, y.dtype)?, y, false)?;
            (number, backend, [KeptNumber::Scalar(scalar), KeptNumber::Tensor(y)])
        }
        (None, None) => return None,
    };
    Some((Array::from_number(backend, number), operands))
}

/// [`record`] of [`of_numbers`].
fn record_numbers<B: Backend>(
    op: BinaryOp,
    a: &Operand<'_, B>,
    b: &Operand<'_, B>,
    numbers: [KeptNumber; 2],
    result: Array<B>,
) -> Tensor<B> {
    let primitive = Primitive::Binary(op);
    let needs = rules::row(&primitive).needs;
    let targets = [a.edge(), b.edge()];
    let [of_a, of_b] = [0, 1].map(|number| if targets[number].is_none() { 0 } else { needs.of(number) });
    let keep = of_a | of_b;
    let kept = |number: KeptNumber, flag: u8| match number {
        KeptNumber::Tensor(_) if keep & flag == 0 => KeptNumber::Absent,
        number => number,
    };
    let saved = if keep == 0 {
        Saved::Nothing
    } else if keep & OUTPUT == 0 {
        Saved::Numbers([kept(numbers[0], rules::A), kept(numbers[1], rules::B)])
    } else {
        let operands =
            [(numbers[0], rules::A), (numbers[1], rules::B)].map(|(number, flag)| match kept(number, flag) {
                KeptNumber::Absent => KeptOperand::Absent,
                KeptNumber::Scalar(scalar) => KeptOperand::Scalar(scalar),
                KeptNumber::Tensor(value) => KeptOperand::Array(Array::from_number(result.backend().clone(), value)),
            });
        Saved::Kept(Box::new(Kept { operands: SmallVec::from(operands), output: Some(result.clone()) }))
    };
    let level = 1 + targets[0].level().max(targets[1].level());
    let inputs = SmallVec::from(targets.map(|target| Edge { target, meta: None }));
    let node = Node { level, primitive, inputs, saved: Mutex::new(saved), hooks: OnceLock::new() };
    Tensor::with_origin(result, Target::Node(Arc::new(node), 0))
}

/// Whether an operation gets a node: someone may ask for a gradient through it.
#[inline]
fn is_recorded<B: Backend>(result: &Array<B>, wanted: bool) -> bool {
    wanted && result.dtype().is_float() && is_grad_enabled()
}

/// The result as a tensor: with a node behind it if an operand carries a gradient and recording is on.
pub(crate) fn record<B: Backend>(
    primitive: Primitive<B>,
    operands: &[Operand<'_, B>],
    values: impl IntoIterator<Item = Value<B>>,
    result: Array<B>,
) -> Tensor<B> {
    if !is_recorded(&result, operands.iter().any(Operand::requires_grad)) {
        return Tensor::from_array(result);
    }
    let row = rules::row(&primitive);
    let mut keep = 0u8;
    let mut level = 0;
    let targets: SmallVec<[Target<B>; 3]> = operands.iter().map(Operand::edge).collect();
    for (number, target) in targets.iter().enumerate() {
        if !target.is_none() {
            level = level.max(target.level());
            keep |= row.needs.of(number);
        }
    }
    let mut inputs: SmallVec<[Edge<B>; 2]> = SmallVec::with_capacity(targets.len());
    let mut kept: SmallVec<[KeptOperand<B>; 2]> = SmallVec::new();
    for (number, (target, value)) in targets.into_iter().zip(values).enumerate() {
        let mut meta = None;
        // Forward mode runs linear operations on zeros for operands without a tangent.
        if (!target.is_none() || row.jvp == Jvp::Linear)
            && let Value::Array(array) = &value
            && (array.shape() != result.shape() || array.dtype() != result.dtype())
        {
            meta = Some(Box::new((array.shape().clone(), array.dtype())));
        }
        inputs.push(Edge { target, meta });
        if keep != 0 {
            kept.push(match value {
                Value::Array(array) if number < 3 && keep & (1 << number) != 0 => KeptOperand::Array(array),
                Value::Array(_) => KeptOperand::Absent,
                Value::Scalar(scalar) => KeptOperand::Scalar(scalar),
            });
        }
    }
    let saved = if keep == 0 {
        Saved::Nothing
    } else {
        let output = (keep & OUTPUT != 0).then(|| result.clone());
        Saved::Kept(Box::new(Kept { operands: kept, output }))
    };
    let node = Node { level: level + 1, primitive, inputs, saved: Mutex::new(saved), hooks: OnceLock::new() };
    Tensor::with_origin(result, Target::Node(Arc::new(node), 0))
}
