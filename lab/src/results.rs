//! What a run measured, as it is written to JSON and drawn.

use serde::{Deserialize, Serialize};

/// Version of the JSON.
pub(crate) const SCHEMA: u32 = 2;

/// A whole run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// [`SCHEMA`].
    pub(crate) schema: u32,
    /// What it ran on.
    pub(crate) machine: Machine,
    /// An empty pair of time stamps.
    pub(crate) timer: Latency,
    /// One entry per scenario that ran.
    pub(crate) scenarios: Vec<Scenario>,
    /// The contract, row by row.
    pub(crate) contract: Vec<Check>,
    /// The workload phases that are no scenario: A, C, D, E.
    pub(crate) phases: Vec<Phase>,
    /// The tag table at the end of the replay.
    pub(crate) tags: Vec<TagLine>,
    /// What was left when the leaking adapter was removed (phase E).
    pub(crate) leaks: Vec<Leak>,
    /// What a call costs by CPUs, counted elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cpus: Vec<CpuRow>,
    /// What a reader must know: no pinning, a noisy run, a scenario cut short.
    pub(crate) notes: Vec<String>,
}

/// The machine and the build.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cpus: u32,
    pub(crate) kernel: String,
    pub(crate) pinned: bool,
    /// "rseq" or "portable".
    pub(crate) commit: String,
    pub(crate) quick: bool,
    /// How long an allocator's turn was; 0 in runs of earlier programs, whose turns were 50 ms if they were not quick.
    #[serde(default)]
    pub(crate) turn_ms: u64,
    /// How many processes each allocator had in each scenario, one after the other; 0, in runs of earlier programs, is one.
    #[serde(default)]
    pub(crate) processes: u64,
    /// When the run began, in UTC.
    #[serde(default)]
    pub(crate) date: String,
    /// The program's version.
    #[serde(default)]
    pub(crate) version: String,
    /// The source's commit, "with changes" where it is not quite that; empty where the build knew of none.
    #[serde(default)]
    pub(crate) revision: String,
}

/// A distribution in ns. `mean` is the best of many batches timed without a timer inside;
/// the percentiles come from operations timed one by one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) mean: f64,
    pub(crate) mean_median: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) p9999: f64,
    pub(crate) max: f64,
    /// The same and all between: (share of the operations, ns at most).
    pub(crate) curve: Vec<(f64, f64)>,
    /// Turn by turn; the allocators' turns of one number followed each other at once.
    pub(crate) turns: Vec<TurnLatency>,
    /// The last turn's operations: (ms since its start, the slowest one's ns).
    pub(crate) timeline: Vec<(f64, f64)>,
}

/// What one turn found, in ns.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct TurnLatency {
    /// The best batch's mean.
    pub(crate) best: f64,
    /// The median batch's mean.
    pub(crate) median: f64,
    pub(crate) p999: f64,
}

/// Resident bytes of the process that ran one allocator in one scenario.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Requested bytes that were live at most, where the scenario knows; else 0.
    pub(crate) payload: u64,
    /// Before the first allocation.
    pub(crate) before: u64,
    pub(crate) peak: u64,
    /// With everything freed.
    pub(crate) freed: u64,
    /// After the allocator was asked to give back what it can.
    pub(crate) trimmed: u64,
}

impl Memory {
    /// Beyond what the process had before: at the peak, with everything freed, trimmed.
    pub(crate) fn grown(&self) -> [u64; 3] {
        [self.peak, self.freed, self.trimmed].map(|bytes| bytes.saturating_sub(self.before))
    }
}

/// One scenario.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// A sentence for a newcomer.
    pub(crate) about: String,
    pub(crate) allocators: Vec<Measured>,
    /// Bulk calls: "storport-pool bulk 8" and so on, with what was done in bulk alone. They are compared with their
    /// allocator's single calls, and with nobody else's. Times are by block, but percentiles by call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) bulk: Vec<Measured>,
}

/// One allocator in one scenario. What a scenario does not time is absent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) name: String,
    /// Why there are no figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cannot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) alloc: Option<Latency>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) free: Option<Latency>,
    /// Allocate and free together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pair: Option<Latency>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<Memory>,
}

/// One row of the contract check.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Check {
    /// "allocate", "free" or "misuse".
    pub(crate) group: String,
    /// What was done, in words.
    pub(crate) what: String,
    pub(crate) expected: String,
    pub(crate) got: String,
    pub(crate) ok: bool,
}

/// A workload phase, per allocator.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Phase {
    /// "A adapter start (AHCI)", "C events", "D giant", "E teardown".
    pub(crate) name: String,
    pub(crate) allocator: String,
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    /// Mean ns per allocate and per free over the phase.
    pub(crate) alloc_ns: f64,
    pub(crate) free_ns: f64,
}

/// A row of the tag table, PoolMon's columns.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct TagLine {
    pub(crate) tag: String,
    pub(crate) kind: String,
    pub(crate) allocs: u64,
    pub(crate) allocs_delta: i64,
    pub(crate) frees: u64,
    pub(crate) frees_delta: i64,
    pub(crate) diff: u64,
    pub(crate) bytes: u64,
    pub(crate) bytes_delta: i64,
    pub(crate) per_alloc: u64,
}

/// Blocks a removed adapter had left, of one tag.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Leak {
    pub(crate) adapter: String,
    pub(crate) tag: String,
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
}

/// A simulated machine's row of `tests/growth.rs`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct CpuRow {
    pub(crate) platform: String,
    /// Who frees what a CPU allocated.
    pub(crate) traffic: String,
    pub(crate) cpus: u32,
    pub(crate) allocate: Count,
    pub(crate) free: Count,
}

/// What a call took: means, and the most.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Count {
    pub(crate) operations: f64,
    pub(crate) locked: f64,
    pub(crate) lines: f64,
    pub(crate) most_operations: u64,
    pub(crate) most_locked: u64,
    pub(crate) most_lines: u64,
}
