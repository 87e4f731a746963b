//! Misuse: refused, reported with what Windows would have stopped with, and without effect.

use storport_pool::{PoolOptions, PoolTag, Status, Violation};

use super::bench::{Bench, POOL_BYTES, TAG, short};
use crate::results::Check;

pub(super) fn run() -> Result<Vec<Check>, String> {
    let mut bench = Bench::new("misuse", PoolOptions::new(POOL_BYTES))?;
    frees(&mut bench)?;
    misuse(&mut bench, "allocate: zero bytes", "ZeroSize 0xC2/0x00", |bench, _| allocate(bench, 0, TAG))?;
    let mut rows = bench.into_rows();

    let mut strict = Bench::new("misuse", PoolOptions::new(POOL_BYTES).strict_tags(true))?;
    let text = |text| PoolTag::new(text).map_err(|error| error.to_string());
    for (what, expected, tag) in [
        ("strict tags: tag 0", "ZeroTag 0xC2/0x9B", PoolTag::from_raw(0)),
        ("strict tags: \"BIG\"", "BigTag 0xC2/0x9C", text("BIG")?),
        ("strict tags: \"-+-!\"", "UnreadableTag 0xC2/0x9D", text("-+-!")?),
    ] {
        misuse(&mut strict, what, expected, |bench, _| allocate(bench, 512, tag))?;
    }
    rows.extend(strict.into_rows());
    Ok(rows)
}

fn frees(bench: &mut Bench) -> Result<(), String> {
    let stranger = bench.pool.add_adapter("stranger").map_err(|error| error.to_string())?;
    let other = Bench::new("misuse", PoolOptions::new(POOL_BYTES))?;
    let theirs = other.block(512)?;
    let on_stack = 0u64;
    let on_stack = (&raw const on_stack).addr() as u64;
    // The last page: blocks are handed out from the other end.
    let (base, bytes) = bench.pool.range();
    let never = base + bytes - 4096;

    let freed = bench.block(512)?;
    let _ = bench.free(freed);
    misuse_alone(bench, "free: double, at once", "DoubleFree 0xC2/0x07", |bench| bench.free(freed));
    misuse_alone(bench, "free: of a stack variable", "Foreign 0xC2/0x43", |bench| bench.free(on_stack));
    misuse_alone(bench, "free: of another pool's block", "Foreign 0xC2/0x43", |bench| bench.free(theirs));
    misuse_alone(bench, "free: never handed out", "Wild 0xC2/0x46", |bench| bench.free(never));
    misuse(bench, "free: 256 bytes into a block", "Interior 0xC2/0x99", |bench, block| {
        bench.free(block + 256)
    })?;
    misuse(bench, "free: block + 1", "Interior 0xC2/0x99", |bench, block| bench.free(block + 1))?;
    misuse(bench, "free: another adapter's block", "WrongOwner 0xC2/0x99", |bench, block| {
        bench.free_as(stranger, block)
    })?;
    let status = other.free(theirs);
    bench.row("the other pool's block, freed there", "SUCCESS", short(status));
    Ok(())
}

fn allocate(bench: &Bench, bytes: u32, tag: PoolTag) -> Status {
    let mut out = u64::MAX;
    let status = bench.pool.allocate(bench.adapter, bytes, tag, Some(&mut out));
    if out == 0 { status } else { Status::from_code(0) }
}

/// A misuse while a block is alive; the block's right free must succeed afterwards.
fn misuse(
    bench: &mut Bench,
    what: &str,
    violation: &str,
    act: impl FnOnce(&Bench, u64) -> Status,
) -> Result<(), String> {
    let block = bench.block(512)?;
    misuse_alone(bench, what, violation, |bench| act(bench, block));
    let status = bench.free(block);
    if status != Status::SUCCESS {
        bench.row(&format!("{what}: the right free after it"), "SUCCESS", short(status));
    }
    Ok(())
}

/// A misuse: its status, its violation, and whether the pool is as before and still works.
fn misuse_alone(bench: &mut Bench, what: &str, violation: &str, act: impl FnOnce(&Bench) -> Status) {
    let before = bench.live();
    bench.heard();
    let status = act(bench);
    let heard = bench.heard();
    let after = bench.live();
    let follow_up = bench.block(512).map(|block| bench.free(block));
    let state = match (after == before, &follow_up) {
        (false, _) => format!("live {before} -> {after}"),
        (true, Ok(Status::SUCCESS)) => "intact".to_owned(),
        (true, Ok(status)) => format!("then {}", short(*status)),
        (true, Err(error)) => error.clone(),
    };
    let got = format!("{}, {}, {state}", short(status), describe(&heard));
    bench.row(what, &format!("INVALID_PARAMETER, {violation}, intact"), got);
}

fn describe(heard: &[Violation]) -> String {
    match heard {
        [] => "no violation".to_owned(),
        [violation] => {
            let check = violation.bug_check();
            format!("{:?} {:#X}/{:#04X}", violation.kind, check.code, check.parameters[0])
        }
        more => format!("{} violations", more.len()),
    }
}
