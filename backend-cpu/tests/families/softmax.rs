use crate::common::{Random, Tensor, Values, floats, layouts, same_on_any_number_of_threads};
use backend_cpu::Cpu;
use tensor_core::{Backend, DType, Layout, Scalar, Shape, reference};

fn softmax(axis: usize, log: bool, input: &Tensor) -> Tensor {
    let mut out = Tensor::garbage(input.layout.dims(), input.dtype);
    Cpu::open().softmax(axis, log, input.view(), out.view_mut()).unwrap();
    out
}

fn check(dims: &[usize], dtype: DType, values: Values) {
    let mut random = Random::new(3);
    for (name, layout) in layouts(dims) {
        let input = Tensor::random(layout, dtype, values, &mut random);
        for axis in 0..dims.len() {
            for log in [false, true] {
                let mut out = softmax(axis, log, &input);
                reference::softmax(axis, log, &input.host(), &mut out.host_mut());
                // The reference adds f64s up in order, with an error of its own.
                let ulps = if dtype == DType::F64 { 4.0 + dims[axis] as f64 } else { 4.0 };
                out.check(
                    ulps,
                    |_| f64::from(u8::from(log)),
                    &format!("log {log} along {axis} of {dims:?} {name} {values:?}"),
                );
            }
        }
    }
}

#[test]
fn all_dtypes_and_layouts() {
    for dtype in floats() {
        for values in [Values::Plain, Values::Few, Values::Special] {
            for dims in [&[1][..], &[40], &[3, 5], &[70, 2], &[2, 600], &[600, 2], &[2, 3, 4], &[33, 130], &[2, 0]] {
                check(dims, dtype, values);
            }
        }
    }
}

#[test]
fn long_lines() {
    for dtype in [DType::F32, DType::F64, DType::F16] {
        check(&[100_000], dtype, Values::Plain);
        check(&[2, 70_000], dtype, Values::Few);
    }
    check(&[100_000], DType::F32, Values::Special);
    check(&[1500, 200], DType::F32, Values::Plain);
}

#[test]
fn large_values_do_not_overflow() {
    let layout = Layout::contiguous(Shape::new([2]).unwrap());
    let of = |log, values: [f32; 2]| {
        let bytes = values.iter().flat_map(|x| x.to_ne_bytes()).collect();
        let out = softmax(0, log, &Tensor::new(bytes, layout.clone(), DType::F32)).device_bytes();
        [0, 4].map(|at| Scalar::read(DType::F32, &out[at..]).as_f64() as f32)
    };
    assert_eq!(of(false, [1e4, 1e4 + 1.0]), [0.268_941_43, 0.731_058_6]);
    assert_eq!(of(true, [0.0, -200.0]), [0.0, -200.0]);
    assert!(of(false, [f32::NEG_INFINITY; 2]).iter().all(|x| x.is_nan()));
    assert_eq!(of(false, [f32::NEG_INFINITY, 0.0]), [0.0, 1.0]);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let mut random = Random::new(4);
    for dims in [[1, 300_000], [300_000, 2], [500, 500]] {
        let layout = Layout::contiguous(Shape::new(dims).unwrap());
        let input = Tensor::random(layout, DType::F32, Values::Plain, &mut random);
        for axis in 0..2 {
            same_on_any_number_of_threads(|| softmax(axis, false, &input).device_bytes());
        }
    }
}
