//! Which kernel runs which instruction.

use super::element::{Convert, Int, Truth, to_odd_f32};
use super::kernel::{Call, Kernel, Op1, Op2, Op3, binary, ternary, unary};
use super::{float, int};
use crate::vecmath::convert::Half;
use crate::vecmath::{Isa, Level, Task};
use tensor_core::op::{BinaryOp, CompareOp, TernaryOp, UnaryOp};
use tensor_core::{DType, bf16, f16};

/// The kernel of an operation of one operand of `dtype`.
pub(super) fn unary_kernel(op: UnaryOp, dtype: DType) -> Kernel {
    match dtype {
        DType::Bool => int::bool_unary_kernel(op),
        DType::U8 => int::unary_kernel::<u8>(op),
        DType::I8 => int::unary_kernel::<i8>(op),
        DType::I16 => int::unary_kernel::<i16>(op),
        DType::I32 => int::unary_kernel::<i32>(op),
        DType::I64 => int::unary_kernel::<i64>(op),
        DType::F16 | DType::BF16 | DType::F32 => float::unary_kernel::<f32>(op),
        DType::F64 => float::unary_kernel::<f64>(op),
    }
}

/// The kernel of an operation of two operands of `dtype`.
pub(super) fn binary_kernel(op: BinaryOp, dtype: DType) -> Kernel {
    match dtype {
        DType::Bool => int::bool_binary_kernel(op),
        DType::U8 => int::binary_kernel::<u8>(op),
        DType::I8 => int::binary_kernel::<i8>(op),
        DType::I16 => int::binary_kernel::<i16>(op),
        DType::I32 => int::binary_kernel::<i32>(op),
        DType::I64 => int::binary_kernel::<i64>(op),
        DType::F16 | DType::BF16 | DType::F32 => float::binary_kernel::<f32>(op),
        DType::F64 => float::binary_kernel::<f64>(op),
    }
}

/// The kernel of an operation of three operands, the last of `dtype`.
pub(super) fn ternary_kernel(op: TernaryOp, dtype: DType) -> Kernel {
    if op == TernaryOp::Where {
        return match dtype.compute().size() {
            1 => ternary::<Truth, u8, Where>,
            2 => ternary::<Truth, u16, Where>,
            4 => ternary::<Truth, u32, Where>,
            _ => ternary::<Truth, u64, Where>,
        };
    }
    match dtype {
        DType::Bool => unreachable!("{} takes no bools", op.name()),
        DType::U8 => int::ternary_kernel::<u8>(op),
        DType::I8 => int::ternary_kernel::<i8>(op),
        DType::I16 => int::ternary_kernel::<i16>(op),
        DType::I32 => int::ternary_kernel::<i32>(op),
        DType::I64 => int::ternary_kernel::<i64>(op),
        DType::F16 | DType::BF16 | DType::F32 => float::ternary_kernel::<f32>(op),
        DType::F64 => float::ternary_kernel::<f64>(op),
    }
}

/// The kernel of a comparison of two operands of `dtype`.
pub(super) fn compare_kernel(op: CompareOp, dtype: DType) -> Kernel {
    fn of<T: Copy + PartialOrd + 'static>(op: CompareOp) -> Kernel {
        match op {
            CompareOp::Eq => binary::<T, Eq>,
            CompareOp::Ne => binary::<T, Ne>,
            CompareOp::Lt => binary::<T, Lt>,
            CompareOp::Le => binary::<T, Le>,
            CompareOp::Gt => binary::<T, Gt>,
            CompareOp::Ge => binary::<T, Ge>,
        }
    }
    match dtype {
        DType::Bool | DType::U8 => of::<u8>(op),
        DType::I8 => of::<i8>(op),
        DType::I16 => of::<i16>(op),
        DType::I32 => of::<i32>(op),
        DType::I64 => of::<i64>(op),
        DType::F16 | DType::BF16 | DType::F32 => of::<f32>(op),
        DType::F64 => of::<f64>(op),
    }
}

/// The kernel of a cast between registers, or `None` where it changes nothing. A cast into a storage type rounds to it and
/// stays an f32.
pub(super) fn cast_kernel(from: DType, to: DType) -> Option<Kernel> {
    fn int<T>(to: DType) -> Kernel
    where
        T: Int
            + Convert<u8>
            + Convert<i8>
            + Convert<i16>
            + Convert<i32>
            + Convert<i64>
            + Convert<f32>
            + Convert<f64>
            + Convert<Truth>,
    {
        match to {
            DType::Bool => unary::<T, To<Truth>>,
            DType::U8 => unary::<T, To<u8>>,
            DType::I8 => unary::<T, To<i8>>,
            DType::I16 => unary::<T, To<i16>>,
            DType::I32 => unary::<T, To<i32>>,
            DType::I64 => unary::<T, To<i64>>,
            DType::F16 => round_half::<T, f16>,
            DType::BF16 => round_half::<T, bf16>,
            DType::F32 => unary::<T, To<f32>>,
            DType::F64 => unary::<T, To<f64>>,
        }
    }
    if from == to || (from.compute() == to && to == DType::F32) {
        return None;
    }
    Some(match from {
        DType::Bool => match to {
            DType::Bool => return None,
            // 0 and 1 are the same everywhere.
            DType::U8 | DType::I8 => copy_kernel(1),
            DType::I16 => unary::<Truth, To<i16>>,
            DType::I32 => unary::<Truth, To<i32>>,
            DType::I64 => unary::<Truth, To<i64>>,
            DType::F16 | DType::BF16 | DType::F32 => unary::<Truth, To<f32>>,
            DType::F64 => unary::<Truth, To<f64>>,
        },
        DType::U8 => int::<u8>(to),
        DType::I8 => int::<i8>(to),
        DType::I16 => int::<i16>(to),
        DType::I32 => int::<i32>(to),
        DType::I64 => int::<i64>(to),
        DType::F16 | DType::BF16 | DType::F32 => match to {
            DType::Bool => unary::<f32, To<Truth>>,
            DType::U8 => unary::<f32, To<u8>>,
            DType::I8 => unary::<f32, To<i8>>,
            DType::I16 => unary::<f32, To<i16>>,
            DType::I32 => unary::<f32, To<i32>>,
            DType::I64 => unary::<f32, To<i64>>,
            DType::F16 => round_f32::<f16>,
            DType::BF16 => round_f32::<bf16>,
            DType::F32 => return None,
            DType::F64 => unary::<f32, To<f64>>,
        },
        DType::F64 => match to {
            DType::Bool => unary::<f64, To<Truth>>,
            DType::U8 => unary::<f64, To<u8>>,
            DType::I8 => unary::<f64, To<i8>>,
            DType::I16 => unary::<f64, To<i16>>,
            DType::I32 => unary::<f64, To<i32>>,
            DType::I64 => unary::<f64, To<i64>>,
            DType::F16 => round_half::<f64, f16>,
            DType::BF16 => round_half::<f64, bf16>,
            DType::F32 => unary::<f64, To<f32>>,
            DType::F64 => return None,
        },
    })
}

/// The kernel that makes of what lies in memory what a register holds, or `None` where these are the same.
pub(super) fn load_kernel(dtype: DType) -> Option<Kernel> {
    match dtype {
        // A bool that came from elsewhere may be any byte.
        DType::Bool => Some(unary::<u8, To<Truth>>),
        DType::F16 => Some(load_half::<f16>),
        DType::BF16 => Some(load_half::<bf16>),
        DType::U8 | DType::I8 | DType::I16 | DType::I32 | DType::I64 | DType::F32 | DType::F64 => None,
    }
}

/// Whether a register of this dtype is what lies in memory.
pub(super) fn stored_as_is(dtype: DType) -> bool {
    dtype.compute() == dtype
}

/// The kernel that makes of a register what lies in memory.
pub(super) fn store_kernel(dtype: DType) -> Kernel {
    match dtype {
        DType::F16 => store_half::<f16>,
        DType::BF16 => store_half::<bf16>,
        DType::Bool | DType::U8 | DType::I8 | DType::I16 | DType::I32 | DType::I64 | DType::F32 | DType::F64 => {
            copy_kernel(dtype.size())
        }
    }
}

/// The kernel that copies elements of a size.
fn copy_kernel(size: usize) -> Kernel {
    match size {
        1 => copy::<1>,
        2 => copy::<2>,
        4 => copy::<4>,
        _ => copy::<8>,
    }
}

/// # Safety
/// See [`Kernel`].
unsafe fn copy<const SIZE: usize>(level: Level, call: &Call) {
    // SAFETY: the caller's promise for elements of this size, which have any type; parts fit.
    unsafe {
        call.each_part_at::<[u8; SIZE]>(level, |dst, at, count| dst.copy_from_slice(call.operand(0, at, count)));
    }
}

struct To<T>(std::marker::PhantomData<T>);
impl<A: Convert<T>, T: Copy + 'static> Op1<A> for To<T> {
    type Out = T;
    #[inline(always)]
    fn eval<I: Isa>(a: A) -> T {
        a.convert()
    }
}

/// A kernel between a storage type and f32, over whole tiles.
struct Load<'a, H>(&'a Call, std::marker::PhantomData<H>);
struct Store<'a, H>(&'a Call, std::marker::PhantomData<H>);

impl<H: Half> Task for Load<'_, H> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let call = self.0;
        // SAFETY: `load_half`'s caller promises an operand of type `H` and results of type f32; parts fit.
        unsafe { call.each_part::<I, f32>(|dst, at, count| H::widen::<I>(call.operand(0, at, count), dst)) }
    }
}

impl<H: Half> Task for Store<'_, H> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let call = self.0;
        // SAFETY: `store_half`'s caller promises an operand of type f32 and results of type `H`; parts fit.
        unsafe { call.each_part::<I, H>(|dst, at, count| H::narrow::<I>(call.operand(0, at, count), dst)) }
    }
}

/// # Safety
/// See [`Kernel`].
unsafe fn load_half<H: Half>(level: Level, call: &Call) {
    level.run(Load::<H>(call, std::marker::PhantomData));
}

/// # Safety
/// See [`Kernel`].
unsafe fn store_half<H: Half>(level: Level, call: &Call) {
    level.run(Store::<H>(call, std::marker::PhantomData));
}

/// Rounds to what a storage type can hold, once.
///
/// # Safety
/// See [`Kernel`].
unsafe fn round_half<A: Convert<f64>, H: Half>(level: Level, call: &Call) {
    // SAFETY: the caller's promise, for operands of type `A`.
    unsafe { round::<A, H>(level, call, to_odd) }
}

/// Rounds f32 to what a storage type can hold.
///
/// # Safety
/// See [`Kernel`].
unsafe fn round_f32<H: Half>(level: Level, call: &Call) {
    // SAFETY: the caller's promise, for operands of type f32.
    unsafe { round::<f32, H>(level, call, |from, to| to.copy_from_slice(from)) }
}

/// Rounds what `make` makes of operands: f32 values that round to the same.
///
/// # Safety
/// See [`Kernel`]; operands have type `A`.
unsafe fn round<A, H: Half>(level: Level, call: &Call, make: impl Fn(&[A], &mut [f32]) + Copy) {
    // SAFETY: the caller's promise for operands of type `A` and results of type f32; parts fit.
    unsafe {
        call.each_part_at::<f32>(level, |to, at, count| {
            let from = call.operand::<A>(0, at, count);
            level.run(Round { from, to, make, half: std::marker::PhantomData::<H> });
        });
    }
}

/// What [`round`] does to some elements.
struct Round<'a, A, H, F> {
    from: &'a [A],
    to: &'a mut [f32],
    make: F,
    half: std::marker::PhantomData<H>,
}

impl<A, H: Half, F: Fn(&[A], &mut [f32])> Task for Round<'_, A, H, F> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { from, to, make, .. } = self;
        make(from, to);
        H::round::<I>(to);
    }
}

/// [`to_odd_f32`] of a slice.
#[inline(always)]
fn to_odd<A: Convert<f64>>(src: &[A], dst: &mut [f32]) {
    for (dst, &src) in dst.iter_mut().zip(src) {
        *dst = to_odd_f32(src.convert());
    }
}

/// Stamps a comparison.
macro_rules! comparison {
    ($($name:ident $operator:tt),*) => {$(
        struct $name;
        impl<T: Copy + PartialOrd> Op2<T> for $name {
            type Out = Truth;
            #[inline(always)]
            fn eval<I: Isa>(a: T, b: T) -> Truth {
                Truth::from(a $operator b)
            }
        }
    )*};
}
comparison!(Eq ==, Ne !=, Lt <, Le <=, Gt >, Ge >=);

struct Where;
impl<T: Copy> Op3<Truth, T> for Where {
    type Out = T;
    #[inline(always)]
    fn eval<I: Isa>(a: Truth, b: T, c: T) -> T {
        if a.0 != 0 { b } else { c }
    }
}
