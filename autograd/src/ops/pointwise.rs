//! Element by element: functions, comparisons, conversions. Every method is a row of `tensor_core`'s op tables.

use super::binary;
use crate::misuse::ok;
use crate::operand::Operand;
use crate::primitive::{Primitive, apply, apply1};
use crate::tensor::Tensor;
use tensor_core::op::{BinaryOp, CompareOp, TernaryOp, UnaryOp};
use tensor_core::{Array, Backend, DType, Error, Result, Scalar};

/// A method for each row: its doc, an example with its result, the op.
macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident => $op:ident, $x:expr => $y:expr;)*) => {
        impl<B: Backend> Tensor<B> {
            $(
                $(#[$doc])*
                ///
                #[doc = concat!(
                    "```\n# use tensor_core::reference::Reference;\n# type Tensor = autograd::Tensor<Reference>;\n",
                    "let y = Tensor::from(", stringify!($x), ").", stringify!($name), "();\n",
                    "assert!((y.item() - ", stringify!($y), ").abs() < 1e-4);\n```"
                )]
                #[track_caller]
                #[must_use]
                pub fn $name(&self) -> Self {
                    ok(apply1(Primitive::Unary(UnaryOp::$op), self))
                }
            )*
        }
    };
}

unary! {
    /// The absolute value. Gradient: the sign of `x`, 0 at 0.
    abs => Abs, -1.5_f32 => 1.5;
    /// −1, 0 or 1; 0 for NaN. Gradient: 0.
    sign => Sign, -1.5_f32 => -1.0;
    /// The next integer above. Gradient: 0.
    ceil => Ceil, 1.2_f32 => 2.0;
    /// The next integer below. Gradient: 0.
    floor => Floor, 1.8_f32 => 1.0;
    /// The nearest integer, halves to even. Gradient: 0.
    round => Round, 2.5_f32 => 2.0;
    /// The fraction cut off. Gradient: 0.
    trunc => Trunc, -1.8_f32 => -1.0;
    /// The fraction, with the sign of `x`. Gradient: 1.
    frac => Frac, 2.25_f32 => 0.25;
    /// `1 / x`. Integers become floats.
    reciprocal => Reciprocal, 4.0_f32 => 0.25;
    /// The square root; NaN below 0. Integers become floats. Gradient: ∞ at 0.
    sqrt => Sqrt, 9.0_f32 => 3.0;
    /// `1 / √x`. Integers become floats.
    rsqrt => Rsqrt, 4.0_f32 => 0.5;
    /// `x²`.
    square => Square, 3.0_f32 => 9.0;
    /// `eˣ`. Integers become floats.
    exp => Exp, 1.0_f32 => 2.7183;
    /// `2ˣ`. Integers become floats.
    exp2 => Exp2, 3.0_f32 => 8.0;
    /// `eˣ − 1`, exact near 0. Integers become floats.
    expm1 => Expm1, 1.0_f32 => 1.7183;
    /// The natural logarithm. Integers become floats.
    log => Log, 2.0_f32 => 0.6931;
    /// The logarithm to base 2. Integers become floats.
    log2 => Log2, 8.0_f32 => 3.0;
    /// The logarithm to base 10. Integers become floats.
    log10 => Log10, 100.0_f32 => 2.0;
    /// `ln(1 + x)`, exact near 0. Integers become floats.
    log1p => Log1p, 1.0_f32 => 0.6931;
    /// The sine of `x` in radians. Integers become floats.
    sin => Sin, 1.0_f32 => 0.8415;
    /// The cosine of `x` in radians. Integers become floats.
    cos => Cos, 1.0_f32 => 0.5403;
    /// The tangent of `x` in radians. Integers become floats.
    tan => Tan, 1.0_f32 => 1.5574;
    /// The inverse sine, in radians. Integers become floats.
    asin => Asin, 1.0_f32 => 1.5708;
    /// The inverse cosine, in radians. Integers become floats.
    acos => Acos, 0.0_f32 => 1.5708;
    /// The inverse tangent, in radians. Integers become floats.
    atan => Atan, 1.0_f32 => 0.7854;
    /// The hyperbolic sine. Integers become floats.
    sinh => Sinh, 1.0_f32 => 1.1752;
    /// The hyperbolic cosine. Integers become floats.
    cosh => Cosh, 1.0_f32 => 1.5431;
    /// The hyperbolic tangent. Integers become floats.
    tanh => Tanh, 1.0_f32 => 0.7616;
    /// The inverse hyperbolic sine. Integers become floats.
    asinh => Asinh, 1.0_f32 => 0.8814;
    /// The inverse hyperbolic cosine. Integers become floats.
    acosh => Acosh, 2.0_f32 => 1.317;
    /// The inverse hyperbolic tangent. Integers become floats.
    atanh => Atanh, 0.5_f32 => 0.5493;
    /// The error function. Integers become floats.
    erf => Erf, 0.5_f32 => 0.5205;
    /// `1 − erf(x)`, exact in the tail. Integers become floats.
    erfc => Erfc, 0.5_f32 => 0.4795;
    /// The logistic function `1 / (1 + e⁻ˣ)`. Integers become floats.
    sigmoid => Sigmoid, 1.0_f32 => 0.7311;
    /// `x` above 0, else 0. Gradient: 0 at 0.
    relu => Relu, -1.0_f32 => 0.0;
    /// `x·Φ(x)` with the normal distribution's Φ.
    gelu => Gelu, 1.0_f32 => 0.8413;
    /// The approximation of [`gelu`](Self::gelu) by tanh.
    gelu_tanh => GeluTanh, 1.0_f32 => 0.8412;
    /// `x·sigmoid(x)`.
    silu => Silu, 1.0_f32 => 0.7311;
    /// `ln(1 + eˣ)`; `x` itself above 20.
    softplus => Softplus, 1.0_f32 => 1.3133;
    /// Every bit flipped; `not` of bools.
    bitwise_not => BitNot, 5_i64 => -6.0;
    /// Whether each element is NaN.
    isnan => IsNan, f32::NAN => 1.0;
    /// Whether each element is ±∞.
    isinf => IsInf, f32::INFINITY => 1.0;
    /// Whether each element is neither NaN nor ±∞.
    isfinite => IsFinite, 2.0_f32 => 1.0;
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident => $op:ident, $x:expr, $y:expr => $z:expr;)*) => {
        impl<B: Backend> Tensor<B> {
            $(
                $(#[$doc])*
                ///
                #[doc = concat!(
                    "```\n# use tensor_core::reference::Reference;\n# type Tensor = autograd::Tensor<Reference>;\n",
                    "let z = Tensor::from(", stringify!($x), ").", stringify!($name), "(", stringify!($y), ");\n",
                    "assert!((z.item() - ", stringify!($z), ").abs() < 1e-4);\n```"
                )]
                ///
                /// # Panics
                /// If shapes do not broadcast, a dtype is not one that the operation takes, or devices differ; an integer
                /// division also by 0.
                #[track_caller]
                #[must_use]
                pub fn $name<'a>(&'a self, other: impl Into<Operand<'a, B>>) -> Self {
                    binary(BinaryOp::$op, Operand::Ref(self), other.into())
                }
            )*
        }
    };
}

binary! {
    /// `self + other`, broadcast and promoted; `or` of bools.
    add => Add, 2.0_f32, 3 => 5.0;
    /// `self − other`, broadcast and promoted.
    sub => Sub, 2.0_f32, 3 => -1.0;
    /// `self · other`, broadcast and promoted; `and` of bools.
    mul => Mul, 2.0_f32, 3 => 6.0;
    /// `self / other`, broadcast; integers are divided as floats.
    div => Div, 7_i64, 2 => 3.5;
    /// `⌊self / other⌋`. Gradient: 0.
    floor_divide => FloorDiv, -7_i64, 2 => -4.0;
    /// `self / other` with the fraction cut off. Gradient: 0.
    trunc_divide => TruncDiv, -7_i64, 2 => -3.0;
    /// What is left of `self / other`, with the sign of `other`.
    remainder => Remainder, -7_i64, 3 => 2.0;
    /// What is left of `self / other`, with the sign of `self`.
    fmod => Fmod, -7_i64, 3 => -1.0;
    /// `self` to the power of `other`.
    pow => Pow, 2.0_f32, 3 => 8.0;
    /// The angle of the points `(other, self)`, in radians.
    atan2 => Atan2, 1.0_f32, 1.0 => 0.7854;
    /// `√(self² + other²)` without overflow.
    hypot => Hypot, 3.0_f32, 4.0 => 5.0;
    /// The larger of both; NaN if either is. Gradient: half each where both are equal.
    maximum => Maximum, 2.0_f32, 3 => 3.0;
    /// The smaller of both; NaN if either is. Gradient: half each where both are equal.
    minimum => Minimum, 2.0_f32, 3 => 2.0;
    /// `and` of bools, or of every bit of integers.
    bitwise_and => BitAnd, 6_i64, 3 => 2.0;
    /// `or` of bools, or of every bit of integers.
    bitwise_or => BitOr, 6_i64, 3 => 7.0;
    /// Exclusive `or` of bools, or of every bit of integers.
    bitwise_xor => BitXor, 6_i64, 3 => 5.0;
    /// `self · 2ᵒᵗʰᵉʳ` of integers; 0 for shifts below 0 or beyond the width.
    bitwise_left_shift => Shl, 3_i64, 2 => 12.0;
    /// `⌊self / 2ᵒᵗʰᵉʳ⌋` of integers; shifts below 0 or beyond the width leave only the sign.
    bitwise_right_shift => Shr, -8_i64, 1 => -4.0;
}

macro_rules! compare {
    ($($(#[$doc:meta])* $name:ident => $op:ident, $x:expr, $y:expr => $z:expr;)*) => {
        impl<B: Backend> Tensor<B> {
            $(
                $(#[$doc])*
                ///
                #[doc = concat!(
                    "```\n# use tensor_core::reference::Reference;\n# type Tensor = autograd::Tensor<Reference>;\n",
                    "let z = Tensor::from(", stringify!($x), ").", stringify!($name), "(", stringify!($y), ");\n",
                    "assert_eq!(z.item_scalar().as_bool(), ", stringify!($z), ");\n```"
                )]
                ///
                /// # Panics
                /// If shapes do not broadcast, or devices differ.
                #[track_caller]
                #[must_use]
                pub fn $name<'a>(&'a self, other: impl Into<Operand<'a, B>>) -> Self {
                    compare(CompareOp::$op, self, &other.into())
                }
            )*
        }
    };
}

compare! {
    /// Where `self = other`, as bools.
    eq => Eq, 2_i64, 2 => true;
    /// Where `self ≠ other`, as bools.
    ne => Ne, 2_i64, 2 => false;
    /// Where `self < other`, as bools.
    lt => Lt, 1_i64, 2 => true;
    /// Where `self ≤ other`, as bools.
    le => Le, 2_i64, 2 => true;
    /// Where `self > other`, as bools.
    gt => Gt, 1_i64, 2 => false;
    /// Where `self ≥ other`, as bools.
    ge => Ge, 2_i64, 2 => true;
}

#[track_caller]
fn compare<B: Backend>(op: CompareOp, a: &Tensor<B>, b: &Operand<'_, B>) -> Tensor<B> {
    let a = a.array();
    let result = match b {
        Operand::Scalar(scalar) => Array::compare(op, &a, *scalar),
        Operand::Ref(tensor) => Array::compare(op, &a, &tensor.array()),
        Operand::Own(tensor) => Array::compare(op, &a, &tensor.array()),
    };
    Tensor::from_array(ok(result))
}

impl<B: Backend> Tensor<B> {
    /// `self` to an integer power.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::scalar(2.0).powi(3).item(), 8.0);
    /// ```
    ///
    /// # Panics
    /// If the dtype is bool, or the exponent is below 0 and the dtype an integer.
    #[track_caller]
    #[must_use]
    pub fn powi(&self, exponent: i32) -> Self {
        self.pow(exponent)
    }

    /// `self` to a float power.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::scalar(9.0).powf(0.5).item(), 3.0);
    /// ```
    ///
    /// # Panics
    /// If the dtype is bool.
    #[track_caller]
    #[must_use]
    pub fn powf(&self, exponent: f64) -> Self {
        self.pow(exponent)
    }

    /// `other / self`.
    #[track_caller]
    pub(crate) fn rev_div(&self, other: Operand<'_, B>) -> Self {
        binary(BinaryOp::Div, other, Operand::Ref(self))
    }

    /// `⌊other / self⌋`.
    #[track_caller]
    pub(crate) fn rev_floor_divide(&self, other: Operand<'_, B>) -> Self {
        binary(BinaryOp::FloorDiv, other, Operand::Ref(self))
    }

    pub(crate) fn try_add(&self, other: &Self) -> Result<Self> {
        super::try_binary(BinaryOp::Add, Operand::Ref(self), Operand::Ref(other))
    }

    /// `a` where this tensor of bools holds, else `b`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([-1.0_f32, 2.0]);
    /// assert_eq!(x.gt(0).where_cond(&x, 0).to_vec::<f32>(), [0.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// If the condition is no bool, or shapes do not broadcast.
    #[track_caller]
    #[must_use]
    pub fn where_cond<'a>(&'a self, a: impl Into<Operand<'a, B>>, b: impl Into<Operand<'a, B>>) -> Self {
        ok(apply(Primitive::Ternary(TernaryOp::Where), &[Operand::Ref(self), a.into(), b.into()]))
    }

    /// `self` where the mask holds, else `other`.
    pub(crate) fn keep_where(&self, mask: &Self, other: &Self) -> Self {
        mask.where_cond(self, other)
    }

    /// `value` where the mask of bools holds, else `self`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([1.0_f32, 2.0]);
    /// assert_eq!(x.masked_fill(&x.gt(1), 0).to_vec::<f32>(), [1.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// If the mask is no bool, or shapes do not broadcast.
    #[track_caller]
    #[must_use]
    pub fn masked_fill(&self, mask: &Self, value: impl Into<Scalar>) -> Self {
        ok(self.try_masked_fill(mask, value.into()))
    }

    pub(crate) fn try_masked_fill(&self, mask: &Self, value: Scalar) -> Result<Self> {
        let value = value.cast(self.dtype());
        let operands = [Operand::Ref(mask), Operand::Scalar(value), Operand::Ref(self)];
        apply(Primitive::Ternary(TernaryOp::Where), &operands).map_err(|error| error.named("masked_fill"))
    }

    /// Cut to the range from `low` to `high`, which are scalars or tensors. Gradient: with scalars 1 strictly inside and 0
    /// elsewhere; with tensors as of [`maximum`](Self::maximum) and [`minimum`](Self::minimum).
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([-1.0_f32, 0.5, 3.0]);
    /// assert_eq!(x.clamp(0, 1).to_vec::<f32>(), [0.0, 0.5, 1.0]);
    /// ```
    ///
    /// # Panics
    /// If shapes do not broadcast, or the dtype is bool.
    #[track_caller]
    #[must_use]
    pub fn clamp<'a>(&'a self, low: impl Into<Operand<'a, B>>, high: impl Into<Operand<'a, B>>) -> Self {
        match (low.into(), high.into()) {
            (Operand::Scalar(low), Operand::Scalar(high)) => ok(apply1(Primitive::Clamp(Some(low), Some(high)), self)),
            (low, high) => {
                let above = binary(BinaryOp::Maximum, Operand::Ref(self), low);
                binary(BinaryOp::Minimum, Operand::Own(above), high)
            }
        }
    }

    /// At least `low`. Gradient: 1 above it, else 0.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([-1.0_f32, 2.0]).clamp_min(0).to_vec::<f32>(), [0.0, 2.0]);
    /// ```
    ///
    /// # Panics
    /// If the dtype is bool.
    #[track_caller]
    #[must_use]
    pub fn clamp_min(&self, low: impl Into<Scalar>) -> Self {
        ok(apply1(Primitive::Clamp(Some(low.into()), None), self))
    }

    /// At most `high`. Gradient: 1 below it, else 0.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([-1.0_f32, 2.0]).clamp_max(0).to_vec::<f32>(), [-1.0, 0.0]);
    /// ```
    ///
    /// # Panics
    /// If the dtype is bool.
    #[track_caller]
    #[must_use]
    pub fn clamp_max(&self, high: impl Into<Scalar>) -> Self {
        ok(apply1(Primitive::Clamp(None, Some(high.into())), self))
    }

    /// `self + weight·(end − self)`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::scalar(10.0).lerp(20.0, 0.25).item(), 12.5);
    /// ```
    ///
    /// # Panics
    /// If shapes do not broadcast, or the dtypes are no floats.
    #[track_caller]
    #[must_use]
    pub fn lerp<'a>(&'a self, end: impl Into<Operand<'a, B>>, weight: impl Into<Operand<'a, B>>) -> Self {
        ok(apply(Primitive::Ternary(TernaryOp::Lerp), &[Operand::Ref(self), end.into(), weight.into()]))
    }

    /// `self + value·a·b`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::scalar(1.0).addcmul(&Tensor::scalar(2.0), &Tensor::scalar(3.0), 0.5);
    /// assert_eq!(x.item(), 4.0);
    /// ```
    ///
    /// # Panics
    /// If shapes do not broadcast, or devices differ.
    #[track_caller]
    #[must_use]
    pub fn addcmul(&self, a: &Self, b: &Self, value: f64) -> Self {
        if value == 1.0 { self + a * b } else { self + a * b * value }
    }

    /// `self + value·a/b`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::scalar(1.0).addcdiv(&Tensor::scalar(6.0), &Tensor::scalar(3.0), 0.5);
    /// assert_eq!(x.item(), 2.0);
    /// ```
    ///
    /// # Panics
    /// If shapes do not broadcast, or devices differ.
    #[track_caller]
    #[must_use]
    pub fn addcdiv(&self, a: &Self, b: &Self, value: f64) -> Self {
        if value == 1.0 { self + a / b } else { self + a / b * value }
    }

    /// `a and b` of the truth of every element: anything but 0 is true.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let (x, y) = (Tensor::from([2_i64, 0]), Tensor::from([true, true]));
    /// assert_eq!(x.logical_and(&y).to_vec::<bool>(), [true, false]);
    /// ```
    ///
    /// # Panics
    /// If shapes do not broadcast, or devices differ.
    #[track_caller]
    #[must_use]
    pub fn logical_and(&self, other: &Self) -> Self {
        self.truth().bitwise_and(other.truth())
    }

    /// `a or b` of the truth of every element: anything but 0 is true.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let (x, y) = (Tensor::from([2_i64, 0]), Tensor::from([true, true]));
    /// assert_eq!(x.logical_or(&y).to_vec::<bool>(), [true, true]);
    /// ```
    ///
    /// # Panics
    /// If shapes do not broadcast, or devices differ.
    #[track_caller]
    #[must_use]
    pub fn logical_or(&self, other: &Self) -> Self {
        self.truth().bitwise_or(other.truth())
    }

    /// Whether exactly one of both is true: anything but 0 is.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let (x, y) = (Tensor::from([2_i64, 0]), Tensor::from([true, true]));
    /// assert_eq!(x.logical_xor(&y).to_vec::<bool>(), [false, true]);
    /// ```
    ///
    /// # Panics
    /// If shapes do not broadcast, or devices differ.
    #[track_caller]
    #[must_use]
    pub fn logical_xor(&self, other: &Self) -> Self {
        self.truth().bitwise_xor(other.truth())
    }

    /// Whether each element is 0.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert_eq!(Tensor::from([2_i64, 0]).logical_not().to_vec::<bool>(), [false, true]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn logical_not(&self) -> Self {
        self.truth().bitwise_not()
    }

    #[track_caller]
    fn truth(&self) -> Self {
        Self::from_array(ok(self.array().cast(DType::Bool)))
    }

    /// Where `|x − y| ≤ atol + rtol·|y|`, as bools; equal infinities are close, and NaN to NaN if `equal_nan`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::from([1.0_f32, 2.0]);
    /// let y = Tensor::from([1.0000001_f32, 2.1]);
    /// assert_eq!(x.isclose(&y, 1e-5, 1e-8, false).to_vec::<bool>(), [true, false]);
    /// ```
    ///
    /// # Panics
    /// If shapes do not broadcast, dtypes differ, or devices do.
    #[track_caller]
    #[must_use]
    pub fn isclose(&self, other: &Self, rtol: f64, atol: f64, equal_nan: bool) -> Self {
        ok(self.try_isclose(other, rtol, atol, equal_nan, "isclose"))
    }

    fn try_isclose(&self, other: &Self, rtol: f64, atol: f64, equal_nan: bool, op: &'static str) -> Result<Self> {
        if self.dtype() != other.dtype() {
            return Err(Error::dtype(
                op,
                "two tensors of one dtype",
                format!("{} and {}", self.dtype(), other.dtype()),
            )
            .hint("convert one with .to(dtype)"));
        }
        let named = |error: Error| error.named(op);
        let (x, y) = (self.array(), other.array());
        let equal = Array::compare(CompareOp::Eq, &x, &y).map_err(named)?;
        if !self.dtype().is_float() {
            let (x, y) = (Self::from_array(x.cast(DType::F64)?), Self::from_array(y.cast(DType::F64)?));
            let close = (&x - &y).abs().le((y.abs() * rtol) + atol);
            return Ok(Self::from_array(equal).logical_or(&close));
        }
        let (x, y) = (Self::from_array(x), Self::from_array(y));
        let allowed = y.abs() * rtol + atol;
        let distance = (&x - &y).abs();
        let close = distance.le(&allowed).logical_and(&distance.isfinite());
        let mut close = Self::from_array(equal).logical_or(&close);
        if equal_nan {
            close = close.logical_or(&x.isnan().logical_and(&y.isnan()));
        }
        Ok(close)
    }

    /// Whether all elements are [`isclose`](Self::isclose).
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert!(Tensor::from([0.1_f32]).allclose(&Tensor::from([0.1000001_f32]), 1e-5, 1e-8));
    /// ```
    ///
    /// # Panics
    /// If shapes do not broadcast, dtypes differ, or devices do.
    #[track_caller]
    pub fn allclose(&self, other: &Self, rtol: f64, atol: f64) -> bool {
        ok(self.try_isclose(other, rtol, atol, false, "allclose")).all().item_scalar().as_bool()
    }

    /// Whether shapes are the same and all elements equal. NaN equals nothing.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// assert!(Tensor::ones([2]).equal(&Tensor::from([1_i64, 1])));
    /// assert!(!Tensor::ones([2]).equal(&Tensor::ones([1, 2])));
    /// ```
    ///
    /// # Panics
    /// If devices differ.
    #[track_caller]
    pub fn equal(&self, other: &Self) -> bool {
        self.shape() == other.shape() && self.eq(other).all().item_scalar().as_bool()
    }

    /// The values converted to another dtype: floats become integers by cutting off the fraction (out of range becomes the
    /// nearest end, NaN becomes 0), integers wrap, anything but 0 is `true`. Differentiable between floats.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// use tensor_core::DType;
    /// assert_eq!(Tensor::from([1.9_f32, -1.9]).to_dtype(DType::I32).to_vec::<i32>(), [1, -1]);
    /// ```
    ///
    /// # Panics
    /// If the device fails.
    #[track_caller]
    #[must_use]
    pub fn to_dtype(&self, dtype: DType) -> Self {
        ok(self.try_to_dtype(dtype))
    }

    pub(crate) fn try_to_dtype(&self, dtype: DType) -> Result<Self> {
        if self.dtype() == dtype {
            return Ok(self.clone());
        }
        apply1(Primitive::Cast(dtype), self)
    }

    /// The same values on another device. Differentiable.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// let x = Tensor::ones([2]).to_device(&Reference);
    /// assert_eq!(x.device(), Reference);
    /// ```
    ///
    /// # Panics
    /// If a device fails or has no memory left.
    #[track_caller]
    #[must_use]
    pub fn to_device(&self, device: &B) -> Self {
        let from = self.device();
        if from == *device {
            return self.clone();
        }
        ok(apply1(Primitive::ToDevice { to: device.clone(), from }, self))
    }

    /// Converted to a device or a dtype: `x.to(&gpu)`, `x.to(DType::F64)`.
    ///
    /// ```
    /// # use tensor_core::reference::Reference;
    /// # type Tensor = autograd::Tensor<Reference>;
    /// use tensor_core::DType;
    /// let x = Tensor::ones([2]).to(DType::F64).to(&Reference);
    /// assert_eq!(x.dtype(), DType::F64);
    /// ```
    ///
    /// # Panics
    /// If a device fails or has no memory left.
    #[track_caller]
    #[must_use]
    pub fn to<T: Into<Target<B>>>(&self, target: T) -> Self {
        match target.into() {
            Target::Device(device) => self.to_device(&device),
            Target::DType(dtype) => self.to_dtype(dtype),
        }
    }
}

/// What [`Tensor::to`] converts to.
#[derive(Clone, Debug)]
pub enum Target<B: Backend> {
    /// A device.
    Device(B),
    /// A dtype.
    DType(DType),
}

impl<B: Backend> From<DType> for Target<B> {
    fn from(dtype: DType) -> Self {
        Self::DType(dtype)
    }
}

impl<B: Backend> From<&B> for Target<B> {
    fn from(device: &B) -> Self {
        Self::Device(device.clone())
    }
}
