//! A pool's metadata from a file: what `!pool`, `!poolused` and `!poolfind` show, and whether all is well.

mod show;
mod source;
mod words;

use std::path::PathBuf;

use serde_json::{Value, json};
use storport_pool::{BlockDetail, BlockInfo, CheckReport, Dump, TagPattern};

use source::Source;
use words::{hex, owner};

use crate::sink::Sink;

/// What is asked of a file.
#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    /// An image as `Pool::save` writes it; or memory that has a pool's metadata at a multiple of 4096 bytes; or an ELF
    /// core file of a process that has a pool.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Shows the blocks of the page of 4096 bytes that this address lies in (`0x` begins a hexadecimal one).
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    address: Option<u64>,
    /// Shows the live blocks whose tags match: `?` stands for any character, `*` for any number of them.
    #[arg(long, value_name = "TAG", value_parser = pattern)]
    tag: Option<TagPattern>,
    /// Looks at all metadata, and says what is wrong, and where. Exit status 1 if anything is.
    #[arg(long)]
    check: bool,
    /// Which pool of the file, from 1 up, if it has several.
    #[arg(long, value_name = "NUMBER")]
    pool: Option<usize>,
    /// Writes all of it as JSON, and shows nothing else; '-': to the standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<Sink>,
}

fn address(text: &str) -> Result<u64, String> {
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        // WinDbg's way of writing.
        Some(digits) => u64::from_str_radix(&digits.replace('`', ""), 16),
        None => text.parse(),
    };
    number.map_err(|_| "an address is wanted, such as 0x7f0012345678".to_owned())
}

fn pattern(text: &str) -> Result<TagPattern, String> {
    TagPattern::new(text)
        .map_err(|_| format!("1 to {} printable characters are wanted, such as Ahci or Ah*", TagPattern::MAX))
}

/// Whether all is well, as far as that was asked.
///
/// # Errors
/// One line.
pub(crate) fn run(asked: &Inspect) -> Result<bool, String> {
    if let Some(json) = &asked.json {
        json.check()?;
    }
    let source = source::read(&asked.file, asked.pool)?;
    let page = match asked.address {
        Some(address) => Some(page(&source.dump, address)?),
        None => None,
    };
    let blocks = asked.tag.map(|tags| {
        let mut blocks = Vec::new();
        source.dump.for_each_block_of(tags, |block| blocks.push(block));
        blocks
    });
    match &asked.json {
        Some(json) => {
            let document = document(&source, asked, page.as_ref(), blocks.as_deref());
            json.put(&format!("{document}\n"))?;
        }
        None => {
            if page.is_none() && blocks.is_none() && !asked.check {
                show::summary(&source);
            }
            if let Some((at, blocks)) = &page {
                show::page(&source.dump, *at, asked.address, blocks);
            }
            if let Some(blocks) = &blocks {
                show::blocks(&source.dump, blocks);
            }
            if asked.check {
                show::check(source.dump.check());
            }
        }
    }
    Ok(!asked.check || source.dump.check().is_good())
}

/// Where the page of an address begins, and its blocks.
type Page = (u64, Vec<BlockDetail>);

fn page(dump: &Dump, address: u64) -> Result<Page, String> {
    let mut blocks = Vec::new();
    match dump.inspect_page(address, |block| blocks.push(block)) {
        Some(at) => Ok((at, blocks)),
        None => {
            let (base, bytes) = dump.range();
            let end = base + bytes;
            Err(format!("{address:#x} is outside of the pool's range, which is {base:#x} to {end:#x}"))
        }
    }
}

fn document(source: &Source, asked: &Inspect, page: Option<&Page>, blocks: Option<&[BlockInfo]>) -> Value {
    let dump = &source.dump;
    let (base, bytes) = dump.range();
    let usage = dump.usage();
    let mut tags = Vec::new();
    dump.for_each_tag(|row| {
        tags.push(json!({
            "tag": row.tag.to_string(), "allocs": row.allocs, "frees": row.frees, "live": row.live,
            "bytes": row.bytes_requested, "bytes_occupied": row.bytes_occupied,
        }));
    });
    let mut document = json!({
        "source": source.kind,
        "range": {"address": hex(base), "bytes": bytes},
        "usage": {
            "allocs": usage.allocs, "frees": usage.frees, "live": usage.live, "bytes": usage.bytes_requested,
            "bytes_occupied": usage.bytes_occupied, "free_bytes": usage.free_bytes,
            "contended": usage.contended, "violations": usage.violations,
        },
        "adapters": dump.adapters().iter()
            .map(|(id, name)| json!({"number": id.raw(), "name": name.as_str()})).collect::<Vec<_>>(),
        "tags": tags,
    });
    if let Some((at, blocks)) = page {
        let blocks = blocks.iter().map(|block| {
            json!({
                "address": hex(block.address), "capacity": block.capacity, "bytes": block.bytes,
                "state": block.state.to_string(), "tag": block.tag.map(|tag| tag.to_string()),
                "owner": block.owner.map(|id| owner(dump, id)),
            })
        });
        document["page"] = json!({"address": hex(*at), "blocks": blocks.collect::<Vec<_>>()});
    }
    if let Some(blocks) = blocks {
        let blocks = blocks.iter().map(|block| {
            json!({
                "address": hex(block.address), "capacity": block.capacity, "bytes": block.bytes,
                "tag": block.tag.map(|tag| tag.to_string()), "owner": owner(dump, block.owner),
            })
        });
        document["blocks"] = blocks.collect();
    }
    if asked.check {
        document["check"] = checked(dump.check());
    }
    document
}

fn checked(report: &CheckReport) -> Value {
    let findings = report.findings.iter().map(|finding| {
        json!({
            "what": finding.what, "subject": finding.subject.describe(), "number": finding.number,
            "address": finding.address.map(hex), "found": finding.found, "expected": finding.expected,
            "place": finding.place.map(|place| place.to_string()),
        })
    });
    let places: serde_json::Map<String, Value> =
        show::places(report).into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect();
    json!({
        "good": report.is_good(), "faults": report.faults, "owners_settled": report.owners_settled,
        "findings": findings.collect::<Vec<_>>(), "places": places,
    })
}
