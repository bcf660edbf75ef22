//! What works along lines: scan, sort, softmax, matmul, gather and scatter, against the reference interpreter.

mod common;

use backend_opencl::OpenCl;
use common::{Kind, Rng, Tensor, assert_close, bytes, device, devices, host, host_mut, random, specials, upload};
use tensor_core::{Backend, DType, Layout, Scalar, ScanOp, ScatterOp, Shape, View, ViewMut, reference};

fn view<'a>(tensor: &'a Tensor, buffer: &'a backend_opencl::Buffer) -> View<'a, OpenCl> {
    View { buffer, layout: &tensor.layout, dtype: tensor.dtype }
}

fn view_mut<'a>(tensor: &'a Tensor, buffer: &'a mut backend_opencl::Buffer) -> ViewMut<'a, OpenCl> {
    ViewMut { buffer, layout: &tensor.layout, dtype: tensor.dtype }
}

fn dense(dtype: DType, dims: &[usize]) -> Tensor {
    filled(dtype, dims, |_| Scalar::Int(1).cast(dtype))
}

fn filled(dtype: DType, dims: &[usize], value: impl FnMut(usize) -> Scalar) -> Tensor {
    let shape = Shape::new(dims).unwrap();
    let len = shape.numel();
    Tensor::new(dtype, Layout::contiguous(shape), len, value)
}

fn laid(dtype: DType, kind: Kind, rows: usize, columns: usize, value: impl FnMut(usize) -> Scalar) -> Tensor {
    let (layout, len) = kind.layout(rows, columns);
    Tensor::new(dtype, layout, len, value)
}

/// A tensor of three axes from one of two, by cutting the columns.
fn cut(tensor: Tensor, dims: [usize; 3]) -> Tensor {
    let layout = tensor.layout.reshape(&Shape::new(dims).unwrap()).unwrap();
    Tensor { layout: layout.expect("cutting an axis needs no copy"), ..tensor }
}

const NUMBERS: [DType; 9] =
    [DType::U8, DType::I8, DType::I16, DType::I32, DType::I64, DType::F16, DType::BF16, DType::F32, DType::F64];

fn check_scan(device: &OpenCl, op: ScanOp, axis: usize, input: &Tensor, out: &Tensor, case: &str) {
    let mut expected = out.bytes.clone();
    reference::scan(op, axis, &host(input), &mut host_mut(out, &mut expected));
    let (from, mut to) = (upload(device, input), upload(device, out));
    device.scan(op, axis, view(input, &from), view_mut(out, &mut to)).unwrap();
    // In f64 sums of what cancels are compared to what was added up, not to what is left.
    let ulp = if out.dtype == DType::F64 { 1 << 20 } else { 1 };
    assert_close(out.dtype, &bytes(device, &to), &expected, ulp, &|number| {
        format!("{} {} along {axis} at {number} ({case})", op.name(), input.dtype)
    });
}

#[test]
fn scans() {
    devices().iter().for_each(scans_on);
}

fn scans_on(device: &OpenCl) {
    let mut rng = Rng(1);
    for op in ScanOp::ALL {
        let domain = if op == ScanOp::Prod { (0.8, 1.2) } else { (-2.0, 3.0) };
        for dtype in NUMBERS {
            let input = filled(dtype, &[5, 37], |_| random(dtype, domain, &mut rng));
            check_scan(device, op, 1, &input, &dense(dtype, &[5, 37]), "rows");
        }
    }
    for kind in Kind::ALL {
        for axis in [0, 1] {
            let input = laid(DType::F32, kind, 17, 130, |_| random(DType::F32, (-2.0, 2.0), &mut rng));
            let out = laid(DType::F32, Kind::OUTPUTS[axis + 1], 17, 130, |_| Scalar::Int(0));
            check_scan(device, ScanOp::Sum, axis, &input, &out, &format!("{kind:?}"));
        }
    }
    for len in [1, 15, 16, 17, 255, 256, 257, 1023, 50_000] {
        let input = filled(DType::I32, &[len], |_| random(DType::I32, (0.0, 1.0), &mut rng));
        check_scan(device, ScanOp::Sum, 0, &input, &dense(DType::I32, &[len]), "length");
    }
    let deep = [2, 2, 2, 3, 2, 2, 2, 2, 2, 2];
    let order = [8, 1, 6, 3, 4, 5, 2, 7, 0, 9];
    let input = filled(DType::I32, &deep, |_| random(DType::I32, (0.0, 1.0), &mut rng));
    let input = Tensor { layout: input.layout.permute(&order).unwrap(), ..input };
    for axis in [0, 4, 9] {
        check_scan(device, ScanOp::Sum, axis, &input, &dense(DType::I32, input.layout.dims()), "ten axes");
    }
}

fn check_sort(device: &OpenCl, axis: usize, descending: bool, input: &Tensor, case: &str) {
    let dims = input.layout.dims();
    let (values, indices) = (dense(input.dtype, dims), dense(DType::I64, dims));
    let (mut sorted, mut places) = (values.bytes.clone(), indices.bytes.clone());
    reference::sort(
        axis,
        descending,
        &host(input),
        &mut host_mut(&values, &mut sorted),
        &mut host_mut(&indices, &mut places),
    );
    let from = upload(device, input);
    let (mut to, mut at) = (upload(device, &values), upload(device, &indices));
    device.sort(axis, descending, view(input, &from), view_mut(&values, &mut to), view_mut(&indices, &mut at)).unwrap();
    let what = |number: usize| format!("sort {} along {axis} at {number} ({case})", input.dtype);
    assert_close(DType::I64, &bytes(device, &at), &places, 0, &|number| format!("index of {}", what(number)));
    assert_close(input.dtype, &bytes(device, &to), &sorted, 0, &what);
}

#[test]
fn sorts() {
    let Some(device) = device() else { return };
    let mut rng = Rng(2);
    for dtype in DType::ALL {
        let list = specials(dtype);
        for descending in [false, true] {
            let input = filled(dtype, &[3, 100], |_| match rng.below(3) {
                0 => list[rng.below(list.len())],
                1 => Scalar::Int(rng.below(4) as i64).cast(dtype),
                _ => random(dtype, (-3.0, 3.0), &mut rng),
            });
            check_sort(&device, 1, descending, &input, "specials and ties");
        }
    }
    for kind in Kind::ALL {
        for axis in [0, 1] {
            let input = laid(DType::F32, kind, 70, 40, |_| random(DType::F32, (-2.0, 2.0), &mut rng));
            check_sort(&device, axis, false, &input, &format!("{kind:?}"));
        }
    }
    for len in [1, 2, 31, 32, 33, 63, 64, 65, 255, 256, 257, 1023, 5000] {
        let input = filled(DType::F32, &[2, len], |_| Scalar::Int(rng.below(len / 2 + 1) as i64).cast(DType::F32));
        check_sort(&device, 1, false, &input, &format!("length {len}"));
    }
}

fn check_softmax(device: &OpenCl, axis: usize, log: bool, input: &Tensor, case: &str) {
    let out = dense(input.dtype, input.layout.dims());
    let mut expected = out.bytes.clone();
    reference::softmax(axis, log, &host(input), &mut host_mut(&out, &mut expected));
    let (from, mut to) = (upload(device, input), upload(device, &out));
    device.softmax(axis, log, view(input, &from), view_mut(&out, &mut to)).unwrap();
    let got = bytes(device, &to);
    let epsilon = match input.dtype {
        DType::F16 => 1e-3,
        DType::BF16 => 8e-3,
        DType::F32 => 1.2e-7,
        _ => 2.3e-16,
    };
    for (number, (got, expected)) in got.chunks(input.dtype.size()).zip(expected.chunks(input.dtype.size())).enumerate()
    {
        let (got, expected) = (Scalar::read(input.dtype, got).as_f64(), Scalar::read(input.dtype, expected).as_f64());
        let same = got == expected || (got.is_nan() && expected.is_nan());
        // A rounding of x − m of up to 100 changes eˣ⁻ᵐ by a hundred times as much. What is denormal has fewer digits.
        let bound = if log { 8.0 * (expected.abs() + 1.0) } else { 120.0 * expected.abs() } * epsilon + 1e-37;
        assert!(same || (got - expected).abs() <= bound, "{case} at {number}: {got} instead of {expected}");
    }
}

#[test]
fn softmaxes() {
    devices().iter().for_each(softmaxes_on);
}

fn softmaxes_on(device: &OpenCl) {
    let mut rng = Rng(3);
    for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
        for log in [false, true] {
            let input = filled(dtype, &[5, 33], |number| match number {
                7 => Scalar::Float(f64::NEG_INFINITY),
                40 => Scalar::Float(f64::INFINITY),
                80 => Scalar::Float(f64::NAN),
                _ => random(dtype, (-40.0, 40.0), &mut rng),
            });
            check_softmax(device, 1, log, &input, &format!("{dtype}, log {log}"));
        }
    }
    for kind in Kind::ALL {
        for axis in [0, 1] {
            let input = laid(DType::F32, kind, 17, 40, |_| random(DType::F32, (-5.0, 5.0), &mut rng));
            check_softmax(device, axis, false, &input, &format!("{kind:?} along {axis}"));
        }
    }
    for len in [1, 255, 257, 9000] {
        let input = filled(DType::F32, &[len], |_| random(DType::F32, (-5.0, 5.0), &mut rng));
        check_softmax(device, 0, true, &input, &format!("length {len}"));
    }
}

fn check_matmul(device: &OpenCl, a: &Tensor, b: &Tensor, case: &str) {
    let rank = a.layout.rank();
    let mut dims = a.layout.dims().to_vec();
    let inner = dims[rank - 1];
    dims[rank - 1] = b.layout.dims()[rank - 1];
    let out = dense(a.dtype, &dims);
    let mut expected = out.bytes.clone();
    reference::matmul(&host(a), &host(b), &mut host_mut(&out, &mut expected));
    let (left, right, mut to) = (upload(device, a), upload(device, b), upload(device, &out));
    device.matmul(view(a, &left), view(b, &right), view_mut(&out, &mut to)).unwrap();
    let got = bytes(device, &to);
    if !a.dtype.is_float() {
        assert_eq!(got, expected, "{case}");
        return;
    }
    // Elements are between −2 and 2.
    let epsilon = match a.dtype {
        DType::F16 => 1e-3,
        DType::BF16 => 8e-3,
        DType::F32 => 1.2e-7,
        _ => 2.3e-16,
    };
    for (number, (got, expected)) in got.chunks(a.dtype.size()).zip(expected.chunks(a.dtype.size())).enumerate() {
        let (got, expected) = (Scalar::read(a.dtype, got).as_f64(), Scalar::read(a.dtype, expected).as_f64());
        let sum = if a.dtype.size() == 2 { 1.2e-7 } else { epsilon } * 4.0 * (inner as f64).powf(1.5);
        let bound = sum + epsilon * expected.abs();
        assert!((got - expected).abs() <= bound, "{case} at {number}: {got} instead of {expected}");
    }
}

#[test]
fn matrix_products() {
    devices().iter().for_each(matrix_products_on);
}

fn matrix_products_on(device: &OpenCl) {
    let mut rng = Rng(4);
    for dtype in NUMBERS {
        let mut matrix = |dims: &[usize]| filled(dtype, dims, |_| random(dtype, (-2.0, 2.0), &mut rng));
        check_matmul(device, &matrix(&[9, 33]), &matrix(&[33, 70]), &format!("{dtype}"));
    }
    let sizes = [(1, 1, 1), (1, 17, 1), (1, 5, 64), (64, 3, 1), (4, 32, 32), (5, 31, 33), (33, 65, 31), (70, 1, 129)];
    for (rows, inner, columns) in sizes {
        let mut matrix = |dims: &[usize]| filled(DType::F32, dims, |_| random(DType::F32, (-2.0, 2.0), &mut rng));
        let case = format!("{rows} × {inner} × {columns}");
        check_matmul(device, &matrix(&[rows, inner]), &matrix(&[inner, columns]), &case);
    }
    for left in Kind::ALL {
        for right in Kind::ALL {
            let a = laid(DType::F32, left, 10, 20, |_| random(DType::F32, (-2.0, 2.0), &mut rng));
            let b = laid(DType::F32, right, 20, 40, |_| random(DType::F32, (-2.0, 2.0), &mut rng));
            check_matmul(device, &a, &b, &format!("{left:?} · {right:?}"));
        }
    }
    // Batches, one side repeated.
    let a = filled(DType::F32, &[2, 1, 6, 7], |_| random(DType::F32, (-2.0, 2.0), &mut rng));
    let b = filled(DType::F32, &[3, 7, 40], |_| random(DType::F32, (-2.0, 2.0), &mut rng));
    let repeat = |tensor: Tensor, dims: [usize; 4]| {
        let layout = tensor.layout.expand(&Shape::new(dims).unwrap()).unwrap();
        Tensor { layout, ..tensor }
    };
    let (a, b) = (repeat(a, [2, 3, 6, 7]), repeat(b, [2, 3, 7, 40]));
    check_matmul(device, &a, &b, "batches");
    let transposed = |tensor: &Tensor| Tensor { layout: tensor.layout.transpose(-1, -2).unwrap(), ..tensor.clone() };
    check_matmul(device, &transposed(&b), &transposed(&a), "transposed batches");
}

/// Places within an axis, as an index tensor of some dims.
fn places(dims: &[usize], below: usize, rng: &mut Rng) -> Tensor {
    filled(DType::I64, dims, |_| Scalar::from(rng.below(below)))
}

#[test]
fn gathers() {
    let Some(device) = device() else { return };
    let mut rng = Rng(5);
    let check = |axis: usize, input: &Tensor, index: &Tensor, case: &str| {
        let out = dense(input.dtype, index.layout.dims());
        let mut expected = out.bytes.clone();
        reference::gather(axis, &host(input), &host(index), &mut host_mut(&out, &mut expected));
        let (from, at, mut to) = (upload(&device, input), upload(&device, index), upload(&device, &out));
        device.gather(axis, view(input, &from), view(index, &at), view_mut(&out, &mut to)).unwrap();
        assert_eq!(bytes(&device, &to), expected, "{case}");
    };
    for dtype in [DType::U8, DType::I16, DType::F32, DType::F64] {
        let input = filled(dtype, &[20, 30], |_| random(dtype, (-2.0, 2.0), &mut rng));
        check(0, &input, &places(&[50, 30], 20, &mut rng), &format!("rows, {dtype}"));
        check(1, &input, &places(&[13, 50], 30, &mut rng), &format!("columns, {dtype}"));
    }
    for kind in Kind::ALL {
        let input = laid(DType::F32, kind, 20, 30, |_| random(DType::F32, (-2.0, 2.0), &mut rng));
        let row = places(&[7, 1], 20, &mut rng);
        let layout = row.layout.expand(&Shape::new([7, 30]).unwrap()).unwrap();
        check(0, &input, &Tensor { layout, ..row }, &format!("whole rows, {kind:?}"));
        let cut = cut(filled(DType::F32, &[20, 30], |_| random(DType::F32, (-2.0, 2.0), &mut rng)), [20, 5, 6]);
        check(1, &cut, &places(&[11, 9, 6], 5, &mut rng), &format!("middle axis, {kind:?}"));
    }
}

#[test]
fn scatters() {
    let Some(device) = device() else { return };
    let mut rng = Rng(6);
    let check = |op: ScatterOp, axis: usize, index: &Tensor, src: &Tensor, out: &Tensor, case: &str| {
        let mut expected = out.bytes.clone();
        reference::scatter(op, axis, &host(index), &host(src), &mut host_mut(out, &mut expected));
        let (at, from, mut to) = (upload(&device, index), upload(&device, src), upload(&device, out));
        device.scatter(op, axis, view(index, &at), view(src, &from), view_mut(out, &mut to)).unwrap();
        assert_close(out.dtype, &bytes(&device, &to), &expected, 0, &|number| {
            format!("{} {} along {axis} at {number} ({case})", op.name(), out.dtype)
        });
    };
    for op in ScatterOp::ALL {
        for dtype in DType::ALL.into_iter().filter(|&dtype| op == ScatterOp::Set || dtype != DType::Bool) {
            let src = filled(dtype, &[9, 12], |_| random(dtype, (-2.0, 2.0), &mut rng));
            let out = filled(dtype, &[15, 7], |_| random(dtype, (-2.0, 2.0), &mut rng));
            check(op, 1, &places(&[9, 12], 7, &mut rng), &src, &out, "columns");
        }
    }
    for kind in Kind::ALL {
        let src = laid(DType::F32, kind, 12, 9, |_| random(DType::F32, (-2.0, 2.0), &mut rng));
        let out = laid(DType::F32, Kind::Transposed, 7, 15, |_| random(DType::F32, (-2.0, 2.0), &mut rng));
        check(ScatterOp::Add, 0, &places(&[12, 9], 7, &mut rng), &src, &out, &format!("{kind:?}"));
    }
    let long = filled(DType::F32, &[5000], |_| random(DType::F32, (-2.0, 2.0), &mut rng));
    check(ScatterOp::Add, 0, &places(&[5000], 40, &mut rng), &long, &dense(DType::F32, &[40]), "one line");
}
