//! Matrix products.

pub(crate) mod attention;
mod blocked;
mod dots;
mod line;
mod pack;
mod vector;
mod windows;

use crate::number::{Number, Truth, for_number};
use crate::parallel::for_each_range;
use crate::pointwise::{moves::prefetch, pointwise};
use crate::strided::{Axes, Axis, Source, Target, Walk, axes_of, count, merge};
use crate::vecmath::Level;
use crate::{Buffer, Cpu};
use pack::{Index, Matrix};
use smallvec::SmallVec;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use tensor_core::matmul::run_epilogue;
use tensor_core::{
    Backend, DType, Error, ErrorKind, Input, Layout, MatmulSpec, Program, Result, View, ViewMut, bf16, f16,
};
use vector::Factor;

/// Multiplications from which on a second thread is worth waking.
const PARALLEL: usize = 1 << 20;

/// See [`Backend::matmul`].
pub(crate) fn matmul(
    cpu: &Cpu,
    spec: &MatmulSpec<'_>,
    [a, b]: [&View<'_, Cpu>; 2],
    extras: &[View<'_, Cpu>],
    mut out: ViewMut<'_, Cpu>,
) -> Result<()> {
    if out.layout.numel() == 0 {
        return Ok(());
    }
    let level = cpu.level();
    let done = for_number!(a.dtype, T => run::<T>(level, spec, a, b, extras, &mut out)).unwrap_or_else(|| {
        let bytes = out.layout.numel() * size_of::<f32>();
        Err(Error::new(ErrorKind::OutOfMemory { device: cpu.label().into_owned(), bytes }))
    })?;
    if done { Ok(()) } else { run_epilogue(cpu, spec, extras, out) }
}

/// The epilogue of a batch of products, run over each of them while it is still in the cache.
struct Each<'a> {
    level: Level,
    program: &'a Program,
    extras: &'a [View<'a, Cpu>],
    /// The result's buffer, which outlives this.
    buffer: Source<Buffer>,
    layout: &'a Layout,
    dtype: DType,
    failure: Mutex<Option<Error>>,
}

/// Bytes of a result from which on it does not stay in the cache until the product is finished.
const LARGE: usize = 1 << 20;
/// Elements of one of its products for which preparing the program is worth it.
const WORTH: usize = 1 << 12;

impl<'a> Each<'a> {
    /// The epilogue of a batch of products, if these are along the result's first axis, and it is better run over each of them.
    fn new(level: Level, spec: &MatmulSpec<'a>, extras: &'a [View<'a, Cpu>], out: &ViewMut<'a, Cpu>) -> Option<Self> {
        let program = spec.epilogue?;
        let (dims, all) = (out.layout.dims(), out.layout.numel());
        let fits = spec.batch > 0 && dims[1..spec.batch].iter().all(|&size| size == 1) && dims[0] > 1;
        let pays = all * out.dtype.size() >= LARGE && all / dims[0] >= WORTH;
        (fits && pays && !program.uses_position()).then(|| Self {
            level,
            program,
            extras,
            buffer: Source::from_ptr(&raw const *out.buffer),
            layout: out.layout,
            dtype: out.dtype,
            failure: Mutex::new(None),
        })
    }

    /// Runs it over some of the products.
    ///
    /// # Safety
    /// These products are finished, nobody else accesses their elements meanwhile, and the result's buffer is alive.
    unsafe fn finish(&self, products: Range<usize>) {
        // SAFETY: the caller's promise.
        if let Err(error) = unsafe { self.run(products) } {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }

    /// # Safety
    /// As for [`finish`](Self::finish).
    unsafe fn run(&self, products: Range<usize>) -> Result<()> {
        let part = |layout: &Layout| layout.narrow(0, products.start, products.len());
        let layout = part(self.layout)?;
        let layouts = self.extras.iter().map(|view| part(view.layout)).collect::<Result<SmallVec<[_; 2]>>>()?;
        let mut inputs: SmallVec<[Input<'_, Cpu>; 4]> = SmallVec::new();
        inputs.push(Input::Output(0));
        inputs.extend(self.extras.iter().zip(&layouts).map(|(view, layout)| Input::View(View { layout, ..*view })));
        // SAFETY: a second handle of a buffer that lives, as the caller promises. It is never dropped, so the first one
        // still counts for both; kernels take from it where the memory is, and access this part of it only.
        let mut buffer = ManuallyDrop::new(unsafe { self.buffer.at(0).read() });
        let out = ViewMut { buffer: &mut *buffer, layout: &layout, dtype: self.dtype };
        pointwise(self.level, self.program, layout.shape(), &inputs, &mut [out])
    }
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
struct Product<'a, F> {
    a: Matrix<'a, F>,
    b: Matrix<'a, F>,
    out: Target<F>,
    m: usize,
    n: usize,
    k: usize,
    ahead: Option<Ahead>,
    /// Whether it is added to what `out` holds.
    add: bool,
}

/// Memory that is wanted after a product: where the next one's matrices begin, and their bytes.
#[derive(Clone, Copy)]
struct Ahead {
    pieces: [(Source<u8>, usize); 3],
}

impl Ahead {
    /// Asks for one of so many parts.
    #[inline(always)]
    fn share(&self, number: usize, parts: usize) {
        for (first, bytes) in self.pieces {
            if bytes > 0 {
                let part = bytes.div_ceil(parts).next_multiple_of(64);
                let start = number * part;
                prefetch(first.at(start as isize), part.min(bytes.saturating_sub(start)));
            }
        }
    }
}

/// Computes a product; `None` if there is no memory.
///
/// # Safety
/// `a` has m×k elements to read, `b` k×n, and `out` m×n to write that nobody else accesses; m and n are not 0.
unsafe fn product<F: Factor>(level: Level, work: &Product<'_, F>, threads: usize) -> Option<()> {
    // SAFETY: the caller's promise.
    unsafe {
        if work.k == 0 {
            std::slice::from_raw_parts_mut(work.out.at(0), work.m * work.n).fill(F::default());
            Some(())
        } else if line::applies(work) {
            line::product(level, work, threads)
        } else {
            blocked::product(level, work, threads)
        }
    }
}

/// All products of a batch; `None` if there is no memory. Gives whether the epilogue has been run as well.
fn run<T: Operand>(
    level: Level,
    spec: &MatmulSpec<'_>,
    a: &View<'_, Cpu>,
    b: &View<'_, Cpu>,
    extras: &[View<'_, Cpu>],
    out: &mut ViewMut<'_, Cpu>,
) -> Option<Result<bool>> {
    let [mut m, k, n] = spec.sizes(a.layout, b.layout);
    let steps = [a.layout.strides(), b.layout.strides(), out.layout.strides()];
    let mut batch: Axes<3> = axes_of(&out.layout.dims()[..spec.batch], steps, |_| true);
    merge(&mut batch);
    assert!(out.layout.is_contiguous(), "a product's result is contiguous");
    let mut starts = [const { Vec::new() }; 5];
    let [of_rows, of_a, of_b, of_columns, of_all_columns] = &mut starts;
    let (last_row, last_inner) = (spec.batch + spec.rows, spec.batch + spec.inner);
    let mut rows = index(a.layout, spec.batch..last_row, of_rows);
    let along_a = index(a.layout, last_row..a.layout.rank(), of_a);
    let along_b = index(b.layout, spec.batch..last_inner, of_b);
    let columns = index(b.layout, last_inner..b.layout.rank(), of_columns);
    let (b_dims, b_steps) = (b.layout.dims(), b.layout.strides());
    let (a, b, to) = (Source::<T>::new(a), Source::<T>::new(b), Target::<T>::new(out));
    let mut each = Each::new(level, spec, extras, out);
    // Many matrices times the same one are one taller matrix times it.
    if let Some(inner) = batch.last()
        && inner.steps[1] == 0
        && (m == 1 || rows.is_plain() && inner.steps[0] == rows.step * m as isize)
    {
        if m == 1 {
            rows = Index::plain(inner.steps[0]);
        }
        m *= inner.size;
        batch.pop();
        each = None;
    }
    if T::IS_FACTOR && k > 0 {
        let work = windows::Products {
            batch: &batch,
            a: Matrix::new(level, a.at(0), [rows, along_a]),
            b: Matrix::new(level, b.at(0), [along_b, columns]),
            out: Target::from_ptr(to.at(0).cast()),
            m,
            k,
            n,
            threads: threads(count(&batch) * m * n * k),
        };
        // SAFETY: the views' matrices and that of the contiguous result, which nobody else writes; its elements are factors. Memory
        // between a view's elements is its buffer's, and was written by who made it.
        if unsafe { windows::products(level, &work)? } {
            return Some(Ok(false));
        }
    }
    if let &[Axis { size, steps: [0, step, _] }] = &batch[..]
        && MERGED.contains(&n)
        && m > 64
        && k >= 256
    {
        // One matrix times many few-columned ones is that matrix times their columns, some thousand at once: it is packed as often.
        let at_once = (TOGETHER / n).min(size);
        let mut together = Buffer::new(at_once * m * n * size_of::<T>())?;
        let from = Target::<T>::from_ptr(together.as_mut_ptr().cast());
        for first in (0..size).step_by(at_once) {
            let count = at_once.min(size - first);
            let mut axes = axes_of(&b_dims[last_inner..], [&b_steps[last_inner..]], |_| true);
            axes.insert(0, Axis { size: count, steps: [step] });
            of_all_columns.clear();
            let columns = Index::new(&mut axes, of_all_columns);
            let b = Source::from_ptr(b.at(first as isize * step));
            products::<T>(
                level,
                &Axes::new(),
                a,
                [rows, along_a],
                b,
                [along_b, columns],
                from,
                [m, count * n, k],
                None,
            )?;
            for_each_range(count * m, (crate::parallel::GRAIN / n).max(1), |lines| {
                for line in lines {
                    let at = (line % m * count + line / m) * n;
                    let to = to.at(((first * m + line) * n) as isize);
                    // SAFETY: a row of one of `count` products of `m` rows, which nobody else accesses in the result.
                    unsafe { to.copy_from_nonoverlapping(from.at(at as isize).cast_const(), n) };
                }
            });
        }
        return Some(Ok(false));
    }
    products::<T>(level, &batch, a, [rows, along_a], b, [along_b, columns], to, [m, n, k], each.as_ref())?;
    Some(each.map_or(Ok(false), |each| {
        each.failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(true), Err)
    }))
}

/// Columns of each of many matrices, all to be multiplied by one, that are better put side by side.
const MERGED: Range<usize> = 2..1024;
/// About how many are.
const TOGETHER: usize = 2048;

/// The threads that so many multiplications are worth.
fn threads(cost: usize) -> usize {
    if cost >= PARALLEL { rayon::current_num_threads() } else { 1 }
}

/// The index that some of a layout's axes make up.
fn index<'a>(layout: &Layout, axes: Range<usize>, starts: &'a mut Vec<isize>) -> Index<'a> {
    let (dims, steps) = (&layout.dims()[axes.clone()], &layout.strides()[axes]);
    if let &[step] = steps { Index::plain(step) } else { Index::new(&mut axes_of(dims, [steps], |_| true), starts) }
}

/// The bytes of a product's matrices, together, that are asked for ahead: fewer come fast enough by themselves, and more
/// would throw out what is at work.
const NEAR: Range<usize> = 3 << 15..1 << 18;

/// How many elements a matrix has if they lie densely, row by row or column by column; else 0.
fn dense([rows, columns]: [Index<'_>; 2], [m, n]: [usize; 2]) -> usize {
    let is_plain = rows.is_plain() && columns.is_plain();
    let steps = [rows.step, columns.step];
    if is_plain && (steps == [n as isize, 1] || steps == [1, m as isize]) { m * n } else { 0 }
}

fn products<T: Operand>(
    level: Level,
    batch: &Axes<3>,
    a: Source<T>,
    of_a: [Index<'_>; 2],
    b: Source<T>,
    of_b: [Index<'_>; 2],
    out: Target<T>,
    [m, n, k]: [usize; 3],
    each: Option<&Each<'_>>,
) -> Option<()> {
    let one = |[at_a, at_b, at_out]: [isize; 3], threads: usize, ahead: Option<Ahead>| {
        let mut work = Product {
            a: Matrix::new(level, a.at(at_a), of_a),
            b: Matrix::new(level, b.at(at_b), of_b),
            out: Target::from_ptr(out.at(at_out).cast::<T::Factor>()),
            m,
            n,
            k,
            ahead,
            add: false,
        };
        if T::IS_FACTOR {
            // SAFETY: `a` and `b` are matrices of their views and `out` one of the contiguous result, which nobody else
            // writes; its elements are factors.
            return unsafe { product(level, &work, threads) };
        }
        let mut sums = Buffer::new(m * n * size_of::<T::Factor>())?;
        work.out = Target::from_ptr(sums.as_mut_ptr().cast());
        // SAFETY: as above, but into a buffer of as many factors.
        unsafe { product(level, &work, threads)? };
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
    let sizes = [dense(of_a, [m, k]), dense(of_b, [k, n]), m * n].map(|size| size * size_of::<T>());
    let near = NEAR.contains(&sizes.iter().sum());
    let next = |here: [isize; 3], next: [isize; 3]| {
        let piece = |operand: usize, first: *const T| {
            let size = if here[operand] == next[operand] { 0 } else { sizes[operand] };
            (Source::from_ptr(first.wrapping_offset(next[operand]).cast()), size)
        };
        Ahead { pieces: [piece(0, a.at(0)), piece(1, b.at(0)), piece(2, out.at(0).cast_const())] }
    };
    let threads = threads(number * cost);
    if number >= threads && threads > 1 && cost < PARALLEL << 6 {
        let failed = AtomicBool::new(false);
        for_each_range(number, number.div_ceil(8 * threads).max((1 << 16) / cost.max(1)), |range| {
            let mut walk = Walk::from(batch, range.start);
            for number in range.clone() {
                let here = walk.offsets;
                walk.advance();
                let ahead = (near && number + 1 < range.end).then(|| next(here, walk.offsets));
                if one(here, 1, ahead).is_none() {
                    failed.store(true, Ordering::Relaxed);
                } else if let Some(each) = each {
                    // SAFETY: this thread has computed the product, which no other one touches; the caller holds the buffer.
                    unsafe { each.finish(number..number + 1) };
                }
            }
        });
        return (!failed.into_inner()).then_some(());
    }
    let mut walk = Walk::from(batch, 0);
    for index in 0..number {
        let here = walk.offsets;
        walk.advance();
        one(here, threads, (near && index + 1 < number && threads == 1).then(|| next(here, walk.offsets)))?;
        if let Some(each) = each {
            // SAFETY: the product is finished, and no other thread works; the caller holds the buffer.
            unsafe { each.finish(index..index + 1) };
        }
    }
    Some(())
}

/// Converts sums to elements.
fn round<T: Operand>(sums: &[T::Factor], out: &mut [T]) {
    for (out, &sum) in out.iter_mut().zip(sums) {
        *out = T::from_factor(sum);
    }
}
