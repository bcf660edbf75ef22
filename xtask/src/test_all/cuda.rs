//! The tests of the CUDA backend where no GPU is: over the fake driver, and its kernels through NVIDIA's compiler.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::build::Program;
use super::libtest::Summary;
use super::report::{Record, Report};
use super::{Kind, program_command, run_command};
use crate::backends::{Missing, Probe};
use crate::workspace::Workspace;
use crate::{fake_cuda, nvrtc};

/// The package whose tests run over the fake.
const PACKAGE: &str = "gradix-backend-cuda";

/// One way to run tests over the fake driver.
struct FakeRun {
    name: &'static str,
    /// Which test programs; none named means all.
    targets: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
    /// Which cases, if not all: the program runs once for each of these.
    filters: &'static [&'static str],
    how: How,
}

/// What is special about a run besides its variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Plain,
    /// Products of floats go through gradix's own kernel.
    WithoutBlas,
    /// Kernels are compiled with the sanitizers.
    Sanitized,
}

/// Every run, the plain one first. Under the sanitizers everything is compiled again and slower, so a part has to do: of
/// every kind of kernel that walks memory, small shapes.
const RUNS: [FakeRun; 6] = [
    FakeRun { name: "CUDA fake", targets: &[], variables: &[], filters: &[""], how: How::Plain },
    FakeRun {
        name: "CUDA fake, no cuBLASLt",
        targets: &["conformance"],
        variables: &[],
        filters: &["matmul/"],
        how: How::WithoutBlas,
    },
    // The table of gradients leaves itself out where operations fuse.
    FakeRun {
        name: "CUDA fake, eager",
        targets: &["gradients_cuda"],
        variables: &[("GRADIX_EAGER", "1")],
        filters: &["table/"],
        how: How::Plain,
    },
    FakeRun {
        name: "CUDA fake, descending, late",
        targets: &["conformance"],
        variables: &[("FAKE_CUDA_ORDER", "descending"), ("FAKE_CUDA_ASYNC", "1")],
        filters: &[""],
        how: How::Plain,
    },
    FakeRun {
        name: "CUDA fake, random, direct",
        targets: &["conformance", "faults"],
        variables: &[("FAKE_CUDA_ORDER", "random"), ("GRADIX_CUDA_ALLOC", "direct")],
        filters: &[""],
        how: How::Plain,
    },
    FakeRun {
        name: "CUDA fake, sanitized",
        targets: &["conformance"],
        variables: &[("GRADIX_CUDA_ALLOC", "direct"), ("FAKE_CUDA_SANITIZE", "1")],
        filters: &SANITIZED,
        how: How::Sanitized,
    },
];

/// The cases that run under the sanitizers.
const SANITIZED: [&str; 10] = [
    "pointwise/add/f32",
    "pointwise/where/f16",
    "reduce/sum/f32",
    "reduce/argmax/i64",
    "scan/cumsum/f32",
    "matmul/matmul/f32",
    "index/gather",
    "index/scatter_add",
    "sort/sort/f32",
    "rows/norm/f32/layouts",
];

/// Looks for what the runs of this file need, by the names that can be required.
pub(super) fn probe(name: &str) -> Result<Option<Probe>, String> {
    let how = "`cargo xtask setup`".to_owned();
    let missing = |what: String| Missing { what, how };
    match name {
        "fake-cuda" => Ok(Some(fake_cuda::available().map(|()| "g++".to_owned()).map_err(missing))),
        "nvrtc" => {
            let folder = nvrtc::folder(&Workspace::load()?);
            let none = || missing("no NVRTC in target/nvrtc".to_owned());
            Ok(Some(folder.map(|dir| dir.display().to_string()).ok_or_else(none)))
        }
        _ => Ok(None),
    }
}

/// The folder that gets the source of every kernel that runs over the fake, for NVIDIA's compiler.
fn sources(ws: &Workspace) -> PathBuf {
    ws.root.join("target/fake-cuda/sources")
}

/// `cargo xtask cuda-kernels`: all kernels that the kit causes through NVIDIA's compiler.
pub(crate) fn kernels(args: &[String]) -> Result<bool, String> {
    if let [first, ..] = args {
        return Err(format!("cuda-kernels takes no arguments, and got `{first}`"));
    }
    let start = Instant::now();
    let ws = Workspace::load()?;
    let built = super::build::build(&ws, &["--tests", "-p", PACKAGE])?;
    if let Some((package, target)) = built.broken.first() {
        return Err(format!("{package} {target} does not compile"));
    }
    let chosen = |p: &&Program| p.package == PACKAGE && ["conformance", "kernels"].contains(&p.target.as_str());
    let programs: Vec<&Program> = built.programs.iter().filter(chosen).collect();
    let mut report = Report::default();
    run_fake(&ws, &programs, &|run| run.variables.is_empty() && run.how != How::Sanitized, &mut report)?;
    run_nvrtc(&ws, &programs, &mut report)?;
    Ok(report.print(&ws, start.elapsed()))
}

/// Runs everything that this machine can; what it cannot is a row that says why.
pub(super) fn run(ws: &Workspace, programs: &[Program], quick: bool, report: &mut Report) {
    let programs: Vec<&Program> = programs.iter().filter(|p| concerns(p)).collect();
    if programs.is_empty() {
        return;
    }
    let fake = run_fake(ws, &programs, &|run| !quick || run.variables.is_empty(), report);
    if let (Err(why), Ok(())) = (&fake, fake_cuda::available()) {
        // This machine has all that it takes, so something is broken.
        let summary = Summary::of_one(false, why);
        let time = std::time::Duration::ZERO;
        report.add(Record {
            package: PACKAGE.to_owned(),
            kind: Kind::Build,
            target: "fake".to_owned(),
            run: "CUDA fake",
            summary,
            time,
        });
    }
    let compiled = if fake.is_ok() {
        run_nvrtc(ws, &programs, report)
    } else {
        Err("the kernels come from the runs over the fake driver".to_owned())
    };
    for (name, what) in [("CUDA (fake driver)", fake), ("CUDA (kernels through NVRTC)", compiled)] {
        let (ran, why) = match what {
            Ok(how) => ("yes", how),
            Err(why) => ("no", why),
        };
        report.add_row(vec![name.to_owned(), ran.to_owned(), why]);
    }
}

/// Tests of the backend itself, and those of other packages that say that they are for CUDA.
fn concerns(program: &Program) -> bool {
    let is_test = matches!(program.kind, Kind::Unit | Kind::Integration);
    is_test && (program.package == PACKAGE || program.target.contains("cuda"))
}

fn run_fake(
    ws: &Workspace,
    programs: &[&Program],
    takes: &dyn Fn(&FakeRun) -> bool,
    report: &mut Report,
) -> Result<String, String> {
    let fake = fake_cuda::build(ws)?;
    let sources = sources(ws);
    // Those of earlier versions are of no interest. The folder may not be there.
    drop(std::fs::remove_dir_all(&sources));
    println!("\n== run: CUDA fake (the driver, NVRTC and cuBLASLt are stand-ins: this is no GPU)");
    print!("[smoke] the fake driver itself … ");
    run_command(&mut Command::new(fake.smoke()), PACKAGE, Kind::Integration, "smoke", "CUDA fake", report);
    let mut names = Vec::new();
    for run in RUNS.iter().filter(|run| takes(run)) {
        let sanitized = run.how == How::Sanitized;
        let preload = if sanitized { sanitizer()? } else { String::new() };
        let lib = if run.how == How::WithoutBlas { fake.without_cublaslt() } else { fake.lib() };
        println!("-- {}", run.name);
        for program in programs.iter().filter(|p| run.takes(p)) {
            for filter in run.filters {
                let mut command = program_command(ws, program);
                run.fill(&mut command, &lib);
                command.env("FAKE_CUDA_SOURCES", &sources);
                if sanitized {
                    command.env("LD_PRELOAD", &preload);
                }
                if !filter.is_empty() {
                    command.arg(filter);
                }
                print!("{} {} {filter} … ", program.package, program.target);
                run_command(&mut command, &program.package, program.kind, &program.target, run.name, report);
            }
        }
        names.push(run.name);
    }
    Ok(format!("kernels compiled by g++ and run on this CPU; runs: {}", names.join("; ")))
}

impl FakeRun {
    fn takes(&self, program: &Program) -> bool {
        // The check by the real NVRTC has a run of its own.
        program.target != "kernels" && (self.targets.is_empty() || self.targets.contains(&program.target.as_str()))
    }

    fn fill(&self, command: &mut Command, lib: &Path) {
        command.env("LD_LIBRARY_PATH", lib).env("GRADIX_REQUIRE", "cuda").env("GRADIX_REQUIRE_CUDA", "1");
        command.env("GRADIX_REQUIRE_FAKE_CUDA", "1").env("GRADIX_DENY_FALLBACK", "1");
        // The user's cache must not get, nor give, what is no machine code.
        command.env("GRADIX_CUDA_CACHE", "");
        if self.how == How::Sanitized {
            // What the program under test keeps until its end is not the matter here.
            command.env("ASAN_OPTIONS", "detect_leaks=0").env("UBSAN_OPTIONS", "print_stacktrace=1");
        }
        command.envs(self.variables.iter().copied());
    }
}

/// The run-time library of the address sanitizer, which has to be loaded before everything else.
fn sanitizer() -> Result<String, String> {
    let output = Command::new("g++").arg("-print-file-name=libasan.so").output().map_err(|e| format!("no g++: {e}"))?;
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if Path::new(&path).is_absolute() { Ok(path) } else { Err("g++ comes without the address sanitizer".to_owned()) }
}

/// So many kernels the kit causes at least; fewer would mean that something was not looked at.
const LEAST: usize = 5000;

fn run_nvrtc(ws: &Workspace, programs: &[&Program], report: &mut Report) -> Result<String, String> {
    let dir = nvrtc::folder(ws).ok_or("NVRTC is not set up: `cargo xtask setup` downloads it into target/nvrtc")?;
    let program =
        programs.iter().find(|p| p.target == "kernels").ok_or("the test `kernels` is not in this selection")?;
    println!("\n== run: NVRTC ({})", dir.display());
    let mut command = program_command(ws, program);
    command.env("LD_LIBRARY_PATH", &dir).env("GRADIX_REQUIRE_NVRTC", "1");
    command.env("GRADIX_NVRTC_ARCHS", nvrtc::ARCHITECTURES).env("GRADIX_NVRTC_LEAST", LEAST.to_string());
    command.env("GRADIX_KERNEL_SOURCES", sources(ws));
    print!("{} kernels … ", program.package);
    run_command(&mut command, &program.package, program.kind, "kernels", "NVRTC", report);
    Ok(format!("all kernels for compute capabilities {}, failing on spills", nvrtc::ARCHITECTURES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(package: &str, target: &str, kind: Kind) -> Program {
        Program { package: package.to_owned(), kind, target: target.to_owned(), path: "/p".into() }
    }

    #[test]
    fn what_is_for_cuda_runs() {
        assert!(concerns(&program(PACKAGE, "faults", Kind::Integration)));
        assert!(concerns(&program("gradix-autograd", "suite_cuda", Kind::Integration)));
        assert!(!concerns(&program("gradix-autograd", "gradients", Kind::Integration)));
        assert!(!concerns(&program(PACKAGE, "tool", Kind::Example)));
    }

    #[test]
    fn the_compilers_check_does_not_run_over_the_fake() {
        let kernels = program(PACKAGE, "kernels", Kind::Integration);
        assert!(RUNS.iter().all(|run| !run.takes(&kernels)));
        let faults = program(PACKAGE, "faults", Kind::Integration);
        assert!(RUNS[0].takes(&faults) && !RUNS[1].takes(&faults));
    }

    #[test]
    fn runs_keep_away_from_the_users_cache() {
        for run in &RUNS {
            let mut command = Command::new("x");
            run.fill(&mut command, Path::new("/lib"));
            let value = command.get_envs().find(|(name, _)| *name == "GRADIX_CUDA_CACHE").and_then(|(_, value)| value);
            assert_eq!(value, Some("".as_ref()), "{}", run.name);
        }
    }
}
