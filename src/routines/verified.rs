//! Allocation under a verifier's rules: refused on purpose, or a block with something around it.

use super::hand_out::{finish, search};
use super::quarantine::empty_quarantine;
use super::refuse::inspect;
use super::report::{Call, level};
use super::request::{Answer, Request, place_for};
use crate::contract::adapter::AdapterId;
use crate::contract::status::Status;
use crate::contract::tag::PoolTag;
use crate::contract::verify::rule::checks;
use crate::contract::violation::ViolationKind;
use crate::layout::block::BlockId;
use crate::layout::classes::{LARGE, PAGE};
use crate::layout::meta::Meta;
use crate::owners::accounts::OWN;
use crate::percpu::platform::{Platform, Pop};
use crate::stock::put::put_claimed_slow;
use crate::sync::Ordering;
use crate::trace::event::{TraceEvent, TraceKind};
use crate::verify::bytes::{BEHIND, CANARY};
use crate::verify::guard::{placement, run_bytes};
use crate::verify::notes::Note;
use crate::verify::stacks::StackId;
use crate::verify::verifier::Verifier;

/// What the rules do to an allocation; `None`: nothing, it is one like any other.
pub(crate) fn verified<P: Platform>(
    meta: Meta,
    platform: &P,
    verifier: &Verifier,
    request: Request,
    tag: PoolTag,
) -> Option<Answer> {
    let mut plan = verifier.plan(request.key.owner(), tag);
    if plan.refused_by != 0 {
        verifier.note_refusal(plan.refused_by, tag, request.bytes, plan.stack);
        // ORDERING: Relaxed - a statistic.
        verifier.counters.refused.fetch_add(1, Ordering::Relaxed);
        let answer = Answer::refused(Status::INSUFFICIENT_RESOURCES);
        record(meta, platform, verifier, plan.checks, request, tag, answer);
        return Some(answer);
    }
    if let Some(sample) = meta.take_sample(verifier, request.account, request.key) {
        plan.checks |= sample;
        let crowded = || {
            // ORDERING: Relaxed, twice - statistics.
            let live = verifier.counters.guarded_live.load(Ordering::Relaxed);
            live >= verifier.sampling.most.load(Ordering::Relaxed)
        };
        // Those that were freed make room.
        if crowded() {
            empty_quarantine(meta, platform);
            meta.collect_large(true);
        }
        if crowded() {
            plan.checks &= !checks::GUARD;
        }
    }
    if plan.checks & checks::BLOCK == 0 {
        return None;
    }
    let tracked = plan.checks & checks::TRACK != 0;
    let stack =
        plan.stack.unwrap_or_else(|| if tracked { verifier.take_stack() } else { StackId::NOT_TRACKED });
    let request = Request { set_aside: true, ..request };
    let (request, block, made) = guarded(meta, platform, verifier, request, plan.checks)
        .or_else(|| with_canary(meta, platform, verifier, request, plan.checks))
        .or_else(|| plain(meta, platform, request, plan.checks))?;
    let note = Note {
        ticket: 0,
        state: request.live(block),
        bytes: request.bytes,
        room: request.room,
        checks: made,
        allocated: stack,
        freed: StackId::NOT_TRACKED,
    };
    verifier.note_allocated(block, note);
    // ORDERING: Relaxed - a statistic.
    verifier.counters.verified.fetch_add(1, Ordering::Relaxed);
    let answer = finish(meta, platform, request, block);
    record(meta, platform, verifier, plan.checks, request, tag, answer);
    Some(answer)
}

/// Records an allocation, if a rule says so.
fn record<P: Platform>(
    meta: Meta,
    platform: &P,
    verifier: &Verifier,
    wanted: u32,
    request: Request,
    tag: PoolTag,
    answer: Answer,
) {
    if wanted & checks::RECORD != 0 && verifier.ring().is_some() {
        verifier.record(&TraceEvent {
            status: answer.status,
            bytes: request.bytes,
            address: answer.address,
            ..call_event(&meta, platform, verifier, TraceKind::Allocate, request.key.owner(), tag)
        });
    }
}

/// A call that is made now.
pub(super) fn call_event<P: Platform>(
    meta: &Meta,
    platform: &P,
    verifier: &Verifier,
    kind: TraceKind,
    adapter: AdapterId,
    tag: PoolTag,
) -> TraceEvent {
    // ORDERING: Relaxed - written before the ring was set.
    let began = verifier.began.load(Ordering::Relaxed);
    TraceEvent {
        time: verifier.host().clock().saturating_sub(began),
        cpu: platform.cpu(meta).unwrap_or(0),
        irql: level(platform.irql()),
        adapter,
        tag,
        ..TraceEvent::new(kind)
    }
}

/// What a block is made of: the request as it is handed out, the block in hand, and what can be checked of it.
type Made = (Request, BlockId, u32);

/// A run of its own, with guard pages. While there is room: an eighth of the range is left to others.
fn guarded<P: Platform>(
    meta: Meta,
    platform: &P,
    verifier: &Verifier,
    request: Request,
    wanted: u32,
) -> Option<Made> {
    if wanted & checks::GUARD == 0 || request.alignment > PAGE {
        return None;
    }
    if !verifier.host().can_protect() {
        // ORDERING: Relaxed - a statistic.
        verifier.counters.unguarded.fetch_add(1, Ordering::Relaxed);
        return None;
    }
    let bytes = run_bytes(request.bytes)?;
    let spans = meta.control().geometry.spans;
    meta.collect_large(false);
    let room = meta.count_free_spans() >= spans / 8 + bytes.div_ceil(meta.span_size().bytes());
    let block = room.then(|| meta.take_large(bytes, 1).ok())??;
    let place = placement(request.bytes, request.alignment, wanted & checks::BEFORE != 0);
    if !meta.guard(verifier, block, place) {
        // ORDERING: Relaxed - a statistic.
        verifier.counters.unguarded.fetch_add(1, Ordering::Relaxed);
        let _ = put_claimed_slow(meta, platform, block);
        return None;
    }
    // ORDERING: Relaxed - a statistic.
    verifier.counters.guarded.fetch_add(1, Ordering::Relaxed);
    // What lies on the block's pages beside it.
    let first = meta.range().address(block) + u64::from(PAGE);
    let (address, pages) = (meta.address_of(LARGE, block), place.pages.1);
    let behind = first + pages - address - u64::from(request.bytes);
    let filled = verifier.fill(first, address - first, BEHIND)
        && verifier.fill(address + u64::from(request.bytes), behind, BEHIND);
    let made = if filled { wanted } else { wanted & !checks::CANARY };
    Some((Request { place: LARGE, room: request.bytes + behind as u32, ..request }, block, made))
}

/// A block with bytes behind it that must not change.
fn with_canary<P: Platform>(
    meta: Meta,
    platform: &P,
    verifier: &Verifier,
    request: Request,
    wanted: u32,
) -> Option<Made> {
    if wanted & checks::CANARY == 0 {
        return None;
    }
    let bytes = request.bytes;
    let room = bytes.checked_add(CANARY)?;
    let place = place_for(&meta, room, request.alignment);
    let request = Request { place, room, ..request };
    let block = take(meta, platform, request)?;
    let has = match place {
        LARGE => room_in_run(&meta, block).min(bytes.saturating_add(PAGE)),
        _ => meta.entry_of(block).class().bytes(),
    };
    let address = meta.range().address(block);
    let filled = verifier.fill(address + u64::from(bytes), u64::from(has - bytes), BEHIND);
    let made = if filled { wanted } else { wanted & !checks::CANARY };
    Some((Request { room: has, ..request }, block, made))
}

fn room_in_run(meta: &Meta, block: BlockId) -> u32 {
    meta.run_spans(block).saturating_mul(meta.span_size().bytes())
}

/// A block as any other, of which the verifier has a note.
fn plain<P: Platform>(meta: Meta, platform: &P, request: Request, wanted: u32) -> Option<Made> {
    let request = Request { place: place_for(&meta, request.bytes, request.alignment), ..request };
    let block = take(meta, platform, request)?;
    Some((request, block, wanted & !checks::CANARY))
}

/// From this CPU's magazine, or from behind it.
fn take<P: Platform>(meta: Meta, platform: &P, request: Request) -> Option<BlockId> {
    if request.place != LARGE
        && let Pop::Got(block, _) = platform.pop(&meta, request.place, meta.own_account(), OWN.0)
    {
        return Some(block);
    }
    search(meta, platform, request).ok()
}

/// Tells of an allocation at a bad IRQL, if a rule says so.
pub(crate) fn tell_allocate_irql(meta: &Meta, call: Call, tag: PoolTag, bytes: u32) {
    if meta.verifier().is_some_and(|verifier| verifier.checks(call.caller, tag) & checks::IRQL != 0) {
        meta.refuse_allocate(call, ViolationKind::IrqlAllocate, bytes, tag);
    }
}

/// Tells of a free at a bad IRQL, if a rule says so for the block's tag.
pub(crate) fn tell_free_irql(meta: &Meta, call: Call, address: u64) {
    let Some(verifier) = meta.verifier() else { return };
    let Ok(found) = inspect(meta, call.caller, address) else { return };
    let key = meta.key_of(found.state, meta.record(found.class, found.start));
    if key.is_some_and(|key| verifier.checks(call.caller, key.tag()) & checks::IRQL != 0) {
        meta.refuse_free(call, ViolationKind::IrqlFree, address, Some(found));
    }
}

/// Tells of an allocation whose out pointer held the address of a live block of the same adapter, if a rule says so.
pub(crate) fn tell_overwritten(meta: &Meta, call: Call, tag: PoolTag, held: u64) {
    let Some(verifier) = meta.verifier() else { return };
    if held != 0
        && verifier.checks(call.caller, tag) & checks::OVERWRITE != 0
        && let Ok(found) = inspect(meta, call.caller, held)
    {
        meta.refuse_free(call, ViolationKind::Overwritten, held, Some(found));
    }
}
