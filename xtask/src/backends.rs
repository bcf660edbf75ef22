//! The backends of the workspace, and whether this machine has what each of them needs.
//!
//! Libraries are looked up as files, never loaded: a broken driver must not take `cargo xtask` down with it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A backend and what it takes to run it.
#[derive(Debug)]
pub(crate) struct Backend {
    /// As a person calls it.
    pub(crate) name: &'static str,
    /// Its package.
    pub(crate) package: &'static str,
    /// Whether the package computes anything yet. A backend whose `open` can only answer "no such device" is `false`
    /// here, and the summary of `test-all` says "not implemented yet".
    pub(crate) implemented: bool,
    /// Looks for what it needs on this machine.
    pub(crate) probe: fn() -> Probe,
}

/// What a backend needs and whether it is here.
pub(crate) type Probe = Result<String, Missing>;

/// Something that a backend needs and that this machine lacks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) what: String,
    /// How to get it.
    pub(crate) how: String,
}

/// Every backend. **This is the place to change when a backend gets its kernels.**
pub(crate) const BACKENDS: [Backend; 3] = [
    Backend { name: "CPU", package: "gradix-backend-cpu", implemented: true, probe: probe_cpu },
    Backend { name: "OpenCL", package: "gradix-backend-opencl", implemented: true, probe: probe_opencl },
    Backend { name: "CUDA", package: "gradix-backend-cuda", implemented: true, probe: probe_cuda },
];

fn probe_cpu() -> Probe {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let isa = if has_avx512() {
        "AVX-512"
    } else if has_avx2() {
        "AVX2"
    } else if cfg!(target_arch = "aarch64") {
        "NEON"
    } else {
        "baseline"
    };
    Ok(format!("{cores} threads, {isa}"))
}

/// Whether the CPU can run the backend's AVX2 kernels, which use fused multiply-add and half-precision conversions too.
/// This asks for what the backend asks for: under `GRADIX_CPU_ISA` it refuses a level that the machine lacks.
pub(crate) fn has_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::is_x86_feature_detected!("avx2")
            && std::is_x86_feature_detected!("fma")
            && std::is_x86_feature_detected!("f16c")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

fn has_avx512() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        has_avx2()
            && std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512vl")
            && std::is_x86_feature_detected!("avx512dq")
            && std::is_x86_feature_detected!("avx512bw")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

fn probe_opencl() -> Probe {
    let names: &[&str] = if cfg!(windows) {
        &["OpenCL.dll"]
    } else if cfg!(target_os = "macos") {
        &["OpenCL"]
    } else {
        &["libOpenCL.so.1"]
    };
    let how = "`cargo xtask setup`, or `apt-get install pocl-opencl-icd ocl-icd-libopencl1` on Debian and Ubuntu";
    let Some(loader) = find_library(names) else {
        return Err(Missing { what: format!("no OpenCL loader ({})", names[0]), how: how.to_owned() });
    };
    if cfg!(any(windows, target_os = "macos")) {
        // There the system keeps the list of drivers; the loader's presence is all that files can tell.
        return Ok(loader.display().to_string());
    }
    let runtimes = opencl_runtimes(
        std::env::var("OCL_ICD_VENDORS").ok().as_deref(),
        std::env::var("OCL_ICD_FILENAMES").ok().as_deref(),
        Path::new("/etc/OpenCL/vendors"),
    );
    if runtimes.is_empty() {
        let what = format!("{} is here, but no OpenCL runtime is registered in /etc/OpenCL/vendors", loader.display());
        return Err(Missing { what, how: how.to_owned() });
    }
    Ok(format!("{}, runtimes: {}", loader.display(), runtimes.join(", ")))
}

/// The runtimes that the OpenCL loader would offer: a vendors variable replaces the system's folder and is a folder, an
/// `.icd` file or a library; the file names variable adds libraries.
fn opencl_runtimes(vendors: Option<&str>, file_names: Option<&str>, system: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let place = vendors.filter(|v| !v.is_empty()).map_or(system, Path::new);
    if place.is_dir() {
        let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
        found.extend(entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "icd")));
    } else if place.is_file() {
        found.push(place.to_path_buf());
    }
    found.extend(file_names.into_iter().flat_map(std::env::split_paths).filter(|p| p.is_file()));
    let mut names: Vec<String> =
        found.iter().filter_map(|p| p.file_name()).map(|n| n.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Oclgrind, under which the OpenCL kernels are watched. Its place is where packages put it, or in `GRADIX_OCLGRIND`.
pub(crate) fn probe_oclgrind() -> Probe {
    let given = std::env::var_os("GRADIX_OCLGRIND").map(PathBuf::from);
    let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let usual = ["/usr/lib", &multiarch, "/usr/local/lib", "/usr/lib64"]
        .map(|base| Path::new(base).join("oclgrind").join("liboclgrind-rt-icd.so"));
    let found = given.into_iter().chain(usual).find(|path| path.exists());
    found.map(|path| path.display().to_string()).ok_or_else(|| Missing {
        what: "no Oclgrind, so the OpenCL kernels' accesses to memory are not watched".to_owned(),
        how: "`cargo xtask setup`, or `apt-get install oclgrind` on Debian and Ubuntu".to_owned(),
    })
}

fn probe_cuda() -> Probe {
    let names: &[&str] = if cfg!(windows) { &["nvcuda.dll"] } else { &["libcuda.so.1"] };
    let Some(driver) = find_library(names) else {
        return Err(Missing {
            what: format!("no NVIDIA driver ({})", names[0]),
            how: "a machine with an NVIDIA GPU, and its driver".to_owned(),
        });
    };
    // The library also comes with development packages; without a device file there is no GPU behind it. WSL has its own.
    if cfg!(target_os = "linux") && !["/dev/nvidiactl", "/dev/dxg"].iter().any(|p| Path::new(p).exists()) {
        return Err(Missing {
            what: format!("{} is here, but no NVIDIA GPU", driver.display()),
            how: "a machine with an NVIDIA GPU".to_owned(),
        });
    }
    Ok(driver.display().to_string())
}

/// The first of `names` where the system's loader would look.
fn find_library(names: &[&str]) -> Option<PathBuf> {
    find_in(names, &search_path()).or_else(|| {
        ["ldconfig", "/sbin/ldconfig", "/usr/sbin/ldconfig"]
            .iter()
            .filter_map(|program| Command::new(program).arg("-p").output().ok())
            .find_map(|output| in_ldconfig(&String::from_utf8_lossy(&output.stdout), names))
    })
}

fn find_in(names: &[&str], dirs: &[PathBuf]) -> Option<PathBuf> {
    dirs.iter().flat_map(|dir| names.iter().map(move |name| dir.join(name))).find(|path| path.exists())
}

/// Reads the answer of `ldconfig -p`: lines like `libm.so.6 (libc6,x86-64) => /lib/x86_64-linux-gnu/libm.so.6`.
fn in_ldconfig(listing: &str, names: &[&str]) -> Option<PathBuf> {
    let mut lines = listing.lines().filter_map(|line| line.split_once(" => "));
    lines
        .find(|(name, _)| name.split_whitespace().next().is_some_and(|name| names.contains(&name)))
        .map(|(_, path)| PathBuf::from(path.trim()))
}

fn search_path() -> Vec<PathBuf> {
    let variable = if cfg!(windows) {
        "PATH"
    } else if cfg!(target_os = "macos") {
        "DYLD_LIBRARY_PATH"
    } else {
        "LD_LIBRARY_PATH"
    };
    let mut dirs: Vec<PathBuf> = std::env::var_os(variable)
        .map(|value| std::env::split_paths(&value).filter(|p| !p.as_os_str().is_empty()).collect())
        .unwrap_or_default();
    if cfg!(windows) {
        dirs.extend(std::env::var_os("SystemRoot").map(|root| PathBuf::from(root).join("System32")));
    } else if cfg!(target_os = "macos") {
        dirs.push("/System/Library/Frameworks/OpenCL.framework".into());
    } else {
        let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
        for base in ["/usr/local/lib", "/usr/lib", "/lib"] {
            dirs.push(Path::new(base).join(&multiarch));
            dirs.push(base.into());
        }
        dirs.extend(["/usr/lib64", "/lib64", "/usr/lib/wsl/lib"].map(PathBuf::from));
    }
    dirs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fresh folder for one test, below cargo's own.
    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("gradix-xtask-{}-{name}", std::process::id()));
        drop(std::fs::remove_dir_all(&dir));
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn ldconfig_is_read_by_whole_names() {
        let listing = "3 libs found in cache\n\
            \tlibOpenCL.so.10 (libc6,x86-64) => /a/libOpenCL.so.10\n\
            \tlibOpenCL.so.1 (libc6,x86-64) => /b/libOpenCL.so.1\n";
        assert_eq!(in_ldconfig(listing, &["libOpenCL.so.1"]), Some(PathBuf::from("/b/libOpenCL.so.1")));
        assert_eq!(in_ldconfig(listing, &["libcuda.so.1"]), None);
    }

    #[test]
    fn libraries_are_found_in_folders() {
        let dir = scratch("lib");
        assert_eq!(find_in(&["libx.so.1"], std::slice::from_ref(&dir)), None);
        std::fs::write(dir.join("libx.so.1"), "").unwrap();
        assert_eq!(find_in(&["libx.so.1"], std::slice::from_ref(&dir)), Some(dir.join("libx.so.1")));
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn opencl_runtimes_come_from_the_folder_or_the_variables() {
        let dir = scratch("icd");
        let none = dir.join("none");
        assert!(opencl_runtimes(None, None, &none).is_empty());
        assert!(opencl_runtimes(None, None, &dir).is_empty());
        for file in ["b.icd", "a.icd", "readme.txt", "librt.so"] {
            std::fs::write(dir.join(file), "").unwrap();
        }
        assert_eq!(opencl_runtimes(None, None, &dir), ["a.icd", "b.icd"]);
        let library = dir.join("librt.so");
        assert_eq!(opencl_runtimes(library.to_str(), None, &dir), ["librt.so"]);
        assert_eq!(opencl_runtimes(Some(""), library.to_str(), &none), ["librt.so"]);
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_cpu_is_always_there() {
        assert!(probe_cpu().unwrap().contains("threads"));
    }
}
