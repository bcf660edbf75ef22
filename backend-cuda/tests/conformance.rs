//! The conformance kit on the first CUDA device, where there is one. `GRADIX_REQUIRE_CUDA=1` says that there must be.

use backend_cuda::Cuda;
use std::process::ExitCode;
use tensor_core::conformance;

fn main() -> ExitCode {
    if std::env::var_os("GRADIX_REQUIRE_CUDA").is_some_and(|value| value == "1") {
        conformance::run(|| Cuda::open(0))
    } else {
        conformance::run_if_present(|| Cuda::open(0))
    }
}
