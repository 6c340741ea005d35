//! The target's end of one session: a source, a sink, or an echo.
//!
//! It owns how far the session has come. It never waits and never opens or closes sockets.

use std::io::{ErrorKind, Read, Write};

use nix::sys::epoll::EpollFlags;

use crate::frames::Follower;
use crate::load::{Fate, Link, Shared};
use crate::rows::Kind;

/// One connection that the target took.
#[derive(Debug)]
pub enum Target {
    /// Sends the pattern for as long as data flows; how many bytes so far.
    Source(u64),
    /// Reads and checks the pattern.
    Sink(Follower),
    /// Sends back what comes.
    Echo,
}

impl Target {
    /// The part that a target plays in rows of `kind`.
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Down => Self::Source(0),
            Kind::Up => Self::Sink(Follower::default()),
            Kind::Echo | Kind::Setup | Kind::Idle => Self::Echo,
        }
    }

    /// What it waits for.
    pub fn interest(&self, shared: &Shared) -> EpollFlags {
        match self {
            Self::Source(_) if shared.flowing => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
            _ => EpollFlags::EPOLLIN,
        }
    }

    /// Data may flow now.
    pub fn go(&mut self, link: &mut Link, shared: &Shared) -> Result<(), String> {
        link.want(shared, self.interest(shared))
    }

    /// Handles one readiness event.
    pub fn handle(
        &mut self,
        link: &mut Link,
        flags: EpollFlags,
        shared: &mut Shared,
    ) -> Result<Fate, String> {
        if let (Self::Source(at), true) = (&mut *self, flags.contains(EpollFlags::EPOLLOUT)) {
            if !shared.flowing {
                link.want(shared, EpollFlags::EPOLLIN)?;
                return Ok(Fate::Keep);
            }
            let start = (*at % shared.pattern.len() as u64) as usize;
            return match (&link.socket).write(&shared.pattern[start..]) {
                Ok(sent) => {
                    *at += sent as u64;
                    shared.count.sent += sent as u64;
                    Ok(Fate::Keep)
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Fate::Keep),
                Err(error) => Err(format!("target's send: {error}")),
            };
        }
        let mut buffer = std::mem::take(&mut shared.buffer);
        let fate = self.receive(link, &mut buffer, shared);
        shared.buffer = buffer;
        fate
    }

    fn receive(&mut self, link: &Link, buffer: &mut [u8], shared: &mut Shared) -> Result<Fate, String> {
        let length = match (&link.socket).read(buffer) {
            Ok(0) => return self.end("the connection to the target ended"),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Fate::Keep),
            Err(error) => return self.end(&format!("target's receive: {error}")),
        };
        match self {
            Self::Source(_) => Err("the source was sent something".into()),
            Self::Sink(follower) => {
                shared.count.received += length as u64;
                if follower.follow(&shared.pattern, &buffer[..length]) {
                    Ok(Fate::Keep)
                } else {
                    Err("the target received other bytes than the client sent".into())
                }
            }
            Self::Echo => match (&link.socket).write(&buffer[..length]) {
                Ok(sent) if sent == length => Ok(Fate::Keep),
                Ok(_) => Err("the echo of one message did not fit the socket".into()),
                Err(error) => self.end(&format!("echo's send: {error}")),
            },
        }
    }

    /// An end is part of the plan where sessions come and go, and a failure where they are to last.
    fn end(&self, what: &str) -> Result<Fate, String> {
        if matches!(self, Self::Echo) { Ok(Fate::Close) } else { Err(what.into()) }
    }
}
