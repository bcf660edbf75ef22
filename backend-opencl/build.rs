//! Lets a program link without an OpenCL SDK.
//!
//! The `ocl` crate links `OpenCL` by name. An empty archive of that name satisfies the linker, and `src/shim.rs` defines the
//! functions themselves, which load the system's OpenCL library when they are first called.

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if system == "macos" {
        return; // OpenCL is a framework there and always present.
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for name in ["libOpenCL.a", "OpenCL.lib"] {
        std::fs::write(out.join(name), b"!<arch>\n").expect("OUT_DIR can be written");
    }
    println!("cargo::rustc-link-search=native={}", out.display());
}
