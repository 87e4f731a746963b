//! What most people would write from the words "a lock-free pool allocator with size classes": a Treiber stack of
//! free blocks for each class, with crossbeam's padding, backoff and epochs. It checks nothing and counts nothing.
//!
//! The blocks are the stack's nodes, and that is what makes it delicate. A thread in `pop` has read the block at the
//! head and the one below it, and is about to exchange the one for the other. Meanwhile others may pop both and free
//! the first one: the head is as it was, the exchange succeeds, and a block that is in use is the head. Two
//! remedies are usual, and each is a peer:
//! * `textbook`: epochs. A freed block is pushed once no thread is left that was in `pop` when it was freed.
//! * `textbook-tagged`: a count beside the head, which each pop increments. A freed block is pushed at once.

use std::alloc::{Layout, alloc, handle_alloc_error};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crossbeam_epoch::pin;
use crossbeam_utils::{Backoff, CachePadded};

use crate::subjects::{Need, Subject, unowned};

/// A slab has blocks of one class.
const SLAB: usize = 64 << 10;
/// Larger blocks are the system's.
const LARGEST: usize = 32 << 10;
/// Steps of 16 up to 128 bytes, then four for each doubling.
const CLASSES: usize = 8 + 4 * 8;
/// What places are counted in, and how blocks are aligned.
const UNIT: usize = 16;
/// The head's count of pops.
const TAG: u64 = 1 << 32;

const fn class_of(bytes: usize) -> usize {
    let last = bytes - 1;
    if last < 128 {
        return last / 16;
    }
    let log = last.ilog2() as usize;
    8 + (log - 7) * 4 + (last >> (log - 2)) % 4
}

const fn size_of(class: usize) -> usize {
    if class < 8 { (class + 1) * 16 } else { (32 << ((class - 8) / 4)) * (5 + class % 4) }
}

const _: () = assert!(class_of(LARGEST) == CLASSES - 1 && size_of(CLASSES - 1) == LARGEST);

/// The peer `textbook-tagged`, or else `textbook`.
pub struct Textbook<const TAGGED: bool>(&'static Slabs);

/// Never dropped: epochs run what was deferred whenever they like.
struct Slabs {
    base: *mut u8,
    /// By slab, its blocks' class: written before a block of the slab is handed out, then never again.
    map: Box<[AtomicU8]>,
    /// How many slabs were asked for.
    carved: CachePadded<AtomicUsize>,
    /// By class, the place of the first free block, 0 when there is none, and the count of pops above it.
    heads: [CachePadded<AtomicU64>; CLASSES],
}

// SAFETY: `base` is only ever read, and what it points to is handed out in parts.
unsafe impl Sync for Slabs {}

impl Slabs {
    /// So many bytes in slabs; no more than 64 GiB, so that a place has 32 bits.
    fn new(bytes: usize) -> &'static Slabs {
        let slabs = bytes.div_ceil(SLAB);
        assert!(slabs * SLAB / UNIT < u32::MAX as usize, "{bytes} bytes are more than places have bits for");
        let layout = Layout::from_size_align(slabs * SLAB, SLAB).expect("less than the address space");
        // SAFETY: the size is not 0.
        let base = unsafe { alloc(layout) };
        if base.is_null() {
            handle_alloc_error(layout);
        }
        Box::leak(Box::new(Slabs {
            base,
            map: (0..slabs).map(|_| AtomicU8::new(0)).collect(),
            carved: CachePadded::new(AtomicUsize::new(0)),
            heads: [const { CachePadded::new(AtomicU64::new(0)) }; CLASSES],
        }))
    }

    /// A block's offset; no block of the slabs when it is beyond them.
    #[inline(always)]
    fn offset(&self, block: *mut u8) -> usize {
        block.addr().wrapping_sub(self.base.addr())
    }

    /// Where it is, as a head has it: places begin at 1.
    #[inline(always)]
    fn place(&self, block: *mut u8) -> u32 {
        (self.offset(block) / UNIT) as u32 + 1
    }

    #[inline(always)]
    fn block(&self, place: u32) -> *mut u8 {
        self.base.wrapping_add((place as usize - 1) * UNIT)
    }

    /// A free block's first word: the place of the next one. Of a block that another thread has popped meanwhile,
    /// it is the caller's bytes: the exchange that follows fails then.
    ///
    /// # Safety
    /// The place is a block's.
    #[inline(always)]
    unsafe fn next(&self, place: u32) -> &AtomicU32 {
        // SAFETY: blocks are aligned, at least as large, and stay mapped for good.
        unsafe { AtomicU32::from_ptr(self.block(place).cast()) }
    }

    /// Puts a chain of blocks on top of a stack.
    ///
    /// # Safety
    /// The chain's blocks are of this class and nobody else's, and each `next` but the last one's is written. Heads
    /// without count: no thread is in `pop` that saw the first one in the stack.
    #[inline(always)]
    unsafe fn push(&self, class: usize, first: u32, last: u32) {
        let (head, backoff) = (&self.heads[class], Backoff::new());
        // ORDERING: Relaxed - nothing below the head is read here.
        let mut old = head.load(Ordering::Relaxed);
        loop {
            // SAFETY: a block's place: the caller's promise.
            // ORDERING: Relaxed - the exchange publishes it.
            unsafe { self.next(last) }.store(old as u32, Ordering::Relaxed);
            let new = old & !(TAG - 1) | u64::from(first);
            // ORDERING: Release - the chain, and all that was done in its blocks; pairs with the Acquire in `pop`.
            // Relaxed when it fails, as above.
            match head.compare_exchange_weak(old, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => old = now,
            }
            backoff.spin();
        }
    }

    /// Takes the block on top of a stack. `tag` is what the head's count grows by; heads without count need the
    /// thread pinned.
    #[inline(always)]
    fn pop(&self, class: usize, tag: u64) -> Option<*mut u8> {
        let (head, backoff) = (&self.heads[class], Backoff::new());
        // ORDERING: Acquire - the block's next; pairs with the Release in `push`.
        let mut old = head.load(Ordering::Acquire);
        while old as u32 != 0 {
            // SAFETY: heads have places of blocks only.
            // ORDERING: Relaxed - published by the head.
            let next = unsafe { self.next(old as u32) }.load(Ordering::Relaxed);
            #[cfg(test)]
            tests::let_others_run();
            let new = (old & !(TAG - 1)).wrapping_add(tag) | u64::from(next);
            // ORDERING: Acquire, both - as above. What this exchange leaves below the head was published by those
            // who pushed it, whose release sequences it continues.
            match head.compare_exchange_weak(old, new, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(self.block(old as u32)),
                Err(now) => old = now,
            }
            backoff.spin();
        }
        None
    }

    /// A fresh slab's first block; the others go on the stack. Null when there is no slab left.
    #[cold]
    #[inline(never)]
    fn carve(&self, class: usize) -> *mut u8 {
        // ORDERING: Relaxed - a word by itself.
        let slab = self.carved.fetch_add(1, Ordering::Relaxed);
        let Some(entry) = self.map.get(slab) else { return std::ptr::null_mut() };
        // ORDERING: Relaxed - whoever frees a block got it from who allocated it, and that one from here or by `pop`.
        entry.store(class as u8, Ordering::Relaxed);
        let (start, units) = ((slab * SLAB / UNIT) as u32 + 1, (size_of(class) / UNIT) as u32);
        let last = start + ((SLAB / size_of(class)) as u32 - 1) * units;
        for place in (start + units..last).step_by(units as usize) {
            // SAFETY: a block of the slab, which is ours.
            // ORDERING: Relaxed - `push` publishes it.
            unsafe { self.next(place) }.store(place + units, Ordering::Relaxed);
        }
        // SAFETY: as above, and none of them was in the stack before.
        unsafe { self.push(class, start + units, last) };
        self.block(start)
    }
}

impl<const TAGGED: bool> Textbook<TAGGED> {
    /// With slabs for so many bytes, resident when they are touched.
    pub fn new(bytes: u64) -> Textbook<TAGGED> {
        Textbook(Slabs::new(bytes as usize))
    }
}

impl<const TAGGED: bool> Subject for Textbook<TAGGED> {
    fn name(&self) -> &'static str {
        if TAGGED { "textbook-tagged" } else { "textbook" }
    }

    fn cannot(&self, need: Need) -> Option<&'static str> {
        match need {
            // A handler may come by at any point of `push` and `pop`. Larger blocks are not asked for there.
            Need::Interrupts if TAGGED => None,
            need => unowned(need),
        }
    }

    #[inline(always)]
    unsafe fn alloc(&self, bytes: u32) -> *mut u8 {
        if bytes as usize > LARGEST {
            // SAFETY: malloc takes any size.
            return unsafe { libc::malloc(bytes as usize).cast() };
        }
        let class = class_of(bytes as usize);
        let block = if TAGGED {
            self.0.pop(class, TAG)
        } else {
            let _pinned = pin();
            self.0.pop(class, 0)
        };
        block.unwrap_or_else(|| self.0.carve(class))
    }

    #[inline(always)]
    unsafe fn free(&self, block: *mut u8, _: u32) {
        let slabs = self.0;
        // ORDERING: Relaxed - see `carve`.
        let Some(class) =
            slabs.map.get(slabs.offset(block) / SLAB).map(|class| class.load(Ordering::Relaxed))
        else {
            // SAFETY: not of the slabs, so it is malloc's: the caller's promise.
            return unsafe { libc::free(block.cast()) };
        };
        let place = slabs.place(block);
        // SAFETY: a live block of its class: the caller's promise. Heads have a count here, or else what is deferred
        // runs when no thread is pinned any more that is now.
        let push = move || unsafe { slabs.push(usize::from(class), place, place) };
        if TAGGED {
            push();
        } else {
            // SAFETY: it touches what is never dropped, on whatever thread.
            unsafe { pin().defer_unchecked(push) };
        }
    }

    /// A thread's first pin allocates.
    fn enter(&self) {
        if !TAGGED {
            drop(pin());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;

    use fastrand::Rng;

    use super::*;

    /// Where `pop` is most vulnerable, now and then.
    pub(super) fn let_others_run() {
        if fastrand::u32(..8) == 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn classes_are_tight() {
        let mut smaller = 0;
        for class in 0..CLASSES {
            let size = size_of(class);
            assert_eq!((class_of(smaller + 1), class_of(size)), (class, class), "{size}");
            assert!(size.is_multiple_of(UNIT) && (class < 8 || size - smaller <= smaller / 4));
            smaller = size;
        }
    }

    /// Threads allocate and free blocks of few classes, half of them each other's: nobody gets a block that
    /// somebody has, and none is lost.
    fn no_block_is_handed_out_twice<const TAGGED: bool>() {
        const THREADS: u64 = 4;
        const ROUNDS: usize = 200_000;
        let textbook = &Textbook::<TAGGED>::new(64 << 20);
        let live: Vec<AtomicBool> =
            (0..textbook.0.map.len() * SLAB / UNIT).map(|_| AtomicBool::new(false)).collect();
        let (live, passed) = (&live, &Mutex::new(Vec::new()));
        let take = move |bytes| {
            // SAFETY: not 0.
            let block = unsafe { textbook.alloc(bytes) };
            assert!(!block.is_null());
            // ORDERING: Relaxed, here and below - a word by itself.
            let had = live[textbook.0.offset(block) / UNIT].swap(true, Ordering::Relaxed);
            assert!(!had, "a live block was handed out");
            // Its first word stays what it was in the stack, so that a wrong exchange goes on with blocks.
            // SAFETY: the block is ours, and as large.
            unsafe { block.add(4).write_bytes(0xff, bytes as usize - 4) };
            block.expose_provenance()
        };
        let give = move |block: usize| {
            let block: *mut u8 = std::ptr::with_exposed_provenance_mut(block);
            assert!(live[textbook.0.offset(block) / UNIT].swap(false, Ordering::Relaxed));
            // SAFETY: `take` gave it, and nobody else has it.
            unsafe { textbook.free(block, 0) };
        };
        std::thread::scope(|scope| {
            for seed in 0..THREADS {
                scope.spawn(move || {
                    textbook.enter();
                    let (mut rng, mut held) = (Rng::with_seed(seed), Vec::new());
                    for _ in 0..ROUNDS {
                        if held.len() < rng.usize(..8) {
                            held.push(take(*rng.choice(&[16u32, 64]).unwrap()));
                        } else if held.is_empty() || rng.bool() {
                            let block = passed.lock().unwrap().pop();
                            block.into_iter().for_each(give);
                        } else {
                            let block = held.swap_remove(rng.usize(..held.len()));
                            if rng.bool() { give(block) } else { passed.lock().unwrap().push(block) }
                        }
                    }
                    held.into_iter().for_each(give);
                });
            }
        });
        passed.lock().unwrap().drain(..).for_each(give);
        // What waits for an epoch gets into the stacks when somebody flushes, and no other test is pinned.
        let mut tries = 0;
        while free_blocks(textbook.0) < all_blocks(textbook.0) && tries < 10_000 {
            tries += 1;
            pin().flush();
            std::thread::yield_now();
        }
        assert_eq!(free_blocks(textbook.0), all_blocks(textbook.0));
    }

    /// In the stacks; nobody is using them.
    fn free_blocks(slabs: &Slabs) -> usize {
        let count = |head: &CachePadded<AtomicU64>| {
            // ORDERING: Relaxed, here and in `all_blocks` - the threads were joined.
            let first = Some(head.load(Ordering::Relaxed) as u32).filter(|&place| place != 0);
            std::iter::successors(first, |&place| {
                // SAFETY: a free block's place.
                let next = unsafe { slabs.next(place) }.load(Ordering::Relaxed);
                (next != 0).then_some(next)
            })
            .count()
        };
        slabs.heads.iter().map(count).sum()
    }

    /// Of all slabs that were carved.
    fn all_blocks(slabs: &Slabs) -> usize {
        let carved = &slabs.map[..slabs.carved.load(Ordering::Relaxed)];
        carved.iter().map(|class| SLAB / size_of(class.load(Ordering::Relaxed).into())).sum()
    }

    #[test]
    fn no_block_is_handed_out_twice_by_epochs() {
        no_block_is_handed_out_twice::<false>();
    }

    #[test]
    fn no_block_is_handed_out_twice_by_tags() {
        no_block_is_handed_out_twice::<true>();
    }
}
