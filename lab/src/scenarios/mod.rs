//! The scenarios: the same work for each allocator.

mod bleeding;
mod calls;
mod crowd;
mod hotspot;
mod interrupts;
mod parcel;
mod remote;
mod ring;
mod schedule;
mod single;
mod storport;
mod traced;
mod turn;
mod upkeep;

use std::time::Duration;

use fastrand::Rng;

use crate::bulk::Use;
use crate::subjects::{Need, Subject};
use crate::workloads::{SEED, flat_mix};
use single::{Burst, Cold, Fill, Order, Pair};

pub(crate) use storport::replay;
pub(crate) use traced::Traced;
pub(crate) use turn::{Bench, Turn};

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// A few seconds: shows that it works, not how fast.
    Quick,
    /// As many turns as [`Effort::Full`], each half as long, and all of an allocator's in one process: for a run that is
    /// to end while somebody waits.
    Brief,
    /// As surely as the turns can tell: each in a process of its own, unless a trace is replayed.
    Full,
}

/// What each allocator gets in each scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// How many processes, one after the other.
    pub(crate) processes: usize,
    /// How many turns each process has.
    pub(crate) turns: usize,
    pub(crate) length: Duration,
}

impl Effort {
    /// `trace`: whether one is replayed, which each process must read first.
    pub(crate) fn extent(self, trace: bool) -> Extent {
        let extent = |processes, turns, ms| Extent { processes, turns, length: Duration::from_millis(ms) };
        match self {
            Effort::Quick => extent(1, 1, 15),
            Effort::Brief => extent(1, 12, 25),
            Effort::Full if trace => extent(1, 12, 50),
            // Some processes are slower than others for all their life. So the turns of one process say too little.
            Effort::Full => extent(12, 1, 50),
        }
    }

    /// Of a figure, that much. Filling tables is slow in a debug build.
    fn of(self, full: usize) -> usize {
        match self {
            Effort::Quick => full / 4,
            Effort::Brief | Effort::Full => full,
        }
    }
}

/// What a scenario times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timed {
    /// Allocate and free, each by itself.
    Both,
    /// Allocate alone.
    Allocate,
    /// The two together.
    Pair,
    /// Free alone.
    Free,
}

/// A scenario, as it is announced.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) name: &'static str,
    /// In a few words.
    pub(crate) short: &'static str,
    pub(crate) about: &'static str,
    pub(crate) timed: Timed,
    /// What it asks of an allocator.
    pub(crate) needs: &'static [Need],
    /// The range of the pool under test.
    pub(crate) pool_bytes: u64,
    /// How many adapters, and tags of each, its blocks are spread over.
    pub(crate) owners: (u32, u32),
    /// Which bulk calls have rows of their own beside it.
    pub(crate) bulk: &'static [Use],
}

const fn about(name: &'static str, short: &'static str, about: &'static str) -> About {
    About {
        name,
        short,
        about,
        timed: Timed::Both,
        needs: &[],
        pool_bytes: 512 << 20,
        owners: (1, 1),
        bulk: &[],
    }
}

const fn threads(name: &'static str, short: &'static str, about: &'static str) -> About {
    About { needs: &[Need::Threads], ..self::about(name, short, about) }
}

/// Blocks of one size, all allocated, then all freed.
const fn burst(name: &'static str, short: &'static str, about: &'static str) -> About {
    About { bulk: &[Use::Free, Use::Allocate], ..self::about(name, short, about) }
}

/// Another CPU frees what it gets in batches.
const fn batches(name: &'static str, short: &'static str, about: &'static str) -> About {
    About { bulk: &[Use::Free, Use::Hint], ..threads(name, short, about) }
}

/// What `fill` takes at most, and the range of the pool that it exhausts.
const FILL_BYTES: u64 = 64 << 20;

/// All scenarios, in the order of the report.
pub(crate) const ALL: [About; 25] = [
    About {
        timed: Timed::Pair,
        ..about("pair", "one block", "One block of 64 bytes, allocated and freed again at once.")
    },
    about(
        "hot",
        "1000 blocks",
        "1000 blocks of mixed sizes, allocated, then freed in a random order; all of it fits the caches.",
    ),
    about(
        "cold",
        "200,000 live",
        "200,000 blocks of 64 bytes live; a random 1000 of them are freed, unread, then allocated again.",
    ),
    burst("burst-512", "512 equal blocks", "512 blocks of 256 bytes, allocated, then all freed."),
    burst("burst-4224", "4224 equal blocks", "4224 blocks of 256 bytes, allocated, then all freed."),
    about(
        "fifo",
        "oldest freed first",
        "2000 blocks of mixed sizes, freed in the order of their allocation.",
    ),
    about("lifo", "newest freed first", "2000 blocks of mixed sizes, the last one freed first."),
    about("random", "random order", "2000 blocks of mixed sizes, freed in a random order."),
    About {
        needs: &[Need::Large],
        ..about(
            "overflow",
            "large blocks",
            "256 blocks of 32 KiB, allocated, then freed: more than a CPU may keep, so free takes its slow way again and again.",
        )
    },
    About {
        bulk: &[Use::Free],
        ..about(
            "teardown",
            "all freed at once",
            "What the start of four adapters and 2000 requests left, freed at once.",
        )
    },
    About {
        pool_bytes: FILL_BYTES,
        ..about(
            "fill",
            "64 MiB filled up",
            "64 MiB of mixed sizes, or until the pool is exhausted; then all freed in a random order.",
        )
    },
    batches(
        "remote-25",
        "another CPU frees 1/4",
        "One CPU allocates batches of 64 blocks; another one frees a quarter of them.",
    ),
    batches(
        "remote-100",
        "another CPU frees",
        "One CPU allocates batches of 64 blocks; another one frees them all.",
    ),
    batches(
        "remote-n1",
        "3 allocate, 1 frees",
        "Three threads allocate; one on another CPU frees all of it.",
    ),
    batches(
        "remote-1n",
        "1 allocates, 3 free",
        "One thread allocates; three on another CPU free, a batch each in turn.",
    ),
    batches(
        "remote-proxy",
        "a third thread frees",
        "One thread allocates, a second one looks at the blocks and passes them on, a third one frees them.",
    ),
    About {
        timed: Timed::Free,
        ..threads(
            "free-only",
            "it never allocates",
            "A thread that never allocates frees blocks of a page that another CPU allocates; up to 16 MiB are in flight.",
        )
    },
    threads(
        "hotspot",
        "blocks side by side",
        "One thread allocates 1024 blocks of 64 bytes that lie side by side; all threads free them at once, every other one each.",
    ),
    threads(
        "bleeding",
        "threads come and go",
        "Two threads replace random ones of their 2000 blocks; every few milliseconds new threads on the other CPU take them over.",
    ),
    threads(
        "upkeep",
        "another thread trims",
        "As hot, while another thread trims and takes statistics without pause.",
    ),
    threads(
        "oversubscribed",
        "64 threads",
        "64 threads allocate batches, and free those that another one left.",
    ),
    threads(
        "oversubscribed-timer",
        "64 threads, signals",
        "The same, with a timer's signal every 100 microseconds.",
    ),
    About {
        timed: Timed::Free,
        needs: &[Need::Interrupts],
        ..about(
            "interrupted",
            "a handler frees",
            "A signal handler frees 64 blocks, while the code below it allocates and frees.",
        )
    },
    batches(
        "storport-b1",
        "disk requests",
        "Two submitters allocate 80 and 32 bytes per request; another CPU frees both when the request completes.",
    ),
    threads(
        "storport-b2",
        "rare disk requests",
        "Two submitters allocate for the few requests in a thousand that need a block: UNMAP, INQUIRY, SMART.",
    ),
];

const fn live(name: &'static str) -> About {
    About {
        pool_bytes: 1 << 30,
        ..about(
            name,
            "",
            "So many blocks of 64 bytes live; a random 1000 of them are freed, then allocated again.",
        )
    }
}

const fn owned(name: &'static str, adapters: u32, tags: u32) -> About {
    let about = about(
        name,
        "",
        "As hot, each block in the name of the next adapter, or with the next tag; free finds in the block whose it is.",
    );
    About { needs: &[Need::Owners], owners: (adapters, tags), ..about }
}

/// The scenarios of which only the number in their name changes: what a call costs as something grows.
const GROWTH: [About; 13] = [
    live("live-1000"),
    live("live-10000"),
    live("live-100000"),
    live("live-1000000"),
    live("live-10000000"),
    owned("adapters-1", 1, 1),
    owned("adapters-10", 10, 1),
    owned("adapters-100", 100, 1),
    owned("adapters-1000", 1000, 1),
    owned("tags-1", 1, 1),
    owned("tags-10", 1, 10),
    owned("tags-100", 1, 100),
    owned("tags-1000", 1, 1000),
];

/// A trace's calls. The trace says how large a pool must be.
pub(crate) const TRACE: About = About {
    needs: &[Need::Threads, Need::Large],
    ..about(
        "trace",
        "a trace's calls",
        "The recorded calls of a trace, by thread, as fast as they can; a free waits for its allocation.",
    )
};

/// Those that a run of this effort has time for.
pub(crate) fn growth(effort: Effort) -> Vec<&'static About> {
    let takes_long = |name| matches!(grown(name), Some(("live", blocks)) if blocks > 100_000);
    GROWTH.iter().filter(|about| effort != Effort::Quick || !takes_long(about.name)).collect()
}

/// Scenarios whose latency over time is drawn: one CPU, two, and more threads than CPUs.
pub(crate) fn over_time(name: &str) -> bool {
    ["hot", "remote-100", "oversubscribed"].contains(&name)
}

/// A scenario by its name.
pub(crate) fn find(name: &str) -> Option<&'static About> {
    ALL.iter().chain(&GROWTH).chain([&TRACE]).find(|about| about.name == name)
}

/// What grows, and how much of it there is, in a scenario of [`GROWTH`].
pub(crate) fn grown(name: &str) -> Option<(&str, u64)> {
    let (what, count) = name.rsplit_once('-')?;
    GROWTH.iter().any(|about| about.name == name).then_some((what, count.parse().ok()?))
}

/// Who is to do a scenario's work.
pub(crate) trait Visitor {
    type Result;

    fn visit<S: Subject, B: Bench>(self, subject: &S, bench: &B) -> Self::Result;
}

/// Hands the named scenario over; `None`: there is no such one.
pub(crate) fn visit<S: Subject, V: Visitor>(
    name: &str,
    effort: Effort,
    subject: &S,
    visitor: V,
) -> Option<V::Result> {
    Some(match name {
        "pair" => visitor.visit(subject, &Pair),
        "hot" => visitor.visit(subject, &Burst::mixed(1000, &Order::Random)),
        "cold" => visitor.visit(subject, &Cold { live: effort.of(200_000) }),
        "burst-512" => visitor.visit(subject, &Burst::equal(512, 256)),
        "burst-4224" => visitor.visit(subject, &Burst::equal(4224, 256)),
        "fifo" => visitor.visit(subject, &Burst::mixed(2000, &Order::Fifo)),
        "lifo" => visitor.visit(subject, &Burst::mixed(2000, &Order::Lifo)),
        "random" => visitor.visit(subject, &Burst::mixed(2000, &Order::Random)),
        "overflow" => visitor.visit(subject, &Burst::equal(256, 32 << 10)),
        "teardown" => visitor.visit(subject, &Burst::teardown()),
        "fill" => {
            let sizes = flat_mix(10_000, &mut Rng::with_seed(SEED));
            visitor.visit(subject, &Fill { sizes, bytes: effort.of(FILL_BYTES as usize) as u64 })
        }
        "remote-25" => visitor.visit(subject, &remote::Remote::percent(25)),
        "remote-100" => visitor.visit(subject, &remote::Remote::percent(100)),
        "remote-n1" => visitor.visit(subject, &remote::Remote::between(3, 1)),
        "remote-1n" => visitor.visit(subject, &remote::Remote::between(1, 3)),
        "remote-proxy" => visitor.visit(subject, &remote::Remote::by_proxy()),
        "free-only" => visitor.visit(subject, &remote::Remote::free_only()),
        "hotspot" => visitor.visit(subject, &hotspot::Hotspot),
        "bleeding" => visitor.visit(subject, &bleeding::Bleeding::new()),
        "upkeep" => visitor.visit(subject, &upkeep::Upkeep(Burst::mixed(1000, &Order::Random))),
        "oversubscribed" => visitor.visit(subject, &crowd::Crowd::new(false)),
        "oversubscribed-timer" => visitor.visit(subject, &crowd::Crowd::new(true)),
        "interrupted" => visitor.visit(subject, &interrupts::Interrupted),
        "storport-b1" => visitor.visit(subject, &storport::Storport::request_table()),
        "storport-b2" => visitor.visit(subject, &storport::Storport::mixed_srbs()),
        name => match grown(name)? {
            ("live", blocks) => visitor.visit(subject, &Cold { live: blocks as usize }),
            _ => visitor.visit(subject, &Burst::mixed(1000, &Order::Random)),
        },
    })
}
