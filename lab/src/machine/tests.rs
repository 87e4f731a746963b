//! Numbers, interrupts and fences of the simulated machine, and a pool on it.

use std::sync::Barrier;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use storport_pool::{Pool, PoolOptions, Status};

use super::*;
use crate::subjects::{LAB, PoolSubject, Subject, alloc_touched};

type Platform = Masked<Machine>;

fn pool(bytes: u64) -> Pool<Platform> {
    PoolOptions::new(bytes).cpus(CPUS).build_on(Masked::new(Machine::new().unwrap())).unwrap()
}

#[test]
fn a_number_is_one_threads_at_a_time() {
    let machine = Machine::new().unwrap();
    let numbers = || {
        // All at once: more than have caches. Other tests' threads may have some, too.
        let (threads, all) = (CPUS as usize + 8, &Barrier::new(CPUS as usize + 8));
        let mut numbers: Vec<u32> = std::thread::scope(|scope| {
            let spawn = |_| {
                scope.spawn(|| {
                    assert_eq!(machine.cpu(), u32::MAX);
                    Platform::enter();
                    Platform::enter();
                    let number = machine.cpu();
                    all.wait();
                    assert_eq!(machine.cpu(), number);
                    Platform::leave();
                    assert_eq!(machine.cpu(), u32::MAX);
                    number
                })
            };
            let threads: Vec<_> = (0..threads).map(spawn).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), threads);
        numbers
    };
    // If they were not given back, the second ones would begin where the first ones ended.
    let (first, second) = (numbers(), numbers());
    assert!(first.iter().any(|number| second.contains(number)), "{first:?} {second:?}");
}

/// Also beyond the last CPU that has a cache; and fenced meanwhile.
#[test]
fn nothing_is_lost_among_many_threads() {
    let pool = &pool(16 << 20);
    let adapter = pool.add_adapter("lab").unwrap();
    let subject = &PoolSubject { pool, adapter, tag: LAB };
    let all = &Barrier::new(CPUS as usize + 8);
    std::thread::scope(|scope| {
        for thread in 0..CPUS + 8 {
            scope.spawn(move || {
                subject.enter();
                all.wait();
                for round in 0..100 {
                    let blocks = [64, 64, 512, 4096].map(|bytes| (alloc_touched(subject, bytes), bytes));
                    for (block, bytes) in blocks {
                        // SAFETY: just allocated.
                        unsafe { subject.free(block, bytes) };
                    }
                    if (round + thread) % 32 == 0 {
                        subject.upkeep();
                    }
                }
                subject.leave();
            });
        }
    });
    pool.trim().unwrap();
    let snapshot = pool.snapshot();
    assert_eq!((pool.violations(), snapshot.free_bytes), (0, pool.range().1));
    assert!(pool.remove_adapter(adapter).unwrap().outstanding.is_empty());
    Platform::leave();
}

#[test]
fn an_interrupt_waits_while_it_is_masked() {
    static DONE: AtomicU32 = AtomicU32::new(0);
    fn work() {
        // Another one at work waits for its end.
        if DONE.fetch_add(1, Ordering::Relaxed) == 10 {
            Platform::interrupt(work);
            assert_eq!(DONE.load(Ordering::Relaxed), 11, "it interrupted itself");
        }
    }
    let (machine, done) = (Machine::new().unwrap(), || DONE.load(Ordering::Relaxed));
    Platform::interrupt(work);
    assert_eq!(done(), 1, "not masked");
    let outer = machine.mask();
    Platform::interrupt(work);
    let inner = machine.mask();
    // Two that wait are one.
    Platform::interrupt(work);
    machine.unmask(inner);
    assert_eq!(done(), 1, "still masked");
    machine.unmask(outer);
    assert_eq!(done(), 2);
    DONE.store(10, Ordering::Relaxed);
    Platform::interrupt(work);
    assert_eq!(done(), 12);
    Platform::leave();
}

/// Real signals, whose work calls the pool that they interrupt. (The pool's own assertion sees two sections at once.)
#[test]
fn signals_wait_for_sections() {
    static SUBJECT: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());
    static CAME: AtomicU32 = AtomicU32::new(0);
    static DONE: AtomicU32 = AtomicU32::new(0);
    static WAITED: AtomicU32 = AtomicU32::new(0);
    fn churn(subject: &PoolSubject<'_, Platform>) {
        let block = alloc_touched(subject, 64);
        // SAFETY: just allocated.
        unsafe { subject.free(block, 64) };
    }
    fn work() {
        // SAFETY: the test stored it, and waits for the signals' thread.
        churn(unsafe { &*SUBJECT.load(Ordering::Relaxed).cast() });
        DONE.fetch_add(1, Ordering::Relaxed);
    }
    extern "C" fn handler(_: libc::c_int) {
        let before = DONE.load(Ordering::Relaxed);
        Platform::interrupt(work);
        CAME.fetch_add(1, Ordering::Relaxed);
        WAITED.fetch_add(u32::from(DONE.load(Ordering::Relaxed) == before), Ordering::Relaxed);
    }
    let pool = &pool(1 << 20);
    let adapter = pool.add_adapter("lab").unwrap();
    let subject = &PoolSubject { pool, adapter, tag: LAB };
    SUBJECT.store(std::ptr::from_ref(subject).cast_mut().cast(), Ordering::Relaxed);
    // SAFETY: the handler does what a handler may.
    unsafe { libc::signal(libc::SIGUSR1, handler as *const () as libc::sighandler_t) };
    let (thread, done) = (&AtomicU64::new(0), &AtomicBool::new(false));
    let enough = || CAME.load(Ordering::Relaxed) >= 1000 && WAITED.load(Ordering::Relaxed) >= 20;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            subject.enter();
            // SAFETY: it only says which thread this is.
            thread.store(unsafe { libc::pthread_self() }, Ordering::SeqCst);
            while !done.load(Ordering::SeqCst) {
                churn(subject);
            }
            subject.leave();
        });
        let begin = Instant::now();
        while !enough() && begin.elapsed() < Duration::from_secs(20) {
            match thread.load(Ordering::SeqCst) {
                0 => std::thread::yield_now(),
                // SAFETY: the thread lives until it is told that all is done.
                thread => _ = unsafe { libc::pthread_kill(thread, libc::SIGUSR1) },
            }
        }
        done.store(true, Ordering::SeqCst);
    });
    // None waits for good, and none is lost but those that were waited for together.
    let [came, ran, waited] = [&CAME, &DONE, &WAITED].map(|count| count.load(Ordering::Relaxed));
    assert!(enough() && ran <= came && ran >= came - waited, "{came} came, {ran} ran, {waited} waited");
    pool.trim().unwrap();
    assert_eq!((pool.violations(), pool.snapshot().free_bytes), (0, pool.range().1));
    Platform::leave();
}

#[test]
fn a_fence_waits_for_the_section_that_it_finds() {
    let machine = &Machine::new().unwrap();
    let (masked, number, fenced) = (&Barrier::new(2), &AtomicU32::new(0), &AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let state = machine.mask();
            number.store(machine.cpu(), Ordering::Relaxed);
            masked.wait();
            std::thread::sleep(Duration::from_millis(50));
            assert!(!fenced.load(Ordering::Relaxed), "it did not wait");
            machine.unmask(state);
            // Later sections keep nobody waiting.
            while !fenced.load(Ordering::Relaxed) {
                machine.unmask(machine.mask());
            }
            // Who is in none, or is the caller, is not waited for.
            machine.fence(machine.cpu());
            Platform::leave();
        });
        masked.wait();
        machine.fence(number.load(Ordering::Relaxed));
        fenced.store(true, Ordering::Relaxed);
        machine.fence(NUMBERS as u32 - 1);
        machine.fence(u32::MAX);
    });
}

/// What a section found before the fence stays as it is until the section ends; a later one finds what is new. Without
/// `barrier::pass` this fails: the flag is set in the reader's store buffer, while it has read already.
#[test]
fn a_fence_sees_a_flag_that_was_just_set() {
    let machine = &Machine::new().unwrap();
    let (begun, number, done) = (&Barrier::new(2), &AtomicU32::new(0), &AtomicBool::new(false));
    let (current, slots) = (&AtomicU32::new(0), &[AtomicU32::new(1), AtomicU32::new(0)]);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            Platform::enter();
            number.store(machine.cpu(), Ordering::Relaxed);
            // Stores that take long keep the flag's own back behind them.
            let cold: Vec<AtomicU32> = (0..16 << 20).map(|_| AtomicU32::new(0)).collect();
            let mut rng = fastrand::Rng::with_seed(7);
            begun.wait();
            while !done.load(Ordering::Relaxed) {
                let places: [usize; 16] = std::array::from_fn(|_| rng.usize(..cold.len()));
                places.iter().for_each(|&place| cold[place].store(1, Ordering::Relaxed));
                let state = machine.mask();
                let slot = &slots[current.load(Ordering::Acquire) as usize];
                let given_away = (0..100).any(|_| slot.load(Ordering::Relaxed) == 0);
                machine.unmask(state);
                assert!(!given_away, "given away while it was read");
            }
            Platform::leave();
        });
        begun.wait();
        let begin = Instant::now();
        for round in 0.. {
            let (old, new) = (round % 2, (round + 1) % 2);
            slots[new].store(1, Ordering::Relaxed);
            current.store(new as u32, Ordering::Release);
            machine.fence(number.load(Ordering::Relaxed));
            slots[old].store(0, Ordering::Relaxed);
            if reader.is_finished() || round % 64 == 0 && begin.elapsed() > Duration::from_secs(1) {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn levels_count() {
    let pool = pool(1 << 20);
    let adapter = pool.add_adapter("lab").unwrap();
    let _device = Irql::raise(Irql::DEVICE);
    assert_eq!(pool.allocate(adapter, 64, LAB, Some(&mut 0)), Status::INVALID_IRQL);
}
