//! Gradients on the first CUDA device. All memory has to be given back at the end.

use autograd::conformance::run_chosen;
use backend_cuda::Cuda;
use std::process::ExitCode;
use tensor_core::Array;

/// As on OpenCL, the table of gradients is checked where nothing is fused, with `GRADIX_EAGER=1`: every check of it fuses its
/// operations in a way of its own, and compiling each kernel takes a while. Everything else is checked both ways.
fn main() -> ExitCode {
    let fuses = tensor_core::fusion_enabled();
    let before = in_use();
    let code = run_chosen(Cuda::open(0), |case| !fuses || !case.name.starts_with("table/"));
    let after = in_use();
    if before == after {
        return code;
    }
    eprintln!("memory was not given back: {before:?} bytes were in use at the start, and {after:?} are at the end");
    ExitCode::FAILURE
}

/// How many bytes of the device's memory are in use, if there is one.
fn in_use() -> Option<usize> {
    let device = Cuda::open(0).ok()?;
    // After the first product cuBLASLt has the workspace that it keeps.
    let one = Array::from_slice(&device, &[1_f32], [1, 1]).and_then(|one| one.matmul(&one)?.to_vec::<f32>());
    assert_eq!(one.expect("a product"), [1.0]);
    Some(device.stats().in_use)
}
