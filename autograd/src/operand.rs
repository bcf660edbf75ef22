//! What an operation takes: a tensor, by reference or by value, or a scalar.

use crate::graph::Target;
use crate::primitive::Value;
use crate::tensor::Tensor;
use tensor_core::{Backend, Scalar};

/// An operand of a pointwise operation. Everything that converts into it can stand in `x + …`, `x.maximum(…)` and the
/// like: tensors, references to tensors, and Rust's numbers and bools.
///
/// A scalar takes the tensor's dtype unless its category is higher: `1.5` turns an integer tensor into a float one.
#[derive(Debug)]
pub enum Operand<'a, B: Backend> {
    /// A borrowed tensor.
    Ref(&'a Tensor<B>),
    /// An owned tensor.
    Own(Tensor<B>),
    /// A scalar.
    Scalar(Scalar),
}

impl<'a, B: Backend> From<&'a Tensor<B>> for Operand<'a, B> {
    fn from(tensor: &'a Tensor<B>) -> Self {
        Self::Ref(tensor)
    }
}

impl<'a, B: Backend> From<&&'a Tensor<B>> for Operand<'a, B> {
    fn from(tensor: &&'a Tensor<B>) -> Self {
        Self::Ref(tensor)
    }
}

impl<B: Backend> From<Tensor<B>> for Operand<'_, B> {
    fn from(tensor: Tensor<B>) -> Self {
        Self::Own(tensor)
    }
}

macro_rules! from_scalar {
    ($($t:ty),*) => {$(
        impl<B: Backend> From<$t> for Operand<'_, B> {
            fn from(value: $t) -> Self {
                Self::Scalar(value.into())
            }
        }
    )*};
}
from_scalar!(bool, u8, i8, i16, i32, i64, f32, f64, usize, tensor_core::f16, tensor_core::bf16, Scalar);

impl<B: Backend> Operand<'_, B> {
    #[inline]
    pub(crate) fn tensor(&self) -> Option<&Tensor<B>> {
        match self {
            Self::Ref(tensor) => Some(tensor),
            Self::Own(tensor) => Some(tensor),
            Self::Scalar(_) => None,
        }
    }

    #[inline]
    pub(crate) fn scalar(&self) -> Option<Scalar> {
        match self {
            Self::Scalar(scalar) => Some(*scalar),
            Self::Ref(_) | Self::Own(_) => None,
        }
    }

    /// The operand borrowed.
    pub(crate) fn by_ref(&self) -> Operand<'_, B> {
        match self {
            Self::Ref(tensor) => Operand::Ref(tensor),
            Self::Own(tensor) => Operand::Ref(tensor),
            Self::Scalar(scalar) => Operand::Scalar(*scalar),
        }
    }

    #[inline]
    pub(crate) fn value(&self) -> Value<B> {
        match self {
            Self::Ref(tensor) => Value::Array(tensor.array()),
            Self::Own(tensor) => Value::Array(tensor.array()),
            Self::Scalar(scalar) => Value::Scalar(*scalar),
        }
    }

    #[inline]
    pub(crate) fn requires_grad(&self) -> bool {
        self.tensor().is_some_and(Tensor::requires_grad)
    }

    #[inline]
    pub(crate) fn edge(&self) -> Target<B> {
        self.tensor().map_or(Target::None, Tensor::edge)
    }
}
