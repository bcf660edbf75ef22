//! Buffers: every size, copies, threads, and more than there is.

mod common;

use common::device;
use tensor_core::{Backend, DType, ErrorKind};

#[test]
fn bytes_come_back_as_they_went() {
    let Some(device) = device() else { return };
    for bytes in [0, 1, 3, 4, 255, 4096, 1 << 20] {
        let data: Vec<u8> = (0..bytes).map(|i| (i * 31 + i / 256) as u8).collect();
        let mut buffer = device.alloc(bytes).unwrap();
        assert_eq!(device.size(&buffer), bytes);
        device.write(&mut buffer, 0, &data).unwrap();
        let mut back = vec![0; bytes];
        device.read(&buffer, 0, &mut back).unwrap();
        assert_eq!(back, data);
    }
    let mut buffer = device.alloc(100).unwrap();
    device.write(&mut buffer, 0, &[7; 100]).unwrap();
    device.write(&mut buffer, 10, &[1, 2, 3]).unwrap();
    let mut back = [0; 5];
    device.read(&buffer, 9, &mut back).unwrap();
    assert_eq!(back, [7, 1, 2, 3, 7]);
    device.synchronize().unwrap();
}

#[test]
fn clones_share_and_copies_do_not() {
    let Some(device) = device() else { return };
    let mut buffer = device.alloc(4).unwrap();
    device.write(&mut buffer, 0, &[1, 2, 3, 4]).unwrap();
    assert!(device.is_unique(&mut buffer));
    let clone = buffer.clone();
    assert!(!device.is_unique(&mut buffer) && device.is_same(&buffer, &clone));
    drop(clone);
    assert!(device.is_unique(&mut buffer));
    let mut copy = device.copy_to(&buffer, &device).unwrap();
    assert!(!device.is_same(&buffer, &copy));
    device.write(&mut copy, 0, &[9]).unwrap();
    let mut back = [0; 4];
    device.read(&buffer, 0, &mut back).unwrap();
    assert_eq!(back, [1, 2, 3, 4]);
    let empty = device.alloc(0).unwrap();
    assert_eq!(device.size(&device.copy_to(&empty, &device).unwrap()), 0);
}

#[test]
fn too_much_memory_is_an_error_and_the_device_goes_on() {
    let Some(device) = device() else { return };
    let largest = backend_opencl::devices().unwrap()[0].max_allocation as usize;
    for bytes in [largest + 1, usize::MAX / 2, usize::MAX] {
        let error = device.alloc(bytes).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::OutOfMemory { bytes: asked, .. } if *asked == bytes), "{error}");
    }
    let mut buffer = device.alloc(2).unwrap();
    device.write(&mut buffer, 0, &[5, 6]).unwrap();
    let mut back = [0; 2];
    device.read(&buffer, 0, &mut back).unwrap();
    assert_eq!(back, [5, 6]);
}

#[test]
fn threads_share_a_device() {
    let Some(device) = device() else { return };
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let device = device.clone();
            scope.spawn(move || {
                for round in 0..50u8 {
                    let data = vec![thread.wrapping_mul(50).wrapping_add(round); 1000];
                    let mut buffer = device.alloc(1000).unwrap();
                    device.write(&mut buffer, 0, &data).unwrap();
                    let copy = device.copy_to(&buffer, &device).unwrap();
                    let mut back = vec![0; 1000];
                    device.read(&copy, 0, &mut back).unwrap();
                    assert_eq!(back, data);
                }
            });
        }
    });
}

#[test]
fn devices_are_listed_and_named() {
    let Some(device) = device() else { return };
    let listed = backend_opencl::devices().unwrap();
    assert_eq!(device.info().name, listed[0].name);
    assert!(listed[0].memory > 0 && listed[0].max_allocation > 0 && listed[0].max_work_group > 0);
    assert_eq!(device.label(), "opencl:0");
    assert_eq!(device, backend_opencl::OpenCl::open(0).unwrap());
    assert!(device.info().dtypes.contains(&DType::I64));
}

#[test]
fn a_device_that_is_not_there_is_an_error() {
    // This holds with and without a runtime.
    let error = backend_opencl::OpenCl::open(1000).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoDevice { device, .. } if device == "opencl:1000"), "{error}");
}
