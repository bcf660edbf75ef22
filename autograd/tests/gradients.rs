//! Gradients on the CPU.

mod common;

gradient_suite!(backend_cpu::Cpu);
