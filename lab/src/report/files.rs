//! The files of a run: tried before the long work, written after it.

use std::fs;
use std::path::Path;

use super::versus::{Run, Versus};
use super::{json, page, terminal};
use crate::cli::Output;
use crate::out;
use crate::results::{CpuRow, Report};
use crate::scenarios::grown;
use crate::sink::{self, Sink};

/// Where the results go.
#[derive(Debug)]
pub(crate) struct Files {
    /// One that is made.
    folder: Option<&'static Path>,
    pub(crate) json: Option<Sink>,
    pub(crate) html: Option<Sink>,
}

/// Where results go that nobody wants elsewhere: a folder that version control leaves out, where there is one.
fn folder() -> &'static Path {
    let built_here = Path::new("Cargo.toml").exists();
    Path::new(if built_here { "target/storport-pool" } else { "storport-pool-results" })
}

impl Files {
    /// What is asked for, and nothing else.
    pub(crate) fn asked(output: Output) -> Files {
        Files { folder: None, json: output.json, html: output.html }
    }

    /// What is asked for; if nothing is, both in a folder that is made.
    pub(crate) fn or_default(output: Output, name: &str) -> Files {
        if output.json.is_some() || output.html.is_some() {
            return Files::asked(output);
        }
        let folder = folder();
        let file = |extension| Some(Sink::File(folder.join(name).with_extension(extension)));
        Files { folder: Some(folder), json: file("json"), html: file("html") }
    }

    /// Tries them, and what else is to be written, without changing what exists.
    ///
    /// # Errors
    /// A sentence, when one cannot be written, or two are one.
    pub(crate) fn check(&self, more: (&str, Option<&Sink>)) -> Result<(), String> {
        if let Some(folder) = self.folder {
            fs::create_dir_all(folder)
                .map_err(|error| format!("cannot make the folder '{}': {error}", out::name(folder)))?;
        }
        sink::check([("--json", self.json.as_ref()), ("--html", self.html.as_ref()), more])
    }

    /// Writes what there is to write: one of them even where the other cannot be.
    ///
    /// # Errors
    /// A sentence, when one cannot be written after all.
    pub(crate) fn write(&self, report: &Report) -> Result<(), String> {
        let put = |sink: &Option<Sink>, render: fn(&Report) -> Result<String, String>| match sink {
            Some(sink) => sink.put(&render(report)?),
            None => Ok(()),
        };
        let json = put(&self.json, json::render);
        put(&self.html, page::render).and(json)
    }
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
        if html.file().is_some_and(|html| [before, after].contains(&html)) {
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
    html.map_or(Ok(()), |html| html.put(&page::render_versus(&versus)))
}

/// Draws an earlier run's ratios of free.
///
/// # Errors
/// A sentence, when the run cannot be read, is none, or is of growth, or the chart cannot be drawn or written.
pub(crate) fn chart(run: &Path, svg: &Sink) -> Result<(), String> {
    if svg.file() == Some(run) {
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
    let drawing = page::chart(&report).map_err(|error| format!("'{}' {error}", out::name(run)))?;
    svg.put(&drawing)
}
