//! What the threads of a round do.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use fastrand::Rng;
use storport_pool::{AdapterError, AdapterId, Native, Pool, PoolTag, Status, tag};

use super::block::Block;
use super::done::Done;
use crate::pinning::Cpus;
use crate::workloads::{flat_mix, order};

const TAGS: [PoolTag; 4] = [tag!("VioS"), tag!("NVMe"), tag!("SrbX"), tag!("ReqT")];
/// Blocks that a worker keeps at most, over rounds too.
const KEPT: usize = 500;

/// What the threads of a round share.
pub(super) struct Stage<'a> {
    pub(super) pool: &'a Pool<Native>,
    pub(super) disks: &'a [AdapterId],
    pub(super) cpus: Cpus,
    /// By worker, blocks that others hand to it.
    pub(super) mailboxes: Vec<Mutex<Vec<Block>>>,
    /// An adapter that is about to go; 0: none.
    pub(super) passing: AtomicU32,
    /// Blocks of adapters that went, which are the orphans' now.
    pub(super) left: Mutex<Vec<Block>>,
}

/// A worker: its generator, its adapter that nobody else uses, and what it keeps.
pub(super) struct Worker {
    pub(super) number: usize,
    pub(super) own: AdapterId,
    pub(super) kept: Vec<Block>,
    pub(super) rng: Rng,
}

type Step = Result<(), String>;

impl Worker {
    /// A spell of one kind of traffic.
    pub(super) fn spell(&mut self, stage: &Stage<'_>, done: &mut Done) -> Step {
        match self.rng.u32(..100) {
            0..30 => self.burst(stage, done),
            30..60 => self.replace(stage, done),
            60..80 => self.hand_over(stage, done),
            80..90 => self.misuse(stage, done),
            90..97 => self.pass(stage, done),
            97 => self.exhaust(stage, done),
            _ => self.hop(stage),
        }?;
        self.receive(stage, done)
    }

    fn take(
        &mut self,
        stage: &Stage<'_>,
        owner: AdapterId,
        bytes: u32,
        done: &mut Done,
    ) -> Result<Option<Block>, String> {
        let (tag, mark) = (TAGS[self.rng.usize(..TAGS.len())], self.rng.u64(..));
        let block = Block::take(stage.pool, owner, bytes, tag, mark)
            .map_err(|status| format!("an allocation of {bytes} bytes got {status}"))?;
        if block.is_some() {
            done.allocs += 1
        } else {
            done.exhausted += 1
        }
        Ok(block)
    }

    fn give(stage: &Stage<'_>, block: Block, done: &mut Done) -> Step {
        done.frees += 1;
        block.give(stage.pool)
    }

    fn disk(&mut self, stage: &Stage<'_>) -> AdapterId {
        stage.disks[self.rng.usize(..stage.disks.len())]
    }

    fn bytes(&mut self) -> u32 {
        match self.rng.u32(..20) {
            0 => self.rng.u32(32_769..400_000),
            1..4 => self.rng.u32(4097..=32_768),
            _ => flat_mix(1, &mut self.rng)[0],
        }
    }

    /// A burst, freed in the order it came, the reverse, or a random one.
    fn burst(&mut self, stage: &Stage<'_>, done: &mut Done) -> Step {
        let owner = self.disk(stage);
        let mut blocks = Vec::new();
        for bytes in flat_mix(self.rng.usize(1..600), &mut self.rng) {
            blocks.extend(self.take(stage, owner, bytes, done)?);
        }
        match self.rng.u32(..3) {
            0 => {}
            1 => blocks.reverse(),
            _ => blocks = order(blocks.len(), &mut self.rng).into_iter().map(|n| blocks[n]).collect(),
        }
        blocks.into_iter().try_for_each(|block| Self::give(stage, block, done))
    }

    /// Replaces random ones of what is kept, now and over the rounds.
    fn replace(&mut self, stage: &Stage<'_>, done: &mut Done) -> Step {
        for _ in 0..self.rng.usize(1..300) {
            if self.kept.len() > self.rng.usize(..KEPT) {
                let block = self.kept.swap_remove(self.rng.usize(..self.kept.len()));
                Self::give(stage, block, done)?;
            }
            let (owner, bytes) = (self.disk(stage), self.bytes());
            let block = self.take(stage, owner, bytes, done)?;
            self.kept.extend(block);
        }
        Ok(())
    }

    /// Allocates what another worker frees: a request's blocks, or many of one size.
    fn hand_over(&mut self, stage: &Stage<'_>, done: &mut Done) -> Step {
        let to = self.rng.usize(..stage.mailboxes.len());
        let (owner, one) = (self.disk(stage), self.rng.bool().then(|| self.bytes()));
        for _ in 0..self.rng.usize(1..100) {
            for bytes in one.map_or([80, 32], |bytes| [bytes, 16]) {
                let block = self.take(stage, owner, bytes, done)?;
                stage.mailboxes[to].lock().unwrap_or_else(PoisonError::into_inner).extend(block);
            }
        }
        Ok(())
    }

    pub(super) fn receive(&mut self, stage: &Stage<'_>, done: &mut Done) -> Step {
        let mut mailbox = stage.mailboxes[self.number].lock().unwrap_or_else(PoisonError::into_inner);
        let blocks = std::mem::take(&mut *mailbox);
        drop(mailbox);
        blocks.into_iter().try_for_each(|block| Self::give(stage, block, done))
    }

    /// Whatever must be refused. Double frees in the name of an adapter that nobody else uses: another one's
    /// could have got the block in between, and with it a good free.
    fn misuse(&mut self, stage: &Stage<'_>, done: &mut Done) -> Step {
        let owner = self.own;
        let bytes = self.bytes().max(32);
        let Some(block) = self.take(stage, owner, bytes, done)? else { return Ok(()) };
        let (base, size) = stage.pool.range();
        let address = block.address;
        let tries = [
            (owner, address + 16),
            (owner, address + 1),
            (owner, base.wrapping_sub(64)),
            (owner, base + size),
            (owner, self.rng.u64(..) | 1),
            (stage.disks[0], address),
        ];
        for (owner, address) in tries {
            self.refused(stage, owner, address, done)?;
        }
        Self::give(stage, block, done)?;
        self.refused(stage, owner, address, done)
    }

    fn refused(&self, stage: &Stage<'_>, owner: AdapterId, address: u64, done: &mut Done) -> Step {
        // SAFETY: refused, whatever it is.
        match unsafe { stage.pool.free(owner, address) } {
            Status::INVALID_PARAMETER => {
                done.refused += 1;
                Ok(())
            }
            other => Err(format!("the free of {address:#x} got {other}")),
        }
    }

    /// Allocates in the name of an adapter that may go at any moment.
    fn pass(&mut self, stage: &Stage<'_>, done: &mut Done) -> Step {
        let id = AdapterId::from_raw(stage.passing.load(Ordering::Acquire));
        for _ in 0..self.rng.usize(1..40) {
            let bytes = self.bytes();
            match Block::take(stage.pool, id, bytes, TAGS[0], self.rng.u64(..)) {
                Ok(Some(block)) => {
                    done.allocs += 1;
                    stage.left.lock().unwrap_or_else(PoisonError::into_inner).push(block);
                }
                Ok(None) => done.exhausted += 1,
                Err(Status::INVALID_PARAMETER) => return Ok(()),
                Err(other) => return Err(format!("an allocation for an adapter that goes got {other}")),
            }
        }
        Ok(())
    }

    /// Takes all there is of a size, then gives it back.
    fn exhaust(&mut self, stage: &Stage<'_>, done: &mut Done) -> Step {
        let (owner, bytes) =
            (self.disk(stage), self.rng.choice([1024, 4096, 20_480, 200_000]).unwrap_or(4096));
        let mut blocks = Vec::new();
        while let Some(block) = self.take(stage, owner, bytes, done)? {
            blocks.push(block);
        }
        blocks.into_iter().try_for_each(|block| Self::give(stage, block, done))
    }

    /// Goes on on another CPU.
    fn hop(&mut self, stage: &Stage<'_>) -> Step {
        stage.cpus.pin(self.rng.usize(..stage.cpus.count().max(1)));
        Ok(())
    }
}

/// A new adapter, until the pool's handles are used up: after an hour or so.
fn newcomer(stage: &Stage<'_>, name: &str) -> Result<Option<AdapterId>, String> {
    match stage.pool.add_adapter(name) {
        Ok(id) => Ok(Some(id)),
        Err(AdapterError::WornOut) => {
            std::thread::sleep(std::time::Duration::from_millis(10));
            Ok(None)
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Adapters come and go. Their blocks stay, as the orphans'.
pub(super) fn come_and_go(stage: &Stage<'_>, done: &mut Done) -> Step {
    let Some(id) = newcomer(stage, "passing")? else { return Ok(()) };
    stage.passing.store(id.raw(), Ordering::Release);
    std::thread::sleep(std::time::Duration::from_millis(10));
    let removed = stage.pool.remove_adapter(id).map_err(|status| format!("a removal got {status}"))?;
    done.removals += 1;
    done.leaks += removed.outstanding.len() as u64;
    Ok(())
}

/// An adapter of its own takes blocks that go with it.
pub(super) fn release(stage: &Stage<'_>, done: &mut Done) -> Step {
    let Some(id) = newcomer(stage, "released")? else { return Ok(()) };
    let mut taken = 0;
    for bytes in [64, 64, 4096, 20_000, 100_000] {
        let block = Block::take(stage.pool, id, bytes, TAGS[1], 0).map_err(|status| status.to_string())?;
        taken += u64::from(block.is_some());
    }
    // SAFETY: nobody uses its blocks, and nobody frees one.
    let removed = unsafe { stage.pool.release_adapter(id) }.map_err(|status| status.to_string())?;
    (done.removals, done.allocs, done.frees) = (done.removals + 1, done.allocs + taken, done.frees + taken);
    done.leaks += removed.outstanding.len() as u64;
    if removed.blocks() == taken {
        Ok(())
    } else {
        Err(format!("{} of {taken} blocks released", removed.blocks()))
    }
}

/// Trims, and looks at the pool while everything is in motion.
pub(super) fn look_on(stage: &Stage<'_>, done: &mut Done) -> Step {
    // Refused while a sweep is under way.
    done.trims += u64::from(stage.pool.trim().is_ok());
    let snapshot = stage.pool.snapshot();
    for row in &snapshot.tags {
        if row.totals.frees > row.totals.allocs {
            return Err(format!("more frees than allocations: {row:?}"));
        }
    }
    std::thread::sleep(std::time::Duration::from_millis(2));
    Ok(())
}
