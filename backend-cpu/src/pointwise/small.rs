//! Small programs, without a plan: what planning costs is more than what they compute. Inputs that do not lie densely are
//! gathered first.

use super::kernel::{Call, OPERANDS, SPLAT};
use super::lookup;
use super::moves::{gather, gather_panel};
use super::plan::cost;
use super::run::tasks;
use crate::Cpu;
use crate::parallel::for_each_range;
use crate::strided::{Axes, Axis, Source, Target, Walk, axes_of, count, merge};
use crate::vecmath::Level;
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::Range;
use tensor_core::program::{MAX_INSTRUCTIONS, MAX_OUTPUTS, Op, Reg};
use tensor_core::{DType, Input, Layout, Program, ViewMut};

/// The most elements that are computed here.
const MAX_LEN: usize = 1 << 14;

/// The same of programs of one operation, whose plan would take as long as some ten thousand elements do. More come from memory, which
/// planned ones ask for ahead.
const MAX_SINGLE: usize = 1 << 17;

/// Elements of a thread's part are a multiple of these: whole cache lines, of any dtype.
const PART: usize = 1 << 10;

/// The most bytes of intermediate values, none of which is used again: they should about stay in the first-level cache.
const MAX_SCRATCH: usize = 32 << 10;

/// A thread's memory for intermediate values: an allocation for each program would show. Zeros at first, so initialised.
#[repr(align(64))]
struct Scratch(UnsafeCell<[u8; MAX_SCRATCH]>);

thread_local! {
    static SCRATCH: Scratch = const { Scratch(UnsafeCell::new([0; MAX_SCRATCH])) };
}

/// Where a register's value lies.
#[derive(Clone, Copy)]
struct Value {
    at: *const u8,
    /// 0 for values that repeat, 1 for others.
    step: usize,
}

/// No output is computed in place.
const NOWHERE: u8 = u8::MAX;

/// Runs a program if it is small, its outputs are dense and it asks for no positions; says whether it did.
pub(super) fn run(
    level: Level,
    program: &Program,
    len: usize,
    inputs: &[Input<'_, Cpu>],
    outputs: &mut [ViewMut<'_, Cpu>],
) -> bool {
    if len > MAX_SINGLE {
        return false;
    }
    for out in &*outputs {
        if !out.layout.is_contiguous() {
            return false;
        }
    }
    if single(level, program, len, inputs, outputs) {
        return true;
    }
    if len > MAX_LEN {
        return false;
    }
    let mut in_place = false;
    for input in inputs {
        match input {
            Input::View(_) => {}
            Input::Output(_) => in_place = true,
        }
    }
    // Which output each instruction computes in place: the first that it is, unless something reads that memory.
    let insts = program.insts();
    let mut direct = [NOWHERE; MAX_INSTRUCTIONS];
    if !in_place {
        for (number, &reg) in program.outputs().iter().enumerate().rev() {
            if lookup::stored_as_is(program.dtype(reg)) {
                direct[reg.index()] = number as u8;
            }
        }
    }
    // The old content of an output must be saved only before other outputs are stored; its own comes last.
    let saved = in_place && outputs.len() > 1;
    if scratch_bytes(program, &direct, inputs, saved, len).is_none() {
        return false;
    }
    let mut out_at = [std::ptr::null_mut::<u8>(); MAX_OUTPUTS];
    for (at, out) in out_at.iter_mut().zip(outputs.iter_mut()) {
        *at = out.buffer.as_mut_ptr().wrapping_add(out.layout.offset() * out.dtype.size());
    }
    let mut machine = Machine {
        level,
        program,
        len,
        values: [const { MaybeUninit::uninit() }; MAX_INSTRUCTIONS],
        // Nothing that runs below comes back here, so nobody else uses this thread's memory meanwhile.
        next: SCRATCH.with(|scratch| scratch.0.get().cast()),
    };
    for (number, inst) in insts.iter().enumerate() {
        let value = match inst.op {
            Op::Input(input) => {
                let (at, lie, saved) = match &inputs[input as usize] {
                    Input::View(view) => (
                        view.buffer.as_ptr().wrapping_add(view.layout.offset() * view.dtype.size()),
                        Lie::of(view.layout, len),
                        false,
                    ),
                    Input::Output(output) => (out_at[*output].cast_const(), Lie::Dense, saved),
                };
                machine.input(number, at, lie, saved)
            }
            Op::Scalar(scalar) => machine.scalar(program.scalars()[scalar as usize], inst.dtype),
            Op::Iota(_) | Op::Random { .. } => unreachable!("programs that use positions are planned"),
            Op::Unary(..) | Op::Binary(..) | Op::Compare(..) | Op::Ternary(..) | Op::Cast(_) => {
                let dst = match direct[number] {
                    NOWHERE => None,
                    output => Some(out_at[output as usize]),
                };
                machine.compute(&inst.op, inst.dtype, dst)
            }
        };
        machine.values[number].write(value);
    }
    for (number, &reg) in program.outputs().iter().enumerate() {
        let value = machine.value(reg);
        if value.at != out_at[number].cast_const() {
            machine.call(lookup::store_kernel(program.dtype(reg)), out_at[number], [value; OPERANDS]);
        }
    }
    true
}

/// Runs a program that is one operation of one or two dense inputs into its only output, which is dense; says whether it did.
/// There are more of these than of all others.
#[inline]
fn single(
    level: Level,
    program: &Program,
    len: usize,
    inputs: &[Input<'_, Cpu>],
    outputs: &mut [ViewMut<'_, Cpu>],
) -> bool {
    let insts = program.insts();
    let ([out], Some(last)) = (outputs, insts.last()) else { return false };
    if insts.len() != inputs.len() + 1 || program.outputs()[0].index() != inputs.len() {
        return false;
    }
    let kernel = match (last.op, inputs) {
        (Op::Unary(op, Reg(0)), [_]) => lookup::unary_kernel(op, insts[0].dtype),
        (Op::Binary(op, Reg(0), Reg(1)), [_, _]) => lookup::binary_kernel(op, insts[0].dtype),
        _ => return false,
    };
    let mut src = [std::ptr::null(); OPERANDS];
    for (number, (input, at)) in inputs.iter().zip(&mut src).enumerate() {
        match input {
            Input::View(view)
                if view.layout.is_contiguous()
                    && insts[number].op == Op::Input(number as u8)
                    && lookup::load_kernel(view.dtype).is_none() =>
            {
                *at = view.buffer.as_ptr().wrapping_add(view.layout.offset() * view.dtype.size());
            }
            _ => return false,
        }
    }
    if !lookup::stored_as_is(out.dtype) {
        return false;
    }
    if inputs.len() == 1 {
        src[1] = src[0];
    }
    // Operands that a kernel does not have repeat the last.
    (src[2], src[3]) = (src[1], src[1]);
    let sizes = [out.dtype, insts[0].dtype].map(DType::size);
    let parts = if len > MAX_LEN { tasks(len, cost(&last.op), sizes[0] + inputs.len() * sizes[1]) } else { 1 };
    let dst = out.buffer.as_mut_ptr().wrapping_add(out.layout.offset() * out.dtype.size());
    let (dst, src) = (Target::<u8>::from_ptr(dst), src.map(Source::<u8>::from_ptr));
    let compute = |part: Range<usize>| {
        let at = |size: usize| (part.start * size) as isize;
        let src = src.map(|src| src.at(at(sizes[1])));
        let call = Call { dst: dst.at(at(sizes[0])), src, step: [1; OPERANDS], len: part.len(), streamed: 0 };
        // SAFETY: the kernel was looked up for the inputs' dtype, whose values lie in memory as it reads them; each input has
        // `len` elements in a row, and so has the output, which no input is: an input that is an output is no view. Parts do
        // not overlap.
        unsafe { kernel(level, &call) }
    };
    if parts == 1 {
        compute(0..len);
    } else {
        for_each_range(len, len.div_ceil(parts).next_multiple_of(PART), compute);
    }
    true
}

/// How an input's elements lie.
#[derive(Clone, Copy)]
enum Lie<'a> {
    /// Densely in row-major order.
    Dense,
    /// All are the same one.
    Same,
    /// In any other way.
    Apart(&'a Layout),
}

impl<'a> Lie<'a> {
    fn of(layout: &'a Layout, len: usize) -> Self {
        if layout.is_contiguous() {
            Self::Dense
        } else if len > 1 && layout.strides().iter().zip(layout.dims()).all(|(&stride, &size)| stride == 0 || size == 1)
        {
            Self::Same
        } else {
            Self::Apart(layout)
        }
    }

    /// How many elements are gathered.
    fn gathered(self, len: usize) -> usize {
        match self {
            Self::Dense => 0,
            Self::Same => len.min(SPLAT),
            Self::Apart(_) => len,
        }
    }
}

/// What the intermediate values take, or `None` if that is too much or positions are asked for.
fn scratch_bytes(
    program: &Program,
    direct: &[u8; MAX_INSTRUCTIONS],
    inputs: &[Input<'_, Cpu>],
    saved: bool,
    len: usize,
) -> Option<usize> {
    let mut bytes = 0;
    for (number, inst) in program.insts().iter().enumerate() {
        bytes += match inst.op {
            Op::Iota(_) | Op::Random { .. } => return None,
            Op::Scalar(_) => tile_bytes(inst.dtype, len.min(SPLAT)),
            Op::Input(input) => {
                let (gathered, saved) = match &inputs[input as usize] {
                    Input::View(view) => (tile_bytes(inst.dtype, Lie::of(view.layout, len).gathered(len)), false),
                    Input::Output(_) => (0, saved),
                };
                let is_copied = saved || lookup::load_kernel(inst.dtype).is_some();
                gathered + if is_copied { tile_bytes(inst.dtype, len) } else { 0 }
            }
            Op::Unary(..) | Op::Binary(..) | Op::Compare(..) | Op::Ternary(..) | Op::Cast(_) => {
                if direct[number] == NOWHERE { tile_bytes(inst.dtype, len) } else { 0 }
            }
        };
    }
    (bytes <= MAX_SCRATCH).then_some(bytes)
}

/// What one value takes, a multiple of the alignment.
fn tile_bytes(dtype: DType, len: usize) -> usize {
    (dtype.compute().size() * len).next_multiple_of(64)
}

/// Brings a layout's elements, the first of which lies at `src`, together in row-major order.
///
/// # Safety
/// `dst` is valid for writing as many elements of `size` bytes as the layout has, `src` for reading them at its steps; they
/// do not overlap.
unsafe fn gather_all(level: Level, size: usize, dst: *mut u8, src: *const u8, layout: &Layout) {
    let mut axes: Axes<1> = axes_of(layout.dims(), [layout.strides()], |_| true);
    merge(&mut axes);
    let one = Axis { size: 1, steps: [0] };
    let columns = axes.pop().unwrap_or(one);
    let rows = axes.pop().unwrap_or(one);
    if axes.is_empty() && rows.steps == [0] && columns.steps == [1] {
        let (row, total) = (columns.size * size, rows.size * columns.size * size);
        // SAFETY: the caller's promise: `dst` has room for all rows, and `src` is one of them. A copy within `dst` goes from
        // what is written already to what follows it.
        unsafe {
            std::ptr::copy_nonoverlapping(src, dst, row);
            let mut done = row;
            while done < total {
                let part = done.min(total - done);
                std::ptr::copy_nonoverlapping(dst, dst.add(done), part);
                done += part;
            }
        }
        return;
    }
    let mut walk = Walk::from(&axes, 0);
    for panel in 0..count(&axes) {
        let dst = dst.wrapping_add(panel * rows.size * columns.size * size);
        let src = src.wrapping_offset(walk.offsets[0] * size as isize);
        let (strides, sides) = ((rows.steps[0], columns.steps[0]), (rows.size, columns.size));
        // SAFETY: the caller's promise: the panels follow each other in `dst`, and the walk is over the layout's outer axes.
        unsafe { gather_panel(level, size, dst, columns.size, src, strides, sides) }
        walk.advance();
    }
}

struct Machine<'a> {
    level: Level,
    program: &'a Program,
    len: usize,
    values: [MaybeUninit<Value>; MAX_INSTRUCTIONS],
    /// The scratch memory that is not used yet. `scratch_bytes` counted what all instructions take of it.
    next: *mut u8,
}

impl Machine<'_> {
    #[inline(always)]
    fn value(&self, reg: Reg) -> Value {
        // SAFETY: operands and outputs are registers of instructions that were run, and each wrote its value.
        unsafe { self.values[reg.index()].assume_init() }
    }

    fn take(&mut self, dtype: DType, len: usize) -> *mut u8 {
        let at = self.next;
        self.next = at.wrapping_add(tile_bytes(dtype, len));
        at
    }

    #[inline(always)]
    fn call(&self, kernel: super::kernel::Kernel, dst: *mut u8, src: [Value; OPERANDS]) {
        let (at, step) = (src.map(|value| value.at), src.map(|value| value.step));
        let call = Call { dst, src: at, step, len: self.len, streamed: 0 };
        // SAFETY: the kernel was looked up for the dtypes of these registers, which have `len` elements or repeat
        // `min(len, SPLAT)`. `dst` is an output that no input reads, or scratch memory that no value lies in yet.
        unsafe { kernel(self.level, &call) }
    }

    fn input(&mut self, number: usize, at: *const u8, lie: Lie<'_>, saved: bool) -> Value {
        let dtype = self.program.insts()[number].dtype;
        let mut value = Value { at, step: 1 };
        if !matches!(lie, Lie::Dense) {
            let size = dtype.size();
            let count = lie.gathered(self.len);
            let dst = self.take(dtype, count);
            value.at = dst;
            // SAFETY: the scratch memory holds `count` elements of at least this size. The only element lies at `at`, or
            // else the layout's elements lie at its steps from there.
            unsafe {
                match lie {
                    Lie::Dense => {}
                    Lie::Same => {
                        gather(size, dst, at, 0, count);
                        value.step = 0;
                    }
                    Lie::Apart(layout) => gather_all(self.level, size, dst, at, layout),
                }
            }
        }
        // What is an output's old content must be saved before outputs are stored.
        let load = lookup::load_kernel(dtype).or_else(|| saved.then(|| lookup::store_kernel(dtype)));
        match load {
            None => value,
            Some(load) => {
                let dst = self.take(dtype, self.len);
                self.call(load, dst, [value; OPERANDS]);
                Value { at: dst, step: 1 }
            }
        }
    }

    fn scalar(&mut self, value: tensor_core::Scalar, dtype: DType) -> Value {
        let count = self.len.min(SPLAT);
        let dtype = dtype.compute();
        let dst = self.take(dtype, count);
        // SAFETY: the scratch memory holds `count` elements of this dtype, at least one, and no two of them overlap.
        unsafe {
            value.write(dtype, std::slice::from_raw_parts_mut(dst, dtype.size()));
            gather(dtype.size(), dst.add(dtype.size()), dst, 0, count - 1);
        }
        Value { at: dst, step: 0 }
    }

    #[inline(always)]
    fn compute(&mut self, op: &Op, dtype: DType, dst: Option<*mut u8>) -> Value {
        let of = |reg: Reg| self.program.dtype(reg);
        let (kernel, src) = match *op {
            Op::Unary(op, a) => (lookup::unary_kernel(op, of(a)), [self.value(a); OPERANDS]),
            Op::Binary(op, a, b) => {
                (lookup::binary_kernel(op, of(a)), [self.value(a), self.value(b), self.value(b), self.value(b)])
            }
            Op::Compare(op, a, b) => {
                (lookup::compare_kernel(op, of(a)), [self.value(a), self.value(b), self.value(b), self.value(b)])
            }
            Op::Ternary(op, a, b, c) => {
                (lookup::ternary_kernel(op, of(c)), [self.value(a), self.value(b), self.value(c), self.value(c)])
            }
            Op::Cast(a) => match lookup::cast_kernel(of(a), dtype) {
                Some(kernel) => (kernel, [self.value(a); OPERANDS]),
                None => return self.value(a),
            },
            Op::Input(_) | Op::Scalar(_) | Op::Iota(_) | Op::Random { .. } => {
                unreachable!("leaves have no kernel of their own")
            }
        };
        let dst = dst.unwrap_or_else(|| self.take(dtype, self.len));
        self.call(kernel, dst, src);
        Value { at: dst, step: 1 }
    }
}
