//! An allocation that stops at one instruction until its adapter was removed and others have got its account: it counts
//! where it was counted, once, or not at all; never for anybody else.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use storport_pool::{AdapterId, Commit, Native, Pool, PoolOptions, PoolTag, Status};

use crate::breakpoint;
use crate::came::Came;
use crate::common::*;

/// Tags of the adapter that comes after, so many that it gets every account that can be had.
const TAGS: u32 = 40;

/// A pool, the adapter A whose call stops, and what happened meanwhile.
struct Scene {
    pool: Pool<Native>,
    a: AdapterId,
    /// Takes all memory.
    greedy: AdapterId,
    taken: Cell<u64>,
    /// Where the call stops again, once all memory is taken.
    then: Cell<u64>,
    /// Blocks that the removal found.
    found: Cell<u64>,
    b: Cell<Option<AdapterId>>,
}

thread_local! {
    static SCENE: RefCell<Option<Rc<Scene>>> = const { RefCell::new(None) };
}

fn numbered(n: u32) -> PoolTag {
    PoolTag::from_raw(TAG.raw() + n)
}

impl Scene {
    /// A's tag has had its totals kept before. `known`: A has had a block.
    fn new(commit: Commit, known: bool) -> Scene {
        let options = PoolOptions::new(2 * SPAN).cpus(2).accounts(16).adapters(8);
        let pool = options.commit(commit).build().unwrap();
        pin(0);
        let greedy = pool.add_adapter("greedy").unwrap();
        let before = pool.add_adapter("before").unwrap();
        must_free(&pool, before, alloc(&pool, before, 4096).unwrap());
        pool.remove_adapter(before).unwrap();
        let a = pool.add_adapter("A").unwrap();
        if known {
            must_free(&pool, a, alloc(&pool, a, 4096).unwrap());
        }
        let (taken, then, found, b) = (Cell::new(0), Cell::new(0), Cell::new(0), Cell::new(None));
        Scene { pool, a, greedy, taken, then, found, b }
    }

    fn now() -> Rc<Scene> {
        SCENE.with_borrow(|scene| scene.clone().unwrap())
    }

    fn take_all(&self) {
        let mut taken = Vec::new();
        fill(&self.pool, self.greedy, 4096, &mut taken);
        self.taken.set(taken.len() as u64);
    }

    /// A goes, and B counts something under as many accounts as it gets.
    fn remove_and_count(&self) {
        let pool = &self.pool;
        self.found.set(pool.remove_adapter(self.a).unwrap().blocks());
        let b = pool.add_adapter("B").unwrap();
        for n in 0..TAGS {
            match alloc_tag(pool, b, 64, numbered(n)) {
                Ok(block) => must_free(pool, b, block),
                Err(status) => {
                    assert!(self.taken.get() > 0 && status == Status::INSUFFICIENT_RESOURCES);
                }
            }
        }
        self.b.set(Some(b));
    }

    /// Every row is exact. `uncertain`: whether A's call may count though the removal had not found its block.
    fn check(&self, b: AdapterId, answer: Result<u64, Status>, known: bool) -> Came {
        let snapshot = self.pool.snapshot();
        let of_b = snapshot.accounts.iter().filter(|row| row.adapter == Some(b));
        let each = if self.taken.get() > 0 { 0 } else { 1 };
        for row in of_b.clone().filter(|row| row.tag.is_some()) {
            assert_eq!(row.totals.allocs, each, "{row:?}");
        }
        assert_eq!(of_b.map(|row| row.totals.allocs).sum::<u64>(), each * u64::from(TAGS));
        let others: u64 =
            snapshot.accounts.iter().filter(|row| row.adapter != Some(b)).map(|row| row.totals.allocs).sum();
        let sure = 1 + u64::from(known) + self.taken.get();
        let (its, undone) = match answer {
            // Found by the removal, and left to the orphans.
            Ok(_) => (1..=1, false),
            // Its block was the orphans' for a moment.
            Err(Status::INVALID_PARAMETER) if self.found.get() == 1 => (1..=1, true),
            // Its block may have been live too late for the removal.
            Err(Status::INVALID_PARAMETER) => (0..=1, true),
            Err(status) => {
                assert_eq!(status, Status::INSUFFICIENT_RESOURCES);
                (0..=0, true)
            }
        };
        assert!(its.contains(&(others - sure)), "{answer:?}: {others}, {sure} before it");
        let live = snapshot.tags.iter().map(|row| row.totals.live).sum::<u64>();
        assert_eq!(live, self.taken.get() + u64::from(answer.is_ok()));
        Came { reached: 1, undone: u64::from(undone) }
    }

    fn call(self, known: bool, at: u64, reached: fn(bool)) -> Came {
        let scene = Rc::new(self);
        SCENE.set(Some(scene.clone()));
        breakpoint::arm(at, reached);
        let answer = alloc(&scene.pool, scene.a, 4096);
        breakpoint::disarm();
        SCENE.set(None);
        scene.b.get().map_or(Came::default(), |b| scene.check(b, answer, known))
    }
}

/// Stops A's call at this instruction, if it comes by, until A is gone.
pub fn removed(at: u64, commit: Commit, known: bool) -> Came {
    Scene::new(commit, known).call(known, at, |_| Scene::now().remove_and_count())
}

/// Stops it at this one until all memory is taken, and at that one until A is gone.
pub fn starved(at: u64, then: u64, known: bool) -> Came {
    let scene = Scene::new(Commit::Auto, known);
    scene.then.set(then);
    scene.call(known, at, |_| {
        let scene = Scene::now();
        scene.take_all();
        breakpoint::arm(scene.then.get(), |_| Scene::now().remove_and_count());
    })
}
