//! Running sums and products.

use crate::Cpu;
use crate::number::{Number, Total, Wide, for_number};
use crate::parallel::{GRAIN, for_each_range};
use crate::strided::{Axes, Axis, Source, Target, Walk, axes_of, count, merge};
use std::ops::Range;
use tensor_core::{ScanOp, View, ViewMut};

type SumOf<T> = <<T as Number>::Wide as Wide>::Sum;

/// Lines that are scanned side by side, at most.
const WIDTH: usize = 256;

/// See [`Backend::scan`](tensor_core::Backend::scan).
pub(crate) fn scan(op: ScanOp, axis: usize, input: &View<'_, Cpu>, mut out: ViewMut<'_, Cpu>) {
    if out.layout.numel() == 0 {
        return;
    }
    for_number!(input.dtype, T => match op {
        ScanOp::Sum => run::<T, false>(axis, input, &mut out),
        ScanOp::Prod => run::<T, true>(axis, input, &mut out),
    });
}

fn run<T: Number, const PRODUCT: bool>(axis: usize, input: &View<'_, Cpu>, out: &mut ViewMut<'_, Cpu>) {
    let (dims, steps) = (input.layout.dims(), [input.layout.strides(), out.layout.strides()]);
    let along = Axis { size: dims[axis], steps: steps.map(|steps| steps[axis]) };
    let mut lines: Axes<2> = axes_of(dims, steps, |number| number != axis);
    lines.sort_by_key(|axis| std::cmp::Reverse(axis.steps[1].unsigned_abs()));
    merge(&mut lines);
    let (source, target) = (Source::<T>::new(input), Target::<T>::new(out));
    let nearest = |axis: &Axis<2>| axis.steps[1].unsigned_abs();
    match lines.last().copied() {
        Some(inner) if nearest(&inner) < nearest(&along) || along.size == 1 => {
            lines.pop();
            let blocks = inner.size.div_ceil(WIDTH);
            let cost = along.size * inner.size.min(WIDTH);
            for_each_range(count(&lines) * blocks, (GRAIN / cost).max(1), |units| {
                Blocks::<T, PRODUCT> { along, inner, outer: &lines, source, target, units }.run();
            });
        }
        _ if count(&lines) == 1 && along.size >= 4 * GRAIN && one_long_line::<T, PRODUCT>(along, source, target) => {}
        _ => for_each_range(count(&lines), (GRAIN / along.size).max(1), |units| {
            let mut walk = Walk::from(&lines, units.start);
            for _ in units {
                let (from, to) = (source.at(walk.offsets[0]), target.at(walk.offsets[1]));
                // SAFETY: these are lines of input and output along the axis; nobody else accesses the output's.
                unsafe { line::<T, PRODUCT>(along, from, to, unit::<T, PRODUCT>()) };
                walk.advance();
            }
        }),
    }
}

#[inline(always)]
fn unit<T: Number, const PRODUCT: bool>() -> SumOf<T> {
    if PRODUCT { SumOf::<T>::ONE } else { SumOf::<T>::ZERO }
}

#[inline(always)]
fn combine<T: Number, const PRODUCT: bool>(total: SumOf<T>, value: T) -> SumOf<T> {
    let value = value.widen().to_sum();
    if PRODUCT { total.times(value) } else { total.plus(value) }
}

#[inline(always)]
fn finish<T: Number>(total: SumOf<T>) -> T {
    T::narrow(T::Wide::from_sum(total))
}

/// Scans `along.size` elements, given the total of those before.
///
/// # Safety
/// The elements of both lines may be accessed; nobody else accesses the second.
unsafe fn line<T: Number, const PRODUCT: bool>(along: Axis<2>, from: *const T, to: *mut T, before: SumOf<T>) {
    let mut total = before;
    for i in 0..along.size as isize {
        // SAFETY: the caller's promise.
        unsafe {
            total = combine::<T, PRODUCT>(total, from.offset(i * along.steps[0]).read());
            to.offset(i * along.steps[1]).write(finish(total));
        }
    }
}

/// Scans the only line there is, cut into pieces whose totals are taken first. Says `false`, with nothing done, where that
/// would bend results.
fn one_long_line<T: Number, const PRODUCT: bool>(along: Axis<2>, source: Source<T>, target: Target<T>) -> bool {
    // A product of floats in another order can leave the range where the running one does not.
    if PRODUCT && T::Wide::IS_FLOAT {
        return false;
    }
    let pieces = along.size.div_ceil(GRAIN);
    let mut totals = vec![unit::<T, PRODUCT>(); pieces];
    let at = Target::from_ptr(totals.as_mut_ptr());
    let piece = |number: usize| number * GRAIN..along.size.min((number + 1) * GRAIN);
    for_each_range(pieces, 1, |numbers| {
        for number in numbers {
            let total = piece(number).fold(unit::<T, PRODUCT>(), |total, i| {
                // SAFETY: an element of the line.
                combine::<T, PRODUCT>(total, unsafe { source.at(i as isize * along.steps[0]).read() })
            });
            // SAFETY: there is a place for each piece, which only this task writes.
            unsafe { at.at(number as isize).write(total) };
        }
    });
    // And a sum could overflow in the totals although the running one, of other signs before, does not.
    if !totals.iter().all(|total| total.is_finite()) {
        return false;
    }
    let mut before = unit::<T, PRODUCT>();
    for total in &mut totals {
        let next = if PRODUCT { before.times(*total) } else { before.plus(*total) };
        *total = std::mem::replace(&mut before, next);
    }
    for_each_range(pieces, 1, |numbers| {
        for number in numbers {
            let range = piece(number);
            let from = source.at(range.start as isize * along.steps[0]);
            let to = target.at(range.start as isize * along.steps[1]);
            // SAFETY: a piece of the line, which no other task writes.
            unsafe { line::<T, PRODUCT>(Axis { size: range.len(), ..along }, from, to, totals[number]) };
        }
    });
    true
}

/// Lines that lie side by side: unit `place * blocks + block`.
struct Blocks<'a, T, const PRODUCT: bool> {
    along: Axis<2>,
    inner: Axis<2>,
    outer: &'a [Axis<2>],
    source: Source<T>,
    target: Target<T>,
    units: Range<usize>,
}

impl<T: Number, const PRODUCT: bool> Blocks<'_, T, PRODUCT> {
    fn run(self) {
        let blocks = self.inner.size.div_ceil(WIDTH);
        let mut totals = [unit::<T, PRODUCT>(); WIDTH];
        for unit_number in self.units {
            let (place, block) = (unit_number / blocks, unit_number % blocks);
            let start = block * WIDTH;
            let width = WIDTH.min(self.inner.size - start);
            let walk = Walk::from(self.outer, place);
            let totals = &mut totals[..width];
            totals.fill(unit::<T, PRODUCT>());
            let first = |tensor: usize| walk.offsets[tensor] + start as isize * self.inner.steps[tensor];
            for i in 0..self.along.size as isize {
                let from = self.source.at(first(0) + i * self.along.steps[0]);
                let to = self.target.at(first(1) + i * self.along.steps[1]);
                if self.inner.steps == [1, 1] {
                    // SAFETY: `width` neighbours of the input and of the output; only this unit accesses the latter.
                    unsafe {
                        let (from, to) =
                            (std::slice::from_raw_parts(from, width), std::slice::from_raw_parts_mut(to, width));
                        step::<T, PRODUCT>(totals, from, to);
                    }
                } else {
                    for (column, total) in totals.iter_mut().enumerate() {
                        let column = column as isize;
                        // SAFETY: elements of the input and of the output; only this unit accesses the latter.
                        unsafe {
                            *total = combine::<T, PRODUCT>(*total, from.offset(column * self.inner.steps[0]).read());
                            to.offset(column * self.inner.steps[1]).write(finish(*total));
                        }
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn step<T: Number, const PRODUCT: bool>(totals: &mut [SumOf<T>], from: &[T], to: &mut [T]) {
    for ((total, &from), to) in totals.iter_mut().zip(from).zip(to) {
        *total = combine::<T, PRODUCT>(*total, from);
        *to = finish(*total);
    }
}
