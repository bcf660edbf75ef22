//! Two or three additions, subtractions and multiplications in one loop.
//!
//! Arithmetic is so cheap that a tile's way to the cache and back costs more. Where a sum or product is used only once, and
//! by another sum or product, both are computed in one loop. Every operation rounds as it does on its own, so nothing about
//! the results changes.

use super::float::Float;
use super::kernel::{Call, Kernel};
use crate::vecmath::{Isa, Level, Task};
use std::marker::PhantomData;
use tensor_core::DType;
use tensor_core::op::BinaryOp;

/// What is done to two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    Add,
    Sub,
    Mul,
}

impl First {
    /// The operation, if it is one of those that loops are made of.
    pub(super) fn of(op: BinaryOp) -> Option<Self> {
        match op {
            BinaryOp::Add => Some(Self::Add),
            BinaryOp::Sub => Some(Self::Sub),
            BinaryOp::Mul => Some(Self::Mul),
            _ => None,
        }
    }
}

/// What is done to the value so far and an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Add,
    Sub,
    /// The value is taken from the operand.
    SubFrom,
    Mul,
}

impl Link {
    /// The link for an operation whose left operand (or else right one) is the value so far.
    pub(super) fn of(op: BinaryOp, value_is_left: bool) -> Option<Self> {
        First::of(op).map(|first| match first {
            First::Add => Self::Add,
            First::Sub if value_is_left => Self::Sub,
            First::Sub => Self::SubFrom,
            First::Mul => Self::Mul,
        })
    }
}

/// Which operations a loop does, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `(a ∘ b) ∘ c`
    Two(First, Link),
    /// `((a ∘ b) ∘ c) ∘ d`
    Three(First, Link, Link),
    /// `(a ∘ b) ∘ (c ∘ d)`: the left one, the right one, and what joins them.
    Joined(First, First, First),
}

/// The kernel of a shape, for a float dtype.
pub(super) fn kernel(shape: Shape, dtype: DType) -> Kernel {
    if dtype == DType::F64 { of::<f64>(shape) } else { of::<f32>(shape) }
}

const ADD: u8 = 0;
const SUB: u8 = 1;
const SUB_FROM: u8 = 2;
const MUL: u8 = 3;

fn of<T: Float>(shape: Shape) -> Kernel {
    let (Shape::Two(first, _) | Shape::Three(first, ..) | Shape::Joined(first, ..)) = shape;
    match first {
        First::Add => first_is::<T, ADD>(shape),
        First::Sub => first_is::<T, SUB>(shape),
        First::Mul => first_is::<T, MUL>(shape),
    }
}

fn first_is<T: Float, const A: u8>(shape: Shape) -> Kernel {
    match shape {
        Shape::Two(_, Link::Add) => two::<T, A, ADD>,
        Shape::Two(_, Link::Sub) => two::<T, A, SUB>,
        Shape::Two(_, Link::SubFrom) => two::<T, A, SUB_FROM>,
        Shape::Two(_, Link::Mul) => two::<T, A, MUL>,
        Shape::Three(_, Link::Add, third) => third_is::<T, A, ADD>(third),
        Shape::Three(_, Link::Sub, third) => third_is::<T, A, SUB>(third),
        Shape::Three(_, Link::SubFrom, third) => third_is::<T, A, SUB_FROM>(third),
        Shape::Three(_, Link::Mul, third) => third_is::<T, A, MUL>(third),
        Shape::Joined(_, First::Add, join) => join_is::<T, A, ADD>(join),
        Shape::Joined(_, First::Sub, join) => join_is::<T, A, SUB>(join),
        Shape::Joined(_, First::Mul, join) => join_is::<T, A, MUL>(join),
    }
}

fn third_is<T: Float, const A: u8, const B: u8>(third: Link) -> Kernel {
    match third {
        Link::Add => three::<T, A, B, ADD>,
        Link::Sub => three::<T, A, B, SUB>,
        Link::SubFrom => three::<T, A, B, SUB_FROM>,
        Link::Mul => three::<T, A, B, MUL>,
    }
}

fn join_is<T: Float, const A: u8, const B: u8>(join: First) -> Kernel {
    match join {
        First::Add => joined::<T, A, B, ADD>,
        First::Sub => joined::<T, A, B, SUB>,
        First::Mul => joined::<T, A, B, MUL>,
    }
}

#[inline(always)]
fn link<T: Float, const LINK: u8>(value: T, operand: T) -> T {
    match LINK {
        ADD => value + operand,
        SUB => value - operand,
        SUB_FROM => operand - value,
        _ => value * operand,
    }
}

struct Two<'a, T, const A: u8, const B: u8>(&'a Call, PhantomData<T>);
struct Three<'a, T, const A: u8, const B: u8, const C: u8>(&'a Call, PhantomData<T>);
struct Joined<'a, T, const A: u8, const B: u8, const C: u8>(&'a Call, PhantomData<T>);

/// # Safety
/// See [`Kernel`].
unsafe fn two<T: Float, const A: u8, const B: u8>(level: Level, call: &Call) {
    level.run(Two::<T, A, B>(call, PhantomData));
}

/// # Safety
/// See [`Kernel`].
unsafe fn three<T: Float, const A: u8, const B: u8, const C: u8>(level: Level, call: &Call) {
    level.run(Three::<T, A, B, C>(call, PhantomData));
}

/// # Safety
/// See [`Kernel`].
unsafe fn joined<T: Float, const A: u8, const B: u8, const C: u8>(level: Level, call: &Call) {
    level.run(Joined::<T, A, B, C>(call, PhantomData));
}

impl<T: Float, const A: u8, const B: u8> Task for Two<'_, T, A, B> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let call = self.0;
        // SAFETY: `two`'s caller keeps the promises of `Kernel` for three operands and results of type `T`; parts fit.
        unsafe {
            call.each_part::<I, T>(|dst, at, count| {
                let (a, b, c) = (call.operand(0, at, count), call.operand(1, at, count), call.operand(2, at, count));
                loop3(dst, a, b, c, |a, b, c| link::<T, B>(link::<T, A>(a, b), c));
            });
        }
    }
}

impl<T: Float, const A: u8, const B: u8, const C: u8> Task for Three<'_, T, A, B, C> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        // SAFETY: `three`'s caller keeps the promises of `Kernel` for four operands and results of type `T`.
        unsafe { run4::<I, T>(self.0, |a, b, c, d| link::<T, C>(link::<T, B>(link::<T, A>(a, b), c), d)) }
    }
}

impl<T: Float, const A: u8, const B: u8, const C: u8> Task for Joined<'_, T, A, B, C> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        // SAFETY: `joined`'s caller keeps the promises of `Kernel` for four operands and results of type `T`.
        unsafe { run4::<I, T>(self.0, |a, b, c, d| link::<T, C>(link::<T, A>(a, b), link::<T, B>(c, d))) }
    }
}

/// # Safety
/// See [`Kernel`], for four operands and results of type `T`.
#[inline(always)]
unsafe fn run4<I: Isa, T: Float>(call: &Call, f: impl Fn(T, T, T, T) -> T + Copy) {
    // SAFETY: the caller's promise; parts fit.
    unsafe {
        call.each_part::<I, T>(|dst, at, count| {
            let (a, b) = (call.operand(0, at, count), call.operand(1, at, count));
            let (c, d) = (call.operand(2, at, count), call.operand(3, at, count));
            loop4(dst, a, b, c, d, f);
        });
    }
}

#[inline(always)]
fn loop3<T: Float>(dst: &mut [T], a: &[T], b: &[T], c: &[T], f: impl Fn(T, T, T) -> T) {
    for (((dst, &a), &b), &c) in dst.iter_mut().zip(a).zip(b).zip(c) {
        *dst = f(a, b, c);
    }
}

#[inline(always)]
fn loop4<T: Float>(dst: &mut [T], a: &[T], b: &[T], c: &[T], d: &[T], f: impl Fn(T, T, T, T) -> T) {
    for ((((dst, &a), &b), &c), &d) in dst.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *dst = f(a, b, c, d);
    }
}
