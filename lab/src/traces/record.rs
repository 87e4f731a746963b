//! Recording the calls of a pool's subject.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use storport_pool::{
    AdapterId, Irql, Pool, TraceEvent, TraceHeader, TraceKind, TraceRing, TraceThread, TraceWriter,
};

use crate::sink::Sink;
use crate::subjects::{PoolSubject, Subject};

/// Events that a CPU's lane has room for: 16 MiB.
const EVENTS: u32 = 1 << 19;
/// How often the file's thread looks.
const EVERY: Duration = Duration::from_millis(1);

/// A recording under way.
pub(crate) struct Recorder {
    ring: TraceRing<'static>,
    thread: TraceThread,
    began: Instant,
    file: Sink,
}

impl Recorder {
    /// Makes the file, and begins.
    ///
    /// # Errors
    /// A sentence, when the file cannot be written.
    pub(crate) fn start(file: &Sink, pool: &Pool) -> Result<Recorder, String> {
        let cannot = |error| file.refused(&error);
        let (base, bytes) = pool.range();
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32);
        let header = TraceHeader {
            pool: format!("{} MiB", bytes >> 20),
            what: "the built-in replay: all allocations and frees of the pool, adapters added and removed"
                .to_owned(),
            base,
            bytes,
            cpus,
            min_block: 16,
        };
        let out = file.open()?;
        // The ring is for as long as the process, since a thread drains it.
        let memory = Box::leak(vec![0; TraceRing::words(cpus, EVENTS)].into_boxed_slice());
        let (ring, drain) = TraceRing::over(memory, cpus).map_err(|error| error.to_string())?;
        let writer = TraceWriter::new(out, &header).map_err(cannot)?;
        let thread = TraceThread::spawn(drain, writer, EVERY).map_err(cannot)?;
        Ok(Recorder { ring, thread, began: Instant::now(), file: file.clone() })
    }

    /// Ends the file; a sentence on what it holds.
    ///
    /// # Errors
    /// A sentence, when the file could not be written.
    pub(crate) fn finish(self) -> Result<String, String> {
        let counts = self.thread.finish().map_err(|error| self.file.refused(&error))?;
        let dropped = match counts.dropped {
            0 => "none was dropped".to_owned(),
            dropped => format!("{dropped} more were dropped, since the ring was full"),
        };
        Ok(format!(
            "Recorded {} calls in '{}'; {dropped}. The pool's times include the recording.",
            counts.events,
            self.file.name()
        ))
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Adds a call that has no block.
    pub(crate) fn adapter(&self, kind: TraceKind, adapter: AdapterId) {
        self.push(TraceEvent { adapter, time: self.now(), ..TraceEvent::new(kind) });
    }

    fn push(&self, event: TraceEvent) {
        self.ring.push(&TraceEvent { thread: thread(), cpu: cpu(), irql: Irql::current(), ..event });
    }
}

/// A number of the calling thread's own, from 0 up.
fn thread() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static THREAD: Cell<Option<u32>> = const { Cell::new(None) };
    }
    THREAD.get().unwrap_or_else(|| {
        // ORDERING: Relaxed - a number that nobody else gets.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        THREAD.set(Some(number));
        number
    })
}

#[cfg(target_os = "linux")]
fn cpu() -> u32 {
    nix::sched::sched_getcpu().map_or(0, |cpu| cpu as u32)
}

#[cfg(not(target_os = "linux"))]
fn cpu() -> u32 {
    0
}

/// A pool whose calls are recorded, where there is a recorder.
pub(crate) struct Recorded<'a> {
    pub(crate) subject: PoolSubject<'a>,
    pub(crate) recorder: Option<&'a Recorder>,
}

impl Recorded<'_> {
    fn event(&self, kind: TraceKind, block: *mut u8) -> TraceEvent {
        TraceEvent { adapter: self.subject.adapter, address: block.addr() as u64, ..TraceEvent::new(kind) }
    }
}

impl Subject for Recorded<'_> {
    fn name(&self) -> &'static str {
        self.subject.name()
    }

    #[inline(always)]
    unsafe fn alloc(&self, bytes: u32) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = unsafe { self.subject.alloc(bytes) };
        if let Some(recorder) = self.recorder {
            let event = self.event(TraceKind::Allocate, block);
            let status = match block.is_null() {
                true => storport_pool::Status::INSUFFICIENT_RESOURCES,
                false => event.status,
            };
            // The time after an allocation and before a free: so the times of one address tell its owners apart.
            let time = recorder.now();
            recorder.push(TraceEvent { bytes, tag: self.subject.tag, status, time, ..event });
        }
        block
    }

    #[inline(always)]
    unsafe fn free(&self, block: *mut u8, bytes: u32) {
        let event = self
            .recorder
            .map(|recorder| TraceEvent { time: recorder.now(), ..self.event(TraceKind::Free, block) });
        // SAFETY: the caller's promise.
        unsafe { self.subject.free(block, bytes) };
        if let (Some(recorder), Some(event)) = (self.recorder, event) {
            recorder.push(event);
        }
    }
}
