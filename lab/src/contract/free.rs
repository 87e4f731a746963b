//! `StorPortFreePool`: its statuses and their order.

use storport_pool::{AdapterId, Irql, PoolOptions, Status, tag};

use super::bench::{Bench, POOL_BYTES, at, not_implemented, short};
use crate::results::Check;

pub(super) fn run() -> Result<Vec<Check>, String> {
    let mut bench = Bench::new("free", PoolOptions::new(POOL_BYTES))?;
    successes(&mut bench)?;
    refusals(&mut bench)?;
    order(&mut bench)?;
    removal(&mut bench)?;
    Ok(bench.into_rows())
}

fn successes(bench: &mut Bench) -> Result<(), String> {
    let block = bench.block(512)?;
    let status = bench.free(block);
    bench.row("a block at PASSIVE_LEVEL", "SUCCESS", short(status));
    let block = bench.block(512)?;
    let status = at(Irql::DISPATCH, || bench.free(block));
    bench.row("a block at DISPATCH_LEVEL", "SUCCESS", short(status));
    let block = bench.block(512)?;
    let status = std::thread::scope(|scope| scope.spawn(|| bench.free(block)).join());
    let status = status.map_err(|_| "the freeing thread panicked".to_owned())?;
    bench.row("a block on another thread", "SUCCESS", short(status));
    Ok(())
}

fn refusals(bench: &mut Bench) -> Result<(), String> {
    let status = bench.free(0);
    bench.row("NULL", "INVALID_PARAMETER", short(status));
    let removed = bench.removed;
    for (what, adapter) in [
        ("NULL adapter", AdapterId::from_raw(0)),
        ("made-up adapter", AdapterId::from_raw(u32::MAX)),
        ("removed adapter", removed),
    ] {
        refused(bench, what, "INVALID_PARAMETER", |bench, block| bench.free_as(adapter, block))?;
    }
    refused(bench, "at a device's level (DIRQL)", "INVALID_IRQL", |bench, block| {
        at(Irql::DEVICE, || bench.free(block))
    })?;
    refused(bench, "at HIGH_LEVEL", "INVALID_IRQL", |bench, block| at(Irql::HIGH, || bench.free(block)))?;
    refused(bench, "on a system without the routine", "NOT_IMPLEMENTED", |bench, block| {
        not_implemented(&bench.pool, || bench.free(block))
    })
}

/// A free that must fail and leave the block alive, so that the right free still succeeds.
fn refused(
    bench: &mut Bench,
    what: &str,
    status: &str,
    free: impl FnOnce(&Bench, u64) -> Status,
) -> Result<(), String> {
    let block = bench.block(512)?;
    let first = free(bench, block);
    let second = bench.free(block);
    bench.row(what, &format!("{status}, then SUCCESS"), format!("{}, then {}", short(first), short(second)));
    Ok(())
}

/// Several faults in one call: the documented order decides which status is returned.
fn order(bench: &mut Bench) -> Result<(), String> {
    let status = not_implemented(&bench.pool, || at(Irql::DEVICE, || bench.free(0)));
    bench.row("no routine + NULL + DIRQL", "NOT_IMPLEMENTED", short(status));
    let status = at(Irql::DEVICE, || bench.free(0));
    bench.row("NULL + DIRQL", "INVALID_PARAMETER", short(status));
    let block = bench.block(512)?;
    let _ = bench.free(block);
    let status = at(Irql::DEVICE, || bench.free(block));
    let got = format!("{}, {} violations", short(status), bench.heard().len());
    bench.row("freed block + DIRQL", "INVALID_IRQL, 0 violations", got);
    Ok(())
}

/// What an adapter leaves is reported by tag, and stays allocated until somebody frees it.
fn removal(bench: &mut Bench) -> Result<(), String> {
    let leaving = bench.pool.add_adapter("leaving").map_err(|error| error.to_string())?;
    let mut blocks = [0; 3];
    for block in &mut blocks {
        let status = bench.pool.allocate(leaving, 100, tag!("Left"), Some(block));
        status.ok().map_err(|status| format!("the contract's ground: {status}"))?;
    }
    let removal = bench.pool.remove_adapter(leaving).map_err(|status| status.to_string())?;
    let got = format!("{} blocks, {} bytes reported", removal.blocks(), removal.bytes());
    bench.row("adapter removed with 3 blocks", "3 blocks, 300 bytes reported", got);
    let freed = blocks.iter().filter(|&&block| bench.free_as(AdapterId::ORPHANS, block) == Status::SUCCESS);
    let got = format!("{} of 3 SUCCESS", freed.count());
    bench.row("its orphans freed by the host", "3 of 3 SUCCESS", got);
    Ok(())
}
