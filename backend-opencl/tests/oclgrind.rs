//! Every operation of the conformance kit, in some dtypes and on small tensors, under Oclgrind: it interprets kernels and
//! sees each access out of bounds, each race and each barrier that not all work-items reach. None is accepted.
//!
//! Oclgrind is a runtime of its own, so this program runs itself once more for each of these dtypes, with Oclgrind as the
//! only runtime.

use backend_opencl::OpenCl;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use tensor_core::DType;
use tensor_core::conformance::{Case, is_required, run_chosen};

/// Where packages and builds put Oclgrind's runtime; `GRADIX_OCLGRIND` comes first.
const PLACES: [&str; 4] = [
    "/usr/lib/oclgrind/liboclgrind-rt-icd.so",
    "/usr/lib/x86_64-linux-gnu/oclgrind/liboclgrind-rt-icd.so",
    "/usr/local/lib/oclgrind/liboclgrind-rt-icd.so",
    "/usr/lib64/oclgrind/liboclgrind-rt-icd.so",
];

/// Says that this is the run under Oclgrind.
const INNER: &str = "GRADIX_UNDER_OCLGRIND";

/// What kernels do with memory depends on the size of elements and on whether they are stored in another type than they are
/// computed in: these have one of each.
const DTYPES: [DType; 5] = [DType::Bool, DType::U8, DType::I64, DType::F16, DType::F32];

/// A tile of a product takes Oclgrind a fifth of a second, however small the operands are.
const PRODUCTS: [&str; 2] = ["matmul/matmul/f16/layouts", "matmul/matmul/f32/sizes"];

/// A few microseconds an element: enough for more than a work-group, and little more.
const LARGEST: &str = "340";

fn main() -> ExitCode {
    if std::env::var_os(INNER).is_some() {
        return run_chosen(|| OpenCl::open(0), has_kernels);
    }
    let runtime = runtime();
    let names = DTYPES.map(|dtype| format!("/{dtype}/"));
    let trials = names.into_iter().chain(["programs/random_".to_owned()]).map(|cases| {
        let runtime = runtime.clone();
        Trial::ignorable_test(cases.trim_matches('/').to_owned(), move || match &runtime {
            Some(runtime) => watched(runtime, &cases).map(|()| Completion::Completed).map_err(Failed::from),
            None if is_required("oclgrind") => Err("Oclgrind is required and not installed".into()),
            None => Ok(Completion::ignored_with("Oclgrind is not installed; `cargo xtask setup` does it")),
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn has_kernels(case: &Case<OpenCl>) -> bool {
    ["pointwise", "programs", "reduce", "scan", "index", "sort", "softmax"].contains(&case.family())
        || PRODUCTS.contains(&case.name().as_str())
}

fn runtime() -> Option<PathBuf> {
    let given = std::env::var_os("GRADIX_OCLGRIND").map(PathBuf::from);
    given.into_iter().chain(PLACES.map(PathBuf::from)).find(|path| path.exists())
}

/// Runs the cases whose names contain a text and looks at what Oclgrind has to say.
fn watched(runtime: &Path, cases: &str) -> Result<(), String> {
    let this = std::env::current_exe().map_err(|e| format!("this program cannot be found: {e}"))?;
    let file = format!("gradix-oclgrind-{}-{}", std::process::id(), cases.replace('/', ""));
    let log = std::env::temp_dir().join(file);
    let mut command = Command::new(this);
    // Oclgrind takes one thread of the host at a time, and its interpreter more stack than a thread gets by default.
    command.args(["--test-threads=1", cases]).env(INNER, "1");
    command.env("GRADIX_CONFORMANCE_LARGEST", LARGEST).env("OCL_ICD_VENDORS", runtime);
    // Its optimiser breaks kernels that are right. (And values that nobody wrote cannot be asked for: to Oclgrind, the padding
    // of a struct that is copied is one.)
    command.env("OCLGRIND_BUILD_OPTIONS", "-cl-opt-disable");
    command.env("OCLGRIND_DATA_RACES", "1").env("OCLGRIND_LOG", &log);
    let output = command.output().map_err(|e| format!("the run cannot be started: {e}"))?;
    let said = std::fs::read_to_string(&log);
    // There is nothing to clean up if Oclgrind wrote nothing.
    drop(std::fs::remove_file(&log));
    let shown = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("{}\n{shown}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    if shown.contains(" 0 passed") {
        return Err(format!("nothing ran:\n{shown}"));
    }
    match said {
        Ok(said) if said.trim().is_empty() => Ok(()),
        Ok(said) => Err(said),
        // Without its log it was not Oclgrind that ran.
        Err(error) => Err(format!("Oclgrind left no log at {}: {error}", log.display())),
    }
}
