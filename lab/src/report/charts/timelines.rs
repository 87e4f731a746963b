//! The slowest operation over time: a strip for each allocator.

use super::canvas::{Canvas, Face, Pen, Plot, Side};
use super::{Drawing, charted, scaled};
use crate::results::Scenario;

const WIDTH: i32 = 440;
const STRIP: i32 = 34;
/// Above a strip, with its allocator's name.
const HEAD: i32 = 24;
const LEFT: i32 = 52;

/// The last turn in one scenario. `names` are all allocators of the page, in their places.
/// `None` when nothing was measured.
pub(in super::super) fn draw(scenario: &Scenario, names: &[&str]) -> Option<Drawing> {
    let strips: Vec<_> = scenario
        .allocators
        .iter()
        .filter_map(|measured| {
            let timeline = &charted(measured)?.timeline;
            let place = names.iter().position(|name| *name == measured.name)?;
            (timeline.len() > 1).then_some((place, measured.name.as_str(), timeline))
        })
        .collect();
    if strips.is_empty() {
        return None;
    }
    let points = || strips.iter().flat_map(|(_, _, timeline)| timeline.iter());
    let end = points().map(|(ms, _)| *ms).fold(1.0, f64::max);
    let low = points().map(|(_, ns)| ns.max(1.0).log10()).fold(9.0, f64::min).floor();
    let high = points().map(|(_, ns)| ns.max(1.0).log10()).fold(low + 1.0, f64::max).ceil();
    let mut canvas = Canvas::default();
    for (row, (place, name, timeline)) in strips.iter().enumerate() {
        let top = HEAD + (STRIP + HEAD) * row as i32;
        let plot =
            Plot { left: LEFT, top, width: WIDTH - LEFT - 20, height: STRIP, x: 0.0..end, y: low..high };
        // The two ends, which have room for their names.
        canvas.across(&plot, [low, high].map(|decade| (decade, scaled(decade as i32))));
        if row + 1 == strips.len() {
            let step = (end / 5.0).ceil();
            let ticks = (0..=5).map(|tick| step * f64::from(tick)).filter(|ms| *ms <= end);
            canvas.up(&plot, ticks.map(|ms| (ms, format!("{ms} ms"))));
        }
        let face = if *place == 0 { Face::Bold } else { Face::Plain };
        canvas.text(name, (LEFT, top - 9), Side::Left, face);
        let tops = timeline.iter().map(|&(ms, ns)| plot.at(ms, ns.max(1.0).log10()));
        canvas.steps(&plot, tops, Pen::Allocator(*place));
    }
    let height = (STRIP + HEAD) * strips.len() as i32 + 24;
    Some(canvas.done((WIDTH, height), format!("the slowest free over time in {}", scenario.name)))
}
