//! Rules about Rust code.

use super::config::{BACKEND_BLIND, UNSAFE_FILES, UNSAFE_PACKAGES};
use super::source::{find_words, line_of};
use super::{Finding, Tree};

pub(super) fn unsafe_place(tree: &Tree<'_>) -> Vec<Finding> {
    unsafe_place_with(tree, UNSAFE_FILES)
}

fn unsafe_place_with(tree: &Tree<'_>, allowed: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source, package) in tree.rust() {
        if UNSAFE_PACKAGES.contains(&package) || allowed.iter().any(|(path, _)| *path == file.path) {
            continue;
        }
        for at in find_words(&source.code, "unsafe") {
            let message = "unsafe outside of the backends and of the files listed in xtask/src/tidy/config.rs";
            findings.push(Finding::new(&file.path, line_of(&source.code, at), message));
        }
    }
    // A list that names what is gone would let new unsafe code in unseen.
    for (path, _) in allowed {
        let used = tree
            .rust()
            .any(|(file, source, _)| file.path == *path && find_words(&source.code, "unsafe").next().is_some());
        if !used {
            findings.push(Finding::new(path, None, "listed as a place of unsafe code, and has none"));
        }
    }
    findings
}

pub(super) fn unsafe_proof(tree: &Tree<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source, _) in tree.rust() {
        let code: Vec<&str> = source.code.lines().collect();
        let comments: Vec<&str> = source.comments.lines().collect();
        for at in find_words(&source.code, "unsafe") {
            let after = source.code[at + "unsafe".len()..].trim_start();
            let what = if after.starts_with('{') {
                "block"
            } else if after.starts_with("impl") {
                "impl"
            } else {
                continue;
            };
            let line = line_of(&source.code, at);
            if !is_proved(&code, &comments, line - 1) {
                let message = format!("unsafe {what} without a `// SAFETY:` comment right above");
                findings.push(Finding::new(&file.path, line, message));
            }
        }
    }
    findings
}

/// Whether the comment above the statement that reaches line `at` (from zero) says why it is sound.
fn is_proved(code: &[&str], comments: &[&str], at: usize) -> bool {
    let mut line = at;
    while line > 0 {
        line -= 1;
        let (above, comment) = (code[line].trim(), comments[line].trim());
        if above.is_empty() {
            if comment.contains("SAFETY:") {
                return true;
            }
            if comment.is_empty() {
                return false;
            }
        } else if above.ends_with([';', '{', '}', ',']) {
            // The end of what stands before: the comment had to be nearer.
            return false;
        }
        // Otherwise an attribute, or the first line of the same statement, as in `let x =`.
    }
    false
}

pub(super) fn stubs(tree: &Tree<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source, _) in tree.rust() {
        for name in ["todo", "unimplemented", "dbg"] {
            for at in find_words(&source.code, name) {
                if source.code[at + name.len()..].trim_start().starts_with('!')
                    && !source.code[at + name.len()..].trim_start().starts_with("!=")
                {
                    findings.push(Finding::new(&file.path, line_of(&source.code, at), format!("{name}! is a stub")));
                }
            }
        }
    }
    findings
}

pub(super) fn ignored_tests(tree: &Tree<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source, _) in tree.rust() {
        for at in find_words(&source.code, "ignore") {
            let is_attribute = source.code[..at].trim_end().ends_with("#[");
            if is_attribute && source.code[at + "ignore".len()..].trim_start().starts_with(']') {
                let message = "an ignored test without a reason: write #[ignore = \"why\"]";
                findings.push(Finding::new(&file.path, line_of(&source.code, at), message));
            }
        }
    }
    findings
}

pub(super) fn backend_blind(tree: &Tree<'_>) -> Vec<Finding> {
    let backends: Vec<String> = tree
        .ws
        .packages
        .iter()
        .filter(|p| UNSAFE_PACKAGES.contains(&p.name.as_str()))
        .filter_map(|p| p.lib_name())
        .collect();
    let test_files = test_files(tree);
    let mut findings = Vec::new();
    for (file, source, package) in tree.rust() {
        let is_test = |path: &str| {
            ["/tests/", "/examples/", "/benches/"].iter().any(|folder| path.contains(folder))
                || test_files.iter().any(|test| path == format!("{test}.rs") || path.starts_with(&format!("{test}/")))
        };
        if !BACKEND_BLIND.contains(&package) || is_test(&file.path) {
            continue;
        }
        let code = source.code_without_tests();
        for backend in &backends {
            for at in find_words(&code, backend) {
                let message = format!("{package} names the backend `{backend}` outside of its tests");
                findings.push(Finding::new(&file.path, line_of(&code, at), message));
            }
        }
    }
    findings
}

/// The files of modules that are compiled for tests only, as paths without `.rs`.
fn test_files(tree: &Tree<'_>) -> Vec<String> {
    let mut files = Vec::new();
    for (file, source, _) in tree.rust() {
        let stem = file.path.trim_end_matches(".rs");
        // Modules of `x.rs` lie in `x/`; those of lib.rs, main.rs and mod.rs beside them.
        let folder = match stem.rsplit_once('/') {
            Some((folder, "lib" | "main" | "mod")) => folder,
            _ => stem,
        };
        files.extend(source.test_modules().iter().map(|module| format!("{folder}/{module}")));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{places, tree, workspace};
    use super::*;

    const PACKAGES: &[&str] = &["gradix-autograd", "gradix-backend-cpu", "gradix-plot"];

    #[test]
    fn unsafe_belongs_to_backends_and_listed_files() {
        let ws = workspace(PACKAGES);
        let tree = tree(
            &ws,
            &[
                ("plot/src/lib.rs", "// unsafe\nfn f() { \"unsafe\"; }\n"),
                ("plot/src/bad.rs", "fn f() {\n    unsafe { g() }\n}\n#[unsafe(no_mangle)]\nfn h() {}\n"),
                ("plot/src/listed.rs", "unsafe fn f() {}\n"),
                ("backend-cpu/src/lib.rs", "unsafe fn f() {}\n"),
            ],
        );
        let found = unsafe_place_with(&tree, &[("plot/src/listed.rs", "because")]);
        assert_eq!(places(&found), ["plot/src/bad.rs:2", "plot/src/bad.rs:4"]);
        let stale =
            unsafe_place_with(&tree, &[("plot/src/listed.rs", "x"), ("plot/src/lib.rs", "x"), ("gone.rs", "x")]);
        assert_eq!(places(&stale)[2..], ["plot/src/lib.rs", "gone.rs"]);
    }

    fn unproved(text: &str) -> usize {
        let ws = workspace(PACKAGES);
        unsafe_proof(&tree(&ws, &[("backend-cpu/src/lib.rs", text)])).len()
    }

    #[test]
    fn a_proof_stands_right_above() {
        assert_eq!(unproved("// SAFETY: x lives\nunsafe { f(x) }\n"), 0);
        assert_eq!(unproved("// SAFETY: a long\n// proof\n#[inline]\nunsafe impl Send for X {}\n"), 0);
        assert_eq!(unproved("// SAFETY: x lives\nlet y =\n    unsafe { f(x) };\n"), 0);
        assert_eq!(unproved("unsafe fn f() {}\nunsafe extern \"C\" {}\n"), 0);
    }

    #[test]
    fn a_missing_or_distant_proof_is_found() {
        assert_eq!(unproved("unsafe { f(x) }\n"), 1);
        assert_eq!(unproved("// quick\nunsafe { f(x) }\n"), 1);
        assert_eq!(unproved("// SAFETY: of the first\nunsafe { f(x) };\nunsafe { f(y) };\n"), 1);
        assert_eq!(unproved("// SAFETY: far\n\nunsafe { f(x) }\n"), 1);
        assert_eq!(unproved("let s = \"SAFETY:\";\nunsafe impl Sync for X {}\n"), 1);
    }

    #[test]
    fn stubs_are_found_in_code_only() {
        let ws = workspace(PACKAGES);
        let text = "// todo!()\nfn f() {\n    todo!()\n}\nfn todo() {}\nfn g() { if dbg != 1 { dbg!(x); \"unimplemented!\"; } }\n";
        let found = stubs(&tree(&ws, &[("plot/src/lib.rs", text)]));
        assert_eq!(places(&found), ["plot/src/lib.rs:3", "plot/src/lib.rs:6"]);
    }

    #[test]
    fn ignored_tests_need_a_reason() {
        let ws = workspace(PACKAGES);
        let text =
            "#[ignore]\nfn a() {}\n#[ignore = \"slow: 10 min\"]\nfn b() {}\nfn ignore() {}\n/// ```ignore\nfn c() {}\n";
        let found = ignored_tests(&tree(&ws, &[("plot/src/lib.rs", text)]));
        assert_eq!(places(&found), ["plot/src/lib.rs:1"]);
    }

    #[test]
    fn autograd_names_no_backend_outside_of_tests() {
        let ws = workspace(PACKAGES);
        let tree = tree(
            &ws,
            &[
                ("autograd/src/lib.rs", "//! use backend_cpu::Cpu;\n#[cfg(test)]\nmod tests;\nuse backend_cpu::Cpu;\n"),
                ("autograd/src/tests.rs", "use backend_cpu::Cpu;\n"),
                (
                    "autograd/src/engine.rs",
                    "#[cfg(test)]\nmod unit { use backend_cpu::Cpu; }\n#[cfg(test)]\nmod more;\n",
                ),
                ("autograd/src/engine/more.rs", "use backend_cpu::Cpu;\n"),
                ("autograd/src/engine/real.rs", "\nfn f(b: backend_cpu::Cpu) {}\n"),
                ("autograd/tests/all.rs", "use backend_cpu::Cpu;\n"),
                ("plot/src/lib.rs", "use backend_cpu::Cpu;\n"),
            ],
        );
        assert_eq!(places(&backend_blind(&tree)), ["autograd/src/lib.rs:4", "autograd/src/engine/real.rs:2"]);
    }
}
