//! Small pools of every platform, over every kind of range.

use std::sync::OnceLock;

use arbitrary::Arbitrary;
use storport_pool::{Config, PoolOptions};

use crate::Subject;
use crate::common::{Rseq, SPAN, SimMasked, SimPortable, Twin, Way};
use crate::model::{Model, Rules};

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Kind {
    Rseq,
    Twin,
    SimPortable,
    SimMasked,
}

/// Where the blocks lie.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Range {
    System { resident: bool },
    Inaccessible,
    MadeUp,
    Anywhere(u64),
}

/// A valid choice.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Make {
    kind: Kind,
    range: Range,
    spans: u8,
    cpus: u8,
    accounts: u8,
    adapters: u8,
    min_block: u8,
    magazines: u8,
    strict_tags: bool,
}

const MOST_SPANS: u64 = 6;

impl Make {
    pub fn build(&self) -> Box<dyn Subject> {
        match self.kind {
            Kind::Rseq => self.build_as::<Rseq>(),
            Kind::Twin => self.build_as::<Twin>(),
            Kind::SimPortable => self.build_as::<SimPortable>(),
            Kind::SimMasked => self.build_as::<SimMasked>(),
        }
    }

    fn build_as<W: Way>(&self) -> Box<dyn Subject> {
        let bytes = (1 + u64::from(self.spans) % MOST_SPANS) * SPAN;
        let (cpus, accounts) = (1 + u32::from(self.cpus % 4), 16 << (self.accounts % 3));
        let adapters = 1 + u32::from(self.adapters % 5);
        // Mostly the default.
        let min_block = if self.min_block < 128 { 16 } else { 16 << (self.min_block % 9) };
        let magazines = if self.magazines < 128 { 0 } else { 1 + u32::from(self.magazines % 32) };
        let rules = Rules { adapters: adapters as usize, min_block, strict_tags: self.strict_tags };
        let over = |base| {
            Config::new(base, bytes)
                .cpus(cpus)
                .accounts(accounts)
                .adapters(adapters)
                .min_block(min_block)
                .magazines(magazines)
                .strict_tags(self.strict_tags)
        };
        let model = match self.range {
            Range::System { resident } => {
                let options = PoolOptions::new(bytes)
                    .cpus(cpus)
                    .accounts(accounts)
                    .adapters(adapters)
                    .min_block(min_block)
                    .magazines(magazines)
                    .strict_tags(self.strict_tags)
                    .resident(resident);
                Model::<W>::build(options, rules)
            }
            Range::Inaccessible => Model::over(&over(inaccessible()), rules),
            Range::MadeUp => Model::over(&over(0xFFFF_8800_0000_0000), rules),
            // Rounding the base up takes less than a span, unless it is the first.
            Range::Anywhere(base) => {
                let base = base.clamp(SPAN, u64::MAX - 2 * MOST_SPANS * SPAN).next_multiple_of(SPAN);
                Model::over(&over(base), rules)
            }
        };
        let mut model = model.unwrap();
        assert_eq!(model.pool.range().1, bytes);
        model.add("first");
        Box::new(model)
    }
}

/// The first address of a range that ends the process when it is touched.
#[cfg(target_os = "linux")]
fn inaccessible() -> u64 {
    use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
    static BASE: OnceLock<u64> = OnceLock::new();
    *BASE.get_or_init(|| {
        let bytes = std::num::NonZeroUsize::new(((MOST_SPANS + 1) * SPAN) as usize).unwrap();
        // SAFETY: a new mapping at an address of the kernel's choice, for ever.
        let range =
            unsafe { mmap_anonymous(None, bytes, ProtFlags::PROT_NONE, MapFlags::MAP_PRIVATE) }.unwrap();
        (range.addr().get() as u64).next_multiple_of(SPAN)
    })
}

#[cfg(not(target_os = "linux"))]
fn inaccessible() -> u64 {
    static BASE: OnceLock<u64> = OnceLock::new();
    *BASE.get_or_init(|| 0x4000_0000)
}
