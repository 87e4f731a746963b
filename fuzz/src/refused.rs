//! Configurations of any kind: the invalid ones are refused, with a reason that they gave.

use arbitrary::Arbitrary;
use storport_pool::{Config, CreateError, Pool, PoolOptions, Portable, SingleCpu};

use crate::common::{Memory, SPAN};

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Number {
    Good,
    /// One of the bounds, or beside it.
    Bound(u8),
    Any(u32),
}

impl Number {
    fn pick(self, good: u32, bounds: &[u32]) -> u32 {
        match self {
            Number::Good => good,
            Number::Bound(n) => bounds[usize::from(n) % bounds.len()],
            Number::Any(number) => number,
        }
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Bytes {
    Small(u32),
    Bound(u8),
    Any(u64),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Odd {
    base: u64,
    bytes: Bytes,
    cpus: Number,
    accounts: Number,
    adapters: Number,
    min_block: Number,
    magazines: Number,
    /// Of the metadata, what is withheld, and how far it is moved.
    short: u16,
    askew: u16,
}

const MOST: u64 = 64 << 30;
/// Pools with more metadata are not made.
const MOST_METADATA: usize = 2 << 20;

impl Odd {
    pub fn check(&self) {
        let bytes = match self.bytes {
            Bytes::Small(bytes) => bytes.into(),
            Bytes::Bound(n) => [0, SPAN - 1, SPAN, SPAN + 1, MOST - 1, MOST, MOST + 1][usize::from(n) % 7],
            Bytes::Any(bytes) => bytes,
        };
        let cpus = self.cpus.pick(1, &[0, 1, 512, 513, u32::MAX]);
        let accounts = self.accounts.pick(16, &[0, 8, 15, 16, 17, 24, 1 << 15, 1 << 16, 1 << 31]);
        let adapters = self.adapters.pick(4, &[0, 1, 1023, 1024, u32::MAX]);
        let min_block = self.min_block.pick(16, &[0, 8, 15, 17, 24, 32, 4096, 8192, 1 << 31]);
        let magazines = self.magazines.pick(0, &[1, u32::MAX]);
        let config = Config::new(self.base, bytes)
            .cpus(cpus)
            .accounts(accounts)
            .adapters(adapters)
            .min_block(min_block)
            .magazines(magazines);

        let mut faults = Vec::new();
        let mut fault = |is: bool, what| is.then(|| faults.push(what));
        let power = |n: u32, least, most| n.is_power_of_two() && (least..=most).contains(&n);
        fault(cpus == 0 || cpus > 512, CreateError::Cpus(cpus));
        fault(!power(accounts, 16, 32_768), CreateError::Accounts(accounts));
        fault(adapters == 0 || adapters > 1023, CreateError::Adapters(adapters));
        fault(!power(min_block, 16, 4096), CreateError::MinBlock(min_block));
        let options = PoolOptions::new(bytes)
            .cpus(cpus)
            .accounts(accounts)
            .adapters(adapters)
            .min_block(min_block)
            .magazines(magazines);
        let (mut theirs, end) = (faults.clone(), u128::from(self.base) + u128::from(bytes));
        let first = u128::from(self.base.max(1)).next_multiple_of(SPAN.into());
        let mut fault = |is: bool, what| is.then(|| faults.push(what));
        fault(bytes > MOST, CreateError::RangeTooLarge { bytes });
        fault(end > u64::MAX.into(), CreateError::RangePastEnd { base: self.base, bytes });
        fault(end < first + u128::from(SPAN), CreateError::RangeTooSmall { bytes });
        // The system chooses the base.
        let mut fault = |is: bool, what| is.then(|| theirs.push(what));
        fault(bytes > MOST, CreateError::RangeTooLarge { bytes });
        fault(bytes < SPAN, CreateError::RangeTooSmall { bytes });

        let needed = config.metadata_bytes();
        match needed {
            Ok(_) => assert_eq!(faults, []),
            Err(error) => assert!(faults.contains(&error), "{error:?}, {faults:?}"),
        }
        if let Ok(needed) = needed
            && needed <= MOST_METADATA
        {
            let spans = ((end - first) / u128::from(SPAN)).min((u128::from(MOST) - 1) / u128::from(SPAN));
            self.check_metadata(&config, needed, (first as u64, spans as u64 * SPAN));
        }
        if !theirs.is_empty() {
            let error = options.build().unwrap_err();
            assert!(theirs.contains(&error), "{error:?}, {theirs:?}");
        }
    }

    /// Metadata that is too small or not aligned is refused; else the range is as promised.
    fn check_metadata(&self, config: &Config, needed: usize, range: (u64, u64)) {
        let memory = Memory::new(config);
        assert_eq!(memory.bytes().len(), needed);
        let (short, askew) = (usize::from(self.short) % needed, usize::from(self.askew) % 4096);
        let moved = askew.min(short);
        // SAFETY: no more is moved than is withheld, so the rest lies inside.
        let start = unsafe { memory.bytes().cast::<u8>().byte_add(moved) };
        let metadata = std::ptr::NonNull::slice_from_raw_parts(start, needed - short);
        // SAFETY: fresh zeroed memory that outlives the pool; nobody touches the range.
        let pool = unsafe { Pool::new_in(config, metadata, Portable::new(SingleCpu)) };
        match pool {
            Ok(pool) => {
                assert_eq!((short, moved), (0, 0));
                assert_eq!(pool.range(), range);
            }
            Err(error) => {
                assert_eq!(error, CreateError::MetadataTooSmall { given: needed - short, needed });
                assert!(short > 0);
            }
        }
    }
}
