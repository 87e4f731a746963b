//! The files of a run: tried before the long work, written after it.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use super::markdown::{self, Written};
use super::standing::standings;
use super::versus::{Run, Versus};
use super::{chapters, charts, json, page, terminal};
use crate::cli::FOLDER;
use crate::out;
use crate::peers::Peers;
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
        put(&self.html, &html(report))
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
    html.map_or(Ok(()), |html| put(html, &page::render(&chapters::versus(&versus))))
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
pub(crate) fn redraw(run: &Path, out: &Path) -> Result<(), String> {
    let named = |end: &str| out.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(end));
    if out == Path::new(STDOUT) {
        out::write(&html(&read(run)?));
        return Ok(());
    }
    if same(run, out) {
        return Err(format!("the page would replace the run '{}'", out::name(run)));
    }
    if !named("md") && !named("html") && !named("htm") {
        return Err(format!("'{}' ends neither in .html nor in .md", out::name(out)));
    }
    check(out)?;
    let report = read(run)?;
    if !named("md") {
        return put(out, &html(&report));
    }
    let stem = out.file_stem().unwrap_or_default().to_string_lossy();
    let made = format!("storport-pool page {} {}", out::name(run), out::name(out));
    let Written { text, files } =
        markdown::render(&chapters::run(&report, &standings(&report)), &stem, &made);
    for (name, drawing) in files {
        put(&out.with_file_name(name), &drawing)?;
    }
    put(out, &text)
}

/// What stands for the standard output where a file may be named.
const STDOUT: &str = "-";

/// Draws an earlier run's ratios of free, against some of the others.
///
/// # Errors
/// A sentence, when the run cannot be read, is none, or is of growth, has none of the others, or when the picture cannot
/// be written.
pub(crate) fn chart(run: &Path, svg: &Path, peers: &Peers) -> Result<(), String> {
    let out = svg != Path::new(STDOUT);
    if out && same(run, svg) {
        return Err(format!("the chart would replace the run '{}'", out::name(run)));
    }
    if out {
        check(svg)?;
    }
    let report = read(run)?;
    if report.scenarios.iter().any(|scenario| grown(&scenario.name).is_some()) {
        return Err(format!(
            "'{}' is a run of `growth`, whose page has its pictures: a chart is of a run of `latency`",
            out::name(run)
        ));
    }
    let drawing = picture(&report, peers).map_err(|error| format!("'{}' {error}", out::name(run)))?;
    if out {
        return put(svg, &drawing);
    }
    out::write(&drawing);
    Ok(())
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

/// Whether both are one file.
fn same(a: &Path, b: &Path) -> bool {
    let found = |file: &Path| file.canonicalize().ok();
    a == b || found(a).is_some_and(|a| Some(a) == found(b))
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
