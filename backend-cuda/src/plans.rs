//! Plans that are made once, and running them.
//!
//! Planning an operation costs about as much as the device takes for a small one. So a plan is kept, with its kernels
//! compiled, under everything it depends on: the operation, layouts and dtypes, and scalars. What is asked with is borrowed, and
//! hashed by few words: finding a plan is most of what a launch takes.

use crate::device::{Device, device_error};
use crate::driver::Function;
use crate::{Buffer, Cuda};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock};
use tensor_core::codegen::{Params, Plan, Slot, Tensor};
use tensor_core::program::Op;
use tensor_core::rows::RowStep;
use tensor_core::{Backend, DType, Layout, Program, ReduceOp, Result, Scalar, ScanOp, ScatterOp, Shape};

/// A part of a key: borrowed to ask with, and owned where it is kept.
#[derive(Debug)]
pub(crate) enum Part<'a, T: ?Sized> {
    Lent(&'a T),
    Kept(Box<T>),
}

impl<T: Clone> Part<'_, T> {
    fn kept(&self) -> Part<'static, T> {
        Part::Kept(Box::new((**self).clone()))
    }
}

impl<T: ?Sized> Deref for Part<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Lent(value) => value,
            Self::Kept(value) => value,
        }
    }
}

impl<T: PartialEq + ?Sized> PartialEq for Part<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq + ?Sized> Eq for Part<'_, T> {}

impl<T: Hash + ?Sized> Hash for Part<'_, T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

/// A program with the values of its scalars, to which its own equality is blind. Bit by bit, so that NaN equals itself.
#[derive(Debug)]
pub(crate) struct Exact<'a>(pub(crate) Part<'a, Program>);

/// Steps of a computation over rows, with the values of their scalars.
#[derive(Debug)]
pub(crate) struct ExactSteps<'a>(pub(crate) Part<'a, [RowStep]>);

impl PartialEq for Exact<'_> {
    fn eq(&self, other: &Self) -> bool {
        has_same_scalars(&self.0, &other.0) && *self.0 == *other.0
    }
}

impl Eq for Exact<'_> {}

impl Hash for Exact<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        sketch(&self.0, state);
    }
}

impl PartialEq for ExactSteps<'_> {
    fn eq(&self, other: &Self) -> bool {
        let (own, others) = (&*self.0, &*other.0);
        own.len() == others.len()
            && own.iter().zip(others).all(|(a, b)| has_same_scalars(&a.program, &b.program) && a == b)
    }
}

impl Eq for ExactSteps<'_> {}

impl Hash for ExactSteps<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for step in &*self.0 {
            sketch(&step.program, state);
            state.write_u64(step.reads.iter().fold(1, |word, &read| word << 8 | u64::from(read)));
        }
    }
}

/// The kind and the bits of a scalar.
fn bits(scalar: &Scalar) -> (u8, u64) {
    match *scalar {
        Scalar::Bool(value) => (0, u64::from(value)),
        Scalar::Int(value) => (1, value as u64),
        Scalar::Float(value) => (2, value.to_bits()),
    }
}

fn has_same_scalars(a: &Program, b: &Program) -> bool {
    let (a, b) = (a.scalars(), b.scalars());
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| bits(a) == bits(b))
}

/// Hashes a program by a word for each instruction: a field at a time takes longer than all the rest of a launch.
fn sketch<H: Hasher>(program: &Program, state: &mut H) {
    for inst in program.insts() {
        let bytes = match inst.op {
            Op::Input(number) => [0, 0, number, 0, 0],
            Op::Scalar(number) => [1, 0, number, 0, 0],
            Op::Iota(axis) => [2, 0, axis, 0, 0],
            Op::Random { key, word } => [3, 0, key, word, 0],
            Op::Unary(op, a) => [4, op as u8, a.0, 0, 0],
            Op::Binary(op, a, b) => [5, op as u8, a.0, b.0, 0],
            Op::Compare(op, a, b) => [6, op as u8, a.0, b.0, 0],
            Op::Ternary(op, a, b, c) => [7, op as u8, a.0, b.0, c.0],
            Op::Cast(a) => [8, 0, a.0, 0, 0],
        };
        let [kind, op, a, b, c] = bytes;
        state.write_u64(u64::from_le_bytes([kind, op, a, b, c, inst.dtype as u8, 0, 0]));
    }
    for scalar in program.scalars() {
        state.write_u64(bits(scalar).1);
    }
    for output in program.outputs() {
        state.write_u8(output.0);
    }
}

/// What is to be run, besides the operands.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation<'a> {
    Pointwise(Exact<'a>),
    Reduce(ReduceOp, Exact<'a>, Part<'a, Shape>, Part<'a, [usize]>),
    Scan(ScanOp, usize),
    Matmul,
    Gather(usize),
    Scatter(ScatterOp, usize),
    Sort(usize, bool),
    Softmax(usize, bool),
    Rows(ExactSteps<'a>, Part<'a, Shape>, Part<'a, [usize]>),
}

impl Operation<'_> {
    fn kept(&self) -> Operation<'static> {
        match *self {
            Self::Pointwise(ref program) => Operation::Pointwise(Exact(program.0.kept())),
            Self::Reduce(op, ref program, ref shape, ref axes) => {
                Operation::Reduce(op, Exact(program.0.kept()), shape.kept(), Part::Kept((**axes).into()))
            }
            Self::Scan(op, axis) => Operation::Scan(op, axis),
            Self::Matmul => Operation::Matmul,
            Self::Gather(axis) => Operation::Gather(axis),
            Self::Scatter(op, axis) => Operation::Scatter(op, axis),
            Self::Sort(axis, descending) => Operation::Sort(axis, descending),
            Self::Softmax(axis, log) => Operation::Softmax(axis, log),
            Self::Rows(ref steps, ref shape, ref axes) => {
                let steps = ExactSteps(Part::Kept(steps.0.to_vec().into()));
                Operation::Rows(steps, shape.kept(), Part::Kept((**axes).into()))
            }
        }
    }
}

/// An operand: a tensor, or the output of a number as an input.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operand<'a> {
    Tensor(Part<'a, Layout>, DType),
    Output(usize),
}

impl<'a> Operand<'a> {
    pub(crate) fn new(tensor: Tensor<'a>) -> Self {
        Self::Tensor(Part::Lent(tensor.layout), tensor.dtype)
    }
}

/// Everything a plan depends on besides the device.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key<'a> {
    pub(crate) operation: Operation<'a>,
    pub(crate) operands: Part<'a, [Operand<'a>]>,
}

impl Key<'_> {
    fn kept(&self) -> Key<'static> {
        let operands = self.operands.iter().map(|operand| match operand {
            Operand::Tensor(layout, dtype) => Operand::Tensor(layout.kept(), *dtype),
            Operand::Output(number) => Operand::Output(*number),
        });
        Key { operation: self.operation.kept(), operands: Part::Kept(operands.collect()) }
    }
}

/// A plan whose kernels are compiled.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) temps: Vec<usize>,
    pub(crate) launches: Vec<Launch>,
}

#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) function: Function,
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) params: Params,
    pub(crate) slots: SmallVec<[Slot; 8]>,
}

/// A quick hash of short keys: multiply and rotate by words, as Firefox and rustc do. Keys come from the program itself, and
/// the map compares them, so nothing has to resist an attack.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QuickHasher(u64);

impl Hasher for QuickHasher {
    fn finish(&self) -> u64 {
        // The map uses the top bits and the bottom ones.
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for &word in words {
            self.write_u64(u64::from_le_bytes(word));
        }
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

/// A map with quick hashes.
pub(crate) type QuickMap<K, V> = HashMap<K, V, BuildHasherDefault<QuickHasher>>;

/// The plans of a device.
#[derive(Debug, Default)]
pub(crate) struct Plans(RwLock<QuickMap<Key<'static>, Arc<Ready>>>);

/// How many plans are kept. Programs that loop use far fewer; those that never repeat a shape must not fill the memory.
const KEPT: usize = 4096;

impl Plans {
    fn get<'a>(&self, key: &Key<'a>) -> Option<Arc<Ready>> {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // What is kept lives longer than what it is asked with.
        let plans: &QuickMap<Key<'a>, Arc<Ready>> = &held;
        plans.get(key).map(Arc::clone)
    }

    fn keep(&self, key: &Key<'_>, ready: Arc<Ready>) {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= KEPT {
            held.clear();
        }
        held.insert(key.kept(), ready);
    }
}

impl Device {
    /// Compiles what a plan runs.
    pub(crate) fn prepare(&self, plan: Plan) -> Result<Ready> {
        let launches = plan.launches.into_iter().map(|launch| {
            let group = launch.kernel.group(&self.target);
            let mut grid = [0; 3];
            for (axis, blocks) in grid.iter_mut().enumerate() {
                let count = launch.items[axis] / group[axis];
                let most = if axis == 0 { i32::MAX as usize } else { u16::MAX as usize };
                if count > most {
                    let reason = format!("{count} blocks along axis {axis} of a kernel's grid are more than {most}");
                    return Err(device_error(&self.label, "launching a kernel", reason));
                }
                *blocks = count as u32;
            }
            let function = self.function(&launch.kernel)?;
            let block = group.map(|size| size as u32);
            Ok(Launch { function, grid, block, params: launch.params, slots: launch.slots })
        });
        Ok(Ready { temps: plan.temps, launches: launches.collect::<Result<_>>()? })
    }
}

impl Cuda {
    /// Runs an operation on buffers of this device, as many as the key has operands. `plan` plans it where it is new.
    pub(crate) fn run(
        &self,
        op: &'static str,
        key: &Key<'_>,
        plan: impl FnOnce(&Self) -> Plan,
        inputs: &[&Buffer],
        outputs: &[&Buffer],
    ) -> Result<()> {
        let device = self.0;
        debug_assert!(
            inputs.iter().chain(outputs).all(|buffer| buffer.is_on(device)),
            "buffers stay with their device"
        );
        let ready = match device.plans.get(key) {
            Some(ready) => ready,
            None => {
                let ready = Arc::new(device.prepare(plan(self))?);
                device.plans.keep(key, Arc::clone(&ready));
                ready
            }
        };
        device.note(inputs);
        device.note(outputs);
        let mut temps: SmallVec<[Buffer; 4]> = SmallVec::new();
        for &bytes in &ready.temps {
            temps.push(self.alloc(bytes)?);
        }
        for launch in &ready.launches {
            // Collecting so few takes longer than pushing them.
            let mut addresses: SmallVec<[u64; 17]> = SmallVec::new();
            for &slot in &launch.slots {
                addresses.push(match slot {
                    Slot::Input(number) => inputs[number].address(),
                    Slot::Output(number) => outputs[number].address(),
                    Slot::Temp(number) => temps[number].address(),
                });
            }
            let launched = device.with_memory(|| {
                // SAFETY: parameters and slots come from the plan that the kernel's source comes from, in the order of its
                // declaration. The plan stays within buffers that are as large as their layouts say, which the core promises
                // of every view, and temporary memory has the plan's own sizes. When `temps` are dropped, their memory is used
                // again only by work that is submitted, and so runs, after this.
                unsafe { device.gpu.launch(launch.function, launch.grid, launch.block, &launch.params, &addresses) }
            });
            launched
                .map_err(|code| device.error_of_bytes(op, code, outputs.iter().map(|buffer| buffer.bytes()).sum()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor_core::op::BinaryOp;

    fn key(scalar: f64, dims: &[usize]) -> Key<'static> {
        let mut program = Program::new();
        let x = program.input(DType::F32);
        let factor = program.scalar(Scalar::Float(scalar), DType::F32);
        let y = program.binary(BinaryOp::Mul, x, factor);
        program.output(y);
        let layout = Layout::contiguous(Shape::new(dims).unwrap());
        let operand = || Operand::Tensor(Part::Kept(Box::new(layout.clone())), DType::F32);
        Key {
            operation: Operation::Pointwise(Exact(Part::Kept(Box::new(program)))),
            operands: Part::Kept([operand(), operand()].into_iter().collect()),
        }
    }

    #[test]
    fn keys_differ_where_plans_do() {
        assert_eq!(key(2.0, &[3, 4]), key(2.0, &[3, 4]));
        assert_ne!(key(2.0, &[3, 4]), key(2.5, &[3, 4]), "scalars are parameters of the plan");
        assert_ne!(key(2.0, &[3, 4]), key(2.0, &[4, 3]));
        assert_ne!(key(0.0, &[3, 4]), key(-0.0, &[3, 4]));
        assert_eq!(key(f64::NAN, &[3, 4]), key(f64::NAN, &[3, 4]));
    }

    #[test]
    fn plans_do_not_fill_the_memory() {
        let plans = Plans::default();
        let ready = || Arc::new(Ready { temps: Vec::new(), launches: Vec::new() });
        for number in 0..3 * KEPT {
            plans.keep(&key(number as f64, &[3]), ready());
        }
        let held = plans.0.read().unwrap().len();
        assert!(held > 0 && held <= KEPT);
        assert!(plans.get(&key((3 * KEPT - 1) as f64, &[3])).is_some());
        assert!(plans.get(&key(0.5, &[3])).is_none());
    }
}
