//! What the conformance kit does not ask: more axes than a kernel walks, both kinds of kernels in one process, and which
//! devices there are.

use backend_opencl::{OpenCl, devices};
use tensor_core::fallback::record_fallbacks;
use tensor_core::reference::Reference;
use tensor_core::{Array, Backend, DType, DeviceKind, ErrorKind, Result, ScanOp, Shape};

/// The first device with the kernels for processors and with those for GPUs; nothing where there is no OpenCL, and a failure
/// where there must be.
fn both_kinds() -> Vec<OpenCl> {
    if devices().expect("no device is no error").is_empty() {
        assert!(!tensor_core::conformance::is_required("opencl"), "an OpenCL device is required");
        eprintln!("skipped: this machine has no OpenCL device; `cargo xtask setup` installs one");
        return Vec::new();
    }
    [DeviceKind::Cpu, DeviceKind::Gpu].map(|kind| OpenCl::open_as(0, kind).expect("the device opens")).into()
}

/// Numbers without a pattern that strides could keep.
fn numbers(count: usize) -> Vec<i64> {
    (0..count as i64).map(|place| (place * place * 31 + place * 7) % 1009).collect()
}

/// Eleven axes in another order in memory, one of them backwards, times a tensor that is repeated along every third axis.
fn many_axes<B: Backend>(backend: &B) -> Result<Vec<Vec<i64>>> {
    let dims = [2, 3, 2, 2, 2, 3, 1, 2, 2, 2, 2];
    let order = [10, 3, 7, 0, 5, 2, 9, 1, 8, 4, 6];
    let shape = Shape::new(dims)?;
    let memory: Vec<usize> = order.iter().map(|&axis| dims[axis]).collect();
    let mut back = [0isize; 11];
    order.iter().enumerate().for_each(|(place, &axis)| back[axis] = place as isize);
    let a = Array::from_slice(backend, &numbers(shape.numel()), &memory)?.permute(&back)?.flip(&[4])?;
    let narrow: Vec<usize> =
        dims.iter().enumerate().map(|(axis, &size)| if axis % 3 == 0 { 1 } else { size }).collect();
    let small = Shape::new(&narrow)?;
    let b = Array::from_slice(backend, &numbers(small.numel()), &narrow)?;
    let product = a.mul(&b)?.add(&a)?;
    let results = [
        product.clone(),
        product.sum(&[0, 2, 4, 7, 10], false)?,
        product.scan(ScanOp::Sum, 5)?,
        product.sort(1, true)?.0,
        product.gather(1, &product.sort(1, false)?.1)?,
    ];
    results.iter().map(Array::to_vec::<i64>).collect()
}

#[test]
fn more_axes_than_a_kernel_walks() {
    let expected = many_axes(&Reference).expect("the reference computes everything");
    for device in both_kinds() {
        assert_eq!(many_axes(&device).expect("the device works"), expected, "{device:?}");
    }
}

/// Whole computations, none of which may reach the reference interpreter.
fn mixed<B: Backend>(backend: &B) -> Result<Vec<Vec<f32>>> {
    let shape = Shape::new([6, 5])?;
    let x = Array::rand(backend, 1, 2, &shape, DType::F32)?;
    let product = x.matmul(&x.transpose(0, 1)?)?;
    let (sorted, places) = product.sort(1, true)?;
    let arrays = [
        product.softmax(0, false)?,
        sorted.scan(ScanOp::Sum, 0)?,
        product.gather(1, &places)?,
        product.sum(&[0], false)?,
        places.sum(&[1], true)?.cast(DType::F32)?,
    ];
    arrays.iter().map(Array::to_vec::<f32>).collect()
}

#[test]
fn arrays_compute_on_the_device_alone() {
    for device in both_kinds() {
        let (got, fallbacks) = record_fallbacks(|| mixed(&device));
        assert!(fallbacks.is_empty(), "{fallbacks:?}");
        let got = got.expect("the device works");
        let expected = mixed(&Reference).expect("the reference computes everything");
        for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
            assert!((got - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "{got} instead of {expected}");
        }
    }
}

#[test]
fn the_largest_allocation_is_the_limit() {
    for device in both_kinds() {
        let largest = devices().expect("devices are listed")[0].max_allocation as usize;
        let error = device.alloc(largest + 1).expect_err("no buffer is larger than the largest");
        assert!(matches!(error.kind(), ErrorKind::OutOfMemory { bytes, .. } if *bytes == largest + 1), "{error}");
    }
}

#[test]
fn devices_are_listed_and_named() {
    for device in both_kinds() {
        let listed = devices().expect("devices are listed");
        assert_eq!(device.info().name, listed[0].name);
        assert!(listed[0].memory > 0 && listed[0].max_allocation > 0 && listed[0].max_work_group > 0);
        assert_eq!(device.label(), "opencl:0");
        assert!(device.info().dtypes.contains(&DType::I64));
    }
    // This holds with and without a runtime.
    let error = OpenCl::open(1000).expect_err("nobody has that many devices");
    assert!(matches!(error.kind(), ErrorKind::NoDevice { device, .. } if device == "opencl:1000"), "{error}");
}
