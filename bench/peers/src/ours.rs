//! The cases with gradix, written as its users write.

use crate::data::{integers, uniform, unit};
use crate::job::{Job, Library, job};
use gradix::ConvOptions;
use gradix::optim::{AdamW, Optimizer, Sgd};
use gradix::prelude::*;
use std::hint::black_box;

pub(crate) fn library() -> Library {
    Library { name: "gradix".into(), version: "this tree".into(), prepare: Box::new(prepare) }
}

fn tensor(seed: u64, shape: &[usize], scale: f32) -> Tensor {
    Tensor::from_slice(&uniform(seed, shape.iter().product(), scale), shape)
}

fn parameter(seed: u64, shape: &[usize], scale: f32) -> Tensor {
    tensor(seed, shape, scale).requires_grad_()
}

fn indices(seed: u64, count: usize, below: u64) -> Tensor {
    Tensor::from_slice(&integers(seed, count, below), [count])
}

fn f(x: &Tensor) -> Tensor {
    x.powi(3) + 3 * x.powi(2) - 5 * x + 4
}

/// Pointwise operations wait for more of their kind: this has them done.
fn now(x: Tensor) -> Tensor {
    x.force();
    x
}

/// A job whose result is a tensor.
fn op(mut step: impl FnMut() -> Tensor + 'static) -> Option<Box<dyn Job>> {
    job(move || now(step()), |y| y.detach().to_dtype(DType::F64).contiguous().to_vec())
}

/// A step of a training loop, which gives its loss.
fn training(step: impl FnMut() -> f64 + 'static) -> Option<Box<dyn Job>> {
    job(step, |loss| vec![loss])
}

fn prepare(case: &str) -> Option<Box<dyn Job>> {
    scalars(case)
        .or_else(|| pointwise(case))
        .or_else(|| reductions(case))
        .or_else(|| layouts(case))
        .or_else(|| products(case))
        .or_else(|| learning(case))
}

fn scalars(case: &str) -> Option<Box<dyn Job>> {
    let x = tensor!(-2.0);
    match case {
        "scalar_f" => op(move || f(black_box(&x))),
        "scalar_grad" => {
            let x = x.requires_grad_();
            op(move || {
                x.zero_grad();
                f(&x).backward();
                x.grad().unwrap()
            })
        }
        "scalar_add" => {
            let y = tensor!(3.0);
            op(move || black_box(&x) + black_box(&y))
        }
        "chain" => {
            let x = x.requires_grad_();
            op(move || {
                x.zero_grad();
                let mut y = &x * 1.0;
                for _ in 1..100_000 {
                    y = y + 1e-6;
                }
                y.backward();
                x.grad().unwrap()
            })
        }
        _ => None,
    }
}

fn pointwise(case: &str) -> Option<Box<dyn Job>> {
    let count = match case.rsplit_once('_')?.1 {
        "1k" => 1 << 10,
        "64k" => 1 << 16,
        "4m" => 1 << 22,
        "16m" => 1 << 24,
        _ => return None,
    };
    let x = tensor(1, &[count], 4.0);
    match case {
        "add_1k" | "add_64k" | "add_16m" => {
            let y = tensor(2, &[count], 4.0);
            op(move || &x + &y)
        }
        "f_16m" => op(move || f(&x)),
        "grad_16m" => {
            let x = x.requires_grad_();
            op(move || {
                x.zero_grad();
                f(&x).sum().backward();
                x.grad().unwrap()
            })
        }
        "gelu_4m" => op(move || x.gelu()),
        "sigmoid_4m" => op(move || x.sigmoid()),
        "exp_4m" => op(move || x.exp()),
        "tanh_4m" => op(move || x.tanh()),
        _ => None,
    }
}

fn reductions(case: &str) -> Option<Box<dyn Job>> {
    if case == "layer_norm" {
        let (x, weight, bias) = (tensor(1, &[8192, 1024], 4.0), tensor(2, &[1024], 1.0), tensor(3, &[1024], 1.0));
        return op(move || x.layer_norm(&[1024], Some(&weight), Some(&bias), 1e-5));
    }
    if !["sum_all", "sum_rows", "sum_columns", "argmax_rows", "softmax", "logsumexp"].contains(&case) {
        return None;
    }
    let x = Tensor::from_slice(&unit(1, 1 << 24), [4096, 4096]);
    match case {
        "sum_all" => op(move || x.sum()),
        "sum_rows" => op(move || x.sum_dims(&[1], false)),
        "sum_columns" => op(move || x.sum_dims(&[0], false)),
        "argmax_rows" => op(move || x.argmax_dim(1, false)),
        "softmax" => op(move || x.softmax(-1)),
        _ => op(move || x.logsumexp(&[-1], false)),
    }
}

fn layouts(case: &str) -> Option<Box<dyn Job>> {
    let big = || tensor(1, &[4096, 4096], 4.0);
    match case {
        "broadcast_row" => {
            let (x, row) = (big(), tensor(2, &[4096], 4.0));
            op(move || &x + &row)
        }
        "broadcast_column" => {
            let (x, column) = (big(), tensor(2, &[4096, 1], 4.0));
            op(move || &x + &column)
        }
        "transpose" => {
            let x = big();
            op(move || x.t().contiguous())
        }
        "index_select" => {
            let (table, places) = (tensor(1, &[100_000, 64], 4.0), indices(2, 100_000, 100_000));
            op(move || table.index_select(0, &places))
        }
        "cat" => {
            let parts: Vec<Tensor> = (0..16).map(|i| tensor(1 + i, &[1024, 1024], 4.0)).collect();
            op(move || Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0))
        }
        _ => None,
    }
}

fn products(case: &str) -> Option<Box<dyn Job>> {
    let pair = |a: &[usize], b: &[usize]| (tensor(1, a, 1.0), tensor(2, b, 1.0));
    let (a, b) = match case.strip_prefix("matmul_")? {
        "f64" => {
            let (a, b) = pair(&[1024, 1024], &[1024, 1024]);
            (a.to_dtype(DType::F64), b.to_dtype(DType::F64))
        }
        "abt" => {
            let (a, b) = pair(&[1024, 1024], &[1024, 1024]);
            (a, b.t())
        }
        "skinny" => pair(&[64, 4096], &[4096, 4096]),
        "batched" => pair(&[32, 128, 128], &[32, 128, 128]),
        "i64" => {
            let matrix = |seed| indices(seed, 256 * 256, 1000).reshape([256, 256]);
            (matrix(1), matrix(2))
        }
        size => {
            let n = size.parse().ok()?;
            pair(&[n, n], &[n, n])
        }
    };
    let (a, b) = (now(a), now(b));
    op(move || a.matmul(&b))
}

fn learning(case: &str) -> Option<Box<dyn Job>> {
    match case {
        "mlp" => {
            let (x, target) = (tensor(1, &[128, 784], 1.0), indices(2, 128, 10));
            let sizes = [(784, 512), (512, 512), (512, 10)];
            let weights: Vec<Tensor> = (0..).zip(sizes).map(|(i, (n, m))| parameter(3 + i, &[m, n], 0.05)).collect();
            let biases: Vec<Tensor> = (0..).zip(sizes).map(|(i, (_, m))| parameter(6 + i, &[m], 0.05)).collect();
            let mut optimizer = Sgd::new(weights.iter().chain(&biases), 0.1);
            training(move || {
                let x = x.linear(&weights[0], Some(&biases[0])).relu();
                let x = x.linear(&weights[1], Some(&biases[1])).relu();
                let loss = x.linear(&weights[2], Some(&biases[2])).cross_entropy(&target);
                optimizer.zero_grad();
                loss.backward();
                optimizer.step();
                loss.item()
            })
        }
        "small_mlp" => {
            let (x, target) = (tensor(1, &[32, 2], 1.0), tensor(2, &[32, 1], 1.0));
            let sizes = [(2, 16), (16, 16), (16, 1)];
            let weights: Vec<Tensor> = (0..).zip(sizes).map(|(i, (n, m))| parameter(3 + i, &[m, n], 0.5)).collect();
            let biases: Vec<Tensor> = (0..).zip(sizes).map(|(i, (_, m))| parameter(6 + i, &[m], 0.5)).collect();
            let mut optimizer = Sgd::new(weights.iter().chain(&biases), 0.1);
            training(move || {
                let x = x.linear(&weights[0], Some(&biases[0])).tanh();
                let x = x.linear(&weights[1], Some(&biases[1])).tanh();
                let loss = x.linear(&weights[2], Some(&biases[2])).mse_loss(&target);
                optimizer.zero_grad();
                loss.backward();
                optimizer.step();
                loss.item()
            })
        }
        "cnn" => {
            let (x, target) = (tensor(1, &[32, 1, 28, 28], 1.0), indices(2, 32, 10));
            let filters = [parameter(3, &[16, 1, 3, 3], 0.3), parameter(4, &[32, 16, 3, 3], 0.1)];
            let weight = parameter(5, &[10, 1568], 0.05);
            let mut optimizer = Sgd::new([&filters[0], &filters[1], &weight], 0.1);
            training(move || {
                let mut y = x.clone();
                for filter in &filters {
                    y = y.conv2d(filter, None, ConvOptions::new().padding(1)).relu().max_pool2d(2);
                }
                let loss = y.flatten_dims(1, 3).linear(&weight, None).cross_entropy(&target);
                optimizer.zero_grad();
                loss.backward();
                optimizer.step();
                loss.item()
            })
        }
        "attention" => attention(),
        "adamw" => {
            let weights = parameter(1, &[10_000_000], 1.0);
            weights.set_grad(Some(tensor(2, &[10_000_000], 1.0)));
            let mut optimizer = AdamW::new([&weights], 1e-3);
            op(move || {
                optimizer.step();
                weights.detach()
            })
        }
        "embedding" => {
            let (table, places) = (parameter(1, &[32_768, 256], 1.0), indices(2, 8192, 32_768));
            op(move || {
                table.zero_grad();
                places.embedding(&table).square().sum().backward();
                table.grad().unwrap()
            })
        }
        _ => None,
    }
}

fn attention() -> Option<Box<dyn Job>> {
    let x = parameter(1, &[4, 256, 256], 1.0);
    let into = parameter(2, &[768, 256], 0.1);
    let out = parameter(3, &[256, 256], 0.1);
    op(move || {
        for parameter in [&x, &into, &out] {
            parameter.zero_grad();
        }
        // [3, batch, head, place, 32]
        let qkv = x.linear(&into, None).reshape([4, 256, 3, 8, 32]).permute(&[2, 0, 3, 1, 4]);
        let y = qkv.i(0).scaled_dot_product_attention(&qkv.i(1), &qkv.i(2), None, true);
        let y = y.transpose(1, 2).reshape([4, 256, 256]).linear(&out, None);
        y.square().sum().backward();
        now(into.grad().unwrap());
        now(out.grad().unwrap());
        x.grad().unwrap()
    })
}
