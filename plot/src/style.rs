//! How a curve is drawn: dashes and markers.

/// What the stroke of a line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineStyle {
    /// `"-"`: without gaps.
    #[default]
    Solid,
    /// `"--"`: dashes.
    Dashed,
    /// `":"`: dots.
    Dotted,
    /// `"-."`: dashes and dots in turn.
    DashDot,
    /// `""` or `"none"`: no line, only its markers.
    None,
}

impl LineStyle {
    /// The lengths of strokes and gaps for a line `width` points wide, in points; empty for one without gaps.
    pub(crate) fn dashes(self, width: f64) -> Vec<f64> {
        let pattern: &[f64] = match self {
            Self::Solid | Self::None => &[],
            Self::Dashed => &[3.7, 1.6],
            Self::Dotted => &[1.0, 1.65],
            Self::DashDot => &[6.4, 1.6, 1.0, 1.6],
        };
        pattern.iter().map(|length| length * width).collect()
    }

    fn of(code: &str) -> Option<Self> {
        Some(match code {
            "-" | "solid" => Self::Solid,
            "--" | "dashed" => Self::Dashed,
            ":" | "dotted" => Self::Dotted,
            "-." | "dashdot" => Self::DashDot,
            "" | " " | "none" | "None" => Self::None,
            _ => return None,
        })
    }
}

impl From<&str> for LineStyle {
    /// # Panics
    /// If no style has this code.
    #[track_caller]
    fn from(code: &str) -> Self {
        let found = Self::of(code);
        found.unwrap_or_else(|| {
            panic!("no line style is called {code:?}; there are \"-\", \"--\", \":\", \"-.\" and \"\"")
        })
    }
}

/// The sign drawn at each point of a curve or scatter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Marker {
    /// `""` or `"none"`: nothing.
    #[default]
    None,
    /// `"o"`: a disc.
    Circle,
    /// `"."`: a disc of half the size.
    Point,
    /// `"s"`: a square.
    Square,
    /// `"D"`: a square on its corner.
    Diamond,
    /// `"^"`: a triangle that points up.
    TriangleUp,
    /// `"v"`: a triangle that points down.
    TriangleDown,
    /// `"*"`: a star with five points.
    Star,
    /// `"+"`: a plus sign of two strokes.
    Plus,
    /// `"x"`: a cross of two strokes.
    Cross,
}

impl Marker {
    fn of(code: &str) -> Option<Self> {
        Some(match code {
            "" | " " | "none" | "None" => Self::None,
            "o" => Self::Circle,
            "." => Self::Point,
            "s" => Self::Square,
            "D" => Self::Diamond,
            "^" => Self::TriangleUp,
            "v" => Self::TriangleDown,
            "*" => Self::Star,
            "+" => Self::Plus,
            "x" => Self::Cross,
            _ => return None,
        })
    }
}

impl From<&str> for Marker {
    /// # Panics
    /// If no marker has this code.
    #[track_caller]
    fn from(code: &str) -> Self {
        let found = Self::of(code);
        found.unwrap_or_else(|| panic!("no marker is called {code:?}; there are o . s D ^ v * + x and \"\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_matplotlibs() {
        assert_eq!(LineStyle::from("-."), LineStyle::DashDot);
        assert_eq!(LineStyle::from(""), LineStyle::None);
        assert_eq!(Marker::from("D"), Marker::Diamond);
        assert_eq!(LineStyle::Dashed.dashes(2.0), [7.4, 3.2]);
        assert!(LineStyle::Solid.dashes(2.0).is_empty());
    }

    #[test]
    #[should_panic(expected = "no line style is called \"---\"; there are \"-\", \"--\", \":\", \"-.\" and \"\"")]
    fn an_unknown_style_is_refused() {
        let _ = LineStyle::from("---");
    }

    #[test]
    #[should_panic(expected = "no marker is called \"q\"")]
    fn an_unknown_marker_is_refused() {
        let _ = Marker::from("q");
    }
}
