//! Products with windows, which are read where they lie.
//!
//! An operand whose columns are windows over an image, and whose sum goes over the elements of one, has each element of the
//! image in it several times. Packing it copies them as often, which only many rows to multiply with are worth.
//!
//! Where windows are neighbours, a vector of such columns is a load from the image, at an offset that all columns share for each
//! step of the sum ([`Convolution`]). Rows of windows shorter than the image's are walked on into the next row: what is computed in
//! between is thrown away. Where the sum goes over the windows, for the gradient of a kernel, elements of the image are read one by
//! one instead, as factors of vectors of the other operand ([`Correlation`]).
//!
//! Each element of the result is added up in the same order, however the work is divided among threads.

use super::blocked::{ROWS_16, Shape, depth};
#[cfg(target_arch = "x86_64")]
use super::blocked::{ROWS_32, ROWS_64};
use super::dots::Dots;
use super::pack::{Index, Matrix, Packed};
use super::vector::{Factor, Vector};
use crate::parallel::for_each_range;
use crate::strided::{Axes, Source, Target, Walk, count};
use crate::vecmath::{Isa, Level, Task};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Products `out = a·b` of a batch, each of m rows, k steps and n columns.
#[derive(Clone, Copy)]
pub(super) struct Products<'a, F> {
    pub(super) batch: &'a Axes<3>,
    /// The first product's operands, whose elements are factors.
    pub(super) a: Matrix<'a, F>,
    pub(super) b: Matrix<'a, F>,
    pub(super) out: Target<F>,
    pub(super) m: usize,
    pub(super) k: usize,
    pub(super) n: usize,
    pub(super) threads: usize,
}

/// Computes products if their b is made of windows that are better read where they lie; `false` if it is not. `None` if there is
/// no memory.
///
/// # Safety
/// Of each product, `a` has m×k elements to read, `b` k×n, and `out` m×n to write that nobody else accesses; none of the sizes is
/// 0. Memory between the elements of each may be read.
pub(super) unsafe fn products<F: Factor>(level: Level, work: &Products<'_, F>) -> Option<bool> {
    if work.b.rows.is_plain() && work.b.columns.is_plain() {
        return Some(false);
    }
    let [_, lanes] = level.run(Shape::<F>(PhantomData));
    // SAFETY: the caller's promises.
    unsafe {
        if let Some(convolution) = Convolution::new(work, lanes) {
            convolution.run(level).map(|()| true)
        } else if let Some(dots) = Dots::new(work, lanes) {
            dots.run(level).map(|()| true)
        } else if Correlation::applies(work) {
            Correlation::new(work, lanes)?.run(level).map(|()| true)
        } else {
            Some(false)
        }
    }
}

/// Multiplications that one task of a thread has at least.
pub(super) const TASK: usize = 1 << 16;
/// Tasks for each thread, at least, should one be slow.
const TASKS: usize = 4;

/// The offsets of all positions of an index.
pub(super) fn offsets(index: Index<'_>, count: usize) -> Vec<isize> {
    index.offsets(0..count).collect()
}

/// What a tile of `MR` rows and `NV` vectors is: the sum over `steps` of the factors at `left`, each moved by `left_at`, times the vectors
/// at `right`, moved by `right_at`.
///
/// # Safety
/// All of these may be read, and the processor has `V`'s instructions.
#[inline(always)]
unsafe fn tile<V: Vector, const MR: usize, const NV: usize>(
    left: [*const V::Elem; MR],
    left_at: impl Fn(usize) -> isize,
    right: [*const V::Elem; NV],
    right_at: impl Fn(usize) -> isize,
    steps: Range<usize>,
) -> [[V; NV]; MR] {
    // SAFETY: the caller's promises.
    unsafe {
        let mut sums = [[V::splat(V::Elem::default()); NV]; MR];
        for step in steps {
            let (left_at, right_at) = (left_at(step), right_at(step));
            let vectors = right.map(|right| V::load(right.offset(right_at)));
            for (sums, left) in sums.iter_mut().zip(left) {
                let factor = V::splat(left.offset(left_at).read());
                for (sum, vector) in sums.iter_mut().zip(vectors) {
                    *sum = sum.plus_product(factor, vector);
                }
            }
        }
        sums
    }
}

/// Few rows times windows that are neighbours.
struct Convolution<'a, F> {
    work: &'a Products<'a, F>,
    /// The vectors that hold all columns.
    columns: Vec<Columns>,
    /// Where each step of `k` moves them.
    steps: Vec<isize>,
    rows: usize,
    vectors: usize,
    /// Whether all products have the same a.
    one_a: bool,
}

/// A vector of columns that lie side by side, not all of which exist, or are new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Columns {
    /// The first one's offset in b.
    from: isize,
    /// A bit for each that is stored: they are neighbours in a row of the result.
    stored: u32,
    /// Where these begin in it.
    to: usize,
}

/// Rows up to which windows are read where they are.
const FEW_ROWS: usize = 64;

impl<'a, F: Factor> Convolution<'a, F> {
    /// None if the product has another form, or computing what is thrown away costs more than packing does.
    fn new(work: &'a Products<'a, F>, lanes: usize) -> Option<Self> {
        let Products { batch, b, m, n, k, .. } = work;
        if *m > FEW_ROWS || b.columns.step != 1 {
            return None;
        }
        let columns = columns(b.columns, *n, lanes)?;
        let waste = if *m == 1 { 4 } else { 2 };
        if columns.len() * lanes > waste * n.next_multiple_of(lanes) {
            return None;
        }
        let one_a = batch.iter().all(|axis| axis.steps[0] == 0);
        let [rows, vectors] = Self::tile(*m, lanes * size_of::<F>());
        Some(Self { work, columns, steps: offsets(b.rows, *k), rows, vectors, one_a })
    }

    /// The rows and vectors of a tile.
    const fn tile(m: usize, bytes: usize) -> [usize; 2] {
        match (bytes, m) {
            (64, 1) => [1, 8],
            (64, 2..=4) => [4, 4],
            #[cfg(target_arch = "x86_64")]
            (64, _) => [ROWS_64, 2],
            (_, 1) => [1, 4],
            (_, 2..=4) => [4, 2],
            #[cfg(target_arch = "x86_64")]
            (32, _) => [ROWS_32, 2],
            _ => [ROWS_16, 2],
        }
    }

    /// # Safety
    /// As for [`products`].
    unsafe fn run(&self, level: Level) -> Option<()> {
        let Products { batch, a, m, n, k, threads, .. } = self.work;
        let size = m.next_multiple_of(self.rows) * k;
        let pack = |at: isize, to: Target<F>| {
            // SAFETY: the caller's promise for a's rows; there is room for all, and nobody else accesses it.
            unsafe { a.moved(at).rows().pack_slivers(0..*m, 0..*k, to.at(0), self.rows, self.rows * k) };
        };
        let mut shared = Packed::<F>::new(if self.one_a { size } else { 0 })?;
        let shared = shared.target();
        if self.one_a {
            pack(0, shared);
        }
        let products = count(batch);
        let tiles = self.columns.len().div_ceil(self.vectors);
        let parts = if *threads == 1 { 1 } else { (TASKS * threads).div_ceil(products).min(tiles) };
        let part = tiles.div_ceil(parts);
        let parts = tiles.div_ceil(part);
        let grain = if *threads == 1 { products * parts } else { (TASK * parts / (m * n * k)).max(1) };
        let failed = AtomicBool::new(false);
        for_each_range(products * parts, grain, |units| {
            let Some(mut room) = Packed::<F>::new(if self.one_a { 0 } else { size }) else {
                return failed.store(true, Ordering::Relaxed);
            };
            let packed = if self.one_a { shared } else { room.target() };
            for unit in units {
                let [at_a, at_b, at_out] = Walk::from(batch, unit / parts).offsets;
                if !self.one_a {
                    pack(at_a, packed);
                }
                let tiles = part * (unit % parts)..tiles.min(part * (unit % parts + 1));
                let packed = Source::from_ptr(packed.at(0).cast_const());
                level.run(Tiles { of: self, packed, at: [at_b, at_out], tiles });
            }
        });
        (!failed.into_inner()).then_some(())
    }
}

/// The vectors that hold all columns of an index whose step is 1; `None` if some piece of it is shorter than a vector.
///
/// A last vector that would reach beyond a piece begins before its end, so that it has columns once more.
fn columns(index: Index<'_>, n: usize, lanes: usize) -> Option<Vec<Columns>> {
    let run = index.run(n);
    let starts = index.starts();
    // From one run to the next, where so little is in between that walking over it is worth it. Runs that take no more vectors by
    // themselves stay apart: their vectors are whole but for each last one.
    let gap = starts.get(1).map_or(0, |&second| second - starts[0]);
    let most = if run < lanes { run + run / 2 } else { (run + run / 2).min(run.next_multiple_of(lanes) - 1) };
    let joins = gap >= run as isize && gap <= most as isize;
    let period = if joins { gap as usize } else { run };
    let mut result = Vec::new();
    let mut first = 0;
    while first < starts.len() {
        let more =
            if joins { starts[first..].windows(2).take_while(|pair| pair[1] - pair[0] == gap).count() } else { 0 };
        let length = more * period + run;
        if length < lanes {
            return None;
        }
        let mut done = 0;
        while done < length {
            let begin = done.min(length - lanes);
            let is_stored = |&lane: &usize| begin + lane >= done && (begin + lane) % period < run;
            let stored = (0..lanes).filter(is_stored).fold(0, |stored, lane| stored | 1 << lane);
            let to = (first + done / period) * run + (done % period).min(run);
            result.push(Columns { from: starts[first] + begin as isize, stored, to });
            done = begin + lanes;
        }
        first += more + 1;
    }
    Some(result)
}

/// Some tiles of a product with windows: ranges of its vectors of columns.
struct Tiles<'a, F> {
    of: &'a Convolution<'a, F>,
    packed: Source<F>,
    /// Where b and the result of this product begin.
    at: [isize; 2],
    tiles: Range<usize>,
}

impl<F: Factor> Task for Tiles<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        // SAFETY: the instruction set's vectors, and the tile that the operand was packed for.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            match (I::VECTOR_BYTES, self.of.rows) {
                (64, 1) => return self.compute::<F::V64, 1, 8>(),
                (64, 4) => return self.compute::<F::V64, 4, 4>(),
                (64, _) => return self.compute::<F::V64, ROWS_64, 2>(),
                (32, 1) => return self.compute::<F::V32, 1, 4>(),
                (32, 4) => return self.compute::<F::V32, 4, 2>(),
                (32, _) => return self.compute::<F::V32, ROWS_32, 2>(),
                _ => {}
            }
            match self.of.rows {
                1 => self.compute::<F::Portable<I>, 1, 4>(),
                _ => self.compute::<F::Portable<I>, ROWS_16, 2>(),
            }
        }
    }
}

impl<F: Factor> Tiles<'_, F> {
    /// # Safety
    /// As for [`products`], for one of them; a was packed in slivers of `MR` rows; the processor has `V`'s instructions.
    #[inline(always)]
    unsafe fn compute<V: Vector<Elem = F>, const MR: usize, const NV: usize>(self) {
        let Self { of: &Convolution { work, ref columns, ref steps, .. }, packed, at: [at_b, at_out], tiles } = self;
        let &Products { b, out, m, n, k, .. } = work;
        // Once: the address of an element of windows takes longer than a short sum.
        let first = b.at(0, 0).wrapping_offset(at_b);
        let all = columns.len();
        let columns = &columns[tiles.start * NV..all.min(tiles.end * NV)];
        for columns in columns.chunks(NV) {
            let right: [*const F; NV] = std::array::from_fn(|j| {
                let columns = columns[j.min(columns.len() - 1)];
                first.wrapping_offset(columns.from)
            });
            for top in (0..m).step_by(MR) {
                let left: [*const F; MR] = std::array::from_fn(|i| packed.at((top * k + i) as isize));
                let sum = |steps_of: Range<usize>| {
                    // SAFETY: packed rows of all steps, and at each step as many columns of b, or what lies between them.
                    unsafe {
                        tile::<V, MR, NV>(
                            left,
                            |step| (step * MR) as isize,
                            right,
                            |step| *steps.get_unchecked(step),
                            steps_of,
                        )
                    }
                };
                let depth = depth::<F>(k);
                let mut sums = sum(0..k.min(depth));
                for start in (depth..k).step_by(depth) {
                    let more = sum(start..k.min(start + depth));
                    for (sum, more) in sums.as_flattened_mut().iter_mut().zip(more.as_flattened()) {
                        // SAFETY: the processor has the instructions.
                        *sum = unsafe { sum.plus(*more) };
                    }
                }
                for (i, sums) in sums.into_iter().enumerate().take(m - top) {
                    for (sum, columns) in sums.into_iter().zip(columns) {
                        let to = out.at(at_out + ((top + i) * n + columns.to) as isize);
                        // SAFETY: as many elements of a row of the result, which this tile alone writes.
                        unsafe {
                            if columns.stored.count_ones() as usize == V::LANES {
                                sum.store(to);
                            } else {
                                sum.store_some(to, columns.stored);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A sum over windows: the transposed product, whose vectors are a's rows.
struct Correlation<'a, F> {
    work: &'a Products<'a, F>,
    /// Where each column of b begins, and where each step of `k` moves it.
    columns: Vec<isize>,
    steps: Vec<isize>,
    lanes: usize,
    /// Steps in a segment, whose sums are added in the end.
    segment: usize,
}

/// Columns, rows and at least so many steps for which it pays.
const COLUMNS: Range<usize> = 17..1025;
const ROWS: usize = 128;
const STEPS: usize = 64;
/// Segments of a sum and their steps, at least.
pub(super) const SEGMENTS: usize = 8;
pub(super) const SEGMENT: usize = 2048;

impl<'a, F: Factor> Correlation<'a, F> {
    fn applies(work: &Products<'a, F>) -> bool {
        let Products { batch, b, m, n, k, .. } = work;
        let each_its_own = batch.iter().all(|axis| axis.steps[0] != 0);
        // Longer rows of windows are packed fast.
        let is_short = b.columns.run(*n) < 16;
        each_its_own && is_short && COLUMNS.contains(n) && *m <= ROWS && *k >= STEPS
    }

    fn new(work: &'a Products<'a, F>, lanes: usize) -> Option<Self> {
        let Products { batch, b, n, k, .. } = work;
        let segments = (k / SEGMENT).min(SEGMENTS / count(batch)).max(1);
        Some(Self {
            work,
            columns: offsets(b.columns, *n),
            steps: offsets(b.rows, *k),
            lanes,
            segment: k.div_ceil(segments),
        })
    }

    /// # Safety
    /// As for [`products`].
    unsafe fn run(&self, level: Level) -> Option<()> {
        let &Products { batch, out, m, n, k, threads, .. } = self.work;
        let width = 2 * self.lanes;
        let (slivers, segments, products) = (m.div_ceil(width), k.div_ceil(self.segment), count(batch));
        let size = n * width;
        let mut sums = Packed::<F>::new(products * slivers * segments * size)?;
        let sums = sums.target();
        let depth = depth::<F>(self.segment);
        let failed = AtomicBool::new(false);
        let grain = if threads == 1 { products * slivers * segments } else { (TASK / (size * self.segment)).max(1) };
        for_each_range(products * slivers * segments, grain, |units| {
            let Some(mut room) = Packed::<F>::new(width * depth) else { return failed.store(true, Ordering::Relaxed) };
            for unit in units {
                let [at_a, at_b, _] = Walk::from(batch, unit / (slivers * segments)).offsets;
                let (sliver, number) = (unit / segments % slivers, unit % segments);
                let rows = sliver * width..m.min((sliver + 1) * width);
                let steps = number * self.segment..k.min((number + 1) * self.segment);
                let sums = Target::from_ptr(sums.at((unit * size) as isize));
                level.run(Segment { of: self, at: [at_a, at_b], rows, steps, room: room.target(), sums });
            }
        });
        if failed.into_inner() {
            return None;
        }
        let join = |number: usize| {
            let (product, sliver) = (number / slivers, number % slivers);
            let [.., at_out] = Walk::from(batch, product).offsets;
            // SAFETY: sums that are complete, `segments` times `size` of them; nobody else accesses those of this sliver.
            let sums = unsafe {
                std::slice::from_raw_parts_mut(sums.at((number * segments * size) as isize), segments * size)
            };
            let (total, more) = sums.split_at_mut(size);
            for sums in more.chunks(size) {
                for (total, &sum) in total.iter_mut().zip(sums) {
                    *total = total.plus(sum);
                }
            }
            for row in sliver * width..m.min((sliver + 1) * width) {
                for (column, sums) in total.chunks(width).enumerate() {
                    // SAFETY: an element of the result, which nobody else writes.
                    unsafe { out.at(at_out + (row * n + column) as isize).write(sums[row - sliver * width]) };
                }
            }
        };
        let grain = (crate::parallel::GRAIN / (segments * size)).max(1);
        for_each_range(products * slivers, if threads == 1 { products * slivers } else { grain }, |numbers| {
            numbers.for_each(join);
        });
        Some(())
    }
}

/// A segment of the sum for one sliver of rows.
struct Segment<'a, F> {
    of: &'a Correlation<'a, F>,
    /// Where a and b of this product begin.
    at: [isize; 2],
    rows: Range<usize>,
    steps: Range<usize>,
    room: Target<F>,
    /// Two vectors for each column of b.
    sums: Target<F>,
}

impl<F: Factor> Task for Segment<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        // SAFETY: the instruction set's vectors.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            match I::VECTOR_BYTES {
                64 => return self.compute::<F::V64, ROWS_64>(),
                32 => return self.compute::<F::V32, ROWS_32>(),
                _ => {}
            }
            self.compute::<F::Portable<I>, ROWS_16>();
        }
    }
}

impl<F: Factor> Segment<'_, F> {
    /// # Safety
    /// As for [`products`], for one of them. There is room for the sliver at a block of steps, and for the
    /// sums, which nobody else accesses. The processor has `V`'s instructions.
    #[inline(always)]
    unsafe fn compute<V: Vector<Elem = F>, const MR: usize>(self) {
        // SAFETY: the caller's promises.
        unsafe { if self.rows.len() > V::LANES { self.tiles::<V, MR, 2>() } else { self.tiles::<V, MR, 1>() } }
    }

    /// # Safety
    /// As for [`compute`](Self::compute); the sliver has at most `NV` vectors of rows.
    #[inline(always)]
    unsafe fn tiles<V: Vector<Elem = F>, const MR: usize, const NV: usize>(self) {
        let Self { of, at: [at_a, at_b], rows, steps: part, room, sums } = self;
        let Correlation { work, columns, steps, .. } = of;
        let (width, sums_apart) = (NV * V::LANES, 2 * V::LANES);
        let (a, first) = (work.a.moved(at_a).rows(), work.b.at(0, 0).wrapping_offset(at_b));
        let right: [*const F; NV] = std::array::from_fn(|j| room.at((j * V::LANES) as isize).cast_const());
        let depth = depth::<F>(of.segment);
        for start in part.clone().step_by(depth) {
            let steps = &steps[start..part.end.min(start + depth)];
            // SAFETY: a's rows; the room is for as many steps.
            unsafe { a.pack(rows.start, rows.len(), start..start + steps.len(), room.at(0), width) };
            for (number, columns) in columns.chunks(MR).enumerate() {
                let left: [*const F; MR] =
                    std::array::from_fn(|i| first.wrapping_offset(columns[i.min(columns.len() - 1)]));
                // SAFETY: columns of b at these steps, and the sliver packed for them; the sums of these columns.
                unsafe {
                    let tile = tile::<V, MR, NV>(
                        left,
                        |step| *steps.get_unchecked(step),
                        right,
                        |step| (step * width) as isize,
                        0..steps.len(),
                    );
                    for (i, tile) in tile.into_iter().enumerate().take(columns.len()) {
                        for (j, sum) in tile.into_iter().enumerate() {
                            let to = sums.at(((number * MR + i) * sums_apart + j * V::LANES) as isize);
                            (if start > part.start { sum.plus(V::load(to)) } else { sum }).store(to);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strided::Axis;

    #[test]
    fn vectors_hold_each_column_once() {
        let axis = |size, step| Axis { size, steps: [step] };
        // Rows of windows with much, little and nothing in between, of one image and several.
        let images: [&[Axis<1>]; 9] = [
            &[axis(5, 16), axis(14, 1)],
            &[axis(5, 18), axis(16, 1)],
            &[axis(5, 19), axis(17, 1)],
            &[axis(3, 100), axis(4, 16), axis(14, 1)],
            &[axis(3, 40), axis(9, 1)],
            &[axis(37, 1)],
            &[axis(8, 1)],
            &[axis(2, 100), axis(2, 9), axis(8, 1)],
            &[axis(7, 12), axis(8, 1)],
        ];
        for axes in images {
            let mut starts = Vec::new();
            let mut axes: Axes<1> = axes.iter().copied().collect();
            let n = count(&axes);
            let index = Index::new(&mut axes, &mut starts);
            let wanted = offsets(index, n);
            let columns = columns(index, n, 8).unwrap();
            let mut got = vec![Vec::new(); n];
            for column in columns {
                let lanes = (0..8).filter(|lane| column.stored >> lane & 1 == 1);
                for (i, lane) in lanes.enumerate() {
                    got[column.to + i].push(column.from + lane);
                }
                let last = column.from + 7;
                assert!(column.from >= 0 && last <= *wanted.last().unwrap(), "vectors lie within");
            }
            assert_eq!(got, wanted.iter().map(|&offset| vec![offset]).collect::<Vec<_>>());
        }
        let mut starts = Vec::new();
        let short = Index::new(&mut [axis(3, 40), axis(7, 1)].into_iter().collect(), &mut starts);
        assert_eq!(columns(short, 21, 8), None);
    }
}
