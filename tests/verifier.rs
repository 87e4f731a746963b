//! The verifier: what it finds, what it leaves alone, and that its blocks are the pool's as any others.

#![cfg(feature = "verifier")]

mod common;

use std::sync::{Arc, Mutex};

use storport_pool::{
    AdapterId, Commit, Guard, Irql, LowResources, Native, Pool, PoolOptions, PoolTag, Rule, StackKind,
    Status, TagPattern, VerifierError, VerifierOptions, Violation, ViolationKind, tag,
};

struct Bench {
    pool: Pool<Native>,
    disk: AdapterId,
    heard: Arc<Mutex<Vec<Violation>>>,
}

impl Bench {
    fn new(bytes: u64, commit: Commit) -> Bench {
        let pool = PoolOptions::new(bytes).cpus(4).commit(commit).build().unwrap();
        let disk = pool.add_adapter("disk0").unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = Arc::clone(&heard);
        pool.on_violation(move |violation| ears.lock().unwrap().push(*violation));
        Bench { pool, disk, heard }
    }

    fn with(rule: Rule) -> Bench {
        let bench = Bench::new(64 << 20, Commit::Auto);
        bench.pool.verifier(VerifierOptions::new()).unwrap().add(rule).unwrap();
        bench
    }

    fn allocate(&self, bytes: u32) -> u64 {
        self.try_allocate(bytes, tag!("Srb0")).unwrap()
    }

    fn try_allocate(&self, bytes: u32, tag: PoolTag) -> Result<u64, Status> {
        let mut block = 0;
        self.pool.allocate(self.disk, bytes, tag, Some(&mut block)).ok().map(|()| block)
    }

    #[track_caller]
    fn free(&self, block: u64) {
        // SAFETY: nobody uses the block, but where a test says so.
        assert_eq!(unsafe { self.pool.free(self.disk, block) }, Status::SUCCESS);
    }

    fn heard(&self) -> Vec<Violation> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }

    /// The one violation that was heard.
    #[track_caller]
    fn one(&self) -> Violation {
        let heard = self.heard();
        assert_eq!(heard.len(), 1, "{:?}", heard.iter().map(|violation| violation.kind).collect::<Vec<_>>());
        heard[0]
    }

    /// Nothing is lost: all of the range is free again.
    #[track_caller]
    fn all_is_free(&self) {
        if let Some(verifier) = self.pool.attached() {
            verifier.sweep();
        }
        self.pool.trim().unwrap();
        let snapshot = self.pool.snapshot();
        assert_eq!(snapshot.free_bytes, snapshot.range_bytes);
    }
}

fn write(address: u64, bytes: &[u8]) {
    // SAFETY: memory of the pool's, which nobody else uses.
    unsafe { (address as *mut u8).copy_from(bytes.as_ptr(), bytes.len()) };
}

const SIZES: [u32; 12] = [1, 16, 17, 100, 112, 2048, 4080, 4096, 4097, 10_000, 32_768, 100_000];

/// Each way of checking, at each size: a good free is told nobody, and nothing is lost.
#[test]
fn good_calls_are_told_nobody() {
    for rule in [
        Rule::new().track(),
        Rule::new().canary(),
        Rule::new().quarantine(),
        Rule::new().guard(Guard::After),
        Rule::new().guard(Guard::Before),
        Rule::new().all_checks(),
    ] {
        for (size, commit) in
            [(64 << 20, Commit::Auto), (64 << 20, Commit::Portable), (1 << 20, Commit::Auto)]
        {
            let bench = Bench::new(size, commit);
            bench.pool.verifier(VerifierOptions::new()).unwrap().add(rule).unwrap();
            for bytes in SIZES.into_iter().filter(|&bytes| u64::from(bytes) * 8 < size) {
                let block = bench.allocate(bytes);
                assert_eq!(block % 16, 0);
                assert!(bytes < 4096 || block.is_multiple_of(4096), "{bytes}");
                assert!(bytes > 4096 || block / 4096 == (block + u64::from(bytes) - 1) / 4096, "{bytes}");
                write(block, &vec![7; bytes as usize]);
                let found = bench.pool.block_at(block + u64::from(bytes) - 1).unwrap();
                assert_eq!((found.address, found.bytes, found.live), (block, bytes, true));
                assert_eq!((found.owner, found.tag), (bench.disk, Some(tag!("Srb0"))));
                let snapshot = bench.pool.snapshot();
                assert_eq!(
                    (snapshot.tags[0].totals.live, snapshot.tags[0].totals.bytes_requested),
                    (1, bytes.into())
                );
                bench.free(block);
                assert_eq!(bench.pool.snapshot().tags[0].totals.live, 0);
            }
            assert_eq!(bench.heard(), []);
            bench.all_is_free();
        }
    }
}

#[test]
fn bytes_behind_a_block_are_found_at_free() {
    for rule in [Rule::new().canary().track(), Rule::new().guard(Guard::After)] {
        let bench = Bench::with(rule);
        for bytes in [1, 100, 4090, 5000, 70_001] {
            let block = bench.allocate(bytes);
            write(block + u64::from(bytes) + 2, b"AB");
            bench.free(block);
            let told = bench.one();
            assert_eq!((told.kind, told.address, told.bytes), (ViolationKind::Overrun, block, bytes.into()));
            assert_eq!((told.tag, told.owner), (Some(tag!("Srb0")), Some(bench.disk)));
            let evidence = told.evidence.unwrap();
            assert_eq!(evidence.address, block + u64::from(bytes) + 2);
            assert_eq!(evidence.bytes()[..2], *b"AB");
            assert!(evidence.bytes()[2..].iter().all(|&byte| byte == evidence.expected));
            assert_eq!(told.allocated.kind(), StackKind::Taken);
            assert!(told.allocated.frames().len() > 3);
            assert_eq!(told.bug_check().code, if told.guarded { 0xC1 } else { 0x19 });
        }
    }
}

#[test]
fn bytes_before_a_guarded_block_are_found_at_free() {
    let bench = Bench::with(Rule::new().guard(Guard::After));
    let block = bench.allocate(100);
    write(block - 3, b"xyz");
    bench.free(block);
    let told = bench.one();
    assert_eq!((told.kind, told.evidence.unwrap().address), (ViolationKind::Underrun, block - 3));
    assert_eq!(told.evidence.unwrap().bytes(), b"xyz");
}

#[test]
fn writes_after_a_free_are_found_before_the_block_is_used_again() {
    let bench = Bench::with(Rule::new().canary().track().quarantine());
    let block = bench.allocate(100);
    bench.free(block);
    write(block + 40, b"late");
    assert_eq!(bench.heard(), []);
    let swept = bench.pool.attached().unwrap().sweep();
    assert_eq!((swept.overrun, swept.released, swept.written), (0, 1, 1));
    let told = bench.one();
    assert_eq!((told.kind, told.address), (ViolationKind::WriteAfterFree, block));
    assert_eq!(told.evidence.unwrap().address, block + 40);
    assert_eq!(told.evidence.unwrap().bytes()[..4], *b"late");
    assert_eq!((told.allocated.kind(), told.freed.kind()), (StackKind::Taken, StackKind::Taken));
    assert_ne!(told.allocated, told.freed);
    bench.all_is_free();
}

#[test]
fn a_double_free_tells_both_call_stacks() {
    for rule in [Rule::new().track(), Rule::new().all_checks(), Rule::new().quarantine().track()] {
        let bench = Bench::with(rule);
        let block = bench.allocate(100);
        bench.free(block);
        // SAFETY: it is refused.
        assert_eq!(unsafe { bench.pool.free(bench.disk, block) }, Status::INVALID_PARAMETER);
        let told = bench.one();
        assert_eq!(
            (told.kind, told.address, told.owner),
            (ViolationKind::DoubleFree, block, Some(bench.disk))
        );
        assert_eq!((told.allocated.kind(), told.freed.kind()), (StackKind::Taken, StackKind::Taken));
    }
}

#[test]
fn rules_are_for_their_adapter_and_tags_alone_and_can_be_switched() {
    let bench = Bench::new(64 << 20, Commit::Auto);
    let other = bench.pool.add_adapter("disk1").unwrap();
    let verifier = bench.pool.verifier(VerifierOptions::new()).unwrap();
    // Interned before the rule comes, or after.
    let early = bench.try_allocate(100, tag!("VioS")).unwrap();
    let rule = verifier
        .add(Rule::new().adapter(bench.disk).tags(TagPattern::new("Vio?").unwrap()).canary())
        .unwrap();
    for (n, tag) in [(1, tag!("VioS")), (2, tag!("VioX")), (2, tag!("Srb0"))] {
        let block = bench.try_allocate(100, tag).unwrap();
        assert_eq!(verifier.stats().verified, n, "{tag}");
        bench.free(block);
    }
    let mut block = 0;
    assert_eq!(bench.pool.allocate(other, 100, tag!("VioS"), Some(&mut block)), Status::SUCCESS);
    assert_eq!(verifier.stats().verified, 2);
    bench.free(early);
    assert_eq!(verifier.counts(rule).unwrap().seen, 2);
    let under = bench.try_allocate(100, tag!("VioS")).unwrap();
    verifier.remove(rule).unwrap();
    assert_eq!(verifier.remove(rule), Err(VerifierError::UnknownRule));
    let block = bench.try_allocate(100, tag!("VioS")).unwrap();
    assert_eq!(verifier.stats().verified, 3);
    write(under + 100, b"!");
    bench.free(under);
    assert_eq!(bench.one().kind, ViolationKind::Overrun);
    bench.free(block);
}

#[test]
fn bad_rules_are_refused() {
    let bench = Bench::new(64 << 20, Commit::Auto);
    let verifier = bench.pool.verifier(VerifierOptions::new()).unwrap();
    assert_eq!(verifier.add(Rule::new()), Err(VerifierError::EmptyRule));
    let gone = bench.pool.add_adapter("gone").unwrap();
    bench.pool.remove_adapter(gone).unwrap();
    assert_eq!(verifier.add(Rule::new().adapter(gone).track()), Err(VerifierError::UnknownAdapter));
    for _ in 0..32 {
        verifier.add(Rule::new().adapter(bench.disk).track()).unwrap();
    }
    assert_eq!(verifier.add(Rule::new().track()), Err(VerifierError::TooManyRules));
    // Rules of removed adapters make room.
    bench.pool.remove_adapter(bench.disk).unwrap();
    verifier.add(Rule::new().track()).unwrap();
}

#[test]
fn low_resources_refuse_what_they_say_and_the_same_again() {
    let run = || {
        let bench = Bench::new(64 << 20, Commit::Auto);
        let verifier = bench.pool.verifier(VerifierOptions::new()).unwrap();
        let low = LowResources::new().probability(2000).after(10).seed(5);
        let rule = verifier.add(Rule::new().low_resources(low)).unwrap();
        let refused: Vec<usize> =
            (0..500).filter(|_| bench.try_allocate(64, tag!("Srb0")).is_err()).collect();
        assert_eq!(verifier.counts(rule).unwrap().refused, refused.len() as u64);
        assert_eq!(verifier.stats().verified, 0);
        assert!((60..140).contains(&refused.len()) && refused[0] >= 10);
        refused
    };
    assert_eq!(run(), run());
    let bench = Bench::with(Rule::new().low_resources(LowResources::new().once_per_stack(true)));
    let rounds: Vec<_> = (0..3).map(|_| from_two_places(&bench)).collect();
    assert_eq!(rounds, [(true, true), (false, false), (false, false)]);
}

/// Whether an allocation from each of two places is refused. (Not inlined: a compiler that unrolls its caller's loop must not
/// make two places of one.)
#[inline(never)]
fn from_two_places(bench: &Bench) -> (bool, bool) {
    let one = bench.try_allocate(64, tag!("Srb0")).is_err();
    let other = bench.try_allocate(64, tag!("Srb0")).is_err();
    (one, other)
}

#[test]
fn irql_is_told_where_a_rule_says_so() {
    let bench = Bench::with(Rule::new().irql());
    let block = bench.allocate(100);
    {
        let _high = Irql::raise(Irql::new(3).unwrap());
        assert_eq!(bench.try_allocate(64, tag!("Srb0")), Err(Status::INVALID_IRQL));
        let told = bench.one();
        assert_eq!((told.kind, told.bytes, told.bug_check().code), (ViolationKind::IrqlAllocate, 64, 0xC2));
        // SAFETY: it is refused.
        assert_eq!(unsafe { bench.pool.free(bench.disk, block) }, Status::INVALID_IRQL);
        let told = bench.one();
        assert_eq!(
            (told.kind, told.address, told.bug_check().parameters[0]),
            (ViolationKind::IrqlFree, block, 9)
        );
    }
    bench.free(block);
}

#[test]
fn an_out_pointer_that_holds_a_live_block_is_told() {
    let bench = Bench::with(Rule::new().overwrite().track());
    let caller = bench.pool.caller(bench.disk);
    let allocate = |out: &mut u64| {
        // SAFETY: the pool lives.
        assert_eq!(unsafe { caller.allocate(100, tag!("Srb0"), out) }, Status::SUCCESS);
    };
    let mut out = 0;
    allocate(&mut out);
    let lost = out;
    assert_eq!(bench.heard(), []);
    allocate(&mut out);
    let told = bench.one();
    assert_eq!((told.kind, told.address, told.bytes), (ViolationKind::Overwritten, lost, 100));
    assert_eq!(told.allocated.kind(), StackKind::Taken);
    bench.free(lost);
    // What is stale is no block.
    let mut stale = lost;
    allocate(&mut stale);
    assert_eq!(bench.heard(), []);
    bench.free(out);
    bench.free(stale);
    bench.all_is_free();
}

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

/// While its adapter lives, what is set aside is the adapter's alone.
#[test]
fn nobody_else_frees_a_verified_block() {
    let bench = Bench::with(Rule::new().all_checks());
    let other = bench.pool.add_adapter("disk1").unwrap();
    let block = bench.allocate(100);
    for (caller, address, kind) in [
        (AdapterId::ORPHANS, block, ViolationKind::WrongOwner),
        (other, block, ViolationKind::WrongOwner),
        (bench.disk, block + 16, ViolationKind::Interior),
        (bench.disk, block - 16, ViolationKind::Interior),
        (bench.disk, block & !0xFFFF, ViolationKind::Interior),
    ] {
        // SAFETY: it is refused.
        assert_eq!(unsafe { bench.pool.free(caller, address) }, Status::INVALID_PARAMETER);
        let told = bench.one();
        assert_eq!((told.kind, told.address, told.owner), (kind, address, Some(bench.disk)));
        assert_eq!((told.block, told.bytes), (Some(block), 100));
    }
    bench.free(block);
    bench.all_is_free();
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
    let image = storport_pool::Image::read(&bytes).unwrap();
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

#[test]
fn samples_are_taken_at_most_as_often_as_was_said() {
    let bench = Bench::new(64 << 20, Commit::Auto);
    let verifier = bench.pool.verifier(VerifierOptions::new()).unwrap();
    assert!(!verifier.tick(), "nobody asked for samples");
    verifier.sample(1000, 4);
    for _ in 0..50 {
        for _ in 0..500 {
            let block = bench.allocate(64);
            bench.free(block);
        }
        verifier.tick();
    }
    let stats = verifier.stats();
    assert!((20..=25).contains(&stats.sampled), "{stats:?}");
    assert_eq!((stats.sampled, stats.guarded), (stats.verified, stats.verified));
    // A rule that comes while a sample is armed stays.
    while !verifier.tick() {
        bench.free(bench.allocate(64));
    }
    verifier.add(Rule::new().track()).unwrap();
    let before = verifier.stats().verified;
    for _ in 0..10 {
        bench.free(bench.allocate(64));
    }
    assert_eq!(verifier.stats().verified, before + 10);
    assert_eq!(bench.heard(), []);
    bench.all_is_free();
}

/// What is recorded is what was called, in an order in which it can be called again.
#[test]
fn calls_are_recorded_while_they_are_made() {
    use storport_pool::{TraceItem, TraceKind, TraceReader};
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
    use storport_pool::BlockState;
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
