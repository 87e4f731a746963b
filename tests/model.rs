//! Random sequences of calls against a plain map of live blocks, shrunk when they fail.

mod common;

use std::collections::BTreeMap;

use common::*;
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestRunner};
use storport_pool::{AdapterId, Config, Irql, Pool, PoolOptions, Status, ViolationKind};

on_every_platform!(a_range_of_the_system, an_inaccessible_range, a_made_up_range);

#[derive(Clone, Debug)]
enum Op {
    Allocate {
        adapter: usize,
        bytes: u32,
    },
    /// Allocates this size until there is no more, then frees every nth.
    Fill {
        adapter: usize,
        bytes: u32,
        nth: usize,
    },
    Free(usize),
    FreeMany(usize),
    DoubleFree(usize),
    WrongOwner(usize),
    Inside {
        block: usize,
        offset: u64,
    },
    Anywhere(u64),
    AboveDispatch {
        block: usize,
        level: u8,
    },
    Trim,
    Add,
    Remove {
        adapter: usize,
        release: bool,
    },
    Switch(bool),
    Cpu(u32),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let bytes = prop_oneof![
        6 => prop::sample::select(SIZES.to_vec()),
        3 => 1..=4096u32,
        2 => 4097..=40_000u32,
        1 => 40_000..=400_000u32,
    ];
    let some = 0..64usize;
    let op = prop_oneof![
        12 => (some.clone(), bytes.clone()).prop_map(|(adapter, bytes)| Op::Allocate { adapter, bytes }),
        1 => (some.clone(), bytes, 2..9usize).prop_map(|(adapter, bytes, nth)| Op::Fill { adapter, bytes, nth }),
        8 => some.clone().prop_map(Op::Free),
        2 => (1..100usize).prop_map(Op::FreeMany),
        2 => some.clone().prop_map(Op::DoubleFree),
        1 => some.clone().prop_map(Op::WrongOwner),
        1 => (some.clone(), 1..70_000u64).prop_map(|(block, offset)| Op::Inside { block, offset }),
        1 => any::<u64>().prop_map(Op::Anywhere),
        1 => (some.clone(), 3..16u8).prop_map(|(block, level)| Op::AboveDispatch { block, level }),
        1 => Just(Op::Trim),
        1 => Just(Op::Add),
        1 => (some, any::<bool>()).prop_map(|(adapter, release)| Op::Remove { adapter, release }),
        1 => any::<bool>().prop_map(Op::Switch),
        3 => (0..4u32).prop_map(Op::Cpu),
    ];
    prop::collection::vec(op, 1..120)
}

#[derive(Clone, Copy, Debug)]
struct Block {
    owner: AdapterId,
    bytes: u32,
}

/// What the pool should know.
struct Model<'a, W: Way> {
    pool: &'a Pool<W::P>,
    heard: Heard,
    live: BTreeMap<u64, Block>,
    stale: Vec<u64>,
    adapters: Vec<AdapterId>,
    allocs: u64,
    not_implemented: bool,
}

fn pick<T: Copy>(from: &[T], n: usize) -> Option<T> {
    (!from.is_empty()).then(|| from[n % from.len()])
}

impl<'a, W: Way> Model<'a, W> {
    fn new(pool: &'a Pool<W::P>) -> Self {
        Model {
            pool,
            heard: Heard::of(pool),
            live: BTreeMap::new(),
            stale: Vec::new(),
            adapters: vec![pool.add_adapter("first").unwrap()],
            allocs: 0,
            not_implemented: false,
        }
    }

    fn nth(&self, n: usize) -> Option<(u64, Block)> {
        let n = n.checked_rem(self.live.len())?;
        self.live.iter().nth(n).map(|(&address, &block)| (address, block))
    }

    /// Whether a request fits.
    fn room(&self, bytes: u32) -> bool {
        let (base, len) = self.pool.range();
        room(len / SPAN, self.live.iter().map(|(&at, block)| (at - base, block.bytes)), bytes)
    }

    fn allocate(&mut self, owner: AdapterId, bytes: u32) -> bool {
        let result = alloc(self.pool, owner, bytes);
        if self.not_implemented {
            assert_eq!(result, Err(Status::NOT_IMPLEMENTED));
            return false;
        }
        assert_eq!(result.is_ok(), self.room(bytes), "{bytes} bytes: {result:?}");
        let Ok(address) = result else {
            assert_eq!(result, Err(Status::INSUFFICIENT_RESOURCES));
            return false;
        };
        let (base, len) = self.pool.range();
        let size = u64::from(bytes);
        assert!(address >= base && address + size <= base + len);
        assert!(address.is_multiple_of(if bytes >= 4096 { 4096 } else { 16 }));
        assert!(bytes > 4096 || address / 4096 == (address + size - 1) / 4096);
        if let Some((&below, block)) = self.live.range(..=address).next_back() {
            assert!(below + u64::from(block.bytes) <= address, "overlaps");
        }
        if let Some((&above, _)) = self.live.range(address..).next() {
            assert!(address + size <= above, "overlaps");
        }
        self.live.insert(address, Block { owner, bytes });
        self.allocs += 1;
        true
    }

    fn free(&mut self, address: u64) {
        let owner = self.live[&address].owner;
        let status = free(self.pool, owner, address);
        if self.not_implemented {
            assert_eq!(status, Status::NOT_IMPLEMENTED);
            return;
        }
        assert_eq!(status, Status::SUCCESS);
        self.live.remove(&address);
        self.stale.push(address);
    }

    /// A free that must be refused, with the right reason.
    fn bad_free(&self, caller: AdapterId, address: u64) {
        let status = free(self.pool, caller, address);
        let heard = self.heard.take();
        if self.not_implemented {
            assert_eq!((status, heard.len()), (Status::NOT_IMPLEMENTED, 0));
            return;
        }
        assert_eq!(status, Status::INVALID_PARAMETER);
        if address == 0 {
            assert!(heard.is_empty());
            return;
        }
        assert_eq!(heard.len(), 1);
        let kind = heard[0].kind;
        let (base, len) = self.pool.range();
        let holder = self.live.range(..=address).next_back();
        let holder = holder.filter(|&(&start, block)| address < start + occupied(block.bytes));
        match holder {
            _ if address < base || address >= base + len => assert_eq!(kind, ViolationKind::Foreign),
            Some((&start, block)) if start == address => {
                assert_eq!((kind, heard[0].owner), (ViolationKind::WrongOwner, Some(block.owner)));
            }
            Some((_, block)) => {
                assert_eq!((kind, heard[0].owner), (ViolationKind::Interior, Some(block.owner)));
            }
            None => assert!(matches!(kind, ViolationKind::Wild | ViolationKind::DoubleFree), "{kind}"),
        }
    }

    fn is_live(&self, address: u64) -> bool {
        self.live.contains_key(&address)
    }

    fn run(&mut self, op: &Op) {
        let adapter = |n| pick(&self.adapters, n);
        match *op {
            Op::Allocate { adapter: n, bytes } => {
                if let Some(id) = adapter(n) {
                    self.allocate(id, bytes);
                }
            }
            Op::Fill { adapter: n, bytes, nth } => {
                let Some(id) = adapter(n) else { return };
                let bytes = bytes.max(300);
                let before: Vec<u64> = self.live.keys().copied().collect();
                while self.allocate(id, bytes) {}
                let new: Vec<u64> =
                    self.live.keys().copied().filter(|at| before.binary_search(at).is_err()).collect();
                for address in new.into_iter().step_by(nth) {
                    self.free(address);
                }
            }
            Op::Free(n) => {
                if let Some((address, _)) = self.nth(n) {
                    self.free(address);
                }
            }
            Op::FreeMany(count) => {
                let some: Vec<u64> = self.live.keys().copied().take(count).collect();
                for address in some {
                    self.free(address);
                }
            }
            Op::DoubleFree(n) => {
                let (Some(address), Some(id)) = (pick(&self.stale, n), adapter(n)) else { return };
                if !self.is_live(address) {
                    self.bad_free(id, address);
                }
            }
            Op::WrongOwner(n) => {
                let Some((address, block)) = self.nth(n) else { return };
                let others = self.adapters.iter().copied().chain([AdapterId::ORPHANS]);
                for other in others.filter(|&other| other != block.owner) {
                    self.bad_free(other, address);
                }
            }
            Op::Inside { block, offset } => {
                let (Some((address, found)), Some(id)) = (self.nth(block), adapter(block)) else { return };
                let inside = address + 1 + offset % (u64::from(found.bytes) + 16);
                if !self.is_live(inside) {
                    self.bad_free(id, inside);
                }
            }
            Op::Anywhere(address) => {
                let Some(id) = adapter(0) else { return };
                let (base, len) = self.pool.range();
                for address in [address, base + address % len, base + address % len / 16 * 16] {
                    if !self.is_live(address) {
                        self.bad_free(id, address);
                    }
                }
            }
            Op::AboveDispatch { block, level } => {
                let want = if self.not_implemented { Status::NOT_IMPLEMENTED } else { Status::INVALID_IRQL };
                W::at(Irql::new(level).unwrap(), || {
                    if let Some(id) = adapter(block) {
                        assert_eq!(alloc(self.pool, id, 100), Err(want));
                    }
                    if let Some((address, found)) = self.nth(block) {
                        assert_eq!(free(self.pool, found.owner, address), want);
                    }
                });
            }
            Op::Trim => {
                self.pool.trim().unwrap();
            }
            Op::Add => {
                if let Ok(id) = self.pool.add_adapter("more") {
                    self.adapters.push(id);
                } else {
                    assert_eq!(self.adapters.len(), 4);
                }
            }
            Op::Remove { adapter: n, release } => self.remove(n, release),
            Op::Switch(not_implemented) => {
                self.pool.set_not_implemented(not_implemented);
                self.not_implemented = not_implemented;
            }
            Op::Cpu(cpu) => W::go_to_cpu(cpu),
        }
    }

    fn remove(&mut self, n: usize, release: bool) {
        let Some(id) = pick(&self.adapters, n) else { return };
        self.adapters.retain(|&other| other != id);
        let removal = if release {
            // SAFETY: nobody uses the blocks.
            unsafe { self.pool.release_adapter(id) }
        } else {
            self.pool.remove_adapter(id)
        };
        let removal = removal.unwrap();
        let theirs: Vec<u64> =
            self.live.iter().filter(|(_, block)| block.owner == id).map(|(&at, _)| at).collect();
        let bytes: u64 = theirs.iter().map(|at| u64::from(self.live[at].bytes)).sum();
        assert_eq!((removal.blocks(), removal.bytes()), (theirs.len() as u64, bytes));
        let told: Vec<_> =
            self.heard.take().iter().map(|leak| (leak.kind, leak.blocks, leak.bytes)).collect();
        let leak = (ViolationKind::Leak, theirs.len() as u64, bytes);
        assert_eq!(told, if theirs.is_empty() { vec![] } else { vec![leak] });
        for address in theirs {
            if release {
                self.live.remove(&address);
                self.stale.push(address);
            } else {
                self.live.get_mut(&address).unwrap().owner = AdapterId::ORPHANS;
            }
        }
    }

    fn check(&self) {
        let snapshot = self.pool.snapshot();
        let live = self.live.len() as u64;
        assert_eq!(totals(&snapshot), (self.allocs, self.allocs - live, live));
        let sum = |pick: fn(&storport_pool::Totals) -> u64| {
            snapshot.tags.iter().map(|row| pick(&row.totals)).sum::<u64>()
        };
        let sizes = self.live.values().map(|block| block.bytes);
        assert_eq!(sum(|totals| totals.bytes_requested), sizes.clone().map(u64::from).sum::<u64>());
        assert_eq!(sum(|totals| totals.bytes_occupied), sizes.map(occupied).sum::<u64>());
        assert_eq!((snapshot.changing, snapshot.contended, snapshot.other), (0, 0, 0));
        assert!(self.heard.take().is_empty());
    }

    /// Everything comes back.
    fn finish(mut self) {
        self.run(&Op::Switch(false));
        let all: Vec<u64> = self.live.keys().copied().collect();
        for address in all {
            self.free(address);
        }
        self.check();
        if self.adapters.is_empty() {
            self.run(&Op::Add);
        }
        let (_, len) = self.pool.range();
        // Without a trim, and with one.
        for _ in 0..2 {
            assert!(self.allocate(self.adapters[0], len as u32));
            let whole = *self.live.keys().next().unwrap();
            self.free(whole);
            self.pool.trim().unwrap();
            assert_eq!(self.pool.snapshot().free_bytes, len);
        }
    }
}

fn run<W: Way>(cases: u32, make: impl Fn(u64) -> Pool<W::P>) {
    // PROPTEST_CASES asks for more.
    let default = Runs::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    let mut runner = TestRunner::new(Runs { cases, failure_persistence: None, ..default });
    runner
        .run(&(2..=8u64, ops()), |(spans, ops)| {
            let pool = make(spans * SPAN);
            let mut model = Model::<W>::new(&pool);
            for op in &ops {
                model.run(op);
                model.check();
            }
            model.finish();
            Ok(())
        })
        .unwrap();
}

fn a_range_of_the_system<W: Way>() {
    run::<W>(96, |bytes| W::build(PoolOptions::new(bytes).cpus(3).adapters(4)));
}

fn a_made_up_range<W: Way>() {
    run::<W>(48, |bytes| {
        W::over(&Config::new(0xFFFF_8800_0000_0000, bytes).cpus(3).adapters(4).accounts(64))
    });
}

/// Were a block touched, the process would end.
#[cfg(target_os = "linux")]
fn an_inaccessible_range<W: Way>() {
    use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
    let bytes = std::num::NonZeroUsize::new(9 << 16).unwrap();
    // SAFETY: a new mapping at an address of the kernel's choice.
    let range = unsafe { mmap_anonymous(None, bytes, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE) }.unwrap();
    let base = (range.addr().get() as u64).next_multiple_of(SPAN);
    run::<W>(48, |bytes| W::over(&Config::new(base, bytes).cpus(3).adapters(4).accounts(64)));
    // SAFETY: the mapping is this test's, and unused from here on.
    unsafe { munmap(range, bytes.get()) }.unwrap();
}

#[cfg(not(target_os = "linux"))]
fn an_inaccessible_range<W: Way>() {}
