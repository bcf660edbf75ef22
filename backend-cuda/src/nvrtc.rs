//! CUDA's run-time compiler.

use crate::library;
use cudarc::nvrtc::sys::{self, nvrtcProgram, nvrtcResult};
use std::ffi::{CStr, CString, c_char};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

/// What code is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// Machine code (CUBIN) for this compute capability, such as 90 for 9.0.
    Exact(u32),
    /// Assembly (PTX) of this compute capability, which the driver translates for itself or a newer one.
    Portable(u32),
}

impl Arch {
    /// The compiler's name for it: `sm_90`, `compute_90`.
    pub fn name(self) -> String {
        match self {
            Self::Exact(version) => format!("sm_{version}"),
            Self::Portable(version) => format!("compute_{version}"),
        }
    }
}

/// What every kernel is compiled with. Without fused multiply-add where the source has none: results are those of the
/// reference.
const OPTIONS: [&str; 2] = ["--std=c++17", "--fmad=false"];

/// The options as bytes, for keys of what was compiled with them.
pub(crate) fn identity() -> Vec<u8> {
    OPTIONS.join(" ").into_bytes()
}

fn check(code: nvrtcResult) -> Result<(), String> {
    if code == nvrtcResult::NVRTC_SUCCESS {
        return Ok(());
    }
    // SAFETY: the library is loaded, or there would be no code; the text is static and ends with a zero byte.
    let text = unsafe { CStr::from_ptr(sys::nvrtcGetErrorString(code)) };
    Err(text.to_string_lossy().into_owned())
}

/// The compiler's version, such as `(13, 5)`, or why there is none.
///
/// # Errors
/// If it was not found.
pub fn version() -> Result<(i32, i32), String> {
    library::nvrtc()?;
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the library is loaded; both numbers go to live variables.
    check(unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) })?;
    Ok((major, minor))
}

/// The compute capabilities that it makes code for, ascending.
///
/// # Errors
/// If it was not found.
pub fn supported() -> Result<&'static [u32], String> {
    static SUPPORTED: OnceLock<Result<Vec<u32>, String>> = OnceLock::new();
    let ask = || {
        library::nvrtc()?;
        let mut count = 0;
        // SAFETY: the library is loaded; the number goes to a live variable.
        check(unsafe { sys::nvrtcGetNumSupportedArchs(&raw mut count) })?;
        let mut list = vec![0i32; count.max(0) as usize];
        // SAFETY: there is room for as many numbers as the library has just said there are.
        check(unsafe { sys::nvrtcGetSupportedArchs(list.as_mut_ptr()) })?;
        let mut list: Vec<u32> = list.into_iter().map(|version| version as u32).collect();
        list.sort_unstable();
        Ok(list)
    };
    SUPPORTED.get_or_init(ask).as_deref().map_err(Clone::clone)
}

/// A program of the compiler's, given back when dropped.
struct Program(nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the handle came from `nvrtcCreateProgram` and is given back here, once.
        let _ = unsafe { sys::nvrtcDestroyProgram(&raw mut self.0) };
    }
}

impl Program {
    /// A result in two steps: how many bytes, and the bytes.
    fn bytes(
        &self,
        size: unsafe fn(nvrtcProgram, *mut usize) -> nvrtcResult,
        get: unsafe fn(nvrtcProgram, *mut c_char) -> nvrtcResult,
    ) -> Result<Vec<u8>, String> {
        let mut count = 0;
        // SAFETY: the program is alive; the number goes to a live variable.
        check(unsafe { size(self.0, &raw mut count) })?;
        let mut bytes = vec![0u8; count];
        // SAFETY: the program is alive, and there is room for as many bytes as it has just said it will write.
        check(unsafe { get(self.0, bytes.as_mut_ptr().cast()) })?;
        Ok(bytes)
    }

    fn log(&self) -> String {
        let log = self.bytes(sys::nvrtcGetProgramLogSize, sys::nvrtcGetProgramLog).unwrap_or_default();
        String::from_utf8_lossy(&log).trim_matches(['\0', '\n', ' ']).to_owned()
    }
}

/// Compiles a source, with more options than those that every kernel has; gives the image and what the compiler said.
///
/// # Errors
/// What the compiler said, or why there is none.
pub fn compile(source: &str, arch: Arch, more: &[&str]) -> Result<(Vec<u8>, String), String> {
    library::nvrtc()?;
    let text = CString::new(source).map_err(|_zero_inside| "a source must hold no zero byte")?;
    let architecture = format!("--gpu-architecture={}", arch.name());
    let options = OPTIONS.iter().copied().chain([architecture.as_str()]).chain(more.iter().copied());
    let options = options.map(CString::new).collect::<Result<Vec<_>, _>>();
    let held = options.map_err(|_zero_inside| "an option must hold no zero byte")?;
    let options: Vec<*const c_char> = held.iter().map(|option| option.as_ptr()).collect();
    let mut raw = null_mut();
    // SAFETY: the library is loaded; source and name end with a zero byte and are copied; there are no headers.
    check(unsafe { sys::nvrtcCreateProgram(&raw mut raw, text.as_ptr(), c"gradix.cu".as_ptr(), 0, null(), null()) })?;
    let program = Program(raw);
    // SAFETY: the program is alive; as many options as the call is told, each alive and ended by a zero byte.
    let compiled = check(unsafe { sys::nvrtcCompileProgram(program.0, options.len() as i32, options.as_ptr()) });
    let log = program.log();
    compiled.map_err(|code| format!("{code}\n{log}"))?;
    let image = match arch {
        Arch::Exact(_) => program.bytes(sys::nvrtcGetCUBINSize, sys::nvrtcGetCUBIN),
        Arch::Portable(_) => program.bytes(sys::nvrtcGetPTXSize, sys::nvrtcGetPTX),
    }?;
    Ok((image, log))
}
