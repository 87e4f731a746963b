//! What a pool runs on: the trait that the three commits implement, and what a host supplies to two of them.

use core::ops::Range;
use core::ptr::NonNull;

use super::claim::find_and_claim;
use crate::contract::adapter::AdapterId;
use crate::layout::block::{Account, BlockId};
use crate::layout::classes::{Class, SpanSize};
use crate::layout::control::Control;
use crate::layout::create_error::CreateError;
use crate::layout::cursor::Cursor;
use crate::layout::meta::{Meta, prefetch_for_write};
use crate::layout::state::State;
use crate::sync::{Ordering, fence, spin_loop};

/// The highest IRQL at which the pool may be called.
pub(crate) const DISPATCH: u32 = crate::contract::irql::Irql::DISPATCH.level() as u32;

/// How a pop ended.
#[derive(Clone, Copy)]
pub enum Pop {
    /// A block, counted; and the position below it, for prefetching the next.
    Got(BlockId, Cursor),
    /// No block; whether the allocation was counted already.
    Miss { counted: bool },
}

/// What the fast path of allocate asks for: a block of a slab, under an account if its word is the key.
#[derive(Clone, Copy)]
pub struct Ask {
    pub(crate) account: Account,
    pub(crate) key: u64,
    pub(crate) class: Class,
    pub(crate) bytes: u32,
}

impl Ask {
    /// Whose the block will be: the key's lower half.
    pub(crate) const fn owner(self) -> AdapterId {
        AdapterId(self.key as u32)
    }
}

/// How the fast path of allocate ended: with an address, which is a multiple of 16, or with something in
/// the low bits. One word, so that a section can answer in a register.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Taken(pub(crate) u64);

impl Taken {
    /// No block.
    pub(crate) const MISSED: u64 = 1;
    /// No block, but the allocation was counted.
    pub(crate) const COUNTED: u64 = 2;
    /// Added to the address: the account was closed meanwhile.
    pub(crate) const OVERTAKEN: u64 = 4;
    /// The request is not for a block of a slab.
    pub(crate) const UNSUITED: u64 = 8;

    /// Why there is no address; 0 if there is.
    #[inline(always)]
    pub(crate) const fn fault(self) -> u64 {
        self.0 & 15
    }
}

/// How the fast path of free ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Freed {
    /// Claimed and put into the loaded magazine.
    Done,
    /// Claimed; the caller holds the block.
    Claimed,
    /// Not claimed: no live slab block of this owner, a bad IRQL, no room, or an abort.
    Missed,
}

/// How a pop of many blocks ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PoppedMany {
    /// How many blocks it gave.
    pub(crate) got: usize,
    /// How many allocations it counted: as many, or, after an abort, some without blocks.
    pub(crate) counted: u64,
}

/// How an attempt to take a CPU's loaded magazine ended.
#[derive(Clone, Copy)]
pub enum Stolen {
    /// It is the caller's, with all its blocks.
    Magazine(Cursor),
    /// There are no blocks.
    Nothing,
    /// There may be some, in another one's hand.
    Busy,
}

/// What a pool runs on: the CPU's number, the IRQL, and the way to commit.
///
/// `Native` (feature `std`), [`Portable`](crate::Portable) and [`Masked`](crate::Masked) implement it.
/// No other type can. A host supplies a [`Host`] to `Portable`, or a [`MaskInterrupts`] to `Masked`. Both have
/// examples.
#[diagnostic::on_unimplemented(
    message = "a pool cannot run on `{Self}` as it is",
    label = "not a platform",
    note = "wrap a host (`impl Host`) in `Portable::new(host)`: the portable commit",
    note = "wrap one that masks interrupts (`impl MaskInterrupts`) in `Masked::new(host)`, or in `Portable::new(host)`",
    note = "in a process, `Native` is the platform: `Pool::new(bytes)`"
)]
pub trait Platform: Sync + Sized + sealed::Sealed {
    /// Sets what this platform needs in the control block of a pool that is being made.
    ///
    /// # Errors
    /// Why no pool can be made.
    #[doc(hidden)]
    fn prepare(&self, _control: &mut Control, _base: NonNull<u8>) -> Result<(), CreateError> {
        Ok(())
    }

    /// What the calls of the verifier are handed in the platform's place: nothing, where that holds nothing that they use.
    /// So the fast paths need not keep the platform for them.
    #[doc(hidden)]
    #[inline(always)]
    fn opaque(&self) -> *const () {
        if size_of::<Self>() == 0 { core::ptr::null() } else { core::ptr::from_ref(self).cast() }
    }

    /// The platform again.
    ///
    /// # Safety
    /// `opaque` is what [`opaque`](Self::opaque) answered, and the platform is still there.
    #[doc(hidden)]
    unsafe fn of_opaque<'a>(opaque: *const ()) -> &'a Self {
        let platform =
            if size_of::<Self>() == 0 { NonNull::dangling().as_ptr() } else { opaque.cast_mut().cast() };
        // SAFETY: the caller's promise; a value without bytes lies anywhere.
        unsafe { &*platform }
    }

    /// The caller's IRQL, as a number.
    #[doc(hidden)]
    fn irql(&self) -> u32;

    /// Whether the caller's IRQL forbids the call.
    #[doc(hidden)]
    #[inline(always)]
    fn above_dispatch(&self) -> bool {
        self.irql() > DISPATCH
    }

    /// The CPU whose cache the slow paths may use, if its number is below the count given at creation.
    #[doc(hidden)]
    fn cpu(&self, meta: &Meta) -> Option<u32>;

    /// At DISPATCH or below, unless the host's switch is down: finds the slab block in its span, claims it if its state is the
    /// expected one, and puts it into this CPU's loaded magazine. Exact against whatever interrupts this CPU. Bounded.
    #[doc(hidden)]
    #[inline(always)]
    fn free(&self, meta: &Meta, expected: State, block: BlockId, span: u32) -> Freed {
        if self.above_dispatch() || meta.not_implemented() {
            return Freed::Missed;
        }
        match find_and_claim(meta, expected, block, span) {
            None => Freed::Missed,
            Some(class) if self.push(meta, class, block) => Freed::Done,
            Some(_) => Freed::Claimed,
        }
    }

    /// At DISPATCH or below: takes a block from this CPU's loaded magazine, counts it, writes its
    /// record and state, then looks at the account's word again. Bounded.
    #[doc(hidden)]
    #[inline(always)]
    fn allocate(&self, meta: &Meta, ask: Ask) -> Taken {
        self.allocate_in(meta, ask, SpanSize::MOST)
    }

    /// The same, in a pool whose spans are of one page.
    #[doc(hidden)]
    #[inline(always)]
    fn allocate_in_pages(&self, meta: &Meta, ask: Ask) -> Taken {
        self.allocate_in(meta, ask, meta.span_size())
    }

    /// The same, in a pool whose spans have this size.
    #[doc(hidden)]
    #[inline(always)]
    fn allocate_in(&self, meta: &Meta, ask: Ask, size: SpanSize) -> Taken {
        let (block, next) = match self.pop(meta, ask.class, ask.account, ask.key) {
            Pop::Got(block, next) => (block, next),
            Pop::Miss { counted } => return Taken(if counted { Taken::COUNTED } else { Taken::MISSED }),
        };
        let live = State::live(ask.owner(), block);
        meta.make_slab_live(block, block.span(size), live, ask.account, ask.bytes);
        prefetch_for_write(meta.range().address(meta.upcoming(next)));
        // ORDERING: SeqCst - pairs with the fence in `fence_all`: either the closer's walk sees
        // the state, or we see the closed word.
        fence(Ordering::SeqCst);
        // ORDERING: Relaxed - after the fence.
        if meta.account_word(ask.account).load(Ordering::Relaxed) == ask.key {
            Taken(meta.range().address(block))
        } else {
            Taken(meta.range().address(block) | Taken::OVERTAKEN)
        }
    }

    /// Puts a claimed block into this CPU's loaded magazine, if that has room. Bounded.
    #[doc(hidden)]
    fn push(&self, meta: &Meta, class: Class, block: BlockId) -> bool;

    /// At DISPATCH or below: takes a block from this CPU's loaded magazine and counts the
    /// allocation, if the account's word is the key and the host's switch is up. Bounded.
    #[doc(hidden)]
    fn pop(&self, meta: &Meta, class: Class, account: Account, key: u64) -> Pop;

    /// Frees the leading ones of these addresses in this owner's name, each as [`free`](Platform::free) does. How many,
    /// and how the next one ended; `Done` if there is none. Bounded by their number.
    #[doc(hidden)]
    fn free_run(&self, meta: &Meta, owner: AdapterId, addresses: &[u64]) -> (usize, Freed) {
        for (n, &address) in addresses.iter().enumerate() {
            let block = meta.range().block_at(meta.range().base.place_of(address));
            match block.map_or(Freed::Missed, |block| {
                self.free(meta, State::live(owner, block), block, meta.span_of(block))
            }) {
                Freed::Done => {}
                ended => return (n, ended),
            }
        }
        (addresses.len(), Freed::Done)
    }

    /// At DISPATCH or below: takes as many blocks of this CPU's loaded magazine as are wanted and there, and counts
    /// the allocations, if the account's word is the key and the host's switch is up. Bounded by their number.
    #[doc(hidden)]
    fn pop_many(
        &self,
        meta: &Meta,
        class: Class,
        account: Account,
        key: u64,
        blocks: &mut [u32],
    ) -> PoppedMany;

    /// The cold second try of a pop that missed. Bounded.
    #[doc(hidden)]
    fn pop_again(&self, _meta: &Meta, _class: Class, _account: Account, _key: u64, counted: bool) -> Pop {
        Pop::Miss { counted }
    }

    /// Commits `new` to the CPU's cursor if it holds `expected`. One try.
    #[doc(hidden)]
    fn exchange(&self, meta: &Meta, cpu: u32, class: Class, expected: Cursor, new: Cursor) -> bool;

    /// Takes these CPUs' loaded magazines of a class that have blocks.
    #[doc(hidden)]
    fn steal(&self, meta: &Meta, cpus: Range<u32>, class: Class, each: impl FnMut(Stolen));

    /// Between two tries of an allocation that met what other calls hold: lets them go on.
    #[doc(hidden)]
    fn relax(&self) {
        spin_loop();
    }

    /// Between retiring slabs and giving their spans away: returns when no section of `free` is left
    /// that may have read their page-map entries before. `false`: the system refused; any section may be left.
    #[doc(hidden)]
    #[must_use]
    fn fence_sections(&self, _meta: &Meta) -> bool {
        true
    }

    /// When the host's switch went down or up: all sections miss, or run again. If the system refuses the fence, a
    /// section that began before may still end as if nothing had changed.
    #[doc(hidden)]
    fn switched(&self, _meta: &Meta, _down: bool) {}

    /// Between closing account words and walking states. `false`: the system refused; an allocation may have looked
    /// at its account before, while its state is not seen yet.
    #[doc(hidden)]
    #[must_use]
    fn fence_all(&self, _meta: &Meta) -> bool {
        // ORDERING: SeqCst - pairs with the fence before allocate's second look.
        fence(Ordering::SeqCst);
        true
    }
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// What a host tells the pool at every call.
///
/// For [`Portable`](crate::Portable), the CPU's number and the IRQL are hints. A wrong one costs statuses and speed,
/// never memory safety. For [`Masked`](crate::Masked) the CPU's number is more than a hint: see [`MaskInterrupts`].
///
/// Every allocate and free asks for both, from wherever it is called. So both functions must be cheap, safe in
/// interrupts, and must not call the pool.
///
/// ```
/// use std::sync::atomic::{AtomicU8, Ordering};
/// use storport_pool::{Host, Irql, PoolOptions, Portable, Status, tag};
///
/// /// An emulator of one CPU, which knows its guest's level.
/// struct Guest {
///     level: AtomicU8,
/// }
/// impl Host for Guest {
///     fn cpu(&self) -> u32 {
///         0
///     }
///     fn irql(&self) -> Irql {
///         Irql::new(self.level.load(Ordering::Relaxed)).unwrap_or(Irql::HIGH)
///     }
///     fn relax(&self) {
///         std::thread::yield_now();
///     }
/// }
///
/// let guest = Guest { level: AtomicU8::new(0) };
/// let pool = PoolOptions::new(1 << 20).cpus(1).build_on(Portable::new(guest))?;
/// let disk = pool.add_adapter("disk0")?;
/// assert!(pool.try_allocate(disk, 208, tag!("VioS")).is_ok());
/// pool.platform().host().level.store(5, Ordering::Relaxed); // in a device's interrupt
/// assert_eq!(pool.try_allocate(disk, 208, tag!("VioS")), Err(Status::INVALID_IRQL));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Host: Sync {
    /// The number of the CPU that runs this code. Numbers at or above [`Config::cpus`](crate::Config::cpus) share one
    /// slower path.
    fn cpu(&self) -> u32;

    /// The caller's IRQL.
    fn irql(&self) -> crate::contract::irql::Irql;

    /// Lets other code run. An allocation calls it between two tries, at most 16 times. It does so when an interrupted or
    /// preempted call may hold what it wants.
    ///
    /// A host with a scheduler gives the CPU away here, if the IRQL allows it. Without that, and with more threads than
    /// CPUs, such an allocation may be refused while another thread holds what is free. The default is
    /// [`core::hint::spin_loop`].
    fn relax(&self) {
        spin_loop();
    }
}

/// A host that can keep a CPU to itself for a few instructions.
///
/// # Safety
/// * **One CPU.** From `mask` to `unmask`, the code runs on one CPU, and [`Host::cpu`] returns its number. No other CPU has that
///   number at that time: two CPUs that share one would hand blocks out twice. With debug assertions, the pool checks that no
///   two masked sections with one number run at once, for numbers below 32.
/// * **Nobody else.** From `mask` to `unmask`, no other code that calls the pool runs on that CPU. Interrupts that might call it
///   are masked, and the thread is not preempted.
/// * **The fence.** `fence(cpu)` returns only when every masked section that began on that CPU before the call has ended. What
///   the section wrote is then visible to the caller. Every section that begins there later sees what the caller wrote before
///   the call. An inter-processor interrupt does all of this.
///
/// # Example
/// A machine of two CPUs, which are threads here. Each has an interrupt flag: a count that is odd while it masks. A
/// kernel masks by `cli` and fences by an inter-processor interrupt. What it must take care of is the same.
///
/// ```
/// use std::cell::Cell;
/// use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
/// use storport_pool::{Host, Irql, MaskInterrupts, Masked, PoolOptions, Status, tag};
///
/// /// By CPU: odd while it masks interrupts.
/// static MASKED: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
/// thread_local! {
///     static CPU: Cell<u32> = const { Cell::new(0) };
/// }
///
/// struct Machine;
///
/// impl Host for Machine {
///     fn cpu(&self) -> u32 {
///         CPU.get()
///     }
///
///     fn irql(&self) -> Irql {
///         Irql::PASSIVE
///     }
/// }
///
/// // SAFETY: a thread is its CPU for ever, and no other has its number. No signal handler calls the pool.
/// unsafe impl MaskInterrupts for Machine {
///     /// Whether they were masked already: masking nests.
///     type State = bool;
///
///     fn mask(&self) -> bool {
///         let flag = &MASKED[CPU.get() as usize];
///         let was_masked = flag.load(SeqCst) % 2 == 1;
///         if !was_masked {
///             flag.fetch_add(1, SeqCst);
///         }
///         was_masked
///     }
///
///     fn unmask(&self, was_masked: bool) {
///         if !was_masked {
///             MASKED[CPU.get() as usize].fetch_add(1, SeqCst);
///         }
///     }
///
///     fn fence(&self, cpu: u32) {
///         // The caller is unmasked, so its own CPU is in no section. Nor is a CPU that is halted or off. A fence by
///         // interrupts would skip both: they never answer.
///         if cpu == self.cpu() {
///             return;
///         }
///         // Sections are short and wait for nobody, so this ends. Others that fence this CPU meanwhile find its flag
///         // even. A CPU that waits for the answer to its interrupt must let the interrupts of others in.
///         let flag = &MASKED[cpu as usize];
///         let seen = flag.load(SeqCst);
///         while seen % 2 == 1 && flag.load(SeqCst) == seen {
///             std::hint::spin_loop();
///         }
///     }
/// }
///
/// let pool = PoolOptions::new(1 << 20).cpus(2).build_on(Masked::new(Machine))?;
/// let disk = pool.add_adapter("disk0")?;
/// std::thread::scope(|scope| {
///     for cpu in 0..2 {
///         let pool = &pool;
///         scope.spawn(move || {
///             CPU.set(cpu);
///             for round in 0..10_000 {
///                 let mut blocks = [0; 8];
///                 assert_eq!(pool.allocate_bulk(disk, 512, tag!("Exam"), &mut blocks), Status::SUCCESS);
///                 // SAFETY: nobody uses the blocks.
///                 assert_eq!(unsafe { pool.free_bulk(disk, &blocks, &mut []) }, 8);
///                 if round % 100 == 0 {
///                     // Fences; refused while the other CPU trims.
///                     let _ = pool.trim();
///                 }
///             }
///         });
///     }
/// });
/// pool.trim()?;
/// assert_eq!(pool.snapshot().free_bytes, pool.range().1, "nothing is lost");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub unsafe trait MaskInterrupts: Host {
    /// What `mask` found. `unmask` restores it.
    type State;

    /// Masks interrupts. What cannot be masked must not call the pool: non-maskable interrupts, machine checks, and
    /// exceptions that come inside of a section. It may also raise to a level that keeps out all callers, and the interrupt of the fence. It
    /// nests. Called at any IRQL, from within allocate and free.
    fn mask(&self) -> Self::State;

    /// Restores what `mask` found.
    fn unmask(&self, state: Self::State);

    /// Waits until the masked sections that began on `cpu` before the call have ended. Allocate's slowest path calls
    /// it, and host calls do; free never does. It is called outside of sections, at DISPATCH or below. The pool makes a full
    /// fence (`SeqCst`) before it calls this, and another one after it.
    ///
    /// It is called for every number below [`Config::cpus`](crate::Config::cpus):
    ///
    /// * **The caller's own**: it may return at once. The caller is in no section.
    /// * **A CPU that is off**, or has not begun: it returns at once, too. A CPU says that it is on before its first call of the
    ///   pool, and follows that with a full fence (`SeqCst`). After its last call it says that it is off. Whoever waits for it then
    ///   looks at that again.
    /// * **A CPU that is halted** is on, if this interrupt wakes it. One that halts with interrupts off never answers: it must
    ///   count as off.
    ///
    /// Several CPUs may fence each other at once. While it waits, it must answer the fences of others. It does so by
    /// the interrupt, or, if the caller has interrupts off, by looking for them. So an answer may come twice, and
    /// several interrupts may come as one. Answer by a number that only grows.
    ///
    /// Code that runs with interrupts off may call free. It may call allocate if this function answers by looking.
    /// Otherwise two such CPUs wait for each other for ever. A CPU that waits with interrupts off for anything else,
    /// such as a spinlock, answers nobody. So whoever holds that lock must not allocate.
    ///
    /// The interrupt of the fence must be masked in sections, too. Otherwise it would be answered inside of one. If its
    /// level is above DISPATCH, raising to DISPATCH is not enough.
    ///
    /// `examples/kernel/src/host.rs` has one that does all this.
    fn fence(&self, cpu: u32);
}
