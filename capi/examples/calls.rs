//! What a call costs from Rust; calls.c is its twin. Prints the best batch and the median, in ns, of pair (both
//! calls) and of hot's two.

use std::time::Instant;

use pool::{AdapterId, Pool, PoolTag, Status, tag};

const BATCHES: usize = 4000;
const BLOCKS: usize = 1000;
const SIZES: [u32; 8] = [64, 32, 80, 208, 32, 48, 80, 128];
const TAG: PoolTag = tag!("Call");

#[inline(never)]
fn pair(pool: &Pool, disk: AdapterId) -> Result<(), Status> {
    for _ in 0..BLOCKS {
        let mut block = 0;
        pool.allocate(disk, 64, TAG, Some(&mut block)).ok()?;
        // SAFETY: nobody uses the block.
        unsafe { pool.free(disk, block) }.ok()?;
    }
    Ok(())
}

#[inline(never)]
fn allocate(pool: &Pool, disk: AdapterId, blocks: &mut [u64; BLOCKS]) -> Result<(), Status> {
    for (n, block) in blocks.iter_mut().enumerate() {
        pool.allocate(disk, SIZES[n % 8], TAG, Some(block)).ok()?;
    }
    Ok(())
}

#[inline(never)]
fn free(pool: &Pool, disk: AdapterId, blocks: &[u64; BLOCKS]) -> Result<(), Status> {
    for &block in blocks {
        // SAFETY: nobody uses the block.
        unsafe { pool.free(disk, block) }.ok()?;
    }
    Ok(())
}

fn print(name: &str, mut batches: Vec<f64>) {
    batches.sort_by(f64::total_cmp);
    let (best, median) = (batches[0], batches[BATCHES / 2]);
    println!("{name:<14} {:6.2} {:6.2}", best / BLOCKS as f64, median / BLOCKS as f64);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::new(64 << 20)?;
    let disk = pool.add_adapter("disk")?;
    let mut blocks = [0; BLOCKS];
    let mut figures = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..BATCHES {
        let mut times = vec![Instant::now()];
        pair(&pool, disk)?;
        times.push(Instant::now());
        allocate(&pool, disk, &mut blocks)?;
        times.push(Instant::now());
        free(&pool, disk, &blocks)?;
        times.push(Instant::now());
        for (figure, time) in figures.iter_mut().zip(times.windows(2)) {
            figure.push((time[1] - time[0]).as_nanos() as f64);
        }
    }
    for (name, figure) in ["pair", "hot, allocate", "hot, free"].into_iter().zip(figures) {
        print(name, figure);
    }
    Ok(())
}
