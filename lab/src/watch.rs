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
