//! Stable sorting along an axis.
//!
//! Lines are copied to lie together. Short runs are sorted by counting how many values come before each one; then runs are
//! merged pairwise, every element finding its place by a search in the other run. No two work-items write one place, and
//! equal values keep their order.

use super::expression::{load, register_type, storage_type};
use super::params::Block;
use super::pointwise::{copy, widths};
use super::{Kernel, Launch, Plan, Slot, Target, Tensor, linear_group, whole_groups};
use crate::shape::Dims;
use crate::{DType, Layout, Shape};
use std::fmt::Write;

/// How long the runs are that are sorted by counting.
const RUN: usize = 32;

/// A kernel of a sort.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SortKernel {
    dtype: DType,
    descending: bool,
    /// Whether it merges runs rather than makes the first ones.
    merges: bool,
    wide: bool,
}

/// Plans [`Backend::sort`](crate::Backend::sort).
pub fn sort(
    axis: usize,
    descending: bool,
    input: Tensor<'_>,
    values: Tensor<'_>,
    indices: Tensor<'_>,
    target: &Target,
) -> Plan {
    let mut plan = Plan::default();
    let shape = input.layout.shape();
    let (count, length) = (shape.numel(), shape.dims()[axis]);
    let lying = lines_together(shape, axis);
    let start = plan.temp(count * input.dtype.size());
    copy(&mut plan, shape, (Slot::Input(0), input.layout), (start, &lying), input.dtype, target);
    let mut widths = vec![1];
    let mut width = RUN;
    while width < length {
        widths.push(width);
        width *= 2;
    }
    let direct = lying.is_contiguous() && values.layout.offset() == 0 && indices.layout.offset() == 0;
    let wide = count > i32::MAX as usize / 2;
    let mut from = (start, start);
    for (step, &width) in widths.iter().enumerate() {
        let to = if direct && step + 1 == widths.len() {
            (Slot::Output(0), Slot::Output(1))
        } else {
            (plan.temp(count * input.dtype.size()), plan.temp(count * DType::I64.size()))
        };
        let kernel = SortKernel { dtype: input.dtype, descending, merges: step > 0, wide };
        let params = kernel.block(count, length, if step > 0 { width } else { RUN }).finish();
        let mut slots = vec![from.0];
        slots.extend((step > 0).then_some(from.1));
        slots.extend([to.0, to.1]);
        plan.launches.push(Launch {
            kernel: Kernel::Sort(kernel),
            params,
            slots: slots.into(),
            items: [whole_groups(count, linear_group(target)), 1, 1],
        });
        from = to;
    }
    if !direct {
        copy(&mut plan, shape, (from.0, &lying), (Slot::Output(0), values.layout), values.dtype, target);
        copy(&mut plan, shape, (from.1, &lying), (Slot::Output(1), indices.layout), indices.dtype, target);
    }
    plan
}

/// A dense layout in which the axis is the innermost.
fn lines_together(shape: &Shape, axis: usize) -> Layout {
    let dims = shape.dims();
    let mut strides: Dims<isize> = dims.iter().map(|_| 0).collect();
    strides[axis] = 1;
    let mut step = dims[axis] as isize;
    for other in (0..dims.len()).rev().filter(|&other| other != axis) {
        strides[other] = step;
        step *= dims[other] as isize;
    }
    Layout::from_parts(shape.clone(), strides, 0)
}

impl SortKernel {
    pub(super) fn uses(&self, dtype: DType) -> bool {
        self.dtype == dtype
    }

    fn block(&self, count: usize, length: usize, width: usize) -> Block {
        let mut block = Block::default();
        block.one("count", count as u64);
        block.one("length", length as u64);
        block.one("width", width as u64);
        block
    }

    pub(super) fn body(&self) -> String {
        let (element, value) = (storage_type(self.dtype), register_type(self.dtype));
        let order = if self.dtype.is_float() { "a < b || (b != b && a == a)" } else { "a < b" };
        let (a, b) = if self.descending { ("b", "a") } else { ("a", "b") };
        let mut text = widths(self.wide);
        text += &self.block(0, 0, 0).definition();
        let _ = write!(
            text,
            "DEVICE i32 before({value} {a}, {value} {b}) {{ return {order}; }}
ENTRY_OF_GROUP void {}(const Params p, GLOBAL const {element} *RESTRICT in",
            super::ENTRY
        );
        if self.merges {
            text += ", GLOBAL const i64 *RESTRICT in_index";
        }
        let _ = write!(
            text,
            ", GLOBAL {element} *RESTRICT out, GLOBAL i64 *RESTRICT out_index) {{
    const COUNT item = (COUNT)ITEM(0), length = (COUNT)p.length, width = (COUNT)p.width;
    if (item >= (COUNT)p.count) return;
    const COUNT i = item % length, line = item - i;
    in += line;
    out += line;
    out_index += line;
    const {value} own = {};
",
            load(self.dtype, "in", "i")
        );
        let at = |place: &str| load(self.dtype, "in", place);
        if self.merges {
            let _ = write!(
                text,
                "    in_index += line;
    const COUNT base = i / (2 * width) * (2 * width);
    const COUNT middle = width < length - base ? base + width : length;
    const COUNT end = width < length - middle ? middle + width : length;
    const i32 left = i < middle;
    COUNT low = left ? middle : base, high = left ? end : middle;
    while (low < high) {{
        const COUNT probe = low + (high - low) / 2;
        const {value} other = {};
        // What is equal and stands in the left run stays first.
        if (left ? before(other, own) : !before(own, other)) low = probe + 1;
        else high = probe;
    }}
    const COUNT place = left ? i + (low - middle) : i - middle + low;
    out[place] = in[i];
    out_index[place] = in_index[i];
}}
",
                at("probe")
            );
        } else {
            let _ = write!(
                text,
                "    const COUNT base = i / width * width;
    const COUNT end = width < length - base ? base + width : length;
    COUNT place = base;
    for (COUNT j = base; j < end; j++) {{
        const {value} other = {};
        if (before(other, own) || (j < i && !before(own, other))) place++;
    }}
    out[place] = in[i];
    out_index[place] = (i64)i;
}}
",
                at("j")
            );
        }
        text
    }
}
