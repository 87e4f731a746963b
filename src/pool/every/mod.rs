//! The n-th allocation fails, for every n: a piece of work is run once for each, and what each run left is reported.

pub(crate) mod child;
pub(crate) mod driver;
pub(crate) mod options;
pub(crate) mod page;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod show;
