//! The allocators that `storport-pool latency --peers` compares the pool with, beyond those that everybody has.
//! docs/PEERS.md says how each is built, and why so. The program builds and starts this one.
//!
//! Each is called by its plain `malloc` and `free`, or what it has in their place: the contract's free is not told a
//! size either. Only those that have no such free are told it.

#[cfg(any(feature = "smalloc", feature = "talc"))]
mod embedded;
#[cfg(any(feature = "rpmalloc", feature = "snmalloc", feature = "snmalloc-check"))]
mod foreign;
#[cfg(feature = "jemalloc")]
mod jemalloc;

use std::process::ExitCode;

use clap::Parser;
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

fn serve(name: &str, work: Work) -> Result<(), String> {
    match name {
        #[cfg(feature = "jemalloc")]
        "jemalloc" => work.run(&jemalloc::Jemalloc),
        #[cfg(feature = "rpmalloc")]
        "rpmalloc" => work.run(&foreign::Rpmalloc::new()),
        #[cfg(feature = "snmalloc")]
        "snmalloc" => work.run(&foreign::Snmalloc),
        #[cfg(feature = "smalloc")]
        "smalloc" => work.run(&embedded::Smalloc::new()),
        #[cfg(feature = "talc")]
        "talc" => {
            let range = work.pool_bytes()?;
            work.run(&embedded::Talc::new(range)?)
        }
        #[cfg(feature = "mimalloc-secure")]
        "mimalloc-secure" => work.run(&storport_pool_lab::subjects::Mimalloc),
        #[cfg(feature = "snmalloc-check")]
        "snmalloc-check" => work.run(&foreign::Snmalloc),
        #[cfg(feature = "pool-checked")]
        "pool-checked" => storport_pool_lab::worker::pool_worker(work),
        #[cfg(feature = "jemalloc")]
        name if let Some(way) = name.strip_prefix("jemalloc ") => work.run(&jemalloc::Batches::new(way)?),
        name => Err(format!("there is no allocator {name:?} here")),
    }
}
