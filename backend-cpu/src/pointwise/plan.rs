//! A program made ready to run: which kernel runs when, and where each value lies.
//!
//! Values lie in *lanes*: a pointer and a step. First come the lanes of the outputs and inputs, whose pointers move from
//! tile to tile; then those of values that are the same everywhere, computed once; then tiles of scratch memory, which
//! are used again as soon as nobody needs their value any more.

mod cost;
mod groups;

use super::chain;
use super::kernel::{Kernel, OPERANDS};
use super::line::for_operands;
use super::lookup;
use super::registers::{Code, Does, Place as At};
pub(super) use cost::cost;
use groups::{Fusion, Line};
use smallvec::SmallVec;
use tensor_core::program::{Op, Reg};
use tensor_core::{DType, Program};

/// The number of a lane.
pub(super) type Lane = u8;

/// One thing to do for each tile, in order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Runs a kernel, which writes past the caches if the results are a streamed output.
    Kernel { kernel: Kernel, dst: Lane, src: [Lane; OPERANDS], streamed: bool },
    /// Runs these functions of the plan's codes, on floats of this size.
    Line { first: u16, end: u16, size: u8 },
    /// Coordinates along an axis: `number / inner % size`.
    Iota { dst: Lane, inner: usize, size: usize },
    /// Random words, for those of the block's four that have a lane.
    Random { seed: u64, stream: u64, dst: [Option<Lane>; 4] },
}

/// A value that is computed once for all elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Constant {
    /// Where it lies.
    pub(super) lane: Lane,
    /// Where it comes from.
    pub(super) from: Source,
    /// Bytes of one element.
    pub(super) size: usize,
    /// Whether tiles read it, so that it must be repeated.
    pub(super) repeated: bool,
}

/// Where a constant comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// The run-time scalar of this number, as this dtype.
    Scalar(usize, DType),
    /// The only element of an input, and the kernel that reads it, if one is needed.
    Input(usize, Option<Kernel>),
    /// Other constants.
    Kernel(Kernel, [Lane; OPERANDS]),
}

/// What the plan has to know of the memory that a program runs on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory<'a> {
    /// For each input: whether all elements are the same one.
    pub(super) uniform: &'a [bool],
    /// For each input: whether it is the old content of an output.
    pub(super) in_place: &'a [bool],
    /// For each output: whether it lies densely in each tile and no input reads it, so that kernels may write to it.
    pub(super) direct: &'a [bool],
    /// For each output: whether it is written past the caches, so that nothing should read it again.
    pub(super) streamed: &'a [bool],
    /// The sizes of the shape's axes, for coordinates.
    pub(super) dims: &'a [usize],
    /// Whether runs of cheap instructions may become lines.
    pub(super) lines: bool,
}

/// A program made ready to run.
#[derive(Debug)]
pub(super) struct Plan {
    /// What is done once, in order.
    pub(super) constants: SmallVec<[Constant; 4]>,
    /// What is done for each tile, in order.
    pub(super) steps: SmallVec<[Step; 16]>,
    /// The functions of all lines.
    pub(super) codes: SmallVec<[Code; 16]>,
    /// The first lane of scratch tiles.
    pub(super) first_tile: usize,
    /// The number of scratch tiles.
    pub(super) tiles: usize,
    /// The most bytes that an element of a scratch tile has.
    pub(super) tile_size: usize,
    /// About how many nanoseconds the arithmetic of a thousand elements takes.
    pub(super) cost: usize,
}

/// Where a register's value is.
#[derive(Clone, Copy, Debug)]
struct Place {
    lane: Lane,
    constant: bool,
}

/// No register uses this place.
const NOWHERE: Place = Place { lane: Lane::MAX, constant: false };

struct Planner<'a> {
    program: &'a Program,
    memory: Memory<'a>,
    plan: Plan,
    places: SmallVec<[Place; 16]>,
    /// The instruction after which a register is not needed any more.
    last_use: SmallVec<[u8; 16]>,
    /// For each register the output that it may be computed into, if any.
    direct: SmallVec<[Option<u8>; 16]>,
    /// Scratch tiles that hold nothing, as bits. There are at most as many as registers: 64.
    free: u64,
    constants: usize,
    /// Instructions that are computed within another one's loop, as bits, and those others.
    absorbed: u64,
    fusions: SmallVec<[Fusion; 4]>,
    lines: SmallVec<[Line; 1]>,
}

/// The use that outlives all instructions: as an output that is stored at the end.
const AT_END: u8 = u8::MAX;

impl Plan {
    pub(super) fn new(program: &Program, memory: Memory<'_>) -> Self {
        let count = program.insts().len();
        let mut planner = Planner {
            program,
            memory,
            plan: Self {
                constants: SmallVec::new(),
                steps: SmallVec::new(),
                codes: SmallVec::new(),
                first_tile: 0,
                tiles: 0,
                tile_size: 0,
                cost: 0,
            },
            places: SmallVec::from_elem(NOWHERE, count),
            last_use: SmallVec::from_elem(0, count),
            direct: SmallVec::from_elem(None, count),
            free: 0,
            constants: 0,
            absorbed: 0,
            fusions: SmallVec::new(),
            lines: SmallVec::new(),
        };
        let (live, constant) = planner.survey();
        planner.find_lines(live & !constant);
        planner.keep_unread_direct(live);
        let in_lines = planner.lines.iter().fold(0, |all, line| all | line.insts);
        planner.fuse(live & !constant, in_lines);
        let moving = memory.uniform.len() + memory.direct.len();
        planner.plan.first_tile = moving + planner.constants;
        let mut next_constant = moving as Lane;
        let planned = live & !planner.absorbed;
        for number in (0..count).filter(|&number| planned & 1 << number != 0) {
            if constant & 1 << number != 0 {
                planner.constant(number, &mut next_constant);
            } else {
                planner.instruction(number);
            }
        }
        planner.store_outputs();
        planner.plan
    }
}

impl Planner<'_> {
    /// Which instructions matter, and which of them are the same for all elements, as bits; fills `last_use` and `direct`.
    fn survey(&mut self) -> (u64, u64) {
        let insts = self.program.insts();
        let (mut live, mut constant) = (0u64, 0u64);
        for (number, &reg) in self.program.outputs().iter().enumerate() {
            let taken = live & 1 << reg.index() != 0;
            live |= 1 << reg.index();
            if self.memory.direct[number] && !taken && lookup::stored_as_is(self.program.dtype(reg)) {
                self.direct[reg.index()] = Some(number as u8);
            }
            self.last_use[reg.index()] = AT_END;
        }
        for (number, inst) in insts.iter().enumerate().rev() {
            if live & 1 << number == 0 {
                continue;
            }
            for_operands(&inst.op, |reg| {
                live |= 1 << reg.index();
                let last = &mut self.last_use[reg.index()];
                *last = (*last).max(number as u8);
            });
        }
        for (number, inst) in insts.iter().enumerate() {
            let is_constant = match inst.op {
                Op::Scalar(_) => true,
                Op::Input(input) => self.memory.uniform[input as usize],
                Op::Iota(_) | Op::Random { .. } => false,
                Op::Unary(..) | Op::Binary(..) | Op::Compare(..) | Op::Ternary(..) | Op::Cast(_) => {
                    let mut all = true;
                    for_operands(&inst.op, |reg| all &= constant & 1 << reg.index() != 0);
                    all
                }
            };
            constant |= u64::from(is_constant) << number;
        }
        self.constants = (live & constant).count_ones() as usize;
        (live, constant)
    }

    /// Takes back that a value is computed into an output, if that is streamed and something reads the value from there.
    fn keep_unread_direct(&mut self, live: u64) {
        let insts = self.program.insts();
        let mut read = 0u64;
        for (number, inst) in insts.iter().enumerate().filter(|&(number, _)| live & 1 << number != 0) {
            let line = self.lines.iter().map(|line| line.insts).find(|line| line & 1 << number != 0).unwrap_or(0);
            for_operands(&inst.op, |reg| read |= 1 << reg.index() & !line);
        }
        for (number, direct) in self.direct.iter_mut().enumerate() {
            let is_leaf = matches!(insts[number].op, Op::Iota(_) | Op::Random { .. });
            let is_again = self.program.outputs().iter().filter(|reg| reg.index() == number).count() > 1;
            if direct.is_some_and(|output| self.memory.streamed[output as usize])
                && (read & 1 << number != 0 || is_leaf || is_again)
            {
                *direct = None;
            }
        }
    }

    /// Plans a line, at its last instruction.
    fn line(&mut self, line: &Line) {
        let first = self.plan.codes.len() as u16;
        let insts = self.program.insts();
        for (number, inst) in insts.iter().enumerate().filter(|&(number, _)| line.insts & 1 << number != 0) {
            for_operands(&inst.op, |reg| {
                if line.insts & 1 << reg.index() == 0 {
                    self.repeat(reg);
                }
            });
            if self.last_use[number] as usize > line.root() {
                self.results(number);
            }
        }
        for &code in &line.codes {
            let mut code = code;
            if let At::Lane(register) = code.with {
                let lane = self.places[register as usize].lane;
                code.with = At::Lane(lane);
                if matches!(code.does, Does::Store { .. }) {
                    let streamed = self.memory.streamed.get(lane as usize).is_some_and(|&streamed| streamed);
                    code.does = Does::Store { streamed };
                }
            }
            self.plan.codes.push(code);
        }
        let end = self.plan.codes.len() as u16;
        let size = insts[line.root()].dtype.compute().size() as u8;
        self.plan.steps.push(Step::Line { first, end, size });
        self.plan.cost += 30 * line.codes.len();
    }

    /// The kernel of an instruction and its operands, or `None` for a cast that changes nothing.
    fn kernel(&self, op: &Op, dtype: DType) -> (Option<Kernel>, [Lane; OPERANDS]) {
        let lane = |reg: Reg| self.places[reg.index()].lane;
        let of = |reg: Reg| self.program.dtype(reg);
        match *op {
            Op::Unary(op, a) => (Some(lookup::unary_kernel(op, of(a))), [lane(a), 0, 0, 0]),
            Op::Binary(op, a, b) => (Some(lookup::binary_kernel(op, of(a))), [lane(a), lane(b), 0, 0]),
            Op::Compare(op, a, b) => (Some(lookup::compare_kernel(op, of(a))), [lane(a), lane(b), 0, 0]),
            Op::Ternary(op, a, b, c) => (Some(lookup::ternary_kernel(op, of(c))), [lane(a), lane(b), lane(c), 0]),
            Op::Cast(a) => (lookup::cast_kernel(of(a), dtype), [lane(a), 0, 0, 0]),
            Op::Input(_) | Op::Scalar(_) | Op::Iota(_) | Op::Random { .. } => {
                unreachable!("leaves have no kernel of their own")
            }
        }
    }

    /// Plans an instruction whose value is the same for all elements.
    fn constant(&mut self, number: usize, next: &mut Lane) {
        let inst = self.program.insts()[number];
        let from = match inst.op {
            Op::Scalar(scalar) => Source::Scalar(scalar as usize, inst.dtype.compute()),
            Op::Input(input) => Source::Input(input as usize, lookup::load_kernel(inst.dtype)),
            ref op => match self.kernel(op, inst.dtype) {
                (Some(kernel), src) => Source::Kernel(kernel, src),
                (None, src) => {
                    let copy = lookup::store_kernel(inst.dtype.compute());
                    Source::Kernel(copy, src)
                }
            },
        };
        let repeated = self.last_use[number] == AT_END;
        let lane = *next;
        *next += 1;
        self.places[number] = Place { lane, constant: true };
        self.plan.constants.push(Constant { lane, from, size: inst.dtype.compute().size(), repeated });
    }

    /// Plans an instruction whose value differs from element to element.
    fn instruction(&mut self, number: usize) {
        if self.places[number].lane != Lane::MAX {
            // A random word that was planned with another of its block.
            return self.retire(number);
        }
        let inst = self.program.insts()[number];
        match inst.op {
            Op::Input(input) => {
                let lane = self.memory.direct.len() as Lane + input;
                // What is both an output's old content and an output must be saved before outputs are stored.
                let saved = self.memory.in_place[input as usize] && self.last_use[number] == AT_END;
                let load = lookup::load_kernel(inst.dtype);
                match load.or_else(|| saved.then(|| lookup::store_kernel(inst.dtype))) {
                    None => self.places[number] = Place { lane, constant: false },
                    Some(kernel) => {
                        let dst = self.results(number);
                        self.push_kernel(kernel, dst, [lane, 0, 0, 0], 100);
                    }
                }
            }
            Op::Iota(axis) => {
                let dst = self.results(number);
                let inner = self.memory.dims[axis as usize + 1..].iter().product();
                self.plan.steps.push(Step::Iota { dst, inner, size: self.memory.dims[axis as usize] });
                self.plan.cost += 200;
            }
            Op::Random { key, .. } => self.random(key),
            ref op => {
                if let Some(place) = self.lines.iter().position(|line| line.root() == number) {
                    let line = self.lines[place].clone();
                    self.line(&line);
                    return self.retire(number);
                }
                if let Some(fusion) = self.fusions.iter().find(|fusion| fusion.root == number).copied() {
                    for reg in fusion.sources {
                        self.repeat(reg);
                    }
                    let src = fusion.sources.map(|reg| self.places[reg.index()].lane);
                    let dst = self.results(number);
                    self.push_kernel(chain::kernel(fusion.shape, inst.dtype), dst, src, 150);
                    return self.retire(number);
                }
                for_operands(op, |reg| self.repeat(reg));
                if let Op::Cast(a) = *op
                    && self.is_rounded_by_its_store(number, a)
                {
                    self.share(number, self.places[a.index()].lane);
                    return self.retire(number);
                }
                match self.kernel(op, inst.dtype) {
                    (Some(kernel), src) => {
                        let dst = self.results(number);
                        self.push_kernel(kernel, dst, src, cost(op));
                    }
                    (None, [lane, ..]) => self.share(number, lane),
                }
            }
        }
        self.retire(number);
    }

    /// Notes that tiles read a register, which matters if it is the same for all elements.
    fn repeat(&mut self, reg: Reg) {
        let place = self.places[reg.index()];
        if place.constant {
            let first = self.memory.uniform.len() + self.memory.direct.len();
            self.plan.constants[place.lane as usize - first].repeated = true;
        }
    }

    /// Whether a cast of f32 rounds to a storage type that nothing but an output asks for: storing it does that. (What lies in
    /// an output's memory must be read before that is written.)
    fn is_rounded_by_its_store(&self, number: usize, from: Reg) -> bool {
        let insts = self.program.insts();
        let mut is_read = false;
        for inst in insts {
            for_operands(&inst.op, |reg| is_read |= reg.index() == number);
        }
        let is_overwritten =
            matches!(insts[from.index()].op, Op::Input(input) if self.memory.in_place[usize::from(input)]);
        !lookup::stored_as_is(insts[number].dtype)
            && insts[from.index()].dtype.compute() == DType::F32
            && !is_read
            && !is_overwritten
    }

    /// Lets a cast that changes nothing stand for its operand.
    fn share(&mut self, number: usize, lane: Lane) {
        // All that share a lane live as long as the longest-lived of them. (Those that the lane belonged to before do not
        // matter: they freed it already.)
        let sharers =
            |places: &[Place]| (0..number).filter(|&other| places[other].lane == lane).collect::<SmallVec<[_; 4]>>();
        let sharers = sharers(&self.places);
        let last = sharers.iter().fold(self.last_use[number], |last, &other| last.max(self.last_use[other]));
        for other in sharers {
            self.last_use[other] = last;
        }
        self.last_use[number] = last;
        self.places[number] = Place { lane, constant: false };
    }

    fn push_kernel(&mut self, kernel: Kernel, dst: Lane, src: [Lane; OPERANDS], cost: usize) {
        let streamed = self.memory.streamed.get(dst as usize).is_some_and(|&streamed| streamed);
        self.plan.steps.push(Step::Kernel { kernel, dst, src, streamed });
        self.plan.cost += cost;
    }

    /// Plans all words of a random block that the program reads, in one step.
    fn random(&mut self, key: u8) {
        let mut dst = [None; 4];
        let mut wanted: SmallVec<[(usize, u8); 4]> = SmallVec::new();
        for (number, inst) in self.program.insts().iter().enumerate() {
            if let Op::Random { key: other, word } = inst.op
                && other == key
            {
                wanted.push((number, word));
            }
        }
        for (number, word) in wanted {
            let is_live = self.last_use[number] > 0;
            if is_live {
                dst[word as usize] = Some(self.results(number));
            }
        }
        let value = |number: u8| self.program.scalars()[number as usize].as_i64() as u64;
        self.plan.steps.push(Step::Random { seed: value(key), stream: value(key + 1), dst });
        self.plan.cost += 2000;
    }

    /// A lane for an instruction's results: its output, or a free tile.
    fn results(&mut self, number: usize) -> Lane {
        let lane = match self.direct[number] {
            Some(output) => output,
            None => {
                if self.free == 0 {
                    self.free |= 1 << self.plan.tiles;
                    self.plan.tiles += 1;
                }
                let tile = self.free.trailing_zeros();
                self.free &= self.free - 1;
                let size = self.program.insts()[number].dtype.compute().size();
                self.plan.tile_size = self.plan.tile_size.max(size);
                (self.plan.first_tile + tile as usize) as Lane
            }
        };
        self.places[number] = Place { lane, constant: false };
        lane
    }

    /// Frees the tiles whose last use this instruction was. It happens after the instruction got its own, so that results
    /// never overlap operands.
    fn retire(&mut self, number: usize) {
        for register in 0..number {
            let place = self.places[register];
            if self.last_use[register] as usize == number
                && !place.constant
                && place.lane != Lane::MAX
                && place.lane as usize >= self.plan.first_tile
            {
                self.free |= 1 << (place.lane as usize - self.plan.first_tile);
            }
        }
    }

    /// Plans what writes the outputs that no kernel wrote.
    fn store_outputs(&mut self) {
        for (output, &reg) in self.program.outputs().iter().enumerate() {
            let dst = output as Lane;
            let src = self.places[reg.index()].lane;
            if src != dst {
                self.push_kernel(lookup::store_kernel(self.program.dtype(reg)), dst, [src, 0, 0, 0], 100);
            }
        }
    }
}
