//! An allocation that stops at one instruction until its adapter was removed and others have used up the pool: its
//! undoing takes nobody's block away, and loses none.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use storport_pool::{AdapterId, Native, Pool, PoolOptions, Status};

use crate::breakpoint;
use crate::came::Came;
use crate::common::*;

/// What becomes of the stopped call's adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is released, with its blocks.
    Released,
    /// It is removed; the host frees what it left before the call goes on.
    Kept,
    /// It is removed, and what it left is let alone.
    Left,
}

/// A pool, the adapter A whose call stops, and what happened meanwhile.
struct Scene {
    pool: Pool<Native>,
    bytes: u32,
    removal: Removal,
    a: AdapterId,
    /// The block that A's call gets, unless it is disturbed.
    wanted: u64,
    /// Blocks that the removal found.
    found: Cell<u64>,
    b: Cell<Option<AdapterId>>,
    /// What B got.
    taken: RefCell<Vec<u64>>,
}

thread_local! {
    static SCENE: RefCell<Option<Rc<Scene>>> = const { RefCell::new(None) };
}

impl Scene {
    /// A has had a block before: its account is known, its CPU's magazine loaded. So had another one, whose former
    /// account and blocks are there to be taken.
    fn new(bytes: u32, removal: Removal, wanted: u64) -> Scene {
        let pool = PoolOptions::new(4 * SPAN).cpus(2).accounts(16).adapters(4).build().unwrap();
        pin(0);
        let used_once = |name| {
            let id = pool.add_adapter(name).unwrap();
            must_free(&pool, id, alloc(&pool, id, bytes).unwrap());
            id
        };
        pool.remove_adapter(used_once("before")).unwrap();
        let (a, wanted) = (used_once("A"), pool.range().0 + wanted);
        let (found, b, taken) = (Cell::new(0), Cell::new(None), RefCell::default());
        Scene { pool, bytes, removal, a, wanted, found, b, taken }
    }

    /// What happens while A's call stands still.
    fn removed_and_used_again(&self) {
        let pool = &self.pool;
        let found = match self.removal {
            // SAFETY: nobody uses A's blocks, and no free of one is in flight.
            Removal::Released => unsafe { pool.release_adapter(self.a) },
            Removal::Kept | Removal::Left => pool.remove_adapter(self.a),
        };
        self.found.set(found.unwrap().blocks());
        if self.removal == Removal::Kept && self.found.get() == 1 {
            must_free(pool, AdapterId::ORPHANS, self.wanted);
        }
        // Others come and go, so that places of A's may be had again, and one takes all that is free, A's former
        // block among it.
        for _ in 0..14 {
            let id = pool.add_adapter("between").unwrap();
            pool.remove_adapter(id).unwrap();
        }
        let b = pool.add_adapter("B").unwrap();
        fill(pool, b, self.bytes, &mut self.taken.borrow_mut());
        self.b.set(Some(b));
    }

    /// A's call has ended; B is there. Nobody else gets what B has, B can free it, and nothing is lost.
    fn check(&self, b: AdapterId, answer: Result<u64, Status>) -> Came {
        let pool = &self.pool;
        let (found, taken) = (self.found.get(), self.taken.take());
        match answer {
            Ok(block) => {
                assert_eq!((block, found), (self.wanted, 1), "the removal must find what A got");
                if self.removal == Removal::Left {
                    must_free(pool, AdapterId::ORPHANS, block);
                }
            }
            // The second one: it stopped before it looked for memory, and B has all of that.
            Err(status) => {
                assert!([Status::INVALID_PARAMETER, Status::INSUFFICIENT_RESOURCES].contains(&status));
            }
        }
        let live: u64 = pool.snapshot().tags.iter().map(|row| row.totals.live).sum();
        assert_eq!(live, taken.len() as u64, "B's blocks alone live");
        // What A held while B looked for memory is free again.
        let c = pool.add_adapter("C").unwrap();
        let mut rest = Vec::new();
        fill(pool, c, self.bytes, &mut rest);
        let apart: BTreeSet<u64> = taken.iter().chain(&rest).copied().collect();
        assert_eq!(apart.len(), taken.len() + rest.len(), "a block was handed out twice");
        taken.iter().for_each(|&block| must_free(pool, b, block));
        rest.iter().for_each(|&block| must_free(pool, c, block));
        pool.trim().unwrap();
        assert_eq!(pool.snapshot().free_bytes, pool.range().1, "something is lost");
        // One leak was told for each tag, which is one.
        assert_eq!(pool.violations(), found);
        Came { reached: 1, undone: u64::from(answer.is_err() && found == 1) }
    }
}

fn reached(_: bool) {
    SCENE.with_borrow(|scene| scene.as_ref().unwrap().removed_and_used_again());
}

/// Where A's call finds its block in the range.
pub fn wanted(bytes: u32) -> u64 {
    let scene = Scene::new(bytes, Removal::Kept, 0);
    alloc(&scene.pool, scene.a, bytes).unwrap() - scene.pool.range().0
}

/// Stops A's call at this instruction, if it comes by.
pub fn run(at: u64, bytes: u32, removal: Removal, wanted: u64) -> Came {
    let scene = Rc::new(Scene::new(bytes, removal, wanted));
    SCENE.set(Some(scene.clone()));
    breakpoint::arm(at, reached);
    let answer = alloc(&scene.pool, scene.a, bytes);
    breakpoint::disarm();
    SCENE.set(None);
    scene.b.get().map_or(Came::default(), |b| scene.check(b, answer))
}
