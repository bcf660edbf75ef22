//! The methods with a trailing underscore: they give this very tensor a new value, seen through every handle to it.
//!
//! Values that other tensors were computed from, and views taken earlier, keep what they were.

use super::Generator;
use super::indexing::not_lost;
use crate::misuse::ok;
use crate::operand::Operand;
use crate::tensor::Tensor;
use tensor_core::op::BinaryOp;
use tensor_core::{Array, Backend, Scalar};

macro_rules! in_place {
    ($($(#[$doc:meta])* $name:ident => $op:ident, $result:expr;)*) => {
        impl<B: Backend> Tensor<B> {
            $(
                $(#[$doc])*
                ///
                #[doc = concat!(
                    "```\n# use tensor_core::reference::Reference;\n# type Tensor = autograd::Tensor<Reference>;\n",
                    "let x = Tensor::from([6.0_f32]);\nx.", stringify!($name), "(2);\n",
                    "assert_eq!(x.item(), ", stringify!($result), ");\n```"
                )]
                ///
                /// # Panics
                /// If the tensor or the operand requires a gradient outside of [`no_grad`](crate::no_grad), or the result's
                /// shape or dtype would not fit it.
                #[track_caller]
                pub fn $name<'a>(&'a self, other: impl Into<Operand<'a, B>>) -> &'a Self {
                    let other = other.into();
                    ok(not_lost(stringify!($name), &other));
                    if ok(self.update_binary(stringify!($name), BinaryOp::$op, &other)) {
                        return self;
                    }
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
    /// Adds to this tensor: `x += other` that every handle of `x` sees.
    add_ => Add, 8.0;
    /// Subtracts from this tensor.
    sub_ => Sub, 4.0;
    /// Multiplies this tensor.
    mul_ => Mul, 12.0;
    /// Divides this tensor.
    div_ => Div, 3.0;
}

impl<B: Backend> Tensor<B> {
    /// Sets every element to 0.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::ones([2]);
    /// x.zero_();
    /// assert_eq!(x.to_vec::<f32>(), [0.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// If the tensor requires a gradient outside of [`no_grad`](crate::no_grad).
    #[track_caller]
    pub fn zero_(&self) -> &Self {
        self.fill_named("zero_", Scalar::Int(0))
    }

    /// Sets every element to a value, converted to the tensor's dtype.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::ones([2]);
    /// x.fill_(7);
    /// assert_eq!(x.to_vec::<f32>(), [7.0, 7.0]);
    /// ```
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
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::zeros([2]);
    /// x.copy_(&Tensor::from([1_i64, 2]));
    /// assert_eq!(x.to_vec::<f32>(), [1.0, 2.0]);
    /// ```
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

    /// Gives every element a uniform random number from `low` (included) to `high` (excluded), from the global generator.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let weights = Tensor::zeros([100]);
    /// weights.uniform_(-0.1, 0.1);
    /// assert!(weights.abs().max().item() <= 0.1);
    /// ```
    ///
    /// # Panics
    /// If the tensor requires a gradient outside of [`no_grad`](crate::no_grad), or the dtype is no float.
    #[track_caller]
    pub fn uniform_(&self, low: f64, high: f64) -> &Self {
        ok(self.update("uniform_", |old| {
            let noise = Generator::draw().rand_array(old.backend(), old.shape(), old.dtype());
            noise.and_then(|noise| noise.mul(high - low)?.add(low)).map_err(|error| error.named("uniform_"))
        }));
        self
    }

    /// Gives every element a normally distributed random number, from the global generator.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let weights = Tensor::zeros([1000]);
    /// weights.normal_(5.0, 0.1);
    /// assert!((weights.mean().item() - 5.0).abs() < 0.1);
    /// ```
    ///
    /// # Panics
    /// If the tensor requires a gradient outside of [`no_grad`](crate::no_grad), or the dtype is no float.
    #[track_caller]
    pub fn normal_(&self, mean: f64, std: f64) -> &Self {
        ok(self.update("normal_", |old| {
            let noise = Generator::draw().randn_array(old.backend(), old.shape(), old.dtype());
            noise.and_then(|noise| noise.mul(std)?.add(mean)).map_err(|error| error.named("normal_"))
        }));
        self
    }
}
