//! The loop over tiles.

use super::copy;
use super::formula;
use super::halves;
use super::job::{Access, Job};
use super::kernel::{Call, SPLAT, STREAMED, STREAMED_LONG};
use super::leaves::{self, Random};
use super::moves::{self, gather, gather_panel, scatter};
use super::plan::{Lane, Step};
use super::registers::{self, At};
use super::small;
use super::walk::{Odometer, Tensor, Walk};
use crate::vecmath::Level;
use crate::{Buffer, Cpu, parallel};
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use tensor_core::{Backend, DType, Input, Program, Result, Shape, ViewMut};

/// The nanoseconds of one thread's work that are worth handing to another.
const WORTH_NS: usize = 20_000;

/// From how many bytes on an input is asked for ahead of its turn: smaller ones are likely to be in the cache.
const AHEAD_BYTES: usize = 1 << 20;

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
    if small::run(level, program, shape.numel(), inputs, outputs) {
        return Ok(());
    }
    if halves::run(level, program, shape.numel(), inputs, outputs) {
        return Ok(());
    }
    planned(level, program, shape, inputs, outputs, moves::STREAM_BYTES)
}

/// Into how many tasks so many elements are divided, of which a thousand take `cost` nanoseconds, and one meets so many bytes of
/// memory.
pub(super) fn tasks(len: usize, cost: usize, bytes: usize) -> usize {
    // A byte of memory traffic takes about as long as a twentieth of a nanosecond.
    let cost = len / 64 * (cost + 50 * bytes) / 16;
    // Small pieces even out what else the machine does; each must be worth waking up for.
    (cost / WORTH_NS).clamp(1, 4 * rayon::current_num_threads())
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
    let tasks = tasks(job.walk.len, job.plan.cost, bytes).min(job.items);
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

impl Job<'_> {
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

/// A pointer and whether it moves with the elements.
#[derive(Clone, Copy)]
struct LaneState {
    at: *mut u8,
    step: usize,
}

/// What one thread has for itself.
pub(super) struct Worker<'a> {
    job: &'a Job<'a>,
    lanes: SmallVec<[LaneState; 24]>,
    /// Keeps the scratch memory alive; the lanes and `scratch_at` point into it.
    _scratch: Option<Buffer>,
    scratch_at: *mut u8,
    /// The lanes whose tile needs no gathering any more, as bits.
    filled: u32,
    /// Where the first operand's first element lies: the job's, unless the worker has one of its own.
    pub(super) first: *mut u8,
    /// What the next tile reads from memory: the first byte, and how many.
    ahead: SmallVec<[(*const u8, usize); 4]>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(job: &'a Job<'a>) -> Result<Self> {
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
        let first = job.walk.operands.first().map_or(std::ptr::null_mut(), |operand| operand.base);
        Ok(Self { job, lanes, _scratch: scratch, scratch_at, filled: 0, first, ahead: SmallVec::new() })
    }

    /// What it works on.
    pub(super) fn job(&self) -> &'a Job<'a> {
        self.job
    }

    /// Tiles that lie within rows.
    pub(super) fn run_rows(&mut self, items: Range<usize>) {
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
    pub(super) fn run_group(&mut self, position: &Odometer, groups: &[usize], first: usize, count: usize) {
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
                    let base = if lane == 0 { self.first } else { operand.base };
                    base.wrapping_offset(step * operand.size as isize)
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
                    let base = if lane == 0 { self.first } else { operand.base };
                    let dst = base.wrapping_offset(step * operand.size as isize);
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
                Step::Line { first, end, size } => {
                    let codes = &self.job.plan.codes[first as usize..end as usize];
                    let at = |lane: Lane| At { at: lanes[lane as usize].at, moves: lanes[lane as usize].step != 0 };
                    // SAFETY: lines are only planned for levels that have them. Their lanes hold `count` floats of this
                    // size, or `SPLAT` repeated ones. Results go to tiles that no operand lies in, and to outputs that no
                    // input reads.
                    unsafe { registers::run(self.job.level, codes, None, size as usize, count, at) }
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
