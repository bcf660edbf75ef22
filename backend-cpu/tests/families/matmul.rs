use crate::common::{Random, Tensor, Values, layouts, numbers, same_on_any_number_of_threads};
use backend_cpu::Cpu;
use tensor_core::op::BinaryOp;
use tensor_core::{Backend, DType, Input, Layout, MatmulSpec, Program, Shape, reference};

fn with(batch: &[usize], rows: usize, columns: usize) -> Vec<usize> {
    [batch, &[rows, columns]].concat()
}

fn matmul(a: &Tensor, b: &Tensor) -> Tensor {
    let rank = a.layout.rank();
    let dims = with(&a.layout.dims()[..rank - 2], a.layout.dims()[rank - 2], b.layout.dims()[rank - 1]);
    let mut out = Tensor::garbage(&dims, a.dtype);
    Cpu::open().matmul(&MatmulSpec::batched(rank), a.view(), b.view(), &[], out.view_mut()).unwrap();
    out
}

fn check(a: &Tensor, b: &Tensor, what: &str) {
    let mut out = matmul(a, b);
    reference::matmul(&MatmulSpec::batched(a.layout.rank()), &a.host(), &b.host(), &[], &mut out.host_mut());
    let k = a.layout.dims()[a.layout.rank() - 1] as f64;
    // Both factors are at most 2, so rounding is that of sums up to 4k; where each summand rounds, it piles up like √k. The
    // storage floats' f32 sums are rounded once more at the end.
    let scale = match a.dtype {
        DType::F16 | DType::BF16 => 0.01,
        _ => k + 4.0,
    };
    // The oracle of f64 products is itself f64. Equal summands all round the same way, so that both may be off by k/2 units
    // (Higham, Accuracy and Stability of Numerical Algorithms, 3.1).
    let ulps = if a.dtype == DType::F64 { k.max(4.0) } else { 4.0 };
    out.check(ulps, |_| scale, &format!("{:?} times {:?} {what}", a.layout, b.layout));
}

#[test]
fn all_dtypes_and_layouts() {
    let mut random = Random::new(12);
    for dtype in numbers() {
        for (batch, m, k, n) in [
            (&[][..], 1, 1, 1),
            (&[], 3, 4, 5),
            (&[], 1, 30, 17),
            (&[], 19, 33, 1),
            (&[], 9, 20, 35),
            (&[2], 3, 7, 4),
            (&[3, 2], 5, 2, 6),
            (&[4], 1, 5, 9),
        ] {
            for (a_name, a_layout) in layouts(&with(batch, m, k)) {
                let a = Tensor::random(a_layout, dtype, Values::Plain, &mut random);
                for (b_name, b_layout) in layouts(&with(batch, k, n)) {
                    let b = Tensor::random(b_layout, dtype, Values::Plain, &mut random);
                    check(&a, &b, &format!("{a_name} {b_name}"));
                }
            }
        }
    }
}

#[test]
fn empty_sizes() {
    let mut random = Random::new(13);
    for dtype in [DType::F32, DType::I64, DType::F16] {
        for (batch, m, k, n) in [(&[][..], 0, 3, 2), (&[], 3, 0, 2), (&[], 3, 2, 0), (&[0], 2, 2, 2), (&[2], 3, 0, 4)] {
            let contiguous = |dims: &[usize]| Layout::contiguous(Shape::new(dims).unwrap());
            let a = Tensor::random(contiguous(&with(batch, m, k)), dtype, Values::Plain, &mut random);
            let b = Tensor::random(contiguous(&with(batch, k, n)), dtype, Values::Plain, &mut random);
            check(&a, &b, "empty");
        }
    }
}

/// Around the sizes of tiles and blocks. The reference takes its time, so it sees some of the rows only.
#[test]
fn sizes_at_which_loops_change() {
    let mut random = Random::new(14);
    for dtype in [DType::F32, DType::F64, DType::I32, DType::I64, DType::I8, DType::BF16] {
        for (m, k, n) in [
            (7, 255, 31),
            (8, 256, 32),
            (9, 257, 33),
            (6, 64, 63),
            (13, 300, 65),
            (64, 64, 64),
            (2, 513, 100),
            (100, 513, 2),
            (1, 5000, 40),
            (40, 5000, 1),
            (1, 5000, 1),
            (385, 20, 40),
            (500, 260, 33),
            (130, 140, 200),
            (16, 1100, 50),
            (22, 600, 96),
            (520, 30, 40),
        ] {
            for transposed in 0..4 {
                let layout = |rows: usize, columns: usize, transposed: bool| {
                    if transposed {
                        Layout::contiguous(Shape::new([columns, rows]).unwrap()).transpose(0, 1).unwrap()
                    } else {
                        Layout::contiguous(Shape::new([rows, columns]).unwrap())
                    }
                };
                let a = Tensor::random(layout(m, k, transposed & 1 != 0), dtype, Values::Plain, &mut random);
                let b = Tensor::random(layout(k, n, transposed & 2 != 0), dtype, Values::Plain, &mut random);
                if m * n * k <= 1 << 20 {
                    check(&a, &b, "sizes");
                } else {
                    check_some_rows(&a, &b);
                }
            }
        }
    }
}

/// Compares every 50th row and the last two.
fn check_some_rows(a: &Tensor, b: &Tensor) {
    let whole = matmul(a, b);
    let bytes = whole.device_bytes();
    let (m, n) = (a.layout.dims()[0], b.layout.dims()[1]);
    for row in (0..m).filter(|row| row % 50 == 0 || row + 2 >= m) {
        let line = a.layout.narrow(0, row, 1).unwrap();
        let a = Tensor::new(a.bytes.clone(), line, a.dtype);
        let one = Tensor::new(
            bytes[row * n * a.dtype.size()..][..n * a.dtype.size()].to_vec(),
            Layout::contiguous(Shape::new([1, n]).unwrap()),
            a.dtype,
        );
        let mut expected = Tensor::garbage(&[1, n], a.dtype);
        reference::matmul(&MatmulSpec::batched(2), &a.host(), &b.host(), &[], &mut expected.host_mut());
        let compared = Tensor { bytes: expected.bytes, ..one };
        compared.check(4.0, |_| a.layout.dims()[1] as f64, &format!("row {row} of {:?}", b.layout));
    }
}

/// All 64 bits of factors count, and products and sums wrap as they do in a loop.
#[test]
fn long_integers_wrap() {
    let mut state = 7_u64;
    let mut numbers = |count: usize| -> Vec<i64> {
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state ^ state >> 29) as i64
            })
            .collect()
    };
    for (m, k, n) in [(3, 5, 4), (13, 300, 9), (19, 40, 1), (64, 70, 66), (130, 260, 35), (530, 20, 17)] {
        let (a, b) = (numbers(m * k), numbers(k * n));
        let tensor = |values: &[i64], rows, columns| {
            let bytes = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
            Tensor::new(bytes, contiguous(&[rows, columns]), DType::I64)
        };
        let product = matmul(&tensor(&a, m, k), &tensor(&b, k, n)).device_bytes();
        for (at, found) in product.as_chunks::<8>().0.iter().enumerate() {
            let (row, column) = (at / n, at % n);
            let terms = (0..k).map(|p| a[row * k + p].wrapping_mul(b[p * n + column]));
            let expected = terms.fold(0, i64::wrapping_add);
            assert_eq!(i64::from_ne_bytes(*found), expected, "{m}×{k}×{n} at {row}, {column}");
        }
    }
}

#[test]
fn special_values_reach_their_results_only() {
    let mut random = Random::new(15);
    for dtype in [DType::F32, DType::F64, DType::F16] {
        for (m, k, n) in [(3, 4, 5), (20, 40, 70), (1, 50, 3), (50, 20, 1)] {
            let contiguous = |dims: &[usize]| Layout::contiguous(Shape::new(dims).unwrap());
            let a = Tensor::random(contiguous(&[m, k]), dtype, Values::Plain, &mut random);
            let mut b = Tensor::random(contiguous(&[k, n]), dtype, Values::Plain, &mut random);
            for (number, value) in [f64::NAN, f64::INFINITY].into_iter().enumerate() {
                tensor_core::Scalar::Float(value).write(dtype, &mut b.bytes[(number % n) * dtype.size()..]);
            }
            let b = Tensor::new(b.bytes, b.layout, dtype);
            check(&a, &b, "special");
        }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let mut random = Random::new(16);
    for (m, k, n) in [(300, 600, 200), (20, 1000, 700), (700, 300, 20), (1, 3000, 1000), (1000, 3000, 1)] {
        for dtype in [DType::F32, DType::BF16] {
            let contiguous = |dims: &[usize]| Layout::contiguous(Shape::new(dims).unwrap());
            let a = Tensor::random(contiguous(&[m, k]), dtype, Values::Plain, &mut random);
            let b = Tensor::random(contiguous(&[k, n]), dtype, Values::Plain, &mut random);
            same_on_any_number_of_threads(|| matmul(&a, &b).device_bytes());
        }
    }
}

fn contiguous(dims: &[usize]) -> Layout {
    Layout::contiguous(Shape::new(dims).unwrap())
}

fn contract(spec: &MatmulSpec<'_>, a: &Tensor, b: &Tensor, extras: &[&Tensor]) -> Tensor {
    let mut dims = a.layout.dims()[..spec.batch + spec.rows].to_vec();
    dims.extend_from_slice(&b.layout.dims()[spec.batch + spec.inner..]);
    let mut out = Tensor::garbage(&dims, a.dtype);
    let extras: Vec<_> = extras.iter().map(|extra| extra.view()).collect();
    Cpu::open().matmul(spec, a.view(), b.view(), &extras, out.view_mut()).unwrap();
    out
}

/// Windows of images and a dense copy of them multiply to the same bits, whichever operand they are.
#[test]
fn windows_are_as_good_as_their_copy() {
    let mut random = Random::new(17);
    let [height, width] = [20, 43];
    for dtype in [DType::F32, DType::I64, DType::BF16, DType::I8] {
        for (channels, size, step) in [(1, 3, 1), (5, 3, 1), (3, 2, 2), (2, 7, 1)] {
            let image = Tensor::random(contiguous(&[2, channels, height, width]), dtype, Values::Plain, &mut random);
            let counts = [height, width].map(|side| (side - size) / step + 1);
            let dims = [2, channels, size, size, counts[0], counts[1]];
            let strides = [channels * height * width, height * width, width, 1, step * width, step];
            let windows = |order: [usize; 6]| {
                let shape = Shape::new(order.map(|axis| dims[axis])).unwrap();
                let strides = order.map(|axis| strides[axis] as isize);
                let windows = Tensor::new(image.bytes.clone(), Layout::from_parts(shape, strides[..].into(), 0), dtype);
                let mut copy = Tensor::garbage(windows.layout.dims(), dtype);
                let shape = copy.layout.shape().clone();
                let program = Program::copy(dtype);
                Cpu::open()
                    .pointwise(&program, &shape, &[Input::View(windows.view())], &mut [copy.view_mut()])
                    .unwrap();
                [windows, copy]
            };
            let same = |spec: &MatmulSpec<'_>, pairs: [[&Tensor; 2]; 2], what: &str| {
                let [viewed, copied] = pairs.map(|[a, b]| contract(spec, a, b, &[]).device_bytes());
                assert!(viewed == copied, "{what}: {channels} channels, windows of {size} every {step}, {dtype}");
                same_on_any_number_of_threads(|| contract(spec, pairs[0][0], pairs[0][1], &[]).device_bytes());
            };
            let kernel = contiguous(&[17, channels, size, size]);
            let repeated = kernel.expand(&Shape::new([2, 17, channels, size, size]).unwrap()).unwrap();
            let kernel = Tensor::random(repeated, dtype, Values::Plain, &mut random);
            let spec = MatmulSpec { batch: 1, rows: 1, inner: 3, columns: 2, epilogue: None };
            let [viewed, copied] = windows([0, 1, 2, 3, 4, 5]);
            same(&spec, [[&kernel, &viewed], [&kernel, &copied]], "right");
            let [viewed, copied] = windows([0, 4, 5, 1, 2, 3]);
            let gradient = contiguous(&[2, 17, counts[0], counts[1]]).permute(&[1, 0, 2, 3]).unwrap();
            let gradient = Tensor::random(gradient, dtype, Values::Plain, &mut random);
            let spec = MatmulSpec { batch: 0, rows: 1, inner: 3, columns: 3, epilogue: None };
            same(&spec, [[&gradient, &viewed], [&gradient, &copied]], "summed over");
            let turned = contiguous(&[17, channels, size, size]).permute(&[1, 2, 3, 0]).unwrap();
            let turned = Tensor::random(turned, dtype, Values::Plain, &mut random);
            let spec = MatmulSpec { batch: 0, rows: 3, inner: 3, columns: 1, epilogue: None };
            same(&spec, [[&viewed, &turned], [&copied, &turned]], "left");
        }
    }
}

/// Convolutions and their gradients of all the forms that are computed in ways of their own: few rows and one row, groups, long sums,
/// sums over many windows, and large kernels over small images.
#[test]
fn forms_of_convolutions() {
    let mut random = Random::new(19);
    let dtypes = [DType::F32, DType::F64, DType::I32, DType::U8];
    // Groups, outputs and channels of each, the image's sides, and the window's.
    let forms = [
        ([3, 1, 1], [9, 70], 3),
        ([1, 3, 2], [20, 20], 2),
        ([2, 13, 1], [8, 40], 3),
        ([1, 4, 70], [6, 18], 3),
        ([1, 50, 3], [12, 33], 3),
        ([1, 6, 2], [50, 54], 3),
        ([1, 70, 30], [6, 6], 3),
    ];
    for ([groups, outputs, channels], [height, width], size) in forms {
        for dtype in dtypes {
            let dims = [3, groups, channels, size, size, height - size + 1, width - size + 1];
            let image = contiguous(&[3, groups, channels, height, width]);
            let steps = image.strides().to_vec();
            let image = Tensor::random(image, dtype, Values::Plain, &mut random);
            let windows = |order: [usize; 7]| {
                let steps = [steps[0], steps[1], steps[2], steps[3], steps[4], steps[3], steps[4]];
                let shape = Shape::new(order.map(|axis| dims[axis])).unwrap();
                let layout = Layout::from_parts(shape, order.map(|axis| steps[axis])[..].into(), 0);
                Tensor::new(image.bytes.clone(), layout, dtype)
            };
            let check = |spec: &MatmulSpec<'_>, a: &Tensor, b: &Tensor, what: &str| {
                let mut out = contract(spec, a, b, &[]);
                reference::matmul(spec, &a.host(), &b.host(), &[], &mut out.host_mut());
                let [_, k, _] = spec.sizes(&a.layout, &b.layout);
                let what =
                    format!("{what}: {groups} groups, {outputs} of {channels} channels, {height} by {width}, {dtype}");
                let ulps = if dtype == DType::F64 { k as f64 } else { 4.0 };
                out.check(ulps, |_| k as f64 + 4.0, &what);
                same_on_any_number_of_threads(|| contract(spec, a, b, &[]).device_bytes());
            };
            let kernel = contiguous(&[groups, outputs, channels, size, size]);
            let kernel = kernel.expand(&Shape::new([3, groups, outputs, channels, size, size]).unwrap()).unwrap();
            let kernel = Tensor::random(kernel, dtype, Values::Plain, &mut random);
            let spec = MatmulSpec { batch: 2, rows: 1, inner: 3, columns: 2, epilogue: None };
            check(&spec, &kernel, &windows([0, 1, 2, 3, 4, 5, 6]), "forward");
            let gradient = contiguous(&[3, groups, outputs, dims[5], dims[6]]).permute(&[1, 2, 0, 3, 4]).unwrap();
            let gradient = Tensor::random(gradient, dtype, Values::Plain, &mut random);
            let spec = MatmulSpec { batch: 1, rows: 1, inner: 3, columns: 3, epilogue: None };
            check(&spec, &gradient, &windows([1, 0, 5, 6, 2, 3, 4]), "gradient of the kernel");
        }
    }
}

/// One matrix times several, some at once, is what each product alone is.
#[test]
fn one_matrix_times_several() {
    let mut random = Random::new(20);
    let (count, [m, k, n]) = (3, [65, 261, 700]);
    let spec = MatmulSpec { batch: 1, rows: 1, inner: 1, columns: 1, epilogue: None };
    for dtype in [DType::F32, DType::BF16] {
        let one = contiguous(&[m, k]).expand(&Shape::new([count, m, k]).unwrap()).unwrap();
        let a = Tensor::random(one, dtype, Values::Plain, &mut random);
        let b = Tensor::random(contiguous(&[count, k, n]), dtype, Values::Plain, &mut random);
        let all = contract(&spec, &a, &b, &[]).device_bytes();
        for (number, wanted) in all.chunks(m * n * dtype.size()).enumerate() {
            let [a, b] = [&a, &b]
                .map(|tensor| Tensor::new(tensor.bytes.clone(), tensor.layout.narrow(0, number, 1).unwrap(), dtype));
            assert!(contract(&spec, &a, &b, &[]).device_bytes() == wanted, "product {number}, {dtype}");
        }
        same_on_any_number_of_threads(|| contract(&spec, &a, &b, &[]).device_bytes());
    }
}

/// An epilogue that runs over each product of a batch does what one over the whole result does.
#[test]
fn epilogues_of_large_batches() {
    let mut random = Random::new(18);
    let (batch, [m, k, n]) = (4, [30, 5, 2300]);
    let mut program = Program::new();
    let inputs = [0; 3].map(|_| program.input(DType::F32));
    let biased = program.binary(BinaryOp::Add, inputs[0], inputs[1]);
    let sum = program.binary(BinaryOp::Mul, biased, inputs[2]);
    program.output(sum);
    let whole = Shape::new([batch, m, n]).unwrap();
    let bias = contiguous(&[m, 1]).expand(&whole).unwrap();
    let factor = contiguous(&[n, m, batch]).permute(&[2, 1, 0]).unwrap();
    let extras = [bias, factor].map(|layout| Tensor::random(layout, DType::F32, Values::Plain, &mut random));
    for shared in 0..3 {
        let operand = |repeats: bool, rows: usize, columns: usize, random: &mut Random| {
            let shape = Shape::new([batch, rows, columns]).unwrap();
            let layout =
                if repeats { contiguous(&[rows, columns]).expand(&shape).unwrap() } else { Layout::contiguous(shape) };
            Tensor::random(layout, DType::F32, Values::Plain, random)
        };
        let a = operand(shared == 1, m, k, &mut random);
        let b = operand(shared == 2, k, n, &mut random);
        let plain = MatmulSpec::batched(3);
        let mut expected = contract(&plain, &a, &b, &[]);
        let views = [Input::Output(0), Input::View(extras[0].view()), Input::View(extras[1].view())];
        Cpu::open().pointwise(&program, &whole, &views, &mut [expected.view_mut()]).unwrap();
        let spec = MatmulSpec { epilogue: Some(&program), ..plain };
        let run = || contract(&spec, &a, &b, &[&extras[0], &extras[1]]).device_bytes();
        assert!(run() == expected.device_bytes(), "{shared} shared");
        same_on_any_number_of_threads(run);
    }
}
