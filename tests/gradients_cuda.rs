//! Gradients on the first CUDA device.

use autograd::conformance::run_chosen;
use backend_cuda::Cuda;
use std::process::ExitCode;

/// As on OpenCL, the table of gradients is checked where nothing is fused, with `GRADIX_EAGER=1`: every check of it fuses its
/// operations in a way of its own, and compiling each kernel takes a while. Everything else is checked both ways.
fn main() -> ExitCode {
    let fuses = tensor_core::fusion_enabled();
    run_chosen(Cuda::open(0), |case| !fuses || !case.name.starts_with("table/"))
}
