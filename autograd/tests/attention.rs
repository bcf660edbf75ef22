//! Attention by a kernel against the same with a mask, which computes all scores as a tensor.

use autograd::{GradOptions, grad, jvp, manual_seed};
use backend_cpu::Cpu;
use tensor_core::DType;

type Tensor = autograd::Tensor<Cpu>;

fn close(a: &Tensor, b: &Tensor, what: &str) {
    assert_eq!(a.shape(), b.shape(), "{what}");
    let largest = b.abs().max().item().max(1.0);
    let apart = (a - b).abs().max().item();
    assert!(apart <= 1e-11 * largest, "{what}: {apart} apart");
}

/// Operands of these many places and keys, two batches and three heads.
fn operands(places: usize, keys: usize) -> [Tensor; 3] {
    manual_seed(7);
    [places, keys, keys].map(|length| Tensor::randn([2, 3, length, 5]).to(DType::F64).requires_grad_())
}

fn by_mask(q: &Tensor, k: &Tensor, v: &Tensor, causal: bool) -> Tensor {
    let all = Tensor::ones([q.size(-2), k.size(-2)]);
    let mask = if causal { all.tril(0) } else { all }.to(DType::Bool);
    q.scaled_dot_product_attention(k, v, Some(&mask), false)
}

#[test]
fn values_and_gradients() {
    for (places, keys) in [(1, 1), (3, 5), (128, 128), (150, 150), (200, 100), (129, 300), (1100, 1100)] {
        for causal in [true, false] {
            let [q, k, v] = &operands(places, keys);
            let weights = Tensor::randn([2, 3, places, 5]).to(DType::F64);
            let [kernel, mask] = [q.scaled_dot_product_attention(k, v, None, causal), by_mask(q, k, v, causal)];
            let what = format!("{places} and {keys}, causal {causal}");
            close(&kernel, &mask, &what);
            let of = |y: Tensor| grad(&[&(y * &weights).sum()], &[q, k, v], &[], GradOptions::default());
            for (number, (a, b)) in of(kernel).iter().zip(&of(mask)).enumerate() {
                close(a.as_ref().unwrap(), b.as_ref().unwrap(), &format!("gradient {number}, {what}"));
            }
        }
    }
}

/// Storage floats are computed in f32: nearer to the exact result than where each step rounds.
#[test]
fn other_dtypes() {
    for (dtype, allowed) in [(DType::F32, 2e-6), (DType::F16, 2e-3), (DType::BF16, 1.6e-2)] {
        let exact = operands(140, 140).map(|x| x.detach().to_dtype(dtype).to_dtype(DType::F64).requires_grad_());
        let short = exact.clone().map(|x| x.detach().to_dtype(dtype).requires_grad_());
        let of = |[q, k, v]: &[Tensor; 3]| {
            let y = q.scaled_dot_product_attention(k, v, None, true);
            assert_eq!(y.dtype(), q.dtype());
            let gradients = grad(&[&y.sum()], &[q, k, v], &[], GradOptions::default());
            std::iter::once(y).chain(gradients.into_iter().flatten()).collect::<Vec<_>>()
        };
        for (a, b) in of(&short).iter().zip(of(&exact)) {
            assert_eq!(a.dtype(), dtype);
            let apart = (a.to_dtype(DType::F64) - &b).abs().max().item();
            assert!(apart <= allowed * b.abs().max().item().max(1.0), "{dtype}: {apart} apart");
        }
    }
}

#[test]
fn only_what_is_wanted() {
    let [q, k, v] = operands(140, 140).map(|x| x.detach());
    for number in 0..3 {
        let leaf = [&q, &k, &v][number].clone().requires_grad_();
        let mut list = [q.clone(), k.clone(), v.clone()];
        list[number] = leaf.clone();
        let of = |y: Tensor| grad(&[&y.square().sum()], &[&leaf], &[], GradOptions::default()).remove(0).unwrap();
        let [q, k, v] = &list;
        close(
            &of(q.scaled_dot_product_attention(k, v, None, true)),
            &of(by_mask(q, k, v, true)),
            &format!("only {number}"),
        );
    }
}

#[test]
fn gradients_of_gradients() {
    let [q, k, v] = &operands(130, 130);
    let second = |y: Tensor| {
        let first = grad(&[&y.square().sum()], &[q, k, v], &[], GradOptions::default().create_graph());
        let total = first.iter().map(|g| g.as_ref().unwrap().square().sum()).reduce(|a, b| a + b).unwrap();
        grad(&[&total], &[q, k, v], &[], GradOptions::default())
    };
    let [kernel, mask] = [second(q.scaled_dot_product_attention(k, v, None, true)), second(by_mask(q, k, v, true))];
    for (number, (a, b)) in kernel.iter().zip(&mask).enumerate() {
        close(a.as_ref().unwrap(), b.as_ref().unwrap(), &format!("second gradient {number}"));
    }
}

#[test]
fn tangents() {
    let [q, k, v] = operands(128, 140).map(|x| x.detach());
    let t = Tensor::randn([2, 3, 128, 5]).to(DType::F64);
    let kernel = |q: &Tensor| q.scaled_dot_product_attention(&k, &v, None, true);
    let ((y, tangent), (_, expected)) = (jvp(kernel, &q, &t), jvp(|q: &Tensor| by_mask(q, &k, &v, true), &q, &t));
    close(&y, &by_mask(&q, &k, &v, true), "values");
    close(&tangent, &expected, "tangents");
}
