//! The project's own commands: `cargo xtask help` lists them.

mod backends;
mod bench;
mod conformance;
mod fake_cuda;
mod features;
mod gpu_bundle;
mod nvrtc;
mod process;
mod setup;
mod table;
mod test_all;
mod tidy;
mod workspace;

use std::process::ExitCode;

/// One of the commands.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    /// Its own arguments.
    args: &'static str,
    about: &'static str,
    /// Runs it; `Ok(false)` if it found something wrong and said so, `Err` if it could not do its work.
    run: fn(&[String]) -> Result<bool, String>,
}

/// Every command.
pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "test-all",
        args: "[--quick] [-p PACKAGE]... [--require NAMES]",
        about: "Run tidy, then all tests and examples, under every setting; one table at the end.\n\
                --quick runs them once, with the default settings.\n\
                --require opencl,oclgrind,fake-cuda,nvrtc fails where these are missing, instead of saying so.",
        run: test_all::main,
    },
    Command {
        name: "tidy",
        args: "",
        about: "Check the repository's rules: layers, unsafe code, stubs, documentation.",
        run: tidy::main,
    },
    Command {
        name: "features",
        args: "",
        about: "Lint every package with each of its features alone, with none, and with all.",
        run: features::main,
    },
    Command {
        name: "conformance",
        args: "[--backend NAME] [FILTER]",
        about: "Run the conformance kit on a backend (cpu, opencl, cuda, reference, minimal; opencl:1 is\n\
                its second device) and print what is native, what falls back, and what is wrong.",
        run: conformance::main,
    },
    Command {
        name: "fake-cuda",
        args: "",
        about: "Build the stand-ins for the CUDA driver, NVRTC and cuBLASLt with g++, check them, and\n\
                say how to run programs over them.",
        run: fake_cuda::main,
    },
    Command {
        name: "cuda-kernels",
        args: "",
        about: "Run the conformance kit over the fake CUDA driver and compile every kernel that it causes with\n\
                NVIDIA's compiler for the oldest, the newest and two more devices.",
        run: test_all::cuda::kernels,
    },
    Command {
        name: "gpu-bundle",
        args: "[DIR]",
        about: "Put CUDA's tests and benchmark into a folder (target/gpu-bundle) to carry to a machine with\n\
                an NVIDIA GPU but without cargo; run.sh in it runs everything and writes a report.",
        run: gpu_bundle::main,
    },
    Command {
        name: "setup",
        args: "[--dry-run] [--if-needed]",
        about: "Install what the tests of the GPU backends need: packages (Debian, Ubuntu), and NVIDIA's\n\
                compiler from PyPI into target/nvrtc; or say how.\n\
                --if-needed does it only if that backend is implemented.",
        run: setup::main,
    },
    Command {
        name: "bench",
        args: "[--peers] [ARGUMENTS]...",
        about: "Run the benchmarks; arguments go to the benchmark programs. With --peers, compare with candle,\n\
                burn and ndarray in one run (the first build takes long) and print one table:\n\
                --only FILTER,… picks cases, --rounds N says how often each has its turn, and\n\
                --python PATH names a Python with PyTorch or JAX to compare with too.",
        run: bench::main,
    },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = args.split_first() else {
        print!("{}", usage());
        return ExitCode::SUCCESS;
    };
    if ["help", "-h", "--help"].contains(&name.as_str()) || rest.iter().any(|a| a == "--help") {
        print!("{}", usage());
        return ExitCode::SUCCESS;
    }
    let Some(command) = COMMANDS.iter().find(|c| c.name == name) else {
        eprint!("xtask has no command `{name}`\n\n{}", usage());
        return ExitCode::from(2);
    };
    match (command.run)(rest) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("cargo xtask {name}: {message}");
            ExitCode::from(2)
        }
    }
}

fn usage() -> String {
    let mut out = "The project's own commands:\n".to_owned();
    for command in COMMANDS {
        out.push_str(format!("\n  cargo xtask {} {}", command.name, command.args).trim_end());
        for line in command.about.lines() {
            out.push_str(&format!("\n      {}", line.trim()));
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_names_every_command() {
        let usage = usage();
        for command in COMMANDS {
            assert!(usage.contains(&format!("cargo xtask {}", command.name)));
        }
        assert!(usage.lines().all(|line| !line.ends_with(' ') && line.len() <= 100));
    }
}
