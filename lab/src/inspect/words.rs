//! How addresses and adapters are written.

use storport_pool::{AdapterId, Dump};

/// An adapter's name while it lives, else its number.
pub(super) fn owner(dump: &Dump, id: AdapterId) -> String {
    let name = dump.adapters().into_iter().find(|(live, _)| *live == id);
    name.map_or(id.to_string(), |(_, name)| name.to_string())
}

pub(super) fn hex(number: u64) -> String {
    format!("{number:#x}")
}
