//! Compiling kernels once, and running plans.

use crate::device::{Device, device_error};
use crate::driver::{self, Argument};
use crate::{Buffer, OpenCl};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use tensor_core::codegen::{Dialect, ENTRY, Kernel, Launch, Plan, Slot, Target};
use tensor_core::{Backend, DType, DeviceKind, Error, ErrorKind, Result};

/// A kernel that is compiled when it is first used. Whoever holds the lock may set its arguments.
type Compiled = Arc<Mutex<Option<driver::Kernel>>>;

/// The kernels of a device, by what their sources depend on.
#[derive(Default)]
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

/// What kernels have to know of a device; those for processors and for GPUs walk memory in different ways.
pub(crate) fn target(description: &crate::Description, kind: DeviceKind) -> Target {
    Target {
        dialect: Dialect::OpenCl,
        has_f64: description.has_f64,
        divides_correctly: description.divides_correctly,
        is_cpu: kind == DeviceKind::Cpu,
        compute_units: description.compute_units as usize,
        max_group: description.max_work_group as usize,
        max_argument_bytes: description.max_argument_bytes as usize,
    }
}

impl Device {
    fn compile(&self, kernel: &Kernel) -> Result<driver::Kernel> {
        const OP: &str = "compiling a kernel";
        let source = kernel.source(&self.target);
        let mut options = "-cl-std=CL1.2".to_owned();
        if self.description.divides_correctly {
            options += " -cl-fp32-correctly-rounded-divide-sqrt";
        }
        let program = self.context.compile(self.id, &source, &options).map_err(|mut log| {
            let _ = write!(log, "\nThe source was:\n{source}");
            device_error(&self.label, OP, log)
        })?;
        program.kernel(ENTRY).map_err(|code| self.error(OP, code))
    }
}

impl OpenCl {
    /// Runs a plan for buffers of this device, as many as it was made for.
    pub(crate) fn run(&self, op: &'static str, plan: &Plan, inputs: &[&Buffer], outputs: &[&Buffer]) -> Result<()> {
        let temps = plan.temps.iter().map(|&bytes| self.alloc(bytes)).collect::<Result<SmallVec<[Buffer; 4]>>>()?;
        for launch in &plan.launches {
            if !self.0.description.has_f64 && launch.kernel.uses(DType::F64) {
                let dtypes: Vec<&str> = self.0.description.dtypes().iter().map(|dtype| dtype.name()).collect();
                return Err(Error::dtype(
                    op,
                    format!("a dtype that {} has ({})", self.0.label, dtypes.join(", ")),
                    "f64",
                ));
            }
            self.launch(op, launch, inputs, outputs, &temps)?;
        }
        Ok(())
    }

    fn launch(
        &self,
        op: &'static str,
        launch: &Launch,
        inputs: &[&Buffer],
        outputs: &[&Buffer],
        temps: &[Buffer],
    ) -> Result<()> {
        let device = &*self.0;
        let mut arguments: SmallVec<[Argument<'_>; 16]> = SmallVec::new();
        arguments.push(Argument::Bytes(&launch.params));
        for &slot in &launch.slots {
            let buffer = match slot {
                Slot::Input(number) => inputs[number],
                Slot::Output(number) => outputs[number],
                Slot::Temp(number) => &temps[number],
            };
            let memory = buffer.memory().expect("nothing empty reaches a backend");
            arguments.push(Argument::Memory(memory));
        }
        let entry = device.kernels.entry(&launch.kernel);
        let mut held = entry.lock().unwrap_or_else(PoisonError::into_inner);
        let kernel = match &mut *held {
            Some(kernel) => kernel,
            none => none.insert(device.compile(&launch.kernel)?),
        };
        let group = launch.kernel.group(&device.target);
        // SAFETY: parameters and slots come from the plan that the kernel's source comes from, in the order of its
        // declaration. The plan stays within buffers that are as large as their layouts say, which the core promises of
        // every view, and temporary memory has the plan's own sizes. `group` divides the number of items by construction.
        let done = unsafe { device.queue.launch(kernel, &arguments, launch.items, group) };
        done.map_err(|code| {
            if code.is_out_of_memory() {
                // Some devices first look for memory when a kernel needs it.
                let bytes = outputs.iter().map(|buffer| buffer.bytes()).sum();
                Error::new(ErrorKind::OutOfMemory { device: device.label.clone(), bytes })
            } else {
                device.error(op, code)
            }
        })
    }
}
