//! A pool, what is live in it, and what may happen to it while a call is interrupted.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use storport_pool::{AdapterId, Config, Native, Pool, PoolOptions, Status};

use crate::common::*;

/// What an interruption does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Nothing,
    /// Allocates a block of the size, and keeps it.
    Allocate,
    /// Frees a block of the size.
    Free,
    /// Frees the block that is being freed.
    FreeTheSame,
    /// Fills and empties several magazines.
    Churn,
    Trim,
    Snapshot,
    /// Goes on on another CPU.
    Migrate,
    /// Has all calls refused, until the call is over.
    Switch,
    /// Leaves a child that goes on too.
    Fork,
    /// Leaves a child in which the call never goes on, as that of another thread.
    Orphan,
    /// Leaves a child that calls the pool in the handler, and then goes on too.
    ForkAnd(InChild),
}

/// What a child does before it returns into the call that its parent's handler interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InChild {
    Allocates,
    Frees,
    /// Fills and empties several magazines.
    Churns,
    /// Takes all that is to be had.
    Drains,
    Trims,
}

impl InChild {
    pub const ALL: [InChild; 5] =
        [InChild::Allocates, InChild::Frees, InChild::Churns, InChild::Drains, InChild::Trims];
}

impl Act {
    pub const ALL: [Act; 11] = [
        Act::Nothing,
        Act::Allocate,
        Act::Free,
        Act::FreeTheSame,
        Act::Churn,
        Act::Trim,
        Act::Snapshot,
        Act::Migrate,
        Act::Switch,
        Act::Fork,
        Act::Orphan,
    ];
}

/// Shown to a thread that its own one waits for.
struct Shown<'a>(&'a World);
// SAFETY: its own thread does nothing meanwhile.
unsafe impl Send for Shown<'_> {}

/// How many blocks a bulk call takes: more than two magazines.
const MANY: usize = 10;

/// Blocks of this size are of a pool whose spans are pages.
pub const IN_PAGES: u32 = 2048;

/// How a child ends that found nothing wrong; nothing else ends so.
pub const WELL: i32 = 42;

pub struct World {
    pool: Pool<Native>,
    owner: AdapterId,
    pub bytes: u32,
    live: RefCell<BTreeMap<u64, u32>>,
    allocs: Cell<u64>,
    violations: Cell<u32>,
    /// The blocks that a call under way is about to free.
    leaving: RefCell<Vec<u64>>,
    /// One of them that was freed by an interruption.
    taken: Cell<Option<u64>>,
    switched: Cell<bool>,
    switches: Cell<u64>,
    cpu: Cell<u32>,
    in_child: Cell<bool>,
    drained: Cell<bool>,
}

impl World {
    /// A pool so small that a magazine takes four blocks: a script of some dozen calls comes by all slow paths.
    pub fn new(bytes: u32) -> World {
        // With spans of 64 KiB, since small pools run copies of the sections; one size runs those.
        let config = Config::new(0, 64 * u64::from(bytes)).cpus(2);
        let config = if bytes == IN_PAGES { config } else { config.large_spans() };
        let pool = PoolOptions::with_config(config).build().unwrap();
        let owner = pool.add_adapter("disk").unwrap();
        pin(0);
        World {
            pool,
            owner,
            bytes,
            live: RefCell::default(),
            allocs: Cell::new(0),
            violations: Cell::new(0),
            leaving: RefCell::default(),
            taken: Cell::new(None),
            switched: Cell::new(false),
            switches: Cell::new(0),
            cpu: Cell::new(0),
            in_child: Cell::new(false),
            drained: Cell::new(false),
        }
    }

    pub fn uses_rseq(&self) -> bool {
        self.pool.uses_rseq()
    }

    fn admit(&self, address: u64) {
        let mut live = self.live.borrow_mut();
        let (start, end) = (address, address + u64::from(self.bytes));
        let before = live.range(..end).next_back();
        assert!(
            before.is_none_or(|(&other, &bytes)| other + u64::from(bytes) <= start),
            "{address:#x} overlaps"
        );
        live.insert(address, self.bytes);
        self.allocs.set(self.allocs.get() + 1);
    }

    /// Allocates, in a call that may be interrupted.
    pub fn allocate(&self) {
        match alloc(&self.pool, self.owner, self.bytes) {
            Ok(address) => self.admit(address),
            Err(Status::INSUFFICIENT_RESOURCES) if self.drained.get() => {}
            Err(status) => assert!(self.switched.get() && status == Status::NOT_IMPLEMENTED, "{status}"),
        }
        self.done();
    }

    /// Allocates many at once, in a call that may be interrupted.
    pub fn allocate_bulk(&self) {
        let mut blocks = [0; MANY];
        let status = self.pool.allocate_bulk(self.owner, self.bytes, TAG, &mut blocks);
        if self.drained.get() && status == Status::INSUFFICIENT_RESOURCES {
            assert_eq!(blocks, [0; MANY]);
            // What it had got by then counts.
            self.switches.set(self.switches.get() + 1);
        } else if status.is_success() {
            blocks.into_iter().for_each(|address| self.admit(address));
        } else {
            assert!(self.switched.get() && status == Status::NOT_IMPLEMENTED, "{status}");
            assert_eq!(blocks, [0; MANY]);
        }
        self.done();
    }

    /// Frees the newest block, in a call that may be interrupted.
    pub fn free(&self) {
        let Some((block, _)) = self.live.borrow_mut().pop_last() else { return };
        self.leaving.borrow_mut().push(block);
        let status = free(&self.pool, self.owner, block);
        self.left(block, status);
        self.settled();
    }

    /// Frees the newest blocks at once, in a call that may be interrupted.
    pub fn free_bulk(&self) {
        let blocks: Vec<u64> = {
            let mut live = self.live.borrow_mut();
            std::iter::from_fn(|| live.pop_last()).map(|(block, _)| block).take(MANY).collect()
        };
        self.leaving.borrow_mut().extend(&blocks);
        let mut statuses = [Status::UNSUCCESSFUL; MANY];
        // SAFETY: the blocks are touched by nobody.
        let freed = unsafe { self.pool.free_bulk(self.owner, &blocks, &mut statuses) };
        assert_eq!(freed, statuses.iter().filter(|status| status.is_success()).count());
        blocks.iter().zip(statuses).for_each(|(&block, status)| self.left(block, status));
        self.settled();
    }

    fn left(&self, block: u64, status: Status) {
        let taken = self.taken.get() == Some(block);
        match status {
            Status::SUCCESS => assert!(!taken, "freed twice"),
            Status::INVALID_PARAMETER if taken => self.violations.set(self.violations.get() + 1),
            Status::NOT_IMPLEMENTED if self.switched.get() => {
                if !taken {
                    self.live.borrow_mut().insert(block, self.bytes);
                }
            }
            other => panic!("{other}"),
        }
    }

    fn settled(&self) {
        self.leaving.take();
        self.taken.take();
        self.done();
    }

    fn done(&self) {
        if self.switched.take() {
            self.pool.set_not_implemented(false);
        }
        if self.in_child.get() {
            self.settle();
            // SAFETY: ends the process without running anything of the parent's.
            unsafe { libc::_exit(WELL) }
        }
    }

    /// What happens in the middle of a call.
    pub fn interrupt(&self, act: Act) {
        match act {
            Act::Nothing => {}
            Act::Allocate => self.admit(alloc(&self.pool, self.owner, self.bytes).unwrap()),
            Act::Free => {
                let block = self.live.borrow_mut().pop_first();
                if let Some((block, _)) = block {
                    must_free(&self.pool, self.owner, block);
                }
            }
            Act::FreeTheSame => {
                // Of many, one that comes later.
                let last = self.leaving.borrow().last().copied();
                if let Some(block) = last {
                    let taken = free(&self.pool, self.owner, block) == Status::SUCCESS;
                    self.taken.set(taken.then_some(block));
                    self.violations.set(self.violations.get() + u32::from(!taken));
                }
            }
            Act::Churn => {
                let blocks: Vec<_> =
                    (0..20).map(|_| alloc(&self.pool, self.owner, self.bytes).unwrap()).collect();
                self.allocs.set(self.allocs.get() + 20);
                blocks.into_iter().for_each(|block| must_free(&self.pool, self.owner, block));
            }
            // Refused when it is a trim, or a sweep, that was interrupted.
            Act::Trim => drop(self.pool.trim()),
            Act::Snapshot => drop(self.pool.snapshot()),
            Act::Migrate => {
                self.cpu.set(self.cpu.get() + 1);
                pin(self.cpu.get());
            }
            Act::Switch => {
                self.pool.set_not_implemented(true);
                self.switched.set(true);
                self.switches.set(self.switches.get() + 1);
            }
            Act::Fork => {
                if is_child() {
                    self.in_child.set(true);
                }
            }
            Act::ForkAnd(what) => {
                if is_child() {
                    self.in_child.set(true);
                    match what {
                        InChild::Allocates => self.interrupt(Act::Allocate),
                        InChild::Frees => self.interrupt(Act::Free),
                        InChild::Churns => self.interrupt(Act::Churn),
                        InChild::Drains => self.drain(),
                        InChild::Trims => self.interrupt(Act::Trim),
                    }
                }
            }
            Act::Orphan => {
                // Another thread forks, so that the one which was interrupted does not survive.
                let world = Shown(self);
                let fork = move || {
                    let Shown(world) = { world };
                    if is_child() {
                        world.go_on_alone();
                        // SAFETY: as in `done`.
                        unsafe { libc::_exit(WELL) }
                    }
                };
                std::thread::scope(|scope| scope.spawn(fork).join()).unwrap();
            }
        }
    }

    fn drain(&self) {
        self.drained.set(true);
        while let Ok(block) = alloc(&self.pool, self.owner, self.bytes) {
            self.admit(block);
        }
    }

    /// What the interrupted call held is gone for good; nothing else is, however often all is taken.
    fn go_on_alone(&self) {
        let live = self.live.take();
        let leaving = self.leaving.take();
        live.keys().filter(|block| !leaving.contains(block)).for_each(|&block| {
            must_free(&self.pool, self.owner, block);
        });
        let all = || {
            let taken: Vec<_> =
                std::iter::from_fn(|| alloc(&self.pool, self.owner, self.bytes).ok()).collect();
            taken.iter().for_each(|&block| must_free(&self.pool, self.owner, block));
            taken.len()
        };
        let first = all();
        assert!(first > 16, "only {first} blocks are left");
        for round in 0..3 {
            assert!(all() >= first, "round {round} has fewer than {first} blocks");
        }
    }

    /// All that is live is known, all else is free, and as much was counted as was done.
    pub fn settle(&self) {
        let live = self.live.take();
        let snapshot = self.pool.snapshot();
        let (allocs, frees, count) = totals(&snapshot);
        assert_eq!((count, allocs - frees), (live.len() as u64, live.len() as u64));
        // The switch has a bulk call give back what it had got.
        let undone = allocs - self.allocs.get();
        assert!(undone <= self.switches.get() * MANY as u64, "{undone} undone");
        for (block, _) in live {
            must_free(&self.pool, self.owner, block);
        }
        assert_eq!(self.pool.violations(), u64::from(self.violations.get()));
        self.pool.trim().unwrap();
        assert_eq!(self.pool.snapshot().free_bytes, self.pool.range().1, "something is lost");
    }
}

/// Forks; the parent waits until its child has ended well.
pub fn is_child() -> bool {
    unsafe extern "C" {
        /// fork that may be called from a signal handler; POSIX.1-2024.
        fn _Fork() -> libc::pid_t;
    }
    // SAFETY: the child goes on from here as the parent does: its only thread is this one's copy.
    match unsafe { _Fork() } {
        0 => {
            // The harness would catch it, and the child end as if all were well.
            // SAFETY: as in `done`.
            std::panic::set_hook(Box::new(|_| unsafe { libc::_exit(1) }));
            true
        }
        child if child > 0 => {
            let child = Pid::from_raw(child);
            assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, WELL));
            false
        }
        _ => panic!("no child: {}", nix::errno::Errno::last()),
    }
}
