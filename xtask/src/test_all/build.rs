//! Building every test program and example once, and learning from cargo where they lie.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tinyjson::JsonValue;

use super::Kind;
use crate::workspace::{TargetKind, Workspace, cargo, field, text};

/// A program that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) package: String,
    pub(crate) kind: Kind,
    /// The target's name: the library's, or the stem of the file.
    pub(crate) target: String,
    pub(crate) path: PathBuf,
}

/// What one build gave.
#[derive(Debug, Default)]
pub(crate) struct Built {
    pub(crate) programs: Vec<Program>,
    /// Package and target of whatever did not compile.
    pub(crate) broken: Vec<(String, String)>,
}

/// Builds what these arguments of `cargo build` choose. What compiles is there even where something else does not.
pub(crate) fn build(ws: &Workspace, selection: &[&str]) -> Result<Built, String> {
    let mut child = cargo()
        .args(["build", "--keep-going", "--message-format=json"])
        .args(selection)
        .current_dir(&ws.root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot start cargo: {e}"))?;
    let messages = child.stdout.take().ok_or("cargo gave no output")?;
    let mut built = Built::default();
    for line in BufReader::new(messages).lines() {
        let line = line.map_err(|e| format!("cannot read cargo's messages: {e}"))?;
        // Anything that is not JSON comes from a build script or a wrapper and is of no concern here.
        if let Ok(message) = line.parse::<JsonValue>() {
            built.take(ws, &message);
        }
    }
    let status = child.wait().map_err(|e| format!("cannot wait for cargo: {e}"))?;
    if !status.success() && built.broken.is_empty() {
        built.broken.push(("workspace".to_owned(), "cargo build".to_owned()));
    }
    built.programs.sort_by(|a, b| (&a.package, a.kind, &a.target).cmp(&(&b.package, b.kind, &b.target)));
    Ok(built)
}

impl Built {
    /// Takes in one of cargo's messages.
    fn take(&mut self, ws: &Workspace, message: &JsonValue) {
        let target = field(message, "target");
        let name = target.and_then(|t| text(t, "name")).unwrap_or_default().to_owned();
        let package = text(message, "manifest_path")
            .and_then(|path| ws.packages.iter().find(|p| Some(p.dir.as_path()) == Path::new(path).parent()));
        match text(message, "reason") {
            Some("compiler-message") => {
                let Some(diagnostic) = field(message, "message") else {
                    return;
                };
                if let Some(rendered) = text(diagnostic, "rendered") {
                    eprint!("{rendered}");
                }
                if text(diagnostic, "level") == Some("error") {
                    let place = (package.map_or_else(|| "dependency".to_owned(), |p| p.name.clone()), name);
                    if !self.broken.contains(&place) {
                        self.broken.push(place);
                    }
                }
            }
            Some("compiler-artifact") => {
                let (Some(package), Some(path), Some(target)) = (package, text(message, "executable"), target) else {
                    return;
                };
                let is_test = field(message, "profile")
                    .and_then(|p| field(p, "test"))
                    .and_then(|t| t.get::<bool>())
                    .copied()
                    .unwrap_or(false);
                let kind = match (TargetKind::parse(target), is_test) {
                    (TargetKind::Example, false) => Kind::Example,
                    // A plain program of the package, built for its integration tests.
                    (_, false) => return,
                    (TargetKind::Lib | TargetKind::Bin, true) => Kind::Unit,
                    (_, true) => Kind::Integration,
                };
                self.programs.push(Program { package: package.name.clone(), kind, target: name, path: path.into() });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Package;

    fn built(messages: &[&str]) -> Built {
        let ws = Workspace {
            root: "/w".into(),
            packages: vec![Package { name: "p".to_owned(), dir: "/w/p".into(), ..Package::default() }],
        };
        let mut built = Built::default();
        for message in messages {
            built.take(&ws, &message.parse().unwrap());
        }
        built
    }

    fn artifact(kind: &str, test: bool, executable: &str) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","manifest_path":"/w/p/Cargo.toml","target":{{"name":"t","kind":["{kind}"]}},
               "profile":{{"test":{test}}},"executable":{executable}}}"#
        )
    }

    #[test]
    fn programs_are_sorted_into_kinds() {
        let kind =
            |kind: &str, test| built(&[&artifact(kind, test, r#""/w/target/t""#)]).programs.first().map(|p| p.kind);
        assert_eq!(kind("lib", true), Some(Kind::Unit));
        assert_eq!(kind("bin", true), Some(Kind::Unit));
        assert_eq!(kind("test", true), Some(Kind::Integration));
        assert_eq!(kind("example", true), Some(Kind::Integration));
        assert_eq!(kind("example", false), Some(Kind::Example));
        assert_eq!(kind("bin", false), None);
        assert!(built(&[&artifact("lib", false, "null")]).programs.is_empty());
    }

    #[test]
    fn errors_name_their_target_once() {
        let error = r#"{"reason":"compiler-message","manifest_path":"/w/p/Cargo.toml","target":{"name":"t","kind":["lib"]},
                        "message":{"level":"error"}}"#;
        let warning = error.replace(r#""error""#, r#""warning""#);
        assert!(built(&[&warning]).broken.is_empty());
        assert_eq!(built(&[error, error]).broken, [("p".to_owned(), "t".to_owned())]);
    }
}
