//! Both routines in a program small enough to read its machine code: `ci/budget.sh` counts it.
//!
//! `cargo build --release --example fast_paths`, then
//! `objdump -d -C -M intel target/release/examples/fast_paths`; the functions are
//! `storport_pool::allocate::allocate` and `storport_pool::free::free`.

use std::hint::black_box;

use storport_pool::{Pool, tag};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::new(1 << 20)?;
    let disk = pool.add_adapter("disk0")?;
    let mut address = 0;
    println!(
        "allocate: {}",
        pool.allocate(black_box(disk), black_box(208), black_box(tag!("VioS")), Some(&mut address))
    );
    // SAFETY: nobody uses the block.
    println!("free: {}", unsafe { pool.free(black_box(disk), black_box(address)) });
    // SAFETY: a double free changes nothing.
    println!("free again: {}", unsafe { pool.free(black_box(disk), black_box(address)) });
    Ok(())
}
