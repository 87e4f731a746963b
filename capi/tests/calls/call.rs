//! What is called, with which arguments.

use arbitrary::Arbitrary;

/// An address: known ones and what lies beside them, or anything.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Address {
    Extension { which: u8, beside: i32 },
    Block { which: u8, beside: i16 },
    Freed { which: u8 },
    Any(u64),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Size {
    Small(u8),
    Any(u32),
    Huge(u64),
}

impl Size {
    pub fn bytes(self) -> u64 {
        match self {
            Size::Small(bytes) => u64::from(bytes) * 24,
            // Most of them small, since few pools have room for others.
            Size::Any(bytes) if bytes % 3 == 0 => bytes.into(),
            Size::Any(bytes) => u64::from(bytes) % 70_000,
            Size::Huge(bytes) => bytes >> (bytes % 64),
        }
    }
}

/// A call, or what a host does between calls.
#[derive(Arbitrary, Debug)]
pub enum Call {
    Allocate { extended: bool, extension: Address, size: Size, tag: u32, out: bool },
    Free { extended: bool, extension: Address, block: Address },
    Code { code: u32, extension: Address },
    Pool2 { flags: u16, high: u32, size: Size, tag: u32 },
    WithTag { kind: u16, size: Size, tag: u32 },
    ExFree { block: Address, tag: Option<u32> },
    Raise(u8),
    Lower(u8),
    Create { bytes: Size },
    CreateWith { bytes: u32, numbers: [u16; 4], size: u8, flags: u8 },
    Destroy(u8),
    Adapter { pool: u8, bytes: Size },
    Remove { extension: Address, release: bool },
    Implemented { pool: u8, set: bool },
    System { pool: Option<u8> },
    Snapshot { pool: u8 },
    AllocateBulk { extension: Address, size: Size, tag: u32, count: u8, out: bool },
    FreeBulk { extension: Address, blocks: Vec<Address>, statuses: Statuses },
}

/// Where a bulk call's statuses go.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statuses {
    None,
    Apart,
    /// Over the blocks themselves.
    Aliased,
}
