//! A grid of ratios as a table of colours.

use super::super::grid::{Cell, Compared, Grid};
use super::super::ratio::Verdict;
use super::super::text::{ns, ratio, span};
use super::markup::{escape, footnotes};

/// More columns than these have their names upright.
const FLAT: usize = 6;

/// Colours grow stronger at these factors, either way.
const STEPS: [f64; 5] = [1.1, 1.5, 2.0, 4.0, 8.0];

/// The table, with its footnotes. `between` says whose times a cell's title names.
pub(super) fn table(grid: &Grid, between: [&str; 2]) -> String {
    let missing = grid.missing();
    let upright = if grid.columns.len() > FLAT { " upright" } else { "" };
    let mut out =
        format!("<div class=\"scroll\"><table class=\"heat{upright}\">\n<thead><tr><th>scenario</th>");
    let own = grid.rows.iter().any(|row| row.own.is_some());
    if own {
        out += &format!("<th class=\"n\">{}, ns</th>", escape(between[0]));
    }
    for name in &grid.columns {
        out += &format!("<th class=\"name\"><span>{}</span></th>", escape(name));
    }
    out += "</tr></thead>\n<tbody>\n";
    for row in &grid.rows {
        out += &format!("<tr><th>{}</th>", escape(&row.scenario));
        if own {
            out += &format!("<td class=\"n own\">{}</td>", row.own.map(ns).unwrap_or_default());
        }
        for cell in &row.cells {
            out += &match cell {
                Cell::Ratio(compared) => filled(compared, between),
                Cell::Missing(why) => {
                    let note =
                        missing.iter().position(|(known, _)| known == why).map_or(0, |place| place + 1);
                    format!("<td class=\"none\" title=\"{}\">n/a<sup>{note}</sup></td>", escape(why))
                }
            };
        }
        out += "</tr>\n";
    }
    if grid.rows.len() > 1 {
        out += "<tr class=\"first\"><th>geometric mean</th>";
        out += if own { "<td></td>" } else { "" };
        for column in 0..grid.columns.len() {
            out += &match grid.overall(column) {
                Some((mean, count)) => {
                    format!(
                        "<td class=\"{}\" title=\"of {count} scenarios\">{}</td>",
                        shade(mean),
                        ratio(mean)
                    )
                }
                None => "<td class=\"none\">n/a</td>".to_owned(),
            };
        }
        out += "</tr>\n";
    }
    let notes: Vec<_> = missing
        .iter()
        .enumerate()
        .map(|(place, (why, whose))| format!("{}: {why} ({whose}).", place + 1))
        .collect();
    out + "</tbody>\n</table></div>\n" + &footnotes(&notes)
}

fn filled(compared: &Compared, between: [&str; 2]) -> String {
    let Compared { ratio: found, first, other } = compared;
    let mut title = format!("{} {} ns, {} {} ns", between[0], ns(*first), between[1], ns(*other));
    if let Some(interval) = found.interval {
        title += &format!("; {}", span(interval));
    }
    if let Some(best) = found.best {
        title += &format!("; best batches {}", ratio(best));
    }
    let mut class = shade(found.value);
    if let Verdict::Unclear(why) = found.verdict {
        title += &format!("; too noisy to tell: {why}");
        class += " unclear";
    }
    format!("<td class=\"{class}\" title=\"{}\">{}</td>", escape(&title), ratio(found.value))
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
pub(super) fn key() -> String {
    let shades = ["f5", "f4", "f3", "f2", "f1", "even", "s1", "s2", "s3", "s4", "s5"];
    let labels = ["1/8", "1/4", "1/2", "1/1.5", "1/1.1", "1", "1.1", "1.5", "2", "4", "8"];
    let cells: String = shades
        .iter()
        .zip(labels)
        .map(|(shade, label)| format!("<td class=\"{shade}\">{label}</td>"))
        .collect();
    format!(
        "<table class=\"heat key\"><tr><th>faster</th>{cells}<th>slower</th>\
         <td class=\"even unclear\">1.02</td><th>too noisy to tell</th></tr></table>\n"
    )
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
