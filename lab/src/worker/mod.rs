//! One process for each allocator and scenario: nothing that one leaves behind slows another down, and what
//! is resident is its own. The program starts workers and lets them take turns; they talk in lines of JSON
//! over the worker's standard input and output.

mod client;
mod serve;

use serde::{Deserialize, Serialize};

use crate::meter::Figures;
use crate::results::Memory;

pub(crate) use client::{Program, Worker};
pub use serve::{Args, Work, pool_worker};

/// Asked of a worker.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Ask {
    /// One turn, of so many ns.
    Turn(u64),
    /// Free everything and say what is resident; the worker ends.
    End,
}

/// What a worker says: `Ready` or `Cannot` when it starts, then an answer to each [`Ask`].
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Answer {
    Ready,
    /// The scenario asks for what the allocator does not do.
    Cannot(String),
    Turn {
        alloc: Figures,
        free: Figures,
    },
    End(Memory),
}
