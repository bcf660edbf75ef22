//! How the work-items of a kernel find their elements.

use super::params::Block;
use std::fmt::Write;

/// How an index becomes positions in memory. The kernel depends on this; all else about the layouts is parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Walk {
    /// How many axes the index is taken apart into: 0 where every operand lies densely in order, else 1, 2, 4 or 8.
    rank: u8,
    /// Whether indices need 64 bits.
    wide: bool,
}

/// The most axes a walk takes apart, after merging those that lie together.
pub(super) const MAX_RANK: usize = 8;

/// The values of a walk over some operands.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) walk: Walk,
    sizes: Vec<usize>,
    /// One list for each operand.
    strides: Vec<Vec<isize>>,
}

/// The axes of several operands over one shape: axes of size 1 dropped, those that every operand walks as one merged.
pub(super) fn merge(dims: &[usize], operands: &[&[isize]]) -> (Vec<usize>, Vec<Vec<isize>>) {
    let mut sizes: Vec<usize> = Vec::new();
    let mut strides: Vec<Vec<isize>> = vec![Vec::new(); operands.len()];
    for (axis, &size) in dims.iter().enumerate().filter(|(_, size)| **size != 1) {
        let merges = !sizes.is_empty()
            && operands
                .iter()
                .zip(&strides)
                .all(|(own, held)| held.last().is_some_and(|&outer| outer == own[axis] * size as isize));
        if merges {
            let last = sizes.len() - 1;
            sizes[last] *= size;
            for (own, held) in operands.iter().zip(&mut strides) {
                held[last] = own[axis];
            }
        } else {
            sizes.push(size);
            for (own, held) in operands.iter().zip(&mut strides) {
                held.push(own[axis]);
            }
        }
    }
    (sizes, strides)
}

impl Route {
    /// The way through operands of one shape. `None` if even merged they have more axes than a walk takes.
    pub(super) fn new(dims: &[usize], operands: &[&[isize]], offsets: &[usize]) -> Option<Self> {
        let (mut sizes, mut strides) = merge(dims, operands);
        let count: usize = sizes.iter().product();
        let far = strides.iter().zip(offsets).any(|(strides, &offset)| {
            let reach: usize = sizes.iter().zip(strides).map(|(&size, &step)| (size - 1) * step.unsigned_abs()).sum();
            reach + offset > i32::MAX as usize
        });
        // Work-items beyond the last element have indices too.
        let wide = far || count > i32::MAX as usize - 4096;
        let dense = sizes.is_empty() || (sizes.len() == 1 && strides.iter().all(|strides| strides[0] == 1));
        let rank = if dense { 0 } else { *[1, 2, 4, MAX_RANK].iter().find(|&&rank| rank >= sizes.len())? };
        let missing = rank.saturating_sub(sizes.len());
        sizes.splice(0..0, std::iter::repeat_n(1, missing));
        for strides in &mut strides {
            strides.splice(0..0, std::iter::repeat_n(0, missing));
        }
        Some(Self { walk: Walk { rank: rank as u8, wide }, sizes, strides })
    }

    /// The same way in indices of 64 bits.
    pub(super) fn widened(mut self) -> Self {
        self.walk.wide = true;
        self
    }

    /// The same way along one of these numbers of axes, which ascend to the largest. Fewer kernels to compile, for a
    /// division more in each; a dense way stays dense.
    pub(super) fn of_axes(mut self, ranks: &[usize]) -> Self {
        let own = self.walk.rank as usize;
        if let Some(&rank) = ranks.iter().find(|&&rank| rank >= own).filter(|_| own > 0) {
            let missing = rank - own;
            self.sizes.splice(0..0, std::iter::repeat_n(1, missing));
            for strides in &mut self.strides {
                strides.splice(0..0, std::iter::repeat_n(0, missing));
            }
            self.walk.rank = rank as u8;
        }
        self
    }

    /// Adds the parameters; every name begins with `name`.
    pub(super) fn fill(&self, name: &str, block: &mut Block) {
        let (rank, wide) = (self.walk.rank as usize, self.walk.wide);
        if rank == 0 {
            return;
        }
        block.indices(&format!("{name}_size"), self.sizes.iter().map(|&size| size as i64), wide);
        if !wide {
            let magic: Vec<(u32, u32)> = self.sizes.iter().map(|&size| reciprocal(size as u32)).collect();
            block.list(&format!("{name}_magic"), magic.iter().map(|magic| magic.0));
            block.list(&format!("{name}_shift"), magic.iter().map(|magic| magic.1));
        }
        for (number, strides) in self.strides.iter().enumerate() {
            block.indices(&format!("{name}_step{number}"), strides.iter().map(|&step| step as i64), wide);
        }
    }
}

impl Walk {
    pub(super) fn is_wide(self) -> bool {
        self.wide
    }

    /// The dense walk, and those of two axes and of the most, with this width.
    pub(super) fn relatives(self) -> impl Iterator<Item = Self> {
        [0, 2, MAX_RANK].into_iter().map(move |rank| Self { rank: rank as u8, ..self })
    }

    /// Whether every operand lies densely in order.
    pub(super) fn is_dense(self) -> bool {
        self.rank == 0
    }

    /// A stand-in with this walk's form, to write the parameters' text by.
    pub(super) fn blank(self, operands: usize) -> Route {
        let rank = self.rank as usize;
        Route { walk: self, sizes: vec![1; rank], strides: vec![vec![0; rank]; operands] }
    }

    /// Statements that set `at[k]` from the variable `index`, for each operand; `p` holds the parameters.
    pub(super) fn text(self, name: &str, index: &str, at: &[String]) -> String {
        let mut text = String::new();
        let rank = self.rank as usize;
        if rank == 0 {
            for at in at {
                let _ = writeln!(text, "    const INDEX {at} = {index};");
            }
            return text;
        }
        if at.is_empty() {
            return text;
        }
        for at in at {
            let _ = writeln!(text, "    INDEX {at} = 0;");
        }
        let _ = writeln!(text, "    {{\n    UINDEX rest = (UINDEX){index};");
        for axis in (1..rank).rev() {
            let quotient = if self.wide {
                format!("rest / (UINDEX)p.{name}_size[{axis}]")
            } else {
                // Exact for indices below 2³¹; see `reciprocal`.
                format!("(MUL_HI_U32(rest, p.{name}_magic[{axis}]) + rest) >> p.{name}_shift[{axis}]")
            };
            let _ = writeln!(text, "    {{\n    const UINDEX quotient = {quotient};");
            let _ = writeln!(
                text,
                "    const INDEX place = (INDEX)(rest - quotient * (UINDEX)p.{name}_size[{axis}]);\n    rest = quotient;"
            );
            for (number, at) in at.iter().enumerate() {
                let _ = writeln!(text, "    {at} += place * p.{name}_step{number}[{axis}];");
            }
            let _ = writeln!(text, "    }}");
        }
        for (number, at) in at.iter().enumerate() {
            let _ = writeln!(text, "    {at} += (INDEX)rest * p.{name}_step{number}[0];");
        }
        let _ = writeln!(text, "    }}");
        text
    }
}

/// Numbers `(m, s)` with `n / d = (⌊n·m / 2³²⌋ + n) >> s` for all n below 2³¹ (Granlund and Montgomery, "Division by
/// invariant integers using multiplication", 1994).
fn reciprocal(divisor: u32) -> (u32, u32) {
    let shift = 32 - (divisor - 1).leading_zeros();
    let magic = ((1u64 << 32) * ((1u64 << shift) - u64::from(divisor))) / u64::from(divisor) + 1;
    (magic as u32, shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reciprocals_divide_exactly() {
        let mut divisors: Vec<u32> = (1..2000).collect();
        divisors.extend([4095, 4096, 65535, 65537, 1_000_003, (1 << 30) - 1, 1 << 30, (1 << 30) + 1, i32::MAX as u32]);
        for d in divisors {
            let (magic, shift) = reciprocal(d);
            let divide = |n: u32| (((u64::from(n) * u64::from(magic)) >> 32) as u32 + n) >> shift;
            let top = i32::MAX as u32;
            for n in [0, 1, d - 1, d, d.saturating_add(1).min(top), top / d * d, (top / d * d).saturating_sub(1), top] {
                assert_eq!(divide(n), n / d, "{n} / {d}");
            }
        }
    }

    #[test]
    fn axes_that_lie_together_merge() {
        let (sizes, strides) = merge(&[2, 1, 3, 4], &[&[12, 99, 4, 1], &[0, 7, 4, 1]]);
        assert_eq!((sizes, strides), (vec![2, 12], vec![vec![12, 1], vec![0, 1]]));
        let rank = |dims: &[usize], operands: &[&[isize]]| {
            Route::new(dims, operands, &vec![0; operands.len()]).map(|route| route.walk.rank)
        };
        assert_eq!(rank(&[5, 6], &[&[6, 1], &[6, 1]]), Some(0));
        assert_eq!(rank(&[5, 6], &[&[6, 1], &[0, 0]]), Some(1));
        assert_eq!(rank(&[5, 6], &[&[6, 1], &[1, 5]]), Some(2));
        assert_eq!(rank(&[2, 2, 2], &[&[1, 2, 4]]), Some(4));
        assert_eq!(rank(&[], &[&[]]), Some(0));
        let odd: Vec<isize> = (0..9).map(|axis| 100 * axis + 1).collect();
        assert_eq!(rank(&[2; 9], &[&odd]), None);
    }
}
