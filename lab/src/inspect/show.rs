//! What was found, for a person.

use storport_pool::{BlockDetail, BlockInfo, CheckReport, Dump, PoolTag};

use super::source::Source;
use super::words::{hex, owner};
use crate::out::{plain, say};

/// The pool, and PoolMon's table of its tags.
pub(super) fn summary(source: &Source) {
    let dump = &source.dump;
    let (base, bytes) = dump.range();
    let usage = dump.usage();
    say!("{} of a pool: {} KiB at {base:#x}", source.kind, bytes >> 10);
    say!(
        "{} live blocks, {} bytes asked for, {} bytes taken; {} bytes in free spans; {} violations",
        usage.live,
        usage.bytes_requested,
        usage.bytes_occupied,
        usage.free_bytes,
        usage.violations
    );
    let names = dump.adapters();
    let names: Vec<_> =
        names.iter().map(|(id, name)| format!("{} ({})", plain(name.as_str()), id.raw())).collect();
    say!("adapters: {}", if names.is_empty() { "none".to_owned() } else { names.join(", ") });
    say!("\n Tag  Type     Allocs            Frees      Diff     Bytes    Per Alloc");
    dump.for_each_tag(|row| {
        let each = row.bytes_requested.checked_div(row.live).unwrap_or(0);
        say!(
            " {} Nonp {:10} {:16} {:9} {:9} {each:12}",
            row.tag,
            row.allocs,
            row.frees,
            row.live,
            row.bytes_requested
        );
    });
    say!("");
    verdict(dump.check());
}

/// Whether all is well, in one line.
fn verdict(report: &CheckReport) {
    match report.faults {
        0 => say!("The metadata is well."),
        faults => say!("{faults} things are wrong with the metadata: see --check."),
    }
}

fn tag(tag: Option<PoolTag>) -> String {
    tag.map_or("-".to_owned(), |tag| tag.to_string())
}

/// The blocks of a page. The one that was asked for has a star, as `!pool` marks it.
pub(super) fn page(dump: &Dump, at: u64, asked: Option<u64>, blocks: &[BlockDetail]) {
    say!("page {at:#x}");
    say!(" {:<18} {:>10} {:>10} {:4} {:22} owner", "address", "size", "bytes", "tag", "state");
    for block in blocks {
        let inside =
            asked.is_some_and(|asked| asked >= block.address && asked - block.address < block.capacity);
        say!(
            "{}{:<18} {:>10} {:>10} {:4} {:22} {}",
            if inside { '*' } else { ' ' },
            hex(block.address),
            block.capacity,
            block.bytes,
            tag(block.tag),
            block.state.to_string(),
            block.owner.map_or("-".to_owned(), |id| plain(&owner(dump, id))),
        );
    }
    if blocks.is_empty() {
        say!(" no block lies here: it is the unused end of a slab");
    }
}

/// Live blocks.
pub(super) fn blocks(dump: &Dump, blocks: &[BlockInfo]) {
    say!(" {:<18} {:>10} {:>10} {:4} owner", "address", "size", "bytes", "tag");
    for block in blocks {
        let (address, tag, owner) = (hex(block.address), tag(block.tag), plain(&owner(dump, block.owner)));
        say!(" {address:<18} {:>10} {:>10} {tag:4} {owner}", block.capacity, block.bytes);
    }
    let bytes: u64 = blocks.iter().map(|block| u64::from(block.bytes)).sum();
    say!("{} blocks, {bytes} bytes asked for", blocks.len());
}

/// Where the blocks and spans are, by name.
pub(super) fn places(report: &CheckReport) -> [(&'static str, u64); 16] {
    let places = &report.places;
    [
        ("blocks", places.blocks),
        ("live", places.live),
        ("loaded", places.loaded),
        ("spare", places.spare),
        ("depot", places.depot),
        ("loose", places.loose),
        ("never_carved", places.never_carved),
        ("in_hand", places.in_hand),
        ("live_runs", places.live_runs),
        ("freed_runs", places.freed_runs),
        ("runs_in_hand", places.runs_in_hand),
        ("spans", places.spans),
        ("slab_spans", places.slab_spans),
        ("run_spans", places.run_spans),
        ("free_spans", places.free_spans),
        ("spans_in_hand", places.spans_in_hand),
    ]
}

/// What is wrong, and where everything is.
pub(super) fn check(report: &CheckReport) {
    report.findings.iter().for_each(|finding| say!("{finding}"));
    let listed = report.findings.len() as u64;
    if report.faults > listed {
        say!("and {} more", report.faults - listed);
    }
    for row in places(report).chunks(8) {
        let row: Vec<_> =
            row.iter().map(|(name, count)| format!("{} {count}", name.replace('_', " "))).collect();
        say!("{}", row.join(", "));
    }
    if !report.owners_settled {
        say!("An adapter was being added or removed: adapters and accounts were not judged.");
    }
    match report.faults {
        0 => say!("The metadata is well."),
        1 => say!("1 thing is wrong."),
        faults => say!("{faults} things are wrong."),
    }
}
