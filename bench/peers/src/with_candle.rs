//! The cases with candle: its fused operations where it has them, tensors on its CPU device.

use crate::data::{integers, uniform, unit};
use crate::job::{Job, Library, job};
use candle_core::{D, DType, Device, IndexOp, Result, Tensor, Var};
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW, SGD};
use candle_nn::{loss, ops};
use std::hint::black_box;

const CPU: Device = Device::Cpu;

pub(crate) fn library() -> Library {
    Library { name: "candle".into(), version: "candle 0.11.1".into(), prepare: Box::new(prepare) }
}

fn tensor(seed: u64, shape: &[usize], scale: f32) -> Tensor {
    Tensor::from_vec(uniform(seed, shape.iter().product(), scale), shape, &CPU).expect("fits")
}

fn parameter(seed: u64, shape: &[usize], scale: f32) -> Var {
    Var::from_tensor(&tensor(seed, shape, scale)).expect("a parameter")
}

fn indices(seed: u64, count: usize, below: u64) -> Tensor {
    let places: Vec<u32> = integers(seed, count, below).into_iter().map(|i| i as u32).collect();
    Tensor::from_vec(places, count, &CPU).expect("fits")
}

/// With squares in place of `powf`, which is slower.
fn f(x: &Tensor) -> Result<Tensor> {
    let square = x.sqr()?;
    ((((&square * x)? + (square * 3.0)?)? - (x * 5.0)?)? + 4.0)?.contiguous()
}

/// A job whose result is a tensor.
fn op(mut step: impl FnMut() -> Result<Tensor> + 'static) -> Option<Box<dyn Job>> {
    job(
        move || step().expect("computes"),
        |y| y.to_dtype(DType::F64).and_then(|y| y.flatten_all()?.to_vec1()).expect("numbers"),
    )
}

/// A step of a training loop, which gives its loss.
fn training(mut step: impl FnMut() -> Result<f32> + 'static) -> Option<Box<dyn Job>> {
    job(move || step().expect("computes"), |loss| vec![f64::from(loss)])
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
    let x = Var::new(-2.0_f32, &CPU).expect("a number");
    match case {
        "scalar_f" => {
            let x = x.as_detached_tensor();
            op(move || f(black_box(&x)))
        }
        "scalar_grad" => op(move || Ok(f(&x)?.backward()?.remove(&x).expect("a gradient"))),
        "scalar_add" => {
            let (x, y) = (x.as_detached_tensor(), Tensor::new(3.0_f32, &CPU).expect("a number"));
            op(move || black_box(&x) + black_box(&y))
        }
        "chain" => op(move || {
            let mut y = (x.as_tensor() * 1.0)?;
            for _ in 1..100_000 {
                y = (y + 1e-6)?;
            }
            Ok(y.backward()?.remove(&x).expect("a gradient"))
        }),
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
            let x = Var::from_tensor(&x).expect("a parameter");
            op(move || Ok(f(&x)?.sum_all()?.backward()?.remove(&x).expect("a gradient")))
        }
        "gelu_4m" => op(move || x.gelu_erf()),
        "sigmoid_4m" => op(move || ops::sigmoid(&x)),
        "exp_4m" => op(move || x.exp()),
        "tanh_4m" => op(move || x.tanh()),
        _ => None,
    }
}

fn reductions(case: &str) -> Option<Box<dyn Job>> {
    if case == "layer_norm" {
        let (x, weight, bias) = (tensor(1, &[8192, 1024], 4.0), tensor(2, &[1024], 1.0), tensor(3, &[1024], 1.0));
        return op(move || ops::layer_norm(&x, &weight, &bias, 1e-5));
    }
    if !["sum_all", "sum_rows", "sum_columns", "argmax_rows", "softmax", "logsumexp"].contains(&case) {
        return None;
    }
    let x = Tensor::from_vec(unit(1, 1 << 24), (4096, 4096), &CPU).expect("fits");
    match case {
        "sum_all" => op(move || x.sum_all()),
        "sum_rows" => op(move || x.sum(1)),
        "sum_columns" => op(move || x.sum(0)),
        "argmax_rows" => op(move || x.argmax(1)),
        "softmax" => op(move || ops::softmax_last_dim(&x)),
        _ => op(move || x.log_sum_exp(1)),
    }
}

fn layouts(case: &str) -> Option<Box<dyn Job>> {
    let big = || tensor(1, &[4096, 4096], 4.0);
    match case {
        "broadcast_row" => {
            let (x, row) = (big(), tensor(2, &[4096], 4.0));
            op(move || x.broadcast_add(&row))
        }
        "broadcast_column" => {
            let (x, column) = (big(), tensor(2, &[4096, 1], 4.0));
            op(move || x.broadcast_add(&column))
        }
        "transpose" => {
            let x = big();
            op(move || x.t()?.contiguous())
        }
        "index_select" => {
            let (table, places) = (tensor(1, &[100_000, 64], 4.0), indices(2, 100_000, 100_000));
            op(move || table.index_select(&places, 0))
        }
        "cat" => {
            let parts: Vec<Tensor> = (0..16).map(|i| tensor(1 + i, &[1024, 1024], 4.0)).collect();
            op(move || Tensor::cat(&parts, 0))
        }
        _ => None,
    }
}

fn products(case: &str) -> Option<Box<dyn Job>> {
    let pair = |a: &[usize], b: &[usize]| (tensor(1, a, 1.0), tensor(2, b, 1.0));
    let (a, b) = match case.strip_prefix("matmul_")? {
        "f64" => {
            let (a, b) = pair(&[1024, 1024], &[1024, 1024]);
            (a.to_dtype(DType::F64).expect("f64"), b.to_dtype(DType::F64).expect("f64"))
        }
        "abt" => {
            let (a, b) = pair(&[1024, 1024], &[1024, 1024]);
            (a, b.t().expect("a matrix"))
        }
        "skinny" => pair(&[64, 4096], &[4096, 4096]),
        "batched" => pair(&[32, 128, 128], &[32, 128, 128]),
        // It has no product of integers.
        "i64" => return None,
        size => {
            let n = size.parse().ok()?;
            pair(&[n, n], &[n, n])
        }
    };
    op(move || a.matmul(&b))
}

fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.matmul(&weight.t()?)?.broadcast_add(bias)
}

fn learning(case: &str) -> Option<Box<dyn Job>> {
    match case {
        "mlp" => {
            let (x, target) = (tensor(1, &[128, 784], 1.0), indices(2, 128, 10));
            let (weights, biases, mut optimizer) = layers(&[(784, 512), (512, 512), (512, 10)], 0.05);
            training(move || {
                let x = linear(&x, &weights[0], &biases[0])?.relu()?;
                let x = linear(&x, &weights[1], &biases[1])?.relu()?;
                let loss = loss::cross_entropy(&linear(&x, &weights[2], &biases[2])?, &target)?;
                optimizer.backward_step(&loss)?;
                loss.to_scalar()
            })
        }
        "small_mlp" => {
            let (x, target) = (tensor(1, &[32, 2], 1.0), tensor(2, &[32, 1], 1.0));
            let (weights, biases, mut optimizer) = layers(&[(2, 16), (16, 16), (16, 1)], 0.5);
            training(move || {
                let x = linear(&x, &weights[0], &biases[0])?.tanh()?;
                let x = linear(&x, &weights[1], &biases[1])?.tanh()?;
                let loss = loss::mse(&linear(&x, &weights[2], &biases[2])?, &target)?;
                optimizer.backward_step(&loss)?;
                loss.to_scalar()
            })
        }
        "cnn" => cnn(),
        "attention" => attention(),
        "adamw" => {
            let parameter = parameter(1, &[10_000_000], 1.0);
            let gradient = tensor(2, &[10_000_000], 1.0);
            let gradients =
                (parameter.as_tensor() * gradient).and_then(|y| y.sum_all()?.backward()).expect("gradients");
            let mut optimizer = AdamW::new(vec![parameter.clone()], ParamsAdamW::default()).expect("an optimizer");
            op(move || {
                optimizer.step(&gradients)?;
                Ok(parameter.as_detached_tensor())
            })
        }
        "embedding" => {
            let (table, places) = (parameter(1, &[32_768, 256], 1.0), indices(2, 8192, 32_768));
            op(move || {
                let loss = table.embedding(&places)?.sqr()?.sum_all()?;
                Ok(loss.backward()?.remove(&table).expect("a gradient"))
            })
        }
        _ => None,
    }
}

fn layers(sizes: &[(usize, usize); 3], scale: f32) -> (Vec<Var>, Vec<Var>, SGD) {
    let weights: Vec<Var> = (3..).zip(sizes).map(|(seed, &(n, m))| parameter(seed, &[m, n], scale)).collect();
    let biases: Vec<Var> = (6..).zip(sizes).map(|(seed, &(_, m))| parameter(seed, &[m], scale)).collect();
    let optimizer = SGD::new(weights.iter().chain(&biases).cloned().collect(), 0.1).expect("an optimizer");
    (weights, biases, optimizer)
}

fn cnn() -> Option<Box<dyn Job>> {
    let (x, target) = (tensor(1, &[32, 1, 28, 28], 1.0), indices(2, 32, 10));
    let filters = [parameter(3, &[16, 1, 3, 3], 0.3), parameter(4, &[32, 16, 3, 3], 0.1)];
    let weight = parameter(5, &[10, 1568], 0.05);
    let mut optimizer =
        SGD::new([&filters[0], &filters[1], &weight].map(Var::clone).to_vec(), 0.1).expect("an optimizer");
    training(move || {
        let mut x = x.clone();
        for filter in &filters {
            x = x.conv2d(filter, 1, 1, 1, 1)?.relu()?.max_pool2d(2)?;
        }
        let loss = loss::cross_entropy(&x.flatten_from(1)?.matmul(&weight.t()?)?, &target)?;
        optimizer.backward_step(&loss)?;
        loss.to_scalar()
    })
}

fn attention() -> Option<Box<dyn Job>> {
    let x = parameter(1, &[4, 256, 256], 1.0);
    let into = parameter(2, &[768, 256], 0.1);
    let out = parameter(3, &[256, 256], 0.1);
    let mask: Vec<f32> = (0..256 * 256).map(|i| if i % 256 > i / 256 { f32::NEG_INFINITY } else { 0.0 }).collect();
    let mask = Tensor::from_vec(mask, (256, 256), &CPU).expect("fits");
    op(move || {
        let rows = x.reshape((1024, 256))?;
        // [3, batch, head, place, 32]
        let qkv = rows.matmul(&into.t()?)?.reshape((4, 256, 3, 8, 32))?.permute((2, 0, 3, 1, 4))?;
        let [q, k, v] = [qkv.i(0)?.contiguous()?, qkv.i(1)?.contiguous()?, qkv.i(2)?.contiguous()?];
        let scores = ((q * 32_f64.sqrt().recip())?.matmul(&k.t()?)?).broadcast_add(&mask)?;
        let y = ops::softmax(&scores, D::Minus1)?.matmul(&v)?;
        let y = y.transpose(1, 2)?.reshape((1024, 256))?.matmul(&out.t()?)?;
        let mut gradients = y.sqr()?.sum_all()?.backward()?;
        black_box((gradients.get(&into), gradients.get(&out)));
        Ok(gradients.remove(&x).expect("a gradient"))
    })
}
