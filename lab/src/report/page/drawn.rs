//! The charts of a page.

use super::super::charts::growth::{self, Line, Unit};
use super::super::charts::{self, TIMER_DASHES, curves, memory, ratios, timelines};
use super::super::grid::{Grid, allocators};
use super::super::sheets::latency::resident;
use super::super::text::ns;
use super::markup::{escape, figure, heading};
use crate::results::{Count, CpuRow, Latency, Measured, Report};
use crate::scenarios::grown;

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

/// All ratios of a measure.
pub(super) fn ratios(report: &Report, grid: &Grid) -> Result<String, String> {
    let about =
        "Each mark is another allocator; left of the line the pool is faster. The axis is logarithmic.";
    let chart = ratios::draw(grid, &allocators(report))?;
    Ok(chart.map(|chart| figure(&grid.name(), about, &chart)).unwrap_or_default())
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

type Call = fn(&Measured) -> Option<&Latency>;

/// The calls whose growth is shown.
const CALLS: [(&str, Call); 2] =
    [("free", |measured| measured.free.as_ref()), ("allocate", |measured| measured.alloc.as_ref())];

/// How long an allocator's call took, by how much there was of what grows.
fn sizes<'a>(
    report: &'a Report,
    what: &str,
    name: &str,
    call: Call,
) -> impl Iterator<Item = (u64, &'a Latency)> {
    report.scenarios.iter().filter_map(move |scenario| {
        let (_, size) = grown(&scenario.name).filter(|(grown, _)| *grown == what)?;
        let measured = scenario.allocators.iter().find(|measured| measured.name == name)?;
        Some((size, call(measured)?))
    })
}

/// "From 1 to 1000 tags, the pool's free goes from 5.7 to 5.5 ns (median 7.0 to 5.9), ..."; empty where nothing grew.
fn ends(report: &Report, what: &str) -> String {
    let Some(pool) = allocators(report).first().copied() else { return String::new() };
    let (mut between, mut calls) = (None, Vec::new());
    for (call, latency) in CALLS {
        let points: Vec<_> = sizes(report, what, pool, latency).collect();
        let [(from, first), .., (to, last)] = points.as_slice() else { continue };
        between = Some((*from, *to));
        calls.push(format!(
            "{call} goes from {} to {} ns (median {} to {})",
            ns(first.mean),
            ns(last.mean),
            ns(first.mean_median),
            ns(last.mean_median)
        ));
    }
    let Some((from, to)) = between else { return String::new() };
    format!(" From {from} to {to} {what}, the pool's {}.", calls.join(", "))
}

/// What a call costs as live blocks, adapters and tags grow.
pub(super) fn growth(report: &Report) -> Result<String, String> {
    let names = allocators(report);
    let mut figures = String::new();
    for what in ["live", "adapters", "tags"] {
        for (call, latency) in CALLS {
            let mut lines: Vec<Line<'_>> = Vec::new();
            for (place, name) in names.iter().copied().enumerate() {
                let points = sizes(report, what, name, latency);
                lines.push((place, name, points.map(|(size, took)| (size as f64, took.mean)).collect()));
            }
            lines.retain(|line| !line.2.is_empty());
            if !lines.is_empty() {
                let chart = growth::draw(&format!("{call} by {what}"), &lines, Unit::Ns)?;
                let what = if what == "live" { "live blocks" } else { what };
                figures += &figure(&format!("{call} by {what}"), "mean of the best batch", &chart);
            }
        }
    }
    let about = format!(
        "What a call takes as something grows. Live blocks that no longer fit a cache, or the reach of the \
         processor's page tables, cost what memory costs.{}{}",
        ends(report, "adapters"),
        ends(report, "tags")
    );
    Ok(grid("Growth", &about, &legend(&names, false), &figures))
}

/// What a call costs as CPUs grow, counted.
pub(super) fn cpus(report: &Report) -> Result<String, String> {
    const TRAFFIC: [(&str, &str); 4] = [
        ("Own", "its own"),
        ("Neighbour", "its neighbour's"),
        ("First", "one frees all"),
        ("FromFirst", "one allocates all"),
    ];
    type Counted = (&'static str, fn(&Count) -> f64);
    let counted: [Counted; 3] = [
        ("atomic operations", |count| count.operations),
        ("locked operations", |count| count.locked),
        ("cache lines from another CPU", |count| count.lines),
    ];
    let mut figures = String::new();
    for platform in ["portable", "masked"] {
        for (what, count) in counted {
            let line = |(place, &(traffic, name)): (usize, &(&'static str, &'static str))| {
                let of = |row: &&CpuRow| row.platform == platform && row.traffic == traffic;
                let rows = report.cpus.iter().filter(of);
                (place, name, rows.map(|row| (f64::from(row.cpus), count(&row.free))).collect::<Vec<_>>())
            };
            let lines: Vec<_> =
                TRAFFIC.iter().enumerate().map(line).filter(|line| !line.2.is_empty()).collect();
            if !lines.is_empty() {
                let title = format!("{what} of a free, {platform}");
                let chart = growth::draw(&format!("{title}, by CPUs"), &lines, Unit::Count)?;
                figures += &figure(&title, "mean, on simulated machines of so many CPUs", &chart);
            }
        }
    }
    let about = "Counted in the shipped code, on simulated machines: which CPU frees what another one allocated is \
                 each line's name. Counts repeat; they are no times.";
    Ok(grid("Growth by CPUs", about, "", &figures))
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

#[cfg(test)]
mod tests {
    use super::super::super::made_up::{self, TURNS, frees, scenario};
    use super::*;

    /// Whatever it costs, the text over the charts has the figures that they show.
    #[test]
    fn what_grows_is_said_as_it_was_measured() {
        let point = |name: &str, mean: f64| {
            let pool = frees("pool", mean, &TURNS);
            scenario(name, vec![Measured { alloc: Some(made_up::latency(3.0 * mean, &TURNS)), ..pool }])
        };
        let report = made_up::report(vec![
            point("adapters-1", 10.0),
            point("adapters-10", 12.0),
            point("adapters-1000", 20.0),
            point("tags-1", 10.0),
        ]);
        assert_eq!(
            ends(&report, "adapters"),
            " From 1 to 1000 adapters, the pool's free goes from 9.0 to 18.0 ns (median 10.0 to 20.0), \
             allocate goes from 27.0 to 54.0 ns (median 30.0 to 60.0)."
        );
        assert_eq!(ends(&report, "tags"), "", "one point goes nowhere");
        let page = growth(&report).unwrap();
        assert!(page.contains("9.0 to 18.0 ns") && !page.contains("cost nothing"), "{page}");
    }
}
