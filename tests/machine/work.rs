//! What the machine's threads and interrupts do with the pool, and what must come of it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use storport_pool::{AdapterId, Platform, Pool, PoolOptions, Status, Violation};

use crate::board::{Board, point};
use crate::common::{SIZES, SPAN, TAG, alloc, fitting, free, max_slab, occupied};
use crate::ledger::{Adapter, Block, Doubt, Ledger, Life};

/// Owns no block, and frees everybody's.
const STRANGER: usize = 0;
/// Frees twice; is never removed.
const CARELESS: usize = 1;
const ADAPTERS: u32 = 5;
/// The pool's smallest block.
const LEAST: u32 = 1024;
/// Of one k: their slabs share states.
const OF_ONE_K: [[u32; 2]; 3] = [[1024, 1360], [8192, 12288], [16384, 20480]];
const LARGE: u32 = 70_000;
const DISPATCH: u8 = 2;

/// Whether two CPUs may free one block in the same instant: the masked commit looks and stores without a
/// locked instruction, unless the claim is one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Claims {
    Locked,
    Plain,
}

/// One pool on one machine.
pub struct Work<P: Platform> {
    pub board: Rc<Board>,
    pool: Pool<P>,
    claims: Claims,
    sizes: Vec<u32>,
    ledger: RefCell<Ledger>,
    /// By thread: addresses that it and its interrupts are freeing, the innermost last.
    freeing: RefCell<Vec<Vec<u64>>>,
    /// Calls under way.
    calls: Cell<u64>,
    /// Calls made.
    pub made: Cell<u64>,
    leaks: Cell<u64>,
    /// Operations and locked ones that a free took at most.
    pub most: Cell<[u64; 2]>,
}

impl<P: Platform + 'static> Work<P> {
    pub fn new(board: &Rc<Board>, cpus: u32, platform: P, claims: Claims) -> Work<P> {
        let random = &board.random;
        let spans = 1 + random.below(6);
        let sizes: Vec<u32> = SIZES.into_iter().filter(|&size| size >= LEAST).collect();
        let magazines = random.pick(&[0, 0, 0, 1, 2, 5]).unwrap();
        let pool = PoolOptions::new(spans * SPAN)
            .cpus(cpus)
            .adapters(ADAPTERS)
            .accounts(32)
            .min_block(LEAST)
            .magazines(magazines)
            .build_on(platform)
            .unwrap();
        let work = Work {
            board: board.clone(),
            pool,
            claims,
            sizes: match random.below(4) {
                0 => vec![random.pick(&sizes).unwrap()],
                1 => (0..3).map(|_| random.pick(&sizes).unwrap()).collect(),
                _ => random.pick(&OF_ONE_K).unwrap().to_vec(),
            },
            ledger: RefCell::default(),
            freeing: RefCell::default(),
            calls: Cell::new(0),
            made: Cell::new(0),
            leaks: Cell::new(0),
            most: Cell::default(),
        };
        // A violation's hook may do what an interrupt may.
        work.pool.on_violation(|_: &Violation| point());
        while work.ledger.borrow().adapters.len() < 4 {
            work.add();
        }
        work
    }

    /// Runs some threads until they end, and checks everything.
    pub fn episode(self: &Rc<Self>) -> Result<(), crate::fiber::Panic> {
        let random = &self.board.random;
        let threads = 1 + random.below(5);
        let rarity = random.pick(&[3, 6, 12, 30, 100]).unwrap();
        let calls = 1 + random.below(12);
        self.freeing.replace(vec![Vec::new(); threads as usize]);
        let works = (0..threads).map(|_| {
            let work = self.clone();
            Box::new(move || (0..calls).for_each(|_| work.call())) as Box<dyn FnOnce()>
        });
        self.board.run(rarity, works.collect())?;
        self.check();
        Ok(())
    }

    /// What a thread does next.
    fn call(&self) {
        let random = &self.board.random;
        match random.below(200) {
            0 | 1 => self.remove(),
            2..5 => self.add(),
            5..8 => self.trim(),
            8..10 => while self.allocate() && !random.one_in(200) {},
            10..15 => (0..random.below(60)).for_each(|_| self.free_one()),
            15..40 => {
                let level = random.below(16) as u8;
                self.board.at(level, || self.interrupt());
            }
            _ => self.interrupt(),
        }
    }

    /// What may be done at any level.
    pub fn interrupt(&self) {
        match self.board.random.below(20) {
            0..8 => {
                self.allocate();
            }
            8..14 => self.free_one(),
            14..16 => self.free_again(),
            16 | 17 => self.free_stale(),
            18 => self.free_wildly(),
            _ => self.call_for_the_dead(),
        }
    }

    fn below_device(&self) -> bool {
        self.board.level() <= DISPATCH
    }

    /// Runs a call; says whether nothing came between its beginning and its end, or went on below.
    fn undisturbed<R>(&self, call: impl FnOnce() -> R) -> (R, bool) {
        let (calls, events) = (self.calls.get(), self.board.events.get());
        self.calls.set(calls + 1);
        self.made.set(self.made.get() + 1);
        let result = call();
        self.calls.set(self.calls.get() - 1);
        (result, calls == 0 && self.board.events.get() == events)
    }

    /// Calls the pool's free, and counts what it does itself.
    fn counted_free(&self, id: AdapterId, address: u64) -> Status {
        let ((status, _), counts) = self.board.count(|| self.undisturbed(|| free(&self.pool, id, address)));
        let most = self.most.get();
        self.most.set([most[0].max(counts[0]), most[1].max(counts[1])]);
        status
    }

    /// Allocates. `false`: there is no memory, or no adapter.
    fn allocate(&self) -> bool {
        let random = &self.board.random;
        let owners = self.ledger.borrow().who(|adapter| adapter.life == Life::Live);
        let owner = random.pick(&owners[1..]).unwrap();
        let size = if random.one_in(40) { LARGE } else { random.pick(&self.sizes).unwrap() };
        let bytes = size - random.below(16) as u32;
        let (id, room) = {
            let mut ledger = self.ledger.borrow_mut();
            ledger.adapters[owner].allocs += 1;
            (ledger.adapters[owner].id, ledger.room(bytes, self.pool.range()))
        };
        let level_is_good = self.below_device();
        let (result, undisturbed) = self.undisturbed(|| alloc(&self.pool, id, bytes));
        let mut ledger = self.ledger.borrow_mut();
        ledger.adapters[owner].allocs -= 1;
        let live = ledger.adapters[owner].life == Life::Live;
        match result {
            Ok(address) => {
                assert!(level_is_good);
                assert!(room != Some(false) || !undisturbed);
                ledger.handed_out(address, Block { owner, bytes }, self.pool.range());
            }
            Err(Status::INSUFFICIENT_RESOURCES) => {
                assert!(level_is_good);
                assert!(room != Some(true) || !undisturbed, "out of memory while memory is free");
                ledger.failures += 1;
            }
            Err(Status::INVALID_PARAMETER) => {
                assert!(!live);
                ledger.undone += 1;
            }
            Err(status) => assert_eq!((status, level_is_good), (Status::INVALID_IRQL, false)),
        }
        result.is_ok()
    }

    /// Frees in the name of an adapter; `due`: a block that is live.
    fn free(&self, address: u64, owner: usize, due: bool) {
        let (begun, id) = {
            let mut ledger = self.ledger.borrow_mut();
            (ledger.begin_free(address, owner, due), ledger.id_of(owner))
        };
        let thread = self.board.current();
        self.freeing.borrow_mut()[thread].push(address);
        let level_is_good = self.below_device();
        let status = self.counted_free(id, address);
        self.freeing.borrow_mut()[thread].pop();
        let mut ledger = self.ledger.borrow_mut();
        match status {
            Status::INVALID_IRQL => {
                assert!(!level_is_good);
                ledger.cancel_free(&begun);
            }
            Status::SUCCESS => {
                assert!(level_is_good);
                ledger.end_free(begun, true);
            }
            _ => {
                assert_eq!(status, Status::INVALID_PARAMETER);
                ledger.end_free(begun, false);
            }
        }
    }

    /// Frees a live block.
    fn free_one(&self) {
        let random = &self.board.random;
        let live: Vec<(u64, Block)> = self.ledger.borrow().live().collect();
        let Some((address, block)) = random.pick(&live) else { return };
        let free = || self.free(address, block.owner, true);
        // Alone, so that an interrupt may free it too.
        if self.claims == Claims::Locked || !random.one_in(4) || self.board.alone(free).is_none() {
            free();
        }
    }

    /// Frees what another free, which we have interrupted or overtaken, is about to.
    fn free_again(&self) {
        if self.claims == Claims::Plain && !self.board.is_solo() {
            return;
        }
        let candidates: Vec<u64> = if self.claims == Claims::Plain {
            self.freeing.borrow()[self.board.current()].last().copied().into_iter().collect()
        } else {
            self.freeing.borrow().iter().flatten().copied().collect()
        };
        let Some(address) = self.board.random.pick(&candidates) else { return };
        let owner = self.ledger.borrow().owner_at(address);
        if let Some(owner) = owner {
            self.free(address, owner, false);
        }
    }

    /// Frees a block that was freed before.
    fn free_stale(&self) {
        let random = &self.board.random;
        let Some(address) = random.pick(&self.ledger.borrow().stale) else { return };
        if self.ledger.borrow().slots.contains_key(&address) {
            return;
        }
        self.free(address, CARELESS, false);
    }

    /// Frees what is no block of the caller's.
    fn free_wildly(&self) {
        let random = &self.board.random;
        let range = self.pool.range();
        let known: Vec<u64> = self.ledger.borrow().slots.keys().copied().collect();
        let near = random.pick(&known).unwrap_or(range.0);
        let (owner, address) = match random.below(4) {
            0 => (STRANGER, near),
            1 => (STRANGER, range.0 + random.below(range.1 / 16) * 16),
            2 => (CARELESS, near + 1 + random.below(15)),
            _ => (CARELESS, range.0.wrapping_add(range.1 + random.below(1 << 40)).max(1)),
        };
        let id = self.ledger.borrow().adapters[owner].id;
        let level_is_good = self.below_device();
        let status = self.counted_free(id, address);
        let want = if level_is_good { Status::INVALID_PARAMETER } else { Status::INVALID_IRQL };
        assert_eq!(status, want);
        self.ledger.borrow_mut().refused += u64::from(level_is_good);
    }

    /// Both routines, for an adapter that is gone.
    fn call_for_the_dead(&self) {
        let random = &self.board.random;
        let ledger = self.ledger.borrow();
        let dead = ledger.who(|adapter| matches!(adapter.life, Life::Kept | Life::Released));
        let Some(id) = random.pick(&dead).map(|n| ledger.adapters[n].id) else { return };
        let live: Vec<u64> = ledger.slots.keys().copied().collect();
        drop(ledger);
        self.undisturbed(|| {
            assert_eq!(alloc(&self.pool, id, LEAST), Err(Status::INVALID_PARAMETER));
            if let Some(address) = random.pick(&live) {
                assert_eq!(free(&self.pool, id, address), Status::INVALID_PARAMETER);
            }
        });
    }

    fn trim(&self) {
        let (result, undisturbed) = self.undisturbed(|| {
            self.pool.trim_with(|_, _| {
                point();
                self.board.random.one_in(2)
            })
        });
        assert!(result.is_ok() || !undisturbed);
    }

    fn add(&self) {
        if let (Ok(id), _) = self.undisturbed(|| self.pool.add_adapter("disk")) {
            self.ledger.borrow_mut().adapters.push(Adapter { id, life: Life::Live, allocs: 0, frees: 0 });
        }
    }

    /// Removes an adapter; its blocks go to the orphans, or back.
    fn remove(&self) {
        let random = &self.board.random;
        let live = self.ledger.borrow().who(|adapter| adapter.life == Life::Live);
        let Some(owner) = random.pick(&live[2..]) else { return };
        let release = random.one_in(2) && self.ledger.borrow().may_release(owner);
        let (id, (least, most)) = {
            let mut ledger = self.ledger.borrow_mut();
            (ledger.adapters[owner].id, ledger.begin_removal(owner, release))
        };
        let (mut rows, mut blocks) = (0, 0);
        let report = |row: storport_pool::Outstanding| {
            rows += 1;
            blocks += row.blocks;
        };
        let (result, _) = self.undisturbed(|| {
            if release {
                // SAFETY: the ledger knows of no free under way, and gives nobody these blocks.
                unsafe { self.pool.release_adapter_with(id, report) }
            } else {
                self.pool.remove_adapter_with(id, report)
            }
        });
        result.unwrap();
        assert!((least..=most).contains(&blocks), "{blocks} of {least} to {most} blocks reported");
        self.leaks.set(self.leaks.get() + rows);
        self.ledger.borrow_mut().end_removal(owner);
    }

    /// With no call under way: the pool and the ledger agree.
    fn check(&self) {
        assert_eq!(self.calls.get(), 0);
        let doubts = self.ledger.borrow_mut().settle();
        for Doubt { address, blocks, must_be } in doubts {
            let freed = blocks.iter().any(|block| {
                let id = self.ledger.borrow().id_of(block.owner);
                let freed = free(&self.pool, id, address) == Status::SUCCESS;
                // A released adapter's handle earns no violation.
                self.ledger.borrow_mut().doubtful += u64::from(!freed);
                freed
            });
            assert!(freed || !must_be, "{address:#x} is lost");
            self.ledger.borrow_mut().slots.remove(&address);
        }
        let ledger = self.ledger.borrow();
        let snapshot = self.pool.snapshot();
        let (allocs, _, live) = crate::common::totals(&snapshot);
        let sum = |pick: fn(&storport_pool::Totals) -> u64| {
            snapshot.tags.iter().map(|row| pick(&row.totals)).sum::<u64>()
        };
        let blocks: Vec<Block> = ledger.live().map(|(_, block)| block).collect();
        assert_eq!(live, blocks.len() as u64, "live blocks");
        let requested: u64 = blocks.iter().map(|block| u64::from(block.bytes)).sum();
        assert_eq!(sum(|totals| totals.bytes_requested), requested);
        // A block may be a larger one than was asked for; then its class says so.
        let range = snapshot.range_bytes;
        let own = |block: &Block| occupied(range, block.bytes);
        let (runs, small): (Vec<u64>, Vec<u64>) =
            blocks.iter().map(own).partition(|&own| own > u64::from(max_slab(range)));
        let rows = snapshot.classes.iter().map(|row| (row.live, row.live * u64::from(row.block_bytes)));
        let (count, bytes) = rows.fold((0, 0), |sum, row| (sum.0 + row.0, sum.1 + row.1));
        assert_eq!(
            (count, sum(|totals| totals.bytes_occupied)),
            (small.len() as u64, bytes + runs.iter().sum::<u64>())
        );
        assert!(bytes >= small.iter().sum());
        assert!((ledger.allocs..=ledger.allocs + ledger.undone).contains(&allocs), "allocations counted");
        assert_eq!((snapshot.changing, snapshot.contended > ledger.failures), (0, false));
        let certain = ledger.refused + self.leaks.get();
        assert!((certain..=certain + ledger.doubtful).contains(&snapshot.violations), "violations counted");
    }

    /// Frees everything, then takes the whole pool, by each size.
    pub fn finish(&self) {
        let live: Vec<(u64, Block)> = self.ledger.borrow().live().collect();
        for (address, block) in live {
            let id = self.ledger.borrow().id_of(block.owner);
            assert_eq!(free(&self.pool, id, address), Status::SUCCESS);
        }
        let id: AdapterId = self.ledger.borrow().adapters[CARELESS].id;
        let range = self.pool.range().1;
        for &size in &self.sizes {
            let mut all = Vec::new();
            // Runs are laid around what caches hold: how many fit is known when they hold nothing.
            if occupied(range, size) > u64::from(max_slab(range)) {
                self.pool.trim_with(|_, _| true).unwrap();
            }
            crate::common::fill(&self.pool, id, size, &mut all);
            assert_eq!(all.len() as u64, fitting(range, size), "blocks of {size} bytes");
            all.sort_unstable();
            assert!(all.windows(2).all(|pair| pair[0] + u64::from(size) <= pair[1]), "overlap");
            all.iter().for_each(|&address| assert_eq!(free(&self.pool, id, address), Status::SUCCESS));
        }
        let whole = self.pool.range().1 as u32;
        let all = crate::common::alloc_tag(&self.pool, id, whole, TAG);
        assert_eq!(free(&self.pool, id, all.unwrap()), Status::SUCCESS);
    }
}
