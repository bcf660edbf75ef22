//! Reductions, scans, sort, softmax and matrix products against loops.

use crate::nested::{Nested, broadcast};
use crate::strict::Strict;
use proptest::prelude::*;
use tensor_core::{Array, DType, Element, ReduceOp, Scalar, ScanOp, Shape, bf16, f16};

/// Small shapes with a few empty axes.
fn dims() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1 => Just(0usize), 2 => Just(1), 8 => 2usize..5], 0..=4)
}

/// Values with ties, and NaN and both zeros among them.
fn values(count: usize, seed: usize) -> Vec<f64> {
    let list = [1.0, -2.0, 0.0, -0.0, 3.5, f64::NAN, 1.0, 2.0, -2.0, f64::INFINITY, 0.5];
    // Without NaN most of the time, or hardly anything else would be tested.
    let skip_nan = !seed.is_multiple_of(3);
    (0..count)
        .map(|i| list[(i * 7 + seed * 13 + i / 3) % list.len()])
        .map(|x| if skip_nan && !x.is_finite() { 4.0 } else { x })
        .collect()
}

/// The axes that a mask names, some from the back.
fn named(mask: usize, rank: usize) -> Vec<isize> {
    let axes = (0..rank).filter(|axis| (mask >> axis) & 1 == 1);
    axes.map(|axis| if mask.is_multiple_of(3) { axis as isize - rank as isize } else { axis as isize }).collect()
}

/// The groups of values that a reduction along axes combines, by position of the result.
fn groups<T: Copy + std::fmt::Debug>(model: &Nested<T>, axes: &[usize], keepdim: bool) -> (Vec<usize>, Vec<Vec<T>>) {
    let rank = model.dims.len();
    let kept: Vec<usize> = (0..rank).filter(|axis| !axes.contains(axis)).collect();
    let outer: Vec<usize> = kept.iter().map(|&axis| model.dims[axis]).collect();
    let inner: Vec<usize> = axes.iter().map(|&axis| model.dims[axis]).collect();
    let list = tensor_core::reference::positions(&outer)
        .map(|out| {
            tensor_core::reference::positions(&inner)
                .map(|walk| {
                    let mut position = vec![0; rank];
                    kept.iter().zip(&out).for_each(|(&axis, &i)| position[axis] = i);
                    axes.iter().zip(&walk).for_each(|(&axis, &i)| position[axis] = i);
                    model.get(&position)
                })
                .collect()
        })
        .collect();
    let size = |axis: usize| if axes.contains(&axis) { 1 } else { model.dims[axis] };
    (if keepdim { (0..rank).map(size).collect() } else { outer }, list)
}

/// The extreme that NaN wins, and where it first is.
fn extreme(group: &[f64], largest: bool) -> (f64, i64) {
    if let Some(at) = group.iter().position(|x| x.is_nan()) {
        return (f64::NAN, at as i64);
    }
    let mut best = 0;
    for (at, x) in group.iter().enumerate() {
        if if largest { *x > group[best] } else { *x < group[best] } {
            best = at;
        }
    }
    (group[best], best as i64)
}

fn close(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * b.abs()
}

fn check_reductions(array: &Array<Strict>, model: &Nested<f64>, mask: usize, keepdim: bool) {
    let rank = model.dims.len();
    let axes = named(mask, rank);
    let counted: Vec<usize> = match axes[..] {
        [] => (0..rank).collect(),
        _ => (0..rank).filter(|axis| (mask >> axis) & 1 == 1).collect(),
    };
    let (dims, groups) = groups(model, &counted, keepdim);
    let nothing = groups.iter().any(Vec::is_empty);
    for op in [ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Max, ReduceOp::Min] {
        let result = array.reduce(op, &axes, keepdim);
        let largest = op == ReduceOp::Max;
        if nothing && matches!(op, ReduceOp::Max | ReduceOp::Min) {
            let text = result.unwrap_err().to_string();
            assert!(text.contains("expected at least one element along the reduced axes"), "{text}");
            continue;
        }
        let result = Nested::<f64>::of(&result.unwrap());
        assert_eq!(result.dims, dims, "{op:?}");
        for (got, group) in result.data.iter().zip(&groups) {
            let expected = match op {
                ReduceOp::Sum => group.iter().sum(),
                ReduceOp::Prod => group.iter().product(),
                _ => extreme(group, largest).0,
            };
            assert!(close(*got, expected), "{op:?} of {group:?} is {expected}, got {got}");
        }
    }
    if nothing || counted.len() > 1 && !axes.is_empty() {
        return;
    }
    for (op, largest) in [(ReduceOp::ArgMax, true), (ReduceOp::ArgMin, false)] {
        let result = Nested::<i64>::of(&array.reduce(op, &axes, keepdim).unwrap());
        let expected: Vec<i64> = groups.iter().map(|group| extreme(group, largest).1).collect();
        assert_eq!(result, Nested { dims: dims.clone(), data: expected });
    }
}

proptest! {
    #![proptest_config(crate::cases(500))]

    #[test]
    fn reductions_are_loops(dims in dims(), mask in 0usize..16, keepdim: bool, seed in 0usize..50, form in 0..3) {
        let backend = if seed % 2 == 0 { Strict::far("far") } else { Strict::near("near") };
        let count = dims.iter().product();
        let model = Nested { data: values(count, seed), dims: dims.clone() };
        let array = model.on(&backend);
        match form {
            0 => check_reductions(&array, &model, mask, keepdim),
            1 => {
                let data = model.data.iter().map(|x| x * 2.0).collect();
                check_reductions(&array.mul(2.0).unwrap(), &Nested { data, dims }, mask, keepdim);
            }
            _ => {
                let order: Vec<isize> = (0..dims.len() as isize).rev().collect();
                let turned: Vec<usize> = dims.iter().rev().copied().collect();
                let model = Nested::from_fn(&turned, |p| model.get(&p.iter().rev().copied().collect::<Vec<_>>()));
                check_reductions(&array.permute(&order).unwrap(), &model, mask, keepdim);
            }
        }
    }

    #[test]
    fn scans_sorts_and_softmax_are_loops(dims in dims(), axis in 0usize..4, seed in 0usize..50, descending: bool) {
        let backend = Strict::far("far");
        let (rank, count) = (dims.len(), dims.iter().product());
        let model = Nested { data: values(count, seed), dims: dims.clone() };
        let array = model.on(&backend);
        let at = axis % rank.max(1);
        let signed = if seed % 2 == 0 || rank == 0 { at as isize } else { at as isize - rank as isize };
        let line = |p: &[usize]| -> Vec<f64> {
            let along = |i| {
                let mut p = p.to_vec();
                if rank > 0 {
                    p[at] = i;
                }
                model.get(&p)
            };
            (0..dims.get(at).copied().unwrap_or(1)).map(along).collect()
        };
        let here = |p: &[usize]| p.get(at).copied().unwrap_or(0);
        for (op, start, step) in [
            (ScanOp::Sum, 0.0, (|a, b| a + b) as fn(f64, f64) -> f64),
            (ScanOp::Prod, 1.0, |a, b| a * b),
        ] {
            let got = Nested::<f64>::of(&array.scan(op, signed).unwrap());
            let expected = Nested::from_fn(&dims, |p| line(p)[..=here(p)].iter().copied().fold(start, step));
            prop_assert!(got.data.iter().zip(&expected.data).all(|(&a, &b)| close(a, b)), "{:?}", got);
        }
        let (sorted, places) = array.sort(signed, descending).unwrap();
        let (sorted, places) = (Nested::<f64>::of(&sorted), Nested::<i64>::of(&places));
        prop_assert_eq!((&sorted.dims, &places.dims), (&dims, &dims));
        for p in tensor_core::reference::positions(&dims) {
            let line = line(&p);
            let mut order: Vec<usize> = (0..line.len()).collect();
            // NaN is the largest; a stable sort keeps equal ones in place, in either direction.
            let key = |x: f64, y: f64| x.is_nan().cmp(&y.is_nan()).then(x.partial_cmp(&y).unwrap_or(std::cmp::Ordering::Equal));
            order.sort_by(|&x, &y| if descending { key(line[y], line[x]) } else { key(line[x], line[y]) });
            let from = order[here(&p)];
            prop_assert_eq!(places.get(&p), from as i64);
            prop_assert!(sorted.get(&p).to_bits() == line[from].to_bits() || line[from].is_nan());
        }
        let (soft, log) = (array.softmax(signed, false).unwrap(), array.softmax(signed, true).unwrap());
        let (soft, log) = (Nested::<f64>::of(&soft), Nested::<f64>::of(&log));
        for p in tensor_core::reference::positions(&dims) {
            let line = line(&p);
            let top = line.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = line.iter().map(|x| (x - top).exp()).sum();
            let expected = (line[here(&p)] - top).exp() / total;
            prop_assert!(close(soft.get(&p), expected), "{} instead of {}", soft.get(&p), expected);
            let expected = line[here(&p)] - top - total.ln();
            prop_assert!(close(log.get(&p), expected) || (log.get(&p) - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn products_are_loops(
        lead in prop::collection::vec((0usize..3, 0usize..3), 0..=2),
        (m, k, n) in (0usize..4, 0usize..4, 0usize..4),
        (left, right) in (0..4, 0..4),
        turned: bool,
    ) {
        let backend = Strict::near("near");
        // Batch axes are equal or 1; either operand may be a vector or have fewer of them.
        let pick = |which: i32, own: [usize; 2], vector: usize, first: bool| -> Vec<usize> {
            let batch = lead.iter().map(|&(size, one)| match one {
                0 if first => 1,
                1 if !first => 1,
                _ => size,
            });
            match which {
                0 => vec![own[vector]],
                1 => own.to_vec(),
                2 => batch.skip(1).chain(own).collect(),
                _ => batch.chain(own).collect(),
            }
        };
        let (a_dims, b_dims) = (pick(left, [m, k], 1, true), pick(right, [k, n], 0, false));
        let fill = |dims: &[usize], seed: i64| {
            let count: usize = dims.iter().product();
            Nested { data: (0..count as i64).map(|i| (i * 5 + seed) % 7 - 3).collect(), dims: dims.to_vec() }
        };
        let (a, b) = (fill(&a_dims, 1), fill(&b_dims, 2));
        let on = |model: &Nested<i64>| {
            let array = model.on(&backend);
            if !turned || model.dims.len() < 2 {
                return array;
            }
            // The same values, lying the other way round in memory.
            array.transpose(-1, -2).unwrap().add(0).unwrap().contiguous().unwrap().transpose(-1, -2).unwrap()
        };
        let product = Nested::<i64>::of(&on(&a).matmul(&on(&b)).unwrap());
        let (row, column) = (a_dims.len() == 1, b_dims.len() == 1);
        let matrix = |dims: &[usize], column: bool| match dims {
            [size] if column => vec![*size, 1],
            [size] => vec![1, *size],
            _ => dims.to_vec(),
        };
        let (a, b) = (Nested { dims: matrix(&a.dims, false), ..a }, Nested { dims: matrix(&b.dims, true), ..b });
        let batch = |dims: &[usize]| dims[..dims.len() - 2].to_vec();
        let lead = broadcast(&batch(&a.dims), &batch(&b.dims)).unwrap();
        let (m, n) = (a.dims[a.dims.len() - 2], b.dims[b.dims.len() - 1]);
        let with = |tail: [usize; 2]| [&lead[..], &tail].concat();
        let (a, b) = (a.expand(&with([m, k])), b.expand(&with([k, n])));
        let expected = Nested::from_fn(&with([m, n]), |p| {
            let lead = &p[..p.len() - 2];
            let at = |i: usize, j: usize| [lead, &[i, j]].concat();
            let (row, column) = (p[p.len() - 2], p[p.len() - 1]);
            (0..k).map(|i| a.get(&at(row, i)) * b.get(&at(i, column))).sum::<i64>()
        });
        let mut dims = lead.clone();
        dims.extend((!row).then_some(m));
        dims.extend((!column).then_some(n));
        prop_assert_eq!(product, Nested { dims, data: expected.data });
    }
}

fn scalars<T: Element>(array: &Array<Strict>) -> Vec<T> {
    array.to_vec().unwrap()
}

#[test]
fn dtypes_of_reductions() {
    let d = Strict::far("far");
    for dtype in DType::ALL {
        let x = Array::full(&d, 1, &Shape::new([3]).unwrap(), dtype);
        let wide = if dtype.is_float() { dtype } else { DType::I64 };
        for (op, expected, value) in [
            (ReduceOp::Sum, wide, 3.0),
            (ReduceOp::Prod, wide, 1.0),
            (ReduceOp::Max, dtype, 1.0),
            (ReduceOp::Min, dtype, 1.0),
            (ReduceOp::ArgMax, DType::I64, 0.0),
            (ReduceOp::ArgMin, DType::I64, 0.0),
        ] {
            let result = x.reduce(op, &[], false).unwrap();
            assert_eq!((result.dtype(), result.item().unwrap().as_f64()), (expected, value), "{op:?} of {dtype}");
        }
        for op in ScanOp::ALL {
            assert_eq!(x.scan(op, 0).unwrap().dtype(), wide);
        }
        let (values, indices) = x.sort(0, false).unwrap();
        assert_eq!((values.dtype(), indices.dtype()), (dtype, DType::I64));
    }
    // u8 sums do not wrap at 256.
    assert_eq!(d.vector(&[200u8, 200]).sum(&[], false).unwrap().item().unwrap(), Scalar::Int(400));
    assert_eq!(d.vector(&[true, true, false]).sum(&[], false).unwrap().item().unwrap(), Scalar::Int(2));
    assert_eq!(scalars::<i64>(&d.vector(&[true, true]).scan(ScanOp::Sum, 0).unwrap()), [1, 2]);
    assert_eq!(d.vector(&[3u8, 255]).reduce(ReduceOp::Max, &[], false).unwrap().item().unwrap(), Scalar::Int(255));
    assert_eq!(d.vector(&[-1i8, 1]).reduce(ReduceOp::Min, &[], false).unwrap().item().unwrap(), Scalar::Int(-1));
    let extremes = d.vector(&[i64::MAX, i64::MIN, i64::MAX - 1]);
    assert_eq!(extremes.reduce(ReduceOp::ArgMax, &[0], false).unwrap().item().unwrap(), Scalar::Int(0));
    assert_eq!(extremes.sum(&[], false).unwrap().item().unwrap(), Scalar::Int(i64::MAX - 2));
    assert_eq!(scalars::<i64>(&extremes.sort(0, false).unwrap().0), [i64::MIN, i64::MAX - 1, i64::MAX]);
    assert_eq!(scalars::<bool>(&d.vector(&[true, false]).sort(0, false).unwrap().0), [false, true]);
}

#[test]
fn storage_types_accumulate_wider() {
    let d = Strict::far("far");
    let shape = Shape::new([2049]).unwrap();
    let sum = |dtype, shape: &Shape| Array::full(&d, 1, shape, dtype).sum(&[], false).unwrap().item().unwrap();
    assert_eq!(sum(DType::F16, &shape), Scalar::Float(2048.0), "rounded only at the end");
    assert_eq!(sum(DType::F16, &Shape::new([70_000]).unwrap()), Scalar::Float(f64::INFINITY));
    assert_eq!(sum(DType::BF16, &Shape::new([1000]).unwrap()), Scalar::Float(1000.0));
    let running = Array::full(&d, 1, &Shape::new([3000]).unwrap(), DType::F16).scan(ScanOp::Sum, 0).unwrap();
    assert_eq!(running.get(&[2999]).unwrap(), Scalar::Float(3000.0));
    let dot = Array::full(&d, f16::from_f32(0.1), &Shape::new([4000]).unwrap(), DType::F16);
    let exact = 4000.0 * f64::from(f16::from_f32(0.1)).powi(2);
    assert!((dot.matmul(&dot).unwrap().item().unwrap().as_f64() - exact).abs() < 0.02);
    assert_eq!(
        d.vector(&[bf16::MAX, bf16::MAX]).sum(&[], false).unwrap().item().unwrap(),
        Scalar::Float(f64::INFINITY)
    );
}

#[test]
fn what_is_left_of_nothing() {
    let d = Strict::far("far");
    let empty = d.array::<f32>(&[], &[0, 3]);
    assert_eq!(empty.sum(&[], false).unwrap().item().unwrap(), Scalar::Float(0.0));
    assert_eq!(empty.reduce(ReduceOp::Prod, &[], false).unwrap().item().unwrap(), Scalar::Float(1.0));
    assert_eq!(scalars::<f32>(&empty.sum(&[0], false).unwrap()), [0.0; 3]);
    assert_eq!(empty.reduce(ReduceOp::Max, &[1], false).unwrap().dims(), [0]);
    assert_eq!(empty.reduce(ReduceOp::ArgMax, &[1], true).unwrap().dims(), [0, 1]);
    assert!(!empty.any_element().unwrap());
    let none = d.array::<bool>(&[], &[0]);
    assert_eq!(none.reduce(ReduceOp::Max, &[], false).unwrap().item().unwrap(), Scalar::Bool(false));
    assert_eq!(none.reduce(ReduceOp::Min, &[], false).unwrap().item().unwrap(), Scalar::Bool(true));
    assert_eq!(empty.softmax(0, false).unwrap().dims(), [0, 3]);
    assert_eq!(empty.scan(ScanOp::Sum, 1).unwrap().dims(), [0, 3]);
    let (values, indices) = empty.sort(-1, true).unwrap();
    assert_eq!((values.dims(), indices.dims(), indices.dtype()), (&[0, 3][..], &[0, 3][..], DType::I64));
    let (tall, flat) = (d.array::<f32>(&[], &[2, 0]), d.array::<f32>(&[], &[0, 3]));
    assert_eq!(scalars::<f32>(&tall.matmul(&flat).unwrap()), [0.0; 6]);
}

#[test]
fn scalars_reduce_along_their_imagined_axis() {
    for d in [Strict::far("far"), Strict::near("near")] {
        let x = d.vector(&[4f32, 3.0]).select(0, 1).unwrap();
        for axes in [&[][..], &[0], &[-1]] {
            for keepdim in [false, true] {
                for op in ReduceOp::ALL {
                    let result = x.reduce(op, axes, keepdim).unwrap();
                    let expected = if op.gives_index() { Scalar::Int(0) } else { Scalar::Float(3.0) };
                    assert_eq!((result.rank(), result.item().unwrap()), (0, expected));
                }
            }
        }
        assert_eq!(x.scan(ScanOp::Sum, 0).unwrap().item().unwrap(), Scalar::Float(3.0));
        assert_eq!(x.softmax(-1, false).unwrap().item().unwrap(), Scalar::Float(1.0));
        let (value, index) = x.sort(0, false).unwrap();
        assert_eq!((value.item().unwrap(), index.item().unwrap()), (Scalar::Float(3.0), Scalar::Int(0)));
    }
}

#[test]
fn special_values() {
    let d = Strict::far("far");
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let log = d.vector(&[-inf, 0.0]).softmax(0, true).unwrap();
    assert_eq!(scalars::<f32>(&log), [-inf, 0.0]);
    for bad in [[inf, 1.0], [-inf, -inf], [nan, 0.0]] {
        assert!(scalars::<f32>(&d.vector(&bad).softmax(0, false).unwrap()).iter().all(|x| x.is_nan()), "{bad:?}");
    }
    // Far from 0, where eˣ alone would overflow.
    let huge = scalars::<f32>(&d.vector(&[1000f32, 1000.0]).softmax(0, false).unwrap());
    assert_eq!(huge, [0.5, 0.5]);
    let x = d.vector(&[nan, 1.0, inf, -inf, nan]);
    let order = |descending| scalars::<i64>(&x.sort(0, descending).unwrap().1);
    assert_eq!(order(false), [3, 1, 2, 0, 4]);
    assert_eq!(order(true), [0, 4, 2, 1, 3]);
    assert_eq!(x.reduce(ReduceOp::ArgMin, &[], false).unwrap().item().unwrap(), Scalar::Int(0));
    // Losing nothing to cancellation: the reference sums exactly.
    assert_eq!(d.vector(&[1e16f64, 1.0, -1e16]).sum(&[], false).unwrap().item().unwrap(), Scalar::Float(1.0));
    assert!(d.vector(&[f64::INFINITY, f64::NEG_INFINITY]).sum(&[], false).unwrap().item().unwrap().as_f64().is_nan());
    assert_eq!(d.vector(&[f64::MAX, f64::MAX]).sum(&[], false).unwrap().item().unwrap(), Scalar::Float(f64::INFINITY));
}

#[test]
fn products_of_every_number_dtype() {
    let d = Strict::near("near");
    for dtype in DType::ALL.into_iter().filter(|&dtype| dtype != DType::Bool) {
        let a = d.array(&[1i64, 2, 3, 4], &[2, 2]).cast(dtype).unwrap();
        let product = a.matmul(&a).unwrap();
        assert_eq!(product.dtype(), dtype);
        assert_eq!(scalars::<f64>(&product.cast(DType::F64).unwrap()), [7.0, 10.0, 15.0, 22.0], "{dtype}");
        let dot = a.select(0, 0).unwrap().matmul(&a.select(0, 1).unwrap()).unwrap();
        assert_eq!((dot.dims(), dot.item().unwrap().as_f64()), (&[][..], 11.0));
    }
    assert_eq!(scalars::<u8>(&d.array(&[16u8, 16], &[1, 2]).matmul(&d.array(&[16u8, 1], &[2, 1])).unwrap()), [16]);
}
