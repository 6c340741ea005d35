//! Whether a figure reaches a bar, falls short of it, or does not tell.
//!
//! Arithmetic over the rounds of one figure. It knows no goals and never measures.

use crate::coverage::ROUNDS_MIN;
use crate::stats::Spread;

/// A figure that scatters by no more than this share of the bar tells, however near to the bar it is.
const NARROW: f64 = 0.25;
/// What two things that cost the same may seem to be apart.
const NOISE: f64 = 0.03;

/// What is to be said of a figure and its bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The median reaches it.
    Yes,
    /// The median does not.
    No,
    /// The rounds are too few, or scatter too widely around it.
    Nothing,
}

/// Whether `figure` is at least `bar`, or where `at_most` at most.
///
/// The median decides, but of figures that tell nothing: those of fewer than three rounds; and those whose median is not known
/// well enough, because the bar is inside its interval ([`Spread::low`]) and the interval is wider than twice the median's
/// distance from the bar and than a quarter of the bar. More rounds make the interval narrower, so they decide what was not told
/// and never turn a miss into a pass by their number.
pub fn judge(figure: &Spread, bar: f64, at_most: bool) -> Told {
    let width = figure.high - figure.low;
    let is_wide = width > NARROW * bar.abs() && width > 2.0 * (figure.median - bar).abs();
    if figure.count < ROUNDS_MIN || figure.is_around(bar) && is_wide {
        return Told::Nothing;
    }
    let reaches = if at_most { figure.median <= bar } else { figure.median >= bar };
    if reaches { Told::Yes } else { Told::No }
}

/// Whether `figure` falls short of being at least `bar` by no more than what cannot be told from noise: by 3 % at most, and with
/// the bar inside its median's interval. The interval of a figure that is truly behind leaves the bar out as rounds are added.
pub fn is_noise(figure: &Spread, bar: f64) -> bool {
    figure.median >= (1.0 - NOISE) * bar && figure.high >= bar
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(values: &[f64]) -> Spread {
        Spread::of(values.to_vec()).expect("values")
    }

    #[test]
    fn the_median_decides_where_the_rounds_tell() {
        use Told::{No, Nothing, Yes};
        for (values, bar, expected, why) in [
            (&[1.1, 1.2, 1.3][..], 1.0, Yes, "all above"),
            (&[0.7, 0.8, 0.9], 1.0, No, "all below"),
            (&[0.95, 1.01, 1.05], 1.0, Yes, "near the bar, and narrow"),
            (&[0.918, 0.944, 1.13], 1.0, No, "narrow enough"),
            (&[0.084, 1.68, 11.7], 1.0, Nothing, "anything may be"),
            (&[0.6, 0.98, 1.5], 1.0, Nothing, "as well for a miss"),
            (&[0.9, 1.68, 2.2], 1.0, Yes, "wide, but far above"),
            (&[1.2, 9.0, 99.0], 1.0, Yes, "wide, and all of it above"),
            (&[5.0, 5.0], 1.0, Nothing, "too few"),
            (&[5.0, 5.0, 5.0], 1.0, Yes, "enough"),
        ] {
            assert_eq!(judge(&spread(values), bar, false), expected, "{values:?}: {why}");
        }
    }

    #[test]
    fn bounds_are_bars_from_above() {
        assert_eq!(judge(&spread(&[10.0, 10.0, 10.1]), 10.0, true), Told::Yes);
        assert_eq!(judge(&spread(&[10.0, 10.1, 10.1]), 10.0, true), Told::No);
        assert_eq!(judge(&spread(&[209.0, 244.0, 3644.0]), 150.0, true), Told::No, "no round reaches it");
        assert_eq!(judge(&spread(&[100.0, 140.0, 3644.0]), 150.0, true), Told::Nothing);
        assert_eq!(
            judge(&spread(&[-5.0, 2.0, 3.0]), 30.0, true),
            Told::Yes,
            "latency may seem to be less than none"
        );
    }

    #[test]
    fn more_rounds_are_stricter_with_noise_and_tell_more() {
        // Behind by 2 %, with a round now and then that is ahead.
        let rounds = |count: usize| {
            spread(&(0..count).map(|at| if at % 10 == 1 { 1.05 } else { 0.98 }).collect::<Vec<_>>())
        };
        assert!(is_noise(&rounds(3), 1.0) && is_noise(&rounds(5), 1.0));
        assert!(!is_noise(&rounds(20), 1.0) && !is_noise(&rounds(50), 1.0));
        assert!(!is_noise(&spread(&[0.9, 0.96, 1.2]), 1.0), "by more than 3 %");
        assert!(!is_noise(&spread(&[0.975, 0.98, 0.99]), 1.0), "no round is ahead");
        let wide = |count: usize| {
            spread(&(0..count).map(|at| [0.5, 1.1, 1.2, 1.3, 2.0][at % 5]).collect::<Vec<_>>())
        };
        assert_eq!(judge(&wide(5), 1.0, false), Told::Nothing);
        assert_eq!(judge(&wide(25), 1.0, false), Told::Yes);
    }
}
