//! Attention by the reference interpreter against products and a softmax, on a device without a kernel of its own.

use tensor_core::reference::Reference;
use tensor_core::{Array, AttentionSpec, fallback};

fn numbers(seed: u32, dims: [usize; 3]) -> Array<Reference> {
    let mut state = seed;
    let values: Vec<f64> = (0..dims.iter().product())
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state) / f64::from(u32::MAX) * 4.0 - 2.0
        })
        .collect();
    Array::from_slice(&Reference, &values, dims).unwrap()
}

#[test]
fn attention_is_a_softmax_between_two_products() {
    let [query, key, value] = [numbers(1, [2, 5, 3]), numbers(2, [2, 7, 3]), numbers(3, [2, 7, 4])];
    let scores = query.matmul(&key.permute(&[0, 2, 1]).unwrap()).unwrap().mul(0.75).unwrap();
    let wanted = scores.softmax(-1, false).unwrap().matmul(&value).unwrap().to_vec::<f64>().unwrap();
    let before = fallback::fallback_counts().get("attention").copied().unwrap_or(0);
    let got = query.attention(&key, &value, &AttentionSpec { scale: 0.75, causal: false }).unwrap();
    assert!(fallback::fallback_counts()["attention"] > before, "it is counted");
    assert_eq!(got.dims(), [2, 5, 4]);
    for (got, wanted) in got.to_vec::<f64>().unwrap().iter().zip(wanted) {
        assert!((got - wanted).abs() < 1e-14, "{got} and {wanted}");
    }
}

/// Finite differences of the sum of all results, weighted by the gradient that comes to them.
#[test]
fn gradients_of_attention_are_slopes() {
    for causal in [false, true] {
        let spec = AttentionSpec { scale: 0.5, causal };
        let inputs = [numbers(4, [2, 4, 3]), numbers(5, [2, 6, 3]), numbers(6, [2, 6, 2])];
        let gradient = numbers(7, [2, 4, 2]);
        let total = |[query, key, value]: &[Array<Reference>; 3]| {
            let result = query.attention(key, value, &spec).unwrap();
            result
                .to_vec::<f64>()
                .unwrap()
                .iter()
                .zip(gradient.to_vec::<f64>().unwrap())
                .map(|(a, b)| a * b)
                .sum::<f64>()
        };
        let [query, key, value] = &inputs;
        let gradients = query.attention_gradients(key, value, &gradient, &spec).unwrap();
        for (which, got) in gradients.iter().enumerate() {
            let (values, dims) = (inputs[which].to_vec::<f64>().unwrap(), inputs[which].dims().to_vec());
            for (at, &got) in got.to_vec::<f64>().unwrap().iter().enumerate() {
                let moved = |step: f64| {
                    let mut values = values.clone();
                    values[at] += step;
                    let mut inputs = inputs.clone();
                    inputs[which] = Array::from_slice(&Reference, &values, &dims[..]).unwrap();
                    total(&inputs)
                };
                let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((got - slope).abs() < 1e-8, "operand {which}, element {at}: {got} and {slope}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let [query, key, value] = [numbers(1, [2, 5, 3]), numbers(2, [2, 7, 4]), numbers(3, [2, 7, 4])];
    let spec = AttentionSpec { scale: 1.0, causal: true };
    let error = query.attention(&key, &value, &spec).unwrap_err().to_string();
    assert!(error.starts_with("attention: expected queries […, L, d]"), "{error}");
    let ints = query.cast(tensor_core::DType::I64).unwrap();
    let error = ints.attention(&ints, &ints, &spec).unwrap_err().to_string();
    assert!(error.starts_with("attention: expected three tensors of one float dtype"), "{error}");
}
