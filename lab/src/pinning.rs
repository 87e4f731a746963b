//! Threads stay on their CPU while they are timed.

#[cfg(target_os = "linux")]
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
#[cfg(target_os = "linux")]
use nix::unistd::Pid;

/// The calling thread.
#[cfg(target_os = "linux")]
const THIS: Pid = Pid::from_raw(0);

/// The CPUs that the process may use, in order.
pub(crate) struct Cpus {
    allowed: Vec<usize>,
    #[cfg(target_os = "linux")]
    before: Option<CpuSet>,
}

impl Cpus {
    #[cfg(target_os = "linux")]
    pub(crate) fn detect() -> Cpus {
        let before = sched_getaffinity(THIS).ok();
        let is_set = |set: &CpuSet, cpu| set.is_set(cpu) == Ok(true);
        let allowed =
            before.iter().flat_map(|set| (0..CpuSet::count()).filter(|&cpu| is_set(set, cpu))).collect();
        Cpus { allowed, before }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn detect() -> Cpus {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        Cpus { allowed: (0..count).collect() }
    }

    pub(crate) fn count(&self) -> usize {
        self.allowed.len()
    }

    /// Pins the calling thread to the `place`-th CPU, or to the last one.
    #[cfg(target_os = "linux")]
    pub(crate) fn pin(&self, place: usize) -> bool {
        let Some(&cpu) = self.allowed.get(place).or(self.allowed.last()) else { return false };
        let mut set = CpuSet::new();
        set.set(cpu).and_then(|()| sched_setaffinity(THIS, &set)).is_ok()
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn pin(&self, _place: usize) -> bool {
        false
    }
}

/// Gives the thread its CPUs back.
impl Drop for Cpus {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(set) = &self.before {
            let _ = sched_setaffinity(THIS, set);
        }
    }
}
