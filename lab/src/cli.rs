//! The command line.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Arg, Parser, Subcommand, ValueEnum};

use crate::inspect::Inspect;
use crate::out;
use crate::peers::Peers;
#[cfg(target_os = "linux")]
use crate::poolmon::options::Poolmon;
use crate::scenarios::{self, Effort};
use crate::worker::Args;

/// Where results go that nobody wants elsewhere.
pub(crate) const FOLDER: &str = "target/storport-pool";

const EXIT: &str = "Exit status: 0, all well; 1, the pool broke its contract; \
                    2, bad arguments or a file that cannot be read or written; 3, a measurement failed.";

const INSPECT_EXIT: &str = "Exit status: 0, all well, or not asked; 1, --check found something wrong; \
                            2, bad arguments, or a file that cannot be read or has no pool's metadata.";

/// Shows what storport-pool does and what it costs: the Storport pool contract checked live,
/// Storport workloads replayed, and the latency of free and allocate beside other allocators.
///
/// Without a command it does all of it, in one to two minutes.
#[derive(Debug, Parser)]
#[command(name = "storport-pool", version, after_help = EXIT)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Checks every documented status and every misuse, expected against got.
    #[command(after_help = EXIT)]
    Contract,
    /// Replays a disk controller's life (start, I/O, events, a giant allocation, a leaking
    /// removal) and shows the tag table as PoolMon would. With FILE: replays a trace's calls on each
    /// allocator instead, and compares their times. The variable STORPORT_POOL_VERIFY has rules of the pool's
    /// verifier, for example "tags=ReqT track canary"; without low resources, which no replay is made for.
    #[command(after_help = EXIT)]
    Replay(Replay),
    /// Watches a pool of another process, live, as PoolMon does. The process opts in
    /// (`storport_pool::watch`, `sp_watch_create`), and is neither stopped nor slowed down by who looks. --demo starts
    /// one. With --json it prints one picture; --json=FILE writes it. Exit status 2: nothing to watch, or bad input.
    #[cfg(target_os = "linux")]
    #[command(after_help = EXIT, args = poolmon())]
    Poolmon(Poolmon),
    /// A process for `poolmon --demo`.
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    Live,
    /// Measures the latency of free and allocate: the pool, the system allocator, mimalloc.
    #[command(after_help = EXIT)]
    Latency(Latency),
    /// Measures how a call's cost grows with live blocks, adapters and tags.
    #[command(after_help = EXIT)]
    Growth(Growth),
    /// Compares two runs' JSON files: b's times over a's, and what changed beyond the noise within a run. (Two runs of
    /// the same program differ by more.) Writes a page with --html, and nothing else.
    #[command(after_help = EXIT, args = hidden(&["json", "peers", "quick"]))]
    Compare(Compare),
    /// Draws a run's JSON file as one picture (SVG): the time to free on some other allocators over the pool's, by
    /// scenario. Shows mimalloc, rpmalloc, jemalloc and snmalloc-check; where the run has not all of them, others of it.
    #[command(after_help = EXIT, args = chart())]
    Chart(Chart),
    /// Writes the page of a run anew from its JSON file: as one HTML file, or as Markdown with its pictures beside it.
    #[command(after_help = EXIT, args = hidden(&["json", "html", "peers", "quick"]))]
    Page(Page),
    /// Runs all kinds of traffic at once for a long time, and checks after each round that nothing was
    /// lost, doubled or miscounted, and at the end that memory is flat. Writes no files.
    #[command(after_help = EXIT, args = hidden(&["json", "html", "peers", "quick"]))]
    Soak(Soak),
    /// Looks at a pool's metadata in a file: the totals by tag, the blocks around an address, the blocks of a tag, and
    /// whether all is well. Changes nothing.
    #[command(after_help = INSPECT_EXIT, args = hidden(&["html", "peers", "quick"]))]
    Inspect(Inspect),
    /// One allocator's process in one scenario; the program starts it.
    #[command(hide = true)]
    Worker(Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Compare {
    /// The earlier run, a.
    #[arg(value_name = "A.JSON")]
    pub(crate) before: PathBuf,
    /// The later run, b.
    #[arg(value_name = "B.JSON")]
    pub(crate) after: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Chart {
    /// The run.
    #[arg(value_name = "RUN.JSON")]
    pub(crate) run: PathBuf,
    /// Where the picture goes; - is the standard output.
    #[arg(value_name = "OUT.SVG")]
    pub(crate) svg: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Page {
    /// The run, of any command.
    #[arg(value_name = "RUN.JSON")]
    pub(crate) run: PathBuf,
    /// Where the page goes: its name ends in .html or .md; - is the standard output, for HTML.
    #[arg(value_name = "OUT.HTML|OUT.MD")]
    pub(crate) page: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Replay {
    /// A trace, as a host records it, or --record does.
    #[arg(value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Records the built-in replay's calls to the pool in this file, and measures no scenarios.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["trace", "peers"])]
    pub(crate) record: Option<PathBuf>,
    /// Runs the phases alone, without scenarios, again and again for 30 seconds or until Ctrl-C. The pool's pictures are
    /// published ten times a second meanwhile: `storport-pool poolmon` shows them. The phases' times are the last round's,
    /// of a pool that is watched. (Linux.)
    #[arg(long, conflicts_with_all = ["trace", "record", "peers"])]
    pub(crate) watch: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Growth {
    /// What a call costs by CPUs, as `STORPORT_POOL_GROWTH=<file> ci/interrupts.sh` counts it: drawn too.
    #[arg(long, value_name = "FILE")]
    pub(crate) counts: Option<PathBuf>,
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
    /// Only this scenario; may be given several times. Default: all.
    #[arg(long = "scenario", value_name = "NAME", value_parser = PossibleValuesParser::new(scenarios::ALL.iter().map(|about| about.name)))]
    pub(crate) scenarios: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Output {
    /// Where the results go as JSON [default: target/storport-pool/results.json, or one named
    /// after the command].
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the results go as one self-contained web page [default: beside the JSON].
    #[arg(long, global = true, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Whom to compare with: default (the system and mimalloc), all (builds the others, once, in some minutes),
    /// or names with commas between [default: default].
    #[arg(long, global = true, value_name = "WHO", value_parser = Peers::parse)]
    peers: Option<Peers>,
    /// Seconds instead of minutes; the numbers are rougher.
    #[arg(long, global = true)]
    quick: bool,
}

/// These of [`Output`]'s options, for a command that refuses them: its help does not list them.
fn hidden(names: &[&str]) -> Vec<Arg> {
    let all = <Output as clap::Args>::augment_args(clap::Command::new("all"));
    let wanted = all.get_arguments().filter(|option| names.contains(&option.get_id().as_str()));
    wanted.map(|option| option.clone().hide(true)).collect()
}

/// [`Output`]'s options as `poolmon` has them: `--json` is for one picture, and needs no file.
#[cfg(target_os = "linux")]
fn poolmon() -> Vec<Arg> {
    let json = |option: Arg| {
        option
            .hide(false)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("-")
            .help("All of one picture as JSON: on the standard output, or into --json=FILE")
    };
    let options = hidden(&["json", "html", "peers", "quick"]).into_iter();
    options.map(|option| if option.get_id() == "json" { json(option) } else { option }).collect()
}

/// [`Output`]'s options as `chart` has them: `--peers` chooses among those of the run.
fn chart() -> Vec<Arg> {
    let chosen = |option: Arg| {
        option.hide(false).help("Whom it shows instead: names with commas between, or all that the run has")
    };
    let options = hidden(&["json", "html", "peers", "quick"]).into_iter();
    options.map(|option| if option.get_id() == "peers" { chosen(option) } else { option }).collect()
}

impl Cli {
    pub(crate) fn effort(&self) -> Effort {
        if self.output.quick { Effort::Quick } else { Effort::Full }
    }

    pub(crate) fn peers(&self) -> Peers {
        self.output.peers.clone().unwrap_or_default()
    }

    /// For a command that takes neither files nor effort nor peers.
    ///
    /// # Errors
    /// `why`, when one of these is asked for all the same.
    pub(crate) fn takes_no_output(&self, why: &str) -> Result<(), String> {
        let Output { json, html, peers, quick } = &self.output;
        if json.is_some() || html.is_some() || peers.is_some() || *quick {
            return Err(format!("{why}: --json, --html, --peers and --quick have no use"));
        }
        Ok(())
    }

    /// For a command that takes peers alone: whom.
    ///
    /// # Errors
    /// `why`, when more is asked for.
    pub(crate) fn peers_only(&self, why: &str) -> Result<Peers, String> {
        let Output { json, html, quick, .. } = &self.output;
        if json.is_some() || html.is_some() || *quick {
            return Err(format!("{why}: --json, --html and --quick have no use"));
        }
        Ok(self.peers())
    }

    /// For a command that writes JSON alone: where to, if it does.
    ///
    /// # Errors
    /// `why`, when more is asked for.
    pub(crate) fn json_only(&self, why: &str) -> Result<Option<&Path>, String> {
        let Output { json, html, peers, quick } = &self.output;
        if html.is_some() || peers.is_some() || *quick {
            return Err(format!("{why}: --html, --peers and --quick have no use"));
        }
        Ok(json.as_deref())
    }

    /// Where the page of a command goes that measures nothing, if anywhere.
    ///
    /// # Errors
    /// A sentence, when more is asked for.
    pub(crate) fn page_only(&self) -> Result<Option<&Path>, String> {
        let Output { json, html, peers, quick } = &self.output;
        if json.is_some() || peers.is_some() || *quick {
            return Err("a comparison measures nothing: --json, --peers and --quick have no use".to_owned());
        }
        Ok(html.as_deref())
    }

    /// Where JSON and page go.
    ///
    /// # Errors
    /// A sentence, when both are one file.
    pub(crate) fn files(&self) -> Result<(PathBuf, PathBuf), String> {
        let name = match self.command {
            None => "results",
            Some(Command::Contract) => "contract",
            Some(Command::Replay(_)) => "replay",
            Some(Command::Latency(_)) => "latency",
            Some(Command::Growth(_)) => "growth",
            Some(_) => "none",
        };
        let json = match &self.output.json {
            Some(json) => json.clone(),
            None => Path::new(FOLDER).join(name).with_extension("json"),
        };
        let html = self.output.html.clone().unwrap_or_else(|| json.with_extension("html"));
        if json == html {
            return Err(format!("--json and --html are both '{}'", out::name(&json)));
        }
        Ok((json, html))
    }
}
