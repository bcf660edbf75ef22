//! What the first CUDA device does beside what it can do: medians of interleaved rounds, in one table.
//!
//! ```text
//! cargo bench --bench cuda --features cuda [-- CASE …] [--quick] [--card]
//! ```
//!
//! `CASE` picks the cases whose names contain it, `--quick` makes them tiny (to see that they work, not to measure), and
//! `--card` only says which device there is. Without a device it says why and ends; with `GRADIX_REQUIRE_CUDA=1` that is a
//! failure.
//!
//! Operations on memory are held against a copy within the device, by the bytes that they cannot avoid to read and write;
//! that copy against what clock and width of the memory allow. Products are held against the library's call alone. Launches are submitted without waiting for them, in runs that
//! the driver's queue has room for, and beside them the driver's call alone. `benches/cuda_pytorch.py` has the same cases with
//! PyTorch.

use backend_cuda::Cuda;
use gradix::optim::{Optimizer, Sgd};
use gradix::prelude::*;
use gradix::{Error, ErrorKind, Result, Shape, attempt};
use std::process::ExitCode;
use std::time::Instant;
use tensor_core::{Array, Backend};

/// How often everything has its turn.
const ROUNDS: usize = 15;
/// How long a case runs in a round, in seconds, so that submitting the first and waiting for the last do not count.
const TURN: f64 = 20e-3;
/// So many launches are submitted at once: drivers hold some thousand, and then let the caller wait.
const QUEUED: usize = 500;

const COPY: &str = "copy";
const BARE: &str = "launch, the driver's call alone";
const LAUNCH: &str = "launch of an addition of 256";
const ALONE: &str = "cuBLASLt alone";

fn main() -> ExitCode {
    let options = Options::parse(std::env::args().skip(1));
    let gpu = match Cuda::open(0) {
        Ok(gpu) => gpu,
        Err(why) => {
            println!("no CUDA device: {why}");
            let required = std::env::var_os("GRADIX_REQUIRE_CUDA").is_some_and(|value| value == "1");
            return if required { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    println!("{}", card(gpu));
    if options.card {
        return ExitCode::SUCCESS;
    }
    let failed = run(gpu, &options).unwrap_or_else(|why| vec![why.to_string()]);
    for why in &failed {
        println!("failed: {why}");
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Debug, Default)]
struct Options {
    quick: bool,
    card: bool,
    cases: Vec<String>,
}

impl Options {
    /// Other options are cargo's, or another benchmark's.
    fn parse(args: impl Iterator<Item = String>) -> Self {
        let mut options = Self::default();
        for arg in args {
            match arg.as_str() {
                "--quick" => options.quick = true,
                "--card" => options.card = true,
                other if other.starts_with('-') => {}
                _ => options.cases.push(arg),
            }
        }
        options
    }

    /// The copy is always there: others are held against it.
    fn take(&self, name: &str) -> bool {
        name.starts_with(COPY) || self.cases.is_empty() || self.cases.iter().any(|part| name.contains(part.as_str()))
    }
}

fn card(gpu: Cuda) -> String {
    let device = gpu.description();
    let (major, minor) = device.compute_capability;
    let bandwidth = device.memory_bandwidth.map_or_else(
        || "a bandwidth that the driver does not say".to_owned(),
        |bytes| format!("{} GB/s by clock and width", bytes / 1_000_000_000),
    );
    format!(
        "{}, compute capability {major}.{minor}, {} multiprocessors, {} MiB of memory, {bandwidth}",
        device.name,
        device.multiprocessors,
        device.memory >> 20
    )
}

/// How large the cases are.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    copy: usize,
    elements: usize,
    lines: [usize; 2],
    sides: [usize; 2],
    batch: usize,
    layers: [usize; 4],
    launches: usize,
}

impl Sizes {
    fn full() -> Self {
        Self {
            copy: 1 << 30,
            elements: 1 << 26,
            lines: [8192, 4096],
            sides: [4096, 8192],
            batch: 128,
            layers: [784, 512, 512, 10],
            launches: 10_000,
        }
    }

    fn quick() -> Self {
        Self {
            copy: 1 << 16,
            elements: 1 << 12,
            lines: [16, 64],
            sides: [16, 32],
            batch: 4,
            layers: [12, 8, 8, 4],
            launches: 20,
        }
    }

    /// Half of the memory, for a device with too little.
    fn halved(self) -> Self {
        let [rows, columns] = self.lines;
        Self {
            copy: self.copy / 2,
            elements: self.elements / 2,
            lines: [rows / 2, columns],
            sides: self.sides.map(|side| side / 2),
            ..self
        }
    }
}

/// What there is to do in a case.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// So many bytes, and which part of the copy's speed is the goal.
    Bytes(usize, f64),
    /// So many multiplications and additions.
    Flops(f64),
    /// Launches that are submitted without waiting, so many in a turn.
    Launches(usize),
    Steps,
}

struct Case {
    name: String,
    work: Work,
    /// Submits it once.
    submit: Box<dyn FnMut() -> Result<()>>,
    /// How often it is done in a turn.
    repeats: usize,
    /// Seconds, one for each round.
    times: Vec<f64>,
}

impl Case {
    /// Submits it so many times without waiting.
    fn submit(&mut self, times: usize) -> Result<()> {
        // Tensors panic where the device fails.
        attempt(|| (0..times).try_for_each(|_| (self.submit)())).flatten()
    }

    /// Seconds that it takes once, in a turn of this many.
    fn time(&mut self, gpu: Cuda, repeats: usize) -> Result<f64> {
        gpu.synchronize()?;
        let mut taken = 0.0;
        let mut left = repeats;
        while left > 0 {
            let launches = matches!(self.work, Work::Launches(_));
            let now = if launches { left.min(QUEUED) } else { left };
            let start = Instant::now();
            self.submit(now)?;
            if launches {
                taken += start.elapsed().as_secs_f64();
                gpu.synchronize()?;
            } else {
                gpu.synchronize()?;
                taken += start.elapsed().as_secs_f64();
            }
            left -= now;
        }
        Ok(taken / repeats as f64)
    }

    /// Compiles what has to be compiled, and finds out how often a turn has it.
    fn warm_up(&mut self, gpu: Cuda, quick: bool) -> Result<()> {
        self.time(gpu, 1)?;
        let once = self.time(gpu, 2)?;
        self.repeats = match self.work {
            Work::Launches(count) => count,
            _ if quick => 1,
            _ => ((TURN / once) as usize).clamp(1, 1000),
        };
        Ok(())
    }
}

/// Makes the cases, shrinks them until they fit into the memory, and measures them in turn. Gives what failed.
fn run(gpu: Cuda, options: &Options) -> Result<Vec<String>> {
    let mut sizes = if options.quick { Sizes::quick() } else { Sizes::full() };
    let mut shrunk = 0;
    let (mut cases, mut failed) = loop {
        match prepare(gpu, &sizes, options) {
            Ok(cases) => break cases,
            Err(why) if is_out_of_memory(&why) && shrunk < 8 => {
                gpu.trim()?;
                sizes = sizes.halved();
                shrunk += 1;
            }
            Err(why) => return Err(why),
        }
    };
    if shrunk > 0 {
        println!("For want of memory, sizes are 1/{} of the usual.", 1 << shrunk);
    }
    let rounds = if options.quick { 2 } else { ROUNDS };
    for _ in 0..rounds {
        cases.retain_mut(|case| match case.time(gpu, case.repeats) {
            Ok(taken) => {
                case.times.push(taken);
                true
            }
            Err(why) => {
                failed.push(format!("{}: {why}", case.name));
                false
            }
        });
    }
    println!("Medians of {rounds} rounds; what is not stated is f32.\n");
    print_table(gpu, &cases);
    if options.quick {
        println!("\nTiny sizes: this shows that the cases work, and measures nothing.");
    }
    Ok(failed)
}

/// Every case that was asked for, each run a few times, and what failed.
fn prepare(gpu: Cuda, sizes: &Sizes, options: &Options) -> Result<(Vec<Case>, Vec<String>)> {
    let mut cases = Cases { gpu, device: Device::Cuda(gpu), options, list: Vec::new(), failed: Vec::new() };
    cases.memory(sizes)?;
    cases.products(sizes)?;
    cases.launches(sizes)?;
    cases.learning(sizes)?;
    Ok((cases.list, cases.failed))
}

fn is_out_of_memory(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::OutOfMemory { .. })
}

struct Cases<'a> {
    gpu: Cuda,
    device: Device,
    options: &'a Options,
    list: Vec<Case>,
    failed: Vec<String>,
}

impl Cases<'_> {
    /// Takes a case in if it was asked for; `make` gets its data and gives what submits it. One that fails is noted and left
    /// out, unless it is for want of memory.
    fn add<F: FnMut() -> Result<()> + 'static>(
        &mut self,
        name: impl Into<String>,
        work: Work,
        make: impl FnOnce(&Self) -> Result<F>,
    ) -> Result<()> {
        let name = name.into();
        if !self.options.take(&name) {
            return Ok(());
        }
        let made = make(self).and_then(|submit| {
            let mut case = Case { name: name.clone(), work, submit: Box::new(submit), repeats: 1, times: Vec::new() };
            case.warm_up(self.gpu, self.options.quick)?;
            Ok(case)
        });
        match made {
            Ok(case) => self.list.push(case),
            Err(why) if is_out_of_memory(&why) => return Err(why),
            Err(why) => self.failed.push(format!("{name}: {why}")),
        }
        Ok(())
    }

    /// Numbers between −1 and 1, the same ones for the same seed.
    fn tensor(&self, seed: u64, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let numbers = Array::rand(&self.device, seed, 0, &Shape::new(shape)?, dtype)?;
        let tensor = attempt(|| Tensor::from_array(numbers) * 2.0 - 1.0)?;
        now(&tensor)?;
        Ok(tensor)
    }

    /// An operation on one tensor.
    fn pass(
        &mut self,
        name: String,
        (bytes, goal): (usize, f64),
        shape: &[usize],
        operation: impl Fn(&Tensor) -> Tensor + 'static,
    ) -> Result<()> {
        self.add(name, Work::Bytes(bytes, goal), |cases| {
            let x = cases.tensor(1, shape, DType::F32)?;
            Ok(move || now(&operation(&x)))
        })
    }

    fn memory(&mut self, sizes: &Sizes) -> Result<()> {
        let &Sizes { copy, elements, lines: [rows, columns], .. } = sizes;
        let gpu = self.gpu;
        self.add(format!("{COPY} of {} MiB", copy as f64 / f64::from(1 << 20)), Work::Bytes(2 * copy, 1.0), |_| {
            let buffer = gpu.alloc(copy)?;
            Ok(move || gpu.copy_to(&buffer, &gpu).map(drop))
        })?;
        let (once, twice) = (4 * elements, 8 * elements);
        let many = if elements >= 1 << 20 { format!("{}M", elements >> 20) } else { elements.to_string() };
        self.pass(format!("x³ + 3x² − 5x + 4 of {many}"), (twice, 0.9), &[elements], |x| {
            x.powi(3) + 3 * x.powi(2) - 5 * x + 4
        })?;
        self.pass(format!("GELU of {many}"), (twice, 0.9), &[elements], Tensor::gelu)?;
        self.pass(format!("sum of {many}"), (once, 0.9), &[elements], Tensor::sum)?;
        let (lines, both) = (format!("{rows}×{columns}"), 8 * rows * columns);
        self.pass(format!("softmax of rows {lines}"), (both, 0.8), &[rows, columns], |x| x.softmax(1))?;
        let weight = self.tensor(2, &[columns], DType::F32)?;
        let bias = self.tensor(3, &[columns], DType::F32)?;
        self.pass(format!("layer norm {lines}"), (both, 0.8), &[rows, columns], move |x| {
            x.layer_norm(&[columns], Some(&weight), Some(&bias), 1e-5)
        })
    }

    fn products(&mut self, sizes: &Sizes) -> Result<()> {
        let gpu = self.gpu;
        for side in sizes.sides {
            for (kind, dtype, tf32) in
                [("f32", DType::F32, false), ("TF32", DType::F32, true), ("bf16", DType::BF16, false)]
            {
                let name = format!("matmul {kind} {side}²");
                let work = Work::Flops(2.0 * (side as f64).powi(3));
                let alone = format!("{name}, {ALONE}");
                if self.options.take(&alone)
                    && let Some(submit) = gpu.bare_product(side, dtype, tf32)?
                {
                    self.add(alone, work, |_| Ok(submit))?;
                }
                self.add(name, work, |cases| {
                    let a = cases.tensor(1, &[side, side], dtype)?;
                    let b = cases.tensor(2, &[side, side], dtype)?;
                    Ok(move || {
                        gpu.set_tf32(tf32);
                        let submitted = now(&a.matmul(&b));
                        gpu.set_tf32(false);
                        submitted
                    })
                })?;
            }
        }
        Ok(())
    }

    fn launches(&mut self, sizes: &Sizes) -> Result<()> {
        let work = Work::Launches(sizes.launches);
        self.add(BARE, work, |cases| cases.gpu.bare_launch())?;
        self.add(LAUNCH, work, |cases| {
            let x = cases.tensor(1, &[256], DType::F32)?;
            let mut y = x.clone();
            Ok(move || {
                y = &y + &x;
                now(&y)
            })
        })
    }

    /// Forward, backward and update of a network of three layers, submitted one by one and as a graph.
    fn learning(&mut self, sizes: &Sizes) -> Result<()> {
        let &Sizes { batch, layers, .. } = sizes;
        let gpu = self.gpu;
        let name = format!("MLP {} step, batch {batch}", layers.map(|size| size.to_string()).join("-"));
        self.add(name.clone(), Work::Steps, |cases| cases.step(batch, layers))?;
        self.add(format!("{name}, as a graph"), Work::Steps, |cases| {
            let mut step = cases.step(batch, layers)?;
            // Kernels are compiled outside.
            attempt(&mut step).flatten()?;
            let (graph, ()) = attempt(|| gpu.capture(&mut step)).flatten()?;
            Ok(move || {
                // The parameters stay.
                let _kept = &step;
                graph.launch()
            })
        })
    }

    /// What does a step.
    fn step(&self, batch: usize, layers: [usize; 4]) -> Result<impl FnMut() -> Result<()> + use<>> {
        let x = self.tensor(1, &[batch, layers[0]], DType::F32)?;
        let classes: Vec<i64> = (0..batch).map(|row| (row * 7 % layers[3]) as i64).collect();
        let target = Tensor::from_array(Array::from_slice(&self.device, &classes, [batch])?);
        let mut parameters = Vec::new();
        for (layer, pair) in (0..).zip(layers.windows(2)) {
            let (inputs, outputs) = (pair[0], pair[1]);
            let scale = (inputs as f64).sqrt().recip();
            for (seed, shape) in [(10 + layer, &[outputs, inputs][..]), (20 + layer, &[outputs])] {
                let start = self.tensor(seed, shape, DType::F32)? * scale;
                now(&start)?;
                parameters.push(start.requires_grad_());
            }
        }
        let mut optimizer = Sgd::new(&parameters, 0.1);
        Ok(move || {
            let [w0, b0, w1, b1, w2, b2] = &parameters[..] else { unreachable!("three layers") };
            let hidden = x.linear(w0, Some(b0)).relu().linear(w1, Some(b1)).relu();
            let loss = hidden.linear(w2, Some(b2)).cross_entropy(&target);
            optimizer.zero_grad();
            loss.backward();
            optimizer.step();
            now(&loss)?;
            parameters.iter().try_for_each(now)
        })
    }
}

/// Pointwise operations wait for more of their kind: this submits them, without waiting for the device.
fn now(tensor: &Tensor) -> Result<()> {
    tensor.array().force()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn print_table(gpu: Cuda, cases: &[Case]) {
    println!("| case | time | rate | share | goal | |");
    println!("|-|-|-|-|-|-|");
    for case in cases {
        let taken = median(case.times.clone());
        let rate = match case.work {
            Work::Bytes(bytes, _) => format!("{:.1} GB/s", bytes as f64 / taken / 1e9),
            Work::Flops(count) => format!("{:.2} TFLOP/s", count / taken / 1e12),
            Work::Launches(_) | Work::Steps => "–".to_owned(),
        };
        let (share, goal, met) = share(gpu, cases, case);
        let met = if met { "met" } else { "" };
        println!("| {} | {} | {rate} | {share} | {goal} | {met} |", case.name, time(taken));
    }
}

/// What a case is held against, the goal, and whether that is met. Both sides are of the same round.
fn share(gpu: Cuda, cases: &[Case], case: &Case) -> (String, String, bool) {
    let none = || ("–".to_owned(), "–".to_owned(), false);
    let other = |start: &str| cases.iter().find(|other| other.name.starts_with(start));
    match case.work {
        Work::Bytes(bytes, _) if case.name.starts_with(COPY) => {
            let Some(limit) = gpu.description().memory_bandwidth else { return none() };
            let rate = bytes as f64 / median(case.times.clone());
            (format!("{:.2} of the memory's", rate / limit as f64), "–".to_owned(), false)
        }
        Work::Bytes(bytes, goal) => {
            let Some((copy, Work::Bytes(copied, _))) = other(COPY).map(|copy| (copy, copy.work)) else { return none() };
            let rounds = case.times.iter().zip(&copy.times);
            let ratio = median(rounds.map(|(own, copy)| bytes as f64 / own / (copied as f64 / copy)).collect());
            (format!("{ratio:.2} of the copy"), format!("≥ {goal}"), ratio >= goal)
        }
        Work::Launches(_) if case.name == LAUNCH => {
            let Some(bare) = other(BARE) else { return none() };
            let ours = median(case.times.iter().zip(&bare.times).map(|(all, bare)| all - bare).collect());
            (format!("{} ours", time(ours.max(0.0))), "≤ 1 µs".to_owned(), ours <= 1e-6)
        }
        Work::Flops(_) => {
            let Some(alone) = other(&format!("{}, {ALONE}", case.name)) else { return none() };
            let ratio = median(case.times.iter().zip(&alone.times).map(|(own, alone)| alone / own).collect());
            (format!("{ratio:.2} of {ALONE}"), "≥ 0.97".to_owned(), ratio >= 0.97)
        }
        Work::Launches(_) | Work::Steps => none(),
    }
}

/// A time of three digits.
fn time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s < 1e-6 => (s * 1e9, "ns"),
        s if s < 1e-3 => (s * 1e6, "µs"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    let digits = if value >= 100.0 { 0 } else { 1 + usize::from(value < 10.0) };
    format!("{value:.digits$} {unit}")
}
