//! A sheet as text of so many columns. What finds no room beside the rest comes in a table below, with the same rows.

use std::ops::Range;

use comfy_table::presets::{NOTHING, UTF8_BORDERS_ONLY};
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width};

use super::sheets::Sheet;

/// Text behind `first`, in lines of at most so many columns, but for words that are longer. Further lines begin where the
/// first one's text does.
pub(super) fn wrapped(first: &str, text: &str, width: usize) -> String {
    let indent = first.chars().count();
    let mut out = first.to_owned();
    let mut column = indent;
    for word in text.split_whitespace() {
        let len = word.chars().count();
        if column > indent && column + 1 + len > width {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > indent {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += len;
    }
    out + "\n"
}

/// More columns than these stand closer, without a frame.
const MANY: usize = 10;
/// A word column of such a table, and a number column, with the space behind it.
const CLOSE: (usize, usize) = (23, 6);
/// What a column of a framed table has beside its text.
const PADDING: usize = 2;
/// On a wide and on a narrow terminal, the longest words that numbers leave room for; the first one has all names of
/// scenarios.
const WORDS: [usize; 2] = [20, 12];
/// Narrower than this, a terminal is narrow.
const NARROW: usize = 80;

/// Of these texts.
fn longest(texts: &mut dyn Iterator<Item = &str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0)
}

/// How its columns stand.
struct Layout<'a> {
    sheet: &'a Sheet,
    close: bool,
    width: usize,
}

impl Layout<'_> {
    /// What stands in a column, line by line; the heading first.
    fn texts(&self, column: usize) -> impl Iterator<Item = &str> {
        let cells = self.sheet.rows.iter().filter_map(move |row| row.cells.get(column));
        std::iter::once(self.sheet.columns[column].as_str()).chain(cells.map(|cell| cell.text.as_str()))
    }

    /// The longest word of a column.
    fn word(&self, column: usize) -> usize {
        longest(&mut self.texts(column).flat_map(str::split_whitespace))
    }

    /// Of a column without padding: as wide as its lines; and as narrow as it may be, with its heading broken.
    fn widths(&self, column: usize) -> (usize, usize) {
        let whole = longest(&mut self.texts(column).flat_map(str::lines));
        let narrow = if column < self.sheet.words {
            self.word(column).min(WORDS[usize::from(self.width < NARROW)])
        } else {
            let heading = self.sheet.columns[column].split_whitespace();
            longest(&mut self.texts(column).skip(1).flat_map(str::lines).chain(heading))
        };
        (whole, narrow)
    }

    /// With its padding, and what parts it from the next one.
    fn taken(&self, column: usize, whole: bool) -> usize {
        match (self.close, column < self.sheet.words) {
            (true, true) => CLOSE.0,
            (true, false) => CLOSE.1,
            (false, _) => {
                let (wide, narrow) = self.widths(column);
                PADDING + 1 + if whole { wide } else { narrow }
            }
        }
    }

    /// What the number columns of one table may take in all.
    fn room(&self) -> usize {
        // Nothing parts the last column from the next.
        let frame = if self.close { 0 } else { 2 - 1 };
        let words: usize = (0..self.sheet.words).map(|column| self.taken(column, false)).sum();
        self.width.saturating_sub(frame + words)
    }

    /// Number columns that stay together: one whose heading comes up again, as "ratio", is of the column before it.
    fn groups(&self) -> Vec<Range<usize>> {
        let columns = &self.sheet.columns;
        let mut groups: Vec<Range<usize>> = Vec::new();
        for column in self.sheet.words..columns.len() {
            let again = columns.iter().filter(|heading| **heading == columns[column]).count() > 1;
            match groups.last_mut() {
                Some(group) if again => group.end = column + 1,
                _ => groups.push(column..column + 1),
            }
        }
        groups
    }

    /// The number columns of each table.
    fn tables(&self) -> Vec<Range<usize>> {
        let mut tables: Vec<Range<usize>> = Vec::new();
        let taken = |columns: Range<usize>| columns.map(|column| self.taken(column, false)).sum::<usize>();
        for group in self.groups() {
            match tables.last_mut() {
                Some(table) if taken(table.start..group.end) <= self.room() => table.end = group.end,
                _ => tables.push(group),
            }
        }
        if tables.is_empty() {
            // Words alone.
            tables.push(self.sheet.words..self.sheet.words);
        }
        tables
    }

    /// One of them, with all words.
    fn draw(&self, numbers: &Range<usize>) -> String {
        let columns: Vec<usize> = (0..self.sheet.words).chain(numbers.clone()).collect();
        let mut table = Table::new();
        table
            .load_style(if self.close { NOTHING } else { UTF8_BORDERS_ONLY })
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(u16::try_from(self.width).unwrap_or(u16::MAX))
            .set_header(columns.iter().map(|&column| &self.sheet.columns[column]));
        for row in &self.sheet.rows {
            table.add_row(columns.iter().filter_map(|&column| row.cells.get(column)).map(|cell| &cell.text));
        }
        let whole: usize = numbers.clone().map(|column| self.taken(column, true)).sum();
        let whole = whole <= self.room();
        // Words are broken only where there is no room for all of them.
        let words = (0..self.sheet.words).map(|column| self.word(column) + PADDING + 1);
        let numbers: usize = numbers.clone().map(|column| self.taken(column, whole)).sum();
        let unbroken = words.sum::<usize>() + numbers < self.width;
        for (&place, column) in columns.iter().zip(table.column_iter_mut()) {
            let is_number = place >= self.sheet.words;
            if is_number {
                column.set_cell_alignment(CellAlignment::Right);
            }
            if self.close {
                column.set_padding((0, 1));
            }
            if !self.close && !is_number && unbroken {
                let word = self.word(place) + PADDING;
                let word = Width::Fixed(u16::try_from(word).unwrap_or(u16::MAX));
                column.set_constraint(ColumnConstraint::LowerBoundary(word));
            }
            if self.close || is_number {
                let width = self.taken(place, whole) - usize::from(!self.close);
                let width = Width::Fixed(u16::try_from(width).unwrap_or(u16::MAX));
                column.set_constraint(ColumnConstraint::Absolute(width));
            }
        }
        table.trim_fmt()
    }
}

/// Heading, explanation, tables, footnotes; nothing, if it has no rows.
pub(super) fn drawn(sheet: &Sheet, width: usize) -> String {
    if sheet.rows.is_empty() {
        return String::new();
    }
    let layout = Layout { sheet, close: sheet.columns.len() > MANY, width };
    let mut out = format!(
        "\n{}{}",
        wrapped("", &sheet.heading.to_uppercase(), width),
        wrapped("", &sheet.about, width)
    );
    for numbers in layout.tables() {
        out += &(layout.draw(&numbers) + "\n");
    }
    for footnote in &sheet.footnotes {
        out += &wrapped("", footnote, width);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::made_up;
    use super::super::sheets::{bulk, latency, replay};
    use super::super::standing::{slower, standings};
    use super::*;
    use crate::results::{Phase, Report, TagLine};

    fn sheets(report: &Report) -> Vec<Sheet> {
        let grids = standings(report);
        let ratios = grids.iter().map(|grid| latency::ratios(grid, "Latency", "What it is."));
        let mut sheets: Vec<_> = ratios.collect();
        sheets.extend([latency::scenarios(report), latency::tails(report), bulk::calls(report)]);
        sheets.extend([latency::memory(report), latency::overall(&grids)]);
        sheets.push(latency::found("Slower", "The worst first.", ["pool, ns", "its, ns"], &slower(&grids)));
        sheets.extend([replay::phases(report), replay::tags(report)]);
        sheets
    }

    #[test]
    fn tables_keep_to_their_width() {
        let large = TagLine {
            tag: "LkRq".to_owned(),
            kind: "Nonp".to_owned(),
            allocs: 987_654_321,
            allocs_delta: 987_654_321,
            bytes: 123_456_789,
            ..TagLine::default()
        };
        let name = "A adapter start (virtio block)".to_owned();
        let phase = Phase { name, allocator: "storport-pool".to_owned(), bytes: 1 << 40, ..Phase::default() };
        for report in made_up::shapes() {
            let report = Report { tags: vec![large.clone()], phases: vec![phase.clone()], ..report };
            for sheet in sheets(&report) {
                for width in [60, 80, 100, 120, 200] {
                    let text = drawn(&sheet, width);
                    let longest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
                    assert!(longest <= width, "{longest} of {width}:\n{text}");
                    // No number is broken.
                    for cell in sheet.rows.iter().flat_map(|row| row.cells.iter().skip(sheet.words)) {
                        assert!(text.contains(cell.text.trim_end()), "{} in {text}", cell.text);
                    }
                }
            }
        }
    }

    #[test]
    fn a_ratio_stays_beside_its_time() {
        let times = (0..4).map(|place| made_up::frees(&format!("allocator{place}"), 2.0, &made_up::TURNS));
        let report = made_up::report(vec![made_up::scenario("hot", times.collect())]);
        let sheet = latency::ratios(&standings(&report)[0], "Latency", "");
        let text = drawn(&sheet, 60);
        assert!(text.lines().filter(|line| line.contains("scenario")).count() > 1, "{text}");
        for heading in text.lines().filter(|line| line.contains("allocator")) {
            assert_eq!(heading.matches("allocator").count(), heading.matches("ratio").count(), "{text}");
        }
        assert_eq!(drawn(&sheet, 200).matches("scenario").count(), 1);
    }

    #[test]
    fn lines_are_indented_behind_the_first() {
        assert_eq!(wrapped("x: ", "aa bb cc", 8), "x: aa bb\n   cc\n");
        assert_eq!(wrapped("", "aaaaaaaaaa bb", 4), "aaaaaaaaaa\nbb\n");
    }
}
