//! How the backend starts where a library is missing, and what it keeps on disk. Each start is a process of its own: what was
//! once looked for is not looked for again.

mod common;

use backend_cuda::Cuda;
use std::path::{Path, PathBuf};
use std::process::Command;
use tensor_core::ErrorKind;

/// What a child process does and says; nothing when it is run as a test.
#[test]
fn child() {
    let Some(task) = std::env::var_os("GRADIX_TEST_CHILD") else { return };
    // SAFETY: a driver's library is made to be loaded by any program at any time.
    println!("driver: {}", unsafe { libloading::Library::new("libcuda.so.1") }.is_ok());
    let listed = backend_cuda::devices();
    println!("available: {}, listed: {}", backend_cuda::is_available(), listed.as_ref().map_or(0, Vec::len));
    match Cuda::open(0) {
        Err(error) => println!("missing: {}, error: {error}", matches!(error.kind(), ErrorKind::NoDevice { .. })),
        Ok(device) if task == "kernel" => {
            println!("result: {:?}", common::scale(&device, 0, 2.0));
            println!("product: {:?}", common::product(&device, 2, 3, 1));
            if let Some(fake) = common::Fake::as_it_is() {
                println!("compiled: {}", fake.count("compiled") + fake.count("cache_hits"));
            }
        }
        Ok(device) => println!("opened: {device:?}"),
    }
}

fn start(task: &str, libraries: &Path, cache: &Path, settings: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env("GRADIX_TEST_CHILD", task)
        .env("LD_LIBRARY_PATH", libraries)
        .env("GRADIX_CUDA_CACHE", cache)
        // No Python in which NVIDIA's packages could be.
        .env("PATH", "/usr/bin:/bin")
        .env_remove("VIRTUAL_ENV")
        .env_remove("CONDA_PREFIX")
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// The folder with all of the stand-in's libraries, and those beside it with some.
fn fakes() -> Option<PathBuf> {
    common::Fake::get()?;
    let dirs = std::env::var_os("LD_LIBRARY_PATH")?;
    std::env::split_paths(&dirs).find(|dir| dir.join("libcuda.so.1").exists())
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("gradix-cuda-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn without_any_library_there_is_an_error_and_no_panic() {
    let empty = folder("empty");
    let said = start("open", &empty, &empty, &[]);
    // A machine with a driver of its own has it where the loader looks without being told.
    if said.contains("driver: false") && cfg!(target_os = "linux") {
        assert!(said.contains("available: false, listed: 0"), "{said}");
        assert!(said.contains("missing: true") && said.contains("libcuda.so.1 was not found"), "{said}");
    }
    std::fs::remove_dir_all(&empty).unwrap();
}

#[test]
fn what_is_missing_is_named() {
    let Some(all) = fakes() else { return };
    let none = PathBuf::new();
    let said = start("open", &all, &none, &[]);
    assert!(said.contains("available: true, listed: 1") && said.contains("opened: Cuda(cuda:0"), "{said}");
    let said = start("open", &all, &none, &[("FAKE_CUDA_DEVICES", "0")]);
    assert!(said.contains("available: false") && said.contains("missing: true") && said.contains("no GPU"), "{said}");
    let said = start("open", &all, &none, &[("FAKE_CUDA_INIT_ERROR", "803")]);
    assert!(said.contains("missing: true") && said.contains("did not start: CUDA_ERROR_"), "{said}");
    let without = all.with_file_name("lib-without-nvrtc");
    if without.exists() {
        let said = start("open", &without, &none, &[]);
        assert!(said.contains("available: false") && said.contains("missing: true"), "{said}");
        assert!(said.contains("NVRTC") && said.contains("pip install nvidia-cuda-nvrtc"), "{said}");
    }
}

#[test]
fn without_cublas_products_are_right() {
    let Some(all) = fakes() else { return };
    let without = all.with_file_name("lib-without-cublaslt");
    if without.exists() {
        let said = start("kernel", &without, &PathBuf::new(), &[]);
        assert!(said.contains("product: Ok([3.0, 3.0])"), "{said}");
    }
}

#[test]
fn devices_without_memory_pools_work() {
    let Some(all) = fakes() else { return };
    let said = start("kernel", &all, &PathBuf::new(), &[("FAKE_CUDA_POOLS", "0")]);
    assert!(said.contains("result: Ok([2.0, 4.0, -6.0])") && said.contains("product: Ok([3.0, 3.0])"), "{said}");
}

#[test]
fn devices_of_every_age_get_code_that_they_run() {
    let Some(all) = fakes() else { return };
    for capability in ["75", "90", "120"] {
        let said = start("kernel", &all, &PathBuf::new(), &[("FAKE_CUDA_CAPABILITY", capability)]);
        assert!(said.contains("result: Ok([2.0, 4.0, -6.0])"), "{capability}: {said}");
    }
}

#[test]
fn kernels_are_kept_on_disk() {
    let Some(all) = fakes() else { return };
    let cache = folder("cache");
    let right = "result: Ok([2.0, 4.0, -6.0])";
    let first = start("kernel", &all, &cache, &[]);
    assert!(first.contains(right) && !first.contains("compiled: 0"), "{first}");
    let second = start("kernel", &all, &cache, &[]);
    assert!(second.contains(right) && second.contains("compiled: 0"), "{second}");
    // Damaged files are compiled anew, and mended.
    for entry in std::fs::read_dir(&cache).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let third = start("kernel", &all, &cache, &[]);
    assert!(third.contains(right) && !third.contains("compiled: 0"), "{third}");
    let fourth = start("kernel", &all, &cache, &[]);
    assert!(fourth.contains(right) && fourth.contains("compiled: 0"), "{fourth}");
    std::fs::remove_dir_all(&cache).unwrap();
}
