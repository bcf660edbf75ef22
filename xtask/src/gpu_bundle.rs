//! `cargo xtask gpu-bundle`: the tests and the benchmark of CUDA, in a folder for a machine that has a GPU but no cargo.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::test_all::build::{Built, build};
use crate::workspace::{Workspace, cargo};

/// The script that runs everything there.
const SCRIPT: &str = include_str!("gpu_bundle/run.sh");

/// The benchmark's cases with PyTorch.
const PYTORCH: (&str, &str) = ("cuda_pytorch.py", include_str!("../../benches/cuda_pytorch.py"));

/// What is built: arguments for cargo, and the programs that are taken: package, target, and name in the folder.
struct Part {
    arguments: &'static [&'static str],
    programs: &'static [(&'static str, &'static str, &'static str)],
}

/// The tests are built as `test-all` builds them, so that they need not be built twice. The benchmark has to be as fast as
/// users' programs are, and needs no other backend.
const PARTS: [Part; 2] = [
    Part {
        arguments: &[
            "--all-features",
            "--package=gradix-backend-cuda",
            "--package=gradix",
            "--test=conformance",
            "--test=start",
            "--test=gradients_cuda",
            "--test=graphs_cuda",
        ],
        programs: &[
            ("gradix-backend-cuda", "conformance", "conformance"),
            ("gradix-backend-cuda", "start", "start"),
            ("gradix", "gradients_cuda", "gradients"),
            ("gradix", "graphs_cuda", "graphs"),
        ],
    },
    Part {
        arguments: &["--release", "--package=gradix", "--no-default-features", "--features=cuda", "--bench=cuda"],
        programs: &[("gradix", "cuda", "bench")],
    },
];

/// Builds the programs and writes the folder; `false` if something does not compile.
pub(crate) fn main(args: &[String]) -> Result<bool, String> {
    let ws = Workspace::load()?;
    let dir = match args {
        [] => ws.root.join("target/gpu-bundle"),
        [dir] if !dir.starts_with('-') => std::path::absolute(dir).map_err(|e| format!("{dir}: {e}"))?,
        _ => return Err(format!("gpu-bundle takes a folder at most, and got `{}`", args.join(" "))),
    };
    if !cfg!(target_os = "linux") {
        return Err("the bundle's programs and its script run on Linux, where it has to be made".to_owned());
    }
    let mut programs = Vec::new();
    for part in &PARTS {
        let built = build(&ws, part.arguments)?;
        for (package, target) in &built.broken {
            eprintln!("{package} {target} does not compile");
        }
        if !built.broken.is_empty() {
            return Ok(false);
        }
        programs.extend(part.find(&built)?);
    }
    std::fs::create_dir_all(&dir).map_err(|e| format!("cannot create {}: {e}", dir.display()))?;
    for (from, name) in &programs {
        place(from, &dir.join(name))?;
    }
    write(&dir.join("built.txt"), &origin(&ws))?;
    write(&dir.join(PYTORCH.0), PYTORCH.1)?;
    let script = dir.join("run.sh");
    write(&script, SCRIPT)?;
    make_executable(&script)?;
    println!("{}: copy it to a machine with an NVIDIA GPU, and start run.sh there", dir.display());
    Ok(true)
}

impl Part {
    /// The programs' paths, and their names in the folder.
    fn find(&self, built: &Built) -> Result<Vec<(PathBuf, &'static str)>, String> {
        let found = self.programs.iter().map(|&(package, target, name)| {
            let program = built.programs.iter().find(|p| p.package == package && p.target == target);
            let missing = || format!("cargo built no program {target} of {package}");
            program.map(|program| (program.path.clone(), name)).ok_or_else(missing)
        });
        found.collect()
    }
}

/// Copies a program without its symbols, which are nine tenths of it. `strip` comes with the C linker that cargo uses; the
/// compiler's own option for this would build everything anew.
fn place(from: &Path, to: &Path) -> Result<(), String> {
    let stripped = Command::new("strip").arg("-o").arg(to).arg(from).status().is_ok_and(|status| status.success());
    if !stripped {
        println!("no `strip` here: {} keeps its symbols", to.display());
        std::fs::copy(from, to).map_err(|e| format!("cannot copy {} to {}: {e}", from.display(), to.display()))?;
    }
    let size = std::fs::metadata(to).map_err(|e| format!("cannot read {}: {e}", to.display()))?.len();
    println!("{} ({:.1} MB)", to.display(), size as f64 / 1e6);
    Ok(())
}

/// Where the programs come from, for the report.
fn origin(ws: &Workspace) -> String {
    let line = |command: &mut Command| -> Option<String> {
        let output = command.current_dir(&ws.root).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = line(Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]));
    let compiler = line(cargo().arg("--version"));
    let unknown = || "unknown".to_owned();
    format!("commit {}, {}\n", commit.unwrap_or_else(unknown), compiler.unwrap_or_else(unknown))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

#[cfg(unix)]
fn make_executable(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    let permissions = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, permissions).map_err(|e| format!("cannot make {} executable: {e}", path.display()))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Result<(), String> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;
    use crate::test_all::Kind;
    use crate::test_all::build::Program;

    #[test]
    fn the_script_runs_every_program() {
        for (_, _, name) in PARTS.iter().flat_map(|part| part.programs) {
            // By its path, or by its name as what `run_test` takes.
            let runs = SCRIPT.lines().any(|line| {
                line.contains(&format!("\"$here/{name}\"")) || line.starts_with("run_test") && line.ends_with(name)
            });
            assert!(runs, "{name}");
        }
        assert!(SCRIPT.contains(&format!("\"$here/{}\"", PYTORCH.0)));
    }

    #[cfg(unix)]
    #[test]
    fn the_script_refuses_what_it_does_not_know() {
        let dir = std::env::temp_dir().join(format!("gradix-bundle-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let script = dir.join("run.sh");
        write(&script, SCRIPT).unwrap();
        let run = |arguments: &[&str]| {
            let mut command = Command::new("sh");
            command.arg(&script).args(arguments);
            process::run(&mut command, std::time::Duration::from_secs(60), &mut |_| {}).unwrap()
        };
        let help = run(&["--help"]);
        assert!(help.success() && help.output.contains("./run.sh [--quick] [FILTER]"), "{}", help.output);
        let unknown = run(&["--slow"]);
        assert_eq!(unknown.status.and_then(|status| status.code()), Some(2), "{}", unknown.output);
        // Without its programs there is nothing that could pass.
        let alone = run(&[]);
        assert_eq!(alone.status.and_then(|status| status.code()), Some(1), "{}", alone.output);
        let report = std::fs::read_to_string(dir.join("report.txt")).unwrap();
        assert!(report.contains("FAILED: no CUDA device can be used here"), "{report}");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn programs_are_found_by_package_and_target() {
        let program = |package: &str, target: &str| Program {
            package: package.to_owned(),
            kind: Kind::Integration,
            target: target.to_owned(),
            path: format!("/t/{package}-{target}").into(),
        };
        let mut built =
            Built { programs: vec![program("other", "cuda"), program("gradix", "cuda")], broken: Vec::new() };
        assert_eq!(PARTS[1].find(&built).unwrap(), [(PathBuf::from("/t/gradix-cuda"), "bench")]);
        built.programs.pop();
        assert!(PARTS[1].find(&built).unwrap_err().contains("no program cuda of gradix"));
    }
}
