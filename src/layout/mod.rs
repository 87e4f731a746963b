//! How the range and the metadata are laid out: size classes, states, page map, geometry.

pub(crate) mod block;
pub(crate) mod cell;
pub(crate) mod classes;
pub(crate) mod config;
pub(crate) mod control;
#[cfg(all(feature = "alloc", not(storport_pool_loom)))]
pub(crate) mod copied;
pub(crate) mod create_error;
pub(crate) mod cursor;
pub(crate) mod fence;
pub(crate) mod geometry;
pub(crate) mod memory;
pub(crate) mod meta;
pub(crate) mod page_map;
pub(crate) mod range;
pub(crate) mod state;
#[cfg(all(feature = "alloc", not(storport_pool_loom)))]
pub(crate) mod zeroed;
