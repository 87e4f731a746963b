//! Recording: verified calls, pushed into a ring.

use super::verifier::Verifier;
use crate::sync::Ordering;
use crate::trace::event::TraceEvent;
use crate::trace::ring::TraceRing;

impl Verifier {
    /// The ring that calls are recorded in, if any are.
    pub(crate) fn ring(&self) -> Option<&'static TraceRing<'static>> {
        // ORDERING: Acquire - the ring; pairs with the Release in `set_ring`.
        let ring = self.ring.load(Ordering::Acquire);
        // SAFETY: a ring that was set lives for ever.
        unsafe { ring.cast_const().cast::<TraceRing<'static>>().as_ref() }
    }

    /// Sets the ring, if there is none; `None` takes it away. Whether it did.
    #[cfg(all(feature = "std", not(storport_pool_loom)))]
    pub(crate) fn set_ring(&self, ring: Option<&'static TraceRing<'static>>) -> bool {
        let Some(ring) = ring else {
            // ORDERING: Relaxed - who has it still may use it.
            self.ring.store(core::ptr::null_mut(), Ordering::Relaxed);
            return true;
        };
        let to = core::ptr::from_ref(ring).cast_mut().cast();
        // ORDERING: Release - the ring; pairs with the Acquire in `ring`.
        self.ring.compare_exchange(core::ptr::null_mut(), to, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Pushes a call: the host adds who made it.
    pub(crate) fn record(&self, event: &TraceEvent) {
        if let Some(ring) = self.ring() {
            let thread = self.host().thread();
            ring.push(&TraceEvent { thread, ..*event });
        }
    }
}
