//! How the runs are made.

use core::time::Duration;

use crate::contract::verify::rule::{LowResources, Rule, mix};
use std::vec::Vec;

/// Which allocations [`Pool::fail_each`](crate::Pool::fail_each) refuses, one in each run, and how it makes the runs.
/// The functions run at any IRQL.
///
/// ```
/// use std::time::Duration;
/// use storport_pool::{FailEach, Rule, TagPattern};
/// // Only tags that begin with `Srb`, at most a hundred runs, chosen by chance.
/// let rule = Rule::new().tags(TagPattern::new("Srb*")?);
/// let some = FailEach::new(rule).most(100).seed(7);
/// // Each tenth allocation, a second for each run, and no more after the first finding.
/// let quick = FailEach::new(rule).step(10).limit(Duration::from_secs(1)).stop_at_first(true);
/// // For a debugger: no child processes.
/// let here = FailEach::new(rule).in_process();
/// # Ok::<(), storport_pool::TagError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "options do something once they are passed to `Pool::fail_each`"]
pub struct FailEach {
    pub(crate) rule: Rule,
    pub(crate) limit: Duration,
    pub(crate) most: u64,
    pub(crate) step: u64,
    pub(crate) seed: u64,
    pub(crate) stop: bool,
    pub(crate) children: bool,
}

impl FailEach {
    /// Refuses the allocations that match the rule's adapter and tags. The rule's checks hold in each run, and call
    /// stacks are tracked. Its low resources are left out.
    ///
    /// By default a run has ten seconds, each n is tried, and runs are in child processes.
    pub const fn new(rule: Rule) -> FailEach {
        FailEach {
            rule: rule.low_resources(LowResources::new()).track(),
            limit: Duration::from_secs(10),
            most: u64::MAX,
            step: 1,
            seed: 0,
            stop: false,
            children: true,
        }
    }

    /// The time that a run has. Then its child process is killed. Without child processes there is no limit.
    pub const fn limit(mut self, time: Duration) -> FailEach {
        self.limit = time;
        self
    }

    /// The most runs with a refusal. They are the first ones, or with a [`seed`](Self::seed) any.
    pub const fn most(mut self, runs: u64) -> FailEach {
        self.most = runs;
        self
    }

    /// Tries the first n, and then each `step`-th. 0 counts as 1.
    pub const fn step(mut self, step: u64) -> FailEach {
        self.step = if step == 0 { 1 } else { step };
        self
    }

    /// Tries the values of n in an order by chance. The same seed gives the same order. 0: in ascending order.
    pub const fn seed(mut self, seed: u64) -> FailEach {
        self.seed = seed;
        self
    }

    /// Whether the first run with a finding is the last one.
    pub const fn stop_at_first(mut self, stop: bool) -> FailEach {
        self.stop = stop;
        self
    }

    /// Makes each run in this process, one after the other. Then a run's effects stay, a crash ends the process, and
    /// nothing ends a run that hangs.
    pub const fn in_process(mut self) -> FailEach {
        self.children = false;
        self
    }

    /// Which n are tried, of so many allocations, and in which order.
    pub(crate) fn chosen(&self, allocations: u64) -> Vec<u64> {
        let mut chosen: Vec<u64> = (1..=allocations).step_by(self.step as usize).collect();
        if self.seed != 0 {
            for end in (1..chosen.len()).rev() {
                chosen.swap(end, (mix(self.seed ^ mix(end as u64)) % (end as u64 + 1)) as usize);
            }
        }
        chosen.truncate(usize::try_from(self.most).unwrap_or(usize::MAX));
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_n_is_chosen_once_and_chance_is_the_same_again() {
        let all = FailEach::new(Rule::new());
        assert_eq!(all.chosen(0), []);
        assert_eq!(all.chosen(4), [1, 2, 3, 4]);
        assert_eq!(all.step(3).chosen(8), [1, 4, 7]);
        assert_eq!(all.step(0).most(2).chosen(8), [1, 2]);
        let by_chance = all.seed(9).chosen(50);
        assert_eq!(by_chance, all.seed(9).chosen(50));
        assert_ne!(by_chance, all.seed(10).chosen(50));
        assert_ne!(by_chance, all.chosen(50));
        assert_eq!(all.seed(9).most(5).chosen(50), by_chance[..5]);
        let mut sorted = by_chance;
        sorted.sort_unstable();
        assert_eq!(sorted, all.chosen(50));
    }
}
