//! A device chosen at run time.
//!
//! [`Device`] is itself a backend: it holds a handle to one of the backends that were built in and passes every call on.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use tensor_core::reference::{HostBuffer, Reference};
use tensor_core::rows::RowSpec;
use tensor_core::{
    AttentionSpec, Backend, DType, DeviceInfo, Error, Input, MatmulSpec, Program, ReduceSpec, Result, ScanOp,
    ScatterOp, Shape, View, ViewMut,
};

/// Calls a backend's `open` where the feature is built in.
macro_rules! open {
    ($feature:literal, $device:literal, $index:expr, $open:expr) => {{
        #[cfg(feature = $feature)]
        {
            $open($index)
        }
        #[cfg(not(feature = $feature))]
        {
            Err(Error::no_device(
                format!("{}:{}", $device, $index),
                concat!("gradix was built without its feature `", $feature, "`"),
            ))
        }
    }};
}

/// Defines the device, its buffer, and the way from one to the other, from the list of backends.
macro_rules! devices {
    ($($(#[$cfg:meta])* $variant:ident($backend:ty, $buffer:ty);)*) => {
        /// A device: the processor, an OpenCL device or an NVIDIA GPU.
        ///
        /// ```
        /// use gradix::prelude::*;
        /// let x = tensor!([1.0, 2.0]);
        /// assert_eq!(x.device().to_string(), "cpu");
        /// match Device::cuda(0) {
        ///     Ok(gpu) => println!("{}", x.to(&gpu)),
        ///     Err(why) => println!("{why}"),
        /// }
        /// ```
        #[derive(Clone, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Device {
            $(
                #[doc = concat!("A device of `", stringify!($backend), "`.")]
                $(#[$cfg])*
                $variant($backend),
            )*
        }

        /// Memory on a [`Device`].
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub enum DeviceBuffer {
            $(
                #[doc = concat!("Memory of `", stringify!($backend), "`.")]
                $(#[$cfg])*
                $variant($buffer),
            )*
        }

        $(
            $(#[$cfg])*
            impl Member for $backend {
                fn wrap(buffer: $buffer) -> DeviceBuffer {
                    DeviceBuffer::$variant(buffer)
                }
                #[allow(irrefutable_let_patterns, reason = "there may be one variant only")]
                fn buffer(buffer: &DeviceBuffer) -> &$buffer {
                    let DeviceBuffer::$variant(buffer) = buffer else { unreachable!("{MIXED}") };
                    buffer
                }
                #[allow(irrefutable_let_patterns, reason = "there may be one variant only")]
                fn buffer_mut(buffer: &mut DeviceBuffer) -> &mut $buffer {
                    let DeviceBuffer::$variant(buffer) = buffer else { unreachable!("{MIXED}") };
                    buffer
                }
            }
        )*

        /// Runs an expression with the device's own backend.
        macro_rules! each {
            ($device:expr, $name:ident => $body:expr) => {
                match $device {
                    $(
                        $(#[$cfg])*
                        Device::$variant($name) => $body,
                    )*
                }
            };
        }

        /// Runs an expression with two devices of one backend, or another where they differ.
        macro_rules! both {
            ($a:expr, $b:expr, $x:ident, $y:ident => $body:expr, else $other:expr) => {
                match ($a, $b) {
                    $(
                        $(#[$cfg])*
                        (Device::$variant($x), Device::$variant($y)) => $body,
                    )*
                    #[allow(unreachable_patterns, reason = "there may be one variant only")]
                    _ => $other,
                }
            };
        }
    };
}

/// Arrays refuse operands of different devices before any buffer gets here.
const MIXED: &str = "a buffer stays with the device that made it";

/// A backend that [`Device`] can hold.
trait Member: Backend {
    fn wrap(buffer: Self::Buffer) -> DeviceBuffer;
    fn buffer(buffer: &DeviceBuffer) -> &Self::Buffer;
    fn buffer_mut(buffer: &mut DeviceBuffer) -> &mut Self::Buffer;
}

devices! {
    Reference(Reference, HostBuffer);
    #[cfg(feature = "cpu")]
    Cpu(backend_cpu::Cpu, backend_cpu::Buffer);
    #[cfg(feature = "opencl")]
    OpenCl(backend_opencl::OpenCl, backend_opencl::Buffer);
    #[cfg(feature = "cuda")]
    Cuda(backend_cuda::Cuda, backend_cuda::Buffer);
}

impl Device {
    /// The processor. Without the feature `cpu`, the slow [reference interpreter](Self::reference).
    #[must_use]
    pub fn cpu() -> Self {
        #[cfg(feature = "cpu")]
        {
            Self::Cpu(backend_cpu::Cpu::open())
        }
        #[cfg(not(feature = "cpu"))]
        {
            Self::reference()
        }
    }

    /// The reference interpreter: slow, and right by being plain. To compare other devices with.
    #[must_use]
    pub fn reference() -> Self {
        Self::Reference(Reference)
    }

    /// The NVIDIA GPU of this number. Opening one again gives the same device.
    ///
    /// It takes NVIDIA's driver and NVRTC, CUDA's run-time compiler (`pip install nvidia-cuda-nvrtc`, or the CUDA toolkit);
    /// matrices are multiplied by cuBLASLt where that is found.
    ///
    /// # Errors
    /// If there is none, its driver or NVRTC is missing, or gradix was built without the feature `cuda`; the error says which.
    pub fn cuda(index: usize) -> Result<Self> {
        open!("cuda", "cuda", index, |index| backend_cuda::Cuda::open(index).map(Self::Cuda))
    }

    /// The OpenCL device of this number, counted over all platforms.
    ///
    /// # Errors
    /// If there is none, its runtime is missing, or gradix was built without the feature `opencl`; the error says which.
    pub fn opencl(index: usize) -> Result<Self> {
        open!("opencl", "opencl", index, |index| backend_opencl::OpenCl::open(index).map(Self::OpenCl))
    }
}

impl Device {
    /// Every device of this machine that can be used: GPUs first, the processor last.
    ///
    /// ```
    /// use gradix::Device;
    /// let devices = Device::all();
    /// assert_eq!(devices.last(), Some(&Device::cpu()));
    /// ```
    #[must_use]
    pub fn all() -> Vec<Self> {
        let gpus = (0..).map_while(|index| Self::cuda(index).ok());
        let others = (0..).map_while(|index| Self::opencl(index).ok());
        gpus.chain(others).chain([Self::cpu()]).collect()
    }
}

impl Default for Device {
    /// The processor.
    fn default() -> Self {
        Self::cpu()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.label())
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.label())
    }
}

impl FromStr for Device {
    type Err = Error;

    /// `cpu`, `cuda`, `cuda:1`, `opencl:0`, `reference`.
    fn from_str(name: &str) -> Result<Self> {
        let unknown =
            || Error::no_device(name, "devices are named cpu, cuda:N, opencl:N and reference, with N counted from 0");
        let (kind, index) = match name.split_once(':') {
            Some((kind, index)) => (kind, index.parse::<usize>().map_err(|_not_a_number| unknown())?),
            None => (name, 0),
        };
        match (kind, index) {
            ("cpu", 0) => Ok(Self::cpu()),
            ("reference", 0) => Ok(Self::reference()),
            ("cuda", index) => Self::cuda(index),
            ("opencl", index) => Self::opencl(index),
            _ => Err(unknown()),
        }
    }
}

/// A view for the backend that owns the buffer.
fn view<'a, M: Member>(view: &View<'a, Device>) -> View<'a, M> {
    View { buffer: M::buffer(view.buffer), layout: view.layout, dtype: view.dtype }
}

fn view_mut<'a, M: Member>(view: ViewMut<'a, Device>) -> ViewMut<'a, M> {
    ViewMut { buffer: M::buffer_mut(view.buffer), layout: view.layout, dtype: view.dtype }
}

fn pointwise<'a, M: Member>(
    backend: &M,
    program: &Program,
    shape: &Shape,
    inputs: &[Input<'a, Device>],
    outputs: &mut [ViewMut<'_, Device>],
) -> Result<()> {
    let of = |input: &Input<'a, Device>| match input {
        Input::View(of) => Input::View(view::<M>(of)),
        Input::Output(number) => Input::Output(*number),
    };
    // What nearly every operation has takes no list: on small tensors that would show.
    match (inputs, &mut *outputs) {
        ([a], [out]) => backend.pointwise(program, shape, &[of(a)], &mut [reborrow(out)]),
        ([a, b], [out]) => backend.pointwise(program, shape, &[of(a), of(b)], &mut [reborrow(out)]),
        (inputs, outputs) => {
            let inputs: smallvec::SmallVec<[Input<'_, M>; 8]> = inputs.iter().map(of).collect();
            let mut outputs: smallvec::SmallVec<[ViewMut<'_, M>; 2]> = outputs.iter_mut().map(reborrow).collect();
            backend.pointwise(program, shape, &inputs, &mut outputs)
        }
    }
}

fn reborrow<'a, M: Member>(out: &'a mut ViewMut<'_, Device>) -> ViewMut<'a, M> {
    ViewMut { buffer: M::buffer_mut(out.buffer), layout: out.layout, dtype: out.dtype }
}

fn alloc<M: Member>(backend: &M, bytes: usize) -> Result<DeviceBuffer> {
    backend.alloc(bytes).map(M::wrap)
}

fn copy<M: Member>(from: &M, to: &M, buffer: &DeviceBuffer) -> Result<DeviceBuffer> {
    from.copy_to(M::buffer(buffer), to).map(M::wrap)
}

fn write<M: Member>(backend: &M, buffer: &mut DeviceBuffer, offset: usize, bytes: &[u8]) -> Result<()> {
    backend.write(M::buffer_mut(buffer), offset, bytes)
}

fn read<M: Member>(backend: &M, buffer: &DeviceBuffer, offset: usize, bytes: &mut [u8]) -> Result<()> {
    backend.read(M::buffer(buffer), offset, bytes)
}

fn size<M: Member>(backend: &M, buffer: &DeviceBuffer) -> usize {
    backend.size(M::buffer(buffer))
}

fn is_same<M: Member>(backend: &M, a: &DeviceBuffer, b: &DeviceBuffer) -> bool {
    backend.is_same(M::buffer(a), M::buffer(b))
}

fn is_unique<M: Member>(backend: &M, buffer: &mut DeviceBuffer) -> bool {
    backend.is_unique(M::buffer_mut(buffer))
}

fn reduce<M: Member>(
    backend: &M,
    spec: &ReduceSpec<'_>,
    inputs: &[View<'_, Device>],
    out: ViewMut<'_, Device>,
) -> Result<()> {
    let inputs: smallvec::SmallVec<[View<'_, M>; 8]> = inputs.iter().map(view).collect();
    backend.reduce(spec, &inputs, view_mut(out))
}

fn rows<M: Member>(
    backend: &M,
    spec: &RowSpec<'_>,
    inputs: &[View<'_, Device>],
    out: ViewMut<'_, Device>,
) -> Result<()> {
    let inputs: smallvec::SmallVec<[View<'_, M>; 8]> = inputs.iter().map(view).collect();
    backend.rows(spec, &inputs, view_mut(out))
}

#[deny(clippy::missing_trait_methods, reason = "what is provided would be used instead of a backend's own kernel")]
impl Backend for Device {
    type Buffer = DeviceBuffer;

    fn info(&self) -> DeviceInfo {
        each!(self, backend => backend.info())
    }

    fn label(&self) -> Cow<'static, str> {
        each!(self, backend => backend.label())
    }

    fn alloc(&self, bytes: usize) -> Result<DeviceBuffer> {
        each!(self, backend => alloc(backend, bytes))
    }

    fn write(&self, buffer: &mut DeviceBuffer, offset: usize, bytes: &[u8]) -> Result<()> {
        each!(self, backend => write(backend, buffer, offset, bytes))
    }

    fn read(&self, buffer: &DeviceBuffer, offset: usize, bytes: &mut [u8]) -> Result<()> {
        each!(self, backend => read(backend, buffer, offset, bytes))
    }

    fn size(&self, buffer: &DeviceBuffer) -> usize {
        each!(self, backend => size(backend, buffer))
    }

    fn is_unique(&self, buffer: &mut DeviceBuffer) -> bool {
        each!(self, backend => is_unique(backend, buffer))
    }

    fn is_same(&self, a: &DeviceBuffer, b: &DeviceBuffer) -> bool {
        each!(self, backend => is_same(backend, a, b))
    }

    fn synchronize(&self) -> Result<()> {
        each!(self, backend => backend.synchronize())
    }

    fn copy_to(&self, buffer: &DeviceBuffer, target: &Self) -> Result<DeviceBuffer> {
        both!(self, target, from, to => copy(from, to, buffer), else {
            // Different backends know nothing of each other: the bytes go through the host.
            let mut bytes = vec![0; self.size(buffer)];
            self.read(buffer, 0, &mut bytes)?;
            let mut copy = target.alloc(bytes.len())?;
            target.write(&mut copy, 0, &bytes)?;
            Ok(copy)
        })
    }

    fn eager_below(&self) -> usize {
        each!(self, backend => backend.eager_below())
    }

    fn reads_are_free(&self) -> bool {
        each!(self, backend => backend.reads_are_free())
    }

    fn pointwise(
        &self,
        program: &Program,
        shape: &Shape,
        inputs: &[Input<'_, Self>],
        outputs: &mut [ViewMut<'_, Self>],
    ) -> Result<()> {
        each!(self, backend => pointwise(backend, program, shape, inputs, outputs))
    }

    fn reduce(&self, spec: &ReduceSpec<'_>, inputs: &[View<'_, Self>], out: ViewMut<'_, Self>) -> Result<()> {
        each!(self, backend => reduce(backend, spec, inputs, out))
    }

    fn scan(&self, op: ScanOp, axis: usize, input: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        each!(self, backend => backend.scan(op, axis, view(&input), view_mut(out)))
    }

    fn matmul(
        &self,
        spec: &MatmulSpec<'_>,
        a: View<'_, Self>,
        b: View<'_, Self>,
        extras: &[View<'_, Self>],
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        each!(self, backend => {
            let extras: smallvec::SmallVec<[_; 2]> = extras.iter().map(view).collect();
            backend.matmul(spec, view(&a), view(&b), &extras, view_mut(out))
        })
    }

    fn gather(&self, axis: usize, input: View<'_, Self>, index: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        each!(self, backend => backend.gather(axis, view(&input), view(&index), view_mut(out)))
    }

    fn scatter(
        &self,
        op: ScatterOp,
        axis: usize,
        index: View<'_, Self>,
        src: View<'_, Self>,
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        each!(self, backend => backend.scatter(op, axis, view(&index), view(&src), view_mut(out)))
    }

    fn mask_indices(&self, mask: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        each!(self, backend => backend.mask_indices(view(&mask), view_mut(out)))
    }

    fn sort(
        &self,
        axis: usize,
        descending: bool,
        input: View<'_, Self>,
        values: ViewMut<'_, Self>,
        indices: ViewMut<'_, Self>,
    ) -> Result<()> {
        each!(self, backend => backend.sort(axis, descending, view(&input), view_mut(values), view_mut(indices)))
    }

    fn topk(
        &self,
        axis: usize,
        largest: bool,
        input: View<'_, Self>,
        values: ViewMut<'_, Self>,
        indices: ViewMut<'_, Self>,
    ) -> Result<()> {
        each!(self, backend => backend.topk(axis, largest, view(&input), view_mut(values), view_mut(indices)))
    }

    fn softmax(&self, axis: usize, log: bool, input: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        each!(self, backend => backend.softmax(axis, log, view(&input), view_mut(out)))
    }

    fn rows(&self, spec: &RowSpec<'_>, inputs: &[View<'_, Self>], out: ViewMut<'_, Self>) -> Result<()> {
        each!(self, backend => rows(backend, spec, inputs, out))
    }

    fn has_attention(&self, dtype: DType) -> bool {
        each!(self, backend => backend.has_attention(dtype))
    }

    fn attention(&self, spec: &AttentionSpec, inputs: [View<'_, Self>; 3], out: ViewMut<'_, Self>) -> Result<()> {
        each!(self, backend => backend.attention(spec, inputs.each_ref().map(view), view_mut(out)))
    }

    fn attention_gradients(
        &self,
        spec: &AttentionSpec,
        inputs: [View<'_, Self>; 4],
        outs: [ViewMut<'_, Self>; 3],
    ) -> Result<()> {
        each!(self, backend => {
            backend.attention_gradients(spec, inputs.each_ref().map(view), outs.map(view_mut))
        })
    }
}
