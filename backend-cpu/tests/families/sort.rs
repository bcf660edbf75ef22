use crate::common::{Random, Tensor, Values, layouts};
use backend_cpu::Cpu;
use tensor_core::{Backend, DType, Scalar, reference};

fn check(dims: &[usize], dtype: DType, values: Values) {
    check_layouts(usize::MAX, dims, dtype, values);
}

/// [`check`] with the first few layouts only.
fn check_layouts(number: usize, dims: &[usize], dtype: DType, values: Values) {
    let mut random = Random::new(8);
    for (name, layout) in layouts(dims).into_iter().take(number) {
        let input = Tensor::random(layout, dtype, values, &mut random);
        for axis in 0..dims.len() {
            for descending in [false, true] {
                let (mut sorted, mut from) = (Tensor::garbage(dims, dtype), Tensor::garbage(dims, DType::I64));
                Cpu::open().sort(axis, descending, input.view(), sorted.view_mut(), from.view_mut()).unwrap();
                reference::sort(axis, descending, &input.host(), &mut sorted.host_mut(), &mut from.host_mut());
                let what = format!("descending {descending} along {axis} of {dims:?} {name} {values:?}");
                from.check(0.0, |_| 0.0, &what);
                sorted.check(0.0, |_| 0.0, &what);
                // Equal is not enough for zeros: their signs stay. (Which bits a NaN has is left open.)
                let all_but_nan = |bytes: &[u8]| -> Vec<u8> {
                    let kept = bytes.chunks(dtype.size()).filter(|place| !Scalar::read(dtype, place).as_f64().is_nan());
                    kept.flatten().copied().collect()
                };
                assert!(all_but_nan(&sorted.bytes) == all_but_nan(&sorted.device_bytes()), "{what}");
            }
        }
    }
}

#[test]
fn all_dtypes_and_layouts() {
    for dtype in DType::ALL {
        for values in [Values::Plain, Values::Few, Values::Special] {
            for dims in [&[1][..], &[2], &[40], &[3, 5], &[70, 2], &[2, 3, 4], &[2, 0]] {
                check(dims, dtype, values);
            }
        }
    }
}

#[test]
fn sizes_at_which_methods_change() {
    for dtype in [DType::F32, DType::F64, DType::I64, DType::U8, DType::F16, DType::I16] {
        for n in [511, 512, 513, 2047, 2048, 2049, 5000] {
            check(&[n], dtype, Values::Plain);
            check(&[n], dtype, Values::Special);
        }
    }
}

#[test]
fn long_lines_that_several_threads_share() {
    for dtype in [DType::F32, DType::I64, DType::BF16] {
        check_layouts(3, &[70_001], dtype, Values::Plain);
        check_layouts(1, &[100_000], dtype, Values::Special);
    }
    for threads in [1, 2, 3, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| check_layouts(1, &[140_007], DType::F32, Values::Special));
    }
}
