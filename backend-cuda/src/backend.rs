//! The [`Backend`] of CUDA devices.

use crate::plans::{Exact, ExactSteps, Key, Operand, Operation, Part};
use crate::{Buffer, Cuda, matmul};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::PoisonError;
use tensor_core::codegen::{self, Source, Tensor};
use tensor_core::matmul::{by_plain_product, run_epilogue};
use tensor_core::rows::RowSpec;
use tensor_core::{
    Backend, DType, DeviceInfo, DeviceKind, Error, ErrorKind, Input, MatmulSpec, Program, ReduceSpec, Result, ScanOp,
    ScatterOp, Shape, View, ViewMut,
};

impl Cuda {
    fn out_of_memory(&self, bytes: usize) -> Error {
        Error::new(ErrorKind::OutOfMemory { device: self.0.label.clone(), bytes })
    }

    /// An error unless the range lies within the buffer and the buffer on this device: what follows is a copy by address.
    fn check_range(&self, op: &'static str, buffer: &Buffer, offset: usize, bytes: usize) -> Result<()> {
        if !buffer.is_on(self.0) {
            return Err(crate::device::device_error(&self.0.label, op, format!("{buffer:?} is on another device")));
        }
        assert!(offset.checked_add(bytes).is_some_and(|end| end <= buffer.bytes()), "the range lies within the buffer");
        Ok(())
    }

    /// An error if this thread records a graph: recorded work has not run, so there is nothing to wait for.
    fn expect_running(&self, op: &'static str) -> Result<()> {
        if !crate::driver::is_recording() {
            return Ok(());
        }
        let reason =
            "a graph is being captured on this thread, and what is captured has not run: read values before or after";
        Err(crate::device::device_error(&self.0.label, op, reason))
    }
}

impl Backend for Cuda {
    type Buffer = Buffer;

    fn info(&self) -> DeviceInfo {
        let description = &self.0.description;
        DeviceInfo {
            name: description.name.clone(),
            kind: DeviceKind::Gpu,
            memory: Some(description.memory),
            dtypes: DType::ALL.to_vec(),
        }
    }

    fn label(&self) -> Cow<'static, str> {
        self.0.label.as_str().into()
    }

    fn alloc(&self, bytes: usize) -> Result<Buffer> {
        if bytes == 0 {
            return Ok(Buffer::new(None, 0, self.0));
        }
        if bytes as u64 > self.0.description.memory {
            return Err(self.out_of_memory(bytes));
        }
        match self.0.pool.acquire(bytes, &self.0.gpu) {
            Ok(piece) => Ok(Buffer::new(Some(piece), bytes, self.0)),
            Err(code) if code.is_out_of_memory() => Err(self.out_of_memory(bytes)),
            Err(code) => Err(self.0.error("allocating", code)),
        }
    }

    fn write(&self, buffer: &mut Buffer, offset: usize, bytes: &[u8]) -> Result<()> {
        self.check_range("writing memory", buffer, offset, bytes.len())?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.0.note(&[buffer]);
        // SAFETY: the range was just checked to lie within the buffer, and the buffer on this device.
        unsafe { self.0.staging.write(&self.0.gpu, buffer.address() + offset as u64, bytes) }
            .map_err(|code| self.0.error("writing memory", code))
    }

    fn read(&self, buffer: &Buffer, offset: usize, bytes: &mut [u8]) -> Result<()> {
        self.check_range("reading memory", buffer, offset, bytes.len())?;
        self.expect_running("reading memory")?;
        if bytes.is_empty() {
            return Ok(());
        }
        // SAFETY: the range was just checked to lie within the buffer, and the buffer on this device.
        unsafe { self.0.staging.read(&self.0.gpu, buffer.address() + offset as u64, bytes) }
            .map_err(|code| self.0.error("reading memory", code))
    }

    fn size(&self, buffer: &Buffer) -> usize {
        buffer.bytes()
    }

    fn is_unique(&self, buffer: &mut Buffer) -> bool {
        buffer.is_unique()
    }

    fn is_same(&self, a: &Buffer, b: &Buffer) -> bool {
        a.is_same(b)
    }

    fn synchronize(&self) -> Result<()> {
        self.expect_running("synchronizing")?;
        self.0.gpu.synchronize().map_err(|code| self.0.error("synchronizing", code))
    }

    fn copy_to(&self, buffer: &Buffer, target: &Self) -> Result<Buffer> {
        let bytes = buffer.bytes();
        self.check_range("copying memory", buffer, 0, bytes)?;
        if self != target {
            self.expect_running("copying memory to another device")?;
        }
        let copy = target.alloc(bytes)?;
        if bytes == 0 {
            return Ok(copy);
        }
        let (from, to) = (buffer.address(), copy.address());
        let copied = if self == target {
            self.0.note(&[buffer, &copy]);
            // SAFETY: both buffers are on this device and have as many bytes, and the new one is another.
            unsafe { self.0.gpu.copy(to, from, bytes) }
        } else {
            let number = target.0.description.index;
            let mut ways = self.0.ways.lock().unwrap_or_else(PoisonError::into_inner);
            if !ways.contains(&number) {
                self.0.gpu.open_way_to(&target.0.gpu);
                ways.push(number);
            }
            drop(ways);
            // SAFETY: the buffers have as many bytes, the old one on this device and the new one on the other.
            unsafe { self.0.gpu.copy_to(&target.0.gpu, to, from, bytes) }
        };
        copied.map_err(|code| self.0.error("copying memory", code))?;
        Ok(copy)
    }

    fn pointwise(
        &self,
        program: &Program,
        shape: &Shape,
        inputs: &[Input<'_, Self>],
        outputs: &mut [ViewMut<'_, Self>],
    ) -> Result<()> {
        // An input that is an output has no slot of its own; any buffer may stand in its place.
        let first = &*outputs[0].buffer;
        let mut operands: SmallVec<[Operand<'_>; 6]> = SmallVec::new();
        let mut from: SmallVec<[&Buffer; 8]> = SmallVec::new();
        let mut to: SmallVec<[&Buffer; 8]> = SmallVec::new();
        for input in inputs {
            operands.push(match input {
                Input::View(view) => Operand::new(tensor(view)),
                Input::Output(number) => Operand::Output(*number),
            });
            from.push(match input {
                Input::View(view) => view.buffer,
                Input::Output(_) => first,
            });
        }
        for out in &*outputs {
            operands.push(Operand::new(result(out)));
            to.push(&*out.buffer);
        }
        let operation = Operation::Pointwise(Exact(Part::Lent(program)));
        let key = Key { operation, operands: Part::Lent(&operands) };
        let plan = |this: &Self| {
            let sources: SmallVec<[Source<'_>; 8]> = inputs
                .iter()
                .map(|input| match input {
                    Input::View(view) => Source::Tensor(tensor(view)),
                    Input::Output(number) => Source::Output(*number),
                })
                .collect();
            let results: SmallVec<[Tensor<'_>; 4]> = outputs.iter().map(result).collect();
            codegen::pointwise(program, shape, &sources, &results, &this.0.target)
        };
        self.run("pointwise", &key, plan, &from, &to)
    }

    fn reduce(&self, spec: &ReduceSpec<'_>, inputs: &[View<'_, Self>], out: ViewMut<'_, Self>) -> Result<()> {
        let prologue = Exact(Part::Lent(spec.prologue));
        let operation = Operation::Reduce(spec.op, prologue, Part::Lent(spec.shape), Part::Lent(spec.axes));
        self.run_of(spec.op.name(), operation, inputs, &out, |this, tensors| {
            codegen::reduce(spec, tensors, result(&out), &this.0.target)
        })
    }

    fn scan(&self, op: ScanOp, axis: usize, input: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        let operands = operands([tensor(&input), result(&out)]);
        let key = Key { operation: Operation::Scan(op, axis), operands: Part::Lent(&operands) };
        let plan = |this: &Self| codegen::scan(op, axis, tensor(&input), result(&out), &this.0.target);
        self.run(op.name(), &key, plan, &[input.buffer], &[&*out.buffer])
    }

    fn matmul(
        &self,
        spec: &MatmulSpec<'_>,
        a: View<'_, Self>,
        b: View<'_, Self>,
        extras: &[View<'_, Self>],
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        let epilogue = matmul::epilogue(spec, extras, &out);
        let product = MatmulSpec { epilogue: None, ..*spec };
        let whole = ViewMut { buffer: &mut *out.buffer, layout: out.layout, dtype: out.dtype };
        let mut is_complete = false;
        by_plain_product(self, &product, [a, b], &[], whole, |a, b, out| {
            self.0.note(&[a.buffer, b.buffer, &*out.buffer]);
            if let Some(epilogue) = epilogue {
                if let Some(bias) = epilogue.bias {
                    self.0.note(&[bias.buffer]);
                }
                is_complete = self.matmul_by_blas(&a, &b, Some(epilogue), &out)?;
            }
            if is_complete || self.matmul_by_blas(&a, &b, None, &out)? {
                return Ok(());
            }
            let operands = operands([tensor(&a), tensor(&b), result(&out)]);
            let key = Key { operation: Operation::Matmul, operands: Part::Lent(&operands) };
            let plan = |this: &Self| codegen::matmul(tensor(&a), tensor(&b), result(&out), &this.0.target);
            self.run("matmul", &key, plan, &[a.buffer, b.buffer], &[&*out.buffer])
        })?;
        if is_complete { Ok(()) } else { run_epilogue(self, spec, extras, out) }
    }

    fn gather(&self, axis: usize, input: View<'_, Self>, index: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        let operands = operands([tensor(&input), tensor(&index), result(&out)]);
        let key = Key { operation: Operation::Gather(axis), operands: Part::Lent(&operands) };
        let plan = |this: &Self| codegen::gather(axis, tensor(&input), tensor(&index), result(&out), &this.0.target);
        self.run("gather", &key, plan, &[input.buffer, index.buffer], &[&*out.buffer])
    }

    fn scatter(
        &self,
        op: ScatterOp,
        axis: usize,
        index: View<'_, Self>,
        src: View<'_, Self>,
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        let operands = operands([tensor(&index), tensor(&src), result(&out)]);
        let key = Key { operation: Operation::Scatter(op, axis), operands: Part::Lent(&operands) };
        let plan = |this: &Self| codegen::scatter(op, axis, tensor(&index), tensor(&src), result(&out), &this.0.target);
        self.run(op.name(), &key, plan, &[index.buffer, src.buffer], &[&*out.buffer])
    }

    fn sort(
        &self,
        axis: usize,
        descending: bool,
        input: View<'_, Self>,
        values: ViewMut<'_, Self>,
        indices: ViewMut<'_, Self>,
    ) -> Result<()> {
        let tensors = [tensor(&input), result(&values), result(&indices)];
        let operands = operands(tensors);
        let key = Key { operation: Operation::Sort(axis, descending), operands: Part::Lent(&operands) };
        let plan = |this: &Self| codegen::sort(axis, descending, tensors[0], tensors[1], tensors[2], &this.0.target);
        self.run("sort", &key, plan, &[input.buffer], &[&*values.buffer, &*indices.buffer])
    }

    fn softmax(&self, axis: usize, log: bool, input: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        let operands = operands([tensor(&input), result(&out)]);
        let key = Key { operation: Operation::Softmax(axis, log), operands: Part::Lent(&operands) };
        let plan = |this: &Self| codegen::softmax(axis, log, tensor(&input), result(&out), &this.0.target);
        self.run(if log { "log_softmax" } else { "softmax" }, &key, plan, &[input.buffer], &[&*out.buffer])
    }

    fn rows(&self, spec: &RowSpec<'_>, inputs: &[View<'_, Self>], out: ViewMut<'_, Self>) -> Result<()> {
        let steps = ExactSteps(Part::Lent(spec.steps));
        let operation = Operation::Rows(steps, Part::Lent(spec.shape), Part::Lent(spec.axes));
        self.run_of("rows", operation, inputs, &out, |this, tensors| {
            codegen::rows(spec, tensors, result(&out), &this.0.target)
        })
    }
}

impl Cuda {
    /// Runs an operation of some inputs and one output.
    fn run_of(
        &self,
        op: &'static str,
        operation: Operation<'_>,
        inputs: &[View<'_, Self>],
        out: &ViewMut<'_, Self>,
        plan: impl FnOnce(&Self, &[Tensor<'_>]) -> codegen::Plan,
    ) -> Result<()> {
        let mut operands: SmallVec<[Operand<'_>; 6]> = SmallVec::new();
        let mut from: SmallVec<[&Buffer; 8]> = SmallVec::new();
        for view in inputs {
            operands.push(Operand::new(tensor(view)));
            from.push(view.buffer);
        }
        operands.push(Operand::new(result(out)));
        let plan = |this: &Self| {
            let tensors: SmallVec<[Tensor<'_>; 8]> = inputs.iter().map(tensor).collect();
            plan(this, &tensors)
        };
        let key = Key { operation, operands: Part::Lent(&operands) };
        self.run(op, &key, plan, &from, &[&*out.buffer])
    }
}

fn operands<const N: usize>(tensors: [Tensor<'_>; N]) -> [Operand<'_>; N] {
    tensors.map(Operand::new)
}

fn tensor<'a>(view: &View<'a, Cuda>) -> Tensor<'a> {
    Tensor { layout: view.layout, dtype: view.dtype }
}

fn result<'a>(view: &ViewMut<'a, Cuda>) -> Tensor<'a> {
    Tensor { layout: view.layout, dtype: view.dtype }
}
