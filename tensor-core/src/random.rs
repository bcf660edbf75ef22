//! Random bits that are the same on every backend.
//!
//! Philox4x32-10 turns a counter and a key into four random words without any state, so every element of every tensor can
//! be computed on its own, in any order, on any device (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).

/// The multipliers of Philox4x32.
pub const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];

/// What is added to the key each round: the golden ratio and √3 − 1, in 32 bits.
pub const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Four random words for a 128-bit counter, given as element and stream, and a 64-bit key.
///
/// ```
/// use tensor_core::random::philox4x32;
/// // the published test vector for a zero counter and key
/// assert_eq!(philox4x32(0, 0, 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
/// ```
#[inline]
pub fn philox4x32(element: u64, stream: u64, seed: u64) -> [u32; 4] {
    let mut c = [element as u32, (element >> 32) as u32, stream as u32, (stream >> 32) as u32];
    let mut k = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        let p0 = u64::from(MULTIPLIERS[0]) * u64::from(c[0]);
        let p1 = u64::from(MULTIPLIERS[1]) * u64::from(c[2]);
        c = [(p1 >> 32) as u32 ^ c[1] ^ k[0], p1 as u32, (p0 >> 32) as u32 ^ c[3] ^ k[1], p0 as u32];
        k = [k[0].wrapping_add(KEY_STEPS[0]), k[1].wrapping_add(KEY_STEPS[1])];
    }
    c
}

#[cfg(test)]
mod tests {
    use super::philox4x32;

    /// The three test vectors of the algorithm's authors.
    #[test]
    fn published_vectors() {
        assert_eq!(philox4x32(u64::MAX, u64::MAX, u64::MAX), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox4x32(0x85a3_08d3_243f_6a88, 0x0370_7344_1319_8a2e, 0x299f_31d0_a409_3822),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }
}
