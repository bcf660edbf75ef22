//! Helpers that have just ended a job and wait a little for the next one: waking them takes longer than many jobs do.

use super::{Job, Shared, help};
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a helper waits: longer than the host takes between two jobs of a training step.
const WAIT: Duration = Duration::from_micros(100);
/// How often a helper looks for a job between two looks at the clock.
const LOOKS: usize = 32;

/// Helpers that wait and to whom nothing is promised yet.
static FREE: AtomicUsize = AtomicUsize::new(0);
/// What is offered to those that wait, and how much that is. For everything in it a helper was taken out of [`FREE`].
static OFFERS: Mutex<VecDeque<(Arc<Shared>, Job)>> = Mutex::new(VecDeque::new());
static OFFERED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether this thread waits already, further out on its stack.
    static WAITS: Cell<bool> = const { Cell::new(false) };
}

/// Offers a job to at most so many helpers that wait; to how many it was.
pub(super) fn offer(shared: &Arc<Shared>, job: Job, most: usize) -> usize {
    let mut taken = 0;
    // Relaxed: what a helper has to see comes with the offer.
    while taken < most && FREE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(1)).is_ok() {
        taken += 1;
    }
    if taken > 0 {
        let mut offers = OFFERS.lock().unwrap_or_else(PoisonError::into_inner);
        offers.extend((0..taken).map(|_| (Arc::clone(shared), job)));
        OFFERED.store(offers.len(), Ordering::Relaxed);
    }
    taken
}

fn accept() -> Option<(Arc<Shared>, Job)> {
    if OFFERED.load(Ordering::Relaxed) == 0 {
        return None;
    }
    let mut offers = OFFERS.lock().unwrap_or_else(PoisonError::into_inner);
    let offer = offers.pop_front();
    OFFERED.store(offers.len(), Ordering::Relaxed);
    offer
}

/// Waits for jobs, and helps with them, until none has come for a while.
pub(super) fn wait() {
    if WAITS.replace(true) {
        return;
    }
    'jobs: loop {
        FREE.fetch_add(1, Ordering::Relaxed);
        let start = Instant::now();
        loop {
            for _ in 0..LOOKS {
                if let Some((shared, job)) = accept() {
                    help(&shared, job);
                    continue 'jobs;
                }
                std::hint::spin_loop();
            }
            // Whoever is not free any more was taken by a caller, whose offer is about to come.
            if start.elapsed() > WAIT
                && FREE.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| free.checked_sub(1)).is_ok()
            {
                break 'jobs;
            }
        }
    }
    WAITS.set(false);
}
