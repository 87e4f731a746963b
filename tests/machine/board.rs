//! The machine: threads on numbered CPUs, masked sections, IRQLs; and who runs next, as a seed decides.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use storport_pool::{Host, Irql, MaskInterrupts};

use crate::fiber::{Fiber, Job, Panic};

/// How deep interrupts nest.
const DEPTH: u32 = 3;

/// Random numbers (splitmix64), the same for the same seed.
pub struct Random(Cell<u64>);

impl Random {
    pub const fn new(seed: u64) -> Random {
        Random(Cell::new(seed))
    }

    fn next(&self) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9E37_79B9_7F4A_7C15));
        let mut z = self.0.get();
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len() as u64) as usize])
    }
}

/// A thread of the machine, and the interrupts on top of it.
struct Thread {
    fiber: Fiber,
    cpu: Cell<u32>,
    level: Cell<u8>,
    depth: Cell<u32>,
    /// How many masked sections it is in.
    masks: Cell<u32>,
    /// How many it has been in.
    sections: Cell<u64>,
    done: Cell<bool>,
    /// How many switches pass it over, if others can run.
    rest: Cell<u64>,
    /// Atomic operations of the innermost call, and the locked ones.
    counts: Cell<[u64; 2]>,
}

/// One machine.
pub struct Board {
    pub random: Random,
    /// CPUs with a cache; one number more has none.
    cpus: u32,
    /// A point in this many is an event, in code that nothing interrupted.
    rarity: Cell<u64>,
    main: Fiber,
    threads: RefCell<Vec<Rc<Thread>>>,
    current: Cell<usize>,
    /// Whether threads run, so that points count.
    running: Cell<bool>,
    /// Keeps the other threads from running.
    solo: Cell<bool>,
    interrupt: RefCell<Rc<dyn Fn()>>,
    failure: RefCell<Option<Panic>>,
    /// Points passed.
    pub steps: Cell<u64>,
    /// Interrupts, switches and migrations.
    pub events: Cell<u64>,
}

thread_local! {
    static BOARD: RefCell<Option<Rc<Board>>> = const { RefCell::new(None) };
}

impl Board {
    /// A machine, which is this thread's from now on.
    pub fn new(seed: u64, cpus: u32) -> Rc<Board> {
        let board = Rc::new(Board {
            random: Random::new(seed),
            cpus,
            rarity: Cell::new(1),
            main: Fiber::caller(),
            threads: RefCell::default(),
            current: Cell::new(0),
            running: Cell::new(false),
            solo: Cell::new(false),
            interrupt: RefCell::new(Rc::new(|| {})),
            failure: RefCell::default(),
            steps: Cell::new(0),
            events: Cell::new(0),
        });
        BOARD.set(Some(board.clone()));
        board
    }

    /// The machine of this thread of the system.
    fn here() -> Option<Rc<Board>> {
        BOARD.with_borrow(Clone::clone)
    }

    /// What runs at each interrupt.
    pub fn on_interrupt(&self, handler: Rc<dyn Fn()>) {
        self.interrupt.replace(handler);
    }

    /// Runs each of `works` as a thread, until all have ended, or one has panicked.
    pub fn run(self: &Rc<Self>, rarity: u64, works: Vec<Box<dyn FnOnce()>>) -> Result<(), Panic> {
        let threads = works.into_iter().enumerate().map(|(n, work)| {
            let board = self.clone();
            let exit = Box::new(move |end| board.exit(end));
            Rc::new(Thread {
                fiber: Fiber::new(Job { work, exit }),
                cpu: Cell::new(n as u32 % self.cpus),
                level: Cell::new(0),
                depth: Cell::new(0),
                masks: Cell::new(0),
                sections: Cell::new(0),
                done: Cell::new(false),
                rest: Cell::new(0),
                counts: Cell::default(),
            })
        });
        self.threads.replace(threads.collect());
        self.rarity.set(rarity);
        self.running.set(true);
        self.current.set(self.random.below(self.threads.borrow().len() as u64) as usize);
        let first = self.thread();
        // SAFETY: this is the caller's code; the fiber is new.
        unsafe { self.main.switch(&first.fiber) };
        self.running.set(false);
        match self.failure.take() {
            None => Ok(()),
            Some(failure) => Err(failure),
        }
    }

    /// Ends the current thread; says who is next.
    fn exit(&self, end: Result<(), Panic>) -> [*const Fiber; 2] {
        let this = self.thread();
        this.done.set(true);
        let next = match end {
            Ok(()) => self.another(),
            Err(panic) => {
                self.failure.replace(Some(panic));
                None
            }
        };
        let Some(next) = next else { return [&raw const this.fiber, &raw const self.main] };
        self.current.set(next);
        [&raw const this.fiber, &raw const self.thread().fiber]
    }

    fn thread(&self) -> Rc<Thread> {
        self.threads.borrow()[self.current.get()].clone()
    }

    /// The thread to go on with, if there is another that may run: none may while a third is masked on its CPU.
    fn another(&self) -> Option<usize> {
        let threads = self.threads.borrow();
        let may_run = |&n: &usize| {
            let masked = self.masked_on(threads[n].cpu.get());
            n != self.current.get() && !threads[n].done.get() && (masked.is_none() || masked == Some(n))
        };
        let able: Vec<usize> = (0..threads.len()).filter(may_run).collect();
        let rested = |&n: &usize| {
            let rest = threads[n].rest.get();
            threads[n].rest.set(rest.saturating_sub(1));
            rest == 0
        };
        let rested: Vec<usize> = able.iter().copied().filter(rested).collect();
        self.random.pick(&rested).or_else(|| self.random.pick(&able))
    }

    /// The thread in a masked section on a CPU.
    fn masked_on(&self, cpu: u32) -> Option<usize> {
        let threads = self.threads.borrow();
        threads.iter().position(|thread| thread.masks.get() > 0 && thread.cpu.get() == cpu)
    }

    /// Leaves the current thread for another.
    fn go_to(&self, next: usize) {
        let from = self.thread();
        self.current.set(next);
        let to = self.thread();
        // SAFETY: `from` runs; `to` was left by this function, or is new. Neither has ended: a fiber
        // that ends is done. Both live until `run` replaces them.
        unsafe { from.fiber.switch(&to.fiber) };
    }

    /// Where the machine may do something else first.
    fn point(&self) {
        if !self.running.get() || std::thread::panicking() {
            return;
        }
        self.steps.set(self.steps.get() + 1);
        let thread = self.thread();
        // Interrupts on interrupts are rarer, or calls would not end.
        if !self.random.one_in(self.rarity.get() << (3 * thread.depth.get())) {
            return;
        }
        let masked = thread.masks.get() > 0;
        match self.random.below(8) {
            0..4 if !masked && thread.depth.get() < DEPTH => self.deliver(&thread),
            0..7 if !self.solo.get() => {
                if let Some(next) = self.another() {
                    self.count_event();
                    // Some are away for long: time enough to use a slab or a block for something else.
                    if self.random.one_in(16) {
                        thread.rest.set(self.random.below(1000));
                    }
                    self.go_to(next);
                }
            }
            7 if !masked => {
                let cpu = self.random.below(u64::from(self.cpus) + 1) as u32;
                if self.masked_on(cpu).is_none() {
                    self.count_event();
                    thread.cpu.set(cpu);
                }
            }
            _ => {}
        }
    }

    fn count_event(&self) {
        self.events.set(self.events.get() + 1);
    }

    /// An interrupt: most at DISPATCH, some above.
    fn deliver(&self, thread: &Thread) {
        self.count_event();
        let wanted = if self.random.one_in(8) { 3 + self.random.below(13) as u8 } else { 2 };
        let before = thread.level.get();
        thread.level.set(before.max(wanted));
        thread.depth.set(thread.depth.get() + 1);
        let handler = self.interrupt.borrow().clone();
        self.count(|| handler());
        thread.depth.set(thread.depth.get() - 1);
        thread.level.set(before);
    }

    /// The current thread's number.
    pub fn current(&self) -> usize {
        self.current.get()
    }

    pub fn level(&self) -> u8 {
        self.thread().level.get()
    }

    /// Runs `work` at another level.
    pub fn at<R>(&self, level: u8, work: impl FnOnce() -> R) -> R {
        let before = self.thread().level.replace(level);
        let result = work();
        self.thread().level.set(before);
        result
    }

    /// Runs a call; says how many atomic operations it took itself, and how many of them were locked.
    pub fn count<R>(&self, call: impl FnOnce() -> R) -> (R, [u64; 2]) {
        let outer = self.thread().counts.take();
        let result = call();
        (result, self.thread().counts.replace(outer))
    }

    /// Whether the other threads are kept from running.
    pub fn is_solo(&self) -> bool {
        self.solo.get()
    }

    /// Runs `work` while no other thread does, unless one is in a masked section.
    pub fn alone<R>(&self, work: impl FnOnce() -> R) -> Option<R> {
        if self.threads.borrow().iter().any(|thread| thread.masks.get() > 0) {
            return None;
        }
        let before = self.solo.replace(true);
        let result = work();
        self.solo.set(before);
        Some(result)
    }
}

/// An interrupt point of this thread's machine, if it has one.
pub fn point() {
    if let Some(board) = Board::here() {
        board.point();
    }
}

/// The point before an atomic operation.
#[cfg(storport_pool_steps)]
pub fn step(step: storport_pool::steps::Step, _: usize) {
    let Some(board) = Board::here().filter(|board| board.running.get()) else { return };
    let thread = board.thread();
    let [operations, locked] = thread.counts.get();
    thread.counts.set([operations + 1, locked + u64::from(step == storport_pool::steps::Step::Rmw)]);
    board.point();
}

/// The hooks that a pool calls.
#[derive(Debug, Default)]
pub struct Hooks;

impl Host for Hooks {
    fn cpu(&self) -> u32 {
        point();
        Board::here().filter(|board| board.running.get()).map_or(0, |board| board.thread().cpu.get())
    }

    fn irql(&self) -> Irql {
        point();
        let level = Board::here().filter(|board| board.running.get()).map_or(0, |board| board.level());
        Irql::new(level).unwrap()
    }
}

// SAFETY: a thread in a masked section is neither interrupted nor moved, and no other thread on its CPU
// runs; `fence` runs the others until the sections it found have ended.
unsafe impl MaskInterrupts for Hooks {
    type State = ();

    fn mask(&self) {
        point();
        let Some(board) = Board::here().filter(|board| board.running.get()) else { return };
        let thread = board.thread();
        thread.masks.set(thread.masks.get() + 1);
        thread.sections.set(thread.sections.get() + 1);
    }

    fn unmask(&self, (): ()) {
        let Some(board) = Board::here().filter(|board| board.running.get()) else { return };
        let thread = board.thread();
        thread.masks.set(thread.masks.get() - 1);
        board.point();
    }

    fn fence(&self, cpu: u32) {
        point();
        let Some(board) = Board::here().filter(|board| board.running.get()) else { return };
        assert_eq!(board.thread().masks.get(), 0, "fence is called unmasked");
        let Some(n) = board.masked_on(cpu) else { return };
        assert!(!board.solo.get());
        let masked = board.threads.borrow()[n].clone();
        let section = masked.sections.get();
        while masked.masks.get() > 0 && masked.sections.get() == section {
            board.go_to(n);
        }
    }
}
