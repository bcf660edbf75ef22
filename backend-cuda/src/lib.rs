//! The CUDA backend of gradix.
//!
//! It needs no CUDA toolkit to build and no CUDA library to start: NVIDIA's libraries are loaded when a device is first asked
//! for. What it takes to open one is the driver (`libcuda.so.1`) and NVRTC, the run-time compiler; cuBLASLt multiplies
//! matrices where it is found, kernels of the backend's own where it is not. Libraries are looked for by name, and by path in
//! toolkits' folders and in the active Python environment's packages (`pip install nvidia-cuda-nvrtc nvidia-cublas`).
//!
//! - Work for a device runs in one stream, in the order of its submission, whichever thread submits it.
//! - Kernels are compiled when they are first used, for exactly the device at hand, and kept on disk: in
//!   `$GRADIX_CUDA_CACHE` (empty: nowhere), else in `gradix/cuda` below the user's folder for caches.
//! - Freed memory is kept for reuse; [`Cuda::trim`] gives it back.
//! - Work that is done over and over, such as a step of training, can be recorded once and submitted as a whole:
//!   [`Cuda::capture`].

mod backend;
mod bare;
mod blas;
mod buffer;
mod device;
mod disk;
mod driver;
mod graph;
mod kernels;
mod library;
mod matmul;
#[doc(hidden)]
pub mod nvrtc;
mod plans;
mod pool;
mod staging;

pub use buffer::Buffer;
#[doc(hidden)]
pub use device::target;
pub use device::{Description, devices, is_available};
pub use graph::Graph;
pub use pool::Stats;

use device::Device;
use std::fmt;
use std::sync::atomic::Ordering;
use tensor_core::Result;

/// A handle to a CUDA device.
///
/// ```
/// use backend_cuda::Cuda;
/// use tensor_core::Backend;
/// match Cuda::open(0) {
///     Ok(device) => println!("{}: {}", device.label(), device.info().name),
///     Err(why) => println!("{why}"),
/// }
/// ```
#[derive(Clone, Copy)]
pub struct Cuda(&'static Device);

impl Cuda {
    /// Opens the device of this number. Opening one again gives a handle to the same device.
    ///
    /// # Errors
    /// If there is no such device, no driver or no NVRTC; the error says which was missing.
    pub fn open(index: usize) -> Result<Self> {
        Device::open(index).map(Self)
    }

    /// What is known of the device.
    pub fn description(&self) -> &'static Description {
        &self.0.description
    }

    /// How much of its memory this process holds for tensors.
    pub fn stats(&self) -> Stats {
        self.0.pool.stats()
    }

    /// Waits for all work and gives memory that is kept for reuse back to the driver, for other processes.
    ///
    /// ```
    /// use tensor_core::Backend;
    /// if let Ok(device) = backend_cuda::Cuda::open(0) {
    ///     drop(device.alloc(64 << 20)?);
    ///     device.trim()?;
    ///     assert_eq!(device.stats().cached, 0);
    /// }
    /// # Ok::<(), tensor_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the device, or work submitted before, fails.
    pub fn trim(&self) -> Result<()> {
        self.0.pool.trim(&self.0.gpu).map_err(|code| self.0.error("giving memory back", code))
    }

    /// The most bytes that are kept for reuse; without limit unless [`set_limit`](Self::set_limit) said otherwise. (What is in
    /// use is not limited, and pieces of up to 256 KiB go back with [`trim`](Self::trim) only.)
    pub fn limit(&self) -> usize {
        self.0.pool.limit()
    }

    /// Sets how many bytes are kept for reuse at most; what is kept beyond goes back to the driver at once.
    ///
    /// # Errors
    /// If the device, or work submitted before, fails.
    pub fn set_limit(&self, bytes: usize) -> Result<()> {
        self.0.pool.set_limit(bytes, &self.0.gpu).map_err(|code| self.0.error("giving memory back", code))
    }

    /// Whether products of f32 matrices may round their factors to TF32, with 10 bits of mantissa instead of 23.
    pub fn tf32(&self) -> bool {
        self.0.tf32.load(Ordering::Relaxed)
    }

    /// Lets products of f32 matrices use tensor cores, which round the factors to TF32: several times faster, with about
    /// three decimal digits. Off unless asked for.
    pub fn set_tf32(&self, allowed: bool) {
        self.0.tf32.store(allowed, Ordering::Relaxed);
    }
}

impl Default for Cuda {
    /// The first device, which tensors are made on where nothing else is asked for.
    ///
    /// # Panics
    /// If there is none, with [`open`](Self::open)'s reason. Call that first where it may be missing.
    fn default() -> Self {
        Self::open(0).unwrap_or_else(|why| panic!("{why}"))
    }
}

impl PartialEq for Cuda {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Cuda {}

impl fmt::Debug for Cuda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cuda({}, {})", self.0.label, self.0.description.name)
    }
}
