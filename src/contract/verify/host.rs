//! What the verifier needs of its host.

/// Whether a piece of memory may be used. The verifier passes it to [`VerifierHost::protect`]. [`VerifierHost`] has an
/// example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads and writes fault.
    None,
    /// Reads and writes are good.
    ReadWrite,
}

/// What the verifier asks its host for. Each function has a default that says "no". Then the verifier does without.
///
/// They are called from the slow paths of allocate and free, at the caller's IRQL. That is up to DISPATCH, in interrupt
/// and signal handlers too. They must not call the pool, wait, or allocate.
///
/// `Pool::verifier` (features `std` and `verifier`) has a host for the process's own memory. Kernels and emulators
/// write their own, and pass it to [`Pool::verifier_in`](crate::Pool::verifier_in).
///
/// ```
/// use storport_pool::{Access, VerifierHost};
///
/// /// A guest's memory, which only its emulator can touch.
/// struct Guest;
///
/// impl VerifierHost for Guest {
///     fn fill(&self, address: u64, bytes: u64, value: u8) -> bool {
///         // The emulator writes the guest's memory here.
///         let _ = (address, bytes, value);
///         true
///     }
///     fn read(&self, address: u64, into: &mut [u8]) -> bool {
///         // And reads it here.
///         let _ = address;
///         into.fill(0xFD);
///         true
///     }
/// }
///
/// // The defaults say "no": this guest has no guard pages, call stacks or clock.
/// assert!(!Guest.can_protect() && !Guest.protect(0x8000_0000, 4096, Access::None));
/// assert!(!Guest.has_call_stacks() && Guest.call_stack(&mut [0; 24]).is_none());
/// assert_eq!((Guest.clock(), Guest.thread()), (0, 0));
/// ```
pub trait VerifierHost: Sync {
    /// Writes the return addresses of the callers into `frames`, the innermost first, and returns how many it wrote.
    /// `None`: the stack cannot be taken here.
    fn call_stack(&self, frames: &mut [u64]) -> Option<usize> {
        let _ = frames;
        None
    }

    /// Whether [`call_stack`](Self::call_stack) ever succeeds.
    fn has_call_stacks(&self) -> bool {
        false
    }

    /// The time in nanoseconds, for recordings. 0 where there is no clock.
    fn clock(&self) -> u64 {
        0
    }

    /// The calling thread's number, counted from 0, for recordings.
    fn thread(&self) -> u32 {
        0
    }

    /// Whether [`protect`](Self::protect) ever succeeds.
    fn can_protect(&self) -> bool {
        false
    }

    /// Makes `bytes` bytes at `address`, which are whole pages of the range, inaccessible or accessible again. `false`:
    /// it cannot do so now, and some of the pages may have changed. The verifier tries again before it uses a page that
    /// stayed inaccessible.
    fn protect(&self, address: u64, bytes: u64, access: Access) -> bool {
        let _ = (address, bytes, access);
        false
    }

    /// Writes `value` into `bytes` bytes of the range at `address`. `false`: it cannot.
    fn fill(&self, address: u64, bytes: u64, value: u8) -> bool {
        let _ = (address, bytes, value);
        false
    }

    /// Reads bytes of the range from `address` on, as many as `into` has. `false`: it cannot.
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        let _ = (address, into);
        false
    }
}
