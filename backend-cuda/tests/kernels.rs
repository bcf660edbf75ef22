//! That kernels compile with NVIDIA's compiler, for the oldest and the newest devices, and keep their values in registers.
//! This needs NVRTC and no GPU.
//!
//! Which kernels: every source in the folder `GRADIX_KERNEL_SOURCES`, where the stand-in for the driver puts those of whatever
//! runs over it (`FAKE_CUDA_SOURCES`). `cargo xtask cuda-kernels` does both, and so does `cargo xtask test-all`.
//!
//! Each is compiled for every device of `GRADIX_NVRTC_ARCHS=90,80,75,121`. Without NVRTC there is nothing to do, unless
//! `GRADIX_REQUIRE_NVRTC=1` says that there must be one.

use backend_cuda::nvrtc::{self, Arch};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;
use tensor_core::codegen::ENTRY;

/// A kernel's source, and the name of its file.
struct Kernel {
    name: String,
    source: String,
}

impl Kernel {
    /// What of a source is the same in many of them, and the rest. Everything up to the last `#define` at the start of a line
    /// is.
    fn split(&self) -> (&str, &str) {
        let last = self.source.rfind("\n#define ").map_or(0, |at| at + 1);
        let end = self.source[last..].find('\n').map_or(last, |end| last + end + 1);
        self.source.split_at(end)
    }
}

/// The sources of a folder, those with one beginning together.
fn read(folder: &Path) -> Vec<Vec<Kernel>> {
    let mut groups: BTreeMap<String, Vec<Kernel>> = BTreeMap::new();
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("the folder is there").flatten().map(|e| e.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "cu"));
    paths.sort();
    for path in paths {
        let source = std::fs::read_to_string(&path).expect("a source is text");
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let kernel = Kernel { name, source };
        // What differs between devices would have to be compiled for each.
        assert!(!kernel.source.contains("__CUDA_ARCH__"), "{} has text for some devices only", kernel.name);
        groups.entry(kernel.split().0.to_owned()).or_default().push(kernel);
    }
    groups.into_values().collect()
}

/// Many kernels as one source, each in a namespace and under a name of its own: compiling one at a time takes twice as long.
fn together(kernels: &[&Kernel]) -> String {
    let mut text = kernels[0].split().0.to_owned();
    for (number, kernel) in kernels.iter().enumerate() {
        let body = kernel.split().1.replace(&format!(" void {ENTRY}("), &format!(" void {ENTRY}_{number}("));
        text += &format!("namespace kernel_{number} {{\n{body}}}\n");
    }
    text
}

/// The kernels that have more values than registers, by what the compiler said.
fn spills(log: &str, kernels: &[&Kernel]) -> Vec<String> {
    let mut found = Vec::new();
    let mut which = "";
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let name = rest.split('\'').next().unwrap_or_default();
            // `gradix_12`, in a namespace of its own, which comes before.
            let number = name.rsplit(&format!("{ENTRY}_")).next().and_then(|rest| {
                let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                rest[..digits].parse::<usize>().ok()
            });
            which = &kernels[number.expect("entries are numbered")].name;
        }
        let bytes = |what: &str| {
            let part = line.split(", ").find_map(|part| part.trim().strip_suffix(what));
            part.and_then(|bytes| bytes.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        if bytes(" bytes spill stores") + bytes(" bytes spill loads") > 0 {
            found.push(format!("{which}: {}", line.trim_start_matches(['.', ' ']).trim()));
        }
    }
    found
}

/// What is wrong with these kernels on a device.
fn compile(kernels: &[&Kernel], arch: u32) -> Vec<String> {
    match nvrtc::compile(&together(kernels), Arch::Exact(arch), &["--ptxas-options=-v"]) {
        Ok((image, log)) => {
            assert!(image.starts_with(b"\x7fELF"), "a CUBIN is an ELF file");
            let reported = log.matches("Compiling entry function").count();
            assert_eq!(reported, kernels.len(), "the compiler reports on every kernel: {log}");
            spills(&log, kernels).into_iter().map(|spill| format!("sm_{arch}: {spill}")).collect()
        }
        Err(together) => {
            // One by one, to say which.
            let one = |kernel: &&Kernel| {
                nvrtc::compile(&kernel.source, Arch::Exact(arch), &[]).err().map(|log| (kernel.name.clone(), log))
            };
            let wrong: Vec<String> =
                kernels.iter().filter_map(one).map(|(name, log)| format!("sm_{arch}: {name}: {log}")).collect();
            if wrong.is_empty() { vec![format!("sm_{arch}: only together: {together}")] } else { wrong }
        }
    }
}

fn number(name: &str) -> Option<usize> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn kernels_compile_without_spills() {
    let required = std::env::var_os("GRADIX_REQUIRE_NVRTC").is_some_and(|value| value == "1");
    let (supported, folder) = match (nvrtc::supported(), std::env::var_os("GRADIX_KERNEL_SOURCES")) {
        (Ok(supported), Some(folder)) => (supported, folder),
        (supported, _) => {
            let why = supported.err().unwrap_or_else(|| "GRADIX_KERNEL_SOURCES names no folder".to_owned());
            assert!(!required, "{why}");
            eprintln!("skipped: {why}; `cargo xtask cuda-kernels` runs this");
            return;
        }
    };
    let archs: Vec<u32> = match std::env::var("GRADIX_NVRTC_ARCHS") {
        Ok(list) => list.split(',').map(|version| version.trim().parse().expect("numbers such as 90,75")).collect(),
        Err(_) => vec![*supported.last().expect("an architecture"), *supported.first().expect("an architecture")],
    };
    let groups = read(Path::new(&folder));
    let count: usize = groups.iter().map(Vec::len).sum();
    let least = number("GRADIX_NVRTC_LEAST").unwrap_or(1);
    assert!(count >= least, "{count} sources are fewer than the {least} that there should be");
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let mut wrong = Vec::new();
    for &arch in &archs {
        let start = Instant::now();
        let next = Mutex::new(groups.iter().flat_map(|group| group.chunks(64)));
        let found = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(kernels) = { next.lock().unwrap().next() } {
                        let wrong = compile(&kernels.iter().collect::<Vec<_>>(), arch);
                        found.lock().unwrap().extend(wrong);
                    }
                });
            }
        });
        println!("{count} kernels for sm_{arch}: {:.0} s", start.elapsed().as_secs_f64());
        wrong.extend(found.into_inner().unwrap());
    }
    assert!(wrong.is_empty(), "of the sources in {}:\n{}", folder.display(), wrong.join("\n"));
}
