//! Recording a pool's calls, while it runs, into a trace.

use std::boxed::Box;
use std::format;
use std::io::{self, Write};
use std::time::Duration;
use std::vec;

use crate::contract::verify::rule::Rule;
use crate::percpu::platform::Platform;
use crate::pool::verifier::{RuleId, Verifier};
use crate::trace::file::{TraceCounts, header::TraceHeader, thread::TraceThread, write::TraceWriter};
use crate::trace::ring::TraceRing;

/// Events of a lane: 512 KiB.
const EVENTS: u32 = 1 << 14;
const EVERY: Duration = Duration::from_millis(1);

/// A recording that is under way. [`finish`](Recording::finish) ends it. If it is dropped before, its file has no end:
/// it is torn. [`Verifier::record`] starts one, and has an example.
#[must_use = "a recording ends by `finish`"]
pub struct Recording<'pool, P: Platform> {
    verifier: Verifier<'pool, P>,
    rule: RuleId,
    thread: Option<TraceThread>,
    /// A forked child has no thread that writes.
    process: u32,
}

impl<'pool, P: Platform> Verifier<'pool, P> {
    /// Records the calls that match a rule's adapter and tags, until the recording is finished: the allocations from
    /// now on, and the frees of what they gave. `storport-pool replay` runs the file. One recording at a time. PASSIVE.
    ///
    /// Each such call takes the slow path, and pushes one event of 32 bytes: two locked instructions more, nine at
    /// most. A thread writes the events to `to` every millisecond. When it cannot keep up, events are dropped, and the
    /// file says how many, and where. The memory of the ring (512 KiB for each CPU) is never given back.
    ///
    /// # Errors
    /// What [`add`](Self::add) says; `ResourceBusy`, if a recording is under way; what `to` says.
    ///
    /// ```
    /// # #[cfg(feature = "verifier")] {
    /// use storport_pool::{Pool, Rule, Status, TraceReader, VerifierOptions, tag};
    /// let pool = Pool::new(64 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// let path = std::env::temp_dir().join(format!("{}.trace", std::process::id()));
    /// let recording = pool
    ///     .verifier(VerifierOptions::new())?
    ///     .record(Rule::new().adapter(disk), std::fs::File::create(&path)?)?;
    /// let mut block = 0;
    /// assert_eq!(pool.allocate(disk, 208, tag!("Srb0"), Some(&mut block)), Status::SUCCESS);
    /// assert_eq!(unsafe { pool.free(disk, block) }, Status::SUCCESS);
    /// assert_eq!(recording.finish()?.events, 2);
    /// let trace = TraceReader::new(std::fs::File::open(&path)?)?;
    /// assert_eq!(trace.count(), 2);
    /// # std::fs::remove_file(path)?;
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn record<W: Write + Send + 'static>(&self, rule: Rule, to: W) -> io::Result<Recording<'pool, P>> {
        if self.is_recording() {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "a recording is under way"));
        }
        let control = self.pool().meta.control();
        let (_, bytes) = self.pool().range();
        let header = TraceHeader {
            pool: format!("{} KiB, {} CPUs", bytes >> 10, control.cpus),
            what: match rule.adapter {
                Some(adapter) => format!("calls of {adapter}, tags {}", rule.tags),
                None => format!("calls of all adapters, tags {}", rule.tags),
            },
            ..TraceHeader::default()
        };
        let writer = TraceWriter::new(to, &header)?;
        let memory = Box::leak(vec![0; TraceRing::words(control.cpus, EVENTS)].into_boxed_slice());
        let (ring, drain) = TraceRing::over(memory, control.cpus).map_err(io::Error::other)?;
        if !self.start_ring(Box::leak(Box::new(ring))) {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "a recording is under way"));
        }
        let started = TraceThread::spawn(drain, writer, EVERY)
            .and_then(|thread| Ok((self.add(rule.recorded()).map_err(io::Error::other)?, thread)));
        match started {
            Ok((rule, thread)) => {
                Ok(Recording { verifier: *self, rule, thread: Some(thread), process: std::process::id() })
            }
            Err(error) => {
                self.stop_ring();
                Err(error)
            }
        }
    }
}

impl<P: Platform> Recording<'_, P> {
    /// Ends the recording, and waits for its thread. The answer is how many events the file has, and how many were
    /// dropped. Frees that come later are not recorded. PASSIVE. [`Verifier::record`] has an example.
    ///
    /// In a forked child it ends the child's copy alone, and is an error: the parent writes the file.
    ///
    /// # Errors
    /// What the output said, at any time.
    pub fn finish(mut self) -> io::Result<TraceCounts> {
        self.stop();
        if std::process::id() != self.process {
            core::mem::forget(self.thread.take());
            return Err(io::Error::other("the recording is the parent process's"));
        }
        self.thread.take().map_or_else(|| Ok(TraceCounts::default()), TraceThread::finish)
    }

    fn stop(&mut self) {
        // Another call may be changing rules.
        while self.verifier.remove(self.rule) == Err(crate::pool::verifier::VerifierError::Busy) {
            std::thread::yield_now();
        }
        self.verifier.stop_ring();
    }
}

impl<P: Platform> Drop for Recording<'_, P> {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop();
        }
    }
}
