//! Whatever fails comes back as an `Err` from the call that it concerns, and from no later one.

mod common;

use backend_cuda::Cuda;
use common::{Fake, product, scale};
use tensor_core::{Backend, ErrorKind};

const RIGHT: [f32; 3] = [2.0, 4.0, -6.0];

fn device() -> Cuda {
    Cuda::open(0).expect("the stand-in has a device")
}

/// Whether the environment asks for no pool.
fn keeps_nothing() -> bool {
    std::env::var_os("GRADIX_CUDA_ALLOC").is_some_and(|value| value == "direct")
}

#[test]
fn memory_that_is_kept_goes_back_before_an_allocation_fails() {
    let Some(fake) = Fake::get() else { return };
    if keeps_nothing() {
        return;
    }
    let device = device();
    device.trim().unwrap();
    drop(device.alloc(48 << 20).unwrap());
    let kept = device.stats().cached;
    assert!(kept >= 48 << 20, "{kept}");
    let failed = fake.count("out_of_memory");
    fake.set("oom_at", 1);
    let buffer = device.alloc(64 << 20).unwrap();
    assert_eq!(device.size(&buffer), 64 << 20);
    assert_eq!(fake.count("out_of_memory"), failed + 1, "the first try failed");
    assert!(device.stats().cached < kept, "{:?}", device.stats());
    drop(buffer);
    device.trim().unwrap();
    assert_eq!(scale(&device, 0, 2.0).unwrap(), RIGHT);
}

#[test]
fn out_of_memory_is_an_error_and_the_device_goes_on() {
    let Some(fake) = Fake::get() else { return };
    let device = device();
    device.trim().unwrap();
    fake.set("oom_above", 4 << 20);
    for _ in 0..3 {
        let error = device.alloc(32 << 20).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::OutOfMemory { bytes, .. } if *bytes == 32 << 20), "{error}");
    }
    assert_eq!(scale(&device, 0, 2.0).unwrap(), RIGHT);
    for bytes in [usize::MAX, usize::MAX / 2, device.description().memory as usize + 1] {
        let error = device.alloc(bytes).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::OutOfMemory { .. }), "{error}");
    }
    fake.set("defaults", "");
    assert!(device.alloc(32 << 20).is_ok());
}

#[test]
fn every_allocation_of_an_operation_may_fail() {
    let Some(fake) = Fake::get() else { return };
    let device = device();
    for nth in 1..12 {
        device.trim().unwrap();
        // Twice in a row, so that the second try fails, too.
        fake.set("oom_above", 1);
        let error = scale(&device, 0, 2.0);
        fake.set("defaults", "");
        if let Err(error) = error {
            assert!(matches!(error.kind(), ErrorKind::OutOfMemory { .. }), "{error}");
        }
        fake.set("oom_at", nth);
        assert_eq!(scale(&device, 0, 2.0).unwrap(), RIGHT, "one failure is made up for");
        fake.set("defaults", "");
    }
    assert_eq!(scale(&device, 0, 2.0).unwrap(), RIGHT);
}

#[test]
fn launches_that_fail_are_told_once() {
    let Some(fake) = Fake::get() else { return };
    let device = device();
    assert_eq!(scale(&device, 0, 2.0).unwrap(), RIGHT);
    // Launch failure, out of resources, invalid value.
    for code in [719, 701, 1] {
        fake.set("launch_fail_code", code);
        fake.set("launch_fail_at", 1);
        let error = scale(&device, 0, 2.0).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Device { device, .. } if device == "cuda:0"), "{error}");
        assert!(error.to_string().contains("CUDA_ERROR_"), "{error}");
        assert_eq!(scale(&device, 0, 2.0).unwrap(), RIGHT);
    }
}

#[test]
fn what_the_driver_lacks_memory_for_is_tried_again_once_that_is_given_back() {
    let Some(fake) = Fake::get() else { return };
    let device = device();
    assert_eq!(scale(&device, 0, 2.0).unwrap(), RIGHT);
    let kept = || {
        drop(device.alloc(48 << 20).unwrap());
        device.stats().cached
    };
    // A launch, then loading a kernel that nobody used before.
    for (setting, code, kind) in [("launch_fail_at", "launch_fail_code", 0), ("module_fail_at", "module_fail_code", 9)]
    {
        let before = if keeps_nothing() { usize::MAX } else { kept() };
        fake.set(code, 2);
        fake.set(setting, 1);
        assert_eq!(scale(&device, kind, 2.0).unwrap(), RIGHT, "{setting}");
        assert_eq!(fake.count(setting), 0, "it failed once");
        assert!(device.stats().cached < before, "{:?}", device.stats());
        fake.set("defaults", "");
    }
    // If there is none then, it is an error, and the device goes on.
    fake.set("launch_fail_code", 2);
    fake.set("launch_fail_at", 1);
    fake.set("launch_fail_sticky", 1);
    let error = scale(&device, 0, 2.0).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::OutOfMemory { .. }), "{error}");
    fake.set("defaults", "");
    fake.set("module_fail_code", 2);
    fake.set("module_fail_always", 1);
    let error = scale(&device, 10, 2.0).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::OutOfMemory { .. }), "{error}");
    fake.set("defaults", "");
    assert_eq!(scale(&device, 10, 2.0).unwrap(), RIGHT);
}

#[test]
fn a_driver_that_refuses_machine_code_gets_assembly() {
    let Some(fake) = Fake::get() else { return };
    let device = device();
    let before = fake.count("ptx_modules");
    fake.set("module_fail_code", 209);
    fake.set("module_fail_at", 1);
    assert_eq!(scale(&device, 1, 2.0).unwrap(), RIGHT);
    assert_eq!(fake.count("ptx_modules"), before + 1);
}

#[test]
fn modules_that_do_not_load_are_errors_until_they_do() {
    let Some(fake) = Fake::get() else { return };
    let device = device();
    for code in [200, 218, 719] {
        fake.set("module_fail_code", code);
        fake.set("module_fail_always", 1);
        let error = scale(&device, 2, 2.0).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Device { .. }), "{error}");
        assert!(error.to_string().contains("CUDA_ERROR_"), "{error}");
    }
    fake.set("defaults", "");
    assert_eq!(scale(&device, 2, 2.0).unwrap(), RIGHT);
}

#[test]
fn a_compiler_that_fails_is_an_error_with_its_words() {
    let Some(fake) = Fake::get() else { return };
    let device = device();
    fake.set("nvrtc_fail", 1);
    let error = scale(&device, 3, 2.0).unwrap_err();
    assert!(error.to_string().contains("compiling a kernel failed on cuda:0"), "{error}");
    fake.set("nvrtc_fail", 0);
    assert_eq!(scale(&device, 3, 2.0).unwrap(), RIGHT);
}

#[test]
fn a_lost_device_answers_every_call_with_an_error() {
    let Some(fake) = Fake::get() else { return };
    let device = device();
    assert_eq!(scale(&device, 0, 2.0).unwrap(), RIGHT);
    let mut held = device.alloc(1 << 10).unwrap();
    // Lost at any call.
    for nth in 1..24 {
        fake.set("lost_at", nth);
        let lost = scale(&device, 0, 2.0);
        if let Err(error) = &lost {
            assert!(matches!(error.kind(), ErrorKind::Device { .. }), "{error}");
        } else {
            assert!(nth > 4, "the {nth}th call is one of them");
        }
        if lost.is_err() {
            assert!(scale(&device, 0, 2.0).is_err());
            assert!(device.write(&mut held, 0, &[1]).is_err());
            assert!(device.read(&held, 0, &mut [0]).is_err());
            assert!(device.synchronize().is_err() && device.trim().is_err());
            assert!(product(&device, 2, 3, 4).is_err());
        }
        // A driver started anew: nothing of the old one's errors comes back.
        fake.set("defaults", "");
        assert_eq!(scale(&device, 0, 2.0).unwrap(), RIGHT, "after the {nth}th call");
    }
}

#[test]
fn products_are_the_librarys_and_else_our_own() {
    let Some(fake) = Fake::get() else { return };
    let device = device();
    let before = fake.count("lt_products");
    assert_eq!(product(&device, 5, 7, 3).unwrap(), [7.0; 15]);
    assert_eq!(fake.count("lt_products"), before + 1);
    let planned = fake.count("lt_plans");
    assert_eq!(product(&device, 5, 7, 3).unwrap(), [7.0; 15]);
    assert_eq!(fake.count("lt_plans"), planned, "the second product needs no new plan");
    fake.set("lt_fail", 1);
    assert_eq!(product(&device, 6, 5, 3).unwrap(), [5.0; 18]);
    assert_eq!(fake.count("lt_products"), before + 2);
}

#[test]
fn devices_copy_to_each_other_with_and_without_a_way() {
    let Some(fake) = Fake::get() else { return };
    fake.set("devices", 3);
    let first = device();
    let data: Vec<u8> = (0..300_000u32).map(|i| (i * 7 + i / 256) as u8).collect();
    for (index, peer) in [(1, 1), (2, 0)] {
        fake.set("peer", peer);
        let second = Cuda::open(index).unwrap();
        assert_ne!(first, second);
        let mut buffer = first.alloc(data.len()).unwrap();
        first.write(&mut buffer, 0, &data).unwrap();
        let there = first.copy_to(&buffer, &second).unwrap();
        drop(buffer);
        let back = second.copy_to(&there, &first).unwrap();
        for (device, buffer) in [(&second, &there), (&first, &back)] {
            let mut held = vec![0; data.len()];
            device.read(buffer, 0, &mut held).unwrap();
            assert!(held == data, "cuda:{index}, peer access {peer}");
        }
        assert_eq!(second.size(&first.copy_to(&first.alloc(0).unwrap(), &second).unwrap()), 0);
        assert!(second.read(&back, 0, &mut [0]).is_err(), "a buffer of another device is refused");
        assert_eq!(scale(&second, 0, 2.0).unwrap(), RIGHT);
    }
    let error = Cuda::open(3).unwrap_err();
    assert!(error.to_string().contains("there are 3 CUDA devices, cuda:0 to cuda:2"), "{error}");
}

#[test]
fn memory_is_kept_up_to_a_limit_and_given_back_on_request() {
    let Some(fake) = Fake::get() else { return };
    if keeps_nothing() {
        return;
    }
    let device = device();
    device.trim().unwrap();
    let start = (device.stats(), fake.count("live_bytes"));
    let buffers: Vec<_> = [100, 5 << 10, 3 << 20, 40 << 20].map(|bytes| device.alloc(bytes).unwrap()).into();
    assert!(device.stats().in_use >= start.0.in_use + (43 << 20));
    drop(buffers);
    let stats = device.stats();
    assert_eq!(stats.in_use, start.0.in_use);
    assert!(stats.cached >= 43 << 20 && stats.peak >= stats.cached);
    let allocations = fake.count("allocations");
    drop(device.alloc(40 << 20).unwrap());
    assert_eq!(fake.count("allocations"), allocations, "the memory is used again");
    device.trim().unwrap();
    assert_eq!((device.stats().cached, fake.count("live_bytes")), (start.0.cached, start.1));
    device.set_limit(8 << 20).unwrap();
    drop(device.alloc(40 << 20).unwrap());
    assert!(device.stats().cached <= 8 << 20, "{:?}", device.stats());
    device.set_limit(usize::MAX).unwrap();
}

#[test]
fn threads_share_a_device() {
    let Some(_fake) = Fake::get() else { return };
    let device = device();
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            scope.spawn(move || {
                for round in 0..50u32 {
                    let data: Vec<u8> = (0..5000).map(|i| (i * thread + round) as u8).collect();
                    let mut buffer = device.alloc(data.len()).unwrap();
                    device.write(&mut buffer, 0, &data).unwrap();
                    assert_eq!(scale(&device, thread as usize % 2, 2.0).unwrap(), RIGHT);
                    let copy = device.copy_to(&buffer, &device).unwrap();
                    drop(buffer);
                    let mut back = vec![0; data.len()];
                    device.read(&copy, 0, &mut back).unwrap();
                    assert!(back == data);
                }
            });
        }
    });
}
