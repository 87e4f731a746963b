//! What a trace comes to, to be replayed: by thread, which blocks are allocated and freed in which order.

use std::collections::HashMap;
use std::path::Path;

use storport_pool::{TraceEnding, TraceEvent, TraceItem, TraceKind, TraceReader};

use crate::out::{self, plain};
use crate::regular;

/// Threads that replay, at most. What more threads did is spread over these.
pub(crate) const THREADS: usize = 64;
/// By so many calls a thread may be ahead of the one that is furthest behind.
pub(crate) const AHEAD: usize = 1024;

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Op {
    pub(crate) free: bool,
    /// The block's number.
    pub(crate) block: u32,
    /// How many calls of all threads come before.
    pub(crate) rank: u32,
}

/// What one thread does.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// The CPU on which it was first seen.
    pub(crate) cpu: u32,
    pub(crate) ops: Vec<Op>,
    /// Blocks that it allocated, and nobody freed.
    pub(crate) left: Vec<u32>,
}

/// A trace, to be replayed.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) threads: Vec<Lane>,
    /// By block: its bytes.
    pub(crate) bytes: Vec<u32>,
    /// Bytes that are live at most, as far as threads get ahead of each other.
    most: u64,
    /// What the reader should know.
    pub(crate) notes: Vec<String>,
}

/// Calls that the trace has, and that are not replayed, or not as they were.
#[derive(Debug, Default)]
struct Odd {
    dropped: u64,
    refused: u64,
    others: u64,
    without_allocation: u64,
    without_free: u64,
}

impl Plan {
    /// Reads a trace.
    ///
    /// # Errors
    /// A sentence, when the file cannot be read, is no trace, or has no call that can be replayed.
    pub(crate) fn read(file: &Path) -> Result<Plan, String> {
        let name = out::name(file);
        let open = regular::open(file)?;
        let mut reader = TraceReader::new(open).map_err(|error| format!("'{name}' {error}"))?;
        let (mut events, mut dropped) = (Vec::new(), 0_u64);
        for item in reader.by_ref() {
            match item {
                TraceItem::Event(event) => events.push(event),
                TraceItem::Dropped { events, .. } => dropped = dropped.saturating_add(events),
                _ => {}
            }
        }
        let mut plan = Plan::new(events, dropped);
        if let Some(TraceEnding::Torn(why)) = reader.ending() {
            plan.notes.insert(0, format!("The trace is torn: {why}. What comes before is replayed."));
        }
        let header = reader.header();
        if !header.what.is_empty() {
            plan.notes.insert(
                0,
                format!("The trace says of itself: {} ({}).", plain(&header.what), plain(&header.pool)),
            );
        }
        if plan.bytes.is_empty() { Err(format!("'{name}' has no allocation to replay")) } else { Ok(plan) }
    }

    /// A plan of these events.
    fn new(mut events: Vec<TraceEvent>, dropped: u64) -> Plan {
        // Lanes were written one after the other.
        events.sort_by_key(|event| event.time);
        let mut odd = Odd { dropped, ..Odd::default() };
        let mut plan = Plan::default();
        let (mut threads, mut live) = (HashMap::new(), HashMap::new());
        // By block: the thread that allocated it.
        let mut owners: Vec<usize> = Vec::new();
        let mut rank = 0;
        let mut add = |lane: &mut Lane, free, block| {
            lane.ops.push(Op { free, block, rank });
            rank += 1;
        };
        for event in &events {
            match event.kind {
                TraceKind::Allocate | TraceKind::Free if !event.status.is_success() => {
                    odd.refused += 1;
                    continue;
                }
                TraceKind::Allocate if event.bytes > 0 && event.address != 0 => {}
                TraceKind::Free => {}
                _ => {
                    odd.others += 1;
                    continue;
                }
            }
            let next = threads.len();
            let thread = *threads.entry(event.thread).or_insert(next) % THREADS;
            if thread == plan.threads.len() {
                plan.threads.push(Lane { cpu: event.cpu, ..Lane::default() });
            }
            let lane = &mut plan.threads[thread];
            if event.kind == TraceKind::Free {
                match live.remove(&event.address) {
                    Some(block) => add(lane, true, block),
                    None => odd.without_allocation += 1,
                }
                continue;
            }
            let block = plan.bytes.len() as u32;
            plan.bytes.push(event.bytes);
            owners.push(thread);
            if let Some(before) = live.insert(event.address, block) {
                // Somebody freed it, or the address would not have been given out again.
                odd.without_free += 1;
                add(lane, true, before);
            }
            add(lane, false, block);
        }
        let left = live.len();
        live.into_values().for_each(|block: u32| plan.threads[owners[block as usize]].left.push(block));
        // In the order of their allocation, whatever the map's order is.
        plan.threads.iter_mut().for_each(|lane| lane.left.sort_unstable());
        plan.most = plan.most();
        plan.notes = odd.notes(left, threads.len());
        plan
    }

    /// Bytes that are live at most, when all are as far ahead as they may be.
    fn most(&self) -> u64 {
        let mut ops: Vec<Op> = self.threads.iter().flat_map(|lane| lane.ops.iter().copied()).collect();
        ops.sort_unstable_by_key(|op| op.rank);
        // What a block takes in the worst of the allocators: a power of two, and whole pages when it is large.
        let bytes = |op: &Op| u64::from(self.bytes[op.block as usize]).next_power_of_two().max(16);
        let (mut live, mut ahead, mut most) = (0, 0, 0);
        let mut coming = ops.iter();
        for (n, op) in ops.iter().enumerate() {
            let until = (n + 2 * AHEAD).min(ops.len());
            while ops.len() - coming.len() < until {
                ahead += coming.next().filter(|op| !op.free).map_or(0, bytes);
            }
            most = most.max(live + ahead);
            if op.free {
                live -= bytes(op);
            } else {
                ahead -= bytes(op);
                live += bytes(op);
            }
        }
        most
    }

    /// The range of a pool that serves it.
    pub(crate) fn pool_bytes(&self) -> u64 {
        /// Slabs and caches that are not full, whatever the trace is.
        const MORE: u64 = 64 << 20;
        /// What a pool can have.
        const MOST: u64 = 64 << 30;
        (2 * self.most + MORE).next_multiple_of(1 << 20).min(MOST)
    }
}

impl Odd {
    fn notes(&self, left: usize, threads: usize) -> Vec<String> {
        let mut notes = Vec::new();
        let mut note = |count: u64, what: &str| {
            if count > 0 {
                notes.push(format!("{count} {what}"));
            }
        };
        note(self.dropped, "calls are missing in the trace: the recording dropped them.");
        note(self.without_allocation, "frees have no allocation in the trace; they are left out.");
        note(
            self.without_free,
            "blocks were given out again without a free in the trace; they are freed just before.",
        );
        note(left as u64, "blocks were left at the trace's end; they are freed after it, untimed.");
        note(self.refused, "calls had been refused; they are left out.");
        note(self.others, "calls were of other kinds than allocate and free; they are left out.");
        note(
            threads.saturating_sub(THREADS) as u64,
            "threads more than 64 were recorded; what they did is spread over the others.",
        );
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use storport_pool::Status;

    fn event(kind: TraceKind, time: u64, thread: u32, address: u64) -> TraceEvent {
        let bytes = if kind == TraceKind::Allocate { 100 } else { 0 };
        TraceEvent { time, thread, address, bytes, ..TraceEvent::new(kind) }
    }

    fn ops(lane: &Lane) -> Vec<(bool, u32, u32)> {
        lane.ops.iter().map(|op| (op.free, op.block, op.rank)).collect()
    }

    use TraceKind::{Allocate, Free};

    /// A block is freed by another thread, and its address given out again; lanes were read one after the other.
    #[test]
    fn blocks_are_told_apart_by_time() {
        let events = vec![
            event(Free, 15, 2, 0x10),
            event(Free, 40, 2, 0x10),
            event(Allocate, 10, 1, 0x10),
            event(Allocate, 30, 1, 0x10),
        ];
        let plan = Plan::new(events, 0);
        assert_eq!(ops(&plan.threads[0]), [(false, 0, 0), (false, 1, 2)]);
        assert_eq!(ops(&plan.threads[1]), [(true, 0, 1), (true, 1, 3)]);
        assert_eq!((plan.notes.len(), plan.bytes.len()), (0, 2));
    }

    #[test]
    fn what_is_odd_is_counted() {
        let refused = TraceEvent { status: Status::INVALID_PARAMETER, ..event(Free, 9, 1, 0x30) };
        let events = vec![
            event(Free, 1, 1, 0x20),
            event(Allocate, 2, 1, 0x10),
            event(Allocate, 3, 2, 0x10),
            refused,
            event(TraceKind::Resize, 10, 1, 0x10),
        ];
        let plan = Plan::new(events, 7);
        assert_eq!(ops(&plan.threads[0]), [(false, 0, 0)]);
        assert_eq!(ops(&plan.threads[1]), [(true, 0, 1), (false, 1, 2)]);
        assert_eq!(plan.threads[1].left, [1]);
        let begins: Vec<_> = plan.notes.iter().map(|note| note.split(" in ").next().unwrap()).collect();
        assert_eq!(begins[0], "7 calls are missing");
        assert!(begins[1].starts_with("1 frees have no allocation"));
        assert_eq!(plan.notes.len(), 6);
    }

    #[test]
    fn many_threads_share_those_that_there_are() {
        let events = (0..200).map(|n| event(Allocate, n.into(), n, 16 * u64::from(n + 1))).collect();
        let plan = Plan::new(events, 0);
        assert_eq!(plan.threads.len(), THREADS);
        assert_eq!(plan.threads.iter().map(|lane| lane.ops.len()).sum::<usize>(), 200);
        assert!(plan.notes.iter().any(|note| note.starts_with("136 threads")), "{:?}", plan.notes);
    }

    #[test]
    fn the_range_has_room_for_who_is_ahead() {
        let one = Plan::new(vec![event(Allocate, 1, 1, 16), event(Free, 2, 1, 16)], 0);
        assert_eq!(one.most, 128);
        let turns = (0..10_000).flat_map(|n| [event(Allocate, 2 * n, 1, 16), event(Free, 2 * n + 1, 1, 16)]);
        let many = Plan::new(turns.collect(), 0);
        // Half of those ahead are frees; the one that is freed next is live, too.
        assert_eq!(many.most, 128 * (AHEAD as u64 + 1));
        assert!(many.pool_bytes() > 2 * many.most && many.pool_bytes() < 128 << 20);
    }
}
