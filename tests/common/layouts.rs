//! Blocks by layout, with contents that are looked at; and random calls over them.
#![allow(dead_code, reason = "each test binary uses its own part of it")]

use std::alloc::{GlobalAlloc, Layout};

use proptest::collection::vec;
use proptest::prelude::*;
use storport_pool::{TaggedAlloc, tag};

pub fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

/// An allocator of the test's own. Its pool is never given back.
pub fn allocator(bytes: u64) -> &'static TaggedAlloc {
    Box::leak(Box::new(TaggedAlloc::new(tag!("Ownd"), bytes)))
}

/// A block, and what its bytes must be: those of `seed`.
pub struct Held {
    from: &'static TaggedAlloc,
    block: *mut u8,
    layout: Layout,
    seed: u64,
}

// SAFETY: the block is the value's own.
unsafe impl Send for Held {}

fn byte(seed: u64, at: usize) -> u8 {
    (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left((at % 61) as u32) as u8) ^ at as u8
}

impl Held {
    pub fn new(from: &'static TaggedAlloc, layout: Layout, seed: u64) -> Option<Held> {
        // SAFETY: the layout has a size.
        let block = unsafe { from.alloc(layout) };
        Held::of(from, block, layout, seed)
    }

    /// Looks whether each byte is 0.
    pub fn zeroed(from: &'static TaggedAlloc, layout: Layout) -> Option<Held> {
        // SAFETY: as above.
        let block = unsafe { from.alloc_zeroed(layout) };
        if !block.is_null() {
            // SAFETY: the block has so many bytes, which are initialised.
            let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
            assert!(bytes.iter().all(|&byte| byte == 0), "{layout:?}");
        }
        Held::of(from, block, layout, 77)
    }

    fn of(from: &'static TaggedAlloc, block: *mut u8, layout: Layout, seed: u64) -> Option<Held> {
        if block.is_null() {
            return None;
        }
        assert!(block.addr().is_multiple_of(layout.align()), "{layout:?}");
        let mut held = Held { from, block, layout, seed };
        held.write();
        Some(held)
    }

    pub fn address(&self) -> usize {
        self.block.addr()
    }

    pub fn range(&self) -> std::ops::Range<usize> {
        self.address()..self.address() + self.layout.size()
    }

    fn write(&mut self) {
        for at in 0..self.layout.size() {
            // SAFETY: the block is ours and has so many bytes.
            unsafe { self.block.add(at).write(byte(self.seed, at)) };
        }
    }

    fn intact(&self, bytes: usize) {
        for at in 0..bytes {
            // SAFETY: as above; all bytes were written.
            let found = unsafe { self.block.add(at).read() };
            assert_eq!(found, byte(self.seed, at), "byte {at} of {:?}", self.layout);
        }
    }

    pub fn check(&mut self) {
        self.intact(self.layout.size());
    }

    /// Whether the block has the new size now. What it held must be there.
    pub fn resize(&mut self, size: usize) -> bool {
        // SAFETY: our block, of this layout; the size is not 0.
        let block = unsafe { self.from.realloc(self.block, self.layout, size) };
        if block.is_null() {
            return false;
        }
        assert!(block.addr().is_multiple_of(self.layout.align()));
        let kept = size.min(self.layout.size());
        (self.block, self.layout) = (block, layout(size, self.layout.align()));
        self.intact(kept);
        self.write();
        true
    }

    pub fn free(mut self) {
        self.check();
        // SAFETY: our block, of this layout, given up here.
        unsafe { self.from.dealloc(self.block, self.layout) };
    }
}

#[derive(Clone, Debug)]
pub enum Call {
    Allocate { size: usize, align: u32, zeroed: bool },
    Resize { which: prop::sample::Index, size: usize },
    Free { which: prop::sample::Index },
}

pub fn random_calls() -> impl Strategy<Value = Vec<Call>> {
    let size = || prop_oneof![4 => 1..300usize, 3 => 1..5000usize, 1 => 1..200_000usize];
    let call = prop_oneof![
        3 => (size(), 0..15u32, any::<bool>()).prop_map(|(size, align, zeroed)| Call::Allocate { size, align, zeroed }),
        3 => (any::<prop::sample::Index>(), size()).prop_map(|(which, size)| Call::Resize { which, size }),
        2 => any::<prop::sample::Index>().prop_map(|which| Call::Free { which }),
    ];
    vec(call, 1..120)
}

/// Makes these calls, with the model at hand: what is held, and what it holds.
pub fn run(own: &'static TaggedAlloc, calls: &[Call]) {
    let mut held: Vec<Held> = Vec::new();
    for (n, call) in calls.iter().enumerate() {
        match *call {
            Call::Allocate { size, align, zeroed } => {
                let layout = layout(size, 1 << align);
                let block = if zeroed { Held::zeroed(own, layout) } else { Held::new(own, layout, n as u64) };
                held.extend(block);
            }
            Call::Resize { which, size } if !held.is_empty() => {
                let block = which.get(&held).address();
                let block = held.iter_mut().find(|held| held.address() == block).unwrap();
                let shrinks = size <= block.layout.size();
                assert!(block.resize(size) || !shrinks, "asking for less never fails");
            }
            Call::Free { which } if !held.is_empty() => {
                held.swap_remove(which.index(held.len())).free();
            }
            _ => {}
        }
        let mut ranges: Vec<_> = held.iter().map(Held::range).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start), "blocks overlap");
    }
    held.into_iter().for_each(Held::free);
}
