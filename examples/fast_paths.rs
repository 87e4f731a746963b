//! Both routines over each platform, in a program small enough to read its machine code: `ci/budget.sh` counts
//! it.
//!
//! `cargo build --release --example fast_paths`, then
//! `objdump -d -C -M intel target/release/examples/fast_paths`; the functions are
//! `storport_pool::allocate::allocate` and `storport_pool::free::free`, the callers those below.

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

use storport_pool::{
    AdapterId, Host, Irql, MaskInterrupts, Masked, Native, Platform, Pool, PoolOptions, PoolTag, Portable,
    Status, tag,
};

/// A host whose answers cost an instruction or two, as a kernel's would.
struct Machine;

static CPU: AtomicU32 = AtomicU32::new(0);
static LEVEL: AtomicU32 = AtomicU32::new(0);
static MASKED: AtomicU32 = AtomicU32::new(0);

impl Host for Machine {
    fn cpu(&self) -> u32 {
        CPU.load(Ordering::Relaxed)
    }

    fn irql(&self) -> Irql {
        if LEVEL.load(Ordering::Relaxed) == 0 { Irql::PASSIVE } else { Irql::DEVICE }
    }
}

// SAFETY: one thread, and nothing interrupts it.
unsafe impl MaskInterrupts for Machine {
    type State = ();

    fn mask(&self) {
        MASKED.store(1, Ordering::Relaxed);
    }

    fn unmask(&self, (): ()) {
        MASKED.store(0, Ordering::Relaxed);
    }

    fn fence(&self, _: u32) {}
}

macro_rules! callers {
    ($($free:ident, $allocate:ident: $platform:ty;)*) => {$(
        #[unsafe(no_mangle)]
        #[inline(never)]
        fn $free(pool: &Pool<$platform>, adapter: AdapterId, address: u64) -> Status {
            // SAFETY: nobody uses the block.
            unsafe { pool.free(adapter, address) }
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        fn $allocate(pool: &Pool<$platform>, adapter: AdapterId, bytes: u32, tag: PoolTag, out: &mut u64) -> Status {
            pool.allocate(adapter, bytes, tag, Some(out))
        }
    )*};
}

callers! {
    native_free, native_allocate: Native;
    masked_free, masked_allocate: Masked<Machine>;
    portable_free, portable_allocate: Portable<Machine>;
}

type Free<P> = fn(&Pool<P>, AdapterId, u64) -> Status;
type Allocate<P> = fn(&Pool<P>, AdapterId, u32, PoolTag, &mut u64) -> Status;

fn show<P: Platform>(
    platform: P,
    free: Free<P>,
    allocate: Allocate<P>,
) -> Result<(), Box<dyn std::error::Error>> {
    let pool = PoolOptions::new(1 << 20).build_on(platform)?;
    let disk = pool.add_adapter("disk0")?;
    let mut address = 0;
    println!("allocate: {}", allocate(&pool, disk, black_box(208), tag!("VioS"), &mut address));
    println!("free: {}", free(&pool, disk, black_box(address)));
    // A double free changes nothing.
    println!("free again: {}", free(&pool, disk, black_box(address)));
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    show(Native::default(), native_free, native_allocate)?;
    show(Masked::new(Machine), masked_free, masked_allocate)?;
    show(Portable::new(Machine), portable_free, portable_allocate)
}
