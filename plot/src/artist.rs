//! The things that can stand in a pair of axes. Each is made by a method of [`Axes`](crate::Axes), which hands out a
//! `&mut` to it so that its looks can be set in the same line.

use crate::color::{Color, IntoColor};
use crate::scene::Anchor;
use crate::style::{LineStyle, Marker};

/// What all artists have in common: a colour, an opacity and a line in the legend.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Look {
    /// `None` takes the next colour of the cycle.
    pub(crate) color: Option<Color>,
    pub(crate) alpha: Option<f64>,
    pub(crate) label: Option<String>,
}

impl Look {
    fn colored(name: &str) -> Self {
        Self { color: Some(name.into_color()), ..Self::default() }
    }
}

macro_rules! look {
    ($($artist:ident)*) => {$(
        impl $artist {
            /// Sets the colour: a name such as `"tab:blue"`, `"C1"`, `"red"`, `"k"` or `"#1f77b4"`, or a
            /// [`Color`].
            ///
            /// # Panics
            /// If no colour has this name.
            #[track_caller]
            pub fn color(&mut self, color: impl IntoColor) -> &mut Self {
                self.look.color = Some(color.into_color());
                self
            }

            /// Sets the opacity, 0 (invisible) to 1.
            ///
            /// # Panics
            /// If it lies outside of 0 to 1.
            #[track_caller]
            pub fn alpha(&mut self, alpha: f64) -> &mut Self {
                assert!((0.0..=1.0).contains(&alpha), "alpha: an opacity lies between 0 and 1, not at {alpha}");
                self.look.alpha = Some(alpha);
                self
            }

            /// Sets the words for it in the legend, which [`Axes::legend`](crate::Axes::legend) turns on.
            pub fn label(&mut self, label: impl Into<String>) -> &mut Self {
                self.look.label = Some(label.into());
                self
            }
        }
    )*};
}

look!(Line Points Fill Bars Arrow Tangent);

macro_rules! line_width {
    ($($artist:ident)*) => {$(
        impl $artist {
            /// Sets the width of its lines in points (1/72 inch).
            ///
            /// # Panics
            /// If it is negative or not finite.
            #[track_caller]
            pub fn width(&mut self, points: f64) -> &mut Self {
                self.width = positive("width", points);
                self
            }
        }
    )*};
}

line_width!(Line Arrow Tangent);

#[track_caller]
fn positive(what: &str, points: f64) -> f64 {
    assert!(points >= 0.0 && points.is_finite(), "{what}: a length in points is 0 or more, not {points}");
    points
}

/// A curve through points, or a straight line across the axes.
///
/// Made by [`Axes::plot`](crate::Axes::plot), [`Axes::plot_func`](crate::Axes::plot_func),
/// [`Axes::axhline`](crate::Axes::axhline) and [`Axes::axvline`](crate::Axes::axvline).
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub(crate) course: Course,
    pub(crate) look: Look,
    pub(crate) width: f64,
    pub(crate) style: LineStyle,
    pub(crate) marker: Marker,
    pub(crate) marker_size: f64,
}

/// Where a line runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Course {
    Curve { x: Vec<f64>, y: Vec<f64> },
    Horizontal(f64),
    Vertical(f64),
}

impl Line {
    pub(crate) fn new(course: Course) -> Self {
        let look = match course {
            Course::Curve { .. } => Look::default(),
            // Lines across the axes leave the cycle's colours to the curves.
            Course::Horizontal(_) | Course::Vertical(_) => Look::colored("C0"),
        };
        Self { course, look, width: 1.5, style: LineStyle::Solid, marker: Marker::None, marker_size: 6.0 }
    }

    /// Sets the dashes: `"-"`, `"--"`, `":"`, `"-."`, `""` for none, or a [`LineStyle`].
    ///
    /// # Panics
    /// If no style has this code.
    #[track_caller]
    pub fn style(&mut self, style: impl Into<LineStyle>) -> &mut Self {
        self.style = style.into();
        self
    }

    /// Sets the sign at each point: `"o"`, `"."`, `"s"`, `"D"`, `"^"`, `"v"`, `"*"`, `"+"`, `"x"`, or a [`Marker`].
    ///
    /// # Panics
    /// If no marker has this code.
    #[track_caller]
    pub fn marker(&mut self, marker: impl Into<Marker>) -> &mut Self {
        self.marker = marker.into();
        self
    }

    /// Sets the width of the markers in points, 6 unless told.
    ///
    /// # Panics
    /// If it is negative or not finite.
    #[track_caller]
    pub fn marker_size(&mut self, points: f64) -> &mut Self {
        self.marker_size = positive("marker_size", points);
        self
    }

    /// Sets colour, marker and dashes at once by matplotlib's short form: `"r--"`, `"ko"`, `"C1s:"`, `"g^-"`.
    ///
    /// As there, a marker without dashes draws no line.
    ///
    /// # Panics
    /// If a part of it means nothing.
    #[track_caller]
    pub fn format(&mut self, format: &str) -> &mut Self {
        let mut rest = format;
        let (mut color, mut marker, mut style) = (None, None, None);
        while !rest.is_empty() {
            let taken = if let Some(code) = ["--", "-.", "-", ":"].into_iter().find(|code| rest.starts_with(code)) {
                style.replace(LineStyle::from(code)).is_none().then_some(code.len())
            } else if rest.starts_with('C') && rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
                let end = rest[1..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |end| end + 1);
                color.replace(rest[..end].into_color()).is_none().then_some(end)
            } else {
                let code = &rest[..rest.chars().next().map_or(0, char::len_utf8)];
                if "bgrcmykw".contains(code) {
                    color.replace(code.into_color()).is_none().then_some(1)
                } else if "o.sD^v*+x".contains(code) {
                    marker.replace(Marker::from(code)).is_none().then_some(1)
                } else {
                    None
                }
            };
            let Some(taken) = taken else {
                panic!("format: {rest:?} of {format:?} is no colour, marker or line style that is still free");
            };
            rest = &rest[taken..];
        }
        self.look.color = color.or(self.look.color);
        self.style = style.unwrap_or(if marker.is_some() { LineStyle::None } else { self.style });
        self.marker = marker.unwrap_or(self.marker);
        self
    }
}

/// Markers without a line. Made by [`Axes::scatter`](crate::Axes::scatter).
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    pub(crate) x: Vec<f64>,
    pub(crate) y: Vec<f64>,
    pub(crate) look: Look,
    pub(crate) marker: Marker,
    pub(crate) size: f64,
}

impl Points {
    pub(crate) fn new(x: Vec<f64>, y: Vec<f64>) -> Self {
        Self { x, y, look: Look::default(), marker: Marker::Circle, size: 6.0 }
    }

    /// Sets the sign, a disc unless told: `"o"`, `"."`, `"s"`, `"D"`, `"^"`, `"v"`, `"*"`, `"+"`, `"x"`.
    ///
    /// # Panics
    /// If no marker has this code.
    #[track_caller]
    pub fn marker(&mut self, marker: impl Into<Marker>) -> &mut Self {
        self.marker = marker.into();
        self
    }

    /// Sets the width of the markers in points, 6 unless told. (matplotlib's `s` is the square of it.)
    ///
    /// # Panics
    /// If it is negative or not finite.
    #[track_caller]
    pub fn size(&mut self, points: f64) -> &mut Self {
        self.size = positive("size", points);
        self
    }
}

/// A filled area. Made by [`Axes::fill_between`](crate::Axes::fill_between), [`Axes::axhspan`](crate::Axes::axhspan)
/// and [`Axes::axvspan`](crate::Axes::axvspan).
#[derive(Clone, Debug, PartialEq)]
pub struct Fill {
    pub(crate) area: Area,
    pub(crate) look: Look,
}

/// What a fill covers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Area {
    Between { x: Vec<f64>, low: Vec<f64>, high: Vec<f64> },
    Horizontal(f64, f64),
    Vertical(f64, f64),
}

impl Fill {
    pub(crate) fn new(area: Area) -> Self {
        Self { area, look: Look::default() }
    }
}

/// Upright bars. Made by [`Axes::bar`](crate::Axes::bar) and [`Axes::hist`](crate::Axes::hist).
#[derive(Clone, Debug, PartialEq)]
pub struct Bars {
    /// Left and right edge, and height, of each.
    pub(crate) bars: Vec<(f64, f64, f64)>,
    pub(crate) look: Look,
}

impl Bars {
    pub(crate) fn new(bars: Vec<(f64, f64, f64)>) -> Self {
        Self { bars, look: Look::default() }
    }
}

/// A straight arrow between two points. Made by [`Axes::arrow`](crate::Axes::arrow).
#[derive(Clone, Debug, PartialEq)]
pub struct Arrow {
    pub(crate) tail: (f64, f64),
    pub(crate) head: (f64, f64),
    pub(crate) look: Look,
    pub(crate) width: f64,
}

impl Arrow {
    pub(crate) fn new(tail: (f64, f64), head: (f64, f64)) -> Self {
        Self { tail, head, look: Look::colored("k"), width: 1.5 }
    }
}

/// A point of a curve with the tangent there, an arrow that shows where the slope leads.
///
/// Made by [`Axes::plot_gradient`](crate::Axes::plot_gradient).
#[derive(Clone, Debug, PartialEq)]
pub struct Tangent {
    pub(crate) point: (f64, f64),
    pub(crate) slope: f64,
    pub(crate) length: Option<f64>,
    pub(crate) look: Look,
    pub(crate) width: f64,
}

impl Tangent {
    pub(crate) fn new(point: (f64, f64), slope: f64) -> Self {
        Self { point, slope, length: None, look: Look::colored("tab:red"), width: 1.5 }
    }

    /// Sets how far in x the arrow reaches to the right of the point (and the tangent to its left).
    ///
    /// Unless told, both are as long as looks well in the picture, however steep the slope.
    ///
    /// # Panics
    /// If it is negative or not finite.
    #[track_caller]
    pub fn length(&mut self, dx: f64) -> &mut Self {
        assert!(dx >= 0.0 && dx.is_finite(), "length: a length in x is 0 or more, not {dx}");
        self.length = Some(dx);
        self
    }
}

/// Words at a place of the data, with or without an arrow to another.
///
/// Made by [`Axes::text`](crate::Axes::text) and [`Axes::annotate`](crate::Axes::annotate).
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    pub(crate) text: String,
    pub(crate) at: (f64, f64),
    pub(crate) target: Option<(f64, f64)>,
    pub(crate) color: Color,
    pub(crate) size: f64,
    pub(crate) anchor: Anchor,
}

impl Annotation {
    pub(crate) fn new(text: String, at: (f64, f64), target: Option<(f64, f64)>) -> Self {
        Self { text, at, target, color: Color::BLACK, size: 10.0, anchor: Anchor::Start }
    }

    /// Sets the colour of words and arrow, black unless told.
    ///
    /// # Panics
    /// If no colour has this name.
    #[track_caller]
    pub fn color(&mut self, color: impl IntoColor) -> &mut Self {
        self.color = color.into_color();
        self
    }

    /// Sets the font size in points, 10 unless told.
    ///
    /// # Panics
    /// If it is negative or not finite.
    #[track_caller]
    pub fn size(&mut self, points: f64) -> &mut Self {
        self.size = positive("size", points);
        self
    }

    /// Sets which part of the words stands at the place, their beginning unless told.
    pub fn anchor(&mut self, anchor: Anchor) -> &mut Self {
        self.anchor = anchor;
        self
    }
}

/// A matrix as coloured cells. Made by [`Axes::imshow`](crate::Axes::imshow).
#[derive(Clone, Debug, PartialEq)]
pub struct Heatmap {
    pub(crate) values: Vec<f64>,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) map: ColorMap,
    pub(crate) limits: Option<(f64, f64)>,
}

/// How numbers become colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorMap {
    /// From dark blue over green to yellow; as even to the colour-blind and in print as to others.
    #[default]
    Viridis,
    /// From black to white.
    Gray,
}

impl ColorMap {
    /// The colour at `t`, which is clamped to 0 (first colour) to 1 (last). NaN is invisible.
    #[must_use]
    pub fn at(self, t: f64) -> Color {
        if t.is_nan() {
            return Color::WHITE.alpha(0.0);
        }
        let t = t.clamp(0.0, 1.0);
        match self {
            Self::Gray => {
                let level = (t * 255.0).round() as u8;
                Color::rgb(level, level, level)
            }
            Self::Viridis => {
                let place = t * (VIRIDIS.len() - 1) as f64;
                let (i, part) = ((place as usize).min(VIRIDIS.len() - 2), place.fract());
                let part = if place >= (VIRIDIS.len() - 1) as f64 { 1.0 } else { part };
                let mix = |c: usize| {
                    let (a, b) = (f64::from(VIRIDIS[i][c]), f64::from(VIRIDIS[i + 1][c]));
                    (a + (b - a) * part).round() as u8
                };
                Color::rgb(mix(0), mix(1), mix(2))
            }
        }
    }
}

/// Every eighth colour of viridis (by its authors in the public domain, CC0); the ones between lie on straight lines.
const VIRIDIS: [[u8; 3]; 33] = [
    [68, 1, 84],
    [71, 13, 96],
    [72, 24, 106],
    [72, 35, 116],
    [71, 45, 123],
    [69, 55, 129],
    [66, 64, 134],
    [62, 73, 137],
    [59, 82, 139],
    [55, 91, 141],
    [51, 99, 141],
    [47, 107, 142],
    [44, 114, 142],
    [41, 122, 142],
    [38, 130, 142],
    [35, 137, 142],
    [33, 145, 140],
    [31, 152, 139],
    [31, 160, 136],
    [34, 167, 133],
    [40, 174, 128],
    [50, 182, 122],
    [63, 188, 115],
    [78, 195, 107],
    [94, 201, 98],
    [112, 207, 87],
    [132, 212, 75],
    [152, 216, 62],
    [173, 220, 48],
    [194, 223, 35],
    [216, 226, 25],
    [236, 229, 27],
    [253, 231, 37],
];

impl Heatmap {
    pub(crate) fn new(values: Vec<f64>, rows: usize, columns: usize) -> Self {
        Self { values, rows, columns, map: ColorMap::default(), limits: None }
    }

    /// Sets the colours, [`ColorMap::Viridis`] unless told.
    pub fn colors(&mut self, map: ColorMap) -> &mut Self {
        self.map = map;
        self
    }

    /// Sets the numbers that get the first and the last colour: the least and the greatest one unless told.
    pub fn limits(&mut self, limits: impl crate::Interval) -> &mut Self {
        self.limits = Some(limits.ends());
        self
    }

    /// Red, green, blue and opacity of each cell, row after row.
    pub(crate) fn rgba(&self) -> Vec<u8> {
        let finite = || self.values.iter().copied().filter(|v| v.is_finite());
        let found = || (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
        let (low, high) = self.limits.unwrap_or_else(found);
        // Halves, for the difference of two numbers may be beyond all of them.
        let half = if high == low { 0.5 } else { high / 2.0 - low / 2.0 };
        let bytes = |&value: &f64| {
            let Color { r, g, b, a } = self.map.at((value / 2.0 - low / 2.0) / half);
            [r, g, b, (a * 255.0).round() as u8]
        };
        self.values.iter().flat_map(bytes).collect()
    }
}

/// Any of them, in the order in which they were added.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Artist {
    Line(Line),
    Points(Points),
    Fill(Fill),
    Bars(Bars),
    Arrow(Arrow),
    Tangent(Tangent),
    Annotation(Annotation),
    Heatmap(Heatmap),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line::new(Course::Curve { x: vec![], y: vec![] })
    }

    #[test]
    fn the_short_form_sets_colour_marker_and_dashes() {
        let mut l = line();
        l.format("C10s-.");
        assert_eq!((l.look.color, l.marker, l.style), (Some("C0".into_color()), Marker::Square, LineStyle::DashDot));
        let mut l = line();
        l.format("ko");
        assert_eq!((l.look.color, l.marker, l.style), (Some(Color::BLACK), Marker::Circle, LineStyle::None));
        let mut l = line();
        l.format("--");
        assert_eq!((l.look.color, l.marker, l.style), (None, Marker::None, LineStyle::Dashed));
    }

    #[test]
    #[should_panic(expected = "format: \"ü-\" of \"rü-\" is no colour, marker or line style that is still free")]
    fn a_meaningless_short_form_is_refused() {
        line().format("rü-");
    }

    #[test]
    #[should_panic(expected = "format: \"b\" of \"rb\"")]
    fn two_colours_are_refused() {
        line().format("rb");
    }

    #[test]
    #[should_panic(expected = "alpha: an opacity lies between 0 and 1, not at 1.5")]
    fn an_impossible_opacity_is_refused() {
        line().alpha(1.5);
    }

    #[test]
    #[should_panic(expected = "width: a length in points is 0 or more, not NaN")]
    fn an_impossible_width_is_refused() {
        line().width(f64::NAN);
    }

    #[test]
    fn colour_maps_run_from_end_to_end() {
        assert_eq!(ColorMap::Viridis.at(-1.0), Color::rgb(68, 1, 84));
        assert_eq!(ColorMap::Viridis.at(1.0), Color::rgb(253, 231, 37));
        assert_eq!(ColorMap::Viridis.at(0.5), Color::rgb(33, 145, 140));
        assert_eq!(ColorMap::Gray.at(0.5), Color::rgb(128, 128, 128));
        assert_eq!(ColorMap::Gray.at(f64::NAN).a, 0.0);
    }

    #[test]
    fn a_heatmap_spreads_its_colours_over_its_numbers() {
        let mut map = Heatmap::new(vec![1.0, 3.0, f64::NAN, 2.0], 2, 2);
        map.colors(ColorMap::Gray);
        assert_eq!(map.rgba()[..8], [0, 0, 0, 255, 255, 255, 255, 255]);
        assert_eq!((map.rgba()[11], map.rgba()[12]), (0, 128));
        map.limits(0.0..4.0);
        assert_eq!(map.rgba()[0], 64);
    }
}
