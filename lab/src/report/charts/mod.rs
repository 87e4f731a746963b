//! Charts as SVG that takes its colours from the page.

mod canvas;
pub(super) mod curves;
pub(super) mod growth;
pub(super) mod memory;
pub(super) mod ratios;
pub(super) mod timelines;

use crate::results::{Latency, Measured};

/// How many colours the page has for allocators other than the pool.
const HUES: usize = 7;
/// Dashes and gaps. Seven colours and three of these make 21 lines that differ in both from the next one.
const DASHES: [&str; 3] = ["9 3", "2.5 2.5", "10 3 2 3"];

/// An allocator's colour and line: the pool's place is 0.
pub(super) fn colour(place: usize) -> String {
    if place == 0 { "var(--pool)".to_owned() } else { format!("var(--hue-{})", (place - 1) % HUES) }
}

/// Empty for an unbroken line, which is the pool's.
pub(super) fn dashes(place: usize) -> &'static str {
    if place == 0 { "" } else { DASHES[(place - 1) % DASHES.len()] }
}

/// The empty timer's line.
pub(super) const TIMER_DASHES: &str = "1 4";

/// What a chart of free shows: free, or where that is not timed by itself, both calls together.
pub(super) fn charted(measured: &Measured) -> Option<&Latency> {
    measured.free.as_ref().or(measured.pair.as_ref()).filter(|latency| !latency.curve.is_empty())
}

/// A tick of a logarithmic axis of ns.
fn scaled(decade: i32) -> String {
    let (power, unit) = match decade {
        ..3 => (decade, "ns"),
        3..6 => (decade - 3, "µs"),
        6..9 => (decade - 6, "ms"),
        _ => (decade - 9, "s"),
    };
    format!("{} {unit}", 10_f64.powi(power))
}
