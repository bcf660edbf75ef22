//! Turns what stands in the axes into primitives.

use crate::artist::{Annotation, Area, Arrow, Artist, Bars, Course, Fill, Heatmap, Line, Points, Tangent};
use crate::color::Color;
use crate::font;
use crate::geometry::visible;
use crate::marker;
use crate::scene::{Anchor, Image, Node, Path, Rect, Segment, Stroke, Text};
use crate::style::{LineStyle, Marker};
use crate::view::{Scale, View};

/// How far a tangent and its arrow reach to either side of the point, in points on paper.
const TANGENT_REACH: f64 = 80.0;

/// An artist with its colour, its primitives, and what of the paper it covers.
#[derive(Debug)]
pub(crate) struct Drawn<'a> {
    pub(crate) artist: &'a Artist,
    pub(crate) color: Color,
    pub(crate) nodes: Vec<Node>,
    /// Lines and points on paper, for the legend to keep off.
    pub(crate) parts: Vec<Vec<(f64, f64)>>,
    /// Areas on paper, for the legend to keep off.
    pub(crate) boxes: Vec<Rect>,
}

impl Drawn<'_> {
    pub(crate) fn label(&self) -> Option<&str> {
        let look = match self.artist {
            Artist::Line(line) => &line.look,
            Artist::Points(points) => &points.look,
            Artist::Fill(fill) => &fill.look,
            Artist::Bars(bars) => &bars.look,
            Artist::Arrow(arrow) => &arrow.look,
            Artist::Tangent(tangent) => &tangent.look,
            Artist::Annotation(_) | Artist::Heatmap(_) => return None,
        };
        look.label.as_deref()
    }

    /// Whether the grid goes over it: areas are below, lines are above.
    pub(crate) fn below_grid(&self) -> bool {
        matches!(self.artist, Artist::Fill(_) | Artist::Bars(_) | Artist::Heatmap(_))
    }

    /// Whether it may reach out of the frame, as words do.
    pub(crate) fn unclipped(&self) -> bool {
        matches!(self.artist, Artist::Annotation(_))
    }
}

/// The stroke of a line.
pub(crate) fn pen(line: &Line, color: Color) -> Stroke {
    let dashes = line.style.dashes(line.width);
    // As long as half a width at either end can't be told from the data, as for lines across the axes.
    let square_ends = matches!(line.course, Course::Curve { .. });
    Stroke { color, width: line.width, dashes, square_ends, sharp_corners: false }
}

/// Where data goes on paper.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) frame: Rect,
    pub(crate) x: View,
    pub(crate) y: View,
}

impl Place {
    /// The point on paper; `None` if either number has no place.
    pub(crate) fn at(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        Some((self.across(x)?, self.down(y)?))
    }

    pub(crate) fn across(&self, x: f64) -> Option<f64> {
        Some(self.frame.left + self.x.place(x)? * self.frame.width())
    }

    pub(crate) fn down(&self, y: f64) -> Option<f64> {
        Some(self.frame.bottom - self.y.place(y)? * self.frame.height())
    }

    fn points<'a>(&'a self, x: &'a [f64], y: &'a [f64]) -> impl Iterator<Item = Option<(f64, f64)>> + 'a {
        x.iter().zip(y).map(|(&x, &y)| self.at(x, y))
    }

    /// Draws all artists, handing out the colours of the cycle: one round for lines, one for what is not.
    pub(crate) fn draw<'a>(&self, artists: &'a [Artist]) -> Vec<Drawn<'a>> {
        let mut taken = [0; 2];
        let mut next = |cycle: usize| {
            taken[cycle] += 1;
            Color::cycle(taken[cycle] - 1)
        };
        let mut draw = |artist: &'a Artist| {
            let mut drawn =
                Drawn { artist, color: Color::BLACK, nodes: Vec::new(), parts: Vec::new(), boxes: Vec::new() };
            let look = match artist {
                Artist::Line(Line { look, .. }) => Some((look, look.color.unwrap_or_else(|| next(0)))),
                Artist::Points(Points { look, .. })
                | Artist::Fill(Fill { look, .. })
                | Artist::Bars(Bars { look, .. })
                | Artist::Arrow(Arrow { look, .. })
                | Artist::Tangent(Tangent { look, .. }) => Some((look, look.color.unwrap_or_else(|| next(1)))),
                Artist::Annotation(_) | Artist::Heatmap(_) => None,
            };
            if let Some((look, color)) = look {
                drawn.color = color.alpha(look.alpha.unwrap_or(1.0));
            }
            match artist {
                Artist::Line(line) => self.line(line, &mut drawn),
                Artist::Points(points) => {
                    let at: Vec<_> = self.points(&points.x, &points.y).collect();
                    self.markers(at, points.marker, points.size, &mut drawn);
                }
                Artist::Fill(fill) => self.fill(fill, &mut drawn),
                Artist::Bars(bars) => self.bars(bars, &mut drawn),
                Artist::Arrow(arrow) => {
                    if let (Some(tail), Some(tip)) =
                        (self.at(arrow.tail.0, arrow.tail.1), self.at(arrow.head.0, arrow.head.1))
                    {
                        drawn.nodes = marker::arrow(tail, tip, arrow.width, drawn.color);
                        drawn.parts.push(vec![tail, tip]);
                    }
                }
                Artist::Tangent(tangent) => self.tangent(tangent, &mut drawn),
                Artist::Annotation(annotation) => self.annotation(annotation, &mut drawn),
                Artist::Heatmap(map) => self.heatmap(map, &mut drawn),
            }
            drawn
        };
        artists.iter().map(&mut draw).collect()
    }

    fn line(&self, line: &Line, drawn: &mut Drawn<'_>) {
        let frame = self.frame;
        let points: Vec<Option<(f64, f64)>> = match &line.course {
            Course::Curve { x, y } => self.points(x, y).collect(),
            Course::Horizontal(y) => {
                let y = self.down(*y);
                [frame.left, frame.right].map(|x| Some((x, y?))).into()
            }
            Course::Vertical(x) => {
                let x = self.across(*x);
                [frame.bottom, frame.top].map(|y| Some((x?, y))).into()
            }
        };
        // Ends and corners of what is cut off lie out of sight.
        let within = frame.grown(2.0 * line.width + 2.0);
        drawn.parts = visible(points.iter().copied(), &within);
        if line.style != LineStyle::None && line.width > 0.0 && !drawn.parts.is_empty() {
            let mut segments = Vec::new();
            for part in &drawn.parts {
                segments.push(Segment::Move(part[0].0, part[0].1));
                segments.extend(part[1..].iter().map(|&(x, y)| Segment::Line(x, y)));
            }
            drawn.nodes.push(Node::Path(Path { segments, fill: None, stroke: Some(pen(line, drawn.color)) }));
        }
        if line.marker != Marker::None {
            self.markers(points, line.marker, line.marker_size, drawn);
        }
    }

    fn markers(&self, at: Vec<Option<(f64, f64)>>, marker: Marker, size: f64, drawn: &mut Drawn<'_>) {
        let seen = self.frame.grown(size);
        let at: Vec<_> = at.into_iter().flatten().filter(|&point| seen.contains(point)).collect();
        drawn.nodes.extend(at.iter().filter_map(|&point| marker::draw(marker, point, size, drawn.color)));
        drawn.parts.push(at);
    }

    fn fill(&self, fill: &Fill, drawn: &mut Drawn<'_>) {
        let frame = self.frame;
        let band = |a: Option<f64>, b: Option<f64>| Some((a?.min(b?), a?.max(b?)));
        match &fill.area {
            Area::Horizontal(low, high) => {
                if let Some((top, bottom)) = band(self.down(*low), self.down(*high)) {
                    drawn.boxes.push(Rect { top: top.max(frame.top), bottom: bottom.min(frame.bottom), ..frame });
                }
            }
            Area::Vertical(low, high) => {
                if let Some((left, right)) = band(self.across(*low), self.across(*high)) {
                    drawn.boxes.push(Rect { left: left.max(frame.left), right: right.min(frame.right), ..frame });
                }
            }
            Area::Between { x, low, high } => {
                // Far enough outside for the polygon's own shape to stay out of sight.
                let near = |(x, y): (f64, f64)| (x, y.clamp(frame.top - 1e4, frame.bottom + 1e4));
                let pairs: Vec<_> =
                    self.points(x, low).zip(self.points(x, high)).map(|(a, b)| Some((near(a?), near(b?)))).collect();
                for run in pairs.split(Option::is_none) {
                    let upper = run.iter().flatten().map(|pair| pair.0);
                    let lower = run.iter().flatten().rev().map(|pair| pair.1);
                    let outline: Vec<_> = upper.chain(lower).collect();
                    if outline.len() > 2 {
                        drawn.nodes.push(Node::Path(Path::polygon(outline.iter().copied(), drawn.color)));
                        drawn.parts.push(outline);
                    }
                }
            }
        }
        drawn.boxes.retain(|r| r.left < r.right && r.top < r.bottom);
        for &area in &drawn.boxes {
            drawn.nodes.push(Node::Path(Path::rect(area).filled(drawn.color)));
        }
    }

    fn bars(&self, bars: &Bars, drawn: &mut Drawn<'_>) {
        let frame = self.frame.grown(4.0);
        // On a logarithmic axis, bars stand on its lower end: zero has no place there.
        let foot = self.down(0.0).unwrap_or(self.frame.bottom);
        for &(left, right, height) in &bars.bars {
            if let (Some(left), Some(right), Some(top)) = (self.across(left), self.across(right), self.down(height)) {
                let area = Rect {
                    left: left.min(right).max(frame.left),
                    top: top.min(foot).max(frame.top),
                    right: left.max(right).min(frame.right),
                    bottom: top.max(foot).min(frame.bottom),
                };
                if area.left < area.right && area.top < area.bottom {
                    drawn.nodes.push(Node::Path(Path::rect(area).filled(drawn.color)));
                    drawn.boxes.push(area);
                }
            }
        }
    }

    fn tangent(&self, tangent: &Tangent, drawn: &mut Drawn<'_>) {
        let (x0, y0) = tangent.point;
        let Some(point) = self.at(x0, y0) else { return };
        let (back, tip) = match tangent.length {
            Some(dx) => (self.at(x0 - dx, y0 - tangent.slope * dx), self.at(x0 + dx, y0 + tangent.slope * dx)),
            None => self.direction(x0, y0, tangent.slope).map_or((None, None), |(ux, uy)| {
                let end = |reach: f64| Some((point.0 + ux * reach, point.1 + uy * reach));
                (end(-TANGENT_REACH), end(TANGENT_REACH))
            }),
        };
        if let Some(back) = back {
            let dashes = LineStyle::Dashed.dashes(tangent.width);
            let stroke = Stroke { dashes, ..Stroke::new(drawn.color, tangent.width) };
            drawn.nodes.push(Node::Path(Path::polyline([back, point], stroke)));
            drawn.parts.push(vec![back, point]);
        }
        if let Some(tip) = tip {
            drawn.nodes.extend(marker::arrow(point, tip, tangent.width, drawn.color));
            drawn.parts.push(vec![point, tip]);
        }
        drawn.nodes.extend(marker::draw(Marker::Circle, point, 6.0, drawn.color));
    }

    /// Where a slope leads on paper, as a vector of length 1.
    fn direction(&self, x0: f64, y0: f64, slope: f64) -> Option<(f64, f64)> {
        let curved = self.x.scale() == Scale::Log || self.y.scale() == Scale::Log;
        // On linear axes any step will do; on others, one so small that they are straight along it.
        let step = if curved { x0.abs().max(1e-300) * 1e-6 } else { self.x.span() * 0.01 };
        let (from, to) = (self.at(x0, y0)?, self.at(x0 + step, y0 + slope * step)?);
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = dx.hypot(dy);
        (length > 0.0).then(|| (dx / length, dy / length))
    }

    fn annotation(&self, note: &Annotation, drawn: &mut Drawn<'_>) {
        let Some((x, y)) = self.at(note.at.0, note.at.1) else {
            return;
        };
        // Words far away would make a picture that no viewer can show.
        if !self.frame.grown(1e4).contains((x, y)) {
            return;
        }
        let lines: Vec<&str> = note.text.split('\n').collect();
        let width = lines.iter().map(|line| font::width(line)).fold(0.0, f64::max) * note.size;
        let left = match note.anchor {
            Anchor::Start => x,
            Anchor::Middle => x - width / 2.0,
            Anchor::End => x - width,
        };
        // The last line's baseline is at the place: the words stand on it.
        let first = y - (lines.len() - 1) as f64 * font::LINE * note.size;
        let area = Rect {
            left,
            top: first - font::ASCENT * note.size,
            right: left + width,
            bottom: y + font::DESCENT * note.size,
        };
        drawn.boxes.push(area);
        if let Some(tip) = note.target.and_then(|(x, y)| self.at(x, y)) {
            drawn.nodes.extend(pointer_from(&area, tip, note.color, &self.frame));
        }
        for (i, line) in lines.iter().enumerate() {
            drawn.nodes.push(Node::Text(Text {
                x,
                y: first + i as f64 * font::LINE * note.size,
                size: note.size,
                anchor: note.anchor,
                angle: 0.0,
                color: note.color,
                content: (*line).to_owned(),
            }));
        }
    }

    fn heatmap(&self, map: &Heatmap, drawn: &mut Drawn<'_>) {
        let corner = self.at(-0.5, -0.5).zip(self.at(map.columns as f64 - 0.5, map.rows as f64 - 0.5));
        let Some((a, b)) = corner.filter(|_| !map.values.is_empty()) else {
            return;
        };
        let rect = Rect { left: a.0.min(b.0), top: a.1.min(b.1), right: a.0.max(b.0), bottom: a.1.max(b.1) };
        let mut rgba = map.rgba();
        // Axes that were turned around turn the picture with them.
        if a.1 > b.1 {
            rgba = rgba.chunks(4 * map.columns).rev().flatten().copied().collect();
        }
        if a.0 > b.0 {
            let turned = |row: &[u8]| row.chunks(4).rev().flatten().copied().collect::<Vec<_>>();
            rgba = rgba.chunks(4 * map.columns).flat_map(turned).collect();
        }
        drawn.boxes.push(rect);
        drawn.nodes.push(Node::Image(Image { rect, columns: map.columns, rows: map.rows, rgba }));
    }
}

/// An arrow from the edge of some words towards a place, a little short of both.
fn pointer_from(words: &Rect, tip: (f64, f64), color: Color, frame: &Rect) -> Vec<Node> {
    let around = words.grown(4.0);
    if around.contains(tip) || !frame.grown(1e4).contains(tip) {
        return Vec::new();
    }
    let middle = ((words.left + words.right) / 2.0, (words.top + words.bottom) / 2.0);
    let (dx, dy) = (tip.0 - middle.0, tip.1 - middle.1);
    // Where the line from the middle to the tip leaves the box around the words.
    let across = if dx == 0.0 { f64::INFINITY } else { around.width() / 2.0 / dx.abs() };
    let along = if dy == 0.0 { f64::INFINITY } else { around.height() / 2.0 / dy.abs() };
    let leave = across.min(along);
    let short = 2.0 / dx.hypot(dy);
    let tail = (middle.0 + dx * leave, middle.1 + dy * leave);
    marker::pointer(tail, (tip.0 - dx * short, tip.1 - dy * short), color)
}
