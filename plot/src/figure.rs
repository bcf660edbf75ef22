//! A figure: one or more pairs of axes on a sheet of paper, and the ways out of it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::axes::Axes;
use crate::color::Color;
use crate::data::Interval;
use crate::error::Error;
use crate::font;
use crate::panel::{Panel, Sides, TITLE_SIZE, block};
use crate::scene::{self, Anchor, Node, Rect, Scene};
use crate::{show, svg};

/// The shares of the paper that are left free around the axes, unless words need more.
const MARGINS: Sides = Sides { left: 0.125, top: 0.12, right: 0.1, bottom: 0.11 };
/// The gap between two axes beside or above each other, as a share of an axis' length.
const GAP: f64 = 0.2;

/// A picture with one or more pairs of [`Axes`].
///
/// ```
/// # fn main() -> Result<(), plot::Error> {
/// let mut figure = plot::Figure::new();
/// let ax = figure.axes();
/// ax.plot_func(f64::sin, 0.0..10.0).label("sin");
/// ax.plot_func(f64::cos, 0.0..10.0).label("cos").style("--");
/// ax.title("Waves").xlabel("x").grid(true).legend();
/// let svg: String = figure.to_svg();
/// # let folder = std::env::temp_dir();
/// figure.save(folder.join("waves.svg"))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// In points.
    width: f64,
    height: f64,
    dpi: f64,
    title: String,
    columns: usize,
    cells: Vec<Axes>,
}

impl Default for Figure {
    fn default() -> Self {
        Self::new()
    }
}

impl Figure {
    /// A figure with one pair of axes, 6.4 by 4.8 inches large.
    #[must_use]
    pub fn new() -> Self {
        Self::subplots(1, 1)
    }

    /// A figure with `rows × columns` pairs of axes.
    ///
    /// ```
    /// let mut figure = plot::Figure::subplots(1, 2).size(9.0, 3.0);
    /// figure.subplot(0, 0).plot_func(f64::exp, -1..1);
    /// figure.subplot(0, 1).plot_func(f64::tanh, -3..3);
    /// ```
    ///
    /// # Panics
    /// If there are none or more than 10 000.
    #[must_use]
    #[track_caller]
    pub fn subplots(rows: usize, columns: usize) -> Self {
        let count = rows.saturating_mul(columns);
        assert!(
            (1..=10_000).contains(&count),
            "subplots: a figure has 1 to 10000 pairs of axes, not {rows} rows of {columns}"
        );
        Self {
            width: 6.4 * 72.0,
            height: 4.8 * 72.0,
            dpi: 100.0,
            title: String::new(),
            columns,
            cells: vec![Axes::default(); count],
        }
    }

    /// The same figure with another size in inches.
    ///
    /// # Panics
    /// If a side is not between 0.1 and 1000 inches.
    #[must_use]
    #[track_caller]
    pub fn size(mut self, width: f64, height: f64) -> Self {
        let sound = |side: f64| (0.1..=1000.0).contains(&side);
        assert!(
            sound(width) && sound(height),
            "size: a figure's sides are 0.1 to 1000 inches long, not {width} by {height}"
        );
        (self.width, self.height) = (width * 72.0, height * 72.0);
        self
    }

    /// The same figure with another number of pixels an inch in its PNG: 100 unless told.
    ///
    /// # Panics
    /// If it is not between 1 and 10 000.
    #[must_use]
    #[track_caller]
    pub fn dpi(mut self, dpi: f64) -> Self {
        assert!((1.0..=10_000.0).contains(&dpi), "dpi: a figure has 1 to 10000 pixels an inch, not {dpi}");
        self.dpi = dpi;
        self
    }

    /// Sets the words above all axes.
    pub fn suptitle(&mut self, title: impl Into<String>) -> &mut Self {
        self.title = title.into();
        self
    }

    /// The axes; of several, the first.
    pub fn axes(&mut self) -> &mut Axes {
        &mut self.cells[0]
    }

    /// The axes in a row and a column, both counted from 0, the upper left ones first.
    ///
    /// # Panics
    /// If there is no such row or column.
    #[track_caller]
    pub fn subplot(&mut self, row: usize, column: usize) -> &mut Axes {
        let rows = self.cells.len() / self.columns;
        assert!(
            row < rows && column < self.columns,
            "subplot: there is no row {row}, column {column} among {rows} x {}; both count from 0",
            self.columns
        );
        &mut self.cells[row * self.columns + column]
    }

    /// The figure as primitives with their places on paper.
    #[must_use]
    pub fn scene(&self) -> Scene {
        let paper = Rect { left: 0.0, top: 0.0, right: self.width, bottom: self.height };
        let mut nodes = vec![Node::Path(scene::Path::rect(paper).filled(Color::WHITE))];
        for panel in self.panels() {
            nodes.extend(panel.draw());
        }
        if !self.title.is_empty() {
            let top = 0.02 * self.height + font::ASCENT * TITLE_SIZE;
            block(&mut nodes, &self.title, (self.width / 2.0, top), TITLE_SIZE, Anchor::Middle, 0.0);
        }
        let words = std::iter::once(&self.title).chain(self.cells.iter().map(|axes| &axes.title));
        let title = words.filter(|title| !title.is_empty()).cloned().collect::<Vec<_>>().join("; ");
        Scene { width: self.width, height: self.height, title, nodes }
    }

    /// Places the axes, with as much room between them as their words need.
    fn panels(&self) -> Vec<Panel<'_>> {
        let mut needs = vec![Sides::default(); self.cells.len()];
        let mut panels = Vec::new();
        // The room for words depends on the ticks, and the ticks on the room: it settles at once or nearly so.
        for _ in 0..3 {
            let frames = self.frames(&needs);
            panels = self.cells.iter().zip(frames).map(|(axes, frame)| Panel::new(axes, frame)).collect();
            needs = panels.iter().map(Panel::needs).collect();
        }
        panels
    }

    fn frames(&self, needs: &[Sides]) -> Vec<Rect> {
        let rows = self.cells.len() / self.columns;
        let most = |side: &dyn Fn(&Sides) -> f64, wanted: &dyn Fn(usize) -> bool| {
            needs.iter().enumerate().filter(|&(i, _)| wanted(i)).map(|(_, n)| side(n)).fold(0.0, f64::max)
        };
        let column = |c: usize| move |i: usize| i % self.columns == c;
        let row = |r: usize| move |i: usize| i / self.columns == r;
        let across: Vec<(f64, f64)> =
            (0..self.columns).map(|c| (most(&|n| n.left, &column(c)), most(&|n| n.right, &column(c)))).collect();
        let down: Vec<(f64, f64)> =
            (0..rows).map(|r| (most(&|n| n.top, &row(r)), most(&|n| n.bottom, &row(r)))).collect();
        let lines = self.title.split('\n').count() as f64;
        let title = if self.title.is_empty() { 0.0 } else { 0.02 * self.height + lines * font::LINE * TITLE_SIZE };
        let x = divide(self.width, (MARGINS.left, MARGINS.right), 0.0, &across);
        let y = divide(self.height, (MARGINS.top, MARGINS.bottom), title, &down);
        y.iter()
            .flat_map(|&(top, bottom)| x.iter().map(move |&(left, right)| Rect { left, top, right, bottom }))
            .collect()
    }

    /// The figure as the text of an SVG file. The same figure always gives the same text.
    #[must_use]
    pub fn to_svg(&self) -> String {
        svg::write(&self.scene())
    }

    /// The figure as the bytes of a PNG file.
    ///
    /// # Errors
    /// If it has too many pixels, or the crate was built without its feature `png`.
    pub fn to_png(&self) -> Result<Vec<u8>, Error> {
        #[cfg(feature = "png")]
        return crate::png::write(&self.scene(), self.dpi);
        #[cfg(not(feature = "png"))]
        return Err(Error::PngDisabled);
    }

    /// Writes the figure into a file, as SVG or PNG by the ending of its name. The folder must exist.
    ///
    /// # Errors
    /// If the name ends in neither `.svg` nor `.png`, the file can't be written, or the PNG can't be made (see
    /// [`Figure::to_png`]).
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        let bytes = match extension.as_deref() {
            Some("svg") => self.to_svg().into_bytes(),
            Some("png") => self.to_png()?,
            _ => {
                return Err(Error::UnknownFormat { path: path.to_owned() });
            }
        };
        fs::write(path, bytes).map_err(|source| Error::Io { path: path.to_owned(), source })
    }

    /// Opens the figure in the system's browser. It goes by way of a new file in the system's folder for temporary
    /// files; the answer is its path.
    ///
    /// # Errors
    /// If the file can't be written, or no browser can be opened; then the error says why and where the file is.
    pub fn show(&self) -> Result<PathBuf, Error> {
        show::in_browser(&self.to_svg())
    }

    /// Shows the figure in a notebook of the Rust kernel for Jupyter: the kernel calls this for a cell that ends with
    /// the figure.
    ///
    /// Prints the SVG between the marks that the kernel looks for, and a line of text for front ends without pictures.
    pub fn evcxr_display(&self) {
        print!("{}", self.evcxr_blocks());
    }

    fn evcxr_blocks(&self) -> String {
        let (width, height) = (self.width / 72.0, self.height / 72.0);
        format!(
            "EVCXR_BEGIN_CONTENT image/svg+xml\n{}EVCXR_END_CONTENT\n\
             EVCXR_BEGIN_CONTENT text/plain\n<figure of {width} x {height} inches, {} axes>\nEVCXR_END_CONTENT\n",
            self.to_svg(),
            self.cells.len()
        )
    }
}

/// Divides a length among axes: each with the room before and after it that its words need, all equally long.
fn divide(length: f64, margins: (f64, f64), title: f64, needs: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let count = needs.len() as f64;
    let first = needs.first().map_or(0.0, |n| n.0);
    let last = needs.last().map_or(0.0, |n| n.1);
    let before = (margins.0 * length).max(first + title);
    let after = (margins.1 * length).max(last);
    let inner = length - before - after;
    let usual = GAP * inner / (count + GAP * (count - 1.0));
    let gaps: Vec<f64> = needs.windows(2).map(|pair| usual.max(pair[0].1 + pair[1].0)).collect();
    // Words that leave no room for the axes are cut off rather than the axes lost.
    let each = ((inner - gaps.iter().sum::<f64>()) / count).max(1.0);
    let mut start = before;
    let mut spans = Vec::with_capacity(needs.len());
    for i in 0..needs.len() {
        spans.push((start, start + each));
        start += each + gaps.get(i).copied().unwrap_or(0.0);
    }
    spans
}

/// A figure with one function, drawn between two ends over a light grid.
///
/// ```
/// let f = |x: f64| x.powi(3) + 3.0 * x.powi(2) - 5.0 * x + 4.0;
/// let mut figure = plot::plot_func(f, -5..3);
/// figure.axes().title("f").plot_gradient(-2.0, f(-2.0), -5.0);
/// ```
///
/// # Panics
/// If an end is not finite.
#[must_use]
#[track_caller]
pub fn plot_func(f: impl Fn(f64) -> f64, range: impl Interval) -> Figure {
    let mut figure = Figure::new();
    let axes = figure.axes();
    axes.grid_color(Color::rgb(0xb0, 0xb0, 0xb0).alpha(0.4));
    axes.plot_func(f, range);
    figure
}

/// A figure with one function and, at `x0`, its tangent: the straight line with this slope.
///
/// ```
/// // The slope of x² at 1.5 is 3.
/// let figure = plot::plot_gradient(|x| x * x, -3..3, 1.5, 3.0);
/// assert!(figure.to_svg().starts_with("<svg"));
/// ```
///
/// # Panics
/// If an end, `x0`, `f(x0)` or the slope is not finite.
#[must_use]
#[track_caller]
pub fn plot_gradient(f: impl Fn(f64) -> f64, range: impl Interval, x0: f64, slope: f64) -> Figure {
    let mut figure = plot_func(&f, range);
    figure.axes().plot_gradient(x0, f(x0), slope);
    figure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notebook_gets_a_picture_and_a_text() {
        let blocks = plot_func(|x| x, 0..1).evcxr_blocks();
        let lines: Vec<&str> = blocks.lines().collect();
        assert_eq!(lines[0], "EVCXR_BEGIN_CONTENT image/svg+xml");
        assert!(lines[1].starts_with("<svg "));
        let tail = &lines[lines.len() - 5..];
        assert_eq!(tail[0], "</svg>");
        assert_eq!(tail[1], "EVCXR_END_CONTENT");
        assert_eq!(tail[2], "EVCXR_BEGIN_CONTENT text/plain");
        assert_eq!(tail[3], "<figure of 6.4 x 4.8 inches, 1 axes>");
        assert_eq!(tail[4], "EVCXR_END_CONTENT");
    }

    #[test]
    fn one_pair_of_axes_stands_where_matplotlib_puts_it() {
        let frame = Figure::new().frames(&[Sides::default()])[0];
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
        near(frame.left, 57.6);
        near(frame.right, 414.72);
        near(frame.top, 41.472);
        near(frame.bottom, 307.584);
    }

    #[test]
    fn wide_numbers_push_the_axes_aside() {
        let mut figure = Figure::subplots(1, 2);
        figure.subplot(0, 1).ylim(0.0..1.0).yticks([(0.5, "a label as long as none should ever be")]);
        let panels = figure.panels();
        let frames = figure.frames(&panels.iter().map(Panel::needs).collect::<Vec<_>>());
        let label = font::width("a label as long as none should ever be") * 10.0;
        assert!(frames[1].left - frames[0].right > label);
        assert!((frames[0].width() - frames[1].width()).abs() < 1e-9);
    }

    #[test]
    #[should_panic(expected = "subplot: there is no row 1, column 0 among 1 x 2; both count from 0")]
    fn axes_that_are_not_there_are_refused() {
        Figure::subplots(1, 2).subplot(1, 0);
    }

    #[test]
    #[should_panic(expected = "subplots: a figure has 1 to 10000 pairs of axes, not 0 rows of 2")]
    fn a_figure_without_axes_is_refused() {
        let _ = Figure::subplots(0, 2);
    }

    #[test]
    #[should_panic(expected = "size: a figure's sides are 0.1 to 1000 inches long, not NaN by 1")]
    fn an_impossible_size_is_refused() {
        let _ = Figure::new().size(f64::NAN, 1.0);
    }
}
