//! Lays out one pair of axes: its frame, ticks and words.

use crate::axes::Axes;
use crate::color::Color;
use crate::draw::Place;
use crate::font;
use crate::legend;
use crate::scene::{Anchor, Node, Path, Rect, Stroke, Text};
use crate::ticks::{Ticks, linear, logarithmic};
use crate::view::{Scale, View};

// Lengths in points, as matplotlib has them.
pub(crate) const FONT_SIZE: f64 = 10.0;
pub(crate) const TITLE_SIZE: f64 = 12.0;
const TITLE_GAP: f64 = 6.0;
const LABEL_GAP: f64 = 4.0;
const NOTE_GAP: f64 = 3.0;
const FRAME_WIDTH: f64 = 0.8;
const TICK: (f64, f64) = (3.5, 0.8);
const MINOR_TICK: (f64, f64) = (2.0, 0.6);
/// From the frame to the numbers.
const TO_NUMBERS: f64 = 3.5 + 3.5;
/// The height of a line of numbers or of a label.
const LINE_HEIGHT: f64 = (font::ASCENT + font::DESCENT) * FONT_SIZE;
/// The least distance between two numbers, and between words and the edge of the paper.
const AIR: f64 = 4.0;

/// Lengths at the four sides of something.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sides {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
}

/// A pair of axes with its place on paper.
pub(crate) struct Panel<'a> {
    axes: &'a Axes,
    place: Place,
    xticks: Ticks,
    yticks: Ticks,
}

impl<'a> Panel<'a> {
    /// Puts the axes into a cell, of which they leave a part empty if their steps are to be equally long.
    pub(crate) fn new(axes: &'a Axes, cell: Rect) -> Self {
        let (x, y) = axes.views();
        let frame = if axes.equal { proportioned(cell, x.span(), y.span()) } else { cell };
        let xticks = axes.xticks.as_ref().map_or_else(|| ticks_across(&x, frame.width()), |own| chosen(own, &x));
        let yticks = axes.yticks.as_ref().map_or_else(|| ticks_down(&y, frame.height()), |own| chosen(own, &y));
        Self { axes, place: Place { frame, x, y }, xticks, yticks }
    }

    /// How much room ticks and words take around the frame.
    pub(crate) fn needs(&self) -> Sides {
        let place = &self.place;
        let mut sides = Sides { left: AIR, top: AIR, right: AIR, bottom: AIR };
        if !self.yticks.major.is_empty() {
            sides.left += TO_NUMBERS + self.widest_y();
        }
        if !self.axes.ylabel.is_empty() {
            sides.left += LABEL_GAP + height(&self.axes.ylabel);
        }
        let numbers = self.xticks.major.iter().map(|(_, label)| lines_height(label)).fold(0.0, f64::max);
        if numbers > 0.0 {
            sides.bottom += TO_NUMBERS + numbers;
        }
        if !self.axes.xlabel.is_empty() {
            sides.bottom += LABEL_GAP + height(&self.axes.xlabel);
        } else if !self.xticks.note.is_empty() {
            sides.bottom += NOTE_GAP + LINE_HEIGHT;
        }
        if !self.yticks.note.is_empty() {
            sides.top += NOTE_GAP + LINE_HEIGHT;
        }
        if !self.axes.title.is_empty() {
            let lines = self.axes.title.split('\n').count() as f64 - 1.0;
            sides.top = self.title_lift() + AIR + (font::ASCENT + lines * font::LINE) * TITLE_SIZE;
        }
        for (value, label) in &self.xticks.major {
            let half = width(label) / 2.0;
            if let Some(x) = place.across(*value) {
                sides.left = sides.left.max(place.frame.left - (x - half) + AIR);
                sides.right = sides.right.max(x + half - place.frame.right + AIR);
            }
        }
        sides
    }

    fn widest_y(&self) -> f64 {
        self.yticks.major.iter().map(|(_, label)| width(label)).fold(0.0, f64::max)
    }

    /// How far above the frame the title's last baseline is: above the y axis' note, if the two would meet.
    fn title_lift(&self) -> f64 {
        let title = self.axes.title.split('\n').map(|line| font::width(line) * TITLE_SIZE).fold(0.0, f64::max);
        let free = self.place.frame.width() / 2.0 - title / 2.0;
        let meets = !self.yticks.note.is_empty() && width(&self.yticks.note) + AIR > free;
        TITLE_GAP + if meets { LINE_HEIGHT + NOTE_GAP } else { 0.0 }
    }

    /// Everything on paper, the lowest first: areas, grid, curves, frame and ticks, words, legend.
    pub(crate) fn draw(&self) -> Vec<Node> {
        let frame = self.place.frame;
        let drawn = self.place.draw(&self.axes.artists);
        let layer = |wanted: &dyn Fn(&crate::draw::Drawn<'_>) -> bool| {
            drawn.iter().filter(|d| wanted(d)).flat_map(|d| d.nodes.iter().cloned()).collect::<Vec<_>>()
        };
        let mut nodes = vec![Node::Path(Path::rect(frame).filled(Color::WHITE))];
        let mut clipped = layer(&|d| d.below_grid());
        if let Some(color) = self.axes.grid {
            self.grid(&mut clipped, color);
        }
        clipped.extend(layer(&|d| !d.below_grid() && !d.unclipped()));
        if !clipped.is_empty() {
            nodes.push(Node::Clip(frame, clipped));
        }
        self.frame(&mut nodes);
        self.numbers(&mut nodes);
        self.words(&mut nodes);
        nodes.extend(layer(&|d| d.unclipped()));
        if let Some(location) = self.axes.legend {
            nodes.extend(legend::draw(&drawn, &frame, location));
        }
        nodes
    }

    fn grid(&self, nodes: &mut Vec<Node>, color: Color) {
        let frame = self.place.frame;
        let stroke = Stroke { square_ends: true, ..Stroke::new(color, FRAME_WIDTH) };
        let mut line = |ends: [(f64, f64); 2]| nodes.push(Node::Path(Path::polyline(ends, stroke.clone())));
        for x in self.xticks.major.iter().filter_map(|(value, _)| self.place.across(*value)) {
            line([(x, frame.bottom), (x, frame.top)]);
        }
        for y in self.yticks.major.iter().filter_map(|(value, _)| self.place.down(*value)) {
            line([(frame.left, y), (frame.right, y)]);
        }
    }

    fn frame(&self, nodes: &mut Vec<Node>) {
        let frame = self.place.frame;
        let mut tick = |from: (f64, f64), to: (f64, f64), width: f64| {
            nodes.push(Node::Path(Path::polyline([from, to], Stroke::new(Color::BLACK, width))));
        };
        let major = |ticks: &Ticks| ticks.major.iter().map(|&(value, _)| (value, TICK)).collect::<Vec<_>>();
        let minor = |ticks: &Ticks| ticks.minor.iter().map(|&value| (value, MINOR_TICK)).collect::<Vec<_>>();
        for (value, (length, width)) in major(&self.xticks).into_iter().chain(minor(&self.xticks)) {
            if let Some(x) = self.place.across(value) {
                tick((x, frame.bottom), (x, frame.bottom + length), width);
            }
        }
        for (value, (length, width)) in major(&self.yticks).into_iter().chain(minor(&self.yticks)) {
            if let Some(y) = self.place.down(value) {
                tick((frame.left - length, y), (frame.left, y), width);
            }
        }
        let stroke = Stroke { sharp_corners: true, ..Stroke::new(Color::BLACK, FRAME_WIDTH) };
        nodes.push(Node::Path(Path::rect(frame).stroked(stroke)));
    }

    fn numbers(&self, nodes: &mut Vec<Node>) {
        let frame = self.place.frame;
        let first = frame.bottom + TO_NUMBERS + font::ASCENT * FONT_SIZE;
        for (value, label) in &self.xticks.major {
            if let Some(x) = self.place.across(*value) {
                block(nodes, label, (x, first), FONT_SIZE, Anchor::Middle, 0.0);
            }
        }
        for (value, label) in &self.yticks.major {
            if let Some(y) = self.place.down(*value) {
                let first = y + font::DIGIT / 2.0 * FONT_SIZE - (lines_height(label) - LINE_HEIGHT) / 2.0;
                block(nodes, label, (frame.left - TO_NUMBERS, first), FONT_SIZE, Anchor::End, 0.0);
            }
        }
        if !self.xticks.note.is_empty() {
            let y = frame.bottom + TO_NUMBERS + LINE_HEIGHT + NOTE_GAP + font::ASCENT * FONT_SIZE;
            block(nodes, &self.xticks.note, (frame.right, y), FONT_SIZE, Anchor::End, 0.0);
        }
        if !self.yticks.note.is_empty() {
            let y = frame.top - NOTE_GAP - font::DESCENT * FONT_SIZE / 2.0;
            block(nodes, &self.yticks.note, (frame.left, y), FONT_SIZE, Anchor::Start, 0.0);
        }
    }

    fn words(&self, nodes: &mut Vec<Node>) {
        let frame = self.place.frame;
        let middle = ((frame.left + frame.right) / 2.0, (frame.top + frame.bottom) / 2.0);
        if !self.axes.title.is_empty() {
            let above = (self.axes.title.split('\n').count() - 1) as f64 * font::LINE * TITLE_SIZE;
            let at = (middle.0, frame.top - self.title_lift() - above);
            block(nodes, &self.axes.title, at, TITLE_SIZE, Anchor::Middle, 0.0);
        }
        if !self.axes.xlabel.is_empty() {
            let numbers = self.xticks.major.iter().map(|(_, label)| lines_height(label)).fold(0.0, f64::max);
            let below = if numbers > 0.0 { TO_NUMBERS + numbers } else { 0.0 };
            let y = frame.bottom + below + LABEL_GAP + font::ASCENT * FONT_SIZE;
            block(nodes, &self.axes.xlabel, (middle.0, y), FONT_SIZE, Anchor::Middle, 0.0);
        }
        if !self.axes.ylabel.is_empty() {
            let beside = if self.yticks.major.is_empty() { 0.0 } else { TO_NUMBERS + self.widest_y() };
            let lines = (self.axes.ylabel.split('\n').count() - 1) as f64 * font::LINE * FONT_SIZE;
            let x = frame.left - beside - LABEL_GAP - font::DESCENT * FONT_SIZE - lines;
            block(nodes, &self.axes.ylabel, (x, middle.1), FONT_SIZE, Anchor::Middle, 90.0);
        }
    }
}

/// Lines of text, the first with its baseline at the place; those after it below, or to the right if they are upright.
pub(crate) fn block(nodes: &mut Vec<Node>, text: &str, (x, y): (f64, f64), size: f64, anchor: Anchor, angle: f64) {
    for (i, line) in text.split('\n').enumerate() {
        let on = i as f64 * font::LINE * size;
        let (x, y) = if angle == 0.0 { (x, y + on) } else { (x + on, y) };
        let content = line.to_owned();
        if !content.is_empty() {
            nodes.push(Node::Text(Text { x, y, size, anchor, angle, color: Color::BLACK, content }));
        }
    }
}

fn width(text: &str) -> f64 {
    text.split('\n').map(|line| font::width(line) * FONT_SIZE).fold(0.0, f64::max)
}

fn lines_height(text: &str) -> f64 {
    LINE_HEIGHT + text.matches('\n').count() as f64 * font::LINE * FONT_SIZE
}

fn height(text: &str) -> f64 {
    lines_height(text)
}

/// The largest frame in the middle of the cell in which both spans have the same length a unit.
fn proportioned(cell: Rect, x: f64, y: f64) -> Rect {
    let unit = (cell.width() / x).min(cell.height() / y);
    // Spans that differ by more than paper can show keep a frame that can be seen.
    let (width, height) = ((x * unit).max(1.0), (y * unit).max(1.0));
    let (side, above) = ((cell.width() - width) / 2.0, (cell.height() - height) / 2.0);
    Rect { left: cell.left + side, top: cell.top + above, right: cell.right - side, bottom: cell.bottom - above }
}

fn automatic(view: &View, bins: usize) -> Ticks {
    let (low, high) = view.sorted();
    match view.scale() {
        Scale::Linear => linear(low, high, bins),
        Scale::Log => logarithmic(low, high, bins),
    }
}

/// As many ticks as their numbers have room side by side, nine steps at most.
fn ticks_across(view: &View, length: f64) -> Ticks {
    let most = ((length / (3.0 * FONT_SIZE)) as usize).clamp(1, 9);
    let fits = |ticks: &Ticks| {
        let place = |value: f64| view.place(value).unwrap_or(0.0) * length;
        ticks.major.windows(2).all(|pair| {
            let apart = (place(pair[1].0) - place(pair[0].0)).abs();
            apart >= (width(&pair[0].1) + width(&pair[1].1)) / 2.0 + AIR
        })
    };
    let mut ticks = automatic(view, most);
    for bins in (1..most).rev() {
        if fits(&ticks) {
            return ticks;
        }
        ticks = automatic(view, bins);
    }
    // Two ticks are the fewest there are: if even they meet, the first says enough.
    while !fits(&ticks) && ticks.major.len() > 1 {
        ticks.major.pop();
    }
    ticks
}

/// As many ticks as their numbers have room one above the other, nine steps at most.
fn ticks_down(view: &View, length: f64) -> Ticks {
    let mut ticks = automatic(view, ((length / (2.0 * FONT_SIZE)) as usize).clamp(1, 9));
    let apart = |ticks: &Ticks| {
        let place = |value: f64| view.place(value).unwrap_or(0.0) * length;
        ticks.major.windows(2).all(|pair| (place(pair[1].0) - place(pair[0].0)).abs() >= LINE_HEIGHT)
    };
    while !apart(&ticks) && ticks.major.len() > 1 {
        ticks.major.pop();
    }
    ticks
}

/// Ticks that the user chose, as far as they are seen.
fn chosen(own: &[(f64, String)], view: &View) -> Ticks {
    let seen = |&&(value, _): &&(f64, String)| view.place(value).is_some_and(|t| (-1e-9..=1.0 + 1e-9).contains(&t));
    Ticks { major: own.iter().filter(seen).cloned().collect(), ..Ticks::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(low: f64, high: f64) -> View {
        View::fixed(low, high, Scale::Linear)
    }

    #[test]
    fn numbers_never_meet() {
        for length in [1.0, 10.0, 40.0, 90.0, 357.0] {
            for (low, high) in [(0.0, 1.0), (-12345.0, 67890.0), (0.00012, 0.00019), (1e15, 1e15 + 7.0), (-1.0, 1e-3)] {
                let ticks = ticks_across(&view(low, high), length);
                let place = |value: f64| (value - low) / (high - low) * length;
                for pair in ticks.major.windows(2) {
                    let gap = place(pair[1].0) - width(&pair[1].1) / 2.0 - place(pair[0].0) - width(&pair[0].1) / 2.0;
                    assert!(gap > 0.0, "{length} {low}..{high}: {pair:?}");
                }
            }
        }
    }

    #[test]
    fn an_equal_aspect_has_equal_units() {
        let cell = Rect { left: 0.0, top: 0.0, right: 200.0, bottom: 100.0 };
        let frame = proportioned(cell, 10.0, 10.0);
        assert_eq!((frame.left, frame.top, frame.right, frame.bottom), (50.0, 0.0, 150.0, 100.0));
    }

    #[test]
    fn a_title_gives_way_to_the_factor_of_the_y_axis() {
        let cell = Rect { left: 50.0, top: 50.0, right: 250.0, bottom: 150.0 };
        let mut axes = Axes::default();
        axes.ylim(0.0..1e7).title("short");
        assert_eq!(Panel::new(&axes, cell).title_lift(), TITLE_GAP);
        axes.title("a title that is as wide as the axes");
        assert!(Panel::new(&axes, cell).title_lift() > TITLE_GAP + FONT_SIZE);
    }
}
