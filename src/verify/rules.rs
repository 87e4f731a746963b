//! Rules as others read them while one is changed: each under a version of its own.

use super::stacks::StackId;
use super::tables::RuleSlot;
use super::verifier::Verifier;
use crate::contract::adapter::AdapterId;
use crate::contract::pattern::TagPattern;
use crate::contract::tag::PoolTag;
use crate::contract::verify::rule::{LowResources, Rule, checks};
use crate::sync::{Ordering, fence};

const CHANGING: u64 = 1;
const ACTIVE: u64 = 2;
const COUNT: u64 = 4;

impl RuleSlot {
    /// The rule and its version. `None`: there is none, or it is being changed.
    fn read(&self) -> Option<(Rule, u64)> {
        // ORDERING: Acquire - the words; pairs with the Release in `publish`.
        let version = self.version.load(Ordering::Acquire);
        if version & ACTIVE == 0 {
            return None;
        }
        // ORDERING: Relaxed - between the two looks at the version.
        let [owner, low_tags, high_tags, chance, only, after, seed, once] =
            [0, 1, 2, 3, 4, 5, 6, 7].map(|n| self.words[n].load(Ordering::Relaxed));
        // ORDERING: Acquire - the words before the second look; pairs with the fence in `publish`.
        fence(Ordering::Acquire);
        // ORDERING: Relaxed - behind the fence.
        if self.version.load(Ordering::Relaxed) != version {
            return None;
        }
        let low = LowResources {
            probability: (chance >> 32) as u32,
            every: chance as u32,
            only,
            after,
            once_per_stack: once != 0,
            seed,
        };
        let adapter = (owner >> 32 != 0).then_some(AdapterId((owner >> 32) as u32));
        Some((
            Rule { adapter, tags: TagPattern::from_words([low_tags, high_tags]), checks: owner as u32, low },
            version,
        ))
    }

    /// The caller alone changes rules.
    fn publish(&self, rule: &Rule) -> u64 {
        // ORDERING: Relaxed - nobody else writes it.
        let version = (self.version.load(Ordering::Relaxed) & !(CHANGING | ACTIVE)) + COUNT;
        self.version.store(version | CHANGING, Ordering::Relaxed);
        // ORDERING: Release - the version before the words; pairs with the Acquire fence in `read`.
        fence(Ordering::Release);
        let words = [
            u64::from(rule.adapter.map_or(0, |adapter| adapter.0)) << 32 | u64::from(rule.checks),
            rule.tags.words()[0],
            rule.tags.words()[1],
            u64::from(rule.low.probability) << 32 | u64::from(rule.low.every),
            rule.low.only,
            rule.low.after,
            rule.low.seed,
            rule.low.once_per_stack.into(),
        ];
        for (to, word) in self.words.iter().zip(words) {
            // ORDERING: Relaxed - between the two versions.
            to.store(word, Ordering::Relaxed);
        }
        // ORDERING: Relaxed, twice - published with the version.
        self.seen.store(0, Ordering::Relaxed);
        self.refused.store(0, Ordering::Relaxed);
        // ORDERING: Release - the words; pairs with the Acquire in `read`.
        self.version.store(version | ACTIVE, Ordering::Release);
        version | ACTIVE
    }
}

/// What is to be done with an allocation.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) checks: u32,
    /// The rules that refuse it, a bit each; 0: none does.
    pub(crate) refused_by: u32,
    /// The caller's stack, if it was taken.
    pub(crate) stack: Option<StackId>,
}

impl Verifier {
    /// The rules that are for an adapter and tag.
    fn matching(&self, owner: AdapterId, tag: PoolTag) -> impl Iterator<Item = (usize, Rule)> {
        self.rules.iter().enumerate().filter_map(move |(n, slot)| {
            let (rule, _) = slot.read()?;
            let its = rule.adapter.is_none_or(|adapter| adapter == owner) && rule.tags.matches(tag);
            its.then_some((n, rule))
        })
    }

    /// Whether any rule is for an adapter and tag.
    pub(crate) fn watches(&self, owner: AdapterId, tag: PoolTag) -> bool {
        self.matching(owner, tag).next().is_some()
    }

    /// What rules that are for an adapter and tag check, together.
    pub(crate) fn checks(&self, owner: AdapterId, tag: PoolTag) -> u32 {
        self.matching(owner, tag).fold(0, |checks, (_, rule)| checks | rule.checks)
    }

    /// What is to be done with an allocation, which is counted under its rules.
    pub(crate) fn plan(&self, owner: AdapterId, tag: PoolTag) -> Plan {
        let mut plan = Plan { checks: 0, refused_by: 0, stack: None };
        for (n, rule) in self.matching(owner, tag) {
            plan.checks |= rule.checks;
            let slot = &self.rules[n];
            // ORDERING: Relaxed - numbers in some order.
            let number = slot.seen.fetch_add(1, Ordering::Relaxed);
            if !rule.low.is_on() || !rule.low.chooses(number) {
                continue;
            }
            let refuses = !rule.low.once_per_stack || {
                let stack = *plan.stack.get_or_insert_with(|| self.take_stack());
                self.first_from(stack, n)
            };
            if refuses {
                // ORDERING: Relaxed - a statistic.
                slot.refused.fetch_add(1, Ordering::Relaxed);
                plan.refused_by |= 1 << n;
            }
        }
        if plan.checks & checks::TRACK != 0 && plan.stack.is_none() {
            plan.stack = Some(self.take_stack());
        }
        plan
    }

    /// Adds a rule: its place and version. `None`: all places are taken. The caller alone changes rules.
    pub(crate) fn add_rule(&self, rule: &Rule) -> Option<(usize, u64)> {
        // ORDERING: Relaxed - nobody else writes it. One that says CHANGING did not survive a fork.
        let free = |slot: &RuleSlot| slot.version.load(Ordering::Relaxed) & ACTIVE == 0;
        let place = self.rules.iter().position(free)?;
        self.forget_rule(place);
        Some((place, self.rules[place].publish(rule)))
    }

    /// Takes away the rules that are for adapters which are gone. The caller alone changes rules.
    pub(crate) fn forget_rules(&self, gone: impl Fn(AdapterId) -> bool) {
        for (place, slot) in self.rules.iter().enumerate() {
            if let Some((rule, version)) = slot.read()
                && rule.adapter.is_some_and(&gone)
            {
                self.remove_rule(place, version);
            }
        }
    }

    /// Takes the rule away that has this place and version. `None`: there is no such rule. The caller alone changes
    /// rules.
    pub(crate) fn remove_rule(&self, place: usize, version: u64) -> Option<()> {
        let slot = self.rules.get(place)?;
        let _ = slot.read().filter(|&(_, seen)| seen == version)?;
        // ORDERING: Release - as in `publish`; the words stay.
        slot.version.store(version & !ACTIVE, Ordering::Release);
        Some(())
    }

    /// How many allocations a rule was for, and how many of them it refused.
    pub(crate) fn rule_counts(&self, place: usize, version: u64) -> Option<(u64, u64)> {
        let slot = self.rules.get(place)?;
        let _ = slot.read().filter(|&(_, seen)| seen == version)?;
        // ORDERING: Relaxed, twice - statistics.
        Some((slot.seen.load(Ordering::Relaxed), slot.refused.load(Ordering::Relaxed)))
    }
}
