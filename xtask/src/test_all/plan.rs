//! Under which settings the tests run, and which of them.

use super::{Kind, build::Program};
use crate::backends::has_avx2;
use crate::workspace::Workspace;

/// The variables that change how tensors are computed; a run sets its own and clears the others.
pub(crate) const VARIABLES: [&str; 4] =
    ["GRADIX_EAGER", "GRADIX_DENY_FALLBACK", "GRADIX_CPU_ISA", "GRADIX_CONFORMANCE_PART"];

/// One way to run the tests.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) name: &'static str,
    pub(crate) variable: Option<(&'static str, &'static str)>,
    scope: Scope,
    /// Why this machine cannot do it.
    pub(crate) skipped: Option<&'static str>,
}

/// Test programs that no setting changes: they call a backend's methods, and leave nothing to be fused or to fall back.
const ONCE: [&str; 2] = ["conformance_gpu", "oclgrind"];

/// Whether a program runs in the plain run only.
fn is_once(program: &Program) -> bool {
    program.kind == Kind::Example || ONCE.contains(&program.target.as_str())
}

/// Whether a program is the conformance kit. It calls a backend's methods directly, or compares by itself what is fused with
/// what is not; and where it passes with fallbacks forbidden, it passes with them.
fn is_kit(program: &Program) -> bool {
    program.target == "conformance"
}

/// In how many processes a program runs: OpenCL's runtimes compile one kernel at a time, and the kit has thousands.
pub(crate) fn processes(program: &Program) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let has_parts = program.package == "gradix-backend-opencl" && program.target.starts_with("conformance")
        || program.target == "gradients_opencl";
    if has_parts { cores.min(8) } else { 1 }
}

/// Which packages a run concerns.
#[derive(Clone, Copy, Debug)]
enum Scope {
    Everything,
    /// Those that have this package below them, or are it.
    Above(&'static str),
    /// Those that have one of these below them, or are one.
    AboveAny(&'static [&'static str]),
    Only(&'static str),
}

/// Every run, the plain one first.
pub(crate) fn runs() -> Vec<Run> {
    let avx2_missing = (!has_avx2()).then_some("this CPU has no AVX2 with FMA and F16C");
    let run = |name, variable, scope| Run { name, variable, scope, skipped: None };
    vec![
        run("default", None, Scope::Everything),
        run("eager", Some(("GRADIX_EAGER", "1")), Scope::Above("gradix-tensor-core")),
        run(
            "no fallback",
            Some(("GRADIX_DENY_FALLBACK", "1")),
            Scope::AboveAny(&["gradix-backend-cpu", "gradix-backend-opencl"]),
        ),
        run("isa baseline", Some(("GRADIX_CPU_ISA", "baseline")), Scope::Only("gradix-backend-cpu")),
        Run {
            skipped: avx2_missing,
            ..run("isa avx2", Some(("GRADIX_CPU_ISA", "avx2")), Scope::Only("gradix-backend-cpu"))
        },
    ]
}

impl Run {
    fn covers(&self, ws: &Workspace, package: &str) -> bool {
        self.skipped.is_none()
            && match self.scope {
                Scope::Everything => true,
                Scope::Above(base) => ws.reaches(package, base),
                Scope::AboveAny(bases) => bases.iter().any(|base| ws.reaches(package, base)),
                Scope::Only(name) => package == name,
            }
    }

    /// Whether it runs a program.
    pub(crate) fn takes(&self, ws: &Workspace, program: &Program, quick: bool) -> bool {
        let denied = |package: &str| runs().iter().any(|run| run.name == "no fallback" && run.covers(ws, package));
        self.covers(ws, &program.package)
            && match self.name {
                "default" => quick || !is_kit(program) || !denied(&program.package),
                // On OpenCL the kit takes minutes; its arrays are compared fused and not by its own cases.
                "eager" => !is_once(program) && (!is_kit(program) || program.package == "gradix-backend-cpu"),
                _ => !is_once(program),
            }
    }

    /// Whether examples and documentation run under it too: once is enough.
    pub(crate) fn is_default(&self) -> bool {
        self.variable.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{Dependency, Package};

    fn workspace() -> Workspace {
        let package = |name: &str, deps: &[(&str, bool)]| Package {
            name: name.to_owned(),
            dependencies: deps.iter().map(|&(name, dev)| Dependency { name: name.to_owned(), dev }).collect(),
            ..Package::default()
        };
        Workspace {
            root: "/w".into(),
            packages: vec![
                package("gradix-tensor-core", &[]),
                package("gradix-backend-cpu", &[("gradix-tensor-core", false)]),
                package("gradix-autograd", &[("gradix-tensor-core", false), ("gradix-backend-cpu", true)]),
                package("gradix-backend-opencl", &[("gradix-tensor-core", false)]),
                package("gradix-plot", &[]),
            ],
        }
    }

    fn covered(name: &str) -> Vec<String> {
        let ws = workspace();
        let run = runs().into_iter().find(|r| r.name == name).unwrap();
        ws.packages.iter().filter(|p| run.covers(&ws, &p.name)).map(|p| p.name.clone()).collect()
    }

    #[test]
    fn each_run_covers_what_its_variable_can_change() {
        assert_eq!(covered("default").len(), 5);
        let all = ["gradix-tensor-core", "gradix-backend-cpu", "gradix-autograd", "gradix-backend-opencl"];
        assert_eq!(covered("eager"), all);
        assert_eq!(covered("no fallback"), all[1..]);
        assert_eq!(covered("isa baseline"), ["gradix-backend-cpu"]);
    }

    #[test]
    fn the_kit_runs_once_for_each_setting_that_can_change_it() {
        let ws = workspace();
        let takers = |package: &str, target: &str, quick: bool| -> Vec<&str> {
            let program = Program {
                package: package.to_owned(),
                kind: Kind::Integration,
                target: target.to_owned(),
                path: "/p".into(),
            };
            runs().iter().filter(|run| run.takes(&ws, &program, quick)).map(|run| run.name).collect()
        };
        assert_eq!(takers("gradix-backend-opencl", "conformance", false), ["no fallback"]);
        assert_eq!(takers("gradix-backend-opencl", "conformance", true)[0], "default");
        assert_eq!(takers("gradix-backend-opencl", "oclgrind", false), ["default"]);
        assert!(takers("gradix-backend-cpu", "conformance", false).starts_with(&["eager", "no fallback"]));
        assert_eq!(takers("gradix-tensor-core", "conformance", false), ["default"]);
        assert_eq!(takers("gradix-autograd", "gradients", false), ["default", "eager", "no fallback"]);
    }

    #[test]
    fn every_variable_is_known() {
        for run in runs() {
            assert!(run.variable.is_none_or(|(name, _)| VARIABLES.contains(&name)));
            assert_eq!(run.is_default(), run.name == "default");
        }
    }
}
