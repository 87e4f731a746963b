//! Charts as SVG whose colours are classes of a style sheet: the page's, or, in a file of its own, the drawing's.

mod canvas;
pub(super) mod curves;
pub(super) mod growth;
pub(super) mod memory;
pub(super) mod panels;
pub(super) mod timelines;

use std::fmt::Write;

pub(super) use canvas::Drawing;

use crate::results::{Latency, Measured};

/// The colours, light and dark.
pub(super) const PALETTE: &str = include_str!("palette.css");
/// What the drawings' classes are.
const CLASSES: &str = include_str!("charts.css");

/// The size at which a picture is shown by itself, in hundredths of how it is drawn.
pub(super) const PICTURE: i32 = 130;

/// How many colours there are for allocators other than the pool.
const HUES: usize = 7;
/// Dashes and gaps. Seven colours and three of these make 21 lines that differ in both from the next one.
const DASHES: [&str; 3] = ["9 3", "2.5 2.5", "10 3 2 3"];

/// An allocator's class: the pool's place is 0.
fn class(place: usize) -> String {
    let lines = HUES * DASHES.len();
    format!("c{}", if place == 0 { 0 } else { (place - 1) % lines + 1 })
}

/// The style sheet of all drawings, but for the palette.
pub(super) fn style() -> String {
    let mut rules = CLASSES.to_owned();
    for line in 0..HUES * DASHES.len() {
        let (hue, dashes) = (line % HUES, DASHES[line % DASHES.len()]);
        // Writing to a string does not fail.
        let _ = writeln!(rules, ".c{} {{ --pen: var(--hue-{hue}); stroke-dasharray: {dashes}; }}", line + 1);
    }
    rules
}

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
