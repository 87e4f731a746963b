//! The caller's IRQL.

use pool::Irql;

use crate::system;

/// The caller's level, as the system pool's calls see it: the thread's, or what the host's `irql` says if that is
/// higher. Without a system pool: the thread's.
#[unsafe(no_mangle)]
pub extern "C" fn sp_current_irql() -> u8 {
    system::pool().map_or_else(Irql::current, |handle| handle.irql()).level()
}

/// Raises the calling thread's IRQL; a lower level than the present one changes nothing, and one above 15 counts
/// as 15. Returns the level before, as `sp_current_irql` does. For a pool with a host's `irql` the higher of both
/// counts.
#[unsafe(no_mangle)]
pub extern "C" fn sp_raise_irql(to: u8) -> u8 {
    let before = sp_current_irql();
    core::mem::forget(Irql::raise(Irql::new(to).unwrap_or(Irql::HIGH)));
    before
}

/// Lowers the calling thread's IRQL; a higher level than the present one changes nothing. What a host's `irql` says
/// is the host's to lower.
#[unsafe(no_mangle)]
pub extern "C" fn sp_lower_irql(to: u8) {
    Irql::lower(Irql::new(to).unwrap_or(Irql::HIGH));
}
