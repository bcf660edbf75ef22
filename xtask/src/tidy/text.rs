//! Rules about any text file.

use super::config::{LONG_FILE, LONG_FILES, TEXT_FILES};
use super::{File, Finding, Tree};

fn is_checked(file: &File) -> bool {
    let name = file.path.rsplit('/').next().unwrap_or(&file.path);
    match name.rsplit_once('.') {
        Some((_, ending)) => TEXT_FILES.contains(&ending),
        // Scripts have no ending.
        None => file.text.starts_with("#!"),
    }
}

pub(super) fn blanks(tree: &Tree<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|f| is_checked(f)) {
        let mut add = |line: Option<usize>, message: &str| {
            findings.push(Finding::new(&file.path, line, message));
        };
        for (i, line) in file.text.split('\n').enumerate() {
            let at = Some(i + 1);
            if line.ends_with('\r') {
                add(at, "a Windows line end");
            } else if line.ends_with([' ', '\t']) {
                add(at, "blanks at the end of the line");
            }
            if line.contains('\t') {
                add(at, "a tab");
            }
            if ["<<<<<<< ", ">>>>>>> "].iter().any(|mark| line.starts_with(mark)) {
                add(at, "the mark of a merge conflict");
            }
        }
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            add(None, "no line end at the end of the file");
        } else if file.text.ends_with("\n\n") {
            add(None, "empty lines at the end of the file");
        }
    }
    findings
}

pub(super) fn long_files(tree: &Tree<'_>) -> Vec<Finding> {
    long_files_with(tree, LONG_FILE, LONG_FILES)
}

fn long_files_with(tree: &Tree<'_>, limit: usize, allowed: &[(&str, &str)]) -> Vec<Finding> {
    let is_code = |f: &&File| [".rs", ".cl", ".cu", ".h", ".c", ".cpp"].iter().any(|ending| f.path.ends_with(ending));
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(is_code) {
        let lines = file.text.lines().count();
        let listed = allowed.iter().any(|(path, _)| *path == file.path);
        if lines > limit && !listed {
            let message = format!("{lines} lines, over {limit}: are there two rooms in one?");
            findings.push(Finding { warning: true, ..Finding::new(&file.path, None, message) });
        } else if lines <= limit && listed {
            findings.push(Finding::new(&file.path, None, "listed as a long file, and is not one any more"));
        }
    }
    for (path, _) in allowed {
        if !tree.has(path) {
            findings.push(Finding::new(path, None, "listed as a long file, and does not exist"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{places, tree, workspace};
    use super::*;

    #[test]
    fn blanks_are_found() {
        let ws = workspace(&[]);
        let tree = tree(
            &ws,
            &[
                ("good.rs", "fn f() {}\n"),
                ("empty.rs", ""),
                ("bad.rs", "a \n\tb\nc\r\n<<<<<<< HEAD\n"),
                ("short.toml", "x = 1"),
                ("long.md", "x\n\n"),
                (".ci/run", "#!/bin/sh\nx \n"),
                ("picture.svg", "a \n"),
                ("LICENSE", "a \n"),
            ],
        );
        let found = places(&blanks(&tree));
        assert_eq!(found, ["bad.rs:1", "bad.rs:2", "bad.rs:3", "bad.rs:4", "short.toml", "long.md", ".ci/run:2"]);
    }

    #[test]
    fn long_files_are_warnings_and_the_list_stays_true() {
        let ws = workspace(&[]);
        let tree = tree(&ws, &[("a.rs", "1\n2\n3\n"), ("b.rs", "1\n2\n"), ("c.md", "1\n2\n3\n")]);
        let found = long_files_with(&tree, 2, &[]);
        assert_eq!(places(&found), ["a.rs"]);
        assert!(found[0].warning);
        assert!(long_files_with(&tree, 2, &[("a.rs", "one table")]).is_empty());
        let stale = long_files_with(&tree, 3, &[("a.rs", "x"), ("gone.rs", "x")]);
        assert_eq!(places(&stale), ["a.rs", "gone.rs"]);
        assert!(stale.iter().all(|f| !f.warning));
    }
}
