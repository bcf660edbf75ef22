//! Draws one of everything into `target/gallery/`, as SVG and PNG.
//!
//! `cargo run -p gradix-plot --example gallery`

mod figures;

use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new("target/gallery");
    fs::create_dir_all(folder)?;
    for (name, figure) in figures::all() {
        for ending in ["svg", "png"] {
            let path = folder.join(name).with_extension(ending);
            figure.save(&path)?;
            println!("{}", path.display());
        }
    }
    Ok(())
}
