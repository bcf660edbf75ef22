use crate::common::{Random, Tensor, Values, layouts, numbers, same_on_any_number_of_threads};
use backend_cpu::Cpu;
use tensor_core::{Backend, DType, Layout, MatmulSpec, Shape, reference};

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
    for dtype in [DType::F32, DType::F64, DType::I32, DType::I8, DType::BF16] {
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
