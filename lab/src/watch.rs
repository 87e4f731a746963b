//! A pool that is watched while it works.

use std::time::Duration;

use storport_pool::Pool;

/// How often a picture is published: ten times a second.
pub(crate) const PERIOD: Duration = Duration::from_millis(100);

/// Does work while the pool's pictures are published where `poolmon --pid` finds them.
///
/// # Errors
/// A sentence, when the pool cannot be watched.
#[cfg(target_os = "linux")]
pub(crate) fn while_published<R>(pool: &Pool, work: impl FnOnce() -> R) -> Result<R, String> {
    use storport_pool::watch::Watch;

    let watch = Watch::for_this_process().map_err(|error| format!("watching the pool: {error}"))?;
    std::thread::scope(|scope| {
        let publisher = watch.publish_scoped(scope, pool, PERIOD);
        let publisher = publisher.map_err(|error| format!("watching the pool: {error}"))?;
        let done = work();
        drop(publisher);
        Ok(done)
    })
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn while_published<R>(_: &Pool, _: impl FnOnce() -> R) -> Result<R, String> {
    Err("watching a pool needs Linux".to_owned())
}

/// How long a watched replay goes on, at least.
#[cfg(target_os = "linux")]
const LONG: Duration = Duration::from_secs(30);

/// Does the work again and again while the pool is watched, for 30 seconds or until Ctrl-C, and gives the last round's
/// result. A second Ctrl-C ends the program at once.
///
/// # Errors
/// A sentence, when the pool cannot be watched, or the work's own.
#[cfg(target_os = "linux")]
pub(crate) fn repeated<R>(
    pool: &Pool,
    mut round: impl FnMut() -> Result<R, String>,
    progress: &mut (dyn FnMut(usize, usize, &str) + '_),
) -> Result<R, String> {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    use signal_hook::consts::SIGINT;
    use signal_hook::flag;

    let over = Arc::new(AtomicBool::new(false));
    // In this order: the first signal finds the flag unset.
    flag::register_conditional_default(SIGINT, Arc::clone(&over))
        .and_then(|_| flag::register(SIGINT, Arc::clone(&over)))
        .map_err(|error| format!("hearing of Ctrl-C: {error}"))?;
    let (began, of) = (Instant::now(), LONG.as_secs() as usize);
    while_published(pool, || {
        let mut rounds = 0_u64;
        loop {
            rounds += 1;
            let done = began.elapsed().as_secs() as usize;
            let now = format!("round {rounds}, watched: `storport-pool poolmon` shows it; Ctrl-C ends it");
            progress(done.min(of), of, &now);
            let result = round()?;
            // ORDERING: Relaxed - a flag that says nothing of other memory.
            if began.elapsed() >= LONG || over.load(Ordering::Relaxed) {
                return Ok(result);
            }
        }
    })?
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn repeated<R>(
    pool: &Pool,
    round: impl FnMut() -> Result<R, String>,
    _: &mut (dyn FnMut(usize, usize, &str) + '_),
) -> Result<R, String> {
    while_published(pool, round)?
}
