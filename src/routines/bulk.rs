//! The bulk calls: many blocks freed, or allocated, with the checks, statuses and accounts of single ones.

use super::allocate::{Request, allocate, refill_counted, undo};
use super::free::{expected, free};
use crate::contract::adapter::AdapterId;
use crate::contract::status::Status;
use crate::layout::block::BlockId;
use crate::layout::classes::{CLASS_SLOTS, Class, SPAN};
use crate::layout::meta::{Meta, prefetch_for_write};
use crate::owners::accounts::Key;
use crate::percpu::claim::find_and_claim;
use crate::percpu::platform::{Claimed, Platform};
use crate::stock::put::put_slow;
use crate::sync::{Ordering, fence};

/// How many blocks a hand holds. (Loom: few.)
const HAND: usize = if cfg!(storport_pool_loom) { 2 } else { 32 };
/// And how many bytes of blocks.
const HAND_BYTES: u32 = SPAN;
/// How many blocks before its turn a state is drawn into the cache.
const AHEAD: usize = 8;
const NONE: u8 = u8::MAX;

/// Claimed blocks, by class.
struct Hand {
    blocks: [u32; HAND],
    /// By class: its newest block's place in the hand.
    newest: [u8; CLASS_SLOTS],
    /// By place: the next older block's of the same class.
    older: [u8; HAND],
    classes: u64,
    len: usize,
    bytes: u32,
}

impl Hand {
    const EMPTY: Hand = Hand {
        blocks: [0; HAND],
        newest: [NONE; CLASS_SLOTS],
        older: [NONE; HAND],
        classes: 0,
        len: 0,
        bytes: 0,
    };

    fn is_full(&self) -> bool {
        self.len == HAND || self.bytes >= HAND_BYTES
    }

    #[inline(always)]
    fn add(&mut self, class: Class, block: BlockId) {
        let (place, index) = (self.len.min(HAND - 1), class.index());
        self.blocks[place] = block.0;
        self.older[place] = if self.classes >> index & 1 == 0 { NONE } else { self.newest[index] };
        self.newest[index] = place as u8;
        self.classes |= 1 << index;
        self.len += 1;
        self.bytes += class.bytes();
    }

    /// Gives all blocks away: one section a class, and one by one what the loaded magazine cannot take. Bounded per
    /// block by `put_slow`.
    fn put_down<P: Platform>(&mut self, meta: Meta, platform: &P) {
        while self.classes != 0 {
            let class = Class(self.classes.trailing_zeros() as u8);
            self.classes &= self.classes - 1;
            let mut blocks = [0; HAND];
            let (mut first, mut place) = (HAND, self.newest[class.index()]);
            while let Some(&block) = self.blocks.get(usize::from(place)).filter(|_| first > 0) {
                first -= 1;
                blocks[first] = block;
                place = self.older[usize::from(place)];
            }
            put_all(meta, platform, class, &blocks[first..]);
        }
        (self.len, self.bytes) = (0, 0);
    }
}

/// Gives claimed blocks of a class away.
fn put_all<P: Platform>(meta: Meta, platform: &P, class: Class, mut blocks: &[u32]) {
    loop {
        let put = platform.push_many(&meta, class, blocks);
        let Some((&last, rest)) = blocks.get(..blocks.len() - put).and_then(<[u32]>::split_last) else {
            return;
        };
        // Loads another magazine, if one is to be had.
        let _ = put_slow(meta, platform, class, BlockId(last));
        blocks = rest;
        if blocks.is_empty() {
            return;
        }
    }
}

/// Frees each of these blocks as [`free`] does, and says how many were freed. Each gets its status, as far as there is
/// room for them. When one is refused, nothing is in hand while its violation is told.
#[inline(never)]
pub(crate) fn free_bulk<P: Platform>(
    meta: Meta,
    platform: &P,
    owner: AdapterId,
    addresses: &[u64],
    statuses: &mut [Status],
) -> usize {
    let base = meta.range().base;
    let mut hand = Hand::EMPTY;
    let mut freed = 0;
    for (n, &address) in addresses.iter().enumerate() {
        if let Some(&next) = addresses.get(n + AHEAD) {
            hint(meta, next);
        }
        let place = base.place_of(address);
        let state = expected(owner, place);
        let claimed = meta.range().block_at(place).and_then(|block| {
            let class = match platform.claim(&meta, state, block) {
                Claimed::Got(class) => Some(class),
                Claimed::Missed => None,
                Claimed::Aborted => find_and_claim(&meta, state, block),
            };
            Some((class.filter(|_| !cfg!(storport_pool_asan))?, block))
        });
        let status = match claimed {
            Some((class, block)) => {
                hand.add(class, block);
                if hand.is_full() {
                    hand.put_down(meta, platform);
                }
                Status::SUCCESS
            }
            None => {
                hand.put_down(meta, platform);
                free(meta, platform, place, state)
            }
        };
        freed += usize::from(status.is_success());
        if let Some(told) = statuses.get_mut(n) {
            *told = status;
        }
    }
    hand.put_down(meta, platform);
    freed
}

/// Draws the state of the block at an address into the cache, if the range has it. Any address, any IRQL.
#[inline(always)]
pub(crate) fn hint(meta: Meta, address: u64) {
    if let Some(block) = meta.range().block_at(meta.range().base.place_of(address)) {
        let index = meta.read_entry(block.span() as usize).state_index(block);
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
        take_back(meta, platform, Request::counted(&meta, key, bytes), &mut out[..got]);
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
    let mut blocks = [0; HAND];
    let wanted = out.len().min(HAND);
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
        undo(meta, platform, request, BlockId(meta.range().base.place_of(*address) as u32));
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
