//! The Storport memory pool outside Windows: a tagged, per-CPU slab pool over an address range.
//!
//! [`Pool`] is where to begin: [`Pool::new`] for memory of the operating system, [`PoolOptions`] for
//! more choice, [`Pool::new_in`] for a host's own memory. For a program that wants all its memory tagged:
//! [`TaggedAlloc`]. Three layers lie over each other:
//!
//! * the contract: [`Pool::allocate`] and [`Pool::free`], status codes and addresses;
//! * the safe layer: [`Adapter`] and [`Block`], which free themselves;
//! * the host's side: [`Host`], [`MaskInterrupts`], [`Config`], snapshots, violations.
//!
//! How it is made: `docs/ARCHITECTURE.md` (the folders, and how to add things) and `docs/CONCURRENCY.md` (the
//! invariants, who writes which word, and the bound of every path).
#![no_std]
#![deny(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// A model has no verifier: its tables are raw memory.
#![cfg_attr(storport_pool_loom, allow(dead_code, unused_imports))]

#[cfg(any(not(all(target_pointer_width = "64", target_has_atomic = "64")), storport_pool_unsuited))]
compile_error!("storport-pool needs a target with 64-bit pointers and 64-bit atomics");

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", storport_pool_loom, storport_pool_steps))]
extern crate std;

mod contract;
mod layout;
mod owners;
mod percpu;
mod pool;
mod routines;
mod stock;
mod sync;
mod trace;
mod verify;

pub use contract::adapter::{AdapterId, AdapterName};
pub use contract::block::{BlockDetail, BlockInfo, BlockState};
pub use contract::hook::HookRecord;
pub use contract::irql::Irql;
pub use contract::pattern::TagPattern;
pub use contract::status::Status;
pub use contract::tag::{PoolTag, TagError};
pub use contract::verify::{
    evidence::Evidence,
    host::{Access, VerifierHost},
    options::VerifierOptions,
    rule::{Guard, LowResources, Rule},
    stack::{CallStack, StackKind},
    text::RuleError,
};
pub use contract::violation::{BugCheck, Outstanding, Removed, Violation, ViolationKind};
#[cfg(all(feature = "alloc", not(storport_pool_loom)))]
pub use contract::{
    fault::ImageFault,
    finding::{CheckReport, Finding, NoMemory, Places, Subject},
};
pub use layout::{config::Config, create_error::CreateError};
pub use owners::adapters::AdapterError;
#[cfg(storport_pool_stretch)]
#[doc(hidden)]
pub use percpu::stretch::aborts;
pub use percpu::{
    masked::Masked,
    platform::{Host, MaskInterrupts, Platform},
    portable::Portable,
};
#[cfg(feature = "std")]
pub use percpu::{
    native::{Commit, Native},
    tag::{TagScope, with_tag},
    thread::IrqlGuard,
};
#[cfg(feature = "allocator-api2")]
pub use pool::adaptor::Tagged;
#[cfg(all(feature = "std", not(storport_pool_loom)))]
pub use pool::caller::Caller;
#[cfg(all(feature = "verifier", target_os = "linux", not(storport_pool_loom)))]
pub use pool::every::{
    options::FailEach,
    report::{FailReport, FailRun, Leaked, Refused, RunEnd},
};
pub use pool::handle::{Busy, DefaultPlatform, Pool, SingleCpu, Trimmed};
pub use pool::held::FreeError;
#[cfg(all(feature = "alloc", not(storport_pool_loom)))]
pub use pool::image::{
    Image,
    dump::{Dump, DumpExtent},
    error::{ImageError, OtherGeometry},
};
#[cfg(feature = "alloc")]
pub use pool::leaks::{LeakReport, LeakRow};
#[cfg(all(feature = "std", not(storport_pool_loom)))]
pub use pool::recording::Recording;
#[cfg(feature = "alloc")]
pub use pool::owned::{OwnedAdapter, OwnedBlock};
pub use pool::safe::{Adapter, Block};
#[cfg(feature = "alloc")]
pub use pool::snapshot::{AccountRow, ClassRow, CpuRow, Removal, SizeCount, Snapshot, TagRow, Totals};
#[cfg(feature = "std")]
pub use pool::source::PoolOptions;
#[cfg(not(storport_pool_loom))]
#[doc(hidden)]
pub use pool::statics::static_metadata_bytes;
#[cfg(not(storport_pool_loom))]
pub use pool::statics::{StaticError, StaticMetadata, StaticPool};
#[cfg(all(feature = "std", not(storport_pool_loom)))]
pub use pool::tagged::TaggedAlloc;
pub use pool::told::{CallStackReport, ViolationReport};
pub use pool::usage::{TagUsage, Usage};
#[cfg(not(storport_pool_loom))]
pub use pool::verifier::{RuleCounts, RuleId, Swept, Verifier, VerifierError, VerifierStats};
#[cfg(all(feature = "std", target_os = "linux", not(storport_pool_loom)))]
pub use pool::watch;
#[cfg(storport_pool_steps)]
#[doc(hidden)]
pub use sync::steps;
#[cfg(all(feature = "std", not(storport_pool_loom)))]
pub use trace::file::{
    TraceCounts,
    header::{TraceError, TraceHeader},
    read::{TornTrace, TraceEnding, TraceReader},
    thread::TraceThread,
    write::TraceWriter,
};
pub use trace::{
    event::{TraceEvent, TraceItem, TraceKind},
    ring::{TraceDrain, TraceRing, TraceRingError},
};

/// The README's examples, compiled.
#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// The page for those who debug, compiled.
#[cfg(all(doctest, feature = "verifier", target_os = "linux"))]
#[doc = include_str!("../docs/DEBUGGING.md")]
struct Debugging;

/// The kernel in the page for those who port, compiled.
#[cfg(all(doctest, feature = "std", target_arch = "x86_64"))]
#[doc = include_str!("../docs/PORTING.md")]
struct Porting;
