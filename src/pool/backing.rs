//! Memory of the operating system: address space that is resident when touched.

use core::ptr::NonNull;

use crate::layout::create_error::CreateError;

/// What a pool owns of the operating system's.
pub(crate) struct Backing {
    pub(crate) range: os::Memory,
    /// Dropped with the pool; the pool's words lie in it.
    pub(crate) _metadata: os::Memory,
    /// Never faults: trim gives nothing back.
    pub(crate) resident: bool,
}

#[cfg(storport_pool_asan)]
impl Drop for Backing {
    /// Whoever is mapped here next may use it.
    fn drop(&mut self) {
        crate::stock::poison::unpoison_range(self.range.start().addr().get() as u64, self.range.bytes as u64);
    }
}

#[cfg(target_os = "linux")]
pub(crate) mod os {
    use super::*;
    use crate::layout::classes::MOST_SPAN;
    use crate::layout::cursor::FIRST_GENERATION;
    use crate::sync::AtomicU32;
    use std::io::Read;

    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

    const PAGE: usize = 4096;

    /// An anonymous mapping, aligned to a span, with one page more at its end for the fork word.
    pub(crate) struct Memory {
        mapping: NonNull<u8>,
        mapped: usize,
        start: NonNull<u8>,
        pub(crate) bytes: usize,
    }

    // SAFETY: the mapping belongs to the value; nothing about it is tied to a thread.
    unsafe impl Send for Memory {}
    // SAFETY: as above.
    unsafe impl Sync for Memory {}

    impl Memory {
        pub(crate) fn reserve(bytes: usize, resident: bool) -> Result<Memory, CreateError> {
            let mapped = bytes + MOST_SPAN as usize + PAGE;
            let refused = |code| CreateError::Os { code, bytes: mapped as u64 };
            let mut flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
            if resident {
                flags |= MapFlags::POPULATE;
            }
            // SAFETY: a new mapping at an address of the kernel's choice.
            let mapping = unsafe {
                mmap_anonymous(core::ptr::null_mut(), mapped, ProtFlags::READ | ProtFlags::WRITE, flags)
            }
            .map_err(|error| refused(error.raw_os_error()))?;
            let mapping = NonNull::new(mapping.cast::<u8>()).ok_or(refused(0))?;
            let skip = mapping.align_offset(MOST_SPAN as usize);
            // SAFETY: the mapping is a span longer than asked for.
            let start = unsafe { mapping.byte_add(skip) };
            Ok(Memory { mapping, mapped, start, bytes })
        }

        pub(crate) fn start(&self) -> NonNull<u8> {
            self.start
        }

        pub(crate) fn bytes(&mut self) -> NonNull<[u8]> {
            NonNull::slice_from_raw_parts(self.start, self.bytes)
        }

        /// A word that reads 0 in a forked child, and here the first generation; `None` where the kernel has no such page.
        pub(crate) fn fork_word(&mut self) -> Option<*const AtomicU32> {
            // The mapping's last page: behind what was asked for.
            // SAFETY: inside the mapping.
            let page = unsafe { self.mapping.byte_add(self.mapped - PAGE) };
            // SAFETY: the page is ours, and nothing lies on it but the word.
            unsafe {
                madvise(page.as_ptr().cast(), PAGE, Advice::LinuxWipeOnFork).ok()?;
                page.cast::<AtomicU32>().write(AtomicU32::new(FIRST_GENERATION));
            }
            Some(page.as_ptr().cast())
        }

        pub(crate) fn decommit(&self, offset: usize, bytes: usize) -> bool {
            debug_assert!(offset + bytes <= self.bytes);
            // SAFETY: a part of the mapping in which no block is allocated; it reads as zero afterwards.
            unsafe {
                let start = self.start.byte_add(offset);
                madvise(start.as_ptr().cast(), bytes, Advice::LinuxDontNeed).is_ok()
            }
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            // SAFETY: the mapping is ours and unused from here on. An error leaves it mapped.
            let _ = unsafe { munmap(self.mapping.as_ptr().cast(), self.mapped) };
        }
    }

    /// CPUs that may ever come online, from sysfs; else those that this process may use.
    pub(crate) fn possible_cpus() -> u32 {
        listed_cpus().unwrap_or_else(usable_cpus).clamp(1, crate::layout::config::MAX_CPUS as u32)
    }

    /// Asks for no memory. Even a list of every other of 8192 CPUs ends within 16 KiB, and only its end matters.
    fn listed_cpus() -> Option<u32> {
        let mut file = std::fs::File::open("/sys/devices/system/cpu/possible").ok()?;
        let mut last = 0u32;
        let mut bytes = [0; 64];
        loop {
            let read = file.read(&mut bytes).ok()?;
            if read == 0 {
                return last.checked_add(1);
            }
            for byte in &bytes[..read] {
                match byte {
                    b'0'..=b'9' => last = last.checked_mul(10)?.checked_add(u32::from(byte - b'0'))?,
                    b'\n' => {}
                    _ => last = 0,
                }
            }
        }
    }

    /// CPUs that this process may use.
    fn usable_cpus() -> u32 {
        rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count())
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) mod os {
    use super::*;
    use crate::layout::classes::MOST_SPAN;
    use crate::sync::AtomicU32;
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::num::NonZeroUsize;
    use std::thread::available_parallelism;

    /// Memory of the system allocator, whatever the program's is. Not tried on any such system yet.
    pub(crate) struct Memory {
        start: NonNull<u8>,
        layout: Layout,
    }

    // SAFETY: the memory belongs to the value; nothing about it is tied to a thread.
    unsafe impl Send for Memory {}
    // SAFETY: as above.
    unsafe impl Sync for Memory {}

    impl Memory {
        pub(crate) fn reserve(bytes: usize, _resident: bool) -> Result<Memory, CreateError> {
            let refused = CreateError::Os { code: 0, bytes: bytes as u64 };
            let layout = Layout::from_size_align(bytes, MOST_SPAN as usize).map_err(|_| refused)?;
            // SAFETY: the layout has a size, since the configuration was checked.
            let start = NonNull::new(unsafe { System.alloc_zeroed(layout) }).ok_or(refused)?;
            Ok(Memory { start, layout })
        }

        pub(crate) fn start(&self) -> NonNull<u8> {
            self.start
        }

        pub(crate) fn bytes(&mut self) -> NonNull<[u8]> {
            NonNull::slice_from_raw_parts(self.start, self.layout.size())
        }

        pub(crate) fn fork_word(&mut self) -> Option<*const AtomicU32> {
            None
        }

        pub(crate) fn decommit(&self, _offset: usize, _bytes: usize) -> bool {
            false
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            // SAFETY: allocated with this layout.
            unsafe { System.dealloc(self.start.as_ptr(), self.layout) };
        }
    }

    pub(crate) fn possible_cpus() -> u32 {
        let usable = available_parallelism().map_or(1, NonZeroUsize::get) as u32;
        usable.clamp(1, crate::layout::config::MAX_CPUS as u32)
    }
}
