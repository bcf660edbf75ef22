//! What is used of the CUDA driver, in types that give errors instead of codes.
//!
//! Every function here asks [`library::driver`] for nothing: whoever makes a [`Gpu`] has done so, and what a `Gpu` calls is
//! among the functions that were looked for. Devices, contexts, streams and modules live as long as the process, so nothing of
//! them is destroyed, and no destructor can meet a driver that is already gone. Graphs, which their users drop, are the exception.
//!
//! While a thread records a graph, what it submits goes to a stream of its own ([`Gpu::record`]); all other threads' work goes
//! on as before.

use crate::library;
use cudarc::driver::sys::{
    self, CUcontext, CUdevice, CUdevice_attribute, CUfunction, CUgraphExec, CUmemoryPool, CUresult, CUstream,
    CUstreamCaptureMode,
};
use smallvec::SmallVec;
use std::cell::Cell;
use std::ffi::{CStr, c_void};
use std::fmt;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

/// A driver error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(CUresult);

/// Result with a driver error code.
pub(crate) type Result<T, E = Code> = std::result::Result<T, E>;

impl Code {
    pub(crate) fn is_out_of_memory(self) -> bool {
        self.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY
    }

    /// Whether the image of a kernel does not suit the device or its driver, so that another one may.
    pub(crate) fn is_unfit_image(self) -> bool {
        matches!(
            self.0,
            CUresult::CUDA_ERROR_INVALID_IMAGE
                | CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
                | CUresult::CUDA_ERROR_INVALID_SOURCE
                | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
                | CUresult::CUDA_ERROR_NOT_FOUND
        )
    }

    /// Whether the driver answers every later call in this process with it.
    fn is_final(self) -> bool {
        matches!(
            self.0,
            CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
                | CUresult::CUDA_ERROR_LAUNCH_FAILED
                | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
                | CUresult::CUDA_ERROR_ECC_UNCORRECTABLE
                | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
                | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
                | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
                | CUresult::CUDA_ERROR_ASSERT
        )
    }

    fn text(self, ask: unsafe fn(CUresult, *mut *const std::ffi::c_char) -> CUresult) -> Option<String> {
        let mut text = null();
        // SAFETY: both functions that are passed here write the address of a static text, or of nothing for a code that
        // they do not know, to a live variable.
        let known = unsafe { ask(self.0, &raw mut text) } == CUresult::CUDA_SUCCESS && !text.is_null();
        // SAFETY: the driver gave the address of a text that ends with a zero byte and is never freed.
        known.then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.text(sys::cuGetErrorName).unwrap_or_else(|| format!("{:?}", self.0));
        write!(f, "{name}")?;
        if let Some(text) = self.text(sys::cuGetErrorString) {
            write!(f, " ({text})")?;
        }
        if self.is_final() {
            write!(f, "; this process cannot use the device any more")?;
        }
        Ok(())
    }
}

fn check(code: CUresult) -> Result<()> {
    if code == CUresult::CUDA_SUCCESS { Ok(()) } else { Err(Code(code)) }
}

/// How many devices there are.
///
/// # Errors
/// Why there is no driver, or what it answered.
pub(crate) fn count() -> Result<usize, String> {
    static STARTED: OnceLock<Result<bool, String>> = OnceLock::new();
    library::driver()?;
    let has_devices = STARTED
        .get_or_init(|| {
            // SAFETY: the driver's library is loaded; the only flags there are is 0.
            match check(unsafe { sys::cuInit(0) }) {
                Ok(()) => Ok(true),
                // It is not started then, and answers nothing else.
                Err(Code(CUresult::CUDA_ERROR_NO_DEVICE)) => Ok(false),
                Err(code) => Err(format!("NVIDIA's driver did not start: {code}")),
            }
        })
        .clone()?;
    if !has_devices {
        return Ok(0);
    }
    let mut count = 0;
    // SAFETY: the driver's library is loaded; the number goes to a live variable.
    match check(unsafe { sys::cuDeviceGetCount(&raw mut count) }) {
        Ok(()) => Ok(count.max(0) as usize),
        Err(Code(CUresult::CUDA_ERROR_NO_DEVICE)) => Ok(0),
        Err(code) => Err(format!("NVIDIA's driver does not list its devices: {code}")),
    }
}

/// The CUDA version that the driver was made for, such as 13020 for 13.2.
pub(crate) fn version() -> i32 {
    let mut version = 0;
    // SAFETY: called with a started driver only; the number goes to a live variable.
    let _ = unsafe { sys::cuDriverGetVersion(&raw mut version) };
    version
}

/// A device of the driver, by its number below [`count`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceId(CUdevice);

impl DeviceId {
    pub(crate) fn new(index: usize) -> Result<Self> {
        let mut device = 0;
        // SAFETY: the driver is started, or it answers that it is not; the handle goes to a live variable.
        check(unsafe { sys::cuDeviceGet(&raw mut device, index as i32) })?;
        Ok(Self(device))
    }

    pub(crate) fn name(self) -> Result<String> {
        let mut name = [0u8; 256];
        // SAFETY: there is room for as many bytes as the call is told.
        check(unsafe { sys::cuDeviceGetName(name.as_mut_ptr().cast(), name.len() as i32, self.0) })?;
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
        Ok(String::from_utf8_lossy(&name[..end]).into_owned())
    }

    pub(crate) fn memory(self) -> Result<usize> {
        let mut bytes = 0;
        // SAFETY: the device is one that the driver gave; the number goes to a live variable.
        check(unsafe { sys::cuDeviceTotalMem_v2(&raw mut bytes, self.0) })?;
        Ok(bytes)
    }

    pub(crate) fn attribute(self, attribute: CUdevice_attribute) -> Result<i32> {
        let mut value = 0;
        // SAFETY: the device is one that the driver gave; the number goes to a live variable.
        check(unsafe { sys::cuDeviceGetAttribute(&raw mut value, attribute, self.0) })?;
        Ok(value)
    }

    fn reaches(self, other: Self) -> bool {
        let mut can = 0;
        // SAFETY: both devices are ones that the driver gave; the number goes to a live variable.
        check(unsafe { sys::cuDeviceCanAccessPeer(&raw mut can, self.0, other.0) }).is_ok() && can != 0
    }
}

/// An entry of a loaded module. Modules are never unloaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function(CUfunction);

// SAFETY: a function's handle belongs to no thread, and launching it from any thread is allowed.
unsafe impl Send for Function {}
// SAFETY: as above; the handle itself is never written.
unsafe impl Sync for Function {}

/// What a thread records just now.
#[derive(Clone, Copy)]
struct Recording {
    gpu: *const Gpu,
    stream: CUstream,
    number: u64,
}

thread_local! {
    static RECORDING: Cell<Option<Recording>> = const { Cell::new(None) };
}

/// Whether this thread records a graph, of whichever device.
pub(crate) fn is_recording() -> bool {
    RECORDING.get().is_some()
}

/// Recorded work that can be submitted as a whole.
#[derive(Debug)]
pub(crate) struct Executable(CUgraphExec);

// SAFETY: a graph's handle belongs to no thread; who launches it sees to it that no two threads do at the same time.
unsafe impl Send for Executable {}

/// An open device: its primary context, the one stream in which everything runs, and where its memory comes from.
#[derive(Debug)]
pub(crate) struct Gpu {
    id: DeviceId,
    context: CUcontext,
    stream: CUstream,
    /// None where the driver or the device has no memory pools.
    pool: Option<CUmemoryPool>,
}

// SAFETY: contexts, streams and memory pools belong to no thread: the driver's functions that take them may be called by any
// thread whose current context is the right one, which every method sees to.
unsafe impl Send for Gpu {}
// SAFETY: as above; the driver locks what it shares, and the handles themselves are never written.
unsafe impl Sync for Gpu {}

impl Gpu {
    pub(crate) fn open(id: DeviceId) -> Result<Self> {
        let mut gpu = Self { id, context: null_mut(), stream: null_mut(), pool: None };
        // SAFETY: the device is one that the driver gave; the handle goes to a live variable. The reference is kept for ever.
        check(unsafe { sys::cuDevicePrimaryCtxRetain(&raw mut gpu.context, id.0) })?;
        gpu.bind()?;
        const NON_BLOCKING: u32 = 1;
        // SAFETY: the device's context is current; the handle goes to a live variable.
        check(unsafe { sys::cuStreamCreate(&raw mut gpu.stream, NON_BLOCKING) })?;
        let pools = id.attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED);
        if library::has_pools() && pools.is_ok_and(|supported| supported != 0) {
            // A pool of our own that cannot be made is no reason not to work without.
            gpu.pool = gpu.new_pool().ok();
        }
        Ok(gpu)
    }

    /// Memory that keeps what is freed until it is told to give it back.
    fn new_pool(&self) -> Result<CUmemoryPool> {
        // SAFETY: a struct of integers, enums with a variant 0 and a pointer that may be null.
        let mut props: sys::CUmemPoolProps = unsafe { std::mem::zeroed() };
        props.allocType = sys::CUmemAllocationType::CU_MEM_ALLOCATION_TYPE_PINNED;
        props.location.type_ = sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE;
        props.location.__bindgen_anon_1.id = self.id.0;
        let mut pool = null_mut();
        // SAFETY: the properties are read from, and the handle written to, live variables.
        check(unsafe { sys::cuMemPoolCreate(&raw mut pool, &raw const props) })?;
        let mut threshold = u64::MAX;
        let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        // SAFETY: the pool was just made; the attribute's value is a u64, read from a live variable.
        check(unsafe { sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut threshold).cast()) })?;
        Ok(pool)
    }

    /// Makes the device's context this thread's current one, which the driver's functions refer to.
    fn bind(&self) -> Result<()> {
        // SAFETY: the context was retained and is never released.
        check(unsafe { sys::cuCtxSetCurrent(self.context) })
    }

    /// The stream, for a library that submits work to it itself, with the context made current.
    pub(crate) fn stream(&self) -> Result<CUstream> {
        self.bind().map(|()| self.current())
    }

    /// The stream that this thread's work goes to.
    fn current(&self) -> CUstream {
        match RECORDING.get() {
            Some(recording) if std::ptr::eq(recording.gpu, self) => recording.stream,
            _ => self.stream,
        }
    }

    /// The number of the graph that this thread records on this device, if it does.
    pub(crate) fn recording(&self) -> Option<u64> {
        RECORDING.get().filter(|recording| std::ptr::eq(recording.gpu, self)).map(|recording| recording.number)
    }

    /// Records from now on what this thread submits, as the graph of a number. No thread records two at the same time.
    pub(crate) fn record(&'static self, number: u64) -> Result<()> {
        assert!(!is_recording(), "a thread records one graph at a time");
        self.bind()?;
        const NON_BLOCKING: u32 = 1;
        let mut stream = null_mut();
        // SAFETY: the device's context is current; the handle goes to a live variable.
        check(unsafe { sys::cuStreamCreate(&raw mut stream, NON_BLOCKING) })?;
        // Relaxed: nothing that is submitted elsewhere, by whichever thread, concerns this stream, so all may go on.
        // SAFETY: the stream was just made, and nothing was submitted to it.
        let begun =
            check(unsafe { sys::cuStreamBeginCapture_v2(stream, CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED) });
        if begun.is_err() {
            // SAFETY: the stream was made here, nobody else has it, and it is given back once.
            let _ = unsafe { sys::cuStreamDestroy_v2(stream) };
            return begun;
        }
        RECORDING.set(Some(Recording { gpu: self, stream, number }));
        Ok(())
    }

    /// Ends what [`record`](Self::record) began on this thread. The last step, which takes memory, is run by `make`.
    pub(crate) fn end_recording(
        &self,
        make: impl FnOnce(&mut dyn FnMut() -> Result<()>) -> Result<()>,
    ) -> Result<Executable> {
        let recording = RECORDING.take().filter(|recording| std::ptr::eq(recording.gpu, self));
        let Some(recording) = recording else { unreachable!("only what was begun ends") };
        let mut executable = null_mut();
        let ended = self.bind().and_then(|()| {
            let mut graph = null_mut();
            // SAFETY: the stream is alive and being captured, by this thread; the handle goes to a live variable.
            check(unsafe { sys::cuStreamEndCapture(recording.stream, &raw mut graph) })?;
            // SAFETY: the graph was just made; the handle goes to a live variable.
            let made = make(&mut || check(unsafe { sys::cuGraphInstantiateWithFlags(&raw mut executable, graph, 0) }));
            // SAFETY: the graph was made here and is given back once; what was made of it does not need it.
            let _ = unsafe { sys::cuGraphDestroy(graph) };
            made
        });
        // SAFETY: the stream was made by `record`, this thread was the only one that knew it and does not any more, and nothing
        // ran in it.
        let _ = unsafe { sys::cuStreamDestroy_v2(recording.stream) };
        ended.map(|()| Executable(executable))
    }

    /// Submits recorded work.
    ///
    /// # Safety
    /// All memory that the work uses must still belong to it, and no other thread may launch the graph at the same time.
    pub(crate) unsafe fn launch_graph(&self, graph: &Executable) -> Result<()> {
        self.bind()?;
        // SAFETY: the graph is alive, as it is borrowed; the rest is the caller's promise. The stream belongs to the context.
        check(unsafe { sys::cuGraphLaunch(graph.0, self.stream) })
    }

    /// Gives recorded work back; the driver keeps it for as long as it still runs.
    pub(crate) fn forget_graph(&self, graph: &Executable) {
        if self.bind().is_ok() {
            // SAFETY: the only caller is the destructor of the graph's owner, so the handle is alive and given back once. A
            // driver that fails here has failed for good, and the next call says so.
            let _ = unsafe { sys::cuGraphExecDestroy(graph.0) };
        }
    }

    /// New memory: its address. Work submitted afterwards may use it.
    pub(crate) fn alloc(&self, bytes: usize) -> Result<u64> {
        self.bind()?;
        let mut address = 0;
        match self.pool {
            // SAFETY: pool and stream belong to the current context; the address goes to a live variable.
            Some(pool) => check(unsafe { sys::cuMemAllocFromPoolAsync(&raw mut address, bytes, pool, self.stream) })?,
            // SAFETY: the address goes to a live variable.
            None => check(unsafe { sys::cuMemAlloc_v2(&raw mut address, bytes) })?,
        }
        Ok(address)
    }

    /// Gives memory back once all work submitted before is done.
    ///
    /// # Safety
    /// The address must come from [`alloc`](Self::alloc) of this device, be given back once, and not be used by work that is
    /// submitted afterwards.
    pub(crate) unsafe fn free(&self, address: u64) -> Result<()> {
        self.bind()?;
        match self.pool {
            // SAFETY: the caller's promise; the free takes its turn in the stream in which all work runs.
            Some(_) => check(unsafe { sys::cuMemFreeAsync(address, self.stream) }),
            None => {
                self.synchronize()?;
                // SAFETY: the caller's promise, and nothing that was submitted before runs any more.
                check(unsafe { sys::cuMemFree_v2(address) })
            }
        }
    }

    /// Waits for all work and lets the driver give what was freed back to the system.
    pub(crate) fn trim(&self) -> Result<()> {
        self.synchronize()?;
        match self.pool {
            // SAFETY: the pool is alive.
            Some(pool) => check(unsafe { sys::cuMemPoolTrimTo(pool, 0) }),
            None => Ok(()),
        }
    }

    /// Host memory that the device reads and writes by itself. It stays until [`free_host`](Self::free_host).
    pub(crate) fn alloc_host(&self, bytes: usize) -> Result<*mut u8> {
        self.bind()?;
        let mut pointer: *mut c_void = null_mut();
        // SAFETY: the address goes to a live variable; no flags.
        check(unsafe { sys::cuMemHostAlloc(&raw mut pointer, bytes, 0) })?;
        Ok(pointer.cast())
    }

    /// Gives memory of [`alloc_host`](Self::alloc_host) back.
    ///
    /// # Safety
    /// It must come from there, be given back once, and be used by no work that still runs or is submitted afterwards.
    pub(crate) unsafe fn free_host(&self, pointer: *mut u8) {
        if self.bind().is_ok() {
            // SAFETY: the caller's promise. A driver that fails here has failed for good, and the next call says so.
            let _ = unsafe { sys::cuMemFreeHost(pointer.cast()) };
        }
    }

    /// Submits a copy from host memory.
    ///
    /// # Safety
    /// `bytes` bytes must be readable at `from`, unchanged until the copy is done, and lie at `to` in memory of this device.
    pub(crate) unsafe fn upload(&self, to: u64, from: *const u8, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: the caller's promise.
        check(unsafe { sys::cuMemcpyHtoDAsync_v2(to, from.cast(), bytes, self.current()) })
    }

    /// Submits a copy to host memory.
    ///
    /// # Safety
    /// `bytes` bytes must be writable at `to`, used by nobody until the copy is done, and lie at `from` in memory of this
    /// device.
    pub(crate) unsafe fn download(&self, to: *mut u8, from: u64, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: the caller's promise.
        check(unsafe { sys::cuMemcpyDtoHAsync_v2(to.cast(), from, bytes, self.current()) })
    }

    /// Submits a copy within the device.
    ///
    /// # Safety
    /// Both ranges must lie within memory of this device and not overlap.
    pub(crate) unsafe fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: the caller's promise.
        check(unsafe { sys::cuMemcpyDtoDAsync_v2(to, from, bytes, self.current()) })
    }

    /// Submits a copy from this device to another: after what was submitted here before, and before what is submitted here
    /// afterwards; likewise there.
    ///
    /// # Safety
    /// `bytes` bytes must lie at `from` in memory of this device and at `to` in memory of the other one.
    pub(crate) unsafe fn copy_to(&self, other: &Self, to: u64, from: u64, bytes: usize) -> Result<()> {
        let ready = self.mark()?;
        let copied = other.wait_for(ready).and_then(|()| {
            // SAFETY: the caller's promise; both contexts are alive, and the stream belongs to the current one.
            check(unsafe { sys::cuMemcpyPeerAsync(to, other.context, from, self.context, bytes, other.stream) })
        });
        self.forget(ready);
        copied?;
        let done = other.mark()?;
        let waits = self.wait_for(done);
        other.forget(done);
        waits
    }

    /// An event at the end of what was submitted so far.
    fn mark(&self) -> Result<sys::CUevent> {
        const NO_TIMING: u32 = 2;
        self.bind()?;
        let mut event = null_mut();
        // SAFETY: the handle goes to a live variable.
        check(unsafe { sys::cuEventCreate(&raw mut event, NO_TIMING) })?;
        // SAFETY: event and stream belong to the current context.
        let recorded = check(unsafe { sys::cuEventRecord(event, self.stream) });
        recorded.inspect_err(|_code| self.forget(event)).map(|()| event)
    }

    /// Lets what is submitted from now on wait for an event of any device.
    fn wait_for(&self, event: sys::CUevent) -> Result<()> {
        self.bind()?;
        // SAFETY: the event is alive: [`forget`](Self::forget) comes after this.
        check(unsafe { sys::cuStreamWaitEvent(self.stream, event, 0) })
    }

    /// Gives an event of this device back; the driver keeps it while somebody waits for it.
    fn forget(&self, event: sys::CUevent) {
        if self.bind().is_ok() {
            // SAFETY: the event came from `mark` and is given back once. A driver that fails here has failed for good, and
            // the next call says so.
            let _ = unsafe { sys::cuEventDestroy_v2(event) };
        }
    }

    /// Lets copies from this device to another run without a detour over the host, where the hardware can. It is no failure
    /// if it cannot.
    pub(crate) fn open_way_to(&self, other: &Self) {
        if !other.id.reaches(self.id) || other.bind().is_err() {
            return;
        }
        match self.pool {
            None => {
                // SAFETY: the other device's context is current and this one's is alive. That access was given before is an
                // answer like any other.
                let _ = unsafe { sys::cuCtxEnablePeerAccess(self.context, 0) };
            }
            Some(pool) => {
                // SAFETY: a struct of integers and enums with a variant 0.
                let mut access: sys::CUmemAccessDesc = unsafe { std::mem::zeroed() };
                access.location.type_ = sys::CUmemLocationType::CU_MEM_LOCATION_TYPE_DEVICE;
                access.location.__bindgen_anon_1.id = other.id.0;
                access.flags = sys::CUmemAccess_flags::CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
                // SAFETY: the pool is alive; one description, read from a live variable.
                let _ = unsafe { sys::cuMemPoolSetAccess(pool, &raw const access, 1) };
            }
        }
    }

    /// Waits until all submitted work is done.
    pub(crate) fn synchronize(&self) -> Result<()> {
        self.bind()?;
        // SAFETY: the stream belongs to the current context.
        check(unsafe { sys::cuStreamSynchronize(self.stream) })
    }

    /// Loads a compiled image, CUBIN or PTX, and finds a function in it.
    pub(crate) fn load(&self, image: &[u8], entry: &CStr) -> Result<Function> {
        self.bind()?;
        // PTX is text, which ends with a zero byte; a CUBIN knows its own length.
        let mut held = image.to_vec();
        held.push(0);
        let mut module = null_mut();
        // SAFETY: the image is readable during the call, which copies it; PTX is followed by a zero byte.
        check(unsafe { sys::cuModuleLoadData(&raw mut module, held.as_ptr().cast()) })?;
        let mut function = null_mut();
        // SAFETY: the module was just loaded and stays so for ever; the name ends with a zero byte.
        check(unsafe { sys::cuModuleGetFunction(&raw mut function, module, entry.as_ptr()) })?;
        Ok(Function(function))
    }

    /// Submits a kernel that takes a struct and then addresses.
    ///
    /// # Safety
    /// The function must be of this device and declare a struct of as many bytes as `params` has and as many pointers as
    /// there are `addresses`; with them it must stay within memory of this device.
    pub(crate) unsafe fn launch(
        &self,
        function: Function,
        grid: [u32; 3],
        block: [u32; 3],
        params: &[u8],
        addresses: &[u64],
    ) -> Result<()> {
        self.bind()?;
        let mut arguments: SmallVec<[*mut c_void; 20]> = SmallVec::new();
        arguments.push(params.as_ptr().cast_mut().cast());
        for address in addresses {
            arguments.push((&raw const *address).cast_mut().cast());
        }
        // SAFETY: the function's parameters are the caller's promise; the driver reads as many bytes of each argument as the
        // function declares, during the call, and writes none. The stream belongs to the current context.
        check(unsafe {
            sys::cuLaunchKernel(
                function.0,
                grid[0],
                grid[1],
                grid[2],
                block[0],
                block[1],
                block[2],
                0,
                self.current(),
                arguments.as_mut_ptr(),
                null_mut(),
            )
        })
    }
}
