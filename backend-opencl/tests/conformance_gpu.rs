//! The conformance kit on the first OpenCL device with the kernels for GPUs, where they differ from those for processors.

use backend_opencl::OpenCl;
use std::process::ExitCode;
use tensor_core::conformance::{Case, run_chosen};
use tensor_core::{DType, DeviceKind};

fn main() -> ExitCode {
    run_chosen(|| OpenCl::open_as(0, DeviceKind::Gpu), differs)
}

/// Kernels compile slowly: one dtype of each kind does, as what else depends on the dtype is the same on processors.
fn differs(case: &Case<OpenCl>) -> bool {
    let families = ["reduce", "scan", "matmul", "index", "sort", "softmax"];
    let dtypes = [DType::I64, DType::F32];
    families.contains(&case.family()) && case.dtype().is_none_or(|dtype| dtypes.contains(&dtype))
}
