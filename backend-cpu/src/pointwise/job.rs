//! What all threads that run a program share: how operands are accessed, how large tiles are, and where scratch memory lies.

use super::kernel::{Call, OPERANDS, SPLAT};
use super::moves::{self, gather};
use super::plan::{Memory, Plan, Source};
use super::registers;
use super::walk::Walk;
use crate::vecmath::Level;
use crate::{Buffer, Cpu};
use smallvec::SmallVec;
use tensor_core::{Backend, Program, Result, Shape};

/// What a tile's values may take of the first-level cache, in bytes. The smallest caches hold 32 KiB.
const TILE_BYTES: usize = 24 << 10;

/// The most elements of a tile: beyond, the cost of finding kernels is forgotten anyway.
const MAX_TILE: usize = 2048;

/// The elements of a tile that needs no cache, as one loop goes over it: it only matters to how work is spread.
const ONE_LOOP_TILE: usize = 1 << 14;

/// The fewest elements of a tile, whatever that takes of the cache.
const MIN_TILE: usize = 256;

/// The bytes of a run along the axis in which a transposed operand is dense: a cache line.
const PANEL_BYTES: usize = 64;

/// From how many steps on.
const AHEAD_STEPS: usize = 3;

/// How a tile's elements of an operand are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
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
pub(super) struct Job<'a> {
    pub(super) level: Level,
    pub(super) plan: Plan,
    pub(super) walk: &'a Walk,
    /// The number of outputs; their operands come first.
    pub(super) outputs: usize,
    /// Whether there are so many steps that memory can work ahead meanwhile. (Asking it all at once only takes time.)
    pub(super) is_long: bool,
    /// How each operand of the walk is accessed, and where its scratch memory begins.
    pub(super) access: SmallVec<[(Access, usize); 8]>,
    /// The operand that holds the elements' numbers, if there is one.
    pub(super) numbers: Option<usize>,
    /// Elements of a tile, but for the last of a row.
    pub(super) tile: usize,
    /// How many rows share a panel.
    pub(super) panel_rows: usize,
    /// How many tiles a row has, or all elements where tiles run over rows' ends.
    pub(super) tiles_per_row: usize,
    /// The number of pieces of work: tiles, or columns of tiles under a panel.
    pub(super) items: usize,
    /// The values that are the same for all elements, [`SPLAT`] times 8 bytes for each.
    pub(super) constants: Option<Buffer>,
    /// Where the scratch tiles begin, and how many bytes of scratch memory there are.
    pub(super) tiles_at: usize,
    pub(super) scratch_bytes: usize,
}

// SAFETY: the raw pointers in the walk's operands point to buffers that outlive the job. Inputs are only read. Outputs are
// written by several threads, but every element by one only: the threads' items are different, and an output touches no
// element twice.
unsafe impl Sync for Job<'_> {}

impl<'a> Job<'a> {
    pub(super) fn new(
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
        let memory = Memory {
            uniform: &uniform,
            in_place,
            direct: &direct,
            streamed: &streamed,
            dims: shape.dims(),
            lines: registers::are_for(level),
        };
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
        let in_memory = |access| matches!(access, Access::Direct | Access::Stream | Access::None);
        let is_one_loop = self.plan.steps.len() == 1 && self.access.iter().all(|&(access, _)| in_memory(access));
        let most =
            if is_one_loop { ONE_LOOP_TILE } else { (TILE_BYTES / bytes.max(1)).clamp(MIN_TILE, MAX_TILE) & !63 };
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
    pub(super) fn tile_pitch(&self) -> usize {
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
