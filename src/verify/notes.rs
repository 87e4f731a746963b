//! Notes: what the verifier knows of a block, live or freed.

use super::stacks::StackId;
use super::tables::NoteSlot;
use super::verifier::Verifier;
use crate::contract::verify::rule::mix;
use crate::layout::block::BlockId;
use crate::layout::meta::Meta;
use crate::layout::state::{LIVE, State};
use crate::sync::{Ordering, fence};

/// What a note says.
#[derive(Clone, Copy)]
pub(crate) struct Note {
    pub(crate) ticket: u32,
    pub(crate) state: State,
    pub(crate) bytes: u32,
    pub(crate) room: u32,
    pub(crate) checks: u32,
    pub(crate) allocated: StackId,
    pub(crate) freed: StackId,
}

/// In a note's checks: the block was freed since.
const FREED: u32 = 1 << 31;
/// Places of a bucket; a block may stand in two buckets.
const BUCKET: usize = 8;

const fn halves(above: u32, below: u32) -> u64 {
    (above as u64) << 32 | below as u64
}

impl Verifier {
    /// The places where a block's note may stand.
    fn places(&self, block: BlockId) -> impl Iterator<Item = &NoteSlot> {
        let notes = self.notes();
        let hash = mix(block.0.into());
        let buckets = notes.len() / BUCKET;
        let (first, second) = (hash as usize % buckets, (hash >> 32) as usize % buckets);
        [first, second].into_iter().flat_map(move |bucket| &notes[bucket * BUCKET..(bucket + 1) * BUCKET])
    }

    /// Notes a block in hand that will be live with this state. Without a place the block has no note.
    pub(crate) fn note_allocated(&self, block: BlockId, note: Note) {
        // ORDERING: Relaxed - any two tickets of a block differ. In a key, odd: its words are being written.
        let ticket = self.counters.tickets.fetch_add(2, Ordering::Relaxed) as u32;
        let key = halves(block.0 + 1, ticket);
        let of_block = |seen: u64| (seen >> 32) as u32 == block.0 + 1;
        // What it was noted for before, an empty place, or that of a block which was freed. Nobody else makes a note of a
        // block in hand.
        let looks = self.places(block).chain(self.places(block)).chain(self.places(block));
        let taken = looks.enumerate().find_map(|(n, slot)| {
            // ORDERING: Acquire - before the look at its words; the exchange decides.
            let seen = slot.key.load(Ordering::Acquire);
            let wanted = match n / (2 * BUCKET) {
                _ if of_block(seen) => true,
                0 => false,
                1 => seen == 0,
                // ORDERING: Relaxed - of the note with this key, or the exchange fails.
                _ => (slot.how.load(Ordering::Relaxed) >> 32) as u32 & FREED != 0,
            };
            // ORDERING: AcqRel - Acquire: who evicted the former note; Release: nothing yet.
            (wanted && slot.key.compare_exchange(seen, key | 1, Ordering::AcqRel, Ordering::Relaxed).is_ok())
                .then_some(slot)
        });
        let Some(slot) = taken else {
            // ORDERING: Relaxed - a statistic.
            self.counters.notes_left_out.fetch_add(1, Ordering::Relaxed);
            return;
        };
        // ORDERING: Release - the odd key before the words; pairs with the Acquire fence in `note_of`.
        fence(Ordering::Release);
        // ORDERING: Relaxed, all - between the two keys.
        slot.what.store(halves(note.state.0, note.bytes), Ordering::Relaxed);
        slot.how.store(halves(note.checks, note.room), Ordering::Relaxed);
        slot.stacks.store(halves(note.allocated.0, note.freed.0), Ordering::Relaxed);
        // ORDERING: Release - the words; pairs with the Acquire in `slot_of`.
        slot.key.store(key, Ordering::Release);
    }

    fn slot_of(&self, block: BlockId) -> Option<(&NoteSlot, u64)> {
        self.places(block).find_map(|slot| {
            // ORDERING: Acquire - before its words.
            let key = slot.key.load(Ordering::Acquire);
            ((key >> 32) as u32 == block.0 + 1).then_some((slot, key))
        })
    }

    /// What is known of a block whose state is this one, or was before it was freed.
    pub(crate) fn note_of(&self, block: BlockId, state: State) -> Option<Note> {
        let (slot, key) = self.slot_of(block)?;
        // ORDERING: Relaxed, all - between the two looks at the key.
        let [what, how, stacks] =
            [&slot.what, &slot.how, &slot.stacks].map(|word| word.load(Ordering::Relaxed));
        // ORDERING: Acquire - the words before the second look; pairs with the Release fence in `note_allocated`.
        fence(Ordering::Acquire);
        let note = Note {
            ticket: key as u32,
            state: State((what >> 32) as u32),
            bytes: what as u32,
            room: how as u32,
            checks: (how >> 32) as u32,
            allocated: StackId((stacks >> 32) as u32),
            freed: StackId(stacks as u32),
        };
        // ORDERING: Relaxed - behind the fence.
        let same = key & 1 == 0 && slot.key.load(Ordering::Relaxed) == key;
        // What was freed, and is live in the same name again, is no verified block: an orphan.
        let current = note.checks & FREED == 0 || state.0 & LIVE == 0;
        (same && current && note.state.freed() == state.freed()).then_some(note)
    }

    /// Notes where a claimed block was freed. Its ticket.
    pub(crate) fn note_freed(&self, block: BlockId, stack: StackId) -> Option<u32> {
        let (slot, key) = self.slot_of(block)?;
        // ORDERING: Relaxed, all - the block is in hand.
        let stacks = slot.stacks.load(Ordering::Relaxed);
        slot.stacks.store(stacks >> 32 << 32 | u64::from(stack.0), Ordering::Relaxed);
        let how = slot.how.load(Ordering::Relaxed);
        slot.how.store(how | u64::from(FREED) << 32, Ordering::Relaxed);
        Some(key as u32)
    }

    /// Takes a freed block's note away, if it is still this one.
    pub(crate) fn forget(&self, block: BlockId, ticket: u32) {
        if let Some((slot, key)) = self.slot_of(block).filter(|&(_, key)| key as u32 == ticket) {
            // ORDERING: AcqRel - as in `note_allocated`. Fails if the block has another note by now.
            let _ = slot.key.compare_exchange(key, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// Takes all notes away. Nobody else uses the verifier.
    #[cfg(all(feature = "alloc", not(storport_pool_loom)))]
    pub(crate) fn forget_notes(&self) {
        for slot in self.notes() {
            // ORDERING: Relaxed - the caller is alone.
            slot.key.store(0, Ordering::Relaxed);
        }
    }
}

impl Meta {
    /// A block in hand has no note any more.
    pub(crate) fn forget_note(&self, block: BlockId) {
        let noted = self.verifier().and_then(|verifier| Some((verifier, verifier.slot_of(block)?)));
        if let Some((verifier, (_, key))) = noted {
            verifier.forget(block, key as u32);
        }
    }
}
