//! The soak: all kinds of traffic at once, for a long time. After each round everything comes to rest and is
//! compared with what its owners know; at the end memory must be what it was at the beginning.

mod actors;
mod block;
mod done;
mod edge;
mod interrupts;
mod memory;
mod world;

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::Soak;
use crate::out::say;
use crate::report::text::grouped;
use done::Done;
use memory::Memory;
use world::World;

/// How long a round is: long enough to fill the pool, short enough that many end.
const ROUND: Duration = Duration::from_secs(4);

/// Runs the soak, and prints what it did.
///
/// # Errors
/// What was broken, with the seed and the round that broke it.
pub(crate) fn run(options: &Soak) -> Result<(), String> {
    if options.edge {
        return edge::run(options);
    }
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    let total = Duration::try_from_secs_f64(options.minutes * 60.0).map_err(|error| error.to_string())?;
    let mut world = World::new(options.commit.into(), seed)?;
    say!("soak: seed {seed}, {}, {} workers", world.commit(), world.workers());
    let bar = ProgressBar::new(total.as_secs()).with_prefix("soaking");
    if let Ok(style) =
        ProgressStyle::with_template("{prefix} {bar:30} {elapsed} of about {len} s, {wide_msg}")
    {
        bar.set_style(style);
    }
    let (start, mut done, mut memory, mut rounds) = (Instant::now(), Done::default(), Memory::default(), 0);
    // At least two, so that there is something to compare.
    while rounds < 2 || start.elapsed() < total {
        let length = ROUND.min(total / 2);
        let broken = |what| format!("round {rounds} of seed {seed}: {what}");
        done.add(&world.round(rounds, length).map_err(broken)?);
        world.check().map_err(broken)?;
        world.bury().map_err(broken)?;
        if rounds.is_multiple_of(4) || start.elapsed() >= total {
            world.clear().map_err(broken)?;
            memory.note(rounds);
        }
        rounds += 1;
        bar.set_position(start.elapsed().as_secs());
        bar.set_message(format!("round {rounds}, {} calls", grouped(done.allocs + done.frees)));
    }
    bar.finish_and_clear();
    drop(world);
    say!("{rounds} rounds in {} s", start.elapsed().as_secs());
    for (what, count) in done.rows() {
        say!("{:>18} {what}", grouped(count));
    }
    say!("{memory}");
    if memory.is_flat() == Some(false) { Err(format!("seed {seed}: memory is not flat")) } else { Ok(()) }
}
