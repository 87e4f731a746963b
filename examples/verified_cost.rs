//! Pairs of allocate and free under a rule of the verifier, for counting their instructions:
//! `valgrind --tool=callgrind target/release/examples/verified_cost RULE PAIRS`, twice; docs/DEBUGGING.md has the figures.

use storport_pool::{Pool, Rule, Status, VerifierOptions, tag};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(rule), Some(pairs)) = (arguments.next(), arguments.next()) else {
        return Err(
            "wanted: a rule (none, idle, or as STORPORT_POOL_VERIFY has it), and how many pairs".into()
        );
    };
    let pool = Pool::new(64 << 20)?;
    let disk = pool.add_adapter("disk0")?;
    // "none": a pool without a verifier; "idle": one whose verifier has no rule.
    if rule != "none" {
        let verifier = pool.verifier(VerifierOptions::new().quarantine(8))?;
        if rule != "idle" {
            verifier.add(rule.parse::<Rule>()?)?;
        }
    }
    for _ in 0..pairs.parse::<u32>()? {
        let mut block = 0;
        assert_eq!(pool.allocate(disk, 100, tag!("Srb0"), Some(&mut block)), Status::SUCCESS);
        // SAFETY: nobody uses it.
        assert_eq!(unsafe { pool.free(disk, block) }, Status::SUCCESS);
    }
    Ok(())
}
