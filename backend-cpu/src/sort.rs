//! Sorting along an axis.
//!
//! An element becomes a *ranked* number: its value as an unsigned key of the same order, and below it its index. No two are
//! equal, so any order of work gives the one stable result; keys are told apart by radix.

use crate::Cpu;
use crate::number::{Number, Truth};
use crate::parallel::{GRAIN, for_each, for_each_range};
use crate::strided::{Axes, Axis, Source, Target, Walk, axes_of, count, merge};
use tensor_core::{View, ViewMut, bf16, f16};

/// See [`Backend::sort`](tensor_core::Backend::sort).
pub(crate) fn sort(
    axis: usize,
    descending: bool,
    input: &View<'_, Cpu>,
    mut values: ViewMut<'_, Cpu>,
    mut indices: ViewMut<'_, Cpu>,
) {
    if input.layout.numel() == 0 {
        return;
    }
    let short = u32::try_from(input.layout.dims()[axis]).is_ok();
    crate::number::for_number!(input.dtype, T => {
        let (input, values) = (input, &mut values);
        if short && size_of::<T>() <= 4 {
            run::<T, u64>(axis, descending, input, values, &mut indices);
        } else {
            run::<T, u128>(axis, descending, input, values, &mut indices);
        }
    });
}

/// An element that can be sorted.
pub(crate) trait Sortable: Number {
    /// The significant bytes of a key.
    const BYTES: usize;
    /// A key of as many bytes, in the same order as the values: NaN above all, both zeros equal.
    fn key(self) -> u64;
    /// The value of a key, unless several values share it.
    fn value(key: u64) -> Option<Self>;
}

impl Sortable for Truth {
    const BYTES: usize = 1;
    #[inline(always)]
    fn key(self) -> u64 {
        u64::from(self.widen())
    }
    #[inline(always)]
    fn value(key: u64) -> Option<Self> {
        Some(Self::narrow(key as u8))
    }
}

macro_rules! sortable_int {
    ($($t:ty: $bits:expr),*) => {$(
        impl Sortable for $t {
            const BYTES: usize = size_of::<$t>();
            #[inline(always)]
            fn key(self) -> u64 {
                // The lowest becomes 0: the sign bit is turned round.
                let bits: fn(Self) -> u64 = $bits;
                bits(self.wrapping_sub(<$t>::MIN))
            }
            #[inline(always)]
            fn value(key: u64) -> Option<Self> {
                Some((key as Self).wrapping_add(<$t>::MIN))
            }
        }
    )*};
}
sortable_int!(
    u8: u64::from,
    i8: |x| u64::from(x as u8),
    i16: |x| u64::from(x as u16),
    i32: |x| u64::from(x as u32),
    i64: |x| x as u64
);

macro_rules! sortable_float {
    ($($t:ty as $bits:ty),*) => {$(
        impl Sortable for $t {
            const BYTES: usize = size_of::<$t>();
            #[inline(always)]
            fn key(self) -> u64 {
                const SIGN: $bits = 1 << (<$bits>::BITS - 1);
                let bits = self.to_bits();
                // Negative numbers in reverse below positive ones.
                let ordered = if bits & SIGN == 0 { bits | SIGN } else { !bits };
                let ordered = if bits == SIGN { SIGN } else { ordered };
                (if self.is_nan() { <$bits>::MAX } else { ordered }).into()
            }
            #[inline(always)]
            fn value(key: u64) -> Option<Self> {
                const SIGN: $bits = 1 << (<$bits>::BITS - 1);
                let key = <$bits>::try_from(key).unwrap_or(SIGN);
                let bits = if key & SIGN == 0 { !key } else { key ^ SIGN };
                (key != SIGN && key != <$bits>::MAX).then(|| Self::from_bits(bits))
            }
        }
    )*};
}
sortable_float!(f16 as u16, bf16 as u16, f32 as u32, f64 as u64);

/// A key and an index in one number.
pub(crate) trait Ranked: Copy + Ord + Default + Send + Sync + 'static {
    /// Lines from which on radix is faster than comparing.
    const RADIX: usize;
    fn new(key: u64, index: usize) -> Self;
    fn key(self) -> u64;
    fn index(self) -> usize;
}

impl Ranked for u64 {
    const RADIX: usize = 512;
    #[inline(always)]
    fn new(key: u64, index: usize) -> Self {
        key << 32 | index as Self
    }
    #[inline(always)]
    fn key(self) -> u64 {
        self >> 32
    }
    #[inline(always)]
    fn index(self) -> usize {
        self as u32 as usize
    }
}

impl Ranked for u128 {
    const RADIX: usize = 2048;
    #[inline(always)]
    fn new(key: u64, index: usize) -> Self {
        Self::from(key) << 64 | index as Self
    }
    #[inline(always)]
    fn key(self) -> u64 {
        (self >> 64) as u64
    }
    #[inline(always)]
    fn index(self) -> usize {
        self as usize
    }
}

/// A line of input, values and indices: the axis with their steps.
#[derive(Clone, Copy)]
pub(crate) struct Line<T> {
    /// The axis, as long as in the input.
    pub(crate) along: Axis<3>,
    /// Flips keys for the descending order.
    pub(crate) mask: u64,
    pub(crate) input: Source<T>,
    values: Target<T>,
    indices: Target<i64>,
}

/// All lines along an axis.
pub(crate) struct Lines<T> {
    /// The other axes.
    pub(crate) axes: Axes<3>,
    first: Line<T>,
}

impl<T: Sortable> Lines<T> {
    pub(crate) fn new(
        axis: usize,
        descending: bool,
        input: &View<'_, Cpu>,
        values: &mut ViewMut<'_, Cpu>,
        indices: &mut ViewMut<'_, Cpu>,
    ) -> Self {
        let dims = input.layout.dims();
        let steps = [input.layout.strides(), values.layout.strides(), indices.layout.strides()];
        let along = Axis { size: dims[axis], steps: steps.map(|steps| steps[axis]) };
        let mut axes: Axes<3> = axes_of(dims, steps, |number| number != axis);
        merge(&mut axes);
        let mask = if descending { u64::MAX >> (64 - 8 * T::BYTES) } else { 0 };
        let (input, values, indices) = (Source::new(input), Target::new(values), Target::new(indices));
        Self { axes, first: Line { along, mask, input, values, indices } }
    }

    /// The line at the offsets of a walk over the axes.
    pub(crate) fn at(&self, [a, b, c]: [isize; 3]) -> Line<T> {
        let Line { along, mask, input, values, indices } = self.first;
        let (input, values) = (Source::from_ptr(input.at(a)), Target::from_ptr(values.at(b)));
        Line { along, mask, input, values, indices: Target::from_ptr(indices.at(c)) }
    }
}

fn run<T: Sortable, R: Ranked>(
    axis: usize,
    descending: bool,
    input: &View<'_, Cpu>,
    values: &mut ViewMut<'_, Cpu>,
    indices: &mut ViewMut<'_, Cpu>,
) {
    let all = Lines::<T>::new(axis, descending, input, values, indices);
    let (lines, along) = (&all.axes, all.first.along);
    let threads = rayon::current_num_threads();
    if count(lines) < threads && along.size >= GRAIN {
        let mut walk = Walk::from(lines, 0);
        for _ in 0..count(lines) {
            sort_long::<T, R>(all.at(walk.offsets), threads);
            walk.advance();
        }
        return;
    }
    for_each_range(count(lines), (GRAIN / 16 / along.size).max(1), |units| {
        let mut walk = Walk::from(lines, units.start);
        let mut ranked = Vec::with_capacity(along.size);
        let mut spare = vec![R::default(); if along.size >= R::RADIX { along.size } else { 0 }];
        for _ in units {
            let line = all.at(walk.offsets);
            ranked.clear();
            // SAFETY: `line` is a line of the input.
            ranked.extend((0..along.size).map(|i| unsafe { line.rank::<R>(i) }));
            sort_ranked(&mut ranked, &mut spare, T::BYTES);
            for (i, &item) in ranked.iter().enumerate() {
                // SAFETY: `line` is a line of the three tensors, and no other task writes these; `item` was ranked by it.
                unsafe { line.place(i, item) };
            }
            walk.advance();
        }
    });
}

impl<T: Sortable> Line<T> {
    /// # Safety
    /// The line's element `i` may be read.
    #[inline(always)]
    pub(crate) unsafe fn rank<R: Ranked>(&self, i: usize) -> R {
        // SAFETY: the caller's promise.
        let value = unsafe { self.input.at(i as isize * self.along.steps[0]).read() };
        R::new(value.key() ^ self.mask, i)
    }

    /// # Safety
    /// `item` is from the same line's `rank`; results `i` may be written.
    #[inline(always)]
    pub(crate) unsafe fn place<R: Ranked>(&self, i: usize, item: R) {
        let (i, index) = (i as isize, item.index());
        // SAFETY: the caller's promise.
        unsafe {
            let value = T::value(item.key() ^ self.mask)
                .unwrap_or_else(|| self.input.at(index as isize * self.along.steps[0]).read());
            self.values.at(i * self.along.steps[1]).write(value);
            self.indices.at(i * self.along.steps[2]).write(index as i64);
        }
    }
}

/// Sorts one long line on several threads: parts by themselves, then merged two by two.
fn sort_long<T: Sortable, R: Ranked>(line: Line<T>, threads: usize) {
    let length = line.along.size;
    let part = length.div_ceil(threads.next_power_of_two());
    let (mut ranked, mut spare) = (vec![R::default(); length], vec![R::default(); length]);
    let (at, at_spare) = (Target::from_ptr(ranked.as_mut_ptr()), Target::from_ptr(spare.as_mut_ptr()));
    for_each_range(length, part, |range| {
        // SAFETY: the ranges of different tasks do not meet, and lie within both vectors, which nobody else uses meanwhile.
        let (ranked, spare) = unsafe {
            let start = range.start as isize;
            (
                std::slice::from_raw_parts_mut(at.at(start), range.len()),
                std::slice::from_raw_parts_mut(at_spare.at(start), range.len()),
            )
        };
        for (i, item) in range.zip(ranked.iter_mut()) {
            // SAFETY: an element of the line.
            *item = unsafe { line.rank(i) };
        }
        sort_ranked(ranked, spare, T::BYTES);
    });
    let mut sorted = part;
    while sorted < length {
        merge_pairs(&ranked, &mut spare, sorted);
        std::mem::swap(&mut ranked, &mut spare);
        sorted *= 2;
    }
    for_each_range(length, GRAIN, |range| {
        for i in range {
            // SAFETY: a place of the line, which no other task writes; the item was ranked by it.
            unsafe { line.place(i, ranked[i]) };
        }
    });
}

/// Merges runs of `sorted` items two by two.
fn merge_pairs<R: Ranked>(from: &[R], to: &mut [R], sorted: usize) {
    let out = Target::from_ptr(to.as_mut_ptr());
    let pairs: Vec<(&[R], usize)> = from.chunks(2 * sorted).zip((0..).step_by(2 * sorted)).collect();
    let pieces = 2 * sorted.div_ceil(GRAIN);
    for_each(pairs.len() * pieces, |task| {
        let (pair, start) = pairs[task / pieces];
        let (a, b) = pair.split_at(sorted.min(pair.len()));
        let piece = pair.len().div_ceil(pieces);
        let bounds = [task % pieces, task % pieces + 1].map(|number| (number * piece).min(pair.len()));
        let [from, to] = bounds.map(|count| rank_split(a, b, count));
        // SAFETY: the piece lies within `to`, and different tasks' pieces do not meet.
        let out =
            unsafe { std::slice::from_raw_parts_mut(out.at((start + bounds[0]) as isize), bounds[1] - bounds[0]) };
        merge_runs(&a[from..to], &b[bounds[0] - from..bounds[1] - to], out);
    });
}

/// How many of the `count` smallest of two sorted runs without equals are in the first.
fn rank_split<R: Ranked>(a: &[R], b: &[R], count: usize) -> usize {
    let (mut low, mut high) = (count.saturating_sub(b.len()), count.min(a.len()));
    while low < high {
        let middle = low.midpoint(high);
        // Too few of `a` if the next one is smaller than the last taken of `b`.
        if a[middle] < b[count - middle - 1] {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

fn merge_runs<'a, R: Ranked>(mut a: &'a [R], mut b: &'a [R], out: &mut [R]) {
    for out in out {
        let from_a = match (a.first(), b.first()) {
            (Some(a), Some(b)) => a < b,
            (first, _) => first.is_some(),
        };
        let run = if from_a { &mut a } else { &mut b };
        *out = run[0];
        *run = &run[1..];
    }
}

/// Sorts ranked numbers whose indices ascend, so that only their keys' `bytes` need a look.
fn sort_ranked<R: Ranked>(items: &mut [R], spare: &mut [R], bytes: usize) {
    if items.len() < R::RADIX {
        items.sort_unstable();
        return;
    }
    let mut counts = [[0usize; 256]; 8];
    for item in &*items {
        let key = item.key();
        for (byte, counts) in counts[..bytes].iter_mut().enumerate() {
            counts[(key >> (8 * byte)) as usize & 255] += 1;
        }
    }
    let (mut from, mut to) = (items, spare);
    let mut swapped = false;
    for (byte, counts) in counts[..bytes].iter().enumerate() {
        let digit = |item: R| (item.key() >> (8 * byte)) as usize & 255;
        if counts[digit(from[0])] == from.len() {
            // All have the same byte here.
            continue;
        }
        let mut places = [0usize; 256];
        let mut start = 0;
        for (place, &count) in places.iter_mut().zip(counts) {
            *place = start;
            start += count;
        }
        for &item in &*from {
            let place = &mut places[digit(item)];
            to[*place] = item;
            *place += 1;
        }
        std::mem::swap(&mut from, &mut to);
        swapped = !swapped;
    }
    if swapped {
        to.copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_values_and_come_back() {
        let floats = [f32::NEG_INFINITY, -1.0, -1e-40, 0.0, 1e-40, 1.0, f32::INFINITY, f32::NAN];
        for pair in floats.windows(2) {
            assert!(pair[0].key() < pair[1].key(), "{pair:?}");
        }
        assert_eq!((-0.0f32).key(), 0.0f32.key());
        assert_eq!(f32::value(0.0f32.key()), None);
        assert_eq!(f32::value((-2.5f32).key()), Some(-2.5));
        assert_eq!(f64::value(1e300f64.key()), Some(1e300));
        assert!(i8::MIN.key() < (-1i8).key() && (-1i8).key() < 0i8.key());
        assert_eq!(i64::value(i64::MIN.key()), Some(i64::MIN));
        assert_eq!(i16::value((-7i16).key()), Some(-7));
    }

    #[test]
    fn runs_are_cut_and_merged_right() {
        let a: Vec<u64> = (0..1000).map(|i| 3 * i).collect();
        let b: Vec<u64> = (0..300).map(|i| 7 * i + 1).filter(|i| i % 3 != 0).collect();
        let mut expected = [a.clone(), b.clone()].concat();
        expected.sort_unstable();
        for count in 0..=expected.len() {
            let split = rank_split(&a, &b, count);
            let mut out = vec![0; count];
            merge_runs(&a[..split], &b[..count - split], &mut out);
            assert_eq!(out, expected[..count]);
        }
    }
}
