//! Times kernels against what the machine can do, on one thread and on all:
//! `cargo bench -p gradix-backend-cpu --bench kernels [-- FILTER …]`.
//!
//! The limit is the time that the same memory traffic, or as many multiply-adds, takes in a bare loop. Rounds of it and of
//! the kernel alternate, so that what else the machine does slows down both; on one thread, only the time counts that the
//! thread itself ran. Printed are the shortest times, the ratio of these (1 is as fast as it can be), and the median of the
//! kernel's.

mod cases;
mod machine;

use machine::{Machine, Work};
use std::sync::LazyLock;
use std::time::Instant;

/// How long a case is timed on each number of threads.
const SECONDS: f64 = 0.35;

/// The shortest and the median time, in seconds.
struct Times {
    limit: Option<f64>,
    best: f64,
    median: f64,
}

fn time(machine: &mut Machine, work: Work, threads: usize, call: &mut dyn FnMut()) -> Times {
    call();
    let start = Instant::now();
    call();
    let once = start.elapsed().as_nanos().max(1) as usize;
    // Short calls are timed many at once: reading the clock takes some 20 ns itself.
    let batch = (20_000 / once).clamp(1, 1000);
    let mut times = Vec::new();
    let mut limit: Option<f64> = None;
    let start = Instant::now();
    let now = if threads == 1 { cpu_seconds } else { seconds };
    while times.len() < 5 || start.elapsed().as_secs_f64() < SECONDS {
        if let Some(bound) = machine.limit(work, threads) {
            limit = Some(limit.map_or(bound, |limit| limit.min(bound)));
        }
        for _ in 0..(1_000_000 / (once * batch)).clamp(1, 20) {
            let begin = now();
            for _ in 0..batch {
                call();
            }
            times.push((now() - begin) / batch as f64);
        }
    }
    times.sort_by(f64::total_cmp);
    Times { limit, best: times[0], median: times[times.len() / 2] }
}

/// The time since the first call.
pub(crate) fn seconds() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_secs_f64()
}

/// The time that this thread has run, where the system knows it: what others run meanwhile does not count.
pub(crate) fn cpu_seconds() -> f64 {
    #[cfg(target_os = "linux")]
    {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the clock exists, and the time is ours to write.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    }
    #[cfg(not(target_os = "linux"))]
    seconds()
}

/// A time in µs, with as many digits as tell something.
fn micros(seconds: f64) -> String {
    let micros = seconds * 1e6;
    if micros < 10.0 { format!("{micros:.2}") } else { format!("{micros:.0}") }
}

struct Bench {
    filters: Vec<String>,
    machine: Machine,
    pools: Vec<rayon::ThreadPool>,
}

impl Bench {
    fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }

    fn case(&mut self, name: &str, work: Work, mut call: impl FnMut() + Send) {
        print!("| {name:32} |");
        let machine = &mut self.machine;
        for pool in &self.pools {
            let threads = pool.current_num_threads();
            let times = pool.install(|| time(machine, work, threads, &mut call));
            let limit = times.limit.map_or("–".to_owned(), micros);
            let ratio = times.limit.map_or("–".to_owned(), |limit| format!("{:.2}", times.best / limit));
            print!(" {limit:>7} | {:>7} | {ratio:>5} | {:>7} |", micros(times.best), micros(times.median));
        }
        println!();
    }
}

fn main() {
    let filters = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let all = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let pools = [1, all]
        .map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started"));
    let mut bench = Bench { filters, machine: Machine::new(), pools: pools.into() };
    println!("| µs | 1 thread: limit | shortest | ratio | median | {all} threads: limit | shortest | ratio | median |");
    println!("|-|-|-|-|-|-|-|-|-|");
    cases::run(&mut bench);
}
