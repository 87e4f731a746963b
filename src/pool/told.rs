//! A violation as a person reads it: what, where, whose, allocated there, freed there.

use core::fmt;

use crate::contract::verify::evidence::Evidence;
use crate::contract::verify::stack::{CallStack, StackKind};
use crate::contract::violation::{BugCheck, Violation, ViolationKind};
use crate::contract::words::Count;

/// A violation over several lines. [`Violation::report`] makes one, and has an example.
#[derive(Clone, Copy, Debug)]
pub struct ViolationReport<'a> {
    violation: &'a Violation,
}

impl Violation {
    /// The violation over several lines, in the form of a compiler's errors: what it is, where, which bytes, whose
    /// block, and where that was allocated and freed.
    ///
    /// With the feature `verifier`, call stacks have names, files and lines. To display them, it reads files and asks
    /// the program's allocator for memory: that is for PASSIVE, and not for signal handlers. [`Display`](fmt::Display)
    /// of the violation itself is one line, and does neither.
    ///
    /// ```
    /// use storport_pool::{Pool, Status, tag};
    /// let pool = Pool::new(1 << 20)?;
    /// let disk = pool.add_adapter("disk0")?;
    /// pool.on_violation(|violation| {
    ///     let report = violation.report().to_string();
    ///     assert!(report.starts_with("error: double free\n"), "{report}");
    ///     eprint!("{report}");
    /// });
    /// let mut block = 0;
    /// assert_eq!(pool.allocate(disk, 100, tag!("Srb0"), Some(&mut block)), Status::SUCCESS);
    /// assert_eq!(unsafe { pool.free(disk, block) }, Status::SUCCESS);
    /// assert_eq!(unsafe { pool.free(disk, block) }, Status::INVALID_PARAMETER);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn report(&self) -> ViolationReport<'_> {
        ViolationReport { violation: self }
    }
}

/// A call stack with names, one line for each function. [`CallStack::report`] makes one, and has an example.
#[derive(Clone, Copy, Debug)]
pub struct CallStackReport<'a> {
    stack: &'a CallStack,
}

impl CallStack {
    /// The call stack as text, with files and lines as far as the program has them. For each function there is a
    /// newline, six spaces, and `function  file:line`. The pool's own functions are left out. A stack that was not
    /// taken is one such line, which says why.
    ///
    /// Names need the feature `verifier` and Linux. Otherwise there are addresses. To display names, it reads files and
    /// asks the program's allocator for memory: that is for PASSIVE, and not for signal handlers. The bound is the
    /// debug information's size.
    ///
    /// ```
    /// use storport_pool::CallStack;
    /// let none = CallStack::default();
    /// assert_eq!(format!("allocated at{}", none.report()), "allocated at\n      (not tracked)");
    /// ```
    #[must_use]
    pub const fn report(&self) -> CallStackReport<'_> {
        CallStackReport { stack: self }
    }
}

impl fmt::Display for CallStackReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stack.kind() {
            StackKind::Taken => write_frames(f, self.stack),
            kind => write!(f, "\n      ({})", kind.describe()),
        }
    }
}

/// How far an address lies from a block.
struct Place {
    address: u64,
    block: u64,
    bytes: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { address, block, bytes } = *self;
        match address.checked_sub(block) {
            None => write!(f, "{} before the block", Count(block - address, "byte")),
            Some(0) => f.write_str("the block's first byte"),
            Some(inside) if inside < bytes => write!(f, "{} into the block", Count(inside, "byte")),
            Some(inside) if inside == bytes => f.write_str("the first byte behind the block"),
            Some(inside) => write!(f, "{} behind the block's end", Count(inside - bytes, "byte")),
        }
    }
}

impl fmt::Display for ViolationReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let violation = self.violation;
        writeln!(f, "error: {}", violation.kind)?;
        self.write_place(f)?;
        self.write_block(f)?;
        if let Some(evidence) = &violation.evidence {
            write_evidence(f, evidence)?;
        }
        write!(f, "  | called     in the name of {}, at {}", violation.caller(), violation.irql)?;
        if let Some(given) = violation.given_tag {
            write!(f, ", with tag {given:?}")?;
        }
        writeln!(f)?;
        let called = match violation.kind {
            ViolationKind::AccessBeyond | ViolationKind::AccessFreed => "accessed at",
            ViolationKind::Overrun | ViolationKind::Underrun | ViolationKind::WriteAfterFree => "found at",
            _ => "called from",
        };
        write_call_stack(f, called, &violation.called)?;
        write_call_stack(f, "allocated at", &violation.allocated)?;
        write_call_stack(f, "freed at", &violation.freed)?;
        if let Some(help) = help(violation) {
            writeln!(f, "  = help: {help}")?;
        }
        match violation.bug_check() {
            BugCheck { code: 0, .. } => Ok(()),
            bug_check => writeln!(f, "  = Windows stops with {bug_check}"),
        }
    }
}

impl ViolationReport<'_> {
    fn write_place(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let violation = self.violation;
        let address = violation.evidence.map_or(violation.address, |evidence| evidence.address);
        match violation.block {
            Some(block) => {
                let place = Place { address, block, bytes: violation.bytes };
                writeln!(f, " --> {address:#x}, {place}")
            }
            None if address != 0 => writeln!(f, " --> {address:#x}"),
            None => Ok(()),
        }
    }

    fn write_block(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let violation = self.violation;
        match violation.block {
            Some(block) => {
                write!(f, "  | block      {block:#x}, {}", Count(violation.bytes, "byte"))?;
                if violation.guarded {
                    f.write_str(", guarded")?;
                }
                writeln!(f)?;
            }
            None if violation.blocks > 0 => {
                writeln!(
                    f,
                    "  | left       {}, {}",
                    Count(violation.blocks, "block"),
                    Count(violation.bytes, "byte")
                )?;
            }
            None if violation.bytes > 0 => writeln!(f, "  | asked for  {}", Count(violation.bytes, "byte"))?,
            None => {}
        }
        match (violation.owner(), violation.tag) {
            (Some(owner), Some(tag)) => writeln!(f, "  | whose      {owner}, tag {tag:?}"),
            (Some(owner), None) => writeln!(f, "  | whose      {owner}, tag unknown by now"),
            (None, Some(tag)) => writeln!(f, "  | tag        {tag:?}"),
            (None, None) => Ok(()),
        }
    }
}

fn write_evidence(f: &mut fmt::Formatter<'_>, evidence: &Evidence) -> fmt::Result {
    f.write_str("  | found     ")?;
    for byte in evidence.bytes() {
        write!(f, " {byte:02x}")?;
    }
    writeln!(f, ", where each byte should be {:02x}", evidence.expected)
}

fn write_call_stack(f: &mut fmt::Formatter<'_>, what: &str, stack: &CallStack) -> fmt::Result {
    match stack.kind() {
        StackKind::NotTracked => Ok(()),
        StackKind::Taken => {
            write!(f, "  = {what}")?;
            write_frames(f, stack)?;
            writeln!(f)
        }
        kind => writeln!(f, "  = {what}: {}", kind.describe()),
    }
}

#[cfg(all(feature = "verifier", target_os = "linux", not(storport_pool_loom)))]
fn write_frames(f: &mut fmt::Formatter<'_>, stack: &CallStack) -> fmt::Result {
    super::symbols::write_stack(f, stack, "      ")
}

#[cfg(not(all(feature = "verifier", target_os = "linux", not(storport_pool_loom))))]
fn write_frames(f: &mut fmt::Formatter<'_>, stack: &CallStack) -> fmt::Result {
    stack.frames().iter().try_for_each(|frame| write!(f, "\n      {frame:#x}"))
}

/// What to look at.
const fn help(violation: &Violation) -> Option<&'static str> {
    Some(match violation.kind {
        ViolationKind::Overrun if !violation.guarded => {
            "a rule with `guard` stops the program at the write itself (special pool)"
        }
        ViolationKind::WriteAfterFree => {
            "a rule with `guard` stops the program at the write itself (special pool)"
        }
        ViolationKind::Leak => {
            "`Pool::leaks` tells them by size, and tracked ones by where they were allocated"
        }
        ViolationKind::DoubleFree if matches!(violation.allocated.kind(), StackKind::NotTracked) => {
            "a rule with `track` tells where the block was allocated and freed"
        }
        ViolationKind::Stranded => "`adopt` of its adapter gives the block back",
        ViolationKind::StrandedAdapter => "`Pool::remove_adapter` removes it later, at PASSIVE_LEVEL",
        ViolationKind::Wild => "the address was never a block's, or its memory has other uses by now",
        _ => return None,
    })
}
