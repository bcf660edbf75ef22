//! The operations on integers and bools.

use super::element::{Int, Truth};
use super::kernel::{Kernel, Op1, Op2, Op3, binary, ternary, unary};
use crate::vecmath::Isa;
use tensor_core::op::{BinaryOp, TernaryOp, UnaryOp};

/// The kernel of an operation of one integer.
pub(super) fn unary_kernel<T: Int>(op: UnaryOp) -> Kernel {
    use UnaryOp::*;
    match op {
        Neg => unary::<T, Negated>,
        Abs => unary::<T, Absolute>,
        Sign => unary::<T, Signum>,
        // An integer has no fraction.
        Ceil | Floor | Round | Trunc => unary::<T, Same>,
        Square => unary::<T, Squared>,
        Relu => unary::<T, Positive>,
        BitNot => unary::<T, Not>,
        IsNan | IsInf => unary::<T, Never>,
        IsFinite => unary::<T, Always>,
        Frac | Reciprocal | Sqrt | Rsqrt | Exp | Exp2 | Expm1 | Log | Log2 | Log10 | Log1p | Sin | Cos | Tan | Asin
        | Acos | Atan | Sinh | Cosh | Tanh | Asinh | Acosh | Atanh | Erf | Erfc | Sigmoid | Gelu | GeluTanh | Silu
        | Softplus => unreachable!("{} takes no integers", op.name()),
    }
}

/// The kernel of an operation of two integers.
pub(super) fn binary_kernel<T: Int>(op: BinaryOp) -> Kernel {
    match op {
        BinaryOp::Add => binary::<T, Add>,
        BinaryOp::Sub => binary::<T, Sub>,
        BinaryOp::Mul => binary::<T, Mul>,
        BinaryOp::FloorDiv => binary::<T, FloorDiv>,
        BinaryOp::TruncDiv => binary::<T, TruncDiv>,
        BinaryOp::Remainder => binary::<T, Remainder>,
        BinaryOp::Fmod => binary::<T, Fmod>,
        BinaryOp::Pow => binary::<T, Pow>,
        BinaryOp::Maximum => binary::<T, Maximum>,
        BinaryOp::Minimum => binary::<T, Minimum>,
        BinaryOp::BitAnd => binary::<T, And>,
        BinaryOp::BitOr => binary::<T, Or>,
        BinaryOp::BitXor => binary::<T, Xor>,
        BinaryOp::Shl => binary::<T, Shl>,
        BinaryOp::Shr => binary::<T, Shr>,
        BinaryOp::Div | BinaryOp::Atan2 | BinaryOp::Hypot => unreachable!("{} takes no integers", op.name()),
    }
}

/// The kernel of an operation of three integers. (`where` moves bits of any type and is found elsewhere.)
pub(super) fn ternary_kernel<T: Int>(op: TernaryOp) -> Kernel {
    match op {
        TernaryOp::Clamp => ternary::<T, T, Clamp>,
        TernaryOp::Lerp => unreachable!("{} takes no integers", op.name()),
        TernaryOp::Where => unreachable!("where has kernels for widths, not for types"),
    }
}

/// The kernel of an operation of one bool.
pub(super) fn bool_unary_kernel(op: UnaryOp) -> Kernel {
    match op {
        UnaryOp::BitNot => unary::<Truth, Not>,
        UnaryOp::IsNan | UnaryOp::IsInf => unary::<Truth, Never>,
        UnaryOp::IsFinite => unary::<Truth, Always>,
        other => unreachable!("{} takes no bools", other.name()),
    }
}

/// The kernel of an operation of two bools.
pub(super) fn bool_binary_kernel(op: BinaryOp) -> Kernel {
    match op {
        BinaryOp::BitAnd => binary::<u8, And>,
        BinaryOp::BitOr => binary::<u8, Or>,
        BinaryOp::BitXor => binary::<u8, Xor>,
        // Of the shifted value only the lowest bit stays: the operand if it is not shifted at all.
        BinaryOp::Shl | BinaryOp::Shr => binary::<Truth, Unshifted>,
        other => unreachable!("{} takes no bools", other.name()),
    }
}

/// Stamps a function of one integer.
macro_rules! op1 {
    ($name:ident -> $out:ty, |$a:ident| $value:expr) => {
        struct $name;
        impl<T: Int> Op1<T> for $name {
            type Out = $out;
            #[inline(always)]
            fn eval<I: Isa>($a: T) -> $out {
                $value
            }
        }
    };
}

/// Stamps a function of two integers.
macro_rules! op2 {
    ($name:ident, |$a:ident, $b:ident| $value:expr) => {
        struct $name;
        impl<T: Int> Op2<T> for $name {
            type Out = T;
            #[inline(always)]
            fn eval<I: Isa>($a: T, $b: T) -> T {
                $value
            }
        }
    };
}

op1!(Negated -> T, |a| a.wrapping_neg());
op1!(Absolute -> T, |a| a.wrapping_abs());
op1!(Signum -> T, |a| {
    let not_positive = if a < T::ZERO { T::ZERO.wrapping_sub(T::ONE) } else { T::ZERO };
    if a > T::ZERO { T::ONE } else { not_positive }
});
op1!(Same -> T, |a| a);
op1!(Squared -> T, |a| a.wrapping_mul(a));
op1!(Positive -> T, |a| a.max(T::ZERO));
op1!(Not -> T, |a| a.not());
op1!(Never -> Truth, |_a| Truth(0));
op1!(Always -> Truth, |_a| Truth(1));
op2!(Add, |a, b| a.wrapping_add(b));
op2!(Sub, |a, b| a.wrapping_sub(b));
op2!(Mul, |a, b| a.wrapping_mul(b));
op2!(TruncDiv, |a, b| {
    let quotient = a.quotient(nonzero(b));
    if b == T::ZERO { T::ZERO } else { quotient }
});
op2!(Fmod, |a, b| {
    let rest = rest(a, nonzero(b));
    if b == T::ZERO { T::ZERO } else { rest }
});
op2!(FloorDiv, |a, b| {
    let divisor = nonzero(b);
    let quotient = a.quotient(divisor);
    let borrow = borrows(a.wrapping_sub(quotient.wrapping_mul(divisor)), divisor);
    let floor = if borrow { quotient.wrapping_sub(T::ONE) } else { quotient };
    if b == T::ZERO { T::ZERO } else { floor }
});
op2!(Remainder, |a, b| {
    let divisor = nonzero(b);
    let rest = rest(a, divisor);
    let rest = if borrows(rest, divisor) { rest.wrapping_add(divisor) } else { rest };
    if b == T::ZERO { T::ZERO } else { rest }
});
op2!(Pow, |a, b| power(a, b));
op2!(Maximum, |a, b| a.max(b));
op2!(Minimum, |a, b| a.min(b));
op2!(And, |a, b| a.and(b));
op2!(Or, |a, b| a.or(b));
op2!(Xor, |a, b| a.xor(b));
op2!(Shl, |a, b| {
    let by = b.shift();
    let shifted = a.shl(by.min(T::BITS - 1));
    if by < T::BITS { shifted } else { T::ZERO }
});
// Shifting by the width less one leaves only the sign of a signed type; an unsigned one has none.
op2!(Shr, |a, b| {
    let by = b.shift();
    let shifted = a.shr(by.min(T::BITS - 1));
    let sign = if a < T::ZERO { T::ZERO.wrapping_sub(T::ONE) } else { T::ZERO };
    if by < T::BITS { shifted } else { sign }
});

struct Clamp;
impl<T: Int> Op3<T, T> for Clamp {
    type Out = T;
    #[inline(always)]
    fn eval<I: Isa>(a: T, b: T, c: T) -> T {
        a.max(b).min(c)
    }
}

impl Op1<Truth> for Not {
    type Out = Truth;
    #[inline(always)]
    fn eval<I: Isa>(a: Truth) -> Truth {
        Truth(a.0 ^ 1)
    }
}

impl Op1<Truth> for Never {
    type Out = Truth;
    #[inline(always)]
    fn eval<I: Isa>(_a: Truth) -> Truth {
        Truth(0)
    }
}

impl Op1<Truth> for Always {
    type Out = Truth;
    #[inline(always)]
    fn eval<I: Isa>(_a: Truth) -> Truth {
        Truth(1)
    }
}

struct Unshifted;
impl Op2<Truth> for Unshifted {
    type Out = Truth;
    #[inline(always)]
    fn eval<I: Isa>(a: Truth, b: Truth) -> Truth {
        Truth(a.0 & (b.0 ^ 1))
    }
}

/// The divisor, or 1 where it is 0, so that nothing traps.
#[inline(always)]
fn nonzero<T: Int>(b: T) -> T {
    if b == T::ZERO { T::ONE } else { b }
}

/// What a division cut off towards zero leaves.
#[inline(always)]
fn rest<T: Int>(a: T, divisor: T) -> T {
    a.wrapping_sub(a.quotient(divisor).wrapping_mul(divisor))
}

/// Whether the rest of a division cut off towards zero shows that the division cut off towards −∞ is one less.
#[inline(always)]
fn borrows<T: Int>(rest: T, divisor: T) -> bool {
    (rest != T::ZERO) & ((rest < T::ZERO) != (divisor < T::ZERO))
}

/// `a` to the power of `b`, wrapping. Negative powers: 1 stays 1, −1 gives ±1, everything else 0.
#[inline(always)]
fn power<T: Int>(a: T, b: T) -> T {
    let (mut base, mut exponent, mut product) = (a, b, T::ONE);
    if b < T::ZERO {
        let minus_one = T::ZERO.wrapping_sub(T::ONE);
        return if a == T::ONE {
            T::ONE
        } else if a == minus_one {
            if b.is_odd() { minus_one } else { T::ONE }
        } else {
            T::ZERO
        };
    }
    while exponent != T::ZERO {
        if exponent.is_odd() {
            product = product.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        exponent = exponent.shr(1);
    }
    product
}
