//! One case as one library runs it.

use crate::memory;
use std::hint::black_box;
use std::time::Instant;

/// A case made ready: its inputs exist, and are the same for every library.
pub(crate) trait Job {
    /// Runs it so many times; the seconds that one took.
    fn time(&mut self, count: usize) -> f64;

    /// Runs it twice and gives some of the numbers that came out of the second: after two steps of a training loop the
    /// loss shows the gradients of the first.
    fn digest(&mut self) -> Vec<f64>;

    /// The memory, in MiB, that running it the first few times takes at its peak, where the system says so.
    fn peak(&mut self) -> Option<f64>;
}

/// How a library makes a case ready; `None` for one that it cannot do.
pub(crate) type Prepare = Box<dyn Fn(&str) -> Option<Box<dyn Job>>>;

/// What a row of the table has a column for.
pub(crate) struct Library {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) prepare: Prepare,
}

struct Steps<S, R> {
    step: S,
    read: R,
}

impl<T, S: FnMut() -> T, R: Fn(T) -> Vec<f64>> Job for Steps<S, R> {
    fn time(&mut self, count: usize) -> f64 {
        let start = Instant::now();
        for _ in 0..count {
            // Freeing what came out is part of the work.
            drop(black_box((self.step)()));
        }
        start.elapsed().as_secs_f64() / count as f64
    }

    fn digest(&mut self) -> Vec<f64> {
        drop((self.step)());
        crate::data::sample(&(self.read)((self.step)()))
    }

    fn peak(&mut self) -> Option<f64> {
        memory::rise(|| _ = self.time(memory::RUNS))
    }
}

/// A job from what it does, and how to read what comes out.
pub(crate) fn job<T: 'static>(
    step: impl FnMut() -> T + 'static,
    read: impl Fn(T) -> Vec<f64> + 'static,
) -> Option<Box<dyn Job>> {
    Some(Box::new(Steps { step, read }))
}
