//! Growth suspects: tags whose live count only rises.

use std::collections::{HashMap, VecDeque};

use storport_pool::PoolTag;
use storport_pool::watch::Picture;

/// The live counts of the last pictures, by tag.
#[derive(Debug)]
pub(crate) struct Growth {
    /// How many pictures a suspect must have grown over.
    pictures: usize,
    counts: HashMap<PoolTag, VecDeque<u64>>,
}

/// A tag that grew in no picture less than in the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suspect {
    pub(crate) tag: PoolTag,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Growth {
    pub(crate) fn new(pictures: usize) -> Growth {
        Growth { pictures: pictures.max(2), counts: HashMap::new() }
    }

    /// How many pictures it looks at.
    pub(crate) fn pictures(&self) -> usize {
        self.pictures
    }

    /// Tags come and go: what is no longer in the picture is forgotten.
    pub(crate) fn add(&mut self, picture: &Picture) {
        let tags = &picture.snapshot.tags;
        self.counts.retain(|tag, _| tags.iter().any(|row| row.tag == *tag));
        for row in tags {
            let counts = self.counts.entry(row.tag).or_default();
            counts.push_back(row.totals.live);
            if counts.len() > self.pictures {
                counts.pop_front();
            }
        }
    }

    /// Those that never fell, and rose in at least two steps; who grew most comes first.
    pub(crate) fn suspects(&self) -> Vec<Suspect> {
        let rises = |counts: &VecDeque<u64>| {
            let pairs = || counts.iter().zip(counts.iter().skip(1));
            counts.len() == self.pictures
                && pairs().all(|(a, b)| a <= b)
                && pairs().filter(|(a, b)| a < b).count() >= 2.min(self.pictures - 1)
        };
        let mut found: Vec<_> = self.counts.iter().filter(|(_, counts)| rises(counts)).collect();
        found.sort_by_key(|(tag, _)| tag.bytes());
        let suspect = |(tag, counts): (&PoolTag, &VecDeque<u64>)| {
            Some(Suspect { tag: *tag, from: *counts.front()?, to: *counts.back()? })
        };
        let mut suspects: Vec<_> = found.into_iter().filter_map(suspect).collect();
        suspects.sort_by_key(|suspect| std::cmp::Reverse(suspect.to - suspect.from));
        suspects
    }
}
