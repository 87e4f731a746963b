//! PoolMon's columns, as many as there is room for.

use crate::poolmon::rows::{Count, Row};
use crate::report::text::{delta, grouped};

/// A column's heading, and what a row has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Adapter,
    Tag,
    Type,
    Allocs,
    AllocsChange,
    Frees,
    FreesChange,
    Diff,
    Bytes,
    BytesChange,
    PerAlloc,
}

use Column::{
    Adapter, Allocs, AllocsChange, Bytes, BytesChange, Diff, Frees, FreesChange, PerAlloc, Tag, Type,
};

/// From the widest screen to the narrowest: whether numbers have all their digits, and which columns there are.
const LAYOUTS: [(bool, &[Column]); 6] = [
    (
        true,
        &[Adapter, Tag, Type, Allocs, AllocsChange, Frees, FreesChange, Diff, Bytes, BytesChange, PerAlloc],
    ),
    (
        false,
        &[Adapter, Tag, Type, Allocs, AllocsChange, Frees, FreesChange, Diff, Bytes, BytesChange, PerAlloc],
    ),
    (false, &[Adapter, Tag, Allocs, Frees, Diff, Bytes, BytesChange, PerAlloc]),
    (false, &[Adapter, Tag, Diff, Bytes, BytesChange, PerAlloc]),
    (false, &[Adapter, Tag, Diff, Bytes]),
    (false, &[Tag, Bytes]),
];

/// A number in five characters: "99999", "1.23M", "123M".
pub(super) fn short(value: u64) -> String {
    if value < 100_000 {
        return value.to_string();
    }
    let (mut value, mut unit) = (value as f64 / 1e3, 0);
    // 999.5 would be shown as 1000.
    while value >= 999.5 && unit < 5 {
        value /= 1e3;
        unit += 1;
    }
    let unit = ["k", "M", "G", "T", "P", "E"][unit];
    match value {
        value if value < 9.995 => format!("{value:.2}{unit}"),
        value if value < 99.95 => format!("{value:.1}{unit}"),
        value => format!("{value:.0}{unit}"),
    }
}

fn number(whole: bool, value: u64) -> String {
    if whole { grouped(value) } else { short(value) }
}

fn change(whole: bool, value: i64) -> String {
    if whole {
        return delta(value);
    }
    let sign = if value < 0 { "-" } else { "" };
    format!("({sign}{})", short(value.unsigned_abs()))
}

impl Column {
    fn heading(self) -> &'static str {
        match self {
            Adapter => "Adapter",
            Tag => "Tag",
            Type => "Type",
            Allocs => "Allocs",
            AllocsChange | FreesChange | BytesChange => "(   )",
            Frees => "Frees",
            Diff => "Diff",
            Bytes => "Bytes",
            PerAlloc => "Per Alloc",
        }
    }

    pub(super) fn is_word(self) -> bool {
        matches!(self, Adapter | Tag | Type)
    }

    fn cell(self, row: &Row, whole: bool) -> String {
        let now = |count: Count| number(whole, count.now);
        match self {
            Adapter => row.adapter.clone().unwrap_or_default(),
            Tag => row.tag.clone(),
            Type => if row.key == (None, None) { "" } else { "Nonp" }.to_owned(),
            Allocs => now(row.allocs),
            AllocsChange => change(whole, row.allocs.change),
            Frees => now(row.frees),
            FreesChange => change(whole, row.frees.change),
            Diff => now(row.diff),
            Bytes => now(row.bytes),
            BytesChange => change(whole, row.bytes.change),
            PerAlloc => now(row.per_alloc),
        }
    }
}

/// Longer names are cut.
const LONGEST_NAME: usize = 16;

/// A table that fits.
pub(super) struct Fitted {
    pub(super) columns: Vec<Column>,
    pub(super) widths: Vec<usize>,
    pub(super) heading: Vec<String>,
    pub(super) cells: Vec<Vec<String>>,
}

/// The rows in so many columns of the screen.
pub(super) fn fit(rows: &[Row], by_adapter: bool, width: usize) -> Fitted {
    let mut fitted = None;
    for (whole, columns) in LAYOUTS {
        let columns: Vec<_> =
            columns.iter().copied().filter(|column| by_adapter || *column != Adapter).collect();
        let heading: Vec<_> = columns.iter().map(|column| column.heading().to_owned()).collect();
        let cell = |column: &Column, row: &Row| {
            let text = column.cell(row, whole);
            // Narrow screens cut names.
            if *column == Adapter { text.chars().take(LONGEST_NAME).collect() } else { text }
        };
        let cells: Vec<Vec<String>> =
            rows.iter().map(|row| columns.iter().map(|column| cell(column, row)).collect()).collect();
        // At least as wide as numbers come, so that the table does not move with each digit.
        let least = |column: &Column| {
            if column.is_word() {
                4
            } else if whole {
                9
            } else {
                5
            }
        };
        let widths: Vec<_> = columns
            .iter()
            .enumerate()
            .map(|(place, column)| {
                let cells = cells.iter().map(|row| row[place].chars().count()).max().unwrap_or(0);
                cells.max(heading[place].len()).max(least(column))
            })
            .collect();
        let all = widths.iter().sum::<usize>() + widths.len();
        fitted = Some(Fitted { columns, widths, heading, cells });
        if all <= width {
            break;
        }
    }
    // The last one, if none fits; the screen cuts it.
    fitted.unwrap_or_else(|| Fitted {
        columns: Vec::new(),
        widths: Vec::new(),
        heading: Vec::new(),
        cells: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_numbers_have_five_characters() {
        for (value, text) in [
            (0, "0"),
            (99_999, "99999"),
            (100_000, "100k"),
            (999_499, "999k"),
            (999_500, "1.00M"),
            (1_234_567, "1.23M"),
            (12_345_678, "12.3M"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(short(value), text);
            assert!(text.len() <= 5);
        }
        assert_eq!(change(false, -1_234_567), "(-1.23M)");
        assert_eq!(change(true, i64::MIN), "(-9,223,372,036,854,775,808)");
    }
}
