//! The command line of `poolmon`.

use std::path::PathBuf;

use super::filter::Pattern;
use super::rows::Sort;
use crate::sink::Sink;

#[derive(Debug, clap::Args)]
pub(crate) struct Poolmon {
    /// A watch's file. Without it and --pid: the only process of yours that watches a pool.
    #[arg(value_name = "FILE", conflicts_with_all = ["pid", "demo"])]
    pub(crate) file: Option<PathBuf>,
    /// The process, by its id: its watch at the default path.
    #[arg(long, value_name = "N", conflicts_with = "demo", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pid: Option<u32>,
    /// Starts a process that has something to watch, and ends it at the end.
    #[arg(long)]
    pub(crate) demo: bool,
    /// Seconds between two looks, 0.1 to 3600.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    pub(crate) interval: f64,
    /// Only tags that fit: `*` stands for any characters, `?` for one. May be given several times.
    #[arg(short = 'i', long = "include", value_name = "TAG")]
    pub(crate) include: Vec<Pattern>,
    /// No tags that fit. May be given several times.
    #[arg(short = 'x', long = "exclude", value_name = "TAG")]
    pub(crate) exclude: Vec<Pattern>,
    /// What rows are sorted by.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) sort: Sort,
    /// Sorted by what changed, not by what is.
    #[arg(long)]
    pub(crate) by_change: bool,
    /// A row for each adapter and tag.
    #[arg(long)]
    pub(crate) adapters: bool,
    /// A line of totals.
    #[arg(short = 'e', long)]
    pub(crate) totals: bool,
    /// Changed rows are highlighted.
    #[arg(short = 'l', long)]
    pub(crate) highlight: bool,
    /// A tag is suspected of growth whose live count only rises over so many pictures, 3 to 1000.
    #[arg(long, value_name = "PICTURES", default_value_t = 10, value_parser = pictures)]
    pub(crate) suspects: usize,
    /// Prints one picture and ends.
    #[arg(long)]
    pub(crate) once: bool,
    /// The same as comma-separated values.
    #[arg(long, conflicts_with_all = ["once", "json"])]
    pub(crate) csv: bool,
    /// Writes all of one picture as JSON, and ends; '-': to the standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<Sink>,
    /// No colours; so does the variable `NO_COLOR`.
    #[arg(long)]
    pub(crate) no_color: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds is wanted, 0.1 to 3600".to_owned()),
    }
}

fn pictures(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(pictures) if (3..=1000).contains(&pictures) => Ok(pictures),
        _ => Err("a number of pictures is wanted, 3 to 1000".to_owned()),
    }
}
