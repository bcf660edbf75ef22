//! How long common operations take on each device of this machine, beside the processor: medians of interleaved rounds.
//!
//! ```text
//! cargo bench --bench devices --features opencl,cuda
//! ```
//!
//! A time is that of the whole operation on data that is on the device, until its result is there. Ratios below 1 are faster
//! than the processor.

use gradix::prelude::*;
use std::time::Instant;
use tensor_core::{Backend, DType};

const ROUNDS: usize = 15;

type Operation = (&'static str, fn(&[Tensor]) -> Tensor);

const OPERATIONS: [Operation; 6] = [
    ("add, 16M f32", |data| &data[0] + &data[1]),
    ("x³ + 3x² − 5x + 4, 16M f32", |data| data[0].powi(3) + 3 * data[0].powi(2) - 5 * &data[0] + 4),
    ("exp, 16M f32", |data| data[0].exp()),
    ("sum of rows, 4096 × 4096 f32", |data| data[2].sum_dims(&[1], false)),
    ("softmax of rows, 4096 × 4096 f32", |data| data[2].softmax(1)),
    ("matmul, 1024 × 1024 f32", |data| data[3].matmul(&data[4])),
];

/// The operands of all operations on a device.
fn operands(device: &Device) -> Vec<Tensor> {
    let numbers = |count: usize, seed: f32| -> Vec<f32> {
        (0..count).map(|place| ((place as f32 + seed) * 0.618_034).fract() * 2.0 - 1.0).collect()
    };
    let tensor = |count: usize, seed: f32, shape: &[usize]| Tensor::from_slice(&numbers(count, seed), shape).to(device);
    vec![
        tensor(1 << 24, 0.0, &[1 << 24]),
        tensor(1 << 24, 0.5, &[1 << 24]),
        tensor(1 << 24, 0.25, &[4096, 4096]),
        tensor(1 << 20, 0.0, &[1024, 1024]),
        tensor(1 << 20, 0.5, &[1024, 1024]),
    ]
}

/// Milliseconds until the result is there.
fn time(device: &Device, data: &[Tensor], operation: fn(&[Tensor]) -> Tensor) -> f64 {
    device.synchronize().expect("the device works");
    let start = Instant::now();
    let result = operation(data);
    // Pending operations are computed now.
    result.array().force().expect("the device works");
    device.synchronize().expect("the device works");
    start.elapsed().as_secs_f64() * 1e3
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let devices: Vec<Device> = Device::all().into_iter().rev().collect();
    let data: Vec<Vec<Tensor>> = devices.iter().map(operands).collect();
    assert!(data[0][0].dtype() == DType::F32, "the operands are f32");
    println!("{ROUNDS} rounds, all devices in turn; milliseconds, and times the processor's");
    print!("{:36}", "");
    for device in &devices {
        print!("{:>18}", device.to_string());
    }
    println!();
    for (name, operation) in OPERATIONS {
        let mut times = vec![Vec::new(); devices.len()];
        for round in 0..=ROUNDS {
            for ((device, data), times) in devices.iter().zip(&data).zip(&mut times) {
                let taken = time(device, data, operation);
                // The first round compiles and warms up.
                if round > 0 {
                    times.push(taken);
                }
            }
        }
        let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
        print!("{name:36}");
        for taken in &medians {
            print!("{:>18}", format!("{taken:.2} ({:.2})", taken / medians[0]));
        }
        println!();
    }
}
