//! The C interface: the routines, and the host's side of them.
//!
//! `include/storport_pool.h` is what C sees; cbindgen makes it of this crate's comments, and a test makes it
//! again. Nothing here unwinds into C: a panic, of which none is known, ends the process.
//!
//! A file uses only files above it in this table, each name from the file that defines it:
//!
//! | file | what it holds | may use |
//! |---|---|---|
//! | `types` | what C's functions take | nothing |
//! | `text` | a short text without memory of malloc's | nothing |
//! | `memory` | memory of malloc's, which may be none | nothing |
//! | `error` | why the last host call failed | `text` |
//! | `pin` | the module stays loaded; `c/pin.c` | `error` |
//! | `host` | the platform that a C host's functions make | nothing |
//! | `hearer` | who hears of violations, changed while others report | nothing |
//! | `kind` | `sp_pool`: a pool on one of three platforms | `host`, `hearer` |
//! | `registry` | extensions, and whose they are | `types`, `error`, `kind` |
//! | `system` | which pool is the system's | `memory`, `kind` |
//! | `versioned` | structures of today's header or an older one's | `error` |
//! | `violation` | functions: misuse, told to C | `types`, `text`, `kind`, `registry` |
//! | `options` | `sp_options`, and the pool they ask for | `types`, `error`, `host`, `kind`, `versioned` |
//! | `verifier` | functions: rules, sweeps, faults | `types`, `error`, `kind`, `registry`, `versioned`, `violation` |
//! | `handle` | functions: a pool's making and end | all above |
//! | `upkeep` | functions: sums, range, trim | `types`, `error`, `kind`, `registry` |
//! | `adapter` | functions: adapters, by their extensions | `types`, `text`, `error`, `kind`, `registry` |
//! | `storport` | functions: the two routines | `types`, `kind`, `registry` |
//! | `bulk` | functions: many blocks in one call | `types`, `kind`, `registry` |
//! | `block` | functions: one block, by an address | `types`, `kind`, `registry` |
//! | `extended` | functions: both by one name | `types`; `c/extended.c`, which calls `storport`'s |
//! | `executive` | functions: the tagged pool's | `types`, `kind`, `system`, `violation` |
//! | `every` | functions: each allocation refused once | `types`, `error`, `kind`, `registry`, `violation` |
//! | `snapshot` | functions: snapshots, row by row | `types`, `text`, `memory`, `error`, `kind`, `registry` |
//! | `recording` | functions: a pool's calls as a trace | `registry`, `types`, `memory`, `error`, `kind` |
//! | `watch` | functions: pictures for another process | `types`, `memory`, `error`, `kind` |
//! | `image` | functions: metadata, saved and restored | `types`, `memory`, `error`, `kind`, `registry`, `adapter` |
//! | `inspect` | functions: where blocks are, and whether all is well | `types`, `text`, `error`, `kind`, `registry`, `adapter` |
//! | `irql` | functions: the caller's IRQL | `system` |
//!
//! The driver kit's names are none of Rust's: the header has them as inline functions, and `c/kit/` as objects of
//! their own, which a program gets only if it asks for one.
#![deny(missing_docs)]
#![allow(non_camel_case_types)]

mod adapter;
mod block;
mod bulk;
mod error;
mod every;
mod executive;
mod extended;
mod handle;
mod hearer;
mod host;
mod image;
mod inspect;
mod irql;
mod kind;
mod memory;
mod options;
mod pin;
mod recording;
mod registry;
mod snapshot;
mod storport;
mod system;
mod text;
mod types;
mod upkeep;
mod verifier;
mod versioned;
mod violation;
mod watch;
