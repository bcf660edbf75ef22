//! Turns a run of instructions into functions on two groups of registers.

use super::plan::Lane;
use super::registers::{self, At, Code, Does, Found, Group, Half, MAX_LANES, Place, SLOTS};
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
    /// What these are stored as, if not as what they are computed in.
    pub(super) half: Option<Half>,
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
        a.on != b.on
            && a.with != Place::Held(b.on)
            && b.with != Place::Held(a.on)
            && (a.with != b.with || !a.does.is_store() && !b.does.is_store())
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
    found: Found,
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
    /// Where `moves` says that an input has an element for each, one of 16 bits is read as it is stored; others are given as what
    /// they are computed in. A result of 16 bits is stored as such, and past the caches if it is `streamed`.
    pub(crate) fn of(level: Level, program: &Program, moves: impl Fn(usize) -> bool, streamed: bool) -> Option<Self> {
        let &[output] = program.outputs() else { return None };
        let dtype = program.dtype(output);
        let wide = dtype.compute();
        if !registers::are_for(level) || !matches!(wide, DType::F32 | DType::F64) {
            return None;
        }
        let insts = without_idle_casts(program);
        // What is rounded only to be stored is rounded as it is stored.
        let (mut end, mut rounded) = (origin(&insts, output), usize::MAX);
        if let Inst { op: Op::Cast(a), dtype: half } = insts[end.index()]
            && half == dtype
            && !insts.iter().any(|inst| reads(inst, end))
        {
            (end, rounded) = (a, end.index());
        }
        let (mut line, mut leaves) = (0u64, SmallVec::new());
        for (number, inst) in insts.iter().enumerate() {
            let leaf = match inst.op {
                _ if inst.dtype.compute() != wide => return None,
                Op::Input(input) if inst.dtype == wide || !moves(input as usize) => Leaf::Input(input as usize),
                Op::Input(input) => {
                    line |= 1 << number;
                    Leaf::Input(input as usize)
                }
                Op::Scalar(scalar) => {
                    let mut group = Box::new(Group::EMPTY);
                    group.repeat_value(program.scalars()[scalar as usize], wide);
                    Leaf::Scalar(group)
                }
                Op::Cast(_) if idle_cast(&insts, *inst).is_some() || number == rounded => continue,
                Op::Cast(_) if Half::of(inst.dtype).is_some() => {
                    line |= 1 << number;
                    continue;
                }
                _ if does(inst) => {
                    line |= 1 << number;
                    continue;
                }
                _ => return None,
            };
            leaves.push((number as Lane, leaf));
        }
        // The result has a lane of its own: what it is stored from may be an input as well.
        let target = |number: usize| (number == end.index()).then_some((RESULT, streamed));
        let ends = Ends { line, source: &|reg| reg.0, target: &target, half: Half::of(dtype) };
        let is_computed = line & 1 << end.index() != 0;
        let codes = assemble(&insts, &ends).filter(|_| is_computed)?;
        let found = registers::find(level, &codes, wide.size());
        Some(Self { level, codes, found, leaves, size: wide.size() })
    }

    /// Computes `count` elements.
    ///
    /// # Safety
    /// `to` has room for them, at a multiple of 64 bytes if they are streamed, and overlaps no input. `input` gives an input's
    /// elements, as [`of`](Self::of) was told: as many, or if they do not move, a [`Group`].
    pub(crate) unsafe fn fill(&self, to: *mut u8, count: usize, input: impl Fn(usize) -> At) {
        let at = |lane: Lane| match self.leaves.iter().find(|&&(leaf, _)| leaf == lane) {
            Some((_, Leaf::Input(number))) => input(*number),
            Some((_, Leaf::Scalar(group))) => At { at: group.as_ptr().cast_mut(), moves: false },
            None => At { at: to, moves: true },
        };
        // SAFETY: the caller's promise; `of` asked whether the level has lines, counted lanes and slots, and found functions for
        // these codes.
        unsafe { registers::run(self.level, &self.codes, Some(&self.found), self.size, count, at) }
    }
}

/// The lane of a [`Straight`]'s result: no register has this number.
const RESULT: Lane = Lane::MAX;

/// A program's instructions, but those that only say in which type a value goes on, which are not read any more.
fn without_idle_casts(program: &Program) -> SmallVec<[Inst; 16]> {
    let mut insts: SmallVec<[Inst; 16]> = program.insts().iter().copied().collect();
    for number in 0..insts.len() {
        let op = match insts[number].op {
            Op::Unary(op, a) => Op::Unary(op, origin(&insts, a)),
            Op::Binary(op, a, b) => Op::Binary(op, origin(&insts, a), origin(&insts, b)),
            Op::Ternary(op, a, b, c) => Op::Ternary(op, origin(&insts, a), origin(&insts, b), origin(&insts, c)),
            Op::Cast(a) => Op::Cast(origin(&insts, a)),
            leaf => leaf,
        };
        insts[number].op = op;
    }
    insts
}

/// Whether an instruction reads a register.
fn reads(inst: &Inst, reg: Reg) -> bool {
    let mut reads = false;
    for_operands(&inst.op, |operand| reads |= operand == reg);
    reads
}

/// Where a register's value comes from: casts that change nothing give what they are given.
fn origin(insts: &[Inst], mut reg: Reg) -> Reg {
    while let Some(from) = idle_cast(insts, insts[reg.index()]) {
        reg = from;
    }
    reg
}

/// What a cast gives on as it is.
fn idle_cast(insts: &[Inst], inst: Inst) -> Option<Reg> {
    let Op::Cast(a) = inst.op else { return None };
    let from = insts[a.index()].dtype;
    (from == inst.dtype || from.compute() == inst.dtype).then_some(a)
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
            Op::Cast(a) => self.unary(value, Does::Round(Half::of(self.insts[number].dtype)?), a)?,
            Op::Input(_) => {
                // It is stored in 16 bits, so no function but this one can read it.
                self.reading = [value; 2];
                let group = self.group()?;
                self.emit(
                    Does::LoadHalf(Half::of(self.insts[number].dtype)?),
                    group,
                    Place::Lane((self.ends.source)(value)),
                );
                self.held[group] = Some(value);
            }
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
            if let Some(half) = self.ends.half {
                self.emit(Does::StoreHalf { half, streamed }, on, Place::Lane(lane));
            } else {
                self.emit(Does::Store { streamed }, on, Place::Lane(lane));
                if !streamed {
                    self.memory[number] = Some(Place::Lane(lane));
                }
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
                self.ends.line & 1 << number != 0
                    && value.is_some_and(|value| number > value.index() && reads(&self.insts[number], value))
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
        let codes = assemble(p.insts(), &Ends { line, source: &|reg| reg.0, target: &target, half: None }).unwrap();
        let (mut number, mut functions) = (0, 0);
        while number < codes.len() {
            number += if codes.get(number + 1).is_some_and(|then| codes[number].is_pair(then)) { 2 } else { 1 };
            functions += 1;
        }
        assert!(functions <= 7, "{codes:?}");
    }
}
