//! The recycling pool that all [`Buffer`](crate::Buffer)s come from.
//!
//! Fresh memory costs more than arithmetic: the system clears every page when it is first touched, which takes longer than
//! adding two tensors of that size. So freed buffers are kept and handed out again. What is kept is bounded:
//!
//! - each thread keeps blocks of up to [`SMALL`] bytes, together at most [`THREAD_LIMIT`], without any lock;
//! - all threads share the larger ones and what did not fit, together at most [`limit`].
//!
//! What exceeds a bound goes back to the system at once. On Linux large blocks ask for huge pages.
//!
//! ```
//! use backend_cpu::{Cpu, memory};
//! use tensor_core::Backend;
//! let buffer = Cpu::open().alloc(1 << 20)?;
//! assert!(memory::stats().in_use >= 1 << 20);
//! drop(buffer);
//! memory::trim();
//! # Ok::<(), tensor_core::Error>(())
//! ```

pub(crate) mod pool;
mod system;

pub use pool::{SMALL, THREAD_LIMIT, limit, set_limit, stats, trim};
pub use system::physical_memory;

/// How much memory the pool holds, in bytes, headers and rounding included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// In live buffers.
    pub in_use: usize,
    /// Kept for reuse.
    pub cached: usize,
    /// The most that was ever held at once, in use or cached.
    pub peak: usize,
}
