//! Where allocate finds memory behind its cursor: the spare, the depot, loose blocks, the uncarved rest of a slab, a
//! free span, a freed run, and what a sweep gathers.

use super::large::spans_for;
use super::queue::Popped;
use super::span::Miss;
use crate::layout::block::BlockId;
use crate::layout::classes::{Class, SLAB_CLASSES};
use crate::layout::cursor::Cursor;
use crate::layout::meta::Meta;
use crate::percpu::platform::Platform;
use crate::sync::{Ordering, spin_loop};

/// How often a search that met other ones' hands starts over.
/// (Loom: once more, so that the model ends.)
const CONTENDED_TRIES: u32 = if cfg!(storport_pool_loom) { 2 } else { 16 };

/// Finds a run of whole spans.
pub(crate) fn find_large<P: Platform>(meta: &Meta, platform: &P, bytes: u32) -> Result<BlockId, Miss> {
    if spans_for(bytes, meta.span_size()) > meta.control().geometry.spans {
        return Err(Miss::None);
    }
    for _ in 0..CONTENDED_TRIES {
        let found = find_run(meta, platform, bytes);
        if found != Err(Miss::Contended) {
            return found;
        }
        spin_loop();
    }
    Err(Miss::Contended)
}

/// One search for a run: among the free spans, freed runs included; then with the empty slabs of all classes.
fn find_run<P: Platform>(meta: &Meta, platform: &P, bytes: u32) -> Result<BlockId, Miss> {
    let mut contended = false;
    for swept in [false, true] {
        if swept {
            contended |= reclaim(meta, platform, None) == Err(Miss::Contended);
        }
        // Before untouched spans: they are resident, and the longer they wait the more there are.
        // Without the hints, before it fails.
        meta.collect_large(swept);
        match meta.take_large(bytes) {
            Ok(block) => return Ok(block),
            Err(miss) => contended |= miss == Miss::Contended,
        }
    }
    Err(if contended { Miss::Contended } else { Miss::None })
}

/// Finds a block in the sources behind the cursor, and loads a magazine on the way.
pub(crate) fn find<P: Platform>(meta: &Meta, platform: &P, class: Class) -> Result<BlockId, Miss> {
    for attempt in 0..CONTENDED_TRIES {
        let mut contended = false;
        if let Some(block) = from_shared(meta, platform, class, attempt > 0, &mut contended) {
            return Ok(block);
        }
        // While few spans are left, they are for what nothing else can serve.
        if meta.spans_are_few()
            && let Some(block) = from_larger(meta, platform, class, true, &mut contended)
        {
            return Ok(block);
        }
        // A new slab, from a free span or a freed run.
        if let Some(span) = meta.take_span().or_else(|| meta.collect_large(true).then(|| meta.take_span())?) {
            if !meta.adopt_slab(class, span) {
                // A free of a stale address may have read the entry meanwhile (I5).
                platform.fence_sections(meta);
                meta.give_spans(span, 1);
            }
            if let Some(block) = from_shared(meta, platform, class, false, &mut contended) {
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
        // Without the hint, before it fails.
        if let Some(block) = from_shared(meta, platform, class, true, &mut contended) {
            return Ok(block);
        }
        // For want of a span: a larger block, which the sweeps brought into reach.
        if let Some(block) = from_larger(meta, platform, class, false, &mut contended) {
            return Ok(block);
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

/// The spare, the depot, loose blocks (all of them: not only if the class is said to have some), the uncarved rest
/// of the current slab.
fn from_shared<P: Platform>(
    meta: &Meta,
    platform: &P,
    class: Class,
    all: bool,
    contended: &mut bool,
) -> Option<BlockId> {
    let cpu = platform.cpu(meta);
    let magazine = cpu
        .and_then(|cpu| take_spare(meta, cpu, class))
        .or_else(|| from_depot(meta, class, contended))
        .or_else(|| from_loose(meta, class, all));
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

/// A free block of a larger class. With `early`, of one not twice as large, and out of a slab that has a live block: an
/// empty slab is better given back.
fn from_larger<P: Platform>(
    meta: &Meta,
    platform: &P,
    class: Class,
    early: bool,
    contended: &mut bool,
) -> Option<BlockId> {
    let most = if early { 2 * class.bytes() } else { u32::MAX };
    (class.0 + 1..SLAB_CLASSES as u8)
        .map(Class)
        .take_while(|class| class.bytes() <= most)
        .filter(|&class| meta.slabs(class) > 0)
        .find_map(|class| one_of(meta, platform, class, early, contended))
}

/// One free block of a class; with `early`, out of a slab that has a live one.
fn one_of<P: Platform>(
    meta: &Meta,
    platform: &P,
    class: Class,
    early: bool,
    contended: &mut bool,
) -> Option<BlockId> {
    let cpu = platform.cpu(meta);
    let source = cpu
        .and_then(|cpu| take_loaded(meta, platform, cpu, class).or_else(|| take_spare(meta, cpu, class)))
        .or_else(|| from_depot(meta, class, contended))
        .or_else(|| from_loose(meta, class, true))
        .or_else(|| meta.carve(class, 1)?.next().map(Source::Block))?;
    let (block, rest) = match source {
        Source::Magazine(magazine) => {
            let (block, rest) = meta.take_id(magazine);
            (block, Some(rest))
        }
        Source::Block(block) => (block, None),
    };
    let good = !early || meta.has_live(meta.span_of(block));
    match rest.map(|rest| if good { rest } else { meta.put_id(rest, block) }) {
        Some(rest) => match cpu {
            Some(cpu) => load_magazine(meta, platform, cpu, class, rest),
            None => put_away(meta, class, rest),
        },
        None if !good => meta.put_loose(class, block),
        None => {}
    }
    good.then_some(block)
}

/// What this CPU has loaded of a class, if it is not empty.
fn take_loaded<P: Platform>(meta: &Meta, platform: &P, cpu: u32, class: Class) -> Option<Source> {
    // ORDERING: Relaxed - the exchange decides.
    let seen = Cursor(meta.cursor(cpu, class).load(Ordering::Relaxed));
    let taken = meta.entries(class, seen) > 0 && platform.exchange(meta, cpu, class, seen, Cursor::NONE);
    taken.then_some(Source::Magazine(seen))
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
                return None;
            }
        }
    }
}

/// A magazine of loose blocks; one block, when no magazine is left.
fn from_loose(meta: &Meta, class: Class, all: bool) -> Option<Source> {
    if !meta.may_have_loose(class, all) {
        return None;
    }
    let empty = meta.take_empty(class);
    let (mut magazine, mut block) = (empty, None);
    meta.take_loose(class, all, empty.map_or(1, |_| meta.capacity(class)), |next| match magazine {
        Some(open) => magazine = Some(meta.put_id(open, next)),
        None => block = Some(next),
    });
    if magazine != empty {
        return magazine.map(Source::Magazine);
    }
    if let Some(empty) = empty {
        meta.give_empty(empty);
    }
    block.map(Source::Block)
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
