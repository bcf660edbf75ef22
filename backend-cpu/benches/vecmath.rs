//! Speed of the vector functions on one thread: `cargo bench -p gradix-backend-cpu --bench vecmath [-- FILTER …]`.
//!
//! Per function, type and instruction set, over 65,536 elements (256 or 512 KiB a side, which stay in the second-level cache); a
//! copy of them is there to compare with.

use backend_cpu::vecmath::{BinaryFn, Hard, Level, UnaryFn, convert};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use std::fmt;

const N: usize = 65_536;

fn main() {
    divan::main();
}

/// A function by an instruction set.
struct Case<F> {
    function: F,
    name: &'static str,
    level: Level,
}

impl<F> fmt::Display for Case<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.level.name())
    }
}

/// Each function by each instruction set that this machine has.
fn cases<F: Copy>(functions: &[F], name: fn(F) -> &'static str) -> Vec<Case<F>> {
    let of =
        |&function: &F| Level::available().iter().map(move |&level| Case { function, name: name(function), level });
    functions.iter().flat_map(of).collect()
}

/// Numbers without a pattern between these two.
fn numbers<T: Hard>(from: f64, to: f64) -> Vec<T> {
    (0..N).map(|i| T::lit(from + (to - from) * ((i * 7919) % N) as f64 / N as f64)).collect()
}

/// So many arrays are read and written.
fn counted<'a, 'b, T>(bencher: Bencher<'a, 'b>, arrays: usize) -> Bencher<'a, 'b> {
    bencher.counter(ItemsCount::new(N)).counter(BytesCount::new(N * arrays * size_of::<T>()))
}

#[divan::bench(types = [f32, f64])]
fn copy<T: Hard>(bencher: Bencher<'_, '_>) {
    let (x, mut y) = (numbers::<T>(-8.0, 8.0), vec![T::lit(0.0); N]);
    counted::<T>(bencher, 2).bench_local(|| black_box(&mut y).copy_from_slice(black_box(&x)));
}

#[divan::bench(types = [f32, f64], args = cases(UnaryFn::ALL, UnaryFn::name))]
fn unary<T: Hard>(bencher: Bencher<'_, '_>, case: &Case<UnaryFn>) {
    // Arguments that the function finds ordinary: 0.01 to 0.99 where others are not in its domain.
    let narrow = matches!(
        case.function,
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
    let x = if narrow { numbers::<T>(0.01, 0.99) } else { numbers(-8.0, 8.0) };
    let mut y = vec![T::lit(0.0); N];
    let kernel = case.function.kernel::<T>(case.level);
    counted::<T>(bencher, 2).bench_local(|| kernel.apply(black_box(&x), black_box(&mut y)));
}

#[divan::bench(types = [f32, f64], args = cases(BinaryFn::ALL, BinaryFn::name))]
fn binary<T: Hard>(bencher: Bencher<'_, '_>, case: &Case<BinaryFn>) {
    let (x, z, mut y) = (numbers::<T>(0.01, 0.99), numbers(-8.0, 8.0), vec![T::lit(0.0); N]);
    let kernel = case.function.kernel::<T>(case.level);
    counted::<T>(bencher, 3).bench_local(|| kernel.apply(black_box(&x), black_box(&z), black_box(&mut y)));
}

/// Conversions, whose bytes are 2 of an element on one side and 4 on the other.
mod conversions {
    use super::*;

    fn time<A: Copy, B: Copy>(bencher: Bencher<'_, '_>, level: Level, run: fn(Level, &[A], &mut [B]), a: A, b: B) {
        let (x, mut y) = (vec![a; N], vec![b; N]);
        let bencher =
            bencher.counter(ItemsCount::new(N)).counter(BytesCount::new(N * (size_of::<A>() + size_of::<B>())));
        bencher.bench_local(|| run(level, black_box(&x), black_box(&mut y)));
    }

    fn levels() -> Vec<Case<()>> {
        cases(&[()], |()| "by")
    }

    #[divan::bench(args = levels())]
    fn f16_to_f32(bencher: Bencher<'_, '_>, case: &Case<()>) {
        time(bencher, case.level, convert::f16_to_f32, half::f16::ONE, 0.0);
    }

    #[divan::bench(args = levels())]
    fn f32_to_f16(bencher: Bencher<'_, '_>, case: &Case<()>) {
        time(bencher, case.level, convert::f32_to_f16, 1.5, half::f16::ZERO);
    }

    #[divan::bench(args = levels())]
    fn bf16_to_f32(bencher: Bencher<'_, '_>, case: &Case<()>) {
        time(bencher, case.level, convert::bf16_to_f32, half::bf16::ONE, 0.0);
    }

    #[divan::bench(args = levels())]
    fn f32_to_bf16(bencher: Bencher<'_, '_>, case: &Case<()>) {
        time(bencher, case.level, convert::f32_to_bf16, 1.5, half::bf16::ZERO);
    }
}
