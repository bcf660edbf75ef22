//! What the rules of `cargo xtask tidy` allow. Every exception carries its reason.

/// Which packages of the workspace a package may depend on.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) package: &'static str,
    pub(crate) may_use: &'static [&'static str],
    /// And in its tests, examples and benches besides.
    pub(crate) tests_may_use: &'static [&'static str],
}

const BACKENDS: &[&str] = &["gradix-backend-cpu", "gradix-backend-opencl", "gradix-backend-cuda"];

/// The layers, lowest first. A new package needs a row.
pub(crate) const LAYERS: &[Layer] = &[
    Layer { package: "gradix-tensor-core", may_use: &[], tests_may_use: &[] },
    Layer { package: "gradix-plot", may_use: &[], tests_may_use: &[] },
    Layer { package: "xtask", may_use: &[], tests_may_use: &[] },
    Layer { package: "gradix-backend-cpu", may_use: &["gradix-tensor-core"], tests_may_use: &[] },
    // A device's results are compared with the CPU's.
    Layer {
        package: "gradix-backend-opencl",
        may_use: &["gradix-tensor-core"],
        tests_may_use: &["gradix-backend-cpu"],
    },
    Layer { package: "gradix-backend-cuda", may_use: &["gradix-tensor-core"], tests_may_use: &["gradix-backend-cpu"] },
    // Gradients are tested on real backends.
    Layer { package: "gradix-autograd", may_use: &["gradix-tensor-core"], tests_may_use: BACKENDS },
    Layer {
        package: "gradix",
        may_use: &[
            "gradix-tensor-core",
            "gradix-autograd",
            "gradix-plot",
            "gradix-backend-cpu",
            "gradix-backend-opencl",
            "gradix-backend-cuda",
        ],
        tests_may_use: &[],
    },
];

/// Packages in which `unsafe` may stand: what they call has no safe form.
pub(crate) const UNSAFE_PACKAGES: &[&str] = BACKENDS;

/// Files outside of those packages in which `unsafe` may stand, and why.
pub(crate) const UNSAFE_FILES: &[(&str, &str)] =
    &[("bench/peers/src/limits.rs", "what a machine can do is measured with its own instructions")];

/// A file longer than this is listed: two rooms in one, perhaps.
pub(crate) const LONG_FILE: usize = 700;

/// Files that may be longer, and why.
pub(crate) const LONG_FILES: &[(&str, &str)] = &[];

/// Packages that must not name a backend outside of their tests.
pub(crate) const BACKEND_BLIND: &[&str] = &["gradix-tensor-core", "gradix-autograd"];

/// What every package is licensed under.
pub(crate) const LICENSE: &str = "MIT OR Apache-2.0";

/// Files that hold the licences' texts.
pub(crate) const LICENSE_FILES: &[&str] = &["LICENSE-MIT", "LICENSE-APACHE"];

/// Endings of the files in which blanks are checked.
pub(crate) const TEXT_FILES: &[&str] =
    &["rs", "toml", "md", "cl", "cu", "cuh", "c", "h", "cpp", "py", "sh", "yml", "yaml", "json", "gitignore"];
