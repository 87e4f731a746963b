//! Where the verifier meets other features: what a hostile reader broke once.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::bench::{Bench, write};
use storport_pool::{
    Access, AdapterId, Commit, Guard, Image, LowResources, Rule, Status, VerifierHost, VerifierOptions,
    ViolationKind, tag,
};

/// A bulk call of which an allocation is refused gives back what it had, wherever that lies.
#[test]
fn bulk_calls_that_fail_midway_leave_nothing() {
    let third = LowResources::new().every(3);
    for rule in [Rule::new().guard(Guard::After), Rule::new().canary(), Rule::new().track()] {
        let bench = Bench::new(16 << 20, Commit::Auto);
        let verifier = bench.pool.verifier(VerifierOptions::new()).unwrap();
        verifier.add(rule.low_resources(third)).unwrap();
        for bytes in [100, 4080, 4096, 32_767, 32_768, 100_000] {
            let mut out = [1; 5];
            let status = bench.pool.allocate_bulk(bench.disk, bytes, tag!("Bulk"), &mut out);
            assert_eq!((status, out), (Status::INSUFFICIENT_RESOURCES, [0; 5]), "{bytes}");
            assert_eq!(bench.pool.leaks(None).blocks(), 0, "{bytes}");
        }
        assert_eq!(bench.heard(), []);
        bench.all_is_free();
    }
    let bench = Bench::new(1 << 20, Commit::Auto);
    bench.pool.verifier(VerifierOptions::new()).unwrap().add(Rule::new().guard(Guard::After)).unwrap();
    let mut out = [0; 500];
    let status = bench.pool.allocate_bulk(bench.disk, 4096, tag!("Bulk"), &mut out);
    assert_eq!(status, Status::INSUFFICIENT_RESOURCES);
    bench.all_is_free();
}

/// A note of a block's former life is not held against what it is now.
#[test]
fn a_former_life_is_no_evidence() {
    let bench = Bench::new(16 << 20, Commit::Auto);
    let verifier = bench.pool.verifier(VerifierOptions::new()).unwrap();
    let rule = verifier.add(Rule::new().canary().track()).unwrap();
    let verified = bench.allocate(20);
    bench.free(verified);
    verifier.remove(rule).unwrap();
    let block = bench.allocate(48);
    assert_eq!(block, verified, "the same block");
    write(block, &[0xAA; 48]);
    bench.pool.remove_adapter(bench.disk).unwrap();
    assert_eq!(bench.one().kind, ViolationKind::Leak);
    assert_eq!(verifier.sweep().overrun, 0);
    assert_eq!(bench.pool.block_at(block).unwrap().capacity, 48);
    // SAFETY: nobody uses it.
    assert_eq!(unsafe { bench.pool.free(AdapterId::ORPHANS, block) }, Status::SUCCESS);
    assert_eq!(bench.heard(), []);
    bench.all_is_free();
}

/// Notes make room for what lives, however blocks end.
#[test]
fn notes_are_of_those_that_live() {
    let bench = Bench::new(16 << 20, Commit::Auto);
    let verifier = bench.pool.verifier(VerifierOptions::new().notes(64)).unwrap();
    verifier.add(Rule::new().track()).unwrap();
    for _ in 0..20 {
        let goes = bench.pool.add_adapter("goes").unwrap();
        let mut out = [0; 12];
        assert_eq!(bench.pool.allocate_bulk(goes, 100, tag!("Gone"), &mut out), Status::SUCCESS);
        // SAFETY: nobody uses the blocks.
        unsafe { bench.pool.release_adapter(goes).unwrap() };
        bench.free(bench.allocate(100_000));
    }
    assert_eq!(verifier.stats().notes_left_out, 0);
}

/// A release looks at canaries, as a free does.
#[test]
fn a_release_finds_overruns() {
    let bench = Bench::with(Rule::new().canary());
    let block = bench.allocate(100);
    write(block + 100, b"!");
    // SAFETY: nobody uses the block.
    unsafe { bench.pool.release_adapter(bench.disk).unwrap() };
    let kinds: Vec<_> = bench.heard().iter().map(|told| told.kind).collect();
    assert_eq!(kinds, [ViolationKind::Overrun, ViolationKind::Leak]);
    bench.all_is_free();
}

/// Rules see aligned allocations as they were asked for.
#[test]
fn aligned_blocks_are_verified() {
    for rule in [Rule::new().canary(), Rule::new().guard(Guard::Before)] {
        let bench = Bench::new(16 << 20, Commit::Auto);
        let verifier = bench.pool.verifier(VerifierOptions::new()).unwrap();
        let rule = verifier.add(rule).unwrap();
        let asked = [
            (100, 64),
            (100, 4096),
            (4097, 4096),
            (8191, 4096),
            (40_000, 64),
            (40_000, 4096),
            (70_000, 32),
            (100, 65_536),
        ];
        for (n, (bytes, alignment)) in (1..).zip(asked) {
            let mut block = 0;
            let status =
                bench.pool.allocate_aligned(bench.disk, bytes, alignment, tag!("Algn"), Some(&mut block));
            assert_eq!((status, block % u64::from(alignment)), (Status::SUCCESS, 0), "{bytes}, {alignment}");
            assert_eq!(verifier.counts(rule).unwrap().seen, n);
            write(block + u64::from(bytes), b"!");
            bench.free(block);
            let told = bench.one();
            assert_eq!(
                (told.kind, told.bytes),
                (ViolationKind::Overrun, bytes.into()),
                "{bytes}, {alignment}"
            );
        }
        bench.all_is_free();
    }
}

#[test]
fn samples_are_guarded_after_a_restore() {
    let mut bench = Bench::new(16 << 20, Commit::Auto);
    bench.pool.verifier(VerifierOptions::new().quarantine(4)).unwrap().sample(100, 4);
    let image = Image::read(&bench.pool.save()).unwrap();
    for _ in 0..3 {
        let verifier = bench.pool.attached().unwrap();
        let before = verifier.stats().guarded;
        for _ in 0..20 {
            (0..200).for_each(|_| bench.free(bench.allocate(64)));
            verifier.tick();
        }
        assert!(verifier.stats().guarded > before + 10);
        bench.pool.restore(&image).unwrap();
    }
    bench.all_is_free();
}

/// Protects pages as the system does, but for some calls.
struct Failing {
    calls: AtomicU64,
    /// The calls that fail: from this one on, so many.
    first: AtomicU64,
    count: AtomicU64,
}

impl VerifierHost for Failing {
    fn can_protect(&self) -> bool {
        true
    }

    fn protect(&self, address: u64, bytes: u64, access: Access) -> bool {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let first = self.first.load(Ordering::Relaxed);
        if (first..first + self.count.load(Ordering::Relaxed)).contains(&call) {
            return false;
        }
        let flags = match access {
            Access::None => nix::sys::mman::ProtFlags::PROT_NONE,
            Access::ReadWrite => nix::sys::mman::ProtFlags::PROT_READ | nix::sys::mman::ProtFlags::PROT_WRITE,
        };
        let start = NonNull::new(address as *mut _).unwrap();
        // SAFETY: pages of the pool's, as the verifier asks for it.
        unsafe { nix::sys::mman::mprotect(start, bytes as usize, flags) }.is_ok()
    }
}

/// Pages that cannot be made accessible again are nobody's until they can.
#[test]
fn pages_that_stay_shut_are_not_handed_out() {
    static HOST: Failing =
        Failing { calls: AtomicU64::new(0), first: AtomicU64::new(1), count: AtomicU64::new(1 << 40) };
    let bench = Bench::new(1 << 20, Commit::Auto);
    let options = VerifierOptions::new();
    let memory = Box::leak(vec![[0u64; 512]; options.bytes(1 << 10).div_ceil(4096) + 1].into_boxed_slice());
    let start = NonNull::from(&mut *memory).cast::<u8>();
    let skip = start.align_offset(4096);
    // SAFETY: inside the memory, which is leaked, zeroed, and the verifier's alone.
    let verifier = unsafe {
        let table = NonNull::slice_from_raw_parts(start.byte_add(skip), options.bytes(1 << 10));
        bench.pool.verifier_in(table, options, &HOST).unwrap()
    };
    let rule = verifier.add(Rule::new().guard(Guard::After)).unwrap();
    let guarded = bench.allocate(100);
    write(guarded, &[1; 100]);
    verifier.remove(rule).unwrap();
    let mut blocks = vec![guarded];
    while let Ok(block) = bench.try_allocate(4096, tag!("Fill")) {
        write(block, &[1; 4096]);
        blocks.push(block);
    }
    assert_eq!(verifier.stats().unguarded, 1);
    // Now they can.
    HOST.count.store(0, Ordering::Relaxed);
    let block = bench.try_allocate(4096, tag!("Fill")).unwrap();
    write(block, &[1; 4096]);
    blocks.push(block);
    blocks.into_iter().for_each(|block| bench.free(block));
    bench.all_is_free();
}
