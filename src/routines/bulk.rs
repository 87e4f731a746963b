//! The bulk calls: many blocks freed, or allocated, with the checks, statuses and accounts of single ones.

use super::allocate::{allocate, refill_counted};
use super::free::{expected, free};
use super::hand_out::undo;
use super::request::Request;
use crate::contract::adapter::AdapterId;
use crate::contract::status::Status;
use crate::layout::block::BlockId;
use crate::layout::meta::{Meta, prefetch_for_write};
use crate::owners::accounts::Key;
use crate::percpu::platform::{Freed, Platform};
use crate::stock::put::put_claimed_slow;
use crate::sync::{Ordering, fence};

/// How many blocks allocate takes of a magazine at once. (Loom: few.)
const AT_ONCE: usize = if cfg!(storport_pool_loom) { 2 } else { 32 };

/// Frees each of these blocks as [`free`] does, and says how many were freed. Each gets its status, as far as there is
/// room for them. No block is in hand while a violation is told.
#[inline(never)]
pub(crate) fn free_bulk<P: Platform>(
    meta: Meta,
    platform: &P,
    owner: AdapterId,
    addresses: &[u64],
    statuses: &mut [Status],
) -> usize {
    let told = statuses.len().min(addresses.len());
    statuses[..told].fill(Status::SUCCESS);
    let (mut freed, mut next) = (0, 0);
    while let Some(rest) = addresses.get(next..).filter(|rest| !rest.is_empty()) {
        let (done, ended) =
            if cfg!(storport_pool_asan) { (0, Freed::Missed) } else { platform.free_run(&meta, owner, rest) };
        freed += done;
        next += done;
        let Some(&address) = addresses.get(next) else { break };
        let place = meta.range().base.place_of(address);
        let status = match ended {
            Freed::Claimed => put_claimed_slow(meta, platform, BlockId(place as u32)),
            _ => free(meta, platform, place, expected(owner, place)),
        };
        freed += usize::from(status.is_success());
        if let Some(told) = statuses.get_mut(next) {
            *told = status;
        }
        next += 1;
    }
    freed
}

/// Draws the state of the block at an address into the cache, if the range has it. Any address, any IRQL.
#[inline(always)]
pub(crate) fn hint(meta: Meta, address: u64) {
    if let Some(block) = meta.range().block_at(meta.range().base.place_of(address)) {
        let index = meta.entry_of(block).state_index(block);
        prefetch_for_write(core::ptr::from_ref(meta.state_at(index)).addr() as u64);
    }
}

/// Allocates as many blocks of this size as `out` has room for, all or none. `out` is 0 after every failure.
#[inline(never)]
pub(crate) fn allocate_bulk<P: Platform>(
    meta: Meta,
    platform: &P,
    key: Key,
    bytes: u32,
    out: &mut [u64],
) -> Status {
    out.fill(0);
    let mut got = 0;
    while got < out.len() {
        let status = match some(meta, platform, key, bytes, &mut out[got..]) {
            Ok(more) => {
                got += more;
                continue;
            }
            Err(status) => status,
        };
        if got > 0 {
            take_back(meta, platform, Request::counted(&meta, key, bytes), &mut out[..got]);
        }
        return status;
    }
    Status::SUCCESS
}

/// One or more of them.
fn some<P: Platform>(
    meta: Meta,
    platform: &P,
    key: Key,
    bytes: u32,
    out: &mut [u64],
) -> Result<usize, Status> {
    let mut blocks = [0; AT_ONCE];
    let wanted = out.len().min(AT_ONCE);
    let small = meta.control().small_class(bytes).filter(|_| wanted > 1 && !cfg!(storport_pool_asan));
    let Some(class) = small else { return one(meta, platform, key, bytes, out) };
    let request = Request::counted(&meta, key, bytes);
    let popped = platform.pop_many(&meta, class, request.account, key.0, &mut blocks[..wanted]);
    if popped.got == 0 {
        if popped.counted == 0 {
            // Loads another magazine, or tells what is wrong.
            return one(meta, platform, key, bytes, out);
        }
        // Counted and aborted: as many allocations must follow, each from the sources behind the cursor.
        return refill_counted(meta, platform, request, popped.counted as usize, out);
    }
    for (address, &block) in out.iter_mut().zip(&blocks[..popped.got]) {
        let block = BlockId(block);
        meta.make_live(class, block, request.live(block), request.account, bytes);
        *address = meta.range().address(block);
        // The caller will touch it first.
        prefetch_for_write(*address);
    }
    // ORDERING: SeqCst - pairs with `fence_all`: the closer's walk sees the states, or we the word.
    fence(Ordering::SeqCst);
    if meta.account_key(request.account) == key {
        return Ok(popped.got);
    }
    take_back(meta, platform, request, &mut out[..popped.got]);
    Err(Status::INVALID_PARAMETER)
}

/// Blocks that the caller never had go back, unless the adapter's removal was faster.
#[cold]
fn take_back<P: Platform>(meta: Meta, platform: &P, request: Request, blocks: &mut [u64]) {
    for address in blocks {
        // A verified block may be of another class, and lie inside of its run. One that was released meanwhile may lie
        // nowhere.
        if let Some(found) = meta.range().grain_of(*address).and_then(|grain| meta.locate(grain)) {
            undo(meta, platform, Request { place: found.class, ..request }, found.start);
        }
        *address = 0;
    }
}

fn one<P: Platform>(
    meta: Meta,
    platform: &P,
    key: Key,
    bytes: u32,
    out: &mut [u64],
) -> Result<usize, Status> {
    let answer = allocate(meta, platform, key, bytes);
    let Some(first) = out.first_mut() else { return Ok(0) };
    #[cfg(storport_pool_asan)]
    meta.unpoison_block(answer.address, bytes);
    *first = answer.address;
    answer.status.ok().map(|()| 1)
}
