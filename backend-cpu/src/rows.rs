//! Computations over rows, some rows at a time: all steps pass over what is in the cache then.
//!
//! Each step is prepared once. A thread takes a block of rows, does every step on it, and goes on to the next block; what
//! steps give for each row lies in memory of its own until the end, where a later step finds it by the row's number. No
//! result depends on which rows are in a block.

use crate::number::for_size;
use crate::parallel::for_each;
use crate::pointwise::by_rows::{self, Place, Ready, Runner};
use crate::pointwise::line::Straight;
use crate::pointwise::moves;
use crate::pointwise::registers::{At, Group, Groups};
use crate::pointwise::walk::Walk;
use crate::reduce::lines::{self, Operand, Operands, Values};
use crate::strided::{Axes, Source, Target, axes_of, merge};
use crate::vecmath::Level;
use crate::{Buffer, Cpu};
use smallvec::SmallVec;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};
use tensor_core::rows::{RowKind, RowSpec, RowStep, by_steps};
use tensor_core::{Backend, DType, ReduceOp, Result, View, ViewMut};

/// Rows shorter than this are better reduced side by side.
const SHORTEST: usize = 64;
/// Fewer rows than this are too few to be spread over threads.
const FEWEST: usize = 16;
/// Less input than this stays in the cache anyway.
const LEAST_BYTES: usize = 1 << 17;
/// What a block reads at most: half the second-level cache of smaller processors. With few rows it is down to a quarter, so that
/// there are blocks for all threads.
const BLOCK_BYTES: usize = 1 << 17;
/// The longest row that a block may consist of.
const LONGEST_BYTES: usize = 1 << 18;
/// Blocks that a thread takes at a time, at most.
const AT_ONCE: usize = 8;
/// What is computed of rows before it is reduced, where that is not done tile by tile.
const SCRATCH_BYTES: usize = 1 << 14;

/// See [`Backend::rows`].
pub(crate) fn rows(cpu: &Cpu, spec: &RowSpec<'_>, inputs: &[View<'_, Cpu>], mut out: ViewMut<'_, Cpu>) -> Result<()> {
    match Rows::new(spec, inputs) {
        Some(rows) => rows.run(cpu, spec, &mut out),
        None => by_steps(cpu, spec, inputs, out),
    }
}

/// Rows that lie evenly apart, and the inputs that have an element for each along them.
struct Rows {
    rows: usize,
    length: usize,
    /// Where each value lies: the inputs, then what steps give for each row.
    values: SmallVec<[Place; 16]>,
    /// The bytes of a row, of all inputs together that have rows of their own.
    row_bytes: usize,
}

impl Rows {
    /// `None` where one step after another is as good or better, or the rows do not lie evenly.
    fn new(spec: &RowSpec<'_>, inputs: &[View<'_, Cpu>]) -> Option<Self> {
        let dims = spec.shape.dims();
        let kept = dims.len() - spec.axes.len();
        let is_last = spec.axes.iter().copied().eq(kept..dims.len());
        let (rows, length) = (dims[..kept].iter().product::<usize>(), dims[kept..].iter().product::<usize>());
        if !is_last || rows < FEWEST || length < SHORTEST {
            return None;
        }
        let (mut values, mut row_bytes) = (SmallVec::new(), 0);
        for view in inputs {
            let strides = view.layout.strides();
            let row = step_of(axes_of(dims, [strides], |axis| axis < kept))?;
            let column = step_of(axes_of(dims, [strides], |axis| axis >= kept))?;
            if !(0..2).contains(&column) {
                return None;
            }
            if row != 0 && column != 0 {
                row_bytes += length * view.dtype.size();
            }
            let size = view.dtype.size();
            let first = for_size!(view.dtype, T => Source::<u8>::bytes::<T>(view));
            values.push(Place { at: first.at(0).cast_mut(), size, row, column });
        }
        let arg = |step: &RowStep| matches!(step.kind, RowKind::Reduce(op) if op.gives_index());
        let fits = (1..=LONGEST_BYTES).contains(&row_bytes) && rows * row_bytes >= LEAST_BYTES;
        (fits && !spec.steps.iter().any(arg)).then_some(Self { rows, length, values, row_bytes })
    }

    fn run(mut self, cpu: &Cpu, spec: &RowSpec<'_>, out: &mut ViewMut<'_, Cpu>) -> Result<()> {
        let level = cpu.level();
        let inputs = self.values.len();
        let (last, steps) = spec.steps.split_last().expect("a computation has steps");
        // What steps give for each row, all in one buffer.
        let rows = self.rows;
        let bytes = |step: &RowStep| (rows * step.dtype().size()).next_multiple_of(64);
        let mut held = cpu.alloc(steps.iter().map(bytes).sum())?;
        let mut at = held.as_mut_ptr();
        for step in steps {
            self.values.push(Place { at, size: step.dtype().size(), row: 1, column: 0 });
            at = at.wrapping_add(bytes(step));
        }
        let by_element = last.kind == RowKind::Elements;
        let row = if by_element { self.length as isize } else { 1 };
        let at = Target::<u8>::bytes(out).at(0);
        self.values.push(Place { at, size: last.dtype().size(), row, column: isize::from(by_element) });
        let mut ways: SmallVec<[Way; 8]> =
            spec.steps.iter().enumerate().map(|(number, step)| self.way(level, step, inputs + number)).collect();
        let prepared = ways.iter_mut().zip(spec.steps).enumerate().map(|(number, (way, step))| {
            let to = self.values[inputs + number];
            Ok(match way {
                Way::Values(values) => Prepared::Values(values, reduction(step), Target::from_ptr(to.at)),
                Way::Line(line) => Prepared::Line(line),
                Way::Program(walk) => {
                    let is_kept = matches!(step.kind, RowKind::Reduce(_));
                    let stream_bytes = if is_kept { usize::MAX } else { moves::STREAM_BYTES };
                    let ready = Ready::new(level, &step.program, walk, stream_bytes)?;
                    if is_kept {
                        Prepared::Computed(ready, reduction(step), Target::from_ptr(to.at))
                    } else {
                        Prepared::Program(ready)
                    }
                }
            })
        });
        let prepared = prepared.collect::<Result<SmallVec<[Prepared<'_>; 8]>>>()?;
        let single = self.values[..inputs].iter().filter(|place| place.row != 0 && place.column != 0).count() == 1;
        Blocks { cpu, length: self.length, steps: &prepared, asks_ahead: single }.run(self.rows, self.row_bytes)
    }

    /// How a step is done whose values have this number.
    fn way(&self, level: Level, step: &RowStep, number: usize) -> Way {
        let reads = step.reads.iter().map(|&read| self.values[usize::from(read)]);
        match step.kind {
            RowKind::Elements if let Some(line) = self.line(level, step, number) => Way::Line(Box::new(line)),
            RowKind::Rows | RowKind::Elements => {
                let length = (step.kind == RowKind::Elements).then_some(self.length);
                let places = [self.values[number]].into_iter().chain(reads);
                Way::Program(Box::new(by_rows::walk(self.rows, length, places)))
            }
            RowKind::Reduce(_) => {
                let operands: Operands = reads.clone().map(operand).collect();
                let values = match operands[..] {
                    [Operand::Lines { at, step: apart, varies: true, .. }] if step.program.is_copy() => {
                        Some(Values::elements(at, apart))
                    }
                    _ => Values::computed(level, &step.program, &operands),
                };
                values.map_or_else(
                    || {
                        // It goes to scratch memory, which each thread has of its own.
                        let at = NonNull::dangling().as_ptr();
                        let to = Place { at, size: step.dtype().size(), row: self.length as isize, column: 1 };
                        let places = [to].into_iter().chain(reads);
                        Way::Program(Box::new(by_rows::walk(self.rows, Some(self.length), places)))
                    },
                    Way::Values,
                )
            }
        }
    }
}

impl Rows {
    /// A step that computes elements as a line, if its program is one.
    fn line(&self, level: Level, step: &RowStep, number: usize) -> Option<ElementLine> {
        let reads: SmallVec<[Place; 4]> = step.reads.iter().map(|&read| self.values[usize::from(read)]).collect();
        let to = self.values[number];
        let row = self.length * to.size;
        // A row must begin where a line of the cache does.
        let streams =
            moves::STREAMS && self.rows * row >= moves::STREAM_BYTES && (to.at.addr() | row).is_multiple_of(64);
        let straight = Straight::of(level, &step.program, |read| reads[read].column != 0, streams)?;
        let reads = reads.into_iter().zip(step.program.inputs()).map(|(place, &dtype)| (place, dtype)).collect();
        Some(ElementLine { straight, to, reads, streams })
    }
}

/// Elements that one loop computes.
struct ElementLine {
    straight: Straight,
    to: Place,
    /// What the program reads, and how it is stored.
    reads: SmallVec<[(Place, DType); 4]>,
    /// Whether [`end_streams`](moves::end_streams) must follow.
    streams: bool,
}

// SAFETY: the places' memory outlives the computation, which only writes that of its own rows of the result.
unsafe impl Sync for ElementLine {}

impl ElementLine {
    /// Computes the elements of some rows.
    ///
    /// # Safety
    /// The operands' memory holds these rows; nobody else accesses those of the result meanwhile, nor writes the others'.
    unsafe fn run(&self, rows: Range<usize>, length: usize, groups: &mut Groups) {
        groups.resize(self.reads.len(), Group::EMPTY);
        for row in rows {
            let at = |place: &Place| place.at.wrapping_offset(row as isize * place.row * place.size as isize);
            for (group, (place, dtype)) in groups.iter_mut().zip(&self.reads) {
                if place.column == 0 {
                    // SAFETY: each row has an element of this dtype.
                    unsafe { group.repeat_stored(at(place), *dtype) }
                }
            }
            let input = |number: usize| match &self.reads[number].0 {
                place if place.column == 0 => At { at: groups[number].as_ptr().cast_mut(), moves: false },
                place => At { at: at(place), moves: true },
            };
            // SAFETY: the row's elements, which the result's do not overlap; where they are streamed, each row begins at a
            // multiple of 64.
            unsafe { self.straight.fill(at(&self.to), length, input) }
        }
    }
}

/// The step along some axes of a tensor, if one leads through them all: 0 if there is only one place.
fn step_of(mut axes: Axes<1>) -> Option<isize> {
    merge(&mut axes);
    match axes[..] {
        [] => Some(0),
        [axis] => Some(axis.steps[0]),
        _ => None,
    }
}

fn operand(Place { at, size, row, column }: Place) -> Operand {
    Operand::Lines { at, step: row * size as isize, varies: column != 0, half: None }
}

/// What a reducing step does, and to what.
fn reduction(step: &RowStep) -> (ReduceOp, DType) {
    match step.kind {
        RowKind::Reduce(op) => (op, step.dtype()),
        RowKind::Rows | RowKind::Elements => unreachable!("only reductions have an operation"),
    }
}

/// How a step is done.
enum Way {
    /// It reduces what is computed tile by tile.
    Values(Values),
    /// It computes elements in one loop.
    Line(Box<ElementLine>),
    /// It runs a program.
    Program(Box<Walk>),
}

/// A step that is ready to be done for any rows.
enum Prepared<'a> {
    /// Reduces values to this place.
    Values(&'a Values, (ReduceOp, DType), Target<u8>),
    /// Reduces what a program computes.
    Computed(Ready<'a>, (ReduceOp, DType), Target<u8>),
    /// Computes elements.
    Line(&'a ElementLine),
    /// Runs a program.
    Program(Ready<'a>),
}

impl Prepared<'_> {
    fn runner(&self) -> Result<Option<Runner<'_>>> {
        match self {
            Self::Values(..) | Self::Line(_) => Ok(None),
            Self::Computed(ready, ..) | Self::Program(ready) => ready.runner().map(Some),
        }
    }
}

/// All steps, for all threads.
struct Blocks<'a> {
    cpu: &'a Cpu,
    length: usize,
    steps: &'a [Prepared<'a>],
    /// Whether the next rows are asked for while these are computed. Where they come from several places, that takes longer than
    /// to leave it to the processor.
    asks_ahead: bool,
}

impl Blocks<'_> {
    fn run(&self, rows: usize, row_bytes: usize) -> Result<()> {
        // Enough blocks to even out what else the machine does, but none that is not worth beginning.
        let enough = 4 * rayon::current_num_threads();
        let block_bytes = (rows * row_bytes / enough).clamp(BLOCK_BYTES / 4, BLOCK_BYTES);
        let block = (block_bytes / row_bytes).max(1);
        let at_once = (rows.div_ceil(block) / enough).clamp(1, AT_ONCE) * block;
        let failure = Mutex::new(None);
        for_each(rows.div_ceil(at_once), |task| {
            let first = task * at_once;
            if let Err(error) = self.some(first..rows.min(first + at_once), block) {
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// Does all steps for some rows, on this thread, `block` rows at a time.
    fn some(&self, rows: Range<usize>, block: usize) -> Result<()> {
        let runners: Result<SmallVec<[Option<Runner<'_>>; 8]>> = self.steps.iter().map(Prepared::runner).collect();
        let (mut runners, mut tile, mut scratch) = (runners?, lines::Scratch::new(), None);
        let mut groups = Groups::new();
        for first in rows.clone().step_by(block) {
            let rows = first..rows.end.min(first + block);
            for (step, runner) in self.steps.iter().zip(&mut runners) {
                match (step, runner) {
                    // SAFETY: inputs have all rows, and nobody writes them. What steps give has a place for each row, and
                    // only this task accesses those of its rows.
                    (&Prepared::Values(values, reduction, to), _) => unsafe {
                        let ahead = if self.asks_ahead { rows.len() } else { 0 };
                        let lines = (rows.clone(), ahead);
                        values.reduce(self.cpu.level(), reduction, lines, self.length, to.at(0), &mut tile);
                    },
                    // SAFETY: as above.
                    (Prepared::Line(line), _) => unsafe { line.run(rows.clone(), self.length, &mut groups) },
                    // SAFETY: as above.
                    (Prepared::Program(_), Some(runner)) => unsafe { runner.run(rows.clone()) },
                    (&Prepared::Computed(_, reduction, to), Some(runner)) => {
                        self.computed(runner, reduction, rows.clone(), to, &mut scratch, &mut tile)?;
                    }
                    (Prepared::Program(_) | Prepared::Computed(..), None) => unreachable!("programs have runners"),
                }
            }
        }
        let streams = |step: &Prepared<'_>| match step {
            Prepared::Program(ready) => ready.streams(),
            Prepared::Line(line) => line.streams,
            Prepared::Values(..) | Prepared::Computed(..) => false,
        };
        if self.steps.iter().any(streams) {
            moves::end_streams();
        }
        Ok(())
    }

    /// Reduces what a program computes of some rows, a few rows at a time.
    fn computed(
        &self,
        runner: &mut Runner<'_>,
        (op, dtype): (ReduceOp, DType),
        rows: Range<usize>,
        to: Target<u8>,
        scratch: &mut Option<Buffer>,
        tile: &mut lines::Scratch,
    ) -> Result<()> {
        let row = self.length * dtype.size();
        let few = (SCRATCH_BYTES / row).max(1);
        let bytes = few * row;
        if scratch.as_ref().is_none_or(|scratch| scratch.size() < bytes) {
            *scratch = Some(self.cpu.alloc(bytes)?);
        }
        let at = scratch.as_mut().map_or(std::ptr::null_mut(), Buffer::as_mut_ptr);
        for first in rows.clone().step_by(few) {
            let rows = first..rows.end.min(first + few);
            let first = at.wrapping_sub(first * row);
            // SAFETY: as in `some`; the scratch memory is this thread's alone, and holds `few` rows, beginning with the first
            // of these.
            unsafe {
                runner.run_into(rows.clone(), first);
                let values = Values::elements(first, row as isize);
                values.reduce(self.cpu.level(), (op, dtype), (rows, 0), self.length, to.at(0), tile);
            }
        }
        Ok(())
    }
}
