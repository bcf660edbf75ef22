//! The operations on floats. Elementary functions come from [`vecmath`](crate::vecmath).

use super::element::Truth;
use super::kernel::{Call, Kernel, Op1, Op2, Op3, SPLAT, binary, ternary, unary};
use crate::vecmath::{BinaryFn, Hard, Isa, Level, Real, Task, UnaryFn, exp_of_differences};
use tensor_core::op::{BinaryOp, TernaryOp, UnaryOp};

/// The kernel of an operation of one float.
pub(super) fn unary_kernel<T: Float>(op: UnaryOp) -> Kernel {
    match op {
        UnaryOp::Neg => unary::<T, Neg>,
        UnaryOp::Abs => unary::<T, Abs>,
        UnaryOp::Square => unary::<T, Square>,
        UnaryOp::Relu => unary::<T, Relu>,
        UnaryOp::IsNan => unary::<T, IsNan>,
        UnaryOp::IsInf => unary::<T, IsInf>,
        UnaryOp::IsFinite => unary::<T, IsFinite>,
        UnaryOp::Sign => function::<{ UnaryFn::Sign as usize }, T>,
        UnaryOp::Ceil => function::<{ UnaryFn::Ceil as usize }, T>,
        UnaryOp::Floor => function::<{ UnaryFn::Floor as usize }, T>,
        UnaryOp::Round => function::<{ UnaryFn::Round as usize }, T>,
        UnaryOp::Trunc => function::<{ UnaryFn::Trunc as usize }, T>,
        UnaryOp::Frac => function::<{ UnaryFn::Frac as usize }, T>,
        UnaryOp::Reciprocal => function::<{ UnaryFn::Reciprocal as usize }, T>,
        UnaryOp::Sqrt => function::<{ UnaryFn::Sqrt as usize }, T>,
        UnaryOp::Rsqrt => function::<{ UnaryFn::Rsqrt as usize }, T>,
        UnaryOp::Exp => exponential::<T>,
        UnaryOp::Exp2 => function::<{ UnaryFn::Exp2 as usize }, T>,
        UnaryOp::Expm1 => function::<{ UnaryFn::Expm1 as usize }, T>,
        UnaryOp::Log => function::<{ UnaryFn::Ln as usize }, T>,
        UnaryOp::Log2 => function::<{ UnaryFn::Log2 as usize }, T>,
        UnaryOp::Log10 => function::<{ UnaryFn::Log10 as usize }, T>,
        UnaryOp::Log1p => function::<{ UnaryFn::Log1p as usize }, T>,
        UnaryOp::Sin => function::<{ UnaryFn::Sin as usize }, T>,
        UnaryOp::Cos => function::<{ UnaryFn::Cos as usize }, T>,
        UnaryOp::Tan => function::<{ UnaryFn::Tan as usize }, T>,
        UnaryOp::Asin => function::<{ UnaryFn::Asin as usize }, T>,
        UnaryOp::Acos => function::<{ UnaryFn::Acos as usize }, T>,
        UnaryOp::Atan => function::<{ UnaryFn::Atan as usize }, T>,
        UnaryOp::Sinh => function::<{ UnaryFn::Sinh as usize }, T>,
        UnaryOp::Cosh => function::<{ UnaryFn::Cosh as usize }, T>,
        UnaryOp::Tanh => function::<{ UnaryFn::Tanh as usize }, T>,
        UnaryOp::Asinh => function::<{ UnaryFn::Asinh as usize }, T>,
        UnaryOp::Acosh => function::<{ UnaryFn::Acosh as usize }, T>,
        UnaryOp::Atanh => function::<{ UnaryFn::Atanh as usize }, T>,
        UnaryOp::Erf => function::<{ UnaryFn::Erf as usize }, T>,
        UnaryOp::Erfc => function::<{ UnaryFn::Erfc as usize }, T>,
        UnaryOp::Sigmoid => function::<{ UnaryFn::Sigmoid as usize }, T>,
        UnaryOp::Gelu => function::<{ UnaryFn::Gelu as usize }, T>,
        UnaryOp::GeluTanh => vanishing_function::<{ UnaryFn::GeluTanh as usize }, T>,
        UnaryOp::Silu => vanishing_function::<{ UnaryFn::Silu as usize }, T>,
        UnaryOp::Softplus => function::<{ UnaryFn::Softplus as usize }, T>,
        UnaryOp::BitNot => unreachable!("{} takes no floats", op.name()),
    }
}

/// The kernel of an operation of two floats.
pub(super) fn binary_kernel<T: Float>(op: BinaryOp) -> Kernel {
    match op {
        BinaryOp::Add => binary::<T, Add>,
        BinaryOp::Sub => binary::<T, Sub>,
        BinaryOp::Mul => binary::<T, Mul>,
        BinaryOp::Div => binary::<T, Div>,
        BinaryOp::FloorDiv => floor_divide::<T>,
        BinaryOp::TruncDiv => binary::<T, TruncDiv>,
        BinaryOp::Remainder => function2::<{ BinaryFn::Remainder as usize }, T>,
        BinaryOp::Fmod => function2::<{ BinaryFn::Fmod as usize }, T>,
        BinaryOp::Pow => function2::<{ BinaryFn::Pow as usize }, T>,
        BinaryOp::Atan2 => function2::<{ BinaryFn::Atan2 as usize }, T>,
        BinaryOp::Hypot => function2::<{ BinaryFn::Hypot as usize }, T>,
        BinaryOp::Maximum => binary::<T, Maximum>,
        BinaryOp::Minimum => binary::<T, Minimum>,
        BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor | BinaryOp::Shl | BinaryOp::Shr => {
            unreachable!("{} takes no floats", op.name())
        }
    }
}

/// The kernel of an operation of three floats. (`where` moves bits of any type and is found elsewhere.)
pub(super) fn ternary_kernel<T: Float>(op: TernaryOp) -> Kernel {
    match op {
        TernaryOp::Clamp => ternary::<T, T, Clamp>,
        TernaryOp::Lerp => ternary::<T, T, Lerp>,
        TernaryOp::Where => unreachable!("where has kernels for widths, not for types"),
    }
}

/// The float types that instructions compute in.
pub(super) trait Float: Hard {
    /// The same number in double precision, where the results of some operations must be found to round right.
    fn wide(self) -> f64;
    /// Rounded to the type.
    fn narrow(value: f64) -> Self;
}

impl Float for f32 {
    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn narrow(value: f64) -> Self {
        value as Self
    }
}

impl Float for f64 {
    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }
    #[inline(always)]
    fn narrow(value: f64) -> Self {
        value
    }
}

/// The kernel of a function of [`UnaryFn`], by its number.
///
/// # Safety
/// See [`Kernel`].
unsafe fn function<const NUMBER: usize, T: Float>(level: Level, call: &Call) {
    let kernel = UnaryFn::ALL[NUMBER].kernel::<T>(level);
    // SAFETY: the caller's promise for one operand and results of type `T`; parts fit.
    unsafe { call.each_part_at(level, |dst, at, count| kernel.apply(call.operand(0, at, count), dst)) }
}

/// The exponential, the short way where arguments are moderate.
///
/// # Safety
/// See [`Kernel`].
unsafe fn exponential<T: Float>(level: Level, call: &Call) {
    // SAFETY: the caller's promise for one operand and results of type `T`; parts fit.
    unsafe {
        call.each_part_at(level, |to, at, count| level.run(Exponential { from: call.operand::<T>(0, at, count), to }));
    }
}

struct Exponential<'a, T> {
    from: &'a [T],
    to: &'a mut [T],
}

impl<T: Float> Task for Exponential<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        exp_of_differences::<I, T>(self.from, T::lit(0.0), self.to);
    }
}

/// [`function`] for `x` times a function that vanishes at −∞ faster than `x` grows: the formula gives NaN there, the limit is
/// −0.
///
/// # Safety
/// See [`Kernel`].
unsafe fn vanishing_function<const NUMBER: usize, T: Float>(level: Level, call: &Call) {
    let kernel = UnaryFn::ALL[NUMBER].kernel::<T>(level);
    // SAFETY: the caller's promise for one operand and results of type `T`; parts fit.
    unsafe {
        call.each_part_at(level, |dst, at, count| {
            let src = call.operand::<T>(0, at, count);
            kernel.apply(src, dst);
            level.run(Vanish { src, dst });
        });
    }
}

/// Writes −0 where the argument is −∞.
struct Vanish<'a, T> {
    src: &'a [T],
    dst: &'a mut [T],
}

impl<T: Float> Task for Vanish<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let lowest = -T::INFINITY;
        if self.src.iter().fold(false, |any, &x| any | (x == lowest)) {
            for (dst, &x) in self.dst.iter_mut().zip(self.src) {
                *dst = if x == lowest { -T::lit(0.0) } else { *dst };
            }
        }
    }
}

/// The kernel of a function of [`BinaryFn`], by its number.
///
/// # Safety
/// See [`Kernel`].
unsafe fn function2<const NUMBER: usize, T: Float>(level: Level, call: &Call) {
    let kernel = BinaryFn::ALL[NUMBER].kernel::<T>(level);
    // SAFETY: the caller's promise for two operands and results of type `T`; parts fit.
    unsafe {
        call.each_part_at(level, |dst, at, count| {
            kernel.apply(call.operand(0, at, count), call.operand(1, at, count), dst);
        });
    }
}

/// `⌊a / b⌋` from the exact remainder, so that `6.0 // 0.1` is 59.
///
/// # Safety
/// See [`Kernel`].
unsafe fn floor_divide<T: Float>(level: Level, call: &Call) {
    let fmod = BinaryFn::Fmod.kernel::<T>(level);
    let mut rest = [T::lit(0.0); SPLAT];
    // SAFETY: the caller's promise for two operands and results of type `T`; parts fit.
    unsafe {
        call.each_part_at(level, |dst, at, count| {
            let (a, b) = (call.operand::<T>(0, at, count), call.operand::<T>(1, at, count));
            fmod.apply(a, b, &mut rest[..count]);
            level.run(FloorDivide { a, b, rest: &rest[..count], dst });
        });
    }
}

struct FloorDivide<'a, T> {
    a: &'a [T],
    b: &'a [T],
    rest: &'a [T],
    dst: &'a mut [T],
}

impl<T: Float> Task for FloorDivide<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for (((dst, &a), &b), &rest) in self.dst.iter_mut().zip(self.a).zip(self.b).zip(self.rest) {
            *dst = T::narrow(floor_quotient::<I>(a.wide(), b.wide(), rest.wide()));
        }
    }
}

/// `⌊a / b⌋`, where `rest` is the exact remainder of the division with the sign of `a`.
#[inline(always)]
fn floor_quotient<I: Isa>(a: f64, b: f64, rest: f64) -> f64 {
    let borrow = (rest != 0.0) & ((b < 0.0) != (rest < 0.0));
    let quotient = (a - rest) / b - if borrow { 1.0 } else { 0.0 };
    let floor = Real::floor::<I>(quotient);
    let floor = if quotient - floor > 0.5 { floor + 1.0 } else { floor };
    let floor = if quotient == 0.0 { Real::copysign(0.0, a / b) } else { floor };
    if b == 0.0 { a / b } else { floor }
}

/// Stamps a function of one float.
macro_rules! op1 {
    ($name:ident -> $out:ty, |$a:ident| $value:expr) => {
        struct $name;
        impl<T: Float> Op1<T> for $name {
            type Out = $out;
            #[inline(always)]
            fn eval<I: Isa>($a: T) -> $out {
                $value
            }
        }
    };
}

/// Stamps a function of two floats.
macro_rules! op2 {
    ($name:ident<$isa:ident>, |$a:ident, $b:ident| $value:expr) => {
        struct $name;
        impl<T: Float> Op2<T> for $name {
            type Out = T;
            #[inline(always)]
            fn eval<$isa: Isa>($a: T, $b: T) -> T {
                $value
            }
        }
    };
}

/// Stamps a function of three floats.
macro_rules! op3 {
    ($name:ident, |$a:ident, $b:ident, $c:ident| $value:expr) => {
        struct $name;
        impl<T: Float> Op3<T, T> for $name {
            type Out = T;
            #[inline(always)]
            fn eval<I: Isa>($a: T, $b: T, $c: T) -> T {
                $value
            }
        }
    };
}

op1!(Neg -> T, |a| -a);
op1!(Abs -> T, |a| a.abs());
op1!(Square -> T, |a| a * a);
op1!(Relu -> T, |a| if a < T::lit(0.0) { T::lit(0.0) } else { a });
op1!(IsNan -> Truth, |a| Truth::from(is_nan(a)));
op1!(IsInf -> Truth, |a| Truth::from(a.abs() == T::INFINITY));
op1!(IsFinite -> Truth, |a| Truth::from(a.abs() < T::INFINITY));
op2!(Add<I>, |a, b| a + b);
op2!(Sub<I>, |a, b| a - b);
op2!(Mul<I>, |a, b| a * b);
op2!(Div<I>, |a, b| a / b);
op2!(TruncDiv<I>, |a, b| T::narrow(Real::trunc::<I>(a.wide() / b.wide())));
op2!(Maximum<I>, |a, b| larger(a, b));
op2!(Minimum<I>, |a, b| smaller(a, b));
op3!(Clamp, |a, b, c| smaller(larger(a, b), c));
// In double precision, because the sum may cancel.
op3!(Lerp, |a, b, c| {
    let (a, b, w) = (a.wide(), b.wide(), c.wide());
    let from_a = a + w * (b - a);
    let from_b = b - (b - a) * (1.0 - w);
    T::narrow(if w.abs() < 0.5 { from_a } else { from_b })
});

#[inline(always)]
#[expect(clippy::eq_op, reason = "only NaN differs from itself")]
fn is_nan<T: Float>(a: T) -> bool {
    a != a
}

#[inline(always)]
fn larger<T: Float>(a: T, b: T) -> T {
    if is_nan(a) | (a > b) { a } else { b }
}

#[inline(always)]
fn smaller<T: Float>(a: T, b: T) -> T {
    if is_nan(a) | (a < b) { a } else { b }
}
