//! The scenarios: the same work for each allocator, in turns.

mod remote;
mod ring;
mod schedule;
mod single;
mod storport;

use std::time::{Duration, Instant};

use storport_pool::Pool;

use crate::meter::{self, Meter, Mode, Series};
use crate::pinning::Cpus;
use crate::results::{Latency, Measured, Scenario};
use crate::subjects::{LAB, Mimalloc, PoolSubject, Subject, System};
use crate::timer::Clock;

pub(crate) use storport::replay;

/// All scenarios, in the order of the report.
pub(crate) const NAMES: [&str; 7] =
    ["pair", "hot", "cold", "remote-25", "remote-100", "storport-b1", "storport-b2"];

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Under two seconds: shows that it works, not how fast.
    Quick,
    /// Half a minute for all scenarios.
    Full,
}

impl Effort {
    /// How many turns each allocator gets, and how long one is.
    fn turns(self) -> (usize, Duration) {
        match self {
            Effort::Quick => (1, Duration::from_millis(15)),
            Effort::Full => (20, Duration::from_millis(60)),
        }
    }

    /// How many blocks live in `cold`, in thousands. Filling the table is slow in a debug build.
    fn cold_thousands(self) -> usize {
        match self {
            Effort::Quick => 50,
            Effort::Full => 200,
        }
    }
}

/// What the scenarios found.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// An empty pair of time stamps.
    pub(crate) null_ns: Latency,
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) notes: Vec<String>,
    pub(crate) pinned: bool,
}

/// Told how many steps are done, of how many, and the next one's name.
pub(crate) type Progress<'a> = dyn FnMut(usize, usize, &str) + 'a;

/// A scenario's work.
trait Bench {
    /// What one allocator keeps between its turns.
    type State;

    fn start<S: Subject>(&self, subject: &S) -> Self::State;
    fn turn<S: Subject>(&self, subject: &S, state: &mut Self::State, turn: &mut Turn<'_>);
    fn end<S: Subject>(&self, subject: &S, state: Self::State);
}

/// One allocator's turn.
struct Turn<'a> {
    cpus: &'a Cpus,
    length: Duration,
    alloc: &'a mut Series,
    free: &'a mut Series,
}

/// The meters of a thread that does both.
struct Meters {
    alloc: Meter,
    free: Meter,
}

impl Meters {
    fn new() -> Meters {
        Meters { alloc: Meter::new(), free: Meter::new() }
    }

    fn mode(&mut self, mode: Mode) {
        self.alloc.mode = mode;
        self.free.mode = mode;
    }
}

impl Turn<'_> {
    /// Runs a single thread's batches: at least `warm` of them unmeasured, then by whole
    /// batches, then by operations.
    fn drive(&mut self, warm: usize, mut batch: impl FnMut(&mut Meters)) {
        let mut meters = Meters::new();
        for _ in 0..warm {
            batch(&mut meters);
        }
        let begin = Instant::now();
        for (mode, percent) in [(Mode::Whole, 60), (Mode::Each, 100)] {
            meters.mode(mode);
            let end = self.length * percent / 100;
            loop {
                batch(&mut meters);
                if begin.elapsed() >= end {
                    break;
                }
            }
        }
        self.alloc.absorb(&mut [&mut meters.alloc], 1);
        self.free.absorb(&mut [&mut meters.free], 1);
    }
}

/// The mode of a turn of several threads at a time since its start.
fn mode_at(passed: Duration, length: Duration) -> Option<Mode> {
    match passed.as_nanos() * 100 / length.as_nanos().max(1) {
        0..20 => Some(Mode::Warm),
        20..68 => Some(Mode::Whole),
        68..100 => Some(Mode::Each),
        _ => None,
    }
}

/// What runs a scenario needs.
struct Lab<'a> {
    pool: PoolSubject<'a>,
    cpus: Cpus,
    clock: Clock,
    effort: Effort,
    done: usize,
    steps: usize,
}

impl Lab<'_> {
    /// Lets the allocators take turns.
    fn take_turns<B: Bench>(
        &mut self,
        what: &str,
        bench: &B,
        progress: &mut Progress<'_>,
    ) -> Vec<(&'static str, Series, Series)> {
        let (turns, length) = self.effort.turns();
        let (pool, system, mimalloc) = (&self.pool, &System, &Mimalloc);
        let mut states = (bench.start(pool), bench.start(system), bench.start(mimalloc));
        let mut series =
            [pool.name(), system.name(), mimalloc.name()].map(|name| (name, Series::new(), Series::new()));
        for _ in 0..turns {
            progress(self.done, self.steps, what);
            let turns = series.each_mut();
            let [mut a, mut b, mut c] =
                turns.map(|(_, alloc, free)| Turn { cpus: &self.cpus, length, alloc, free });
            bench.turn(pool, &mut states.0, &mut a);
            bench.turn(system, &mut states.1, &mut b);
            bench.turn(mimalloc, &mut states.2, &mut c);
            self.done += 1;
        }
        bench.end(pool, states.0);
        bench.end(system, states.1);
        bench.end(mimalloc, states.2);
        series.into()
    }

    /// A scenario of allocations and frees.
    fn scenario<B: Bench>(
        &mut self,
        name: &str,
        about: &str,
        bench: &B,
        progress: &mut Progress<'_>,
    ) -> Scenario {
        let series = self.take_turns(name, bench, progress);
        let measured = series.into_iter().map(|(name, alloc, free)| Measured {
            name: name.to_owned(),
            alloc_ns: Some(alloc.latency(&self.clock)),
            free_ns: Some(free.latency(&self.clock)),
            ..Measured::default()
        });
        Scenario { name: name.to_owned(), about: about.to_owned(), allocators: measured.collect() }
    }

    /// The scenario that knows the two only together.
    fn pairs(&mut self, progress: &mut Progress<'_>) -> Scenario {
        let series = self.take_turns("pair", &single::Pair, progress);
        let measured = series.into_iter().map(|(name, pair, _)| {
            let (best, median) = pair.means(&self.clock);
            Measured {
                name: name.to_owned(),
                pair_ns: Some(best),
                pair_ns_median: Some(median),
                ..Measured::default()
            }
        });
        Scenario {
            name: "pair".to_owned(),
            about: "One block of 64 bytes, allocated and freed again at once.".to_owned(),
            allocators: measured.collect(),
        }
    }

    fn run(&mut self, name: &str, progress: &mut Progress<'_>) -> Result<Scenario, String> {
        Ok(match name {
            "pair" => self.pairs(progress),
            "hot" => self.scenario(
                name,
                "1000 blocks of mixed sizes, allocated, then freed in a random order; all of it fits the caches.",
                &single::Hot::new(),
                progress,
            ),
            "cold" => {
                let thousands = self.effort.cold_thousands();
                self.scenario(
                    name,
                    &format!("{thousands},000 blocks of 64 bytes live; a random 1000 of them are freed, then allocated again."),
                    &single::Cold { live: thousands * 1000 },
                    progress,
                )
            }
            "remote-25" => self.scenario(
                name,
                "One CPU allocates batches of 64 blocks; another one frees a quarter of them.",
                &remote::Remote::new(25),
                progress,
            ),
            "remote-100" => self.scenario(
                name,
                "One CPU allocates batches of 64 blocks; another one frees them all.",
                &remote::Remote::new(100),
                progress,
            ),
            "storport-b1" => self.scenario(
                name,
                "Two submitters allocate 80 and 32 bytes per request; another CPU frees both when the request completes.",
                &storport::Storport::request_table(),
                progress,
            ),
            "storport-b2" => self.scenario(
                name,
                "Two submitters allocate for the few requests in a thousand that need a block: UNMAP, INQUIRY, SMART.",
                &storport::Storport::mixed_srbs(),
                progress,
            ),
            _ => return Err(format!("there is no scenario {name:?}")),
        })
    }
}

/// A note, when best and median differ much in many rows: something else ran on the machine.
fn noise(scenarios: &[Scenario]) -> Option<String> {
    let measured = || scenarios.iter().flat_map(|scenario| &scenario.allocators);
    let rows = || measured().flat_map(|row| [row.alloc_ns, row.free_ns]).flatten();
    let noisy = rows().filter(|row| row.mean_median > 1.5 * row.mean).count();
    let all = rows().count();
    (noisy * 3 > all).then(|| {
        format!("A noisy run: in {noisy} of {all} rows the median batch took over 1.5 times the best one.")
    })
}

/// Runs the named scenarios.
pub(crate) fn run(names: &[&str], effort: Effort, progress: &mut Progress<'_>) -> Result<Outcome, String> {
    let cpus = Cpus::detect();
    let pinned = cpus.pin(0);
    let mut notes = Vec::new();
    if !pinned {
        notes.push("Threads could not be pinned to CPUs; expect more noise.".to_owned());
    }
    match cpus.count() {
        0 | 1 => notes.push("One CPU only: the remote and storport scenarios take turns on it.".to_owned()),
        2 => notes.push("Two CPUs: both submitters of the storport scenarios share one.".to_owned()),
        _ => {}
    }
    let clock = Clock::calibrate();
    let step = clock.step_ns();
    if step >= 4.0 {
        notes.push(format!(
            "The time stamp counter advances by about {step:.0} ns at a time; so do the percentiles."
        ));
    }
    let null_ns = meter::null(&clock, if effort == Effort::Quick { 20_000 } else { 1_000_000 });
    let pool = Pool::new(512 << 20).map_err(|error| format!("the scenarios' pool: {error}"))?;
    let adapter = pool.add_adapter("lab").map_err(|error| format!("the scenarios' adapter: {error}"))?;
    let mut lab = Lab {
        pool: PoolSubject { pool: &pool, adapter, tag: LAB },
        cpus,
        clock,
        effort,
        done: 0,
        steps: names.len() * effort.turns().0,
    };
    let scenarios = names.iter().map(|name| lab.run(name, progress)).collect::<Result<Vec<_>, _>>()?;
    progress(lab.done, lab.steps, "done");
    notes.extend(noise(&scenarios));
    Ok(Outcome { null_ns, scenarios, notes, pinned })
}
