//! Where metadata comes from: an image, a piece of memory, or a process's core file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use object::read::{ObjectKind, ReadCache};
use object::{Object, ObjectSegment};
use storport_pool::{Dump, DumpExtent, ImageError};

use crate::{out, regular};

/// Metadata begins at a multiple of this.
const PAGE: u64 = 4096;
/// The bytes of an image that tell how long it can be.
const HEADER: u64 = 56;
/// Bytes that are looked at in one piece.
const PIECE: usize = 1 << 20;
/// Bytes in which a control block has room.
const CONTROL: usize = 16 << 10;

/// Some memory, and where it lies in the file.
#[derive(Clone, Copy)]
struct Region {
    address: u64,
    at: u64,
    bytes: u64,
}

/// What a file is.
pub(super) struct Source {
    pub(super) kind: &'static str,
    pub(super) dump: Dump,
}

/// Reads a file. `pool`: which one's, from 1 up, if the file has several.
///
/// # Errors
/// One line.
pub(super) fn read(path: &Path, pool: Option<usize>) -> Result<Source, String> {
    let name = out::name(path);
    let cannot = |error: std::io::Error| format!("cannot read '{name}': {error}");
    let mut file = regular::open(path)?;
    let mut magic = Vec::new();
    file.by_ref().take(8).read_to_end(&mut magic).map_err(cannot)?;
    let none = |error| format!("'{name}': {error}");
    if magic == b"SP-IMAGE" {
        if pool.is_some_and(|pool| pool != 1) {
            return Err(format!("'{name}' has one pool: --pool 1 is all there is"));
        }
        file.by_ref().take(HEADER - 8).read_to_end(&mut magic).map_err(cannot)?;
        let most = Dump::most_image_bytes(&magic).map_err(none)?;
        if file.metadata().map_err(cannot)?.len() > most {
            return Err(none(ImageError::Torn));
        }
        // It may grow meanwhile.
        file.take(most - HEADER).read_to_end(&mut magic).map_err(cannot)?;
        return Ok(Source { kind: "image", dump: Dump::of_image(&magic).map_err(none)? });
    }
    let core = magic.starts_with(b"\x7fELF");
    let regions = if core { regions(&file, path)? } else { whole(&mut file).map_err(cannot)? };
    let mut found = Vec::new();
    for &region in &regions {
        search(&mut file, region, &mut found).map_err(cannot)?;
    }
    let (base, extent) = match (found.len(), pool) {
        (0, _) => {
            return Err(format!(
                "'{name}' is no image, and has no pool's metadata, or that of another build of the library"
            ));
        }
        (1, None) => found[0],
        (count, None) => {
            return Err(format!("'{name}' has {count} pools: say which one by --pool 1 to --pool {count}"));
        }
        (count, Some(pool)) => {
            let chosen = pool.checked_sub(1).and_then(|pool| found.get(pool));
            *chosen.ok_or_else(|| format!("'{name}' has pools 1 to {count}, but no pool {pool}"))?
        }
    };
    let part = || format!("'{name}' has only part of the metadata of the pool at {:#x}", extent.range.0);
    let start = base.checked_sub(extent.before as u64).ok_or_else(part)?;
    let bytes = gather(&mut file, &regions, start, extent.before + extent.from).map_err(cannot)?;
    let dump = Dump::of_memory(&bytes.ok_or_else(part)?).map_err(none)?;
    Ok(Source { kind: if core { "core" } else { "memory" }, dump })
}

/// A file that is memory and nothing else.
fn whole(file: &mut File) -> std::io::Result<Vec<Region>> {
    Ok(vec![Region { address: 0, at: 0, bytes: file.seek(SeekFrom::End(0))? }])
}

/// The memory that a core file has.
fn regions(file: &File, path: &Path) -> Result<Vec<Region>, String> {
    let name = out::name(path);
    let cache = ReadCache::new(file);
    let core =
        object::File::parse(&cache).map_err(|error| format!("'{name}' is no whole ELF file: {error}"))?;
    if core.kind() != ObjectKind::Core {
        return Err(format!("'{name}' is an ELF file, but no core file"));
    }
    let regions = core.segments().map(|segment| {
        let (at, bytes) = segment.file_range();
        Region { address: segment.address(), at, bytes }
    });
    Ok(regions.filter(|region| region.bytes > 0).collect())
}

/// Looks for control blocks in a region: each one's address, and how much lies around it.
fn search(file: &mut File, region: Region, found: &mut Vec<(u64, DumpExtent)>) -> std::io::Result<()> {
    let mut piece = Vec::new();
    let mut from = region.address.next_multiple_of(PAGE) - region.address;
    while from < region.bytes {
        let bytes = (region.bytes - from).min((PIECE + CONTROL) as u64);
        file.seek(SeekFrom::Start(region.at + from))?;
        piece.clear();
        file.take(bytes).read_to_end(&mut piece)?;
        for at in (0..piece.len().min(PIECE)).step_by(PAGE as usize) {
            if let Some(extent) = Dump::extent_at(&piece[at..]) {
                found.push((region.address + from + at as u64, extent));
            }
        }
        if (piece.len() as u64) < bytes {
            // The file was cut.
            break;
        }
        from += PIECE as u64;
    }
    Ok(())
}

/// Memory from an address on. `None`: the file does not have all of it.
fn gather(file: &mut File, regions: &[Region], start: u64, bytes: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut memory = Vec::new();
    while memory.len() < bytes {
        let at = start + memory.len() as u64;
        let inside = |region: &&Region| at >= region.address && at - region.address < region.bytes;
        let Some(region) = regions.iter().find(inside) else { return Ok(None) };
        let skip = at - region.address;
        let some = (region.bytes - skip).min((bytes - memory.len()) as u64);
        file.seek(SeekFrom::Start(region.at + skip))?;
        if (file.take(some).read_to_end(&mut memory)? as u64) < some {
            return Ok(None);
        }
    }
    Ok(Some(memory))
}
