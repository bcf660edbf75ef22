//! Compiling kernels once.

use crate::device::{Device, device_error};
use crate::disk::{self, Cache};
use crate::driver::{self, Function};
use crate::nvrtc::{self, Arch};
use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tensor_core::Result;
use tensor_core::codegen::{ENTRY, Kernel};

/// A kernel that is compiled when it is first used, by whoever holds the lock.
type Compiled = Arc<Mutex<Option<Function>>>;

/// The kernels of a device, by what their sources depend on.
#[derive(Debug, Default)]
pub(crate) struct Kernels(Mutex<HashMap<Kernel, Compiled>>);

impl Kernels {
    fn entry(&self, kernel: &Kernel) -> Compiled {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = held.get(kernel) {
            return Arc::clone(entry);
        }
        Arc::clone(held.entry(kernel.clone()).or_default())
    }
}

const OP: &str = "compiling a kernel";

impl Device {
    /// The kernel, ready to launch.
    pub(crate) fn function(&self, kernel: &Kernel) -> Result<Function> {
        let entry = self.kernels.entry(kernel);
        let mut held = entry.lock().unwrap_or_else(PoisonError::into_inner);
        match *held {
            Some(function) => Ok(function),
            None => Ok(*held.insert(self.compile(&kernel.source(&self.target))?)),
        }
    }

    fn compile(&self, source: &str) -> Result<Function> {
        let mut refused = None;
        for &arch in &self.archs {
            match self.compile_for(source, arch)? {
                Ok(function) => return Ok(function),
                Err(code) if code.is_unfit_image() => refused = Some((arch, code)),
                Err(code) => return Err(self.error("loading a kernel", code)),
            }
        }
        let (major, minor) = nvrtc::version().unwrap_or_default();
        let driver = driver::version();
        let reason = refused.map_or_else(String::new, |(arch, code)| {
            format!(
                "{code}, for {} by NVRTC {major}.{minor}; the driver was made for CUDA {}.{}, and may be too old",
                arch.name(),
                driver / 1000,
                driver % 1000 / 10
            )
        });
        Err(device_error(&self.label, "loading a kernel", reason))
    }

    /// The function, or the driver's answer to the image.
    fn compile_for(&self, source: &str, arch: Arch) -> Result<driver::Result<Function>> {
        static CACHE: OnceLock<Cache> = OnceLock::new();
        let cache = CACHE.get_or_init(Cache::of_user);
        let entry = CString::new(ENTRY).expect("a name without a zero byte");
        let compiler = nvrtc::version().map_err(|why| device_error(&self.label, OP, why))?;
        let key = disk::hash(&[
            source.as_bytes(),
            arch.name().as_bytes(),
            &nvrtc::identity(),
            format!("{compiler:?}").as_bytes(),
        ]);
        let load = |image: &[u8]| self.with_memory(|| self.gpu.load(image, &entry));
        if let Some(function) = cache.get(key).and_then(|image| load(&image).ok()) {
            return Ok(Ok(function));
        }
        let (image, _log) = nvrtc::compile(source, arch, &[])
            .map_err(|log| device_error(&self.label, OP, format!("{log}\nThe source was:\n{source}")))?;
        let loaded = load(&image);
        match loaded {
            Ok(_) => cache.put(key, &image),
            Err(code) if code.is_out_of_memory() => {
                return Err(self.error_of_bytes("loading a kernel", code, image.len()));
            }
            Err(_) => {}
        }
        Ok(loaded)
    }
}
