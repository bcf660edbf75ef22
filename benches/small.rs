//! Operations of a few elements, where what counts is all that is not arithmetic: `cargo bench --bench small [-- FILTER …]`.
//!
//! Printed are the shortest and the median time of many short rounds.

mod data;

use data::tensor;
use gradix::optim::{Optimizer, Sgd};
use gradix::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// How long a case is timed.
const SECONDS: f64 = 0.4;

struct Bench {
    filters: Vec<String>,
}

impl Bench {
    fn case(&self, name: &str, mut call: impl FnMut()) {
        if !self.filters.is_empty() && !self.filters.iter().any(|filter| name.contains(filter.as_str())) {
            return;
        }
        let mut round = |count: u32| {
            let start = Instant::now();
            (0..count).for_each(|_| call());
            start.elapsed().as_secs_f64() / f64::from(count)
        };
        // Rounds of about a fifth of a millisecond: some of them run undisturbed.
        let count = (2e-4 / round(200)).clamp(1.0, 1e5) as u32;
        let (mut times, start) = (Vec::new(), Instant::now());
        while start.elapsed().as_secs_f64() < SECONDS {
            times.push(round(count));
        }
        times.sort_by(f64::total_cmp);
        println!("| {name} | {:.0} | {:.0} |", times[0] * 1e9, times[times.len() / 2] * 1e9);
    }

    /// Times what `make` computes.
    fn tensor(&self, name: &str, make: impl Fn() -> Tensor) {
        self.case(name, || {
            black_box(make().force());
        });
    }
}

fn f(x: &Tensor) -> Tensor {
    x.powi(3) + 3 * x.powi(2) - 5 * x + 4
}

fn main() {
    let bench = Bench { filters: std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect() };
    println!("| ns | shortest | median |");
    println!("|-|-|-|");
    let (x, y) = (tensor!(-2.0), tensor!(3.0));
    bench.tensor("scalar add", || black_box(&x) + black_box(&y));
    bench.tensor("scalar f", || f(black_box(&x)));
    let x = x.requires_grad_();
    bench.case("scalar f, forward + backward", || {
        x.zero_grad();
        f(black_box(&x)).backward();
    });
    for size in [16, 1000, 65536] {
        let (x, y) = (tensor(1, &[size], 1.0), tensor(2, &[size], 1.0));
        bench.tensor(&format!("add of {size}"), || black_box(&x) + black_box(&y));
    }
    let x = tensor(1, &[1000], 1.0);
    bench.tensor("1000 · 2", || black_box(&x) * 2);
    bench.tensor("square root of 1000", || black_box(&x).sqrt());
    let (x, row, weight) = (tensor(1, &[32, 16], 1.0), tensor(2, &[16], 1.0), tensor(3, &[16, 16], 1.0));
    bench.tensor("32×16 + row of 16", || black_box(&x) + black_box(&row));
    bench.tensor("sum of columns 32×16", || black_box(&x).sum_dims(&[0], false));
    bench.tensor("matmul 32×16×16", || black_box(&x).matmul(black_box(&weight)));
    let parameter = tensor(4, &[16, 16], 1.0).requires_grad_();
    parameter.set_grad(Some(tensor(5, &[16, 16], 1.0)));
    let mut optimizer = Sgd::new([&parameter], 1e-6);
    bench.case("SGD step of one 16×16", || optimizer.step());
    mlp(&bench);
}

/// A training step of an MLP 2-16-16-1 on 32 rows.
fn mlp(bench: &Bench) {
    let (x, target) = (tensor(1, &[32, 2], 1.0), tensor(2, &[32, 1], 1.0));
    let sizes = [(2, 16), (16, 16), (16, 1)];
    let weights: Vec<Tensor> =
        (3..).zip(sizes).map(|(seed, (n, m))| tensor(seed, &[m, n], 0.5).requires_grad_()).collect();
    let biases: Vec<Tensor> = (6..).zip(sizes).map(|(seed, (_, m))| tensor(seed, &[m], 0.5).requires_grad_()).collect();
    let mut optimizer = Sgd::new(weights.iter().chain(&biases), 1e-3);
    bench.case("MLP 2-16-16-1 step, batch 32", || {
        let x = x.linear(&weights[0], Some(&biases[0])).tanh();
        let x = x.linear(&weights[1], Some(&biases[1])).tanh();
        let loss = x.linear(&weights[2], Some(&biases[2])).mse_loss(&target);
        optimizer.zero_grad();
        loss.backward();
        optimizer.step();
        black_box(loss.item());
    });
}
