//! What instructions cost.

use tensor_core::op::{BinaryOp, UnaryOp};
use tensor_core::program::Op;

/// About how many nanoseconds a thousand elements of an instruction take. It only decides when threads are worth it.
pub(in crate::pointwise) fn cost(op: &Op) -> usize {
    match op {
        Op::Unary(op, _) => match op {
            UnaryOp::Exp
            | UnaryOp::Exp2
            | UnaryOp::Expm1
            | UnaryOp::Log
            | UnaryOp::Log2
            | UnaryOp::Log10
            | UnaryOp::Log1p
            | UnaryOp::Sin
            | UnaryOp::Cos
            | UnaryOp::Tan
            | UnaryOp::Asin
            | UnaryOp::Acos
            | UnaryOp::Atan
            | UnaryOp::Sinh
            | UnaryOp::Cosh
            | UnaryOp::Tanh
            | UnaryOp::Asinh
            | UnaryOp::Acosh
            | UnaryOp::Atanh
            | UnaryOp::Erf
            | UnaryOp::Erfc
            | UnaryOp::Sigmoid
            | UnaryOp::Gelu
            | UnaryOp::GeluTanh
            | UnaryOp::Silu
            | UnaryOp::Softplus => 500,
            UnaryOp::Reciprocal | UnaryOp::Sqrt | UnaryOp::Rsqrt => 300,
            UnaryOp::Neg
            | UnaryOp::Abs
            | UnaryOp::Sign
            | UnaryOp::Ceil
            | UnaryOp::Floor
            | UnaryOp::Round
            | UnaryOp::Trunc
            | UnaryOp::Frac
            | UnaryOp::Square
            | UnaryOp::Relu
            | UnaryOp::BitNot
            | UnaryOp::IsNan
            | UnaryOp::IsInf
            | UnaryOp::IsFinite => 100,
        },
        Op::Binary(op, ..) => match op {
            BinaryOp::Div
            | BinaryOp::FloorDiv
            | BinaryOp::TruncDiv
            | BinaryOp::Remainder
            | BinaryOp::Fmod
            | BinaryOp::Pow
            | BinaryOp::Atan2
            | BinaryOp::Hypot => 1000,
            BinaryOp::Add
            | BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Maximum
            | BinaryOp::Minimum
            | BinaryOp::BitAnd
            | BinaryOp::BitOr
            | BinaryOp::BitXor
            | BinaryOp::Shl
            | BinaryOp::Shr => 100,
        },
        Op::Compare(..) | Op::Ternary(..) | Op::Cast(_) => 100,
        Op::Input(_) | Op::Scalar(_) | Op::Iota(_) | Op::Random { .. } => 0,
    }
}
