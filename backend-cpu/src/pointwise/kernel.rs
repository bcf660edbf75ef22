//! The loops that instructions run as: a kernel computes one instruction for all elements of a tile.

use super::moves;
use crate::vecmath::{Isa, Level, Task};
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// How many equal elements stand for a value that does not change within a tile. Kernels read such an operand again and
/// again, so that none of them needs a second form for scalars.
pub(crate) const SPLAT: usize = 256;

/// The most operands that a kernel has.
pub(crate) const OPERANDS: usize = 4;

/// How many results are computed before they are written past the caches: whole cache lines for elements of every size, and
/// so few that they are on their way while the next ones are computed.
pub(crate) const STREAMED: usize = 64;

/// The same where the arithmetic takes longer than the writing, and few loops matter more.
pub(crate) const STREAMED_LONG: usize = SPLAT;

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
    /// How many results are written past the caches at a time, as far as they are whole cache lines: [`STREAMED`] or
    /// [`STREAMED_LONG`], or 0 if they are written the ordinary way.
    pub(crate) streamed: usize,
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
    type Out: Copy;
    fn eval<I: Isa>(a: A) -> Self::Out;
}

/// A function of two elements.
pub(crate) trait Op2<A>: 'static {
    type Out: Copy;
    fn eval<I: Isa>(a: A, b: A) -> Self::Out;
}

/// A function of three elements, the first of which may be a condition.
pub(crate) trait Op3<C, A>: 'static {
    type Out: Copy;
    fn eval<I: Isa>(a: C, b: A, c: A) -> Self::Out;
}

impl Call {
    /// An operand's elements from `at` on.
    ///
    /// # Safety
    /// The promises of [`Kernel`] for operand `number` of type `T`; `count` is at most [`SPLAT`] and at most `len - at`,
    /// unless the step is 1 and only the latter holds.
    #[inline(always)]
    pub(crate) unsafe fn operand<T>(&self, number: usize, at: usize, count: usize) -> &[T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(self.src[number].cast::<T>().add(at * self.step[number]), count) }
    }

    /// Calls `compute` for parts: with where the results go, the part's beginning and its length. Where an operand repeats,
    /// parts have at most [`SPLAT`] elements.
    ///
    /// # Safety
    /// The promises of [`Kernel`] for results of type `R`, of which `compute` writes all that it is given.
    #[inline(always)]
    pub(crate) unsafe fn each_part<I: Isa, R: Copy>(&self, compute: impl FnMut(&mut [R], usize, usize)) {
        let most = if self.step == [1; OPERANDS] { self.len } else { SPLAT };
        // SAFETY: the caller's promise; each part's lines are written whole.
        unsafe { self.parts_and(most, compute, |dst, src, lines| moves::stream_lines::<I>(dst, src, lines)) }
    }

    /// [`each_part`](Self::each_part) for kernels that are not compiled for an instruction set themselves; no part has more
    /// than [`SPLAT`] elements.
    ///
    /// # Safety
    /// As for `each_part`.
    #[inline(always)]
    pub(crate) unsafe fn each_part_at<R: Copy>(&self, level: Level, compute: impl FnMut(&mut [R], usize, usize)) {
        // SAFETY: as in `each_part`.
        unsafe { self.parts_and(SPLAT, compute, |dst, src, lines| moves::stream(level, dst, src, 64 * lines)) }
    }

    /// [`each_part`](Self::each_part) with the most elements of a part and what streams a number of lines.
    ///
    /// # Safety
    /// As for `each_part`; `stream` asks for nothing but memory for whole lines, of which the first one's begins at a
    /// multiple of 64.
    #[inline(always)]
    unsafe fn parts_and<R: Copy>(
        &self,
        longest: usize,
        mut compute: impl FnMut(&mut [R], usize, usize),
        stream: impl Fn(*mut u8, *const u8, usize),
    ) {
        let most = self.streamed;
        let mut spare = Lines::<R>::for_results(most > 0);
        let mut at = 0;
        // One mention of `compute` for all ways of writing: it is large, and each is a copy.
        while at < self.len {
            let (dst, left) = (self.dst.cast::<R>().wrapping_add(at), self.len - at);
            let (mut count, mut through) = (left.min(longest), false);
            if most > 0 {
                let before = (dst.addr().wrapping_neg() & 63) / size_of::<R>();
                through = before == 0 && left >= most;
                count = if through { most } else { left.min(if before == 0 { most } else { before }) };
            }
            let to = if through { spare.0.as_mut_ptr().cast::<R>() } else { dst };
            // SAFETY: `to` is a part of the results, which the caller promises are valid for writing, or initialised memory
            // for `SPLAT` elements, of which `count` is at most as many. No other reference to it is alive.
            compute(unsafe { std::slice::from_raw_parts_mut(to, count) }, at, count);
            if through {
                stream(dst.cast(), spare.0.as_ptr().cast(), most * size_of::<R>() / 64);
            }
            at += count;
        }
    }
}

/// Memory for results that are streamed from it, at a cache line.
#[repr(align(64))]
struct Lines<R>(MaybeUninit<[R; SPLAT]>);

impl<R: Copy> Lines<R> {
    /// Initialised if it will be used.
    #[inline(always)]
    fn for_results(used: bool) -> Self {
        // Results are plain numbers, so zeros are elements.
        Self(if used { MaybeUninit::zeroed() } else { MaybeUninit::uninit() })
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
        // SAFETY: `unary`'s caller keeps the promises of `Kernel` for these types; parts fit.
        unsafe { call.each_part::<I, O::Out>(|dst, at, count| loop1::<I, A, O>(dst, call.operand(0, at, count))) }
    }
}

impl<A: Copy, O: Op2<A>> Task for Run2<'_, A, O> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let call = self.0;
        // SAFETY: `binary`'s caller keeps the promises of `Kernel` for these types; parts fit.
        unsafe {
            call.each_part::<I, O::Out>(|dst, at, count| {
                loop2::<I, A, O>(dst, call.operand(0, at, count), call.operand(1, at, count));
            });
        }
    }
}

impl<C: Copy, A: Copy, O: Op3<C, A>> Task for Run3<'_, C, A, O> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let call = self.0;
        // SAFETY: `ternary`'s caller keeps the promises of `Kernel` for these types; parts fit.
        unsafe {
            call.each_part::<I, O::Out>(|dst, at, count| {
                loop3::<I, C, A, O>(
                    dst,
                    call.operand(0, at, count),
                    call.operand(1, at, count),
                    call.operand(2, at, count),
                );
            });
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
