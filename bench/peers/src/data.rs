//! Inputs that every library and `peers.py` make alike: a number is a function of its seed and its place.

/// The 64 bits that splitmix64 has at this place.
fn bits(seed: u64, place: u64) -> u64 {
    let mut z = (seed << 40).wrapping_add(place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Uniform numbers in `[0, 1)`, all multiples of 2⁻²⁴: exact in f32 as in f64.
pub(crate) fn unit(seed: u64, count: usize) -> Vec<f32> {
    (0..count as u64).map(|place| (bits(seed, place) >> 40) as f32 / 16_777_216.0).collect()
}

/// Uniform numbers in `[−scale, scale)`.
pub(crate) fn uniform(seed: u64, count: usize, scale: f32) -> Vec<f32> {
    unit(seed, count).into_iter().map(|x| (2.0 * x - 1.0) * scale).collect()
}

/// Uniform whole numbers in `0..below`.
pub(crate) fn integers(seed: u64, count: usize, below: u64) -> Vec<i64> {
    (0..count as u64).map(|place| ((bits(seed, place) >> 33) % below) as i64).collect()
}

/// Some of a result's numbers, spread over all of it: what libraries are compared by.
pub(crate) fn sample(values: &[f64]) -> Vec<f64> {
    let count = values.len().min(64);
    (0..count).map(|i| values[i * (values.len() - 1) / (count - 1).max(1)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As numpy computes them in `peers.py`.
    #[test]
    fn the_numbers_are_these() {
        assert_eq!(integers(1, 4, 1000), [421, 319, 439, 981]);
        assert_eq!(
            unit(3, 3).iter().map(|x| x * 16_777_216.0).collect::<Vec<_>>(),
            [10006507.0, 7861596.0, 12254069.0]
        );
    }

    #[test]
    fn a_sample_has_both_ends() {
        let values: Vec<f64> = (0..1000).map(f64::from).collect();
        let sample = sample(&values);
        assert_eq!((sample.len(), sample[0], sample[63]), (64, 0.0, 999.0));
        assert_eq!(super::sample(&[7.0]), [7.0]);
    }
}
