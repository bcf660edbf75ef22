//! What more threads gain: `cargo bench --bench threads [-- FILTER …]`.
//!
//! Each case runs in turn in a process with one thread and in one with all; printed are the median times and their ratio.

mod data;

use gradix::ConvOptions;
use gradix::prelude::*;
use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// How often both processes run.
const ROUNDS: usize = 9;
/// How long a case is timed in a round, in seconds.
const SECONDS: f64 = 0.1;

/// The seconds that each case takes, by its name.
fn measure(filters: &[String]) -> Vec<(String, f64)> {
    let tensor = |seed: u64, shape: &[usize]| data::tensor(seed, shape, 1.0);
    let mut found = Vec::new();
    let mut case = |name: String, call: &dyn Fn() -> Tensor| {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            return;
        }
        let once = || drop(black_box(call().force().clone()));
        once();
        let (mut times, start) = (Vec::new(), Instant::now());
        while times.len() < 5 || start.elapsed().as_secs_f64() < SECONDS {
            let start = Instant::now();
            once();
            times.push(start.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        found.push((name, times[times.len() / 2]));
    };
    for size in [16, 64, 128, 256, 512, 1024, 2048] {
        let (a, b) = (tensor(1, &[size, size]), tensor(2, &[size, size]));
        case(format!("matmul {size}²"), &|| a.matmul(&b));
    }
    let (a, b) = (tensor(1, &[32, 128, 128]), tensor(2, &[32, 128, 128]));
    case("matmul 32 of 128²".to_owned(), &|| a.matmul(&b));
    let (x, weight) = (tensor(1, &[16, 64, 28, 28]), tensor(2, &[64, 64, 3, 3]));
    let options = ConvOptions::default();
    case("conv2d 16×64×28², 64 of 3×3".to_owned(), &|| x.conv2d(&weight, None, options.clone()));
    for count in [1 << 10, 1 << 14, 1 << 16, 1 << 18, 1 << 22] {
        let (x, y) = (tensor(1, &[count]), tensor(2, &[count]));
        case(format!("add of {count}"), &|| &x + &y);
        case(format!("gelu of {count}"), &|| x.gelu());
        case(format!("sum of {count}"), &|| x.sum());
    }
    let x = tensor(1, &[1024, 1024]);
    case("softmax of rows 1024²".to_owned(), &|| x.softmax(-1));
    case("sort of rows 1024²".to_owned(), &|| x.sort(-1, false).0);
    found
}

fn main() -> ExitCode {
    let filters: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if std::env::var_os("GRADIX_BENCH_CHILD").is_some() {
        for (name, seconds) in measure(&filters) {
            println!("{name}\t{seconds}");
        }
        return ExitCode::SUCCESS;
    }
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    // A list of times for each case, for one thread and for all.
    let mut cases: Vec<(String, [Vec<f64>; 2])> = Vec::new();
    for _ in 0..ROUNDS {
        for (side, threads) in [1, all].into_iter().enumerate() {
            let mut child = Command::new(std::env::current_exe().expect("the bench's own path"));
            child.args(&filters).env("GRADIX_BENCH_CHILD", "1").env("RAYON_NUM_THREADS", threads.to_string());
            let output = child.output().expect("the bench starts itself");
            for line in String::from_utf8_lossy(&output.stdout).lines() {
                let Some((name, seconds)) = line.split_once('\t') else { continue };
                let place = cases.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                    cases.push((name.to_owned(), Default::default()));
                    cases.len() - 1
                });
                cases[place].1[side].push(seconds.parse().expect("seconds"));
            }
        }
    }
    println!("| | one thread, µs | {all} threads, µs | gain |");
    println!("|-|-|-|-|");
    for (name, times) in &mut cases {
        let [one, more] = times.each_mut().map(|times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        });
        println!("| {name} | {:.1} | {:.1} | {:.2} |", one * 1e6, more * 1e6, one / more);
    }
    if cases.is_empty() {
        eprintln!("no case has that in its name");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
