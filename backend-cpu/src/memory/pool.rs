//! Free lists: one for each thread and one for all.

use super::{Stats, system};
use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The largest block, header included, that a thread keeps for itself: 1 MiB. Blocks of that size fit in a core's cache.
pub const SMALL: usize = 1 << 20;

/// The most bytes that a thread keeps for itself: 16 MiB.
pub const THREAD_LIMIT: usize = 16 << 20;

/// What stands before each payload, in one cache line.
#[repr(C, align(64))]
pub(crate) struct Header {
    /// The number of buffers that share the block.
    pub(crate) refs: AtomicUsize,
    /// How many bytes were asked for.
    pub(crate) size: usize,
    /// How many bytes the block has, header included: a class's size.
    total: usize,
    /// The next free block of the class, while the block is free.
    next: *mut Self,
}

const HEADER: usize = size_of::<Header>();

/// The number of classes up to [`SMALL`]: 8 for each doubling from 128 bytes on.
const CLASSES: usize = 8 * 13 + 1;

/// The bytes of the smallest class that holds `size` bytes and a header, or `None` if that overflows. Classes are an eighth
/// of a power of two apart, so at most an eighth is wasted.
fn class_total(size: usize) -> Option<usize> {
    let total = size.checked_add(2 * HEADER - 1)? & !(HEADER - 1);
    let total = total.max(2 * HEADER);
    let step = (1usize << (total.ilog2() - 3)).max(HEADER);
    let total = total.checked_add(step - 1)? & !(step - 1);
    (total <= isize::MAX as usize).then_some(total)
}

/// The number of a class of at most [`SMALL`] bytes.
fn class_index(total: usize) -> usize {
    let doubling = total.ilog2();
    8 * (doubling as usize - 7) + (total >> (doubling - 3)) - 8
}

/// Bytes obtained from the system and not yet given back.
static RESERVED: AtomicUsize = AtomicUsize::new(0);
/// The most that [`RESERVED`] ever was.
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// How often [`trim`] was called; threads that see a new number empty their caches.
static TRIMS: AtomicU64 = AtomicU64::new(0);

/// The free blocks that all threads share.
struct Shared {
    blocks: BTreeMap<usize, Vec<NonNull<Header>>>,
    cached: usize,
    limit: Option<usize>,
    /// What each living thread has cached.
    threads: Vec<Arc<AtomicUsize>>,
}

// SAFETY: the blocks in the lists are free: nobody but the list knows them.
unsafe impl Send for Shared {}

static SHARED: Mutex<Shared> =
    Mutex::new(Shared { blocks: BTreeMap::new(), cached: 0, limit: None, threads: Vec::new() });

fn shared() -> MutexGuard<'static, Shared> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A quarter of the machine's memory, or 1 GiB where that is unknown.
fn default_limit() -> usize {
    static DEFAULT: OnceLock<usize> = OnceLock::new();
    *DEFAULT.get_or_init(|| system::physical_memory().map_or(1 << 30, |bytes| (bytes / 4) as usize))
}

impl Shared {
    fn limit(&self) -> usize {
        self.limit.unwrap_or_else(default_limit)
    }

    fn take(&mut self, total: usize) -> Option<NonNull<Header>> {
        // A block up to a quarter larger is better than a fresh one.
        let (&class, list) = self.blocks.range_mut(total..=total.saturating_add(total / 4)).next()?;
        let block = list.pop()?;
        if list.is_empty() {
            self.blocks.remove(&class);
        }
        self.cached -= class;
        Some(block)
    }

    /// Keeps a free block, or hands it back if the bound is reached.
    fn give(&mut self, block: NonNull<Header>, total: usize) -> Option<NonNull<Header>> {
        if self.cached + total > self.limit() {
            return Some(block);
        }
        self.cached += total;
        self.blocks.entry(total).or_default().push(block);
        None
    }

    /// Takes out blocks, the largest first, until at most `bytes` are kept.
    fn shrink(&mut self, bytes: usize) -> Vec<NonNull<Header>> {
        let mut surplus = Vec::new();
        while self.cached > bytes
            && let Some(mut last) = self.blocks.last_entry()
        {
            if let Some(block) = last.get_mut().pop() {
                surplus.push(block);
                self.cached -= *last.key();
            }
            if last.get().is_empty() {
                last.remove();
            }
        }
        surplus
    }
}

/// The free blocks of one thread.
struct Local {
    heads: [Cell<*mut Header>; CLASSES],
    cached: Cell<usize>,
    trims: Cell<u64>,
    /// What [`stats`] reads; only this thread writes it.
    counter: OnceCell<Arc<AtomicUsize>>,
}

thread_local! {
    static LOCAL: Local = const {
        Local {
            heads: [const { Cell::new(std::ptr::null_mut()) }; CLASSES],
            cached: Cell::new(0),
            trims: Cell::new(0),
            counter: OnceCell::new(),
        }
    };
}

impl Local {
    fn set_cached(&self, bytes: usize) {
        self.cached.set(bytes);
        self.counter
            .get_or_init(|| {
                let counter = Arc::new(AtomicUsize::new(0));
                shared().threads.push(counter.clone());
                counter
            })
            .store(bytes, Ordering::Relaxed);
    }

    #[inline]
    fn take(&self, total: usize) -> Option<NonNull<Header>> {
        let head = &self.heads[class_index(total)];
        let block = NonNull::new(head.get())?;
        // SAFETY: blocks in the list are free and valid; only this thread touches the list.
        head.set(unsafe { block.as_ref().next });
        self.set_cached(self.cached.get() - total);
        Some(block)
    }

    /// Keeps a free block, or hands it back if the bound is reached.
    #[inline]
    fn give(&self, block: NonNull<Header>, total: usize) -> Option<NonNull<Header>> {
        if self.trims.get() != TRIMS.load(Ordering::Relaxed) {
            self.empty();
        }
        if self.cached.get() + total > THREAD_LIMIT {
            return Some(block);
        }
        let head = &self.heads[class_index(total)];
        // SAFETY: the block is free, so its header is ours to write.
        unsafe { (*block.as_ptr()).next = head.get() };
        head.set(block.as_ptr());
        self.set_cached(self.cached.get() + total);
        None
    }

    /// Gives everything back to the system.
    #[cold]
    fn empty(&self) {
        self.trims.set(TRIMS.load(Ordering::Relaxed));
        for head in &self.heads {
            let mut at = head.replace(std::ptr::null_mut());
            while let Some(block) = NonNull::new(at) {
                // SAFETY: the block was in the list, so it is free and valid, and now nobody knows it but this loop.
                unsafe {
                    at = block.as_ref().next;
                    to_system(block);
                }
            }
        }
        self.set_cached(0);
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.empty();
        if let Some(counter) = self.counter.get() {
            shared().threads.retain(|held| !Arc::ptr_eq(held, counter));
        }
    }
}

/// A block with room for `size` bytes that nobody else knows, or `None` if the system has no more memory. Its payload is
/// initialised, with any content.
#[inline]
pub(crate) fn acquire(size: usize) -> Option<NonNull<Header>> {
    let total = class_total(size)?;
    if total <= SMALL
        && let Ok(Some(block)) = LOCAL.try_with(|local| local.take(total))
    {
        return Some(block);
    }
    acquire_shared(total, size + HEADER)
}

#[cold]
#[inline(never)]
fn acquire_shared(total: usize, used: usize) -> Option<NonNull<Header>> {
    if let Some(block) = shared().take(total) {
        return Some(block);
    }
    let block = system::acquire(total, used).or_else(|| {
        // What is kept for later is better used now.
        trim();
        system::acquire(total, used)
    })?;
    let reserved = RESERVED.fetch_add(total, Ordering::Relaxed) + total;
    PEAK.fetch_max(reserved, Ordering::Relaxed);
    let block = block.cast::<Header>();
    // SAFETY: the block has at least a header's bytes, aligned for it.
    unsafe { block.write(Header { refs: AtomicUsize::new(0), size: 0, total, next: std::ptr::null_mut() }) };
    Some(block)
}

/// Takes a block back.
///
/// # Safety
/// The block came from [`acquire`], and nobody uses it any more.
#[inline]
pub(crate) unsafe fn release(block: NonNull<Header>) {
    // SAFETY: the caller's promise: the block is valid and ours.
    let total = unsafe { block.as_ref().total };
    let left = if total <= SMALL {
        // A thread that is ending has no cache any more.
        LOCAL.try_with(|local| local.give(block, total)).unwrap_or(Some(block))
    } else {
        Some(block)
    };
    if let Some(block) = left {
        // SAFETY: as above; the thread's cache did not keep it.
        unsafe { release_shared(block, total) }
    }
}

/// # Safety
/// As for [`release`].
#[cold]
#[inline(never)]
unsafe fn release_shared(block: NonNull<Header>, total: usize) {
    let left = shared().give(block, total);
    if let Some(block) = left {
        // SAFETY: as promised; the shared pool did not keep it either.
        unsafe { to_system(block) }
    }
}

/// # Safety
/// The block is valid and nobody else knows it.
unsafe fn to_system(block: NonNull<Header>) {
    // SAFETY: the caller's promise; the block came from `system::acquire` with `total` bytes.
    unsafe {
        let total = block.as_ref().total;
        system::release(block.cast(), total);
        RESERVED.fetch_sub(total, Ordering::Relaxed);
    }
}

/// How much the pool holds now.
pub fn stats() -> Stats {
    let shared = shared();
    let cached = shared.cached + shared.threads.iter().map(|held| held.load(Ordering::Relaxed)).sum::<usize>();
    drop(shared);
    let reserved = RESERVED.load(Ordering::Relaxed);
    Stats { in_use: reserved.saturating_sub(cached), cached, peak: PEAK.load(Ordering::Relaxed) }
}

/// The most bytes that are kept for all threads together: a quarter of the machine's memory unless [`set_limit`] said
/// otherwise. (What is in use is not limited.)
pub fn limit() -> usize {
    shared().limit()
}

/// Sets how many bytes are kept at most for all threads together; what is kept beyond goes back to the system at once. 0
/// keeps nothing but the threads' own small blocks.
pub fn set_limit(bytes: usize) {
    let mut shared = shared();
    shared.limit = Some(bytes);
    let surplus = shared.shrink(bytes);
    drop(shared);
    for block in surplus {
        // SAFETY: the block was in the pool, so it is free and valid, and is in it no more.
        unsafe { to_system(block) }
    }
}

/// Gives all kept memory back to the system. Other threads' own small blocks follow when those threads next free one.
pub fn trim() {
    TRIMS.fetch_add(1, Ordering::Relaxed);
    let _ = LOCAL.try_with(Local::empty);
    let surplus = shared().shrink(0);
    for block in surplus {
        // SAFETY: the block was in the pool, so it is free and valid, and is in it no more.
        unsafe { to_system(block) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Buffer;

    #[test]
    fn classes_hold_what_they_are_for_and_waste_little() {
        assert_eq!(class_total(0), Some(128));
        assert_eq!(class_total(64), Some(128));
        assert_eq!(class_total(65), Some(192));
        assert_eq!(class_total(usize::MAX), None);
        assert_eq!(class_total(isize::MAX as usize), None);
        let mut last = 0;
        for size in (0..SMALL - 64).step_by(61) {
            let total = class_total(size).unwrap();
            assert!(total >= size + 64 && total.is_multiple_of(64) && total >= last, "{size}");
            assert!(total <= (size + 64) + (size + 64) / 7 + 64, "{size} takes {total}");
            assert_eq!(class_total(total - 64), Some(total), "{size}");
            if total <= SMALL {
                assert!(class_index(total) < CLASSES);
                assert!(last == total || last == 0 || class_index(total) > class_index(last));
                last = total;
            }
        }
        assert_eq!(class_index(128), 0);
        assert_eq!(class_index(SMALL), CLASSES - 1);
    }

    #[test]
    fn a_freed_block_is_used_again() {
        for size in [100, 50_000] {
            let first = Buffer::new(size).unwrap();
            let at = first.as_ptr();
            drop(first);
            assert_eq!(Buffer::new(size).unwrap().as_ptr(), at, "{size}");
        }
    }

    #[test]
    fn absurd_sizes_are_refused() {
        for size in [usize::MAX, isize::MAX as usize, isize::MAX as usize - 4096, 1 << 60] {
            assert!(Buffer::new(size).is_none(), "{size}");
        }
    }

    #[test]
    fn threads_keep_no_more_than_their_bound() {
        std::thread::spawn(|| {
            let buffers: Vec<_> = (0..100).map(|_| Buffer::new(SMALL - 64).unwrap()).collect();
            drop(buffers);
            let kept = LOCAL.with(|local| local.cached.get());
            assert!(kept > THREAD_LIMIT / 2 && kept <= THREAD_LIMIT, "{kept}");
            trim();
            assert_eq!(LOCAL.with(|local| local.cached.get()), 0);
        })
        .join()
        .unwrap();
    }

    /// Runs alone in its process part: it looks at the numbers of the whole process, which other tests change, so it only
    /// asserts what holds whatever they do.
    #[test]
    fn stats_count_what_is_held() {
        let size = 64 << 20;
        let held: Vec<_> = (0..4).map(|_| Buffer::new(size).unwrap()).collect();
        let with = stats();
        assert!(with.in_use >= 4 * size && with.peak >= 4 * size);
        drop(held);
        assert!(limit() > 0);
    }
}
