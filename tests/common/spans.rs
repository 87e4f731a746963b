//! Spans and slabs of a pool, as the tests reckon with them: what fits, and what a block takes.

use super::{MAX_SLAB, SIZES, SPAN};

/// Bytes of a span, the unit of slabs and large runs, in a pool over so many bytes.
pub fn span_of(range: u64) -> u64 {
    if range < LARGE_POOL { 4096 } else { SPAN }
}

/// The largest block of a slab in a pool over so many bytes.
pub fn max_slab(range: u64) -> u32 {
    if span_of(range) == SPAN { MAX_SLAB } else { 4096 }
}

/// Blocks of this size in 64 KiB, when none up to a page crosses a page.
pub fn per_slab(size: u32) -> u64 {
    if size <= 4096 { 16 * u64::from(4096 / size) } else { SPAN / u64::from(size) }
}

/// Bytes that a request of this many takes in a pool over so many, unless a larger block serves it.
pub fn occupied(range: u64, bytes: u32) -> u64 {
    match SIZES.iter().find(|&&size| size >= bytes && bytes <= max_slab(range)) {
        Some(&size) => u64::from(size),
        None => u64::from(bytes).next_multiple_of(span_of(range)),
    }
}

/// How many requests of so many bytes fit an empty pool over so many.
pub fn fitting(range: u64, bytes: u32) -> u64 {
    Spans::new(range, SIZES[0]).room_for(bytes)
}

/// The least range whose spans are of 64 KiB.
pub const LARGE_POOL: u64 = 8 << 20;

/// Which spans of a range the live blocks occupy: of each, their size and how many.
pub struct Spans {
    range: u64,
    used: Vec<(u64, u64)>,
    /// The smallest block.
    least: u32,
}

impl Spans {
    pub fn new(range: u64, least: u32) -> Spans {
        Spans { range, used: vec![(0, 0); (range / span_of(range)) as usize], least }
    }

    /// Bytes that a request of this many takes, unless a larger block serves it.
    pub fn occupied(&self, bytes: u32) -> u64 {
        occupied(self.range, bytes.max(self.least))
    }

    fn is_large(&self, size: u64) -> bool {
        size > u64::from(max_slab(self.range))
    }

    /// Blocks of a slab.
    pub fn per_slab(&self, size: u64) -> u64 {
        per_slab(size as u32) / (SPAN / span_of(self.range))
    }

    fn of(&mut self, offset: u64, size: u64) -> &mut [(u64, u64)] {
        let span = span_of(self.range);
        let first = (offset / span) as usize;
        &mut self.used[first..first + size.div_ceil(span) as usize]
    }

    /// Adds a block, which was not there when it was asked for; what it takes: more than it needs, if it lies among
    /// larger ones.
    pub fn add(&mut self, offset: u64, bytes: u32) -> u64 {
        let own = self.occupied(bytes);
        let (there, live) = self.of(offset, 1)[0];
        let size = if live > 0 { there } else { own };
        if size != own {
            assert!(size > own, "a request of {bytes} bytes got one of {size}");
            assert!(!self.is_large(size) && !self.is_large(own), "{own} bytes in a run, or a run in a slab");
            // A small pool may save its last spans so, but only by the next sizes.
            let early = self.used.len() <= 64 && size <= 2 * own;
            assert!(early || !self.has_own(own), "{bytes} bytes need not have got {size}");
        }
        for span in self.of(offset, size) {
            *span = (size, span.1 + 1);
        }
        size
    }

    pub fn remove(&mut self, offset: u64, size: u64) {
        self.of(offset, size).iter_mut().for_each(|span| span.1 -= 1);
    }

    /// Spans without a live block.
    pub fn empty(&self) -> u64 {
        self.used.iter().filter(|span| span.1 == 0).count() as u64
    }

    /// Bytes of these.
    pub fn empty_bytes(&self) -> u64 {
        self.empty() * span_of(self.range)
    }

    /// How many requests of so many bytes fit, one after the other.
    pub fn room_for(&self, bytes: u32) -> u64 {
        let size = self.occupied(bytes);
        if self.is_large(size) {
            let runs = self.used.split(|span| span.1 != 0);
            return runs.map(|run| run.len() as u64 / (size / span_of(self.range))).sum();
        }
        let most = self.per_slab(size);
        let rooms = self.used.iter().map(|&(of, blocks)| match blocks {
            0 => most,
            _ if of >= size && !self.is_large(of) => self.per_slab(of) - blocks,
            _ => 0,
        });
        rooms.sum()
    }

    /// Whether there is a slab of this size with room, or a span without any block.
    fn has_own(&self, size: u64) -> bool {
        let most = self.per_slab(size);
        self.used.iter().any(|&(of, blocks)| blocks == 0 || of == size && blocks < most)
    }

    /// Whether a request fits: into a slab of its size or of a larger one, or into spans without any block.
    pub fn fits(&self, bytes: u32) -> bool {
        self.room_for(bytes) > 0
    }
}

/// Whether a request fits into a range with these live blocks (offset, bytes), if that can be told: a block may be larger
/// than was asked for, and where the blocks lie does not always tell.
pub fn room(range: u64, live: impl Iterator<Item = (u64, u32)>, bytes: u32) -> Option<bool> {
    let span = span_of(range);
    let mut spans = vec![Vec::new(); (range / span) as usize];
    for (offset, bytes) in live {
        let own = occupied(range, bytes);
        (offset / span..(offset + own).div_ceil(span)).for_each(|n| spans[n as usize].push((offset, own)));
    }
    let own = occupied(range, bytes);
    let is_large = |size: u64| size > u64::from(max_slab(range));
    if is_large(own) {
        let mut runs = spans.split(|blocks| !blocks.is_empty());
        return Some(runs.any(|run| run.len() as u64 >= own / span));
    }
    let mut can = false;
    for blocks in &spans {
        let most = blocks.iter().map(|&(_, own)| own).max();
        if most.is_some_and(is_large) {
            continue;
        }
        // The sizes that the span's slab can have, and whether it has room then.
        let sizes = SIZES.into_iter().map(u64::from).filter(|&size| !is_large(size) && Some(size) >= most);
        let rooms = sizes
            .filter(|&size| {
                blocks.iter().all(|&(offset, _)| offset % if size > 4096 { span } else { 4096 } % size == 0)
            })
            .map(|size| (size, per_slab(size as u32) / (SPAN / span)))
            .filter(|&(_, all)| blocks.len() as u64 <= all)
            .map(|(size, all)| size >= own && (blocks.len() as u64) < all);
        let rooms: Vec<bool> = rooms.collect();
        if blocks.is_empty() || rooms.iter().all(|&room| room) {
            return Some(true);
        }
        can |= rooms.contains(&true);
    }
    (!can).then_some(false)
}
