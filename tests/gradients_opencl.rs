//! Gradients on the first OpenCL device.

use backend_opencl::OpenCl;

autograd::conformance::suite!(if_present OpenCl, OpenCl::open(0));
