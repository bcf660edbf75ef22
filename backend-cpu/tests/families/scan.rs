use crate::common::{Random, Tensor, Values, layouts, numbers, same_on_any_number_of_threads};
use backend_cpu::Cpu;
use tensor_core::{Backend, DType, Layout, Scalar, ScanOp, Shape, reference};

fn scan(op: ScanOp, axis: usize, input: &Tensor) -> Tensor {
    let mut out = Tensor::garbage(input.layout.dims(), input.dtype);
    Cpu::open().scan(op, axis, input.view(), out.view_mut()).unwrap();
    out
}

fn check(dims: &[usize], dtype: DType, values: Values) {
    check_layouts(usize::MAX, dims, dtype, values);
}

/// [`check`] with the first few layouts only.
fn check_layouts(number: usize, dims: &[usize], dtype: DType, values: Values) {
    let mut random = Random::new(9);
    for (name, layout) in layouts(dims).into_iter().take(number) {
        let input = Tensor::random(layout, dtype, values, &mut random);
        for axis in 0..dims.len() {
            for op in ScanOp::ALL {
                let mut out = scan(op, axis, &input);
                reference::scan(op, axis, &input.host(), &mut out.host_mut());
                // The reference adds f64s up in order, with an error of its own.
                let scale = if dtype == DType::F64 && op == ScanOp::Sum { dims[axis] as f64 } else { 0.0 };
                out.check(1.0, |_| scale, &format!("{} along {axis} of {dims:?} {name} {values:?}", op.name()));
            }
        }
    }
}

#[test]
fn all_dtypes_and_layouts() {
    for dtype in numbers() {
        for values in [Values::Plain, Values::Few, Values::Special] {
            for dims in [&[1][..], &[40], &[3, 5], &[70, 2], &[2, 300], &[300, 2], &[2, 3, 4], &[2, 0]] {
                check(dims, dtype, values);
            }
        }
    }
}

#[test]
fn long_lines() {
    // The reference takes its time: only one dtype sees how layouts and pieces of lines meet.
    for (dtype, layouts) in [(DType::F32, 3), (DType::F64, 1), (DType::I32, 1), (DType::F16, 1)] {
        check_layouts(layouts, &[200_001], dtype, Values::Few);
        check_layouts(layouts, &[2, 140_001], dtype, Values::Plain);
    }
    check_layouts(1, &[200_000], DType::F32, Values::Special);
}

#[test]
fn floats_add_up_in_f64() {
    let layout = Layout::contiguous(Shape::new([1_000_000]).unwrap());
    let input = Tensor::new(0.1f32.to_ne_bytes().repeat(1_000_000), layout, DType::F32);
    let bytes = scan(ScanOp::Sum, 0, &input).device_bytes();
    let last = Scalar::read(DType::F32, &bytes[4 * 999_999..]).as_f64();
    let exact = f64::from(0.1f32) * 1e6;
    assert!(((last - exact) / exact).abs() < 6e-8, "{last}");
}

#[test]
fn a_sum_that_would_overflow_in_parts_only() {
    // The running sum stays within −1.5e308 and 1.5e308; that of the second part alone does not.
    let mut values = vec![0.0f64; 300_000];
    values[0] = -1.5e308;
    values[70_000] = 1.5e308;
    values[70_001] = 1.5e308;
    let layout = Layout::contiguous(Shape::new([values.len()]).unwrap());
    let input = Tensor::new(values.iter().flat_map(|x| x.to_ne_bytes()).collect(), layout, DType::F64);
    let bytes = scan(ScanOp::Sum, 0, &input).device_bytes();
    assert_eq!(Scalar::read(DType::F64, &bytes[8 * 299_999..]).as_f64(), 1.5e308);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let mut random = Random::new(2);
    for dims in [[1, 1_000_000], [1_000_000, 1], [1000, 1000]] {
        for dtype in [DType::F32, DType::F64] {
            let layout = Layout::contiguous(Shape::new(dims).unwrap());
            let input = Tensor::random(layout, dtype, Values::Plain, &mut random);
            for axis in 0..2 {
                same_on_any_number_of_threads(|| scan(ScanOp::Sum, axis, &input).device_bytes());
            }
        }
    }
}
