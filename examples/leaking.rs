//! A driver that leaks on its error path, and how it is found: docs/DEBUGGING.md follows this program step by step.
//!
//! `cargo run --example leaking --features verifier`

use storport_pool::{AdapterId, FailEach, Pool, PoolTag, Rule, Status, VerifierOptions, tag};

const SRB: PoolTag = tag!("Srb0");
const SENSE: PoolTag = tag!("Sens");

/// A request: its block, and a block for the device's answer.
struct Request {
    srb: u64,
    sense: u64,
}

fn allocate(pool: &Pool, disk: AdapterId, bytes: u32, tag: PoolTag) -> Option<u64> {
    let mut block = 0;
    pool.allocate(disk, bytes, tag, Some(&mut block)).is_success().then_some(block)
}

fn free(pool: &Pool, disk: AdapterId, block: u64) {
    // SAFETY: the driver uses it no more.
    assert_eq!(unsafe { pool.free(disk, block) }, Status::SUCCESS);
}

fn start_io(pool: &Pool, disk: AdapterId) -> Option<Request> {
    let srb = allocate(pool, disk, 208, SRB)?;
    // Wrong: where there is no memory for the answer, the first block is forgotten.
    let sense = allocate(pool, disk, 96, SENSE)?;
    Some(Request { srb, sense })
}

fn complete(pool: &Pool, disk: AdapterId, request: Request, failed: bool) {
    free(pool, disk, request.srb);
    // Wrong: who looks at a failed request's answer forgets to free it.
    if !failed {
        free(pool, disk, request.sense);
    }
}

fn work(pool: &Pool, disk: AdapterId) {
    for n in 0..1000 {
        if let Some(request) = start_io(pool, disk) {
            complete(pool, disk, request, n % 100 == 7);
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::new(64 << 20)?;
    let disk = pool.add_adapter("disk0")?;
    println!("-- which tag?");
    work(&pool, disk);
    for row in pool.remove_adapter(disk)?.outstanding {
        println!("{} blocks of tag {} are left, {} bytes", row.blocks, row.tag, row.bytes);
    }
    println!("-- from which line?");
    let disk = pool.add_adapter("disk0")?;
    let verifier = pool.verifier(VerifierOptions::new())?;
    let rule = verifier.add(Rule::new().adapter(disk).track())?;
    let mark = pool.leaks(Some(disk));
    work(&pool, disk);
    print!("{}", pool.leaks(Some(disk)).since(&mark));
    verifier.remove(rule)?;
    println!("-- and when memory runs out?");
    let disk = pool.add_adapter("disk1")?;
    let report = pool.fail_each(FailEach::new(Rule::new().adapter(disk)), || {
        if let Some(request) = start_io(&pool, disk) {
            complete(&pool, disk, request, false);
        }
    })?;
    println!("{report}");
    Ok(())
}
