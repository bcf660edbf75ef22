//! What the machine can do, measured: the time that memory traffic or arithmetic takes at least.

use crate::{cpu_seconds, seconds};
use backend_cpu::{Buffer, Cpu};
use std::hint::black_box;
use tensor_core::Backend;

/// What a case has to do, whoever does it.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// Bytes to read and to write.
    Traffic { read: usize, written: usize },
    /// Multiply-adds of f32, each counted as two operations.
    Flops32(usize),
    /// The same of f64.
    Flops64(usize),
    /// Nothing whose time could be foreseen.
    Unknown,
}

/// Memory to read and write, larger than any cache where cases are.
pub(crate) struct Machine {
    source: Buffer,
    target: Buffer,
}

/// The most that is read and written.
const BYTES: usize = 128 << 20;
/// What a thread reads or writes at a time.
const PIECE: usize = 1 << 18;
/// Multiply-adds of a vector that a thread does to measure its speed.
const FMAS: usize = 4_000_000;

impl Machine {
    pub(crate) fn new() -> Self {
        // Buffers of the backend, in huge pages as the kernels' are.
        let buffer = || {
            let mut buffer = Cpu::open().alloc(BYTES).expect("memory");
            buffer.bytes_mut().fill(1);
            buffer
        };
        Self { source: buffer(), target: buffer() }
    }

    /// The seconds that the work takes on so many threads, this time; `None` if that cannot be measured.
    pub(crate) fn limit(&mut self, work: Work, threads: usize) -> Option<f64> {
        match work {
            Work::Traffic { read, written } => Some(self.traffic(read, written, threads)),
            Work::Flops32(count) => Some(count as f64 / fma_rate(threads)?),
            Work::Flops64(count) => Some(2.0 * count as f64 / fma_rate(threads)?),
            Work::Unknown => None,
        }
    }

    fn traffic(&mut self, read: usize, written: usize, threads: usize) -> f64 {
        let source: &[u64] = words(self.source.bytes());
        let target: &mut [u64] = words_mut(self.target.bytes_mut());
        let (read, written) = ((read / 8).min(source.len()), (written / 8).min(target.len()));
        // Only as many threads as there are pieces: waking another one for less takes longer.
        let threads = threads.min((read + written).div_ceil(PIECE / 8)).max(1);
        let (reads, writes) = (read.div_ceil(threads).max(1), written.div_ceil(threads).max(1));
        let sources: Vec<&[u64]> = source[..read].chunks(reads).collect();
        let mut targets: Vec<&mut [u64]> = target[..written].chunks_mut(writes).collect();
        let mut parts: Vec<(&[u64], Option<&mut [u64]>)> = Vec::new();
        for number in 0..threads {
            let target = if targets.is_empty() { None } else { Some(targets.remove(0)) };
            parts.push((sources.get(number).copied().unwrap_or(&[]), target));
        }
        let now = if threads == 1 { cpu_seconds } else { seconds };
        let start = now();
        all(parts, |(source, target)| stream(source, target.unwrap_or(&mut [])));
        now() - start
    }
}

fn words(bytes: &[u8]) -> &[u64] {
    // SAFETY: every bit pattern is a word.
    unsafe { bytes.align_to().1 }
}

fn words_mut(bytes: &mut [u8]) -> &mut [u64] {
    // SAFETY: every bit pattern is a word, and every word is bytes.
    unsafe { bytes.align_to_mut().1 }
}

/// Runs `f` for all items at once, on the threads of the pool.
fn all<T: Send>(mut items: Vec<T>, f: impl Fn(T) + Copy + Send + Sync) {
    match items.pop() {
        None => {}
        Some(last) if items.is_empty() => f(last),
        Some(last) => {
            rayon::join(|| all(items, f), || f(last));
        }
    }
}

/// Reads one slice and writes the other, a little of each in turn.
fn stream(source: &[u64], target: &mut [u64]) {
    let pieces = (source.len().max(target.len()) / (PIECE / 8)).max(1);
    let (reads, writes) = (source.len().div_ceil(pieces).max(1), target.len().div_ceil(pieces).max(1));
    let mut targets = target.chunks_mut(writes);
    let mut sources = source.chunks(reads);
    for _ in 0..pieces {
        let (from, to) = (sources.next().unwrap_or(&[]), targets.next().unwrap_or(&mut []));
        if from.len() == to.len() { copy(from, to) } else { read_and_fill(from, to) }
    }
}

fn read_and_fill(from: &[u64], to: &mut [u64]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has the instructions.
        return unsafe { x86::read_and_fill(from, to) };
    }
    black_box(from.iter().fold(0u64, |sum, &value| sum.wrapping_add(value)));
    to.fill(black_box(7));
}

fn copy(from: &[u64], to: &mut [u64]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has the instructions.
        return unsafe { x86::copy(from, to) };
    }
    to.copy_from_slice(from);
}

/// Operations a second of f32 multiply-adds on so many threads.
fn fma_rate(threads: usize) -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    {
        let wide = is_x86_feature_detected!("avx512f");
        if wide || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            let now = if threads == 1 { cpu_seconds } else { seconds };
            let start = now();
            // SAFETY: the processor has the instructions.
            all((0..threads).collect(), |_| unsafe {
                if wide { x86::multiply_add() } else { x86::multiply_add_avx2() }
            });
            return Some((threads * FMAS * if wide { 16 } else { 8 } * 2) as f64 / (now() - start));
        }
    }
    let _ = (threads, FMAS);
    None
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::FMAS;
    use std::arch::x86_64::*;
    use std::hint::black_box;

    /// From how many words on writing past the caches is what a good copy does.
    const LARGE: usize = 1 << 14;

    #[target_feature(enable = "avx512f")]
    pub(super) fn read_and_fill(from: &[u64], to: &mut [u64]) {
        let (chunks, _) = from.as_chunks::<32>();
        let mut sums = [_mm512_setzero_si512(); 4];
        for chunk in chunks {
            for (number, sum) in sums.iter_mut().enumerate() {
                // SAFETY: 4 × 8 words are a chunk.
                *sum = _mm512_add_epi64(*sum, unsafe { _mm512_loadu_si512(chunk.as_ptr().add(8 * number).cast()) });
            }
        }
        black_box(sums);
        let value = _mm512_set1_epi64(black_box(7));
        let before = to.as_ptr().align_offset(64).min(to.len());
        for chunk in to[before..].as_chunks_mut::<8>().0 {
            // SAFETY: a chunk is 8 words, aligned to 64 bytes.
            unsafe { _mm512_stream_si512(chunk.as_mut_ptr().cast(), value) };
        }
        _mm_sfence();
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn copy(from: &[u64], to: &mut [u64]) {
        if to.len() < LARGE {
            to.copy_from_slice(from);
            return;
        }
        let before = to.as_ptr().align_offset(64).min(to.len());
        for (to, from) in to[before..].as_chunks_mut::<8>().0.iter_mut().zip(from[before..].as_chunks::<8>().0) {
            // SAFETY: a chunk is 8 words, that of the target aligned to 64 bytes.
            unsafe { _mm512_stream_si512(to.as_mut_ptr().cast(), _mm512_loadu_si512(from.as_ptr().cast())) };
        }
        _mm_sfence();
    }

    /// Sums that are independent, so that no multiply-add waits for another one.
    const CHAINS: usize = 16;
    /// The same where there are 16 registers, two of which hold the factors.
    const CHAINS_AVX2: usize = 12;

    macro_rules! multiply_add {
        ($name:ident, $features:literal, $chains:ident, $splat:ident, $multiply_add:ident) => {
            #[target_feature(enable = $features)]
            pub(super) fn $name() {
                let (a, b) = ($splat(black_box(0.999)), $splat(black_box(0.001)));
                let mut sums = [a; $chains];
                for _ in 0..FMAS / $chains {
                    for sum in &mut sums {
                        *sum = $multiply_add(*sum, a, b);
                    }
                }
                black_box(sums);
            }
        };
    }
    multiply_add!(multiply_add, "avx512f", CHAINS, _mm512_set1_ps, _mm512_fmadd_ps);
    multiply_add!(multiply_add_avx2, "avx2,fma", CHAINS_AVX2, _mm256_set1_ps, _mm256_fmadd_ps);
}
