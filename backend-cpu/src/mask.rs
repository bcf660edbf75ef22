//! Where a mask holds.
//!
//! Blocks are counted, then each knows where its numbers begin. A chunk's numbers are gathered without a branch: each is written, and the
//! next one over it if its element was false.

use crate::Cpu;
use crate::number::{Number, Truth};
use crate::parallel::{GRAIN, for_each_range};
use crate::strided::{Source, Target};
use std::ops::Range;
use tensor_core::{View, ViewMut};

/// Elements that are counted together.
const BLOCK: usize = 1 << 14;
/// Elements whose numbers are gathered at a time.
const CHUNK: usize = 128;

/// See [`Backend::mask_indices`](tensor_core::Backend::mask_indices).
pub(crate) fn mask_indices(mask: &View<'_, Cpu>, mut out: ViewMut<'_, Cpu>) {
    let (length, room) = (mask.layout.numel(), out.layout.numel());
    let mask = Mask { from: Source::new(mask), step: mask.layout.strides()[0] };
    let to = Target::<i64>::new(&mut out);
    let blocks = length.div_ceil(BLOCK);
    let block = |number: usize| number * BLOCK..length.min((number + 1) * BLOCK);
    let mut starts = vec![0; blocks];
    let counts = Target::from_ptr(starts.as_mut_ptr());
    for_each_range(blocks, GRAIN / BLOCK, |numbers| {
        for number in numbers {
            let mut count = 0;
            mask.chunks(block(number), |_, hits| count += usize::from(hits.iter().sum::<u8>()));
            // SAFETY: there is a place for each block, which only this task writes.
            unsafe { counts.at(number as isize).write(count) };
        }
    });
    let mut total = 0;
    for start in &mut starts {
        total += std::mem::replace(start, total);
    }
    assert_eq!(total, room, "the result has a place for each true element");
    for_each_range(blocks, GRAIN / BLOCK, |numbers| {
        for number in numbers {
            let mut next = starts[number];
            mask.chunks(block(number), |first, hits| {
                let mut found = [0; CHUNK];
                let mut count = 0;
                for (i, &hit) in hits.iter().enumerate() {
                    found[count % CHUNK] = (first + i) as i64;
                    count += usize::from(hit);
                }
                // SAFETY: the block's places, as many as it has true elements, which no other task writes.
                unsafe { to.at(next as isize).copy_from_nonoverlapping(found.as_ptr(), count) };
                next += count;
            });
        }
    });
}

/// A vector of truth values.
struct Mask {
    from: Source<Truth>,
    step: isize,
}

impl Mask {
    /// Hands over the elements of a range, a chunk at a time, as numbers 0 and 1, with the number of the first.
    #[inline(always)]
    fn chunks(&self, range: Range<usize>, mut each: impl FnMut(usize, &[u8])) {
        let mut hits = [0; CHUNK];
        for first in range.clone().step_by(CHUNK) {
            let hits = &mut hits[..CHUNK.min(range.end - first)];
            let from = self.from.at(first as isize * self.step);
            let read = |hits: &mut [u8], step: isize| {
                for (i, hit) in hits.iter_mut().enumerate() {
                    // SAFETY: an element of the mask.
                    *hit = u8::from(unsafe { from.offset(i as isize * step).read() }.widen() != 0);
                }
            };
            // A known step makes a loop of vectors.
            if self.step == 1 {
                read(hits, 1);
            } else {
                read(hits, self.step);
            }
            each(first, hits);
        }
    }
}
