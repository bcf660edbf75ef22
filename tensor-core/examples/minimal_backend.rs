//! The smallest backend that works, as somebody outside of the project would write it: memory, and nothing else. All
//! computing falls back to the reference interpreter, and the conformance kit says so.
//!
//! ```text
//! cargo run --example minimal_backend --features conformance
//! cargo run --example minimal_backend --features conformance -- memory/
//! ```
//!
//! `docs/adding-a-backend.md` goes on from here.

use std::borrow::Cow;
use std::process::ExitCode;
use std::sync::Arc;
use tensor_core::conformance::Report;
use tensor_core::{Array, Backend, DType, DeviceInfo, DeviceKind, Error, ErrorKind, Result};

/// A handle to the device. There is one, so all handles are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Minimal;

/// Memory of the device. Here it is the host's; on a device of its own it would be a handle to what the driver gave.
#[derive(Clone, Debug)]
struct Buffer(Arc<Vec<u8>>);

impl Backend for Minimal {
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
        "minimal".into()
    }

    fn alloc(&self, bytes: usize) -> Result<Buffer> {
        let mut memory = Vec::new();
        // What the host has no memory for is an error, not the end of the program.
        memory
            .try_reserve_exact(bytes)
            .map_err(|_full| Error::new(ErrorKind::OutOfMemory { device: self.label().into_owned(), bytes }))?;
        memory.resize(bytes, 0);
        Ok(Buffer(Arc::new(memory)))
    }

    fn write(&self, buffer: &mut Buffer, offset: usize, bytes: &[u8]) -> Result<()> {
        let memory = Arc::get_mut(&mut buffer.0).expect("nobody else holds a buffer that is written");
        memory[offset..offset + bytes.len()].copy_from_slice(bytes);
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
}

fn main() -> ExitCode {
    // It computes already.
    let x = Array::from_slice(&Minimal, &[1.0_f32, 2.0, 3.0], [3]).expect("three numbers fit");
    let sum = x.add(1.0).and_then(|y| y.sum(&[], false)).and_then(|sum| sum.item()).expect("a sum of three numbers");
    println!("(1 + 1) + (2 + 1) + (3 + 1) = {sum}\n");

    let filter = std::env::args().nth(1).unwrap_or_default();
    let report = Report::of(&Minimal, &filter);
    println!("{report}");
    if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
