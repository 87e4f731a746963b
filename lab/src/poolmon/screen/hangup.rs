//! A terminal that is gone: its window was closed, or its connection was lost.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long a system may fail to tell at once.
const NOTICED: Duration = Duration::from_millis(200);

/// Ends the program when the terminal hangs up. A thread of its own looks: crossterm reads a terminal that is gone again
/// and again, and comes back to nobody. There is no screen to restore then, and nothing to lose.
///
/// # Errors
/// There is no thread.
pub(super) fn guard() -> io::Result<()> {
    let watch = || {
        while !hung_up(NOTICED) {}
        std::process::exit(0)
    };
    std::thread::Builder::new().name("terminal".to_owned()).spawn(watch).map(drop)
}

/// Whether the terminal hangs up within this time.
pub(super) fn hung_up(within: Duration) -> bool {
    let (input, output) = (io::stdin(), io::stdout());
    let terminals = [(input.as_fd(), input.is_terminal()), (output.as_fd(), true)];
    any(terminals.into_iter().filter(|&(_, is)| is).map(|(fd, _)| fd), within)
}

fn any<'a>(terminals: impl Iterator<Item = BorrowedFd<'a>>, within: Duration) -> bool {
    // Hanging up is told without being asked for.
    let mut fds: Vec<_> = terminals.map(|fd| PollFd::new(fd, PollFlags::empty())).collect();
    let time = PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX);
    // A signal ends the wait early. It looks anew then.
    let _ = poll(&mut fds, time);
    let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
    fds.iter().any(|fd| fd.revents().is_some_and(|told| told.intersects(gone)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_hung_up_is_seen() {
        let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(!any([here.as_fd()].into_iter(), Duration::ZERO));
        drop(there);
        assert!(any([here.as_fd()].into_iter(), Duration::ZERO));
    }
}
