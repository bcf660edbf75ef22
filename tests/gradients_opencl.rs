//! Gradients on the first OpenCL device.

use autograd::conformance::run_chosen;
use backend_opencl::OpenCl;
use std::process::ExitCode;

/// Every check of the table fuses its operations in a way of its own, and runtimes take a tenth of a second to compile each
/// program. So the table is checked where nothing is fused, with `GRADIX_EAGER=1`, which is one of the runs of
/// `cargo xtask test-all`; everything else is checked both ways.
fn main() -> ExitCode {
    let fuses = tensor_core::fusion_enabled();
    run_chosen(OpenCl::open(0), |case| !fuses || !case.name.starts_with("table/"))
}
