//! Why no pool can be made, with the figures that were asked for.

use core::fmt;

/// Why no pool can be made. Each variant names the figure that was asked for. [`Display`](fmt::Display) says the bounds
/// too.
///
/// ```
/// use storport_pool::{CreateError, PoolOptions};
/// let error = PoolOptions::new(1 << 20).cpus(600).build().unwrap_err();
/// assert_eq!(error, CreateError::Cpus(600));
/// assert_eq!(error.to_string(), "600 CPUs were asked for; a pool has 1 to 512");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub enum CreateError {
    /// Less than 64 KiB is left of the range, after its base was rounded up to 64 KiB.
    RangeTooSmall {
        /// Bytes of the range.
        bytes: u64,
    },
    /// The range has more than 64 GiB.
    RangeTooLarge {
        /// Bytes of the range.
        bytes: u64,
    },
    /// The range passes the end of the address space.
    RangePastEnd {
        /// Its first address.
        base: u64,
        /// Its bytes.
        bytes: u64,
    },
    /// The number of CPUs is 0 or above 512.
    Cpus(u32),
    /// The number of accounts is no power of two from 16 to 32768.
    Accounts(u32),
    /// The number of adapters is 0 or above 1023.
    Adapters(u32),
    /// The smallest block, in bytes, is no power of two from 16 to 4096.
    MinBlock(u32),
    /// The metadata memory is smaller than [`Config::metadata_bytes`](crate::Config::metadata_bytes).
    MetadataTooSmall {
        /// Bytes that it has.
        given: usize,
        /// Bytes that the pool needs.
        needed: usize,
    },
    /// The configuration needs more metadata than a pool can have, 16 GiB. Fewer CPUs or a larger smallest block need less.
    TooMuchMetadata,
    /// The metadata memory does not begin at a multiple of 4096.
    MetadataUnaligned {
        /// Where it begins.
        address: usize,
    },
    /// The operating system did not give this much address space.
    Os {
        /// Its error number. On Linux, 12 means that a limit of the process (`ulimit -v`) or of the system was reached.
        code: i32,
        /// Bytes that were asked for at once.
        bytes: u64,
    },
    /// The environment variable `STORPORT_POOL_COMMIT` is neither `auto` nor `portable`.
    CommitVariable,
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            CreateError::RangeTooSmall { bytes } => {
                write!(f, "a range of {bytes} bytes holds no whole 64 KiB at a multiple of 64 KiB")
            }
            CreateError::RangeTooLarge { bytes } => {
                write!(f, "a range of {bytes} bytes is too large; a pool has up to 64 GiB")
            }
            CreateError::RangePastEnd { base, bytes } => {
                write!(f, "a range of {bytes} bytes at {base:#x} passes the end of the address space")
            }
            CreateError::Cpus(cpus) => write!(f, "{cpus} CPUs were asked for; a pool has 1 to 512"),
            CreateError::Accounts(accounts) => {
                write!(f, "{accounts} accounts were asked for; a pool has a power of two from 16 to 32768")
            }
            CreateError::Adapters(adapters) => {
                write!(f, "{adapters} adapters were asked for; a pool has 1 to 1023")
            }
            CreateError::MinBlock(bytes) => {
                write!(
                    f,
                    "a smallest block of {bytes} bytes was asked for; it is a power of two from 16 to 4096"
                )
            }
            CreateError::MetadataTooSmall { given, needed } => {
                write!(f, "the metadata memory has {given} bytes; this pool needs {needed}")
            }
            CreateError::TooMuchMetadata => f.write_str(
                "this needs more than 16 GiB of metadata; fewer CPUs or a larger smallest block need less",
            ),
            CreateError::MetadataUnaligned { address } => {
                write!(f, "the metadata memory begins at {address:#x}, which is no multiple of 4096")
            }
            CreateError::Os { code, bytes } => {
                write!(f, "the operating system refused {bytes} bytes of address space (error {code})")
            }
            CreateError::CommitVariable => {
                f.write_str("STORPORT_POOL_COMMIT must be \"auto\" or \"portable\", or not be set")
            }
        }
    }
}

impl core::error::Error for CreateError {}
