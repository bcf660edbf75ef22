//! Work spread over threads, without waiting for sleeping ones.

mod processor;
mod waiting;

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Elements that are worth a second thread when each takes about one memory access. Waking a thread takes as long as a
/// core needs for a few times as many.
pub(crate) const GRAIN: usize = 1 << 16;

/// Set in [`Shared::state`] once helpers must not begin any more.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// How often the caller looks for the helpers' end before it sleeps.
const SPINS: usize = 2000;

/// How long a caller works alone before it looks whether its helpers wait for its own processor. Waking one on an idle processor
/// takes a few microseconds, in a virtual machine some tens.
const PATIENCE: Duration = Duration::from_micros(30);
/// How long that look takes at most, if nobody else wants the processor.
const LOOK: Duration = Duration::from_micros(300);
/// How many jobs at most go by without such a look where the last ones took long.
const MOST_SKIPPED: u32 = 255;

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
        left: AtomicUsize::new(NOWHERE),
        panic: Mutex::new(None),
        owner: thread::current(),
    });
    let job = Job { work: (&raw const work).cast() };
    // From here on the closure is not left before its helpers are.
    let close = Close(&shared);
    // Those of another pool than the global one are woken: only its own threads may work there.
    let outside = rayon::current_thread_index().is_none();
    let waiting = if outside { waiting::offer(&shared, job, helpers) } else { 0 };
    for _ in waiting..helpers {
        let shared = Arc::clone(&shared);
        rayon::spawn(move || {
            help(&shared, job);
            drop(shared);
            if outside {
                waiting::wait();
            }
        });
    }
    let mut alone_since = Some(Instant::now());
    while let Some(task) = shared.claim() {
        work(task);
        if let Some(since) = alone_since {
            // Relaxed: whether someone else is at work is only a reason to be content.
            if shared.state.load(Ordering::Relaxed) != 0 {
                alone_since = None;
            } else if since.elapsed() > PATIENCE {
                alone_since = None;
                shared.let_helpers_by();
            }
        }
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
    /// The processor that the caller leaves for a moment, or [`NOWHERE`].
    left: AtomicUsize,
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

    /// Lets a helper run that waits for the caller's processor, so that it can go to another one.
    ///
    /// A thread that is woken is queued on the processor of the one that wakes it if no other looks idle. In a virtual machine none
    /// does: to Linux a halted virtual processor is one that the host took away. The helper would begin when the caller is done.
    fn let_helpers_by(&self) {
        let Some(processor) = processor::current() else { return };
        let [skip, last] = SKIPPED.get();
        if skip > 0 {
            return SKIPPED.set([skip - 1, last]);
        }
        // Relaxed: a helper that runs on this processor after this thread sees what this thread did; others may miss it.
        self.left.store(processor, Ordering::Relaxed);
        let start = Instant::now();
        thread::yield_now();
        self.left.store(NOWHERE, Ordering::Relaxed);
        // On a busy machine somebody else's turn came first, and it is not worth that.
        let next = if start.elapsed() > LOOK { (2 * last + 1).min(MOST_SKIPPED) } else { 0 };
        SKIPPED.set([next, next]);
    }
}

/// No processor.
const NOWHERE: usize = usize::MAX;

thread_local! {
    /// How many jobs are still to go by without a look at where helpers wait, and how many were to.
    static SKIPPED: Cell<[u32; 2]> = const { Cell::new([0; 2]) };
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
        let left = shared.left.load(Ordering::Relaxed);
        if left != NOWHERE && processor::current() == Some(left) {
            processor::leave(left);
        }
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
    fn jobs_that_follow_each_other_and_meet_run_whole() {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for job in 0..1000 {
                        let tasks = 2 + job % 7;
                        let sum = AtomicUsize::new(0);
                        for_each(tasks, |task| _ = sum.fetch_add(task + 1, Ordering::Relaxed));
                        assert_eq!(sum.into_inner(), tasks * (tasks + 1) / 2);
                        if job % 100 == 0 {
                            // Long enough for helpers to stop waiting.
                            thread::sleep(Duration::from_millis(1));
                        }
                    }
                });
            }
        });
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
