//! The charts of a page.

use super::super::charts::growth::{self, Line, Unit};
use super::super::charts::{Drawing, curves, memory, timelines};
use super::super::document::{Document, Figure, Figures, Part};
use super::super::grid::allocators;
use super::super::sheets::latency::{self, resident};
use super::super::text::ns;
use crate::results::{Count, CpuRow, Latency, Measured, Report, Scenario};
use crate::scenarios::{grown, over_time as drawn_over_time};

/// A scenario's drawing.
fn figure(scenario: &Scenario, drawing: Drawing) -> Figure {
    Figure { name: scenario.name.clone(), about: scenario.about.clone(), drawing }
}

fn figures<'a>(name: &'static str, all: Vec<Figure>) -> Part<'a> {
    Part::Figures(Figures { name, shared: None, all })
}

/// Percentile curves, a chart for each scenario.
pub(super) fn percentiles(told: &mut Document<'_>, report: &Report) {
    let (names, axes) = (allocators(report), curves::Axes::of(report));
    let drawn = |scenario| Some(figure(scenario, curves::draw(scenario, &report.timer, &names, &axes)?));
    let all = report.scenarios.iter().filter_map(drawn).collect();
    let about = "How many of the frees took at most how long, each timed alone, the timer included. p99.9: of 1000 frees, 999 \
                 took no longer. Both axes are logarithmic and the same in all charts. The far end is one operation out of \
                 all and holds whatever interrupted it. Where free is not timed by itself, allocate and free together are \
                 shown. A name stands beside the end of its line.";
    let curves = Part::Figures(Figures { name: "percentiles", shared: Some(axes.frame()), all });
    told.section("The tail of free", vec![Part::Text(about.to_owned()), curves]);
}

/// The slowest operations over time.
pub(super) fn over_time(told: &mut Document<'_>, report: &Report) {
    let names = allocators(report);
    let all = report.scenarios.iter().filter(|scenario| drawn_over_time(&scenario.name));
    let all = all.filter_map(|scenario| Some(figure(scenario, timelines::draw(scenario, &names)?))).collect();
    let about = "The slowest free in each stretch of the last turn. The allocators' turns followed each other, so a \
                 neighbour's noise may be in one and not in the next.";
    told.section("Free over time", vec![Part::Text(about.to_owned()), figures("over-time", all)]);
}

/// What is resident, where the scenario knows how much was asked for.
pub(super) fn resident_bytes(told: &mut Document<'_>, report: &Report) {
    let names = allocators(report);
    let place = |name: &str| names.iter().position(|known| *known == name).unwrap_or_default();
    let mut all = Vec::new();
    for scenario in &report.scenarios {
        let groups: Vec<_> = resident(scenario).map(|(name, memory)| (place(name), name, memory)).collect();
        if !groups.is_empty() {
            all.push(figure(scenario, memory::draw(&scenario.name, &groups)));
        }
    }
    let about = "Resident bytes, beyond what the process had before, for each byte asked for: at the peak, after all \
                 was freed, after the allocator was asked to give back what it can. The line is what was asked for.";
    told.section("Memory", vec![Part::Text(about.to_owned()), figures("memory", all)]);
    told.table(latency::memory(report));
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
pub(super) fn growth(told: &mut Document<'_>, report: &Report) {
    let names = allocators(report);
    let mut all = Vec::new();
    for what in ["live", "adapters", "tags"] {
        for (call, latency) in CALLS {
            let mut lines: Vec<Line<'_>> = Vec::new();
            for (place, name) in names.iter().copied().enumerate() {
                let points = sizes(report, what, name, latency);
                lines.push((place, name, points.map(|(size, took)| (size as f64, took.mean)).collect()));
            }
            lines.retain(|line| !line.2.is_empty());
            if !lines.is_empty() {
                let drawing = growth::draw(&format!("{call} by {what}"), &lines, Unit::Ns);
                let what = if what == "live" { "live blocks" } else { what };
                let about = "Mean of the best batch.".to_owned();
                all.push(Figure { name: format!("{call} by {what}"), about, drawing });
            }
        }
    }
    let about = format!(
        "What a call takes as something grows. Live blocks that no longer fit a cache, or the reach of the \
         processor's page tables, cost what memory costs.{}{}",
        ends(report, "adapters"),
        ends(report, "tags")
    );
    told.section("Growth", vec![Part::Text(about), figures("calls", all)]);
}

/// What a call costs as CPUs grow, counted.
pub(super) fn cpus(told: &mut Document<'_>, report: &Report) {
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
    let mut all = Vec::new();
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
                let name = format!("{what} of a free, {platform}");
                let drawing = growth::draw(&format!("{name}, by CPUs"), &lines, Unit::Count);
                let about = "Mean, on simulated machines of so many CPUs.".to_owned();
                all.push(Figure { name, about, drawing });
            }
        }
    }
    let about = "Counted in the shipped code, on simulated machines: which CPU frees what another one allocated is \
                 each line's name. Counts repeat; they are no times.";
    told.section("Growth by CPUs", vec![Part::Text(about.to_owned()), figures("cpus", all)]);
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
        let mut told = Document::default();
        growth(&mut told, &report);
        let Part::Text(about) = &told.sections[0].parts[0] else { panic!("no text") };
        assert!(about.contains("9.0 to 18.0 ns") && !about.contains("cost nothing"), "{about}");
    }
}
