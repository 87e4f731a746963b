//! What the verifier needs of its host.

/// Whether a piece of memory may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads and writes fault.
    None,
    /// Reads and writes are good.
    ReadWrite,
}

/// What the verifier asks its host for. Each function has a default that says "no": then the verifier does without.
///
/// All of them are called from the slow ways of allocate and free, at the caller's IRQL: up to DISPATCH, in interrupt and
/// signal handlers too. They must not call the pool, wait, or allocate.
///
/// `Pool::verifier` (std) has one for the process's own memory. Kernels and emulators write their own and pass it to
/// [`Pool::verifier_in`](crate::Pool::verifier_in).
///
/// ```
/// use storport_pool::VerifierHost;
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
/// ```
pub trait VerifierHost: Sync {
    /// Writes the return addresses of the callers, the innermost first, and answers how many. `None`: the stack cannot be
    /// taken here.
    fn call_stack(&self, frames: &mut [u64]) -> Option<usize> {
        let _ = frames;
        None
    }

    /// Whether the host keeps call stacks at all.
    fn has_call_stacks(&self) -> bool {
        false
    }

    /// A clock in nanoseconds, for recordings; 0 where there is none.
    fn clock(&self) -> u64 {
        0
    }

    /// The calling thread's number, for recordings: counted from 0.
    fn thread(&self) -> u32 {
        0
    }

    /// Whether [`protect`](Self::protect) ever succeeds.
    fn can_protect(&self) -> bool {
        false
    }

    /// Makes whole pages of the range inaccessible, or accessible again. `false`: it cannot, now; some of the pages may have
    /// changed. Pages that could not be made accessible are tried again before they are used.
    fn protect(&self, address: u64, bytes: u64, access: Access) -> bool {
        let _ = (address, bytes, access);
        false
    }

    /// Writes `value` into so many bytes of the range. `false`: it cannot.
    fn fill(&self, address: u64, bytes: u64, value: u8) -> bool {
        let _ = (address, bytes, value);
        false
    }

    /// Reads bytes of the range. `false`: it cannot.
    fn read(&self, address: u64, into: &mut [u8]) -> bool {
        let _ = (address, into);
        false
    }
}
