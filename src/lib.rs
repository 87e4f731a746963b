//! The Storport memory pool outside Windows.
#![no_std]
#![deny(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod allocate;
mod contract;
mod free;
mod layout;
mod owners;
mod percpu;
mod pool;
mod safe;
#[cfg(feature = "alloc")]
mod snapshot;
#[cfg(feature = "std")]
mod source;
mod stock;
mod sync;
mod violations;
mod walk;

pub use contract::irql::Irql;
pub use contract::status::Status;
pub use contract::tag::{PoolTag, TagError};
pub use contract::violation::{BugCheck, Violation, ViolationKind};
pub use layout::geometry::{Config, CreateError};
pub use owners::adapters::{AdapterError, AdapterId, AdapterName};
pub use percpu::{Host, MaskInterrupts, Masked, Platform, Portable};
#[cfg(feature = "std")]
pub use percpu::{
    native::{Commit, Native},
    thread::IrqlGuard,
};
pub use pool::{Busy, DefaultPlatform, Outstanding, Pool, SingleCpu, Trimmed};
pub use safe::{Adapter, Block};
#[cfg(feature = "alloc")]
pub use snapshot::{AccountRow, ClassRow, CpuRow, Removal, SizeCount, Snapshot, TagRow, Totals};
#[cfg(feature = "std")]
pub use source::PoolOptions;
pub use violations::HookRecord;
