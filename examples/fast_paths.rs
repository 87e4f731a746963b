//! The routines as functions of their own, for reading their machine code: `ci/budget.sh` counts it.
//!
//! `cargo build --release --example fast_paths`, then
//! `objdump -d -M intel target/release/examples/fast_paths`.

use storport_pool::{AdapterId, Pool, PoolTag, Status, tag};

#[unsafe(no_mangle)]
#[inline(never)]
fn budget_free(pool: &Pool, adapter: AdapterId, address: u64) -> Status {
    // SAFETY: whoever calls this gives the block up.
    unsafe { pool.free(adapter, address) }
}

#[unsafe(no_mangle)]
#[inline(never)]
fn budget_allocate(
    pool: &Pool,
    adapter: AdapterId,
    bytes: u32,
    tag: PoolTag,
    out: Option<&mut u64>,
) -> Status {
    pool.allocate(adapter, bytes, tag, out)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::new(1 << 20)?;
    let disk = pool.add_adapter("disk0")?;
    let mut address = 0;
    println!("allocate: {}", budget_allocate(&pool, disk, 208, tag!("VioS"), Some(&mut address)));
    println!("free: {}", budget_free(&pool, disk, address));
    println!("free again: {}", budget_free(&pool, disk, address));
    Ok(())
}
