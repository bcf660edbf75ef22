//! Running totals along an axis.
//!
//! A line is cut into segments: their totals are made first, then each segment's total of all before it, then every segment
//! is walked once more. A line with one segment needs the last step only.
//!
//! On CUDA's devices a warp walks a segment of a line that lies densely: each item reads 16 bytes, and the items hand each other
//! what comes before theirs by shuffles. A warp also makes what comes before each segment, in all lines. The order of additions
//! depends on sizes and layouts only, so results repeat.

use super::expression::{load, storage_type, store};
use super::params::Block;
use super::pointwise::{Operand, PACK, widths};
use super::reduce::{WARP, group};
use super::total::Total;
use super::walk::{Route, Walk};
use super::{Dialect, Kernel, Launch, Plan, Slot, Target, Tensor, whole_groups};
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
    /// How many values an item reads at once where a warp walks a segment; 0 where an item does.
    lanes: u8,
}

/// Lines shorter than this, and what of one of them is too short to be shared among warps, in rounds of a warp.
const SHORT: usize = 64;
const ROUNDS: usize = 4;

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
    let lanes = lanes(axis, &line_dims, &from, &to, of, target);
    let (wanted, least, most) = match lanes {
        0 if target.is_cpu => (8, 2048, 1024),
        0 => (1024, 32, 1024),
        _ => (64, ROUNDS * WARP * lanes, 2048),
    };
    let segments = (wanted * target.compute_units).div_ceil(lines).min(length.div_ceil(least)).clamp(1, most);
    // A warp's share is read in whole rounds.
    let share = length.div_ceil(segments).next_multiple_of((WARP * lanes).max(1));
    let segments = length.div_ceil(share);
    let kernel = |step| ScanKernel { op, dtype: of.dtype, step, lines: route.walk, lanes: lanes as u8 };
    let params = |step| {
        let values = [lines, segments, length, share];
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
    let each = if lanes > 0 { WARP } else { 1 };
    if segments > 1 {
        launch(Step::Totals, &[from.slot, totals], lines * segments * each);
        launch(Step::Before, &[totals], lines * if warps(target) { WARP } else { 1 });
    }
    launch(Step::Write, &[from.slot, totals, to.slot], lines * segments * each);
    plan.temps.push(lines * segments * size);
}

/// Whether items can hand each other totals by shuffles.
fn warps(target: &Target) -> bool {
    target.dialect == Dialect::Cuda && group(target) >= WARP
}

/// How many values an item of a warp reads at once; 0 where lines are short or do not lie densely.
fn lanes(axis: usize, line_dims: &[usize], from: &Operand, to: &Operand, of: Tensor<'_>, target: &Target) -> usize {
    let dense = [from, to].iter().all(|operand| operand.strides[axis] == 1);
    if !warps(target) || !dense || of.layout.dims()[axis] < SHORT {
        return 0;
    }
    let lanes = PACK / of.dtype.size().max(2);
    let aligned = |operand: &Operand| {
        let steps = without(&operand.strides, axis);
        let steps = line_dims.iter().zip(steps).filter(|(size, _)| **size > 1).map(|(_, step)| step);
        steps.chain([operand.offset]).all(|step| step.unsigned_abs().is_multiple_of(lanes))
    };
    if aligned(from) && aligned(to) { lanes } else { 1 }
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
        if warps(target) {
            text += &total.shuffle("above", "__shfl_up_sync");
            text += &total.shuffle("below", "__shfl_down_sync");
            text += &total.shuffle("from", "__shfl_sync");
            text += WITH_THOSE_BEFORE;
        }
        let element = storage_type(self.dtype);
        let _ = write!(text, "ENTRY_OF_GROUP void {}(const Params p", super::ENTRY);
        if self.step == Step::Before && warps(target) {
            return text + BEFORE_BY_WARPS;
        }
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
";
        text += match self.lanes {
            0 => {
                "    if (item >= lines * segments) return;
    const COUNT line = item % lines, s = item / lines;
"
            }
            // A warp stays or goes as a whole.
            _ => {
                "    if (item / 32 >= lines * segments) return;
    const COUNT line = item / 32 / segments, s = item / 32 % segments, place = item % 32;
"
            }
        };
        text += &self.lines.text("line", "line", &["at_in".to_owned(), "at_out".to_owned()]);
        text += "    in += (i64)p.offset[0] + at_in;
    const COUNT share = (COUNT)p.share, length = (COUNT)p.length, start = s * share < length ? s * share : length;
    const COUNT end = share < length - start ? start + share : length;
";
        if self.lanes > 0 {
            return text + &self.walk_of_warp(&total);
        }
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

    /// What a warp does with a segment.
    fn walk_of_warp(&self, total: &Total) -> String {
        let (lanes, element) = (usize::from(self.lanes), storage_type(self.dtype));
        let bytes = lanes * self.dtype.size();
        let value = load(self.dtype, "pack.v", "l");
        // Beyond the end nothing is read, taken or written.
        let read = format!(
            "    struct __align__({bytes}) Pack {{ {element} v[{lanes}]; }};
    for (COUNT round = start; round < end; round += {round}) {{
        const COUNT first = round + place * {lanes};
        const i32 count = first >= end ? 0 : end - first < {lanes} ? (i32)(end - first) : {lanes};
        Pack pack;
        if (count == {lanes}) pack = *(const Pack *)(in + first);
        else {{
            #pragma unroll
            for (i32 l = 0; l < {lanes}; l++) if (l < count) pack.v[l] = in[first + l];
        }}
",
            round = WARP * lanes,
        );
        if self.step == Step::Totals {
            return format!(
                "    Total total = empty();
{read}        #pragma unroll
        for (i32 l = 0; l < {lanes}; l++) if (l < count) take(&total, {value}, 0);
    }}
    #pragma unroll
    for (i32 far = 16; far > 0; far /= 2) join(&total, below(total, far, 32));
    if (place == 0) totals[line * segments + s] = total;
}}
"
            );
        }
        format!(
            "    out += (i64)p.offset[1] + at_out;
    Total before = empty();
    if (segments > 1) before = totals[line * segments + s];
{read}        Total own = empty();
        #pragma unroll
        for (i32 l = 0; l < {lanes}; l++) if (l < count) take(&own, {value}, 0);
        own = with_those_before(own, (i32)place);
        Total running = before;
        const Total others = above(own, 1, 32);
        if (place > 0) join(&running, others);
        #pragma unroll
        for (i32 l = 0; l < {lanes}; l++) if (l < count) {{
            take(&running, {value}, 0);
            {store}
        }}
        if (count == {lanes}) *(Pack *)(out + first) = pack;
        else {{
            #pragma unroll
            for (i32 l = 0; l < {lanes}; l++) if (l < count) out[first + l] = pack.v[l];
        }}
        join(&before, from(own, 31, 32));
    }}
}}
",
            store = store(self.dtype, "pack.v", "l", &total.result("running")),
        )
    }
}

/// The total of an item's values and those of all items before it in its warp.
const WITH_THOSE_BEFORE: &str = "DEVICE Total with_those_before(Total own, i32 place) {
    #pragma unroll
    for (i32 far = 1; far < 32; far *= 2) {
        Total earlier = above(own, far, 32);
        if (place >= far) {
            join(&earlier, own);
            own = earlier;
        }
    }
    return own;
}
";

/// Each item takes neighbouring segments of its warp's line.
const BEFORE_BY_WARPS: &str = ", GLOBAL Total *totals) {
    const COUNT line = (COUNT)ITEM(0) / 32, place = (COUNT)ITEM(0) % 32, segments = (COUNT)p.segments;
    if (line >= (COUNT)p.lines) return;
    const COUNT each = (segments + 31) / 32, first = place * each < segments ? place * each : segments;
    const COUNT last = each < segments - first ? first + each : segments;
    totals += line * segments;
    Total own = empty();
    for (COUNT s = first; s < last; s++) join(&own, totals[s]);
    own = with_those_before(own, (i32)place);
    Total before = above(own, 1, 32);
    if (place == 0) before = empty();
    for (COUNT s = first; s < last; s++) {
        const Total held = totals[s];
        totals[s] = before;
        join(&before, held);
    }
}
";
