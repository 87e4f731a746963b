//! `storport-pool`, the program: what the pool does and what it costs, shown live. A library only so that
//! other programs can lend it allocators to compare with, or compare with its own: see [`worker`], [`subjects`],
//! [`bulk`] and [`textbook`].

pub mod bulk;
mod cli;
mod commit;
mod contract;
mod inspect;
mod jobs;
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
mod sink;
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

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser;

use crate::run::Stop;

/// The program.
pub fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => return help(&said),
    };
    match (run::run(cli), out::outcome()) {
        // What was to be seen was not.
        (Ok(()) | Err(Stop::Contract | Stop::Faults), Err(message)) => fail(&message, 2),
        (Ok(()), Ok(())) => ExitCode::SUCCESS,
        (Err(Stop::Contract | Stop::Faults), Ok(())) => ExitCode::from(1),
        (Err(Stop::Broken(message)), _) => fail(&message, 1),
        (Err(Stop::Usage(message)), _) => fail(&message, 2),
        (Err(Stop::Measurement(message)), _) => fail(&message, 3),
    }
}

/// Shows what clap has to say: the help, the version, or what is wrong with the arguments.
fn help(said: &clap::Error) -> ExitCode {
    match said.print() {
        Err(error) if !said.use_stderr() && error.kind() != ErrorKind::BrokenPipe => {
            fail(&format!("cannot write to the standard output: {error}"), 2)
        }
        _ => ExitCode::from(said.exit_code() as u8),
    }
}

fn fail(message: &str, status: u8) -> ExitCode {
    out::complain(message);
    ExitCode::from(status)
}
