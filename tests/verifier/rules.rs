//! Rules: whom they are for, low resources, samples.

use crate::bench::{Bench, write};
use storport_pool::{
    Commit, LowResources, Rule, Status, TagPattern, VerifierError, VerifierOptions, ViolationKind, tag,
};

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
