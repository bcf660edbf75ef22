//! Moving elements between strided memory and dense tiles.

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

/// `dst[r·pitch + c] = src[r·row_stride + c·column_stride]` for elements of `size` bytes.
///
/// # Safety
/// `dst` is valid for writing and `src` for reading at these steps; both are aligned to the elements' size and do not
/// overlap.
pub(crate) unsafe fn gather_panel(
    size: usize,
    dst: *mut u8,
    pitch: usize,
    src: *const u8,
    (row_stride, column_stride): (isize, isize),
    (rows, columns): (usize, usize),
) {
    /// The side of the square blocks: a cache line of the smallest elements is as long, and both sides' lines stay in L1.
    const BLOCK: usize = 16;
    #[inline(always)]
    unsafe fn words<T: Word>(
        dst: *mut u8,
        pitch: usize,
        src: *const u8,
        (row_stride, column_stride): (isize, isize),
        (rows, columns): (usize, usize),
    ) {
        let (dst, src) = (dst.cast::<T>(), src.cast::<T>());
        for first in (0..columns).step_by(BLOCK) {
            for row in 0..rows {
                for column in first..(first + BLOCK).min(columns) {
                    // SAFETY: the caller's promise; `row` and `column` are within the panel.
                    unsafe {
                        *dst.add(row * pitch + column) =
                            *src.offset(row as isize * row_stride + column as isize * column_stride);
                    }
                }
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { by_size!(size, words(dst, pitch, src, (row_stride, column_stride), (rows, columns))) }
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
    fn panels_are_transposed() {
        let src: Vec<u32> = (0..50 * 40).collect();
        let mut dst = vec![0u32; 16 * 64];
        // SAFETY: 16 rows of 50 columns lie within 50 × 40 elements, and a pitch of 64 holds them.
        unsafe { gather_panel(4, dst.as_mut_ptr().cast(), 64, src.as_ptr().add(8).cast(), (1, 40), (16, 50)) };
        for row in 0..16 {
            for column in 0..50 {
                assert_eq!(dst[row * 64 + column], (8 + row + column * 40) as u32);
            }
        }
    }
}
