//! What a call costs as something grows: a line for each allocator, or kind of traffic.

use super::canvas::{Canvas, Pen, Plot};
use super::curves::{NAMES, names_at_the_ends};
use super::{Drawing, scaled};

const SIZE: (i32, i32) = (440, 290);

/// A line: its place among the page's allocators, its name, and (how much there is, what a call costs).
pub(in super::super) type Line<'a> = (usize, &'a str, Vec<(f64, f64)>);

/// What the y axis is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Unit {
    /// ns, logarithmic.
    Ns,
    /// A count, from 0.
    Count,
}

/// The lines over a logarithmic x axis.
pub(in super::super) fn draw(label: &str, lines: &[Line<'_>], unit: Unit) -> Drawing {
    let height = |value: f64| if unit == Unit::Ns { value.max(1.0).log10() } else { value };
    let most = |pick: &dyn Fn(&(f64, f64)) -> f64| {
        lines.iter().flat_map(|(_, _, points)| points).map(pick).fold(1.0, f64::max)
    };
    let least =
        lines.iter().flat_map(|(_, _, points)| points).map(|(x, _)| x.log10()).fold(f64::MAX, f64::min);
    let (widest, tallest) = (most(&|(x, _)| x.log10()), most(&|(_, y)| height(*y)));
    let top = if unit == Unit::Ns { tallest.ceil() } else { tallest * 1.15 };
    let plot = Plot {
        left: 52,
        top: 8,
        width: SIZE.0 - 52 - NAMES,
        height: SIZE.1 - 30,
        x: least.min(widest)..widest,
        y: 0.0..top,
    };
    let mut canvas = Canvas::default();
    match unit {
        Unit::Ns => canvas.across(&plot, (0..=top as i32).map(|decade| (f64::from(decade), scaled(decade)))),
        Unit::Count => {
            let step = if top > 6.0 { 2.0 } else { 0.5 };
            let ticks = (0..=20).map(|tick| f64::from(tick) * step).filter(|value| *value <= top);
            canvas.across(&plot, ticks.map(|value| (value, value.to_string())));
        }
    }
    let mut marks: Vec<f64> = lines.iter().flat_map(|(_, _, points)| points).map(|(x, _)| *x).collect();
    marks.sort_by(f64::total_cmp);
    marks.dedup();
    canvas.up(&plot, marks.into_iter().map(|x| (x.log10(), count(x))));
    let mut ends = Vec::new();
    for &(place, name, ref points) in lines.iter().rev() {
        let pen = Pen::Allocator(place);
        let drawn: Vec<_> = points.iter().map(|&(x, y)| plot.at(x.log10(), height(y))).collect();
        ends.extend(drawn.last().map(|&end| (end, pen, name)));
        canvas.line(drawn, pen);
    }
    names_at_the_ends(&mut canvas, &plot, ends);
    canvas.done(SIZE, label.to_owned())
}

/// A count, short: "10k", "1M".
fn count(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.0}M", value / 1e6),
        value if value >= 1e3 => format!("{:.0}k", value / 1e3),
        value => format!("{value:.0}"),
    }
}
