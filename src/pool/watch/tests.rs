//! Slots whose checksum is right and whose words are not.

use alloc::vec::Vec;

use super::decode::decode;
use super::encode::{Head, encode};
use super::error::ReadError;
use super::format::{SLOT_HEAD, SLOT_SUM, slot_sum};
use super::picture::Picture;
use crate::contract::tag::PoolTag;
use crate::pool::handle::Pool;

fn slot() -> Vec<u8> {
    let pool = Pool::new(1 << 20).unwrap();
    for (adapter, bytes) in [("a", 16), ("b", 700), ("c", 9000)] {
        let adapter = pool.add_adapter(adapter).unwrap();
        for tag in [PoolTag::from_raw(bytes), PoolTag::from_raw(7)] {
            assert!(pool.allocate(adapter, bytes, tag, Some(&mut 0)).is_success());
        }
    }
    let mut bytes = Vec::with_capacity(4096);
    encode(Head { number: 5, time: 7, missed: 3 }, &pool.snapshot(), &mut bytes, 4096);
    bytes
}

fn sealed(mut slot: Vec<u8>) -> Vec<u8> {
    if slot.len() >= SLOT_HEAD {
        let sum = slot_sum(&slot).to_le_bytes();
        slot[SLOT_SUM..SLOT_HEAD].copy_from_slice(&sum);
    }
    slot
}

/// Rows are less than a hundred bytes, and there are no more of them than have room.
fn rows(picture: &Picture) -> usize {
    let of = &picture.snapshot;
    let bars = of.tags.iter().map(|row| row.totals.histogram.len()).sum::<usize>();
    of.tags.len() + of.accounts.len() + of.cpus.len() + of.classes.len() + bars
}

#[test]
fn any_word_in_a_sealed_slot_is_a_picture_or_refused() {
    let whole = slot();
    assert_eq!(decode(&whole).unwrap().missed, 3);
    let mut refused = 0;
    for at in (0..whole.len()).step_by(4) {
        for word in [0, 1, 2, 3, 7, 16, 0x7F, 1 << 16, 1 << 31, u32::MAX - 15, u32::MAX] {
            let mut changed = whole.clone();
            changed[at..at + 4].copy_from_slice(&word.to_le_bytes());
            match decode(&sealed(changed)) {
                Ok(picture) => assert!(rows(&picture) <= whole.len() / 24, "word {at} as {word}"),
                Err(ReadError::Malformed) => refused += 1,
                Err(error) => panic!("word {at} as {word}: {error}"),
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn a_sealed_slot_of_any_length_is_a_picture_or_refused() {
    let whole = slot();
    for len in 0..whole.len() {
        let cut = sealed(whole[..len].to_vec());
        assert!(matches!(decode(&cut), Err(ReadError::Malformed)), "{len}");
    }
}

/// As a later version may write it: rows with more behind them, and a kind that nobody knows yet.
#[test]
fn longer_rows_and_unknown_kinds_are_passed_over() {
    let whole = slot();
    let word = |at: usize| u32::from_le_bytes(whole[at..at + 4].try_into().unwrap());
    let mut later = whole[..SLOT_HEAD].to_vec();
    let (mut at, mut sections) = (SLOT_HEAD, 0);
    while at < whole.len() {
        let [kind, bytes, count, left_out] = [word(at), word(at + 4), word(at + 8), word(at + 12)];
        for head in [kind, bytes + 12, count, left_out] {
            later.extend(head.to_le_bytes());
        }
        at += 16;
        for row in whole[at..at + (bytes * count) as usize].chunks_exact(bytes as usize) {
            later.extend(row);
            later.extend([0xEE; 12]);
        }
        at += (bytes * count) as usize;
        later.extend([77_u32, 4, 1, 0, 0xEEEE_EEEE].map(u32::to_le_bytes).concat());
        sections += 2;
    }
    later[32..36].copy_from_slice(&u32::to_le_bytes(sections));
    let (before, after) = (decode(&whole).unwrap(), decode(&sealed(later)).unwrap());
    assert_eq!(std::format!("{before:?}"), std::format!("{after:?}"));
}

/// Where a section of this kind begins.
fn section(slot: &[u8], kind: u32) -> usize {
    let word = |at: usize| u32::from_le_bytes(slot[at..at + 4].try_into().unwrap());
    let mut at = SLOT_HEAD;
    while word(at) != kind {
        at += 16 + (word(at + 4) * word(at + 8)) as usize;
    }
    at
}

#[test]
fn rows_that_are_too_short_are_refused() {
    let mut slot = slot();
    // Two halves of the one row of sums.
    let at = section(&slot, 1);
    assert_eq!((slot[at + 4], slot[at + 8]), (96, 1));
    (slot[at + 4], slot[at + 8]) = (48, 2);
    assert_eq!(decode(&sealed(slot)).unwrap_err(), ReadError::Malformed);
}

#[test]
fn a_bar_of_no_row_is_refused() {
    let whole = slot();
    for (word, value) in [(0, 1), (0, 9), (4, 200)] {
        let mut slot = whole.clone();
        let at = section(&slot, 6) + 16 + word;
        slot[at] = value;
        assert_eq!(decode(&sealed(slot)).unwrap_err(), ReadError::Malformed, "{word} {value}");
    }
}
