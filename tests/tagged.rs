//! A program whose global allocator the pool is.

use std::alloc::{GlobalAlloc, Layout};
use std::collections::{BTreeMap, HashMap, VecDeque};

use storport_pool::{TaggedAlloc, tag};

#[global_allocator]
static GLOBAL: TaggedAlloc = TaggedAlloc::new(tag!("Main"), 256 << 20);

/// The tests' own blocks come from it too, and were allocated before `main`.
#[test]
fn stds_collections() {
    let mut map = HashMap::new();
    let mut tree = BTreeMap::new();
    let mut queue = VecDeque::new();
    for n in 0..10_000u64 {
        let text = format!("number {n}");
        queue.push_back(text.clone());
        tree.insert(text.clone(), n);
        map.insert(n, text);
    }
    for n in 0..10_000u64 {
        let text = queue.pop_front().unwrap();
        assert_eq!((map.remove(&n), tree.remove(&text)), (Some(text), Some(n)));
    }
    let pool = GLOBAL.pool().unwrap();
    assert!(pool.usage().live > 0);
    assert_eq!(pool.violations(), 0);
}

#[test]
fn all_alignments() {
    for power in 0..=20 {
        for size in [1, 7, 16, 100, 4095, 4096, 5000, 100_000] {
            let layout = Layout::from_size_align(size, 1 << power).unwrap();
            // SAFETY: the layout has a size; the block is freed once.
            unsafe {
                let block = GLOBAL.alloc(layout);
                assert!(!block.is_null() && block.addr().is_multiple_of(1 << power), "{layout:?}");
                block.write_bytes(0xA5, size);
                GLOBAL.dealloc(block, layout);
            }
        }
    }
}
