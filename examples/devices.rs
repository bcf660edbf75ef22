//! Lists the devices of this machine, and computes the introduction's f(x) = x³ + 3x² − 5x + 4 and its slope on each.
//!
//! ```text
//! cargo run --release --example devices --features opencl,cuda
//! ```

use gradix::prelude::*;
use tensor_core::Backend;

fn f(x: &Tensor) -> Tensor {
    x.powi(3) + 3 * x.powi(2) - 5 * x + 4
}

fn main() {
    for device in Device::all() {
        let info = device.info();
        let memory =
            info.memory.map_or(String::new(), |bytes| format!(", {:.1} GiB", bytes as f64 / f64::from(1 << 30)));
        println!("{device}: {}{memory}", info.name);
        let dtypes: Vec<&str> = info.dtypes.iter().map(|dtype| dtype.name()).collect();
        println!("    dtypes: {}", dtypes.join(", "));
        let x = tensor!([-2.0, 0.0, 1.0]).to(&device).requires_grad_();
        let y = f(&x);
        y.sum().backward();
        println!("    f at  -2, 0, 1: {y}");
        println!("    f' at -2, 0, 1: {}", x.grad().expect("f depends on x"));
    }
    // What a device lacks is said by whoever asks for it.
    for asked in [Device::opencl(0), Device::cuda(0)] {
        if let Err(why) = asked {
            println!("{why}");
        }
    }
}
