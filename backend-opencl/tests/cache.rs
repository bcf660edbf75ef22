//! Programs kept in files. Asked for by name, the cache serves any runtime, so it is tested on the one that is there.

use backend_opencl::{OpenCl, devices};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
use tensor_core::Array;

/// Says that this is the run with the cache.
const INNER: &str = "GRADIX_TEST_CACHE";

fn compute() {
    let device = OpenCl::open(0).expect("the first device opens");
    let x = Array::from_slice(&device, &[1.0f32, 2.0, 3.0], [3]).expect("three numbers fit");
    let y = x.mul(2.0).and_then(|y| y.add(1.0)).expect("a product and a sum");
    assert_eq!(y.to_vec::<f32>().expect("the result is read"), [3.0, 5.0, 7.0]);
}

/// Runs this test in another process, which has compiled nothing yet.
fn run(folder: &Path) {
    let this = std::env::current_exe().expect("a test program knows where it lies");
    let mut command = Command::new(this);
    command.args(["--exact", "programs_are_kept"]).env(INNER, "1").env("GRADIX_OPENCL_CACHE", folder);
    let output = command.output().expect("the test program starts");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", said(&output.stdout), said(&output.stderr));
}

/// Each file with its time, which changes when it is written again.
fn files(folder: &Path) -> Vec<(PathBuf, SystemTime)> {
    let entries = std::fs::read_dir(folder).expect("the cache's folder is there");
    let paths = entries.map(|entry| entry.expect("the folder can be listed").path());
    let mut files: Vec<_> = paths
        .map(|path| {
            let written = path.metadata().and_then(|data| data.modified()).expect("files have a time");
            (path, written)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn programs_are_kept() {
    if std::env::var_os(INNER).is_some() {
        return compute();
    }
    if devices().expect("no device is no error").is_empty() {
        assert!(!tensor_core::conformance::is_required("opencl"), "an OpenCL device is required");
        return;
    }
    let folder = std::env::temp_dir().join(format!("gradix-opencl-kept-{}", std::process::id()));
    run(&folder);
    let first = files(&folder);
    assert!(!first.is_empty(), "a program was compiled");
    run(&folder);
    assert_eq!(files(&folder), first, "nothing was compiled again");
    // Half a file, and one with a wrong byte inside: both are made anew, and then found.
    for damage in [
        |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2),
        |bytes: &mut Vec<u8>| {
            let middle = bytes.len() - 10;
            bytes[middle] ^= 0x55;
        },
    ] {
        let mut bytes = std::fs::read(&first[0].0).expect("the file can be read");
        damage(&mut bytes);
        std::fs::write(&first[0].0, &bytes).expect("the file can be written");
        run(&folder);
        let mended = std::fs::read(&first[0].0).expect("the file is there again");
        assert_ne!(mended, bytes, "a damaged file is replaced");
        let again = files(&folder);
        run(&folder);
        assert_eq!(files(&folder), again, "the new file is found");
    }
    std::fs::remove_dir_all(folder).expect("the folder can be removed");
}
