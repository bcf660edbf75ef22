//! Parts of operands, laid out as the innermost kernel reads them: *slivers* of a few rows of a, or columns of b, each step
//! of `k` with its neighbours together. On the way elements become factors, and the last sliver is filled up with zeros.

use super::Operand;
use super::vector::Factor;
use crate::Buffer;
use crate::pointwise::moves::{gather_panel, prefetch};
use crate::strided::{Source, Target};
use crate::vecmath::Level;
use std::ops::Range;

/// Memory for packed factors, from the pool.
pub(super) struct Packed<F> {
    memory: Option<Buffer>,
    factor: std::marker::PhantomData<F>,
}

impl<F: Factor> Packed<F> {
    /// Room for so many factors; `None` if there is no memory.
    pub(super) fn new(factors: usize) -> Option<Self> {
        let memory = if factors == 0 { None } else { Some(Buffer::new(factors * size_of::<F>())?) };
        Some(Self { memory, factor: std::marker::PhantomData })
    }

    /// Where they begin.
    pub(super) fn target(&mut self) -> Target<F> {
        Target::from_ptr(self.memory.as_mut().map_or(std::ptr::null_mut(), |memory| memory.as_mut_ptr().cast()))
    }
}

/// An operand: its first element, and the steps from row to row and from column to column. What its elements are only its
/// function to pack them knows, so that kernels need not be compiled for each dtype.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<F> {
    pub(super) first: Source<u8>,
    pub(super) row_step: isize,
    pub(super) column_step: isize,
    /// Whether the elements are factors.
    pub(super) is_factors: bool,
    pack: Pack<F>,
    level: Level,
}

/// See [`Lines::pack`].
type Pack<F> = unsafe fn(Lines<F>, usize, usize, Range<usize>, *mut F, usize);

/// Lines of an operand, rows of a or columns of b: the step from one to the next, and that along `k`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines<F> {
    first: Source<u8>,
    next: isize,
    along: isize,
    is_factors: bool,
    pack: Pack<F>,
    level: Level,
}

impl<F: Factor> Matrix<F> {
    pub(super) fn new<T: Operand<Factor = F>>(
        level: Level,
        first: *const T,
        [row_step, column_step]: [isize; 2],
    ) -> Self {
        let first = Source::from_ptr(first.cast());
        Self { first, row_step, column_step, is_factors: T::IS_FACTOR, pack: pack::<T>, level }
    }

    pub(super) fn rows(&self) -> Lines<F> {
        Lines {
            first: self.first,
            next: self.row_step,
            along: self.column_step,
            is_factors: self.is_factors,
            pack: self.pack,
            level: self.level,
        }
    }

    pub(super) fn columns(&self) -> Lines<F> {
        Lines {
            first: self.first,
            next: self.column_step,
            along: self.row_step,
            is_factors: self.is_factors,
            pack: self.pack,
            level: self.level,
        }
    }

    /// The address of an element, if elements are factors.
    pub(super) fn at(&self, row: usize, column: usize) -> *const F {
        let offset = row as isize * self.row_step + column as isize * self.column_step;
        self.first.at(offset * size_of::<F>() as isize).cast()
    }
}

impl<F: Factor> Lines<F> {
    /// Packs `depths` of the sliver of up to `width` lines from `line` on: factor `p * width + i` is that of line `line + i`
    /// at depth `depths.start + p`.
    ///
    /// # Safety
    /// The lines `line..line + count` may be read at these depths, and `width * depths.len()` factors written, which nobody
    /// else accesses.
    pub(super) unsafe fn pack(self, line: usize, count: usize, depths: Range<usize>, to: *mut F, width: usize) {
        // SAFETY: the caller's promise.
        unsafe { (self.pack)(self, line, count, depths, to, width) }
    }
}

impl<F: Factor> Lines<F> {
    /// Packs several slivers of `width` lines, `apart` factors from one to the next: lines `range` at `depths`.
    ///
    /// A few steps of `k` are packed for all slivers before the next ones are: where lines are neighbours, memory is read in
    /// runs that are as long as the slivers are many.
    ///
    /// # Safety
    /// As for [`pack`](Self::pack), for each of the slivers, which do not overlap.
    pub(super) unsafe fn pack_slivers(
        self,
        range: Range<usize>,
        depths: Range<usize>,
        to: *mut F,
        width: usize,
        apart: usize,
    ) {
        let step = if self.next == 1 { BLOCK } else { depths.len().max(1) };
        let ahead = if self.next == 1 && self.is_factors { BLOCK.div_ceil(range.len().div_ceil(width)) } else { 0 };
        for start in depths.clone().step_by(step) {
            let part = start..depths.end.min(start + step);
            for (number, line) in range.clone().step_by(width).enumerate() {
                let count = width.min(range.end - line);
                let to = to.wrapping_add(number * apart + (start - depths.start) * width);
                // A few of the next steps' rows come from memory while this sliver is packed.
                let next = part.end + number * ahead;
                for depth in next..(next + ahead).min(depths.end).min(part.end + step) {
                    prefetch(self.at(range.start, depth), range.len());
                }
                // SAFETY: the caller's promise.
                unsafe { self.pack(line, count, part.clone(), to, width) };
            }
        }
    }

    /// Whether elements are factors.
    pub(super) fn is_factors(&self) -> bool {
        self.is_factors
    }

    /// Whether each line's factors are neighbours, and whether those of all lines at one depth are.
    pub(super) fn neighbours(&self) -> [bool; 2] {
        [self.along == 1, self.next == 1]
    }

    /// The address of an element, if elements are factors.
    pub(super) fn at(&self, line: usize, depth: usize) -> *const F {
        let offset = line as isize * self.next + depth as isize * self.along;
        self.first.at(offset * size_of::<F>() as isize).cast()
    }
}

/// Steps of `k` that are turned round at a time.
const BLOCK: usize = 16;

/// See [`Lines::pack`].
///
/// # Safety
/// The same, for lines of `T`.
unsafe fn pack<T: Operand>(
    lines: Lines<T::Factor>,
    line: usize,
    count: usize,
    depths: Range<usize>,
    to: *mut T::Factor,
    width: usize,
) {
    let first = lines.first.at(0).cast::<T>();
    // SAFETY: the caller's promise.
    let to = unsafe { std::slice::from_raw_parts_mut(to, width * depths.len()) };
    let at = |i: usize, p: usize| first.wrapping_offset((line + i) as isize * lines.next + p as isize * lines.along);
    if count < width {
        to.fill(T::Factor::default());
    }
    if lines.next == 1 {
        for (to, p) in to.chunks_exact_mut(width).zip(depths) {
            // SAFETY: `count` neighbours of the lines; nobody writes the operand meanwhile.
            let from = unsafe { std::slice::from_raw_parts(at(0, p), count) };
            for (to, from) in to.iter_mut().zip(from) {
                *to = from.to_factor();
            }
        }
    } else if lines.along == 1 && T::IS_FACTOR && count > 1 {
        let from = at(0, depths.start).cast();
        // SAFETY: neighbours along `count` lines, `lines.next` apart; nobody writes the operand meanwhile. The elements are
        // factors, and there is room for `width` at each depth.
        unsafe {
            let sides = (depths.len(), count);
            gather_panel(lines.level, size_of::<T>(), to.as_mut_ptr().cast(), width, from, (1, lines.next), sides);
        }
    } else if lines.along == 1 {
        // Each line's piece is read at once and turned round where it is still in registers.
        for (to, start) in to.chunks_mut(width * BLOCK).zip(depths.clone().step_by(BLOCK)) {
            let length = BLOCK.min(depths.end - start);
            for i in 0..count {
                // SAFETY: neighbours along a line; nobody writes the operand meanwhile.
                let from = unsafe { std::slice::from_raw_parts(at(i, start), length) };
                for (to, from) in to[i..].iter_mut().step_by(width).zip(from) {
                    *to = from.to_factor();
                }
            }
        }
    } else {
        for (to, p) in to.chunks_exact_mut(width).zip(depths) {
            for (i, to) in to[..count].iter_mut().enumerate() {
                // SAFETY: an element of the lines.
                *to = unsafe { at(i, p).read() }.to_factor();
            }
        }
    }
}
