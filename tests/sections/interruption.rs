//! A script of calls, interrupted at one instruction, and perhaps once more at another one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::breakpoint;
use crate::world::{Act, World};

/// What comes at an instruction.
#[derive(Clone, Copy)]
pub struct Interruption {
    pub at: u64,
    pub act: Act,
}

/// How often an instruction was reached, and how often its section was aborted there.
#[derive(Clone, Copy, Default)]
pub struct Count {
    pub reached: u64,
    pub aborted: u64,
}

impl Count {
    pub fn add(&mut self, other: Count) {
        self.reached += other.reached;
        self.aborted += other.aborted;
    }
}

thread_local! {
    static WORLD: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
    static FIRST: Cell<Act> = const { Cell::new(Act::Nothing) };
    static THEN: Cell<Option<Interruption>> = const { Cell::new(None) };
    static COUNTS: Cell<[Count; 2]> = const { Cell::new([Count { reached: 0, aborted: 0 }; 2]) };
}

fn count(which: usize, aborted: bool) {
    let mut counts = COUNTS.get();
    counts[which].add(Count { reached: 1, aborted: u64::from(aborted) });
    COUNTS.set(counts);
}

fn interrupt(act: Act) {
    WORLD.with_borrow(|world| world.as_ref().unwrap().interrupt(act));
}

fn reached(aborted: bool) {
    count(0, aborted);
    interrupt(FIRST.get());
    if let Some(then) = THEN.get() {
        breakpoint::arm(then.at, reached_then);
    }
}

fn reached_then(aborted: bool) {
    count(1, aborted);
    interrupt(THEN.get().unwrap().act);
}

/// Fills three magazines and empties them, and once more, with what the spare holds by then, and by bulk calls. Before
/// each call the breakpoint is set anew.
fn script(world: &World, at: u64) {
    let single: [fn(&World); 2] = [World::allocate, World::free];
    let bulk: [fn(&World); 2] = [World::allocate_bulk, World::free_bulk];
    for (calls, kinds) in [(12, single), (6, single), (1, bulk)] {
        for call in kinds {
            for _ in 0..calls {
                breakpoint::arm(at, reached);
                call(world);
                breakpoint::disarm();
            }
        }
    }
}

/// Runs the script in a world of its own; each call is interrupted where it comes by. Nothing is lost.
pub fn run(bytes: u32, first: Interruption, then: Option<Interruption>) -> [Count; 2] {
    let world = Rc::new(World::new(bytes));
    WORLD.set(Some(world.clone()));
    FIRST.set(first.act);
    THEN.set(then);
    COUNTS.take();
    script(&world, first.at);
    WORLD.set(None);
    world.settle();
    COUNTS.get()
}
