//! A picture, as a reader has it.

use std::time::SystemTime;

use crate::pool::snapshot::{Snapshot, Totals};

/// Rows of a picture that found no room in the area. All are counts. [`is_none`](LeftOut::is_none) has an example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LeftOut {
    /// Of the tags.
    pub tags: u32,
    /// Of adapters and tags.
    pub accounts: u32,
    /// Of CPUs.
    pub cpus: u32,
    /// Of size classes.
    pub classes: u32,
    /// Bars of the histograms of tags and accounts.
    pub bars: u32,
}

impl LeftOut {
    /// Whether the picture is whole.
    ///
    /// ```
    /// assert!(storport_pool::watch::LeftOut::default().is_none());
    /// ```
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == LeftOut::default()
    }
}

/// What was published: a snapshot, and what belongs to it. [`Reader::read`](super::Reader::read) gives one.
/// [`Reader`](super::Reader) has an example.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Picture {
    /// The number of the publish, from 1. Two pictures of one watch with the same number are the same.
    pub number: u64,
    /// When the host published it, by its clock.
    pub time: SystemTime,
    /// Publishes that failed before this one: no memory, or no room in the file system.
    pub missed: u64,
    /// Sums over all tags, with those whose rows were left out. The histogram is empty.
    pub totals: Totals,
    /// What the pool had. It may have fewer rows than the pool: see `left_out`.
    pub snapshot: Snapshot,
    /// Rows that are not there.
    pub left_out: LeftOut,
}
