//! Charts as SVG that takes its colours from the page.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::compare::{self, Measure};
use super::text::ns;
use crate::results::{Latency, Report, Scenario};

// Stand-ins that the page's colours replace, so that one drawing serves light and dark.
const INK: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
const TIMER: RGBColor = RGBColor(3, 3, 3);
const SERIES: [RGBColor; 4] = [RGBColor(4, 4, 4), RGBColor(5, 5, 5), RGBColor(6, 6, 6), RGBColor(7, 7, 7)];
const COLOURS: [(&str, &str); 7] = [
    ("#010101", "currentColor"),
    ("#020202", "var(--grid)"),
    ("#030303", "var(--timer)"),
    ("#040404", "var(--series-0)"),
    ("#050505", "var(--series-1)"),
    ("#060606", "var(--series-2)"),
    ("#070707", "var(--series-3)"),
];

/// Size of all writing in a chart.
const LABEL: i32 = 17;

type Failure = Box<dyn std::error::Error>;

/// Draws on an SVG and hands it over to the page.
fn svg(
    size: (u32, u32),
    label: &str,
    draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, plotters::coord::Shift>) -> Result<(), Failure>,
) -> Result<String, String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        draw(&area)
            .and_then(|()| Ok(area.present()?))
            .map_err(|error| format!("the chart '{label}': {error}"))?;
    }
    for (stand_in, colour) in COLOURS {
        text = text.replace(stand_in, colour);
    }
    // Without a fixed size it fits its column.
    let fixed = format!("<svg width=\"{}\" height=\"{}\" ", size.0, size.1);
    Ok(text.replacen(&fixed, &format!("<svg role=\"img\" aria-label=\"{label}\" "), 1))
}

fn series(place: usize) -> RGBColor {
    SERIES[place % SERIES.len()]
}

/// Bars of the means, a group per scenario; lengths compare within a measure.
/// `None` when nothing was measured.
pub(super) fn means(report: &Report, measure: Measure) -> Result<Option<String>, String> {
    let rows = compare::rows(report, measure);
    if rows.is_empty() {
        return Ok(None);
    }
    let groups = rows.iter().filter(|row| !row.scenario.is_empty()).count();
    let lines = (rows.len() + groups) as f64;
    let longest = rows.iter().map(|row| row.mean).fold(1.0, f64::max);
    let height = 52 + (lines * 18.0) as u32;
    svg((560, height), &format!("mean {} by scenario and allocator, in ns", measure.name()), |area| {
        let mut chart = ChartBuilder::on(area)
            .margin_right(56)
            .margin_top(4)
            .set_label_area_size(LabelAreaPosition::Left, 104)
            .set_label_area_size(LabelAreaPosition::Bottom, 44)
            .build_cartesian_2d(0.0..longest, 0.0..lines)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .y_labels(0)
            .x_labels(6)
            .x_label_formatter(&|value: &f64| format!("{value:.0}"))
            .x_desc("ns, mean")
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(GRID)
            .label_style(("sans-serif", LABEL, &INK))
            .draw()?;
        let name =
            TextStyle::from(("sans-serif", LABEL)).color(&INK).pos(Pos::new(HPos::Right, VPos::Center));
        let value =
            TextStyle::from(("sans-serif", LABEL)).color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
        let (mut y, mut place) = (lines - 0.5, 0);
        for (index, row) in rows.iter().enumerate() {
            if !row.scenario.is_empty() {
                place = 0;
                y -= f64::from(u8::from(index > 0));
                let members = 1 + rows[index + 1..].iter().take_while(|row| row.scenario.is_empty()).count();
                let middle = y - members as f64 / 2.0;
                let text = Text::new(row.scenario.to_owned(), (-10, 0), name.clone());
                chart.draw_series([EmptyElement::at((0.0, middle)) + text])?;
            }
            let bar = [(0.0, y - 0.08), (row.mean, y - 0.92)];
            chart.draw_series([Rectangle::new(bar, series(place).filled())])?;
            let text = Text::new(ns(row.mean), (6, 0), value.clone());
            chart.draw_series([EmptyElement::at((row.mean, y - 0.5)) + text])?;
            y -= 1.0;
            place += 1;
        }
        Ok(())
    })
    .map(Some)
}

const STEPS: [&str; 5] = ["p50", "p99", "p99.9", "p99.99", "max"];

fn curve(latency: &Latency) -> [f64; 5] {
    // The axis is logarithmic: no zero.
    [latency.p50, latency.p99, latency.p999, latency.p9999, latency.max].map(|value| value.max(1.0))
}

/// Percentiles of free in one scenario, the empty timer below them.
/// `None` when nothing was measured.
pub(super) fn percentiles(scenario: &Scenario, null: &Latency) -> Result<Option<String>, String> {
    let mut curves = vec![(TIMER, curve(null))];
    for (place, measured) in scenario.allocators.iter().enumerate().rev() {
        if let Some(free) = &measured.free {
            curves.push((series(place), curve(free)));
        }
    }
    if curves.len() == 1 {
        return Ok(None);
    }
    let all = || curves.iter().flat_map(|(_, points)| points.iter().copied());
    let low = 10_f64.powf(all().fold(f64::MAX, f64::min).log10().floor());
    let high = 10_f64.powf(all().fold(10.0, f64::max).log10().ceil());
    svg((400, 260), &format!("percentiles of free in {}, in ns", scenario.name), |area| {
        let mut chart = ChartBuilder::on(area)
            .margin_right(24)
            .margin_top(10)
            .set_label_area_size(LabelAreaPosition::Left, 66)
            .set_label_area_size(LabelAreaPosition::Bottom, 32)
            .build_cartesian_2d(0.0..4.0, (low..high).log_scale())?;
        chart
            .configure_mesh()
            .x_labels(5)
            .y_labels(6)
            .x_label_formatter(&|step: &f64| {
                STEPS.get(step.round() as usize).copied().unwrap_or("").to_owned()
            })
            .y_label_formatter(&|value: &f64| scaled(*value))
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(GRID)
            .label_style(("sans-serif", LABEL, &INK))
            .draw()?;
        for (colour, points) in &curves {
            let points = points.iter().enumerate().map(|(step, &value)| (step as f64, value));
            chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?;
            chart.draw_series(points.map(|point| Circle::new(point, 3, colour.filled())))?;
        }
        Ok(())
    })
    .map(Some)
}

/// A tick of a logarithmic axis.
fn scaled(value: f64) -> String {
    match value {
        value if value < 1e3 => format!("{value:.0} ns"),
        value if value < 1e6 => format!("{:.0} µs", value / 1e3),
        value => format!("{:.0} ms", value / 1e6),
    }
}
