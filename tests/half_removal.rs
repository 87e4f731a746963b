//! Before each atomic operation of a removal, a handler forks, and its child adds an adapter, which ends the removal. Then
//! the child ends, or goes on in the call that it interrupted. The blocks are the orphans', counted, and told of; what is
//! the new adapter's stays its. Needs `--cfg storport_pool_steps`.
#![cfg(storport_pool_steps)]

mod common;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use common::overtaken::overtaken;
use common::*;
use nix::libc;
use storport_pool::{AdapterId, Commit, Pool, PoolOptions, PoolTag, ViolationKind};

fn exit(good: bool) -> ! {
    // SAFETY: ends the child at once.
    unsafe { libc::_exit(if good { 0 } else { 1 }) }
}

/// Removes an adapter, with a fork before operation `at`: in the child `first`, and if the child goes on, `then`. Whether
/// the removal had so many operations; and whether the child said that all is well.
fn forked_at(
    pool: &Rc<Pool>,
    id: AdapterId,
    at: u32,
    goes_on: bool,
    first: impl FnOnce() + 'static,
    then: impl Fn() -> bool + 'static,
) -> (bool, bool) {
    let (child, good) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(true)));
    let then = Rc::new(then);
    let handler = {
        let (child, good, then) = (child.clone(), good.clone(), then.clone());
        // SAFETY: the child has this thread alone, and what it calls takes no lock that another one has.
        move || match unsafe { libc::fork() } {
            0 => {
                child.set(true);
                first();
                if !goes_on {
                    exit(then());
                }
            }
            pid => {
                let mut status = 0;
                // SAFETY: plain calls.
                unsafe { libc::waitpid(pid, &mut status, 0) };
                good.set(status == 0);
            }
        }
    };
    let (removal, came) = overtaken(at, handler, || pool.remove_adapter(id));
    if child.get() {
        exit(then());
    }
    assert!(removal.is_ok());
    (came, good.get())
}

const BLOCKS: u64 = 10;

fn orphans_are_counted_and_told(commit: Commit, goes_on: bool) {
    for at in 0.. {
        let options = PoolOptions::new(64 << 10).cpus(1).adapters(7).accounts(16);
        let pool = Rc::new(options.commit(commit).build().unwrap());
        let heard = Heard::of(&pool);
        let id = pool.add_adapter("disk").unwrap();
        let blocks: Vec<u64> = (0..BLOCKS).map(|_| alloc(&pool, id, 512).unwrap()).collect();
        let (adds, looks) = (pool.clone(), pool.clone());
        let all_is_well = move || {
            let leaks = heard.take().into_iter().filter(|violation| violation.kind == ViolationKind::Leak);
            // When it was told of before the fork, or between the last look and the report, it is told of twice at most.
            let told: u64 = leaks.map(|violation| violation.blocks).sum();
            // Nobody ends it if it had not begun, or had ended.
            let begun = !looks.adapters().iter().any(|&(other, _)| other == id);
            let told_of = !begun || told == BLOCKS || told == 2 * BLOCKS;
            let live = totals(&looks.snapshot()).2;
            let owner = if begun { AdapterId::ORPHANS } else { id };
            let freed = blocks.iter().all(|&block| free(&looks, owner, block).is_success());
            let (allocs, frees, left) = totals(&looks.snapshot());
            told_of && live == BLOCKS && freed && (allocs, left) == (frees, 0)
        };
        let (came, good) = forked_at(
            &pool,
            id,
            at,
            goes_on,
            move || {
                adds.add_adapter("next").unwrap();
            },
            all_is_well,
        );
        assert!(good, "{commit:?}, going on {goes_on}: operation {at}");
        if !came {
            assert!(at > 200);
            break;
        }
    }
}

fn tag_number(n: u32) -> PoolTag {
    PoolTag::from_raw(u32::from_le_bytes(*b"TagA") + (n << 24))
}

/// The new adapter gets the place of the one that is being removed, and its accounts.
fn nothing_of_the_next_one_changes(commit: Commit, kept: usize) {
    for at in 0.. {
        let options = PoolOptions::new(256 << 10).cpus(1).adapters(1).accounts(16);
        let pool = Rc::new(options.commit(commit).build().unwrap());
        let id = pool.add_adapter("disk").unwrap();
        let allocate = |pool: &Pool, id| {
            (0..40).map(|n| alloc_tag(pool, id, 64, tag_number(n)).unwrap()).collect::<Vec<_>>()
        };
        let blocks = allocate(&pool, id);
        blocks[kept..].iter().for_each(|&block| must_free(&pool, id, block));
        let next = Rc::new(RefCell::new(None::<(AdapterId, Vec<u64>)>));
        let (adds, looks, its) = (pool.clone(), pool.clone(), next.clone());
        let all_is_well = move || {
            // Before the removal has begun, there is no place for another one.
            let Some((next, mine)) = its.take() else { return true };
            let snapshot = looks.snapshot();
            let rows = snapshot.accounts.iter().filter(|row| row.adapter == Some(next));
            let counted = rows.fold((0, 0), |(a, l), row| (a + row.totals.allocs, l + row.totals.live));
            let freed = mine.iter().all(|&block| free(&looks, next, block).is_success());
            counted == (40, 40) && freed && totals(&looks.snapshot()).0 == 80
        };
        let begin = move || {
            if let Ok(id) = adds.add_adapter("next") {
                *next.borrow_mut() = Some((id, allocate(&adds, id)));
            }
        };
        let (came, good) = forked_at(&pool, id, at, true, begin, all_is_well);
        assert!(good, "{commit:?}, {kept} blocks kept: operation {at}");
        if !came {
            assert!(at > 1000);
            break;
        }
    }
}

#[test]
fn what_a_removal_leaves_that_a_fork_cut_off() {
    for commit in [Commit::Portable, Commit::Auto] {
        for goes_on in [false, true] {
            orphans_are_counted_and_told(commit, goes_on);
        }
    }
}

#[test]
fn a_removal_that_goes_on_where_a_handler_ended_it() {
    for commit in [Commit::Portable, Commit::Auto] {
        for kept in [0, 40] {
            nothing_of_the_next_one_changes(commit, kept);
        }
    }
}
