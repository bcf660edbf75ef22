//! Running totals along an axis.
//!
//! A line is cut into segments: their totals are made first, then each segment's total of all before it, then every segment
//! is walked once more. A line with one segment needs the last step only.

use super::expression::{load, storage_type, store};
use super::params::Block;
use super::pointwise::{Operand, widths};
use super::reduce::group;
use super::total::Total;
use super::walk::{Route, Walk};
use super::{Kernel, Launch, Plan, Slot, Target, Tensor, whole_groups};
use crate::DType;
use crate::backend::{ReduceOp, ScanOp};
use crate::shape::Dims;
use std::fmt::Write;

/// What a kernel of a scan does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// Makes the total of each segment.
    Totals,
    /// Replaces each segment's total by that of all segments before it.
    Before,
    /// Writes the running totals.
    Write,
}

/// A kernel of a scan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScanKernel {
    op: ScanOp,
    dtype: DType,
    step: Step,
    /// From a line's number to where it begins.
    lines: Walk,
}

/// Plans [`Backend::scan`](crate::Backend::scan).
pub fn scan(op: ScanOp, axis: usize, input: Tensor<'_>, out: Tensor<'_>, target: &Target) -> Plan {
    let mut plan = Plan::default();
    add(&mut plan, op, axis, Operand::new(Slot::Input(0), input), Operand::new(Slot::Output(0), out), input, target);
    plan
}

fn add(plan: &mut Plan, op: ScanOp, axis: usize, from: Operand, to: Operand, of: Tensor<'_>, target: &Target) {
    let dims = of.layout.dims();
    let length = dims[axis];
    let rest = |list: &[isize]| -> Dims<isize> { without(list, axis) };
    let line_dims: Dims<usize> = without(dims, axis);
    let (steps_in, steps_out) = (rest(&from.strides), rest(&to.strides));
    let offsets = [from.offset as usize, to.offset as usize];
    let Some(route) = Route::new(&line_dims, &[&steps_in, &steps_out], &offsets) else {
        // More axes than a kernel walks: one scan for each position along the first that is not scanned.
        let first = usize::from(axis == 0);
        for position in 0..dims[first] {
            let part = |operand: &Operand| Operand {
                strides: without(&operand.strides, first),
                offset: operand.offset + position as isize * operand.strides[first],
                ..operand.clone()
            };
            let layout = match of.layout.select(first as isize, position as isize) {
                Ok(layout) => layout,
                Err(_) => unreachable!("the position is within the axis"),
            };
            let of = Tensor { layout: &layout, dtype: of.dtype };
            add(plan, op, axis - usize::from(first < axis), part(&from), part(&to), of, target);
        }
        return;
    };
    let far = of.layout.numel() > i32::MAX as usize / 2 || from.reach(dims).max(to.reach(dims)) > i32::MAX as usize / 2;
    let route = if far { route.widened() } else { route };
    let lines = line_dims.iter().product::<usize>();
    let wanted = target.compute_units * if target.is_cpu { 8 } else { 1024 };
    let least = if target.is_cpu { 2048 } else { 32 };
    let segments = wanted.div_ceil(lines).min(length.div_ceil(least)).clamp(1, 1024);
    let kernel = |step| ScanKernel { op, dtype: of.dtype, step, lines: route.walk };
    let params = |step| {
        let values = [lines, segments, length, length.div_ceil(segments)];
        let steps = [from.strides[axis], to.strides[axis]];
        kernel(step).block(&route, values, steps, offsets).finish()
    };
    let mut launch = |step, slots: &[Slot], items: usize| {
        plan.launches.push(Launch {
            kernel: Kernel::Scan(kernel(step)),
            params: params(step),
            slots: slots.iter().copied().collect(),
            items: [whole_groups(items, group(target)), 1, 1],
        });
    };
    let size = Total::new(kernel(Step::Totals).reduction(), of.dtype, target).size();
    // Even where there is one segment only the kernel is the same, so there is a total to begin with.
    let totals = Slot::Temp(plan.temps.len());
    if segments > 1 {
        launch(Step::Totals, &[from.slot, totals], lines * segments);
        launch(Step::Before, &[totals], lines);
    }
    launch(Step::Write, &[from.slot, totals, to.slot], lines * segments);
    plan.temps.push(lines * segments * size);
}

/// A list with one entry left out.
pub(super) fn without<T: Copy>(list: &[T], axis: usize) -> Dims<T> {
    list.iter().enumerate().filter(|(place, _)| *place != axis).map(|(_, &value)| value).collect()
}

impl ScanKernel {
    pub(super) fn uses(&self, dtype: DType) -> bool {
        self.dtype == dtype
    }

    fn reduction(&self) -> ReduceOp {
        match self.op {
            ScanOp::Sum => ReduceOp::Sum,
            ScanOp::Prod => ReduceOp::Prod,
        }
    }

    fn block(&self, route: &Route, values: [usize; 4], steps: [isize; 2], offsets: [usize; 2]) -> Block {
        let mut block = Block::default();
        for (name, value) in ["lines", "segments", "length", "share"].into_iter().zip(values) {
            block.one(name, value as u64);
        }
        block.list("step", steps.iter().map(|&step| step as i64));
        block.list("offset", offsets.iter().map(|&offset| offset as u64));
        route.fill("line", &mut block);
        block
    }

    pub(super) fn body(&self, target: &Target) -> String {
        let total = Total::new(self.reduction(), self.dtype, target);
        let params = self.block(&self.lines.blank(2), [1; 4], [0; 2], [0; 2]);
        let mut text = widths(self.lines.is_wide());
        text += &params.definition();
        text += &total.text();
        let element = storage_type(self.dtype);
        let _ = write!(text, "ENTRY_OF_GROUP void {}(const Params p", super::ENTRY);
        if self.step == Step::Before {
            return text
                + ", GLOBAL Total *totals) {
    const COUNT line = (COUNT)ITEM(0), segments = (COUNT)p.segments;
    if (line >= (COUNT)p.lines) return;
    Total before = empty();
    for (COUNT s = 0; s < segments; s++) {
        const Total own = totals[line * segments + s];
        totals[line * segments + s] = before;
        join(&before, own);
    }
}
";
        }
        let _ = write!(text, ", GLOBAL const {element} *RESTRICT in, GLOBAL Total *RESTRICT totals");
        if self.step == Step::Write {
            let _ = write!(text, ", GLOBAL {element} *RESTRICT out");
        }
        text += ") {
    const COUNT item = (COUNT)ITEM(0), lines = (COUNT)p.lines, segments = (COUNT)p.segments;
    if (item >= lines * segments) return;
    const COUNT line = item % lines, s = item / lines;
";
        text += &self.lines.text("line", "line", &["at_in".to_owned(), "at_out".to_owned()]);
        text += "    in += (i64)p.offset[0] + at_in;
    const COUNT share = (COUNT)p.share, length = (COUNT)p.length, start = s * share < length ? s * share : length;
    const COUNT end = share < length - start ? start + share : length;
";
        let value = load(self.dtype, "in", "j * (INDEX)p.step[0]");
        match self.step {
            Step::Totals => {
                let _ = write!(
                    text,
                    "    Total total = empty();
    for (INDEX j = (INDEX)start; j < (INDEX)end; j++) take(&total, {value}, 0);
    totals[line * segments + s] = total;
}}
"
                );
            }
            Step::Write | Step::Before => {
                let line = store(self.dtype, "out", "j * (INDEX)p.step[1]", &total.result("total"));
                let _ = write!(
                    text,
                    "    out += (i64)p.offset[1] + at_out;
    Total total = empty();
    if (segments > 1) total = totals[line * segments + s];
    for (INDEX j = (INDEX)start; j < (INDEX)end; j++) {{
        take(&total, {value}, 0);
        {line}
    }}
}}
"
                );
            }
        }
        text
    }
}
