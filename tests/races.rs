//! Who gets a block sees what its former owner did with it. The blocks' memory is written and read by plain
//! accesses, so ThreadSanitizer reports a race wherever free does not come before the next allocate, by whatever
//! way the block went. `ci/sanitizers.sh` runs this program under it; without it, patterns are checked.
//!
//! What runs at the same time here uses atomics of its own, and neither locks nor channels of std, which is not
//! instrumented. A hand-over orders its receiver behind its giver and nothing else, so that the pool alone can
//! order the way back. The pool's sequentially consistent fences, which ThreadSanitizer does not know, are about
//! its own words, and those are all atomic.
//!
//! With few rounds, it is a second or two.

#[path = "common/rounds.rs"]
mod rounds;

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use storport_pool::{AdapterId, Host, Irql, Pool, PoolOptions, Portable, Status, tag};

thread_local! {
    static CPU: Cell<u32> = const { Cell::new(0) };
}

/// The thread's CPU is what its scenario says.
struct Cpus;

impl Host for Cpus {
    fn cpu(&self) -> u32 {
        CPU.get()
    }

    fn irql(&self) -> Irql {
        Irql::PASSIVE
    }
}

/// What a thread does.
#[derive(Clone, Copy)]
enum Role {
    /// Allocates blocks of this size and hands them over.
    Make(u32),
    /// Frees what is handed over.
    Free,
    /// Allocates some blocks of this size, then frees them.
    Churn(u32),
    /// Allocates blocks of this size until there are no more, then frees them.
    Fill(u32),
    /// Adds an adapter, allocates blocks of this size in its name, and releases both.
    Release(u32),
    Trim,
    Walk,
    /// Frees what is no block of its own.
    Vandal,
}
use Role::{Churn, Fill, Free, Make, Release, Trim, Vandal, Walk};

struct Scenario {
    name: &'static str,
    spans: u64,
    cpus: u32,
    /// A CPU number and a role for each thread.
    threads: &'static [(u32, Role)],
    /// Whether the blocks went the way that the scenario is about.
    reached: fn(&Tally) -> bool,
}

const SCENARIOS: &[Scenario] = &[
    // The cursor, claimed by one thread and found claimed by the others, which take the queue.
    Scenario {
        name: "one cache",
        spans: 4,
        cpus: 1,
        threads: &[(0, Churn(64)), (0, Churn(64)), (0, Churn(4096))],
        reached: |tally| tally.frees > 0,
    },
    // Spares and the depot's magazines.
    Scenario {
        name: "from cache to cache",
        spans: 8,
        cpus: 3,
        threads: &[(0, Make(4096)), (1, Make(4096)), (2, Free)],
        reached: |tally| tally.handed > 0,
    },
    // The class's block queue: the freeing CPUs have no cache.
    Scenario {
        name: "without a cache",
        spans: 4,
        cpus: 1,
        threads: &[(0, Make(256)), (8, Free), (9, Free)],
        reached: |tally| tally.handed > 0,
    },
    // Caches swept by others.
    Scenario {
        name: "stolen caches",
        spans: 4,
        cpus: 3,
        threads: &[(0, Fill(4096)), (1, Fill(4096)), (2, Fill(4096))],
        reached: |tally| tally.exhausted > 0,
    },
    // Slabs that become another class's.
    Scenario {
        name: "retired slabs",
        spans: 4,
        cpus: 3,
        threads: &[(0, Fill(1024)), (1, Fill(4096)), (2, Fill(20_480)), (8, Trim)],
        reached: |tally| tally.exhausted > 0,
    },
    Scenario {
        name: "large runs",
        spans: 8,
        cpus: 2,
        threads: &[(0, Fill(100_000)), (1, Fill(200_000)), (8, Fill(4096))],
        reached: |tally| tally.exhausted > 0,
    },
    Scenario {
        name: "released with their adapter",
        spans: 2,
        cpus: 3,
        threads: &[(0, Release(512)), (1, Fill(512)), (2, Fill(4096))],
        reached: |tally| tally.released > 0,
    },
    Scenario {
        name: "onlookers",
        spans: 4,
        cpus: 2,
        threads: &[(0, Make(128)), (1, Free), (8, Walk), (9, Vandal), (1, Trim)],
        reached: |tally| tally.refused > 0 && tally.handed > 0,
    },
];

/// What the threads of a scenario did.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    allocs: u64,
    frees: u64,
    handed: u64,
    exhausted: u64,
    released: u64,
    refused: u64,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.allocs += other.allocs;
        self.frees += other.frees;
        self.handed += other.handed;
        self.exhausted += other.exhausted;
        self.released += other.released;
        self.refused += other.refused;
    }
}

struct Shared {
    pool: Pool<Portable<Cpus>>,
    adapter: AdapterId,
    /// Blocks that are handed over, and their sizes.
    slots: [AtomicU64; 32],
    /// Threads that still have rounds to go.
    busy: AtomicU64,
    rounds: u64,
}

/// A slot's value: a block, and the class of sizes it was made of.
const SIZE_SHIFT: u32 = 48;

impl Shared {
    fn is_busy(&self) -> bool {
        // Orders nothing.
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// Orders the receiver behind us.
    fn give(&self, block: u64, bytes: u32) {
        let value = u64::from(bytes) << SIZE_SHIFT | block;
        loop {
            for slot in &self.slots {
                if slot.compare_exchange(0, value, Ordering::Release, Ordering::Relaxed).is_ok() {
                    return;
                }
            }
            std::hint::spin_loop();
        }
    }

    /// Orders us behind the giver, and not the next giver behind us.
    fn take(&self) -> Option<(u64, u32)> {
        let value = self.slots.iter().find_map(|slot| match slot.swap(0, Ordering::Acquire) {
            0 => None,
            value => Some(value),
        })?;
        Some((value & ((1 << SIZE_SHIFT) - 1), (value >> SIZE_SHIFT) as u32))
    }

    fn allocate(&self, adapter: AdapterId, bytes: u32, tally: &mut Tally) -> Option<u64> {
        let mut block = 0;
        match self.pool.allocate(adapter, bytes, tag!("Race"), Some(&mut block)) {
            Status::SUCCESS => {
                tally.allocs += 1;
                own(block, bytes);
                Some(block)
            }
            Status::INSUFFICIENT_RESOURCES => {
                tally.exhausted += 1;
                None
            }
            other => panic!("{other}"),
        }
    }

    fn free(&self, block: u64, bytes: u32, tally: &mut Tally) {
        check(block, bytes);
        // SAFETY: nobody uses the block any more.
        assert_eq!(unsafe { self.pool.free(self.adapter, block) }, Status::SUCCESS);
        tally.frees += 1;
    }

    fn fill(&self, bytes: u32, most: usize, tally: &mut Tally) {
        let blocks: Vec<u64> = (0..most).map_while(|_| self.allocate(self.adapter, bytes, tally)).collect();
        for block in blocks {
            self.free(block, bytes, tally);
        }
    }

    fn release(&self, bytes: u32, tally: &mut Tally) {
        let adapter = self.pool.add_adapter("passing").unwrap();
        for _ in 0..20 {
            let _ = self.allocate(adapter, bytes, tally);
        }
        // SAFETY: nobody uses its blocks any more, and nobody frees one.
        unsafe { self.pool.release_adapter_with(adapter, |left| tally.released += left.blocks) }.unwrap();
    }

    /// One round; whether there are others to wait for once the rounds are over.
    fn play(&self, role: Role, tally: &mut Tally) {
        match role {
            Make(bytes) => {
                if let Some(block) = self.allocate(self.adapter, bytes, tally) {
                    self.give(block, bytes);
                    tally.handed += 1;
                }
            }
            Churn(bytes) => self.fill(bytes, 5, tally),
            Fill(bytes) => self.fill(bytes, usize::MAX, tally),
            Release(bytes) => self.release(bytes, tally),
            Free => {
                if let Some((block, bytes)) = self.take() {
                    self.free(block, bytes, tally);
                }
            }
            // Refused while a sweep is under way.
            Trim => drop(self.pool.trim()),
            Walk => drop(self.pool.snapshot()),
            Vandal => {
                let (base, bytes) = self.pool.range();
                for address in [base + 8, base + bytes, base.wrapping_sub(4096), base + 1] {
                    // SAFETY: no block begins there.
                    let status = unsafe { self.pool.free(self.adapter, address) };
                    assert_eq!(status, Status::INVALID_PARAMETER);
                    tally.refused += 1;
                }
            }
        }
    }

    fn run(&self, role: Role) -> Tally {
        let mut tally = Tally::default();
        if matches!(role, Make(_) | Churn(_) | Fill(_) | Release(_)) {
            // A round of the others takes a hundred blocks or so.
            let rounds = if matches!(role, Make(_) | Churn(_)) { self.rounds * 20 } else { self.rounds };
            for _ in 0..rounds {
                self.play(role, &mut tally);
            }
            self.busy.fetch_sub(1, Ordering::Relaxed);
        } else {
            // Once at least, however late we come.
            loop {
                self.play(role, &mut tally);
                if !self.is_busy() {
                    break;
                }
            }
        }
        tally
    }
}

/// Words of a block: some of the first, and the last.
fn words(block: u64, bytes: u32) -> impl Iterator<Item = *mut u64> {
    let count = bytes as usize / 8;
    let start = block as *mut u64;
    (0..count.min(8)).chain((count - 1).max(8)..count).map(move |n| start.wrapping_add(n))
}

/// The first thing a new owner does: plain writes.
fn own(block: u64, bytes: u32) {
    for word in words(block, bytes) {
        // SAFETY: the block is ours, and its range memory of this process.
        unsafe { word.write(word.addr() as u64 ^ u64::from(bytes)) };
    }
}

/// The last thing an owner does.
fn check(block: u64, bytes: u32) {
    for word in words(block, bytes) {
        // SAFETY: as above.
        let found = unsafe { word.read() };
        assert_eq!(found, word.addr() as u64 ^ u64::from(bytes), "{block:#x} is damaged");
        // SAFETY: as above.
        unsafe { word.write(!found) };
    }
}

fn run(scenario: &Scenario, rounds: u64) -> Tally {
    let pool =
        PoolOptions::new(scenario.spans << 16).cpus(scenario.cpus).build_on(Portable::new(Cpus)).unwrap();
    let adapter = pool.add_adapter("disk").unwrap();
    let busy =
        scenario.threads.iter().filter(|(_, role)| matches!(role, Make(_) | Churn(_) | Fill(_) | Release(_)));
    let shared = Shared {
        pool,
        adapter,
        slots: [const { AtomicU64::new(0) }; 32],
        busy: AtomicU64::new(busy.count() as u64),
        rounds,
    };
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = scenario
            .threads
            .iter()
            .map(|&(cpu, role)| {
                let shared = &shared;
                scope.spawn(move || {
                    CPU.set(cpu);
                    shared.run(role)
                })
            })
            .collect();
        for thread in threads {
            tally.add(thread.join().unwrap());
        }
    });
    while let Some((block, bytes)) = shared.take() {
        shared.free(block, bytes, &mut tally);
    }
    assert_eq!(tally.allocs, tally.frees + tally.released, "{}", scenario.name);
    shared.pool.trim().unwrap();
    assert_eq!(shared.pool.snapshot().free_bytes, shared.pool.range().1, "{}", scenario.name);
    tally
}

/// What ThreadSanitizer must report, or it is not at work: two threads write one word.
fn mistake() {
    struct Word(std::cell::UnsafeCell<u64>);
    // SAFETY: none; that is the mistake.
    unsafe impl Sync for Word {}
    let word = Word(std::cell::UnsafeCell::new(0));
    std::thread::scope(|scope| {
        for value in 0..2 {
            let word = &word;
            // SAFETY: none, as above.
            scope.spawn(move || unsafe { word.0.get().write(value) });
        }
    });
}

fn main() {
    // A thread that fails ends the program: others would wait for it.
    std::panic::set_hook(Box::new(|info| {
        eprintln!("{info}");
        std::process::exit(101);
    }));
    if std::env::var_os("STORPORT_POOL_MISTAKE").is_some() {
        return mistake();
    }
    let rounds = rounds::rounds(300, 3000);
    for scenario in SCENARIOS {
        let tally = run(scenario, rounds);
        println!("{}: {tally:?}", scenario.name);
        assert!((scenario.reached)(&tally), "{} did not come by what it is about", scenario.name);
    }
}
