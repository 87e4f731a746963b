//! The safe layer: adapters that remove themselves, blocks that free themselves.

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::Mutex;

use storport_pool::{Irql, Pool, PoolOptions, SingleCpu, Status, ViolationKind, tag};

#[test]
fn a_block_is_freed_when_dropped() {
    let pool = Pool::new(1 << 20).unwrap();
    let disk = pool.adapter("disk0").unwrap();
    let mut block = disk.allocate(208, tag!("VioS")).unwrap();
    assert_eq!((block.len(), block.address() % 16), (208, 0));
    assert!(block.fill(0xA5));
    let memory = block.memory().unwrap();
    assert_eq!(memory.len(), 208);
    // SAFETY: all of it was just filled.
    assert!(memory.iter().all(|byte: &MaybeUninit<u8>| unsafe { byte.assume_init() } == 0xA5));
    assert_eq!(pool.snapshot().tags[0].totals.live, 1);
    drop(block);
    assert_eq!(pool.snapshot().tags[0].totals.live, 0);
}

#[test]
fn failures_are_statuses() {
    let pool = Pool::new(1 << 20).unwrap();
    let disk = pool.adapter("disk0").unwrap();
    assert_eq!(disk.allocate(0, tag!("VioS")).unwrap_err(), Status::INVALID_PARAMETER);
    assert_eq!(disk.allocate(2 << 20, tag!("VioS")).unwrap_err(), Status::INSUFFICIENT_RESOURCES);
    let _guard = Irql::raise(Irql::DEVICE);
    assert_eq!(disk.allocate(16, tag!("VioS")).unwrap_err(), Status::INVALID_IRQL);
}

#[test]
fn many_at_once() {
    let pool = Pool::new(1 << 20).unwrap();
    let (disk, tape) = (pool.adapter("disk0").unwrap(), pool.adapter("tape0").unwrap());
    let live = || pool.snapshot().tags.iter().map(|row| row.totals.live).sum::<u64>();
    let blocks: [_; 40] = disk.allocate_bulk(208, tag!("VioS")).unwrap();
    assert_eq!(live(), 40);
    assert_eq!(disk.free_bulk(blocks), 40);
    // Dropped, each frees itself; another adapter's are freed in its name.
    drop(disk.allocate_bulk::<3>(64, tag!("VioS")).unwrap());
    let theirs: [_; 2] = tape.allocate_bulk(64, tag!("Tape")).unwrap();
    assert_eq!((live(), disk.free_bulk(theirs), live()), (2, 2, 0));
    assert_eq!(disk.allocate_bulk::<2>(2 << 20, tag!("VioS")).unwrap_err(), Status::INSUFFICIENT_RESOURCES);
    // Refused, they stay, as they do when they are dropped there, and each is told.
    let blocks: [_; 4] = disk.allocate_bulk(64, tag!("VioS")).unwrap();
    let guard = Irql::raise(Irql::DEVICE);
    assert_eq!(disk.free_bulk(blocks), 0);
    drop(guard);
    assert_eq!((live(), pool.violations()), (4, 4));
}

#[test]
fn blocks_may_be_freed_on_another_thread() {
    let pool = Pool::new(1 << 20).unwrap();
    let disk = pool.adapter("disk0").unwrap();
    std::thread::scope(|scope| {
        for block in (0..100).map(|_| disk.allocate(64, tag!("Srb0")).unwrap()) {
            scope.spawn(move || drop(block));
        }
    });
    assert_eq!(pool.snapshot().tags[0].totals.live, 0);
}

#[test]
fn a_dropped_adapter_reports_what_was_leaked_on_purpose() {
    let pool = Pool::new(1 << 20).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&heard);
    pool.on_violation(move |violation| hook.lock().unwrap().push(*violation));
    let disk = pool.adapter("disk0").unwrap();
    let id = disk.id();
    let address = disk.allocate(100, tag!("Leak")).unwrap().into_address();
    drop(disk);
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 1);
    assert_eq!((heard[0].kind, heard[0].blocks, heard[0].bytes), (ViolationKind::Leak, 1, 100));
    assert_eq!(heard[0].owner, Some(id));
    // SAFETY: the block was given up.
    assert_eq!(unsafe { pool.free(id, address) }, Status::INVALID_PARAMETER);
}

#[test]
fn a_range_that_the_pool_did_not_make_has_no_memory_to_give() {
    let config = storport_pool::Config::new(0x8000_0000, 1 << 20).min_block(64).accounts(16);
    let bytes = config.metadata_bytes().unwrap();
    let mut memory = vec![0u8; bytes + 4096];
    let start = memory.as_mut_ptr().map_addr(|address| address.next_multiple_of(4096));
    let metadata = std::ptr::NonNull::slice_from_raw_parts(std::ptr::NonNull::new(start).unwrap(), bytes);
    // SAFETY: zeroed, aligned, used by nothing else, and it outlives the pool.
    let pool = unsafe { Pool::new_in(&config, metadata, storport_pool::Portable::new(SingleCpu)) }.unwrap();
    let guest = pool.adapter("guest").unwrap();
    let mut block = guest.allocate(64, tag!("Gst0")).unwrap();
    assert!(block.address() >= 0x8000_0000 && block.memory().is_none() && !block.fill(0));
    drop(block);
    drop(guest);
    drop(pool);
    drop(memory);
}

#[test]
fn adapters_come_back() {
    let pool = PoolOptions::new(1 << 20).adapters(1).build().unwrap();
    for _ in 0..10 {
        let only = pool.adapter("only").unwrap();
        assert!(pool.adapter("second").is_err());
        drop(only.allocate(16, tag!("Only")).unwrap());
    }
}
