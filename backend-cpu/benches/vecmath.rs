//! Speed of the vector functions: `cargo bench -p gradix-backend-cpu --bench vecmath [-- name …]`.
//!
//! Per function, type and instruction set: nanoseconds an element and GB/s (read plus written) over 65,536 elements
//! (256 or 512 KiB a side, which stay in L2), and how many times as long as copying them takes. Best of several
//! rounds on one thread.

use std::hint::black_box;
use std::time::Instant;

use backend_cpu::vecmath::{BinaryFn, Hard, Level, UnaryFn, convert};

const N: usize = 65_536;

/// Seconds that the fastest of 15 rounds took for one call.
fn best(mut call: impl FnMut()) -> f64 {
    call();
    (0..15)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..4 {
                call();
            }
            start.elapsed().as_secs_f64() / 4.0
        })
        .fold(f64::INFINITY, f64::min)
}

fn report<T: Hard>(name: &str, level: Level, seconds: f64, arrays: usize, copy: f64) {
    let bytes = (N * arrays * size_of::<T>()) as f64;
    println!(
        "{name:12} {:4} {:9} {:8.3} ns {:8.1} GB/s {:7.1} x copy",
        std::any::type_name::<T>(),
        level.name(),
        seconds / N as f64 * 1e9,
        bytes / seconds * 1e-9,
        seconds / copy
    );
}

fn measure<T: Hard>(wanted: &[String]) {
    // Arguments that all functions find ordinary: 0.01 to 0.99, of either sign where that is in the domain.
    let x: Vec<T> = (0..N).map(|i| T::lit(0.01 + 0.98 * ((i * 7919) % N) as f64 / N as f64)).collect();
    let wide: Vec<T> = (0..N).map(|i| T::lit(-8.0 + 16.0 * ((i * 7919) % N) as f64 / N as f64)).collect();
    let mut y = vec![T::lit(0.0); N];
    let copy = best(|| black_box(&mut y).copy_from_slice(black_box(&x)));
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| w == name);
    for &f in UnaryFn::ALL.iter().filter(|f| is_wanted(f.name())) {
        let narrow = matches!(
            f,
            UnaryFn::Ln
                | UnaryFn::Log2
                | UnaryFn::Log10
                | UnaryFn::Log1p
                | UnaryFn::Asin
                | UnaryFn::Acos
                | UnaryFn::Atanh
                | UnaryFn::Erfinv
                | UnaryFn::Sqrt
                | UnaryFn::Rsqrt
        );
        let x = if narrow { &x } else { &wide };
        for &level in Level::available() {
            let kernel = f.kernel::<T>(level);
            let seconds = best(|| kernel.apply(black_box(x), black_box(&mut y)));
            report::<T>(f.name(), level, seconds, 2, copy);
        }
    }
    for &f in BinaryFn::ALL.iter().filter(|f| is_wanted(f.name())) {
        for &level in Level::available() {
            let kernel = f.kernel::<T>(level);
            let seconds = best(|| kernel.apply(black_box(&x), black_box(&wide), black_box(&mut y)));
            report::<T>(f.name(), level, seconds, 3, copy);
        }
    }
}

/// The conversions, whose GB/s count 2 bytes on one side and 4 on the other.
fn measure_conversions() {
    let wide = vec![1.5_f32; N];
    let mut wide_out = vec![0.0_f32; N];
    let f16s = vec![half::f16::ONE; N];
    let mut f16_out = f16s.clone();
    let bf16s = vec![half::bf16::ONE; N];
    let mut bf16_out = bf16s.clone();
    for &level in Level::available() {
        let print = |name: &str, seconds: f64| {
            let gb = (N * 6) as f64 / seconds * 1e-9;
            println!("{name:12}      {:9} {:8.3} ns {gb:8.1} GB/s", level.name(), seconds / N as f64 * 1e9);
        };
        print("f16 to f32", best(|| convert::f16_to_f32(level, black_box(&f16s), black_box(&mut wide_out))));
        print("f32 to f16", best(|| convert::f32_to_f16(level, black_box(&wide), black_box(&mut f16_out))));
        print("bf16 to f32", best(|| convert::bf16_to_f32(level, black_box(&bf16s), black_box(&mut wide_out))));
        print("f32 to bf16", best(|| convert::f32_to_bf16(level, black_box(&wide), black_box(&mut bf16_out))));
    }
}

fn main() {
    // Cargo passes `--bench`; what remains are names of functions.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    measure::<f32>(&wanted);
    measure::<f64>(&wanted);
    if wanted.is_empty() || wanted.iter().any(|w| w == "convert") {
        measure_conversions();
    }
}
