//! The allocators that `storport-pool latency --peers` compares the pool with, beyond those that everybody has.
//! docs/PEERS.md says how each is built, and why so. The program builds and starts this one.
//!
//! Each is called by its plain `malloc` and `free`, or what it has in their place: the contract's free is not told a
//! size either. Only those that have no such free are told it.

#[cfg(not(feature = "checking"))]
mod embedded;
mod foreign;
#[cfg(not(feature = "checking"))]
mod jemalloc;

use std::process::ExitCode;

use clap::Parser;
#[cfg(not(feature = "checking"))]
use storport_pool_lab::bulk;
use storport_pool_lab::worker::{Args, Work};

/// A worker of `storport-pool`, which starts it.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn main() -> ExitCode {
    let args = Cli::parse().args;
    let name = args.allocator.clone();
    match serve(&name, Work::new(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(3)
        }
    }
}

#[cfg(not(feature = "checking"))]
fn serve(name: &str, work: Work) -> Result<(), String> {
    let range = work.pool_bytes()?;
    match name {
        "jemalloc" => work.run(&jemalloc::Jemalloc),
        "rpmalloc" => work.run(&foreign::Rpmalloc::new()),
        "snmalloc" => work.run(&foreign::Snmalloc),
        "smalloc" => work.run(&embedded::Smalloc::new()),
        "talc" => work.run(&embedded::Talc::new(range)?),
        name => match bulk::split(name) {
            Some(("jemalloc", way)) => work.run(&jemalloc::Batches::new(way)?),
            _ => Err(format!("there is no allocator {name:?} here")),
        },
    }
}

#[cfg(feature = "checking")]
fn serve(name: &str, work: Work) -> Result<(), String> {
    match name {
        "mimalloc-secure" => work.run(&storport_pool_lab::subjects::Mimalloc),
        "snmalloc-check" => work.run(&foreign::Snmalloc),
        "pool-checked" => storport_pool_lab::worker::pool_worker(work),
        name => Err(format!("there is no allocator {name:?} here")),
    }
}
