//! A backend on its way from minimal to native: some methods have kernels, some have kernels for some cases, the others still
//! fall back; and the conformance kit tells which is which. `docs/adding-a-backend.md` explains it step by step.
//!
//! ```text
//! cargo run --example growing_backend --features conformance
//! ```

use bytemuck::{cast_slice, pod_collect_to_vec};
use std::borrow::Cow;
use std::process::ExitCode;
use std::sync::Arc;
use tensor_core::conformance::Report;
use tensor_core::op::{BinaryOp, UnaryOp, math};
use tensor_core::program::{Inst, Op};
use tensor_core::reference::positions;
use tensor_core::{
    Backend, DType, DeviceInfo, DeviceKind, Error, ErrorKind, Input, Layout, Program, ReduceOp, ReduceSpec, Result,
    Shape, View, ViewMut, fallback,
};

/// A handle to the device.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Growing;

/// Memory of the device.
#[derive(Clone, Debug)]
struct Buffer(Arc<Vec<u8>>);

impl Buffer {
    /// The bytes to write; the core passes only buffers that nobody else holds.
    fn bytes_mut(&mut self) -> &mut [u8] {
        Arc::get_mut(&mut self.0).expect("nobody else holds a buffer that is written")
    }

    /// The numbers of a dense vector of f32.
    fn numbers(&self, layout: &Layout) -> Vec<f32> {
        let (start, count) = (4 * layout.offset(), 4 * layout.numel());
        pod_collect_to_vec(&self.0[start..start + count])
    }

    /// Writes the numbers of a dense vector of f32.
    fn set_numbers(&mut self, layout: &Layout, numbers: &[f32]) {
        let start = 4 * layout.offset();
        self.bytes_mut()[start..start + 4 * numbers.len()].copy_from_slice(cast_slice(numbers));
    }
}

impl Backend for Growing {
    type Buffer = Buffer;

    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            name: "the example's memory".to_owned(),
            kind: DeviceKind::Accelerator,
            memory: None,
            dtypes: DType::ALL.to_vec(),
        }
    }

    fn label(&self) -> Cow<'static, str> {
        "growing".into()
    }

    fn alloc(&self, bytes: usize) -> Result<Buffer> {
        let mut memory = Vec::new();
        memory
            .try_reserve_exact(bytes)
            .map_err(|_full| Error::new(ErrorKind::OutOfMemory { device: self.label().into_owned(), bytes }))?;
        memory.resize(bytes, 0);
        Ok(Buffer(Arc::new(memory)))
    }

    fn write(&self, buffer: &mut Buffer, offset: usize, bytes: &[u8]) -> Result<()> {
        buffer.bytes_mut()[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read(&self, buffer: &Buffer, offset: usize, bytes: &mut [u8]) -> Result<()> {
        bytes.copy_from_slice(&buffer.0[offset..offset + bytes.len()]);
        Ok(())
    }

    fn size(&self, buffer: &Buffer) -> usize {
        buffer.0.len()
    }

    fn is_unique(&self, buffer: &mut Buffer) -> bool {
        Arc::get_mut(&mut buffer.0).is_some()
    }

    fn is_same(&self, a: &Buffer, b: &Buffer) -> bool {
        Arc::ptr_eq(&a.0, &b.0)
    }

    fn reads_are_free(&self) -> bool {
        true
    }

    fn gather(&self, axis: usize, input: View<'_, Self>, index: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        let size = input.dtype.size();
        let (from, indices, to) = (&input.buffer.0, &index.buffer.0, out.buffer.bytes_mut());
        for mut position in positions(out.layout.dims()) {
            let target = size * out.layout.index(&position);
            let place = 8 * index.layout.index(&position);
            let chosen: [u8; 8] = indices[place..place + 8].try_into().expect("an index has eight bytes");
            position[axis] = i64::from_ne_bytes(chosen) as usize;
            let source = size * input.layout.index(&position);
            to[target..target + size].copy_from_slice(&from[source..source + size]);
        }
        Ok(())
    }

    fn pointwise(
        &self,
        program: &Program,
        shape: &Shape,
        inputs: &[Input<'_, Self>],
        outputs: &mut [ViewMut<'_, Self>],
    ) -> Result<()> {
        let dense = |input: &Input<'_, Self>| matches!(input, Input::View(view) if view.layout.is_contiguous());
        let native = program.insts().iter().all(has_kernel)
            && inputs.iter().all(dense)
            && outputs.iter().all(|out| out.layout.is_contiguous());
        if !native {
            return fallback::pointwise(self, program, shape, inputs, outputs);
        }
        let mut registers: Vec<Vec<f32>> = Vec::new();
        for inst in program.insts() {
            let register = match inst.op {
                Op::Input(number) => match &inputs[number as usize] {
                    Input::View(view) => view.buffer.numbers(view.layout),
                    Input::Output(_) => unreachable!("a program with one is left to the fallback"),
                },
                Op::Scalar(number) => vec![program.scalars()[number as usize].as_f64() as f32; shape.numel()],
                Op::Unary(op, a) => {
                    let kernel = unary_kernel(op).expect("the program was looked at");
                    registers[a.index()].iter().map(|&a| kernel(a)).collect()
                }
                Op::Binary(op, a, b) => {
                    let kernel = binary_kernel(op).expect("the program was looked at");
                    let pairs = registers[a.index()].iter().zip(&registers[b.index()]);
                    pairs.map(|(&a, &b)| kernel(a, b)).collect()
                }
                Op::Iota(_) | Op::Random { .. } | Op::Compare(..) | Op::Ternary(..) | Op::Cast(_) => {
                    unreachable!("a program with one is left to the fallback")
                }
            };
            registers.push(register);
        }
        for (out, reg) in outputs.iter_mut().zip(program.outputs()) {
            out.buffer.set_numbers(out.layout, &registers[reg.index()]);
        }
        Ok(())
    }

    fn reduce(&self, spec: &ReduceSpec<'_>, inputs: &[View<'_, Self>], out: ViewMut<'_, Self>) -> Result<()> {
        let last = spec.shape.rank() - 1;
        let native = spec.prologue.is_copy()
            && inputs[0].dtype == DType::F32
            && inputs[0].layout.is_contiguous()
            && out.layout.is_contiguous()
            && spec.axes == [last]
            && matches!(spec.op, ReduceOp::Sum | ReduceOp::Max);
        if !native {
            return fallback::reduce(self, spec, inputs, out);
        }
        let numbers = inputs[0].buffer.numbers(inputs[0].layout);
        let lines = numbers.chunks_exact(spec.shape.dims()[last]);
        let results: Vec<f32> = match spec.op {
            ReduceOp::Sum => lines.map(pairwise_sum).collect(),
            _ => lines.map(|line| line.iter().copied().fold(f32::NEG_INFINITY, larger)).collect(),
        };
        out.buffer.set_numbers(out.layout, &results);
        Ok(())
    }
}

/// Whether there is a kernel for an instruction, in its dtype.
fn has_kernel(inst: &Inst) -> bool {
    inst.dtype == DType::F32
        && match inst.op {
            Op::Input(_) | Op::Scalar(_) => true,
            Op::Unary(op, _) => unary_kernel(op).is_some(),
            Op::Binary(op, _, _) => binary_kernel(op).is_some(),
            Op::Iota(_) | Op::Random { .. } | Op::Compare(..) | Op::Ternary(..) | Op::Cast(_) => false,
        }
}

fn unary_kernel(op: UnaryOp) -> Option<fn(f32) -> f32> {
    Some(match op {
        UnaryOp::Neg => |a| -a,
        UnaryOp::Abs => f32::abs,
        UnaryOp::Sqrt => f32::sqrt,
        UnaryOp::Square => |a| a * a,
        UnaryOp::Exp => f32::exp,
        // Computed in f64, where the standard library has nothing for f32.
        UnaryOp::Sigmoid => |a| math::sigmoid(a.into()) as f32,
        _ => return None,
    })
}

fn binary_kernel(op: BinaryOp) -> Option<fn(f32, f32) -> f32> {
    Some(match op {
        BinaryOp::Add => |a, b| a + b,
        BinaryOp::Sub => |a, b| a - b,
        BinaryOp::Mul => |a, b| a * b,
        BinaryOp::Div => |a, b| a / b,
        BinaryOp::Maximum => larger,
        _ => return None,
    })
}

/// The larger one, or NaN: `f32::max` would leave NaN out.
fn larger(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

/// A sum whose error grows with the logarithm of the length.
fn pairwise_sum(numbers: &[f32]) -> f32 {
    if numbers.len() <= 8 {
        return numbers.iter().sum();
    }
    let (left, right) = numbers.split_at(numbers.len() / 2);
    pairwise_sum(left) + pairwise_sum(right)
}

fn main() -> ExitCode {
    let filter = std::env::args().nth(1).unwrap_or_else(|| "f32".to_owned());
    let report = Report::of(&Growing, &filter);
    println!("{report}");
    if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
