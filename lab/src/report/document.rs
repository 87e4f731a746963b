//! What a page says, whatever it is written in: `page` makes HTML of it, `markdown` Markdown.

use maud::Markup;

use super::charts::Drawing;
use super::grid::Grid;
use super::sheets::Sheet;

/// A page.
#[derive(Default)]
pub(super) struct Document<'a> {
    pub(super) title: String,
    /// What it is about.
    pub(super) lead: String,
    /// What a hurried reader takes away: the point, and what belongs to it.
    pub(super) summary: Vec<(String, String)>,
    /// What the summary's words mean.
    pub(super) words: Vec<Term>,
    /// What ran where.
    pub(super) under: Vec<String>,
    pub(super) sections: Vec<Section<'a>>,
}

pub(super) struct Section<'a> {
    pub(super) title: String,
    pub(super) parts: Vec<Part<'a>>,
}

pub(super) enum Part<'a> {
    Text(String),
    List(Vec<String>),
    Terms(Vec<Term>),
    /// All ratios of a measure. `between` says whose times they are.
    Ratios {
        grid: &'a Grid,
        between: [&'static str; 2],
    },
    /// How such ratios are marked.
    Key,
    Table(Sheet),
    Figures(Figures),
}

/// A word, and what it means.
pub(super) struct Term {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) about: String,
}

/// Of what kind a word is: one name may be two things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Allocator,
    Scenario,
}

/// Drawings that belong together.
pub(super) struct Figures {
    /// Of a file that has them.
    pub(super) name: &'static str,
    /// What each of them refers to.
    pub(super) shared: Option<Markup>,
    pub(super) all: Vec<Figure>,
}

pub(super) struct Figure {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) drawing: Drawing,
}

impl Section<'_> {
    /// Where a link to it goes: as GitHub makes it of a heading.
    pub(super) fn anchor(&self) -> String {
        slug(&self.title)
    }
}

impl Term {
    pub(super) fn anchor(&self) -> String {
        anchor(self.kind, &self.name)
    }
}

/// Where a word of this kind is explained.
pub(super) fn anchor(kind: Kind, name: &str) -> String {
    let kind = match kind {
        Kind::Word => "w",
        Kind::Allocator => "a",
        Kind::Scenario => "s",
    };
    format!("{kind}.{}", slug(name))
}

/// Lower case, hyphens for spaces, and nothing but letters and digits beside.
fn slug(text: &str) -> String {
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

impl<'a> Document<'a> {
    /// Adds a section, unless there is nothing in it but words about it.
    pub(super) fn section(&mut self, title: impl Into<String>, parts: Vec<Part<'a>>) {
        if parts.iter().any(Part::is_something) {
            self.sections.push(Section { title: title.into(), parts });
        }
    }

    /// A table under its own heading.
    pub(super) fn table(&mut self, sheet: Sheet) {
        if !sheet.rows.is_empty() {
            self.section(sheet.heading.clone(), vec![Part::Text(sheet.about.clone()), Part::Table(sheet)]);
        }
    }
}

impl Part<'_> {
    fn is_something(&self) -> bool {
        match self {
            Part::Text(_) | Part::Key => false,
            Part::List(items) => !items.is_empty(),
            Part::Terms(terms) => !terms.is_empty(),
            Part::Ratios { .. } => true,
            Part::Table(sheet) => !sheet.rows.is_empty(),
            Part::Figures(figures) => !figures.all.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_githubs() {
        assert_eq!(slug("The pool's time over the others'"), "the-pools-time-over-the-others");
        assert_eq!(slug("All times: free, in ns"), "all-times-free-in-ns");
        assert_eq!(anchor(Kind::Scenario, "burst-512"), "s.burst-512");
    }
}
