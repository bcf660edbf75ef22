//! Rows of the op tables.

use super::{A, B, C, Jvp, Needs, OUTPUT, Row, Vjp};
use crate::misuse::ok;
use crate::primitive::Primitive;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LN_2, LN_10, PI};
use std::sync::OnceLock;
use tensor_core::op::{BinaryOp, CompareOp, TernaryOp, UnaryOp};
use tensor_core::{Array, Backend, DType, Program, Scalar};

/// `dy/da · g` of an operation of one operand.
pub(super) fn unary<K: Backend>(op: UnaryOp) -> Row<K> {
    use UnaryOp::*;
    let (needs, vjp): (u8, Vjp<K>) = match op {
        Neg => (0, |_, g, _| -g),
        // 0 at 0
        Abs => (A, |k, g, _| g * k.x().sign()),
        // 0 everywhere, also at the steps
        Sign | Ceil | Floor | Round | Trunc => (0, |_, g, _| g.zeros_like()),
        Frac => (0, |_, g, _| g.clone()),
        // −1/a² = −y²
        Reciprocal => (OUTPUT, |k, g, _| -g * k.y().square()),
        // 1/(2√a); ∞ at 0
        Sqrt => (OUTPUT, |k, g, _| g / (k.y() * 2)),
        // −½·a^(−3/2) = −½·y³
        Rsqrt => (OUTPUT, |k, g, _| g * k.y().powi(3) * -0.5),
        Square => (A, |k, g, _| g * (k.x() * 2)),
        Exp => (OUTPUT, |k, g, _| g * k.y()),
        Exp2 => (OUTPUT, |k, g, _| g * k.y() * LN_2),
        Expm1 => (OUTPUT, |k, g, _| g * (k.y() + 1)),
        Log => (A, |k, g, _| g / k.x()),
        Log2 => (A, |k, g, _| g / (k.x() * LN_2)),
        Log10 => (A, |k, g, _| g / (k.x() * LN_10)),
        Log1p => (A, |k, g, _| g / (k.x() + 1)),
        Sin => (A, |k, g, _| g * k.x().cos()),
        Cos => (A, |k, g, _| g * -k.x().sin()),
        Tan => (OUTPUT, |k, g, _| g * (k.y().square() + 1)),
        Asin => (A, |k, g, _| g * (1 - k.x().square()).rsqrt()),
        Acos => (A, |k, g, _| g * -(1 - k.x().square()).rsqrt()),
        Atan => (A, |k, g, _| g / (k.x().square() + 1)),
        Sinh => (A, |k, g, _| g * k.x().cosh()),
        Cosh => (A, |k, g, _| g * k.x().sinh()),
        Tanh => (OUTPUT, |k, g, _| in_one(Short::Tanh, k.y(), g).unwrap_or_else(|| g * (1 - k.y().square()))),
        Asinh => (A, |k, g, _| g * (k.x().square() + 1).rsqrt()),
        Acosh => (A, |k, g, _| g * (k.x().square() - 1).rsqrt()),
        Atanh => (A, |k, g, _| g / (1 - k.x().square())),
        // 2/√π·e^(−a²)
        Erf => (A, |k, g, _| g * (-k.x().square()).exp() * FRAC_2_SQRT_PI),
        Erfc => (A, |k, g, _| g * (-k.x().square()).exp() * -FRAC_2_SQRT_PI),
        Sigmoid => (OUTPUT, |k, g, _| in_one(Short::Sigmoid, k.y(), g).unwrap_or_else(|| g * (k.y() * (1 - k.y())))),
        // 0 at 0; g at NaN
        Relu => (OUTPUT, |k, g, _| in_one(Short::Relu, k.y(), g).unwrap_or_else(|| g.masked_fill(&k.y().le(0), 0))),
        // Φ(a) + a·φ(a)
        Gelu => (A, |k, g, _| {
            let x = k.x();
            let cdf = (x * -FRAC_1_SQRT_2).erfc() * 0.5;
            let pdf = (x.square() * -0.5).exp() * (1.0 / (2.0 * PI).sqrt());
            g * (cdf + x * pdf)
        }),
        // with u = √(2/π)·(a + 0.044715·a³): ½(1 + tanh u) + ½·a·(1 − tanh² u)·u′
        GeluTanh => (A, |k, g, _| {
            let x = k.x();
            let scale = (2.0 / PI).sqrt();
            let square = x.square();
            let tanh = (x * (&square * 0.044715 + 1) * scale).tanh();
            let slope = (square * (3.0 * 0.044715) + 1) * scale;
            g * ((&tanh + 1) * 0.5 + x * (1 - tanh.square()) * slope * 0.5)
        }),
        // σ(a)·(1 + a·(1 − σ(a)))
        Silu => (A, |k, g, _| {
            let sigmoid = k.x().sigmoid();
            g * (&sigmoid * (k.x() * (1 - &sigmoid) + 1))
        }),
        // σ(a); 1 above the threshold, where the function is the identity
        Softplus => (A, |k, g, _| (g * k.x().sigmoid()).keep_where(&k.x().le(20), g)),
        BitNot | IsNan | IsInf | IsFinite => (0, |_, g, _| g.zeros_like()),
    };
    Row { needs: Needs([needs, 0, 0]), vjp, jvp: Jvp::Diagonal }
}

/// Rules that are short programs of a value and the gradient.
#[derive(Clone, Copy)]
enum Short {
    Tanh,
    Sigmoid,
    Relu,
}

impl Short {
    fn program(self, dtype: DType) -> Program {
        let mut program = Program::new();
        let (y, g) = (program.input(dtype), program.input(dtype));
        let result = match self {
            Self::Tanh | Self::Sigmoid => {
                let one = program.scalar(Scalar::Int(1), dtype);
                let slope = if matches!(self, Self::Tanh) {
                    let square = program.unary(UnaryOp::Square, y);
                    program.binary(BinaryOp::Sub, one, square)
                } else {
                    let rest = program.binary(BinaryOp::Sub, one, y);
                    program.binary(BinaryOp::Mul, y, rest)
                };
                program.binary(BinaryOp::Mul, g, slope)
            }
            Self::Relu => {
                let zero = program.scalar(Scalar::Int(0), dtype);
                let is_flat = program.compare(CompareOp::Le, y, zero);
                program.ternary(TernaryOp::Where, is_flat, zero, g)
            }
        };
        program.output(result);
        program
    }
}

/// A rule in one pass, if nobody records it: the operations that it is written with cost small tensors more than what they
/// compute. `None` if they have to be run.
fn in_one<K: Backend>(rule: Short, y: &Tensor<K>, g: &Tensor<K>) -> Option<Tensor<K>> {
    static PROGRAMS: [[OnceLock<Program>; 2]; 3] = [const { [const { OnceLock::new() }; 2] }; 3];
    if y.is_recording() || g.is_recording() {
        return None;
    }
    y.with_arrays(g, |y, g| {
        let dtype = y.dtype();
        // Others are rounded after each operation.
        let exact = matches!(dtype, DType::F32 | DType::F64) && dtype == g.dtype();
        let known = y.constant().is_some() || g.constant().is_some();
        if !exact || known || y.shape() != g.shape() {
            return None;
        }
        let place = &PROGRAMS[rule as usize][usize::from(dtype == DType::F64)];
        Some(Array::map(place.get_or_init(|| rule.program(dtype)), &[y, g], "backward"))
    })?
    .map(|result| Tensor::from_array(ok(result)))
}

/// `∂y/∂a · g` for the first operand, `∂y/∂b · g` for the second.
pub(super) fn binary<K: Backend>(op: BinaryOp) -> Row<K> {
    use BinaryOp::*;
    let (a, b, vjp): (u8, u8, Vjp<K>) = match op {
        Add => (0, 0, |_, g, _| g.clone()),
        Sub => (0, 0, |_, g, i| if i == 0 { g.clone() } else { -g }),
        Mul => (B, A, |k, g, i| if i == 0 { g.mul(k.b()) } else { g.mul(k.a()) }),
        // 1/b, and −a/b² = −y/b
        Div => (B, B | OUTPUT, |k, g, i| if i == 0 { g.div(k.b()) } else { -g.mul(k.y()).div(k.b()) }),
        FloorDiv | TruncDiv => (0, 0, |_, g, _| g.zeros_like()),
        // a − b·⌊a/b⌋, the floor being locally constant
        Remainder => (0, A | B, |k, g, i| if i == 0 { g.clone() } else { -g * k.second().rev_floor_divide(k.a()) }),
        Fmod => (0, A | B, |k, g, i| if i == 0 { g.clone() } else { -g * k.second().rev_div(k.a()).trunc() }),
        // b·a^(b−1), 0 where b = 0; and y·ln a, 0 where a = 0 and b ≥ 0
        Pow => (A | B, A | B | OUTPUT, |k, g, i| if i == 0 { pow_base(k, g) } else { pow_exponent(k, g) }),
        // y = atan2(a, b): b/(a² + b²) and −a/(a² + b²); 0 at the origin
        Atan2 => (A | B, A | B, |k, g, i| {
            let squares = k.sum_of_squares();
            let scale = squares.reciprocal().masked_fill(&squares.eq(0), 0);
            if i == 0 { g * scale.mul(k.b()) } else { g * -scale.mul(k.a()) }
        }),
        // a/y and b/y; NaN at the origin
        Hypot => (A | OUTPUT, B | OUTPUT, |k, g, i| g * k.y().rev_div(if i == 0 { k.a() } else { k.b() })),
        // the operand that won; half each where both are equal
        Maximum => (A | B, A | B, |k, g, i| extreme(k, g, i, false)),
        Minimum => (A | B, A | B, |k, g, i| extreme(k, g, i, true)),
        BitAnd | BitOr | BitXor | Shl | Shr => (0, 0, |_, g, _| g.zeros_like()),
    };
    Row { needs: Needs([a, b, 0]), vjp, jvp: Jvp::Diagonal }
}

use super::Call;
use crate::operand::Operand;
use crate::tensor::Tensor;

impl<K: Backend> Call<'_, K> {
    /// `a² + b²`.
    fn sum_of_squares(&self) -> Tensor<K> {
        let square = |operand: Operand<'_, K>| match operand.tensor() {
            Some(tensor) => Operand::Own(tensor.square()),
            None => match operand {
                Operand::Scalar(scalar) => Operand::Scalar(Scalar::Float(scalar.as_f64() * scalar.as_f64())),
                _ => unreachable!("an operand is a tensor or a scalar"),
            },
        };
        crate::ops::add_operands(square(self.a()), square(self.b()))
    }
}

fn pow_base<K: Backend>(k: &Call<'_, K>, g: &Tensor<K>) -> Tensor<K> {
    match k.b() {
        Operand::Scalar(exponent) => {
            let n = exponent.as_f64();
            if n == 0.0 { g.zeros_like() } else { g * (k.x().pow(Scalar::Float(n - 1.0)) * n) }
        }
        exponent => {
            let b = exponent.tensor().expect("it is no scalar");
            let slope = crate::ops::pow_operands(k.a(), Operand::Own(b - 1)) * b;
            g * slope.masked_fill(&b.eq(0), 0)
        }
    }
}

fn pow_exponent<K: Backend>(k: &Call<'_, K>, g: &Tensor<K>) -> Tensor<K> {
    let b = k.second();
    match k.a() {
        Operand::Scalar(base) => {
            let slope = k.y() * base.as_f64().ln();
            if base.as_f64() == 0.0 { g * slope.masked_fill(&b.ge(0), 0) } else { g * slope }
        }
        base => {
            let a = base.tensor().expect("it is no scalar");
            let flat = a.eq(0).logical_and(&b.ge(0));
            g * (k.y() * a.log()).masked_fill(&flat, 0)
        }
    }
}

/// `g` for the operand that is larger (smaller if `least`), half of it where both are equal.
fn extreme<K: Backend>(k: &Call<'_, K>, g: &Tensor<K>, i: usize, least: bool) -> Tensor<K> {
    let (own, other) = if i == 0 { (k.tensor(0), k.b()) } else { (k.tensor(1), k.a()) };
    let tie = own.eq(other.by_ref());
    let loses = if least { own.gt(other) } else { own.lt(other) };
    (g * 0.5).keep_where(&tie, g).masked_fill(&loses, 0)
}

/// `where(c, a, b)` and `lerp(a, b, w)`.
pub(super) fn ternary<K: Backend>(op: TernaryOp) -> Row<K> {
    let (needs, vjp): ([u8; 3], Vjp<K>) = match op {
        TernaryOp::Where => {
            ([0, A, A], |k, g, i| if i == 1 { g.masked_fill(&!k.x(), 0) } else { g.masked_fill(k.x(), 0) })
        }
        TernaryOp::Lerp => ([C, C, A | B], |k, g, i| match i {
            0 => g - g.mul(k.c()),
            1 => g.mul(k.c()),
            _ => g.mul(crate::ops::sub_operands(k.b(), k.a())),
        }),
        // Tensor bounds are written with maximum and minimum, scalar bounds have a primitive of their own.
        TernaryOp::Clamp => ([0; 3], |_, _, _| unreachable!("clamp is recorded as Primitive::Clamp")),
    };
    Row { needs: Needs(needs), vjp, jvp: Jvp::Diagonal }
}

/// Scalar bounds: 1 strictly between them, 0 elsewhere, at the bounds and for NaN.
pub(super) fn clamp<K: Backend>() -> Row<K> {
    Row {
        needs: Needs([A, 0, 0]),
        vjp: |k, g, _| {
            let Primitive::Clamp(low, high) = k.primitive else { unreachable!("this is clamp's row") };
            let mut inside = k.x().isnan().logical_not();
            if let Some(low) = low {
                inside = inside.logical_and(&k.x().gt(*low));
            }
            if let Some(high) = high {
                inside = inside.logical_and(&k.x().lt(*high));
            }
            g.masked_fill(&!inside, 0)
        },
        jvp: Jvp::Diagonal,
    }
}
