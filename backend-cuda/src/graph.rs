//! CUDA graphs: work that is recorded once and submitted as a whole.
//!
//! While a thread records, what it submits goes to a stream of its own that only takes notes. What the noted work uses must
//! stay where it is: memory is reserved for the graph ([`Pool`](crate::pool::Pool)), and what is uploaded is kept on the host
//! ([`Staging`](crate::staging::Staging)).

use crate::device::{Device, device_error};
use crate::driver::{self, Executable};
use crate::{Buffer, Cuda, library};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tensor_core::Result;

const OP: &str = "capturing a graph";

/// Recorded work of a device, which [`launch`](Self::launch) submits as a whole; made by [`Cuda::capture`].
///
/// The memory that its work uses stays reserved for it: [`Stats`](crate::Stats) count it as in use until the graph is dropped,
/// even if no tensor has it any more. Dropping it waits for the device where the graph uploads something.
pub struct Graph {
    device: &'static Device,
    number: u64,
    /// Locked while it is launched: the driver takes one launch of a graph at a time.
    executable: Mutex<Executable>,
}

impl Graph {
    /// Submits the recorded work once more, after all that was submitted before. Does not wait for it.
    ///
    /// # Errors
    /// If the device fails, or this thread is capturing a graph.
    pub fn launch(&self) -> Result<()> {
        let device = self.device;
        if driver::is_recording() {
            let reason = "this thread is capturing another graph, and a graph is no part of one";
            return Err(device_error(&device.label, "launching a graph", reason));
        }
        let executable = self.executable.lock().unwrap_or_else(PoisonError::into_inner);
        let launched = device.with_memory(|| {
            // SAFETY: all memory that was in use while the work was recorded was reserved for this number, and stays so until this
            // is dropped; the lock keeps other launches away.
            unsafe { device.gpu.launch_graph(&executable) }
        });
        launched.map_err(|code| device.error("launching a graph", code))
    }

    /// The device that it runs on.
    pub fn device(&self) -> Cuda {
        Cuda(self.device)
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let executable = self.executable.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.device.gpu.forget_graph(executable);
        self.device.forget(self.number);
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Graph({} on {})", self.number, self.device.label)
    }
}

impl Device {
    /// Reserves what work of a graph uses, if this thread records one.
    pub(crate) fn note(&self, buffers: &[&Buffer]) {
        if let Some(graph) = self.gpu.recording() {
            let addresses = buffers.iter().map(|buffer| buffer.address()).filter(|&address| address != 0);
            self.pool.reserve(graph, addresses);
        }
    }

    /// Gives back what a graph had reserved.
    fn forget(&self, graph: u64) {
        self.pool.forget(graph, &self.gpu);
        self.staging.forget(graph, &self.gpu);
    }
}

/// A graph that this thread records; dropped, it is given up.
struct Capture {
    device: &'static Device,
    number: u64,
    ended: bool,
}

impl Capture {
    fn begin(device: &'static Device) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let refused = |reason: &str| Err(device_error(&device.label, OP, reason));
        if driver::is_recording() {
            return refused("this thread is capturing a graph already");
        }
        if !library::has_graphs() {
            return refused("NVIDIA's driver is too old: its library has no functions for graphs");
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        device.gpu.record(number).map_err(|code| device.error(OP, code))?;
        Ok(Self { device, number, ended: false })
    }

    /// Stops taking notes.
    fn end(&mut self) -> driver::Result<Executable> {
        self.ended = true;
        let executable = self.device.gpu.end_recording(|instantiate| self.device.with_memory(instantiate));
        self.device.pool.end_recording(self.number);
        executable
    }

    fn finish(mut self) -> Result<Graph> {
        match self.end() {
            Ok(executable) => {
                Ok(Graph { device: self.device, number: self.number, executable: Mutex::new(executable) })
            }
            Err(code) => {
                self.device.forget(self.number);
                Err(self.device.error(OP, code))
            }
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if !self.ended {
            if let Ok(executable) = self.end() {
                self.device.gpu.forget_graph(&executable);
            }
            self.device.forget(self.number);
        }
    }
}

impl Cuda {
    /// Records what `work` submits to this device, runs it once, and gives it back as a [`Graph`] beside the closure's value.
    /// To launch the graph does the same work again, on the same memory and with the same sizes, in a small part of the time
    /// that it takes to submit its kernels one by one.
    ///
    /// What a later launch repeats is what the device was asked to do, not the closure:
    /// - It reads its inputs where they were, so new ones must be written there, for example by
    ///   [`Array::overwrite`](tensor_core::Array::overwrite), and finds in place what an earlier launch left there. Optimizers
    ///   write parameters in place, so a whole step of training can be a graph.
    /// - Results come to where they came the first time: tensors that the closure made or changed change with each launch.
    /// - Numbers that the host chose stay as they were: learning rates, seeds of random numbers, data that was uploaded.
    /// - Operations on elements and products that still wait to be fused when the closure ends are no part of it:
    ///   [`Array::force`](tensor_core::Array::force) those that shall be.
    ///
    /// Run the closure once or twice before: then kernels are compiled, and what is made in a first step only is there.
    ///
    /// The closure may not read values or wait for the device, copy to or from another one, or capture or launch a graph: that
    /// is an error there, and what the closure makes of it. Work of other threads goes on and is not recorded; they must not use
    /// what the closure computes before this returns.
    ///
    /// ```
    /// use tensor_core::{Array, Program, DType, op::BinaryOp};
    /// # if let Ok(gpu) = backend_cuda::Cuda::open(0) {
    /// let mut program = Program::new(); // x += y
    /// let (x, y) = (program.input(DType::F32), program.input(DType::F32));
    /// let sum = program.binary(BinaryOp::Add, x, y);
    /// program.output(sum);
    /// let mut x = [Array::from_slice(&gpu, &[1.0_f32, 2.0], [2])?];
    /// let y = Array::from_slice(&gpu, &[10.0_f32, 20.0], [2])?;
    /// let (graph, ()) = gpu.capture(|| Array::overwrite(&program, &mut x, &[&y]))?;
    /// graph.launch()?;
    /// graph.launch()?;
    /// assert_eq!(x[0].to_vec::<f32>()?, [31.0, 62.0]);
    /// # }
    /// # Ok::<(), tensor_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// The closure's own, or if the device or its driver cannot record or run the work, or this thread is capturing already. What
    /// the closure computed has no defined values then.
    pub fn capture<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(Graph, T)> {
        let capture = Capture::begin(self.0)?;
        let value = work()?;
        let graph = capture.finish()?;
        graph.launch()?;
        Ok((graph, value))
    }
}
