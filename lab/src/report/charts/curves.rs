//! Percentile curves: what share of the operations took at most how long.

use std::ops::Range;

use maud::Markup;

use super::canvas::{Canvas, Face, LABEL, Pen, Plot, Side};
use super::{Drawing, charted, scaled};
use crate::results::{Latency, Report, Scenario};

const SIZE: (i32, i32) = (440, 330);
/// Room for the names at the lines' ends.
pub(super) const NAMES: i32 = 124;
/// Each share, and its name where there is room for one.
const SHARES: [(f64, &str); 8] = [
    (0.5, ""),
    (0.9, "p90"),
    (0.99, ""),
    (0.999, "p99.9"),
    (0.9999, ""),
    (0.99999, "p99.999"),
    (0.999999, ""),
    (0.9999999, ""),
];
/// What the frame of all charts is called where they share it.
const FRAME: &str = "frame";

/// What all charts of a page have in common: both axes' ranges, as decimal logarithms.
pub(in super::super) struct Axes {
    x: Range<f64>,
    y: Range<f64>,
}

/// The x axis: how many decades are left beyond a share.
fn decades(share: f64) -> f64 {
    -(1.0 - share).max(1e-12).log10()
}

fn points(latency: &Latency) -> impl Iterator<Item = (f64, f64)> {
    latency.curve.iter().map(|&(share, ns)| (decades(share), ns.max(1.0).log10()))
}

impl Axes {
    /// Wide enough for all curves of the report.
    pub(in super::super) fn of(report: &Report) -> Axes {
        let measured = report.scenarios.iter().flat_map(|scenario| &scenario.allocators);
        let curves: Vec<_> = measured.filter_map(charted).chain([&report.timer]).flat_map(points).collect();
        let most = |values: &dyn Fn(&(f64, f64)) -> f64| curves.iter().map(values).fold(1.0, f64::max);
        let low = curves.iter().map(|(_, y)| *y).fold(f64::MAX, f64::min).min(1.0);
        Axes { x: 0.0..most(&|(x, _)| *x), y: low.floor()..most(&|(_, y)| *y).ceil() }
    }

    fn plot(&self) -> Plot {
        Plot {
            left: 52,
            top: 8,
            width: SIZE.0 - 52 - NAMES,
            height: SIZE.1 - 30,
            x: self.x.clone(),
            y: self.y.clone(),
        }
    }

    /// What is the same in all charts, to be drawn once.
    pub(in super::super) fn frame(&self) -> Markup {
        let (mut canvas, plot) = (Canvas::default(), self.plot());
        let ticks =
            (self.y.start as i32..=self.y.end as i32).map(|decade| (f64::from(decade), scaled(decade)));
        canvas.across(&plot, ticks);
        let shares = SHARES.iter().map(|&(share, name)| (decades(share), name.to_owned()));
        canvas.up(&plot, shares.filter(|(x, _)| *x <= self.x.end));
        canvas.shared(FRAME)
    }
}

/// Free in one scenario, the empty timer below it, in the frame that all share. `names` are all allocators of the page,
/// in their places. `None` when nothing was measured.
pub(in super::super) fn draw(
    scenario: &Scenario,
    timer: &Latency,
    names: &[&str],
    axes: &Axes,
) -> Option<Drawing> {
    let mut curves: Vec<(Pen, &str, &Latency)> = vec![(Pen::Timer, "empty timer", timer)];
    for measured in &scenario.allocators {
        let place = names.iter().position(|name| *name == measured.name).unwrap_or_default();
        if let Some(latency) = charted(measured) {
            curves.push((Pen::Allocator(place), &measured.name, latency));
        }
    }
    if curves.len() == 1 {
        return None;
    }
    curves.retain(|(_, _, latency)| !latency.curve.is_empty());
    // The pool is drawn last, above the others.
    curves.sort_by_key(|(pen, _, _)| *pen == Pen::Allocator(0));
    let plot = axes.plot();
    let mut canvas = Canvas::default();
    canvas.again(FRAME);
    for (pen, _, latency) in &curves {
        canvas.line(points(latency).map(|(x, y)| plot.at(x, y)), *pen);
    }
    let ends = curves.iter().filter_map(|(pen, name, latency)| {
        let (x, y) = points(latency).last()?;
        Some((plot.at(x, y), *pen, *name))
    });
    names_at_the_ends(&mut canvas, &plot, ends.collect());
    Some(canvas.done(SIZE, format!("percentiles of free in {}", scenario.name)))
}

/// Each curve's name beside its end, apart from each other.
pub(super) fn names_at_the_ends(canvas: &mut Canvas, plot: &Plot, mut ends: Vec<((i32, i32), Pen, &str)>) {
    ends.sort_by_key(|&((_, y), _, _)| y);
    let wanted: Vec<_> = ends.iter().map(|&((_, y), _, _)| y).collect();
    for ((end, pen, name), y) in ends.into_iter().zip(apart(&wanted, LABEL + 2, plot.top + 4, plot.bottom()))
    {
        let x = plot.right();
        canvas.thin([(end.0 + 2, end.1), (x + 6, y), (x + 16, y)], pen);
        let face = if pen == Pen::Allocator(0) { Face::Bold } else { Face::Plain };
        canvas.text(name, (x + 19, y), Side::Left, face);
    }
}

/// Moves sorted positions so that each has `room`, as little as possible, and within the bounds where there
/// is enough of it.
fn apart(wanted: &[i32], room: i32, low: i32, high: i32) -> Vec<i32> {
    // Groups that touch: how many, and the sum of where their members want the first one.
    let mut groups: Vec<(i32, i32)> = Vec::new();
    for (place, &at) in (0..).zip(wanted) {
        let mut group = (1, at - place * room);
        // In these terms groups may not descend.
        while let Some(&(count, sum)) = groups.last()
            && sum / count > group.1 / group.0
        {
            groups.pop();
            group = (group.0 + count, group.1 + sum);
        }
        groups.push(group);
    }
    let starts = groups.iter().flat_map(|&(count, sum)| (0..count).map(move |_| sum / count));
    let last = high - room * wanted.len().saturating_sub(1) as i32;
    (0..).zip(starts).map(|(place, start)| start.min(last).max(low) + place * room).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_apart() {
        assert_eq!(apart(&[], 10, 0, 100), Vec::<i32>::new());
        assert_eq!(apart(&[20, 50], 10, 0, 100), [20, 50]);
        assert_eq!(apart(&[50, 50, 53], 10, 0, 100), [41, 51, 61]);
        assert_eq!(apart(&[95, 99, 99], 10, 0, 100), [80, 90, 100]);
        assert_eq!(apart(&[0, 0], 10, 5, 100), [5, 15]);
        assert_eq!(apart(&[0; 3], 10, 5, 20), [5, 15, 25]);
    }
}
