//! Products of a matrix with one row or column: what limits them is reading the matrix, so it is read as it lies.

use super::Product;
use super::pack::{Lines, Packed};
use super::vector::Factor;
use crate::parallel::{GRAIN, for_each_range};
use crate::strided::Target;
use crate::vecmath::{Isa, Level, Task};
use std::ops::Range;

/// Factors of a line that are converted or collected at a time.
const TILE: usize = 1024;
/// Factors that are summed side by side.
const LANES: usize = 64;
/// Lines whose sums are computed side by side, where the factors of all lines at one depth are neighbours.
const WIDTH: usize = 2048;
/// Depths that are added to such sums at once.
const ROWS: usize = 4;

/// Whether a product is one of a matrix and a line.
pub(super) fn applies<F>(work: &Product<'_, F>) -> bool {
    work.m == 1 || work.n == 1
}

/// Computes such a product; `None` if there is no memory.
///
/// # Safety
/// `a` has m×k elements to read, `b` k×n, and `out` m×n to write that nobody else accesses; none of the sizes is 0, and m or
/// n is 1.
pub(super) unsafe fn product<F: Factor>(level: Level, work: &Product<'_, F>, threads: usize) -> Option<()> {
    let Product { a, b, out, m, n, k, .. } = *work;
    let (lines, line, count) = if n == 1 { (a.rows(), b.columns(), m) } else { (b.columns(), a.rows(), n) };
    let mut packed;
    // SAFETY: the line's `k` elements, read where they lie if they can be, and room for as many factors if not; nobody writes
    // the operand meanwhile.
    let line = unsafe {
        if line.neighbours()[0] && line.is_factors() {
            std::slice::from_raw_parts(line.at(0, 0), k)
        } else {
            packed = Packed::<F>::new(k)?;
            line.pack(0, 1, 0..k, packed.target().at(0), 1);
            std::slice::from_raw_parts(packed.target().at(0).cast_const(), k)
        }
    };
    // Long lines are cut into segments, whose bounds depend on the sizes alone.
    let segment = if count < 64 && k >= 2 * GRAIN { GRAIN } else { k };
    let segments = k.div_ceil(segment);
    let mut sums = vec![F::default(); if segments > 1 { segments * count } else { 0 }];
    let to = if segments > 1 { Target::from_ptr(sums.as_mut_ptr()) } else { out };
    let by_depths = lines.neighbours()[1] && !lines.neighbours()[0];
    let cost = if threads > 1 { 2 * GRAIN } else { usize::MAX };
    let at_once = if by_depths { WIDTH } else { (cost / segment).clamp(1, count) };
    let parts = count.div_ceil(at_once);
    let units_at_once = if by_depths { (cost / (segment * at_once.min(count))).max(1) } else { 1 };
    for_each_range(parts * segments, if threads > 1 { units_at_once } else { parts * segments }, |units| {
        for unit in units {
            let (number, part) = (unit / parts, unit % parts);
            let depths = number * segment..k.min((number + 1) * segment);
            let range = part * at_once..count.min((part + 1) * at_once);
            // SAFETY: sums of this unit alone.
            let sums =
                unsafe { std::slice::from_raw_parts_mut(to.at((number * count + range.start) as isize), range.len()) };
            let factors = &line[depths.clone()];
            // SAFETY: lines and depths of the matrix.
            unsafe {
                if by_depths {
                    add_depths(level, lines, range.start, depths, factors, sums);
                } else {
                    dots(level, lines, range.start, depths, factors, sums);
                }
            }
        }
    });
    if segments > 1 {
        for (number, sums) in sums.chunks(count).enumerate() {
            for (i, &sum) in sums.iter().enumerate() {
                // SAFETY: an element of the result; no other thread works any more.
                unsafe {
                    let out = out.at(i as isize);
                    out.write(if number == 0 { sum } else { out.read().plus(sum) });
                }
            }
        }
    }
    Some(())
}

/// Sums line by line.
///
/// # Safety
/// The lines from `first` on exist, as many as sums, and have these depths.
unsafe fn dots<F: Factor>(
    level: Level,
    lines: Lines<'_, F>,
    first: usize,
    depths: Range<usize>,
    factors: &[F],
    sums: &mut [F],
) {
    let in_place = lines.neighbours()[0] && lines.is_factors();
    let mut tile = [F::default(); TILE];
    for (i, sum) in sums.iter_mut().enumerate() {
        *sum = F::default();
        for (start, factors) in depths.clone().step_by(TILE).zip(factors.chunks(TILE)) {
            let values = if in_place {
                // SAFETY: the caller's promise, for neighbours that are factors; nobody writes the matrix meanwhile.
                unsafe { std::slice::from_raw_parts(lines.at(first + i, start), factors.len()) }
            } else {
                // SAFETY: the caller's promise; the tile has room.
                unsafe { lines.pack(first + i, 1, start..start + factors.len(), tile.as_mut_ptr(), 1) };
                &tile[..factors.len()]
            };
            *sum = sum.plus(level.run(Dot { values, factors }));
        }
    }
}

struct Dot<'a, F> {
    values: &'a [F],
    factors: &'a [F],
}

impl<F: Factor> Task for Dot<'_, F> {
    type Output = F;

    #[inline(always)]
    fn run<I: Isa>(self) -> F {
        let (values, rest) = self.values.as_chunks::<LANES>();
        let (factors, rest_of_factors) = self.factors.as_chunks::<LANES>();
        let mut lanes = [F::default(); LANES];
        for (values, factors) in values.iter().zip(factors) {
            for ((lane, &value), &factor) in lanes.iter_mut().zip(values).zip(factors) {
                *lane = lane.plus_product::<I>(value, factor);
            }
        }
        for ((lane, &value), &factor) in lanes.iter_mut().zip(rest).zip(rest_of_factors) {
            *lane = lane.plus_product::<I>(value, factor);
        }
        let mut width = LANES / 2;
        while width > 0 {
            let (low, high) = lanes[..2 * width].split_at_mut(width);
            for (low, &high) in low.iter_mut().zip(&*high) {
                *low = low.plus(high);
            }
            width /= 2;
        }
        lanes[0]
    }
}

/// Sums of lines side by side, depth by depth.
///
/// # Safety
/// As for [`dots`].
unsafe fn add_depths<F: Factor>(
    level: Level,
    lines: Lines<'_, F>,
    first: usize,
    depths: Range<usize>,
    factors: &[F],
    sums: &mut [F],
) {
    let width = sums.len();
    let mut tile = if lines.is_factors() { Vec::new() } else { vec![F::default(); ROWS * width] };
    sums.fill(F::default());
    for (start, factors) in depths.clone().step_by(ROWS).zip(factors.chunks(ROWS)) {
        let mut rows: [&[F]; ROWS] = [&[]; ROWS];
        if lines.is_factors() {
            for (p, row) in (start..).zip(&mut rows[..factors.len()]) {
                // SAFETY: the caller's promise, for neighbours that are factors; nobody writes the matrix meanwhile.
                *row = unsafe { std::slice::from_raw_parts(lines.at(first, p), width) };
            }
        } else {
            // SAFETY: the caller's promise; the tile has room.
            unsafe { lines.pack(first, width, start..start + factors.len(), tile.as_mut_ptr(), width) };
            rows.iter_mut().zip(tile.chunks(width)).for_each(|(row, tile)| *row = tile);
        }
        level.run(AddDepths { sums, rows: &rows[..factors.len()], factors });
    }
}

struct AddDepths<'a, F> {
    sums: &'a mut [F],
    rows: &'a [&'a [F]],
    factors: &'a [F],
}

impl<F: Factor> Task for AddDepths<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        if let (&[a, b, c, d], &[fa, fb, fc, fd]) = (self.rows, self.factors) {
            for ((((sum, &a), &b), &c), &d) in self.sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                let more = F::default().plus_product::<I>(a, fa).plus_product::<I>(b, fb);
                *sum = sum.plus(more.plus_product::<I>(c, fc).plus_product::<I>(d, fd));
            }
            return;
        }
        for (row, &factor) in self.rows.iter().zip(self.factors) {
            for (sum, &value) in self.sums.iter_mut().zip(*row) {
                *sum = sum.plus_product::<I>(value, factor);
            }
        }
    }
}
