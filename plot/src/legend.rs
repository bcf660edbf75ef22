//! The box that names what has a label.

use crate::artist::{Area, Artist, Fill, Line};
use crate::color::Color;
use crate::draw::{Drawn, pen};
use crate::font;
use crate::panel::FONT_SIZE;
use crate::scene::{Anchor, Node, Path, Rect, Stroke, Text};
use crate::style::LineStyle;

/// Where the legend stands within the axes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Location {
    /// At the first of the other places, in their order, where it hides the least.
    #[default]
    Best,
    /// In the upper right corner.
    UpperRight,
    /// In the upper left corner.
    UpperLeft,
    /// In the lower left corner.
    LowerLeft,
    /// In the lower right corner.
    LowerRight,
    /// At the middle of the left side.
    CenterLeft,
    /// At the middle of the right side.
    CenterRight,
    /// At the middle of the lower side.
    LowerCenter,
    /// At the middle of the upper side.
    UpperCenter,
    /// In the middle.
    Center,
}

impl Location {
    const PLACES: [Self; 9] = [
        Self::UpperRight,
        Self::UpperLeft,
        Self::LowerLeft,
        Self::LowerRight,
        Self::CenterLeft,
        Self::CenterRight,
        Self::LowerCenter,
        Self::UpperCenter,
        Self::Center,
    ];

    /// How far from the left and the top the box stands, 0 to 1 of the room there is.
    fn shares(self) -> (f64, f64) {
        match self {
            Self::Best | Self::UpperRight => (1.0, 0.0),
            Self::UpperLeft => (0.0, 0.0),
            Self::LowerLeft => (0.0, 1.0),
            Self::LowerRight => (1.0, 1.0),
            Self::CenterLeft => (0.0, 0.5),
            Self::CenterRight => (1.0, 0.5),
            Self::LowerCenter => (0.5, 1.0),
            Self::UpperCenter => (0.5, 0.0),
            Self::Center => (0.5, 0.5),
        }
    }
}

// Lengths in em of the font, as matplotlib has them.
const PADDING: f64 = 0.4;
const SPACING: f64 = 0.5;
const HANDLE: f64 = 2.0;
const HANDLE_HEIGHT: f64 = 0.7;
const HANDLE_GAP: f64 = 0.8;
const FROM_FRAME: f64 = 0.5;
const ROUNDING: f64 = 0.2;

/// The legend of what is drawn in a frame; nothing if nothing has a label.
pub(crate) fn draw(drawn: &[Drawn<'_>], frame: &Rect, location: Location) -> Vec<Node> {
    let entries: Vec<(&Drawn<'_>, &str)> = drawn.iter().filter_map(|d| Some((d, d.label()?))).collect();
    if entries.is_empty() {
        return Vec::new();
    }
    let em = FONT_SIZE;
    let lines: Vec<Vec<&str>> = entries.iter().map(|(_, label)| label.split('\n').collect()).collect();
    let widest = lines.iter().flatten().map(|line| font::width(line) * em).fold(0.0, f64::max);
    let height_of = |lines: &[&str]| (font::ASCENT + font::DESCENT + (lines.len() - 1) as f64 * font::LINE) * em;
    let width = (2.0 * PADDING + HANDLE + HANDLE_GAP) * em + widest;
    let height = 2.0 * PADDING * em
        + lines.iter().map(|lines| height_of(lines)).sum::<f64>()
        + (lines.len() - 1) as f64 * SPACING * em;
    let corner = place(drawn, frame, location, width, height);
    let rect = Rect { left: corner.0, top: corner.1, right: corner.0 + width, bottom: corner.1 + height };

    let edge = Stroke::new(Color::rgb(204, 204, 204).alpha(0.8), 1.0);
    let background = Path::rounded(rect, ROUNDING * em).filled(Color::WHITE.alpha(0.8)).stroked(edge);
    let mut nodes = vec![Node::Path(background)];
    let left = rect.left + PADDING * em;
    let mut top = rect.top + PADDING * em;
    for ((drawn, _), lines) in entries.iter().zip(&lines) {
        let baseline = top + font::ASCENT * em;
        handle(&mut nodes, drawn, left, baseline);
        for (i, line) in lines.iter().enumerate() {
            nodes.push(Node::Text(Text {
                x: left + (HANDLE + HANDLE_GAP) * em,
                y: baseline + i as f64 * font::LINE * em,
                size: em,
                anchor: Anchor::Start,
                angle: 0.0,
                color: Color::BLACK,
                content: (*line).to_owned(),
            }));
        }
        top += height_of(lines) + SPACING * em;
    }
    nodes
}

/// The sample of an artist: a stretch of line, a marker, or a patch of colour.
fn handle(nodes: &mut Vec<Node>, drawn: &Drawn<'_>, left: f64, baseline: f64) {
    let em = FONT_SIZE;
    let (right, middle) = (left + HANDLE * em, baseline - HANDLE_HEIGHT / 2.0 * em);
    let center = ((left + right) / 2.0, middle);
    let across = [(left, middle), (right, middle)];
    match drawn.artist {
        Artist::Line(line) => {
            if line.style != LineStyle::None {
                nodes.push(Node::Path(Path::polyline(across, pen(line, drawn.color))));
            }
            nodes.extend(crate::marker::draw(line.marker, center, line.marker_size, drawn.color));
        }
        Artist::Points(points) => nodes.extend(crate::marker::draw(points.marker, center, points.size, drawn.color)),
        Artist::Arrow(arrow) => {
            nodes.extend(crate::marker::arrow((left, middle), (right, middle), arrow.width, drawn.color));
        }
        Artist::Tangent(tangent) => {
            nodes.extend(crate::marker::arrow((left, middle), (right, middle), tangent.width, drawn.color));
        }
        Artist::Fill(_) | Artist::Bars(_) => {
            let patch = Rect { left, top: baseline - HANDLE_HEIGHT * em, right, bottom: baseline };
            nodes.push(Node::Path(Path::rect(patch).filled(drawn.color)));
        }
        Artist::Annotation(_) | Artist::Heatmap(_) => {}
    }
}

/// The upper left corner of a box of this size.
fn place(drawn: &[Drawn<'_>], frame: &Rect, location: Location, width: f64, height: f64) -> (f64, f64) {
    let inner = frame.grown(-FROM_FRAME * FONT_SIZE);
    let corner = |location: Location| {
        let (x, y) = location.shares();
        (inner.left + x * (inner.width() - width), inner.top + y * (inner.height() - height))
    };
    if location != Location::Best {
        return corner(location);
    }
    let hidden = |&location: &Location| {
        let (left, top) = corner(location);
        hides(drawn, &Rect { left, top, right: left + width, bottom: top + height })
    };
    // `min_by_key` takes the first of equals.
    Location::PLACES.into_iter().min_by_key(hidden).map_or_else(|| corner(Location::UpperRight), corner)
}

/// How much of what is drawn lies under a box: points, pieces of lines and areas.
fn hides(drawn: &[Drawn<'_>], rect: &Rect) -> usize {
    let mut count = 0;
    for drawn in drawn {
        for part in &drawn.parts {
            count += part.iter().filter(|&&p| rect.contains(p)).count();
            let closed = matches!(drawn.artist, Artist::Fill(Fill { area: Area::Between { .. }, .. }));
            if matches!(drawn.artist, Artist::Line(Line { style: LineStyle::None, .. }) | Artist::Points(_)) || closed {
                continue;
            }
            let one = |&(x, y): &(f64, f64)| Some((x, y));
            let crossing = part.windows(2).filter(|pair| {
                !rect.contains(pair[0])
                    && !rect.contains(pair[1])
                    && !crate::geometry::visible(pair.iter().map(one), rect).is_empty()
            });
            count += crossing.count();
        }
        count += drawn.boxes.iter().filter(|area| area.overlaps(rect)).count();
    }
    count
}
