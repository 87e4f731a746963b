//! Small drawings in block characters.

use crate::results::Latency;

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Characters of each side of a diverging bar, one for each half of a doubling.
const SIDE: usize = 6;
/// What stands above a column of [`diverging`].
pub(super) const SCALE: &str = "1/8   1     8";
/// Characters of a curve, a third of a decade of what is left each: from the lowest to p99.9999.
const POINTS: usize = 18;
/// A whole curve's width.
pub(super) const WIDTH: usize = POINTS + 1;
/// What stands above a column of [`curve`].
pub(super) const CURVE: &str = "p0      to p99.9999";

/// A factor as a bar about 1, of [`SCALE`]'s width: to the left below 1, to the right above.
pub(super) fn diverging(factor: f64) -> String {
    let steps = if factor.is_finite() && factor > 0.0 { (factor.log2() * 2.0).round() as i64 } else { 0 };
    let filled = (steps.unsigned_abs() as usize).min(SIDE);
    let (blocks, empty) = ("█".repeat(filled), "·".repeat(SIDE - filled));
    let other = "·".repeat(SIDE);
    if steps < 0 { format!("{empty}{blocks}│{other}") } else { format!("{other}│{blocks}{empty}") }
}

/// The lowest and the highest time of the curves.
pub(super) fn range<'a>(latencies: impl Iterator<Item = &'a Latency>) -> (f64, f64) {
    let times = latencies.flat_map(|latency| latency.curve.iter().map(|(_, ns)| *ns));
    let times = times.filter(|ns| ns.is_finite() && *ns > 0.0);
    times.fold((f64::MAX, 0.0), |(low, high), ns| (low.min(ns), high.max(ns)))
}

/// A percentile curve, both axes logarithmic; it ends where operations tell no more.
pub(super) fn curve(latency: &Latency, (low, high): (f64, f64)) -> String {
    let point = |step: usize| {
        let share = 1.0 - 10_f64.powf(-(step as f64) / 3.0);
        // Curves go on for as long as operations tell.
        let (_, ns) = latency.curve.iter().find(|(known, _)| *known >= share - 1e-9)?;
        let height = (ns.max(low) / low).ln() / (high / low).ln().max(f64::MIN_POSITIVE);
        Some(LEVELS[((height * LEVELS.len() as f64) as usize).min(LEVELS.len() - 1)])
    };
    (0..=POINTS).map_while(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_wide_as_their_scale() {
        for factor in [0.0, 0.001, 0.5, 1.0, 1.3, 8.0, f64::INFINITY] {
            assert_eq!(diverging(factor).chars().count(), SCALE.chars().count(), "{factor}");
        }
        assert_eq!(diverging(0.5), "····██│······");
        assert_eq!(diverging(8.0), "······│██████");
    }

    #[test]
    fn curves_rise() {
        let latency =
            Latency { curve: vec![(0.0, 10.0), (0.9, 100.0), (0.99, 1000.0)], ..Latency::default() };
        assert_eq!(range([&latency].into_iter()), (10.0, 1000.0));
        assert_eq!(curve(&latency, (10.0, 1000.0)), "▁▅▅▅███");
        assert_eq!(curve(&Latency::default(), (f64::MAX, 0.0)), "");
    }
}
