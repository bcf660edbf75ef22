//! Ranges, identity, triangles and random numbers.

use crate::strict::Strict;
use tensor_core::random::philox4x32;
use tensor_core::{Array, DType, ReduceOp, Scalar, Shape, fusion_enabled};

fn floats(array: &Array<Strict>) -> Vec<f64> {
    array.cast(DType::F64).unwrap().to_vec().unwrap()
}

#[test]
fn ranges() {
    let d = Strict::far("far");
    let range =
        |start: Scalar, end: Scalar, step: Scalar, dtype| floats(&Array::arange(&d, start, end, step, dtype).unwrap());
    assert_eq!(range(0.into(), 3.into(), 1.into(), DType::I64), [0.0, 1.0, 2.0]);
    assert_eq!(range(5.into(), 0.into(), (-2).into(), DType::I32), [5.0, 3.0, 1.0]);
    assert_eq!(range(0.into(), 7.into(), 3.into(), DType::U8), [0.0, 3.0, 6.0]);
    assert_eq!(range(2.into(), 2.into(), (-1).into(), DType::I64), [0.0; 0]);
    assert_eq!(range(0.0.into(), 1.0.into(), 0.3.into(), DType::F64).len(), 4);
    let thirds = Array::arange(&d, 0.0, 1.0, 0.3, DType::F32).unwrap().to_vec::<f32>().unwrap();
    assert_eq!(thirds, [0.0, 0.3, 0.6, 0.9]);
    assert_eq!(range(0.into(), 2.5.into(), 1.into(), DType::I64), [0.0, 1.0, 2.0]);
    assert_eq!(range(0.0.into(), 3.0.into(), 1.0.into(), DType::I16), [0.0, 1.0, 2.0]);
    assert_eq!(range(0.into(), 300.into(), 1.into(), DType::U8)[255..258], [255.0, 0.0, 1.0], "integers wrap");
    let extreme = Array::arange(&d, i64::MIN, i64::MAX, i64::MAX, DType::I64).unwrap().to_vec::<i64>().unwrap();
    assert_eq!(extreme, [i64::MIN, -1, i64::MAX - 1]);
    assert_eq!(range(1e6.into(), 1e6.into(), 0.1.into(), DType::F16), [0.0; 0]);
    for (start, end, step) in [
        (Scalar::Int(0), Scalar::Int(i64::MAX), Scalar::Int(1)),
        (Scalar::Int(i64::MIN), Scalar::Int(i64::MAX), Scalar::Int(1)),
        (Scalar::Float(0.0), Scalar::Float(1e300), Scalar::Float(1e-300)),
        (Scalar::Float(-f64::MAX), Scalar::Float(f64::MAX), Scalar::Float(1.0)),
    ] {
        let text = Array::arange(&d, start, end, step, DType::F64).unwrap_err().to_string();
        assert!(text.starts_with("arange: expected at most "), "{text}");
    }
}

#[test]
fn even_spacing() {
    let d = Strict::far("far");
    let spaced = |start, end, count, dtype| floats(&Array::linspace(&d, start, end, count, dtype).unwrap());
    assert_eq!(spaced(0.0, 5.0, 3, DType::I64), [0.0, 2.0, 5.0]);
    assert_eq!(spaced(2.0, 5.0, 1, DType::F32), [2.0]);
    assert_eq!(spaced(2.0, 5.0, 0, DType::F32), [0.0; 0]);
    assert_eq!(spaced(1.0, -1.0, 5, DType::F32), [1.0, 0.5, 0.0, -0.5, -1.0]);
    assert_eq!(spaced(3.0, 3.0, 4, DType::F64), [3.0; 4]);
    for count in [2, 3, 10, 49, 1000] {
        let list = spaced(-0.1, 0.7, count, DType::F64);
        assert_eq!((list[0], list[count - 1]), (-0.1, 0.7));
        assert!(list.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

#[test]
fn identity_and_triangles() {
    let d = Strict::far("far");
    assert_eq!(floats(&Array::eye(&d, 2, 3, DType::U8).unwrap()), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    assert_eq!(Array::eye(&d, 0, 3, DType::Bool).unwrap().dims(), [0, 3]);
    let (rows, columns) = (3, 4);
    let data: Vec<f32> = (0..2 * rows * columns).map(|i| if i == 0 { f32::NAN } else { i as f32 }).collect();
    let x = d.array(&data, &[2, rows, columns]);
    for diagonal in [-9, -3, -2, 0, 1, 3, 4, 9, i64::MAX, i64::MIN] {
        for upper in [false, true] {
            let got = x.triangle(diagonal, upper).unwrap();
            assert_eq!(got.dtype(), DType::F32);
            for (i, (got, all)) in got.to_vec::<f32>().unwrap().into_iter().zip(&data).enumerate() {
                let offset =
                    i128::from((i % columns) as i64) - i128::from((i / columns % rows) as i64) - i128::from(diagonal);
                let keep = if upper { offset >= 0 } else { offset <= 0 };
                assert!(if keep { got == *all || all.is_nan() && got.is_nan() } else { got == 0.0 }, "{diagonal} {i}");
            }
        }
    }
}

/// The numbers are the published generator's, so every device can make them.
#[test]
fn random_numbers_are_philoxs_words() {
    let d = Strict::far("far");
    let shape = Shape::new([3, 5]).unwrap();
    let (seed, stream) = (0x1234_5678_9abc_def0, u64::MAX);
    let words: Vec<[u32; 4]> = (0..15).map(|element| philox4x32(element, stream, seed)).collect();
    let uniform = |dtype| floats(&Array::rand(&d, seed, stream, &shape, dtype).unwrap());
    let scaled = |bits: i32| -> Vec<f64> {
        words.iter().map(|w| f64::from(w[0] >> (32 - bits)) * f64::from(-bits).exp2()).collect()
    };
    assert_eq!(uniform(DType::F32), scaled(24));
    assert_eq!(uniform(DType::F16), scaled(11));
    assert_eq!(uniform(DType::BF16), scaled(8));
    let wide: Vec<f64> =
        words.iter().map(|w| ((u64::from(w[0]) << 32 | u64::from(w[1])) >> 11) as f64 * (-53_f64).exp2()).collect();
    assert_eq!(uniform(DType::F64), wide);
    let whole = Array::randint(&d, seed, stream, -10, 90, &shape, DType::I16).unwrap();
    assert_eq!(floats(&whole), wide.iter().map(|u| (u * 100.0).floor() - 10.0).collect::<Vec<_>>());
    let normal = Array::randn(&d, seed, stream, &shape, DType::F64).unwrap();
    for (got, w) in floats(&normal).into_iter().zip(&words) {
        let unit = |high: u32, low: u32| ((u64::from(high) << 32 | u64::from(low)) >> 11) as f64 * (-53_f64).exp2();
        let (u, v) = (unit(w[0], w[1]), unit(w[2], w[3]));
        let expected = (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        assert!((got - expected).abs() < 1e-12, "{got} instead of {expected}");
    }
}

#[test]
fn random_numbers_do_not_depend_on_fusion_or_shape_of_use() {
    let d = Strict::far("far");
    let shape = Shape::new([4, 6]).unwrap();
    let make = || Array::rand(&d, 7, 3, &shape, DType::F32).unwrap();
    let eager = make();
    eager.force().unwrap();
    let expected: Vec<f32> = eager.to_vec::<f32>().unwrap().iter().map(|x| x * 2.0 + 1.0).collect();
    let fused = make().mul(2.0).unwrap().add(1.0).unwrap();
    assert!(fused.is_pending() || !fusion_enabled());
    assert_eq!(fused.to_vec::<f32>().unwrap(), expected);
    // Two draws with the same key are the same; another stream or seed is another draw.
    let twice = make().sub(&make()).unwrap();
    assert_eq!(twice.to_vec::<f32>().unwrap(), [0.0; 24]);
    for (seed, stream) in [(7, 4), (8, 3)] {
        let other = Array::rand(&d, seed, stream, &shape, DType::F32).unwrap();
        let equal = Array::compare(tensor_core::op::CompareOp::Eq, &make(), &other).unwrap();
        assert!(equal.sum(&[], false).unwrap().item().unwrap().as_i64() < 3);
    }
    // A view or a sum of it is of the same numbers, whatever runs it.
    let turned = make().transpose(0, 1).unwrap().to_vec::<f32>().unwrap();
    let original = eager.transpose(0, 1).unwrap().to_vec::<f32>().unwrap();
    assert_eq!(turned, original);
    let sums = [make().sum(&[0], false).unwrap(), eager.sum(&[0], false).unwrap()];
    assert_eq!(sums[0].to_vec::<f32>().unwrap(), sums[1].to_vec::<f32>().unwrap());
    let broadcast = make().expand(&Shape::new([2, 4, 6]).unwrap()).unwrap().add(0.0).unwrap().to_vec::<f32>().unwrap();
    assert_eq!(broadcast[..24], broadcast[24..]);
}

#[test]
#[cfg_attr(miri, ignore = "too many numbers")]
fn random_numbers_are_distributed_as_they_should() {
    let d = Strict::far("far");
    let count = 20_000;
    let shape = Shape::new([count]).unwrap();
    for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
        let uniform = floats(&Array::rand(&d, 1, 2, &shape, dtype).unwrap());
        assert!(uniform.iter().all(|x| (0.0..1.0).contains(x)), "{dtype}");
        let (mean, variance) = moments(&uniform);
        // Five standard errors; steps of 2⁻⁸ cut off lower a bf16's mean by half a step.
        let coarse = if dtype == DType::BF16 { 0.5 / 256.0 } else { 0.0 };
        assert!((mean + coarse - 0.5).abs() < 5.0 * (1.0 / 12.0 / count as f64).sqrt(), "{dtype}: {mean}");
        assert!((variance - 1.0 / 12.0).abs() < 0.003, "{dtype}: {variance}");
        let normal = floats(&Array::randn(&d, 1, 2, &shape, dtype).unwrap());
        let (mean, variance) = moments(&normal);
        assert!(mean.abs() < 5.0 / (count as f64).sqrt(), "{dtype}: {mean}");
        assert!((variance - 1.0).abs() < 5.0 * (2.0 / count as f64).sqrt(), "{dtype}: {variance}");
        let beyond = normal.iter().filter(|x| x.abs() > 1.959_964).count() as f64 / count as f64;
        assert!((beyond - 0.05).abs() < 0.008, "{dtype}: {beyond}");
    }
    let dice = Array::randint(&d, 5, 0, 1, 7, &shape, DType::U8).unwrap().to_vec::<u8>().unwrap();
    for face in 1..=6 {
        let share = dice.iter().filter(|&&x| x == face).count() as f64 / count as f64;
        assert!((share - 1.0 / 6.0).abs() < 0.014, "{face}: {share}");
    }
    let wide = Array::randint(&d, 5, 0, -(1 << 52), 1 << 52, &shape, DType::I64).unwrap();
    let (low, high) = (wide.reduce(ReduceOp::Min, &[], false), wide.reduce(ReduceOp::Max, &[], false));
    let (low, high) = (low.unwrap().item().unwrap().as_i64(), high.unwrap().item().unwrap().as_i64());
    assert!((-(1 << 52)..-(1 << 51)).contains(&low) && (1 << 51..1 << 52).contains(&high));
}

fn moments(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64)
}

#[test]
fn permutations() {
    let d = Strict::far("far");
    for count in [0, 1, 2, 100] {
        let order = Array::randperm(&d, 3, 0, count).unwrap();
        assert_eq!((order.dims(), order.dtype()), (&[count][..], DType::I64));
        let order = order.to_vec::<i64>().unwrap();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..count as i64).collect::<Vec<_>>());
        assert!(count < 100 || order != sorted);
        assert_eq!(Array::randperm(&d, 3, 0, count).unwrap().to_vec::<i64>().unwrap(), order);
    }
    // Every one of three may come first.
    let first = |seed| Array::randperm(&d, seed, 0, 3).unwrap().get(&[0]).unwrap().as_i64();
    let seen: Vec<i64> = (0..30).map(first).collect();
    assert!((0..3).all(|number| seen.contains(&number)), "{seen:?}");
}

#[test]
fn one_of_a_range() {
    let d = Strict::far("far");
    let shape = Shape::new([10]).unwrap();
    let only = Array::randint(&d, 1, 1, 5, 6, &shape, DType::I64).unwrap();
    assert_eq!(only.to_vec::<i64>().unwrap(), [5; 10]);
    let edges = Array::randint(&d, 1, 1, i64::MAX - 1, i64::MAX, &shape, DType::I64).unwrap();
    assert_eq!(edges.to_vec::<i64>().unwrap(), [i64::MAX - 1; 10]);
    let bytes = Array::randint(&d, 1, 1, -128, 128, &shape, DType::I8).unwrap();
    assert_eq!(bytes.dtype(), DType::I8);
}

#[test]
fn to_another_device_and_back() {
    let (a, b) = (Strict::far("a"), Strict::near("b"));
    let x = a.array(&[1i64, 2, 3, 4, 5, 6], &[2, 3]);
    for (x, expected) in [
        (x.clone(), vec![1i64, 2, 3, 4, 5, 6]),
        (x.transpose(0, 1).unwrap(), vec![1, 4, 2, 5, 3, 6]),
        (x.narrow(0, 1, 1).unwrap(), vec![4, 5, 6]),
        (x.mul(2).unwrap(), vec![2, 4, 6, 8, 10, 12]),
        (x.mul(2).unwrap().select(1, 2).unwrap(), vec![6, 12]),
        (Array::full(&a, 3, &Shape::new([2]).unwrap(), DType::I64), vec![3, 3]),
        (a.array::<i64>(&[], &[0, 2]), vec![]),
        (x.select(0, 0).unwrap().select(0, 2).unwrap(), vec![3]),
    ] {
        let moved = x.to_backend(&b).unwrap();
        assert_eq!((moved.backend(), moved.dims()), (&b, x.dims()));
        assert_eq!(moved.to_vec::<i64>().unwrap(), expected);
        let doubled = moved.add(&moved).unwrap().to_backend(&a).unwrap();
        assert_eq!(doubled.to_vec::<i64>().unwrap(), expected.iter().map(|x| 2 * x).collect::<Vec<_>>());
    }
}
