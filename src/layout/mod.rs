//! How the range and the metadata are laid out: size classes, headers, page map, geometry.

pub(crate) mod classes;
pub(crate) mod control;
pub(crate) mod cursor;
pub(crate) mod geometry;
pub(crate) mod header;
pub(crate) mod meta;
pub(crate) mod page_map;

/// The same value, of which the compiler knows nothing: it costs no instruction, and keeps two uses of
/// one value from being computed twice, or merged into something longer.
#[inline(always)]
pub(crate) fn opaque(value: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        let same: usize;
        // SAFETY: no instruction at all.
        unsafe {
            core::arch::asm!(
                "/* {0} */",
                inlateout(reg) value => same,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        same
    }
    #[cfg(not(target_arch = "x86_64"))]
    value
}
