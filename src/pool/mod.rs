//! What a host sees: the pool, its adapters, where its memory comes from, and what it tells.

#[cfg(feature = "allocator-api2")]
pub(crate) mod adaptor;
#[cfg(feature = "std")]
pub(crate) mod backing;
#[cfg(all(feature = "std", not(storport_pool_loom)))]
pub(crate) mod caller;
pub(crate) mod calls;
#[cfg(all(feature = "verifier", target_os = "linux", not(storport_pool_loom)))]
pub(crate) mod every;
pub(crate) mod handle;
pub(crate) mod held;
pub(crate) mod hooks;
#[cfg(all(feature = "alloc", not(storport_pool_loom)))]
pub(crate) mod image;
pub(crate) mod inspect;
#[cfg(any(feature = "allocator-api2", all(feature = "std", not(storport_pool_loom))))]
pub(crate) mod layouts;
#[cfg(feature = "alloc")]
pub(crate) mod leaks;
#[cfg(feature = "alloc")]
pub(crate) mod owned;
#[cfg(all(feature = "verifier", target_os = "linux", not(storport_pool_loom)))]
pub(crate) mod process;
#[cfg(all(feature = "std", not(storport_pool_loom)))]
pub(crate) mod recording;
pub(crate) mod removal;
pub(crate) mod safe;
#[cfg(feature = "alloc")]
pub(crate) mod snapshot;
#[cfg(feature = "std")]
pub(crate) mod source;
#[cfg(not(storport_pool_loom))]
pub(crate) mod statics;
#[cfg(all(feature = "std", not(storport_pool_loom)))]
pub(crate) mod stop;
#[cfg(all(feature = "verifier", target_os = "linux", not(storport_pool_loom)))]
pub(crate) mod symbols;
mod tables;
#[cfg(all(feature = "std", not(storport_pool_loom)))]
pub(crate) mod tagged;
pub(crate) mod told;
pub(crate) mod usage;
#[cfg(not(storport_pool_loom))]
pub(crate) mod verifier;
#[cfg(all(feature = "std", target_os = "linux", not(storport_pool_loom)))]
pub mod watch;
#[cfg(all(feature = "verifier", target_os = "linux", not(storport_pool_loom)))]
pub(crate) mod watched;
