//! Arbitrary calls of one pool.

use arbitrary::Arbitrary;
use storport_pool::{AdapterId, Irql, PoolTag, tag};

use crate::common::{SIZES, SPAN, TAG, Way};
use crate::model::Model;

/// In whose name.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Who {
    /// The block's own adapter, or the first.
    Owner,
    Adapter(u8),
    Stranger(Stranger),
}

/// One whose calls are refused, mostly.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Stranger {
    Removed(u8),
    Orphans,
    Null,
    /// A live handle with one bit changed.
    Near {
        adapter: u8,
        bit: u8,
    },
    Any(u32),
}

impl Who {
    pub(crate) fn adapter<W: Way>(&self, model: &Model<W>, address: u64) -> AdapterId {
        let null = AdapterId::from_raw(0);
        let adapter = |n| model.adapter(usize::from(n)).unwrap_or(null);
        match *self {
            Who::Owner => model.live.get(&address).map_or_else(|| adapter(0), |block| block.owner),
            Who::Adapter(n) => adapter(n),
            Who::Stranger(stranger) => match stranger {
                Stranger::Removed(n) => match model.removed.len() {
                    0 => null,
                    len => model.removed[usize::from(n) % len],
                },
                Stranger::Orphans => AdapterId::ORPHANS,
                Stranger::Null => null,
                Stranger::Near { adapter: n, bit } => AdapterId::from_raw(adapter(n).raw() ^ 1 << (bit % 30)),
                Stranger::Any(raw) => AdapterId::from_raw(raw),
            },
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Size {
    /// Around a class boundary.
    Class {
        class: u8,
        more: i8,
    },
    Small(u16),
    Spans {
        spans: u8,
        more: i8,
    },
    Any(u32),
}

impl Size {
    fn bytes(self) -> u32 {
        match self {
            Size::Class { class, more } => {
                SIZES[usize::from(class) % SIZES.len()].saturating_add_signed(i32::from(more) % 2)
            }
            Size::Small(bytes) => u32::from(bytes) % 4200,
            Size::Spans { spans, more } => {
                (u32::from(spans % 9) * SPAN as u32).saturating_add_signed(more.into())
            }
            Size::Any(bytes) => bytes,
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Tag {
    Test,
    Known(u8),
    Any(u32),
}

impl Tag {
    fn tag(self) -> PoolTag {
        const KNOWN: [PoolTag; 12] = [
            tag!("Ahci"),
            tag!("NVMe"),
            tag!("VioS"),
            tag!("A"),
            tag!(" a."),
            tag!("BIG"),
            tag!("BIG "),
            tag!("BIGx"),
            tag!("BIg"),
            tag!("..-!"),
            PoolTag::from_raw(0),
            PoolTag::from_raw(u32::MAX),
        ];
        match self {
            Tag::Test => TAG,
            Tag::Known(n) => KNOWN[usize::from(n) % KNOWN.len()],
            Tag::Any(raw) => PoolTag::from_raw(raw),
        }
    }
}

/// What an address is counted from.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Base {
    Block(u16),
    /// Behind a live block.
    Behind(u16),
    Stale(u16),
    Span(u8),
    Far(Far),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Far {
    Null,
    /// The end of the range.
    End,
    Metadata(u32),
    Stack,
    Code,
    Any(u64),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Delta {
    None,
    Bytes(i8),
    Grains(i8),
    Pages(i8),
    Any(i32),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Pointer {
    base: Base,
    delta: Delta,
    /// A bit that is changed.
    flip: Option<u8>,
}

impl Pointer {
    pub(crate) fn address<W: Way>(&self, model: &Model<W>) -> u64 {
        let (first, len) = model.pool.range();
        let on_stack = 0u8;
        let base = match self.base {
            Base::Block(n) => model.block(n.into()).map_or(first, |found| found.0),
            Base::Behind(n) => {
                model.block(n.into()).map_or(first, |(address, block)| address + u64::from(block.bytes))
            }
            Base::Stale(n) => model.stale(n.into()).unwrap_or(first),
            Base::Span(n) => first + u64::from(n) * SPAN % len,
            Base::Far(Far::Null) => 0,
            Base::Far(Far::End) => first.wrapping_add(len),
            Base::Far(Far::Metadata(offset)) => match &model.memory {
                Some(memory) => {
                    let bytes = memory.bytes();
                    bytes.cast::<u8>().addr().get() as u64 + u64::from(offset) % bytes.len() as u64
                }
                None => (&raw const model.pool).addr() as u64,
            },
            Base::Far(Far::Stack) => (&raw const on_stack).addr() as u64,
            Base::Far(Far::Code) => (Model::<W>::trim as fn(&mut Model<W>) as *const ()).addr() as u64,
            Base::Far(Far::Any(address)) => address,
        };
        let address = base.wrapping_add_signed(match self.delta {
            Delta::None => 0,
            Delta::Bytes(n) => n.into(),
            Delta::Grains(n) => i64::from(n) * 16,
            Delta::Pages(n) => i64::from(n) * 4096,
            Delta::Any(n) => n.into(),
        });
        self.flip.map_or(address, |bit| address ^ 1 << (bit % 64))
    }
}

#[derive(Arbitrary, Clone, Debug)]
pub enum Call {
    Allocate {
        who: Who,
        size: Size,
        tag: Tag,
    },
    /// Without an out pointer.
    Nowhere {
        who: Who,
        size: Size,
        tag: Tag,
    },
    /// Allocates this size until there is no more, then frees every nth.
    Fill {
        adapter: u8,
        size: Size,
        tag: Tag,
        nth: u8,
    },
    /// Allocates so many.
    Several {
        adapter: u8,
        size: Size,
        count: u8,
    },
    Free(u16),
    FreeSeveral {
        first: u16,
        count: u8,
    },
    Stale {
        who: Who,
        block: u16,
    },
    Block {
        who: Who,
        block: u16,
    },
    Pointer {
        who: Who,
        pointer: Pointer,
    },
    Level(u8),
    Trim,
    /// By a name of one character, so often.
    Add {
        character: char,
        count: u8,
    },
    Remove {
        who: Who,
        release: bool,
    },
    Switch(u8),
    Snapshot,
    AllocateBulk {
        who: Who,
        size: Size,
        tag: Tag,
        count: u8,
    },
    FreeBulk {
        who: Who,
        picks: Vec<Pick>,
    },
}

/// One of many addresses.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Pick {
    Block(u16),
    /// A live block, and its next neighbours.
    Blocks {
        first: u16,
        count: u8,
    },
    Stale(u16),
    /// The one before.
    Again,
    Pointer(Pointer),
}

impl Pick {
    fn add_to<W: Way>(&self, model: &Model<W>, addresses: &mut Vec<u64>) {
        match *self {
            Pick::Block(n) => addresses.extend(model.block(n.into()).map(|found| found.0)),
            Pick::Blocks { first, count } => {
                let skip = usize::from(first).checked_rem(model.live.len()).unwrap_or(0);
                addresses.extend(model.live.keys().skip(skip).take(usize::from(count % 64)));
            }
            Pick::Stale(n) => addresses.extend(model.stale(n.into())),
            Pick::Again => addresses.extend(addresses.last().copied()),
            Pick::Pointer(ref pointer) => addresses.push(pointer.address(model)),
        }
    }
}

/// Blocks that `Fill` takes are this large, so that they are not too many.
const FILLED: u32 = 600;

impl Call {
    pub(crate) fn run<W: Way>(&self, model: &mut Model<W>) {
        match *self {
            Call::Allocate { who, size, tag } => {
                let caller = who.adapter(model, 0);
                model.allocate(caller, size.bytes(), tag.tag());
            }
            Call::Nowhere { who, size, tag } => {
                let caller = who.adapter(model, 0);
                model.allocate_nowhere(caller, size.bytes(), tag.tag());
            }
            Call::Fill { adapter, size, tag, nth } => {
                let Some(id) = model.adapter(adapter.into()) else { return };
                let (bytes, tag) = (size.bytes().max(FILLED), tag.tag());
                let new: Vec<u64> = std::iter::from_fn(|| model.allocate(id, bytes, tag)).collect();
                for address in new.into_iter().step_by(1 + usize::from(nth % 8)) {
                    model.free_block(address);
                }
            }
            Call::Several { adapter, size, count } => {
                let Some(id) = model.adapter(adapter.into()) else { return };
                for _ in 0..count {
                    model.allocate(id, size.bytes(), TAG);
                }
            }
            Call::Free(n) => {
                if let Some((address, _)) = model.block(n.into()) {
                    model.free_block(address);
                }
            }
            Call::FreeSeveral { first, count } => {
                let skip = usize::from(first).checked_rem(model.live.len()).unwrap_or(0);
                let some: Vec<u64> = model.live.keys().copied().skip(skip).take(count.into()).collect();
                some.into_iter().for_each(|address| model.free_block(address));
            }
            Call::Stale { who, block } => {
                if let Some(address) = model.stale(block.into()) {
                    model.free(who.adapter(model, address), address);
                }
            }
            Call::Block { who, block } => {
                if let Some((address, _)) = model.block(block.into()) {
                    model.free(who.adapter(model, address), address);
                }
            }
            Call::Pointer { who, ref pointer } => {
                let address = pointer.address(model);
                model.free(who.adapter(model, address), address);
            }
            // Both mostly so that calls go on.
            Call::Level(level) => {
                model.level = Irql::new(if level < 224 { level % 3 } else { level % 16 }).unwrap();
            }
            Call::Switch(down) => model.switch(down >= 224),
            Call::Trim => model.trim(),
            Call::Add { character, count } => {
                model.add(&String::from(character).repeat(usize::from(count % 40)));
            }
            Call::Remove { who, release } => model.remove(who.adapter(model, 0), release),
            Call::Snapshot => model.check(),
            Call::AllocateBulk { who, size, tag, count } => {
                let caller = who.adapter(model, 0);
                model.allocate_bulk(caller, size.bytes(), tag.tag(), usize::from(count % 80));
            }
            Call::FreeBulk { who, ref picks } => {
                let mut addresses = Vec::new();
                picks.iter().take(40).for_each(|pick| pick.add_to(model, &mut addresses));
                let first = addresses.first().copied().unwrap_or(0);
                model.free_bulk(who.adapter(model, first), &addresses);
            }
        }
    }
}
