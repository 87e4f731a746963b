//! Calls that something overtakes at each of their atomic operations, in turn: a removal, a run that is given back, an
//! adapter that comes and goes. Needs `--cfg storport_pool_steps`; `ci/interrupts.sh` runs it.
#![cfg(storport_pool_steps)]

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use common::overtaken::overtaken;
use common::*;
use storport_pool::{AdapterId, Commit, Native, Pool, PoolOptions, PoolTag, Status, ViolationKind};

/// Runs `turn` for each operation, until one has no more.
fn at_each(turn: impl Fn(u32) -> bool) {
    let operations = (0..).take_while(|&at| turn(at)).count();
    println!("{operations} operations");
    assert!(operations > 5, "only {operations}");
}

fn pool(spans: u64, accounts: u32) -> Rc<Pool<Native>> {
    let options = PoolOptions::new(spans * SPAN).cpus(1).adapters(7).accounts(accounts);
    Rc::new(options.commit(Commit::Portable).build().unwrap())
}

/// A free that its adapter's removal overtakes is refused, or comes first. It is nobody's misuse.
#[test]
fn a_free_and_its_adapters_removal() {
    for bytes in [64, 100_000] {
        at_each(|at| {
            let pool = pool(4, 64);
            let heard = Heard::of(&pool);
            let id = pool.add_adapter("disk").unwrap();
            let block = alloc(&pool, id, bytes).unwrap();
            let other = pool.clone();
            let remove = move || drop(other.remove_adapter(id).unwrap());
            let (status, reached) = overtaken(at, remove, || free(&pool, id, block));
            if status != Status::SUCCESS {
                assert_eq!(status, Status::INVALID_PARAMETER);
                must_free(&pool, AdapterId::ORPHANS, block);
            }
            let misuse: Vec<_> =
                heard.take().into_iter().filter(|told| told.kind != ViolationKind::Leak).collect();
            assert!(misuse.is_empty(), "{bytes} bytes, operation {at}: {misuse:?}");
            reached
        });
    }
}

/// A free inside a large run, while that is given back, names its owner or nobody.
#[test]
fn a_free_inside_a_run_that_goes() {
    at_each(|at| {
        let pool = pool(3, 64);
        let heard = Heard::of(&pool);
        let [first, owner, caller] = ["x", "y", "z"].map(|name| pool.add_adapter(name).unwrap());
        let page = alloc(&pool, first, 4096).unwrap();
        assert_eq!(page - page % SPAN, pool.range().0);
        let run = alloc(&pool, owner, 100_000).unwrap();
        let other = pool.clone();
        let give = move || {
            must_free(&other, owner, run);
            other.trim().unwrap();
        };
        let (status, reached) = overtaken(at, give, || free(&pool, caller, run + SPAN + 64));
        assert_eq!(status, Status::INVALID_PARAMETER);
        let told = heard.one().owner;
        assert!(told.is_none_or(|told| told == owner), "operation {at}: {told:?}");
        reached
    });
}

fn numbered(n: u32) -> PoolTag {
    PoolTag::from_raw(0x6161_6161 + n)
}

/// `add_adapter` looks for orphans' accounts that nobody needs. Meanwhile an adapter goes, leaving more of them, and
/// another one gets accounts: those stay its, and each block is counted where it belongs.
#[test]
fn a_search_for_accounts_and_a_removal() {
    at_each(|at| {
        let pool = pool(1, 16);
        // Allocates under these tags, and frees all but the first.
        let use_up = |tags: std::ops::Range<u32>, kept: usize| {
            let id = pool.add_adapter("a").unwrap();
            let blocks: Vec<_> = tags.map(|tag| alloc_tag(&pool, id, 64, numbered(tag)).unwrap()).collect();
            blocks[kept..].iter().for_each(|&block| must_free(&pool, id, block));
            (id, blocks[..kept].to_vec())
        };
        let (gone, mut left) = use_up(0..6, 6);
        pool.remove_adapter(gone).unwrap();
        left.drain(3..).for_each(|block| must_free(&pool, AdapterId::ORPHANS, block));
        let (first, more) = use_up(10..30, 4);
        let (other, second) = (pool.clone(), Rc::new(Cell::new(None)));
        let found = second.clone();
        let replace = move || {
            other.remove_adapter(first).unwrap();
            let id = other.add_adapter("b").unwrap();
            found.set(Some(id));
            (0..40).for_each(|tag| assert!(alloc_tag(&other, id, 64, numbered(tag)).is_ok()));
        };
        let (added, reached) = overtaken(at, replace, || pool.add_adapter("c"));
        added.unwrap();
        if let Some(id) = second.get() {
            left.extend(more);
            let snapshot = pool.snapshot();
            let live = |id| -> u64 {
                let rows = snapshot.accounts.iter().filter(|row| row.adapter == Some(id));
                rows.map(|row| row.totals.live).sum()
            };
            assert_eq!((live(id), live(AdapterId::ORPHANS)), (40, 7), "operation {at}");
            assert_eq!(totals(&snapshot), (66, 19, 47), "operation {at}");
            (0..60).for_each(|tag| assert!(alloc_tag(&pool, id, 64, numbered(tag)).is_ok()));
            assert_eq!(pool.remove_adapter(id).unwrap().blocks(), 100, "operation {at}");
            left.iter().for_each(|&block| must_free(&pool, AdapterId::ORPHANS, block));
        }
        reached
    });
}

/// A resize, or an aligned allocation, that its adapter's removal overtakes, and then another adapter's block in the same
/// place: that keeps its bytes, and nobody is told of a misuse.
#[test]
fn a_resize_and_its_adapters_removal() {
    for (bytes, other_bytes, now) in [(100, 64, 112), (299_000, 299_000, 298_000), (299_000, 65_000, 298_000)]
    {
        at_each(|at| {
            let pool = pool(200, 64);
            let heard = Heard::of(&pool);
            let (id, other) = (pool.add_adapter("disk").unwrap(), pool.add_adapter("other").unwrap());
            let block = alloc(&pool, id, bytes).unwrap();
            let taken = Rc::new(Cell::new(0));
            let (overtakes, takes) = (pool.clone(), taken.clone());
            let work = move || {
                overtakes.remove_adapter(id).unwrap();
                must_free(&overtakes, AdapterId::ORPHANS, block);
                takes.set(alloc(&overtakes, other, other_bytes).unwrap());
            };
            let (status, reached) = overtaken(at, work, || pool.resize(id, block, now));
            let refused = [Status::INVALID_PARAMETER, Status::INSUFFICIENT_RESOURCES].contains(&status);
            assert!(status == Status::SUCCESS || reached && refused);
            if reached {
                assert_eq!(pool.block_at(taken.get()).unwrap().bytes, other_bytes, "operation {at}");
            }
            assert!(
                heard.take().iter().all(|violation| violation.kind == ViolationKind::Leak),
                "operation {at}"
            );
            reached
        });
    }
    at_each(|at| {
        let pool = pool(4, 64);
        let heard = Heard::of(&pool);
        let id = pool.add_adapter("disk").unwrap();
        let other = pool.clone();
        let mut address = 0;
        let remove = move || drop(other.remove_adapter(id).unwrap());
        let ask = || pool.allocate_aligned(id, 100, 64, TAG, Some(&mut address));
        let (status, reached) = overtaken(at, remove, ask);
        assert!(status == Status::SUCCESS || reached && status == Status::INVALID_PARAMETER && address == 0);
        assert!(heard.take().iter().all(|violation| violation.kind == ViolationKind::Leak), "operation {at}");
        reached
    });
}

/// A removal that has found the account which keeps a tag's totals, and an adapter that needs just that one: what the
/// removed one has counted does not become the other's.
#[test]
fn a_removal_and_the_account_that_keeps_its_tag() {
    at_each(|at| {
        let pool = pool(4, 16);
        let lives = pool.add_adapter("lives").unwrap();
        let comes_and_goes = |times: u32| {
            let id = pool.add_adapter("goes").unwrap();
            (0..times).for_each(|_| must_free(&pool, id, alloc_tag(&pool, id, 64, numbered(99)).unwrap()));
            id
        };
        pool.remove_adapter(comes_and_goes(1)).unwrap();
        let goes = comes_and_goes(1000);
        let other = pool.clone();
        let needs_all_accounts = move || {
            (0..40)
                .for_each(|n| must_free(&other, lives, alloc_tag(&other, lives, 64, numbered(n)).unwrap()));
        };
        let (_, reached) = overtaken(at, needs_all_accounts, || pool.remove_adapter(goes).unwrap());
        let snapshot = pool.snapshot();
        let its = snapshot.accounts.iter().filter(|row| row.adapter == Some(lives));
        let allocs: u64 = its.map(|row| row.totals.allocs).sum();
        assert_eq!(allocs, if reached { 40 } else { 0 }, "operation {at}");
        assert_eq!(totals(&snapshot).0, 1001 + allocs);
        reached
    });
}

/// An allocation that its adapter's removal overtakes, and another adapter that gets all accounts: no count of the one
/// is the other's. `tags`: so many that the adapter has used before.
fn an_allocation_and_its_adapters_removal(tags: u32, bytes: u32) {
    at_each(|at| {
        let pool = pool(8, 16);
        let id = pool.add_adapter("disk").unwrap();
        let once = |id, tag| must_free(&pool, id, alloc_tag(&pool, id, 64, numbered(tag)).unwrap());
        (0..tags).for_each(|tag| once(id, tag));
        let (other, next, found) = (pool.clone(), Rc::new(Cell::new(None)), Rc::new(Cell::new(0)));
        let (added, removed) = (next.clone(), found.clone());
        let replace = move || {
            removed.set(other.remove_adapter(id).unwrap().blocks());
            let id = other.add_adapter("next").unwrap();
            added.set(Some(id));
            for tag in 0..40 {
                must_free(&other, id, alloc_tag(&other, id, bytes, numbered(tag)).unwrap());
            }
        };
        let call = || alloc_tag(&pool, id, bytes, numbered(7));
        let (answer, reached) = overtaken(at, replace, call);
        let Some(next) = next.get() else { return reached };
        let rows = pool.snapshot().accounts;
        let its = rows.iter().filter(|row| row.adapter == Some(next));
        assert!(
            its.clone().all(|row| row.tag.is_none() || row.totals.allocs == 1),
            "operation {at}: {rows:?}"
        );
        assert_eq!(its.map(|row| row.totals.allocs).sum::<u64>(), 40, "operation {at}");
        let rest: u64 =
            rows.iter().filter(|row| row.adapter != Some(next)).map(|row| row.totals.allocs).sum();
        let least = u64::from(answer.is_ok()).max(found.get());
        // A block that was live too late for the removal counts, too.
        let most = least.max(u64::from(answer == Err(Status::INVALID_PARAMETER)));
        assert!((least..=most).contains(&(rest - u64::from(tags))), "operation {at}, {answer:?}: {rows:?}");
        reached
    });
}

#[test]
fn an_allocation_by_the_slow_way() {
    for bytes in [64, 40_000] {
        an_allocation_and_its_adapters_removal(0, bytes);
    }
}

#[test]
fn an_allocation_by_the_fast_way() {
    an_allocation_and_its_adapters_removal(8, 64);
}

/// Of a tag for which live ones have left no account.
#[test]
fn an_allocation_under_the_other_account() {
    for bytes in [64, 40_000] {
        an_allocation_and_its_adapters_removal(60, bytes);
    }
}

/// A handler forks before each operation of a call of the twin's; its child calls the pool there, and goes on in the
/// interrupted call, whose claims are of the parent's time and held all the same. Nothing is lost, nothing twice.
#[cfg(target_os = "linux")]
mod in_a_handlers_child {
    use super::*;
    use nix::libc;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    const WELL: i32 = 42;

    /// What the pool has, and what is live in it.
    struct World {
        pool: Rc<Pool<Native>>,
        id: AdapterId,
        live: RefCell<std::collections::BTreeSet<u64>>,
        is_child: Cell<bool>,
    }

    impl World {
        fn take(&self, bytes: u32) -> bool {
            let Ok(block) = alloc(&self.pool, self.id, bytes) else { return false };
            assert!(self.live.borrow_mut().insert(block), "{block:#x} twice");
            true
        }

        fn give(&self) {
            let block = self.live.borrow_mut().pop_first();
            if let Some(block) = block {
                must_free(&self.pool, self.id, block);
            }
        }

        /// All that is free, in blocks of another size too, and back.
        fn act(&self, what: usize) {
            match what {
                0 => _ = self.take(BYTES),
                1 => self.give(),
                2 => while self.take(BYTES) {},
                3 => {
                    let some = (0..20).take_while(|_| self.take(BYTES)).count();
                    (0..some).for_each(|_| self.give());
                }
                4 => while self.take(64) {},
                _ => _ = self.pool.trim(),
            }
        }
    }

    const BYTES: u32 = 4096;
    const ACTS: usize = 6;

    fn forked(what: usize, call: impl Fn(&World)) {
        at_each(|at| {
            let pool = pool(4, 64);
            let id = pool.add_adapter("disk").unwrap();
            let (live, is_child) = (RefCell::default(), Cell::new(false));
            let world = Rc::new(World { pool, id, live, is_child });
            // The call finds a loaded magazine that is full or empty, by turns.
            (0..40).for_each(|_| _ = world.take(BYTES));
            (0..20).for_each(|_| world.give());
            let other = world.clone();
            let fork = move || {
                // SAFETY: the child goes on from here, on the copy of this thread, and ends.
                match unsafe { fork() }.unwrap() {
                    ForkResult::Child => {
                        other.is_child.set(true);
                        other.act(what);
                    }
                    ForkResult::Parent { child } => {
                        let ended = waitpid(child, None).unwrap();
                        assert_eq!(ended, WaitStatus::Exited(child, WELL), "act {what}, operation {at}");
                    }
                }
            };
            let check = std::panic::AssertUnwindSafe(|| {
                let ((), reached) = overtaken(at, fork, || call(&world));
                while !world.live.borrow().is_empty() {
                    world.give();
                }
                // Twice, since the first time may pick up what a sweep had in its hand.
                for _ in 0..2 {
                    let _ = world.pool.trim().unwrap();
                }
                assert_eq!(world.pool.snapshot().free_bytes, world.pool.range().1, "something is lost");
                reached
            });
            let ended = std::panic::catch_unwind(check);
            if world.is_child.get() {
                // SAFETY: ends the process without running anything of the parent's.
                unsafe { libc::_exit(if ended.is_ok() { WELL } else { 1 }) }
            }
            ended.unwrap()
        });
    }

    #[test]
    fn of_an_allocation() {
        (0..ACTS).for_each(|what| forked(what, |world| _ = world.take(BYTES)));
    }

    #[test]
    fn of_a_sweep() {
        // Nothing of this size is there, and no span is free: what others hold is swept.
        let sweeps = |world: &World| {
            while world.take(BYTES) {}
            (0..33).for_each(|_| world.give());
            let _ = world.take(64);
        };
        (0..ACTS).for_each(|what| forked(what, sweeps));
    }

    #[test]
    fn of_frees() {
        (0..ACTS).for_each(|what| forked(what, |world| (0..18).for_each(|_| world.give())));
    }

    #[test]
    fn of_a_trim() {
        (0..ACTS).for_each(|what| forked(what, |world| _ = world.pool.trim()));
    }
}
