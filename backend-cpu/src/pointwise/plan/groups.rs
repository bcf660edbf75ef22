//! Which instructions are computed together: runs of cheap ones, and sums and products of others.

use super::{AT_END, Planner};
use crate::pointwise::chain::{self, First, Link};
use crate::pointwise::kernel::OPERANDS;
use crate::pointwise::line::{self, for_operands};
use crate::pointwise::plan::Lane;
use crate::pointwise::registers::Code;
use smallvec::SmallVec;
use tensor_core::program::{Inst, Op, Reg};

/// A run of instructions that are computed together.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// They, as bits.
    pub(super) insts: u64,
    /// What computes them, with registers in place of lanes.
    pub(super) codes: SmallVec<[Code; 16]>,
}

impl Line {
    /// The last of the instructions.
    pub(super) fn root(&self) -> usize {
        last(self.insts)
    }
}

/// The last of some instructions.
fn last(insts: u64) -> usize {
    (u64::BITS - 1 - insts.leading_zeros()) as usize
}

/// An instruction that computes others in its loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fusion {
    pub(super) root: usize,
    pub(super) shape: chain::Shape,
    pub(super) sources: [Reg; OPERANDS],
}

impl Planner<'_> {
    /// Finds runs of cheap instructions of one type, with nothing between them but leaves. What two or three of them do in a
    /// loop made for them is left to that.
    pub(super) fn find_lines(&mut self, varying: u64) {
        if !self.memory.lines {
            return;
        }
        let insts = self.program.insts();
        let (mut line, mut lines) = (0u64, SmallVec::<[u64; 4]>::new());
        for (number, inst) in insts.iter().enumerate().filter(|&(number, _)| varying & 1 << number != 0) {
            if matches!(inst.op, Op::Input(_) | Op::Scalar(_) | Op::Iota(_) | Op::Random { .. }) {
                continue;
            }
            let fits = line::does(inst);
            if line != 0 && (!fits || insts[last(line)].dtype.compute() != inst.dtype.compute()) {
                lines.push(std::mem::take(&mut line));
            }
            line |= u64::from(fits) << number;
        }
        lines.push(line);
        for line in lines.into_iter().filter(|line| line.count_ones() > 1) {
            let root = last(line);
            let used_once = |number: usize| {
                let mut uses = usize::from(self.last_use[number] == AT_END);
                for inst in insts {
                    for_operands(&inst.op, |reg| uses += usize::from(reg.index() == number));
                }
                uses == 1
            };
            let is_link = |number: &usize| match insts[*number].op {
                Op::Binary(op, ..) => First::of(op).is_some(),
                _ => false,
            };
            let numbers = (0..root).filter(|number| line & 1 << number != 0);
            let inner = numbers
                .filter(is_link)
                .filter(|&number| used_once(number))
                .fold(0, |inner, number| inner | 1 << number);
            let is_chain =
                is_link(&root) && fusion(insts, inner, root).is_some_and(|found| found.absorbed | 1 << root == line);
            if is_chain {
                continue;
            }
            // For now, registers stand for the lanes that they will have.
            let streamed =
                |number: usize| self.direct[number].is_some_and(|output| self.memory.streamed[output as usize]);
            let ends = line::Ends {
                line,
                source: &|reg| reg.0,
                target: &|number| (self.last_use[number] as usize > root).then(|| (number as Lane, streamed(number))),
                half: None,
            };
            let Some(codes) = line::assemble(insts, &ends) else { continue };
            for (_, inst) in insts.iter().enumerate().filter(|&(number, _)| line & 1 << number != 0) {
                for_operands(&inst.op, |reg| {
                    let last = &mut self.last_use[reg.index()];
                    *last = (*last).max(root as u8);
                });
            }
            self.absorbed |= line & !(1 << root);
            self.lines.push(Line { insts: line, codes });
        }
    }

    /// Finds sums and products that are used once, by other sums and products. What lines compute is left to them, but
    /// what they read is used.
    pub(super) fn fuse(&mut self, varying: u64, in_lines: u64) {
        let insts = self.program.insts();
        let mut uses: SmallVec<[u8; 16]> = SmallVec::from_elem(0, insts.len());
        let is_link = |number: usize| match insts[number].op {
            Op::Binary(op, ..) => insts[number].dtype.is_float() && First::of(op).is_some(),
            _ => false,
        };
        let links = (0..insts.len()).filter(|&number| varying & !in_lines & 1 << number != 0 && is_link(number));
        let links = links.fold(0u64, |links, number| links | 1 << number);
        if links.count_ones() < 2 {
            return;
        }
        for (number, inst) in insts.iter().enumerate() {
            if varying & 1 << number != 0 {
                for_operands(&inst.op, |reg| uses[reg.index()] += 1);
            }
        }
        let inner = (0..insts.len())
            .filter(|&number| links & 1 << number != 0 && uses[number] == 1 && self.last_use[number] != AT_END)
            .fold(0u64, |inner, number| inner | 1 << number);
        for root in (0..insts.len()).rev() {
            if links & !self.absorbed & 1 << root != 0
                && let Some(fusion) = fusion(insts, inner & !self.absorbed, root)
            {
                for source in fusion.sources {
                    let last = &mut self.last_use[source.index()];
                    *last = (*last).max(root as u8);
                }
                self.absorbed |= fusion.absorbed;
                self.fusions.push(fusion.made);
            }
        }
    }
}

/// A fusion and the instructions that it makes superfluous, as bits.
struct Found {
    made: Fusion,
    sources: [Reg; OPERANDS],
    absorbed: u64,
}

/// The best way to compute an instruction together with operands of which it is the only user (`inner`, as bits).
fn fusion(insts: &[Inst], inner: u64, root: usize) -> Option<Found> {
    let operands = |number: usize| match insts[number].op {
        Op::Binary(op, a, b) => Some((op, a, b)),
        _ => None,
    };
    let is_inner = |reg: Reg| inner & 1 << reg.index() != 0;
    let (join, a, b) = operands(root)?;
    let found = |shape, sources, absorbed| Some(Found { made: Fusion { root, shape, sources }, sources, absorbed });
    if is_inner(a) && is_inner(b) {
        let ((left, p, q), (right, r, s)) = (operands(a.index())?, operands(b.index())?);
        let shape = chain::Shape::Joined(First::of(left)?, First::of(right)?, First::of(join)?);
        return found(shape, [p, q, r, s], 1 << a.index() | 1 << b.index());
    }
    let (value, other, value_is_left) = if is_inner(a) {
        (a, b, true)
    } else if is_inner(b) {
        (b, a, false)
    } else {
        return None;
    };
    let last = Link::of(join, value_is_left)?;
    let (middle, c, d) = operands(value.index())?;
    // Of two candidates the one that has no candidates itself: the other can become a root of its own then.
    let is_deep = |reg: Reg| operands(reg.index()).is_some_and(|(_, a, b)| is_inner(a) || is_inner(b));
    let (deeper, third, deeper_is_left) = match (is_inner(c), is_inner(d)) {
        (false, false) => {
            let shape = chain::Shape::Two(First::of(middle)?, last);
            return found(shape, [c, d, other, other], 1 << value.index());
        }
        (true, true) if is_deep(c) => (d, c, false),
        (true, _) => (c, d, true),
        (false, true) => (d, c, false),
    };
    let (first, p, q) = operands(deeper.index())?;
    let shape = chain::Shape::Three(First::of(first)?, Link::of(middle, deeper_is_left)?, last);
    found(shape, [p, q, third, other], 1 << value.index() | 1 << deeper.index())
}
