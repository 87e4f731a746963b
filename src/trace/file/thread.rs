//! A thread that writes what a ring holds.

use std::io::{self, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::TraceCounts;
use super::write::TraceWriter;
use crate::trace::ring::TraceDrain;

/// A thread that drains a ring into a file, until it is [finished](TraceThread::finish).
///
/// If it is dropped before, the thread drains once more, and the file has no end: it is torn. A forked child has no
/// such thread. The functions are for PASSIVE.
///
/// ```
/// use std::time::Duration;
/// use storport_pool::{TraceEvent, TraceHeader, TraceKind, TraceRing, TraceThread, TraceWriter};
/// let memory = Box::leak(vec![0; TraceRing::words(2, 1024)].into_boxed_slice());
/// let (ring, drain) = TraceRing::over(memory, 2)?;
/// let writer = TraceWriter::new(std::io::sink(), &TraceHeader::default())?;
/// let thread = TraceThread::spawn(drain, writer, Duration::from_millis(1))?;
/// ring.push(&TraceEvent::new(TraceKind::Allocate));
/// assert_eq!(thread.finish()?.events, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TraceThread {
    stop: Sender<()>,
    thread: JoinHandle<io::Result<TraceCounts>>,
}

impl TraceThread {
    /// Starts the thread. It drains the ring, waits for `every`, and drains again. While the ring fills faster, it does
    /// not wait.
    ///
    /// # Errors
    /// The system has no thread.
    pub fn spawn<W: Write + Send + 'static>(
        mut drain: TraceDrain<'static>,
        mut writer: TraceWriter<W>,
        every: Duration,
    ) -> io::Result<TraceThread> {
        /// More events at once than these, and the next drain follows at once.
        const MANY: usize = 4096;
        let (stop, stopped) = channel();
        let work = move || {
            let mut pause = every;
            loop {
                match stopped.recv_timeout(pause) {
                    Err(RecvTimeoutError::Timeout) => {
                        pause = if writer.drain(&mut drain)? > MANY { Duration::ZERO } else { every };
                    }
                    Ok(()) => {
                        writer.drain_all(&mut drain)?;
                        return writer.finish().map(|(_, counts)| counts);
                    }
                    Err(RecvTimeoutError::Disconnected) => {
                        writer.drain_all(&mut drain)?;
                        writer.flush()?;
                        return Ok(writer.counts());
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("trace".into()).spawn(work)?;
        Ok(TraceThread { stop, thread })
    }

    /// Drains what is left, ends the file, and waits for the thread. The answer is what the file holds. Events that are
    /// pushed afterwards stay in the ring.
    ///
    /// # Errors
    /// What the output said, at any time.
    pub fn finish(self) -> io::Result<TraceCounts> {
        // A thread that has failed is gone, and says why below.
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the trace's thread panicked")))
    }
}
