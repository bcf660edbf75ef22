//! Operators of `std::ops` on tensors, references to tensors, and scalars on either side.

use super::binary;
use crate::operand::Operand;
use crate::tensor::Tensor;
use std::ops::{
    Add, AddAssign, BitAnd, BitAndAssign, BitOr, BitOrAssign, BitXor, BitXorAssign, Div, DivAssign, Mul, MulAssign,
    Neg, Not, Rem, RemAssign, Shl, ShlAssign, Shr, ShrAssign, Sub, SubAssign,
};
use tensor_core::op::{BinaryOp, UnaryOp};
use tensor_core::{Backend, Scalar};

macro_rules! operators {
    ($($trait:ident $method:ident, $assign:ident $assign_method:ident => $op:ident;)*) => {$(
        impl<'r, B: Backend, R: Into<Operand<'r, B>>> $trait<R> for Tensor<B> {
            type Output = Self;
            #[track_caller]
            #[inline]
            fn $method(self, other: R) -> Self {
                binary(BinaryOp::$op, Operand::Own(self), other.into())
            }
        }

        impl<'r, B: Backend, R: Into<Operand<'r, B>>> $trait<R> for &Tensor<B> {
            type Output = Tensor<B>;
            #[track_caller]
            #[inline]
            fn $method(self, other: R) -> Tensor<B> {
                binary(BinaryOp::$op, Operand::Ref(self), other.into())
            }
        }

        impl<'r, B: Backend, R: Into<Operand<'r, B>>> $assign<R> for Tensor<B> {
            /// The variable becomes the result; other handles of the old tensor keep the old value.
            #[track_caller]
            #[inline]
            fn $assign_method(&mut self, other: R) {
                *self = binary(BinaryOp::$op, Operand::Ref(self), other.into());
            }
        }
    )*};
}

operators! {
    Add add, AddAssign add_assign => Add;
    Sub sub, SubAssign sub_assign => Sub;
    Mul mul, MulAssign mul_assign => Mul;
    Div div, DivAssign div_assign => Div;
    Rem rem, RemAssign rem_assign => Remainder;
    BitAnd bitand, BitAndAssign bitand_assign => BitAnd;
    BitOr bitor, BitOrAssign bitor_assign => BitOr;
    BitXor bitxor, BitXorAssign bitxor_assign => BitXor;
    Shl shl, ShlAssign shl_assign => Shl;
    Shr shr, ShrAssign shr_assign => Shr;
}

// Only `i32` and `f64`, the types that literals fall back to, stand on the left: with one integer and one float type the
// compiler knows at once what `3 * x` is, so that `(3 * x).sum()` needs no annotation.
macro_rules! scalar_on_the_left {
    ($($scalar:ty: $($trait:ident $method:ident => $op:ident),*;)*) => {$($(
        impl<B: Backend> $trait<Tensor<B>> for $scalar {
            type Output = Tensor<B>;
            #[track_caller]
            #[inline]
            fn $method(self, other: Tensor<B>) -> Tensor<B> {
                binary(BinaryOp::$op, Operand::Scalar(Scalar::from(self)), Operand::Own(other))
            }
        }

        impl<B: Backend> $trait<&Tensor<B>> for $scalar {
            type Output = Tensor<B>;
            #[track_caller]
            #[inline]
            fn $method(self, other: &Tensor<B>) -> Tensor<B> {
                binary(BinaryOp::$op, Operand::Scalar(Scalar::from(self)), Operand::Ref(other))
            }
        }
    )*)*};
}

scalar_on_the_left! {
    i32: Add add => Add, Sub sub => Sub, Mul mul => Mul, Div div => Div, Rem rem => Remainder,
        BitAnd bitand => BitAnd, BitOr bitor => BitOr, BitXor bitxor => BitXor, Shl shl => Shl, Shr shr => Shr;
    f64: Add add => Add, Sub sub => Sub, Mul mul => Mul, Div div => Div, Rem rem => Remainder;
}

macro_rules! prefix {
    ($($trait:ident $method:ident => $op:ident;)*) => {$(
        impl<B: Backend> $trait for Tensor<B> {
            type Output = Self;
            #[track_caller]
            #[inline]
            fn $method(self) -> Self {
                $trait::$method(&self)
            }
        }

        impl<B: Backend> $trait for &Tensor<B> {
            type Output = Tensor<B>;
            #[track_caller]
            #[inline]
            fn $method(self) -> Tensor<B> {
                crate::misuse::ok(crate::primitive::apply1(crate::primitive::Primitive::Unary(UnaryOp::$op), self))
            }
        }
    )*};
}

prefix! {
    Neg neg => Neg;
    Not not => BitNot;
}
