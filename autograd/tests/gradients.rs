//! Gradients on the processor.

autograd::conformance::suite!(backend_cpu::Cpu);
