//! Verified blocks are the pool's as any others: removed, counted, resized, saved, inspected, recorded.

use crate::bench::{Bench, write};
use storport_pool::{
    AdapterId, BlockState, Commit, Guard, Image, Rule, Status, TagPattern, TraceItem, TraceKind, TraceReader,
    VerifierOptions, ViolationKind, tag,
};

/// A removal tells the verified blocks as any others, and what is left is freed as what adapters left.
#[test]
fn a_removal_counts_verified_blocks() {
    for (rule, release) in [Rule::new().all_checks(), Rule::new().track(), Rule::new().canary()]
        .into_iter()
        .flat_map(|rule| [(rule, false), (rule, true)])
    {
        let bench = Bench::with(rule);
        let kept: Vec<u64> = (1..=20).map(|n| bench.allocate(n * 300 + 1)).collect();
        let removal = if release {
            // SAFETY: nobody uses the blocks.
            unsafe { bench.pool.release_adapter(bench.disk).unwrap() }
        } else {
            bench.pool.remove_adapter(bench.disk).unwrap()
        };
        assert_eq!((removal.blocks(), removal.bytes(), removal.exact), (20, 300 * 210 + 20, true));
        assert_eq!(bench.one().kind, ViolationKind::Leak);
        let live = bench.pool.snapshot().tags[0].totals.live;
        assert_eq!(live, if release { 0 } else { 20 });
        if !release {
            write(kept[3] + 1201, b"!");
            for block in kept {
                // SAFETY: nobody uses the block.
                assert_eq!(unsafe { bench.pool.free(AdapterId::ORPHANS, block) }, Status::SUCCESS);
            }
            let told: Vec<_> = bench.heard().iter().map(|told| told.kind).collect();
            // Without a canary nobody can tell.
            assert_eq!(told.len(), usize::from(rule != Rule::new().track()), "{told:?}");
        }
        bench.all_is_free();
    }
}

/// Memory in quarantine, or behind guard pages, is no reason to be out of memory.
#[test]
fn the_verifier_is_no_reason_to_be_out_of_memory() {
    // With guard pages, a block has three pages, or a span of 64 KiB; in the last eighth of the range, two.
    for (bytes, rule, least) in [
        (1 << 20, Rule::new().all_checks(), 90),
        (1 << 20, Rule::new().quarantine(), 255),
        (64 << 10, Rule::new().all_checks(), 5),
        (16 << 20, Rule::new().all_checks(), 400),
    ] {
        let bench = Bench::new(bytes, Commit::Auto);
        bench.pool.verifier(VerifierOptions::new().quarantine(1 << 12)).unwrap().add(rule).unwrap();
        for round in 0..3 {
            let mut blocks = vec![];
            while let Ok(block) = bench.try_allocate(4096, tag!("Fill")) {
                blocks.push(block);
            }
            assert!(blocks.len() >= least, "{round}: {} of {bytes}", blocks.len());
            blocks.into_iter().for_each(|block| bench.free(block));
        }
        // Another adapter, which no rule is for, gets what waits.
        let other = bench.pool.add_adapter("disk1").unwrap();
        bench.pool.attached().unwrap().add(Rule::new().adapter(other).irql()).unwrap();
        let mut all = 0;
        let most = (bytes - 4096) as u32;
        assert_eq!(bench.pool.allocate(other, most, tag!("All!"), Some(&mut all)), Status::SUCCESS);
        // SAFETY: nobody uses it.
        assert_eq!(unsafe { bench.pool.free(other, all) }, Status::SUCCESS);
        assert_eq!(bench.heard(), []);
        bench.all_is_free();
    }
}

#[test]
fn resize_stays_inside_of_what_is_checked() {
    let bench = Bench::with(Rule::new().canary());
    let block = bench.allocate(100);
    assert_eq!(bench.pool.block_at(block).unwrap().capacity, 100);
    assert_eq!(bench.pool.resize(bench.disk, block, 101), Status::INSUFFICIENT_RESOURCES);
    assert_eq!(bench.pool.resize(bench.disk, block, 50), Status::SUCCESS);
    assert_eq!(bench.pool.resize(bench.disk, block, 100), Status::SUCCESS);
    bench.free(block);
    let mut aligned = 0;
    assert_eq!(
        bench.pool.allocate_aligned(bench.disk, 100, 64, tag!("Algn"), Some(&mut aligned)),
        Status::SUCCESS
    );
    assert_eq!(aligned % 64, 0);
    bench.free(aligned);
    for alignment in [256, 4096, 65_536] {
        let status =
            bench.pool.allocate_aligned(bench.disk, 5000, alignment, tag!("Algn"), Some(&mut aligned));
        assert_eq!((status, aligned % u64::from(alignment)), (Status::SUCCESS, 0));
        bench.free(aligned);
    }
    assert_eq!(bench.heard(), []);
    bench.all_is_free();
}

/// A pool that is restored has no notes of what is no more.
#[test]
fn an_image_has_verified_blocks_as_any_others() {
    let mut bench = Bench::with(Rule::new().guard(Guard::After));
    let blocks: Vec<u64> = (1..=10).map(|n| bench.allocate(n * 700)).collect();
    let bytes = bench.pool.save();
    let image = Image::read(&bytes).unwrap();
    blocks.iter().for_each(|&block| bench.free(block));
    for _ in 0..3 {
        bench.pool.restore(&image).unwrap();
        for (n, &block) in (1u32..).zip(&blocks) {
            let found = bench.pool.block_at(block).unwrap();
            assert_eq!(
                (found.address, found.bytes, found.live, found.owner),
                (block, n * 700, true, bench.disk)
            );
            write(block, &vec![1; n as usize * 700]);
            bench.free(block);
        }
        let again = bench.allocate(100);
        assert!(bench.pool.block_at(again).unwrap().live);
        bench.free(again);
    }
    assert_eq!(bench.heard(), []);
    bench.all_is_free();
}

/// What is recorded is what was called, in an order in which it can be called again.
#[test]
fn calls_are_recorded_while_they_are_made() {
    let bench = Bench::new(64 << 20, Commit::Auto);
    let other = bench.pool.add_adapter("disk1").unwrap();
    let early = bench.allocate(64);
    let path = std::env::temp_dir().join(format!("storport-pool-recording-{}", std::process::id()));
    let verifier = bench.pool.verifier(VerifierOptions::new()).unwrap();
    let recording =
        verifier.record(Rule::new().adapter(bench.disk), std::fs::File::create(&path).unwrap()).unwrap();
    assert!(verifier.record(Rule::new(), Vec::new()).is_err(), "one at a time");
    bench.free(early);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let bench = &bench;
            scope.spawn(move || {
                for n in 0..500 {
                    let block = bench.try_allocate(1 + n + thread * 1000, tag!("Reco")).unwrap();
                    bench.free(block);
                }
            });
        }
    });
    let mut block = 0;
    assert_eq!(bench.pool.allocate(other, 64, tag!("Reco"), Some(&mut block)), Status::SUCCESS);
    let counts = recording.finish().unwrap();
    bench.free(bench.allocate(64));
    assert_eq!((counts.events, counts.dropped), (3000, 0));
    let mut events: Vec<_> = TraceReader::new(std::fs::File::open(&path).unwrap())
        .unwrap()
        .map(|item| match item {
            TraceItem::Event(event) => event,
            TraceItem::Dropped { .. } => panic!("nothing was dropped"),
            _ => panic!("no other item"),
        })
        .collect();
    std::fs::remove_file(path).unwrap();
    events.sort_by_key(|event| event.time);
    let mut live = std::collections::BTreeMap::new();
    let mut threads = std::collections::BTreeSet::new();
    for event in &events {
        assert_eq!((event.status, event.adapter), (Status::SUCCESS, bench.disk));
        threads.insert(event.thread);
        match event.kind {
            TraceKind::Allocate => {
                assert_eq!(event.tag, tag!("Reco"));
                assert_eq!(live.insert(event.address, event.bytes), None);
            }
            TraceKind::Free => assert!(live.remove(&event.address).is_some()),
            kind => panic!("{kind:?}"),
        }
    }
    assert_eq!((live.len(), threads.len()), (0, 3));
    assert_eq!(bench.heard(), []);
}

/// A debugger sees verified blocks where they are.
#[test]
fn inspection_knows_verified_blocks() {
    for rule in [Rule::new().canary().quarantine(), Rule::new().guard(Guard::After)] {
        let bench = Bench::with(rule);
        let block = bench.allocate(100);
        let state = |state| {
            let found = bench.pool.inspect_block(block).unwrap();
            assert_eq!(
                (found.address, found.bytes, found.state, found.owner),
                (block, 100, state, Some(bench.disk))
            );
            assert!(bench.pool.check().unwrap().is_good());
        };
        state(BlockState::Live);
        assert_eq!(bench.pool.for_each_block_of(TagPattern::new("Srb?").unwrap(), |_| ()), 1);
        bench.free(block);
        state(BlockState::Quarantined);
        bench.all_is_free();
    }
}
