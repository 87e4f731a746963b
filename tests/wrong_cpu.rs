//! A masking host that gives two CPUs one number breaks its promise: debug assertions tell, before a block is handed
//! out twice for long.
#![cfg(debug_assertions)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::*;
use storport_pool::{Host, Irql, MaskInterrupts, Masked, PoolOptions};

/// Masks nothing, and says that every thread runs on CPU 0.
struct Wrong;

impl Host for Wrong {
    fn cpu(&self) -> u32 {
        0
    }

    fn irql(&self) -> Irql {
        Irql::PASSIVE
    }
}

// SAFETY: it is not: that is what the test is about. Nobody touches a block.
unsafe impl MaskInterrupts for Wrong {
    type State = ();

    fn mask(&self) {}

    fn unmask(&self, (): ()) {}

    fn fence(&self, _: u32) {}
}

#[test]
fn two_cpus_with_one_number_are_told() {
    let told = AtomicBool::new(false);
    let start = Instant::now();
    while !told.load(Ordering::Relaxed) {
        assert!(start.elapsed() < Duration::from_secs(60), "nobody was told");
        let pool = PoolOptions::new(4 << 20).build_on(Masked::new(Wrong)).unwrap();
        let id = pool.add_adapter("disk").unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let calls = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        for _ in 0..20_000 {
                            if let Ok(block) = alloc(&pool, id, 64) {
                                // Perhaps another one's, too.
                                let _ = free(&pool, id, block);
                            }
                        }
                    }));
                    if let Err(panic) = calls {
                        let words = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        if words.contains("two masked sections at once") {
                            told.store(true, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        // Its words may be anything by now.
        std::mem::forget(pool);
    }
}
