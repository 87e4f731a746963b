//! The kernel's memory: its nonpaged pool, and a guest's.
//!
//! For another kernel: give the pool a range that nothing else uses, aligned to 64 KiB, and say how many CPUs it may
//! ever have. Both are statics here; `Pool::new_in` takes memory that is found at boot. Where blocks of 16 bytes are
//! not common, a smallest block of 64 makes the metadata a quarter as large.

use storport_pool::{Config, Masked, Portable, static_pool};

use crate::cpu::MOST_CPUS;
use crate::host::Machine;

const BYTES: usize = 8 << 20;

#[repr(C, align(65536))]
struct Memory([u8; BYTES]);

/// Only the pool's blocks lie in it, and each belongs to whoever allocated it.
static mut BLOCKS: Memory = Memory([0; BYTES]);

static_pool! {
    /// The kernel's nonpaged pool. The linker decides where its blocks lie.
    pub static KERNEL: Masked<Machine> =
        Config::new(0, BYTES as u64).cpus(MOST_CPUS as u32).min_block(64).accounts(64).adapters(8);
}

static_pool! {
    /// A guest's, at addresses of the guest's, which this kernel cannot touch.
    pub static GUEST: Portable<Machine> =
        Config::new(0x8000_0000, 64 << 20).cpus(MOST_CPUS as u32).min_block(64).accounts(64).adapters(8);
}

/// Where the kernel's pool begins.
pub fn base() -> u64 {
    &raw const BLOCKS as u64
}
