//! All scenarios, for all allocators, in turns.

use std::path::Path;

use crate::bulk;
use crate::latency::Collected;
use crate::meter;
use crate::peers::Allocator;
use crate::pinning::Cpus;
use crate::results::{Latency, Measured, Scenario};
use crate::scenarios::{About, Effort, Extent, Timed};
use crate::subjects::{Mimalloc, Subject, System};
use crate::textbook::Textbook;
use crate::timer::Clock;
use crate::worker::{
    Args, Program, Row, Task, Work, bulk_worker, masked_worker, pool_worker, watched_worker,
};

/// What the scenarios found.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// An empty pair of time stamps.
    pub(crate) timer: Latency,
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) notes: Vec<String>,
    pub(crate) pinned: bool,
    /// Why it ended early: the pool could not do a scenario.
    pub(crate) failed: Option<String>,
}

/// Told how many steps are done, of how many, and the next one's name.
pub(crate) type Progress<'a> = dyn FnMut(usize, usize, &str) + 'a;

/// Is a worker, for one of the allocators that are part of this program.
///
/// # Errors
/// A sentence.
pub(crate) fn work(args: Args) -> Result<(), String> {
    let (name, work) = (args.allocator.clone(), Work::new(args));
    match name.as_str() {
        "storport-pool" | "pool-portable" => pool_worker(work),
        "pool-masked" => masked_worker(work),
        "pool-watched" => watched_worker(work),
        "textbook" => textbook::<false>(work),
        "textbook-tagged" => textbook::<true>(work),
        name if name == System.name() => work.run(&System),
        name if name == Mimalloc.name() => work.run(&Mimalloc),
        name => match bulk::split(name) {
            Some(("storport-pool", way)) => bulk_worker(work, way),
            _ => Err(format!("there is no allocator {name:?}")),
        },
    }
}

fn textbook<const TAGGED: bool>(work: Work) -> Result<(), String> {
    // Room for blocks that wait for an epoch: with many threads, most of what was freed within some turns of all.
    let range = 4 * work.pool_bytes()?;
    work.run(&Textbook::<TAGGED>::new(range))
}

/// Runs the scenarios. In each, every allocator has a process, or several of them, one after the other. The allocators take
/// turns. `trace`: the one that is replayed.
///
/// # Errors
/// A sentence, when a worker cannot be started.
pub(crate) fn run(
    scenarios: &[&About],
    allocators: &[Allocator],
    effort: Effort,
    trace: Option<&Path>,
    progress: &mut Progress<'_>,
) -> Result<Outcome, String> {
    let cpus = Cpus::detect();
    let mut notes = Vec::new();
    let pinned = cpus.pin(0);
    if !pinned {
        notes.push("Threads could not be pinned to CPUs; expect more noise.".to_owned());
    }
    match cpus.count() {
        0 | 1 => notes.push("One CPU only: scenarios of several threads take turns on it.".to_owned()),
        2 => notes.push(
            "Two CPUs: the submitters of the storport scenarios share one, so do several producers or consumers."
                .to_owned(),
        ),
        _ => {}
    }
    let clock = Clock::calibrate();
    let step = clock.step_ns();
    if step >= 4.0 {
        notes.push(format!(
            "The time stamp counter advances by about {step:.0} ns at a time; so do the percentiles."
        ));
    }
    let mut timer = Collected::new(clock);
    timer.add(&meter::empty(if effort == Effort::Quick { 20_000 } else { 1_000_000 }));
    // Workers pin themselves, and may use what this process may.
    drop(cpus);

    let Extent { processes, turns, length } = effort.extent(trace.is_some());
    let steps = scenarios.len() * processes * turns;
    let mut step = 0;
    let (mut found, mut failed) = (Vec::new(), None);
    for about in scenarios {
        let task = Task { scenario: about.name, effort, trace };
        let bulk = bulk_rows(about, allocators)
            .map(|(row, program)| Row::new(program, row.name(), timed(row, about), clock));
        let mut rows: Vec<_> = bulk.collect();
        let bulks = rows.len();
        // The pool's own turn comes between those of its bulk calls and those of the others.
        rows.extend(
            allocators
                .iter()
                .map(|allocator| Row::new(&allocator.program, allocator.name.to_owned(), about.timed, clock)),
        );
        for _ in 0..processes {
            progress(step, steps, about.name);
            for row in &mut rows {
                row.start(task)?;
            }
            // A new process has memory to get. Of several turns in one process, that would be in the first one alone.
            if processes > 1 {
                rows.iter_mut().for_each(|row| row.warm(length / 2));
            }
            for _ in 0..turns {
                progress(step, steps, about.name);
                step += 1;
                rows.iter_mut().for_each(|row| row.turn(length));
            }
            rows.iter_mut().for_each(Row::stop);
        }
        let mut bulk: Vec<Measured> = rows.into_iter().map(Row::measured).collect();
        let measured = bulk.split_off(bulks);
        if let Some(why) = measured.first().and_then(|pool| pool.cannot.as_ref()) {
            failed = Some(format!("the pool in scenario {}: {why}", about.name));
            break;
        }
        let (name, about) = (about.name.to_owned(), about.about.to_owned());
        found.push(Scenario { name, about, allocators: measured, bulk });
    }
    progress(steps, steps, "done");
    Ok(Outcome { timer: timer.latency().unwrap_or_default(), scenarios: found, notes, pinned, failed })
}

/// A scenario's rows of bulk calls, of allocators that take part, and the programs that have them.
fn bulk_rows<'a>(
    about: &About,
    allocators: &'a [Allocator],
) -> impl Iterator<Item = (bulk::Row, &'a Program)> {
    bulk::rows(about.bulk).filter_map(|row| {
        let whose = allocators.iter().find(|allocator| allocator.name == row.allocator)?;
        Some((row, &whose.program))
    })
}

/// Only what is done in bulk.
fn timed(row: bulk::Row, about: &About) -> Timed {
    match row.times(about.bulk) {
        [true, true] => Timed::Both,
        [true, false] => Timed::Free,
        [false, _] => Timed::Allocate,
    }
}
