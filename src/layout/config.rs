//! What a pool is made of: what its maker decides, and which of it no pool can be made of.

use super::classes::{MOST_SPAN, PAGE, SpanSize};
use super::create_error::CreateError;

/// CPUs that can have a cache.
pub(crate) const MAX_CPUS: usize = 512;

/// The least range: one span of the largest size.
const MIN_RANGE: u64 = MOST_SPAN as u64;
const MAX_RANGE: u64 = 64 << 30;
/// A carve word holds a span + 1, so the last span of 64 GiB stays unused.
const MAX_SPANS: u64 = (MAX_RANGE / MOST_SPAN as u64) - 1;
/// (Loom: few words.)
const MIN_ACCOUNTS: u32 = if cfg!(storport_pool_loom) { 4 } else { 16 };
const MAX_ACCOUNTS: u32 = 1 << 15;
const MAX_ADAPTERS: u32 = 1 << 10;
/// Bytes of the range to each account, where the host does not say how many.
const BYTES_AN_ACCOUNT: u64 = 256 << 10;
/// The bounds of such a number.
const DEFAULT_ACCOUNTS: (u32, u32) = (64, 1024);
/// The most adapters that the host gets without asking for them.
const DEFAULT_ADAPTERS: u32 = 64;

/// What a pool is made of: its address range, and how many CPUs, accounts and adapters its metadata has room for. All
/// of it is fixed when the pool is made.
///
/// No function refuses a value. A figure that is out of bounds is told when the pool is made, or by
/// [`metadata_bytes`](Config::metadata_bytes). The functions are `const`, and run at any IRQL.
///
/// ```
/// use storport_pool::Config;
/// const GUEST: Config = Config::new(0x8000_0000, 64 << 20).cpus(4).min_block(64);
/// const METADATA: usize = match GUEST.metadata_bytes() {
///     Ok(bytes) => bytes,
///     Err(_) => panic!("the configuration is out of bounds"),
/// };
/// assert!(METADATA < 32 << 20);
/// assert_eq!((GUEST.default_accounts(), GUEST.default_adapters()), (256, 64));
/// // More owners and tags, magazines by hand, and the tags that Windows refuses are refused.
/// let large = GUEST.accounts(1024).adapters(100).magazines(4096).strict_tags(true);
/// assert!(large.metadata_bytes()? > METADATA);
/// # Ok::<(), storport_pool::CreateError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "fields::Fields", into = "fields::Fields"))]
pub struct Config {
    pub(crate) base: u64,
    pub(crate) bytes: u64,
    pub(crate) cpus: u32,
    pub(crate) accounts: u32,
    pub(crate) adapters: u32,
    pub(crate) min_block: u32,
    pub(crate) magazines: u32,
    pub(crate) strict_tags: bool,
    /// Spans of the largest size, however small the range; for tests of the sections that large pools run.
    pub(crate) large_spans: bool,
}

impl Config {
    /// A pool over `bytes` bytes from address `base` on, 64 KiB to 64 GiB. It has one CPU and blocks from 16 bytes up.
    /// It has as many [accounts](Config::accounts) and [adapters](Config::adapters) as suit a range of that size.
    ///
    /// The base is rounded up to 64 KiB. Address 0 is never handed out. The pool does not touch the range, so it need
    /// not be memory of the host.
    #[must_use]
    pub const fn new(base: u64, bytes: u64) -> Config {
        let config = Config {
            base,
            bytes,
            cpus: 1,
            accounts: 0,
            adapters: 0,
            min_block: 16,
            magazines: 0,
            strict_tags: false,
            large_spans: false,
        };
        config.accounts(config.default_accounts()).adapters(config.default_adapters())
    }

    /// How many [accounts](Config::accounts) a range of this size has by default.
    #[must_use]
    pub const fn default_accounts(&self) -> u32 {
        let (least, most) = DEFAULT_ACCOUNTS;
        let mut accounts = least;
        while accounts < most && (accounts as u64) * 2 <= self.bytes / BYTES_AN_ACCOUNT {
            accounts *= 2;
        }
        accounts
    }

    /// How many [adapters](Config::adapters) a range of this size has by default.
    #[must_use]
    pub const fn default_adapters(&self) -> u32 {
        let quarter = self.default_accounts() / 4;
        if quarter < DEFAULT_ADAPTERS { quarter } else { DEFAULT_ADAPTERS }
    }

    /// How many CPUs have a cache, 1 to 512. Count *possible* CPUs. Calls from CPU numbers at or above this share one
    /// slower path.
    #[must_use]
    pub const fn cpus(mut self, cpus: u32) -> Config {
        self.cpus = cpus;
        self
    }

    /// How many accounts there are. An account is a pair of adapter and tag that is told apart. A power of two from 16
    /// to 32768. Each costs 328 bytes, and 320 more for each CPU: 648 with one.
    ///
    /// By default there is one to each 256 KiB of the range, rounded down to a power of two: at least 64, at most 1024
    /// ([`default_accounts`](Config::default_accounts)).
    ///
    /// A pair can stand in eight places of the table. If pairs of other live adapters stand in all eight, its
    /// allocations count in its adapter's *other* row. Every adapter has one.
    ///
    /// Pairs of removed adapters make room. The totals of such a tag are kept as long as no live pair needs the place.
    /// Then they go to one row without a tag. Blocks that removed adapters left keep their tags until their pairs fill
    /// a quarter of the table. Then they go to one row, too.
    #[must_use]
    pub const fn accounts(mut self, accounts: u32) -> Config {
        self.accounts = accounts;
        self
    }

    /// How many adapters may live at once, 1 to 1023, however few the accounts. Each costs 384 bytes. The default is a
    /// quarter of the default number of [accounts](Config::accounts), and at most 64. So it is 16 for ranges of less
    /// than 32 MiB, and 64 from 64 MiB on.
    ///
    /// Each of these *places* can have one adapter after the other, but not for ever. A handle has 18 bits, for the
    /// place and for its life. When every free place has had all its lives, [`add_adapter`](crate::Pool::add_adapter)
    /// answers [`WornOut`](crate::AdapterError::WornOut). A number just below a power of two gives the most lives.
    ///
    /// | at once | lives of a place | lives of the pool, at the most adapters of the row |
    /// |---|---|---|
    /// | 1 to 3 | 65,535 | 196,605 |
    /// | 4 to 7 | 32,767 | 229,369 |
    /// | 8 to 15 | 16,383 | 245,745 |
    /// | 16 to 31 | 8,191 | 253,921 |
    /// | 32 to 63 | 4,095 | 257,985 |
    /// | 64 to 127 | 2,047 | 259,969 (131,008 at 64) |
    /// | 128 to 255 | 1,023 | 260,865 |
    /// | 256 to 511 | 511 | 261,121 |
    /// | 512 to 1023 | 255 | 260,865 |
    #[must_use]
    pub const fn adapters(mut self, adapters: u32) -> Config {
        self.adapters = adapters;
        self
    }

    /// Bytes of the smallest block: a power of two from 16 to 4096. The size of the metadata depends on it:
    /// [`metadata_bytes`](Config::metadata_bytes) has a table.
    #[must_use]
    pub const fn min_block(mut self, bytes: u32) -> Config {
        self.min_block = bytes;
        self
    }

    /// How many magazines the metadata holds. A magazine has 1024 bytes: a list of free blocks.
    ///
    /// 0 is the default: as many as hold all blocks of the pool, and two more for each CPU and size, as far as those
    /// fit a quarter of the range. There are never more than fit into the most metadata that a pool can have, 16 GiB.
    ///
    /// When all are in use, frees still succeed, but are slower: each marks its block in a bitmap.
    #[must_use]
    pub const fn magazines(mut self, magazines: u32) -> Config {
        self.magazines = magazines;
        self
    }

    /// For tests: spans of 64 KiB in a small range, too.
    #[doc(hidden)]
    #[must_use]
    pub const fn large_spans(mut self) -> Config {
        self.large_spans = true;
        self
    }

    /// Whether to refuse the tags that Windows 1903 and later refuse: 0, "BIG", and those without a letter or digit.
    #[must_use]
    pub const fn strict_tags(mut self, strict: bool) -> Config {
        self.strict_tags = strict;
        self
    }

    /// The base, rounded up, the number of spans and their size, if all numbers are within their bounds.
    pub(super) const fn checked_spans(&self) -> Result<(u64, u32, SpanSize), CreateError> {
        if self.cpus == 0 || self.cpus as usize > MAX_CPUS {
            return Err(CreateError::Cpus(self.cpus));
        }
        if !self.accounts.is_power_of_two() || self.accounts < MIN_ACCOUNTS || self.accounts > MAX_ACCOUNTS {
            return Err(CreateError::Accounts(self.accounts));
        }
        if self.adapters == 0 || self.adapters >= MAX_ADAPTERS {
            return Err(CreateError::Adapters(self.adapters));
        }
        if !self.min_block.is_power_of_two() || self.min_block < 16 || self.min_block > PAGE {
            return Err(CreateError::MinBlock(self.min_block));
        }
        let span = MOST_SPAN as u64;
        if self.bytes > MAX_RANGE {
            return Err(CreateError::RangeTooLarge { bytes: self.bytes });
        }
        let Some(end) = self.base.checked_add(self.bytes) else {
            return Err(CreateError::RangePastEnd { base: self.base, bytes: self.bytes });
        };
        let first = if self.base == 0 { span } else { self.base.div_ceil(span).saturating_mul(span) };
        if end < first || end - first < MIN_RANGE {
            return Err(CreateError::RangeTooSmall { bytes: self.bytes });
        }
        let largest = (end - first) / span;
        let largest = if largest > MAX_SPANS { MAX_SPANS } else { largest };
        let size = if self.large_spans { SpanSize::MOST } else { SpanSize::of_range(largest * span) };
        Ok((first, (largest * span / size.bytes() as u64) as u32, size))
    }
}

/// How a configuration looks in JSON and its like. Only `bytes` must be there; the others are as [`Config::new`] has them.
#[cfg(feature = "serde")]
mod fields {
    use super::Config;

    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(deny_unknown_fields, rename = "Config")]
    pub(super) struct Fields {
        #[serde(default)]
        base: u64,
        bytes: u64,
        cpus: Option<u32>,
        accounts: Option<u32>,
        adapters: Option<u32>,
        min_block: Option<u32>,
        magazines: Option<u32>,
        strict_tags: Option<bool>,
    }

    impl From<Fields> for Config {
        fn from(fields: Fields) -> Config {
            let plain = Config::new(fields.base, fields.bytes);
            Config {
                cpus: fields.cpus.unwrap_or(plain.cpus),
                accounts: fields.accounts.unwrap_or(plain.accounts),
                adapters: fields.adapters.unwrap_or(plain.adapters),
                min_block: fields.min_block.unwrap_or(plain.min_block),
                magazines: fields.magazines.unwrap_or(plain.magazines),
                strict_tags: fields.strict_tags.unwrap_or(plain.strict_tags),
                ..plain
            }
        }
    }

    impl From<Config> for Fields {
        fn from(config: Config) -> Fields {
            Fields {
                base: config.base,
                bytes: config.bytes,
                cpus: Some(config.cpus),
                accounts: Some(config.accounts),
                adapters: Some(config.adapters),
                min_block: Some(config.min_block),
                magazines: Some(config.magazines),
                strict_tags: Some(config.strict_tags),
            }
        }
    }
}
