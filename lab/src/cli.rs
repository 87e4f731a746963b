//! The command line.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand, ValueEnum};

use crate::inspect::Inspect;
use crate::peers::Peers;
#[cfg(target_os = "linux")]
use crate::poolmon::options::Poolmon;
use crate::scenarios::{self, Effort};
use crate::sink::Sink;
use crate::worker::Args;

/// "0.1.0 (revision 7cf3775)"; without git, the version alone.
const VERSION: &str = if env!("STORPORT_POOL_REVISION").is_empty() {
    env!("CARGO_PKG_VERSION")
} else {
    concat!(env!("CARGO_PKG_VERSION"), " (revision ", env!("STORPORT_POOL_REVISION"), ")")
};

const EXIT: &str = "Exit status: 0, all well; 1, the pool broke its contract; 2, bad arguments, or something that \
    cannot be read or written; 3, a measurement failed.";

const MEASURES: &str = "FILE may be '-': the standard output has it alone, and all text goes to the error output. \
    A folder in FILE must be there.\n\n\
    STORPORT_POOL_COMMIT: with 'auto', as if it is not set, pools commit by restartable sequences where the system has \
    them; with 'portable', by atomic operations.\n\n\
    Exit status: 0, all well; 1, the pool broke its contract; 2, bad arguments, or something that cannot be read or \
    written; 3, a measurement failed.";

const INSPECT_EXIT: &str = "Exit status: 0, all well, or not asked; 1, --check found something wrong; \
    2, bad arguments, or a file that cannot be read or has no pool's metadata.";

/// Shows what storport-pool does and what it costs: the Storport pool contract checked live, Storport workloads
/// replayed, and the latency of free and allocate beside other allocators.
///
/// Without a command it does all of it, in some 60 seconds on two CPUs, and ends with a summary of ten lines. All tables
/// are in the page that it writes, or shown with --verbose. A command shows its own tables.
///
/// Without --json and --html, the results go to results.json and results.html in a folder that is made: target/storport-pool
/// where the current folder has a Cargo.toml, else storport-pool-results. With one of them, only that is written.
#[derive(Debug, Parser)]
#[command(name = "storport-pool", version = VERSION, after_help = MEASURES, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) all: All,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Checks every documented status and every misuse, expected against got.
    ///
    /// Takes a moment. Writes files only where --json and --html say so.
    #[command(after_help = MEASURES)]
    Contract(Contract),
    /// Replays a disk controller's life, and shows the tag table; or replays a recorded trace.
    ///
    /// The controller starts, does I/O, hears of events, asks for a giant block, and is removed with blocks outstanding: a
    /// leak on purpose. The tag table is PoolMon's. With FILE it replays a trace's calls on each allocator instead, and
    /// compares their times. Some 10 seconds. Writes files only where --json, --html and --record say so.
    ///
    /// STORPORT_POOL_VERIFY has rules of the pool's verifier, for example "tags=ReqT track canary"; without low resources,
    /// which no replay is made for.
    #[command(after_help = MEASURES)]
    Replay(Replay),
    /// Watches a pool of another process, live, as PoolMon does.
    ///
    /// The process opts in (`storport_pool::watch`, `sp_watch_create`), and is neither stopped nor slowed down by who looks.
    /// --demo starts one. Exit status 2: nothing to watch, or bad input.
    #[cfg(target_os = "linux")]
    #[command(after_help = EXIT)]
    Poolmon(Poolmon),
    /// A process for `poolmon --demo`.
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    Live,
    /// Measures the latency of free and allocate: the pool, the system allocator, mimalloc.
    ///
    /// Some two minutes; eight with --peers all, and two or more to build the others, once. Each turn is twice as long as one
    /// of a run without a command, and has a process of its own. So the figures are surer.
    ///
    /// Without --json and --html, the results go to latency.json and latency.html in a folder that is made:
    /// target/storport-pool where the current folder has a Cargo.toml, else storport-pool-results. With one of them, only that
    /// is written.
    #[command(after_help = MEASURES)]
    Latency(Latency),
    /// Measures how a call's cost grows with live blocks, adapters and tags.
    ///
    /// A minute. Without --json and --html, the results go to growth.json and growth.html in a folder that is made:
    /// target/storport-pool where the current folder has a Cargo.toml, else storport-pool-results. With one of them, only that
    /// is written.
    #[command(after_help = MEASURES)]
    Growth(Growth),
    /// Compares two runs' JSON files: b's times over a's, and what changed beyond the noise within a run.
    ///
    /// Two runs of the same program differ by more than that noise.
    #[command(after_help = EXIT)]
    Compare(Compare),
    /// Draws a run's JSON file as one picture (SVG): the time to free on some other allocators over the pool's, by
    /// scenario.
    ///
    /// Shows mimalloc, rpmalloc, jemalloc and snmalloc-check; where the run has not all of them, others of it.
    #[command(after_help = EXIT)]
    Chart(Chart),
    /// Writes the page of a run anew from its JSON file: as one HTML file, or as Markdown with its pictures beside it.
    #[command(after_help = EXIT)]
    Page(Page),
    /// Runs all kinds of traffic at once for a long time, and checks that nothing is lost.
    ///
    /// It checks after each round that nothing was lost, doubled or miscounted, and at the end that memory is flat.
    #[command(after_help = EXIT)]
    Soak(Soak),
    /// Looks at a pool's metadata in a file.
    ///
    /// Shows the totals by tag, the blocks around an address, the blocks of a tag, and whether all is well. Changes nothing.
    #[command(after_help = INSPECT_EXIT)]
    Inspect(Inspect),
    /// One allocator's process in one scenario; the program starts it.
    #[command(hide = true)]
    Worker(Args),
}

impl Command {
    /// Whether it makes pools, or starts processes that do.
    pub(crate) fn makes_pools(&self) -> bool {
        match self {
            Command::Contract(_) | Command::Replay(_) | Command::Latency(_) => true,
            Command::Growth(_) | Command::Soak(_) => true,
            #[cfg(target_os = "linux")]
            Command::Poolmon(options) => options.demo,
            _ => false,
        }
    }
}

/// What the program takes without a command.
#[derive(Debug, clap::Args)]
pub(crate) struct All {
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) against: Against,
    #[command(flatten)]
    pub(crate) length: Length,
    /// Shows all tables, not the summary alone.
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// Where a run's results go.
#[derive(Debug, clap::Args)]
pub(crate) struct Output {
    /// Writes the results as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<Sink>,
    /// Writes the results as one self-contained web page.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<Sink>,
}

/// Whom the pool is compared with.
#[derive(Debug, clap::Args)]
pub(crate) struct Against {
    /// Whom to compare with: default (the system and mimalloc), all (builds the others, once, in some minutes), or names
    /// with commas between [default: default].
    #[arg(long, value_name = "WHO", value_parser = Peers::parse)]
    peers: Option<Peers>,
}

impl Against {
    pub(crate) fn peers(&self) -> Peers {
        self.peers.clone().unwrap_or_default()
    }
}

/// How long a run is.
#[derive(Debug, clap::Args)]
pub(crate) struct Length {
    /// Takes seconds, not minutes; the numbers are rough.
    #[arg(long)]
    quick: bool,
}

impl Length {
    /// This effort, unless a quick run is asked for.
    pub(crate) fn effort(&self, effort: Effort) -> Effort {
        if self.quick { Effort::Quick } else { effort }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Contract {
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Compare {
    /// The earlier run, a; '-': the standard input.
    #[arg(value_name = "A.JSON")]
    pub(crate) before: PathBuf,
    /// The later run, b; '-': the standard input.
    #[arg(value_name = "B.JSON")]
    pub(crate) after: PathBuf,
    /// Writes a page; '-': to the standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<Sink>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Chart {
    /// The run; '-': the standard input.
    #[arg(value_name = "RUN.JSON")]
    pub(crate) run: PathBuf,
    /// Where the picture goes; '-': to the standard output.
    #[arg(value_name = "OUT.SVG")]
    pub(crate) svg: Sink,
    /// Whom it shows instead: names with commas between, or all that the run has.
    #[arg(long, value_name = "WHO", value_parser = Peers::parse)]
    pub(crate) peers: Option<Peers>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Page {
    /// The run, of any command; '-': the standard input.
    #[arg(value_name = "RUN.JSON")]
    pub(crate) run: PathBuf,
    /// Where the page goes: its name ends in .html or .md; '-': to the standard output, as HTML.
    #[arg(value_name = "OUT.HTML|OUT.MD")]
    pub(crate) page: Sink,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    /// A trace, as a host records it, or --record does.
    #[arg(value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Records the built-in replay's calls to the pool in this file, and measures no scenarios.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["trace", "peers"])]
    pub(crate) record: Option<Sink>,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) against: Against,
    #[command(flatten)]
    pub(crate) length: Length,
    /// Runs the phases alone, without scenarios, again and again for 30 seconds or until Ctrl-C. The pool's pictures are
    /// published ten times a second meanwhile: `storport-pool poolmon` shows them. The phases' times are the last round's,
    /// of a pool that is watched. (Linux.)
    #[arg(long, conflicts_with_all = ["trace", "record", "peers"])]
    pub(crate) watch: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Growth {
    /// What a call costs by CPUs, as `STORPORT_POOL_GROWTH=<file> ci/interrupts.sh` counts it: drawn too;
    /// '-': from the standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) counts: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) against: Against,
    #[command(flatten)]
    pub(crate) length: Length,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Soak {
    /// How long.
    #[arg(long, default_value_t = 30.0, value_parser = minutes)]
    pub(crate) minutes: f64,
    /// Where the draws begin; default: anew each time. Threads still interleave as they like.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// At the edge of exhaustion instead: many threads keep small pools nearly full, and none may be refused while
    /// memory is free.
    #[arg(long)]
    pub(crate) edge: bool,
    /// How the pool commits.
    #[arg(long, value_enum, default_value_t = Commit::Auto)]
    pub(crate) commit: Commit,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Commit {
    /// Restartable sequences where there are any.
    Auto,
    /// The portable twin.
    Portable,
}

impl From<Commit> for storport_pool::Commit {
    fn from(commit: Commit) -> storport_pool::Commit {
        match commit {
            Commit::Auto => storport_pool::Commit::Auto,
            Commit::Portable => storport_pool::Commit::Portable,
        }
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if (0.001..=100_000.0).contains(&minutes) => Ok(minutes),
        _ => Err("a number of minutes is wanted, 0.001 to 100000".to_owned()),
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Latency {
    /// Only these scenarios: names with commas between, or the option several times. Default: all.
    #[arg(long = "scenario", value_name = "NAME", value_delimiter = ',', value_parser = PossibleValuesParser::new(scenarios::ALL.iter().map(|about| about.name)))]
    pub(crate) scenarios: Vec<String>,
    #[command(flatten)]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) against: Against,
    #[command(flatten)]
    pub(crate) length: Length,
}
