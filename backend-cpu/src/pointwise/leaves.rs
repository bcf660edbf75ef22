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

/// How many blocks are computed at once: enough for the widest vectors, few enough to stay in L1.
const LANES: usize = 64;

impl Task for Random<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let len = self.dst.iter().flatten().map(|dst| dst.len()).next().unwrap_or(0);
        let mut words = [[0u32; LANES]; 4];
        for at in (0..len).step_by(LANES) {
            blocks(&mut words, self.first.wrapping_add(at as u64), self.stream, self.seed);
            for (dst, words) in self.dst.iter_mut().zip(&words) {
                if let Some(dst) = dst {
                    for (value, &word) in dst[at..].iter_mut().zip(words) {
                        *value = i64::from(word);
                    }
                }
            }
        }
    }
}

/// Philox4x32-10 for consecutive elements; see [`tensor_core::random::philox4x32`].
#[inline(always)]
fn blocks(words: &mut [[u32; LANES]; 4], first: u64, stream: u64, seed: u64) {
    let [w0, w1, w2, w3] = words;
    for i in 0..LANES {
        let element = first.wrapping_add(i as u64);
        let (mut c0, mut c1) = (element as u32, (element >> 32) as u32);
        let (mut c2, mut c3) = (stream as u32, (stream >> 32) as u32);
        let (mut k0, mut k1) = (seed as u32, (seed >> 32) as u32);
        for _ in 0..10 {
            let p0 = u64::from(MULTIPLIERS[0]) * u64::from(c0);
            let p1 = u64::from(MULTIPLIERS[1]) * u64::from(c2);
            (c0, c2) = ((p1 >> 32) as u32 ^ c1 ^ k0, (p0 >> 32) as u32 ^ c3 ^ k1);
            (c1, c3) = (p1 as u32, p0 as u32);
            k0 = k0.wrapping_add(KEY_STEPS[0]);
            k1 = k1.wrapping_add(KEY_STEPS[1]);
        }
        w0[i] = c0;
        w1[i] = c1;
        w2[i] = c2;
        w3[i] = c3;
    }
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
