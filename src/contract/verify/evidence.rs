//! What the verifier found in memory.

/// Bytes that are kept of what was found.
pub const KEPT: usize = 16;

/// Bytes that the verifier found changed ([`Violation::evidence`](crate::Violation::evidence)).
///
/// ```
/// # #[cfg(feature = "verifier")] {
/// use storport_pool::{Pool, tag};
/// let pool = Pool::new(64 << 20)?;
/// let disk = pool.add_adapter("disk0")?;
/// pool.verify("canary")?;
/// pool.on_violation(|violation| {
///     let evidence = violation.evidence.unwrap();
///     assert_eq!((evidence.address, evidence.bytes()[0]), (violation.address + 100, 7));
///     assert_ne!(evidence.expected, 7);
/// });
/// let block = pool.try_allocate(disk, 100, tag!("Srb0"))?;
/// // One byte behind the block.
/// unsafe { (block as *mut u8).add(100).write(7) };
/// unsafe { pool.free(disk, block) };
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Evidence {
    /// The address of the first byte that is wrong.
    pub address: u64,
    /// What is there, from that byte on. The first `len` bytes count.
    pub found: [u8; KEPT],
    /// How many bytes of `found` count, up to 16.
    pub len: u8,
    /// What each of them should be.
    pub expected: u8,
}

impl Evidence {
    /// The first `len` bytes of `found`. Any IRQL.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.found[..usize::from(self.len).min(KEPT)]
    }
}
