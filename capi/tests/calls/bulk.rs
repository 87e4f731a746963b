//! Many blocks in one call, and what must come of it.

use super::call::Statuses;
use super::{INSUFFICIENT_RESOURCES, INVALID_PARAMETER, Pointer, SUCCESS, World, pointer, readable};

unsafe extern "C" {
    fn sp_free_bulk(extension: Pointer, blocks: *const Pointer, count: usize, statuses: *mut u32) -> usize;
    fn sp_allocate_bulk(extension: Pointer, bytes: u32, tag: u32, blocks: *mut Pointer, count: usize) -> u32;
    fn sp_hint_free(extension: Pointer, block: Pointer);
}

impl World {
    pub(super) fn allocate_bulk(&mut self, extension: usize, bytes: u32, tag: u32, count: u8, out: bool) {
        let mut blocks = vec![pointer(1); count.into()];
        let to = if out { blocks.as_mut_ptr() } else { std::ptr::null_mut() };
        // SAFETY: `to` is NULL, or has room for as many.
        let status = unsafe { sp_allocate_bulk(pointer(extension), bytes, tag, to, blocks.len()) };
        match self.refused(extension, !out || bytes == 0) {
            _ if count == 0 => assert_eq!(status, SUCCESS),
            // Strict tags are refused as arguments are.
            None if status == INVALID_PARAMETER => assert!(!readable(tag), "{tag:#x}"),
            None => assert!([SUCCESS, INSUFFICIENT_RESOURCES].contains(&status), "{status:#x}"),
            Some(expected) => {
                let strict = status == INVALID_PARAMETER && !readable(tag);
                assert!(status == expected || strict, "{status:#x} for {expected:#x}");
            }
        }
        if status == SUCCESS {
            blocks.iter().for_each(|block| self.allocated(extension, block.addr(), bytes.into(), 16));
        } else {
            assert!(!out || blocks.iter().all(|block| block.is_null()));
        }
    }

    pub(super) fn free_bulk(&mut self, extension: usize, mut blocks: Vec<usize>, statuses: Statuses) {
        blocks.truncate(100);
        let passed: Vec<Pointer> = blocks.iter().map(|&block| pointer(block)).collect();
        passed.iter().for_each(|&block| {
            // SAFETY: takes anything.
            unsafe { sp_hint_free(pointer(extension), block) }
        });
        let mut told = vec![7; blocks.len()];
        let mut aliased = passed.clone();
        let (from, to): (*const Pointer, *mut u32) = match statuses {
            Statuses::None => (passed.as_ptr(), std::ptr::null_mut()),
            Statuses::Apart => (passed.as_ptr(), told.as_mut_ptr()),
            Statuses::Aliased => {
                let memory = aliased.as_mut_ptr();
                (memory, memory.cast())
            }
        };
        // SAFETY: arrays of as many; nobody uses the blocks.
        let freed = unsafe { sp_free_bulk(pointer(extension), from, blocks.len(), to) };
        if statuses == Statuses::Aliased {
            // SAFETY: as many statuses as there are blocks fit where those were.
            told.iter_mut().enumerate().for_each(|(n, status)| *status = unsafe { to.add(n).read() });
        }
        let mut count = 0;
        for (n, &block) in blocks.iter().enumerate() {
            let live = self.blocks.get(&block).is_some_and(|live| live.owner == extension);
            let found = if live { SUCCESS } else { INVALID_PARAMETER };
            let expected = self.refused(extension, block == 0).unwrap_or(found);
            if to.is_null() {
                assert_eq!(told[n], 7);
            } else {
                assert_eq!(told[n], expected, "{n} of {}", blocks.len());
            }
            if expected == SUCCESS {
                count += 1;
                self.forget(block);
            }
        }
        assert_eq!(freed, count);
    }
}
