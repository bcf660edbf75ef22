//! `cargo xtask features`: every package compiles, without warnings, whichever of its features are chosen.

use std::time::Duration;

use crate::process;
use crate::workspace::{Package, Workspace, cargo};

const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Lints every selection of features; `true` if all are clean.
pub(crate) fn main(args: &[String]) -> Result<bool, String> {
    if let Some(arg) = args.first() {
        return Err(format!("features takes no arguments, and got `{arg}`"));
    }
    let ws = Workspace::load()?;
    let mut broken = Vec::new();
    for package in &ws.packages {
        for selection in selections(package) {
            let title = format!("{} {}", package.name, selection.join(" "));
            let mut command = cargo();
            command.args(["clippy", "--lib", "-p", &package.name]).args(&selection);
            command.args(["--", "-D", "warnings"]).current_dir(&ws.root);
            let outcome =
                process::run(&mut command, LIMIT, &mut |_| {}).map_err(|e| format!("cannot start cargo: {e}"))?;
            let verdict = if outcome.success() { "ok" } else { "FAILED" };
            println!("{title}: {verdict} ({:.1} s)", outcome.time.as_secs_f64());
            if !outcome.success() {
                println!("{}\n{}", outcome.output.trim_end(), outcome.ending());
                broken.push(title);
            }
        }
    }
    for title in &broken {
        println!("FAILED {title}");
    }
    Ok(broken.is_empty())
}

/// The arguments for no feature, each alone, and all; none for a package without features, which the workspace's own
/// check covers.
fn selections(package: &Package) -> Vec<Vec<String>> {
    if package.features.is_empty() {
        return Vec::new();
    }
    let words = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>();
    let mut all = vec![words(&["--no-default-features"])];
    all.extend(package.features.iter().map(|f| words(&["--no-default-features", "--features", f])));
    all.push(words(&["--all-features"]));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_feature_stands_alone_once() {
        let features = vec!["a".to_owned(), "b".to_owned()];
        let package = Package { features, ..Package::default() };
        let shown: Vec<String> = selections(&package).iter().map(|s| s.join(" ")).collect();
        let alone = "--no-default-features --features";
        assert_eq!(shown, ["--no-default-features", &format!("{alone} a"), &format!("{alone} b"), "--all-features"]);
        assert!(selections(&Package::default()).is_empty());
    }
}
