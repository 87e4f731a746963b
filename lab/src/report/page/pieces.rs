//! What all parts of a page share.

use std::collections::HashSet;

use maud::{Markup, html};

use super::super::document::{Document, Kind, Part, Term, anchor};

/// The words that the page explains: only to these can it link.
pub(super) struct Known(HashSet<String>);

impl Known {
    pub(super) fn of(told: &Document<'_>) -> Known {
        let parts = told.sections.iter().flat_map(|section| &section.parts);
        let terms = parts.filter_map(|part| if let Part::Terms(terms) = part { Some(terms) } else { None });
        Known(terms.flatten().map(Term::anchor).collect())
    }

    /// A name, with a link to what is said of it.
    pub(super) fn name(&self, kind: Kind, name: &str) -> Markup {
        let anchor = anchor(kind, name);
        html! {
            @if self.0.contains(&anchor) { a href=(format!("#{anchor}")) { (name) } } @else { (name) }
        }
    }
}

/// Under a table.
pub(super) fn footnotes(notes: &[String]) -> Markup {
    html! { @for note in notes { p.footnote { (note) } } }
}
