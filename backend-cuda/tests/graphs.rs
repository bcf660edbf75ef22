//! Graphs over the stand-in for the driver: recorded work repeats what it did, its memory stays its own, and whatever fails on
//! the way leaves a device that goes on.

mod common;

use backend_cuda::{Cuda, Graph};
use common::{Fake, product, scale};
use std::panic::AssertUnwindSafe;
use tensor_core::op::BinaryOp;
use tensor_core::reference::Reference;
use tensor_core::{Array, Backend, DType, Program, ReduceOp, Result, Scalar};

fn device() -> Cuda {
    Cuda::open(0).expect("the stand-in has a device")
}

/// `w −= 0.1·g`, in place.
fn descent() -> Program {
    let mut program = Program::new();
    let (w, g) = (program.input(DType::F32), program.input(DType::F32));
    let rate = program.scalar(Scalar::Float(0.1), DType::F32);
    let part = program.binary(BinaryOp::Mul, g, rate);
    let less = program.binary(BinaryOp::Sub, w, part);
    program.output(less);
    program
}

/// Data, targets and weights of a regression.
struct Problem<B: Backend> {
    x: Array<B>,
    y: Array<B>,
    w: [Array<B>; 1],
}

impl<B: Backend> Problem<B> {
    fn new(backend: &B) -> Self {
        let numbers = |count: usize, step: usize| -> Vec<f32> {
            (0..count).map(|i| (i * step % 11) as f32 / 8.0 - 0.6).collect()
        };
        let array =
            |dims: [usize; 2], step| Array::from_slice(backend, &numbers(dims[0] * dims[1], step), dims).unwrap();
        Self { x: array([8, 5], 3), y: array([8, 2], 7), w: [array([5, 2], 5)] }
    }

    /// One step of gradient descent; the loss before it.
    fn step(&mut self) -> Result<Array<B>> {
        let error = self.x.matmul(&self.w[0])?.sub(&self.y)?;
        let loss = error.mul(&error)?.reduce(ReduceOp::Sum, &[], false)?;
        let gradient = self.x.transpose(0, 1)?.matmul(&error)?;
        Array::overwrite(&descent(), &mut self.w, &[&gradient])?;
        loss.force()?;
        Ok(loss)
    }

    fn weights(&self) -> Vec<f32> {
        self.w[0].to_vec().unwrap()
    }
}

fn assert_close(got: &[f32], wanted: &[f32]) {
    let near = got.iter().zip(wanted).all(|(got, wanted)| (got - wanted).abs() < 1e-4);
    assert!(got.len() == wanted.len() && near, "{got:?} for {wanted:?}");
}

/// A capture of a step, after one that was not captured.
fn captured(device: Cuda, problem: &mut Problem<Cuda>) -> Result<(Graph, Array<Cuda>)> {
    problem.step()?;
    device.capture(|| problem.step())
}

#[test]
fn a_graph_repeats_a_step_of_training() {
    let Some(fake) = Fake::get() else { return };
    let device = device();
    for late in [0, 1] {
        fake.set("async", late);
        let (mut ours, mut theirs) = (Problem::new(&device), Problem::new(&Reference));
        let (graph, loss) = captured(device, &mut ours).unwrap();
        let mut last = Vec::new();
        for step in 0..5 {
            last = theirs.step().unwrap().to_vec::<f32>().unwrap();
            // The first was not captured, and the second is the capture's own.
            if step >= 2 {
                let launches = fake.count("launches");
                graph.launch().unwrap();
                assert_eq!(fake.count("launches"), launches, "a graph is one launch of its own kind");
            }
        }
        assert_close(&ours.weights(), &theirs.weights());
        assert_close(&loss.to_vec::<f32>().unwrap(), &last);
        // New data where the old were.
        let mut zeros = Program::new();
        let x = zeros.input(DType::F32);
        let zero = zeros.scalar(Scalar::Float(0.0), DType::F32);
        let nothing = zeros.binary(BinaryOp::Mul, x, zero);
        zeros.output(nothing);
        let mut x = [std::mem::replace(&mut ours.x, ours.y.clone())];
        Array::overwrite(&zeros, &mut x, &[]).unwrap();
        let before = ours.weights();
        graph.launch().unwrap();
        assert_eq!(ours.weights(), before, "no data, no gradient");
        assert_eq!(graph.device(), device);
    }
}

#[test]
fn a_graphs_memory_is_nobody_elses_until_it_is_gone() {
    let Some(fake) = Fake::get() else { return };
    let device = device();
    drop(captured(device, &mut Problem::new(&device)).unwrap());
    device.trim().unwrap();
    let (start, graphs) = (device.stats().in_use, fake.count("live_graphs"));
    let mut problem = Problem::new(&device);
    let (graph, loss) = captured(device, &mut problem).unwrap();
    drop((problem, loss));
    // Whatever is kept for reuse is taken now, and must not change when the graph writes.
    let others: Vec<_> = (1..60)
        .map(|number| {
            Array::from_slice(&device, &vec![number as f32; 10 + number % 3 * 300], [10 + number % 3 * 300]).unwrap()
        })
        .collect();
    graph.launch().unwrap();
    for (number, other) in (1..60).zip(&others) {
        assert!(other.to_vec::<f32>().unwrap().iter().all(|&value| value == number as f32));
    }
    device.trim().unwrap();
    graph.launch().unwrap();
    device.synchronize().unwrap();
    drop(others);
    assert!(device.stats().in_use > start, "what the graph uses counts");
    drop(graph);
    assert_eq!((device.stats().in_use, fake.count("live_graphs")), (start, graphs));
}

#[test]
fn results_may_outlive_their_graph() {
    let Some(_fake) = Fake::get() else { return };
    let device = device();
    let mut problem = Problem::new(&device);
    let (graph, loss) = captured(device, &mut problem).unwrap();
    let before = loss.to_vec::<f32>().unwrap();
    drop(graph);
    drop(product(&device, 9, 9, 9).unwrap());
    assert_eq!(loss.to_vec::<f32>().unwrap(), before);
    assert!(problem.step().is_ok());
}

#[test]
fn two_graphs_share_what_both_use() {
    let Some(fake) = Fake::get() else { return };
    let device = device();
    let mut problem = Problem::new(&device);
    drop(captured(device, &mut problem).unwrap());
    device.trim().unwrap();
    let start = device.stats().in_use;
    let (first, _) = captured(device, &mut problem).unwrap();
    let (second, loss) = device.capture(|| problem.step()).unwrap();
    drop(first);
    second.launch().unwrap();
    assert!(loss.item().unwrap().as_f64().is_finite());
    drop((second, loss));
    // Scratch memory apart, nothing is held but the data.
    assert_eq!(device.stats().in_use, start);
    assert_eq!(fake.count("reports"), 0);
}

#[test]
fn what_is_uploaded_while_capturing_is_uploaded_each_time() {
    let Some(fake) = Fake::get() else { return };
    let device = device();
    for late in [0, 1] {
        fake.set("async", late);
        let numbers: Vec<f32> = (0..700).map(|i| i as f32).collect();
        let work = || {
            let mut sum = [Array::from_slice(&device, &numbers, [700])?];
            let more = Array::from_slice(&device, &[1f32], [1])?;
            Array::overwrite(&descent(), &mut sum, &[&more])?;
            Ok(sum)
        };
        let (graph, [sum]) = device.capture(work).unwrap();
        let wanted: Vec<f32> = numbers.iter().map(|value| value - 0.1).collect();
        assert_close(&sum.to_vec::<f32>().unwrap(), &wanted);
        // As many other uploads as go through the memory in between, and more.
        for _ in 0..9 {
            drop(Array::from_slice(&device, &vec![7f32; 30_000], [30_000]).unwrap());
        }
        graph.launch().unwrap();
        assert_close(&sum.to_vec::<f32>().unwrap(), &wanted);
        graph.launch().unwrap();
    }
    let held = fake.count("live_host");
    assert!(held <= 1, "only the memory in between is left of the host's: {held}");
}

#[test]
fn what_cannot_be_captured_is_an_error_where_it_is_asked_for() {
    let Some(fake) = Fake::get() else { return };
    fake.set("devices", 2);
    let device = device();
    let x = Array::from_slice(&device, &[1f32, 2.0], [2]).unwrap();
    let error = device.capture(|| x.to_vec::<f32>()).unwrap_err();
    assert!(error.to_string().contains("a graph is being captured on this thread"), "{error}");
    assert!(device.capture(|| device.synchronize()).is_err());
    assert!(device.capture(|| device.capture(|| Ok(())).map(drop)).is_err());
    let other = Cuda::open(1).unwrap();
    assert!(device.capture(|| device.copy_to(&device.alloc(4)?, &other)).is_err());
    let (graph, ()) = device.capture(|| Ok(())).unwrap();
    assert!(device.capture(|| graph.launch()).is_err());
    assert!(other.capture(|| graph.launch()).is_err());
    // A closure that goes on after such an error loses nothing but what it asked for.
    let work = || {
        assert!(x.item().is_err() && x.to_vec::<f32>().is_err());
        let sum = x.add(&x)?;
        sum.force()?;
        Ok(sum)
    };
    let (graph, sum) = device.capture(work).unwrap();
    assert_eq!(sum.to_vec::<f32>().unwrap(), [2.0, 4.0]);
    graph.launch().unwrap();
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| {
        device.capture(|| -> Result<()> { panic!("in the middle") }).map(drop)
    }));
    assert!(panicked.is_err());
    assert_eq!(scale(&device, 0, 2.0).unwrap(), [2.0, 4.0, -6.0]);
    drop(graph);
    assert_eq!(fake.count("reports"), 0);
}

#[test]
fn other_threads_go_on_while_one_captures() {
    let Some(_fake) = Fake::get() else { return };
    let device = device();
    let x = Array::from_slice(&device, &[1f32, 2.0], [2]).unwrap();
    let work = || {
        let there = std::thread::spawn(move || scale(&device, 0, 3.0)).join().unwrap()?;
        assert_eq!(there, [3.0, 6.0, -9.0]);
        let sum = x.add(&x)?;
        sum.force()?;
        Ok(sum)
    };
    let (graph, sum) = device.capture(work).unwrap();
    graph.launch().unwrap();
    assert_eq!(sum.to_vec::<f32>().unwrap(), [2.0, 4.0]);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..20).for_each(|_| graph.launch().unwrap()));
        }
    });
    assert_eq!(sum.to_vec::<f32>().unwrap(), [2.0, 4.0]);
}

#[test]
fn whatever_fails_while_capturing_leaves_the_device_as_it_was() {
    let Some(fake) = Fake::get() else { return };
    let device = device();
    let mut problem = Problem::new(&device);
    drop(captured(device, &mut problem).unwrap());
    device.trim().unwrap();
    let (start, graphs) = (device.stats().in_use, fake.count("live_graphs"));
    for (fault, most) in [("capture_fail_at", 3), ("launch_fail_at", 5), ("lost_at", 30)] {
        let mut failed = 0;
        for nth in 1..=most {
            let mut own = Problem::new(&device);
            own.step().unwrap();
            fake.set(fault, nth);
            let made = device.capture(|| own.step());
            fake.set("defaults", "");
            failed += i32::from(made.is_err());
            drop((made, own));
            assert_eq!(scale(&device, 0, 2.0).unwrap(), [2.0, 4.0, -6.0], "{fault} {nth}");
            assert_eq!(fake.count("live_graphs"), graphs, "{fault} {nth}");
            assert_eq!(device.stats().in_use, start, "{fault} {nth}");
        }
        assert!(failed >= 3, "{fault}: {failed} of {most}");
    }
    // A graph for which there is no memory is made once that is given back.
    let graph = {
        let mut own = Problem::new(&device);
        own.step().unwrap();
        fake.set("capture_fail_code", 2);
        fake.set("capture_fail_at", 3);
        let (graph, _loss) = device.capture(|| own.step()).unwrap();
        assert_eq!(fake.count("capture_fail_at"), 0, "it failed once");
        fake.set("defaults", "");
        graph
    };
    drop(graph);
    // A launch that fails says so, and the next one works.
    let (graph, _loss) = captured(device, &mut problem).unwrap();
    fake.set("launch_fail_at", 1);
    assert!(graph.launch().is_err());
    graph.launch().unwrap();
    fake.set("oom_above", 1);
    graph.launch().unwrap();
    assert_eq!(fake.count("reports"), 0);
}
