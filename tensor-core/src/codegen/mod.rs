//! Kernels for devices that are programmed in a dialect of C.
//!
//! A *plan* says how an operation runs on such a device: which kernels, for how many work-items, with which parameters, on
//! which buffers. Planning needs no device, so backends for OpenCL and CUDA share it: they compile a [`Kernel`]'s
//! [`source`](Kernel::source) once and run [`Launch`]es.
//!
//! - Kernels are written in what OpenCL C and CUDA C++ have in common; a prelude of macros and types makes up the
//!   difference.
//! - A kernel depends on dtypes, operations and coarse classes of layouts. Sizes, strides, offsets and scalars are
//!   parameters: one block of bytes, by value, that comes before the buffers.
//! - Indices are 32 bits wide where everything fits, else 64.
//! - Values are computed as the [reference](crate::reference) does: the tables of operations decide what an operation means,
//!   and each has its C expression in one place.

mod body;
mod expression;
mod index;
mod library;
mod matmul;
mod params;
mod pointwise;
mod prelude;
mod reduce;
mod rows;
mod scan;
mod softmax;
mod sort;
mod total;
mod walk;

pub use index::{GatherKernel, ScatterKernel, gather, scatter};
pub use matmul::{MatmulKernel, matmul};
pub use pointwise::{PointwiseKernel, Source, pointwise};
pub use prelude::ENTRY;
pub use reduce::{ReduceKernel, reduce};
pub use rows::{RowsKernel, rows};
pub use scan::{ScanKernel, scan};
pub use softmax::{SoftmaxKernel, softmax};
pub use sort::{SortKernel, sort};
pub use walk::Walk;

use crate::{DType, Layout};
use smallvec::SmallVec;

/// The language of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenCL C 1.2.
    OpenCl,
    /// CUDA C++, for the run-time compiler, without headers. Buffers begin at multiples of 16 bytes.
    Cuda,
}

/// What kernels have to know of a device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The language.
    pub dialect: Dialect,
    /// Whether it computes with f64.
    pub has_f64: bool,
    /// Whether f32 division and square root are rounded correctly.
    pub divides_correctly: bool,
    /// Whether a work-item is a lane or thread of a processor rather than of a GPU: then each should walk memory that lies
    /// together, and few suffice.
    pub is_cpu: bool,
    /// How many work-groups run at the same time.
    pub compute_units: usize,
    /// The most work-items in a group.
    pub max_group: usize,
    /// How many bytes the parameters of a kernel may have.
    pub max_argument_bytes: usize,
}

/// A tensor that a plan is made for: its layout and dtype. The buffer is known by its place in the operation.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    /// Where its elements lie.
    pub layout: &'a Layout,
    /// What they are.
    pub dtype: DType,
}

/// Which memory a kernel's parameter points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The input of this number.
    Input(usize),
    /// The output of this number.
    Output(usize),
    /// The plan's temporary memory of this number.
    Temp(usize),
}

/// The bytes of a kernel's first parameter.
pub type Params = SmallVec<[u8; 256]>;

/// One run of a kernel.
#[derive(Clone, Debug)]
pub struct Launch {
    /// What runs.
    pub kernel: Kernel,
    /// Its first parameter, by value.
    pub params: Params,
    /// What its other parameters point to.
    pub slots: SmallVec<[Slot; 8]>,
    /// For how many work-items, along each axis; multiples of the kernel's [group](Kernel::group).
    pub items: [usize; 3],
}

/// How an operation runs: launches one after the other, and the memory between them.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Sizes in bytes of the temporary memory.
    pub temps: Vec<usize>,
    /// What runs, in order.
    pub launches: Vec<Launch>,
}

impl Plan {
    /// New temporary memory.
    fn temp(&mut self, bytes: usize) -> Slot {
        self.temps.push(bytes);
        Slot::Temp(self.temps.len() - 1)
    }
}

/// A kernel: everything its source depends on besides the [`Target`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kernel {
    /// A program for every element.
    Pointwise(PointwiseKernel),
    /// Totals of values or of other totals.
    Reduce(ReduceKernel),
    /// A step of running totals.
    Scan(ScanKernel),
    /// Softmax of lines that registers hold.
    Softmax(SoftmaxKernel),
    /// Reductions along rows and what is computed of them.
    Rows(RowsKernel),
    /// Matrix products.
    Matmul(MatmulKernel),
    /// Elements from indexed places.
    Gather(GatherKernel),
    /// Elements to indexed places.
    Scatter(ScatterKernel),
    /// A step of sorting.
    Sort(SortKernel),
}

impl Kernel {
    /// The source, complete; its entry is [`ENTRY`].
    pub fn source(&self, target: &Target) -> String {
        prelude::complete(target, self.group(target), &self.body(target))
    }

    fn body(&self, target: &Target) -> String {
        match self {
            Self::Pointwise(kernel) => kernel.body(target),
            Self::Reduce(kernel) => kernel.body(target),
            Self::Scan(kernel) => kernel.body(target),
            Self::Softmax(kernel) => kernel.body(target),
            Self::Rows(kernel) => kernel.body(target),
            Self::Matmul(kernel) => kernel.body(target),
            Self::Gather(kernel) => kernel.body(),
            Self::Scatter(kernel) => kernel.body(),
            Self::Sort(kernel) => kernel.body(),
        }
    }

    /// Kernels to compile together with this one, itself among them: it depends on all but the layouts which they are.
    ///
    /// Runtimes for processors spend most of a compilation on what does not depend on the kernel, and translate each entry
    /// only when it is launched first; others translate everything at once, so there a kernel stands alone.
    pub fn unit(&self, target: &Target) -> Vec<Self> {
        match self {
            Self::Pointwise(kernel) if target.is_cpu => {
                let relatives: Vec<Self> = kernel.relatives(target).map(Self::Pointwise).collect();
                if relatives.contains(self) { relatives } else { vec![self.clone()] }
            }
            _ => vec![self.clone()],
        }
    }

    /// The source of several kernels that need one [group](Self::group), such as a [unit](Self::unit)'s. The entry of each is
    /// [`ENTRY`] followed by its place.
    pub fn joint_source(kernels: &[Self], target: &Target) -> String {
        let mut text = String::new();
        for (place, kernel) in kernels.iter().enumerate() {
            let own = [ENTRY, "Params", "INDEX", "UINDEX", "COUNT"];
            own.iter().for_each(|name| text += &format!("#define {name} {name}{place}\n"));
            text += &kernel.body(target);
            own.iter().for_each(|name| text += &format!("#undef {name}\n"));
        }
        let group = kernels.first().map_or([1; 3], |kernel| kernel.group(target));
        prelude::complete(target, group, &text)
    }

    /// The work-items of a group, along each axis. Fixed for each kernel and device.
    pub fn group(&self, target: &Target) -> [usize; 3] {
        match self {
            Self::Pointwise(_) | Self::Softmax(_) | Self::Gather(_) | Self::Sort(_) => [linear_group(target), 1, 1],
            Self::Reduce(_) | Self::Scan(_) | Self::Scatter(_) => [reduce::group(target), 1, 1],
            Self::Rows(kernel) => [kernel.group(target), 1, 1],
            Self::Matmul(_) => matmul::group(target),
        }
    }

    /// Every dtype that it computes with or stores.
    pub fn uses(&self, dtype: DType) -> bool {
        match self {
            Self::Pointwise(kernel) => program_uses(kernel.program(), dtype),
            Self::Reduce(kernel) => kernel.uses(dtype),
            Self::Scan(kernel) => kernel.uses(dtype),
            Self::Softmax(kernel) => kernel.uses(dtype),
            Self::Rows(kernel) => kernel.uses(dtype),
            Self::Matmul(kernel) => kernel.uses(dtype),
            // Bits of any meaning.
            Self::Gather(_) => false,
            Self::Scatter(kernel) => kernel.uses(dtype),
            Self::Sort(kernel) => kernel.uses(dtype),
        }
    }
}

fn program_uses(program: &crate::Program, dtype: DType) -> bool {
    program.insts().iter().any(|inst| inst.dtype == dtype)
}

/// The group of kernels whose work-items are independent.
fn linear_group(target: &Target) -> usize {
    previous_power_of_two(target.max_group.min(256))
}

fn previous_power_of_two(value: usize) -> usize {
    1 << value.max(1).ilog2()
}

/// How many work-items to start for `count` of them in groups of `group`.
fn whole_groups(count: usize, group: usize) -> usize {
    count.div_ceil(group) * group
}
