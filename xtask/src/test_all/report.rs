//! The tables at the end of `cargo xtask test-all`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Kind;
use super::libtest::Summary;
use crate::backends::{BACKENDS, Backend, Probe, probe_oclgrind};
use crate::table::{Align, render};
use crate::workspace::Workspace;

/// What one program, or the documentation of one package, came to under one run.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) package: String,
    pub(crate) kind: Kind,
    /// The program, or what else it was.
    pub(crate) target: String,
    /// The name of the run.
    pub(crate) run: &'static str,
    pub(crate) summary: Summary,
    pub(crate) time: Duration,
}

/// Everything that was run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    records: Vec<Record>,
    /// Runs that this machine cannot do, and why.
    skipped: Vec<(&'static str, &'static str)>,
    /// More rows for the table of backends: name, whether it ran, how or why not.
    rows: Vec<Vec<String>>,
}

/// Counts over several programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Total {
    passed: usize,
    failed: usize,
    ignored: usize,
    time: Duration,
}

impl Total {
    fn of<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        records.into_iter().fold(Self::default(), |sum, r| Self {
            passed: sum.passed + r.summary.passed,
            failed: sum.failed + r.summary.failed,
            ignored: sum.ignored + r.summary.ignored,
            time: sum.time + r.time,
        })
    }

    fn is_empty(&self) -> bool {
        self.passed + self.failed + self.ignored == 0
    }

    fn line(&self) -> String {
        format!("{} passed, {} failed, {} ignored", self.passed, self.failed, self.ignored)
    }
}

impl Report {
    pub(crate) fn add(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Notes a run that this machine cannot do.
    pub(crate) fn skip(&mut self, run: &'static str, why: &'static str) {
        self.skipped.push((run, why));
    }

    /// Adds a row to the table of backends.
    pub(crate) fn add_row(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Prints everything, the plain closing line last; `true` if nothing failed.
    pub(crate) fn print(&self, ws: &Workspace, time: Duration) -> bool {
        println!("\n== tests");
        print!("{}", self.test_table());
        let silent = self.packages_without_tests(ws);
        if !silent.is_empty() {
            println!("without any test: {}", silent.join(", "));
        }
        println!("\n== backends");
        print!("{}", self.backend_table(&BACKENDS));
        if let Err(missing) = probe_oclgrind() {
            println!("there is {}; to get it: {}", missing.what, missing.how);
        }
        for (run, why) in &self.skipped {
            println!("the run \"{run}\" was left out: {why}");
        }
        let total = Total::of(&self.records);
        let once = self.once();
        println!();
        for failure in self.failures() {
            println!("FAILED {failure}");
        }
        println!(
            "{} different tests, examples and rules; the rest are the same tests under other settings",
            once.passed + once.failed + once.ignored
        );
        println!("in {}", seconds(time));
        println!("{}", total.line());
        total.failed == 0
    }

    /// Every program once, under the run in which most of it ran.
    fn once(&self) -> Total {
        let mut most: BTreeMap<(&str, Kind, &str), &Record> = BTreeMap::new();
        for record in &self.records {
            let held = most.entry((&record.package, record.kind, &record.target)).or_insert(record);
            let ran = |record: &Record| record.summary.passed + record.summary.failed;
            if ran(record) > ran(held) {
                *held = record;
            }
        }
        Total::of(most.into_values())
    }

    fn test_table(&self) -> String {
        let mut groups: BTreeMap<(&str, usize, Kind), Vec<&Record>> = BTreeMap::new();
        // Runs in the order in which they came.
        let mut runs: Vec<&str> = Vec::new();
        for record in &self.records {
            let run = runs.iter().position(|r| *r == record.run).unwrap_or_else(|| {
                runs.push(record.run);
                runs.len() - 1
            });
            groups.entry((&record.package, run, record.kind)).or_default().push(record);
        }
        let mut rows = Vec::new();
        for ((package, run, kind), records) in groups {
            let total = Total::of(records);
            if !total.is_empty() {
                rows.push(vec![
                    package.to_owned(),
                    kind.name().to_owned(),
                    runs[run].to_owned(),
                    total.passed.to_string(),
                    total.failed.to_string(),
                    total.ignored.to_string(),
                    seconds(total.time),
                ]);
            }
        }
        let header = [
            ("package", Align::Left),
            ("kind", Align::Left),
            ("run", Align::Left),
            ("passed", Align::Right),
            ("failed", Align::Right),
            ("ignored", Align::Right),
            ("time", Align::Right),
        ];
        render(&header, &rows)
    }

    fn packages_without_tests<'a>(&self, ws: &'a Workspace) -> Vec<&'a str> {
        let names = ws.packages.iter().map(|p| p.name.as_str());
        names
            .filter(|name| self.records.iter().any(|r| r.package == *name))
            .filter(|name| Total::of(self.records.iter().filter(|r| r.package == *name)).is_empty())
            .collect()
    }

    /// The table of backends, and below it how to get what they lack here.
    fn backend_table(&self, backends: &[Backend]) -> String {
        let mut rows = Vec::new();
        let mut hints = String::new();
        for backend in backends {
            let probe = (backend.probe)();
            let (state, why) = self.backend_state(backend, &probe);
            rows.push(vec![backend.name.to_owned(), state.to_owned(), why]);
            if let Err(missing) = probe {
                hints.push_str(&format!("to get what {} needs: {}\n", backend.name, missing.how));
            }
        }
        rows.extend(self.rows.iter().cloned());
        let header = [("backend", Align::Left), ("ran", Align::Left), ("how, or why not", Align::Left)];
        render(&header, &rows) + &hints
    }

    /// Whether a backend ran, and a sentence about it.
    fn backend_state(&self, backend: &Backend, probe: &Probe) -> (&'static str, String) {
        let found = match (backend.implemented, probe) {
            (true, Ok(found)) => found,
            (true, Err(missing)) => return ("no", missing.what.clone()),
            (false, Ok(found)) => {
                return ("no", format!("not implemented yet; this machine could run it: {found}"));
            }
            (false, Err(missing)) => {
                return ("no", format!("not implemented yet; besides, {}", missing.what));
            }
        };
        let mine = || self.records.iter().filter(|r| r.package == backend.package);
        if Total::of(mine()).is_empty() {
            return ("no", format!("{} has no tests in this selection", backend.package));
        }
        let mut runs: Vec<&str> = mine().filter(|r| r.kind != Kind::Build).map(|r| r.run).collect();
        runs.dedup();
        if runs.is_empty() {
            return ("no", format!("{} does not compile", backend.package));
        }
        ("yes", format!("{found}; runs: {}", runs.join(", ")))
    }

    /// Every failed test, with where it is and how it was run.
    fn failures(&self) -> Vec<String> {
        let mut out = Vec::new();
        for record in &self.records {
            for name in &record.summary.failures {
                out.push(format!("{} {} [{}]: {name}", record.package, record.kind.name(), record.run));
            }
        }
        out
    }
}

/// One program's outcome, for the progress line.
pub(crate) fn in_short(summary: &Summary, time: Duration) -> String {
    let mut out = format!("{} passed", summary.passed);
    if summary.failed > 0 {
        out.push_str(&format!(", {} FAILED", summary.failed));
    }
    if summary.ignored > 0 {
        out.push_str(&format!(", {} ignored", summary.ignored));
    }
    format!("{out} ({})", seconds(time))
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::Missing;

    fn record(
        package: &str,
        kind: Kind,
        run: &'static str,
        (passed, failed, ignored): (usize, usize, usize),
    ) -> Record {
        let failures = (0..failed).map(|i| format!("t{i}")).collect();
        let summary = Summary { passed, failed, ignored, failures };
        let target = "t".to_owned();
        Record { package: package.to_owned(), kind, target, run, summary, time: Duration::from_millis(1500) }
    }

    fn report(records: Vec<Record>) -> Report {
        Report { records, skipped: Vec::new(), rows: Vec::new() }
    }

    #[test]
    fn programs_of_one_kind_add_up() {
        let report = report(vec![
            record("b", Kind::Unit, "default", (3, 0, 1)),
            record("a", Kind::Integration, "default", (1, 0, 0)),
            record("a", Kind::Integration, "default", (2, 1, 0)),
            record("a", Kind::Integration, "eager", (3, 0, 0)),
            record("a", Kind::Doc, "default", (0, 0, 0)),
        ]);
        let table = report.test_table();
        let rows: Vec<Vec<&str>> = table.lines().skip(2).map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["a", "integration", "default", "3", "1", "0", "3.0", "s"]);
        assert_eq!(rows[1], ["a", "integration", "eager", "3", "0", "0", "1.5", "s"]);
        assert_eq!(rows[2], ["b", "unit", "default", "3", "0", "1", "1.5", "s"]);
        assert_eq!(rows.len(), 3);
        assert_eq!(Total::of(&report.records).line(), "9 passed, 1 failed, 1 ignored");
        assert_eq!(report.failures(), ["a integration [default]: t0"]);
    }

    #[test]
    fn what_runs_again_is_the_same_test() {
        let report = report(vec![
            record("a", Kind::Integration, "default", (0, 0, 1)),
            record("a", Kind::Integration, "no fallback", (5, 1, 0)),
            record("a", Kind::Integration, "eager", (3, 0, 0)),
            record("b", Kind::Integration, "eager", (2, 0, 0)),
        ]);
        assert_eq!(report.once().line(), "7 passed, 1 failed, 0 ignored");
    }

    fn backend(implemented: bool, probe: fn() -> Probe) -> Backend {
        Backend { name: "X", package: "x", implemented, probe }
    }

    fn here() -> Probe {
        Ok("x 1.0".to_owned())
    }

    fn lacking() -> Probe {
        Err(Missing { what: "no libx".to_owned(), how: "install x".to_owned() })
    }

    fn state(records: Vec<Record>, implemented: bool, probe: fn() -> Probe) -> (&'static str, String) {
        report(records).backend_state(&backend(implemented, probe), &probe())
    }

    #[test]
    fn a_backend_ran_only_if_it_exists_and_the_machine_has_it_and_tests_ran() {
        let tests = || vec![record("x", Kind::Unit, "default", (1, 0, 0)), record("x", Kind::Unit, "eager", (1, 0, 0))];
        let said = |answer: &str| answer.to_owned();
        assert_eq!(state(tests(), true, here), ("yes", said("x 1.0; runs: default, eager")));
        assert_eq!(state(tests(), true, lacking), ("no", said("no libx")));
        let (ran, why) = state(tests(), false, here);
        assert!(ran == "no" && why.starts_with("not implemented yet"), "{why}");
        assert_eq!(state(tests(), false, lacking), ("no", said("not implemented yet; besides, no libx")));
        assert_eq!(state(vec![], true, here).0, "no");
        let broken = vec![record("x", Kind::Build, "default", (0, 1, 0))];
        assert_eq!(state(broken, true, here), ("no", said("x does not compile")));
    }

    #[test]
    fn the_table_says_how_to_get_what_is_missing() {
        let table = report(vec![]).backend_table(&[backend(true, here), backend(true, lacking)]);
        assert!(table.ends_with("\nto get what X needs: install x\n"), "{table}");
        assert_eq!(table.matches("to get").count(), 1);
    }

    #[test]
    fn progress_lines_name_only_what_happened() {
        let summary = record("a", Kind::Unit, "default", (2, 0, 0)).summary;
        assert_eq!(in_short(&summary, Duration::from_millis(40)), "2 passed (0.0 s)");
        let summary = record("a", Kind::Unit, "default", (2, 1, 3)).summary;
        assert_eq!(in_short(&summary, Duration::ZERO), "2 passed, 1 FAILED, 3 ignored (0.0 s)");
    }
}
