//! Programs that are prepared once and run for some rows at a time, when their turn comes.

use super::job::{Access, Job};
use super::run::Worker;
use super::walk::{Odometer, Operand, Walk};
use crate::vecmath::Level;
use std::ops::Range;
use tensor_core::shape::Dims;
use tensor_core::{Program, Result, Shape};

/// Where an operand's elements lie.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// The first row's first one.
    pub(crate) at: *mut u8,
    /// Bytes of an element.
    pub(crate) size: usize,
    /// Elements from a row to the next one.
    pub(crate) row: isize,
    /// Elements from one to the next along the row: 1 or 0.
    pub(crate) column: isize,
}

/// The way over `rows` rows of a program's output and its inputs; a row has one element where there is no `length`.
///
/// There are two rows at least: with one, what is the same for all of them would be taken for something that never changes.
pub(crate) fn walk(rows: usize, length: Option<usize>, places: impl Iterator<Item = Place>) -> Walk {
    assert!(rows > 1, "a single row is no business of blocks");
    let dims: Dims<usize> = [rows].into_iter().chain(length).collect();
    let operands = places.map(|place| {
        let strides = [place.row, place.column];
        // What a block reads is in the cache already, so nothing is asked for ahead of its turn: no memory is large.
        Operand { base: place.at, size: place.size, memory: 0, strides: Dims::from_slice(&strides[..dims.len()]) }
    });
    let operands = operands.collect();
    Walk { len: dims.iter().product(), dims, operands, linear: false }
}

/// A program of one output that is ready to run for any rows.
pub(crate) struct Ready<'a>(Job<'a>);

impl<'a> Ready<'a> {
    /// Prepares a program for what `walk` gave. An output of `stream_bytes` is written past the caches.
    ///
    /// # Errors
    /// If there is no memory.
    pub(crate) fn new(level: Level, program: &Program, walk: &'a mut Walk, stream_bytes: usize) -> Result<Self> {
        let shape = Shape::new(&walk.dims)?;
        let in_place = [false; tensor_core::program::MAX_INPUTS];
        let in_place = &in_place[..walk.operands.len() - 1];
        let job = Job::new(level, program, &shape, walk, 1, in_place, |_| true, stream_bytes)?;
        debug_assert!(job.access.iter().all(|&(access, _)| access != Access::Gather && access != Access::Panel));
        Ok(Self(job))
    }

    /// Whether [`end_streams`](super::moves::end_streams) must follow.
    pub(crate) fn streams(&self) -> bool {
        self.0.access[0].0 == Access::Stream
    }

    /// What one thread needs to run it.
    ///
    /// # Errors
    /// If there is no memory.
    pub(crate) fn runner(&'a self) -> Result<Runner<'a>> {
        Ok(Runner(Worker::new(&self.0)?))
    }
}

/// A program and one thread's memory for it.
pub(crate) struct Runner<'a>(Worker<'a>);

impl Runner<'_> {
    /// Runs it for the rows of these numbers.
    ///
    /// # Safety
    /// The operands' memory holds these rows; nobody else accesses those of the output meanwhile, nor writes the inputs'.
    pub(crate) unsafe fn run(&mut self, rows: Range<usize>) {
        let job = self.0.job();
        if job.walk.dims.len() > 1 {
            self.0.run_rows(rows.start * job.tiles_per_row..rows.end * job.tiles_per_row);
            return;
        }
        for first in rows.clone().step_by(job.tile) {
            self.0.run_group(&Odometer::at(0, &[]), &[], first, job.tile.min(rows.end - first));
        }
    }

    /// [`run`](Self::run), but the results of row 0 would lie at `output`.
    ///
    /// # Safety
    /// As for `run`.
    pub(crate) unsafe fn run_into(&mut self, rows: Range<usize>, output: *mut u8) {
        self.0.first = output;
        // SAFETY: the caller's promise.
        unsafe { self.run(rows) }
    }
}
