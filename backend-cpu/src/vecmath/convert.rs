//! Slices of f16 and bf16, to and from f32: branch-free, so that every instruction set converts at memory speed.
//!
//! Narrowing rounds to nearest, ties to even; what is too large becomes infinity, what is too small a denormal or zero
//! with its sign. NaN stays NaN, quiet, with the upper bits of its payload.

use half::{bf16, f16};

use super::{Isa, Level, Task};

/// A type whose numbers are stored, and computed in f32.
pub(crate) trait Half: Copy + 'static {
    /// f32 values of as many elements, in a loop that is compiled for `I`; the lengths are equal.
    fn widen<I: Isa>(src: &[Self], dst: &mut [f32]);
    /// The nearest elements.
    fn narrow<I: Isa>(src: &[f32], dst: &mut [Self]);
    /// The values of the nearest elements.
    fn round<I: Isa>(values: &mut [f32]);
}

impl Half for f16 {
    #[inline(always)]
    fn widen<I: Isa>(src: &[Self], dst: &mut [f32]) {
        let done = in_vectors::widen::<I>(src, dst);
        each(&src[done..], &mut dst[done..], widened_f16);
    }

    #[inline(always)]
    fn narrow<I: Isa>(src: &[f32], dst: &mut [Self]) {
        let done = in_vectors::narrow::<I>(src, dst);
        each(&src[done..], &mut dst[done..], narrowed_f16);
    }

    #[inline(always)]
    fn round<I: Isa>(values: &mut [f32]) {
        let done = in_vectors::round::<I>(values);
        values[done..].iter_mut().for_each(|value| *value = widened_f16(narrowed_f16(*value)));
    }
}

impl Half for bf16 {
    #[inline(always)]
    fn widen<I: Isa>(src: &[Self], dst: &mut [f32]) {
        each(src, dst, widened_bf16);
    }

    #[inline(always)]
    fn narrow<I: Isa>(src: &[f32], dst: &mut [Self]) {
        each(src, dst, narrowed_bf16);
    }

    #[inline(always)]
    fn round<I: Isa>(values: &mut [f32]) {
        values.iter_mut().for_each(|value| *value = rounded_to_bf16(*value));
    }
}

#[inline(always)]
fn each<A: Copy, B>(src: &[A], dst: &mut [B], f: impl Fn(A) -> B) {
    for (d, &s) in dst.iter_mut().zip(src) {
        *d = f(s);
    }
}

/// f16 by instructions that convert eight at a time.
#[cfg(target_arch = "x86_64")]
mod in_vectors {
    use super::super::Isa;
    use half::f16;
    use std::arch::x86_64::*;

    /// Whether levels with this set have the instructions: those from AVX2 on do.
    const fn are_for<I: Isa>() -> bool {
        I::VECTOR_BYTES >= 32
    }

    /// Widens groups of eight; says how many elements that were.
    #[inline(always)]
    pub(super) fn widen<I: Isa>(src: &[f16], dst: &mut [f32]) -> usize {
        if !are_for::<I>() {
            return 0;
        }
        let (from, to) = (src.as_chunks().0, dst.as_chunks_mut().0);
        // SAFETY: this code runs at a level of such vectors, which has the instructions.
        unsafe { widen_groups(from, to) }
        from.len().min(to.len()) * 8
    }

    // Functions of their own have the instructions wherever they are called from: in one that has not, each would be a call.
    #[target_feature(enable = "avx2,fma,f16c")]
    fn widen_groups(from: &[[f16; 8]], to: &mut [[f32; 8]]) {
        for (to, from) in to.iter_mut().zip(from) {
            // SAFETY: both sides are eight elements.
            unsafe { _mm256_storeu_ps(to.as_mut_ptr(), _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().cast()))) }
        }
    }

    /// Narrows groups of eight; says how many elements that were.
    #[inline(always)]
    pub(super) fn narrow<I: Isa>(src: &[f32], dst: &mut [f16]) -> usize {
        if !are_for::<I>() {
            return 0;
        }
        let (from, to) = (src.as_chunks().0, dst.as_chunks_mut().0);
        // SAFETY: as in `widen`.
        unsafe { narrow_groups(from, to) }
        from.len().min(to.len()) * 8
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    fn narrow_groups(from: &[[f32; 8]], to: &mut [[f16; 8]]) {
        for (to, from) in to.iter_mut().zip(from) {
            // SAFETY: both sides are eight elements.
            unsafe {
                let halves = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_loadu_ps(from.as_ptr()));
                _mm_storeu_si128(to.as_mut_ptr().cast(), halves);
            }
        }
    }

    /// Rounds groups of eight; says how many elements that were.
    #[inline(always)]
    pub(super) fn round<I: Isa>(values: &mut [f32]) -> usize {
        if !are_for::<I>() {
            return 0;
        }
        let groups = values.as_chunks_mut().0;
        // SAFETY: as in `widen`.
        unsafe { round_groups(groups) }
        groups.len() * 8
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    fn round_groups(groups: &mut [[f32; 8]]) {
        for group in groups {
            // SAFETY: a group is eight elements.
            unsafe {
                let halves = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_loadu_ps(group.as_ptr()));
                _mm256_storeu_ps(group.as_mut_ptr(), _mm256_cvtph_ps(halves));
            }
        }
    }
}

/// No instructions are known here.
#[cfg(not(target_arch = "x86_64"))]
mod in_vectors {
    use super::super::Isa;
    use half::f16;

    pub(super) fn widen<I: Isa>(_src: &[f16], _dst: &mut [f32]) -> usize {
        0
    }

    pub(super) fn narrow<I: Isa>(_src: &[f32], _dst: &mut [f16]) -> usize {
        0
    }

    pub(super) fn round<I: Isa>(_values: &mut [f32]) -> usize {
        0
    }
}

#[inline(always)]
fn widened_f16(x: f16) -> f32 {
    let h = u32::from(x.to_bits());
    let magnitude = (h & 0x7fff) << 13;
    // The exponents' biases differ by 112. As a product this is right for denormals too.
    let finite = (f32::from_bits(magnitude) * f32::from_bits((127 + 112) << 23)).to_bits();
    let special = magnitude | 0x7f80_0000 | if magnitude > 0x0f80_0000 { 0x0040_0000 } else { 0 };
    let bits = if magnitude < 0x0f80_0000 { finite } else { special };
    f32::from_bits(bits | (h & 0x8000) << 16)
}

#[inline(always)]
fn narrowed_f16(x: f32) -> f16 {
    let bits = x.to_bits();
    let a = bits & 0x7fff_ffff;
    // Round at bit 13, then shift the bias by 112; what carries beyond the largest exponent is infinity.
    let rounded = (a.wrapping_add(0x0fff + ((a >> 13) & 1))).wrapping_sub(112 << 23) >> 13;
    let normal = if rounded > 0x7c00 { 0x7c00 } else { rounded };
    // Beside 1/2, whose ULP is the smallest f16, the addition rounds to multiples of just that.
    let small = (f32::from_bits(a) + 0.5).to_bits().wrapping_sub(0.5_f32.to_bits());
    let finite = if a < 0x3880_0000 { small } else { normal };
    let nan = 0x7e00 | ((a >> 13) & 0x01ff);
    let magnitude = if a > 0x7f80_0000 { nan } else { finite };
    f16::from_bits((magnitude | ((bits >> 16) & 0x8000)) as u16)
}

#[inline(always)]
fn widened_bf16(x: bf16) -> f32 {
    let bits = u32::from(x.to_bits()) << 16;
    f32::from_bits(if bits & 0x7fff_ffff > 0x7f80_0000 { bits | 0x0040_0000 } else { bits })
}

#[inline(always)]
fn narrowed_bf16(x: f32) -> bf16 {
    bf16::from_bits((rounded_to_bf16(x).to_bits() >> 16) as u16)
}

/// The value of the nearest bf16, whose bits are the upper half of an f32's.
#[inline(always)]
fn rounded_to_bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    let nan = bits | 0x0040_0000;
    f32::from_bits((if bits & 0x7fff_ffff > 0x7f80_0000 { nan } else { rounded }) & 0xffff_0000)
}

/// [`Half::widen`] of all elements.
struct Widen<'a, H>(&'a [H], &'a mut [f32]);
/// [`Half::narrow`] of all values.
struct Narrow<'a, H>(&'a [f32], &'a mut [H]);

impl<H: Half> Task for Widen<'_, H> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        H::widen::<I>(self.0, self.1);
    }
}

impl<H: Half> Task for Narrow<'_, H> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        H::narrow::<I>(self.0, self.1);
    }
}

fn widen<H: Half>(level: Level, src: &[H], dst: &mut [f32]) {
    assert_eq!(src.len(), dst.len(), "vecmath: source and destination differ in length");
    level.run(Widen(src, dst));
}

fn narrow<H: Half>(level: Level, src: &[f32], dst: &mut [H]) {
    assert_eq!(src.len(), dst.len(), "vecmath: source and destination differ in length");
    level.run(Narrow(src, dst));
}

/// f16 to f32, exact.
///
/// # Panics
/// If the lengths differ.
///
/// ```
/// use backend_cpu::vecmath::{Level, convert};
/// use half::f16;
/// let mut wide = [0.0; 2];
/// convert::f16_to_f32(Level::best(), &[f16::ONE, f16::from_bits(1)], &mut wide);
/// assert_eq!(wide, [1.0, 2f32.powi(-24)]);
/// ```
pub fn f16_to_f32(level: Level, src: &[f16], dst: &mut [f32]) {
    widen(level, src, dst);
}

/// f32 to f16, rounded to nearest even.
///
/// # Panics
/// If the lengths differ.
pub fn f32_to_f16(level: Level, src: &[f32], dst: &mut [f16]) {
    narrow(level, src, dst);
}

/// bf16 to f32, exact.
///
/// # Panics
/// If the lengths differ.
pub fn bf16_to_f32(level: Level, src: &[bf16], dst: &mut [f32]) {
    widen(level, src, dst);
}

/// f32 to bf16, rounded to nearest even.
///
/// # Panics
/// If the lengths differ.
pub fn f32_to_bf16(level: Level, src: &[f32], dst: &mut [bf16]) {
    narrow(level, src, dst);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::marker::PhantomData;

    struct Round<'a, H>(&'a mut [f32], PhantomData<H>);

    impl<H: Half> Task for Round<'_, H> {
        type Output = ();
        #[inline(always)]
        fn run<I: Isa>(self) {
            H::round::<I>(self.0);
        }
    }

    #[test]
    fn widening_is_exact_for_all_numbers() {
        let f16s: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
        let bf16s: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
        let mut wide = vec![0.0; f16s.len()];
        for &level in Level::available() {
            f16_to_f32(level, &f16s, &mut wide);
            for (x, y) in f16s.iter().zip(&wide) {
                assert!(y.to_bits() == x.to_f32_const().to_bits(), "{level:?} {:04x}: {y}", x.to_bits());
            }
            bf16_to_f32(level, &bf16s, &mut wide);
            for (x, y) in bf16s.iter().zip(&wide) {
                assert!(y.to_bits() == x.to_f32_const().to_bits(), "{level:?} {:04x}: {y}", x.to_bits());
            }
        }
    }

    #[test]
    fn narrowing_rounds_to_nearest_even() {
        // Bit patterns of every exponent, every f16 and bf16, and the ties between neighbours and what is next to them.
        let mut x: Vec<f32> = (0..u32::MAX / 10_007).map(|i| f32::from_bits(i * 10_007)).collect();
        for h in 0..=u16::MAX {
            let (a, b) = (f16::from_bits(h).to_f32_const(), bf16::from_bits(h).to_f32_const());
            for (base, half) in [(a, 0x1000), (b, 0x8000)] {
                for offset in [0, 1, half - 1, half, half + 1] {
                    x.push(f32::from_bits(base.to_bits().wrapping_add(offset)));
                }
            }
        }
        // Midpoints of f16's denormals.
        x.extend((0..2048).map(|i| (i as f32 + 0.5) * 2f32.powi(-24)));
        let mut f16s = vec![f16::ZERO; x.len()];
        let mut bf16s = vec![bf16::ZERO; x.len()];
        for &level in Level::available() {
            f32_to_f16(level, &x, &mut f16s);
            f32_to_bf16(level, &x, &mut bf16s);
            for (i, &x) in x.iter().enumerate() {
                let (h, b) = (f16::from_f32_const(x), bf16::from_f32_const(x));
                assert!(f16s[i].to_bits() == h.to_bits(), "{level:?} {x:e} to f16: {:?}, not {h:?}", f16s[i]);
                assert!(bf16s[i].to_bits() == b.to_bits(), "{level:?} {x:e} to bf16: {:?}, not {b:?}", bf16s[i]);
            }
            // Rounding is narrowing and widening.
            let (mut as_f16s, mut as_bf16s) = (x.clone(), x.clone());
            level.run(Round::<f16>(&mut as_f16s, PhantomData));
            level.run(Round::<bf16>(&mut as_bf16s, PhantomData));
            for (i, &x) in x.iter().enumerate() {
                let (h, b) = (f16::from_f32_const(x).to_f32_const(), bf16::from_f32_const(x).to_f32_const());
                assert!(as_f16s[i].to_bits() == h.to_bits(), "{level:?} {x:e} as f16: {}, not {h}", as_f16s[i]);
                assert!(as_bf16s[i].to_bits() == b.to_bits(), "{level:?} {x:e} as bf16: {}, not {b}", as_bf16s[i]);
            }
        }
    }
}
