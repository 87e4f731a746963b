//! The files of a run: read, and written.

use std::path::Path;

use super::markdown::{self, Written};
use super::places::Files;
use super::standing::standings;
use super::versus::{Run, Versus};
use super::{chapters, charts, json, page, terminal};
use crate::out;
use crate::peers::Peers;
use crate::results::{CpuRow, Report};
use crate::scenarios::grown;
use crate::sink::{self, Sink};

/// Writes what there is to write: one of them even where the other cannot be.
///
/// # Errors
/// A sentence, when one cannot be written after all.
pub(crate) fn write(files: &Files, report: &Report) -> Result<(), String> {
    let put = |sink: &Option<Sink>, render: fn(&Report) -> Result<String, String>| match sink {
        Some(sink) => sink.put(&render(report)?),
        None => Ok(()),
    };
    let json = put(&files.json, json::render);
    put(&files.html, |report| Ok(html(report))).and(json)
}

/// What `tests/growth.rs` counted.
///
/// # Errors
/// A sentence, when the file cannot be read or is something else.
pub(crate) fn counts(file: &Path) -> Result<Vec<CpuRow>, String> {
    let text = sink::read(file)?;
    serde_json::from_str(&text).map_err(|error| format!("'{}' holds no counts: {error}", out::name(file)))
}

/// An earlier run.
///
/// # Errors
/// A sentence, when the file cannot be read or is none.
fn read(file: &Path) -> Result<Report, String> {
    let text = sink::read(file)?;
    json::parse(&text).map_err(|error| format!("'{}' {error}", out::name(file)))
}

/// Compares two earlier runs, on the terminal and, if asked, as a page.
///
/// # Errors
/// A sentence, when a file cannot be read, is none, or cannot be written, or when they have nothing in common.
pub(crate) fn compare(before: &Path, after: &Path, html: Option<&Sink>) -> Result<(), String> {
    if sink::is_stdin(before) && sink::is_stdin(after) {
        return Err("both runs are '-', and the standard input has one".to_owned());
    }
    if let Some(html) = html {
        if [before, after].into_iter().any(|run| replaces(html, run)) {
            return Err(format!("--html is '{}', which is compared", html.name()));
        }
        html.check()?;
    }
    let (a, b) = (read(before)?, read(after)?);
    let run = |file: &Path, report| Run { file: out::name(file), report };
    let versus = Versus::new(run(before, &a), run(after, &b));
    if !versus.is_of_something() {
        return Err(format!(
            "'{}' and '{}' have no figure of the pool in common: nothing to compare",
            out::name(before),
            out::name(after)
        ));
    }
    terminal::versus(&versus);
    html.map_or(Ok(()), |html| html.put(&page::render(&chapters::versus(&versus))))
}

/// A run as one page.
fn html(report: &Report) -> String {
    page::render(&chapters::run(report, &standings(report)))
}

/// Writes the page of an earlier run anew: as HTML, or where the file's name ends in `.md` as Markdown, with its drawings
/// beside it.
///
/// # Errors
/// A sentence, when the run cannot be read or is none, or the page cannot be written.
pub(crate) fn redraw(run: &Path, out: &Sink) -> Result<(), String> {
    let named = |end: &str| {
        let extension = out.file().and_then(Path::extension);
        extension.is_some_and(|extension| extension.eq_ignore_ascii_case(end))
    };
    if replaces(out, run) {
        return Err(format!("the page would replace the run '{}'", out::name(run)));
    }
    if out.file().is_some() && !named("md") && !named("html") && !named("htm") {
        return Err(format!("'{}' ends neither in .html nor in .md", out.name()));
    }
    out.check()?;
    let report = read(run)?;
    let Some(file) = out.file().filter(|_| named("md")) else { return out.put(&html(&report)) };
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let made = format!("storport-pool page {} {}", out::name(run), out::name(file));
    let Written { text, files } =
        markdown::render(&chapters::run(&report, &standings(&report)), &stem, &made);
    for (name, drawing) in files {
        Sink::File(file.with_file_name(name)).put(&drawing)?;
    }
    out.put(&text)
}

/// Draws an earlier run's ratios of free, against some of the others.
///
/// # Errors
/// A sentence, when the run cannot be read, is none, or is of growth, has none of the others, or when the picture cannot
/// be written.
pub(crate) fn chart(run: &Path, svg: &Sink, peers: &Peers) -> Result<(), String> {
    if replaces(svg, run) {
        return Err(format!("the chart would replace the run '{}'", out::name(run)));
    }
    svg.check()?;
    let report = read(run)?;
    if report.scenarios.iter().any(|scenario| grown(&scenario.name).is_some()) {
        return Err(format!(
            "'{}' is a run of `growth`, whose page has its pictures: a chart is of a run of `latency`",
            out::name(run)
        ));
    }
    let drawing = picture(&report, peers).map_err(|error| format!("'{}' {error}", out::name(run)))?;
    svg.put(&drawing)
}

/// # Errors
/// The end of a sentence that begins with the file's name.
fn picture(report: &Report, peers: &Peers) -> Result<String, String> {
    let grids = standings(report);
    let grid = grids.first().ok_or("has no ratios to draw")?;
    let there = |name: &str| grid.columns.iter().any(|column| column == name);
    let whom: Vec<&str> = match peers {
        Peers::Default => chapters::pictured(report),
        Peers::All => grid.columns.iter().map(String::as_str).collect(),
        Peers::Named(names) => names.clone(),
    };
    if let Some(absent) = whom.iter().find(|name| !there(name)) {
        return Err(format!("has no {absent}; it has {}", grid.columns.join(", ")));
    }
    let drawing = chapters::picture(grid, &whom).ok_or("has no ratios to draw")?;
    Ok(drawing.alone(charts::PICTURE))
}

/// Whether an output is the file of an input.
fn replaces(out: &Sink, input: &Path) -> bool {
    let found = |file: &Path| file.canonicalize().ok();
    out.file().is_some_and(|out| out == input || found(out).is_some_and(|out| Some(out) == found(input)))
}
