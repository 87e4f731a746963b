//! Processes for each allocator and scenario: nothing that one allocator leaves behind slows another down, and what
//! is resident is its own. The program starts workers and lets them take turns; they talk in lines of JSON
//! over the worker's standard input and output.

mod client;
mod serve;
mod talk;

pub(crate) use client::{Program, Row, Task};
pub use serve::{Args, Work, pool_worker};
pub(crate) use serve::{bulk_worker, masked_worker, watched_worker};
