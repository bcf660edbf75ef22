//! Pointwise programs on tiles.
//!
//! A tile is a few hundred elements. Each instruction of a program runs as a [kernel] over a whole tile before the next one
//! starts, so intermediate values never leave the first-level cache, and what it costs to find the next kernel is
//! forgotten over a tile's elements. Inputs and outputs that lie densely are read and written in place; others are gathered
//! and scattered tile by tile.
//!
//! - `walk`: which axes there are once those that lie densely behind each other are one;
//! - `plan`: which kernels run, and where their operands are;
//! - `job`: how operands are accessed, and how large tiles are;
//! - `run`: the loop over tiles, on as many threads as are worth it;
//! - `lookup`, `float`, `int`, `element`: the kernels of every operation and dtype;
//! - `small`: the same for small dense programs, without a plan;
//! - `chain`: several operations in one loop;
//! - `line`, `registers`: runs of cheap operations, whose values stay in registers;
//! - `formula`: whole programs as one loop; `halves`: cheap ones on f16 and bf16 as one line;
//! - `copy`: what only moves elements, without a plan;
//! - `by_rows`: programs that are prepared once, and run for some rows at a time;
//! - `leaves`: coordinates and random bits; `moves`: gathering and scattering.

pub(crate) mod by_rows;
mod chain;
mod copy;
pub(crate) mod element;
mod float;
pub(crate) mod formula;
mod halves;
mod int;
mod job;
pub(crate) mod kernel;
mod leaves;
pub(crate) mod line;
mod lookup;
pub(crate) mod moves;
mod plan;
pub(crate) mod registers;
mod run;
mod small;
pub(crate) mod walk;

pub(crate) use run::pointwise;
