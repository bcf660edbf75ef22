//! Reductions of whole lines of what a known formula computes, or a program of cheap instructions: a tile of it is in the
//! first-level cache when it is folded.

use super::fold::{Fold, LANES, merge_all};
use super::{WithFold, with_fold};
use crate::Cpu;
use crate::number::Number;
use crate::parallel::{GRAIN, for_each_range};
use crate::pointwise::formula::prologue::{Leaf, Prologue, SUM_LANES, Sum, sum_of_elements};
use crate::pointwise::line::Straight;
use crate::pointwise::registers::{At, Group, Groups};
use crate::strided::Target;
use crate::vecmath::Level;
use smallvec::{SmallVec, smallvec};
use std::ops::Range;
use tensor_core::program::{MAX_INPUTS, Op, Reg};
use tensor_core::{DType, Layout, Program, ReduceOp, ReduceSpec, Shape, View, ViewMut, bf16, f16};

/// Lines from which on each is computed by one thread.
const MANY: usize = 64;
/// Elements of a tile.
const TILE: usize = 2048;
/// Shorter lines are better computed in blocks, and folded side by side.
const SHORTEST: usize = 64;

/// Reduces if the program is a known formula, lines are dense, and so are the results; says whether it did.
pub(super) fn reduce(
    level: Level,
    spec: &ReduceSpec<'_>,
    inputs: &[View<'_, Cpu>],
    out: &mut ViewMut<'_, Cpu>,
) -> bool {
    let dims = spec.shape.dims();
    let kept = dims.len() - spec.axes.len();
    let is_last = (kept..dims.len()).all(|axis| spec.axes.contains(&axis));
    let (lines, length) = (dims[..kept].iter().product(), dims[kept..].iter().product::<usize>());
    if spec.op.gives_index() || !is_last || !out.layout.is_contiguous() || length < SHORTEST {
        return false;
    }
    let operands: Option<Operands> = inputs.iter().map(|view| operand(spec.shape, view, kept)).collect();
    let Some(values) = operands.and_then(|operands| Values::computed(level, spec.prologue, &operands)) else {
        return false;
    };
    let dtype = spec.prologue.dtype(spec.prologue.outputs()[0]);
    let target = Target::<u8>::bytes(out);
    with_fold(spec.op, dtype, Lines { level, values: &values, lines, length, ahead: 0, target });
    true
}

/// Where an input's elements lie, if the lines begin evenly apart, and each is dense or repeats one element.
fn operand(shape: &Shape, &View { buffer, layout, dtype }: &View<'_, Cpu>, kept: usize) -> Option<Operand> {
    let at = buffer.as_ptr().wrapping_add(layout.offset() * dtype.size());
    let varies = is_dense(shape, layout, kept);
    let is_same_line = (0..kept).all(|axis| layout.strides()[axis] == 0 || layout.dims()[axis] == 1);
    let step = match varies {
        true if is_same_line => 0,
        true => layout.is_contiguous().then(|| shape.dims()[kept..].iter().product())?,
        false => step_of_lines(shape, layout, kept)?,
    };
    Some(Operand::Lines { at, step: (step * dtype.size()) as isize, varies, half: None })
}

/// What computes a tile.
enum Fill {
    /// Nothing: values are the only operand's elements.
    Elements,
    Formula(&'static Prologue),
    Straight(Box<Straight>),
}

/// The operands of what is computed.
pub(crate) type Operands = SmallVec<[Operand; 4]>;

/// What is reduced: what is computed, and of what.
pub(crate) struct Values {
    fill: Fill,
    operands: Operands,
    /// What sums them while it computes them.
    sum: Option<Sum>,
}

// SAFETY: the operands' pointers are to memory that whoever made them promises to outlive the reduction, and that nobody writes
// meanwhile but where it says so.
unsafe impl Sync for Values {}

impl Values {
    /// The elements of lines as they are.
    pub(crate) fn elements(at: *const u8, step: isize) -> Self {
        let operands = smallvec![Operand::Lines { at, step, varies: true, half: None }];
        Self { fill: Fill::Elements, operands, sum: None }
    }

    /// What a program computes of these inputs, if it is a known formula or a run of cheap instructions. Inputs that are
    /// stored in 16 bits are widened tile by tile.
    pub(crate) fn computed(level: Level, program: &Program, inputs: &[Operand]) -> Option<Self> {
        if !program.inputs().iter().any(|&dtype| dtype.compute() != dtype) {
            return Self::computed_of_wide(level, program, inputs);
        }
        let mut inputs: Operands = inputs.iter().copied().collect();
        let mut halves = 0;
        for (input, &dtype) in inputs.iter_mut().zip(program.inputs()) {
            if dtype.compute() != dtype {
                let Operand::Lines { varies: true, half, .. } = input else { return None };
                *half = Some(dtype);
                halves += 1;
            }
        }
        if halves > MAX_WIDENED {
            return None;
        }
        let program = of_wide_inputs(program)?;
        match inputs[..] {
            [input @ Operand::Lines { half: Some(half), .. }] if program.is_copy() => {
                Some(Self { fill: Fill::Elements, operands: smallvec![input], sum: sum_of_elements(half) })
            }
            _ => Self::computed_of_wide(level, &program, &inputs),
        }
    }

    fn computed_of_wide(level: Level, program: &Program, inputs: &[Operand]) -> Option<Self> {
        Self::formula(program, inputs).or_else(|| {
            // Tiles hold what is computed in.
            let dtype = program.dtype(program.outputs()[0]);
            let straight = (dtype.compute() == dtype).then(|| Straight::of(level, program, |_| true, false))??;
            let fill = Fill::Straight(Box::new(straight));
            Some(Self { fill, operands: inputs.iter().copied().collect(), sum: None })
        })
    }

    fn formula(program: &Program, inputs: &[Operand]) -> Option<Self> {
        let dtype = program.dtype(program.outputs()[0]);
        Prologue::of(program).find_map(|(prologue, leaves)| {
            let operands = leaves.iter().enumerate().map(|(number, leaf)| {
                let varying = number < prologue.varying;
                match *leaf {
                    Leaf::Scalar(value) if !varying => {
                        let mut bytes = Bytes([0; 8]);
                        value.write(dtype, &mut bytes.0);
                        Some(Operand::Scalar(bytes))
                    }
                    Leaf::Scalar(_) => None,
                    Leaf::Input(input) => match inputs[input] {
                        operand @ Operand::Lines { varies, .. } if varies == varying => Some(operand),
                        _ => None,
                    },
                }
            });
            let operands: Operands = operands.collect::<Option<_>>()?;
            let mut stored = operands[..prologue.varying].iter().map(|operand| match operand {
                Operand::Lines { half, .. } => *half,
                Operand::Scalar(_) => None,
            });
            // Whose inputs are stored in different ways is computed first.
            let half = stored.next()?;
            let sum = if stored.all(|other| other == half) { (prologue.sum)(half) } else { None };
            Some(Self { fill: Fill::Formula(prologue), operands, sum })
        })
    }

    /// Reduces the lines of these numbers, each of `length` elements, on this thread. If they are in the cache already, memory
    /// may be asked for those that lie `ahead` lines further on.
    ///
    /// # Safety
    /// The operands hold these lines, of elements of the dtype, which nobody writes meanwhile; the results of these numbers
    /// may be written from `target` on, where that of number 0 would lie, and nobody else accesses them.
    pub(crate) unsafe fn reduce(
        &self,
        level: Level,
        (op, dtype): (ReduceOp, DType),
        (lines, ahead): (Range<usize>, usize),
        length: usize,
        target: *mut u8,
        scratch: &mut Scratch,
    ) {
        let target = Target::from_ptr(target);
        let all = Lines { level, values: self, lines: lines.end, length, ahead, target };
        with_fold(op, dtype, Part { all, numbers: lines, scratch });
    }
}

/// The program that computes the same of inputs that are f32 instead of f16 or bf16, with a result that is neither. `None` if
/// it rounds to these on the way.
fn of_wide_inputs(program: &Program) -> Option<Program> {
    let mut wide = Program::new();
    let inputs: SmallVec<[Reg; MAX_INPUTS]> =
        program.inputs().iter().map(|dtype| wide.input(dtype.compute())).collect();
    let mut found: SmallVec<[Reg; 16]> = SmallVec::new();
    for inst in program.insts() {
        let at = |reg: Reg| found[reg.index()];
        let reg = match inst.op {
            Op::Input(number) => inputs[usize::from(number)],
            Op::Scalar(number) => wide.scalar(program.scalars()[usize::from(number)], inst.dtype.compute()),
            Op::Unary(op, a) => wide.unary(op, at(a)),
            Op::Binary(op, a, b) => wide.binary(op, at(a), at(b)),
            Op::Compare(op, a, b) => wide.compare(op, at(a), at(b)),
            Op::Ternary(op, a, b, c) => wide.ternary(op, at(a), at(b), at(c)),
            Op::Cast(a) if inst.dtype.compute() == inst.dtype => wide.cast(at(a), inst.dtype),
            Op::Cast(_) | Op::Iota(_) | Op::Random { .. } => return None,
        };
        found.push(reg);
    }
    let &[output] = program.outputs() else { return None };
    let dtype = program.dtype(output);
    wide.output(found[output.index()]);
    (dtype.compute() == dtype).then_some(wide)
}

/// A thread's memory for values that are reduced.
pub(crate) struct Scratch {
    /// A tile of any values: none has more bytes.
    tile: [u64; TILE],
    spare: Spare,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self { tile: [0; TILE], spare: Spare::new() }
    }
}

/// How many operands of a tile may have to be widened.
const MAX_WIDENED: usize = 2;

/// A thread's memory for operands that are not used as they lie.
struct Spare {
    groups: Groups,
    widened: [[f32; TILE]; MAX_WIDENED],
}

impl Spare {
    fn new() -> Self {
        Self { groups: Groups::new(), widened: [[0.0; TILE]; MAX_WIDENED] }
    }
}

/// Whether each line's elements lie densely.
fn is_dense(shape: &Shape, layout: &Layout, kept: usize) -> bool {
    let mut dense = 1;
    (kept..shape.rank()).rev().filter(|&axis| shape.dims()[axis] > 1).all(|axis| {
        let is_next = layout.strides()[axis] == dense;
        dense *= shape.dims()[axis] as isize;
        is_next
    })
}

/// How far apart in elements the lines' values of an operand lie that has one for each: 0 if it is the same for all, `None`
/// if they do not lie evenly.
fn step_of_lines(shape: &Shape, layout: &Layout, kept: usize) -> Option<usize> {
    let (dims, strides) = (shape.dims(), layout.strides());
    let matters = |axis: &usize| dims[*axis] > 1;
    if (kept..dims.len()).filter(matters).any(|axis| strides[axis] != 0) {
        return None;
    }
    if (0..kept).filter(matters).all(|axis| strides[axis] == 0) {
        return Some(0);
    }
    let mut dense = 1;
    for axis in (0..kept).rev().filter(matters) {
        if strides[axis] != dense {
            return None;
        }
        dense *= dims[axis] as isize;
    }
    Some(1)
}

/// A scalar's bytes, aligned as any element.
#[derive(Clone, Copy)]
#[repr(align(8))]
pub(crate) struct Bytes([u8; 8]);

/// An operand of what is computed.
#[derive(Clone, Copy)]
pub(crate) enum Operand {
    /// The first line's elements, or its only one, the bytes from there to the next line's, and whether there is an element
    /// for each along the line. If they are stored in 16 bits, the dtype, where it is not the program's.
    Lines {
        at: *const u8,
        step: isize,
        varies: bool,
        half: Option<DType>,
    },
    Scalar(Bytes),
}

struct Lines<'a> {
    level: Level,
    values: &'a Values,
    lines: usize,
    length: usize,
    /// How many lines further on memory is asked for, while what is computed takes longer than memory does; 0 for none.
    ahead: usize,
    target: Target<u8>,
}

impl WithFold for Lines<'_> {
    type Output = ();

    fn call<T: Number, F: Fold<Value = T::Wide>>(self) {
        let Self { lines, length, .. } = self;
        let target = Target::<T>::from_ptr(self.target.at(0).cast());
        let this = &self;
        let segments = if lines < MANY && !F::IN_ORDER { length.div_ceil(GRAIN) } else { 1 };
        if segments == 1 {
            for_each_range(lines, (GRAIN / 4 / length).max(1), |numbers| {
                this.some::<T, F>(numbers, &mut [T::Wide::default(); TILE], &mut Spare::new());
            });
            return;
        }
        let mut totals = vec![F::EMPTY; lines * segments];
        let partial = Target::from_ptr(totals.as_mut_ptr());
        for_each_range(totals.len(), 1, |units| {
            let (mut tile, mut spare) = ([T::Wide::default(); TILE], Spare::new());
            for unit in units {
                let start = unit % segments * GRAIN;
                let range = start..length.min(start + GRAIN);
                let total = this.total::<T, F>(&mut tile, &mut spare, unit / segments, range);
                // SAFETY: there is a place for each unit, which only it writes.
                unsafe { partial.at(unit as isize).write(total) };
            }
        });
        for (line, totals) in totals.chunks(segments).enumerate() {
            let total = totals.iter().copied().reduce(F::join).unwrap_or(F::EMPTY);
            // SAFETY: one of the dense results, and no other thread works any more.
            unsafe { target.at(line as isize).write(T::narrow(F::finish(total))) };
        }
    }
}

/// Lines of some numbers.
struct Part<'a> {
    all: Lines<'a>,
    numbers: Range<usize>,
    scratch: &'a mut Scratch,
}

impl WithFold for Part<'_> {
    type Output = ();

    fn call<T: Number, F: Fold<Value = T::Wide>>(self) {
        const { assert!(size_of::<F::Value>() <= 8 && align_of::<F::Value>() <= 8) };
        let Scratch { tile, spare } = self.scratch;
        // SAFETY: values are numbers of at most eight bytes, any of which is one, and aligned to no more.
        let tile = unsafe { &mut *(&raw mut *tile).cast::<[F::Value; TILE]>() };
        self.all.some::<T, F>(self.numbers, tile, spare);
    }
}

impl Lines<'_> {
    /// Reduces the lines of these numbers.
    fn some<T: Number, F: Fold<Value = T::Wide>>(
        &self,
        numbers: Range<usize>,
        tile: &mut [F::Value; TILE],
        spare: &mut Spare,
    ) {
        let target = Target::<T>::from_ptr(self.target.at(0).cast());
        for line in numbers {
            let total = self.total::<T, F>(tile, spare, line, 0..self.length);
            // SAFETY: one of the dense results, which only this task writes.
            unsafe { target.at(line as isize).write(T::narrow(F::finish(total))) };
        }
    }

    /// The total of a part of a line.
    fn total<T: Number, F: Fold<Value = T::Wide>>(
        &self,
        tile: &mut [F::Value; TILE],
        spare: &mut Spare,
        line: usize,
        range: Range<usize>,
    ) -> F::Total {
        let Values { fill, operands, sum } = self.values;
        let Spare { groups, widened } = spare;
        let size = size_of::<T>();
        let mut total = F::EMPTY;
        // Formulas take what is the same along the line as it lies.
        if matches!(fill, Fill::Straight(_)) {
            groups.resize(operands.len(), Group::EMPTY);
            for (group, operand) in groups.iter_mut().zip(operands) {
                // SAFETY: each operand has a value of the program's dtype for every line, which is that of the fold's values.
                unsafe { repeat(group, operand, line, size) }
            }
        }
        let from = |operand: &Operand, at: usize| match operand {
            Operand::Lines { at: first, step, varies, half } => {
                let size = half.map_or(size, DType::size);
                first.wrapping_offset(line as isize * step).wrapping_add(if *varies { at * size } else { 0 })
            }
            Operand::Scalar(bytes) => bytes.0.as_ptr(),
        };
        let is_stored = operands.iter().any(|operand| matches!(operand, Operand::Lines { half: Some(_), .. }));
        if matches!(fill, Fill::Elements) && T::IS_WIDE && !is_stored {
            let at = from(&operands[0], range.start).cast::<F::Value>();
            // SAFETY: the line's elements of the range, which are their own values; nobody writes them.
            let values = unsafe { std::slice::from_raw_parts(at, range.len()) };
            for block in values.chunks(F::DEPTH.saturating_mul(LANES)) {
                total = F::take(total, merge_all::<F>(self.level, block));
            }
            return total;
        }
        let ahead = match operands[..] {
            [Operand::Lines { step, varies: true, half: None, .. }, ..] => step.unsigned_abs() * self.ahead,
            _ => 0,
        };
        let mut places: SmallVec<[*const u8; MAX_INPUTS]> = SmallVec::new();
        if let Some(sum) = sum.filter(|_| F::IS_SUM) {
            let ahead = match operands[0] {
                Operand::Lines { step, .. } => step.unsigned_abs() * self.ahead,
                Operand::Scalar(_) => 0,
            };
            // What goes through one lane is bounded by how exact sums are.
            let part = F::DEPTH.saturating_mul(SUM_LANES);
            for at in range.clone().step_by(part) {
                places.clear();
                places.extend(operands.iter().map(|operand| from(operand, at)));
                // SAFETY: the line's elements from `at` on, as many as are left or a part has, of operands that differ along
                // it, and one of those that do not. They are stored as `sum` was asked for, or have the program's dtype, which
                // is that of the fold's values.
                let lane = unsafe { sum(self.level, &places, ahead, part.min(range.end - at)) };
                total = F::take(total, F::summed(lane));
            }
            return total;
        }
        for at in range.clone().step_by(TILE) {
            let tile = &mut tile[..TILE.min(range.end - at)];
            places.clear();
            let mut spare = widened.iter_mut();
            for operand in operands {
                let place = from(operand, at);
                places.push(match operand {
                    Operand::Lines { half: Some(dtype), .. } => {
                        let wide = &mut spare.next().expect("no more are widened")[..tile.len()];
                        // SAFETY: the line's elements from `at` on, as many as the tile has, of this dtype.
                        unsafe { widen(self.level, *dtype, place, wide) };
                        wide.as_ptr().cast()
                    }
                    _ => place,
                });
            }
            match fill {
                Fill::Elements if is_stored => {
                    let from = places[0].cast::<F::Value>();
                    // SAFETY: these are the tile's values, which were just widened, to f32 as the fold's are.
                    total = fold_parts::<F>(self.level, total, unsafe { std::slice::from_raw_parts(from, tile.len()) });
                    continue;
                }
                // SAFETY: the line's elements from `at` on, as many as the tile has.
                Fill::Elements => unsafe { T::widen_from(self.level, places[0].cast(), 1, tile) },
                Fill::Formula(prologue) => {
                    // SAFETY: the line's elements from `at` on, as many as the tile has, of operands that differ along it, and
                    // one of those that do not. They have the program's dtype, which is that of the fold's values.
                    unsafe { (prologue.fill)(self.level, &places, ahead, tile.as_mut_ptr().cast(), tile.len()) };
                }
                Fill::Straight(program) => {
                    let input = |number: usize| match &operands[number] {
                        Operand::Lines { varies: true, .. } => At { at: places[number].cast_mut(), moves: true },
                        _ => At { at: groups[number].as_ptr().cast_mut(), moves: false },
                    };
                    // SAFETY: as above, but what is the same along the line is repeated for a group.
                    unsafe { program.fill(tile.as_mut_ptr().cast(), tile.len(), input) }
                }
            }
            total = fold_parts::<F>(self.level, total, tile);
        }
        total
    }
}

/// Folds a tile's values.
fn fold_parts<F: Fold>(level: Level, total: F::Total, values: &[F::Value]) -> F::Total {
    // What goes through one lane is bounded by how exact sums are.
    values.chunks(F::DEPTH.saturating_mul(LANES)).fold(total, |total, part| F::take(total, merge_all::<F>(level, part)))
}

/// Widens elements of f16 or bf16.
///
/// # Safety
/// There are as many from `from` on, and nobody writes them.
unsafe fn widen(level: Level, dtype: DType, from: *const u8, to: &mut [f32]) {
    // SAFETY: the caller's promise.
    unsafe {
        if dtype == DType::F16 {
            f16::widen_from(level, from.cast(), 1, to);
        } else {
            bf16::widen_from(level, from.cast(), 1, to);
        }
    }
}

/// Repeats a line's only element of an operand, of `size` bytes; does nothing where each place along the line has its own.
///
/// # Safety
/// The operand has a value for this line, of as many bytes, 4 or 8.
unsafe fn repeat(group: &mut Group, operand: &Operand, line: usize, size: usize) {
    if let Operand::Lines { at, step, varies: false, .. } = *operand {
        let mut element = [0; 8];
        // SAFETY: the caller's promise.
        unsafe { element.as_mut_ptr().copy_from_nonoverlapping(at.wrapping_offset(line as isize * step), size) };
        group.repeat(&element, size);
    }
}

#[cfg(test)]
mod tests;
