//! Colours, by the names that matplotlib and CSS give them.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// A colour with an opacity.
///
/// Every place that takes a colour takes a name too, see [`IntoColor`].
///
/// ```
/// use plot::Color;
///
/// assert_eq!("tab:blue".parse::<Color>()?, Color::rgb(0x1f, 0x77, 0xb4));
/// assert_eq!("C1".parse::<Color>()?, "tab:orange".parse()?);
/// assert_eq!("#f00".parse::<Color>()?, "red".parse()?);
/// assert_eq!("0.5".parse::<Color>()?, Color::rgb(128, 128, 128));
/// assert!("tab:bleu".parse::<Color>().is_err());
/// # Ok::<(), plot::ParseColorError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Color {
    /// Red, 0 to 255.
    pub r: u8,
    /// Green, 0 to 255.
    pub g: u8,
    /// Blue, 0 to 255.
    pub b: u8,
    /// Opacity, 0 (invisible) to 1 (opaque).
    pub a: f32,
}

impl Color {
    /// Black.
    pub const BLACK: Self = Self::rgb(0, 0, 0);
    /// White.
    pub const WHITE: Self = Self::rgb(255, 255, 255);

    /// An opaque colour.
    #[must_use]
    pub const fn rgb(r: u8, g: u8, b: u8) -> Self {
        Self { r, g, b, a: 1.0 }
    }

    const fn hex(code: u32) -> Self {
        let [_, r, g, b] = code.to_be_bytes();
        Self::rgb(r, g, b)
    }

    /// The same colour with its opacity multiplied by `alpha`, which is clamped to 0 to 1.
    #[must_use]
    pub fn alpha(self, alpha: f64) -> Self {
        Self { a: self.a * alpha.clamp(0.0, 1.0) as f32, ..self }
    }

    /// The `index`-th colour of the cycle that curves without a colour of their own take: blue, orange, green, red,
    /// purple, brown, pink, grey, olive, cyan, and around again.
    #[must_use]
    pub fn cycle(index: usize) -> Self {
        Self::hex(TABLEAU[index % TABLEAU.len()].1)
    }
}

/// What can be given as a colour: a [`Color`], an `(r, g, b)` triple of bytes, or a name.
///
/// Names are those of matplotlib: `"tab:blue"` and its nine sisters, `"C0"`, `"C1"`, … of the cycle, the single letters
/// `b g r c m y k w`, the 148 names of CSS (`"rebeccapurple"`), hex (`"#1f77b4"`, `"#17b"`, with a fourth part for
/// opacity), and a grey level between `"0"` (black) and `"1"` (white).
pub trait IntoColor {
    /// The colour.
    ///
    /// # Panics
    /// If it is a name that no colour has. `name.parse::<Color>()` gives a `Result` instead.
    fn into_color(self) -> Color;
}

impl IntoColor for Color {
    fn into_color(self) -> Color {
        self
    }
}

impl IntoColor for (u8, u8, u8) {
    fn into_color(self) -> Color {
        Color::rgb(self.0, self.1, self.2)
    }
}

impl IntoColor for &str {
    #[track_caller]
    fn into_color(self) -> Color {
        match self.parse() {
            Ok(color) => color,
            Err(error) => panic!("{error}"),
        }
    }
}

impl IntoColor for String {
    #[track_caller]
    fn into_color(self) -> Color {
        self.as_str().into_color()
    }
}

impl IntoColor for &String {
    #[track_caller]
    fn into_color(self) -> Color {
        self.as_str().into_color()
    }
}

/// The text that was to name a colour names none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseColorError {
    name: String,
}

impl fmt::Display for ParseColorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no colour is called {:?}; ", self.name)?;
        match nearest(&self.name) {
            Some(near) => write!(f, "is {near:?} meant?"),
            None => {
                f.write_str("names are like \"tab:blue\", \"C0\", \"red\", \"k\", \"#1f77b4\" or \"0.5\" for a grey")
            }
        }
    }
}

impl Error for ParseColorError {}

impl FromStr for Color {
    type Err = ParseColorError;

    fn from_str(text: &str) -> Result<Self, ParseColorError> {
        let name = text.trim().to_ascii_lowercase();
        let table = |table: &[(&str, u32)]| table.iter().find(|(n, _)| *n == name).map(|&(_, code)| Self::hex(code));
        let cycle = || name.strip_prefix('c').and_then(digits).map(Self::cycle);
        let hex = || name.strip_prefix('#').and_then(parse_hex);
        // Only digits and a point, or "inf" and "nan" would be greys.
        let grey = || {
            let level: f64 = name.parse().ok().filter(|_| name.bytes().all(|b| b.is_ascii_digit() || b == b'.'))?;
            let byte = (level * 255.0).round() as u8;
            (level <= 1.0).then_some(Self::rgb(byte, byte, byte))
        };
        table(&LETTERS)
            .or_else(cycle)
            .or_else(|| table(&TABLEAU))
            .or_else(|| table(CSS))
            .or_else(hex)
            .or_else(grey)
            .ok_or_else(|| ParseColorError { name: text.to_owned() })
    }
}

fn digits(text: &str) -> Option<usize> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) { None } else { text.parse().ok() }
}

/// `rgb`, `rgba`, `rrggbb` or `rrggbbaa`.
fn parse_hex(text: &str) -> Option<Color> {
    let nibbles: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = match nibbles.len() {
        3 | 4 => nibbles.iter().map(|n| n * 17).collect(),
        6 | 8 => nibbles.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect(),
        _ => return None,
    };
    let a = bytes.get(3).map_or(1.0, |&a| f32::from(a) / 255.0);
    Some(Color { r: bytes[0], g: bytes[1], b: bytes[2], a })
}

/// The known name that is the fewest edits away, if that is at most two.
fn nearest(name: &str) -> Option<&'static str> {
    let name: Vec<char> = name.trim().to_ascii_lowercase().chars().collect();
    if name.len() < 3 || name.len() > 32 {
        return None;
    }
    let known = TABLEAU.iter().chain(CSS).map(|&(known, _)| known);
    known.map(|known| (edits(&name, known), known)).filter(|&(d, _)| d <= 2).min_by_key(|&(d, _)| d).map(|(_, n)| n)
}

/// Levenshtein's distance.
fn edits(a: &[char], b: &str) -> usize {
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (i, cb) in b.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &ca) in a.iter().enumerate() {
            let best = (diagonal + usize::from(ca != cb)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], best);
        }
    }
    row[a.len()]
}

/// The palette "Tableau 10", in the order of the cycle.
const TABLEAU: [(&str, u32); 10] = [
    ("tab:blue", 0x1f77b4),
    ("tab:orange", 0xff7f0e),
    ("tab:green", 0x2ca02c),
    ("tab:red", 0xd62728),
    ("tab:purple", 0x9467bd),
    ("tab:brown", 0x8c564b),
    ("tab:pink", 0xe377c2),
    ("tab:gray", 0x7f7f7f),
    ("tab:olive", 0xbcbd22),
    ("tab:cyan", 0x17becf),
];

const LETTERS: [(&str, u32); 9] = [
    ("b", 0x0000ff),
    ("g", 0x008000),
    ("r", 0xff0000),
    ("c", 0x00bfbf),
    ("m", 0xbf00bf),
    ("y", 0xbfbf00),
    ("k", 0x000000),
    ("w", 0xffffff),
    ("tab:grey", 0x7f7f7f),
];

/// The named colours of CSS, level 4.
const CSS: &[(&str, u32)] = &[
    ("aliceblue", 0xf0f8ff),
    ("antiquewhite", 0xfaebd7),
    ("aqua", 0x00ffff),
    ("aquamarine", 0x7fffd4),
    ("azure", 0xf0ffff),
    ("beige", 0xf5f5dc),
    ("bisque", 0xffe4c4),
    ("black", 0x000000),
    ("blanchedalmond", 0xffebcd),
    ("blue", 0x0000ff),
    ("blueviolet", 0x8a2be2),
    ("brown", 0xa52a2a),
    ("burlywood", 0xdeb887),
    ("cadetblue", 0x5f9ea0),
    ("chartreuse", 0x7fff00),
    ("chocolate", 0xd2691e),
    ("coral", 0xff7f50),
    ("cornflowerblue", 0x6495ed),
    ("cornsilk", 0xfff8dc),
    ("crimson", 0xdc143c),
    ("cyan", 0x00ffff),
    ("darkblue", 0x00008b),
    ("darkcyan", 0x008b8b),
    ("darkgoldenrod", 0xb8860b),
    ("darkgray", 0xa9a9a9),
    ("darkgreen", 0x006400),
    ("darkgrey", 0xa9a9a9),
    ("darkkhaki", 0xbdb76b),
    ("darkmagenta", 0x8b008b),
    ("darkolivegreen", 0x556b2f),
    ("darkorange", 0xff8c00),
    ("darkorchid", 0x9932cc),
    ("darkred", 0x8b0000),
    ("darksalmon", 0xe9967a),
    ("darkseagreen", 0x8fbc8f),
    ("darkslateblue", 0x483d8b),
    ("darkslategray", 0x2f4f4f),
    ("darkslategrey", 0x2f4f4f),
    ("darkturquoise", 0x00ced1),
    ("darkviolet", 0x9400d3),
    ("deeppink", 0xff1493),
    ("deepskyblue", 0x00bfff),
    ("dimgray", 0x696969),
    ("dimgrey", 0x696969),
    ("dodgerblue", 0x1e90ff),
    ("firebrick", 0xb22222),
    ("floralwhite", 0xfffaf0),
    ("forestgreen", 0x228b22),
    ("fuchsia", 0xff00ff),
    ("gainsboro", 0xdcdcdc),
    ("ghostwhite", 0xf8f8ff),
    ("gold", 0xffd700),
    ("goldenrod", 0xdaa520),
    ("gray", 0x808080),
    ("green", 0x008000),
    ("greenyellow", 0xadff2f),
    ("grey", 0x808080),
    ("honeydew", 0xf0fff0),
    ("hotpink", 0xff69b4),
    ("indianred", 0xcd5c5c),
    ("indigo", 0x4b0082),
    ("ivory", 0xfffff0),
    ("khaki", 0xf0e68c),
    ("lavender", 0xe6e6fa),
    ("lavenderblush", 0xfff0f5),
    ("lawngreen", 0x7cfc00),
    ("lemonchiffon", 0xfffacd),
    ("lightblue", 0xadd8e6),
    ("lightcoral", 0xf08080),
    ("lightcyan", 0xe0ffff),
    ("lightgoldenrodyellow", 0xfafad2),
    ("lightgray", 0xd3d3d3),
    ("lightgreen", 0x90ee90),
    ("lightgrey", 0xd3d3d3),
    ("lightpink", 0xffb6c1),
    ("lightsalmon", 0xffa07a),
    ("lightseagreen", 0x20b2aa),
    ("lightskyblue", 0x87cefa),
    ("lightslategray", 0x778899),
    ("lightslategrey", 0x778899),
    ("lightsteelblue", 0xb0c4de),
    ("lightyellow", 0xffffe0),
    ("lime", 0x00ff00),
    ("limegreen", 0x32cd32),
    ("linen", 0xfaf0e6),
    ("magenta", 0xff00ff),
    ("maroon", 0x800000),
    ("mediumaquamarine", 0x66cdaa),
    ("mediumblue", 0x0000cd),
    ("mediumorchid", 0xba55d3),
    ("mediumpurple", 0x9370db),
    ("mediumseagreen", 0x3cb371),
    ("mediumslateblue", 0x7b68ee),
    ("mediumspringgreen", 0x00fa9a),
    ("mediumturquoise", 0x48d1cc),
    ("mediumvioletred", 0xc71585),
    ("midnightblue", 0x191970),
    ("mintcream", 0xf5fffa),
    ("mistyrose", 0xffe4e1),
    ("moccasin", 0xffe4b5),
    ("navajowhite", 0xffdead),
    ("navy", 0x000080),
    ("oldlace", 0xfdf5e6),
    ("olive", 0x808000),
    ("olivedrab", 0x6b8e23),
    ("orange", 0xffa500),
    ("orangered", 0xff4500),
    ("orchid", 0xda70d6),
    ("palegoldenrod", 0xeee8aa),
    ("palegreen", 0x98fb98),
    ("paleturquoise", 0xafeeee),
    ("palevioletred", 0xdb7093),
    ("papayawhip", 0xffefd5),
    ("peachpuff", 0xffdab9),
    ("peru", 0xcd853f),
    ("pink", 0xffc0cb),
    ("plum", 0xdda0dd),
    ("powderblue", 0xb0e0e6),
    ("purple", 0x800080),
    ("rebeccapurple", 0x663399),
    ("red", 0xff0000),
    ("rosybrown", 0xbc8f8f),
    ("royalblue", 0x4169e1),
    ("saddlebrown", 0x8b4513),
    ("salmon", 0xfa8072),
    ("sandybrown", 0xf4a460),
    ("seagreen", 0x2e8b57),
    ("seashell", 0xfff5ee),
    ("sienna", 0xa0522d),
    ("silver", 0xc0c0c0),
    ("skyblue", 0x87ceeb),
    ("slateblue", 0x6a5acd),
    ("slategray", 0x708090),
    ("slategrey", 0x708090),
    ("snow", 0xfffafa),
    ("springgreen", 0x00ff7f),
    ("steelblue", 0x4682b4),
    ("tan", 0xd2b48c),
    ("teal", 0x008080),
    ("thistle", 0xd8bfd8),
    ("tomato", 0xff6347),
    ("turquoise", 0x40e0d0),
    ("violet", 0xee82ee),
    ("wheat", 0xf5deb3),
    ("white", 0xffffff),
    ("whitesmoke", 0xf5f5f5),
    ("yellow", 0xffff00),
    ("yellowgreen", 0x9acd32),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_letters_cycle_hex_and_greys() {
        let of = |name: &str| name.parse::<Color>().unwrap();
        assert_eq!(of("k"), Color::BLACK);
        assert_eq!(of("White"), Color::WHITE);
        assert_eq!(of("C3"), of("tab:red"));
        assert_eq!(of("c13"), of("tab:red"));
        assert_eq!(of("c"), Color::rgb(0, 0xbf, 0xbf));
        assert_eq!(of("tab:grey"), of("tab:gray"));
        assert_eq!(of("#17b"), Color::rgb(0x11, 0x77, 0xbb));
        assert_eq!(of("#1f77b480"), Color { r: 0x1f, g: 0x77, b: 0xb4, a: 128.0 / 255.0 });
        assert_eq!(of("1"), Color::WHITE);
        assert_eq!(of("0.25"), Color::rgb(64, 64, 64));
        assert_eq!(CSS.len(), 148);
    }

    #[test]
    fn what_names_no_colour_is_an_error_with_a_hint() {
        for bad in ["", "#12", "#12345g", "#éé", "1.5", "-0.5", "inf", "nan", "C-1", "C99999999999999999999999"] {
            assert!(bad.parse::<Color>().is_err(), "{bad:?}");
        }
        let text = "tab:bleu".parse::<Color>().unwrap_err().to_string();
        assert_eq!(text, "no colour is called \"tab:bleu\"; is \"tab:blue\" meant?");
        assert!("zzzzzzzzz".parse::<Color>().unwrap_err().to_string().contains("names are like"));
    }

    #[test]
    #[should_panic(expected = "is \"red\" meant?")]
    fn a_wrong_name_panics_where_a_colour_is_wanted() {
        "redd".into_color();
    }
}
