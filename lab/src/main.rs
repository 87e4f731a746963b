//! `storport-pool`: what the pool does and what it costs, shown live.

mod cli;
mod contract;
mod meter;
mod phases;
mod pinning;
mod report;
mod results;
mod run;
mod scenarios;
#[cfg(target_os = "linux")]
mod soak;
mod subjects;
mod tags;
mod timer;
mod workloads;

use std::process::ExitCode;

use clap::Parser;

use crate::run::Stop;

fn main() -> ExitCode {
    match run::run(&cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Contract) => ExitCode::from(1),
        Err(Stop::Broken(message)) => fail(&message, 1),
        Err(Stop::Usage(message)) => fail(&message, 2),
        Err(Stop::Measurement(message)) => fail(&message, 3),
    }
}

fn fail(message: &str, status: u8) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(status)
}
