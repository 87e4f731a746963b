//! Allocate with an alignment of the caller's choice: in a size whose blocks all have it, or in whole spans.

use super::allocate::{allocate, allocate_at, check, null_out_slow};
use super::hand_out::search_and_hand_out;
use super::refuse::inspect;
use super::request::{Answer, Request, class_for, place_for};
use super::resize::resize_found;
use super::ways::ways;
use crate::layout::classes::{Class, GRAIN, LARGE, SIZES};
use crate::layout::meta::Meta;
use crate::owners::accounts::Key;
use crate::percpu::platform::Platform;

/// As [`allocate`], at a multiple of `alignment`.
pub(crate) fn allocate_aligned<P: Platform>(
    meta: Meta,
    platform: &P,
    key: Key,
    bytes: u32,
    alignment: u32,
) -> Answer {
    if !alignment.is_power_of_two() {
        return Answer::refused(null_out_slow(meta));
    }
    if alignment <= GRAIN || bytes == 0 {
        return allocate(meta, platform, key, bytes);
    }
    if meta.verifier().is_some_and(|verifier| verifier.watches(key.owner(), key.tag())) {
        return allocate_watched(meta, platform, key, bytes, alignment);
    }
    let aligned = |&&size: &&u32| is_served(&meta, size) && size >= bytes && size.is_multiple_of(alignment);
    let Some(&size) = SIZES.iter().find(aligned) else {
        return allocate_run(meta, platform, key, bytes, alignment);
    };
    let answer = allocate_at(meta, platform, key, size, alignment);
    if answer.status.is_success()
        && let Ok(found) = inspect(&meta, key.owner(), answer.address)
    {
        // Into less than it has: only the adapter's removal refuses it.
        let _ = resize_found(meta, found, bytes);
    }
    answer
}

/// Whether slabs of this pool have blocks of this size.
fn is_served(meta: &Meta, size: u32) -> bool {
    let geometry = &meta.control().geometry;
    size >= Class(geometry.least_class).bytes() && size <= geometry.span.max_slab_bytes()
}

/// Whole spans, the first of which begins at a multiple of `alignment`.
fn allocate_run<P: Platform>(meta: Meta, platform: &P, key: Key, bytes: u32, alignment: u32) -> Answer {
    let (account, key) = match check(&meta, platform, key, bytes) {
        Ok(found) => found,
        Err(status) => return Answer::refused(status),
    };
    let request = Request { alignment, ..Request::new(key, account, LARGE, bytes) };
    search_and_hand_out(meta, platform, request)
}

/// Under a verifier's rules, which see the bytes that were asked for.
#[cold]
fn allocate_watched<P: Platform>(meta: Meta, platform: &P, key: Key, bytes: u32, alignment: u32) -> Answer {
    let tag = key.tag();
    let (account, key) = match check(&meta, platform, key, bytes) {
        Ok(found) => found,
        Err(status) => return Answer::refused(status),
    };
    let request = Request { alignment, ..Request::new(key, account, class_for(&meta, bytes), bytes) };
    let answer = meta
        .verifier()
        .and_then(|verifier| (ways(verifier).allocate)(meta, platform.opaque(), verifier, request, tag));
    answer.unwrap_or_else(|| {
        let place = place_for(&meta, bytes, alignment);
        search_and_hand_out(meta, platform, Request { place, ..request })
    })
}
