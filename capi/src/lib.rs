//! The C interface: the routines by their own names, and the host's side of them.
//!
//! `include/storport_pool.h` is what C sees; cbindgen makes it of this crate's comments, and a test makes it
//! again. Nothing here unwinds into C: a panic, of which none is known, ends the process.
//!
//! | module | what it holds | may use |
//! |---|---|---|
//! | `types` | the driver kit's types | nothing |
//! | `error` | why the last host call failed | nothing |
//! | `host` | the platform that a C host's functions make | `types` |
//! | `handle` | `sp_pool`: a pool on one of three platforms | `host`, `error` |
//! | `registry` | extensions, and whose they are | `handle` |
//! | `adapter`, `storport`, `executive`, `violation`, `snapshot`, `irql` | the functions | all of the above |
#![deny(missing_docs)]
#![allow(non_camel_case_types, non_snake_case, clippy::upper_case_acronyms)]

mod adapter;
mod error;
mod executive;
mod handle;
mod host;
mod irql;
mod registry;
mod snapshot;
mod storport;
mod types;
mod violation;
