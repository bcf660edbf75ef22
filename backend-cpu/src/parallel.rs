//! Work spread over threads, without waiting for sleeping ones.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};

/// Elements that are worth a second thread when each takes about one memory access. Waking a thread takes as long as a
/// core needs for a few times as many.
pub(crate) const GRAIN: usize = 1 << 16;

/// Set in [`Shared::state`] once helpers must not begin any more.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// How often the caller looks for the helpers' end before it sleeps.
const SPINS: usize = 2000;

/// Runs `work(0)`, …, `work(tasks - 1)`, each once and begun in this order, on the calling thread and on those of the current `rayon`
/// pool that have nothing else to do.
///
/// The caller begins at once and ends when the work is done, whether or not a helper ever woke up: a small job costs
/// little more than on one thread. Results depend on the number of threads only if `work` makes them.
///
/// # Panics
/// If `work` does, after all running tasks ended.
pub(crate) fn for_each(tasks: usize, work: impl Fn(usize) + Sync) {
    for_each_erased(tasks, &work);
}

/// [`for_each`], compiled once: hundreds of kernels end here, and each would bring its own copy of all this.
fn for_each_erased(tasks: usize, work: &(dyn Fn(usize) + Sync)) {
    let helpers = if tasks > 1 { (rayon::current_num_threads() - 1).min(tasks - 1) } else { 0 };
    if helpers == 0 {
        (0..tasks).for_each(work);
        return;
    }
    let shared = Arc::new(Shared {
        next: AtomicUsize::new(0),
        state: AtomicUsize::new(0),
        tasks,
        panic: Mutex::new(None),
        owner: thread::current(),
    });
    let job = Job { work: (&raw const work).cast() };
    for _ in 0..helpers {
        let shared = Arc::clone(&shared);
        rayon::spawn(move || help(&shared, job));
    }
    let close = Close(&shared);
    while let Some(task) = shared.claim() {
        work(task);
    }
    drop(close);
    if let Some(panic) = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take() {
        resume_unwind(panic);
    }
}

/// Like [`for_each`] over ranges of `0..len` of at most `grain` elements each. The ranges do not depend on the number of
/// threads.
pub(crate) fn for_each_range<F: Fn(std::ops::Range<usize>) + Sync>(len: usize, grain: usize, work: F) {
    for_each(len.div_ceil(grain), |task| work(task * grain..len.min((task + 1) * grain)));
}

/// What the caller and its helpers share. It outlives the call, because a helper may wake up after it.
struct Shared {
    /// The next task that nobody has begun.
    next: AtomicUsize,
    /// The number of helpers at work, and [`CLOSED`].
    state: AtomicUsize,
    tasks: usize,
    /// What a helper panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    owner: Thread,
}

impl Shared {
    fn claim(&self) -> Option<usize> {
        // Relaxed: who gets a task needs nothing from who got the one before.
        let task = self.next.fetch_add(1, Ordering::Relaxed);
        (task < self.tasks).then_some(task)
    }
}

/// A pointer to a reference to the closure, its lifetime erased.
#[derive(Clone, Copy)]
struct Job {
    work: *const (),
}

// SAFETY: the closure behind the pointer is `Sync` (`for_each` demands it), and it is only called by shared reference.
unsafe impl Send for Job {}

impl Job {
    /// # Safety
    /// The `&dyn Fn` that the job was made of is alive.
    unsafe fn call(self, task: usize) {
        // SAFETY: the pointer was made of a `&(dyn Fn(usize) + Sync)`, which is alive as the caller promises.
        unsafe { (*self.work.cast::<&(dyn Fn(usize) + Sync)>())(task) }
    }
}

fn help(shared: &Shared, job: Job) {
    // Acquire: what the caller wrote before it offered the job.
    if shared.state.fetch_add(1, Ordering::Acquire) & CLOSED == 0 {
        let run = || {
            while let Some(task) = shared.claim() {
                // SAFETY: this helper was counted before the state was closed, so the caller waits in `Close::drop` until
                // the count goes down again below; until then the closure on its stack lives.
                unsafe { job.call(task) }
            }
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            // The others need not finish what will not be used.
            shared.next.fetch_max(shared.tasks, Ordering::Relaxed);
            *shared.panic.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
        }
    }
    // Release: what this helper wrote, to the caller that sees the count.
    if shared.state.fetch_sub(1, Ordering::Release) == CLOSED | 1 {
        shared.owner.unpark();
    }
}

/// Lets no more helpers in and waits for those within, also when the caller's own share panics.
struct Close<'a>(&'a Shared);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        let shared = self.0;
        if thread::panicking() {
            shared.next.fetch_max(shared.tasks, Ordering::Relaxed);
        }
        let mut held = shared.state.fetch_or(CLOSED, Ordering::Acquire);
        let mut spins = 0;
        while held & !CLOSED != 0 {
            if spins < SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                thread::park();
            }
            held = shared.state.load(Ordering::Acquire);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once() {
        for tasks in [0, 1, 2, 3, 100, 10_000] {
            let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            for_each(tasks, |task| {
                counts[task].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{tasks}");
        }
    }

    #[test]
    fn ranges_cover_everything() {
        let sum = AtomicUsize::new(0);
        for_each_range(1001, 10, |range| {
            assert!(range.len() <= 10);
            sum.fetch_add(range.sum(), Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 1000 * 1001 / 2);
    }

    #[test]
    fn calls_nest_and_meet() {
        let count = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for_each(20, |_| {
                        for_each(20, |_| {
                            count.fetch_add(1, Ordering::Relaxed);
                        });
                    });
                });
            }
        });
        assert_eq!(count.into_inner(), 1600);
    }

    #[test]
    fn a_panic_reaches_the_caller_after_the_others_ended() {
        for bad in [0, 50, 99] {
            let running = AtomicUsize::new(0);
            let result = catch_unwind(AssertUnwindSafe(|| {
                for_each(100, |task| {
                    running.fetch_add(1, Ordering::SeqCst);
                    thread::yield_now();
                    running.fetch_sub(1, Ordering::SeqCst);
                    assert_ne!(task, bad, "the bad one");
                });
            }));
            assert!(result.is_err());
            assert_eq!(running.load(Ordering::SeqCst), 0);
        }
    }

    #[test]
    fn one_thread_suffices() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let caller = AtomicUsize::new(0);
        pool.install(|| {
            let here = thread::current().id();
            for_each(10, |_| {
                assert_eq!(thread::current().id(), here);
                caller.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(caller.into_inner(), 10);
    }
}
