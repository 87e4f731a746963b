//! Giving a claimed block away when this CPU's loaded magazine could not take it: the bounded way, and
//! the way out that needs neither magazine nor cursor.

use crate::contract::status::Status;
use crate::layout::block::BlockId;
use crate::layout::classes::{Class, LARGE};
use crate::layout::cursor::Cursor;
use crate::layout::meta::Meta;
use crate::percpu::platform::Platform;
use crate::sync::Ordering;

/// Gives a claimed block away when the loaded magazine could not take it. Bounded: see
/// docs/CONCURRENCY.md, section 4.
#[cold]
#[inline(never)]
pub(crate) fn put_slow<P: Platform>(meta: Meta, platform: &P, class: Class, block: BlockId) -> Status {
    #[cfg(storport_pool_asan)]
    meta.poison_block(class, block);
    if class == LARGE || !platform.push(&meta, class, block) && !overflow(&meta, platform, class, block) {
        meta.put_loose(class, block);
    }
    // Opaque: were the result known, free's call could not be a tail call.
    core::hint::black_box(Status::SUCCESS)
}

/// Puts a claimed slab block away.
#[cold]
#[inline(never)]
pub(crate) fn put_claimed_slow<P: Platform>(meta: Meta, platform: &P, block: BlockId) -> Status {
    // The claimed block pins its slab (I5): its entry is the one that counts.
    put_slow(meta, platform, meta.entry_of(block).class(), block)
}

/// Loads another magazine, with the block in it. `false`: there is no usable cursor, or no magazine.
fn overflow<P: Platform>(meta: &Meta, platform: &P, class: Class, block: BlockId) -> bool {
    let Some(cpu) = platform.cpu(meta) else {
        return false;
    };
    // ORDERING: Relaxed - the exchange decides.
    let loaded = Cursor(meta.cursor(cpu, class).load(Ordering::Relaxed));
    let full = loaded.is_full();
    if !full && !loaded.is_none() {
        // Claimed, stopped, or changed by whoever interrupted us.
        return false;
    }
    let Some(fresh) = take_spare_with_room(meta, cpu, class).or_else(|| meta.take_empty(class)) else {
        return false;
    };
    let fresh = meta.put_id(fresh, block);
    if !platform.exchange(meta, cpu, class, loaded, fresh) {
        meta.publish_magazine(class, fresh);
    } else if full {
        shelve(meta, cpu, class, loaded);
    }
    true
}

/// Takes the CPU's spare if it has room; publishes it if it turned out to have none. Two RMWs at most.
fn take_spare_with_room(meta: &Meta, cpu: u32, class: Class) -> Option<Cursor> {
    let spare = meta.spare(cpu, class);
    // ORDERING: Relaxed - a first look.
    let seen = Cursor(spare.load(Ordering::Relaxed));
    if !seen.is_magazine() || seen.is_full() {
        return None;
    }
    // ORDERING: Acquire - the entries; pairs with the Release that put it there.
    let taken = Cursor(spare.swap(0, Ordering::Acquire));
    if taken.0 == 0 {
        return None;
    }
    if taken.is_full() {
        meta.publish_magazine(class, taken);
        return None;
    }
    Some(taken)
}

/// Puts a full magazine in hand into the CPU's spare, or publishes it. Two RMWs at most.
fn shelve(meta: &Meta, cpu: u32, class: Class, full: Cursor) {
    let spare = meta.spare(cpu, class);
    // ORDERING: Relaxed - a first look.
    if spare.load(Ordering::Relaxed) == 0
        // ORDERING: Release - the entries; pairs with the Acquire of whoever takes the spare.
        && spare.compare_exchange(0, full.0, Ordering::Release, Ordering::Relaxed).is_ok()
    {
        return;
    }
    meta.publish_magazine(class, full);
}
