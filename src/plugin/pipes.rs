//! Pipes to and from a process that can be given up: what it has started may hold their other ends for ever.
//!
//! Both ways end with the [`Ended`] they were made with: at once for what is written, after what lies in the pipe for what
//! is read. Never starts or ends a process.

use crate::limits::PLUGIN_LEFT_BYTES_MAX;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// The process is there while this is.
pub struct Ended {
    seen: Arc<PipeReader>,
    _held: PipeWriter,
}

/// What a process says.
pub struct Ear<R> {
    from: R,
    ended: Arc<PipeReader>,
    /// How much is still read when the process has ended.
    left: usize,
}

/// What a process is told.
pub struct Mouth<W> {
    to: W,
    ended: Arc<PipeReader>,
}

impl Ended {
    /// # Errors
    /// When there are no descriptors left.
    pub fn new() -> io::Result<Ended> {
        let (seen, held) = io::pipe()?;
        Ok(Ended { seen: seen.into(), _held: held })
    }

    pub fn ear<R: Read + AsFd>(&self, from: R) -> Ear<R> {
        Ear { from, ended: self.seen.clone(), left: PLUGIN_LEFT_BYTES_MAX }
    }

    /// # Errors
    /// When the system refuses.
    pub fn mouth<W: Write + AsFd>(&self, to: W) -> io::Result<Mouth<W>> {
        // Its own end alone: the other one is as the process expects it.
        let flags = OFlag::from_bits_retain(fcntl(&to, FcntlArg::F_GETFL)?);
        fcntl(&to, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(Mouth { to, ended: self.seen.clone() })
    }
}

impl<R: Read + AsFd> Read for Ear<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (ready, ended) = wait(self.from.as_fd(), PollFlags::POLLIN, self.ended.as_fd())?;
        let most = if ended { into.len().min(self.left) } else { into.len() };
        if !ready || most == 0 {
            return Ok(0);
        }
        let count = self.from.read(&mut into[..most])?;
        if ended {
            self.left -= count;
        }
        Ok(count)
    }
}

impl<W: Write + AsFd> Mouth<W> {
    /// Writes all of `bytes`, however long the process takes to read them.
    ///
    /// # Errors
    /// When it has ended, or reads no more.
    pub fn say(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.to.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if wait(self.to.as_fd(), PollFlags::POLLOUT, self.ended.as_fd())?.1 {
                        return Err(io::ErrorKind::BrokenPipe.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Waits until there is something to do, or the process has ended; says which of them.
fn wait(at: BorrowedFd<'_>, what: PollFlags, ended: BorrowedFd<'_>) -> io::Result<(bool, bool)> {
    let mut looked = [PollFd::new(at, what), PollFd::new(ended, PollFlags::POLLIN)];
    loop {
        match poll(&mut looked, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => break,
        }
    }
    let [at, ended] = looked.map(|one| one.revents().is_none_or(|seen| !seen.is_empty()));
    Ok((at, ended))
}
