//! The C interface with whatever arguments: every extension, block, size, flag and order of calls. What it answers
//! must be what a list of live blocks says.

use core::ffi::c_void;
use std::collections::BTreeMap;

mod bulk;
mod call;

pub use call::{Address, Call};

type Pointer = *mut c_void;

unsafe extern "C" {
    fn StorPortAllocatePool(extension: Pointer, bytes: u32, tag: u32, out: *mut Pointer) -> u32;
    fn StorPortFreePool(extension: Pointer, block: Pointer) -> u32;
    fn StorPortExtendedFunction(code: u32, extension: Pointer, ...) -> u32;
    fn ExAllocatePool2(flags: u64, bytes: usize, tag: u32) -> Pointer;
    fn ExAllocatePoolWithTag(kind: u32, bytes: usize, tag: u32) -> Pointer;
    fn ExFreePool(block: Pointer);
    fn ExFreePoolWithTag(block: Pointer, tag: u32);
    fn sp_raise_irql(to: u8) -> u8;
    fn sp_lower_irql(to: u8);
    fn sp_pool_create(bytes: usize) -> Pointer;
    fn sp_pool_create_with(options: *const Options) -> Pointer;
    fn sp_pool_destroy(pool: Pointer);
    fn sp_adapter_create(pool: Pointer, name: *const i8, bytes: usize) -> Pointer;
    fn sp_adapter_remove(extension: Pointer, leaks: Pointer, context: Pointer) -> usize;
    fn sp_adapter_release(extension: Pointer, leaks: Pointer, context: Pointer) -> usize;
    fn sp_set_not_implemented(pool: Pointer, set: bool);
    fn sp_set_system_pool(pool: Pointer);
    fn sp_snapshot_take(pool: Pointer) -> Pointer;
    fn sp_snapshot_next_tag(snapshot: Pointer, row: *mut Row) -> bool;
    fn sp_snapshot_free(snapshot: Pointer);
}

/// `sp_options`, without functions of the host's.
#[repr(C)]
struct Options {
    size: usize,
    range_bytes: usize,
    range: u64,
    metadata: usize,
    metadata_bytes: usize,
    numbers: [u32; 4],
    strict_tags: bool,
    resident: bool,
    portable: bool,
    callbacks: [usize; 6],
    magazines: u32,
    reserved: u32,
}

/// `sp_row`.
#[repr(C)]
struct Row {
    tag: u32,
    text: [u8; 5],
    extension: usize,
    sums: [u64; 5],
}

const SUCCESS: u32 = 0;
const INSUFFICIENT_RESOURCES: u32 = 0xC100_0003;
const INVALID_PARAMETER: u32 = 0xC100_0006;
const NOT_IMPLEMENTED: u32 = 0xC100_0002;
const INVALID_IRQL: u32 = 0xC100_0008;

/// An adapter, or a pool's own, which has no extension.
struct Owner {
    pool: usize,
    live: bool,
}

/// A live block: whose, and its bytes.
struct Block {
    owner: usize,
    bytes: u64,
}

#[derive(Default)]
struct World {
    pools: Vec<usize>,
    /// By extension; a pool's own by its handle.
    owners: BTreeMap<usize, Owner>,
    blocks: BTreeMap<usize, Block>,
    freed: Vec<usize>,
    not_implemented: BTreeMap<usize, bool>,
    system: Option<usize>,
    level: u8,
}

fn pointer(address: usize) -> Pointer {
    std::ptr::with_exposed_provenance_mut(address)
}

/// Levels at which calls are refused come seldom, or nothing else would.
fn often_low(level: u8) -> u8 {
    if level < 16 { level } else { level % 3 }
}

fn pick<T: Copy>(of: impl ExactSizeIterator<Item = T>, which: u8) -> Option<T> {
    let count = of.len();
    let mut of = of;
    if count == 0 { None } else { of.nth(usize::from(which) % count) }
}

impl World {
    fn address(&self, address: Address) -> usize {
        // Mostly the address itself.
        let near = |address: usize, beside: i32| {
            if beside % 8 == 7 { address.wrapping_add_signed(beside as isize) } else { address }
        };
        match address {
            Address::Extension { which, beside } => {
                let extension = pick(self.owners.keys().copied(), which).unwrap_or(0);
                let by = beside >> 8;
                match beside & 0x7F {
                    0 => extension.wrapping_add_signed(by as isize),
                    1 => extension.wrapping_add_signed(by as isize % 64),
                    2 => extension.wrapping_add_signed(by as isize % 64 * 65536),
                    3 => extension ^ 1 << (by & 63),
                    _ => extension,
                }
            }
            Address::Block { which, beside } => {
                near(pick(self.blocks.keys().copied(), which).unwrap_or(0), beside.into())
            }
            Address::Freed { which } => pick(self.freed.iter().copied(), which).unwrap_or(0),
            Address::Any(address) => address as usize,
        }
    }

    /// The pool of an extension whose adapter lives.
    fn pool_of(&self, extension: usize) -> Option<usize> {
        let owner = self.owners.get(&extension)?;
        (owner.live && owner.pool != extension).then_some(owner.pool)
    }

    /// What any call in the name of this extension answers, if that is settled before the block is looked at.
    fn refused(&self, extension: usize, bad_argument: bool) -> Option<u32> {
        let pool =
            self.owners.get(&extension).filter(|owner| owner.pool != extension).map(|owner| owner.pool);
        let Some(pool) = pool else { return Some(INVALID_PARAMETER) };
        if self.not_implemented.get(&pool) == Some(&true) {
            return Some(NOT_IMPLEMENTED);
        }
        if bad_argument || self.pool_of(extension).is_none() {
            return Some(INVALID_PARAMETER);
        }
        (self.level > 2).then_some(INVALID_IRQL)
    }

    fn allocated(&mut self, owner: usize, block: usize, bytes: u64, aligned: usize) {
        assert!(block.is_multiple_of(if bytes >= 4096 { 4096 } else { aligned }));
        assert!(bytes > 4096 || block / 4096 == (block + bytes as usize - 1) / 4096);
        let before = self.blocks.range(..block + bytes as usize).next_back();
        assert!(before.is_none_or(|(&start, other)| start + other.bytes as usize <= block), "an overlap");
        // SAFETY: the block is ours.
        unsafe { pointer(block).cast::<u8>().write_bytes(0xA5, bytes.min(1 << 16) as usize) };
        self.blocks.insert(block, Block { owner, bytes });
    }

    fn forget(&mut self, block: usize) {
        self.blocks.remove(&block);
        self.freed.push(block);
        if self.freed.len() > 64 {
            self.freed.remove(0);
        }
    }

    fn leave(&mut self, extension: usize) -> usize {
        let left: Vec<_> =
            self.blocks.iter().filter(|(_, block)| block.owner == extension).map(|(&at, _)| at).collect();
        left.iter().for_each(|&block| self.forget(block));
        left.len()
    }

    fn run(&mut self, call: &Call) {
        match *call {
            Call::Allocate { extended, extension, size, tag, out } => {
                let (extension, bytes) = (self.address(extension), size.bytes() as u32);
                let mut block = pointer(1);
                let to: *mut Pointer = if out { &mut block } else { std::ptr::null_mut() };
                // SAFETY: `to` is NULL or ours.
                let status = unsafe {
                    if extended {
                        StorPortExtendedFunction(0, pointer(extension), bytes, tag, to)
                    } else {
                        StorPortAllocatePool(pointer(extension), bytes, tag, to)
                    }
                };
                match self.refused(extension, !out || bytes == 0) {
                    // Strict tags are refused as arguments are.
                    None if status == INVALID_PARAMETER => assert!(!readable(tag), "{tag:#x}"),
                    None => assert!([SUCCESS, INSUFFICIENT_RESOURCES].contains(&status), "{status:#x}"),
                    Some(expected) => {
                        let strict = status == INVALID_PARAMETER && !readable(tag);
                        assert!(status == expected || strict, "{status:#x} for {expected:#x}");
                    }
                }
                if status == SUCCESS {
                    self.allocated(extension, block.addr(), bytes.into(), 16);
                } else {
                    assert!(!out || block.is_null());
                }
            }
            Call::Free { extended, extension, block } => {
                let (extension, block) = (self.address(extension), self.address(block));
                // SAFETY: nobody uses the block.
                let status = unsafe {
                    if extended {
                        StorPortExtendedFunction(1, pointer(extension), pointer(block))
                    } else {
                        StorPortFreePool(pointer(extension), pointer(block))
                    }
                };
                let live = self.blocks.get(&block).is_some_and(|live| live.owner == extension);
                let found = if live { SUCCESS } else { INVALID_PARAMETER };
                assert_eq!(status, self.refused(extension, block == 0).unwrap_or(found));
                if status == SUCCESS {
                    self.forget(block);
                }
            }
            Call::Code { code, extension } => {
                // SAFETY: codes above 1 take nothing.
                let status =
                    unsafe { StorPortExtendedFunction(code.max(2), pointer(self.address(extension))) };
                assert_eq!(status, NOT_IMPLEMENTED);
            }
            Call::Pool2 { flags, high, size, tag } => {
                // Half of them as they may be.
                let low = if flags < 0x8000 {
                    flags & 0x7FF
                } else {
                    [0x40, 0x80, 0x100][usize::from(flags >> 6) % 3] | flags & 0x2B
                };
                let (flags, bytes) = (u64::from(low) | u64::from(high) << 32, size.bytes() as usize);
                // SAFETY: takes anything.
                let block = unsafe { ExAllocatePool2(flags, bytes, tag) };
                let kinds = (flags & 0x1C0).count_ones();
                let may = kinds == 1 && flags as u32 & !0x1EB == 0 && tag != 0;
                let aligned = if flags & 8 != 0 { 64 } else { 16 };
                self.executive(block, bytes, may, flags & 0x100 != 0, aligned, flags & 2 == 0);
            }
            Call::WithTag { kind, size, tag } => {
                let bytes = size.bytes() as usize;
                // SAFETY: takes anything.
                let block = unsafe { ExAllocatePoolWithTag(kind.into(), bytes, tag) };
                let aligned = if kind & 4 != 0 { 64 } else { 16 };
                self.executive(block, bytes, true, kind & 1 != 0, aligned, kind & 0x400 != 0);
            }
            Call::ExFree { block, tag } => {
                let address = self.address(block);
                let before = self.live_in_system();
                // SAFETY: nobody uses the block.
                unsafe {
                    match tag {
                        Some(tag) => ExFreePoolWithTag(pointer(address), tag),
                        None => ExFreePool(pointer(address)),
                    }
                }
                let freed = before.zip(self.live_in_system()).is_some_and(|(before, now)| now < before);
                let live = self.system.is_some()
                    && self.blocks.get(&address).is_some_and(|live| Some(live.owner) == self.system);
                assert!(live || !freed);
                // By its tag it may be another's; without, only the level stands in the way. (The switch is the
                // Storport routines', and the pool's free is theirs.)
                let implemented =
                    self.system.is_some_and(|pool| self.not_implemented.get(&pool) != Some(&true));
                assert!(tag.is_some_and(|tag| tag != 0) || freed == (live && self.level <= 2 && implemented));
                if freed {
                    self.forget(address);
                }
            }
            Call::AllocateBulk { extension, size, tag, count, out } => {
                self.allocate_bulk(self.address(extension), size.bytes() as u32, tag, count, out);
            }
            Call::FreeBulk { extension, ref blocks, statuses } => {
                let blocks = blocks.iter().map(|&block| self.address(block)).collect();
                self.free_bulk(self.address(extension), blocks, statuses);
            }
            Call::Raise(level) => {
                let level = often_low(level);
                // SAFETY: takes anything.
                assert_eq!(unsafe { sp_raise_irql(level) }, self.level);
                self.level = self.level.max(level.min(15));
            }
            Call::Lower(level) => {
                let level = often_low(level);
                // SAFETY: takes anything.
                unsafe { sp_lower_irql(level) };
                self.level = self.level.min(level.min(15));
            }
            Call::Create { bytes } => {
                // SAFETY: takes anything.
                let pool = unsafe { sp_pool_create(bytes.bytes().min(16 << 20) as usize) };
                self.made(pool);
            }
            Call::CreateWith { bytes, numbers, size, flags } => {
                let options = Options {
                    size: if size % 8 == 0 { size.into() } else { size_of::<Options>() },
                    range_bytes: (bytes as usize).min(16 << 20),
                    range: 0,
                    metadata: 0,
                    metadata_bytes: 0,
                    // Few CPUs and accounts: each pair of them takes memory.
                    numbers: [numbers[0] % 600 % 5, numbers[1], numbers[2], numbers[3]].map(u32::from),
                    strict_tags: flags & 1 != 0,
                    resident: false,
                    portable: flags & 2 != 0,
                    callbacks: [0; 6],
                    magazines: 0,
                    reserved: 0,
                };
                // SAFETY: options without memory or functions of the host's.
                let pool = unsafe { sp_pool_create_with(&options) };
                self.made(pool);
            }
            Call::Destroy(which) => {
                let Some(pool) = pick(self.pools.iter().copied(), which) else { return };
                // SAFETY: the pool lives, and nobody uses it afterwards.
                unsafe { sp_pool_destroy(pointer(pool)) };
                self.blocks.retain(|_, block| self.owners[&block.owner].pool != pool);
                self.owners.retain(|_, owner| owner.pool != pool);
                self.pools.retain(|&other| other != pool);
                self.not_implemented.remove(&pool);
                // The oldest of the others is next.
                if self.system == Some(pool) {
                    self.system = self.pools.first().copied();
                }
            }
            Call::Adapter { pool, bytes } => {
                let Some(pool) = pick(self.pools.iter().copied(), pool) else { return };
                let bytes = bytes.bytes().min(1 << 20) as usize;
                // SAFETY: the pool lives.
                let extension = unsafe { sp_adapter_create(pointer(pool), std::ptr::null(), bytes) };
                assert!(self.level <= 2 || extension.is_null());
                if !extension.is_null() {
                    // SAFETY: the extension has these bytes.
                    let memory = unsafe { std::slice::from_raw_parts_mut(extension.cast::<u8>(), bytes) };
                    assert!(memory.iter().all(|&byte| byte == 0));
                    memory.fill(0x5A);
                    let owner = Owner { pool, live: true };
                    assert!(self.owners.insert(extension.addr(), owner).is_none(), "an address came again");
                }
            }
            Call::Remove { extension, release } => {
                let extension = self.address(extension);
                let none = std::ptr::null_mut();
                // SAFETY: nobody uses extension or blocks.
                let blocks = unsafe {
                    if release {
                        sp_adapter_release(pointer(extension), none, none)
                    } else {
                        sp_adapter_remove(pointer(extension), none, none)
                    }
                };
                if self.pool_of(extension).is_none() || self.level > 2 {
                    assert_eq!(blocks, usize::MAX);
                    return;
                }
                let left = self.blocks.values().filter(|block| block.owner == extension).count();
                assert_eq!(blocks, left);
                if release {
                    self.leave(extension);
                }
                // Kept blocks are nobody's: no extension frees them, and they stay where they are.
                self.owners.get_mut(&extension).unwrap().live = false;
            }
            Call::Implemented { pool, set } => {
                let Some(pool) = pick(self.pools.iter().copied(), pool) else { return };
                // SAFETY: the pool lives.
                unsafe { sp_set_not_implemented(pointer(pool), set) };
                self.not_implemented.insert(pool, set);
            }
            Call::System { pool } => {
                let pool = pool.and_then(|pool| pick(self.pools.iter().copied(), pool));
                // SAFETY: NULL, or a pool that lives.
                unsafe { sp_set_system_pool(pointer(pool.unwrap_or(0))) };
                self.system = pool;
            }
            Call::Snapshot { pool } => {
                if let Some(pool) = pick(self.pools.iter().copied(), pool) {
                    self.count(pool);
                }
            }
        }
    }

    fn made(&mut self, pool: Pointer) {
        if pool.is_null() {
            return;
        }
        if self.pools.len() == 3 {
            // It served if none did, and then the oldest of the others is next.
            self.system = self.system.or(self.pools.first().copied());
            // SAFETY: nobody uses it.
            return unsafe { sp_pool_destroy(pool) };
        }
        self.pools.push(pool.addr());
        self.owners.insert(pool.addr(), Owner { pool: pool.addr(), live: true });
        self.system = self.system.or(Some(pool.addr()));
    }

    fn live_in_system(&self) -> Option<u64> {
        self.system.map(|pool| sums(pool).1)
    }

    /// What `ExAllocatePool2` and its kind gave.
    fn executive(
        &mut self,
        block: Pointer,
        bytes: usize,
        may: bool,
        paged: bool,
        aligned: usize,
        zeroed: bool,
    ) {
        if block.is_null() {
            return;
        }
        let system = self.system.expect("a block without a system pool");
        assert!(may && bytes > 0 && self.level <= if paged { 1 } else { 2 });
        assert!(self.not_implemented.get(&system) != Some(&true));
        if zeroed {
            // SAFETY: the block is ours.
            let memory = unsafe { std::slice::from_raw_parts(block.cast::<u8>(), bytes) };
            assert!(memory.iter().all(|&byte| byte == 0));
        }
        self.allocated(system, block.addr(), bytes as u64, aligned);
    }

    /// A pool's sums are the list's.
    fn count(&self, pool: usize) {
        let live = self.blocks.values().filter(|block| self.owners[&block.owner].pool == pool).count();
        let (allocs_less_frees, counted) = sums(pool);
        assert_eq!((allocs_less_frees, counted), (live as u64, live as u64));
    }
}

/// Allocated less freed, and live, over all tags.
fn sums(pool: usize) -> (u64, u64) {
    let mut row = Row { tag: 0, text: [0; 5], extension: 0, sums: [0; 5] };
    let mut sums = (0, 0);
    // SAFETY: the pool lives.
    unsafe {
        let snapshot = sp_snapshot_take(pointer(pool));
        while sp_snapshot_next_tag(snapshot, &mut row) {
            sums.0 += row.sums[0] - row.sums[1];
            sums.1 += row.sums[2];
        }
        sp_snapshot_free(snapshot);
    }
    sums
}

/// Whether strict pools take the tag.
pub(crate) fn readable(tag: u32) -> bool {
    let bytes = tag.to_le_bytes();
    let big = bytes.starts_with(b"BIG") && matches!(bytes[3], 0 | b' ');
    bytes.iter().any(u8::is_ascii_alphanumeric) && !big
}

/// Makes the calls, one after another, and ends what they left. One at a time: a process has one system pool.
pub fn run(calls: &[Call]) {
    // Another run may have been cut short.
    // SAFETY: takes anything.
    unsafe {
        sp_lower_irql(0);
        sp_set_system_pool(std::ptr::null_mut());
    }
    let mut world = World::default();
    calls.iter().for_each(|call| world.run(call));
    // SAFETY: the pools live, and nobody uses them afterwards.
    unsafe {
        sp_lower_irql(0);
        for &pool in &world.pools {
            world.count(pool);
            sp_pool_destroy(pointer(pool));
        }
    }
}
