//! The gallery's figures as SVG, byte for byte the files in `tests/golden`.
//!
//! After a change that is meant to be seen, write the files anew with `GRADIX_BLESS=1 cargo test -p gradix-plot --test golden`
//! and look at the difference.

use std::path::Path;
use std::{env, fs};

#[path = "../examples/gallery/figures.rs"]
mod figures;

#[test]
fn figures_look_as_they_did() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let bless = env::var_os("GRADIX_BLESS").is_some_and(|value| value == "1");
    let mut changed = Vec::new();
    for (name, figure) in figures::all() {
        let path = folder.join(name).with_extension("svg");
        let svg = figure.to_svg();
        if bless {
            fs::write(&path, &svg).unwrap();
            continue;
        }
        // A checkout may have turned the ends of lines into those of the system.
        let golden = fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
        if let Some((line, (was, is))) = golden.lines().zip(svg.lines()).enumerate().find(|(_, (was, is))| was != is) {
            changed.push(format!("{name}.svg, line {}:\n  was {was}\n  is  {is}", line + 1));
        } else if golden.len() != svg.len() {
            changed.push(format!("{name}.svg has {} bytes and had {}", svg.len(), golden.len()));
        }
    }
    assert!(changed.is_empty(), "GRADIX_BLESS=1 accepts these changes:\n{}", changed.join("\n"));
}

#[test]
fn each_golden_file_has_its_figure() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let names: Vec<&str> = figures::all().iter().map(|&(name, _)| name).collect();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(names.contains(&stem.as_str()), "{} is no figure of the gallery", path.display());
    }
}
