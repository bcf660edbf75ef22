//! The OpenCL functions, loaded from the system's library when they are first called.
//!
//! `ocl` refers to 117 functions by name. Defined here, they let a program build with no OpenCL SDK and start on a machine with
//! no OpenCL at all: without the library each of them answers "no platform".

#![allow(non_snake_case, reason = "the functions have OpenCL's names")]

use libloading::Library;
use std::ffi::{OsString, c_void};
use std::sync::OnceLock;

type Ptr = *mut c_void;

/// `CL_PLATFORM_NOT_FOUND_KHR`, which a loader without any runtime gives as well.
const NO_PLATFORM: i32 = -1001;

/// Where a function writes its error code.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Status(*mut i32);

/// What becomes of an argument when there is no function to pass it to.
trait Argument: Copy {
    /// # Safety
    /// The argument must be one that the function of this name accepts.
    unsafe fn refuse(self) {}
}

impl Argument for Ptr {}
impl Argument for u32 {}
impl Argument for i32 {}
impl Argument for u64 {}
impl Argument for usize {}
impl Argument for Status {
    unsafe fn refuse(self) {
        if !self.0.is_null() {
            // SAFETY: OpenCL demands that an error code's address is null or can be written, and the caller promises to
            // have called as OpenCL demands.
            unsafe { self.0.write(NO_PLATFORM) };
        }
    }
}

/// What a function gives when it is not there.
trait Answer {
    const NOTHING: Self;
}

impl Answer for i32 {
    const NOTHING: Self = NO_PLATFORM;
}

impl Answer for Ptr {
    const NOTHING: Self = std::ptr::null_mut();
}

/// The OpenCL library, loaded once and never unloaded: the one that `GRADIX_OPENCL_LIBRARY` names, else the system's.
fn library() -> Option<&'static Library> {
    static LIBRARY: OnceLock<Option<Library>> = OnceLock::new();
    let usual: &[&str] = if cfg!(windows) { &["OpenCL.dll"] } else { &["libOpenCL.so.1", "libOpenCL.so"] };
    LIBRARY
        .get_or_init(|| {
            let given = std::env::var_os("GRADIX_OPENCL_LIBRARY");
            let names = given.map_or_else(|| usual.iter().map(OsString::from).collect(), |name| vec![name]);
            names.iter().find_map(|name| {
                // SAFETY: loading a library runs its initialisers. The OpenCL loader is made to be loaded by any program at
                // any time, and nothing here depends on what its initialisers do. Whoever names another one answers for it,
                // as with any library that the environment makes a program load.
                unsafe { Library::new(name) }.ok()
            })
        })
        .as_ref()
}

/// Whether there is an OpenCL library at all.
pub(crate) fn is_present() -> bool {
    // Linkers leave out what nothing refers to, and then `ocl` would find no functions.
    std::hint::black_box(&FORWARDERS);
    library().is_some()
}

macro_rules! forward {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $ret:ty;)*) => {
        $(
            #[unsafe(no_mangle)]
            unsafe extern "system" fn $name($($arg: $kind),*) -> $ret {
                type Function = unsafe extern "system" fn($($kind),*) -> $ret;
                static FUNCTION: OnceLock<Option<Function>> = OnceLock::new();
                let function = FUNCTION.get_or_init(|| {
                    // SAFETY: `Function` has the parameters of the function of this name in OpenCL's headers: pointers and
                    // handles are addresses, integers have the headers' widths. The library is never unloaded, so the
                    // address stays good.
                    unsafe { library()?.get::<Function>(stringify!($name)) }.ok().map(|symbol| *symbol)
                });
                match function {
                    // SAFETY: the caller passes what OpenCL demands of the function of this name, which this is.
                    Some(function) => unsafe { function($($arg),*) },
                    None => {
                        // SAFETY: the caller passes what OpenCL demands of the function of this name.
                        $(unsafe { $arg.refuse() };)*
                        <$ret>::NOTHING
                    }
                }
            }
        )*

        /// The address of every function, so that all of them stay in the program.
        #[expect(clippy::fn_to_numeric_cast_any, reason = "functions of different types share a list by address only")]
        static FORWARDERS: &[Address] = &[$(Address($name as *const c_void)),*];
    };
}

struct Address(#[allow(dead_code, reason = "it is there to be referred to")] *const c_void);

// SAFETY: the address of a function is the same for every thread, and nothing is read or written through it.
unsafe impl Sync for Address {}

forward! {
    clGetPlatformIDs(a: u32, b: Ptr, c: Ptr) -> i32;
    clGetPlatformInfo(a: Ptr, b: u32, c: usize, d: Ptr, e: Ptr) -> i32;
    clGetDeviceIDs(a: Ptr, b: u64, c: u32, d: Ptr, e: Ptr) -> i32;
    clGetDeviceInfo(a: Ptr, b: u32, c: usize, d: Ptr, e: Ptr) -> i32;
    clCreateSubDevices(a: Ptr, b: Ptr, c: u32, d: Ptr, e: Ptr) -> i32;
    clRetainDevice(a: Ptr) -> i32;
    clReleaseDevice(a: Ptr) -> i32;
    clSetDefaultDeviceCommandQueue(a: Ptr, b: Ptr, c: Ptr) -> i32;
    clGetDeviceAndHostTimer(a: Ptr, b: Ptr, c: Ptr) -> i32;
    clGetHostTimer(a: Ptr, b: Ptr) -> i32;
    clCreateContext(a: Ptr, b: u32, c: Ptr, d: Ptr, e: Ptr, f: Status) -> Ptr;
    clCreateContextFromType(a: Ptr, b: u64, c: Ptr, d: Ptr, e: Status) -> Ptr;
    clRetainContext(a: Ptr) -> i32;
    clReleaseContext(a: Ptr) -> i32;
    clGetContextInfo(a: Ptr, b: u32, c: usize, d: Ptr, e: Ptr) -> i32;
    clCreateCommandQueue(a: Ptr, b: Ptr, c: u64, d: Status) -> Ptr;
    clCreateCommandQueueWithProperties(a: Ptr, b: Ptr, c: Ptr, d: Status) -> Ptr;
    clRetainCommandQueue(a: Ptr) -> i32;
    clReleaseCommandQueue(a: Ptr) -> i32;
    clGetCommandQueueInfo(a: Ptr, b: u32, c: usize, d: Ptr, e: Ptr) -> i32;
    clCreateBuffer(a: Ptr, b: u64, c: usize, d: Ptr, e: Status) -> Ptr;
    clCreateSubBuffer(a: Ptr, b: u64, c: u32, d: Ptr, e: Status) -> Ptr;
    clCreateImage2D(a: Ptr, b: u64, c: Ptr, d: usize, e: usize, f: usize, g: Ptr, h: Status) -> Ptr;
    clCreateImage3D(a: Ptr, b: u64, c: Ptr, d: usize, e: usize, f: usize, g: usize, h: usize, i: Ptr, j: Status) -> Ptr;
    clCreateImage(a: Ptr, b: u64, c: Ptr, d: Ptr, e: Ptr, f: Status) -> Ptr;
    clCreatePipe(a: Ptr, b: u64, c: u32, d: u32, e: Ptr, f: Status) -> Ptr;
    clRetainMemObject(a: Ptr) -> i32;
    clReleaseMemObject(a: Ptr) -> i32;
    clGetSupportedImageFormats(a: Ptr, b: u64, c: u32, d: u32, e: Ptr, f: Ptr) -> i32;
    clGetMemObjectInfo(a: Ptr, b: u32, c: usize, d: Ptr, e: Ptr) -> i32;
    clGetImageInfo(a: Ptr, b: u32, c: usize, d: Ptr, e: Ptr) -> i32;
    clGetPipeInfo(a: Ptr, b: u32, c: usize, d: Ptr, e: Ptr) -> i32;
    clSetMemObjectDestructorCallback(a: Ptr, b: Ptr, c: Ptr) -> i32;
    clSVMAlloc(a: Ptr, b: u64, c: usize, d: u32) -> Ptr;
    clSVMFree(a: Ptr, b: Ptr) -> Ptr;
    clCreateSampler(a: Ptr, b: u32, c: u32, d: u32, e: Status) -> Ptr;
    clCreateSamplerWithProperties(a: Ptr, b: Ptr, c: Status) -> Ptr;
    clRetainSampler(a: Ptr) -> i32;
    clReleaseSampler(a: Ptr) -> i32;
    clGetSamplerInfo(a: Ptr, b: u32, c: usize, d: Ptr, e: Ptr) -> i32;
    clCreateProgramWithSource(a: Ptr, b: u32, c: Ptr, d: Ptr, e: Status) -> Ptr;
    clCreateProgramWithBinary(a: Ptr, b: u32, c: Ptr, d: Ptr, e: Ptr, f: Ptr, g: Status) -> Ptr;
    clCreateProgramWithBuiltInKernels(a: Ptr, b: u32, c: Ptr, d: Ptr, e: Status) -> Ptr;
    clCreateProgramWithIL(a: Ptr, b: Ptr, c: usize, d: Status) -> Ptr;
    clRetainProgram(a: Ptr) -> i32;
    clReleaseProgram(a: Ptr) -> i32;
    clBuildProgram(a: Ptr, b: u32, c: Ptr, d: Ptr, e: Ptr, f: Ptr) -> i32;
    clUnloadCompiler() -> i32;
    clCompileProgram(a: Ptr, b: u32, c: Ptr, d: Ptr, e: u32, f: Ptr, g: Ptr, h: Ptr, i: Ptr) -> i32;
    clLinkProgram(a: Ptr, b: u32, c: Ptr, d: Ptr, e: u32, f: Ptr, g: Ptr, h: Ptr, i: Status) -> Ptr;
    clGetProgramInfo(a: Ptr, b: u32, c: usize, d: Ptr, e: Ptr) -> i32;
    clGetProgramBuildInfo(a: Ptr, b: Ptr, c: u32, d: usize, e: Ptr, f: Ptr) -> i32;
    clCreateKernel(a: Ptr, b: Ptr, c: Status) -> Ptr;
    clCreateKernelsInProgram(a: Ptr, b: u32, c: Ptr, d: Ptr) -> i32;
    clCloneKernel(a: Ptr, b: Status) -> Ptr;
    clRetainKernel(a: Ptr) -> i32;
    clReleaseKernel(a: Ptr) -> i32;
    clSetKernelArg(a: Ptr, b: u32, c: usize, d: Ptr) -> i32;
    clSetKernelArgSVMPointer(a: Ptr, b: u32, c: Ptr) -> i32;
    clSetKernelExecInfo(a: Ptr, b: u32, c: usize, d: Ptr) -> i32;
    clGetKernelInfo(a: Ptr, b: u32, c: usize, d: Ptr, e: Ptr) -> i32;
    clGetKernelArgInfo(a: Ptr, b: u32, c: u32, d: usize, e: Ptr, f: Ptr) -> i32;
    clGetKernelWorkGroupInfo(a: Ptr, b: Ptr, c: u32, d: usize, e: Ptr, f: Ptr) -> i32;
    clGetKernelSubGroupInfo(a: Ptr, b: Ptr, c: u32, d: usize, e: Ptr, f: usize, g: Ptr, h: Ptr) -> i32;
    clWaitForEvents(a: u32, b: Ptr) -> i32;
    clGetEventInfo(a: Ptr, b: u32, c: usize, d: Ptr, e: Ptr) -> i32;
    clCreateUserEvent(a: Ptr, b: Status) -> Ptr;
    clRetainEvent(a: Ptr) -> i32;
    clReleaseEvent(a: Ptr) -> i32;
    clSetUserEventStatus(a: Ptr, b: i32) -> i32;
    clSetEventCallback(a: Ptr, b: i32, c: Ptr, d: Ptr) -> i32;
    clGetEventProfilingInfo(a: Ptr, b: u32, c: usize, d: Ptr, e: Ptr) -> i32;
    clFlush(a: Ptr) -> i32;
    clFinish(a: Ptr) -> i32;
    clEnqueueReadBuffer(a: Ptr, b: Ptr, c: u32, d: usize, e: usize, f: Ptr, g: u32, h: Ptr, i: Ptr) -> i32;
    clEnqueueReadBufferRect(a: Ptr, b: Ptr, c: u32, d: Ptr, e: Ptr, f: Ptr, g: usize, h: usize, i: usize, j: usize, k: Ptr, l: u32, m: Ptr, n: Ptr) -> i32;
    clEnqueueWriteBuffer(a: Ptr, b: Ptr, c: u32, d: usize, e: usize, f: Ptr, g: u32, h: Ptr, i: Ptr) -> i32;
    clEnqueueWriteBufferRect(a: Ptr, b: Ptr, c: u32, d: Ptr, e: Ptr, f: Ptr, g: usize, h: usize, i: usize, j: usize, k: Ptr, l: u32, m: Ptr, n: Ptr) -> i32;
    clEnqueueFillBuffer(a: Ptr, b: Ptr, c: Ptr, d: usize, e: usize, f: usize, g: u32, h: Ptr, i: Ptr) -> i32;
    clEnqueueCopyBuffer(a: Ptr, b: Ptr, c: Ptr, d: usize, e: usize, f: usize, g: u32, h: Ptr, i: Ptr) -> i32;
    clEnqueueCopyBufferRect(a: Ptr, b: Ptr, c: Ptr, d: Ptr, e: Ptr, f: Ptr, g: usize, h: usize, i: usize, j: usize, k: u32, l: Ptr, m: Ptr) -> i32;
    clEnqueueReadImage(a: Ptr, b: Ptr, c: u32, d: Ptr, e: Ptr, f: usize, g: usize, h: Ptr, i: u32, j: Ptr, k: Ptr) -> i32;
    clEnqueueWriteImage(a: Ptr, b: Ptr, c: u32, d: Ptr, e: Ptr, f: usize, g: usize, h: Ptr, i: u32, j: Ptr, k: Ptr) -> i32;
    clEnqueueFillImage(a: Ptr, b: Ptr, c: Ptr, d: Ptr, e: Ptr, f: u32, g: Ptr, h: Ptr) -> i32;
    clEnqueueCopyImage(a: Ptr, b: Ptr, c: Ptr, d: Ptr, e: Ptr, f: Ptr, g: u32, h: Ptr, i: Ptr) -> i32;
    clEnqueueCopyImageToBuffer(a: Ptr, b: Ptr, c: Ptr, d: Ptr, e: Ptr, f: usize, g: u32, h: Ptr, i: Ptr) -> i32;
    clEnqueueCopyBufferToImage(a: Ptr, b: Ptr, c: Ptr, d: usize, e: Ptr, f: Ptr, g: u32, h: Ptr, i: Ptr) -> i32;
    clEnqueueMapBuffer(a: Ptr, b: Ptr, c: u32, d: u64, e: usize, f: usize, g: u32, h: Ptr, i: Ptr, j: Ptr) -> Ptr;
    clEnqueueMapImage(a: Ptr, b: Ptr, c: u32, d: u64, e: Ptr, f: Ptr, g: Ptr, h: Ptr, i: u32, j: Ptr, k: Ptr, l: Ptr) -> Ptr;
    clEnqueueUnmapMemObject(a: Ptr, b: Ptr, c: Ptr, d: u32, e: Ptr, f: Ptr) -> i32;
    clEnqueueMigrateMemObjects(a: Ptr, b: u32, c: Ptr, d: u64, e: u32, f: Ptr, g: Ptr) -> i32;
    clEnqueueNDRangeKernel(a: Ptr, b: Ptr, c: u32, d: Ptr, e: Ptr, f: Ptr, g: u32, h: Ptr, i: Ptr) -> i32;
    clEnqueueTask(a: Ptr, b: Ptr, c: u32, d: Ptr, e: Ptr) -> i32;
    clEnqueueNativeKernel(a: Ptr, b: Ptr, c: Ptr, d: usize, e: u32, f: Ptr, g: Ptr, h: u32, i: Ptr, j: Ptr) -> i32;
    clEnqueueMarker(a: Ptr, b: Ptr) -> i32;
    clEnqueueMarkerWithWaitList(a: Ptr, b: u32, c: Ptr, d: Ptr) -> i32;
    clEnqueueWaitForEvents(a: Ptr, b: u32, c: Ptr) -> i32;
    clEnqueueBarrierWithWaitList(a: Ptr, b: u32, c: Ptr, d: Ptr) -> i32;
    clEnqueueSVMFree(a: Ptr, b: u32, c: Ptr, d: Ptr, e: Ptr, f: u32, g: Ptr, h: Ptr) -> i32;
    clEnqueueSVMMemcpy(a: Ptr, b: u32, c: Ptr, d: Ptr, e: usize, f: u32, g: Ptr, h: Ptr) -> i32;
    clEnqueueSVMMemFill(a: Ptr, b: Ptr, c: Ptr, d: usize, e: usize, f: u32, g: Ptr, h: Ptr) -> i32;
    clEnqueueSVMMap(a: Ptr, b: u32, c: u64, d: Ptr, e: usize, f: u32, g: Ptr, h: Ptr) -> i32;
    clEnqueueSVMUnmap(a: Ptr, b: Ptr, c: u32, d: Ptr, e: Ptr) -> i32;
    clEnqueueSVMMigrateMem(a: Ptr, b: u32, c: Ptr, d: Ptr, e: u64, f: u32, g: Ptr, h: Ptr) -> i32;
    clEnqueueBarrier(a: Ptr) -> i32;
    clGetExtensionFunctionAddress(a: Ptr) -> Ptr;
    clGetExtensionFunctionAddressForPlatform(a: Ptr, b: Ptr) -> Ptr;
    clCreateFromGLBuffer(a: Ptr, b: u64, c: u32, d: Status) -> Ptr;
    clCreateFromGLTexture(a: Ptr, b: u64, c: u32, d: i32, e: u32, f: Status) -> Ptr;
    clGetGLObjectInfo(a: Ptr, b: Ptr, c: Ptr) -> i32;
    clGetGLTextureInfo(a: Ptr, b: u32, c: usize, d: Ptr, e: Ptr) -> i32;
    clCreateFromGLRenderbuffer(a: Ptr, b: u64, c: u32, d: Status) -> Ptr;
    clEnqueueAcquireGLObjects(a: Ptr, b: u32, c: Ptr, d: u32, e: Ptr, f: Ptr) -> i32;
    clEnqueueReleaseGLObjects(a: Ptr, b: u32, c: Ptr, d: u32, e: Ptr, f: Ptr) -> i32;
    clGetGLContextInfoKHR(a: Ptr, b: u32, c: usize, d: Ptr, e: Ptr) -> i32;
    clCreateFromGLTexture2D(a: Ptr, b: u64, c: u32, d: i32, e: u32, f: Status) -> Ptr;
    clCreateFromGLTexture3D(a: Ptr, b: u64, c: u32, d: i32, e: u32, f: Status) -> Ptr;
}
