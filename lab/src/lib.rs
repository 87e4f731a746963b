//! `storport-pool`, the program: what the pool does and what it costs, shown live. A library only so that
//! other programs can lend it allocators to compare with, or compare with its own: see [`worker`], [`subjects`],
//! [`bulk`] and [`textbook`].

pub mod bulk;
mod cli;
mod contract;
mod inspect;
mod latency;
mod machine;
mod measure;
mod meter;
mod out;
mod peers;
mod phases;
mod pinning;
#[cfg(target_os = "linux")]
mod poolmon;
mod regular;
mod report;
mod resident;
mod results;
mod run;
mod scenarios;
#[cfg(target_os = "linux")]
mod soak;
pub mod subjects;
mod tags;
pub mod textbook;
mod timer;
mod traces;
mod watch;
pub mod worker;
mod workloads;

use std::process::ExitCode;

use clap::Parser;

use crate::run::Stop;

/// The program.
pub fn main() -> ExitCode {
    let done = run::run(&cli::Cli::parse());
    match (done, out::outcome()) {
        // What was to be seen was not.
        (Ok(()) | Err(Stop::Contract | Stop::Faults), Err(message)) => fail(&message, 2),
        (Ok(()), Ok(())) => ExitCode::SUCCESS,
        (Err(Stop::Contract | Stop::Faults), Ok(())) => ExitCode::from(1),
        (Err(Stop::Broken(message)), _) => fail(&message, 1),
        (Err(Stop::Usage(message)), _) => fail(&message, 2),
        (Err(Stop::Measurement(message)), _) => fail(&message, 3),
    }
}

fn fail(message: &str, status: u8) -> ExitCode {
    out::complain(message);
    ExitCode::from(status)
}
