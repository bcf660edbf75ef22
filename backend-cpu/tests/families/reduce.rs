use crate::common::{Random, Tensor, Values, layouts, same_on_any_number_of_threads};
use backend_cpu::Cpu;
use tensor_core::op::{BinaryOp, UnaryOp};
use tensor_core::{Backend, DType, Layout, Program, ReduceOp, ReduceSpec, Scalar, Shape, reference};

fn reduce(op: ReduceOp, prologue: &Program, axes: &[usize], inputs: &[&Tensor]) -> Tensor {
    let shape = inputs[0].layout.shape();
    let spec = ReduceSpec { op, shape, axes, prologue };
    let dtype = if op.gives_index() { DType::I64 } else { prologue.dtype(prologue.outputs()[0]) };
    let mut out = Tensor::garbage(spec.out_shape().dims(), dtype);
    let views: Vec<_> = inputs.iter().map(|input| input.view()).collect();
    Cpu::open().reduce(&spec, &views, out.view_mut()).unwrap();
    out
}

fn check(op: ReduceOp, axes: &[usize], input: &Tensor, what: &str) {
    let prologue = Program::copy(input.dtype);
    let mut out = reduce(op, &prologue, axes, &[input]);
    let spec = ReduceSpec { op, shape: input.layout.shape(), axes, prologue: &prologue };
    reference::reduce(&spec, &[input.host()], &mut out.host_mut());
    // A sum may cancel: its error is measured by the sum of the absolute values, at most 2 each.
    let length: usize = axes.iter().map(|&axis| input.layout.dims()[axis]).product();
    let scale = if op == ReduceOp::Sum { 2.0 * length as f64 / 8.0 } else { 0.0 };
    let ulps = if op == ReduceOp::Prod { length as f64 + 2.0 } else { 1.5 };
    let scale = if input.dtype == DType::F64 { 8.0 * scale } else { scale / 1e3 };
    out.check(ulps, |_| scale, &format!("{} over {axes:?} of {:?} {what}", op.name(), input.layout));
}

fn subsets(rank: usize) -> Vec<Vec<usize>> {
    (0..1 << rank).map(|set: usize| (0..rank).filter(|axis| set >> axis & 1 == 1).collect()).collect()
}

fn check_all(dims: &[usize], dtypes: impl IntoIterator<Item = DType>, kinds: &[Values]) {
    let mut random = Random::new(dims.iter().sum::<usize>() as u64);
    for dtype in dtypes {
        for &values in kinds {
            for (name, layout) in layouts(dims) {
                let input = Tensor::random(layout, dtype, values, &mut random);
                for axes in subsets(dims.len()) {
                    if axes.iter().any(|&axis| dims[axis] == 0) {
                        continue;
                    }
                    for op in ReduceOp::ALL {
                        if !op.gives_index() || axes.len() == 1 {
                            check(op, &axes, &input, &format!("{name} {values:?}"));
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn all_dtypes_layouts_and_axes() {
    const KINDS: &[Values] = &[Values::Plain, Values::Few, Values::Special];
    for dims in [&[][..], &[1], &[2], &[67], &[5, 3], &[3, 70], &[70, 3], &[4, 5, 6], &[2, 1, 17, 3], &[2, 0, 3]] {
        check_all(dims, DType::ALL, KINDS);
    }
}

#[test]
fn sizes_at_which_loops_change() {
    let dtypes = [DType::F32, DType::F64, DType::U8, DType::F16];
    for n in [7, 8, 9, 63, 64, 65, 127, 128, 129, 511, 512, 513, 1023, 1025, 2049] {
        check_all(&[n], dtypes, &[Values::Plain]);
        check_all(&[n, 3], dtypes, &[Values::Few]);
        check_all(&[3, n], dtypes, &[Values::Special]);
    }
}

#[test]
fn large_ones_that_several_threads_share() {
    use DType::{BF16, F32, I64};
    use ReduceOp::{ArgMax, ArgMin, Max, Min, Prod, Sum};
    let mut random = Random::new(11);
    // The reference takes its time: each way through the code is seen by some dtypes and layouts, and small tensors see all.
    for dims in [&[140_001][..], &[3, 70_001], &[70_001, 3], &[500, 300], &[10_000, 1, 17]] {
        for (dtype, number, ops) in
            [(F32, 3, &[Sum, ArgMax][..]), (F32, 1, &[Max, Prod]), (I64, 2, &[Sum, ArgMin]), (BF16, 1, &[Sum, Min])]
        {
            for (name, layout) in layouts(dims).into_iter().take(number) {
                let input = Tensor::random(layout, dtype, Values::Few, &mut random);
                for axes in subsets(dims.len()) {
                    // Reducing nothing, or an axis of size 1 besides others, is nothing new.
                    if axes.is_empty() || axes.contains(&1) && dims.len() == 3 {
                        continue;
                    }
                    for &op in ops {
                        if !op.gives_index() || axes.len() == 1 {
                            check(op, &axes, &input, name);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn programs_before_the_reduction() {
    let mut random = Random::new(5);
    let mut program = Program::new();
    let (x, y) = (program.input(DType::F32), program.input(DType::F32));
    let product = program.binary(BinaryOp::Mul, x, y);
    let square = program.unary(UnaryOp::Neg, product);
    program.output(square);
    for (_, layout) in layouts(&[13, 40]) {
        let a = Tensor::random(layout, DType::F32, Values::Plain, &mut random);
        let b =
            Tensor::random(Layout::contiguous(Shape::new([13, 40]).unwrap()), DType::F32, Values::Plain, &mut random);
        for axes in subsets(2) {
            let mut out = reduce(ReduceOp::Sum, &program, &axes, &[&a, &b]);
            let spec = ReduceSpec { op: ReduceOp::Sum, shape: a.layout.shape(), axes: &axes, prologue: &program };
            reference::reduce(&spec, &[a.host(), b.host()], &mut out.host_mut());
            out.check(2.0, |_| 0.0, "−x·y");
        }
    }
}

fn whole_sum(values: Vec<f32>) -> f64 {
    let layout = Layout::contiguous(Shape::new([values.len()]).unwrap());
    let bytes = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
    let input = Tensor::new(bytes, layout, DType::F32);
    let out = reduce(ReduceOp::Sum, &Program::copy(DType::F32), &[0], &[&input]);
    Scalar::read(DType::F32, &out.device_bytes()).as_f64()
}

#[test]
fn long_sums_keep_their_precision() {
    let exact = f64::from(0.1f32) * 1e7;
    let relative = (whole_sum(vec![0.1; 10_000_000]) - exact) / exact;
    assert!(relative.abs() < 6e-8, "{relative:e}");
}

#[test]
fn sums_survive_cancellation() {
    let mut values = vec![1.0f32; 100_003];
    for pair in values.chunks_exact_mut(1000) {
        pair[0] = 1e8;
        pair[999] = -1e8;
    }
    assert_eq!(whole_sum(values), 100_003.0 - 200.0);
}

#[test]
fn f64_sums_keep_what_rounding_takes() {
    // A million times 0.1: adding up in order is off by about 1e-6.
    for dims in [[1_000_000, 1], [1, 1_000_000], [125_000, 8]] {
        let layout = Layout::contiguous(Shape::new(dims).unwrap());
        let input = Tensor::new(0.1f64.to_ne_bytes().repeat(1_000_000), layout, DType::F64);
        for axes in [&[0, 1][..], &[0], &[1]] {
            let out = reduce(ReduceOp::Sum, &Program::copy(DType::F64), axes, &[&input]);
            let count = axes.iter().map(|&axis| dims[axis]).product::<usize>() as f64;
            for bytes in out.device_bytes().chunks(8) {
                let sum = Scalar::read(DType::F64, bytes).as_f64();
                assert!((sum / (0.1 * count) - 1.0).abs() < 2e-15, "{dims:?} {axes:?}: {sum:e}");
            }
        }
    }
}

#[test]
fn products_do_not_leave_the_range_on_the_way() {
    for dtype in [DType::F32, DType::F64] {
        let (large, small) = if dtype == DType::F32 { (1e20, 1e-20) } else { (1e200, 1e-200) };
        for dims in [[4000, 1], [1, 4000]] {
            let mut bytes = vec![0; 4000 * dtype.size()];
            for (i, place) in bytes.chunks_mut(dtype.size()).enumerate() {
                Scalar::Float(if i % 2 == 0 { large } else { small }).write(dtype, place);
            }
            let input = Tensor::new(bytes, Layout::contiguous(Shape::new(dims).unwrap()), dtype);
            let out = reduce(ReduceOp::Prod, &Program::copy(dtype), &[0, 1], &[&input]);
            let product = Scalar::read(dtype, &out.device_bytes()).as_f64();
            assert!((product - 1.0).abs() < 1e-3, "{product}");
        }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let mut random = Random::new(1);
    for dims in [[1, 1_000_000], [1_000_000, 1], [1000, 1000], [200_000, 5], [3, 333_333]] {
        for dtype in [DType::F32, DType::F64] {
            let layout = Layout::contiguous(Shape::new(dims).unwrap());
            let input = Tensor::random(layout, dtype, Values::Plain, &mut random);
            for axes in [&[0][..], &[1], &[0, 1]] {
                same_on_any_number_of_threads(|| {
                    reduce(ReduceOp::Sum, &Program::copy(dtype), axes, &[&input]).device_bytes()
                });
            }
        }
    }
}
