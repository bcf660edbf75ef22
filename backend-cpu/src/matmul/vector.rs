//! Vectors of factors, one type per instruction set.

use std::marker::PhantomData;

use super::blocked::MAX_LANES;
use crate::number::Number;
use crate::vecmath::Isa;

/// What products are made of: the numbers that are packed, multiplied and added up. Integers wrap.
pub(super) trait Factor: Number {
    /// Vectors of 64 and of 32 bytes, where the architecture has them, and those that any has.
    #[cfg(target_arch = "x86_64")]
    type V64: Vector<Elem = Self>;
    #[cfg(target_arch = "x86_64")]
    type V32: Vector<Elem = Self>;
    type Portable<I: Isa>: Vector<Elem = Self>;
    /// `self + a·b`, in one rounding if the instruction set does that.
    fn plus_product<I: Isa>(self, a: Self, b: Self) -> Self;
    fn plus(self, other: Self) -> Self;
    /// The bits that are set in both.
    fn and(self, mask: Self) -> Self;
}

/// A vector register.
///
/// # Safety
/// `LANES` elements lie in it side by side.
pub(super) unsafe trait Vector: Copy {
    type Elem: Factor;
    const LANES: usize;
    /// What products are added up in.
    type Sum: Sum<Self>;
    /// # Safety
    /// The processor has the instructions, as for all methods.
    unsafe fn splat(value: Self::Elem) -> Self;
    /// # Safety
    /// `LANES` elements may be read.
    unsafe fn load(from: *const Self::Elem) -> Self;
    /// # Safety
    /// `LANES` elements may be written.
    unsafe fn store(self, to: *mut Self::Elem);
    /// Stores the lanes whose bits are set side by side.
    /// # Safety
    /// As many elements may be written.
    #[inline(always)]
    unsafe fn store_some(self, mut to: *mut Self::Elem, lanes: u32) {
        let mut spare = [Self::Elem::default(); MAX_LANES];
        // SAFETY: room for all lanes; the caller's promise for those that are stored.
        unsafe {
            self.store(spare.as_mut_ptr());
            for (lane, &value) in spare[..Self::LANES].iter().enumerate() {
                if lanes >> lane & 1 == 1 {
                    to.write(value);
                    to = to.add(1);
                }
            }
        }
    }
    /// `self + a·b`.
    /// # Safety
    /// The processor has the instructions.
    unsafe fn plus_product(self, a: Self, b: Self) -> Self;
    /// # Safety
    /// The processor has the instructions.
    unsafe fn plus(self, other: Self) -> Self;
    /// The bits that are set in both.
    /// # Safety
    /// The processor has the instructions.
    unsafe fn and(self, mask: Self) -> Self;
}

/// A vector's worth of sums, in the form in which adding products is cheapest.
pub(super) trait Sum<V>: Copy {
    /// The registers that it takes.
    const REGISTERS: usize;
    /// # Safety
    /// The processor has the instructions, as for all methods.
    unsafe fn zero() -> Self;
    /// `self + a·b`.
    /// # Safety
    /// The processor has the instructions.
    unsafe fn plus_product(self, a: V, b: V) -> Self;
    /// The sums themselves.
    /// # Safety
    /// The processor has the instructions.
    unsafe fn total(self) -> V;
}

impl<V: Vector> Sum<V> for V {
    const REGISTERS: usize = 1;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        unsafe { V::splat(V::Elem::default()) }
    }
    #[inline(always)]
    unsafe fn plus_product(self, a: V, b: V) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Vector::plus_product(self, a, b) }
    }
    #[inline(always)]
    unsafe fn total(self) -> V {
        self
    }
}

/// Vectors as arrays, which the compiler turns into what the architecture has.
#[derive(Clone, Copy)]
pub(super) struct Lanes<T, I, const N: usize>([T; N], PhantomData<I>);

// SAFETY: an array of N elements.
unsafe impl<T: Factor, I: Isa, const N: usize> Vector for Lanes<T, I, N> {
    type Elem = T;
    const LANES: usize = N;
    type Sum = Self;
    #[inline(always)]
    unsafe fn splat(value: T) -> Self {
        Self([value; N], PhantomData)
    }
    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { from.cast::<[T; N]>().read_unaligned() }, PhantomData)
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[T; N]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn plus_product(mut self, a: Self, b: Self) -> Self {
        for lane in 0..N {
            self.0[lane] = self.0[lane].plus_product::<I>(a.0[lane], b.0[lane]);
        }
        self
    }
    #[inline(always)]
    unsafe fn plus(mut self, other: Self) -> Self {
        for lane in 0..N {
            self.0[lane] = self.0[lane].plus(other.0[lane]);
        }
        self
    }
    #[inline(always)]
    unsafe fn and(mut self, mask: Self) -> Self {
        for lane in 0..N {
            self.0[lane] = self.0[lane].and(mask.0[lane]);
        }
        self
    }
}

macro_rules! factor_float {
    ($t:ident, $lanes:literal) => {
        impl Factor for $t {
            #[cfg(target_arch = "x86_64")]
            type V64 = x86::V64<$t>;
            #[cfg(target_arch = "x86_64")]
            type V32 = x86::V32<$t>;
            type Portable<I: Isa> = Lanes<$t, I, $lanes>;
            #[inline(always)]
            fn plus_product<I: Isa>(self, a: Self, b: Self) -> Self {
                if I::FMA { $t::mul_add(a, b, self) } else { self + a * b }
            }
            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self + other
            }
            #[inline(always)]
            fn and(self, mask: Self) -> Self {
                Self::from_bits(self.to_bits() & mask.to_bits())
            }
        }
    };
}
factor_float!(f32, 4);
factor_float!(f64, 2);

macro_rules! factor_int {
    ($t:ident, $lanes:literal) => {
        impl Factor for $t {
            #[cfg(target_arch = "x86_64")]
            type V64 = x86::V64<$t>;
            #[cfg(target_arch = "x86_64")]
            type V32 = x86::V32<$t>;
            type Portable<I: Isa> = Lanes<$t, I, $lanes>;
            #[inline(always)]
            fn plus_product<I: Isa>(self, a: Self, b: Self) -> Self {
                self.wrapping_add(a.wrapping_mul(b))
            }
            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn and(self, mask: Self) -> Self {
                self & mask
            }
        }
    };
}
factor_int!(i16, 8);
factor_int!(i32, 4);
factor_int!(i64, 2);

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Sum, Vector};
    use std::arch::x86_64::*;

    /// The register type of an element type.
    pub(in super::super) trait Register64: Copy + 'static {
        type Raw: Copy;
    }
    pub(in super::super) trait Register32: Copy + 'static {
        type Raw: Copy;
    }

    /// 64 bytes (AVX-512).
    #[derive(Clone, Copy)]
    pub(in super::super) struct V64<T: Register64>(T::Raw);
    /// 32 bytes (AVX2 and FMA).
    #[derive(Clone, Copy)]
    pub(in super::super) struct V32<T: Register32>(T::Raw);

    macro_rules! vector {
        ($wrapper:ident, $register:ident, $t:ident, $raw:ident, $lanes:literal, $splat:expr, $load:expr, $store:expr,
         $plus_product:expr, $plus:expr, $and:expr, $sum:ty $(, $store_some:ident)?) => {
            impl $register for $t {
                type Raw = $raw;
            }
            // SAFETY: the register holds so many elements.
            unsafe impl Vector for $wrapper<$t> {
                type Elem = $t;
                const LANES: usize = $lanes;
                type Sum = $sum;
                #[inline(always)]
                unsafe fn splat(value: $t) -> Self {
                    // SAFETY: the caller's promise.
                    unsafe { Self($splat(value)) }
                }
                #[inline(always)]
                unsafe fn load(from: *const $t) -> Self {
                    // SAFETY: the caller's promise.
                    unsafe { Self($load(from.cast())) }
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut $t) {
                    // SAFETY: the caller's promise.
                    unsafe { $store(to.cast(), self.0) }
                }
                $(#[inline(always)]
                unsafe fn store_some(self, to: *mut $t, lanes: u32) {
                    // SAFETY: the caller's promise.
                    unsafe { $store_some(self.0, to, lanes) }
                })?
                #[inline(always)]
                unsafe fn plus_product(self, a: Self, b: Self) -> Self {
                    // SAFETY: the caller's promise.
                    unsafe { Self($plus_product(a.0, b.0, self.0)) }
                }
                #[inline(always)]
                unsafe fn plus(self, other: Self) -> Self {
                    // SAFETY: the caller's promise.
                    unsafe { Self($plus(self.0, other.0)) }
                }
                #[inline(always)]
                unsafe fn and(self, mask: Self) -> Self {
                    // SAFETY: the caller's promise.
                    unsafe { Self($and(self.0, mask.0)) }
                }
            }
        };
    }

    macro_rules! multiply_then_add {
        ($name:ident, $raw:ident, $features:literal, $multiply:ident, $add:ident) => {
            #[inline]
            #[target_feature(enable = $features)]
            fn $name(a: $raw, b: $raw, sum: $raw) -> $raw {
                $add(sum, $multiply(a, b))
            }
        };
    }
    multiply_then_add!(plus_product_i16x32, __m512i, "avx512f,avx512bw", _mm512_mullo_epi16, _mm512_add_epi16);
    multiply_then_add!(plus_product_i32x16, __m512i, "avx512f", _mm512_mullo_epi32, _mm512_add_epi32);
    multiply_then_add!(plus_product_i64x8, __m512i, "avx512f,avx512dq", _mm512_mullo_epi64, _mm512_add_epi64);
    multiply_then_add!(plus_product_i16x16, __m256i, "avx2", _mm256_mullo_epi16, _mm256_add_epi16);
    multiply_then_add!(plus_product_i32x8, __m256i, "avx2", _mm256_mullo_epi32, _mm256_add_epi32);

    macro_rules! store_some {
        ($name:ident, $t:ident, $raw:ident, $mask:ident, $compress:ident, $store:ident) => {
            /// # Safety
            /// As many elements as bits are set may be written.
            #[inline]
            #[target_feature(enable = "avx512f")]
            unsafe fn $name(vector: $raw, to: *mut $t, lanes: u32) {
                let count = lanes.count_ones();
                // In a register: compressing to memory takes a hundred cycles on some processors.
                let together = $compress(lanes as $mask, vector);
                // SAFETY: the caller's promise, for the first `count` lanes.
                unsafe { $store(to, ((1_u32 << count) - 1) as $mask, together) }
            }
        };
    }
    store_some!(store_some_f32x16, f32, __m512, __mmask16, _mm512_maskz_compress_ps, _mm512_mask_storeu_ps);
    store_some!(store_some_f64x8, f64, __m512d, __mmask8, _mm512_maskz_compress_pd, _mm512_mask_storeu_pd);

    /// AVX2 multiplies halves of 64-bit integers only.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn plus_product_i64x4(a: __m256i, b: __m256i, sum: __m256i) -> __m256i {
        let low = _mm256_mul_epu32(a, b);
        let crossed = _mm256_mullo_epi32(a, _mm256_shuffle_epi32::<0b10_11_00_01>(b));
        let high = _mm256_add_epi32(crossed, _mm256_srli_epi64::<32>(crossed));
        _mm256_add_epi64(sum, _mm256_add_epi64(low, _mm256_slli_epi64::<32>(high)))
    }

    /// Sums of products of 64-bit integers: those of their lower halves, and those of each one's lower and the other's upper half,
    /// of which the lower 32 bits count.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Halves {
        low: __m256i,
        crossed: __m256i,
    }

    impl Sum<V32<i64>> for Halves {
        const REGISTERS: usize = 2;
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: the caller's promise.
            unsafe { Self { low: _mm256_setzero_si256(), crossed: _mm256_setzero_si256() } }
        }
        #[inline(always)]
        unsafe fn plus_product(self, V32(a): V32<i64>, V32(b): V32<i64>) -> Self {
            // SAFETY: the caller's promise.
            unsafe {
                let crossed = _mm256_mullo_epi32(a, _mm256_shuffle_epi32::<0b10_11_00_01>(b));
                Self {
                    low: _mm256_add_epi64(self.low, _mm256_mul_epu32(a, b)),
                    crossed: _mm256_add_epi32(self.crossed, crossed),
                }
            }
        }
        #[inline(always)]
        unsafe fn total(self) -> V32<i64> {
            // SAFETY: the caller's promise.
            unsafe {
                let high = _mm256_add_epi32(self.crossed, _mm256_srli_epi64::<32>(self.crossed));
                V32(_mm256_add_epi64(self.low, _mm256_slli_epi64::<32>(high)))
            }
        }
    }

    vector!(
        V64,
        Register64,
        f32,
        __m512,
        16,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_fmadd_ps,
        _mm512_add_ps,
        _mm512_and_ps,
        Self,
        store_some_f32x16
    );
    vector!(
        V64,
        Register64,
        f64,
        __m512d,
        8,
        _mm512_set1_pd,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_fmadd_pd,
        _mm512_add_pd,
        _mm512_and_pd,
        Self,
        store_some_f64x8
    );
    vector!(
        V64,
        Register64,
        i16,
        __m512i,
        32,
        _mm512_set1_epi16,
        _mm512_loadu_epi16,
        _mm512_storeu_epi16,
        plus_product_i16x32,
        _mm512_add_epi16,
        _mm512_and_si512,
        Self
    );
    vector!(
        V64,
        Register64,
        i32,
        __m512i,
        16,
        _mm512_set1_epi32,
        _mm512_loadu_epi32,
        _mm512_storeu_epi32,
        plus_product_i32x16,
        _mm512_add_epi32,
        _mm512_and_si512,
        Self
    );
    vector!(
        V64,
        Register64,
        i64,
        __m512i,
        8,
        _mm512_set1_epi64,
        _mm512_loadu_epi64,
        _mm512_storeu_epi64,
        plus_product_i64x8,
        _mm512_add_epi64,
        _mm512_and_si512,
        Self
    );
    vector!(
        V32,
        Register32,
        f32,
        __m256,
        8,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps,
        _mm256_and_ps,
        Self
    );
    vector!(
        V32,
        Register32,
        f64,
        __m256d,
        4,
        _mm256_set1_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_fmadd_pd,
        _mm256_add_pd,
        _mm256_and_pd,
        Self
    );
    vector!(
        V32,
        Register32,
        i16,
        __m256i,
        16,
        _mm256_set1_epi16,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        plus_product_i16x16,
        _mm256_add_epi16,
        _mm256_and_si256,
        Self
    );
    vector!(
        V32,
        Register32,
        i32,
        __m256i,
        8,
        _mm256_set1_epi32,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        plus_product_i32x8,
        _mm256_add_epi32,
        _mm256_and_si256,
        Self
    );
    vector!(
        V32,
        Register32,
        i64,
        __m256i,
        4,
        _mm256_set1_epi64x,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        plus_product_i64x4,
        _mm256_add_epi64,
        _mm256_and_si256,
        Halves
    );
}
