//! Whole programs as one compiled loop.
//!
//! A program of many cheap instructions spends more time on tiles' ways to the first-level cache and back than on its
//! arithmetic. Those that training runs again and again are therefore written down a second time, as functions that are
//! generic in what they compute with: on numbers they are the body of a loop, whose intermediate values stay in registers; on
//! the registers of a [`Program`] they write the pattern that such a program is recognised by. Every operation rounds as it
//! does on its own, so nothing about the results changes.
//!
//! To add one: a type with its [`Formula`], and a row in [`table`]; or in [`prologue`]'s, if it is what a reduction computes
//! of its operands.

pub(crate) mod prologue;

use super::float::Float;
use super::moves;
use crate::Cpu;
use crate::parallel::for_each_range;
use crate::vecmath::{self, Isa, Level, Task};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::LazyLock;
use tensor_core::op::{BinaryOp, UnaryOp};
use tensor_core::program::{MAX_INSTRUCTIONS, Op, Reg};
use tensor_core::{DType, Input, Program, Scalar, ViewMut};

/// What formulas are made of.
trait Arithmetic {
    type Value: Copy;
    fn add(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;
    fn sub(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;
    fn mul(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;
    fn div(&mut self, a: Self::Value, b: Self::Value) -> Self::Value;
    fn sqrt(&mut self, a: Self::Value) -> Self::Value;
    fn square(&mut self, a: Self::Value) -> Self::Value;
    fn exp(&mut self, a: Self::Value) -> Self::Value;
}

/// A function of `I` inputs and `S` scalars with `O` results.
trait Formula<const I: usize, const S: usize, const O: usize>: 'static {
    /// Whether it takes longer than fetching its operands from memory.
    const IS_LONG: bool = false;
    fn eval<A: Arithmetic>(a: &mut A, inputs: [A::Value; I], scalars: [A::Value; S]) -> [A::Value; O];
}

/// Adam's step: parameter, two moments and gradient to parameter and moments.
struct Adam;

impl Formula<4, 7, 3> for Adam {
    #[inline(always)]
    fn eval<A: Arithmetic>(a: &mut A, [x, m, v, g]: [A::Value; 4], scalars: [A::Value; 7]) -> [A::Value; 3] {
        let [beta1, rest1, beta2, rest2, correction, eps, rate] = scalars;
        let (old, new) = (a.mul(m, beta1), a.mul(g, rest1));
        let m = a.add(old, new);
        let square = a.mul(g, g);
        let (old, new) = (a.mul(v, beta2), a.mul(square, rest2));
        let v = a.add(old, new);
        let root = a.sqrt(v);
        let root = a.mul(root, correction);
        let root = a.add(root, eps);
        let step = a.mul(m, rate);
        let step = a.div(step, root);
        [a.sub(x, step), m, v]
    }
}

/// Adam's step of a parameter that shrinks first.
struct AdamW;

impl Formula<4, 8, 3> for AdamW {
    #[inline(always)]
    fn eval<A: Arithmetic>(a: &mut A, [x, m, v, g]: [A::Value; 4], scalars: [A::Value; 8]) -> [A::Value; 3] {
        let [shrink, adam @ ..] = scalars;
        let x = a.mul(x, shrink);
        Adam::eval(a, [x, m, v, g], adam)
    }
}

/// A step of gradient descent with momentum: parameter, velocity and gradient to parameter and velocity.
struct Momentum;

impl Formula<3, 3, 2> for Momentum {
    #[inline(always)]
    fn eval<A: Arithmetic>(a: &mut A, [x, v, g]: [A::Value; 3], scalars: [A::Value; 3]) -> [A::Value; 2] {
        let [momentum, rest, rate] = scalars;
        let (old, new) = (a.mul(v, momentum), a.mul(g, rest));
        let v = a.add(old, new);
        let step = a.mul(v, rate);
        [a.sub(x, step), v]
    }
}

/// All formulas, for both dtypes.
fn table() -> &'static [Pattern] {
    static TABLE: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
        let mut table = Vec::new();
        for dtype in [DType::F32, DType::F64] {
            table.push(Pattern::new::<AdamW, 4, 8, 3>(dtype));
            table.push(Pattern::new::<Adam, 4, 7, 3>(dtype));
            table.push(Pattern::new::<Momentum, 3, 3, 2>(dtype));
        }
        table
    });
    &TABLE
}

/// A formula as a program, and the loop that computes it.
struct Pattern {
    program: Program,
    run: fn(Level, &Memory<'_>, Range<usize>),
}

impl Pattern {
    fn new<F: Formula<I, S, O>, const I: usize, const S: usize, const O: usize>(dtype: DType) -> Self {
        let mut program = Program::new();
        let inputs = [(); I].map(|()| program.input(dtype));
        // Any values that differ: equal ones would be one register.
        let scalars = std::array::from_fn(|number| program.scalar(Scalar::Float(number as f64), dtype));
        let outputs = F::eval(&mut program, inputs, scalars);
        outputs.into_iter().for_each(|reg| program.output(reg));
        let run = if dtype == DType::F64 { run_as::<f64, F, I, S, O> } else { run_as::<f32, F, I, S, O> };
        Self { program, run }
    }
}

impl Arithmetic for Program {
    type Value = Reg;
    fn add(&mut self, a: Reg, b: Reg) -> Reg {
        self.binary(BinaryOp::Add, a, b)
    }
    fn sub(&mut self, a: Reg, b: Reg) -> Reg {
        self.binary(BinaryOp::Sub, a, b)
    }
    fn mul(&mut self, a: Reg, b: Reg) -> Reg {
        self.binary(BinaryOp::Mul, a, b)
    }
    fn div(&mut self, a: Reg, b: Reg) -> Reg {
        self.binary(BinaryOp::Div, a, b)
    }
    fn sqrt(&mut self, a: Reg) -> Reg {
        self.unary(UnaryOp::Sqrt, a)
    }
    fn square(&mut self, a: Reg) -> Reg {
        self.unary(UnaryOp::Square, a)
    }
    fn exp(&mut self, a: Reg) -> Reg {
        self.unary(UnaryOp::Exp, a)
    }
}

/// The numbers of a loop that is compiled for an instruction set. If they are `MODERATE`, exponentials are right where
/// `moderate` still says so afterwards, and take half as long.
struct Numbers<Set, T, const MODERATE: bool> {
    moderate: bool,
    types: PhantomData<(Set, T)>,
}

impl<Set, T, const MODERATE: bool> Numbers<Set, T, MODERATE> {
    #[inline(always)]
    fn new() -> Self {
        Self { moderate: true, types: PhantomData }
    }
}

impl<Set: Isa, T: Float, const MODERATE: bool> Arithmetic for Numbers<Set, T, MODERATE> {
    type Value = T;
    #[inline(always)]
    fn add(&mut self, a: T, b: T) -> T {
        a + b
    }
    #[inline(always)]
    fn sub(&mut self, a: T, b: T) -> T {
        a - b
    }
    #[inline(always)]
    fn mul(&mut self, a: T, b: T) -> T {
        a * b
    }
    #[inline(always)]
    fn div(&mut self, a: T, b: T) -> T {
        a / b
    }
    #[inline(always)]
    fn sqrt(&mut self, a: T) -> T {
        a.sqrt()
    }
    #[inline(always)]
    fn square(&mut self, a: T) -> T {
        a * a
    }
    #[inline(always)]
    fn exp(&mut self, a: T) -> T {
        if MODERATE {
            self.moderate &= vecmath::is_moderate(a);
            vecmath::exp_if_moderate::<Set, T>(a)
        } else {
            vecmath::exp::<Set, T>(a)
        }
    }
}

/// Where a pattern's registers are found in a program.
struct Unifier<'a> {
    pattern: &'a Program,
    program: &'a Program,
    /// Whether inputs must have the same numbers. If not, they may also be scalars.
    numbered: bool,
    /// For each register of the pattern the program's, once it is known.
    found: [Option<Reg>; MAX_INSTRUCTIONS],
}

impl Unifier<'_> {
    /// Whether the program computes in `reg` what the pattern does in `of`.
    fn is_same(&mut self, of: Reg, reg: Reg) -> bool {
        if let Some(found) = self.found[of.index()] {
            return found == reg;
        }
        let (expected, got) = (self.pattern.insts()[of.index()], self.program.insts()[reg.index()]);
        let same = expected.dtype == got.dtype
            && match (expected.op, got.op) {
                (Op::Input(expected), Op::Input(got)) => !self.numbered || expected == got,
                (Op::Input(_), Op::Scalar(_)) => !self.numbered,
                (Op::Scalar(_), Op::Scalar(_)) => true,
                (Op::Unary(expected, a), Op::Unary(got, x)) => expected == got && self.is_same(a, x),
                (Op::Binary(expected, a, b), Op::Binary(got, x, y)) => {
                    let before = self.found;
                    expected == got
                        && (self.is_same(a, x) && self.is_same(b, y) || {
                            self.found = before;
                            matches!(got, BinaryOp::Add | BinaryOp::Mul) && self.is_same(a, y) && self.is_same(b, x)
                        })
                }
                _ => false,
            };
        if same {
            self.found[of.index()] = Some(reg);
        }
        same
    }
}

/// The memory that a formula runs on.
struct Memory<'a> {
    /// The first element of each input.
    inputs: &'a [*const u8],
    scalars: &'a [f64],
    /// The first element of each output, and whether it is written past the caches.
    outputs: &'a [(*mut u8, bool)],
}

// SAFETY: the pointers are to buffers that outlive the run. Inputs are only read. Outputs are written by several threads, each
// element by the one that runs its range, which is also the only one to read the element there.
unsafe impl Sync for Memory<'_> {}

/// The fewest elements that a formula is looked for.
const FEWEST: usize = 256;

/// Elements that a thread takes at a time.
const GRAIN: usize = 1 << 15;

/// Elements that are read before the results are written: an output may be an input's memory.
const BLOCK: usize = 64;

/// Runs a program if it is a formula and everything lies densely; says whether it did.
pub(super) fn run(
    level: Level,
    program: &Program,
    len: usize,
    inputs: &[Input<'_, Cpu>],
    outputs: &mut [ViewMut<'_, Cpu>],
) -> bool {
    run_at(level, program, len, inputs, outputs, moves::STREAM_BYTES)
}

fn run_at(
    level: Level,
    program: &Program,
    len: usize,
    inputs: &[Input<'_, Cpu>],
    outputs: &mut [ViewMut<'_, Cpu>],
    stream_bytes: usize,
) -> bool {
    // Optimizers have two outputs and more, which little else has: most programs end here.
    if len < FEWEST || outputs.len() < 2 {
        return false;
    }
    let dense = inputs.iter().all(|input| matches!(input, Input::Output(_)) || is_dense(input));
    if !dense || !outputs.iter().all(|out| out.layout.is_contiguous()) {
        return false;
    }
    let Some((pattern, found)) = recognise(program) else { return false };
    let mut out_at = [(std::ptr::null_mut::<u8>(), false); MAX_INSTRUCTIONS];
    for (number, out) in outputs.iter_mut().enumerate() {
        let fresh = !inputs.iter().any(|input| matches!(input, Input::Output(old) if *old == number));
        let streamed = moves::STREAMS && fresh && len * out.dtype.size() >= stream_bytes;
        let at = out.buffer.as_mut_ptr().wrapping_add(out.layout.offset() * out.dtype.size());
        out_at[number] = (at, streamed);
    }
    let (mut in_at, mut in_count) = ([std::ptr::null::<u8>(); MAX_INSTRUCTIONS], 0);
    let (mut scalars, mut scalar_count) = ([0.0; MAX_INSTRUCTIONS], 0);
    for (inst, reg) in pattern.program.insts().iter().zip(found) {
        let Some(reg) = reg else { continue };
        match (inst.op, program.insts()[reg.index()].op) {
            (Op::Input(_), Op::Input(number)) => {
                in_at[in_count] = match &inputs[number as usize] {
                    Input::View(view) => view.buffer.as_ptr().wrapping_add(view.layout.offset() * view.dtype.size()),
                    Input::Output(number) => out_at[*number].0.cast_const(),
                };
                in_count += 1;
            }
            (Op::Scalar(_), Op::Scalar(number)) => {
                scalars[scalar_count] = program.scalars()[number as usize].as_f64();
                scalar_count += 1;
            }
            _ => {}
        }
    }
    let memory =
        Memory { inputs: &in_at[..in_count], scalars: &scalars[..scalar_count], outputs: &out_at[..outputs.len()] };
    for_each_range(len, GRAIN, |range| (pattern.run)(level, &memory, range));
    true
}

fn is_dense(input: &Input<'_, Cpu>) -> bool {
    matches!(input, Input::View(view) if view.layout.is_contiguous())
}

/// The pattern that a program is, and where the pattern's registers are found in it.
fn recognise(program: &Program) -> Option<(&'static Pattern, [Option<Reg>; MAX_INSTRUCTIONS])> {
    table().iter().find_map(|pattern| Some((pattern, unify(&pattern.program, program, true)?)))
}

/// Where a pattern's registers are found in a program, if that is one.
fn unify(pattern: &Program, program: &Program, numbered: bool) -> Option<[Option<Reg>; MAX_INSTRUCTIONS]> {
    if pattern.outputs().len() != program.outputs().len() {
        return None;
    }
    let mut unifier = Unifier { pattern, program, numbered, found: [None; MAX_INSTRUCTIONS] };
    let same = pattern.outputs().iter().zip(program.outputs()).all(|(&of, &reg)| unifier.is_same(of, reg));
    same.then_some(unifier.found)
}

/// The loop over a range of elements.
struct Loop<'a, T, F, const I: usize, const S: usize, const O: usize> {
    inputs: [*const T; I],
    scalars: [T; S],
    outputs: &'a [(*mut u8, bool)],
    range: Range<usize>,
    formula: PhantomData<F>,
}

fn run_as<T: Float, F: Formula<I, S, O>, const I: usize, const S: usize, const O: usize>(
    level: Level,
    memory: &Memory<'_>,
    range: Range<usize>,
) {
    level.run(Loop::<T, F, I, S, O> {
        inputs: std::array::from_fn(|number| memory.inputs[number].cast()),
        scalars: std::array::from_fn(|number| T::narrow(memory.scalars[number])),
        outputs: memory.outputs,
        range,
        formula: PhantomData,
    });
    if memory.outputs.iter().any(|&(_, streamed)| streamed) {
        moves::end_streams();
    }
}

/// The results for all elements of a block.
// A function of its own tells the compiler that results and values do not overlap; that makes vectors of it.
#[inline(always)]
fn block<T: Copy, const I: usize, const O: usize>(
    results: &mut [Lines<T>; O],
    values: &[Lines<T>; I],
    f: impl Fn([T; I]) -> [T; O],
) {
    for i in 0..BLOCK {
        let row = f(std::array::from_fn(|input| values[input].0[i]));
        for (result, value) in results.iter_mut().zip(row) {
            result.0[i] = value;
        }
    }
}

/// Values of a block, at a cache line.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Lines<T>([T; BLOCK]);

impl<T: Float, F: Formula<I, S, O>, const I: usize, const S: usize, const O: usize> Task for Loop<'_, T, F, I, S, O> {
    type Output = ();

    #[inline(always)]
    fn run<Set: Isa>(self) {
        let Self { inputs, scalars, outputs, range, .. } = self;
        let mut x = [Lines([T::lit(0.0); BLOCK]); I];
        let mut y = [Lines([T::lit(0.0); BLOCK]); O];
        for at in range.clone().step_by(BLOCK) {
            let count = BLOCK.min(range.end - at);
            for (x, &from) in x.iter_mut().zip(&inputs) {
                // SAFETY: inputs are dense and hold the elements of the range; the block has room for `count`.
                unsafe {
                    if count == BLOCK {
                        x.0 = from.add(at).cast::<[T; BLOCK]>().read();
                    } else {
                        x.0.as_mut_ptr().copy_from_nonoverlapping(from.add(at), count);
                    }
                }
            }
            block(&mut y, &x, |x| F::eval(&mut Numbers::<Set, T, false>::new(), x, scalars));
            for (y, &(to, streamed)) in y.iter().zip(outputs) {
                let to = to.cast::<T>().wrapping_add(at);
                // SAFETY: outputs are dense and hold the elements of the range, which only this thread accesses; the block
                // has `count` of them. A streamed block is whole lines, at a multiple of 64.
                unsafe {
                    if streamed && count == BLOCK && to.addr() % 64 == 0 {
                        moves::stream_lines::<Set>(to.cast(), y.0.as_ptr().cast(), BLOCK * size_of::<T>() / 64);
                    } else if count == BLOCK {
                        to.cast::<[T; BLOCK]>().write(y.0);
                    } else {
                        to.copy_from_nonoverlapping(y.0.as_ptr(), count);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::run::planned;
    use super::*;
    use tensor_core::{Backend, Layout, Shape, View};

    /// `AdamW`'s step as another hand may write it: sums and products turned round, scalars not in the formula's order, two of
    /// them equal.
    fn adamw(dtype: DType) -> Program {
        let mut p = Program::new();
        let [x, m, v, g] = [(); 4].map(|()| p.input(dtype));
        let scalar = |p: &mut Program, value: f64| p.scalar(Scalar::Float(value), dtype);
        let eps = scalar(&mut p, 1e-8);
        let (tenth, shrink) = (scalar(&mut p, 0.1), scalar(&mut p, 0.999));
        let (beta1, beta2) = (scalar(&mut p, 0.9), scalar(&mut p, 0.999));
        let (rest2, correction) = (scalar(&mut p, 0.001), scalar(&mut p, 1.5));
        let x = p.mul(shrink, x);
        let (new, old) = (p.mul(tenth, g), p.mul(beta1, m));
        let m = p.add(new, old);
        let square = p.mul(g, g);
        let (new, old) = (p.mul(rest2, square), p.mul(v, beta2));
        let v = p.add(old, new);
        let root = p.sqrt(v);
        let root = p.mul(correction, root);
        let root = p.add(root, eps);
        let step = p.mul(tenth, m);
        let step = p.div(step, root);
        let x = p.sub(x, step);
        [x, m, v].into_iter().for_each(|reg| p.output(reg));
        p
    }

    #[test]
    fn formulas_give_what_their_programs_do() {
        for &level in Level::available() {
            let cpu = Cpu::with_level(level);
            for (dtype, len) in [(DType::F32, 1000), (DType::F32, 70_001), (DType::F64, 300)] {
                let shape = Shape::new([len]).unwrap();
                let layout = Layout::contiguous(shape.clone());
                let program = adamw(dtype);
                let operands = [1, 2, 3, 4].map(|seed| {
                    let mut buffer = cpu.alloc(len * dtype.size()).unwrap();
                    for (number, element) in buffer.bytes_mut().chunks_exact_mut(dtype.size()).enumerate() {
                        let value = ((number * 7919 + seed * 104_729) % 1009) as f64 / 1009.0;
                        Scalar::Float(value).write(dtype, element);
                    }
                    buffer
                });
                let view = |number: usize| Input::View(View { buffer: &operands[number], layout: &layout, dtype });
                let fresh = || [(); 3].map(|()| cpu.alloc(len * dtype.size()).unwrap());
                let inputs = [0, 1, 2, 3].map(view);
                let bytes = |buffers: [crate::Buffer; 3]| buffers.map(|buffer| buffer.bytes().to_vec());
                let mut buffers = fresh();
                let mut outputs = buffers.each_mut().map(|buffer| ViewMut { buffer, layout: &layout, dtype });
                planned(level, &program, &shape, &inputs, &mut outputs, usize::MAX).unwrap();
                let expected = bytes(buffers);
                for stream_bytes in [1, usize::MAX] {
                    let mut buffers = fresh();
                    let mut outputs = buffers.each_mut().map(|buffer| ViewMut { buffer, layout: &layout, dtype });
                    assert!(run_at(level, &program, len, &inputs, &mut outputs, stream_bytes));
                    assert_eq!(bytes(buffers), expected, "{dtype}, {len}, {level:?}");
                }
                let mut buffers = fresh();
                for (buffer, operand) in buffers.iter_mut().zip(&operands) {
                    buffer.bytes_mut().copy_from_slice(operand.bytes());
                }
                let in_place = [Input::Output(0), Input::Output(1), Input::Output(2), view(3)];
                let mut outputs = buffers.each_mut().map(|buffer| ViewMut { buffer, layout: &layout, dtype });
                assert!(run_at(level, &program, len, &in_place, &mut outputs, 1));
                assert_eq!(bytes(buffers), expected, "{dtype}, {len}, in place, {level:?}");
            }
        }
    }

    #[test]
    fn what_only_looks_alike_is_no_formula() {
        let dtype = DType::F32;
        let mut p = Program::new();
        let [x, v, g] = [(); 3].map(|()| p.input(dtype));
        let rate = p.scalar(Scalar::Float(0.5), dtype);
        let (old, new) = (p.mul(v, rate), p.mul(g, rate));
        let v = p.add(old, new);
        let step = p.mul(v, rate);
        let wrong = p.sub(step, x);
        p.output(wrong);
        p.output(v);
        assert!(recognise(&p).is_none());
    }
}
