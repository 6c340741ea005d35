//! The client's end of one session: WebSocket or bare TCP, from connecting to the end of the stream.
//!
//! It owns the session's stage and checks what arrives. It never waits and never opens or closes sockets. Everything it
//! sends was built beforehand; only a message's number is masked on the spot.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Instant;

use nix::sys::epoll::EpollFlags;

use crate::frames::{self, FRAME_BYTES, FRAME_PAYLOAD_BYTES, Follower, MESSAGE_BYTES, Piece, Reader};
use crate::load::{Fate, Link, Shared};
use crate::rows::Kind;

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// The TCP connection is under way.
    Connecting,
    /// The upgrade request went out; what came of the answer so far.
    Head(Vec<u8>),
    /// Data may flow.
    Open,
    /// We said goodbye and wait for the end of the stream.
    Closing,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    stage: Stage,
    reader: Reader,
    follower: Follower,
    /// Wire bytes sent by a bulk sender.
    sent: u64,
    /// Number of the message in flight, and how much of its echo came.
    sequence: u64,
    echoed: usize,
    /// When the round trip in flight began; of a short session, when it was dialled.
    since: Instant,
}

impl Client {
    /// A client whose socket was just told to connect.
    pub fn new() -> Self {
        Self {
            stage: Stage::Connecting,
            reader: Reader::default(),
            follower: Follower::default(),
            sent: 0,
            sequence: 0,
            echoed: 0,
            since: Instant::now(),
        }
    }

    /// Data may flow now.
    pub fn go(&mut self, link: &mut Link, shared: &mut Shared) -> Result<(), String> {
        match shared.kind {
            Kind::Up => link.want(shared, EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT),
            Kind::Echo => self.send_message(link, shared),
            Kind::Down | Kind::Setup | Kind::Idle => Ok(()),
        }
    }

    /// Handles one readiness event.
    pub fn handle(
        &mut self,
        link: &mut Link,
        flags: EpollFlags,
        shared: &mut Shared,
    ) -> Result<Fate, String> {
        if self.stage == Stage::Connecting {
            return self.connected(link, shared);
        }
        if flags.contains(EpollFlags::EPOLLOUT) {
            self.send_bulk(link, shared)?;
            return Ok(Fate::Keep);
        }
        let mut buffer = std::mem::take(&mut shared.buffer);
        let fate = self.receive(link, &mut buffer, shared);
        shared.buffer = buffer;
        fate
    }

    fn connected(&mut self, link: &mut Link, shared: &mut Shared) -> Result<Fate, String> {
        if let Some(error) = link.socket.take_error().map_err(|error| error.to_string())? {
            return Err(format!("cannot connect: {error}"));
        }
        link.want(shared, EpollFlags::EPOLLIN)?;
        if shared.websocket {
            send_whole(link, &frames::request(shared.port))?;
            self.stage = Stage::Head(Vec::new());
        } else {
            self.opened(link, shared)?;
        }
        Ok(Fate::Keep)
    }

    fn opened(&mut self, link: &mut Link, shared: &mut Shared) -> Result<(), String> {
        self.stage = Stage::Open;
        shared.opened += 1;
        match shared.kind {
            Kind::Setup | Kind::Idle => self.send_message_from(link, shared, self.since),
            Kind::Down | Kind::Up | Kind::Echo => Ok(()),
        }
    }

    fn send_message(&mut self, link: &Link, shared: &Shared) -> Result<(), String> {
        self.send_message_from(link, shared, Instant::now())
    }

    fn send_message_from(&mut self, link: &Link, shared: &Shared, since: Instant) -> Result<(), String> {
        self.since = since;
        self.sequence += 1;
        self.echoed = 0;
        let message = frames::message(&shared.pattern, self.sequence);
        if shared.websocket {
            send_whole(link, &frames::message_frame(&message))
        } else {
            send_whole(link, &message)
        }
    }

    /// Sends what the socket takes. When data is to stop, only the rest of the frame that was begun.
    fn send_bulk(&mut self, link: &mut Link, shared: &mut Shared) -> Result<(), String> {
        let (stream, step) = if shared.websocket {
            (&shared.frames, FRAME_BYTES as u64)
        } else {
            (&shared.pattern, FRAME_PAYLOAD_BYTES as u64)
        };
        let start = (self.sent % stream.len() as u64) as usize;
        let bytes = if shared.flowing {
            &stream[start..]
        } else {
            let rest = self.sent.next_multiple_of(step) - self.sent;
            &stream[start..start + rest as usize]
        };
        if bytes.is_empty() {
            return link.want(shared, EpollFlags::EPOLLIN);
        }
        let sent = match (&link.socket).write(bytes) {
            Ok(sent) => sent as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(format!("client's send: {error}")),
        };
        let payload = |wire| if shared.websocket { frames::frame_stream_payload(wire) } else { wire };
        shared.count.sent += payload(self.sent + sent) - payload(self.sent);
        self.sent += sent;
        Ok(())
    }

    fn receive(&mut self, link: &mut Link, buffer: &mut [u8], shared: &mut Shared) -> Result<Fate, String> {
        let length = match (&link.socket).read(buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Fate::Keep),
            Err(_) if self.stage == Stage::Closing => {
                shared.count.resets += 1;
                0
            }
            Err(error) => return Err(format!("client's receive: {error}")),
        };
        if length == 0 {
            if self.stage != Stage::Closing {
                return Err("the client's connection was ended".into());
            }
            shared.count.sessions += 1;
            return Ok(Fate::Close);
        }
        let mut bytes = &buffer[..length];
        if let Stage::Head(head) = &mut self.stage {
            let before = head.len();
            head.extend_from_slice(bytes);
            let Some(end) = frames::answer_end(head)? else { return Ok(Fate::Keep) };
            bytes = &bytes[end - before..];
            self.opened(link, shared)?;
        }
        if !shared.websocket {
            self.payload(link, bytes, shared)?;
            return Ok(Fate::Keep);
        }
        while let Some(piece) = self.reader.next(&mut bytes)? {
            match piece {
                Piece::Payload(payload) => self.payload(link, payload, shared)?,
                Piece::Close if self.stage == Stage::Closing => {}
                Piece::Close => return Err("the client was sent a close frame".into()),
            }
        }
        Ok(Fate::Keep)
    }

    fn payload(&mut self, link: &Link, payload: &[u8], shared: &mut Shared) -> Result<(), String> {
        match shared.kind {
            Kind::Down => {
                shared.count.received += payload.len() as u64;
                if self.follower.follow(&shared.pattern, payload) {
                    Ok(())
                } else {
                    Err("the client received other bytes than the target sent".into())
                }
            }
            Kind::Up => Err("the client of a sink was sent data".into()),
            Kind::Echo | Kind::Setup | Kind::Idle => self.echo(link, payload, shared),
        }
    }

    fn echo(&mut self, link: &Link, payload: &[u8], shared: &mut Shared) -> Result<(), String> {
        let expected = frames::message(&shared.pattern, self.sequence);
        let end = self.echoed + payload.len();
        if end > MESSAGE_BYTES || payload != &expected[self.echoed..end] {
            return Err("the echo differs from the message".into());
        }
        self.echoed = end;
        if end < MESSAGE_BYTES {
            return Ok(());
        }
        shared.count.messages += 1;
        shared.latency.saturating_record(self.since.elapsed().as_nanos() as u64);
        match shared.kind {
            Kind::Echo if shared.flowing => self.send_message(link, shared),
            Kind::Setup => self.say_goodbye(link, shared),
            Kind::Down | Kind::Up | Kind::Echo | Kind::Idle => Ok(()),
        }
    }

    fn say_goodbye(&mut self, link: &Link, shared: &Shared) -> Result<(), String> {
        self.stage = Stage::Closing;
        if shared.websocket {
            send_whole(link, &frames::close_frame())
        } else {
            link.socket.shutdown(Shutdown::Write).map_err(|error| format!("shutdown: {error}"))
        }
    }
}

/// Sends something small on a socket that has nothing queued, where a short send cannot happen.
fn send_whole(link: &Link, bytes: &[u8]) -> Result<(), String> {
    match (&link.socket).write(bytes) {
        Ok(sent) if sent == bytes.len() => Ok(()),
        Ok(sent) => Err(format!("client's send took {sent} of {} bytes", bytes.len())),
        Err(error) => Err(format!("client's send: {error}")),
    }
}
