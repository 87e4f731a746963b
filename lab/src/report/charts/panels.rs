//! The ratios of a measure as bars: a panel for each of some allocators, a row for each scenario.
//!
//! The bars are the allocator's time over the pool's, so that what is slower than the pool goes to the right. (Tables have
//! the pool's over the allocator's.)

use super::Drawing;
use super::canvas::{Canvas, Face, Pen, Plot, Side};
use crate::report::grid::{Cell, Compared, Grid};
use crate::report::ratio::{Measure, Verdict};
use crate::report::text;

const LEFT: i32 = 142;
/// A panel's width at least, and all panels'.
const PANEL: i32 = 72;
const PANELS: i32 = 4 * (PANEL + GAP);
const GAP: i32 = 10;
const ROW: i32 = 16;
const BAR: i32 = 10;
/// Title, what the sides mean, and the panels' names.
const HEAD: i32 = 94;
/// A line below the panels, and how many characters it has.
const LINE: i32 = 16;
const LETTERS: i32 = 7;
/// The axis goes no further than these powers of 2, either way.
const FURTHEST: (i32, i32) = (-3, 4);

/// A row: its name, and a ratio for each panel.
type Row<'a> = (&'a str, Vec<Option<(f64, Verdict)>>);

/// Bars for these of the grid's allocators. `check` are those that look for misuse. A grid that has no ratio of them makes
/// no chart.
pub(in super::super) fn draw(grid: &Grid, peers: &[&str], check: &[&str]) -> Option<Drawing> {
    let columns: Vec<_> =
        peers.iter().filter_map(|peer| grid.columns.iter().position(|column| column == peer)).collect();
    let (mut rows, left_out) = rows(grid, &columns);
    if rows.is_empty() {
        return None;
    }
    let scenarios = rows.len();
    let mean = |&column: &usize| grid.overall(column).map(|(mean, _)| (mean, side(mean)));
    rows.push(("geometric mean", columns.iter().map(mean).collect()));
    let values = rows.iter().flat_map(|(_, bars)| bars.iter().flatten());
    let (least, most) = values
        .map(|(ratio, _)| -ratio.log2())
        .fold((-1.0, 1.0), |(least, most): (f64, f64), power| (power.min(least), power.max(most)));
    let powers = (least.floor() as i32).max(FURTHEST.0)..(most.ceil() as i32).min(FURTHEST.1);
    let panel_width = (PANELS / columns.len() as i32 - GAP).max(PANEL);
    let width = LEFT + (panel_width + GAP) * columns.len() as i32 + 4;
    let bottom = HEAD + ROW * rows.len() as i32 + 4;

    let mut canvas = Canvas::default();
    canvas.text(&title(grid), (6, 14), Side::Left, Face::Bold);
    canvas.text(
        "Blue, to the right: so many times slower than storport-pool.",
        (6, 33),
        Side::Left,
        Face::Plain,
    );
    canvas.text("Orange, to the left: so many times faster.", (6, 49), Side::Left, Face::Plain);
    for (row, (scenario, _)) in rows.iter().enumerate() {
        let face = if row == scenarios { Face::Bold } else { Face::Plain };
        canvas.text(scenario, (LEFT - 8, middle(row, scenarios)), Side::Right, face);
    }
    for (panel, &column) in columns.iter().enumerate() {
        let left = LEFT + (panel_width + GAP) * panel as i32;
        let plot = Plot {
            left,
            top: HEAD,
            width: panel_width,
            height: bottom - HEAD,
            x: f64::from(powers.start)..f64::from(powers.end),
            y: 0.0..1.0,
        };
        let even = plot.at(0.0, 0.0).0;
        heading(&mut canvas, even, &grid.columns[column]);
        let ticks = (powers.start..=powers.end).filter(|power| power % 2 == 0);
        canvas.up(&plot, ticks.map(|power| (f64::from(power), times(power))));
        for (row, (_, bars)) in rows.iter().enumerate() {
            let face = if row == scenarios { Face::Bold } else { Face::Plain };
            match bars.get(panel).copied().flatten() {
                Some(found) => bar(&mut canvas, &plot, middle(row, scenarios), found, face),
                None => canvas.text("n/a", (even + 4, middle(row, scenarios)), Side::Left, Face::Dim),
            }
        }
        canvas.thin([(even, plot.top), (even, plot.bottom())], Pen::Ink);
    }
    let across = HEAD + ROW * scenarios as i32 + 1;
    canvas.thin([(6, across), (width - 4, across)], Pen::Grid);
    let mut y = bottom + 34;
    for line in
        text::lines(&below(check, &left_out), ((width - 12) * 10 / (LETTERS * 9)).unsigned_abs() as usize)
    {
        canvas.text(&line, (6, y), Side::Left, Face::Dim);
        y += LINE;
    }
    let label = format!("{}, by scenario: {}", title(grid), peers.join(", "));
    Some(canvas.done((width, y - LINE / 2 + 2), label))
}

/// The scenarios in which one of the columns has a ratio, and the names of the others.
fn rows<'a>(grid: &'a Grid, columns: &[usize]) -> (Vec<Row<'a>>, Vec<&'a str>) {
    let (mut rows, mut left_out) = (Vec::new(), Vec::new());
    for row in &grid.rows {
        let ratio = |&column: &usize| match row.cells.get(column) {
            Some(Cell::Ratio(Compared { ratio, .. })) => Some((ratio.value, ratio.verdict)),
            _ => None,
        };
        let bars: Vec<_> = columns.iter().map(ratio).collect();
        if bars.iter().any(Option::is_some) {
            rows.push((row.scenario.as_str(), bars));
        } else {
            left_out.push(row.scenario.as_str());
        }
    }
    (rows, left_out)
}

/// What a mean says.
fn side(ratio: f64) -> Verdict {
    if ratio > 1.0 { Verdict::Slower } else { Verdict::Faster }
}

fn title(grid: &Grid) -> String {
    let what = match grid.measure {
        Measure::Free => "free a block",
        Measure::Allocate => "allocate a block",
        Measure::Pair => "allocate and free a block",
    };
    format!("Time to {what}, relative to storport-pool")
}

/// The middle of a row; the last one stands apart.
fn middle(row: usize, last: usize) -> i32 {
    HEAD + ROW * row as i32 + ROW / 2 + if row == last { 4 } else { 0 }
}

/// An allocator's name above its panel: in two lines, if it has two parts.
fn heading(canvas: &mut Canvas, left: i32, name: &str) {
    let (above, below) = match name.rfind('-') {
        Some(dash) => name.split_at(dash),
        None => ("", name),
    };
    for (text, y) in [(above, HEAD - 24), (below, HEAD - 9)] {
        if !text.is_empty() {
            canvas.text(text, (left - 2, y), Side::Left, Face::Bold);
        }
    }
}

/// A bar from the line to the ratio, with its number where the pool loses, and beside a mean.
fn bar(canvas: &mut Canvas, plot: &Plot, y: i32, (ratio, verdict): (f64, Verdict), face: Face) {
    let (even, _) = plot.at(0.0, 0.0);
    let power = -ratio.log2();
    let (end, _) = plot.at(power, 0.0);
    let pen = if power < 0.0 { Pen::Slower } else { Pen::Faster };
    let strength = if matches!(verdict, Verdict::Unclear(_)) { 1 } else { 3 };
    canvas.bar([(end.min(even), y - BAR / 2), (end.max(even), y + BAR / 2)], pen, strength);
    if power > plot.x.end {
        // It goes on.
        canvas.text("›", (plot.right() - 2, y), Side::Right, Face::Bold);
    }
    if verdict == Verdict::Slower || matches!(face, Face::Bold) {
        let at = if power < 0.0 { even } else { end };
        canvas.text(&factor(ratio.max(1.0 / ratio)), (at + 4, y), Side::Left, face);
    }
}

/// "1.6×".
fn factor(factor: f64) -> String {
    if factor < 1.095 { format!("{factor:.2}×") } else { format!("{factor:.1}×") }
}

/// "1", "4", "16"; to the left there is no room, and each bar has its number.
fn times(power: i32) -> String {
    if power < 0 { String::new() } else { (1_u64 << power).to_string() }
}

/// What the drawing does not say by itself.
fn below(check: &[&str], left_out: &[&str]) -> String {
    let mut out = String::from("Pale: too noisy to tell. Bars with › go on.");
    match check {
        [] => out += " None of these looks for misuse, as storport-pool does.",
        [one] => out += &format!(" Of these, {one} looks for misuse, as storport-pool does."),
        all => out += &format!(" Of these, {} look for misuse, as storport-pool does.", all.join(", ")),
    }
    if !left_out.is_empty() {
        out += &format!(" Not here, since none of them does it: {}.", left_out.join(", "));
    }
    out
}
