//! The calling thread's IRQL.

use pool::Irql;

use crate::types::{KIRQL, PKIRQL};

/// Raises the calling thread's IRQL; a lower level than the present one changes nothing, and one above 15 counts
/// as 15. Returns the level before.
#[unsafe(no_mangle)]
pub extern "C" fn sp_raise_irql(to: KIRQL) -> KIRQL {
    let before = Irql::current();
    core::mem::forget(Irql::raise(Irql::new(to).unwrap_or(Irql::HIGH)));
    before.level()
}

/// Lowers the calling thread's IRQL; a higher level than the present one changes nothing.
#[unsafe(no_mangle)]
pub extern "C" fn sp_lower_irql(to: KIRQL) {
    Irql::lower(Irql::new(to).unwrap_or(Irql::HIGH));
}

/// `KeGetCurrentIrql`: declared in the header by hand.
#[unsafe(no_mangle)]
pub extern "C" fn KeGetCurrentIrql() -> KIRQL {
    Irql::current().level()
}

/// `KeRaiseIrql`: declared in the header by hand.
///
/// # Safety
/// `OldIrql` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn KeRaiseIrql(NewIrql: KIRQL, OldIrql: PKIRQL) {
    let before = sp_raise_irql(NewIrql);
    // SAFETY: the caller's promise.
    unsafe { OldIrql.write(before) };
}

/// `KeLowerIrql`: declared in the header by hand.
#[unsafe(no_mangle)]
pub extern "C" fn KeLowerIrql(NewIrql: KIRQL) {
    sp_lower_irql(NewIrql);
}
