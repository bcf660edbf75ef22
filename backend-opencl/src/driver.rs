//! What is used of OpenCL's interface, in types that release what they hold and give errors instead of codes.
//!
//! This module calls `ocl`'s raw bindings rather than its wrappers: those panic when a release fails or an unknown code comes,
//! wait ten seconds for a platform that is not there, and ask the runtime again about the context with every buffer.

use crate::shim;
use ocl::ffi::{self, cl_device_id, cl_platform_id};
use std::ffi::{CString, c_void};
use std::fmt;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

/// An OpenCL error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) i32);

impl Code {
    /// Whether it says that there is no memory left.
    pub(crate) fn is_out_of_memory(self) -> bool {
        // Memory object allocation failure, out of resources, out of host memory, invalid buffer size.
        matches!(self.0, -4 | -5 | -6 | -61)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            -1 => "device not found",
            -2 => "device not available",
            -3 => "compiler not available",
            -4 => "memory object allocation failure",
            -5 => "out of resources",
            -6 => "out of host memory",
            -11 => "build program failure",
            -14 => "an earlier command failed",
            -30 => "invalid value",
            -33 => "invalid device",
            -34 => "invalid context",
            -36 => "invalid command queue",
            -38 => "invalid memory object",
            -45 => "invalid program executable",
            -46 => "invalid kernel name",
            -48 => "invalid kernel",
            -49 => "invalid argument index",
            -50 => "invalid argument value",
            -51 => "invalid argument size",
            -52 => "invalid kernel arguments",
            -54 => "invalid work-group size",
            -55 => "invalid work-item size",
            -59 => "invalid operation",
            -61 => "invalid buffer size",
            -63 => "invalid global work size",
            -1001 => "no platform found",
            -9999 => "illegal read or write by a kernel",
            _ => "OpenCL error",
        };
        write!(f, "{name} ({})", self.0)
    }
}

/// Result with an OpenCL error code.
pub(crate) type Result<T> = std::result::Result<T, Code>;

fn check(code: i32) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(Code(code)) }
}

/// A device of some platform. Devices are never freed: they live as long as the OpenCL library.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceId(cl_device_id);

// SAFETY: OpenCL's functions may be called by any thread with the handle of a device.
unsafe impl Send for DeviceId {}
// SAFETY: as above; the handle itself is never written.
unsafe impl Sync for DeviceId {}

/// All devices of all platforms, in the platforms' order. None, if there is no OpenCL.
///
/// They are listed once. Runtimes set themselves up when they are first asked, and not all of them do so safely when two
/// threads ask at the same time.
pub(crate) fn device_ids() -> Result<Vec<DeviceId>> {
    static LISTED: OnceLock<Result<Vec<DeviceId>>> = OnceLock::new();
    LISTED.get_or_init(list_devices).clone()
}

fn list_devices() -> Result<Vec<DeviceId>> {
    if !shim::is_present() {
        return Ok(Vec::new());
    }
    let mut count = 0;
    // SAFETY: with no room for platforms, OpenCL only writes their number, to a live variable.
    match unsafe { ffi::clGetPlatformIDs(0, null_mut(), &raw mut count) } {
        -1001 => return Ok(Vec::new()),
        code => check(code)?,
    }
    let mut platforms: Vec<cl_platform_id> = vec![null_mut(); count as usize];
    // SAFETY: there is room for as many platforms as the call is told.
    check(unsafe { ffi::clGetPlatformIDs(count, platforms.as_mut_ptr(), &raw mut count) })?;
    platforms.truncate(count as usize);
    let mut devices = Vec::new();
    for platform in platforms {
        devices.extend(devices_of(platform)?);
    }
    Ok(devices)
}

fn devices_of(platform: cl_platform_id) -> Result<Vec<DeviceId>> {
    const ALL: u64 = 0xFFFF_FFFF;
    let mut count = 0;
    // SAFETY: the platform is one that OpenCL listed; with no room for devices it only writes their number.
    match unsafe { ffi::clGetDeviceIDs(platform, ALL, 0, null_mut(), &raw mut count) } {
        -1 => return Ok(Vec::new()),
        code => check(code)?,
    }
    let mut devices: Vec<cl_device_id> = vec![null_mut(); count as usize];
    // SAFETY: there is room for as many devices as the call is told.
    check(unsafe { ffi::clGetDeviceIDs(platform, ALL, count, devices.as_mut_ptr(), &raw mut count) })?;
    devices.truncate(count as usize);
    Ok(devices.into_iter().map(DeviceId).collect())
}

impl DeviceId {
    /// The bytes of a property.
    fn bytes(self, property: u32) -> Result<Vec<u8>> {
        let mut size = 0;
        // SAFETY: the device is one that OpenCL listed; with no room for a value it only writes the value's size.
        check(unsafe { ffi::clGetDeviceInfo(self.0, property, 0, null_mut(), &raw mut size) })?;
        let mut bytes = vec![0u8; size];
        // SAFETY: there is room for as many bytes as the call is told.
        check(unsafe { ffi::clGetDeviceInfo(self.0, property, size, bytes.as_mut_ptr().cast(), null_mut()) })?;
        Ok(bytes)
    }

    /// A property that is text.
    pub(crate) fn text(self, property: u32) -> Result<String> {
        let bytes = self.bytes(property)?;
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
        Ok(String::from_utf8_lossy(&bytes[..end]).trim().to_owned())
    }

    /// A property that is an integer of 4 or 8 bytes; 0 where the device does not know it.
    pub(crate) fn number(self, property: u32) -> u64 {
        match self.bytes(property).as_deref() {
            Ok(&[a, b, c, d]) => u32::from_ne_bytes([a, b, c, d]).into(),
            Ok(&[a, b, c, d, e, f, g, h]) => u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            _ => 0,
        }
    }
}

/// Defines an owner of an OpenCL object that releases it.
macro_rules! owner {
    ($(#[$doc:meta])* $name:ident, $release:ident) => {
        $(#[$doc])*
        pub(crate) struct $name(*mut c_void);

        // SAFETY: OpenCL objects belong to no thread, and its functions may be called by any of them.
        unsafe impl Send for $name {}

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: the handle came from the function that made the object, its one reference is given back here, and
                // nothing uses it afterwards. What it answers does not matter: there is nobody to tell.
                unsafe { ffi::$release(self.0) };
            }
        }
    };
}

owner!(
    /// What buffers, programs and queues of one device share.
    Context, clReleaseContext
);
owner!(
    /// The commands for one device, run in the order of submission.
    Queue, clReleaseCommandQueue
);
owner!(
    /// Memory of a device.
    Memory, clReleaseMemObject
);
owner!(
    /// A compiled source.
    Program, clReleaseProgram
);
owner!(
    /// An entry of a program. Its arguments are part of it, so one thread at a time may use it.
    Kernel, clReleaseKernel
);

// SAFETY: all functions called with a shared context, queue or memory object are thread-safe by OpenCL's specification,
// which excepts only clSetKernelArg. (So `Kernel` is not `Sync`.)
unsafe impl Sync for Context {}
// SAFETY: as above.
unsafe impl Sync for Queue {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Context {
    /// A context of one device.
    pub(crate) fn new(device: DeviceId) -> Result<Self> {
        let mut code = 0;
        // SAFETY: one device, read from a live variable; no properties and no callback.
        let raw = unsafe { ffi::clCreateContext(null(), 1, &raw const device.0, None, null_mut(), &raw mut code) };
        check(code).map(|()| Self(raw))
    }

    /// The queue for the context's device.
    pub(crate) fn queue(&self, device: DeviceId) -> Result<Queue> {
        let mut code = 0;
        // SAFETY: the context is alive and was made of the device.
        let raw = unsafe { ffi::clCreateCommandQueue(self.0, device.0, 0, &raw mut code) };
        check(code).map(|()| Queue(raw))
    }

    /// New memory of `bytes` bytes, at least one.
    pub(crate) fn memory(&self, bytes: usize) -> Result<Memory> {
        const READ_WRITE: u64 = 1;
        let mut code = 0;
        // SAFETY: the context is alive and no host memory is involved.
        let raw = unsafe { ffi::clCreateBuffer(self.0, READ_WRITE, bytes, null_mut(), &raw mut code) };
        check(code).map(|()| Memory(raw))
    }

    /// Compiles a source.
    ///
    /// # Errors
    /// What the compiler printed, or the error's name.
    pub(crate) fn compile(
        &self,
        device: DeviceId,
        source: &str,
        options: &str,
    ) -> std::result::Result<Program, String> {
        let options = CString::new(options).map_err(|_zero_inside| "options must hold no zero byte".to_owned())?;
        let (mut code, text, length) = (0, source.as_ptr().cast(), source.len());
        // SAFETY: the context is alive; one text of the given length, both read during the call only.
        let raw =
            unsafe { ffi::clCreateProgramWithSource(self.0, 1, &raw const text, &raw const length, &raw mut code) };
        check(code).map_err(|code| code.to_string())?;
        let program = Program(raw);
        // SAFETY: program and device are alive and share the context; the options end with a zero byte; no callback.
        let code =
            unsafe { ffi::clBuildProgram(program.0, 1, &raw const device.0, options.as_ptr(), None, null_mut()) };
        check(code).map_err(|code| format!("{code}\n{}", program.log(device)))?;
        Ok(program)
    }

    /// Makes a program of what [`Program::binary`] gave for the same device, driver and options.
    pub(crate) fn load(&self, device: DeviceId, binary: &[u8], options: &str) -> Result<Program> {
        let options = CString::new(options).map_err(|_zero_inside| Code(-43))?;
        let (mut code, mut status, bytes, length) = (0, 0, binary.as_ptr(), binary.len());
        // SAFETY: context and device are alive; one binary of the given length, read during the call only; both codes go to
        // live variables.
        let raw = unsafe {
            ffi::clCreateProgramWithBinary(
                self.0,
                1,
                &raw const device.0,
                &raw const length,
                &raw const bytes,
                &raw mut status,
                &raw mut code,
            )
        };
        check(code)?;
        let program = Program(raw);
        check(status)?;
        // SAFETY: program and device are alive and share the context; the options end with a zero byte; no callback.
        check(unsafe { ffi::clBuildProgram(program.0, 1, &raw const device.0, options.as_ptr(), None, null_mut()) })?;
        Ok(program)
    }
}

impl Program {
    /// What the compiler made of the source.
    pub(crate) fn binary(&self) -> Result<Vec<u8>> {
        const SIZES: u32 = 0x1165;
        const BINARIES: u32 = 0x1166;
        let mut size = 0usize;
        let one_size = size_of::<usize>();
        // SAFETY: the program is alive and was built for one device, so there is one size, for which there is room.
        check(unsafe { ffi::clGetProgramInfo(self.0, SIZES, one_size, (&raw mut size).cast(), null_mut()) })?;
        let mut binary = vec![0u8; size];
        let mut target = binary.as_mut_ptr();
        let one_pointer = size_of::<*mut u8>();
        // SAFETY: as above there is one binary; its address is given, with room for as many bytes as it has.
        check(unsafe { ffi::clGetProgramInfo(self.0, BINARIES, one_pointer, (&raw mut target).cast(), null_mut()) })?;
        Ok(binary)
    }

    /// What the compiler printed.
    fn log(&self, device: DeviceId) -> String {
        const LOG: u32 = 0x1183;
        let mut size = 0;
        // SAFETY: program and device are alive; with no room for a value only its size is written.
        let code = unsafe { ffi::clGetProgramBuildInfo(self.0, device.0, LOG, 0, null_mut(), &raw mut size) };
        let mut log = vec![0u8; size];
        if code == 0 {
            // SAFETY: there is room for as many bytes as the call is told.
            unsafe {
                ffi::clGetProgramBuildInfo(self.0, device.0, LOG, size, log.as_mut_ptr().cast(), null_mut());
            }
        }
        String::from_utf8_lossy(&log).trim_matches(['\0', '\n', ' ']).to_owned()
    }

    /// The kernel of this name.
    pub(crate) fn kernel(&self, name: &str) -> Result<Kernel> {
        let name = CString::new(name).map_err(|_zero_inside| Code(-46))?;
        let mut code = 0;
        // SAFETY: the program is alive and built; the name ends with a zero byte.
        let raw = unsafe { ffi::clCreateKernel(self.0, name.as_ptr(), &raw mut code) };
        check(code).map(|()| Kernel(raw))
    }
}

/// An argument of a kernel.
#[derive(Clone, Copy)]
pub(crate) enum Argument<'a> {
    /// A value, byte by byte.
    Bytes(&'a [u8]),
    /// Memory of the kernel's device.
    Memory(&'a Memory),
}

impl Kernel {
    fn set(&mut self, index: usize, argument: Argument<'_>) -> Result<()> {
        let (size, value): (usize, *const c_void) = match &argument {
            Argument::Bytes(bytes) => (bytes.len(), bytes.as_ptr().cast()),
            Argument::Memory(memory) => (size_of::<*mut c_void>(), (&raw const memory.0).cast()),
        };
        // SAFETY: the kernel is alive and, as `self` is borrowed alone, used by no other thread. The value has as many
        // readable bytes as the call is told and is copied before it returns. OpenCL refuses a size that does not fit the
        // parameter.
        check(unsafe { ffi::clSetKernelArg(self.0, index as u32, size, value) })
    }
}

impl Queue {
    /// Runs a kernel for `global` work-items in groups of `local`, which divides it.
    ///
    /// # Safety
    /// The arguments must be those that the kernel's source declares, in number, order and kind, and with them the kernel
    /// must stay within the memory it is given.
    pub(crate) unsafe fn launch(
        &self,
        kernel: &mut Kernel,
        arguments: &[Argument<'_>],
        global: [usize; 3],
        local: [usize; 3],
    ) -> Result<()> {
        for (index, &argument) in arguments.iter().enumerate() {
            kernel.set(index, argument)?;
        }
        // SAFETY: queue and kernel are alive and of one context; both sizes have three entries; no events. OpenCL retains
        // kernel and memory until the command is done. What the kernel does is the caller's promise.
        check(unsafe {
            ffi::clEnqueueNDRangeKernel(
                self.0,
                kernel.0,
                3,
                null(),
                global.as_ptr(),
                local.as_ptr(),
                0,
                null(),
                null_mut(),
            )
        })
    }

    /// Copies `bytes` to the memory, from byte `offset` on, and waits until it is done.
    ///
    /// # Safety
    /// The range must lie within the memory, which must be of this queue's device.
    pub(crate) unsafe fn write(&self, memory: &Memory, offset: usize, bytes: &[u8]) -> Result<()> {
        // SAFETY: queue and memory are alive. The call blocks, so the bytes outlive the copy; the range is the caller's
        // promise (and OpenCL checks it).
        check(unsafe {
            ffi::clEnqueueWriteBuffer(
                self.0,
                memory.0,
                1,
                offset,
                bytes.len(),
                bytes.as_ptr().cast(),
                0,
                null(),
                null_mut(),
            )
        })
    }

    /// Copies from byte `offset` of the memory on to `bytes`, and waits until it is done.
    ///
    /// # Safety
    /// The range must lie within the memory, which must be of this queue's device.
    pub(crate) unsafe fn read(&self, memory: &Memory, offset: usize, bytes: &mut [u8]) -> Result<()> {
        // SAFETY: queue and memory are alive. The call blocks, so the bytes outlive the copy, and they are borrowed alone;
        // the range is the caller's promise (and OpenCL checks it).
        check(unsafe {
            ffi::clEnqueueReadBuffer(
                self.0,
                memory.0,
                1,
                offset,
                bytes.len(),
                bytes.as_mut_ptr().cast(),
                0,
                null(),
                null_mut(),
            )
        })
    }

    /// Copies the first `bytes` bytes of one memory to another of the same context.
    ///
    /// # Safety
    /// Both must have at least `bytes` bytes and be different.
    pub(crate) unsafe fn copy(&self, from: &Memory, to: &Memory, bytes: usize) -> Result<()> {
        // SAFETY: queue and memories are alive and of one context; the ranges are the caller's promise.
        check(unsafe { ffi::clEnqueueCopyBuffer(self.0, from.0, to.0, 0, 0, bytes, 0, null(), null_mut()) })
    }

    /// Waits until everything submitted is done.
    pub(crate) fn finish(&self) -> Result<()> {
        // SAFETY: the queue is alive.
        check(unsafe { ffi::clFinish(self.0) })
    }
}
