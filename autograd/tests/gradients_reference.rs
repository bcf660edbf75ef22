//! Gradients on the reference interpreter.

autograd::conformance::suite!(tensor_core::reference::Reference);
