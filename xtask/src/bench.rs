//! `cargo xtask bench`: every benchmark of the workspace, or gradix beside other libraries.

use crate::workspace::{TargetKind, Workspace, cargo};
use std::path::Path;

/// The program that compares, with a `Cargo.toml` of its own.
const PEERS: &str = "bench/peers";

/// Runs the benchmarks; `true` if all of them ran, and where libraries are compared, if their results agree.
pub(crate) fn main(args: &[String]) -> Result<bool, String> {
    let ws = Workspace::load()?;
    match args.split_first() {
        Some((first, rest)) if first == "--peers" => peers(&ws, rest),
        _ => own(&ws, args),
    }
}

/// Builds and runs the comparison.
fn peers(ws: &Workspace, args: &[String]) -> Result<bool, String> {
    let args = with_absolute_python(args)?;
    let mut command = cargo();
    // From there, cargo finds the settings that let the others use all of this processor's instructions.
    command.args(["run", "--release", "--"]).args(args).current_dir(ws.root.join(PEERS));
    let status = command.status().map_err(|e| format!("cannot start cargo: {e}"))?;
    Ok(status.success())
}

/// A path to Python means what it means here, not in the folder that the program starts in.
fn with_absolute_python(args: &[String]) -> Result<Vec<String>, String> {
    let mut out = args.to_vec();
    for i in 1..out.len() {
        // A name alone is looked for where programs are.
        if out[i - 1] == "--python" && Path::new(&out[i]).components().count() > 1 {
            let path = std::path::absolute(&out[i]).map_err(|e| format!("{}: {e}", out[i]))?;
            out[i] = path.to_string_lossy().into_owned();
        }
    }
    Ok(out)
}

/// Runs the workspace's benchmarks one package after the other.
///
/// They are named one by one: `cargo bench --workspace` would also start the unit tests' harness, which knows nothing of a
/// benchmark program's arguments.
fn own(ws: &Workspace, args: &[String]) -> Result<bool, String> {
    let mut found = false;
    let mut all_ran = true;
    for package in &ws.packages {
        let benches: Vec<_> = package.targets.iter().filter(|t| t.kind == TargetKind::Bench).collect();
        if benches.is_empty() {
            continue;
        }
        found = true;
        let mut command = cargo();
        command.args(["bench", "--all-features", "-p", &package.name]);
        for bench in benches {
            command.args(["--bench", &bench.name]);
        }
        if !args.is_empty() {
            command.arg("--").args(args);
        }
        println!("== {}", package.name);
        let status = command.current_dir(&ws.root).status().map_err(|e| format!("cannot start cargo: {e}"))?;
        all_ran &= status.success();
    }
    if !found {
        println!("no package has a benchmark yet");
    }
    Ok(all_ran)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_to_python_hold_in_another_folder() {
        let args = ["--only", "a/b", "--python", "venv/bin/python"].map(str::to_owned);
        let out = with_absolute_python(&args).expect("a path");
        assert_eq!(out[..3], args[..3]);
        assert!(Path::new(&out[3]).is_absolute() && out[3].ends_with("venv/bin/python"));
        let name = ["--python", "python3"].map(str::to_owned);
        assert_eq!(with_absolute_python(&name).expect("a name"), name);
    }
}
