//! A run in a child process, and its end.

use core::ptr::NonNull;
use core::time::Duration;
use std::time::Instant;

use super::page::Page;
use super::report::RunEnd;
use crate::pool::verifier::VerifierError;

/// A page that child processes share with this one.
pub(crate) struct Shared(NonNull<Page>);

fn os_error() -> VerifierError {
    VerifierError::Os(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

impl Shared {
    pub(crate) fn new() -> Result<Shared, VerifierError> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: memory of its own, at an address of the system's choice.
        let start = unsafe { libc::mmap(core::ptr::null_mut(), size_of::<Page>(), access, kind, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(os_error());
        }
        let page = NonNull::new(start.cast::<Page>()).ok_or(VerifierError::Memory)?;
        // SAFETY: it is ours, large enough, and aligned to a page of memory.
        unsafe { page.write(Page::new()) };
        Ok(Shared(page))
    }

    pub(crate) fn page(&self) -> &Page {
        // SAFETY: it lives as long as this.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and nobody of this process uses it any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<Page>()) };
    }
}

/// Does `work` in a child process, which then ends with status 0, and waits for it, as long as the limit says. How it
/// ended: `Exited(0)` is what the work's return leads to.
pub(crate) fn in_child(limit: Duration, work: impl FnOnce()) -> Result<RunEnd, VerifierError> {
    // SAFETY: the child has this thread alone; what that means for the work is said to the caller.
    let child = unsafe { libc::fork() };
    if child == -1 {
        return Err(os_error());
    }
    if child == 0 {
        // SAFETY: system calls. If this process dies, its child does.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        work();
        // SAFETY: neither destructors nor what was to run at exit: they are the parent's.
        unsafe { libc::_exit(0) };
    }
    wait(child, limit)
}

fn wait(child: libc::pid_t, limit: Duration) -> Result<RunEnd, VerifierError> {
    const LONGEST: Duration = Duration::from_millis(5);
    let start = Instant::now();
    let mut killed = false;
    loop {
        let mut status = 0;
        let flags = if killed { 0 } else { libc::WNOHANG };
        // SAFETY: our child, and a place for its status.
        let ended = unsafe { libc::waitpid(child, &mut status, flags) };
        let waited = start.elapsed();
        if ended == child {
            return Ok(match () {
                () if killed && libc::WIFSIGNALED(status) => RunEnd::Hung,
                () if libc::WIFSIGNALED(status) => RunEnd::Signal(libc::WTERMSIG(status)),
                () => RunEnd::Exited(libc::WEXITSTATUS(status)),
            });
        }
        if ended == -1 {
            match std::io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                // The system reaped it, since SIGCHLD is ignored, or another thread did.
                Some(libc::ECHILD) => return Ok(if killed { RunEnd::Hung } else { RunEnd::Lost }),
                error => return Err(VerifierError::Os(error.unwrap_or(0))),
            }
        } else if waited >= limit {
            // SAFETY: our child, which is not waited for yet: the number is no other's.
            unsafe { libc::kill(child, libc::SIGKILL) };
            killed = true;
        } else {
            std::thread::sleep((waited / 8).clamp(Duration::from_micros(50), LONGEST));
        }
    }
}
