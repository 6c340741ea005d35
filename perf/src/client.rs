//! The client's end of one session: WebSocket or bare payload, over TLS or TCP, from connecting to the end of the stream.
//!
//! It owns the session's stage and checks what arrives. It never waits and never opens or closes sockets. What it
//! sends is masked beforehand; only numbers are masked on the spot.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::epoll::EpollFlags;

use crate::frames::{self, Follower, Piece, Reader, Stream};
use crate::messages::{self, Parcels};
use crate::queue::{Queue, send_pieces, send_some};
use crate::rows::Kind;
use crate::shared::{Fate, Link, Shared};
use crate::target::PICTURE_BYTES;
use crate::tls::Seal;

/// Most of the bulk stream that is sealed at a time: four records, one send.
const SEAL_BYTES: usize = 64 * 1024;
/// Most of it that is offered to a socket at a time, and of how many pieces: headers, and frames that the pattern's end cuts.
const SEND_BYTES: usize = 256 * 1024;
const PIECES: usize = 40;

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// The TCP connection is under way.
    Connecting,
    /// The TLS handshake is under way.
    Securing,
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
    seal: Option<Box<Seal>>,
    /// Nothing will follow what is to be sent now.
    last: bool,
    reader: Reader,
    follower: Follower,
    /// What a bulk sender sends.
    bulk: Stream,
    /// Messages that the socket has yet to take.
    queue: Queue,
    /// Whether an echo is answered by the next message.
    active: bool,
    /// Messages whose echo is due, with the times from which their latency counts, and how much of the first one's came.
    due: VecDeque<(u64, Instant)>,
    echoed: usize,
    pictures: Parcels,
    last_picture: Option<u64>,
    dialled: Instant,
}

impl Client {
    /// A client whose socket was just told to connect.
    pub fn new() -> Self {
        Self {
            stage: Stage::Connecting,
            seal: None,
            last: false,
            reader: Reader::default(),
            follower: Follower::default(),
            bulk: Stream::default(),
            queue: Queue::default(),
            active: false,
            due: VecDeque::new(),
            echoed: 0,
            pictures: Parcels::default(),
            last_picture: None,
            dialled: Instant::now(),
        }
    }

    /// Data may flow now.
    pub fn go(&mut self, link: &mut Link, shared: &mut Shared) -> Result<(), String> {
        match shared.kind {
            Kind::Up | Kind::Both => {
                let number = shared.next_number();
                self.bulk = if shared.websocket { Stream::framed(number) } else { Stream::bare(number) };
                link.want(shared, EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT)
            }
            Kind::Echo => {
                self.active = true;
                self.put_next(shared, Instant::now());
                self.flush(link, shared)
            }
            _ => Ok(()),
        }
    }

    /// Sends message `number` because its time has come.
    pub fn send_number(&mut self, number: u64, link: &mut Link, shared: &mut Shared) -> Result<(), String> {
        if shared.kind == Kind::Latency {
            let meant = shared.inputs.as_ref().map(|schedule| schedule.meant(number));
            self.due.push_back((number, meant.unwrap_or_else(Instant::now)));
        }
        put(shared, number);
        shared.count.sent += 1;
        self.flush(link, shared)
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
            if matches!(shared.kind, Kind::Up | Kind::Both) {
                self.send_bulk(link, shared)?;
            } else {
                self.queue.resume(&link.socket).map_err(send_failed)?;
                link.want(shared, self.queue.interest())?;
            }
            if flags == EpollFlags::EPOLLOUT {
                return Ok(Fate::Keep);
            }
        }
        let mut buffer = std::mem::take(&mut shared.buffer);
        let fate = self.receive(link, &mut buffer, shared);
        shared.buffer = buffer;
        if fate == Ok(Fate::Keep) {
            self.flush(link, shared)?;
        }
        fate
    }

    fn connected(&mut self, link: &mut Link, shared: &mut Shared) -> Result<Fate, String> {
        if let Some(error) = link.socket.take_error().map_err(|error| error.to_string())? {
            return Err(format!("cannot connect: {error}"));
        }
        link.want(shared, EpollFlags::EPOLLIN)?;
        match shared.tls.as_ref().map(Arc::clone) {
            Some(config) => {
                self.seal = Some(Box::new(Seal::new(&config)?));
                self.stage = Stage::Securing;
            }
            None => self.ready(shared),
        }
        self.flush(link, shared)?;
        Ok(Fate::Keep)
    }

    /// The stream to the peer is there.
    fn ready(&mut self, shared: &mut Shared) {
        if shared.websocket {
            let request = frames::request(shared.port, shared.next_path());
            shared.outgoing.extend_from_slice(&request);
            self.stage = Stage::Head(Vec::new());
        } else {
            self.opened(shared);
        }
    }

    fn opened(&mut self, shared: &mut Shared) {
        self.stage = Stage::Open;
        shared.opened += 1;
        if shared.greet {
            self.put_next(shared, self.dialled);
        }
    }

    fn put_next(&mut self, shared: &mut Shared, since: Instant) {
        let number = shared.next_number();
        shared.count.sent += 1;
        self.due.push_back((number, since));
        put(shared, number);
    }

    /// Sends what was put together while one event was handled.
    fn flush(&mut self, link: &mut Link, shared: &mut Shared) -> Result<(), String> {
        if !self.bulk.is_fresh() {
            // A bulk sender has its own way, and its socket may be full.
            return Ok(());
        }
        if let Some(seal) = &mut self.seal {
            if !shared.outgoing.is_empty() {
                seal.seal(&shared.outgoing)?;
            }
            if self.last && !shared.websocket {
                seal.close()?;
            }
            send_whole(link, seal.outgoing())?;
            seal.went(seal.outgoing().len());
        } else if !shared.outgoing.is_empty() {
            self.queue.send(&link.socket, &shared.outgoing).map_err(send_failed)?;
            link.want(shared, self.queue.interest())?;
        }
        shared.outgoing.clear();
        if self.last && !shared.websocket {
            link.socket.shutdown(Shutdown::Write).map_err(|error| format!("shutdown: {error}"))?;
        }
        self.last = false;
        Ok(())
    }

    /// Sends what the socket takes. When data is to stop, only the rest of the frame that was begun.
    fn send_bulk(&mut self, link: &mut Link, shared: &mut Shared) -> Result<(), String> {
        let most = if shared.flowing { SEND_BYTES } else { self.bulk.rest_of_frame() };
        let pattern = if shared.websocket { &shared.masked } else { &shared.pattern };
        let mut pieces = Vec::with_capacity(PIECES);
        let (taken, wanted) = match &mut self.seal {
            Some(seal) if seal.outgoing().is_empty() && most > 0 => {
                self.bulk.next(pattern, most.min(SEAL_BYTES), &mut pieces, PIECES);
                pieces.iter().for_each(|piece| shared.outgoing.extend_from_slice(piece));
                seal.seal(&shared.outgoing)?;
                let length = shared.outgoing.len();
                shared.outgoing.clear();
                (length, most)
            }
            Some(_) => (0, most),
            None => {
                self.bulk.next(pattern, most, &mut pieces, PIECES);
                (send_pieces(&link.socket, &pieces).map_err(send_failed)?, most)
            }
        };
        drop(pieces);
        shared.count.sent += self.bulk.took(taken);
        let mut left = taken < wanted;
        if let Some(seal) = &mut self.seal {
            let sent = send_some(&link.socket, seal.outgoing()).map_err(send_failed)?;
            seal.went(sent);
            left |= !seal.outgoing().is_empty();
        }
        if left || shared.flowing { Ok(()) } else { link.want(shared, EpollFlags::EPOLLIN) }
    }

    fn receive(&mut self, link: &Link, buffer: &mut [u8], shared: &mut Shared) -> Result<Fate, String> {
        let kept = self.seal.as_ref().map_or(0, |seal| seal.begin(buffer));
        let length = match (&link.socket).read(&mut buffer[kept..]) {
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
        let bytes = &mut buffer[..kept + length];
        if let Some(mut seal) = self.seal.take() {
            let opened = seal.open(bytes, |plain| self.arrived(plain, shared));
            if let (Stage::Securing, Some(resumed)) = (&self.stage, seal.complete()) {
                shared.count.resumed += u64::from(resumed);
                shared.count.secured += 1;
                self.ready(shared);
            }
            self.seal = Some(seal);
            opened?;
        } else {
            self.arrived(bytes, shared)?;
        }
        Ok(Fate::Keep)
    }

    /// Bytes from the peer, TLS taken off.
    fn arrived(&mut self, mut bytes: &[u8], shared: &mut Shared) -> Result<(), String> {
        if let Stage::Head(head) = &mut self.stage {
            let before = head.len();
            head.extend_from_slice(bytes);
            let Some(end) = frames::answer_end(head)? else { return Ok(()) };
            bytes = &bytes[end - before..];
            self.opened(shared);
        }
        if !shared.websocket {
            return self.payload(bytes, shared);
        }
        while let Some(piece) = self.reader.next(&mut bytes)? {
            match piece {
                Piece::Payload(payload) => self.payload(payload, shared)?,
                Piece::Close if self.stage == Stage::Closing => {}
                Piece::Close => return Err("the client was sent a close frame".into()),
            }
        }
        Ok(())
    }

    fn payload(&mut self, payload: &[u8], shared: &mut Shared) -> Result<(), String> {
        match shared.kind {
            Kind::Down | Kind::Both => {
                shared.count.received += payload.len() as u64;
                if shared.follow(&mut self.follower, payload) {
                    Ok(())
                } else {
                    Err("the client received other bytes than the target sent".into())
                }
            }
            Kind::Up => Err("the client of a sink was sent data".into()),
            Kind::Desktop => self.picture(payload, shared),
            _ => self.echo(payload, shared),
        }
    }

    fn picture(&mut self, payload: &[u8], shared: &mut Shared) -> Result<(), String> {
        let Some(schedule) = shared.pictures else {
            return Err("a picture came before it was sent".into());
        };
        let pattern = std::mem::take(&mut shared.pattern);
        let (last, mut astray) = (&mut self.last_picture, false);
        let taken = self.pictures.take(&pattern, PICTURE_BYTES, payload, |number| {
            astray |= !schedule.follows(*last, number);
            *last = Some(number);
            shared.count.received += 1;
            shared.count.messages += 1;
            shared.note_lateness(schedule.meant(number));
        });
        shared.pattern = pattern;
        taken?;
        if astray { Err("pictures were lost, doubled or reordered".into()) } else { Ok(()) }
    }

    fn echo(&mut self, mut payload: &[u8], shared: &mut Shared) -> Result<(), String> {
        while !payload.is_empty() {
            let Some(&(number, since)) = self.due.front() else {
                return Err("more came back than was sent".into());
            };
            let (part, rest) = payload.split_at(payload.len().min(shared.message - self.echoed));
            if !messages::is_message(&shared.pattern, number, self.echoed, part) {
                return Err("the echo differs from the message".into());
            }
            payload = rest;
            self.echoed += part.len();
            if self.echoed == shared.message {
                self.echoed = 0;
                self.due.pop_front();
                self.came_back(since, shared);
            }
        }
        Ok(())
    }

    /// The echo of a message is complete.
    fn came_back(&mut self, since: Instant, shared: &mut Shared) {
        shared.count.messages += 1;
        shared.count.received += 1;
        let now = Instant::now();
        if shared.kind == Kind::Latency {
            shared.note_lateness(since);
        } else {
            shared.latency.saturating_record(now.saturating_duration_since(since).as_nanos() as u64);
        }
        match shared.kind {
            Kind::Echo if shared.flowing && self.active => self.put_next(shared, now),
            Kind::Setup => self.say_goodbye(shared),
            _ => {}
        }
    }

    fn say_goodbye(&mut self, shared: &mut Shared) {
        self.stage = Stage::Closing;
        self.last = true;
        if shared.websocket {
            shared.outgoing.extend_from_slice(&frames::close_frame());
        }
    }
}

/// Puts message `number` behind what is to be sent.
fn put(shared: &mut Shared, number: u64) {
    let Shared { outgoing, pattern, masked, message, .. } = shared;
    if shared.websocket {
        messages::put_frame(outgoing, masked, number, *message);
    } else {
        messages::put_message(outgoing, pattern, number, *message);
    }
}

fn send_failed(error: std::io::Error) -> String {
    format!("client's send: {error}")
}

/// Sends something small on a socket that has nothing queued, where a short send cannot happen.
fn send_whole(link: &Link, bytes: &[u8]) -> Result<(), String> {
    let sent = send_some(&link.socket, bytes).map_err(send_failed)?;
    if sent == bytes.len() {
        Ok(())
    } else {
        Err(format!("client's send took {sent} of {} bytes", bytes.len()))
    }
}
