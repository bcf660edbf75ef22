//! The one table that comes out, in Markdown.

use crate::cases::{Case, Goal};
use crate::job::Library;
use crate::limits::Limits;
use crate::{Outcome, median};
use std::fmt::Write;

/// A time with three digits and its unit.
fn time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s < 1e-6 => (s * 1e9, "ns"),
        s if s < 1e-3 => (s * 1e6, "µs"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    format!("{} {unit}", digits(value))
}

/// Three digits that count.
fn digits(value: f64) -> String {
    match value {
        v if v < 10.0 => format!("{v:.2}"),
        v if v < 100.0 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

fn cell(outcome: &Outcome, ours: bool) -> String {
    match outcome {
        Outcome::Absent if ours => "not there".into(),
        Outcome::Absent => "–".into(),
        Outcome::Crash => "crash".into(),
        Outcome::Wrong => "wrong".into(),
        Outcome::Times(times) => time(median(times.clone())),
    }
}

/// One case while others are still to come.
pub(crate) fn line(case: &Case, libraries: &[Library], outcomes: &[Outcome]) -> String {
    let cells = libraries.iter().zip(outcomes).enumerate();
    let cells: Vec<String> = cells.map(|(i, (l, o))| format!("{} {}", l.name, cell(o, i == 0))).collect();
    format!("{:<17} {}", case.name, cells.join(", "))
}

/// How ours stands beside the best of the others.
struct Standing {
    best: usize,
    /// Times as fast as the best, in the median round: what disturbs a round disturbs both.
    ratio: f64,
    ours: f64,
}

fn standing(outcomes: &[Outcome]) -> Option<Standing> {
    let times = |i: usize| match &outcomes[i] {
        Outcome::Times(times) => Some(times),
        _ => None,
    };
    let own = times(0)?;
    let others = (1..outcomes.len()).filter_map(|i| Some((i, median(times(i)?.clone()))));
    let (best, _) = others.min_by(|a, b| a.1.total_cmp(&b.1))?;
    let ratios = times(best)?.iter().zip(own).map(|(other, own)| other / own).collect();
    Some(Standing { best, ratio: median(ratios), ours: median(own.clone()) })
}

fn goal(goal: Goal) -> String {
    match goal {
        Goal::Times(1.0) => "best".into(),
        Goal::Times(times) => format!("≥ {times}×"),
        Goal::Within(seconds, 1.0) => format!("≤ {}, best", time(seconds)),
        Goal::Within(seconds, times) => format!("≤ {}, ≥ {times}×", time(seconds)),
        Goal::Share(share) => format!("{share} of the limit, best"),
    }
}

fn is_met(goal: Goal, standing: &Standing, limit: Option<f64>) -> bool {
    match goal {
        Goal::Times(times) => standing.ratio >= times,
        Goal::Within(seconds, times) => standing.ours <= seconds && standing.ratio >= times,
        Goal::Share(share) => standing.ratio >= 1.0 && limit.is_some_and(|limit| limit / standing.ours >= share),
    }
}

/// The table, with the machine's limits and the versions above it.
pub(crate) fn table(rows: &[(&Case, Vec<Outcome>)], libraries: &[Library], limits: &Limits, threads: usize) -> String {
    let mut out = String::new();
    let versions: Vec<&str> = libraries.iter().skip(1).map(|l| l.version.as_str()).collect();
    writeln!(out, "{}, {threads} threads; beside {}.", processor(), versions.join(", ")).ok();
    let rate = |rate: f64| digits(rate / 1e9);
    writeln!(
        out,
        "Limits: read {}, write {}, copy {}, add {} GB/s; {} GFLOP/s in f32, {} in f64.\n",
        rate(limits.read),
        rate(limits.write),
        rate(limits.copy),
        rate(limits.add),
        rate(limits.fma32),
        rate(limits.fma64),
    )
    .ok();
    let names: Vec<&str> = libraries.iter().map(|l| l.name.as_str()).collect();
    writeln!(out, "| case | limit | {} | beside the best | goal | |", names.join(" | ")).ok();
    writeln!(out, "|-|-|{}-|-|-|", "-|".repeat(names.len())).ok();
    let (mut met, mut judged) = (0, 0);
    for (case, outcomes) in rows {
        let limit = limits.seconds(case.work);
        let cells: Vec<String> = outcomes.iter().enumerate().map(|(i, outcome)| cell(outcome, i == 0)).collect();
        let standing = standing(outcomes);
        let (ratio, verdict) = standing.as_ref().map_or(("–".into(), ""), |s| {
            judged += 1;
            let good = is_met(case.goal, s, limit);
            met += usize::from(good);
            (format!("{}× {}", digits(s.ratio), names[s.best]), if good { "met" } else { "" })
        });
        let limit = limit.map_or("–".into(), time);
        let goal = goal(case.goal);
        writeln!(out, "| {} | {limit} | {} | {ratio} | {goal} | {verdict} |", case.title, cells.join(" | ")).ok();
    }
    writeln!(out, "\n{met} of {judged} goals are met.").ok();
    out
}

/// What the processor calls itself.
fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        assert_eq!([1.5e-8, 2.345e-6, 0.0123, 4.0].map(time), ["15.0 ns", "2.35 µs", "12.3 ms", "4.00 s"]);
    }

    #[test]
    fn ratios_are_those_of_one_round() {
        let times = |times: &[f64]| Outcome::Times(times.to_vec());
        // The second round was disturbed for both.
        let outcomes = [times(&[1.0, 5.0, 1.0]), times(&[4.0, 20.0, 4.0]), times(&[3.0, 15.0, 3.0]), Outcome::Crash];
        let standing = standing(&outcomes).expect("ours was timed");
        assert_eq!((standing.best, standing.ratio, standing.ours), (2, 3.0, 1.0));
        assert!(is_met(Goal::Times(3.0), &standing, None));
        assert!(!is_met(Goal::Within(0.5, 1.0), &standing, None));
        assert!(is_met(Goal::Share(0.9), &standing, Some(0.95)));
        assert!(!is_met(Goal::Share(0.9), &standing, Some(0.5)));
    }
}
