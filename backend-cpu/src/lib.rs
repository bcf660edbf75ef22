//! The CPU backend of gradix: every core, every instruction set, and memory that is used again.
//!
//! [`Cpu`] is the handle; it is cheap to copy, and all handles stand for the one processor there is. [`Buffer`] is memory
//! from a recycling pool ([`memory`]). The core has checked shapes, dtypes and bounds before anything arrives here.
//!
//! ```
//! use backend_cpu::Cpu;
//! use tensor_core::Backend;
//! let cpu = Cpu::open();
//! let mut buffer = cpu.alloc(8)?;
//! cpu.write(&mut buffer, 0, &7u64.to_ne_bytes())?;
//! let mut bytes = [0; 8];
//! cpu.read(&buffer, 0, &mut bytes)?;
//! assert_eq!(u64::from_ne_bytes(bytes), 7);
//! # Ok::<(), tensor_core::Error>(())
//! ```

mod backend;
mod buffer;
mod gather;
mod mask;
mod matmul;
pub mod memory;
mod number;
mod parallel;
mod pointwise;
mod reduce;
mod rows;
mod scan;
mod scatter;
mod softmax;
mod sort;
mod strided;
mod topk;
pub mod vecmath;

pub use backend::Cpu;
pub use buffer::Buffer;
