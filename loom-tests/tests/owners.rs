//! Adapters and accounts: added, used and removed by several threads.
#![cfg(storport_pool_loom)]

use loom_tests::{
    Caller, SMALL, TAG, config, masked, model, on_cpu, pool, portable, run_on, settle, settle_blocks,
};
use storport_pool::{AdapterId, Platform, PoolTag, Status, tag};

/// Two CPUs allocate the first block of a tag at once, or of two tags whose search begins at one place: each
/// is counted under its own.
fn interning(tags: [PoolTag; 2]) {
    model(move || {
        let shared = pool(&config(1, 2), portable());
        let (pool, adapter) = (&*shared.0, shared.1);
        let caller = Caller { pool, adapter };
        // Each CPU has a block in its cache, so that the search for memory is not searched too.
        for cpu in [1, 0] {
            run_on(cpu);
            caller.free(caller.try_allocate_tagged(tag!("Warm"), SMALL).unwrap());
        }
        let other = on_cpu(1, &shared, move |caller| caller.try_allocate_tagged(tags[1], SMALL));
        let mine = caller.try_allocate_tagged(tags[0], SMALL);
        let live = [mine, other.join().unwrap()].map(|got| got.unwrap());
        let snapshot = pool.snapshot();
        assert_eq!(snapshot.other, 0);
        let counts = |tag| snapshot.tags.iter().find(|row| row.tag == tag).map(|row| row.totals.allocs);
        let each = if tags[0] == tags[1] { 2 } else { 1 };
        assert!(tags.iter().all(|&tag| counts(tag) == Some(each)), "{snapshot:?}");
        settle_blocks(&caller, live.into(), SMALL);
    });
}

#[test]
fn interning_one_tag_on_two_cpus() {
    interning([TAG, TAG]);
}

#[test]
fn interning_two_tags_at_one_place() {
    interning([TAG, tag!("New1")]);
}

/// An adapter is removed, its blocks kept, while another CPU allocates in its name. What was allocated is
/// reported or refused, and all of it belongs to the orphans.
fn removal(tag: PoolTag) {
    model(move || {
        let shared = pool(&config(1, 2), portable());
        let (pool, adapter) = (&*shared.0, shared.1);
        let caller = Caller { pool, adapter };
        let first = caller.allocate(SMALL);
        let other = on_cpu(1, &shared, move |caller| caller.try_allocate_tagged(tag, SMALL));
        let mut reported = 0;
        pool.remove_adapter_with(adapter, |row| reported += row.blocks).unwrap();
        let second = other.join().unwrap();
        let live: Vec<_> = std::iter::once(first)
            .chain(second.inspect_err(|&status| assert_eq!(status, Status::INVALID_PARAMETER)))
            .map(|block| (AdapterId::ORPHANS, block))
            .collect();
        // An allocation that was overtaken may be reported although it undoes itself.
        assert!(reported >= live.len() as u64 && reported <= 2, "{reported} of {}", live.len());
        assert_eq!(caller.try_free(first), Status::INVALID_PARAMETER);
        settle(pool, &live);
    });
}

#[test]
fn removal_against_allocate() {
    removal(TAG);
}

/// The first block of a tag: its account is made while the adapter goes.
#[test]
fn removal_against_interning() {
    removal(tag!("New1"));
}

/// An adapter is removed, its block kept, while another CPU frees it in the adapter's name: either that succeeds, or
/// the block is reported.
fn removal_against_free<P: Platform + Send + 'static>(platform: fn() -> P) {
    model(move || {
        let shared = pool(&config(1, 2), platform());
        let (pool, adapter) = (&*shared.0, shared.1);
        let caller = Caller { pool, adapter };
        let block = caller.allocate(SMALL);
        let other = on_cpu(1, &shared, move |caller| caller.try_free(block));
        let mut reported = 0;
        pool.remove_adapter_with(adapter, |row| reported += row.blocks).unwrap();
        let kept = other.join().unwrap() != Status::SUCCESS;
        assert_eq!(reported, u64::from(kept));
        let live = [(AdapterId::ORPHANS, block)];
        settle(pool, if kept { &live } else { &[] });
    });
}

#[test]
fn removal_against_free_portable() {
    removal_against_free(portable);
}

/// (Loom would let a plain store of the section's come before the remover's exchange, which read what was there before
/// it. So `Masked::free` claims by `store_swapped`.)
#[test]
fn removal_against_free_masked() {
    removal_against_free(masked);
}

/// An adapter is released while another CPU allocates in its name: reported equals what was allocated.
#[test]
fn release_against_allocate() {
    model(|| {
        let shared = pool(&config(1, 2), portable());
        let (pool, adapter) = (&*shared.0, shared.1);
        let caller = Caller { pool, adapter };
        caller.allocate(SMALL);
        let other = on_cpu(1, &shared, move |caller| caller.try_allocate(SMALL).is_ok());
        let mut released = 0;
        // SAFETY: nobody uses the blocks, and no free is in flight.
        unsafe { pool.release_adapter_with(adapter, |row| released += row.blocks) }.unwrap();
        let second = other.join().unwrap();
        assert!(released == 1 + u64::from(second) || !second && released == 2, "{released}");
        settle(pool, &[]);
    });
}

/// Three threads: one adds an adapter, one uses it as soon as it is there, one removes it.
#[test]
fn added_used_and_removed() {
    model(|| {
        let shared = pool(&config(1, 2), portable());
        let (pool, adapter) = (&*shared.0, shared.1);
        let adder = on_cpu(0, &shared, |caller| caller.pool.add_adapter("other").unwrap());
        let user = on_cpu(1, &shared, |caller| {
            let block = caller.try_allocate(SMALL).ok()?;
            // Its owner's, or the orphans' already.
            match caller.try_free(block) {
                Status::SUCCESS => None,
                status => {
                    assert_eq!(status, Status::INVALID_PARAMETER);
                    Some(block)
                }
            }
        });
        pool.remove_adapter_with(adapter, |_| {}).unwrap();
        let added = adder.join().unwrap();
        assert_ne!(added, adapter);
        let live: Vec<_> = user.join().unwrap().into_iter().map(|b| (AdapterId::ORPHANS, b)).collect();
        settle(pool, &live);
    });
}
