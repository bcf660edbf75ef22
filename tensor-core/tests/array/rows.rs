//! Norms, variance, logarithms of sums of exponentials and gradients of softmax against loops.

use crate::nested::Nested;
use crate::strict::Strict;
use proptest::prelude::*;
use tensor_core::reference::positions;
use tensor_core::{Array, DType, Result, Shape, bf16, f16, fusion_enabled};

/// What is computed of a row, and of a second one.
type OfRow = fn(&[f64], &[f64]) -> Vec<f64>;

fn mean(row: &[f64]) -> f64 {
    row.iter().sum::<f64>() / row.len() as f64
}

fn normal(row: &[f64], centred: bool) -> (Vec<f64>, f64) {
    let mean_of = if centred { mean(row) } else { 0.0 };
    let squares: Vec<f64> = row.iter().map(|x| (x - mean_of).powi(2)).collect();
    let scale = 1.0 / (mean(&squares) + EPS).sqrt();
    (row.iter().map(|x| (x - mean_of) * scale).collect(), scale)
}

fn normal_grad(x: &[f64], g: &[f64], centred: bool) -> Vec<f64> {
    let (y, scale) = normal(x, centred);
    let mean_g = if centred { mean(g) } else { 0.0 };
    let along = mean(&g.iter().zip(&y).map(|(g, y)| g * y).collect::<Vec<_>>());
    g.iter().zip(&y).map(|(g, y)| (g - mean_g - y * along) * scale).collect()
}

const EPS: f64 = 0.25;

/// Every function: how arrays do it, a loop over a row, and whether a row has one result.
type Function =
    (&'static str, fn(&Array<Strict>, &Array<Strict>, &[isize], bool) -> Result<Array<Strict>>, OfRow, bool);

const FUNCTIONS: [Function; 8] = [
    ("layer_norm", |x, _, axes, _| x.normalize(axes, true, EPS), |x, _| normal(x, true).0, false),
    ("rms_norm", |x, _, axes, _| x.normalize(axes, false, EPS), |x, _| normal(x, false).0, false),
    (
        "layer_norm's gradient",
        |x, g, axes, _| x.normalize_grad(g, axes, true, EPS),
        |x, g| normal_grad(x, g, true),
        false,
    ),
    (
        "rms_norm's gradient",
        |x, g, axes, _| x.normalize_grad(g, axes, false, EPS),
        |x, g| normal_grad(x, g, false),
        false,
    ),
    (
        "variance",
        |x, _, axes, keepdim| x.variance(axes, 1, keepdim),
        |x, _| vec![x.iter().map(|a| (a - mean(x)).powi(2)).sum::<f64>() / (x.len() as f64 - 1.0)],
        true,
    ),
    (
        "variance's gradient",
        |x, g, axes, _| x.variance_grad(g, axes, 0),
        |x, g| x.iter().zip(g).map(|(a, g)| g * 2.0 * (a - mean(x)) / x.len() as f64).collect(),
        false,
    ),
    (
        "logsumexp",
        |x, _, axes, keepdim| x.logsumexp(axes, keepdim),
        |x, _| vec![x.iter().map(|a| a.exp()).sum::<f64>().ln()],
        true,
    ),
    (
        "any dtype",
        |x, _, axes, _| x.cast(DType::F64)?.normalize(axes, true, EPS)?.cast(x.dtype()),
        |x, _| normal(x, true).0,
        false,
    ),
];

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= tolerance * b.abs().max(1.0)
}

/// What a loop gives: the shape, and the elements in row-major order.
fn by_loop(
    x: &Nested<f64>,
    g: &Nested<f64>,
    axes: &[usize],
    keepdim: bool,
    of_row: OfRow,
    is_number: bool,
) -> Nested<f64> {
    let row_of = |model: &Nested<f64>, p: &[usize]| -> Vec<f64> {
        let same_row = |q: &&Vec<usize>| (0..p.len()).all(|axis| axes.contains(&axis) || q[axis] == p[axis]);
        positions(&x.dims).collect::<Vec<_>>().iter().filter(same_row).map(|q| model.get(q)).collect()
    };
    let full = Nested::from_fn(&x.dims, |p| {
        let results = of_row(&row_of(x, p), &row_of(g, p));
        let before = positions(&x.dims).take_while(|q| q != p);
        let place = before.filter(|q| (0..p.len()).all(|axis| axes.contains(&axis) || q[axis] == p[axis])).count();
        results[if is_number { 0 } else { place }]
    });
    if !is_number {
        return full;
    }
    let size = |axis: usize| if axes.contains(&axis) { 1 } else { x.dims[axis] };
    let kept: Vec<usize> = (0..x.dims.len()).map(size).collect();
    let data = Nested::from_fn(&kept, |p| full.get(p)).data;
    let left = (0..x.dims.len()).filter(|axis| !axes.contains(axis)).map(|axis| x.dims[axis]).collect();
    Nested { dims: if keepdim { kept } else { left }, data }
}

proptest! {
    #![proptest_config(crate::cases(60))]

    #[test]
    fn rows_are_loops(
        dims in prop::collection::vec(1usize..5, 0..=3),
        mask in 0usize..8,
        seed in 0usize..1000,
        which in 0usize..3,
        keepdim: bool,
        pending: bool,
    ) {
        let backend = [Strict::far("far"), Strict::near("near"), Strict::eager("eager")][which].clone();
        let count: usize = dims.iter().product();
        let value = |i: usize, times: usize| ((i * times + seed * 7) % 23) as f64 * 0.25 - 2.5;
        let x = Nested { data: (0..count).map(|i| value(i, 5)).collect(), dims: dims.clone() };
        let g = Nested { data: (0..count).map(|i| value(i, 11)).collect(), dims: dims.clone() };
        let axes: Vec<usize> = (0..dims.len()).filter(|axis| mask >> axis & 1 == 1).collect();
        let named: Vec<isize> = axes.iter().rev().map(|&axis| axis as isize - (seed % 2 * dims.len()) as isize).collect();
        let all: Vec<usize> = (0..dims.len()).collect();
        let axes = if axes.is_empty() { &all } else { &axes };
        for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-5), (DType::F16, 4e-3), (DType::BF16, 3e-2)] {
            let on = |model: &Nested<f64>| {
                let array = model.on(&backend).cast(dtype).unwrap();
                // Twice the half: pending expressions are operands too, and exact in every dtype.
                if pending { Array::binary(tensor_core::op::BinaryOp::Mul, &array, 1.0).unwrap() } else { array }
            };
            let (a, b) = (on(&x), on(&g));
            for (name, run, of_row, is_number) in FUNCTIONS {
                let got = run(&a, &b, &named, keepdim).unwrap();
                prop_assert_eq!(got.dtype(), dtype);
                let got = Nested::<f64>::of(&got.cast(DType::F64).unwrap());
                let expected = by_loop(&x, &g, axes, keepdim, of_row, is_number);
                prop_assert_eq!(&got.dims, &expected.dims, "{}", name);
                for (got, expected) in got.data.iter().zip(&expected.data) {
                    prop_assert!(close(*got, *expected, tolerance), "{} of {:?} in {}: {} {}", name, x, dtype, got, expected);
                }
            }
        }
    }
}

#[test]
fn gradients_of_softmax() {
    let backend = Strict::near("near");
    let x = backend.array(&[0.5f64, -1.0, 2.0, 0.0, 3.0, 1.0], &[2, 3]);
    let g = backend.array(&[1.0f64, 2.0, -1.0, 0.5, 0.0, 4.0], &[2, 3]);
    for axis in [0_isize, 1, -1] {
        let along = axis.rem_euclid(2) as usize;
        for log in [false, true] {
            let y = x.softmax(axis, log).unwrap();
            let got = Nested::<f64>::of(&y.softmax_grad(&g, axis, log).unwrap());
            let [y, g] = [&y, &g].map(Nested::<f64>::of);
            let expected = by_loop(
                &y,
                &g,
                &[along],
                false,
                if log {
                    |y, g| y.iter().zip(g).map(|(y, d)| d - y.exp() * g.iter().sum::<f64>()).collect()
                } else {
                    |y, g| {
                        let along: f64 = y.iter().zip(g).map(|(y, g)| y * g).sum();
                        y.iter().zip(g).map(|(y, g)| y * (g - along)).collect()
                    }
                },
                false,
            );
            assert!(got.data.iter().zip(&expected.data).all(|(&a, &b)| close(a, b, 1e-14)), "{got:?} {expected:?}");
        }
    }
}

/// What is computed of a norm is done while its rows are at hand, unless somebody holds the norm itself.
#[test]
fn what_follows_is_done_in_the_same_run() {
    let backend = Strict::near("near");
    let x = backend.array(&[1.0f32, 3.0, 2.0, 6.0], &[2, 2]);
    let weight = backend.array(&[2.0f32, 4.0], &[2]);
    let before = backend.runs();
    let y = x.normalize(&[1], true, 0.0).unwrap().mul(&weight).unwrap().add(&x).unwrap().add(&weight).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [1.0, 11.0, 2.0, 14.0]);
    // Without fusion each operation is a run.
    let alone = !fusion_enabled();
    assert_eq!(backend.runs() - before, if alone { 4 } else { 1 });
    let before = backend.runs();
    let norm = x.normalize(&[1], true, 0.0).unwrap();
    let y = norm.mul(&weight).unwrap();
    assert_eq!(y.to_vec::<f32>().unwrap(), [-2.0, 4.0, -2.0, 4.0]);
    assert_eq!(norm.to_vec::<f32>().unwrap(), [-1.0, 1.0, -1.0, 1.0]);
    assert_eq!(backend.runs() - before, 2);
    // More operands than a program has inputs.
    let others: Vec<_> = (0..12).map(|i| backend.array(&[i as f32; 4], &[2, 2])).collect();
    let mut y = x.normalize(&[1], true, 0.0).unwrap();
    for other in &others {
        y = y.add(other).unwrap();
    }
    assert_eq!(y.to_vec::<f32>().unwrap(), [65.0, 67.0, 65.0, 67.0]);
    // f16 is rounded where the norm would have been stored.
    let x = backend.array(&[1.0f32, 3.1, 2.0, 6.3], &[2, 2]);
    let halves = x.cast(DType::F16).unwrap().normalize(&[1], false, 0.0).unwrap();
    let waits = halves.clone().cast(DType::F32).unwrap().mul(&x).unwrap();
    let stored = backend.array(&halves.to_vec::<f16>().unwrap(), &[2, 2]).cast(DType::F32).unwrap().mul(&x).unwrap();
    assert_eq!(waits.to_vec::<f32>().unwrap(), stored.to_vec::<f32>().unwrap());
    assert_eq!(x.cast(DType::BF16).unwrap().variance(&[], 0, false).unwrap().to_vec::<bf16>().unwrap().len(), 1);
}

#[test]
fn infinities_and_nan() {
    let backend = Strict::near("near");
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    for (row, expected) in [
        ([1000.0, 1000.0], 1000.0 + 2f64.ln()),
        ([-1000.0, -1000.0], -1000.0 + 2f64.ln()),
        ([inf, 0.0], inf),
        ([-inf, 0.0], 0.0),
        ([-inf, -inf], -inf),
        ([nan, 0.0], nan),
    ] {
        let got = backend.vector(&row).logsumexp(&[0], false).unwrap().item().unwrap().as_f64();
        assert!(close(got, expected, 1e-15), "{row:?}: {got}");
    }
}

#[test]
fn constants_scalars_and_nothing() {
    let backend = Strict::far("far");
    let x = backend.array(&[1.0f64, 3.0], &[1, 2]);
    let ones = Array::full(&backend, 1.0, &Shape::new([1, 2]).unwrap(), DType::F64);
    assert_eq!(x.normalize_grad(&ones, &[1], true, 0.0).unwrap().to_vec::<f64>().unwrap(), [0.0, 0.0]);
    assert_eq!(ones.variance(&[1], 0, false).unwrap().to_vec::<f64>().unwrap(), [0.0]);
    let number = Array::full(&backend, 3.0, &Shape::scalar(), DType::F64);
    assert_eq!(number.logsumexp(&[], true).unwrap().item().unwrap().as_f64(), 3.0);
    assert_eq!(number.normalize(&[0], false, 0.0).unwrap().dims(), [0usize; 0]);
    let nothing = backend.array(&[0.0f32; 0], &[0, 3]);
    assert_eq!(nothing.normalize(&[1], true, 0.0).unwrap().dims(), [0, 3]);
    assert!(nothing.logsumexp(&[1], false).unwrap_err().to_string().contains("logsumexp"));
}

#[test]
fn wrong_operands_are_named() {
    let backend = Strict::near("near");
    let x = backend.array(&[1.0f32, 3.0], &[1, 2]);
    let error = |result: Result<Array<Strict>>| result.unwrap_err().to_string();
    assert!(error(backend.vector(&[1i64]).normalize(&[0], true, 0.0)).starts_with("layer_norm"));
    assert!(error(x.variance(&[2], 1, false)).starts_with("var"));
    assert!(error(x.logsumexp(&[0, -2], false)).starts_with("logsumexp"));
    let other = backend.vector(&[1.0f32, 3.0]);
    let text = error(x.softmax_grad(&other, 1, false));
    assert!(text.starts_with("softmax") && text.contains("[1, 2]") && text.contains("[2]"), "{text}");
    let elsewhere = Strict::far("far").array(&[1.0f32, 3.0], &[1, 2]);
    assert!(error(x.normalize_grad(&elsewhere, &[1], true, 0.0)).contains("far"));
}
