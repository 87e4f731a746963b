//! Medians, and how sure they are. Nothing here assumes a distribution.

use fastrand::Rng;

/// The bootstrap's draws begin here, so that the same files compare the same each time.
const SEED: u64 = 0x5EED;
const RESAMPLES: usize = 2000;
/// An interval may miss so often.
const MISS: f64 = 0.05;

/// Fewer values than these have no interval.
const FEWEST: usize = 6;

/// From the lower to the upper end.
pub(super) type Interval = (f64, f64);

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// Of an even number of values, the mean of the middle two. `None` of no values.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let values = sorted(values);
    let (low, high) = (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
    Some((low + high) / 2.0)
}

/// Where the median of all that the values were drawn from lies, at 95 % or a little more.
///
/// Each value is as likely above that median as below it, so how many are below is a matter of tossing a
/// coin `n` times. The interval goes from the r-th smallest value to the r-th largest one and misses the
/// median when fewer than r tosses fall one way: r is the largest rank for which that happens at most once
/// in twenty, both sides taken together. Of twelve values it is the third; fewer than six have none.
pub(super) fn median_interval(values: &[f64]) -> Option<Interval> {
    let values = sorted(values);
    let rank = rank(values.len())?;
    Some((values[rank - 1], values[values.len() - rank]))
}

/// The r of [`median_interval`], from 1.
fn rank(count: usize) -> Option<usize> {
    // The chance of `below` heads in `count` tosses, for 0, 1, 2...
    let mut chance = 0.5_f64.powi(i32::try_from(count).ok()?);
    let mut tail = 0.0;
    let mut rank = 0;
    for below in 0..count {
        tail += chance;
        if 2.0 * tail > MISS {
            break;
        }
        rank = below + 1;
        chance *= (count - below) as f64 / (below + 1) as f64;
    }
    (rank > 0).then_some(rank)
}

/// Where the ratio of two medians lies, `above` over `below`, at about 95 %: the percentile bootstrap.
///
/// Both are drawn anew from their own values, with repetition, 2000 times; the interval holds all but the
/// lowest and the highest fortieth of the ratios of the medians. `None` where either has fewer than six.
pub(super) fn ratio_interval(above: &[f64], below: &[f64]) -> Option<Interval> {
    if above.len() < FEWEST || below.len() < FEWEST {
        return None;
    }
    let mut rng = Rng::with_seed(SEED);
    let mut redrawn = |values: &[f64]| {
        let drawn: Vec<_> = values.iter().map(|_| values[rng.usize(..values.len())]).collect();
        median(&drawn)
    };
    let mut ratios = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        let (above, below) = (redrawn(above)?, redrawn(below)?);
        ratios.push(above / below);
    }
    let ratios = sorted(&ratios);
    let cut = (RESAMPLES as f64 * MISS / 2.0) as usize;
    Some((ratios[cut], ratios[RESAMPLES - 1 - cut]))
}

/// Without the lowest quarter and the highest, both rounded down. `None` of no values.
pub(super) fn middle_half(values: &[f64]) -> Option<Interval> {
    let values = sorted(values);
    let cut = values.len() / 4;
    Some((*values.get(cut)?, *values.get(values.len() - 1 - cut)?))
}

/// `None` of no values.
pub(super) fn geometric_mean(values: &[f64]) -> Option<f64> {
    let sum: f64 = values.iter().map(|value| value.ln()).sum();
    (!values.is_empty()).then(|| (sum / values.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up_to(count: u32) -> Vec<f64> {
        (1..=count).rev().map(f64::from).collect()
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }

    /// The ranks of any table of the sign test's intervals.
    #[test]
    fn ranks_are_the_tables() {
        for (count, rank) in [(6, 1), (8, 1), (9, 2), (11, 2), (12, 3), (15, 4), (20, 6), (25, 8), (50, 18)] {
            let got = median_interval(&up_to(count));
            assert_eq!(got, Some((f64::from(rank), f64::from(count + 1 - rank))), "of {count}");
        }
        for count in 0..FEWEST {
            assert_eq!(median_interval(&up_to(count as u32)), None, "of {count}");
        }
        assert!(median_interval(&up_to(FEWEST as u32)).is_some());
    }

    /// Of samples whose median is known, at most one interval in twenty misses it, or a little more by chance.
    #[test]
    fn intervals_hold_the_median() {
        let mut rng = Rng::with_seed(7);
        // Skewed, as times are; the median is 1/8.
        let held = (0..2000).filter(|_| {
            let values: Vec<_> = (0..12).map(|_| rng.f64().powi(3)).collect();
            median_interval(&values).is_some_and(|(low, high)| low <= 0.125 && 0.125 <= high)
        });
        let held = held.count();
        assert!((1880..1990).contains(&held), "{held} of 2000");
    }

    #[test]
    fn bootstrap_tells_a_shift_from_none() {
        let (a, b): (Vec<_>, Vec<_>) =
            (0..12).map(|i| (10.0 + f64::from(i) / 10.0, 20.0 + f64::from(i) / 5.0)).unzip();
        let (low, high) = ratio_interval(&b, &a).unwrap();
        assert!(1.9 < low && low < 2.0 && 2.0 < high && high < 2.1, "{low} {high}");
        let (low, high) = ratio_interval(&a, &a).unwrap();
        assert!(low < 1.0 && high > 1.0, "{low} {high}");
        assert_eq!(ratio_interval(&a, &a), ratio_interval(&a, &a));
        assert_eq!(ratio_interval(&a, &a[..5]), None);
    }

    #[test]
    fn middles() {
        assert_eq!(middle_half(&[]), None);
        assert_eq!(middle_half(&up_to(2)), Some((1.0, 2.0)));
        assert_eq!(middle_half(&up_to(13)), Some((4.0, 10.0)));
    }

    #[test]
    fn geometric_means() {
        assert_eq!(geometric_mean(&[]), None);
        assert!((geometric_mean(&[0.5, 2.0, 8.0]).unwrap() - 2.0).abs() < 1e-12);
    }
}
