//! The instructions that make values from positions: coordinates and random bits.

use crate::vecmath::{Isa, Level, Task};
use tensor_core::random::{KEY_STEPS, MULTIPLIERS};

/// `dst[i] = (first + i) / inner % size`: the coordinates along an axis of `size`, of which each element of the axes
/// behind it, `inner` together, has the same.
pub(super) fn iota(dst: &mut [i64], first: usize, inner: usize, size: usize) {
    let mut coordinate = first / inner % size;
    if inner == 1 {
        let mut rest = dst;
        while !rest.is_empty() {
            let count = rest.len().min(size - coordinate);
            let (run, others) = rest.split_at_mut(count);
            for (i, value) in run.iter_mut().enumerate() {
                *value = (coordinate + i) as i64;
            }
            rest = others;
            coordinate = 0;
        }
        return;
    }
    let mut left = inner - first % inner;
    let mut rest = dst;
    while !rest.is_empty() {
        let (run, others) = rest.split_at_mut(left.min(rest.len()));
        run.fill(coordinate as i64);
        rest = others;
        left = inner;
        coordinate = if coordinate + 1 == size { 0 } else { coordinate + 1 };
    }
}

/// Random words of consecutive elements: `dst[word][i]` is that word of the block of element `first + i`.
pub(super) struct Random<'a> {
    pub(super) seed: u64,
    pub(super) stream: u64,
    pub(super) first: u64,
    pub(super) dst: [Option<&'a mut [i64]>; 4],
}

impl Random<'_> {
    pub(super) fn run(self, level: Level) {
        level.run(self);
    }
}

/// How many blocks are computed at once: two of the widest vectors, so that one's latency hides behind the other's work.
const LANES: usize = 16;

impl Task for Random<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let len = self.dst.iter().flatten().map(|dst| dst.len()).next().unwrap_or(0);
        for at in (0..len).step_by(LANES) {
            let words = blocks(self.first.wrapping_add(at as u64), self.stream, self.seed);
            let count = LANES.min(len - at);
            for (dst, words) in self.dst.iter_mut().zip(&words) {
                if let Some(dst) = dst {
                    if count == LANES {
                        dst[at..at + LANES].copy_from_slice(words);
                    } else {
                        dst[at..].copy_from_slice(&words[..count]);
                    }
                }
            }
        }
    }
}

/// Philox4x32-10 for consecutive elements; see [`tensor_core::random::philox4x32`].
///
/// Words are kept in the lower halves of 64-bit lanes, where multiplications of vectors take them from and where the result
/// wants them. The upper halves hold anything until the end.
#[inline(always)]
fn blocks(first: u64, stream: u64, seed: u64) -> [[i64; LANES]; 4] {
    const LOW: u64 = 0xffff_ffff;
    let (mut c0, mut c1) = ([0u64; LANES], [0u64; LANES]);
    let (mut c2, mut c3) = ([stream; LANES], [stream >> 32; LANES]);
    for i in 0..LANES {
        c0[i] = first.wrapping_add(i as u64);
        c1[i] = c0[i] >> 32;
    }
    let (mut k0, mut k1) = (seed as u32, (seed >> 32) as u32);
    for _ in 0..10 {
        for i in 0..LANES {
            let p0 = u64::from(MULTIPLIERS[0]) * (c0[i] & LOW);
            let p1 = u64::from(MULTIPLIERS[1]) * (c2[i] & LOW);
            (c0[i], c2[i]) = (p1 >> 32 ^ c1[i] ^ u64::from(k0), p0 >> 32 ^ c3[i] ^ u64::from(k1));
            (c1[i], c3[i]) = (p1, p0);
        }
        k0 = k0.wrapping_add(KEY_STEPS[0]);
        k1 = k1.wrapping_add(KEY_STEPS[1]);
    }
    [c0, c1, c2, c3].map(|words| words.map(|word| (word & LOW) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor_core::random::philox4x32;

    #[test]
    fn coordinates_are_what_division_says() {
        for (first, inner, size) in [(0, 1, 5), (3, 1, 5), (0, 4, 3), (5, 4, 3), (11, 4, 3), (7, 1, 1), (2, 9, 1)] {
            let mut dst = [0; 40];
            iota(&mut dst, first, inner, size);
            for (i, &value) in dst.iter().enumerate() {
                assert_eq!(value, ((first + i) / inner % size) as i64, "{first} {inner} {size}");
            }
        }
    }

    #[test]
    fn random_words_are_philox_on_every_level() {
        for &level in Level::available() {
            for first in [0, u64::from(u32::MAX) - 5, u64::MAX - 3] {
                let (mut a, mut b) = ([0; 100], [0; 100]);
                let (seed, stream) = (0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
                Random { seed, stream, first, dst: [None, Some(&mut a), None, Some(&mut b)] }.run(level);
                for i in 0..100 {
                    let words = philox4x32(first.wrapping_add(i as u64), stream, seed);
                    assert_eq!((a[i], b[i]), (i64::from(words[1]), i64::from(words[3])), "{level:?}");
                }
            }
        }
    }
}
