//! Moving elements between strided memory and dense tiles.

use crate::vecmath::{Isa, Level, Task};
use std::ops::Range;

/// One element of a size, as plain bytes, aligned like the element.
pub(crate) trait Word: Copy + Default + 'static {}
impl Word for u8 {}
impl Word for u16 {}
impl Word for u32 {}
impl Word for u64 {}

/// Calls a generic function of a [`Word`] with the type for an element size in bytes.
macro_rules! by_size {
    ($size:expr, $function:ident($($argument:expr),* $(,)?)) => {
        match $size {
            1 => $function::<u8>($($argument),*),
            2 => $function::<u16>($($argument),*),
            4 => $function::<u32>($($argument),*),
            _ => $function::<u64>($($argument),*),
        }
    };
}

/// `dst[i] = src[i·stride]` for elements of `size` bytes.
///
/// # Safety
/// `dst` is valid for writing `count` elements, `src` for reading the elements at those steps; both are aligned to the
/// elements' size and do not overlap.
#[inline]
pub(crate) unsafe fn gather(size: usize, dst: *mut u8, src: *const u8, stride: isize, count: usize) {
    #[inline(always)]
    unsafe fn words<T: Word>(dst: *mut u8, src: *const u8, stride: isize, count: usize) {
        let (dst, src) = (dst.cast::<T>(), src.cast::<T>());
        // SAFETY: the caller's promise.
        unsafe {
            match stride {
                1 => dst.copy_from_nonoverlapping(src, count),
                0 => std::slice::from_raw_parts_mut(dst, count).fill(*src),
                _ => {
                    for i in 0..count {
                        *dst.add(i) = *src.offset(i as isize * stride);
                    }
                }
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { by_size!(size, words(dst, src, stride, count)) }
}

/// `dst[i·stride] = src[i]` for elements of `size` bytes.
///
/// # Safety
/// `src` is valid for reading `count` elements, `dst` for writing the elements at those steps; both are aligned to the
/// elements' size and do not overlap.
#[inline]
pub(crate) unsafe fn scatter(size: usize, dst: *mut u8, stride: isize, src: *const u8, count: usize) {
    #[inline(always)]
    unsafe fn words<T: Word>(dst: *mut u8, stride: isize, src: *const u8, count: usize) {
        let (dst, src) = (dst.cast::<T>(), src.cast::<T>());
        // SAFETY: the caller's promise.
        unsafe {
            if stride == 1 {
                dst.copy_from_nonoverlapping(src, count);
            } else {
                for i in 0..count {
                    *dst.offset(i as isize * stride) = *src.add(i);
                }
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { by_size!(size, words(dst, stride, src, count)) }
}

/// From how many bytes on an output is written past the caches. Smaller ones are likely to be read again before they are
/// thrown out; measured on a quiet machine, streams copy at up to twice the speed of ordinary stores.
pub(crate) const STREAM_BYTES: usize = 32 << 20;

/// Asks for the cache lines of `count` elements.
#[inline(always)]
pub(crate) fn prefetch<T>(at: *const T, count: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..(count * size_of::<T>()).div_ceil(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which may name any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast::<i8>().wrapping_add(64 * line)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (at, count);
}

/// Whether [`stream`] does anything else than copy.
pub(crate) const STREAMS: bool = cfg!(target_arch = "x86_64");

/// Copies bytes past the caches, where the processor can: what is written that way need not be read from memory first, and
/// throws nothing else out. [`end_streams`] must follow before another thread may read it.
///
/// # Safety
/// `dst` is valid for writing and `src` for reading `bytes` bytes; they do not overlap.
pub(crate) unsafe fn stream(level: Level, dst: *mut u8, src: *const u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        const LINE: usize = 64;
        // Only whole lines are worth it; what lies before and behind them goes the ordinary way.
        let before = dst.align_offset(LINE).min(bytes);
        let done = before + (bytes - before) / LINE * LINE;
        // SAFETY: all parts lie within the caller's ranges, and the streamed one begins at a multiple of 64.
        unsafe {
            dst.copy_from_nonoverlapping(src, before);
            level.run(Lines { dst: dst.add(before), src: src.add(before), count: (done - before) / LINE });
            dst.add(done).copy_from_nonoverlapping(src.add(done), bytes - done);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: the caller's promise.
    unsafe {
        let _ = level;
        dst.copy_from_nonoverlapping(src, bytes);
    }
}

/// [`stream`] for whole lines of 64 bytes, at a multiple of 64 in the target.
#[cfg(target_arch = "x86_64")]
struct Lines {
    dst: *mut u8,
    src: *const u8,
    count: usize,
}

#[cfg(target_arch = "x86_64")]
impl Task for Lines {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        // SAFETY: `stream` promised the lines.
        unsafe { stream_lines::<I>(self.dst, self.src, self.count) }
    }
}

/// [`stream`] for `count` whole lines of 64 bytes.
///
/// # Safety
/// As for [`stream`]; `dst` is a multiple of 64. The function is inlined into code that runs only where there is the
/// instruction set.
#[inline(always)]
pub(crate) unsafe fn stream_lines<I: Isa>(dst: *mut u8, src: *const u8, count: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
        if I::VECTOR_BYTES == 64 {
            // SAFETY: the caller's promise; instruction sets of such vectors have AVX-512.
            return unsafe { stream_wide(dst, src, count) };
        }
        for line in 0..count {
            // SAFETY: the caller's promise; the instructions are part of every x86-64 processor.
            unsafe {
                let (to, from) = (dst.add(line * 64).cast::<__m128i>(), src.add(line * 64).cast::<__m128i>());
                let words = [0, 1, 2, 3].map(|word| _mm_loadu_si128(from.add(word)));
                for (word, value) in words.into_iter().enumerate() {
                    _mm_stream_si128(to.add(word), value);
                }
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: the caller's promise.
    unsafe {
        dst.copy_from_nonoverlapping(src, 64 * count);
    }
}

/// [`stream_lines`] with one instruction a line, so that none waits for its other parts.
///
/// # Safety
/// As for [`stream`], with `count` lines and a target at a multiple of 64.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn stream_wide(dst: *mut u8, src: *const u8, count: usize) {
    use std::arch::x86_64::{_mm512_loadu_si512, _mm512_stream_si512};
    for line in 0..count {
        // SAFETY: the caller's promise.
        unsafe { _mm512_stream_si512(dst.add(64 * line).cast(), _mm512_loadu_si512(src.add(64 * line).cast())) };
    }
}

/// Lets other threads see what this one streamed once they see what it writes next.
pub(crate) fn end_streams() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction; it touches no memory.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// `dst[r·pitch + c] = src[r·row_stride + c·column_stride]` for elements of `size` bytes.
///
/// # Safety
/// `dst` is valid for writing and `src` for reading at these steps; both are aligned to the elements' size and do not
/// overlap.
pub(crate) unsafe fn gather_panel(
    level: Level,
    size: usize,
    dst: *mut u8,
    pitch: usize,
    src: *const u8,
    strides: (isize, isize),
    sides: (usize, usize),
) {
    if strides.0 == 1 && matches!(size, 2 | 4 | 8) {
        return level.run(Transpose { size, dst, pitch, src, stride: strides.1, sides });
    }
    // SAFETY: the caller's promise.
    unsafe { by_size!(size, gather_rows(dst, pitch, src, strides, sides)) }
}

/// [`gather_panel`] for one element size, element by element.
///
/// # Safety
/// As for `gather_panel`.
#[inline(always)]
unsafe fn gather_rows<T: Word>(
    dst: *mut u8,
    pitch: usize,
    src: *const u8,
    (row_stride, column_stride): (isize, isize),
    (rows, columns): (usize, usize),
) {
    /// Columns that are finished before the next ones begin, so that the lines they lie in are still in the cache.
    const BLOCK: usize = 16;
    let (dst, src) = (dst.cast::<T>(), src.cast::<T>());
    let fill = |row: usize, columns: Range<usize>, stride: isize| {
        for column in columns {
            // SAFETY: the caller's promise; `row` and `column` are within the panel.
            unsafe {
                *dst.add(row * pitch + column) = *src.offset(row as isize * row_stride + column as isize * stride);
            }
        }
    };
    match column_stride {
        // Written apart so that the compiler knows the stride and can use vectors.
        0 => (0..rows).for_each(|row| fill(row, 0..columns, 0)),
        1 => (0..rows).for_each(|row| fill(row, 0..columns, 1)),
        stride => {
            for first in (0..columns).step_by(BLOCK) {
                (0..rows).for_each(|row| fill(row, first..(first + BLOCK).min(columns), stride));
            }
        }
    }
}

/// [`gather_panel`] where the source lies densely across the rows, for elements of 2, 4 or 8 bytes.
struct Transpose {
    size: usize,
    dst: *mut u8,
    pitch: usize,
    src: *const u8,
    /// From one column to the next.
    stride: isize,
    sides: (usize, usize),
}

impl Task for Transpose {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        // SAFETY: `gather_panel`'s caller promised what both functions ask for; the blocks lie within the panel, and
        // what is left over beside and below them is gathered element by element.
        unsafe {
            match self.size {
                2 => self.blocks::<u16, 8>(square2),
                4 => self.blocks::<u32, 8>(square4::<I>),
                _ => self.blocks::<u64, 4>(square8::<I>),
            }
        }
    }
}

impl Transpose {
    /// # Safety
    /// As for [`gather_panel`]; `square` moves `SIDE` × `SIDE` elements of type `T` from a source with one distance in
    /// bytes between columns to a target with another between rows.
    #[inline(always)]
    unsafe fn blocks<T: Word, const SIDE: usize>(&self, square: unsafe fn(*mut u8, usize, *const u8, isize)) {
        let (rows, columns) = self.sides;
        let (even_rows, even_columns) = (rows - rows % SIDE, columns - columns % SIDE);
        let (pitch, stride) = (self.pitch * size_of::<T>(), self.stride * size_of::<T>() as isize);
        // SAFETY: the caller's promise; all squares lie within the panel, and the rests are what they leave.
        unsafe {
            for column in (0..even_columns).step_by(SIDE) {
                let src = self.src.offset(column as isize * stride);
                let dst = self.dst.add(column * size_of::<T>());
                for row in (0..even_rows).step_by(SIDE) {
                    square(dst.add(row * pitch), pitch, src.add(row * size_of::<T>()), stride);
                }
            }
            let below = (self.dst.add(even_rows * pitch), self.src.add(even_rows * size_of::<T>()));
            gather_rows::<T>(below.0, self.pitch, below.1, (1, self.stride), (rows - even_rows, columns));
            let beside = (self.dst.add(even_columns * size_of::<T>()), self.src.offset(even_columns as isize * stride));
            gather_rows::<T>(beside.0, self.pitch, beside.1, (1, self.stride), (even_rows, columns - even_columns));
        }
    }
}

/// Transposes a square of 8 × 8 elements of 2 bytes. Distances are in bytes.
///
/// # Safety
/// As for [`square4`], with 8 elements of 2 bytes each.
#[inline(always)]
unsafe fn square2(dst: *mut u8, pitch: usize, src: *const u8, stride: isize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        // SAFETY: the caller's promise: each load is a column's 8 elements, each store a row's. The instructions are part
        // of every x86-64 processor.
        unsafe {
            let column = |number: isize| _mm_loadu_si128(src.offset(number * stride).cast());
            // Columns 4 apart are interleaved, then those 2 apart, then neighbours.
            let mut held = [0, 1, 2, 3, 4, 5, 6, 7].map(column);
            for _ in 0..3 {
                let [a, b, c, d, e, f, g, h] = held;
                let pair = |x, y| [_mm_unpacklo_epi16(x, y), _mm_unpackhi_epi16(x, y)];
                let ([p, q], [r, s], [t, u], [v, w]) = (pair(a, e), pair(b, f), pair(c, g), pair(d, h));
                held = [p, q, r, s, t, u, v, w];
            }
            for (row, value) in held.into_iter().enumerate() {
                _mm_storeu_si128(dst.add(row * pitch).cast(), value);
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: the caller's promise.
    unsafe {
        square::<u16, 8>(dst, pitch, src, stride);
    }
}

/// Transposes a square of 8 × 8 elements of 4 bytes. Distances are in bytes.
///
/// # Safety
/// `dst` is valid for writing 8 elements at each of 8 multiples of `pitch`, `src` for reading 8 at each of 8 multiples of
/// `stride`; they do not overlap.
#[inline(always)]
unsafe fn square4<I: Isa>(dst: *mut u8, pitch: usize, src: *const u8, stride: isize) {
    #[cfg(target_arch = "x86_64")]
    if has_avx2::<I>() {
        // SAFETY: the caller's promise; an instruction set with AVX2 is only run where it is.
        return unsafe { avx2::square4(dst, pitch, src, stride) };
    }
    // SAFETY: the caller's promise.
    unsafe { square::<u32, 8>(dst, pitch, src, stride) }
}

/// Transposes a square of 4 × 4 elements of 8 bytes. Distances are in bytes.
///
/// # Safety
/// As for [`square4`], with 4 elements of 8 bytes each.
#[inline(always)]
unsafe fn square8<I: Isa>(dst: *mut u8, pitch: usize, src: *const u8, stride: isize) {
    #[cfg(target_arch = "x86_64")]
    if has_avx2::<I>() {
        // SAFETY: the caller's promise; an instruction set with AVX2 is only run where it is.
        return unsafe { avx2::square8(dst, pitch, src, stride) };
    }
    // SAFETY: the caller's promise.
    unsafe { square::<u64, 4>(dst, pitch, src, stride) }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn has_avx2<I: Isa>() -> bool {
    use crate::vecmath::{Avx2, Avx512};
    use std::any::TypeId;
    TypeId::of::<I>() == TypeId::of::<Avx2>() || TypeId::of::<I>() == TypeId::of::<Avx512>()
}

/// Transposes a square element by element.
///
/// # Safety
/// As for [`square4`], with `SIDE` elements of type `T` each.
#[inline(always)]
unsafe fn square<T: Word, const SIDE: usize>(dst: *mut u8, pitch: usize, src: *const u8, stride: isize) {
    for row in 0..SIDE {
        for column in 0..SIDE {
            // SAFETY: the caller's promise.
            unsafe {
                *dst.add(row * pitch).cast::<T>().add(column) =
                    *src.offset(column as isize * stride).cast::<T>().add(row);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    /// # Safety
    /// As for [`super::square4`].
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn square4(dst: *mut u8, pitch: usize, src: *const u8, stride: isize) {
        // SAFETY: the caller's promise: each load is a column's 8 elements, each store a row's.
        unsafe {
            let column = |number: isize| _mm256_loadu_ps(src.offset(number * stride).cast());
            let pair = |a: isize, b: isize| {
                let (a, b) = (column(a), column(b));
                (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b))
            };
            // Pairs of columns interleaved, then fours, then the halves put together.
            let ((a0, a1), (a2, a3)) = (pair(0, 1), pair(2, 3));
            let ((a4, a5), (a6, a7)) = (pair(4, 5), pair(6, 7));
            let low = |a, b| _mm256_shuffle_ps::<0b01_00_01_00>(a, b);
            let high = |a, b| _mm256_shuffle_ps::<0b11_10_11_10>(a, b);
            let first = [low(a0, a2), high(a0, a2), low(a1, a3), high(a1, a3)];
            let second = [low(a4, a6), high(a4, a6), low(a5, a7), high(a5, a7)];
            for row in 0..4 {
                let (a, b) = (first[row], second[row]);
                _mm256_storeu_ps(dst.add(row * pitch).cast(), _mm256_permute2f128_ps::<0x20>(a, b));
                _mm256_storeu_ps(dst.add((row + 4) * pitch).cast(), _mm256_permute2f128_ps::<0x31>(a, b));
            }
        }
    }

    /// # Safety
    /// As for [`super::square8`].
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn square8(dst: *mut u8, pitch: usize, src: *const u8, stride: isize) {
        // SAFETY: the caller's promise: each load is a column's 4 elements, each store a row's.
        unsafe {
            let column = |number: isize| _mm256_loadu_pd(src.offset(number * stride).cast());
            let (a, b, c, d) = (column(0), column(1), column(2), column(3));
            let (ab0, ab1) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
            let (cd0, cd1) = (_mm256_unpacklo_pd(c, d), _mm256_unpackhi_pd(c, d));
            let store = |row: usize, value| _mm256_storeu_pd(dst.add(row * pitch).cast(), value);
            store(0, _mm256_permute2f128_pd::<0x20>(ab0, cd0));
            store(1, _mm256_permute2f128_pd::<0x20>(ab1, cd1));
            store(2, _mm256_permute2f128_pd::<0x31>(ab0, cd0));
            store(3, _mm256_permute2f128_pd::<0x31>(ab1, cd1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gathered_can_be_scattered_back() {
        let src: Vec<u16> = (0..100).collect();
        for stride in [1, 0, 3, -2] {
            let (mut tile, mut back) = (vec![0u16; 20], vec![0u16; 100]);
            let start = if stride < 0 { 50 } else { 5 };
            // SAFETY: 20 elements in steps of at most 3 lie within 100 elements from these starts.
            unsafe {
                gather(2, tile.as_mut_ptr().cast(), src.as_ptr().add(start).cast(), stride, 20);
                scatter(2, back.as_mut_ptr().add(start).cast(), stride, tile.as_ptr().cast(), 20);
            }
            for (i, &value) in tile.iter().enumerate() {
                let at = (start as isize + i as isize * stride) as usize;
                assert_eq!((value, back[at]), (src[at], src[at]), "stride {stride}");
            }
        }
    }

    #[test]
    fn streams_copy_whatever_the_alignment() {
        let src: Vec<u8> = (0..1000).map(|number| (number % 251) as u8).collect();
        for &level in Level::available() {
            for (to, from, bytes) in [(0, 0, 1000), (1, 3, 700), (63, 1, 64), (5, 9, 0), (7, 7, 30), (60, 2, 260)] {
                let mut dst = vec![0u8; 1100];
                // SAFETY: both ranges lie within their vectors.
                unsafe { stream(level, dst.as_mut_ptr().add(to), src.as_ptr().add(from), bytes) };
                end_streams();
                assert_eq!(dst[to..to + bytes], src[from..from + bytes]);
                assert!(dst[..to].iter().chain(&dst[to + bytes..]).all(|&byte| byte == 0), "{to} {from} {bytes}");
            }
        }
    }

    #[test]
    fn panels_are_transposed() {
        fn check<T: Word + PartialEq + std::fmt::Debug>(level: Level, value: impl Fn(usize) -> T) {
            let src: Vec<T> = (0..50 * 40).map(&value).collect();
            for (rows, columns) in [(16, 50), (8, 8), (1, 7), (13, 21), (16, 3)] {
                let mut dst = vec![T::default(); 16 * 64];
                // SAFETY: up to 16 rows of 50 columns lie within 50 × 40 elements, and a pitch of 64 holds them.
                unsafe {
                    let (dst, src) = (dst.as_mut_ptr().cast(), src.as_ptr().add(8).cast());
                    gather_panel(level, size_of::<T>(), dst, 64, src, (1, 40), (rows, columns));
                }
                for row in 0..16 {
                    for column in 0..64 {
                        let within = row < rows && column < columns;
                        let expected = if within { value(8 + row + column * 40) } else { T::default() };
                        assert_eq!(dst[row * 64 + column], expected, "{rows} × {columns}, {level:?}");
                    }
                }
            }
        }
        for &level in Level::available() {
            check(level, |number| (number % 251) as u8);
            check(level, |number| number as u16);
            check(level, |number| number as u32);
            check(level, |number| number as u64 * 0x1_0000_0001);
        }
    }
}
