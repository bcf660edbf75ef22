//! The loops that instructions run as: a kernel computes one instruction for all elements of a tile.

use crate::vecmath::{Isa, Level, Task};
use std::marker::PhantomData;

/// How many equal elements stand for a value that does not change within a tile. Kernels read such an operand again and
/// again, so that none of them needs a second form for scalars.
pub(crate) const SPLAT: usize = 256;

/// The most operands that a kernel has.
pub(crate) const OPERANDS: usize = 4;

/// One run of a kernel.
#[derive(Debug)]
pub(crate) struct Call {
    /// Where the results go.
    pub(crate) dst: *mut u8,
    /// The operands; those that the kernel does not have are dangling.
    pub(crate) src: [*const u8; OPERANDS],
    /// 1 for operands with an element for each result, 0 for those that repeat their [`SPLAT`] elements.
    pub(crate) step: [usize; OPERANDS],
    /// The number of results.
    pub(crate) len: usize,
}

/// A kernel, for the instruction set it is told.
///
/// # Safety
/// `dst` is valid for writing `len` elements of the result's type. Each operand that the kernel has is valid for reading
/// `len` elements of its type if its step is 1, else `min(len, SPLAT)`. All are aligned to their elements' size, and the
/// results overlap no operand.
pub(crate) type Kernel = unsafe fn(Level, &Call);

/// A function of one element, to be compiled into a loop. Mark implementations `#[inline(always)]`.
pub(crate) trait Op1<A>: 'static {
    type Out;
    fn eval<I: Isa>(a: A) -> Self::Out;
}

/// A function of two elements.
pub(crate) trait Op2<A>: 'static {
    type Out;
    fn eval<I: Isa>(a: A, b: A) -> Self::Out;
}

/// A function of three elements, the first of which may be a condition.
pub(crate) trait Op3<C, A>: 'static {
    type Out;
    fn eval<I: Isa>(a: C, b: A, c: A) -> Self::Out;
}

impl Call {
    /// An operand's elements from `at` on.
    ///
    /// # Safety
    /// The promises of [`Kernel`] for operand `number` of type `T`; `at` is a multiple of [`SPLAT`], and `count` at most
    /// [`SPLAT`] and at most `len - at`, unless the step is 1 and only the latter holds.
    #[inline(always)]
    pub(crate) unsafe fn operand<T>(&self, number: usize, at: usize, count: usize) -> &[T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(self.src[number].cast::<T>().add(at * self.step[number]), count) }
    }

    /// The results from `at` on.
    ///
    /// # Safety
    /// The promises of [`Kernel`] for results of type `T`; `at + count` is at most `len`, and no other slice of these
    /// results is alive.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "the call only describes memory that the kernel may write")]
    pub(crate) unsafe fn results<T>(&self, at: usize, count: usize) -> &mut [T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.dst.cast::<T>().add(at), count) }
    }

    /// Splits the call in parts of at most [`SPLAT`] elements: their beginnings and lengths.
    #[inline(always)]
    pub(crate) fn parts(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let len = self.len;
        (0..len).step_by(SPLAT).map(move |at| (at, SPLAT.min(len - at)))
    }
}

struct Run1<'a, A, O>(&'a Call, PhantomData<(A, O)>);
struct Run2<'a, A, O>(&'a Call, PhantomData<(A, O)>);
struct Run3<'a, C, A, O>(&'a Call, PhantomData<(C, A, O)>);

// The loops are functions of their own because slices among a function's parameters tell the compiler that they do not
// overlap.
#[inline(always)]
fn loop1<I: Isa, A: Copy, O: Op1<A>>(dst: &mut [O::Out], a: &[A]) {
    for (dst, &a) in dst.iter_mut().zip(a) {
        *dst = O::eval::<I>(a);
    }
}

#[inline(always)]
fn loop2<I: Isa, A: Copy, O: Op2<A>>(dst: &mut [O::Out], a: &[A], b: &[A]) {
    for ((dst, &a), &b) in dst.iter_mut().zip(a).zip(b) {
        *dst = O::eval::<I>(a, b);
    }
}

#[inline(always)]
fn loop3<I: Isa, C: Copy, A: Copy, O: Op3<C, A>>(dst: &mut [O::Out], a: &[C], b: &[A], c: &[A]) {
    for (((dst, &a), &b), &c) in dst.iter_mut().zip(a).zip(b).zip(c) {
        *dst = O::eval::<I>(a, b, c);
    }
}

impl<A: Copy, O: Op1<A>> Task for Run1<'_, A, O> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let call = self.0;
        for (at, count) in call.parts() {
            // SAFETY: `unary`'s caller keeps the promises of `Kernel` for these types; parts fit.
            unsafe { loop1::<I, A, O>(call.results(at, count), call.operand(0, at, count)) }
        }
    }
}

impl<A: Copy, O: Op2<A>> Task for Run2<'_, A, O> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let call = self.0;
        for (at, count) in call.parts() {
            // SAFETY: `binary`'s caller keeps the promises of `Kernel` for these types; parts fit.
            unsafe {
                loop2::<I, A, O>(call.results(at, count), call.operand(0, at, count), call.operand(1, at, count));
            }
        }
    }
}

impl<C: Copy, A: Copy, O: Op3<C, A>> Task for Run3<'_, C, A, O> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let call = self.0;
        for (at, count) in call.parts() {
            // SAFETY: `ternary`'s caller keeps the promises of `Kernel` for these types; parts fit.
            unsafe {
                loop3::<I, C, A, O>(
                    call.results(at, count),
                    call.operand(0, at, count),
                    call.operand(1, at, count),
                    call.operand(2, at, count),
                );
            }
        }
    }
}

/// The kernel of a function of one element.
///
/// # Safety
/// See [`Kernel`].
pub(crate) unsafe fn unary<A: Copy, O: Op1<A>>(level: Level, call: &Call) {
    level.run(Run1::<A, O>(call, PhantomData));
}

/// The kernel of a function of two elements.
///
/// # Safety
/// See [`Kernel`].
pub(crate) unsafe fn binary<A: Copy, O: Op2<A>>(level: Level, call: &Call) {
    level.run(Run2::<A, O>(call, PhantomData));
}

/// The kernel of a function of three elements.
///
/// # Safety
/// See [`Kernel`].
pub(crate) unsafe fn ternary<C: Copy, A: Copy, O: Op3<C, A>>(level: Level, call: &Call) {
    level.run(Run3::<C, A, O>(call, PhantomData));
}
