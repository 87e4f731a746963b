//! What a run found: on the terminal, as JSON, and as a page. Each line uses only those above it:
//!
//! * `text`, `stats`, `bars`: numbers, what is sure about them, and small drawings of them;
//! * `ratio`: how two times relate; `grid`: all ratios of a measure; `standing`: what they come to; `versus`: two runs;
//! * `sheets`: tables; `charts`: drawings;
//! * `summary`: a run in ten lines; `table`: a sheet as text;
//! * `terminal`, `page`, `json`: where they are shown; `files`.

mod bars;
mod charts;
pub(crate) mod files;
mod grid;
mod json;
#[cfg(test)]
mod made_up;
mod page;
mod ratio;
mod sheets;
mod standing;
mod stats;
mod summary;
mod table;
pub(crate) mod terminal;
pub(crate) mod text;
mod versus;
