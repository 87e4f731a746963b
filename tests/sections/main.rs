//! The restartable sections of this executable, as they are shipped: what their descriptors promise the
//! kernel, and each of their instructions interrupted, by anything that may come in between.
#![cfg(all(target_os = "linux", target_arch = "x86_64", not(storport_pool_stretch)))]

#[path = "../common/mod.rs"]
mod common;

mod breakpoint;
mod descriptors;
mod world;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Mutex;

use descriptors::{Kind, Section, sections};
use world::{Act, World};

/// Reached, and aborted there.
type Count = (u64, u64);

/// The larger ones have no fast path in allocate.
const SIZES: [u32; 2] = [4096, 32_768];

#[test]
fn descriptors_say_what_the_kernel_must_know() {
    let sections = sections();
    for kind in Kind::all() {
        assert!(sections.iter().any(|section| section.kind() == kind), "no section of {kind:?}");
    }
}

thread_local! {
    static WORLD: RefCell<Option<std::rc::Rc<World>>> = const { RefCell::new(None) };
    static ACT: Cell<Act> = const { Cell::new(Act::Nothing) };
    /// Where the breakpoint goes when the first one was reached.
    static NEXT: Cell<Option<u64>> = const { Cell::new(None) };
    /// How often the first breakpoint was reached and aborted a section, and how often the second.
    static FIRST: Cell<Count> = const { Cell::new((0, 0)) };
    static AGAIN: Cell<Count> = const { Cell::new((0, 0)) };
}

/// Text is written, so one test at a time runs the pool.
static TURN: Mutex<()> = Mutex::new(());

fn reached(aborted: bool) {
    FIRST.set((FIRST.get().0 + 1, FIRST.get().1 + u64::from(aborted)));
    WORLD.with_borrow(|world| world.as_ref().unwrap().interrupt(ACT.get()));
    if let Some(next) = NEXT.get() {
        breakpoint::arm(next, reached_again);
    }
}

fn reached_again(aborted: bool) {
    AGAIN.set((AGAIN.get().0 + 1, AGAIN.get().1 + u64::from(aborted)));
}

/// Fills three magazines and empties them, and once more, with what the spare holds by then. Before each
/// call the breakpoint is set anew.
fn script(world: &World, at: u64) {
    for calls in [12, 6] {
        for call in [World::allocate, World::free] {
            for _ in 0..calls {
                breakpoint::arm(at, reached);
                call(world);
                breakpoint::disarm();
            }
        }
    }
}

/// Runs the script with an interruption at this instruction; how often it was reached, and the next one.
fn interrupted(bytes: u32, at: u64, act: Act, next: Option<u64>) -> (Count, Count) {
    let world = std::rc::Rc::new(World::new(bytes));
    WORLD.set(Some(world.clone()));
    ACT.set(act);
    NEXT.set(next);
    FIRST.set((0, 0));
    AGAIN.set((0, 0));
    script(&world, at);
    if act == Act::Switch {
        world.settle()
    } else {
        world.settle_exactly()
    }
    WORLD.set(None);
    (FIRST.get(), AGAIN.get())
}

fn prepare(sections: &[Section]) -> bool {
    let from = sections.iter().map(|section| section.start).min().unwrap();
    let to = sections.iter().map(|section| section.end).max().unwrap();
    breakpoint::prepare(from, to);
    let world = World::new(SIZES[0]);
    // The thread's first call, after which its sections run.
    world.allocate();
    world.uses_rseq()
}

/// How often each instruction of each kind of section was reached, and aborted.
#[derive(Default)]
struct Counts(BTreeMap<(Kind, usize), Count>);

impl Counts {
    fn add(&mut self, section: &Section, step: usize, (reached, aborted): Count) {
        let count = self.0.entry((section.kind(), step)).or_default();
        *count = (count.0 + reached, count.1 + aborted);
    }

    fn check(self, sections: &[Section], rseq: bool) {
        for kind in Kind::all() {
            println!("{kind:?}");
            let section = sections.iter().find(|section| section.kind() == kind).unwrap();
            for (step, instruction) in section.steps.iter().enumerate() {
                let (reached, aborted) = self.0[&(kind, step)];
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

/// At each instruction of each section, whatever may come in between comes. And the slow path that follows
/// is aborted once more, at each instruction of each section that it runs.
#[test]
fn each_instruction_interrupted() {
    let _turn = TURN.lock().unwrap();
    let sections = sections();
    let rseq = prepare(&sections);
    let mut counts = Counts::default();
    for section in &sections {
        for (step, instruction) in section.steps.iter().enumerate() {
            for bytes in SIZES {
                for act in Act::ALL {
                    counts.add(section, step, interrupted(bytes, instruction.ip(), act, None).0);
                }
            }
            for next in &sections {
                for (second, then) in next.steps.iter().enumerate() {
                    let (first, again) =
                        interrupted(SIZES[0], instruction.ip(), Act::Nothing, Some(then.ip()));
                    counts.add(section, step, first);
                    counts.add(next, second, again);
                }
            }
        }
    }
    counts.check(&sections, rseq);
}
