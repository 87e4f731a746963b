//! What a debugger asks of a pool: one block, one page, the blocks of a tag; and whether all is well. Of a pool at rest, of
//! one that is in use, and of its metadata as bytes.

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::*;
use storport_pool::{
    AdapterId, BlockDetail, BlockState, CheckReport, Config, Dump, ImageError, Platform, Pool, PoolOptions,
    PoolTag, TagPattern, tag,
};

on_every_platform!(
    pages_of_a_slab,
    pages_of_runs_and_spans,
    every_block_is_in_one_place,
    an_image_says_the_same,
    blocks_of_a_tag,
    blocks_of_a_tag_under_load,
    a_check_under_load,
);

/// Spans of one page, and of sixteen.
const POOLS: [u64; 2] = [1 << 20, 32 << 20];

fn options(bytes: u64) -> PoolOptions {
    PoolOptions::new(bytes).cpus(2).accounts(64).adapters(8)
}

fn page<P: Platform>(pool: &Pool<P>, address: u64) -> Vec<BlockDetail> {
    let mut blocks = Vec::new();
    assert_eq!(pool.inspect_page(address, |block| blocks.push(block)), Some(address & !0xFFF));
    blocks
}

fn all_tags() -> TagPattern {
    TagPattern::new("*").unwrap()
}

/// A page of 85 blocks of 48 bytes, the last sixteen bytes of which are no block's: each block in turn in each place.
fn pages_of_a_slab<W: Way>() {
    for bytes in POOLS {
        let pool = W::build(options(bytes));
        let id = pool.add_adapter("disk").unwrap();
        W::go_to_cpu(0);
        let held: Vec<u64> = (0..1500).map(|_| alloc(&pool, id, 40).unwrap()).collect();
        let of_page = held[0] & !0xFFF;
        let blocks = page(&pool, of_page + 0x800);
        assert_eq!(blocks.len(), 85);
        for (n, block) in blocks.iter().enumerate() {
            assert_eq!((block.address, block.capacity), (of_page + 48 * n as u64, 48));
            assert_eq!(pool.inspect_block(block.address), Some(*block));
            assert_eq!(pool.inspect_block(block.address + 47), Some(*block));
            if held.contains(&block.address) {
                assert_eq!((block.state, block.bytes), (BlockState::Live, 40));
                assert_eq!((block.owner, block.tag), (Some(id), Some(TAG)));
            } else {
                assert_ne!(block.state, BlockState::Live);
                assert_eq!((block.bytes, block.owner, block.tag), (0, None, None));
            }
        }
        assert_eq!(pool.inspect_block(of_page + 4080), None, "behind the last block of the page");
        let last = held[1499] & !0xFFF;
        let mut states: Vec<BlockState> = Vec::new();
        let span = if bytes < 8 << 20 { last } else { last & !0xFFFF };
        let pages = if bytes < 8 << 20 { 1 } else { 16 };
        (0..pages).for_each(|n| states.extend(page(&pool, span + n * 4096).iter().map(|block| block.state)));
        let carved = !states.contains(&BlockState::NeverCarved);
        assert!(states.contains(&BlockState::Live) && carved == (bytes < 8 << 20), "{states:?}");

        // Freed ones lie in the cache of their CPU, in its spare, and the rest in the depot.
        held.iter().for_each(|&block| must_free(&pool, id, block));
        let state = |block: u64| pool.inspect_block(block).unwrap().state;
        let mut count = BTreeMap::new();
        held.iter().for_each(|&block| *count.entry(state(block).to_string()).or_insert(0) += 1);
        let freed = pool.inspect_block(held[0]).unwrap();
        assert_eq!((freed.bytes, freed.owner, freed.tag), (40, Some(id), Some(TAG)));
        assert!(count.keys().any(|place| place.starts_with("cached: loaded by CPU ")), "{count:?}");
        assert!(count.keys().any(|place| place.starts_with("cached: spare of CPU ")), "{count:?}");
        assert!(count.contains_key("stock: depot"), "{count:?}");
        assert!(!count.contains_key("live") && !count.contains_key("in hand"), "{count:?}");

        // A trim takes all slabs but the one in which a block lives; that one's others are loose.
        let kept = alloc(&pool, id, 40).unwrap();
        pool.trim().unwrap();
        let blocks = page(&pool, kept);
        assert_eq!(blocks.len(), 85);
        for block in blocks {
            let at = block.address;
            let wanted = if at == kept { BlockState::Live } else { BlockState::Loose };
            assert!(
                block.state == wanted || block.state == BlockState::NeverCarved && at != kept,
                "{at:#x} {:?}",
                block.state
            );
        }
        assert!(page(&pool, kept).iter().any(|block| block.state == BlockState::Loose));
    }
}

/// A run's first page and its others, a run that is freed, spans that are free, in hand, or of larger blocks.
fn pages_of_runs_and_spans<W: Way>() {
    for bytes in POOLS {
        let pool = W::build(options(bytes));
        let id = pool.add_adapter("disk").unwrap();
        let (base, range) = pool.range();
        let span = if bytes < 8 << 20 { 4096 } else { 65536 };
        let run = alloc(&pool, id, 150_000).unwrap();
        let capacity = 150_000u64.next_multiple_of(span);
        for at in [0, 5, 4096, 100_000, capacity - 1] {
            let blocks = page(&pool, run + at);
            assert_eq!(blocks.len(), 1);
            let block = blocks[0];
            assert_eq!((block.address, block.capacity, block.bytes), (run, capacity, 150_000));
            assert_eq!((block.state, block.owner, block.tag), (BlockState::Live, Some(id), Some(TAG)));
            assert_eq!(pool.inspect_block(run + at), Some(block));
        }
        must_free(&pool, id, run);
        let freed = page(&pool, run + 100_000)[0];
        assert_eq!((freed.state, freed.bytes, freed.owner), (BlockState::FreedRun, 150_000, Some(id)));
        // Spans that a trim has in its hand.
        let mut seen = Vec::new();
        pool.trim_with(|address, bytes| {
            seen.push((page(&pool, address)[0], page(&pool, address + bytes - 1)[0]));
            true
        })
        .unwrap();
        assert!(!seen.is_empty());
        for (first, last) in seen {
            assert_eq!((first.state, first.capacity), (BlockState::InHand, span));
            assert_eq!((last.state, last.bytes, last.owner), (BlockState::InHand, 0, None));
        }
        let free = page(&pool, run + 100_000)[0];
        assert_eq!((free.state, free.capacity), (BlockState::FreeSpan, span));
        assert_eq!(free.address, (run + 100_000) / span * span);
        for outside in [0, base - 1, base + range, u64::MAX] {
            assert_eq!(pool.inspect_page(outside, |_| panic!("nothing lies there")), None);
            assert_eq!(pool.inspect_block(outside), None);
        }
        // Blocks of five pages: three fill fifteen pages of a span of sixteen, and the last page is no one's.
        if span == 65536 {
            let blocks: Vec<u64> = (0..3).map(|_| alloc(&pool, id, 20_000).unwrap()).collect();
            let first = blocks[0] & !0xFFFF;
            let mut visited = BTreeMap::new();
            for n in 0..16 {
                let at = first + n * 4096;
                let found = pool.inspect_page(at, |block| *visited.entry(block.address).or_insert(0) += 1);
                assert_eq!(found, Some(at));
            }
            assert_eq!(visited.values().collect::<Vec<_>>(), [&5, &5, &5]);
            assert_eq!(pool.inspect_block(first + 15 * 4096), None);
        }
    }
}

/// Allocates and frees, by a sequence of numbers.
fn work<W: Way>(pool: &Pool<W::P>, ids: &[AdapterId], seed: u64, rounds: u32) -> Vec<(AdapterId, u64)> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize
    };
    let tags = [tag!("Ahci"), tag!("Ahcj"), tag!("Scsi"), tag!("Sb")];
    let mut held = Vec::new();
    for _ in 0..rounds {
        W::go_to_cpu(next() as u32 % 2);
        if next() % 5 < 3 || held.is_empty() {
            let sizes = [16, 48, 100, 700, 1500, 4096, 10_000, 70_000];
            let id = ids[next() % ids.len()];
            if let Ok(address) = alloc_tag(pool, id, sizes[next() % 8], tags[next() % 4]) {
                held.push((id, address));
            }
        } else {
            let (id, address) = held.swap_remove(next() % held.len());
            must_free(pool, id, address);
        }
    }
    W::go_to_cpu(0);
    held
}

fn busy<W: Way>(bytes: u64) -> (Pool<W::P>, Vec<(AdapterId, u64)>) {
    let pool = W::build(options(bytes));
    let ids = ["disk", "tape", "gone"].map(|name| pool.add_adapter(name).unwrap());
    let mut held = work::<W>(&pool, &ids, bytes, 3000);
    pool.remove_adapter(ids[2]).unwrap();
    held.iter_mut().filter(|(id, _)| *id == ids[2]).for_each(|(id, _)| *id = AdapterId::ORPHANS);
    (pool, held)
}

/// All pages of the range, block by block.
fn all_blocks(base: u64, bytes: u64, look: impl Fn(u64, &mut dyn FnMut(BlockDetail))) -> Vec<BlockDetail> {
    let mut blocks = BTreeMap::new();
    for address in (base..base + bytes).step_by(4096) {
        look(address, &mut |block| {
            let before = blocks.insert(block.address, block);
            assert!(before.is_none_or(|before| before == block), "{before:?} {block:?}");
        });
    }
    blocks.into_values().collect()
}

/// What the pages show is what the check counts, and who has a block knows it.
fn every_block_is_in_one_place<W: Way>() {
    for bytes in POOLS {
        let (pool, held) = busy::<W>(bytes);
        for trimmed in [false, true] {
            if trimmed {
                pool.trim().unwrap();
            }
            let report = pool.check().unwrap();
            assert!(report.is_good() && report.findings.is_empty(), "{:?}", report.findings);
            assert!(report.settled && report.owners_settled);
            let (base, range) = pool.range();
            let span = if bytes < 8 << 20 { 4096 } else { 65536 };
            let blocks = all_blocks(base, range, |page, visit| {
                assert_eq!(pool.inspect_page(page, visit), Some(page));
            });
            let large = |block: &BlockDetail| block.capacity > max_slab(bytes).into();
            let count = |wanted: &dyn Fn(&BlockDetail) -> bool| {
                blocks.iter().filter(|block| wanted(block)).count() as u64
            };
            let small = |wanted: &dyn Fn(BlockState) -> bool| {
                count(&|block| !large(block) && wanted(block.state) && block.state != BlockState::FreeSpan)
            };
            let places = report.places;
            assert_eq!(places.live, small(&|state| state == BlockState::Live));
            assert_eq!(places.loaded, small(&|state| matches!(state, BlockState::Loaded { .. })));
            assert_eq!(places.spare, small(&|state| matches!(state, BlockState::Spare { .. })));
            assert_eq!(places.depot, small(&|state| state == BlockState::Depot));
            assert_eq!(places.loose, small(&|state| state == BlockState::Loose));
            assert_eq!(places.never_carved, small(&|state| state == BlockState::NeverCarved));
            assert_eq!((places.in_hand, small(&|state| state == BlockState::InHand)), (0, 0));
            assert_eq!(places.blocks, small(&|_| true));
            assert_eq!(places.free_spans, count(&|block| block.state == BlockState::FreeSpan));
            assert_eq!(places.freed_runs, count(&|block| block.state == BlockState::FreedRun));
            assert_eq!(places.live_runs, count(&|block| large(block) && block.state == BlockState::Live));
            assert_eq!((places.runs_in_hand, places.spans_in_hand), (0, 0));
            let spans = places.slab_spans + places.run_spans + places.free_spans;
            assert_eq!((spans, places.spans), (range / span, range / span));
            assert_eq!(places.live + places.live_runs, held.len() as u64);
            for &(id, address) in &held {
                let block = pool.inspect_block(address).unwrap();
                assert_eq!((block.address, block.state, block.owner), (address, BlockState::Live, Some(id)));
            }
        }
    }
}

/// A saved pool's image is looked at as the pool itself.
fn an_image_says_the_same<W: Way>() {
    for bytes in POOLS {
        let (mut pool, _) = busy::<W>(bytes);
        let dump = Dump::of_image(&pool.save()).unwrap();
        says_the_same(&pool, &dump);
    }
}

fn says_the_same<P: Platform>(pool: &Pool<P>, dump: &Dump) {
    assert_eq!(dump.range(), pool.range());
    assert_eq!(*dump.check(), pool.check().unwrap());
    assert_eq!(dump.adapters(), pool.adapters());
    let usage = |usage: storport_pool::Usage| format!("{usage:?}");
    assert_eq!(usage(dump.usage()), usage(pool.usage()));
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    dump.for_each_tag(|row| theirs.push(row));
    pool.for_each_tag(|row| ours.push(row));
    assert!(theirs == ours && ours.len() == 4);
    let (base, range) = pool.range();
    let ours = all_blocks(base, range, |page, visit| assert_eq!(pool.inspect_page(page, visit), Some(page)));
    let theirs =
        all_blocks(base, range, |page, visit| assert_eq!(dump.inspect_page(page, visit), Some(page)));
    assert!(theirs == ours && !ours.is_empty());
    for block in &ours {
        assert_eq!(dump.inspect_block(block.address), Some(*block));
    }
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    let pattern = TagPattern::new("Ah*").unwrap();
    let found = dump.for_each_block_of(pattern, |block| theirs.push(block));
    assert_eq!(found, pool.for_each_block_of(pattern, |block| ours.push(block)));
    assert!(theirs == ours && found > 0);
}

/// Metadata as it lies in memory, with other things around it.
#[test]
fn memory_says_the_same() {
    for bytes in POOLS {
        let config = Config::new(0x7000_0000_0000, bytes).cpus(2).accounts(64).adapters(8);
        let memory = Memory::new(&config);
        // SAFETY: the metadata outlives the pool, and nobody else uses it.
        let pool = unsafe { Pool::new_in(&config, memory.bytes(), SimPortable::platform()) }.unwrap();
        let ids = ["disk", "tape"].map(|name| pool.add_adapter(name).unwrap());
        work::<SimPortable>(&pool, &ids, 5, 3000);
        let raw = |before: usize, behind: usize| {
            let mut copy = vec![0xA5; before];
            // SAFETY: nobody writes to it meanwhile.
            copy.extend_from_slice(unsafe { memory.bytes().as_ref() });
            copy.resize(copy.len() + behind, 0x5A);
            copy
        };
        let whole = raw(0, 0);
        says_the_same(&pool, &Dump::of_memory(&whole).unwrap());
        says_the_same(&pool, &Dump::of_memory(&raw(3 * 4096, 777)).unwrap());
        // Where the control block is: the extent leads to the same bytes.
        let extents: Vec<_> = (0..whole.len())
            .step_by(4096)
            .filter_map(|at| Some((at, Dump::extent_at(&whole[at..])?)))
            .collect();
        let (at, extent) = extents[0];
        assert_eq!(extents.len(), 1);
        assert_eq!((extent.before, extent.before + extent.from), (at, whole.len()));
        assert_eq!(extent.range, pool.range());

        // Cut, moved or changed, it is none.
        let refused = |bytes: &[u8]| matches!(Dump::of_memory(bytes), Err(ImageError::NoMetadata));
        assert!(refused(&[]) && refused(&whole[..whole.len() - 1]) && refused(&whole[4096..]));
        assert!(refused(&raw(16, 0)) && refused(&vec![0; 1 << 20]) && refused(&vec![0xFF; 1 << 20]));
        // Each word of the geometry counts. Where it lies is the library's, so each word of the control block is tried.
        let mut counted = 0;
        let mut changed = whole.clone();
        for word in (at..at + 12_288).step_by(8) {
            changed[word] ^= 1;
            counted += u32::from(refused(&changed));
            changed[word] ^= 1;
        }
        assert!(counted > 25, "{counted}");
        assert!(matches!(Dump::of_image(&whole), Err(ImageError::NoImage)));
        work::<SimPortable>(&pool, &ids, 6, 0);
    }
}

/// Blocks of a tag: those that were allocated with it, in order, and no others.
fn blocks_of_a_tag<W: Way>() {
    for bytes in POOLS {
        let pool = W::build(options(bytes));
        let id = pool.add_adapter("disk").unwrap();
        let mut held: BTreeMap<u64, (u32, PoolTag)> = BTreeMap::new();
        for (n, tag) in
            [tag!("Ahci"), tag!("Ahcj"), tag!("Sc"), tag!("*")].into_iter().cycle().take(40).enumerate()
        {
            let bytes = [16, 48, 4000, 50_000][n / 4 % 4];
            held.insert(alloc_tag(&pool, id, bytes, tag).unwrap(), (bytes, tag));
        }
        for (pattern, wanted) in [
            ("Ahci", &[tag!("Ahci")][..]),
            ("Ahc?", &[tag!("Ahci"), tag!("Ahcj")]),
            ("Sc", &[tag!("Sc")]),
            ("?", &[tag!("*")]),
            ("None", &[]),
            ("*", &[tag!("Ahci"), tag!("Ahcj"), tag!("Sc"), tag!("*")]),
        ] {
            let mut found = Vec::new();
            let count = pool.for_each_block_of(TagPattern::new(pattern).unwrap(), |block| {
                assert!(block.live && block.owner == id);
                found.push((block.address, (block.bytes, block.tag.unwrap())));
            });
            let wanted: Vec<_> =
                held.iter().filter(|(_, (_, tag))| wanted.contains(tag)).map(|(&a, &b)| (a, b)).collect();
            assert!(found == wanted && count == found.len() as u64, "{pattern}");
        }
    }
}

/// Threads that allocate and free until `look` has had enough.
fn under_load<W: Way>(pool: &Pool<W::P>, look: impl FnOnce(&[(AdapterId, u64)], &AtomicU64)) {
    let id = pool.add_adapter("loud").unwrap();
    let quiet = pool.add_adapter("quiet").unwrap();
    let kept: Vec<_> =
        (0..100).map(|n| (quiet, alloc_tag(pool, quiet, 16 + n * 30, tag!("Kept")).unwrap())).collect();
    let (stop, calls) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|cpu| {
                let (stop, calls) = (&stop, &calls);
                scope.spawn(move || {
                    let mut seed = u64::from(cpu);
                    while !stop.load(Ordering::Relaxed) {
                        seed += 3;
                        W::go_to_cpu(cpu % 2);
                        for (owner, block) in work::<W>(pool, &[id], seed, 200) {
                            must_free(pool, owner, block);
                        }
                        if seed % 30 < 3 {
                            let _ = pool.trim();
                            if let Ok(short) = pool.add_adapter("short") {
                                let _ = alloc_tag(pool, short, 100, tag!("Shrt"));
                                // SAFETY: nobody uses its block.
                                unsafe { pool.release_adapter(short) }.unwrap();
                            }
                        }
                        calls.fetch_add(200, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        // Also when a look fails, the threads end.
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let end = End(&stop);
        look(&kept, &calls);
        drop(end);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    });
}

/// What lives all the while is visited, each once; what comes and goes is told as it was.
fn blocks_of_a_tag_under_load<W: Way>() {
    for bytes in POOLS {
        let pool = W::build(options(bytes));
        under_load::<W>(&pool, |kept, calls| {
            while calls.load(Ordering::Relaxed) < 8000 {
                let mut found = Vec::new();
                pool.for_each_block_of(TagPattern::new("K?pt").unwrap(), |block| found.push(block.address));
                let mut wanted: Vec<u64> = kept.iter().map(|&(_, block)| block).collect();
                wanted.sort_unstable();
                assert_eq!(found, wanted);
                pool.for_each_block_of(all_tags(), |block| {
                    let known = [16, 48, 100, 700, 1500, 4096, 10_000, 70_000];
                    let tag = block.tag.map_or(String::new(), |tag| tag.to_string());
                    match tag.as_str() {
                        "Kept" => assert!((block.bytes - 16) % 30 == 0 && block.owner == kept[0].0),
                        "Shrt" => assert_eq!(block.bytes, 100),
                        "Ahci" | "Ahcj" | "Scsi" | "Sb  " => assert!(known.contains(&block.bytes)),
                        other => assert_eq!(other, "", "{block:?}"),
                    }
                    assert!(block.live && block.capacity >= block.bytes.into(), "{block:?}");
                });
                for &(_, block) in kept {
                    assert_eq!(pool.inspect_block(block).unwrap().state, BlockState::Live);
                    page(&pool, block);
                }
            }
        });
        let report = pool.check().unwrap();
        assert!(report.is_good() && report.settled, "{:?}", report.findings);
    }
}

/// No false alarm, however often it looks, whether the pool stands still for it or not; and exact afterwards.
fn a_check_under_load<W: Way>() {
    for bytes in POOLS {
        let pool = W::build(options(bytes));
        let mut moved = 0;
        under_load::<W>(&pool, |_, calls| {
            let mut rounds = 0;
            while calls.load(Ordering::Relaxed) < 8000 || rounds < 10 || moved == 0 && rounds < 50_000 {
                let report = pool.check().unwrap();
                assert!(report.is_good() && report.findings.is_empty(), "{:?}", report.findings);
                moved += u32::from(!report.settled);
                rounds += 1;
            }
        });
        assert!(moved > 0, "whatever moved, the pool stood still");
        let CheckReport { places, settled, owners_settled, .. } = pool.check().unwrap();
        assert!(settled && owners_settled);
        assert_eq!((places.live + places.live_runs, places.in_hand), (100, 0));
    }
}

/// In a child, what the parent's other threads had in hand is in hand for ever; the rest is as it was.
#[test]
#[cfg(all(target_os = "linux", not(storport_pool_steps)))]
fn a_check_after_a_fork() {
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};
    for bytes in POOLS {
        let pool = Rseq::build(options(bytes));
        under_load::<Rseq>(&pool, |kept, calls| {
            for _ in 0..20 {
                let before = calls.load(Ordering::Relaxed);
                while calls.load(Ordering::Relaxed) == before {
                    std::hint::spin_loop();
                }
                // SAFETY: the child looks and exits. The allocator is the system's, which survives a fork.
                match unsafe { fork() }.unwrap() {
                    ForkResult::Child => {
                        let good = pool.check().is_ok_and(|report| {
                            report.is_good() && report.settled && report.places.in_hand < 5000
                        });
                        let found = kept.iter().all(|&(_, block)| {
                            pool.inspect_block(block).is_some_and(|block| block.state == BlockState::Live)
                        });
                        // SAFETY: ends the child, whatever its locks are.
                        unsafe { nix::libc::_exit(if good && found { 42 } else { 1 }) }
                    }
                    ForkResult::Parent { child } => {
                        let ended = waitpid(child, None).unwrap();
                        assert!(matches!(ended, WaitStatus::Exited(_, 42)), "{ended:?}");
                    }
                }
            }
        });
    }
}
