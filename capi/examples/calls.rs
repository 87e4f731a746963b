//! What a call costs from Rust; calls.c is its twin. Prints the best batch and the median, in ns, of pair (both
//! calls) and of hot's two.

use std::time::Instant;

use pool::{Pool, Status, tag};

const BATCHES: usize = 4000;
const BLOCKS: usize = 1000;
const SIZES: [u32; 8] = [64, 32, 80, 208, 32, 48, 80, 128];

fn print(name: &str, mut batches: Vec<f64>) {
    batches.sort_by(f64::total_cmp);
    let (best, median) = (batches[0], batches[BATCHES / 2]);
    println!("{name:<14} {:6.2} {:6.2}", best / BLOCKS as f64, median / BLOCKS as f64);
}

fn main() {
    let pool = Pool::new(64 << 20).expect("memory");
    let disk = pool.add_adapter("disk").expect("an adapter");
    let (tag, mut blocks) = (tag!("Call"), vec![0; BLOCKS]);
    let (mut pair, mut allocate, mut give) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..BATCHES {
        let start = Instant::now();
        for _ in 0..BLOCKS {
            let mut block = 0;
            assert_eq!(pool.allocate(disk, 64, tag, Some(&mut block)), Status::SUCCESS);
            // SAFETY: nobody uses the block.
            assert_eq!(unsafe { pool.free(disk, block) }, Status::SUCCESS);
        }
        pair.push(start.elapsed().as_nanos() as f64);
        let start = Instant::now();
        for (n, block) in blocks.iter_mut().enumerate() {
            assert_eq!(pool.allocate(disk, SIZES[n % 8], tag, Some(block)), Status::SUCCESS);
        }
        let middle = Instant::now();
        for &block in &blocks {
            // SAFETY: nobody uses the block.
            assert_eq!(unsafe { pool.free(disk, block) }, Status::SUCCESS);
        }
        allocate.push((middle - start).as_nanos() as f64);
        give.push(middle.elapsed().as_nanos() as f64);
    }
    print("pair", pair);
    print("hot, allocate", allocate);
    print("hot, free", give);
}
