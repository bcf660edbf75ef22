//! Outputs beside each other, of which an item makes several on CUDA's devices: it reads 16 bytes of their values at once.

use super::{Job, ReduceKernel};
use crate::Program;
use crate::codegen::Dialect;
use crate::codegen::body::{self, register};
use crate::codegen::expression::{load, register_type, storage_type, store};
use crate::codegen::pointwise::{MAX_UNROLLED, PACK};
use crate::codegen::total::Total;
use std::fmt::Write;

impl Job<'_> {
    /// For neighbouring outputs whose values lie beside each other: along which of the kept axes, how many outputs an item makes,
    /// and which inputs are the same for these.
    pub(super) fn columns(
        &self,
        inner_dims: &[usize],
        inner_strides: &[Vec<isize>],
        outer_dims: &[usize],
        outer_strides: &[Vec<isize>],
    ) -> Option<(usize, u8, u8)> {
        if self.target.dialect != Dialect::Cuda || self.spec.prologue.uses_position() {
            return None;
        }
        let axis = outer_dims.iter().rposition(|&size| size > 1)?;
        let is_still = |number: usize| outer_strides[number][axis] == 0;
        let moving = || (0..self.inputs.len()).filter(|&number| !is_still(number));
        let still =
            (0..self.inputs.len()).filter(|&number| is_still(number)).fold(0, |bits, number| bits | 1 << number);
        let lanes = (PACK / moving().map(|number| self.inputs[number].dtype.size()).max()?).min(8);
        let dense = self.out.strides[axis] == 1 && moving().all(|number| outer_strides[number][axis] == 1);
        let aligned = |number: usize| {
            let outer = outer_dims.iter().zip(&outer_strides[number]).enumerate();
            let outer = outer.filter(|(place, (size, _))| *place != axis && **size > 1).map(|(_, (_, step))| *step);
            let inner = inner_dims.iter().zip(&inner_strides[number]);
            let inner = inner.filter(|(size, _)| **size > 1).map(|(_, step)| *step);
            outer.chain(inner).chain([self.inputs[number].offset]).all(|step| step.unsigned_abs().is_multiple_of(lanes))
        };
        let fits = lanes > 1 && lanes * self.spec.prologue.insts().len() <= MAX_UNROLLED;
        let packs = fits && dense && outer_dims[axis].is_multiple_of(lanes) && moving().all(aligned);
        packs.then_some((axis, lanes as u8, still))
    }
}

impl ReduceKernel {
    /// The loop over a segment, and what comes after it: an item has a total for each of its outputs.
    pub(super) fn take_columns(&self, program: &Program, total: &Total) -> String {
        let (inputs, lanes) = (self.inputs(), self.lanes);
        let is_still = |number: usize| self.still >> number & 1 == 1;
        let mut text = String::new();
        for (number, &dtype) in inputs.iter().enumerate().filter(|&(number, _)| !is_still(number)) {
            let bytes = usize::from(lanes) * dtype.size();
            let _ =
                writeln!(text, "    struct __align__({bytes}) Pack{number} {{ {} v[{lanes}]; }};", storage_type(dtype));
        }
        let _ = write!(
            text,
            "    Total totals[{lanes}];
    #pragma unroll
    for (i32 l = 0; l < {lanes}; l++) totals[l] = empty();
    COUNT j = s * (COUNT)p.start;
    const COUNT end = (COUNT)p.length < (COUNT)p.span - j ? j + (COUNT)p.length : (COUNT)p.span;
    // The last segment of many may lie beyond the end.
    if (j < (COUNT)p.span) {{
    for (; j < end; j += (COUNT)p.step) {{
    const COUNT k = j;
"
        );
        let at: Vec<String> = (0..inputs.len()).map(|number| format!("at{number}")).collect();
        text += &self.inner.text("inner", "k", &at);
        for (number, &dtype) in inputs.iter().enumerate() {
            let line = if is_still(number) {
                let value = load(dtype, &format!("in{number}"), &format!("at{number}"));
                format!("const {} still{number} = {value}", register_type(dtype))
            } else {
                format!("const Pack{number} pack{number} = *(const Pack{number} *)(in{number} + at{number})")
            };
            let _ = writeln!(text, "    {line};");
        }
        let value = |number: usize| {
            if is_still(number) {
                format!("still{number}")
            } else {
                load(inputs[number], &format!("pack{number}.v"), "l")
            }
        };
        let _ = write!(
            text,
            "    #pragma unroll
    for (i32 l = 0; l < {lanes}; l++) {{
{}    take(&totals[l], {}, (i64)k);
    }}
    }}
    }}
",
            body::statements(program, value, "number"),
            register(program.outputs()[0]),
        );
        let store = if self.last {
            text += "    out += p.out_offset;\n";
            store(total.out_dtype(), "out", "at_out + l", &total.result("totals[l]"))
        } else {
            format!("out[(o * {lanes} + l) * segments + s] = totals[l];")
        };
        let _ = write!(text, "    #pragma unroll\n    for (i32 l = 0; l < {lanes}; l++) {{\n    {store}\n    }}\n}}\n");
        text
    }
}
