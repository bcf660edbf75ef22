//! The conformance kit on the processor.

tensor_core::conformance::suite!(backend_cpu::Cpu::open());
