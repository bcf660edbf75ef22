//! The OpenCL backend of gradix.
//!
//! It needs no OpenCL SDK to build and no OpenCL library to start: the library is loaded when a device is first asked for.
//! Devices count over all platforms; [`devices`] lists them. Commands for a device run in one queue, in the order of their
//! submission, whichever thread submits them.
//!
//! Kernels are compiled when they are first used. Most runtimes keep what they compiled; for those that do not it is kept in
//! the user's folder for caches, in `gradix/opencl`. `GRADIX_OPENCL_CACHE` names another folder, or is `off`.
//! `GRADIX_OPENCL_LIBRARY` names the OpenCL library to load instead of the system's.

mod backend;
mod buffer;
mod cache;
mod device;
mod driver;
mod kernels;
mod shim;

pub use buffer::Buffer;
pub use device::{Description, devices};

use device::Device;
use std::fmt;
use std::sync::Arc;
use tensor_core::{DeviceKind, Result};

/// A handle to an OpenCL device.
///
/// ```
/// use backend_opencl::OpenCl;
/// use tensor_core::Backend;
/// match OpenCl::open(0) {
///     Ok(device) => println!("{}: {}", device.label(), device.info().name),
///     Err(why) => println!("{why}"),
/// }
/// ```
#[derive(Clone)]
pub struct OpenCl(Arc<Device>);

impl OpenCl {
    /// Opens the device of this number, counted over all platforms. Opening one again gives a handle to the same device.
    ///
    /// # Errors
    /// If there is no such device, no OpenCL library or no runtime, or the device cannot be used. The error says which.
    pub fn open(index: usize) -> Result<Self> {
        Device::open(index, None).map(Self)
    }

    /// Opens a device with the kernels that suit another kind of device. They are slower there, and right: for tests, and
    /// to measure by. The handle is another device to the core, so buffers are not shared with [`open`](Self::open)'s.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_as(index: usize, kind: DeviceKind) -> Result<Self> {
        Device::open(index, Some(kind)).map(Self)
    }
}

impl Default for OpenCl {
    /// The first device, which tensors are made on where nothing else is asked for.
    ///
    /// # Panics
    /// If there is none, with [`open`](Self::open)'s reason. Call that first where it may be missing.
    fn default() -> Self {
        Self::open(0).unwrap_or_else(|why| panic!("{why}"))
    }
}

impl PartialEq for OpenCl {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for OpenCl {}

impl fmt::Debug for OpenCl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenCl({}, {})", self.0.label, self.0.description.name)
    }
}
