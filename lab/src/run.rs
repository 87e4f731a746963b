//! A run from end to end: what is asked for, shown as it comes, written at the end.

use std::env::VarError;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use storport_pool::{Pool, PoolOptions, Rule, ViolationKind};

use crate::cli::{Cli, Command, Growth, Latency, Replay, Soak};
use crate::peers::Peers;
use crate::report::files::{self, Files};
use crate::report::terminal;
use crate::results::{Machine, Report, SCHEMA};
use crate::scenarios::{self, About, Effort};
use crate::traces::plan;
use crate::traces::record::Recorder;
use crate::{contract, inspect, measure, phases, tags, watch};

/// Reserved for the replay; only what the phases touch becomes resident.
const REPLAY_BYTES: u64 = 1 << 30;
/// The replay command's scenarios: the I/O of the disk whose life the phases tell.
const REPLAYED: [&str; 2] = ["storport-b1", "storport-b2"];

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

/// What a run consists of.
struct Plan {
    contract: bool,
    scenarios: Vec<&'static About>,
    phases: bool,
}

impl Plan {
    fn new(cli: &Cli) -> Plan {
        // In the list's order, each once, however they were asked for.
        let chosen =
            |wanted: &dyn Fn(&About) -> bool| scenarios::ALL.iter().filter(|about| wanted(about)).collect();
        match &cli.command {
            None => Plan { contract: true, scenarios: chosen(&|_| true), phases: true },
            Some(Command::Replay(Replay { trace: Some(_), .. })) => {
                Plan { contract: false, scenarios: vec![&scenarios::TRACE], phases: false }
            }
            Some(Command::Replay(Replay { record: Some(_), .. } | Replay { watch: true, .. })) => {
                Plan { contract: false, scenarios: Vec::new(), phases: true }
            }
            Some(Command::Replay(_)) => Plan {
                contract: false,
                scenarios: chosen(&|about| REPLAYED.contains(&about.name)),
                phases: true,
            },
            Some(Command::Latency(Latency { scenarios })) => Plan {
                contract: false,
                scenarios: chosen(&|about| {
                    scenarios.is_empty() || scenarios.iter().any(|asked| asked == about.name)
                }),
                phases: false,
            },
            Some(Command::Growth(_)) => {
                Plan { contract: false, scenarios: scenarios::growth(cli.effort()), phases: false }
            }
            // Of the others, that comes here.
            Some(_) => Plan { contract: true, scenarios: Vec::new(), phases: false },
        }
    }
}

/// Does what the command line asks for.
///
/// # Errors
/// [`Stop`]; the results are written all the same when only the contract was broken.
pub(crate) fn run(cli: &Cli) -> Result<(), Stop> {
    if let Some(Command::Soak(options)) = &cli.command {
        cli.takes_no_output("the soak writes no files and has its own length").map_err(Stop::Usage)?;
        return soak(options);
    }
    if let Some(Command::Inspect(asked)) = &cli.command {
        cli.json_only("a look at a file measures nothing").map_err(Stop::Usage)?;
        let good = inspect::run(asked).map_err(Stop::Usage)?;
        return if good { Ok(()) } else { Err(Stop::Faults) };
    }
    if let Some(Command::Worker(args)) = &cli.command {
        return measure::work(args.clone()).map_err(Stop::Measurement);
    }
    if let Some(Command::Chart(chart)) = &cli.command {
        let peers = cli.peers_only("the chart goes where the second argument says").map_err(Stop::Usage)?;
        return files::chart(&chart.run, &chart.svg, &peers).map_err(Stop::Usage);
    }
    if let Some(Command::Page(page)) = &cli.command {
        cli.takes_no_output("the page goes where the second argument says").map_err(Stop::Usage)?;
        return files::redraw(&page.run, &page.page).map_err(Stop::Usage);
    }
    if let Some(Command::Compare(compare)) = &cli.command {
        let html = cli.page_only().map_err(Stop::Usage)?;
        return files::compare(&compare.before, &compare.after, html).map_err(Stop::Usage);
    }
    #[cfg(target_os = "linux")]
    if let Some(Command::Poolmon(options)) = &cli.command {
        let json = cli.json_only("poolmon measures nothing").map_err(Stop::Usage)?;
        return crate::poolmon::run(options, json).map_err(Stop::Usage);
    }
    #[cfg(target_os = "linux")]
    if let Some(Command::Live) = &cli.command {
        return crate::poolmon::demo::live().map_err(Stop::Measurement);
    }
    let watched = matches!(&cli.command, Some(Command::Replay(Replay { watch: true, .. })));
    let (json, html) = cli.files().map_err(Stop::Usage)?;
    let files = Files::check(json, html).map_err(Stop::Usage)?;
    let plan = Plan::new(cli);
    let rules = if plan.phases { rules()? } else { String::new() };
    let effort = cli.effort();
    let mut report = Report { schema: SCHEMA, machine: machine(effort)?, ..Report::default() };
    if let Some(Command::Growth(Growth { counts: Some(file) })) = &cli.command {
        report.cpus = files::counts(file).map_err(Stop::Usage)?;
    }
    let (trace, record) = match &cli.command {
        Some(Command::Replay(Replay { trace, record, .. })) => (trace.as_deref(), record.as_deref()),
        _ => (None, None),
    };
    if let Some(file) = trace {
        report.notes.extend(plan::Plan::read(file).map_err(Stop::Usage)?.notes);
    }
    let stage = if plan.phases { Some(stage(record)?) } else { None };
    terminal::machine(&report);

    if plan.contract {
        report.contract = contract::run().map_err(Stop::Measurement)?;
        terminal::contract(&report);
    }
    if !plan.scenarios.is_empty() {
        measure(&mut report, &plan.scenarios, &cli.peers(), effort, trace)?;
        terminal::latency(&report);
    }
    if let Some((pool, recorder)) = stage {
        replay(&mut report, &pool, recorder, effort, watched, &rules)?;
        terminal::replay(&report);
    }
    files.write(&report).map_err(Stop::Usage)?;
    terminal::ending(&report, [&files.json, &files.html]);
    if contract::holds(&report.contract) { Ok(()) } else { Err(Stop::Contract) }
}

#[cfg(target_os = "linux")]
fn soak(options: &Soak) -> Result<(), Stop> {
    crate::soak::run(options).map_err(Stop::Broken)
}

#[cfg(not(target_os = "linux"))]
fn soak(_: &Soak) -> Result<(), Stop> {
    Err(Stop::Usage("the soak needs Linux: its timers, signals and forks".to_owned()))
}

fn measure(
    report: &mut Report,
    scenarios: &[&About],
    peers: &Peers,
    effort: Effort,
    trace: Option<&Path>,
) -> Result<(), Stop> {
    let (allocators, notes) = peers.gather().map_err(Stop::Measurement)?;
    report.notes.extend(notes);
    let outcome =
        with_progress("measuring", |progress| measure::run(scenarios, &allocators, effort, trace, progress))?;
    report.machine.pinned = outcome.pinned;
    report.timer = outcome.timer;
    report.scenarios = outcome.scenarios;
    report.notes.extend(outcome.notes);
    Ok(())
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
            eprint!("{}", violation.report());
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
fn stage(record: Option<&Path>) -> Result<(Pool, Option<Recorder>), Stop> {
    let pool =
        Pool::new(REPLAY_BYTES).map_err(|error| Stop::Measurement(format!("the replay's pool: {error}")))?;
    let recorder = record.map(|file| Recorder::start(file, &pool)).transpose().map_err(Stop::Usage)?;
    Ok((pool, recorder))
}

fn replay(
    report: &mut Report,
    pool: &Pool,
    recorder: Option<Recorder>,
    effort: Effort,
    watched: bool,
    rules: &str,
) -> Result<(), Stop> {
    if !rules.trim().is_empty() {
        verify(pool, rules)?;
    }
    let before = pool.snapshot();
    let phases =
        |progress: &mut dyn FnMut(usize, usize, &str)| phases::run(pool, recorder.as_ref(), effort, progress);
    (report.phases, report.leaks) = with_progress("replaying", |progress| {
        if watched { watch::repeated(pool, || phases(&mut |_, _, _| {}), progress) } else { phases(progress) }
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

fn machine(effort: Effort) -> Result<Machine, Stop> {
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
        quick: effort == Effort::Quick,
        date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: env!("STORPORT_POOL_REVISION").to_owned(),
    })
}
