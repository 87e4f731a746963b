//! The Storport memory pool (`StorPortAllocatePool`, `StorPortFreePool`) outside Windows. A block has a tag, and is
//! allocated and freed in the name of an adapter. Free is O(1) and bounded. It is safe in interrupt and signal handlers. It
//! tells a double, foreign or interior free from a good one without touching the block.
//!
//! # Memory of the operating system
//!
//! ```
//! use storport_pool::{Pool, Status, tag};
//!
//! let pool = Pool::new(64 << 20)?; // 64 MiB of address space, resident when touched
//! pool.on_violation(|violation| eprintln!("{violation}"));
//! let disk = pool.add_adapter("disk0")?; // stands for HwDeviceExtension
//! let srb = pool.try_allocate(disk, 208, tag!("VioS"))?;
//! assert_eq!(unsafe { pool.free(disk, srb) }, Status::SUCCESS);
//! // A double free is told, and harmless.
//! assert_eq!(unsafe { pool.free(disk, srb) }, Status::INVALID_PARAMETER);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! In the safe layer, an adapter removes itself and blocks free themselves: see [`Pool::adapter`]. For structs and threads
//! there is `Pool::adapter_owned`.
//!
//! # Memory of your own
//!
//! The pool hands out addresses of any range, such as a guest's, and never touches the range. Its metadata lies in memory
//! that you supply. [`static_pool!`] lays that out at compile time.
//!
//! ```
//! use storport_pool::{Config, Host, Irql, Portable, Status, static_pool, tag};
//!
//! struct Machine;
//! impl Host for Machine {
//!     fn cpu(&self) -> u32 { 0 } // The CPU that runs this: a hint.
//!     fn irql(&self) -> Irql { Irql::PASSIVE } // The level that it runs at.
//! }
//!
//! static_pool! {
//!     static GUEST: Portable<Machine> =
//!         Config::new(0x8000_0000, 16 << 20).cpus(4).min_block(64);
//! }
//!
//! let pool = GUEST.init(Portable::new(Machine))?;
//! let disk = pool.add_adapter("disk0")?;
//! let srb = pool.try_allocate(disk, 208, tag!("VioS"))?;
//! assert!((0x8000_0000..0x8100_0000).contains(&srb));
//! assert_eq!(unsafe { pool.free(disk, srb) }, Status::SUCCESS);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A kernel that masks interrupts
//!
//! Where interrupts can be masked for a few instructions, [`Masked`] commits without a locked instruction.
//! [`MaskInterrupts`] has a worked example, with the fence; `examples/kernel` boots.
//!
//! ```
//! use storport_pool::{Config, Host, Irql, MaskInterrupts, Masked, static_pool, tag};
//!
//! struct Kernel;
//! impl Host for Kernel {
//!     fn cpu(&self) -> u32 { 0 } // This CPU. `Masked` relies on it.
//!     fn irql(&self) -> Irql { Irql::PASSIVE } // From CR8, say.
//! }
//! // SAFETY: an example of one CPU without interrupts.
//! unsafe impl MaskInterrupts for Kernel {
//!     type State = ();
//!     fn mask(&self) {} // pushf; cli
//!     fn unmask(&self, (): ()) {} // popf
//!     fn fence(&self, _cpu: u32) {} // Waits until that CPU is in no masked section.
//! }
//!
//! static_pool! {
//!     static NONPAGED: Masked<Kernel> =
//!         Config::new(0xFFFF_8000_0000_0000, 16 << 20).min_block(64);
//! }
//!
//! let pool = NONPAGED.init(Masked::new(Kernel))?;
//! let port = pool.add_adapter("port0")?;
//! assert!(pool.try_allocate(port, 208, tag!("Ahci")).is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A program's global allocator
//!
//! ```standalone_crate
//! use storport_pool::{TaggedAlloc, tag, with_tag};
//!
//! #[global_allocator]
//! static GLOBAL: TaggedAlloc = TaggedAlloc::new(tag!("Main"), 1 << 30);
//!
//! let words = with_tag(tag!("Pars"), || "a b c".split(' ').collect::<Vec<_>>());
//! GLOBAL.pool().unwrap().for_each_tag(|row| println!("{row}")); // PoolMon's columns
//! # drop(words);
//! ```
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `std` | yes | `Native`, `Pool::new`, memory of the operating system, IRQL per thread, watches, traces; implies `alloc` |
//! | `alloc` | with `std` | snapshots and reports as collections, closures as hooks, owned handles, images |
//! | `verifier` | no | special pool, canaries, call stacks, failing allocations (Linux); implies `std` |
//! | `allocator-api2` | no | `Tagged`: an adapter and a tag as the allocator of a collection |
//! | `serde` | no | `Serialize` for reports; `Deserialize` too for `Config` and single values |
//! | `tracing` | no | events of the crate `tracing` at slow paths and violations, at IRQL PASSIVE alone; implies `alloc` |
//! | `checked` | no | frees that are exact even when two CPUs free one block in the same instant; costs a locked instruction |
//!
//! Without features the crate is `no_std` and allocates nothing. It needs 64-bit pointers and 64-bit atomics.
//!
//! # Where to look
//!
//! * The contract: [`Pool::allocate`], [`Pool::free`], [`Status`], [`Violation`] with its Windows bug check.
//! * The safe layer: [`Adapter`] and [`Block`]; `OwnedAdapter` and `OwnedBlock`, which share the pool.
//! * The host's side: [`Host`], [`MaskInterrupts`], [`Config`], `PoolOptions`, [`StaticPool`].
//! * Who has what: `Pool::snapshot`, `Pool::leaks`, [`Pool::usage`], `watch` for another process.
//! * What is wrong: [`Verifier`], `Pool::check`, [`Pool::inspect_page`].
//!
//! Addresses and handles are plain numbers. Sizes are in bytes.
//!
//! Calls are for IRQL PASSIVE unless their page says otherwise. The two routines and their bulk forms are for DISPATCH and
//! below. Functions of plain values (tags, statuses, options, rules, reports) use that value alone, and run at any IRQL.
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
pub use contract::irql::{Irql, IrqlError};
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
pub use pool::handle::{DefaultPlatform, Pool, SingleCpu, TrimError, Trimmed};
pub use pool::held::FreeError;
#[cfg(all(feature = "alloc", not(storport_pool_loom)))]
pub use pool::image::{
    Image,
    dump::{Dump, DumpExtent},
    error::{ImageError, OtherGeometry},
};
#[cfg(feature = "alloc")]
pub use pool::leaks::{LeakReport, LeakRow};
#[cfg(feature = "alloc")]
pub use pool::owned::{OwnedAdapter, OwnedBlock, WeakAdapter};
#[cfg(all(feature = "std", not(storport_pool_loom)))]
pub use pool::recording::Recording;
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

/// The registry page's examples, compiled. (The README's are in `benches/`: the package does not have it.)
#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../docs/CRATE.md")]
struct Readme;

/// The page for those who debug, compiled.
#[cfg(all(doctest, feature = "verifier", target_os = "linux"))]
#[doc = include_str!("../docs/DEBUGGING.md")]
struct Debugging;

/// The kernel in the page for those who port, compiled.
#[cfg(all(doctest, feature = "std", target_arch = "x86_64"))]
#[doc = include_str!("../docs/PORTING.md")]
struct Porting;
