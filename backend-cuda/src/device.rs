//! Finding devices, and what each can do.

use crate::blas::Blas;
use crate::driver::{self, Code, DeviceId, Gpu};
use crate::kernels::Kernels;
use crate::nvrtc::{self, Arch};
use crate::plans::Plans;
use crate::pool::Pool;
use crate::staging::Staging;
use cudarc::driver::sys::CUdevice_attribute as Attribute;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use tensor_core::codegen::{Dialect, Target};
use tensor_core::{Error, ErrorKind, Result};

/// What is known of a CUDA device without opening it.
///
/// ```
/// for device in backend_cuda::devices()? {
///     println!("cuda:{} {}, {} MiB", device.index, device.name, device.memory >> 20);
/// }
/// # Ok::<(), tensor_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Description {
    /// The number to [open](crate::Cuda::open) it by.
    pub index: usize,
    /// Its own name, such as `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Its memory in bytes.
    pub memory: u64,
    /// Its compute capability, such as `(9, 0)`.
    pub compute_capability: (u32, u32),
    /// How many multiprocessors it has.
    pub multiprocessors: usize,
    /// What its memory can transfer at most, in bytes per second, by clock and width; `None` if the driver does not say.
    pub memory_bandwidth: Option<u64>,
}

impl Description {
    fn read(index: usize, id: DeviceId) -> driver::Result<Self> {
        let number = |attribute| id.attribute(attribute).map(|value| value.max(0) as u32);
        Ok(Self {
            index,
            name: id.name()?,
            memory: id.memory()? as u64,
            compute_capability: (
                number(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                number(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            ),
            multiprocessors: number(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as usize,
            memory_bandwidth: bandwidth(
                number(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE).unwrap_or(0),
                number(Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH).unwrap_or(0),
            ),
        })
    }

    /// The compute capability as one number, such as 90 for 9.0.
    fn version(&self) -> u32 {
        10 * self.compute_capability.0 + self.compute_capability.1
    }
}

/// What memory of this clock in kHz and width in bits transfers at most, in bytes per second: twice in each cycle.
fn bandwidth(clock: u32, width: u32) -> Option<u64> {
    (clock > 0 && width > 0).then(|| 2 * u64::from(clock) * 1000 * u64::from(width) / 8)
}

/// Every CUDA device of this machine, in the order by which they are opened. Empty if there is none, or no driver.
///
/// # Errors
/// If the driver fails.
pub fn devices() -> Result<Vec<Description>> {
    if crate::library::driver().is_err() {
        return Ok(Vec::new());
    }
    let count = driver::count().map_err(|reason| device_error("cuda", "listing devices", reason))?;
    let read = |index| DeviceId::new(index).and_then(|id| Description::read(index, id));
    (0..count)
        .map(read)
        .collect::<driver::Result<_>>()
        .map_err(|code| device_error("cuda", "listing devices", code.to_string()))
}

/// Whether this machine has a CUDA device and what it takes to use it: a driver that starts, and NVRTC.
///
/// ```
/// if backend_cuda::is_available() {
///     println!("{:?}", backend_cuda::Cuda::open(0)?);
/// }
/// # Ok::<(), tensor_core::Error>(())
/// ```
pub fn is_available() -> bool {
    driver::count().is_ok_and(|count| count > 0) && nvrtc::supported().is_ok()
}

/// What kernels have to know of a device with so many multiprocessors.
pub fn target(multiprocessors: usize) -> Target {
    Target {
        dialect: Dialect::Cuda,
        has_f64: true,
        // Without `--use_fast_math`, CUDA's division and square root are.
        divides_correctly: true,
        is_cpu: false,
        compute_units: multiprocessors.max(1),
        max_group: 1024,
        max_argument_bytes: 4096,
    }
}

pub(crate) fn device_error(device: &str, op: &'static str, reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::Device { device: device.to_owned(), op: op.into(), reason: reason.into() })
}

/// An open device. It stays open for as long as the process runs.
pub(crate) struct Device {
    pub(crate) description: Description,
    pub(crate) label: String,
    pub(crate) gpu: Gpu,
    pub(crate) target: Target,
    /// What its kernels are compiled for: the first that the driver takes.
    pub(crate) archs: Vec<Arch>,
    pub(crate) kernels: Kernels,
    pub(crate) plans: Plans,
    pub(crate) pool: Pool,
    pub(crate) staging: Staging,
    pub(crate) blas: Blas,
    pub(crate) tf32: AtomicBool,
    /// The devices to which copies have been made.
    pub(crate) ways: Mutex<Vec<usize>>,
}

impl Device {
    /// The device of this number; the same one each time.
    pub(crate) fn open(index: usize) -> Result<&'static Self> {
        static OPEN: Mutex<Vec<&'static Device>> = Mutex::new(Vec::new());
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = open.iter().find(|device| device.description.index == index) {
            return Ok(device);
        }
        let device: &'static Self = Box::leak(Box::new(Self::new(index)?));
        open.push(device);
        Ok(device)
    }

    fn new(index: usize) -> Result<Self> {
        let label = format!("cuda:{index}");
        let none = |reason: String| Error::no_device(&label, reason);
        let count = driver::count().map_err(none)?;
        if index >= count {
            return Err(none(why_missing(count)));
        }
        let supported = nvrtc::supported().map_err(none)?;
        let failed = |code: Code| device_error(&label, "opening the device", code.to_string());
        let id = DeviceId::new(index).map_err(failed)?;
        let description = Description::read(index, id).map_err(failed)?;
        let archs = archs(description.version(), supported);
        if archs.is_empty() {
            let (major, minor) = description.compute_capability;
            return Err(none(format!(
                "{} has compute capability {major}.{minor}, for which the NVRTC that was found compiles no more; an older \
                 one does (`pip install nvidia-cuda-nvrtc-cu12`)",
                description.name
            )));
        }
        Ok(Self {
            gpu: Gpu::open(id).map_err(failed)?,
            target: target(description.multiprocessors),
            archs,
            kernels: Kernels::default(),
            plans: Plans::default(),
            pool: Pool::new(),
            staging: Staging::default(),
            blas: Blas::default(),
            tf32: AtomicBool::new(false),
            ways: Mutex::default(),
            description,
            label,
        })
    }

    /// Does what the driver or a library may lack memory for, and once more after giving back all that is kept for reuse: they
    /// need memory of their own for kernels and graphs, and what is kept may be all there is.
    pub(crate) fn with_memory<T, E: Lack>(
        &self,
        mut run: impl FnMut() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        match run() {
            Err(error) if error.is_of_memory() => {
                // What goes wrong meanwhile goes wrong in the second try, too.
                let _ = self.pool.trim(&self.gpu);
                run()
            }
            other => other,
        }
    }

    /// An error code as an error of this device.
    pub(crate) fn error(&self, op: &'static str, code: Code) -> Error {
        device_error(&self.label, op, code.to_string())
    }

    /// The same of an operation that makes so many bytes, for which there may be no memory.
    pub(crate) fn error_of_bytes(&self, op: &'static str, code: Code, bytes: usize) -> Error {
        if code.is_out_of_memory() {
            return Error::new(ErrorKind::OutOfMemory { device: self.label.clone(), bytes });
        }
        self.error(op, code)
    }
}

/// Why something was not done, which may be that there was no memory.
pub(crate) trait Lack {
    fn is_of_memory(&self) -> bool;
}

impl Lack for Code {
    fn is_of_memory(&self) -> bool {
        self.is_out_of_memory()
    }
}

/// What to compile for: the machine code of exactly this compute capability, else assembly that the driver translates.
fn archs(version: u32, supported: &[u32]) -> Vec<Arch> {
    let exact = supported.contains(&version).then_some(Arch::Exact(version));
    let portable = supported.iter().rev().find(|&&known| known <= version).map(|&known| Arch::Portable(known));
    exact.into_iter().chain(portable).collect()
}

fn why_missing(count: usize) -> String {
    match count {
        0 => "NVIDIA's driver is here but sees no GPU; CUDA_VISIBLE_DEVICES may hide it".to_owned(),
        1 => "there is one CUDA device, cuda:0".to_owned(),
        _ => format!("there are {count} CUDA devices, cuda:0 to cuda:{}", count - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_code_comes_first_and_newer_devices_get_assembly() {
        let supported = [75, 80, 90];
        assert_eq!(archs(80, &supported), [Arch::Exact(80), Arch::Portable(80)]);
        assert_eq!(archs(86, &supported), [Arch::Portable(80)]);
        assert_eq!(archs(120, &supported), [Arch::Portable(90)]);
        assert_eq!(archs(61, &supported), []);
    }

    #[test]
    fn bandwidth_is_clock_times_width() {
        // What NVIDIA's data sheet says of the H100 SXM: HBM3, 5120 bits, 3.35 TB/s.
        assert_eq!(bandwidth(2_619_000, 5120), Some(3_352_320_000_000));
        assert_eq!(bandwidth(0, 5120), None);
        assert_eq!(bandwidth(2_619_000, 0), None);
    }
}
