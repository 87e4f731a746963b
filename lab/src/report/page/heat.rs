//! A grid of ratios as a table of colours.

use maud::{Markup, html};

use super::super::document::Kind;
use super::super::grid::{Cell, Compared, Grid};
use super::super::ratio::Verdict;
use super::super::text::{ns, ratio, span};
use super::pieces::{Known, footnotes};

/// More columns than these have their names upright.
const FLAT: usize = 6;

/// Colours grow stronger at these factors, either way.
const STEPS: [f64; 5] = [1.1, 1.5, 2.0, 4.0, 8.0];

/// The table, with its footnotes. `between` says whose times a cell's title has.
pub(super) fn table(grid: &Grid, between: [&str; 2], known: &Known) -> Markup {
    let missing = grid.missing();
    let note = |why: &str| missing.iter().position(|(known, _)| known == why).map_or(0, |place| place + 1);
    let class = if grid.columns.len() > FLAT { "heat upright" } else { "heat" };
    let own = grid.rows.iter().any(|row| row.own.is_some());
    let notes: Vec<_> = missing
        .iter()
        .enumerate()
        .map(|(place, (why, whose))| format!("{}: {why} ({whose}).", place + 1))
        .collect();
    html! {
        div.scroll {
            table class=(class) {
                thead {
                    tr {
                        th { "scenario" }
                        @if own { th.own { (between[0]) ", ns" } }
                        @for name in &grid.columns {
                            th.name { span { (known.name(Kind::Allocator, name)) } }
                        }
                    }
                }
                tbody {
                    @for row in &grid.rows {
                        tr {
                            th { (known.name(Kind::Scenario, &row.scenario)) }
                            @if own { td.own { (row.own.map(ns).unwrap_or_default()) } }
                            @for cell in &row.cells {
                                @match cell {
                                    Cell::Ratio(compared) => { (filled(compared, between)) }
                                    Cell::Missing(why) => { td.none { "n/a" sup { (note(why)) } } }
                                }
                            }
                        }
                    }
                    @if grid.rows.len() > 1 { (overall(grid, own)) }
                }
            }
        }
        (footnotes(&notes))
    }
}

fn overall(grid: &Grid, own: bool) -> Markup {
    html! {
        tr.first {
            th { "geometric mean" }
            @if own { td {} }
            @for column in 0..grid.columns.len() {
                @match grid.overall(column) {
                    Some((mean, count)) => {
                        td class=(shade(mean)) title=(format!("of {count} scenarios")) { (ratio(mean)) }
                    }
                    None => { td.none { "n/a" } }
                }
            }
        }
    }
}

fn filled(compared: &Compared, between: [&str; 2]) -> Markup {
    let Compared { ratio: found, first, other } = compared;
    let mut title = format!("{} {}, {} {} ns", between[0], ns(*first), between[1], ns(*other));
    if let Some(interval) = found.interval {
        title += &format!("; {}", span(interval));
    }
    if let Some(best) = found.best {
        title += &format!("; best {}", ratio(best));
    }
    let mut class = shade(found.value);
    if let Verdict::Unclear(why) = found.verdict {
        title += &format!("; {why}");
        class += " unclear";
    }
    html! { td class=(class) title=(title) { (ratio(found.value)) } }
}

/// A class of the style sheet: "f3" of five steps faster, "s2" slower, "even".
fn shade(ratio: f64) -> String {
    let factor = ratio.max(1.0 / ratio);
    match STEPS.iter().filter(|step| factor >= **step).count() {
        0 => "even".to_owned(),
        steps if ratio < 1.0 => format!("f{steps}"),
        steps => format!("s{steps}"),
    }
}

/// What the colours mean.
pub(super) fn key() -> Markup {
    let shades = ["f5", "f4", "f3", "f2", "f1", "even", "s1", "s2", "s3", "s4", "s5"];
    let labels = ["1/8", "1/4", "1/2", "1/1.5", "1/1.1", "1", "1.1", "1.5", "2", "4", "8"];
    html! {
        div.key {
            b { "faster" }
            @for (shade, label) in shades.iter().zip(labels) { span class=(shade) { (label) } }
            b { "slower" }
            span.even.unclear { "1.02" }
            b { "too noisy to tell" }
        }
        p.dim.hover {
            "A cell under the pointer shows both times, the ratio's interval, and the ratio of the best batches."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_mirror() {
        for (ratio, class) in [
            (1.0, "even"),
            (0.95, "even"),
            (1.2, "s1"),
            (0.8, "f1"),
            (100.0, "s5"),
            (0.01, "f5"),
            (0.4, "f3"),
        ] {
            assert_eq!(shade(ratio), class, "{ratio}");
        }
    }
}
