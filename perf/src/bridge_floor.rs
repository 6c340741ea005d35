//! The floor of bridging: what [`crate::floor`] is for relaying, with the messages that WebSocket adds.
//!
//! A bridge takes one request and sends one answer before any payload, and hears and answers one close behind it. Then it tells the
//! target that nothing follows, and closes only when the target has ended too: to close at once may reset the connection and destroy
//! what the target has not read yet. This makes exactly those calls, on one thread with edge-triggered epoll: the answer is always
//! the one to the harness's own request, a client's frame is small and taken to be whole when it comes, whatever the target sends
//! in one piece is one frame and taken to be taken whole when it goes, and only binary and close frames exist. So it can
//! carry small messages, pictures, set-ups and, through pipes, bulk of a target to a client that behaves, and nothing else: it is no server, it is what
//! the kernel alone costs. It never measures anything.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

use crate::floor::{Begun, By, EVENTS, Floor, LISTENER};
use crate::frames;
use crate::pipes::{Pipe, Pipes};

/// Bytes of the one buffer: many times what a client or a target of its rows sends at once.
const BUFFER_BYTES: usize = 256 * 1024;
/// Header of an unmasked frame of less than 126 bytes (RFC 6455 section 5.2), and the longest.
const HEADER_BYTES: usize = 2;
const HEADER_BYTES_MAX: usize = 10;
/// Header of a masked frame of less than 126 bytes.
const MASKED_HEADER_BYTES: usize = HEADER_BYTES + 4;
/// More follows at once, in the same segment (Linux).
const MORE: MsgFlags = MsgFlags::from_bits_retain(nix::libc::MSG_MORE);
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;

/// A client and its target.
struct Pair {
    /// `None` when it has ended.
    client: Option<OwnedFd>,
    /// `None` before there was a request, and when it has ended.
    target: Option<OwnedFd>,
    /// What came for the target before it was connected.
    early: Vec<u8>,
    connected: bool,
    /// The client's close is answered: only the ends of both are awaited.
    closing: bool,
    /// What the client has yet to take: the rest of a header, and the pipe with what belongs behind it.
    stuck: Option<(Vec<u8>, Pipe)>,
    /// It has another turn without an edge.
    going: bool,
}

impl Pair {
    /// Over when both have ended.
    fn over(&self) -> Result<(), Over> {
        if self.client.is_none() && self.target.is_none() { Err(Over) } else { Ok(()) }
    }
}

/// Why a pair ends: it is over, or something was not as this floor needs it.
struct Over;

struct Bridge {
    order: Floor,
    begun: Begun,
    buffer: Vec<u8>,
    pairs: Vec<Option<Pair>>,
    free: Vec<usize>,
    /// Slots that were freed in this turn: events further on may still name them.
    freed: Vec<usize>,
    pipes: Pipes,
    /// Slots whose target may have more without another edge.
    going: Vec<usize>,
}

/// Bridges until the process is ended.
pub fn run(order: Floor) -> Result<(), String> {
    let mut bridge = Bridge::new(order)?;
    loop {
        bridge.turn(EpollTimeout::NONE)?;
    }
}

impl Bridge {
    fn new(order: Floor) -> Result<Self, String> {
        Ok(Self {
            order,
            begun: Begun::new(order)?,
            buffer: vec![0; BUFFER_BYTES],
            pairs: Vec::new(),
            free: Vec::new(),
            freed: Vec::new(),
            pipes: Pipes::default(),
            going: Vec::new(),
        })
    }

    /// Handles what is ready, after waiting for at most `patience`.
    fn turn(&mut self, patience: EpollTimeout) -> Result<(), String> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let patience = if self.going.is_empty() { patience } else { EpollTimeout::ZERO };
        let count = match self.begun.epoll.wait(&mut events, patience) {
            Err(Errno::EINTR) => 0,
            other => other.map_err(|error| format!("floor: {error}"))?,
        };
        for slot in std::mem::take(&mut self.going) {
            self.pairs[slot].iter_mut().for_each(|pair| pair.going = false);
            let outcome = self.pass_bulk(slot);
            self.settle(slot, outcome);
        }
        for event in &events[..count] {
            if event.data() == LISTENER {
                self.accept().map_err(|error| format!("floor: {error}"))?;
            } else {
                let (slot, side) = (event.data() as usize / 2, event.data() as usize % 2);
                let outcome = if side == 0 {
                    self.hear_client(slot, event.events())
                } else {
                    self.hear_target(slot, event.events())
                };
                self.settle(slot, outcome);
            }
        }
        self.free.append(&mut self.freed);
        Ok(())
    }

    fn settle(&mut self, slot: usize, outcome: Result<(), Over>) {
        if outcome.is_err() && self.pairs[slot].take().is_some() {
            self.freed.push(slot);
        }
    }

    fn accept(&mut self) -> std::io::Result<()> {
        while let Some(client) = self.begun.accept()? {
            let slot = self.free.pop().unwrap_or_else(|| {
                self.pairs.push(None);
                self.pairs.len() - 1
            });
            let bulk = self.order.way == By::BulkMessage;
            let room = if bulk { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
            let every = EpollFlags::EPOLLIN | EpollFlags::EPOLLET | room;
            self.begun.epoll.add(&client, EpollEvent::new(every, 2 * slot as u64))?;
            self.pairs[slot] = Some(Pair {
                client: Some(client),
                target: None,
                early: Vec::new(),
                connected: false,
                closing: false,
                stuck: None,
                going: false,
            });
        }
        Ok(())
    }

    /// Takes what a client sent: its request, a message, its close, its end. If it has room again, it gets what is stuck.
    fn hear_client(&mut self, slot: usize, flags: EpollFlags) -> Result<(), Over> {
        let Some(pair) = &mut self.pairs[slot] else { return Ok(()) };
        if flags.contains(EpollFlags::EPOLLOUT) && pair.stuck.is_some() {
            self.pass_bulk(slot)?;
        }
        let Some(pair) = &mut self.pairs[slot] else { return Ok(()) };
        if !flags.contains(EpollFlags::EPOLLIN) {
            return Ok(());
        }
        let Some(client) = pair.client.as_ref().map(OwnedFd::as_raw_fd) else { return Ok(()) };
        let length = match recv(client, &mut self.buffer, MsgFlags::empty()) {
            Ok(0) if pair.closing => {
                pair.client = None;
                return pair.over();
            }
            Ok(0) => return Err(Over),
            Ok(length) => length,
            Err(Errno::EAGAIN) => return Ok(()),
            Err(_) => return Err(Over),
        };
        if pair.closing {
            return Ok(());
        }
        let mut from = 0;
        if pair.target.is_none() {
            let end = self.buffer[..length].windows(4).position(|four| four == b"\r\n\r\n").ok_or(Over)?;
            whole(client, frames::ANSWER.as_bytes())?;
            pair.target = Some(dial(&self.begun, self.order.target, slot)?);
            from = end + 4;
        }
        while from < length {
            let frame = &mut self.buffer[from..length];
            let (first, payload) = unmask(frame).ok_or(Over)?;
            let payload = MASKED_HEADER_BYTES..MASKED_HEADER_BYTES + payload;
            match (first, &pair.target) {
                (BINARY, Some(target)) if pair.connected => {
                    whole(target.as_raw_fd(), &frame[payload.clone()])?
                }
                (BINARY, _) => pair.early.extend_from_slice(&frame[payload.clone()]),
                (CLOSE, _) => {
                    // Unmasked, the same close is the answer: its header ends where its payload begins.
                    let at = payload.start - HEADER_BYTES;
                    frame.copy_within(..1, at);
                    frame[at + 1] = payload.len() as u8;
                    whole(client, &frame[at..payload.end])?;
                    shutdown(client, Shutdown::Write).map_err(|_| Over)?;
                    pair.closing = true;
                    if let (Some(target), true) = (&pair.target, pair.connected) {
                        shutdown(target.as_raw_fd(), Shutdown::Write).map_err(|_| Over)?;
                    }
                    return Ok(());
                }
                _ => return Err(Over),
            }
            from += payload.end;
        }
        Ok(())
    }

    /// The target is connected, or sent something.
    fn hear_target(&mut self, slot: usize, flags: EpollFlags) -> Result<(), Over> {
        let Some(pair) = &mut self.pairs[slot] else { return Ok(()) };
        let Some(target) = &pair.target else { return Ok(()) };
        if flags.contains(EpollFlags::EPOLLERR) {
            return Err(Over);
        }
        if !pair.connected && flags.contains(EpollFlags::EPOLLOUT) {
            pair.connected = true;
            if !pair.early.is_empty() {
                whole(target.as_raw_fd(), &pair.early)?;
            }
            if pair.closing {
                shutdown(target.as_raw_fd(), Shutdown::Write).map_err(|_| Over)?;
            }
        }
        if !flags.contains(EpollFlags::EPOLLIN) {
            return Ok(());
        }
        if self.order.way == By::BulkMessage {
            // Otherwise its turn comes anyway.
            return if pair.stuck.is_none() && !pair.going { self.pass_bulk(slot) } else { Ok(()) };
        }
        loop {
            match recv(target.as_raw_fd(), &mut self.buffer[HEADER_BYTES_MAX..], MsgFlags::empty()) {
                Ok(0) if pair.closing => {
                    pair.target = None;
                    return pair.over();
                }
                // Nobody wants it any more; its end may be right behind it, without an edge of its own.
                Ok(1..) if pair.closing => {}
                Ok(length @ 1..) => {
                    let client = pair.client.as_ref().ok_or(Over)?;
                    let begin = put_header(&mut self.buffer, length);
                    whole(client.as_raw_fd(), &self.buffer[begin..HEADER_BYTES_MAX + length])?;
                    if length < BUFFER_BYTES - HEADER_BYTES_MAX {
                        return Ok(());
                    }
                }
                Err(Errno::EAGAIN) => return Ok(()),
                Ok(0) | Err(_) => return Err(Over),
            }
        }
    }
}

impl Bridge {
    /// Sends what is stuck, and else at most one pipe full of what the target has, as one message.
    fn pass_bulk(&mut self, slot: usize) -> Result<(), Over> {
        let Some(pair) = &mut self.pairs[slot] else { return Ok(()) };
        let (Some(client), Some(target)) = (&pair.client, &pair.target) else { return Ok(()) };
        let (mut header, mut pipe) = match pair.stuck.take() {
            Some(stuck) => stuck,
            None => {
                let mut pipe = self.pipes.take().map_err(|_| Over)?;
                let length = match pipe.fill_from(target) {
                    Err(Errno::EAGAIN) => {
                        self.pipes.give(pipe);
                        return Ok(());
                    }
                    Ok(length @ 1..) => length,
                    Ok(0) | Err(_) => return Err(Over),
                };
                let begin = put_header(&mut self.buffer, length);
                (self.buffer[begin..HEADER_BYTES_MAX].to_vec(), pipe)
            }
        };
        if !header.is_empty() {
            match send(client.as_raw_fd(), &header, MsgFlags::MSG_NOSIGNAL | MORE) {
                Ok(sent) => drop(header.drain(..sent)),
                Err(Errno::EAGAIN) => {}
                Err(_) => return Err(Over),
            }
        }
        if header.is_empty() {
            pipe.empty_into(client).map_err(|_| Over)?;
        }
        if pipe.is_empty() {
            self.pipes.give(pipe);
            // A pipe has room for so many pieces, whatever their size: only an attempt tells that there is no more.
            pair.going = true;
            self.going.push(slot);
        } else {
            pair.stuck = Some((header, pipe));
        }
        Ok(())
    }
}

/// Puts the header of an unmasked binary frame right before its `length` bytes, which begin at [`HEADER_BYTES_MAX`]; returns where it
/// begins.
fn put_header(buffer: &mut [u8], length: usize) -> usize {
    let wide = (length as u64).to_be_bytes();
    let (second, extended) = match length {
        0..126 => (length as u8, &wide[8..]),
        126..65_536 => (126, &wide[6..]),
        _ => (127, &wide[..]),
    };
    let begin = HEADER_BYTES_MAX - HEADER_BYTES - extended.len();
    buffer[begin..begin + HEADER_BYTES].copy_from_slice(&[BINARY, second]);
    buffer[begin + HEADER_BYTES..HEADER_BYTES_MAX].copy_from_slice(extended);
    begin
}

fn dial(begun: &Begun, target: SocketAddr, slot: usize) -> Result<OwnedFd, Over> {
    let socket = begun.dial(target).map_err(|_| Over)?;
    let every = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
    begun.epoll.add(&socket, EpollEvent::new(every, 2 * slot as u64 + 1)).map_err(|_| Over)?;
    Ok(socket.into())
}

/// Sends all of it, or gives the pair up.
fn whole(socket: i32, bytes: &[u8]) -> Result<(), Over> {
    match send(socket, bytes, MsgFlags::MSG_NOSIGNAL) {
        Ok(sent) if sent == bytes.len() => Ok(()),
        _ => Err(Over),
    }
}

/// Unmasks the whole small frame that `bytes` begin with, in place: its first byte, and how long its payload is.
fn unmask(bytes: &mut [u8]) -> Option<(u8, usize)> {
    let length = usize::from(bytes.get(1)? & 0x7f);
    if length > 125 || bytes.len() < MASKED_HEADER_BYTES + length {
        return None;
    }
    let (header, payload) = bytes.split_at_mut(MASKED_HEADER_BYTES);
    let mask = &header[HEADER_BYTES..];
    payload[..length].iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Some((header[0], length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Turns until `stream` has brought `count` bytes.
    fn read(bridge: &mut Bridge, stream: &mut TcpStream, count: usize) -> Vec<u8> {
        stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a time-out");
        let mut bytes = vec![0; count];
        let (mut at, start) = (0, std::time::Instant::now());
        while at < count {
            assert!(start.elapsed() < PATIENCE, "{at} of {count} bytes");
            bridge.turn(EpollTimeout::ZERO).expect("a turn");
            if let Ok(length) = stream.read(&mut bytes[at..]) {
                assert!(length > 0, "an end behind {at} of {count} bytes");
                at += length;
            }
        }
        bytes
    }

    const PAYLOAD: &[u8] = b"the needed calls, and nothing else";

    /// A bridge, a client whose first message arrived, and the target's end of that session.
    fn session() -> (Bridge, TcpStream, TcpStream) {
        let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let to = target.local_addr().expect("bound");
        let order = Floor { listen, target: to, paced: false, way: By::Message };
        let mut bridge = Bridge::new(order).expect("a bridge");
        let front = bridge.begun.listener.local_addr().ok().and_then(|at| at.as_socket()).expect("bound");
        let mut client = TcpStream::connect(front).expect("a client");
        client.write_all(&frames::request(front.port(), "/")).expect("a request");
        let answer = read(&mut bridge, &mut client, frames::ANSWER.len());
        assert_eq!(frames::answer_end(&answer), Ok(Some(answer.len())));
        client.write_all(&frames::client_frame(BINARY & 0xf, PAYLOAD)).expect("a message");
        let (mut served, _) = target.accept().expect("a connection");
        assert_eq!(read(&mut bridge, &mut served, PAYLOAD.len()), PAYLOAD);
        (bridge, client, served)
    }

    /// Turns until `done`.
    fn turn_until(bridge: &mut Bridge, mut done: impl FnMut(&Bridge) -> bool) {
        let start = std::time::Instant::now();
        while !done(bridge) {
            assert!(start.elapsed() < PATIENCE, "it did not come to that");
            bridge.turn(EpollTimeout::from(1u16)).expect("a turn");
        }
    }

    #[test]
    fn pictures_come_whole_with_the_header_of_their_length() {
        let (mut bridge, mut client, mut served) = session();
        for (length, header) in [(1, &[BINARY, 1][..]), (125, &[BINARY, 125]), (126, &[BINARY, 126, 0, 126])]
        {
            served.write_all(&vec![7; length]).expect("a piece");
            let frame = read(&mut bridge, &mut client, header.len() + length);
            assert!(
                frame.starts_with(header) && frame[header.len()..].iter().all(|byte| *byte == 7),
                "{length}"
            );
        }
        let picture: Vec<u8> = (0..20 * 1024).map(|at: usize| (at % 251) as u8).collect();
        served.write_all(&picture).expect("a picture");
        assert_eq!(
            read(&mut bridge, &mut client, 4 + picture.len()),
            [&[BINARY, 126, 80, 0], &picture[..]].concat()
        );
        let mut buffer = vec![0; HEADER_BYTES_MAX];
        assert_eq!((put_header(&mut buffer, 70_000), &buffer[..2]), (0, &[BINARY, 127][..]));
        assert_eq!(buffer[2..], 70_000u64.to_be_bytes());
    }

    #[test]
    fn a_target_is_told_of_the_end_and_may_end_in_its_own_time() {
        let (mut bridge, mut client, mut served) = session();
        client.write_all(&frames::close_frame()).expect("a close");
        assert_eq!(read(&mut bridge, &mut client, 4), [CLOSE, 2, 3, 232]);
        assert_eq!(served.read(&mut [0]).expect("an end and no reset"), 0);
        drop(client);
        turn_until(&mut bridge, |bridge| bridge.pairs[0].as_ref().is_some_and(|pair| pair.client.is_none()));
        served.write_all(b"last words that nobody wants").expect("it is still there");
        drop(served);
        turn_until(&mut bridge, |bridge| bridge.pairs[0].is_none());
        assert_eq!(bridge.free, [0]);
    }

    #[test]
    fn bulk_comes_whole_to_a_slow_reader() {
        let (mut bridge, mut client, mut served) = session();
        bridge.order.way = By::BulkMessage;
        let every = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
        let socket = bridge.pairs[0].as_ref().and_then(|pair| pair.client.as_ref()).expect("a client");
        bridge.begun.epoll.modify(socket, &mut EpollEvent::new(every, 0)).expect("an interest");
        let bytes: Vec<u8> = (0..24 * 1024 * 1024).map(|at: usize| (at % 251) as u8).collect();
        served.set_nonblocking(true).expect("non-blocking");
        let (mut sent, mut stuck, mut got) = (0, 0, Vec::new());
        let start = std::time::Instant::now();
        while got.len() < bytes.len() {
            assert!(start.elapsed() < 3 * PATIENCE, "{} of {} bytes", got.len(), bytes.len());
            sent += served.write(&bytes[sent..]).unwrap_or(0);
            for _ in 0..20 {
                bridge.turn(EpollTimeout::ZERO).expect("a turn");
            }
            stuck += bridge.pairs.iter().flatten().filter(|pair| pair.stuck.is_some()).count();
            let Ok(1..) = client.peek(&mut [0]) else { continue };
            let header = read(&mut bridge, &mut client, HEADER_BYTES);
            let wide = match header[1] {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            let length = read(&mut bridge, &mut client, wide)
                .iter()
                .fold(0, |all, &byte| all << 8 | usize::from(byte));
            let length = if wide == 0 { usize::from(header[1]) } else { length };
            got.extend(read(&mut bridge, &mut client, length));
        }
        assert!(got == bytes && stuck > 0);
    }

    #[test]
    fn one_session_from_its_request_to_its_close() {
        let payload = PAYLOAD;
        let (mut bridge, mut client, mut served) = session();
        served.write_all(payload).expect("an echo");
        let echoed = read(&mut bridge, &mut client, HEADER_BYTES + payload.len());
        assert_eq!(echoed, [&[BINARY, payload.len() as u8][..], payload].concat());

        client.write_all(&frames::close_frame()).expect("a close");
        assert_eq!(read(&mut bridge, &mut client, 4), [CLOSE, 2, 3, 232]);
        assert_eq!(client.read(&mut [0]).expect("an end"), 0);
        drop((client, served));
        turn_until(&mut bridge, |bridge| bridge.pairs.iter().all(Option::is_none));
        assert_eq!(bridge.free, [0]);
    }
}
