//! Softmax: two reductions and a pointwise program, or, on CUDA's devices, one kernel.
//!
//! That one reads every line once: a few neighbouring work-items, or a whole group, hold it in their registers while they find
//! its largest value and its sum. It takes lines that lie densely and are not too long for that.

use super::expression::{binary, load, register_type, storage_type, store, unary};
use super::params::Block;
use super::pointwise::{Operand, PACK, run, widths};
use super::prelude::entry;
use super::reduce::{self, WARP};
use super::scan::without;
use super::total::Total;
use super::walk::{Route, Walk};
use super::{Dialect, Kernel, Launch, Plan, Slot, Target, Tensor, linear_group};
use crate::backend::{ReduceOp, ReduceSpec};
use crate::op::{BinaryOp, UnaryOp};
use crate::program::Reg;
use crate::shape::Dims;
use crate::{DType, Layout, Program, Shape};
use std::fmt::Write;

/// A kernel of lines that are held in registers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SoftmaxKernel {
    dtype: DType,
    log: bool,
    /// From a line's number to where it begins.
    lines: Walk,
    /// How many neighbouring items take a line: a power of two up to a warp, or all of a group.
    team: u16,
    /// How many neighbouring values an item reads at once, and how often it does.
    lanes: u8,
    packs: u8,
}

/// The most bytes that an item holds of its line.
const HELD: usize = 128;

/// Plans [`Backend::softmax`](crate::Backend::softmax).
pub fn softmax(axis: usize, log: bool, input: Tensor<'_>, out: Tensor<'_>, target: &Target) -> Plan {
    let mut plan = Plan::default();
    if at_once(&mut plan, axis, log, input, out, target).is_some() {
        return plan;
    }
    let shape = input.layout.shape();
    let dtype = input.dtype;
    let lines = shape.reduce(&[axis], false);
    let dense = Layout::contiguous(lines.clone());
    let from = (Slot::Input(0), input);

    let largest = plan.temp(lines.numel() * dtype.size());
    let copy = Program::copy(dtype);
    let spec = ReduceSpec { op: ReduceOp::Max, shape, axes: &[axis], prologue: &copy };
    reduce::add(&mut plan, &spec, &[from], (largest, Tensor { layout: &dense, dtype }), target);

    // The same for every element of a line.
    let spread = along(&lines, shape, axis);
    let largest = (largest, Tensor { layout: &spread, dtype });
    let mut program = Program::new();
    let shifted = shifted(&mut program, dtype);
    let power = program.unary(UnaryOp::Exp, shifted);
    program.output(power);
    let wide = dtype.compute();
    let sum = plan.temp(lines.numel() * wide.size());
    let spec = ReduceSpec { op: ReduceOp::Sum, shape, axes: &[axis], prologue: &program };
    reduce::add(&mut plan, &spec, &[from, largest], (sum, Tensor { layout: &dense, dtype: wide }), target);

    let program = result(dtype, log);
    let operands = [from, largest, (sum, Tensor { layout: &spread, dtype: wide })];
    let operands = operands.iter().map(|&(slot, tensor)| Operand::new(slot, tensor)).collect();
    run(&mut plan, &program, shape, operands, (Slot::Output(0), out), target);
    plan
}

/// Plans it as one launch. `None` if lines are too long for that, or do not lie as it takes.
fn at_once(plan: &mut Plan, axis: usize, log: bool, input: Tensor<'_>, out: Tensor<'_>, target: &Target) -> Option<()> {
    let (from, to) = (Operand::new(Slot::Input(0), input), Operand::new(Slot::Output(0), out));
    let dims = input.layout.dims();
    let length = dims[axis];
    let group = linear_group(target);
    let dense = length == 1 || (from.strides[axis] == 1 && to.strides[axis] == 1);
    if target.dialect != Dialect::Cuda || group < WARP || !dense {
        return None;
    }
    let dtype = input.dtype;
    let line_dims = without(dims, axis);
    let lanes = PACK / dtype.size();
    let aligned = |operand: &Operand| {
        let steps = without(&operand.strides, axis);
        let steps = line_dims.iter().zip(steps).filter(|(size, _)| **size > 1).map(|(_, step)| step);
        steps.chain([operand.offset]).all(|step| step.unsigned_abs().is_multiple_of(lanes))
    };
    let lanes = if length.is_multiple_of(lanes) && aligned(&from) && aligned(&to) { lanes } else { 1 };
    let (team, packs) = split(length, lanes, dtype, group)?;
    let steps = [without(&from.strides, axis), without(&to.strides, axis)];
    let offsets = [from.offset as usize, to.offset as usize];
    let route = Route::new(&line_dims, &[&steps[0], &steps[1]], &offsets)?;
    let far =
        input.layout.numel() > i32::MAX as usize / 2 || from.reach(dims).max(to.reach(dims)) > i32::MAX as usize / 2;
    let route = if far { route.widened() } else { route };
    let lines = line_dims.iter().product::<usize>();
    let kernel =
        SoftmaxKernel { dtype, log, lines: route.walk, team: team as u16, lanes: lanes as u8, packs: packs as u8 };
    plan.launches.push(Launch {
        params: kernel.block(&route, lines, length, offsets).finish(),
        kernel: Kernel::Softmax(kernel),
        slots: [from.slot, to.slot].into_iter().collect(),
        items: [lines.div_ceil(group / team) * group, 1, 1],
    });
    Some(())
}

/// How many items take a line of this length, and how often each reads `lanes` values. `None` if a group cannot hold it.
fn split(length: usize, lanes: usize, dtype: DType, group: usize) -> Option<(usize, usize)> {
    let most = HELD / dtype.compute().size() / lanes;
    let packs = length.div_ceil(lanes);
    let team = if packs <= WARP * most { packs.next_power_of_two().clamp(4, WARP) } else { group };
    let each = packs.div_ceil(team).next_power_of_two();
    (each <= most).then_some((team, each))
}

impl SoftmaxKernel {
    pub(super) fn uses(&self, dtype: DType) -> bool {
        self.dtype == dtype
    }

    fn block(&self, route: &Route, lines: usize, length: usize, offsets: [usize; 2]) -> Block {
        let mut block = Block::default();
        block.one("lines", lines as u64);
        block.one("length", length as u64);
        block.list("offset", offsets.iter().map(|&offset| offset as u64));
        route.fill("line", &mut block);
        block
    }

    pub(super) fn body(&self, target: &Target) -> String {
        let &Self { dtype, log, team, lanes, packs, .. } = self;
        let (real, element) = (register_type(dtype), storage_type(dtype));
        let wide = dtype.compute();
        let most = Total::new(ReduceOp::Max, wide, target);
        let sum = Total::new(ReduceOp::Sum, wide, target);
        let (lines, bytes, held) =
            (linear_group(target) / usize::from(team), usize::from(lanes) * dtype.size(), lanes * packs);
        let mut text = widths(self.lines.is_wide());
        text += &self.block(&self.lines.blank(2), 1, 1, [0; 2]).definition();
        for (name, total) in [("largest", &most), ("sum", &sum)] {
            text += &total.namespace(name);
        }
        let _ = write!(
            text,
            "{begin} void {entry}(const Params p, GLOBAL const {element} *RESTRICT in, GLOBAL {element} *RESTRICT out) {{
    const i32 place = (i32)LOCAL_ITEM(0), member = place % {team}, length = (i32)p.length;
    const COUNT line = (COUNT)GROUP(0) * {lines} + (COUNT)(place / {team});
    // Items without a line stay, because shuffles and barriers are for all.
    const i32 works = line < (COUNT)p.lines;
    const COUNT number = works ? line : 0;
{walk}    in += (i64)p.offset[0] + at_in;
    out += (i64)p.offset[1] + at_out;
    struct __align__({bytes}) Pack {{ {element} v[{lanes}]; }};
    {real} held[{held}];
    largest::Total most = largest::empty();
    #pragma unroll
    for (i32 k = 0; k < {packs}; k++) {{
        const i32 first = (k * {team} + member) * {lanes};
        // Beyond the end the line's beginning is read, so that nothing branches.
        const Pack pack = *(const Pack *)(in + (first < length ? first : 0));
        #pragma unroll
        for (i32 l = 0; l < {lanes}; l++) {{
            // The exponential of what is beyond the end is 0, or the whole line NaN.
            held[k * {lanes} + l] = first < length ? {load} : -({real})INFINITY;
            largest::take(&most, held[k * {lanes} + l], 0);
        }}
    }}
{join_most}    const {real} top = {top};
    sum::Total total = sum::empty();
    #pragma unroll
    for (i32 i = 0; i < {held}; i++) {{
        const {real} shifted = held[i] - top, power = {power};
        held[i] = {kept};
        sum::take(&total, power, 0);
    }}
{join_sum}    const {real} all = {all};
    if (!works) return;
    #pragma unroll
    for (i32 k = 0; k < {packs}; k++) {{
        const i32 first = (k * {team} + member) * {lanes};
        Pack pack;
        #pragma unroll
        for (i32 l = 0; l < {lanes}; l++) {{
            const {real} x = held[k * {lanes} + l];
            {store}
        }}
        if (first < length) *(Pack *)(out + first) = pack;
    }}
}}
",
            begin = entry(target, Some(2)),
            entry = super::ENTRY,
            walk = self.lines.text("line", "number", &["at_in".to_owned(), "at_out".to_owned()]),
            load = load(dtype, "pack.v", "l"),
            join_most = Total::join_for_all(&[["largest", "most", "largest_of_warps"]], usize::from(team)),
            join_sum = Total::join_for_all(&[["sum", "total", "sum_of_warps"]], usize::from(team)),
            top = most.result("most"),
            power = unary(UnaryOp::Exp, wide, "shifted"),
            kept = if log { "shifted" } else { "power" },
            // One division for all values of an item, by a sum that is at least 1: its reciprocal loses half a unit at most.
            all = unary(
                if log { UnaryOp::Log } else { UnaryOp::Reciprocal },
                wide,
                &format!("({})", sum.result("total"))
            ),
            store =
                store(dtype, "pack.v", "l", &binary(if log { BinaryOp::Sub } else { BinaryOp::Mul }, wide, "x", "all")),
        );
        text
    }
}

/// `x − m`, in the dtype that is computed in.
fn shifted(program: &mut Program, dtype: DType) -> Reg {
    let (x, largest) = (program.input(dtype), program.input(dtype));
    let (x, largest) = (program.cast(x, dtype.compute()), program.cast(largest, dtype.compute()));
    program.binary(BinaryOp::Sub, x, largest)
}

fn result(dtype: DType, log: bool) -> Program {
    let mut program = Program::new();
    let shifted = shifted(&mut program, dtype);
    let sum = program.input(dtype.compute());
    let value = if log {
        let log = program.unary(UnaryOp::Log, sum);
        program.binary(BinaryOp::Sub, shifted, log)
    } else {
        let power = program.unary(UnaryOp::Exp, shifted);
        program.binary(BinaryOp::Div, power, sum)
    };
    let value = program.cast(value, dtype);
    program.output(value);
    program
}

/// A dense tensor without an axis, seen as one that repeats along it.
fn along(lines: &Shape, shape: &Shape, axis: usize) -> Layout {
    let mut strides: Dims<isize> = lines.contiguous_strides();
    strides.insert(axis, 0);
    Layout::from_parts(shape.clone(), strides, 0)
}
