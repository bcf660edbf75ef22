//! `cargo xtask conformance`: the conformance kit's report on a backend.

use crate::workspace::{Workspace, cargo};
use std::process::Command;

/// Builds the program that runs the kit on a backend and lets it print its report; `true` if nothing is wrong.
pub(crate) fn main(args: &[String]) -> Result<bool, String> {
    let request = Request::read(args)?;
    let ws = Workspace::load()?;
    let mut command = cargo();
    request.fill(&mut command);
    let status = command.current_dir(&ws.root).status().map_err(|e| format!("cannot start cargo: {e}"))?;
    Ok(status.success())
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    /// A device's name without its number, or `minimal` for the worked example.
    backend: String,
    /// The number of the device.
    index: String,
    filter: Option<String>,
}

impl Request {
    fn read(args: &[String]) -> Result<Self, String> {
        let (mut backend, mut filter) = ("cpu".to_owned(), None);
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            match arg.as_str() {
                "--backend" => backend = rest.next().ok_or("--backend needs a name, such as cpu")?.clone(),
                option if option.starts_with('-') => return Err(format!("conformance has no option `{option}`")),
                name if filter.is_none() => filter = Some(name.to_owned()),
                more => return Err(format!("conformance takes one filter, and got `{more}` as well")),
            }
        }
        let (backend, index) = backend.split_once(':').unwrap_or((&backend, "0"));
        if !["cpu", "opencl", "cuda", "reference", "minimal"].contains(&backend) {
            return Err(format!("no backend `{backend}`: there are cpu, opencl, cuda, reference and minimal"));
        }
        Ok(Self { backend: backend.to_owned(), index: index.to_owned(), filter })
    }

    fn fill(&self, command: &mut Command) {
        command.args(["run", "--quiet", "--release"]);
        match self.backend.as_str() {
            "minimal" => {
                command.args(["-p", "gradix-tensor-core", "--features", "conformance"]);
                command.args(["--example", "minimal_backend", "--"]);
            }
            // The reference needs no feature of its own.
            "reference" => {
                command.args(["-p", "gradix", "--no-default-features", "--features", "conformance"]);
                command.args(["--example", "conformance", "--", "reference"]);
            }
            name => {
                let features = format!("conformance,{name}");
                command.args(["-p", "gradix", "--no-default-features", "--features", &features]);
                let device = format!("{name}:{}", self.index);
                command.args(["--example", "conformance", "--", &device]);
            }
        }
        command.args(&self.filter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(args: &[&str]) -> Result<String, String> {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let mut command = Command::new("cargo");
        Request::read(&args)?.fill(&mut command);
        Ok(command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_backend_is_its_feature_and_its_device() {
        let opencl = line(&["--backend", "opencl:1", "reduce/"]).unwrap();
        assert!(opencl.contains("--features conformance,opencl --example conformance -- opencl:1 reduce/"), "{opencl}");
        assert!(line(&[]).unwrap().ends_with("--features conformance,cpu --example conformance -- cpu:0"));
        assert!(line(&["--backend", "minimal"]).unwrap().ends_with("--example minimal_backend --"));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert!(line(&["--backend", "abacus"]).unwrap_err().contains("no backend `abacus`"));
        assert!(line(&["--backend"]).unwrap_err().contains("needs a name"));
        assert!(line(&["--fast"]).unwrap_err().contains("--fast"));
        assert!(line(&["a", "b"]).unwrap_err().contains("`b`"));
    }
}
