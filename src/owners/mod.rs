//! Who owns blocks: adapters, and the accounts (adapter x tag) under which blocks are counted.

pub(crate) mod accounts;
pub(crate) mod adapters;
pub(crate) mod counts;
pub(crate) mod orphans;
pub(crate) mod sampling;
#[cfg(all(feature = "alloc", not(storport_pool_loom)))]
pub(crate) mod saved;
