//! Runs the conformance kit on a device and prints what it found: a table of operations and dtypes.
//!
//! ```text
//! cargo run --release --example conformance --features conformance -- cpu
//! cargo run --release --example conformance --features conformance,opencl -- opencl:0 reduce/
//! ```
//!
//! The second argument chooses the cases whose names contain it. `cargo xtask conformance --backend cpu` does the same.

use gradix::Device;
use std::process::ExitCode;
use tensor_core::conformance::Report;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(name) = arguments.first() else {
        println!("usage: conformance DEVICE [FILTER]\nA device is cpu, cuda:N, opencl:N or reference.");
        return ExitCode::SUCCESS;
    };
    let device: Device = match name.parse() {
        Ok(device) => device,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let report = Report::of(&device, arguments.get(1).map_or("", String::as_str));
    println!("{report}");
    if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
