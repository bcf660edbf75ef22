//! Turns a run of instructions into functions on two groups of registers.

use super::plan::Lane;
use super::registers::{self, At, Code, Does, Group, MAX_LANES, Place, SLOTS};
use crate::vecmath::Level;
use smallvec::SmallVec;
use tensor_core::op::{BinaryOp, TernaryOp, UnaryOp};
use tensor_core::program::{Inst, MAX_INSTRUCTIONS, Op, Reg};
use tensor_core::{DType, Program};

/// Whether lines have a function for an instruction.
pub(super) fn does(inst: &Inst) -> bool {
    inst.dtype.is_float()
        && match inst.op {
            Op::Unary(op, _) => matches!(op, UnaryOp::Square) || unary(op).is_some(),
            Op::Binary(op, ..) => binary(op).is_some(),
            Op::Ternary(op, ..) => op == TernaryOp::Clamp,
            Op::Input(_) | Op::Scalar(_) | Op::Iota(_) | Op::Random { .. } | Op::Compare(..) | Op::Cast(_) => false,
        }
}

fn unary(op: UnaryOp) -> Option<Does> {
    match op {
        UnaryOp::Neg => Some(Does::Neg),
        UnaryOp::Abs => Some(Does::Abs),
        UnaryOp::Relu => Some(Does::Relu),
        UnaryOp::Sqrt => Some(Does::Sqrt),
        UnaryOp::Reciprocal => Some(Does::Reciprocal),
        UnaryOp::Rsqrt => Some(Does::Rsqrt),
        _ => None,
    }
}

/// What computes an operation on its left operand, and what on its right one.
fn binary(op: BinaryOp) -> Option<[Does; 2]> {
    match op {
        BinaryOp::Add => Some([Does::Add; 2]),
        BinaryOp::Sub => Some([Does::Sub, Does::SubFrom]),
        BinaryOp::Mul => Some([Does::Mul; 2]),
        BinaryOp::Div => Some([Does::Div, Does::DivInto]),
        BinaryOp::Maximum => Some([Does::Max, Does::MaxOf]),
        BinaryOp::Minimum => Some([Does::Min, Does::MinOf]),
        _ => None,
    }
}

/// Where a line's values come from and go to.
pub(super) struct Ends<'a> {
    /// The line's instructions, as bits.
    pub(super) line: u64,
    /// The lane of each value that comes from outside.
    pub(super) source: &'a dyn Fn(Reg) -> Lane,
    /// The lane for each value that is used outside, and whether it is streamed.
    pub(super) target: &'a dyn Fn(usize) -> Option<(Lane, bool)>,
}

/// The functions that compute a line, or `None` if it is too large for them.
pub(super) fn assemble(insts: &[Inst], ends: &Ends<'_>) -> Option<SmallVec<[Code; 16]>> {
    let mut uses = [0u8; MAX_INSTRUCTIONS];
    let in_line = |number: usize| ends.line & 1 << number != 0;
    let line = || (0..insts.len()).filter(|&number| in_line(number));
    for number in line() {
        // A square is a product.
        let times = if matches!(insts[number].op, Op::Unary(UnaryOp::Square, _)) { 2 } else { 1 };
        for_operands(&insts[number].op, |reg| uses[reg.index()] += times);
    }
    let mut assembler = Assembler {
        insts,
        ends,
        uses,
        memory: [None; MAX_INSTRUCTIONS],
        held: [None; 2],
        slots: [None; SLOTS],
        reading: [Reg(0); 2],
        codes: SmallVec::new(),
    };
    for number in line() {
        assembler.instruction(number)?;
    }
    let mut codes = assembler.codes;
    bring_together(&mut codes);
    let mut lanes: SmallVec<[Lane; MAX_LANES]> = SmallVec::new();
    for code in &codes {
        if let Place::Lane(lane) = code.with
            && !lanes.contains(&lane)
        {
            lanes.push(lane);
        }
    }
    (lanes.len() <= MAX_LANES).then_some(codes)
}

/// Lets what one function does twice follow each other, where only one thing that is about the other group stands between.
fn bring_together(codes: &mut [Code]) {
    // Neither reads nor writes what the other one writes.
    let independent = |a: &Code, b: &Code| {
        let stores = |code: &Code| matches!(code.does, Does::Store { .. });
        a.on != b.on
            && a.with != Place::Held(b.on)
            && b.with != Place::Held(a.on)
            && (a.with != b.with || !stores(a) && !stores(b))
    };
    let mut number = 0;
    while let Some([first, second]) = codes.get(number..).and_then(|codes| codes.first_chunk()) {
        let mut is_pair = first.is_pair(second);
        if let Some(third) = codes.get(number + 2)
            && !is_pair
            && first.is_pair(third)
            && independent(second, third)
        {
            is_pair = true;
            codes.swap(number + 1, number + 2);
        }
        number += if is_pair { 2 } else { 1 };
    }
}

/// A whole program as one line, for who brings its operands and takes its result tile by tile.
pub(crate) struct Straight {
    level: Level,
    codes: SmallVec<[Code; 16]>,
    /// The program's leaves and their registers.
    leaves: SmallVec<[(Lane, Leaf); 8]>,
    size: usize,
}

enum Leaf {
    Input(usize),
    Scalar(Box<Group>),
}

impl Straight {
    /// `None` unless the program has one output, and all that it computes are floats of one type in functions that lines have.
    pub(crate) fn of(level: Level, program: &Program) -> Option<Self> {
        let (insts, &[output]) = (program.insts(), program.outputs()) else { return None };
        let dtype = program.dtype(output);
        if !registers::are_for(level) || !matches!(dtype, DType::F32 | DType::F64) {
            return None;
        }
        let (mut line, mut leaves) = (0u64, SmallVec::new());
        for (number, inst) in insts.iter().enumerate() {
            let leaf = match inst.op {
                _ if inst.dtype != dtype => return None,
                Op::Input(input) => Leaf::Input(input as usize),
                Op::Scalar(scalar) => {
                    let (mut bytes, mut group) = ([0; 8], Box::new(Group::EMPTY));
                    program.scalars()[scalar as usize].write(dtype, &mut bytes[..dtype.size()]);
                    group.repeat(&bytes, dtype.size());
                    Leaf::Scalar(group)
                }
                _ if does(inst) => {
                    line |= 1 << number;
                    continue;
                }
                _ => return None,
            };
            leaves.push((number as Lane, leaf));
        }
        let target = |number: usize| (number == output.index()).then_some((number as Lane, false));
        let ends = Ends { line, source: &|reg| reg.0, target: &target };
        let is_computed = line & 1 << output.index() != 0;
        let codes = assemble(insts, &ends).filter(|_| is_computed)?;
        Some(Self { level, codes, leaves, size: dtype.size() })
    }

    /// Computes `count` elements.
    ///
    /// # Safety
    /// `to` has room for them, and overlaps no input. `input` gives an input's elements of the program's dtype: as many, or if
    /// they do not move, a [`Group`].
    pub(crate) unsafe fn fill(&self, to: *mut u8, count: usize, input: impl Fn(usize) -> At) {
        let at = |lane: Lane| match self.leaves.iter().find(|&&(leaf, _)| leaf == lane) {
            Some((_, Leaf::Input(number))) => input(*number),
            Some((_, Leaf::Scalar(group))) => At { at: group.as_ptr().cast_mut(), moves: false },
            None => At { at: to, moves: true },
        };
        // SAFETY: the caller's promise; `of` asked whether the level has lines, and counted lanes and slots.
        unsafe { registers::run(self.level, &self.codes, self.size, count, at) }
    }
}

struct Assembler<'a> {
    insts: &'a [Inst],
    ends: &'a Ends<'a>,
    /// How often each value is still to be read.
    uses: [u8; MAX_INSTRUCTIONS],
    /// Where each value lies in memory, if it does.
    memory: [Option<Place>; MAX_INSTRUCTIONS],
    /// The values of the two groups.
    held: [Option<Reg>; 2],
    /// The values put aside.
    slots: [Option<Reg>; SLOTS],
    /// The values that the present instruction reads, which are counted as read already.
    reading: [Reg; 2],
    codes: SmallVec<[Code; 16]>,
}

impl Assembler<'_> {
    fn instruction(&mut self, number: usize) -> Option<()> {
        let value = Reg(number as u8);
        match self.insts[number].op {
            Op::Unary(UnaryOp::Square, a) => self.binary(value, [Does::Mul; 2], a, a)?,
            Op::Unary(op, a) => self.unary(value, unary(op)?, a)?,
            Op::Binary(op, a, b) => self.binary(value, binary(op)?, a, b)?,
            Op::Ternary(TernaryOp::Clamp, a, low, high) => {
                // What is between the two goes by the same name, and is read once.
                let uses = std::mem::replace(&mut self.uses[number], 1);
                self.binary(value, [Does::Max, Does::MaxOf], a, low)?;
                self.binary(value, [Does::Min, Does::MinOf], value, high)?;
                self.uses[number] = uses;
            }
            _ => return None,
        }
        if let Some((lane, streamed)) = (self.ends.target)(number) {
            let on = self.held(value)?;
            self.emit(Does::Store { streamed }, on, Place::Lane(lane));
            if !streamed {
                self.memory[number] = Some(Place::Lane(lane));
            }
        }
        Some(())
    }

    fn emit(&mut self, does: Does, on: usize, with: Place) {
        self.codes.push(Code { does, on: on == 1, with });
    }

    /// The group that holds a value.
    fn held(&self, value: Reg) -> Option<usize> {
        self.held.iter().position(|&held| held == Some(value))
    }

    /// Where a value lies in memory.
    fn memory(&self, value: Reg) -> Option<Place> {
        if self.ends.line & 1 << value.index() == 0 {
            Some(Place::Lane((self.ends.source)(value)))
        } else {
            self.memory[value.index()]
        }
    }

    /// Where a value is, as an operand.
    fn operand(&self, value: Reg) -> Option<Place> {
        self.held(value).map(|group| Place::Held(group == 1)).or_else(|| self.memory(value))
    }

    /// Whether a group may be overwritten.
    fn is_free(&self, group: usize) -> bool {
        self.held[group].is_none_or(|value| self.uses[value.index()] == 0 || self.memory(value).is_some())
    }

    /// Puts a group's value aside, so that it may be overwritten.
    fn put_aside(&mut self, group: usize) -> Option<()> {
        let value = self.held[group]?;
        let is_over = |value: Reg| self.uses[value.index()] == 0 && !self.reading.contains(&value);
        let slot = self.slots.iter().position(|&held| held.is_none_or(is_over))?;
        // What lay there is not needed any more, nor known to lie there.
        if let Some(old) = self.slots[slot].replace(value) {
            self.memory[old.index()] = None;
        }
        self.emit(Does::Store { streamed: false }, group, Place::Slot(slot as u8));
        self.memory[value.index()] = Some(Place::Slot(slot as u8));
        Some(())
    }

    /// A group that may be overwritten.
    fn group(&mut self) -> Option<usize> {
        if let Some(group) = (0..2).find(|&group| self.is_free(group)) {
            return Some(group);
        }
        // The one whose value is read last.
        let next = |group: usize| {
            let value = self.held[group];
            let done = self.insts.len() - 1;
            (0..=done).find(|&number| {
                let mut reads = false;
                let is_later = value.is_some_and(|value| number > value.index()) && self.ends.line & 1 << number != 0;
                for_operands(&self.insts[number].op, |reg| reads |= Some(reg) == value);
                is_later && reads
            })
        };
        let group = usize::from(next(1) > next(0));
        self.put_aside(group)?;
        Some(group)
    }

    /// A group that holds a value and may be overwritten: the one that does, or a copy.
    fn own(&mut self, value: Reg) -> Option<usize> {
        let Some(group) = self.held(value) else {
            let from = self.memory(value)?;
            let group = self.group()?;
            self.emit(Does::Load, group, from);
            return Some(group);
        };
        if self.is_free(group) {
            return Some(group);
        }
        if self.is_free(1 - group) {
            self.emit(Does::Load, 1 - group, Place::Held(group == 1));
            return Some(1 - group);
        }
        self.put_aside(group)?;
        Some(group)
    }

    fn unary(&mut self, value: Reg, does: Does, a: Reg) -> Option<()> {
        self.uses[a.index()] -= 1;
        self.reading = [a; 2];
        let group = self.own(a)?;
        self.emit(does, group, Place::Held(group == 1));
        self.held[group] = Some(value);
        Some(())
    }

    fn binary(&mut self, value: Reg, [left, right]: [Does; 2], a: Reg, b: Reg) -> Option<()> {
        self.uses[a.index()] -= 1;
        self.uses[b.index()] -= 1;
        self.reading = [a, b];
        let ready = |this: &Self, value: Reg| this.held(value).is_some_and(|group| this.is_free(group));
        // The operand that is overwritten: one that may be as it is, else one that is held, else one that is loaded.
        let on_right =
            a != b && !ready(self, a) && (ready(self, b) || self.held(a).is_none() && self.held(b).is_some());
        let (does, on, with) = if on_right { (right, b, a) } else { (left, a, b) };
        let with_held = self.held(with);
        let group = if a != b && with_held.is_some() && self.held(on).is_some_and(|group| !self.is_free(group)) {
            // Both are needed again: a copy would take the other's place.
            let group = self.held(on)?;
            self.put_aside(group)?;
            group
        } else if a != b
            && let Some(held) = with_held
            && self.held(on).is_none()
        {
            // Loading the one must not overwrite the other.
            let group = 1 - held;
            if !self.is_free(group) {
                self.put_aside(group)?;
            }
            let from = self.memory(on)?;
            self.emit(Does::Load, group, from);
            group
        } else {
            self.own(on)?
        };
        let with = if a == b { Place::Held(group == 1) } else { self.operand(with)? };
        self.emit(does, group, with);
        self.held[group] = Some(value);
        Some(())
    }
}

/// Calls `f` with the registers that an instruction reads.
#[inline(always)]
pub(super) fn for_operands(op: &Op, mut f: impl FnMut(Reg)) {
    match *op {
        Op::Input(_) | Op::Scalar(_) | Op::Iota(_) | Op::Random { .. } => {}
        Op::Unary(_, a) | Op::Cast(a) => f(a),
        Op::Binary(_, a, b) | Op::Compare(_, a, b) => {
            f(a);
            f(b);
        }
        Op::Ternary(_, a, b, c) => {
            f(a);
            f(b);
            f(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor_core::Scalar;

    /// Of what x³ + 3x² − 5x + 4 takes, most is done by functions that do two things.
    #[test]
    fn what_can_be_done_together_stands_together() {
        let mut p = Program::new();
        let x = p.input(DType::F32);
        let [three, five, four] = [3.0, 5.0, 4.0].map(|value| p.scalar(Scalar::Float(value), DType::F32));
        let square = p.binary(BinaryOp::Mul, x, x);
        let (cube, thrice) = (p.binary(BinaryOp::Mul, square, x), p.binary(BinaryOp::Mul, square, three));
        let (sum, fivefold) = (p.binary(BinaryOp::Add, cube, thrice), p.binary(BinaryOp::Mul, x, five));
        let difference = p.binary(BinaryOp::Sub, sum, fivefold);
        let f = p.binary(BinaryOp::Add, difference, four);
        p.output(f);
        let line =
            [square, cube, thrice, sum, fivefold, difference, f].iter().fold(0, |all, reg| all | 1 << reg.index());
        let target = |number: usize| (number == f.index()).then_some((number as Lane, false));
        let codes = assemble(p.insts(), &Ends { line, source: &|reg| reg.0, target: &target }).unwrap();
        let (mut number, mut functions) = (0, 0);
        while number < codes.len() {
            number += if codes.get(number + 1).is_some_and(|then| codes[number].is_pair(then)) { 2 } else { 1 };
            functions += 1;
        }
        assert!(functions <= 7, "{codes:?}");
    }
}
