//! The workload phases around the I/O: adapter start, events, giants, teardown.

use std::time::Duration;

use fastrand::Rng;
use storport_pool::{AdapterId, Pool, PoolTag, TraceKind, tag};

use crate::measure::Progress;
use crate::meter::{Meter, Mode, Series};
use crate::results::{Leak, Phase};
use crate::scenarios::{Effort, replay};
use crate::subjects::{Mimalloc, PoolSubject, Subject, System, alloc_touched};
use crate::timer::Clock;
use crate::traces::record::{Recorded, Recorder};
use crate::workloads::{SEED, adapter_sets, flat_mix};

/// One phase's blocks, all allocated, then all freed. Times are per block.
struct Load {
    name: String,
    adapter: &'static str,
    tag: PoolTag,
    sizes: Vec<u32>,
}

/// The tags and adapters of the sets of [`adapter_sets`].
const STARTS: [(&str, PoolTag); 4] =
    [("ahci0", tag!("Ahci")), ("nvme0", tag!("NVMe")), ("vioblk0", tag!("VioB")), ("vioscsi0", tag!("VioS"))];
const SCRATCH: PoolTag = tag!("Scra");
const KEPT: PoolTag = tag!("Evnt");

/// What the leaking adapter forgets: tag, bytes of a block, blocks.
const LEAKED: [(PoolTag, u32, usize); 2] = [(tag!("LkRq"), 80, 12), (tag!("LkSm"), 4096, 3)];

/// How many blocks it forgets.
pub(crate) fn leaked() -> u64 {
    LEAKED.iter().map(|(_, _, blocks)| *blocks as u64).sum()
}

fn loads() -> Vec<Load> {
    let load = |name: &str, adapter, tag, sizes| Load { name: name.to_owned(), adapter, tag, sizes };
    let mut loads = Vec::new();
    let mut teardown = Vec::new();
    for (set, (adapter, tag)) in adapter_sets().into_iter().zip(STARTS) {
        teardown.extend(&set.sizes);
        loads.push(load(&format!("A adapter start ({})", set.name), adapter, tag, set.sizes));
    }
    loads.push(load("C events", "vioscsi0", SCRATCH, vec![16, 4]));
    loads.push(load("D giant (1 MiB)", "ramdisk0", tag!("RamD"), vec![1 << 20]));
    loads.push(load("D giant (48 MiB)", "ramdisk0", tag!("RamD"), vec![48 << 20]));
    teardown.extend(flat_mix(2000, &mut Rng::with_seed(SEED)));
    loads.push(load("E teardown", "ahci0", tag!("Down"), teardown));
    loads
}

/// Runs the phases on `pool`, the system's allocator and mimalloc, then leaves blocks behind on
/// purpose. What `pool` served stays in its tags; a recorder hears of each call.
pub(crate) fn run(
    pool: &Pool,
    recorder: Option<&Recorder>,
    effort: Effort,
    progress: &mut Progress<'_>,
) -> Result<(Vec<Phase>, Vec<Leak>), String> {
    let loads = loads();
    let clock = Clock::calibrate();
    let (rounds, length) = match effort {
        Effort::Quick => (3, Duration::from_millis(15)),
        Effort::Brief | Effort::Full => (50, Duration::from_millis(300)),
    };
    let steps = loads.len() + 2;
    // A recording has the same calls, and fewer of them: millions in a row say nothing new.
    let length = if recorder.is_some() { length / 10 } else { length };
    let adapters = Adapters { pool, recorder };
    let mut phases = Vec::new();
    for (done, load) in loads.iter().enumerate() {
        progress(done, steps, &load.name);
        let adapter = adapters.named(load.adapter)?;
        let subject = PoolSubject { pool, adapter, tag: load.tag };
        // An event's block is kept for minutes: while the others come and go.
        let event = Recorded { subject: PoolSubject { pool, adapter, tag: KEPT }, recorder };
        let event = load.name.starts_with('C').then(|| (alloc_touched(&event, 164), event));
        phases.push(match recorder {
            Some(_) => load.measure(&Recorded { subject, recorder }, rounds, &clock),
            None => load.measure(&subject, rounds, &clock),
        });
        phases.push(load.measure(&System, rounds, &clock));
        phases.push(load.measure(&Mimalloc, rounds, &clock));
        if let Some((block, event)) = event {
            // SAFETY: allocated above.
            unsafe { event.free(block, 164) };
        }
    }
    progress(steps - 2, steps, "B storport replay");
    let adapter = adapters.named("vioblk0")?;
    let subject = |tag| PoolSubject { pool, adapter, tag };
    let (table, srbs) = (subject(tag!("ReqT")), subject(tag!("SrbX")));
    match recorder {
        Some(_) => {
            let [table, srbs] = [table, srbs].map(|subject| Recorded { subject, recorder });
            replay(&table, &srbs, length);
        }
        None => replay(&table, &srbs, length),
    }
    progress(steps - 1, steps, "E leaking adapter");
    let leaks = adapters.leak()?;
    progress(steps, steps, "done");
    Ok((phases, leaks))
}

impl Load {
    /// How often the load is repeated in a round: a single small block would only time the timer.
    fn copies(&self) -> usize {
        if self.sizes.len() < 8 && self.sizes.iter().sum::<u32>() < 4096 { 64 } else { 1 }
    }

    /// The median of the rounds, after one that nobody counts.
    fn measure<S: Subject>(&self, subject: &S, rounds: usize, clock: &Clock) -> Phase {
        let (mut allocs, mut frees) = (Meter::new(), Meter::new());
        let sizes = self.sizes.repeat(self.copies());
        let mut blocks = vec![std::ptr::null_mut(); sizes.len()];
        for round in 0..=rounds {
            let mode = if round == 0 { Mode::Warm } else { Mode::Whole };
            (allocs.mode, frees.mode) = (mode, mode);
            allocs.time(blocks.len(), |index| blocks[index] = alloc_touched(subject, sizes[index]));
            // SAFETY: allocated just above, each freed once.
            frees.time(blocks.len(), |index| unsafe { subject.free(blocks[index], sizes[index]) });
        }
        let median = |meter: &mut Meter| {
            let mut series = Series::new();
            series.absorb([meter], 1);
            series.means().map_or(0.0, |(_, median)| clock.ns(1) * median)
        };
        Phase {
            name: self.name.clone(),
            allocator: subject.name().to_owned(),
            blocks: self.sizes.len() as u64,
            bytes: self.sizes.iter().copied().map(u64::from).sum(),
            alloc_ns: median(&mut allocs),
            free_ns: median(&mut frees),
        }
    }
}

/// The replay's adapters, added when they are first needed.
struct Adapters<'a> {
    pool: &'a Pool,
    recorder: Option<&'a Recorder>,
}

impl Adapters<'_> {
    fn named(&self, name: &str) -> Result<AdapterId, String> {
        let known = self.pool.adapters().into_iter().find(|(_, known)| known.as_str() == name);
        match known {
            Some((id, _)) => Ok(id),
            None => {
                let added =
                    self.pool.add_adapter(name).map_err(|error| format!("adapter {name}: {error}"))?;
                self.record(TraceKind::AddAdapter, added);
                Ok(added)
            }
        }
    }

    fn record(&self, kind: TraceKind, adapter: AdapterId) {
        if let Some(recorder) = self.recorder {
            recorder.adapter(kind, adapter);
        }
    }

    /// An adapter that forgets blocks of two tags, and what its removal says.
    fn leak(&self) -> Result<Vec<Leak>, String> {
        const NAME: &str = "leaky0";
        let adapter = self.named(NAME)?;
        for (tag, bytes, count) in LEAKED {
            let subject = PoolSubject { pool: self.pool, adapter, tag };
            let subject = Recorded { subject, recorder: self.recorder };
            let blocks: Vec<_> = (0..2 * count).map(|_| alloc_touched(&subject, bytes)).collect();
            // Every second one is remembered.
            for block in blocks.into_iter().step_by(2) {
                // SAFETY: allocated above, freed once.
                unsafe { subject.free(block, bytes) };
            }
        }
        let removal =
            self.pool.remove_adapter(adapter).map_err(|status| format!("removing {NAME}: {status:?}"))?;
        self.record(TraceKind::RemoveAdapter, adapter);
        let row = |row: &storport_pool::Outstanding| Leak {
            adapter: NAME.to_owned(),
            tag: row.tag.to_string(),
            blocks: row.blocks,
            bytes: row.bytes,
        };
        Ok(removal.outstanding.iter().map(row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaking_adapter_is_told_by_tag() {
        let pool = Pool::new(16 << 20).unwrap();
        let leaks = Adapters { pool: &pool, recorder: None }.leak().unwrap();
        let rows: Vec<_> = leaks.iter().map(|row| (row.tag.as_str(), row.blocks, row.bytes)).collect();
        assert!(rows.contains(&("LkRq", 12, 960)) && rows.contains(&("LkSm", 3, 12288)), "{rows:?}");
        assert_eq!(rows.len(), 2);
    }
}
