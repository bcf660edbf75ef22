//! Reductions over any axes, with prologues, against the reference interpreter.

mod common;

use backend_opencl::OpenCl;
use common::{Kind, Rng, Tensor, assert_close, bytes, device, devices, host, host_mut, random, specials, upload};
use tensor_core::op::BinaryOp;
use tensor_core::{Backend, DType, Layout, Program, ReduceOp, ReduceSpec, Scalar, Shape, View, ViewMut, reference};

fn check(device: &OpenCl, spec: &ReduceSpec<'_>, inputs: &[Tensor], out: &Tensor, ulp: u64, case: &str) {
    let mut expected = out.bytes.clone();
    let hosts: Vec<_> = inputs.iter().map(host).collect();
    reference::reduce(spec, &hosts, &mut host_mut(out, &mut expected));
    let held: Vec<_> = inputs.iter().map(|tensor| upload(device, tensor)).collect();
    let views: Vec<View<'_, OpenCl>> = inputs
        .iter()
        .zip(&held)
        .map(|(tensor, buffer)| View { buffer, layout: &tensor.layout, dtype: tensor.dtype })
        .collect();
    let mut buffer = upload(device, out);
    device.reduce(spec, &views, ViewMut { buffer: &mut buffer, layout: &out.layout, dtype: out.dtype }).unwrap();
    assert_close(out.dtype, &bytes(device, &buffer), &expected, ulp, &|number| {
        format!("{} {} over {:?} of {} at {number} ({case})", spec.op.name(), inputs[0].dtype, spec.axes, spec.shape)
    });
}

/// Dtypes in which an operation is tested. Kernels compile slowly: what differs in name only, such as the smallest of some
/// integers from the largest, is not tested in every dtype.
fn takes(op: ReduceOp, dtype: DType) -> bool {
    match op {
        ReduceOp::Sum | ReduceOp::Prod if dtype == DType::Bool => false,
        ReduceOp::Sum | ReduceOp::Max => true,
        ReduceOp::Prod => matches!(dtype, DType::I16 | DType::I64 | DType::BF16 | DType::F32 | DType::F64),
        ReduceOp::Min => matches!(dtype, DType::Bool | DType::I8 | DType::F16 | DType::F32),
        ReduceOp::ArgMax => matches!(dtype, DType::U8 | DType::I64 | DType::F32),
        ReduceOp::ArgMin => matches!(dtype, DType::I32 | DType::F16 | DType::F64),
    }
}

fn out_dtype(op: ReduceOp, dtype: DType) -> DType {
    if op.gives_index() { DType::I64 } else { dtype }
}

/// A bound: floats narrower than f64 are added and multiplied in f64, f64 sums keep what rounding takes.
fn bound(op: ReduceOp, dtype: DType, count: usize) -> u64 {
    match (op, dtype) {
        (ReduceOp::Sum, DType::F64) => 4,
        (ReduceOp::Prod, DType::F64) => count as u64,
        (ReduceOp::Sum | ReduceOp::Prod, _) => 1,
        _ => 0,
    }
}

fn dense(dtype: DType, dims: &[usize]) -> Tensor {
    let shape = Shape::new(dims).unwrap();
    let len = shape.numel();
    Tensor::new(dtype, Layout::contiguous(shape), len, |_| Scalar::Int(1).cast(dtype))
}

fn domain(op: ReduceOp) -> (f64, f64) {
    if op == ReduceOp::Prod { (0.9, 1.1) } else { (-100.0, 100.0) }
}

#[test]
fn every_operation_in_every_dtype() {
    let Some(device) = device() else { return };
    let mut rng = Rng(1);
    for op in ReduceOp::ALL {
        for dtype in DType::ALL.into_iter().filter(|&dtype| takes(op, dtype)) {
            let (rows, columns) = (7, 131);
            let shape = Shape::new([rows, columns]).unwrap();
            let layout = Layout::contiguous(shape.clone());
            let copy = Program::copy(dtype);
            let spec = ReduceSpec { op, shape: &shape, axes: &[1], prologue: &copy };
            let out = dense(out_dtype(op, dtype), &[rows]);
            let input = Tensor::new(dtype, layout.clone(), rows * columns, |_| random(dtype, domain(op), &mut rng));
            check(&device, &spec, &[input], &out, bound(op, dtype, columns), "random");
            if dtype != DType::F64 || op != ReduceOp::Prod {
                // One special value among tame ones in each row; a row of NaN; rows of ties.
                let list = specials(dtype);
                let input = Tensor::new(dtype, layout, rows * columns, |number| match number / columns {
                    5 => Scalar::Float(f64::NAN).cast(dtype),
                    row if number % columns == 17 * row => list[rng.below(list.len())],
                    row => Scalar::Int((number % (row + 2)) as i64 % 2).cast(dtype),
                });
                check(&device, &spec, &[input], &out, bound(op, dtype, columns), "special");
            }
        }
    }
}

#[test]
fn any_axes_of_any_layout() {
    devices().iter().for_each(any_axes_of_any_layout_on);
}

fn any_axes_of_any_layout_on(device: &OpenCl) {
    let mut rng = Rng(2);
    let copy = Program::copy(DType::F32);
    for (rows, columns) in [(9, 70), (70, 9), (1, 257), (300, 16), (15, 17), (1, 1)] {
        let shape = Shape::new([rows, columns]).unwrap();
        for kind in Kind::ALL {
            let (layout, len) = kind.layout(rows, columns);
            let input = Tensor::new(DType::F32, layout, len, |_| random(DType::F32, (-9.0, 9.0), &mut rng));
            for (axes, dims) in [(&[0][..], &[columns][..]), (&[1], &[rows]), (&[0, 1], &[])] {
                for op in [ReduceOp::Sum, ReduceOp::Max] {
                    let spec = ReduceSpec { op, shape: &shape, axes, prologue: &copy };
                    let out = dense(DType::F32, dims);
                    check(device, &spec, std::slice::from_ref(&input), &out, 1, &format!("{kind:?}"));
                }
            }
        }
    }
}

#[test]
fn many_axes_and_outputs_that_are_views() {
    devices().iter().for_each(many_axes_and_outputs_that_are_views_on);
}

fn many_axes_and_outputs_that_are_views_on(device: &OpenCl) {
    let mut rng = Rng(3);
    let copy = Program::copy(DType::I32);
    let dims = [3, 2, 4, 2, 3, 2, 2, 3, 2, 2];
    let shape = Shape::new(dims).unwrap();
    let layout = Layout::contiguous(shape.clone()).transpose(0, 2).unwrap().transpose(3, 8).unwrap();
    let layout = layout.transpose(0, 2).unwrap().transpose(3, 8).unwrap().transpose(1, 4).unwrap();
    let shape = layout.shape().clone();
    let input = Tensor::new(DType::I32, layout, shape.numel(), |_| random(DType::I32, (0.0, 1.0), &mut rng));
    for axes in [&[0][..], &[9], &[1, 3, 5, 7, 9], &[0, 2, 4, 6, 8], &[0, 1, 2, 3, 4, 5, 6, 7, 8], &[]] {
        let spec = ReduceSpec { op: ReduceOp::Sum, shape: &shape, axes, prologue: &copy };
        let kept = spec.out_shape();
        let (len, rank) = (kept.numel(), kept.rank() as isize);
        let order: Vec<isize> = (0..rank).rev().collect();
        let sizes: Vec<usize> = kept.dims().iter().rev().copied().collect();
        let transposed = Layout::contiguous(Shape::new(sizes).unwrap()).permute(&order).unwrap();
        let out = Tensor::new(DType::I32, transposed, len, |_| Scalar::Int(0));
        check(device, &spec, std::slice::from_ref(&input), &out, 0, "ten axes");
    }
}

#[test]
fn long_rows_are_shared_out() {
    devices().iter().for_each(long_rows_are_shared_out_on);
}

fn long_rows_are_shared_out_on(device: &OpenCl) {
    let mut rng = Rng(4);
    for (rows, columns) in [(1, 300_000), (3, 20_001)] {
        let shape = Shape::new([rows, columns]).unwrap();
        for (op, dtype) in [
            (ReduceOp::Sum, DType::F32),
            (ReduceOp::Sum, DType::F64),
            (ReduceOp::Sum, DType::I64),
            (ReduceOp::ArgMax, DType::F32),
            (ReduceOp::ArgMin, DType::I8),
        ] {
            let copy = Program::copy(dtype);
            let layout = Layout::contiguous(shape.clone());
            let input = Tensor::new(dtype, layout, rows * columns, |_| random(dtype, (-1.0, 1.0), &mut rng));
            let spec = ReduceSpec { op, shape: &shape, axes: &[1], prologue: &copy };
            check(device, &spec, &[input], &dense(out_dtype(op, dtype), &[rows]), bound(op, dtype, columns), "long");
        }
    }
}

/// A product of two inputs, one broadcast, plus the row-major number of the element's row.
#[test]
fn prologues_are_computed_before() {
    devices().iter().for_each(prologues_are_computed_before_on);
}

fn prologues_are_computed_before_on(device: &OpenCl) {
    let mut rng = Rng(5);
    let mut program = Program::new();
    let (a, b) = (program.input(DType::F16), program.input(DType::F16));
    let product = program.binary(BinaryOp::Mul, a, b);
    let half = program.scalar(Scalar::Float(0.5), DType::F16);
    let scaled = program.binary(BinaryOp::Add, product, half);
    let row = program.iota(0);
    let row = program.cast(row, DType::F16);
    let sum = program.binary(BinaryOp::Add, scaled, row);
    program.output(sum);
    let shape = Shape::new([33, 65]).unwrap();
    for (axes, dims) in [(&[0][..], &[65][..]), (&[1], &[33]), (&[0, 1], &[])] {
        for kinds in [(Kind::Contiguous, Kind::Row), (Kind::Transposed, Kind::Column), (Kind::Flipped, Kind::Single)] {
            let mut tensor = |kind: Kind| {
                let (layout, len) = kind.layout(33, 65);
                Tensor::new(DType::F16, layout, len, |_| random(DType::F16, (-2.0, 2.0), &mut rng))
            };
            let inputs = [tensor(kinds.0), tensor(kinds.1)];
            let spec = ReduceSpec { op: ReduceOp::Sum, shape: &shape, axes, prologue: &program };
            check(device, &spec, &inputs, &dense(DType::F16, dims), 1, &format!("{kinds:?}"));
        }
    }
}
