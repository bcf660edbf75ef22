//! Attention by a kernel, where the device has one, and its gradients.

use super::case::{Case, Check, Probe};
use super::judge::Bound;
use super::tensor::{Arrangement, HostTensor};
use super::values::{Rng, sample};
use crate::backend::{View, ViewMut};
use crate::reference;
use crate::{AttentionSpec, Backend, DType};

/// The cases of attention. A device that has no kernel for a dtype passes them: nobody will ask it.
pub(super) fn cases<B: Backend>() -> Vec<Case<B>> {
    let mut cases = Vec::new();
    for dtype in DType::ALL.into_iter().filter(|dtype| dtype.is_float()) {
        for causal in [false, true] {
            let op = if causal { "causal_attention" } else { "attention" };
            let mut add = |aspect: &'static str, run: fn(&mut Probe<'_, B>, bool, DType) -> Check| {
                cases.push(Case::new("attention", op, dtype, aspect, move |probe: &mut Probe<'_, B>| {
                    if probe.backend.has_attention(dtype) { run(probe, causal, dtype) } else { Ok(()) }
                }));
            };
            add("sizes", sizes);
            add("layouts", layouts);
            add("values", values);
        }
    }
    cases
}

/// Shapes of queries, keys, values and the result.
fn shapes(lead: &[usize], [places, keys, width, of_value]: [usize; 4]) -> [Vec<usize>; 4] {
    [[places, width], [keys, width], [keys, of_value], [places, of_value]]
        .map(|matrix| lead.iter().copied().chain(matrix).collect())
}

/// Sizes around the edges of blocks and vectors, one head and many.
fn sizes<B: Backend>(probe: &mut Probe<'_, B>, causal: bool, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("attention sizes {dtype} {causal}"));
    for (lead, size) in [
        (&[][..], [1, 1, 1, 1]),
        (&[], [2, 3, 4, 5]),
        (&[3], [5, 2, 7, 1]),
        (&[2, 1], [16, 16, 8, 17]),
        (&[2, 3], [65, 64, 5, 8]),
        (&[], [64, 65, 16, 3]),
        (&[], [200, 130, 3, 9]),
        (&[17], [70, 129, 2, 2]),
        (&[2], [40, 700, 8, 8]),
        (&[], [1, 5000, 1, 2]),
        (&[20], [130, 130, 32, 32]),
    ] {
        let shapes = shapes(lead, size);
        let inputs =
            shapes.each_ref().map(|dims| HostTensor::dense(dtype, dims, || sample(dtype, (-2.0, 2.0), &mut rng)));
        check(probe, causal, &inputs, "contiguous")?;
    }
    Ok(())
}

fn layouts<B: Backend>(probe: &mut Probe<'_, B>, causal: bool, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("attention layouts {dtype} {causal}"));
    for (turn, size) in [[9, 17, 12, 5], [70, 33, 4, 18]].into_iter().enumerate() {
        let shapes = shapes(&[2, 3], size);
        for (number, first) in Arrangement::ALL.into_iter().enumerate() {
            let arranged = [0, 4, 7, 9].map(|further| Arrangement::ALL[(number + further * (turn + 1)) % 13]);
            let mut inputs = shapes.iter().zip(arranged).map(|(dims, arrangement)| {
                HostTensor::new(dtype, arrangement.layout(dims), || sample(dtype, (-2.0, 2.0), &mut rng))
            });
            let inputs = [(); 4].map(|()| inputs.next().expect("there are four shapes"));
            check(probe, causal, &inputs, &format!("{first:?} and others, {arranged:?}"))?;
        }
    }
    Ok(())
}

/// Scores that a plain exponential would turn into infinity, and NaN, which stays with what depends on it.
fn values<B: Backend>(probe: &mut Probe<'_, B>, causal: bool, dtype: DType) -> Check {
    let mut rng = Rng::named(&format!("attention values {dtype} {causal}"));
    let shapes = shapes(&[2], [67, 67, 8, 4]);
    let inputs =
        shapes.each_ref().map(|dims| HostTensor::dense(dtype, dims, || sample(dtype, (-40.0, 40.0), &mut rng)));
    check(probe, causal, &inputs, "large scores")?;
    // Whether a weight of 0 hides the NaN of a key that a place does not see is left open.
    for which in 0..if causal { 0 } else { 4 } {
        let mut inputs =
            shapes.each_ref().map(|dims| HostTensor::dense(dtype, dims, || sample(dtype, (-2.0, 2.0), &mut rng)));
        let at = inputs[which].bytes.len() / dtype.size() - 3;
        crate::Scalar::Float(f64::NAN).write(dtype, &mut inputs[which].bytes[at * dtype.size()..]);
        check(probe, causal, &inputs, &format!("operand {which} with NaN"))?;
    }
    Ok(())
}

/// Results and gradients on both: queries, keys, values and the result's gradient.
fn check<B: Backend>(probe: &mut Probe<'_, B>, causal: bool, inputs: &[HostTensor; 4], what: &str) -> Check {
    let dtype = inputs[0].dtype;
    let dims = inputs.each_ref().map(|input| input.shape().dims().to_vec());
    let spec = AttentionSpec { scale: 0.625, causal };
    let outs = [3, 0, 1, 2].map(|like| HostTensor::unwritten(dtype, Arrangement::Contiguous.layout(&dims[like])));
    let held =
        [probe.upload(&inputs[0])?, probe.upload(&inputs[1])?, probe.upload(&inputs[2])?, probe.upload(&inputs[3])?];
    let view = |number: usize| View { buffer: &held[number], layout: &inputs[number].layout, dtype };
    let (expected, scales) = (expected(&spec, inputs, &outs), scales(&spec, inputs));
    let result = probe.written(&outs[0], |out| probe.backend.attention(&spec, [view(0), view(1), view(2)], out))?;
    let mut buffers = [probe.upload(&outs[1])?, probe.upload(&outs[2])?, probe.upload(&outs[3])?];
    if probe.leaves_out() {
        return Ok(());
    }
    let mut to = buffers.iter_mut().zip(&outs[1..]);
    let views = [(); 3].map(|()| {
        let (buffer, out) = to.next().expect("there are three gradients");
        ViewMut { buffer, layout: &out.layout, dtype }
    });
    probe.backend.attention_gradients(&spec, [0, 1, 2, 3].map(view), views)?;
    let mut got = vec![result];
    for buffer in &buffers {
        got.push(probe.download(buffer)?);
    }
    for (number, name) in ["result", "gradient of queries", "gradient of keys", "gradient of values"].iter().enumerate()
    {
        let bound = Bound::at_scale(64.0, scales[number], dtype);
        let about = format!("{name}, queries {:?}, keys {:?}, {what}", dims[0], dims[1]);
        probe.compare_all(&outs[number], &got[number], &expected[number], bound, &about)?;
    }
    Ok(())
}

/// What the reference makes of these: the result, and the gradients of queries, keys and values.
fn expected(spec: &AttentionSpec, inputs: &[HostTensor; 4], outs: &[HostTensor; 4]) -> [Vec<u8>; 4] {
    let [query, key, value, gradient] = &inputs.each_ref().map(HostTensor::view);
    let mut made = outs.clone();
    let [out, of_query, of_key, of_value] = &mut made.each_mut().map(HostTensor::view_mut);
    reference::attention(spec, [query, key, value], out);
    reference::attention_gradients(spec, [query, key, value, gradient], [of_query, of_key, of_value]);
    made.map(|tensor| tensor.bytes)
}

/// The size of what is added up for each of these, which is what their errors are measured by.
fn scales(spec: &AttentionSpec, inputs: &[HostTensor; 4]) -> [f64; 4] {
    let [q, k, v, g] = inputs.each_ref().map(|input| input.values().iter().map(|x| x.as_f64()).collect::<Vec<_>>());
    let size = |input: usize, from_last: usize| {
        let dims = inputs[input].shape().dims();
        dims[dims.len() - from_last]
    };
    let [places, keys, width, of_value] = [size(0, 2), size(1, 2), size(0, 1), size(2, 1)];
    let mut scales = [1.0_f64; 4];
    for head in 0..q.len() / (places * width) {
        let row = |x: &[f64], rows: usize, row: usize, width: usize| x[(head * rows + row) * width..][..width].to_vec();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        // Errors of scores make relative errors of weights.
        let mut largest_score = 1.0_f64;
        let mut sizes = vec![[0.0_f64; 2]; keys];
        for place in 0..places {
            let seen = if spec.causal { keys.min(place + 1) } else { keys };
            let (query, of_result) = (row(&q, places, place, width), row(&g, places, place, of_value));
            let scores: Vec<f64> = (0..seen).map(|key| spec.scale * dot(&query, &row(&k, keys, key, width))).collect();
            let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            largest_score = scores.iter().fold(largest_score, |largest, x| largest.max(x.abs()));
            let total: f64 = scores.iter().map(|score| (score - top).exp()).sum();
            let of_weights = (0..seen).map(|key| dot(&of_result, &row(&v, keys, key, of_value)));
            let magnitude = of_weights.fold(0.0, |largest: f64, x| largest.max(x.abs()));
            for (score, size) in scores.iter().zip(&mut sizes) {
                let weight = (score - top).exp() / total;
                size[0] += weight * magnitude * spec.scale;
                size[1] += weight;
            }
            scales[1] = scales[1].max(magnitude * spec.scale * largest(&k) * largest_score);
        }
        let most = |which: usize| sizes.iter().fold(0.0, |most: f64, size| most.max(size[which]));
        scales[0] = scales[0].max(largest(&v) * largest_score);
        scales[2] = scales[2].max(2.0 * most(0) * largest(&q) * largest_score);
        scales[3] = scales[3].max(most(1) * largest(&g) * largest_score);
    }
    scales
}

/// The largest magnitude that is a number.
fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, x| largest.max(x.abs()))
}
