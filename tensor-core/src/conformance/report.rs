//! The kit as a table.

use super::case::{Case, Outcome, Verdict};
use super::cases;
use crate::{Backend, DType};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What became of all cases on one device. Its `Display` is a table: a row for each operation, a column for each dtype.
///
/// ```
/// use tensor_core::conformance::Report;
/// use tensor_core::reference::Reference;
/// let report = Report::of(&Reference, "memory/");
/// assert!(report.passed(), "{report}");
/// ```
#[derive(Clone, Debug)]
pub struct Report {
    device: String,
    results: Vec<CaseResult>,
    elapsed: Duration,
}

/// A case and what became of it.
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// The case's [name](Case::name).
    pub name: String,
    /// Its [family](Case::family).
    pub family: &'static str,
    /// The operation it is about.
    pub op: String,
    /// The dtype it is about, if it is about one.
    pub dtype: Option<DType>,
    /// What became of it.
    pub outcome: Outcome,
}

impl Report {
    /// Runs all cases whose name contains `filter` (an empty one chooses all), on several threads.
    pub fn of<B: Backend>(backend: &B, filter: &str) -> Self {
        let begin = Instant::now();
        let chosen: Vec<Case<B>> = cases().into_iter().filter(|case| case.name().contains(filter)).collect();
        let results = Mutex::new(vec![None; chosen.len()]);
        let next = AtomicUsize::new(0);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some((place, case)) = {
                        let place = next.fetch_add(1, Ordering::Relaxed);
                        chosen.get(place).map(|case| (place, case))
                    } {
                        let result = CaseResult {
                            name: case.name(),
                            family: case.family(),
                            op: case.op().to_owned(),
                            dtype: case.dtype(),
                            outcome: case.run(backend),
                        };
                        results.lock().unwrap_or_else(PoisonError::into_inner)[place] = Some(result);
                    }
                });
            }
        });
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        Self {
            device: format!("{} ({})", backend.label(), backend.info().name),
            results: results.into_iter().flatten().collect(),
            elapsed: begin.elapsed(),
        }
    }

    /// The cases, in order.
    pub fn results(&self) -> &[CaseResult] {
        &self.results
    }

    /// Whether there were cases and nothing is wrong. What is not supported, or falls back, is not wrong.
    pub fn passed(&self) -> bool {
        !self.results.is_empty() && self.wrong().next().is_none()
    }

    /// The cases that found something wrong.
    pub fn wrong(&self) -> impl Iterator<Item = &CaseResult> {
        self.results.iter().filter(|result| matches!(result.outcome.verdict, Verdict::Wrong(_)))
    }

    /// The operations for which the reference interpreter stood in at least once.
    pub fn fallbacks(&self) -> BTreeSet<&'static str> {
        self.results.iter().flat_map(|result| result.outcome.fallbacks.iter().copied()).collect()
    }

    /// The case with the largest error among those of an operation that passed, and that error in ULP.
    pub fn worst(&self, op: &str) -> Option<(&CaseResult, f64)> {
        let of_op = self.results.iter().filter(|result| result.op == op);
        of_op
            .filter(|result| result.outcome.verdict == Verdict::Passed)
            .filter_map(|result| Some((result, result.outcome.worst_ulp?)))
            .max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// One cell of the table: what became of an operation in a dtype. Empty if nothing was asked.
    fn cell(&self, op: &str, dtype: DType) -> String {
        let outcomes: Vec<&Outcome> = self
            .results
            .iter()
            .filter(|result| result.op == op && result.dtype == Some(dtype))
            .map(|result| &result.outcome)
            .collect();
        let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| wanted(outcome)).count();
        let slow = count(|outcome| !outcome.fallbacks.is_empty());
        let unsupported = count(|outcome| outcome.verdict == Verdict::NotSupported);
        if outcomes.is_empty() {
            String::new()
        } else if count(|outcome| matches!(outcome.verdict, Verdict::Wrong(_))) > 0 {
            "WRONG".to_owned()
        } else if unsupported == outcomes.len() {
            "-".to_owned()
        } else if slow + unsupported == outcomes.len() {
            "fallback".to_owned()
        } else if slow > 0 {
            "partly".to_owned()
        } else {
            match outcomes.iter().filter_map(|outcome| outcome.worst_ulp).fold(0.0, f64::max) {
                0.0 => "exact".to_owned(),
                worst => format!("{worst:.1}"),
            }
        }
    }

    /// The operations that have cases in dtypes, in order of appearance.
    fn rows(&self) -> Vec<&str> {
        let mut rows: Vec<&str> = Vec::new();
        for result in self.results.iter().filter(|result| result.dtype.is_some()) {
            if !rows.contains(&result.op.as_str()) {
                rows.push(&result.op);
            }
        }
        rows
    }

    fn write_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        if rows.is_empty() {
            return Ok(());
        }
        let first = rows.iter().map(|op| op.len()).max().unwrap_or(0);
        write!(f, "\n{:first$}", "operation")?;
        for dtype in DType::ALL {
            write!(f, " {dtype:>8}")?;
        }
        writeln!(f, "  largest error, in ULP")?;
        for op in rows {
            write!(f, "{op:first$}")?;
            for dtype in DType::ALL {
                write!(f, " {:>8}", self.cell(op, dtype))?;
            }
            match self.worst(op) {
                Some((result, worst)) if worst > 0.0 => writeln!(f, "  {worst:.1} in {}", result.name)?,
                _ => writeln!(f)?,
            }
        }
        writeln!(
            f,
            "\nA number is the largest error of a native kernel in units in the last place, `exact` that it has none;\n\
             `fallback` is the reference interpreter's work, `partly` of some cases only, `-` a dtype that the device lacks."
        )
    }

    fn write_families(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut families: Vec<&str> = Vec::new();
        for result in &self.results {
            if !families.contains(&result.family) {
                families.push(result.family);
            }
        }
        writeln!(f)?;
        for family in families {
            let of_family = || self.results.iter().filter(|result| result.family == family);
            let passed = of_family().filter(|result| result.outcome.verdict == Verdict::Passed).count();
            writeln!(f, "{family:10} {passed:5} of {:5} cases passed", of_family().count())?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Conformance of {}", self.device)?;
        self.write_table(f)?;
        self.write_families(f)?;
        let fallbacks = self.fallbacks();
        if !fallbacks.is_empty() {
            let names: Vec<&str> = fallbacks.into_iter().collect();
            writeln!(f, "\nThe reference interpreter stood in for: {}", names.join(", "))?;
        }
        for result in self.wrong() {
            if let Verdict::Wrong(what) = &result.outcome.verdict {
                writeln!(f, "\nWRONG {}\n      {what}", result.name)?;
            }
        }
        let count = |wanted: fn(&Outcome) -> bool| self.results.iter().filter(|result| wanted(&result.outcome)).count();
        writeln!(
            f,
            "\n{} cases: {} passed, {} of them with fallbacks; {} not supported, {} denied, {} wrong; {:.1} s",
            self.results.len(),
            count(|outcome| outcome.verdict == Verdict::Passed),
            count(|outcome| outcome.verdict == Verdict::Passed && !outcome.fallbacks.is_empty()),
            count(|outcome| outcome.verdict == Verdict::NotSupported),
            count(|outcome| outcome.verdict == Verdict::Denied),
            count(|outcome| matches!(outcome.verdict, Verdict::Wrong(_))),
            self.elapsed.as_secs_f64()
        )
    }
}
