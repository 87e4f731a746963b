//! What a run found: on the terminal, as JSON, and as a page. Each line uses only those above it:
//!
//! * `text`, `stats`, `bars`: numbers, what is sure about them, and small drawings of them; `whom`: who is compared;
//! * `ratio`: how two times relate; `grid`: all ratios of a measure; `standing`: what they come to; `versus`: two runs;
//! * `sheets`: tables; `charts`: drawings; `document`: what a page is;
//! * `chapters`: what is told of a run; `summary`: the same in ten lines; `table`: a sheet as text;
//! * `places`: where its files go; `terminal`, `page`, `markdown`, `json`: where it is shown; `files`.

mod bars;
mod chapters;
mod charts;
mod document;
pub(crate) mod files;
mod grid;
mod json;
#[cfg(test)]
mod made_up;
mod markdown;
mod page;
pub(crate) mod places;
mod ratio;
mod sheets;
mod standing;
mod stats;
mod summary;
mod table;
pub(crate) mod terminal;
pub(crate) mod text;
mod versus;
mod whom;
