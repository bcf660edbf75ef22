//! Reference-counted memory.

use crate::memory::pool::{self, Header};
use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

/// Memory of [`Cpu`](crate::Cpu): bytes aligned to 64, shared by reference count. Dropping the last clone hands the memory
/// back to the [pool](crate::memory).
pub struct Buffer {
    block: NonNull<Header>,
}

// SAFETY: the bytes are written only through `&mut Buffer` while the reference count is 1 (`bytes_mut` checks it), so no
// two threads see a write at the same time as another access; the count itself is atomic.
unsafe impl Send for Buffer {}
// SAFETY: as for `Send`; `&Buffer` only reads, and clones through the atomic count.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Memory of `size` bytes with any content, or `None` if the system has no more.
    pub(crate) fn new(size: usize) -> Option<Self> {
        let block = pool::acquire(size)?;
        // SAFETY: `acquire` gives a block that nobody else knows, whose header is valid for writes.
        unsafe {
            (*block.as_ptr()).size = size;
            (*block.as_ptr()).refs = AtomicUsize::new(1);
        }
        Some(Self { block })
    }

    fn header(&self) -> &Header {
        // SAFETY: a buffer holds a reference, so the block lives; `size` and `total` do not change while it does, and
        // `refs` is atomic.
        unsafe { self.block.as_ref() }
    }

    /// The size in bytes, as it was asked for.
    #[inline]
    pub fn size(&self) -> usize {
        self.header().size
    }

    /// Whether this is the only clone.
    #[inline]
    pub fn is_unique(&self) -> bool {
        // Acquire: what other clones' holders read happened before their drop, which this load sees.
        self.header().refs.load(Ordering::Acquire) == 1
    }

    /// Where the bytes begin; aligned to 64.
    #[inline]
    pub fn as_ptr(&self) -> *const u8 {
        // SAFETY: the payload follows the header within one allocation.
        unsafe { self.block.as_ptr().add(1).cast::<u8>() }
    }

    /// Where the bytes begin, to write them.
    ///
    /// # Panics
    /// If another clone exists.
    #[inline]
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        assert!(self.is_unique(), "a buffer that others hold cannot be written");
        // SAFETY: the payload follows the header within one allocation.
        unsafe { self.block.as_ptr().add(1).cast::<u8>() }
    }

    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the payload holds at least `size` bytes, which the system handed out zeroed and which have only been
        // overwritten with initialised bytes since. Nobody writes while `self` is borrowed: writing takes `&mut` and
        // uniqueness.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.size()) }
    }

    /// The bytes, to write them.
    ///
    /// # Panics
    /// If another clone exists.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let size = self.size();
        // SAFETY: as for `bytes`; `as_mut_ptr` has checked that no other clone could read meanwhile.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), size) }
    }
}

impl Clone for Buffer {
    #[inline]
    fn clone(&self) -> Self {
        let before = self.header().refs.fetch_add(1, Ordering::Relaxed);
        // 2⁶³ clones can only come from leaking them in a loop; the count must not wrap to 0 then.
        if before > isize::MAX as usize {
            std::process::abort();
        }
        Self { block: self.block }
    }
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        // The only holder needs no locked instruction: nobody else can clone what nobody else holds.
        if !self.is_unique() {
            if self.header().refs.fetch_sub(1, Ordering::Release) != 1 {
                return;
            }
            fence(Ordering::Acquire);
        }
        // SAFETY: this was the last reference, and `block` came from `acquire`.
        unsafe { pool::release(self.block) }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes at {:p})", self.size(), self.as_ptr())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_and_the_last_one_frees() {
        let mut buffer = Buffer::new(1000).unwrap();
        assert_eq!(buffer.as_ptr().align_offset(64), 0);
        buffer.bytes_mut().fill(3);
        let clone = buffer.clone();
        assert!(!buffer.is_unique());
        drop(buffer);
        assert!(clone.is_unique());
        assert!(clone.bytes().iter().all(|&byte| byte == 3));
        assert_eq!(clone.size(), 1000);
    }

    #[test]
    #[should_panic(expected = "a buffer that others hold cannot be written")]
    fn shared_buffers_are_not_written() {
        let mut buffer = Buffer::new(8).unwrap();
        let _clone = buffer.clone();
        buffer.bytes_mut();
    }

    #[test]
    fn clones_may_be_dropped_on_any_thread() {
        let buffer = Buffer::new(64).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let clone = buffer.clone();
                scope.spawn(move || {
                    for _ in 0..1000 {
                        drop(clone.clone());
                    }
                });
            }
        });
        assert!(buffer.is_unique());
    }
}
