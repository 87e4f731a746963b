//! Both routines by one name and their codes. `c/extended.c` tells them apart, and calls them.

use core::ffi::c_void;

unsafe extern "C" {
    fn sp_extended_by_code(code: u32, extension: *mut c_void, ...) -> u32;
}

/// `StorPortExtendedFunction`: declared in the header by hand. Its arguments stay where they are: what they are depends
/// on the code, which C looks at.
///
/// # Safety
/// The arguments are what the function code asks for.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub unsafe extern "C" fn sp_extended_function() {
    #[cfg(target_arch = "x86_64")]
    core::arch::naked_asm!("jmp {}", sym sp_extended_by_code);
    #[cfg(target_arch = "aarch64")]
    core::arch::naked_asm!("b {}", sym sp_extended_by_code);
}
