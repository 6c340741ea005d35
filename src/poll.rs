//! The poll kernel: readiness through mio (epoll, kqueue), for systems without io_uring.
//!
//! The same road as the ring kernel with another way to learn that a socket is ready. Owns the registry and which
//! listeners are worth an accept. It never holds a payload byte.

use crate::engine::{Kernel, Moved, Readable, Ready, Real, Spin, Token};
use crate::limits::EVENTS_PER_TURN;
use crate::sys::address::Address;
use crate::sys::socket::{self, Stream};
use crate::sys::wake::{WakeSource, Waker};
use mio::unix::SourceFd;
use mio::{Events, Interest};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

/// Kinds of sources, in the low bits of mio's token.
mod kind {
    pub const SOCKET: usize = 0;
    pub const LISTENER: usize = 1;
    pub const WAKE: usize = 2;
    pub const MASK: usize = 0x7f;
}

/// How much longer than asked for a sleep lasts (Linux, `PR_SET_TIMERSLACK`).
const TIMER_SLACK: Duration = Duration::from_micros(50);

/// One shard's poller and its listeners.
pub struct Poll {
    poll: mio::Poll,
    events: Events,
    listeners: Vec<Listener>,
    wake: WakeSource,
    /// Closed since the last turn, to be reported in the next: nothing completes inside a submission.
    closed: Vec<Token>,
    spin: Spin,
}

struct Listener {
    socket: Option<Arc<socket::Listener>>,
    /// An accept is wanted.
    armed: bool,
    /// Clients may be waiting: edges are reported once, so this holds until an accept finds nothing.
    waiting: bool,
}

impl Poll {
    /// A poller that accepts from `listeners` when asked to.
    pub fn new(listeners: Vec<Arc<socket::Listener>>) -> io::Result<Poll> {
        let poll = mio::Poll::new()?;
        let wake = WakeSource::new()?;
        let registry = poll.registry();
        registry.register(&mut SourceFd(&wake.descriptor()), mio::Token(kind::WAKE), Interest::READABLE)?;
        for (index, listener) in listeners.iter().enumerate() {
            let token = mio::Token(index << Token::SPARE_BITS | kind::LISTENER);
            registry.register(&mut SourceFd(&listener.as_raw_fd()), token, Interest::READABLE)?;
        }
        let listeners = listeners
            .into_iter()
            .map(|socket| Listener { socket: Some(socket), armed: false, waiting: true })
            .collect();
        let events = Events::with_capacity(EVENTS_PER_TURN);
        Ok(Poll { poll, events, listeners, wake, closed: Vec::new(), spin: Spin::default() })
    }

    /// Fills `events`, with none when the wait is interrupted.
    fn wait(&mut self, wait: Option<Duration>) -> io::Result<()> {
        let Poll { poll, events, spin, .. } = self;
        let mut ask = |wait| match poll.poll(events, wait) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            outcome => outcome.map(|()| !events.is_empty()),
        };
        let outcome = match wait {
            Some(Duration::ZERO) => ask(wait),
            // An error ends the looking; should it last, the next wait meets it again.
            _ if spin.look(|| ask(Some(Duration::ZERO)).unwrap_or(true)) => Ok(true),
            wait => {
                let gather = spin.gather(wait);
                spin.sleep(|| {
                    gather
                        .into_iter()
                        .for_each(|gather| std::thread::sleep(gather.saturating_sub(TIMER_SLACK)));
                    ask(wait)
                })
            }
        };
        outcome.map(|_| ())
    }

    fn has_accept_to_try(&self) -> bool {
        self.listeners.iter().any(|listener| listener.armed && listener.waiting)
    }

    /// One accept for each listener that wants one and may have one.
    fn accept_armed(&mut self, ready: &mut Vec<Ready<Stream>>) {
        for index in 0..self.listeners.len() {
            if !self.listeners[index].armed {
                continue;
            }
            ready.push(match self.accept(index) {
                Ok((accepted, client)) => Ready::Accepted(index, accepted, client),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => Ready::AcceptFailed(index, error),
            });
            self.listeners[index].armed = false;
        }
    }
}

fn token_of(token: Token) -> mio::Token {
    mio::Token(token.word() as usize | kind::SOCKET)
}

/// What is told of a socket from when it is watched.
fn interest(socket: &Stream) -> Interest {
    match socket.is_quiet() {
        true => socket::READING.add(Interest::WRITABLE),
        false => socket::READING,
    }
}

impl Real for Poll {}

impl Kernel for Poll {
    fn watch(&mut self, token: Token, socket: &Stream) -> io::Result<()> {
        let source = &mut SourceFd(&socket.as_raw_fd());
        self.poll.registry().register(source, token_of(token), interest(socket))
    }

    fn want_write(&mut self, token: Token, socket: &Stream) -> io::Result<()> {
        if socket.is_quiet() {
            return Ok(());
        }
        let source = &mut SourceFd(&socket.as_raw_fd());
        self.poll.registry().reregister(source, token_of(token), socket::READING.add(Interest::WRITABLE))
    }

    fn retire(&mut self, token: Token, socket: Stream, _wanted: bool) {
        // Closing the only descriptor of a socket takes it out of the poller; reports that are already waiting are
        // recognised as stale by their token.
        drop(socket);
        self.closed.push(token);
    }

    fn arm_accept(&mut self, index: usize) {
        self.listeners[index].armed = true;
    }

    fn accept(&mut self, index: usize) -> io::Result<(Stream, Option<SocketAddr>)> {
        let listener = &mut self.listeners[index];
        let Some(socket) = listener.socket.as_ref().filter(|_| listener.waiting) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let outcome = socket::accept(socket);
        listener.waiting = !matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        outcome
    }

    fn close_listener(&mut self, index: usize) {
        if let Some(listener) = self.listeners[index].socket.take() {
            listener.stop();
            // The descriptor is shared by all shards, so it has to be taken out by hand; one that is out is out.
            let _ = self.poll.registry().deregister(&mut SourceFd(&listener.as_raw_fd()));
        }
    }

    fn turn(&mut self, wait: Option<Duration>, ready: &mut Vec<Ready<Stream>>) -> io::Result<()> {
        ready.extend(self.closed.drain(..).map(Ready::Closed));
        let wait = if self.has_accept_to_try() || !ready.is_empty() { Some(Duration::ZERO) } else { wait };
        self.wait(wait)?;
        for event in &self.events {
            let word = event.token().0;
            match word & kind::MASK {
                kind::LISTENER => self.listeners[word >> Token::SPARE_BITS].waiting = true,
                kind::WAKE => {
                    self.wake.clear();
                    ready.push(Ready::Woken);
                }
                _ => {
                    let token = Token::from_word(word as u64);
                    let more = event.is_read_closed() || event.is_error() || event.is_priority();
                    if event.is_readable() || more {
                        let what = if more { Readable::More } else { Readable::Bytes };
                        ready.push(Ready::Readable(token, what));
                    }
                    if event.is_writable() || event.is_error() {
                        ready.push(Ready::Writable(token));
                    }
                }
            }
        }
        self.accept_armed(ready);
        Ok(())
    }

    fn moved(&mut self, moved: Moved) {
        self.spin.moved(moved);
    }

    fn waker(&self) -> Waker {
        self.wake.waker()
    }

    fn connect(&mut self, token: Token, address: &Address) -> io::Result<Stream> {
        let socket = socket::connect(address)?;
        let interest = socket::READING.add(Interest::WRITABLE);
        self.poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), token_of(token), interest)?;
        Ok(socket)
    }

    fn connected(&mut self, token: Token, socket: &Stream) -> io::Result<()> {
        socket::connected(socket)?;
        if socket.is_quiet() {
            return Ok(());
        }
        let source = &mut SourceFd(&socket.as_raw_fd());
        self.poll.registry().reregister(source, token_of(token), interest(socket))
    }
}
