//! Reductions with a prologue.
//!
//! A work-item takes a *segment* of what one output is made of. Where outputs are few, each has several segments, whose
//! totals are joined by further launches. On CUDA's devices neighbouring work-items are a *team*: they take neighbouring
//! values of one output and join their totals themselves, by shuffles within a warp and through shared memory between warps, so
//! that a launch leaves one total where it would have left many. Where values lie densely there, an item reads 16 bytes of them
//! at once. The order of additions depends on sizes and layouts only, so results repeat.

mod columns;

use super::body::{self, register};
use super::expression::{load, register_type, storage_type, store};
use super::params::Block;
use super::pointwise::{MAX_UNROLLED, Operand, PACK, convert, run, widths};
use super::prelude::entry;
use super::total::Total;
use super::walk::{Route, Walk, merge};
use super::{Dialect, Kernel, Launch, Plan, Slot, Target, Tensor, previous_power_of_two, whole_groups};
use crate::backend::{ReduceOp, ReduceSpec};
use crate::shape::Dims;
use crate::{DType, Layout, Program, Shape};
use smallvec::SmallVec;
use std::fmt::Write;

/// A kernel that makes totals of values or of other totals.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReduceKernel {
    op: ReduceOp,
    dtype: DType,
    /// What is computed of the inputs before; `None` if totals are joined.
    prologue: Option<Program>,
    /// From an output's number to where it and its inputs lie.
    outer: Walk,
    /// From a place within an output's values to where the inputs lie.
    inner: Walk,
    /// Whether it writes results rather than totals.
    last: bool,
    /// How many neighbouring work-items join their totals: a power of two that divides the number of segments, and the group.
    team: u8,
    /// How many neighbouring values an item reads at once.
    lanes: u8,
    /// Whether these are of neighbouring outputs, which the item makes all, rather than of one.
    columns: bool,
    /// The inputs that are the same for all of these, as bits; known only where several values are read at once.
    still: u8,
}

/// The work-items of CUDA's devices that run in step, and can shuffle.
pub(super) const WARP: usize = 32;

/// The team for outputs with fewer values than this is a warp, and with more a whole group.
const LONG: usize = 2048;

/// Plans [`Backend::reduce`](crate::Backend::reduce).
pub fn reduce(spec: &ReduceSpec<'_>, inputs: &[Tensor<'_>], out: Tensor<'_>, target: &Target) -> Plan {
    let mut plan = Plan::default();
    let inputs: SmallVec<[(Slot, Tensor<'_>); 8]> =
        inputs.iter().enumerate().map(|(number, &tensor)| (Slot::Input(number), tensor)).collect();
    add(&mut plan, spec, &inputs, (Slot::Output(0), out), target);
    plan
}

/// Adds a reduction to a plan.
pub(super) fn add(
    plan: &mut Plan,
    spec: &ReduceSpec<'_>,
    inputs: &[(Slot, Tensor<'_>)],
    out: (Slot, Tensor<'_>),
    target: &Target,
) {
    let job = Job {
        spec,
        kept: spec.kept_axes(),
        inputs: inputs.iter().map(|&(slot, tensor)| Operand::new(slot, tensor)).collect(),
        out: Operand::new(out.0, out.1),
        target,
    };
    if job.plan(plan).is_none() {
        job.gathered(plan, out.1);
    }
}

struct Job<'a> {
    spec: &'a ReduceSpec<'a>,
    kept: Dims<usize>,
    inputs: Vec<Operand>,
    out: Operand,
    target: &'a Target,
}

/// How the values of an output are shared out among work-items.
#[derive(Clone, Copy)]
struct Split {
    outs: usize,
    /// Values, or totals, of an output.
    span: usize,
    segments: usize,
    /// Whether neighbouring items take neighbouring values, rather than each a block of them.
    interleaved: bool,
    /// Whether neighbouring items work for neighbouring outputs.
    by_output: bool,
}

impl Split {
    fn fill(&self, block: &mut Block) {
        let len = self.span.div_ceil(self.segments);
        block.one("outs", self.outs as u64);
        block.one("segments", self.segments as u64);
        block.one("span", self.span as u64);
        block.one("start", if self.interleaved { 1 } else { len as u64 });
        block.one("step", if self.interleaved { self.segments as u64 } else { 1 });
        block.one("length", if self.interleaved { self.span as u64 } else { len as u64 });
        block.one("by_output", u64::from(self.by_output));
    }

    fn blank() -> Self {
        Self { outs: 1, span: 1, segments: 1, interleaved: false, by_output: false }
    }

    /// How many segments an output gets.
    fn segments(outs: usize, span: usize, interleaved: bool, target: &Target) -> usize {
        let (wanted, least) =
            if target.is_cpu { (target.compute_units * 16, 4096) } else { (target.compute_units * 2048, 64) };
        let needed = wanted.div_ceil(outs).min(span.div_ceil(least)).max(1);
        // On a GPU neighbours read together, so even with outputs enough a row is shared among a few items.
        if interleaved { needed.max(span.div_ceil(8).min(32)) } else { needed }
    }

    /// How many items are a team, and how many segments an output gets then.
    fn teams(span: usize, segments: usize, interleaved: bool, target: &Target) -> (usize, usize) {
        if target.dialect != Dialect::Cuda || !interleaved || segments == 1 || group(target) < WARP {
            return (1, segments);
        }
        let team = if span < LONG { segments.next_power_of_two().min(WARP) } else { group(target) };
        (team, segments.next_multiple_of(team))
    }

    /// The same where an output's `count` totals are joined; besides, whether neighbours take neighbouring ones.
    fn joining(count: usize, target: &Target) -> (usize, usize, bool) {
        match target.dialect {
            Dialect::OpenCl => (1, if count <= 512 { 1 } else { count.div_ceil(256) }, false),
            Dialect::Cuda if count < 8 || group(target) < WARP => (1, 1, false),
            Dialect::Cuda => {
                let team = if count < 256 { WARP } else { group(target) };
                (team, (count / 64).next_multiple_of(team).max(team), true)
            }
        }
    }
}

impl Job<'_> {
    fn number(&self) -> Operand {
        Operand::dense(Slot::Temp(usize::MAX), DType::I64, self.spec.shape)
    }

    /// `None` if a kernel cannot walk it.
    fn plan(&self, plan: &mut Plan) -> Option<()> {
        let spec = self.spec;
        let positions = spec.prologue.uses_position();
        let dims = spec.shape.dims();
        let number = self.number();
        let all: SmallVec<[&Operand; 9]> = self.inputs.iter().chain(positions.then_some(&number)).collect();
        let pick = |axes: &[usize], operand: &Operand| -> Dims<isize> {
            axes.iter().map(|&axis| operand.strides[axis]).collect()
        };
        let sizes = |axes: &[usize]| -> Dims<usize> { axes.iter().map(|&axis| dims[axis]).collect() };
        let (outer_dims, inner_dims) = (sizes(&self.kept), sizes(spec.axes));
        let inner_strides: Vec<Dims<isize>> = all.iter().map(|operand| pick(spec.axes, operand)).collect();
        let outer_strides: Vec<Dims<isize>> = all.iter().map(|operand| pick(&self.kept, operand)).collect();
        let offsets: SmallVec<[usize; 9]> = all.iter().map(|operand| operand.offset as usize).collect();
        let slices =
            |list: &[Dims<isize>]| -> Vec<Vec<isize>> { list.iter().map(|strides| strides.to_vec()).collect() };
        let (inner_strides, mut outer_strides) = (slices(&inner_strides), slices(&outer_strides));
        let innermost = |strides: &[Vec<isize>]| {
            strides
                .first()
                .and_then(|strides| strides.iter().rev().find(|step| **step != 0))
                .map_or(0, |step| step.unsigned_abs())
        };
        let by_output = !self.kept.is_empty() && innermost(&outer_strides) < innermost(&inner_strides);
        let interleaved = !self.target.is_cpu && !by_output;
        let (outs, span) = (outer_dims.iter().product::<usize>(), inner_dims.iter().product::<usize>());
        let columns =
            if by_output { self.columns(&inner_dims, &inner_strides, &outer_dims, &outer_strides) } else { None };
        // So many outputs an item makes.
        let each = columns.map_or(1, |(_, lanes, _)| usize::from(lanes));
        let segments = Split::segments(outs / each, span, interleaved, self.target);
        let (team, segments) = Split::teams(span, segments, interleaved, self.target);
        let totals = segments / team;
        let split = Split { outs: outs / each, span, segments, interleaved, by_output };

        let (lanes, still) = match columns {
            Some((_, lanes, still)) => (lanes, still),
            None if interleaved => self.pack(&inner_dims, &inner_strides, &outer_dims, &outer_strides),
            None => (1, 0),
        };
        let inner = route(&inner_dims, &inner_strides, &offsets)?;
        let last = totals == 1;
        let mut outer_offsets = offsets.clone();
        if last {
            outer_strides.push(self.out.strides.to_vec());
            outer_offsets.push(self.out.offset as usize);
        }
        let mut groups = outer_dims.clone();
        if let Some((axis, ..)) = columns {
            groups[axis] /= each;
            outer_strides.iter_mut().for_each(|strides| strides[axis] *= each as isize);
        }
        let outer = route(&groups, &outer_strides, &outer_offsets)?;
        // Walks add up, and both count in the same type.
        let far = outs.saturating_mul(span).max(outs.saturating_mul(segments)) > i32::MAX as usize / 2
            || all.iter().any(|operand| operand.reach(dims) > i32::MAX as usize);
        let wide = inner.walk.is_wide() || outer.walk.is_wide() || far;
        let (inner, outer) = if wide { (inner.widened(), outer.widened()) } else { (inner, outer) };
        let dtype = spec.prologue.dtype(spec.prologue.outputs()[0]);
        let kernel = ReduceKernel {
            op: spec.op,
            dtype,
            prologue: Some(spec.prologue.clone()),
            outer: outer.walk,
            inner: inner.walk,
            last,
            team: team as u8,
            lanes,
            columns: columns.is_some(),
            still,
        };
        let block = kernel.block(&split, &outer, &inner, spec.shape, &offsets, self.out.offset as usize);
        let mut slots: SmallVec<[Slot; 8]> = self.inputs.iter().map(|operand| operand.slot).collect();
        if block.bytes.len() + 8 * (slots.len() + 1) > self.target.max_argument_bytes {
            return None;
        }
        let total = Total::new(spec.op, dtype, self.target);
        let results = if last { self.out.slot } else { plan.temp(outs * totals * total.size()) };
        slots.push(results);
        let items = whole_groups(split.outs * segments, group(self.target));
        plan.launches.push(Launch {
            kernel: Kernel::Reduce(kernel),
            params: block.finish(),
            slots,
            items: [items, 1, 1],
        });
        if !last {
            self.join(plan, dtype, &outer_dims, results, outs, totals);
        }
        Some(())
    }

    /// How many values an item reads at once, and which inputs are the same for all values of an output. Several are read on
    /// CUDA's devices where every other input lies densely along an output's values and begins at a multiple of what is read.
    fn pack(
        &self,
        inner_dims: &[usize],
        inner_strides: &[Vec<isize>],
        outer_dims: &[usize],
        outer_strides: &[Vec<isize>],
    ) -> (u8, u8) {
        let inner: SmallVec<[&[isize]; 9]> = inner_strides.iter().map(|strides| &strides[..]).collect();
        let (sizes, strides) = merge(inner_dims, &inner);
        if self.target.dialect != Dialect::Cuda || sizes.len() != 1 {
            return (1, 0);
        }
        let is_still = |number: usize| strides[number][0] == 0;
        let moving = || (0..self.inputs.len()).filter(|&number| !is_still(number));
        let still =
            (0..self.inputs.len()).filter(|&number| is_still(number)).fold(0, |bits, number| bits | 1 << number);
        let largest = moving().map(|number| self.inputs[number].dtype.size()).max().unwrap_or(PACK);
        // With more, of bytes, the compiler runs out of registers.
        let lanes = (PACK / largest).min(8);
        // Elements have their positions behind the inputs.
        let dense = moving().chain(self.inputs.len()..strides.len()).all(|number| strides[number][0] == 1);
        let aligned = |number: usize| {
            let steps =
                outer_dims.iter().zip(&outer_strides[number]).filter(|(size, _)| **size > 1).map(|(_, step)| *step);
            steps.chain([self.inputs[number].offset]).all(|step| step.unsigned_abs().is_multiple_of(lanes))
        };
        let packs = dense && moving().all(aligned) && lanes * self.spec.prologue.insts().len() <= MAX_UNROLLED;
        if packs && lanes > 1 { (lanes as u8, still) } else { (1, 0) }
    }

    /// Joins `count` totals for each output, in as many launches as it takes.
    fn join(&self, plan: &mut Plan, dtype: DType, outer_dims: &[usize], from: Slot, outs: usize, count: usize) {
        let (team, segments, interleaved) = Split::joining(count, self.target);
        let split = Split { outs, span: count, segments, interleaved, by_output: false };
        let totals = segments / team;
        let last = totals == 1;
        let strides = if last { vec![self.out.strides.to_vec()] } else { Vec::new() };
        let offsets: &[usize] = if last { &[self.out.offset as usize] } else { &[] };
        let (slot, outer) = match route(outer_dims, &strides, offsets) {
            Some(outer) => (self.out.slot, outer),
            None => unreachable!("the output was walked before"),
        };
        let inner = match route(&[count], &[], &[]) {
            Some(inner) => inner,
            None => unreachable!("one axis can be walked"),
        };
        let wide = outer.walk.is_wide() || outs.saturating_mul(count) > i32::MAX as usize / 2;
        let (outer, inner) = if wide { (outer.widened(), inner.widened()) } else { (outer, inner) };
        let kernel = ReduceKernel {
            op: self.spec.op,
            dtype,
            prologue: None,
            outer: outer.walk,
            inner: inner.walk,
            last,
            team: team as u8,
            lanes: 1,
            columns: false,
            still: 0,
        };
        let block = kernel.block(&split, &outer, &inner, self.spec.shape, &[], self.out.offset as usize);
        let total = Total::new(self.spec.op, dtype, self.target);
        let results = if last { slot } else { plan.temp(outs * totals * total.size()) };
        plan.launches.push(Launch {
            kernel: Kernel::Reduce(kernel),
            params: block.finish(),
            slots: [from, results].into_iter().collect(),
            items: [whole_groups(outs * segments, group(self.target)), 1, 1],
        });
        if !last {
            self.join(plan, dtype, outer_dims, results, outs, totals);
        }
    }

    /// The same with the prologue's values written out first, for more axes or parameters than a kernel may have.
    fn gathered(&self, plan: &mut Plan, out: Tensor<'_>) {
        let spec = self.spec;
        let mut program = Program::new();
        let registers: SmallVec<[_; 8]> = spec.prologue.inputs().iter().map(|&dtype| program.input(dtype)).collect();
        let value = program.append(spec.prologue, &registers)[0];
        // Not in the storage type, which would round.
        let dtype = program.dtype(value).compute();
        let value = program.cast(value, dtype);
        program.output(value);

        let order: Dims<usize> = self.kept.iter().chain(spec.axes).copied().collect();
        let sizes: Dims<usize> = order.iter().map(|&axis| spec.shape.dims()[axis]).collect();
        let mut strides: Dims<isize> = spec.shape.contiguous_strides();
        let mut step = 1isize;
        for (&axis, &size) in order.iter().zip(&sizes).rev() {
            strides[axis] = step;
            step *= size as isize;
        }
        let values = plan.temp(spec.shape.numel() * dtype.size());
        let layout = Layout::from_parts(spec.shape.clone(), strides, 0);
        run(plan, &program, spec.shape, self.inputs.clone(), (values, Tensor { layout: &layout, dtype }), self.target);

        let outs = spec.out_shape();
        let (rows, columns) = (outs.numel(), spec.shape.numel() / outs.numel().max(1));
        let flat = |dims: &[usize]| match Shape::new(dims) {
            Ok(shape) => shape,
            Err(_) => unreachable!("as many elements as a shape that was checked"),
        };
        let (matrix, vector) = (flat(&[rows, columns]), flat(&[rows]));
        let copy = Program::copy(dtype);
        let spec = ReduceSpec { op: spec.op, shape: &matrix, axes: &[1], prologue: &copy };
        let (from, to) = (Layout::contiguous(matrix.clone()), Layout::contiguous(vector));
        let kind = Total::new(spec.op, dtype, self.target).out_dtype();
        let held = plan.temp(rows * kind.size());
        add(
            plan,
            &spec,
            &[(values, Tensor { layout: &from, dtype })],
            (held, Tensor { layout: &to, dtype: kind }),
            self.target,
        );
        let dense = Layout::contiguous(outs.clone());
        convert(plan, &outs, (held, Tensor { layout: &dense, dtype: kind }), (self.out.slot, out), self.target);
    }
}

fn route(dims: &[usize], strides: &[Vec<isize>], offsets: &[usize]) -> Option<Route> {
    let strides: SmallVec<[&[isize]; 16]> = strides.iter().map(|strides| &strides[..]).collect();
    Route::new(dims, &strides, offsets)
}

/// The group of kernels whose items run for long.
pub(super) fn group(target: &Target) -> usize {
    previous_power_of_two(target.max_group.min(if target.is_cpu { 16 } else { 128 }))
}

impl ReduceKernel {
    pub(super) fn uses(&self, dtype: DType) -> bool {
        self.dtype == dtype || self.prologue.as_ref().is_some_and(|program| super::program_uses(program, dtype))
    }

    fn positions(&self) -> bool {
        self.prologue.as_ref().is_some_and(Program::uses_position)
    }

    fn inputs(&self) -> &[DType] {
        self.prologue.as_ref().map_or(&[], Program::inputs)
    }

    fn block(
        &self,
        split: &Split,
        outer: &Route,
        inner: &Route,
        shape: &Shape,
        offsets: &[usize],
        out_offset: usize,
    ) -> Block {
        let mut block = Block::default();
        split.fill(&mut block);
        let (own, numbers) = offsets.split_at(self.inputs().len());
        block.list("offset", own.iter().map(|&offset| offset as u64));
        block.list("first", numbers.iter().map(|&offset| offset as u64));
        block.one("out_offset", out_offset as u64);
        if let Some(program) = &self.prologue {
            body::fill(program, shape, &mut block);
        }
        outer.fill("outer", &mut block);
        inner.fill("inner", &mut block);
        block
    }

    pub(super) fn body(&self, target: &Target) -> String {
        let inputs = self.inputs().len();
        let operands = inputs + usize::from(self.positions());
        let outer = self.outer.blank(operands + usize::from(self.last));
        let params =
            self.block(&Split::blank(), &outer, &self.inner.blank(operands), &Shape::scalar(), &vec![0; operands], 0);
        let total = Total::new(self.op, self.dtype, target);
        let mut text = widths(self.outer.is_wide());
        text += &params.definition();
        text += &total.text();
        let shuffles = if self.team > 1 { total.shuffle("below", "__shfl_down_sync") } else { String::new() };
        let begin = entry(target, total.is_compensated().then_some(4));
        let _ = write!(text, "{shuffles}{begin} void {}(const Params p", super::ENTRY);
        for (number, &dtype) in self.inputs().iter().enumerate() {
            let _ = write!(text, ", GLOBAL const {} *RESTRICT in{number}", storage_type(dtype));
        }
        if self.prologue.is_none() {
            text += ", GLOBAL const Total *RESTRICT totals";
        }
        let result = if self.last { storage_type(total.out_dtype()) } else { "Total" };
        let _ = write!(
            text,
            ", GLOBAL {result} *RESTRICT out) {{
    const COUNT item = (COUNT)ITEM(0), outs = (COUNT)p.outs, segments = (COUNT)p.segments;
"
        );
        text += match self.team {
            1 => {
                "    if (item >= outs * segments) return;
    const COUNT o = p.by_output ? item % outs : item / segments;
    const COUNT s = p.by_output ? item / outs : item % segments;
"
            }
            // Items beyond the last one stay, because barriers are for all of a group.
            _ => {
                "    const i32 works = item < outs * segments;
    const COUNT o = works ? item / segments : 0, s = item % segments;
"
            }
        };
        let mut at: Vec<String> = (0..inputs).map(|number| format!("base{number}")).collect();
        if self.positions() {
            at.push("base_number".to_owned());
        }
        if self.last {
            at.push("at_out".to_owned());
        }
        text += &self.outer.text("outer", "o", &at);
        for number in 0..inputs {
            let _ = writeln!(text, "    in{number} += (i64)p.offset[{number}] + base{number};");
        }
        if let (Some(program), true) = (&self.prologue, self.columns) {
            return text + &self.take_columns(program, &total);
        }
        if let (Some(program), 2..) = (&self.prologue, self.lanes) {
            text += &self.take_packs(program);
            return self.finish(text, &total, target);
        }
        text += "    Total total = empty();
    COUNT j = s * (COUNT)p.start;
    const COUNT end = (COUNT)p.length < (COUNT)p.span - j ? j + (COUNT)p.length : (COUNT)p.span;
";
        // The last segment of many may lie beyond the end.
        text +=
            if self.team == 1 { "    if (j < (COUNT)p.span) {\n" } else { "    if (works && j < (COUNT)p.span) {\n" };
        match &self.prologue {
            Some(program) => text += &self.take_values(program, target),
            None => {
                text += "    for (; j < end; j += (COUNT)p.step) join(&total, totals[o * (COUNT)p.span + j]);\n";
            }
        }
        text += "    }\n";
        self.finish(text, &total, target)
    }

    /// What comes after a segment's total.
    fn finish(&self, mut text: String, total: &Total, target: &Target) -> String {
        if self.team > 1 {
            text += &self.join_team(target);
        }
        if self.last {
            text += "    out += p.out_offset;\n";
            let _ = writeln!(text, "    {}", store(total.out_dtype(), "out", "at_out", &total.result("total")));
        } else if self.team == 1 {
            text += "    out[o * segments + s] = total;\n";
        } else {
            let _ = writeln!(text, "    out[o * (segments / {team}) + s / {team}] = total;", team = self.team);
        }
        text + "}\n"
    }

    /// Joins the totals of a team, pairwise within a warp and then those of warps; the first item of each goes on with the
    /// result.
    fn join_team(&self, target: &Target) -> String {
        let team = usize::from(self.team);
        let (width, warps) = (team.min(WARP), group(target) / WARP);
        let mut text = format!(
            "    for (i32 places = {width} / 2; places > 0; places /= 2) join(&total, below(total, places, {width}));
    const i32 place = (i32)LOCAL_ITEM(0);
"
        );
        if team > WARP {
            let _ = write!(
                text,
                "    LOCAL Total of_warps[{warps}];
    if (place % {WARP} == 0) of_warps[place / {WARP}] = total;
    BARRIER;
    if (!works || place != 0) return;
    for (i32 warp = 1; warp < {warps}; warp++) join(&total, of_warps[warp]);
"
            );
        } else {
            let _ = writeln!(text, "    if (!works || place % {team} != 0) return;");
        }
        text
    }

    /// The loop over a segment whose values are read several at once; what is left behind the last whole pack comes one by one.
    fn take_packs(&self, program: &Program) -> String {
        let (inputs, lanes) = (self.inputs(), self.lanes);
        let is_still = |number: usize| self.still >> number & 1 == 1;
        let mut text = "    Total total = empty();\n".to_owned();
        text += if self.team == 1 { "    {\n" } else { "    if (works) {\n" };
        for (number, &dtype) in inputs.iter().enumerate() {
            let line = if is_still(number) {
                format!("const {} still{number} = {}", register_type(dtype), load(dtype, &format!("in{number}"), "0"))
            } else {
                let bytes = usize::from(lanes) * dtype.size();
                format!("struct __align__({bytes}) Pack{number} {{ {} v[{lanes}]; }}", storage_type(dtype))
            };
            let _ = writeln!(text, "    {line};");
        }
        let element = |load: &dyn Fn(usize) -> String| {
            let mut text = String::new();
            if self.positions() {
                text += "    const COUNT number = (COUNT)p.first[0] + (COUNT)base_number + k;\n";
            }
            text += &body::statements(program, load, "number");
            let _ = writeln!(text, "    take(&total, {}, (i64)k);", register(program.outputs()[0]));
            text
        };
        let still = |number: usize| format!("still{number}");
        let _ = write!(
            text,
            "    const COUNT span = (COUNT)p.span, packs = span / {lanes};
    COUNT pack = s;
    for (; pack < packs; pack += segments) {{
"
        );
        for number in (0..inputs.len()).filter(|&number| !is_still(number)) {
            let _ = writeln!(text, "    const Pack{number} pack{number} = ((const Pack{number} *)in{number})[pack];");
        }
        let packed = |number: usize| load(inputs[number], &format!("pack{number}.v"), "l");
        let _ = write!(
            text,
            "    #pragma unroll
    for (i32 l = 0; l < {lanes}; l++) {{
    const COUNT k = pack * {lanes} + (COUNT)l;
{}    }}
    }}
    if (pack == packs) for (COUNT k = packs * {lanes}; k < span; k++) {{
{}    }}
    }}
",
            element(&|number| if is_still(number) { still(number) } else { packed(number) }),
            element(&|number| {
                if is_still(number) { still(number) } else { load(inputs[number], &format!("in{number}"), "k") }
            }),
        );
        text
    }

    /// The loop over a segment. On a processor several values are taken side by side, so that they fill a vector.
    fn take_values(&self, program: &Program, target: &Target) -> String {
        const LANES: usize = 16;
        let element = |total: &str| {
            let mut at: Vec<String> = (0..self.inputs().len()).map(|number| format!("at{number}")).collect();
            if self.positions() {
                at.push("inner_number".to_owned());
            }
            let mut text = self.inner.text("inner", "k", &at);
            if self.positions() {
                text += "    const COUNT number = (COUNT)p.first[0] + (COUNT)(base_number + inner_number);\n";
            }
            let inputs = self.inputs();
            text += &body::statements(
                program,
                |number| load(inputs[number], &format!("in{number}"), &format!("at{number}")),
                "number",
            );
            let _ = writeln!(text, "    take(&{total}, {}, (i64)k);", register(program.outputs()[0]));
            text
        };
        let mut text = String::new();
        if target.is_cpu && !self.op.gives_index() {
            let _ = write!(
                text,
                "    if (p.step == 1) {{
    Total lane[{LANES}];
    for (i32 l = 0; l < {LANES}; l++) lane[l] = empty();
    for (; j < end && end - j >= {LANES}; j += {LANES}) {{
    for (i32 l = 0; l < {LANES}; l++) {{
    const COUNT k = j + (COUNT)l;
{}    }}
    }}
    for (i32 width = {LANES} / 2; width > 0; width /= 2) {{
        for (i32 l = 0; l < width; l++) join(&lane[l], lane[l + width]);
    }}
    total = lane[0];
    }}
",
                element("lane[l]")
            );
        }
        let _ = write!(
            text,
            "    for (; j < end; j += (COUNT)p.step) {{\n    const COUNT k = j;\n{}    }}\n",
            element("total")
        );
        text
    }
}
