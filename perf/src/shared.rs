//! What clients and targets of one measurement share: what they are to do, the bytes that they send, and what is counted.
//!
//! It owns the counting and the numbers that tell messages and streams apart. It never waits and never opens or closes sockets.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use hdrhistogram::Histogram;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use rustls::ClientConfig;
use socket2::Socket;

use crate::frames::{self, Follower};
use crate::rows::Kind;
use crate::schedule::Schedule;

/// Bytes of the one receive buffer.
const RECEIVE_BYTES: usize = 256 * 1024;
/// Longest round trip that is told apart, in nanoseconds.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// What has been counted since the last [`Shared::reset`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Payload bytes handed to the kernel by the sending ends; where the clock says what is sent, messages.
    pub sent: u64,
    /// Payload bytes that arrived and were checked at the receiving ends; where the clock says what is sent, messages.
    pub received: u64,
    /// Messages that came back, or pictures that arrived.
    pub messages: u64,
    /// Sessions that ran from connect to the end of the stream.
    pub sessions: u64,
    /// TLS handshakes that ended well.
    pub secured: u64,
    /// Of these, resumptions.
    pub resumed: u64,
    /// Sessions that ended by a reset instead of an orderly end.
    pub resets: u64,
}

impl Count {
    /// Whether nothing came to its end.
    pub fn is_empty(&self) -> bool {
        self.received == 0 && self.messages == 0 && self.sessions == 0
    }
}

/// What happens to a socket after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Keep,
    /// It is closed.
    Close,
}

/// What clients and targets share.
#[derive(Debug)]
pub struct Shared {
    /// What the sessions do.
    pub kind: Kind,
    /// Payload of one message, in bytes.
    pub message: usize,
    /// Whether every session begins with an echo.
    pub greet: bool,
    /// Whether clients speak WebSocket, or send the bare payload.
    pub websocket: bool,
    /// What clients ask for in their upgrade request.
    pub path: &'static str,
    /// The same where they come with tokens: each with the next of these, over and over.
    pub paths: Vec<String>,
    /// How many asked for one of these.
    asked: usize,
    /// Where clients connect to.
    pub port: u16,
    /// TLS between clients and the peer, if there is any.
    pub tls: Option<Arc<ClientConfig>>,
    /// What clients are to send and when, if the clock says so.
    pub inputs: Option<Schedule>,
    /// What targets are to send and when, if the clock says so.
    pub pictures: Option<Schedule>,
    /// One period of payload.
    pub pattern: Vec<u8>,
    /// The same with the clients' mask on it.
    pub masked: Vec<u8>,
    /// Whether bulk is compared byte for byte, or sampled.
    pub whole: bool,
    /// Number of the next message or stream: none of them has that of another, whatever session it is of.
    numbers: u64,
    /// The streams that arrive somewhere.
    streams: HashSet<u64>,
    /// Where the clock says what is sent: what was meant to be before this does not count.
    since: Instant,
    /// The receive buffer; taken out while its bytes are looked at.
    pub buffer: Vec<u8>,
    /// What a client sends when it has handled its event.
    pub outgoing: Vec<u8>,
    /// Whether data is to flow; when not, senders stop at the next boundary.
    pub flowing: bool,
    /// Clients that are ready for data, of those that are connected.
    pub opened: usize,
    /// Target connections taken.
    pub accepted: usize,
    /// What was counted.
    pub count: Count,
    /// Round trips, in nanoseconds.
    pub latency: Histogram<u64>,
    /// Tells which sockets are ready.
    pub epoll: Epoll,
}

impl Shared {
    /// Of sessions that do what `kind` says with messages of `message` bytes, and wait in `epoll`.
    pub fn new(kind: Kind, message: usize, epoll: Epoll) -> Self {
        let pattern = frames::pattern();
        Self {
            kind,
            message,
            greet: matches!(kind, Kind::Setup | Kind::Idle | Kind::Shards),
            websocket: false,
            path: "/",
            paths: Vec::new(),
            asked: 0,
            port: 0,
            tls: None,
            inputs: None,
            pictures: None,
            masked: frames::masked(&pattern),
            pattern,
            whole: true,
            numbers: 0,
            streams: HashSet::new(),
            since: Instant::now(),
            buffer: vec![0; RECEIVE_BYTES],
            outgoing: Vec::new(),
            flowing: false,
            opened: 0,
            accepted: 0,
            count: Count::default(),
            latency: Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are legal"),
            epoll,
        }
    }

    /// Forgets what was counted; what was meant to be before now does not count.
    pub fn reset(&mut self) {
        self.count = Count::default();
        self.latency.reset();
        self.since = Instant::now();
    }

    /// Whether `piece` is what must come next of the stream that `follower` follows, and that stream is nobody else's.
    pub fn follow(&mut self, follower: &mut Follower, piece: &[u8]) -> bool {
        let known = follower.number();
        let is_right = follower.follow(&self.pattern, piece, self.whole);
        match (known, follower.number()) {
            (None, Some(number)) => is_right && number <= self.numbers && self.streams.insert(number),
            _ => is_right,
        }
    }

    /// The number of the next message or stream.
    pub fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Notes how late it is what was meant to be at `meant`, unless that is not to be counted.
    pub fn note_lateness(&mut self, meant: Instant) {
        if meant >= self.since {
            let late = Instant::now().saturating_duration_since(meant);
            self.latency.saturating_record(late.as_nanos() as u64);
        }
    }

    /// What the next client asks for.
    pub fn next_path(&mut self) -> &str {
        let at = self.asked;
        self.asked += 1;
        if self.paths.is_empty() { self.path } else { &self.paths[at % self.paths.len()] }
    }
}

/// A socket and what it waits for.
#[derive(Debug)]
pub struct Link {
    /// The socket, non-blocking.
    pub socket: Socket,
    slot: u64,
    interest: EpollFlags,
}

impl Link {
    /// Of a socket that waits for `interest` already, as `slot`.
    pub fn new(socket: Socket, slot: u64, interest: EpollFlags) -> Self {
        Self { socket, slot, interest }
    }

    /// Waits for `interest` from now on.
    pub fn want(&mut self, shared: &Shared, interest: EpollFlags) -> Result<(), String> {
        if interest != self.interest {
            let mut event = EpollEvent::new(interest, self.slot);
            shared
                .epoll
                .modify(self.socket.as_fd(), &mut event)
                .map_err(|error| format!("epoll: {error}"))?;
            self.interest = interest;
        }
        Ok(())
    }
}
