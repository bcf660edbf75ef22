//! What tensors under test hold: special values, samples, and a generator that repeats.

use crate::random::philox4x32;
use crate::{DType, Scalar, bf16, f16};

/// A generator of random numbers; the same seed gives the same numbers everywhere, so a failure repeats.
#[derive(Clone, Debug)]
pub(super) struct Rng {
    seed: u64,
    count: u64,
    /// Numbers that were chosen instead; after them only zeros come.
    chosen: Option<Vec<u16>>,
}

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, count: 0, chosen: None }
    }

    /// Numbers that somebody else chose.
    pub(super) fn of(chosen: &[u16]) -> Self {
        Self { seed: 0, count: 0, chosen: Some(chosen.to_vec()) }
    }

    /// A generator for a case: cases of other names get other numbers.
    pub(super) fn named(name: &str) -> Self {
        // FNV-1a: anything that spreads the names over the seeds will do.
        Self::new(
            name.bytes()
                .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)),
        )
    }

    pub(super) fn bits(&mut self) -> u64 {
        let count = self.count;
        self.count += 1;
        if let Some(chosen) = &self.chosen {
            // Spread over all bits; 0 stays what it is, the first of any list.
            return u64::from(chosen.get(count as usize).copied().unwrap_or(0)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        let words = philox4x32(count, 0, self.seed);
        u64::from(words[0]) << 32 | u64::from(words[1])
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (self.bits() >> 11) as f64 / (1u64 << 53) as f64 * (high - low)
    }

    pub(super) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// What the kit has to know of a float dtype.
#[derive(Clone, Copy, Debug)]
pub(super) struct FloatFormat {
    /// Bits of precision, the hidden one counted.
    pub(super) precision: i32,
    /// The exponent of the smallest normal number.
    pub(super) least_exponent: i32,
    /// The largest finite number.
    pub(super) largest: f64,
}

impl FloatFormat {
    /// The format of a float dtype.
    pub(super) fn of(dtype: DType) -> Self {
        let format = |precision, least_exponent, largest| Self { precision, least_exponent, largest };
        match dtype {
            DType::F16 => format(11, -14, f16::MAX.to_f64()),
            DType::BF16 => format(8, -126, bf16::MAX.to_f64()),
            DType::F32 => format(24, -126, f32::MAX.into()),
            DType::F64 => format(53, -1022, f64::MAX),
            DType::Bool | DType::U8 | DType::I8 | DType::I16 | DType::I32 | DType::I64 => {
                unreachable!("{dtype} is no float")
            }
        }
    }

    /// The distance from 1 to the next number.
    pub(super) fn epsilon(self) -> f64 {
        f64::from(1 - self.precision).exp2()
    }

    /// The smallest number above 0.
    pub(super) fn tiny(self) -> f64 {
        // In two steps: the exponent alone is below what `exp2` takes for f64.
        f64::from(self.least_exponent).exp2() * self.epsilon()
    }

    /// The distance between neighbours at a magnitude.
    pub(super) fn spacing(self, magnitude: f64) -> f64 {
        let normal = f64::from(self.least_exponent).exp2();
        let magnitude = magnitude.abs().min(self.largest).max(normal);
        // The exponent from the bits: a logarithm would round up below a power of two.
        let power = f64::from_bits(magnitude.to_bits() & 0x7ff0_0000_0000_0000);
        power * self.epsilon()
    }
}

/// Values of a dtype at which operations go wrong.
pub(super) fn specials(dtype: DType) -> Vec<Scalar> {
    let ints = |low: i64, high: i64| {
        let small = [0, 1, 2, 3, 5, 7, 8, 31, 32, 63, 64, 100, low, low + 1, high, high - 1, low / 2, high / 2];
        let negative = [-1, -2, -3, -7, -8, -64].into_iter().filter(|&value| value >= low);
        small.into_iter().chain(negative).map(Scalar::Int).collect()
    };
    match dtype {
        DType::Bool => vec![Scalar::Bool(false), Scalar::Bool(true)],
        DType::U8 => ints(0, 255),
        DType::I8 => ints(-128, 127),
        DType::I16 => ints(i16::MIN.into(), i16::MAX.into()),
        DType::I32 => ints(i32::MIN.into(), i32::MAX.into()),
        DType::I64 => ints(i64::MIN, i64::MAX),
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => {
            let format = FloatFormat::of(dtype);
            let (epsilon, tiny) = (format.epsilon(), format.tiny());
            let normal = f64::from(format.least_exponent).exp2();
            let mut list = vec![Scalar::Float(f64::NAN), Scalar::Float(0.0), Scalar::Float(-0.0)];
            for value in [
                f64::INFINITY,
                tiny,
                normal - tiny,
                normal,
                format.largest,
                1.0,
                1.0 + epsilon,
                1.0 - epsilon / 2.0,
                0.5,
                1.5,
                2.0,
                2.5,
                3.0,
                10.0,
                0.1,
                100.0,
                1e4,
            ] {
                list.extend([Scalar::Float(value).cast(dtype), Scalar::Float(-value).cast(dtype)]);
            }
            list
        }
    }
}

/// A random value of a dtype: floats from the domain, integers and bools from everywhere, small ones more often.
pub(super) fn sample(dtype: DType, domain: (f64, f64), rng: &mut Rng) -> Scalar {
    match dtype {
        DType::Bool => Scalar::Bool(rng.below(2) == 1),
        dtype if dtype.is_float() => Scalar::Float(rng.between(domain.0, domain.1)).cast(dtype),
        _ if rng.below(2) == 0 => Scalar::Int(rng.bits() as i64).cast(dtype),
        _ => Scalar::Int(rng.below(41) as i64 - 20).cast(dtype),
    }
}

/// A small whole number: sums of many of them are exact in every dtype that integers or floats accumulate in.
pub(super) fn whole(dtype: DType, rng: &mut Rng) -> Scalar {
    let value = rng.below(17) as i64 - 8;
    Scalar::Int(if dtype == DType::U8 { value.abs() } else { value }).cast(dtype)
}

/// A value whose bits are random: every magnitude is as likely as any other, and a few are NaN.
fn random_bits(dtype: DType, rng: &mut Rng) -> Scalar {
    let bits = rng.bits();
    Scalar::read(dtype, &bits.to_ne_bytes())
}

/// The values of an operand on its own: special ones, then every value of a dtype of one byte, else samples of the domain
/// and, for floats, of every magnitude.
pub(super) fn many(dtype: DType, domain: (f64, f64), rng: &mut Rng) -> Vec<Scalar> {
    let mut list = specials(dtype);
    match dtype {
        DType::Bool => {}
        DType::U8 => list = (0..=255).map(Scalar::Int).collect(),
        DType::I8 => list = (-128..=127).map(Scalar::Int).collect(),
        DType::I16 | DType::I32 | DType::I64 => list.extend((0..500).map(|_| sample(dtype, domain, rng))),
        DType::F16 | DType::BF16 => {
            // Every 23rd bit pattern of the 65536, which visits each binade many times.
            let all = (0..=u16::MAX).step_by(23);
            list.extend(all.map(|bits| Scalar::read(dtype, &bits.to_ne_bytes())));
            list.extend((0..300).map(|_| sample(dtype, domain, rng)));
        }
        DType::F32 | DType::F64 => {
            list.extend((0..700).map(|_| sample(dtype, domain, rng)));
            list.extend((0..300).map(|_| random_bits(dtype, rng)));
        }
    }
    list
}

/// The values of one of two operands, each of which meets each of the other's.
pub(super) fn several(dtype: DType, domain: (f64, f64), rng: &mut Rng) -> Vec<Scalar> {
    let mut list = specials(dtype);
    if dtype != DType::Bool {
        list.extend((0..24).map(|_| sample(dtype, domain, rng)));
    }
    list
}

/// The values of one of three operands, each of which meets each of the others'.
pub(super) fn few(dtype: DType, domain: (f64, f64), rng: &mut Rng) -> Vec<Scalar> {
    let all = specials(dtype);
    if dtype == DType::Bool {
        return all;
    }
    // The first of a float's special values are NaN, the zeros, the infinities and the smallest numbers; the largest
    // integers stand in the middle.
    let mut list: Vec<Scalar> = if dtype.is_float() { all[..8].to_vec() } else { all[..2].to_vec() };
    if !dtype.is_float() {
        list.extend(&all[12..18]);
    }
    list.extend((0..8).map(|_| sample(dtype, domain, rng)));
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spacing_is_the_distance_to_the_next_number() {
        for value in [1.0, 1.5, 0.999, 3e38, 1e-40, 0.0, 6.02e23] {
            let narrow = value as f32;
            let step = f64::from(narrow.next_up()) - f64::from(narrow);
            let expected = if step.is_finite() { step } else { f64::from(narrow) - f64::from(narrow.next_down()) };
            assert_eq!(FloatFormat::of(DType::F32).spacing(f64::from(narrow)), expected, "{value}");
        }
        assert_eq!(FloatFormat::of(DType::F64).tiny(), f64::from_bits(1));
        assert_eq!(FloatFormat::of(DType::F16).tiny(), f16::from_bits(1).to_f64());
    }

    #[test]
    fn a_name_gives_the_same_numbers_again() {
        let (mut a, mut b) = (Rng::named("one"), Rng::named("one"));
        assert_eq!([a.bits(), a.bits()], [b.bits(), b.bits()]);
        assert_ne!(Rng::named("two").bits(), Rng::named("one").bits());
    }

    #[test]
    fn special_values_are_values_of_the_dtype() {
        for dtype in DType::ALL {
            for value in specials(dtype) {
                let cast = value.cast(dtype);
                assert!(cast == value || value.as_f64().is_nan(), "{value} in {dtype}");
            }
        }
    }
}
