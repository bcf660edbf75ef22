//! A step of training as a CUDA graph, on the first CUDA device: launched again and again it does what the step itself does.

use gradix::optim::{Adam, AdamW, Optimizer};
use gradix::prelude::*;
use gradix::{Result, attempt, cuda};

/// A network of three layers, its data, and an optimizer.
struct Training<O> {
    data: Tensor,
    classes: Tensor,
    parameters: Vec<Tensor>,
    optimizer: O,
}

impl<O: Optimizer<Device>> Training<O> {
    fn new(device: &Device, optimizer: impl Fn(&[Tensor]) -> O) -> Self {
        let numbers = |count: usize, step: usize| -> Vec<f32> {
            (0..count).map(|i| (i * step % 23) as f32 / 16.0 - 0.7).collect()
        };
        let tensor = |shape: &[usize], step| {
            let sizes: Vec<isize> = shape.iter().map(|&size| size as isize).collect();
            Tensor::from(numbers(shape.iter().product(), step)).reshape(sizes).to(device)
        };
        let parameters: Vec<Tensor> = [([16, 6], 5), ([16, 16], 7), ([4, 16], 3)]
            .into_iter()
            .flat_map(|(shape, step)| [tensor(&shape, step), tensor(&shape[..1], step + 2)])
            .map(|parameter| parameter.requires_grad_())
            .collect();
        let classes: Vec<i64> = (0..12).map(|row| if row == 5 { -100 } else { row * 7 % 4 }).collect();
        let optimizer = optimizer(&parameters);
        Self { data: tensor(&[12, 6], 11), classes: Tensor::from(classes).to(device), parameters, optimizer }
    }

    /// One step; the loss before it.
    fn step(&mut self) -> Result<Tensor> {
        let [w0, b0, w1, b1, w2, b2] = &self.parameters[..] else { unreachable!("three layers") };
        let hidden = self.data.linear(w0, Some(b0)).relu().linear(w1, Some(b1)).tanh();
        let loss = hidden.linear(w2, Some(b2)).cross_entropy(&self.classes);
        self.optimizer.zero_grad();
        loss.backward();
        self.optimizer.step();
        loss.array().force()?;
        Ok(loss)
    }

    fn values(&self) -> Vec<f32> {
        self.parameters.iter().flat_map(Tensor::to_vec::<f32>).collect()
    }
}

fn repeats_a_step<O: Optimizer<Device>>(gpu: cuda::Cuda, optimizer: impl Fn(&[Tensor]) -> O) {
    let [mut one_by_one, mut as_graph] = [(); 2].map(|()| Training::new(&Device::Cuda(gpu), &optimizer));
    let mut on_cpu = Training::new(&Device::cpu(), &optimizer);
    as_graph.step().unwrap();
    let (graph, loss) = attempt(|| gpu.capture(|| as_graph.step())).flatten().unwrap();
    for step in 0..6 {
        let (wanted, known) = (one_by_one.step().unwrap(), on_cpu.step().unwrap());
        // The first was not captured, and the second is the capture's own.
        if step >= 2 {
            graph.launch().unwrap();
        }
        if step >= 1 {
            assert_eq!(loss.item(), wanted.item(), "step {step}");
            assert_eq!(as_graph.values(), one_by_one.values(), "step {step}");
        }
        assert!((wanted.item() - known.item()).abs() < 1e-4, "step {step}: {wanted} for {known}");
    }
    for (ours, known) in as_graph.values().into_iter().zip(on_cpu.values()) {
        assert!((ours - known).abs() < 1e-3, "{ours} for {known}");
    }
}

/// The device, if there is one; `GRADIX_REQUIRE=cuda` says that there must be.
fn device() -> Option<cuda::Cuda> {
    let required = std::env::var("GRADIX_REQUIRE").is_ok_and(|list| list.split(',').any(|name| name == "cuda"));
    match cuda::Cuda::open(0) {
        Ok(gpu) => Some(gpu),
        Err(why) => {
            assert!(!required, "{why}");
            eprintln!("skipped: {why}");
            None
        }
    }
}

#[test]
fn a_graph_repeats_a_step_with_classes_and_adam() {
    let Some(gpu) = device() else { return };
    repeats_a_step(gpu, |parameters| Adam::new(parameters, 0.02));
    repeats_a_step(gpu, |parameters| AdamW::new(parameters, 0.02).weight_decay(0.1));
}

#[test]
fn parameters_that_wait_keep_their_own_count_of_steps() {
    let Some(gpu) = device() else { return };
    let run = |device: &Device| {
        let [a, b] = [0.5, -2.0].map(|value| Tensor::from([value, 1.0_f32]).to(device).requires_grad_());
        let mut adam = Adam::new([&a, &b], 0.1);
        for step in 0..6 {
            adam.zero_grad();
            let loss = if step % 2 == 0 { &a * 3.0 } else { &a * &b };
            loss.square().sum().backward();
            adam.step();
        }
        [a.to_vec::<f32>(), b.to_vec()].concat()
    };
    for (ours, known) in run(&Device::Cuda(gpu)).into_iter().zip(run(&Device::cpu())) {
        assert!((ours - known).abs() < 1e-5, "{ours} for {known}");
    }
}

#[test]
fn classes_that_do_not_exist_make_everything_nan() {
    let Some(gpu) = device() else { return };
    let device = &Device::Cuda(gpu);
    let scores = || Tensor::from([[0.5_f32, 1.0, -1.0], [2.0, 0.0, 0.25]]).to(device).requires_grad_();
    for wrong in [3_i64, -1, i64::MAX, i64::MIN] {
        let x = scores();
        let loss = x.cross_entropy(&Tensor::from([1, wrong]).to(device));
        loss.backward();
        assert!(loss.item().is_nan() && x.grad().unwrap().to_vec::<f32>().iter().all(|g| g.is_nan()), "{wrong}");
    }
    let x = scores();
    let loss = x.cross_entropy(&Tensor::from([1_i64, -100]).to(device));
    loss.backward();
    let known = Tensor::from([[0.5_f32, 1.0, -1.0]]).cross_entropy(&Tensor::from([1_i64]));
    assert!((loss.item() - known.item()).abs() < 1e-6);
    assert_eq!(x.grad().unwrap().to_vec::<f32>()[3..], [0.0; 3], "what is left out has no gradient");
}
