//! Which processor a thread runs on.

/// The processor that the calling thread runs on, where the system tells.
#[cfg(target_os = "linux")]
pub(super) fn current() -> Option<usize> {
    // SAFETY: no arguments, no memory of ours.
    let number = unsafe { libc::sched_getcpu() };
    usize::try_from(number).ok()
}

/// Moves the calling thread to another processor than this one. It stays where it is if it may run nowhere else; afterwards it may run
/// where it could before.
#[cfg(target_os = "linux")]
pub(super) fn leave(processor: usize) {
    const BYTES: usize = size_of::<libc::cpu_set_t>();
    if processor >= 8 * BYTES {
        return;
    }
    // SAFETY: a set of processors is an array of bits, of which all zeros are one; the system reads and writes as many bytes as it
    // is told, and the set has a bit for the processor. Thread 0 is the calling one.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        // It fails if the machine may have more processors than the set has bits.
        if libc::sched_getaffinity(0, BYTES, &raw mut allowed) != 0 {
            return;
        }
        let mut others = allowed;
        libc::CPU_CLR(processor, &mut others);
        // The system refuses an empty set, and moves a thread at once if it no longer may be where it is.
        if libc::sched_setaffinity(0, BYTES, &raw const others) == 0 {
            libc::sched_setaffinity(0, BYTES, &raw const allowed);
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn current() -> Option<usize> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(super) fn leave(_processor: usize) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn allowed() -> usize {
        std::thread::available_parallelism().unwrap().get()
    }

    #[test]
    fn a_thread_leaves_its_processor_and_may_come_back() {
        let before = allowed();
        for _ in 0..20 {
            let here = current().unwrap();
            leave(here);
            assert_eq!(allowed(), before, "the set of processors is what it was");
        }
        // What a thread that may run on one processor only is to leave, it does not.
        let one = std::thread::spawn(|| {
            let here = current().unwrap();
            // SAFETY: as in `leave`.
            unsafe {
                let mut only: libc::cpu_set_t = std::mem::zeroed();
                libc::CPU_SET(here, &mut only);
                assert_eq!(libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const only), 0);
            }
            leave(here);
            (here, current().unwrap(), allowed())
        });
        let (before, after, allowed) = one.join().unwrap();
        assert_eq!((before, allowed), (after, 1));
    }
}
