//! The figures of the gallery. The tests compare them with the files in `tests/golden`.

use plot::{Anchor, Figure, Location, Scale};

/// All figures with their names.
pub(crate) fn all() -> Vec<(&'static str, Figure)> {
    vec![
        ("guess", guess()),
        ("tangents", tangents()),
        ("descent", descent()),
        ("words", words()),
        ("scales", scales()),
        ("markers", markers()),
        ("areas", areas()),
    ]
}

fn f(x: f64) -> f64 {
    x.powi(3) + 3.0 * x.powi(2) - 5.0 * x + 4.0
}

fn f_slope(x: f64) -> f64 {
    3.0 * x.powi(2) + 6.0 * x - 5.0
}

/// A function with a tangent that is only guessed.
fn guess() -> Figure {
    let mut figure = plot::plot_func(f, -5..3);
    let ax = figure.axes();
    ax.plot_gradient(-2.0, f(-2.0), -9.0).label("slope −9?");
    ax.title("f(x) = x³ + 3x² − 5x + 4").xlabel("x").ylabel("f(x)").legend();
    figure
}

/// Two functions with their tangents at the same x.
fn tangents() -> Figure {
    let mut figure = Figure::new();
    let ax = figure.axes();
    ax.plot_func(f, -5..3).label("f(x) = x³ + 3x² − 5x + 4");
    ax.plot_func(|x| x * x, -5..3).label("g(x) = x²");
    ax.plot_gradient(-2.0, f(-2.0), f_slope(-2.0)).label("slope of f: −5");
    ax.plot_gradient(-2.0, 4.0, -4.0).color("tab:green").label("slope of g: −4");
    ax.title("Tangents at x = −2").xlabel("x").grid(true).legend();
    figure
}

/// The way down a curve by steps against its slope.
fn descent() -> Figure {
    let steps: Vec<f64> = std::iter::successors(Some(2.5), |x| Some(x - 0.03 * f_slope(*x))).take(30).collect();
    let mut figure = plot::plot_func(f, -1..3);
    let ax = figure.axes();
    ax.plot(&steps, steps.iter().map(|&x| f(x))).format("C1o-").width(0.8).marker_size(4.0).label("steps");
    ax.annotate("minimum near x = 0.633", (0.633, f(0.633)), (0.2, 12.0)).anchor(Anchor::Start);
    ax.title("Gradient descent").xlabel("x").ylabel("f(x)").legend();
    figure
}

/// Curves, lines across, points and words.
fn words() -> Figure {
    let mut figure = Figure::new();
    let ax = figure.axes();
    ax.plot_func(f, -5..3).label("f(x) = x³ + 3x² − 5x + 4");
    ax.plot_func(|x| x * x, -5..3).color("tab:orange").label("g(x) = x²");
    ax.scatter([-2.0], [f(-2.0)]).color("tab:blue");
    ax.axhline(0.0).color("k").width(0.8);
    ax.axvline(0.0).color("k").width(0.8).style("--");
    ax.annotate("tangent", (-1.2, f(-2.0) - 4.0), (0.0, 30.0));
    ax.title("f and g").xlabel("x").ylabel("f(x)").grid(true).legend();
    figure
}

/// Factors, offsets, decades and equal units.
fn scales() -> Figure {
    let t: Vec<f64> = (0..200).map(|i| f64::from(i) * 10.0 / 199.0).collect();
    let mut figure = Figure::subplots(2, 2);
    let ax = figure.subplot(0, 0);
    ax.plot(&t, t.iter().map(|t| 1e7 * t.sin())).format("r--");
    ax.title("big");
    let ax = figure.subplot(0, 1);
    ax.plot(&t, t.iter().map(|t| 100_000.0 + 0.001 * t)).format("g:");
    ax.title("offset");
    let ax = figure.subplot(1, 0);
    ax.plot(&t, t.iter().map(|t| t.exp())).format("C4-.");
    ax.yscale(Scale::Log).xlabel("t");
    let ax = figure.subplot(1, 1);
    ax.plot(&t, t.iter().map(|t| t.cos())).color("k");
    ax.scatter(t.iter().step_by(20), t.iter().step_by(20).map(|t| t.cos())).color("k");
    ax.fill_between(&t, t.iter().map(|t| t.cos()), t.iter().map(|_| 0.0)).color("C0").alpha(0.3);
    ax.aspect_equal();
    figure
}

/// Every marker and line style.
fn markers() -> Figure {
    let mut figure = Figure::new();
    let ax = figure.axes();
    for (i, marker) in ["o", "s", "^", "v", "D", "x", "+", "*", "."].into_iter().enumerate() {
        let y = i as f64;
        let style = ["-", "--", ":", "-."][i % 4];
        ax.plot([0, 1, 2], [y, y + 0.5, y]).marker(marker).style(style).label(format!("marker {marker}"));
    }
    ax.legend_at(Location::UpperRight);
    figure
}

/// Bars, counts, bands and a matrix.
fn areas() -> Figure {
    let mut figure = Figure::subplots(2, 2).size(8.0, 6.0);
    let ax = figure.subplot(0, 0);
    ax.bar(1..=5, [3.0, 5.5, -2.0, 4.0, 1.0]);
    ax.xticks([(1.0, "one"), (2.0, "two"), (3.0, "three"), (4.0, "four"), (5.0, "five")]).title("bar");
    let ax = figure.subplot(0, 1);
    ax.hist((0..2000).map(|i| (1..7).map(|k| f64::from(i * (2 * k + 1) * 7919 % 1009)).sum::<f64>()), 24);
    ax.title("hist").ylabel("count");
    let ax = figure.subplot(1, 0);
    let wave = |i: i32| (f64::from(i % 30) / 4.0).sin() * (f64::from(i / 30) / 3.0).cos();
    ax.imshow((0..600).map(wave), [20, 30]);
    ax.title("imshow");
    let ax = figure.subplot(1, 1);
    ax.axvspan(2..4).color("tab:green").alpha(0.2).label("a band");
    ax.plot_func(|x| 1.0 / (x - 3.0), 0..6).label("1/(x − 3)");
    ax.ylim(-10..10).title("ylim").legend();
    figure.suptitle("Areas");
    figure
}
