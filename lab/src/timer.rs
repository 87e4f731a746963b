//! Time stamps: the fenced time stamp counter where there is one, else the system's clock.

use std::time::{Duration, Instant};

/// Turns ticks into ns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    ns_per_tick: f64,
}

impl Clock {
    /// Compares the counter with the system's clock for 20 ms.
    pub(crate) fn calibrate() -> Clock {
        let (begin, first) = (Instant::now(), start());
        while begin.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        let (last, passed) = (stop(), begin.elapsed());
        Clock { ns_per_tick: passed.as_nanos() as f64 / last.wrapping_sub(first).max(1) as f64 }
    }

    /// By how much the counter steps, in ns: some processors advance it many ticks at a time.
    pub(crate) fn step_ns(&self) -> f64 {
        let mut passed: Vec<_> = (0..20_000)
            .map(|round| {
                let begin = start();
                for work in 0..round % 97 {
                    std::hint::black_box(work);
                }
                stop().wrapping_sub(begin)
            })
            .collect();
        passed.sort_unstable();
        // Between two reads that differ least, the counter made no step or one.
        let middle = &passed[passed.len() / 20..passed.len() / 2];
        let widest = middle.windows(2).map(|pair| pair[1] - pair[0]).max();
        self.ns(widest.unwrap_or(0))
    }

    pub(crate) fn ns(&self, ticks: u64) -> f64 {
        ticks as f64 * self.ns_per_tick
    }
}

/// The counter; nothing earlier in the program is still under way when it is read.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn start() -> u64 {
    use core::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: every x86-64 processor has both instructions.
    unsafe {
        _mm_lfence();
        _rdtsc()
    }
}

/// The counter; nothing later in the program begins before it is read.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn stop() -> u64 {
    use core::arch::x86_64::{__rdtscp, _mm_lfence};
    let mut cpu = 0;
    // SAFETY: every x86-64 processor since 2006 has them.
    unsafe {
        let ticks = __rdtscp(&raw mut cpu);
        _mm_lfence();
        ticks
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn start() -> u64 {
    static ORIGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    ORIGIN.elapsed().as_nanos() as u64
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn stop() -> u64 {
    start()
}
