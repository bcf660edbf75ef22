//! Where blocks come from and go back to: the system's allocator, and on Linux its pages for large blocks.

use std::ptr::NonNull;

/// All blocks begin at a multiple of this: a cache line, and the widest vector register.
pub(super) const ALIGNMENT: usize = 64;

/// `bytes` zeroed bytes, aligned to [`ALIGNMENT`], or `None` if the system has no more. `bytes` is a positive multiple of 64
/// below `isize::MAX`, of which the first `used` are wanted now.
pub(super) fn acquire(bytes: usize, used: usize) -> Option<NonNull<u8>> {
    #[cfg(target_os = "linux")]
    if bytes >= pages::MAPPED {
        return pages::map(bytes, used);
    }
    let _ = used;
    let layout = std::alloc::Layout::from_size_align(bytes, ALIGNMENT).ok()?;
    // SAFETY: the layout's size is positive.
    NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) })
}

/// Gives a block back.
///
/// # Safety
/// `block` came from [`acquire`] with the same number of bytes, and nobody uses it any more.
pub(super) unsafe fn release(block: NonNull<u8>, bytes: usize) {
    #[cfg(target_os = "linux")]
    if bytes >= pages::MAPPED {
        // SAFETY: `acquire` mapped exactly this range, by the same condition.
        return unsafe { pages::unmap(block, bytes) };
    }
    // SAFETY: `acquire` made a layout of this size and alignment, so it is valid, and allocated the block with it.
    unsafe {
        let layout = std::alloc::Layout::from_size_align_unchecked(bytes, ALIGNMENT);
        std::alloc::dealloc(block.as_ptr(), layout);
    }
}

/// The machine's memory in bytes, where the system says.
pub fn physical_memory() -> Option<u64> {
    #[cfg(unix)]
    {
        // SAFETY: `sysconf` only reads the system's settings.
        let (pages, size) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
        (pages > 0 && size > 0).then(|| pages as u64 * size as u64)
    }
    #[cfg(not(unix))]
    None
}

#[cfg(target_os = "linux")]
mod pages {
    use std::ptr::NonNull;

    /// From this size on, blocks are mapped: only mappings surely go back to the system when they are freed.
    pub(super) const MAPPED: usize = 1 << 20;

    /// The size of a huge page on every architecture that this code meets; elsewhere the alignment is only useless.
    const HUGE: usize = 2 << 20;

    pub(super) fn map(bytes: usize, used: usize) -> Option<NonNull<u8>> {
        let huge = bytes >= 2 * HUGE;
        // A last huge page of which less than half is wanted takes more memory, and more time to be cleared, than small ones do.
        let in_huge = ((used + HUGE / 2) / HUGE * HUGE).min(bytes);
        let asked = if huge { bytes.checked_add(HUGE)? } else { bytes };
        // SAFETY: a new private anonymous mapping touches no memory of ours.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                asked,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return None;
        }
        if !huge {
            return NonNull::new(start.cast());
        }
        // Only aligned parts can become huge pages, so what lies before the first boundary and after the block goes back.
        let before = start.addr().next_multiple_of(HUGE) - start.addr();
        let end = (before + bytes).next_multiple_of(page_size());
        // SAFETY: all ranges lie within the mapping just made and begin at page boundaries. `madvise` changes no content;
        // should it be refused, the block works with small pages.
        unsafe {
            let block = start.cast::<u8>().add(before);
            if before > 0 {
                libc::munmap(start, before);
            }
            if end < asked {
                libc::munmap(start.cast::<u8>().add(end).cast(), asked - end);
            }
            libc::madvise(block.cast(), in_huge, libc::MADV_HUGEPAGE);
            NonNull::new(block)
        }
    }

    /// # Safety
    /// `block` came from [`map`] with the same size, and nobody uses it any more.
    pub(super) unsafe fn unmap(block: NonNull<u8>, bytes: usize) {
        // SAFETY: the range is a mapping of ours that nobody uses. Unmapping whole pages of a valid mapping cannot fail
        // but for a lack of kernel memory to split mappings, where keeping the pages is the only thing left.
        unsafe {
            libc::munmap(block.as_ptr().cast(), bytes);
        }
    }

    fn page_size() -> usize {
        // SAFETY: `sysconf` only reads the system's settings.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        if size > 0 { size as usize } else { 4096 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_all_kinds_are_zeroed_and_aligned() {
        for bytes in [64, 4096, (1 << 20) - 64, 1 << 20, (4 << 20) + 64, 9 << 20] {
            let block = acquire(bytes, bytes).unwrap();
            assert_eq!(block.as_ptr().align_offset(ALIGNMENT), 0, "{bytes}");
            // SAFETY: the block has this many initialised bytes and is ours alone.
            unsafe {
                assert!(std::slice::from_raw_parts(block.as_ptr(), bytes).iter().all(|&byte| byte == 0), "{bytes}");
                block.as_ptr().write_bytes(1, bytes);
                release(block, bytes);
            }
        }
    }

    #[test]
    fn the_impossible_is_refused() {
        assert!(acquire(isize::MAX as usize & !63, 64).is_none());
        assert!(acquire(1 << 62, 1 << 62).is_none());
    }
}
