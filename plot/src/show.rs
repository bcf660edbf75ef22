//! Opens a picture with what the system has for it.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Error;

/// A program with what comes before the file's name.
type Opener = (&'static str, &'static [&'static str]);

#[cfg(target_os = "macos")]
const OPENERS: &[Opener] = &[("open", &[])];
#[cfg(windows)]
const OPENERS: &[Opener] = &[("cmd", &["/C", "start", ""])];
#[cfg(not(any(target_os = "macos", windows)))]
const OPENERS: &[Opener] = &[("xdg-open", &[]), ("wslview", &[]), ("sensible-browser", &[])];

/// How long an opener gets to fail. One that still runs then has become, or waits for, the browser.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Writes a page with the picture and opens it: the system's program for pages is a browser, the one for pictures is not.
pub(crate) fn in_browser(svg: &str) -> Result<PathBuf, Error> {
    let page = format!("<!doctype html>\n<meta charset=\"utf-8\">\n<title>figure</title>\n{svg}");
    let path = write_new(page.as_bytes())?;
    match open(OPENERS, &path) {
        Ok(()) => Ok(path),
        Err(reason) => Err(Error::NoViewer { path, reason }),
    }
}

/// Writes a file that nobody else has made before: the folder is open to other users.
fn write_new(content: &[u8]) -> Result<PathBuf, Error> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    loop {
        let name = format!("gradix-figure-{}-{}.html", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = env::temp_dir().join(name);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                return match file.write_all(content) {
                    Ok(()) => Ok(path),
                    Err(source) => Err(Error::Io { path, source }),
                };
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(Error::Io { path, source }),
        }
    }
}

/// Lets the first opener that works open the file, or says what became of each.
fn open(openers: &[Opener], path: &Path) -> Result<(), String> {
    let mut failures = Vec::new();
    for &(program, arguments) in openers {
        match start(program, arguments, path) {
            Ok(()) => return Ok(()),
            Err(reason) => failures.push(format!("{program}: {reason}")),
        }
    }
    Err(failures.join("; "))
}

fn start(program: &str, arguments: &[&str], path: &Path) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments).arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "not installed".to_owned(),
        _ => error.to_string(),
    })?;
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("failed with {status}")),
            Ok(None) => thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(error.to_string()),
        }
    }
    // Somebody has to take note of its end, or it stays in the system's list of processes until ours ends.
    thread::spawn(move || child.wait());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn each_page_is_a_new_file() {
        let (a, b) = (write_new(b"one").unwrap(), write_new(b"two").unwrap());
        assert_ne!(a, b);
        assert_eq!((fs::read(&a).unwrap(), fs::read(&b).unwrap()), (b"one".to_vec(), b"two".to_vec()));
        fs::remove_file(a).unwrap();
        fs::remove_file(b).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn the_first_opener_that_works_is_taken() {
        let path = Path::new("/dev/null");
        assert_eq!(open(&[("no-such-program-here", &[]), ("false", &[]), ("true", &[])], path), Ok(()));
        let reason = open(&[("no-such-program-here", &[]), ("false", &[])], path).unwrap_err();
        assert_eq!(reason, "no-such-program-here: not installed; false: failed with exit status: 1");
    }

    #[cfg(unix)]
    #[test]
    fn an_opener_that_stays_is_one_that_works() {
        assert_eq!(open(&[("sh", &["-c", "sleep 2"])], Path::new("ignored")), Ok(()));
    }
}
