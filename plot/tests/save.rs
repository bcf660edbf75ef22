//! Files and pixels.

use std::path::PathBuf;
use std::{env, fs, process};

use plot::{Error, Figure};

/// A folder of its own for each test.
fn folder(name: &str) -> PathBuf {
    let path = env::temp_dir().join(format!("gradix-plot-{name}-{}", process::id()));
    fs::create_dir_all(&path).unwrap();
    path
}

fn line() -> Figure {
    let mut figure = Figure::new();
    figure.axes().plot_y([1, 2]);
    figure
}

#[test]
fn the_ending_chooses_the_format() {
    let folder = folder("ending");
    let figure = line();
    figure.save(folder.join("a.SVG")).unwrap();
    assert_eq!(fs::read_to_string(folder.join("a.SVG")).unwrap(), figure.to_svg());
    #[cfg(feature = "png")]
    {
        figure.save(folder.join("a.png")).unwrap();
        assert!(fs::read(folder.join("a.png")).unwrap().starts_with(b"\x89PNG\r\n\x1a\n"));
    }
    for name in ["a.jpeg", "a", ".svg", ""] {
        let error = figure.save(name).unwrap_err();
        assert!(matches!(error, Error::UnknownFormat { .. }), "{name:?}");
        assert!(error.to_string().ends_with("it should end in .svg or .png"), "{error}");
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let path = folder("missing").join("no/such/folder/a.svg");
    let error = line().save(&path).unwrap_err();
    assert!(matches!(&error, Error::Io { path: at, .. } if *at == path));
    assert!(error.to_string().starts_with(&format!("cannot write {}: ", path.display())));
    assert!(std::error::Error::source(&error).is_some());
}

#[cfg(not(feature = "png"))]
#[test]
fn without_the_feature_there_is_no_png() {
    assert!(matches!(line().to_png(), Err(Error::PngDisabled)));
}

#[cfg(feature = "png")]
mod pixels {
    use plot::Figure;
    use tiny_skia::Pixmap;

    fn render(figure: &Figure) -> Pixmap {
        Pixmap::decode_png(&figure.to_png().unwrap()).unwrap()
    }

    fn at(picture: &Pixmap, x: u32, y: u32) -> (u8, u8, u8) {
        let pixel = picture.pixel(x, y).unwrap().demultiply();
        assert_eq!(pixel.alpha(), 255, "paper is opaque");
        (pixel.red(), pixel.green(), pixel.blue())
    }

    fn count(picture: &Pixmap, color: (u8, u8, u8)) -> usize {
        let pixels = picture.pixels().iter().map(|p| p.demultiply());
        pixels.filter(|p| (p.red(), p.green(), p.blue()) == color).count()
    }

    #[test]
    fn a_picture_has_its_size_its_frame_and_its_curve() {
        let mut figure = Figure::new();
        let ax = figure.axes();
        ax.plot([0, 1], [0.5, 0.5]).color("red").width(6.0);
        ax.xlim(0..1).ylim(0..1);
        let picture = render(&figure);
        assert_eq!((picture.width(), picture.height()), (640, 480));
        // The frame is at 80 to 576 and 57.6 to 427.2 pixels, as matplotlib's is.
        assert_eq!(at(&picture, 0, 0), (255, 255, 255));
        assert_eq!(at(&picture, 80, 200), (0, 0, 0), "left side");
        assert_eq!(at(&picture, 576, 200), (0, 0, 0), "right side");
        assert_eq!(at(&picture, 300, 58), (0, 0, 0), "upper side");
        assert_eq!(at(&picture, 300, 427), (0, 0, 0), "lower side");
        assert_eq!(at(&picture, 300, 242), (255, 0, 0), "the line at half height");
        assert_eq!(at(&picture, 300, 150), (255, 255, 255), "above the line");
        assert_eq!(at(&picture, 560, 242), (255, 0, 0));
        assert_eq!(at(&picture, 590, 242), (255, 255, 255), "the line ends at the frame");
    }

    #[test]
    fn lines_without_slope_are_sharp() {
        let mut figure = Figure::new();
        figure.axes().grid_color("#00ff00").xlim(0..1).ylim(0..1);
        let picture = render(&figure);
        // Five grid lines within the frame across and five up, each one pixel of full colour wide.
        assert!(count(&picture, (0, 255, 0)) > 2 * 4 * 300, "{}", count(&picture, (0, 255, 0)));
    }

    #[test]
    fn dpi_scales_everything() {
        let figure = super::line().dpi(50.0);
        assert_eq!((render(&figure).width(), render(&figure).height()), (320, 240));
        let picture = render(&figure.size(2.0, 1.0).dpi(150.0));
        assert_eq!((picture.width(), picture.height()), (300, 150));
    }

    #[test]
    fn text_is_drawn_where_it_belongs() {
        let blank = render(&Figure::new());
        let mut figure = Figure::new();
        figure.axes().title("Title");
        let titled = render(&figure);
        let differs = |y: std::ops::Range<u32>| {
            y.flat_map(|y| (0..640).map(move |x| (x, y)))
                .filter(|&(x, y)| at(&blank, x, y) != at(&titled, x, y))
                .count()
        };
        assert!(differs(30..56) > 50);
        assert_eq!(differs(0..30) + differs(58..480), 0);
    }

    #[test]
    fn a_matrix_is_coloured_cell_by_cell() {
        let mut figure = Figure::new().size(2.0, 2.0);
        let ax = figure.axes();
        ax.imshow([0.0, 1.0, f64::NAN, 0.0], [2, 2]);
        ax.xticks([(0.0, ""); 0]).yticks([(0.0, ""); 0]);
        let picture = render(&figure);
        // The frame is 25 to 180 across and 24 to 178 down, cut to a square.
        assert_eq!(at(&picture, 60, 60), (68, 1, 84), "least");
        assert_eq!(at(&picture, 140, 60), (253, 231, 37), "greatest");
        assert_eq!(at(&picture, 60, 140), (255, 255, 255), "not a number");
        assert_eq!(at(&picture, 140, 140), (68, 1, 84));
    }

    #[test]
    fn transparent_things_let_the_paper_through() {
        let mut figure = Figure::new();
        let ax = figure.axes();
        ax.axhspan(0..1).color("red").alpha(0.5);
        ax.ylim(0..1);
        let (r, g, b) = at(&render(&figure), 300, 200);
        assert_eq!(r, 255);
        assert!((126..=129).contains(&g) && g == b, "{g} {b}");
    }

    #[test]
    fn more_pixels_than_fit_are_an_error() {
        let error = super::line().size(1000.0, 1000.0).dpi(1000.0).to_png().unwrap_err();
        assert!(error.to_string().starts_with("a PNG of 1000000 x 1000000 pixels is too large"), "{error}");
    }

    #[test]
    fn every_figure_of_any_size_is_drawn() {
        for (width, height) in [(0.1, 0.1), (0.5, 8.0), (12.0, 0.3)] {
            let mut figure = Figure::subplots(2, 3).size(width, height);
            figure.suptitle("all");
            figure.subplot(1, 2).title("t").xlabel("x").ylabel("y").grid(true);
            figure.axes().plot_func(f64::sin, 0..10).label("sin");
            figure.axes().legend();
            assert!(render(&figure).width() >= 10);
        }
    }
}
