//! Running a program and reading what it writes, line by line, stdout and stderr in the order in which they came.

use std::io::{self, BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// `None` if it ran out of time and was stopped.
    pub(crate) status: Option<ExitStatus>,
    /// Everything it wrote.
    pub(crate) output: String,
    pub(crate) time: Duration,
}

impl Outcome {
    pub(crate) fn success(&self) -> bool {
        self.status.is_some_and(|s| s.success())
    }

    /// How it ended, in words.
    pub(crate) fn ending(&self) -> String {
        match self.status {
            None => format!("stopped: it ran for more than {} s", self.time.as_secs()),
            Some(status) => status.to_string(),
        }
    }
}

/// Runs `command` with nothing on its stdin, hands every line to `on_line` as it comes, and stops it after `limit`.
///
/// Fails only if the program cannot be started.
pub(crate) fn run(command: &mut Command, limit: Duration, on_line: &mut dyn FnMut(&str)) -> io::Result<Outcome> {
    let start = Instant::now();
    // One pipe for both streams keeps their lines in order.
    let (reader, writer) = io::pipe()?;
    let child = command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).spawn();
    // The command keeps its ends of the pipe; as long as they are open, the reader sees no end of file.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = child?;

    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            let text = String::from_utf8_lossy(&line).into_owned();
            if sender.send(text).is_err() {
                break;
            }
            line.clear();
        }
    });

    let mut output = String::new();
    let mut timed_out = false;
    loop {
        match lines.recv_timeout(limit.saturating_sub(start.elapsed())) {
            Ok(line) => {
                on_line(line.trim_end_matches(['\n', '\r']));
                output.push_str(&line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                // It may have ended by itself just now; then there is nothing left to kill.
                drop(child.kill());
                timed_out = true;
                break;
            }
        }
    }
    let status = child.wait()?;
    Ok(Outcome { status: (!timed_out).then_some(status), output, time: start.elapsed() })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> (Outcome, Vec<String>) {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        let outcome = run(command.args(["-c", script]), limit, &mut |l| {
            lines.push(l.to_owned());
        })
        .unwrap();
        (outcome, lines)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn both_streams_come_in_order() {
        let (outcome, lines) = sh("echo one; echo two >&2; printf three; exit 3", LONG);
        assert_eq!(lines, ["one", "two", "three"]);
        assert_eq!(outcome.output, "one\ntwo\nthree");
        assert!(!outcome.success());
        assert_eq!(outcome.status.unwrap().code(), Some(3));
    }

    #[test]
    fn stdin_is_empty() {
        let (outcome, lines) = sh("cat; echo end", LONG);
        assert_eq!(lines, ["end"]);
        assert!(outcome.success());
    }

    #[test]
    fn a_hanging_program_is_stopped() {
        let (outcome, lines) = sh("echo begun; exec sleep 600", Duration::from_millis(300));
        assert_eq!(lines, ["begun"]);
        assert!(outcome.status.is_none());
        assert!(!outcome.success());
        assert!(outcome.ending().starts_with("stopped"));
    }

    #[test]
    fn a_missing_program_is_an_error() {
        assert!(run(&mut Command::new("/nonexistent/program"), LONG, &mut |_| {}).is_err());
    }
}
