//! Who has what: each block is stamped when it is had and looked at before it is freed, and each call is counted.
//!
//! So a block that two have at once is found by its contents, and one that is lost by the counts. (A check of the pool;
//! nothing that a kernel needs.)

use core::sync::atomic::{AtomicU64, Ordering};

use storport_pool::{AdapterId, Masked, Pool, PoolTag, Status, tag};

use crate::host::Machine;
use crate::{cpu, irql, must, removal};

pub type Kernel = Pool<Masked<Machine>>;

/// Who allocates, and with which tag.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A thread.
    Thread,
    /// The timer's handler.
    Handler,
    /// A deferred procedure.
    Deferred,
    /// A thread or a handler, in the name of an adapter that will be removed.
    Leaving,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Thread, Kind::Handler, Kind::Deferred, Kind::Leaving];

    pub const fn tag(self) -> PoolTag {
        match self {
            Kind::Thread => tag!("Thrd"),
            Kind::Handler => tag!("Intr"),
            Kind::Deferred => tag!("Defr"),
            Kind::Leaving => tag!("Leav"),
        }
    }

    pub fn tally(self) -> &'static Tally {
        &TALLIES[self as usize]
    }
}

/// What calls of one kind did. Exact when all CPUs are quiet.
pub struct Tally {
    pub allocs: AtomicU64,
    pub frees: AtomicU64,
    /// Bytes of the blocks that are held now.
    pub bytes: AtomicU64,
}

impl Tally {
    pub const fn new() -> Tally {
        Tally { allocs: AtomicU64::new(0), frees: AtomicU64::new(0), bytes: AtomicU64::new(0) }
    }

    pub fn allocated(&self, bytes: u32) {
        add(&self.allocs, 1);
        add(&self.bytes, bytes.into());
    }

    pub fn freed(&self, bytes: u32) {
        add(&self.frees, 1);
        add(&self.bytes, u64::from(bytes).wrapping_neg());
    }
}

static TALLIES: [Tally; 4] = [const { Tally::new() }; 4];
/// Allocations that were refused for want of memory.
pub static REFUSED: AtomicU64 = AtomicU64::new(0);
/// Allocations that were refused since their adapter was being removed.
pub static OVERTAKEN: AtomicU64 = AtomicU64::new(0);
/// Blocks that were freed on another CPU than they came from.
pub static MOVED: AtomicU64 = AtomicU64::new(0);
static STAMPS: AtomicU64 = AtomicU64::new(0);

/// Adds to a count. A locked instruction, so that an interrupt or another CPU takes nothing away.
pub fn add(count: &AtomicU64, what: u64) -> u64 {
    // ORDERING: Relaxed - a count. `quiet.rs` orders it before whoever compares it.
    count.fetch_add(what, Ordering::Relaxed)
}

/// Reads a count.
pub fn get(count: &AtomicU64) -> u64 {
    // ORDERING: Relaxed - as in `add`.
    count.load(Ordering::Relaxed)
}

/// A block that somebody has.
pub struct Held {
    pub address: u64,
    bytes: u32,
    kind: Kind,
    owner: AdapterId,
    /// Which of the adapters that leave, one after the other.
    life: u32,
    stamp: u64,
    /// Where it came from.
    pub cpu: u32,
}

/// Allocates and stamps a block; `None`, if it is rightly refused.
pub fn allocate(pool: &Kernel, kind: Kind, owner: AdapterId, life: u32, bytes: u32) -> Option<Held> {
    let mut address = 1;
    let status = pool.allocate(owner, bytes, kind.tag(), Some(&mut address));
    if status == Status::SUCCESS {
        kind.tally().allocated(bytes);
        if kind == Kind::Leaving {
            removal::TALLY.allocated(bytes);
        }
        let stamp = (add(&STAMPS, 1) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let held = Held { address, bytes, kind, owner, life, stamp, cpu: cpu::number() };
        held.write();
        return Some(held);
    }
    let overtaken = kind == Kind::Leaving && status == Status::INVALID_PARAMETER;
    must!(overtaken || status == Status::INSUFFICIENT_RESOURCES, "allocate at {}: {status}", irql::current());
    must!(address == 0, "a failed allocation left {address:#x} in the out pointer");
    add(if overtaken { &OVERTAKEN } else { &REFUSED }, 1);
    None
}

/// Looks at a block and frees it. `Err`: its adapter is being removed, so it must be kept for a while.
pub fn free(pool: &Kernel, held: Held) -> Result<(), Held> {
    held.check();
    let (here, level) = (cpu::number(), irql::current());
    // SAFETY: the block is ours, and not used again.
    let status = unsafe { pool.free(held.owner, held.address) };
    let mut status = status;
    if held.kind == Kind::Leaving {
        if status == Status::SUCCESS {
            removal::TALLY.freed(held.bytes);
        } else if status == Status::INVALID_PARAMETER {
            if !removal::is_gone(held.life) {
                return Err(held);
            }
            // SAFETY: as above.
            status = unsafe { pool.free(AdapterId::ORPHANS, held.address) };
        }
    }
    must!(
        status == Status::SUCCESS,
        "free of {:#x} ({}) at {level}: {status}",
        held.address,
        held.kind.tag()
    );
    held.kind.tally().freed(held.bytes);
    if held.cpu != here {
        add(&MOVED, 1);
    }
    Ok(())
}

impl Held {
    /// Which words are stamped: all of the first 128 bytes, each 32nd, and the last one.
    fn words(&self) -> impl Iterator<Item = u64> {
        let words = u64::from(self.bytes / 8);
        (0..words.min(16)).chain((16..words).step_by(32)).chain([words - 1])
    }

    fn write(&self) {
        for word in self.words() {
            // SAFETY: inside the block, which is ours, in the kernel's memory.
            unsafe { ((self.address + word * 8) as *mut u64).write(self.stamp ^ word) };
        }
    }

    /// The block is as it was stamped: nobody else had it meanwhile.
    pub fn check(&self) {
        for word in self.words() {
            // SAFETY: as in `write`.
            let is = unsafe { ((self.address + word * 8) as *const u64).read() };
            must!(
                is == self.stamp ^ word,
                "block {:#x} of {} bytes ({}): word {word} is {is:#x}, not {:#x}: somebody else has it, too",
                self.address,
                self.bytes,
                self.kind.tag(),
                self.stamp ^ word
            );
        }
    }
}
