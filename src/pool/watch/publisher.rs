//! A thread that publishes.

use alloc::borrow::ToOwned;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};
use std::time::Duration;

use super::error::WatchError;
use super::process::own_pid;
use super::writer::Watch;
use crate::percpu::platform::Platform;
use crate::pool::handle::Pool;

/// Shorter periods are as long.
const LEAST_PERIOD: Duration = Duration::from_millis(1);
const NAME: &str = "pool watch";

/// Whether the thread is to end, and what wakes it.
#[derive(Debug, Default)]
struct Stop {
    asked: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    fn ask(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits a period out; true: the end was asked for.
    fn wait(&self, period: Duration) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(asked, period, |asked| !*asked);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A thread that publishes a pool's pictures. [`Watch::publish_every`](super::Watch::publish_every) starts it, and has
/// an example. It ends when this is dropped: it publishes a last picture, and removes the file.
///
/// A forked child has no such thread, and dropping this does nothing there.
#[derive(Debug)]
#[must_use = "the thread ends when this is dropped"]
pub struct Publisher<'scope> {
    stop: Arc<Stop>,
    thread: Option<Thread<'scope>>,
    pid: u32,
    path: PathBuf,
}

#[derive(Debug)]
enum Thread<'scope> {
    Own(JoinHandle<()>),
    Scoped(ScopedJoinHandle<'scope, ()>),
}

impl Publisher<'_> {
    /// Where the file is. Any IRQL. [`Watch::publish_every`](super::Watch::publish_every) has an example.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Publisher<'_> {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if own_pid() != self.pid {
            // The parent's thread. Its lock may have been held at the fork, so that it is not touched.
            core::mem::forget(thread);
            return;
        }
        self.stop.ask();
        // It does not panic; if it did, it published no more, and that is all.
        let _ = match thread {
            Thread::Own(thread) => thread.join(),
            Thread::Scoped(thread) => thread.join(),
        };
    }
}

fn run<P: Platform>(mut watch: Watch, pool: &Pool<P>, period: Duration, stop: &Stop) {
    loop {
        // What fails is counted, and the next picture says so.
        let _ = watch.publish(pool);
        if stop.wait(period.max(LEAST_PERIOD)) {
            break;
        }
    }
    let _ = watch.publish(pool);
}

impl Watch {
    /// Starts a thread that publishes the pool at once, and then after each period, of 1 ms at least. The pool is
    /// shared or lives for ever: `Arc::clone(&pool)`, or a `&'static Pool`. A publish that fails is counted
    /// ([`Picture::missed`](super::Picture::missed)), and the thread goes on. PASSIVE.
    ///
    /// # Errors
    /// [`WatchError::Os`]: the system has no thread. [`WatchError::Forked`].
    ///
    /// ```
    /// use std::{sync::Arc, time::Duration};
    /// use storport_pool::{Pool, watch::Watch};
    /// let pool = Arc::new(Pool::new(1 << 20)?);
    /// let path = std::env::temp_dir().join(format!("sp-doc-every-{}", std::process::id()));
    /// let publisher = Watch::create(&path)?.publish_every(Arc::clone(&pool), Duration::from_millis(100))?;
    /// assert!(publisher.path().exists());
    /// drop(publisher);
    /// assert!(!path.exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_every<P, T>(self, pool: T, period: Duration) -> Result<Publisher<'static>, WatchError>
    where
        P: Platform,
        T: Deref<Target = Pool<P>> + Send + 'static,
    {
        self.publisher(|watch, stop| {
            let work = move || run(watch, &pool, period, &stop);
            Builder::new().name(NAME.to_owned()).spawn(work).map(Thread::Own)
        })
    }

    /// As [`publish_every`](Watch::publish_every), for a pool that is borrowed: the thread belongs to the scope. Drop
    /// the publisher before the scope ends, since the scope waits for the thread. PASSIVE.
    ///
    /// # Errors
    /// As [`publish_every`](Watch::publish_every).
    ///
    /// ```
    /// use std::time::Duration;
    /// use storport_pool::{Pool, watch::Watch};
    /// let pool = Pool::new(1 << 20)?;
    /// let path = std::env::temp_dir().join(format!("sp-doc-scoped-{}", std::process::id()));
    /// let watch = Watch::create(&path)?;
    /// std::thread::scope(|scope| {
    ///     let publisher = watch.publish_scoped(scope, &pool, Duration::from_millis(100))?;
    ///     // ... work with the pool
    ///     drop(publisher);
    ///     Ok::<(), Box<dyn std::error::Error>>(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_scoped<'scope, P: Platform>(
        self,
        scope: &'scope Scope<'scope, '_>,
        pool: &'scope Pool<P>,
        period: Duration,
    ) -> Result<Publisher<'scope>, WatchError> {
        self.publisher(|watch, stop| {
            let work = move || run(watch, pool, period, &stop);
            Builder::new().name(NAME.to_owned()).spawn_scoped(scope, work).map(Thread::Scoped)
        })
    }

    fn publisher<'scope>(
        self,
        start: impl FnOnce(Watch, Arc<Stop>) -> std::io::Result<Thread<'scope>>,
    ) -> Result<Publisher<'scope>, WatchError> {
        self.is_ours()?;
        let (stop, pid, path) = (Arc::new(Stop::default()), own_pid(), self.path().to_owned());
        let thread = start(self, Arc::clone(&stop)).map_err(|error| {
            WatchError::Os("starting the thread that publishes", error.raw_os_error().unwrap_or(0))
        })?;
        Ok(Publisher { stop, thread: Some(thread), pid, path })
    }
}
