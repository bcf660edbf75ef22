//! Finding NVIDIA's libraries before anything calls them.
//!
//! `cudarc` panics when it cannot load a library or find a function in it. So each library is loaded here first, by the names
//! that `cudarc` will try, and asked for the functions that the backend cannot do without. What is found under none of these
//! names is looked for by absolute path where CUDA's installers and Python's packages put it; once it is loaded from there,
//! loading it by name finds the same one.

use libloading::Library;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The driver's functions that the backend calls on every machine.
const DRIVER: &[&str] = &[
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDeviceTotalMem_v2",
    "cuDevicePrimaryCtxRetain",
    "cuCtxSetCurrent",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuStreamCreate",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
    "cuEventCreate",
    "cuEventRecord",
    "cuEventDestroy_v2",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemHostAlloc",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyDtoDAsync_v2",
    "cuMemcpyPeerAsync",
    "cuDeviceCanAccessPeer",
    "cuCtxEnablePeerAccess",
    "cuModuleLoadData",
    "cuModuleGetFunction",
    "cuLaunchKernel",
];

/// The driver's functions for memory pools, which drivers before CUDA 11.2 lack.
const POOLS: &[&str] = &[
    "cuMemPoolCreate",
    "cuMemPoolSetAttribute",
    "cuMemPoolTrimTo",
    "cuMemPoolSetAccess",
    "cuMemAllocFromPoolAsync",
    "cuMemFreeAsync",
];

const NVRTC: &[&str] = &[
    "nvrtcVersion",
    "nvrtcGetErrorString",
    "nvrtcGetNumSupportedArchs",
    "nvrtcGetSupportedArchs",
    "nvrtcCreateProgram",
    "nvrtcCompileProgram",
    "nvrtcGetProgramLogSize",
    "nvrtcGetProgramLog",
    "nvrtcGetCUBINSize",
    "nvrtcGetCUBIN",
    "nvrtcGetPTXSize",
    "nvrtcGetPTX",
    "nvrtcDestroyProgram",
];

/// Functions of graphs, which the drivers of CUDA 11.4 and newer have.
const GRAPHS: &[&str] = &[
    "cuStreamDestroy_v2",
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "cuGraphInstantiateWithFlags",
    "cuGraphDestroy",
    "cuGraphLaunch",
    "cuGraphExecDestroy",
    "cuMemFreeHost",
];

const BLAS_LT: &[&str] = &[
    "cublasLtCreate",
    "cublasLtMatmulDescCreate",
    "cublasLtMatmulDescSetAttribute",
    "cublasLtMatmulDescDestroy",
    "cublasLtMatrixLayoutCreate",
    "cublasLtMatrixLayoutSetAttribute",
    "cublasLtMatrixLayoutDestroy",
    "cublasLtMatmulPreferenceCreate",
    "cublasLtMatmulPreferenceSetAttribute",
    "cublasLtMatmulPreferenceDestroy",
    "cublasLtMatmulAlgoGetHeuristic",
    "cublasLtMatmul",
];

/// Whether the driver's library is here; if not, which is missing or what it lacks.
pub(crate) fn driver() -> Result<(), &'static str> {
    static FOUND: OnceLock<Result<Library, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let (missing, names) = if cfg!(windows) {
            ("nvcuda.dll was not found; NVIDIA's graphics driver brings it", &["nvcuda"][..])
        } else {
            ("libcuda.so.1 was not found; NVIDIA's driver brings it", &["cuda"][..])
        };
        let library = names.iter().find_map(|name| by_name(name)).ok_or_else(|| missing.to_owned())?;
        match lacking(&library, DRIVER) {
            None => Ok(library),
            Some(name) => Err(format!("NVIDIA's driver is too old: its library has no function {name}")),
        }
    });
    said(found)
}

/// Whether the driver's library has memory pools.
pub(crate) fn has_pools() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let name = if cfg!(windows) { "nvcuda" } else { "cuda" };
        by_name(name).is_some_and(|library| lacking(&library, POOLS).is_none())
    })
}

/// Whether the driver records work as graphs.
pub(crate) fn has_graphs() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let name = if cfg!(windows) { "nvcuda" } else { "cuda" };
        by_name(name).is_some_and(|library| lacking(&library, GRAPHS).is_none())
    })
}

/// Whether the run-time compiler is here; if not, why.
pub(crate) fn nvrtc() -> Result<(), &'static str> {
    static FOUND: OnceLock<Result<Library, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let library = by_name("nvrtc").or_else(|| by_path("nvrtc")).ok_or(
            "NVRTC, CUDA's run-time compiler, was not found (libnvrtc.so.13 or .12, nvrtc64_130_0.dll on Windows); \
             install the CUDA toolkit, or run `pip install nvidia-cuda-nvrtc` and activate that Python environment, or \
             name its folder in LD_LIBRARY_PATH",
        )?;
        match lacking(&library, NVRTC) {
            None => Ok(library),
            Some(name) => Err(format!("NVRTC is too old: it has no function {name}")),
        }
    });
    said(found)
}

/// Whether cuBLASLt is here.
pub(crate) fn has_blas() -> bool {
    static FOUND: OnceLock<Option<Library>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let library = by_name("cublasLt").or_else(|| by_path("cublasLt"))?;
        lacking(&library, BLAS_LT).is_none().then_some(library)
    });
    found.is_some()
}

fn said(found: &'static Result<Library, String>) -> Result<(), &'static str> {
    found.as_ref().map(|_loaded| ()).map_err(String::as_str)
}

/// The first of the functions that a library does not have.
fn lacking(library: &Library, functions: &[&'static str]) -> Option<&'static str> {
    functions.iter().copied().find(|name| {
        // SAFETY: the address is only asked for, as one of a function that is never called through this type.
        unsafe { library.get::<unsafe extern "C" fn()>(*name) }.is_err()
    })
}

fn load(name: impl AsRef<std::ffi::OsStr>) -> Option<Library> {
    // SAFETY: loading a library runs its initialisers. NVIDIA's libraries are made to be loaded by any program at any time,
    // and nothing here depends on what their initialisers do.
    unsafe { Library::new(name.as_ref()) }.ok()
}

fn by_name(name: &str) -> Option<Library> {
    cudarc::get_lib_name_candidates(name).iter().find_map(load)
}

/// Looks where installers put libraries without telling the system's loader.
fn by_path(name: &str) -> Option<Library> {
    let mut found: Vec<PathBuf> = folders().iter().flat_map(|folder| matching(folder, name)).collect();
    // The newest first, as far as names tell.
    found.sort_by(|a, b| b.file_name().cmp(&a.file_name()));
    // By its name afterwards: that is how `cudarc` will look for it.
    found.iter().find_map(|path| {
        let _until_found_by_name = load(path)?;
        by_name(name)
    })
}

fn matching(folder: &Path, name: &str) -> Vec<PathBuf> {
    let fits = |file: &str| {
        if cfg!(windows) {
            file.strip_prefix(name).is_some_and(|rest| rest.starts_with("64_") && rest.ends_with("_0.dll"))
        } else {
            file.strip_prefix("lib")
                .and_then(|rest| rest.strip_prefix(name))
                .is_some_and(|rest| rest.starts_with(".so"))
        }
    };
    entries(folder)
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|file| fits(&file.to_string_lossy())))
        .collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Folders of CUDA toolkits, and those of NVIDIA's packages in every Python that the environment names.
fn folders() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let mut folders = Vec::new();
    let toolkits =
        ["CUDA_PATH", "CUDA_HOME"].into_iter().filter_map(variable).chain([PathBuf::from("/usr/local/cuda")]);
    for toolkit in toolkits {
        folders.extend(["lib64", "lib", "bin", "bin/x64"].map(|part| toolkit.join(part)));
    }
    let mut prefixes: Vec<PathBuf> = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(variable).collect();
    if let Some(path) = std::env::var_os("PATH") {
        let pythons = std::env::split_paths(&path)
            .filter(|folder| ["python3", "python", "python.exe"].iter().any(|name| folder.join(name).exists()));
        prefixes.extend(pythons.filter_map(|folder| folder.parent().map(Path::to_path_buf)));
    }
    prefixes.extend(variable("HOME").map(|home| home.join(".local")));
    for prefix in prefixes {
        folders.push(prefix.join("lib"));
        let pythons = entries(&prefix.join("lib")).into_iter().chain([prefix.join("Lib")]);
        let packages = pythons.flat_map(|python| ["site-packages", "dist-packages"].map(|part| python.join(part)));
        for package in packages.flat_map(|packages| entries(&packages.join("nvidia"))) {
            folders.extend(["lib", "bin", "bin/x86_64"].map(|part| package.join(part)));
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_by_their_names() {
        let folder = std::env::temp_dir().join(format!("gradix-library-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["libnvrtc.so.13", "libnvrtc-builtins.so.13.5", "libnvrtc.alt.so.13", "nvrtc64_130_0.dll"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let found = matching(&folder, "nvrtc");
        let expected = if cfg!(windows) { "nvrtc64_130_0.dll" } else { "libnvrtc.so.13" };
        assert_eq!(found, [folder.join(expected)]);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_missing_is_named() {
        if let Err(why) = driver() {
            assert!(why.contains("libcuda.so.1") || why.contains("nvcuda.dll") || why.contains("too old"), "{why}");
        }
        if let Err(why) = nvrtc() {
            assert!(why.contains("NVRTC"), "{why}");
        }
    }
}
