//! The other half of a look at saved metadata: magazines, where they lie, and what is in them.

use super::saved::Saved;
use crate::contract::block::BlockState;
use crate::contract::fault::ImageFault;
use crate::contract::finding::{Finding, Subject};
use crate::layout::classes::{CLASS_SLOTS, Class, SLAB_CLASSES};
use crate::layout::cursor::{Cursor, MAGAZINE_WORDS};
use crate::stock::findings::Proof;
use crate::stock::parts::each_bit;
use crate::sync::Ordering;

type Checked = Result<(), ImageFault>;

impl Saved<'_> {
    /// A magazine that lies somewhere, and its blocks.
    fn magazine(&mut self, class: Class, cursor: Cursor, place: BlockState) -> Checked {
        let meta = self.meta;
        if !self.place(cursor)? {
            return Ok(());
        }
        let (room, most) = (cursor.room(), meta.capacity(class));
        // A depot's magazine says it in a word of its own, which was another one's before.
        let proof = if place == BlockState::Depot { Proof::Rest } else { Proof::Word };
        let finding = || {
            let at = u64::from(cursor.magazine());
            Finding::new("a magazine has more room than its size", Subject::Magazine, at)
                .found(room.into())
                .expected(most.into())
        };
        if !self.findings.ensure(room <= most, proof, finding)? {
            return Ok(());
        }
        (room..most).try_for_each(|n| self.meet_free(class, meta.get_id(cursor, n), place))
    }

    /// A magazine is where magazines are, and in one place.
    fn place(&mut self, cursor: Cursor) -> Result<bool, ImageFault> {
        let geometry = &self.meta.control().geometry;
        // ORDERING: Relaxed - as in `check`.
        let end = self.meta.control().arena_next.load(Ordering::Relaxed).min(geometry.arena_end.into());
        let at = cursor.magazine();
        let inside = cursor.is_magazine() && (geometry.arena..geometry.arena_end).contains(&at);
        let proof = if inside { Proof::Rest } else { Proof::Word };
        let known = inside && u64::from(at) < end;
        let finding = || {
            Finding::new("a magazine is where none was given out", Subject::Magazine, at.into())
                .found(cursor.0.into())
                .expected(end)
        };
        if !self.findings.ensure(known, proof, finding)? {
            return Ok(false);
        }
        let new = self.magazines.add((at - geometry.arena) / MAGAZINE_WORDS);
        self.findings.ensure(new, Proof::Rest, || {
            Finding::new("a magazine is in two places", Subject::Magazine, at.into())
        })
    }

    /// The magazines of a depot.
    pub(super) fn depot(&mut self, class: Class) -> Checked {
        let meta = self.meta;
        let geometry = &meta.control().geometry;
        for n in 0..geometry.full_words {
            // ORDERING: Relaxed, all - as in `check`.
            for bit in each_bit(meta.full_word(class, n).load(Ordering::Relaxed)) {
                let number = n as u64 * 64 + u64::from(bit);
                let at = u64::from(geometry.arena) + number * u64::from(MAGAZINE_WORDS);
                let of_depot = |what| Finding::new(what, Subject::DepotMagazine, number);
                let is = at < geometry.arena_end.into();
                let finding = || of_depot("a depot has a magazine that there is not");
                if !self.findings.ensure(is, Proof::Word, finding)? {
                    continue;
                }
                let cursor = Cursor(meta.magazine_link(at as u32).load(Ordering::Relaxed));
                let finding = || {
                    of_depot("a depot's magazine has another one's name").found(cursor.0.into()).expected(at)
                };
                if self.findings.ensure(u64::from(cursor.magazine()) == at, Proof::Rest, finding)? {
                    self.magazine(class, cursor, BlockState::Depot)?;
                }
            }
        }
        Ok(())
    }

    /// What a CPU has loaded, and its spares. The shared row has none.
    pub(super) fn caches(&mut self, cpu: u32) -> Checked {
        let meta = self.meta;
        let of_cpu = |what, found: Cursor| Finding::new(what, Subject::Cpu, cpu.into()).found(found.0.into());
        for class in (0..CLASS_SLOTS as u8).map(Class) {
            let serves = cpu < meta.control().cpus && (class.0 as usize) < SLAB_CLASSES;
            // ORDERING: Relaxed, all - as in `check`.
            let word = meta.cursor(cpu, class);
            let loaded = Cursor(word.load(Ordering::Relaxed));
            if loaded.is_magazine() && serves {
                self.magazine(class, loaded, BlockState::Loaded { cpu })?;
            } else if cpu < meta.control().cpus && (loaded.is_claimed() || loaded.is_stopped()) {
                // Whoever did that is no more. (Where spans are pages, the twin looks at the cursor of a class that has no
                // blocks first.)
                word.store(Cursor::NONE.0, Ordering::Relaxed);
            } else {
                self.findings.ensure(loaded == Cursor::NONE, Proof::Word, || {
                    of_cpu("a CPU has loaded what is no magazine", loaded)
                })?;
            }
            let spare = Cursor(meta.spare(cpu, class).load(Ordering::Relaxed));
            if spare.0 != 0
                && self
                    .findings
                    .ensure(serves, Proof::Word, || of_cpu("a CPU has a spare of no size", spare))?
            {
                self.magazine(class, spare, BlockState::Spare { cpu })?;
            }
        }
        Ok(())
    }

    /// The stock of empty magazines.
    pub(super) fn empties(&mut self) -> Checked {
        let meta = self.meta;
        let geometry = &meta.control().geometry;
        // ORDERING: Relaxed, all - as in `check`.
        let next = meta.control().arena_next.load(Ordering::Relaxed);
        let whole = next
            .checked_sub(geometry.arena.into())
            .is_some_and(|words| words.is_multiple_of(MAGAZINE_WORDS.into()) && next >> 48 == 0);
        self.findings
            .ensure(whole, Proof::Word, || Finding::new("the next magazine is none", Subject::Pool, next))?;
        let mut at = meta.control().empties.load(Ordering::Relaxed) as u32;
        while at != 0 {
            let cursor = Cursor(at);
            let named = self.findings.ensure(cursor.magazine() == at, Proof::Rest, || {
                Finding::new("an empty magazine's name is none", Subject::Magazine, at.into())
            })?;
            // One that was there already ends a circle.
            if !named || !self.place(cursor)? {
                return Ok(());
            }
            at = meta.magazine_link(at).load(Ordering::Relaxed);
        }
        Ok(())
    }
}
