//! The kit as a test binary.

use super::case::{Case, Verdict};
use super::cases;
use crate::{Backend, Error, ErrorKind, Result};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::ExitCode;
use std::sync::Arc;

/// What opening a device gives: a backend, or a [`Result`] with one.
pub trait Opened {
    /// The backend.
    type Backend: Backend;

    /// The backend, or why there is none.
    ///
    /// # Errors
    /// If the device could not be opened.
    fn opened(self) -> Result<Self::Backend>;
}

impl<B: Backend> Opened for B {
    type Backend = B;

    fn opened(self) -> Result<B> {
        Ok(self)
    }
}

impl<B: Backend> Opened for Result<B> {
    type Backend = B;

    fn opened(self) -> Self {
        self
    }
}

/// The `main` function of a test binary that runs the conformance kit on a backend: one line in a file of its own, with
/// `harness = false` in `Cargo.toml` (see [`conformance`](crate::conformance)). Takes a backend, or a
/// [`Result`](crate::Result) with one; an error makes the only test fail.
///
/// `suite!(if_present MyBackend::open(0))` is for devices that not every machine has: with an error of the kind
/// [`NoDevice`](crate::ErrorKind::NoDevice) the only test is ignored, and says why.
///
/// ```no_run
/// use tensor_core::reference::Reference;
/// tensor_core::conformance::suite!(Reference);
/// ```
#[macro_export]
macro_rules! conformance_suite {
    (if_present $open:expr) => {
        fn main() -> ::std::process::ExitCode {
            $crate::conformance::run_if_present(|| $open)
        }
    };
    ($open:expr) => {
        fn main() -> ::std::process::ExitCode {
            $crate::conformance::run(|| $open)
        }
    };
}

/// Runs the kit on what `open` gives, with the arguments of the command line, which are those of every Rust test binary.
/// The function behind [`suite!`](crate::conformance::suite).
pub fn run<O: Opened>(open: impl FnOnce() -> O) -> ExitCode {
    start(open().opened(), false, |_| true)
}

/// [`run`], but a device that is not there is no failure.
pub fn run_if_present<O: Opened>(open: impl FnOnce() -> O) -> ExitCode {
    start(open().opened(), true, |_| true)
}

/// [`run_if_present`] with some of the cases.
pub fn run_chosen<O: Opened>(open: impl FnOnce() -> O, choose: impl Fn(&Case<O::Backend>) -> bool) -> ExitCode {
    start(open().opened(), true, choose)
}

fn start<B: Backend>(opened: Result<B>, may_be_missing: bool, choose: impl Fn(&Case<B>) -> bool) -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = match opened {
        Ok(backend) => {
            let backend = Arc::new(backend);
            cases().into_iter().filter(choose).map(|case| trial(case, backend.clone())).collect()
        }
        Err(error) => vec![not_opened(&error, may_be_missing)],
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial<B: Backend>(case: Case<B>, backend: Arc<B>) -> Trial {
    let name = case.name();
    Trial::ignorable_test(name, move || match case.run(&*backend).verdict {
        Verdict::Passed => Ok(Completion::Completed),
        Verdict::NotSupported => Ok(Completion::ignored_with("the device does not support the dtype")),
        Verdict::Denied => Err(Failed::from(format!(
            "{} has no kernel for it and GRADIX_DENY_FALLBACK forbids the reference interpreter",
            backend.label()
        ))),
        Verdict::Wrong(what) => Err(Failed::from(what)),
    })
}

/// Whether `GRADIX_REQUIRE` lists a device's backend, as in `GRADIX_REQUIRE=opencl,cuda`: then tests must not leave
/// themselves out because the device is not there.
pub fn is_required(device: &str) -> bool {
    let backend = device.split(':').next().unwrap_or_default();
    let listed = std::env::var("GRADIX_REQUIRE").unwrap_or_default();
    listed.split(',').any(|name| name.trim() == backend)
}

/// The only test of a suite whose device could not be opened. It fails with the error; but if the device may be missing, and
/// is, and is not [required](is_required), it is ignored.
pub fn not_opened(error: &Error, may_be_missing: bool) -> Trial {
    let missing = may_be_missing && matches!(error.kind(), ErrorKind::NoDevice { device, .. } if !is_required(device));
    let text = error.to_string();
    Trial::ignorable_test("device/open", move || {
        if missing { Ok(Completion::ignored_with(text)) } else { Err(Failed::from(text)) }
    })
}
