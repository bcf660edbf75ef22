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

/// What is done to a value and an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
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
        match op {
            BinaryOp::Add => Some(Self::Add),
            BinaryOp::Mul => Some(Self::Mul),
            BinaryOp::Sub => Some(if value_is_left { Self::Sub } else { Self::SubFrom }),
            _ => None,
        }
    }
}

/// Which operations a loop does, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `(a ∘ b) ∘ c`
    Two(Link, Link),
    /// `((a ∘ b) ∘ c) ∘ d`
    Three(Link, Link, Link),
    /// `(a ∘ b) ∘ (c ∘ d)`: the left one, the right one, and what joins them.
    Joined(Link, Link, Link),
}

/// The kernel of a shape, for a float dtype.
pub(super) fn kernel(shape: Shape, dtype: DType) -> Kernel {
    if dtype == DType::F64 { of::<f64>(shape) } else { of::<f32>(shape) }
}

const ADD: u8 = Link::Add as u8;
const SUB: u8 = Link::Sub as u8;
const SUB_FROM: u8 = Link::SubFrom as u8;
const MUL: u8 = Link::Mul as u8;

fn of<T: Float>(shape: Shape) -> Kernel {
    let (first, second, third) = match shape {
        Shape::Two(first, second) => (first, second, None),
        Shape::Three(first, second, third) => (first, second, Some((third, false))),
        Shape::Joined(left, right, join) => (left, right, Some((join, true))),
    };
    match first {
        Link::Add => first_is::<T, ADD>(second, third),
        Link::Sub => first_is::<T, SUB>(second, third),
        Link::SubFrom => first_is::<T, SUB_FROM>(second, third),
        Link::Mul => first_is::<T, MUL>(second, third),
    }
}

fn first_is<T: Float, const A: u8>(second: Link, third: Option<(Link, bool)>) -> Kernel {
    match second {
        Link::Add => second_is::<T, A, ADD>(third),
        Link::Sub => second_is::<T, A, SUB>(third),
        Link::SubFrom => second_is::<T, A, SUB_FROM>(third),
        Link::Mul => second_is::<T, A, MUL>(third),
    }
}

fn second_is<T: Float, const A: u8, const B: u8>(third: Option<(Link, bool)>) -> Kernel {
    match third {
        None => two::<T, A, B>,
        Some((Link::Add, false)) => three::<T, A, B, ADD>,
        Some((Link::Sub, false)) => three::<T, A, B, SUB>,
        Some((Link::SubFrom, false)) => three::<T, A, B, SUB_FROM>,
        Some((Link::Mul, false)) => three::<T, A, B, MUL>,
        Some((Link::Add, true)) => joined::<T, A, B, ADD>,
        Some((Link::Sub, true)) => joined::<T, A, B, SUB>,
        Some((Link::SubFrom, true)) => joined::<T, A, B, SUB_FROM>,
        Some((Link::Mul, true)) => joined::<T, A, B, MUL>,
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
        for (at, count) in call.parts() {
            // SAFETY: `two`'s caller keeps the promises of `Kernel` for three operands and results of type `T`; parts fit.
            let (dst, a, b, c) = unsafe {
                (
                    call.results(at, count),
                    call.operand(0, at, count),
                    call.operand(1, at, count),
                    call.operand(2, at, count),
                )
            };
            loop3(dst, a, b, c, |a, b, c| link::<T, B>(link::<T, A>(a, b), c));
        }
    }
}

impl<T: Float, const A: u8, const B: u8, const C: u8> Task for Three<'_, T, A, B, C> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        // SAFETY: `three`'s caller keeps the promises of `Kernel` for four operands and results of type `T`.
        unsafe { run4::<T>(self.0, |a, b, c, d| link::<T, C>(link::<T, B>(link::<T, A>(a, b), c), d)) }
    }
}

impl<T: Float, const A: u8, const B: u8, const C: u8> Task for Joined<'_, T, A, B, C> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        // SAFETY: `joined`'s caller keeps the promises of `Kernel` for four operands and results of type `T`.
        unsafe { run4::<T>(self.0, |a, b, c, d| link::<T, C>(link::<T, A>(a, b), link::<T, B>(c, d))) }
    }
}

/// # Safety
/// See [`Kernel`], for four operands and results of type `T`.
#[inline(always)]
unsafe fn run4<T: Float>(call: &Call, f: impl Fn(T, T, T, T) -> T + Copy) {
    for (at, count) in call.parts() {
        // SAFETY: the caller's promise; parts fit.
        let (dst, a, b, c, d) = unsafe {
            (
                call.results(at, count),
                call.operand(0, at, count),
                call.operand(1, at, count),
                call.operand(2, at, count),
                call.operand(3, at, count),
            )
        };
        loop4(dst, a, b, c, d, f);
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
