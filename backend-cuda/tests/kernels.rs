//! That the kernels the conformance kit causes compile, for the oldest and the newest devices, and keep their values in
//! registers. This needs NVRTC and no GPU: a backend that only plans takes the kit's operations.
//!
//! The kit causes some 8000 kernels. Each run finds all of them, and compiles every third for the first device and every 25th,
//! each time another one, for the others; `GRADIX_NVRTC_ALL=1` compiles all, which takes two minutes and more for each device.
//! `GRADIX_NVRTC_ARCHS=90,75` chooses their compute capabilities, and `GRADIX_NVRTC_CASES=softmax` those cases of the kit that
//! have this in their names. Without NVRTC there is nothing to do, unless
//! `GRADIX_REQUIRE_NVRTC=1` says that there must be one.

use backend_cuda::nvrtc::{self, Arch};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tensor_core::codegen::{self, ENTRY, Plan, Source, Target, Tensor};
use tensor_core::fallback;
use tensor_core::matmul::by_plain_product;
use tensor_core::reference::{HostBuffer, Reference};
use tensor_core::{
    Backend, DeviceInfo, Input, MatmulSpec, Program, ReduceSpec, Result, ScanOp, ScatterOp, Shape, View, ViewMut,
};

/// Host memory, and operations that write down the kernels that a CUDA device would have run. The reference computes them, so
/// that no case of the kit ends at a wrong result before its last operation.
#[derive(Clone, Debug)]
struct Planner {
    target: Target,
    sources: Arc<Mutex<BTreeMap<String, String>>>,
}

impl PartialEq for Planner {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.sources, &other.sources)
    }
}

impl Eq for Planner {}

impl Planner {
    fn new() -> Self {
        Self { target: backend_cuda::target(108), sources: Arc::default() }
    }

    fn note(&self, plan: &Plan) {
        let mut sources = self.sources.lock().unwrap();
        for launch in &plan.launches {
            sources.entry(launch.kernel.source(&self.target)).or_insert_with(|| format!("{:?}", launch.kernel));
        }
    }
}

fn tensor<'a>(view: &View<'a, Planner>) -> Tensor<'a> {
    Tensor { layout: view.layout, dtype: view.dtype }
}

fn result<'a>(view: &ViewMut<'a, Planner>) -> Tensor<'a> {
    Tensor { layout: view.layout, dtype: view.dtype }
}

impl Backend for Planner {
    type Buffer = HostBuffer;

    fn info(&self) -> DeviceInfo {
        Reference.info()
    }

    fn label(&self) -> Cow<'static, str> {
        // What it computes with is the reference, so its fallbacks are no surprise.
        "reference:cuda".into()
    }

    fn alloc(&self, bytes: usize) -> Result<HostBuffer> {
        Reference.alloc(bytes)
    }

    fn write(&self, buffer: &mut HostBuffer, offset: usize, bytes: &[u8]) -> Result<()> {
        Reference.write(buffer, offset, bytes)
    }

    fn read(&self, buffer: &HostBuffer, offset: usize, bytes: &mut [u8]) -> Result<()> {
        Reference.read(buffer, offset, bytes)
    }

    fn size(&self, buffer: &HostBuffer) -> usize {
        Reference.size(buffer)
    }

    fn is_unique(&self, buffer: &mut HostBuffer) -> bool {
        Reference.is_unique(buffer)
    }

    fn is_same(&self, a: &HostBuffer, b: &HostBuffer) -> bool {
        Reference.is_same(a, b)
    }

    fn pointwise(
        &self,
        program: &Program,
        shape: &Shape,
        inputs: &[Input<'_, Self>],
        outputs: &mut [ViewMut<'_, Self>],
    ) -> Result<()> {
        let sources: Vec<Source<'_>> = inputs
            .iter()
            .map(|input| match input {
                Input::View(view) => Source::Tensor(tensor(view)),
                Input::Output(number) => Source::Output(*number),
            })
            .collect();
        let results: Vec<Tensor<'_>> = outputs.iter().map(result).collect();
        self.note(&codegen::pointwise(program, shape, &sources, &results, &self.target));
        fallback::pointwise(self, program, shape, inputs, outputs)
    }

    fn reduce(&self, spec: &ReduceSpec<'_>, inputs: &[View<'_, Self>], out: ViewMut<'_, Self>) -> Result<()> {
        let tensors: Vec<Tensor<'_>> = inputs.iter().map(tensor).collect();
        self.note(&codegen::reduce(spec, &tensors, result(&out), &self.target));
        fallback::reduce(self, spec, inputs, out)
    }

    fn scan(&self, op: ScanOp, axis: usize, input: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        self.note(&codegen::scan(op, axis, tensor(&input), result(&out), &self.target));
        fallback::scan(self, op, axis, input, out)
    }

    fn matmul(
        &self,
        spec: &MatmulSpec<'_>,
        a: View<'_, Self>,
        b: View<'_, Self>,
        extras: &[View<'_, Self>],
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        by_plain_product(self, spec, [a, b], extras, out, |a, b, out| {
            self.note(&codegen::matmul(tensor(&a), tensor(&b), result(&out), &self.target));
            let plain = MatmulSpec::batched(a.layout.rank());
            fallback::matmul(self, &plain, a, b, &[], out)
        })
    }

    fn gather(&self, axis: usize, input: View<'_, Self>, index: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        self.note(&codegen::gather(axis, tensor(&input), tensor(&index), result(&out), &self.target));
        fallback::gather(self, axis, input, index, out)
    }

    fn scatter(
        &self,
        op: ScatterOp,
        axis: usize,
        index: View<'_, Self>,
        src: View<'_, Self>,
        out: ViewMut<'_, Self>,
    ) -> Result<()> {
        self.note(&codegen::scatter(op, axis, tensor(&index), tensor(&src), result(&out), &self.target));
        fallback::scatter(self, op, axis, index, src, out)
    }

    fn sort(
        &self,
        axis: usize,
        descending: bool,
        input: View<'_, Self>,
        values: ViewMut<'_, Self>,
        indices: ViewMut<'_, Self>,
    ) -> Result<()> {
        let (to, places) = (result(&values), result(&indices));
        self.note(&codegen::sort(axis, descending, tensor(&input), to, places, &self.target));
        fallback::sort(self, axis, descending, input, values, indices)
    }

    fn softmax(&self, axis: usize, log: bool, input: View<'_, Self>, out: ViewMut<'_, Self>) -> Result<()> {
        self.note(&codegen::softmax(axis, log, tensor(&input), result(&out), &self.target));
        fallback::softmax(self, axis, log, input, out)
    }
}

/// What of a source is the same in all of them, and the rest. Everything up to the last `#define` at the start of a line is.
fn split(source: &str) -> (&str, &str) {
    let last = source.rfind("\n#define ").expect("a prelude") + 1;
    source.split_at(last + source[last..].find('\n').expect("a line") + 1)
}

/// Many kernels as one source, each in a namespace and under a name of its own: compiling one at a time takes ten times as
/// long.
fn together(sources: &[(String, String)]) -> String {
    let mut text = split(&sources[0].0).0.to_owned();
    for (number, (source, what)) in sources.iter().enumerate() {
        let (prelude, body) = split(source);
        assert_eq!(prelude, split(&sources[0].0).0, "the prelude of {what}");
        let body = body.replace(&format!(" void {ENTRY}("), &format!(" void {ENTRY}_{number}("));
        text += &format!("namespace kernel_{number} {{\n{body}}}\n");
    }
    text
}

/// One kernel of so many is compiled for the first device, and for the others, unless all are.
const SAMPLES: [usize; 2] = [3, 25];

/// How many bytes a thread may move from registers to memory and back: what a call of a function that is not inlined, such as
/// the slow path of a division, saves and restores where many values are held.
const SPILLED: u64 = 64;

/// A kernel, with what the compiler said about it, that has more values than it has registers for.
fn spills(log: &str, group: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    let mut what = "";
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let name = rest.split('\'').next().unwrap_or_default();
            // `gradix_12`, in a namespace of its own, which comes before.
            let number = name.rsplit(&format!("{ENTRY}_")).next().and_then(|rest| {
                let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                rest[..digits].parse::<usize>().ok()
            });
            what = &group[number.expect("entries are numbered")].1;
        }
        let stores = line.split(", ").find_map(|part| part.trim().strip_suffix(" bytes spill stores"));
        if stores.is_some_and(|bytes| bytes.trim().parse::<u64>().is_ok_and(|bytes| bytes > SPILLED)) {
            found.push(format!("{what}: {}", line.trim()));
        }
    }
    found
}

#[test]
fn every_kernel_of_the_kit_compiles() {
    let supported = match nvrtc::supported() {
        Ok(supported) => supported,
        Err(why) => {
            let required = std::env::var_os("GRADIX_REQUIRE_NVRTC").is_some_and(|value| value == "1");
            assert!(!required, "{why}");
            eprintln!("skipped: {why}");
            return;
        }
    };
    let archs: Vec<u32> = match std::env::var("GRADIX_NVRTC_ARCHS") {
        Ok(list) => list.split(',').map(|version| version.trim().parse().expect("numbers such as 75,90")).collect(),
        Err(_) => vec![*supported.first().expect("an architecture"), *supported.last().expect("an architecture")],
    };
    let all = std::env::var_os("GRADIX_NVRTC_ALL").is_some_and(|value| value == "1");
    let chosen = &std::env::var("GRADIX_NVRTC_CASES").ok();
    let planner = Planner::new();
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let planner = planner.clone();
            scope.spawn(move || {
                let cases = tensor_core::conformance::cases::<Planner>();
                let some = cases.iter().filter(|case| chosen.as_ref().is_none_or(|part| case.name().contains(part)));
                some.skip(thread).step_by(threads).for_each(|case| drop(case.run(&planner)));
            });
        }
    });
    let sources: Vec<(String, String)> =
        planner.sources.lock().unwrap().iter().map(|(source, what)| (source.clone(), what.clone())).collect();
    assert!(chosen.is_some() || sources.len() > 5000, "the kit causes more kernels than {}", sources.len());
    for (number, &arch) in archs.iter().enumerate() {
        let step = if all { 1 } else { SAMPLES[number.min(1)] };
        let sources: Vec<_> = sources.iter().skip(number % step).step_by(step).cloned().collect();
        eprintln!("{} kernels for sm_{arch}", sources.len());
        let groups = Mutex::new(sources.chunks(64));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let next = || groups.lock().unwrap().next();
                scope.spawn(move || {
                    while let Some(group) = next() {
                        compile(group, arch);
                    }
                });
            }
        });
    }
}

fn compile(group: &[(String, String)], arch: u32) {
    let text = together(group);
    match nvrtc::compile(&text, Arch::Exact(arch), &["--ptxas-options=-v"]) {
        Ok((image, log)) => {
            assert!(image.starts_with(b"\x7fELF"), "a CUBIN is an ELF file");
            assert!(log.contains("Compiling entry function"), "the compiler reports registers: {log}");
            let spills = spills(&log, group);
            assert!(spills.is_empty(), "for sm_{arch}: {spills:#?}");
        }
        Err(_) => {
            // One by one, to say which.
            for (source, what) in group {
                if let Err(log) = nvrtc::compile(source, Arch::Exact(arch), &[]) {
                    panic!("{what} does not compile for sm_{arch}: {log}\n{source}");
                }
            }
            panic!("kernels compile one by one and not together:\n{text}");
        }
    }
}
