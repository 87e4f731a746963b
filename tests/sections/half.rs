//! Adapters that are half added, or half removed, when the process forks: the child gets their places back.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use nix::libc;
use storport_pool::{AdapterError, AdapterId, Native, Pool, PoolOptions};

use crate::breakpoint;
use crate::common::*;
use crate::world::{WELL, is_child};

/// The call that a fork comes in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Add,
    Remove,
}

/// Whether the child's copy of the interrupted call goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is that of a thread which did not survive the fork.
    Never,
    /// The handler used the pool, and returns.
    GoesOn,
}

const ADAPTERS: u32 = 3;

struct Scene {
    pool: Pool<Native>,
    /// Has blocks under two tags, and one that is freed.
    a: AdapterId,
    blocks: Vec<u64>,
    b: AdapterId,
    theirs: u64,
    then: Then,
    /// In the child: what it added in the handler.
    added: RefCell<Option<Vec<AdapterId>>>,
    reached: std::cell::Cell<bool>,
}

thread_local! {
    static SCENE: RefCell<Option<Rc<Scene>>> = const { RefCell::new(None) };
}

impl Scene {
    fn new(then: Then) -> Scene {
        let pool = PoolOptions::new(4 * SPAN).cpus(1).accounts(16).adapters(ADAPTERS).build().unwrap();
        let (a, b) = (pool.add_adapter("A").unwrap(), pool.add_adapter("B").unwrap());
        let blocks = vec![
            alloc(&pool, a, 100).unwrap(),
            alloc_tag(&pool, a, 40_000, storport_pool::tag!("Two2")).unwrap(),
        ];
        must_free(&pool, a, alloc(&pool, a, 100).unwrap());
        let theirs = alloc(&pool, b, 100).unwrap();
        Scene { pool, a, blocks, b, theirs, then, added: RefCell::default(), reached: Default::default() }
    }

    /// As many live as can, each with a handle of its own.
    fn add_all(&self) -> Vec<AdapterId> {
        let mut added = Vec::new();
        let why = loop {
            match self.pool.add_adapter("late") {
                Ok(id) => added.push(id),
                Err(why) => break why,
            }
        };
        assert_eq!(why, AdapterError::TooMany);
        let live: BTreeSet<_> = self.pool.adapters().into_iter().map(|(id, _)| id).collect();
        assert_eq!(live.len(), ADAPTERS as usize, "a place is lost");
        assert!(added.iter().all(|id| live.contains(id)));
        added
    }

    /// What A had is A's, or the orphans'; all comes back.
    fn check(&self) {
        let pool = &self.pool;
        let owner = if pool.adapter_name(self.a).is_some() { self.a } else { AdapterId::ORPHANS };
        self.blocks.iter().for_each(|&block| must_free(pool, owner, block));
        must_free(pool, self.b, self.theirs);
        assert_eq!(totals(&pool.snapshot()).2, 0);
        for (id, _) in pool.adapters() {
            must_free(pool, id, alloc(pool, id, 100).unwrap());
            assert_eq!(pool.remove_adapter(id).unwrap().blocks(), 0);
        }
        assert_eq!(self.add_all().len(), ADAPTERS as usize);
        pool.trim().unwrap();
        assert_eq!(pool.snapshot().free_bytes, pool.range().1, "something is lost");
    }

    fn fork(&self) {
        self.reached.set(true);
        if !is_child() {
            return;
        }
        let added = self.add_all();
        if self.then == Then::GoesOn {
            self.added.replace(Some(added));
            return;
        }
        self.check();
        end_well();
    }
}

fn end_well() -> ! {
    // SAFETY: ends the child.
    unsafe { libc::_exit(WELL) }
}

/// Forks at this instruction of the call, if it comes by.
pub fn run(at: u64, call: Call, then: Then) -> bool {
    let scene = Rc::new(Scene::new(then));
    SCENE.set(Some(scene.clone()));
    breakpoint::arm(at, |_| SCENE.with_borrow(|scene| scene.as_ref().unwrap().fork()));
    let new = match call {
        Call::Add => Some(scene.pool.add_adapter("C")),
        Call::Remove => {
            scene.pool.remove_adapter(scene.a).unwrap();
            None
        }
    };
    breakpoint::disarm();
    SCENE.set(None);
    if let Some(added) = scene.added.take() {
        if let Some(Ok(new)) = new {
            assert!(!added.contains(&new), "two adapters have one handle");
        }
        let lives = |id: &AdapterId| scene.pool.adapter_name(*id).is_some();
        assert!(added.iter().all(lives), "an adapter's place was given away");
        scene.add_all();
        scene.check();
        end_well();
    }
    new.into_iter().for_each(|new| scene.pool.remove_adapter(new.unwrap()).map(drop).unwrap());
    scene.check();
    scene.reached.get()
}
