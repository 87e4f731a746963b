//! The charts of a page.

use super::super::charts::{self, TIMER_DASHES, curves, memory, timelines};
use super::super::grid::allocators;
use super::super::sheets::latency::resident;
use super::markup::{escape, figure, heading};
use crate::results::Report;

/// Scenarios whose latency over time is shown: one CPU, two, and more threads than CPUs.
const OVER_TIME: [&str; 3] = ["hot", "remote-100", "oversubscribed"];

/// Percentile curves, a chart for each scenario.
pub(super) fn percentiles(report: &Report) -> Result<String, String> {
    let (names, axes) = (allocators(report), curves::Axes::of(report));
    let mut figures = String::new();
    for scenario in &report.scenarios {
        if let Some(chart) = curves::draw(scenario, &report.timer, &names, &axes)? {
            figures += &figure(&scenario.name, &scenario.about, &chart);
        }
    }
    let about = "How many of the frees took at most how long, each timed alone, the timer included; both axes are \
                 logarithmic and the same in all charts. The far end is one operation out of all and holds whatever \
                 interrupted it. Where free is not timed by itself, allocate and free together are shown.";
    Ok(grid("The tail of free", about, &legend(&names, true), &figures))
}

/// The slowest operations over time.
pub(super) fn over_time(report: &Report) -> Result<String, String> {
    let names = allocators(report);
    let mut figures = String::new();
    for scenario in report.scenarios.iter().filter(|scenario| OVER_TIME.contains(&scenario.name.as_str())) {
        if let Some(chart) = timelines::draw(scenario, &names)? {
            figures += &figure(&scenario.name, &scenario.about, &chart);
        }
    }
    let about = "The slowest free in each stretch of the last turn. The allocators' turns followed each other, so a \
                 neighbour's noise may be in one and not in the next.";
    Ok(grid("Free over time", about, "", &figures))
}

/// What is resident, where the scenario knows how much was asked for.
pub(super) fn resident_bytes(report: &Report) -> Result<String, String> {
    let names = allocators(report);
    let mut figures = String::new();
    for scenario in &report.scenarios {
        let place = |name: &str| names.iter().position(|known| *known == name).unwrap_or_default();
        let groups: Vec<_> = resident(scenario).map(|(name, memory)| (place(name), name, memory)).collect();
        if !groups.is_empty() {
            let chart = memory::draw(&scenario.name, &groups, names.len())?;
            figures += &figure(&scenario.name, &scenario.about, &chart);
        }
    }
    let about = "Resident bytes, beyond what the process had before, for each byte asked for: at the peak, after all \
                 was freed, after the allocator was asked to give back what it can. The line is what was asked for.";
    Ok(grid("Memory", about, "", &figures))
}

fn grid(title: &str, about: &str, legend: &str, figures: &str) -> String {
    if figures.is_empty() {
        return String::new();
    }
    format!("{}{legend}<div class=\"grid\">\n{figures}</div>\n", heading(title, about))
}

/// The allocators' lines; the same in all charts.
fn legend(names: &[&str], timer: bool) -> String {
    let sample = |colour: &str, dashes: &str, width: u32, name: &str| {
        format!(
            "<span><svg viewBox=\"0 0 34 10\" aria-hidden=\"true\"><path d=\"M0 5H34\" stroke=\"{colour}\" \
             stroke-width=\"{width}\" stroke-dasharray=\"{dashes}\"/></svg>{}</span>",
            escape(name)
        )
    };
    let mut out = String::from("<div class=\"legend\">");
    for (place, name) in names.iter().enumerate() {
        let width = if place == 0 { 4 } else { 2 };
        out += &sample(&charts::colour(place), charts::dashes(place), width, name);
    }
    if timer {
        out += &sample("var(--timer)", TIMER_DASHES, 2, "empty timer");
    }
    out + "</div>\n"
}
