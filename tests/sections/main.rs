//! The restartable sections of this executable, as they are shipped: what their descriptors promise the
//! kernel, and each of their instructions interrupted, by anything that may come in between.
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(storport_pool_stretch)))]

#[path = "../common/mod.rs"]
mod common;

mod breakpoint;
mod came;
mod counts;
mod descriptors;
mod functions;
mod half;
mod interruption;
mod loose;
mod overtaken;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use came::Came;
use common::{pin, rounds};
use descriptors::{Kind, Section, sections};
use half::{Call, Then};
use interruption::{Count, Interruption, run};
use loose::Case;
use overtaken::Removal;
use storport_pool::Commit;
use world::{Act, IN_PAGES, InChild, World};

/// The larger ones have no fast path in allocate.
const SIZES: [u32; 2] = [4096, 32_768];

/// Of what is done at each instruction, or of the instructions themselves, one of so many.
fn one_of() -> usize {
    rounds(5, 1)
}

/// One of so many of the pool's instructions outside its sections.
fn some(one_of: usize) -> Vec<u64> {
    functions::instructions().into_iter().step_by(one_of).collect()
}

fn instructions() -> Vec<u64> {
    some(one_of())
}

/// At least so many of all the instructions must have been reached.
fn enough(of_all: usize) -> usize {
    of_all / one_of()
}

/// Text is written, so one test at a time runs the pool.
static TURN: Mutex<()> = Mutex::new(());

/// Waits for our turn, and says whether the process has restartable sequences.
fn prepare() -> (MutexGuard<'static, ()>, bool) {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let text = functions::instructions();
    breakpoint::prepare(*text.first().unwrap(), *text.last().unwrap() + 16);
    let world = World::new(SIZES[0]);
    // The thread's first call, after which its sections run.
    world.allocate();
    (turn, world.uses_rseq())
}

#[test]
fn descriptors_say_what_the_kernel_must_know() {
    let (_turn, _) = prepare();
    let sections = sections();
    for kind in Kind::all() {
        assert!(sections.iter().any(|section| section.kind() == kind), "no section of {kind:?}");
    }
}

/// The instructions of the pool's outside its sections that allocate and free of these sizes come by.
fn each_reached(mut each: impl FnMut(u64, u32)) {
    for at in instructions() {
        for bytes in SIZES {
            if run(bytes, Interruption { at, act: Act::Nothing }, None)[0].reached > 0 {
                each(at, bytes);
            }
        }
    }
}

/// The instructions of the pool's: those of its sections, of their abort handlers, and the others.
fn every_instruction(one_of: usize) -> BTreeSet<u64> {
    let in_sections = sections().into_iter().flat_map(|section| {
        section.steps.iter().map(|step| step.ip()).chain(section.handler).collect::<Vec<_>>()
    });
    some(one_of).into_iter().chain(in_sections).collect()
}

/// Counts for each instruction of each kind of section.
#[derive(Default)]
struct Counts(BTreeMap<(Kind, usize), Count>);

impl Counts {
    fn add(&mut self, section: &Section, step: usize, count: Count) {
        self.0.entry((section.kind(), step)).or_default().add(count);
    }

    fn check(self, sections: &[Section], rseq: bool) {
        for kind in Kind::all() {
            println!("{kind:?}");
            let section = sections.iter().find(|section| section.kind() == kind).unwrap();
            for (step, instruction) in section.steps.iter().enumerate() {
                let Count { reached, aborted } = self.0[&(kind, step)];
                println!("{aborted:8} aborts of {reached:8}  {instruction}");
                if rseq {
                    assert!(aborted > 0 && aborted == reached);
                } else {
                    assert_eq!(aborted, 0, "nothing aborts a section that the kernel does not know");
                }
            }
        }
    }
}

/// At each instruction of each section, whatever may come in between comes. Then the abort's handler is
/// interrupted too, and the slow path that follows is aborted once more, at each instruction of each section
/// that it runs.
#[test]
fn each_instruction_of_the_sections() {
    let (_turn, rseq) = prepare();
    let sections = sections();
    let (mut counts, mut handled) = (Counts::default(), 0);
    for section in &sections {
        for (step, instruction) in section.steps.iter().enumerate() {
            let at = instruction.ip();
            for bytes in SIZES.into_iter().chain([IN_PAGES]) {
                // Others at the next instruction, so that few of them come to all, too.
                for act in Act::ALL.into_iter().skip(step % one_of()).step_by(one_of()) {
                    counts.add(section, step, run(bytes, Interruption { at, act }, None)[0]);
                }
            }
            for size in [SIZES[0], IN_PAGES] {
                for &then in &section.handler {
                    for act in [Act::Churn, Act::FreeTheSame, Act::Switch] {
                        let first = Interruption { at, act: Act::Nothing };
                        let [first, then] = run(size, first, Some(Interruption { at: then, act }));
                        counts.add(section, step, first);
                        handled += then.reached;
                    }
                }
                for next in &sections {
                    let steps = next.steps.iter().enumerate();
                    for (second, then) in steps.skip(step % one_of()).step_by(one_of()) {
                        let first = Interruption { at, act: Act::Nothing };
                        let then = Interruption { at: then.ip(), act: Act::Nothing };
                        let [first, then] = run(size, first, Some(then));
                        counts.add(section, step, first);
                        counts.add(next, second, then);
                    }
                }
            }
        }
    }
    counts.check(&sections, rseq);
    println!("abort handlers interrupted: {handled}");
    assert_eq!(handled > 0, rseq);
}

/// At each other instruction of the pool's that allocate and free come by.
#[test]
fn each_instruction_of_the_pool() {
    let (_turn, _) = prepare();
    let mut reached = 0;
    each_reached(|at, bytes| {
        reached += 1;
        for act in Act::ALL {
            // A child takes longer than all else.
            let often = match act {
                Act::Fork => at % 16 == 0,
                Act::Orphan => bytes == SIZES[0],
                _ => true,
            };
            if often {
                run(bytes, Interruption { at, act }, None);
            }
        }
    });
    println!("{reached} instructions");
    assert!(reached > enough(1000), "only {reached} instructions were reached");
}

/// A handler forks at each instruction; its child calls the pool in the handler, and goes on in the interrupted call.
/// That call's claims are of the parent's time, and held all the same.
#[test]
fn each_instruction_in_a_handlers_child() {
    let (_turn, _) = prepare();
    let mut reached = 0;
    each_reached(|at, bytes| {
        // Each takes long, so each instruction has one of them.
        let what = InChild::ALL[at as usize % InChild::ALL.len()];
        reached += run(bytes, Interruption { at, act: Act::ForkAnd(what) }, None)[0].reached;
    });
    println!("{reached} children");
    assert!(reached > enough(1000) as u64, "only {reached} children");
}

/// An allocation stops at each instruction that it comes by, and at each of the sections, until its adapter was
/// removed, its block given to somebody else, and all other memory too.
#[test]
fn an_overtaken_allocation_undoes_itself_alone() {
    let (_turn, _) = prepare();
    // By the fast path, by the slow one, and a run of spans. Few instructions have something to undo: on the fast path
    // none is left out.
    for (bytes, one_of) in [(SIZES[0], 1), (SIZES[1], one_of()), (40_000, one_of())] {
        let wanted = overtaken::wanted(bytes);
        // What the first call does not come by, the others do not either.
        let mut on_its_way = every_instruction(one_of);
        for removal in [Removal::Released, Removal::Kept, Removal::Left] {
            let mut came = Came::default();
            on_its_way.retain(|&at| {
                let one = overtaken::run(at, bytes, removal, wanted);
                came.add(one);
                one.reached > 0
            });
            println!("{bytes} bytes, {removal:?}: {} instructions, {} undone", came.reached, came.undone);
            assert!(came.reached > 50 && (came.undone > 0 || one_of > 1));
        }
    }
}

/// Blocks in no magazine are put and taken, and their slab retired, by calls that stop at each instruction.
#[test]
fn loose_blocks_while_others_look_for_them() {
    let (_turn, rseq) = prepare();
    pin(1);
    // The twin has a cache for each thread.
    if !rseq || nix::sched::sched_getcpu() == Ok(0) {
        return println!("no CPU is without a cache");
    }
    let all = instructions();
    for case in Case::ALL {
        let reached = all.iter().filter(|&&at| loose::run(at, case)).count();
        println!("{case:?}: {reached} instructions");
        assert!(reached > enough(50));
    }
}

/// An allocation stops at each instruction that it comes by until its adapter was removed, and its account is somebody
/// else's.
#[test]
fn an_overtaken_allocation_counts_for_nobody_else() {
    let (_turn, _) = prepare();
    let all = every_instruction(one_of());
    for commit in [Commit::Auto, Commit::Portable] {
        for known in [false, true] {
            let mut came = Came::default();
            all.iter().for_each(|&at| came.add(counts::removed(at, commit, known)));
            println!("{commit:?}, known {known}: {} instructions, {} refused", came.reached, came.undone);
            assert!(came.reached > enough(50) as u64 && came.undone > 0);
        }
    }
}

/// A section is aborted after it has counted; then all memory is gone, and at each instruction that follows the adapter.
#[test]
fn an_allocation_that_was_counted_and_found_nothing() {
    let (_turn, rseq) = prepare();
    let all = instructions();
    // An adapter's first call of a tag comes by the slow way.
    for (kind, known) in [(Kind::Allocate, true), (Kind::Pop, false)] {
        let mut came = Came::default();
        for section in sections().iter().filter(|section| section.kind() == kind) {
            let at = section.steps.last().unwrap().ip();
            all.iter().for_each(|&then| came.add(counts::starved(at, then, known)));
        }
        println!("{kind:?}: {} instructions, {} refused", came.reached, came.undone);
        assert!(!rseq || came.undone > enough(50) as u64);
    }
}

/// A fork at each instruction of adding and removing an adapter.
#[test]
fn half_adapters_in_a_child() {
    let (_turn, _) = prepare();
    let all = instructions();
    for call in [Call::Add, Call::Remove] {
        for then in [Then::Never, Then::GoesOn] {
            let reached = all.iter().filter(|&&at| half::run(at, call, then)).count();
            println!("{call:?}, {then:?}: {reached} instructions");
            assert!(reached > enough(50));
        }
    }
}
