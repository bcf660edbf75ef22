//! The loop over tiles.

use super::copy;
use super::formula;
use super::kernel::{Call, OPERANDS, SPLAT, STREAMED, STREAMED_LONG};
use super::leaves::{self, Random};
use super::moves::{self, gather, gather_panel, scatter};
use super::plan::{Memory, Plan, Source, Step};
use super::small;
use super::walk::{Odometer, Tensor, Walk};
use crate::vecmath::Level;
use crate::{Buffer, Cpu, parallel};
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use tensor_core::{Backend, DType, Input, Program, Result, Shape, ViewMut};

/// What a tile's values may take of the first-level cache, in bytes. The smallest caches hold 32 KiB.
const TILE_BYTES: usize = 24 << 10;

/// The most elements of a tile: beyond, the cost of finding kernels is forgotten anyway.
const MAX_TILE: usize = 2048;

/// The fewest elements of a tile, whatever that takes of the cache.
const MIN_TILE: usize = 256;

/// The nanoseconds of one thread's work that are worth handing to another.
const WORTH_NS: usize = 50_000;

/// The bytes of a run along the axis in which a transposed operand is dense: a cache line.
const PANEL_BYTES: usize = 64;

/// From how many bytes on an input is asked for ahead of its turn: smaller ones are likely to be in the cache.
const AHEAD_BYTES: usize = 1 << 20;

/// From how many steps on.
const AHEAD_STEPS: usize = 3;

/// See [`Backend::pointwise`].
pub(crate) fn pointwise(
    level: Level,
    program: &Program,
    shape: &Shape,
    inputs: &[Input<'_, Cpu>],
    outputs: &mut [ViewMut<'_, Cpu>],
) -> Result<()> {
    if formula::run(level, program, shape.numel(), inputs, outputs) {
        return Ok(());
    }
    if small::run(level, program, shape.numel(), inputs, outputs)? {
        return Ok(());
    }
    planned(level, program, shape, inputs, outputs, moves::STREAM_BYTES)
}

/// Any program.
#[inline(never)]
pub(super) fn planned(
    level: Level,
    program: &Program,
    shape: &Shape,
    inputs: &[Input<'_, Cpu>],
    outputs: &mut [ViewMut<'_, Cpu>],
    stream_bytes: usize,
) -> Result<()> {
    let mut tensors: SmallVec<[Tensor<'_>; 4]> = SmallVec::new();
    for out in outputs.iter_mut() {
        tensors.push(Tensor {
            bytes: out.buffer.size(),
            memory: out.buffer.as_mut_ptr(),
            layout: out.layout,
            size: out.dtype.size(),
        });
    }
    for input in inputs {
        tensors.push(match input {
            Input::View(view) => Tensor {
                memory: view.buffer.as_ptr().cast_mut(),
                bytes: view.buffer.size(),
                layout: view.layout,
                size: view.dtype.size(),
            },
            Input::Output(number) => tensors[*number],
        });
    }
    let mut walk = Walk::new(shape, &tensors, program.uses_position());
    if program.is_copy()
        && matches!(inputs, [Input::View(view)] if view.dtype != DType::Bool)
        && copy::run(level, &mut walk, moves::STREAMS && outputs[0].buffer.size() >= stream_bytes)
    {
        return Ok(());
    }
    let in_place: SmallVec<[bool; 8]> = inputs.iter().map(|input| matches!(input, Input::Output(_))).collect();
    let is_unread = |output| !inputs.iter().any(|input| matches!(input, Input::Output(number) if *number == output));
    let job = Job::new(level, program, shape, &mut walk, outputs.len(), &in_place, is_unread, stream_bytes)?;
    let bytes: usize = job.walk.operands.iter().map(|operand| operand.size).sum();
    // A byte of memory traffic takes about as long as a twentieth of a nanosecond.
    let cost = job.walk.len / 64 * (job.plan.cost + 50 * bytes) / 16;
    // Small pieces even out what else the machine does; each must be worth waking up for.
    let tasks = (cost / WORTH_NS).clamp(1, 4 * rayon::current_num_threads()).min(job.items);
    if tasks == 1 {
        return job.run(0..job.items);
    }
    let failure = Mutex::new(None);
    parallel::for_each(tasks, |task| {
        let items = task * job.items / tasks..(task + 1) * job.items / tasks;
        if let Err(error) = job.run(items) {
            *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// How a tile's elements of an operand are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// They lie densely in memory.
    Direct,
    /// They are one element, which is repeated; for each row anew.
    Repeat,
    /// They are collected in scratch memory, a row or a short piece at a time.
    Gather,
    /// They are collected in scratch memory for several rows at a time, because they lie densely across the rows.
    Panel,
    /// They are computed in scratch memory, and go where they belong at the end.
    Scatter,
    /// They lie densely in memory and are written past the caches, because the output is too large to stay there.
    Stream,
    /// They are the same for all tiles, or there is no memory at all.
    None,
}

/// Everything that all threads share.
struct Job<'a> {
    level: Level,
    plan: Plan,
    walk: &'a Walk,
    /// The number of outputs; their operands come first.
    outputs: usize,
    /// Whether there are so many steps that memory can work ahead meanwhile. (Asking it all at once only takes time.)
    is_long: bool,
    /// How each operand of the walk is accessed, and where its scratch memory begins.
    access: SmallVec<[(Access, usize); 8]>,
    /// The operand that holds the elements' numbers, if there is one.
    numbers: Option<usize>,
    /// Elements of a tile, but for the last of a row.
    tile: usize,
    /// How many rows share a panel.
    panel_rows: usize,
    /// How many tiles a row has, or all elements where tiles run over rows' ends.
    tiles_per_row: usize,
    /// The number of pieces of work: tiles, or columns of tiles under a panel.
    items: usize,
    /// The values that are the same for all elements, [`SPLAT`] times 8 bytes for each.
    constants: Option<Buffer>,
    /// Where the scratch tiles begin, and how many bytes of scratch memory there are.
    tiles_at: usize,
    scratch_bytes: usize,
}

// SAFETY: the raw pointers in the walk's operands point to buffers that outlive the job. Inputs are only read. Outputs are
// written by several threads, but every element by one only: the threads' items are different, and an output touches no
// element twice.
unsafe impl Sync for Job<'_> {}

impl<'a> Job<'a> {
    fn new(
        level: Level,
        program: &Program,
        shape: &Shape,
        walk: &'a mut Walk,
        outputs: usize,
        in_place: &[bool],
        is_unread: impl Fn(usize) -> bool,
        stream_bytes: usize,
    ) -> Result<Self> {
        let mut access: SmallVec<[(Access, usize); 8]> = SmallVec::new();
        let mut uniform: SmallVec<[bool; 8]> = SmallVec::new();
        let (mut direct, mut streamed): (SmallVec<[bool; 4]>, SmallVec<[bool; 4]>) = Default::default();
        for (number, operand) in walk.operands.iter().enumerate() {
            let inner = operand.strides[operand.strides.len() - 1];
            let is_output = number < outputs;
            let is_direct = if walk.linear { operand.is_dense(&walk.dims) } else { inner == 1 };
            let is_uniform = !is_output && walk.len > 1 && operand.is_uniform(&walk.dims);
            let is_large = operand.size * walk.len >= stream_bytes;
            let is_streamed = moves::STREAMS && is_output && is_unread(number) && is_large && !walk.linear;
            let how = if operand.base.is_null() || is_uniform {
                Access::None
            } else if is_direct && is_streamed {
                Access::Stream
            } else if is_direct {
                Access::Direct
            } else if is_output {
                Access::Scatter
            } else if inner == 0 && !walk.linear {
                Access::Repeat
            } else {
                Access::Gather
            };
            access.push((how, 0));
            if is_output {
                direct.push(matches!(how, Access::Direct | Access::Stream) && is_unread(number));
                streamed.push(how == Access::Stream);
            } else if !operand.base.is_null() {
                uniform.push(is_uniform);
            }
        }
        let numbers = program.uses_position().then_some(walk.operands.len() - 1);
        let memory = Memory { uniform: &uniform, in_place, direct: &direct, streamed: &streamed, dims: shape.dims() };
        let plan = Plan::new(program, memory);
        let panel_rows = plan_panels(walk, &mut access);
        let is_long = plan.steps.len() >= AHEAD_STEPS;
        let mut job = Self {
            level,
            plan,
            walk,
            outputs,
            is_long,
            access,
            numbers,
            tile: 0,
            panel_rows,
            tiles_per_row: 0,
            items: 0,
            constants: None,
            tiles_at: 0,
            scratch_bytes: 0,
        };
        job.cut();
        job.constants = job.constants(program)?;
        Ok(job)
    }

    /// Decides on the tiles' size, and lays out the scratch memory.
    fn cut(&mut self) {
        let walk = self.walk;
        let row = if walk.linear { walk.len } else { walk.row() };
        let gathered = |access: Access| matches!(access, Access::Gather | Access::Scatter | Access::Panel);
        let mut bytes = self.plan.tiles * self.plan.tile_size;
        for (operand, &(access, _)) in walk.operands.iter().zip(&self.access) {
            let rows = if access == Access::Panel { self.panel_rows } else { 1 };
            let is_cached = !matches!(access, Access::None | Access::Stream);
            bytes += if is_cached { operand.size * rows } else { 0 };
        }
        let most = (TILE_BYTES / bytes.max(1)).clamp(MIN_TILE, MAX_TILE) & !63;
        // All tiles of a row are about equally long.
        let tiles = row.div_ceil(most);
        self.tile = if tiles == 1 {
            row
        } else if walk.linear {
            // Whole rows are gathered best.
            most / walk.row() * walk.row()
        } else {
            row.div_ceil(tiles).next_multiple_of(64).min(most)
        };
        self.tiles_per_row = row.div_ceil(self.tile);
        self.items = self.tiles_per_row;
        if !walk.linear {
            let outer = &walk.dims[..walk.dims.len() - 1];
            if let Some((&last, others)) = outer.split_last() {
                self.items *= others.iter().product::<usize>() * last.div_ceil(self.panel_rows);
            }
        }
        let mut at = 0;
        for (operand, (access, place)) in walk.operands.iter().zip(&mut self.access) {
            *place = at;
            at += match access {
                Access::Repeat => SPLAT * operand.size,
                Access::Panel => self.panel_rows * self.tile * operand.size,
                access if gathered(*access) => self.tile * operand.size,
                _ => 0,
            };
            at = at.next_multiple_of(64);
        }
        self.tiles_at = at;
        self.scratch_bytes = at + self.plan.tiles * self.tile_pitch();
    }

    /// The bytes from one scratch tile to the next.
    fn tile_pitch(&self) -> usize {
        (self.tile * self.plan.tile_size).next_multiple_of(64)
    }

    /// Computes what is the same for all elements.
    fn constants(&self, program: &Program) -> Result<Option<Buffer>> {
        const PITCH: usize = SPLAT * 8;
        if self.plan.constants.is_empty() {
            return Ok(None);
        }
        let mut buffer = Cpu::with_level(self.level).alloc(self.plan.constants.len() * PITCH)?;
        let base = buffer.as_mut_ptr();
        let first = self.plan.first_tile - self.plan.constants.len();
        // SAFETY: each constant has `PITCH` bytes of its own, aligned to 64, which hold `SPLAT` elements of any size. An
        // input that is the same everywhere has at least one element at its base.
        unsafe {
            for constant in &self.plan.constants {
                let at = |lane: u8| base.add((lane as usize - first) * PITCH);
                let dst = at(constant.lane);
                let call = |src: [*const u8; OPERANDS]| Call { dst, src, step: [0; OPERANDS], len: 1, streamed: 0 };
                match constant.from {
                    Source::Scalar(number, dtype) => {
                        program.scalars()[number].write(dtype, std::slice::from_raw_parts_mut(dst, 8));
                    }
                    Source::Input(number, load) => {
                        let operand = &self.walk.operands[self.outputs + number];
                        match load {
                            Some(load) => load(self.level, &call([operand.base; OPERANDS])),
                            None => dst.copy_from_nonoverlapping(operand.base, operand.size),
                        }
                    }
                    Source::Kernel(kernel, src) => {
                        let lane = |lane: u8| if lane as usize >= first { at(lane).cast_const() } else { dst };
                        kernel(self.level, &call(src.map(lane)));
                    }
                }
                if constant.repeated {
                    let count = SPLAT.min(self.tile) - 1;
                    gather(constant.size, dst.add(constant.size), dst, 0, count);
                }
            }
        }
        Ok(Some(buffer))
    }

    /// Does the items of a range, on one thread.
    fn run(&self, items: Range<usize>) -> Result<()> {
        let mut worker = Worker::new(self)?;
        if self.walk.linear {
            worker.run_linear(items);
        } else {
            worker.run_rows(items);
        }
        if self.access.iter().any(|&(access, _)| access == Access::Stream) {
            moves::end_streams();
        }
        Ok(())
    }
}

/// Finds operands that lie densely across the rows instead of along them, and lets consecutive rows follow each other in
/// that direction, so that whole cache lines can be used. Gives the number of rows that share a panel.
fn plan_panels(walk: &mut Walk, access: &mut [(Access, usize)]) -> usize {
    if walk.linear || walk.dims.len() < 2 {
        return 1;
    }
    let outer = walk.dims.len() - 1;
    let dense_axis = |strides: &[isize]| strides[..outer].iter().position(|&stride| stride == 1);
    let first = walk.operands.iter().zip(access.iter()).find_map(|(operand, (how, _))| {
        let axis = dense_axis(&operand.strides).filter(|_| *how == Access::Gather)?;
        Some((axis, operand.size))
    });
    let Some((axis, size)) = first else {
        return 1;
    };
    walk.rows_along(axis);
    for (operand, (how, _)) in walk.operands.iter().zip(access) {
        if *how == Access::Gather && operand.strides[outer - 1] == 1 {
            *how = Access::Panel;
        }
    }
    (PANEL_BYTES / size).min(walk.dims[outer - 1])
}

/// A pointer and whether it moves with the elements.
#[derive(Clone, Copy)]
struct LaneState {
    at: *mut u8,
    step: usize,
}

/// What one thread has for itself.
struct Worker<'a> {
    job: &'a Job<'a>,
    lanes: SmallVec<[LaneState; 24]>,
    /// Keeps the scratch memory alive; the lanes and `scratch_at` point into it.
    _scratch: Option<Buffer>,
    scratch_at: *mut u8,
    /// The lanes whose tile needs no gathering any more, as bits.
    filled: u32,
    /// What the next tile reads from memory: the first byte, and how many.
    ahead: SmallVec<[(*const u8, usize); 4]>,
}

impl<'a> Worker<'a> {
    fn new(job: &'a Job<'a>) -> Result<Self> {
        let mut scratch = match job.scratch_bytes {
            0 => None,
            bytes => Some(Cpu::with_level(job.level).alloc(bytes)?),
        };
        let scratch_at = scratch.as_mut().map_or(std::ptr::null_mut(), Buffer::as_mut_ptr);
        let plan = &job.plan;
        let mut lanes: SmallVec<[LaneState; 24]> = SmallVec::new();
        let operands = plan.first_tile - plan.constants.len();
        for &(access, place) in &job.access[..operands] {
            // Where the tile is the memory itself, this is overwritten for each tile.
            lanes.push(LaneState { at: scratch_at.wrapping_add(place), step: usize::from(access != Access::Repeat) });
        }
        if let Some(constants) = &job.constants {
            for number in 0..plan.constants.len() {
                let at = constants.as_ptr().cast_mut().wrapping_add(number * SPLAT * 8);
                lanes.push(LaneState { at, step: 0 });
            }
        }
        for number in 0..plan.tiles {
            let at = scratch_at.wrapping_add(job.tiles_at + number * job.tile_pitch());
            lanes.push(LaneState { at, step: 1 });
        }
        Ok(Self { job, lanes, _scratch: scratch, scratch_at, filled: 0, ahead: SmallVec::new() })
    }

    /// Tiles that lie within rows.
    fn run_rows(&mut self, items: Range<usize>) {
        let Job { walk, tile, panel_rows, tiles_per_row, .. } = *self.job;
        let (row, outer) = walk.dims.split_last().expect("a walk has an axis");
        let mut groups = walk.dims.clone();
        groups.truncate(outer.len());
        if let Some(last) = groups.last_mut() {
            *last = last.div_ceil(panel_rows);
        }
        let mut position = Odometer::at(items.start / tiles_per_row, &groups);
        let mut column = items.start % tiles_per_row;
        for _ in items {
            let first = column * tile;
            let count = tile.min(row - first);
            self.run_group(&position, &groups, first, count);
            column += 1;
            if column == tiles_per_row {
                column = 0;
                position.advance(1, &groups);
            }
        }
    }

    /// The tiles of some columns in all rows of a panel, or in one row where there are no panels.
    fn run_group(&mut self, position: &Odometer, groups: &[usize], first: usize, count: usize) {
        let job = self.job;
        let outer = groups.len();
        let panel_rows = job.panel_rows;
        // The odometer counts groups of rows: along the last outer axis it is really `panel_rows` times as far.
        let skipped_rows = if panel_rows > 1 { position.coordinate(outer - 1) * (panel_rows - 1) } else { 0 };
        let start = |strides: &[isize]| {
            let along_rows = if panel_rows > 1 { strides[outer - 1] * skipped_rows as isize } else { 0 };
            position.offset(&strides[..outer]) + along_rows + strides[outer] * first as isize
        };
        let rows = if panel_rows > 1 {
            panel_rows.min(job.walk.dims[outer - 1] - position.coordinate(outer - 1) * panel_rows)
        } else {
            1
        };
        if panel_rows > 1 {
            self.gather_panels(start, rows, count);
        }
        for row in 0..rows {
            let mut number = 0;
            self.ahead.clear();
            for (lane, (operand, &(access, place))) in job.walk.operands.iter().zip(&job.access).enumerate() {
                let strides = &operand.strides;
                let across = if rows > 1 { strides[outer - 1] * row as isize } else { 0 };
                let at = || {
                    let step = start(strides) + across;
                    operand.base.wrapping_offset(step * operand.size as isize)
                };
                match access {
                    Access::Direct | Access::Stream => {
                        self.lanes[lane].at = at();
                        if lane >= job.outputs && job.is_long && operand.memory >= AHEAD_BYTES {
                            // Most tiles are followed by what lies behind them.
                            let bytes = count * operand.size;
                            self.ahead.push((self.lanes[lane].at.cast_const().wrapping_add(bytes), bytes));
                        }
                    }
                    // SAFETY: the operand's elements lie within its buffer, and the scratch memory of a repeated element
                    // holds `SPLAT` of them, that of a gathered tile a tile.
                    Access::Repeat => unsafe {
                        gather(operand.size, self.lanes[lane].at, at(), 0, count.min(SPLAT));
                    },
                    // SAFETY: as above.
                    Access::Gather => unsafe {
                        gather(operand.size, self.lanes[lane].at, at(), strides[outer], count);
                    },
                    Access::Panel => {
                        self.lanes[lane].at = self.scratch_at.wrapping_add(place + row * job.tile * operand.size);
                    }
                    Access::Scatter => {}
                    Access::None => {
                        if job.numbers == Some(lane) {
                            number = (start(strides) + across) as usize;
                        }
                    }
                }
            }
            self.run_tile(number, count);
            for (lane, (operand, &(access, _))) in job.walk.operands.iter().zip(&job.access).enumerate() {
                if access == Access::Scatter {
                    let across = if rows > 1 { operand.strides[outer - 1] * row as isize } else { 0 };
                    let step = start(&operand.strides) + across;
                    let dst = operand.base.wrapping_offset(step * operand.size as isize);
                    let src = self.lanes[lane].at;
                    // SAFETY: the output's elements lie within its buffer, this tile's are written by this thread only,
                    // and the lane holds a tile of them.
                    unsafe { scatter(operand.size, dst, operand.strides[outer], src, count) }
                }
            }
        }
    }

    /// Fills the panels of operands that lie densely across the rows.
    fn gather_panels(&mut self, start: impl Fn(&[isize]) -> isize, rows: usize, count: usize) {
        let job = self.job;
        for (operand, &(access, place)) in job.walk.operands.iter().zip(&job.access) {
            if access == Access::Panel {
                let strides = &operand.strides;
                let src = operand.base.wrapping_offset(start(strides) * operand.size as isize);
                let dst = self.scratch_at.wrapping_add(place);
                let steps = (strides[strides.len() - 2], strides[strides.len() - 1]);
                // SAFETY: the operand's elements lie within its buffer; a panel has room for `panel_rows` tiles.
                unsafe { gather_panel(job.level, operand.size, dst, job.tile, src, steps, (rows, count)) }
            }
        }
    }

    /// Tiles that run over the ends of rows.
    fn run_linear(&mut self, items: Range<usize>) {
        let job = self.job;
        let Walk { dims, operands, len, .. } = job.walk;
        for item in items {
            let first = item * job.tile;
            let count = job.tile.min(len - first);
            for (lane, (operand, &(access, _))) in operands.iter().zip(&job.access).enumerate() {
                match access {
                    Access::Direct => self.lanes[lane].at = operand.base.wrapping_add(first * operand.size),
                    Access::Gather if self.is_filled(lane, count) => {}
                    Access::Gather => {
                        let mut dst = self.lanes[lane].at;
                        let inner = (operand.strides[dims.len() - 2], operand.strides[dims.len() - 1]);
                        for_rows(dims, &operand.strides, first, count, |step, rows, columns| {
                            let src = operand.base.wrapping_offset(step * operand.size as isize);
                            // SAFETY: the rows' elements lie within the operand's buffer; together they are a tile.
                            unsafe {
                                gather_panel(job.level, operand.size, dst, columns, src, inner, (rows, columns));
                            }
                            dst = dst.wrapping_add(rows * columns * operand.size);
                        });
                    }
                    Access::Scatter | Access::Stream | Access::None => {}
                    Access::Repeat | Access::Panel => unreachable!("short rows are gathered"),
                }
            }
            self.run_tile(first, count);
            for (lane, (operand, &(access, _))) in operands.iter().zip(&job.access).enumerate() {
                if access == Access::Scatter {
                    let mut src = self.lanes[lane].at;
                    let (outer, inner) = (operand.strides[dims.len() - 2], operand.strides[dims.len() - 1]);
                    for_rows(dims, &operand.strides, first, count, |step, rows, columns| {
                        for row in 0..rows as isize {
                            let dst = operand.base.wrapping_offset((step + row * outer) * operand.size as isize);
                            // SAFETY: the rows' elements lie within the output's buffer, and this tile's are written by
                            // this thread only; the lane holds a tile of them.
                            unsafe { scatter(operand.size, dst, inner, src, columns) }
                            src = src.wrapping_add(columns * operand.size);
                        }
                    });
                }
            }
        }
    }

    /// Whether the lane of a gathered operand holds the tile's elements already: where only the last axis matters, every
    /// tile of whole rows is the same.
    fn is_filled(&mut self, lane: usize, count: usize) -> bool {
        let job = self.job;
        let operand = &job.walk.operands[lane];
        let is_periodic = job.tile.is_multiple_of(job.walk.row())
            && operand.strides[..operand.strides.len() - 1].iter().all(|&stride| stride == 0);
        let bit = 1u32 << lane;
        if !is_periodic {
            return false;
        }
        // The first tile that a worker meets may be the last of all, which is shorter.
        let was_filled = self.filled & bit != 0;
        if count == job.tile {
            self.filled |= bit;
        }
        was_filled
    }

    /// Runs the program on a tile of `count` elements, the first of which has this row-major number.
    #[inline]
    fn run_tile(&mut self, number: usize, count: usize) {
        let lanes = &self.lanes;
        let steps = &self.job.plan.steps;
        let streamed_at_once = if self.job.is_long { STREAMED_LONG } else { STREAMED };
        // A share with each step: memory answers only so many requests at a time. Those of a step that streams stand in
        // each other's way already.
        let last_streams = matches!(steps.last(), Some(Step::Kernel { streamed: true, .. }));
        let turns = (steps.len() - usize::from(last_streams)).max(1);
        for (turn, step) in steps.iter().enumerate() {
            for &(at, bytes) in &self.ahead {
                let share = bytes.div_ceil(turns).next_multiple_of(64);
                let first = (turn * share).min(bytes);
                moves::prefetch(at.wrapping_add(first), share.min(bytes - first));
            }
            match *step {
                Step::Kernel { kernel, dst, src, streamed } => {
                    let src = src.map(|lane| lanes[lane as usize]);
                    let call = Call {
                        dst: lanes[dst as usize].at,
                        src: src.map(|lane| lane.at.cast_const()),
                        step: src.map(|lane| lane.step),
                        len: count,
                        streamed: if streamed { streamed_at_once } else { 0 },
                    };
                    // SAFETY: the lanes of the plan have elements of the types that the kernel was looked up for: `count`
                    // of them, or `SPLAT` repeated ones. The plan gives results a tile that no operand lies in, and
                    // writes an output directly only if no input reads it.
                    unsafe { kernel(self.job.level, &call) }
                }
                Step::Iota { dst, inner, size } => {
                    // SAFETY: coordinates go to a lane of i64 with `count` elements.
                    let dst = unsafe { std::slice::from_raw_parts_mut(lanes[dst as usize].at.cast::<i64>(), count) };
                    leaves::iota(dst, number, inner, size);
                }
                Step::Random { seed, stream, dst } => {
                    let dst = dst.map(|lane| {
                        let lane = lanes[lane? as usize].at.cast::<i64>();
                        // SAFETY: random words go to lanes of i64 with `count` elements, each to a different one.
                        Some(unsafe { std::slice::from_raw_parts_mut(lane, count) })
                    });
                    Random { seed, stream, first: number as u64, dst }.run(self.job.level);
                }
            }
        }
    }
}

/// Calls `f` for `count` elements from `first` on, piece by piece in order: with the step to a piece's first element, its
/// rows and its columns. A piece is some whole rows along the last axis but one, or a part of one row.
fn for_rows(dims: &[usize], strides: &[isize], first: usize, count: usize, mut f: impl FnMut(isize, usize, usize)) {
    let (outer, inner) = (dims.len() - 2, dims.len() - 1);
    let row = dims[inner];
    let mut position = Odometer::at(first, dims);
    let mut left = count;
    while left > 0 {
        let (at_row, at_column) = (position.coordinate(outer), position.coordinate(inner));
        let step = position.offset(strides);
        if at_column == 0 && left >= row {
            let rows = (left / row).min(dims[outer] - at_row);
            f(step, rows, row);
            left -= rows * row;
            position.advance_rows(rows, dims);
        } else {
            let columns = left.min(row - at_column);
            f(step, 1, columns);
            left -= columns;
            position.advance(columns, dims);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor_core::op::BinaryOp;
    use tensor_core::{Layout, Scalar, View};

    /// Streaming is only another way to write: with a bound that every output reaches, nothing changes.
    #[test]
    fn streamed_outputs_are_the_same() {
        for &level in Level::available() {
            let cpu = Cpu::with_level(level);
            for (rows, columns) in [(1, 1), (3, 65), (70, 300), (300, 70), (1, 50_000)] {
                for dtype in [DType::U8, DType::F16, DType::F32, DType::F64] {
                    let shape = Shape::new([rows, columns]).unwrap();
                    let layout = Layout::contiguous(shape.clone());
                    let across = Layout::contiguous(Shape::new([columns, rows]).unwrap()).transpose(0, 1).unwrap();
                    let bytes = rows * columns * dtype.size();
                    let mut operand = cpu.alloc(bytes).unwrap();
                    for (number, element) in operand.bytes_mut().chunks_exact_mut(dtype.size()).enumerate() {
                        Scalar::Int(number as i64 % 100).write(dtype, element);
                    }
                    let mut program = Program::new();
                    let (a, b) = (program.input(dtype), program.input(dtype));
                    let sum = program.binary(BinaryOp::Add, a, b);
                    program.output(sum);
                    program.output(b);
                    let inputs = [&layout, &across].map(|layout| Input::View(View { buffer: &operand, layout, dtype }));
                    let results = [1, usize::MAX].map(|stream_bytes| {
                        let mut buffers = [cpu.alloc(bytes).unwrap(), cpu.alloc(bytes).unwrap()];
                        let mut outputs = buffers.each_mut().map(|buffer| ViewMut { buffer, layout: &layout, dtype });
                        planned(level, &program, &shape, &inputs, &mut outputs, stream_bytes).unwrap();
                        buffers.map(|buffer| buffer.bytes().to_vec())
                    });
                    assert_eq!(results[0], results[1], "{rows} × {columns} {dtype}, {level:?}");
                }
            }
        }
    }
}
