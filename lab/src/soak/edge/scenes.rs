//! What is allocated in which pool, by how many threads, and how much of it fits.

use std::fmt;

use storport_pool::PoolOptions;

/// Ranges of fewer bytes have spans of a page.
const PAGE_SPANS_BELOW: u64 = 8 << 20;
const PAGE: u64 = 4096;
const MAGAZINE_BLOCKS: u64 = 64;
const MAGAZINE_BYTES: u64 = 256 << 10;
/// Spans and bytes that a trim has in hand at most.
const TRIM_SPANS: u64 = 16;
const TRIM_BYTES: u64 = 256 << 10;

/// How blocks lie in the range.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// In slabs of one size.
    Slabs,
    /// Runs of one length.
    Runs,
    /// In slabs or runs; a block counts as a span, which it keeps from others in the worst case.
    Spans,
}

pub(super) struct Scene {
    /// Bytes of the range.
    pub(super) range: u64,
    pub(super) sizes: &'static [u32],
    kind: Kind,
    workers: u64,
}

const fn scene(mib: u64, sizes: &'static [u32], kind: Kind, workers: u64) -> Scene {
    Scene { range: mib << 20, sizes, kind, workers }
}

impl Scene {
    pub(super) fn all() -> Vec<Scene> {
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
        let (few, many) = (2 * cpus, 8 * cpus);
        vec![
            scene(1, &[64], Kind::Slabs, many),
            scene(4, &[128], Kind::Slabs, 64),
            scene(16, &[4096], Kind::Slabs, many),
            scene(1, &[16], Kind::Slabs, 64),
            scene(4, &[10_000], Kind::Runs, many),
            scene(16, &[50_000], Kind::Runs, 64),
            scene(1, &[1024], Kind::Slabs, few),
            scene(4, &[4096], Kind::Slabs, few),
            scene(16, &[208], Kind::Slabs, 64),
            scene(4, &[150_000], Kind::Runs, few),
            scene(16, &[20_480, 50_000], Kind::Spans, few),
            scene(16, &[100_000], Kind::Runs, many),
        ]
    }

    const fn span(&self) -> u64 {
        if self.range < PAGE_SPANS_BELOW { PAGE } else { 16 * PAGE }
    }

    const fn spans(&self) -> u64 {
        self.range / self.span()
    }

    /// The largest size. Scenes' sizes in slabs are classes' own.
    fn most_bytes(&self) -> u64 {
        self.sizes.iter().copied().max().unwrap_or(1).into()
    }

    /// Spans of a run.
    fn run(&self) -> u64 {
        self.most_bytes().div_ceil(self.span())
    }

    /// Blocks of a slab of this size.
    const fn per_slab(&self, bytes: u64) -> u64 {
        if bytes < PAGE { self.span() / PAGE * (PAGE / bytes) } else { self.span() / bytes }
    }

    /// How many blocks can be live, wherever they lie. If one less is live, any request fits.
    pub(super) fn fitting(&self) -> u64 {
        match self.kind {
            Kind::Slabs => self.spans() * self.per_slab(self.most_bytes()),
            // In the worst case there is a gap before, between and behind them that is a span too short.
            Kind::Runs => (self.spans() + self.run() - 1) / (2 * self.run() - 1),
            Kind::Spans => self.spans(),
        }
    }

    /// More blocks than the range has room for, however well they lie.
    pub(super) fn too_many(&self) -> u64 {
        let room = match self.kind {
            Kind::Slabs => self.fitting(),
            Kind::Runs => self.spans() / self.run(),
            Kind::Spans => self.range / u64::from(self.sizes.iter().copied().min().unwrap_or(1)),
        };
        room + room / 8 + 1
    }

    /// Blocks of a magazine of the smallest size.
    fn magazine(&self) -> u64 {
        let bytes = u64::from(self.sizes.iter().copied().min().unwrap_or(1));
        let by_pool = self.spans() * self.per_slab(bytes) / (8 * u64::from(PoolOptions::possible_cpus()));
        MAGAZINE_BLOCKS.min(MAGAZINE_BYTES / bytes).min(by_pool).max(1)
    }

    /// How many blocks a stopped thread keeps from others, as the module's documentation says.
    fn hand(&self) -> u64 {
        match self.kind {
            Kind::Slabs => self.magazine().max(self.per_slab(self.most_bytes())),
            Kind::Runs => 1,
            // Each block of the magazine may lie in a slab of its own.
            Kind::Spans => self.magazine(),
        }
    }

    /// The same of a trim.
    fn trim(&self) -> u64 {
        let spans = TRIM_SPANS.min(TRIM_BYTES / self.span());
        match self.kind {
            Kind::Slabs => spans * self.per_slab(self.most_bytes()) + self.sweep(),
            // A long piece lies between two gaps as a run does.
            Kind::Runs => (spans + self.run() - 1).div_ceil(2 * self.run() - 1),
            Kind::Spans => spans + self.sweep(),
        }
    }

    /// A magazine of each CPU, of as many as share a fence.
    fn sweep(&self) -> u64 {
        16.min(u64::from(PoolOptions::possible_cpus())) * self.magazine()
    }

    /// Threads that allocate: as many as wanted, if their hands have no more than half of what fits; but two.
    pub(super) fn workers(&self) -> u64 {
        let hands = (self.fitting() / 2).saturating_sub(self.trim()) / self.hand();
        self.workers.min(hands.saturating_sub(self.others()) / 2).max(2)
    }

    /// Threads that have a hand too: the one whose adapters come and go; and two neighbours, if blocks are runs. They
    /// collect freed runs; of what they ask for, they get nothing into their hands.
    fn others(&self) -> u64 {
        if self.kind == Kind::Slabs { 1 } else { 3 }
    }

    /// The most blocks that may be live while no request may be refused. A worker has two hands if it has a handler.
    pub(super) fn safe(&self, handlers: bool) -> u64 {
        let hands = self.workers() * (1 + u64::from(handlers)) + self.others();
        self.fitting().saturating_sub(hands * self.hand() + self.trim()).max(1)
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} MiB, blocks of {:?}, {} workers, {} or {} of {} live",
            self.range >> 20,
            self.sizes,
            self.workers(),
            self.safe(true),
            self.safe(false),
            self.fitting()
        )
    }
}
