//! How the numbers of one axis become places on it.

use crate::data::Extent;

/// How an axis is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps add equally.
    #[default]
    Linear,
    /// Equal steps multiply equally. Numbers that are not positive can't be shown and count as gaps.
    Log,
}

/// Numbers beyond this are as good as infinite: their differences still fit into `f64`.
const HUGE: f64 = 4e307;
/// Where a place is so far outside of the picture that only its direction matters.
const FAR: f64 = 1e9;

/// The part of an axis that is seen, from `low` at 0 to `high` at 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct View {
    pub(crate) low: f64,
    pub(crate) high: f64,
    scale: Scale,
}

impl View {
    /// What the user asked for.
    pub(crate) fn fixed(low: f64, high: f64, scale: Scale) -> Self {
        Self::sound(low, high, scale)
    }

    /// What shows all of the data, with a margin at the ends that want one.
    pub(crate) fn auto(extent: &Extent, margins: (bool, bool), scale: Scale) -> Self {
        let (low, high) = match scale {
            _ if extent.is_empty() => {
                return Self::sound(if scale == Scale::Log { 0.1 } else { 0.0 }, 1.0, scale);
            }
            Scale::Linear => (extent.min, extent.max),
            Scale::Log if extent.min_positive.is_finite() => (extent.min_positive, extent.max),
            Scale::Log => return Self::sound(0.1, 1.0, scale),
        };
        let tight = Self::sound(low, high, scale);
        let end = |wants: bool, t: f64, edge: f64| if wants { tight.value(t) } else { edge };
        Self::sound(end(margins.0, -0.05, tight.low), end(margins.1, 1.05, tight.high), scale)
    }

    /// Ends that differ enough to tell numbers between them apart.
    fn sound(low: f64, high: f64, scale: Scale) -> Self {
        let (mut low, mut high) = (low.clamp(-HUGE, HUGE), high.clamp(-HUGE, HUGE));
        if scale == Scale::Log {
            (low, high) = (low.max(1e-307), high.max(1e-307));
        }
        let size = low.abs().max(high.abs());
        if (high - low).abs() <= size * 1e-13 || (high - low).abs() < 1e-290 {
            (low, high) = match scale {
                Scale::Linear if size < 1e-280 => (-0.05, 0.05),
                Scale::Linear => (low - 0.05 * size, high + 0.05 * size),
                Scale::Log => (low / 1.2, high * 1.2),
            };
        }
        Self { low, high, scale }
    }

    pub(crate) fn scale(&self) -> Scale {
        self.scale
    }

    /// The lesser end, then the greater one, whichever way the axis runs.
    pub(crate) fn sorted(&self) -> (f64, f64) {
        (self.low.min(self.high), self.low.max(self.high))
    }

    /// How much is seen: a difference, or the decades of a logarithmic axis.
    pub(crate) fn span(&self) -> f64 {
        match self.scale {
            Scale::Linear => (self.high - self.low).abs(),
            Scale::Log => (self.high.log10() - self.low.log10()).abs(),
        }
    }

    /// Where a number is between the ends, 0 to 1 if it is seen. `None` for what has no place on the axis.
    pub(crate) fn place(&self, value: f64) -> Option<f64> {
        let t = match self.scale {
            _ if !value.is_finite() => return None,
            Scale::Linear => {
                // Halves, for a difference of numbers of different sign may be beyond all of them.
                (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0)
            }
            Scale::Log if value <= 0.0 => return None,
            Scale::Log => (value.log10() - self.low.log10()) / (self.high.log10() - self.low.log10()),
        };
        Some(t.clamp(-FAR, FAR))
    }

    /// The number at a place.
    pub(crate) fn value(&self, t: f64) -> f64 {
        match self.scale {
            Scale::Linear => self.low + (self.high - self.low) * t,
            Scale::Log => 10f64.powf(self.low.log10() + (self.high.log10() - self.low.log10()) * t),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(values: &[f64]) -> Extent {
        let mut extent = Extent::EMPTY;
        values.iter().for_each(|&v| extent.add(v));
        extent
    }

    fn auto(values: &[f64], scale: Scale) -> View {
        View::auto(&extent(values), (true, true), scale)
    }

    #[test]
    fn margins_are_five_per_cent() {
        let view = auto(&[-5.0, 3.0], Scale::Linear);
        assert!((view.low + 5.4).abs() < 1e-12 && (view.high - 3.4).abs() < 1e-12);
        let view = auto(&[1.0, 100.0], Scale::Log);
        assert!((view.low.log10() + 0.1).abs() < 1e-12 && (view.high.log10() - 2.1).abs() < 1e-12);
        let view = View::auto(&extent(&[0.0, 10.0]), (false, true), Scale::Linear);
        assert_eq!((view.low, view.high), (0.0, 10.5));
    }

    #[test]
    fn any_data_gives_a_view() {
        for scale in [Scale::Linear, Scale::Log] {
            for values in [
                &[][..],
                &[0.0],
                &[f64::NAN, f64::INFINITY],
                &[-1.0],
                &[7.0, 7.0],
                &[-f64::MAX, f64::MAX],
                &[5e-324],
                &[1e-300, 1e300],
                &[1.0, 1.0 + f64::EPSILON],
            ] {
                let view = auto(values, scale);
                assert!(view.low < view.high && (view.high - view.low).is_finite(), "{values:?}: {view:?}");
                assert!(scale == Scale::Linear || view.low > 0.0);
                for &value in values {
                    assert!(view.place(value).is_none_or(f64::is_finite));
                }
            }
        }
    }

    #[test]
    fn what_has_no_place_has_none() {
        let view = View::fixed(1.0, 100.0, Scale::Log);
        assert_eq!(view.place(10.0), Some(0.5));
        assert_eq!((view.place(0.0), view.place(-1.0), view.place(f64::NAN)), (None, None, None));
        let view = View::fixed(3.0, -5.0, Scale::Linear);
        assert_eq!((view.place(3.0), view.place(-5.0), view.sorted()), (Some(0.0), Some(1.0), (-5.0, 3.0)));
        assert_eq!(view.place(f64::INFINITY), None);
    }
}
