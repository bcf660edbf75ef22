//! Memory on a device.

use crate::device::Device;
use crate::pool::Piece;
use std::fmt;
use std::sync::Arc;

/// Memory on a CUDA device, shared by reference count. The last clone hands it back to the device's pool.
#[derive(Clone)]
pub struct Buffer(Arc<Block>);

struct Block {
    /// None where there are no bytes.
    piece: Option<Piece>,
    bytes: usize,
    device: &'static Device,
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(piece) = self.piece {
            self.device.pool.release(piece, &self.device.gpu);
        }
    }
}

impl Buffer {
    pub(crate) fn new(piece: Option<Piece>, bytes: usize, device: &'static Device) -> Self {
        Self(Arc::new(Block { piece, bytes, device }))
    }

    /// Where its bytes begin; 0 if there are none.
    pub(crate) fn address(&self) -> u64 {
        self.0.piece.map_or(0, |piece| piece.address)
    }

    /// Its size in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes
    }

    pub(crate) fn is_on(&self, device: &'static Device) -> bool {
        std::ptr::eq(self.0.device, device)
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
        write!(f, "Buffer({} bytes on {})", self.0.bytes, self.0.device.label)
    }
}
