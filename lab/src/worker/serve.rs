//! The worker's side.

use std::cell::OnceCell;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::time::Duration;

use storport_pool::{CreateError, Masked, Pool, PoolOptions};

use super::talk::{Answer, Ask};
use crate::bulk::PoolInBulk;
use crate::machine::{self, Machine};
use crate::meter::Series;
use crate::pinning::Cpus;
use crate::resident;
use crate::results::Memory;
use crate::scenarios::{self, About, Bench, Effort, Traced, Turn, Visitor};
use crate::subjects::{LAB, LabPlatform, ManyOwners, Need, PoolSubject, Subject};
use crate::traces::plan::Plan;
use crate::watch;

/// Which work a worker was started for.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The allocator.
    pub allocator: String,
    /// The scenario.
    pub scenario: String,
    /// As for the program.
    #[arg(long)]
    pub quick: bool,
    /// The trace that is replayed; then the scenario is called "trace".
    #[arg(long)]
    pub trace: Option<PathBuf>,
}

/// A scenario, waiting for its allocator.
pub struct Work {
    args: Args,
    /// Read when it is first needed.
    plan: OnceCell<Plan>,
}

impl Work {
    /// The work that a worker's arguments ask for.
    pub fn new(args: Args) -> Work {
        Work { args, plan: OnceCell::new() }
    }

    /// The range of the pool that is to do it, if it is a pool.
    ///
    /// # Errors
    /// A sentence, when there is no such scenario, or the trace cannot be read.
    pub fn pool_bytes(&self) -> Result<u64, String> {
        let about = self.about()?.pool_bytes;
        Ok(self.plan()?.map_or(about, Plan::pool_bytes))
    }

    fn plan(&self) -> Result<Option<&Plan>, String> {
        match &self.args.trace {
            Some(file) if self.plan.get().is_none() => {
                let plan = Plan::read(file)?;
                Ok(Some(self.plan.get_or_init(|| plan)))
            }
            _ => Ok(self.plan.get()),
        }
    }

    fn about(&self) -> Result<&'static About, String> {
        let name = &self.args.scenario;
        scenarios::find(name).ok_or_else(|| format!("there is no scenario {name:?}"))
    }

    /// Does the work with an allocator, until the program has enough.
    ///
    /// # Errors
    /// A sentence, when the scenario is unknown or the program is gone.
    pub fn run<S: Subject>(self, subject: &S) -> Result<(), String> {
        end_with_the_program();
        let about = self.about()?;
        if let Some(why) = about.needs.iter().find_map(|&need| subject.cannot(need)) {
            return say(&Answer::Cannot(why.to_owned()));
        }
        let cpus = Cpus::detect();
        cpus.pin(0);
        subject.enter();
        if let Some(plan) = self.plan()? {
            return Turns { cpus: &cpus }.visit(subject, &Traced(plan));
        }
        let effort = if self.args.quick { Effort::Quick } else { Effort::Full };
        // Found above, so it is found here.
        scenarios::visit(about.name, effort, subject, Turns { cpus: &cpus }).unwrap_or(Ok(()))
    }
}

/// Does the work with a pool.
///
/// # Errors
/// A sentence.
pub fn pool_worker(work: Work) -> Result<(), String> {
    let pool = made(options(&work)?.build())?;
    run_pool(work, &pool)
}

/// Does the work with a pool whose pictures are published meanwhile.
///
/// # Errors
/// A sentence.
pub(crate) fn watched_worker(work: Work) -> Result<(), String> {
    let pool = made(options(&work)?.build())?;
    watch::while_published(&pool, || run_pool(work, &pool))?
}

/// Does the work with a pool on the simulated machine that masks interrupts.
///
/// # Errors
/// A sentence.
pub(crate) fn masked_worker(work: Work) -> Result<(), String> {
    let options = options(&work)?.cpus(machine::CPUS);
    let pool = made(options.build_on(Masked::new(Machine::new()?)))?;
    run_pool(work, &pool)
}

fn run_pool<P: LabPlatform>(work: Work, pool: &Pool<P>) -> Result<(), String> {
    let about = work.about()?;
    if about.needs != [Need::Owners] {
        return work.run(&one_owner(pool)?);
    }
    let (adapters, tags) = about.owners;
    work.run(&ManyOwners::new(pool, adapters, tags)?)
}

/// Does the work with a pool, by bulk calls.
///
/// # Errors
/// A sentence.
pub(crate) fn bulk_worker(work: Work, way: &str) -> Result<(), String> {
    let pool = made(options(&work)?.build())?;
    let subject = PoolInBulk::new(one_owner(&pool)?, way);
    work.run(&subject.ok_or_else(|| format!("there are no bulk calls {way:?}"))?)
}

/// As many owners as the scenarios with the most of them need.
fn options(work: &Work) -> Result<PoolOptions, String> {
    Ok(PoolOptions::new(work.pool_bytes()?).adapters(1000).accounts(4096))
}

fn made<P: LabPlatform>(pool: Result<Pool<P>, CreateError>) -> Result<Pool<P>, String> {
    pool.map_err(|error| format!("the scenario's pool: {error}"))
}

fn one_owner<P: LabPlatform>(pool: &Pool<P>) -> Result<PoolSubject<'_, P>, String> {
    let adapter = pool.add_adapter("lab").map_err(|error| format!("the scenario's adapter: {error}"))?;
    Ok(PoolSubject { pool, adapter, tag: LAB })
}

/// Takes turns.
struct Turns<'a> {
    cpus: &'a Cpus,
}

impl Visitor for Turns<'_> {
    type Result = Result<(), String>;

    fn visit<S: Subject, B: Bench>(self, subject: &S, bench: &B) -> Result<(), String> {
        resident::reset_peak();
        let before = resident::now();
        let mut state = bench.start(subject);
        say(&Answer::Ready)?;
        loop {
            match hear()? {
                Ask::Turn(nanos) => {
                    let (mut alloc, mut free) = (Series::new(), Series::new());
                    let length = Duration::from_nanos(nanos);
                    let mut turn = Turn { cpus: self.cpus, length, alloc: &mut alloc, free: &mut free };
                    bench.turn(subject, &mut state, &mut turn);
                    say(&Answer::Turn { alloc: alloc.figures(), free: free.figures() })?;
                }
                Ask::End => {
                    let (payload, peak) = (bench.payload(&state), resident::peak());
                    bench.end(subject, state);
                    let freed = resident::now();
                    subject.trim();
                    let trimmed = resident::now();
                    return say(&Answer::End(Memory { payload, before, peak, freed, trimmed }));
                }
            }
        }
    }
}

/// Has the system end this process when the program ends that started it, even if an allocator hangs.
fn end_with_the_program() {
    #[cfg(target_os = "linux")]
    {
        // Where it is refused, the end of the input ends the worker.
        let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
    }
}

fn say(answer: &Answer) -> Result<(), String> {
    let line = serde_json::to_string(answer).map_err(|error| error.to_string())?;
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| format!("the program is gone: {error}"))
}

fn hear() -> Result<Ask, String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|error| error.to_string())?;
    serde_json::from_str(&line).map_err(|error| format!("a worker is started by the program only: {error}"))
}
