//! Computations over rows: on CUDA's devices one kernel that fetches every row once, else one step after another.
//!
//! A few neighbouring work-items, or a whole group, take a row. What more than one step reads of it they hold in their
//! registers, as it lies in memory; of rows too long for that, later steps find in the cache what the first one fetched.
//! Reductions that do not need each other's results share one pass.

use super::body::{fill_of, register, statements_of};
use super::expression::{load, register_type, storage_type, store};
use super::params::Block;
use super::pointwise::{MAX_UNROLLED, Operand, PACK, run, widths};
use super::prelude::entry;
use super::reduce::{self, WARP};
use super::total::Total;
use super::walk::{Route, Walk, merge};
use super::{Dialect, Kernel, Launch, Plan, Slot, Target, Tensor, linear_group};
use crate::backend::{ReduceOp, ReduceSpec};
use crate::rows::{RowKind, RowSpec, RowStep};
use crate::shape::Dims;
use crate::{DType, Layout, Shape};
use smallvec::SmallVec;
use std::fmt::Write;

/// A kernel that does all steps for one row after another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RowsKernel {
    steps: Vec<RowStep>,
    inputs: Vec<(DType, Along)>,
    /// From a row's number to where the inputs and the result begin.
    lines: Walk,
    /// How many neighbouring items take a row: a power of two up to a warp, or all of a group.
    team: u16,
    /// How many neighbouring values an item reads at once.
    lanes: u8,
    /// How often it does, where it holds what it reads; else 0.
    packs: u8,
    /// Whether it is known that every item reads that often, and none beyond the row's end.
    whole: bool,
}

/// How an input lies along a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Along {
    /// One number for all of it.
    Still,
    /// Densely, and read where it is needed.
    Read,
    /// Densely, and held from the beginning on.
    Held,
}

/// The most bytes that an item holds of its row.
const HELD: usize = 128;

/// The most instructions of a pass over a row that an item holds, all of its values together: that text is not a loop.
const MAX_INSTRUCTIONS: usize = 2 * MAX_UNROLLED;

/// The most items that take a row.
const LARGEST_TEAM: usize = 512;

/// Rows that are longer than this and not held are not for one group each if there are fewer than the device runs groups:
/// reductions share each among many.
const LONG: usize = 1 << 14;

/// Shorter rows are read in packs of one size or not in packs, so that there are fewer kernels to compile.
const SHORT: usize = 512;

/// The most reductions: each has its place in shared memory.
const MAX_REDUCTIONS: usize = 16;

/// Plans [`Backend::rows`](crate::Backend::rows).
pub fn rows(spec: &RowSpec<'_>, inputs: &[Tensor<'_>], out: Tensor<'_>, target: &Target) -> Plan {
    let mut plan = Plan::default();
    if spec.shape.numel() > 0 && at_once(&mut plan, spec, inputs, out, target).is_none() {
        by_steps(&mut plan, spec, inputs, out, target);
    }
    plan
}

/// One step after another over the whole tensor, as [`crate::rows::by_steps`] does it.
fn by_steps(plan: &mut Plan, spec: &RowSpec<'_>, inputs: &[Tensor<'_>], out: Tensor<'_>, target: &Target) {
    let numbers = Layout::contiguous(spec.shape.reduce(spec.axes, false));
    let Ok(spread) = Layout::contiguous(spec.shape.reduce(spec.axes, true)).expand(spec.shape) else {
        unreachable!("axes of size 1 broadcast to any size")
    };
    let mut held: Vec<(Slot, DType)> = Vec::new();
    for (place, step) in spec.steps.iter().enumerate() {
        let dtype = step.dtype();
        let to = if place + 1 == spec.steps.len() {
            (Slot::Output(0), out)
        } else {
            let slot = plan.temp(numbers.numel() * dtype.size());
            held.push((slot, dtype));
            (slot, Tensor { layout: &numbers, dtype })
        };
        let layout = if step.kind == RowKind::Rows { &numbers } else { &spread };
        let reads: SmallVec<[(Slot, Tensor<'_>); 8]> = step
            .reads
            .iter()
            .map(|&read| match usize::from(read).checked_sub(inputs.len()) {
                None => (Slot::Input(usize::from(read)), inputs[usize::from(read)]),
                Some(earlier) => (held[earlier].0, Tensor { layout, dtype: held[earlier].1 }),
            })
            .collect();
        match step.kind {
            RowKind::Reduce(op) => {
                let spec = ReduceSpec { op, shape: spec.shape, axes: spec.axes, prologue: &step.program };
                reduce::add(plan, &spec, &reads, to, target);
            }
            RowKind::Rows | RowKind::Elements => {
                let operands = reads.iter().map(|&(slot, tensor)| Operand::new(slot, tensor)).collect();
                run(plan, &step.program, layout.shape(), operands, to, target);
            }
        }
    }
}

/// Plans it as one launch. `None` if rows are not of one dense axis, or too few and long for a group each.
fn at_once(plan: &mut Plan, spec: &RowSpec<'_>, inputs: &[Tensor<'_>], out: Tensor<'_>, target: &Target) -> Option<()> {
    let most = target.max_group.min(LARGEST_TEAM) / WARP * WARP;
    let reductions = spec.steps.iter().filter(|step| matches!(step.kind, RowKind::Reduce(_))).count();
    if target.dialect != Dialect::Cuda || linear_group(target) < WARP || reductions > MAX_REDUCTIONS {
        return None;
    }
    let job = Job::new(spec, inputs, out)?;
    let (length, lines) = (job.length, job.line_dims.iter().product::<usize>());
    let lanes = job.lanes();
    let (kinds, team, packs) = job.share(lanes, most);
    let idle = packs == 0 && length > LONG && lines < target.compute_units;
    if idle || length > i32::MAX as usize / 2 {
        return None;
    }
    let strides: SmallVec<[&[isize]; 16]> = job.line_strides.iter().map(|strides| &strides[..]).collect();
    let route = Route::new(&job.line_dims, &strides, &job.offsets)?;
    let dims = spec.shape.dims();
    let reach = inputs.iter().map(|&tensor| Operand::new(Slot::Temp(0), tensor).reach(dims)).max().unwrap_or(0);
    let far = spec.shape.numel().max(reach) > i32::MAX as usize / 2;
    let route = if far { route.widened() } else { route };
    let kernel = RowsKernel {
        steps: spec.steps.to_vec(),
        inputs: inputs.iter().map(|tensor| tensor.dtype).zip(kinds).collect(),
        lines: route.walk,
        team: team as u16,
        lanes: lanes as u8,
        packs: packs as u8,
        whole: team > WARP && packs * team * lanes == length,
    };
    let params = kernel.block(&route, lines, length / lanes, &job.offsets).finish();
    if params.len() + 8 * (inputs.len() + 1) > target.max_argument_bytes {
        return None;
    }
    let group = kernel.group(target);
    plan.launches.push(Launch {
        kernel: Kernel::Rows(kernel),
        params,
        slots: (0..inputs.len()).map(Slot::Input).chain([Slot::Output(0)]).collect(),
        items: [lines.div_ceil(group / team) * group, 1, 1],
    });
    Some(())
}

/// How the operands lie; the result is the last of them.
struct Job<'a> {
    spec: &'a RowSpec<'a>,
    length: usize,
    /// Whether an input is the same for all of a row.
    still: SmallVec<[bool; 8]>,
    sizes: SmallVec<[usize; 8]>,
    line_dims: Dims<usize>,
    line_strides: Vec<Dims<isize>>,
    offsets: Vec<usize>,
}

impl<'a> Job<'a> {
    /// `None` unless rows are of one dense axis.
    fn new(spec: &'a RowSpec<'a>, inputs: &[Tensor<'_>], out: Tensor<'_>) -> Option<Self> {
        let dims = spec.shape.dims();
        let kept: Dims<usize> = (0..dims.len()).filter(|axis| !spec.axes.contains(axis)).collect();
        let pick = |axes: &[usize], layout: &Layout| -> Dims<isize> {
            axes.iter().map(|&axis| layout.strides()[axis]).collect()
        };
        let sizes = |axes: &[usize]| -> Dims<usize> { axes.iter().map(|&axis| dims[axis]).collect() };
        let gives_elements = spec.steps.last().is_some_and(|step| step.kind == RowKind::Elements);

        let mut within: Vec<Dims<isize>> = inputs.iter().map(|input| pick(spec.axes, input.layout)).collect();
        let mut line_strides: Vec<Dims<isize>> = inputs.iter().map(|input| pick(&kept, input.layout)).collect();
        if gives_elements {
            within.push(pick(spec.axes, out.layout));
            line_strides.push(pick(&kept, out.layout));
        } else {
            line_strides.push(out.layout.strides().into());
        }
        let slices: SmallVec<[&[isize]; 16]> = within.iter().map(|strides| &strides[..]).collect();
        let (lengths, steps) = merge(&sizes(spec.axes), &slices);
        let step = |number: usize| steps[number].first().copied();
        let dense = |number: usize| matches!(step(number), None | Some(0 | 1));
        if lengths.len() > 1 || !(0..within.len()).all(dense) || (gives_elements && step(inputs.len()) == Some(0)) {
            return None;
        }
        Some(Self {
            spec,
            length: lengths.first().copied().unwrap_or(1),
            still: (0..inputs.len()).map(|number| step(number).is_none_or(|step| step == 0)).collect(),
            sizes: inputs.iter().chain(gives_elements.then_some(&out)).map(|tensor| tensor.dtype.size()).collect(),
            line_dims: sizes(&kept),
            line_strides,
            offsets: inputs.iter().chain([&out]).map(|tensor| tensor.layout.offset()).collect(),
        })
    }

    /// The operands that are walked along a row.
    fn moving(&self) -> impl Iterator<Item = usize> {
        (0..self.sizes.len()).filter(|&number| !self.still.get(number).is_some_and(|&still| still))
    }

    /// How many values an item reads at once: as many as every operand's rows begin at multiples of, up to 16 bytes.
    fn lanes(&self) -> usize {
        let largest = self.moving().map(|number| self.sizes[number]).max().unwrap_or(PACK);
        let instructions = self.spec.steps.iter().map(|step| step.program.insts().len()).max().unwrap_or(1);
        let mut lanes = (PACK / largest).clamp(1, 8);
        let aligned = |lanes: usize| {
            let is_multiple = |number: usize| {
                let steps = self.line_dims.iter().zip(&self.line_strides[number]);
                let mut steps = steps.filter(|(size, _)| **size > 1).map(|(_, step)| step.unsigned_abs());
                steps.all(|step| step.is_multiple_of(lanes)) && self.offsets[number].is_multiple_of(lanes)
            };
            self.length.is_multiple_of(lanes) && self.moving().all(is_multiple)
        };
        while lanes > 1 && (!aligned(lanes) || lanes * instructions > MAX_UNROLLED) {
            lanes = if self.length < SHORT { 1 } else { lanes / 2 };
        }
        lanes
    }

    /// How each input is read, how many items take a row, and how often each reads if it holds what it reads.
    fn share(&self, lanes: usize, most: usize) -> (SmallVec<[Along; 8]>, usize, usize) {
        let passes = passes(self.spec.steps, self.still.len());
        let weight = passes.iter().map(|pass| pass.instructions(self.spec.steps)).max().unwrap_or(0) * lanes;
        let is_held = |number: usize| {
            let differs =
                self.line_dims.iter().zip(&self.line_strides[number]).any(|(size, step)| *size > 1 && *step != 0);
            let lines = self.line_dims.iter().product::<usize>();
            (differs || lines == 1) && passes.iter().filter(|pass| pass.reads(self.spec.steps, number)).count() > 1
        };
        let mut kinds: SmallVec<[Along; 8]> = (0..self.still.len())
            .map(|number| match self.still[number] {
                true => Along::Still,
                false if is_held(number) => Along::Held,
                false => Along::Read,
            })
            .collect();
        let bytes: usize = (0..kinds.len()).filter(|&i| kinds[i] == Along::Held).map(|i| self.sizes[i] * lanes).sum();

        let count = self.length / lanes;
        let few = match count {
            0..=WARP => count.next_power_of_two().max(4),
            _ if count <= 4 * WARP => WARP,
            _ => count.div_ceil(4).next_multiple_of(WARP).min(most),
        };
        let mut team = few;
        loop {
            let packs = count.div_ceil(team);
            if bytes > 0 && packs * weight <= MAX_INSTRUCTIONS && packs * bytes <= HELD {
                return (kinds, team, packs);
            }
            if bytes == 0 || team >= most || packs == 1 {
                break;
            }
            team = (2 * team).min(most);
        }
        for kind in kinds.iter_mut().filter(|kind| **kind == Along::Held) {
            *kind = Along::Read;
        }
        (kinds, few, 0)
    }
}

/// Steps of one kind that need none of the others' results. Reductions compute their values in one loop over a row.
struct Pass {
    kind: RowKind,
    steps: Vec<usize>,
}

/// The steps in an order that respects what they read, in as few passes over a row as that takes.
fn passes(steps: &[RowStep], inputs: usize) -> Vec<Pass> {
    let mut passes: Vec<Pass> = Vec::new();
    let mut done = vec![false; steps.len()];
    while done.contains(&false) {
        let is_known = |read: &u8| usize::from(*read).checked_sub(inputs).is_none_or(|earlier| done[earlier]);
        let mut ready: Vec<usize> =
            (0..steps.len()).filter(|&place| !done[place] && steps[place].reads.iter().all(is_known)).collect();
        // Numbers first, because reductions may wait for them, and elements last.
        let rank = |place: &usize| match steps[*place].kind {
            RowKind::Rows => 0,
            RowKind::Reduce(_) => 1,
            RowKind::Elements => 2,
        };
        let Some(first) = ready.iter().map(rank).min() else { unreachable!("steps read earlier ones") };
        ready.retain(|place| rank(place) == first);
        ready.iter().for_each(|&place| done[place] = true);
        passes.push(Pass { kind: steps[ready[0]].kind, steps: ready });
    }
    passes
}

impl Pass {
    /// How many instructions it runs for each element.
    fn instructions(&self, steps: &[RowStep]) -> usize {
        match self.kind {
            RowKind::Rows => 0,
            _ => self.steps.iter().map(|&place| steps[place].program.insts().len()).sum(),
        }
    }

    fn reads(&self, steps: &[RowStep], value: usize) -> bool {
        self.steps.iter().any(|&place| steps[place].reads.iter().any(|&read| usize::from(read) == value))
    }
}

impl RowsKernel {
    pub(super) fn uses(&self, dtype: DType) -> bool {
        self.inputs.iter().any(|input| input.0 == dtype)
            || self.steps.iter().any(|step| super::program_uses(&step.program, dtype))
    }

    pub(super) fn group(&self, target: &Target) -> usize {
        let team = usize::from(self.team);
        if team > WARP { team } else { linear_group(target) }
    }

    fn block(&self, route: &Route, lines: usize, packs: usize, offsets: &[usize]) -> Block {
        let mut block = Block::default();
        block.one("lines", lines as u64);
        block.list("offset", offsets.iter().map(|&offset| offset as u64));
        for (place, step) in self.steps.iter().enumerate() {
            fill_of(&whose(place), &step.program, &Shape::scalar(), &mut block);
        }
        block.one("packs", packs as i32);
        route.fill("line", &mut block);
        block
    }

    pub(super) fn body(&self, target: &Target) -> String {
        let operands = self.inputs.len() + 1;
        let passes = passes(&self.steps, self.inputs.len());
        let Some(last) = self.steps.last() else { unreachable!("a computation has steps") };
        let mut text = widths(self.lines.is_wide());
        text += &self.block(&self.lines.blank(operands), 1, 1, &vec![0; operands]).definition();
        let mut kinds: Vec<String> = Vec::new();
        for step in &self.steps {
            if let RowKind::Reduce(op) = step.kind {
                let kind = kind(op, step.dtype());
                if !kinds.contains(&kind) {
                    text += &Total::new(op, step.dtype(), target).namespace(&kind);
                    kinds.push(kind);
                }
            }
        }
        text += &self.beginning(last.dtype(), target);
        for pass in &passes {
            text += &match pass.kind {
                RowKind::Reduce(_) => self.reductions(pass, target),
                RowKind::Rows => pass.steps.iter().map(|&place| self.number(place)).collect(),
                RowKind::Elements => self.elements(pass),
            };
        }
        if last.kind != RowKind::Elements {
            let value = format!("v{}", self.inputs.len() + self.steps.len() - 1);
            let _ = writeln!(text, "    if (works && member == 0) {}", store(last.dtype(), "out", "0", &value));
        }
        text + "}\n"
    }

    /// What comes before the first step.
    fn beginning(&self, dtype: DType, target: &Target) -> String {
        let (team, lanes, group) = (usize::from(self.team), usize::from(self.lanes), self.group(target));
        let row = if team > WARP {
            "    const i32 works = 1;\n    const COUNT number = (COUNT)GROUP(0);\n".to_owned()
        } else {
            format!(
                "    const COUNT line = (COUNT)GROUP(0) * {lines} + (COUNT)(place / {team});
    // Items without a row stay, because shuffles are for all.
    const i32 works = line < (COUNT)p.lines;
    const COUNT number = works ? line : 0;
",
                lines = group / team
            )
        };
        // 128 registers for each item.
        let mut text = format!("{} void {}(const Params p", entry(target, Some((512 / group).max(1))), super::ENTRY);
        for (number, (dtype, _)) in self.inputs.iter().enumerate() {
            let _ = write!(text, ", GLOBAL const {} *RESTRICT in{number}", storage_type(*dtype));
        }
        let mut at: Vec<String> = (0..self.inputs.len()).map(|number| format!("at{number}")).collect();
        at.push("at_out".to_owned());
        let _ = write!(
            text,
            ", GLOBAL {out} *RESTRICT out) {{
    const i32 place = (i32)LOCAL_ITEM(0), member = place % {team}, packs = (i32)p.packs;
{row}{walk}    out += (i64)p.offset[{last}] + at_out;
",
            out = storage_type(dtype),
            walk = self.lines.text("line", "number", &at),
            last = self.inputs.len(),
        );
        let mut held = String::new();
        for (number, &(dtype, along)) in self.inputs.iter().enumerate() {
            let _ = writeln!(text, "    in{number} += (i64)p.offset[{number}] + at{number};");
            if along == Along::Still {
                let value = load(dtype, &format!("in{number}"), "0");
                let _ = writeln!(text, "    const {} still{number} = {value};", register_type(dtype));
            } else {
                text += &pack_type(&format!("Pack{number}"), dtype, lanes);
            }
            if along == Along::Held {
                let _ = writeln!(text, "    Pack{number} held{number}[{}];", self.packs);
                let _ = writeln!(held, "    held{number}[k] = ((const Pack{number} *)in{number})[at];");
            }
        }
        if !held.is_empty() {
            text += &self.loop_over(1);
            text += &held;
            text += "    }\n";
        }
        text
    }

    /// The beginning of a loop over what an item reads of its row, `pack` after `pack`, from where it can be read, `at`.
    fn loop_over(&self, instructions: usize) -> String {
        let team = self.team;
        match self.packs {
            0 => {
                let most = if self.lanes == 1 { 8 } else { 4 };
                let unrolled = (MAX_UNROLLED / (instructions * usize::from(self.lanes)).max(1)).clamp(1, most);
                format!(
                    "    #pragma unroll {unrolled}
    for (i32 pack = member; pack < packs; pack += {team}) {{
    const i32 at = pack;
"
                )
            }
            count => {
                // Beyond the end the row's beginning is read, so that nothing branches.
                let at = if self.whole { "pack" } else { "pack < packs ? pack : 0" };
                format!(
                    "    #pragma unroll
    for (i32 k = 0; k < {count}; k++) {{
    const i32 pack = k * {team} + member, at = {at};
"
                )
            }
        }
    }

    /// The values that a pass reads where it needs them, for this `pack`.
    fn read(&self, pass: &Pass) -> String {
        let mut text = String::new();
        for number in (0..self.inputs.len()).filter(|&number| self.inputs[number].1 == Along::Read) {
            if pass.reads(&self.steps, number) {
                let _ = writeln!(text, "    const Pack{number} pack{number} = ((const Pack{number} *)in{number})[at];");
            }
        }
        text
    }

    /// The statements of a step's program for lane `l` of a `pack`, or for a row.
    fn statements(&self, place: usize) -> String {
        let step = &self.steps[place];
        let value = |number: usize| {
            let read = usize::from(step.reads[number]);
            match self.inputs.get(read) {
                None => format!("v{read}"),
                Some((_, Along::Still)) => format!("still{read}"),
                Some(&(dtype, Along::Read)) => load(dtype, &format!("pack{read}.v"), "l"),
                Some(&(dtype, Along::Held)) => load(dtype, &format!("held{read}[k].v"), "l"),
            }
        };
        statements_of(&whose(place), &step.program, value, "number")
    }

    /// `value` as the row's number of this step, rounded as one in memory is.
    fn keep(&self, place: usize, value: &str) -> String {
        let dtype = self.steps[place].dtype();
        let value = match dtype {
            DType::F16 => format!("round_f16({value})"),
            DType::BF16 => format!("round_bf16({value})"),
            _ => value.to_owned(),
        };
        format!("const {} v{} = {value};\n", register_type(dtype), self.inputs.len() + place)
    }

    fn reductions(&self, pass: &Pass, target: &Target) -> String {
        let steps = || {
            pass.steps.iter().filter_map(|&place| match self.steps[place].kind {
                RowKind::Reduce(op) => Some((place, op, self.steps[place].dtype())),
                _ => None,
            })
        };
        let mut text = String::new();
        for (place, op, dtype) in steps() {
            let kind = kind(op, dtype);
            let _ = writeln!(text, "    {kind}::Total total{place} = {kind}::empty();");
        }
        text += &self.loop_over(pass.instructions(&self.steps));
        text += &self.read(pass);
        let _ = writeln!(text, "    #pragma unroll\n    for (i32 l = 0; l < {}; l++) {{", self.lanes);
        let only = if self.packs == 0 || self.whole { "" } else { "if (pack < packs) " };
        for (place, op, dtype) in steps() {
            let value = register(self.steps[place].program.outputs()[0]);
            let statements = self.statements(place);
            let _ = write!(
                text,
                "    {{\n{statements}    {only}{}::take(&total{place}, {value}, 0);\n    }}\n",
                kind(op, dtype)
            );
        }
        text += "    }\n    }\n";
        let names: Vec<[String; 3]> = steps()
            .map(|(place, op, dtype)| [kind(op, dtype), format!("total{place}"), format!("of_warps{place}")])
            .collect();
        let totals: Vec<[&str; 3]> = names.iter().map(|names| names.each_ref().map(String::as_str)).collect();
        text += &Total::join_for_all(&totals, usize::from(self.team));
        for ((place, op, dtype), [_, total, _]) in steps().zip(totals) {
            text += "    ";
            text += &self.keep(place, &Total::new(op, dtype, target).result(total));
        }
        text
    }

    /// A program on a row's numbers, which every item runs.
    fn number(&self, place: usize) -> String {
        let step = &self.steps[place];
        let value = register(step.program.outputs()[0]);
        let (name, real) = (format!("of_row{place}"), register_type(step.dtype()));
        format!(
            "    {real} {name};\n    {{\n{}    {name} = {value};\n    }}\n    {}",
            self.statements(place),
            self.keep(place, &name)
        )
    }

    fn elements(&self, pass: &Pass) -> String {
        let place = pass.steps[0];
        let step = &self.steps[place];
        let (dtype, lanes) = (step.dtype(), usize::from(self.lanes));
        let condition = if self.packs == 0 || self.whole { "works" } else { "works && pack < packs" };
        let mut text = pack_type("PackOut", dtype, lanes);
        text += &self.loop_over(pass.instructions(&self.steps));
        text += &self.read(pass);
        let _ = write!(
            text,
            "    PackOut pack_out;
    #pragma unroll
    for (i32 l = 0; l < {lanes}; l++) {{
{statements}    {store}
    }}
    if ({condition}) ((PackOut *)out)[pack] = pack_out;
    }}
",
            statements = self.statements(place),
            store = store(dtype, "pack_out.v", "l", &register(step.program.outputs()[0])),
        );
        text
    }
}

/// What the names of a step's parameters begin with.
fn whose(place: usize) -> String {
    format!("of{place}_")
}

/// The name of what is kept of values under way.
fn kind(op: ReduceOp, dtype: DType) -> String {
    format!("{}_{}", op.name(), dtype.name())
}

fn pack_type(name: &str, dtype: DType, lanes: usize) -> String {
    let bytes = lanes * dtype.size();
    format!("    struct __align__({bytes}) {name} {{ {} v[{lanes}]; }};\n", storage_type(dtype))
}
