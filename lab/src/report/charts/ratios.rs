//! All ratios of a measure on one axis: a row for each scenario, a mark for each other allocator.

use super::super::grid::Grid;
use super::HUES;
use super::canvas::{Canvas, Drawn, Pen, Plot, Side, svg};

const WIDTH: i32 = 900;
const LEFT: i32 = 190;
const ROW: i32 = 22;
const MARK: i32 = 5;
/// A name of the legend, and its mark.
const NAME: i32 = 150;
/// Ratios below are drawn at this one: the other allocator is out of sight.
const LEAST: f64 = 1.0 / 64.0;

/// `names`: the page's allocators, the pool first. A grid without ratios makes no chart.
pub(in super::super) fn draw(grid: &Grid, names: &[&str]) -> Result<Option<String>, String> {
    let found = grid.found();
    let ratios = found.iter().map(|found| found.compared.ratio.value);
    let (least, most) =
        ratios.fold((1.0, 1.0), |(least, most): (f64, f64), value| (value.min(least), value.max(most)));
    if found.is_empty() {
        return Ok(None);
    }
    let mut rows: Vec<(&str, Vec<(&str, f64)>)> = Vec::new();
    for row in &grid.rows {
        let here = found.iter().filter(|found| found.scenario == row.scenario);
        rows.push((&row.scenario, here.map(|found| (found.allocator, found.compared.ratio.value)).collect()));
    }
    let means = grid.columns.iter().enumerate();
    let means = means.filter_map(|(column, name)| Some((name.as_str(), grid.overall(column)?.0)));
    rows.push(("geometric mean", means.collect()));
    let powers = least.max(LEAST).log2().floor() as i32..=most.log2().ceil().max(1.0) as i32;
    let a_line = (WIDTH / NAME) as usize;
    let legend = ROW * grid.columns.len().div_ceil(a_line) as i32;
    let plot = Plot {
        left: LEFT,
        top: legend + ROW + 8,
        width: WIDTH - LEFT - 20,
        height: ROW * rows.len() as i32,
        x: f64::from(*powers.start())..f64::from(*powers.end()),
        y: 0.0..1.0,
    };
    let place = |name: &str| names.iter().position(|known| *known == name).unwrap_or_default();
    let label = format!("the pool's time over the others', {}, by scenario", grid.name());
    let draw = |canvas: &Canvas<'_>| {
        for (at, name) in grid.columns.iter().enumerate() {
            let (x, y) = ((at % a_line) as i32 * NAME + 12, (at / a_line) as i32 * ROW + ROW / 2);
            mark(canvas, (x, y), place(name))?;
            canvas.text(name, (x + 12, y), Side::Left, false)?;
        }
        canvas.up(&plot, powers.clone().map(|power| (f64::from(power), times(power))))?;
        let (even, _) = plot.at(0.0, 0.0);
        canvas.line([(even, plot.top), (even, plot.bottom())], Pen::Ink, 2)?;
        let above = plot.top - ROW / 2;
        canvas.text("the pool is faster", (even - 12, above), Side::Right, false)?;
        canvas.text("slower", (even + 12, above), Side::Left, false)?;
        for (number, (scenario, marks)) in rows.iter().enumerate() {
            let y = plot.top + ROW * number as i32 + ROW / 2;
            canvas.text(scenario, (LEFT - 10, y), Side::Right, number == grid.rows.len())?;
            for &(name, value) in marks {
                let (x, _) = plot.at(value.max(LEAST).log2(), 0.0);
                mark(canvas, (x, y), place(name))?;
            }
        }
        Ok(())
    };
    svg((WIDTH, plot.bottom() + 26), &label, names.len(), draw).map(Some)
}

/// A dot; where colours come round again, a square.
fn mark(canvas: &Canvas<'_>, (x, y): (i32, i32), place: usize) -> Drawn {
    let pen = Pen::Allocator(place);
    if place > HUES {
        canvas.bar([(x - MARK + 1, y - MARK + 1), (x + MARK - 1, y + MARK - 1)], pen, 1.0)
    } else {
        canvas.dot((x, y), MARK, pen)
    }
}

/// "1/4", "1", "4": the pool's time over the other's.
fn times(power: i32) -> String {
    if power < 0 { format!("1/{}", 1_u64 << -power) } else { (1_u64 << power).to_string() }
}
