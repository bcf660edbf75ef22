//! Copies between the host and a device.
//!
//! Little goes through host memory that the device reads and writes by itself: an upload is done, for its caller, as soon as
//! the bytes are there. Much goes the driver's way, and the caller waits.

use crate::driver::{Gpu, Result};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The size of the host memory in between.
const SIZE: usize = 1 << 20;
/// Up to this size bytes go through it.
const LARGEST: usize = 128 << 10;
/// Places in it are multiples of this.
const ALIGN: usize = 64;

/// Host memory between a device and its users, and what graphs upload each time they run.
#[derive(Debug, Default)]
pub(crate) struct Staging(Mutex<Option<Ring>>, Mutex<HashMap<u64, Vec<HostCopy>>>);

/// Bytes that a graph uploads.
#[derive(Debug)]
struct HostCopy(*mut u8);

// SAFETY: the memory belongs to no thread, and nobody writes to it.
unsafe impl Send for HostCopy {}

impl HostCopy {
    fn new(bytes: &[u8], gpu: &Gpu) -> Result<Self> {
        let place = gpu.alloc_host(bytes.len())?;
        // SAFETY: as many bytes were just allocated there, which nobody else knows.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
        Ok(Self(place))
    }
}

#[derive(Debug)]
struct Ring {
    start: *mut u8,
    /// What lies before this is, or was, on its way.
    used: usize,
}

// SAFETY: the memory is never freed and belongs to no thread; whoever holds the lock uses it alone.
unsafe impl Send for Ring {}

impl Ring {
    /// A place for `bytes` bytes that nothing is using.
    fn place(&mut self, bytes: usize, gpu: &Gpu) -> Result<*mut u8> {
        if self.used + bytes > SIZE {
            // All that was on its way arrives first.
            gpu.synchronize()?;
            self.used = 0;
        }
        let place = self.used;
        self.used = (place + bytes).next_multiple_of(ALIGN);
        // SAFETY: `place + bytes` is at most `SIZE`, which the memory has: if it was not, `place` is 0 now, and no caller asks
        // for more than `LARGEST`.
        Ok(unsafe { self.start.add(place) })
    }
}

impl Staging {
    /// Gives back what a graph uploads. Its work must have been submitted for the last time.
    pub(crate) fn forget(&self, graph: u64, gpu: &Gpu) {
        let copies = self.1.lock().unwrap_or_else(PoisonError::into_inner).remove(&graph);
        // A device that fails reads nothing any more.
        let _ = copies.as_ref().map(|_| gpu.synchronize());
        for copy in copies.into_iter().flatten() {
            // SAFETY: it came from `alloc_host`, was taken out of the list here, and all work that reads it is done.
            unsafe { gpu.free_host(copy.0) };
        }
    }

    /// Runs something with a place; `None` if there is no such memory or the bytes are too many.
    fn with<T>(&self, bytes: usize, gpu: &Gpu, run: impl FnOnce(*mut u8) -> Result<T>) -> Option<Result<T>> {
        if bytes > LARGEST {
            return None;
        }
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            *held = Some(Ring { start: gpu.alloc_host(SIZE).ok()?, used: 0 });
        }
        let ring = held.as_mut()?;
        // The lock is held while it runs.
        Some(ring.place(bytes, gpu).and_then(run))
    }

    /// Copies bytes to the device, in turn with its other work. They may be changed when this returns.
    ///
    /// # Safety
    /// As many bytes must lie at `to` in memory of this device.
    pub(crate) unsafe fn write(&self, gpu: &Gpu, to: u64, bytes: &[u8]) -> Result<()> {
        if let Some(graph) = gpu.recording() {
            let kept = HostCopy::new(bytes, gpu)?;
            // SAFETY: the copy is kept for as long as the graph is there. The target is the caller's promise.
            let recorded = unsafe { gpu.upload(to, kept.0, bytes.len()) };
            // Even if it failed: it may be part of what was recorded.
            self.1.lock().unwrap_or_else(PoisonError::into_inner).entry(graph).or_default().push(kept);
            return recorded;
        }
        let staged = self.with(bytes.len(), gpu, |place| {
            // SAFETY: the place has as many bytes, which neither a copy that is on its way nor another thread uses.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
            // SAFETY: nobody writes to the place before `synchronize` says that the copy is done, and it is never freed. The
            // target is the caller's promise.
            unsafe { gpu.upload(to, place, bytes.len()) }
        });
        staged.unwrap_or_else(|| {
            // SAFETY: the bytes are borrowed until the copy is done, for which `synchronize` waits: it fails only if the
            // device has, and a device that has failed copies no more. The target is the caller's promise.
            unsafe { gpu.upload(to, bytes.as_ptr(), bytes.len()) }.and(gpu.synchronize())
        })
    }

    /// Copies bytes from the device, once all work submitted before is done.
    ///
    /// # Safety
    /// As many bytes must lie at `from` in memory of this device.
    pub(crate) unsafe fn read(&self, gpu: &Gpu, from: u64, bytes: &mut [u8]) -> Result<()> {
        let staged = self.with(bytes.len(), gpu, |place| {
            // SAFETY: the place has as many bytes, which nobody uses before the copy is done: the lock is held until then. The
            // source is the caller's promise.
            unsafe { gpu.download(place, from, bytes.len()) }?;
            gpu.synchronize()?;
            // SAFETY: as many bytes were just written there, and `bytes` is borrowed alone.
            unsafe { std::ptr::copy_nonoverlapping(place, bytes.as_mut_ptr(), bytes.len()) };
            Ok(())
        });
        staged.unwrap_or_else(|| {
            // SAFETY: the bytes are borrowed alone until the copy is done, for which `synchronize` waits: it fails only if the
            // device has, and a device that has failed copies no more. The source is the caller's promise.
            unsafe { gpu.download(bytes.as_mut_ptr(), from, bytes.len()) }.and(gpu.synchronize())
        })
    }
}
