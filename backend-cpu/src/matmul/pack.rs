//! Parts of operands, laid out as the innermost kernel reads them: *slivers* of a few rows of a, or columns of b, each step
//! of `k` with its neighbours together. On the way elements become factors, and the last sliver is filled up with zeros.
//!
//! Here alone the axes of an operand matter: an index of a product may stand for several, as in a convolution, whose columns
//! are the positions of a window and whose sum goes over all of it. Such an operand is packed straight from where it lies.

use super::Operand;
use super::vector::Factor;
use crate::Buffer;
use crate::pointwise::moves::{gather_panel, prefetch};
use crate::strided::{Axes, Source, Target, Walk, count, merge};
use crate::vecmath::{Isa, Level, Task};
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

/// How one index of an operand (its rows, its columns) is walked: all axes of the index, in row-major order.
///
/// Offsets are in elements. Within a run of neighbouring positions they grow by `step`. An index whose axes merge to one is a
/// single run; else the innermost axis is, and where its runs begin stands in a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Index<'a> {
    pub(super) step: isize,
    run: usize,
    starts: &'a [isize],
}

impl<'a> Index<'a> {
    /// An index of one axis.
    pub(super) const fn plain(step: isize) -> Self {
        Self { step, run: usize::MAX, starts: &[0] }
    }

    /// The index with these axes, of which neighbours are merged; `starts` is filled if it is needed.
    pub(super) fn new(axes: &mut Axes<1>, starts: &'a mut Vec<isize>) -> Self {
        merge(axes);
        let Some((inner, outer)) = axes.split_last() else { return Self::plain(0) };
        if outer.is_empty() {
            return Self::plain(inner.steps[0]);
        }
        let mut walk = Walk::from(outer, 0);
        starts.extend((0..count(outer)).map(|_| {
            let [offset] = walk.offsets;
            walk.advance();
            offset
        }));
        Self { step: inner.steps[0], run: inner.size, starts }
    }

    /// Whether all offsets are multiples of the step.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        self.starts.len() == 1
    }

    /// How many of `count` positions are neighbours, a step apart.
    pub(super) fn run(&self, count: usize) -> usize {
        if self.is_plain() { count } else { self.run }
    }

    /// Where the runs begin.
    pub(super) fn starts(&self) -> &'a [isize] {
        self.starts
    }

    /// The offset of a position.
    #[inline(always)]
    pub(super) fn at(&self, position: usize) -> isize {
        if self.is_plain() {
            return position as isize * self.step;
        }
        self.starts[position / self.run] + (position % self.run) as isize * self.step
    }

    /// The offsets of a range's positions.
    #[inline(always)]
    pub(super) fn offsets(self, range: Range<usize>) -> impl Iterator<Item = isize> + use<'a> {
        let mut number = if self.is_plain() { 0 } else { range.start / self.run };
        let mut within = if self.is_plain() { range.start } else { range.start % self.run };
        let mut offset = self.starts[number] + within as isize * self.step;
        range.map(move |_| {
            let here = offset;
            (within, offset) = (within + 1, offset + self.step);
            if within == self.run {
                (number, within) = (number + 1, 0);
                offset = self.starts.get(number).copied().unwrap_or(0);
            }
            here
        })
    }

    /// The parts of a range that lie in one run each, and the offsets of their first positions.
    fn runs(self, range: Range<usize>) -> impl Iterator<Item = (Range<usize>, isize)> + use<'a> {
        let mut position = range.start;
        let mut number = if self.is_plain() { 0 } else { position / self.run };
        std::iter::from_fn(move || {
            let start = number.saturating_mul(self.run);
            let part = position..range.end.min(start.saturating_add(self.run));
            (position < range.end).then(|| {
                let offset = self.starts[number] + (position - start) as isize * self.step;
                (position, number) = (part.end, number + 1);
                (part, offset)
            })
        })
    }
}

/// An operand: its first element, and how its rows and columns are walked. What its elements are only its function to pack
/// them knows, so that kernels need not be compiled for each dtype.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<'a, F> {
    first: Source<u8>,
    pub(super) rows: Index<'a>,
    pub(super) columns: Index<'a>,
    is_factors: bool,
    pack: Pack<F>,
    level: Level,
}

/// See [`Lines::pack`].
type Pack<F> = unsafe fn(Lines<'_, F>, usize, usize, Range<usize>, *mut F, usize);

/// Lines of an operand, rows of a or columns of b: how one goes on to the next, and how each is walked along `k`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines<'a, F> {
    first: Source<u8>,
    next: Index<'a>,
    along: Index<'a>,
    is_factors: bool,
    pack: Pack<F>,
    level: Level,
}

impl<'a, F: Factor> Matrix<'a, F> {
    pub(super) fn new<T: Operand<Factor = F>>(level: Level, first: *const T, [rows, columns]: [Index<'a>; 2]) -> Self {
        let first = Source::from_ptr(first.cast());
        Self { first, rows, columns, is_factors: T::IS_FACTOR, pack: pack::<T>, level }
    }

    /// The same in other memory, so many elements further on, if elements are factors.
    pub(super) fn moved(&self, elements: isize) -> Self {
        let first = Source::from_ptr(self.first.at(elements * size_of::<F>() as isize));
        Self { first, ..*self }
    }

    pub(super) fn rows(&self) -> Lines<'a, F> {
        let Self { first, rows, columns, is_factors, pack, level } = *self;
        Lines { first, next: rows, along: columns, is_factors, pack, level }
    }

    pub(super) fn columns(&self) -> Lines<'a, F> {
        let Self { first, rows, columns, is_factors, pack, level } = *self;
        Lines { first, next: columns, along: rows, is_factors, pack, level }
    }

    /// Whether kernels can read it where it lies: elements are factors, at multiples of two steps.
    pub(super) fn in_place(&self) -> bool {
        self.is_factors && self.rows.is_plain() && self.columns.is_plain()
    }

    /// The address of an element, if elements are factors.
    pub(super) fn at(&self, row: usize, column: usize) -> *const F {
        self.first.at((self.rows.at(row) + self.columns.at(column)) * size_of::<F>() as isize).cast()
    }
}

impl<F: Factor> Lines<'_, F> {
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
        let by_depths = self.next.step == 1;
        let step = if by_depths { BLOCK } else { depths.len().max(1) };
        let ahead = if by_depths && self.is_factors && self.is_plain() {
            BLOCK.div_ceil(range.len().div_ceil(width))
        } else {
            0
        };
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

    /// Whether elements lie at multiples of two steps.
    fn is_plain(&self) -> bool {
        self.next.is_plain() && self.along.is_plain()
    }

    /// Whether elements are factors.
    pub(super) fn is_factors(&self) -> bool {
        self.is_factors
    }

    /// Whether each line's factors are neighbours, and whether those of all lines at one depth are.
    pub(super) fn neighbours(&self) -> [bool; 2] {
        [self.along, self.next].map(|index| index.is_plain() && index.step == 1)
    }

    /// The address of an element, if elements are factors.
    pub(super) fn at(&self, line: usize, depth: usize) -> *const F {
        self.first.at((self.next.at(line) + self.along.at(depth)) * size_of::<F>() as isize).cast()
    }
}

/// Steps of `k` that are turned round at a time.
const BLOCK: usize = 16;

/// See [`Lines::pack`].
///
/// # Safety
/// The same, for lines of `T`.
unsafe fn pack<T: Operand>(
    lines: Lines<'_, T::Factor>,
    line: usize,
    count: usize,
    depths: Range<usize>,
    to: *mut T::Factor,
    width: usize,
) {
    let first = Source::from_ptr(lines.first.at(0).cast::<T>());
    if count < width {
        // SAFETY: the caller's promise; zeros are factors.
        unsafe { std::slice::from_raw_parts_mut(to, width * depths.len()).fill(T::Factor::default()) };
    }
    lines.level.run(&Sliver::<T> { lines, first, line, count, depths, to, width });
}

/// What [`pack`] is given, to be compiled for each instruction set.
struct Sliver<'a, T: Operand> {
    lines: Lines<'a, T::Factor>,
    first: Source<T>,
    line: usize,
    count: usize,
    depths: Range<usize>,
    to: *mut T::Factor,
    width: usize,
}

impl<T: Operand> Task for &Sliver<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        let &Sliver { ref lines, first, line, count, ref depths, to, width } = self;
        let (along, next) = (lines.along, lines.next);
        // Lines of runs that are too short to be turned round are packed step by step, as neighbours are.
        let by_steps = next.step == 1 || next.step == 2 && (along.step != 1 || along.run < SHORT);
        for (part, at_line) in next.runs(line..line + count) {
            let (to, count) = (to.wrapping_add(part.start - line), part.len());
            // SAFETY: `pack`'s caller promised it for a sliver of which these are parts: those lines of it that lie in one run,
            // at all depths or at those that lie in one run.
            unsafe {
                if by_steps {
                    let rows = Rows { from: first.at(at_line), to, width, count };
                    let depths = along.offsets(depths.clone());
                    if next.step == 1 {
                        rows.pack::<1>(depths);
                    } else {
                        rows.pack::<2>(depths);
                    }
                    continue;
                }
                for (steps, at_depth) in along.runs(depths.clone()) {
                    let to = to.wrapping_add((steps.start - depths.start) * width);
                    let (from, strides) = (first.at(at_line + at_depth), [along.step, next.step]);
                    Panel { from, strides, to, width, steps: steps.len(), count }.pack(lines.level);
                }
            }
        }
    }
}

/// Steps along `k` from which on a line's elements are read together.
const SHORT: usize = 8;

/// Some lines that are neighbours, or every second of such.
struct Rows<T: Operand> {
    from: *const T,
    to: *mut T::Factor,
    width: usize,
    count: usize,
}

impl<T: Operand> Rows<T> {
    /// Packs the elements at these offsets and those of the next lines, `S` elements apart.
    ///
    /// # Safety
    /// All elements may be read, and as many factors written, `width` apart from step to step, which nobody else accesses.
    #[inline(always)]
    unsafe fn pack<const S: usize>(self, offsets: impl Iterator<Item = isize>) {
        // SAFETY: the caller's promise.
        unsafe {
            // The usual lengths of a window's rows are known when compiled.
            match self.count {
                1 => self.pieces(offsets, |from, to| convert::<T, 1, S>(from, to)),
                2 => self.pieces(offsets, |from, to| convert::<T, 2, S>(from, to)),
                3 => self.pieces(offsets, |from, to| convert::<T, 3, S>(from, to)),
                5 => self.pieces(offsets, |from, to| convert::<T, 5, S>(from, to)),
                count => self.pieces(offsets, |from, to| {
                    let mut done = 0;
                    while count - done >= PIECE {
                        convert::<T, PIECE, S>(from.add(done * S), to.add(done));
                        done += PIECE;
                    }
                    if count & 8 != 0 {
                        convert::<T, 8, S>(from.add(done * S), to.add(done));
                        done += 8;
                    }
                    if count & 4 != 0 {
                        convert::<T, 4, S>(from.add(done * S), to.add(done));
                        done += 4;
                    }
                    for i in done..count {
                        convert::<T, 1, S>(from.add(i * S), to.add(i));
                    }
                }),
            }
        }
    }

    /// Calls a function for each step.
    #[inline(always)]
    fn pieces(&self, offsets: impl Iterator<Item = isize>, pack: impl Fn(*const T, *mut T::Factor)) {
        let mut to = self.to;
        for offset in offsets {
            pack(self.from.wrapping_offset(offset), to);
            to = to.wrapping_add(self.width);
        }
    }
}

/// A part of a sliver whose elements lie at multiples of two strides: that along `k`, and that from line to line.
struct Panel<T: Operand> {
    from: *const T,
    strides: [isize; 2],
    to: *mut T::Factor,
    width: usize,
    /// Steps along `k`.
    steps: usize,
    /// Lines.
    count: usize,
}

impl<T: Operand> Panel<T> {
    /// # Safety
    /// All elements may be read, and as many factors written, `width` apart along `k`, which nobody else accesses.
    #[inline(always)]
    unsafe fn pack(self, level: Level) {
        let Self { from, strides: [along, next], to, width, steps, count } = self;
        if along == 1 && steps >= SHORT && count > 1 && T::IS_FACTOR {
            let (to, from) = (to.cast(), from.cast());
            // SAFETY: neighbours along `count` lines, `next` apart; nobody writes the operand meanwhile. The elements are
            // factors, and there is room for `width` at each depth.
            return unsafe { gather_panel(level, size_of::<T>(), to, width, from, (1, next), (steps, count)) };
        }
        // Each line's piece is read at once and turned round while the lines it is written to are in the cache.
        for start in (0..steps).step_by(BLOCK) {
            for i in 0..count {
                for p in start..steps.min(start + BLOCK) {
                    let at = p as isize * along + i as isize * next;
                    // SAFETY: the caller's promise.
                    unsafe { convert::<T, 1, 1>(from.offset(at), to.add(p * width + i)) };
                }
            }
        }
    }
}

/// Elements that are copied at once.
const PIECE: usize = 16;

/// Makes factors of `N` elements, each the `S`-th after the one before.
///
/// # Safety
/// All elements from the first to the last may be read, and as many factors written.
#[inline(always)]
unsafe fn convert<T: Operand, const N: usize, const S: usize>(from: *const T, to: *mut T::Factor) {
    // SAFETY: the caller's promise; both are as aligned as their types.
    unsafe {
        let factors = if S == 1 {
            from.cast::<[T; N]>().read().map(T::to_factor)
        } else {
            std::array::from_fn(|i| from.add(i * S).read().to_factor())
        };
        to.cast::<[T::Factor; N]>().write(factors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strided::Axis;

    #[test]
    fn an_index_walks_its_axes_in_runs() {
        let axis = |size, step| Axis { size, steps: [step] };
        let mut starts = Vec::new();
        // Pairs of windows of three over rows of four, ten apart.
        let index =
            Index::new(&mut [axis(2, 10), axis(2, 1), axis(1, 99), axis(3, 1)].into_iter().collect(), &mut starts);
        let offsets = [0, 1, 2, 1, 2, 3, 10, 11, 12, 11, 12, 13];
        assert!(!index.is_plain());
        for (position, &offset) in offsets.iter().enumerate() {
            assert_eq!(index.at(position), offset);
        }
        let runs: Vec<_> = index.runs(2..7).collect();
        assert_eq!(runs, [(2..3, 2), (3..6, 1), (6..7, 10)]);
        assert_eq!(index.runs(4..4).count(), 0);
        for start in 0..offsets.len() {
            assert_eq!(index.offsets(start..offsets.len()).collect::<Vec<_>>(), offsets[start..]);
        }
        let mut starts = Vec::new();
        let merged = Index::new(&mut [axis(2, -12), axis(4, -3)].into_iter().collect(), &mut starts);
        assert!(merged.is_plain());
        assert_eq!(merged.runs(3..8).collect::<Vec<_>>(), [(3..8, -9)]);
        let mut starts = Vec::new();
        let none = Index::new(&mut Axes::new(), &mut starts);
        assert_eq!((none.is_plain(), none.at(0)), (true, 0));
    }
}
