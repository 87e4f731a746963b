//! What the soak counts.

/// What was done.
#[derive(Clone, Copy, Default)]
pub(super) struct Done {
    pub(super) allocs: u64,
    pub(super) frees: u64,
    pub(super) exhausted: u64,
    pub(super) refused: u64,
    pub(super) trims: u64,
    pub(super) removals: u64,
    /// Tags with blocks left at removals: each a violation.
    pub(super) leaks: u64,
    pub(super) in_handlers: u64,
    pub(super) forks: u64,
    pub(super) pools: u64,
}

impl Done {
    pub(super) fn add(&mut self, other: &Done) {
        self.allocs += other.allocs;
        self.frees += other.frees;
        self.exhausted += other.exhausted;
        self.refused += other.refused;
        self.trims += other.trims;
        self.removals += other.removals;
        self.leaks += other.leaks;
        self.in_handlers += other.in_handlers;
        self.forks += other.forks;
        self.pools += other.pools;
    }

    pub(super) fn rows(&self) -> [(&'static str, u64); 9] {
        [
            ("allocations", self.allocs),
            ("frees", self.frees),
            ("calls in handlers", self.in_handlers),
            ("allocations that found nothing", self.exhausted),
            ("frees refused", self.refused),
            ("trims", self.trims),
            ("adapters removed", self.removals),
            ("forks", self.forks),
            ("pools made and dropped", self.pools),
        ]
    }
}
