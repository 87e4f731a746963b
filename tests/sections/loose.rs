//! Loose blocks, put and taken by calls that stop at one instruction, while others put and take them too: on a CPU
//! without a cache, so that each free puts one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use storport_pool::{AdapterId, Native, Pool, PoolOptions};

use crate::breakpoint;
use crate::common::*;

/// Two sizes whose slabs have the words of their bitmaps in common.
const LARGER: u32 = 12_288;
const SMALLER: u32 = 8192;

/// Which call stops, and what comes in between.
#[derive(Clone, Copy, Debug)]
pub enum Case {
    /// The only free block is freed; somebody looks for one.
    PutAgainstSearch,
    /// Nothing is found where something was before; a block is freed.
    SearchAgainstPut,
    /// A slab of loose blocks is retired; one of them is allocated.
    RetirementAgainstSearch,
    /// A block is taken of a slab; it is retired, and smaller blocks lie there.
    SearchAgainstReuse,
}

impl Case {
    pub const ALL: [Case; 4] = [
        Case::PutAgainstSearch,
        Case::SearchAgainstPut,
        Case::RetirementAgainstSearch,
        Case::SearchAgainstReuse,
    ];
}

struct Scene {
    pool: Pool<Native>,
    id: AdapterId,
    case: Case,
    /// Live blocks: address and bytes.
    live: RefCell<Vec<(u64, u32)>>,
    reached: Cell<bool>,
}

thread_local! {
    static SCENE: RefCell<Option<Rc<Scene>>> = const { RefCell::new(None) };
}

impl Scene {
    /// A pool of which one span is free, for one CPU; we run on another one.
    fn new(case: Case) -> Scene {
        let pool = PoolOptions::new(LARGE_POOL).cpus(1).accounts(16).adapters(4).build().unwrap();
        pin(1);
        let id = pool.add_adapter("disk").unwrap();
        alloc(&pool, id, (LARGE_POOL - SPAN) as u32).unwrap();
        let scene = Scene { pool, id, case, live: RefCell::default(), reached: Cell::new(false) };
        match case {
            Case::PutAgainstSearch | Case::SearchAgainstPut => {
                while scene.try_allocate(LARGER) {}
                // Leaves the span marked as one with loose blocks.
                scene.free();
                assert!(scene.try_allocate(LARGER));
            }
            Case::RetirementAgainstSearch => {
                assert!(scene.try_allocate(LARGER) && scene.try_allocate(LARGER));
                scene.free();
                scene.free();
            }
            Case::SearchAgainstReuse => {
                assert!(scene.try_allocate(LARGER));
                scene.free();
            }
        }
        scene
    }

    fn try_allocate(&self, bytes: u32) -> bool {
        let got = alloc(&self.pool, self.id, bytes);
        self.live.borrow_mut().extend(got.map(|block| (block, bytes)));
        got.is_ok()
    }

    /// Frees the oldest one.
    fn free(&self) {
        let (block, _) = self.live.borrow_mut().remove(0);
        must_free(&self.pool, self.id, block);
    }

    /// The call that stops.
    fn call(&self) {
        match self.case {
            Case::PutAgainstSearch => self.free(),
            Case::SearchAgainstPut | Case::SearchAgainstReuse => drop(self.try_allocate(LARGER)),
            Case::RetirementAgainstSearch => drop(self.try_allocate(SPAN as u32)),
        }
    }

    fn comes_between(&self) {
        self.reached.set(true);
        match self.case {
            Case::PutAgainstSearch | Case::RetirementAgainstSearch => drop(self.try_allocate(LARGER)),
            Case::SearchAgainstPut => self.free(),
            Case::SearchAgainstReuse => {
                let live = self.live.borrow().len();
                if self.try_allocate(SMALLER) && self.try_allocate(SMALLER) {
                    // The one that begins where a larger one did; the other one stays.
                    let (block, _) = self.live.borrow_mut().remove(live);
                    must_free(&self.pool, self.id, block);
                }
            }
        }
    }

    /// No two blocks overlap, what is free can be had, and nothing is lost.
    fn check(&self) {
        if let Case::PutAgainstSearch | Case::SearchAgainstPut = self.case {
            let full = self.live.borrow().len() == per_slab(LARGER) as usize;
            assert!(full || self.try_allocate(LARGER), "a free block is not found");
        }
        let mut live = self.live.take();
        live.sort_unstable();
        let apart = live.windows(2).all(|pair| pair[0].0 + u64::from(pair[0].1) <= pair[1].0);
        assert!(apart, "{live:x?} overlap");
        live.iter().for_each(|&(block, _)| must_free(&self.pool, self.id, block));
        self.pool.trim().unwrap();
        assert_eq!(self.pool.snapshot().free_bytes, SPAN, "something is lost");
    }
}

fn reached(_: bool) {
    SCENE.with_borrow(|scene| scene.as_ref().unwrap().comes_between());
}

/// Stops the case's call at this instruction; whether it came by.
pub fn run(at: u64, case: Case) -> bool {
    let scene = Rc::new(Scene::new(case));
    SCENE.set(Some(scene.clone()));
    breakpoint::arm(at, reached);
    scene.call();
    breakpoint::disarm();
    SCENE.set(None);
    if scene.reached.get() {
        scene.check();
    }
    scene.reached.get()
}
