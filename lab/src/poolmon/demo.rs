//! A process that has something to watch: adapters start and stop, requests come and go, a cache breathes, and one adapter
//! leaks.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use storport_pool::watch::{ReadError, Reader};
use storport_pool::{AdapterId, Pool, PoolTag, tag};

use crate::scenarios::replay;
use crate::subjects::{PoolSubject, Subject, alloc_touched};
use crate::watch::while_published;
use crate::workloads::{SEED, adapter_sets, flat_mix};

/// How long a watch may take until its first picture.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The demonstration's process. It ends when this is dropped, or this process ends: its input does.
#[derive(Debug)]
pub(crate) struct Demo {
    child: Child,
}

impl Demo {
    pub(crate) fn start() -> Result<Demo, String> {
        let failed = |error| format!("starting the demonstration: {error}");
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg("live").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Demo { child: command.spawn().map_err(failed)? })
    }

    /// Its watch, which it makes in a moment.
    pub(crate) fn reader(&self) -> Result<Reader, String> {
        let since = Instant::now();
        loop {
            match Reader::of_process(self.child.id()) {
                Err(ReadError::NotWatched(_)) if since.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                found => return found.map_err(|error| format!("the demonstration's watch: {error}")),
            }
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

const RANGE: u64 = 256 << 20;
/// A step of the demonstration, and how much of it the requests take.
const STEP: Duration = Duration::from_millis(20);
const BUSY: Duration = Duration::from_millis(2);

const STARTS: [(&str, PoolTag); 4] =
    [("ahci0", tag!("Ahci")), ("nvme0", tag!("NVMe")), ("vioblk0", tag!("VioB")), ("vioscsi0", tag!("VioS"))];

/// Blocks of one adapter and tag.
struct Kept<'a> {
    subject: PoolSubject<'a>,
    blocks: Vec<(*mut u8, u32)>,
}

impl<'a> Kept<'a> {
    fn new(pool: &'a Pool, adapter: AdapterId, tag: PoolTag) -> Kept<'a> {
        Kept { subject: PoolSubject { pool, adapter, tag }, blocks: Vec::new() }
    }

    fn add(&mut self, bytes: u32) {
        self.blocks.push((alloc_touched(&self.subject, bytes), bytes));
    }

    fn keep(&mut self, count: usize) {
        for (block, bytes) in self.blocks.drain(count.min(self.blocks.len())..) {
            // SAFETY: allocated by `add`, freed once.
            unsafe { self.subject.free(block, bytes) };
        }
    }
}

/// Is that process, until its input ends.
///
/// # Errors
/// A sentence, when there is no memory or no watch.
pub(crate) fn live() -> Result<(), String> {
    let pool = Pool::new(RANGE).map_err(|error| format!("the demonstration's pool: {error}"))?;
    let over = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&over);
    std::thread::spawn(move || {
        // Whatever comes: only the end matters.
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        // ORDERING: Relaxed, as below - a flag that says nothing of other memory.
        heard.store(true, Ordering::Relaxed);
    });
    while_published(&pool, || life(&pool, || over.load(Ordering::Relaxed)))?
}

fn life(pool: &Pool, over: impl Fn() -> bool) -> Result<(), String> {
    let add = |name: &str| pool.add_adapter(name).map_err(|error| format!("adapter {name}: {error}"));
    let mut rng = Rng::with_seed(SEED);
    let mut starts = Vec::new();
    for ((name, tag), set) in STARTS.into_iter().zip(adapter_sets()) {
        starts.push((Kept::new(pool, add(name)?, tag), set.sizes));
    }
    let io = add("disk0")?;
    let request = |tag| PoolSubject { pool, adapter: io, tag };
    let mut cache = Kept::new(pool, io, tag!("Cach"));
    let mut leak = Kept::new(pool, add("leaky0")?, tag!("LkRq"));
    let began = Instant::now();
    let (mut changes, mut leaks) = (0, 0);
    while !over() {
        let since = Instant::now();
        let seconds = began.elapsed().as_secs_f64();
        // An adapter starts or stops every two seconds.
        if seconds >= 2.0 * changes as f64 {
            let place = changes % starts.len();
            let (kept, sizes) = &mut starts[place];
            if kept.blocks.is_empty() {
                sizes.iter().for_each(|&bytes| kept.add(bytes))
            } else {
                kept.keep(0)
            }
            changes += 1;
        }
        replay(&request(tag!("ReqT")), &request(tag!("SrbX")), BUSY);
        // It breathes in ten seconds.
        let wanted = 2000.0 * (1.0 + (seconds / 10.0 * std::f64::consts::TAU).sin());
        let wanted = wanted as usize;
        for bytes in flat_mix(wanted.saturating_sub(cache.blocks.len()), &mut rng) {
            cache.add(bytes);
        }
        cache.keep(wanted);
        if seconds >= 0.5 * f64::from(leaks) {
            leak.add(80);
            leaks += 1;
        }
        std::thread::sleep(STEP.saturating_sub(since.elapsed()));
    }
    for (kept, _) in &mut starts {
        kept.keep(0);
    }
    cache.keep(0);
    leak.keep(0);
    Ok(())
}
