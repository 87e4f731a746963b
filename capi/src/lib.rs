//! The C interface: the routines by their own names, and the host's side of them.
//!
//! `include/storport_pool.h` is what C sees; cbindgen makes it of this crate's comments, and a test makes it
//! again. Nothing here unwinds into C: a panic, of which none is known, ends the process.
//!
//! A file uses only files above it in this table, each name from the file that defines it:
//!
//! | file | what it holds | may use |
//! |---|---|---|
//! | `types` | the driver kit's types | nothing |
//! | `error` | why the last host call failed | nothing |
//! | `host` | the platform that a C host's functions make | `types` |
//! | `kind` | `sp_pool`: a pool on one of three platforms | `host` |
//! | `registry` | extensions, and whose they are | `types`, `kind` |
//! | `system` | which pool is the system's | `kind` |
//! | `options` | `sp_options`, and the pool they ask for | `host`, `kind` |
//! | `handle` | functions: a pool's making and end | `error`, `kind`, `registry`, `system`, `options` |
//! | `adapter` | functions: adapters, by their extensions | `types`, `error`, `kind`, `registry` |
//! | `storport` | functions: the two routines | `types`, `kind`, `registry` |
//! | `bulk` | functions: many blocks in one call | `types`, `kind`, `registry` |
//! | `extended` | functions: both by one name | `types`; `c/extended.c`, which calls `storport`'s |
//! | `executive` | functions: the tagged pool's names | `types`, `kind`, `system` |
//! | `violation` | functions: misuse, told to C | `types`, `kind`, `registry` |
//! | `snapshot` | functions: snapshots, row by row | `types`, `error`, `kind`, `registry` |
//! | `irql` | functions: the calling thread's IRQL | `types` |
#![deny(missing_docs)]
#![allow(non_camel_case_types, non_snake_case, clippy::upper_case_acronyms)]

mod adapter;
mod bulk;
mod error;
mod executive;
mod extended;
mod handle;
mod host;
mod irql;
mod kind;
mod options;
mod registry;
mod snapshot;
mod storport;
mod system;
mod types;
mod violation;
