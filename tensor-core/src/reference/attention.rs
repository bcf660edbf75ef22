//! Attention and its gradients, by their definitions.

use super::{HostView, HostViewMut, positions};
use crate::{AttentionSpec, Scalar};

/// See [`Backend::attention`](crate::Backend::attention).
pub fn attention(spec: &AttentionSpec, inputs: [&HostView<'_>; 3], out: &mut HostViewMut<'_>) {
    for head in heads(out.layout.dims()) {
        let [query, key, value] = inputs.map(|input| Matrix::read(input, &head));
        let mut result = Matrix::zeros(query.rows(), value.columns);
        for place in 0..query.rows() {
            for (number, weight) in weights(spec, &query, &key, place).into_iter().enumerate() {
                result.add(place, weight, value.row(number));
            }
        }
        result.write(out, &head);
    }
}

/// See [`Backend::attention_gradients`](crate::Backend::attention_gradients).
pub fn attention_gradients(
    spec: &AttentionSpec,
    inputs: [&HostView<'_>; 4],
    [to_query, to_key, to_value]: [&mut HostViewMut<'_>; 3],
) {
    for head in heads(to_query.layout.dims()) {
        let [query, key, value, gradient] = inputs.map(|input| Matrix::read(input, &head));
        let [mut of_query, mut of_key, mut of_value] =
            [&query, &key, &value].map(|x| Matrix::zeros(x.rows(), x.columns));
        for place in 0..query.rows() {
            let weights = weights(spec, &query, &key, place);
            let of_weights: Vec<f64> =
                (0..weights.len()).map(|number| dot(gradient.row(place), value.row(number))).collect();
            let mean = dot(&weights, &of_weights);
            for (number, (weight, of_weight)) in weights.into_iter().zip(of_weights).enumerate() {
                let of_score = weight * (of_weight - mean) * spec.scale;
                of_query.add(place, of_score, key.row(number));
                of_key.add(number, of_score, query.row(place));
                of_value.add(number, weight, gradient.row(place));
            }
        }
        of_query.write(to_query, &head);
        of_key.write(to_key, &head);
        of_value.write(to_value, &head);
    }
}

/// The weights of the keys that a place sees.
fn weights(spec: &AttentionSpec, query: &Matrix, key: &Matrix, place: usize) -> Vec<f64> {
    let seen = if spec.causal { key.rows().min(place + 1) } else { key.rows() };
    let scores: Vec<f64> = (0..seen).map(|number| spec.scale * dot(query.row(place), key.row(number))).collect();
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
    let total: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|x| x / total).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The positions along the axes before a tensor's matrices.
fn heads(dims: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    positions(&dims[..dims.len() - 2])
}

/// A head's matrix.
struct Matrix {
    elements: Vec<f64>,
    columns: usize,
}

impl Matrix {
    fn zeros(rows: usize, columns: usize) -> Self {
        Self { elements: vec![0.0; rows * columns], columns }
    }

    fn read(view: &HostView<'_>, head: &[usize]) -> Self {
        let matrix = &view.layout.dims()[head.len()..];
        let elements = positions(matrix).map(|at| view.get(&[head, &at].concat()).as_f64()).collect();
        Self { elements, columns: matrix[1] }
    }

    fn write(self, out: &mut HostViewMut<'_>, head: &[usize]) {
        for (at, value) in positions(&out.layout.dims()[head.len()..]).zip(self.elements) {
            out.set(&[head, &at].concat(), Scalar::Float(value));
        }
    }

    fn rows(&self) -> usize {
        self.elements.len() / self.columns
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.elements[row * self.columns..][..self.columns]
    }

    /// Adds a multiple of a row to one of these.
    fn add(&mut self, row: usize, factor: f64, other: &[f64]) {
        let sums = &mut self.elements[row * self.columns..][..self.columns];
        sums.iter_mut().zip(other).for_each(|(sum, x)| *sum += factor * x);
    }
}
