//! Machines without OpenCL: everything starts, and whoever asks for a device gets an answer in no time.

use backend_opencl::{OpenCl, devices};
use std::process::Command;
use std::time::{Duration, Instant};
use tensor_core::ErrorKind;

/// Set for the run inside, to what it must find missing.
const INNER: &str = "GRADIX_TEST_ABSENT";

/// Runs this test program once more with a variable set, as if the machine were another one.
fn elsewhere(test: &str, missing: &str, variable: &str, value: &str) {
    let this = std::env::current_exe().expect("a test program knows where it lies");
    let mut command = Command::new(this);
    command.args(["--exact", test, "--nocapture"]).env(INNER, missing).env(variable, value);
    let output = command.output().expect("the test program starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
}

fn nothing_is_there(missing: &str) {
    let start = Instant::now();
    assert!(devices().expect("no device is no error").is_empty());
    for index in [0, 3] {
        let error = OpenCl::open(index).expect_err("there is no device");
        assert!(matches!(error.kind(), ErrorKind::NoDevice { .. }), "{error}");
        assert!(error.to_string().contains(missing), "{error}");
    }
    // Far more than it takes, and far less than the ten seconds for which a platform can be waited for.
    assert!(start.elapsed() < Duration::from_secs(1), "it took {:?}", start.elapsed());
}

#[test]
fn a_start_without_the_library() {
    match std::env::var(INNER) {
        Ok(missing) => nothing_is_there(&missing),
        Err(_) => elsewhere(
            "a_start_without_the_library",
            "there is no OpenCL library",
            "GRADIX_OPENCL_LIBRARY",
            "/nonexistent/libOpenCL.so.1",
        ),
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_start_without_a_runtime() {
    match std::env::var(INNER) {
        Ok(missing) => nothing_is_there(&missing),
        // On a machine without the library there is no loader to have no runtime.
        Err(_) if devices().expect("no device is no error").is_empty() => {}
        Err(_) => elsewhere("a_start_without_a_runtime", "knows no runtime", "OCL_ICD_VENDORS", "/nonexistent/vendors"),
    }
}
