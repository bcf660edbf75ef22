//! What figures make of data good and bad, seen in their SVG.

use plot::{Color, Figure, Location, Scale};

/// The contents of the text elements.
fn texts(svg: &str) -> Vec<&str> {
    svg.lines().filter(|line| line.starts_with("<text")).map(|line| inside(line, ">", "</text>")).collect()
}

fn inside<'a>(line: &'a str, from: &str, to: &str) -> &'a str {
    let start = line.find(from).unwrap() + from.len();
    &line[start..start + line[start..].find(to).unwrap()]
}

/// The `d` of the paths with this stroke.
fn strokes<'a>(svg: &'a str, color: &str) -> Vec<&'a str> {
    let wanted = format!("stroke=\"{color}\"");
    svg.lines().filter(|l| l.starts_with("<path") && l.contains(&wanted)).map(|l| inside(l, " d=\"", "\"")).collect()
}

/// Every tag is closed in its turn, no attribute or text holds a bare `<` or `&`, and no number is NaN or infinite.
fn assert_well_formed(svg: &str) {
    let mut open = Vec::new();
    let mut rest = svg;
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        for entity in text.split('&').skip(1) {
            let name = entity.split(';').next().unwrap();
            assert!(["lt", "gt", "amp", "quot", "#39"].contains(&name), "&{name}");
        }
        let end = rest.find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        assert!(!tag.contains('<') && tag.matches('"').count().is_multiple_of(2), "{tag}");
        assert!(!tag.contains("NaN") && !tag.contains("inf"), "{tag}");
        match (tag.strip_prefix('/'), tag.ends_with('/')) {
            (Some(name), _) => assert_eq!(open.pop(), Some(name)),
            (None, true) => {}
            (None, false) => open.push(tag.split(' ').next().unwrap()),
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
}

#[test]
fn nan_and_infinity_part_a_line() {
    let mut figure = Figure::new();
    let y = [0.0, 1.0, f64::NAN, 1.0, 0.0, f64::INFINITY, 3.0, f64::NEG_INFINITY, 2.0, 1.0];
    figure.axes().plot_y(y).color("red");
    let svg = figure.to_svg();
    assert_well_formed(&svg);
    let lines = strokes(&svg, "#ff0000");
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].matches('M').count(), 3, "{}", lines[0]);
    assert_eq!(lines[0].matches('L').count(), 3);
}

#[test]
fn whatever_the_data_is_there_is_a_picture() {
    let hard: &[&[f64]] = &[
        &[],
        &[f64::NAN],
        &[f64::INFINITY, f64::NEG_INFINITY],
        &[0.0],
        &[5.0, 5.0],
        &[-f64::MAX, f64::MAX],
        &[f64::MIN_POSITIVE, f64::MAX],
        &[5e-324, 1e-323],
        &[1.0, 1.0 + f64::EPSILON],
        &[1e16, 1e16 + 2.0],
        &[-1.0, 0.0, -0.0],
        &[1e-300, 1e300],
    ];
    for &y in hard {
        for scale in [Scale::Linear, Scale::Log] {
            let mut figure = Figure::new();
            let ax = figure.axes();
            ax.plot_y(y).marker("o").label("line");
            ax.scatter(y, y).label("points");
            ax.fill_between(y, y, y.iter().map(|_| 0.0));
            ax.bar(y, y);
            ax.hist(y, 3);
            ax.imshow(y, [1, y.len()]);
            for &value in y.iter().filter(|value| value.is_finite()) {
                ax.axhline(value);
                ax.axvspan((value, 0.0));
                ax.plot_gradient(value, value, value);
                ax.annotate("here", (value, value), (1.0, value));
                ax.arrow(value, 0.0, 1.0, value);
            }
            ax.xscale(scale).yscale(scale).grid(true).legend();
            let svg = figure.to_svg();
            assert_well_formed(&svg);
            #[cfg(feature = "png")]
            assert!(!figure.to_png().unwrap().is_empty());
        }
    }
}

#[test]
fn coordinates_stay_near_the_paper() {
    let mut figure = Figure::new();
    let ax = figure.axes();
    ax.plot([-1e300, 1e300], [-1e300, 1e300]).color("red");
    ax.xlim(0..1).ylim(0..1);
    let svg = figure.to_svg();
    let lines = strokes(&svg, "#ff0000");
    assert_eq!(lines.len(), 1, "the line passes through the axes");
    let numbers = lines[0].split(['M', 'L', ' ']).filter(|n| !n.is_empty());
    assert!(numbers.map(|n| n.parse::<f64>().unwrap()).all(|n| (-10.0..500.0).contains(&n)), "{}", lines[0]);
    assert!(svg.contains("<g clip-path=\"url(#"));
}

#[test]
fn a_million_points_make_a_small_file() {
    let mut figure = Figure::new();
    figure.axes().plot_y((0..1_000_000).map(|i: u64| (i * i) % 1013));
    assert!(figure.to_svg().len() < 500_000);
}

#[test]
fn text_is_escaped_and_unicode_stays() {
    let mut figure = Figure::new();
    let ax = figure.axes();
    ax.title("a < b & \"c\"").xlabel("</text><script>alert('x')</script>").ylabel("Größe ∂f/∂θ 日本 🦀\u{0}");
    ax.plot_y([1, 2]).label("<label>");
    ax.text(0.5, 1.5, "x > 'y'\nsecond line");
    ax.legend();
    let svg = figure.to_svg();
    assert_well_formed(&svg);
    let texts = texts(&svg);
    for wanted in [
        "a &lt; b &amp; &quot;c&quot;",
        "&lt;/text&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;",
        "Größe ∂f/∂θ 日本 🦀\u{fffd}",
        "&lt;label&gt;",
        "x &gt; &#39;y&#39;",
        "second line",
    ] {
        assert!(texts.contains(&wanted), "{wanted} is not among {texts:?}");
    }
    assert!(svg.contains("<title>a &lt; b &amp; &quot;c&quot;</title>"));
}

#[test]
fn the_same_figure_gives_the_same_bytes() {
    let draw = || {
        let mut figure = Figure::subplots(2, 1);
        figure.subplot(0, 0).plot_func(f64::sin, 0..10).label("sin");
        figure.subplot(1, 0).imshow([1, 2, 3, 4], [2, 2]);
        figure.axes().legend();
        figure
    };
    let (one, two) = (draw(), draw());
    assert_eq!(one, two);
    assert_eq!(one.to_svg(), two.to_svg());
    assert_eq!(one.to_svg(), one.to_svg());
    #[cfg(feature = "png")]
    assert_eq!(one.to_png().unwrap(), two.to_png().unwrap());
}

#[test]
fn two_figures_in_one_page_have_different_ids() {
    let id = |svg: &str| inside(svg.lines().find(|l| l.starts_with("<clipPath")).unwrap(), "id=\"", "\"").to_owned();
    let figure = |y: f64| {
        let mut figure = Figure::new();
        figure.axes().plot_y([0.0, y]).color("red");
        figure.axes().ylim(0..10);
        figure.to_svg()
    };
    assert_ne!(id(&figure(1.0)), id(&figure(2.0)));
}

#[test]
fn colours_come_in_turn() {
    let mut figure = Figure::new();
    let ax = figure.axes();
    ax.plot_y([1, 2]);
    ax.plot_y([2, 3]).color("k");
    ax.axhline(1);
    ax.plot_y([3, 4]).alpha(0.5);
    let svg = figure.to_svg();
    assert_eq!(strokes(&svg, "#1f77b4").len(), 2, "the first curve and the line across");
    assert_eq!(strokes(&svg, "#ff7f0e").len(), 1, "a curve with a colour of its own takes none from the cycle");
    assert!(svg.contains("stroke=\"#ff7f0e\" stroke-opacity=\"0.5\""));
}

#[test]
fn ticks_of_negative_numbers_have_a_true_minus() {
    let mut figure = Figure::new();
    figure.axes().plot_func(|x| x, -5..3);
    let svg = figure.to_svg();
    assert!(texts(&svg).contains(&"\u{2212}5"));
    assert!(!texts(&svg).iter().any(|text| text.starts_with('-')));
}

#[test]
fn the_legend_keeps_off_the_curves() {
    // A curve along the upper and the right side leaves the lower left corner free, and only that among the first three.
    let place = |location| {
        let mut figure = Figure::new();
        let ax = figure.axes();
        ax.plot([0.0, 1.0, 1.0], [1.0, 1.0, 0.0]).label("corner");
        ax.legend_at(location);
        let svg = figure.to_svg();
        let text = svg.lines().find(|line| line.contains(">corner<")).unwrap().to_owned();
        let number = |name: &str| inside(&text, &format!(" {name}=\""), "\"").parse::<f64>().unwrap();
        (number("x"), number("y"))
    };
    assert_eq!(place(Location::Best), place(Location::LowerLeft));
    assert_ne!(place(Location::Best), place(Location::UpperRight));
}

#[test]
fn axes_can_run_backwards() {
    let mut figure = Figure::new();
    let ax = figure.axes();
    ax.plot([0, 1], [0, 1]).color("red");
    ax.xlim((1, 0)).ylim((0, 1));
    let line = strokes(&figure.to_svg(), "#ff0000")[0].to_owned();
    // From (0, 0), now at the lower right, to (1, 1) at the upper left.
    assert_eq!(line, "M414.72 307.584L57.6 41.472");
}

#[test]
fn a_tangent_has_the_slope_it_was_told() {
    let mut figure = Figure::new();
    let ax = figure.axes();
    ax.plot_gradient(1.0, 1.0, 2.0).color(Color::rgb(1, 2, 3));
    ax.xlim(0..2).ylim(0..4);
    let svg = figure.to_svg();
    for line in strokes(&svg, "#010203").iter().filter(|d| d.matches('L').count() == 1) {
        let n: Vec<f64> = line.split(['M', 'L', ' ']).filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect();
        let (dx, dy) = ((n[2] - n[0]) / 357.12 * 2.0, -(n[3] - n[1]) / 266.112 * 4.0);
        assert!((dy / dx - 2.0).abs() < 1e-3, "{line}: {}", dy / dx);
    }
    assert_eq!(strokes(&svg, "#010203").len(), 2, "the line back and the arrow's shaft");
}
