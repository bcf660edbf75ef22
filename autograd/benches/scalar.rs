//! What an operation on one number costs: `cargo bench -p gradix-autograd --bench scalar`.

use autograd::no_grad;
use backend_cpu::Cpu;
use std::hint::black_box;
use std::time::{Duration, Instant};

type Tensor = autograd::Tensor<Cpu>;

fn f(x: &Tensor) -> Tensor {
    x.powi(3) + 3 * x.powi(2) - 5 * x + 4
}

/// The fastest of several rounds, for each of `count` runs.
fn best(count: u32, mut run: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..15 {
        let start = Instant::now();
        for _ in 0..count {
            run();
        }
        best = best.min(start.elapsed() / count);
    }
    best
}

fn chain(length: usize) -> Duration {
    let x = Tensor::scalar(1.0).requires_grad_();
    let start = Instant::now();
    let mut y = &x * 1.0;
    for _ in 1..length {
        y += 1e-6;
    }
    y.backward();
    drop(y);
    start.elapsed()
}

fn main() {
    let x = Tensor::scalar(-2.0);
    let leaf = Tensor::scalar(-2.0).requires_grad_();
    let show = |name: &str, time: Duration| println!("{name:<44} {:>10.1} ns", time.as_secs_f64() * 1e9);
    show("x + 1", best(20_000, || drop(black_box(black_box(&x) + 1.0))));
    show("x + x", best(20_000, || drop(black_box(black_box(&x) + black_box(&x)))));
    show("x + 1, recorded", best(20_000, || drop(black_box(black_box(&leaf) + 1.0))));
    show("f(x)", best(10_000, || drop(black_box(f(black_box(&x))))));
    show("f(x) within no_grad", best(10_000, || drop(black_box(no_grad(|| f(black_box(&leaf)))))));
    show("f(x), recorded", best(10_000, || drop(black_box(f(black_box(&leaf))))));
    show(
        "f(x), recorded, and backward",
        best(5_000, || {
            f(black_box(&leaf)).backward();
            leaf.zero_grad();
        }),
    );
    let chained = (0..5).map(|_| chain(100_000)).min().unwrap_or_default();
    println!("{:<44} {:>10.2} ms", "100,000 operations, forward and backward", chained.as_secs_f64() * 1e3);
}
