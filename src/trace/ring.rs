//! The ring: lanes of slots, many producers a lane, one reader. docs/CONCURRENCY.md, "The trace ring's own words", says
//! who writes which word, and why nobody waits.

use core::fmt;

use super::event::{FREE, TIME_BITS, TraceEvent, TraceItem, WRITING, is_full, laps_later};
use crate::sync::{AtomicU64, Ordering};

/// Places that a push looks at, at most.
/// (Loom: fewer, so that the model ends.)
const TRIES: u32 = if cfg!(storport_pool_loom) { 2 } else { 4 };
/// Words of a slot: 32 bytes.
const SLOT: usize = 4;
/// Words before a lane's slots: a cache line of the producers', and one of the reader's.
const HEAD: usize = 16;
/// Words of a cache line.
const LINE: usize = 8;
/// A slot's words.
const MARK: usize = 0;
const TIME: usize = 1;
const SIZE: usize = 2;
const ADDRESS: usize = 3;

#[cfg(not(storport_pool_loom))]
type Words<'a> = &'a [AtomicU64];
#[cfg(storport_pool_loom)]
type Words<'a> = std::sync::Arc<(std::vec::Vec<AtomicU64>, core::marker::PhantomData<&'a ()>)>;

/// Why memory makes no ring.
///
/// ```
/// use storport_pool::{TraceRing, TraceRingError};
/// assert_eq!(TraceRing::over(&mut [0; 64], 0).unwrap_err(), TraceRingError::NoLanes);
/// assert_eq!(TraceRing::over(&mut [], 1).unwrap_err(), TraceRingError::TooSmall);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TraceRingError {
    /// No lanes were asked for. A ring has at least one.
    NoLanes,
    /// The memory has no room for two events in each lane: see [`TraceRing::words`].
    TooSmall,
}

impl fmt::Display for TraceRingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TraceRingError::NoLanes => "a trace ring has at least one lane",
            TraceRingError::TooSmall => "a trace ring has room for two events a lane at least",
        })
    }
}

impl core::error::Error for TraceRingError {}

/// Where events are pushed: a buffer of fixed size, in memory of its maker.
///
/// It has lanes, as a rule one for each CPU. An event goes into the lane `cpu % lanes`. Any number of threads may push
/// into one lane, and a handler may push while it interrupts a push.
///
/// ```
/// use storport_pool::{TraceEvent, TraceItem, TraceKind, TraceRing};
/// let mut memory = vec![0; TraceRing::words(2, 64)]; // two lanes of 64 events
/// let (ring, mut drain) = TraceRing::over(&mut memory, 2)?;
/// assert_eq!((ring.lanes(), ring.events_per_lane()), (2, 64));
/// let event = TraceEvent { time: 100, cpu: 1, ..TraceEvent::new(TraceKind::Allocate) };
/// assert!(ring.push(&event));
/// let mut read = Vec::new();
/// drain.drain(|item| read.push(item));
/// assert_eq!(read, [TraceItem::Event(event)]);
/// assert_eq!(ring.dropped(), 0);
/// # Ok::<(), storport_pool::TraceRingError>(())
/// ```
#[derive(Clone)]
pub struct TraceRing<'a> {
    words: Words<'a>,
    lanes: u32,
    /// Slots of a lane, a power of two.
    slots: u64,
}

/// A lane: its words from the first one on.
#[derive(Clone, Copy)]
struct Lane<'r> {
    words: &'r [AtomicU64],
    slots: u64,
}

impl<'r> Lane<'r> {
    /// How many places were given out. The producers'.
    const fn head(self) -> &'r AtomicU64 {
        &self.words[0]
    }

    /// How many events were dropped. The producers'.
    const fn dropped(self) -> &'r AtomicU64 {
        &self.words[1]
    }

    /// How many of these the reader has told. The reader's, as the next two.
    const fn told(self) -> &'r AtomicU64 {
        &self.words[LINE]
    }

    /// The place at which the reader goes on.
    const fn next(self) -> &'r AtomicU64 {
        &self.words[LINE + 1]
    }

    /// The last event's time, all bits of it.
    const fn time(self) -> &'r AtomicU64 {
        &self.words[LINE + 2]
    }

    /// How often the places before this one went through all slots.
    const fn lap(self, place: u64) -> u64 {
        place / self.slots
    }

    fn slot(self, place: u64) -> &'r [AtomicU64] {
        let first = HEAD + SLOT * (place & (self.slots - 1)) as usize;
        &self.words[first..first + SLOT]
    }
}

impl<'a> TraceRing<'a> {
    /// Words of memory, of 8 bytes each, that so many lanes of so many events need. The number of events is rounded
    /// down to a power of two. An event takes four words, 32 bytes. Any IRQL.
    #[must_use]
    pub const fn words(lanes: u32, events: u32) -> usize {
        (LINE - 1).saturating_add(
            (lanes as usize).saturating_mul(HEAD.saturating_add(SLOT.saturating_mul(events as usize))),
        )
    }

    /// A ring in this memory, and its one reader. As many events have room as fit. It sets the memory to 0, and costs
    /// O(words). Any IRQL.
    ///
    /// # Errors
    /// [`TraceRingError`]: no lanes, or too little memory.
    #[cfg(not(storport_pool_loom))]
    pub fn over(
        memory: &'a mut [u64],
        lanes: u32,
    ) -> Result<(TraceRing<'a>, TraceDrain<'a>), TraceRingError> {
        memory.fill(0);
        let skipped = memory.as_ptr().align_offset(LINE * size_of::<u64>()).min(memory.len());
        let memory = &mut memory[skipped..];
        let slots = Self::slots(memory.len(), lanes)?;
        // SAFETY: an atomic has the size and alignment of its number (targets of 64 bits alone are let in), all bits are
        // valid, and the borrow makes the memory ours for 'a.
        let words = unsafe { core::slice::from_raw_parts(memory.as_ptr().cast::<AtomicU64>(), memory.len()) };
        let ring = TraceRing { words, lanes, slots };
        Ok((ring.clone(), TraceDrain { ring }))
    }

    /// A ring whose words are loom's.
    #[cfg(storport_pool_loom)]
    #[doc(hidden)]
    pub fn modelled(lanes: u32, events: u32) -> (TraceRing<'a>, TraceDrain<'a>) {
        let count = Self::words(lanes, events);
        let words = (0..count).map(|_| AtomicU64::new(0)).collect();
        let words = std::sync::Arc::new((words, core::marker::PhantomData));
        let ring = TraceRing { words, lanes, slots: Self::slots(count, lanes).unwrap_or(2) };
        (ring.clone(), TraceDrain { ring })
    }

    /// How many slots each lane has in so many words.
    fn slots(words: usize, lanes: u32) -> Result<u64, TraceRingError> {
        let each = words.checked_div(lanes as usize).ok_or(TraceRingError::NoLanes)?;
        let most = each.saturating_sub(HEAD) / SLOT;
        if most < 2 { Err(TraceRingError::TooSmall) } else { Ok(1 << most.ilog2()) }
    }

    /// The lane with this number, below the number of lanes.
    fn lane(&self, lane: u32) -> Lane<'_> {
        #[cfg(not(storport_pool_loom))]
        let words = self.words;
        #[cfg(storport_pool_loom)]
        let words = &self.words.0[..];
        let len = HEAD + SLOT * self.slots as usize;
        Lane { words: &words[lane as usize * len..][..len], slots: self.slots }
    }

    /// How many lanes there are. Any IRQL.
    #[must_use]
    pub const fn lanes(&self) -> u32 {
        self.lanes
    }

    /// How many events a lane has room for. Any IRQL.
    #[must_use]
    pub const fn events_per_lane(&self) -> u64 {
        self.slots
    }

    /// Adds an event. `false`: it was dropped, and counted.
    ///
    /// It is dropped when none of four places in a row is free. Either the reader has not come there yet, or a push is
    /// in its middle there. In a lane of fewer than eight events, that is no rare thing.
    ///
    /// Any IRQL; a signal handler may call it at any point. Wait-free: at most nine locked instructions, two if the
    /// first place is free. No system call, no allocation, no waiting.
    pub fn push(&self, event: &TraceEvent) -> bool {
        let lane = self.lane(event.cpu % self.lanes);
        for _ in 0..TRIES {
            // ORDERING: Release - a reader that finds this place given out finds what we pushed before; pairs with its
            // Acquire.
            let place = lane.head().fetch_add(1, Ordering::Release);
            let slot = lane.slot(place);
            // ORDERING: Acquire - what the reader read of the former event; pairs with the Release by which it freed the
            // slot. Relaxed on failure - nothing is read then.
            let taken = slot[MARK].compare_exchange(FREE, WRITING, Ordering::Acquire, Ordering::Relaxed);
            // Else its producer stands still, or the reader has not come here: the next place.
            if taken.is_ok() {
                // ORDERING: Relaxed - a statistic; it says where in the order the drops were.
                let dropped = lane.dropped().load(Ordering::Relaxed);
                let [mark, time, size, address] = event.pack(lane.lap(place), dropped);
                // ORDERING: Relaxed, three times - the slot is ours; published by the mark.
                slot[TIME].store(time, Ordering::Relaxed);
                slot[SIZE].store(size, Ordering::Relaxed);
                slot[ADDRESS].store(address, Ordering::Relaxed);
                // ORDERING: Release - the event; pairs with the reader's Acquire.
                slot[MARK].store(mark, Ordering::Release);
                return true;
            }
        }
        // ORDERING: Relaxed - a statistic.
        lane.dropped().fetch_add(1, Ordering::Relaxed);
        false
    }

    /// How many events were dropped so far, in all lanes. Any IRQL; a load for each lane.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        // ORDERING: Relaxed - a statistic.
        (0..self.lanes).map(|lane| self.lane(lane).dropped().load(Ordering::Relaxed)).sum()
    }
}

impl fmt::Debug for TraceRing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceRing({} lanes of {} events)", self.lanes, self.slots)
    }
}

/// The one reader of a [`TraceRing`].
///
/// ```
/// use storport_pool::{TraceEvent, TraceItem, TraceKind, TraceRing};
/// let mut memory = vec![0; TraceRing::words(1, 4)];
/// let (ring, mut drain) = TraceRing::over(&mut memory, 1)?;
/// // Four have room, the fifth one does not.
/// let pushed = (0..5).filter(|&time| ring.push(&TraceEvent { time, ..TraceEvent::new(TraceKind::Free) }));
/// assert_eq!(pushed.count(), 4);
/// let mut dropped = 0;
/// let events = drain.drain_all(|item| match item {
///     TraceItem::Dropped { events, .. } => dropped += events,
///     _ => {}
/// });
/// assert_eq!((events, dropped), (4, 1));
/// # Ok::<(), storport_pool::TraceRingError>(())
/// ```
#[derive(Debug)]
pub struct TraceDrain<'a> {
    ring: TraceRing<'a>,
}

impl TraceDrain<'_> {
    /// Takes what was pushed, lane by lane, and hands it to `each`. The answer is how many events it took. Any IRQL
    /// that `each` allows. It looks at each slot twice at most, however fast others push. So it is bounded by the
    /// ring's size.
    ///
    /// A lane's events come in the order in which their pushes began. There is one exception: a push that stood still.
    /// Its event comes once it is there, this time or later. What a lane dropped is told before the first event whose
    /// push found it dropped. Lanes come one after the other. [`TraceEvent::time`] says what was when.
    pub fn drain(&mut self, mut each: impl FnMut(TraceItem)) -> usize {
        (0..self.ring.lanes).map(|lane| sweep(self.ring.lane(lane), lane, &mut each)).sum()
    }

    /// As [`drain`](TraceDrain::drain), but then it looks at every slot, and tells all that was dropped up to now. When
    /// all pushes have ended, nothing is left. A push that never ends is no event. (Its thread did not survive a fork.)
    /// Any IRQL that `each` allows.
    pub fn drain_all(&mut self, mut each: impl FnMut(TraceItem)) -> usize {
        let mut events = self.drain(&mut each);
        for number in 0..self.ring.lanes {
            let lane = self.ring.lane(number);
            events += (0..lane.slots).filter(|&place| take(lane, number, place, |_| true, &mut each)).count();
            tell_dropped(lane, number, u64::MAX, &mut each);
        }
        events
    }
}

/// Takes what lies in one lane.
fn sweep(lane: Lane<'_>, number: u32, each: &mut impl FnMut(TraceItem)) -> usize {
    // ORDERING: Relaxed - the reader's own word, as `told` and `time` are: one thread at a time uses them.
    let from = lane.next().load(Ordering::Relaxed);
    // ORDERING: Acquire - what a thread had pushed before it was given the last place; pairs with the Release in `push`.
    let head = lane.head().load(Ordering::Acquire);
    let end = head.min(from + 2 * lane.slots);
    let (mut missing, mut events) = (end, 0);
    for place in from..end {
        // One of a lap later comes at its own place, behind what was pushed before it. One of an earlier lap is late.
        if take(lane, number, place, |mark| laps_later(mark, lane.lap(place)) != 1, each) {
            events += 1;
        } else {
            // Its push has not come so far, or was dropped.
            missing = missing.min(place);
        }
    }
    // What is older than a lap is dropped, or late.
    lane.next().store(missing.max(head.saturating_sub(lane.slots)), Ordering::Relaxed);
    events
}

/// Takes the event that lies in a place's slot, if it is a wanted one.
fn take(
    lane: Lane<'_>,
    number: u32,
    place: u64,
    wanted: impl Fn(u64) -> bool,
    each: &mut impl FnMut(TraceItem),
) -> bool {
    let slot = lane.slot(place);
    // ORDERING: Acquire - the event; pairs with the Release of its push.
    let mark = slot[MARK].load(Ordering::Acquire);
    if !is_full(mark) || !wanted(mark) {
        return false;
    }
    // ORDERING: Relaxed, three times - behind the mark's Acquire, and before the Release below.
    let [time, size, address] = [TIME, SIZE, ADDRESS].map(|word| slot[word].load(Ordering::Relaxed));
    // ORDERING: Release - our loads come before the next producer's stores; pairs with the Acquire in `push`.
    slot[MARK].store(FREE, Ordering::Release);
    // Producers write nothing else.
    let Some((mut event, dropped)) = TraceEvent::unpack([mark, time, size, address]) else { return false };
    // ORDERING: Relaxed - the reader's own words, all.
    let told = lane.told().load(Ordering::Relaxed);
    // An event that comes late had fewer before it than were told since.
    let more = i64::from((dropped.wrapping_sub(told as u16)) as i16);
    tell_dropped(lane, number, more.max(0) as u64, each);
    event.time = unwrapped(event.time, lane.time().load(Ordering::Relaxed));
    lane.time().store(event.time, Ordering::Relaxed);
    each(TraceItem::Event(event));
    true
}

/// Tells that `most` events were dropped, or as many as the lane has counted and nobody was told of.
fn tell_dropped(lane: Lane<'_>, number: u32, most: u64, each: &mut impl FnMut(TraceItem)) {
    // ORDERING: Relaxed - at least what the event saw: its push counted before, or looked before.
    let (told, dropped) = (lane.told().load(Ordering::Relaxed), lane.dropped().load(Ordering::Relaxed));
    let events = dropped.saturating_sub(told).min(most);
    if events > 0 {
        lane.told().store(told + events, Ordering::Relaxed);
        each(TraceItem::Dropped { lane: number, events });
    }
}

/// The time with these low bits that is nearest to another one.
fn unwrapped(low: u64, near: u64) -> u64 {
    const WRAP: u64 = 1 << TIME_BITS;
    let time = near & !(WRAP - 1) | low;
    if time > near && time - near > WRAP / 2 && time >= WRAP {
        time - WRAP
    } else if near > time && near - time > WRAP / 2 {
        time.saturating_add(WRAP)
    } else {
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_on_beyond_their_bits() {
        const WRAP: u64 = 1 << TIME_BITS;
        for (low, near, time) in [
            (5, 0, 5),
            (5, WRAP - 5, WRAP + 5),
            (WRAP - 5, WRAP + 5, WRAP - 5),
            (WRAP - 5, 5, WRAP - 5),
            (7, 3 * WRAP + 9, 3 * WRAP + 7),
            (9, 3 * WRAP - 9, 3 * WRAP + 9),
            (WRAP - 1, 3 * WRAP, 3 * WRAP - 1),
            (0, u64::MAX, u64::MAX),
        ] {
            assert_eq!(unwrapped(low, near), time, "{low:#x} near {near:#x}");
        }
    }
}
