//! A product row by row.

use super::{Factor, Operand, Product};
use crate::parallel::for_each_range;
use crate::vecmath::{Isa, Level, Task};
use std::ops::Range;

/// Computes a product.
///
/// # Safety
/// `a` has m×k elements to read, `b` k×n, and `out` m×n to write that nobody else accesses.
pub(super) unsafe fn product<T: Operand>(level: Level, work: Product<T>, threads: usize) -> Option<()> {
    for_each_range(work.m, work.m.div_ceil(8 * threads), |rows| {
        level.run(Rows { work, rows });
    });
    Some(())
}

struct Rows<T: Operand> {
    work: Product<T>,
    rows: Range<usize>,
}

impl<T: Operand> Task for Rows<T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let Product { a, b, out, n, k, .. } = self.work;
        for i in self.rows {
            // SAFETY: row `i` of the result, which only this task accesses.
            let out = unsafe { std::slice::from_raw_parts_mut(out.at((i * n) as isize), n) };
            out.fill(T::Factor::default());
            for p in 0..k as isize {
                // SAFETY: an element of `a`.
                let factor = unsafe { a.first.at(i as isize * a.row_step + p * a.column_step).read() }.to_factor();
                let from = b.first.at(p * b.row_step);
                if b.column_step == 1 {
                    // SAFETY: row `p` of `b`.
                    let row = unsafe { std::slice::from_raw_parts(from, n) };
                    for (out, &b) in out.iter_mut().zip(row) {
                        *out = out.plus_product(factor, b.to_factor());
                    }
                } else {
                    for (j, out) in out.iter_mut().enumerate() {
                        // SAFETY: an element of `b`.
                        let b = unsafe { from.offset(j as isize * b.column_step).read() };
                        *out = out.plus_product(factor, b.to_factor());
                    }
                }
            }
        }
    }
}

/// Converts sums to elements.
pub(super) fn round<T: Operand>(sums: &[T::Factor], out: &mut [T]) {
    for (out, &sum) in out.iter_mut().zip(sums) {
        *out = T::from_factor(sum);
    }
}
