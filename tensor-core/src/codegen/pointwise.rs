//! Pointwise programs.

use super::body::{self, register};
use super::expression::{load, storage_type, store};
use super::params::Block;
use super::walk::{MAX_RANK, Route, Walk};
use super::{Dialect, Kernel, Launch, Plan, Slot, Target, Tensor, linear_group, whole_groups};
use crate::shape::Dims;
use crate::{DType, Layout, Program, Shape};
use smallvec::SmallVec;
use std::fmt::Write;

/// Where a program's input comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A tensor.
    Tensor(Tensor<'a>),
    /// The old content of the output of this number.
    Output(usize),
}

/// A kernel that runs a program for every element.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PointwiseKernel {
    program: Program,
    walk: Walk,
    /// How many neighbouring elements a work-item takes, reading and writing them at once.
    lanes: u8,
}

/// The most bytes that a work-item reads or writes at once.
pub(super) const PACK: usize = 16;

/// The most instructions that a work-item runs for all its elements: their values share its registers.
pub(super) const MAX_UNROLLED: usize = 160;

/// One operand: a place in memory for every position.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub(super) slot: Slot,
    pub(super) dtype: DType,
    pub(super) strides: Dims<isize>,
    pub(super) offset: isize,
}

impl Operand {
    pub(super) fn new(slot: Slot, tensor: Tensor<'_>) -> Self {
        Self {
            slot,
            dtype: tensor.dtype,
            strides: tensor.layout.strides().into(),
            offset: tensor.layout.offset() as isize,
        }
    }

    pub(super) fn dense(slot: Slot, dtype: DType, shape: &Shape) -> Self {
        Self { slot, dtype, strides: shape.contiguous_strides(), offset: 0 }
    }

    /// How far from its first element another one may lie, in either direction together.
    pub(super) fn reach(&self, dims: &[usize]) -> usize {
        dims.iter().zip(&self.strides).map(|(&size, &step)| (size - 1) * step.unsigned_abs()).sum()
    }

    /// The part at a position along the first axis.
    pub(super) fn part(&self, position: usize) -> Self {
        Self {
            strides: self.strides[1..].into(),
            offset: self.offset + position as isize * self.strides[0],
            ..self.clone()
        }
    }
}

/// A program over some operands, and where in the iterated shape it stands.
struct Job<'a> {
    program: &'a Program,
    /// The whole iterated shape, for coordinates.
    shape: &'a Shape,
    /// The sizes of the axes that are left to walk.
    dims: Dims<usize>,
    inputs: Vec<Operand>,
    outputs: Vec<Operand>,
    /// Row-major numbers of the elements.
    number: Operand,
}

/// Plans [`Backend::pointwise`](crate::Backend::pointwise).
pub fn pointwise(
    program: &Program,
    shape: &Shape,
    inputs: &[Source<'_>],
    outputs: &[Tensor<'_>],
    target: &Target,
) -> Plan {
    let mut plan = Plan::default();
    // What an output held before is an operand like any other: a work-item reads all of its element before it writes.
    let inputs = inputs.iter().enumerate().map(|(number, source)| match source {
        Source::Tensor(tensor) => Operand::new(Slot::Input(number), *tensor),
        Source::Output(output) => Operand::new(Slot::Output(*output), outputs[*output]),
    });
    let outputs = outputs.iter().enumerate().map(|(number, &tensor)| Operand::new(Slot::Output(number), tensor));
    Job {
        program,
        shape,
        dims: shape.dims().into(),
        inputs: inputs.collect(),
        outputs: outputs.collect(),
        number: Operand::dense(Slot::Temp(usize::MAX), DType::I64, shape),
    }
    .plan(target, &mut plan);
    plan
}

/// Adds a copy between two slots of one dtype.
pub(super) fn copy(
    plan: &mut Plan,
    shape: &Shape,
    from: (Slot, &Layout),
    to: (Slot, &Layout),
    dtype: DType,
    target: &Target,
) {
    convert(plan, shape, (from.0, Tensor { layout: from.1, dtype }), (to.0, Tensor { layout: to.1, dtype }), target);
}

/// Adds a copy between two slots that converts to the second one's dtype.
pub(super) fn convert(
    plan: &mut Plan,
    shape: &Shape,
    from: (Slot, Tensor<'_>),
    to: (Slot, Tensor<'_>),
    target: &Target,
) {
    let mut program = Program::new();
    let input = program.input(from.1.dtype);
    let output = program.cast(input, to.1.dtype);
    program.output(output);
    run(plan, &program, shape, vec![Operand::new(from.0, from.1)], to, target);
}

/// Adds a program with one output.
pub(super) fn run(
    plan: &mut Plan,
    program: &Program,
    shape: &Shape,
    inputs: Vec<Operand>,
    to: (Slot, Tensor<'_>),
    target: &Target,
) {
    Job {
        program,
        shape,
        dims: shape.dims().into(),
        inputs,
        outputs: vec![Operand::new(to.0, to.1)],
        number: Operand::dense(Slot::Temp(usize::MAX), DType::I64, shape),
    }
    .plan(target, plan);
}

impl Job<'_> {
    fn plan(&self, target: &Target, plan: &mut Plan) {
        let positions = self.program.uses_position();
        let operands: SmallVec<[&Operand; 16]> = self.inputs.iter().chain(&self.outputs).collect();
        let counted: SmallVec<[&Operand; 16]> =
            operands.iter().copied().chain(positions.then_some(&self.number)).collect();
        let strides: SmallVec<[&[isize]; 16]> = counted.iter().map(|operand| &operand.strides[..]).collect();
        let offsets: SmallVec<[usize; 16]> = counted.iter().map(|operand| operand.offset as usize).collect();
        let Some(mut route) = Route::new(&self.dims, &strides, &offsets) else {
            return self.split(target, plan);
        };
        if positions && self.shape.numel() > i32::MAX as usize {
            route = route.widened();
        }
        if target.is_cpu {
            route = route.of_axes(&[2, MAX_RANK]);
        }
        let kernel = PointwiseKernel {
            program: self.program.clone(),
            walk: route.walk,
            lanes: self.lanes(route.walk, &operands, target) as u8,
        };
        let count = self.dims.iter().product::<usize>();
        let block = kernel.block(&route, self.shape, count, &offsets);
        let params = block.finish();
        if params.len() + 8 * operands.len() > target.max_argument_bytes && !self.is_dense() {
            return self.gathered(target, plan);
        }
        let items = count.div_ceil(usize::from(kernel.lanes));
        plan.launches.push(Launch {
            items: [whole_groups(items, linear_group(target)), 1, 1],
            kernel: Kernel::Pointwise(kernel),
            params,
            slots: operands.iter().map(|operand| operand.slot).collect(),
        });
    }

    /// How many elements a work-item takes. On CUDA's devices buffers are aligned to [`PACK`] bytes, and reading that many at
    /// once is what memory is fastest at.
    fn lanes(&self, walk: Walk, operands: &[&Operand], target: &Target) -> usize {
        let largest = operands.iter().map(|operand| operand.dtype.size()).max().unwrap_or(PACK);
        let lanes = (PACK / largest).min(8);
        let aligned = |operand: &&Operand| (operand.offset as usize * operand.dtype.size()).is_multiple_of(PACK);
        let packs = target.dialect == Dialect::Cuda
            && walk.is_dense()
            && operands.iter().all(aligned)
            && lanes * self.program.insts().len() <= MAX_UNROLLED;
        if packs { lanes } else { 1 }
    }

    /// One job for each position along the first axis.
    fn split(&self, target: &Target, plan: &mut Plan) {
        for position in 0..self.dims[0] {
            let part = |operand: &Operand| operand.part(position);
            Job {
                dims: self.dims[1..].into(),
                inputs: self.inputs.iter().map(part).collect(),
                outputs: self.outputs.iter().map(part).collect(),
                number: part(&self.number),
                ..*self
            }
            .plan(target, plan);
        }
    }

    fn is_dense(&self) -> bool {
        let dense = &self.number.strides;
        self.inputs.iter().chain(&self.outputs).all(|operand| operand.strides == *dense)
    }

    /// The same with all operands copied to dense memory, for more parameters than a kernel may have.
    fn gathered(&self, target: &Target, plan: &mut Plan) {
        let Ok(shape) = Shape::new(&self.dims) else { unreachable!("a part of a checked shape is in bounds") };
        let dense = Layout::contiguous(shape.clone());
        let layout =
            |operand: &Operand| Layout::from_parts(shape.clone(), operand.strides.clone(), operand.offset as usize);
        let fresh = |operand: &Operand, plan: &mut Plan| {
            Operand::dense(plan.temp(shape.numel() * operand.dtype.size()), operand.dtype, &shape)
        };
        let mut inputs = Vec::new();
        for operand in &self.inputs {
            let held = fresh(operand, plan);
            copy(plan, &shape, (operand.slot, &layout(operand)), (held.slot, &dense), operand.dtype, target);
            inputs.push(held);
        }
        let outputs: Vec<Operand> = self.outputs.iter().map(|output| fresh(output, plan)).collect();
        Job { inputs, outputs: outputs.clone(), dims: self.dims.clone(), number: self.number.clone(), ..*self }
            .plan(target, plan);
        for (output, held) in self.outputs.iter().zip(&outputs) {
            copy(plan, &shape, (held.slot, &dense), (output.slot, &layout(output)), output.dtype, target);
        }
    }
}

impl PointwiseKernel {
    pub(super) fn program(&self) -> &Program {
        &self.program
    }

    /// The kernel with every walk whose indices are as wide as this one's, if its parameters fit.
    pub(super) fn relatives(&self, target: &Target) -> impl Iterator<Item = Self> + '_ {
        let (operands, bytes) = (self.operands(), target.max_argument_bytes);
        let all = operands + usize::from(self.program.uses_position());
        let walks = self.walk.relatives().filter(move |walk| {
            let block = Self { walk: *walk, program: self.program.clone(), lanes: 1 };
            let params = block.block(&walk.blank(all), &Shape::scalar(), 1, &vec![0; all]).finish();
            params.len() + 8 * operands <= bytes
        });
        walks.map(|walk| Self { walk, program: self.program.clone(), lanes: 1 })
    }

    fn operands(&self) -> usize {
        self.program.inputs().len() + self.program.outputs().len()
    }

    fn block(&self, route: &Route, shape: &Shape, count: usize, offsets: &[usize]) -> Block {
        let mut block = Block::default();
        block.one("count", count as u64);
        let positions = usize::from(self.program.uses_position());
        let (own, numbers) = offsets.split_at(offsets.len() - positions);
        block.list("offset", own.iter().map(|&offset| offset as u64));
        block.list("first", numbers.iter().map(|&offset| offset as u64));
        body::fill(&self.program, shape, &mut block);
        route.fill("walk", &mut block);
        block
    }

    pub(super) fn body(&self, _: &Target) -> String {
        let program = &self.program;
        let positions = program.uses_position();
        let all = self.operands() + usize::from(positions);
        let params = self.block(&self.walk.blank(all), &Shape::scalar(), 1, &vec![0; all]);
        let mut text = widths(self.walk.is_wide());
        text += &params.definition();
        let _ = write!(text, "ENTRY_OF_GROUP void {}(const Params p", super::ENTRY);
        // None of them is RESTRICT: an input may be what an output held before.
        for (number, &dtype) in program.inputs().iter().enumerate() {
            let _ = write!(text, ", GLOBAL const {} *in{number}", storage_type(dtype));
        }
        for (number, &reg) in program.outputs().iter().enumerate() {
            let _ = write!(text, ", GLOBAL {} *out{number}", storage_type(program.dtype(reg)));
        }
        if self.lanes > 1 {
            return text + &self.packed();
        }
        text += ") {\n    const COUNT index = (COUNT)ITEM(0);\n    if (index >= (COUNT)p.count) return;\n";
        let inputs = (0..program.inputs().len()).map(|number| format!("in{number}"));
        let names: Vec<String> =
            inputs.chain((0..program.outputs().len()).map(|number| format!("out{number}"))).collect();
        let mut at: Vec<String> = names.iter().map(|name| format!("at_{name}")).collect();
        if positions {
            at.push("number_at".to_owned());
        }
        text += &self.walk.text("walk", "index", &at);
        if positions {
            text += "    const COUNT number = (COUNT)p.first[0] + (COUNT)number_at;\n";
        }
        for (place, name) in names.iter().enumerate() {
            let _ = writeln!(text, "    {name} += p.offset[{place}];");
        }
        let input = |number: usize| load(program.inputs()[number], &format!("in{number}"), &format!("at_in{number}"));
        text += &body::statements(program, input, "number");
        for (number, &reg) in program.outputs().iter().enumerate() {
            let line = store(program.dtype(reg), &format!("out{number}"), &format!("at_out{number}"), &register(reg));
            let _ = writeln!(text, "    {line}");
        }
        text + "}\n"
    }

    /// The rest of a kernel whose work-items take several elements each. Those of the last one that are beyond the end are
    /// computed of zeros and not written.
    fn packed(&self) -> String {
        let lanes = self.lanes;
        let mut text = format!(
            ") {{
    const COUNT index = (COUNT)ITEM(0) * {lanes}, count = (COUNT)p.count;
    if (index >= count) return;
    const COUNT rest = count - index;
"
        );
        let fetch = |name: &str, text: &mut String| {
            let _ = write!(
                text,
                "    if (rest >= {lanes}) pack_{name} = *(const Pack_{name} *)({name} + index);
    else for (COUNT l = 0; l < rest; l++) pack_{name}.v[l] = {name}[index + l];
"
            );
        };
        let pack = |name: &str, dtype: DType, text: &mut String| {
            let (element, bytes) = (storage_type(dtype), usize::from(lanes) * dtype.size());
            let _ = write!(
                text,
                "    struct __align__({bytes}) Pack_{name} {{ {element} v[{lanes}]; }};\n    Pack_{name} pack_{name} = {{}};\n"
            );
        };
        let program = &self.program;
        for (number, &dtype) in program.inputs().iter().enumerate() {
            let name = format!("in{number}");
            let _ = writeln!(text, "    {name} += p.offset[{number}];");
            pack(&name, dtype, &mut text);
            fetch(&name, &mut text);
        }
        for (number, &reg) in program.outputs().iter().enumerate() {
            let name = format!("out{number}");
            let _ = writeln!(text, "    {name} += p.offset[{}];", program.inputs().len() + number);
            pack(&name, program.dtype(reg), &mut text);
        }
        let _ = writeln!(text, "    #pragma unroll\n    for (i32 l = 0; l < {lanes}; l++) {{");
        if self.program.uses_position() {
            text += "    const COUNT number = (COUNT)p.first[0] + index + (COUNT)l;\n";
        }
        let input = |number: usize| load(program.inputs()[number], &format!("pack_in{number}.v"), "l");
        text += &body::statements(program, input, "number");
        for (number, &reg) in self.program.outputs().iter().enumerate() {
            let line = store(self.program.dtype(reg), &format!("pack_out{number}.v"), "l", &register(reg));
            let _ = writeln!(text, "    {line}");
        }
        text += "    }\n";
        for number in 0..self.program.outputs().len() {
            let _ = write!(
                text,
                "    if (rest >= {lanes}) *(Pack_out{number} *)(out{number} + index) = pack_out{number};
    else for (COUNT l = 0; l < rest; l++) out{number}[index + l] = pack_out{number}.v[l];
"
            );
        }
        text + "}\n"
    }
}

/// The types of indices and counts.
pub(super) fn widths(wide: bool) -> String {
    let (index, unsigned) = if wide { ("i64", "u64") } else { ("i32", "u32") };
    format!("typedef {index} INDEX;\ntypedef {unsigned} UINDEX;\ntypedef {unsigned} COUNT;\n")
}
