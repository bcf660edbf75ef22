//! Memory on a device.

use crate::driver::Memory;
use std::fmt;
use std::sync::Arc;

/// Memory on an OpenCL device, shared by reference count. The last clone gives it back.
#[derive(Clone)]
pub struct Buffer(Arc<Block>);

struct Block {
    /// None where there are no bytes: OpenCL has no memory of size 0.
    memory: Option<Memory>,
    bytes: usize,
    /// The device's number.
    device: usize,
}

impl Buffer {
    pub(crate) fn new(memory: Option<Memory>, bytes: usize, device: usize) -> Self {
        Self(Arc::new(Block { memory, bytes, device }))
    }

    pub(crate) fn memory(&self) -> Option<&Memory> {
        self.0.memory.as_ref()
    }

    /// Its size in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// The number of the device it belongs to.
    pub(crate) fn device(&self) -> usize {
        self.0.device
    }

    pub(crate) fn is_unique(&mut self) -> bool {
        Arc::get_mut(&mut self.0).is_some()
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes on opencl:{})", self.0.bytes, self.0.device)
    }
}
