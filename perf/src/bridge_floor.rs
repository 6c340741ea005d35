//! The floor of bridging: what [`crate::floor`] is for relaying, with the messages that WebSocket adds.
//!
//! A bridge takes one request and sends one answer before any payload, and hears and answers one close behind it. This
//! makes exactly those calls, on one thread with edge-triggered epoll: the answer is always the one to the harness's own
//! request, a frame is taken to be whole when it comes and to be taken whole when it goes, and only small binary and close
//! frames exist. So it can carry small messages and set-ups of a client that behaves, and nothing else: it is no server,
//! it is what the kernel alone costs. It never measures anything.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};

use crate::floor::{Begun, EVENTS, Floor, LISTENER};
use crate::frames;

/// Bytes of the one buffer: many times what a client of the set-up and small message rows sends at once.
const BUFFER_BYTES: usize = 16 * 1024;
/// Header of an unmasked frame of less than 126 bytes (RFC 6455 section 5.2).
const HEADER_BYTES: usize = 2;
/// That of a masked one.
const MASKED_HEADER_BYTES: usize = HEADER_BYTES + 4;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;

/// A client and its target.
struct Pair {
    client: OwnedFd,
    target: Option<OwnedFd>,
    /// What came for the target before it was connected.
    early: Vec<u8>,
    connected: bool,
    /// The client's close is answered: only its end is awaited.
    closing: bool,
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
        })
    }

    /// Handles what is ready, after waiting for at most `patience`.
    fn turn(&mut self, patience: EpollTimeout) -> Result<(), String> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let count = match self.begun.epoll.wait(&mut events, patience) {
            Err(Errno::EINTR) => 0,
            other => other.map_err(|error| format!("floor: {error}"))?,
        };
        for event in &events[..count] {
            if event.data() == LISTENER {
                self.accept().map_err(|error| format!("floor: {error}"))?;
            } else {
                let (slot, side) = (event.data() as usize / 2, event.data() as usize % 2);
                let outcome =
                    if side == 0 { self.hear_client(slot) } else { self.hear_target(slot, event.events()) };
                if outcome.is_err() && self.pairs[slot].take().is_some() {
                    self.freed.push(slot);
                }
            }
        }
        self.free.append(&mut self.freed);
        Ok(())
    }

    fn accept(&mut self) -> std::io::Result<()> {
        while let Some(client) = self.begun.accept()? {
            let slot = self.free.pop().unwrap_or_else(|| {
                self.pairs.push(None);
                self.pairs.len() - 1
            });
            let every = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
            self.begun.epoll.add(&client, EpollEvent::new(every, 2 * slot as u64))?;
            self.pairs[slot] =
                Some(Pair { client, target: None, early: Vec::new(), connected: false, closing: false });
        }
        Ok(())
    }

    /// Takes what a client sent: its request, a message, its close, its end.
    fn hear_client(&mut self, slot: usize) -> Result<(), Over> {
        let Some(pair) = &mut self.pairs[slot] else { return Ok(()) };
        let length = match recv(pair.client.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
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
            whole(pair.client.as_raw_fd(), frames::ANSWER.as_bytes())?;
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
                    whole(pair.client.as_raw_fd(), &frame[at..payload.end])?;
                    shutdown(pair.client.as_raw_fd(), Shutdown::Write).map_err(|_| Over)?;
                    (pair.target, pair.closing) = (None, true);
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
        }
        if !flags.contains(EpollFlags::EPOLLIN) {
            return Ok(());
        }
        match recv(target.as_raw_fd(), &mut self.buffer[HEADER_BYTES..], MsgFlags::empty()) {
            Ok(length @ 1..=125) => {
                self.buffer[..HEADER_BYTES].copy_from_slice(&[BINARY, length as u8]);
                whole(pair.client.as_raw_fd(), &self.buffer[..HEADER_BYTES + length])
            }
            Err(Errno::EAGAIN) => Ok(()),
            Ok(_) | Err(_) => Err(Over),
        }
    }
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
    use crate::floor::By;
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

    #[test]
    fn one_session_from_its_request_to_its_close() {
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

        let payload = *b"the needed calls, and nothing else";
        client.write_all(&frames::client_frame(BINARY & 0xf, &payload)).expect("a message");
        let (mut served, _) = target.accept().expect("a connection");
        assert_eq!(read(&mut bridge, &mut served, payload.len()), payload);
        served.write_all(&payload).expect("an echo");
        let echoed = read(&mut bridge, &mut client, HEADER_BYTES + payload.len());
        assert_eq!(echoed, [&[BINARY, payload.len() as u8][..], &payload].concat());

        client.write_all(&frames::close_frame()).expect("a close");
        assert_eq!(read(&mut bridge, &mut client, 4), [CLOSE, 2, 3, 232]);
        assert_eq!(client.read(&mut [0]).expect("an end"), 0);
        drop(client);
        bridge.turn(EpollTimeout::from(1000u16)).expect("a turn");
        assert!(bridge.pairs.iter().all(Option::is_none) && bridge.free == [0]);
    }
}
