//! The files of a run: tried before the long work, written after it.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use super::versus::{Run, Versus};
use super::{json, page, terminal};
use crate::cli::FOLDER;
use crate::out;
use crate::results::{CpuRow, Report};
use crate::scenarios::grown;

/// Where the results go; both could be opened for writing.
pub(crate) struct Files {
    pub(crate) json: PathBuf,
    pub(crate) html: PathBuf,
}

impl Files {
    /// Tries both files without changing one that exists.
    ///
    /// # Errors
    /// A sentence, when one cannot be written.
    pub(crate) fn check(json: PathBuf, html: PathBuf) -> Result<Files, String> {
        check(&json)?;
        check(&html)?;
        Ok(Files { json, html })
    }

    /// Writes both.
    ///
    /// # Errors
    /// A sentence, when one cannot be written after all.
    pub(crate) fn write(&self, report: &Report) -> Result<(), String> {
        put(&self.json, &json::render(report)?)?;
        put(&self.html, &page::render(report)?)
    }
}

/// What `tests/growth.rs` counted.
///
/// # Errors
/// A sentence, when the file cannot be read or is something else.
pub(crate) fn counts(file: &Path) -> Result<Vec<CpuRow>, String> {
    let text =
        fs::read_to_string(file).map_err(|error| format!("cannot read '{}': {error}", out::name(file)))?;
    serde_json::from_str(&text).map_err(|error| format!("'{}' holds no counts: {error}", out::name(file)))
}

/// An earlier run.
///
/// # Errors
/// A sentence, when the file cannot be read or is none.
fn read(file: &Path) -> Result<Report, String> {
    let text =
        fs::read_to_string(file).map_err(|error| format!("cannot read '{}': {error}", out::name(file)))?;
    json::parse(&text).map_err(|error| format!("'{}' {error}", out::name(file)))
}

/// Compares two earlier runs, on the terminal and, if asked, as a page.
///
/// # Errors
/// A sentence, when a file cannot be read, is none, or cannot be written, or when they have nothing in common.
pub(crate) fn compare(before: &Path, after: &Path, html: Option<&Path>) -> Result<(), String> {
    if let Some(html) = html {
        if [before, after].contains(&html) {
            return Err(format!("--html is '{}', which is compared", out::name(html)));
        }
        check(html)?;
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
    html.map_or(Ok(()), |html| put(html, &page::render_versus(&versus)))
}

/// Draws an earlier run's ratios of free.
///
/// # Errors
/// A sentence, when the run cannot be read, is none, or is of growth, or the chart cannot be drawn or written.
pub(crate) fn chart(run: &Path, svg: &Path) -> Result<(), String> {
    if run == svg {
        return Err(format!("the chart would replace the run '{}'", out::name(run)));
    }
    check(svg)?;
    let report = read(run)?;
    if report.scenarios.iter().any(|scenario| grown(&scenario.name).is_some()) {
        return Err(format!(
            "'{}' is a run of `growth`, whose page has its pictures: a chart is of a run of `latency`",
            out::name(run)
        ));
    }
    let drawing = page::chart(&report).map_err(|error| format!("'{}' {error}", out::name(run)))?;
    put(svg, &drawing)
}

fn check(file: &Path) -> Result<(), String> {
    let refused = |error| format!("cannot write '{}': {error}", out::name(file));
    // Another folder than this one is there, or its name is a mistake.
    if file.parent() == Some(Path::new(FOLDER)) {
        fs::create_dir_all(FOLDER).map_err(refused)?;
    }
    let existed = file.exists();
    OpenOptions::new().append(true).create(true).open(file).map_err(refused)?;
    if !existed {
        // A run that fails leaves no empty file.
        let _ = fs::remove_file(file);
    }
    Ok(())
}

fn put(file: &Path, text: &str) -> Result<(), String> {
    fs::write(file, text).map_err(|error| format!("cannot write '{}': {error}", out::name(file)))
}
