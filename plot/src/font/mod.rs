//! The font of the labels, `DejaVu Sans`, and how wide its characters are.
//!
//! Both writers measure with the same table, so that a picture is laid out the same with and without the feature `png`.

mod advances;

use advances::{NOTDEF, RUNS};

const UNITS_PER_EM: f64 = 2048.0;

/// How far a lower-case `l` reaches above the baseline, in em: the height of a line of text.
pub(crate) const ASCENT: f64 = 1556.0 / UNITS_PER_EM;
/// How far a `p` reaches below the baseline, in em.
pub(crate) const DESCENT: f64 = 426.0 / UNITS_PER_EM;
/// How high a digit is, in em.
pub(crate) const DIGIT: f64 = 1493.0 / UNITS_PER_EM;
/// From one baseline to the next, in em.
pub(crate) const LINE: f64 = 1.2 * (ASCENT + DESCENT);

/// The font itself: the characters of `plot/font/make.py`, without hints.
#[cfg(feature = "png")]
pub(crate) static SUBSET: &[u8] = include_bytes!("../../font/DejaVuSans-subset.ttf");

/// The width of one line of text in em. Characters that the font lacks count as the box drawn in their place.
pub(crate) fn width(text: &str) -> f64 {
    text.chars().map(|c| f64::from(advance(c).unwrap_or(NOTDEF))).sum::<f64>() / UNITS_PER_EM
}

/// Whether the font has every character of this text, so that its [`width`] is what a viewer with the font shows.
pub(crate) fn covers(text: &str) -> bool {
    text.chars().all(|c| advance(c).is_some())
}

fn advance(c: char) -> Option<u16> {
    let code = u32::from(c);
    let run = RUNS.partition_point(|&(first, _)| first <= code).checked_sub(1)?;
    let (first, widths) = RUNS[run];
    widths.get((code - first) as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_the_fonts() {
        assert!((width("0") - 1303.0 / 2048.0).abs() < 1e-12);
        assert!((width("\u{2212}") - 1716.0 / 2048.0).abs() < 1e-12);
        assert_eq!(width(""), 0.0);
        assert!(covers("f(x) = x³ − 5x ∂α/∂β → ∞ Größe Ж"));
        assert!(!covers("日本") && !covers("\n"));
        assert!((width("日") - f64::from(NOTDEF) / 2048.0).abs() < 1e-12);
    }

    #[cfg(feature = "png")]
    #[test]
    fn the_table_agrees_with_the_font() {
        use ab_glyph::{Font, FontRef};
        let font = FontRef::try_from_slice(SUBSET).unwrap();
        assert_eq!(font.units_per_em(), Some(2048.0));
        let mut seen = 0;
        for (first, widths) in RUNS {
            for (i, &width) in widths.iter().enumerate() {
                let glyph = font.glyph_id(char::from_u32(first + i as u32).unwrap());
                assert_ne!(glyph.0, 0);
                assert_eq!(font.h_advance_unscaled(glyph), f32::from(width));
                seen += 1;
            }
        }
        assert_eq!(seen, font.codepoint_ids().count());
    }
}
