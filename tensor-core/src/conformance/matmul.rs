//! Matrix products.

use super::case::{Case, Check, Failure, Probe, wrong};
use super::judge::Bound;
use super::tensor::{Arrangement, HostTensor};
use super::values::{Rng, sample, specials};
use crate::backend::View;
use crate::op::BinaryOp;
use crate::{Backend, DType, MatmulSpec, Program, Scalar, reference};

/// The cases of products.
pub(super) fn cases<B: Backend>() -> Vec<Case<B>> {
    let mut cases = Vec::new();
    for dtype in DType::ALL.into_iter().filter(|&dtype| dtype != DType::Bool) {
        let mut add = |aspect: &'static str, run: fn(&mut Probe<'_, B>, DType) -> Check| {
            cases.push(Case::new("matmul", "matmul", dtype, aspect, move |probe| run(probe, dtype)));
        };
        add("sizes", sizes);
        add("layouts", layouts);
        add("batches", batches);
        add("values", values);
        add("large", large);
        add("groups", groups);
        add("windows", windows);
        add("epilogue", epilogue);
    }
    cases
}

/// Entries whose sums of products are exact: small integers for floats, anything for integers, which wrap.
fn entry(dtype: DType, rng: &mut Rng) -> Scalar {
    if dtype.is_float() { Scalar::Float(rng.below(7) as f64 - 3.0) } else { sample(dtype, (0.0, 0.0), rng) }
}

/// The leading axes, then m, k and n, as the three tensors' shapes.
fn dims(lead: &[usize], [m, k, n]: [usize; 3]) -> [Vec<usize>; 3] {
    [[m, k], [k, n], [m, n]].map(|matrix| lead.iter().copied().chain(matrix).collect())
}

fn on_backend<B: Backend>(
    probe: &Probe<'_, B>,
    a: &HostTensor,
    b: &HostTensor,
    out: &HostTensor,
) -> Result<Vec<u8>, Failure> {
    let (held_a, held_b) = (probe.upload(a)?, probe.upload(b)?);
    probe.written(out, |out| {
        let a = View { buffer: &held_a, layout: &a.layout, dtype: a.dtype };
        let spec = MatmulSpec::batched(a.layout.rank());
        probe.backend.matmul(&spec, a, View { buffer: &held_b, layout: &b.layout, dtype: b.dtype }, &[], out)
    })
}

/// Multiplies on both and compares exactly.
fn check<B: Backend>(probe: &mut Probe<'_, B>, a: &HostTensor, b: &HostTensor, what: &str) -> Check {
    let rank = a.layout.rank();
    let mut shape = a.shape().dims().to_vec();
    shape[rank - 1] = b.shape().dims()[rank - 1];
    let out = HostTensor::unwritten(a.dtype, Arrangement::Contiguous.layout(&shape));
    let got = on_backend(probe, a, b, &out)?;
    let mut wanted = out.clone();
    reference::matmul(&MatmulSpec::batched(a.layout.rank()), &a.view(), &b.view(), &[], &mut wanted.view_mut());
    probe.compare_all(&out, &got, &wanted.bytes, Bound::EXACT, &format!("{} by {}, {what}", a.shape(), b.shape()))
}

/// Each of the three sizes around the edges of tiles while the others are small, then all of them.
fn sizes<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("matmul sizes {dtype}"));
    let edges = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 257];
    let mut list: Vec<[usize; 3]> = vec![[16, 16, 16], [33, 65, 17], [64, 64, 64], [65, 31, 33], [17, 129, 33]];
    for edge in edges {
        list.extend([[edge, 3, 5], [5, edge, 3], [3, 5, edge], [edge, 4, 1], [1, 4, edge], [1, edge, 1]]);
    }
    for size in list {
        let [a, b, _] = dims(&[], size);
        let a = HostTensor::dense(dtype, &a, || entry(dtype, &mut rng));
        let b = HostTensor::dense(dtype, &b, || entry(dtype, &mut rng));
        check(probe, &a, &b, "contiguous")?;
    }
    Ok(())
}

fn layouts<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("matmul layouts {dtype}"));
    let [a_dims, b_dims, out_dims] = dims(&[], [9, 17, 12]);
    for first in Arrangement::ALL {
        for second in Arrangement::ALL {
            let a = HostTensor::new(dtype, first.layout(&a_dims), || entry(dtype, &mut rng));
            let b = HostTensor::new(dtype, second.layout(&b_dims), || entry(dtype, &mut rng));
            check(probe, &a, &b, &format!("{first:?} by {second:?}"))?;
        }
    }
    // A dense result that does not begin where its buffer does.
    let a = HostTensor::dense(dtype, &a_dims, || entry(dtype, &mut rng));
    let b = HostTensor::dense(dtype, &b_dims, || entry(dtype, &mut rng));
    let (dense, len) = Arrangement::Contiguous.layout(&out_dims);
    let (layout, _) = Arrangement::Contiguous.layout(&[len + 8]);
    let layout = layout.narrow(0, 5, len)?.reshape(dense.shape())?;
    let layout = layout.ok_or_else(|| wrong("a dense vector can have any shape"))?;
    let out = HostTensor::unwritten(dtype, (layout, len + 8));
    let got = on_backend(probe, &a, &b, &out)?;
    let mut wanted = out.clone();
    reference::matmul(&MatmulSpec::batched(a.layout.rank()), &a.view(), &b.view(), &[], &mut wanted.view_mut());
    probe.compare_all(&out, &got, &wanted.bytes, Bound::EXACT, "a result from the fifth element on")
}

/// Several leading axes, repeated in one of the operands, or arranged otherwise.
fn batches<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("matmul batches {dtype}"));
    for (lead, size) in [
        (&[4][..], [3, 5, 7]),
        (&[2, 3], [5, 4, 3]),
        (&[3, 1, 2], [1, 6, 4]),
        (&[2, 1, 2, 1, 3, 1], [2, 3, 2]),
        (&[70], [2, 2, 2]),
    ] {
        let [a, b, _] = dims(lead, size);
        for first in Arrangement::ALL {
            let second = rng.pick(&Arrangement::ALL);
            let a = HostTensor::new(dtype, first.layout(&a), || entry(dtype, &mut rng));
            let b = HostTensor::new(dtype, second.layout(&b), || entry(dtype, &mut rng));
            check(probe, &a, &b, &format!("{first:?} by {second:?}"))?;
        }
        // The same matrix for every place of the leading axes.
        for repeated in 0..2 {
            let operand = |shape: &[usize], repeats: bool, rng: &mut Rng| {
                let inner = if repeats { &shape[lead.len()..] } else { shape };
                let mut tensor = HostTensor::dense(dtype, inner, || entry(dtype, rng));
                let whole = crate::Shape::new(shape)?;
                tensor.layout = tensor.layout.expand(&whole)?;
                Ok::<_, crate::Error>(tensor)
            };
            let (a, b) = (operand(&a, repeated == 0, &mut rng)?, operand(&b, repeated == 1, &mut rng)?);
            check(probe, &a, &b, &format!("operand {repeated} repeats"))?;
        }
    }
    Ok(())
}

/// NaN and infinities reach exactly the rows and columns they stand in, zeros beside them included; samples of the reals are
/// judged at the scale of what was summed.
fn values<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("matmul values {dtype}"));
    let [a_dims, b_dims, out_dims] = dims(&[], [19, 21, 23]);
    if !dtype.is_float() {
        let special = specials(dtype);
        let a = HostTensor::dense(dtype, &a_dims, || rng.pick(&special));
        let b = HostTensor::dense(dtype, &b_dims, || rng.pick(&special));
        return check(probe, &a, &b, "special values");
    }
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for zeros in [false, true] {
            let place = rng.below(19 * 21);
            let mut at = 0;
            let a = HostTensor::dense(dtype, &a_dims, || {
                at += 1;
                if at - 1 == place { Scalar::Float(value) } else { entry(dtype, &mut rng) }
            });
            let b =
                HostTensor::dense(dtype, &b_dims, || if zeros { Scalar::Float(0.0) } else { entry(dtype, &mut rng) });
            check(probe, &a, &b, &format!("{value} at {place}, zeros on the right: {zeros}"))?;
        }
    }
    for inner in [1, 21, 300] {
        let [a_dims, b_dims, _] = dims(&[], [19, inner, 23]);
        let a = HostTensor::dense(dtype, &a_dims, || sample(dtype, (-1.0, 1.0), &mut rng));
        let b = HostTensor::dense(dtype, &b_dims, || sample(dtype, (-1.0, 1.0), &mut rng));
        let out = HostTensor::unwritten(dtype, Arrangement::Contiguous.layout(&out_dims));
        let got = on_backend(probe, &a, &b, &out)?;
        let mut wanted = out.clone();
        reference::matmul(&MatmulSpec::batched(a.layout.rank()), &a.view(), &b.view(), &[], &mut wanted.view_mut());
        let magnitude = |tensor: &HostTensor| {
            let mut values = tensor.values().into_iter();
            HostTensor::dense(DType::F64, tensor.shape().dims(), || {
                Scalar::Float(values.next().expect("a magnitude for each element").as_f64().abs())
            })
        };
        let mut scales = HostTensor::unwritten(DType::F64, Arrangement::Contiguous.layout(&out_dims));
        let (a_size, b_size) = (magnitude(&a), magnitude(&b));
        let plain = MatmulSpec::batched(2);
        reference::matmul(&plain, &a_size.view(), &b_size.view(), &[], &mut scales.view_mut());
        let scales = scales.values();
        // A running total of random numbers is off by about the root of their number, in units of the largest total.
        let ulp = 4.0 + (inner as f64).sqrt();
        let bound = |number: usize| Bound::at_scale(ulp, scales[number].as_f64(), dtype);
        probe.compare(&out, &got, &wanted.bytes, &bound, &|_| format!(" ({} by {}, samples)", a.shape(), b.shape()))?;
    }
    Ok(())
}

/// Large enough for blocking and several threads; a product with a matrix of few ones is known without the reference.
fn large<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("matmul large {dtype}"));
    let [m, k, n] = [150, 260, 170];
    let a = HostTensor::dense(dtype, &[m, k], || entry(dtype, &mut rng));
    // Column j of b picks columns j and 2·j of a (modulo k), the second one twice.
    let picks: Vec<(usize, usize)> = (0..n).map(|j| (j % k, 2 * j % k)).collect();
    let mut number = 0;
    let b = HostTensor::dense(dtype, &[k, n], || {
        let (row, column) = (number / n, number % n);
        number += 1;
        Scalar::Int(i64::from(picks[column].0 == row) + 2 * i64::from(picks[column].1 == row)).cast(dtype)
    });
    let columns = a.values();
    let mut number = 0;
    let wanted = HostTensor::dense(dtype, &[m, n], || {
        let (row, column) = (number / n, number % n);
        number += 1;
        let (first, second) = (columns[row * k + picks[column].0], columns[row * k + picks[column].1]);
        match (first, second) {
            (Scalar::Float(first), Scalar::Float(second)) => Scalar::Float(first + 2.0 * second),
            (first, second) => Scalar::Int(first.as_i64().wrapping_add(second.as_i64().wrapping_mul(2))).cast(dtype),
        }
    });
    let out = HostTensor::unwritten(dtype, Arrangement::Contiguous.layout(&[m, n]));
    let got = on_backend(probe, &a, &b, &out)?;
    probe.compare_all(&out, &got, &wanted.bytes, Bound::EXACT, &format!("[{m}, {k}] by [{k}, {n}]"))
}

/// Any number of axes for each index, in any arrangement.
fn groups<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("matmul groups {dtype}"));
    let counts: [[&[usize]; 4]; 9] = [
        [&[], &[3, 4], &[5], &[6]],
        [&[], &[5], &[3, 2], &[4]],
        [&[], &[5], &[7], &[2, 3]],
        [&[2], &[3, 2], &[2, 3], &[4, 2]],
        [&[2, 3], &[2, 1, 3], &[4, 1, 2], &[1, 5]],
        [&[], &[], &[40], &[3]],
        [&[3], &[6], &[], &[5]],
        [&[2], &[4, 9], &[6, 3], &[]],
        [&[], &[33, 2], &[9, 4], &[5, 7]],
    ];
    for [batch, rows, inner, columns] in counts {
        let spec = MatmulSpec {
            batch: batch.len(),
            rows: rows.len(),
            inner: inner.len(),
            columns: columns.len(),
            epilogue: None,
        };
        let a_dims = [batch, rows, inner].concat();
        let b_dims = [batch, inner, columns].concat();
        for round in 0..2 {
            let (first, second) = match round {
                0 => (Arrangement::Contiguous, Arrangement::Contiguous),
                _ => (rng.pick(&Arrangement::ALL), rng.pick(&Arrangement::ALL)),
            };
            let a = HostTensor::new(dtype, first.layout(&a_dims), || entry(dtype, &mut rng));
            let b = HostTensor::new(dtype, second.layout(&b_dims), || entry(dtype, &mut rng));
            check_groups(probe, &spec, [&a, &b], &[], &format!("{first:?} by {second:?}"))?;
        }
    }
    Ok(())
}

/// Operands that are windows over one tensor, so that its elements stand in several places: convolutions.
fn windows<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("matmul windows {dtype}"));
    // Channels, the image's sides, the window's, and the steps between windows and within one.
    for (channels, sides, window, step, spread) in [
        (1, [6, 7], [3, 3], [1, 1], [1, 1]),
        (3, [8, 9], [3, 2], [1, 1], [1, 1]),
        (2, [9, 8], [3, 3], [2, 1], [1, 2]),
        (4, [12, 11], [2, 3], [3, 2], [2, 1]),
        (5, [5, 6], [5, 6], [1, 1], [1, 1]),
    ] {
        let image = HostTensor::dense(dtype, &[2, channels, sides[0], sides[1]], || entry(dtype, &mut rng));
        let steps = image.layout.strides().to_vec();
        let reach = |axis: usize| (sides[axis] - spread[axis] * (window[axis] - 1) - 1) / step[axis] + 1;
        // Two images, rows and columns of windows, channels, rows and columns within a window.
        let dims = [2, reach(0), reach(1), channels, window[0], window[1]];
        let along = |axis: usize, times: usize| steps[2 + axis] * times as isize;
        let strides =
            [steps[0], along(0, step[0]), along(1, step[1]), steps[1], along(0, spread[0]), along(1, spread[1])];
        let view = |order: [usize; 6]| {
            let shape = crate::Shape::new(order.map(|axis| dims[axis]))?;
            let layout = crate::Layout::from_parts(shape, order.map(|axis| strides[axis])[..].into(), 0);
            Ok::<_, crate::Error>(HostTensor { layout, ..image.clone() })
        };
        let kernel = HostTensor::dense(dtype, &[7, channels, window[0], window[1]], || entry(dtype, &mut rng));
        let mut of_images = kernel.clone();
        let repeated = crate::Shape::new([2, 7, channels, window[0], window[1]])?;
        of_images.layout = of_images.layout.expand(&repeated)?;
        let forward = MatmulSpec { batch: 1, rows: 1, inner: 3, columns: 2, epilogue: None };
        check_groups(probe, &forward, [&of_images, &view([0, 3, 4, 5, 1, 2])?], &[], "windows on the right")?;
        let turned = MatmulSpec { batch: 0, rows: 3, inner: 3, columns: 1, epilogue: None };
        let (left, right) =
            (view([0, 1, 2, 3, 4, 5])?, HostTensor { layout: kernel.layout.permute(&[1, 2, 3, 0])?, ..kernel });
        check_groups(probe, &turned, [&left, &right], &[], "windows on the left")?;
        let of_result = HostTensor::dense(dtype, &[7, 2, dims[1], dims[2]], || entry(dtype, &mut rng));
        let gradient = MatmulSpec { batch: 0, rows: 1, inner: 3, columns: 3, epilogue: None };
        check_groups(probe, &gradient, [&of_result, &view([0, 1, 2, 3, 4, 5])?], &[], "a sum over windows")?;
    }
    Ok(())
}

/// What is computed of each element of the result: a bias for each column, the larger of that and zero, a tensor of the
/// result's shape as well.
fn epilogue<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("matmul epilogue {dtype}"));
    for (batch, [m, k, n]) in [(&[][..], [5, 3, 7]), (&[], [1, 20, 40]), (&[3], [9, 4, 1]), (&[2], [40, 33, 65])] {
        let [a_dims, b_dims, out_dims] = dims(batch, [m, k, n]);
        let a = HostTensor::dense(dtype, &a_dims, || entry(dtype, &mut rng));
        let b = HostTensor::dense(dtype, &b_dims, || entry(dtype, &mut rng));
        let mut bias = HostTensor::dense(dtype, &[n], || entry(dtype, &mut rng));
        bias.layout = bias.layout.expand(&crate::Shape::new(&out_dims)?)?;
        let arrangement = rng.pick(&Arrangement::ALL);
        let residual = HostTensor::new(dtype, arrangement.layout(&out_dims), || entry(dtype, &mut rng));
        let mut program = Program::new();
        let inputs = [0; 3].map(|_| program.input(dtype));
        let biased = program.binary(BinaryOp::Add, inputs[0], inputs[1]);
        let zero = program.scalar(Scalar::Int(0).cast(dtype), dtype);
        let positive = program.binary(BinaryOp::Maximum, biased, zero);
        let sum = program.binary(BinaryOp::Add, positive, inputs[2]);
        program.output(sum);
        let spec = MatmulSpec { epilogue: Some(&program), ..MatmulSpec::batched(a_dims.len()) };
        check_groups(probe, &spec, [&a, &b], &[&bias, &residual], "bias, ReLU, residual")?;
        let mut square = Program::new();
        let product = square.input(dtype);
        let product = square.binary(BinaryOp::Mul, product, product);
        square.output(product);
        let spec = MatmulSpec { epilogue: Some(&square), ..spec };
        check_groups(probe, &spec, [&a, &b], &[], "a square")?;
    }
    Ok(())
}

/// Multiplies on both and compares exactly.
fn check_groups<B: Backend>(
    probe: &mut Probe<'_, B>,
    spec: &MatmulSpec<'_>,
    [a, b]: [&HostTensor; 2],
    extras: &[&HostTensor],
    what: &str,
) -> Check {
    let mut shape = a.shape().dims()[..spec.batch + spec.rows].to_vec();
    shape.extend_from_slice(&b.shape().dims()[spec.batch + spec.inner..]);
    let out = HostTensor::unwritten(a.dtype, Arrangement::Contiguous.layout(&shape));
    let (held_a, held_b) = (probe.upload(a)?, probe.upload(b)?);
    let held = extras.iter().map(|extra| probe.upload(extra)).collect::<Result<Vec<_>, _>>()?;
    let views: Vec<View<'_, B>> = extras
        .iter()
        .zip(&held)
        .map(|(extra, buffer)| View { buffer, layout: &extra.layout, dtype: extra.dtype })
        .collect();
    let got = probe.written(&out, |out| {
        let a = View { buffer: &held_a, layout: &a.layout, dtype: a.dtype };
        probe.backend.matmul(spec, a, View { buffer: &held_b, layout: &b.layout, dtype: b.dtype }, &views, out)
    })?;
    let mut wanted = out.clone();
    let extras: Vec<_> = extras.iter().map(|extra| extra.view()).collect();
    reference::matmul(spec, &a.view(), &b.view(), &extras, &mut wanted.view_mut());
    let what = format!("{} by {} with {spec:?}, {what}", a.shape(), b.shape());
    probe.compare_all(&out, &got, &wanted.bytes, Bound::EXACT, &what)
}
