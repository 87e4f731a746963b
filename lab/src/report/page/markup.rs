//! Pieces of HTML.

use super::super::sheets::{Cell, Sheet, Tone};

/// Text as it may stand in a page.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\n', "<br>")
}

pub(super) fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escape(text))
}

pub(super) fn dim(text: &str) -> String {
    format!("<p class=\"dim\">{}</p>\n", escape(text))
}

pub(super) fn heading(title: &str, about: &str) -> String {
    format!("<h2>{}</h2>\n{}", escape(title), dim(about))
}

pub(super) fn list<S: AsRef<str>>(items: &[S]) -> String {
    let items: String = items.iter().map(|item| format!("<li>{}</li>\n", escape(item.as_ref()))).collect();
    format!("<ul>\n{items}</ul>\n")
}

pub(super) fn footnotes(notes: &[String]) -> String {
    notes.iter().map(|note| format!("<p class=\"footnote\">{}</p>\n", escape(note))).collect()
}

pub(super) fn figure(caption: &str, about: &str, chart: &str) -> String {
    format!("<figure><figcaption><b>{}</b> {}</figcaption>{chart}</figure>\n", escape(caption), escape(about))
}

/// Heading, explanation, table; nothing of an empty one.
pub(super) fn section(sheet: &Sheet) -> String {
    if sheet.rows.is_empty() {
        return String::new();
    }
    heading(&sheet.heading, &sheet.about) + &table(sheet)
}

fn table(sheet: &Sheet) -> String {
    let class = |place: usize, tone: Tone| match (place >= sheet.words, tone) {
        (true, Tone::Plain) => " class=\"n\"",
        (true, Tone::Good) => " class=\"n good\"",
        (true, Tone::Bad) => " class=\"n bad\"",
        (false, Tone::Plain) => "",
        (false, Tone::Good) => " class=\"good\"",
        (false, Tone::Bad) => " class=\"bad\"",
    };
    let mut out = String::from("<div class=\"scroll\"><table>\n<thead><tr>");
    for (place, column) in sheet.columns.iter().enumerate() {
        out += &format!("<th{}>{}</th>", class(place, Tone::Plain), escape(column));
    }
    out += "</tr></thead>\n<tbody>\n";
    for row in &sheet.rows {
        out += if row.first { "<tr class=\"first\">" } else { "<tr>" };
        for (place, Cell { text, tone }) in row.cells.iter().enumerate() {
            out += &format!("<td{}>{}</td>", class(place, *tone), escape(text));
        }
        out += "</tr>\n";
    }
    out + "</tbody>\n</table></div>\n" + &footnotes(&sheet.footnotes)
}

/// A whole page.
pub(super) fn page(title: &str, style: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escape(title)
    )
}
