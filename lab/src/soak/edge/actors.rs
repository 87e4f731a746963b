//! The pool of a round, and what its threads do.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use storport_pool::{AdapterId, Commit, Irql, Native, Pool, PoolOptions, PoolTag, Status, tag};

use super::budget::Budget;
use super::scenes::Scene;
use crate::soak::block::Block;
use crate::soak::interrupts;

const TAG: PoolTag = tag!("Edge");
/// Between two of a worker's handlers.
const HANDLER_MICROSECONDS: i64 = 500;
/// For how long the budget ends at the safe limit, and how long above all that fits.
const SAFE: Duration = Duration::from_millis(150);
const BEYOND: Duration = Duration::from_millis(15);
/// Blocks that an adapter leaves.
const LEFT: usize = 5;

/// What was done.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) allocs: u64,
    pub(super) frees: u64,
    /// Refusals that were right, or of which it cannot be told.
    pub(super) right: u64,
    /// Refusals while memory was free.
    pub(super) wrong: u64,
    in_handlers: u64,
    failing: u64,
    trims: u64,
    removals: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Tally) {
        self.allocs += other.allocs;
        self.frees += other.frees;
        self.right += other.right;
        self.wrong += other.wrong;
        self.in_handlers += other.in_handlers;
        self.failing += other.failing;
        self.trims += other.trims;
        self.removals += other.removals;
    }

    pub(super) fn rows(&self) -> [(&'static str, u64); 8] {
        [
            ("allocations", self.allocs),
            ("frees", self.frees),
            ("calls in handlers", self.in_handlers),
            ("requests of neighbours that must fail", self.failing),
            ("trims", self.trims),
            ("adapters removed", self.removals),
            ("refusals that were right", self.right),
            ("refusals while memory was free", self.wrong),
        ]
    }
}

type Step = Result<(), String>;

/// A scene's pool, and what is known of it.
pub(super) struct Round<'a> {
    scene: &'a Scene,
    pool: Pool<Native>,
    disk: AdapterId,
    budget: Budget,
    handlers: bool,
    seed: u64,
    /// By worker, blocks that others hand to it.
    mailboxes: Vec<Mutex<Vec<Block>>>,
    stop: AtomicBool,
    /// What handlers did.
    handled: [AtomicU64; 4],
    /// Answers to handlers that were wrong.
    broken: AtomicU64,
}

// Places in `handled`.
const ALLOCS: usize = 0;
const FREES: usize = 1;
const RIGHT: usize = 2;
const WRONG: usize = 3;

impl<'a> Round<'a> {
    pub(super) fn new(
        scene: &'a Scene,
        commit: Commit,
        handlers: bool,
        seed: u64,
    ) -> Result<Round<'a>, String> {
        let pool = PoolOptions::new(scene.range).adapters(1023).commit(commit).build();
        let pool = pool.map_err(|error| error.to_string())?;
        let disk = pool.add_adapter("disk").map_err(|error| error.to_string())?;
        Ok(Round {
            scene,
            pool,
            disk,
            budget: Budget::new(scene.safe(handlers)),
            handlers,
            seed,
            mailboxes: (0..scene.workers()).map(|_| Mutex::default()).collect(),
            stop: AtomicBool::new(false),
            handled: [const { AtomicU64::new(0) }; 4],
            broken: AtomicU64::new(0),
        })
    }

    pub(super) fn commit(&self) -> &'static str {
        if self.pool.uses_rseq() { "restartable sequences" } else { "portable twin" }
    }

    /// Has all threads work for so long; then everything is free again, and the range can be had in one piece.
    pub(super) fn run(self, length: Duration) -> Result<Tally, String> {
        let mut tally = Tally::default();
        self.fill(&mut tally)?;
        // Which no request for the whole range can get past, whatever moves while it looks.
        let keeper = self.take(self.disk, 0, &mut tally)?.ok_or("a new pool has nothing")?;
        if self.handlers {
            handle(&self)?;
        }
        let outcome = std::thread::scope(|scope| {
            let round = &self;
            let mut threads = Vec::new();
            for number in 0..self.mailboxes.len() {
                threads.push(scope.spawn(move || round.work(number)));
            }
            threads.push(scope.spawn(|| round.until_stop(|tally| round.trim(tally))));
            threads.push(scope.spawn(|| round.until_stop(|tally| round.come_and_go(tally))));
            for pause in [0, 1] {
                threads.push(scope.spawn(move || round.until_stop(|tally| round.fail(pause, tally))));
            }
            self.tides(Instant::now() + length);
            let mut first = Ok(());
            for thread in threads {
                match thread.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())) {
                    Ok(its) => tally.add(&its),
                    Err(error) => first = first.and(Err(error)),
                }
            }
            first
        });
        STAGE.store(std::ptr::null_mut(), Ordering::Release);
        outcome?;
        for mailbox in &self.mailboxes {
            let blocks = std::mem::take(&mut *mailbox.lock().unwrap_or_else(PoisonError::into_inner));
            blocks.into_iter().try_for_each(|block| self.give(block, &mut tally))?;
        }
        self.give(keeper, &mut tally)?;
        let handled = self.handled.each_ref().map(|count| count.load(Ordering::Relaxed));
        tally.add(&Tally {
            allocs: handled[ALLOCS],
            frees: handled[FREES],
            right: handled[RIGHT],
            wrong: handled[WRONG],
            in_handlers: handled[ALLOCS] + handled[FREES],
            ..Tally::default()
        });
        self.check(&tally)?;
        Ok(tally)
    }

    /// Fills the empty pool: as much fits as the scene says, at the least.
    fn fill(&self, tally: &mut Tally) -> Step {
        let mut blocks = Vec::new();
        while let Some(block) = Block::take(&self.pool, self.disk, self.bytes(0), TAG, 0)
            .map_err(|status| format!("an allocation got {status}"))?
        {
            blocks.push(block);
        }
        let (fit, count) = (self.scene.fitting(), blocks.len() as u64);
        if !(fit..self.scene.too_many()).contains(&count) {
            return Err(format!("{count} blocks fit the empty pool, not {fit}"));
        }
        (tally.allocs, tally.frees) = (tally.allocs + count, tally.frees + count);
        blocks.into_iter().try_for_each(|block| block.give(&self.pool))
    }

    /// The bytes of a request, by a number that is drawn.
    fn bytes(&self, drawn: u64) -> u32 {
        self.scene.sizes[drawn as usize % self.scene.sizes.len()]
    }

    /// The budget ends at the safe limit, and now and then above all that fits.
    fn tides(&self, end: Instant) {
        let mut safe = true;
        while Instant::now() < end && !self.stop.load(Ordering::Relaxed) {
            let safe_limit = self.scene.safe(self.handlers);
            self.budget.set_limit(if safe { safe_limit } else { self.scene.too_many() });
            let spell = if safe { SAFE } else { BEYOND };
            std::thread::sleep(spell.min(end.saturating_duration_since(Instant::now())));
            safe = !safe;
        }
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whoever fails ends the round.
    fn until_stop(&self, mut step: impl FnMut(&mut Tally) -> Step) -> Result<Tally, String> {
        let mut tally = Tally::default();
        while !self.stop.load(Ordering::Relaxed) {
            step(&mut tally).inspect_err(|_| self.stop.store(true, Ordering::Relaxed))?;
        }
        Ok(tally)
    }

    /// Allocates what the budget allows.
    fn take(&self, owner: AdapterId, mark: u64, tally: &mut Tally) -> Result<Option<Block>, String> {
        let bytes = self.bytes(mark);
        let Some(reserved) = self.budget.reserve() else { return Ok(None) };
        let block = Block::take(&self.pool, owner, bytes, TAG, mark)
            .map_err(|status| format!("an allocation of {bytes} bytes got {status}"))?;
        match block {
            Some(_) => tally.allocs += 1,
            None if self.budget.refused(reserved) => tally.wrong += 1,
            None => tally.right += 1,
        }
        Ok(block)
    }

    fn give(&self, block: Block, tally: &mut Tally) -> Step {
        block.give(&self.pool)?;
        tally.frees += 1;
        self.budget.release();
        Ok(())
    }

    /// Takes as much as the budget has, and replaces its blocks in random order; some are handed to others.
    fn work(&self, number: usize) -> Result<Tally, String> {
        let timer = if self.handlers { Some(interrupts::every(HANDLER_MICROSECONDS)?) } else { None };
        let mut rng = Rng::with_seed(self.seed ^ number as u64);
        let mut mine: Vec<Block> = Vec::new();
        let done = self.until_stop(|tally| {
            for _ in 0..rng.usize(1..100) {
                match self.take(self.disk, rng.u64(..), tally)? {
                    Some(block) => mine.push(block),
                    None => break,
                }
            }
            let to = rng.usize(..self.mailboxes.len());
            for _ in 0..rng.usize(..=mine.len().min(100)) {
                let block = mine.swap_remove(rng.usize(..mine.len()));
                if rng.u32(..8) == 0 {
                    self.mailboxes[to].lock().unwrap_or_else(PoisonError::into_inner).push(block);
                } else {
                    self.give(block, tally)?;
                }
            }
            // Others have all that the budget allows.
            if mine.is_empty() {
                std::thread::yield_now();
            }
            let mut mailbox = self.mailboxes[number].lock().unwrap_or_else(PoisonError::into_inner);
            let blocks = std::mem::take(&mut *mailbox);
            drop(mailbox);
            blocks.into_iter().try_for_each(|block| self.give(block, tally))
        });
        drop(timer);
        if self.handlers {
            self.settle();
        }
        let mut tally = done?;
        mine.into_iter().try_for_each(|block| self.give(block, &mut tally))?;
        Ok(tally)
    }

    fn trim(&self, tally: &mut Tally) -> Step {
        // Nobody else trims or drains.
        self.pool.trim().map_err(|busy| busy.to_string())?;
        tally.trims += 1;
        Ok(())
    }

    /// Asks for the whole range, of which a block is live all the time.
    fn fail(&self, pause: u64, tally: &mut Tally) -> Step {
        let mut none = 0;
        match self.pool.allocate(self.disk, self.scene.range as u32, TAG, Some(&mut none)) {
            Status::INSUFFICIENT_RESOURCES => tally.failing += 1,
            other => return Err(format!("a request for the whole range got {other}")),
        }
        match pause {
            0 => std::thread::yield_now(),
            more => std::thread::sleep(Duration::from_millis(more)),
        }
        Ok(())
    }

    /// An adapter takes blocks and goes. They are the orphans' then, or are freed with it.
    fn come_and_go(&self, tally: &mut Tally) -> Step {
        let id = self.pool.add_adapter("passing").map_err(|error| error.to_string())?;
        let mut left = Vec::new();
        for mark in 0..LEFT as u64 {
            left.extend(self.take(id, mark, tally)?);
        }
        let release = tally.removals % 2 == 1;
        let removed = if release {
            // SAFETY: nobody uses its blocks, and nobody frees one.
            unsafe { self.pool.release_adapter(id) }
        } else {
            self.pool.remove_adapter(id)
        };
        let removed = removed.map_err(|status| format!("a removal got {status}"))?;
        tally.removals += 1;
        if removed.blocks() != left.len() as u64 {
            return Err(format!("{} of {} blocks were left", removed.blocks(), left.len()));
        }
        for block in left {
            if release {
                tally.frees += 1;
                self.budget.release();
            } else {
                self.give(block.orphaned(), tally)?;
            }
        }
        std::thread::sleep(Duration::from_millis(2));
        Ok(())
    }

    /// All is at rest: nothing is live, all was counted, and the range can be had in one piece.
    fn check(&self, tally: &Tally) -> Step {
        let snapshot = self.pool.snapshot();
        let sum = |of: fn(&storport_pool::Totals) -> u64| -> u64 {
            snapshot.tags.iter().map(|row| of(&row.totals)).sum()
        };
        let found = (sum(|of| of.allocs), sum(|of| of.frees), sum(|of| of.live));
        if found != (tally.allocs, tally.frees, 0) {
            let known = (tally.allocs, tally.frees, 0);
            return Err(format!("allocated, freed and live: {found:?}, expected {known:?}"));
        }
        if self.broken.load(Ordering::Relaxed) > 0 {
            return Err("a handler got a wrong answer".to_owned());
        }
        let mut whole = 0;
        let status = self.pool.allocate(self.disk, self.scene.range as u32, TAG, Some(&mut whole));
        if status != Status::SUCCESS {
            return Err(format!("the empty range cannot be had in one piece: {status}"));
        }
        Ok(())
    }
}

/// The round that handlers work in.
static STAGE: AtomicPtr<Round<'static>> = AtomicPtr::new(std::ptr::null_mut());

thread_local! {
    /// What the thread's handler keeps until it comes again. Constant and without destructor: a handler may touch it.
    static KEPT: Cell<[u64; 4]> = const { Cell::new([0; 4]) };
    static TURN: Cell<usize> = const { Cell::new(0) };
}

extern "C" fn interrupt(_: i32) {
    // SAFETY: the round outlives its timers.
    let Some(round) = (unsafe { STAGE.load(Ordering::Acquire).as_ref() }) else { return };
    let turn = TURN.get();
    TURN.set(turn + 1);
    let mut kept = KEPT.get();
    let slot = &mut kept[turn % 4];
    let level = Irql::raise(Irql::DISPATCH);
    if *slot != 0 {
        round.free_in_handler(std::mem::take(slot));
    }
    if let Some(reserved) = round.budget.reserve() {
        let count = match round.pool.allocate(round.disk, round.bytes(turn as u64), TAG, Some(slot)) {
            Status::SUCCESS => &round.handled[ALLOCS],
            Status::INSUFFICIENT_RESOURCES if round.budget.refused(reserved) => &round.handled[WRONG],
            Status::INSUFFICIENT_RESOURCES => &round.handled[RIGHT],
            _ => &round.broken,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
    KEPT.set(kept);
    drop(level);
}

/// Has handlers work in this round, until `STAGE` is cleared.
fn handle(round: &Round<'_>) -> Step {
    STAGE.store(std::ptr::from_ref(round).cast_mut().cast(), Ordering::Release);
    interrupts::handle(interrupt)
}

impl Round<'_> {
    fn free_in_handler(&self, address: u64) {
        // SAFETY: nobody else knows the block.
        let count = match unsafe { self.pool.free(self.disk, address) } {
            Status::SUCCESS => &self.handled[FREES],
            _ => &self.broken,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.budget.release();
    }

    /// Gives back what the calling thread's handler keeps. Its timer is gone.
    fn settle(&self) {
        KEPT.take()
            .into_iter()
            .filter(|&address| address != 0)
            .for_each(|address| self.free_in_handler(address));
    }
}
