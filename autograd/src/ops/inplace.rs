//! The methods with a trailing underscore: they give this very tensor a new value, seen through every handle to it.
//!
//! Values that other tensors were computed from, and views taken earlier, keep what they were.

use super::indexing::not_lost;
use crate::misuse::ok;
use crate::operand::Operand;
use crate::tensor::Tensor;
use tensor_core::op::BinaryOp;
use tensor_core::{Array, Backend, Scalar};

macro_rules! in_place {
    ($($(#[$doc:meta])* $name:ident => $op:ident;)*) => {
        impl<B: Backend> Tensor<B> {
            $(
                $(#[$doc])*
                ///
                /// # Panics
                /// If the tensor or the operand requires a gradient outside of [`no_grad`](crate::no_grad), or the result's
                /// shape or dtype would not fit it.
                #[track_caller]
                pub fn $name<'a>(&'a self, other: impl Into<Operand<'a, B>>) -> &'a Self {
                    let other = other.into();
                    ok(not_lost(stringify!($name), &other));
                    let result = self.update(stringify!($name), |old| match &other {
                        Operand::Scalar(scalar) => Array::binary(BinaryOp::$op, old, *scalar),
                        Operand::Ref(tensor) => Array::binary(BinaryOp::$op, old, &tensor.array()),
                        Operand::Own(tensor) => Array::binary(BinaryOp::$op, old, &tensor.array()),
                    });
                    ok(result.map_err(|error| error.named(stringify!($name))));
                    self
                }
            )*
        }
    };
}

in_place! {
    /// Adds to this tensor.
    add_ => Add;
    /// Subtracts from this tensor.
    sub_ => Sub;
    /// Multiplies this tensor.
    mul_ => Mul;
    /// Divides this tensor.
    div_ => Div;
}

impl<B: Backend> Tensor<B> {
    /// Sets every element to 0.
    ///
    /// # Panics
    /// If the tensor requires a gradient outside of [`no_grad`](crate::no_grad).
    #[track_caller]
    pub fn zero_(&self) -> &Self {
        self.fill_named("zero_", Scalar::Int(0))
    }

    /// Sets every element to a value, converted to the tensor's dtype.
    ///
    /// # Panics
    /// If the tensor requires a gradient outside of [`no_grad`](crate::no_grad).
    #[track_caller]
    pub fn fill_(&self, value: impl Into<Scalar>) -> &Self {
        self.fill_named("fill_", value.into())
    }

    #[track_caller]
    fn fill_named(&self, op: &'static str, value: Scalar) -> &Self {
        ok(self.update(op, |old| Ok(Array::full(old.backend(), value, old.shape(), old.dtype()))));
        self
    }

    /// Takes over another tensor's values, broadcast and converted.
    ///
    /// # Panics
    /// If either tensor requires a gradient outside of [`no_grad`](crate::no_grad), or the shape does not fit.
    #[track_caller]
    pub fn copy_(&self, other: &Self) -> &Self {
        ok(not_lost("copy_", &Operand::Ref(other)));
        ok(self.update("copy_", |old| {
            let new = other.array().to_backend(old.backend())?.cast(old.dtype())?;
            new.expand(old.shape()).map_err(|error| error.named("copy_"))
        }));
        self
    }
}
