//! What training steps take of memory: the highest resident set of a process while it runs a case the first three times, less
//! what it had when the case was made ready. Each library has each case in a process of its own.

use crate::cases::CASES;
use crate::job::Library;
use std::process::Command;

/// The cases that are training steps, or as much as one.
const WANTED: &[&str] = &["grad_16m", "mlp", "cnn", "attention", "adamw", "embedding"];

/// How often a case runs.
pub(crate) const RUNS: usize = 3;

/// MiB that this process takes more, at its peak, while something runs. Linux only.
pub(crate) fn rise(run: impl FnOnce()) -> Option<f64> {
    // This sets the peak back to what is resident now.
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    let before = status("VmRSS:")?;
    run();
    Some((status("VmHWM:")? - before) / 1024.0)
}

/// A number of KiB of this process's status.
fn status(field: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix(field))?.split_whitespace().next()?.parse().ok()
}

/// Prints what one library takes for one case: what [`table`] starts processes for.
pub(crate) fn print(library: &Library, case: &str) -> Result<(), String> {
    let mut job = (library.prepare)(case).ok_or("no such case")?;
    let peak = job.peak().ok_or("this system does not say how much memory a process takes")?;
    println!("{peak}");
    Ok(())
}

/// Prints a row for each case.
pub(crate) fn table(libraries: &[Library], only: &[String], python: Option<&str>) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    println!("| MiB | {} |", libraries.iter().map(|library| library.name.as_str()).collect::<Vec<_>>().join(" | "));
    println!("|-|{}", "-|".repeat(libraries.len()));
    let wanted =
        |name: &str| WANTED.contains(&name) && (only.is_empty() || only.iter().any(|part| name.contains(part)));
    for case in CASES.iter().filter(|case| wanted(case.name)) {
        let mut row = format!("| {} |", case.title);
        for library in libraries {
            let mut command = Command::new(&program);
            command.args(["--memory-of", &library.name, case.name]);
            if let Some(python) = python {
                command.args(["--python", python]);
            }
            let output = command.output().map_err(|error| error.to_string())?;
            let text = String::from_utf8_lossy(&output.stdout);
            row += &text.trim().parse().map_or(" – |".to_owned(), |mib: f64| format!(" {mib:.1} |"));
        }
        println!("{row}");
    }
    Ok(())
}
