//! Where allocate finds memory behind its cursor: the spare, the depot, loose blocks, the uncarved rest of a slab, a
//! free span, a freed run; what other CPUs' caches hold; slabs of other classes in which nobody has a block; at last, a
//! block of a larger class.

use super::large::spans_for;
use super::span::Miss;
use crate::layout::block::BlockId;
use crate::layout::classes::{Class, SLAB_CLASSES};
use crate::layout::cursor::Cursor;
use crate::layout::meta::Meta;
use crate::percpu::generation::Inside;
use crate::percpu::platform::{Platform, Stolen};
use crate::sync::Ordering;
use crate::trace::emit::emit;

/// How often a search starts over that met other ones' hands.
/// (Loom: once more, so that the model ends.)
const TRIES: u32 = if cfg!(storport_pool_loom) { 2 } else { 16 };
/// How often a search looks that met none: what moves while it looks, it may have missed.
const LOOKS: u32 = 2;

/// Repeats a search until it finds something, or may say that there is nothing.
fn search<P: Platform>(
    platform: &P,
    mut once: impl FnMut(u32, &mut bool) -> Option<BlockId>,
) -> Result<BlockId, Miss> {
    let mut ever = false;
    for attempt in 1..=TRIES {
        let mut contended = false;
        if let Some(block) = once(attempt, &mut contended) {
            return Ok(block);
        }
        ever |= contended;
        if !contended && attempt >= LOOKS {
            return Err(if ever { Miss::Contended } else { Miss::None });
        }
        if contended {
            platform.relax();
        }
    }
    Err(Miss::Contended)
}

/// Finds a run of whole spans.
pub(crate) fn find_large<P: Platform>(
    meta: &Meta,
    platform: &P,
    bytes: u32,
    every: u32,
) -> Result<BlockId, Miss> {
    // So many spans in a row have such a run in them.
    let len = spans_for(bytes, meta.span_size()).saturating_add(every - 1);
    if spans_for(bytes, meta.span_size()) > meta.control().geometry.spans {
        return Err(Miss::None);
    }
    search(platform, |attempt, contended| {
        // Before untouched spans: freed runs are resident, and the longer they wait the more there are.
        meta.collect_large(attempt > 1);
        let mut found = meta.take_large(bytes, every);
        if found.is_err() && meta.collect_large(true) {
            found = meta.take_large(bytes, every);
        }
        if found.is_err() {
            found = match meta.reclaim(platform, len) {
                // Unless somebody else is faster.
                Ok(()) => meta.take_large(bytes, every).map_err(|_| Miss::Contended),
                Err(miss) => Err(miss),
            };
        }
        *contended |= found == Err(Miss::Contended);
        found.ok()
    })
}

/// Finds a block in the sources behind the cursor, and loads a magazine on the way. One of a larger class is of a size that
/// is a multiple of `alignment`.
pub(crate) fn find<P: Platform>(
    meta: &Meta,
    platform: &P,
    class: Class,
    alignment: u32,
) -> Result<BlockId, Miss> {
    let source = Sources { meta, class, alignment, cpu: platform.cpu(meta) };
    search(platform, |attempt, contended| {
        source
            .shared(platform, attempt > 1)
            .or_else(|| source.before_a_new_slab(platform))
            .or_else(|| source.new_slab(platform, contended))
            // Without hints, before it goes on to what costs others time.
            .or_else(|| source.shared(platform, true))
            .or_else(|| source.caches(platform, contended))
            .or_else(|| source.reclaimed(platform, contended))
            .or_else(|| source.larger(platform, contended))
    })
}

/// What a source gave: a magazine in hand that is not empty, or one block.
enum Source {
    Magazine(Cursor),
    Block(BlockId),
}

/// Who looks for a block, and of which class.
struct Sources<'a> {
    meta: &'a Meta,
    class: Class,
    alignment: u32,
    cpu: Option<u32>,
}

impl Sources<'_> {
    /// The spare, the depot, loose blocks, the uncarved rest of the current slab. All of them, or where some are said to
    /// be.
    fn shared<P: Platform>(&self, platform: &P, all: bool) -> Option<BlockId> {
        let Sources { meta, class, .. } = *self;
        // Who cannot load a magazine takes single blocks, since it may be preempted with what it has.
        let loads = self.cpu.is_some_and(|cpu| is_empty(meta, class, meta.loaded(cpu, class)));
        let source = self
            .cpu
            .and_then(|cpu| meta.take_spare(cpu, class))
            .or_else(|| meta.take_filled(class, all))
            .map(Source::Magazine)
            .or_else(|| from_loose(meta, class, all, loads))
            .or_else(|| carve(meta, class, loads))?;
        Some(self.open(platform, source))
    }

    /// One block of what a source gave; the rest is loaded, or put away.
    fn open<P: Platform>(&self, platform: &P, source: Source) -> BlockId {
        match source {
            Source::Block(block) => block,
            Source::Magazine(magazine) => {
                let (block, rest) = self.meta.take_id(magazine);
                match self.cpu {
                    Some(cpu) => load_magazine(self.meta, platform, cpu, self.class, rest),
                    None => put_away(self.meta, self.class, rest),
                }
                emit!(
                    platform.irql(),
                    DEBUG,
                    "refill",
                    class = self.class.0,
                    address = self.meta.range().address(block)
                );
                block
            }
        }
    }

    /// While few spans are left in a small pool, they are for what nothing else can serve: a block that is not much
    /// larger, of a slab that is in use.
    fn before_a_new_slab<P: Platform>(&self, platform: &P) -> Option<BlockId> {
        let meta = self.meta;
        if !meta.spans_are_few() {
            return None;
        }
        self.larger_classes().take_while(|class| class.bytes() <= 2 * self.class.bytes()).find_map(|class| {
            let block = self
                .single(class)
                .or_else(|| self.of_magazine(class, self.cpu.and_then(|cpu| meta.take_spare(cpu, class))))
                .or_else(|| {
                    self.of_magazine(class, self.cpu.and_then(|cpu| self.take_loaded(platform, cpu, class)))
                })?;
            if meta.has_live(class, meta.span_of(block)) {
                return Some(block);
            }
            meta.put_loose(class, block);
            None
        })
    }

    /// What this CPU has loaded of a class, if that has blocks.
    fn take_loaded<P: Platform>(&self, platform: &P, cpu: u32, class: Class) -> Option<Cursor> {
        let seen = self.meta.loaded(cpu, class);
        let taken = self.meta.entries(class, seen) > 0
            && platform.exchange(self.meta, cpu, class, seen, Cursor::NONE);
        taken.then_some(seen)
    }

    /// The classes of larger blocks that have slabs, and are aligned.
    fn larger_classes(&self) -> impl Iterator<Item = Class> {
        let Sources { meta, alignment, .. } = *self;
        let larger = (self.class.0 + 1..SLAB_CLASSES as u8).map(Class);
        // A power of two.
        larger.filter(move |&class| class.bytes() & (alignment - 1) == 0 && meta.slabs(class) > 0)
    }

    /// One block of another class, from what lies with no CPU.
    fn single(&self, class: Class) -> Option<BlockId> {
        let source = from_loose(self.meta, class, true, false).or_else(|| carve(self.meta, class, false));
        match source {
            Some(Source::Block(block)) => Some(block),
            _ => self.of_magazine(class, self.meta.take_filled(class, true)),
        }
    }

    /// One block of a magazine in hand; the rest is put away.
    fn of_magazine(&self, class: Class, magazine: Option<Cursor>) -> Option<BlockId> {
        let (block, rest) = self.meta.take_id(magazine?);
        put_away(self.meta, class, rest);
        Some(block)
    }

    /// A slab of a free span or a freed run.
    fn new_slab<P: Platform>(&self, platform: &P, contended: &mut bool) -> Option<BlockId> {
        let Sources { meta, class, .. } = *self;
        let span = meta.take_span().or_else(|| meta.collect_large(true).then(|| meta.take_span())?)?;
        emit!(
            platform.irql(),
            DEBUG,
            "span taken",
            class = class.0,
            address = meta.range().address(meta.first_of(span))
        );
        if !meta.adopt_slab(class, span) {
            // A free of a stale address may have read the entry meanwhile (I5).
            if platform.fence_sections(meta) {
                meta.give_spans(span, 1);
            } else {
                meta.restore_slab(class, span);
            }
        }
        let block = self.shared(platform, false);
        // Others took all that it has.
        *contended |= block.is_none();
        block
    }

    /// A slab of a span in which nobody has a block.
    fn reclaimed<P: Platform>(&self, platform: &P, contended: &mut bool) -> Option<BlockId> {
        let reclaimed = self.meta.reclaim(platform, 1);
        let block = reclaimed.is_ok().then(|| self.new_slab(platform, contended)).flatten();
        // Somebody else was faster, or has what is missing in hand.
        *contended |= reclaimed.is_ok() && block.is_none() || reclaimed == Err(Miss::Contended);
        block
    }

    /// A magazine that a CPU has of a class, as its spare or loaded.
    fn of_caches<P: Platform>(&self, platform: &P, class: Class, contended: &mut bool) -> Option<Cursor> {
        let meta = self.meta;
        let found = (0..meta.control().cpus).find_map(|cpu| {
            meta.take_spare(cpu, class).or_else(|| {
                let mut found = None;
                platform.steal(meta, cpu..cpu + 1, class, |stolen| match stolen {
                    Stolen::Magazine(magazine) => found = Some(magazine),
                    Stolen::Nothing => {}
                    Stolen::Busy => *contended = true,
                });
                found
            })
        });
        if found.is_some() {
            emit!(platform.irql(), DEBUG, "steal", class = class.0);
        }
        found
    }

    /// What CPUs have of the class.
    fn caches<P: Platform>(&self, platform: &P, contended: &mut bool) -> Option<BlockId> {
        Some(self.open(platform, Source::Magazine(self.of_caches(platform, self.class, contended)?)))
    }

    /// A block of a larger class, which is better than none.
    fn larger<P: Platform>(&self, platform: &P, contended: &mut bool) -> Option<BlockId> {
        self.larger_classes().find_map(|class| self.single(class)).or_else(|| {
            self.larger_classes()
                .find_map(|class| self.of_magazine(class, self.of_caches(platform, class, contended)))
        })
    }
}

impl Meta {
    /// What a CPU has loaded, now.
    fn loaded(&self, cpu: u32, class: Class) -> Cursor {
        // ORDERING: Relaxed - a look; an exchange decides.
        Cursor(self.cursor(cpu, class).load(Ordering::Relaxed))
    }

    /// Takes a CPU's spare magazine of a class, if it has blocks.
    pub(crate) fn take_spare(&self, cpu: u32, class: Class) -> Option<Cursor> {
        let spare = self.spare(cpu, class);
        // ORDERING: Relaxed - a first look; an empty one stays where it is.
        if self.entries(class, Cursor(spare.load(Ordering::Relaxed))) == 0 {
            return None;
        }
        // ORDERING: Acquire - the entries; pairs with the Release that put it there.
        let taken = Cursor(spare.swap(0, Ordering::Acquire));
        if taken.0 == 0 {
            return None;
        }
        if self.entries(class, taken) == 0 {
            self.give_empty(taken);
            return None;
        }
        Some(taken)
    }

    /// Takes a magazine of a class's depot that has blocks. Frees put empty ones there too, when they end up with one.
    fn take_filled(&self, class: Class, all: bool) -> Option<Cursor> {
        loop {
            let magazine = self.take_magazine(class, all)?;
            if self.entries(class, magazine) > 0 {
                return Some(magazine);
            }
            self.give_empty(magazine);
        }
    }
}

/// Loose blocks: a magazine of them, or one, when no magazine is left or none is wanted.
fn from_loose(meta: &Meta, class: Class, all: bool, wants_magazine: bool) -> Option<Source> {
    if !meta.may_have_loose(class, all) {
        return None;
    }
    let empty = wants_magazine.then(|| meta.take_empty(class)).flatten();
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

/// Blocks that were never used: a magazine of them, or one, when no magazine is left or none is wanted.
fn carve(meta: &Meta, class: Class, wants_magazine: bool) -> Option<Source> {
    let magazine = wants_magazine.then(|| meta.take_empty(class)).flatten();
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

/// Whether a cursor can be replaced: it names no magazine, or an empty one; or who stopped it did not survive a fork.
fn is_empty(meta: &Meta, class: Class, cursor: Cursor) -> bool {
    cursor.is_none()
        || cursor.is_magazine() && meta.entries(class, cursor) == 0
        || cursor.is_stopped() && cursor.is_stopped_before(meta.generation(&Inside::enter()))
}

/// Makes a magazine in hand the loaded one, if the cursor is empty; else its spare.
fn load_magazine<P: Platform>(meta: &Meta, platform: &P, cpu: u32, class: Class, magazine: Cursor) {
    let seen = meta.loaded(cpu, class);
    if !is_empty(meta, class, seen) || !platform.exchange(meta, cpu, class, seen, magazine) {
        put_away(meta, class, magazine);
        return;
    }
    if !seen.is_magazine() {
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
