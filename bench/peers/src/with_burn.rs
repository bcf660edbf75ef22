//! The cases with burn on its Flex backend, with gradients where a case asks for them.

use crate::data::{integers, uniform, unit};
use crate::job::{Job, Library, job};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamWConfig, Optimizer};
use burn::tensor::activation::{gelu, relu, sigmoid, softmax, tanh};
use burn::tensor::module::{attention, conv2d, embedding, layer_norm, linear, max_pool2d};
use burn::tensor::ops::{AttentionModuleOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{DType, Device, Gradients, Int, Tensor, TensorData};
use std::hint::black_box;

pub(crate) fn library() -> Library {
    Library { name: "burn".into(), version: "burn 0.22.1 (Flex)".into(), prepare: Box::new(prepare) }
}

fn tensor_on<const D: usize>(device: &Device, seed: u64, shape: [usize; D], scale: f32) -> Tensor<D> {
    Tensor::from_data(TensorData::new(uniform(seed, shape.iter().product(), scale), shape), device)
}

fn tensor<const D: usize>(seed: u64, shape: [usize; D], scale: f32) -> Tensor<D> {
    tensor_on(&Device::flex(), seed, shape, scale)
}

/// A tensor on the device that records gradients.
fn tracked<const D: usize>(seed: u64, shape: [usize; D], scale: f32) -> Tensor<D> {
    tensor_on(&Device::flex().autodiff(), seed, shape, scale)
}

fn parameter<const D: usize>(seed: u64, shape: [usize; D], scale: f32) -> Tensor<D> {
    tracked(seed, shape, scale).require_grad()
}

/// A weight of shape `[in, out]`, as burn has them, with the numbers that others have at `[out, in]`.
fn weight(seed: u64, (from, to): (usize, usize), scale: f32) -> Tensor<2> {
    let transposed: TensorData = tensor(seed, [to, from], scale).transpose().into_data();
    Tensor::from_data(transposed, &Device::flex().autodiff()).require_grad()
}

fn indices(device: &Device, seed: u64, count: usize, below: u64) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(integers(seed, count, below), [count]), device)
}

fn f<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let square = x.clone().square();
    square.clone() * x.clone() + square * 3.0 - x * 5.0 + 4.0
}

fn numbers(data: TensorData) -> Vec<f64> {
    data.convert_dtype(DType::F64).try_to_vec().expect("numbers")
}

/// A job whose result is a tensor.
fn op<const D: usize>(step: impl FnMut() -> Tensor<D> + 'static) -> Option<Box<dyn Job>> {
    job(step, |y| numbers(y.into_data()))
}

fn whole<const D: usize>(step: impl FnMut() -> Tensor<D, Int> + 'static) -> Option<Box<dyn Job>> {
    job(step, |y| numbers(y.into_data()))
}

/// A step of a training loop, which gives its loss.
fn training(step: impl FnMut() -> f32 + 'static) -> Option<Box<dyn Job>> {
    job(step, |loss| vec![f64::from(loss)])
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
    // It has no tensors without axes.
    let number = |device: &Device, x: f32| Tensor::<1>::from_floats([x], device);
    let x = number(&Device::flex(), -2.0);
    let leaf = number(&Device::flex().autodiff(), -2.0).require_grad();
    match case {
        "scalar_f" => op(move || f(black_box(&x).clone())),
        "scalar_grad" => op(move || leaf.grad_remove(&mut f(leaf.clone()).backward()).expect("a gradient")),
        "scalar_add" => {
            let y = number(&Device::flex(), 3.0);
            op(move || black_box(&x).clone() + black_box(&y).clone())
        }
        "chain" => op(move || {
            let mut y = leaf.clone() * 1.0;
            for _ in 1..100_000 {
                y = y + 1e-6;
            }
            leaf.grad_remove(&mut y.backward()).expect("a gradient")
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
    let x = tensor(1, [count], 4.0);
    match case {
        "add_1k" | "add_64k" | "add_16m" => {
            let y = tensor(2, [count], 4.0);
            op(move || x.clone() + y.clone())
        }
        "f_16m" => op(move || f(x.clone())),
        "grad_16m" => {
            let x = parameter(1, [count], 4.0);
            op(move || x.grad_remove(&mut f(x.clone()).sum().backward()).expect("a gradient"))
        }
        "gelu_4m" => op(move || gelu(x.clone())),
        "sigmoid_4m" => op(move || sigmoid(x.clone())),
        "exp_4m" => op(move || x.clone().exp()),
        "tanh_4m" => op(move || tanh(x.clone())),
        _ => None,
    }
}

fn reductions(case: &str) -> Option<Box<dyn Job>> {
    if case == "layer_norm" {
        let (x, weight, bias) = (tensor(1, [8192, 1024], 4.0), tensor(2, [1024], 1.0), tensor(3, [1024], 1.0));
        return op(move || layer_norm(x.clone(), weight.clone(), Some(bias.clone()), 1e-5));
    }
    if !["sum_all", "sum_rows", "sum_columns", "argmax_rows", "softmax", "logsumexp"].contains(&case) {
        return None;
    }
    let x = Tensor::<2>::from_data(TensorData::new(unit(1, 1 << 24), [4096, 4096]), &Device::flex());
    match case {
        "sum_all" => op(move || x.clone().sum()),
        "sum_rows" => op(move || x.clone().sum_dim(1)),
        "sum_columns" => op(move || x.clone().sum_dim(0)),
        "argmax_rows" => whole(move || x.clone().argmax(1)),
        "softmax" => op(move || softmax(x.clone(), 1)),
        _ => op(move || {
            let largest = x.clone().max_dim(1);
            (x.clone() - largest.clone()).exp().sum_dim(1).log() + largest
        }),
    }
}

fn layouts(case: &str) -> Option<Box<dyn Job>> {
    let big = || tensor(1, [4096, 4096], 4.0);
    match case {
        "broadcast_row" => {
            let (x, row) = (big(), tensor(2, [1, 4096], 4.0));
            op(move || x.clone() + row.clone())
        }
        "broadcast_column" => {
            let (x, column) = (big(), tensor(2, [4096, 1], 4.0));
            op(move || x.clone() + column.clone())
        }
        "transpose" => {
            let x = big();
            // Transposing alone copies nothing: the data has to be asked for in order.
            job(move || x.clone().transpose().into_data(), numbers)
        }
        "index_select" => {
            let (table, places) = (tensor(1, [100_000, 64], 4.0), indices(&Device::flex(), 2, 100_000, 100_000));
            op(move || table.clone().select(0, places.clone()))
        }
        "cat" => {
            let parts: Vec<Tensor<2>> = (0..16).map(|i| tensor(1 + i, [1024, 1024], 4.0)).collect();
            op(move || Tensor::cat(parts.clone(), 0))
        }
        _ => None,
    }
}

fn products(case: &str) -> Option<Box<dyn Job>> {
    let pair = |a, b| (tensor::<2>(1, a, 1.0), tensor::<2>(2, b, 1.0));
    let (a, b) = match case.strip_prefix("matmul_")? {
        "f64" => {
            let (a, b) = pair([1024, 1024], [1024, 1024]);
            (a.cast(DType::F64), b.cast(DType::F64))
        }
        "abt" => {
            let (a, b) = pair([1024, 1024], [1024, 1024]);
            (a, b.transpose())
        }
        "skinny" => pair([64, 4096], [4096, 4096]),
        "batched" => {
            let (a, b) = (tensor(1, [32, 128, 128], 1.0), tensor(2, [32, 128, 128], 1.0));
            return op(move || a.clone().matmul(b.clone()));
        }
        "i64" => {
            let matrix = |seed| indices(&Device::flex(), seed, 256 * 256, 1000).reshape([256, 256]);
            let (a, b) = (matrix(1), matrix(2));
            return whole(move || a.clone().matmul(b.clone()));
        }
        size => {
            let n = size.parse().ok()?;
            pair([n, n], [n, n])
        }
    };
    op(move || a.clone().matmul(b.clone()))
}

/// Takes a step down along the gradients.
fn descend<const D: usize>(parameters: &mut [Tensor<D>], gradients: &mut Gradients) {
    for p in parameters {
        let gradient = p.grad_remove(gradients).expect("a gradient");
        *p = Tensor::from_inner(p.clone().inner() - gradient * 0.1).require_grad();
    }
}

type Layers = (Vec<Tensor<2>>, Vec<Tensor<1>>);

fn layers(sizes: [(usize, usize); 3], scale: f32) -> Layers {
    let weights = (3..).zip(sizes).map(|(seed, size)| weight(seed, size, scale)).collect();
    (weights, (6..).zip(sizes).map(|(seed, (_, m))| parameter(seed, [m], scale)).collect())
}

fn perceptron(x: Tensor<2>, (weights, biases): &Layers, activation: fn(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
    let layer = |x, i: usize| linear(x, weights[i].clone(), Some(biases[i].clone()));
    layer(activation(layer(activation(layer(x, 0)), 1)), 2)
}

fn learning(case: &str) -> Option<Box<dyn Job>> {
    let device = Device::flex().autodiff();
    match case {
        "mlp" => {
            let (x, target) = (tracked(1, [128, 784], 1.0), indices(&device, 2, 128, 10));
            let mut layers = layers([(784, 512), (512, 512), (512, 10)], 0.05);
            let cross_entropy = CrossEntropyLossConfig::new().init(&device);
            training(move || {
                let loss = cross_entropy.forward(perceptron(x.clone(), &layers, relu), target.clone());
                let mut gradients = loss.backward();
                descend(&mut layers.0, &mut gradients);
                descend(&mut layers.1, &mut gradients);
                loss.into_scalar::<f32>()
            })
        }
        "small_mlp" => {
            let (x, target) = (tracked(1, [32, 2], 1.0), tracked(2, [32, 1], 1.0));
            let mut layers = layers([(2, 16), (16, 16), (16, 1)], 0.5);
            training(move || {
                let loss = (perceptron(x.clone(), &layers, tanh) - target.clone()).square().mean();
                let mut gradients = loss.backward();
                descend(&mut layers.0, &mut gradients);
                descend(&mut layers.1, &mut gradients);
                loss.into_scalar::<f32>()
            })
        }
        "cnn" => cnn(),
        "attention" => attend(),
        "adamw" => {
            let gradient = tensor(2, [10_000_000], 1.0);
            let optimizer = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.01).build();
            // Both move from step to step, so that it may write where they lie.
            let mut parameter = Some(tensor(1, [10_000_000], 1.0));
            let mut state = None;
            let step = move || {
                let (new, moments) =
                    optimizer.step(1e-3, parameter.take().expect("one"), gradient.clone(), state.take());
                state = moments;
                parameter = Some(new.clone());
                new
            };
            op(step)
        }
        "embedding" => {
            let table = parameter(1, [32_768, 256], 1.0);
            let places = indices(&device, 2, 8192, 32_768).reshape([1, 8192]);
            op(move || {
                let loss = embedding(table.clone(), places.clone()).square().sum();
                table.grad_remove(&mut loss.backward()).expect("a gradient")
            })
        }
        _ => None,
    }
}

fn cnn() -> Option<Box<dyn Job>> {
    let device = Device::flex().autodiff();
    let (x, target) = (tracked(1, [32, 1, 28, 28], 1.0), indices(&device, 2, 32, 10));
    let mut filters = [parameter(3, [16, 1, 3, 3], 0.3), parameter(4, [32, 16, 3, 3], 0.1)];
    let mut last = [weight(5, (1568, 10), 0.05)];
    let cross_entropy = CrossEntropyLossConfig::new().init(&device);
    training(move || {
        let mut x = x.clone();
        for filter in &filters {
            let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
            x = max_pool2d(relu(conv2d(x, filter.clone(), None, options)), MaxPoolOptions::new([2, 2]));
        }
        let loss = cross_entropy.forward(x.reshape([32, 1568]).matmul(last[0].clone()), target.clone());
        let mut gradients = loss.backward();
        descend(&mut filters, &mut gradients);
        descend(&mut last, &mut gradients);
        loss.into_scalar::<f32>()
    })
}

fn attend() -> Option<Box<dyn Job>> {
    let x = parameter(1, [4, 256, 256], 1.0);
    let (into, out) = (weight(2, (256, 768), 0.1), weight(3, (256, 256), 0.1));
    op(move || {
        // [3, batch, head, place, 32]
        let qkv = linear(x.clone(), into.clone(), None).reshape([4, 256, 3, 8, 32]).permute([2, 0, 3, 1, 4]);
        let part = |i| qkv.clone().narrow(0, i, 1).squeeze_dim::<4>(0);
        let options = AttentionModuleOptions { is_causal: true, ..Default::default() };
        let y = attention(part(0), part(1), part(2), None, None, options);
        let y = linear(y.swap_dims(1, 2).reshape([4, 256, 256]), out.clone(), None);
        let mut gradients = y.square().sum().backward();
        black_box((into.grad(&gradients), out.grad(&gradients)));
        x.grad_remove(&mut gradients).expect("a gradient")
    })
}
