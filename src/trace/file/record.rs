//! Records: an event, or dropped ones, in some eight bytes.
//!
//! The first byte says the kind (3 bits; 7: dropped) and what follows. Numbers are in sevens of bits, the low ones first;
//! differences have their sign in the lowest bit.
//!
//! | follows | if |
//! |---|---|
//! | status (1) | bit 3: it is not SUCCESS |
//! | thread, CPU, IRQL (1), adapter | bit 4: one of them has changed |
//! | tag (4) | bit 5: not the last one of this kind |
//! | bytes | bit 6: not the last ones of this kind |
//! | the address's low four bits (1) | bit 7: they are not 0 |
//! | time less the last one's | always |
//! | address / 16 less the last one's | always |
//!
//! Of dropped ones: lane and number follow, and nothing else.

use alloc::vec::Vec;

use crate::contract::adapter::AdapterId;
use crate::contract::irql::Irql;
use crate::contract::tag::PoolTag;
use crate::trace::event::{TraceEvent, TraceItem, TraceKind, status_number, status_of};

const DROPPED: u8 = 7;
const KIND: u8 = 7;
const STATUS: u8 = 1 << 3;
const PLACE: u8 = 1 << 4;
const TAG: u8 = 1 << 5;
const BYTES: u8 = 1 << 6;
const LOW: u8 = 1 << 7;

/// More bytes than any record has.
pub(super) const LONGEST: usize = 64;

/// What the records before have said.
#[derive(Debug)]
pub(super) struct Before {
    time: u64,
    address: u64,
    /// Thread, CPU, IRQL, adapter.
    place: [u32; 4],
    /// By kind: tag and bytes.
    size: [(u32, u32); TraceKind::COUNT],
}

impl Before {
    pub(super) const NOTHING: Before =
        Before { time: 0, address: 0, place: [0; 4], size: [(0, 0); TraceKind::COUNT] };

    /// Writes a record.
    pub(super) fn put(&mut self, item: &TraceItem, out: &mut Vec<u8>) {
        let event = match item {
            TraceItem::Event(event) => event,
            TraceItem::Dropped { lane, events } => {
                out.push(DROPPED);
                put_number(out, (*lane).into());
                put_number(out, *events);
                return;
            }
        };
        let place = [event.thread, event.cpu, event.irql.level().into(), event.adapter.raw()];
        let size = (event.tag.raw(), event.bytes);
        let last = &mut self.size[event.kind as usize];
        let (status, low) = (status_number(event.status), (event.address & 0xF) as u8);
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.push(
            event.kind as u8
                | flag(status != 0, STATUS)
                | flag(place != self.place, PLACE)
                | flag(size.0 != last.0, TAG)
                | flag(size.1 != last.1, BYTES)
                | flag(low != 0, LOW),
        );
        if status != 0 {
            out.push(status);
        }
        if place != self.place {
            put_number(out, place[0].into());
            put_number(out, place[1].into());
            out.push(event.irql.level());
            put_number(out, place[3].into());
            self.place = place;
        }
        if size.0 != last.0 {
            out.extend(size.0.to_le_bytes());
        }
        if size.1 != last.1 {
            put_number(out, size.1.into());
        }
        *last = size;
        if low != 0 {
            out.push(low);
        }
        put_difference(out, event.time, self.time);
        put_difference(out, event.address >> 4, self.address);
        (self.time, self.address) = (event.time, event.address >> 4);
    }

    /// Reads the next record. `None`: these bytes are none.
    pub(super) fn get(&mut self, bytes: &mut &[u8]) -> Option<TraceItem> {
        let first = byte(bytes)?;
        if first == DROPPED {
            return Some(TraceItem::Dropped { lane: number32(bytes)?, events: number(bytes)? });
        }
        let kind = TraceKind::from_number((first & KIND).into())?;
        let has = |flag: u8| first & flag != 0;
        let status = if has(STATUS) { byte(bytes)? } else { 0 };
        if has(PLACE) {
            self.place = [number32(bytes)?, number32(bytes)?, byte(bytes)?.into(), number32(bytes)?];
        }
        let size = &mut self.size[kind as usize];
        if has(TAG) {
            let (tag, rest) = bytes.split_first_chunk::<4>()?;
            size.0 = u32::from_le_bytes(*tag);
            *bytes = rest;
        }
        if has(BYTES) {
            size.1 = number32(bytes)?;
        }
        let low = if has(LOW) { byte(bytes)? } else { 0 };
        self.time = difference(bytes, self.time)?;
        self.address = difference(bytes, self.address)?;
        if low > 0xF || self.address >> 60 != 0 {
            return None;
        }
        let [thread, cpu, irql, adapter] = self.place;
        Some(TraceItem::Event(TraceEvent {
            kind,
            status: status_of(status),
            time: self.time,
            thread,
            cpu,
            irql: Irql::new(irql as u8)?,
            adapter: AdapterId::from_raw(adapter),
            tag: PoolTag::from_raw(size.0),
            bytes: size.1,
            address: self.address << 4 | u64::from(low),
        }))
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7F {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_difference(out: &mut Vec<u8>, number: u64, last: u64) {
    let signed = number.wrapping_sub(last) as i64;
    put_number(out, (signed << 1 ^ signed >> 63) as u64);
}

fn byte(bytes: &mut &[u8]) -> Option<u8> {
    let (&first, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(first)
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let next = byte(bytes)?;
        let part = u64::from(next & 0x7F);
        // The tenth byte has one bit left.
        if part << shift >> shift != part {
            return None;
        }
        number |= part << shift;
        if next & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn number32(bytes: &mut &[u8]) -> Option<u32> {
    number(bytes)?.try_into().ok()
}

fn difference(bytes: &mut &[u8], last: u64) -> Option<u64> {
    let coded = number(bytes)?;
    Some(last.wrapping_add(coded >> 1 ^ (coded & 1).wrapping_neg()))
}
