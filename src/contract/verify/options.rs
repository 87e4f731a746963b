//! How large a verifier's tables are.

/// How much a verifier keeps. Its memory is reserved at once, and becomes resident where it is used. The functions run
/// at any IRQL.
///
/// ```
/// use storport_pool::VerifierOptions;
/// let options = VerifierOptions::new().notes(1 << 16).stacks(8192).quarantine(1024).freed(8192);
/// assert!(options.bytes(64) < 8 << 20); // for a pool of 64 accounts
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "options make a verifier by `Pool::verifier`"]
pub struct VerifierOptions {
    pub(crate) notes: u32,
    pub(crate) stacks: u32,
    pub(crate) quarantine: u32,
    pub(crate) freed: u32,
}

impl Default for VerifierOptions {
    fn default() -> VerifierOptions {
        VerifierOptions::new()
    }
}

/// Rounded up to a power of two within these bounds.
const fn sized(count: u32, least: u32) -> u32 {
    let most = 1 << 24;
    let count = if count < least { least } else { count };
    if count >= most { most } else { count.next_power_of_two() }
}

impl VerifierOptions {
    /// The defaults: 32,768 notes, 4096 call stacks, 256 blocks in quarantine, 4096 freed blocks remembered. They take
    /// about 2 MiB.
    pub const fn new() -> VerifierOptions {
        VerifierOptions { notes: 1 << 15, stacks: 1 << 12, quarantine: 256, freed: 1 << 12 }
    }

    /// How many blocks, live and freed, have a note of their call stacks: 32 bytes each. Rounded up to a power of two,
    /// at least 64.
    ///
    /// When there are more, the newest have none, and
    /// [`VerifierStats::notes_left_out`](crate::VerifierStats::notes_left_out) counts them. That may begin when three
    /// quarters are in use.
    pub const fn notes(mut self, notes: u32) -> VerifierOptions {
        self.notes = sized(notes, 64);
        self
    }

    /// How many distinct call stacks it keeps: 208 bytes each. Rounded up to a power of two, at least 64.
    pub const fn stacks(mut self, stacks: u32) -> VerifierOptions {
        self.stacks = sized(stacks, 64);
        self
    }

    /// How many freed blocks wait in the quarantine. Rounded up to a power of two.
    pub const fn quarantine(mut self, blocks: u32) -> VerifierOptions {
        self.quarantine = sized(blocks, 1);
        self
    }

    /// How many freed blocks keep their call stacks: the last ones. Rounded up to a power of two.
    pub const fn freed(mut self, blocks: u32) -> VerifierOptions {
        self.freed = sized(blocks, 1);
        self
    }

    /// Bytes of memory that [`Pool::verifier_in`](crate::Pool::verifier_in) wants, for a pool with this many
    /// [accounts](crate::Config::accounts).
    #[must_use]
    pub const fn bytes(&self, accounts: u32) -> usize {
        LARGEST_HEADER
            + self.notes as usize * 32
            + self.stacks as usize * 208
            + (self.quarantine as usize + self.freed as usize + accounts as usize) * 8
    }
}

/// What the rest of a verifier takes at most.
pub(crate) const LARGEST_HEADER: usize = 4096;
