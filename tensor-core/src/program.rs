//! Pointwise programs: what a backend runs on every element.
//!
//! A program is a short straight line of typed instructions in SSA form: instruction `i` writes register `i`, once. Leaves
//! bring values in, the others compute, and any registers may be outputs. Fill, arange, casts, dropout and random numbers
//! are all programs, so a backend implements one method for them.

use crate::op::{BinaryOp, CompareOp, TernaryOp, UnaryOp};
use crate::{DType, Scalar};
use smallvec::SmallVec;
use std::fmt;
use std::hash::{Hash, Hasher};

/// The most instructions a program may have; arrays run what is pending before it grows beyond.
pub const MAX_INSTRUCTIONS: usize = 64;

/// The most inputs a program may have.
pub const MAX_INPUTS: usize = 8;

/// The most outputs a program may have.
pub const MAX_OUTPUTS: usize = 8;

/// A register: the result of the instruction at this place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reg(pub u8);

impl Reg {
    /// The place as an index.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

/// One instruction and the dtype of its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Inst {
    /// What it does.
    pub op: Op,
    /// The dtype of the register it writes.
    pub dtype: DType,
}

/// What an instruction does. Operands are registers of earlier instructions; unless said otherwise they have the result's
/// dtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// The element of the input of this number.
    Input(u8),
    /// The run-time scalar of this number. Its value is no part of the kernel.
    Scalar(u8),
    /// The coordinate along an axis of the iterated shape, as `I64`.
    Iota(u8),
    /// 32 random bits as an `I64` from 0 to 2³²−1: word `word` of [Philox4x32-10](crate::random::philox4x32) at counter
    /// `(element, stream)`, where `element` is the row-major number of the element in the iterated shape. `key` is the
    /// number of the run-time scalar that holds the 64-bit seed; the one after it holds the 64-bit stream.
    Random {
        /// The number of the scalar that holds the seed.
        key: u8,
        /// Which of the block's four words.
        word: u8,
    },
    /// One operand. Tests such as `isnan` give `Bool` for an operand of any dtype.
    Unary(UnaryOp, Reg),
    /// Two operands.
    Binary(BinaryOp, Reg, Reg),
    /// Two operands of one dtype; gives `Bool`.
    Compare(CompareOp, Reg, Reg),
    /// Three operands; the condition of `where` is `Bool`.
    Ternary(TernaryOp, Reg, Reg, Reg),
    /// The operand's value converted to the result's dtype, as [`Scalar::cast`] does. A cast into f16 or bf16 rounds to
    /// what these hold; registers of these dtypes that other instructions write keep the precision of f32, in which they
    /// are computed.
    Cast(Reg),
}

impl Op {
    /// The registers it reads.
    pub fn operands(&self) -> SmallVec<[Reg; 3]> {
        match *self {
            Self::Input(_) | Self::Scalar(_) | Self::Iota(_) | Self::Random { .. } => SmallVec::new(),
            Self::Unary(_, a) | Self::Cast(a) => SmallVec::from_slice(&[a]),
            Self::Binary(_, a, b) | Self::Compare(_, a, b) => SmallVec::from_slice(&[a, b]),
            Self::Ternary(_, a, b, c) => SmallVec::from_slice(&[a, b, c]),
        }
    }
}

/// A pointwise program. Two programs that differ only in the values of their scalars are equal and hash alike: they share
/// a kernel.
///
/// ```
/// use tensor_core::op::BinaryOp;
/// use tensor_core::{DType, Program, Scalar};
/// // x·x + 1
/// let mut program = Program::new();
/// let x = program.input(DType::F32);
/// let square = program.binary(BinaryOp::Mul, x, x);
/// let one = program.scalar(Scalar::from(1.0), DType::F32);
/// let sum = program.binary(BinaryOp::Add, square, one);
/// program.output(sum);
/// assert_eq!(program.to_string(), "%0 = input 0 : f32\n%1 = mul %0 %0 : f32\n%2 = scalar 0 : f32\n%3 = add %1 %2 : f32\nout %3");
/// ```
#[derive(Debug, Default)]
pub struct Program {
    insts: SmallVec<[Inst; 8]>,
    inputs: SmallVec<[DType; 4]>,
    scalars: SmallVec<[Scalar; 2]>,
    outputs: SmallVec<[Reg; 2]>,
}

impl Clone for Program {
    fn clone(&self) -> Self {
        // One copy of each list, where deriving it would push element by element.
        Self {
            insts: SmallVec::from_slice(&self.insts),
            inputs: SmallVec::from_slice(&self.inputs),
            scalars: SmallVec::from_slice(&self.scalars),
            outputs: SmallVec::from_slice(&self.outputs),
        }
    }
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        self.insts == other.insts && self.outputs == other.outputs && self.inputs == other.inputs
    }
}

impl Eq for Program {}

impl Hash for Program {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.insts.hash(state);
        self.outputs.hash(state);
    }
}

impl Program {
    /// An empty program.
    pub fn new() -> Self {
        Self::default()
    }

    /// The program that hands its one input of `dtype` through: a copy.
    pub fn copy(dtype: DType) -> Self {
        let mut program = Self::new();
        let input = program.input(dtype);
        program.output(input);
        program
    }

    /// The same program with another value of its first run-time scalar.
    pub(crate) fn with_scalar(&self, value: Scalar) -> Self {
        let mut program = self.clone();
        program.scalars[0] = value;
        program
    }

    /// The instructions; the place of each is its register.
    #[inline]
    pub fn insts(&self) -> &[Inst] {
        &self.insts
    }

    /// The dtypes of the inputs.
    #[inline]
    pub fn inputs(&self) -> &[DType] {
        &self.inputs
    }

    /// The values of the run-time scalars.
    #[inline]
    pub fn scalars(&self) -> &[Scalar] {
        &self.scalars
    }

    /// The registers that are written out, in order.
    #[inline]
    pub fn outputs(&self) -> &[Reg] {
        &self.outputs
    }

    /// The dtype of a register.
    #[inline]
    pub fn dtype(&self, reg: Reg) -> DType {
        self.insts[reg.index()].dtype
    }

    /// Whether an instruction depends on the element's position, so that axes must keep their order.
    pub fn uses_position(&self) -> bool {
        self.insts.iter().any(|inst| matches!(inst.op, Op::Iota(_) | Op::Random { .. }))
    }

    /// Whether it is a plain copy of its only input.
    pub fn is_copy(&self) -> bool {
        matches!(self.insts[..], [Inst { op: Op::Input(0), .. }]) && self.outputs[..] == [Reg(0)]
    }

    /// Adds an instruction, or finds the same one that is there already.
    fn push(&mut self, op: Op, dtype: DType) -> Reg {
        let inst = Inst { op, dtype };
        if let Some(place) = self.insts.iter().position(|held| *held == inst) {
            return Reg(place as u8);
        }
        assert!(self.insts.len() < MAX_INSTRUCTIONS, "a program has at most {MAX_INSTRUCTIONS} instructions");
        self.insts.push(inst);
        Reg((self.insts.len() - 1) as u8)
    }

    /// A new input.
    ///
    /// # Panics
    /// If there are [`MAX_INPUTS`] already.
    pub fn input(&mut self, dtype: DType) -> Reg {
        assert!(self.inputs.len() < MAX_INPUTS, "a program has at most {MAX_INPUTS} inputs");
        self.inputs.push(dtype);
        self.push(Op::Input((self.inputs.len() - 1) as u8), dtype)
    }

    /// The register of the input of this number.
    ///
    /// # Panics
    /// If there is no such input.
    pub fn input_register(&self, number: usize) -> Reg {
        let place = self.insts.iter().position(|inst| inst.op == Op::Input(number as u8));
        Reg(place.expect("the input was added before") as u8)
    }

    /// A run-time scalar, converted to `dtype`. Equal values of one dtype share a register.
    pub fn scalar(&mut self, value: Scalar, dtype: DType) -> Reg {
        let value = value.cast(dtype);
        let same = |held: &Scalar| match (held, &value) {
            // By bits, so that −0 and 0 stay apart and NaN is found again.
            (Scalar::Float(a), Scalar::Float(b)) => a.to_bits() == b.to_bits(),
            (a, b) => a == b,
        };
        for (place, inst) in self.insts.iter().enumerate() {
            if let Op::Scalar(number) = inst.op
                && inst.dtype == dtype
                && same(&self.scalars[number as usize])
            {
                return Reg(place as u8);
            }
        }
        self.scalars.push(value);
        self.push(Op::Scalar((self.scalars.len() - 1) as u8), dtype)
    }

    /// The coordinate along an axis, `I64`.
    pub fn iota(&mut self, axis: usize) -> Reg {
        self.push(Op::Iota(axis as u8), DType::I64)
    }

    /// Room for a seed and a stream; gives the `key` for [`random`](Self::random).
    pub fn random_key(&mut self, seed: u64, stream: u64) -> u8 {
        self.scalars.push(Scalar::Int(seed as i64));
        self.scalars.push(Scalar::Int(stream as i64));
        (self.scalars.len() - 2) as u8
    }

    /// 32 random bits, `I64`: one word of the element's block.
    pub fn random(&mut self, key: u8, word: u8) -> Reg {
        assert!(word < 4, "a block has four words");
        self.push(Op::Random { key, word }, DType::I64)
    }

    /// An operation of one operand. The operand must have a dtype that the operation runs in.
    pub fn unary(&mut self, op: UnaryOp, a: Reg) -> Reg {
        let dtype = self.dtype(a);
        debug_assert!(op.row().takes.runs_in(dtype), "{} runs in {dtype}", op.name());
        self.push(Op::Unary(op, a), if op.row().gives_bool { DType::Bool } else { dtype })
    }

    /// An operation of two operands of one dtype that the operation runs in.
    pub fn binary(&mut self, op: BinaryOp, a: Reg, b: Reg) -> Reg {
        let dtype = self.dtype(a);
        debug_assert!(op.row().takes.runs_in(dtype), "{} runs in {dtype}", op.name());
        debug_assert_eq!(dtype, self.dtype(b), "{}", op.name());
        self.push(Op::Binary(op, a, b), dtype)
    }

    /// A comparison of two operands of one dtype.
    pub fn compare(&mut self, op: CompareOp, a: Reg, b: Reg) -> Reg {
        debug_assert_eq!(self.dtype(a), self.dtype(b), "{}", op.name());
        self.push(Op::Compare(op, a, b), DType::Bool)
    }

    /// An operation of three operands; the result has the last operand's dtype.
    pub fn ternary(&mut self, op: TernaryOp, a: Reg, b: Reg, c: Reg) -> Reg {
        let dtype = self.dtype(c);
        debug_assert_eq!(self.dtype(b), dtype, "{}", op.name());
        debug_assert_eq!(self.dtype(a), if op.row().condition { DType::Bool } else { dtype }, "{}", op.name());
        self.push(Op::Ternary(op, a, b, c), dtype)
    }

    /// The value converted to a dtype; the same register if it has it already.
    pub fn cast(&mut self, a: Reg, dtype: DType) -> Reg {
        if self.dtype(a) == dtype { a } else { self.push(Op::Cast(a), dtype) }
    }

    /// Appends another program whose inputs are these registers; gives the registers of its outputs, which are not outputs
    /// of this program yet.
    pub fn append(&mut self, other: &Self, inputs: &[Reg]) -> SmallVec<[Reg; 2]> {
        let mut map: SmallVec<[Reg; 16]> = SmallVec::new();
        let mut keys: SmallVec<[(u8, u8); 2]> = SmallVec::new();
        for inst in &other.insts {
            let at = |reg: Reg| map[reg.index()];
            let reg = match inst.op {
                Op::Input(number) => inputs[number as usize],
                Op::Scalar(number) => self.scalar(other.scalars[number as usize], inst.dtype),
                Op::Iota(axis) => self.iota(axis as usize),
                Op::Random { key, word } => {
                    let known = keys.iter().find(|(from, _)| *from == key).map(|(_, to)| *to);
                    let to = known.unwrap_or_else(|| {
                        let values = [key, key + 1].map(|number| other.scalars[number as usize].as_i64() as u64);
                        let to = self.random_key(values[0], values[1]);
                        keys.push((key, to));
                        to
                    });
                    self.random(to, word)
                }
                Op::Unary(op, a) => self.unary(op, at(a)),
                Op::Binary(op, a, b) => self.binary(op, at(a), at(b)),
                Op::Compare(op, a, b) => self.compare(op, at(a), at(b)),
                Op::Ternary(op, a, b, c) => self.ternary(op, at(a), at(b), at(c)),
                Op::Cast(a) => self.cast(at(a), inst.dtype),
            };
            map.push(reg);
        }
        other.outputs.iter().map(|reg| map[reg.index()]).collect()
    }

    /// Writes a register out as the next output.
    ///
    /// # Panics
    /// If there are [`MAX_OUTPUTS`] already.
    pub fn output(&mut self, reg: Reg) {
        assert!(self.outputs.len() < MAX_OUTPUTS, "a program has at most {MAX_OUTPUTS} outputs");
        self.outputs.push(reg);
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, inst) in self.insts.iter().enumerate() {
            write!(f, "%{place} = ")?;
            match inst.op {
                Op::Input(number) => write!(f, "input {number}")?,
                Op::Scalar(number) => write!(f, "scalar {number}")?,
                Op::Iota(axis) => write!(f, "iota {axis}")?,
                Op::Random { key, word } => write!(f, "random {key} word {word}")?,
                Op::Unary(op, a) => write!(f, "{} {a:?}", op.name())?,
                Op::Binary(op, a, b) => write!(f, "{} {a:?} {b:?}", op.name())?,
                Op::Compare(op, a, b) => write!(f, "{} {a:?} {b:?}", op.name())?,
                Op::Ternary(op, a, b, c) => write!(f, "{} {a:?} {b:?} {c:?}", op.name())?,
                Op::Cast(a) => write!(f, "cast {a:?}")?,
            }
            writeln!(f, " : {}", inst.dtype)?;
        }
        write!(f, "out")?;
        for reg in &self.outputs {
            write!(f, " {reg:?}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_no_part_of_the_kernel() {
        let build = |value: f64| {
            let mut program = Program::new();
            let x = program.input(DType::F32);
            let c = program.scalar(Scalar::Float(value), DType::F32);
            let y = program.binary(BinaryOp::Mul, x, c);
            program.output(y);
            program
        };
        assert_eq!(build(2.0), build(3.0));
        assert_ne!(build(2.0).scalars(), build(3.0).scalars());
        assert_ne!(build(2.0), Program::copy(DType::F32));
    }

    #[test]
    fn equal_instructions_share_a_register_but_signed_zeros_do_not() {
        let mut program = Program::new();
        let x = program.input(DType::F32);
        assert_eq!(program.unary(UnaryOp::Exp, x), program.unary(UnaryOp::Exp, x));
        let zero = program.scalar(Scalar::Float(0.0), DType::F32);
        assert_eq!(zero, program.scalar(Scalar::Int(0), DType::F32));
        assert_ne!(zero, program.scalar(Scalar::Float(-0.0), DType::F32));
        assert_ne!(zero, program.scalar(Scalar::Int(0), DType::I32));
    }
}
