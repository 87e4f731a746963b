//! Where each table of the metadata lies, as a function of the configuration.
//!
//! Offsets count from the *base*. Account words lie below it; the control block, at the base, is
//! followed by the page map, so the fast paths reach both at constant offsets.

use core::fmt;

use super::classes::{CLASS_SLOTS, CLASSES, Class, MAGAZINE_ENTRIES, PAGE, SLAB_CLASSES, SPAN};
use super::cursor::MAGAZINE_WORDS;
use super::header::Account;
use super::range::Range;

/// Bytes of one counter cell.
const CELL: usize = 8;
/// Bytes of an account's counter cells of one CPU.
pub(crate) const CELL_ROW: usize = CLASS_SLOTS * CELL;
/// Offset of a CPU's spares from its block; its cursors lie at 0.
pub(crate) const SPARES: usize = CLASS_SLOTS * 4;
const CPU_WORDS: usize = 2 * CLASS_SLOTS * 4;
/// Bytes of an adapter's record.
pub(crate) const ADAPTER_BYTES: usize = 64;
/// The page map begins here, behind the control block.
/// (Loom: its control block lies elsewhere.)
pub(crate) const PAGE_MAP: usize = if cfg!(storport_pool_loom) { 16 } else { 10 << 10 };
/// CPUs that can have a cache.
pub(crate) const MAX_CPUS: usize = 512;

/// The least range: one span.
pub(crate) const MIN_RANGE: u64 = SPAN as u64;
const MAX_RANGE: u64 = 64 << 30;
/// A node of a block queue is its id + 1 in 32 bits, so the last span of 64 GiB stays unused.
const MAX_SPANS: u64 = (MAX_RANGE / SPAN as u64) - 1;
/// (Loom: few words.)
const MIN_ACCOUNTS: u32 = if cfg!(storport_pool_loom) { 4 } else { 16 };
const MAX_ACCOUNTS: u32 = 1 << 15;
pub(crate) const MAX_ADAPTERS: u32 = 1 << 10;

/// What a pool is made of: its address range, and how many CPUs, accounts and adapters its
/// metadata must hold. All of it is fixed at creation.
///
/// ```
/// use storport_pool::Config;
/// const GUEST: Config = Config::new(0x8000_0000, 64 << 20).cpus(4).min_block(64);
/// const METADATA: usize = match GUEST.metadata_bytes() {
///     Ok(bytes) => bytes,
///     Err(_) => panic!("the configuration is out of bounds"),
/// };
/// assert!(METADATA < 32 << 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub(crate) base: u64,
    pub(crate) bytes: u64,
    pub(crate) cpus: u32,
    pub(crate) accounts: u32,
    pub(crate) adapters: u32,
    pub(crate) min_block: u32,
    pub(crate) magazines: u32,
    pub(crate) strict_tags: bool,
}

/// Why no pool can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CreateError {
    /// After the base was rounded up to 64 KiB, less than 64 KiB is left.
    RangeTooSmall,
    /// The range is larger than 64 GiB, or passes the end of the address space.
    RangeTooLarge,
    /// The number of CPUs is 0 or above 512.
    Cpus,
    /// The number of accounts is no power of two from 16 to 32768.
    Accounts,
    /// The number of adapters is 0 or above 1023.
    Adapters,
    /// The smallest block is no power of two from 16 to 4096.
    MinBlock,
    /// The metadata memory is smaller than [`Config::metadata_bytes`], or not aligned to 4096.
    Metadata,
    /// The operating system did not give the memory; its error number.
    Os(i32),
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CreateError::RangeTooSmall => "the range holds no whole, aligned span of 64 KiB",
            CreateError::RangeTooLarge => {
                "the range is larger than 64 GiB or passes the end of the address space"
            }
            CreateError::Cpus => "the number of CPUs must be 1 to 512",
            CreateError::Accounts => "the number of accounts must be a power of two from 16 to 32768",
            CreateError::Adapters => "the number of adapters must be 1 to 1023",
            CreateError::MinBlock => "the smallest block must be a power of two from 16 to 4096",
            CreateError::Metadata => "the metadata memory is too small or not aligned to 4096 bytes",
            CreateError::Os(code) => {
                return write!(f, "the operating system refused the memory (error {code})");
            }
        })
    }
}

impl core::error::Error for CreateError {}

impl Config {
    /// A pool over `bytes` bytes from address `base`: one CPU, 1024 accounts, 64 adapters,
    /// blocks from 16 bytes up.
    ///
    /// The base is rounded up to 64 KiB, and address 0 is never handed out. The pool does not
    /// touch the range, so it need not be memory of the host.
    #[must_use]
    pub const fn new(base: u64, bytes: u64) -> Config {
        Config {
            base,
            bytes,
            cpus: 1,
            accounts: 1024,
            adapters: 64,
            min_block: 16,
            magazines: 0,
            strict_tags: false,
        }
    }

    /// How many CPUs have a cache; count *possible* CPUs. Calls from CPU numbers at or above
    /// this share one slower path. 1 to 512.
    #[must_use]
    pub const fn cpus(mut self, cpus: u32) -> Config {
        self.cpus = cpus;
        self
    }

    /// How many pairs of adapter and tag are told apart; a power of two from 16 to 32768. Beyond, an
    /// allocation counts under its adapter's *other* row. Each costs 328 bytes per CPU.
    #[must_use]
    pub const fn accounts(mut self, accounts: u32) -> Config {
        self.accounts = accounts;
        self
    }

    /// How many adapters may live at once, 1 to 1023.
    #[must_use]
    pub const fn adapters(mut self, adapters: u32) -> Config {
        self.adapters = adapters;
        self
    }

    /// The smallest block: a power of two from 16 to 4096. It bounds the header tables, which
    /// take nearly `16 / min_block` of the range in address space.
    #[must_use]
    pub const fn min_block(mut self, bytes: u32) -> Config {
        self.min_block = bytes;
        self
    }

    /// How many magazines (1024 bytes each) the metadata holds; 0, the default, means enough for
    /// a pool that is all free. When they are spent, frees still succeed, through the queues.
    #[must_use]
    pub const fn magazines(mut self, magazines: u32) -> Config {
        self.magazines = magazines;
        self
    }

    /// Refuse the tags that Windows 1903 and later refuse: 0, "BIG", and those without a letter
    /// or digit.
    #[must_use]
    pub const fn strict_tags(mut self, strict: bool) -> Config {
        self.strict_tags = strict;
        self
    }

    /// Bytes of metadata that this configuration needs, aligned to 4096.
    ///
    /// # Errors
    /// The first [`CreateError`] that the configuration earns.
    pub const fn metadata_bytes(&self) -> Result<usize, CreateError> {
        match Geometry::new(self) {
            Ok(geometry) => Ok(geometry.below + geometry.above),
            Err(error) => Err(error),
        }
    }

    /// The base, rounded up, and the number of spans.
    const fn spans(&self) -> Result<(u64, u32), CreateError> {
        let span = SPAN as u64;
        let Some(end) = self.base.checked_add(self.bytes) else {
            return Err(CreateError::RangeTooLarge);
        };
        if self.bytes > MAX_RANGE {
            return Err(CreateError::RangeTooLarge);
        }
        let first = if self.base == 0 { span } else { self.base.div_ceil(span).saturating_mul(span) };
        if end < first || end - first < MIN_RANGE {
            return Err(CreateError::RangeTooSmall);
        }
        let spans = (end - first) / span;
        Ok((first, if spans > MAX_SPANS { MAX_SPANS } else { spans } as u32))
    }
}

/// Offsets of all tables, in bytes from the base.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) range: Range,
    pub(crate) spans: u32,
    pub(crate) least_class: u8,
    /// Bytes below the base: the account words, rounded up to a page.
    pub(crate) below: usize,
    /// Bytes from the base up.
    pub(crate) above: usize,
    pub(crate) adapters: usize,
    /// How many the host may add.
    pub(crate) adapters_len: u32,
    pub(crate) cpu_blocks: usize,
    pub(crate) cpu_stride: usize,
    pub(crate) span_words: usize,
    pub(crate) free_spans: usize,
    pub(crate) touched_spans: usize,
    /// The first magazine, in words.
    pub(crate) arena: u32,
    /// The end of the last one, in words.
    pub(crate) arena_end: u32,
    /// By class: index of the class's header region, counted in headers.
    pub(crate) tables: [u64; CLASS_SLOTS],
}

const fn align(offset: usize, to: usize) -> usize {
    offset.next_multiple_of(to)
}

impl Geometry {
    pub(crate) const fn bitmap_words(&self) -> usize {
        self.spans.div_ceil(64) as usize
    }

    /// Offset of a CPU's block: its cursors; its counter cells lie below. CPU number `cpus` is the shared row.
    pub(crate) const fn cpu_block(&self, cpu: u32) -> usize {
        self.cpu_blocks + cpu as usize * self.cpu_stride
    }

    /// Offset of a counter cell from its CPU's block.
    #[inline(always)]
    pub(crate) const fn cell_offset(account: Account, class: Class) -> isize {
        account.0 * CELL_ROW as isize + class.index() as isize * 8
    }

    pub(crate) const fn new(config: &Config) -> Result<Geometry, CreateError> {
        if config.cpus == 0 || config.cpus as usize > MAX_CPUS {
            return Err(CreateError::Cpus);
        }
        if !config.accounts.is_power_of_two()
            || config.accounts < MIN_ACCOUNTS
            || config.accounts > MAX_ACCOUNTS
        {
            return Err(CreateError::Accounts);
        }
        if config.adapters == 0 || config.adapters >= MAX_ADAPTERS {
            return Err(CreateError::Adapters);
        }
        if !config.min_block.is_power_of_two() || config.min_block < 16 || config.min_block > PAGE {
            return Err(CreateError::MinBlock);
        }
        let (range_base, spans) = match config.spans() {
            Ok(found) => found,
            Err(error) => return Err(error),
        };
        let mut least_class = 0;
        while Class(least_class).bytes() < config.min_block {
            least_class += 1;
        }

        let accounts = config.accounts as usize;
        let below = align(accounts * 8, PAGE as usize);
        let bitmap = spans.div_ceil(64) as usize * 8;

        let adapters = align(PAGE_MAP + spans as usize * 8, 64);
        // One record more: the orphans.
        let free_spans = align(adapters + (config.adapters as usize + 1) * ADAPTER_BYTES, 64);
        let touched_spans = align(free_spans + bitmap, 64);
        let span_words = align(touched_spans + bitmap, 64);
        let cells = align(accounts * CELL_ROW, 128);
        let first_cpu = align(span_words + spans as usize * 4, 128);
        let cpu_stride = align(cells + CPU_WORDS, 128);
        let cpu_blocks = first_cpu + cells;
        // One block more: the shared row.
        let mut end = first_cpu + (config.cpus as usize + 1) * cpu_stride;

        let magazine_bytes = MAGAZINE_WORDS as usize * 4;
        let arena = align(end, magazine_bytes);
        let ids_per_span = SPAN / config.min_block;
        let needed = if config.magazines > 0 {
            config.magazines as usize
        } else {
            spans as usize * (ids_per_span / MAGAZINE_ENTRIES + 1) as usize
                + 2 * config.cpus as usize * SLAB_CLASSES
        };
        // A magazine's place counts words, in 32 bits.
        let limit = (1 << 34) - magazine_bytes;
        if arena >= limit {
            return Err(CreateError::RangeTooLarge);
        }
        let mut arena_end = arena + needed * magazine_bytes;
        if arena_end > limit {
            arena_end = limit;
        }
        end = arena_end;

        let mut tables = [0; CLASS_SLOTS];
        let mut class = least_class;
        let mut last_k4 = u32::MAX;
        while (class as usize) < CLASSES {
            let k4 = Class(class).grain_shift();
            if k4 != last_k4 {
                // Regions begin at different cache sets, as slabs do.
                end = align(end, 64) + 5 * 64;
                tables[class as usize] = (end / 8) as u64;
                end += spans as usize * (super::classes::SPAN_GRAINS as usize >> k4) * 8;
                last_k4 = k4;
            } else {
                tables[class as usize] = tables[class as usize - 1];
            }
            class += 1;
        }

        Ok(Geometry {
            range: Range::new(range_base, spans),
            spans,
            least_class,
            below,
            above: align(end, PAGE as usize),
            adapters,
            adapters_len: config.adapters,
            cpu_blocks,
            cpu_stride,
            span_words,
            free_spans,
            touched_spans,
            arena: (arena / 4) as u32,
            arena_end: (arena_end / 4) as u32,
            tables,
        })
    }
}
