//! Libraries in C and C++.

use storport_pool_lab::subjects::{Need, Subject, unowned};

macro_rules! subject {
    ($(#[$about:meta])* $subject:ident, $name:literal: $alloc:expr, $free:expr; $($more:tt)*) => {
        $(#[$about])*
        pub struct $subject;

        impl Subject for $subject {
            fn name(&self) -> &'static str {
                $name
            }

            fn cannot(&self, need: Need) -> Option<&'static str> {
                unowned(need)
            }

            #[inline(always)]
            unsafe fn alloc(&self, bytes: u32) -> *mut u8 {
                // SAFETY: it takes any size.
                unsafe { $alloc(bytes as usize).cast() }
            }

            #[inline(always)]
            unsafe fn free(&self, block: *mut u8, bytes: u32) {
                // SAFETY: a live block of its own: the caller's promise.
                unsafe { $free(block.cast(), bytes) };
            }

            $($more)*
        }
    };
}

#[cfg(feature = "rpmalloc")]
subject! {
    /// rpmalloc. Each thread tells it when it comes and when it goes.
    Rpmalloc, "rpmalloc": rpmalloc_sys::rpmalloc, |block, _| rpmalloc_sys::rpfree(block);

    fn enter(&self) {
        // SAFETY: once more does no harm.
        unsafe { rpmalloc_sys::rpmalloc_thread_initialize() };
    }

    fn leave(&self) {
        // SAFETY: the thread calls it no more, or enters again.
        unsafe { rpmalloc_sys::rpmalloc_thread_finalize() };
    }

    fn trim(&self) {
        // SAFETY: the thread has entered.
        unsafe { rpmalloc_sys::rpmalloc_thread_collect() };
    }
}

#[cfg(feature = "rpmalloc")]
impl Rpmalloc {
    pub fn new() -> Rpmalloc {
        // SAFETY: before all else.
        unsafe { rpmalloc_sys::rpmalloc_initialize() };
        Rpmalloc
    }
}

#[cfg(any(feature = "snmalloc", feature = "snmalloc-check"))]
subject! {
    /// snmalloc, by the functions that its crate gives Rust. Its free is told the size, and checks nothing by it
    /// unless it is built to.
    Snmalloc, "snmalloc":
        |bytes| snmalloc_sys::sn_rust_alloc(16, bytes),
        |block, bytes| snmalloc_sys::sn_rust_dealloc(block, 16, bytes as usize);
}
