//! Allocate, from the contract's checks down to the sources of memory.

use crate::layout::classes::{Class, LARGE, MAX_SLAB_BYTES, SLAB_CLASSES};
use crate::layout::cursor::Cursor;
use crate::layout::header::{ALLOC, Account, BlockId, Header, LARGE_ALLOC};
use crate::layout::meta::Meta;
use crate::owners::accounts::Key;
use crate::percpu::claim::claim;
use crate::percpu::{Ask, DISPATCH, Platform, Pop, Taken};
use crate::put::put_slow;
use crate::stock::large::spans_for;
use crate::stock::queue::Popped;
use crate::stock::span::Miss;
use crate::sync::{Ordering, fence, spin_loop};
use crate::violations::Call;
use crate::{AdapterId, Status, ViolationKind};

/// How often a search that met other ones' hands starts over.
/// (Loom: once more, so that the model ends.)
const CONTENDED_TRIES: u32 = if cfg!(storport_pool_loom) { 2 } else { 16 };

/// What an allocation answers: the address is 0 unless the status is SUCCESS.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    pub(crate) address: u64,
}

impl Answer {
    const fn refused(status: Status) -> Answer {
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

/// What an allocation is, once the contract has been checked.
#[derive(Clone, Copy)]
struct Request {
    key: Key,
    account: Account,
    class: Class,
    bytes: u32,
    /// Whether its account's cell has counted it.
    counted: bool,
}

/// The header of a block that the caller gets.
fn allocated(class: Class, account: Account, bytes: u32, block: BlockId) -> Header {
    Header::new(if class == LARGE { LARGE_ALLOC } else { ALLOC }, account, bytes, block)
}

/// Reached without an out pointer.
#[cold]
#[inline(never)]
pub(crate) fn null_out_slow(meta: Meta) -> Status {
    if meta.not_implemented() { Status::NOT_IMPLEMENTED } else { Status::INVALID_PARAMETER }
}

/// By way of `miss_slow`: above a page and with zero bytes, at a bad IRQL, and with an account that is closed, new,
/// or not in its first place.
fn allocate_slow<P: Platform>(meta: Meta, platform: &P, key: Key, bytes: u32) -> Answer {
    let (account, key) = match check(&meta, platform, key, bytes) {
        Ok(found) => found,
        Err(status) => return Answer::refused(status),
    };
    if bytes > MAX_SLAB_BYTES {
        return allocate_large(meta, platform, Request { key, account, class: LARGE, bytes, counted: false });
    }
    let class = Class::for_slab_bytes(bytes).at_least(meta.control().geometry.least_class);
    let request = Request { key, account, class, bytes, counted: false };
    match platform.pop(&meta, class, account, key.0) {
        Pop::Got(block, _) => finish(meta, platform, Request { counted: true, ..request }, block),
        Pop::Miss { counted } => refill(meta, platform, Request { counted, ..request }),
    }
}

/// The contract's checks, in its order (section 5 of the contract's decisions).
fn check<P: Platform>(meta: &Meta, platform: &P, key: Key, bytes: u32) -> Result<(Account, Key), Status> {
    let (owner, tag) = (key.owner(), key.tag());
    if meta.not_implemented() {
        return Err(Status::NOT_IMPLEMENTED);
    }
    let irql = platform.irql();
    let call = Call { caller: owner, irql };
    let fault = if !meta.adapter_live(owner) || owner == AdapterId::ORPHANS {
        return Err(Status::INVALID_PARAMETER);
    } else if bytes == 0 {
        Some(ViolationKind::ZeroSize)
    } else if meta.control().strict_tags {
        tag.strict_fault()
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
    meta.intern(key).ok_or_else(|| closed_status(meta, owner))
}

/// What a call gets whose account was closed under it: by the host's switch, which may be up again by
/// now, or by the adapter's removal.
fn closed_status(meta: &Meta, owner: AdapterId) -> Status {
    let switch = meta.not_implemented() || meta.adapter_live(owner);
    if switch { Status::NOT_IMPLEMENTED } else { Status::INVALID_PARAMETER }
}

/// Reached from the fast path above a page and with zero bytes; when the loaded magazine is empty or cannot be
/// used, the section was aborted or could not run, the IRQL is bad, or the account is not open, or was closed
/// while we allocated.
#[cold]
#[inline(never)]
fn miss_slow<P: Platform>(meta: Meta, platform: &P, key: Key, bytes: u32, taken: Taken) -> Answer {
    if taken.fault() == Taken::UNSUITED {
        return allocate_slow(meta, platform, key, bytes);
    }
    // What the fast path found: a small block, under an account in its first place.
    let account = meta.first_place(key);
    let class = Class::for_slab_bytes(bytes).at_least(meta.control().geometry.least_class);
    let counted = taken.fault() == Taken::COUNTED;
    if taken.fault() == Taken::OVERTAKEN {
        let block = BlockId(meta.range().base.place_of(taken.0 & !Taken::OVERTAKEN) as u32);
        return undo_slow(meta, platform, Request { key, account, class, bytes, counted: true }, block);
    }
    if !counted && (platform.above_dispatch() || meta.account_key(account) != key) {
        return allocate_slow(meta, platform, key, bytes);
    }
    refill(meta, platform, Request { key, account, class, bytes, counted })
}

fn refill<P: Platform>(meta: Meta, platform: &P, mut request: Request) -> Answer {
    match platform.pop_again(&meta, request.class, request.account, request.key.0, request.counted) {
        Pop::Got(block, _) => {
            request.counted = true;
            return finish(meta, platform, request, block);
        }
        Pop::Miss { counted } => request.counted = counted,
    }
    match find(&meta, platform, request.class) {
        Ok(block) => finish(meta, platform, request, block),
        Err(miss) => fail(&meta, request, miss),
    }
}

fn fail(meta: &Meta, request: Request, miss: Miss) -> Answer {
    // Unless the account has been closed, and perhaps given away with its counts: then one allocation
    // too many stays counted, and freed.
    if request.counted && meta.account_key(request.account) == request.key {
        shared_cell(meta, request, u64::MAX);
    }
    if miss == Miss::Contended {
        // ORDERING: Relaxed - a statistic.
        meta.control().contended.fetch_add(1, Ordering::Relaxed);
    }
    Answer::refused(Status::INSUFFICIENT_RESOURCES)
}

/// Adds to the request's cell of the shared row.
fn shared_cell(meta: &Meta, request: Request, count: u64) {
    // ORDERING: Release - what is taken back was counted before; pairs with the Acquire in `count`.
    meta.cell(meta.control().cpus, request.account, request.class).fetch_add(count, Ordering::Release);
}

/// Hands a block out that the caller holds.
fn finish<P: Platform>(meta: Meta, platform: &P, request: Request, block: BlockId) -> Answer {
    let Request { key, account, class, bytes, counted } = request;
    if !counted {
        shared_cell(&meta, request, 1);
    }
    // ORDERING: Release - the count comes before the header (I8); pairs with the walker's Acquire.
    meta.header_of(class, block).store(allocated(class, account, bytes, block).0, Ordering::Release);
    // ORDERING: SeqCst - pairs with `fence_all`: the closer's walk sees the header, or we the word.
    fence(Ordering::SeqCst);
    if meta.account_key(account) != key {
        return undo_slow(meta, platform, request, block);
    }
    Answer { status: Status::SUCCESS, address: meta.range().address(block) }
}

/// Reached when the account was closed while we allocated: the block goes back, unless the remover
/// has released it already. Then its header is not the one we wrote: whoever has it now is another
/// account's, or got another size. (Or it freed its way through all of this while we stood still, account,
/// block and size the same: then the two cannot be told apart.)
#[cold]
#[inline(never)]
fn undo_slow<P: Platform>(meta: Meta, platform: &P, request: Request, block: BlockId) -> Answer {
    let Request { key, account, class, bytes, .. } = request;
    if claim(meta.header_of(class, block), allocated(class, account, bytes, block)) {
        let _ = put_slow(meta, platform, class, block);
    }
    Answer::refused(closed_status(&meta, key.owner()))
}

/// A run of whole spans.
fn allocate_large<P: Platform>(meta: Meta, platform: &P, request: Request) -> Answer {
    if spans_for(request.bytes) > meta.control().geometry.spans {
        return Answer::refused(Status::INSUFFICIENT_RESOURCES);
    }
    let mut miss = Miss::None;
    for _ in 0..CONTENDED_TRIES {
        match find_run(&meta, platform, request.bytes) {
            Ok(block) => return finish(meta, platform, request, block),
            Err(Miss::None) => {
                miss = Miss::None;
                break;
            }
            Err(Miss::Contended) => miss = Miss::Contended,
        }
        spin_loop();
    }
    fail(&meta, request, miss)
}

/// Finds a run: among the free spans, freed runs included; then with the empty slabs of all classes.
fn find_run<P: Platform>(meta: &Meta, platform: &P, bytes: u32) -> Result<BlockId, Miss> {
    let mut contended = false;
    for swept in [false, true] {
        if swept {
            contended |= reclaim(meta, platform, None) == Err(Miss::Contended);
        }
        // Before untouched spans: they are resident, and the longer they wait the more there are.
        contended |= meta.collect_large() == Err(Miss::Contended);
        match meta.take_large(bytes) {
            Ok(block) => return Ok(block),
            Err(miss) => contended |= miss == Miss::Contended,
        }
    }
    Err(if contended { Miss::Contended } else { Miss::None })
}

/// Finds a block in the sources behind the cursor, and loads a magazine on the way.
fn find<P: Platform>(meta: &Meta, platform: &P, class: Class) -> Result<BlockId, Miss> {
    for _ in 0..CONTENDED_TRIES {
        let mut contended = false;
        if let Some(block) = from_shared(meta, platform, class, &mut contended) {
            return Ok(block);
        }
        // A new slab, from a free span or a freed run.
        if let Some(span) = meta.take_span().or_else(|| match meta.collect_large() {
            Ok(()) => meta.take_span(),
            Err(miss) => {
                contended |= miss == Miss::Contended;
                None
            }
        }) {
            if !meta.adopt_slab(class, span) {
                // A free of a stale address may have read the entry meanwhile (I5).
                platform.fence_sections(meta);
                meta.give_spans(span, 1);
            }
            if let Some(block) = from_shared(meta, platform, class, &mut contended) {
                return Ok(block);
            }
            continue;
        }
        // What is parked in caches: first of this class, then of all others.
        match reclaim(meta, platform, Some(class)) {
            Ok(true) => continue,
            Ok(false) => {}
            Err(_) => contended = true,
        }
        if !contended {
            return Err(Miss::None);
        }
        spin_loop();
    }
    Err(Miss::Contended)
}

/// Sweeps. With a class in want, stops as soon as that has blocks or a span is free; else sweeps all.
/// `Ok(true)`: look again. `Err`: someone else's hand may hold what is wanted.
fn reclaim<P: Platform>(meta: &Meta, platform: &P, wanted: Option<Class>) -> Result<bool, Miss> {
    let Some(claim) = meta.try_reclaim() else {
        return Err(Miss::Contended);
    };
    let mut contended = false;
    if let Some(class) = wanted {
        let swept = meta.sweep(platform, &claim, class, false);
        contended |= swept.contended;
        if swept.blocks > 0 {
            return Ok(true);
        }
    }
    let mut retired = 0;
    for class in (0..SLAB_CLASSES as u8).map(Class) {
        if Some(class) == wanted || meta.slabs(class) == 0 {
            continue;
        }
        let swept = meta.sweep(platform, &claim, class, true);
        contended |= swept.contended;
        retired += swept.retired;
        if wanted.is_some() && retired > 0 {
            return Ok(true);
        }
    }
    if retired == 0 && contended { Err(Miss::Contended) } else { Ok(retired > 0) }
}

/// The spare, the depot, the block queue, the uncarved rest of the current slab.
fn from_shared<P: Platform>(
    meta: &Meta,
    platform: &P,
    class: Class,
    contended: &mut bool,
) -> Option<BlockId> {
    let cpu = platform.cpu(meta);
    let magazine =
        cpu.and_then(|cpu| take_spare(meta, cpu, class)).or_else(|| from_depot(meta, class, contended));
    let magazine = match magazine {
        Some(Source::Magazine(magazine)) => magazine,
        Some(Source::Block(block)) => return Some(block),
        None => match carve(meta, class)? {
            Source::Magazine(magazine) => magazine,
            Source::Block(block) => return Some(block),
        },
    };
    let (block, rest) = meta.take_id(magazine);
    match cpu {
        Some(cpu) => load_magazine(meta, platform, cpu, class, rest),
        None => put_away(meta, class, rest),
    }
    Some(block)
}

/// What a source gave: a magazine in hand that is not empty, or one block.
enum Source {
    Magazine(Cursor),
    Block(BlockId),
}

fn take_spare(meta: &Meta, cpu: u32, class: Class) -> Option<Source> {
    let spare = meta.spare(cpu, class);
    // ORDERING: Relaxed - a first look; an empty one stays where it is.
    if meta.entries(class, Cursor(spare.load(Ordering::Relaxed))) == 0 {
        return None;
    }
    // ORDERING: Acquire - the entries; pairs with the Release that put it there.
    let taken = Cursor(spare.swap(0, Ordering::Acquire));
    if taken.0 == 0 {
        return None;
    }
    if meta.entries(class, taken) == 0 {
        meta.give_empty(taken);
        return None;
    }
    Some(Source::Magazine(taken))
}

fn from_depot(meta: &Meta, class: Class, contended: &mut bool) -> Option<Source> {
    if meta.depot_is_empty(class) {
        return None;
    }
    let Some(consumer) = meta.try_consume(class) else {
        *contended = true;
        return None;
    };
    loop {
        match consumer.magazine() {
            // Frees give empty ones here, when they end up with one in hand.
            Ok(magazine) if meta.entries(class, magazine) == 0 => meta.give_empty(magazine),
            Ok(magazine) => return Some(Source::Magazine(magazine)),
            Err(end) => {
                *contended |= end == Popped::Gap;
                break;
            }
        }
    }
    let mut magazine: Option<Cursor> = None;
    loop {
        match consumer.block() {
            Ok(block) => match magazine.or_else(|| meta.take_empty(class)) {
                None => return Some(Source::Block(block)),
                Some(open) => {
                    let open = meta.put_id(open, block);
                    magazine = Some(open);
                    if open.is_full() {
                        break;
                    }
                }
            },
            Err(end) => {
                *contended |= end == Popped::Gap;
                break;
            }
        }
    }
    magazine.map(Source::Magazine)
}

/// A magazine full of blocks that were never used; one block, when no magazine is left.
fn carve(meta: &Meta, class: Class) -> Option<Source> {
    let magazine = meta.take_empty(class);
    let want = if magazine.is_some() { meta.capacity(class) } else { 1 };
    let Some(mut run) = meta.carve(class, want) else {
        if let Some(magazine) = magazine {
            meta.give_empty(magazine);
        }
        return None;
    };
    match magazine {
        None => run.next().map(Source::Block),
        Some(magazine) => {
            // Last in first out: the run comes out in address order.
            let filled = run.fill(meta, magazine);
            Some(Source::Magazine(filled))
        }
    }
}

/// Makes a magazine in hand the loaded one, if the cursor is empty; else its spare.
fn load_magazine<P: Platform>(meta: &Meta, platform: &P, cpu: u32, class: Class, magazine: Cursor) {
    // ORDERING: Relaxed - the exchange decides.
    let seen = Cursor(meta.cursor(cpu, class).load(Ordering::Relaxed));
    let empty = seen.is_none() || seen.is_magazine() && meta.entries(class, seen) == 0;
    if !empty || !platform.exchange(meta, cpu, class, seen, magazine) {
        put_away(meta, class, magazine);
        return;
    }
    if seen.is_none() {
        return;
    }
    // ORDERING: Release - nothing but the magazine's ownership; pairs with the takers' Acquire.
    if meta.spare(cpu, class).compare_exchange(0, seen.0, Ordering::Release, Ordering::Relaxed).is_err() {
        meta.give_empty(seen);
    }
}

/// Gives a magazine in hand to the shared stock.
fn put_away(meta: &Meta, class: Class, magazine: Cursor) {
    if meta.entries(class, magazine) == 0 {
        meta.give_empty(magazine);
    } else {
        meta.publish_magazine(class, magazine);
    }
}
