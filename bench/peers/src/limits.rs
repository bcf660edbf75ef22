//! What the machine itself can do: measured in the same run, with the plainest code that reaches it.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// What a case cannot do without: bytes moved one way or another, or floating-point operations.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Nothing that bandwidth or arithmetic bounds.
    Free,
    /// Bytes read only.
    Read(f64),
    /// Bytes written only.
    Write(f64),
    /// Bytes of which half is read and half written.
    Copy(f64),
    /// Bytes of which two thirds are read.
    Add(f64),
    /// Operations on f32.
    Fma32(f64),
    /// Operations on f64.
    Fma64(f64),
}

/// Rates of the whole machine, in bytes or operations a second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) read: f64,
    pub(crate) write: f64,
    pub(crate) copy: f64,
    pub(crate) add: f64,
    pub(crate) fma32: f64,
    pub(crate) fma64: f64,
}

impl Limits {
    /// The best of what several calls measure: a limit is what the machine can do, not what it did while disturbed.
    pub(crate) fn improve(&mut self, arrays: &mut Arrays) {
        let new = arrays.measure();
        self.read = self.read.max(new.read);
        self.write = self.write.max(new.write);
        self.copy = self.copy.max(new.copy);
        self.add = self.add.max(new.add);
        self.fma32 = self.fma32.max(new.fma32);
        self.fma64 = self.fma64.max(new.fma64);
    }

    /// Seconds that the work takes at least; nothing where no limit is known.
    pub(crate) fn seconds(&self, work: &[Work]) -> Option<f64> {
        let seconds = work.iter().map(|work| match *work {
            Work::Free => 0.0,
            Work::Read(bytes) => bytes / self.read,
            Work::Write(bytes) => bytes / self.write,
            Work::Copy(bytes) => bytes / self.copy,
            Work::Add(bytes) => bytes / self.add,
            Work::Fma32(operations) => operations / self.fma32,
            Work::Fma64(operations) => operations / self.fma64,
        });
        let seconds: f64 = seconds.sum();
        (seconds > 0.0 && seconds.is_finite()).then_some(seconds)
    }
}

/// Memory to measure bandwidth with, far larger than any cache.
#[derive(Debug)]
pub(crate) struct Arrays {
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
    threads: usize,
}

const LENGTH: usize = 16 << 20;
/// Turns of the loop that measures arithmetic.
const TURNS: usize = 100_000;
/// Tries of a measurement: on a busy machine all threads must happen to run at once in one of them.
const TRIES: usize = 20;

impl Arrays {
    pub(crate) fn new(threads: usize) -> Self {
        Self { a: vec![1.0; LENGTH], b: vec![2.0; LENGTH], c: vec![3.0; LENGTH], threads }
    }

    fn measure(&mut self) -> Limits {
        let bytes = (LENGTH * 4) as f64;
        let part = LENGTH.div_ceil(self.threads);
        let (a, b, c) = (&self.a, &self.b, &mut self.c);
        let parts = a.chunks(part);
        let read = bytes / on_each(parts.clone(), |a| _ = black_box(kernels::read(a)));
        let write = bytes / on_each(c.chunks_mut(part), |c| kernels::fill(c));
        let copy = 2.0 * bytes / on_each(parts.clone().zip(c.chunks_mut(part)), |(a, c)| kernels::copy(a, c));
        let inputs = parts.zip(b.chunks(part));
        let add = 3.0 * bytes / on_each(inputs.zip(c.chunks_mut(part)), |((a, b), c)| kernels::add(a, b, c));
        let (turns, threads) = (self.threads as f64 * TURNS as f64, 0..self.threads);
        let fma32 = turns * kernels::FMA32 / on_each(threads.clone(), |_| kernels::fma32(TURNS));
        let fma64 = turns * kernels::FMA64 / on_each(threads, |_| kernels::fma64(TURNS));
        Limits { read, write, copy, add, fma32, fma64 }
    }
}

/// The seconds from when all threads are ready until the last is done, in the best of some tries.
///
/// Threads do not sleep in between: the system may put one that wakes behind another, on the same processor.
fn on_each<T: Send>(parts: impl Iterator<Item = T>, run: impl Fn(&mut T) + Sync) -> f64 {
    let parts: Vec<T> = parts.collect();
    let (count, arrived) = (parts.len(), AtomicUsize::new(0));
    let attempts = |mut part: T| -> Vec<(Instant, Instant)> {
        let attempt = |number: usize| {
            arrived.fetch_add(1, Ordering::AcqRel);
            while arrived.load(Ordering::Acquire) < number * count {
                std::hint::spin_loop();
            }
            let start = Instant::now();
            run(&mut part);
            (start, Instant::now())
        };
        (1..=TRIES).map(attempt).collect()
    };
    let attempts = &attempts;
    let spans: Vec<Vec<(Instant, Instant)>> = std::thread::scope(|scope| {
        let started: Vec<_> = parts.into_iter().map(|part| scope.spawn(move || attempts(part))).collect();
        started.into_iter().map(|thread| thread.join().expect("measures")).collect()
    });
    let took = |number: usize| {
        let all = spans.iter().map(|spans| spans[number]);
        let (first, last) = (all.clone().map(|span| span.0).min(), all.map(|span| span.1).max());
        (last.expect("a thread") - first.expect("a thread")).as_secs_f64()
    };
    (0..TRIES).map(took).fold(f64::INFINITY, f64::min)
}

/// With the widest vectors there are, and stores that go past the caches.
#[cfg(all(target_arch = "x86_64", target_feature = "avx512f"))]
mod kernels {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    /// f32 in a vector.
    const LANES: usize = 16;
    const CHAINS: usize = 12;
    pub(super) const FMA32: f64 = (CHAINS * LANES * 2) as f64;
    pub(super) const FMA64: f64 = FMA32 / 2.0;

    pub(super) fn read(a: &[f32]) -> f32 {
        // SAFETY: each block has the 8 times 16 elements that are read; the module is compiled only where AVX-512 is there.
        unsafe {
            let mut sums = [_mm512_setzero_ps(); 8];
            for block in a.chunks_exact(8 * LANES) {
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = _mm512_add_ps(*sum, _mm512_loadu_ps(block.as_ptr().add(i * LANES)));
                }
            }
            sums.iter().map(|&sum| _mm512_reduce_add_ps(sum)).sum()
        }
    }

    /// The part of a slice that starts at a vector's bound: stores past the caches ask for it.
    fn skew(c: &[f32]) -> usize {
        c.as_ptr().align_offset(64).min(c.len())
    }

    pub(super) fn fill(c: &mut [f32]) {
        let skew = skew(c);
        for c in c[skew..].chunks_exact_mut(LANES) {
            // SAFETY: `c` has the 16 elements that are written, at a bound of 64 bytes; AVX-512 is there, see above.
            unsafe { _mm512_stream_ps(c.as_mut_ptr(), _mm512_set1_ps(5.0)) };
        }
        fence();
    }

    pub(super) fn copy(a: &[f32], c: &mut [f32]) {
        let skew = skew(c);
        for (a, c) in a[skew..].chunks_exact(LANES).zip(c[skew..].chunks_exact_mut(LANES)) {
            // SAFETY: both have the 16 elements, `c` lies at a bound of 64 bytes; AVX-512 is there, see above.
            unsafe { _mm512_stream_ps(c.as_mut_ptr(), _mm512_loadu_ps(a.as_ptr())) };
        }
        fence();
    }

    pub(super) fn add(a: &[f32], b: &[f32], c: &mut [f32]) {
        let skew = skew(c);
        let inputs = a[skew..].chunks_exact(LANES).zip(b[skew..].chunks_exact(LANES));
        for ((a, b), c) in inputs.zip(c[skew..].chunks_exact_mut(LANES)) {
            // SAFETY: all have the 16 elements, `c` lies at a bound of 64 bytes; AVX-512 is there, see above.
            unsafe {
                let sum = _mm512_add_ps(_mm512_loadu_ps(a.as_ptr()), _mm512_loadu_ps(b.as_ptr()));
                _mm512_stream_ps(c.as_mut_ptr(), sum);
            }
        }
        fence();
    }

    /// Waits until the stores are seen: their time counts.
    fn fence() {
        // SAFETY: every processor of this architecture has it.
        unsafe { _mm_sfence() };
    }

    pub(super) fn fma32(turns: usize) {
        // SAFETY: AVX-512 is there, see above; nothing but registers is touched.
        unsafe {
            let (a, b) = (_mm512_set1_ps(black_box(0.5)), _mm512_set1_ps(black_box(0.25)));
            let mut chains = [a; CHAINS];
            for _ in 0..turns {
                for chain in &mut chains {
                    *chain = _mm512_fmadd_ps(*chain, a, b);
                }
            }
            black_box(chains);
        }
    }

    pub(super) fn fma64(turns: usize) {
        // SAFETY: AVX-512 is there, see above; nothing but registers is touched.
        unsafe {
            let (a, b) = (_mm512_set1_pd(black_box(0.5)), _mm512_set1_pd(black_box(0.25)));
            let mut chains = [a; CHAINS];
            for _ in 0..turns {
                for chain in &mut chains {
                    *chain = _mm512_fmadd_pd(*chain, a, b);
                }
            }
            black_box(chains);
        }
    }
}

/// What the compiler makes of plain loops for other processors: a lower bound of what they can do.
#[cfg(not(all(target_arch = "x86_64", target_feature = "avx512f")))]
mod kernels {
    use std::hint::black_box;

    const CHAINS: usize = 96;
    pub(super) const FMA32: f64 = (CHAINS * 2) as f64;
    pub(super) const FMA64: f64 = FMA32;

    pub(super) fn read(a: &[f32]) -> f32 {
        let mut sums = [0.0_f32; 128];
        for block in a.chunks_exact(128) {
            for (sum, x) in sums.iter_mut().zip(block) {
                *sum += x;
            }
        }
        sums.iter().sum()
    }

    pub(super) fn fill(c: &mut [f32]) {
        c.fill(black_box(5.0));
    }

    pub(super) fn copy(a: &[f32], c: &mut [f32]) {
        c.copy_from_slice(a);
    }

    pub(super) fn add(a: &[f32], b: &[f32], c: &mut [f32]) {
        for ((a, b), c) in a.iter().zip(b).zip(c) {
            *c = a + b;
        }
    }

    pub(super) fn fma32(turns: usize) {
        let (a, b) = (black_box(0.5_f32), black_box(0.25));
        let mut chains = [a; CHAINS];
        for _ in 0..turns {
            for chain in &mut chains {
                *chain = *chain * a + b;
            }
        }
        black_box(chains);
    }

    pub(super) fn fma64(turns: usize) {
        let (a, b) = (black_box(0.5_f64), black_box(0.25));
        let mut chains = [a; CHAINS];
        for _ in 0..turns {
            for chain in &mut chains {
                *chain = *chain * a + b;
            }
        }
        black_box(chains);
    }
}
