//! The tag of the thread's scope. 0: the thread is in none.
//!
//! As the thread's other words (`thread`), on Linux x86-64 it is initial-exec thread-local storage: reading it is never
//! an allocation, which an allocator could not bear.

use core::marker::PhantomData;

use static_assertions::assert_not_impl_any;

use crate::contract::tag::PoolTag;

/// Says that there is a scope, whatever its tag is.
const IN_SCOPE: u64 = 1 << 32;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod word {
    core::arch::global_asm!(
        ".pushsection .tbss.storport_pool_tag, \"awT\", @nobits",
        ".balign 8",
        ".globl storport_pool_tag_0_1",
        ".hidden storport_pool_tag_0_1",
        ".type storport_pool_tag_0_1, @object",
        ".size storport_pool_tag_0_1, 8",
        "storport_pool_tag_0_1:",
        ".quad 0",
        ".popsection",
    );

    #[inline(always)]
    pub(super) fn get() -> u64 {
        let word: u64;
        // SAFETY: reads the thread's own word.
        unsafe {
            core::arch::asm!(
                "mov {t}, qword ptr [rip + storport_pool_tag_0_1@gottpoff]", // where it lies from the thread pointer
                "mov {t}, qword ptr fs:[{t}]",                               // the word
                t = out(reg) word,
                options(nostack, preserves_flags, readonly),
            );
        }
        word
    }

    #[inline(always)]
    pub(super) fn set(word: u64) {
        // SAFETY: writes the thread's own word, in one store: a handler finds the old tag, or the new one.
        unsafe {
            core::arch::asm!(
                "mov {t}, qword ptr [rip + storport_pool_tag_0_1@gottpoff]", // where it lies from the thread pointer
                "mov qword ptr fs:[{t}], {word}",                            // the word
                t = out(reg) _,
                word = in(reg) word,
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
mod word {
    use std::cell::Cell;

    std::thread_local! {
        // Constant and without destructor: no lazy initialisation where the target has native TLS.
        static WORD: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn get() -> u64 {
        WORD.get()
    }

    pub(super) fn set(word: u64) {
        WORD.set(word);
    }
}

/// The tag of the scope that the thread is in.
#[inline(always)]
pub(crate) fn current() -> Option<PoolTag> {
    let word = word::get();
    (word & IN_SCOPE != 0).then_some(PoolTag::from_raw(word as u32))
}

/// A scope with a tag. While it lives, what the thread allocates through a [`TaggedAlloc`](crate::TaggedAlloc) has this
/// tag.
///
/// * **Nesting.** Scopes nest, and the innermost one counts. A dropped guard restores what was before. So drop guards in the
///   reverse order of their making.
/// * **Threads.** A scope belongs to its thread. A thread that is spawned inside it begins in none, and so does a task that
///   another thread runs. An `async` function keeps no guard across an `await`.
/// * **Handlers.** A signal handler is in the scope of the code that it interrupts. It may enter one of its own.
///
/// The tag says who asked. A block that is freed, or made larger, in another scope keeps its tag.
///
/// ```standalone_crate
/// use storport_pool::{TaggedAlloc, TagScope, tag};
///
/// #[global_allocator]
/// static GLOBAL: TaggedAlloc = TaggedAlloc::new(tag!("Main"), 64 << 20);
///
/// let names = {
///     let _in = TagScope::enter(tag!("Json"));
///     vec![0u8; 3000]
/// };
/// let block = GLOBAL.pool().unwrap().block_at(names.as_ptr() as u64).unwrap();
/// assert_eq!((block.tag, block.bytes), (Some(tag!("Json")), 3000));
/// ```
#[must_use = "the scope ends when the guard is dropped"]
pub struct TagScope {
    before: u64,
    _not_send: PhantomData<*mut ()>,
}

// It restores the word of the thread that made it.
assert_not_impl_any!(TagScope: Send, Sync);

impl TagScope {
    /// Enters a scope, until the guard is dropped. Two loads and a store. A signal handler may call it, and drops the
    /// guard before it returns.
    #[inline]
    pub fn enter(tag: PoolTag) -> TagScope {
        let before = word::get();
        word::set(IN_SCOPE | u64::from(tag.raw()));
        TagScope { before, _not_send: PhantomData }
    }

    /// The tag of the scope that the thread is in. `None`: it is in none. A load; a signal handler may call it.
    ///
    /// ```
    /// use storport_pool::{TagScope, tag};
    /// assert_eq!(TagScope::current(), None);
    /// let _in = TagScope::enter(tag!("Json"));
    /// assert_eq!(TagScope::current(), Some(tag!("Json")));
    /// ```
    #[must_use]
    pub fn current() -> Option<PoolTag> {
        current()
    }
}

impl Drop for TagScope {
    #[inline]
    fn drop(&mut self) {
        word::set(self.before);
    }
}

impl core::fmt::Debug for TagScope {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let before = (self.before & IN_SCOPE != 0).then_some(PoolTag::from_raw(self.before as u32));
        write!(f, "TagScope {{ restores: {before:?} }}")
    }
}

/// Does `work` in a [`TagScope`], and returns what it returns. It costs what [`TagScope::enter`] costs.
///
/// ```
/// use storport_pool::{TagScope, tag, with_tag};
/// let text = with_tag(tag!("Pars"), || String::from("a document"));
/// assert_eq!((text.as_str(), TagScope::current()), ("a document", None));
/// ```
pub fn with_tag<R>(tag: PoolTag, work: impl FnOnce() -> R) -> R {
    let _in = TagScope::enter(tag);
    work()
}
