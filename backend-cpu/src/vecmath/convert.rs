//! Slices of f16 and bf16, to and from f32: branch-free, so that every instruction set converts at memory speed.
//!
//! Narrowing rounds to nearest, ties to even; what is too large becomes infinity, what is too small a denormal or zero
//! with its sign. NaN stays NaN, quiet, with the upper bits of its payload.

use half::{bf16, f16};

use super::{Isa, Level, Task};

/// Converts element by element, compiled per instruction set.
struct Convert<'a, A, B, F> {
    src: &'a [A],
    dst: &'a mut [B],
    f: F,
}

impl<A: Copy, B, F: Fn(A) -> B> Task for Convert<'_, A, B, F> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        for (d, &s) in self.dst.iter_mut().zip(self.src) {
            *d = (self.f)(s);
        }
    }
}

fn convert<A: Copy, B>(level: Level, src: &[A], dst: &mut [B], f: impl Fn(A) -> B) {
    assert_eq!(src.len(), dst.len(), "vecmath: source and destination differ in length");
    level.run(Convert { src, dst, f });
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
    convert(
        level,
        src,
        dst,
        #[inline(always)]
        |x| {
            let h = u32::from(x.to_bits());
            let magnitude = (h & 0x7fff) << 13;
            // The exponents' biases differ by 112. As a product this is right for denormals too.
            let finite = (f32::from_bits(magnitude) * f32::from_bits((127 + 112) << 23)).to_bits();
            let special = magnitude | 0x7f80_0000 | if magnitude > 0x0f80_0000 { 0x0040_0000 } else { 0 };
            let bits = if magnitude < 0x0f80_0000 { finite } else { special };
            f32::from_bits(bits | (h & 0x8000) << 16)
        },
    );
}

/// f32 to f16, rounded to nearest even.
///
/// # Panics
/// If the lengths differ.
pub fn f32_to_f16(level: Level, src: &[f32], dst: &mut [f16]) {
    convert(
        level,
        src,
        dst,
        #[inline(always)]
        |x| {
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
        },
    );
}

/// bf16 to f32, exact.
///
/// # Panics
/// If the lengths differ.
pub fn bf16_to_f32(level: Level, src: &[bf16], dst: &mut [f32]) {
    convert(
        level,
        src,
        dst,
        #[inline(always)]
        |x| {
            let bits = u32::from(x.to_bits()) << 16;
            f32::from_bits(if bits & 0x7fff_ffff > 0x7f80_0000 { bits | 0x0040_0000 } else { bits })
        },
    );
}

/// f32 to bf16, rounded to nearest even.
///
/// # Panics
/// If the lengths differ.
pub fn f32_to_bf16(level: Level, src: &[f32], dst: &mut [bf16]) {
    convert(
        level,
        src,
        dst,
        #[inline(always)]
        |x| {
            let bits = x.to_bits();
            let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
            let nan = (bits >> 16) | 0x0040;
            bf16::from_bits(if bits & 0x7fff_ffff > 0x7f80_0000 { nan } else { rounded } as u16)
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

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
        }
    }
}
