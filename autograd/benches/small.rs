//! Operations of one number or a few, where what counts is all that is not arithmetic: `cargo bench -p gradix-autograd --bench
//! small [-- FILTER …]`.

use autograd::no_grad;
use autograd::optim::{Optimizer, Sgd};
use backend_cpu::Cpu;
use divan::{Bencher, black_box};

type Tensor = autograd::Tensor<Cpu>;

/// So many calls are timed at once: reading the clock takes as long as the shortest of them.
const CALLS: u32 = 256;

fn main() {
    divan::main();
}

/// Floats without a pattern from −1 to 1.
fn tensor(seed: u64, shape: &[usize]) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::from_slice(&values, shape)
}

/// Tensors of one number.
mod scalar {
    use super::*;

    fn f(x: &Tensor) -> Tensor {
        x.powi(3) + 3 * x.powi(2) - 5 * x + 4
    }

    fn leaf() -> Tensor {
        Tensor::scalar(-2.0).requires_grad_()
    }

    #[divan::bench(sample_size = CALLS)]
    fn add(bencher: Bencher<'_, '_>) {
        let (x, y) = (Tensor::scalar(-2.0), Tensor::scalar(3.0));
        bencher.bench_local(|| black_box(&x) + black_box(&y));
    }

    #[divan::bench(sample_size = CALLS)]
    fn add_number(bencher: Bencher<'_, '_>) {
        let x = Tensor::scalar(-2.0);
        bencher.bench_local(|| black_box(&x) + 1.0);
    }

    #[divan::bench(sample_size = CALLS)]
    fn add_recorded(bencher: Bencher<'_, '_>) {
        let x = leaf();
        bencher.bench_local(|| black_box(&x) + 1.0);
    }

    #[divan::bench(sample_size = CALLS)]
    fn f_forward(bencher: Bencher<'_, '_>) {
        let x = Tensor::scalar(-2.0);
        bencher.bench_local(|| f(black_box(&x)));
    }

    #[divan::bench(sample_size = CALLS)]
    fn f_no_grad(bencher: Bencher<'_, '_>) {
        let x = leaf();
        bencher.bench_local(|| no_grad(|| f(black_box(&x))));
    }

    #[divan::bench(sample_size = CALLS)]
    fn f_recorded(bencher: Bencher<'_, '_>) {
        let x = leaf();
        bencher.bench_local(|| f(black_box(&x)));
    }

    #[divan::bench(sample_size = CALLS)]
    fn f_backward(bencher: Bencher<'_, '_>) {
        let x = leaf();
        bencher.bench_local(|| {
            x.zero_grad();
            f(black_box(&x)).backward();
        });
    }

    /// Forward, backward and the graph's end.
    #[divan::bench(args = [100_000, 1_000_000], sample_count = 10, sample_size = 1)]
    fn chain(bencher: Bencher<'_, '_>, length: usize) {
        bencher.bench_local(|| {
            let x = leaf();
            let mut y = &x * 1.0;
            for _ in 1..length {
                y += 1e-6;
            }
            y.backward();
        });
    }
}

const SIZES: [usize; 3] = [16, 1000, 65536];

#[divan::bench(args = SIZES, sample_size = CALLS)]
fn add(bencher: Bencher<'_, '_>, size: usize) {
    let (x, y) = (tensor(1, &[size]), tensor(2, &[size]));
    bencher.bench_local(|| {
        let sum = black_box(&x) + black_box(&y);
        sum.force();
        sum
    });
}

#[divan::bench(args = SIZES, sample_size = CALLS)]
fn times_number(bencher: Bencher<'_, '_>, size: usize) {
    let x = tensor(1, &[size]);
    bencher.bench_local(|| {
        let product = black_box(&x) * 2;
        product.force();
        product
    });
}

#[divan::bench(args = SIZES, sample_size = CALLS)]
fn square_root(bencher: Bencher<'_, '_>, size: usize) {
    let x = tensor(1, &[size]).abs();
    bencher.bench_local(|| {
        let root = black_box(&x).sqrt();
        root.force();
        root
    });
}

/// 32×16 and a row of 16.
#[divan::bench(sample_size = CALLS)]
fn add_row(bencher: Bencher<'_, '_>) {
    let (x, row) = (tensor(1, &[32, 16]), tensor(2, &[16]));
    bencher.bench_local(|| black_box(&x) + black_box(&row));
}

/// Of 32×16.
#[divan::bench(sample_size = CALLS)]
fn sum_of_columns(bencher: Bencher<'_, '_>) {
    let x = tensor(1, &[32, 16]);
    bencher.bench_local(|| black_box(&x).sum_dims(&[0], false));
}

/// 32×16 times 16×16.
#[divan::bench(sample_size = CALLS)]
fn matmul(bencher: Bencher<'_, '_>) {
    let (x, weight) = (tensor(1, &[32, 16]), tensor(2, &[16, 16]));
    bencher.bench_local(|| black_box(&x).matmul(black_box(&weight)));
}

/// An update of one 16×16.
#[divan::bench(sample_size = CALLS)]
fn sgd(bencher: Bencher<'_, '_>) {
    let parameter = tensor(1, &[16, 16]).requires_grad_();
    parameter.set_grad(Some(tensor(2, &[16, 16])));
    let mut optimizer = Sgd::new([&parameter], 1e-6);
    bencher.bench_local(|| optimizer.step());
}

/// A training step of an MLP 2-16-16-1 on 32 rows.
#[divan::bench(sample_size = CALLS)]
fn mlp_step(bencher: Bencher<'_, '_>) {
    let (x, target) = (tensor(1, &[32, 2]), tensor(2, &[32, 1]));
    let sizes = [(2, 16), (16, 16), (16, 1)];
    let half = |seed, shape: &[usize]| (tensor(seed, shape) * 0.5).detach().requires_grad_();
    let weights: Vec<Tensor> = (3..).zip(sizes).map(|(seed, (n, m))| half(seed, &[m, n])).collect();
    let biases: Vec<Tensor> = (6..).zip(sizes).map(|(seed, (_, m))| half(seed, &[m])).collect();
    let mut optimizer = Sgd::new(weights.iter().chain(&biases), 1e-3);
    bencher.bench_local(|| {
        let x = x.linear(&weights[0], Some(&biases[0])).tanh();
        let x = x.linear(&weights[1], Some(&biases[1])).tanh();
        let loss = x.linear(&weights[2], Some(&biases[2])).mse_loss(&target);
        optimizer.zero_grad();
        loss.backward();
        optimizer.step();
        loss.item()
    });
}
