//! Where an axis has its ticks, and what stands beside them.

/// The ticks of one axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ticks {
    /// Value and label of each tick, ascending.
    pub(crate) major: Vec<(f64, String)>,
    /// Short ticks without label.
    pub(crate) minor: Vec<f64>,
    /// What all labels are to be multiplied by or added to, such as `1e7` or `+1e5`; empty if nothing.
    pub(crate) note: String,
}

/// Steps between ticks that people read easily, times a power of ten.
const STEPS: [f64; 5] = [1.0, 2.0, 2.5, 5.0, 10.0];

/// At most `bins + 1` ticks within `[low, high]`, at multiples of 1, 2, 2.5 or 5 times a power of ten.
///
/// Expects finite `low < high`.
pub(crate) fn linear(low: f64, high: f64, bins: usize) -> Ticks {
    let (mut values, mut step) = (Vec::new(), Step { digits: 1.0, exponent: 0 });
    // A coarse step may leave one tick or none in the range: take finer ones until there are two.
    let mut bins = bins.max(1) as f64;
    while values.len() < 2 && bins < 1e4 {
        step = Step::at_least((high - low) / bins);
        values = step.multiples(low, high);
        bins *= 2.0;
    }
    label(&values, step.length(), low, high)
}

/// A step that people read easily: `digits × 10^exponent`.
#[derive(Clone, Copy, Debug)]
struct Step {
    digits: f64,
    exponent: i32,
}

impl Step {
    /// The smallest easy step that is no smaller than `raw`.
    fn at_least(raw: f64) -> Self {
        let exponent = decade(raw);
        let enough = |&digits: &f64| scaled(digits, exponent) >= raw * (1.0 - 1e-9);
        Self { digits: STEPS.into_iter().find(enough).unwrap_or(10.0), exponent }
    }

    fn length(self) -> f64 {
        scaled(self.digits, self.exponent)
    }

    fn multiples(self, low: f64, high: f64) -> Vec<f64> {
        let step = self.length();
        // Ends that miss a multiple by rounding alone still have it.
        let slack = 1e-9 * (high - low) / step;
        let (first, last) = ((low / step - slack).ceil(), (high / step + slack).floor());
        // Where a step is lost in the last digits of the ends, there is nothing to tell ticks apart by.
        if !(last - first).is_finite() || last - first > 1e4 || low + step == low && high + step == high {
            return Vec::new();
        }
        (0..=(last - first).max(-1.0) as i64).map(|i| scaled((first + i as f64) * self.digits, self.exponent)).collect()
    }
}

/// `digits × 10^exponent`, the `f64` that is nearest to it: 3 × 10⁻¹ is 0.3.
fn scaled(digits: f64, exponent: i32) -> f64 {
    // Reading a number is the one thing that rounds a power of ten but once.
    format!("{digits}e{exponent}").parse().unwrap_or(digits * 10f64.powi(exponent))
}

/// Labels that say no more digits than the step needs; what they share stands apart in the note.
fn label(values: &[f64], step: f64, low: f64, high: f64) -> Ticks {
    let offset = shared_offset(values);
    // With an offset, labels are about as large as the range; without, as the largest tick.
    let size = if offset == 0.0 { values.iter().fold(0.0, |max: f64, v| max.max(v.abs())) } else { high - low };
    let magnitude = if size > 0.0 { decade(size) } else { 0 };
    let exponent = if (-4..=5).contains(&magnitude) { 0 } else { magnitude };
    let unit = scaled(1.0, exponent);
    let decimals = decimals(step / unit);
    let major = values.iter().map(|&value| (value, fixed((value - offset) / unit, decimals))).collect();
    let mut note = if exponent == 0 { String::new() } else { format!("1e{exponent}") };
    if offset != 0.0 {
        note.push(if offset < 0.0 { '-' } else { '+' });
        note.push_str(&short(offset.abs()));
    }
    Ticks { major, minor: Vec::new(), note: true_minus(&note) }
}

/// How many decimals tell multiples of `unit` apart.
fn decimals(unit: f64) -> usize {
    let enough = |&n: &usize| {
        let shifted = unit * 10f64.powi(n as i32);
        (shifted - shifted.round()).abs() < 1e-6 * shifted
    };
    (0..17).find(enough).unwrap_or(17)
}

/// The exponent of ten of a positive number's first digit.
fn decade(value: f64) -> i32 {
    // The formatter knows where 999999.9999 belongs; a rounded logarithm does not.
    let text = format!("{value:e}");
    text.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0)
}

/// What to take off all labels, so that four digits or more need not be said on each; 0 if that is not to be had.
fn shared_offset(values: &[f64]) -> f64 {
    let (Some(&first), Some(&last)) = (values.first(), values.last()) else {
        return 0.0;
    };
    if first == last || first.signum() != last.signum() || first == 0.0 || last == 0.0 {
        return 0.0;
    }
    let (low, high) = (first.abs().min(last.abs()), first.abs().max(last.abs()));
    let whole = |value: f64, power: i32| (value / scaled(1.0, power)).floor();
    // The greatest power of ten at which the ends differ by more than `by`: they share what stands above it.
    let differ = |by: f64| (-320..=decade(high) + 1).rev().find(|&p| whole(high, p) - whole(low, p) > by);
    let Some(mut power) = differ(0.0) else {
        return 0.0;
    };
    // Ends near to each other but on two sides of a round number differ early without being far apart.
    if (high - low) / scaled(1.0, power + 1) <= 1e-2 {
        power = differ(1.0).unwrap_or(power);
    }
    let shared = whole(high, power + 1);
    if shared < 1000.0 { 0.0 } else { first.signum() * shared * scaled(1.0, power + 1) }
}

/// A number as short as it can be said, such as `1e5`, `12345` or `1.00025e9`.
fn short(value: f64) -> String {
    let (plain, scientific) = (format!("{value}"), format!("{value:e}"));
    if scientific.len() < plain.len() { scientific } else { plain }
}

fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let zero = text.bytes().all(|b| matches!(b, b'-' | b'0' | b'.'));
    true_minus(if zero { text.trim_start_matches('-') } else { &text })
}

/// The sign U+2212 is as wide as a plus; a hyphen is not.
fn true_minus(text: &str) -> String {
    text.replace('-', "\u{2212}")
}

/// Ticks at powers of ten within `[low, high]`, at most about `bins` of them, and minor ones between.
///
/// Expects finite `0 < low < high`.
pub(crate) fn logarithmic(low: f64, high: f64, bins: usize) -> Ticks {
    let (first, last) = ((low.log10() - 1e-9).ceil() as i32, (high.log10() + 1e-9).floor() as i32);
    if last - first < 1 {
        return within_a_decade(low, high, bins);
    }
    let wanted = f64::from(last - first) / bins.max(1) as f64;
    let stride = [1, 2, 3, 5, 10, 20, 30, 50, 100].into_iter().find(|&s| f64::from(s) >= wanted).unwrap_or(200);
    let on_stride = |exponent: &i32| exponent.rem_euclid(stride) == 0;
    let major: Vec<_> = (first..=last).filter(on_stride).map(|e| (scaled(1.0, e), power_of_ten(e))).collect();
    let minor: Vec<f64> = if stride == 1 {
        (first - 1..=last).flat_map(|e| (2..10).map(move |d| scaled(f64::from(d), e))).collect()
    } else if last - first <= 60 {
        (first..=last).filter(|e| !on_stride(e)).map(|e| scaled(1.0, e)).collect()
    } else {
        Vec::new()
    };
    let minor = minor.into_iter().filter(|v| (low..=high).contains(v)).collect();
    Ticks { major, minor, note: String::new() }
}

/// With one power of ten or none in the range, its multiples are labelled, and if there are too few, ticks are as on a
/// linear axis.
fn within_a_decade(low: f64, high: f64, bins: usize) -> Ticks {
    let first = low.log10().floor() as i32;
    let all = (first..=first + 1).flat_map(|e| (1..10).map(move |d| (d, e)));
    let inside: Vec<(i32, i32)> = all.filter(|&(d, e)| (low..=high).contains(&scaled(f64::from(d), e))).collect();
    if inside.len() < 3 {
        return linear(low, high, bins);
    }
    let chosen = |&&(d, _): &&(i32, i32)| inside.len() <= bins.min(6) || matches!(d, 1 | 2 | 5);
    let name = |(d, e): (i32, i32)| {
        if d == 1 { power_of_ten(e) } else { format!("{d}×{}", power_of_ten(e)) }
    };
    let major: Vec<_> = inside.iter().filter(chosen).map(|&(d, e)| (scaled(f64::from(d), e), name((d, e)))).collect();
    let minor = inside.iter().filter(|tick| !chosen(tick)).map(|&(d, e)| scaled(f64::from(d), e)).collect();
    Ticks { major, minor, note: String::new() }
}

/// `10` with its exponent raised.
fn power_of_ten(exponent: i32) -> String {
    let digits = exponent.to_string();
    let raised = digits.chars().map(|c| match c {
        '-' => '\u{207b}',
        '1' => '\u{b9}',
        '2' => '\u{b2}',
        '3' => '\u{b3}',
        digit => char::from_u32(0x2070 + digit.to_digit(10).unwrap_or(0)).unwrap_or(digit),
    });
    "10".chars().chain(raised).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &Ticks) -> Vec<&str> {
        ticks.major.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn steps_are_1_2_2_5_and_5() {
        assert_eq!(labels(&linear(-5.4, 3.4, 9)), ["−5", "−4", "−3", "−2", "−1", "0", "1", "2", "3"]);
        assert_eq!(labels(&linear(-24.2, 46.2, 9)), ["−20", "−10", "0", "10", "20", "30", "40"]);
        assert_eq!(labels(&linear(0.0, 10.0, 4)), ["0.0", "2.5", "5.0", "7.5", "10.0"]);
        assert_eq!(labels(&linear(0.0, 1.0, 9)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&linear(-0.055, 0.055, 5)), ["−0.050", "−0.025", "0.000", "0.025", "0.050"]);
    }

    #[test]
    fn a_range_with_room_for_few_still_gets_two_ticks() {
        for (low, high) in [(0.9, 1.9), (0.3, 0.6), (-1e-3, 1e-3), (99.0, 101.0)] {
            let ticks = linear(low, high, 1);
            assert!(ticks.major.len() >= 2, "{low}..{high}: {ticks:?}");
            assert!(ticks.major.iter().all(|&(v, _)| low <= v && v <= high));
        }
    }

    #[test]
    fn large_and_small_numbers_share_a_factor() {
        let ticks = linear(-1.1e7, 1.1e7, 5);
        assert_eq!(labels(&ticks), ["−1.0", "−0.5", "0.0", "0.5", "1.0"]);
        assert_eq!(ticks.note, "1e7");
        let ticks = linear(0.0, 3e-7, 3);
        assert_eq!((labels(&ticks), ticks.note.as_str()), (vec!["0", "1", "2", "3"], "1e−7"));
        assert_eq!(linear(0.0, 200_000.0, 4).note, "");
        let ticks = linear(-1e300, 1e300, 4);
        assert_eq!((labels(&ticks), ticks.note.as_str()), (vec!["−1.0", "−0.5", "0.0", "0.5", "1.0"], "1e300"));
    }

    #[test]
    fn near_numbers_far_from_zero_share_an_offset() {
        let ticks = linear(100_000.0, 100_000.01, 5);
        assert_eq!(labels(&ticks), ["0.000", "0.002", "0.004", "0.006", "0.008", "0.010"]);
        assert_eq!(ticks.note, "+1e5");
        let ticks = linear(-12345.0, -12344.0, 5);
        assert_eq!(ticks.note, "−12340");
        assert_eq!(labels(&ticks), ["−5.0", "−4.8", "−4.6", "−4.4", "−4.2", "−4.0"]);
        assert_eq!(linear(1990.0, 2020.0, 6).note, "", "years stay whole");
        let ticks = linear(999_999.5, 1_000_000.5, 5);
        assert_eq!(ticks.note, "+1e6");
    }

    #[test]
    fn ranges_at_the_limits_of_f64_end() {
        for (low, high) in [(-4e307, 4e307), (1e-300, 2e-300), (1.0, 1.0 + 4e-16), (1e16, 1e16 + 4.0)] {
            let ticks = linear(low, high, 9);
            assert!(ticks.major.len() <= 20, "{low}..{high}: {ticks:?}");
        }
    }

    #[test]
    fn powers_of_ten_on_a_logarithmic_axis() {
        let ticks = logarithmic(0.5, 2e4, 9);
        assert_eq!(labels(&ticks), ["10⁰", "10¹", "10²", "10³", "10⁴"]);
        assert!(ticks.minor.contains(&0.9) && ticks.minor.contains(&2000.0) && !ticks.minor.contains(&3e4));
        assert_eq!(labels(&logarithmic(0.001, 0.1, 9)), ["10⁻³", "10⁻²", "10⁻¹"]);
        assert_eq!(labels(&logarithmic(1.5, 7.0, 9)), ["2×10⁰", "3×10⁰", "4×10⁰", "5×10⁰", "6×10⁰", "7×10⁰"]);
        assert_eq!(labels(&logarithmic(5.0, 5.5, 5)), ["5.0", "5.1", "5.2", "5.3", "5.4", "5.5"]);
    }

    #[test]
    fn a_logarithmic_axis_over_all_of_f64_has_few_ticks() {
        let ticks = logarithmic(1e-300, 1e300, 9);
        assert_eq!(labels(&ticks), ["10⁻³⁰⁰", "10⁻²⁰⁰", "10⁻¹⁰⁰", "10⁰", "10¹⁰⁰", "10²⁰⁰", "10³⁰⁰"]);
        assert_eq!(ticks.major[0].0, 1e-300);
        assert!(ticks.minor.is_empty());
    }
}
