//! Figures like matplotlib's, as SVG (with the standard library alone) and PNG (feature `png`, on by default).
//!
//! A [`Figure`] has one or more pairs of [`Axes`]; their methods have matplotlib's names. It takes plain numbers: slices
//! and iterators of anything that is a [`Number`].
//!
//! ```
//! # fn main() -> Result<(), plot::Error> {
//! let f = |x: f64| x.powi(3) + 3.0 * x.powi(2) - 5.0 * x + 4.0;
//!
//! let mut figure = plot::Figure::new();
//! let ax = figure.axes();
//! ax.plot_func(f, -5..3).label("f(x) = x³ + 3x² − 5x + 4");
//! ax.plot_gradient(-2.0, f(-2.0), -5.0).label("its tangent at −2");
//! ax.xlabel("x").ylabel("f(x)").grid(true).legend();
//!
//! # let folder = std::env::temp_dir();
//! figure.save(folder.join("tangent.svg"))?;
//! // figure.show()? opens it in a browser.
//! # Ok(())
//! # }
//! ```
//!
//! A picture of one function takes one line: [`plot_func`]. In a notebook of the Rust kernel for Jupyter, a cell that
//! ends with a figure shows it.
//!
//! Wrong arguments, such as five x for four y or a colour that has no such name, panic where they are given. What the
//! world does, such as a full disk, is an [`Error`].
//!
//! # How it works
//! Axes turn data into a [`scene::Scene`] of six primitives, whose coordinates are settled; two writers put the scene
//! into files. Both measure text by the same table, so that SVG and PNG are laid out alike.
//!
//! The crate carries a subset of the font `DejaVu Sans`; `font/LICENSE-DejaVu` is its licence, `font/make.py` makes it.

mod artist;
mod axes;
mod color;
mod data;
mod draw;
mod error;
mod figure;
mod font;
mod geometry;
mod legend;
mod marker;
mod panel;
#[cfg(feature = "png")]
mod png;
pub mod scene;
mod show;
mod style;
mod svg;
mod ticks;
mod view;

pub use artist::{Annotation, Arrow, Bars, ColorMap, Fill, Heatmap, Line, Points, Tangent};
pub use axes::Axes;
pub use color::{Color, IntoColor, ParseColorError};
pub use data::{Interval, Number};
pub use error::Error;
pub use figure::{Figure, plot_func, plot_gradient};
pub use legend::Location;
pub use scene::Anchor;
pub use style::{LineStyle, Marker};
pub use view::Scale;
