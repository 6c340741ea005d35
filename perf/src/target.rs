//! The target's end of one session: a source, a sink, both, an echo, or a desktop.
//!
//! It owns how far the session has come. It never waits and never opens or closes sockets.

use std::io::{ErrorKind, Read};

use nix::sys::epoll::EpollFlags;

use crate::frames::{Follower, Stream};
use crate::messages::{Parcels, put_message};
use crate::queue::{Queue, send_pieces};
use crate::rows::Kind;
use crate::shared::{Fate, Link, Shared};

/// Most of a bulk stream that is offered to a socket at a time, and of how many pieces: its number, and two at the pattern's end.
const SEND_BYTES: usize = 256 * 1024;
const PIECES: usize = 3;
/// Bytes of one picture of a desktop.
pub const PICTURE_BYTES: usize = 20 * 1024;

/// One connection that the target took.
#[derive(Debug, Default)]
pub struct Target {
    /// What a source sends.
    bulk: Option<Stream>,
    follower: Follower,
    /// Echoes and pictures that the socket has yet to take.
    queue: Queue,
    inputs: Parcels,
    last_input: Option<u64>,
}

impl Target {
    /// What it waits for.
    pub fn interest(&self, shared: &Shared) -> EpollFlags {
        match shared.kind {
            Kind::Down | Kind::Both if shared.flowing => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
            _ => self.queue.interest(),
        }
    }

    /// Data may flow now.
    pub fn go(&mut self, link: &mut Link, shared: &Shared) -> Result<(), String> {
        link.want(shared, self.interest(shared))
    }

    /// Sends picture `number`.
    pub fn send_picture(&mut self, number: u64, link: &mut Link, shared: &mut Shared) -> Result<(), String> {
        let mut picture = std::mem::take(&mut shared.outgoing);
        put_message(&mut picture, &shared.pattern, number, PICTURE_BYTES);
        let sent = self.queue.send(&link.socket, &picture);
        picture.clear();
        shared.outgoing = picture;
        shared.count.sent += 1;
        sent.map_err(|error| format!("target's send: {error}"))?;
        link.want(shared, self.interest(shared))
    }

    /// Handles one readiness event.
    pub fn handle(
        &mut self,
        link: &mut Link,
        flags: EpollFlags,
        shared: &mut Shared,
    ) -> Result<Fate, String> {
        if flags.contains(EpollFlags::EPOLLOUT) {
            self.send(link, shared)?;
            if flags == EpollFlags::EPOLLOUT {
                return Ok(Fate::Keep);
            }
        }
        let mut buffer = std::mem::take(&mut shared.buffer);
        let fate = self.receive(link, &mut buffer, shared);
        shared.buffer = buffer;
        fate
    }

    fn send(&mut self, link: &mut Link, shared: &mut Shared) -> Result<(), String> {
        let told = |error| format!("target's send: {error}");
        if matches!(shared.kind, Kind::Down | Kind::Both) && shared.flowing {
            let bulk = self.bulk.get_or_insert_with(|| Stream::bare(shared.next_number()));
            let mut pieces = Vec::with_capacity(PIECES);
            bulk.next(&shared.pattern, SEND_BYTES, &mut pieces, PIECES);
            let sent = send_pieces(&link.socket, &pieces).map_err(told)?;
            drop(pieces);
            shared.count.sent += bulk.took(sent);
            return Ok(());
        }
        self.queue.resume(&link.socket).map_err(told)?;
        link.want(shared, self.interest(shared))
    }

    fn receive(&mut self, link: &mut Link, buffer: &mut [u8], shared: &mut Shared) -> Result<Fate, String> {
        let length = match (&link.socket).read(buffer) {
            Ok(0) => return end(shared.kind, "the connection to the target ended"),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Fate::Keep),
            Err(error) => return end(shared.kind, &format!("target's receive: {error}")),
        };
        let bytes = &buffer[..length];
        match shared.kind {
            Kind::Down => Err("the source was sent something".into()),
            Kind::Up | Kind::Both => {
                shared.count.received += length as u64;
                if shared.follow(&mut self.follower, bytes) {
                    Ok(Fate::Keep)
                } else {
                    Err("the target received other bytes than the client sent".into())
                }
            }
            Kind::Desktop => self.inputs(bytes, shared).map(|()| Fate::Keep),
            Kind::Echo
            | Kind::Latency
            | Kind::Setup
            | Kind::Idle
            | Kind::Start
            | Kind::Shards
            | Kind::Beside => {
                if let Err(error) = self.queue.send(&link.socket, bytes) {
                    return end(shared.kind, &format!("echo's send: {error}"));
                }
                link.want(shared, self.interest(shared))?;
                Ok(Fate::Keep)
            }
        }
    }

    fn inputs(&mut self, bytes: &[u8], shared: &mut Shared) -> Result<(), String> {
        let Shared { inputs: Some(schedule), count, pattern, message, .. } = shared else {
            return Err("input came before it was sent".into());
        };
        let (last, mut astray) = (&mut self.last_input, false);
        self.inputs.take(pattern, *message, bytes, |number| {
            astray |= !schedule.follows(*last, number);
            *last = Some(number);
            count.received += 1;
        })?;
        if astray { Err("inputs were lost, doubled or reordered".into()) } else { Ok(()) }
    }
}

/// An end is part of the plan where sessions come and go, and a failure where they are to last.
fn end(kind: Kind, what: &str) -> Result<Fate, String> {
    match kind {
        Kind::Down | Kind::Up | Kind::Both | Kind::Desktop => Err(what.into()),
        _ => Ok(Fate::Close),
    }
}
