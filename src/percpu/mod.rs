//! The commit: how one CPU's cursor changes, in one store, whatever interrupts it.
//!
//! Three ways behind one trait: restartable sequences (`rseq`), masked interrupts (`masked`), and
//! the portable twin (`portable`), which claims the cursor. All of them leave what they cannot do
//! at once to the slow paths, and none of them waits.

#[cfg(all(feature = "std", target_os = "linux", target_arch = "x86_64"))]
#[macro_use]
pub(crate) mod stretch;

#[cfg(all(feature = "std", target_os = "linux", target_arch = "x86_64"))]
#[macro_use]
mod section;

#[cfg(all(feature = "std", target_os = "linux", target_arch = "x86_64"))]
mod bulk;
pub(crate) mod claim;
pub(crate) mod generation;
pub(crate) mod masked;
#[cfg(feature = "std")]
pub(crate) mod native;
pub(crate) mod platform;
pub(crate) mod portable;
#[cfg(all(feature = "std", target_os = "linux", target_arch = "x86_64"))]
pub(crate) mod rseq;
mod steal;
#[cfg(feature = "std")]
pub(crate) mod tag;
#[cfg(feature = "std")]
pub(crate) mod thread;
