//! Each table once, as rows of text; terminal and page draw them.

pub(super) mod bulk;
pub(super) mod latency;
pub(super) mod replay;

/// A table.
pub(super) struct Sheet {
    pub(super) heading: String,
    /// A sentence for who never saw the project.
    pub(super) about: String,
    pub(super) columns: Vec<String>,
    /// So many columns hold words, the others numbers.
    pub(super) words: usize,
    pub(super) rows: Vec<Row>,
    /// Under the table.
    pub(super) footnotes: Vec<String>,
}

/// A row of a table.
pub(super) struct Row {
    /// The first of its group.
    pub(super) first: bool,
    pub(super) cells: Vec<Cell>,
}

pub(super) struct Cell {
    pub(super) text: String,
    pub(super) tone: Tone,
}

/// Which way a cell is to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Bad,
}

impl Cell {
    fn new(text: impl Into<String>, tone: Tone) -> Cell {
        Cell { text: text.into(), tone }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::new(text, Tone::Plain)
    }
}

impl Sheet {
    fn new<S: AsRef<str>>(heading: impl Into<String>, about: &str, columns: &[S], words: usize) -> Sheet {
        let columns = columns.iter().map(|column| column.as_ref().to_owned()).collect();
        let (heading, about) = (heading.into(), about.to_owned());
        Sheet { heading, about, columns, words, rows: Vec::new(), footnotes: Vec::new() }
    }

    fn row<C: Into<Cell>>(&mut self, first: bool, cells: impl IntoIterator<Item = C>) {
        self.rows.push(Row { first, cells: cells.into_iter().map(C::into).collect() });
    }
}
