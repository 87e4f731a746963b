//! A C host's functions as a platform.

use core::ffi::c_void;

use pool::{Host, Irql, MaskInterrupts};

/// The number of the CPU that the caller runs on. Any IRQL. Without `mask`, a wrong answer costs speed, never
/// memory safety. With `mask`, it must be right between `mask` and `unmask`: two CPUs that share a number get
/// the same blocks.
pub type sp_cpu_callback = Option<unsafe extern "C" fn(context: *mut c_void) -> u32>;
/// The caller's IRQL.
pub type sp_irql_callback = Option<unsafe extern "C" fn(context: *mut c_void) -> u8>;
/// Masks interrupts on the caller's CPU (or raises to DISPATCH), nesting; what it returns is handed to the
/// function that restores.
pub type sp_mask_callback = Option<unsafe extern "C" fn(context: *mut c_void) -> usize>;
/// Restores what the masking function found.
pub type sp_unmask_callback = Option<unsafe extern "C" fn(context: *mut c_void, state: usize)>;
/// Returns when every masked section that began on that CPU before the call has ended, as an inter-processor
/// interrupt would see to. Called by allocate's slowest path and by host functions, never by free.
pub type sp_fence_callback = Option<unsafe extern "C" fn(context: *mut c_void, cpu: u32)>;

/// A host's functions, and what they are called with.
#[derive(Clone, Copy)]
pub(crate) struct Callbacks {
    pub(crate) context: *mut c_void,
    pub(crate) cpu: unsafe extern "C" fn(*mut c_void) -> u32,
    pub(crate) irql: unsafe extern "C" fn(*mut c_void) -> u8,
}

/// Those of a host that masks interrupts.
pub(crate) struct Masking {
    pub(crate) callbacks: Callbacks,
    pub(crate) mask: unsafe extern "C" fn(*mut c_void) -> usize,
    pub(crate) unmask: unsafe extern "C" fn(*mut c_void, usize),
    pub(crate) fence: unsafe extern "C" fn(*mut c_void, u32),
}

// SAFETY: the host promises that its functions may be called with their context from anywhere.
unsafe impl Send for Callbacks {}
// SAFETY: as above.
unsafe impl Sync for Callbacks {}

impl Host for Callbacks {
    fn cpu(&self) -> u32 {
        // SAFETY: the host's promise, in `sp_options`.
        unsafe { (self.cpu)(self.context) }
    }

    fn irql(&self) -> Irql {
        // SAFETY: as above.
        let level = Irql::new(unsafe { (self.irql)(self.context) }).unwrap_or(Irql::HIGH);
        // What a driver raised by `KeRaiseIrql` is raised, whatever the host knows of it.
        level.max(Irql::current())
    }
}

impl Host for Masking {
    fn cpu(&self) -> u32 {
        self.callbacks.cpu()
    }

    fn irql(&self) -> Irql {
        self.callbacks.irql()
    }
}

// SAFETY: the host's promise, in `sp_options`.
unsafe impl MaskInterrupts for Masking {
    type State = usize;

    fn mask(&self) -> usize {
        // SAFETY: as above.
        unsafe { (self.mask)(self.callbacks.context) }
    }

    fn unmask(&self, state: usize) {
        // SAFETY: as above.
        unsafe { (self.unmask)(self.callbacks.context, state) }
    }

    fn fence(&self, cpu: u32) {
        // SAFETY: as above.
        unsafe { (self.fence)(self.callbacks.context, cpu) }
    }
}
