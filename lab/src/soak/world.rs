//! The pool that is soaked, what is known to live in it, and its rounds.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use storport_pool::{AdapterId, Commit, Native, Pool, PoolOptions, Status, tag};

use super::actors::{Stage, Worker, come_and_go, look_on, release};
use super::block::Block;
use super::done::Done;
use super::interrupts;
use crate::pinning::Cpus;

/// Small enough that a worker exhausts it in part of a round.
const BYTES: u64 = 16 << 20;
const DISKS: usize = 3;

pub(super) struct World {
    // Where interruptions find it: it must not move.
    pool: Box<Pool<Native>>,
    commit: Commit,
    disks: Vec<AdapterId>,
    interrupts: AdapterId,
    workers: Vec<Worker>,
    orphans: Vec<Block>,
    /// All that was done so far.
    done: Done,
}

impl World {
    pub(super) fn new(commit: Commit, seed: u64) -> Result<World, String> {
        let workers = 4.max(2 * std::thread::available_parallelism().map_or(1, usize::from));
        let pool = PoolOptions::new(BYTES)
            .adapters(1023)
            .commit(commit)
            .build()
            .map_err(|error| error.to_string())?;
        let pool = Box::new(pool);
        let adapter = |name: &str| pool.add_adapter(name).map_err(|error| error.to_string());
        let disks = (0..DISKS).map(|n| adapter(&format!("disk{n}"))).collect::<Result<_, _>>()?;
        let interrupts = adapter("interrupts")?;
        let workers = (0..workers)
            .map(|number| {
                let own = adapter(&format!("worker{number}"))?;
                Ok(Worker { number, own, kept: Vec::new(), rng: Rng::with_seed(seed ^ number as u64) })
            })
            .collect::<Result<_, String>>()?;
        interrupts::prepare(&pool, interrupts)?;
        let done = Done::default();
        let mut world = World { pool, commit, disks, interrupts, workers, orphans: Vec::new(), done };
        world.warm_up()?;
        Ok(world)
    }

    /// Has every part of the range serve blocks of every size. From then on no more of the states becomes
    /// resident, and memory can be seen to be flat.
    fn warm_up(&mut self) -> Result<(), String> {
        for bytes in (4..16).map(|k| 1 << k) {
            let mut blocks = Vec::new();
            while let Some(block) = Block::take(&self.pool, self.disks[0], bytes, tag!("Warm"), 0)
                .map_err(|status| status.to_string())?
            {
                blocks.push(block);
            }
            (self.done.allocs, self.done.frees) =
                (self.done.allocs + blocks.len() as u64, self.done.frees + blocks.len() as u64);
            blocks.into_iter().try_for_each(|block| block.give(&self.pool))?;
        }
        self.clear()
    }

    pub(super) fn commit(&self) -> &'static str {
        if self.pool.uses_rseq() { "restartable sequences" } else { "portable twin" }
    }

    pub(super) fn workers(&self) -> usize {
        self.workers.len()
    }

    /// All kinds of traffic at once.
    pub(super) fn round(&mut self, round: u64, length: Duration) -> Result<Done, String> {
        let (interrupts, commit) = (self.interrupts, self.commit);
        let stage = Stage {
            pool: &self.pool,
            disks: &self.disks,
            cpus: Cpus::detect(),
            mailboxes: self.workers.iter().map(|_| Mutex::default()).collect(),
            passing: AtomicU32::new(0),
            left: Mutex::default(),
        };
        let stop = AtomicBool::new(false);
        let mut done = Done::default();
        let handled = handled();
        let outcome: Result<(), String> = std::thread::scope(|scope| {
            let (stage, stop) = (&stage, &stop);
            // Whoever fails ends the round.
            let until_stop = move |step: &mut dyn FnMut(&mut Done) -> Result<(), String>| {
                let mut done = Done::default();
                while !stop.load(Ordering::Relaxed) {
                    step(&mut done).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
                }
                Ok::<Done, String>(done)
            };
            let mut threads: Vec<_> = self
                .workers
                .iter_mut()
                .map(|worker| {
                    scope.spawn(move || {
                        let timer = interrupts::every(100 + 150 * worker.number as i64)?;
                        let done = until_stop(&mut |done| worker.spell(stage, done));
                        drop(timer);
                        interrupts::settle(stage.pool, interrupts);
                        done
                    })
                })
                .collect();
            threads.push(scope.spawn(move || until_stop(&mut |done| look_on(stage, done))));
            threads.push(scope.spawn(move || {
                until_stop(&mut |done| {
                    come_and_go(stage, done)?;
                    release(stage, done)
                })
            }));
            let end = Instant::now() + length;
            let mut first = Ok(());
            while Instant::now() < end && !stop.load(Ordering::Relaxed) && first.is_ok() {
                first = fork_and_work(stage.pool, stage.disks[0], &mut done)
                    .and_then(|()| make_and_drop(commit, round, &mut done));
                std::thread::sleep(length / 20);
            }
            stop.store(true, Ordering::Relaxed);
            for thread in threads {
                match thread.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())) {
                    Ok(its) => done.add(&its),
                    Err(error) => first = first.and(Err(error)),
                }
            }
            first
        });
        outcome?;
        // What was handed over at the very end.
        for worker in &mut self.workers {
            worker.receive(&stage, &mut done)?;
        }
        let left = stage.left.into_inner().unwrap_or_else(PoisonError::into_inner);
        // The adapters are gone: their blocks belong to the orphans.
        self.orphans.extend(left.into_iter().map(Block::orphaned));
        let now = self::handled();
        done.in_handlers = now.0 + now.1 - handled.0 - handled.1;
        (done.allocs, done.frees) = (done.allocs + now.0 - handled.0, done.frees + now.1 - handled.1);
        self.done.add(&done);
        Ok(done)
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.workers.iter().flat_map(|worker| &worker.kept).chain(&self.orphans)
    }

    /// All is at rest: what the pool says is what its owners know.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut blocks: Vec<&Block> = self.blocks().collect();
        blocks.sort_unstable_by_key(|block| block.address);
        for pair in blocks.windows(2) {
            if pair[0].address + u64::from(pair[0].bytes) > pair[1].address {
                return Err(format!("{:x?} and {:x?} overlap", pair[0], pair[1]));
            }
        }
        blocks.iter().try_for_each(|block| block.check())?;
        let snapshot = self.pool.snapshot();
        let (mut allocs, mut frees, mut live, mut bytes) = (0, 0, 0, 0);
        for row in &snapshot.tags {
            let of = &row.totals;
            (allocs, frees) = (allocs + of.allocs, frees + of.frees);
            (live, bytes) = (live + of.live, bytes + of.bytes_requested);
        }
        let known = (blocks.len() as u64, blocks.iter().map(|block| u64::from(block.bytes)).sum::<u64>());
        equal("live blocks and bytes", (live, bytes), known)?;
        equal("allocations less frees", allocs - frees, known.0)?;
        // An allocation that is undone, since its adapter goes, counts as one and as a free.
        if allocs < self.done.allocs {
            return Err(format!("{allocs} allocations were counted, {} made", self.done.allocs));
        }
        equal("violations", snapshot.violations, self.done.refused + self.done.leaks)?;
        equal("slabs that change", snapshot.changing, 0)?;
        equal("wrong answers in handlers", interrupts::WRONG.load(Ordering::Relaxed), 0)
    }

    /// Frees the orphans. While they live, they keep an account for each adapter that went.
    pub(super) fn bury(&mut self) -> Result<(), String> {
        self.done.frees += self.orphans.len() as u64;
        self.orphans.drain(..).try_for_each(|block| block.give(&self.pool))
    }

    /// Frees everything; then the whole range can be had in one piece.
    pub(super) fn clear(&mut self) -> Result<(), String> {
        for block in self.workers.iter_mut().flat_map(|worker| worker.kept.drain(..)) {
            block.give(&self.pool)?;
            self.done.frees += 1;
        }
        self.pool.trim().map_err(|busy| busy.to_string())?;
        equal("free bytes of an empty pool", self.pool.snapshot().free_bytes, BYTES)?;
        let all = Block::take(&self.pool, self.disks[0], BYTES as u32, tag!("All "), 0);
        let all = all.map_err(|status| status.to_string())?.ok_or("the range cannot be had in one piece")?;
        all.give(&self.pool)?;
        (self.done.allocs, self.done.frees) = (self.done.allocs + 1, self.done.frees + 1);
        self.pool.trim().map_err(|busy| busy.to_string())?;
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        interrupts::retire();
    }
}

fn handled() -> (u64, u64) {
    (interrupts::ALLOCS.load(Ordering::Relaxed), interrupts::FREES.load(Ordering::Relaxed))
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?}, expected {expected:?}")) }
}

/// A child goes on with its copy of the pool, though not with the other threads.
fn fork_and_work(pool: &Pool<Native>, id: AdapterId, done: &mut Done) -> Result<(), String> {
    // SAFETY: the child calls the pool alone, and ends by _exit.
    match unsafe { fork() }.map_err(|error| format!("fork: {error}"))? {
        ForkResult::Child => {
            let mut blocks = [0u64; 64];
            let mut well = true;
            for bytes in [64, 208, 4096, 20_000, 70_000] {
                for block in &mut blocks {
                    let status = pool.allocate(id, bytes, tag!("Fork"), Some(block));
                    well &= status == Status::SUCCESS || status == Status::INSUFFICIENT_RESOURCES;
                }
                for block in blocks.iter_mut().filter(|block| **block != 0) {
                    // SAFETY: nobody uses the block.
                    well &= unsafe { pool.free(id, std::mem::take(block)) } == Status::SUCCESS;
                }
            }
            // SAFETY: ends the process without running anything of the parent's.
            unsafe { libc::_exit(i32::from(!well)) }
        }
        ForkResult::Parent { child } => {
            done.forks += 1;
            match waitpid(child, None) {
                Ok(WaitStatus::Exited(_, 0)) => Ok(()),
                other => Err(format!("a child ended with {other:?}")),
            }
        }
    }
}

/// A pool that lives for a moment.
fn make_and_drop(commit: Commit, round: u64, done: &mut Done) -> Result<(), String> {
    let bytes = 1 << (20 + round % 6);
    let pool = PoolOptions::new(bytes).commit(commit).build().map_err(|error| error.to_string())?;
    let id = pool.add_adapter("brief").map_err(|error| error.to_string())?;
    for bytes in [16, 4096, 32_768, 65_536] {
        let block =
            Block::take(&pool, id, bytes, tag!("Brie"), round).map_err(|status| status.to_string())?;
        block.ok_or("a new pool is exhausted")?.give(&pool)?;
    }
    done.pools += 1;
    Ok(())
}
