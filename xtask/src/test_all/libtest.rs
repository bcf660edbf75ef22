//! Reading what a test program prints: libtest's lines, which libtest-mimic and rustdoc print too.

/// What the tests of one program came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) ignored: usize,
    /// The names of the failed tests.
    pub(crate) failures: Vec<String>,
}

impl Summary {
    /// A program without tests of its own, judged by its exit status.
    pub(crate) fn of_one(success: bool, name: &str) -> Self {
        if success {
            Self { passed: 1, ..Self::default() }
        } else {
            Self { failed: 1, failures: vec![name.to_owned()], ..Self::default() }
        }
    }

    /// Both together.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.failures.extend_from_slice(&other.failures);
        self
    }

    /// Reads a program's output and exit status.
    ///
    /// A program that prints no summary is one test: it passed if it ended well. One that ended badly without saying
    /// which test failed (an abort, a stack overflow, a test that ran out of time) has at least one failure.
    pub(crate) fn of_program(output: &str, success: bool, name: &str) -> Self {
        let Some(mut summary) = Self::parse(output) else {
            return Self::of_one(success, name);
        };
        if !success && summary.failed == 0 {
            summary.failed = 1;
            summary.failures.push(format!("{name} (ended badly)"));
        }
        summary
    }

    /// Adds up every `test result:` line; `None` if there is none.
    pub(crate) fn parse(output: &str) -> Option<Self> {
        let mut summary: Option<Self> = None;
        let mut failures = Vec::new();
        for line in output.lines() {
            if let Some(counts) = line.strip_prefix("test result: ") {
                let sum = summary.get_or_insert_default();
                sum.passed += count(counts, "passed");
                sum.failed += count(counts, "failed");
                sum.ignored += count(counts, "ignored");
            } else if let Some(name) = failed_name(line) {
                failures.push(name.to_owned());
            }
        }
        if let Some(sum) = &mut summary {
            failures.dedup();
            sum.failures = failures;
        }
        summary
    }
}

/// The number before `word` in `ok. 5 passed; 0 failed; …`.
fn count(counts: &str, word: &str) -> usize {
    counts
        .split([';', '.'])
        .filter_map(|part| part.trim().split_once(' '))
        .find(|(_, w)| *w == word)
        .and_then(|(n, _)| n.parse().ok())
        .unwrap_or(0)
}

/// The name in `---- some::test stdout ----`, the line above a failed test's output.
fn failed_name(line: &str) -> Option<&str> {
    let name = line.strip_prefix("---- ")?.strip_suffix(" ----")?;
    Some(name.strip_suffix(" stdout").or_else(|| name.strip_suffix(" stderr")).unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: &str = "\
running 4 tests
test a ... ok
test b ... FAILED
test c ... ignored, slow
test d ... ok

failures:

---- b stdout ----
thread 'b' panicked at src/lib.rs:1:1:
boom


failures:
    b

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn counts_and_names_are_read() {
        let summary = Summary::of_program(FAILED, false, "x");
        let expected = Summary { passed: 2, failed: 1, ignored: 1, failures: vec!["b".to_owned()] };
        assert_eq!(summary, expected);
    }

    #[test]
    fn several_results_add_up() {
        let twice = format!(
            "{FAILED}test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s\n"
        );
        let summary = Summary::parse(&twice).unwrap();
        assert_eq!((summary.passed, summary.failed, summary.ignored), (14, 1, 1));
    }

    #[test]
    fn libtest_mimic_names_are_read() {
        let output =
            "---- add::f32 ----\nwrong\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(Summary::parse(output).unwrap().failures, ["add::f32"]);
    }

    #[test]
    fn parts_of_a_program_add_up() {
        let part = Summary::of_program(FAILED, false, "x");
        let sum = part.clone().and(&Summary::of_one(false, "y"));
        assert_eq!((sum.passed, sum.failed, sum.ignored), (2, 2, 1));
        assert_eq!(sum.failures, ["b", "y"]);
    }

    #[test]
    fn an_abort_is_a_failure() {
        let aborted = Summary::of_program("running 3 tests\ntest a ... ok\n", false, "crash");
        assert_eq!((aborted.passed, aborted.failed), (0, 1));
        let odd = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
        let ended_badly = Summary::of_program(odd, false, "crash");
        assert_eq!((ended_badly.passed, ended_badly.failed), (1, 1));
        assert_eq!(ended_badly.failures, ["crash (ended badly)"]);
    }

    #[test]
    fn a_program_of_its_own_is_one_test() {
        assert_eq!(Summary::of_program("hello\n", true, "p").passed, 1);
        assert_eq!(Summary::of_program("hello\n", false, "p").failures, ["p"]);
    }
}
