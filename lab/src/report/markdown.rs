//! A document as Markdown, for who reads it where a repository is shown; its drawings are files beside it.

use super::charts::{Drawing, PICTURE};
use super::document::{Document, Figure, Figures, Part, Term};
use super::grid::Grid;
use super::sheets::{Row, Sheet, Tone, latency};

/// The text, and the files that belong to it.
pub(super) struct Written {
    pub(super) text: String,
    pub(super) files: Vec<(String, String)>,
}

/// How many drawings stand side by side.
const COLUMNS: usize = 2;

/// More rows than these are folded.
const LONG: usize = 200;

/// `stem` begins the files' names, `made` is the command that makes the text anew.
pub(super) fn render(told: &Document<'_>, stem: &str, made: &str) -> Written {
    let mut out = Written { text: format!("# {}\n\n", escape(&told.title)), files: Vec::new() };
    out.paragraph(&told.lead);
    for (point, rest) in &told.summary {
        let point = if point.is_empty() { String::new() } else { format!("**{}** ", escape(point)) };
        out.text += &format!("* {point}{}\n", escape(rest));
    }
    out.text += "\n";
    out.terms(&told.words);
    for line in &told.under {
        out.paragraph(line);
    }
    out.text += &format!("Made by `{made}`.\n\n");
    out.text += "## Contents\n\n";
    for section in &told.sections {
        out.text += &format!("* [{}](#{})\n", escape(&section.title), section.anchor());
    }
    for section in &told.sections {
        out.text += &format!("\n## {}\n\n", escape(&section.title));
        for part in &section.parts {
            match part {
                Part::Text(text) => out.paragraph(text),
                Part::List(items) => out.list(items),
                Part::Terms(all) => out.terms(all),
                Part::Ratios { grid, .. } => out.ratios(grid),
                Part::Key => {
                    out.text += "**Bold**: the other is faster, beyond noise. A ~ stands before what is too noisy to tell.\n\n";
                }
                Part::Table(sheet) => out.table(sheet),
                Part::Figures(figures) => out.figures(figures, stem),
            }
        }
    }
    out.text.truncate(out.text.trim_end().len());
    out.text.push('\n');
    out
}

impl Written {
    fn paragraph(&mut self, text: &str) {
        self.text += &format!("{}\n\n", escape(text));
    }

    fn list(&mut self, items: &[String]) {
        for item in items {
            self.text += &format!("* {}\n", escape(item));
        }
        self.text += "\n";
    }

    fn terms(&mut self, all: &[Term]) {
        if all.is_empty() {
            return;
        }
        self.text += "| | |\n|---|---|\n";
        for term in all {
            self.text += &format!("| **{}** | {} |\n", escape(&term.name), escape(&term.about));
        }
        self.text += "\n";
    }

    fn ratios(&mut self, grid: &Grid) {
        self.text += &format!("### {}\n\n", escape(&grid.name()));
        self.table(&latency::ratios(grid, "", ""));
    }

    fn table(&mut self, sheet: &Sheet) {
        let long = sheet.rows.len() > LONG;
        if long {
            self.text += &format!("<details><summary>{} rows</summary>\n\n", sheet.rows.len());
        }
        let columns: Vec<_> = sheet.columns.iter().map(|column| escape(column)).collect();
        let sides = (0..columns.len()).map(|place| if place < sheet.words { "---" } else { "--:" });
        self.text += &format!("|{}|\n|{}|\n", columns.join("|"), sides.collect::<Vec<_>>().join("|"));
        for row in &sheet.rows {
            self.row(row);
        }
        self.text += "\n";
        for note in &sheet.footnotes {
            self.paragraph(note);
        }
        if long {
            self.text += "</details>\n\n";
        }
    }

    fn row(&mut self, row: &Row) {
        for cell in &row.cells {
            let text = escape(&cell.text);
            self.text += &if cell.tone == Tone::Bad { format!("|**{text}**") } else { format!("|{text}") };
        }
        self.text += "|\n";
    }

    /// All of them in one file: one picture, or side by side.
    fn figures(&mut self, figures: &Figures, stem: &str) {
        let file = format!("{stem}-{}.svg", figures.name);
        let named = |figure: &Figure| figure.name.clone();
        let label = figures.all.iter().map(named).collect::<Vec<_>>().join(", ");
        let drawing = match figures.all.as_slice() {
            [one] if one.name.is_empty() => {
                self.text += &format!("![{}]({file})\n\n", escape(&one.drawing.label));
                one.drawing.alone(PICTURE)
            }
            all => {
                let each = all.iter().map(|figure| (figure.name.as_str(), &figure.drawing));
                self.text += &format!("![{}]({file})\n\n", escape(&label));
                Drawing::many(&label, figures.shared.as_ref(), each, COLUMNS).alone(100)
            }
        };
        self.files.push((file, drawing));
    }
}

/// Text as it may stand in Markdown, in a table too.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '\n' => out += "<br>",
            '\\' | '|' | '*' | '_' | '`' | '~' | '[' | ']' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::chapters;
    use super::super::made_up;
    use super::super::standing::standings;
    use super::*;

    #[test]
    fn what_is_marked_up_is_plain() {
        assert_eq!(
            escape("a | b*c_d <e> & `f`\ng ~ [h]"),
            "a \\| b\\*c\\_d &lt;e> &amp; \\`f\\`<br>g \\~ \\[h\\]"
        );
    }

    /// Each link of the contents has its heading, each picture its file, each row as many cells as its table.
    #[test]
    fn every_shape_makes_a_whole_text() {
        for report in made_up::shapes() {
            let grids = standings(&report);
            let told = chapters::run(&report, &grids);
            let Written { text, files } = render(&told, "run", "storport-pool page run.json run.md");
            assert!(text.starts_with("# storport-pool: results\n") && text.ends_with('\n'), "{text}");
            assert!(text.contains("Made by `storport-pool page run.json run.md`."), "{text}");
            assert!(!text.contains("NaN"), "{text}");
            let headings = text.lines().filter_map(|line| line.strip_prefix("## "));
            assert_eq!(headings.count(), 1 + told.sections.len());
            for section in &told.sections {
                assert!(text.contains(&format!("](#{})", section.anchor())), "{text}");
            }
            for (file, drawing) in &files {
                assert!(file.starts_with("run-") && text.contains(&format!("]({file})")), "{file}");
                roxmltree::Document::parse(drawing).unwrap_or_else(|error| panic!("{error}: {drawing}"));
            }
            assert_eq!(text.matches(".svg)").count(), files.len());
            let names: HashSet<_> = files.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), files.len(), "{names:?}");
            let cells = |line: &str| line.replace("\\|", "").matches('|').count();
            let lines: Vec<_> = text.lines().collect();
            for pair in lines.windows(2) {
                if let [above, below] = pair
                    && above.starts_with('|')
                    && below.starts_with('|')
                {
                    assert_eq!(cells(above), cells(below), "{above}\n{below}");
                }
            }
        }
    }
}
