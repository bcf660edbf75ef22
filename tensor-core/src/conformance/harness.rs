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
            let chosen = cases().into_iter().filter(choose).collect();
            Part::of_environment().of(chosen).into_iter().map(|case| trial(case, backend.clone())).collect()
        }
        Err(error) => vec![not_opened(&error, may_be_missing)],
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// One of so many equal parts of a kit, for processes side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    number: usize,
    parts: usize,
}

impl Part {
    /// What `GRADIX_CONFORMANCE_PART` says: `2/3` is the second third. Everything if it is not set.
    ///
    /// # Panics
    /// If it says something else.
    pub fn of_environment() -> Self {
        let given = std::env::var("GRADIX_CONFORMANCE_PART").unwrap_or_else(|_| "1/1".to_owned());
        Self::parse(&given).unwrap_or_else(|| panic!("GRADIX_CONFORMANCE_PART is `{given}`, expected one like 1/2"))
    }

    fn parse(text: &str) -> Option<Self> {
        let (number, parts) = text.split_once('/')?;
        let (number, parts) = (number.parse().ok()?, parts.parse().ok()?);
        (1..=parts).contains(&number).then_some(Self { number, parts })
    }

    /// Whether the case, or group of cases, of this number belongs to it.
    pub fn has(self, number: usize) -> bool {
        number % self.parts == self.number % self.parts
    }

    /// The part of these cases. Those of one operation and dtype stay together, as they share kernels.
    fn of<B: Backend>(self, cases: Vec<Case<B>>) -> Vec<Case<B>> {
        let mut group = 0;
        let mut last = None;
        let mut chosen = Vec::new();
        for case in cases {
            let own = (case.family(), case.op().to_owned(), case.dtype());
            if last.as_ref() != Some(&own) {
                group += 1;
                last = Some(own);
            }
            if self.has(group) {
                chosen.push(case);
            }
        }
        chosen
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::Reference;

    #[test]
    fn parts_are_the_whole() {
        let names = |part: Part| -> Vec<String> { part.of(cases::<Reference>()).iter().map(Case::name).collect() };
        let whole = names(Part { number: 1, parts: 1 });
        let parts: Vec<Vec<String>> = (1..=3).map(|number| names(Part { number, parts: 3 })).collect();
        assert!(parts.iter().all(|part| part.len() > whole.len() / 4), "{:?}", parts.iter().map(Vec::len));
        let mut together = parts.concat();
        together.sort();
        let mut sorted = whole;
        sorted.sort();
        assert_eq!(together, sorted);
    }

    #[test]
    fn a_part_is_a_number_of_a_number() {
        assert_eq!(Part::parse("2/3"), Some(Part { number: 2, parts: 3 }));
        for text in ["", "2", "0/3", "4/3", "1/0", "a/b"] {
            assert_eq!(Part::parse(text), None, "{text}");
        }
    }
}
