//! Calls for many blocks at once: who has them, and the pool by them. Their rows stand beside the scenarios' own, and
//! are compared with their allocator's single calls alone.

use static_assertions::{assert_eq_align, assert_eq_size};
use storport_pool::Status;

use crate::subjects::{PoolSubject, Subject, refused};

/// What is done in bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Blocks are freed by one call.
    Free,
    /// Blocks of one size are allocated by one call.
    Allocate,
    /// Blocks are freed one by one, after a hint for each.
    Hint,
}

/// A row: an allocator that makes its calls in one of these ways.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) allocator: &'static str,
    pub(crate) way: &'static str,
    uses: &'static [Use],
}

/// The rows' ways, in the order of the report.
pub(crate) const WAYS: [&str; 4] = ["bulk 8", "bulk 32", "bulk 64", HINT];
const HINT: &str = "hint";
/// Blocks that are hinted at before they are freed: a parcel's.
const HINTED: usize = 64;

const fn row(allocator: &'static str, way: &'static str, uses: &'static [Use]) -> Row {
    Row { allocator, way, uses }
}

const ROWS: [Row; 7] = [
    row("storport-pool", WAYS[0], &[Use::Free, Use::Allocate]),
    row("storport-pool", WAYS[1], &[Use::Free, Use::Allocate]),
    row("storport-pool", WAYS[2], &[Use::Free, Use::Allocate]),
    row("storport-pool", WAYS[3], &[Use::Hint]),
    row("jemalloc", WAYS[0], &[Use::Allocate]),
    row("jemalloc", WAYS[1], &[Use::Allocate]),
    row("jemalloc", WAYS[2], &[Use::Allocate]),
];

impl Row {
    /// As the results name it.
    pub(crate) fn name(self) -> String {
        format!("{} {}", self.allocator, self.way)
    }

    /// Whether a scenario that has use for these calls times this row's frees, and its allocations.
    pub(crate) fn times(self, wanted: &[Use]) -> [bool; 2] {
        let uses = |way| self.uses.contains(&way) && wanted.contains(&way);
        [uses(Use::Free) || uses(Use::Hint), uses(Use::Allocate)]
    }
}

/// The rows of a scenario that has use for these calls.
pub(crate) fn rows(wanted: &[Use]) -> impl Iterator<Item = Row> {
    ROWS.into_iter().filter(|row| row.times(wanted) != [false; 2])
}

/// The allocator of a row's name, and its way. `None`: it is no row of bulk calls.
pub fn split(name: &str) -> Option<(&str, &'static str)> {
    WAYS.iter().find_map(|way| Some((name.strip_suffix(way)?.strip_suffix(' ')?, *way)))
}

/// How many blocks a call of this way takes: of "bulk 8", 8.
pub fn at_once(way: &str) -> Option<usize> {
    if way == HINT { Some(HINTED) } else { way.strip_prefix("bulk ")?.parse().ok() }
}

/// The pool by its bulk calls, or with hints before its single frees.
pub(crate) struct PoolInBulk<'a> {
    single: PoolSubject<'a>,
    at_once: usize,
    hint: bool,
}

impl<'a> PoolInBulk<'a> {
    /// `None`: there is no such way.
    pub(crate) fn new(single: PoolSubject<'a>, way: &str) -> Option<PoolInBulk<'a>> {
        Some(PoolInBulk { single, at_once: at_once(way)?, hint: way == HINT })
    }
}

// A pointer is an address, as the bulk calls take it.
assert_eq_size!(*mut u8, u64);
assert_eq_align!(*mut u8, u64);

impl Subject for PoolInBulk<'_> {
    fn name(&self) -> &'static str {
        self.single.name()
    }

    #[inline(always)]
    unsafe fn alloc(&self, bytes: u32) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.single.alloc(bytes) }
    }

    #[inline(always)]
    unsafe fn free(&self, block: *mut u8, bytes: u32) {
        // SAFETY: the caller's promise.
        unsafe { self.single.free(block, bytes) };
    }

    #[inline(always)]
    fn allocs_at_once(&self) -> usize {
        if self.hint { 1 } else { self.at_once }
    }

    #[inline(always)]
    fn frees_at_once(&self) -> usize {
        self.at_once
    }

    #[inline(always)]
    unsafe fn alloc_many(&self, bytes: u32, blocks: &mut [*mut u8]) {
        let PoolSubject { pool, adapter, tag } = self.single;
        // SAFETY: as large and as aligned, as asserted; any number is a pointer's.
        let addresses =
            unsafe { std::slice::from_raw_parts_mut(blocks.as_mut_ptr().cast::<u64>(), blocks.len()) };
        // They are all 0 after a failure.
        let _ = pool.allocate_bulk(adapter, bytes, tag, addresses);
        for block in blocks {
            *block = std::ptr::with_exposed_provenance_mut(block.addr());
        }
    }

    #[inline(always)]
    unsafe fn free_many(&self, blocks: &[*mut u8], bytes: &[u32]) {
        let PoolSubject { pool, adapter, .. } = self.single;
        if self.hint {
            blocks.iter().for_each(|block| pool.hint_free(block.addr() as u64));
            for (&block, &bytes) in blocks.iter().zip(bytes) {
                // SAFETY: the caller's promise.
                unsafe { self.single.free(block, bytes) };
            }
            return;
        }
        // SAFETY: as large and as aligned, as asserted; the pool wants the addresses, and uses no memory there.
        let addresses = unsafe { std::slice::from_raw_parts(blocks.as_ptr().cast::<u64>(), blocks.len()) };
        // SAFETY: the caller's promise.
        if unsafe { pool.free_bulk(adapter, addresses, &mut []) } != blocks.len() {
            refused(Status::INVALID_PARAMETER);
        }
    }

    fn trim(&self) {
        self.single.trim();
    }

    fn upkeep(&self) {
        self.single.upkeep();
    }
}

#[cfg(test)]
mod tests {
    use storport_pool::{AdapterId, Pool};

    use super::*;
    use crate::subjects::{LAB, alloc_many_touched};

    #[test]
    fn rows_are_where_they_have_a_use() {
        let names = |wanted: &[Use]| -> Vec<_> { rows(wanted).map(Row::name).collect() };
        assert_eq!(names(&[]), [""; 0]);
        assert_eq!(
            names(&[Use::Free]),
            ["storport-pool bulk 8", "storport-pool bulk 32", "storport-pool bulk 64"]
        );
        assert_eq!((names(&[Use::Free, Use::Hint]).len(), names(&[Use::Free, Use::Allocate]).len()), (4, 6));
        assert_eq!(ROWS[0].times(&[Use::Free, Use::Allocate]), [true, true]);
        assert_eq!(ROWS[0].times(&[Use::Free, Use::Hint]), [true, false]);
        assert_eq!(ROWS[4].times(&[Use::Free, Use::Allocate]), [false, true]);
    }

    #[test]
    fn names_say_whose_and_how() {
        for row in ROWS {
            assert_eq!(split(&row.name()), Some((row.allocator, row.way)));
            assert!(at_once(row.way).is_some_and(|blocks| blocks > 1));
        }
        assert_eq!(split("storport-pool"), None);
        assert_eq!(split("bulk 8"), None);
        assert_eq!(at_once("bulk"), None);
    }

    #[test]
    fn all_ways_allocate_and_free() {
        let pool = Pool::new(1 << 20).unwrap();
        let adapter: AdapterId = pool.add_adapter("lab").unwrap();
        for way in WAYS {
            let subject = PoolInBulk::new(PoolSubject { pool: &pool, adapter, tag: LAB }, way).unwrap();
            let mut blocks = [std::ptr::null_mut(); 8];
            alloc_many_touched(&subject, 208, &mut blocks);
            // SAFETY: just allocated.
            unsafe { subject.free_many(&blocks, &[208; 8]) };
        }
        assert_eq!(pool.violations(), 0);
        assert!(pool.remove_adapter(adapter).unwrap().outstanding.is_empty());
    }
}
