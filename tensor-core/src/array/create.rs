//! Constructors: ranges, identity, random numbers.

use super::Array;
use crate::op::{BinaryOp, CompareOp, Takes, TernaryOp, UnaryOp};
use crate::program::{Program, Reg};
use crate::{Backend, DType, Error, Result, Scalar, Shape};

impl<B: Backend> Array<B> {
    /// `start, start + step, …` up to but without `end`. Integers if `dtype` is an integer.
    ///
    /// Elements are computed as `start + i·step` in f64 (integers exactly), so that errors do not pile up.
    ///
    /// # Errors
    /// If `step` is 0 or leads away from `end`, a number is not finite, `dtype` is bool, or it is an integer and `start` or
    /// `step` is not whole.
    pub fn arange(
        backend: &B,
        start: impl Into<Scalar>,
        end: impl Into<Scalar>,
        step: impl Into<Scalar>,
        dtype: DType,
    ) -> Result<Self> {
        let (mut start, end, mut step) = (start.into(), end.into(), step.into());
        let refuse = |expected: &str, got: String| Err(Error::value("arange", expected, got));
        if dtype == DType::Bool {
            return Err(Error::dtype("arange", Takes::Number.expected(), dtype.name()));
        }
        let span = format!("start {start}, end {end}, step {step}");
        if dtype.is_int() {
            for number in [&mut start, &mut step] {
                let whole = Scalar::Int(number.as_i64());
                if whole.as_f64() != number.as_f64() {
                    return refuse("a whole start and step for an integer dtype", span);
                }
                *number = whole;
            }
        }
        let count = if let (Scalar::Int(start), Scalar::Int(end), Scalar::Int(step)) = (start, end, step) {
            let (distance, step) = (i128::from(end) - i128::from(start), i128::from(step));
            if step == 0 {
                return refuse("a step other than 0", span);
            }
            if distance != 0 && (distance < 0) != (step < 0) {
                return refuse("a step that leads from start to end", span);
            }
            (distance + step - step.signum()) / step
        } else {
            let (start, end, step) = (start.as_f64(), end.as_f64(), step.as_f64());
            if step == 0.0 || !(start.is_finite() && end.is_finite() && step.is_finite()) {
                return refuse("finite numbers and a step other than 0", span);
            }
            let steps = (end - start) / step;
            if steps < 0.0 {
                return refuse("a step that leads from start to end", span);
            }
            steps.ceil() as i128
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let shape = Shape::new([count]).map_err(|error| error.named("arange"))?;
        let (at, wide) = if dtype.is_int() { (DType::I64, DType::I64) } else { (DType::F64, DType::F64) };
        let mut program = Program::new();
        let i = program.iota(0);
        let i = program.cast(i, wide);
        let step = program.scalar(step, at);
        let start = program.scalar(start, at);
        let scaled = program.binary(BinaryOp::Mul, i, step);
        let value = program.binary(BinaryOp::Add, start, scaled);
        let value = program.cast(value, dtype);
        Self::generate(backend, program, value, &shape)
    }

    /// `count` evenly spaced numbers from `start` to `end`, both included.
    ///
    /// The second half is computed from the end, so that the last element is `end` exactly.
    ///
    /// # Errors
    /// If `dtype` is bool.
    pub fn linspace(backend: &B, start: f64, end: f64, count: usize, dtype: DType) -> Result<Self> {
        if dtype == DType::Bool {
            return Err(Error::dtype("linspace", Takes::Number.expected(), dtype.name()));
        }
        let shape = Shape::new([count]).map_err(|error| error.named("linspace"))?;
        let step = if count > 1 { (end - start) / (count - 1) as f64 } else { 0.0 };
        let mut program = Program::new();
        let i = program.iota(0);
        let half = program.scalar(Scalar::from(count.div_ceil(2)), DType::I64);
        let front = program.compare(CompareOp::Lt, i, half);
        let i = program.cast(i, DType::F64);
        let step = program.scalar(step.into(), DType::F64);
        let first = program.scalar(start.into(), DType::F64);
        let last = program.scalar(end.into(), DType::F64);
        let top = program.scalar((count.max(1) as f64 - 1.0).into(), DType::F64);
        let up = program.binary(BinaryOp::Mul, i, step);
        let from_start = program.binary(BinaryOp::Add, first, up);
        let left = program.binary(BinaryOp::Sub, top, i);
        let down = program.binary(BinaryOp::Mul, left, step);
        let from_end = program.binary(BinaryOp::Sub, last, down);
        let value = program.ternary(TernaryOp::Where, front, from_start, from_end);
        let value = program.cast(value, dtype);
        Self::generate(backend, program, value, &shape)
    }

    /// Ones on the diagonal, zeros elsewhere.
    ///
    /// # Errors
    /// If the shape is too large.
    pub fn eye(backend: &B, rows: usize, columns: usize, dtype: DType) -> Result<Self> {
        let shape = Shape::new([rows, columns]).map_err(|error| error.named("eye"))?;
        let mut program = Program::new();
        let (i, j) = (program.iota(0), program.iota(1));
        let same = program.compare(CompareOp::Eq, i, j);
        let value = program.cast(same, dtype);
        Self::generate(backend, program, value, &shape)
    }

    /// The elements of the last two axes on and below the diagonal (`upper = false`: tril) or on and above it (`upper =
    /// true`: triu); zeros elsewhere. A positive `diagonal` lies above the main one.
    ///
    /// # Errors
    /// If there are fewer than two axes.
    pub fn triangle(&self, diagonal: i64, upper: bool) -> Result<Self> {
        let op = if upper { "triu" } else { "tril" };
        let rank = self.rank();
        if rank < 2 {
            return Err(Error::shape(op, "a tensor with at least two axes", format!("shape {}", self.shape())));
        }
        let shape = Shape::new(&self.dims()[rank - 2..])?;
        let mut program = Program::new();
        let (i, j) = (program.iota(0), program.iota(1));
        // No diagonal lies further away than this, and adding to it cannot overflow.
        let diagonal = diagonal.clamp(-(shape.dims()[0] as i64), shape.dims()[1] as i64);
        let offset = program.scalar(Scalar::Int(diagonal), DType::I64);
        let edge = program.binary(BinaryOp::Add, i, offset);
        let keep = program.compare(if upper { CompareOp::Ge } else { CompareOp::Le }, j, edge);
        let mask = Self::generate(&self.backend, program, keep, &shape)?;
        Self::ternary(TernaryOp::Where, &mask, self, Scalar::Int(0).cast(self.dtype)).map_err(|e| e.named(op))
    }

    /// Uniform random numbers from 0 (included) to 1 (excluded), in a float dtype: 24 random bits each (53 for f64; as many
    /// as the dtype has for f16 and bf16, so that 1 never occurs by rounding).
    ///
    /// The same `seed`, `stream` and shape give the same numbers on every backend.
    ///
    /// # Errors
    /// If `dtype` is no float.
    pub fn rand(backend: &B, seed: u64, stream: u64, shape: &Shape, dtype: DType) -> Result<Self> {
        require_float("rand", dtype)?;
        let mut program = Program::new();
        let key = program.random_key(seed, stream);
        let value = uniform(&mut program, key, 0, dtype);
        let value = program.cast(value, dtype);
        Self::generate(backend, program, value, shape)
    }

    /// Normally distributed random numbers with mean 0 and standard deviation 1, by the method of Box and Muller.
    ///
    /// # Errors
    /// If `dtype` is no float.
    pub fn randn(backend: &B, seed: u64, stream: u64, shape: &Shape, dtype: DType) -> Result<Self> {
        require_float("randn", dtype)?;
        // f16 and bf16 would have too few distinct radii; they are rounded at the end.
        let wide = dtype.compute();
        let mut program = Program::new();
        let key = program.random_key(seed, stream);
        let radius = uniform(&mut program, key, 0, wide);
        let angle = uniform(&mut program, key, 2, wide);
        let scalar = |program: &mut Program, value: f64| program.scalar(value.into(), wide);
        // ln(1 − u) is finite because u is below 1.
        let one = scalar(&mut program, 1.0);
        let rest = program.binary(BinaryOp::Sub, one, radius);
        let log = program.unary(UnaryOp::Log, rest);
        let minus_two = scalar(&mut program, -2.0);
        let squared = program.binary(BinaryOp::Mul, minus_two, log);
        let length = program.unary(UnaryOp::Sqrt, squared);
        let turn = scalar(&mut program, std::f64::consts::TAU);
        let phase = program.binary(BinaryOp::Mul, turn, angle);
        let cosine = program.unary(UnaryOp::Cos, phase);
        let value = program.binary(BinaryOp::Mul, length, cosine);
        let value = program.cast(value, dtype);
        Self::generate(backend, program, value, shape)
    }

    /// Random integers from `low` (included) to `high` (excluded). Ranges up to 2³² are unbiased to within 2⁻³², larger ones
    /// to within 2⁻¹⁰.
    ///
    /// # Errors
    /// If `high` is not above `low`, the range does not fit 53 bits, or `dtype` is bool or an integer too narrow for it.
    pub fn randint(
        backend: &B,
        seed: u64,
        stream: u64,
        low: i64,
        high: i64,
        shape: &Shape,
        dtype: DType,
    ) -> Result<Self> {
        if dtype == DType::Bool {
            return Err(Error::dtype("randint", Takes::Number.expected(), dtype.name()));
        }
        let range = i128::from(high) - i128::from(low);
        if !(1..=1 << 53).contains(&range) {
            return Err(Error::value("randint", "1 to 2^53 numbers from low to high", format!("{low} and {high}")));
        }
        let fits = |number: i64| Scalar::Int(number).cast(dtype).as_i64() == number;
        if dtype.is_int() && !(fits(low) && fits(high - 1)) {
            return Err(Error::value(
                "randint",
                format!("numbers that {dtype} holds"),
                format!("{low} to {}", high - 1),
            ));
        }
        let mut program = Program::new();
        let key = program.random_key(seed, stream);
        let unit = uniform(&mut program, key, 0, DType::F64);
        let size = program.scalar((range as f64).into(), DType::F64);
        let scaled = program.binary(BinaryOp::Mul, unit, size);
        // The product rounds, so it could reach the end of a large range.
        let last = program.scalar(((range - 1) as f64).into(), DType::F64);
        let scaled = program.binary(BinaryOp::Minimum, scaled, last);
        let floor = program.cast(scaled, DType::I64);
        let low = program.scalar(Scalar::Int(low), DType::I64);
        let value = program.binary(BinaryOp::Add, floor, low);
        let value = program.cast(value, dtype);
        Self::generate(backend, program, value, shape)
    }

    /// The numbers from 0 to `count − 1` in random order, `I64`: each gets 64 random bits, and they are sorted by these.
    ///
    /// # Errors
    /// If the device fails or has no memory left.
    pub fn randperm(backend: &B, seed: u64, stream: u64, count: usize) -> Result<Self> {
        let shape = Shape::new([count]).map_err(|error| error.named("randperm"))?;
        let mut program = Program::new();
        let key = program.random_key(seed, stream);
        let (high, low) = (program.random(key, 0), program.random(key, 1));
        let width = program.scalar(Scalar::Int(32), DType::I64);
        let shifted = program.binary(BinaryOp::Shl, high, width);
        let bits = program.binary(BinaryOp::BitOr, shifted, low);
        let keys = Self::generate(backend, program, bits, &shape)?;
        Ok(keys.sort(0, false)?.1)
    }
}

fn require_float(op: &'static str, dtype: DType) -> Result<()> {
    if dtype.is_float() {
        return Ok(());
    }
    Err(Error::dtype(op, Takes::Float.expected(), dtype.name()))
}

/// Random numbers in [0, 1) from words `word` and, for f64, the next one: as many bits as the dtype's significand.
fn uniform(program: &mut Program, key: u8, word: u8, dtype: DType) -> Reg {
    let bits = match dtype {
        DType::F16 => 11,
        DType::BF16 => 8,
        DType::F64 => 53,
        _ => 24,
    };
    let mut value = program.random(key, word);
    if bits == 53 {
        let low = program.random(key, word + 1);
        let width = program.scalar(Scalar::Int(32), DType::I64);
        let high = program.binary(BinaryOp::Shl, value, width);
        value = program.binary(BinaryOp::BitOr, high, low);
        // 64 random bits as a signed number: keep the upper 53 without the sign.
        let cut = program.scalar(Scalar::Int(11), DType::I64);
        value = program.binary(BinaryOp::Shr, value, cut);
        let mask = program.scalar(Scalar::Int((1 << 53) - 1), DType::I64);
        value = program.binary(BinaryOp::BitAnd, value, mask);
    } else {
        let cut = program.scalar(Scalar::Int(32 - bits), DType::I64);
        value = program.binary(BinaryOp::Shr, value, cut);
    }
    let wide = dtype.compute();
    let value = program.cast(value, wide);
    let scale = program.scalar((-(bits as f64)).exp2().into(), wide);
    program.binary(BinaryOp::Mul, value, scale)
}
