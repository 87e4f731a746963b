//! A document as one self-contained page: no script, nothing from the network.

mod heat;

use std::collections::HashSet;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::charts::{self, PALETTE};
use super::document::{Document, Figures, Kind, Part, Section, Term, anchor};
use super::sheets::{Cell, Row, Sheet, Tone};

const STYLE: &str = include_str!("page.css");

/// Figures that are wider than a chart of a grid.
const ALONE: usize = 1;

/// The page.
pub(super) fn render(told: &Document<'_>) -> String {
    let known = Known::of(told);
    let style = [PALETTE, &charts::style(), STYLE].concat();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (told.title) }
                style { (PreEscaped(style)) }
            }
            body {
                header {
                    h1 { (told.title) }
                    p.dim { (told.lead) }
                    @for line in &told.under { p.dim { (line) } }
                }
                (contents(&told.sections))
                div.headline {
                    @for (point, rest) in &told.summary {
                        p { @if !point.is_empty() { b { (point) } " " } (rest) }
                    }
                }
                (terms(&told.words))
                @for section in &told.sections { (section_told(section, &known)) }
            }
        }
    };
    page.into_string() + "\n"
}

/// The words that the page explains: only to these can it link.
struct Known(HashSet<String>);

impl Known {
    fn of(told: &Document<'_>) -> Known {
        let parts = told.sections.iter().flat_map(|section| &section.parts);
        let terms = parts.filter_map(|part| if let Part::Terms(terms) = part { Some(terms) } else { None });
        Known(terms.flatten().map(Term::anchor).collect())
    }

    /// A name, with a link to what is said of it.
    fn name(&self, kind: Kind, name: &str) -> Markup {
        let anchor = anchor(kind, name);
        html! {
            @if self.0.contains(&anchor) { a href=(format!("#{anchor}")) { (name) } } @else { (name) }
        }
    }
}

fn contents(sections: &[Section<'_>]) -> Markup {
    html! {
        @if sections.len() > 1 {
            nav aria-label="Contents" {
                b { "Contents" }
                ol {
                    @for section in sections {
                        li { a href=(format!("#{}", section.anchor())) { (section.title) } }
                    }
                }
            }
        }
    }
}

fn section_told(section: &Section<'_>, known: &Known) -> Markup {
    html! {
        section id=(section.anchor()) {
            h2 { (section.title) }
            @for (place, part) in section.parts.iter().enumerate() {
                @match part {
                    // What a section begins with tells what it is about.
                    Part::Text(text) if place == 0 => { p.dim { (text) } }
                    Part::Text(text) => { p { (text) } }
                    Part::List(items) => { ul { @for item in items { li { (item) } } } }
                    Part::Terms(all) => { (terms(all)) }
                    Part::Ratios { grid, between } => { h3 { (grid.name()) } (heat::table(grid, *between, known)) }
                    Part::Key => { (heat::key()) }
                    Part::Table(sheet) => { (table(sheet)) }
                    Part::Figures(figures) => { (figures_told(figures)) }
                }
            }
        }
    }
}

fn terms(all: &[Term]) -> Markup {
    html! {
        @if !all.is_empty() {
            dl {
                @for term in all { dt id=(term.anchor()) { (term.name) } dd { (term.about) } }
            }
        }
    }
}

fn figures_told(figures: &Figures) -> Markup {
    let class = if figures.all.len() == ALONE { "alone" } else { "charts" };
    html! {
        @if let Some(shared) = &figures.shared {
            svg.defs width="0" height="0" aria-hidden="true" { defs { (shared) } }
        }
        div class=(class) {
            @for figure in &figures.all {
                figure {
                    @if !figure.name.is_empty() { figcaption { b { (figure.name) } " " (figure.about) } }
                    (figure.drawing.inline())
                }
            }
        }
    }
}

/// More rows than these are set in columns when they are printed.
const LONG: usize = 60;

fn table(sheet: &Sheet) -> Markup {
    let long = if sheet.rows.len() > LONG { " long" } else { "" };
    html! {
        div class=(format!("scroll{long}")) {
            // Which columns hold numbers, the class says.
            table class=(format!("words{}", sheet.words)) {
                thead { tr { @for column in &sheet.columns { th { (column) } } } }
                tbody { @for row in &sheet.rows { (row_told(row)) } }
            }
        }
        (footnotes(&sheet.footnotes))
    }
}

fn row_told(row: &Row) -> Markup {
    html! {
        tr.first[row.first] {
            @for cell in &row.cells { td class=[tone(cell)] { (lines(&cell.text)) } }
        }
    }
}

fn tone(cell: &Cell) -> Option<&'static str> {
    match cell.tone {
        Tone::Plain => None,
        Tone::Good => Some("good"),
        Tone::Bad => Some("bad"),
    }
}

fn lines(text: &str) -> Markup {
    html! {
        @for (place, line) in text.split('\n').enumerate() { @if place > 0 { br; } (line) }
    }
}

fn footnotes(notes: &[String]) -> Markup {
    html! { @for note in notes { p.footnote { (note) } } }
}
