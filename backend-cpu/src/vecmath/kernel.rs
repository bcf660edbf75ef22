//! Loops over slices: what turns a scalar function into a vector kernel for one instruction set.

use std::fmt;

use super::{Isa, Level, Real, Task};

/// A scalar function of one argument, to be compiled into a loop per instruction set.
pub(super) trait UnaryFormula<T>: 'static {
    /// Whether some arguments are beyond [`UnaryFormula::eval`].
    const HAS_HARD: bool = false;

    /// The branch-free formula.
    fn eval<I: Isa>(x: T) -> T;

    /// Whether `eval` is wrong for this argument. Only asked if `HAS_HARD`.
    fn is_hard(_x: T) -> bool {
        false
    }

    /// The value for such an argument.
    fn hard(x: T) -> T {
        Self::eval::<super::Baseline>(x)
    }
}

/// The same for two arguments.
pub(super) trait BinaryFormula<T>: 'static {
    /// Whether some arguments are beyond [`BinaryFormula::eval`].
    const HAS_HARD: bool = false;

    /// The branch-free formula.
    fn eval<I: Isa>(x: T, y: T) -> T;

    /// Whether `eval` is wrong for this pair. Only asked if `HAS_HARD`.
    fn is_hard(_x: T, _y: T) -> bool {
        false
    }

    /// The value for such a pair.
    fn hard(x: T, y: T) -> T {
        Self::eval::<super::Baseline>(x, y)
    }
}

/// How many elements are computed before looking for hard ones among them, which must then still be in L1.
const BLOCK: usize = 512;

#[inline(always)]
fn unary_loop<I: Isa, T: Real, F: UnaryFormula<T>>(src: &[T], dst: &mut [T]) {
    if !F::HAS_HARD {
        for (d, &x) in dst.iter_mut().zip(src) {
            *d = F::eval::<I>(x);
        }
        return;
    }
    for (dst, src) in dst.chunks_mut(BLOCK).zip(src.chunks(BLOCK)) {
        for (d, &x) in dst.iter_mut().zip(src) {
            *d = F::eval::<I>(x);
        }
        if src.iter().fold(false, |any, &x| any | F::is_hard(x)) {
            for (d, &x) in dst.iter_mut().zip(src) {
                if F::is_hard(x) {
                    *d = F::hard(x);
                }
            }
        }
    }
}

#[inline(always)]
fn binary_loop<I: Isa, T: Real, F: BinaryFormula<T>>(x: &[T], y: &[T], dst: &mut [T]) {
    for (dst, (x, y)) in dst.chunks_mut(BLOCK).zip(x.chunks(BLOCK).zip(y.chunks(BLOCK))) {
        for (d, (&x, &y)) in dst.iter_mut().zip(x.iter().zip(y)) {
            *d = F::eval::<I>(x, y);
        }
        if F::HAS_HARD && x.iter().zip(y).fold(false, |any, (&x, &y)| any | F::is_hard(x, y)) {
            for (d, (&x, &y)) in dst.iter_mut().zip(x.iter().zip(y)) {
                if F::is_hard(x, y) {
                    *d = F::hard(x, y);
                }
            }
        }
    }
}

struct UnaryTask<'a, T, F> {
    src: &'a [T],
    dst: &'a mut [T],
    formula: std::marker::PhantomData<F>,
}

impl<T: Real, F: UnaryFormula<T>> Task for UnaryTask<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        unary_loop::<I, T, F>(self.src, self.dst);
    }
}

struct BinaryTask<'a, T, F> {
    x: &'a [T],
    y: &'a [T],
    dst: &'a mut [T],
    formula: std::marker::PhantomData<F>,
}

impl<T: Real, F: BinaryFormula<T>> Task for BinaryTask<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        binary_loop::<I, T, F>(self.x, self.y, self.dst);
    }
}

/// A vector function of one argument, compiled for the [`Level`] it was asked for.
///
/// Every element is computed alike wherever it stands: results do not depend on position, length or alignment.
#[derive(Clone, Copy)]
pub struct UnaryKernel<T> {
    level: Level,
    raw: fn(Level, &[T], &mut [T]),
}

/// A vector function of two arguments, compiled for the [`Level`] it was asked for.
#[derive(Clone, Copy)]
pub struct BinaryKernel<T> {
    level: Level,
    raw: fn(Level, &[T], &[T], &mut [T]),
}

/// Elements that in-place calls move through the stack at a time: small enough for L1, large enough to forget the call.
const TILE: usize = 512;

impl<T: Real> UnaryKernel<T> {
    pub(super) fn new<F: UnaryFormula<T>>(level: Level) -> Self {
        fn raw<T: Real, F: UnaryFormula<T>>(level: Level, src: &[T], dst: &mut [T]) {
            level.run(UnaryTask { src, dst, formula: std::marker::PhantomData::<F> });
        }
        Self { level, raw: raw::<T, F> }
    }

    /// `dst[i] = f(src[i])`.
    ///
    /// # Panics
    /// If the lengths differ.
    #[inline]
    pub fn apply(self, src: &[T], dst: &mut [T]) {
        assert_eq!(src.len(), dst.len(), "vecmath: source and destination differ in length");
        (self.raw)(self.level, src, dst);
    }

    /// `x[i] = f(x[i])`.
    pub fn apply_in_place(self, x: &mut [T]) {
        // Loops that may read what they wrote do not vectorise, so the arguments move out of the way first.
        let mut tile = [T::lit(0.0); TILE];
        for chunk in x.chunks_mut(TILE) {
            let tile = &mut tile[..chunk.len()];
            tile.copy_from_slice(chunk);
            (self.raw)(self.level, tile, chunk);
        }
    }
}

impl<T: Real> BinaryKernel<T> {
    pub(super) fn new<F: BinaryFormula<T>>(level: Level) -> Self {
        fn raw<T: Real, F: BinaryFormula<T>>(level: Level, x: &[T], y: &[T], dst: &mut [T]) {
            level.run(BinaryTask { x, y, dst, formula: std::marker::PhantomData::<F> });
        }
        Self { level, raw: raw::<T, F> }
    }

    /// `dst[i] = f(x[i], y[i])`.
    ///
    /// # Panics
    /// If the lengths differ.
    #[inline]
    pub fn apply(self, x: &[T], y: &[T], dst: &mut [T]) {
        assert!(x.len() == dst.len() && y.len() == dst.len(), "vecmath: operands and destination differ in length");
        (self.raw)(self.level, x, y, dst);
    }

    /// `x[i] = f(x[i], y[i])`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn apply_in_place(self, x: &mut [T], y: &[T]) {
        assert_eq!(x.len(), y.len(), "vecmath: operands differ in length");
        let mut tile = [T::lit(0.0); TILE];
        for (x, y) in x.chunks_mut(TILE).zip(y.chunks(TILE)) {
            let tile = &mut tile[..x.len()];
            tile.copy_from_slice(x);
            (self.raw)(self.level, tile, y, x);
        }
    }

    /// `y[i] = f(x[i], y[i])`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn apply_in_place_right(self, x: &[T], y: &mut [T]) {
        assert_eq!(x.len(), y.len(), "vecmath: operands differ in length");
        let mut tile = [T::lit(0.0); TILE];
        for (y, x) in y.chunks_mut(TILE).zip(x.chunks(TILE)) {
            let tile = &mut tile[..y.len()];
            tile.copy_from_slice(y);
            (self.raw)(self.level, x, tile, y);
        }
    }

    /// `dst[i] = f(x[i], y)`: a scalar on the right.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn apply_scalar_right(self, x: &[T], y: T, dst: &mut [T]) {
        assert_eq!(x.len(), dst.len(), "vecmath: source and destination differ in length");
        let tile = [y; TILE];
        for (dst, x) in dst.chunks_mut(TILE).zip(x.chunks(TILE)) {
            (self.raw)(self.level, x, &tile[..x.len()], dst);
        }
    }

    /// `dst[i] = f(x, y[i])`: a scalar on the left.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn apply_scalar_left(self, x: T, y: &[T], dst: &mut [T]) {
        assert_eq!(y.len(), dst.len(), "vecmath: source and destination differ in length");
        let tile = [x; TILE];
        for (dst, y) in dst.chunks_mut(TILE).zip(y.chunks(TILE)) {
            (self.raw)(self.level, &tile[..y.len()], y, dst);
        }
    }
}

impl<T> fmt::Debug for UnaryKernel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnaryKernel").field("level", &self.level).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for BinaryKernel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BinaryKernel").field("level", &self.level).finish_non_exhaustive()
    }
}
