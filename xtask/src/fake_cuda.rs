//! `cargo xtask fake-cuda`: builds the stand-ins for the CUDA driver, NVRTC and cuBLASLt, see `backend-cuda/fake/README.md`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::workspace::Workspace;

/// The sources of the driver; those of the other libraries have a file each.
const DRIVER: [&str; 6] = ["setting", "device", "memory", "stream", "module", "fibre"];

const FLAGS: [&str; 6] = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-fPIC", "-fvisibility=hidden"];

/// Why it cannot be built here, and how to change that.
const NO_COMPILER: &str =
    "the fake CUDA driver needs g++: `cargo xtask setup` or `apt-get install g++` on Debian and Ubuntu";

/// The built fake.
#[derive(Clone, Debug)]
pub(crate) struct FakeCuda {
    dir: PathBuf,
}

impl FakeCuda {
    /// The folder with all libraries.
    pub(crate) fn lib(&self) -> PathBuf {
        self.dir.join("lib")
    }

    /// A folder with the driver, but without NVRTC.
    pub(crate) fn without_nvrtc(&self) -> PathBuf {
        self.dir.join("lib-without-nvrtc")
    }

    /// A folder without cuBLASLt.
    pub(crate) fn without_cublaslt(&self) -> PathBuf {
        self.dir.join("lib-without-cublaslt")
    }

    /// The program that checks the fake itself.
    pub(crate) fn smoke(&self) -> PathBuf {
        self.dir.join("smoke")
    }
}

/// Whether this machine can have the fake at all; `Err` says what it lacks.
pub(crate) fn available() -> Result<(), String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("the fake CUDA driver runs on x86-64 Linux only".to_owned());
    }
    match Command::new(compiler()).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err(NO_COMPILER.to_owned()),
    }
}

/// Builds what is not there or older than its sources.
pub(crate) fn build(ws: &Workspace) -> Result<FakeCuda, String> {
    available()?;
    let fake = FakeCuda { dir: ws.root.join("target/fake-cuda") };
    let sources = ws.root.join("backend-cuda/fake");
    let stamp = stamp(&sources)?;
    let stamp_file = fake.dir.join("stamp");
    if std::fs::read_to_string(&stamp_file).is_ok_and(|held| held == stamp) {
        return Ok(fake);
    }
    let objects = fake.dir.join("objects");
    for dir in [&fake.lib(), &fake.without_nvrtc(), &fake.without_cublaslt(), &objects] {
        std::fs::create_dir_all(dir).map_err(|e| format!("cannot create {}: {e}", dir.display()))?;
    }
    println!("building the fake CUDA driver in {}", fake.dir.display());
    compile(&sources, &objects)?;
    link(&sources, &objects, &fake)?;
    std::fs::write(&stamp_file, stamp).map_err(|e| format!("cannot write {}: {e}", stamp_file.display()))?;
    Ok(fake)
}

/// Builds the fake, checks it, and says how to use it.
pub(crate) fn main(args: &[String]) -> Result<bool, String> {
    if let Some(other) = args.first() {
        return Err(format!("fake-cuda takes no arguments, and got `{other}`"));
    }
    let fake = build(&Workspace::load()?)?;
    let status = Command::new(fake.smoke()).status().map_err(|e| format!("cannot start the check of the fake: {e}"))?;
    println!("to run a program over it: LD_LIBRARY_PATH={} PROGRAM", fake.lib().display());
    println!("its settings: backend-cuda/fake/README.md");
    Ok(status.success())
}

/// What the result depends on: the compiler and every source.
fn stamp(sources: &Path) -> Result<String, String> {
    let version = Command::new(compiler()).arg("--version").output().map_err(|e| format!("{NO_COMPILER} ({e})"))?;
    let mut text = String::from_utf8_lossy(&version.stdout).into_owned();
    let entries = std::fs::read_dir(sources).map_err(|e| format!("cannot read {}: {e}", sources.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "cpp" || e == "h")) {
        text += &std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    }
    Ok(text)
}

fn compiler() -> String {
    std::env::var("FAKE_CUDA_CXX").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "g++".to_owned())
}

/// All objects at the same time; none takes long.
fn compile(sources: &Path, objects: &Path) -> Result<(), String> {
    let mut running = Vec::new();
    for name in DRIVER.iter().chain(&["nvrtc", "cublaslt", "smoke"]) {
        let mut command = Command::new(compiler());
        command.args(FLAGS).arg("-c").arg(sources.join(format!("{name}.cpp")));
        command.arg("-o").arg(objects.join(format!("{name}.o")));
        running.push((name, command.spawn().map_err(|e| format!("{NO_COMPILER} ({e})"))?));
    }
    let mut broken = Vec::new();
    for (name, mut child) in running {
        if !child.wait().is_ok_and(|status| status.success()) {
            broken.push(*name);
        }
    }
    if broken.is_empty() {
        Ok(())
    } else {
        Err(format!("the fake CUDA driver does not compile: {}", broken.join(", ")))
    }
}

fn link(sources: &Path, objects: &Path, fake: &FakeCuda) -> Result<(), String> {
    let lib = fake.lib();
    let object = |name: &str| objects.join(format!("{name}.o"));
    let shared = |soname: &str, parts: &[PathBuf]| {
        let mut command = Command::new(compiler());
        command.args(["-shared", "-o"]).arg(lib.join(soname)).arg(format!("-Wl,-soname,{soname}"));
        finish(command.args(parts).args(["-Wl,-rpath,$ORIGIN", "-ldl"]))
    };
    let driver = lib.join("libcuda.so.1");
    shared("libcuda.so.1", &DRIVER.map(object))?;
    shared("libnvrtc.so.13", &[object("nvrtc")])?;
    shared("libcublasLt.so.13", &[object("cublaslt"), driver.clone()])?;
    let header = "kernel.h";
    std::fs::copy(sources.join(header), lib.join(header)).map_err(|e| format!("cannot copy {header}: {e}"))?;
    let mut smoke = Command::new(compiler());
    smoke.arg("-o").arg(fake.smoke()).arg(object("smoke")).arg(&driver).arg(lib.join("libnvrtc.so.13"));
    finish(smoke.arg("-Wl,-rpath,$ORIGIN/lib"))?;
    let libraries = [("libcuda", "1"), ("libnvrtc", "13"), ("libcublasLt", "13")];
    for (dir, missing) in
        [(lib.clone(), ""), (fake.without_nvrtc(), "libnvrtc"), (fake.without_cublaslt(), "libcublasLt")]
    {
        for (name, version) in libraries.iter().filter(|(name, _)| *name != missing) {
            let file = lib.join(format!("{name}.so.{version}"));
            replace_link(&file, &dir.join(format!("{name}.so")))?;
            if dir != lib {
                replace_link(&file, &dir.join(format!("{name}.so.{version}")))?;
            }
        }
    }
    Ok(())
}

fn finish(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|e| format!("{NO_COMPILER} ({e})"))?;
    if status.success() { Ok(()) } else { Err("the fake CUDA driver does not link".to_owned()) }
}

#[cfg(unix)]
fn replace_link(target: &Path, link: &Path) -> Result<(), String> {
    // It may not have been there.
    drop(std::fs::remove_file(link));
    std::os::unix::fs::symlink(target, link).map_err(|e| format!("cannot link {}: {e}", link.display()))
}

#[cfg(not(unix))]
fn replace_link(_: &Path, link: &Path) -> Result<(), String> {
    Err(format!("cannot link {}: the fake CUDA driver runs on Linux only", link.display()))
}
