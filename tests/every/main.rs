//! The n-th allocation fails, for every n: what the driver finds, and what it leaves alone.

#![cfg(all(feature = "verifier", target_os = "linux"))]

mod options;
mod paths;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use storport_pool::{
    AdapterId, Commit, FailEach, FailReport, Native, Pool, PoolOptions, PoolTag, Rule, Violation,
};

/// Runs fork: one test at a time, so that no other thread holds what a child needs.
static ALONE: Mutex<()> = Mutex::new(());

struct Bench {
    pool: Pool<Native>,
    disk: AdapterId,
    heard: Arc<Mutex<Vec<Violation>>>,
    _alone: MutexGuard<'static, ()>,
}

impl Bench {
    fn new(commit: Commit) -> Bench {
        let alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let pool = PoolOptions::new(16 << 20).cpus(4).commit(commit).build().unwrap();
        let disk = pool.add_adapter("disk0").unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = Arc::clone(&heard);
        pool.on_violation(move |violation| ears.lock().unwrap().push(*violation));
        Bench { pool, disk, heard, _alone: alone }
    }

    fn get(&self, bytes: u32, tag: PoolTag) -> Option<u64> {
        let mut block = 0;
        self.pool.allocate(self.disk, bytes, tag, Some(&mut block)).is_success().then_some(block)
    }

    /// Whether it was freed.
    fn put(&self, block: u64) -> bool {
        // SAFETY: nobody uses the block, and a second free is refused.
        unsafe { self.pool.free(self.disk, block) }.is_success()
    }

    fn each(&self) -> FailEach {
        FailEach::new(Rule::new().adapter(self.disk)).limit(Duration::from_secs(60))
    }

    fn live(&self) -> u64 {
        self.pool.usage().live
    }
}

/// Each way of committing, in child processes and without.
fn each_way(mut check: impl FnMut(&Bench, FailEach, bool)) {
    for commit in [Commit::Auto, Commit::Portable] {
        for children in [true, false] {
            let bench = Bench::new(commit);
            let each = if children { bench.each() } else { bench.each().in_process() };
            check(&bench, each, children);
        }
    }
}

fn numbers(report: &FailReport) -> Vec<u64> {
    report.findings().map(|run| run.n).collect()
}
