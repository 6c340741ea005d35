//! The floor of relaying without a copy: bytes that pass from socket to socket through pipes in the kernel.
//!
//! It owns the pipes: one serves all directions as long as nobody is stuck, and one that a sink left something in stays with its
//! direction. It waits for nothing and knows no addresses.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;

use crate::floor::Flow;

/// Size of a pipe: the most that an ordinary user may have.
const PIPE_BYTES: usize = 1024 * 1024;

/// A pipe, and how much is in it.
#[derive(Debug)]
pub struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
    held: usize,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (out, into) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // Where no more large pipes are allowed, small ones do.
        let _ = fcntl(&into, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES as i32));
        Ok(Self { out, into, held: 0 })
    }

    /// Takes at most a pipe full from `source`: how much that was, and 0 at its end. It holds nothing before.
    pub fn fill_from(&mut self, source: impl AsFd) -> nix::Result<usize> {
        self.held = splice(source, None, &self.into, None, PIPE_BYTES, FLAGS)?;
        Ok(self.held)
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Gives what it holds to `sink`.
    pub fn empty_into(&mut self, sink: impl AsFd) -> nix::Result<()> {
        while self.held > 0 {
            match splice(&self.out, None, &sink, None, self.held, FLAGS) {
                Ok(moved) => self.held -= moved,
                // Full, or not yet connected: both are told by an edge.
                Err(Errno::EAGAIN) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

const FLAGS: SpliceFFlags = SpliceFFlags::SPLICE_F_MOVE.union(SpliceFFlags::SPLICE_F_NONBLOCK);

/// Pipes that hold nothing.
#[derive(Debug, Default)]
pub struct Pipes(Vec<Pipe>);

impl Pipes {
    /// One that holds nothing.
    pub fn take(&mut self) -> io::Result<Pipe> {
        self.0.pop().map_or_else(Pipe::new, Ok)
    }

    /// Takes one back that holds nothing.
    pub fn give(&mut self, pipe: Pipe) {
        self.0.push(pipe);
    }

    /// Moves at most one pipe full from `source` to `sink`, after what is `stuck`.
    pub fn flow(&mut self, source: impl AsFd, sink: impl AsFd, stuck: &mut Option<Pipe>) -> Flow {
        if let Some(mut pipe) = stuck.take() {
            if pipe.empty_into(&sink).is_err() {
                return Flow::Ended;
            }
            if pipe.held > 0 {
                *stuck = Some(pipe);
                return Flow::Rests;
            }
            self.0.push(pipe);
        }
        let Ok(mut pipe) = self.take() else { return Flow::Ended };
        let flow = match pipe.fill_from(source) {
            Ok(0) => Flow::Ended,
            Ok(_) => {
                match pipe.empty_into(&sink) {
                    Err(_) => Flow::Ended,
                    Ok(()) if pipe.held > 0 => Flow::Rests,
                    // A pipe has room for so many pieces, whatever their size: only an attempt tells that the source is empty.
                    Ok(()) => Flow::Goes,
                }
            }
            Err(Errno::EAGAIN) => Flow::Rests,
            Err(_) => Flow::Ended,
        };
        if pipe.held > 0 {
            *stuck = Some(pipe);
        } else {
            self.0.push(pipe);
        }
        flow
    }
}
