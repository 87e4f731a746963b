//! Events of the feature `tracing`. Without the feature there is no code.

/// Emits an event at PASSIVE, and none above: a subscriber may lock, and ask for memory.
/// `emit!(irql, LEVEL, "what happened", field = value, ..)`.
macro_rules! emit {
    ($irql:expr, $level:ident, $what:literal $(, $($fields:tt)+)?) => {
        #[cfg(feature = "tracing")]
        if $irql == u32::from($crate::contract::irql::Irql::PASSIVE.level()) {
            tracing::event!(target: "storport_pool", tracing::Level::$level, $($($fields)+,)? $what);
        }
    };
}

pub(crate) use emit;
