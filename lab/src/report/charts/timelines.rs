//! The slowest operation over time: a strip for each allocator.

use super::canvas::{Canvas, Pen, Plot, Side, svg};
use super::{charted, scaled};
use crate::results::Scenario;

const WIDTH: i32 = 600;
const STRIP: i32 = 46;
const GAP: i32 = 22;
const LEFT: i32 = 190;

/// The last turn in one scenario. `names` are all allocators of the page, in their places.
/// `None` when nothing was measured.
pub(in super::super) fn draw(scenario: &Scenario, names: &[&str]) -> Result<Option<String>, String> {
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
        return Ok(None);
    }
    let points = || strips.iter().flat_map(|(_, _, timeline)| timeline.iter());
    let end = points().map(|(ms, _)| *ms).fold(1.0, f64::max);
    let low = points().map(|(_, ns)| ns.max(1.0).log10()).fold(9.0, f64::min).floor();
    let high = points().map(|(_, ns)| ns.max(1.0).log10()).fold(low + 1.0, f64::max).ceil();
    let height = 10 + (STRIP + GAP) * strips.len() as i32 + 8;
    let label = format!("the slowest free over time in {}", scenario.name);
    let draw = |canvas: &Canvas<'_>| {
        for (row, (place, name, timeline)) in strips.iter().enumerate() {
            let top = 10 + (STRIP + GAP) * row as i32;
            let plot =
                Plot { left: LEFT, top, width: WIDTH - LEFT - 24, height: STRIP, x: 0.0..end, y: low..high };
            let middle = ((low + high) / 2.0).floor();
            let ticks = [low, middle, high].map(|decade| (decade, scaled(decade as i32)));
            canvas.across(&plot, ticks)?;
            if row + 1 == strips.len() {
                let step = (end / 5.0).ceil();
                let ticks = (0..=5).map(|tick| step * f64::from(tick)).filter(|ms| *ms <= end);
                canvas.up(&plot, ticks.map(|ms| (ms, format!("{ms} ms"))))?;
            }
            canvas.text(name, (LEFT - 66, top + STRIP / 2), Side::Right, *place == 0)?;
            let pen = Pen::Allocator(*place);
            let tops = timeline.iter().map(|&(ms, ns)| plot.at(ms, ns.max(1.0).log10()));
            canvas.sticks(&plot, tops, pen)?;
        }
        Ok(())
    };
    svg((WIDTH, height), &label, names.len(), draw).map(Some)
}
