//! A pool with one adapter, and what its hook heard.

use std::sync::{Arc, Mutex};

use storport_pool::{
    AdapterId, Commit, Native, Pool, PoolOptions, PoolTag, Rule, Status, VerifierOptions, Violation, tag,
};

pub struct Bench {
    pub pool: Pool<Native>,
    pub disk: AdapterId,
    heard: Arc<Mutex<Vec<Violation>>>,
}

impl Bench {
    pub fn new(bytes: u64, commit: Commit) -> Bench {
        let pool = PoolOptions::new(bytes).cpus(4).commit(commit).build().unwrap();
        let disk = pool.add_adapter("disk0").unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = Arc::clone(&heard);
        pool.on_violation(move |violation| ears.lock().unwrap().push(*violation));
        Bench { pool, disk, heard }
    }

    pub fn with(rule: Rule) -> Bench {
        let bench = Bench::new(64 << 20, Commit::Auto);
        bench.pool.verifier(VerifierOptions::new()).unwrap().add(rule).unwrap();
        bench
    }

    pub fn allocate(&self, bytes: u32) -> u64 {
        self.try_allocate(bytes, tag!("Srb0")).unwrap()
    }

    pub fn try_allocate(&self, bytes: u32, tag: PoolTag) -> Result<u64, Status> {
        let mut block = 0;
        self.pool.allocate(self.disk, bytes, tag, Some(&mut block)).ok().map(|()| block)
    }

    #[track_caller]
    pub fn free(&self, block: u64) {
        // SAFETY: nobody uses the block, but where a test says so.
        assert_eq!(unsafe { self.pool.free(self.disk, block) }, Status::SUCCESS);
    }

    pub fn heard(&self) -> Vec<Violation> {
        std::mem::take(&mut self.heard.lock().unwrap())
    }

    /// The one violation that was heard.
    #[track_caller]
    pub fn one(&self) -> Violation {
        let heard = self.heard();
        assert_eq!(heard.len(), 1, "{:?}", heard.iter().map(|violation| violation.kind).collect::<Vec<_>>());
        heard[0]
    }

    /// Nothing is lost: all of the range is free again.
    #[track_caller]
    pub fn all_is_free(&self) {
        if let Some(verifier) = self.pool.attached() {
            verifier.sweep();
        }
        self.pool.trim().unwrap();
        let snapshot = self.pool.snapshot();
        assert_eq!(snapshot.free_bytes, snapshot.range_bytes);
    }
}

pub fn write(address: u64, bytes: &[u8]) {
    // SAFETY: memory of the pool's, which nobody else uses.
    unsafe { (address as *mut u8).copy_from(bytes.as_ptr(), bytes.len()) };
}
