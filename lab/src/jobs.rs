//! What a measuring run consists of, command by command.

use std::path::PathBuf;

use crate::cli::{All, Contract, Growth, Latency, Replay};
use crate::peers::Peers;
use crate::report::places::Files;
use crate::scenarios::{self, About, Effort};
use crate::sink::Sink;

/// The replay command's scenarios: the I/O of the disk whose life the phases tell.
const REPLAYED: [&str; 2] = ["storport-b1", "storport-b2"];

/// A run from end to end.
#[derive(Debug)]
pub(crate) struct Job {
    /// Whether the contract is checked.
    pub(crate) contract: bool,
    pub(crate) scenarios: Vec<&'static About>,
    /// Whether the replay's phases run.
    pub(crate) phases: bool,
    pub(crate) effort: Effort,
    pub(crate) peers: Peers,
    pub(crate) files: Files,
    /// Whether all tables are shown.
    pub(crate) tables: bool,
    /// Whether it ends with a summary of all.
    pub(crate) summary: bool,
    /// What is replayed in place of the phases.
    pub(crate) trace: Option<PathBuf>,
    /// Where the phases' calls are recorded.
    pub(crate) record: Option<Sink>,
    /// Whether the phases go on for a while, for `poolmon` to watch.
    pub(crate) watched: bool,
    /// What a call costs by CPUs, counted elsewhere.
    pub(crate) counts: Option<PathBuf>,
}

/// Those that are wanted, in the list's order, each once, however they were asked for.
fn chosen(wanted: impl Fn(&About) -> bool) -> Vec<&'static About> {
    scenarios::ALL.iter().filter(|about| wanted(about)).collect()
}

impl Job {
    /// Nothing yet, shown as tables.
    fn new(files: Files) -> Job {
        Job {
            contract: false,
            scenarios: Vec::new(),
            phases: false,
            effort: Effort::Full,
            peers: Peers::Default,
            files,
            tables: true,
            summary: false,
            trace: None,
            record: None,
            watched: false,
            counts: None,
        }
    }

    pub(crate) fn all(asked: All) -> Job {
        Job {
            contract: true,
            scenarios: chosen(|_| true),
            phases: true,
            effort: asked.length.effort(Effort::Brief),
            peers: asked.against.peers(),
            tables: asked.verbose,
            summary: true,
            ..Job::new(Files::or_default(asked.output, "results"))
        }
    }

    pub(crate) fn contract(asked: Contract) -> Job {
        Job { contract: true, ..Job::new(Files::asked(asked.output)) }
    }

    pub(crate) fn replay(asked: Replay) -> Job {
        let alone = asked.record.is_some() || asked.watch;
        Job {
            scenarios: match asked.trace {
                Some(_) => vec![&scenarios::TRACE],
                None => chosen(|about| !alone && REPLAYED.contains(&about.name)),
            },
            phases: asked.trace.is_none(),
            effort: asked.length.effort(Effort::Full),
            peers: asked.against.peers(),
            trace: asked.trace,
            record: asked.record,
            watched: asked.watch,
            ..Job::new(Files::asked(asked.output))
        }
    }

    pub(crate) fn latency(asked: Latency) -> Job {
        let names = &asked.scenarios;
        Job {
            scenarios: chosen(|about| names.is_empty() || names.iter().any(|name| name == about.name)),
            effort: asked.length.effort(Effort::Full),
            peers: asked.against.peers(),
            ..Job::new(Files::or_default(asked.output, "latency"))
        }
    }

    pub(crate) fn growth(asked: Growth) -> Job {
        let effort = asked.length.effort(Effort::Full);
        Job {
            scenarios: scenarios::growth(effort),
            effort,
            peers: asked.against.peers(),
            counts: asked.counts,
            ..Job::new(Files::or_default(asked.output, "growth"))
        }
    }
}
