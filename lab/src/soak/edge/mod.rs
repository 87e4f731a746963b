//! The soak at the edge of exhaustion: threads keep a small pool nearly full, and no request is refused while more is
//! free than others may have in their hands.
//!
//! **What is known to be free.** Threads reserve each block in a budget before they allocate it, and give the
//! reservation back after they have freed it. So no more blocks are ever live than are reserved. A scene says how many
//! fit: its blocks are all of one size, or each is counted as what it may keep others from. So whatever is not reserved
//! is free, and could serve any request.
//!
//! **What may be in hands.** A thread may be stopped anywhere in a call, with one hand full:
//!
//! * a magazine: 64 blocks, but at most 256 KiB, and at most an eighth of the pool over the number of CPUs;
//! * or a span that becomes a slab or ceases to be one;
//! * or a run, where blocks are runs;
//! * a trim: 256 KiB of adjacent spans, but at most 16 of them, and what a sweep has in hand: a magazine of each CPU.
//!
//! A handler that interrupts a call may have a hand full beside it. The sum over all threads is the scene's allowance.
//!
//! **Which refusals are wrong.** The *safe limit* is what fits less the allowance. A refusal is wrong if no more than
//! that was reserved at any time of the call. Most of the time the budget ends at the safe limit; then each refusal is
//! wrong. Now and then it ends above all that fits; then requests must be refused, and mostly it cannot be told.
//!
//! A refusal beside a full pool, or one that a stopped thread's hand explains, is right, and counted as such. Slabs of
//! other sizes that are half used keep their memory from others. That is no fault either, and no scene has them, but
//! one in which each block counts as a whole slab.

mod actors;
mod budget;
mod scenes;

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::Soak;
use crate::out::say;
use crate::report::text::grouped;
use actors::{Round, Tally};
use scenes::Scene;

/// How long a scene is on at most.
const ROUND: Duration = Duration::from_secs(4);

/// Runs the scenes in turn, and prints what came of them.
///
/// # Errors
/// What was broken, with the seed, the round and its scene.
pub(super) fn run(options: &Soak) -> Result<(), String> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    let total = Duration::try_from_secs_f64(options.minutes * 60.0).map_err(|error| error.to_string())?;
    let scenes = Scene::all();
    // Each scene comes up, with handlers and without.
    let length = ROUND.min(total / (2 * scenes.len() as u32));
    let bar = ProgressBar::new(total.as_secs()).with_prefix("at the edge");
    if let Ok(style) =
        ProgressStyle::with_template("{prefix} {bar:30} {elapsed} of about {len} s, {wide_msg}")
    {
        bar.set_style(style);
    }
    let (start, mut all, mut rounds, mut rows) = (Instant::now(), Tally::default(), 0, Vec::new());
    rows.resize(scenes.len(), (0.0, Tally::default()));
    let (mut commit, mut first_wrong) = ("", None);
    while rounds < 2 * scenes.len() || start.elapsed() < total {
        let number = rounds % scenes.len();
        let scene = &scenes[number];
        let handlers = (rounds / scenes.len()) % 2 == 1;
        let round = Round::new(scene, options.commit.into(), handlers, seed ^ (rounds as u64) << 32)?;
        if rounds == 0 {
            commit = round.commit();
            say!("soak at the edge: seed {seed}, {commit}");
        }
        let began = Instant::now();
        let tally =
            round.run(length).map_err(|what| format!("round {rounds} of seed {seed}, {scene}: {what}"))?;
        rows[number].0 += began.elapsed().as_secs_f64();
        rows[number].1.add(&tally);
        all.add(&tally);
        if tally.wrong > 0 {
            first_wrong.get_or_insert_with(|| format!("round {rounds}, {scene}"));
        }
        rounds += 1;
        bar.set_position(start.elapsed().as_secs());
        bar.set_message(format!("round {rounds}, {} allocations", grouped(all.allocs)));
    }
    bar.finish_and_clear();
    say!("{rounds} rounds in {} s", start.elapsed().as_secs());
    for (scene, (seconds, tally)) in scenes.iter().zip(&rows) {
        say!(
            "{:>14} allocations, {:>5.2} M/s, {:>11} right refusals, {} wrong: {scene}",
            grouped(tally.allocs),
            tally.allocs as f64 / seconds / 1e6,
            grouped(tally.right),
            grouped(tally.wrong)
        );
    }
    for (what, count) in all.rows() {
        say!("{:>18} {what}", grouped(count));
    }
    say!("{:>18.3} refusals in a million allocations, {commit}", all.right as f64 * 1e6 / all.allocs as f64);
    match first_wrong {
        None => Ok(()),
        Some(first) => Err(format!(
            "seed {seed}: {} requests were refused while memory was free; first in {first}",
            grouped(all.wrong)
        )),
    }
}
