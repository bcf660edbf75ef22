//! NVIDIA's run-time compiler, from its package on `PyPI`: it needs no GPU, and shows that kernels compile for real ones.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::workspace::Workspace;

const PACKAGE: &str = "nvidia-cuda-nvrtc";
const VERSION: &str = "13.5.37";
const FILE: &str = "nvidia_cuda_nvrtc-13.5.37-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.whl";
const SHA256: &str = "86b4d68058807988b7d9af5b44917a0601e9c337f35ccd657bfb3c759ff8d8bc";

/// The folder of the library inside the package.
const INSIDE: &str = "nvidia/cu13/lib";

/// What is compiled for: the usual ones, the oldest that NVRTC knows, and the newest. The first gets every kernel.
pub(crate) const ARCHITECTURES: &str = "90,80,75,121";

/// Whether there is a package for this machine.
pub(crate) fn is_possible() -> bool {
    cfg!(all(target_os = "linux", target_arch = "x86_64"))
}

fn home(ws: &Workspace) -> PathBuf {
    ws.root.join("target/nvrtc").join(VERSION)
}

/// The folder with the library, if it was set up.
pub(crate) fn folder(ws: &Workspace) -> Option<PathBuf> {
    let dir = home(ws).join(INSIDE);
    dir.join("libnvrtc.so.13").exists().then_some(dir)
}

/// Downloads it into `target/nvrtc` unless it is there. Says what it does.
pub(crate) fn set_up(ws: &Workspace) -> Result<PathBuf, String> {
    if let Some(dir) = folder(ws) {
        println!("NVRTC {VERSION}: installed ({})", dir.display());
        return Ok(dir);
    }
    if !is_possible() {
        return Err("there is no NVRTC package for this machine; it is for x86-64 Linux".to_owned());
    }
    let downloads = ws.root.join("target/nvrtc/download");
    std::fs::create_dir_all(&downloads).map_err(|e| format!("cannot create {}: {e}", downloads.display()))?;
    let wheel = downloads.join(FILE);
    if !is_whole(&wheel) {
        println!("NVRTC {VERSION}: downloading {PACKAGE} (58 MB) from PyPI to {}", downloads.display());
        download(&downloads, &wheel)?;
        if !is_whole(&wheel) {
            // Whatever came, it is not what was asked for.
            drop(std::fs::remove_file(&wheel));
            return Err(format!("{FILE} does not have the SHA-256 that it should have: {SHA256}"));
        }
    }
    let home = home(ws);
    let fresh = home.with_extension("new");
    drop(std::fs::remove_dir_all(&fresh));
    std::fs::create_dir_all(&fresh).map_err(|e| format!("cannot create {}: {e}", fresh.display()))?;
    unpack(&wheel, &fresh)?;
    drop(std::fs::remove_dir_all(&home));
    std::fs::rename(&fresh, &home).map_err(|e| format!("cannot rename {}: {e}", fresh.display()))?;
    drop(std::fs::remove_file(&wheel));
    let dir = folder(ws).ok_or_else(|| format!("{FILE} has no {INSIDE}/libnvrtc.so.13"))?;
    println!("NVRTC {VERSION}: installed in {}", dir.display());
    Ok(dir)
}

/// Whether a file is there and is the one that is wanted.
fn is_whole(file: &Path) -> bool {
    let output = Command::new("sha256sum").arg(file).stderr(Stdio::null()).output();
    output.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).split_whitespace().next() == Some(SHA256))
}

/// By pip, which knows the user's mirrors and proxies, else by curl or wget from where pip's index says it is.
fn download(dir: &Path, wheel: &Path) -> Result<(), String> {
    for python in ["python3", "python"] {
        let mut pip = Command::new(python);
        pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest"]).arg(dir);
        if succeeds(pip.arg(format!("{PACKAGE}=={VERSION}"))) {
            return Ok(());
        }
    }
    let index = format!("https://pypi.org/simple/{PACKAGE}/");
    let page = ["curl -fsSL", "wget -qO-"]
        .iter()
        .find_map(|words| {
            let mut words = words.split(' ');
            let output = Command::new(words.next()?).args(words).arg(&index).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
        })
        .ok_or("neither pip, curl nor wget could reach PyPI")?;
    let url = link(&page).ok_or_else(|| format!("{index} does not list {FILE}"))?;
    let done = succeeds(Command::new("curl").args(["-fsSL", "-o"]).arg(wheel).arg(&url))
        || succeeds(Command::new("wget").args(["-q", "-O"]).arg(wheel).arg(&url));
    if done { Ok(()) } else { Err(format!("cannot download {url}")) }
}

/// The address of the file on the index's page.
fn link(page: &str) -> Option<String> {
    page.split("href=\"")
        .skip(1)
        .filter_map(|part| part.split(['"', '#']).next())
        .find(|url| url.ends_with(FILE))
        .map(str::to_owned)
}

fn unpack(wheel: &Path, dir: &Path) -> Result<(), String> {
    let done = succeeds(Command::new("unzip").args(["-q", "-o"]).arg(wheel).arg("-d").arg(dir))
        || succeeds(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(wheel).arg(dir));
    if done { Ok(()) } else { Err(format!("neither unzip nor python3 could unpack {}", wheel.display())) }
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_found_on_the_page_of_an_index() {
        let page = format!(
            "<a href=\"https://x/other.whl#sha256=1\">other</a> <a href=\"https://x/y/{FILE}#sha256=2\">it</a>"
        );
        assert_eq!(link(&page), Some(format!("https://x/y/{FILE}")));
        assert_eq!(link("<a href=\"https://x/other.whl\">other</a>"), None);
    }

    #[test]
    fn the_file_is_of_the_version() {
        assert!(FILE.contains(VERSION));
        assert!(!is_whole(Path::new("/nonexistent/file")));
    }
}
