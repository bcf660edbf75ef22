//! `cargo xtask bench`: every benchmark of the workspace.

use crate::workspace::{TargetKind, Workspace, cargo};

/// Runs the benchmarks one package after the other; `true` if all of them ran.
///
/// They are named one by one: `cargo bench --workspace` would also start the unit tests' harness, which knows nothing of a
/// benchmark program's arguments.
pub(crate) fn main(args: &[String]) -> Result<bool, String> {
    let ws = Workspace::load()?;
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
