//! A run from end to end: what is asked for, shown as it comes, written at the end.

use std::env::VarError;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use storport_pool::{Pool, PoolOptions, Rule, ViolationKind};

use crate::cli::{Cli, Command, Soak};
use crate::jobs::Job;
use crate::report::{files, terminal};
use crate::results::{Machine, Report, SCHEMA};
use crate::scenarios::Effort;
use crate::sink::Sink;
use crate::traces::plan;
use crate::traces::record::Recorder;
use crate::{commit, contract, inspect, measure, out, phases, tags, watch};

/// Reserved for the replay; only what the phases touch becomes resident.
const REPLAY_BYTES: u64 = 1 << 30;

/// What a reader of a brief run's figures must know.
const BRIEF: &str = "A run without a command: each allocator has one process for each scenario, and turns of half the length. `latency` has \
     twelve processes, so its figures are surer.";

/// The variable that has rules of the replay's verifier.
const VERIFY: &str = "STORPORT_POOL_VERIFY";

/// Why a run ends other than well.
pub(crate) enum Stop {
    /// A row of the contract went wrong. It was shown.
    Contract,
    /// Metadata is wrong. It was shown.
    Faults,
    /// The soak found the pool at fault.
    Broken(String),
    /// The arguments cannot be followed.
    Usage(String),
    /// The measuring itself failed.
    Measurement(String),
}

/// Does what the command line asks for.
///
/// # Errors
/// [`Stop`]; the results are written all the same when only the contract was broken.
pub(crate) fn run(cli: Cli) -> Result<(), Stop> {
    if cli.command.as_ref().is_none_or(Command::makes_pools) {
        commit::check().map_err(Stop::Usage)?;
    }
    let job = match cli.command {
        None => Job::all(cli.all),
        Some(Command::Contract(asked)) => Job::contract(asked),
        Some(Command::Replay(asked)) => Job::replay(asked),
        Some(Command::Latency(asked)) => Job::latency(asked),
        Some(Command::Growth(asked)) => Job::growth(asked),
        Some(Command::Compare(asked)) => {
            return files::compare(&asked.before, &asked.after, asked.html.as_ref()).map_err(Stop::Usage);
        }
        Some(Command::Chart(asked)) => {
            let peers = asked.peers.unwrap_or_default();
            return files::chart(&asked.run, &asked.svg, &peers).map_err(Stop::Usage);
        }
        Some(Command::Page(asked)) => return files::redraw(&asked.run, &asked.page).map_err(Stop::Usage),
        Some(Command::Soak(asked)) => return soak(&asked),
        Some(Command::Inspect(asked)) => {
            let good = inspect::run(&asked).map_err(Stop::Usage)?;
            return if good { Ok(()) } else { Err(Stop::Faults) };
        }
        Some(Command::Worker(args)) => return measure::work(args).map_err(Stop::Measurement),
        #[cfg(target_os = "linux")]
        Some(Command::Poolmon(options)) => return crate::poolmon::run(&options).map_err(Stop::Usage),
        #[cfg(target_os = "linux")]
        Some(Command::Live) => return crate::poolmon::demo::live().map_err(Stop::Measurement),
    };
    work(&job)
}

/// Does a job, shows it as it comes, and writes it at the end.
fn work(job: &Job) -> Result<(), Stop> {
    let rules = if job.phases { rules()? } else { String::new() };
    let mut report = Report { schema: SCHEMA, machine: machine(job)?, ..Report::default() };
    if let Some(file) = &job.counts {
        report.cpus = files::counts(file).map_err(Stop::Usage)?;
    }
    if let Some(file) = &job.trace {
        report.notes.extend(plan::Plan::read(file).map_err(Stop::Usage)?.notes);
    }
    if job.effort == Effort::Brief {
        report.notes.push(BRIEF.to_owned());
    }
    // The last of what may be wrong with the arguments, since it may make a folder.
    job.files.check(("--record", job.record.as_ref())).map_err(Stop::Usage)?;
    let stage = if job.phases { Some(stage(job.record.as_ref())?) } else { None };
    terminal::opening();
    if job.tables {
        terminal::machine(&report);
    }
    if job.contract {
        report.contract = contract::run().map_err(Stop::Measurement)?;
        if job.tables {
            terminal::contract(&report);
        }
    }
    let mut failed = None;
    if !job.scenarios.is_empty() {
        failed = measure(&mut report, job)?;
        if job.tables {
            terminal::latency(&report);
        }
    }
    if let Some((pool, recorder)) = stage {
        replay(&mut report, &pool, recorder, job, &rules)?;
        if job.tables {
            terminal::replay(&report);
        }
    }
    if job.tables {
        terminal::notes(&report);
    }
    if job.summary {
        terminal::summary(&report);
    }
    // What was measured is seen even where it cannot be kept.
    files::write(&job.files, &report).map_err(Stop::Usage)?;
    terminal::files(&job.files, job.summary && !job.tables);
    match failed {
        Some(why) => Err(Stop::Measurement(why)),
        None if contract::holds(&report.contract) => Ok(()),
        None => Err(Stop::Contract),
    }
}

#[cfg(target_os = "linux")]
fn soak(options: &Soak) -> Result<(), Stop> {
    crate::soak::run(options).map_err(Stop::Broken)
}

#[cfg(not(target_os = "linux"))]
fn soak(_: &Soak) -> Result<(), Stop> {
    Err(Stop::Usage("the soak needs Linux: its timers, signals and forks".to_owned()))
}

/// Says why it ended early, if it did. What was measured before is kept.
fn measure(report: &mut Report, job: &Job) -> Result<Option<String>, Stop> {
    let (allocators, missing) = job.peers.gather().map_err(Stop::Measurement)?;
    for note in missing {
        out::remark(&format!("warning: {note}"));
        report.notes.push(note);
    }
    let outcome = with_progress("measuring", |progress| {
        measure::run(&job.scenarios, &allocators, job.effort, job.trace.as_deref(), progress)
    })?;
    report.machine.pinned = outcome.pinned;
    report.timer = outcome.timer;
    report.scenarios = outcome.scenarios;
    report.notes.extend(outcome.notes);
    match outcome.failed {
        Some(why) if report.scenarios.is_empty() => Err(Stop::Measurement(why)),
        failed => Ok(failed),
    }
}

/// What the replay's verifier watches, as the environment says; empty: nothing.
fn rules() -> Result<String, Stop> {
    let wrong = |why: &dyn std::fmt::Display| Stop::Usage(format!("{VERIFY}: {why}"));
    let rules = match std::env::var(VERIFY) {
        Ok(rules) => rules,
        Err(VarError::NotPresent) => String::new(),
        Err(error) => return Err(wrong(&error)),
    };
    for rule in Rule::list(&rules) {
        let _ = rule.map_err(|error| wrong(&error))?;
    }
    Ok(rules)
}

/// What the verifier found in the replay.
static FOUND: AtomicU64 = AtomicU64::new(0);

/// Has the replay's pool verified. Then its times are those of a verified pool.
#[cfg(target_os = "linux")]
fn verify(pool: &Pool, rules: &str) -> Result<(), Stop> {
    // The replay leaks on purpose, and has a table of that.
    pool.on_violation(|violation| {
        if violation.kind != ViolationKind::Leak {
            FOUND.fetch_add(1, Ordering::Relaxed);
            out::remark(violation.report().to_string().trim_end());
        }
    });
    let verified = pool.verify(rules).map(drop);
    verified.map_err(|error| Stop::Usage(format!("{VERIFY}: {error}")))
}

#[cfg(not(target_os = "linux"))]
fn verify(_: &Pool, _: &str) -> Result<(), Stop> {
    Err(Stop::Usage(format!("{VERIFY}: verifying needs Linux here")))
}

/// The replay's pool, and who records its calls. The file is tried before the long work.
fn stage(record: Option<&Sink>) -> Result<(Pool, Option<Recorder>), Stop> {
    let pool =
        Pool::new(REPLAY_BYTES).map_err(|error| Stop::Measurement(format!("the replay's pool: {error}")))?;
    let recorder = record.map(|file| Recorder::start(file, &pool)).transpose().map_err(Stop::Usage)?;
    Ok((pool, recorder))
}

fn replay(
    report: &mut Report,
    pool: &Pool,
    recorder: Option<Recorder>,
    job: &Job,
    rules: &str,
) -> Result<(), Stop> {
    if !rules.trim().is_empty() {
        verify(pool, rules)?;
    }
    let before = pool.snapshot();
    let phases = |progress: &mut dyn FnMut(usize, usize, &str)| {
        phases::run(pool, recorder.as_ref(), job.effort, progress)
    };
    (report.phases, report.leaks) = with_progress("replaying", |progress| {
        if job.watched {
            watch::repeated(pool, || phases(&mut |_, _, _| {}), progress)
        } else {
            phases(progress)
        }
    })?;
    report.tags = tags::table(&before, &pool.snapshot());
    if let Some(verifier) = pool.attached() {
        verifier.sweep();
        let (done, found) = (verifier.stats(), FOUND.load(Ordering::Relaxed));
        report.notes.push(format!(
            "The replay's pool was verified ({}): {} blocks, {} of them guarded; {found} violations. Its times are those \
             of a verified pool.",
            rules.trim(),
            done.verified,
            done.guarded,
        ));
    }
    if let Some(recorder) = recorder {
        report.notes.push(recorder.finish().map_err(Stop::Usage)?);
    }
    Ok(())
}

/// Runs `work` with a bar on the error stream, which hides itself when that is no terminal. It is
/// drawn between measurements only: a bar that ticks by itself would disturb them.
fn with_progress<R>(
    what: &str,
    work: impl FnOnce(&mut dyn FnMut(usize, usize, &str)) -> Result<R, String>,
) -> Result<R, Stop> {
    let bar = ProgressBar::new(0).with_prefix(what.to_owned());
    if let Ok(style) =
        ProgressStyle::with_template("{prefix} {bar:30} {percent} % {elapsed}, about {eta} left; {wide_msg}")
    {
        bar.set_style(style);
    }
    let result = work(&mut |done, of, now| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
        bar.set_message(now.to_owned());
    });
    bar.finish_and_clear();
    result.map_err(Stop::Measurement)
}

fn machine(job: &Job) -> Result<Machine, Stop> {
    let extent = job.effort.extent(job.trace.is_some());
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32);
    let probe = PoolOptions::new(1 << 20).build();
    let probe = probe.map_err(|error| Stop::Measurement(format!("a pool of 1 MiB: {error}")))?;
    let cpu = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim().to_owned()))
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let release = read("/proc/sys/kernel/osrelease");
    Ok(Machine {
        cpu,
        cpus,
        kernel: format!("{} {}", std::env::consts::OS, release.trim()).trim_end().to_owned(),
        pinned: false,
        commit: if probe.uses_rseq() { "rseq" } else { "portable" }.to_owned(),
        quick: job.effort == Effort::Quick,
        turn_ms: extent.length.as_millis() as u64,
        processes: extent.processes as u64,
        date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: env!("STORPORT_POOL_REVISION").to_owned(),
    })
}
