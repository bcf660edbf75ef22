//! Finding devices, and what each can do.

use crate::cache::Cache;
use crate::driver::{Code, Context, DeviceId, Queue, device_ids};
use crate::kernels::{self, Kernels};
use ocl::ffi;
use std::sync::{Arc, Mutex, PoisonError};
use tensor_core::codegen::Target;
use tensor_core::{DType, DeviceKind, Error, ErrorKind, Result};

/// What is known of an OpenCL device without opening it.
///
/// ```
/// for device in backend_opencl::devices()? {
///     println!("opencl:{} {} ({})", device.index, device.name, device.platform);
/// }
/// # Ok::<(), tensor_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Description {
    /// The number to [open](crate::OpenCl::open) it by.
    pub index: usize,
    /// Its own name.
    pub name: String,
    /// The OpenCL version it implements and by whom, such as `OpenCL 3.0 PoCL HSTR: …`.
    pub platform: String,
    /// What kind of device it is.
    pub kind: DeviceKind,
    /// Its memory in bytes.
    pub memory: u64,
    /// The largest buffer in bytes.
    pub max_allocation: u64,
    /// How many work-groups run at the same time.
    pub compute_units: u64,
    /// The most work-items in a group.
    pub max_work_group: u64,
    /// How many bytes the arguments of a kernel may have.
    pub max_argument_bytes: u64,
    /// Whether it computes with f64.
    pub has_f64: bool,
    /// Whether it divides f32 with one rounding when asked to.
    pub(crate) divides_correctly: bool,
    /// The version of its driver.
    pub(crate) driver: String,
    /// Why it cannot be used, if it cannot.
    pub(crate) unfit: Option<&'static str>,
}

impl Description {
    fn read(index: usize, id: DeviceId) -> std::result::Result<Self, Code> {
        const CORRECT_DIVISION: u64 = 1 << 7;
        const CPU: u64 = 1 << 1;
        const GPU: u64 = 1 << 2;
        let kind = id.number(ffi::CL_DEVICE_TYPE);
        let extensions = id.text(ffi::CL_DEVICE_EXTENSIONS)?;
        let has = |name: &str| extensions.split_whitespace().any(|extension| extension == name);
        let unfit = if id.number(ffi::CL_DEVICE_AVAILABLE) == 0 {
            Some("it is not available")
        } else if id.number(ffi::CL_DEVICE_COMPILER_AVAILABLE) == 0 {
            Some("it has no compiler")
        } else if id.number(ffi::CL_DEVICE_ENDIAN_LITTLE) == 0 {
            Some("its byte order is not the host's")
        } else if id.text(ffi::CL_DEVICE_PROFILE)? != "FULL_PROFILE" && !has("cles_khr_int64") {
            Some("it has no 64-bit integers")
        } else {
            None
        };
        Ok(Self {
            index,
            name: id.text(ffi::CL_DEVICE_NAME)?,
            platform: id.text(ffi::CL_DEVICE_VERSION)?,
            kind: match kind {
                _ if kind & GPU != 0 => DeviceKind::Gpu,
                _ if kind & CPU != 0 => DeviceKind::Cpu,
                _ => DeviceKind::Accelerator,
            },
            memory: id.number(ffi::CL_DEVICE_GLOBAL_MEM_SIZE),
            max_allocation: id.number(ffi::CL_DEVICE_MAX_MEM_ALLOC_SIZE),
            compute_units: id.number(ffi::CL_DEVICE_MAX_COMPUTE_UNITS).max(1),
            max_work_group: id.number(ffi::CL_DEVICE_MAX_WORK_GROUP_SIZE).max(1),
            max_argument_bytes: id.number(ffi::CL_DEVICE_MAX_PARAMETER_SIZE).max(256),
            has_f64: has("cl_khr_fp64") || id.number(ffi::CL_DEVICE_DOUBLE_FP_CONFIG) != 0,
            divides_correctly: id.number(ffi::CL_DEVICE_SINGLE_FP_CONFIG) & CORRECT_DIVISION != 0,
            driver: id.text(ffi::CL_DRIVER_VERSION)?,
            unfit,
        })
    }

    /// The dtypes it can compute with.
    pub(crate) fn dtypes(&self) -> Vec<DType> {
        DType::ALL.into_iter().filter(|&dtype| self.has_f64 || dtype != DType::F64).collect()
    }
}

/// Every OpenCL device of this machine, over all platforms, in the order by which they are opened. Empty if there is none
/// or no OpenCL library.
///
/// # Errors
/// If an OpenCL runtime fails.
pub fn devices() -> Result<Vec<Description>> {
    let failed = |code: Code| device_error("opencl", "listing devices", code.to_string());
    let ids = device_ids().map_err(failed)?;
    ids.into_iter().enumerate().map(|(index, id)| Description::read(index, id).map_err(failed)).collect()
}

pub(crate) fn device_error(device: &str, op: &'static str, reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::Device { device: device.to_owned(), op: op.into(), reason: reason.into() })
}

/// An open device.
pub(crate) struct Device {
    pub(crate) description: Description,
    pub(crate) label: String,
    pub(crate) id: DeviceId,
    pub(crate) context: Context,
    pub(crate) queue: Queue,
    pub(crate) target: Target,
    pub(crate) kernels: Kernels,
    pub(crate) cache: Option<Cache>,
}

impl Device {
    /// The device of this number, with kernels for a kind of device; the same one each time.
    pub(crate) fn open(index: usize, kind: Option<DeviceKind>) -> Result<Arc<Self>> {
        static OPEN: Mutex<Vec<Arc<Device>>> = Mutex::new(Vec::new());
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let is_asked = |device: &Arc<Self>| {
            let is_cpu = kind.unwrap_or(device.description.kind) == DeviceKind::Cpu;
            device.description.index == index && device.target.is_cpu == is_cpu
        };
        if let Some(device) = open.iter().find(|device| is_asked(device)) {
            return Ok(Arc::clone(device));
        }
        let device = Arc::new(Self::new(index, kind)?);
        open.push(Arc::clone(&device));
        Ok(device)
    }

    fn new(index: usize, kind: Option<DeviceKind>) -> Result<Self> {
        let label = format!("opencl:{index}");
        let failed = |code: Code| device_error(&label, "opening the device", code.to_string());
        let ids = device_ids().map_err(failed)?;
        let Some(&id) = ids.get(index) else {
            return Err(Error::no_device(&label, why_missing(ids.len())));
        };
        let description = Description::read(index, id).map_err(failed)?;
        if let Some(reason) = description.unfit {
            return Err(Error::no_device(&label, format!("{} cannot be used: {reason}", description.name)));
        }
        let context = Context::new(id).map_err(failed)?;
        let queue = context.queue(id).map_err(failed)?;
        let target = kernels::target(&description, kind.unwrap_or(description.kind));
        let cache = Cache::of_runtime(&description.platform);
        Ok(Self { description, label, id, context, queue, target, kernels: Kernels::default(), cache })
    }

    /// An error code as an error of this device.
    pub(crate) fn error(&self, op: &'static str, code: Code) -> Error {
        device_error(&self.label, op, code.to_string())
    }
}

fn why_missing(count: usize) -> String {
    match count {
        0 if !crate::shim::is_present() => {
            "there is no OpenCL library; a GPU's driver brings one, or install ocl-icd-libopencl1 and pocl-opencl-icd \
             (Debian, Ubuntu)"
                .to_owned()
        }
        0 => {
            "the OpenCL library knows no runtime; install a GPU's driver or pocl-opencl-icd (Debian, Ubuntu)".to_owned()
        }
        1 => "there is one OpenCL device, opencl:0".to_owned(),
        _ => format!("there are {count} OpenCL devices, opencl:0 to opencl:{}", count - 1),
    }
}
