//! Matrix products.

mod blocked;
mod line;
mod pack;
mod vector;

use crate::number::{Number, Truth, for_number};
use crate::parallel::for_each_range;
use crate::strided::{Axes, Source, Target, Walk, axes_of, count, merge};
use crate::vecmath::Level;
use crate::{Buffer, Cpu};
use pack::Matrix;
use std::sync::atomic::{AtomicBool, Ordering};
use tensor_core::{Backend, Error, ErrorKind, Result, View, ViewMut, bf16, f16};
use vector::Factor;

/// Multiplications from which on a second thread is worth waking.
const PARALLEL: usize = 1 << 20;

/// See [`Backend::matmul`].
pub(crate) fn matmul(cpu: &Cpu, a: &View<'_, Cpu>, b: &View<'_, Cpu>, mut out: ViewMut<'_, Cpu>) -> Result<()> {
    if out.layout.numel() == 0 {
        return Ok(());
    }
    let done = for_number!(a.dtype, T => run::<T>(cpu.level(), a, b, &mut out));
    done.ok_or_else(|| {
        let bytes = out.layout.numel() * size_of::<f32>();
        Error::new(ErrorKind::OutOfMemory { device: cpu.label().into_owned(), bytes })
    })
}

/// An element of a matrix.
trait Operand: Number {
    /// What it is multiplied and added up as: f32 for the storage floats, i16 for what is shorter (it wraps to the same
    /// low bits), itself for all others.
    type Factor: Factor;
    /// Whether it is its own factor.
    const IS_FACTOR: bool = false;
    fn to_factor(self) -> Self::Factor;
    fn from_factor(sum: Self::Factor) -> Self;
}

macro_rules! own_factor {
    ($($t:ty)*) => {$(
        impl Operand for $t {
            type Factor = Self;
            const IS_FACTOR: bool = true;
            #[inline(always)]
            fn to_factor(self) -> Self {
                self
            }
            #[inline(always)]
            fn from_factor(sum: Self) -> Self {
                sum
            }
        }
    )*};
}
own_factor!(i16 i32 i64 f32 f64);

macro_rules! short_int {
    ($($t:ty)*) => {$(
        impl Operand for $t {
            type Factor = i16;
            #[inline(always)]
            fn to_factor(self) -> i16 {
                i16::from(self)
            }
            #[inline(always)]
            fn from_factor(sum: i16) -> Self {
                sum as $t
            }
        }
    )*};
}
short_int!(u8 i8);

macro_rules! storage_float {
    ($($t:ty)*) => {$(
        impl Operand for $t {
            type Factor = f32;
            #[inline(always)]
            fn to_factor(self) -> f32 {
                self.widen()
            }
            #[inline(always)]
            fn from_factor(sum: f32) -> Self {
                Self::narrow(sum)
            }
        }
    )*};
}
storage_float!(f16 bf16);

/// No number: the core passes none. The product of truth values would be "both", their sum "any".
impl Operand for Truth {
    type Factor = i32;
    #[inline(always)]
    fn to_factor(self) -> i32 {
        i32::from(self.widen())
    }
    #[inline(always)]
    fn from_factor(sum: i32) -> Self {
        Self::narrow(u8::from(sum != 0))
    }
}

/// One product: `out` has `m` rows of `n` neighbours, `a` m rows of k, `b` k rows of n.
#[derive(Clone, Copy)]
struct Product<F> {
    a: Matrix<F>,
    b: Matrix<F>,
    out: Target<F>,
    m: usize,
    n: usize,
    k: usize,
}

/// Computes a product; `None` if there is no memory.
///
/// # Safety
/// `a` has m×k elements to read, `b` k×n, and `out` m×n to write that nobody else accesses; m and n are not 0.
unsafe fn product<F: Factor>(level: Level, work: Product<F>, threads: usize) -> Option<()> {
    // SAFETY: the caller's promise.
    unsafe {
        if work.k == 0 {
            std::slice::from_raw_parts_mut(work.out.at(0), work.m * work.n).fill(F::default());
            Some(())
        } else if line::applies(&work) {
            line::product(level, work, threads)
        } else {
            blocked::product(level, work, threads)
        }
    }
}

/// All products of a batch; `None` if there is no memory.
fn run<T: Operand>(level: Level, a: &View<'_, Cpu>, b: &View<'_, Cpu>, out: &mut ViewMut<'_, Cpu>) -> Option<()> {
    let rank = a.layout.rank();
    let (mut m, k, n) = (a.layout.dims()[rank - 2], a.layout.dims()[rank - 1], b.layout.dims()[rank - 1]);
    let steps = [a.layout.strides(), b.layout.strides(), out.layout.strides()];
    let [a_steps, b_steps] = [0, 1].map(|operand| [steps[operand][rank - 2], steps[operand][rank - 1]]);
    let mut batch: Axes<3> = axes_of(out.layout.dims(), steps, |axis| axis + 2 < rank);
    merge(&mut batch);
    assert!(out.layout.is_contiguous(), "a product's result is contiguous");
    let (a, b, out) = (Source::<T>::new(a), Source::<T>::new(b), Target::<T>::new(out));
    // Many matrices times the same one are one taller matrix times it.
    if let Some(inner) = batch.last()
        && inner.steps[1] == 0
        && (inner.steps[0] == a_steps[0] * m as isize || m == 1)
    {
        let (rows, step) = (inner.size, inner.steps[0]);
        let row_step = if m == 1 { step } else { a_steps[0] };
        m *= rows;
        batch.pop();
        return products::<T>(level, &batch, a, [row_step, a_steps[1]], b, b_steps, out, [m, n, k]);
    }
    products::<T>(level, &batch, a, a_steps, b, b_steps, out, [m, n, k])
}

fn products<T: Operand>(
    level: Level,
    batch: &Axes<3>,
    a: Source<T>,
    a_steps: [isize; 2],
    b: Source<T>,
    b_steps: [isize; 2],
    out: Target<T>,
    [m, n, k]: [usize; 3],
) -> Option<()> {
    let one = |[at_a, at_b, at_out]: [isize; 3], threads: usize| {
        let mut work = Product {
            a: Matrix::new(level, a.at(at_a), a_steps),
            b: Matrix::new(level, b.at(at_b), b_steps),
            out: Target::from_ptr(out.at(at_out).cast::<T::Factor>()),
            m,
            n,
            k,
        };
        if T::IS_FACTOR {
            // SAFETY: `a` and `b` are matrices of their views and `out` one of the contiguous result, which nobody else
            // writes; its elements are factors.
            return unsafe { product(level, work, threads) };
        }
        let mut sums = Buffer::new(m * n * size_of::<T::Factor>())?;
        work.out = Target::from_ptr(sums.as_mut_ptr().cast());
        // SAFETY: as above, but into a buffer of as many factors.
        unsafe { product(level, work, threads)? };
        let out = Target::from_ptr(out.at(at_out));
        let grain = if threads > 1 { crate::parallel::GRAIN } else { m * n };
        for_each_range(m * n, grain, |range| {
            // SAFETY: the ranges do not meet; both buffers have `m * n` elements, and `product` has filled the first.
            unsafe {
                let sums = std::slice::from_raw_parts(work.out.at(range.start as isize).cast_const(), range.len());
                let out = std::slice::from_raw_parts_mut(out.at(range.start as isize), range.len());
                round::<T>(sums, out);
            }
        });
        Some(())
    };
    let (number, cost) = (count(batch), m * n * k);
    let threads = if number * cost >= PARALLEL { rayon::current_num_threads() } else { 1 };
    if number >= threads && threads > 1 && cost < PARALLEL << 6 {
        let failed = AtomicBool::new(false);
        for_each_range(number, number.div_ceil(8 * threads).max((1 << 16) / cost.max(1)), |range| {
            let mut walk = Walk::from(batch, range.start);
            for _ in range {
                if one(walk.offsets, 1).is_none() {
                    failed.store(true, Ordering::Relaxed);
                }
                walk.advance();
            }
        });
        return (!failed.into_inner()).then_some(());
    }
    let mut walk = Walk::from(batch, 0);
    for _ in 0..number {
        one(walk.offsets, threads)?;
        walk.advance();
    }
    Some(())
}

/// Converts sums to elements.
fn round<T: Operand>(sums: &[T::Factor], out: &mut [T]) {
    for (out, &sum) in out.iter_mut().zip(sums) {
        *out = T::from_factor(sum);
    }
}
