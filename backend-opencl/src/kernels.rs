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

const COMPILING: &str = "compiling a kernel";

/// A kernel that is compiled when it is first used. Whoever holds the lock may set its arguments.
type Compiled = Arc<Mutex<Option<driver::Kernel>>>;

/// A program that is compiled when one of its kernels is first used.
type Unit = Arc<Mutex<Option<driver::Program>>>;

/// The kernels of a device, by what their sources depend on.
#[derive(Default)]
pub(crate) struct Kernels {
    kernels: Mutex<HashMap<Kernel, Compiled>>,
    /// By the first kernel of each unit.
    units: Mutex<HashMap<Kernel, Unit>>,
}

/// The value of a kernel, a new one if there is none.
fn entry<T: Clone + Default>(map: &Mutex<HashMap<Kernel, T>>, kernel: &Kernel) -> T {
    let mut held = map.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(value) = held.get(kernel) {
        return value.clone();
    }
    held.entry(kernel.clone()).or_default().clone()
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
        let unit = kernel.unit(&self.target);
        let place = unit.iter().position(|relative| relative == kernel).expect("a kernel is in its own unit");
        let program = entry(&self.kernels.units, &unit[0]);
        let mut held = program.lock().unwrap_or_else(PoisonError::into_inner);
        let program = match &mut *held {
            Some(program) => program,
            none => none.insert(self.build(&Kernel::joint_source(&unit, &self.target))?),
        };
        program.kernel(&format!("{ENTRY}{place}")).map_err(|code| self.error(COMPILING, code))
    }

    fn build(&self, source: &str) -> Result<driver::Program> {
        let mut options = "-cl-std=CL1.2".to_owned();
        if self.description.divides_correctly {
            options += " -cl-fp32-correctly-rounded-divide-sqrt";
        }
        let Some(cache) = &self.cache else {
            return self.compiled(source, &options);
        };
        let device = &self.description;
        let text = format!("{}\n{}\n{}\n{options}\n{source}", device.name, device.platform, device.driver);
        let held = cache.get(&text).and_then(|binary| self.context.load(self.id, &binary, &options).ok());
        if let Some(program) = held {
            return Ok(program);
        }
        let program = self.compiled(source, &options)?;
        if let Ok(binary) = program.binary() {
            cache.put(&text, &binary);
        }
        Ok(program)
    }

    fn compiled(&self, source: &str, options: &str) -> Result<driver::Program> {
        self.context.compile(self.id, source, options).map_err(|mut log| {
            let _ = write!(log, "\nThe source was:\n{source}");
            device_error(&self.label, COMPILING, log)
        })
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
        let compiled = entry(&device.kernels.kernels, &launch.kernel);
        let mut held = compiled.lock().unwrap_or_else(PoisonError::into_inner);
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
