//! Standard input, output and error as descriptors: taken over, given up, and written to without waiting for ever.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, write};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
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

/// Writes as to a descriptor that blocks, also where it does not: whoever left it to this process may have set that, and half
/// a line would be lost.
#[derive(Debug)]
pub struct Blocking<T>(pub T);

impl<T: Write + AsFd> Write for Blocking<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut part = bytes;
        loop {
            match self.0.write(part) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
            let mut ready = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
            match poll(&mut ready, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            part = &bytes[..bytes.len().min(PIPE_BYTES)];
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
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

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use std::io::{Read, pipe};

    #[test]
    fn a_descriptor_that_does_not_block_takes_all_there_is() {
        /// More than a pipe holds.
        const LENGTH: usize = 1 << 20;
        let (mut reader, writer) = pipe().unwrap();
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let text: Vec<u8> = (0..LENGTH).map(|at| at as u8).collect();
        let expected = text.clone();
        let writing = std::thread::spawn(move || Blocking(writer).write_all(&text));
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        writing.join().unwrap().unwrap();
        assert!(read == expected, "{} of {LENGTH} bytes", read.len());

        // A reader that goes is an error, and no wait.
        let (reader, writer) = pipe().unwrap();
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut out = Blocking(writer);
        let count = out.write(&[0; LENGTH]).unwrap();
        assert!(count < LENGTH);
        let writing = std::thread::spawn(move || out.write_all(&[0; LENGTH]));
        drop(reader);
        assert_eq!(writing.join().unwrap().unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
