//! Sums over windows that are neighbours, of few rows: gradients of kernels whose outputs see few channels each.
//!
//! One row is too little to fill vectors with. But where windows are neighbours, so are the elements that are multiplied in
//! successive steps of the sum, in both operands: a vector of steps is two loads, of which a few rows and columns share each. Its
//! lanes are added up in the end.
//!
//! Each element of the result is added up in the same order, however the work is divided among threads.

use super::pack::Packed;
use super::vector::{Factor, Vector};
use super::windows::{Products, SEGMENT, SEGMENTS, TASK, offsets};
use crate::parallel::for_each_range;
use crate::strided::{Target, Walk, count};
use crate::vecmath::{Isa, Level, Task};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rows up to which vectors of steps are better than those of rows.
const ROWS: usize = 4;
/// Steps that are added up before the next ones' sum is added to theirs. They stay in the first-level cache until all columns have
/// met them.
const BLOCK: usize = 4096;

/// A product of few rows, as sums of vectors of steps.
pub(super) struct Dots<'a, F> {
    work: &'a Products<'a, F>,
    /// Where each row of a and each column of b begins.
    rows: Vec<isize>,
    columns: Vec<isize>,
    runs: Vec<Run>,
    /// The steps in each run.
    length: usize,
    /// Runs in a segment, whose sums are added in the end.
    segment: usize,
    lanes: usize,
}

/// Steps that are neighbours in both operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    /// Where they begin in a and in b.
    at: [isize; 2],
    /// Where the vector with the last steps begins, from there: it reaches before its first step or beyond its last one.
    rest: isize,
}

impl<'a, F: Factor> Dots<'a, F> {
    /// `None` if the product has another form.
    pub(super) fn new(work: &'a Products<'a, F>, lanes: usize) -> Option<Self> {
        let Products { batch, a, b, m, n, k, .. } = work;
        if *m > ROWS || [a.columns.step, b.rows.step] != [1, 1] {
            return None;
        }
        let [of_a, of_b] = [a.columns.run(*k), b.rows.run(*k)];
        let length = of_a.min(of_b);
        if of_a.max(of_b) % length != 0 || 4 * length < lanes {
            return None;
        }
        let (rows, columns) = (offsets(a.rows, *m), offsets(b.columns, *n));
        let starts: Vec<_> = (0..*k).step_by(length).map(|step| [a.columns.at(step), b.rows.at(step)]).collect();
        let runs = runs(&starts, [&rows, &columns], length, lanes)?;
        let segments = (k / SEGMENT).min(SEGMENTS / count(batch)).max(1);
        let segment = runs.len().div_ceil(segments);
        Some(Self { work, rows, columns, runs, length, segment, lanes })
    }

    /// # Safety
    /// As for [`products`](super::windows::products), and memory between a's elements may be read as well.
    pub(super) unsafe fn run(&self, level: Level) -> Option<()> {
        let &Products { batch, out, m, n, k, threads, .. } = self.work;
        let (products, segments) = (count(batch), self.runs.len().div_ceil(self.segment));
        let size = m * n;
        let mut totals = Packed::<F>::new(products * segments * size)?;
        let totals = totals.target();
        let failed = AtomicBool::new(false);
        let units = products * segments;
        let grain = if threads == 1 { units } else { (TASK * segments / (size * k)).max(1) };
        for_each_range(units, grain, |units| {
            let Some(mut room) = Packed::<F>::new(size * self.lanes) else {
                return failed.store(true, Ordering::Relaxed);
            };
            for unit in units {
                let [at_a, at_b, _] = Walk::from(batch, unit / segments).offsets;
                let number = unit % segments;
                let runs = number * self.segment..self.runs.len().min((number + 1) * self.segment);
                let totals = Target::from_ptr(totals.at((unit * size) as isize));
                level.run(Segment { of: self, at: [at_a, at_b], runs, sums: room.target(), totals });
            }
        });
        if failed.into_inner() {
            return None;
        }
        let mut walk = Walk::from(batch, 0);
        for product in 0..products {
            let [.., at_out] = walk.offsets;
            walk.advance();
            for i in 0..size {
                let first = product * segments * size + i;
                // SAFETY: totals that have been written, and an element of the result; no other thread works any more.
                unsafe {
                    let mut total = totals.at(first as isize).read();
                    for number in 1..segments {
                        total = total.plus(totals.at((first + number * size) as isize).read());
                    }
                    out.at(at_out + i as isize).write(total);
                }
            }
        }
        Some(())
    }
}

/// The runs that begin at these offsets, in operands whose lines do at those; `None` if a vector would leave an operand.
fn runs(starts: &[[isize; 2]], lines: [&[isize]; 2], length: usize, lanes: usize) -> Option<Vec<Run>> {
    let back = length as isize - lanes as isize;
    if back >= 0 {
        return Some(starts.iter().map(|&at| Run { at, rest: back }).collect());
    }
    // How far from an operand's first element to its last one.
    let bound = |operand: usize, at: isize, low: bool| {
        let of_lines = lines[operand].iter().copied();
        at + if low { of_lines.min() } else { of_lines.max() }.unwrap_or(0)
    };
    let bounds: [Range<isize>; 2] = std::array::from_fn(|operand| {
        let first = starts.iter().map(|at| at[operand]).min().unwrap_or(0);
        let last = starts.iter().map(|at| at[operand]).max().unwrap_or(0);
        bound(operand, first, true)..bound(operand, last, false) + length as isize
    });
    let run = |&at: &[isize; 2]| {
        let fits = |rest: &isize| {
            bounds.iter().enumerate().all(|(operand, bounds)| {
                let from = at[operand] + rest;
                bound(operand, from, true) >= bounds.start && bound(operand, from, false) + lanes as isize <= bounds.end
            })
        };
        [0, back].into_iter().find(fits).map(|rest| Run { at, rest })
    };
    starts.iter().map(run).collect()
}

/// A segment of the sums of one product.
struct Segment<'a, F> {
    of: &'a Dots<'a, F>,
    /// Where a and b of this product begin.
    at: [isize; 2],
    runs: Range<usize>,
    /// A vector for each element of the result.
    sums: Target<F>,
    totals: Target<F>,
}

impl<F: Factor> Task for Segment<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        // SAFETY: the instruction set's vectors.
        unsafe {
            #[cfg(target_arch = "x86_64")]
            match I::VECTOR_BYTES {
                64 => return self.compute::<F::V64>(),
                32 => return self.compute::<F::V32>(),
                _ => {}
            }
            self.compute::<F::Portable<I>>();
        }
    }
}

/// Bits that keep all lanes of a vector behind the middle, or before it if one begins there.
#[repr(align(64))]
struct Masks([u8; 192]);

static MASKS: Masks = {
    let mut bytes = [0; 192];
    let mut i = 64;
    while i < 128 {
        bytes[i] = 0xff;
        i += 1;
    }
    Masks(bytes)
};

impl<F: Factor> Segment<'_, F> {
    /// # Safety
    /// As for [`Dots::run`], for one of its products. The sums and totals are nobody else's. The processor has `V`'s instructions.
    #[inline(always)]
    unsafe fn compute<V: Vector<Elem = F>>(self) {
        let Self { of: Dots { rows, columns, runs, length, .. }, runs: part, sums, totals, .. } = &self;
        let at_once = (BLOCK / length).max(1);
        for (number, runs) in runs[part.clone()].chunks(at_once).enumerate() {
            let add = number > 0;
            // SAFETY: the caller's promises.
            unsafe {
                match (rows.len(), columns.len()) {
                    // Tiles whose sums fill most of sixteen registers, and of which the fewest columns are left over.
                    (1, 5 | 10 | 25) => self.tiles::<V, 1, 5>(runs, add),
                    (1, 7 | 14 | 21 | 49) => self.tiles::<V, 1, 7>(runs, add),
                    (1, _) => self.tiles::<V, 1, 9>(runs, add),
                    (2, _) => self.tiles::<V, 2, 5>(runs, add),
                    _ => self.tiles::<V, ROWS, 3>(runs, add),
                }
            }
        }
        for i in 0..rows.len() * columns.len() {
            // SAFETY: a vector of sums, and its total.
            unsafe {
                let lanes = std::slice::from_raw_parts_mut(sums.at((i * V::LANES) as isize), V::LANES);
                let mut width = V::LANES / 2;
                while width > 0 {
                    let (low, high) = lanes[..2 * width].split_at_mut(width);
                    for (low, &high) in low.iter_mut().zip(&*high) {
                        *low = low.plus(high);
                    }
                    width /= 2;
                }
                totals.at(i as isize).write(lanes[0]);
            }
        }
    }

    /// The sums over some runs, which are added to what is there or written.
    ///
    /// # Safety
    /// As for [`compute`](Self::compute).
    #[inline(always)]
    unsafe fn tiles<V: Vector<Elem = F>, const MR: usize, const NV: usize>(&self, runs: &[Run], add: bool) {
        let Self { of: Dots { work, rows, columns, length, .. }, at: [at_a, at_b], sums, .. } = self;
        let a = work.a.at(0, 0).wrapping_offset(*at_a - rows[0]);
        let b = work.b.at(0, 0).wrapping_offset(*at_b - columns[0]);
        let whole = length / V::LANES * V::LANES;
        let rest = length - whole;
        // What a vector holds before its last `rest` lanes, or behind its first ones, is thrown away.
        let bytes = |lanes: usize| lanes * size_of::<F>();
        // SAFETY: 64 bytes before and behind the middle third, which is as long. Any bits are a factor.
        let [keep_last, keep_first] = unsafe {
            [64 - bytes(V::LANES - rest), 128 - bytes(rest)].map(|at| V::load(MASKS.0.as_ptr().wrapping_add(at).cast()))
        };
        for top in (0..rows.len()).step_by(MR) {
            let left: [*const F; MR] = std::array::from_fn(|i| a.wrapping_offset(rows[(top + i).min(rows.len() - 1)]));
            for (number, part) in columns.chunks(NV).enumerate() {
                let right: [*const F; NV] = std::array::from_fn(|j| b.wrapping_offset(part[j.min(part.len() - 1)]));
                // SAFETY: `rest` was chosen so that vectors stay within the operands, whose elements may be read, and the memory
                // between them; the sums of these rows and columns are this segment's.
                unsafe {
                    let mut tile = [[V::splat(F::default()); NV]; MR];
                    for run in runs {
                        let [at_a, at_b] = run.at;
                        for step in (0..whole).step_by(V::LANES) {
                            let left = left.map(|left| V::load(left.wrapping_offset(at_a + step as isize)));
                            for (j, right) in right.iter().enumerate() {
                                let vector = V::load(right.wrapping_offset(at_b + step as isize));
                                for i in 0..MR {
                                    tile[i][j] = tile[i][j].plus_product(left[i], vector);
                                }
                            }
                        }
                        if rest > 0 {
                            let mask = if run.rest == 0 { keep_first } else { keep_last };
                            // Of both: zero times what is thrown away need not be zero.
                            let left = left.map(|left| V::load(left.wrapping_offset(at_a + run.rest)).and(mask));
                            for (j, right) in right.iter().enumerate() {
                                let vector = V::load(right.wrapping_offset(at_b + run.rest)).and(mask);
                                for i in 0..MR {
                                    tile[i][j] = tile[i][j].plus_product(left[i], vector);
                                }
                            }
                        }
                    }
                    for (i, tile) in tile.into_iter().enumerate().take(rows.len() - top) {
                        for (j, sum) in tile.into_iter().enumerate().take(part.len()) {
                            let to = sums.at((((top + i) * columns.len() + number * NV + j) * V::LANES) as isize);
                            (if add { sum.plus(V::load(to)) } else { sum }).store(to);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::blocked::Shape;
    use super::super::pack::{Index, Matrix};
    use super::*;
    use crate::strided::{Axes, Axis};
    use std::marker::PhantomData;

    /// Gradients of kernels of some sizes, of images of many widths: whole vectors, less than one, and what is left over.
    #[test]
    fn sums_over_neighbouring_windows_are_those_of_their_elements() {
        let axes = |sizes: &[(usize, isize)]| -> Axes<1> {
            sizes.iter().map(|&(size, step)| Axis { size, steps: [step] }).collect()
        };
        let mut ran = 0;
        for &level in Level::available() {
            let [_, lanes] = level.run(Shape::<f32>(PhantomData));
            for (m, side, images, height) in [(1, 3, 2, 9), (1, 5, 1, 40), (2, 1, 3, 4), (3, 2, 2, 7), (4, 7, 1, 5)] {
                for width in [1, 3, 4, 7, 8, 9, 15, 16, 17, 28, 33, 100] {
                    let (wide, high) = (width + side - 1, height + side - 1);
                    let (pixels, image) = (height * width, high * wide);
                    let (k, n, batch) = (images * pixels, side * side, 2);
                    let values = |count: usize, seed: usize| -> Vec<f32> {
                        (0..count).map(|number| ((number * 7919 + seed) % 13) as f32 - 6.0).collect()
                    };
                    let (a, b) = (values(batch * m * k, 1), values(batch * images * image, 5));
                    let mut room = [const { Vec::new() }; 4];
                    let [of_rows, along_a, along_b, of_columns] = &mut room;
                    let mut rows = axes(&[(m, pixels as isize)]);
                    let mut a_steps = axes(&[(images, (m * pixels) as isize), (height, width as isize), (width, 1)]);
                    let mut b_steps = axes(&[(images, image as isize), (height, wide as isize), (width, 1)]);
                    let mut columns = axes(&[(side, wide as isize), (side, 1)]);
                    let at_a = [Index::new(&mut rows, of_rows), Index::new(&mut a_steps, along_a)];
                    let at_b = [Index::new(&mut b_steps, along_b), Index::new(&mut columns, of_columns)];
                    let batches: Axes<3> =
                        [Axis { size: batch, steps: [(m * k) as isize, (images * image) as isize, (m * n) as isize] }]
                            .into_iter()
                            .collect();
                    for threads in [1, 2] {
                        let mut out = vec![f32::NAN; batch * m * n];
                        let work = Products {
                            batch: &batches,
                            a: Matrix::new(level, a.as_ptr(), at_a),
                            b: Matrix::new(level, b.as_ptr(), at_b),
                            out: Target::from_ptr(out.as_mut_ptr()),
                            m,
                            k,
                            n,
                            threads,
                        };
                        let Some(dots) = Dots::new(&work, lanes) else { continue };
                        ran += 1;
                        // SAFETY: the operands are whole, as is the result, which nobody else accesses.
                        unsafe { dots.run(level).unwrap() };
                        for (number, &got) in out.iter().enumerate() {
                            let (product, row, column) = (number / (m * n), number / n % m, number % n);
                            let expected: f32 = (0..k)
                                .map(|step| {
                                    let a = a[product * m * k + (at_a[0].at(row) + at_a[1].at(step)) as usize];
                                    let at = at_b[0].at(step) + at_b[1].at(column);
                                    a * b[product * images * image + at as usize]
                                })
                                .sum();
                            assert_eq!(got, expected, "{level:?}, {m} rows, {side}², {images} of {height}×{width}");
                        }
                    }
                }
            }
        }
        assert!(ran > 40 * Level::available().len(), "{ran}");
    }

    /// Memory outside of the operands is not read: their ends are those of what was allocated.
    #[test]
    fn vectors_stay_within_the_operands() {
        for length in 4..40 {
            for lanes in [4, 8, 16] {
                let lines: [&[isize]; 2] = [&[0], &[0, 1, 20, 21]];
                let starts =
                    [[0, 0], [length as isize, length as isize + 1], [2 * length as isize, 2 * length as isize + 2]];
                let Some(runs) = runs(&starts, lines, length, lanes) else { continue };
                for (run, start) in runs.iter().zip(starts) {
                    assert_eq!(run.at, start);
                    for operand in 0..2 {
                        let end = starts[2][operand] + lines[operand].last().unwrap() + length as isize;
                        let from = run.at[operand] + run.rest;
                        assert!(from >= 0 && from + lines[operand].last().unwrap() + lanes as isize <= end, "{run:?}");
                    }
                }
            }
        }
    }
}
