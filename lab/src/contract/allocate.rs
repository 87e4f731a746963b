//! `StorPortAllocatePool`: its statuses, their order, and where blocks lie.

use storport_pool::{AdapterId, Irql, PoolOptions, PoolTag, Status};

use super::bench::{Bench, POOL_BYTES, TAG, at, not_implemented, short};
use crate::results::Check;

const PAGE: u64 = 4096;
/// Does not fit into the pool.
const TOO_LARGE: u32 = POOL_BYTES as u32 + 1;

pub(super) fn run() -> Result<Vec<Check>, String> {
    let mut bench = Bench::new("allocate", PoolOptions::new(POOL_BYTES))?;
    successes(&mut bench);
    refusals(&mut bench);
    exhaustion(&mut bench);
    order(&mut bench);
    placement(&mut bench)?;
    Ok(bench.into_rows())
}

fn successes(bench: &mut Bench) {
    let me = bench.adapter;
    let got = bench.try_allocate(me, 512, TAG);
    bench.row("512 bytes at PASSIVE_LEVEL", "SUCCESS, out set", got);
    let got = at(Irql::DISPATCH, || bench.try_allocate(me, 512, TAG));
    bench.row("512 bytes at DISPATCH_LEVEL", "SUCCESS, out set", got);
    let got = bench.try_allocate(me, 512, PoolTag::from_raw(0));
    bench.row("tag 0 (real drivers pass it)", "SUCCESS, out set", got);
}

fn refusals(bench: &mut Bench) {
    let (me, removed) = (bench.adapter, bench.removed);
    let status = bench.pool.allocate(me, 512, TAG, None);
    bench.row("NULL out pointer", "INVALID_PARAMETER", short(status));
    let refused = "INVALID_PARAMETER, out NULL";
    let got = bench.try_allocate(me, 0, TAG);
    bench.row("zero bytes", refused, got);
    let got = bench.try_allocate(AdapterId::from_raw(0), 512, TAG);
    bench.row("NULL adapter", refused, got);
    let got = bench.try_allocate(AdapterId::from_raw(u32::MAX), 512, TAG);
    bench.row("made-up adapter", refused, got);
    let got = bench.try_allocate(removed, 512, TAG);
    bench.row("removed adapter", refused, got);
    let got = at(Irql::DEVICE, || bench.try_allocate(me, 512, TAG));
    bench.row("at a device's level (DIRQL)", "INVALID_IRQL, out NULL", got);
    let got = at(Irql::HIGH, || bench.try_allocate(me, 512, TAG));
    bench.row("at HIGH_LEVEL", "INVALID_IRQL, out NULL", got);
    let got = not_implemented(&bench.pool, || bench.try_allocate(me, 512, TAG));
    bench.row("on a system without the routine", "NOT_IMPLEMENTED, out NULL", got);
}

fn exhaustion(bench: &mut Bench) {
    let me = bench.adapter;
    let failed = "INSUFFICIENT_RESOURCES, out NULL";
    let got = bench.try_allocate(me, TOO_LARGE, TAG);
    bench.row("more than the pool has", failed, got);
    let mut blocks = Vec::new();
    while let Ok(address) = bench.block(PAGE as u32) {
        blocks.push(address);
    }
    let got = bench.try_allocate(me, PAGE as u32, TAG);
    bench.row("a page of an exhausted pool", failed, got);
    let freed = blocks.into_iter().filter(|&address| bench.free(address) != Status::SUCCESS).count();
    let got = match freed {
        0 => bench.try_allocate(me, PAGE as u32, TAG),
        failed => format!("{failed} frees failed"),
    };
    bench.row("a page after all were freed", "SUCCESS, out set", got);
}

/// Several faults in one call: the documented order decides which status is returned.
fn order(bench: &mut Bench) {
    let (me, removed) = (bench.adapter, bench.removed);
    let got = not_implemented(&bench.pool, || at(Irql::DEVICE, || bench.try_allocate(removed, 0, TAG)));
    bench.row("no routine + bad parameters + DIRQL", "NOT_IMPLEMENTED, out NULL", got);
    let got = at(Irql::DEVICE, || bench.try_allocate(me, 0, TAG));
    bench.row("zero bytes + DIRQL", "INVALID_PARAMETER, out NULL", got);
    let got = at(Irql::DEVICE, || bench.try_allocate(me, TOO_LARGE, TAG));
    bench.row("too large + DIRQL", "INVALID_IRQL, out NULL", got);
}

/// Drivers depend on where blocks lie, so it belongs to the contract.
fn placement(bench: &mut Bench) -> Result<(), String> {
    let small = misplaced(bench, 1..=PAGE as u32, |address, bytes| {
        address.is_multiple_of(16) && address / PAGE == (address + bytes - 1) / PAGE
    })?;
    bench.row("sizes 1 to 4096: 16-aligned, in one page", "all", small);
    let large =
        misplaced(bench, (PAGE as u32..=100_000).step_by(997), |address, _| address.is_multiple_of(PAGE))?;
    bench.row("sizes from 4096: aligned to a page", "all", large);
    Ok(())
}

fn misplaced(
    bench: &Bench,
    sizes: impl Iterator<Item = u32>,
    right: impl Fn(u64, u64) -> bool,
) -> Result<String, String> {
    for bytes in sizes {
        let address = bench.block(bytes)?;
        let freed = bench.free(address);
        if !right(address, u64::from(bytes)) {
            return Ok(format!("{bytes} bytes at {address:#x}"));
        }
        if freed != Status::SUCCESS {
            return Ok(format!("{bytes} bytes: free {}", short(freed)));
        }
    }
    Ok("all".to_owned())
}
