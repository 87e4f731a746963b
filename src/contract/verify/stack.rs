//! Call stacks, as violations carry them.

use core::fmt;

/// Frames of a call stack that are kept: the innermost ones.
pub const FRAMES: usize = 24;

/// Whether there is a call stack, and if not, why. [`CallStack::kind`] gives it. [`describe`](StackKind::describe) runs
/// at any IRQL.
///
/// ```
/// assert_eq!(storport_pool::StackKind::NotTracked.describe(), "not tracked");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum StackKind {
    /// Nobody asked for one.
    #[default]
    NotTracked,
    /// It is there.
    Taken,
    /// The host has none to give ([`VerifierHost::call_stack`](crate::VerifierHost::call_stack)).
    NoSource,
    /// It was left out: a handler made the call while its thread was taking another stack.
    LeftOut,
    /// The table of call stacks is full ([`VerifierOptions::stacks`](crate::VerifierOptions::stacks)).
    TableFull,
    /// The verifier has no note of the block any more ([`VerifierOptions::notes`](crate::VerifierOptions::notes)).
    Forgotten,
}

impl StackKind {
    /// A few words for a person.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            StackKind::NotTracked => "not tracked",
            StackKind::Taken => "taken",
            StackKind::NoSource => "the host gives no call stacks",
            StackKind::LeftOut => "left out: a handler called while another call stack was being taken",
            StackKind::TableFull => "left out: the table of call stacks is full",
            StackKind::Forgotten => "forgotten: the verifier has no note of the block any more",
        }
    }
}

/// A call stack: at most 24 return addresses, the innermost first. The stack of a fault begins with the address of the
/// instruction itself ([`is_at_fault`](Self::is_at_fault)). The functions run at any IRQL, unless they say otherwise.
///
/// ```
/// use storport_pool::{CallStack, StackKind};
/// let none = CallStack::default();
/// assert_eq!((none.kind(), none.frames().len()), (StackKind::NotTracked, 0));
/// assert!(CallStack::from_frames(&[0x1000, 0x2000], true).is_at_fault());
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CallStack {
    frames: [u64; FRAMES],
    len: u8,
    kind: StackKind,
    at_fault: bool,
}

impl CallStack {
    /// None, for this reason.
    pub(crate) const fn none(kind: StackKind) -> CallStack {
        CallStack { frames: [0; FRAMES], len: 0, kind, at_fault: false }
    }

    pub(crate) const fn taken(frames: [u64; FRAMES], len: usize) -> CallStack {
        let len = if len > FRAMES { FRAMES } else { len };
        CallStack { frames, len: len as u8, kind: StackKind::Taken, at_fault: false }
    }

    /// The return addresses, the innermost first. Empty if the stack was not taken.
    #[must_use]
    pub fn frames(&self) -> &[u64] {
        &self.frames[..usize::from(self.len)]
    }

    /// The stack with these frames, the innermost first. Only the first 24 are kept. It is for a host that kept the
    /// frames of a stack, and wants its [report](Self::report) later. `at_fault`: see
    /// [`is_at_fault`](Self::is_at_fault).
    ///
    /// ```
    /// use storport_pool::{CallStack, StackKind};
    /// let stack = CallStack::from_frames(&[0x1000, 0x2000], false);
    /// assert_eq!((stack.frames(), stack.kind()), (&[0x1000, 0x2000][..], StackKind::Taken));
    /// ```
    #[must_use]
    pub fn from_frames(frames: &[u64], at_fault: bool) -> CallStack {
        let len = frames.len().min(FRAMES);
        let mut kept = [0; FRAMES];
        kept[..len].copy_from_slice(&frames[..len]);
        CallStack { at_fault, ..CallStack::taken(kept, len) }
    }

    /// Whether the first frame is the instruction that faulted. All other frames are return addresses: the call is the
    /// instruction before.
    #[must_use]
    pub const fn is_at_fault(&self) -> bool {
        self.at_fault
    }

    /// That of a fault at this instruction: without what lies above it. As it is, if that is not among its frames.
    #[cfg(all(feature = "verifier", not(storport_pool_loom)))]
    pub(crate) fn below(&self, address: u64) -> CallStack {
        let Some(above) = self.frames().iter().position(|&frame| frame == address) else { return *self };
        CallStack::from_frames(&self.frames()[above..], true)
    }

    /// Whether the stack was taken, and if not, why.
    #[must_use]
    pub const fn kind(&self) -> StackKind {
        self.kind
    }
}

impl fmt::Debug for CallStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            StackKind::Taken => write!(f, "{:#x?}", self.frames()),
            kind => f.write_str(kind.describe()),
        }
    }
}
