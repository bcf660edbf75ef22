//! `cargo xtask tidy`: the repository's rules as code.

mod code;
mod config;
mod docs;
mod manifests;
mod source;
mod text;

use std::path::{Path, PathBuf};
use std::process::Command;

use self::source::Source;
use crate::workspace::Workspace;

/// A rule: what it is called, what it asks for, and the check.
struct Rule {
    name: &'static str,
    asks: &'static str,
    check: fn(&Tree<'_>) -> Vec<Finding>,
}

/// Every rule.
const RULES: &[Rule] = &[
    Rule { name: "layers", asks: "no crate depends on one above it", check: manifests::layers },
    Rule { name: "lints", asks: "every crate takes the workspace's lints", check: manifests::lints },
    Rule { name: "licence", asks: "every crate names the licence, and its texts are here", check: manifests::licence },
    Rule { name: "unsafe-place", asks: "unsafe stands only where it may", check: code::unsafe_place },
    Rule {
        name: "unsafe-proof",
        asks: "every unsafe block has a SAFETY comment right above",
        check: code::unsafe_proof,
    },
    Rule { name: "stubs", asks: "no todo!, unimplemented! or dbg!", check: code::stubs },
    Rule { name: "ignored-tests", asks: "an ignored test says why", check: code::ignored_tests },
    Rule { name: "backend-blind", asks: "autograd and the core name no backend", check: code::backend_blind },
    Rule {
        name: "blanks",
        asks: "no tabs, no blanks at the end of a line, one line end at the end",
        check: text::blanks,
    },
    Rule { name: "long-files", asks: "long files are looked at", check: text::long_files },
    Rule { name: "commands", asks: "commands in the documentation exist", check: docs::commands },
    Rule { name: "links", asks: "links between files lead somewhere", check: docs::links },
];

/// Something a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    /// Relative to the root, with `/`.
    path: String,
    /// Counted from one; none where it is about the whole file.
    line: Option<usize>,
    message: String,
    /// Worth a look, but nothing fails.
    warning: bool,
}

impl Finding {
    fn new(path: &str, line: impl Into<Option<usize>>, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: line.into(), message: message.into(), warning: false }
    }

    fn place(&self) -> String {
        match self.line {
            Some(line) => format!("{}:{line}", self.path),
            None => self.path.clone(),
        }
    }
}

/// The files that the rules look at.
struct Tree<'a> {
    ws: &'a Workspace,
    /// Those that are text.
    files: Vec<File>,
    /// All of them, pictures too.
    paths: Vec<String>,
}

struct File {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
    /// For Rust files.
    source: Option<Source>,
}

impl File {
    fn new(path: String, text: String) -> Self {
        let source = path.ends_with(".rs").then(|| Source::new(&text));
        Self { path, text, source }
    }
}

impl<'a> Tree<'a> {
    /// Reads every text file of the repository; what is not text has no rules.
    fn read(ws: &'a Workspace) -> Result<Self, String> {
        let mut paths = list_files(&ws.root);
        // A link would be looked at twice, and a file that git knows may be deleted here.
        paths.retain(|path| ws.root.join(path).symlink_metadata().is_ok_and(|m| m.is_file()));
        let mut files = Vec::new();
        for path in &paths {
            let full = ws.root.join(path);
            let bytes = std::fs::read(&full).map_err(|e| format!("cannot read {}: {e}", full.display()))?;
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(File::new(path.clone(), text));
            }
        }
        Ok(Self { ws, files, paths })
    }

    /// The Rust files, each with the name of its package.
    fn rust(&self) -> impl Iterator<Item = (&File, &Source, &str)> {
        self.files.iter().filter_map(|file| {
            let package = self.ws.package_of(&self.ws.root.join(&file.path));
            Some((file, file.source.as_ref()?, package.map_or("", |p| &p.name)))
        })
    }

    fn has(&self, path: &str) -> bool {
        self.paths.iter().any(|p| p == path)
    }

    /// Whether there is a file or a folder of that name.
    fn holds(&self, path: &str) -> bool {
        let in_folder = |p: &str| p.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        path.is_empty() || self.paths.iter().any(|p| p == path || in_folder(p))
    }
}

/// The files that belong to the repository: git's, also those not yet added; without git, all but hidden folders and
/// build output.
fn list_files(root: &Path) -> Vec<String> {
    let git = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output();
    let mut paths: Vec<String> = match git {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).split_terminator('\0').map(str::to_owned).collect()
        }
        _ => walk(root),
    };
    paths.sort();
    paths.dedup();
    paths
}

fn walk(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from(root)];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                let name = name.to_string_lossy();
                if name != "target" && (!name.starts_with('.') || name == ".ci" || name == ".cargo") {
                    open.push(path);
                }
            } else if let Ok(relative) = path.strip_prefix(root) {
                found.push(relative.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found
}

/// Which rules hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// How many rules hold.
    pub(crate) kept: usize,
    /// The names of those that do not.
    pub(crate) broken: Vec<String>,
}

/// `cargo xtask tidy`; `true` if every rule holds.
pub(crate) fn main(args: &[String]) -> Result<bool, String> {
    if let Some(arg) = args.first() {
        return Err(format!("tidy takes no arguments, and got `{arg}`"));
    }
    Ok(check_and_print(&Workspace::load()?)?.broken.is_empty())
}

/// Checks every rule and prints what it found.
pub(crate) fn check_and_print(ws: &Workspace) -> Result<Verdict, String> {
    let tree = Tree::read(ws)?;
    let mut verdict = Verdict::default();
    let mut warnings = 0;
    for rule in RULES {
        let findings = (rule.check)(&tree);
        let errors = findings.iter().filter(|f| !f.warning).count();
        warnings += findings.len() - errors;
        if errors > 0 {
            println!("{}: {}", rule.name, rule.asks);
            verdict.broken.push(rule.name.to_owned());
        } else {
            verdict.kept += 1;
        }
        for finding in findings {
            let kind = if finding.warning { "warning" } else { "error" };
            println!("  {kind}: {}: {}", finding.place(), finding.message);
        }
    }
    println!(
        "tidy: {} files, {} rules hold, {} broken, {warnings} warnings",
        tree.files.len(),
        verdict.kept,
        verdict.broken.len()
    );
    Ok(verdict)
}

/// Small trees for the rules' tests.
#[cfg(test)]
mod fixture {
    use super::*;
    use crate::workspace::{Package, Target, TargetKind};

    /// A workspace of packages in folders of their own (`gradix` is the root), each with a library.
    pub(crate) fn workspace(packages: &[&str]) -> Workspace {
        let package = |&name: &&str| {
            let folder = name.strip_prefix("gradix-").unwrap_or(name);
            let lib = Target { name: folder.replace('-', "_"), kind: TargetKind::Lib };
            Package {
                name: name.to_owned(),
                dir: if name == "gradix" { "/w".into() } else { Path::new("/w").join(folder) },
                license: Some(config::LICENSE.to_owned()),
                targets: vec![lib],
                ..Package::default()
            }
        };
        Workspace { root: "/w".into(), packages: packages.iter().map(package).collect() }
    }

    pub(crate) fn tree<'a>(ws: &'a Workspace, files: &[(&str, &str)]) -> Tree<'a> {
        let paths = files.iter().map(|&(path, _)| path.to_owned()).collect();
        let files = files.iter().map(|&(path, text)| File::new(path.to_owned(), text.to_owned())).collect();
        Tree { ws, files, paths }
    }

    /// Where the findings are.
    pub(crate) fn places(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(Finding::place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_names_are_different() {
        let mut names: Vec<&str> = RULES.iter().map(|r| r.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RULES.len());
    }

    #[test]
    fn without_git_files_are_found_and_build_output_is_not() {
        let root = std::env::temp_dir().join(format!("gradix-tidy-{}", std::process::id()));
        for file in ["src/lib.rs", "target/debug/x", ".git/config", ".ci/run", "a.md"] {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let mut found = walk(&root);
        found.sort();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, [".ci/run", "a.md", "src/lib.rs"]);
    }
}
