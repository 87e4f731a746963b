//! jemalloc, as its users on Linux have it, and its calls for many blocks.

use std::ffi::{CStr, c_int, c_void};
use std::mem::size_of;
use std::ptr::null_mut;

use storport_pool_lab::bulk;
use storport_pool_lab::subjects::{Need, Subject, unowned};

pub struct Jemalloc;

impl Subject for Jemalloc {
    fn name(&self) -> &'static str {
        "jemalloc"
    }

    fn cannot(&self, need: Need) -> Option<&'static str> {
        unowned(need)
    }

    #[inline(always)]
    unsafe fn alloc(&self, bytes: u32) -> *mut u8 {
        // SAFETY: it takes any size.
        unsafe { tikv_jemalloc_sys::malloc(bytes as usize).cast() }
    }

    #[inline(always)]
    unsafe fn free(&self, block: *mut u8, _: u32) {
        // SAFETY: a live block of its own: the caller's promise.
        unsafe { tikv_jemalloc_sys::free(block.cast()) };
    }

    fn trim(&self) {
        /// All arenas, in jemalloc's own numbering: MALLCTL_ARENAS_ALL.
        const PURGE: &CStr = c"arena.4096.purge";
        for name in [c"thread.tcache.flush", PURGE] {
            // SAFETY: neither reads or writes through what it is given.
            unsafe { tikv_jemalloc_sys::mallctl(name.as_ptr(), null_mut(), null_mut(), null_mut(), 0) };
        }
    }
}

/// jemalloc, allocating by `experimental.batch_alloc`. It has no function that frees many blocks.
pub struct Batches {
    at_once: usize,
    /// The control's number, so that no call looks for its name.
    control: [usize; 2],
}

/// What the control is given: `batch_alloc_packet_t` of jemalloc's src/ctl.c.
#[repr(C)]
struct Packet {
    blocks: *mut *mut u8,
    count: usize,
    bytes: usize,
    flags: c_int,
}

impl Batches {
    /// # Errors
    /// A sentence, when jemalloc has no such control, or there is no such way.
    pub fn new(way: &str) -> Result<Batches, String> {
        let at_once = bulk::at_once(way).ok_or_else(|| format!("there are no bulk calls {way:?}"))?;
        let (mut control, mut length) = ([0; 2], 2);
        let name = c"experimental.batch_alloc";
        // SAFETY: it writes no more numbers than there is room for, as `length` says.
        let refused = unsafe {
            tikv_jemalloc_sys::mallctlnametomib(name.as_ptr(), control.as_mut_ptr(), &raw mut length)
        };
        match (refused, length) {
            (0, 2) => Ok(Batches { at_once, control }),
            _ => Err(format!("this jemalloc has no {name:?}")),
        }
    }
}

impl Subject for Batches {
    fn name(&self) -> &'static str {
        Jemalloc.name()
    }

    fn cannot(&self, need: Need) -> Option<&'static str> {
        unowned(need)
    }

    #[inline(always)]
    unsafe fn alloc(&self, bytes: u32) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { Jemalloc.alloc(bytes) }
    }

    #[inline(always)]
    unsafe fn free(&self, block: *mut u8, bytes: u32) {
        // SAFETY: the caller's promise.
        unsafe { Jemalloc.free(block, bytes) };
    }

    #[inline(always)]
    fn allocs_at_once(&self) -> usize {
        self.at_once
    }

    #[inline(always)]
    unsafe fn alloc_many(&self, bytes: u32, blocks: &mut [*mut u8]) {
        let (count, bytes) = (blocks.len(), bytes as usize);
        let mut packet = Packet { blocks: blocks.as_mut_ptr(), count, bytes, flags: 0 };
        let (mut filled, mut length) = (0_usize, size_of::<usize>());
        // SAFETY: the control reads a packet, writes a number, and up to `count` blocks where the packet says.
        let refused = unsafe {
            tikv_jemalloc_sys::mallctlbymib(
                self.control.as_ptr(),
                self.control.len(),
                (&raw mut filled).cast::<c_void>(),
                &raw mut length,
                (&raw mut packet).cast::<c_void>(),
                size_of::<Packet>(),
            )
        };
        let got = if refused == 0 { filled } else { 0 };
        blocks[got..].fill(null_mut());
    }

    fn trim(&self) {
        Jemalloc.trim();
    }
}
