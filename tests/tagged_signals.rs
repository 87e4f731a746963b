//! A program whose handlers allocate as ordinary code does, and fork, wherever they come.
#![cfg(target_os = "linux")]

#[path = "common/timer.rs"]
mod timer;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use storport_pool::{TagScope, TaggedAlloc, tag, with_tag};

#[global_allocator]
static GLOBAL: TaggedAlloc = TaggedAlloc::new(tag!("Main"), 64 << 20);

static INTERRUPTED: AtomicU64 = AtomicU64::new(0);
static SCOPED: AtomicU64 = AtomicU64::new(0);
static DAMAGE: AtomicU64 = AtomicU64::new(0);
/// Children well, and whether this is one.
static WELL: AtomicU64 = AtomicU64::new(0);
static CHILD: AtomicBool = AtomicBool::new(false);

fn must(well: bool) {
    DAMAGE.fetch_add(u64::from(!well), Ordering::Relaxed);
}

/// What a handler may not do with most allocators: make strings and vectors.
extern "C" fn interrupt(_: i32) {
    let errno = nix::errno::Errno::last_raw();
    let count = INTERRUPTED.fetch_add(1, Ordering::Relaxed);
    let below = TagScope::current();
    SCOPED.fetch_add(u64::from(below == Some(tag!("Work"))), Ordering::Relaxed);
    let tag_of = |text: &String| GLOBAL.pool().unwrap().block_at(text.as_ptr() as u64).unwrap().tag;
    let text = format!("interruption {count}");
    must(tag_of(&text) == Some(below.unwrap_or(tag!("Main"))));
    with_tag(tag!("Hand"), || {
        let texts: Vec<String> = (0..10).map(|n| format!("{text}, {n}")).collect();
        must(tag_of(&texts[9]) == Some(tag!("Hand")));
        must(texts.iter().enumerate().all(|(n, line)| *line == format!("interruption {count}, {n}")));
    });
    must(TagScope::current() == below);
    if count % 100 == 99 && !CHILD.load(Ordering::Relaxed) {
        // SAFETY: the child goes on here, and in the code below, which allocates and then ends it.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => {
                CHILD.store(true, Ordering::Relaxed);
                let more: Vec<String> = (0..100).map(|n| format!("the child's {n}")).collect();
                must(more[99] == "the child's 99");
            }
            Ok(ForkResult::Parent { child }) => {
                let ended = waitpid(child, None);
                WELL.fetch_add(u64::from(ended == Ok(WaitStatus::Exited(child, 42))), Ordering::Relaxed);
                must(ended == Ok(WaitStatus::Exited(child, 42)));
            }
            Err(_) => must(false),
        }
    }
    nix::errno::Errno::set_raw(errno);
}

/// Allocates in a scope until `until`; each text is looked at before it is dropped.
fn work(until: impl Fn() -> bool) {
    let mut held: Vec<String> = Vec::new();
    for round in 0u64.. {
        with_tag(tag!("Work"), || {
            held.push(format!("{round} {:>width$}", 7, width = (round % 3000) as usize))
        });
        if held.len() > 200 {
            for (n, text) in held.drain(..).enumerate() {
                let number: u64 = text.split_once(' ').unwrap().0.parse().unwrap();
                must(number == round - 200 + n as u64 && text.ends_with('7'));
            }
        }
        if until() {
            return;
        }
        if CHILD.load(Ordering::Relaxed) {
            // A child goes on in what was interrupted, and then ends.
            let last = round + 500;
            held.clear();
            (round..last).for_each(|n| held.push(format!("{n}")));
            must(GLOBAL.pool().unwrap().violations() == 0);
            let code = if DAMAGE.load(Ordering::Relaxed) == 0 { 42 } else { 1 };
            // SAFETY: ends the process, without another call.
            unsafe { nix::libc::_exit(code) }
        }
    }
}

#[test]
fn handlers_allocate_and_fork() {
    // SAFETY: the handler's calls are the allocator's and the system's; both allow it.
    unsafe { timer::handle(interrupt) };
    let timer = timer::every(300_000);
    work(|| {
        WELL.load(Ordering::Relaxed) >= 20 && !CHILD.load(Ordering::Relaxed)
            || DAMAGE.load(Ordering::Relaxed) > 0
    });
    drop(timer);
    assert_eq!(DAMAGE.load(Ordering::Relaxed), 0);
    assert!(SCOPED.load(Ordering::Relaxed) > 0, "handlers came inside the scope");
    assert_eq!(TagScope::current(), None);
    assert_eq!(GLOBAL.pool().unwrap().violations(), 0);
}
