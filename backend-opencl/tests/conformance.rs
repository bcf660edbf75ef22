//! The conformance kit on the first OpenCL device.

tensor_core::conformance::suite!(if_present backend_opencl::OpenCl::open(0));
