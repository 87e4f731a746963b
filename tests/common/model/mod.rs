//! The reference: what a pool must answer, from a plain map of live blocks. One thread at a time.

mod checks;
mod free;

use std::collections::BTreeMap;

use storport_pool::{
    AdapterError, AdapterId, Config, CreateError, Irql, Pool, PoolOptions, PoolTag, Status, TrimError,
    Violation, ViolationKind,
};

use crate::common::*;
use free::Freed;

/// The tag of *other* rows.
pub const OTHER: PoolTag = PoolTag::from_raw(u32::MAX);

/// What the pool was made with.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub adapters: usize,
    pub min_block: u32,
    pub strict_tags: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Block {
    pub owner: AdapterId,
    pub bytes: u32,
    tag: PoolTag,
    /// What it takes of the range.
    pub size: u64,
    /// When it was allocated.
    since: u64,
}

/// A pool, and what it should know.
pub struct Model<W: Way> {
    // The order of the fields is that of their end.
    pub pool: Pool<W::P>,
    pub memory: Option<Memory>,
    heard: Heard,
    rules: Rules,
    pub live: BTreeMap<u64, Block>,
    spans: Spans,
    freed: BTreeMap<u64, Freed>,
    /// Whether a bulk call that failed had blocks for a while, so that others are their last owners.
    churned: bool,
    /// Those that live, with their names.
    pub adapters: Vec<(AdapterId, String)>,
    pub removed: Vec<AdapterId>,
    /// Allocations ever, by adapter and tag; removed adapters' are the orphans'.
    allocs: BTreeMap<(AdapterId, PoolTag), u64>,
    violations: u64,
    not_implemented: bool,
    /// At which the two routines are called.
    pub level: Irql,
    clock: u64,
    /// When slabs may have been retired last.
    swept: u64,
}

impl<W: Way> Model<W> {
    pub fn new(pool: Pool<W::P>, memory: Option<Memory>, rules: Rules) -> Self {
        let heard = Heard::of(&pool);
        let spans = Spans::new(pool.range().1, rules.min_block);
        Model {
            pool,
            memory,
            heard,
            rules,
            live: BTreeMap::new(),
            spans,
            freed: BTreeMap::new(),
            churned: false,
            adapters: Vec::new(),
            removed: Vec::new(),
            allocs: BTreeMap::new(),
            violations: 0,
            not_implemented: false,
            level: Irql::PASSIVE,
            clock: 0,
            swept: 0,
        }
    }

    /// Over memory of the system.
    pub fn build(options: PoolOptions, rules: Rules) -> Result<Self, CreateError> {
        Ok(Model::new(options.build_on(W::platform())?, None, rules))
    }

    /// Over a range that nobody touches.
    pub fn over(config: &Config, rules: Rules) -> Result<Self, CreateError> {
        let memory = Memory::new(config);
        // SAFETY: fresh memory, given back after the pool; nobody touches the range.
        let pool = unsafe { Pool::new_in(config, memory.bytes(), W::platform()) }?;
        Ok(Model::new(pool, Some(memory), rules))
    }

    /// Some adapter.
    pub fn adapter(&self, n: usize) -> Option<AdapterId> {
        self.adapters.get(n.checked_rem(self.adapters.len())?).map(|adapter| adapter.0)
    }

    /// Some live block.
    pub fn block(&self, n: usize) -> Option<(u64, Block)> {
        let n = n.checked_rem(self.live.len())?;
        self.live.iter().nth(n).map(|(&address, &block)| (address, block))
    }

    /// Some address that was freed.
    pub fn stale(&self, n: usize) -> Option<u64> {
        let n = n.checked_rem(self.freed.len())?;
        self.freed.keys().nth(n).copied()
    }

    fn is_live(&self, id: AdapterId) -> bool {
        self.adapters.iter().any(|adapter| adapter.0 == id)
    }

    /// What the hook heard since the last look.
    fn take_heard(&mut self) -> Vec<Violation> {
        let heard = self.heard.take();
        self.violations += heard.len() as u64;
        heard
    }

    /// Calls allocate. Gives the address, if there is one.
    pub fn allocate(&mut self, caller: AdapterId, bytes: u32, tag: PoolTag) -> Option<u64> {
        let (status, kind) = self.refusal(caller, bytes, tag);
        let fits = self.spans.fits(bytes.max(1));
        let result = W::at(self.level, || alloc_tag(&self.pool, caller, bytes, tag));
        let heard = self.take_heard();
        assert_eq!(heard.iter().map(|violation| violation.kind).collect::<Vec<_>>(), Vec::from_iter(kind));
        for violation in heard {
            assert_eq!((violation.caller, violation.irql, violation.tag), (caller, self.level, Some(tag)));
            assert_eq!((violation.bytes, violation.address, violation.owner), (bytes.into(), 0, None));
        }
        if let Some(status) = status {
            assert_eq!(result, Err(status), "{bytes} bytes");
            return None;
        }
        self.clock += 1;
        self.swept = self.clock;
        if !fits {
            assert_eq!(result, Err(Status::INSUFFICIENT_RESOURCES), "{bytes} bytes");
            return None;
        }
        let address = result.unwrap_or_else(|status| panic!("{bytes} bytes fit: {status}"));
        self.handed_out(address, Block { owner: caller, bytes, tag, size: 0, since: self.clock });
        Some(address)
    }

    /// Calls allocate_bulk; all blocks, or none.
    pub fn allocate_bulk(&mut self, caller: AdapterId, bytes: u32, tag: PoolTag, count: usize) {
        // How many longer runs fit depends on where the first ones come to lie.
        let longer = self.spans.occupied(bytes) > span_of(self.pool.range().1);
        let count = if longer { count.min(1) } else { count };
        let (status, kind) = if count > 0 { self.refusal(caller, bytes, tag) } else { (None, None) };
        let room = self.spans.room_for(bytes.max(1));
        let mut blocks = vec![0xDEAD; count];
        let got = W::at(self.level, || self.pool.allocate_bulk(caller, bytes, tag, &mut blocks));
        let heard = self.take_heard();
        assert_eq!(heard.iter().map(|violation| violation.kind).collect::<Vec<_>>(), Vec::from_iter(kind));
        self.clock += 1;
        self.swept = self.clock;
        let fits = room >= count as u64;
        let want = status.unwrap_or(if fits { Status::SUCCESS } else { Status::INSUFFICIENT_RESOURCES });
        assert_eq!(got, want, "{count} times {bytes} bytes, room for {room}");
        if got.is_success() {
            for address in blocks {
                self.handed_out(address, Block { owner: caller, bytes, tag, size: 0, since: self.clock });
            }
            return;
        }
        assert!(blocks.iter().all(|&address| address == 0), "a failure gives blocks");
        if status.is_none() && room > 0 {
            self.churned = true;
            self.count(caller, tag, room);
        }
    }

    /// So many allocations more.
    fn count(&mut self, owner: AdapterId, tag: PoolTag, more: u64) {
        *self.allocs.entry((owner, tag)).or_default() += more;
    }

    /// Why a request is refused before memory is looked for, and what the hook hears.
    fn refusal(
        &self,
        caller: AdapterId,
        bytes: u32,
        tag: PoolTag,
    ) -> (Option<Status>, Option<ViolationKind>) {
        let [a, b, c, d] = tag.bytes();
        let fault = if bytes == 0 {
            Some(ViolationKind::ZeroSize)
        } else if !self.rules.strict_tags {
            None
        } else if tag.raw() == 0 {
            Some(ViolationKind::ZeroTag)
        } else if [a, b, c] == *b"BIG" && (d == 0 || d == b' ') {
            Some(ViolationKind::BigTag)
        } else {
            let readable = tag.bytes().iter().any(u8::is_ascii_alphanumeric);
            (!readable).then_some(ViolationKind::UnreadableTag)
        };
        if self.not_implemented {
            (Some(Status::NOT_IMPLEMENTED), None)
        } else if !self.is_live(caller) {
            (Some(Status::INVALID_PARAMETER), None)
        } else if fault.is_some() {
            (Some(Status::INVALID_PARAMETER), fault)
        } else {
            ((self.level > Irql::DISPATCH).then_some(Status::INVALID_IRQL), None)
        }
    }

    /// Calls allocate without an out pointer.
    pub fn allocate_nowhere(&mut self, caller: AdapterId, bytes: u32, tag: PoolTag) {
        let want = if self.not_implemented { Status::NOT_IMPLEMENTED } else { Status::INVALID_PARAMETER };
        let status = W::at(self.level, || self.pool.allocate(caller, bytes, tag, None));
        assert_eq!((status, self.take_heard().len()), (want, 0));
    }

    fn handed_out(&mut self, address: u64, mut block: Block) {
        let (base, len) = self.pool.range();
        let bytes = u64::from(block.bytes);
        block.size = self.spans.add(address - base, block.bytes);
        let size = block.size;
        assert!(address >= base && address + size <= base + len, "{address:#x} lies outside");
        assert!(address.is_multiple_of(if bytes >= 4096 { 4096 } else { 16 }), "{address:#x}, {bytes} bytes");
        assert!(
            bytes > 4096 || address / 4096 == (address + bytes - 1) / 4096,
            "{address:#x} crosses a page"
        );
        if let Some((&below, other)) = self.live.range(..=address).next_back() {
            assert!(below + other.size <= address, "{address:#x} overlaps {below:#x}");
        }
        if let Some((&above, _)) = self.live.range(address..).next() {
            assert!(address + size <= above, "{address:#x} overlaps {above:#x}");
        }
        self.freed.remove(&address);
        self.live.insert(address, block);
        self.count(block.owner, block.tag, 1);
    }

    fn given_back(&mut self, address: u64) {
        let Block { owner, bytes, tag, size, .. } = self.live.remove(&address).unwrap();
        self.spans.remove(address - self.pool.range().0, size);
        self.clock += 1;
        self.freed.insert(address, Freed { owner, tag, bytes, since: self.clock });
    }

    pub fn add(&mut self, name: &str) {
        match W::at(self.level, || self.pool.add_adapter(name)) {
            Ok(id) => {
                assert!(self.adapters.len() < self.rules.adapters && self.level <= Irql::DISPATCH);
                assert!(id != AdapterId::ORPHANS && !self.is_live(id));
                let cut = (0..=32).rev().find(|&len| name.is_char_boundary(len)).unwrap();
                let name = &name[..cut.min(name.len())];
                self.adapters.push((id, name.split('\0').next().unwrap().to_owned()));
            }
            Err(error) => {
                if self.level > Irql::DISPATCH {
                    assert_eq!(error, AdapterError::Irql);
                } else {
                    assert_eq!((error, self.adapters.len()), (AdapterError::TooMany, self.rules.adapters));
                }
            }
        }
    }

    /// Removes an adapter, live or not.
    pub fn remove(&mut self, id: AdapterId, release: bool) {
        let removal = if release {
            // SAFETY: nobody uses the blocks.
            W::at(self.level, || unsafe { self.pool.release_adapter(id) })
        } else {
            W::at(self.level, || self.pool.remove_adapter(id))
        };
        let heard = self.take_heard();
        if self.level > Irql::DISPATCH {
            assert_eq!((removal, heard.len()), (Err(Status::INVALID_IRQL), 0));
            return;
        }
        if !self.is_live(id) {
            assert_eq!((removal, heard.len()), (Err(Status::INVALID_PARAMETER), 0));
            return;
        }
        let removal = removal.unwrap();
        self.adapters.retain(|adapter| adapter.0 != id);
        self.removed.push(id);
        let told: Vec<_> = heard
            .iter()
            .inspect(|leak| assert_eq!((leak.owner, leak.caller, leak.address), (Some(id), id, 0)))
            .map(|leak| (leak.kind, leak.tag, leak.blocks, leak.bytes))
            .collect();
        let reported = removal.outstanding.iter();
        let reported: Vec<_> =
            reported.map(|row| (ViolationKind::Leak, Some(row.tag), row.blocks, row.bytes)).collect();
        assert_eq!(told, reported);
        let theirs: Vec<u64> =
            self.live.iter().filter(|(_, block)| block.owner == id).map(|(&at, _)| at).collect();
        let rows = removal.outstanding.iter().map(|row| (row.tag, row.blocks, row.bytes));
        let rows = rows.map(|(tag, blocks, bytes)| (id, tag, blocks, bytes));
        checks::leaks(rows, theirs.iter().map(|address| &self.live[address]));
        for (_, tag) in self.tags_of(id) {
            let count = self.allocs.remove(&(id, tag)).unwrap();
            *self.allocs.entry((AdapterId::ORPHANS, tag)).or_default() += count;
        }
        for address in theirs {
            if release {
                self.given_back(address);
            } else {
                self.live.get_mut(&address).unwrap().owner = AdapterId::ORPHANS;
            }
        }
    }

    fn tags_of(&self, id: AdapterId) -> Vec<(AdapterId, PoolTag)> {
        self.allocs.keys().copied().filter(|key| key.0 == id).collect()
    }

    pub fn switch(&mut self, not_implemented: bool) {
        self.pool.set_not_implemented(not_implemented);
        self.not_implemented = not_implemented;
    }

    pub fn trim(&mut self) {
        let trimmed = match &self.memory {
            None => W::at(self.level, || self.pool.trim()),
            // What is given back holds no block.
            Some(_) => W::at(self.level, || {
                self.pool.trim_with(|address, bytes| {
                    let (base, len) = self.pool.range();
                    assert!(address >= base && bytes > 0 && address - base + bytes <= len);
                    assert!(self.holder(address).is_none());
                    assert!(self.live.range(address..address + bytes).next().is_none());
                    true
                })
            }),
        };
        if self.level > Irql::DISPATCH {
            assert_eq!(trimmed, Err(TrimError::Irql));
            return;
        }
        assert!(trimmed.unwrap().bytes.is_multiple_of(span_of(self.pool.range().1)));
        self.clock += 1;
        self.swept = self.clock;
        assert_eq!(self.pool.snapshot().free_bytes, self.spans.empty_bytes());
    }

    /// Everything comes back.
    pub fn finish(&mut self) {
        self.switch(false);
        self.level = Irql::PASSIVE;
        while let Some((&address, _)) = self.live.first_key_value() {
            self.free_block(address);
        }
        self.check();
        if self.adapters.is_empty() {
            self.add("last");
        }
        let len = self.pool.range().1;
        // Without a trim, and with one.
        for _ in 0..2 {
            if let Some(id) = self.adapter(0) {
                let whole = self.allocate(id, len as u32, TAG).unwrap();
                self.free_block(whole);
            }
            self.trim();
        }
        self.check();
    }

    /// The pool goes, and reports what is left.
    pub fn leave(self) {
        let Model { pool, memory, heard, live, .. } = self;
        assert!(heard.take().is_empty());
        drop(pool);
        drop(memory);
        let heard = heard.take();
        assert!(heard.iter().all(|leak| leak.kind == ViolationKind::Leak && Some(leak.caller) == leak.owner));
        let rows = heard.iter().map(|leak| (leak.caller, leak.tag.unwrap(), leak.blocks, leak.bytes));
        // What a removal left was told then.
        checks::leaks(rows, live.values().filter(|block| block.owner != AdapterId::ORPHANS));
    }
}
