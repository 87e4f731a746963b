//! A document as one self-contained page: no script, nothing from the network.

mod heat;
mod pieces;

use maud::{Markup, PreEscaped, html};

use super::charts::{self, PALETTE};
use super::document::{Document, Figures, Part, Section, Term};
use super::sheets::{Cell, Row, Sheet, Tone};
use pieces::{Known, footnotes};

const STYLE: &str = include_str!("page.css");

/// Figures that are wider than a chart of a grid.
const ALONE: usize = 1;

/// The page.
pub(super) fn render(told: &Document<'_>) -> String {
    let known = Known::of(told);
    let style = [PALETTE, &charts::style(), STYLE].concat();
    let page = html! {
        (PreEscaped("<!doctype html>\n"))
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::chapters;
    use super::super::made_up::{self, TURNS, frees, scenario};
    use super::super::standing::standings;
    use super::super::versus::{Run, Versus};
    use super::*;
    use crate::results::{Check, Leak, Report};

    fn page(report: &Report) -> String {
        render(&chapters::run(report, &standings(report)))
    }

    /// What stands between each pair of these.
    fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
        text.split(before).skip(1).map(|rest| rest.split(after).next().unwrap()).collect()
    }

    /// It needs nothing from elsewhere, each link within it leads somewhere, and no two places have one name.
    fn stands_alone(page: &str) {
        for wrong in ["<script", "<link", "<img", "<iframe", "src=", "url(", "@import", "NaN", "inf "] {
            assert!(!page.contains(wrong), "{wrong} in {page}");
        }
        let ids = between(page, " id=\"", "\"");
        let unique: HashSet<_> = ids.iter().collect();
        assert_eq!(unique.len(), ids.len(), "{ids:?}");
        for link in between(page, "href=\"", "\"") {
            let to = link.strip_prefix('#').unwrap_or_else(|| panic!("{link} leads out of the page"));
            assert!(ids.contains(&to), "{link} leads nowhere");
        }
        for svg in between(page, "<svg ", "</svg>") {
            let svg = format!("<svg {svg}</svg>");
            roxmltree::Document::parse(&svg).unwrap_or_else(|error| panic!("{error}: {svg}"));
        }
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    }

    #[test]
    fn every_shape_makes_a_page_that_stands_alone() {
        for report in made_up::shapes() {
            let page = page(&report);
            stands_alone(&page);
            assert!(!page.contains("peer <"), "{page}");
        }
    }

    /// Each section that there is, in the contents.
    #[test]
    fn the_contents_name_all_sections() {
        let check =
            |ok| Check { group: "free".to_owned(), what: "a call".to_owned(), ok, ..Check::default() };
        let mut report = made_up::shapes().swap_remove(6);
        report.contract = vec![check(true), check(false)];
        report.leaks = vec![Leak { blocks: 12, ..Leak::default() }];
        report.notes = vec!["A note.".to_owned()];
        let page = page(&report);
        stands_alone(&page);
        let titles = between(&page, "<h2>", "</h2>");
        let contents = page.split("</nav>").next().unwrap();
        assert_eq!(between(contents, "<li><a href=\"", "</a>").len(), titles.len());
        for title in titles {
            assert!(contents.contains(&format!("\">{title}</a>")), "{title} is not in the contents");
        }
        for said in
            ["It does not keep the contract.</b> Calls checked live: 1 of 2 as documented.", "all 12 blocks"]
        {
            assert!(page.contains(said), "no {said} in {page}");
        }
        // What is short is not announced.
        assert!(!render(&chapters::run(&made_up::report(vec![]), &[])).contains("<nav"));
    }

    /// Words where they are first used, and all allocators and scenarios.
    #[test]
    fn what_a_reader_may_not_know_is_explained() {
        let names = ["storport-pool", "mimalloc", "snmalloc-check"].map(|name| frees(name, 4.0, &TURNS));
        let report = made_up::report(vec![scenario("hot", names.to_vec())]);
        let page = page(&report);
        stands_alone(&page);
        for word in ["ratio", "p99.9", "beyond noise"] {
            let defined =
                page.find(&format!(">{word}</dt>")).unwrap_or_else(|| panic!("{word} is not explained"));
            assert!(defined < page.find("<table").unwrap(), "{word} is explained too late");
        }
        for said in [
            "<dt id=\"s.hot\">hot</dt><dd>What hot does.</dd>",
            "of 1000 calls, each timed alone, 999 took no longer",
            "Below 1 the pool is faster",
            "Microsoft's general allocator, as it is released. Does not check for misuse.",
            "double frees. Checks for some misuse.",
        ] {
            assert!(page.contains(said), "no {said} in {page}");
        }
        // Tables lead there.
        assert!(page.contains("<th><a href=\"#s.hot\">hot</a></th>"), "{page}");
        assert!(page.contains("<a href=\"#a.snmalloc-check\">"), "{page}");
    }

    #[test]
    fn many_allocators_are_all_named_beside_their_curves() {
        let report = &made_up::shapes()[6];
        let page = page(report);
        assert!(page.contains("heat upright") && page.contains("x &lt; y"));
        for peer in 0..14 {
            // Who is compared, grids, curve, memory bars, tables.
            assert!(page.matches(&format!("peer &lt;{peer}&gt;")).count() >= 5, "{peer}");
        }
    }

    #[test]
    fn two_runs_make_a_page() {
        let shapes = made_up::shapes();
        for report in &shapes {
            let run = |file: &str| Run { file: file.to_owned(), report };
            let versus = Versus::new(run("a.json"), run("b.json"));
            let page = render(&chapters::versus(&versus));
            stands_alone(&page);
            assert!(page.contains("a: a.json: "), "{page}");
        }
    }
}
