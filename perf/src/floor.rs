//! The floor of relaying by readiness: a TCP relay that makes the needed system calls and nothing else.
//!
//! One thread, edge-triggered epoll, one buffer for all sessions, or with [`crate::pipes`] some pipes instead. It dials the target as soon as a client is accepted,
//! registers each socket once, and closes both when one ends. No framing, no time-outs, no limits, no log: it is no
//! server, it is what the kernel alone costs when every byte passes through user space. It never measures anything.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv, send};
use socket2::{Domain, Socket, Type};

use crate::pipes::{Pipe, Pipes};
use crate::sys;

/// Bytes of the one buffer: what a receive takes at most. It fits a core's own cache.
const BUFFER_BYTES: usize = 256 * 1024;
/// Queue of the listener: as many as the kernel allows.
const BACKLOG: i32 = 4096;
/// Most events taken from the kernel in one wait.
pub const EVENTS: usize = 256;
/// Token of the listener; the others are a pair's slot twice, plus its side.
pub const LISTENER: u64 = u64::MAX;

/// What the relay is to do.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where it relays to.
    pub target: SocketAddr,
    /// Whether its sockets keep the system's congestion control even where that is BBR.
    pub paced: bool,
    /// How bytes pass.
    pub way: By,
}

/// How bytes pass a floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Through this process.
    Copy,
    /// Through pipes, and never through this process.
    Splice,
    /// Through this process, as messages of WebSocket on the client's side: [`crate::bridge_floor`].
    Message,
    /// The same, but for what the target sends: that comes in bulk, and goes through pipes behind the headers of its messages.
    BulkMessage,
}

impl By {
    /// Whether clients speak WebSocket.
    pub fn speaks_messages(self) -> bool {
        matches!(self, Self::Message | Self::BulkMessage)
    }
}

/// A client and its connection to the target, and of each what concerns the direction that it is the source of.
struct Pair {
    sockets: [OwnedFd; 2],
    ways: [Way; 2],
}

/// One direction.
#[derive(Default)]
struct Way {
    /// What the sink did not take, and how much of that it took since.
    owed: Vec<u8>,
    paid: usize,
    /// The pipe in which the sink left something.
    pipe: Option<Pipe>,
    /// The source will send no more: read on until its end is seen, for there is no other edge.
    last: bool,
    /// Moves on in the next turn without an edge.
    going: bool,
}

/// What one direction came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The source is empty or the sink is full: the next edge tells.
    Rests,
    /// There may be more without another edge.
    Goes,
    /// One of the two ended.
    Ended,
}

struct Relay {
    order: Floor,
    begun: Begun,
    buffer: Vec<u8>,
    pipes: Pipes,
    pairs: Vec<Option<Pair>>,
    free: Vec<usize>,
    /// Slots that were freed in this turn: events further on may still name them.
    freed: Vec<usize>,
    /// Directions that go on without another edge, by the token of their source.
    going: Vec<u64>,
}

/// Relays until the process is ended.
pub fn run(order: Floor) -> Result<(), String> {
    let mut relay = Relay::new(order)?;
    loop {
        relay.turn(EpollTimeout::NONE)?;
    }
}

/// What every floor begins with: a listener that an epoll tells about, and the congestion control of its sockets.
pub struct Begun {
    pub listener: Socket,
    pub epoll: Epoll,
    pub congestion: Option<&'static [u8]>,
}

impl Begun {
    /// Begins to listen.
    pub fn new(order: Floor) -> Result<Self, String> {
        let told = |error: std::io::Error| format!("floor: {}: {error}", order.listen);
        let congestion = if order.paced { None } else { sys::unpaced_congestion_control() };
        let listener =
            Socket::new(Domain::for_address(order.listen), Type::STREAM.nonblocking(), None).map_err(told)?;
        // Accepted sockets inherit both settings, so they cost nothing per session.
        prepare(&listener, congestion).map_err(told)?;
        listener.bind(&order.listen.into()).and_then(|()| listener.listen(BACKLOG)).map_err(told)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .and_then(|epoll| {
                epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER)).map(|()| epoll)
            })
            .map_err(|error| told(error.into()))?;
        Ok(Self { listener, epoll, congestion })
    }

    /// Accepts one client, if one waits.
    pub fn accept(&self) -> std::io::Result<Option<OwnedFd>> {
        loop {
            match sys::accept(&self.listener) {
                Err(Errno::EAGAIN) => return Ok(None),
                // The client was gone before it was accepted.
                Err(Errno::ECONNABORTED) => {}
                other => return Ok(Some(other?)),
            }
        }
    }

    /// Begins to connect to `target`.
    pub fn dial(&self, target: SocketAddr) -> std::io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM.nonblocking(), None)?;
        prepare(&socket, self.congestion)?;
        match socket.connect(&target.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
            _ => Ok(socket),
        }
    }
}

impl Relay {
    fn new(order: Floor) -> Result<Self, String> {
        Ok(Self {
            order,
            begun: Begun::new(order)?,
            buffer: vec![0; BUFFER_BYTES],
            pipes: Pipes::default(),
            pairs: Vec::new(),
            free: Vec::new(),
            freed: Vec::new(),
            going: Vec::new(),
        })
    }

    /// Handles what is ready, after waiting for at most `patience`.
    fn turn(&mut self, patience: EpollTimeout) -> Result<(), String> {
        let told = |error: Errno| format!("floor: {error}");
        let mut events = [EpollEvent::empty(); EVENTS];
        let patience = if self.going.is_empty() { patience } else { EpollTimeout::ZERO };
        let count = match self.begun.epoll.wait(&mut events, patience) {
            Err(Errno::EINTR) => 0,
            other => other.map_err(told)?,
        };
        for token in std::mem::take(&mut self.going) {
            self.flow(token);
        }
        for event in &events[..count] {
            if event.data() == LISTENER {
                self.accept().map_err(|error| format!("floor: {error}"))?;
            } else {
                self.ready(event.data(), event.events());
            }
        }
        self.free.append(&mut self.freed);
        Ok(())
    }

    fn accept(&mut self) -> std::io::Result<()> {
        while let Some(client) = self.begun.accept()? {
            let target = self.begun.dial(self.order.target)?;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.pairs.push(None);
                self.pairs.len() - 1
            });
            let pair = Pair { sockets: [client, target.into()], ways: [Way::default(), Way::default()] };
            let every =
                EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
            for (side, socket) in pair.sockets.iter().enumerate() {
                self.begun.epoll.add(socket, EpollEvent::new(every, (2 * slot + side) as u64))?;
            }
            self.pairs[slot] = Some(pair);
        }
        Ok(())
    }

    /// One edge of one socket: it takes what it is owed, and then gives what it has.
    fn ready(&mut self, token: u64, flags: EpollFlags) {
        let (slot, side) = (token as usize / 2, token as usize % 2);
        let Some(pair) = self.pairs[slot].as_mut() else { return };
        pair.ways[side].last |= flags.intersects(EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP);
        let gives = flags.contains(EpollFlags::EPOLLIN) && pair.ways[side].free();
        if flags.contains(EpollFlags::EPOLLOUT) && pair.ways[side ^ 1].owes() {
            self.flow(token ^ 1);
        }
        if gives {
            self.flow(token);
        } else if flags.contains(EpollFlags::EPOLLERR) {
            self.close(token);
        }
    }

    /// Moves at most one buffer from the socket of `token` to the other one.
    fn flow(&mut self, token: u64) {
        let (slot, side) = (token as usize / 2, token as usize % 2);
        let Some(pair) = self.pairs[slot].as_mut() else { return };
        let flow = if self.order.way == By::Splice {
            let [source, sink] = [side, side ^ 1].map(|side| &pair.sockets[side]);
            self.pipes.flow(source, sink, &mut pair.ways[side].pipe)
        } else {
            pair.flow(side, &mut self.buffer)
        };
        pair.ways[side].going = flow == Flow::Goes;
        match flow {
            Flow::Rests => {}
            // Others come first: whoever has much does not keep the rest waiting.
            Flow::Goes => self.going.push(token),
            Flow::Ended => self.close(token),
        }
    }

    fn close(&mut self, token: u64) {
        let slot = token as usize / 2;
        if self.pairs[slot].take().is_some() {
            self.freed.push(slot);
        }
    }
}

impl Pair {
    /// Moves at most one buffer from the socket of `side` to the other one.
    fn flow(&mut self, side: usize, buffer: &mut [u8]) -> Flow {
        let (source, sink) = (self.sockets[side].as_raw_fd(), self.sockets[side ^ 1].as_raw_fd());
        let way = &mut self.ways[side];
        if !way.owed.is_empty() {
            match send(sink, &way.owed[way.paid..], MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) => way.paid += sent,
                Err(Errno::EAGAIN) => {}
                Err(_) => return Flow::Ended,
            }
            if way.paid < way.owed.len() {
                return Flow::Rests;
            }
            way.owed.clear();
            way.paid = 0;
        }
        let length = match recv(source, buffer, MsgFlags::empty()) {
            Ok(0) => return Flow::Ended,
            Ok(length) => length,
            Err(Errno::EAGAIN) => return Flow::Rests,
            Err(_) => return Flow::Ended,
        };
        let sent = match send(sink, &buffer[..length], MsgFlags::MSG_NOSIGNAL) {
            Ok(sent) => sent,
            // Full, or not yet connected: both are told by an edge.
            Err(Errno::EAGAIN) => 0,
            Err(_) => return Flow::Ended,
        };
        way.owed.extend_from_slice(&buffer[sent..length]);
        let more = way.last || length == buffer.len();
        if more && way.owed.is_empty() { Flow::Goes } else { Flow::Rests }
    }
}

impl Way {
    /// Whether an edge of the source is the moment to read: its sink is not full, and no turn is due anyway.
    fn free(&self) -> bool {
        !self.owes() && !self.going
    }

    /// Whether the sink has yet to take something.
    fn owes(&self) -> bool {
        !self.owed.is_empty() || self.pipe.is_some()
    }
}

fn prepare(socket: &Socket, congestion: Option<&[u8]>) -> std::io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    congestion.map_or(Ok(()), |name| socket.set_tcp_congestion(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    const BYTES: usize = 24 * 1024 * 1024;

    fn byte(at: usize) -> u8 {
        (at % 251) as u8
    }

    /// Writes what the socket takes of the rest; returns how far it came.
    fn write_on(mut socket: &TcpStream, bytes: &[u8], at: usize) -> usize {
        match socket.write(&bytes[at..]) {
            Ok(sent) => at + sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => at,
            Err(error) => panic!("send: {error}"),
        }
    }

    #[test]
    fn everything_arrives_at_a_slow_reader_and_then_the_end() {
        everything_arrives(By::Copy);
    }

    #[test]
    fn everything_arrives_through_pipes_too() {
        everything_arrives(By::Splice);
    }

    fn everything_arrives(way: By) {
        let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let order = Floor { listen, target: target.local_addr().expect("bound"), paced: false, way };
        let mut relay = Relay::new(order).expect("a relay");
        let front =
            relay.begun.listener.local_addr().ok().and_then(|address| address.as_socket()).expect("bound");
        let client = TcpStream::connect(front).expect("a client");
        client.set_nonblocking(true).expect("non-blocking");
        relay.turn(EpollTimeout::from(1000u16)).expect("a turn");
        let (mut served, _) = target.accept().expect("a connection");
        served.set_nonblocking(true).expect("non-blocking");

        let bytes: Vec<u8> = (0..BYTES).map(byte).collect();
        let (mut sent, mut received, mut owing, mut ended) = (0, 0, 0usize, false);
        let mut piece = vec![0; 64 * 1024];
        let start = Instant::now();
        while !ended {
            assert!(start.elapsed() < Duration::from_secs(30), "{sent} sent, {received} received");
            if sent < BYTES {
                sent = write_on(&client, &bytes, sent);
                if sent == BYTES {
                    client.shutdown(std::net::Shutdown::Write).expect("an end");
                }
            }
            relay.turn(EpollTimeout::ZERO).expect("a turn");
            owing += relay.pairs.iter().flatten().filter(|pair| pair.ways[0].owes()).count();
            match served.read(&mut piece) {
                Ok(0) => ended = true,
                Ok(length) => {
                    assert_eq!(piece[..length], bytes[received..received + length]);
                    received += length;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("receive: {error}"),
            }
        }
        assert_eq!(received, BYTES);
        assert!(owing > 0, "the sink was never full, so nothing was tried");
        relay.turn(EpollTimeout::ZERO).expect("a turn");
        assert!(relay.pairs.iter().all(Option::is_none) && relay.free == [0]);
    }
}
