//! A recorded call, and how it lies in the ring: four words.
//!
//! | word | bits, from the top |
//! |---|---|
//! | mark | its place's lap: 2, thread: 19, CPU: 12, adapter: 18, status: 4, IRQL: 4, kind: 3, the slot's state: 2 |
//! | time | ns: 48, how many events the lane had dropped: 16 |
//! | size | tag: 32, bytes: 32 |
//! | address | 64 |

use crate::contract::adapter::{AdapterId, NUMBER_BITS};
use crate::contract::irql::Irql;
use crate::contract::status::Status;
use crate::contract::tag::PoolTag;

/// Which call was made.
///
/// ```
/// use storport_pool::{TraceEvent, TraceKind};
/// assert_eq!(TraceEvent::new(TraceKind::Free).kind, TraceKind::Free);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
#[repr(u8)]
pub enum TraceKind {
    /// An allocation.
    Allocate = 0,
    /// A free.
    Free = 1,
    /// A block got another number of bytes, where it is.
    Resize = 2,
    /// An adapter was added.
    AddAdapter = 3,
    /// An adapter was removed, or released.
    RemoveAdapter = 4,
}

impl TraceKind {
    /// How many kinds there are.
    #[cfg(all(feature = "std", not(storport_pool_loom)))]
    pub(crate) const COUNT: usize = 5;

    /// The kind with this number.
    pub(crate) const fn from_number(number: u64) -> Option<TraceKind> {
        Some(match number {
            0 => TraceKind::Allocate,
            1 => TraceKind::Free,
            2 => TraceKind::Resize,
            3 => TraceKind::AddAdapter,
            4 => TraceKind::RemoveAdapter,
            _ => return None,
        })
    }
}

/// One call, as it is recorded.
///
/// A trace has fewer bits for some fields than their types have: see each field. Higher bits are lost when the event is
/// pushed. That is no error.
///
/// ```
/// use storport_pool::{TraceEvent, TraceKind, tag};
/// let event = TraceEvent { bytes: 208, tag: tag!("VioS"), address: 0x1000, ..TraceEvent::new(TraceKind::Allocate) };
/// assert!(event.status.is_success());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct TraceEvent {
    /// The call.
    pub kind: TraceKind,
    /// What it returned. A refused call has another status than `SUCCESS`. If `storport.h` does not define a status, a
    /// trace keeps [`Status::UNSUCCESSFUL`].
    pub status: Status,
    /// When, in nanoseconds since the recording began: 48 bits, which is 78 hours. A reader that drains the ring once
    /// in 39 hours gets longer times right, too.
    ///
    /// For an allocation it is the time after the call, for a free the time before it. So the times of one address tell
    /// its owners apart, on whichever threads they were.
    pub time: u64,
    /// The thread's number, which the host chooses: 19 bits.
    pub thread: u32,
    /// The CPU's number: 12 bits.
    pub cpu: u32,
    /// The level at which the call was made.
    pub irql: Irql,
    /// The adapter in whose name it was made.
    pub adapter: AdapterId,
    /// The block's tag, where the call names it. Else 0.
    pub tag: PoolTag,
    /// Bytes that were asked for, where the call names them. Else 0.
    pub bytes: u32,
    /// The block's address. 0: there is none.
    pub address: u64,
}

/// The states of a slot: the low bits of its mark.
pub(super) const FREE: u64 = 0;
/// Somebody writes there.
pub(super) const WRITING: u64 = 1;
/// An event lies there.
pub(super) const FULL: u64 = 2;
const STATE_BITS: u32 = 2;

/// Bits of fields, and where they lie in the mark.
const KIND: Field = Field { at: STATE_BITS, bits: 3 };
const IRQL: Field = Field { at: 5, bits: 4 };
const STATUS: Field = Field { at: 9, bits: 4 };
const ADAPTER: Field = Field { at: 13, bits: NUMBER_BITS };
const CPU: Field = Field { at: 31, bits: 12 };
const THREAD: Field = Field { at: 43, bits: 19 };
const LAP: Field = Field { at: 62, bits: 2 };
/// In the time's word.
const DROPPED: Field = Field { at: 0, bits: 16 };
const TIME: Field = Field { at: 16, bits: TIME_BITS };
/// Bits of a time.
pub(super) const TIME_BITS: u32 = 48;

const _: () = assert!(ADAPTER.at + ADAPTER.bits == CPU.at && THREAD.at + THREAD.bits == LAP.at);

struct Field {
    at: u32,
    bits: u32,
}

impl Field {
    const fn put(&self, value: u64) -> u64 {
        (value & ((1 << self.bits) - 1)) << self.at
    }

    const fn get(&self, word: u64) -> u64 {
        word >> self.at & ((1 << self.bits) - 1)
    }
}

/// What all errors of the family have in common; their low bits tell them apart.
const FAMILY: u32 = 0xC100_0000;

/// A status in four bits.
pub(super) const fn status_number(status: Status) -> u8 {
    match status.code() {
        0 => 0,
        code => match status.name() {
            Some(_) => (code & 0xF) as u8,
            None => Status::UNSUCCESSFUL.code() as u8,
        },
    }
}

/// The status of these bits.
pub(super) const fn status_of(number: u8) -> Status {
    if number == 0 {
        return Status::SUCCESS;
    }
    let status = Status::from_code(FAMILY | number as u32);
    if status.name().is_some() { status } else { Status::UNSUCCESSFUL }
}

/// Whether a slot with this mark has an event.
pub(super) const fn is_full(mark: u64) -> bool {
    mark & ((1 << STATE_BITS) - 1) == FULL
}

/// How many laps later than this one an event with this mark was pushed, modulo 4.
pub(super) const fn laps_later(mark: u64, lap: u64) -> u64 {
    LAP.get(mark).wrapping_sub(lap) % 4
}

impl TraceEvent {
    /// A call of this kind that succeeded at PASSIVE. All numbers are 0. Any IRQL.
    #[must_use]
    pub const fn new(kind: TraceKind) -> TraceEvent {
        TraceEvent {
            kind,
            status: Status::SUCCESS,
            time: 0,
            thread: 0,
            cpu: 0,
            irql: Irql::PASSIVE,
            adapter: AdapterId::NOBODY,
            tag: PoolTag::from_raw(0),
            bytes: 0,
            address: 0,
        }
    }

    /// The event as words, the mark first, with its place's lap, and what its lane had dropped before.
    pub(super) const fn pack(&self, lap: u64, dropped: u64) -> [u64; 4] {
        let mark = FULL
            | LAP.put(lap)
            | KIND.put(self.kind as u64)
            | IRQL.put(self.irql.level() as u64)
            | STATUS.put(status_number(self.status) as u64)
            | ADAPTER.put(self.adapter.raw() as u64)
            | CPU.put(self.cpu as u64)
            | THREAD.put(self.thread as u64);
        let size = (self.tag.raw() as u64) << 32 | self.bytes as u64;
        [mark, TIME.put(self.time) | DROPPED.put(dropped), size, self.address]
    }

    /// The event of these words, and the low bits of what its lane had dropped before. `None`: no event has such words.
    pub(super) fn unpack([mark, time, size, address]: [u64; 4]) -> Option<(TraceEvent, u16)> {
        let event = TraceEvent {
            kind: TraceKind::from_number(KIND.get(mark))?,
            status: status_of(STATUS.get(mark) as u8),
            time: TIME.get(time),
            thread: THREAD.get(mark) as u32,
            cpu: CPU.get(mark) as u32,
            irql: Irql::new(IRQL.get(mark) as u8)?,
            adapter: AdapterId::from_raw(ADAPTER.get(mark) as u32),
            tag: PoolTag::from_raw((size >> 32) as u32),
            bytes: size as u32,
            address,
        };
        Some((event, DROPPED.get(time) as u16))
    }
}

/// What a trace holds: events, and in some places how many were dropped.
///
/// ```
/// use storport_pool::{TraceEvent, TraceItem, TraceKind};
/// let item = TraceItem::Event(TraceEvent::new(TraceKind::Free));
/// assert!(!matches!(item, TraceItem::Dropped { .. }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum TraceItem {
    /// A call.
    Event(TraceEvent),
    /// At this place in the lane's order, so many events were dropped, since the lane was full.
    Dropped {
        /// The lane: a CPU's number modulo the number of lanes.
        lane: u32,
        /// How many.
        events: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event whose every bit is set, and one whose none is.
    fn extremes() -> [TraceEvent; 2] {
        let all = TraceEvent {
            kind: TraceKind::RemoveAdapter,
            status: Status::BUSY,
            time: (1 << TIME_BITS) - 1,
            thread: (1 << 19) - 1,
            cpu: (1 << 12) - 1,
            irql: Irql::HIGH,
            adapter: AdapterId::from_raw((1 << NUMBER_BITS) - 1),
            tag: PoolTag::from_raw(u32::MAX),
            bytes: u32::MAX,
            address: u64::MAX,
        };
        [all, TraceEvent::new(TraceKind::Allocate)]
    }

    #[test]
    fn words_hold_an_event() {
        for event in extremes() {
            for dropped in [0, 7, u64::from(u16::MAX), u64::MAX] {
                for lap in [2, 3, 4] {
                    let words = event.pack(lap, dropped);
                    assert!(is_full(words[0]));
                    assert_eq!([lap, lap - 1, lap + 1].map(|lap| laps_later(words[0], lap)), [0, 1, 3]);
                    assert_eq!(TraceEvent::unpack(words), Some((event, dropped as u16)));
                }
            }
        }
    }

    /// What does not fit stays out of the other fields.
    #[test]
    fn what_is_too_large_is_cut() {
        let [_, none] = extremes();
        let event = TraceEvent { thread: 1 << 19, cpu: 1 << 12, time: 1 << TIME_BITS, ..none };
        assert_eq!(TraceEvent::unpack(event.pack(2, 1 << 16)), Some((none, 0)));
    }

    #[test]
    fn each_status_of_the_family_is_kept() {
        for code in 1..=12 {
            let status = Status::from_code(FAMILY | code);
            assert!(status.name().is_some());
            assert_eq!(status_of(status_number(status)), status);
        }
        assert_eq!(status_of(status_number(Status::SUCCESS)), Status::SUCCESS);
        for other in [1, FAMILY, FAMILY | 13, 0xC100_0012, u32::MAX] {
            assert_eq!(status_of(status_number(Status::from_code(other))), Status::UNSUCCESSFUL);
        }
    }
}
