//! Handles that share the pool, and what happens to blocks that are dropped where they cannot be freed.
#![cfg(not(storport_pool_loom))]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use storport_pool::{
    Irql, OwnedAdapter, OwnedBlock, Pool, PoolOptions, Status, Violation, ViolationKind, tag,
};

fn pool() -> Arc<Pool> {
    Arc::new(PoolOptions::new(1 << 20).build().unwrap())
}

fn heard(pool: &Pool) -> Arc<Mutex<Vec<Violation>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&heard);
    pool.on_violation(move |violation| hook.lock().unwrap().push(*violation));
    heard
}

/// What a struct of a driver's looks like.
struct Disk {
    adapter: OwnedAdapter,
    waiting: Vec<OwnedBlock>,
}

#[test]
fn a_struct_keeps_them_and_threads_free_them() {
    let pool = pool();
    let heard = heard(&pool);
    let mut disk = Disk { adapter: pool.adapter_owned("disk0").unwrap(), waiting: Vec::new() };
    for n in 1..=64 {
        let mut block = disk.adapter.allocate(n * 16, tag!("VioS")).unwrap();
        assert!(block.fill(n as u8));
        disk.waiting.push(block);
    }
    assert_eq!(disk.adapter.name().unwrap().as_str(), "disk0");
    assert_eq!(disk.adapter.clone(), disk.adapter);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let blocks = disk.waiting.split_off(disk.waiting.len() - 16);
            std::thread::spawn(move || drop(blocks))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!((pool.usage().live, pool.usage().allocs), (0, 64));
    drop(disk);
    assert!(pool.adapters().is_empty() && heard.lock().unwrap().is_empty());
}

/// The adapter lives as long as any of its clones or blocks, and the pool as long as its adapters.
#[test]
fn the_last_one_removes_the_adapter_and_the_pool() {
    let pool = pool();
    let adapter = pool.adapter_owned("disk0").unwrap();
    let block = adapter.allocate(100, tag!("Srb0")).unwrap();
    let weak = Arc::downgrade(&pool);
    drop(adapter);
    assert_eq!(pool.adapters().len(), 1);
    drop(pool);
    assert_eq!(weak.upgrade().unwrap().usage().live, 1);
    drop(block);
    assert!(weak.upgrade().is_none());
}

#[test]
fn a_block_that_cannot_be_freed_is_kept_and_told() {
    let pool = pool();
    let heard = heard(&pool);
    let owned = pool.adapter_owned("disk0").unwrap();
    let borrowed = pool.adapter("disk1").unwrap();
    let (first, second) =
        (owned.allocate(100, tag!("Own0")).unwrap(), borrowed.allocate(200, tag!("Bor0")).unwrap());
    let addresses = [first.address(), second.address()];
    {
        let _in_handler = Irql::raise(Irql::DEVICE);
        // `free` says why, and keeps the block.
        let refused = first.free().unwrap_err();
        assert_eq!(refused.status, Status::INVALID_IRQL);
        assert_eq!(refused.to_string(), "the block was not freed: STOR_STATUS_INVALID_IRQL");
        assert!(heard.lock().unwrap().is_empty());
        // A drop tells.
        drop(refused);
        drop(second);
    }
    let told = std::mem::take(&mut *heard.lock().unwrap());
    assert_eq!(told.len(), 2);
    for (violation, (address, name, tag, bytes)) in told
        .iter()
        .zip([(addresses[0], "disk0", tag!("Own0"), 100), (addresses[1], "disk1", tag!("Bor0"), 200)])
    {
        assert_eq!((violation.kind, violation.address), (ViolationKind::Stranded, address));
        assert_eq!((violation.tag, violation.bytes, violation.irql), (Some(tag), bytes, Irql::DEVICE));
        assert_eq!(violation.owner_name.unwrap().as_str(), name);
        assert_eq!((violation.bug_check().code, violation.bug_check().parameters[0]), (0xC2, 0x09));
        assert_eq!(
            violation.to_string(),
            format!(
                "block dropped where it could not be freed at {address:#x}, tag {tag:?}, {bytes} bytes, of adapter \
                 \"{name}\"; Windows stops with 0xC2 (0x9, 0x3, 0x0, {address:#X})"
            )
        );
    }
    assert_eq!((pool.usage().live, pool.violations()), (2, 2));
    // SAFETY: nobody holds them: their drops were told.
    unsafe {
        assert!(owned.adopt(addresses[1]).is_none(), "another adapter's");
        assert!(owned.adopt(addresses[0] + 16).is_none() && owned.adopt(0).is_none());
        assert_eq!(owned.adopt(addresses[0]).unwrap().len(), 100);
        assert!(owned.adopt(addresses[0]).is_none(), "freed by now");
        assert_eq!(borrowed.adopt(addresses[1]).unwrap().len(), 200);
    }
    assert_eq!(pool.usage().live, 0);
}

/// While the host's switch is down; and of a bulk free each block.
#[test]
fn the_switch_and_bulk_frees_tell_too() {
    let pool = pool();
    let heard = heard(&pool);
    let disk = pool.adapter("disk0").unwrap();
    let blocks: [_; 5] = disk.allocate_bulk(64, tag!("Blk0")).unwrap();
    let addresses = [0, 1, 2, 3, 4].map(|n: usize| blocks[n].address());
    pool.set_not_implemented(true);
    assert_eq!(disk.free_bulk(blocks), 0);
    pool.set_not_implemented(false);
    let told = std::mem::take(&mut *heard.lock().unwrap());
    assert_eq!(told.iter().map(|violation| violation.address).collect::<Vec<_>>(), addresses);
    assert!(told.iter().all(|violation| violation.kind == ViolationKind::Stranded));
    // The switch is the host's own: Windows stops with nothing.
    assert!(told.iter().all(|violation| violation.bug_check().code == 0));
    for address in addresses {
        // SAFETY: nobody holds it.
        unsafe { disk.adopt(address) }.unwrap().free().unwrap();
    }
    assert_eq!(disk.remove().unwrap().blocks(), 0);
    assert_eq!(pool.usage().live, 0);
}

/// An adapter that was removed by its id: its removal told of the blocks, and drops tell nothing more.
#[test]
fn what_a_removal_told_is_not_told_again() {
    let pool = pool();
    let heard = heard(&pool);
    let disk = pool.adapter_owned("disk0").unwrap();
    let block = disk.allocate(100, tag!("Srb0")).unwrap();
    let address = block.address();
    assert_eq!(pool.remove_adapter(disk.id()).unwrap().blocks(), 1);
    let refused = block.free().unwrap_err();
    assert_eq!(refused.status, Status::INVALID_PARAMETER);
    {
        let _in_handler = Irql::raise(Irql::DEVICE);
        drop(refused);
    }
    let told = heard.lock().unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(
        told[0].to_string(),
        "blocks left behind, tag 'Srb0', 1 block, 100 bytes, of adapter \"disk0\"; \
         Windows stops with 0xC4 (0x62, 0x0, 0x0, 0x1)"
    );
    // SAFETY: nobody holds it any more.
    assert_eq!(unsafe { pool.free(storport_pool::AdapterId::ORPHANS, address) }, Status::SUCCESS);
}

/// Blocks come and go on many threads, while their adapter is cloned and dropped by each.
#[test]
fn many_threads_share_one_adapter() {
    static DONE: AtomicU64 = AtomicU64::new(0);
    let pool = pool();
    let heard = heard(&pool);
    let adapter = pool.adapter_owned("disk0").unwrap();
    let threads: Vec<_> = (0..4)
        .map(|thread: u32| {
            let adapter = adapter.clone();
            std::thread::spawn(move || {
                let mut kept = Vec::new();
                for n in 0..5_000 {
                    let block = adapter.clone().allocate(16 << (n % 6), tag!("Many")).unwrap();
                    kept.push(block);
                    if n % 7 == thread % 7 {
                        kept.clear();
                    }
                }
                DONE.fetch_add(5_000, Ordering::Relaxed);
            })
        })
        .collect();
    drop(adapter);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!((pool.usage().allocs, pool.usage().live), (DONE.load(Ordering::Relaxed), 0));
    assert!(pool.adapters().is_empty() && heard.lock().unwrap().is_empty());
}

/// The last holder is dropped where no adapter can be removed: it stays, is told, and can be removed later.
#[test]
fn an_adapter_that_cannot_be_removed_stays_and_is_told() {
    let pool = pool();
    let heard = heard(&pool);
    let owned = pool.adapter_owned("disk0").unwrap();
    let block = owned.allocate(100, tag!("Srb0")).unwrap();
    let (id, address) = (owned.id(), block.address());
    drop(owned);
    let borrowed = pool.adapter("disk1").unwrap();
    let other = borrowed.id();
    let removed = pool.adapter("disk3").unwrap();
    let third = removed.id();
    {
        let _in_handler = Irql::raise(Irql::DEVICE);
        drop(block);
        drop(borrowed);
        assert_eq!(removed.remove().unwrap_err(), Status::INVALID_IRQL);
        assert_eq!(pool.remove_adapter(id).unwrap_err(), Status::INVALID_IRQL);
        assert_eq!(pool.add_adapter("disk2"), Err(storport_pool::AdapterError::Irql));
        assert_eq!(pool.trim(), Err(storport_pool::TrimError::Irql));
    }
    let told = std::mem::take(&mut *heard.lock().unwrap());
    let kinds: Vec<_> = told.iter().map(|violation| (violation.kind, violation.caller)).collect();
    assert_eq!(
        kinds,
        [
            (ViolationKind::Stranded, id),
            (ViolationKind::StrandedAdapter, id),
            (ViolationKind::StrandedAdapter, other),
            (ViolationKind::StrandedAdapter, third)
        ]
    );
    assert_eq!(
        told[2].to_string(),
        "adapter dropped where it could not be removed, called for adapter \"disk1\""
    );
    assert!(told[0].report().to_string().contains("help: `adopt`"), "{}", told[0].report());
    assert!(told[1].report().to_string().contains("help: `Pool::remove_adapter`"), "{}", told[1].report());
    // A deferred procedure frees what the hook wrote down, and removes the adapters.
    // SAFETY: nobody holds the block: its drop was told.
    assert_eq!(unsafe { pool.free(id, address) }, Status::SUCCESS);
    assert_eq!(pool.remove_adapter(id).unwrap().blocks(), 0);
    assert_eq!(pool.remove_adapter(other).unwrap().blocks(), 0);
    assert_eq!(pool.remove_adapter(third).unwrap().blocks(), 0);
    assert!(heard.lock().unwrap().is_empty());
}

/// A hook that holds the adapter weakly, and a worker that takes back what the hook was told.
#[test]
fn a_hook_may_hold_an_adapter_weakly() {
    let pool = pool();
    let adapter = pool.adapter_owned("disk0").unwrap();
    let weak = adapter.downgrade();
    let lost = Arc::new(AtomicU64::new(0));
    let (hook, to) = (weak.clone(), Arc::clone(&lost));
    pool.on_violation(move |violation| {
        let its = hook.upgrade().is_some_and(|adapter| adapter.id() == violation.caller);
        to.store(if its { violation.address } else { 0 }, Ordering::Relaxed);
    });
    let block = adapter.allocate(100, tag!("Srb0")).unwrap();
    {
        let _in_handler = Irql::raise(Irql::DEVICE);
        drop(block);
    }
    // SAFETY: nobody holds it: its drop was told.
    assert!(unsafe { adapter.adopt(lost.load(Ordering::Relaxed)) }.is_some());
    let gone = Arc::downgrade(&pool);
    drop((adapter, pool));
    assert!(weak.upgrade().is_none() && gone.upgrade().is_none());
}
