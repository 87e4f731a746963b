//! A picture as text, JSON or CSV.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use storport_pool::watch::{Picture, Process};

use super::rows::Row;
use crate::report::text::grouped;

/// Who publishes, and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) pid: u32,
    pub(crate) name: String,
    pub(crate) process: Process,
}

impl About {
    /// The process in words.
    pub(crate) fn process(&self) -> &'static str {
        match self.process {
            Process::Runs => "runs",
            Process::Closed => "has ended its watch",
            Process::Ended => "has ended",
            _ => "is not to be seen from here",
        }
    }
}

/// A time in words: seconds, UTC.
pub(crate) fn time(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let stamp = jiff::Timestamp::new(since.as_secs().try_into().unwrap_or(0), 0);
    stamp.map_or_else(|_| "?".to_owned(), |stamp| stamp.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// Bytes with a unit.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

/// What was left out, in words; empty: nothing.
pub(crate) fn left_out(picture: &Picture) -> String {
    let of = picture.left_out;
    let all = [
        (of.tags, "tags"),
        (of.accounts, "adapters' tags"),
        (of.cpus, "CPUs"),
        (of.classes, "sizes"),
        (of.bars, "bars of histograms"),
    ];
    let some: Vec<_> =
        all.iter().filter(|(rows, _)| *rows > 0).map(|(rows, what)| format!("{rows} {what}")).collect();
    if some.is_empty() {
        String::new()
    } else {
        format!("No room in the watch: {} left out.", some.join(", "))
    }
}

/// The pool's own line.
pub(crate) fn pool(picture: &Picture) -> String {
    let of = &picture.snapshot;
    format!(
        "Range {}, free {}, live {} in {} blocks, violations {}, contended {}{}",
        bytes(of.range_bytes),
        bytes(of.free_bytes),
        bytes(picture.totals.bytes_requested),
        grouped(picture.totals.live),
        grouped(of.violations),
        grouped(of.contended),
        if of.fence_refused { ", a fence was refused" } else { "" },
    )
}

/// The table, as PoolMon prints it.
pub(crate) fn text(about: &About, picture: &Picture, rows: &[Row], total: Option<&Row>) -> String {
    let mut out = format!(
        "Process {} ({}) {}; picture {} of {}.\n{}.\n",
        about.pid,
        about.name,
        about.process(),
        grouped(picture.number),
        time(picture.time),
        pool(picture)
    );
    for more in [left_out(picture), missed(picture)].into_iter().filter(|more| !more.is_empty()) {
        out += &format!("{more}\n");
    }
    let by_adapter = rows.iter().any(|row| row.adapter.is_some());
    let mut lines =
        vec![["Adapter", "Tag", "Type", "Allocs", "Frees", "Diff", "Bytes", "Per Alloc"].map(str::to_owned)];
    for row in rows.iter().chain(total) {
        let kind = if row.key == (None, None) { "" } else { "Nonp" };
        let counts = [row.allocs, row.frees, row.diff, row.bytes, row.per_alloc];
        let [allocs, frees, diff, bytes, per_alloc] = counts.map(|count| grouped(count.now));
        let adapter = row.adapter.clone().unwrap_or_default();
        lines.push([adapter, row.tag.clone(), kind.to_owned(), allocs, frees, diff, bytes, per_alloc]);
    }
    let skip = usize::from(!by_adapter);
    let widths: Vec<_> =
        (0..8).map(|place| lines.iter().map(|line| line[place].chars().count()).max().unwrap_or(0)).collect();
    out.push('\n');
    for line in &lines {
        let mut shown = String::new();
        for (place, cell) in line.iter().enumerate().skip(skip) {
            let pad = " ".repeat(widths[place].saturating_sub(cell.chars().count()));
            // Words to the left, numbers to the right.
            shown += &if place < 3 { format!(" {cell}{pad}") } else { format!(" {pad}{cell}") };
        }
        out += shown.trim_end();
        out.push('\n');
    }
    out
}

/// Publishes that failed, in words; empty: none.
pub(crate) fn missed(picture: &Picture) -> String {
    match picture.missed {
        0 => String::new(),
        missed => format!("{} pictures could not be published.", grouped(missed)),
    }
}

/// A field of a CSV file.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// The rows, with a heading.
pub(crate) fn csv(rows: &[Row]) -> String {
    let mut out = "adapter,tag,type,allocs,frees,diff,bytes,bytes_occupied,per_alloc\n".to_owned();
    for row in rows {
        let counts =
            [row.allocs.now, row.frees.now, row.diff.now, row.bytes.now, row.occupied, row.per_alloc.now];
        let counts = counts.map(|count| count.to_string()).join(",");
        let adapter = field(row.adapter.as_deref().unwrap_or(""));
        out += &format!("{adapter},{},Nonp,{counts}\n", field(row.tag.trim_end()));
    }
    out
}

fn row(row: &Row) -> Value {
    let histogram: Vec<_> = row
        .histogram
        .iter()
        .map(|(bytes, allocs)| json!({ "block_bytes": bytes, "allocs": allocs }))
        .collect();
    let mut value = json!({
        "tag": row.tag,
        "tag_number": row.key.1,
        "type": "Nonp",
        "allocs": row.allocs.now,
        "frees": row.frees.now,
        "diff": row.diff.now,
        "bytes": row.bytes.now,
        "bytes_occupied": row.occupied,
        "per_alloc": row.per_alloc.now,
        "histogram": histogram,
    });
    if let (Some(adapter), Some(object)) = (&row.adapter, value.as_object_mut()) {
        object.insert("adapter".to_owned(), json!(adapter));
        object.insert("adapter_number".to_owned(), json!(row.key.0));
    }
    value
}

/// All of the picture.
pub(crate) fn json(about: &About, picture: &Picture, tags: &[Row], accounts: &[Row]) -> String {
    let (of, left_out) = (&picture.snapshot, picture.left_out);
    let nanos = picture.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let state = match about.process {
        Process::Runs => "runs",
        Process::Closed => "closed",
        Process::Ended => "ended",
        _ => "unknown",
    };
    let value = json!({
        "schema": 1,
        "process": { "pid": about.pid, "name": about.name, "state": state },
        "picture": {
            "number": picture.number,
            "unix_ns": u64::try_from(nanos).unwrap_or(u64::MAX),
            "missed": picture.missed,
            "left_out": {
                "tags": left_out.tags,
                "adapters": left_out.accounts,
                "cpus": left_out.cpus,
                "classes": left_out.classes,
                "bars": left_out.bars,
            },
        },
        "pool": {
            "range_bytes": of.range_bytes,
            "free_bytes": of.free_bytes,
            "allocs": picture.totals.allocs,
            "frees": picture.totals.frees,
            "diff": picture.totals.live,
            "bytes": picture.totals.bytes_requested,
            "bytes_occupied": picture.totals.bytes_occupied,
            "changing": of.changing,
            "contended": of.contended,
            "other": of.other,
            "violations": of.violations,
            "fence_refused": of.fence_refused,
        },
        "tags": tags.iter().map(row).collect::<Vec<_>>(),
        "adapters": accounts.iter().map(row).collect::<Vec<_>>(),
        "cpus": of.cpus.iter().map(|row| json!({ "cpu": row.cpu, "blocks": row.blocks, "bytes": row.bytes })).collect::<Vec<_>>(),
        "classes": of.classes.iter().map(|row| json!({
            "block_bytes": row.block_bytes, "slabs": row.slabs, "live": row.live, "free": row.free, "cached": row.cached,
        })).collect::<Vec<_>>(),
    });
    format!("{value:#}\n")
}
