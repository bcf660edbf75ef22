//! `cargo xtask test-all`: every test and every example, under every setting, and one table at the end.

pub(crate) mod build;
pub(crate) mod cuda;
mod libtest;
mod plan;
mod report;

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use self::build::Program;
use self::libtest::Summary;
use self::plan::{Run, VARIABLES};
use self::report::{Record, Report};
use crate::backends::{BACKENDS, Probe, probe_oclgrind};
use crate::process;
use crate::workspace::{Workspace, cargo};

/// Longer than any healthy test program takes, so that one that hangs does not hang everything.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// The documentation tests of all packages are one command, which compiles them too.
const DOC_LIMIT: Duration = Duration::from_secs(60 * 60);

/// What a test program holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Tidy,
    Build,
    Unit,
    Integration,
    Doc,
    Example,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Tidy => "tidy",
            Self::Build => "build",
            Self::Unit => "unit",
            Self::Integration => "integration",
            Self::Doc => "doc",
            Self::Example => "example",
        }
    }
}

/// What the command line asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    packages: Vec<String>,
    quick: bool,
    /// Backends and tools whose tests must not be left out.
    required: Vec<String>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => options.quick = true,
                "-p" | "--package" => {
                    options.packages.push(args.next().ok_or("-p needs the name of a package")?.clone());
                }
                "--require" => {
                    let names = args.next().ok_or("--require needs names, such as opencl,oclgrind,fake-cuda,nvrtc")?;
                    options.required.extend(names.split(',').map(str::to_owned));
                }
                other => {
                    return Err(format!(
                        "test-all does not know `{other}`; it takes --quick, -p PACKAGE and --require NAMES"
                    ));
                }
            }
        }
        Ok(options)
    }

    /// For cargo: which packages.
    fn selection(&self) -> Vec<String> {
        if self.packages.is_empty() {
            return vec!["--workspace".to_owned()];
        }
        self.packages.iter().flat_map(|p| ["-p".to_owned(), p.clone()]).collect()
    }
}

/// Runs everything; `true` if all of it passed.
pub(crate) fn main(args: &[String]) -> Result<bool, String> {
    let options = Options::parse(args)?;
    let ws = Workspace::load()?;
    for name in &options.packages {
        if ws.package(name).is_none() {
            let known: Vec<&str> = ws.packages.iter().map(|p| p.name.as_str()).collect();
            return Err(format!("there is no package `{name}`; there are {}", known.join(", ")));
        }
    }
    for name in &options.required {
        if let Err(missing) = probe(name)? {
            return Err(format!("{name} is required, and there is {}; to get it: {}", missing.what, missing.how));
        }
    }
    let start = Instant::now();
    println!("== tidy");
    let mut report = Report::default();
    let verdict = crate::tidy::check_and_print(&ws)?;
    let summary = Summary { passed: verdict.kept, failed: verdict.broken.len(), ignored: 0, failures: verdict.broken };
    report.add(Record {
        package: "repository".to_owned(),
        kind: Kind::Tidy,
        target: "tidy".to_owned(),
        run: "default",
        summary,
        time: start.elapsed(),
    });

    println!("\n== build");
    let selection = options.selection();
    let everything =
        ["--tests", "--examples", "--all-features"].into_iter().chain(selection.iter().map(String::as_str));
    let built = build::build(&ws, &everything.collect::<Vec<_>>())?;
    for (package, target) in &built.broken {
        let summary = Summary::of_one(false, &format!("{target} does not compile"));
        report.add(Record {
            package: package.clone(),
            kind: Kind::Build,
            target: target.clone(),
            run: "default",
            summary,
            time: Duration::ZERO,
        });
    }

    for run in plan::runs().iter().filter(|r| r.is_default() || !options.quick) {
        if let Some(why) = run.skipped {
            report.skip(run.name, why);
            continue;
        }
        let programs: Vec<&Program> = built.programs.iter().filter(|p| run.takes(&ws, p, options.quick)).collect();
        if programs.is_empty() {
            continue;
        }
        match run.variable {
            None => println!("\n== run: {}", run.name),
            Some((name, value)) => println!("\n== run: {} ({name}={value})", run.name),
        }
        for (i, program) in programs.iter().enumerate() {
            run_program(&ws, run, program, (i + 1, programs.len()), &mut report);
        }
        if run.is_default() {
            run_documentation(&ws, &options, &mut report)?;
        }
    }
    cuda::run(&ws, &built.programs, options.quick, &mut report);
    Ok(report.print(&ws, start.elapsed()))
}

/// Looks for what a backend or tool needs, by its name in small letters.
fn probe(name: &str) -> Result<Probe, String> {
    if name == "oclgrind" {
        return Ok(probe_oclgrind());
    }
    if let Some(probe) = cuda::probe(name)? {
        return Ok(probe);
    }
    let backend = BACKENDS.iter().find(|backend| backend.name.eq_ignore_ascii_case(name));
    backend.map(|backend| (backend.probe)()).ok_or_else(|| format!("there is no backend or tool `{name}` to require"))
}

/// Where something is that tests need, they must not leave themselves out: a list for `GRADIX_REQUIRE`.
fn present() -> &'static str {
    static FOUND: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    FOUND.get_or_init(|| {
        let names =
            ["opencl", "oclgrind", "cuda"].into_iter().filter(|name| probe(name).is_ok_and(|probe| probe.is_ok()));
        names.collect::<Vec<_>>().join(",")
    })
}

/// Runs one test program or example and says what came of it.
fn run_program(ws: &Workspace, run: &Run, program: &Program, (i, n): (usize, usize), report: &mut Report) {
    let width = n.to_string().len();
    print!("[{i:>width$}/{n}] {} {} {} … ", program.package, program.kind.name(), program.target);
    let processes = plan::processes(program);
    let mut commands: Vec<Command> = (1..=processes)
        .map(|part| {
            let mut command = program_command(ws, program);
            command.envs(run.variable);
            command.env("GRADIX_REQUIRE", present());
            if processes > 1 {
                command.env("GRADIX_CONFORMANCE_PART", format!("{part}/{processes}"));
            }
            command
        })
        .collect();
    run_commands(&mut commands, &program.package, program.kind, &program.target, run.name, report);
}

/// The command that starts a test program or example as cargo would: tests in their package's folder, examples in the folder
/// where the user stands.
fn program_command(ws: &Workspace, program: &Program) -> Command {
    let package_dir = ws.package(&program.package).map_or(ws.root.as_path(), |p| &p.dir);
    let mut command = Command::new(&program.path);
    clear_settings(&mut command);
    command.current_dir(if program.kind == Kind::Example { &ws.root } else { package_dir });
    command.env("CARGO_MANIFEST_DIR", package_dir).env("CARGO_PKG_NAME", &program.package);
    command
}

/// Runs a command to its end, says what came of it, and notes it.
fn run_command(command: &mut Command, package: &str, kind: Kind, target: &str, run: &'static str, report: &mut Report) {
    run_commands(std::slice::from_mut(command), package, kind, target, run, report);
}

/// Runs the parts of one test program side by side.
fn run_commands(
    commands: &mut [Command],
    package: &str,
    kind: Kind,
    target: &str,
    run: &'static str,
    report: &mut Report,
) {
    flush();
    let started = Instant::now();
    let parts: Vec<(Summary, Option<String>)> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            commands.iter_mut().map(|command| scope.spawn(|| run_to_end(command, kind, target))).collect();
        threads.into_iter().map(|thread| thread.join().expect("running a program does not panic")).collect()
    });
    let time = started.elapsed();
    let summary = parts.iter().fold(Summary::default(), |sum, (part, _)| sum.and(part));
    println!("{}", report::in_short(&summary, time));
    for trouble in parts.iter().filter_map(|(_, trouble)| trouble.as_ref()) {
        print_trouble(trouble);
    }
    report.add(Record { package: package.to_owned(), kind, target: target.to_owned(), run, summary, time });
}

/// What came of a command, and all it wrote if that was a failure.
fn run_to_end(command: &mut Command, kind: Kind, target: &str) -> (Summary, Option<String>) {
    match process::run(command, LIMIT, &mut |_| {}) {
        Ok(outcome) => {
            let summary = if kind == Kind::Example {
                Summary::of_one(outcome.success(), target)
            } else {
                Summary::of_program(&outcome.output, outcome.success(), target)
            };
            let trouble = (summary.failed > 0).then(|| format!("{}{}", outcome.output, outcome.ending()));
            (summary, trouble)
        }
        Err(error) => {
            let trouble = format!("cannot start {}: {error}", command.get_program().display());
            (Summary::of_one(false, target), Some(trouble))
        }
    }
}

/// Runs the documentation's examples. rustdoc builds and runs them itself, package after package.
fn run_documentation(ws: &Workspace, options: &Options, report: &mut Report) -> Result<(), String> {
    println!("\n== documentation");
    let mut command = cargo();
    command.args(["test", "--doc", "--all-features", "--no-fail-fast"]).args(options.selection());
    command.current_dir(&ws.root);
    clear_settings(&mut command);
    let mut sections = Sections::new(ws);
    let outcome = process::run(&mut command, DOC_LIMIT, &mut |line| {
        sections.take(line, Instant::now());
    })
    .map_err(|e| format!("cannot start cargo: {e}"))?;
    sections.close(Instant::now());
    let failed: usize = sections.records.iter().map(|r| r.summary.failed).sum();
    for record in sections.records {
        report.add(record);
    }
    if !outcome.success() && failed == 0 {
        print_trouble(&format!("{}{}", outcome.output, outcome.ending()));
        let summary = Summary::of_one(false, "cargo test --doc");
        report.add(Record {
            package: "workspace".to_owned(),
            kind: Kind::Doc,
            target: "documentation".to_owned(),
            run: "default",
            summary,
            time: outcome.time,
        });
    }
    Ok(())
}

/// Cuts the output of `cargo test --doc` into packages, by the lines `Doc-tests <library>`.
struct Sections<'a> {
    ws: &'a Workspace,
    /// The package of the current section, when it began, and its output.
    current: Option<(String, Instant, String)>,
    records: Vec<Record>,
}

impl<'a> Sections<'a> {
    fn new(ws: &'a Workspace) -> Self {
        Self { ws, current: None, records: Vec::new() }
    }

    fn take(&mut self, line: &str, now: Instant) {
        if let Some(library) = line.trim_start().strip_prefix("Doc-tests ") {
            self.close(now);
            let package = self.ws.packages.iter().find(|p| p.lib_name().as_deref() == Some(library));
            let package = package.map_or_else(|| library.to_owned(), |p| p.name.clone());
            print!("{package} doc … ");
            flush();
            self.current = Some((package, now, String::new()));
        } else if let Some((_, _, output)) = &mut self.current {
            output.push_str(line);
            output.push('\n');
        }
    }

    fn close(&mut self, now: Instant) {
        let Some((package, since, output)) = self.current.take() else {
            return;
        };
        // Without a `test result` line rustdoc did not get as far as running anything.
        let summary =
            Summary::parse(&output).unwrap_or_else(|| Summary::of_one(false, "documentation does not compile"));
        let time = now.duration_since(since);
        println!("{}", report::in_short(&summary, time));
        if summary.failed > 0 {
            print_trouble(&output);
        }
        self.records.push(Record {
            package,
            kind: Kind::Doc,
            target: "documentation".to_owned(),
            run: "default",
            summary,
            time,
        });
    }
}

/// Settings of the user's shell must not change what a run means.
fn clear_settings(command: &mut Command) {
    for name in VARIABLES {
        command.env_remove(name);
    }
}

fn print_trouble(output: &str) {
    println!("---- output of what failed ----");
    println!("{}", output.trim_end());
    println!("-------------------------------");
}

fn flush() {
    // Progress that cannot be shown is no reason to stop.
    drop(std::io::stdout().flush());
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::workspace::{Package, Target, TargetKind};

    fn options(args: &[&str]) -> Result<Options, String> {
        Options::parse(&args.iter().map(|&a| a.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read() {
        assert_eq!(options(&[]).unwrap().selection(), ["--workspace"]);
        let some = options(&["--quick", "-p", "a", "--package", "b"]).unwrap();
        assert!(some.quick);
        assert_eq!(some.selection(), ["-p", "a", "-p", "b"]);
        assert_eq!(options(&["--require", "opencl,oclgrind"]).unwrap().required, ["opencl", "oclgrind"]);
        assert!(options(&["-p"]).unwrap_err().contains("needs"));
        assert!(options(&["--require"]).unwrap_err().contains("needs"));
        assert!(options(&["--fast"]).unwrap_err().contains("`--fast`"));
    }

    #[test]
    fn what_can_be_required_is_known() {
        assert!(probe("cpu").unwrap().is_ok());
        assert!(probe("opencl").is_ok() && probe("oclgrind").is_ok());
        assert!(probe("fake-cuda").is_ok() && probe("nvrtc").is_ok());
        assert!(probe("abacus").unwrap_err().contains("`abacus`"));
    }

    #[test]
    fn documentation_output_is_cut_into_packages() {
        let lib = Target { name: "tensor_core".to_owned(), kind: TargetKind::Lib };
        let package = Package { name: "gradix-tensor-core".to_owned(), targets: vec![lib], ..Package::default() };
        let ws = Workspace { root: Path::new("/w").into(), packages: vec![package] };
        let mut sections = Sections::new(&ws);
        let start = Instant::now();
        for line in [
            "   Compiling something v1",
            "   Doc-tests tensor_core",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 1 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "   Doc-tests broken",
            "error: no",
        ] {
            sections.take(line, start);
        }
        sections.close(start + Duration::from_secs(2));
        let [first, second] = &sections.records[..] else { panic!("two sections: {:?}", sections.records) };
        assert_eq!(first.package, "gradix-tensor-core");
        assert_eq!((first.summary.passed, first.summary.failed, first.summary.ignored), (4, 1, 2));
        assert_eq!((second.package.as_str(), second.summary.failed), ("broken", 1));
        assert_eq!(second.time, Duration::from_secs(2));
    }
}
