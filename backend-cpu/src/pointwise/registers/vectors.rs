//! Vectors of floats as each instruction set has them.

use std::arch::x86_64::*;

/// A vector register of floats.
///
/// The functions are inlined into code that runs only where there is the instruction set.
pub(super) trait Vector: Copy {
    /// Zeros.
    unsafe fn zero() -> Self;
    unsafe fn load(from: *const u8) -> Self;
    unsafe fn store(self, to: *mut u8);
    /// Past the caches, to a multiple of the vector's size.
    unsafe fn stream(self, to: *mut u8);
    unsafe fn add(self, b: Self) -> Self;
    unsafe fn sub(self, b: Self) -> Self;
    unsafe fn mul(self, b: Self) -> Self;
    unsafe fn div(self, b: Self) -> Self;
    /// The larger one; `self` if that is NaN.
    unsafe fn max(self, b: Self) -> Self;
    /// The smaller one; `self` if that is NaN.
    unsafe fn min(self, b: Self) -> Self;
    unsafe fn neg(self) -> Self;
    unsafe fn abs(self) -> Self;
    unsafe fn relu(self) -> Self;
    unsafe fn sqrt(self) -> Self;
    unsafe fn one() -> Self;
    /// Widens as many elements of 16 bits. These are for vectors of f32.
    unsafe fn load_f16(from: *const u8) -> Self;
    unsafe fn load_bf16(from: *const u8) -> Self;
    /// Writes the nearest elements of 16 bits.
    unsafe fn store_f16(self, to: *mut u8);
    unsafe fn store_bf16(self, to: *mut u8);
    unsafe fn stream_f16(self, to: *mut u8);
    unsafe fn stream_bf16(self, to: *mut u8);
    /// The nearest numbers that 16 bits hold.
    unsafe fn round_f16(self) -> Self;
    unsafe fn round_bf16(self) -> Self;
}

/// Stamps a vector with its intrinsics.
macro_rules! vector {
    ($vector:ident, $element:ty, $zero:ident, $load:ident, $store:ident, $stream:ident, $splat:ident, $add:ident,
     $sub:ident, $mul:ident, $div:ident, $sqrt:ident, |$max:ident, $min:ident, $xor:ident, $andnot:ident, $a:ident, $b:ident|
     nan: $nan:expr, relu: $relu:expr, halves: $($halves:tt)*) => {
        impl Vector for $vector {
            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: the caller has the instruction set; so it is for all functions below.
                unsafe { $zero() }
            }
            #[inline(always)]
            unsafe fn load(from: *const u8) -> Self {
                // SAFETY: the caller promises the elements.
                unsafe { $load(from.cast::<$element>()) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut u8) {
                // SAFETY: the caller promises the elements.
                unsafe { $store(to.cast::<$element>(), self) }
            }
            #[inline(always)]
            unsafe fn stream(self, to: *mut u8) {
                // SAFETY: the caller promises the elements, at a multiple of the vector's size.
                unsafe { $stream(to.cast::<$element>(), self) }
            }
            #[inline(always)]
            unsafe fn add(self, b: Self) -> Self {
                // SAFETY: see `zero`.
                unsafe { $add(self, b) }
            }
            #[inline(always)]
            unsafe fn sub(self, b: Self) -> Self {
                // SAFETY: see `zero`.
                unsafe { $sub(self, b) }
            }
            #[inline(always)]
            unsafe fn mul(self, b: Self) -> Self {
                // SAFETY: see `zero`.
                unsafe { $mul(self, b) }
            }
            #[inline(always)]
            unsafe fn div(self, b: Self) -> Self {
                // SAFETY: see `zero`.
                unsafe { $div(self, b) }
            }
            #[inline(always)]
            unsafe fn max(self, b: Self) -> Self {
                // The instruction gives `b` where one of them is NaN.
                // SAFETY: see `zero`.
                unsafe {
                    let ($a, $b) = (self, $max(self, b));
                    $nan
                }
            }
            #[inline(always)]
            unsafe fn min(self, b: Self) -> Self {
                // SAFETY: see `zero`.
                unsafe {
                    let ($a, $b) = (self, $min(self, b));
                    $nan
                }
            }
            #[inline(always)]
            unsafe fn neg(self) -> Self {
                // SAFETY: see `zero`.
                unsafe { $xor(self, $splat(-0.0)) }
            }
            #[inline(always)]
            unsafe fn abs(self) -> Self {
                // SAFETY: see `zero`.
                unsafe { $andnot($splat(-0.0), self) }
            }
            #[inline(always)]
            unsafe fn relu(self) -> Self {
                let $a = self;
                // SAFETY: see `zero`.
                unsafe { $relu }
            }
            #[inline(always)]
            unsafe fn sqrt(self) -> Self {
                // SAFETY: see `zero`.
                unsafe { $sqrt(self) }
            }
            #[inline(always)]
            unsafe fn one() -> Self {
                // SAFETY: see `zero`.
                unsafe { $splat(1.0) }
            }
            $($halves)*
        }
    };
}

/// f32 to and from 16 bits, by the functions of a module.
macro_rules! through {
    ($module:ident) => {
        #[inline(always)]
        unsafe fn load_f16(from: *const u8) -> Self {
            // SAFETY: the caller has the instruction set, and promises the elements; so it is for all functions below.
            unsafe { $module::widen_f16($module::load(from.cast())) }
        }
        #[inline(always)]
        unsafe fn load_bf16(from: *const u8) -> Self {
            // SAFETY: see `load_f16`.
            unsafe { $module::widen_bf16($module::load(from.cast())) }
        }
        #[inline(always)]
        unsafe fn store_f16(self, to: *mut u8) {
            // SAFETY: see `load_f16`.
            unsafe { $module::store(to.cast(), $module::narrow_f16(self)) }
        }
        #[inline(always)]
        unsafe fn store_bf16(self, to: *mut u8) {
            // SAFETY: see `load_f16`.
            unsafe { $module::store(to.cast(), $module::narrow_bf16(self)) }
        }
        #[inline(always)]
        unsafe fn stream_f16(self, to: *mut u8) {
            // SAFETY: see `load_f16`; the elements are at a multiple of their size.
            unsafe { $module::stream(to.cast(), $module::narrow_f16(self)) }
        }
        #[inline(always)]
        unsafe fn stream_bf16(self, to: *mut u8) {
            // SAFETY: see `stream_f16`.
            unsafe { $module::stream(to.cast(), $module::narrow_bf16(self)) }
        }
        #[inline(always)]
        unsafe fn round_f16(self) -> Self {
            // SAFETY: see `load_f16`.
            unsafe { $module::widen_f16($module::narrow_f16(self)) }
        }
        #[inline(always)]
        unsafe fn round_bf16(self) -> Self {
            // SAFETY: see `load_f16`.
            unsafe { $module::round_bf16(self) }
        }
    };
}

/// f64 is not stored in 16 bits: no line is made of that.
macro_rules! none {
    () => {
        unsafe fn load_f16(_: *const u8) -> Self {
            unreachable!("only f32 is stored in 16 bits")
        }
        unsafe fn load_bf16(_: *const u8) -> Self {
            unreachable!("only f32 is stored in 16 bits")
        }
        unsafe fn store_f16(self, _: *mut u8) {
            unreachable!("only f32 is stored in 16 bits")
        }
        unsafe fn store_bf16(self, _: *mut u8) {
            unreachable!("only f32 is stored in 16 bits")
        }
        unsafe fn stream_f16(self, _: *mut u8) {
            unreachable!("only f32 is stored in 16 bits")
        }
        unsafe fn stream_bf16(self, _: *mut u8) {
            unreachable!("only f32 is stored in 16 bits")
        }
        unsafe fn round_f16(self) -> Self {
            unreachable!("only f32 is stored in 16 bits")
        }
        unsafe fn round_bf16(self) -> Self {
            unreachable!("only f32 is stored in 16 bits")
        }
    };
}

/// Sixteen f32, and their halves. Rounding is that of [`convert`](crate::vecmath::convert).
mod zmm {
    use std::arch::x86_64::*;
    pub(super) use std::arch::x86_64::{
        _mm256_loadu_si256 as load, _mm256_storeu_si256 as store, _mm256_stream_si256 as stream,
    };

    #[target_feature(enable = "avx512f")]
    pub(super) fn widen_f16(halves: __m256i) -> __m512 {
        _mm512_cvtph_ps(halves)
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn narrow_f16(values: __m512) -> __m256i {
        _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(values)
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn widen_bf16(halves: __m256i) -> __m512 {
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn narrow_bf16(values: __m512) -> __m256i {
        _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(_mm512_castps_si512(round_bf16(values))))
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn round_bf16(values: __m512) -> __m512 {
        let bits = _mm512_castps_si512(values);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(values, values);
        let chosen = _mm512_mask_or_epi32(rounded, is_nan, bits, _mm512_set1_epi32(0x0040_0000));
        _mm512_castsi512_ps(_mm512_and_si512(chosen, _mm512_set1_epi32(!0xffff)))
    }
}

/// Eight f32, and their halves.
mod ymm {
    use std::arch::x86_64::*;
    pub(super) use std::arch::x86_64::{
        _mm_loadu_si128 as load, _mm_storeu_si128 as store, _mm_stream_si128 as stream,
    };

    #[target_feature(enable = "f16c")]
    pub(super) fn widen_f16(halves: __m128i) -> __m256 {
        _mm256_cvtph_ps(halves)
    }

    #[target_feature(enable = "f16c")]
    pub(super) fn narrow_f16(values: __m256) -> __m128i {
        _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(values)
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn widen_bf16(halves: __m128i) -> __m256 {
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn narrow_bf16(values: __m256) -> __m128i {
        let bits = _mm256_srli_epi32::<16>(_mm256_castps_si256(round_bf16(values)));
        _mm_packus_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256::<1>(bits))
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn round_bf16(values: __m256) -> __m256 {
        let bits = _mm256_castps_si256(values);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        let nan = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
        let is_nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(values, values));
        let chosen = _mm256_blendv_epi8(rounded, nan, is_nan);
        _mm256_castsi256_ps(_mm256_and_si256(chosen, _mm256_set1_epi32(!0xffff)))
    }
}

vector!(__m512, f32, _mm512_setzero_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_stream_ps, _mm512_set1_ps,
    _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps, _mm512_div_ps, _mm512_sqrt_ps,
    |_mm512_max_ps, _mm512_min_ps, _mm512_xor_ps, _mm512_andnot_ps, a, b|
    nan: _mm512_mask_mov_ps(b, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a), a),
    relu: _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(a, _mm512_setzero_ps()), a), halves: through!(zmm););
vector!(__m512d, f64, _mm512_setzero_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_stream_pd, _mm512_set1_pd,
    _mm512_add_pd, _mm512_sub_pd, _mm512_mul_pd, _mm512_div_pd, _mm512_sqrt_pd,
    |_mm512_max_pd, _mm512_min_pd, _mm512_xor_pd, _mm512_andnot_pd, a, b|
    nan: _mm512_mask_mov_pd(b, _mm512_cmp_pd_mask::<_CMP_UNORD_Q>(a, a), a),
    relu: _mm512_maskz_mov_pd(_mm512_cmp_pd_mask::<_CMP_NLT_UQ>(a, _mm512_setzero_pd()), a), halves: none!(););
vector!(__m256, f32, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_stream_ps, _mm256_set1_ps,
    _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps, _mm256_div_ps, _mm256_sqrt_ps,
    |_mm256_max_ps, _mm256_min_ps, _mm256_xor_ps, _mm256_andnot_ps, a, b|
    nan: _mm256_blendv_ps(b, a, _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a)),
    relu: _mm256_and_ps(_mm256_cmp_ps::<_CMP_NLT_UQ>(a, _mm256_setzero_ps()), a), halves: through!(ymm););
vector!(__m256d, f64, _mm256_setzero_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_stream_pd, _mm256_set1_pd,
    _mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd, _mm256_div_pd, _mm256_sqrt_pd,
    |_mm256_max_pd, _mm256_min_pd, _mm256_xor_pd, _mm256_andnot_pd, a, b|
    nan: _mm256_blendv_pd(b, a, _mm256_cmp_pd::<_CMP_UNORD_Q>(a, a)),
    relu: _mm256_and_pd(_mm256_cmp_pd::<_CMP_NLT_UQ>(a, _mm256_setzero_pd()), a), halves: none!(););
