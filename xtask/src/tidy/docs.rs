//! Rules about the documentation's Markdown files.

use super::{File, Finding, Tree};
use crate::COMMANDS;
use crate::workspace::{TargetKind, Workspace};

/// The package that cargo means at the root when no other is named.
const ROOT_PACKAGE: &str = "gradix";

pub(super) fn commands(tree: &Tree<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !tree.has("README.md") {
        findings.push(Finding::new("README.md", None, "is missing"));
    }
    for file in markdown(tree) {
        for (i, line) in file.text.lines().enumerate() {
            for command in cargo_commands(line) {
                if let Some(trouble) = trouble_with(tree.ws, &command) {
                    let message = format!("`cargo {}`: {trouble}", command.join(" "));
                    findings.push(Finding::new(&file.path, i + 1, message));
                }
            }
        }
    }
    findings
}

fn markdown<'a>(tree: &'a Tree<'_>) -> impl Iterator<Item = &'a File> {
    tree.files.iter().filter(|f| f.path.ends_with(".md"))
}

/// The arguments of each `cargo …` in a line; a command ends where its code span or its shell command does.
fn cargo_commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for (at, _) in line.match_indices("cargo ") {
        if line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-' || c == '.') {
            continue;
        }
        let rest = &line[at + "cargo ".len()..];
        let end = rest.find(['`', '|', '&', ';', '#', '(', ')', '"']).unwrap_or(rest.len());
        let words = rest[..end].split_whitespace();
        commands.push(words.map(|w| w.trim_end_matches(['.', ',', ':']).to_owned()).collect());
    }
    commands
}

/// What is wrong with a command, if anything.
fn trouble_with(ws: &Workspace, command: &[String]) -> Option<String> {
    let subcommand = command.first()?.as_str();
    if subcommand == "xtask" {
        let name = command.get(1)?;
        let known = COMMANDS.iter().any(|c| c.name == *name) || name == "help" || is_placeholder(name);
        return (!known).then(|| format!("xtask has no command `{name}`"));
    }
    let package_name = option(command, &["-p", "--package"]);
    if package_name.is_some_and(is_placeholder) {
        return None;
    }
    let name = package_name.unwrap_or(ROOT_PACKAGE);
    let Some(package) = ws.package(name) else {
        return package_name.map(|name| format!("there is no package `{name}`"));
    };
    for (flags, kind, what) in [
        (&["--example"][..], TargetKind::Example, "example"),
        (&["--test"][..], TargetKind::Test, "test"),
        (&["--bench"][..], TargetKind::Bench, "bench"),
    ] {
        if let Some(target) = option(command, flags).filter(|t| !is_placeholder(t))
            && !package.targets.iter().any(|t| t.kind == kind && t.name == target)
        {
            return Some(format!("{name} has no {what} `{target}`"));
        }
    }
    let features = option(command, &["--features", "-F"]).filter(|f| !is_placeholder(f)).unwrap_or_default();
    features
        .split(',')
        .find(|feature| !feature.is_empty() && !package.features.iter().any(|f| f == feature))
        .map(|feature| format!("{name} has no feature `{feature}`"))
}

/// The value of an option, written `--name value` or `--name=value`.
fn option<'a>(command: &'a [String], names: &[&str]) -> Option<&'a str> {
    // What stands behind `--` is for the program.
    let own = command.iter().take_while(|word| *word != "--");
    let mut words = own.peekable();
    while let Some(word) = words.next() {
        if names.contains(&word.as_str()) {
            return words.peek().map(|v| v.as_str());
        }
        if let Some((name, value)) = word.split_once('=')
            && names.contains(&name)
        {
            return Some(value);
        }
    }
    None
}

/// `NAME`, `<name>` and `…` stand for something else.
fn is_placeholder(word: &str) -> bool {
    !word.chars().any(|c| c.is_ascii_lowercase()) || word.starts_with(['<', '$', '…', '['])
}

pub(super) fn links(tree: &Tree<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in markdown(tree) {
        let mut fenced = false;
        for (i, line) in file.text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            if fenced {
                continue;
            }
            for target in link_targets(line) {
                let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
                if !resolve(folder, target).is_some_and(|path| tree.holds(&path)) {
                    findings.push(Finding::new(&file.path, i + 1, format!("nothing is at `{target}`")));
                }
            }
        }
    }
    findings
}

/// The files that a line links to: `[text](path#part "title")`.
fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(move |(at, _)| {
        // An odd number of code marks before it: it stands in a code span.
        if line[..at].matches('`').count() % 2 == 1 && line[at..].contains('`') {
            return None;
        }
        let inside = line[at + 2..].split(')').next()?;
        let path = inside.split_whitespace().next()?.split('#').next()?;
        let outside = path.contains("://") || path.starts_with("mailto:");
        (!path.is_empty() && !outside).then_some(path)
    })
}

/// A path relative to a folder, made relative to the root; `None` if it leads out of the repository.
fn resolve(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|p| !p.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{places, tree, workspace};
    use super::*;
    use crate::workspace::Target;

    fn project() -> Workspace {
        let mut ws = workspace(&["gradix", "gradix-plot"]);
        let target = |name: &str, kind| Target { name: name.to_owned(), kind };
        ws.packages[0].features = vec!["cpu".to_owned(), "plot".to_owned()];
        ws.packages[0].targets.push(target("intro", TargetKind::Example));
        ws.packages[1].targets.push(target("figures", TargetKind::Example));
        ws
    }

    fn trouble(line: &str) -> Vec<String> {
        let ws = project();
        cargo_commands(line).iter().filter_map(|c| trouble_with(&ws, c)).collect()
    }

    #[test]
    fn commands_that_exist_pass() {
        for line in [
            "cargo run --release --example intro",
            "    $ cargo run -p gradix-plot --example=figures -- --example nothing",
            "Type `cargo xtask test-all`, then `cargo xtask tidy`.",
            "cargo xtask test-all | tidy",
            "cargo test -p PACKAGE, `cargo test -p <package>`",
            "cargo build --no-default-features --features cpu,plot && echo done",
            "cargo add gradix --features cpu",
            "`.cargo config` and cargo itself",
        ] {
            assert_eq!(trouble(line), [""; 0], "{line}");
        }
    }

    #[test]
    fn commands_that_do_not_exist_are_found() {
        assert_eq!(trouble("cargo xtask test-everything"), ["xtask has no command `test-everything`"]);
        assert_eq!(trouble("`cargo run --example figures`"), ["gradix has no example `figures`"]);
        assert_eq!(trouble("cargo test -p plot"), ["there is no package `plot`"]);
        assert_eq!(trouble("cargo build --features cpu,gpu"), ["gradix has no feature `gpu`"]);
        assert_eq!(trouble("cargo xtask old; cargo bench --bench none").len(), 2);
    }

    #[test]
    fn findings_say_where() {
        let ws = project();
        let found = commands(&tree(&ws, &[("docs/a.md", "x\ncargo xtask nothing\n")]));
        assert_eq!(places(&found), ["README.md", "docs/a.md:2"]);
    }

    #[test]
    fn links_lead_to_files_and_folders() {
        let ws = project();
        let text = "[a](b.md) [b](../README.md#part) [c](https://x.y/z) ![d](img/)\n[e](#here) `x[i](j)`\n```\nx[0](y)\n```\n\
                    [bad](c.md) [out](../../x)\n";
        let files = [("README.md", ""), ("docs/a.md", text), ("docs/b.md", ""), ("docs/img/x.svg", "")];
        let found = links(&tree(&ws, &files));
        assert_eq!(places(&found), ["docs/a.md:6", "docs/a.md:6"]);
        assert!(found[0].message.contains("c.md"));
    }
}
