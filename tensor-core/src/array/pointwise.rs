//! The op tables as methods: promotion, broadcasting, and what is decided before a program is built.

use super::{Array, Operands, lazy, single};
use crate::op::{BinaryOp, CompareOp, TernaryOp, UnaryOp};
use crate::program::{Program, Reg};
use crate::reference;
use crate::{Backend, Category, DType, Error, Layout, Result, Scalar, Shape, result_type};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::Arc;

/// An operand of a pointwise operation: an array, or a scalar that takes the array's dtype unless its category is higher.
#[derive(Debug)]
pub enum Operand<'a, B: Backend> {
    /// An array.
    Array(&'a Array<B>),
    /// A weak scalar.
    Scalar(Scalar),
}

impl<B: Backend> Clone for Operand<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for Operand<'_, B> {}

impl<'a, B: Backend> From<&'a Array<B>> for Operand<'a, B> {
    fn from(array: &'a Array<B>) -> Self {
        Self::Array(array)
    }
}

impl<B: Backend, S: Into<Scalar>> From<S> for Operand<'_, B> {
    fn from(scalar: S) -> Self {
        Self::Scalar(scalar.into())
    }
}

impl<B: Backend> Operand<'_, B> {
    fn rank(&self) -> usize {
        match self {
            Self::Array(array) => array.rank(),
            Self::Scalar(_) => 0,
        }
    }

    /// The operand of an operation with another one, which gives the result its shape: as a scalar where all its elements are
    /// the same.
    #[inline]
    fn known_beside(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Array(array), Self::Array(other))
                if array.dtype == other.dtype
                    && other.constant().is_none()
                    && (array.rank() == 0 || array.backend == other.backend && array.shape() == other.shape()) =>
            {
                array.constant().map_or(self, Self::Scalar)
            }
            _ => self,
        }
    }

    /// The value if it is the same for every element, converted to `dtype`.
    #[inline]
    fn constant(&self, dtype: DType) -> Option<Scalar> {
        match self {
            Self::Array(array) if array.dtype() == dtype => array.constant(),
            Self::Array(array) => array.constant().map(|value| value.cast(dtype)),
            Self::Scalar(value) => Some(value.cast(dtype)),
        }
    }
}

/// The dtype that operands meet in.
#[inline]
fn common_dtype<B: Backend>(operands: &[Operand<'_, B>]) -> DType {
    // By far the most common cases need no lists.
    match operands {
        [Operand::Array(a), Operand::Scalar(scalar)] | [Operand::Scalar(scalar), Operand::Array(a)] => {
            return scalar.weak_dtype(a.dtype());
        }
        [Operand::Array(a), Operand::Array(b)] if a.dtype() == b.dtype() => return a.dtype(),
        _ => {}
    }
    let arrays = operands.iter().filter_map(|operand| match operand {
        Operand::Array(array) => Some((array.dtype(), array.rank())),
        Operand::Scalar(_) => None,
    });
    let scalars = operands.iter().filter_map(|operand| match operand {
        Operand::Array(_) => None,
        Operand::Scalar(scalar) => Some(*scalar),
    });
    result_type(arrays, scalars)
}

/// Where the operands of an operation meet: on which device, and in which shape.
struct Place<'a, B: Backend> {
    backend: &'a B,
    shape: Cow<'a, Shape>,
}

impl<'a, B: Backend> Place<'a, B> {
    /// Checks devices and broadcasts shapes.
    fn new(operands: &[Operand<'a, B>], op: &'static str) -> Result<Self> {
        let mut first: Option<&'a Array<B>> = None;
        let mut shape = Cow::Owned(Shape::scalar());
        for operand in operands {
            let Operand::Array(array) = *operand else { continue };
            match first {
                None => {
                    first = Some(array);
                    shape = Cow::Borrowed(array.shape());
                }
                Some(held) => {
                    held.same_device(array, op)?;
                    if array.shape() != &*shape {
                        shape = Cow::Owned(shape.broadcast(array.shape(), op)?);
                    }
                    if held.is_free() && !array.is_free() {
                        // A free scalar goes where the others are.
                        first = Some(array);
                    }
                }
            }
        }
        let backend = first.map(Array::backend).expect("an operation has an array among its operands");
        Ok(Self { backend, shape })
    }

    /// An operand in the shape that all have.
    fn spread(&self, array: &'a Array<B>) -> Result<Cow<'a, Array<B>>> {
        Ok(if *array.shape() == *self.shape {
            Cow::Borrowed(array)
        } else {
            Cow::Owned(array.with_layout(array.layout().expand(&self.shape)?))
        })
    }

    /// Runs a program that others run too, or lets it wait, over arrays of the dtypes that it reads.
    fn run_shared<const COUNT: usize>(
        &self,
        program: &Arc<Program>,
        arrays: [&'a Array<B>; COUNT],
    ) -> Result<Array<B>> {
        let mut operands = Operands::new();
        for array in arrays {
            operands.push(self.spread(array)?);
        }
        lazy::run_shared(self.backend, program, &self.shape, &mut operands)
    }
}

/// A program under construction with its operands. It is long, so it stays where it was made.
struct Builder<'a, B: Backend> {
    place: Place<'a, B>,
    program: Program,
    operands: Operands<'a, B>,
}

impl<'a, B: Backend> Builder<'a, B> {
    #[inline]
    fn new(place: Place<'a, B>) -> Self {
        Self { place, program: Program::new(), operands: Operands::new() }
    }

    /// The register of an operand converted to `dtype`.
    fn operand(&mut self, operand: &Operand<'a, B>, dtype: DType) -> Result<Reg> {
        if let Some(value) = operand.constant(dtype) {
            return Ok(self.program.scalar(value, dtype));
        }
        let Operand::Array(array) = operand else { unreachable!("scalars are constants") };
        self.operands.push(self.place.spread(array)?);
        let register = self.program.input(array.dtype());
        Ok(self.program.cast(register, dtype))
    }

    /// Runs the program with this register as its output, or lets it wait.
    fn finish(&mut self, result: Reg) -> Result<Array<B>> {
        self.program.output(result);
        let Place { backend, shape } = &self.place;
        if self.operands.is_empty() && !self.program.uses_position() {
            let dtype = self.program.dtype(result);
            let position: SmallVec<[usize; 6]> = SmallVec::from_elem(0, shape.rank());
            let values = reference::evaluate(&self.program, shape, &position, |_| unreachable!("there are no inputs"));
            return Ok(Array::constant_of((*backend).clone(), values[0].cast(dtype), (**shape).clone(), dtype));
        }
        lazy::run(backend, &mut self.program, shape, &mut self.operands)
    }
}

impl<B: Backend> Array<B> {
    /// Runs a pointwise program of one output over arrays, which are broadcast to one shape and have the dtypes of the
    /// program's inputs. The program may wait to be fused.
    ///
    /// # Errors
    /// If devices or dtypes differ, shapes do not broadcast, or the device fails.
    ///
    /// # Panics
    /// If there is no input, or the program has another number of inputs or of outputs than one.
    pub fn map(program: &Program, inputs: &[&Self], op: &'static str) -> Result<Self> {
        assert_eq!(program.inputs().len(), inputs.len(), "an array for each input");
        assert_eq!(program.outputs().len(), 1, "one output");
        if inputs.iter().zip(program.inputs()).all(|(array, &dtype)| array.dtype() == dtype)
            && let Some(result) = match *inputs {
                [a] => lazy::run_small(program, [a]),
                [a, b] => lazy::run_small(program, [a, b]),
                _ => None,
            }
        {
            return result;
        }
        let operands: SmallVec<[Operand<'_, B>; 4]> = inputs.iter().map(|&array| Operand::Array(array)).collect();
        let mut builder = Builder::new(Place::new(&operands, op)?);
        let mut registers: SmallVec<[Reg; 4]> = SmallVec::new();
        for (operand, (array, &dtype)) in operands.iter().zip(inputs.iter().zip(program.inputs())) {
            if array.dtype() != dtype {
                return Err(Error::dtype(op, format!("an operand of dtype {dtype}"), array.dtype().name())
                    .hint("convert it with .to(dtype)"));
            }
            registers.push(builder.operand(operand, dtype)?);
        }
        let results = builder.program.append(program, &registers);
        builder.finish(results[0])
    }

    /// Runs a program without inputs for every position of a shape.
    ///
    /// # Errors
    /// If the device fails or has no memory left.
    pub fn generate(backend: &B, mut program: Program, result: Reg, shape: &Shape) -> Result<Self> {
        program.output(result);
        lazy::run(backend, &mut program, shape, &mut Operands::new())
    }

    /// An operation of one operand.
    ///
    /// # Errors
    /// If the operation refuses the dtype, or the device fails.
    pub fn unary(&self, op: UnaryOp) -> Result<Self> {
        let row = op.row();
        if self.dtype == DType::Bool && op == UnaryOp::Sign {
            return Ok(self.clone());
        }
        let dtype = if row.gives_bool { Ok(self.dtype) } else { row.takes.operand(self.dtype, row.name) };
        let dtype = dtype.map_err(|error| match op {
            UnaryOp::Neg if self.dtype == DType::Bool => error.hint("use ! or bitwise_not to invert a mask"),
            _ => error,
        })?;
        if dtype.is_int() && matches!(op, UnaryOp::Ceil | UnaryOp::Floor | UnaryOp::Round | UnaryOp::Trunc) {
            return Ok(self.clone());
        }
        if let Some(value) = self.constant()
            && let Scalar::Float(value) = value.cast(dtype)
            && !row.gives_bool
        {
            let value = rounded((row.float)(value), dtype);
            return Ok(Self::constant_of(self.backend.clone(), value, self.shape().clone(), dtype));
        }
        if self.dtype == dtype && self.constant().is_none() {
            let program = single::unary(op, dtype);
            return lazy::run_small(program, [self]).unwrap_or_else(|| {
                let place = Place { backend: &self.backend, shape: Cow::Borrowed(self.shape()) };
                place.run_shared(program, [self])
            });
        }
        let operand = Operand::Array(self);
        let mut builder = Builder::new(Place::new(&[operand], row.name)?);
        let a = builder.operand(&operand, dtype)?;
        let result = builder.program.unary(op, a);
        builder.finish(result)
    }

    /// An operation of two operands, at least one of them an array. Shapes broadcast, dtypes promote.
    ///
    /// # Errors
    /// If shapes do not broadcast, the operation refuses the dtype, an integer is divided by 0 or raised to a negative
    /// scalar, devices differ, or the device fails.
    ///
    /// # Panics
    /// If both operands are scalars.
    pub fn binary<'a>(op: BinaryOp, a: impl Into<Operand<'a, B>>, b: impl Into<Operand<'a, B>>) -> Result<Self>
    where
        B: 'a,
    {
        Self::binary_of(op, a.into(), b.into())
    }

    fn binary_of(op: BinaryOp, a: Operand<'_, B>, b: Operand<'_, B>) -> Result<Self> {
        let row = op.row();
        // What there is most of: floats of one shape in memory, with nothing to be decided.
        if let (Operand::Array(x), Operand::Array(y)) = (a, b)
            && x.dtype == y.dtype
            && matches!(x.dtype, DType::F32 | DType::F64)
            && row.takes.runs_in(x.dtype)
            && let Some(result) = lazy::run_small(single::binary(op, x.dtype), [x, y])
        {
            return result;
        }
        let common = common_dtype(&[a, b]);
        let op = if common == DType::Bool { of_bools(op) } else { op };
        let dtype = match op.row().takes.operand(common, row.name) {
            Ok(dtype) => dtype,
            Err(error) if common == DType::Bool && op == BinaryOp::Sub => {
                return Err(error.hint("use ^ or logical_xor for bools"));
            }
            Err(error) => return Err(error),
        };
        let wide = wide_dtype(op, &a, &b, dtype);
        // Two numbers the host knows: the case of scalar code, where every nanosecond of overhead shows.
        if let (Some(Scalar::Float(x)), Some(Scalar::Float(y))) = (a.constant(dtype), b.constant(dtype))
            && a.rank() == 0
            && b.rank() == 0
            && wide.is_none()
        {
            let value = match (op, &b) {
                (BinaryOp::Pow, Operand::Scalar(_)) => pow_of_constants(x, y, dtype),
                _ => rounded((op.row().float)(x, y), dtype),
            };
            let backend = match (&a, &b) {
                (Operand::Array(x), Operand::Array(y)) => {
                    x.same_device(y, row.name)?;
                    x.backend()
                }
                (Operand::Array(x), _) | (_, Operand::Array(x)) => x.backend(),
                _ => panic!("{}: one of the operands must be an array", row.name),
            };
            return Ok(Self::constant_of(backend.clone(), value, Shape::scalar(), dtype));
        }
        if dtype.is_int() {
            refuse_zero_divisor(op, &b, dtype)?;
        }
        if op == BinaryOp::Pow
            && let (Operand::Array(base), Operand::Scalar(exponent)) = (a, b)
            && let Some(result) = base.pow_special(exponent, dtype)?
        {
            return Ok(result);
        }
        let small = match (a.known_beside(&b), b.known_beside(&a)) {
            (Operand::Array(x), Operand::Array(y)) if x.dtype == dtype && y.dtype == dtype => {
                let program = single::binary(op, dtype);
                if x.shape() == y.shape() {
                    lazy::run_small(program, [x, y])
                } else {
                    lazy::run_small_broadcast(program, x, y)
                }
            }
            (Operand::Array(array), Operand::Scalar(scalar)) | (Operand::Scalar(scalar), Operand::Array(array))
                if array.dtype == dtype && dtype.is_float() && wide.is_none() && array.runs_at_once() =>
            {
                let scalar_first = !matches!(a, Operand::Array(a) if std::ptr::eq(a, array));
                let program = single::with_scalar(op, dtype, scalar_first).with_scalar(scalar.cast(dtype));
                lazy::run_small(&program, [array])
            }
            _ => None,
        };
        if let Some(result) = small {
            return result;
        }
        let place = Place::new(&[a, b], row.name)?;
        if let (Operand::Array(x), Operand::Array(y)) = (a, b)
            && x.dtype == dtype
            && y.dtype == dtype
            && x.constant().is_none()
            && y.constant().is_none()
        {
            return place.run_shared(single::binary(op, dtype), [x, y]);
        }
        let mut builder = Builder::new(place);
        let run_in = wide.unwrap_or(dtype);
        let (x, y) = (builder.operand(&a, run_in)?, builder.operand(&b, run_in)?);
        let result = builder.program.binary(op, x, y);
        let result = builder.program.cast(result, dtype);
        builder.finish(result)
    }

    /// Powers that have a shorter way than `pow`, and those that integers do not have.
    fn pow_special(&self, exponent: Scalar, dtype: DType) -> Result<Option<Self>> {
        if dtype.is_int() {
            let power = exponent.as_i64();
            if power < 0 {
                return Err(Error::value("pow", "a power of at least 0 for an integer tensor", power.to_string())
                    .hint("convert the tensor to a float dtype first"));
            }
        }
        let base = self.cast(dtype)?;
        let (square, cube) = (2.0, 3.0);
        Ok(match exponent.as_f64() {
            1.0 => Some(base),
            e if e == square => Some(base.unary(UnaryOp::Square)?),
            e if e == cube => {
                let operand = Operand::Array(&base);
                let mut builder = Builder::new(Place::new(&[operand], "pow")?);
                let x = builder.operand(&operand, dtype)?;
                let squared = builder.program.unary(UnaryOp::Square, x);
                let result = builder.program.binary(BinaryOp::Mul, squared, x);
                Some(builder.finish(result)?)
            }
            0.5 if dtype.is_float() => Some(base.unary(UnaryOp::Sqrt)?),
            -0.5 if dtype.is_float() => Some(base.unary(UnaryOp::Rsqrt)?),
            -1.0 => Some(base.unary(UnaryOp::Reciprocal)?),
            _ => None,
        })
    }

    /// A comparison of two operands, at least one of them an array, in the dtype both promote to. Gives bools.
    ///
    /// # Errors
    /// If shapes do not broadcast, devices differ, or the device fails.
    ///
    /// # Panics
    /// If both operands are scalars.
    pub fn compare<'a>(op: CompareOp, a: impl Into<Operand<'a, B>>, b: impl Into<Operand<'a, B>>) -> Result<Self>
    where
        B: 'a,
    {
        let operands = [a.into(), b.into()];
        let dtype = common_dtype(&operands);
        let mut builder = Builder::new(Place::new(&operands, op.name())?);
        let (x, y) = (builder.operand(&operands[0], dtype)?, builder.operand(&operands[1], dtype)?);
        let result = builder.program.compare(op, x, y);
        builder.finish(result)
    }

    /// An operation of three operands, at least one of them an array. Shapes broadcast; operands promote, but for the
    /// condition of `where`, which is bool.
    ///
    /// # Errors
    /// If shapes do not broadcast, the operation refuses the dtype, the condition is no bool, devices differ, or the device
    /// fails.
    ///
    /// # Panics
    /// If all operands are scalars.
    pub fn ternary<'a>(
        op: TernaryOp,
        a: impl Into<Operand<'a, B>>,
        b: impl Into<Operand<'a, B>>,
        c: impl Into<Operand<'a, B>>,
    ) -> Result<Self>
    where
        B: 'a,
    {
        let row = op.row();
        let operands = [a.into(), b.into(), c.into()];
        let common = common_dtype(if row.condition { &operands[1..] } else { &operands });
        let dtype = row.takes.operand(common, row.name)?;
        let first = if row.condition { DType::Bool } else { dtype };
        if let (true, Operand::Array(condition)) = (row.condition, &operands[0])
            && condition.dtype() != DType::Bool
        {
            return Err(Error::dtype(row.name, "a condition of dtype bool", condition.dtype().name())
                .hint("compare it with something, or convert it with .to(DType::Bool)"));
        }
        let mut builder = Builder::new(Place::new(&operands, row.name)?);
        let x = builder.operand(&operands[0], first)?;
        let y = builder.operand(&operands[1], dtype)?;
        let z = builder.operand(&operands[2], dtype)?;
        let result = builder.program.ternary(op, x, y, z);
        builder.finish(result)
    }

    /// The values converted to another dtype, as [`Scalar::cast`] does.
    ///
    /// # Errors
    /// If the device fails.
    pub fn cast(&self, dtype: DType) -> Result<Self> {
        if self.dtype == dtype {
            return Ok(self.clone());
        }
        if let Some(value) = self.constant() {
            return Ok(Self::constant_of(self.backend.clone(), value.cast(dtype), self.shape().clone(), dtype));
        }
        let operand = Operand::Array(self);
        let mut builder = Builder::new(Place::new(&[operand], "to")?);
        let result = builder.operand(&operand, dtype)?;
        builder.finish(result)
    }

    /// `self + other`; shorthand for [`binary`](Self::binary).
    ///
    /// # Errors
    /// As [`binary`](Self::binary).
    pub fn add<'a>(&'a self, other: impl Into<Operand<'a, B>>) -> Result<Self> {
        Self::binary(BinaryOp::Add, self, other)
    }

    /// `self − other`; shorthand for [`binary`](Self::binary).
    ///
    /// # Errors
    /// As [`binary`](Self::binary).
    pub fn sub<'a>(&'a self, other: impl Into<Operand<'a, B>>) -> Result<Self> {
        Self::binary(BinaryOp::Sub, self, other)
    }

    /// `self · other`; shorthand for [`binary`](Self::binary).
    ///
    /// # Errors
    /// As [`binary`](Self::binary).
    pub fn mul<'a>(&'a self, other: impl Into<Operand<'a, B>>) -> Result<Self> {
        Self::binary(BinaryOp::Mul, self, other)
    }

    /// The values broadcast to a shape, without copying them.
    ///
    /// # Errors
    /// If the shape does not fit.
    pub fn expand(&self, shape: &Shape) -> Result<Self> {
        if self.shape() == shape {
            return Ok(self.clone());
        }
        let layout: Layout = self.layout.expand(shape)?;
        Ok(self.with_layout(layout))
    }
}

/// A power of a float that the host knows, by the ways of [`Array::pow_special`].
pub(super) fn pow_of_constants(base: f64, exponent: f64, dtype: DType) -> Scalar {
    let (square, cube) = (2.0, 3.0);
    let unary = |op: UnaryOp| rounded((op.row().float)(base), dtype);
    match exponent {
        1.0 => rounded(base, dtype),
        e if e == square => unary(UnaryOp::Square),
        e if e == cube => rounded(Scalar::Float(base * base).cast(dtype.compute()).as_f64() * base, dtype),
        0.5 => unary(UnaryOp::Sqrt),
        -0.5 => unary(UnaryOp::Rsqrt),
        -1.0 => unary(UnaryOp::Reciprocal),
        e => rounded((BinaryOp::Pow.row().float)(base, e), dtype),
    }
}

/// A float result as a kernel would store it: rounded to the dtype it is computed in, then to the dtype.
#[inline]
pub(super) fn rounded(value: f64, dtype: DType) -> Scalar {
    match dtype {
        DType::F64 => Scalar::Float(value),
        DType::F32 => Scalar::Float(f64::from(value as f32)),
        _ => Scalar::Float(value).cast(dtype.compute()).cast(dtype),
    }
}

/// The dtype to compute arithmetic of a storage type and a scalar in where the storage type cannot hold the scalar: a small
/// f16 times 65536 is an f16, though 65536 itself is not.
#[inline]
fn wide_dtype<B: Backend>(op: BinaryOp, a: &Operand<'_, B>, b: &Operand<'_, B>, dtype: DType) -> Option<DType> {
    let wide = dtype.compute();
    if wide == dtype {
        return None;
    }
    let loses = |operand: &Operand<'_, B>| match *operand {
        Operand::Scalar(value) => value.cast(dtype) != value.cast(wide),
        Operand::Array(_) => false,
    };
    let arithmetic = matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div);
    (arithmetic && (loses(a) || loses(b))).then_some(wide)
}

/// What addition, multiplication and comparison of size mean for bools.
fn of_bools(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Add | BinaryOp::Maximum => BinaryOp::BitOr,
        BinaryOp::Mul | BinaryOp::Minimum => BinaryOp::BitAnd,
        other => other,
    }
}

/// Integers cannot be divided by 0; floats can.
fn refuse_zero_divisor<B: Backend>(op: BinaryOp, divisor: &Operand<'_, B>, dtype: DType) -> Result<()> {
    if !matches!(op, BinaryOp::FloorDiv | BinaryOp::TruncDiv | BinaryOp::Remainder | BinaryOp::Fmod) {
        return Ok(());
    }
    let has_zero = match (divisor.constant(dtype), divisor) {
        // An array without elements is a constant whose value nobody has.
        (_, Operand::Array(array)) if array.numel() == 0 => false,
        (Some(value), _) => !value.as_bool(),
        // In the dtype of the division: 256 is no zero, but as a u8 it is.
        (None, Operand::Array(array)) if array.dtype().category() <= Category::Int => {
            Array::compare(CompareOp::Eq, &array.cast(dtype)?, 0)?.any_element()?
        }
        (None, _) => false,
    };
    if has_zero {
        return Err(Error::value(op.name(), "a divisor without zeros for integers", "a zero")
            .hint("convert to a float dtype, where x / 0 is ±inf or NaN"));
    }
    Ok(())
}
