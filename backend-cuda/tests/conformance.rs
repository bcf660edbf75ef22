//! The conformance kit on the first CUDA device, where there is one. `GRADIX_REQUIRE_CUDA=1` says that there must be. All memory
//! has to be given back at the end.

mod common;

use backend_cuda::Cuda;
use common::Fake;
use std::mem::ManuallyDrop;
use std::process::ExitCode;
use tensor_core::conformance;

fn main() -> ExitCode {
    // Its settings stay as the environment has them.
    let fake = ManuallyDrop::new(Fake::if_loaded());
    let held = || Cuda::open(0).ok().map(|device| Held::now(device, fake.as_ref()));
    let before = held();
    let code = if std::env::var_os("GRADIX_REQUIRE_CUDA").is_some_and(|value| value == "1") {
        conformance::run(|| Cuda::open(0))
    } else {
        conformance::run_if_present(|| Cuda::open(0))
    };
    let after = held();
    if before == after {
        return code;
    }
    eprintln!("memory was not given back: {before:?} at the start, {after:?} at the end");
    if let Some(fake) = fake.as_ref() {
        // When the process ends, it lists everything that is there.
        fake.set("leaks", 1);
    }
    ExitCode::FAILURE
}

/// What is held of a device's memory, without what is kept for reuse.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    in_use: usize,
    /// What the stand-in for the driver has given out: of the device, in bytes, and of the host, in pieces.
    given: Option<[i64; 2]>,
}

impl Held {
    fn now(device: Cuda, fake: Option<&Fake>) -> Self {
        // After this, what stays for as long as the process lives is there: the library's workspace, and the host's memory
        // between host and device.
        common::product(&device, 2, 3, 4).expect("a product");
        device.trim().expect("the device works");
        let given = fake.map(|fake| ["live_bytes", "live_host"].map(|name| fake.count(name)));
        Self { in_use: device.stats().in_use, given }
    }
}
