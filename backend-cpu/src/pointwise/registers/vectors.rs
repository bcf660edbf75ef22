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
}

/// Stamps a vector with its intrinsics.
macro_rules! vector {
    ($vector:ident, $element:ty, $zero:ident, $load:ident, $store:ident, $stream:ident, $splat:ident, $add:ident,
     $sub:ident, $mul:ident, $div:ident, $sqrt:ident, |$max:ident, $min:ident, $xor:ident, $andnot:ident, $a:ident, $b:ident|
     nan: $nan:expr, relu: $relu:expr) => {
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
        }
    };
}

vector!(__m512, f32, _mm512_setzero_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_stream_ps, _mm512_set1_ps,
    _mm512_add_ps, _mm512_sub_ps, _mm512_mul_ps, _mm512_div_ps, _mm512_sqrt_ps,
    |_mm512_max_ps, _mm512_min_ps, _mm512_xor_ps, _mm512_andnot_ps, a, b|
    nan: _mm512_mask_mov_ps(b, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a), a),
    relu: _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(a, _mm512_setzero_ps()), a));
vector!(__m512d, f64, _mm512_setzero_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_stream_pd, _mm512_set1_pd,
    _mm512_add_pd, _mm512_sub_pd, _mm512_mul_pd, _mm512_div_pd, _mm512_sqrt_pd,
    |_mm512_max_pd, _mm512_min_pd, _mm512_xor_pd, _mm512_andnot_pd, a, b|
    nan: _mm512_mask_mov_pd(b, _mm512_cmp_pd_mask::<_CMP_UNORD_Q>(a, a), a),
    relu: _mm512_maskz_mov_pd(_mm512_cmp_pd_mask::<_CMP_NLT_UQ>(a, _mm512_setzero_pd()), a));
vector!(__m256, f32, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_stream_ps, _mm256_set1_ps,
    _mm256_add_ps, _mm256_sub_ps, _mm256_mul_ps, _mm256_div_ps, _mm256_sqrt_ps,
    |_mm256_max_ps, _mm256_min_ps, _mm256_xor_ps, _mm256_andnot_ps, a, b|
    nan: _mm256_blendv_ps(b, a, _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a)),
    relu: _mm256_and_ps(_mm256_cmp_ps::<_CMP_NLT_UQ>(a, _mm256_setzero_ps()), a));
vector!(__m256d, f64, _mm256_setzero_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_stream_pd, _mm256_set1_pd,
    _mm256_add_pd, _mm256_sub_pd, _mm256_mul_pd, _mm256_div_pd, _mm256_sqrt_pd,
    |_mm256_max_pd, _mm256_min_pd, _mm256_xor_pd, _mm256_andnot_pd, a, b|
    nan: _mm256_blendv_pd(b, a, _mm256_cmp_pd::<_CMP_UNORD_Q>(a, a)),
    relu: _mm256_and_pd(_mm256_cmp_pd::<_CMP_NLT_UQ>(a, _mm256_setzero_pd()), a));
