//! What both writers draw: a handful of primitives with all their coordinates settled.
//!
//! Lengths are points (1/72 inch). The origin is the top left corner and y grows downwards. What decides where things
//! go is above this module, what knows of files is below it.

use crate::color::Color;

/// A picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// Width of the paper.
    pub width: f64,
    /// Height of the paper.
    pub height: f64,
    /// What the picture shows in words, for those who can't see it.
    pub title: String,
    /// What is on the paper, the lowest first.
    pub nodes: Vec<Node>,
}

/// One thing on the paper.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Lines and curves, filled, stroked, or both.
    Path(Path),
    /// A disc.
    Circle(Circle),
    /// One line of text.
    Text(Text),
    /// A raster of coloured cells.
    Image(Image),
    /// Nodes of which only what lies within the rectangle is seen.
    Clip(Rect, Vec<Self>),
}

/// A rectangle by its edges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// The left edge.
    pub left: f64,
    /// The upper edge: the smaller y.
    pub top: f64,
    /// The right edge.
    pub right: f64,
    /// The lower edge: the greater y.
    pub bottom: f64,
}

impl Rect {
    /// From the left to the right edge.
    #[must_use]
    pub fn width(&self) -> f64 {
        self.right - self.left
    }

    /// From the upper to the lower edge.
    #[must_use]
    pub fn height(&self) -> f64 {
        self.bottom - self.top
    }

    /// The rectangle with every edge moved outwards by `by`.
    #[must_use]
    pub fn grown(&self, by: f64) -> Self {
        Self { left: self.left - by, top: self.top - by, right: self.right + by, bottom: self.bottom + by }
    }

    /// Whether the two have more than an edge in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }

    /// Whether the point lies within or on an edge.
    #[must_use]
    pub fn contains(&self, (x, y): (f64, f64)) -> bool {
        self.left <= x && x <= self.right && self.top <= y && y <= self.bottom
    }
}

/// A step of a [`Path`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Segment {
    /// Begins a new line here.
    Move(f64, f64),
    /// Goes straight there.
    Line(f64, f64),
    /// Goes there on a parabola: the control point, then the end.
    Quad(f64, f64, f64, f64),
    /// Goes back to where the line began.
    Close,
}

/// A stroke along a path.
#[derive(Clone, Debug, PartialEq)]
pub struct Stroke {
    /// Its colour.
    pub color: Color,
    /// Its width.
    pub width: f64,
    /// Lengths of dashes and gaps in turn; empty for a stroke without gaps.
    pub dashes: Vec<f64>,
    /// Whether the ends reach past the last point by half the width. Ends of dashes never do.
    pub square_ends: bool,
    /// Whether corners are pointed; otherwise they are round.
    pub sharp_corners: bool,
}

impl Stroke {
    /// A stroke without gaps that ends where the path does.
    #[must_use]
    pub fn new(color: Color, width: f64) -> Self {
        Self { color, width, dashes: Vec::new(), square_ends: false, sharp_corners: false }
    }
}

/// Lines and curves.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// The steps. The first is a [`Segment::Move`].
    pub segments: Vec<Segment>,
    /// The colour of what it encloses.
    pub fill: Option<Color>,
    /// How the line itself is drawn.
    pub stroke: Option<Stroke>,
}

impl Path {
    /// A line through some points.
    #[must_use]
    pub fn polyline(points: impl IntoIterator<Item = (f64, f64)>, stroke: Stroke) -> Self {
        Self { segments: open(points), fill: None, stroke: Some(stroke) }
    }

    /// A filled polygon.
    #[must_use]
    pub fn polygon(points: impl IntoIterator<Item = (f64, f64)>, fill: Color) -> Self {
        let mut segments = open(points);
        segments.push(Segment::Close);
        Self { segments, fill: Some(fill), stroke: None }
    }

    /// A rectangle, neither filled nor stroked yet.
    #[must_use]
    pub fn rect(r: Rect) -> Self {
        let mut segments = open([(r.left, r.top), (r.right, r.top), (r.right, r.bottom), (r.left, r.bottom)]);
        segments.push(Segment::Close);
        Self { segments, fill: None, stroke: None }
    }

    /// A rectangle whose corners are rounded off by `radius`, neither filled nor stroked yet.
    #[must_use]
    pub fn rounded(r: Rect, radius: f64) -> Self {
        use Segment::{Close, Line, Move, Quad};
        let Rect { left, top, right, bottom } = r;
        let segments = vec![
            Move(left + radius, top),
            Line(right - radius, top),
            Quad(right, top, right, top + radius),
            Line(right, bottom - radius),
            Quad(right, bottom, right - radius, bottom),
            Line(left + radius, bottom),
            Quad(left, bottom, left, bottom - radius),
            Line(left, top + radius),
            Quad(left, top, left + radius, top),
            Close,
        ];
        Self { segments, fill: None, stroke: None }
    }

    /// Whether it consists of horizontal and vertical lines alone.
    #[must_use]
    pub fn is_rectilinear(&self) -> bool {
        let (mut start, mut here) = ((0.0, 0.0), (0.0, 0.0));
        self.segments.iter().all(|segment| {
            let to = match *segment {
                Segment::Move(x, y) => {
                    (start, here) = ((x, y), (x, y));
                    return true;
                }
                Segment::Line(x, y) => (x, y),
                Segment::Quad(..) => return false,
                Segment::Close => start,
            };
            let from = std::mem::replace(&mut here, to);
            (to.0 - from.0).abs() < 1e-6 || (to.1 - from.1).abs() < 1e-6
        })
    }

    /// The same path, filled.
    #[must_use]
    pub fn filled(self, color: Color) -> Self {
        Self { fill: Some(color), ..self }
    }

    /// The same path, stroked.
    #[must_use]
    pub fn stroked(self, stroke: Stroke) -> Self {
        Self { stroke: Some(stroke), ..self }
    }
}

fn open(points: impl IntoIterator<Item = (f64, f64)>) -> Vec<Segment> {
    let step = |(i, (x, y))| {
        if i == 0 { Segment::Move(x, y) } else { Segment::Line(x, y) }
    };
    points.into_iter().enumerate().map(step).collect()
}

/// A disc.
#[derive(Clone, Debug, PartialEq)]
pub struct Circle {
    /// Centre, from the left.
    pub x: f64,
    /// Centre, from the top.
    pub y: f64,
    /// Radius.
    pub radius: f64,
    /// Colour.
    pub fill: Color,
}

/// Which part of a text stands at its x.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anchor {
    /// Its beginning.
    #[default]
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

/// One line of text.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    /// The anchor, from the left.
    pub x: f64,
    /// The baseline, from the top.
    pub y: f64,
    /// Font size: the em.
    pub size: f64,
    /// What is at x.
    pub anchor: Anchor,
    /// Degrees by which the text is turned around the anchor, against the clock.
    pub angle: f64,
    /// Colour.
    pub color: Color,
    /// The characters.
    pub content: String,
}

/// A raster of coloured cells, stretched over a rectangle without blurring.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Where it goes.
    pub rect: Rect,
    /// Cells a row.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
    /// Red, green, blue and opacity of each cell, row after row from the top: `4 × columns × rows` bytes.
    pub rgba: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_are_rectilinear_and_triangles_are_not() {
        let rect = Rect { left: 1.0, top: 2.0, right: 3.0, bottom: 4.0 };
        assert!(Path::rect(rect).is_rectilinear());
        assert!(!Path::rounded(rect, 0.5).is_rectilinear());
        let stairs = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)];
        assert!(Path::polyline(stairs, Stroke::new(Color::BLACK, 1.0)).is_rectilinear());
        assert!(!Path::polygon(stairs, Color::BLACK).is_rectilinear(), "the way back is oblique");
    }
}
