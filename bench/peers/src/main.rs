//! gradix beside other tensor libraries: every case in one run, in turn, on the same inputs, with results compared.
//!
//! `cargo xtask bench --peers` builds and starts this program. Its features `burn`, `candle` and `with-ndarray` say which
//! libraries are built in; PyTorch and JAX run in a Python process.

mod cases;
mod data;
mod job;
mod limits;
mod memory;
mod ours;
mod python;
mod table;
#[cfg(feature = "burn")]
mod with_burn;
#[cfg(feature = "candle")]
mod with_candle;
#[cfg(feature = "with-ndarray")]
mod with_ndarray;

use cases::{CASES, Case};
use job::{Job, Library};
use limits::{Arrays, Limits};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// How long one library's turn lasts, about.
const TURN: f64 = 0.02;
/// Time for the threads of the library before to fall asleep.
const PAUSE: Duration = Duration::from_millis(5);
/// Cases that end a library's process, or may: tried in a process of their own first.
const RISKY: &[(&str, &str)] = &[("candle", "chain")];

struct Arguments {
    only: Vec<String>,
    python: Option<String>,
    rounds: usize,
    /// A library and a case to try, and nothing else.
    try_out: Option<(String, String)>,
    /// Memory is measured instead of time.
    memory: bool,
    /// A library and a case whose memory to measure, and nothing else.
    memory_of: Option<(String, String)>,
}

fn arguments() -> Result<Arguments, String> {
    let mut found =
        Arguments { only: Vec::new(), python: None, rounds: 9, try_out: None, memory: false, memory_of: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--only" => found.only.extend(value()?.split(',').map(str::to_owned)),
            "--python" => found.python = Some(value()?),
            "--rounds" => {
                let rounds = value()?;
                let number = rounds.parse().ok().filter(|&n| n > 0);
                found.rounds = number.ok_or_else(|| format!("--rounds needs a number above 0, and got `{rounds}`"))?;
            }
            "--try" => found.try_out = Some((value()?, value()?)),
            "--memory" => found.memory = true,
            "--memory-of" => found.memory_of = Some((value()?, value()?)),
            _ => {
                let there_are = "--only FILTER, --python PATH, --rounds N, --memory";
                return Err(format!("unknown argument `{word}`: there are {there_are}"));
            }
        }
    }
    Ok(found)
}

/// Every library: ours first.
fn libraries(python: Option<&str>) -> Result<Vec<Library>, String> {
    let mut libraries = vec![ours::library()];
    if let Some(python) = python {
        libraries.extend(python::libraries(python)?);
    }
    #[cfg(feature = "candle")]
    libraries.push(with_candle::library());
    #[cfg(feature = "burn")]
    libraries.push(with_burn::library());
    #[cfg(feature = "with-ndarray")]
    libraries.push(with_ndarray::library());
    Ok(libraries)
}

/// What came out for one library.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It does not do this case.
    Absent,
    /// Its process died of it.
    Crash,
    /// It computed something else than the others.
    Wrong,
    /// Seconds, one for each round.
    Times(Vec<f64>),
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("peers: {why}");
            ExitCode::from(2)
        }
    }
}

/// `true` if all results agree.
fn run() -> Result<bool, String> {
    let arguments = arguments()?;
    let libraries = libraries(arguments.python.as_deref())?;
    let named = |name: &str| libraries.iter().find(|library| library.name == name).ok_or("no such library");
    if let Some((library, case)) = &arguments.memory_of {
        memory::print(named(library)?, case)?;
        return Ok(true);
    }
    if arguments.memory {
        memory::table(&libraries, &arguments.only, arguments.python.as_deref())?;
        return Ok(true);
    }
    if let Some((library, case)) = &arguments.try_out {
        let library = named(library)?;
        (library.prepare)(case).ok_or("no such case")?.digest();
        return Ok(true);
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut arrays, mut limits) = (Arrays::new(threads), Limits::default());
    let wanted = |case: &&Case| arguments.only.is_empty() || arguments.only.iter().any(|part| case.name.contains(part));
    let mut rows = Vec::new();
    for case in CASES.iter().filter(wanted) {
        limits.improve(&mut arrays);
        let outcomes = measure(case, &libraries, arguments.rounds);
        eprintln!("{}", table::line(case, &libraries, &outcomes));
        rows.push((case, outcomes));
    }
    if rows.is_empty() {
        return Err("no case has that in its name".into());
    }
    limits.improve(&mut arrays);
    print!("{}", table::table(&rows, &libraries, &limits, threads));
    Ok(!rows.iter().any(|(_, outcomes)| outcomes.iter().any(|outcome| matches!(outcome, Outcome::Wrong))))
}

fn measure(case: &Case, libraries: &[Library], rounds: usize) -> Vec<Outcome> {
    let mut outcomes = vec![Outcome::Absent; libraries.len()];
    let mut jobs: Vec<(usize, Box<dyn Job>)> = Vec::new();
    for (number, library) in libraries.iter().enumerate() {
        if RISKY.contains(&(&library.name, case.name)) && !survives(&library.name, case.name) {
            outcomes[number] = Outcome::Crash;
        } else if let Some(job) = (library.prepare)(case.name) {
            jobs.push((number, job));
        }
    }
    let digests: Vec<Vec<f64>> = jobs.iter_mut().map(|(_, job)| job.digest()).collect();
    let common = middle(&digests);
    for ((number, _), digest) in jobs.iter().zip(&digests) {
        if !agrees(digest, &common, case.tolerance) {
            outcomes[*number] = Outcome::Wrong;
            eprintln!("{}: {} has {:?}…", case.name, libraries[*number].name, &digest[..digest.len().min(4)]);
            eprintln!("{}: in the middle of all is {:?}…", case.name, &common[..common.len().min(4)]);
        }
    }
    let mut timed: Vec<(usize, Box<dyn Job>, usize, Vec<f64>)> = Vec::new();
    for (number, mut job) in jobs.into_iter().filter(|(number, _)| !matches!(outcomes[*number], Outcome::Wrong)) {
        std::thread::sleep(PAUSE);
        let once = job.time(1);
        let few = ((TURN / 10.0 / once) as usize).max(1);
        let count = (TURN / job.time(few)) as usize;
        timed.push((number, job, count.max(1), Vec::new()));
    }
    for round in 0..rounds {
        for turn in 0..timed.len() {
            let count = timed.len();
            let (_, job, repeats, times) = &mut timed[(turn + round) % count];
            std::thread::sleep(PAUSE);
            // Whoever was before has left the caches full of other things.
            if *repeats > 1 {
                job.time((*repeats / 10).max(1));
            }
            times.push(job.time(*repeats));
        }
    }
    for (number, _, _, times) in timed {
        outcomes[number] = Outcome::Times(times);
    }
    outcomes
}

/// Whether a process that tries this lives.
fn survives(library: &str, case: &str) -> bool {
    let tried = std::env::current_exe().and_then(|program| {
        let output = [Stdio::null(), Stdio::null()];
        let [out, err] = output;
        Command::new(program).args(["--try", library, case]).stdout(out).stderr(err).status()
    });
    tried.is_ok_and(|status| status.success())
}

/// The median of each number over all libraries: one that is wrong does not move it far if there are three.
fn middle(digests: &[Vec<f64>]) -> Vec<f64> {
    let length = digests.iter().map(Vec::len).min().unwrap_or(0);
    (0..length).map(|i| median(digests.iter().map(|digest| digest[i]).collect())).collect()
}

fn agrees(digest: &[f64], common: &[f64], tolerance: f64) -> bool {
    let largest = common.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    digest.len() == common.len() && digest.iter().zip(common).all(|(a, b)| (a - b).abs() <= tolerance * largest)
}

/// The middle one; of an even number the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[half],
        _ => (values[half - 1] + values[half]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_three_that_is_wrong_is_found() {
        let digests = [vec![1.0, 2.0], vec![1.0, 2.0 + 1e-7], vec![1.0, 3.0]];
        let common = middle(&digests);
        let verdicts: Vec<bool> = digests.iter().map(|d| agrees(d, &common, 1e-6)).collect();
        assert_eq!(verdicts, [true, true, false]);
        assert!(!agrees(&[f64::NAN, 2.0], &common, 1e-6));
        assert!(!agrees(&[1.0], &common, 1e-6));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
