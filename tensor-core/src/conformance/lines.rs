//! Sort and softmax: what works on whole lines of a tensor.

use super::case::{Case, Check, Probe, ensure};
use super::judge::Bound;
use super::tensor::{Arrangement, HostTensor, LENGTHS, SHAPES};
use super::values::{Rng, sample, specials};
use crate::backend::{View, ViewMut};
use crate::reference::{self, HostView, HostViewMut};
use crate::{Backend, DType, Result, Scalar};

/// The cases of sort and softmax.
pub(super) fn cases<B: Backend>() -> Vec<Case<B>> {
    let mut cases = Vec::new();
    for dtype in DType::ALL {
        let mut add = |aspect: &'static str, run: fn(&mut Probe<'_, B>, DType) -> Check| {
            let case = Case::new("sort", "sort", dtype, aspect, move |probe| run(probe, dtype));
            cases.push(case.needing([DType::I64]));
        };
        add("lengths", sort_lengths);
        add("layouts", sort_layouts);
        add("stable", sort_stable);
        add("values", sort_values);
        let mut add = |aspect: &'static str, run: fn(&mut Probe<'_, B>, DType) -> Check| {
            let case = Case::new("sort", "topk", dtype, aspect, move |probe| run(probe, dtype));
            cases.push(case.needing([DType::I64]));
        };
        add("lengths", topk_lengths);
        add("layouts", topk_layouts);
        add("ties", topk_ties);
        add("values", topk_values);
    }
    for (op, log) in [("softmax", false), ("log_softmax", true)] {
        for dtype in DType::ALL.into_iter().filter(|dtype| dtype.is_float()) {
            let mut add = |aspect: &'static str, run: fn(&mut Probe<'_, B>, bool, DType) -> Check| {
                cases.push(Case::new("softmax", op, dtype, aspect, move |probe| run(probe, log, dtype)));
            };
            add("lengths", softmax_lengths);
            add("layouts", softmax_layouts);
            add("values", softmax_values);
        }
    }
    cases
}

/// Sorts on both, either way. Values must be the input's own, bit for bit but for which NaN, in the places that the indices
/// name.
fn check_sort<B: Backend>(probe: &mut Probe<'_, B>, axis: usize, input: &HostTensor, what: &str) -> Check {
    for descending in [false, true] {
        let what = format!("axis {axis} of {}, {}, {what}", input.shape(), if descending { "down" } else { "up" });
        check_picked(
            probe,
            input,
            input.shape().dims(),
            &what,
            |backend, input, values, indices| backend.sort(axis, descending, input, values, indices),
            |input, values, indices| reference::sort(axis, descending, input, values, indices),
        )?;
    }
    Ok(())
}

/// Runs on both what picks values of a tensor and says where each came from, into tensors of these sizes.
fn check_picked<B: Backend>(
    probe: &mut Probe<'_, B>,
    input: &HostTensor,
    dims: &[usize],
    what: &str,
    run: impl FnOnce(&B, View<'_, B>, ViewMut<'_, B>, ViewMut<'_, B>) -> Result<()>,
    refer: impl FnOnce(&HostView<'_>, &mut HostViewMut<'_>, &mut HostViewMut<'_>),
) -> Check {
    let values = HostTensor::unwritten(input.dtype, Arrangement::Contiguous.layout(dims));
    let indices = HostTensor::unwritten(DType::I64, Arrangement::Contiguous.layout(dims));
    let held = probe.upload(input)?;
    let (mut got_values, mut got_indices) = (probe.upload(&values)?, probe.upload(&indices)?);
    if probe.leaves_out() {
        return Ok(());
    }
    run(
        probe.backend,
        View { buffer: &held, layout: &input.layout, dtype: input.dtype },
        ViewMut { buffer: &mut got_values, layout: &values.layout, dtype: input.dtype },
        ViewMut { buffer: &mut got_indices, layout: &indices.layout, dtype: DType::I64 },
    )?;
    let (mut wanted, mut wanted_indices) = (values.clone(), indices.clone());
    refer(&input.view(), &mut wanted.view_mut(), &mut wanted_indices.view_mut());
    let (got_values, got_indices) = (probe.download(&got_values)?, probe.download(&got_indices)?);
    probe.compare_all(&values, &got_values, &wanted.bytes, Bound::SAME, what)?;
    probe.compare_all(&indices, &got_indices, &wanted_indices.bytes, Bound::EXACT, &format!("indices, {what}"))
}

fn sort_lengths<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("sort lengths {dtype}"));
    for length in LENGTHS {
        let input = HostTensor::dense(dtype, &[length], || sample(dtype, (-1e3, 1e3), &mut rng));
        check_sort(probe, 0, &input, "random")?;
    }
    // Enough for several threads, and lines beside each other.
    let input = HostTensor::dense(dtype, &[20_011], || sample(dtype, (-1e3, 1e3), &mut rng));
    check_sort(probe, 0, &input, "large")?;
    let input = HostTensor::dense(dtype, &[65, 130], || sample(dtype, (-1e3, 1e3), &mut rng));
    check_sort(probe, 0, &input, "columns")?;
    check_sort(probe, 1, &input, "rows")
}

fn sort_layouts<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("sort layouts {dtype}"));
    for (which, dims) in SHAPES.into_iter().enumerate() {
        for (turn, arrangement) in Arrangement::ALL.into_iter().enumerate() {
            let input = HostTensor::new(dtype, arrangement.layout(dims), || sample(dtype, (-1e3, 1e3), &mut rng));
            check_sort(probe, (turn + which) % dims.len(), &input, &format!("{arrangement:?}"))?;
        }
    }
    Ok(())
}

/// Many equal values: their indices stay in order, down as well as up.
fn sort_stable<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("sort stable {dtype}"));
    for length in [33, 257, 1025, 4097] {
        let input = HostTensor::dense(dtype, &[length], || Scalar::Int(rng.below(3) as i64).cast(dtype));
        check_sort(probe, 0, &input, "three different values")?;
        let input = HostTensor::dense(dtype, &[length], || Scalar::Int(1).cast(dtype));
        check_sort(probe, 0, &input, "equal values")?;
        for down in [false, true] {
            let mut number = 0;
            let input = HostTensor::dense(dtype, &[length], || {
                number += 1;
                let rank = if down { length - number } else { number };
                // Within every dtype's range, and never out of order.
                Scalar::from(rank * 100 / length).cast(dtype)
            });
            check_sort(probe, 0, &input, "sorted before")?;
        }
    }
    Ok(())
}

/// NaN above everything, infinities, both zeros, the ends of the integers.
fn sort_values<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("sort values {dtype}"));
    let special = specials(dtype);
    for length in [2, 16, 100, 600] {
        let input = HostTensor::dense(dtype, &[length], || rng.pick(&special));
        check_sort(probe, 0, &input, "special values")?;
    }
    Ok(())
}

/// The first few of a line on both, the largest and the smallest, as for [`check_sort`].
fn check_topk<B: Backend>(
    probe: &mut Probe<'_, B>,
    axis: usize,
    count: usize,
    input: &HostTensor,
    what: &str,
) -> Check {
    let mut dims = input.shape().dims().to_vec();
    dims[axis] = count;
    for largest in [false, true] {
        let which = if largest { "largest" } else { "smallest" };
        let what = format!("{count} {which} along axis {axis} of {}, {what}", input.shape());
        check_picked(
            probe,
            input,
            &dims,
            &what,
            |backend, input, values, indices| backend.topk(axis, largest, input, values, indices),
            |input, values, indices| reference::topk(axis, largest, input, values, indices),
        )?;
    }
    Ok(())
}

fn topk_lengths<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("topk lengths {dtype}"));
    for length in LENGTHS {
        let input = HostTensor::dense(dtype, &[length], || sample(dtype, (-1e3, 1e3), &mut rng));
        for count in [1, 2, length / 8, length / 2, length] {
            if (1..=length.min(100)).contains(&count) {
                check_topk(probe, 0, count, &input, "random")?;
            }
        }
    }
    // Enough for several threads, and lines beside each other.
    let input = HostTensor::dense(dtype, &[150_011], || sample(dtype, (-1e3, 1e3), &mut rng));
    check_topk(probe, 0, 5, &input, "large")?;
    let input = HostTensor::dense(dtype, &[65, 530], || sample(dtype, (-1e3, 1e3), &mut rng));
    check_topk(probe, 0, 3, &input, "columns")?;
    check_topk(probe, 1, 10, &input, "rows")
}

fn topk_layouts<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("topk layouts {dtype}"));
    for (which, dims) in SHAPES.into_iter().enumerate() {
        for (turn, arrangement) in Arrangement::ALL.into_iter().enumerate() {
            let input = HostTensor::new(dtype, arrangement.layout(dims), || sample(dtype, (-1e3, 1e3), &mut rng));
            let axis = (turn + which) % dims.len();
            check_topk(probe, axis, dims[axis].div_ceil(5), &input, &format!("{arrangement:?}"))?;
        }
    }
    Ok(())
}

/// Of equal values the first ones, in their order, also where every element is one of the best so far.
fn topk_ties<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("topk ties {dtype}"));
    for length in [33, 257, 1025] {
        let input = HostTensor::dense(dtype, &[length], || Scalar::Int(rng.below(3) as i64).cast(dtype));
        check_topk(probe, 0, 7, &input, "three different values")?;
        let input = HostTensor::dense(dtype, &[length], || Scalar::Int(1).cast(dtype));
        check_topk(probe, 0, 7, &input, "equal values")?;
        let mut number = 0;
        let input = HostTensor::dense(dtype, &[length], || {
            number += 1;
            // Within every dtype's range.
            Scalar::from(number * 100 / length).cast(dtype)
        });
        check_topk(probe, 0, 7, &input, "sorted before")?;
    }
    Ok(())
}

/// NaN above everything, infinities, both zeros, the ends of the integers.
fn topk_values<B: Backend>(probe: &mut Probe<'_, B>, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("topk values {dtype}"));
    let special = specials(dtype);
    for (length, count) in [(2, 1), (100, 3), (600, 40)] {
        let input = HostTensor::dense(dtype, &[length], || rng.pick(&special));
        check_topk(probe, 0, count, &input, "special values")?;
    }
    Ok(())
}

/// Softmax on both. Each result has the errors of an exponential, a sum and a division; a logarithm of one is a difference
/// of numbers that may be larger than it, and is judged at their scale.
fn check_softmax<B: Backend>(
    probe: &mut Probe<'_, B>,
    log: bool,
    axis: usize,
    input: &HostTensor,
    what: &str,
) -> Check {
    let dtype = input.dtype;
    let dims = input.shape().dims();
    let out = HostTensor::unwritten(dtype, Arrangement::Contiguous.layout(dims));
    let held = probe.upload(input)?;
    let got = probe.written(&out, |out| {
        probe.backend.softmax(axis, log, View { buffer: &held, layout: &input.layout, dtype }, out)
    })?;
    let mut wanted = out.clone();
    reference::softmax(axis, log, &input.view(), &mut wanted.view_mut());
    let results = wanted.values();
    let largest_log = (dims[axis] as f64).ln();
    // x − m is rounded once, by half a unit of its own size, which is what the exponential's relative error comes from.
    let bound = |number: usize| {
        let value = results[number].as_f64();
        if log {
            return Bound::at_scale(16.0, value.abs().max(largest_log), dtype);
        }
        let exponent = if value > 0.0 { -value.ln() } else { 0.0 };
        Bound::at_scale(16.0 + exponent, value, dtype)
    };
    probe.compare(&out, &got, &wanted.bytes, &bound, &|_| format!(" (axis {axis} of {}, {what})", input.shape()))
}

fn softmax_lengths<B: Backend>(probe: &mut Probe<'_, B>, log: bool, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("softmax lengths {dtype} {log}"));
    for length in LENGTHS {
        let input = HostTensor::dense(dtype, &[length], || sample(dtype, (-8.0, 8.0), &mut rng));
        check_softmax(probe, log, 0, &input, "contiguous")?;
        let length = length.min(300);
        for (dims, axis) in [([3, length], 1), ([length, 3], 0), ([length, 3], 1), ([3, length], 0)] {
            let input = HostTensor::dense(dtype, &dims, || sample(dtype, (-8.0, 8.0), &mut rng));
            check_softmax(probe, log, axis, &input, "contiguous")?;
        }
    }
    let input = HostTensor::dense(dtype, &[300, 200], || sample(dtype, (-8.0, 8.0), &mut rng));
    check_softmax(probe, log, 1, &input, "large")
}

fn softmax_layouts<B: Backend>(probe: &mut Probe<'_, B>, log: bool, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("softmax layouts {dtype} {log}"));
    for (which, dims) in SHAPES.into_iter().enumerate() {
        for (turn, arrangement) in Arrangement::ALL.into_iter().enumerate() {
            let input = HostTensor::new(dtype, arrangement.layout(dims), || sample(dtype, (-8.0, 8.0), &mut rng));
            check_softmax(probe, log, (turn + which) % dims.len(), &input, &format!("{arrangement:?}"))?;
        }
    }
    Ok(())
}

/// Large numbers that a plain exponential would turn into infinity, infinities, NaN, and lines that sum up to one.
fn softmax_values<B: Backend>(probe: &mut Probe<'_, B>, log: bool, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("softmax values {dtype} {log}"));
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    for line in [
        [1000.0, 1001.0, 999.0],
        [-1000.0, -1001.0, -999.0],
        [0.0, 0.0, 0.0],
        [0.0, -inf, 1.0],
        [-inf, -inf, -inf],
        [inf, 0.0, 1.0],
        [inf, inf, 0.0],
        [nan, 0.0, 1.0],
        [0.0, 1.0, nan],
        [60000.0, -60000.0, 0.0],
        [-0.0, 0.0, 1e-30],
    ] {
        for repeats in [1, 40] {
            let mut values = line.into_iter().cycle();
            let input = HostTensor::dense(dtype, &[3 * repeats], || {
                Scalar::Float(values.next().expect("it never ends")).cast(dtype)
            });
            check_softmax(probe, log, 0, &input, &format!("{line:?}, {repeats} times"))?;
        }
    }
    let special = specials(dtype);
    let input = HostTensor::dense(dtype, &[60, 5], || rng.pick(&special));
    check_softmax(probe, log, 1, &input, "special values")?;
    if log {
        return Ok(());
    }
    let input = HostTensor::dense(dtype, &[1000], || sample(dtype, (-4.0, 4.0), &mut rng));
    let out = HostTensor::unwritten(dtype, Arrangement::Contiguous.layout(&[1000]));
    let held = probe.upload(&input)?;
    let bytes = probe.written(&out, |out| {
        probe.backend.softmax(0, false, View { buffer: &held, layout: &input.layout, dtype }, out)
    })?;
    if probe.left_out() {
        return Ok(());
    }
    let total: f64 = bytes.chunks_exact(dtype.size()).map(|element| Scalar::read(dtype, element).as_f64()).sum();
    let allowed = 16.0 * super::values::FloatFormat::of(dtype).epsilon();
    ensure((total - 1.0).abs() <= allowed, || format!("a line of 1000 sums up to {total}, expected 1 within {allowed}"))
}
