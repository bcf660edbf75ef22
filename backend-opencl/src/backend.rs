//! The [`Backend`] of OpenCL devices.

use crate::{Buffer, OpenCl};
use smallvec::SmallVec;
use std::borrow::Cow;
use tensor_core::codegen::{self, Source, Tensor};
use tensor_core::matmul::by_plain_product;
use tensor_core::{
    Backend, DeviceInfo, Error, ErrorKind, Input, MatmulSpec, Program, ReduceSpec, Result, ScanOp, ScatterOp, Shape,
    View, ViewMut,
};

impl OpenCl {
    fn out_of_memory(&self, bytes: usize) -> Error {
        Error::new(ErrorKind::OutOfMemory { device: self.0.label.clone(), bytes })
    }
}

impl Backend for OpenCl {
    type Buffer = Buffer;

    fn info(&self) -> DeviceInfo {
        let description = &self.0.description;
        DeviceInfo {
            name: description.name.clone(),
            kind: description.kind,
            memory: Some(description.memory),
            dtypes: description.dtypes(),
        }
    }

    fn label(&self) -> Cow<'static, str> {
        self.0.label.clone().into()
    }

    fn alloc(&self, bytes: usize) -> Result<Buffer> {
        let description = &self.0.description;
        if bytes == 0 {
            return Ok(Buffer::new(None, 0, description.index));
        }
        // Some runtimes accept what they cannot hold and fail, or kill the program, when it is first used.
        if bytes as u64 > description.max_allocation.min(description.memory) {
            return Err(self.out_of_memory(bytes));
        }
        match self.0.context.memory(bytes) {
            Ok(memory) => Ok(Buffer::new(Some(memory), bytes, description.index)),
            Err(code) if code.is_out_of_memory() => Err(self.out_of_memory(bytes)),
            Err(code) => Err(self.0.error("allocating", code)),
        }
    }

    fn write(&self, buffer: &mut Buffer, offset: usize, bytes: &[u8]) -> Result<()> {
        let Some(memory) = buffer.memory().filter(|_| !bytes.is_empty()) else {
            return Ok(());
        };
        assert!(offset + bytes.len() <= buffer.bytes(), "the range lies within the buffer");
        // SAFETY: the range was just checked. A buffer of another device has memory of another context, which OpenCL
        // refuses.
        unsafe { self.0.queue.write(memory, offset, bytes) }.map_err(|code| self.0.error("writing memory", code))
    }

    fn read(&self, buffer: &Buffer, offset: usize, bytes: &mut [u8]) -> Result<()> {
        let Some(memory) = buffer.memory().filter(|_| !bytes.is_empty()) else {
            return Ok(());
        };
        assert!(offset + bytes.len() <= buffer.bytes(), "the range lies within the buffer");
        // SAFETY: the range was just checked. A buffer of another device has memory of another context, which OpenCL
        // refuses.
        unsafe { self.0.queue.read(memory, offset, bytes) }.map_err(|code| self.0.error("reading memory", code))
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
        self.0.queue.finish().map_err(|code| self.0.error("synchronizing", code))
    }

    fn copy_to(&self, buffer: &Buffer, target: &Self) -> Result<Buffer> {
        let bytes = buffer.bytes();
        let mut copy = target.alloc(bytes)?;
        let (Some(from), Some(to)) = (buffer.memory(), copy.memory()) else {
            return Ok(copy);
        };
        if self == target && buffer.device() == copy.device() {
            // SAFETY: both have as many bytes, and the new one is another.
            unsafe { self.0.queue.copy(from, to, bytes) }.map_err(|code| self.0.error("copying memory", code))?;
        } else {
            let mut held = vec![0; bytes];
            self.read(buffer, 0, &mut held)?;
            target.write(&mut copy, 0, &held)?;
        }
        Ok(copy)
    }

    fn pointwise(
        &self,
        program: &Program,
        shape: &Shape,
        inputs: &[Input<'_, Self>],
        outputs: &mut [ViewMut<'_, Self>],
    ) -> Result<()> {
        let sources: SmallVec<[Source<'_>; 8]> = inputs
            .iter()
            .map(|input| match input {
                Input::View(view) => Source::Tensor(tensor(view)),
                Input::Output(number) => Source::Output(*number),
            })
            .collect();
        let results: SmallVec<[Tensor<'_>; 4]> = outputs.iter().map(result).collect();
        let plan = codegen::pointwise(program, shape, &sources, &results, &self.0.target);
        // An input that is an output has no slot of its own; any buffer may stand in its place.
        let first = &*outputs[0].buffer;
        let from: SmallVec<[&Buffer; 8]> = inputs
            .iter()
            .map(|input| match input {
                Input::View(view) => view.buffer,
                Input::Output(_) => first,
            })
            .collect();
        let to: SmallVec<[&Buffer; 4]> = outputs.iter().map(|out| &*out.buffer).collect();
        self.run("pointwise", &plan, &from, &to)
    }

    fn reduce(&self, spec: &ReduceSpec<'_>, inputs: &[View<'_, Self>], out: ViewMut<'_, Self>) -> Result<()> {
        let tensors: SmallVec<[Tensor<'_>; 8]> = inputs.iter().map(tensor).collect();
        let plan = codegen::reduce(spec, &tensors, result(&out), &self.0.target);
        let from: SmallVec<[&Buffer; 8]> = inputs.iter().map(|view| view.buffer).collect();
        self.run(spec.op.name(), &plan, &from, &[out.buffer])
    }

    fn scan(&self, op: ScanOp, axis: usize, input: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        let plan = codegen::scan(op, axis, tensor(&input), result(&out), &self.0.target);
        self.run(op.name(), &plan, &[input.buffer], &[out.buffer])
    }

    fn matmul(
        &self,
        spec: &MatmulSpec<'_>,
        a: View<'_, Self>,
        b: View<'_, Self>,
        extras: &[View<'_, Self>],
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        by_plain_product(self, spec, [a, b], extras, out, |a, b, out| {
            let plan = codegen::matmul(tensor(&a), tensor(&b), result(&out), &self.0.target);
            self.run("matmul", &plan, &[a.buffer, b.buffer], &[out.buffer])
        })
    }

    fn gather(&self, axis: usize, input: View<'_, Self>, index: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        let plan = codegen::gather(axis, tensor(&input), tensor(&index), result(&out), &self.0.target);
        self.run("gather", &plan, &[input.buffer, index.buffer], &[out.buffer])
    }

    fn scatter(
        &self,
        op: ScatterOp,
        axis: usize,
        index: View<'_, Self>,
        src: View<'_, Self>,
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        let plan = codegen::scatter(op, axis, tensor(&index), tensor(&src), result(&out), &self.0.target);
        self.run(op.name(), &plan, &[index.buffer, src.buffer], &[out.buffer])
    }

    fn sort(
        &self,
        axis: usize,
        descending: bool,
        input: View<'_, Self>,
        values: ViewMut<'_, Self>,
        indices: ViewMut<'_, Self>,
    ) -> Result<()> {
        let target = &self.0.target;
        let plan = codegen::sort(axis, descending, tensor(&input), result(&values), result(&indices), target);
        self.run("sort", &plan, &[input.buffer], &[values.buffer, indices.buffer])
    }

    fn softmax(&self, axis: usize, log: bool, input: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        let plan = codegen::softmax(axis, log, tensor(&input), result(&out), &self.0.target);
        self.run(if log { "log_softmax" } else { "softmax" }, &plan, &[input.buffer], &[out.buffer])
    }
}

fn tensor<'a>(view: &View<'a, OpenCl>) -> Tensor<'a> {
    Tensor { layout: view.layout, dtype: view.dtype }
}

fn result<'a>(view: &ViewMut<'a, OpenCl>) -> Tensor<'a> {
    Tensor { layout: view.layout, dtype: view.dtype }
}
