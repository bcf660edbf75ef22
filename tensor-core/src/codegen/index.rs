//! Gather and scatter.

use super::expression::{larger, load, register_type, smaller, storage_type, store, unsigned_type};
use super::params::Block;
use super::pointwise::{Operand, widths};
use super::scan::without;
use super::walk::{Route, Walk};
use super::{Kernel, Launch, Plan, Slot, Target, Tensor, linear_group, reduce, whole_groups};
use crate::DType;
use crate::backend::ScatterOp;
use crate::shape::Dims;
use std::fmt::Write;

/// A kernel that copies elements from indexed places. Elements are bits: dtypes of one size share it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GatherKernel {
    /// Bytes of an element.
    size: usize,
    walk: Walk,
}

/// A kernel that adds to, or replaces, indexed places. One work-item serves a line along the axis, so that the order is
/// always the same and no two items write one element.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScatterKernel {
    op: ScatterOp,
    dtype: DType,
    lines: Walk,
}

/// Plans [`Backend::gather`](crate::Backend::gather).
pub fn gather(axis: usize, input: Tensor<'_>, index: Tensor<'_>, out: Tensor<'_>, target: &Target) -> Plan {
    let mut plan = Plan::default();
    let mut input = Operand::new(Slot::Input(0), input);
    // The place along the axis comes from the index, not from the position.
    let step = std::mem::replace(&mut input.strides[axis], 0);
    let operands = [input, Operand::new(Slot::Input(1), index), Operand::new(Slot::Output(0), out)];
    add_gather(&mut plan, out.layout.dims(), &operands, step, target);
    plan
}

fn add_gather(plan: &mut Plan, dims: &[usize], operands: &[Operand; 3], step: isize, target: &Target) {
    let strides = operands.each_ref().map(|operand| &operand.strides[..]);
    let offsets = operands.each_ref().map(|operand| operand.offset as usize);
    let Some(route) = Route::new(dims, &strides, &offsets) else {
        for position in 0..dims[0] {
            let parts = operands.each_ref().map(|operand| operand.part(position));
            add_gather(plan, &dims[1..], &parts, step, target);
        }
        return;
    };
    let count = dims.iter().product::<usize>();
    let kernel = GatherKernel { size: operands[0].dtype.size(), walk: route.walk };
    let params = kernel.block(&route, count, step, offsets).finish();
    plan.launches.push(Launch {
        kernel: Kernel::Gather(kernel),
        params,
        slots: operands.iter().map(|operand| operand.slot).collect(),
        items: [whole_groups(count, linear_group(target)), 1, 1],
    });
}

impl GatherKernel {
    fn block(&self, route: &Route, count: usize, step: isize, offsets: [usize; 3]) -> Block {
        let mut block = Block::default();
        block.one("count", count as u64);
        block.one("step", step as i64);
        block.list("offset", offsets.iter().map(|&offset| offset as u64));
        route.fill("walk", &mut block);
        block
    }

    pub(super) fn body(&self) -> String {
        let element = match self.size {
            1 => "u8",
            2 => "u16",
            4 => "u32",
            _ => "u64",
        };
        let params = self.block(&self.walk.blank(3), 1, 0, [0; 3]);
        let at = ["at_in", "at_index", "at_out"].map(str::to_owned);
        format!(
            "{}{}ENTRY_OF_GROUP void {}(const Params p, GLOBAL const {element} *RESTRICT in, \
             GLOBAL const i64 *RESTRICT indices, GLOBAL {element} *RESTRICT out) {{
    const COUNT item = (COUNT)ITEM(0);
    if (item >= (COUNT)p.count) return;
{}    const i64 place = indices[(i64)p.offset[1] + at_index];
    out[(i64)p.offset[2] + at_out] = in[(i64)p.offset[0] + at_in + place * p.step];
}}
",
            widths(self.walk.is_wide()),
            params.definition(),
            super::ENTRY,
            self.walk.text("walk", "item", &at),
        )
    }
}

/// Plans [`Backend::scatter`](crate::Backend::scatter).
pub fn scatter(
    op: ScatterOp,
    axis: usize,
    index: Tensor<'_>,
    src: Tensor<'_>,
    out: Tensor<'_>,
    target: &Target,
) -> Plan {
    let mut plan = Plan::default();
    let operands =
        [Operand::new(Slot::Input(0), index), Operand::new(Slot::Input(1), src), Operand::new(Slot::Output(0), out)];
    let steps = operands.each_ref().map(|operand| operand.strides[axis]);
    let lines = operands.map(|operand| Operand { strides: without(&operand.strides, axis), ..operand });
    let dims: Dims<usize> = without(src.layout.dims(), axis);
    add_scatter(&mut plan, op, &dims, src.layout.dims()[axis], &lines, steps, target);
    plan
}

fn add_scatter(
    plan: &mut Plan,
    op: ScatterOp,
    dims: &[usize],
    length: usize,
    operands: &[Operand; 3],
    steps: [isize; 3],
    target: &Target,
) {
    let strides = operands.each_ref().map(|operand| &operand.strides[..]);
    let offsets = operands.each_ref().map(|operand| operand.offset as usize);
    let Some(route) = Route::new(dims, &strides, &offsets) else {
        for position in 0..dims[0] {
            let parts = operands.each_ref().map(|operand| operand.part(position));
            add_scatter(plan, op, &dims[1..], length, &parts, steps, target);
        }
        return;
    };
    let lines = dims.iter().product::<usize>();
    let kernel = ScatterKernel { op, dtype: operands[2].dtype, lines: route.walk };
    let params = kernel.block(&route, lines, length, steps, offsets).finish();
    plan.launches.push(Launch {
        kernel: Kernel::Scatter(kernel),
        params,
        slots: operands.iter().map(|operand| operand.slot).collect(),
        items: [whole_groups(lines, reduce::group(target)), 1, 1],
    });
}

impl ScatterKernel {
    pub(super) fn uses(&self, dtype: DType) -> bool {
        self.dtype == dtype
    }

    fn block(&self, route: &Route, lines: usize, length: usize, steps: [isize; 3], offsets: [usize; 3]) -> Block {
        let mut block = Block::default();
        block.one("lines", lines as u64);
        block.one("length", length as u64);
        block.list("step", steps.iter().map(|&step| step as i64));
        block.list("offset", offsets.iter().map(|&offset| offset as u64));
        route.fill("line", &mut block);
        block
    }

    fn combined(&self) -> String {
        let value = register_type(self.dtype);
        let wraps = |sign: char| {
            let unsigned = unsigned_type(self.dtype);
            format!("({value})(({unsigned})held {sign} ({unsigned})fresh)")
        };
        match self.op {
            ScatterOp::Set => "fresh".to_owned(),
            ScatterOp::Add if self.dtype == DType::Bool => "(u8)(held | fresh)".to_owned(),
            ScatterOp::Mul if self.dtype == DType::Bool => "(u8)(held & fresh)".to_owned(),
            ScatterOp::Add if self.dtype.is_float() => "held + fresh".to_owned(),
            ScatterOp::Mul if self.dtype.is_float() => "held * fresh".to_owned(),
            ScatterOp::Add => wraps('+'),
            ScatterOp::Mul => wraps('*'),
            ScatterOp::Max => larger(self.dtype, "held", "fresh"),
            ScatterOp::Min => smaller(self.dtype, "held", "fresh"),
        }
    }

    pub(super) fn body(&self) -> String {
        let params = self.block(&self.lines.blank(3), 1, 1, [0; 3], [0; 3]);
        let (element, value) = (storage_type(self.dtype), register_type(self.dtype));
        let at = ["at_index", "at_src", "at_out"].map(str::to_owned);
        let mut text = widths(self.lines.is_wide());
        text += &params.definition();
        let _ = write!(
            text,
            "ENTRY_OF_GROUP void {}(const Params p, GLOBAL const i64 *RESTRICT indices, \
             GLOBAL const {element} *RESTRICT src, GLOBAL {element} *RESTRICT out) {{
    const COUNT item = (COUNT)ITEM(0);
    if (item >= (COUNT)p.lines) return;
{}    indices += (i64)p.offset[0] + at_index;
    src += (i64)p.offset[1] + at_src;
    out += (i64)p.offset[2] + at_out;
    for (i64 j = 0; j < (i64)p.length; j++) {{
        const i64 at = indices[j * p.step[0]] * p.step[2];
        const {value} fresh = {};
",
            super::ENTRY,
            self.lines.text("line", "item", &at),
            load(self.dtype, "src", "j * p.step[1]"),
        );
        if self.op != ScatterOp::Set {
            let _ = writeln!(text, "        const {value} held = {};", load(self.dtype, "out", "at"));
        }
        let _ = write!(text, "        {}\n    }}\n}}\n", store(self.dtype, "out", "at", &self.combined()));
        text
    }
}
