//! Every number that a host may pass as an adapter: none but the owner's frees a block, and none frees what is no
//! block.

mod common;

use common::*;
use storport_pool::{AdapterId, PoolOptions, Status};

on_every_platform!(no_other_number_frees);

/// Bits of a handle's number.
const BITS: u32 = 19;

fn no_other_number_frees<W: Way>() {
    let pool = W::build(PoolOptions::new(16 * SPAN));
    let id = pool.add_adapter("disk").unwrap();
    let (small, page, run) = (100, 4096, 100_000);
    let live = [small, page, run].map(|bytes| alloc(&pool, id, bytes).unwrap());
    let freed = [small, page, run].map(|bytes| alloc(&pool, id, bytes).unwrap());
    freed.iter().for_each(|&address| must_free(&pool, id, address));
    // The second span of a run, and one that was never used.
    let others = [live[2] + SPAN, pool.range().0 + 15 * SPAN];
    let before = picture(&pool);
    let too_large = (BITS..32).flat_map(|bit| [1 << bit, (1 << bit) + id.raw()]);
    for number in (0..1 << BITS).chain(too_large).filter(|&number| number != id.raw()) {
        let caller = AdapterId::from_raw(number);
        for &address in live.iter().chain(&freed).chain(&others) {
            assert_eq!(free(&pool, caller, address), Status::INVALID_PARAMETER, "{number:#x}, {address:#x}");
        }
    }
    assert_eq!(picture(&pool), before);
    live.iter().for_each(|&address| must_free(&pool, id, address));
    assert_eq!(totals(&pool.snapshot()), (6, 6, 0));
    pool.trim().unwrap();
    assert_eq!(pool.snapshot().free_bytes, pool.range().1);
}
