//! A pair of axes and what stands in it.

use crate::artist::{Annotation, Area, Arrow, Artist, Bars, Course, Fill, Heatmap, Line, Points, Tangent};
use crate::color::{Color, IntoColor};
use crate::data::{Extent, Interval, Number, collect};
use crate::legend::Location;
use crate::view::{Scale, View};

/// How many straight pieces a drawn function consists of.
const PIECES: usize = 500;

/// One plot of a [`Figure`](crate::Figure): two axes, what is drawn between them, and the words around it.
///
/// The methods are matplotlib's. Those that draw hand out a `&mut` to what they drew, to set its looks; those that set
/// something hand out the axes again.
///
/// Numbers that are NaN or infinite, and on a logarithmic axis those that are not positive, are gaps.
///
/// ```
/// let mut figure = plot::Figure::new();
/// let ax = figure.axes();
/// let x = [0, 1, 2, 3];
/// ax.plot(x, [0.0, 0.5, f64::NAN, 2.0]).color("tab:orange").style("--").marker("o").label("measured");
/// ax.plot(x, x.map(|x| 0.7 * f64::from(x))).label("expected");
/// ax.title("Growth").xlabel("week").ylabel("metres").grid(true).legend();
/// assert!(figure.to_svg().contains(">measured</text>"));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axes {
    pub(crate) artists: Vec<Artist>,
    pub(crate) title: String,
    pub(crate) xlabel: String,
    pub(crate) ylabel: String,
    pub(crate) xlim: Option<(f64, f64)>,
    pub(crate) ylim: Option<(f64, f64)>,
    pub(crate) xscale: Scale,
    pub(crate) yscale: Scale,
    pub(crate) xticks: Option<Vec<(f64, String)>>,
    pub(crate) yticks: Option<Vec<(f64, String)>>,
    pub(crate) grid: Option<Color>,
    pub(crate) legend: Option<Location>,
    pub(crate) equal: bool,
}

/// Adds an artist and hands out a reference to it within its variant.
macro_rules! add {
    ($axes:expr, $variant:ident, $artist:expr) => {{
        $axes.artists.push(Artist::$variant($artist));
        match $axes.artists.last_mut() {
            Some(Artist::$variant(artist)) => artist,
            _ => unreachable!("the artist that was just added is the last one"),
        }
    }};
}

impl Axes {
    /// Draws a line through the points with these x and y.
    ///
    /// Takes slices, arrays, vectors and iterators of any primitive numbers or references to them.
    ///
    /// # Panics
    /// If there are not as many x as y.
    #[track_caller]
    pub fn plot(&mut self, x: impl IntoIterator<Item: Number>, y: impl IntoIterator<Item: Number>) -> &mut Line {
        let (x, y) = pairs("plot", x, y);
        add!(self, Line, Line::new(Course::Curve { x, y }))
    }

    /// Draws a line through numbers that have no x but their index: 0, 1, 2, …
    ///
    /// ```
    /// let losses = [0.9, 0.5, 0.3, 0.2];
    /// let mut figure = plot::Figure::new();
    /// figure.axes().plot_y(&losses).label("loss");
    /// ```
    pub fn plot_y(&mut self, y: impl IntoIterator<Item: Number>) -> &mut Line {
        let y = collect(y);
        let x = (0..y.len()).map(|i| i as f64).collect();
        add!(self, Line, Line::new(Course::Curve { x, y }))
    }

    /// Draws a function between two ends.
    ///
    /// ```
    /// let mut figure = plot::Figure::new();
    /// figure.axes().plot_func(|x| x.powi(2), -5..3).label("x²");
    /// figure.axes().plot_func(f64::sin, -5.0..=3.0).label("sin x");
    /// ```
    ///
    /// # Panics
    /// If an end is not finite.
    #[track_caller]
    pub fn plot_func(&mut self, f: impl Fn(f64) -> f64, range: impl Interval) -> &mut Line {
        let (low, high) = range.ends();
        finite("plot_func", "range", low, high);
        let x: Vec<f64> = (0..=PIECES).map(|i| i as f64 / PIECES as f64).map(|t| low * (1.0 - t) + high * t).collect();
        let y = x.iter().map(|&x| f(x)).collect();
        add!(self, Line, Line::new(Course::Curve { x, y }))
    }

    /// Draws the point (`x0`, `y0`) of a curve, the straight line through it with this slope, and on the line an arrow
    /// that starts at the point: where the curve is going, if the slope is its gradient there.
    ///
    /// Takes no part in choosing the limits of the axes, save for the point.
    ///
    /// ```
    /// let f = |x: f64| x.powi(3) + 3.0 * x.powi(2) - 5.0 * x + 4.0;
    /// let mut figure = plot::Figure::new();
    /// let ax = figure.axes();
    /// ax.plot_func(f, -5..3).label("f");
    /// ax.plot_gradient(-2.0, f(-2.0), -5.0).label("slope −5 at x = −2");
    /// ```
    ///
    /// # Panics
    /// If one of the numbers is not finite.
    #[track_caller]
    pub fn plot_gradient(&mut self, x0: impl Number, y0: impl Number, slope: impl Number) -> &mut Tangent {
        let (x0, y0, slope) = (x0.to_f64(), y0.to_f64(), slope.to_f64());
        finite("plot_gradient", "point", x0, y0);
        finite("plot_gradient", "slope", slope, slope);
        add!(self, Tangent, Tangent::new((x0, y0), slope))
    }

    /// Draws a sign at each of the points with these x and y.
    ///
    /// # Panics
    /// If there are not as many x as y.
    #[track_caller]
    pub fn scatter(&mut self, x: impl IntoIterator<Item: Number>, y: impl IntoIterator<Item: Number>) -> &mut Points {
        let (x, y) = pairs("scatter", x, y);
        add!(self, Points, Points::new(x, y))
    }

    /// Draws a horizontal line across the axes at `y`.
    ///
    /// # Panics
    /// If `y` is not finite.
    #[track_caller]
    pub fn axhline(&mut self, y: impl Number) -> &mut Line {
        finite("axhline", "line", y.to_f64(), 0.0);
        add!(self, Line, Line::new(Course::Horizontal(y.to_f64())))
    }

    /// Draws a vertical line across the axes at `x`.
    ///
    /// # Panics
    /// If `x` is not finite.
    #[track_caller]
    pub fn axvline(&mut self, x: impl Number) -> &mut Line {
        finite("axvline", "line", x.to_f64(), 0.0);
        add!(self, Line, Line::new(Course::Vertical(x.to_f64())))
    }

    /// Fills the area between two curves over the same x.
    ///
    /// A curve that stays at one height is `std::iter::repeat_n(height, n)`.
    ///
    /// ```
    /// let x = [0.0, 1.0, 2.0];
    /// let mut figure = plot::Figure::new();
    /// figure.axes().fill_between(x, [1.0, 2.0, 1.5], [0.0; 3]).alpha(0.3).label("spread");
    /// ```
    ///
    /// # Panics
    /// If there are not as many of one as of the others.
    #[track_caller]
    pub fn fill_between(
        &mut self,
        x: impl IntoIterator<Item: Number>,
        y1: impl IntoIterator<Item: Number>,
        y2: impl IntoIterator<Item: Number>,
    ) -> &mut Fill {
        let (x, low) = pairs("fill_between", x, y1);
        let high = collect(y2);
        same_length("fill_between", &x, &high);
        add!(self, Fill, Fill::new(Area::Between { x, low, high }))
    }

    /// Fills the band between two heights across the axes.
    ///
    /// # Panics
    /// If an end is not finite.
    #[track_caller]
    pub fn axhspan(&mut self, y: impl Interval) -> &mut Fill {
        let (low, high) = y.ends();
        finite("axhspan", "band", low, high);
        add!(self, Fill, Fill::new(Area::Horizontal(low, high)))
    }

    /// Fills the band between two x across the axes.
    ///
    /// # Panics
    /// If an end is not finite.
    #[track_caller]
    pub fn axvspan(&mut self, x: impl Interval) -> &mut Fill {
        let (low, high) = x.ends();
        finite("axvspan", "band", low, high);
        add!(self, Fill, Fill::new(Area::Vertical(low, high)))
    }

    /// Draws bars from zero to these heights, 0.8 wide around these x.
    ///
    /// # Panics
    /// If there are not as many x as heights.
    #[track_caller]
    pub fn bar(&mut self, x: impl IntoIterator<Item: Number>, heights: impl IntoIterator<Item: Number>) -> &mut Bars {
        let (x, heights) = pairs("bar", x, heights);
        let bars = x.into_iter().zip(heights).map(|(x, height)| (x - 0.4, x + 0.4, height)).collect();
        add!(self, Bars, Bars::new(bars))
    }

    /// Draws how many of the numbers fall into each of `bins` equally wide parts of their range.
    ///
    /// A number on the border of two parts counts to the upper one, the greatest to the last. NaN and infinities count
    /// nowhere.
    ///
    /// # Panics
    /// If `bins` is zero.
    #[track_caller]
    pub fn hist(&mut self, values: impl IntoIterator<Item: Number>, bins: usize) -> &mut Bars {
        assert!(bins > 0, "hist: needs at least one bin");
        let values: Vec<f64> = collect(values).into_iter().filter(|value| value.is_finite()).collect();
        let mut extent = Extent::EMPTY;
        values.iter().for_each(|&value| extent.add(value));
        let (low, high) = match extent {
            _ if extent.is_empty() => (0.0, 1.0),
            Extent { min, max, .. } if min == max => (min - 0.5, max + 0.5),
            Extent { min, max, .. } => (min, max),
        };
        let mut counts = vec![0u64; bins];
        for value in values {
            let place = (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0) * bins as f64;
            counts[(place as usize).min(bins - 1)] += 1;
        }
        let edge = |i: usize| {
            let t = i as f64 / bins as f64;
            low * (1.0 - t) + high * t
        };
        let bars = counts.iter().enumerate().map(|(i, &count)| (edge(i), edge(i + 1), count as f64)).collect();
        add!(self, Bars, Bars::new(bars))
    }

    /// Draws a matrix as coloured cells, its first row on top: `values` has the rows one after another.
    ///
    /// Cell (row, column) has its middle at x = column, y = row, and y grows downwards.
    ///
    /// ```
    /// let mut figure = plot::Figure::new();
    /// figure.axes().imshow([1, 2, 3, 4, 5, 6], [2, 3]);
    /// ```
    ///
    /// # Panics
    /// If there are not as many values as cells.
    #[track_caller]
    pub fn imshow(&mut self, values: impl IntoIterator<Item: Number>, shape: [usize; 2]) -> &mut Heatmap {
        let values = collect(values);
        let [rows, columns] = shape;
        assert!(
            rows.checked_mul(columns) == Some(values.len()),
            "imshow: {rows} rows of {columns} columns were said, but there are {} values",
            values.len()
        );
        self.equal = true;
        add!(self, Heatmap, Heatmap::new(values, rows, columns))
    }

    /// Draws an arrow from (`x`, `y`) to (`x + dx`, `y + dy`).
    ///
    /// # Panics
    /// If one of the numbers is not finite.
    #[track_caller]
    pub fn arrow(&mut self, x: impl Number, y: impl Number, dx: impl Number, dy: impl Number) -> &mut Arrow {
        let (tail, step) = ((x.to_f64(), y.to_f64()), (dx.to_f64(), dy.to_f64()));
        finite("arrow", "tail", tail.0, tail.1);
        finite("arrow", "step", step.0, step.1);
        add!(self, Arrow, Arrow::new(tail, (tail.0 + step.0, tail.1 + step.1)))
    }

    /// Writes words that begin at (`x`, `y`). A `\n` among them begins a new line.
    ///
    /// # Panics
    /// If one of the numbers is not finite.
    #[track_caller]
    pub fn text(&mut self, x: impl Number, y: impl Number, text: impl Into<String>) -> &mut Annotation {
        let at = (x.to_f64(), y.to_f64());
        finite("text", "place", at.0, at.1);
        add!(self, Annotation, Annotation::new(text.into(), at, None))
    }

    /// Writes words that begin at `text_at`, with an arrow from them to `target`; both are `(x, y)`.
    ///
    /// ```
    /// let mut figure = plot::Figure::new();
    /// let ax = figure.axes();
    /// ax.plot_func(|x| x * x, -2..2);
    /// ax.annotate("the minimum", (0, 0), (-0.5, 2.0));
    /// ```
    ///
    /// # Panics
    /// If one of the numbers is not finite.
    #[track_caller]
    pub fn annotate(
        &mut self,
        text: impl Into<String>,
        target: (impl Number, impl Number),
        text_at: (impl Number, impl Number),
    ) -> &mut Annotation {
        let target = (target.0.to_f64(), target.1.to_f64());
        let at = (text_at.0.to_f64(), text_at.1.to_f64());
        finite("annotate", "target", target.0, target.1);
        finite("annotate", "place of the words", at.0, at.1);
        add!(self, Annotation, Annotation::new(text.into(), at, Some(target)))
    }

    /// Sets the words above the axes. A `\n` among them begins a new line.
    pub fn title(&mut self, title: impl Into<String>) -> &mut Self {
        self.title = title.into();
        self
    }

    /// Sets the words below the x axis.
    pub fn xlabel(&mut self, label: impl Into<String>) -> &mut Self {
        self.xlabel = label.into();
        self
    }

    /// Sets the words beside the y axis.
    pub fn ylabel(&mut self, label: impl Into<String>) -> &mut Self {
        self.ylabel = label.into();
        self
    }

    /// Sets both ends of the x axis, the left one first. Unless told, all the data is seen, with 5 % to spare.
    ///
    /// # Panics
    /// If an end is not finite.
    #[track_caller]
    pub fn xlim(&mut self, ends: impl Interval) -> &mut Self {
        self.xlim = Some(ends.ends());
        finite("xlim", "range", ends_of(self.xlim).0, ends_of(self.xlim).1);
        self
    }

    /// Sets both ends of the y axis, the lower one first. Unless told, all the data is seen, with 5 % to spare.
    ///
    /// # Panics
    /// If an end is not finite.
    #[track_caller]
    pub fn ylim(&mut self, ends: impl Interval) -> &mut Self {
        self.ylim = Some(ends.ends());
        finite("ylim", "range", ends_of(self.ylim).0, ends_of(self.ylim).1);
        self
    }

    /// Divides the x axis linearly, as it is unless told, or logarithmically.
    pub fn xscale(&mut self, scale: Scale) -> &mut Self {
        self.xscale = scale;
        self
    }

    /// Divides the y axis linearly, as it is unless told, or logarithmically.
    pub fn yscale(&mut self, scale: Scale) -> &mut Self {
        self.yscale = scale;
        self
    }

    /// Sets the ticks of the x axis: the value and the words of each. None at all takes them away.
    pub fn xticks<S: Into<String>>(&mut self, ticks: impl IntoIterator<Item = (f64, S)>) -> &mut Self {
        self.xticks = Some(ticks.into_iter().map(|(value, label)| (value, label.into())).collect());
        self
    }

    /// Sets the ticks of the y axis: the value and the words of each. None at all takes them away.
    pub fn yticks<S: Into<String>>(&mut self, ticks: impl IntoIterator<Item = (f64, S)>) -> &mut Self {
        self.yticks = Some(ticks.into_iter().map(|(value, label)| (value, label.into())).collect());
        self
    }

    /// Draws lines across the axes at each tick, or none.
    pub fn grid(&mut self, on: bool) -> &mut Self {
        self.grid = on.then(|| "#b0b0b0".into_color());
        self
    }

    /// Draws lines across the axes at each tick in this colour. `Color::alpha` makes them lighter.
    ///
    /// # Panics
    /// If no colour has this name.
    #[track_caller]
    pub fn grid_color(&mut self, color: impl IntoColor) -> &mut Self {
        self.grid = Some(color.into_color());
        self
    }

    /// Names all that has a label in a box, where it hides the least.
    pub fn legend(&mut self) -> &mut Self {
        self.legend_at(Location::Best)
    }

    /// Names all that has a label in a box at this place.
    pub fn legend_at(&mut self, location: Location) -> &mut Self {
        self.legend = Some(location);
        self
    }

    /// Makes steps along x and y equally long on paper, so that a circle is round.
    pub fn aspect_equal(&mut self) -> &mut Self {
        self.equal = true;
        self
    }

    /// What part of either axis is seen.
    pub(crate) fn views(&self) -> (View, View) {
        let (mut x, mut y) = (Extent::EMPTY, Extent::EMPTY);
        // A bar stands on its axis, and an image fills its frame: no margin there.
        let (mut x_margin, mut y_margin, mut on_zero) = ((true, true), (true, true), false);
        let add = |extent: &mut Extent, values: &[f64]| values.iter().for_each(|&value| extent.add(value));
        for artist in &self.artists {
            match artist {
                Artist::Line(Line { course: Course::Curve { x: xs, y: ys }, .. })
                | Artist::Points(Points { x: xs, y: ys, .. }) => {
                    add(&mut x, xs);
                    add(&mut y, ys);
                }
                Artist::Line(Line { course: Course::Horizontal(at), .. }) => y.add(*at),
                Artist::Line(Line { course: Course::Vertical(at), .. }) => x.add(*at),
                Artist::Fill(Fill { area: Area::Between { x: xs, low, high }, .. }) => {
                    add(&mut x, xs);
                    add(&mut y, low);
                    add(&mut y, high);
                }
                Artist::Fill(Fill { area: Area::Horizontal(low, high), .. }) => add(&mut y, &[*low, *high]),
                Artist::Fill(Fill { area: Area::Vertical(low, high), .. }) => add(&mut x, &[*low, *high]),
                Artist::Bars(bars) => {
                    for &(left, right, height) in &bars.bars {
                        add(&mut x, &[left, right]);
                        add(&mut y, &[0.0, height]);
                    }
                    on_zero = true;
                }
                Artist::Arrow(arrow) => {
                    add(&mut x, &[arrow.tail.0, arrow.head.0]);
                    add(&mut y, &[arrow.tail.1, arrow.head.1]);
                }
                Artist::Tangent(tangent) => {
                    x.add(tangent.point.0);
                    y.add(tangent.point.1);
                }
                Artist::Annotation(_) => {}
                Artist::Heatmap(map) => {
                    add(&mut x, &[-0.5, map.columns as f64 - 0.5]);
                    add(&mut y, &[-0.5, map.rows as f64 - 0.5]);
                    (x_margin, y_margin) = ((false, false), (false, false));
                }
            }
        }
        if on_zero {
            y_margin = (y_margin.0 && y.min < 0.0, y_margin.1 && y.max > 0.0);
        }
        let view = |lim: Option<(f64, f64)>, extent: &Extent, margins, scale| match lim {
            Some((low, high)) => View::fixed(low, high, scale),
            None => View::auto(extent, margins, scale),
        };
        let upside_down = self.ylim.is_none() && self.artists.iter().any(|a| matches!(a, Artist::Heatmap(_)));
        let x = view(self.xlim, &x, x_margin, self.xscale);
        let y = view(self.ylim, &y, y_margin, self.yscale);
        (x, if upside_down { View::fixed(y.high, y.low, self.yscale) } else { y })
    }
}

/// The ends of limits that have just been set.
fn ends_of(limits: Option<(f64, f64)>) -> (f64, f64) {
    limits.unwrap_or((0.0, 1.0))
}

#[track_caller]
fn pairs(method: &str, x: impl IntoIterator<Item: Number>, y: impl IntoIterator<Item: Number>) -> (Vec<f64>, Vec<f64>) {
    let (x, y) = (collect(x), collect(y));
    same_length(method, &x, &y);
    (x, y)
}

#[track_caller]
fn same_length(method: &str, x: &[f64], y: &[f64]) {
    assert!(x.len() == y.len(), "{method}: each x needs one y, but there are {} x and {} y", x.len(), y.len());
}

#[track_caller]
fn finite(method: &str, what: &str, a: f64, b: f64) {
    let bad = if a.is_finite() { b } else { a };
    assert!(bad.is_finite(), "{method}: the {what} must be of finite numbers, not {bad}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "plot: each x needs one y, but there are 3 x and 2 y")]
    fn different_lengths_are_refused() {
        Axes::default().plot([1, 2, 3], [1.0, 2.0]);
    }

    #[test]
    #[should_panic(expected = "fill_between: each x needs one y, but there are 2 x and 1 y")]
    fn different_lengths_of_an_area_are_refused() {
        Axes::default().fill_between([1, 2], [1, 2], [1]);
    }

    #[test]
    #[should_panic(expected = "xlim: the range must be of finite numbers, not NaN")]
    fn limits_are_finite() {
        Axes::default().xlim((0.0, f64::NAN));
    }

    #[test]
    #[should_panic(expected = "imshow: 2 rows of 3 columns were said, but there are 5 values")]
    fn a_matrix_is_as_large_as_said() {
        Axes::default().imshow([0; 5], [2, 3]);
    }

    #[test]
    fn bars_stand_on_the_axis_and_count_right() {
        let mut axes = Axes::default();
        let bars = axes.hist([0.0, 0.1, 0.5, 1.0, f64::NAN], 2).bars.clone();
        assert_eq!(bars, [(0.0, 0.5, 2.0), (0.5, 1.0, 2.0)]);
        assert_eq!(axes.views().1.low, 0.0);
        let mut axes = Axes::default();
        assert_eq!(axes.hist(std::iter::empty::<f64>(), 1).bars, [(0.0, 1.0, 0.0)]);
        let mut axes = Axes::default();
        axes.bar([1, 2], [-1.0, 3.0]);
        assert!((axes.views().1.low + 1.2).abs() < 1e-12);
    }

    #[test]
    fn an_image_runs_down_and_fills_its_frame() {
        let mut axes = Axes::default();
        axes.imshow([1, 2, 3, 4, 5, 6], [2, 3]);
        let (x, y) = axes.views();
        assert_eq!((x.low, x.high, y.low, y.high), (-0.5, 2.5, 1.5, -0.5));
    }

    #[test]
    fn a_function_is_drawn_from_end_to_end() {
        let mut axes = Axes::default();
        let Course::Curve { x, y } = &axes.plot_func(|x| 2.0 * x, -5..3).course else { panic!("a curve") };
        assert_eq!((x[0], x[PIECES], y[0], y[PIECES]), (-5.0, 3.0, -10.0, 6.0));
    }
}
