//! Copies between layouts, which need no program: rows as they lie, squares turned round where the source lies densely
//! across the rows, or each element a few times.

use super::moves::{end_streams, gather_panel, stream};
use super::walk::{Odometer, Walk};
use crate::parallel::{GRAIN, for_each_range};
use crate::vecmath::Level;
use std::ops::Range;

/// Bytes that are copied at a time where rows are long.
const PIECE: usize = 1 << 16;
/// How often an element may come to be written so often at once.
const TIMES: usize = 16;
/// Rows of a block that is turned round.
const ROWS: usize = 64;
/// Bytes of a block's row. A block takes half of the smallest first-level cache.
const ROW_BYTES: usize = 256;

/// Copies the walk's second operand to its first, if it knows how to; both have elements of one size. A streamed copy goes
/// past the caches.
pub(super) fn run(level: Level, walk: &mut Walk, streamed: bool) -> bool {
    let last = walk.dims.len() - 1;
    if repeats(walk) {
        let copy = Copy { level, walk, columns: (PIECE / walk.operands[0].size).min(walk.dims[last - 1]), streamed };
        let units = walk.dims[..last - 1].iter().product::<usize>() * walk.dims[last - 1].div_ceil(copy.columns);
        for_each_range(units, (PIECE / walk.row() / copy.columns).max(1), |units| copy.repeated(units));
        return true;
    }
    if walk.linear || walk.operands[0].strides[last] != 1 {
        return false;
    }
    let size = walk.operands[0].size;
    if walk.operands[1].strides[last] == 1 {
        let copy = Copy { level, walk, columns: (PIECE / size).min(walk.row()), streamed };
        let units = walk.dims[..last].iter().product::<usize>() * walk.row().div_ceil(copy.columns);
        for_each_range(units, (4 * PIECE / size / copy.columns).max(1), |units| copy.rows(units));
        return true;
    }
    let Some(axis) = walk.operands[1].strides[..last].iter().position(|&stride| stride == 1) else {
        return false;
    };
    if walk.operands[0].strides[axis] < 0 || walk.dims[axis] == 1 {
        return false;
    }
    walk.rows_along(axis);
    let copy = Copy { level, walk, columns: ROW_BYTES / size, streamed };
    let [down, across] = copy.counts();
    let units = walk.dims[..last - 1].iter().product::<usize>() * down * across;
    for_each_range(units, (GRAIN / (ROWS * copy.columns)).max(1), |units| copy.blocks(units));
    true
}

/// Whether each of the source's elements comes a few times, one after another, in lines that are dense in the target.
fn repeats(walk: &Walk) -> bool {
    let [.., _, times] = walk.dims[..] else { return false };
    let [to, from] = [&walk.operands[0], &walk.operands[1]].map(|operand| &operand.strides[walk.dims.len() - 2..]);
    times <= TIMES && from[1] == 0 && *to == [times as isize, 1]
}

/// A copy. The walk's last axis is dense in the target.
struct Copy<'a> {
    level: Level,
    walk: &'a Walk,
    /// Columns of a block, or elements of a piece of a row.
    columns: usize,
    streamed: bool,
}

// SAFETY: the walk's pointers point to buffers that outlive the copy. The source is only read; every element of the target
// is written by one unit, and each unit is run by one thread.
unsafe impl Sync for Copy<'_> {}

impl Copy<'_> {
    /// Some pieces of rows that are dense in both.
    fn rows(&self, units: Range<usize>) {
        let [to, from] = [&self.walk.operands[0], &self.walk.operands[1]];
        let (&row, outer) = self.walk.dims.split_last().expect("a walk has an axis");
        let pieces = row.div_ceil(self.columns);
        let mut position = Odometer::at(units.start / pieces, outer);
        for unit in units {
            let first = unit % pieces * self.columns;
            let bytes = self.columns.min(row - first) * to.size;
            let at = |strides: &[isize]| (position.offset(&strides[..outer.len()]) + first as isize) * to.size as isize;
            let (target, source) =
                (to.base.wrapping_offset(at(&to.strides)), from.base.wrapping_offset(at(&from.strides)));
            // SAFETY: a piece of a row, dense in both; in the output it is this unit's alone, and the output shares no
            // memory with the input.
            unsafe {
                if self.streamed {
                    stream(self.level, target, source, bytes);
                } else {
                    target.copy_from_nonoverlapping(source, bytes);
                }
            }
            if first + self.columns >= row && !outer.is_empty() {
                position.advance(1, outer);
            }
        }
        if self.streamed {
            end_streams();
        }
    }

    /// Some pieces of lines each of whose elements comes a few times.
    fn repeated(&self, units: Range<usize>) {
        let [to, from] = [&self.walk.operands[0], &self.walk.operands[1]];
        let outer = self.walk.dims.len() - 2;
        let (length, times) = (self.walk.dims[outer], self.walk.dims[outer + 1]);
        let pieces = length.div_ceil(self.columns);
        for unit in units {
            let place = Odometer::at(unit / pieces, &self.walk.dims[..outer]);
            let first = unit % pieces * self.columns;
            let count = self.columns.min(length - first);
            let at = |strides: &[isize]| place.offset(&strides[..outer]) + first as isize * strides[outer];
            let target = to.base.wrapping_offset(at(&to.strides) * to.size as isize);
            let source = from.base.wrapping_offset(at(&from.strides) * to.size as isize).cast_const();
            let step = from.strides[outer];
            // SAFETY: a piece of a line, dense in the target, which is this unit's alone and shares no memory with the source.
            unsafe {
                match to.size {
                    1 => repeat::<u8>(target, source, step, [count, times]),
                    2 => repeat::<u16>(target.cast(), source.cast(), step, [count, times]),
                    4 => repeat::<u32>(target.cast(), source.cast(), step, [count, times]),
                    _ => repeat::<u64>(target.cast(), source.cast(), step, [count, times]),
                }
            }
        }
    }

    /// How many blocks there are down the rows and across the columns.
    fn counts(&self) -> [usize; 2] {
        let dims = &self.walk.dims;
        [dims[dims.len() - 2].div_ceil(ROWS), dims[dims.len() - 1].div_ceil(self.columns)]
    }

    /// The first bytes of a block in the target and the source, and its rows and columns.
    fn block(&self, unit: usize) -> ([*mut u8; 2], [usize; 2]) {
        let dims = &self.walk.dims;
        let outer = dims.len() - 2;
        let [down, across] = self.counts();
        let row = unit % down * ROWS;
        let column = unit / down % across * self.columns;
        let place = Odometer::at(unit / (down * across), &dims[..outer]);
        let first = [0, 1].map(|number| {
            let operand = &self.walk.operands[number];
            let strides = &operand.strides;
            let step =
                place.offset(&strides[..outer]) + row as isize * strides[outer] + column as isize * strides[outer + 1];
            operand.base.wrapping_offset(step * operand.size as isize)
        });
        (first, [ROWS.min(dims[outer] - row), self.columns.min(dims[outer + 1] - column)])
    }

    /// Some blocks of a walk whose last axis but one is dense in the source. Those down the rows follow each other, as they
    /// do in the source.
    fn blocks(&self, units: Range<usize>) {
        let mut scratch = [0u64; ROWS * ROW_BYTES / 8];
        let size = self.walk.operands[0].size;
        let outer = self.walk.dims.len() - 2;
        let pitch = self.walk.operands[0].strides[outer] as usize;
        let along = self.walk.operands[1].strides[outer + 1];
        for unit in units {
            let ([to, from], [rows, columns]) = self.block(unit);
            // SAFETY: the block's elements in the source, and in the target, where they are this unit's alone; or in the
            // scratch memory, which holds a block. Rows of the target lie `pitch` apart.
            unsafe {
                if self.streamed {
                    let spare = scratch.as_mut_ptr().cast::<u8>();
                    gather_panel(self.level, size, spare, self.columns, from, (1, along), (rows, columns));
                    for row in 0..rows {
                        stream(
                            self.level,
                            to.add(row * pitch * size),
                            spare.add(row * self.columns * size),
                            columns * size,
                        );
                    }
                } else {
                    gather_panel(self.level, size, to, pitch, from, (1, along), (rows, columns));
                }
            }
        }
        if self.streamed {
            end_streams();
        }
    }
}

/// Writes `count` elements that lie `step` apart, each `times` times.
///
/// # Safety
/// They may be read and as many written; the memory of the two does not overlap.
unsafe fn repeat<T: std::marker::Copy>(to: *mut T, from: *const T, step: isize, [count, times]: [usize; 2]) {
    // SAFETY: the caller's promises.
    unsafe {
        match times {
            2 => repeat_times::<T, 2>(to, from, step, count),
            3 => repeat_times::<T, 3>(to, from, step, count),
            4 => repeat_times::<T, 4>(to, from, step, count),
            8 => repeat_times::<T, 8>(to, from, step, count),
            _ => {
                for i in 0..count {
                    let value = from.offset(i as isize * step).read();
                    std::slice::from_raw_parts_mut(to.add(i * times), times).fill(value);
                }
            }
        }
    }
}

/// # Safety
/// As for [`repeat`].
unsafe fn repeat_times<T: std::marker::Copy, const TIMES: usize>(
    to: *mut T,
    from: *const T,
    step: isize,
    count: usize,
) {
    let to = to.cast::<[T; TIMES]>();
    for i in 0..count {
        // SAFETY: the caller's promises.
        unsafe { to.add(i).write([from.offset(i as isize * step).read(); TIMES]) };
    }
}

#[cfg(test)]
mod tests {
    use crate::Cpu;
    use tensor_core::{Backend, DType, Input, Layout, Program, Scalar, Shape, View, ViewMut};

    /// Copies from one layout to another, beside a walk over all positions; what lies between the target's elements stays.
    fn check(from: &Layout, to: &Layout, dtype: DType) {
        let (cpu, size) = (Cpu::open(), dtype.size());
        let elements = |layout: &Layout| layout.bounds().map_or(0, |(_, last)| last + 1);
        let mut source = cpu.alloc(elements(from) * size).unwrap();
        let mut target = cpu.alloc(elements(to) * size).unwrap();
        for (number, element) in source.bytes_mut().chunks_exact_mut(size).enumerate() {
            Scalar::Int(number as i64 % 101).cast(dtype).write(dtype, element);
        }
        target.bytes_mut().fill(0xa5);
        let mut wanted = target.bytes().to_vec();
        for position in tensor_core::reference::positions(to.dims()) {
            let at = |layout: &Layout| {
                let steps = layout.strides().iter().zip(&position).map(|(step, &at)| step * at as isize);
                (layout.offset() as isize + steps.sum::<isize>()) as usize * size
            };
            let (read, written) = (at(from), at(to));
            wanted[written..written + size].copy_from_slice(&source.bytes()[read..read + size]);
        }
        let input = Input::View(View { buffer: &source, layout: from, dtype });
        let out = ViewMut { buffer: &mut target, layout: to, dtype };
        cpu.pointwise(&Program::copy(dtype), to.shape(), &[input], &mut [out]).unwrap();
        assert!(target.bytes() == wanted, "{from:?} to {to:?} in {dtype}");
    }

    #[test]
    fn elements_come_a_few_times() {
        let layout = |dims: &[usize]| Layout::contiguous(Shape::new(dims).unwrap());
        for dtype in [DType::U8, DType::F16, DType::F32, DType::F64] {
            for (lines, length) in [(1, 1), (3, 5), (2, 70_000), (300, 7)] {
                for times in [2, 3, 4, 5, 8, 16, 17] {
                    let wide = Shape::new([lines, length, times]).unwrap();
                    let plain = layout(&[lines, length, 1]).expand(&wide).unwrap();
                    let turned = layout(&[length, lines]).transpose(0, 1).unwrap();
                    let turned = turned.unsqueeze(2).unwrap().expand(&wide).unwrap();
                    for from in [plain, turned] {
                        check(&from, &layout(&[lines, length, times]), dtype);
                    }
                }
            }
        }
    }
}
