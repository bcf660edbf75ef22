//! Attention and its gradients, a block of places at a time.
//!
//! A block's scores stay in the second-level cache and never become a tensor; the gradients' half computes them anew. They are kept
//! transposed, a row for each key: so only the block's own queries and gradients are packed for its products, keys, values and
//! scores are read where they lie, and a softmax goes over neighbours side by side.
//!
//! Weights are not divided by their sum. A block's result is instead, and on the way back the gradient that comes to it.
//!
//! What is added up, and in which order, depends on the sizes alone and not on the number of threads.

use super::blocked;
use super::pack::{Index, Matrix, Packed};
use super::{Operand, Product, threads};
use crate::Cpu;
use crate::number::Wide;
use crate::parallel::for_each_range;
use crate::strided::{Axes, Source, Target, Walk, axes_of, count, merge};
use crate::vecmath::{Isa, Level, Real, Task, exp, exp_if_moderate, is_moderate};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use tensor_core::{AttentionSpec, Backend, DType, Error, ErrorKind, Result, View, ViewMut};

/// The most places of a block, and the fewest.
const PLACES: usize = 64;
const FEWEST: usize = 16;
/// Bytes of scores that a block has at most while it has more than the fewest places.
const SCORES: usize = 1 << 18;
/// Rows of scores that are added up before their sum joins the total, which is more exact.
const TOGETHER: usize = 32;
/// Parts that the gradients' work is divided into, at least: with fewer heads, some blocks of a head are a part.
const PARTS: usize = 16;

/// What attention is computed in.
trait Score: Operand<Factor = Self> + super::vector::Factor + Wide<Sum = f64> + Real {}
impl Score for f32 {}
impl Score for f64 {}

/// See [`Backend::attention`].
pub(crate) fn attention(
    cpu: &Cpu,
    spec: &AttentionSpec,
    inputs: &[View<'_, Cpu>; 3],
    mut out: ViewMut<'_, Cpu>,
) -> Result<()> {
    match out.dtype {
        DType::F32 => forward::<f32>(cpu.level(), spec, inputs, &mut out),
        DType::F64 => forward::<f64>(cpu.level(), spec, inputs, &mut out),
        _ => unreachable!("there is a kernel for f32 and f64 only"),
    }
    .ok_or_else(|| no_memory(cpu, inputs))
}

/// See [`Backend::attention_gradients`].
pub(crate) fn gradients(
    cpu: &Cpu,
    spec: &AttentionSpec,
    inputs: &[View<'_, Cpu>; 4],
    mut outs: [ViewMut<'_, Cpu>; 3],
) -> Result<()> {
    match outs[0].dtype {
        DType::F32 => backward::<f32>(cpu.level(), spec, inputs, &mut outs),
        DType::F64 => backward::<f64>(cpu.level(), spec, inputs, &mut outs),
        _ => unreachable!("there is a kernel for f32 and f64 only"),
    }
    .ok_or_else(|| no_memory(cpu, inputs))
}

/// Scores of a block found no room, or sums did not.
fn no_memory(cpu: &Cpu, inputs: &[View<'_, Cpu>]) -> Error {
    let bytes = inputs[1].layout.numel() * inputs[1].dtype.size();
    Error::new(ErrorKind::OutOfMemory { device: cpu.label().into_owned(), bytes })
}

/// A matrix anywhere in memory: its first element, and the steps to the next row and the next column.
struct Strided<T> {
    first: Source<T>,
    steps: [isize; 2],
}

impl<T> Clone for Strided<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Strided<T> {}

impl<T> Strided<T> {
    /// The last two axes of a view.
    fn new(view: &View<'_, Cpu>) -> Self {
        let strides = view.layout.strides();
        Self { first: Source::new(view), steps: [strides[strides.len() - 2], strides[strides.len() - 1]] }
    }

    /// Rows of so many neighbours.
    fn dense(first: Target<T>, columns: usize) -> Self {
        Self { first: Source::from_ptr(first.at(0).cast_const()), steps: [columns as isize, 1] }
    }

    fn moved(self, elements: isize) -> Self {
        Self { first: Source::from_ptr(self.first.at(elements)), ..self }
    }

    fn row(self, row: usize) -> Self {
        self.moved(row as isize * self.steps[0])
    }

    fn transposed(self) -> Self {
        Self { steps: [self.steps[1], self.steps[0]], ..self }
    }
}

/// The sizes of each head's matrices, and how it is divided into blocks.
#[derive(Clone, Copy)]
struct Sizes {
    places: usize,
    keys: usize,
    /// Elements of a query, and of a value.
    width: usize,
    of_value: usize,
    causal: bool,
    /// Places of a block.
    block: usize,
}

impl Sizes {
    fn new<T>(spec: &AttentionSpec, [query, key, value]: [&View<'_, Cpu>; 3]) -> Self {
        let size = |view: &View<'_, Cpu>, from_last: usize| view.layout.dims()[view.layout.rank() - from_last];
        let keys = size(key, 2);
        let block = (SCORES / (keys * size_of::<T>())).clamp(FEWEST, PLACES) / FEWEST * FEWEST;
        let (places, width, of_value) = (size(query, 2), size(query, 1), size(value, 1));
        Self { places, keys, width, of_value, causal: spec.causal, block }
    }

    fn blocks(&self) -> usize {
        self.places.div_ceil(self.block)
    }

    /// A block's places, and how many keys these see.
    fn block(&self, number: usize) -> (Range<usize>, usize) {
        let places = number * self.block..self.places.min((number + 1) * self.block);
        let keys = if self.causal { self.keys.min(places.end) } else { self.keys };
        (places, keys)
    }
}

/// `out = a·b`, or adds that to it: m rows of n neighbours, sums of k.
///
/// # Safety
/// `a` has m×k elements to read, `b` k×n, and `out` m×n to write that nobody else accesses; none of the sizes is 0.
unsafe fn multiply<T: Score>(
    level: Level,
    [a, b]: [Strided<T>; 2],
    out: Target<T>,
    [m, n, k]: [usize; 3],
    add: bool,
) -> Option<()> {
    let matrix = |x: Strided<T>| Matrix::new(level, x.first.at(0), x.steps.map(Index::plain));
    let work = Product { a: matrix(a), b: matrix(b), out, m, n, k, ahead: None, add };
    // SAFETY: the caller's promise.
    unsafe { blocked::product(level, &work, 1) }
}

/// Computes a block's scores and makes weights of them, all too large by the factors that `totals` get: a row for each key.
///
/// # Safety
/// The matrices have the block's elements to read, `weights` room for as many scores, which nobody else accesses.
unsafe fn weigh<T: Score>(
    level: Level,
    [query, key]: [Strided<T>; 2],
    (places, keys): (&Range<usize>, usize),
    sizes: &Sizes,
    scale: T,
    weights: Target<T>,
    totals: &mut [f64; PLACES],
) -> Option<()> {
    let lanes = places.len();
    let block = query.row(places.start).transposed();
    // SAFETY: the caller's promises.
    let scores = unsafe {
        multiply(level, [key, block], weights, [keys, lanes, sizes.width], false)?;
        std::slice::from_raw_parts_mut(weights.at(0), keys * lanes)
    };
    // Places before a key do not see it.
    let unseen = if sizes.causal { places.start } else { keys };
    level.run(Exponentials { scores, lanes, unseen, scale, totals });
    Some(())
}

/// The exponentials of scores less the largest of their column, and the sums of these.
struct Exponentials<'a, T> {
    scores: &'a mut [T],
    /// Columns.
    lanes: usize,
    /// Row `unseen + n` counts in the columns from `n` on; in the others it is 0.
    unseen: usize,
    scale: T,
    totals: &'a mut [f64; PLACES],
}

impl<T: Score> Task for Exponentials<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        // The usual length of a row is known when compiled.
        let lanes = self.lanes;
        if lanes == PLACES { self.columns::<I>(PLACES) } else { self.columns::<I>(lanes) }
    }
}

impl<T: Score> Exponentials<'_, T> {
    #[inline(always)]
    fn columns<I: Isa>(self, lanes: usize) {
        let Self { scores, unseen, scale, totals, .. } = self;
        let mut tops = [-T::INFINITY; PLACES];
        let raise = |tops: &mut [T], scores: &[T]| {
            for (top, &score) in tops.iter_mut().zip(scores) {
                *top = if score > *top { score } else { *top };
            }
        };
        for (row, scores) in scores.chunks_exact(lanes).enumerate() {
            match row.saturating_sub(unseen) {
                0 => raise(&mut tops[..lanes], scores),
                first => raise(&mut tops[first..lanes], &scores[first..]),
            }
        }
        *totals = [0.0; PLACES];
        for (block, rows) in scores.chunks_mut(TOGETHER * lanes).enumerate() {
            let mut sums = [T::default(); PLACES];
            for (row, scores) in rows.chunks_exact_mut(lanes).enumerate() {
                let mut moderate = true;
                for (score, &top) in scores.iter_mut().zip(&tops) {
                    *score = (*score - top) * scale;
                    moderate &= is_moderate(*score);
                }
                if moderate {
                    scores.iter_mut().for_each(|score| *score = exp_if_moderate::<I, T>(*score));
                } else {
                    scores.iter_mut().for_each(|score| *score = exp::<I, T>(*score));
                }
                let first = (block * TOGETHER + row).saturating_sub(unseen);
                scores[..first].fill(T::default());
                for (sum, &score) in sums.iter_mut().zip(&*scores) {
                    *sum = *sum + score;
                }
            }
            for (total, sum) in totals.iter_mut().zip(sums) {
                *total += sum.to_sum();
            }
        }
    }
}

/// Turns gradients of weights, divided by these' sums, into gradients of scores.
struct OfScores<'a, T> {
    weights: &'a [T],
    gradients: &'a mut [T],
    lanes: usize,
    scale: T,
    totals: &'a [f64; PLACES],
}

impl<T: Score> Task for OfScores<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let lanes = self.lanes;
        if lanes == PLACES { self.columns(PLACES) } else { self.columns(lanes) }
    }
}

impl<T: Score> OfScores<'_, T> {
    #[inline(always)]
    fn columns(self, lanes: usize) {
        let Self { weights, gradients, scale, totals, .. } = self;
        let mut means = [0.0; PLACES];
        for (weights, gradients) in weights.chunks(TOGETHER * lanes).zip(gradients.chunks(TOGETHER * lanes)) {
            let mut sums = [T::default(); PLACES];
            for (weights, gradients) in weights.chunks_exact(lanes).zip(gradients.chunks_exact(lanes)) {
                for ((sum, &weight), &gradient) in sums.iter_mut().zip(weights).zip(gradients) {
                    *sum = *sum + weight * gradient;
                }
            }
            for (mean, sum) in means.iter_mut().zip(sums) {
                *mean += sum.to_sum();
            }
        }
        let mut along = [T::default(); PLACES];
        for ((along, mean), total) in along.iter_mut().zip(means).zip(totals) {
            *along = T::from_sum(mean / total);
        }
        for (weights, gradients) in weights.chunks_exact(lanes).zip(gradients.chunks_exact_mut(lanes)) {
            for ((gradient, &weight), &along) in gradients.iter_mut().zip(weights).zip(&along) {
                *gradient = (*gradient - along) * (weight * scale);
            }
        }
    }
}

/// The axes of heads, each step of which leads from one head's matrices to the next one's.
fn heads<const N: usize>(views: [&View<'_, Cpu>; N]) -> Axes<N> {
    let layout = views[0].layout;
    let outer = layout.rank() - 2;
    let mut axes = axes_of(&layout.dims()[..outer], views.map(|view| view.layout.strides()), |_| true);
    merge(&mut axes);
    axes
}

fn forward<T: Score>(
    level: Level,
    spec: &AttentionSpec,
    [query, key, value]: &[View<'_, Cpu>; 3],
    out: &mut ViewMut<'_, Cpu>,
) -> Option<()> {
    let sizes = Sizes::new::<T>(spec, [query, key, value]);
    let heads = heads([query, key, value]);
    let [query, key, value] = [query, key, value].map(Strided::<T>::new);
    let (scale, to) = (T::lit(spec.scale), Target::<T>::new(out));
    let blocks = sizes.blocks();
    let tasks = count(&heads) * blocks;
    let cost = count(&heads) * sizes.places * sizes.keys * (sizes.width + sizes.of_value);
    let failed = AtomicBool::new(false);
    let one = |task: usize| {
        let (head, block) = (task / blocks, task % blocks);
        let at = Walk::from(&heads, head).offsets;
        let [query, key, value] = [query.moved(at[0]), key.moved(at[1]), value.moved(at[2])];
        let (places, keys) = sizes.block(block);
        let lanes = places.len();
        let mut room = Packed::<T>::new(keys * lanes)?;
        let weights = room.target();
        let mut totals = [0.0; PLACES];
        let width = sizes.of_value;
        let to = Target::from_ptr(to.at(((head * sizes.places + places.start) * width) as isize));
        // SAFETY: matrices of the views, and the block's rows of the contiguous result, which this task alone writes; there is
        // room for a block's scores.
        let result = unsafe {
            weigh(level, [query, key], (&places, keys), &sizes, scale, weights, &mut totals)?;
            multiply(level, [Strided::dense(weights, lanes).transposed(), value], to, [lanes, width, keys], false)?;
            std::slice::from_raw_parts_mut(to.at(0), lanes * width)
        };
        for (row, total) in result.chunks_exact_mut(width).zip(totals) {
            let share = T::from_sum(1.0 / total);
            row.iter_mut().for_each(|x| *x = *x * share);
        }
        Some(())
    };
    for_each_range(tasks, if threads(cost) > 1 { 1 } else { tasks }, |range| {
        for task in range {
            if one(task).is_none() {
                failed.store(true, Ordering::Relaxed);
            }
        }
    });
    (!failed.into_inner()).then_some(())
}

/// What the gradients of all heads need.
struct Backward<T> {
    level: Level,
    sizes: Sizes,
    scale: T,
    heads: Axes<4>,
    inputs: [Strided<T>; 4],
    /// The gradient of queries.
    of_query: Target<T>,
    /// Those of keys and of values: `parts` for each head, to be added up.
    of_key: Target<T>,
    of_value: Target<T>,
    parts: usize,
}

impl<T: Score> Backward<T> {
    /// Some of a head's blocks. `None` if there is no memory.
    ///
    /// # Safety
    /// The inputs may be read, and nobody else accesses this task's part of the gradients.
    unsafe fn run(&self, task: usize) -> Option<()> {
        let Self { level, ref sizes, scale, parts, .. } = *self;
        let (head, part) = (task / parts, task % parts);
        let at = Walk::from(&self.heads, head).offsets;
        let mut inputs = self.inputs;
        inputs.iter_mut().zip(at).for_each(|(input, at)| *input = input.moved(at));
        let [query, key, value, gradient] = inputs;
        let [width, of_value] = [sizes.width, sizes.of_value];
        let mut rooms = [Packed::<T>::new(sizes.keys * sizes.block)?, Packed::<T>::new(sizes.keys * sizes.block)?];
        let [weights, of_weights] = rooms.each_mut().map(Packed::target);
        let mut shares = Packed::<T>::new(sizes.block * of_value)?;
        let shares = shares.target();
        let to_key = Target::from_ptr(self.of_key.at((task * sizes.keys * width) as isize));
        let to_value = Target::from_ptr(self.of_value.at((task * sizes.keys * of_value) as isize));
        let mut totals = [0.0; PLACES];
        // From the last block on, which sees the most keys: the others add to what it wrote.
        let mut add = false;
        for (places, keys) in (0..sizes.blocks()).rev().filter(|block| block % parts == part).map(|at| sizes.block(at))
        {
            let lanes = places.len();
            // SAFETY: the caller's promises; the rooms hold a block's scores and rows.
            unsafe {
                weigh(level, [query, key], (&places, keys), sizes, scale, weights, &mut totals)?;
                for (row, total) in totals.iter().enumerate().take(lanes) {
                    let (from, share) = (gradient.row(places.start + row), T::from_sum(1.0 / total));
                    for column in 0..of_value {
                        let value = from.first.at(column as isize * from.steps[1]).read() * share;
                        shares.at((row * of_value + column) as isize).write(value);
                    }
                }
                let [held, shares] = [Strided::dense(weights, lanes), Strided::dense(shares, of_value)];
                multiply(level, [held, shares], to_value, [keys, of_value, lanes], add)?;
                multiply(level, [value, shares.transposed()], of_weights, [keys, lanes, of_value], false)?;
                let scores = keys * lanes;
                level.run(OfScores {
                    weights: std::slice::from_raw_parts(weights.at(0).cast_const(), scores),
                    gradients: std::slice::from_raw_parts_mut(of_weights.at(0), scores),
                    lanes,
                    scale,
                    totals: &totals,
                });
                let of_scores = Strided::dense(of_weights, lanes);
                let to_query = self.of_query.at(((head * sizes.places + places.start) * width) as isize);
                let to_query = Target::from_ptr(to_query);
                multiply(level, [of_scores.transposed(), key], to_query, [lanes, width, keys], false)?;
                multiply(level, [of_scores, query.row(places.start)], to_key, [keys, width, lanes], add)?;
                if !add {
                    // Keys that no place sees.
                    let unseen = sizes.keys - keys;
                    to_key.at((keys * width) as isize).write_bytes(0, unseen * width);
                    to_value.at((keys * of_value) as isize).write_bytes(0, unseen * of_value);
                }
            }
            add = true;
        }
        Some(())
    }
}

fn backward<T: Score>(
    level: Level,
    spec: &AttentionSpec,
    inputs: &[View<'_, Cpu>; 4],
    [of_query, of_key, of_value]: &mut [ViewMut<'_, Cpu>; 3],
) -> Option<()> {
    let [query, key, value, gradient] = inputs;
    let sizes = Sizes::new::<T>(spec, [query, key, value]);
    let heads = heads([query, key, value, gradient]);
    let heads_count = count(&heads);
    let parts = PARTS.div_ceil(heads_count).min(sizes.blocks());
    let to = [Target::<T>::new(of_key), Target::<T>::new(of_value)];
    let lengths = [sizes.keys * sizes.width, sizes.keys * sizes.of_value];
    let room = |length: usize| Packed::<T>::new(if parts == 1 { 0 } else { heads_count * parts * length });
    let mut rooms = [room(lengths[0])?, room(lengths[1])?];
    let sums = if parts == 1 { to } else { rooms.each_mut().map(Packed::target) };
    let work = Backward {
        level,
        sizes,
        scale: T::lit(spec.scale),
        heads,
        inputs: inputs.each_ref().map(Strided::<T>::new),
        of_query: Target::new(of_query),
        of_key: sums[0],
        of_value: sums[1],
        parts,
    };
    let tasks = heads_count * parts;
    let cost = heads_count * sizes.places * sizes.keys * (sizes.width + sizes.of_value);
    let failed = AtomicBool::new(false);
    for_each_range(tasks, if threads(cost) > 1 { 1 } else { tasks }, |range| {
        for task in range {
            // SAFETY: the inputs are views, the gradients contiguous tensors of theirs or rooms of as many parts, of which
            // each task writes its own.
            if unsafe { work.run(task) }.is_none() {
                failed.store(true, Ordering::Relaxed);
            }
        }
    });
    if parts > 1 {
        for ((to, sums), length) in to.into_iter().zip(sums).zip(lengths) {
            for_each_range(heads_count, 1, |heads| {
                for head in heads {
                    // SAFETY: a head's elements of the result, which this task alone accesses, and its parts in the room.
                    unsafe {
                        let to = std::slice::from_raw_parts_mut(to.at((head * length) as isize), length);
                        for part in 0..parts {
                            let from = sums.at(((head * parts + part) * length) as isize).cast_const();
                            let from = std::slice::from_raw_parts(from, length);
                            if part == 0 {
                                to.copy_from_slice(from);
                            } else {
                                to.iter_mut().zip(from).for_each(|(to, &from)| *to = *to + from);
                            }
                        }
                    }
                }
            });
        }
    }
    (!failed.into_inner()).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor_core::Array;

    /// Results and gradients have the same bits on any number of threads, with few heads, whose blocks are shared out, and with many.
    #[test]
    fn threads_make_no_difference() {
        let spec = AttentionSpec { scale: 0.25, causal: true };
        for heads in [1, 3, 40] {
            let mut state = 1_u32;
            let [q, k, v, g] = [(); 4].map(|()| {
                let values: Vec<f32> = (0..heads * 200 * 32)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        state as f32 / u32::MAX as f32 - 0.5
                    })
                    .collect();
                Array::from_slice(&Cpu::open(), &values, [heads, 200, 32]).unwrap()
            });
            let all = |threads: usize| {
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
                    let y = q.attention(&k, &v, &spec).unwrap();
                    let [a, b, c] = q.attention_gradients(&k, &v, &g, &spec).unwrap();
                    [y, a, b, c].map(|x| x.to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>())
                })
            };
            let one = all(1);
            for threads in [2, 5] {
                assert!(all(threads) == one, "{heads} heads on {threads} threads");
            }
        }
    }
}
