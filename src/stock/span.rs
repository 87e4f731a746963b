//! Spans: a bitmap of free ones, 1 = free. Taking one span is one `fetch_and`; taking a run is
//! one CAS a word. Coalescing needs no work: neighbours' bits are neighbours.

use crate::layout::meta::Meta;
use crate::sync::Ordering;

/// How many spans are in one hand at most, while they are retired or their memory is given back.
pub(crate) const AT_ONCE: usize = 16;
/// Bytes of these at most: as many as a magazine's blocks have.
const AT_ONCE_BYTES: u32 = 256 << 10;

/// How a search for memory ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Miss {
    /// There is none.
    None,
    /// Somebody else's operation may hold what was looked for.
    Contended,
}

/// Bits `from` to `to` of a word, `to` not included.
const fn bits(from: u32, to: u32) -> u64 {
    let low = u64::MAX << from;
    if to == 64 { low } else { low & !(u64::MAX << to) }
}

/// The words that a run covers: word, mask.
fn words(start: u32, len: u32) -> impl Iterator<Item = (usize, u64)> {
    let end = start + len;
    (start / 64..end.div_ceil(64)).map(move |word| {
        let from = start.max(word * 64) - word * 64;
        let to = end.min((word + 1) * 64) - word * 64;
        (word as usize, bits(from, to))
    })
}

impl Meta {
    /// Makes all spans free. Called once, before the pool is shared.
    pub(crate) fn init_spans(&self) {
        for (word, mask) in words(0, self.control().geometry.spans) {
            // ORDERING: Relaxed - not shared yet.
            self.free_spans(word).store(mask, Ordering::Relaxed);
        }
    }

    /// Takes one free span.
    pub(crate) fn take_span(&self) -> Option<u32> {
        let count = self.control().geometry.bitmap_words();
        // ORDERING: Relaxed - a hint.
        let hint = self.control().span_hint.load(Ordering::Relaxed) as usize % count;
        for word in (hint..count).chain(0..hint) {
            let bitmap = self.free_spans(word);
            // ORDERING: Relaxed - the fetch_and decides.
            let mut seen = bitmap.load(Ordering::Relaxed);
            while seen != 0 {
                let bit = seen & seen.wrapping_neg();
                // ORDERING: Acquire - all that was done with the span before it was given back;
                // pairs with the Release in `give_spans`.
                seen = bitmap.fetch_and(!bit, Ordering::Acquire);
                if seen & bit != 0 {
                    // ORDERING: Relaxed - a hint.
                    self.control().span_hint.store(word as u32, Ordering::Relaxed);
                    let span = word as u32 * 64 + bit.trailing_zeros();
                    self.touch_spans(span, 1);
                    return Some(span);
                }
            }
        }
        None
    }

    /// Whether so few spans are free, in a small pool, that new slabs should wait: at most half of up to 64.
    pub(crate) fn spans_are_few(&self) -> bool {
        let spans = self.control().geometry.spans;
        // ORDERING: Relaxed - a hint.
        spans <= 64 && self.free_spans(0).load(Ordering::Relaxed).count_ones() <= spans / 2
    }

    /// The first span from `at` on that begins at a multiple of so many spans, as addresses count.
    fn aligned_from(&self, at: u32, every: u32) -> u32 {
        let before = self.range().base.0 / u64::from(self.span_size().bytes());
        let place = before + u64::from(at);
        at.saturating_add((place.next_multiple_of(every.into()) - place) as u32)
    }

    /// Takes `len` free spans in a row that begin at a multiple of `every` spans, the first that fit.
    pub(crate) fn take_run(&self, len: u32, every: u32) -> Result<u32, Miss> {
        let spans = self.control().geometry.spans;
        let mut contended = false;
        // Where a run would begin, if all from there to `at` is free.
        let mut start = None;
        let mut at = 0;
        while at < spans {
            // ORDERING: Relaxed - the CAS decides.
            let word = self.free_spans(at as usize / 64).load(Ordering::Relaxed);
            let in_word = at % 64;
            if word >> in_word == 0 {
                at = at - in_word + 64;
                start = None;
                continue;
            }
            if word >> in_word & 1 == 0 {
                at += (word >> in_word).trailing_zeros();
                start = None;
                continue;
            }
            let first = *start.get_or_insert_with(|| self.aligned_from(at, every));
            at += (word >> in_word).trailing_ones().min(64 - in_word);
            if at >= first.saturating_add(len) {
                if self.claim_run(first, len) {
                    self.touch_spans(first, len);
                    return Ok(first);
                }
                contended = true;
                start = None;
            }
        }
        Err(if contended { Miss::Contended } else { Miss::None })
    }

    /// Takes exactly this run, or nothing.
    fn claim_run(&self, start: u32, len: u32) -> bool {
        for (word, mask) in words(start, len) {
            let bitmap = self.free_spans(word);
            // ORDERING: Acquire - as in `take_span`.
            let taken = bitmap.fetch_update(Ordering::Acquire, Ordering::Relaxed, |seen| {
                (seen & mask == mask).then_some(seen & !mask)
            });
            if taken.is_err() {
                let done = (word as u32 * 64).max(start) - start;
                if done > 0 {
                    self.give_spans(start, done);
                }
                return false;
            }
        }
        true
    }

    /// Gives spans back whose page-map entries are `NONE`.
    pub(crate) fn give_spans(&self, start: u32, len: u32) {
        // ORDERING: Relaxed - the spans are in hand.
        #[cfg(not(storport_pool_loom))]
        debug_assert!(
            (start..start + len).all(|span| self.read_span(span).is_none()),
            "a span that is given back has an entry"
        );
        for (word, mask) in words(start, len) {
            // ORDERING: Release - pairs with the Acquire in `take_span` and `claim_run`.
            self.free_spans(word).fetch_or(mask, Ordering::Release);
        }
        let hint = &self.control().span_hint;
        // ORDERING: Relaxed - a hint, twice.
        if hint.load(Ordering::Relaxed) > start / 64 {
            hint.store(start / 64, Ordering::Relaxed);
        }
    }

    /// Remembers that the caller of these spans will make them resident.
    fn touch_spans(&self, start: u32, len: u32) {
        for (word, mask) in words(start, len) {
            let touched = self.touched_spans(word);
            // ORDERING: Relaxed - the span's bit of the bitmap orders it.
            if touched.load(Ordering::Relaxed) & mask != mask {
                touched.fetch_or(mask, Ordering::Relaxed);
            }
        }
    }

    /// How many spans may be in one hand, while they are retired or their memory is given back.
    pub(crate) fn spans_at_once(&self) -> u32 {
        let geometry = &self.control().geometry;
        // As a magazine: all CPUs' two together hold a quarter of the pool.
        let by_pool = geometry.spans / (8 * self.control().cpus);
        (AT_ONCE_BYTES / self.span_size().bytes()).min(AT_ONCE as u32).min(by_pool).max(1)
    }

    /// Whether a span is free.
    pub(crate) fn is_free(&self, span: u32) -> bool {
        // ORDERING: Acquire - its former use's entry; pairs with the Release in `give_spans`.
        self.free_spans(span as usize / 64).load(Ordering::Acquire) >> (span % 64) & 1 != 0
    }

    /// Hands the free spans that may be resident to `decommit`, which answers whether it gave the memory back. A few
    /// adjacent ones at a time, which are in hand while it works. Returns the spans given back.
    pub(crate) fn for_free_resident(&self, mut decommit: impl FnMut(u32, u32) -> bool) -> u64 {
        let mut given = 0;
        for word in 0..self.control().geometry.bitmap_words() {
            let mut from = 0;
            while from < 64 {
                // ORDERING: Relaxed, twice - bits are only taken if they are also free.
                let touched = self.touched_spans(word).load(Ordering::Relaxed) & (u64::MAX << from);
                let ours = touched & self.free_spans(word).load(Ordering::Relaxed);
                if ours == 0 {
                    break;
                }
                from = ours.trailing_zeros();
                let len = (ours >> from).trailing_ones().min(self.spans_at_once());
                let mask = bits(from, from + len);
                // ORDERING: Acquire - as in `take_span`.
                let taken = self.free_spans(word).fetch_and(!mask, Ordering::Acquire) & mask;
                // All of them, or those that nobody else got meanwhile, one by one.
                let mut rest = taken;
                while rest != 0 {
                    let first = rest.trailing_zeros();
                    let run = (rest >> first).trailing_ones();
                    let mask = bits(first, first + run);
                    if decommit(word as u32 * 64 + first, run) {
                        given += u64::from(run);
                        // ORDERING: Relaxed - the spans are ours; published with them.
                        self.touched_spans(word).fetch_and(!mask, Ordering::Relaxed);
                    }
                    rest &= !mask;
                }
                // ORDERING: Release - as in `give_spans`.
                self.free_spans(word).fetch_or(taken, Ordering::Release);
                from += len;
            }
        }
        given
    }

    /// How many spans are free.
    pub(crate) fn count_free_spans(&self) -> u32 {
        (0..self.control().geometry.bitmap_words())
            // ORDERING: Relaxed - a snapshot.
            .map(|word| self.free_spans(word).load(Ordering::Relaxed).count_ones())
            .sum()
    }
}
