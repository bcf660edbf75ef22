//! The shapes of markers and arrow heads.

use std::f64::consts::PI;

use crate::color::Color;
use crate::scene::{Circle, Node, Path, Stroke};
use crate::style::Marker;

/// How wide the edge of a marker is, which makes it so much larger than its size.
const EDGE: f64 = 1.0;

/// A marker `size` points wide around a point.
pub(crate) fn draw(marker: Marker, (x, y): (f64, f64), size: f64, color: Color) -> Option<Node> {
    let half = size / 2.0;
    let polygon = |points: &[(f64, f64)]| {
        let place = |&(px, py): &(f64, f64)| (x + px * half, y + py * half);
        let mut edge = Stroke::new(color, EDGE);
        // The points of a star would grow long.
        edge.sharp_corners = marker != Marker::Star;
        let path = Path::polygon(points.iter().map(place), color);
        // A half-transparent edge over a half-transparent filling would show.
        Some(Node::Path(if color.a < 1.0 { path } else { path.stroked(edge) }))
    };
    let strokes = |ends: [(f64, f64); 4]| {
        let line = |a: (f64, f64), b: (f64, f64)| {
            Path::polyline(
                [(x + a.0 * half, y + a.1 * half), (x + b.0 * half, y + b.1 * half)],
                Stroke::new(color, EDGE),
            )
        };
        let mut path = line(ends[0], ends[1]);
        path.segments.extend(line(ends[2], ends[3]).segments);
        Some(Node::Path(path))
    };
    let disc = |radius: f64| Some(Node::Circle(Circle { x, y, radius: radius + EDGE / 2.0, fill: color }));
    match marker {
        Marker::None => None,
        Marker::Circle => disc(half),
        Marker::Point => disc(half / 2.0),
        Marker::Square => polygon(&[(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]),
        Marker::Diamond => {
            let far = 2f64.sqrt();
            polygon(&[(0.0, -far), (far, 0.0), (0.0, far), (-far, 0.0)])
        }
        Marker::TriangleUp => polygon(&[(0.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]),
        Marker::TriangleDown => polygon(&[(0.0, 1.0), (1.0, -1.0), (-1.0, -1.0)]),
        Marker::Star => {
            // The inner corners of a pentagram lie at this share of its radius.
            let inner = (PI / 10.0).sin() / (3.0 * PI / 10.0).sin();
            let corner = |i: usize| {
                let (angle, radius) = (PI / 5.0 * i as f64, if i.is_multiple_of(2) { 1.0 } else { inner });
                (angle.sin() * radius, -angle.cos() * radius)
            };
            polygon(&std::array::from_fn::<_, 10, _>(corner))
        }
        Marker::Plus => strokes([(-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0)]),
        Marker::Cross => strokes([(-1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (1.0, -1.0)]),
    }
}

/// An arrow with a filled head. One too short for its head has a smaller one; one of no length is not drawn.
pub(crate) fn arrow(tail: (f64, f64), tip: (f64, f64), width: f64, color: Color) -> Vec<Node> {
    let (dx, dy) = (tip.0 - tail.0, tip.1 - tail.1);
    let length = dx.hypot(dy);
    if length == 0.0 || !length.is_finite() {
        return Vec::new();
    }
    let (ux, uy) = (dx / length, dy / length);
    let head = (4.0 + 2.5 * width).min(length);
    let half = head * 0.4;
    let neck = (tip.0 - ux * head, tip.1 - uy * head);
    let corners = [tip, (neck.0 - uy * half, neck.1 + ux * half), (neck.0 + uy * half, neck.1 - ux * half)];
    vec![Node::Path(Path::polyline([tail, neck], Stroke::new(color, width))), Node::Path(Path::polygon(corners, color))]
}

/// A thin arrow with an open head, as it points from words to what they are about.
pub(crate) fn pointer(tail: (f64, f64), tip: (f64, f64), color: Color) -> Vec<Node> {
    let (dx, dy) = (tip.0 - tail.0, tip.1 - tail.1);
    let length = dx.hypot(dy);
    if length == 0.0 || !length.is_finite() {
        return Vec::new();
    }
    let (ux, uy) = (dx / length, dy / length);
    let neck = (tip.0 - ux * 4.0, tip.1 - uy * 4.0);
    let barbs = [(neck.0 - uy * 2.0, neck.1 + ux * 2.0), tip, (neck.0 + uy * 2.0, neck.1 - ux * 2.0)];
    let stroke = Stroke::new(color, 1.0);
    vec![Node::Path(Path::polyline([tail, tip], stroke.clone())), Node::Path(Path::polyline(barbs, stroke))]
}
