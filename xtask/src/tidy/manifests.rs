//! Rules about the packages and their manifests.

use super::config::{LAYERS, LICENSE, LICENSE_FILES, Layer};
use super::{Finding, Tree};
use crate::workspace::{Package, Workspace};

pub(super) fn layers(tree: &Tree<'_>) -> Vec<Finding> {
    layers_with(tree.ws, LAYERS)
}

fn layers_with(ws: &Workspace, layers: &[Layer]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &ws.packages {
        let manifest = manifest(ws, package);
        let Some(layer) = layers.iter().find(|l| l.package == package.name) else {
            let message = format!("{} has no row in LAYERS of xtask/src/tidy/config.rs", package.name);
            findings.push(Finding::new(&manifest, None, message));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| ws.package(&d.name).is_some()) {
            let name = dependency.name.as_str();
            if layer.may_use.contains(&name) || (dependency.dev && layer.tests_may_use.contains(&name)) {
                continue;
            }
            let tests = if dependency.dev { " in its tests" } else { "" };
            let message = format!("{} must not depend on {name}{tests}: it lies above or beside", package.name);
            findings.push(Finding::new(&manifest, None, message));
        }
    }
    for layer in layers {
        if ws.package(layer.package).is_none() {
            let message = format!("LAYERS has a row for {}, which does not exist", layer.package);
            findings.push(Finding::new("xtask/src/tidy/config.rs", None, message));
        }
    }
    findings
}

pub(super) fn lints(tree: &Tree<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &tree.ws.packages {
        let path = manifest(tree.ws, package);
        let text = tree.files.iter().find(|f| f.path == path).map_or("", |f| &f.text);
        if !takes_workspace_lints(text) {
            findings.push(Finding::new(&path, None, "needs `[lints]` with `workspace = true`"));
        }
    }
    findings
}

fn takes_workspace_lints(manifest: &str) -> bool {
    let lines = || manifest.lines().map(|l| l.split('#').next().unwrap_or_default().replace(' ', ""));
    let section = lines().skip_while(|l| l != "[lints]").skip(1).take_while(|l| !l.starts_with('['));
    section.into_iter().any(|l| l == "workspace=true") || lines().any(|l| l == "lints.workspace=true")
}

pub(super) fn licence(tree: &Tree<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &tree.ws.packages {
        if package.license.as_deref() != Some(LICENSE) {
            let message = format!("the licence has to be `{LICENSE}`: write `license.workspace = true`");
            findings.push(Finding::new(&manifest(tree.ws, package), None, message));
        }
    }
    for file in LICENSE_FILES.iter().filter(|f| !tree.has(f)) {
        findings.push(Finding::new(file, None, "the text of the licence is missing"));
    }
    findings
}

fn manifest(ws: &Workspace, package: &Package) -> String {
    ws.relative(&package.dir.join("Cargo.toml"))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{places, tree, workspace};
    use super::*;
    use crate::workspace::Dependency;

    const SOME_LAYERS: &[Layer] = &[
        Layer { package: "low", may_use: &[], tests_may_use: &[] },
        Layer { package: "high", may_use: &["low"], tests_may_use: &["aside"] },
        Layer { package: "aside", may_use: &["low"], tests_may_use: &[] },
    ];

    fn with_dependency(from: &str, to: &str, dev: bool) -> Vec<Finding> {
        let mut ws = workspace(&["low", "high", "aside"]);
        let package = ws.packages.iter_mut().find(|p| p.name == from).unwrap();
        package.dependencies.push(Dependency { name: to.to_owned(), dev });
        layers_with(&ws, SOME_LAYERS)
    }

    #[test]
    fn dependencies_go_down_only() {
        assert!(with_dependency("high", "low", false).is_empty());
        assert!(with_dependency("high", "aside", true).is_empty());
        assert!(with_dependency("low", "some-crate-from-outside", false).is_empty());
        assert_eq!(places(&with_dependency("low", "high", false)), ["low/Cargo.toml"]);
        assert_eq!(places(&with_dependency("low", "high", true)), ["low/Cargo.toml"]);
        assert_eq!(places(&with_dependency("high", "aside", false)), ["high/Cargo.toml"]);
    }

    #[test]
    fn the_table_of_layers_is_complete_and_true() {
        let findings = layers_with(&workspace(&["low", "high", "new"]), SOME_LAYERS);
        assert_eq!(places(&findings), ["new/Cargo.toml", "xtask/src/tidy/config.rs"]);
    }

    #[test]
    fn workspace_lints_are_required() {
        assert!(takes_workspace_lints("[package]\nname = \"x\"\n\n[lints]\nworkspace = true\n"));
        assert!(takes_workspace_lints("lints.workspace = true # all\n"));
        assert!(!takes_workspace_lints("[package]\nname = \"x\"\n"));
        assert!(!takes_workspace_lints("[lints]\n[dependencies.x]\nworkspace = true\n"));
        assert!(!takes_workspace_lints("# [lints]\n# workspace = true\n"));
        let ws = workspace(&["low"]);
        assert_eq!(places(&lints(&tree(&ws, &[("low/Cargo.toml", "[package]\n")]))), ["low/Cargo.toml"]);
    }

    #[test]
    fn licences_are_required() {
        let mut ws = workspace(&["low", "high"]);
        ws.packages[0].license = Some("GPL-3.0".to_owned());
        let found = licence(&tree(&ws, &[("LICENSE-MIT", "x")]));
        assert_eq!(places(&found), ["low/Cargo.toml", "LICENSE-APACHE"]);
    }
}
