//! Allocate, from the contract's checks down to the sources of memory.

use super::report::Call;
use crate::contract::status::Status;
use crate::contract::violation::ViolationKind;
use crate::layout::block::{Account, BlockId};
use crate::layout::classes::{Class, GRAIN, LARGE};
use crate::layout::meta::Meta;
use crate::layout::state::State;
use crate::owners::accounts::{Key, OWN};
use crate::percpu::claim::claim;
use crate::percpu::platform::{Ask, DISPATCH, Platform, Pop, Taken};
use crate::stock::put::put_claimed_slow;
use crate::stock::refill::{find, find_large};
use crate::stock::span::Miss;
use crate::sync::{Ordering, fence};
use crate::trace::emit::emit;

/// What an allocation answers: the address is 0 unless the status is SUCCESS.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    pub(crate) address: u64,
}

impl Answer {
    pub(super) const fn refused(status: Status) -> Answer {
        Answer { status, address: 0 }
    }
}

/// `StorPortAllocatePool`, one copy of its fast path.
#[inline(never)]
pub(crate) fn allocate<P: Platform>(meta: Meta, platform: &P, key: Key, bytes: u32) -> Answer {
    let taken = take(meta, platform, key, bytes);
    if taken.fault() != 0 {
        return miss_slow(meta, platform, key, bytes, taken);
    }
    Answer { status: Status::SUCCESS, address: taken.0 }
}

/// [`allocate`], inlined; `out` is 0 after every failure.
#[cfg(feature = "std")]
#[inline(always)]
pub(crate) fn allocate_into<P: Platform>(
    meta: Meta,
    platform: &P,
    key: Key,
    bytes: u32,
    out: &mut u64,
) -> Status {
    let taken = take(meta, platform, key, bytes);
    if taken.fault() != 0 {
        return miss_into_slow(meta, platform, key, bytes, taken, out);
    }
    *out = taken.0;
    Status::SUCCESS
}

/// The fast path: a block of up to a page, from an account in its first place and this CPU's loaded magazine.
#[inline(always)]
fn take<P: Platform>(meta: Meta, platform: &P, key: Key, bytes: u32) -> Taken {
    match meta.control().small_class(bytes) {
        Some(class) => {
            platform.allocate(&meta, Ask { account: meta.first_place(key), key: key.0, class, bytes })
        }
        None => Taken(Taken::UNSUITED),
    }
}

/// [`allocate`], at a multiple of `alignment`, as the blocks of the size that serves so many bytes are.
pub(super) fn allocate_at<P: Platform>(
    meta: Meta,
    platform: &P,
    key: Key,
    bytes: u32,
    alignment: u32,
) -> Answer {
    let taken = take(meta, platform, key, bytes);
    if taken.fault() != 0 {
        return missed(meta, platform, key, bytes, alignment, taken);
    }
    Answer { status: Status::SUCCESS, address: taken.0 }
}

/// Keeps `out` off the fast path's stack.
#[cfg(feature = "std")]
#[cold]
#[inline(never)]
fn miss_into_slow<P: Platform>(
    meta: Meta,
    platform: &P,
    key: Key,
    bytes: u32,
    taken: Taken,
    out: &mut u64,
) -> Status {
    let answer = miss_slow(meta, platform, key, bytes, taken);
    *out = answer.address;
    answer.status
}

/// The class that serves so many bytes, not 0: a slab's, or large runs'.
fn class_for(meta: &Meta, bytes: u32) -> Class {
    let geometry = &meta.control().geometry;
    if bytes > geometry.span.max_slab_bytes() {
        return LARGE;
    }
    Class::for_slab_bytes(bytes).at_least(geometry.least_class)
}

/// What an allocation is, once the contract has been checked.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) key: Key,
    pub(crate) account: Account,
    /// The class that the bytes ask for; the block may be of a larger one.
    pub(crate) class: Class,
    pub(crate) bytes: u32,
    /// What the address must be a multiple of: the class's blocks are, and so must be those of a larger one that serves it.
    pub(crate) alignment: u32,
    /// Whether its account's cell has counted it.
    pub(crate) counted: bool,
}

impl Request {
    /// What is left to do for a block that its account has counted.
    pub(crate) fn counted(meta: &Meta, key: Key, bytes: u32) -> Request {
        let class = class_for(meta, bytes);
        Request { key, account: meta.first_place(key), class, bytes, alignment: GRAIN, counted: true }
    }

    /// The state of the block that the caller gets.
    pub(crate) const fn live(self, block: BlockId) -> State {
        State::live(self.key.owner(), block)
    }
}

/// Reached without an out pointer.
#[cold]
#[inline(never)]
pub(crate) fn null_out_slow(meta: Meta) -> Status {
    if meta.not_implemented() { Status::NOT_IMPLEMENTED } else { Status::INVALID_PARAMETER }
}

/// By way of `miss_slow`: above a page and with zero bytes, at a bad IRQL, and with an account that is closed, new,
/// or not in its first place.
fn allocate_slow<P: Platform>(meta: Meta, platform: &P, key: Key, bytes: u32, alignment: u32) -> Answer {
    let (account, key) = match check(&meta, platform, key, bytes) {
        Ok(found) => found,
        Err(status) => {
            emit!(platform.irql(), DEBUG, "allocation refused", %status, tag = %key.tag(), bytes, adapter = key.owner().raw());
            return Answer::refused(status);
        }
    };
    let class = class_for(&meta, bytes);
    let request = Request { key, account, class, bytes, alignment, counted: false };
    if class == LARGE {
        return found(meta, platform, request, find_large(&meta, platform, bytes, 1));
    }
    // The pool's own account counts for nobody.
    let (gate, word, counts) =
        if account.is_other() { (meta.own_account(), OWN, false) } else { (account, key, true) };
    match platform.pop(&meta, class, gate, word.0) {
        Pop::Got(block, _) => finish(meta, platform, Request { counted: counts, ..request }, block),
        Pop::Miss { .. } if !counts => {
            found(meta, platform, request, find(&meta, platform, class, alignment))
        }
        Pop::Miss { counted } => refill(meta, platform, Request { counted, ..request }),
    }
}

/// The contract's checks, in its order (section 5 of the contract's decisions).
pub(super) fn check<P: Platform>(
    meta: &Meta,
    platform: &P,
    key: Key,
    bytes: u32,
) -> Result<(Account, Key), Status> {
    let (owner, tag) = (key.owner(), key.tag());
    if meta.not_implemented() {
        return Err(Status::NOT_IMPLEMENTED);
    }
    let irql = platform.irql();
    let call = Call { caller: owner, irql };
    let fault = if !meta.adapter_live(owner) {
        return Err(Status::INVALID_PARAMETER);
    } else if bytes == 0 {
        Some(ViolationKind::ZeroSize)
    } else if meta.control().strict_tags {
        ViolationKind::of_strict_tag(tag)
    } else {
        None
    };
    if let Some(kind) = fault {
        meta.refuse_allocate(call, kind, bytes, tag);
        return Err(Status::INVALID_PARAMETER);
    }
    if irql > DISPATCH {
        return Err(Status::INVALID_IRQL);
    }
    meta.intern(key).ok_or(CLOSED)
}

/// What a call gets whose account was closed under it, by the adapter's removal.
const CLOSED: Status = Status::INVALID_PARAMETER;

/// Reached from the fast path above a page and with zero bytes; when the loaded magazine is empty or cannot be
/// used, the section was aborted or could not run, the host's switch is down, the IRQL is bad, or the account is not
/// open, or was closed while we allocated.
#[cold]
#[inline(never)]
fn miss_slow<P: Platform>(meta: Meta, platform: &P, key: Key, bytes: u32, taken: Taken) -> Answer {
    missed(meta, platform, key, bytes, GRAIN, taken)
}

/// The same, at a multiple of `alignment`, as the blocks of the class are.
fn missed<P: Platform>(
    meta: Meta,
    platform: &P,
    key: Key,
    bytes: u32,
    alignment: u32,
    mut taken: Taken,
) -> Answer {
    if taken.fault() == Taken::UNSUITED {
        return allocate_slow(meta, platform, key, bytes, alignment);
    }
    if !meta.span_size().is_most() {
        // The fast paths do not serve pools whose spans are of one page: their copy does.
        let Request { account, class, .. } = Request::counted(&meta, key, bytes);
        taken = platform.allocate_in_pages(&meta, Ask { account, key: key.0, class, bytes });
        if taken.fault() == 0 {
            return Answer { status: Status::SUCCESS, address: taken.0 };
        }
    }
    // What the fast path found: a small block, under an account in its first place.
    let counted = taken.fault() == Taken::COUNTED;
    let request = Request { counted, alignment, ..Request::counted(&meta, key, bytes) };
    if taken.fault() == Taken::OVERTAKEN {
        let block = BlockId(meta.range().base.place_of(taken.0 & !Taken::OVERTAKEN) as u32);
        return undo_slow(meta, platform, request, block);
    }
    let gate =
        || meta.not_implemented() || platform.above_dispatch() || meta.account_key(request.account) != key;
    if !request.counted && gate() {
        return allocate_slow(meta, platform, key, bytes, alignment);
    }
    refill(meta, platform, request)
}

fn refill<P: Platform>(meta: Meta, platform: &P, mut request: Request) -> Answer {
    match platform.pop_again(&meta, request.class, request.account, request.key.0, request.counted) {
        Pop::Got(block, _) => {
            request.counted = true;
            return finish(meta, platform, request, block);
        }
        Pop::Miss { counted } => request.counted = counted,
    }
    found(meta, platform, request, find(&meta, platform, request.class, request.alignment))
}

/// What the sources behind the cursor gave.
pub(super) fn found<P: Platform>(
    meta: Meta,
    platform: &P,
    request: Request,
    found: Result<BlockId, Miss>,
) -> Answer {
    let answer = match found {
        Ok(block) => finish(meta, platform, request, block),
        Err(miss) => fail(&meta, request, miss),
    };
    // A search for memory may have been refused a fence. Now nothing is in hand.
    meta.tell_refused_fence(platform, request.key.owner());
    emit!(platform.irql(), DEBUG, "allocation, the slow way", status = %answer.status, tag = %request.key.tag(), bytes = request.bytes, class = request.class.0, address = answer.address, adapter = request.key.owner().raw());
    answer
}

fn fail(meta: &Meta, request: Request, miss: Miss) -> Answer {
    if request.counted {
        meta.uncount(request.account, request.key, request.class);
    }
    if miss == Miss::Contended {
        // ORDERING: Relaxed - a statistic.
        meta.control().contended.fetch_add(1, Ordering::Relaxed);
    }
    Answer::refused(Status::INSUFFICIENT_RESOURCES)
}

/// Hands a block out that the caller holds.
fn finish<P: Platform>(meta: Meta, platform: &P, request: Request, block: BlockId) -> Answer {
    let Request { key, account, class, bytes, counted, .. } = request;
    if !counted && !meta.count_shared(account, key, class) {
        // Never counted, so never live.
        let _ = put_claimed_slow(meta, platform, block);
        return Answer::refused(CLOSED);
    }
    meta.make_live(class, block, request.live(block), account, bytes);
    // ORDERING: SeqCst - pairs with `fence_all`: the closer's walk sees the state, or we the word.
    fence(Ordering::SeqCst);
    if meta.account_key(account) != key {
        return undo_slow(meta, platform, request, block);
    }
    Answer { status: Status::SUCCESS, address: meta.range().address(block) }
}

/// Reached when the account was closed while we allocated.
#[cold]
#[inline(never)]
fn undo_slow<P: Platform>(meta: Meta, platform: &P, request: Request, block: BlockId) -> Answer {
    undo(meta, platform, request, block);
    Answer::refused(CLOSED)
}

/// Takes back a block that was made live for a caller who never got it, unless the adapter's remover has released it.
/// It has the state that we wrote, or the one by which the remover made it an orphan. Both name one life of one
/// adapter, so whatever happened meanwhile, no other block is taken for ours.
pub(crate) fn undo<P: Platform>(meta: Meta, platform: &P, request: Request, block: BlockId) {
    let live = request.live(block);
    // By its entry, since the block's own class may be a larger one than was asked for. If the remover released it, the
    // entry may be another slab's by now: no word but this block's own ever has the state that we wrote.
    let word = match request.class {
        LARGE => meta.state_word(LARGE, block),
        _ => meta.state_at(meta.entry_of(block).state_index(block)),
    };
    let orphaned = || claim(word, live.owned_by(request.key.owner().left()));
    if claim(word, live) || orphaned() {
        let _ = put_claimed_slow(meta, platform, block);
    }
}

/// As many allocations as were counted without blocks, from the sources behind the cursor; how many succeeded.
#[cold]
pub(crate) fn refill_counted<P: Platform>(
    meta: Meta,
    platform: &P,
    request: Request,
    count: usize,
    out: &mut [u64],
) -> Result<usize, Status> {
    let mut got = 0;
    let mut status = Status::SUCCESS;
    for _ in 0..count {
        let answer = found(meta, platform, request, find(&meta, platform, request.class, request.alignment));
        match out.get_mut(got).filter(|_| answer.status.is_success()) {
            Some(to) => {
                *to = answer.address;
                got += 1;
            }
            None => status = answer.status,
        }
    }
    if got > 0 { Ok(got) } else { Err(status) }
}
