//! Draws a scene into pixels and packs them as PNG.

use ab_glyph::{Font, FontRef, OutlineCurve};
use tiny_skia::{
    FillRule, FilterQuality, LineCap, LineJoin, Mask, Paint, PathBuilder, Pixmap, PixmapPaint, Shader, StrokeDash,
    Transform,
};

use crate::color::Color;
use crate::error::Error;
use crate::font;
use crate::scene::{Anchor, Circle, Image, Node, Path, Rect, Scene, Segment, Stroke, Text};

/// The most pixels that a picture may have: a gigabyte of memory.
const MAX_PIXELS: f64 = 268_435_456.0;

/// The scene as a PNG file with `dpi` pixels an inch.
pub(crate) fn write(scene: &Scene, dpi: f64) -> Result<Vec<u8>, Error> {
    let scale = dpi / 72.0;
    let (width, height) = ((scene.width * scale).round().max(1.0), (scene.height * scale).round().max(1.0));
    let too_large = || Error::TooLarge { width, height };
    if width * height > MAX_PIXELS || width.max(height) > 65_535.0 {
        return Err(too_large());
    }
    let pixmap = Pixmap::new(width as u32, height as u32).ok_or_else(too_large)?;
    let font = FontRef::try_from_slice(font::SUBSET).map_err(|error| Error::Encode(error.to_string()))?;
    let mut canvas = Canvas { pixmap, scale, font };
    canvas.nodes(&scene.nodes, None);
    canvas.pixmap.encode_png().map_err(|error| Error::Encode(error.to_string()))
}

struct Canvas {
    pixmap: Pixmap,
    /// Pixels a point.
    scale: f64,
    font: FontRef<'static>,
}

impl Canvas {
    fn nodes(&mut self, nodes: &[Node], mask: Option<&Mask>) {
        for node in nodes {
            match node {
                Node::Path(path) => self.path(path, mask),
                Node::Circle(circle) => self.circle(circle, mask),
                Node::Text(text) => self.text(text, mask),
                Node::Image(image) => self.image(image, mask),
                Node::Clip(rect, inside) => {
                    let clip = self.clip(rect, mask);
                    self.nodes(inside, clip.as_ref().or(mask));
                }
            }
        }
    }

    /// A mask that lets through what lies in the rectangle and in the mask around it.
    fn clip(&self, rect: &Rect, outer: Option<&Mask>) -> Option<Mask> {
        let edge = |value: f64| (value * self.scale).round() as f32;
        let sides = (edge(rect.left), edge(rect.top), edge(rect.right), edge(rect.bottom));
        let rect = tiny_skia::Rect::from_ltrb(sides.0, sides.1, sides.2, sides.3)?;
        let path = PathBuilder::from_rect(rect);
        match outer {
            Some(outer) => {
                let mut mask = outer.clone();
                mask.intersect_path(&path, FillRule::Winding, false, Transform::identity());
                Some(mask)
            }
            None => {
                let mut mask = Mask::new(self.pixmap.width(), self.pixmap.height())?;
                mask.fill_path(&path, FillRule::Winding, false, Transform::identity());
                Some(mask)
            }
        }
    }

    fn path(&mut self, path: &Path, mask: Option<&Mask>) {
        let snap = snapping(path, self.scale);
        let at = |value: f64| snap.map_or(value * self.scale, |half| (value * self.scale).round() + half) as f32;
        let mut builder = PathBuilder::new();
        for segment in &path.segments {
            match *segment {
                Segment::Move(x, y) => builder.move_to(at(x), at(y)),
                Segment::Line(x, y) => builder.line_to(at(x), at(y)),
                Segment::Quad(cx, cy, x, y) => builder.quad_to(at(cx), at(cy), at(x), at(y)),
                Segment::Close => builder.close(),
            }
        }
        let Some(shape) = builder.finish() else {
            return;
        };
        if let Some(color) = path.fill {
            let paint = paint(color, true);
            self.pixmap.fill_path(&shape, &paint, FillRule::Winding, Transform::identity(), mask);
        }
        if let Some(stroke) = &path.stroke {
            let pen = self.pen(stroke);
            self.pixmap.stroke_path(&shape, &paint(stroke.color, true), &pen, Transform::identity(), mask);
        }
    }

    fn pen(&self, stroke: &Stroke) -> tiny_skia::Stroke {
        let dashes: Vec<f32> = stroke.dashes.iter().map(|length| (length * self.scale) as f32).collect();
        let dash = if dashes.is_empty() { None } else { StrokeDash::new(dashes, 0.0) };
        let square = stroke.square_ends && dash.is_none();
        tiny_skia::Stroke {
            width: (stroke.width * self.scale) as f32,
            line_cap: if square { LineCap::Square } else { LineCap::Butt },
            line_join: if stroke.sharp_corners { LineJoin::Miter } else { LineJoin::Round },
            dash,
            ..tiny_skia::Stroke::default()
        }
    }

    fn circle(&mut self, circle: &Circle, mask: Option<&Mask>) {
        let at = |value: f64| (value * self.scale) as f32;
        let Some(shape) = PathBuilder::from_circle(at(circle.x), at(circle.y), at(circle.radius)) else {
            return;
        };
        self.pixmap.fill_path(&shape, &paint(circle.fill, true), FillRule::Winding, Transform::identity(), mask);
    }

    fn image(&mut self, image: &Image, mask: Option<&Mask>) {
        let Some(mut raster) = Pixmap::new(image.columns as u32, image.rows as u32) else {
            return;
        };
        for (pixel, rgba) in raster.pixels_mut().iter_mut().zip(image.rgba.chunks_exact(4)) {
            *pixel = tiny_skia::ColorU8::from_rgba(rgba[0], rgba[1], rgba[2], rgba[3]).premultiply();
        }
        let edge = |value: f64| (value * self.scale).round() as f32;
        let (left, top) = (edge(image.rect.left), edge(image.rect.top));
        let sx = (edge(image.rect.right) - left) / image.columns as f32;
        let sy = (edge(image.rect.bottom) - top) / image.rows as f32;
        let paint = PixmapPaint { quality: FilterQuality::Nearest, ..PixmapPaint::default() };
        self.pixmap.draw_pixmap(0, 0, raster.as_ref(), &paint, Transform::from_row(sx, 0.0, 0.0, sy, left, top), mask);
    }

    fn text(&mut self, text: &Text, mask: Option<&Mask>) {
        let em = text.size * self.scale;
        let units = f64::from(self.font.units_per_em().unwrap_or(2048.0));
        let before = match text.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => 0.5,
            Anchor::End => 1.0,
        };
        let mut pen = -before * font::width(&text.content) * em;
        let mut builder = PathBuilder::new();
        for c in text.content.chars() {
            let glyph = self.font.glyph_id(c);
            if let Some(outline) = self.font.outline(glyph) {
                trace(&mut builder, &outline.curves, pen as f32, (em / units) as f32);
            }
            pen += f64::from(self.font.h_advance_unscaled(glyph)) / units * em;
        }
        let Some(shape) = builder.finish() else {
            return;
        };
        let (mut x, mut y) = ((text.x * self.scale) as f32, (text.y * self.scale) as f32);
        // A baseline between two rows of pixels would blur the feet of all letters.
        if text.angle == 0.0 {
            y = y.round();
        } else if text.angle.abs() == 90.0 {
            x = x.round();
        }
        let place = Transform::from_rotate(-text.angle as f32).post_translate(x, y);
        self.pixmap.fill_path(&shape, &paint(text.color, true), FillRule::Winding, place, mask);
    }
}

/// Appends a glyph's outline, which comes as single curves in font units with y upwards.
fn trace(builder: &mut PathBuilder, curves: &[OutlineCurve], x: f32, scale: f32) {
    let at = |p: ab_glyph::Point| (x + p.x * scale, -p.y * scale);
    let mut here = None;
    for curve in curves {
        let (&OutlineCurve::Line(from, to) | &OutlineCurve::Quad(from, _, to) | &OutlineCurve::Cubic(from, _, _, to)) =
            curve;
        if here != Some(from) {
            if here.is_some() {
                builder.close();
            }
            let (x, y) = at(from);
            builder.move_to(x, y);
        }
        let (x, y) = at(to);
        match *curve {
            OutlineCurve::Line(..) => builder.line_to(x, y),
            OutlineCurve::Quad(_, c, _) => {
                let (cx, cy) = at(c);
                builder.quad_to(cx, cy, x, y);
            }
            OutlineCurve::Cubic(_, c, d, _) => {
                let ((cx, cy), (dx, dy)) = (at(c), at(d));
                builder.cubic_to(cx, cy, dx, dy, x, y);
            }
        }
        here = Some(to);
    }
    if here.is_some() {
        builder.close();
    }
}

fn paint(color: Color, anti_alias: bool) -> Paint<'static> {
    let opacity = (color.a * 255.0).round() as u8;
    let color = tiny_skia::Color::from_rgba8(color.r, color.g, color.b, opacity);
    Paint { shader: Shader::SolidColor(color), anti_alias, ..Paint::default() }
}

/// For a path of only horizontal and vertical lines: what to add to whole pixels so that its strokes cover whole pixels
/// and come out sharp. `None` for every other path, whose points stay where they are.
fn snapping(path: &Path, scale: f64) -> Option<f64> {
    if path.segments.len() > 16 || !path.is_rectilinear() {
        return None;
    }
    let width = path.stroke.as_ref().map_or(0.0, |stroke| (stroke.width * scale).round());
    Some(if width % 2.0 == 1.0 { 0.5 } else { 0.0 })
}
