//! Writes a scene as SVG, with the standard library alone.
//!
//! The same scene always gives the same bytes, one element a line, so that a file can be kept and compared.

mod inline_png;

use std::fmt::Write as _;

use crate::color::Color;
use crate::font;
use crate::scene::{Anchor, Circle, Image, Node, Path, Scene, Segment, Text};

/// `DejaVu Sans` where it is installed, then its ancestor, then what is about as wide.
const FONTS: &str = "DejaVu Sans, Bitstream Vera Sans, Verdana, sans-serif";

/// The scene as the text of an SVG file.
pub(crate) fn write(scene: &Scene) -> String {
    let mut body = Writer { out: String::new(), clips: Vec::new() };
    body.nodes(&scene.nodes);
    let Writer { out: body, clips } = body;
    // Several figures may end up in one page, where ids are shared: the prefix keeps theirs apart.
    let prefix = format!("p{:08x}", fnv1a(&body));
    let (width, height) = (number(scene.width), number(scene.height));
    let mut out = String::with_capacity(body.len() + 1024);
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}pt\" height=\"{height}pt\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\" font-family=\"{FONTS}\">"
    );
    if !scene.title.is_empty() {
        let _ = writeln!(out, "<title>{}</title>", escape(&scene.title));
    }
    if !clips.is_empty() {
        out.push_str("<defs>\n");
        for (i, rect) in clips.iter().enumerate() {
            let _ = writeln!(out, "<clipPath id=\"{prefix}-{i}\">{rect}</clipPath>");
        }
        out.push_str("</defs>\n");
    }
    out.push_str(&body.replace(CLIP_MARK, &prefix));
    out.push_str("</svg>\n");
    out
}

/// Stands for the prefix of ids until the body is complete. Text can't contain it: its `<` would have been escaped.
const CLIP_MARK: &str = "<clip>";

fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

struct Writer {
    out: String,
    clips: Vec<String>,
}

impl Writer {
    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            match node {
                Node::Path(path) => self.path(path),
                Node::Circle(circle) => self.circle(circle),
                Node::Text(text) => self.text(text),
                Node::Image(image) => self.image(image),
                Node::Clip(rect, inside) => {
                    let (x, y) = (number(rect.left), number(rect.top));
                    let (width, height) = (number(rect.width()), number(rect.height()));
                    let shape = format!("<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>");
                    let known = self.clips.iter().position(|clip| *clip == shape);
                    let index = known.unwrap_or_else(|| {
                        self.clips.push(shape);
                        self.clips.len() - 1
                    });
                    let _ = writeln!(self.out, "<g clip-path=\"url(#{CLIP_MARK}-{index})\">");
                    self.nodes(inside);
                    self.out.push_str("</g>\n");
                }
            }
        }
    }

    fn path(&mut self, path: &Path) {
        self.out.push_str("<path d=\"");
        for segment in &path.segments {
            let _ = match *segment {
                Segment::Move(x, y) => write!(self.out, "M{} {}", number(x), number(y)),
                Segment::Line(x, y) => write!(self.out, "L{} {}", number(x), number(y)),
                Segment::Quad(cx, cy, x, y) => {
                    write!(self.out, "Q{} {} {} {}", number(cx), number(cy), number(x), number(y))
                }
                Segment::Close => write!(self.out, "Z"),
            };
        }
        self.out.push('"');
        match path.fill {
            Some(color) => self.paint("fill", color),
            None => self.out.push_str(" fill=\"none\""),
        }
        // Between smoothed edges of two areas that touch, the background would shine through.
        if path.stroke.is_none() && path.is_rectilinear() {
            self.out.push_str(" shape-rendering=\"crispEdges\"");
        }
        if let Some(stroke) = &path.stroke {
            self.paint("stroke", stroke.color);
            let _ = write!(self.out, " stroke-width=\"{}\"", number(stroke.width));
            if !stroke.dashes.is_empty() {
                let dashes: Vec<String> = stroke.dashes.iter().map(|&length| number(length)).collect();
                let _ = write!(self.out, " stroke-dasharray=\"{}\"", dashes.join(" "));
            } else if stroke.square_ends {
                self.out.push_str(" stroke-linecap=\"square\"");
            }
            if !stroke.sharp_corners {
                self.out.push_str(" stroke-linejoin=\"round\"");
            }
        }
        self.out.push_str("/>\n");
    }

    fn circle(&mut self, circle: &Circle) {
        let (x, y, r) = (number(circle.x), number(circle.y), number(circle.radius));
        let _ = write!(self.out, "<circle cx=\"{x}\" cy=\"{y}\" r=\"{r}\"");
        self.paint("fill", circle.fill);
        self.out.push_str("/>\n");
    }

    fn text(&mut self, text: &Text) {
        let (x, y) = (number(text.x), number(text.y));
        let _ = write!(self.out, "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\"", number(text.size));
        match text.anchor {
            Anchor::Start => {}
            Anchor::Middle => self.out.push_str(" text-anchor=\"middle\""),
            Anchor::End => self.out.push_str(" text-anchor=\"end\""),
        }
        // A viewer without the font squeezes or stretches its own to the width that the layout counted on.
        if font::covers(&text.content) && text.content.chars().count() > 1 {
            let width = number(font::width(&text.content) * text.size);
            let _ = write!(self.out, " textLength=\"{width}\" lengthAdjust=\"spacingAndGlyphs\"");
        }
        if text.angle != 0.0 {
            let _ = write!(self.out, " transform=\"rotate({} {x} {y})\"", number(-text.angle));
        }
        if text.color != Color::BLACK {
            self.paint("fill", text.color);
        }
        let _ = writeln!(self.out, ">{}</text>", escape(&text.content));
    }

    fn image(&mut self, image: &Image) {
        let (x, y) = (number(image.rect.left), number(image.rect.top));
        let (width, height) = (number(image.rect.width()), number(image.rect.height()));
        let data = inline_png::data_uri(image.columns, image.rows, &image.rgba);
        let _ = writeln!(
            self.out,
            "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"none\" \
             style=\"image-rendering:pixelated\" href=\"{data}\"/>"
        );
    }

    fn paint(&mut self, attribute: &str, color: Color) {
        let _ = write!(self.out, " {attribute}=\"#{:02x}{:02x}{:02x}\"", color.r, color.g, color.b);
        if color.a < 1.0 {
            let _ = write!(self.out, " {attribute}-opacity=\"{}\"", number(f64::from(color.a)));
        }
    }
}

/// A coordinate with at most three decimals and neither `-0` nor trailing zeros.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Text as XML takes it. What XML can't hold at all, such as most control characters, becomes U+FFFD.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{0}'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::{Rect, Stroke};

    #[test]
    fn numbers_are_short() {
        assert_eq!(number(1.0), "1");
        assert_eq!(number(-0.0001), "0");
        assert_eq!(number(1.25), "1.25");
        assert_eq!(number(100.0), "100");
        assert_eq!(number(1.0 / 3.0), "0.333");
    }

    #[test]
    fn text_cannot_break_out_of_its_element() {
        assert_eq!(escape("a<b & \"c\" > 'd'\u{0}"), "a&lt;b &amp; &quot;c&quot; &gt; &#39;d&#39;\u{fffd}");
        assert!(!escape(CLIP_MARK).contains(CLIP_MARK));
    }

    #[test]
    fn each_primitive_has_its_element() {
        let rect = Rect { left: 1.0, top: 2.0, right: 5.0, bottom: 8.0 };
        let mut stroke = Stroke::new("#102030".parse().unwrap(), 1.5);
        stroke.dashes = vec![3.0, 1.0];
        let text = Text {
            x: 1.0,
            y: 2.0,
            size: 10.0,
            anchor: Anchor::Middle,
            angle: 90.0,
            color: Color::BLACK,
            content: "a<b".into(),
        };
        let circle = Circle { x: 1.0, y: 2.0, radius: 3.0, fill: Color::BLACK.alpha(0.5) };
        let image = Image { rect, columns: 1, rows: 1, rgba: vec![1, 2, 3, 255] };
        let nodes = vec![
            Node::Path(Path::polyline([(0.0, 0.0), (1.0, 2.0)], stroke)),
            Node::Clip(rect, vec![Node::Circle(circle)]),
            Node::Clip(rect, vec![]),
            Node::Text(text),
            Node::Image(image),
        ];
        let svg = write(&Scene { width: 10.0, height: 20.0, title: "t & u".into(), nodes });
        let lines: Vec<&str> = svg.lines().collect();
        assert!(lines[0].contains("width=\"10pt\" height=\"20pt\" viewBox=\"0 0 10 20\""));
        assert_eq!(lines[1], "<title>t &amp; u</title>");
        assert!(lines[3].ends_with("<rect x=\"1\" y=\"2\" width=\"4\" height=\"6\"/></clipPath>"), "{}", lines[3]);
        assert_eq!(lines[4], "</defs>", "equal clips are written once");
        assert_eq!(
            lines[5],
            "<path d=\"M0 0L1 2\" fill=\"none\" stroke=\"#102030\" stroke-width=\"1.5\" stroke-dasharray=\"3 1\" \
             stroke-linejoin=\"round\"/>"
        );
        let id = lines[3].split('"').nth(1).unwrap();
        assert_eq!(lines[6], format!("<g clip-path=\"url(#{id})\">"));
        assert_eq!(lines[7], "<circle cx=\"1\" cy=\"2\" r=\"3\" fill=\"#000000\" fill-opacity=\"0.5\"/>");
        assert!(svg.contains("text-anchor=\"middle\" textLength=\"") && svg.contains("rotate(-90 1 2)"), "{svg}");
        assert!(svg.contains(">a&lt;b</text>") && svg.contains("href=\"data:image/png;base64,iVBORw0KGgo"));
    }
}
