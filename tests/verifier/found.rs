//! What is found, and that nothing else is.

use crate::bench::{Bench, write};
use storport_pool::{
    AdapterId, Commit, Guard, Irql, Rule, StackKind, Status, VerifierOptions, ViolationKind, tag,
};

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
