//! What a run found: on the terminal, as JSON, and as a page.

mod charts;
mod compare;
pub(crate) mod files;
mod html;
mod json;
mod sheets;
pub(crate) mod terminal;
pub(crate) mod text;
