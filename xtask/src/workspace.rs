//! What `cargo metadata` says about the workspace: packages, targets, features and dependencies.
//!
//! Every command works from this, so that a new crate, test or example is found by being there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tinyjson::JsonValue;

/// The workspace as cargo sees it.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    pub(crate) packages: Vec<Package>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// The folder of the package's `Cargo.toml`.
    pub(crate) dir: PathBuf,
    pub(crate) license: Option<String>,
    pub(crate) features: Vec<String>,
    pub(crate) targets: Vec<Target>,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: TargetKind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TargetKind {
    #[default]
    Lib,
    Bin,
    Test,
    Example,
    Bench,
    BuildScript,
}

#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `true` for `[dev-dependencies]`; build dependencies count as normal ones.
    pub(crate) dev: bool,
}

impl Workspace {
    /// Asks cargo, from the workspace of this xtask.
    pub(crate) fn load() -> Result<Self, String> {
        let output = cargo()
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(start_dir())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| format!("cannot start cargo: {e}"))?;
        if !output.status.success() {
            return Err("`cargo metadata` failed".to_owned());
        }
        Self::parse(&String::from_utf8_lossy(&output.stdout))
    }

    /// Reads what `cargo metadata --no-deps` printed.
    fn parse(json: &str) -> Result<Self, String> {
        let json: JsonValue = json.parse().map_err(|e| format!("cannot read the output of `cargo metadata`: {e}"))?;
        let root = PathBuf::from(text(&json, "workspace_root").ok_or("cargo metadata names no workspace_root")?);
        let mut packages: Vec<Package> = list(&json, "packages").iter().filter_map(Package::parse).collect();
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { root, packages })
    }

    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|p| p.name == name)
    }

    /// The package in whose folder a file lies; the deepest one wins, as the root package's folder holds all others.
    pub(crate) fn package_of(&self, path: &Path) -> Option<&Package> {
        self.packages.iter().filter(|p| path.starts_with(&p.dir)).max_by_key(|p| p.dir.components().count())
    }

    /// Whether `package` is `needle` or depends on it, directly or through others, for its library or its tests.
    pub(crate) fn reaches(&self, package: &str, needle: &str) -> bool {
        let by_name: BTreeMap<&str, &Package> = self.packages.iter().map(|p| (p.name.as_str(), p)).collect();
        let mut seen = BTreeSet::from([package]);
        let mut open = vec![package];
        while let Some(name) = open.pop() {
            if name == needle {
                return true;
            }
            for dependency in by_name.get(name).map_or(&[][..], |p| &p.dependencies) {
                // The tests of a dependency do not run here, so its dev-dependencies do not matter.
                if dependency.dev && name != package {
                    continue;
                }
                if seen.insert(&dependency.name) {
                    open.push(&dependency.name);
                }
            }
        }
        false
    }

    /// A path relative to the root, with `/`, as messages show it.
    pub(crate) fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().replace('\\', "/")
    }
}

impl Package {
    fn parse(json: &JsonValue) -> Option<Self> {
        let manifest = PathBuf::from(text(json, "manifest_path")?);
        let mut features: Vec<String> = json["features"]
            .get::<std::collections::HashMap<String, JsonValue>>()
            .map(|map| map.keys().cloned().collect())
            .unwrap_or_default();
        features.sort();
        Some(Self {
            name: text(json, "name")?.to_owned(),
            dir: manifest.parent()?.to_path_buf(),
            license: text(json, "license").map(str::to_owned),
            features,
            targets: list(json, "targets").iter().filter_map(Target::parse).collect(),
            dependencies: list(json, "dependencies").iter().filter_map(Dependency::parse).collect(),
        })
    }

    /// The name under which Rust code knows the library, if there is one.
    pub(crate) fn lib_name(&self) -> Option<String> {
        self.targets.iter().find(|t| t.kind == TargetKind::Lib).map(|t| t.name.replace('-', "_"))
    }
}

impl Target {
    fn parse(json: &JsonValue) -> Option<Self> {
        Some(Self { name: text(json, "name")?.to_owned(), kind: TargetKind::parse(json) })
    }
}

impl TargetKind {
    /// Reads the `kind` of a target, in `cargo metadata` and in build messages alike.
    pub(crate) fn parse(target: &JsonValue) -> Self {
        let kinds = list(target, "kind");
        match kinds.first().and_then(|k| k.get::<String>()).map_or("", String::as_str) {
            "bin" => Self::Bin,
            "test" => Self::Test,
            "example" => Self::Example,
            "bench" => Self::Bench,
            "custom-build" => Self::BuildScript,
            _ => Self::Lib,
        }
    }
}

impl Dependency {
    fn parse(json: &JsonValue) -> Option<Self> {
        Some(Self { name: text(json, "name")?.to_owned(), dev: text(json, "kind") == Some("dev") })
    }
}

/// A field that holds text.
pub(crate) fn text<'a>(json: &'a JsonValue, key: &str) -> Option<&'a str> {
    field(json, key)?.get::<String>().map(String::as_str)
}

/// A field that holds a list; empty where it is missing.
pub(crate) fn list<'a>(json: &'a JsonValue, key: &str) -> &'a [JsonValue] {
    field(json, key).and_then(|v| v.get::<Vec<JsonValue>>()).map_or(&[], Vec::as_slice)
}

/// A field of an object.
pub(crate) fn field<'a>(json: &'a JsonValue, key: &str) -> Option<&'a JsonValue> {
    json.get::<std::collections::HashMap<String, JsonValue>>()?.get(key)
}

/// A cargo command whose environment is that of the user's shell: `cargo run` adds variables about the xtask package,
/// and build scripts that watch one of them would run again at every change between `cargo build` and `cargo xtask`.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_BIN_") {
            command.env_remove(name.as_ref());
        }
    }
    command.env_remove("CARGO_CRATE_NAME").env_remove("CARGO_PRIMARY_PACKAGE");
    command
}

/// Where to ask cargo: `cargo run` says where xtask's manifest is; a copied binary uses the current folder.
fn start_dir() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{
        "workspace_root": "/w",
        "packages": [
            {"name": "top", "manifest_path": "/w/Cargo.toml", "license": "MIT", "features": {"b": [], "a": ["b"]},
             "targets": [{"name": "top-lib", "kind": ["lib"]},
                         {"name": "tour", "kind": ["example"]}],
             "dependencies": [{"name": "mid", "kind": null}]},
            {"name": "mid", "manifest_path": "/w/mid/Cargo.toml", "license": null, "features": {},
             "targets": [{"name": "mid", "kind": ["proc-macro"]}],
             "dependencies": [{"name": "low", "kind": "build"}, {"name": "aside", "kind": "dev"}]},
            {"name": "low", "manifest_path": "/w/low/Cargo.toml", "features": {}, "targets": [], "dependencies": []}
        ]}"#;

    #[test]
    fn metadata_is_read() {
        let ws = Workspace::parse(METADATA).unwrap();
        assert_eq!(ws.root, Path::new("/w"));
        let names: Vec<&str> = ws.packages.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["low", "mid", "top"]);
        let top = ws.package("top").unwrap();
        assert_eq!(top.features, ["a", "b"]);
        assert_eq!(top.license.as_deref(), Some("MIT"));
        assert_eq!(top.lib_name().as_deref(), Some("top_lib"));
        assert_eq!(top.targets[1].kind, TargetKind::Example);
        assert_eq!(ws.package("mid").unwrap().license, None);
        assert!(ws.package("mid").unwrap().dependencies[1].dev);
    }

    #[test]
    fn broken_metadata_is_an_error() {
        assert!(Workspace::parse("{").unwrap_err().contains("cargo metadata"));
        assert!(Workspace::parse("{}").unwrap_err().contains("workspace_root"));
    }

    #[test]
    fn reaching_follows_dev_dependencies_of_the_package_itself_only() {
        let ws = Workspace::parse(METADATA).unwrap();
        assert!(ws.reaches("top", "top"));
        assert!(ws.reaches("top", "low"));
        assert!(ws.reaches("mid", "aside"));
        assert!(!ws.reaches("top", "aside"));
        assert!(!ws.reaches("low", "top"));
    }

    #[test]
    fn a_file_belongs_to_the_deepest_package() {
        let ws = Workspace::parse(METADATA).unwrap();
        assert_eq!(ws.package_of(Path::new("/w/mid/src/lib.rs")).unwrap().name, "mid");
        assert_eq!(ws.package_of(Path::new("/w/src/lib.rs")).unwrap().name, "top");
        assert!(ws.package_of(Path::new("/elsewhere/x.rs")).is_none());
        assert_eq!(ws.relative(Path::new("/w/mid/src/lib.rs")), "mid/src/lib.rs");
    }
}
