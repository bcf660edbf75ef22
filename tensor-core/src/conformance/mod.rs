//! The conformance kit: whether a [`Backend`] does what the trait promises, case by case.
//!
//! It is for whoever writes a backend, in this project or outside of it; the project's own backends pass the same cases. A
//! backend's test is one line in a file of its own, `tests/conformance.rs`, here for the reference:
//!
//! ```no_run
//! use tensor_core::reference::Reference;
//! tensor_core::conformance::suite!(Reference);
//! ```
//!
//! and in `Cargo.toml`
//!
//! ```toml
//! [dev-dependencies]
//! gradix-tensor-core = { version = "0.1", features = ["conformance"] }
//!
//! [[test]]
//! name = "conformance"
//! harness = false
//! ```
//!
//! `cargo test --test conformance` then runs some thousand cases, each with a name like `pointwise/tanh/f32/lengths`, which
//! filters choose from as they do with any test: `cargo test --test conformance -- reduce/amax`. [`Report::of`] runs them
//! without a test harness and prints a table of what is native, what falls back to the reference interpreter, what the
//! device does not support, and what is wrong.
//!
//! `GRADIX_CONFORMANCE_LARGEST=400` leaves out every call on more elements than that. It is for tools that watch each access to
//! memory and take their time. `GRADIX_CONFORMANCE_PART=1/2` and `2/2` are halves of the kit, for processes side by side:
//! many a runtime compiles one kernel at a time.
//!
//! # What is asked
//!
//! Every row of the [tables of operations](crate::op) gets its cases by being listed there, in every dtype that it runs in:
//! special values and samples of its domain, lengths around the widths of vectors and tiles, layouts of ranks 0 to 8 that are
//! transposed, stepped, flipped, repeated or cut out, operands that are run-time scalars, results in place of an operand, and
//! enough elements for several threads. Besides there are whole programs, reductions, scans, products, gather and scatter,
//! masks, sort, topk, softmax, computations over rows, attention, memory, threads, and what [`Array`](crate::Array) makes of it all.
//!
//! # How it is judged
//!
//! By the [reference interpreter](crate::reference), which computes floats in f64:
//! - integers, bools and random bits exactly; what only moves values bit for bit (any NaN for a NaN);
//! - floats within the number of ULP in the operation's row. f16 and bf16 are storage types: what is within any such number
//!   in f32 is within one ULP of theirs;
//! - where large numbers cancel (`lerp`, sums, products of matrices, logarithms of softmax) within ULPs of the numbers that
//!   went in, because their rounding is what the small result inherits;
//! - where rounding decides between two integers (`trunc_divide` of a quotient within an ULP of an integer), either;
//! - buffers byte by byte outside of an output's elements: nobody may write there.
//!
//! A case in which a dtype occurs that [`DeviceInfo::dtypes`](crate::DeviceInfo) does not name is skipped and reported as not
//! supported.

mod arrays;
mod attention;
mod case;
mod harness;
mod index;
mod judge;
mod lines;
mod matmul;
mod memory;
mod pointwise;
mod programs;
mod random;
mod reduce;
mod report;
mod rows;
mod tensor;
mod values;

pub use crate::conformance_suite as suite;
pub use case::{Case, Outcome, Verdict};
pub use harness::{Opened, Part, is_required, not_opened, run, run_chosen, run_if_present};
pub use report::{CaseResult, Report};

use crate::Backend;

/// Every case, in the order of a report.
pub fn cases<B: Backend>() -> Vec<Case<B>> {
    let families = [
        pointwise::cases,
        programs::cases,
        reduce::cases,
        matmul::cases,
        index::cases,
        lines::cases,
        rows::cases,
        attention::cases,
        memory::cases,
        arrays::cases,
    ];
    families.into_iter().flat_map(|cases| cases()).collect()
}
