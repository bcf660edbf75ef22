//! Gather and scatter.

use super::case::{Case, Check, Failure, Probe, ensure};
use super::judge::Bound;
use super::tensor::{Arrangement, HostTensor, LENGTHS, indices};
use super::values::{Rng, sample, specials, whole};
use crate::backend::{ScatterOp, View};
use crate::{Backend, DType, Scalar, Shape, reference};

/// The cases of indexing.
pub(super) fn cases<B: Backend>() -> Vec<Case<B>> {
    let mut cases = Vec::new();
    for dtype in DType::ALL {
        let mut add = |aspect: &'static str, run: fn(&mut Probe<'_, B>, DType) -> Check| {
            let case = Case::new("index", "gather", dtype, aspect, move |probe| run(probe, dtype));
            cases.push(case.needing([DType::I64]));
        };
        add("lengths", gather_lengths);
        add("layouts", gather_layouts);
        add("slices", gather_slices);
    }
    for op in ScatterOp::ALL {
        for dtype in DType::ALL {
            // Bools have no sums and products.
            if dtype == DType::Bool && matches!(op, ScatterOp::Add | ScatterOp::Mul) {
                continue;
            }
            let mut add = |aspect: &'static str, run: fn(&mut Probe<'_, B>, ScatterOp, DType) -> Check| {
                let case = Case::new("index", op.name(), dtype, aspect, move |probe| run(probe, op, dtype));
                cases.push(case.needing([DType::I64]));
            };
            add("lengths", scatter_lengths);
            add("layouts", scatter_layouts);
            add("values", scatter_values);
            if dtype.is_float() && op == ScatterOp::Add {
                add("repeats", scatter_repeats);
            }
        }
    }
    for (aspect, run) in [("lengths", mask_lengths as fn(&mut Probe<'_, B>) -> Check), ("strides", mask_strides)] {
        let case = Case::new("index", "mask_indices", DType::Bool, aspect, run);
        cases.push(case.needing([DType::I64]));
    }
    cases
}

fn view<'a, B: Backend>(tensor: &'a HostTensor, buffer: &'a B::Buffer) -> View<'a, B> {
    View { buffer, layout: &tensor.layout, dtype: tensor.dtype }
}

/// Anything the dtype can hold: elements are only moved.
fn anything(dtype: DType, rng: &mut Rng) -> Scalar {
    if rng.below(8) == 0 { rng.pick(&specials(dtype)) } else { sample(dtype, (-1e3, 1e3), rng) }
}

fn gather<B: Backend>(
    probe: &mut Probe<'_, B>,
    axis: usize,
    input: &HostTensor,
    index: &HostTensor,
    arrangement: Arrangement,
    what: &str,
) -> Check {
    let out = HostTensor::unwritten(input.dtype, arrangement.layout(index.shape().dims()));
    let (held, held_index) = (probe.upload(input)?, probe.upload(index)?);
    let got =
        probe.written(&out, |out| probe.backend.gather(axis, view(input, &held), view(index, &held_index), out))?;
    let mut wanted = out.clone();
    reference::gather(axis, &input.view(), &index.view(), &mut wanted.view_mut());
    let what = format!("axis {axis} of {}, index {}, {what}", input.shape(), index.shape());
    probe.compare_all(&out, &got, &wanted.bytes, Bound::SAME, &what)
}

/// The numbers of a mask's true elements on both, if there are any.
fn check_mask<B: Backend>(probe: &mut Probe<'_, B>, mask: &HostTensor, what: &str) -> Check {
    let count = mask.values().iter().filter(|value| value.as_bool()).count();
    if count == 0 {
        return Ok(());
    }
    let out = HostTensor::unwritten(DType::I64, Arrangement::Contiguous.layout(&[count]));
    let held = probe.upload(mask)?;
    let got = probe.written(&out, |out| probe.backend.mask_indices(view(mask, &held), out))?;
    let mut wanted = out.clone();
    reference::mask_indices(&mask.view(), &mut wanted.view_mut());
    probe.compare_all(&out, &got, &wanted.bytes, Bound::EXACT, &format!("{count} of {}, {what}", mask.shape()))
}

fn mask_lengths<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let mut rng = Rng::named("mask lengths");
    // The last is enough for several threads.
    for length in LENGTHS.into_iter().chain([150_011]) {
        for one_in in [1, 2, 100] {
            let mask = HostTensor::dense(DType::Bool, &[length], || Scalar::Bool(rng.below(one_in) == 0));
            check_mask(probe, &mask, "random")?;
        }
        for alone in [0, length.saturating_sub(1)] {
            let mut number = 0;
            let mask = HostTensor::dense(DType::Bool, &[length], || {
                number += 1;
                Scalar::Bool(number == alone + 1)
            });
            check_mask(probe, &mask, "one alone")?;
        }
    }
    Ok(())
}

fn mask_strides<B: Backend>(probe: &mut Probe<'_, B>) -> Check {
    let mut rng = Rng::named("mask strides");
    for length in [9, 1000] {
        for arrangement in Arrangement::ALL {
            let layout = arrangement.layout(&[length]);
            let mask = HostTensor::new(DType::Bool, layout, || Scalar::Bool(rng.below(2) == 0));
            check_mask(probe, &mask, &format!("{arrangement:?}"))?;
        }
    }
    Ok(())
}

fn gather_lengths<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("gather lengths {dtype}"));
    for length in LENGTHS {
        for (dims, index_dims, axis) in
            [(vec![length], vec![37], 0), (vec![50], vec![length], 0), (vec![3, length], vec![3, 9], 1)]
        {
            let input = HostTensor::dense(dtype, &dims, || anything(dtype, &mut rng));
            let index = indices(Arrangement::Contiguous.layout(&index_dims), dims[axis], &mut rng);
            gather(probe, axis, &input, &index, Arrangement::Contiguous, "contiguous")?;
        }
    }
    // Enough elements for several threads.
    let input = HostTensor::dense(dtype, &[5000], || anything(dtype, &mut rng));
    let index = indices(Arrangement::Contiguous.layout(&[60_001]), 5000, &mut rng);
    gather(probe, 0, &input, &index, Arrangement::Contiguous, "large")
}

/// The input is larger than the result along the other axes too, where the index does not reach.
fn gather_layouts<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("gather layouts {dtype}"));
    for (dims, index_dims) in [
        (&[9, 70][..], &[9, 70][..]),
        (&[11, 40], &[7, 33]),
        (&[4, 6, 5], &[3, 5, 5]),
        (&[2, 3, 1, 4, 3, 5], &[2, 2, 1, 3, 3, 4]),
    ] {
        for (turn, arrangement) in Arrangement::ALL.into_iter().enumerate() {
            let axis = turn % dims.len();
            // Along the axis itself the index may be longer than the input.
            let mut index_dims = index_dims.to_vec();
            if turn % 2 == 1 {
                index_dims[axis] = dims[axis] + 3;
            }
            let second = Arrangement::ALL[(turn * 5 + 3) % Arrangement::ALL.len()];
            let out = Arrangement::OUTPUTS[turn % Arrangement::OUTPUTS.len()];
            let input = HostTensor::new(dtype, arrangement.layout(dims), || anything(dtype, &mut rng));
            let index = indices(second.layout(&index_dims), dims[axis], &mut rng);
            gather(probe, axis, &input, &index, out, &format!("{arrangement:?}, index {second:?}, to {out:?}"))?;
        }
    }
    Ok(())
}

/// A vector of indices seen with strides of 0 along the other axes.
fn gather_slices<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("gather slices {dtype}"));
    for dims in [&[9, 70][..], &[70, 9], &[4, 6, 5], &[2, 3, 1, 4, 3, 5]] {
        for axis in 0..dims.len() {
            for arrangement in [Arrangement::Contiguous, Arrangement::Transposed, Arrangement::Window] {
                let mut out_dims = dims.to_vec();
                out_dims[axis] = 13;
                let input = HostTensor::new(dtype, arrangement.layout(dims), || anything(dtype, &mut rng));
                let index = slices(axis, &out_dims, dims[axis], &mut rng)?;
                gather(probe, axis, &input, &index, Arrangement::Contiguous, &format!("slices, {arrangement:?}"))?;
            }
        }
    }
    Ok(())
}

/// Random indices along an axis, the same for all positions of the others.
fn slices(axis: usize, dims: &[usize], bound: usize, rng: &mut Rng) -> Result<HostTensor, Failure> {
    let mut narrow = vec![1; dims.len()];
    narrow[axis] = dims[axis];
    let mut index = indices(Arrangement::Contiguous.layout(&narrow), bound, rng);
    index.layout = index.layout.expand(&Shape::new(dims)?)?;
    Ok(index)
}

fn on_backend<B: Backend>(
    probe: &Probe<'_, B>,
    op: ScatterOp,
    axis: usize,
    index: &HostTensor,
    src: &HostTensor,
    target: &HostTensor,
) -> Result<Vec<u8>, Failure> {
    let (held_index, held_src) = (probe.upload(index)?, probe.upload(src)?);
    probe.written(target, |out| probe.backend.scatter(op, axis, view(index, &held_index), view(src, &held_src), out))
}

fn scatter<B: Backend>(
    probe: &mut Probe<'_, B>,
    op: ScatterOp,
    axis: usize,
    index: &HostTensor,
    src: &HostTensor,
    target: &HostTensor,
    what: &str,
) -> Check {
    let got = on_backend(probe, op, axis, index, src, target)?;
    let mut wanted = target.clone();
    reference::scatter(op, axis, &index.view(), &src.view(), &mut wanted.view_mut());
    let what = format!("axis {axis} of {}, index {}, {what}", target.shape(), index.shape());
    probe.compare_all(target, &got, &wanted.bytes, Bound::EXACT, &what)
}

/// Values whose sums and products do not depend on the order in which they meet.
fn exact(op: ScatterOp, dtype: DType, rng: &mut Rng) -> Scalar {
    match op {
        ScatterOp::Mul if dtype.is_float() => Scalar::Float(match rng.below(64) {
            0 => 2.0,
            1 => 0.5,
            2..=20 => -1.0,
            _ => 1.0,
        }),
        // Whether bf16 is rounded after each step is not said, so its sums stay below 256.
        ScatterOp::Add if dtype == DType::BF16 => Scalar::Float(rng.below(3) as f64 - 1.0),
        _ if dtype.is_float() => whole(dtype, rng),
        _ => sample(dtype, (0.0, 0.0), rng),
    }
}

fn scatter_lengths<B: Backend>(probe: &mut Probe<'_, B>, op: ScatterOp, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("{} lengths {dtype}", op.name()));
    for length in LENGTHS {
        // Few targets, so that many sources meet; and many, so that most stay as they were.
        for (dims, src_dims, axis) in
            [(vec![7], vec![length], 0), (vec![length], vec![20], 0), (vec![3, 40], vec![3, length.min(300)], 1)]
        {
            let target = HostTensor::dense(dtype, &dims, || exact(op, dtype, &mut rng));
            let src = HostTensor::dense(dtype, &src_dims, || exact(op, dtype, &mut rng));
            let index = indices(Arrangement::Contiguous.layout(&src_dims), dims[axis], &mut rng);
            scatter(probe, op, axis, &index, &src, &target, "contiguous")?;
        }
    }
    let target = HostTensor::dense(dtype, &[500], || exact(op, dtype, &mut rng));
    let src = HostTensor::dense(dtype, &[30_001], || exact(op, dtype, &mut rng));
    let index = indices(Arrangement::Contiguous.layout(&[30_001]), 500, &mut rng);
    scatter(probe, op, 0, &index, &src, &target, "large")
}

fn scatter_layouts<B: Backend>(probe: &mut Probe<'_, B>, op: ScatterOp, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("{} layouts {dtype}", op.name()));
    for (dims, src_dims) in [
        (&[9, 40][..], &[9, 40][..]),
        (&[11, 20], &[7, 33]),
        (&[4, 6, 5], &[3, 5, 5]),
        (&[2, 3, 1, 4, 3, 5], &[2, 2, 1, 3, 3, 4]),
    ] {
        for (turn, arrangement) in Arrangement::ALL.into_iter().enumerate() {
            let mut axis = turn % dims.len();
            if src_dims[1] > dims[1] {
                axis = 1;
            }
            let second = Arrangement::ALL[(turn * 5 + 3) % Arrangement::ALL.len()];
            let out = Arrangement::OUTPUTS[turn % Arrangement::OUTPUTS.len()];
            let target = HostTensor::new(dtype, out.layout(dims), || exact(op, dtype, &mut rng));
            let src = HostTensor::new(dtype, arrangement.layout(src_dims), || exact(op, dtype, &mut rng));
            let index = indices(second.layout(src_dims), dims[axis], &mut rng);
            scatter(probe, op, axis, &index, &src, &target, &format!("{arrangement:?}, index {second:?}, to {out:?}"))?;
            let index = slices(axis, src_dims, dims[axis], &mut rng)?;
            scatter(probe, op, axis, &index, &src, &target, &format!("{arrangement:?}, slices, to {out:?}"))?;
        }
    }
    Ok(())
}

/// Special values meet one another, one of them at a time so that no order is needed.
fn scatter_values<B: Backend>(probe: &mut Probe<'_, B>, op: ScatterOp, dtype: DType) -> Check {
    let special = specials(dtype);
    let count = special.len();
    for (turn, &value) in special.iter().enumerate() {
        let mut others = special.iter().copied();
        let target = HostTensor::dense(dtype, &[count], || others.next().expect("a value for each element"));
        let src = HostTensor::dense(dtype, &[count], || value);
        // Every target once, in some order.
        let mut number = turn;
        let index = HostTensor::dense(DType::I64, &[count], || {
            number += 1;
            Scalar::from(number % count)
        });
        let got = on_backend(probe, op, 0, &index, &src, &target)?;
        let mut wanted = target.clone();
        reference::scatter(op, 0, &index.view(), &src.view(), &mut wanted.view_mut());
        // A sum or product of two numbers is rounded once; a denormal product of f32 twice in the reference.
        let bound = match op {
            ScatterOp::Add | ScatterOp::Mul if dtype.is_float() => Bound::ulp(1, dtype),
            _ => Bound::EXACT,
        };
        probe.compare_all(&target, &got, &wanted.bytes, bound, &format!("{value} into special values"))?;
    }
    Ok(())
}

/// Sums of reals that meet in one place have the same bits in every run.
fn scatter_repeats<B: Backend>(probe: &mut Probe<'_, B>, op: ScatterOp, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("{} repeats {dtype}", op.name()));
    let target = HostTensor::dense(dtype, &[5], || Scalar::Float(0.0));
    let src = HostTensor::dense(dtype, &[20_000], || sample(dtype, (-1.0, 1.0), &mut rng));
    let index = indices(Arrangement::Contiguous.layout(&[20_000]), 5, &mut rng);
    let first = on_backend(probe, op, 0, &index, &src, &target)?;
    for run in 1..5 {
        let again = on_backend(probe, op, 0, &index, &src, &target)?;
        ensure(first == again, || format!("run {run} of one sum of 20000 numbers gives other bits than the first"))?;
    }
    Ok(())
}
