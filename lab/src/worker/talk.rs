//! What the program and its workers say to each other.

use serde::{Deserialize, Serialize};

use crate::meter::Figures;
use crate::results::Memory;

/// Asked of a worker.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// One turn, of so many ns.
    Turn(u64),
    /// Free everything and say what is resident; the worker ends.
    End,
}

/// What a worker says: `Ready` or `Cannot` when it starts, then an answer to each [`Ask`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Ready,
    /// The scenario asks for what the allocator does not do.
    Cannot(String),
    Turn {
        alloc: Figures,
        free: Figures,
    },
    End(Memory),
}
