//! Under which settings the tests run, and which of them.

use super::{Kind, build::Program};
use crate::backends::has_avx2;
use crate::workspace::Workspace;

/// The variables that change how tensors are computed; a run sets its own and clears the others.
pub(crate) const VARIABLES: [&str; 3] = ["GRADIX_EAGER", "GRADIX_DENY_FALLBACK", "GRADIX_CPU_ISA"];

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
pub(crate) fn is_once(program: &Program) -> bool {
    program.kind == Kind::Example || ONCE.contains(&program.target.as_str())
}

/// Whether a program calls a backend's methods directly, so that there is nothing to fuse or not to fuse.
pub(crate) fn is_below_fusion(program: &Program) -> bool {
    program.target == "conformance"
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
    pub(crate) fn covers(&self, ws: &Workspace, package: &str) -> bool {
        self.skipped.is_none()
            && match self.scope {
                Scope::Everything => true,
                Scope::Above(base) => ws.reaches(package, base),
                Scope::AboveAny(bases) => bases.iter().any(|base| ws.reaches(package, base)),
                Scope::Only(name) => package == name,
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
    fn every_variable_is_known() {
        for run in runs() {
            assert!(run.variable.is_none_or(|(name, _)| VARIABLES.contains(&name)));
            assert_eq!(run.is_default(), run.name == "default");
        }
    }
}
