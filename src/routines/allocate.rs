//! Allocate, from the contract's checks down to the sources of memory.

use super::hand_out::{finish, search_and_hand_out, undo_slow};
use super::report::Call;
use super::request::{Answer, CLOSED, Request, class_for};
use super::ways::ways;
use crate::contract::status::Status;
use crate::contract::violation::ViolationKind;
use crate::layout::block::{Account, BlockId};
use crate::layout::classes::{GRAIN, LARGE};
use crate::layout::meta::Meta;
use crate::owners::accounts::{Key, OWN};
use crate::percpu::platform::{Ask, DISPATCH, Platform, Pop, Taken};
use crate::trace::emit::emit;

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
    let held = core::mem::replace(out, answer.address);
    // The same address: it was free.
    if answer.status.is_success()
        && held != answer.address
        && let Some(verifier) = meta.verifier()
    {
        let call = Call { caller: key.owner(), irql: platform.irql() };
        (ways(verifier).tell_overwritten)(&meta, call, key.tag(), held);
    }
    answer.status
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
    let tag = key.tag();
    let (account, key) = match check(&meta, platform, key, bytes) {
        Ok(found) => found,
        Err(status) => {
            emit!(platform.irql(), DEBUG, "allocation refused", %status, tag = %key.tag(), bytes, adapter = key.owner().raw());
            return Answer::refused(status);
        }
    };
    let class = class_for(&meta, bytes);
    let request = Request { alignment, ..Request::new(key, account, class, bytes) };
    if let Some(verifier) = meta.verifier()
        && let Some(answer) = (ways(verifier).allocate)(meta, platform.opaque(), verifier, request, tag)
    {
        return answer;
    }
    if class == LARGE {
        return search_and_hand_out(meta, platform, request);
    }
    // The pool's own account counts for nobody, and nobody watches it.
    let own = account.is_other() || meta.is_watched(account);
    let (gate, word, counts) = if own { (meta.own_account(), OWN, false) } else { (account, key, true) };
    match platform.pop(&meta, class, gate, word.0) {
        Pop::Got(block, _) => finish(meta, platform, Request { counted: counts, ..request }, block),
        Pop::Miss { .. } if !counts => search_and_hand_out(meta, platform, request),
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
        if let Some(verifier) = meta.verifier() {
            (ways(verifier).tell_allocate)(meta, call, tag, bytes);
        }
        return Err(Status::INVALID_IRQL);
    }
    meta.intern(key).ok_or(CLOSED)
}

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
        let address = taken.0 & !Taken::OVERTAKEN;
        // Not closed: a verifier watches it from now on.
        if meta.account_key(request.account) == key {
            return Answer { status: Status::SUCCESS, address };
        }
        let block = BlockId(meta.range().base.place_of(address) as u32);
        return undo_slow(meta, platform, request, block);
    }
    let gate = || {
        let account = request.account;
        meta.not_implemented()
            || platform.above_dispatch()
            || meta.account_key(account) != key
            || meta.is_watched(account)
    };
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
    search_and_hand_out(meta, platform, request)
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
        let answer = search_and_hand_out(meta, platform, request);
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
