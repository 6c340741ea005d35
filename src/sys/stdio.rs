//! Standard input, output and error as descriptors: taken over, given up, and written to without waiting for ever.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, write};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a pipe takes whole when it says that it can be written to (POSIX, `_POSIX_PIPE_BUF`).
const PIPE_BYTES: usize = 512;

/// Takes what standard input is, and puts nothing in its place. Where it is a socket that was given as standard output
/// or error too, as inetd does, those become nothing as well: a log line is no answer to a client.
pub fn take_input() -> io::Result<OwnedFd> {
    let taken = io::stdin().as_fd().try_clone_to_owned()?;
    let nothing = nothing()?;
    let own = fstat(&taken)?;
    let is_same = |there: io::Result<nix::sys::stat::FileStat>| {
        there.is_ok_and(|there| (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino))
    };
    if is_same(fstat(io::stdout()).map_err(io::Error::from)) {
        dup2_stdout(&nothing)?;
    }
    if is_same(fstat(io::stderr()).map_err(io::Error::from)) {
        dup2_stderr(&nothing)?;
    }
    dup2_stdin(&nothing)?;
    Ok(taken)
}

/// Whether what is written to `there` comes out where standard error does.
pub fn is_error(there: impl AsFd) -> bool {
    let same = |one: nix::sys::stat::FileStat, other: nix::sys::stat::FileStat| {
        (one.st_dev, one.st_ino, one.st_rdev) == (other.st_dev, other.st_ino, other.st_rdev)
    };
    fstat(there).ok().zip(fstat(io::stderr()).ok()).is_some_and(|(one, other)| same(one, other))
}

/// Standard error as it was, for complaints.
static KEPT: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// Gives all three up: nothing is read from them, what is written goes nowhere, and programs that are started have nothing
/// else either. Only [`complain`] still reaches what standard error was, until [`let_go`].
pub fn give_up() -> io::Result<()> {
    let nothing = nothing()?;
    let before = io::stderr().as_fd().try_clone_to_owned()?;
    *KEPT.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
    dup2_stdin(&nothing)?;
    dup2_stdout(&nothing)?;
    dup2_stderr(&nothing)?;
    Ok(())
}

/// Lets go of what standard error was.
pub fn let_go() {
    *KEPT.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

fn nothing() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/null")
}

/// Writes `text` to standard error, as far as it is taken within `patience`.
pub fn complain(text: &[u8], patience: Duration) {
    match &*KEPT.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(before) => write_to(before.as_fd(), text, patience),
        None => write_to(io::stderr().as_fd(), text, patience),
    }
}

fn write_to(error: BorrowedFd<'_>, text: &[u8], patience: Duration) {
    let until = Instant::now() + patience;
    let mut left = text;
    while !left.is_empty() {
        let wait = until.saturating_duration_since(Instant::now());
        let mut ready = [PollFd::new(error, PollFlags::POLLOUT)];
        match poll(&mut ready, PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX)) {
            Ok(0) => return,
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(_) => return,
        }
        match write(error, &left[..left.len().min(PIPE_BYTES)]) {
            Ok(count) => left = &left[count..],
            Err(nix::errno::Errno::EINTR | nix::errno::Errno::EAGAIN) if Instant::now() < until => {}
            Err(_) => return,
        }
    }
}
