//! `cargo xtask setup`: what the tests of the GPU backends need beyond Rust and a linker.

use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::backends::BACKENDS;
use crate::nvrtc;
use crate::workspace::Workspace;

/// Debian's packages, and what each is for.
const PACKAGES: &[(&str, &str)] = &[
    ("ocl-icd-libopencl1", "the OpenCL loader, libOpenCL.so.1"),
    ("pocl-opencl-icd", "PoCL, an OpenCL runtime for CPUs"),
    ("oclgrind", "an OpenCL runtime that finds races and accesses out of bounds"),
    ("g++", "the compiler behind the fake CUDA driver"),
];

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    dry_run: bool,
    if_needed: bool,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        for arg in args {
            match arg.as_str() {
                "--dry-run" => options.dry_run = true,
                "--if-needed" => options.if_needed = true,
                other => {
                    return Err(format!("setup does not know `{other}`; it takes --dry-run and --if-needed"));
                }
            }
        }
        Ok(options)
    }
}

/// Installs what is missing, or says how to; `true` if nothing is missing in the end.
pub(crate) fn main(args: &[String]) -> Result<bool, String> {
    let options = Options::parse(args)?;
    let opencl = BACKENDS.iter().find(|b| b.name == "OpenCL").ok_or("there is no OpenCL backend")?;
    if options.if_needed && !opencl.implemented {
        println!(
            "Nothing is needed: the OpenCL backend is not implemented yet, and all else needs only Rust and a linker."
        );
        return Ok(true);
    }
    let packages = install_packages(&options)?;
    // Both are tried, whatever becomes of the other.
    Ok(set_up_nvrtc(&options)? && packages)
}

/// NVIDIA's compiler, into `target/`; `true` if it is there or cannot be had for this kind of machine.
fn set_up_nvrtc(options: &Options) -> Result<bool, String> {
    let ws = Workspace::load()?;
    if !nvrtc::is_possible() {
        println!("NVRTC: not for this machine; the kernels' check by NVIDIA's compiler is left out.");
        return Ok(true);
    }
    if options.dry_run {
        let there = nvrtc::folder(&ws).is_some();
        println!("NVRTC: {}", if there { "installed" } else { "would be downloaded into target/nvrtc" });
        return Ok(there);
    }
    if let Err(why) = nvrtc::set_up(&ws) {
        println!("NVRTC: {why}");
        return Ok(false);
    }
    Ok(true)
}

/// Debian's packages; `true` if none is missing in the end.
fn install_packages(options: &Options) -> Result<bool, String> {
    if !is_debian(&std::fs::read_to_string("/etc/os-release").unwrap_or_default()) || !runs("apt-get", &["--version"]) {
        print!("{}", instructions());
        return Ok(false);
    }
    let missing: Vec<&str> = PACKAGES.iter().map(|(name, _)| *name).filter(|name| !is_installed(name)).collect();
    for (name, purpose) in PACKAGES {
        let state = if missing.contains(name) { "missing" } else { "installed" };
        println!("{name}: {state} ({purpose})");
    }
    if missing.is_empty() {
        println!("Nothing to do.");
        return Ok(true);
    }
    let Some(prefix) = privilege() else {
        println!("To install what is missing takes root. Run:\n  sudo apt-get install {}", missing.join(" "));
        return Ok(false);
    };
    let mut install = vec!["apt-get", "install", "--yes", "--no-install-recommends"];
    install.extend(&missing);
    if options.dry_run {
        println!("Would run: {} {}", prefix.join(" "), install.join(" "));
        return Ok(false);
    }
    // A fresh container knows no packages before the first update; elsewhere it is not needed.
    let done = as_root(prefix, &install) || (as_root(prefix, &["apt-get", "update"]) && as_root(prefix, &install));
    if done {
        println!("Installed {}.", missing.join(", "));
    } else {
        println!("apt-get could not install {}.", missing.join(", "));
    }
    Ok(done)
}

/// Whether `/etc/os-release` speaks of Debian or one of its descendants.
fn is_debian(os_release: &str) -> bool {
    os_release
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(key, _)| ["ID", "ID_LIKE"].contains(key))
        .any(|(_, value)| value.trim_matches('"').split_whitespace().any(|id| ["debian", "ubuntu"].contains(&id)))
}

fn is_installed(package: &str) -> bool {
    Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|output| output.status.success() && output.stdout == b"installed")
}

/// What to put before a command so that it runs as root; `None` if there is no way.
fn privilege() -> Option<&'static [&'static str]> {
    let user = Command::new("id").arg("-u").output().ok()?;
    if String::from_utf8_lossy(&user.stdout).trim() == "0" {
        return Some(&["env", "DEBIAN_FRONTEND=noninteractive"]);
    }
    // Without a person to type a password, sudo must not ask for one.
    if runs("sudo", &["-n", "true"]) || (std::io::stdin().is_terminal() && runs("sudo", &["--version"])) {
        return Some(&["sudo", "env", "DEBIAN_FRONTEND=noninteractive"]);
    }
    None
}

fn as_root(prefix: &[&str], command: &[&str]) -> bool {
    println!("Running: {} {}", prefix.join(" "), command.join(" "));
    Command::new(prefix[0]).args(&prefix[1..]).args(command).status().is_ok_and(|status| status.success())
}

/// Whether a program is there and says yes.
fn runs(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn instructions() -> String {
    let how = if cfg!(target_os = "macos") {
        "macOS brings OpenCL along; there is nothing to install."
    } else if cfg!(windows) {
        "The driver of your GPU brings OpenCL along; for a CPU, install Intel's OpenCL runtime."
    } else if Path::new("/etc/fedora-release").exists() {
        "sudo dnf install ocl-icd pocl"
    } else if Path::new("/etc/arch-release").exists() {
        "sudo pacman -S ocl-icd pocl"
    } else {
        "Install an OpenCL loader (often called ocl-icd) and a runtime (PoCL for CPUs) with your system's packages."
    };
    format!(
        "This command installs packages on Debian and Ubuntu only. The OpenCL backend's tests need a loader and a runtime:\n  \
         {how}\nEverything else needs only Rust and a linker.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_and_its_descendants_are_known() {
        assert!(is_debian("NAME=\"Debian\"\nID=debian\n"));
        assert!(is_debian("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!is_debian("ID=fedora\nHOME_URL=\"https://debian.org\"\n"));
        assert!(!is_debian(""));
    }

    #[test]
    fn options_are_read() {
        let parse = |args: &[&str]| Options::parse(&args.iter().map(|&a| a.to_owned()).collect::<Vec<_>>());
        assert_eq!(parse(&[]).unwrap(), Options::default());
        assert_eq!(parse(&["--dry-run", "--if-needed"]).unwrap(), Options { dry_run: true, if_needed: true });
        assert!(parse(&["--force"]).unwrap_err().contains("`--force`"));
    }

    #[test]
    fn a_package_that_cannot_exist_is_not_installed() {
        assert!(!is_installed("gradix-no-such-package"));
    }
}
