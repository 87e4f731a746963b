//! Allocators in Rust.

use std::alloc::{GlobalAlloc, Layout};

use storport_pool_lab::subjects::{Need, Subject, unowned};
#[cfg(feature = "talc")]
use talc::TalcLock;
#[cfg(feature = "talc")]
use talc::source::Claim;

const ALIGN: usize = 16;

/// # Safety
/// `bytes` is not 0.
unsafe fn layout(bytes: u32) -> Layout {
    // SAFETY: a power of two, and far from the address space's end.
    unsafe { Layout::from_size_align_unchecked(bytes as usize, ALIGN) }
}

#[cfg(feature = "talc")]
/// So many bytes, as long as the process lives; resident when they are touched. Not `alloc_zeroed`, which touches all
/// of a range that is aligned beyond `malloc`'s own.
fn range(bytes: u64) -> Result<*mut u8, String> {
    let layout = Layout::from_size_align(bytes as usize, 64 << 10).map_err(|error| error.to_string())?;
    // SAFETY: the size is not 0.
    let start = unsafe { std::alloc::alloc(layout) };
    if start.is_null() { Err(format!("no range of {bytes} bytes")) } else { Ok(start) }
}

#[cfg(feature = "smalloc")]
/// smalloc: one large reservation, a slot's class and number in its address.
pub struct Smalloc(smmalloc::Smalloc);

#[cfg(feature = "smalloc")]
// SAFETY: its users make it a static.
unsafe impl Sync for Smalloc {}

#[cfg(feature = "smalloc")]
impl Smalloc {
    pub fn new() -> Smalloc {
        Smalloc(smmalloc::Smalloc::new())
    }
}

#[cfg(feature = "smalloc")]
impl Subject for Smalloc {
    fn name(&self) -> &'static str {
        "smalloc"
    }

    fn cannot(&self, need: Need) -> Option<&'static str> {
        unowned(need)
    }

    #[inline(always)]
    unsafe fn alloc(&self, bytes: u32) -> *mut u8 {
        // SAFETY: not 0: the caller's promise.
        unsafe { self.0.alloc(layout(bytes)) }
    }

    #[inline(always)]
    unsafe fn free(&self, block: *mut u8, bytes: u32) {
        // SAFETY: a live block of its own and its layout: the caller's promise.
        unsafe { self.0.dealloc(block, layout(bytes)) }
    }
}

#[cfg(feature = "talc")]
/// talc, behind the lock that its guide takes.
pub struct Talc(TalcLock<spinning_top::RawSpinlock, Claim>);

#[cfg(feature = "talc")]
impl Talc {
    pub fn new(bytes: u64) -> Result<Talc, String> {
        let start = range(bytes)?;
        // SAFETY: the range is its own, for good.
        Ok(Talc(TalcLock::new(unsafe { Claim::new(start, bytes as usize) })))
    }
}

#[cfg(feature = "talc")]
impl Subject for Talc {
    fn name(&self) -> &'static str {
        "talc"
    }

    fn cannot(&self, need: Need) -> Option<&'static str> {
        unowned(need)
    }

    #[inline(always)]
    unsafe fn alloc(&self, bytes: u32) -> *mut u8 {
        // SAFETY: not 0: the caller's promise.
        unsafe { self.0.alloc(layout(bytes)) }
    }

    #[inline(always)]
    unsafe fn free(&self, block: *mut u8, bytes: u32) {
        // SAFETY: a live block of its own and its layout: the caller's promise.
        unsafe { self.0.dealloc(block, layout(bytes)) }
    }
}
