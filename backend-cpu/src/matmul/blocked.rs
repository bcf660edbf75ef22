//! One matrix product in blocks that stay in the caches.
//!
//! The innermost kernel keeps a tile of the result in registers and walks along `k`. Around it, blocks of `k` keep what it
//! reads near: a sliver of b (a few columns) in the first-level cache, some rows of a in the second-level one. What is not
//! laid out that way already is [packed](super::pack) so first.
//!
//! Each element of the result is added up in the same order, however the work is divided among threads.

use super::Product;
use super::pack::Packed;
use super::vector::{Factor, Sum, Vector};
use crate::parallel::for_each;
use crate::pointwise::moves::prefetch;
use crate::strided::Source;
use crate::vecmath::{Isa, Level, Task};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The bytes of a line (a row of a, a column of b) in a block, at most.
const DEPTH_BYTES: usize = 2048;
/// Rows of a in a block, at most.
const ROWS: usize = 256;
/// With at most so many rows, all of a is packed at once and threads share out the columns.
const FEW_ROWS: usize = 384;
/// Factors of a and b together up to which a is read where it is: packing would take longer than it saves.
const SMALL: usize = 1 << 15;
/// Factors of an a with dense rows up to which it is read where it is: the second-level cache holds it as it lies.
const A_NEAR: usize = 1 << 17;
/// The most rows of a product whose first row of tiles packs b, and the bytes of an a with dense rows up to which these read it
/// where it is: what the second-level cache does not hold comes fast enough from the third one.
const KEPT_ROWS: usize = 512;
const KEPT_A_NEAR: usize = 1 << 20;
/// Vectors in a row of a tile.
const ACROSS: usize = 2;
/// Slivers of b that are packed together.
const GROUP: usize = 8;

/// Computes a product; `None` if there is no memory to pack into.
///
/// # Safety
/// `a` has m×k elements to read, `b` k×n, and `out` m×n to write that nobody else accesses; none of the sizes is 0.
pub(super) unsafe fn product<F: Factor>(level: Level, work: &Product<'_, F>, threads: usize) -> Option<()> {
    let [rows, lanes] = level.run(Shape::<F>(PhantomData));
    let width = ACROSS * lanes;
    let plan = Plan::new(work, rows, width, threads);
    let mut packed = Packed::<F>::new(plan.packed)?;
    let to = packed.target();
    let (lines, sliver) = if plan.by_columns { (work.a.rows(), rows) } else { (work.b.columns(), width) };
    let failed = AtomicBool::new(false);
    let pack = |range: Range<usize>| {
        let first = to.at((range.start * work.k) as isize);
        // SAFETY: lines of the operand; there is room for all slivers of all steps, and these are packed here only.
        unsafe { lines.pack_slivers(range, 0..work.k, first, sliver, sliver * work.k) };
    };
    plan.each(pack, |rows, columns| {
        let part = Part { work, plan: &plan, packed: Source::from_ptr(to.at(0).cast_const()), rows, columns };
        if level.run(&part).is_none() {
            failed.store(true, Ordering::Relaxed);
        }
    });
    (!failed.into_inner()).then_some(())
}

/// How a product is taken apart.
#[derive(Clone, Copy)]
struct Plan {
    m: usize,
    n: usize,
    k: usize,
    /// Rows and columns of a tile.
    tile: [usize; 2],
    /// Whether a or b is read where it is.
    direct: [bool; 2],
    /// Whether threads share out columns, with all of a packed before, or rows, with all of b packed before.
    by_columns: bool,
    /// Whether the first tile of a sliver of b reads it where it is, and packs it for those below on the way.
    kept: bool,
    /// The factors that are packed before.
    packed: usize,
    /// Rows, or columns, of a thread's part.
    part: usize,
    threads: usize,
}

impl Plan {
    fn new<F: Factor>(work: &Product<'_, F>, rows: usize, width: usize, threads: usize) -> Self {
        let Product { m, n, k, .. } = *work;
        let can_keep = can_keep::<F>(width / ACROSS);
        // While the next product's matrices are asked for, packing pays earlier.
        let most = if can_keep && work.ahead.is_some() { SMALL / 2 } else { SMALL };
        let small = work.a.in_place() && m * k + k * n <= most;
        // A b of few rows of tiles is not read often enough to be packed. One whose rows lie a multiple of a page apart
        // would fill few sets of the cache.
        let b_in_rows = work.b.in_place() && work.b.columns.step == 1;
        let few = small || m <= 2 * rows;
        let kept = can_keep && b_in_rows && !few && m <= KEPT_ROWS;
        let by_columns = kept || m <= FEW_ROWS;
        // An a that meets one sliver of b only is read once, however it lies.
        let a_once = work.a.in_place() && n <= width;
        let near = if kept { KEPT_A_NEAR / size_of::<F>() } else { A_NEAR };
        let a_near = work.a.in_place() && work.a.columns.step == 1 && m * k <= near;
        let direct = [by_columns && (small || a_once || a_near), b_in_rows && few];
        let packed = match (by_columns, direct) {
            (true, [true, _]) | (false, [_, true]) => 0,
            (true, _) => m.next_multiple_of(rows) * k,
            (false, _) => n.next_multiple_of(width) * k,
        };
        // Some more parts than threads, should one be slow.
        let part = if threads == 1 {
            if by_columns { n } else { m }
        } else if by_columns {
            let slivers = n.div_ceil(width);
            slivers.div_ceil(if kept { 8 } else { 4 } * threads) * width
        } else {
            m.div_ceil(4 * threads).clamp(ROWS / 4, ROWS).next_multiple_of(rows)
        };
        Self { m, n, k, tile: [rows, width], direct, by_columns, kept, packed, part, threads }
    }

    /// Runs `pack` for all lines (rows of a, columns of b) that are packed before, a range at a time, and then `compute` for all
    /// parts of the result: rows and columns.
    ///
    /// Threads share out both as one list of tasks, since waking one takes as long as a small product.
    fn each(&self, pack: impl Fn(Range<usize>) + Sync, compute: impl Fn(Range<usize>, Range<usize>) + Sync) {
        let range = |number: usize, step: usize, lines: usize| number * step..lines.min((number + 1) * step);
        let (lines, sliver) = if self.by_columns { (self.m, self.tile[0]) } else { (self.n, self.tile[1]) };
        let all = if self.by_columns { self.n } else { self.m };
        if self.threads == 1 {
            if self.packed > 0 {
                pack(0..lines);
            }
            return compute(0..self.m, 0..self.n);
        }
        let pieces = (self.packed / PIECE).clamp(1, 8 * self.threads);
        let piece = lines.div_ceil(pieces).next_multiple_of(sliver);
        let packs = if self.packed > 0 { lines.div_ceil(piece) } else { 0 };
        let part = self.part;
        let unpacked = AtomicUsize::new(packs);
        for_each(packs + all.div_ceil(part), |number| {
            if number < packs {
                let _done = CountDown(&unpacked);
                return pack(range(number, piece, lines));
            }
            // Tasks are begun in order: what is waited for is at work on other threads, and waits for nothing itself.
            let mut spins = 0;
            // Acquire: what the others have packed.
            while unpacked.load(Ordering::Acquire) > 0 {
                spins += 1;
                if spins < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
            }
            let range = range(number - packs, part, all);
            if self.by_columns { compute(0..self.m, range) } else { compute(range, 0..self.n) }
        });
    }
}

/// Factors that a thread packs at a time: they take some microseconds.
const PIECE: usize = 1 << 14;
/// How often a thread looks whether all is packed before it lets others run.
const SPINS: usize = 2000;

/// Counts down when a task ends, also by a panic: others wait for it.
struct CountDown<'a>(&'a AtomicUsize);

impl Drop for CountDown<'_> {
    fn drop(&mut self) {
        // Release: what the task has packed.
        self.0.fetch_sub(1, Ordering::Release);
    }
}

/// Whether tiles of vectors of so many lanes may pack b on the way. It pays with 32 and 64 bytes; with 16 it has not been measured.
const fn can_keep<F>(lanes: usize) -> bool {
    lanes * size_of::<F>() >= 32
}

/// Steps along `k` in a block: blocks of equal length, so that no short one is left over. They depend on nothing else, since
/// a sum's rounding does on them.
pub(super) fn depth<F>(k: usize) -> usize {
    let most = DEPTH_BYTES / size_of::<F>();
    if k <= most { k } else { k.div_ceil(k.div_ceil(most)) }
}

/// The rows of a tile and the lanes of a vector on an instruction set.
pub(super) struct Shape<F>(pub(super) PhantomData<F>);

impl<F: Factor> Task for Shape<F> {
    type Output = [usize; 2];

    #[inline(always)]
    fn run<I: Isa>(self) -> [usize; 2] {
        #[cfg(target_arch = "x86_64")]
        match I::VECTOR_BYTES {
            64 => return [ROWS_64, F::V64::LANES],
            32 => return [ROWS_32, F::V32::LANES],
            _ => {}
        }
        [ROWS_16, F::Portable::<I>::LANES]
    }
}

/// Rows of a tile, so that it fills the registers (32 with AVX-512, else 16) and leaves some for operands.
#[cfg(target_arch = "x86_64")]
pub(super) const ROWS_64: usize = 8;
pub(super) const ROWS_32: usize = 6;
pub(super) const ROWS_16: usize = 4;

/// A part of the result, computed by one thread.
struct Part<'a, F: Factor> {
    work: &'a Product<'a, F>,
    plan: &'a Plan,
    packed: Source<F>,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<F: Factor> Task for &Part<'_, F> {
    type Output = Option<()>;

    #[inline(always)]
    fn run<I: Isa>(self) -> Option<()> {
        #[cfg(target_arch = "x86_64")]
        match I::VECTOR_BYTES {
            64 => return self.compute::<F::V64, ROWS_64>(),
            32 => return self.compute::<F::V32, ROWS_32>(),
            _ => {}
        }
        self.compute::<F::Portable<I>, ROWS_16>()
    }
}

/// Where a tile reads its operands: the first factor, the step to the next row (of a), and that along `k`.
#[derive(Clone, Copy)]
struct Feed<F> {
    first: *const F,
    next: isize,
    along: isize,
}

impl<F: Factor> Part<'_, F> {
    #[inline(always)]
    fn compute<V: Vector<Elem = F>, const MR: usize>(&self) -> Option<()> {
        let width = ACROSS * V::LANES;
        let Self { work, plan, packed, rows, columns } = self;
        let Plan { direct, by_columns, k, .. } = **plan;
        let kept = plan.kept && can_keep::<F>(V::LANES);
        let depth = depth::<F>(k);
        // Room for what is packed on the way: a's block where all of b was packed before, else one sliver of b. The last
        // sliver of a b that is read where it is has to be packed too if it is not full.
        let room = if by_columns { 0 } else { rows.len().min(ROWS).next_multiple_of(MR) * depth };
        let mut a_room = Packed::<F>::new(room)?;
        let group = if by_columns && !direct[1] && !kept { GROUP * width } else { width };
        let mut b_room = Packed::<F>::new(if by_columns || direct[1] { group * depth } else { 0 })?;
        let (a_to, b_to) = (a_room.target(), b_room.target());
        let step = if by_columns { plan.m } else { ROWS };
        let tiles = match work.ahead {
            Some(_) => rows.len().div_ceil(MR) * columns.len().div_ceil(width) * k.div_ceil(depth),
            None => 0,
        };
        let mut tile_number = 0;
        for top in rows.clone().step_by(step) {
            let block = top..rows.end.min(top + step);
            for start in (0..k).step_by(depth) {
                let depths = start..k.min(start + depth);
                let length = depths.len();
                let add = work.add || start > 0;
                if !by_columns {
                    // SAFETY: rows of a; the room holds the block's slivers of so many steps.
                    unsafe { work.a.rows().pack_slivers(block.clone(), depths.clone(), a_to.at(0), MR, MR * length) };
                }
                for left in columns.clone().step_by(group) {
                    let right = columns.end.min(left + group);
                    let full = right - left == width;
                    let (in_place, kept) = (direct[1] && full, kept && full);
                    if (by_columns || direct[1]) && !in_place && !kept {
                        let lines = work.b.columns();
                        // SAFETY: columns of b; the room holds a group of slivers of so many steps.
                        unsafe { lines.pack_slivers(left..right, depths.clone(), b_to.at(0), width, width * length) };
                    }
                    for column in (left..right).step_by(width) {
                        let first = if in_place || kept {
                            work.b.at(start, column)
                        } else if by_columns || direct[1] {
                            b_to.at(((column - left) * length) as isize).cast_const()
                        } else {
                            packed.at((column * k + start * width) as isize)
                        };
                        let along = if in_place || kept { work.b.rows.step } else { width as isize };
                        let mut b = Feed { first, next: 1, along };
                        let mut asks = if kept || (!by_columns && !direct[1]) {
                            self.next_sliver(&depths, right, width, block.len().div_ceil(MR))
                        } else {
                            Asks::NONE
                        };
                        for row in block.clone().step_by(MR) {
                            let (first, [next, along]) = if direct[0] {
                                (work.a.at(row, start), [work.a.rows.step, work.a.columns.step])
                            } else if by_columns {
                                (packed.at((row * k + start * MR) as isize), [1, MR as isize])
                            } else {
                                (a_to.at(((row - top) * length) as isize).cast_const(), [1, MR as isize])
                            };
                            let a = Feed { first, next, along };
                            if let Some(ahead) = work.ahead {
                                ahead.share(tile_number, tiles);
                                tile_number += 1;
                            }
                            let size = [MR.min(block.end - row), width.min(right - column)];
                            let out = work.out.at((row * plan.n + column) as isize);
                            let tile = Tile { a, b, depth: length, out, row_step: plan.n, size, add };
                            // SAFETY: both feeds hold the factors of the tile's rows and columns at these depths: read in
                            // place for the rows that exist and for full slivers, else packed and padded. The tile of the
                            // result is this part's alone, and so is the room that a sliver is packed to.
                            unsafe {
                                if kept && row == block.start {
                                    tile.across::<V, MR, true>(b_to.at(0), Asks::NONE);
                                    b = Feed { first: b_to.at(0).cast_const(), next: 1, along: width as isize };
                                } else if MR == ROWS_32 && size[0] <= ROWS_16 {
                                    tile.across::<V, ROWS_16, false>(b_to.at(0), asks.some());
                                } else {
                                    tile.across::<V, MR, false>(b_to.at(0), asks.some());
                                }
                            }
                        }
                    }
                }
            }
        }
        Some(())
    }

    /// What the tiles of a sliver of b ask for, below the first one: the steps of the next sliver, which begins at this column or
    /// with the next block of `k`, where it is or where all of b was packed.
    fn next_sliver(&self, depths: &Range<usize>, column: usize, width: usize, tiles: usize) -> Asks<F> {
        let Self { work, plan, packed, columns, .. } = self;
        let (start, column) = if column < columns.end { (depths.start, column) } else { (depths.end, columns.start) };
        if start == work.k || tiles < 2 {
            return Asks::NONE;
        }
        let count = depths.len().min(work.k - start);
        let at_once = count.div_ceil(tiles - 1);
        let apart = depths.len().div_ceil(at_once);
        let (first, step) = if plan.by_columns {
            (work.b.at(start, column), work.b.rows.step)
        } else {
            (packed.at((column * work.k + start * width) as isize), width as isize)
        };
        Asks { first, step, count, at_once, apart }
    }
}

/// Lines of memory to ask for, a few with each tile.
#[derive(Clone, Copy)]
struct Asks<F> {
    first: *const F,
    step: isize,
    count: usize,
    /// With each tile, and how many steps apart.
    at_once: usize,
    apart: usize,
}

impl<F> Asks<F> {
    const NONE: Self = Self { first: std::ptr::null(), step: 0, count: 0, at_once: 0, apart: usize::MAX };

    /// Those of one tile, which are taken off.
    fn some(&mut self) -> Self {
        let some = Self { count: self.at_once.min(self.count), ..*self };
        self.first = self.first.wrapping_offset(some.count as isize * self.step);
        self.count -= some.count;
        some
    }
}

/// A tile of the result, and what it is made of.
#[derive(Clone, Copy)]
struct Tile<F> {
    a: Feed<F>,
    b: Feed<F>,
    depth: usize,
    out: *mut F,
    row_step: usize,
    /// Its rows and columns.
    size: [usize; 2],
    /// Whether it is added to what is there.
    add: bool,
}

impl<F: Factor> Tile<F> {
    /// Computes a tile of at most `MR` rows: all of its vectors at once if their sums fit into the registers.
    ///
    /// # Safety
    /// As for [`compute`](Self::compute), with as many vectors as a sliver of b has.
    #[inline(always)]
    unsafe fn across<V: Vector<Elem = F>, const MR: usize, const KEEP: bool>(self, kept: *mut F, asks: Asks<F>) {
        let [rows, columns] = self.size;
        // SAFETY: the caller's promise; each of a tile's vectors is a tile, and is kept in its place of a step.
        unsafe {
            if V::Sum::REGISTERS > 1 {
                for left in (0..columns).step_by(V::LANES) {
                    let b = Feed { first: self.b.first.add(left), ..self.b };
                    let size = [rows, V::LANES.min(columns - left)];
                    let part = Self { b, out: self.out.add(left), size, ..self };
                    part.compute::<V, MR, 1, KEEP>(kept.wrapping_add(left), if left == 0 { asks } else { Asks::NONE });
                }
            } else if columns > V::LANES {
                self.compute::<V, MR, ACROSS, KEEP>(kept, asks);
            } else {
                self.compute::<V, MR, 1, false>(kept, asks);
            }
        }
    }

    /// Computes a tile of at most `MR` rows of `NV` vectors, and packs what it reads of b if it is to `KEEP` it. Memory is asked for
    /// meanwhile.
    ///
    /// # Safety
    /// `a` holds `size[0]` rows of `depth` factors, `b` as many steps of `NV` vectors. `out` has `size[0]` rows of `size[1]`
    /// factors, `row_step` apart, that nobody else accesses, and so has `kept` room for `depth` steps of a sliver if b is kept. The
    /// processor has `V`'s instructions.
    #[inline(always)]
    unsafe fn compute<V: Vector<Elem = F>, const MR: usize, const NV: usize, const KEEP: bool>(
        self,
        kept: *mut F,
        asks: Asks<F>,
    ) {
        let Self { a, b, depth, out, row_step, size: [rows, columns], add } = self;
        // SAFETY: the caller's promises: vectors of b lie within its `NV`, and are kept in as many; rows of a beyond the last are the
        // last once more, and of the result only its rows and columns are touched.
        unsafe {
            let mut sums = [[V::Sum::zero(); NV]; MR];
            // The tile of a large result comes from far away; it may do so while its sums are computed.
            if depth > SHORT {
                for i in 0..MR {
                    prefetch(out.wrapping_add(i * row_step), NV * V::LANES);
                }
            }
            let mut at = [a.first; MR];
            for (i, at) in at.iter_mut().enumerate() {
                *at = a.first.offset(i.min(rows - 1) as isize * a.next);
            }
            // Rows that lie one after the other, or as they are packed, beside a packed b: the compiler knows all strides then.
            let width = (ACROSS * V::LANES) as isize;
            let known = is_wide::<F>(V::LANES) && NV == ACROSS && !KEEP && b.along == width;
            let packed = a.next == 1 && a.along == MR as isize && rows == MR;
            let mut walk = Walk { at, from_b: b.first, kept };
            let mut ask = asks.first;
            let mut rest = depth;
            while rest > 0 {
                let steps = asks.apart.min(rest);
                rest -= steps;
                if asks.count > 0 {
                    prefetch(ask, NV * V::LANES);
                    ask = ask.wrapping_offset(asks.step);
                }
                if known && packed {
                    walk.at = std::array::from_fn(|i| walk.at[0].wrapping_add(i));
                    walk.steps::<V, NV, UNROLLED, KEEP>(&mut sums, steps, [MR as isize, width]);
                } else if known && a.along == 1 {
                    walk.steps::<V, NV, UNROLLED, KEEP>(&mut sums, steps, [1, width]);
                } else {
                    walk.steps::<V, NV, 1, KEEP>(&mut sums, steps, [a.along, b.along]);
                }
            }
            if rows == MR && columns == NV * V::LANES {
                for (i, sums) in sums.into_iter().enumerate() {
                    for (j, sum) in sums.into_iter().enumerate() {
                        let (sum, out) = (sum.total(), out.add(i * row_step + j * V::LANES));
                        (if add { sum.plus(V::load(out)) } else { sum }).store(out);
                    }
                }
                return;
            }
            let mut spare = [[F::default(); MAX_LANES]; NV];
            for (i, sums) in sums.into_iter().enumerate().take(rows) {
                let row = out.add(i * row_step);
                for (sum, spare) in sums.into_iter().zip(&mut spare) {
                    sum.total().store(spare.as_mut_ptr());
                }
                for j in 0..columns {
                    let sum = spare[j / V::LANES][j % V::LANES];
                    let out = row.add(j);
                    out.write(if add { sum.plus(out.read()) } else { sum });
                }
            }
        }
    }
}

/// How far a tile has come along `k`: the next factors of its rows and of b, and where the latter are kept.
struct Walk<F, const MR: usize> {
    at: [*const F; MR],
    from_b: *const F,
    kept: *mut F,
}

impl<F: Factor, const MR: usize> Walk<F, MR> {
    /// Adds the products of `count` steps, of which some stand unrolled in the loop: a step is as long as its products only while
    /// little else is computed in it.
    ///
    /// # Safety
    /// The rows of a hold as many factors, `along[0]` apart, and b so many steps of `NV` vectors, `along[1]` apart. If b is to be
    /// kept, there is room for the steps of a sliver. The processor has `V`'s instructions.
    #[inline(always)]
    unsafe fn steps<V: Vector<Elem = F>, const NV: usize, const UNROLLED: usize, const KEEP: bool>(
        &mut self,
        sums: &mut [[V::Sum; NV]; MR],
        count: usize,
        along: [isize; 2],
    ) {
        // SAFETY: the caller's promise: there are `count` steps.
        unsafe {
            // As one variable that no pointer leads to, the sums stay in registers.
            let mut all = *sums;
            for _ in 0..count / UNROLLED {
                for _ in 0..UNROLLED {
                    self.step::<V, NV, KEEP>(&mut all, along);
                }
            }
            for _ in 0..count % UNROLLED {
                self.step::<V, NV, KEEP>(&mut all, along);
            }
            *sums = all;
        }
    }

    /// One step.
    ///
    /// # Safety
    /// As for [`steps`](Self::steps), with one step.
    #[inline(always)]
    unsafe fn step<V: Vector<Elem = F>, const NV: usize, const KEEP: bool>(
        &mut self,
        sums: &mut [[V::Sum; NV]; MR],
        [along_a, along_b]: [isize; 2],
    ) {
        // SAFETY: the caller's promises: a step's factors are there to be read, and there is room for those of b.
        unsafe {
            let mut right = [V::load(self.from_b); NV];
            for (j, right) in right.iter_mut().enumerate().skip(1) {
                *right = V::load(self.from_b.add(j * V::LANES));
            }
            if KEEP {
                prefetch(self.from_b.wrapping_offset(FAR * along_b), NV * V::LANES);
                for (j, right) in right.iter().enumerate() {
                    right.store(self.kept.add(j * V::LANES));
                }
                self.kept = self.kept.wrapping_add(ACROSS * V::LANES);
            } else if is_wide::<F>(V::LANES) {
                prefetch(self.from_b.wrapping_offset(NEAR * along_b), NV * V::LANES);
            }
            for (sums, at) in sums.iter_mut().zip(&mut self.at) {
                let left = V::splat(at.read());
                for (sum, &right) in sums.iter_mut().zip(&right) {
                    *sum = sum.plus_product(left, right);
                }
                *at = at.wrapping_offset(along_a);
            }
            self.from_b = self.from_b.wrapping_offset(along_b);
        }
    }
}

/// Whether a vector has 64 bytes. A step of such takes so little time that even the second-level cache has to be asked ahead.
const fn is_wide<F>(lanes: usize) -> bool {
    lanes * size_of::<F>() == 64
}

/// Steps that stand in the loop where all strides are known.
const UNROLLED: usize = 4;

/// Steps ahead of which a b is asked for that is read where it is.
const FAR: isize = 16;
/// Steps ahead of which a sliver of b is asked for from the second-level cache.
const NEAR: isize = 8;

/// Steps up to which a tile is finished too soon to ask for its memory ahead.
const SHORT: usize = 128;

/// The most lanes of any vector: 64 bytes of i16.
pub(super) const MAX_LANES: usize = 32;
