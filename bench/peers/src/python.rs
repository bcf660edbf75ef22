//! PyTorch and JAX in a Python process: `peers.py` answers one line for each that it reads.

use crate::job::{Job, Library};
use crate::memory;
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

struct Process {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Process {
    /// Sends a command and waits for the answer.
    fn ask(&mut self, command: &str) -> Result<String, String> {
        let to = self.to.as_mut().expect("open until dropped");
        writeln!(to, "{command}").and_then(|()| to.flush()).map_err(|e| format!("Python is gone: {e}"))?;
        let mut answer = String::new();
        match self.from.read_line(&mut answer) {
            Ok(0) => Err(format!("Python ended at `{command}`")),
            Ok(_) => Ok(answer.trim().to_owned()),
            Err(e) => Err(format!("Python is gone: {e}")),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It ends with its input. Should it not have started well, there is nothing to wait for but its end.
        self.to = None;
        self.child.wait().ok();
    }
}

/// The libraries that this Python has.
pub(crate) fn libraries(python: &str) -> Result<Vec<Library>, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers.py");
    let mut command = Command::new(python);
    command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("cannot start {python}: {e}"))?;
    let (to, from) = (child.stdin.take(), child.stdout.take().expect("piped"));
    let mut process = Process { child, to, from: BufReader::new(from) };
    let answer = process.ask("libraries")?;
    let process = Rc::new(RefCell::new(process));
    let found = answer.split(';').filter_map(|library| library.split_once('='));
    let found: Vec<Library> = found
        .map(|(name, version)| {
            let (process, library) = (Rc::clone(&process), name.to_owned());
            let prepare = move |case: &str| remote(&process, &library, case);
            Library { name: name.to_owned(), version: version.to_owned(), prepare: Box::new(prepare) }
        })
        .collect();
    if found.is_empty() { Err(format!("{python} has neither torch nor jax")) } else { Ok(found) }
}

/// A case in that process, which has one at a time for each library.
struct Remote {
    process: Rc<RefCell<Process>>,
    library: String,
}

fn remote(process: &Rc<RefCell<Process>>, library: &str, case: &str) -> Option<Box<dyn Job>> {
    let answer = process.borrow_mut().ask(&format!("prepare {library} {case}")).unwrap_or_else(|why| panic!("{why}"));
    let remote = Remote { process: Rc::clone(process), library: library.to_owned() };
    (answer == "ok").then(|| Box::new(remote) as Box<dyn Job>)
}

impl Remote {
    fn ask(&self, command: &str) -> String {
        let command = format!("{command} {}", self.library);
        self.process.borrow_mut().ask(&command).unwrap_or_else(|why| panic!("{why}"))
    }
}

impl Job for Remote {
    fn time(&mut self, count: usize) -> f64 {
        let process = &mut self.process.borrow_mut();
        let answer = process.ask(&format!("time {} {count}", self.library)).unwrap_or_else(|why| panic!("{why}"));
        answer.parse().expect("seconds")
    }

    fn digest(&mut self) -> Vec<f64> {
        self.ask("digest").split_whitespace().map(|x| x.parse().expect("a number")).collect()
    }

    fn peak(&mut self) -> Option<f64> {
        let answer = self.process.borrow_mut().ask(&format!("peak {} {}", self.library, memory::RUNS));
        answer.unwrap_or_else(|why| panic!("{why}")).parse().ok()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // The process may be gone already, and said why.
        self.process.borrow_mut().ask(&format!("drop {}", self.library)).ok();
    }
}
