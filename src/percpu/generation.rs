//! Fork generations and claims: what tells a claim whose holder did not survive a fork from one that is held.
//!
//! A child is told by a word that the kernel wipes. Its first claim takes the next generation, and claims of the former
//! one count as free. But a handler may fork, and let the child go on in the call that it interrupted: then that call's
//! own claims are of the former generation. So each thread counts how many claims it is inside of, and while there is
//! one it renews no generation: what others left looks held until it has come out.

use crate::layout::cursor::{MAGAZINE_WORDS, next_generation};
use crate::layout::meta::Meta;
use crate::sync::{AtomicU32, Ordering};

/// The calling thread is inside a claim, from before it is taken until after it is given back.
pub(crate) struct Inside {
    #[cfg(feature = "std")]
    _depth: super::thread::Depth,
}

impl Inside {
    /// Comes before the claim.
    #[inline(always)]
    pub(crate) fn enter() -> Inside {
        Inside {
            #[cfg(feature = "std")]
            _depth: super::thread::Depth::enter(),
        }
    }

    /// Whether this is the only claim that the thread is inside of, so that it holds none yet.
    fn alone(&self) -> bool {
        #[cfg(feature = "std")]
        return super::thread::Depth::now() == 1;
        #[cfg(not(feature = "std"))]
        return true;
    }
}

impl Meta {
    /// The fork generation, for a claim that is about to be taken: claims and stopped cursors of another one count as
    /// free.
    #[inline(always)]
    pub(crate) fn generation(&self, inside: &Inside) -> u32 {
        // SAFETY: the word outlives the pool: it is part of the source's mapping, or of the
        // control block itself.
        let word = unsafe { &*self.control().fork_word };
        // ORDERING: Relaxed - a thread that comes later was made by one that renewed it, or renews it alike.
        match word.load(Ordering::Relaxed) {
            0 => self.renew_generation_slow(inside, word),
            generation => generation,
        }
    }

    /// The fork generation as a number of 24 bits, for words that say who will end a state.
    pub(crate) fn generation_number(&self) -> u32 {
        self.generation(&Inside::enter()) / MAGAZINE_WORDS
    }

    /// Reached by claims in a forked child, whose page was wiped, until one that no other surrounds.
    ///
    /// Stores alone: of several threads that come here at once, all store the same, since whoever sees the copy that
    /// another one stored last sees the word too.
    #[cold]
    fn renew_generation_slow(&self, inside: &Inside, word: &AtomicU32) -> u32 {
        let copy = &self.control().last_generation;
        // ORDERING: Acquire - pairs with the Release below, for the second look at the word.
        let last = copy.load(Ordering::Acquire);
        if !inside.alone() {
            // A handler's call, in the child that it made: what it interrupted goes on in the former generation.
            return last;
        }
        // ORDERING: Relaxed - after the copy.
        let seen = word.load(Ordering::Relaxed);
        if seen != 0 {
            return seen;
        }
        let next = next_generation(last);
        // ORDERING: Relaxed - published with the copy.
        word.store(next, Ordering::Relaxed);
        // ORDERING: Release - the word; pairs with the Acquire above.
        copy.store(next, Ordering::Release);
        next
    }

    /// A number for someone who stops cursors, which nobody else has meanwhile.
    pub(crate) fn claim_stealer(&self) -> Option<(Claim<'_>, u32)> {
        let stealers = self.control().stealers.iter();
        stealers.zip(0..).find_map(|(word, number)| Some((self.try_claim(word)?, number)))
    }

    /// Tries to take a claim. Busy means that somebody of this process holds it.
    pub(crate) fn try_claim<'a>(&self, claim: &'a AtomicU32) -> Option<Claim<'a>> {
        let inside = Inside::enter();
        let generation = self.generation(&inside);
        // ORDERING: Relaxed - a first look, the CAS decides.
        let seen = claim.load(Ordering::Relaxed);
        if seen == generation {
            return None;
        }
        // ORDERING: Acquire - sees what the last holder did; pairs with the Release in `drop`.
        claim.compare_exchange(seen, generation, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(Claim { word: claim, inside })
    }
}

/// A claim that is held; dropping it releases.
pub(crate) struct Claim<'a> {
    word: &'a AtomicU32,
    /// Left after the release.
    pub(crate) inside: Inside,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // ORDERING: Release - what the holder did is seen by the next one's Acquire.
        self.word.store(0, Ordering::Release);
    }
}
