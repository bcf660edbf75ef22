//! The first few of a sorted axis.
//!
//! What is among the smallest so far is collected, as [ranked](crate::sort) numbers, and thrown out again down to as many as are
//! wanted whenever twice as many have come together. Most elements are larger than the largest of these, which a block of them is
//! asked for at once. So that it is true from the beginning, the first elements are dealt out among a few dozen lanes: no more than
//! are wanted can be smaller than all that many lanes' smallest, and few others are.

use crate::Cpu;
use crate::parallel::{GRAIN, for_each, for_each_range};
use crate::sort::{Line, Lines, Ranked, Sortable};
use crate::strided::{Walk, count};
use crate::vecmath::{Isa, Level, Task};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use tensor_core::{Result, View, ViewMut, topk};

/// A share of an axis of which sorting all of it is faster.
const SHARE: usize = 4;

/// See [`Backend::topk`](tensor_core::Backend::topk).
///
/// # Errors
/// If there is no memory.
pub(crate) fn topk(
    cpu: &Cpu,
    level: Level,
    axis: usize,
    largest: bool,
    input: &View<'_, Cpu>,
    mut values: ViewMut<'_, Cpu>,
    mut indices: ViewMut<'_, Cpu>,
) -> Result<()> {
    let (length, wanted) = (input.layout.dims()[axis], values.layout.dims()[axis]);
    if wanted > length / SHARE {
        return topk::by_sort(cpu, axis, largest, *input, values, indices);
    }
    let short = u32::try_from(length).is_ok();
    crate::number::for_number!(input.dtype, T => {
        let lines = Lines::<T>::new(axis, largest, input, &mut values, &mut indices);
        if short && size_of::<T>() <= 4 {
            run::<T, u64>(level, &lines, length, wanted);
        } else {
            run::<T, u128>(level, &lines, length, wanted);
        }
    });
    Ok(())
}

fn run<T: Sortable, R: Ranked>(level: Level, lines: &Lines<T>, length: usize, wanted: usize) {
    let threads = rayon::current_num_threads();
    let all = count(&lines.axes);
    if all < threads && length >= GRAIN {
        // The smallest of the parts' smallest, in whatever order these come.
        let part = length.div_ceil(threads).max(GRAIN / 2);
        let mut walk = Walk::from(&lines.axes, 0);
        for _ in 0..all {
            let line = lines.at(walk.offsets);
            let found = Mutex::new(Vec::new());
            for_each(length.div_ceil(part), |number| {
                let mut smallest = Smallest::<R>::new(wanted);
                smallest.add(level, &line, number * part..length.min((number + 1) * part), &mut Vec::new());
                found.lock().unwrap_or_else(PoisonError::into_inner).append(&mut smallest.items);
            });
            let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
            found.sort_unstable();
            place(&line, &found[..wanted]);
            walk.advance();
        }
        return;
    }
    for_each_range(all, (GRAIN / 4 / length).max(1), |units| {
        let mut walk = Walk::from(&lines.axes, units.start);
        let mut smallest = Smallest::<R>::new(wanted);
        let mut dense = Vec::new();
        for _ in units {
            let line = lines.at(walk.offsets);
            smallest.items.clear();
            smallest.add(level, &line, 0..length, &mut dense);
            smallest.items.sort_unstable();
            place(&line, &smallest.items[..wanted]);
            walk.advance();
        }
    });
}

fn place<T: Sortable, R: Ranked>(line: &Line<T>, items: &[R]) {
    for (i, &item) in items.iter().enumerate() {
        // SAFETY: a line of the three tensors, which no other task writes, by which the item was ranked. The results have as many
        // places as items are wanted.
        unsafe { line.place(i, item) };
    }
}

/// The smallest ranked numbers, and some more.
struct Smallest<R> {
    wanted: usize,
    items: Vec<R>,
}

impl<R: Ranked> Smallest<R> {
    fn new(wanted: usize) -> Self {
        Self { wanted, items: Vec::with_capacity(2 * wanted + 64) }
    }

    /// Adds a range of a line to none. All of it stays if that is fewer than are wanted.
    fn add<T: Sortable>(&mut self, level: Level, line: &Line<T>, range: Range<usize>, dense: &mut Vec<T>) {
        let (start, step) = (range.start, line.along.steps[0]);
        let first = line.input.at(start as isize * step);
        let elements = if step == 1 || range.len() == 1 {
            // SAFETY: a range of the line, whose elements are neighbours.
            unsafe { std::slice::from_raw_parts(first, range.len()) }
        } else {
            dense.clear();
            // SAFETY: elements of the line.
            dense.extend((0..range.len()).map(|i| unsafe { first.offset(i as isize * step).read() }));
            &dense[..]
        };
        let rank = |i: usize| R::new(elements[i].key() ^ line.mask, start + i);
        let room = self.items.capacity();
        // Of equal keys the first stay, so later ones must be smaller.
        let (mut next, mut bound) = match self.first_bound(level, elements, line.mask) {
            Some(bound) => (0, bound),
            None => {
                let first = room.min(elements.len());
                self.items.extend((0..first).map(rank));
                (first, self.cut())
            }
        };
        while next < elements.len() {
            next += level.run(Skip { elements: &elements[next..], mask: line.mask, bound });
            for i in next..elements.len().min(next + BLOCK) {
                let item = rank(i);
                if item.key() < bound {
                    self.items.push(item);
                    if self.items.len() == room {
                        bound = self.cut();
                    }
                }
            }
            next += BLOCK;
        }
        self.cut();
    }

    /// A key below which there are as many elements as are wanted; None if that is not found out fast.
    fn first_bound<T: Sortable>(&self, level: Level, elements: &[T], mask: u64) -> Option<u64> {
        let elements = &elements[..elements.len().min(LANES * LANES) / LANES * LANES];
        if self.wanted > LANES / 2 || elements.len() < 2 * LANES {
            return None;
        }
        let mut lowest = level.run(Lowest { elements, mask });
        let (_, bound, _) = lowest.select_nth_unstable(self.wanted - 1);
        // The next key, if there is one of as many bytes.
        (*bound < u64::MAX >> (64 - 8 * T::BYTES)).then(|| *bound + 1)
    }

    /// Leaves as many as are wanted; gives the key of the largest.
    fn cut(&mut self) -> u64 {
        let last = self.wanted.min(self.items.len()) - 1;
        let (_, largest, _) = self.items.select_nth_unstable(last);
        let bound = largest.key();
        self.items.truncate(self.wanted);
        bound
    }
}

/// Lanes that the first elements are dealt out among.
const LANES: usize = 64;

/// The lowest key of each lane.
struct Lowest<'a, T> {
    /// A multiple of the lanes.
    elements: &'a [T],
    mask: u64,
}

impl<T: Sortable> Task for Lowest<'_, T> {
    type Output = [u64; LANES];

    #[inline(always)]
    fn run<I: Isa>(self) -> [u64; LANES] {
        let Self { elements, mask } = self;
        // As in `Skip`.
        match T::BYTES {
            1 => lowest(elements, u8::MAX, |element| (element.key() ^ mask) as u8).map(u64::from),
            2 => lowest(elements, u16::MAX, |element| (element.key() ^ mask) as u16).map(u64::from),
            4 => lowest(elements, u32::MAX, |element| (element.key() ^ mask) as u32).map(u64::from),
            _ => lowest(elements, u64::MAX, |element| element.key() ^ mask),
        }
    }
}

#[inline(always)]
fn lowest<T: Sortable, K: Copy + Ord>(elements: &[T], highest: K, key: impl Fn(T) -> K) -> [K; LANES] {
    let mut lanes = [highest; LANES];
    for block in elements.chunks_exact(LANES) {
        for (lane, &element) in lanes.iter_mut().zip(block) {
            *lane = (*lane).min(key(element));
        }
    }
    lanes
}

/// Elements that are compared with a bound together.
const BLOCK: usize = 16;

/// How many elements, in whole blocks, have no key below a bound.
struct Skip<'a, T> {
    elements: &'a [T],
    mask: u64,
    bound: u64,
}

impl<T: Sortable> Task for Skip<'_, T> {
    type Output = usize;

    #[inline(always)]
    fn run<I: Isa>(self) -> usize {
        let Self { elements, mask, bound } = self;
        // Keys are compared as what they are made of, so that a vector holds as many of them as of elements.
        let is_below = |element: T| {
            let key = element.key() ^ mask;
            match T::BYTES {
                1 => (key as u8) < bound as u8,
                2 => (key as u16) < bound as u16,
                4 => (key as u32) < bound as u32,
                _ => key < bound,
            }
        };
        let mut skipped = 0;
        for block in elements.chunks_exact(BLOCK) {
            if block.iter().fold(false, |any, &element| any | is_below(element)) {
                return skipped;
            }
            skipped += BLOCK;
        }
        skipped
    }
}
